"""Figure 5: the classes are hardly correlated with any one component of the patches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsim_energy.numerics.patches.per_image import (
    average_patches,
    class_correlations,
    component_energies,
)
from repsim_energy.paper.figures import draw_matrix, new_figure
from repsim_energy.paper.outcome import Outcome
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

PATCHES = {"cifar10": (3, 3), "imagenet": (7, 7)}
"""Data set -> the patch that the paper looks at."""


def run(setting: Setting) -> Outcome:
    """Correlate each class, one against all, with each component's coefficient and energy."""
    outcome = Outcome()
    sources = setting.available(outcome, *PATCHES)
    outcome.figure, panels = new_figure(max(1, 2 * len(sources)), columns=2)
    for number, source in enumerate(sources):
        images = setting.data(source).train
        basis = setting.basis(images, PATCHES[source])
        coefficients = average_patches(images.images, PATCHES[source]) @ basis.components.T
        found = {
            name: class_correlations(values, images.labels, len(images.classes)).numpy()
            for name, values in (
                ("coefficient", coefficients),
                ("energy", component_energies(images.images, basis)),
            )
        }
        coords = {"class": list(images.classes), "component": range(len(basis.eigenvalues))}
        outcome.keep(source, setting.result(_variables(found), coords, source))
        chance = math.sqrt(2 / (math.pi * len(images)))
        for offset, (name, values) in enumerate(found.items()):
            key = f"fig5/{source}"
            outcome.add(
                f"{source}: mean |r| of a class with a component's {name}",
                abs(values).mean(),
                key,
                "",
                f"{chance:.3f} by chance",
            )
            outcome.add(f"{source}: largest |r| with a component's {name}", abs(values).max(), key)
            axes = panels[2 * number + offset]
            components = [str(i) for i in coords["component"]]
            draw_matrix(
                axes,
                images.classes,
                values,
                f"{source}: {name}",
                columns=components,
                numbers=False,
            )
    return outcome


def _variables(found: dict[str, NDArray[np.float64]]) -> dict[str, Variable]:
    """Return the correlations of every class with every component as variables."""
    dims = ("class", "component")
    return {
        f"{name}_correlation": Variable(
            dims, values, f"correlation of a class with a component's {name}"
        )
        for name, values in found.items()
    }
