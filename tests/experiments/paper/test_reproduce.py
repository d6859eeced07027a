"""All experiments at the smallest scale, and their report."""

import fnmatch
import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import xarray as xr
from samples import LEAVES

import repsim_energy as rs
from repsim_energy.data.deadleaves import deadleaves
from repsim_energy.errors import FileError, UsageError
from repsim_energy.experiments.deviations import known_reasons
from repsim_energy.experiments.experiment import TRAINING, select_experiments
from repsim_energy.experiments.figures import draw_filters
from repsim_energy.experiments.lecture import EXPERIMENTS as LECTURE
from repsim_energy.experiments.outcome import Outcome, Quantity
from repsim_energy.experiments.paper import (
    EXPERIMENTS,
    decorrelation,
    families,
    filter_images,
    formula_fit,
    imagenet_models,
)
from repsim_energy.experiments.report import compare_with_published, page, read_rows
from repsim_energy.experiments.scales import SCALES
from repsim_energy.experiments.setting import Setting, make_setting
from repsim_energy.models.architectures import torchvision_zoo
from repsim_energy.registry import load_registry, resolve_model

ROWS = [
    *(
        "table1",
        "fig1",
        "table2",
        "fig3",
        "beyond",
        "depth",
        "table3",
        "fig7",
        "fig14",
        "fig15",
        "fig16",
    ),
    *("fig2", "fig20", "fig4", "theorem", "fig5", "fig6", "fig8a", "fig17", "fig8b", "fig18"),
    *("fig9", "fig10", "fig11", "fig12", "fig13", "fig19", "reproduction"),
]


@pytest.fixture(scope="module")
def whole(repsim, tmp_path_factory, shared_cache):
    """Run `reproduce all`; return its folder, its cache and the finished command."""
    folder = tmp_path_factory.mktemp("reproduction")
    cache = folder / "cache"
    assert SCALES["smoke"].sources["cifar10"] == LEAVES
    for split in ("train", "test"):
        deadleaves(split, count=120)  # rendered once in all tests
    shutil.copytree(shared_cache / "data", cache / "data")
    done = repsim(
        "reproduce",
        "all",
        "--scale",
        "smoke",
        "--celeba",
        f"{LEAVES}:classes=ring/star",
        "-q",
        "-o",
        str(folder / "out"),
        REPSIM_CACHE=str(cache),
    )
    return folder / "out", cache, done


ALL = (*EXPERIMENTS, *LECTURE)


def rows_of(folder):
    return json.loads((folder / "reproduction.json").read_text())["experiments"]


SCHEMA = Path(__file__).parents[3] / "docs" / "reference" / "result-schema.md"


def test_every_row_has_its_files_and_numbers(whole):
    folder, _, done = whole
    described = SCHEMA.read_text()
    rows = rows_of(folder)
    assert [row for rows_ in rows.values() for row in rows_["names"]] == [
        *ROWS,
        *(experiment.name for experiment in LECTURE),
    ]
    for name, row in rows.items():
        assert not row["failures"], row["failures"]
        assert row["quantities"], name
        assert all(quantity["ours"] is not None for quantity in row["quantities"]), name
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (folder / f"{name}.svg").read_text()
        with xr.open_datatree(folder / f"{name}.nc") as tree:
            results = [node.load() for node in tree.leaves]
        for result in results:
            assert result.attrs["schema_version"] == 2
            for name, variable in result.data_vars.items():
                assert variable.attrs["long_name"], name
                assert "units" in variable.attrs, name
                assert f"`{name}`" in described, name
    assert done.returncode == 3, done.stderr


def test_what_only_the_user_can_bring_is_named(whole):
    folder, _, done = whole
    rows = rows_of(folder)
    assert any("cifar100=npz" in what for what in rows["table1"]["missing"])
    assert any("imagenet=folder:path=DIR" in what for what in rows["fig9"]["missing"])
    assert not any("CelebA" in what for what in rows["table1"]["missing"])
    assert not rows["theorem"]["missing"]
    assert "missing: fig9: needs ImageNet" in done.stderr


def test_the_page_lays_published_numbers_beside_ours_and_says_the_scale(whole):
    folder, _, done = whole
    text = (folder / "reproduction.md").read_text()
    assert "| cifar10: across seeds | 0.99 (Table 1; ≥ 0.94) |" in text
    assert "| celeba: true vs random labels; not memorized: training accuracy" in text
    assert text.count(SCALES["smoke"].summary) == len(ALL)
    assert text == page(rows_of(folder))
    assert f"written: {folder / 'reproduction.md'}" in done.stdout


def test_the_page_has_all_rows_in_less_than_two_megabytes(whole):
    folder, _, done = whole
    path = folder / "reproduction.html"
    text = path.read_text(encoding="utf-8")
    assert f"{len(ALL)} of {len(ALL)} rows" in text
    assert text.count('<article id="r') == text.count('role="img" aria-label="') == len(ALL)
    assert path.stat().st_size < 2_000_000
    assert f"written: {path}" in done.stdout


def test_known_reasons_of_deviations_are_of_numbers_that_rows_have(whole):
    rows = rows_of(whole[0])
    for name, pattern, _ in known_reasons():
        named = [q["quantity"] for q in rows[name]["quantities"] if q["published"]]
        assert fnmatch.filter(named, pattern), (name, pattern)


def test_a_row_comes_from_the_cache_and_leaves_the_others_alone(repsim, whole):
    folder, cache, _ = whole
    stamps = {run.name: run.stat().st_mtime_ns for run in (cache / "runs").iterdir()}
    before = rows_of(folder)
    args = ["fig20", "fig7", "--scale", "smoke", "-o", str(folder)]
    done = repsim("reproduce", *args, REPSIM_CACHE=str(cache))
    assert done.returncode == 3
    assert "fig2, 1 of 2" in done.stderr
    after = rows_of(folder)
    assert list(after) == list(before)
    assert after["fig2"]["quantities"] == before["fig2"]["quantities"]
    assert {run.name: run.stat().st_mtime_ns for run in (cache / "runs").iterdir()} == stamps


def test_results_of_several_data_sets_are_groups_of_one_file(whole):
    folder, _, _ = whole
    first, second = (rs.open_result(folder / "table1.nc", g) for g in ("cifar10", "celeba"))
    assert first.basis_id.item() != second.basis_id.item()
    with pytest.raises(UsageError, match="several results, got group None, expected one of"):
        rs.open_result(folder / "table1.nc")


def test_a_frozen_layer_stays_and_a_learned_one_moves(whole):
    folder, cache, _ = whole
    from safetensors.numpy import load_file

    seen = set()
    for run in (cache / "runs").iterdir():
        manifest = (run / "run.json").read_text()
        if "trained_layer" in manifest:  # of the experiment one-layer, whose tests look at them
            continue
        model = json.loads(manifest)["model"]
        filters = load_file(run / "filters.safetensors")
        frozen = "frozen=true" in model
        assert np.array_equal(filters["init"], filters["trained"]) == frozen
        seen.add(frozen)
    assert seen == {True, False}
    curves = rs.open_result(folder / "fig2.nc")
    assert curves.sizes["model"] == 8
    assert (curves.evaluation_step.values[:, -1] == 6).all()


def test_scaling_a_component_moves_its_eigenvalue_alone(whole):
    folder, _, _ = whole
    plain = rs.open_result(folder / "table2.nc", "cifar10").eigenvalue.values[0]
    scaled = rs.open_result(folder / "fig8b.nc", "component_15").eigenvalue.values[0]
    expected = np.where(np.arange(27) == 15, 9.0, 1.0)
    np.testing.assert_allclose(scaled / plain, expected, rtol=1e-9)


def test_the_list_names_every_row(repsim):
    done = repsim("reproduce", "list")
    assert done.returncode == 0
    for name in ROWS:
        assert name in done.stdout.split()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tabel1"], "unknown table or figure 'tabel1'"),
        (["fig8a", "--components", "27"], "expected 0 to 26"),
        (["fig8a", "--components", "a"], "expected a range 0-26"),
        (
            ["fig8a", "--components", "0-99999999"],
            "got --components '0-99999999' with 100000000 numbers",
        ),
        (
            ["fig8a", "--seeds", "5-20000"],
            "got --seeds '5-20000' with 19996 numbers, expected at most 10000",
        ),
        (["table1", "--recipe", "quick:epoch=2"], "epoch"),
        (["table1", "--dataset", "nothing"], "unknown dataset 'nothing'"),
        (["table1", "--seeds", "0"], "expected a number above 0"),
        (["fig4", "fig5", "--components", "0-3"], "--components, which fig4, fig5 does not use"),
        (
            ["fig2", "--celeba", "folder:path=."],
            "expected it with table1, table2, beyond, table3",
        ),
        (["theorem", "--recipe", "paper"], "got --recipe, which theorem does not use"),
        (["fig4", "--jobs", "2"], "got --jobs, which fig4 does not use"),
        (["list", "--seeds", "3"], "got --seeds, which list does not use"),
    ],
)
def test_bad_input_gets_one_line_before_any_work(repsim, args, said, tmp_path):
    done = repsim("reproduce", *args, "--scale", "smoke", "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_without_matplotlib_nothing_is_begun(repsim, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = repsim("reproduce", "fig4", "--scale", "smoke", "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'repsim-energy[plot]'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_in_the_folder_is_refused_and_kept(tmp_path):
    path = tmp_path / "reproduction.json"
    path.write_text('{"experiments": {"fig4": 3}}')
    with pytest.raises(FileError, match="move it away"):
        read_rows(tmp_path)
    assert path.read_text() == '{"experiments": {"fig4": 3}}'


@pytest.mark.parametrize(
    ("key", "inside", "outside"),
    [
        ("table1/cifar10/seed", 0.94, 0.9399),  # at least 0.99, less the tolerance of 0.05
        ("table1/cifar10/seed", 1.0, 0.5),  # a larger similarity is no miss
        ("fig8a/15", -0.2, 0.201),  # vanishes on either side
        ("fig2/validation_accuracy", -0.05, 0.06),  # near 0
        ("fig6/cifar10/rgb", 0.5, 0.499),
    ],
)
def test_within_is_decided_by_the_published_rule(key, inside, outside):
    for value, within in ((inside, True), (outside, False)):
        row = compare_with_published(Quantity("x", np.array([value]), key))
        assert row["within"] is within


def test_nothing_measured_is_neither_within_nor_outside():
    row = compare_with_published(Quantity("x", np.array([]), "fig8a/15"))
    assert row["ours"] is None
    assert row["within"] is None


def test_specs_of_a_scale_name_only_what_differs_from_the_published_network():
    """The spec is the label of every network."""
    full, cpu = SCALES["full"], SCALES["cpu"]
    assert full.model("vgg11") == "vgg11:filters=64"
    assert cpu.model("vgg11", 32, frozen=True) == "vgg11:width=0.25:filters=32:frozen=true"
    assert cpu.model("resnet20") == "resnet20"


def test_networks_are_drawn_on_scales_of_their_own_and_changes_are_magnified(monkeypatch):
    limits = {}
    monkeypatch.setattr(
        filter_images,
        "draw_filters",
        lambda axes, bank, title, limit: limits.update({title: limit}),
    )
    one = torch.ones(2, 3, 3, 3)
    banks = {
        "resnet18": {"init": one, "trained": 2 * one, "change": one / 2},
        "ImageNet resnet18": {"trained": 100 * one},
        "frozen": {"init": one, "trained": one, "change": 0 * one},
    }
    filter_images._draw(Outcome(), banks)
    assert limits == {
        "resnet18, init": 2,
        "resnet18, trained": 2,
        "resnet18, change, 4.0 times magnified": 0.5,
        "ImageNet resnet18, trained": 100,
        "frozen, init": 1,
        "frozen, trained": 1,
        "frozen, change": 1,
    }


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_filters_are_drawn_in_a_grid_in_order(channels):
    """Each weight is one pixel: -limit black, 0 gray, limit white; white lines between filters."""
    bank = torch.linspace(-2, 2, 5 * channels * 4).view(5, channels, 2, 2)
    outcome = Outcome()
    (axes,) = outcome.panels(1)
    draw_filters(axes, bank, "bank", limit=2.0)
    (image,) = axes.get_images()
    grid = np.asarray(image.get_array())
    assert grid.shape == (2 * 3 + 1, 3 * 3 + 1, 3)
    for number, weights in enumerate(bank.numpy()):
        y, x = divmod(number, 3)
        tile = grid[1 + 3 * y : 3 + 3 * y, 1 + 3 * x : 3 + 3 * x]
        for color in range(3):
            weight = weights[color if channels == 3 else 0]
            np.testing.assert_allclose(tile[..., color], 0.5 + weight / 4, atol=1e-6)
    assert (grid[::3] == 1).all()
    assert (grid[:, ::3] == 1).all()


def test_names_of_one_experiment_run_it_once():
    assert [e.name for e in select_experiments(["fig16", "table3", "fig1"], EXPERIMENTS)] == [
        "table3",
        "table1",
    ]
    assert len(select_experiments(["all", "fig4"], EXPERIMENTS)) == len(EXPERIMENTS)


@dataclass(frozen=True, eq=False)
class Recording(Setting):
    """Records what an experiment asks for."""

    asked: set = field(default_factory=set)

    def data(self, source, variants=""):
        self.asked.add({"cifar10": "dataset"}.get(source, source))
        return super().data(source, variants)

    def compare(self, *args, **kwargs):
        self.asked.update(TRAINING.split())
        return super().compare(*args, **kwargs)

    def train(self, *args, **kwargs):
        self.asked.update(TRAINING.split())
        return super().train(*args, **kwargs)

    def __getattribute__(self, name):
        if name == "components":
            self.asked.add(name)
        if name == "reporter":  # of trainings and their progress
            self.asked.update(TRAINING.split())
        return super().__getattribute__(name)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_an_experiment_uses_the_options_that_it_says(experiment, whole, monkeypatch):
    _, cache, _ = whole  # which holds its runs
    monkeypatch.setenv("REPSIM_CACHE", str(cache))
    size = SCALES["smoke"]
    setting = Recording(
        load_registry(plugins=False),
        size,
        size.sources,
        seeds=[0, 1],
        recipe=size.recipe,
        components=[0, 15],
    )
    experiment.run(setting)
    assert setting.asked == experiment.uses


def small_setting():
    few = f"{LEAVES}:limit=60"
    return make_setting(
        load_registry(plugins=False),
        replace(SCALES["smoke"], resnets=()),
        {"cifar10": few, "imagenet": few},
        seeds=[0],
        recipe=SCALES["smoke"].recipe,
        components=[0],
    )


def test_networks_whose_weights_cannot_be_had_are_named_and_random_ones_measured(
    monkeypatch, tmp_path
):
    """Every data set of the paper is given; only the download of weights fails."""

    def unreachable(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision_zoo, "download", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(imagenet_models, "KERNELS", {7: ("resnet18",), 3: ("squeezenet1_1",)})
    monkeypatch.setattr(families, "KERNELS", imagenet_models.KERNELS)
    monkeypatch.setattr(families, "VGG", ("vgg11",))
    outcome = families.run(small_setting())
    assert set(outcome.results) == {"cifar10", "imagenet_7x7", "imagenet_3x3"}
    assert any("pretrained resnet18, the first because weights" in m for m in outcome.missing)
    assert outcome.results["imagenet_7x7"].sizes["component"] == 147
    assert all(len(quantity.values) for quantity in outcome.quantities)


def test_random_networks_are_the_same_in_every_reproduction():
    first, second = (
        imagenet_models.untrained(small_setting(), ["squeezenet1_1"]) for _ in range(2)
    )
    for a, b in zip(first.values(), second.values(), strict=True):
        for one, other in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("module", [families, formula_fit, decorrelation, filter_images])
def test_pretrained_networks_take_part(module, monkeypatch):
    """Random weights replace theirs, because tests do not download any."""

    def pretrained(setting, names, outcome):
        return {"resnet18": resolve_model(setting.registry, "torchvision/resnet18").build(1000, 3)}

    monkeypatch.setattr(module, "pretrained", pretrained)
    monkeypatch.setattr(module, "KERNELS", {7: ("resnet18",)})
    monkeypatch.setattr(families, "VGG", ("vgg11",))
    monkeypatch.setattr(formula_fit, "PAIRS", ())
    monkeypatch.setattr(decorrelation, "IMAGENET_DRAWS", 2)
    outcome = module.run(small_setting())
    assert outcome.figure is not None
    assert not any("pretrained" in what for what in outcome.missing)
    names = [quantity.name for quantity in outcome.quantities if len(quantity.values)]
    said = {
        families: "imagenet_7x7: trained vs random",
        formula_fit: "imagenet: fit of trained",
        decorrelation: "imagenet: trained at 10 pixels",
        filter_images: "change vs init",
    }
    assert said[module] in names
