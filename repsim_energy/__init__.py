"""Compare what neural networks represent: energy profiles of first-layer filters, CKA, plugins.

>>> import repsim_energy as rs
>>> round(rs.profile_similarity([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]), 12)
-1.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from repsim_energy.comparison import compare
    from repsim_energy.data.pictures import image_set_from_files, iter_image_batches, load_rgb
    from repsim_energy.errors import (
        DataError,
        FileError,
        RepsimError,
        RepsimWarning,
        ShapeError,
        UnknownNameError,
        UsageError,
    )
    from repsim_energy.hookspecs import hookimpl
    from repsim_energy.interfaces import (
        Activations,
        Architecture,
        Dataset,
        DatasetLoader,
        DatasetVariant,
        FilterBank,
        ImageSet,
        Metric,
        ModelFamily,
        Normalization,
        PatchBasis,
        PatchTransform,
        TrainedModel,
    )
    from repsim_energy.models.filters.layers import find_first_conv, init_first_layer, read_filters
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        Autocorrelation,
        PatchAutocovariance,
        autocorrelation,
        patch_autocovariance,
    )
    from repsim_energy.numerics.cka.streaming import StreamingCKA, cka
    from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
    from repsim_energy.numerics.patches.per_image import (
        average_patches,
        average_shuffled_patches,
        class_correlations,
        component_energies,
    )
    from repsim_energy.numerics.patches.tiles import tile_patches
    from repsim_energy.numerics.profiles.energy import (
        energy_profile,
        profile_similarities,
        profile_similarity,
    )
    from repsim_energy.numerics.profiles.fit import ProfileFit, fit_profile, fit_profiles
    from repsim_energy.numerics.profiles.linear_cnn import simulate_linear_cnn, solve_linear_cnn
    from repsim_energy.numerics.profiles.null import pearson_null_interval
    from repsim_energy.numerics.profiles.theory import theoretical_profile, whitening_filters
    from repsim_energy.progress import Progress, Reporter
    from repsim_energy.registry import Registry, load_registry
    from repsim_energy.results import Variable, open_result, save_result, summarize
    from repsim_energy.scheduling import patch_moments_of_chunks
    from repsim_energy.specs import write_spec
    from repsim_energy.training.recipe import Recipe

_HOMES = {
    "comparison": ("compare",),
    "data.pictures": ("iter_image_batches", "image_set_from_files", "load_rgb"),
    "errors": (
        "DataError",
        "FileError",
        "FilterBank",
        "RepsimError",
        "RepsimWarning",
        "ShapeError",
        "UnknownNameError",
        "UsageError",
    ),
    "hookspecs": ("hookimpl",),
    "interfaces": (
        "Activations",
        "Architecture",
        "Dataset",
        "DatasetLoader",
        "DatasetVariant",
        "FilterBank",
        "ImageSet",
        "Metric",
        "ModelFamily",
        "Normalization",
        "PatchBasis",
        "PatchTransform",
        "TrainedModel",
    ),
    "models.filters.layers": ("find_first_conv", "init_first_layer", "read_filters"),
    "numerics.autocorrelation.autocorrelation": (
        "Autocorrelation",
        "PatchAutocovariance",
        "autocorrelation",
        "patch_autocovariance",
    ),
    "numerics.cka.streaming": ("StreamingCKA", "cka"),
    "numerics.profiles.energy": ("energy_profile", "profile_similarities", "profile_similarity"),
    "numerics.patches.per_image": (
        "average_patches",
        "average_shuffled_patches",
        "class_correlations",
        "component_energies",
    ),
    "numerics.profiles.null": ("pearson_null_interval",),
    "numerics.profiles.linear_cnn": ("simulate_linear_cnn", "solve_linear_cnn"),
    "numerics.patches.moments": ("PatchMoments", "patch_moments"),
    "numerics.profiles.fit": ("ProfileFit", "fit_profile", "fit_profiles"),
    "numerics.profiles.theory": ("theoretical_profile", "whitening_filters"),
    "numerics.patches.tiles": ("tile_patches",),
    "progress": ("Progress", "Reporter"),
    "registry": ("Registry", "load_registry"),
    "results": ("Variable", "open_result", "save_result", "summarize"),
    "scheduling": ("patch_moments_of_chunks",),
    "specs": ("write_spec",),
    "training.recipe": ("Recipe",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Activations",
    "Architecture",
    "Autocorrelation",
    "StreamingCKA",
    "DataError",
    "Dataset",
    "DatasetLoader",
    "DatasetVariant",
    "FileError",
    "FilterBank",
    "ImageSet",
    "PatchAutocovariance",
    "Metric",
    "ModelFamily",
    "Normalization",
    "PatchBasis",
    "PatchMoments",
    "PatchTransform",
    "ProfileFit",
    "Progress",
    "Recipe",
    "Registry",
    "RepsimError",
    "RepsimWarning",
    "Reporter",
    "ShapeError",
    "TrainedModel",
    "UnknownNameError",
    "UsageError",
    "Variable",
    "__version__",
    "autocorrelation",
    "average_patches",
    "average_shuffled_patches",
    "iter_image_batches",
    "cka",
    "class_correlations",
    "compare",
    "energy_profile",
    "find_first_conv",
    "fit_profile",
    "fit_profiles",
    "hookimpl",
    "image_set_from_files",
    "patch_autocovariance",
    "simulate_linear_cnn",
    "solve_linear_cnn",
    "load_registry",
    "load_rgb",
    "open_result",
    "component_energies",
    "patch_moments",
    "patch_moments_of_chunks",
    "pearson_null_interval",
    "init_first_layer",
    "profile_similarities",
    "profile_similarity",
    "read_filters",
    "save_result",
    "summarize",
    "theoretical_profile",
    "tile_patches",
    "whitening_filters",
    "write_spec",
]


def __getattr__(name: str) -> Any:
    """Import a public name, or look up the version, when it is first asked for.

    Commands start fast so. The version of a source tree that is not installed is
    ``0+not.installed``.
    """
    if name == "__version__":
        from repsim_energy.versions import OWN, version_of

        return version_of(OWN)
    if name not in _MODULES:
        raise AttributeError(f"module 'repsim_energy' has no attribute '{name}'")
    return getattr(importlib.import_module(f"repsim_energy.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
