"""Data classes and protocols exchanged with plugins."""

from __future__ import annotations

from repsim_energy.interfaces.basis import PatchBasis
from repsim_energy.interfaces.images import (
    Dataset,
    DatasetLoader,
    DatasetVariant,
    ImageSet,
    Normalization,
    PatchTransform,
)
from repsim_energy.interfaces.metrics import (
    Activations,
    Direction,
    FilterBank,
    Metric,
    OperatesOn,
    Stage,
    missing_of,
)
from repsim_energy.interfaces.models import Architecture, ModelFamily, ModelSpec, TrainedModel
from repsim_energy.interfaces.validation import channels_last

__all__ = [
    "Activations",
    "Architecture",
    "Dataset",
    "DatasetLoader",
    "DatasetVariant",
    "Direction",
    "FilterBank",
    "ImageSet",
    "Metric",
    "ModelFamily",
    "ModelSpec",
    "Normalization",
    "OperatesOn",
    "PatchBasis",
    "PatchTransform",
    "Stage",
    "TrainedModel",
    "channels_last",
    "missing_of",
]
