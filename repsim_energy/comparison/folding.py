"""Batch norms that are folded into the filters of first layers."""

from __future__ import annotations

from torch import nn

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.norm_folding import Folding

__all__ = ["folding_of"]


def folding_of(
    built: nn.Module | TrainedModel,
    word: str,
    layer: str,
    image: tuple[int, int, int],
    label: str,
) -> Folding:
    """Return the batch norm that follows a layer, with its current factors.

    Parameters
    ----------
    built : the network, new or trained
    word : ``bn``. For a file of weights also the name of a batch norm, or either with its epsilon
    layer : the name of the layer
    image : (c, h, w) of the images that it sees
    label : of the model, for errors

    Raises
    ------
    UsageError
        If no batch norm follows, or something else does.
    """
    from repsim_energy.models.checkpoint import FileFilters  # here, as few comparisons fold

    if isinstance(built, FileFilters):
        return built.scales(word)
    if word != "bn":
        raise UsageError(
            f"got fold={word} for '{label}', expected fold=bn, which finds the batch norm of a "
            "network by sending an image through it"
        )
    module = built.module if isinstance(built, TrainedModel) else built
    if isinstance(built, TrainedModel) and not built.network:
        raise UsageError(
            f"got fold=bn for '{label}', which is filters alone, expected a network or a file of "
            "weights; leave fold= out"
        )
    try:
        norm = following_norm(module, layer, image)
    except UsageError as error:
        raise UsageError(f"'{label}': {error}") from error
    return Folding(norm.description, {"trained": norm.scale()})
