"""Frames keep to their laws on patches of any size: orthonormal, tight, tiling, deterministic."""

import sys

import numpy as np
import pytest
import torch
from samples import noise_images, smooth_images
from scipy.fft import dctn

import repsim_energy as rs
from repsim_energy.errors import FlatProfileWarning, ShapeError, UsageError
from repsim_energy.numerics.frames.bank import FRAMES, OF_IMAGES, frame_bank
from repsim_energy.numerics.frames.wavelets import haar

SIZES = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 5), (3, 3), (3, 4), (4, 4), (5, 5), (6, 6), (7, 7)]
WAVELETS = [f"db{order}" for order in range(2, 9)]
ORTHONORMAL = ["dct", "fourier", "haar"]
FIXED = [name for name in FRAMES if name not in OF_IMAGES]


@pytest.fixture(autouse=True)
def _packages(request):
    name = getattr(request.node, "callspec", None)
    used = str(name.params.values()) if name and "package" not in name.params else ""
    if "'db" in used:
        pytest.importorskip("pywt", reason="needs PyWavelets: pip install 'repsim-energy[lecture]'")
    if "curvelet" in used:
        pytest.importorskip("curvelets", reason="pip install 'repsim-energy[lecture]'")


def flat(name, channels, patch, **options):
    return frame_bank(name, channels, patch, **options).flatten(1).numpy()


def identity(n):
    return pytest.approx(np.eye(n), abs=1e-12)


@pytest.mark.parametrize("patch", [*SIZES, (8, 8), (12, 10)])
@pytest.mark.parametrize("name", ORTHONORMAL)
def test_orthonormal_bases_are_orthonormal(name, patch):
    for channels in (1, 2, 3):
        d = channels * patch[0] * patch[1]
        bank = flat(name, channels, patch)
        assert bank.shape == (d, d)
        assert bank @ bank.T == identity(d)


@pytest.mark.parametrize("patch", [*SIZES, (12, 10)])
@pytest.mark.parametrize("name", WAVELETS)
def test_wavelets_are_a_parseval_frame_and_a_basis_without_odd_sides(name, patch):
    odd = sum(side > 1 and side % 2 == 1 for side in patch)
    for color in ("opponent", "channels"):
        bank = flat(name, 3, patch, color=color)
        d = 3 * patch[0] * patch[1]
        assert len(bank) == d * 2**odd
        assert bank.T @ bank == identity(d)


@pytest.mark.parametrize("name", WAVELETS)
def test_wavelets_are_those_of_pywavelets(name):
    """Up to the position at which periodic filters begin: of even orders, an odd pixel."""
    pywt = pytest.importorskip("pywt")
    image = np.random.default_rng(0).normal(size=(8, 8))
    coefficients = flat(name, 1, (8, 8)) @ image.ravel()
    begin = (len(pywt.Wavelet(name).dec_lo) // 2 + 1) % 2
    moved = np.roll(image, (begin, begin), (0, 1))
    _, (along_y, along_x, diagonal) = pywt.dwt2(moved, name, mode="periodization")
    finest = coefficients[16:].reshape(3, 4, 4)
    for ours, theirs in zip(finest, (along_x, along_y, diagonal), strict=True):
        shifts = [np.roll(ours, (i, j), (0, 1)) for i in range(4) for j in range(4)]
        assert min(np.abs(np.abs(one) - np.abs(theirs)).max() for one in shifts) < 1e-10


def test_the_dct_is_that_of_scipy():
    image = np.random.default_rng(0).normal(size=(5, 4))
    coefficients = flat("dct", 1, (5, 4)) @ image.ravel()
    expected = dctn(image, norm="ortho")
    frequency = np.hypot(np.arange(5)[:, None] / 10, np.arange(4) / 8).round(12)
    order = np.argsort(frequency.ravel(), kind="stable")
    assert coefficients == pytest.approx(expected.ravel()[order], abs=1e-12)


def test_fourier_coefficients_are_those_of_the_fft():
    image = np.random.default_rng(0).normal(size=(4, 5))
    bank = flat("fourier", 1, (4, 5))
    power = np.square(np.abs(np.fft.fft2(image))).ravel() / 20
    spectra = np.square(np.abs(np.fft.fft2(bank.reshape(-1, 4, 5)))).reshape(20, 20)
    places = [np.flatnonzero(one > 1e-9 * one.max()) for one in spectra]
    assert all(len(place) in (1, 2) for place in places)
    by_frequency = {}
    for place, value in zip(places, bank @ image.ravel(), strict=True):
        key = tuple(place)
        by_frequency[key] = by_frequency.get(key, 0.0) + value**2
    for place, energy in by_frequency.items():
        assert energy == pytest.approx(sum(power[i] for i in place))
    radius = np.hypot(np.fft.fftfreq(4)[:, None], np.fft.fftfreq(5)).ravel()
    order = [radius[place[0]] for place in places]
    assert order == sorted(order)


def test_haar_wavelets_of_a_power_of_two_are_the_classical_ones():
    pair = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    expected = [np.outer(a, b) for a in pair for b in pair]
    assert haar(2, 2) == pytest.approx(np.stack(expected))
    coarse = haar(4, 4)[1] / np.abs(haar(4, 4)[1]).max()
    assert coarse.tolist() == [[1, 1, -1, -1]] * 4
    assert all(np.abs(one).max() > 0.4 for one in haar(4, 4)[4:])
    assert haar(1, 3).round(12).tolist() == [
        [[pytest.approx(3**-0.5)] * 3],
        [[pytest.approx(6**-0.5)] * 2 + [pytest.approx(-((2 / 3) ** 0.5))]],
        [[pytest.approx(0.5**0.5), pytest.approx(-(0.5**0.5)), 0]],
    ]


@pytest.mark.parametrize("patch", [*SIZES, (8, 8), (5, 8), (16, 3)])
@pytest.mark.parametrize("name", ["curvelet"])
def test_shifted_curvelets_are_a_parseval_frame(name, patch):
    bank = frame_bank(name, 1, patch)[:, 0].numpy()
    spectrum = np.square(np.abs(np.fft.fft2(bank))).sum(0)
    assert spectrum == pytest.approx(np.ones(patch), abs=1e-9)
    image = np.random.default_rng(0).normal(size=patch)
    circular = np.fft.ifft2(np.fft.fft2(image) * np.conj(np.fft.fft2(bank))).real
    assert np.square(circular).sum() == pytest.approx(np.square(image).sum())


@pytest.mark.parametrize("name", ["curvelet"])
def test_curvelets_have_two_parts_for_each_wedge_and_differ_in_orientation(name):
    counts = {(7, 7): 13, (8, 8): 37, (16, 16): 85}
    for patch, n in counts.items():
        assert frame_bank(name, 1, patch).shape == (n, 1, *patch)
        assert frame_bank(name, 3, patch).shape == (3 * n, 3, *patch)
    angles = rs.describe_components(frame_bank(name, 1, (7, 7))[1::2].numpy())["orientation"]
    apart = np.abs((angles[:, None] - angles + 90) % 180 - 90) + 180 * np.eye(len(angles))
    assert apart.min() > 10  # six wedges in 180 degrees


def test_gabor_functions_tile_orientation_and_frequency():
    bank = frame_bank("gabor", 1, (25, 25))[:, 0].numpy()
    assert len(bank) == 1 + 2 * 6 * 4  # wavelengths of 24, 12, 6 and 3 pixels
    assert np.linalg.norm(bank, axis=(1, 2)) == pytest.approx(1)
    assert bank[1:].sum((1, 2)) == pytest.approx(0, abs=1e-12)
    n = 100
    power = np.square(np.abs(np.fft.fft2(bank, (n, n))))
    y, x = np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n), indexing="ij")
    pairs = (power[1::2] + power[2::2])[12:]  # wavelengths of 6 and 3, which fit into the patch
    for index, pair in enumerate(pairs):
        top = np.unravel_index(pair.argmax(), pair.shape)
        wavelength, angle = (6, 3)[index // 6], 30 * (index % 6)
        assert np.hypot(y[top], x[top]) == pytest.approx(1 / wavelength, abs=0.02)
        found = np.degrees(np.arctan2(y[top], x[top])) % 180
        assert min(abs(found - angle), 180 - abs(found - angle)) < 5
    peaks = pairs / pairs.max((1, 2), keepdims=True)
    ring = (np.hypot(y, x) > 1 / 8) & (np.hypot(y, x) < 1 / 2.5)
    assert np.sqrt(peaks.max(0)[ring].min()) > 1 / 3  # nowhere far from all of them


def test_gabor_functions_of_one_row_are_those_along_it():
    bank = frame_bank("gabor", 1, (1, 9), orientations=2)
    assert len(bank) == 1 + 2 * 2  # two octaves; waves across the row vanish
    assert frame_bank("gabor", 1, (1, 1)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("patch", SIZES)
@pytest.mark.parametrize("name", FIXED)
def test_every_frame_is_finite_nonzero_and_the_same_again_on_any_patch(name, patch):
    for channels in (1, 3, 4):
        bank = frame_bank(name, channels, patch)
        assert bank.dtype == torch.float64
        assert bank.shape[1:] == (channels, *patch)
        assert bool(bank.isfinite().all())
        assert float(bank.flatten(1).norm(dim=1).min()) > 1e-6
        assert torch.equal(bank, frame_bank(name, channels, patch))


def test_colors_are_gray_red_blue_and_magenta_green():
    gray, opponent, third = frame_bank("dct", 3, (1, 1))[:, :, 0, 0].numpy()
    assert gray == pytest.approx(np.ones(3) / 3**0.5)
    assert opponent == pytest.approx(np.array([1, 0, -1]) / 2**0.5)
    assert third == pytest.approx(np.array([1, -2, 1]) / 6**0.5)
    alone = frame_bank("haar", 3, (2, 2), color="channels")
    assert [int((one.abs().sum((1, 2)) > 0).sum()) for one in alone] == [1] * 12
    assert torch.equal(alone[::3, 0], frame_bank("haar", 1, (2, 2))[:, 0])


def test_the_first_filters_are_the_first_of_all():
    assert torch.equal(frame_bank("dct", 3, (3, 3), filters=5), frame_bank("dct", 3, (3, 3))[:5])
    assert frame_bank("random", 3, (3, 3), filters=100).shape == (100, 3, 3, 3)


def test_random_filters_depend_on_the_seed_and_have_norm_1_on_average():
    one, other = (frame_bank("random", 3, (7, 7), seed=seed, filters=400) for seed in (0, 1))
    assert not torch.equal(one, other)
    assert float(one.square().sum() / 400) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (3, 3), (2, 5)])
def test_pca_and_whitening_are_what_they_say(patch, rng):
    images = smooth_images(rng)
    moments = rs.patch_moments(images.images, patch)
    basis, covariance = moments.basis(), moments.covariance().numpy()
    d = 3 * patch[0] * patch[1]
    components = flat("pca", 3, patch, basis=basis)
    assert components @ components.T == identity(d)
    variances = np.diag(components @ covariance @ components.T)
    assert (np.diff(variances) <= 1e-12).all()
    for eps in (0.0, 1e-9, 5e-4):
        bank = flat("whitening", 3, patch, basis=basis, eps=eps)
        assert len(bank) == 2 * d
        assert (bank[1::2] == -bank[::2]).all()
        shrunk = variances / (variances + eps * np.trace(covariance) / d)
        white = bank[::2] @ covariance @ bank[::2].T
        assert white == pytest.approx(np.diag(shrunk), abs=1e-6)
    default = flat("whitening", 3, patch, basis=basis)
    assert (np.diff(np.linalg.norm(default[::2], axis=1)) >= 0).all()


def test_whitening_does_not_depend_on_the_unit_of_the_pixels(rng):
    images = smooth_images(rng).images
    byte, unit, scaled = (
        frame_bank("whitening", 3, (3, 3), basis=rs.patch_moments(one, (3, 3)).basis())
        for one in (images, images.double() / 255, images.double() / 25.5)
    )
    assert byte == pytest.approx(unit, rel=1e-6)
    assert scaled * 10 == pytest.approx(unit, rel=1e-6)


@pytest.mark.parametrize("name", [*ORTHONORMAL, "db4", "pca"])
def test_the_profile_of_a_tight_frame_is_constant_on_any_basis(name):
    basis = rs.patch_moments(noise_images(40, (3, 12, 12)).images, (3, 3)).basis()
    bank = frame_bank(name, 3, (3, 3), basis=basis)
    for dtype in (torch.float64, torch.float32):
        profile = rs.energy_profile(bank.to(dtype), basis)
        assert profile == pytest.approx(len(bank) ** -0.5, rel=1e-6)
        with pytest.warns(FlatProfileWarning):
            assert np.isnan(rs.profile_similarity(profile, np.arange(27.0)))
    part = rs.energy_profile(bank[:9].float(), basis)
    assert np.isfinite(rs.profile_similarity(part, np.arange(27.0)))


def test_whitening_has_the_profile_of_the_theory_without_end(rng):
    basis = rs.patch_moments(smooth_images(rng).images, (3, 3)).basis()
    profile = rs.energy_profile(frame_bank("whitening", 3, (3, 3), basis=basis, eps=0.0), basis)
    assert profile * np.sqrt(basis.eigenvalues.numpy() * 27) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (("dtc", 3, (3, 3), {}), UsageError, "did you mean 'dct'"),
        (("dct", 3, (0, 3), {}), ShapeError, "at least one of each"),
        (("dct", 3, (99, 99), {}), ShapeError, "at most 16384"),
        (("dct", 3, (3, 3), {"eps": 1.0}), UsageError, "option of frame 'dct' 'eps'"),
        (("dct", 3, (3, 3), {"filters": 28}), UsageError, "from 1 to 27"),
        (("dct", 3, (3, 3), {"color": "lab"}), UsageError, "opponent or channels"),
        (("gabor", 3, (3, 3), {"orientations": 0}), UsageError, "orientations=0"),
        (("random", 3, (3, 3), {"filters": 0}), UsageError, "filters=0"),
        (("random", 3, (3, 3), {"seed": -1}), UsageError, "seed=-1"),
        (("pca", 3, (3, 3), {}), UsageError, "give their basis"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, error, message):
    name, channels, patch, options = call
    with pytest.raises(error, match=message) as caught:
        frame_bank(name, channels, patch, **options)
    assert "\n" not in str(caught.value)


def test_a_basis_of_other_patches_and_a_negative_eps_are_refused(rng):
    basis = rs.patch_moments(smooth_images(rng).images, (3, 3)).basis()
    with pytest.raises(ShapeError, match=r"\(3, 5, 5\)"):
        frame_bank("pca", 3, (5, 5), basis=basis)
    with pytest.raises(UsageError, match="eps=-1"):
        frame_bank("whitening", 3, (3, 3), basis=basis, eps=-1.0)


@pytest.mark.parametrize(("name", "package"), [("db2", "pywt"), ("curvelet", "curvelets.numpy")])
def test_a_missing_package_is_named(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match="pip install 'repsim-energy.lecture.'"):
        frame_bank(name, 1, (3, 3))
