"""Time what crops, flips and the average of the weights add to a step of training.

Against: the step without them; for crops and flips, torchvision's transforms of each image. All
ways alternate.
Sizes: batches of 128 images of 32x32; VGG11 and ResNet18 with a quarter of the width.

Run: python benchmarks/ingredients.py [--json] [--threads 2] [--rounds 5]
"""

import statistics

import torch
from measure import alternate, options, ratio, report
from smooth_images import smooth_images
from torchvision.transforms import v2

from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.augmentation import images_of_step
from repsim_energy.training.average import Average, tensors_of
from repsim_energy.training.loop import optimizer_of, take_step
from repsim_energy.training.recipe import Recipe

BATCH = 128
MODELS = ("vgg11:width=0.25", "resnet18:width=0.25")
PLAIN, MOVED = Recipe(steps=1), Recipe(steps=1, crop=4, flip=True)


def rows(rounds):
    pixels = smooth_images(BATCH, 32)
    chosen, labels = torch.randperm(BATCH), torch.arange(BATCH) % 10
    usual = v2.Compose([v2.RandomCrop(32, 4, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    pieces = {
        "plain": lambda: images_of_step(pixels, chosen, PLAIN, [0], 0),
        "moved": lambda: images_of_step(pixels, chosen, MOVED, [0], 0),
        "each image": lambda: torch.stack([usual(pixels[i]) for i in chosen]),
    }
    for model in MODELS:
        module = resolve_model(load_registry(plugins=False), model).build(10, 3)
        optimizer, average = optimizer_of(module, PLAIN), Average(lambda: tensors_of(module), 0.99)  # noqa: B023
        inputs = pixels.float() / 255

        def step(module=module, optimizer=optimizer, inputs=inputs):
            take_step(module, optimizer, inputs, labels, PLAIN, 0.01)

        taken = alternate({**pieces, "step": step, "average": average.add}, rounds)
        each, lowest, highest = ratio(taken["each image"], taken["moved"])
        middle = {name: statistics.median(seconds) for name, seconds in taken.items()}
        yield {
            "model": model,
            "step [ms]": 1e3 * middle["step"],
            "crops and flips [% of it]": 100 * (middle["moved"] - middle["plain"]) / middle["step"],
            "average [% of it]": 100 * middle["average"] / middle["step"],
            "transforms of each image / ours": each,
            "lowest": lowest,
            "highest": highest,
        }


def main():
    chosen = options(__doc__)
    report(list(rows(chosen.rounds)), chosen.json)


if __name__ == "__main__":
    main()
