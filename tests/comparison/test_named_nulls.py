"""Named nulls of every metric: closed forms, slow loops, uniform p-values, and what is refused."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from samples import small_cnn

import repsim_energy as rs
from repsim_energy.comparison import stacks
from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.nulls import of_activations, of_filters
from repsim_energy.comparison.nulls.judged import judge
from repsim_energy.comparison.nulls.of_activations import CHANGES
from repsim_energy.comparison.nulls.of_filters import filter_numbers
from repsim_energy.comparison.nulls.words import DRAWS, Null, choose_null
from repsim_energy.comparison.plan import Key
from repsim_energy.errors import RepsimWarning, UndefinedSimilarityWarning, UsageError
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.numerics.inference.random_banks import (
    neighbor_correlations,
    smooth_filters,
)

AGAINST = ("null_low", "null_high", "null_threshold", "p_value", "calibrated")

PLAIN = ("name", "operates_on", "direction", "bounds", "invariances", "batch")


GRAY = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(4))


class Plain:
    """A metric with what the protocol requires, and no more: one by a stranger."""

    def __init__(self, metric):
        self._metric = metric
        for name in PLAIN:
            if hasattr(metric, name):
                setattr(self, name, getattr(metric, name))

    def represent(self, subject):
        return self._metric.represent(subject)

    def compare(self, a, b):
        return self._metric.compare(a, b)

    def null_interval(self, a, b):
        return (np.nan, np.nan)


class Distance(Plain):
    """One minus a similarity."""

    def __init__(self, metric):
        super().__init__(metric)
        self.direction, self.bounds = "distance", (0.0, 2.0)

    def compare(self, a, b):
        return 1 - self._metric.compare(a, b)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(3)
    return torch.rand(40, 3, 10, 10, generator=generator), torch.arange(40) % 5


@pytest.fixture(scope="module")
def banks():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(16, 3, 3, 3, generator=generator) for name in "abc"}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return {"a": small_cnn(3, 3, widths=(5, 6)), "b": small_cnn(3, 3, widths=(4, 7))}


def pair(result, name):
    """The number of the networks a and b."""
    return result[name].sel(model="a", model_ref="b").squeeze(drop=True)


def test_white_banks_correlate_as_the_closed_form_says(images, banks, monkeypatch):
    monkeypatch.setattr(of_filters, "DRAWS", 800)
    known = rs.compare(banks, images, null="white")
    drawn = rs.compare(banks, images, Plain(EnergyProfileCorrelation()), null="white")
    for name in ("null_low", "null_high", "null_threshold"):
        assert float(pair(drawn, name)) == pytest.approx(float(pair(known, name)), abs=0.06)
    np.testing.assert_allclose(drawn.p_value, known.p_value, atol=0.06)
    r = float(pair(known, "similarity"))
    law = scipy.stats.beta(12.5, 12.5, loc=-1, scale=2)
    assert float(pair(known, "p_value")) == pytest.approx(law.sf(r))
    assert float(pair(known, "null_threshold")) == pytest.approx(law.ppf(0.95))
    score = (r - law.ppf(0.95)) / (1 - law.ppf(0.95))
    assert float(pair(known, "calibrated")) == pytest.approx(score)


@pytest.mark.parametrize("word", ["smooth", "spectrum"])
def test_compare_all_changes_no_number_of_a_null(word, images, banks):
    one_by_one = rs.compare(banks, images, Plain(EnergyProfileCorrelation()), null=word)
    at_once = rs.compare(banks, images, null=word)
    for name in AGAINST:
        np.testing.assert_allclose(one_by_one[name], at_once[name], atol=1e-12)


@pytest.mark.parametrize("at_once", [of_filters.AT_ONCE, 1000])
def test_smooth_banks_are_those_of_a_slow_loop(at_once, images, banks, monkeypatch):
    """Drawn one by one, of each kind from the seed that it has, whatever is measured together."""
    for module in (of_filters, stacks):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
    result = rs.compare(banks, images)
    basis = rs.patch_moments(images[0], (3, 3)).basis()
    profiles = []
    for kind, name in ((0, "a"), (1, "b")):
        draw = torch.Generator().manual_seed(of_filters.SEED + 2 * kind)
        near, size = neighbor_correlations(banks[name]), banks[name].double().square().mean().sqrt()
        drawn = [smooth_filters(banks[name].shape, near, draw) for _ in range(DRAWS)]
        scaled = [(bank * (size / bank.square().mean().sqrt())).float() for bank in drawn]
        profiles.append([rs.energy_profile(bank, basis) for bank in scaled])
    values = sorted(map(rs.profile_similarity, *profiles))
    assert float(pair(result, "null_threshold")) == pytest.approx(values[190], abs=1e-12)
    ends = np.quantile(values, (0.025, 0.975))
    found = (float(pair(result, "null_low")), float(pair(result, "null_high")))
    np.testing.assert_allclose(found, ends, rtol=0, atol=1e-12)


def test_each_result_says_which_null_it_has(images, banks, networks):
    for word, meant in (("auto", "smooth"), ("white", "white"), ("metric", "metric")):
        result = rs.compare(banks, images, null=word)
        assert result.attrs["null"] == meant
        assert ("p_value" in result) == (meant != "metric")
    assert "equally smooth random filters" in rs.compare(banks, images).null_low.long_name
    for metric, word, meant in (
        ("cka", "auto", "permutation"),
        ("cka:estimator=biased", "auto", "metric"),
        ("cka:estimator=biased", "rotation", "rotation"),
    ):
        result = rs.compare(networks, images, metric, null=word)
        assert result.attrs["null"] == meant
        assert ("p_value" in result) == (meant != "metric")
        assert "best_p_value" not in result  # of a single layer


def test_the_metrics_own_interval_is_as_before(images, banks):
    result = rs.compare(banks, images, null="metric")
    low, high = rs.pearson_null_interval(27)
    assert float(pair(result, "null_low")) == low
    assert float(pair(result, "null_high")) == high


def simulated_p_values(word, monkeypatch):
    """p-values of 500 pairs of banks that are drawn from the null themselves."""
    monkeypatch.setattr(of_filters, "DRAWS", 1000)
    patches = torch.randn(400, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    mix = torch.nn.functional.pad(patches, (2, 2, 2, 2)).cumsum(2).cumsum(3)
    basis = rs.patch_moments(mix, (3, 3)).basis()
    draw = torch.Generator().manual_seed(2)
    if word == "spectrum":
        from repsim_energy.numerics.inference.random_banks import theory_filters

        curve = rs.theoretical_profile(basis.eigenvalues, step_size=0.1 / 27, steps=30)
        curve = curve / curve.max()
        drawn = [theory_filters(16, basis, curve, 10, draw) for _ in range(1000)]
    else:
        rho = {"white": 0.0, "smooth": 0.6}[word]
        drawn = [smooth_filters((16, 1, 3, 3), (rho, rho), draw) for _ in range(1000)]
    data = SimpleNamespace(train=SimpleNamespace(classes=tuple("0123456789")))
    plan = SimpleNamespace(datasets=[data], models=["one"], shape=Key(1, 1, 1000))
    metric = EnergyProfileCorrelation()
    profiles = np.stack([rs.energy_profile(bank, basis) for bank in drawn])
    similarity = metric.compare_all(profiles)[0].reshape(1, 1, 1000, 1, 1, 1000)
    at = {Key(0, 0, s): bank for s, bank in enumerate(drawn)}
    kernels = Kernels([basis], {(0, 0): (*basis.patch, 1, 1)})
    numbers = filter_numbers(Null(word, drawn=True), metric, plan, kernels, at, {}, similarity)
    p = numbers["p_value"].reshape(1000, 1000)
    return p[range(0, 1000, 2), range(1, 1000, 2)]


@pytest.mark.parametrize("word", ["white", "smooth", "spectrum"])
def test_p_values_of_filters_are_uniform_under_their_null(word, monkeypatch):
    p = simulated_p_values(word, monkeypatch)
    assert len(p) == 500
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


def features(generator, n, width=4):
    x = generator.normal(size=(n, width)) * [4, 2, 1, 1][:width]
    return rs.Activations(torch.from_numpy(x))


def test_p_values_of_shuffled_images_are_uniform_in_closed_form():
    metric, rng = LinearCKA(), np.random.default_rng(0)
    p = []
    for _ in range(600):
        a, b = (metric.represent(features(rng, 30)) for _ in range(2))
        p.append(metric.null_distribution(a, b).sf(metric.compare(a, b)))
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


@pytest.mark.parametrize("word", ["permutation", "rotation"])
def test_p_values_of_changed_samples_are_uniform(word):
    """With 19 draws p is k / 20, each with the same probability. 25 pairs share their changes."""
    rng, counts = np.random.default_rng(1), np.zeros(20)
    for block in range(24):
        x, y = rng.normal(size=(2, 12, 25, 2)) * [3, 1]
        change = CHANGES[word](np.random.default_rng(block))
        changed = [y] + [change(torch.from_numpy(y)).numpy() for _ in range(19)]
        values = [cross_covariances(x, one) for one in changed]
        for pair_number in range(25):
            draws = np.array([one[pair_number] for one in values])
            similarity, drawn = np.full((2, 2), draws[0]), np.tile(draws[1:, None, None], (1, 2, 2))
            p = judge(LinearCKA(), similarity, drawn, np.arange(2), 1.0)["p_value"][0, 1]
            counts[round(p * 20) - 1] += 1
    assert counts.sum() == 600
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def cross_covariances(x, y):
    """The size of the cross-covariance of each of 25 pairs of features (n, 25, 2)."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.square(np.einsum("npi,npj->pij", x, y)).sum((1, 2))


def test_a_rotation_keeps_the_mean_and_the_spectrum_of_the_gram_matrix():
    samples = torch.randn(30, 4, 3, 3, dtype=torch.float64).exp()
    turned = CHANGES["rotation"](np.random.default_rng(0))(samples)
    assert turned.shape == samples.shape
    torch.testing.assert_close(turned.mean(0), samples.mean(0))
    spectra = [torch.linalg.eigvalsh(rs.centered_gram(x.flatten(1))) for x in (samples, turned)]
    torch.testing.assert_close(*spectra, rtol=1e-6, atol=1e-6)
    assert (turned - samples).abs().max() > 0.1
    rotate = CHANGES["rotation"](np.random.default_rng(1))
    one = torch.eye(8, dtype=torch.float64)
    columns = torch.stack([rotate(one) for _ in range(1500)])
    mean = torch.full((8, 8), 1 / 8, dtype=torch.float64)
    torch.testing.assert_close(columns.mean(0), mean, atol=0.04, rtol=0)  # no rotation preferred
    torch.testing.assert_close(
        columns.var(0).mean(), torch.tensor(7 / 64).double(), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("metric", [LinearCKA(batch=20), LinearCKA(estimator="biased")])
def test_a_strangers_metric_is_represented_anew_and_gets_the_same(metric, images, networks):
    """By a second pass over the images, since it cannot shuffle a representation."""
    layers = ["convs", "output"]
    ours = rs.compare(networks, images, metric, layers=layers, null="permutation")
    other = rs.compare(networks, images, Plain(metric), layers=layers, null="permutation")
    for name in ("best_similarity", "best_null_threshold", "best_p_value", "best_calibrated"):
        np.testing.assert_allclose(other[name], ours[name], atol=1e-5)
    error = 0.0 if metric.estimator == "biased" else 0.08  # debiased ones are in closed form
    np.testing.assert_allclose(other.p_value, ours.p_value, atol=error + 1e-9)
    scale = float((ours.null_high - ours.null_low).mean())
    np.testing.assert_allclose(
        other.null_threshold, ours.null_threshold, atol=0.4 * scale if error else 1e-6
    )


def test_the_best_layers_are_those_of_a_slow_loop(images, networks):
    metric = LinearCKA()  # under the null its layers compete: all are about 0
    result = rs.compare(networks, images, metric, layers=["convs", "output"], null="permutation")
    own = rs.compare(networks, images, metric, layers=["convs", "output"], null="metric")
    s = own.similarity.squeeze(drop=True).transpose("model", "layer", "model_ref", "layer_ref")
    best = s.values[0, :, 1, :].max()
    assert float(pair(result, "best_similarity")) == best
    seen = []

    class Spy(Plain):
        def represent(self, subject):
            seen.append(subject.values)
            return metric.represent(subject)

    rs.compare(networks, images, Spy(metric), layers=["convs", "output"], null="metric")
    a, b = seen[:3], seen[3:]
    drawn = []
    for m in range(DRAWS):
        order = np.random.default_rng([of_activations.SEED, m]).permutation(40)
        drawn.append(
            max(
                metric.compare(
                    metric.represent(rs.Activations(x)), metric.represent(rs.Activations(y[order]))
                )
                for x in a
                for y in b
            )
        )
    threshold = sorted(drawn)[190]
    assert float(pair(result, "best_null_threshold")) == pytest.approx(threshold)
    p = (1 + sum(value >= best for value in drawn)) / 201
    assert float(pair(result, "best_p_value")) == pytest.approx(p)
    assert float(pair(result, "best_calibrated")) == pytest.approx(
        (best - threshold) / (1 - threshold)
    )
    of_pairs = float(pair(result, "null_threshold").max())
    assert threshold > of_pairs  # choosing has a price
    assert np.isnan(result.best_similarity.values[0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("kind", ["filters", "activations"])
def test_a_distance_is_the_mirrored_similarity(kind, images, banks, networks):
    if kind == "filters":
        subjects, metric, null, layers = banks, EnergyProfileCorrelation(), "smooth", ("first",)
    else:
        subjects, metric = networks, LinearCKA(estimator="biased")
        null, layers = "permutation", ("convs",)
    near, far = (
        rs.compare(subjects, images, of(metric), null=null, layers=layers)
        for of in (Plain, Distance)
    )
    np.testing.assert_allclose(far.p_value, near.p_value)
    np.testing.assert_allclose(far.calibrated, near.calibrated, atol=1e-9)
    np.testing.assert_allclose(far.null_threshold, 1 - near.null_threshold, atol=1e-9)
    np.testing.assert_allclose(far.null_low, 1 - near.null_high, atol=1e-9)


def test_numbers_of_undefined_pairs_are_nan(images, banks):
    with pytest.warns(RepsimWarning):
        result = rs.compare({**banks, "dead": torch.zeros(16, 3, 3, 3)}, images)
    for name in AGAINST:
        assert result[name].sel(model="dead").isnull().all()
        assert np.isfinite(float(pair(result, name)))
        assert np.isnan(result[name].values[0, 0, 0, 0, 0, 0])


def test_nothing_is_drawn_where_no_pair_is_defined(images, monkeypatch):
    monkeypatch.setattr(of_filters, "_represented", None)  # which would fail
    alone = rs.compare({"a": torch.randn(4, 3, 3, 3)}, images)
    assert all(alone[name].isnull().all() for name in AGAINST)
    with pytest.warns(RepsimWarning):
        flat = rs.compare({"a": torch.ones(4, 1, 1, 1), "b": torch.ones(2, 1, 1, 1)}, GRAY)
    assert all(flat[name].isnull().all() for name in AGAINST)


def test_draws_are_the_same_whatever_the_global_state(images, banks):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = rs.compare(banks, images)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(7)
    for name in AGAINST:
        np.testing.assert_array_equal(first[name], rs.compare(banks, images)[name])


def test_a_score_without_best_value_is_nan_with_a_reason(images, networks):
    class Product(Plain):
        def compare(self, a, b):
            return float(a[0, 1] ** 0.5 * b[0, 1] ** 0.5) if a is not b else float(a[0, 1])

        def represent(self, subject):
            return np.atleast_2d(LinearCKA(estimator="biased").represent(subject))

    metric = Product(LinearCKA())
    metric.bounds = (-np.inf, np.inf)
    with pytest.warns(UndefinedSimilarityWarning, match="has no best value"):
        result = rs.compare(networks, images, metric, null="permutation")
    assert result.calibrated.isnull().all()
    assert np.isfinite(float(pair(result, "p_value")))
    debiased = rs.compare(networks, images, null="permutation", metric="cka")  # 1 with itself
    assert np.isfinite(float(pair(debiased, "calibrated")))


@pytest.mark.parametrize(
    ("metric", "word"), [("energy", "permutation"), ("cka", "smooth"), ("energy", "none")]
)
def test_other_names_are_refused_with_those_there_are(metric, word, images, banks, networks):
    subjects = banks if metric == "energy" else networks
    known = "auto, smooth, white" if metric == "energy" else "auto, permutation, rotation"
    with pytest.raises(UsageError, match=re.escape(f"got null={word}, expected one of {known}")):
        rs.compare(subjects, images, metric, null=word)


def test_the_spectrum_needs_labels(images, banks):
    with pytest.raises(UsageError, match="null=spectrum and 'images' without labels"):
        rs.compare(banks, images[0], null="spectrum")


def test_many_comparisons_are_not_made_unasked(images, banks):
    metric = Plain(EnergyProfileCorrelation())
    assert choose_null("auto", metric, 9_999).word == "smooth"
    with pytest.warns(RepsimWarning, match="smooth filters take 10000 comparisons"):
        assert choose_null("auto", metric, 10_000) == Null("metric")
    assert choose_null("smooth", metric, 10_000).word == "smooth"
    assert choose_null("auto", EnergyProfileCorrelation(), 10_000).word == "smooth"


def test_corrected_p_values_count_each_pair_once(images, banks):
    result = rs.compare(banks, images, null="white")
    frame = rs.pairs(result)
    p = np.sort(frame.p_value)
    steps = np.minimum(1, np.maximum.accumulate(p * [3, 2, 1]))
    np.testing.assert_allclose(np.sort(frame.p_holm), steps)
    np.testing.assert_allclose(frame.p_bh, scipy.stats.false_discovery_control(frame.p_value))
    corrected = rs.adjust_p_values(result, "bh")
    assert corrected.name == "p_bh"
    assert corrected.dims == result.p_value.dims
    assert float(corrected.sel(model="a", model_ref="c").squeeze()) == frame.p_bh[1]
    assert float(corrected.sel(model="c", model_ref="a").squeeze()) == frame.p_bh[1]
    assert np.isnan(corrected.values[0, 0, 0, 0, 0, 0])
    with pytest.raises(UsageError, match="without p-values"):
        rs.adjust_p_values(rs.compare(banks, images, null="metric"))
