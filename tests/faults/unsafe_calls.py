"""Calls and names in Python code that can run what is in a file."""

import ast

NAMES = {
    "builtins.eval": "runs a text",
    "builtins.exec": "runs a text",
    "builtins.compile": "makes code of a text",
    "builtins.__import__": "imports what a text names",
    "os.system": "runs a text in a shell",
    "os.popen": "runs a text in a shell",
    "runpy.run_path": "runs a file",
    "runpy.run_module": "runs a file",
    "pickle.load": "runs what a pickle names",
    "pickle.loads": "runs what a pickle names",
    "pickle.Unpickler": "runs what a pickle names",
    "_pickle": "runs what a pickle names",
    "dill": "runs what a pickle names",
    "cloudpickle.load": "runs what a pickle names",
    "cloudpickle.loads": "runs what a pickle names",
    "joblib.load": "runs what a pickle names",
    "pandas.read_pickle": "runs what a pickle names",
    "shelve": "runs what a pickle names",
    "marshal.load": "makes code of bytes",
    "marshal.loads": "makes code of bytes",
    "yaml.load": "may build any object",
    "yaml.unsafe_load": "may build any object",
    "torch.jit.load": "runs what an archive holds",
    "torch.package": "runs what an archive holds",
    "torch.export.load": "runs what an archive holds",
    "torch.storage._load_from_bytes": "unpickles everything",
    "torch.hub.load": "runs a file",
    "torch.hub.load_state_dict_from_url": "unpickles everything by default",
    "torch.utils.model_zoo": "unpickles everything by default",
    "shutil.unpack_archive": "may write outside of its folder",
}
"""Names, also of whole modules -> what they do with what a file holds."""

CALLS = {
    "torchvision.datasets.CIFAR10": "unpickles everything",
    "torchvision.datasets.CIFAR100": "unpickles everything",
}
"""Classes that are safe to name, but not to call."""

METHODS = {
    "extract": "may write outside of its folder",
    "extractall": "may write outside of its folder",
    "get_state_dict": "unpickles everything by default",
}
"""Names of methods of any object -> what they do."""

LOADERS = {"torch.load": "weights_only", "numpy.load": "allow_pickle"}
"""Functions that are called with a literal keyword, and nowhere named without being called."""

KEYWORDS = {"weights_only": True, "allow_pickle": False, "shell": False, "pickle_module": None}
"""Keyword of any call -> the only literal it may have."""

PRETRAINED = ("torchvision.models.", "timm.")
"""Modules whose functions unpickle where they get ``weights=`` or ``pretrained=True``."""


def unsafe_calls(code):
    """Return (line, name, reason) of everything that may run what a file holds."""
    tree = ast.parse(code)
    names = _imported(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            name = _full_name(node, names)
            found += [(node.lineno, name, why) for why in _reasons(name)]
            if name in LOADERS and id(node) not in called:
                found.append((node.lineno, name, "is passed on without its keyword"))
        if isinstance(node, ast.Call):
            found += [(node.lineno, *one) for one in _bad_call(node, _full_name(node.func, names))]
    return sorted(found)


def _reasons(name):
    """Return what a name, or a module that it begins with, does."""
    ends = [i for i, character in enumerate(name) if character == "."]
    return [NAMES[part] for part in (name, *(name[:end] for end in ends)) if part in NAMES]


def _imported(tree):
    """Return name in this module -> full name, of everything that it imports."""
    names = {key.rpartition(".")[2]: key for key in NAMES if key.startswith("builtins.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
                else:
                    names[alias.name.partition(".")[0]] = alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _full_name(node, names):
    """Return the dotted name of an expression, with what it imports in place of its beginning."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(names.get(node.id, node.id) if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def _bad_call(node, name):
    given = {word.arg: word.value for word in node.keywords}
    if name in CALLS:
        yield name, CALLS[name]
    if name in LOADERS and LOADERS[name] not in given:
        yield name, f"without {LOADERS[name]}="
    for word, only in KEYWORDS.items():
        if word in given and not _is_literal(given[word], only):
            yield name, f"with {word}={ast.unparse(given[word])}"
    method = name.rpartition(".")[2]
    if isinstance(node.func, ast.Attribute) and method in METHODS:
        yield method, METHODS[method]
    if name.startswith(PRETRAINED):
        for word in ("weights", "pretrained"):
            if word in given and not any(_is_literal(given[word], v) for v in (None, False)):
                yield name, f"with {word}="


def _is_literal(node, value):
    return isinstance(node, ast.Constant) and node.value is value
