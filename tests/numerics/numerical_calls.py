"""Calls of every public numerical function; each is given a layout that its inputs are put in."""

import torch
from torch.nn.functional import avg_pool2d

import repsim_energy as rs
from repsim_energy.interfaces import PatchTransform
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.numerics.cka.hsic import cka_from_grams
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.per_image import average_shuffled_patches, class_correlations
from repsim_energy.numerics.patches.tiles import tile_patches

PATCH = (3, 3)


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


PIXELS = avg_pool2d(drawn(40, 3, 16, 16), 5, stride=1).sigmoid()
IMAGES = {
    "bytes": (255 * PIXELS).to(torch.uint8),
    "float64": PIXELS,
    "float32": PIXELS.float(),
    "float16": PIXELS.half(),
    "bfloat16": PIXELS.bfloat16(),
}
LARGE = (255 * drawn(3, 3, 48, 44).sigmoid()).to(torch.uint8)
BASIS = rs.patch_moments(IMAGES["bytes"], PATCH).basis()
LAGS = rs.patch_autocovariance(IMAGES["bytes"], PATCH, max_shift=3)
TRANSFORM = PatchTransform(BASIS.components.T @ BASIS.components.roll(1, 0), (3, 3, 3))
BANK = drawn(16, 3, 3, 3, dtype=torch.float32)
AVERAGES = rs.average_patches(IMAGES["bytes"], PATCH)
SECOND, CROSS = AVERAGES.T @ AVERAGES / 40, AVERAGES.mean(0)
LABELS = torch.arange(40) % 3
PROFILES = drawn(5, 27).abs()
FEATURES = {
    "narrow": (drawn(400, 90, dtype=torch.float32), drawn(400, 80, seed=1, dtype=torch.float32)),
    "wide": (drawn(60, 900, dtype=torch.float32), drawn(60, 800, seed=1, dtype=torch.float32)),
    "few": (drawn(12, 5), drawn(12, 4, seed=1)),
    "half": (drawn(400, 90).half(), drawn(400, 80, seed=1).half()),
}
OTHERS = drawn(40, 30, seed=2)


def _moments(found):
    return [found.count, found.total, found.second, found.mean, found.covariance()]


def _basis(found):
    return [found.components, found.eigenvalues, found.mean]


def _autocorrelation(found):
    return [found.curve, found.horizontal, found.vertical, found.map]


def _fits(found):
    return [[f.correlation, f.steps, f.step_size, float(f.at_bound), *f.profile] for f in found]


def _in_batches(x, y):
    state = rs.StreamingCKA()
    for start in range(0, len(x), 130):
        a, b = x[start : start + 130], y[start : start + 130]
        state.update(a, b)
    return [state.cka(), state.cka("biased")]


def _metric(estimator, activations):
    metric = LinearCKA(estimator=estimator)
    mine, other = (metric.represent(rs.Activations(a)) for a in (activations, OTHERS))
    return [mine, metric.compare(mine, other), metric.null_interval(mine, other)]


def _of_images(kind):
    images = IMAGES[kind]
    calls = {
        "patch_moments": lambda lay: _moments(rs.patch_moments(lay(images), PATCH)),
        "PatchMoments": lambda lay: _moments(
            rs.patch_moments(lay(images[:9]), PATCH) + rs.patch_moments(lay(images[9:]), PATCH)
        ),
        "autocorrelation": lambda lay: _autocorrelation(
            rs.autocorrelation(lay(images), max_shift=3)
        ),
        "patch_autocovariance": lambda lay: [
            rs.patch_autocovariance(lay(images), PATCH, max_shift=3).values
        ],
        "average_patches": lambda lay: [rs.average_patches(lay(images), PATCH)],
        "average_shuffled_patches": lambda lay: [average_shuffled_patches(lay(images), PATCH)],
        "component_energies": lambda lay: [rs.component_energies(lay(images), BASIS)],
    }
    if kind != "bytes":
        calls["tile_patches"] = lambda lay: [tile_patches(lay(images), TRANSFORM)]
    return {f"{name} of {kind}": call for name, call in calls.items()}


def _of_features(kind):
    x, y = FEATURES[kind]
    calls = {
        "cka": lambda lay: [rs.cka(lay(x), lay(y)), rs.cka(lay(x), lay(y), estimator="biased")],
        "StreamingCKA": lambda lay: _in_batches(lay(x), lay(y)),
        "cka_from_grams": lambda lay: [
            cka_from_grams(lay(rs.centered_gram(lay(x))), rs.centered_gram(lay(y)))
        ],
        "centered_gram": lambda lay: [rs.centered_gram(lay(x))],
        "unbiased_gram": lambda lay: [rs.unbiased_gram(lay(rs.centered_gram(x)))],
        "flatten_activations": lambda lay: [rs.flatten_activations(lay(x))],
    }
    return {f"{name} of {kind}": call for name, call in calls.items()}


def _stages(lay):
    """Return a basis of moments of three batches, changed, and what whitens it."""
    parts = [lay(part) for part in IMAGES["bytes"].split(15)]
    basis = rs.patch_moments(parts, PATCH).basis()
    return [*_basis(basis), *_basis(transform_basis(basis, TRANSFORM)), rs.whitening_filters(basis)]


ETA = 0.5 / float(BASIS.eigenvalues.max())
THEORY = rs.theoretical_profile(BASIS.eigenvalues, step_size=ETA, steps=[[20], [200]])[:, 0]
FOLLOWING = torch.from_numpy(THEORY) * (0.2 * drawn(2, 27)).exp()
LARGE_BANK = drawn(4, 3, 7, 7)
COVARIANCES = [w.T @ w for w in drawn(2, 40, 27)]

CALLS = {
    **{name: call for kind in IMAGES for name, call in _of_images(kind).items()},
    **{name: call for kind in FEATURES for name, call in _of_features(kind).items()},
    "patch_moments of large": lambda lay: _moments(rs.patch_moments(lay(LARGE), PATCH)),
    "patch_autocovariance of large": lambda lay: [
        rs.patch_autocovariance(lay(LARGE), (2, 2), max_shift=2).values
    ],
    "basis, whitening_filters": _stages,
    "describe_components": lambda lay: [
        *rs.describe_components(lay(BANK)).values(),
    ],
    "convolution_matrix": lambda lay: [
        rs.convolution_matrix(lay(BANK), (5, 6)).toarray(),
        rs.convolution_matrix(lay(BANK), (5, 6), boundary="zeros").toarray(),
    ],
    "keep_largest": lambda lay: [
        rs.keep_largest(lay(BANK), 9),
        rs.keep_largest(lay(BANK), 9, soft=True),
    ],
    "energy_profile": lambda lay: [rs.energy_profile(lay(BANK), BASIS)],
    "place_filters": lambda lay: [rs.place_filters(lay(BANK), (4, 5))],
    "filter_covariance": lambda lay: [rs.filter_covariance(lay(BANK), BASIS)],
    "misalignment": lambda lay: [rs.misalignment(lay(COVARIANCES[0]))],
    "compare_covariances": lambda lay: [
        rs.compare_covariances(*map(lay, COVARIANCES), kind=kind)
        for kind in ("cosine", "bures", "operator")
    ],
    "neural_feature_ansatz": lambda lay: [
        rs.neural_feature_ansatz(lay(BANK), lay(COVARIANCES[0]), alpha=alpha) for alpha in (0.5, 1)
    ],
    "PatchAutocovariance": lambda lay: _autocorrelation(LAGS.autocorrelation(lay(BANK))),
    "profile_similarities": lambda lay: [rs.profile_similarities(lay(PROFILES))],
    "profile_similarity": lambda lay: [rs.profile_similarity(lay(PROFILES[0]), lay(PROFILES[1]))],
    "beyond_theory": lambda lay: [rs.beyond_theory(*lay(FOLLOWING), lay(BASIS.eigenvalues))],
    "whitening_exponent": lambda lay: [
        rs.whitening_exponent(lay(PROFILES[0]), lay(BASIS.eigenvalues))
    ],
    "wavelike": lambda lay: [*rs.wavelike(lay(LARGE_BANK)).values()],
    "filter_quality": lambda lay: [*rs.filter_quality(lay(BANK)).values()],
    "whitening_distance": lambda lay: [
        rs.whitening_distance(lay(PROFILES[0]), lay(BASIS.eigenvalues))
    ],
    "fit_profiles": lambda lay: _fits(rs.fit_profiles(lay(PROFILES), lay(BASIS.eigenvalues))),
    "fit_profile": lambda lay: _fits([rs.fit_profile(lay(PROFILES[0]), [0.0, *range(26)])]),
    "theoretical_profile": lambda lay: [
        rs.theoretical_profile(lay(BASIS.eigenvalues), step_size=ETA, steps=[0, 1, 1e3, 1e300])
    ],
    "class_correlations": lambda lay: [class_correlations(lay(AVERAGES), lay(LABELS), 3)],
    "simulate_linear_cnn": lambda lay: [
        rs.simulate_linear_cnn(
            lay(BANK.flatten(1)), lay(AVERAGES), lay(LABELS.double()), step_size=0.01, steps=9
        )
    ],
    "solve_linear_cnn": lambda lay: [
        rs.solve_linear_cnn(
            lay(BANK.flatten(1)), lay(SECOND), lay(CROSS), step_size=0.001, steps=steps
        )
        for steps in (9, 10**6)
    ],
    "pearson_null_interval": lambda lay: [rs.pearson_null_interval(27)],
    "metric cka": lambda lay: _metric("debiased", lay(PIXELS.float())),
    "metric cka biased": lambda lay: _metric("biased", lay(PIXELS.float())),
}
"""Name -> function of a layout; what it returns is a list of numbers, arrays and tensors."""
