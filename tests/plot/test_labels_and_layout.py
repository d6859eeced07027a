"""Names stay distinct when they are shortened; texts of figures do not overlap at any size."""

import itertools
import random

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import repsim_energy as rs
from repsim_energy.plot.kinds import KINDS
from repsim_energy.plot.labels import columns_of, short_labels
from repsim_energy.plot.layout import panels
from repsim_energy.plot.style import COLORS

FOLDER = "/scratch/projects/representation-similarity/checkpoints/2026-03/resnet18-lr0.05"
LONG = [f"{FOLDER}/epoch{number:03d}.pt" for number in range(20)]
SHORT = [f"net{number}" for number in range(20)]


def many(names, seeds=2):
    """Return the example result with its networks repeated under other names."""
    result = rs.example_result()
    models = [number % 2 for number in range(len(names))]
    runs = [number % 2 for number in range(seeds)]
    result = result.isel(model=models, model_ref=models, seed=runs, seed_ref=runs)
    sides = {"model": names, "model_ref": names, "seed": range(seeds), "seed_ref": range(seeds)}
    return result.assign_coords({dim: (dim, list(labels)) for dim, labels in sides.items()})


def overlaps(figure):
    """Return the pairs of texts that overlap, and the texts that the figure cuts off."""
    figure.canvas.draw()
    page = figure.bbox
    boxes = []
    for text in figure.findobj(mpl.text.Text):
        if not text.get_visible() or not text.get_text().strip() or text.get_rotation() % 90:
            continue
        if is_drawn(text):
            box = text.get_window_extent()
            boxes.append((text.get_text(), box.x0 + 1, box.x1 - 1, box.y0 + 1, box.y1 - 1))
    found = [
        (one[0], other[0])
        for one, other in itertools.combinations(boxes, 2)
        if one[1] < other[2] and other[1] < one[2] and one[3] < other[4] and other[3] < one[4]
    ]
    outside = [b[0] for b in boxes if b[1] < 0 or b[2] > page.x1 or b[3] < 0 or b[4] > page.y1]
    return found + outside


def is_drawn(text):
    """Return whether a text is part of the picture: ticks outside of the limits are not."""
    axes = text.axes
    if axes is None or not axes.axison:
        return axes is not None and text in (*axes.texts, axes.title)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if text in (tick.label1, tick.label2):
                return axis.get_visible() and low <= tick.get_loc() <= high
    return True


def test_labels_are_short_and_distinct():
    """Whatever the names share, and wherever they differ."""
    rng = random.Random(0)
    for round_ in range(300):
        letters = "ab網" if round_ % 2 else "abc"
        parts = ["".join(rng.choices(letters, k=rng.randint(0, 30))) for _ in range(6)]
        names = list(dict.fromkeys("/".join(rng.sample(parts, rng.randint(1, 6))) for _ in "x" * 9))
        for characters in (8, 20, 32):
            labels = short_labels(names, characters)
            assert len(set(labels)) == len(names)
            assert max(map(columns_of, labels)) <= characters
            for name, label in zip(names, labels, strict=True):
                assert label == name or "…" in label or label.split(": ", 1)[1] == name
            if max(map(columns_of, names)) <= characters:
                assert labels == names


def test_labels_begin_with_leaving_out_what_all_names_share():
    assert short_labels(LONG)[3] == "…epoch003.pt"
    assert short_labels(["a/x/1.pt", "a/y/1.pt"], 7) == ["a/x…", "a/y…"]
    assert short_labels(["m" * 40], 9) == ["mmm…mmmmm"]
    assert short_labels([]) == []
    assert short_labels(["same", "same"], 3) == ["s…e", "s…e"]
    assert short_labels(["ab1cdef", "ab2cdef"], 5) == ["1: a…", "2: a…"]


@pytest.mark.parametrize("kind", ["profiles", "similarity", "fit", "filters", "trajectory"])
def test_twenty_long_names_do_not_overlap(kind):
    axes = KINDS[kind].draw(many(LONG))
    assert not overlaps(axes.figure)
    assert "…epoch019.pt" in "\n".join(t.get_text() for t in axes.figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(3.3, 3.0), (6.9, 3.4)])
def test_figures_of_papers_have_no_overlaps(kind, width, height):
    """One and two columns wide."""
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    KINDS[kind].draw(many(LONG[:2]), ax=axes)
    assert not overlaps(figure)


@pytest.mark.parametrize("count", [4, 9])
@pytest.mark.parametrize("kind", ["profiles", "similarity", "fit", "trajectory"])
def test_one_column_has_room_for_several_models(kind, count):
    figure, axes = plt.subplots(figsize=(3.3, 3.6), layout="constrained")
    KINDS[kind].draw(many(SHORT[:count]), ax=axes)
    assert not overlaps(figure)


@pytest.mark.parametrize("count", [5, 10, 12])
def test_numbers_in_cells_do_not_touch(count):
    """At the sizes from which on there are no standard deviations."""
    assert not overlaps(rs.plot.similarity(many(SHORT[:count])).figure)


def test_overlaps_are_found():
    """The check of this file sees what it is for."""
    figure, axes = plt.subplots()
    axes.text(0.5, 0.5, "one")
    axes.text(0.5, 0.5, "other")
    axes.text(2, 0.5, "outside")
    assert overlaps(figure) == [("one", "other"), "outside"]


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize("inches", [(3.3, 3.3), (6.9, 3), (11, 10)])
def test_panels_are_inside_and_as_large_as_columns_allow(count, inches):
    _, axes = plt.subplots(figsize=inches)
    made = panels(axes, count, 6, gaps=(0.2, 0.25))
    boxes = [place.get_window_extent() for place in made.places]
    outer = axes.get_window_extent()
    for box in boxes:
        assert outer.x0 - 1e-6 <= box.x0 < box.x1 <= outer.x1 + 1e-6
        assert outer.y0 - 1e-6 <= box.y0 < box.y1 <= outer.y1 - 0.2 * 100
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    side = min(boxes[0].width, boxes[0].height) / 100
    wide, high = outer.width / 100, outer.height / 100
    others = [
        min((wide - 0.2 * (n - 1)) / n, high / -(-count // n) - 0.25)
        for n in range(1, min(count, 6) + 1)
    ]
    assert side == pytest.approx(max(others))


def test_panels_of_profiles_have_one_scale_on_both_axes():
    axes = rs.plot.profiles(many(SHORT[:6]))
    for limits in ("get_xlim", "get_ylim"):
        assert len({getattr(panel, limits)() for panel in axes.child_axes}) == 1


def test_colors_are_those_of_the_settings_if_they_are_changed():
    result = many(SHORT[:2])
    drawn = [line.get_color() for line in rs.plot.profiles(result).lines]
    assert drawn[0] == COLORS[0]
    plt.rcParams["axes.prop_cycle"] = plt.cycler(color=["red", "blue"])
    drawn = [line.get_color() for line in rs.plot.profiles(result).lines]
    assert {"red", "blue"} <= set(drawn)
    assert not {*COLORS[:6]} & set(drawn)


def test_colors_of_similarity_are_distinct_in_gray():
    """More similar is brighter, also below zero: a scale with two dark ends is not readable."""
    result = many(SHORT[:3])
    result["similarity"] = result.similarity * 0 - 0.9
    image = rs.plot.similarity(result).images[0]
    low, high = image.get_clim()
    assert low <= -0.9
    assert high == 1
    shades = image.to_rgba(np.linspace(low, high, 50))[:, :3] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(shades) > 0).all()


def test_scales_do_not_enlarge_small_differences():
    """The spectrum spans whole powers of ten, and the fit goes from 0 (or below) to 1."""
    result = many(SHORT[:3])
    result["eigenvalue"] = 0.5 + result.eigenvalue * 0.01
    assert rs.plot.spectrum(result).get_ylim() == (0.1, 1)
    result["fit_correlation"] = 0.9 + result.fit_correlation * 0.01
    low, high = rs.plot.fit(result).get_xlim()
    assert low <= 0
    assert high >= 1
    result["fit_correlation"] = -result.fit_correlation
    assert rs.plot.fit(result).get_xlim()[0] < -0.9


def test_cells_explain_their_marks():
    result = many(SHORT[:2])
    far = xr.zeros_like(result.similarity) - 2
    outside = result.assign(null_low=far, null_high=far)
    assert rs.plot.similarity(outside).get_xlabel() == "±: standard deviation over pairs of seeds"
    inside = result.assign(
        null_low=xr.zeros_like(result.similarity) - 1, null_high=result.similarity
    )
    assert "in parentheses: within the null interval" in rs.plot.similarity(inside).get_xlabel()
    alone = many(SHORT[:1], seeds=1)
    assert rs.plot.similarity(alone).get_xlabel() == "hatched: no pair"
