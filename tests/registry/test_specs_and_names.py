"""From text to things: the grammar, the binding of options, names and families."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import LEAVES

from repsim_energy.errors import PluginError, UsageError
from repsim_energy.interfaces import ImageSet
from repsim_energy.options import bind_options, options_of
from repsim_energy.registry import (
    describe,
    load_dataset,
    load_registry,
    resolve_metric,
    resolve_model,
)
from repsim_energy.specs import parse_chain, parse_spec, split_list

words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9_./-]{0,8}", fullmatch=True)


@given(words, st.dictionaries(words, values, max_size=4))
def test_a_spec_reads_back_what_was_written(name, options):
    text = ":".join([name, *(f"{k}={v}" for k, v in options.items())])
    spec = parse_spec(text)
    assert (spec.name, dict(spec.options)) == (name, options)
    assert [part.name for part in parse_chain(f"{text}+{name}")] == [name, name]


def target(
    n,
    *,
    flag: bool = False,
    count: int = 1,
    rate: float = 0.5,
    path: Path = Path(),
    kind: Literal["a", "b"] = "a",
    maybe: int | None = 3,
    names: tuple[str, ...] = (),
):
    """Take one option of each kind."""


def test_defaults_are_shown_as_users_type_them():
    def target(*, classes: tuple[str, ...] = ("cat", "dog"), limit: int | None = None, size: int):
        """Take options with defaults and without."""

    shown = {option.name: (option.type, option.default) for option in options_of(target, 0)}
    assert shown == {
        "classes": ("str/...", "cat/dog"),
        "limit": ("int or none", "None"),
        "size": ("int", ""),
    }


def test_options_take_the_type_of_their_annotation():
    given_text = {
        "flag": "true",
        "count": "7",
        "rate": "1e-3",
        "path": "C:/x",
        "kind": "b",
        "maybe": "none",
        "names": "cat/dog",
    }
    assert bind_options(target, given_text, skip=1, what="t") == {
        "flag": True,
        "count": 7,
        "rate": 1e-3,
        "path": Path("C:/x"),
        "kind": "b",
        "maybe": None,
        "names": ("cat", "dog"),
    }


if TYPE_CHECKING:
    from torch import nn


def written_as_text(
    n: "int", *, maybe: "int | None" = None, kind: 'Literal["a"]' = "a", layer: "nn.Module" = None
) -> "nn.Module":
    """Take options whose annotations are text, one of which only a type checker can read."""


class Callable:
    def __init__(self, *, maybe: "int | None" = None):
        """Take an option."""

    def __call__(self, n, *, maybe: "float | None" = None):
        """Take another."""


@pytest.mark.parametrize(
    ("called", "skip", "found"),
    [
        (written_as_text, 1, 3),
        (partial(written_as_text, 1), 0, 3),
        (Callable, 0, 3),
        (Callable(), 1, 3.0),
    ],
)
def test_annotations_in_text_are_read_where_they_can_be(called, skip, found):
    bound = bind_options(called, {"maybe": "3"}, skip=skip, what="t")
    assert bound["maybe"] == found
    assert type(bound["maybe"]) is type(found)
    with pytest.raises(UsageError, match="got 'x', expected"):
        bind_options(called, {"maybe": "x"}, skip=skip, what="t")
    assert bind_options(written_as_text, {"layer": "conv"}, skip=1, what="t")["layer"] == "conv"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flga": "1"}, "did you mean 'flag'"),
        ({"count": "1.5"}, "got '1.5', expected int"),
        ({"flag": "maybe"}, "expected bool"),
        ({"kind": "c"}, "expected a or b"),
        ({"maybe": "x"}, "expected int or none"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        bind_options(target, options, skip=1, what="model 't'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", ":a=1", "a b", "vgg11:width", "a:k=1:k=2"])
def test_text_that_is_no_spec_is_refused(text):
    with pytest.raises(UsageError, match="expected"):
        parse_spec(text)


def test_a_colon_in_a_value_is_no_separator():
    assert parse_spec("npz:path=C:/a.npz:limit=3").options == {"path": "C:/a.npz", "limit": "3"}
    with pytest.raises(UsageError, match="empty item"):
        split_list("a,,b")


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def test_unknown_names_are_answered_with_the_closest(registry):
    with pytest.raises(UsageError, match="unknown metric 'enegry'; did you mean 'energy'"):
        resolve_metric(registry, "enegry")
    with pytest.raises(UsageError, match="did you mean 'vgg16'"):
        resolve_model(registry, "vgg166")
    with pytest.raises(UsageError, match="did you mean 'resnet18'"):
        resolve_model(registry, "torchvision/resnet188").build(10, 3)
    with pytest.raises(UsageError, match="needs path="):
        load_dataset(registry, "npz")


def test_members_of_a_family_are_listed_only_when_asked_for(registry):
    assert "torchvision/*" in registry.names("model")
    assert "torchvision/resnet18" not in registry.names("model")
    assert "torchvision/resnet18" in registry.names("model", "torchvision/resnet*")
    summary, options = describe(registry, "model", "torchvision/resnet18")
    assert summary
    assert [option.name for option in options] == ["weights", "frozen", "sigma", "first"]


def test_defaults_written_out_are_the_same_model(registry):
    plain, same, other = (
        resolve_model(registry, text).identity
        for text in ("resnet18", "resnet18:width=1.0", "resnet18:width=0.5")
    )
    assert plain == same != other


def test_common_options_and_variants_of_data_sets(registry, pictures_npz):
    base = f"npz:path={pictures_npz}"
    plain = load_dataset(registry, base)
    chosen = load_dataset(registry, f"{base}:classes=c/a:limit=10:size=16")
    assert chosen.train.classes == ("c", "a")
    assert chosen.train.images.shape == (10, 3, 16, 16)
    assert sorted(chosen.train.labels.tolist()) == [0] * 5 + [1] * 5
    shuffled = load_dataset(registry, f"{base}+random_labels:seed=1")
    assert shuffled.train.image_fingerprint == plain.train.image_fingerprint
    assert shuffled.train.fingerprint != plain.train.fingerprint
    assert sorted(shuffled.train.labels.tolist()) == sorted(plain.train.labels.tolist())
    assert load_dataset(registry, f"{base}+random_labels:seed=1").train.fingerprint == (
        shuffled.train.fingerprint
    )
    with pytest.raises(UsageError, match="unknown class 'd'"):
        load_dataset(registry, f"{base}:classes=d")


def test_things_of_the_wrong_kind_name_their_distribution(registry):
    own = load_registry(plugins=False)
    plugin = own.plugins[0]
    own.add("dataset", "wrong", lambda split: [1, 2], plugin)
    own.add("metric", "empty", object(), plugin)
    own.add("variant", "broken", lambda images: 1 / 0, plugin)
    with pytest.raises(PluginError, match="'wrong' of repsim-energy returned list"):
        load_dataset(own, "wrong")
    with pytest.raises(PluginError, match="lacks"):
        resolve_metric(own, "empty")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        load_dataset(own, f"{LEAVES}+broken")


def test_every_built_in_loads_and_describes_itself(registry):
    for kind in ("metric", "model", "dataset", "variant"):
        for name in registry.names(kind):
            if not name.endswith("/*"):
                assert describe(registry, kind, name)[0], name


def test_an_image_set_refuses_labels_that_do_not_belong(pictures):
    with pytest.raises(UsageError, match="one label per image"):
        ImageSet(pictures.images, pictures.labels[:-1], pictures.classes, "x")
