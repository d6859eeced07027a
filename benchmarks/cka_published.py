"""Published implementations of linear CKA, for benchmarks/cka.py."""

import numpy as np
import torch

__all__ = ["gram_blocks", "kornblith", "textbook"]


def kornblith(x, y):
    """Kornblith et al.'s published demo: two n x n Gram matrices in NumPy, in the input's type."""

    def center_gram(gram):
        if not np.allclose(gram, gram.T):
            raise ValueError("Input must be a symmetric matrix.")
        gram = gram.copy()
        means = np.mean(gram, 0, dtype=np.float64)
        means -= np.mean(means) / 2
        gram -= means[:, None]
        gram -= means[None, :]
        return gram

    x, y = x.numpy(), y.numpy()
    gram_x, gram_y = center_gram(x.dot(x.T)), center_gram(y.dot(y.T))
    scaled_hsic = gram_x.ravel().dot(gram_y.ravel())
    return scaled_hsic / (np.linalg.norm(gram_x) * np.linalg.norm(gram_y))


def gram_blocks(x, y, step=1000):
    """The same without keeping either matrix: n x n in blocks, the upper half, in float32."""
    x, y = x - x.mean(0), y - y.mean(0)
    sums = torch.zeros(3)
    for i in range(0, len(x), step):
        for j in range(i, len(x), step):
            k = (x[i : i + step] @ x[j : j + step].T).flatten()
            m = (y[i : i + step] @ y[j : j + step].T).flatten()
            weight = 1 if i == j else 2
            sums += weight * torch.stack((k @ m, k @ k, m @ m))
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


def textbook(x, y):
    """HSIC with the centering matrix written out, as in widely copied code; float64."""

    def centering(k):
        n = k.shape[0]
        h = torch.eye(n, dtype=k.dtype) - torch.ones(n, n, dtype=k.dtype) / n
        return h @ k @ h

    def hsic(x, y):
        return (centering(x @ x.T) * centering(y @ y.T)).sum()

    x, y = x.double(), y.double()
    return float(hsic(x, y) / (hsic(x, x).sqrt() * hsic(y, y).sqrt()))
