"""Runs: what they depend on, what they keep, and what becomes of damaged or interrupted ones."""

import copy
import json
import multiprocessing
import os
import shutil
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from samples import noise_images, small_cnn
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import repsim_energy as rs
from repsim_energy.errors import DataError, FileError, RepsimWarning, TrainingError, UsageError
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec
from repsim_energy.models.architectures.linear_cnn import linear_cnn
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.models.filters.norm_folding import scale_filters
from repsim_energy.numerics.profiles.linear_cnn import solve_linear_cnn
from repsim_energy.training.inputs import _parts, as_input, normalization_of
from repsim_energy.training.loop import batches, evaluate, train
from repsim_energy.training.recipe import RECIPES, Recipe, parse_recipe
from repsim_energy.training.run_files import UNSEALED_ENTRIES
from repsim_energy.training.training import Training

CPU = torch.device("cpu")
NETWORK = partial(small_cnn, norm=True, dropout=0.1)


@pytest.fixture
def spec():
    return ModelSpec("small", NETWORK, {"name": "small"})


@pytest.fixture
def data(pictures):
    test = ImageSet(pictures.images[:12], pictures.labels[:12], pictures.classes, "pictures")
    return Dataset("pictures", pictures, test)


RECIPE = Recipe(lr=0.05, batch=10, steps=8, snapshots=4)


def test_a_cache_that_cannot_be_written_is_read_and_missing_runs_are_refused(
    spec, data, fresh_cache, monkeypatch
):
    first = Training(spec, data, 0, RECIPE).run(CPU)
    before = {path: path.stat().st_mtime_ns for path in fresh_cache.rglob("*")}
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.W_OK)
    again = Training(spec, data, 0, RECIPE).run(CPU)
    assert again.run_id == first.run_id
    assert torch.equal(again.trained, first.trained)
    with pytest.raises(UsageError, match="set REPSIM_CACHE"):
        Training(spec, data, 1, RECIPE).run(CPU)
    assert {path: path.stat().st_mtime_ns for path in fresh_cache.rglob("*")} == before


def test_the_second_call_reads_what_the_first_kept(spec, data, fresh_cache):
    first = Training(spec, data, 0, RECIPE).run(CPU)
    seen = []
    again = Training(spec, data, 0, RECIPE).run(CPU, lambda *step: seen.append(step))
    assert not seen
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
    assert again.history.train_accuracy == first.history.train_accuracy
    assert again.test_accuracy == first.test_accuracy
    module = again.network()
    found = evaluate(module, data.test, again.normalization, CPU, RECIPE)
    assert found[1] == again.test_accuracy


def test_a_run_repeats_bit_for_bit_and_leaves_the_global_generator_alone(
    spec, data, tmp_path, monkeypatch
):
    found = []
    for name in ("a", "b"):
        monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / name))
        state = torch.get_rng_state()
        found.append(Training(spec, data, 3, RECIPE).run(CPU).trained)
        assert torch.equal(torch.get_rng_state(), state)
        torch.rand(7)
    assert torch.equal(*found)


def test_everything_that_decides_a_run_is_in_its_key(spec, data):
    key = Training(spec, data, 0, RECIPE).key
    relabeled = ImageSet(data.train.images, data.train.labels.flip(0), data.train.classes, "x")
    others = [
        Training(spec, data, 1, RECIPE).key,
        Training(spec, data, 0, Recipe(lr=0.06, batch=10, steps=8, snapshots=4)).key,
        Training(spec, data, 0, replace(RECIPE, schedule="one_cycle")).key,
        Training(
            spec, data, 0, Recipe(lr=0.05, batch=10, steps=8, snapshots=4, precision="bfloat16")
        ).key,
        Training(ModelSpec("small", NETWORK, {"name": "other"}), data, 0, RECIPE).key,
        Training(spec, Dataset("pictures", relabeled, data.test), 0, RECIPE).key,
        Training(spec, Dataset("pictures", data.train, data.train), 0, RECIPE).key,
    ]
    assert len({key, *others}) == 8
    assert (
        Training(ModelSpec("other label", NETWORK, {"name": "small"}), data, 0, RECIPE).key == key
    )
    assert Training(ModelSpec("function", NETWORK, None), data, 0, RECIPE).key == ""


@pytest.mark.parametrize("damage", ["truncate", "flip", "manifest", "missing"])
def test_a_damaged_run_is_made_anew_with_a_warning(spec, data, fresh_cache, damage):
    first = Training(spec, data, 0, RECIPE).run(CPU)
    path = first.folder / "filters.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(content[:-5])
    elif damage == "flip":
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == "manifest":
        (first.folder / "run.json").write_text("{")
    else:
        (first.folder / "model.safetensors").unlink()
    with pytest.warns(RepsimWarning, match="damaged"):
        again = Training(spec, data, 0, RECIPE).run(CPU)
    assert torch.equal(again.trained, first.trained)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Training(spec, data, 0, RECIPE).run(CPU)


def test_a_manifest_without_a_seal_is_read_if_it_never_had_one(spec, data, fresh_cache):
    """Those of version 0.1 have no key either; removing only the seal is damage."""
    first = Training(spec, data, 0, RECIPE).run(CPU)
    path = first.folder / "run.json"
    sealed = json.loads(path.read_text())
    assert sealed["key"] == first.key
    earlier = {name: fact for name, fact in sealed.items() if name in UNSEALED_ENTRIES}
    path.write_text(json.dumps(earlier, indent=1))
    assert torch.equal(Training(spec, data, 0, RECIPE).stored().trained, first.trained)
    path.write_text(json.dumps({"key": first.key, **earlier}, indent=1))
    with pytest.warns(RepsimWarning, match="'run.json' is damaged"):
        assert Training(spec, data, 0, RECIPE).stored() is None


def test_a_run_in_the_folder_of_another_is_not_read(spec, data, fresh_cache):
    first, second = (Training(spec, data, seed, RECIPE).run(CPU) for seed in (0, 1))
    place = second.folder
    shutil.rmtree(place)
    shutil.copytree(first.folder, place)
    with pytest.raises(FileError, match="of another run"):
        rs.open_run(second.key)
    with pytest.warns(RepsimWarning, match="of another run"):
        assert Training(spec, data, 1, RECIPE).stored() is None


def test_an_interrupted_run_leaves_nothing_behind(spec, data, fresh_cache):
    def interrupt(step, steps):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(spec, data, 0, RECIPE).run(CPU, interrupt)
    assert list((fresh_cache / "runs").iterdir()) == []
    Training(spec, data, 0, RECIPE).run(CPU)
    assert len(list((fresh_cache / "runs").iterdir())) == 1


def test_a_run_that_cannot_be_written_is_held_and_leaves_nothing_behind(
    spec, data, fresh_cache, files_of_at_most, monkeypatch
):
    with files_of_at_most(300), pytest.warns(RepsimWarning, match="cannot be kept.*File too lar"):
        first = Training(spec, data, 0, RECIPE).run(CPU)
    assert list((fresh_cache / "runs").iterdir()) == []
    assert first.folder is None
    seen = []
    again = Training(spec, data, 0, RECIPE).run(CPU, lambda *step: seen.append(step))
    assert Training(spec, data, 0, RECIPE).is_cached
    assert not seen
    monkeypatch.setenv("REPSIM_CACHE", str(fresh_cache.parent / "another"))
    assert not Training(spec, data, 0, RECIPE).is_cached
    kept = Training(spec, data, 0, RECIPE).run(CPU)
    assert kept.folder is not None
    for run in (first, again):
        assert (run.key, run.history.steps) == (kept.key, kept.history.steps)
        for name, tensor in kept.tensors().items():
            assert torch.equal(run.tensors()[name], tensor), name
        states = (r.network().state_dict() for r in (run, kept))
        for ours, expected in zip(*(state.values() for state in states), strict=True):
            assert torch.equal(ours, expected)


def _train_in_process(queue):
    images = noise_images(40, (3, 8, 8))
    steps = []
    model = ModelSpec("small", NETWORK, {"name": "small"})
    training = Training(model, Dataset("noise", images, images), 0, RECIPE)
    run = training.run(CPU, lambda *step: steps.append(step))
    queue.put((len(steps), run.trained.sum().item()))


@pytest.mark.process
def test_processes_that_want_the_same_run_train_it_once(fresh_cache):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_train_in_process, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(steps for steps, _ in found) == [0, 0, 8]
    assert len({total for _, total in found}) == 1


def test_a_frozen_first_layer_stays_bitwise_and_the_rest_learns(data):
    def frozen(num_classes, in_channels):
        net = NETWORK(num_classes, in_channels)
        net[0].requires_grad_(False)
        return net

    run = Training(ModelSpec("frozen", frozen, None), data, 0, RECIPE).run(CPU)
    assert torch.equal(run.initial, run.trained)
    assert run.network()[6].weight.grad is not None


def test_the_linear_cnn_follows_its_closed_form(data):
    """The real loop, full batch and MSE, against the exact dynamics of each class."""
    steps, lr = 50, 0.1
    count, classes = len(data.train), len(data.train.classes)

    def build(num_classes, in_channels):
        return linear_cnn(num_classes, in_channels, filters=9, sigma=0.1)

    recipe = Recipe(lr=lr, batch=count, steps=steps, loss="mse")
    run = Training(ModelSpec("linear", build, None), data, 0, recipe).run(CPU)
    inputs = as_input(data.train.images, run.normalization).double()
    average = nn.functional.unfold(inputs, 3).mean(2)
    targets = nn.functional.one_hot(data.train.labels, classes).double()
    for c in range(classes):
        chosen = slice(c, None, classes)
        exact = solve_linear_cnn(
            run.initial.flatten(1)[chosen],
            average.T @ average / count,
            average.T @ targets[:, c] / count,
            step_size=lr / classes,  # the loss is a mean over classes
            steps=steps,
        )
        found = run.trained.flatten(1)[chosen].numpy()
        np.testing.assert_allclose(found, exact, atol=2e-5)


def test_snapshots_stand_at_log_spaced_steps(spec, data):
    run = Training(ModelSpec("s", NETWORK, None), data, 0, RECIPE).run(CPU)
    assert run.history.snapshot_steps.tolist() == [0, 1, 2, 4, 8]
    assert torch.equal(run.history.snapshots[0], run.initial)
    assert torch.equal(run.history.snapshots[-1], run.trained)


def test_the_factors_of_a_batch_norm_are_kept_beside_the_filters(spec, data, fresh_cache):
    run = Training(spec, data, 0, RECIPE).run(CPU)
    for at, step in enumerate(run.history.snapshot_steps.tolist()[1:], 1):
        ended = Training(spec, data, 0, replace(RECIPE, steps=step)).run(CPU)
        conv, norm, *_ = ended.network().eval()
        fused = fuse_conv_bn_eval(conv, norm).weight
        filters, scale = run.history.snapshots[at], run.history.snapshot_scales[at]
        torch.testing.assert_close(scale_filters(filters, scale), fused.detach())
    assert torch.equal(run.scale, run.history.snapshot_scales[-1])
    torch.testing.assert_close(
        run.history.snapshot_scales[0], torch.full((6,), 1.00001**-0.5).double()
    )
    without = Training(ModelSpec("s", small_cnn, None), data, 0, RECIPE).run(CPU)
    assert without.scale is without.history.snapshot_scales is None


def test_one_cycle_takes_the_steps_of_its_definition(data):
    """Up in a straight line to 30% of the training, down along half a cosine to its end."""
    recipe = Recipe(lr=0.2, momentum=0.9, batch=10, steps=20, schedule="one_cycle")
    middles = np.arange(0.5, 20) / 20
    up, down = middles / 0.3, np.cos(np.pi / 2 * (middles - 0.3) / 0.7) ** 2
    sizes = 0.2 * np.where(middles < 0.3, up, down)
    norm = normalization_of(data.train)
    torch.manual_seed(0)
    found = linear_cnn(3, 3, filters=4, sigma=0.1)
    expected = copy.deepcopy(found)
    train(found, find_first_conv(found).name, data.train, data.test, norm, recipe, 5, CPU)
    velocity = [torch.zeros_like(p) for p in expected.parameters() if p.requires_grad]
    for size, chosen in zip(sizes, batches(len(data.train), recipe, 5), strict=False):
        weights = [p for p in expected.parameters() if p.requires_grad]
        answers = expected(as_input(data.train.images[chosen], norm))
        loss = nn.functional.cross_entropy(answers, data.train.labels[chosen])
        for v, p, g in zip(velocity, weights, torch.autograd.grad(loss, weights), strict=True):
            v.mul_(0.9).add_(g)
            p.data.sub_(size * v)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=1e-4, atol=1e-6)


def test_until_accuracy_ends_after_the_epoch_that_reaches_it(pictures):
    bright = pictures.images.clone()
    bright[pictures.labels == 0] //= 4
    easy = ImageSet(bright, (pictures.labels > 0).long(), ("dark", "bright"), "easy")
    recipe = Recipe(lr=0.1, batch=10, epochs=200, until_accuracy=0.99)
    run = Training(ModelSpec("s", NETWORK, None), Dataset("easy", easy, easy), 0, recipe).run(CPU)
    assert run.history.train_accuracy >= 0.99
    assert run.history.steps < 200 * 6
    assert run.history.steps % 6 == 0


def test_a_loss_that_explodes_is_a_training_error(data):
    recipe = Recipe(lr=1e30, batch=10, steps=30)
    with pytest.raises(TrainingError, match="lower it"):
        Training(ModelSpec("s", NETWORK, None), data, 0, recipe).run(CPU)


def test_normalized_input_has_mean_zero_and_one_common_scale(pictures):
    normalization = normalization_of(pictures)
    inputs = as_input(pictures.images, normalization)
    assert inputs.mean((0, 2, 3)).abs().max() < 1e-5
    assert float(inputs.square().mean()) == pytest.approx(1, abs=1e-4)
    assert len(set(normalization.std)) == 1


def test_accuracy_on_some_images_takes_all_classes():
    """Images sorted by class, as folders give them, and a network that always says class 1."""
    images = ImageSet(torch.rand(40, 3, 4, 4), torch.arange(40) // 20, ("a", "b"), "sorted")
    always = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    nn.init.zeros_(always[1].weight)
    always[1].bias.data = torch.tensor([0.0, 1.0])
    recipe = Recipe(steps=1, test_images=10)
    loss, accuracy = evaluate(always, images, normalization_of(images), CPU, recipe)
    assert accuracy == 0.5
    assert loss == pytest.approx((np.log1p(np.e) + np.log1p(np.exp(-1))) / 2)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(0, 3, 8, 8), "no images"),
        (torch.full((5, 3, 8, 8), 0.2), "constant"),
        (torch.full((5, 3, 8, 8), torch.nan), "NaN"),
    ],
)
def test_images_that_cannot_be_normalized_are_refused(images, words):
    bad = ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("a",), "bad")
    with pytest.raises(DataError, match=words):
        normalization_of(bad)


def test_recipes_are_read_from_text():
    assert parse_recipe("quick") == RECIPES["quick"]
    changed = parse_recipe("paper:lr=0.05:steps=10:until_accuracy=0.99")
    assert (changed.lr, changed.steps, changed.epochs) == (0.05, 10, None)
    assert parse_recipe("quick").momentum == 0.9
    assert parse_recipe("quick:optimizer=adam").momentum == 0  # one of sgd
    for text, words in {
        "fast": "unknown recipe 'fast'; known: cifar, paper, quick",
        "quick:lrr=1": "did you mean 'lr'",
        "quick:lr=x": "expected float",
        "quick:lr=-1": "lr > 0",
        "quick:batch=0": "at least 1",
        "quick:until_accuracy=2": "accuracy in (0, 1]",
        "quick:loss=l1": "cross_entropy or mse",
        "quick:schedule=linear": "constant or one_cycle or cosine or step",
    }.items():
        with pytest.raises(UsageError, match=words.replace("(", r"\(")):
            parse_recipe(text)


def at_once(images):
    """The normalization of images in memory, by the definition."""
    pixels = images.double() / 255
    return pixels.mean((0, 2, 3)), pixels.sub(pixels.mean((0, 2, 3), keepdim=True)).square().mean()


@pytest.mark.parametrize(("count", "size"), [(1030, 8), (200, 160)])
def test_images_are_normalized_part_by_part(count, size):
    images = noise_images(count, (3, size, size))
    assert len(_parts(images.images)) == 2
    found = normalization_of(images)
    mean, variance = at_once(images.images)
    torch.testing.assert_close(torch.tensor(found.mean).double(), mean, rtol=1e-6, atol=0)
    assert found.std[0] ** 2 == pytest.approx(float(variance), rel=1e-6)
