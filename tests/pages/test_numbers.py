"""Numbers in the text are those that commands and functions give."""

import re
import runpy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blocks import BLOCKS, COMMANDS, ROOT
from printed import columns, numbers, rows
from samples import noise_images
from small_world import install

import repsim_energy as rs
from repsim_energy.cli.compare import compare
from repsim_energy.data.deadleaves import DEFAULT_IMAGES
from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.examination import all_checks
from repsim_energy.doctor.report import format_finding
from repsim_energy.scheduling import estimate
from repsim_energy.scheduling.local import Local
from repsim_energy.training.recipe import RECIPES, parse_recipe


def page(name):
    """Return a page with its lines joined."""
    return " ".join((ROOT / name).read_text("utf-8").split())


def text_block(name, beginning):
    """Return the text block of a page that begins so."""
    (block,) = (b for b in BLOCKS[name] if b.text.startswith(beginning))
    return block.text


TABLE = text_block("README.md", "energy_profile_correlation")
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_the_tutorial_shows_what_the_readme_shows():
    assert text_block("docs/tutorial/first-comparison.md", "energy_profile_correlation") == TABLE


def measured(quantity):
    """Return the numbers of a row of the page of measurements."""
    found = re.findall(rf"^\| {quantity} \|.*\| ([^|]*) \|$", MEASUREMENTS, re.MULTILINE)
    assert len(found) == 1, quantity
    return numbers(re.sub(r"(?<=\d) to ", " and ", found[0]))


MEASUREMENTS = (ROOT / "docs/explanation/measurements.md").read_text("utf-8")


def test_the_measurements_of_the_first_command_are_those_of_its_table():
    tables = [row for row in rows(TABLE) if " seed " not in row[0]]
    (_, vgg), (_, both), (_, resnet) = tables  # name of the other, r, interval, n, beyond theory
    for column, what in ((1, "change"), (4, "beyond theory")):
        assert measured(rf"vgg11 across seeds \({what}\)") == vgg[column]
        assert measured(rf"resnet18 across seeds \({what}\)") == resnet[column]
        assert measured(rf"vgg11 against resnet18 \({what}\)") == both[column]
    runs = columns(TABLE)
    theory, init = runs["r with theory"], runs["r with init"]
    assert measured("with theory") == [min(theory), max(theory)]
    assert measured("change against init") == [round(min(init), 2), round(max(init), 2)]
    accuracies = [round(accuracy, 2) for accuracy in runs["test acc."]]
    assert measured("test accuracy of vgg11, of resnet18") == accuracies
    choice = re.search(r"^\| 0\.015 \(the choice\) \|.*$", MEASUREMENTS, re.MULTILINE)[0]
    assert numbers(choice)[1:] == [*accuracies, *vgg[1], *resnet[1], min(theory), max(theory)]


@pytest.mark.parametrize(("components", "end"), [(27, "0.381"), (147, "0.162")])
def test_null_intervals_are_computed(components, end):
    low, high = rs.pearson_null_interval(components)
    assert f"{high:.3f}" == f"{-low:.3f}" == end
    assert f"within ±{end} for d = {components}" in page("docs/explanation/theory.md")


def test_no_page_states_another_null_interval():
    for path in PAGES:
        text = path.read_text("utf-8")
        ends = re.findall(r"95% between (-?[\d.]+\d) and ([\d.]+\d)", text)
        ends += re.findall(r"between (-0\.38\d*) and (0\.38\d*)", text)
        for low, high in ends:
            assert (low, high) in {
                *(("-0.381", "0.381"), ("-0.38", "0.38"), ("-0.162", "0.162")),
                ("0.971", "0.997"),  # of filters as smooth as those of the README
            }, path


def test_the_report_of_the_doctor_has_the_rows_of_the_page():
    shown = text_block("docs/how-to/check-this-machine.md", "versions ")
    table = shown[shown.index("device  threads check") :].splitlines()
    checks = [check for device, check in all_checks() if device == "cpu"]
    for line, check in zip(table[1 : len(checks) + 1], checks, strict=True):
        seen = re.fullmatch(r"cpu +(\d) (.*?) +(\S+) +\S+ +(\S+)", line)
        assert seen, line
        assert seen[1] == ("2" if check.all_threads else "1")
        off, seconds = float(seen[3]), float(seen[4])
        found = Finding(
            check.name,
            "cpu",
            int(seen[1]),
            check.expected,
            off,
            check.allowed,
            seconds,
            problem=None,
            warnings=(),
        )
        assert format_finding(found) == line
        assert off <= check.allowed
    assert table[-1] == f"all {len(checks)} checks passed"


def test_the_line_before_a_long_sweep_is_that_of_the_page(monkeypatch):
    shown = text_block("docs/how-to/cluster.md", "12 runs").strip()
    monkeypatch.setattr(estimate, "_steps", lambda training: 1000)
    monkeypatch.setattr(estimate, "_run_seconds", lambda trainings, *_: [280] * len(trainings))
    recipe = SimpleNamespace(until_accuracy=None)
    runs = [SimpleNamespace(model=i, recipe=recipe) for i in range(12)]
    assert estimate.estimate(runs, torch.device("cpu"), Local(4), None).startswith(shown)


def test_the_recipes_of_the_page_are_those_of_the_code():
    text, quick, paper = page("docs/reference/commands.md"), RECIPES["quick"], RECIPES["paper"]
    assert (
        f"| `quick` | batch {quick.batch}, {quick.steps} steps, SGD with lr {quick.lr} and "
        f"momentum {quick.momentum}, `schedule={quick.schedule}`, `precision={quick.precision}`; "
        f"test accuracy on {quick.test_images} images"
    ) in text
    assert f"| `paper` | batch {paper.batch}, {paper.epochs} epochs, lr {paper.lr} without" in text
    cifar = RECIPES["cifar"]
    assert (
        f"| `cifar` | batch {cifar.batch}, {cifar.epochs} epochs, SGD with lr {cifar.lr} and "
        f"Nesterov momentum {cifar.momentum}, `schedule={cifar.schedule}`, weight decay "
        f"{cifar.weight_decay} without norms and biases, label smoothing {cifar.label_smoothing}, "
        f"crops of {cifar.crop} pixels and flips, an average of the weights (`ema={cifar.ema}`)"
    ) in text


def test_the_rows_of_usual_trainings_are_recipes_of_the_script():
    text = (ROOT / "docs/explanation/as-people-train.md").read_text("utf-8")
    script = runpy.run_path(str(ROOT / "benchmarks/as_people_train.py"))
    first, second = text.partition("## VGG11")[2].split("## ResNet18")
    rows = [re.findall(r"^\| ([^|]*\w) \| \d", part, re.MULTILINE) for part in (first, second)]
    assert rows == [list(script["RECIPES"]), list(script["OF_RESNET"])]
    for recipe in script["RECIPES"].values():
        assert parse_recipe(recipe).precision == "bfloat16"
    options = re.findall(r"^\| ([a-z ]*) \| `(\w+=.*)` \|$", text, re.MULTILINE)
    assert [(name, f":{option}") for name, option in options] == [*script["PARTS"].items()]


def test_defaults_in_the_text_are_those_of_the_code():
    train, test = DEFAULT_IMAGES["train"], DEFAULT_IMAGES["test"]
    tutorial = page("docs/tutorial/first-comparison.md")
    assert f"renders `deadleaves`: {train:,} procedural images" in tutorial
    assert f"| `deadleaves`, {train:,} + {test:,} images |" in MEASUREMENTS
    (images,) = (option for option in compare.params if option.name == "images")
    assert f"({images.default} by default)" in page("docs/how-to/layers-for-cka.md")
    for figure in ("100 steps of one cycle with momentum 0.9", "0.015 (the choice)"):
        assert figure in page("docs/explanation/measurements.md")


def test_the_mean_that_counts_networks_with_themselves_is_what_the_page_says():
    wrong, right = numbers(re.search(r"it gave (.*?) where .* is ([\d.]*\d)", SCHEMA)[0])
    assert round((3 * 1 + 6 * right) / 9, 3) == wrong


SCHEMA = page("docs/reference/result-schema.md")


def test_biased_cka_of_noise_is_what_the_page_says():
    samples, features = 16, 64
    text = page("docs/explanation/theory.md")
    (stated,) = re.findall(
        rf"noise is ([\d.]*\d) at {samples} images and {features} features", text
    )
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(200, 2, samples, features, generator=generator)
    mean = np.mean([rs.cka(x, y, estimator="biased") for x, y in pairs])
    assert mean == pytest.approx(float(stated), abs=0.005)


def test_gray_pictures_have_18_components_without_variance():
    text = page("docs/how-to/own-networks-and-images.md")
    stated = re.search(r"\d+ of the \d+ components of its 3x3 patches have no variance", text)[0]
    words = stated.replace("of the", "of").partition(" of its")[0]
    gray = noise_images(50, (1, 12, 12)).images.expand(-1, 3, -1, -1)
    with pytest.warns(rs.RepsimWarning, match=words):
        rs.patch_moments(gray, (3, 3)).basis()


def test_the_hash_of_filters_is_what_the_page_computes():
    (block,) = (b for b in BLOCKS["docs/reference/result-schema.md"] if b.kind == "python")
    names = {}
    exec(block.text, names)  # noqa: S102 (the page is ours)
    filters = torch.randn(2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    filters[0, 0, 0, 0, 0] = -0.0
    networks = {"a": filters[0], "b": filters[1]}
    result = rs.compare(networks, noise_images(40, (3, 12, 12)))
    computed = [names["filters_sha256"](w.numpy()) for w in filters]
    assert result.filters_sha256.values.ravel().tolist() == computed


TOLERANCES = {"r with theory": 0.035, "r with init": 0.2, "train acc.": 0.05, "test acc.": 0.1}
"""Largest difference from a printed table on another machine, besides those of similarities."""

SIMILARITY = 0.035
"""What rounding moves the similarity of two trained networks by, says the page on guarantees."""


def shown_by_commands():
    """Yield each command whose numbers are printed on a page, and that text."""
    for command in COMMANDS:
        if command.block.page == "README.md" and "energy" in command.words:
            yield pytest.param(command, TABLE, id="readme")
        if command.block.page == "plugins/repsim-classics/README.md" and command.printed:
            yield pytest.param(command, command.printed, id=command.words[3])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(("command", "shown"), [*shown_by_commands()])
def test_the_numbers_of_a_page_come_out_again(command, shown, repsim, monkeypatch, tmp_path):
    """Two minutes. On the kind of machine that the page names, every digit is the same."""
    monkeypatch.chdir(tmp_path)
    if "classics" in command.block.page:
        install(ROOT / "plugins/repsim-classics", monkeypatch)
    done = repsim(*command.words[1:])
    assert done.returncode == 0, done.stderr
    similarities = [row for row in rows(done.stdout) if " seed " not in row[0]]
    expected = [row for row in rows(shown) if " seed " not in row[0]]
    assert [label for label, _ in similarities] == [label for label, _ in expected]
    for (label, seen), (_, stated) in zip(similarities, expected, strict=True):
        for one, other in zip(seen, stated, strict=True):
            assert one == pytest.approx(other, abs=SIMILARITY), label
    seen = columns(done.stdout)
    for column, stated in columns(shown).items():
        assert seen[column] == pytest.approx(stated, abs=TOLERANCES.get(column, 0)), column


@pytest.mark.slow
@pytest.mark.process
def test_the_matrices_of_the_toolkits_come_out_again(repsim, monkeypatch, tmp_path):
    name = "plugins/repsim-toolkits/README.md"
    if name not in BLOCKS:
        pytest.skip("no plugins beside this copy of the package")
    command = next(c for c in COMMANDS if c.block.page == name and "compare" in c.words)
    monkeypatch.chdir(tmp_path)
    assert repsim(*command.words[1:]).returncode == 0
    result = rs.open_result("result.nc")
    r = result.similarity.values.reshape(6, 6)
    np.fill_diagonal(r, 1)
    for first, computed in (("rsatoolbox.rdm.RDMs", 1 - r), ("[[0.    0.356", np.arccos(r))):
        block = text_block(name, first)
        stated = np.array(numbers(re.search(r"\[\[.*?\]\]", block, re.DOTALL)[0])).reshape(6, 6)
        rounding = SIMILARITY if first.startswith("rsa") else 5 * SIMILARITY  # steep at r = 1
        np.testing.assert_allclose(computed, stated, atol=rounding)
    assert f"basis_id = ['{result.basis_id.item()}']" in text_block(name, "rsatoolbox.rdm.RDMs")


POOLED = re.findall(
    r"^\| `(flatten|mean|max|none)`(, with 100 images)? \| (\d[^`]*) \|$",
    (ROOT / "docs/how-to/layers-for-cka.md").read_text("utf-8"),
    re.MULTILINE,
)
"""Rows of the table of pools: word, whether with fewer images, cells."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::repsim_energy.errors.UndefinedSimilarityWarning")
def test_the_table_of_pools_comes_out_again():
    """Four minutes: the networks of the README, whose trainings are cached after the first row."""
    assert len(POOLED) == 5
    pairs = [
        ("vgg11 first", "resnet18 first"),
        ("vgg11 late", "resnet18 late"),
        ("vgg11 late", "vgg11 late"),
        ("resnet18 first", "resnet18 late"),
    ]
    for pool, fewer, cells in POOLED:
        options = {"images": 100} if fewer else {}
        metric = "cka:batch=256" if pool == "none" else "cka"
        layers = "first,late=features.8|blocks.7"
        found = rs.compare("vgg11,resnet18", metric=metric, layers=layers, pool=pool, **options)
        table = rs.table(found)
        for pair, cell in zip(pairs, cells.split(" | "), strict=True):
            stated = numbers(cell) or [np.nan]
            assert table.loc[pair] == pytest.approx(stated[0], abs=SIMILARITY, nan_ok=True), pair
