"""Built-in data sets and variants, registered through the plugin hooks."""

from __future__ import annotations

from repsim_energy.hookspecs import hookimpl


@hookimpl
def repsim_datasets() -> dict[str, str]:
    """Return the built-in data sets: name -> ``module:function``, imported on first use."""
    here = "repsim_energy.data"
    return {
        "deadleaves": f"{here}.deadleaves:deadleaves",
        "cifar10": f"{here}.torchvision_sets:cifar10",
        "cifar100": f"{here}.torchvision_sets:cifar100",
        "mnist": f"{here}.mnist:mnist",
        "fashion_mnist": f"{here}.mnist:fashion_mnist",
        "kmnist": f"{here}.mnist:kmnist",
        "idx": f"{here}.idx:idx",
        "folder": f"{here}.folder:folder",
        "npz": f"{here}.npz:npz",
    }


@hookimpl
def repsim_variants() -> dict[str, str]:
    """Return the built-in variants: name -> ``module:function``, imported on first use."""
    here = "repsim_energy.data"
    return {
        "random_labels": f"{here}.variants:random_labels",
        "pca_labels": f"{here}.patch_variants:pca_labels",
        "alpha_scaled": f"{here}.patch_variants:alpha_scaled",
    }
