"""Do the findings hold with the ingredients of usual trainings? The tables of its page.

What: profiles of VGG11 and ResNet18, trained with one ingredient more at a time, and with all.
Sizes: 5,170 images of CIFAR-10 (FOLDER/cifar10-subset.npz), bodies of a quarter of the width, 64
filters in the first layer, two seeds, 800 steps; ResNet18 with some of the recipes. On two
cores, networks of 800 steps take one minute (VGG11) and two (ResNet18), without other work.

Run: REPSIM_TEST_IMAGES=FOLDER python benchmarks/as_people_train.py
"""

import os
from pathlib import Path

import numpy as np

import repsim_energy as rs

VGG, RESNET = "vgg11:width=0.25:filters=64", "resnet18:width=0.25:filters=64"

SAME = "paper:batch=64:steps=800:precision=bfloat16"
PLAIN = f"{SAME}:lr=0.05:momentum=0.9"
PARTS = {
    "crop and flip": ":crop=4:flip=true",
    "weight decay": ":weight_decay=0.0005:decay_norms=false",
    "label smoothing": ":label_smoothing=0.1",
    "one cycle": ":schedule=one_cycle",
    "average": ":ema=0.99",
}
RECIPES = {
    "as the paper": f"{SAME}:lr=0.01",
    "plain": PLAIN,
    **{f"+ {name}": PLAIN + part for name, part in PARTS.items()},
    "+ all": PLAIN + "".join(PARTS.values()) + ":nesterov=true",
}
OF_RESNET = ("plain", "+ weight decay", "+ all")
"""Recipes with which ResNet18 is trained, which takes twice as long."""

HEAD = (
    "recipe",
    "training accuracy",
    "test accuracy",
    "size of the change",
    "theory, change",
    "theory, trained",
    "seeds, change",
    "seeds, trained",
    "architectures, change",
)


def measure(data, model, recipe):
    """Return the result of two seeds."""
    result = rs.compare([model], data, seeds=2, recipe=recipe, jobs=2, stage="change")
    return result.isel(dataset=0, model=0)


def row(name, result, other=None):
    """Return the numbers of a line; r with another architecture's result is that of all pairs."""
    energy = {stage: result.energy.sel(stage=stage).values for stage in result.stage.values}
    size = {stage: np.linalg.norm(values, axis=1) for stage, values in energy.items()}
    theory = result.fit_correlation
    between = ""
    if other is not None:
        both = np.concatenate([energy["change"], other.energy.sel(stage="change").values])
        between = f"{np.corrcoef(both)[:2, 2:].mean():.2f}"
    return [
        name,
        listed(result.train_accuracy.values),
        listed(result.test_accuracy.values),
        listed(size["change"] / size["init"]),
        listed(theory.sel(stage="change").values),
        listed(theory.sel(stage="trained").values),
        f"{np.corrcoef(energy['change'])[0, 1]:.2f}",
        f"{np.corrcoef(energy['trained'])[0, 1]:.2f}",
        between,
    ]


def listed(values):
    return ", ".join(f"{value:.2f}" for value in values)


def main():
    """Print the table of each architecture, a row as soon as it is measured."""
    data = f"npz:path={Path(os.environ['REPSIM_TEST_IMAGES']) / 'cifar10-subset.npz'}"
    of_vgg = {}
    for model in (VGG, RESNET):
        print(f"\n{model}\n\n| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|", flush=True)
        for name, recipe in RECIPES.items():
            if model == RESNET and name not in OF_RESNET:
                continue
            result = measure(data, model, recipe)
            print(f"| {' | '.join(row(name, result, of_vgg.get(name)))} |", flush=True)
            if model == VGG:
                of_vgg[name] = result


if __name__ == "__main__":
    main()
