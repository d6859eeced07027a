"""The page in a real browser: its controls, the keyboard, accessibility, printing, no requests."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
import torch
from commands import repsim_here
from samples import RECIPE, TINY, noise_images
from test_report import HOSTILE, IMAGES, banks

import repsim_energy as rs
from repsim_energy.experiments.page import write_reproduction
from repsim_energy.experiments.report import read_rows

pytestmark = [pytest.mark.browser, pytest.mark.process]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser is installed; looked for {', '.join(NAMES)}")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"] if root else []
        )
        yield browser
        browser.close()


LONG = "a network of a family with a very long name, fine-tuned on something else, {}"


@pytest.fixture(scope="module")
def files(browser, tmp_path_factory):
    """Pages: trained models, one model, twenty with long names, hostile names, several results."""
    folder = tmp_path_factory.mktemp("pages")
    models = {"one": TINY, "two": "linear_cnn:filters=12:sigma=0.1"}
    trained = rs.compare(models, IMAGES, recipe=RECIPE, seeds=2)
    trained.attrs["failures"] = "one seed 2: lost"
    results = {
        "trained": trained,
        "alone": rs.compare(banks(["alone"]), IMAGES),
        "twenty": rs.compare(banks([LONG.format(i) for i in range(20)]), IMAGES),
        "hostile": rs.compare(banks(HOSTILE), IMAGES),
        "large": rs.compare(
            {n: torch.randn(8, 3, 7, 7) for n in "ab"}, noise_images(99, (3, 9, 9))
        ),
    }
    for name, result in results.items():
        rs.save_result(result, folder / f"{name}.nc")
        figures = name in ("trained", "hostile")
        rs.write_report(folder / f"{name}.nc", folder / f"{name}.html", figures=figures)
    nets = {"a": torch.nn.Conv2d(3, 5, 3), "b": torch.nn.Conv2d(3, 4, 3)}
    activations = rs.compare(nets, rs.Dataset("noise", IMAGES, IMAGES), "cka")
    several = [trained, activations, results["alone"]]
    rs.write_report(several, folder / "several.html", figures=False)
    reproduction(folder)
    return folder, results


def reproduction(folder):
    """Write the page of a few rows, with a failure, hostile texts and a hostile figure."""
    out = folder / "out"
    done = repsim_here("reproduce", "table1", "fig4", "--scale", "smoke", "-q", "-o", str(out))
    assert done.returncode == 3, done.stderr
    stored = json.loads((out / "reproduction.json").read_text())
    stored["experiments"]["fig4"]["failures"] = HOSTILE
    stored["experiments"]["fig4"]["quantities"][0]["note"] = " ".join(HOSTILE)
    (out / "reproduction.json").write_text(json.dumps(stored))
    drawing = (out / "fig4.svg").read_text()
    drawing = drawing.replace("</svg>", "<script>alert(5)</script><g onload='alert(6)'/></svg>")
    (out / "fig4.svg").write_text(drawing)
    write_reproduction(out, folder / "reproduction.html")


PAGES = ("trained", "alone", "twenty", "hostile", "large", "several", "reproduction")


@pytest.fixture
def opened(browser, files):
    """Open a page; at the end, nothing was requested and no message is on the console."""
    contexts, faults = [], []

    def opened(name, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        address = (files[0] / f"{name}.html").as_uri()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message) or dialog.dismiss())
        page.on(
            "request",
            lambda r: r.url.startswith(("data:", address)) or faults.append(r.url),
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(opened, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(name, color_scheme=scheme)
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    found = axe.run(page).response
    assert len(found["passes"]) > 20
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []


@pytest.mark.parametrize("width", [360, 800])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_the_screen(opened, name, width):
    page = opened(name, viewport={"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_and_light_pages_differ(opened):
    back = "getComputedStyle(document.body).backgroundColor"
    assert opened("trained", color_scheme="light").evaluate(back) == "rgb(255, 255, 255)"
    assert opened("trained", color_scheme="dark").evaluate(back) == "rgb(22, 23, 27)"


def test_a_page_is_complete_without_scripts(opened):
    page = opened("trained", java_script_enabled=False)
    assert page.locator(".chart polyline").count() == 4
    assert page.locator(".matrix td").count() == 4
    assert not page.locator("[data-switch]").first.is_visible()
    assert not page.locator("[data-copy-table]").first.is_visible()
    assert page.locator(".legend li").first.is_visible()


def test_switching_a_model_off_hides_its_lines_rows_and_columns(opened):
    page = opened("trained")
    page.get_by_label("1 one").uncheck()
    for selector in ("polyline[data-model='0']", "tr[data-row='0']", "[data-column='0']"):
        found = page.locator(selector)
        assert found.count() > 0
        assert not any(found.nth(i).is_visible() for i in range(found.count())), selector
    for selector in ("polyline[data-model='1']", "tr[data-row='1']", "th[data-column='1']"):
        found = page.locator(selector)
        assert all(found.nth(i).is_visible() for i in range(found.count())), selector
    assert page.locator(".panel tbody tr").count() == 1
    page.get_by_label("1 one").check()
    assert page.locator("tr[data-row='0']").first.is_visible()
    assert page.locator(".panel tbody tr").count() == 2


def energies(files, component, seeds):
    profiles = files[1]["trained"].energy.sel(stage="change").isel(dataset=0, seed=seeds)
    return profiles.isel(component=component), profiles


def test_the_panel_has_the_energies_of_the_seeds_that_are_on(opened, files):
    page = opened("trained")
    page.locator("[data-component='4']").focus()
    for seeds in ([0, 1], [1]):
        page.get_by_label("seed 0").set_checked(0 in seeds)
        cells = page.locator(".panel tbody tr td:nth-of-type(1)").all_inner_texts()
        values, profiles = energies(files, 4, seeds)
        assert np.allclose([float(cell) for cell in cells], values.mean("seed"), rtol=1e-3)
        shares = page.locator(".panel tbody tr td:nth-of-type(3)").all_inner_texts()
        expected = (values / profiles.max("component")).mean("seed")
        assert np.allclose([float(share) for share in shares], expected, atol=6e-4)
    assert not page.locator("polyline[data-seed='0']").first.is_visible()
    assert page.locator("polyline[data-seed='1']").first.is_visible()


def test_given_networks_stay_if_seeds_are_switched(opened, files):
    models = {"run": TINY, **banks(["bank"])}
    with pytest.warns(rs.InitializationWarning):
        mixed = rs.compare(models, IMAGES, recipe=RECIPE, stage="trained", seeds=2)
    rs.write_report(mixed, files[0] / "mixed.html", figures=False)
    page = opened("mixed")
    page.get_by_label("seed 0").uncheck()
    assert page.locator("polyline[data-model='1']").is_visible()
    assert page.locator(".panel tbody tr").count() == 2
    page.get_by_label("seed 1").uncheck()
    assert page.locator(".panel tbody tr").count() == 1


def test_the_keyboard_alone_moves_between_components(opened, files):
    page = opened("trained")
    title = page.locator(".panel h4")
    page.locator("[data-component='0']").focus()
    for key, component in (("ArrowRight", 1), ("ArrowDown", 2), ("End", 26), ("ArrowRight", 26)):
        page.keyboard.press(key)
        assert title.inner_text() == f"Component {component}"
    page.keyboard.press("ArrowLeft")
    assert title.inner_text() == "Component 25"
    page.keyboard.press("Home")
    assert title.inner_text() == "Component 0"
    eigenvalue = float(files[1]["trained"].eigenvalue[0, 0])
    assert page.locator(".panel .looks dd").first.inner_text() == f"{eigenvalue:.4g}"
    assert page.locator(".components [tabindex='0']").count() == 1


def test_the_tab_key_reaches_every_control(opened):
    page = opened("trained")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.dataset.switch || e.textContent.trim() || e.ariaLabel)"
                "(document.activeElement)"
            )
        )
    buttons = page.locator("button:visible:not([data-component])").all_inner_texts()
    assert {"model", "seed", "Component 0", "Skip to the results", *buttons} <= reached


def test_pointing_at_the_chart_shows_the_component_there(opened, files):
    page = opened("trained")
    page.locator(".target").scroll_into_view_if_needed()
    box = page.locator(".target").bounding_box()
    for component in (0, 9, 26):
        x = box["x"] + (component + 0.5) / 27 * box["width"]
        page.mouse.move(x, box["y"] + box["height"] / 2)
        assert page.locator(".panel h4").inner_text() == f"Component {component}"
        shown = page.locator(".panel img").get_attribute("src")
        button = page.locator(f"[data-component='{component}']")
        assert shown == button.locator("img").get_attribute("src")
        assert button.get_attribute("aria-pressed") == "true"
    page.locator("[data-component='5']").hover()
    assert page.locator(".panel h4").inner_text() == "Component 5"


def test_copied_tables_are_csv_with_the_numbers_of_the_result(opened, files):
    page = opened("trained", permissions=["clipboard-read", "clipboard-write"])

    def copied(name):
        page.get_by_role("button", name=name).click()
        page.get_by_text("Copied").wait_for()
        return list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))

    result = files[1]["trained"]
    summary = rs.summarize(result)
    rows = copied("Copy similarities as CSV")
    assert [(row["a"], row["b"]) for row in rows] == [
        ("one", "one"),
        ("one", "two"),
        ("two", "two"),
    ]
    for row in rows:
        pair = summary.sel(group=row["a"], group_ref=row["b"])
        assert float(row["similarity"]) == float(pair["mean"])
    rows = copied("Copy energies as CSV")
    assert len(rows) == 2 * 2 * 27
    for row in rows:
        at = {"model": row["model"], "seed": int(row["seed"]), "stage": "change"}
        value = result.energy.sel(at)[0, int(row["component"])]
        assert float(row["energy"]) == pytest.approx(float(value), rel=1e-6)
    assert len(copied("Copy networks as CSV")) == 4


def test_hostile_names_are_quoted_in_csv(opened):
    page = opened("hostile", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy networks as CSV").click()
    page.get_by_text("Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    models = [row["model"] for row in csv.DictReader(io.StringIO(text))]
    assert models == [name.replace("\u202e", "\\u202e") for name in HOSTILE]


def test_a_browser_that_refuses_to_copy_shows_the_text_selected(opened):
    page = opened("trained")
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    page.get_by_role("button", name="Copy command").last.click()
    page.get_by_role("dialog").wait_for()
    area = "document.activeElement"
    text = page.evaluate(f"{area}.value.slice({area}.selectionStart, {area}.selectionEnd)")
    assert text == "repsim report trained.nc -o trained.html"
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_hostile_names_run_nothing(opened):
    page = opened("hostile")
    for i in range(8):
        page.locator(f"[data-component='{i}']").hover()
    assert page.locator("img[src='x'], svg[onload], b").count() == 0
    assert page.evaluate("Object.keys({}).length") == 0
    assert page.get_by_text("<script>alert(1)</script>").first.is_visible()


@pytest.mark.parametrize("name", ["trained", "twenty", "several", "reproduction"])
def test_a_printed_page_has_all_columns(opened, name):
    """Nothing is cut off: no element reaches over the right border of the paper."""
    page = opened(name, viewport={"width": 680, "height": 960})  # A4 without margins, at 96 dpi
    page.emulate_media(media="print")
    for table in page.locator("table:visible").all():
        wide = "wide" in (table.get_attribute("class") or "")
        assert table.bounding_box()["width"] <= (1010 if wide else 680)
    assert not page.get_by_role("button", name="Copy command").first.is_visible()
    assert page.locator("polyline, .paper svg").first.is_visible()
    assert len(page.pdf(format="A4")) > 10_000


def test_the_page_of_a_reproduction_copies_its_numbers_and_commands(opened, files):
    page = opened("reproduction", permissions=["clipboard-read", "clipboard-write"])
    page.locator("#r1").get_by_role("button", name="Copy numbers as CSV").click()
    page.get_by_text("Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    rows = list(csv.DictReader(io.StringIO(text)))
    quantities = read_rows(files[0] / "out")["table1"]["quantities"]
    assert [float(row["ours"]) for row in rows] == [q["ours"] for q in quantities]
    page.locator("#r1").get_by_role("button", name="Copy command").click()
    page.get_by_text("Copied the command").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == "repsim reproduce table1 --scale smoke -o out"


def test_the_overview_leads_to_the_rows_by_keyboard(opened):
    page = opened("reproduction")
    page.get_by_role("link", name="fig4").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#r2"
    box = page.locator("#r2").bounding_box()
    assert abs(box["y"]) < 10
