"""Linear CKA: published values, exactness over batches, invariances and their absence."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim_energy.errors import DataError, ShapeError, UndefinedSimilarityWarning, UsageError
from repsim_energy.interfaces import Activations
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.numerics.cka.hsic import (
    centered_gram,
    cka_from_grams,
    hsic_matrix,
    unbiased_gram,
)
from repsim_energy.numerics.cka.streaming import StreamingCKA, cka


def features(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.fixture
def published():
    """The pair of google-research/representation_similarity, Demo.ipynb."""
    rng = np.random.RandomState(1337)  # noqa: NPY002  (the published pair is made this way)
    x = rng.randn(100, 10)
    return torch.from_numpy(x), torch.from_numpy(rng.randn(100, 10) + x)


def song(x, y):
    """Equation 5 of Song et al. (2012), written out."""
    k, m = x @ x.T, y @ y.T
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    n, one = len(x), torch.ones(len(x), dtype=torch.float64)
    return (
        torch.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def test_published_values(published):
    assert cka(*published, estimator="biased") == pytest.approx(0.5576132566, abs=1e-9)
    assert cka(*published) == pytest.approx(0.5134564895, abs=1e-9)


def test_debiased_is_the_ratio_of_song_estimates():
    x, y = features(30, 5), features(30, 8, seed=1) + 3
    slow = song(x, y) / (song(x, x) * song(y, y)).sqrt()
    assert cka(x, y) == pytest.approx(float(slow), abs=1e-12)


def test_biased_is_the_ratio_of_traces_of_centered_grams():
    x, y = features(25, 40) + 5, features(25, 6, seed=1)
    h = torch.eye(25, dtype=torch.float64) - 1 / 25
    k, m = x @ x.T, y @ y.T
    slow = [torch.trace(a @ h @ b @ h) for a, b in ((k, m), (k, k), (m, m))]
    expected = float(slow[0] / (slow[1] * slow[2]).sqrt())
    assert cka(x, y, estimator="biased") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
@pytest.mark.parametrize(("n", "d"), [(3000, 100), (20_000, 8), (300, 900), (40, 20_000)])
def test_float32_agrees_with_float64(n, d, estimator):
    """Tall ones in feature space, also beyond the rows that are added up in float32; wide ones as
    Gram matrices."""
    x = (features(n, d) + features(n, 1, seed=2)).float() + 3
    y = (features(n, d, seed=1) + features(n, 1, seed=2)).float().relu()
    slow = StreamingCKA().update(x[:, :900].double(), y[:, :900].double()).cka(estimator)
    if d > 900:
        slow = cka_from_grams(centered_gram(x.double()), centered_gram(y.double()), estimator)
    assert cka(x, y, estimator=estimator) == pytest.approx(slow, abs=2e-8)
    grams = centered_gram(x[:900]), centered_gram(y[:900])
    assert cka_from_grams(*grams, estimator) == pytest.approx(
        cka(x[:900].double(), y[:900].double(), estimator=estimator), abs=2e-8
    )


def test_float32_batches_give_the_whole_and_more_may_follow():
    x, y = features(5000, 64).float() + 2, features(5000, 32, seed=1).float()
    y[:, :5] += x[:, :5]
    moments = StreamingCKA()
    for rows in zip(x[:3000].split(700), y[:3000].split(700), strict=True):
        moments.update(*rows)
    assert moments.cka() == pytest.approx(cka(x[:3000].double(), y[:3000].double()), abs=1e-8)
    moments.update(x[3000:], y[3000:])
    assert moments.cka() == pytest.approx(cka(x.double(), y.double()), abs=1e-8)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e9, 1e18, 1e30])
def test_float32_features_of_any_size(scale):
    x, y = features(400, 60).float(), features(400, 60, seed=1).float()
    y = y + x
    for n in (400, 70):  # in feature space, and as Gram matrices
        expected = cka(x[:n], y[:n])
        assert cka(x[:n] * scale, y[:n]) == pytest.approx(expected, abs=1e-6)
        assert cka_from_grams(centered_gram(scale * x[:n]), centered_gram(y[:n])) == pytest.approx(
            expected, abs=1e-6
        )


def test_gram_forms_are_what_they_say():
    x, y = features(20, 7) + 2, features(20, 9, seed=1)
    k, m = (hsic_matrix(centered_gram(f)) for f in (x, y))
    assert float((k * m).sum()) == pytest.approx(float(song(x, y)), rel=1e-10)
    np.testing.assert_allclose(unbiased_gram(centered_gram(x)).sum(0), 0, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6),
    st.floats(-1e4, 1e4),
    st.sampled_from(["debiased", "biased"]),
)
def test_batches_give_the_whole(sizes, offset, estimator):
    x = features(sum(sizes) + 4, 5) + offset
    y = features(sum(sizes) + 4, 7, seed=1) + x[:, :1] - offset
    moments = StreamingCKA()
    for rows in zip(x.split([*sizes, 4]), y.split([*sizes, 4]), strict=True):
        moments.update(*rows)
    assert moments.cka(estimator) == pytest.approx(cka(x, y, estimator=estimator), abs=1e-9)


def test_the_unbiased_gram_of_any_kernel_needs_no_centering():
    """The definition of Szekely and Rizzo, entry by entry, of a kernel that is not linear."""
    x = features(9, 3)
    kernel = torch.exp(-torch.cdist(x, x).square())
    n, expected = len(kernel), torch.zeros(9, 9, dtype=torch.float64)
    off = kernel - torch.diag(kernel.diagonal())
    for i in range(n):
        for j in range(n):
            if i != j:
                rows, total = off[i].sum() + off[j].sum(), off.sum()
                expected[i, j] = kernel[i, j] - rows / (n - 2) + total / ((n - 1) * (n - 2))
    centering = torch.eye(n, dtype=torch.float64) - 1 / n
    for matrix in (kernel, kernel + 3, centering @ kernel @ centering, kernel.numpy()):
        torch.testing.assert_close(unbiased_gram(matrix), expected, atol=1e-14, rtol=0)


def test_kernels_that_are_none_are_refused():
    for shape in ((3,), (4, 5), (2, 4, 4)):
        with pytest.raises(ShapeError, match=r"expected \(n, n\)"):
            unbiased_gram(torch.ones(shape))
    with pytest.raises(DataError, match="got 3 samples, expected at least 4"):
        unbiased_gram(torch.ones(3, 3))
    with pytest.raises(DataError, match="not symmetric"):
        unbiased_gram(torch.arange(16.0).reshape(4, 4))
    with pytest.raises(DataError, match="NaN"):
        unbiased_gram(torch.full((4, 4), math.nan))
    for shape in ((3,), (0, 2), (2, 3, 4)):
        with pytest.raises(ShapeError, match=r"expected \(n, d\)"):
            centered_gram(torch.ones(shape))


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_grams_give_the_same(estimator):
    x, y = features(20, 50), features(20, 5000, seed=1) + 7
    grams = centered_gram(x), centered_gram(y)
    assert cka_from_grams(*grams, estimator) == pytest.approx(
        cka(x, y, estimator=estimator), abs=1e-12
    )


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_invariances_hold_and_others_do_not(estimator):
    x, y = features(40, 6), features(40, 6, seed=1)
    y = y + x
    value = cka(x, y, estimator=estimator)
    turn = torch.linalg.qr(features(6, 6, seed=2))[0]
    for same in (y @ turn, 5 * y, y + 100, y.flip(1)):
        assert cka(x, same, estimator=estimator) == pytest.approx(value, abs=1e-9)
    assert cka(x, x, estimator=estimator) == pytest.approx(1)
    assert abs(cka(x, y * torch.tensor([9, 1, 1, 1, 1, 1]), estimator=estimator) - value) > 0.01
    assert abs(cka(x, y.flip(0), estimator=estimator) - value) > 0.1


def test_bias_of_independent_noise_at_few_examples():
    """Published: 0.80 biased at n = 16 with 64 features; the debiased mean is about zero."""
    pairs = [(features(16, 64, 2 * i), features(16, 64, 2 * i + 1)) for i in range(60)]
    assert np.mean([cka(x, y, estimator="biased") for x, y in pairs]) == pytest.approx(
        0.8, abs=0.02
    )
    debiased = [cka(x, y) for x, y in pairs]
    assert abs(np.mean(debiased)) < 0.04
    assert min(debiased) < 0  # not clipped


def test_offsets_cost_no_digits():
    x, y = features(50, 6), features(50, 6, seed=1)
    assert cka((x + 1e6).float().double(), y) == pytest.approx(cka((x + 1e6).float(), y), abs=1e-12)
    assert cka(x + 1e6, y) == pytest.approx(cka(x, y), abs=1e-8)


@pytest.mark.parametrize("constant", [0.0, 1e8 / 3])
def test_constant_features_are_nan_with_a_warning(constant):
    x, y = torch.full((10, 3), constant), features(10, 3)
    for nothing in (x, x[:, :0]):
        with pytest.warns(UndefinedSimilarityWarning):
            assert math.isnan(cka(nothing, y))
    with pytest.warns(UndefinedSimilarityWarning):
        assert math.isnan(cka_from_grams(centered_gram(x), centered_gram(y)))


def in_every_way(x, y, estimator="debiased"):
    """Compute CKA whole, in batches, from Gram matrices, as the metric, and as it in batches."""
    yield cka(x, y, estimator=estimator)
    moments, half = StreamingCKA(), len(x) // 2
    yield moments.update(x[:half], y[:half]).update(x[half:], y[half:]).cka(estimator)
    yield cka_from_grams(centered_gram(x), centered_gram(y), estimator)
    metric = LinearCKA(estimator=estimator)
    one, other = (metric.represent(Activations(a)) for a in (x, y))
    yield metric.compare(one, other)
    if estimator == "debiased":
        metric = LinearCKA(batch=half)
        parts = [[metric.represent(Activations(part)) for part in a.split(half)] for a in (x, y)]
        yield metric.compare(*map(np.stack, parts))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d"), [(24, 1), (40, 500), (200, 9)])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_features_that_differ_for_one_example_have_no_debiased_cka(dtype, n, d, offset):
    """With s the difference, HSIC_1 of the kernel a_i a_j + offsets is exactly 0."""
    x = (offset * features(1, d, seed=2)).repeat(n, 1)
    x[3] += features(1, d, seed=3)[0]
    x, y = x.to(dtype), features(n, d).to(dtype)
    for one, other in ((x, y), (x, x)):
        with pytest.warns(UndefinedSimilarityWarning):
            assert [math.isnan(value) for value in in_every_way(one, other)] == [True] * 5
    assert all(math.isclose(v, 1, rel_tol=1e-5) for v in in_every_way(x, x, "biased"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d"), [(40, 500), (200, 9)])
@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_constants_up_to_rounding_have_no_cka(dtype, n, d, estimator):
    """Such as a layer whose kernel adds up in another order for the last batch."""
    constant = features(1, d, seed=2).to(dtype).repeat(n, 1)
    x = torch.where(features(n, d, seed=4) > 0, constant, constant.nextafter(2 * constant))
    with pytest.warns(UndefinedSimilarityWarning):
        found = list(in_every_way(x, features(n, d).to(dtype), estimator))
    assert all(map(math.isnan, found))


@pytest.mark.parametrize(("n", "d"), [(24, 40), (40, 500), (200, 9)])
def test_features_that_hardly_differ_for_others_have_a_cka(n, d):
    """One example a hundred times as far out as all others together is still a number."""
    x = features(n, d)
    x[3] *= 100
    whole, *others = in_every_way(x, x)
    assert whole == pytest.approx(1, abs=1e-9)
    assert others == pytest.approx([1] * 4, abs=1e-9)


def test_bad_input_is_refused():
    x = features(10, 3)
    with pytest.raises(ShapeError, match="one row per sample"):
        cka(x, x[:-1])
    for bad in (torch.nan, torch.inf):
        with pytest.raises(DataError, match="NaN"):
            cka(x, x * bad)
        with pytest.raises(DataError, match="NaN"):
            centered_gram(x * bad)
    for call in (cka, StreamingCKA().update):
        with pytest.raises(DataError, match="complex128, expected real"):
            call(x, x + 1j)
    with pytest.raises(DataError, match="complex128, expected real"):
        centered_gram(x + 1j)
    with pytest.raises(ShapeError, match="expected 3 as in the batches before"):
        StreamingCKA().update(x, x).update(x, x[:, :1])
    for d in (3, 3000):
        with pytest.raises(DataError, match="got 0 samples"):
            cka(torch.zeros(0, d), torch.zeros(0, d))
    with pytest.raises(DataError, match="at least 4"):
        cka(x[:3], x[:3])
    with pytest.raises(UsageError, match="unknown estimator"):
        cka(x, x, estimator="unbiased")


def test_features_that_vary_in_late_rows_alone_count():
    """Few rows decide about most features, all rows about the others."""
    x = features(60, 512).float()
    x[:50, ::2] = 3.0  # varies afterwards
    x[:, 5::8] = torch.where(features(60, 64, seed=1) > 0, 1.0, 1.0 + 2**-23)  # rounding alone
    varying = torch.ones(512, dtype=torch.bool)
    varying[5::8] = False
    centered = x[:, varying].double() - x[:, varying].double().mean(0)
    expected = centered @ centered.T
    torch.testing.assert_close(centered_gram(x), expected, rtol=1e-5, atol=1e-4)
