"""The page has the numbers of the result, and names change its texts, never its structure."""

import base64
import gzip
import io
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import RECIPE, TINY, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.report.component_images import component_image
from repsim_energy.report.profile_chart import HEIGHT, WIDTH

IMAGES = noise_images(40, (3, 8, 8))

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    '"><svg onload=alert(3)>',
    "' onfocus='alert(4)",
    "</style></title></textarea><!--",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt; & \u202e reversed",
    "__proto__",
]


SUMMARY = ("mean", "spread", "ci_low", "ci_high", "n", "n_missing", "null_low", "null_high")


class Page(HTMLParser):
    """Tags with their attributes, and the texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data):
        self.tags.append(("!--", {}))

    @property
    def structure(self):
        return [(tag, *attributes) for tag, attributes in self.tags]

    @property
    def data(self):
        start = next(i for i, (tag, a) in enumerate(self.tags) if a.get("id") == "data")
        assert self.tags[start][0] == "script"
        return json.loads(next(text for tag, text in self.texts if text.startswith("[{")))

    def text(self):
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))


@pytest.fixture
def page(tmp_path):
    def page(*results, figures=False):
        given = results[0] if len(results) == 1 else results
        rs.write_report(given, tmp_path / "page.html", figures=figures)
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    return page


def banks(names, generator=None):
    generator = generator or torch.Generator().manual_seed(0)
    return {name: torch.randn(6, 3, 3, 3, generator=generator) for name in names}


@pytest.fixture(scope="module")
def trained():
    models = {"one": TINY, "two": "linear_cnn:filters=12:sigma=0.1", "given": small_cnn(2, 3)}
    with pytest.warns(rs.InitializationWarning):
        return rs.compare(models, IMAGES, recipe=RECIPE, seeds=2, stage="trained")


def test_names_change_texts_and_never_the_structure(page):
    plain = page(rs.compare(banks("abcdefgh"), IMAGES))
    hostile = page(rs.compare(banks(HOSTILE), IMAGES))
    assert hostile.structure == plain.structure
    assert [name.replace("\u202e", "\\u202e") for name in HOSTILE] == hostile.data[0]["models"]
    text = hostile.text()
    for name in HOSTILE:
        assert name.replace("\u202e", "\\u202e") in text
    assert "\u202e" not in text


def test_a_hostile_command_data_set_and_file_change_texts_only(page, tmp_path):
    result = rs.compare(banks("ab"), IMAGES)
    plain, hostile = (
        result.copy(),
        result.assign_coords(dataset=[HOSTILE[0]], dataset_ref=[HOSTILE[0]]),
    )
    plain.attrs |= {"command": "repsim compare", "failures": "a: lost"}
    hostile.attrs |= {
        "command": "repsim compare --models '</code><script>alert(1)</script>'",
        "failures": "<img src=x onerror=alert(1)>: lost",
    }
    files = [tmp_path / "a.nc", tmp_path / "<b onclick=x>.nc"]
    for file, each in zip(files, (plain, hostile), strict=True):
        rs.save_result(each, file)
    assert page(files[1]).structure == page(files[0]).structure


def test_the_page_loads_nothing_and_allows_its_own_script_only(page, trained):
    made = page(trained)
    for tag, attributes in made.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:image/png;base64,", "#")), (tag, target)
        assert not [name for name in attributes if name.startswith("on")]
        assert tag not in ("link", "iframe", "object", "embed", "base")
    (policy,) = [a["content"] for tag, a in made.tags if a.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]
    style = next(text for tag, text in made.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_copied_numbers_are_those_of_the_result(page, trained):
    (data,) = page(trained).data
    summary = rs.summarize(trained)
    rows = data["tables"]["similarity"]["rows"]
    for a, b, *numbers in rows:
        pair = summary.sel(group=a, group_ref=b)
        for name, number in zip(SUMMARY, numbers, strict=True):
            expected = float(pair[name])
            assert number is None if np.isnan(expected) else number == expected
    count = summary.sizes["group"]
    defined = np.isfinite(summary["mean"].values[np.triu_indices(count)])
    assert len(rows) == defined.sum() == 5  # a given network has no other seed
    energies = trained.energy.sel(stage="trained").values[0]
    assert np.allclose(np.array(data["charts"][0]["energy"], float), energies, 1e-6, equal_nan=True)
    assert np.allclose(data["charts"][0]["eigenvalue"], trained.eigenvalue.values[0], 1e-6)


def test_the_table_has_means_spreads_and_marks_numbers_inside_the_null_interval(page, trained):
    made = page(trained)
    text = made.text().replace("−", "-")
    summary = rs.summarize(trained)
    for a, b in (("one", "two"), ("one", "one"), ("one", "given")):
        pair = summary.sel(group=a, group_ref=b)
        mean, spread = float(pair["mean"]), float(pair["spread"])
        assert f"{mean:.3f}" + ("" if np.isnan(spread) else f" ± {spread:.3f}") in text
    inside = (summary["mean"] >= summary.null_low) & (summary["mean"] <= summary.null_high)
    marks = [a for tag, a in made.tags if a.get("aria-label") == "inside the null interval"]
    assert len(marks) == int(inside.sum())


def test_runs_have_the_numbers_of_the_result(page, trained):
    (data,) = page(trained).data
    table = data["tables"]["runs"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert [(row["model"], row["seed"]) for row in rows] == [
        *(("one", "0"), ("one", "1"), ("two", "0"), ("two", "1"), ("given", "given"))
    ]
    for row in rows[:4]:
        run = trained.isel(dataset=0).sel(model=row["model"], seed=int(row["seed"]))
        assert row["train accuracy"] == float(run.train_accuracy)
        assert row["r with theory"] == float(run.fit_correlation.sel(stage="trained"))
        assert row["steps"] == 6
        assert row["run"] == str(run.run_id.item())
    assert rows[4]["steps"] is None


def test_lines_are_profiles_divided_by_their_largest_energy(page, trained):
    made = page(trained)
    lines = [a for tag, a in made.tags if tag == "polyline"]
    assert [(a["data-model"], a["data-seed"]) for a in lines] == [
        *(("0", "0"), ("0", "1"), ("1", "0"), ("1", "1"), ("2", "-1"))
    ]
    for a in lines:
        x, y = np.array([p.split(",") for p in a["points"].split()], float).T
        profile = trained.energy.sel(stage="trained").values[
            0, int(a["data-model"]), max(int(a["data-seed"]), 0)
        ]
        assert np.abs(1 - y / HEIGHT - profile / profile.max()).max() < 1e-3
        assert np.allclose(x, (np.arange(27) + 0.5) * WIDTH / 27, atol=0.06)


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 3, 4), (2, 3, 3), (4, 1, 2)])
def test_an_image_has_the_numbers_of_its_component(shape, rng):
    component = torch.randn(shape, generator=rng).double().numpy()
    head, _, code = component_image(component).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(code)))
    assert head == "data:image/png;base64"
    assert image.mode == ("RGB" if shape[0] == 3 else "L")
    pixels = np.asarray(image).astype(float)
    got = pixels.transpose(2, 0, 1) if shape[0] == 3 else np.stack(np.hsplit(pixels, shape[0]))
    expected = 127.5 * (1 + component / np.abs(component).max())
    assert np.abs(got - expected).max() <= 0.5


def test_provenance_has_every_fact_of_data_sets_and_networks(page, trained):
    text = page(trained).text()
    for name, coordinate in trained.coords.items():
        if name not in trained.dims and "component" not in coordinate.dims:
            for fact in coordinate.values.ravel():
                assert fact != fact or str(fact) in text, name  # NaN: a model has no such option
    for name in ("metric", "stage", "self_check", "created"):
        assert trained.attrs[name] in text
    for name, version in json.loads(trained.attrs["versions"]).items():
        assert name in text
        assert version in text


def test_options_of_the_recipe_are_printed_as_they_are_typed(page, trained):
    recipe = rs.Recipe(lr=0.05, steps=6, schedule="step", milestones=(0.25, 0.625)).as_options()
    result = trained.copy()
    configuration = json.loads(result.attrs["configuration"]) | {"recipe": recipe}
    result.attrs = result.attrs | {"configuration": json.dumps(configuration)}
    assert "0.25/0.625" in page(result).text()


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("/home/someone/bin/repsim", ["repsim"]),
        ("/usr/lib/repsim_energy/__main__.py", ["python", "-m", "repsim_energy"]),
    ],
)
def test_the_command_is_that_of_the_result_without_folders_of_programs(page, program, shown):
    arguments = ["compare", "--models", "vgg11:width=0.5,a b", "-o", "x.nc"]
    result = rs.compare(banks("ab"), IMAGES)
    result.attrs["command"] = shlex.join([program, *arguments])
    codes = [text for tag, text in page(result).texts if tag == "code"]
    assert [*shown, *arguments] in [shlex.split(code) for code in codes]


def test_the_call_of_a_result_made_in_python_is_on_its_page(page, trained):
    made = page(trained)
    assert trained.attrs["command"] in [text for tag, text in made.texts if tag == "code"]
    assert "own_1, own_2 are objects in memory" in made.text()


def test_a_result_without_a_command_says_so(page):
    result = rs.compare(banks("ab"), IMAGES)
    del result.attrs["command"]
    assert "The result records no command" in page(result).text()


def test_the_command_of_the_page_makes_the_same_page(repsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.nc", "b and c.nc"):
        rs.save_result(rs.compare(banks(name[:3]), IMAGES), name)
    done = repsim("report", "a.nc", "b and c.nc", "--no-figures", "-o", "page.html")
    assert done.returncode == 0, done.stderr
    first = Path("page.html").read_bytes()
    command = next(
        shlex.split(text)
        for tag, text in Page(first.decode()).texts
        if tag == "code" and text.startswith("repsim report")
    )
    Path("page.html").unlink()
    assert repsim(*command[1:]).returncode == 0
    assert Path("page.html").read_bytes() == first


def test_ten_models_with_three_seeds_are_less_than_two_megabytes(tmp_path):
    models = {f"model {i}": f"linear_cnn:filters={8 + i}:sigma=0.1" for i in range(10)}
    result = rs.compare(models, noise_images(40, (3, 9, 9)), recipe=RECIPE, seeds=3)
    rs.write_report(result, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 2_000_000


def test_what_a_page_leaves_out_is_counted(page):
    wide = {name: torch.randn(4, 3, 14, 14) for name in "ab"}
    result = rs.compare(wide, noise_images(300, (3, 20, 20)), resamples=0)
    made = page(result)
    assert "76 more components are not shown" in made.text()
    assert len(made.data[0]["charts"][0]["eigenvalue"]) == 512
    many = rs.compare(banks([f"n{i}" for i in range(65)]), IMAGES, resamples=0)
    made = page(many)
    assert "5 more rows are not shown" in made.text()
    assert len(made.data[0]["tables"]["similarity"]["rows"]) == 65 * 64 // 2


def test_a_single_network_has_a_page_that_says_so(page):
    made = page(rs.compare(banks(["alone"]), IMAGES))
    assert "a similarity needs two networks" in made.text()
    assert len([tag for tag, a in made.tags if tag == "polyline"]) == 1
    assert len([a for tag, a in made.tags if "data-component" in a]) == 27


def test_failures_are_on_the_page(page):
    result = rs.compare(banks("ab"), IMAGES)
    result.attrs["failures"] = "a seed 0: lost\nb seed 1: lost too"
    text = page(result).text()
    assert "Failed: 2" in text
    assert "b seed 1: lost too" in text


def test_metrics_on_activations_have_layers_and_no_profiles(page):
    nets = {"a": small_cnn(2, 3, widths=(6, 8)), "b": small_cnn(2, 3, widths=(5, 7))}
    images = rs.Dataset("noise", IMAGES, noise_images(30, (3, 8, 8), seed=1))
    made = page(rs.compare(nets, images, "cka", layers=["convs"]))
    assert made.data[0]["charts"] == []
    assert "linear CKA (debiased estimate)" in made.text()
    assert "30 test images" in made.text()
    columns = [a["data-column"] for tag, a in made.tags if tag == "th" and "data-column" in a]
    assert columns == ["0", "0", "1", "1"]


def test_several_data_sets_have_a_chart_each(page):
    sets = [noise_images(40, (3, 8, 8), seed=s, name=f"noise{s}") for s in (0, 1)]
    with pytest.warns(rs.RepsimWarning, match="different patch bases"):
        made = page(rs.compare(banks("ab"), sets))
    assert [chart["dataset"] for chart in made.data[0]["charts"]] == ["noise0", "noise1"]
    columns = [a["data-column"] for tag, a in made.tags if tag == "th" and "data-column" in a]
    assert columns == ["0", "1", "0", "1"]


def test_components_without_variance_have_no_image(page):
    gray = IMAGES.images[:, :1].repeat(1, 3, 1, 1)
    images = rs.ImageSet(gray, IMAGES.labels, IMAGES.classes, "gray")
    with pytest.warns(rs.RepsimWarning):
        result = rs.compare(banks("ab"), images)
    made = page(result)
    buttons = [i for i, (tag, a) in enumerate(made.tags) if "data-component" in a]
    assert sum(made.tags[i + 1][0] == "img" for i in buttons) == 9


@pytest.mark.parametrize("metric", ["energy", "cka"])
def test_results_of_version_1_have_a_page(page, tmp_path, metric):
    packed = Path(__file__).parents[1] / "version1" / f"{metric}.nc.gz"
    file = tmp_path / f"{metric}.nc"
    file.write_bytes(gzip.decompress(packed.read_bytes()))
    assert page(file).data[0]["models"]


def test_what_is_no_result_is_refused(tmp_path):
    result = rs.compare(banks("ab"), IMAGES)
    target = tmp_path / "page.html"
    for wrong in ([], [3], 3, tmp_path / "none.nc", result.drop_vars("similarity")):
        with pytest.raises(rs.UsageError, match="expected"):
            rs.write_report(wrong, target)
    rs.save_result(result, tmp_path / "a.nc")
    with pytest.raises(rs.UsageError, match="one of the results"):
        rs.write_report(tmp_path / "a.nc", tmp_path / "a.nc")
    content = bytearray((tmp_path / "a.nc").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(rs.FileError, match="damaged"):
        rs.write_report(tmp_path / "a.nc", target)
    assert not target.exists()


def test_the_command_reports_errors_in_one_line(repsim, tmp_path):
    for arguments, code in (
        ((tmp_path / "none.nc", "-o", tmp_path / "x.html"), 2),
        ((), 2),
        ((tmp_path / "none.nc",), 2),
    ):
        done = repsim("report", *map(str, arguments))
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_the_page_needs_no_files_beside_it(trained, tmp_path):
    """And is the same wherever it is written."""
    (tmp_path / "deep").mkdir()
    for folder in (tmp_path, tmp_path / "deep"):
        rs.write_report(trained, folder / "page.html", figures=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "page.html"]
    first = (tmp_path / "page.html").read_bytes()
    assert (tmp_path / "deep/page.html").read_bytes() == first
    assert not re.search(rb"/tmp/|/home/", first)


FIGURES = [
    *("Similarity", "Similarity with its intervals"),
    *("Energy profiles with their initialization", "Agreement with theory"),
    *("Filters", "Course of training", "Variance of the patches"),
]
DRAWN = {
    *("svg", "g", "path", "defs", "clippath", "use", "text", "tspan", "image", "rect"),
    *("pattern", "lineargradient", "stop"),
}


def svg_tags(page):
    """Return the tags inside the figures, with their attributes."""
    found, inside = [], False
    for tag, attributes in page.tags:
        if tag == "div":
            inside = "paper" in (attributes.get("class") or "")
        if inside and tag[0] != "/" and tag != "div":
            found.append((tag, attributes))
        if tag == "/div":
            inside = False
    return found


def test_figures_are_inside_the_page_and_complete(page, trained):
    made = page(trained, figures=True)
    drawn = [a["aria-label"] for tag, a in svg_tags(made) if a.get("role") == "img"]
    assert drawn == FIGURES
    identifiers = [a["id"] for tag, a in made.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    used = re.findall(r"url\(#([^)]*)\)", str(svg_tags(made)))
    used += [v[1:] for _, a in svg_tags(made) for v in a.values() if (v or "").startswith("#")]
    hrefs = [a.get("xlink:href", "")[1:] for tag, a in svg_tags(made) if tag == "use"]
    assert hrefs
    assert {*hrefs} <= {*identifiers}
    assert {u for u in used if u.startswith("s1-")} <= {*identifiers}


def test_figures_have_the_numbers_of_the_table(page, trained):
    made = page(trained, figures=True)
    texts = [text for tag, text in made.texts if tag == "text"]
    mean = float(rs.summarize(trained)["mean"].sel(group="one", group_ref="two"))
    assert any(f"{mean:.3f}" in text for text in texts)


def test_hostile_names_are_texts_of_figures_too(page):
    made = page(rs.compare(banks(HOSTILE), IMAGES), figures=True)
    tags = svg_tags(made)
    assert {tag for tag, _ in tags} <= DRAWN
    assert not [name for _, a in tags for name in a if name.startswith("on")]
    texts = {text for tag, text in made.texts if tag == "text"}
    assert any(HOSTILE[0] in text for text in texts)


def test_a_figure_that_cannot_be_drawn_is_named_with_the_reason(page):
    text = page(rs.compare(banks("ab"), IMAGES), figures=True).text()
    assert "Filters: left out, because" in text
    assert "Course of training: left out, because" in text


def test_drawing_leaves_no_figure_open(page):
    from matplotlib import pyplot

    mine = pyplot.figure()
    before = pyplot.get_fignums()  # tests and examples that ran before may have left some
    page(rs.compare(banks("ab"), IMAGES), figures=True)
    assert pyplot.get_fignums() == before
    pyplot.close(mine)


def test_figures_that_are_large_as_svg_are_images(page, monkeypatch):
    from repsim_energy.report import figures

    monkeypatch.setattr(figures, "MAX_SVG_BYTES", 0)
    made = page(rs.compare(banks("ab"), IMAGES), figures=True)
    assert {tag for tag, _ in svg_tags(made)} == {"img"}


def test_a_missing_library_is_named_before_anything_is_written(monkeypatch, tmp_path):
    result = rs.compare(banks("ab"), IMAGES)
    for library, figures in (("jinja2", False), ("matplotlib", True)):
        with monkeypatch.context() as missing:
            missing.setitem(sys.modules, library, None)
            with pytest.raises(rs.UsageError, match="pip install 'repsim-energy"):
                rs.write_report(result, tmp_path / "page.html", figures=figures)
    assert not (tmp_path / "page.html").exists()


def test_every_result_of_a_file_has_a_section(page, tmp_path):
    from repsim_energy.results import save_results

    results = {name: rs.compare(banks(name), IMAGES) for name in ("ab", "cde")}
    save_results(results, tmp_path / "both.nc")
    made = page(tmp_path / "both.nc")
    assert [section["models"] for section in made.data] == [["a", "b"], ["c", "d", "e"]]
    assert "both.nc, cde" in made.text()
