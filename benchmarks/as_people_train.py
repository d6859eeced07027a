"""Do the findings hold with the ingredients of usual trainings? The tables of its page.

What: profiles of VGG11 and ResNet18, trained with one ingredient more at a time, and with all.
Sizes: 5,170 images of CIFAR-10 (FOLDER/cifar10-subset.npz), bodies of a quarter of the width, 64
filters in the first layer, two seeds, 800 steps. 32 trainings: half an hour on two free cores.

Run: REPSIM_TEST_IMAGES=FOLDER python benchmarks/as_people_train.py [NAME]...
"""

import os
import sys
from pathlib import Path

import numpy as np

import repsim_energy as rs

MODELS = ["vgg11:width=0.25:filters=64", "resnet18:width=0.25:filters=64"]
SEEDS = 2

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
    "paper": f"{SAME}:lr=0.01",
    "plain": PLAIN,
    **{f"+ {name}": PLAIN + part for name, part in PARTS.items()},
    "+ all": PLAIN + "".join(PARTS.values()) + ":nesterov=true",
}


def measure(data, recipe):
    """Return the result of both stages, which share their trainings."""
    options = {"seeds": SEEDS, "recipe": recipe, "jobs": 2}
    return {
        stage: rs.compare(MODELS, data, stage=stage, **options).isel(dataset=0, dataset_ref=0)
        for stage in ("change", "trained")
    }


def row(name, results):
    """Return the numbers of a line, those of the first architecture before those of the second."""
    change = results["change"]
    similarity = change.similarity.values
    pairs = [similarity[m, 0, m, 1] for m in range(len(MODELS))]
    theory = {stage: one.fit_correlation.sel(stage=stage).values for stage, one in results.items()}
    return [
        name,
        listed(change.train_accuracy.values),
        listed(change.test_accuracy.values),
        listed(theory["change"]),
        listed(theory["trained"]),
        listed(np.array(pairs)[:, None]),
        f"{similarity[0, :, 1].mean():.2f}",
    ]


def listed(values):
    """Return the numbers of each architecture, seeds separated by commas."""
    return "; ".join(", ".join(f"{value:.2f}" for value in seeds) for seeds in values)


HEAD = (
    "recipe",
    "training accuracy",
    "test accuracy",
    "theory, change",
    "theory, trained",
    "across seeds",
    "VGG11 with ResNet18",
)


def main():
    """Print the table, a row as soon as it is measured."""
    data = f"npz:path={Path(os.environ['REPSIM_TEST_IMAGES']) / 'cifar10-subset.npz'}"
    chosen = sys.argv[1:] or RECIPES
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for name in chosen:
        print("| " + " | ".join(row(name, measure(data, RECIPES[name]))) + " |", flush=True)


if __name__ == "__main__":
    main()
