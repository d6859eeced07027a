"""Recipes: what they may ask for, their step sizes, losses and weight decay, and their keys."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from samples import small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.training.loop import descend, loss_of, names_without_decay, optimizer_of
from repsim_energy.training.recipe import FIRST_OPTIONS, RECIPES, Recipe, parse_recipe

STEPS = 40


def sizes(total=STEPS, **options):
    recipe = Recipe(lr=0.5, steps=total, **options)
    return [recipe.step_size(done, total) for done in range(total)]


def test_one_cycle_is_a_cosine_after_a_rise_of_30_percent():
    assert sizes(schedule="one_cycle") == sizes(schedule="cosine", warmup=0.3)


def test_a_cosine_falls_from_the_step_size_to_zero_symmetrically():
    found = torch.tensor(sizes(schedule="cosine"), dtype=torch.float64)
    assert (found.diff() < 0).all()
    torch.testing.assert_close(found + found.flip(0), torch.full((STEPS,), 0.5).double())
    assert found[0] == pytest.approx(0.5, rel=2e-3)


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_warmup_rises_linearly_and_changes_no_length(schedule):
    found = torch.tensor(sizes(schedule=schedule, warmup=0.25), dtype=torch.float64)
    rise = 0.5 * (torch.arange(10, dtype=torch.float64) + 0.5) / 10
    torch.testing.assert_close(found[:10], rise)
    assert found[9] < 0.5
    assert found[10] <= 0.5


def test_steps_fall_at_their_milestones():
    assert sizes(schedule="step") == pytest.approx([0.5] * 20 + [0.05] * 10 + [0.005] * 10)
    found = sizes(7, schedule="step", milestones=(0.4,), gamma=3.0)  # 2.8 steps: the nearest
    assert found == pytest.approx([0.5] * 3 + [1.5] * 4)
    assert sizes(schedule="step", milestones=()) == sizes()


def test_every_option_has_a_text():
    text = (
        "quick:schedule=step:warmup=0.1:milestones=0.3/0.6/0.9:gamma=0.5:nesterov=true:"
        "weight_decay=0.01:decay_norms=false:label_smoothing=0.2:crop=2:flip=true:ema=0.9"
    )
    recipe = parse_recipe(text)
    assert recipe.milestones == (0.3, 0.6, 0.9)
    assert (recipe.nesterov, recipe.decay_norms, recipe.flip) == (True, False, True)
    assert Recipe(**json.loads(json.dumps(recipe.as_options()))) == recipe


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "paper:nesterov=true": "nesterov=true without momentum",
        "quick:optimizer=adam:nesterov=true": "nesterov=true without momentum",
        "quick:optimizer=adam:momentum=0.9": "momentum=0.9 with optimizer=adam",
        "quick:decay_norms=false": "decay_norms=false without weight decay",
        "quick:loss=mse:label_smoothing=0.1": "expected loss=cross_entropy",
        "quick:label_smoothing=1": "label_smoothing=1.0, expected at least 0 and below 1",
        "quick:ema=nan": "ema=nan, expected at least 0 and below 1",
        "quick:warmup=0.1": "warmup=0.1 with schedule=one_cycle, expected schedule=cosine or",
        "paper:warmup=0.1": "warmup=0.1 with schedule=constant",
        "quick:milestones=0.5": "milestones=0.5 with schedule=one_cycle, expected schedule=step",
        "quick:gamma=0.5": "gamma=0.5 with schedule=one_cycle",
        "quick:schedule=step:gamma=0": "gamma=0.0, expected a factor above 0",
        "quick:schedule=step:milestones=0.7/0.5": "milestones=0.7/0.5, expected rising parts",
        "quick:schedule=step:milestones=1": "milestones=1.0, expected rising parts",
        "quick:schedule=step:milestones=nan": "milestones=nan, expected rising parts",
        "quick:schedule=step:gamma=inf": "gamma=inf, expected a factor above 0",
        "quick:crop=-1": "crop=-1, expected at least 0",
        "quick:crop=1.5": "expected int",
        "quick:momentum=-1": "momentum=-1.0, expected at least 0",
        "quick:weight_decay=-1": "weight_decay=-1.0, expected at least 0",
    }.items(),
)
def test_options_without_meaning_are_refused_in_one_line(text, words):
    with pytest.raises(UsageError) as refused:
        parse_recipe(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change", ["optimizer=adam", "momentum=0", "weight_decay=0", "loss=mse", "schedule=constant"]
)
def test_a_change_of_a_named_recipe_removes_what_it_leaves_without_meaning(change):
    assert parse_recipe(f"cifar:{change}") != RECIPES["cifar"]


def test_a_crop_that_is_larger_than_the_images_is_refused_before_anything_is_trained(
    pictures, fresh_cache
):
    with pytest.raises(UsageError, match="crop=12 for images of 12x12 pixels"):
        rs.compare(["lenet5"], pictures, recipe=rs.Recipe(steps=1, crop=12))


def test_recipes_of_before_have_the_keys_of_before():
    """The text in the keys of runs that caches contain."""
    assert json.dumps(RECIPES["quick"].as_options(), sort_keys=True) == (
        '{"batch": 32, "epochs": null, "evaluations": 0, "loss": "cross_entropy", "lr": 0.015, '
        '"momentum": 0.9, "optimizer": "sgd", "precision": "auto", "schedule": "one_cycle", '
        '"snapshots": 12, "steps": 100, "test_images": 500, "until_accuracy": null, '
        '"weight_decay": 0.0}'
    )
    assert RECIPES["paper"].as_options().keys() == FIRST_OPTIONS


def test_every_option_that_is_used_is_in_the_key():
    used = RECIPES["cifar"]
    for name, value in asdict(used).items():
        if name not in FIRST_OPTIONS and value != getattr(Recipe, name):
            assert used.as_options()[name] == value


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_its_definition(smoothing):
    """The cross entropy of (1 - s) of the label and s spread evenly over all classes."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    target = torch.tensor([0, 3, 1, 1, 2, 0])
    expected = 0.0
    for row, label in zip(scores.tolist(), target.tolist(), strict=True):
        total = sum(math.exp(score) for score in row)
        for i, score in enumerate(row):
            wanted = smoothing / 4 + (1 - smoothing) * (i == label)
            expected -= wanted * math.log(math.exp(score) / total) / 6
    recipe = Recipe(steps=1, label_smoothing=smoothing)
    assert float(loss_of(scores, target, recipe)) == pytest.approx(expected, rel=1e-12)


class Normed(nn.Module):
    """All kinds of parameters."""

    def __init__(self):
        super().__init__()
        self.features = small_cnn(3, 3, norm=True)
        self.norms = nn.ModuleList([nn.LayerNorm((4, 4)), nn.GroupNorm(2, 4), nn.RMSNorm((2, 3))])
        self.scale = nn.Parameter(torch.ones(()))


WEIGHTS = {"features.0.weight", "features.5.weight"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("decay_norms", [True, False])
def test_a_step_without_gradient_shrinks_the_weights_that_are_to_decay(decay_norms, optimizer):
    module = Normed()
    before = {name: p.detach().clone() + 1 for name, p in module.named_parameters()}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(before[name])
    recipe = Recipe(steps=1, weight_decay=0.25, decay_norms=decay_norms, optimizer=optimizer)
    zero = sum(0 * parameter.sum() for parameter in module.parameters())
    descend(optimizer_of(module, recipe), zero, 0.5)
    decaying = before.keys() if decay_norms else WEIGHTS
    for name, parameter in module.named_parameters():
        if name not in decaying:
            assert torch.equal(parameter, before[name]), name
        elif optimizer == "sgd":
            torch.testing.assert_close(parameter.data, before[name] * (1 - 0.5 * 0.25), msg=name)
        else:
            assert (parameter.abs() < before[name].abs()).all(), name


def test_weights_are_what_is_neither_bias_nor_norm():
    names = {name for name, _ in Normed().named_parameters()}
    assert names - names_without_decay(Normed()) == WEIGHTS
    assert names_without_decay(nn.LayerNorm((2, 2))) == {"weight", "bias"}


def test_nesterov_takes_the_steps_of_its_definition():
    """v = m v + g, and a step along g + m v (Sutskever et al., 2013, as torch states it)."""
    weight, velocity = torch.tensor([2.0], dtype=torch.float64), torch.zeros(1).double()
    module = nn.Module()
    module.weight = nn.Parameter(weight.clone())
    recipe = Recipe(steps=1, momentum=0.9, nesterov=True)
    optimizer = optimizer_of(module, recipe)
    for _ in range(4):
        descend(optimizer, module.weight.square().sum() / 2, 0.1)
        gradient = weight.clone()
        velocity = 0.9 * velocity + gradient
        weight = weight - 0.1 * (gradient + 0.9 * velocity)
    torch.testing.assert_close(module.weight.data, weight)


def test_the_recipe_cifar_is_what_its_parts_say():
    recipe = RECIPES["cifar"]
    parts = "nesterov=false:decay_norms=true:label_smoothing=0:crop=0:flip=false:ema=0"
    plain = parse_recipe(f"cifar:{parts}")
    assert plain.as_options().keys() == FIRST_OPTIONS
    assert replace(plain, **{n: getattr(recipe, n) for n in asdict(recipe)}) == recipe
