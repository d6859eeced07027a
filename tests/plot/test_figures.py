"""Figures draw the numbers of the result; their tables are what is drawn."""

import io
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from samples import TINY, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UnknownNameError, UsageError
from repsim_energy.plot.filter_grids import grid_of
from repsim_energy.plot.kinds import KINDS, kinds_of
from repsim_energy.plot.style import SUFFIXES, line_style, write_figure
from repsim_energy.results import COMPONENT_COORDS

IMAGES = noise_images(60, (3, 8, 8))
ODD = "_$x_1$ <b> & 100%"
"""A label that matplotlib would read as mathematics, and leave out of legends."""


def compared(count=2, seeds=3, **options):
    models = {f"m{i}": f"linear_cnn:filters={4 + i}:sigma=0.1" for i in range(count - 1)}
    recipe = rs.Recipe(lr=0.05, batch=20, steps=6, snapshots=3, evaluations=2)
    data = rs.Dataset("noise", IMAGES, IMAGES)
    return rs.compare({**models, ODD: TINY}, data, seeds=seeds, recipe=recipe, jobs=1, **options)


@pytest.fixture(scope="module")
def result(shared_cache):
    return compared()


@pytest.fixture(scope="module")
def activations(shared_cache):
    nets = {"a": small_cnn(2, 3, widths=(4, 5)), ODD: small_cnn(2, 3, widths=(6,))}
    return rs.compare(nets, IMAGES, "cka", layers="convs")


def texts_of(axes):
    return [text.get_text() for text in axes.figure.findobj(mpl.text.Text)]


def curve_of(axes, marker):
    """The line with markers of this kind that spans the most components."""
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return max(lines, key=lambda line: len(line.get_xdata()))


def test_profiles_are_those_of_the_result_by_mean_and_range_over_seeds(result):
    axes = rs.plot.profiles(result)
    table = rs.plot.table(result, "profiles")
    energy = result.energy.sel(dataset="noise", stage=result.attrs["stage"])
    scaled = energy / energy.max("component")
    for number, model in enumerate(result.model.values):
        line = curve_of(axes, line_style(number)["marker"])
        mean = scaled.sel(model=model).mean("seed").values
        np.testing.assert_allclose(line.get_ydata(), mean, rtol=1e-12)
        rows = table[table.model == model]
        np.testing.assert_allclose(rows["low"], scaled.sel(model=model).min("seed"), rtol=1e-12)
        np.testing.assert_allclose(rows["high"], scaled.sel(model=model).max("seed"), rtol=1e-12)
        start = result.energy.sel(dataset="noise", stage="init", model=model)
        expected = (start / start.max("component")).mean("seed").values
        np.testing.assert_allclose(rows["init"], expected, rtol=1e-12)
        assert any(np.array_equal(one.get_ydata(), rows["init"]) for one in axes.lines)
        assert any(np.array_equal(one.get_ydata(), rows["theory"]) for one in axes.lines)
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    assert [band[:, 1].max() for band in bands] == pytest.approx([1, 1])


def test_the_theoretical_curve_is_the_fitted_one(result):
    """With one seed it correlates with the profile as the result says."""
    one = result.isel(seed=[0], seed_ref=[0])
    for model, rows in rs.plot.table(one, "profiles").groupby("model"):
        fits = one.fit_correlation.sel(model=model, stage=one.attrs["stage"]).values.ravel()
        correlation = np.corrcoef(rows["mean"], rows["theory"])[0, 1]
        assert correlation == pytest.approx(fits[0], abs=1e-9)


def test_open_markers_are_the_chromatic_components(result):
    axes = rs.plot.profiles(result)
    table = rs.plot.table(result, "profiles")
    chromatic = table[(table.chromatic_share > 0.5) & (table.model == "m0")].component
    white = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert 0 < len(chromatic) < 27
    np.testing.assert_array_equal(white[0].get_xdata(), chromatic)


def test_the_options_of_profiles_leave_curves_out(result):
    labels = texts_of(rs.plot.profiles(result, init=False, theory=False))
    assert not {"initialization", "theory, fitted"} & set(labels)
    assert {"initialization", "theory, fitted"} <= set(texts_of(rs.plot.profiles(result)))
    at_start = rs.plot.profiles(result, stage="init")
    assert "initialization" not in texts_of(at_start)
    with pytest.raises(UnknownNameError, match="known: change, init, trained"):
        rs.plot.profiles(result, stage="initial")


def test_images_under_the_profiles_are_the_components_with_their_names(result):
    (strip,) = rs.plot.profiles(result).child_axes
    names = [text.get_text() for text in strip.get_xticklabels()]
    assert len(strip.images) == len(names) == 27
    for number, name in enumerate(names):
        found = re.fullmatch(r"(\d+): (0\.\d\d)( \d+°)? (gray|color)", name)
        assert int(found[1]) == number
        one = result.isel(dataset=0, component=number)
        assert float(found[2]) == pytest.approx(float(one.frequency), abs=0.005)
        assert (found[4] == "color") == (float(one.chromatic_share) > 0.5)
        assert bool(found[3]) == (float(one.coherence) >= 0.5)
        patch = one.components.values / np.abs(one.components.values).max()
        image = strip.images[number].get_array()
        np.testing.assert_allclose(image.transpose(2, 0, 1), 0.5 + patch / 2, atol=1e-12)


def test_twenty_models_have_a_panel_each_and_a_row_each(shared_cache):
    many = compared(20, seeds=1)
    panels = rs.plot.profiles(many).child_axes
    assert len(panels) == 20
    assert panels[-1].get_title() == ODD.replace("$", r"\$")
    assert len({panel.get_ylim() for panel in panels}) == 1
    assert len(rs.plot.fit(many).get_yticklabels()) == 20
    assert len(rs.plot.filters(many).child_axes) == 20
    cells = rs.plot.similarity(many).images[0].get_array()
    assert cells.shape == (20, 20)


def test_labels_are_shown_as_they_are(result):
    """Also in the file: an svg has no glyphs of mathematics, and the legend has all entries."""
    for draw in (rs.plot.profiles, rs.plot.similarity, rs.plot.fit, rs.plot.trajectory):
        shown = texts_of(draw(result))
        assert ODD.replace("$", r"\$") in shown, draw
    with mpl.rc_context({"svg.fonttype": "none"}):
        file = io.BytesIO()
        rs.plot.fit(result).figure.savefig(file, format="svg")
    assert "_$x_1$ &lt;b&gt; &amp; 100%</text>" in file.getvalue().decode()


def test_cells_are_the_means_over_pairs_of_seeds(result):
    axes = rs.plot.similarity(result)
    means = rs.table(result, "mean").to_numpy()
    np.testing.assert_array_equal(axes.images[0].get_array(), means)
    written = [text.get_text() for text in axes.texts]
    spreads = rs.table(result, "std").to_numpy()
    low, high = (rs.table(result, end).to_numpy() for end in ("low", "high"))
    for text, (i, j) in zip(written, np.ndindex(means.shape), strict=True):
        inside = low[i, j] <= means[i, j] <= high[i, j]
        value = f"({means[i, j]:.3f})" if inside else f"{means[i, j]:.3f}"
        assert text == f"{value}\n±{spreads[i, j]:.3f}"


def test_values_within_the_null_interval_are_in_parentheses():
    """Independent random filters are mostly within it, equal ones never."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(8, 3, 3, 3, generator=generator) for _ in range(2))
    result = rs.compare({"a": a, "b": b, "c": -a}, IMAGES)
    written = {text.get_text() for text in rs.plot.similarity(result).texts}
    assert "1.000" in written
    outside = result.null_low.sel(model="a", model_ref="b").item()
    value = float(result.similarity.sel(model="a", model_ref="b").values.ravel()[0])
    high = float(result.null_high.sel(model="a", model_ref="b").values.ravel()[0])
    assert (f"({value:.3f})" in written) == (outside <= value <= high)
    assert (f"{value:.3f}" in written) != (outside <= value <= high)


def test_clustered_models_are_beside_those_like_them():
    """Two kinds of banks that take turns are sorted into two blocks, each cell moved with them."""
    generator = torch.Generator().manual_seed(0)
    kinds = [torch.randn(8, 3, 3, 3, generator=generator) for _ in range(2)]
    noise = [0.05 * torch.randn(8, 3, 3, 3, generator=generator) for _ in range(6)]
    banks = {f"{'ab'[i % 2]}{i}": kinds[i % 2] + one for i, one in enumerate(noise)}
    result = rs.compare(banks, IMAGES)
    axes = rs.plot.similarity(result, order="cluster")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert [label[0] for label in labels] in (list("aaabbb"), list("bbbaaa"))
    expected = rs.table(result).loc[labels, labels].to_numpy()
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    with pytest.raises(UnknownNameError, match="known: cluster, given"):
        rs.plot.similarity(result, order="random")


def test_the_order_of_clusters_does_not_need_every_pair(result):
    holes = result.copy(deep=True)
    holes.similarity[:] = np.nan
    assert rs.plot.similarity(holes, order="cluster").images


def test_activations_have_their_layers_as_rows(activations):
    axes = rs.plot.similarity(activations)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == [label.replace("$", r"\$") for label in rs.table(activations).index]
    assert kinds_of(activations) == ["similarity", "intervals"]


def test_markers_of_the_fit_are_the_correlations_of_the_seeds(result):
    axes = rs.plot.fit(result)
    stage = result.attrs["stage"]
    markers = [line for line in axes.lines if line.get_marker() in ("o", "^")]
    drawn = sorted(float(x) for line in markers for x in line.get_xdata())
    expected = result.fit_correlation.sel(stage=["init", stage]).values.ravel()
    np.testing.assert_allclose(drawn, sorted(expected))
    triangles = sum(len(line.get_xdata()) for line in markers if line.get_marker() == "^")
    assert triangles == int(result.fit_at_bound.sel(stage=["init", stage]).sum())
    shown = [text.get_text() for text in axes.texts]
    median = result.fit_steps.sel(stage=stage, model="m0").median().item()
    assert f"{median:.3g} steps" in shown


def test_filters_are_those_of_the_runs_on_one_scale(result):
    axes = rs.plot.filters(result, stage="trained", seed=1)
    table = rs.plot.table(
        result,
        "filters",
    )
    change = table[(table.model == "m0") & (table.seed == 0)].weight
    bank = change.to_numpy().reshape(4, 3, 3, 3)
    basis = rs.patch_moments(IMAGES.images, (3, 3)).basis()
    profile = result.energy.sel(dataset="noise", model="m0", seed=0, stage="change")
    np.testing.assert_allclose(rs.energy_profile(bank, basis), profile, rtol=1e-5)
    assert [panel.get_title() for panel in axes.child_axes] == [
        "m0 seed 1",
        ODD.replace("$", r"\$") + " seed 1",
    ]
    largest = max(float(panel.images[0].get_array().max()) for panel in axes.child_axes)
    assert largest == 1  # of the white lines; the weights:
    gray = np.abs(np.concatenate([p.images[0].get_array().ravel() for p in axes.child_axes]) - 0.5)
    assert sorted(gray)[-1] == 0.5


def test_a_grid_has_every_filter_in_its_place():
    bank = np.random.default_rng(0).standard_normal((5, 3, 2, 4))
    limit = np.abs(bank).max()
    grid = grid_of(bank, limit)
    assert grid.shape == (2 * 3 + 1, 3 * 5 + 1, 3)
    for number in range(5):
        row, column = divmod(number, 3)
        part = grid[1 + row * 3 : 3 + row * 3, 1 + column * 5 : 5 + column * 5]
        np.testing.assert_allclose(2 * limit * (part.transpose(2, 0, 1) - 0.5), bank[number])
    assert (grid[::3] == 1).all()
    assert (grid[:, ::5] == 1).all()
    assert (grid[3:, 10:] == 1).all()  # no sixth filter


def test_filters_that_are_not_here_are_missed_in_one_line(result, fresh_cache):
    run = result.run_id.values.ravel()[0]
    with pytest.raises(UsageError, match=f"run {run} of 'm0' seed 0 is not in the cache"):
        rs.plot.filters(result)
    given = rs.compare({"net": nn.Conv2d(3, 4, 3)}, IMAGES)
    with pytest.raises(UsageError, match="'net' was not trained.*those of given networks are in"):
        rs.plot.filters(given)
    with pytest.raises(UsageError, match="no snapshots of a training"):
        rs.plot.trajectory(given)
    assert rs.plot.trajectory(result).child_axes  # without the accuracies


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
def test_damaged_runs_count_as_missing_and_stay(fresh_cache):
    """Drawing never removes a run: training decides what happens to it."""
    result = compared(1, seeds=1)
    (folder,) = (fresh_cache / "runs").iterdir()
    file = folder / "filters.safetensors"
    rs.plot.filters(result)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match="is not in the cache"):
        rs.plot.filters(result)
    assert file.exists()


def test_the_course_of_training_is_that_of_the_snapshots_and_evaluations(result):
    axes = rs.plot.trajectory(result)
    table = rs.plot.table(result, "trajectory")
    for panel, model in zip(axes.child_axes, result.model.values, strict=True):
        one = result.isel(dataset=0).sel(model=model)
        assert len(panel.lines) == 27
        for number, line in enumerate(panel.lines):
            np.testing.assert_array_equal(line.get_xdata(), one.snapshot_step.values[0])
            mean = one.snapshot_energy.mean("seed").values[:, number]
            np.testing.assert_allclose(line.get_ydata(), mean, rtol=1e-12)
        (right,) = panel.child_axes
        rows = table[(table.quantity == "test_accuracy") & (table.model == model)]
        assert right.lines[0].get_xdata().tolist() == [3, 6]
        last = rows[rows.step == 6].set_index("seed").value
        np.testing.assert_allclose(last, one.test_accuracy.values, atol=1e-6)


def test_components_and_spectrum_are_those_of_the_result(result):
    panels = rs.plot.components(result).child_axes
    assert len(panels) == 27
    axes = rs.plot.spectrum(result)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), result.eigenvalue.values[0])
    table = rs.plot.table(result, "components")
    assert table.variance_share.sum() == pytest.approx(1)
    with pytest.raises(UnknownNameError, match="unknown data set 'other'"):
        rs.plot.components(result, dataset="other")


def test_many_components_are_counted_where_they_are_left_out():
    result = rs.compare({"a": torch.randn(4, 3, 5, 5)}, IMAGES)
    axes = rs.plot.components(result)
    assert len(axes.child_axes) == 60
    assert "the first 60 of 75" in axes.get_title()
    (strip,) = rs.plot.profiles(result).child_axes
    names = [text.get_text() for text in strip.get_xticklabels()]
    assert [int(name.partition(":")[0]) for name in names] == list(range(0, 75, 3))
    for number, image in zip(range(0, 75, 3), strip.images, strict=True):
        left, right, *_ = image.get_extent()
        assert (left + right) / 2 == number
        patch = (
            result.components.values[0, number] / np.abs(result.components.values[0, number]).max()
        )
        np.testing.assert_allclose(image.get_array().transpose(2, 0, 1), 0.5 + patch / 2)


def test_data_sets_are_told_apart_and_have_their_own_components():
    sets = [noise_images(60, (3, 8, 8), seed=s, name=f"set{s}") for s in range(2)]
    bank = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    with pytest.warns(rs.RepsimWarning, match="different patch bases"):
        result = rs.compare({"a": bank}, sets)
    axes = rs.plot.profiles(result)
    assert {"a on set0", "a on set1"} <= set(texts_of(axes))
    assert not axes.child_axes  # no images: the components differ
    assert {"set0", "set1"} <= set(texts_of(rs.plot.spectrum(result)))
    second = rs.plot.components(result, dataset="set1").child_axes[3].images[0].get_array()
    patch = result.components.values[1, 3]
    np.testing.assert_allclose(second.transpose(2, 0, 1), 0.5 + patch / (2 * np.abs(patch).max()))


@pytest.mark.parametrize("images", [(1, 8, 8), (2, 8, 8)])
def test_images_without_color_are_drawn_too(images):
    data = noise_images(60, images)
    result = rs.compare({"a": torch.randn(4, images[0], 3, 3)}, data)
    for kind in ("profiles", "components", "spectrum", "fit", "similarity"):
        write_to_memory(KINDS[kind].draw(result))


def described(result, kind):
    """The result, or one whose networks the theory describes where a kind needs that."""
    return rs.example_result() if kind == "residuals" else result


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_result_is_drawn_too(result, kind):
    """One data set or model selected by its label, as a scalar or as a list."""
    result = described(result, kind)
    for part in (result.isel(dataset=[0], dataset_ref=[0]), result.isel(dataset=0, dataset_ref=0)):
        assert KINDS[kind].draw(part) is not None
        assert rs.plot.table(part, kind).equals(rs.plot.table(result, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_axes_of_ones_own_are_drawn_in_and_returned(result, kind):
    result = described(result, kind)
    figure, axes = plt.subplots(1, 2)
    assert KINDS[kind].draw(result, ax=axes[1]) is axes[1]
    assert not axes[0].has_data()
    write_to_memory(axes[1])
    assert len(plt.get_fignums()) == 1
    with pytest.raises(UsageError, match="got ax of type ndarray"):
        KINDS[kind].draw(result, ax=axes)


@pytest.mark.parametrize("kind", ["fit", "similarity"])
def test_the_accessor_draws_the_same(result, kind):
    ours, theirs = (
        write_to_memory(draw)
        for draw in (getattr(rs.plot, kind)(result), getattr(result.repsim.plot, kind)())
    )
    assert ours == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_lack_it_are_refused_in_one_line(kind):
    empty = rs.compare({"a": small_cnn(2, 3)}, IMAGES, "cka").drop_vars("similarity")
    with pytest.raises(UsageError) as refused:
        KINDS[kind].draw(empty)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_figures_give_equal_files(result, tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        write_figure(rs.plot.profiles(result).figure, tmp_path / f"{name}{suffix}")
        contents.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert contents[0] == contents[1]


def test_results_without_descriptions_of_components_are_drawn_alike(result):
    earlier = result.drop_vars(list(COMPONENT_COORDS))
    assert rs.plot.table(earlier, "profiles").equals(rs.plot.table(result, "profiles"))


def test_curves_differ_in_color_marker_and_dashes():
    styles = [line_style(number) for number in range(343)]
    assert len({tuple(map(str, style.values())) for style in styles}) == 343
    for part in ("color", "marker"):
        assert len({style[part] for style in styles[:7]}) == 7


def write_to_memory(axes):
    file = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "test"}):
        axes.figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
