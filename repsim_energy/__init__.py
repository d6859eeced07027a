"""Compare what neural networks represent: energy profiles of first-layer filters, CKA, plugins.

>>> import repsim_energy as rs
>>> round(rs.profile_similarity([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), 12)
-1.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what type checkers and editors read; a test compares it with _HOMES
    from repsim_energy import testing as testing
    from repsim_energy.comparison import compare as compare
    from repsim_energy.data.pictures import image_set_from_files as image_set_from_files
    from repsim_energy.data.pictures import iter_image_batches as iter_image_batches
    from repsim_energy.data.pictures import load_rgb as load_rgb
    from repsim_energy.errors import DataError as DataError
    from repsim_energy.errors import FileError as FileError
    from repsim_energy.errors import FlatProfileWarning as FlatProfileWarning
    from repsim_energy.errors import InitializationWarning as InitializationWarning
    from repsim_energy.errors import PluginError as PluginError
    from repsim_energy.errors import PluginWarning as PluginWarning
    from repsim_energy.errors import RepsimError as RepsimError
    from repsim_energy.errors import RepsimWarning as RepsimWarning
    from repsim_energy.errors import ShapeError as ShapeError
    from repsim_energy.errors import TrainingError as TrainingError
    from repsim_energy.errors import UndefinedSimilarityWarning as UndefinedSimilarityWarning
    from repsim_energy.errors import UndescribedOptionWarning as UndescribedOptionWarning
    from repsim_energy.errors import UnknownNameError as UnknownNameError
    from repsim_energy.errors import UsageError as UsageError
    from repsim_energy.hookspecs import hookimpl as hookimpl
    from repsim_energy.interfaces import Activations as Activations
    from repsim_energy.interfaces import Architecture as Architecture
    from repsim_energy.interfaces import Dataset as Dataset
    from repsim_energy.interfaces import DatasetLoader as DatasetLoader
    from repsim_energy.interfaces import DatasetVariant as DatasetVariant
    from repsim_energy.interfaces import Direction as Direction
    from repsim_energy.interfaces import FilterBank as FilterBank
    from repsim_energy.interfaces import ImageSet as ImageSet
    from repsim_energy.interfaces import Metric as Metric
    from repsim_energy.interfaces import ModelFamily as ModelFamily
    from repsim_energy.interfaces import Normalization as Normalization
    from repsim_energy.interfaces import OperatesOn as OperatesOn
    from repsim_energy.interfaces import PatchBasis as PatchBasis
    from repsim_energy.interfaces import PatchTransform as PatchTransform
    from repsim_energy.interfaces import Stage as Stage
    from repsim_energy.interfaces import TrainedModel as TrainedModel
    from repsim_energy.metrics.shuffled import ShuffledMetric as ShuffledMetric
    from repsim_energy.models.filters.layers import find_first_conv as find_first_conv
    from repsim_energy.models.filters.layers import init_first_layer as init_first_layer
    from repsim_energy.models.filters.layers import read_filters as read_filters
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        Autocorrelation as Autocorrelation,
    )
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        PatchAutocovariance as PatchAutocovariance,
    )
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        autocorrelation as autocorrelation,
    )
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        patch_autocovariance as patch_autocovariance,
    )
    from repsim_energy.numerics.cka.hsic import centered_gram as centered_gram
    from repsim_energy.numerics.cka.hsic import unbiased_gram as unbiased_gram
    from repsim_energy.numerics.cka.streaming import StreamingCKA as StreamingCKA
    from repsim_energy.numerics.cka.streaming import cka as cka
    from repsim_energy.numerics.features import flatten_activations as flatten_activations
    from repsim_energy.numerics.patches.moments import PatchMoments as PatchMoments
    from repsim_energy.numerics.patches.moments import patch_moments as patch_moments
    from repsim_energy.numerics.patches.per_image import average_patches as average_patches
    from repsim_energy.numerics.patches.per_image import component_energies as component_energies
    from repsim_energy.numerics.profiles.energy import energy_profile as energy_profile
    from repsim_energy.numerics.profiles.energy import profile_similarities as profile_similarities
    from repsim_energy.numerics.profiles.energy import profile_similarity as profile_similarity
    from repsim_energy.numerics.profiles.fit import ProfileFit as ProfileFit
    from repsim_energy.numerics.profiles.fit import fit_profile as fit_profile
    from repsim_energy.numerics.profiles.fit import fit_profiles as fit_profiles
    from repsim_energy.numerics.profiles.linear_cnn import (
        simulate_linear_cnn as simulate_linear_cnn,
    )
    from repsim_energy.numerics.profiles.linear_cnn import solve_linear_cnn as solve_linear_cnn
    from repsim_energy.numerics.profiles.null import pearson_null_interval as pearson_null_interval
    from repsim_energy.numerics.profiles.theory import theoretical_profile as theoretical_profile
    from repsim_energy.numerics.profiles.theory import whitening_filters as whitening_filters
    from repsim_energy.progress import Progress as Progress
    from repsim_energy.progress import Reporter as Reporter
    from repsim_energy.registry import Registry as Registry
    from repsim_energy.registry import load_registry as load_registry
    from repsim_energy.results import Variable as Variable
    from repsim_energy.results import open_result as open_result
    from repsim_energy.results import save_result as save_result
    from repsim_energy.results import summarize as summarize
    from repsim_energy.scheduling import Scheduler as Scheduler
    from repsim_energy.scheduling import patch_moments_of_chunks as patch_moments_of_chunks
    from repsim_energy.specs import write_spec as write_spec
    from repsim_energy.training.recipe import Recipe as Recipe

    __version__: str

_HOMES = {
    "comparison": ("compare",),
    "data.pictures": ("image_set_from_files", "iter_image_batches", "load_rgb"),
    "errors": (
        "DataError",
        "FileError",
        "FlatProfileWarning",
        "InitializationWarning",
        "PluginError",
        "PluginWarning",
        "RepsimError",
        "RepsimWarning",
        "ShapeError",
        "TrainingError",
        "UndefinedSimilarityWarning",
        "UndescribedOptionWarning",
        "UsageError",
        "UnknownNameError",
    ),
    "hookspecs": ("hookimpl",),
    "interfaces": (
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
        "Normalization",
        "OperatesOn",
        "PatchBasis",
        "PatchTransform",
        "Stage",
        "TrainedModel",
    ),
    "metrics.shuffled": ("ShuffledMetric",),
    "models.filters.layers": ("find_first_conv", "init_first_layer", "read_filters"),
    "numerics.autocorrelation.autocorrelation": (
        "Autocorrelation",
        "PatchAutocovariance",
        "autocorrelation",
        "patch_autocovariance",
    ),
    "numerics.cka.hsic": ("centered_gram", "unbiased_gram"),
    "numerics.cka.streaming": ("StreamingCKA", "cka"),
    "numerics.features": ("flatten_activations",),
    "numerics.patches.moments": ("PatchMoments", "patch_moments"),
    "numerics.patches.per_image": ("average_patches", "component_energies"),
    "numerics.profiles.energy": ("energy_profile", "profile_similarities", "profile_similarity"),
    "numerics.profiles.fit": ("ProfileFit", "fit_profile", "fit_profiles"),
    "numerics.profiles.linear_cnn": ("simulate_linear_cnn", "solve_linear_cnn"),
    "numerics.profiles.null": ("pearson_null_interval",),
    "numerics.profiles.theory": ("theoretical_profile", "whitening_filters"),
    "progress": ("Progress", "Reporter"),
    "registry": ("Registry", "load_registry"),
    "results": ("Variable", "open_result", "save_result", "summarize"),
    "scheduling": ("Scheduler", "patch_moments_of_chunks"),
    "specs": ("write_spec",),
    "training.recipe": ("Recipe",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_MODULES, "__version__", "testing"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that commands start fast.

    ``__version__`` is that of the installed package; for a source tree that is not installed
    it is ``0+not.installed``.
    """
    if name == "__version__":
        from repsim_energy.versions import OWN, version_of

        return version_of(OWN)
    if name == "testing":
        return importlib.import_module("repsim_energy.testing")
    if name not in _MODULES:
        raise AttributeError(f"module 'repsim_energy' has no attribute '{name}'")
    return getattr(importlib.import_module(f"repsim_energy.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
