"""Figure 5: the classes hardly correlate with any single component of the patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsim_energy.experiments.figures import draw_matrix
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.numerics.patches.per_image import (
    average_patches,
    class_correlations,
    component_energies,
)
from repsim_energy.results import Variable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import ImageSet, PatchBasis

__all__ = ["run"]

PATCHES = {"cifar10": (3, 3), "imagenet": (7, 7)}
"""Data set -> height and width of the patches in the paper."""


def run(setting: Setting) -> Outcome:
    """Correlate each class, one against all, with each component's coefficient and energy."""
    outcome = Outcome()
    sources = setting.available(outcome, *PATCHES)
    panels = iter(outcome.panels(2 * len(sources), columns=2))
    for source in sources:
        images = setting.data(source).train
        correlations = _correlations(images, setting.basis(images, PATCHES[source]))
        components = range(correlations["energy"].shape[1])
        coords = {"class": list(images.classes), "component": components}
        outcome.keep(source, setting.result(_variables(correlations), coords, source))
        chance = math.sqrt(2 / (math.pi * len(images)))
        for name, r in correlations.items():
            _add(outcome, source, name, abs(r), chance)
            columns = [str(component) for component in components]
            title = f"{source}: {name}"
            draw_matrix(next(panels), images.classes, r, title, columns=columns, numbers=False)
    return outcome


def _correlations(images: ImageSet, basis: PatchBasis) -> dict[str, NDArray[np.float64]]:
    """Return the (classes, components) correlations with coefficients and with energies."""
    measured = {
        "coefficient": average_patches(images.images, basis.patch[1:]) @ basis.components.T,
        "energy": component_energies(images.images, basis),
    }
    return {
        name: class_correlations(values, images.labels, len(images.classes)).numpy()
        for name, values in measured.items()
    }


def _add(
    outcome: Outcome, source: str, name: str, size: NDArray[np.float64], chance: float
) -> None:
    outcome.add(
        f"{source}: mean |r| of a class with a component's {name}",
        size.mean(),
        key=f"fig5/{source}",
        note=f"{chance:.3f} by chance",
    )
    outcome.add(
        f"{source}: largest |r| with a component's {name}", size.max(), key=f"fig5/{source}"
    )


def _variables(found: dict[str, NDArray[np.float64]]) -> dict[str, Variable]:
    """Return the correlations of every class with every component as variables."""
    dims = ("class", "component")
    return {
        f"{name}_correlation": Variable(
            dims, values, f"correlation of a class with a component's {name}"
        )
        for name, values in found.items()
    }
