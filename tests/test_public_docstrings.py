"""Docstrings of public functions and classes are complete.

Checked for every function and class of ``repsim_energy``, ``repsim_energy.testing`` and
``repsim_energy.plot`` that is public, and for their public methods:

- **summary**: the first paragraph is of sentences without semicolons; of a function or method it
  begins with a verb (``VERBS``).
- **parameters**: those of the signature, no others, in its order, each described; a tensor or an
  array with its shape, such as ``(n, d)``. Of a class those of ``__init__`` and the fields, under
  ``Parameters`` or ``Attributes``.
- **returns**: of a function that returns something; a tensor or an array with its shape.
- **raises**: every error of this package that the function raises, or a base class of it. Looked
  for in its code and in that of functions and classes of this package that it calls by name.
- **source**: where there is a displayed formula, and wherever else a paragraph begins with
  ``Source:``, author and year, title, and DOI, arXiv number or address.
- **example**: one that ``pytest --doctest-modules`` collects and runs.

A method needs a summary and parameters alone, an error or a warning a summary alone. ``EXEMPT``
lists what else does not apply, and why. ``python tests/test_public_docstrings.py`` prints all
problems.
"""

import ast
import dataclasses
import doctest
import inspect
import re
import sys
import textwrap

import pytest

import repsim_energy as rs
from repsim_energy import testing
from repsim_energy.errors import ShapeError

VERBS = {
    *("Add", "Announce", "Apply", "Average", "Build", "Change", "Check", "Compare"),
    *("Draw", "Estimate", "Find", "Flatten", "Initialize", "Load", "Open"),
    *("Read", "Receive", "Refuse", "Register", "Report", "Represent", "Return", "Save"),
    *("Set", "Shuffle", "Simulate", "Sum", "Summarize", "Train", "Validate"),
    *("Warn", "Write", "Yield"),
}
"""First words of functions and methods."""

EXEMPT = {
    "PatchMoments": {"source": "the formulae define the three sums"},
    "PatchAutocovariance": {"source": "the formula defines the matrices"},
    "plot.filters": {"raises": "a damaged run in the cache counts as missing"},
    "plot.trajectory": {"raises": "a damaged run in the cache counts as missing"},
    "summarize": {"source": "the formula is a mean"},
    "testing.check_variant": {"raises": "errors about images of the variant become findings"},
    "testing.RuleViolation": {"parameters": "is raised by checks, never by a caller"},
}
"""Name -> part that does not apply -> why."""

SHAPE = re.compile(r"\((?:[^()]*,[^()]*|\.\.\.|\w+)\)")
ARRAYS = re.compile(r"Tensor|NDArray|ArrayLike|\bArray\b|\bImages\b")
CITATION = re.compile(r"\(\d{4}\).*\".+\".*(?:doi:10\.\d{4,9}/\S|arXiv:\d{4}\.\d{4,5}|https://)")
PARTS = ("summary", "parameters", "returns", "raises", "source", "example")


def things():
    """Yield name and object of every public function and class."""
    for prefix, module in (("", rs), ("testing.", testing), ("plot.", rs.plot)):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield prefix + name, thing


def methods(thing):
    """Yield name and function of the public methods that a class defines itself."""
    for name, value in vars(thing).items():
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if inspect.isfunction(value) and not name.startswith("_"):
            yield name, value


def sections(thing):
    """Return title -> text of the sections of a docstring, and what stands before them as ""."""
    text = inspect.cleandoc(thing.__doc__ or "")
    parts = re.split(r"^(\w+)\n-{3,}\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(section):
    """Return name -> description; names may share an entry, such as ``a, b : (n,)``."""
    found = {}
    for entry in re.split(r"\n+(?=\S)", section.strip()):
        names, _, text = entry.partition(" : ")
        found |= {name.strip().lstrip("*"): " ".join(text.split()) for name in names.split(",")}
    return found


def parameters_of(thing):
    """Return name -> annotation of what a caller gives."""
    if dataclasses.is_dataclass(thing):
        return {f.name: f.type for f in dataclasses.fields(thing) if f.init}
    fields = {}
    if inspect.isclass(thing):
        if not issubclass(thing, tuple) or hasattr(thing, "_fields"):
            annotations = inspect.get_annotations(thing).items()
            fields = {n: getattr(t, "__forward_arg__", t) for n, t in annotations if n[0] != "_"}
        if not code_of(thing):
            return fields
    found = inspect.signature(thing).parameters
    given = {n: str(p.annotation) for n, p in found.items() if n not in ("self", "cls", "_")}
    return given | fields


def errors_of(function, seen):
    """Return the errors of this package that a function raises, as far as names tell."""
    function = inspect.unwrap(function)
    if function in seen:
        return set()
    seen.add(function)
    known, found = function.__globals__, set()
    code = textwrap.dedent(inspect.getsource(function))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            raised = known.get(getattr(node.exc.func, "id", ""))
            if inspect.isfunction(raised):  # one that makes the error
                raised = raised.__globals__.get(inspect.signature(raised).return_annotation)
            if inspect.isclass(raised) and issubclass(raised, rs.RepsimError):
                found.add(raised)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for called in code_of(known.get(node.func.id)):
                found |= errors_of(called, seen)
    return found


def code_of(thing):
    """Return the functions of this package that run when something is called."""
    if not (getattr(thing, "__module__", None) or "").startswith("repsim_energy."):
        return []
    if inspect.isclass(thing):
        found = [vars(thing).get(name) for name in ("__init__", "__post_init__")]
    else:
        found = [inspect.unwrap(thing)]
    functions = [f for f in found if inspect.isfunction(f) and f.__module__ == thing.__module__]
    return [f for f in functions if f.__code__.co_filename.endswith(".py")]  # no generated ones


def lacks(thing, part):
    """Return what is wrong with a part of a docstring, or None."""
    return globals()[f"lacks_{part}"](thing, sections(thing))


def lacks_summary(thing, parts):
    summary = parts[""].split("\n\n")[0].replace("\n", " ")
    if not re.fullmatch(r"[A-Z`].*\.(?:``)?", summary):
        return f"the first paragraph is no sentence: {summary!r}"
    if ";" in summary:
        return f"the first paragraph has a semicolon: {summary!r}"
    verb = summary.split()[0]
    if inspect.isfunction(thing) and verb not in VERBS:
        return f"begins with {verb!r}, expected a verb"
    return None


def lacks_parameters(thing, parts):
    described = "\n".join(parts.get(title, "") for title in ("Parameters", "Attributes"))
    wanted, found = parameters_of(thing), entries(described) if described.strip() else {}
    if list(wanted) != list(found):
        return f"has the parameters {', '.join(wanted)}, describes {', '.join(found)}"
    for name, annotation in wanted.items():
        if not found[name]:
            return f"does not describe {name}"
        if ARRAYS.search(annotation) and not SHAPE.search(found[name]):
            return f"gives no shape of {name}"
    return None


def lacks_returns(thing, parts):
    if inspect.isclass(thing):
        return None
    returned = str(inspect.signature(thing).return_annotation)
    text = parts.get("Returns", "") or parts.get("Yields", "")
    if returned == "None":
        return "describes a return value, but has none" if text else None
    if not text:
        return f"does not describe what it returns: {returned}"
    if ARRAYS.search(returned) and not SHAPE.search(text):
        return "gives no shape of what it returns"
    return None


def lacks_raises(thing, parts):
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return None
    seen = set()
    functions = code_of(thing) if inspect.isclass(thing) else [thing]
    raised = set().union(*(errors_of(function, seen) for function in functions))
    lines = re.findall(r"^\S.*$", parts.get("Raises", ""), flags=re.MULTILINE)
    named = [name for line in lines for name in line.split(", ")]
    known = [getattr(rs, name, None) or getattr(testing, name, None) for name in named]
    if None in known:
        return f"names errors that are not public: {named}"
    missing = {error.__name__ for error in raised if not issubclass(error, tuple(known))}
    return f"does not say that it raises {', '.join(sorted(missing))}" if missing else None


def lacks_source(thing, parts):
    found = [" ".join(p.split()) for p in parts[""].split("\n\n") if p.startswith("Source")]
    if ".. math::" in parts[""] and not found:
        return "has a formula and no source"
    wrong = [source for source in found if not CITATION.search(source)]
    return f"has a source without title, year or number: {wrong[0]}" if wrong else None


def lacks_example(thing, parts):
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return None
    finder = doctest.DocTestFinder(recurse=inspect.isclass(thing))
    module = sys.modules[thing.__module__]
    found = [e for test in finder.find(inspect.unwrap(thing), module=module) for e in test.examples]
    if not found or ">>>" not in (parts.get("Examples", "") or str(found)):
        return "has no example"
    return "skips an example" if any("SKIP" in e.source for e in found) else None


def problems(name, thing):
    """Yield the name, or that of a method, with the part and the problem."""
    is_error = inspect.isclass(thing) and issubclass(thing, Exception)
    for part in PARTS[:1] if is_error else PARTS:
        if part not in EXEMPT.get(name, {}) and (problem := lacks(thing, part)):
            yield name, part, problem
    if inspect.isclass(thing):
        for method, function in methods(thing):
            for part in PARTS[:2]:
                if problem := lacks(function, part):
                    yield f"{name}.{method}", part, problem


@pytest.mark.parametrize(("name", "thing"), list(things()))
def test_a_docstring_is_complete(name, thing):
    assert list(problems(name, thing)) == []


def test_what_is_exempt_is_public():
    assert EXEMPT.keys() <= dict(things()).keys()


GOOD = """Return the sum of a and b.

.. math:: a + b

Source: Peano (1889), "Arithmetices principia"; https://example.org.

Parameters
----------
a, b : (n,) terms

Returns
-------
(n,) float64

Raises
------
ShapeError
    For terms of different lengths.

Examples
--------
>>> 1 + 1
2
"""
FAULTS = {
    "summary": [
        ("Return the sum of a and b.", "The sum of a and b."),
        ("Return the sum of a and b.", "Return the sum; that of a and b."),
        ("Return the sum of a and b.", "Return the sum of a and b"),
    ],
    "parameters": [
        ("a, b : (n,) terms", "a : (n,) term"),
        ("a, b : (n,) terms", "b, a : (n,) terms"),
        ("a, b : (n,) terms", "a, b, c : (n,) terms"),
        ("a, b : (n,) terms", "a, b : terms"),
        ("a, b : (n,) terms", "a, b"),
    ],
    "returns": [("(n,) float64", "float64"), ("Returns\n-------\n(n,) float64\n\n", "")],
    "raises": [("ShapeError\n", "DataError\n"), ("ShapeError\n", "ValueError\n")],
    "source": [("(1889)", "1889"), ('"', ""), ("https://example.org", "his book")],
    "example": [("1 + 1", "1 + 1  # doctest: +SKIP"), (">>> 1 + 1\n2\n", "none")],
}


def add(a: "Tensor", b: "Tensor") -> "Tensor":  # noqa: F821 (annotations are read as text)
    if a != b:
        raise ShapeError("lengths differ")
    return a + b


@pytest.mark.parametrize("part", PARTS)
def test_every_fault_is_found(part):
    add.__doc__ = GOOD
    assert [lacks(add, each) for each in PARTS] == [None] * 6
    for old, new in FAULTS[part]:
        add.__doc__ = GOOD.replace(old, new)
        assert [each for each in PARTS if lacks(add, each)] == [part], new


if __name__ == "__main__":
    for problem in (p for each in things() for p in problems(*each)):
        print(*problem, sep=" | ")
