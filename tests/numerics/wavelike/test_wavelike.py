"""Localized and oriented filters: against slow loops, closed forms, invariances and controls."""

import warnings

import numpy as np
import pytest

import repsim_energy as rs
from repsim_energy.numerics.frames.bank import frame_bank
from repsim_energy.numerics.wavelike.measure import MAX_SPREAD, MIN_COHERENCE, MIN_SIDE

NAMES = ("spread", "coherence", "localized", "oriented", "wavelike")


def noise(count, channels, height, width, seed=0):
    return np.random.default_rng(seed).normal(size=(count, channels, height, width))


def smooth_noise(count, side, power):
    """Cut filters out of random images whose amplitude falls as a power of the frequency."""
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(4 * side)] * 2))
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(noise(count, 1, 4 * side, 4 * side)) * frequency**-power
    return np.fft.ifft2(spectrum).real[..., :side, :side]


def grid(side):
    return np.mgrid[:side, :side] - (side - 1) / 2


def gaussian(side, sigma):
    y, x = grid(side)
    return np.exp(-(x**2 + y**2) / (2 * sigma**2))


def gabors(side, count=300, noise_energy=0.0):
    """Gabor functions of random orientation, phase, wavelength and position, plus noise."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        y, x = grid(side) - random.uniform(-side / 8, side / 8, (2, 1, 1))
        angle, phase = random.uniform(0, np.pi), random.uniform(0, 2 * np.pi)
        wave = 2 * np.pi / random.uniform(2.5, side / 1.5)
        stripes = np.cos(wave * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        one = stripes * np.exp(-(x**2 + y**2) / (2 * (side / 5) ** 2))
        found.append(one / np.linalg.norm(one))
    return np.array(found)[:, None] + noise_energy**0.5 / side * noise(count, 1, side, side)


def slow_spread(u):
    """Search the direction of the largest variance among 900."""
    c, h, w = u.shape
    weight = {(y, x): sum(u[k, y, x] ** 2 for k in range(c)) for y in range(h) for x in range(w)}
    total = sum(weight.values())
    largest = 0.0
    for angle in np.linspace(0, np.pi, 900):
        along = {
            (y, x): np.cos(angle) * y / ((h * h - 1) / 12) ** 0.5
            + np.sin(angle) * x / ((w * w - 1) / 12) ** 0.5
            for y, x in weight
        }
        mean = sum(weight[p] * along[p] for p in weight) / total
        largest = max(largest, sum(weight[p] * (along[p] - mean) ** 2 for p in weight) / total)
    return largest


def slow_coherence(u):
    c, h, w = u.shape
    xx = yy = xy = 0.0

    def at(k, y, x):
        return u[k, y, x] if 0 <= y < h and 0 <= x < w else 0.0

    for k in range(c):
        for y in range(-1, h):
            for x in range(-1, w):
                a, b = at(k, y, x), at(k, y, x + 1)
                d, e = at(k, y + 1, x), at(k, y + 1, x + 1)
                gx, gy = (b - a + e - d) / 2, (d - a + e - b) / 2
                xx, yy, xy = xx + gx * gx, yy + gy * gy, xy + gx * gy
    return np.hypot(xx - yy, 2 * xy) / (xx + yy)


@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 6, 6), (2, 5, 8), (4, 9, 5)])
def test_both_numbers_are_their_definitions(shape):
    for one in noise(2, *shape) * np.linspace(0.1, 2, shape[-1]):
        found = rs.wavelike(one)
        assert found["spread"] == pytest.approx(slow_spread(one), rel=1e-4)
        assert found["coherence"] == pytest.approx(slow_coherence(one), abs=1e-12)
        assert found["localized"] == (found["spread"] < MAX_SPREAD)
        assert found["oriented"] == (found["coherence"] > MIN_COHERENCE)
        assert found["wavelike"] == found["localized"] * found["oriented"]


def test_closed_forms():
    y, x = grid(9)
    two = np.zeros((9, 9))
    two[4, 2] = two[4, 6] = 1.0  # two pixels, 4 apart: variance 4
    stripe = np.zeros((9, 9))
    stripe[4] = 1.0
    found = rs.wavelike(np.stack([np.ones((9, 9)), two, stripe])[:, None])
    np.testing.assert_allclose(found["spread"], [1, 4 / ((81 - 1) / 12), 1], rtol=1e-12)
    np.testing.assert_allclose(found["coherence"][:2], [0, 0], atol=1e-12)
    # a stripe of length n: 2 n - 1 squares of gradient along y at each edge, and its 4 ends
    assert found["coherence"][2] == pytest.approx(8 / 9, abs=1e-12)


@pytest.mark.parametrize("part", [8, 12])
def test_the_spread_of_a_window_is_twelve_times_the_square_of_its_relative_width(part):
    """With a quarter of the side it is 12 / 16, the threshold; wide windows would be cut off."""
    side = 201
    window = gaussian(side, np.sqrt(2) * side / part)  # the squares have a width of side / part
    assert rs.wavelike(window[None])["spread"] == pytest.approx(12 / part**2, rel=2e-3)
    assert pytest.approx(12 / 4**2) == MAX_SPREAD


def test_scale_sign_channels_rotations_and_mirror_images_change_nothing():
    filters = np.concatenate([noise(20, 3, 7, 7), 1e-3 * gabors(7, 20).repeat(3, 1)])
    found = rs.wavelike(filters)
    same = (
        -3e-200 * filters,
        1e200 * filters,
        filters[:, ::-1],
        filters[..., ::-1],
        filters[..., ::-1, :],
        filters.swapaxes(-2, -1),
        np.rot90(filters, 1, (-2, -1)),
        filters.reshape(2, 20, 3, 7, 7),
    )
    for other in same:
        for name, values in rs.wavelike(other).items():
            np.testing.assert_allclose(values.ravel(), found[name], rtol=1e-10, atol=1e-12)


def test_a_filter_repeated_in_channels_counts_as_one():
    filters = noise(50, 1, 6, 6)
    colors = filters * np.array([1.0, -2.0, 0.5])[:, None, None]
    for name, values in rs.wavelike(colors).items():
        np.testing.assert_allclose(values, rs.wavelike(filters)[name], rtol=1e-12)


def test_a_border_of_zeros_keeps_the_coherence_and_the_variance():
    filters = noise(20, 2, 5, 5)
    wide = np.pad(filters, [(0, 0), (0, 0), (1, 3), (2, 2)])
    before, after = rs.wavelike(filters), rs.wavelike(wide)
    np.testing.assert_allclose(after["coherence"], before["coherence"], rtol=1e-12)
    np.testing.assert_allclose(after["spread"] * (81 - 1), before["spread"] * (25 - 1), rtol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(5, 5), (6, 6), (7, 7), (11, 11), (5, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_passes_each_threshold_at_most_one_time_in_twenty(height, width, channels):
    found = rs.wavelike(noise(3000, channels, height, width))
    assert found["localized"].mean() <= 0.05
    assert found["oriented"].mean() <= 0.05
    assert found["wavelike"].mean() <= 0.01


def test_more_noise_of_four_pixels_would_pass():
    """This is why filters of less than 5x5 pixels are not judged."""
    with pytest.warns(rs.RepsimWarning, match="4x4"):
        found = rs.wavelike(noise(4000, 1, 4, 4))
    assert MIN_SIDE == 5
    assert (found["spread"] < MAX_SPREAD).mean() > 0.05
    assert (found["coherence"] > MIN_COHERENCE).mean() > 0.05


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("side", [5, 7, 11, 16])
def test_smooth_noise_seldom_passes(power, side):
    """It has the spectrum of natural images (1), or falls faster."""
    assert rs.wavelike(smooth_noise(500, side, power))["wavelike"].mean() <= 0.01


@pytest.mark.parametrize(
    ("side", "energy", "least"),
    [(5, 0.0, 0.6), (7, 0.0, 0.8), (11, 0.0, 0.9), (7, 0.25, 0.6), (11, 0.25, 0.85)],
)
def test_gabor_functions_pass(side, energy, least):
    assert rs.wavelike(gabors(side, noise_energy=energy))["wavelike"].mean() >= least


def test_no_gabor_function_of_three_pixels_would_pass():
    with pytest.warns(rs.RepsimWarning, match="3x3"):
        found = rs.wavelike(frame_bank("gabor", 1, (3, 3)))
    assert not ((found["spread"] < MAX_SPREAD) & (found["coherence"] > MIN_COHERENCE)).any()


@pytest.mark.parametrize("side", [5, 7, 8, 11])
def test_waves_and_cosines_are_not_localized(side):
    fourier = rs.wavelike(frame_bank("fourier", 3, (side, side)))
    assert fourier["localized"].mean() <= 0.05
    assert fourier["oriented"].mean() > 0.5
    assert fourier["wavelike"].sum() == 0
    assert rs.wavelike(frame_bank("dct", 1, (side, side)))["wavelike"].mean() <= 0.05


@pytest.mark.parametrize("side", [5, 7, 11])
def test_cosines_of_one_frequency_in_both_directions_are_not_oriented(side):
    waves = np.cos(np.pi * np.outer(np.arange(side), np.arange(side) + 0.5) / side)
    found = rs.wavelike(np.array([np.outer(one, one)[None] for one in waves]))
    assert not found["oriented"].any()


@pytest.mark.parametrize("side", [7, 9, 12])
def test_disks_and_centers_with_a_surround_are_localized_but_not_oriented(side):
    difference = gaussian(side, 0.9) / 0.9**2 - gaussian(side, 1.44) / 1.44**2
    found = rs.wavelike(np.stack([gaussian(side, 1.2), difference])[:, None])
    assert found["localized"].tolist() == [1, 1]
    assert found["oriented"].tolist() == [0, 0]


@pytest.mark.parametrize("side", [5, 8])
def test_single_pixels_are_localized_but_not_oriented_wherever_they_are(side):
    found = rs.wavelike(np.eye(side**2).reshape(-1, 1, side, side))
    np.testing.assert_allclose(found["spread"], 0, atol=1e-12)
    np.testing.assert_allclose(found["coherence"], 0, atol=1e-12)
    assert found["localized"].all()
    assert not found["wavelike"].any()


def test_small_haar_edges_pass_and_edges_across_the_filter_do_not():
    small, whole, line = np.zeros((3, 8, 8))
    small[2:4, 4], small[2:4, 5] = 1, -1
    whole[:, :4], whole[:, 4:] = 1, -1
    line[:, 3], line[:, 4] = 1, -1
    found = rs.wavelike(np.stack([small, whole, line])[:, None])
    assert found["wavelike"].tolist() == [1, 0, 0]
    assert found["oriented"].tolist() == [1, 1, 1]


def test_principal_components_of_smooth_images_are_not_localized():
    patches = smooth_noise(4000, 7, 1.0).reshape(4000, 49)
    components = np.linalg.svd(patches - patches.mean(0), full_matrices=False)[2]
    found = rs.wavelike(components.reshape(-1, 1, 7, 7))
    assert found["wavelike"].mean() < 0.05
    assert found["oriented"].mean() > 0.15


def test_filters_without_weights_are_nan_and_named():
    filters = noise(4, 2, 5, 5)
    filters[0], filters[1, 0, 0, 0], filters[2, 1, 1, 1] = 0, np.nan, np.inf
    with pytest.warns(rs.RepsimWarning, match="3 of 4 filters are zero or not finite") as caught:
        found = rs.wavelike(filters)
    assert caught[0].filename == __file__
    for name in NAMES:
        assert np.isnan(found[name]).tolist() == [True, True, True, False], name


def test_small_filters_are_measured_but_not_judged():
    with pytest.warns(rs.RepsimWarning, match="got filters of 3x7 pixels, expected sides of 5"):
        found = rs.wavelike(noise(4, 3, 3, 7))
    assert np.isfinite(found["spread"]).all()
    assert np.isfinite(found["coherence"]).all()
    for name in ("localized", "oriented", "wavelike"):
        assert np.isnan(found[name]).all()


@pytest.mark.parametrize("shape", [(5, 5), (3, 0, 5, 5), (3, 1, 1, 5), (2, 1, 5, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(rs.ShapeError, match=r"expected \(\.\.\., c, h, w\)"):
        rs.wavelike(np.ones(shape))


def test_no_filters_have_no_numbers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rs.wavelike(np.ones((0, 3, 5, 5)))
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(NAMES, (0,))
