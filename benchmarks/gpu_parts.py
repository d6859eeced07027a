"""The parts of gpu.py, run by its child process: a generator of rows for each.

Commands come as lines of JSON on standard input, rows go as lines of JSON to standard output.
"""

import argparse
import copy
import json
import os
import sys
import time
from dataclasses import replace

import torch
import torch.nn.functional as F
from gpu_setting import CPU, MODELS, SIZES, Bench, Clock, OutOfTime, machine, outcome, timed
from patch_moments import unfolded
from training import SingleImages, usual

from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.numerics.cka.streaming import cka
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.ensemble import train_together
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.loop import evaluate, train
from repsim_energy.training.recipe import Recipe

WIDE = "vgg11:filters=256"
"""The largest network of Table 1 beside those of MODELS."""


@training_settings()
def _trained(bench, module, recipe, on_step=None, data=None, seed=0, device=None):
    data = data or bench.data
    layer = find_first_conv(module).name
    device = device or bench.device
    setting = (data.train, data.test, bench.normalization, recipe, seed, device)
    return train(module, layer, *setting, on_step)


@training_settings()
def _together(bench, modules, recipe, on_step=lambda: None):
    layer = find_first_conv(modules[0]).name
    setting = (bench.data.train, bench.data.test, bench.normalization, recipe)
    return train_together(modules, layer, *setting, range(len(modules)), bench.device, (), on_step)


def agreement(bench):
    """Compare numbers of the device with those of the CPU, and with themselves."""
    images = bench.data.train.images[:2000]
    for k in bench.size.kernels:
        for pixels, kind, allowed in ((images, "bytes", 0), (images / 255, "float32", 1e-6)):
            here, there = (patch_moments(pixels.to(d), (k, k)).second for d in (CPU, bench.device))
            yield _difference(f"patch moments of {kind}, k = {k}", there, here, allowed)
    for d in bench.size.features[:2]:
        x, y = _features(bench, d, CPU)
        off = torch.tensor([cka(x.to(bench.device), y.to(bench.device)), cka(x, y)]).double()
        yield _difference(f"CKA of {d} features", off[0], off[1], 1e-6)
    short = Recipe(lr=0.01, batch=min(64, len(images)), steps=2, snapshots=0)
    for model, steps, allowed in (("linear_cnn", 10, 1e-4), ("vgg11:width=0.125", 2, 1e-2)):
        recipe = replace(short, steps=steps)
        here, there = (_change(bench, model, recipe, device) for device in (CPU, bench.device))
        yield _difference(f"{steps} steps of {model}, change of filters", there, here, allowed)
    for precision in bench.precisions():
        recipe = replace(short, precision=precision)
        once, again = (_change(bench, "vgg11:width=0.125", recipe, bench.device) for _ in range(2))
        yield _difference(f"the same seed again, {precision}", again, once, 0)
    yield _difference("batched seeds, change of filters", *_both_ways(bench, short), 1e-3)


def _difference(quantity, found, expected, allowed):
    """Return the largest difference, relative to the largest expected number."""
    found, expected = found.double().cpu(), expected.double().cpu()
    off = float((found - expected).abs().max() / expected.abs().max())
    return {"quantity": quantity, "difference": off, "allowed": allowed, "holds": off <= allowed}


def _change(bench, model, recipe, device):
    module = _seeded(model)
    conv = find_first_conv(module).name
    before = module.get_submodule(conv).weight.detach().clone()
    _trained(bench, module, recipe, device=device)
    return module.get_submodule(conv).weight.detach().cpu() - before


def _seeded(model, seed=0):
    torch.manual_seed(seed)
    return resolve_model(load_registry(plugins=False), model).build(10, 3)


def _both_ways(bench, recipe):
    modules = [_seeded("two_layer_cnn:width=0.2", seed) for seed in range(3)]
    alone = copy.deepcopy(modules)
    name = find_first_conv(modules[0]).name
    before = torch.stack([m.get_submodule(name).weight.detach().clone() for m in modules])
    _together(bench, modules, recipe)
    for seed, module in enumerate(alone):
        _trained(bench, module, recipe, seed=seed)
    ways = ([m.get_submodule(name).weight.detach().cpu() for m in way] for way in (modules, alone))
    return [torch.stack(weights) - before for weights in ways]


def loop(bench):
    """Time the training loop and the usual one, on batches of 128."""
    batch, steps = min(128, bench.size.batch), bench.size.steps * 2
    workers = min(8, os.cpu_count() or 1) if bench.size is SIZES["full"] else 1
    count, train_images = batch * Clock(bench, steps).total, bench.data.train
    part = train_images.images[:count], train_images.labels[:count]
    one_by_one = SingleImages(*part, bench.normalization)
    for model in MODELS:
        clock, row = Clock(bench, steps), {"model": model, "loop": f"usual, {workers} workers"}
        with outcome(bench, row):
            module = bench.network(model).to(bench.device)
            while clock.steps < clock.total:
                usual(module, one_by_one, batch, workers, clock)
            row |= clock.spread(batch)
        yield row
        for precision in bench.precisions():
            clock, row = Clock(bench, steps), {"model": model, "loop": f"ours, {precision}"}
            recipe = Recipe(batch=batch, steps=clock.total, snapshots=0, precision=precision)
            with outcome(bench, row):
                _trained(bench, bench.network(model), recipe, clock)
                row |= clock.spread(batch)
            yield row


def seeds(bench):
    """Time seeds as one batched network and alone, on the batches of the recipe ``quick``."""
    batch = min(32, bench.size.batch)
    for precision in reversed(bench.precisions()):
        recipe = Recipe(batch=batch, snapshots=0, precision=precision, steps=1, momentum=0.9)
        alone = {}
        for count in (1, *bench.size.seeds):
            for model in MODELS:
                row = {"model": model, "precision": precision, "batch": batch, "seeds": count}
                row |= _rate_together(bench, model, count, recipe, bench.size.steps)
                rate = row.get("images_per_s")
                alone.setdefault(model, rate)
                if rate and alone[model]:
                    row["ratio_to_one_after_another"] = rate / alone[model]
                yield row


def _rate_together(bench, model, count, recipe, steps):
    """Return images per second of so many seeds together, all of them counted."""
    clock, row = Clock(bench, steps), {}
    recipe = replace(recipe, steps=clock.total)
    with outcome(bench, row):
        first = bench.network(model)
        if count == 1:
            _trained(bench, first, recipe, clock)
        else:
            modules = [first, *(copy.deepcopy(first) for _ in range(count - 1))]
            found = _together(bench, modules, recipe, clock)
            if failed := [history for history in found if isinstance(history, Exception)]:
                raise failed[0]
        row |= clock.spread(count * recipe.batch)
    return row


def epochs(bench):
    """Time the networks of Table 1 at their published size, and extrapolate."""
    batch, images = bench.size.batch, len(bench.data.train)
    for precision in reversed(bench.precisions()):
        for count, way in ((3, "three seeds together, as reproduce does"), (1, "alone")):
            epoch = {}
            for model in (*MODELS, WIDE):
                recipe = Recipe(batch=batch, snapshots=0, precision=precision, steps=1)
                row = {"model": model, "precision": precision, "batch": batch, "seeds": count}
                row |= _rate_together(bench, model, count, recipe, 3 * bench.size.steps)
                if "images_per_s" in row:
                    epoch[model] = row["epoch_seconds"] = images / row["images_per_s"]
                yield row
            if len(epoch) == len(MODELS) + 1:
                for work, seconds in _tables(*epoch.values()).items():
                    row = {"work": work, "precision": precision, "way": way}
                    row["minutes_per_epoch"] = seconds / 60
                    yield row | {"epochs_in_10_minutes": 600 / seconds}
    row = {"model": "resnet18", "evaluated_images": len(bench.data.test)}
    module = bench.network("resnet18")
    setting = (bench.data.test, bench.normalization, bench.device, Recipe(steps=1))
    with outcome(bench, row), training_settings():
        row |= timed(bench, lambda: evaluate(module, *setting), 2)
    yield row


def _tables(vgg, resnet, wide):
    """Return work -> seconds for one epoch of every training of the tables, on CIFAR-10.

    Table 1 has VGG11 with 64, 32, 128 and 256 filters and ResNet18, three seeds each. Table 2 adds
    VGG11 on random labels, Table 3 VGG11 on five pairs of classes, a fifth of the images each. On
    CIFAR-100, tables 1 and 2 take as long again. 32 filters count as 64, and 128 as between.
    """
    nine = 3 * (vgg + wide + resnet)
    works = {"nine trainings": nine, "table1": nine + 3 * (vgg + (vgg + wide) / 2)}
    works |= {"table2": 3 * vgg, "table3": 3 * vgg}
    return works | {"table1 table2 table3": works["table1"] + 6 * vgg}


def patches(bench):
    """Time patch moments of bytes on the device and on the CPU, against unfolding."""
    images = bench.data.train.images
    for k in bench.size.kernels:
        for device in (bench.device, CPU):
            pixels = images.to(device)
            row = {"images": len(images), "k": k, "device": str(device)}
            with outcome(bench, row):
                row |= timed(bench, lambda p=pixels, k=k: patch_moments(p, (k, k)), 3)
            yield row
        pixels = images.to(bench.device)
        row = {"images": len(images), "k": k, "device": str(bench.device), "way": "unfolded"}
        with outcome(bench, row):
            row |= timed(bench, lambda p=pixels, k=k: unfolded(p, k), 2)
        yield row


def _features(bench, d, device):
    generator = torch.Generator().manual_seed(d)
    shared = torch.randn(bench.size.samples, 8, generator=generator)
    shared, shape = F.pad(shared, (0, d - 8)), (bench.size.samples, d)
    return [(shared + torch.randn(shape, generator=generator)).to(device) for _ in range(2)]


def _grams(x, y):
    """Return biased CKA as Kornblith et al. publish it, of two whole Gram matrices."""
    x, y = x - x.mean(0), y - y.mean(0)
    gram_x, gram_y = x @ x.T, y @ y.T
    return (gram_x * gram_y).sum() / (gram_x.norm() * gram_y.norm())


def cka_part(bench):
    """Time CKA on the device, against whole Gram matrices."""
    for d in bench.size.features:
        x, y = _features(bench, d, bench.device)
        for way, function in (("ours", cka), ("whole Gram matrices, float32", _grams)):
            row = {"samples": len(x), "features": d, "way": way}
            with outcome(bench, row):
                row |= timed(bench, lambda f=function, x=x, y=y: float(f(x, y)), 3)
            yield row


def memorized(bench):
    """Train until the accuracy 0.99 of the published experiments, as far as there is time."""
    most = 300 if bench.size is SIZES["full"] else 2
    for model in reversed(MODELS):
        recipe = Recipe(
            lr=0.01, batch=bench.size.batch, epochs=most, until_accuracy=0.99, snapshots=0
        )
        recipe, clock = bench.fastest(recipe), Clock(bench, 50)
        row = {"model": model, "images": bench.data.label, "real": bench.real}
        row["precision"], start = recipe.precision, time.perf_counter()
        per_epoch = max(1, len(bench.data.train) // recipe.batch)
        try:
            with outcome(bench, row):
                history = _trained(bench, bench.network(model), recipe, clock)
                row |= {"epochs": history.steps / per_epoch, "accuracy": history.train_accuracy}
        except OutOfTime:
            row["epochs_more_than"] = clock.steps / per_epoch
        yield row | {"seconds": time.perf_counter() - start}


PARTS = {
    "agreement": agreement,
    "loop": loop,
    "epochs": epochs,
    "seeds": seeds,
    "patches": patches,
    "cka": cka_part,
    "memorized": memorized,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("scale", "device", "dataset"):
        parser.add_argument(f"--{name}", required=True)
    bench = Bench(parser.parse_args())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print does not mix with the rows

    def say(event):
        print(json.dumps(event), file=out, flush=True)

    say({"machine": machine(bench.device)})
    for line in sys.stdin:
        asked = json.loads(line)
        bench.until = time.monotonic() + asked["seconds"]
        try:
            for row in PARTS[asked["part"]](bench):
                say({"row": row})
                if bench.left() < 0:
                    raise OutOfTime
        except OutOfTime:
            say({"left_out": f"the rest: the time of the part, {asked['seconds']:.0f} s, was over"})
        say({"ended": asked["part"]})


if __name__ == "__main__":
    main()
