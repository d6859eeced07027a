"""Files that run code where they are unpickled: what they call, and the layouts they come in.

All of them touch a file, the marker, in another way. Nothing here is run by building it.
"""

import argparse
import functools
import gzip
import importlib
import io
import marshal
import operator
import os
import pickle
import runpy
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from numpy.f2py import crackfortran
from numpy.lib import format as npy
from numpy.testing import runstring
from torch.utils import collect_env

NEIGHBOR = "neighbor_of_the_file"
"""A module beside the file, which touches the marker when it is imported."""


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


def write_neighbors(folder, marker):
    """Write what some pickles name: a module, a hub of torch, and an array with a pickle in it."""
    code = f"open({str(marker)!r}, 'w').close()\n"
    Path(folder, f"{NEIGHBOR}.py").write_text(f"{code}def run(): pass\n")
    Path(folder, "hubconf.py").write_text(f"dependencies = []\ndef entry():\n    {code}")
    Path(folder, "inner.npy").write_bytes(npy_of(pickled(Call(os.system, f"touch {marker}"))))


def pickled(thing):
    return pickle.dumps(thing, protocol=2)


def pickles(folder, marker):
    """Return name -> a pickle that touches the marker; a few name files beside it in ``folder``."""
    code, shell = f"open({str(marker)!r}, 'w')", f"touch {marker}"
    touch = Call(os.system, shell)
    load = functools.partial(np.load, allow_pickle=True)
    hub = functools.partial(torch.hub.load, source="local", trust_repo=True)
    compiled = marshal.dumps(compile(code, "file", "exec"))
    module = Call(importlib.import_module, "os")
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    objects = (1, (1,), np.dtype("O"), False, [touch])
    things = {
        "os.system": touch,
        "subprocess": Call(subprocess.call, ["touch", str(marker)]),
        "eval": Call(eval, code),
        "exec": Call(exec, code),
        "writing a file": Call(open, str(marker), "w"),
        "a method of a path": Call(Path.touch, marker),
        "getattr": Call(operator.call, Call(getattr, module, "system"), shell),
        "operator": Call(operator.call, Call(operator.methodcaller, "touch"), marker),
        "import of a neighbor": Call(importlib.import_module, NEIGHBOR),
        "run of a neighbor": Call(runpy.run_path, str(Path(folder, f"{NEIGHBOR}.py"))),
        "compiled code": Call(exec, Call(marshal.loads, compiled)),
        "torch's hub": Call(operator.call, hub, str(folder), "entry"),
        "torch's loader": Call(torch.storage._load_from_bytes, zipped(pickled(touch))),
        "torch's environment": Call(collect_env.run, shell),
        "NumPy's loader": Call(operator.call, load, str(Path(folder, "inner.npy"))),
        "NumPy's tests": Call(runstring, code, {}),
        "NumPy's f2py": Call(crackfortran.myeval, code),
        "in torch's parameter": Call(torch._utils._rebuild_parameter, touch, True, OrderedDict()),
        "in NumPy's number": Call(scalar, np.dtype("O"), touch),
        "in NumPy's array": Call(array, np.ndarray, (0,), b"b", state=objects),
        "in a plain class": argparse.Namespace(model=touch),
        "beside weights": {"conv1.weight": np.ones((2, 3, 3, 3), np.float32), "epoch": touch},
        "under a name": {"state_dict": {touch: 1}},
    }
    made = {name: pickled(thing) for name, thing in things.items()}
    made["a name in a neighbor"] = b"\x80\x02c" + NEIGHBOR.encode() + b"\nrun\n."
    made["an error of another type first"] = _TYPE_ERROR + pickled(touch)[2:-1] + b"e."
    made["in text"] = f"cos\nsystem\n(S'{shell}'\ntR.".encode()
    return made


_TYPE_ERROR = b"\x80\x02](ccollections\nOrderedDict\n)R(N}X\x01\x00\x00\x00xK\x01stb"
"""A list whose first entry has a state that ``weights_only`` refuses by a ``TypeError``.

Whoever then tries again without ``weights_only`` runs the rest.
"""


def zipped(content, others=()):
    """Return a file of torch.save whose pickle is this one."""
    made = io.BytesIO()
    torch.save({"w": torch.ones(2)}, made)
    changed = io.BytesIO()
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            data = content if entry.filename.endswith("data.pkl") else source.read(entry)
            target.writestr(entry.filename, data)
        folder = source.namelist()[0].partition("/")[0]
        for name in others:
            target.writestr(f"{folder}/{name}", content)
    return changed.getvalue()


def legacy(content):
    """Return a file of torch.save before version 1.6 whose pickle is this one."""
    made = io.BytesIO()
    torch.save({"w": torch.ones(2)}, made, _use_new_zipfile_serialization=False)
    made.seek(0)
    for _ in range(3):  # magic number, version, sizes of types
        pickle.load(made)
    return made.getvalue()[: made.tell()] + content + pickled([])


def tarred(content):
    """Return a file of torch.save before version 0.1.10."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def npy_of(content, shape=(4,)):
    """Return an array of objects in a .npy file whose pickle is this one."""
    made = io.BytesIO()
    npy.write_array_header_1_0(made, {"descr": "|O", "fortran_order": False, "shape": shape})
    return made.getvalue() + content


def npz_of(content, names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", npy_of(content))
    return made.getvalue()


LAYOUTS = {
    "raw.pkl": lambda content: content,
    "raw.pt": lambda content: content,
    "raw.safetensors": lambda content: content,
    "raw.onnx": lambda content: content,
    "raw.h5": lambda content: content,
    "zip.pt": zipped,
    "zip.safetensors": zipped,
    "legacy.pth": legacy,
    "tar.pt": tarred,
    "torchscript.pt": lambda content: zipped(content, ["constants.pkl", "code/__torch__.py"]),
    "keras.keras": lambda content: zipped(content, ["model.weights.h5"]),
    "zip.pt.gz": lambda content: gzip.compress(zipped(content)),
    "legacy.bin.gz": lambda content: gzip.compress(legacy(content)),
    "array.npy": npy_of,
    "arrays.npz": lambda content: npz_of(content, ["conv1.weight", "ids"]),
    "arrays.pt": lambda content: npz_of(content, ["data"]),
}
"""Name of a file -> its content, from that of a pickle."""
