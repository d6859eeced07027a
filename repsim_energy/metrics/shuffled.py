"""Base class of metrics whose null interval is estimated by shuffling images."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from repsim_energy.errors import ShapeError, UndefinedSimilarityWarning, warn
from repsim_energy.interfaces import Activations, Direction, OperatesOn

__all__ = ["ShuffledMetric"]

SHUFFLES = 20
"""Random orders of the images that a null interval is estimated from."""

Array = NDArray[np.float64]


class ShuffledMetric(ABC):
    r"""Base class of metrics on activations that get their null interval by shuffling images.

    A subclass defines ``name``, ``invariances``, :meth:`represent` and :meth:`value`. A
    representation is an array whose first axis runs over the images; where it is laid out in
    another way, the subclass also defines :meth:`shuffle`. A representation that begins with NaN is
    undefined, and so are the values of all pairs with it.

    Attributes
    ----------
    name : of the metric, as users type it
    operates_on : ``activations``
    direction : ``similarity``, or ``distance`` in a subclass
    bounds : the lowest and the highest possible value; (0, 1) unless a subclass says otherwise
    invariances : the transformations of the features that leave every value as it is; see
        :class:`Metric`

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> class Cosine(ShuffledMetric):
    ...     name, bounds, invariances = "cosine", (-1.0, 1.0), frozenset({"scale"})
    ...     def represent(self, activations):
    ...         rows = rs.flatten_activations(activations.values).double().numpy()
    ...         length = np.linalg.norm(rows)
    ...         return rows / length if length else self.undefined(rows.shape, "all are zero")
    ...     def value(self, a, b):
    ...         return float(np.vdot(a, b))
    >>> metric = Cosine()
    >>> a = metric.represent(rs.Activations(torch.eye(30)))
    >>> low, high = metric.null_interval(a, a)
    >>> round(metric.compare(a, a), 12), high < 0.2
    (1.0, True)
    """

    name: str
    operates_on: OperatesOn = "activations"
    direction: Direction = "similarity"
    bounds: tuple[float, float] = (0.0, 1.0)
    invariances: frozenset[str]

    @abstractmethod
    def represent(self, subject: Activations) -> Array:
        """Return the representation of the activations of a layer.

        Parameters
        ----------
        subject : the activations of n images, (n, ...)

        Returns
        -------
        float64, the first axis over the images; :meth:`undefined` where there is no value
        """

    @abstractmethod
    def value(self, a: Array, b: Array) -> float:
        """Return the similarity or distance of two representations that are defined.

        Parameters
        ----------
        a, b : (n, ...) representations of two layers on the same images
        """

    def approximate_value(self, a: Array, b: Array) -> float:
        """Return the value as precisely as a null interval needs it: to about three digits.

        It is called for every shuffle. Override it where a faster way than :meth:`value` is
        known.

        Parameters
        ----------
        a, b : (n, ...) representations of two layers on the same images
        """
        return self.value(a, b)

    def shuffle(self, representation: Array, generator: np.random.Generator) -> Array:
        """Return the representation that the same network has of the images in a random order.

        Parameters
        ----------
        representation : (n, ...), the first axis over the images
        generator : draws the order with one call of ``permutation(n)``
        """
        return representation[generator.permutation(len(representation))]

    def compare(self, a: Array, b: Array) -> float:
        """Return the similarity or distance of two representations.

        Parameters
        ----------
        a, b : (n, ...) representations of two layers on the same images

        Returns
        -------
        float
            NaN where a representation is undefined.

        Raises
        ------
        ShapeError
            For representations of different numbers of images.
        """
        return self.value(a, b) if _are_defined(a, b) else math.nan

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        r"""Return the central 95% of values when the images of one network are shuffled.

        .. math:: m \pm t_{19}\, s \sqrt{1 + 1/20}

        m and s are mean and standard deviation of the values of 20 shuffles, in float64, and
        :math:`t_{19}` is the 97.5% point of Student's distribution with 19 degrees of freedom. This
        is the interval that contains one more value with 95% probability where values are normally
        distributed. Quantiles of the values would need a hundred shuffles to be as precise. The
        shuffles are the same each time.

        Parameters
        ----------
        a, b : (n, ...) representations of two layers on the same images

        Returns
        -------
        (low, high) within ``bounds``; NaN where a representation is undefined

        Raises
        ------
        ShapeError
            For representations of different numbers of images.
        """
        if not _are_defined(a, b):
            return (math.nan, math.nan)
        generator = np.random.default_rng(0)
        values = [self.approximate_value(a, self.shuffle(b, generator)) for _ in range(SHUFFLES)]
        width = float(stdtrit(SHUFFLES - 1, 0.975)) * math.sqrt(1 + 1 / SHUFFLES)
        middle, reach = float(np.mean(values)), float(width * np.std(values, ddof=1))
        low, high = self.bounds
        return (max(low, middle - reach), min(high, middle + reach))

    @staticmethod
    def undefined(shape: tuple[int, ...], reason: str) -> Array:
        """Return a representation that has no values, and warn.

        Parameters
        ----------
        shape : of the representation, the number of images first
        reason : why it is undefined, such as "activations are the same for all images"

        Returns
        -------
        NaN in this shape

        Warns
        -----
        UndefinedSimilarityWarning
            With the reason.
        """
        warn(f"{reason}; reported as NaN", UndefinedSimilarityWarning)
        return np.full(shape, np.nan)


def _are_defined(a: Array, b: Array) -> bool:
    if len(a) != len(b):
        raise ShapeError(
            f"representations have {len(a)} and {len(b)} rows, expected as many in both; show both "
            "networks the same images"
        )
    return not (math.isnan(a.flat[0]) or math.isnan(b.flat[0]))
