"""What is not done with a block as it stands on its page, and why. Nothing else is left out."""

from fnmatch import fnmatchcase

NOT_RUN = {
    "python3 -m venv *": "makes an environment, as .ci/package does",
    "pip install *--index-url*": "needs a network",
    "pip install 'repsim-energy[[]*": "needs a network; these extras belong to those of the tests",
    "pip install -e '.[[]test,lint]' pre-commit": "needs a network",
    "pre-commit install": "changes the repository",
    "python -m pytest*": "is this suite; .ci/distributions runs those of plugins and data sets",
    "python -c *ImageNet*": "reads archives of 150 GB",
    "python patch_statistics.py * tcp://*": "needs a cluster; tests/scheduling has one",
    "python benchmarks/as_people_train.py": "needs real images, and an hour",
    "python benchmarks/covariance.py": "needs real networks",
    "python benchmarks/strangers.py": "needs real networks; tests/test_strangers.py runs it",
    "cd datasets/*": "is for the tests of the data set, which .ci/distributions runs",
}
"""Pattern of a command -> why it is neither run nor parsed."""

PARSED = {
    "repsim doctor": "takes seconds; tests/cli/test_doctor_command.py runs it",
    "repsim reproduce all *": "takes hours; tests/experiments runs every row at the scale smoke",
    "repsim reproduce table* *": "takes hours; tests/experiments runs every row at the scale smoke",
    "repsim experiment *": "takes minutes; tests/experiments runs each at the scale smoke",
    "repsim profile my.safetensors *": "is run for docs/how-to/profile-a-network.md",
    "repsim *--dataset cifar10 *": "downloads images",
    "repsim *--dataset idx:path=mnist*": "needs MNIST; tests/data/test_idx.py runs it",
    "repsim *:sha256=*": "is of a file of its own; tests/models/files/test_known_hashes.py runs it",
    "repsim cache clear": "asks; tests/cli/test_cache_command.py answers",
    "repsim *torchvision/*:weights=DEFAULT*": "downloads weights",
    "repsim *--precision bfloat16*": "needs a processor with units for bfloat16",
    "repsim *timm/*": "needs timm; .ci/distributions runs the tests of repsim-timm",
}
"""Pattern of a command of ``repsim`` -> why it is parsed only."""

FOREIGN = {
    "rsatoolbox": "tests of repsim-toolkits run it",
    "netrep": "is on GitHub only",
    "similarity": "is on GitHub only",
    "simtorch": "tests of repsim-toolkits run it",
    "repsim": "is on GitHub only",
    "repsim_toolkits.rsatoolbox": "needs rsatoolbox",
}
"""Module that a Python block imports -> why the block is compiled only. None is a dependency."""

REAL_IMAGES = "REPSIM_TEST_IMAGES"
"""The variable that names the folder of real images; code with it is compiled only without one."""

SHORTER = {
    "local:4": "local:1",
    "local:2": "local:1",
    "/scratch/repsim": "scratch",
}
"""Word of a command -> what is run in its place. The small world makes everything else small."""

PRINTED = {
    "energy_profile_correlation on deadleaves, stage change": "by repsim compare",
    "repsim_models 'example' of repsim-example: 8 of 8 rules hold": "by repsim plugins check",
    "9504800 6b26d661e113bb02": "by the Python block above",
}
"""First line of a text -> what prints it. It is compared, all but the numbers."""

TEXTS = {
    "12 runs to train, about": "is compared in test_numbers.py",
    "versions      python": "is compared in test_numbers.py",
    "mtcnn_rnet: 28 filters": "is compared in tests/cli/test_profile_command.py",
    "warning: plugin 'theirs'": "is compared in tests/faults/test_hostile_plugins.py",
    "[build-system]": "is a file that a command of the page writes",
    "@software{repsim_energy,": "is compared in tests/test_site.py",
    ":hidden:": "is a table of contents, which tests/test_site.py reads",
    "data/celeba/img_align_celeba/": "is a list of files",
    "ILSVRC2012/train/": "is a list of files",
    "X = (W U)ᵀ": "is a formula",
    "e_i = sqrt(": "is a formula",
    "e_i(t) ∝": "is a formula",
    "corr(w_cyx,": "is a formula",
    "e_i² = mean_k": "is a formula",
    "images -> patch moments": "is a drawing",
    "rsatoolbox.rdm.RDMs": "is printed by another toolkit",
    "Results for running fixed evaluation": "is printed by another toolkit",
    "[[0.    0.356": "is printed by another toolkit",
    "{'measure/repsim_energy/energy'": "is printed by another toolkit",
    "[[0.16535934]]": "is printed by another toolkit",
    "tensor(0.3558,": "is printed by another toolkit",
    "0.9373529683554396": "is printed by another toolkit",
    "repsim has no RepresentationMetricSpace": "is printed by another toolkit",
}
"""Beginning of a text that is nobody's output here -> what it is."""


def entry(table, text):
    """Return the entry of a table whose pattern a command has, or None."""
    return next((pattern for pattern in table if fnmatchcase(text, pattern)), None)


def beginning(table, text):
    """Return the entry of a table that a text begins with, or None."""
    return next((start for start in table if text.startswith(start)), None)
