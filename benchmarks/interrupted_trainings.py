"""Time what it costs to store a training under way, and what an interruption loses.

Against: the training itself. Sizes: VGG11 and ResNet18 at full width, VGG16 for 224x224 images
(138 million weights), with the momentum of SGD; each after one step of 32 images of 32x32. A state
is stored each minute, or less often where storing takes more than 2% of the time.

Run: python benchmarks/interrupted_trainings.py [--json] [--threads 2] [--rounds 5]
"""

import statistics
import tempfile
import time
from unittest.mock import patch

import torch
from measure import options, report
from torchvision import models

from repsim_energy.models.architectures.resnet import resnet18
from repsim_energy.models.architectures.vgg import vgg11
from repsim_energy.training import partial_run
from repsim_energy.training.average import Average, tensors_of
from repsim_energy.training.history import Record
from repsim_energy.training.loop import loss_of, optimizer_of
from repsim_energy.training.partial_run import PartialRun, restore_network, state_of_network
from repsim_energy.training.recipe import Recipe

CPU, KEY = torch.device("cpu"), "a" * 64
RECIPE = Recipe(lr=0.01, momentum=0.9, steps=1000)
NETWORKS = {
    "vgg11": lambda: vgg11(10, 3),
    "resnet18": lambda: resnet18(10, 3),
    "torchvision/vgg16": lambda: models.vgg16(num_classes=1000),
}


def trained(build):
    """Return a network after one step, with all that trains it, and a function for more."""
    module = build().train()
    optimizer, record = optimizer_of(module, RECIPE), Record(RECIPE, 50_000, 0)
    average = Average(lambda: tensors_of(module), RECIPE.ema)
    record.keep(torch.zeros(64, 3, 3, 3), None)
    images, labels = torch.rand(32, 3, 32, 32), torch.arange(32) % 10

    def step():
        loss = loss_of(module(images), labels, RECIPE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        record.add(loss.detach(), torch.tensor(0.1), lambda: (torch.zeros(64, 3, 3, 3), None), None)

    step()
    return (module, optimizer, average, record), step


def seconds_of(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def measured(name, build, rounds):
    training, step = trained(build)
    file = PartialRun(KEY, {"label": name}, CPU)

    def write():
        file.write(state_of_network(*training, CPU), training[-1])

    rows = [(seconds_of(write), seconds_of(step)) for _ in range(rounds)]
    cost, of_step = (statistics.median(column) for column in zip(*rows, strict=True))
    write()
    fresh, _ = trained(build)

    def read():
        state = PartialRun(KEY, {"label": name}, CPU).read(fresh[0].state_dict())
        restore_network(state, *fresh, CPU)

    reading = seconds_of(read)
    pairs = zip(training[0].parameters(), fresh[0].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    wait = max(partial_run.SECONDS, cost * (1 / partial_run.MAX_SHARE - 1))
    asking = seconds_of(lambda: [file.is_due() for _ in range(1000)]) / 1000
    return {
        "network": name,
        "MB": partial_run.partial_path(KEY).stat().st_size / 1e6,
        "write [s]": cost,
        "read [s]": reading,
        "stored every [s]": wait,
        "share of the time [%]": 100 * cost / (cost + wait),
        "question per step [%]": 100 * asking / of_step,
    }


def main():
    chosen = options(__doc__)
    with tempfile.TemporaryDirectory() as cache, patch.dict("os.environ", REPSIM_CACHE=cache):
        rows = [measured(name, build, chosen.rounds) for name, build in NETWORKS.items()]
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
