"""Everything that is built in keeps to the rules that plugins are held to."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import LEAVES

import repsim_energy as rs
from repsim_energy.interfaces import TrainedModel
from repsim_energy.registry import (
    load_dataset,
    load_registry,
    resolve_metric,
    resolve_model,
    resolve_variant,
)
from repsim_energy.testing import (
    RuleViolation,
    check_dataset,
    check_metric,
    check_model,
    check_variant,
    datasets,
    metrics,
    models,
    variants,
)
from repsim_energy.testing.metric_fixture import CHANGES

REGISTRY = load_registry(plugins=False)
NARROW = [f"{name}:width=0.1" for name in REGISTRY.names("model") if name[:3] in ("vgg", "res")]
SMALL = ["lenet5", "lenet5:style=modern", "two_layer_cnn:width=0.2", "linear_cnn"]
MODELS = [*NARROW, "vgg11:width=0.1:bn=false", *SMALL, "torchvision/squeezenet1_1"]
COVARIANCES = ["covariance", "covariance:kind=bures", "covariance:kind=operator"]
METRICS = ["energy", *COVARIANCES, "cka", "cka:estimator=biased", "cka:batch=30"]
VARIANTS = ["random_labels:seed=3", "pca_labels:component=3", "alpha_scaled:component=3:alpha=2"]


def names(findings):
    return [finding.rule for finding in findings]


def broken(check, *things, **options):
    """The rules that something breaks."""
    with pytest.raises(RuleViolation) as caught:
        check(*things, **options)
    return [finding.rule for finding in caught.value.findings if finding.problem]


@pytest.mark.parametrize("spec", METRICS)
def test_a_metric_keeps_the_rules(spec):
    metric = resolve_metric(REGISTRY, spec).metric
    declared = [
        f"{'' if change in metric.invariances else 'not '}invariant to {change}, as declared"
        for change in CHANGES
    ]
    expected = ["defines all required attributes and methods", *metrics.RULES, *declared]
    assert names(check_metric(metric)) == expected


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("spec", METRICS)
def test_the_opposite_of_what_a_metric_declares_is_found(spec, change):
    metric = copy(resolve_metric(REGISTRY, spec).metric)
    metric.invariances = metric.invariances ^ {change}
    declared = "" if change in metric.invariances else "not "
    assert broken(check_metric, metric) == [f"{declared}invariant to {change}, as declared"]


@pytest.mark.parametrize("spec", MODELS)
def test_a_model_keeps_the_rules(spec):
    size = 64 if "torchvision" in spec else 32
    found = check_model(resolve_model(REGISTRY, spec).build, name=spec, size=size)
    assert names(found) == ["is built from the numbers of classes and channels", *models.RULES]


@pytest.mark.parametrize("spec", MODELS)
def test_a_model_that_is_not_what_it_was_asked_for_is_found(spec):
    """Of two classes instead of ten, and always the same network."""
    build = resolve_model(REGISTRY, spec).build
    size = 64 if "torchvision" in spec else 32

    def of_two_classes(num_classes, in_channels):
        return build(2, in_channels)

    def seeded(num_classes, in_channels):
        torch.manual_seed(0)
        return build(num_classes, in_channels)

    told = "can be pickled for another process"  # which functions of a test cannot
    assert broken(check_model, of_two_classes, size=size) == [
        "returns one finite number per image and class",
        "receives a gradient in its weights",
        told,
    ]
    assert broken(check_model, seeded, size=size) == [
        "draws its initial weights from torch's global generator",
        told,
    ]


@pytest.mark.parametrize("spec", VARIANTS)
def test_a_variant_keeps_the_rules(spec):
    change = resolve_variant(REGISTRY, spec)
    assert names(check_variant(change, name=spec)) == list(variants.RULES)


@pytest.mark.parametrize("spec", VARIANTS)
def test_a_variant_that_writes_into_what_it_is_given_is_found(spec):
    change = resolve_variant(REGISTRY, spec)

    def spoils(images, train):
        images.labels.copy_(images.labels.roll(1))
        return change(images, train)

    assert "inputs are not modified" in broken(check_variant, spoils)


@pytest.mark.parametrize("spec", [LEAVES, "npz", "folder"])
def test_a_data_set_keeps_the_rules(spec, pictures_npz, photos):
    spec += {"npz": f":path={pictures_npz}", "folder": f":path={photos}"}.get(spec, "")

    def load(split):
        return getattr(load_dataset(REGISTRY, spec), split)

    assert names(check_dataset(load, name=spec)) == [
        "loads a training and a test split",
        *datasets.RULES,
    ]

    def only_train(split):
        return load("train")

    assert broken(check_dataset, only_train) == ["test images differ from the training images"]

    def in_another_order(split):
        images = load(split)
        return replace(images, images=images.images[torch.randperm(len(images))])

    assert broken(check_dataset, in_another_order) == [
        "loading twice gives the same images, labels and order"
    ]


def test_a_given_network_keeps_the_rules(tmp_path):
    save_file({"conv.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "net.safetensors")
    build = resolve_model(REGISTRY, f"checkpoint:path={tmp_path / 'net.safetensors'}").build
    expected = ["is built from the numbers of classes and channels", *models.GIVEN_RULES]
    assert names(check_model(build)) == expected

    def drawn_anew(num_classes, in_channels):
        given = build(num_classes, in_channels)
        torch.nn.init.normal_(next(given.module.parameters()))
        return TrainedModel(given.module)

    assert broken(check_model, drawn_anew) == list(models.GIVEN_RULES)


def test_all_pairs_at_once_are_exactly_the_pairs_one_by_one(rng):
    metric = resolve_metric(REGISTRY, "energy").metric
    profiles = torch.rand(5, 27, generator=rng, dtype=torch.float64).numpy()
    similarity, low, high = metric.compare_all(profiles)
    for i, a in enumerate(profiles):
        for j, b in enumerate(profiles):
            assert similarity[i, j] == pytest.approx(metric.compare(a, b), abs=1e-12)
            assert (low[i, j], high[i, j]) == metric.null_interval(a, b)


@pytest.mark.parametrize("spec", ["energy", "covariance", "covariance:kind=bures"])
def test_stacks_are_compared_as_each_alone(spec, rng):
    metric = resolve_metric(REGISTRY, spec).metric
    basis = rs.patch_moments(torch.rand(9, 1, 6, 6, generator=rng), (3, 3)).basis()
    banks = torch.randn(12, 5, 1, 3, 3, generator=rng)
    stacks = np.stack([metric.represent(rs.FilterBank(bank, basis)) for bank in banks])
    stacks = stacks.reshape(3, 4, -1)
    found = metric.compare_stacks(stacks)
    assert found.shape == (3, 4, 4)
    for values, stack in zip(found, stacks, strict=True):
        np.testing.assert_allclose(values, metric.compare_all(stack)[0], rtol=0, atol=1e-14)
