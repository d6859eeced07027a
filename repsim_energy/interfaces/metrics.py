"""Metrics and their input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from repsim_energy.interfaces.basis import PatchBasis
from repsim_energy.interfaces.short_repr import short_repr

__all__ = [
    "Activations",
    "Direction",
    "FilterBank",
    "Metric",
    "OperatesOn",
    "Stage",
    "missing_of",
]

Stage = Literal["init", "trained", "change"]
OperatesOn = Literal["filters", "activations"]
Direction = Literal["similarity", "distance"]


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Input of a metric on filters.

    Parameters
    ----------
    filters : (k, c, kh, kw) weights of the first layer. With the option ``patch`` of a comparison
        they are the weights at all places of a larger patch, by
        :func:`~repsim_energy.place_filters`, so that there are more of them than the layer has
    basis : principal components of the patches that the layer receives, or of the larger ones
    profile : (r,) energy profile of the filters on the basis if it has been measured, else ``None``
    originals : (n, c, kh, kw) weights of the first layer, without holes, if ``filters`` are their
        places, else ``None``
    dilation : rows and columns of pixels from one of these weights to the next

    Examples
    --------
    >>> import torch
    >>> from repsim_energy import patch_moments
    >>> images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> bank = FilterBank(torch.rand(16, 3, 3, 3), patch_moments(images, (3, 3)).basis())
    >>> bank.filters.flatten(1).shape[1] == bank.basis.components.shape[1]
    True
    """

    filters: Tensor
    basis: PatchBasis
    profile: NDArray[np.float64] | None = None
    originals: Tensor | None = None
    dilation: tuple[int, int] = (1, 1)

    __repr__ = short_repr


@dataclass(frozen=True, eq=False)
class Activations:
    """Input of a metric on activations.

    Parameters
    ----------
    values : (n, ...) output of a layer for n images, or what the options ``pool`` and ``tokens``
        leave of it; with ``pool=none``, n positions

    Examples
    --------
    >>> import torch
    >>> Activations(torch.zeros(100, 64, 8, 8)).values.flatten(1).shape
    torch.Size([100, 4096])
    """

    values: Tensor

    __repr__ = short_repr


@runtime_checkable
class Metric(Protocol):
    """Measure of similarity or distance between two networks.

    ``represent`` is called once per network with a :class:`FilterBank`, or once per layer with
    :class:`Activations`; ``operates_on`` decides which. ``compare`` and ``null_interval`` are
    called once per pair.

    A metric whose representations have one shape may also define ``compare_all(stack)``. It takes
    m representations as one array and returns three (m, m) arrays: the values of ``compare`` and
    the lower and upper ends of ``null_interval``. It then replaces the calls for each pair. It may
    also define ``compare_stacks(stacks)``, which takes n such arrays of m representations as one
    and returns the (n, m, m) values of ``compare`` within each. Nulls and reliabilities compare
    hundreds of small stacks.

    A metric may define ``null_distribution(a, b)``, which returns the distribution of the values of
    a pair under a null, as an object with ``cdf(x)``, ``sf(x)`` and ``ppf(q)`` (as frozen
    distributions of scipy have): of independent Gaussian filters for a metric on filters, of
    shuffled images for one on activations. P-values then need no draws. Pairs with the same
    distribution should get the same object.

    A metric may define ``variables(representation)``, which returns numbers that describe one
    network or layer, as a mapping from name to :class:`~repsim_energy.Variable`. They become
    variables of the result, with the dimensions of networks before their own.

    A metric on filters may define ``prepare(filters)``, which returns the filters (k', c, kh, kw)
    that it compares, such as those divided by their norms. All profiles of the result are then of
    the prepared filters. Preparing them again must not change them.

    A metric on activations may also define two attributes:

    - ``batch``, the maximum number of images per call. ``represent`` is then called once per batch
      during the forward pass, on the network's device; all batches have the same size. The
      returned arrays are stacked along a new first axis.
    - ``representation_bytes(images)``, the size of the representation of a layer in bytes, so that
      the memory of a comparison is known before it starts.

    It may also define ``shuffle(representation, generator)``, the representation of the same images
    in another order, which is drawn by one call of ``generator.permutation(n)`` for each batch.
    Shuffled images then need not be represented anew.

    Attributes
    ----------
    name : in results
    operates_on : ``filters`` or ``activations``
    direction : ``similarity`` or ``distance``
    bounds : lowest and highest possible value
    invariances : names of the changes that do not change the value: ``permutation``, ``scale``,
        ``orthogonal``, ``translation``, ``linear``

    Examples
    --------
    >>> import repsim_energy as rs
    >>> class NormRatio:
    ...     name, operates_on, direction = "norm_ratio", "filters", "similarity"
    ...     bounds, invariances = (0.0, 1.0), frozenset({"permutation", "orthogonal"})
    ...     def represent(self, subject):
    ...         return rs.energy_profile(subject.filters, subject.basis)
    ...     def compare(self, a, b):
    ...         low, high = sorted((float((a @ a) ** 0.5), float((b @ b) ** 0.5)))
    ...         return low / high if high else float("nan")
    ...     def null_interval(self, a, b):
    ...         return (float("nan"), float("nan"))
    >>> isinstance(NormRatio(), rs.Metric)
    True
    """

    name: str
    operates_on: OperatesOn
    direction: Direction
    bounds: tuple[float, float]
    invariances: frozenset[str]

    def represent(self, subject: Any) -> NDArray[np.float64]:
        """Return the representation of a :class:`FilterBank` or of :class:`Activations`.

        Parameters
        ----------
        subject : the network's filters, or the activations of one of its layers
        """
        ...

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return the similarity or distance of two representations, NaN if it is undefined.

        Parameters
        ----------
        a, b : (...) representations of two networks or layers
        """
        ...

    def null_interval(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return the central 95% of ``compare`` for unrelated networks of these sizes.

        Parameters
        ----------
        a, b : (...) representations of two networks or layers
        """
        ...


def missing_of(metric: object) -> list[str]:
    """Return the attributes and methods of :class:`Metric` that an object does not have."""
    required = [*Metric.__annotations__, "represent", "compare", "null_interval"]
    return [name for name in required if not hasattr(metric, name)]
