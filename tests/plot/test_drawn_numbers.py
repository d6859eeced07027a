"""Every number that a figure draws is in its table, and every row of the table is drawn."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.plot.filter_grids import grid_of
from repsim_energy.plot.kinds import KINDS
from repsim_energy.plot.similarity_map import similarity_table


def with_models(count):
    """Return the example result with its networks repeated, and a second data set."""
    result = rs.example_result()
    models = [number % 2 for number in range(count)]
    names = [f"net{number}" for number in range(count)]
    result = result.isel(model=models, model_ref=models)
    scale = xr.DataArray(
        np.linspace(0.8, 1.2, 27 * count).reshape(count, 27), dims=("model", "component")
    )
    energy = (result.energy * scale).transpose(*result.energy.dims)
    return result.assign(energy=energy).assign_coords(model=names, model_ref=names)


@pytest.fixture(params=[2, 6])
def result(request):
    """Few models share a panel, more have one each."""
    return with_models(request.param)


def curves_of(axes):
    """Return all curves of profiles and their bands: ordinates over the components."""
    places = [axes, *(child for child in axes.child_axes if child.lines)]
    lines = [line.get_ydata() for place in places for line in place.lines if len(line.get_xdata())]
    bands = [band.get_paths()[0].vertices for place in places for band in place.collections]
    return lines, bands


@pytest.mark.parametrize("stage", [None, "init", "trained"])
def test_profiles(result, stage):
    lines, bands = curves_of(rs.plot.profiles(result, stage=stage))
    table = rs.plot.table(result, "profiles", stage=stage)
    expected = []
    for (_, rows), band in zip(table.groupby("model", sort=False), bands, strict=True):
        expected += [rows["mean"], rows.theory, rows[rows.chromatic_share > 0.5]["mean"]]
        expected += [rows.init] if stage != "init" else []
        ends = np.stack([rows.low, rows.high])
        for place, component in enumerate(rows.component):
            column = band[band[:, 0] == component, 1]
            assert (column.min(), column.max()) == tuple(ends[:, place])
    assert len(lines) == len(expected)
    for values in expected:
        assert any(np.array_equal(values, line) for line in lines)


def test_residuals(result):
    """Their correlation is r beyond theory, which the result has."""
    lines, bands = curves_of(rs.plot.residuals(result))
    table = rs.plot.table(result, "residuals")
    for (_, rows), band in zip(table.groupby("model", sort=False), bands, strict=True):
        assert any(np.array_equal(rows["mean"], line) for line in lines)
        assert (band[:, 1].min(), band[:, 1].max()) == (rows.low.min(), rows.high.max())
    one = result.isel(dataset=0, seed=[0], dataset_ref=0, seed_ref=[0])
    rows = rs.plot.table(one.isel(model=[0, 1], model_ref=[0, 1]), "residuals")
    first, second = (group["mean"] for _, group in rows.groupby("model", sort=False))
    shared = one.beyond_theory.isel(model=0, model_ref=1).item()
    np.testing.assert_allclose(np.corrcoef(first, second)[0, 1], shared, atol=1e-12)


@pytest.mark.parametrize("order", ["given", "cluster"])
@pytest.mark.parametrize("of", ["similarity", "beyond_theory"])
def test_similarity(result, order, of):
    axes = rs.plot.similarity(result, order=order, of=of)
    table = similarity_table(result, of).set_index(["group", "group_ref"])
    labels = [text.get_text() for text in axes.get_yticklabels()]
    cells = axes.images[0].get_array()
    assert cells.size == len(table)
    written = iter(text.get_text() for text in axes.texts)
    for (i, j), value in np.ndenumerate(cells):
        row = table.loc[(labels[i], labels[j])]
        assert value == row["mean"]
        first, _, spread = next(written).partition("\n±")
        assert first == (f"({value:.3f})" if row.in_null == 1 else f"{value:.3f}")
        assert spread == ("" if np.isnan(row["std"]) else f"{row['std']:.3f}")
    bar = axes.figure.axes[-1]
    ends = [table.null_low.mean(), table.null_high.mean()]
    np.testing.assert_allclose(bar.lines[-1].get_ydata(), ends, rtol=1e-12)


def test_intervals(result):
    axes = rs.plot.intervals(result)
    table = rs.plot.table(result, "intervals")
    ends = {tuple(line.get_xdata()) for line in axes.lines}
    for row in table.itertuples():
        assert (row.mean,) in ends
        assert ((row.null_low, row.null_high) in ends) == (row.null_low < row.null_high)
        assert ((row.ci_low, row.ci_high) in ends) == (row.ci_low < row.ci_high)
    assert len(axes.get_yticklabels()) == len(table)


@pytest.mark.parametrize("stage", [None, "init", "trained"])
def test_fit(result, stage):
    axes = rs.plot.fit(result, stage=stage)
    stage = stage or result.attrs["stage"]
    table = rs.plot.table(result, "fit")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    stages = {"init", stage}
    expected = [
        (row.fit_correlation, labels.index(row.model), "^" if row.fit_at_bound else "o")
        for row in table[table.stage.isin(stages)].itertuples()
    ]
    drawn = [
        (x, y, line.get_marker())
        for line in axes.lines
        if line.get_marker() in ("o", "^")
        for x, y in zip(*line.get_data(), strict=True)
    ]
    assert sorted(drawn) == sorted(expected)
    compared = table[table.stage == stage].groupby("model", sort=False).first()
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "None"]
    assert means == compared.mean_correlation.tolist()
    steps = [text.get_text() for text in axes.texts]
    assert steps == [f"{value:.3g} steps" for value in compared.median_steps]
    by_model = result.fit_steps.sel(stage=stage).median("seed").values.ravel()
    assert compared.median_steps.tolist() == by_model.tolist()


@pytest.mark.parametrize("stage", [None, "init", "trained"])
def test_filters(result, stage):
    axes = rs.plot.filters(result, stage=stage)
    table = rs.plot.table(result, "filters", stage=stage)
    drawn = table[table.seed == 0]
    limit = drawn.weight.abs().max()
    for panel, (model, rows) in zip(
        axes.child_axes, drawn.groupby("model", sort=False), strict=True
    ):
        shape = rows[["filter", "c", "kh", "kw"]].max() + 1
        bank = rows.weight.to_numpy().reshape(tuple(shape))
        np.testing.assert_array_equal(panel.images[0].get_array(), grid_of(bank, limit))
        assert panel.get_title() == f"{model} seed 0"
    assert axes.get_title().endswith(f"white = {limit:.2g}")


def test_components(result):
    axes = rs.plot.components(result)
    table = rs.plot.table(result, "components")
    weights = rs.to_dataframe(result, "components")
    for panel, row in zip(axes.child_axes, table.itertuples(), strict=True):
        patch = weights[weights.component == row.component]["components"].to_numpy()
        image = panel.images[0].get_array().transpose(2, 0, 1)
        expected = 0.5 + patch.reshape(3, 3, 3) / (2 * row.largest_weight)
        np.testing.assert_allclose(image, expected, atol=1e-12)
        assert {image.min(), image.max()} & {0.0, 1.0}
        assert panel.get_title() == f"{row.component}\n{row.name}"


def test_trajectory(result):
    axes = rs.plot.trajectory(result)
    table = rs.plot.table(result, "trajectory")
    for panel, (model, rows) in zip(
        axes.child_axes, table.groupby("model", sort=False), strict=True
    ):
        assert panel.get_title() == model
        energy = rows[rows.quantity == "energy"]
        for number, line in enumerate(panel.lines):
            means = energy[energy.component == number].groupby("step").value.mean()
            assert line.get_xdata().tolist() == means.index.tolist()
            np.testing.assert_allclose(line.get_ydata(), means, rtol=1e-12)
        assert len(panel.lines) == energy.component.nunique()
        means = rows[rows.quantity == "test_accuracy"].groupby("step").value.mean()
        (right,) = panel.child_axes
        assert right.lines[0].get_xdata().tolist() == means.index.tolist()
        np.testing.assert_allclose(right.lines[0].get_ydata(), means, rtol=1e-12)


def test_spectrum(result):
    axes = rs.plot.spectrum(result)
    table = rs.plot.table(result, "spectrum")
    color = table[table.chromatic_share > 0.5]
    filled, open_ones = axes.lines[:2]
    assert filled.get_xdata().tolist() == table.component.tolist()
    assert filled.get_ydata().tolist() == table.eigenvalue.tolist()
    assert open_ones.get_xdata().tolist() == color.component.tolist()
    assert open_ones.get_ydata().tolist() == color.eigenvalue.tolist()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"profiles", "filters"}))
def test_a_stage_that_a_table_does_not_select_is_refused(kind):
    with pytest.raises(UsageError, match=f"which the table of {kind} does not select by"):
        rs.plot.table(rs.example_result(), kind, stage="init")


@pytest.mark.parametrize("kind", ["profiles", "fit", "filters", "trajectory"])
def test_models_that_cannot_be_drawn_are_counted(kind):
    """A network without the numbers of a figure, such as a given one, is not left out silently."""
    result = with_models(3)
    assert "without" not in KINDS[kind].draw(result).get_title()
    part = result.copy(deep=True)
    part["given"][:, 1] = 1
    part.run_id[:, 1] = ""
    for name in ("energy", "snapshot_energy", "fit_correlation"):
        part[name][:, 1] = np.nan
    axes = KINDS[kind].draw(part)
    assert " ".join(axes.get_title().split()).endswith("(without 1 of 3 models)")
    labels = [text.get_text() for text in axes.figure.findobj(mpl.text.Text)]
    assert not any(label.startswith("net1") for label in labels)
    part["energy"][:], part["snapshot_energy"][:], part["fit_correlation"][:] = (
        np.nan,
        np.nan,
        np.nan,
    )
    part.run_id[:] = ""
    with pytest.raises(UsageError):
        KINDS[kind].draw(part)
