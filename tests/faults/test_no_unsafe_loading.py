"""No line of the repository loads a file in a way that could run what is in it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from unsafe_calls import unsafe_calls

ROOT = Path(__file__).parents[2]
FOLDERS = ["repsim_energy", "plugins", "datasets", "benchmarks", "docs", "tests", ".ci"]
OTHERS = {"__pycache__", ".jupyter_cache", "build", "site", ".venv", "node_modules"}
"""Folders that are no part of the repository."""

OWN_PICKLES = "pickles that this test made itself"
PAGES = "code of our own pages, which is what the test is of"
SCRIPTS = "scripts of this repository"
OWN_CALLS = "calls that this test wrote itself"

ALLOWED = {
    ("repsim_energy/data/cifar_files.py", "pickle.Unpickler"): (
        1,
        "the restricted unpickler, which gives stand-ins for four names and refuses all others",
    ),
    ("repsim_energy/models/architectures/torchvision_zoo.py", "torchvision.models.get_model"): (
        1,
        "its weights give a state dict that was loaded with weights_only=True",
    ),
    ("repsim_energy/options.py", "builtins.eval"): (
        1,
        "annotations in the code of plugins, which runs anyway",
    ),
    ("repsim_energy/registry/plugin_file.py", "builtins.compile"): (1, "plugins are code"),
    ("repsim_energy/registry/plugin_file.py", "builtins.exec"): (1, "plugins are code"),
    ("repsim_energy/registry/plugins.py", "pickle.loads"): (
        1,
        "part of a pickle that a process of ours is reading",
    ),
    ("repsim_energy/scheduling/dask_cluster.py", "pickle.loads"): (1, "sent to our own worker"),
    ("repsim_energy/scheduling/dask_worker.py", "pickle.loads"): (3, "received from our driver"),
    ("repsim_energy/scheduling/processes.py", "pickle.loads"): (
        1,
        "written by the parent process, in a folder that nobody else can write",
    ),
    ("plugins/repsim-timm/repsim_timm/pretrained.py", "timm.create_model"): (
        2,
        "timm reads hub files and local files with weights_only=True; addresses are kept from it",
    ),
    ("plugins/repsim-timm/tests/test_malicious_files.py", "os.system"): (
        1,
        "what malicious files call, which the test writes and never runs",
    ),
    ("plugins/repsim-timm/tests/test_names.py", "runpy.run_module"): (1, SCRIPTS),
    ("plugins/repsim-toolkits/tests/test_adapters.py", "pickle.loads"): (1, OWN_PICKLES),
    ("plugins/repsim-toolkits/tests/test_rsatoolbox.py", "builtins.exec"): (1, PAGES),
    ("tests/cli/test_profile_command.py", "extractall"): (
        1,
        "filter='data' refuses what lies outside, and the archive is ours",
    ),
    ("tests/comparison/test_features_from_files.py", "builtins.exec"): (1, PAGES),
    ("tests/comparison/test_python_call.py", "builtins.exec"): (2, "calls that a result records"),
    ("tests/comparison/test_work_is_done_once.py", "pickle.loads"): (1, OWN_PICKLES),
    ("tests/experiments/lecture/test_one_layer.py", "pickle.loads"): (1, OWN_PICKLES),
    ("tests/comparison/test_sweep.py", "builtins.exec"): (1, "the call that a result records"),
    ("tests/scheduling/test_dask_cluster.py", "runpy.run_path"): (1, PAGES),
    ("tests/test_warnings.py", "builtins.compile"): (3, OWN_CALLS),
    ("tests/test_warnings.py", "builtins.exec"): (3, OWN_CALLS),
    ("tests/pages/small_world.py", "runpy.run_path"): (1, SCRIPTS),
    ("tests/pages/test_blocks.py", "builtins.compile"): (1, PAGES),
    ("tests/pages/test_blocks.py", "builtins.exec"): (1, PAGES),
    ("tests/pages/test_blocks.py", "runpy.run_path"): (1, PAGES),
    ("tests/pages/test_kernel_sizes.py", "builtins.exec"): (1, PAGES),
    ("tests/pages/test_numbers.py", "builtins.exec"): (1, PAGES),
    ("tests/pages/test_numbers.py", "runpy.run_path"): (1, SCRIPTS),
    ("tests/registry/test_first_option.py", "pickle.loads"): (1, OWN_PICKLES),
    ("tests/registry/test_plugin_files.py", "pickle.loads"): (2, OWN_PICKLES),
    ("tests/results/test_data_frames.py", "builtins.exec"): (1, PAGES),
    ("tests/scheduling/test_chunks.py", "numpy.load"): (1, "wrapped, with all its arguments"),
    ("tests/scheduling/test_local.py", "pickle.loads"): (2, OWN_PICKLES),
    ("tests/test_depth_page.py", "runpy.run_path"): (1, SCRIPTS),
    ("tests/test_docs.py", "builtins.exec"): (2, PAGES),
    ("tests/test_strangers.py", "builtins.exec"): (1, PAGES),
    ("tests/visualization/test_maximal_images.py", "builtins.exec"): (1, PAGES),
}
"""(File, name) -> how often, and why it is safe there."""

MALICIOUS = ("tests/faults/malicious.py", "tests/faults/test_malicious_files.py")
"""What malicious files call is named here, and run in children only."""


def sources():
    """Yield the path and the code of every module, script, template and cell of a notebook."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if OTHERS & set(path.relative_to(ROOT).parts) or not path.is_file():
                continue
            if name.endswith((".py", ".py.txt", ".pyi")):
                text = path.read_text(encoding="utf-8")
                yield name, re.sub(r"\$(\w+)", r"\1", text) if name.endswith(".txt") else text
            elif path.suffix == ".ipynb":
                for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                    if cell["cell_type"] == "code":
                        yield name, "".join(cell["source"])


def test_no_line_loads_unsafely():
    found, files = Counter(), set()
    for name, code in sources():
        files.add(name)
        if name not in MALICIOUS:
            found.update((name, what) for _, what, _ in unsafe_calls(code))
    if not (ROOT / "plugins").is_dir():  # in a source distribution
        pytest.skip("no plugins here")
    assert len(files) > 600
    assert dict(found) == {key: count for key, (count, _) in ALLOWED.items()}


BAD = """
torch.load(path)
torch.load(path, weights_only=False)
torch.load(path, weights_only=safe)
torch.load(path, **options)
from torch import load; load(path)
import torch as t; t.load(path)
map(torch.load, paths)
torch.load(path, weights_only=True, pickle_module=pickle)
np.load(path)
np.load(path, allow_pickle=True)
np.lib.format.read_array(file, allow_pickle=True)
pickle.load(file)
pickle.loads(content)
from pickle import loads as read; read(content)
import pickle as p; p.Unpickler(file).load()
class Own(pickle.Unpickler): pass
import cloudpickle; cloudpickle.loads(content)
import dill; dill.load(file)
import joblib; joblib.load(path)
pool.submit(pickle.loads, content)
torch.hub.load(folder, "net", source="local")
torch.hub.load_state_dict_from_url(url, weights_only=True)
from torch.hub import load_state_dict_from_url as get; get(url)
weights.get_state_dict(check_hash=True)
from torchvision import models; models.get_model("vgg11", weights="DEFAULT")
from torchvision.models import vgg11; vgg11(weights=chosen)
import torchvision; torchvision.models.vgg11(pretrained=True)
from torchvision import datasets; datasets.CIFAR10(root)
timm.create_model("resnet18", pretrained=True)
torch.jit.load(path)
torch.package.PackageImporter(path)
torch.export.load(path)
yaml.load(text)
marshal.loads(content)
shelve.open(path)
eval(text)
exec(text)
compile(text, "f", "exec")
__import__(name)
archive.extractall(folder)
archive.extract(member)
shutil.unpack_archive(path)
subprocess.run(text, shell=True)
os.system(text)
import pandas as pd; pd.read_pickle(path)
""".strip().splitlines()

GOOD = """
torch.load(path, weights_only=True)
np.load(path, allow_pickle=False)
pickle.dumps(thing)
net.eval()
re.compile(text)
models.get_model("vgg11", weights=None)
timm.create_model("resnet18", pretrained=False)
torch.hub.get_dir()
subprocess.run([text])
yaml.safe_load(text)
archive.extractfile(member)
""".strip().splitlines()

IMPORTS = (
    "import marshal, os, pickle, re, shelve, shutil, subprocess, timm, torch, yaml\n"
    "import numpy as np\nfrom torchvision import models\n"
)


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_loads_unsafely_is_found(line):
    assert unsafe_calls(IMPORTS + line)


def test_safe_lines_are_not_found():
    assert unsafe_calls(IMPORTS + "\n".join(GOOD)) == []
