"""Banks of filters of one size: learned ones, independent components, frames and noise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.atlas import open_atlas
from repsim_energy.errors import not_installed
from repsim_energy.experiments.lecture.crbm import LAYERS
from repsim_energy.experiments.setting import Missing
from repsim_energy.numerics.crbm.network import train_network
from repsim_energy.numerics.frames.bank import frame_bank
from repsim_energy.numerics.patches.moments import patch_moments

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.experiments.outcome import Outcome
    from repsim_energy.experiments.setting import Setting

__all__ = ["PATCH", "SOURCES", "Banks", "gray", "random_patches", "smooth_noise", "strangers"]

Array = NDArray[np.float64]

Banks = dict[str, list[Array]]
"""Name -> (n, c, h, w) filters of each independent repetition, such as a seed."""

PATCH = 9
"""Height and width of the filters. Gabor functions of two octaves fit into 9 pixels."""

NETWORKS = (
    (f"two_layer_cnn:n0={PATCH}:m1=32", "cifar10"),
    (f"two_layer_cnn:n0={PATCH}:m1=32", "mnist"),
)
"""Models with first-layer filters of this size, and the data sets that they are trained on."""

PATCHES = {"smoke": 4_000, "cpu": 50_000, "full": 200_000}
"""Scale -> image patches that independent components are fitted to."""

COMPONENTS = {"smoke": 16, "cpu": 64, "full": 64}
"""Scale -> independent components, of the 80 without the mean: those of most variance."""

MAX_ITERATIONS = 500
"""Iterations after which independent components that have not converged are left out."""

NOISE = {"smoke": 1_000, "cpu": 10_000, "full": 10_000}
"""Scale -> filters of noise."""

STRANGERS = (
    "3ddfa_mobilenet_v1_05",
    "abcrown_resnet2b",
    "abcrown_resnet4b",
    "mlperf_tiny_resnet8",
    "mlperf_tiny_vww_mobilenet",
    "tiny_vgg_cnn_explainer",
    "ultraface_rfb_320",
    "ultraface_rfb_640",
    "ultraface_slim_320",
    "ultraface_slim_640",
)
"""Entries of the atlas that the published numbers of this experiment are of."""

FRAMES = ("gabor", "curvelet", "haar", "db2", "dct", "fourier")


def networks(setting: Setting, outcome: Outcome) -> Banks:
    """Return the filters of trained networks, their changes in training, and the initial ones."""
    banks: Banks = {}
    for spec, source in NETWORKS:
        if not setting.available(outcome, source):
            continue
        trained, failures = setting.train([spec], [setting.data(source)])
        outcome.failures += failures
        for stage in ("trained", "change", "init"):
            found = [network.at(stage) for network in trained.values()]
            bank = [filters.double().numpy() for filters in found if filters is not None]
            if bank:
                banks[f"{spec.partition(':')[0]}, {source}, {stage}"] = bank
    return banks


def deep_belief(setting: Setting, outcome: Outcome) -> Banks:
    """Return the first layers of convolutional deep belief networks on natural images, in gray."""
    options = replace(LAYERS[setting.scale.name][0], patch=(PATCH, PATCH))
    images = setting.data("natural").train.images
    trained = [train_network(images, [options], seed=seed)[0] for seed in setting.seeds]
    return {"crbm": [one.layer.filters.double().numpy() for one in trained]}


def independent_components(setting: Setting, outcome: Outcome) -> Banks:
    """Return independent components of natural image patches, in gray.

    The filters are the rows of the matrix that separates the components, the bases are the columns
    of its inverse: what a component adds to a patch.

    Source: Bell and Sejnowski (1997), "The 'independent components' of natural scenes are edge
    filters"; doi:10.1016/S0042-6989(97)00121-1.
    """
    try:
        from sklearn.decomposition import FastICA
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        need = "independent components need scikit-learn"
        raise Missing(str(not_installed(need, "lecture"))) from error
    scale = setting.scale.name
    patches = random_patches(gray(setting), PATCHES[scale])
    patches -= patches.mean(1, keepdims=True)
    options = {"whiten": "unit-variance", "tol": 1e-3, "random_state": 0}
    ica = FastICA(COMPONENTS[scale], max_iter=MAX_ITERATIONS, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            ica.fit(patches)
        except ConvergenceWarning:
            words = f"no convergence after {MAX_ITERATIONS} iterations"
            outcome.failures.append(f"independent components: {words}")
            return {}
    shape = (-1, 1, PATCH, PATCH)
    return {
        "ICA filters": [ica.components_.reshape(shape)],
        "ICA bases": [ica.mixing_.T.reshape(shape)],
    }


def fixed(setting: Setting, outcome: Outcome) -> Banks:
    """Return frames, and the principal components of natural image patches, in gray."""
    patch = (PATCH, PATCH)
    basis = patch_moments(gray(setting), patch).basis()
    banks = {name: frame_bank(name, 1, patch) for name in FRAMES}
    banks["pca"] = frame_bank("pca", 1, patch, basis=basis)
    return {name: [bank.numpy()] for name, bank in banks.items()}


def noise(setting: Setting, outcome: Outcome) -> Banks:
    """Return filters of white noise, and of noise with the spectrum of natural images."""
    random = np.random.default_rng(0)
    count = NOISE[setting.scale.name]
    return {
        "white noise": [random.normal(size=(count, 1, PATCH, PATCH))],
        "1/f noise": [smooth_noise(random, count, PATCH)],
    }


SOURCES: tuple[Callable[[Setting, Outcome], Banks], ...] = (
    networks,
    deep_belief,
    independent_components,
    fixed,
    noise,
)
"""Functions that return banks, in the order of the report."""


def strangers() -> Banks:
    """Return the 3x3 first layers of networks trained by other people, from the package."""
    atlas = open_atlas()
    return {name: [atlas[name].filters.double().numpy()] for name in STRANGERS}


def gray(setting: Setting) -> Tensor:
    """Return natural images, averaged over their channels, as (n, 1, h, w)."""
    return setting.data("natural").train.images.float().mean(1, keepdim=True)


def random_patches(images: Tensor, count: int) -> Array:
    """Return patches at random places of random images, as (count, d)."""
    random = np.random.default_rng(0)
    n, _, height, width = images.shape
    image, top, left = (
        random.integers(0, most, count) for most in (n, height - PATCH + 1, width - PATCH + 1)
    )
    inside = np.arange(PATCH)
    rows, columns = top[:, None, None] + inside[:, None], left[:, None, None] + inside
    patches: Array = images.numpy()[image[:, None, None], 0, rows, columns].astype(np.float64)
    return patches.reshape(count, -1)


def smooth_noise(random: np.random.Generator, count: int, side: int) -> Array:
    """Return parts of images whose amplitude falls as 1 / frequency, as (count, 1, side, side).

    Source: Field (1987), "Relations between the statistics of natural images and the response
    properties of cortical cells"; doi:10.1364/JOSAA.4.002379.
    """
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(4 * side)] * 2))
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(random.normal(size=(count, 1, 4 * side, 4 * side))) / frequency
    parts: Array = np.fft.ifft2(spectrum).real[..., :side, :side]
    return parts
