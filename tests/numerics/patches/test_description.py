"""Descriptions of components are those of gratings, ramps and colors whose answers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repsim_energy as rs
from repsim_energy.errors import ShapeError
from repsim_energy.numerics.patches.description import describe_components

SIZES = (3, 5, 7, 11)
DIRECTED = ("orientation", "coherence")
PRINCIPAL_COLORS = ([1, -1, 0], [1, 1, -2])


def described(component):
    """The description of one (kh, kw) or (c, kh, kw) component, as numbers."""
    u = np.asarray(component, dtype=np.float64)
    found = describe_components(u if u.ndim == 3 else u[None])
    return {name: float(value) for name, value in found.items()}


def grating(size, frequency, degrees, phase=0.0):
    """Stripes of this direction, counterclockwise as drawn, with pixels at -m..m."""
    y, x = np.mgrid[: size[0], : size[1]] - (np.array(size)[:, None, None] - 1) / 2
    across = np.radians(degrees - 90)
    along = x * np.cos(across) - y * np.sin(across)  # rows run downward
    return np.cos(2 * np.pi * frequency * along + phase)


def gap(a, b):
    """Difference of two directions in degrees."""
    return abs((a - b + 90) % 180 - 90)


@pytest.mark.parametrize("size", [(n, n) for n in SIZES] + [(3, 5), (7, 4)])
def test_standing_waves_of_the_patch_have_their_own_frequency(size):
    """Every cosine of the series: half a period more along one side, none at the mean."""
    h, w = size
    for k in range(h):
        for m in range(w):
            rows = np.cos(np.pi * k * (np.arange(h) + 0.5) / h)
            columns = np.cos(np.pi * m * (np.arange(w) + 0.5) / w)
            found = described(np.outer(rows, columns))
            assert found["frequency"] == pytest.approx(np.hypot(k / (2 * h), m / (2 * w)))
            assert found["symmetry"] == pytest.approx((-1) ** (k + m))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("frequency", [0.05, 0.1, 0.2, 0.25])
@pytest.mark.parametrize("phase", [np.pi / 2, 0.7])
def test_gratings_have_their_own_direction(size, frequency, phase):
    for degrees in range(0, 180, 15):
        found = described(grating((size, size), frequency, degrees, phase))
        assert gap(found["orientation"], degrees) < (1e-6 if degrees % 45 == 0 else 4)
        assert found["coherence"] == pytest.approx(1)
        assert 0 <= found["orientation"] < 180


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 137])
@pytest.mark.parametrize("frequency", [0.1, 0.2, 0.3])
def test_gratings_in_large_patches_have_about_their_own_frequency(degrees, frequency):
    found = described(grating((11, 11), frequency, degrees, 0.3))
    assert found["frequency"] == pytest.approx(frequency, abs=1 / 22)  # one step of the series


@pytest.mark.parametrize("size", [(3, 3), (11, 11), (2, 5), (4, 3)])
def test_ramps_have_their_own_direction(size):
    y, x = np.mgrid[: size[0], : size[1]]
    for degrees in range(180):
        across = np.radians(degrees - 90)
        found = described(x * np.cos(across) - y * np.sin(across) + 3)
        assert gap(found["orientation"], degrees) < 1e-6
        assert found["coherence"] == pytest.approx(1)


def test_patches_of_one_row_or_column_have_the_only_possible_direction():
    assert described([[1, 2, 4]])["orientation"] == 90
    assert described([[1], [2], [4]])["orientation"] == 0


def test_what_is_the_same_along_rows_and_columns_has_no_direction():
    saddle = [[1, 0, -1], [0, 0, 0], [-1, 0, 1]]
    for component in (
        saddle,
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[4, -2, 4], [-2, 1, -2], [4, -2, 4]],
    ):
        found = described(component)
        assert found["coherence"] == pytest.approx(0, abs=1e-12)
        assert np.isnan(found["orientation"])


def test_constants_have_neither_direction_nor_coherence():
    found = described(np.full((3, 3, 3), 1 / np.sqrt(27)))
    assert np.isnan(found["orientation"])
    assert np.isnan(found["coherence"])
    assert found["frequency"] == pytest.approx(0, abs=1e-12)
    assert found["symmetry"] == pytest.approx(1)
    assert found["chromatic_share"] == pytest.approx(0, abs=1e-12)


def test_gray_is_not_chromatic_and_opponent_colors_are():
    """The share of a mixture is the energy of its chromatic part."""
    shape = np.random.default_rng(0).standard_normal((5, 5))
    gray = np.stack([shape] * 3) / np.sqrt(3)
    assert described(gray)["chromatic_share"] == pytest.approx(0, abs=1e-12)
    for color in PRINCIPAL_COLORS:
        opponent = np.multiply.outer(color / np.linalg.norm(color), shape)
        assert described(opponent)["chromatic_share"] == pytest.approx(1)
        mixed = 0.6 * gray + 0.8 * opponent
        assert described(mixed)["chromatic_share"] == pytest.approx(0.64)
    red = np.multiply.outer([1, 0, 0], shape)
    assert described(red)["chromatic_share"] == pytest.approx(2 / 3)


def test_other_numbers_of_channels_have_no_colors():
    shape = np.random.default_rng(0).standard_normal((3, 3))
    assert described(shape)["chromatic_share"] == 0
    for channels in (2, 4):
        assert np.isnan(described([shape] * channels)["chromatic_share"])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 3]),
    st.sampled_from([(3, 3), (5, 5), (4, 7), (1, 4)]),
    st.floats(1e-12, 1e12),
)
def test_laws_of_any_component(seed, channels, size, scale):
    u = np.random.default_rng(seed).standard_normal((channels, *size))
    plain = described(u)
    assert described(-scale * u) == pytest.approx(plain)
    turned = described(np.rot90(u, axes=(1, 2)))
    assert gap(turned.pop("orientation"), plain["orientation"] + 90) < 1e-6
    assert turned == pytest.approx({k: v for k, v in plain.items() if k != "orientation"})
    mirrored = described(u[:, :, ::-1])
    assert gap(mirrored["orientation"], -plain["orientation"]) < 1e-6
    assert described(u[::-1]) == pytest.approx(plain)  # BGR
    even, odd = u + u[:, ::-1, ::-1], u - u[:, ::-1, ::-1]
    assert described(even)["symmetry"] == pytest.approx(1)
    assert described(odd)["symmetry"] == pytest.approx(-1)


def test_coherence_and_frequency_are_those_of_slow_loops():
    u = np.random.default_rng(3).standard_normal((3, 4, 5))
    xx = yy = xy = total = mean = 0.0
    for c in range(3):
        for y in range(3):
            for x in range(4):
                gx = (u[c, y, x + 1] - u[c, y, x] + u[c, y + 1, x + 1] - u[c, y + 1, x]) / 2
                gy = (u[c, y, x] - u[c, y + 1, x] + u[c, y, x + 1] - u[c, y + 1, x + 1]) / 2
                xx, yy, xy = xx + gx * gx, yy + gy * gy, xy + gx * gy
        for k in range(4):
            for m in range(5):
                rows = np.cos(np.pi * k * (np.arange(4) + 0.5) / 4)
                columns = np.cos(np.pi * m * (np.arange(5) + 0.5) / 5)
                wave = np.outer(rows, columns)
                power = (u[c] * wave).sum() ** 2 / (wave**2).sum()
                total, mean = total + power, mean + power * np.hypot(k / 8, m / 10)
    found = described(u)
    values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])  # the stripes run along the first one
    assert found["coherence"] == pytest.approx((values[1] - values[0]) / values.sum())
    direction = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
    assert gap(found["orientation"], direction) < 1e-9
    assert found["frequency"] == pytest.approx(mean / total)


def test_the_undefined_is_nan_without_a_warning():
    u = np.stack([np.zeros((3, 3, 3)), np.full((3, 3, 3), np.nan), np.full((3, 3, 3), np.inf)])
    for values in describe_components(u).values():
        assert values.shape == (3,)
        assert np.isnan(values).all()


def test_components_of_other_shapes_are_refused():
    for shape in [(3, 3), (27,), (2, 0, 3, 3)]:
        with pytest.raises(ShapeError, match="reshape"):
            describe_components(np.ones(shape))


def test_results_have_the_descriptions_of_their_components(pictures):
    bank = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    result = rs.compare({"a": bank, "b": -bank[::-1]}, pictures)
    for name, values in describe_components(result.components.values).items():
        np.testing.assert_array_equal(result[name].values, values)
        assert result[name].dims == ("dataset", "component")
        assert result[name].attrs["long_name"]
    assert (result.chromatic_share > 0.99).any()
    gray = result.isel(dataset=0).swap_dims(component="frequency")
    assert "frequency" in gray.energy.dims  # usable as an axis
