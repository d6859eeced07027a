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
    from repsim_energy.data.pictures import batches_of_files, images_of_files, open_picture
    from repsim_energy.errors import (
        DataError,
        FileError,
        RepsimError,
        RepsimWarning,
        ShapeError,
        UsageError,
        unknown_name,
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
        Normalisation,
        PatchBasis,
        PatchTransform,
        TrainedModel,
    )
    from repsim_energy.models.layers import find_layer, prepare_first_layer, read_filters
    from repsim_energy.numerics.autocorrelation.autocorrelation import (
        Autocorrelation,
        LagMoments,
        autocorrelation,
        lag_moments,
    )
    from repsim_energy.numerics.cka.streaming import CKAMoments, cka
    from repsim_energy.numerics.patches.moments import PatchMoments, patch_moments
    from repsim_energy.numerics.patches.per_image import (
        average_patches,
        average_shuffled_patches,
        class_correlations,
        patch_energies,
    )
    from repsim_energy.numerics.patches.tiles import tile_patches
    from repsim_energy.numerics.profiles.energy import (
        energy_profile,
        profile_similarities,
        profile_similarity,
    )
    from repsim_energy.numerics.profiles.fit import ProfileFit, fit_profile, fit_profiles
    from repsim_energy.numerics.profiles.linear_cnn import linear_cnn_descent, linear_cnn_filters
    from repsim_energy.numerics.profiles.null import pearson_null_band
    from repsim_energy.numerics.profiles.theory import theoretical_profile, whitening_filters
    from repsim_energy.progress import Progress, Reporter
    from repsim_energy.results import open_result, save_result
    from repsim_energy.scheduling import patch_moments_of_chunks
    from repsim_energy.specs import write_spec
    from repsim_energy.training.recipe import Recipe

_HOMES = {
    "comparison": ("compare",),
    "data.pictures": ("batches_of_files", "images_of_files", "open_picture"),
    "errors": (
        "DataError",
        "FileError",
        "FilterBank",
        "RepsimError",
        "RepsimWarning",
        "ShapeError",
        "UsageError",
        "unknown_name",
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
        "Normalisation",
        "PatchBasis",
        "PatchTransform",
        "TrainedModel",
    ),
    "models.layers": ("find_layer", "prepare_first_layer", "read_filters"),
    "numerics.autocorrelation.autocorrelation": (
        "Autocorrelation",
        "LagMoments",
        "autocorrelation",
        "lag_moments",
    ),
    "numerics.cka.streaming": ("CKAMoments", "cka"),
    "numerics.profiles.energy": ("energy_profile", "profile_similarities", "profile_similarity"),
    "numerics.patches.per_image": (
        "average_patches",
        "average_shuffled_patches",
        "class_correlations",
        "patch_energies",
    ),
    "numerics.profiles.null": ("pearson_null_band",),
    "numerics.profiles.linear_cnn": ("linear_cnn_descent", "linear_cnn_filters"),
    "numerics.patches.moments": ("PatchMoments", "patch_moments"),
    "numerics.profiles.fit": ("ProfileFit", "fit_profile", "fit_profiles"),
    "numerics.profiles.theory": ("theoretical_profile", "whitening_filters"),
    "numerics.patches.tiles": ("tile_patches",),
    "progress": ("Progress", "Reporter"),
    "results": ("open_result", "save_result"),
    "scheduling": ("patch_moments_of_chunks",),
    "specs": ("write_spec",),
    "training.recipe": ("Recipe",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Activations",
    "Architecture",
    "Autocorrelation",
    "CKAMoments",
    "DataError",
    "Dataset",
    "DatasetLoader",
    "DatasetVariant",
    "FileError",
    "FilterBank",
    "ImageSet",
    "LagMoments",
    "Metric",
    "ModelFamily",
    "Normalisation",
    "PatchBasis",
    "PatchMoments",
    "PatchTransform",
    "ProfileFit",
    "Progress",
    "Recipe",
    "RepsimError",
    "RepsimWarning",
    "Reporter",
    "ShapeError",
    "TrainedModel",
    "UsageError",
    "__version__",
    "autocorrelation",
    "average_patches",
    "average_shuffled_patches",
    "batches_of_files",
    "cka",
    "class_correlations",
    "compare",
    "energy_profile",
    "find_layer",
    "fit_profile",
    "fit_profiles",
    "hookimpl",
    "images_of_files",
    "lag_moments",
    "linear_cnn_descent",
    "linear_cnn_filters",
    "open_picture",
    "open_result",
    "patch_energies",
    "patch_moments",
    "patch_moments_of_chunks",
    "pearson_null_band",
    "prepare_first_layer",
    "profile_similarities",
    "profile_similarity",
    "read_filters",
    "save_result",
    "theoretical_profile",
    "tile_patches",
    "unknown_name",
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
