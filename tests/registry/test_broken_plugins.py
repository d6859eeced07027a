"""Plugins as real distributions on disk: good ones work, broken ones are named and left out."""

import json
import sys
import textwrap

import pytest
from commands import repsim_process

from repsim_energy.errors import PluginError, PluginWarning
from repsim_energy.registry import load_registry

HEAD = "from repsim_energy import hookimpl\n"
GOOD = HEAD + textwrap.dedent("""
    def tiny(num_classes, in_channels, *, width: int = 4):
        '''Return a network with one convolution.'''
        from torch import nn
        return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1),
                             nn.Flatten(), nn.Linear(width, num_classes))

    @hookimpl
    def repsim_models():
        return {"tiny": tiny}
""")


def hook(body, name="repsim_models", arguments=""):
    return f"{HEAD}@hookimpl\ndef {name}({arguments}):\n    {body}\n"


BROKEN = {
    "missing-package": ("import no_such_package", "No module named 'no_such_package'"),
    "syntax": ("def (", "SyntaxError"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "exits-in-hook": (hook("raise SystemExit('bye')"), "SystemExit: bye"),
    "own-exception": ("class Odd(BaseException): ...\nraise Odd('hm')", "Odd: hm"),
    "list": (hook("return ['vgg']"), "returned list, expected a mapping"),
    "none": (hook("return None"), "returned NoneType"),
    "misspelt": (hook("return {}", name="repsim_model"), "did you mean 'repsim_models'"),
    "arguments": (hook("return {}", arguments="width"), "does not keep to the hooks"),
    "taken": (hook("return {'vgg11': print}"), "'vgg11' is already offered by repsim-energy"),
    "no-hooks": ("x = 1", "has no hook"),
    "wrong-thing": (hook("return {'seven': 7}"), "'seven' is int, expected a callable"),
    "wrong-name": (hook("return {7: print}"), "7 is not a string"),
    "raises-in-hook": (hook("return 1 / 0"), "ZeroDivisionError"),
}


def found(registry, name):
    return next(plugin for plugin in registry.plugins if plugin.name == name)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_and_everything_else_goes_on(name, install):
    source, words = BROKEN[name]
    install(name, source)
    install("good", GOOD)
    with pytest.warns(PluginWarning, match=f"'{name}' of {name} 1.0"):
        registry = load_registry()
    plugin = found(registry, name)
    assert (plugin.distribution, plugin.version, plugin.status) == (name, "1.0", "failed")
    assert words in " ".join(plugin.problems)
    assert found(registry, "good").status == "ok"
    assert {"tiny", "vgg11", "resnet18"} <= set(registry.names("model"))
    with pytest.raises(PluginError, match=name):
        load_registry(strict=True)


def test_an_entry_point_without_its_attribute_is_named(install):
    install("nowhere", GOOD, entry="plugin_nowhere:missing")
    with pytest.warns(PluginWarning, match="missing"):
        assert found(load_registry(), "nowhere").status == "failed"


def test_of_two_plugins_with_one_name_the_first_keeps_it(install):
    install("alpha", GOOD)
    install("beta", GOOD)
    with pytest.warns(PluginWarning, match="'tiny' is already offered by alpha"):
        registry = load_registry()
    assert registry.entry("model", "tiny").plugin.distribution == "alpha"


def test_a_lazy_string_that_points_nowhere_names_its_distribution_when_asked_for(install):
    install("lazy", hook("return {'lost': 'no_such_module:build'}"))
    registry = load_registry()
    assert found(registry, "lazy").status == "ok"
    with pytest.raises(PluginError, match="'lost' of lazy cannot be loaded"):
        registry.entry("model", "lost").load()


def test_a_plugin_with_a_good_and_a_bad_hook_is_partial(install):
    install("half", GOOD + "\n@hookimpl\ndef repsim_metrics():\n    return 3\n")
    with pytest.warns(PluginWarning):
        registry = load_registry()
    assert found(registry, "half").status == "partial"
    assert "tiny" in registry.names("model")


def test_hooks_have_the_options_of_pluggy(install):
    """An optional hook may be unknown, a function may have another name, and order is chosen."""
    install(
        "options",
        HEAD
        + textwrap.dedent("""
            @hookimpl(optionalhook=True)
            def repsim_schedulers():
                return {"of a later version": print}

            @hookimpl(specname="repsim_models", trylast=True)
            def last():
                return {"ours": max, "second": max}

            @hookimpl(specname="repsim_models", tryfirst=True)
            def first():
                return {"ours": min, "first": min}

            @hookimpl(specname="repsim_variants", wrapper=True)
            def checked():
                return [dict(mapping, more=print) for mapping in (yield)]

            @hookimpl
            def repsim_variants():
                return {"one": print}
        """),
    )
    with pytest.warns(PluginWarning, match="'ours' is already offered by options"):
        registry = load_registry()
    assert found(registry, "options").provides == {
        "model": ["ours", "first", "second"],
        "variant": ["one", "more"],
    }
    assert len(found(registry, "options").problems) == 1
    assert registry.entry("model", "ours").load() is min


def test_a_plugin_changes_nothing_that_another_offers(install):
    install("good", GOOD)
    install(
        "wraps",
        HEAD + "@hookimpl(wrapper=True)\ndef repsim_models():\n    yield\n    return [{}]\n",
    )
    registry = load_registry()
    assert "tiny" in registry.names("model")


def test_without_plugins_nothing_of_them_is_imported(install):
    install("missing-package", BROKEN["missing-package"][0])
    registry = load_registry(plugins=False)
    assert {plugin.distribution for plugin in registry.plugins} == {"repsim-energy"}
    assert "plugin_missing_package" not in sys.modules


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(install):
    install("waits", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_registry()


@pytest.mark.process
def test_commands_go_on_beside_every_kind_of_broken_plugin(install, repsim, pictures_npz):
    for name, (source, _) in BROKEN.items():
        install(name, source)
    install("good", GOOD)
    for args in (["--help"], ["models"], ["datasets"], ["metrics"], ["variants"], ["plugins"]):
        done = repsim(*args)
        assert done.returncode == 0, (args, done.stderr)
        assert "Traceback" not in done.stderr
    done = repsim_process("models")  # in which nothing has been imported before
    assert done.returncode == 0, done.stderr
    assert "tiny" in done.stdout
    listed = json.loads(repsim("plugins", "--json").stdout)
    problems = {plugin["name"]: " ".join(plugin["problems"]) for plugin in listed}
    for name, (_, words) in BROKEN.items():
        assert words in problems[name]
    compare = [
        "compare",
        "--models",
        "tiny:width=3",
        "--dataset",
        f"npz:path={pictures_npz}",
        "--recipe",
        "quick:steps=2",
        "--jobs",
        "1",
    ]
    done = repsim(*compare)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: plugin") == len(BROKEN)
    assert repsim(*compare, REPSIM_STRICT_PLUGINS="1").returncode == 1
    assert repsim("--no-plugins", *compare).returncode == 2
