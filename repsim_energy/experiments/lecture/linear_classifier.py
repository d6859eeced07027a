"""Accuracy of a linear classifier, which is fitted exactly: ridge regression to the classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError
from repsim_energy.experiments.lecture.sparse_features import sparse_features
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from repsim_energy.interfaces import Dataset

__all__ = ["PENALTIES", "bank_accuracy", "classifier_accuracy"]

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Weights of the squared norm that the validation images choose from, for one training image."""

VALIDATION_FRACTION = 0.2
"""Fraction of the training images that the penalty is chosen on."""


def bank_accuracy(
    data: Dataset, bank: Tensor, mean: Tensor, share: float, *, soft: bool = False
) -> float:
    """Return the test accuracy of a linear classifier of the features of a filter bank.

    Parameters
    ----------
    bank, mean, share, soft : as of ``sparse_features``
    """
    train, test = (
        sparse_features(images.images, bank, mean, share, soft=soft)
        for images in (data.train, data.test)
    )
    return classifier_accuracy(train, data.train.labels, test, data.test.labels)[0]


@own_settings()
def classifier_accuracy(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor
) -> tuple[float, float]:
    r"""Fit a linear classifier to features, and return its accuracy on test images and penalty.

    .. math:: \min_{W, b} \sum_i \|W x_i + b - e_{y_i}\|^2 + \rho n \|W\|^2

    Features x have mean 0 and variance 1 over the n training images, so that their scales do not
    matter. Constant ones are zero. :math:`e_y` has 1 at class y and 0 elsewhere. The class of the
    largest output is the answer. The solution is unique and exact, so that accuracy does not depend
    on an optimizer. :math:`\rho` has the best accuracy on a fifth of the training images, which a
    fixed permutation selects, with a fit to the others; of equal ones it is the largest. The
    classifier is then fitted to all training images.

    Parameters
    ----------
    train, test : (n, d) features
    labels, test_labels : (n,) int64

    Returns
    -------
    tuple
        Accuracy and :math:`\rho`.

    Raises
    ------
    DataError
        For fewer than five training images, or no test images.

    Examples
    --------
    >>> labels = torch.arange(40) % 2
    >>> features = (labels * 3.0)[:, None] + torch.linspace(0, 1, 40)[:, None]
    >>> classifier_accuracy(features, labels, features, labels)
    (1.0, 10.0)
    """
    held_out = int(VALIDATION_FRACTION * len(train))
    if not held_out or not len(test):
        raise DataError(
            f"got {len(train)} training and {len(test)} test images, expected at least 5 and 1; "
            "use more images"
        )
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(train)))
    fitted, validated = order[held_out:], order[:held_out]
    targets = F.one_hot(labels).double()
    outputs = _outputs(train[fitted], targets[fitted], train[validated], PENALTIES)
    scores = [_accuracy(output, labels[validated]) for output in outputs]
    _, penalty = max(zip(scores, PENALTIES, strict=True))
    (output,) = _outputs(train, targets, test, [penalty])
    return _accuracy(output, test_labels), penalty


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).double().mean())


def _outputs(
    train: Tensor, targets: Tensor, test: Tensor, penalties: Sequence[float]
) -> Iterator[Tensor]:
    """Yield the (n, classes) outputs for test features, for each penalty.

    With fewer images than features, the equal system in the images is solved.
    """
    x = train.double()
    mean, deviation = x.mean(0), x.std(0, correction=0)
    deviation[deviation == 0] = torch.inf
    x = (x - mean) / deviation
    z = (test.double() - mean) / deviation
    offset = targets.mean(0)
    y = targets - offset
    n, d = x.shape
    gram, right, left = (x.T @ x, x.T @ y, z) if d <= n else (x @ x.T, y, z @ x.T)
    for penalty in penalties:
        system = gram.clone()
        system.diagonal().add_(penalty * n)
        yield left @ torch.cholesky_solve(right, torch.linalg.cholesky(system)) + offset
