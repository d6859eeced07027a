"""A convolutional restricted Boltzmann machine with probabilistic max pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from repsim_energy.errors import ShapeError

__all__ = ["Crbm", "pooled_probabilities", "pooled_sample"]


@dataclass(frozen=True, eq=False)
class Crbm:
    r"""Convolutional restricted Boltzmann machine (CRBM).

    Hidden maps :math:`h^k` of binary units share a filter each. With real visible units of
    variance 1, the energy is

    .. math:: E(v, h) = \tfrac12 \sum_{cij} (v_{cij} - a_c)^2
        - \sum_{kij} h^k_{ij} \Big(b_k + \sum_{cxy} w^k_{cxy} v_{c,i+x,j+y}\Big)

    and with binary ones, the first sum is :math:`-\sum_{cij} a_c v_{cij}`. In each block of
    ``pool`` x ``pool`` units of a hidden map, at most one unit is 1. A pooling unit is 1 if one of
    its block is (probabilistic max pooling).

    Source: Lee, Grosse, Ranganath and Ng (2009), "Convolutional deep belief networks for scalable
    unsupervised learning of hierarchical representations", ICML.

    Parameters
    ----------
    filters : (k, c, kh, kw), w
    hidden_bias : (k,), b
    visible_bias : (c,), a
    pool : side of the blocks
    real : whether visible units are real; otherwise they are binary
    """

    filters: Tensor
    hidden_bias: Tensor
    visible_bias: Tensor
    pool: int
    real: bool

    def hidden_input(self, visible: Tensor) -> Tensor:
        """Return the input of hidden units: their bias and the correlation with the filter.

        Parameters
        ----------
        visible : (n, c, h, w)

        Returns
        -------
        (n, k, h - kh + 1, w - kw + 1)
        """
        return functional.conv2d(visible, self.filters, self.hidden_bias)

    def visible_mean(self, hidden: Tensor) -> Tensor:
        """Return the mean of visible units for given hidden ones.

        Parameters
        ----------
        hidden : (n, k, H, W)

        Returns
        -------
        (n, c, H + kh - 1, W + kw - 1)
        """
        inputs = functional.conv_transpose2d(hidden, self.filters, self.visible_bias)
        return inputs if self.real else inputs.sigmoid()

    def pooled(self, visible: Tensor) -> Tensor:
        """Return the probabilities of pooling units, the input of the next layer.

        Rows and columns of hidden units that do not fill a block are left out.
        """
        inputs = self.hidden_input(visible)
        h, w = (side // self.pool * self.pool for side in inputs.shape[2:])
        return pooled_probabilities(inputs[..., :h, :w], self.pool)[1]

    def free_energy(self, visible: Tensor) -> Tensor:
        r"""Return :math:`-\log \sum_h e^{-E(v, h)}` of each image.

        Parameters
        ----------
        visible : (n, c, h, w)

        Returns
        -------
        (n,)
        """
        blocks = _blocks(self.hidden_input(visible), self.pool)
        hidden = torch.cat([blocks, torch.zeros_like(blocks[..., :1])], -1).logsumexp(-1)
        bias = self.visible_bias[:, None, None]
        own = (visible - bias).square() / 2 if self.real else -bias * visible
        return own.flatten(1).sum(1) - hidden.flatten(1).sum(1)


def pooled_probabilities(inputs: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    r"""Return the probabilities that hidden and pooling units are 1.

    In a block B of inputs :math:`I_j`, at most one hidden unit is 1:

    .. math:: P(h_j = 1) = \frac{e^{I_j}}{1 + \sum_{l \in B} e^{I_l}},\qquad
        P(\text{pool} = 1) = \sum_{j \in B} P(h_j = 1)

    Parameters
    ----------
    inputs : (n, k, H, W), with H and W multiples of ``pool``
    pool : side of the blocks

    Returns
    -------
    hidden : (n, k, H, W)
    pooled : (n, k, H / pool, W / pool)

    Raises
    ------
    ShapeError
        For inputs that do not consist of whole blocks.

    Examples
    --------
    >>> pooled_probabilities(torch.zeros(1, 1, 2, 2), 2)[1]
    tensor([[[[0.8000]]]])
    """
    blocks = _blocks(inputs, pool)
    largest = blocks.amax(-1, keepdim=True).clamp_min(0)
    powers = (blocks - largest).exp()
    probabilities = powers / (powers.sum(-1, keepdim=True) + (-largest).exp())
    return _maps(probabilities, pool), probabilities.sum(-1)


def pooled_sample(probabilities: Tensor, pool: int, generator: torch.Generator) -> Tensor:
    """Draw hidden units, at most one in each block.

    Parameters
    ----------
    probabilities : (n, k, H, W), of hidden units
    pool : side of the blocks
    generator : of the random numbers

    Returns
    -------
    (n, k, H, W), each 0 or 1
    """
    blocks = _blocks(probabilities, pool)
    upper = blocks.cumsum(-1)
    drawn = torch.rand(blocks.shape[:-1], generator=generator, dtype=blocks.dtype)[..., None]
    lower = functional.pad(upper[..., :-1], (1, 0))
    return _maps(((lower <= drawn) & (drawn < upper)).to(blocks.dtype), pool)


def _blocks(maps: Tensor, pool: int) -> Tensor:
    """Return (n, k, H, W) as (n, k, H / pool, W / pool, pool * pool)."""
    n, k, h, w = maps.shape
    if h % pool or w % pool or not h or not w:
        raise ShapeError(
            f"got hidden maps of {h}x{w} units, expected multiples of {pool}; use another pool="
        )
    split = maps.reshape(n, k, h // pool, pool, w // pool, pool)
    return split.transpose(3, 4).reshape(n, k, h // pool, w // pool, pool * pool)


def _maps(blocks: Tensor, pool: int) -> Tensor:
    """Return (n, k, H / pool, W / pool, pool * pool) as (n, k, H, W)."""
    n, k, h, w, _ = blocks.shape
    split = blocks.reshape(n, k, h, w, pool, pool)
    return split.transpose(3, 4).reshape(n, k, h * pool, w * pool)
