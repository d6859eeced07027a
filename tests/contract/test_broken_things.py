"""Each rule is there for something: what breaks it is found, and said with its remedy."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from samples import noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.testing import (
    RuleViolation,
    check_dataset,
    check_metric,
    check_model,
    check_variant,
)


def broken(check, thing, **options):
    """Return what the check says of the rules that the thing breaks."""
    with pytest.raises(RuleViolation) as caught:
        check(thing, **options)
    assert caught.value.exit_code == 1
    found = {finding.rule: finding.problem for finding in caught.value.findings if finding.problem}
    assert all(problem in str(caught.value) for problem in found.values())
    return found


class Energy(EnergyProfileCorrelation):
    """The metric without its shortcuts, so that what is overridden is what is used."""

    compare_all = compare_stacks = property()


class Distance(Energy):
    direction = "distance"


class Lower(Energy):
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})


class Modest(Energy):
    invariances = frozenset({"permutation", "scale"})


class Wider(Energy):
    def compare(self, a, b):
        return 2 * super().compare(a, b)


class Lopsided(Energy):
    def compare(self, a, b):
        return super().compare(a, b) - 0.01 * (a.sum() > b.sum())


class Drawn(Energy):
    def null_interval(self, a, b):
        return -float(np.random.rand()), 1.0  # noqa: NPY002


class Spoils(Energy):
    def represent(self, subject):
        subject.filters.mul_(2)
        return super().represent(subject)


class SpoilsInComparing(Energy):
    def compare(self, a, b):
        a += 1e-9
        return super().compare(a, b)


class Lists(Energy):
    def represent(self, subject):
        return super().represent(subject).tolist()


class Invents(Energy):
    def compare(self, a, b):
        return float(np.nan_to_num(super().compare(a, b)))


class Backwards(Energy):
    def null_interval(self, a, b):
        return 1.0, -1.0


class Other(Energy):
    def compare_all(self, stack):
        return np.zeros((3, len(stack), len(stack)))


class OtherStacks(Energy):
    def compare_stacks(self, stacks):
        return np.zeros((*stacks.shape[:2], stacks.shape[1]))


class OneStack(Energy):
    def compare_stacks(self, stacks):
        return super().compare(*stacks[0][:2])


class Unlike(Energy):
    def null_distribution(self, a, b):
        return scipy.stats.norm()


class Unlawful(Energy):
    def null_distribution(self, a, b):
        return object()


class Boasts(Energy):
    def representation_bytes(self, images):
        return 10**9


class Raises(Energy):
    def compare(self, a, b):
        raise KeyError("oops")


class Nothing:
    name = "nothing"


METRICS = {
    Distance: {"self-comparison": "declares a distance; correct the value or the direction"},
    Lower: {"invariant to translation": "declares the invariance 'translation' but changes by"},
    Modest: {"not invariant to orthogonal": "does not declare the invariance 'orthogonal'"},
    Wider: {"within the bounds": "the value or the declared bounds"},
    Lopsided: {"symmetric": "expected the same; return the mean of both"},
    Drawn: {"repeated calls": "draws from global random numbers"},
    Spoils: {"not modified": "represent modifies its input; work on a copy"},
    SpoilsInComparing: {"not modified": "modifies a representation; work on a copy"},
    Lists: {"array of finite numbers": "represent returns list of no type"},
    Invents: {"NaN": "expected NaN", "all-zero": "expected NaN"},
    Backwards: {"null_interval returns": "returns (1.0, -1.0)"},
    Other: {"compare_all, if defined": "compare_all differs"},
    OtherStacks: {"compare_stacks, if defined": "compare_stacks differs"},
    OneStack: {"compare_stacks, if defined": "compare_stacks differs"},
    Unlike: {"null_distribution": "expected the same"},
    Unlawful: {"null_distribution": "returns an object without cdf, sf, ppf"},
    Boasts: {"representation_bytes": "expected about 216"},
    Raises: {"within the bounds": "raises KeyError: 'oops'"},
    Nothing: {"required attributes": "lacks operates_on, direction"},
}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_what_a_metric_breaks_is_found(metric):
    found = broken(check_metric, metric())
    for rule, problem in METRICS[metric].items():
        assert any(rule in r and problem in p for r, p in found.items()), found


class Described(Energy):
    """Adds variables of a profile.

    Parameters
    ----------
    describe : function of a profile that returns them
    """

    def __init__(self, describe):
        self.describe = describe

    def variables(self, profile):
        return self.describe(profile)


def one(*parts, **changes):
    """Return a function that describes each profile by this variable."""
    return lambda profile: {"total": rs.Variable(*parts)._replace(**changes)}


def spoils(profile):
    profile *= 2
    return {}


def drawn(profile, numbers=iter(range(99))):  # noqa: B008 (one sequence on purpose)
    return {"total": rs.Variable((), next(numbers), "a count")}


VARIABLES = {
    "no mapping": (lambda p: [p.sum()], "variables returns list, expected a mapping"),
    "no variable": (lambda p: {"total": p.sum()}, "'total' is float64, expected repsim_energy"),
    "no name": (lambda p: {"a b": rs.Variable((), 1.0, "x")}, "'a b' has no valid name"),
    "no description": (one((), 1.0, " "), "has long_name ' ', expected a text"),
    "no unit": (one((), 1.0, "sum", ""), "has units '', expected a text; '1' is no unit"),
    "text": (one((), "a", "sum"), "has <U1 values, expected numbers"),
    "no axis": (one(("end",), 1.0, "sum"), "('end',) and values of shape (), expected a name"),
    "one text": (one("end", [1.0] * 3, "sum"), "has dimensions 'end', expected a sequence"),
    "of networks": (one(("seed",), [1.0], "sum"), "('seed',), expected each once, without"),
    "twice": (one(("y", "y"), np.eye(2), "sum"), "('y', 'y'), expected each once"),
    "ragged": (
        lambda p: {"top": rs.Variable(("top",), p[p > np.median(p) * 1.5], "largest")},
        "for two networks, expected the same names",
    ),
    "spoils": (spoils, "variables modifies a representation"),
    "drawn": (drawn, "variables returns other numbers for the same representation"),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_of_a_metric_that_are_not_described_are_found(name):
    describe, problem = VARIABLES[name]
    found = broken(check_metric, Described(describe))
    ((rule, said),) = found.items()
    assert rule.startswith("variables, if defined")
    assert problem in said


def test_described_variables_of_a_metric_pass():
    def describe(profile):
        return {
            "total": rs.Variable((), profile.sum(), "sum of the profile", "weight units"),
            "share": rs.Variable(("component",), profile / profile.sum(), "share of the sum"),
            "undefined": rs.Variable((), np.nan, "a number that does not exist"),
        }

    check_metric(Described(describe))


class Features(Energy):
    """Correlates the features of two networks whatever images they saw."""

    name, operates_on = "features", "activations"
    invariances = frozenset({"scale", "permutation"})

    def represent(self, subject):
        return np.sort(subject.values.std(0).double().numpy())


def test_a_metric_on_activations_has_to_refuse_other_images():
    (problem,) = (
        p for rule, p in broken(check_metric, Features()).items() if "different numbers" in rule
    )
    assert "expected a RepsimError" in problem


def test_a_metric_that_breaks_nothing_passes_whatever_it_warns():
    class Warns(Energy):
        def compare(self, a, b):
            value = super().compare(a, b)
            if math.isnan(value):
                warnings.warn("undefined", rs.RepsimWarning, stacklevel=2)
            return value

    assert not any(finding.problem for finding in check_metric(Warns()))


SHARED = nn.Linear(6, 10)


class Late(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.second, self.first = nn.Conv2d(4, 4, 1), nn.Linear(channels, 4)
        self.read = nn.Linear(4, classes)

    def forward(self, images):
        mixed = self.first(self.before(images.movedim(1, 3))).movedim(3, 1)
        return self.read(self.second(mixed).mean((2, 3)))

    def before(self, images):
        return images


class Bent(Late):
    def before(self, images):
        return images.relu()


def always_ten(classes, channels):
    return small_cnn(10, channels)


def always_color(classes, channels):
    return small_cnn(classes, 3)


def unseeded(classes, channels):
    built = small_cnn(classes, channels)
    for parameter in built.parameters():
        nn.init.constant_(parameter, 0.5)
    return built


def own_numbers(classes, channels):
    built = small_cnn(classes, channels)
    nn.init.normal_(built[0].weight, generator=torch.Generator().manual_seed(torch.seed() % 2**31))
    return built


def shared(classes, channels):
    built = small_cnn(classes, channels)
    return nn.Sequential(*built[:-1], SHARED if classes == 10 else built[-1])


class Detached(nn.Sequential):
    def forward(self, images):
        return super().forward(images).detach().requires_grad_()


def detached(classes, channels):
    return Detached(*small_cnn(classes, channels))


def dense(classes, channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32 * channels, classes))


def normed(classes, channels):
    size = 32 * 32 * channels
    return nn.Sequential(nn.Flatten(), nn.LayerNorm(size), nn.Linear(size, classes))


def noisy(classes, channels):
    class Noise(nn.Module):
        def forward(self, values):
            return values + torch.randn_like(values)

    return nn.Sequential(*small_cnn(classes, channels), Noise())


MODELS = {
    always_ten: (
        "number per image and class",
        "returns (4, 10) for 4 images of 1 channels, expected (4, 2)",
    ),
    always_color: ("number per image and class", "raises RuntimeError"),
    Bent: ("receives the image", "'first' (Linear), with the operations before it, is not linear"),
    normed: ("receives the image", "'2' (Linear), with the operations before it, is not linear"),
    unseeded: ("initial weights", "the same weights from every seed"),
    own_numbers: ("initial weights", "other weights from the same seed"),
    shared: ("shares no weights", "build new layers in each call"),
    detached: ("receives a gradient in its weights", "no gradient reaches any weight"),
    noisy: ("evaluation mode", "other numbers for the same images"),
}


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_what_a_model_breaks_is_found(build):
    rule, problem = MODELS[build]
    found = broken(check_model, build)
    assert any(rule in r and problem in p for r, p in found.items()), found


@pytest.mark.parametrize("build", [Late, dense])
def test_a_model_needs_no_convolution(build):
    check_model(build)


def test_models_that_are_none_or_stay_in_their_process_are_found():
    assert "builds str" in str(broken(check_model, lambda classes, channels: "net"))
    local = broken(check_model, lambda classes, channels: small_cnn(classes, channels))
    assert list(local) == ["can be pickled for another process"]
    drawn = broken(check_model, lambda c, k: rs.TrainedModel(small_cnn(c, k)))
    assert "in the second call" in drawn["has the same weights in every call"]


def pictures(split, **changes):
    return replace(noise_images(6, (3, 8, 8), seed=len(split)), **changes)


DATASETS = {
    "list": (lambda split: [1], "returns list for 'train'"),
    "labels": (lambda s: pictures(s, labels=torch.arange(6)), "labels go from 0 to 5, expected 0"),
    "kind": (lambda s: pictures(s, labels=torch.zeros(6)), "labels are torch.float32"),
    "ints": (lambda s: pictures(s, images=torch.zeros(6, 3, 8, 8).int()), "expected uint8"),
    "nan": (lambda s: pictures(s, images=torch.full((6, 3, 8, 8), math.nan)), "hold NaN"),
    "classes": (lambda s: pictures(s, classes=("a", "a")), "names, each once"),
    "order": (lambda s: pictures(s, classes=("ab", "ba")[s == "test"]), "different classes"),
    "empty": (
        lambda s: pictures(s, images=torch.zeros(0, 3, 8, 8), labels=torch.zeros(0).long()),
        "no image",
    ),
    "shapes": (lambda s: pictures(s, images=torch.zeros(6, 3, len(s), 8)), "in the two splits"),
    "drawn": (lambda s: pictures(s, images=torch.rand(6, 3, 8, 8)), "sort files and fix the seed"),
    "same": (lambda s: pictures("train"), "the test images are the training images"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_what_a_data_set_breaks_is_found(name):
    load, problem = DATASETS[name]
    found = broken(check_dataset, load)
    assert any(problem in p for p in found.values()), found


def spoil(images):
    images.labels.add_(1).remainder_(4)
    return replace(images)


def narrow(images, train):
    return replace(images, images=images.images[..., 1:] if images is train else images.images)


VARIANTS = {
    "list": (lambda images: [], "returns list"),
    "nothing": (lambda images: images, "changes none of 80"),
    "spoils": (spoil, "work on a copy"),
    "drawn": (lambda i: replace(i, labels=i.labels[torch.randperm(80)]), "global random numbers"),
    "narrow": (narrow, "for the two splits"),
    "gone": (lambda i: replace(i, images=i.images[:0], labels=i.labels[:0]), "returns no image"),
    "beyond": (lambda i: replace(i, labels=i.labels + 1), "labels go from 1 to 4"),
    "bytes": (lambda i: replace(i, images=i.images ^ 255), "not implemented for 'Float'"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_variant_breaks_is_found(name):
    change, problem = VARIANTS[name]
    found = broken(check_variant, change)
    assert any(problem in p for p in found.values()), found
