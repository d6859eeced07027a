"""Best n-term approximation: against slow reconstructions, and the rates of the theorem."""

import numpy as np
import pytest
import xarray as xr

import repsim_energy as rs
from repsim_energy.experiments.lecture.nterm import cartoon, fitted_rate, term_counts
from repsim_energy.experiments.lecture.representations import (
    curvelet_errors,
    fourier_errors,
    wavelet_errors,
)

TERMS = np.array([1, 2, 10, 63, 700])


@pytest.fixture(scope="module")
def image():
    return cartoon(64, 3)


def test_waves_are_left_out_one_by_one(image):
    waves = np.fft.fft2(image)
    order = np.argsort(np.abs(waves).ravel())[::-1]
    for count, error in zip(TERMS, fourier_errors(image, TERMS), strict=True):
        kept = np.zeros(waves.size, dtype=complex)
        kept[order[:count]] = waves.ravel()[order[:count]]
        again = np.fft.ifft2(kept.reshape(waves.shape))
        assert error == pytest.approx(np.square(np.abs(image - again)).sum(), rel=1e-9)


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "db8"])
def test_wavelets_are_left_out_one_by_one(image, wavelet):
    pywt = pytest.importorskip("pywt")
    packed, places = pywt.coeffs_to_array(pywt.wavedec2(image, wavelet, mode="periodization"))
    order = np.argsort(np.abs(packed).ravel())[::-1]
    for count, error in zip(TERMS, wavelet_errors(image, TERMS, wavelet), strict=True):
        kept = np.zeros(packed.size)
        kept[order[:count]] = packed.ravel()[order[:count]]
        levels = pywt.array_to_coeffs(kept.reshape(packed.shape), places, "wavedec2")
        again = pywt.waverec2(levels, wavelet, mode="periodization")
        assert error == pytest.approx(np.square(image - again).sum(), rel=1e-8)


def test_all_terms_leave_nothing_out(image):
    every = np.array([image.size])
    assert fourier_errors(image, every) == pytest.approx(0, abs=1e-20)
    pytest.importorskip("pywt")
    assert wavelet_errors(image, every, "db4") == pytest.approx(0, abs=1e-20)
    pytest.importorskip("curvelets")
    assert curvelet_errors(image, every)[0] < 1e-4 * np.square(image).sum()


def test_more_curvelets_approximate_better(image):
    pytest.importorskip("curvelets")
    errors = curvelet_errors(image, np.array([30, 100, 300, 1000]))
    assert (np.diff(errors) < 0).all()
    assert errors[0] < np.square(image).sum()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_curvelets_are_a_parseval_frame(size):
    """The squared coefficients add up to the squared pixels, and images are built again."""
    pytest.importorskip("curvelets")
    from repsim_energy.experiments.lecture.representations import _curvelets

    noise = np.random.default_rng(0).normal(size=(size, size))
    transform = _curvelets(size)
    coefficients = transform.forward(noise)
    energy = np.square(np.abs(transform.vect(coefficients))).sum()
    assert energy == pytest.approx(np.square(noise).sum(), rel=1e-6)
    np.testing.assert_allclose(transform.backward(coefficients), noise, atol=1e-6)


def test_rates_of_powers_are_found():
    terms = term_counts(512)
    assert (terms[0], terms[-1]) == (51, 512)
    assert fitted_rate(terms, 7.0 * terms**-1.5) == pytest.approx(-1.5)


def test_cartoons_are_smooth_but_for_one_edge():
    """Of a larger image, the share of pixels that differ much from a neighbor halves."""
    shares = []
    for size in (128, 256, 512):
        image = cartoon(size, 1)
        shares.append((np.abs(np.diff(image, axis=0)) > 0.2).mean())
        assert np.abs(image[:, [0, -1]]).max() < 1e-3 * np.abs(image).max()
    assert shares[0] / shares[1] == pytest.approx(2, rel=0.15)
    assert shares[1] / shares[2] == pytest.approx(2, rel=0.15)


def test_the_command_writes_rows_figure_and_result(repsim, tmp_path):
    pytest.importorskip("pywt")
    pytest.importorskip("curvelets")
    done = repsim("experiment", "nterm", "--scale", "smoke", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "nterm.svg").stat().st_size > 1000
    result = rs.open_result(tmp_path / "nterm.nc")
    assert isinstance(result, xr.Dataset)
    assert (np.diff(result.error.values, axis=-1) < 0).all()
    assert result.exponent.sel(representation="curvelet").mean() < -1
    error = {name: result.error.sel(representation=name) for name in ("curvelet", "fourier")}
    assert (error["curvelet"] < error["fourier"])[..., -1].all()


def test_the_list_names_it_and_unknown_names_are_refused(repsim):
    assert "nterm" in repsim("experiment", "list").stdout
    done = repsim("experiment", "nterms")
    assert done.returncode == 2
    assert "nterm" in done.stderr


@pytest.mark.slow
def test_rates_at_512_pixels_are_within_fifteen_percent(repsim, tmp_path):
    pytest.importorskip("curvelets")
    done = repsim("experiment", "nterm", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    exponent = rs.open_result(tmp_path / "nterm.nc").exponent.mean("seed")
    assert exponent.sel(representation="fourier") == pytest.approx(-0.5, rel=0.15)
    for wavelet in ("haar", "db2", "db4", "db8"):
        assert exponent.sel(representation=wavelet) == pytest.approx(-1, rel=0.15)
        assert exponent.sel(representation="curvelet") < exponent.sel(representation=wavelet)
