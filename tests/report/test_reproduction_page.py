"""The page of a reproduction has every stored number, and says what is missing."""

import json
import re
import shlex
import shutil
import sys

import pytest
from test_report import DRAWN, HOSTILE, Page, svg_tags

from repsim_energy.cli import lazy
from repsim_energy.errors import FileError, UsageError
from repsim_energy.experiments.deviations import deviations_of, known_reasons
from repsim_energy.experiments.page import write_reproduction
from repsim_energy.experiments.paper import EXPERIMENTS
from repsim_energy.experiments.report import read_rows, table

SMOKE = ("--scale", "smoke", "-q")


@pytest.fixture(scope="module")
def stored(repsim, tmp_path_factory, shared_cache):
    """A folder of three rows: one trains, two have other options."""
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    for names in (("table1", "fig4", "--seeds", "3-4"), ("fig6",)):
        done = repsim("reproduce", *names, *SMOKE, "-o", str(folder))
        assert done.returncode == 3, done.stderr
    return folder


@pytest.fixture
def folder(stored, tmp_path):
    return shutil.copytree(stored, tmp_path / "out")


def made(folder):
    path = folder.parent / "page.html"
    write_reproduction(folder, path)
    return Page(path.read_text(encoding="utf-8"))


def change(folder, edit):
    path = folder / "reproduction.json"
    content = json.loads(path.read_text())
    edit(content["experiments"])
    path.write_text(json.dumps(content))


def commands(page, start="repsim reproduce "):
    return [text for tag, text in page.texts if tag == "code" and text.startswith(start)]


def test_the_command_writes_the_page_that_the_folder_gives(repsim, stored, folder, monkeypatch):
    page = stored / "reproduction.html"
    (command,) = commands(Page(page.read_text(encoding="utf-8")), "repsim report")
    monkeypatch.chdir(folder.parent)
    done = repsim(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    assert (folder.parent / "reproduction.html").read_bytes() == page.read_bytes()


def test_every_number_is_on_the_page_beside_the_published_one(stored, folder):
    page = made(folder)
    texts = {text for _, text in page.texts}
    for name, row in read_rows(stored).items():
        for cells in table(row):
            assert {*cells} <= texts, name
    for section, row in zip(page.data, ("table1", "fig4", "fig6"), strict=True):
        quantities = read_rows(stored)[row]["quantities"]
        numbers = section["tables"]["numbers"]
        rows = [dict(zip(numbers["columns"], each, strict=True)) for each in numbers["rows"]]
        assert [r["ours"] for r in rows] == [q["ours"] for q in quantities]
        published = [(q["published"] or {}).get("value") for q in quantities]
        assert [r["published"] for r in rows] == published


@pytest.mark.parametrize("scale", ["smoke", "cpu", "full"])
def test_every_deviation_has_a_reason_and_no_other_number_has_one(folder, scale):
    change(folder, lambda rows: [row.update(scale=scale) for row in rows.values()])
    page = made(folder)
    text = page.text()
    for section in page.data:
        table = section["tables"]["numbers"]
        for row in (dict(zip(table["columns"], each, strict=True)) for each in table["rows"]):
            assert bool(row["reason"]) == (row["within tolerance"] == "no")
            assert row["reason"] in text
    assert ("The scale smoke only shows that everything runs" in text) == (scale == "smoke")
    reasons = {
        q: d.reason for d in deviations_of("table1", read_rows(folder)["table1"]) for q in d[1]
    }
    known = "published code subtracts the initial ones" in reasons["cifar10: trained vs init"]
    assert known == (scale != "smoke")


def test_known_reasons_are_of_rows_and_of_one_sentence_at_least():
    names = {experiment.name for experiment in EXPERIMENTS}
    for name, _, reason in known_reasons():
        assert name in names
        assert reason.endswith(".")


def test_figures_are_inside_the_page(folder):
    page = made(folder)
    drawn = [a["aria-label"] for tag, a in svg_tags(page) if a.get("role") == "img"]
    assert len(drawn) == 3
    assert {tag for tag, _ in svg_tags(page)} <= DRAWN
    identifiers = [a["id"] for tag, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    used = {a["xlink:href"][1:] for tag, a in svg_tags(page) if tag == "use"}
    used |= set(re.findall(r"url\(#([^)]*)\)", str(svg_tags(page))))
    assert used
    assert used <= {*identifiers}


def test_networks_and_provenance_are_those_of_the_results(stored, folder):
    import repsim_energy as rs

    page = made(folder)
    result = rs.open_result(stored / "table1.nc", "cifar10")
    runs = page.data[0]["tables"]["runs"]
    at = runs["columns"].index("run")
    assert {row[at] for row in runs["rows"]} == {str(r) for r in result.run_id.values.ravel()}
    text = page.text()
    assert result.attrs["created"] in text
    assert result.attrs["self_check"] in text
    assert str(result.dataset_fingerprint.item()) in text
    for version in json.loads(result.attrs["versions"]).values():
        assert version in text


def test_the_commands_give_the_same_numbers(repsim, stored, folder, monkeypatch, tmp_path):
    """As few as there are sets of options, and each works as it is."""
    section = Page((stored / "reproduction.html").read_text(encoding="utf-8"))
    again = commands(section)[-2:]
    assert again == [
        "repsim reproduce table1 fig4 --scale smoke --seeds 3-4 -o out",
        "repsim reproduce fig6 --scale smoke -o out",
    ]
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    for command in again:
        assert repsim(*shlex.split(command)[1:], "-q").returncode == 3
    first, second = (read_rows(each) for each in (stored, tmp_path / "again" / "out"))
    for name, row in first.items():
        assert second[name]["quantities"] == row["quantities"]
        assert second[name]["data"] == row["data"]
        assert second[name]["options"] == row["options"]


def test_missing_rows_are_named_with_the_command_that_adds_them(folder):
    page = made(folder)
    text = page.text()
    assert "3 of 15 rows" in text
    assert f"Rows that are not in this folder: {len(EXPERIMENTS) - 3}" in text
    named = {word for command in commands(page) for word in shlex.split(command)}
    assert {experiment.name for experiment in EXPERIMENTS} <= named


def test_missing_damaged_and_failed_parts_are_named(folder):
    (folder / "fig4.svg").unlink()
    (folder / "fig6.svg").write_text("<svg")
    (folder / "fig6.nc").write_bytes(b"no result")
    (folder / "table1.nc").unlink()
    change(folder, lambda rows: rows["table1"].update(failures=["vgg11 seed 3: lost"]))
    text = made(folder).text()
    for part in (
        "left out, because fig4.svg cannot be read (No such file",
        "left out, because fig6.svg cannot be read (it is no SVG file of matplotlib)",
        "are left out: no result at 'out/table1.nc'",
        "Failed: 1",
        "vgg11 seed 3: lost",
        "Not done: 2",
        "--cifar100 cifar100 downloads it",
    ):
        assert part in text, part


def test_files_of_an_earlier_run_are_not_shown_for_a_row_that_failed(folder):
    change(
        folder,
        lambda rows: rows["table1"].update(quantities=[], figure=False, failures=["all lost"]),
    )
    page = made(folder)
    assert "runs" not in page.data[0]["tables"]
    assert "This row has no numbers" in page.text()
    assert len([1 for tag, a in svg_tags(page) if a.get("role") == "img"]) == 2


def test_rows_of_earlier_versions_have_a_page_without_their_command(folder):
    change(folder, lambda rows: [row.pop("options") for row in rows.values()])
    page = made(folder)
    assert "No command is stored for table1, fig4, fig6" in page.text()
    assert not [c for c in commands(page) if "table1" in c]


def spoil(text):
    """Put a text into everything that a folder brings."""

    def edit(rows):
        for row in rows.values():
            row["names"] = [f"{text} {name}" for name in row["names"]]
            for key in ("title", "scale_summary", "recipe"):
                row[key] = f"{text} {key}"
            for key in ("data", "missing", "failures"):
                row[key] = [f"{text} {key}"]
            row["options"] = dict.fromkeys(row["options"], text)
            for quantity in row["quantities"]:
                for key in ("quantity", "note", "over"):
                    quantity[key] = f"{text} {key}"
                if quantity["published"]:
                    quantity["published"]["where"] = text

    return edit


def test_stored_texts_change_texts_and_never_the_structure(folder):
    hostile = " ".join(HOSTILE)
    change(folder, spoil("plain"))
    plain = made(folder).structure
    change(folder, spoil(hostile))
    page = made(folder)
    assert page.structure == plain
    assert f"{hostile} note".replace("\u202e", "\\u202e") in page.text()
    assert "\u202e" not in page.text()


def test_a_hostile_figure_draws_and_does_nothing_else(folder):
    path = folder / "fig4.svg"
    hostile = (
        "<script>alert(1)</script><style>* { display: none }</style>"
        '<foreignObject><div xmlns="http://www.w3.org/1999/xhtml">text</div></foreignObject>'
        '<image xlink:href="https://example.org/x.png"/><a xlink:href="javascript:alert(2)"/>'
        '<g onload="alert(3)" style="fill: url(https://example.org/y)"><path d="M 0 0"/></g>'
    )
    path.write_text(path.read_text().replace("</svg>", f"{hostile}</svg>"))
    page = made(folder)
    assert {tag for tag, _ in svg_tags(page)} <= DRAWN
    attributes = [(name, value or "") for _, a in svg_tags(page) for name, value in a.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    for name, value in attributes:
        if "href" in name:
            assert value.startswith(("#", "data:image/png;base64,"))
        assert "url(" not in value.replace("url(#", "")


def test_large_figures_are_images_or_named(folder, monkeypatch):
    monkeypatch.setattr(lazy.page, "MAX_SVG_BYTES", 0)
    assert {tag for tag, _ in svg_tags(made(folder))} == {"img"}
    monkeypatch.setattr(lazy.page, "MAX_PNG_BYTES", 0)
    assert "fig4.svg and fig4.png are too large for a page" in made(folder).text()


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows["fig4"].update(options=[3]),
        lambda rows: rows["fig4"].update(seconds="long"),
        lambda rows: rows["fig4"].pop("seconds"),
        lambda rows: rows.update({"../fig4": rows.pop("fig4")}),
        lambda rows: rows["fig4"].update(scale=None),
    ],
)
def test_foreign_rows_are_refused(folder, edit):
    change(folder, edit)
    with pytest.raises(FileError, match="expected the JSON of repsim reproduce"):
        write_reproduction(folder, folder / "page.html")


def test_what_is_no_reproduction_is_refused_in_a_line(repsim, folder, tmp_path):
    target = str(tmp_path / "page.html")
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        ((tmp_path / "empty",), "has no reproduction.json"),
        ((folder, folder / "table1.nc"), "expected one folder of repsim reproduce alone"),
        ((folder, "--no-figures"), "got --no-figures"),
        ((folder / "fig4.nc",), "without 'similarity'"),
    ):
        done = repsim("report", *map(str, arguments), "-o", target)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert said in line
    with pytest.raises(UsageError):
        write_reproduction(folder, tmp_path / "none" / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_results_of_a_row_have_the_page_of_results(repsim, folder, tmp_path):
    target = tmp_path / "page.html"
    done = repsim("report", str(folder / "table1.nc"), "--no-figures", "-o", str(target))
    assert done.returncode == 0, done.stderr
    assert "table1.nc, cifar10" in Page(target.read_text(encoding="utf-8")).text()


def test_without_jinja2_a_line_says_how_to_get_the_page(repsim, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    done = repsim("reproduce", "fig4", *SMOKE, "-o", str(tmp_path / "out"))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("no reproduction.html: ")
    assert "pip install 'repsim-energy[report]'" in line
    assert not (tmp_path / "out" / "reproduction.html").exists()
    assert (tmp_path / "out" / "reproduction.md").exists()


def test_an_interrupted_command_leaves_the_page_of_what_is_done(repsim, tmp_path, monkeypatch):
    reproduce = lazy.run.reproduce

    def interrupted(experiment, *rest):
        if experiment.name == "fig5":
            raise KeyboardInterrupt
        return reproduce(experiment, *rest)

    monkeypatch.setattr(lazy.run, "reproduce", interrupted)
    done = repsim("reproduce", "fig4", "fig5", *SMOKE, "-o", str(tmp_path / "out"))
    assert done.returncode == 130
    page = Page((tmp_path / "out" / "reproduction.html").read_text(encoding="utf-8"))
    assert "1 of 15 rows" in page.text()
    assert [c for c in commands(page) if "fig5" in shlex.split(c)]
