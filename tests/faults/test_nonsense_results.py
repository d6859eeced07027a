"""Results that are no whole results give a typed error, or the numbers that they have."""

import numpy as np
import pytest
import xarray as xr
from broken_results import broken
from hypothesis import given
from nonsense import examples, outcome

import repsim_energy as rs
from repsim_energy.errors import FileError, UsageError
from repsim_energy.plot.kinds import KINDS

RESULT = rs.example_result()
MANY = [3, pytest.param(300, marks=pytest.mark.faults)]

READERS = {
    "summarize": rs.summarize,
    "beyond theory": lambda result: rs.summarize(result, "beyond_theory"),
    "pairs": rs.pairs,
    "table": rs.table,
    "table of spreads": lambda result: rs.table(result, "std"),
    "profiles": lambda result: rs.profiles(result, "change"),
    "normalized profiles": lambda result: rs.profiles(result, "trained", normalized=True),
    "adjust_p_values": rs.adjust_p_values,
    "adjust_p_values bh": lambda result: rs.adjust_p_values(result, "bh"),
    "equivalence": lambda result: (
        rs.equivalence(result, *[str(label) for label in np.atleast_1d(result.model.values)[:2]])
        if "model" in result.coords and result.model.size > 1
        else rs.equivalence(result, "a", "b")
    ),
    "to_dataframe": lambda result: rs.to_dataframe(result, "similarity"),
}


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("reader", READERS)
def test_broken_results_are_refused_or_read(reader, count):
    @examples(count)
    @given(broken(RESULT))
    def check(drawn):
        outcome(READERS[reader], drawn[1], quiet=True)  # NaN is what a result has where it has none

    check()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "thing", [None, 3, "result.nc", {}, [], np.zeros(3), xr.Dataset(), RESULT.similarity], ids=type
)
def test_other_things_than_results_are_refused(reader, thing):
    if reader == "equivalence" and not isinstance(thing, xr.Dataset):
        reader, thing = "summarize", thing
    with pytest.raises(UsageError, match="expected|unknown variable"):
        READERS[reader](thing)


SIDED = ["summarize", "pairs", "table", "adjust_p_values", "beyond theory"]


@pytest.mark.parametrize("reader", SIDED)
@pytest.mark.parametrize("dim", ["seed", "model", "dataset"])
def test_labels_of_one_side_shifted_by_one_are_not_joined(reader, dim):
    """A result whose rows are called as its columns are, but for one step."""
    labels = RESULT[dim].values
    shifted = labels + 1 if dim == "seed" else np.array([f"{label}+" for label in labels])
    with pytest.raises(UsageError, match="expected the same|labels of"):
        READERS[reader](RESULT.assign_coords({f"{dim}_ref": shifted}))


@pytest.mark.parametrize("reader", [*SIDED, "profiles", "to_dataframe"])
@pytest.mark.parametrize("dim", ["seed", "model", "component"])
def test_labels_that_occur_twice_are_not_joined(reader, dim):
    names = [name for name in (dim, f"{dim}_ref") if name in RESULT.coords]
    twice = {name: [RESULT[name].values[0]] * RESULT.sizes[name] for name in names}
    with pytest.raises(UsageError, match=f"labels of '{dim}' occur more than once"):
        READERS[reader](RESULT.assign_coords(twice))


def test_rows_in_another_order_give_the_same_numbers():
    """Whoever selects or sorts a result changes the order of its rows, and no number."""
    turned = RESULT.isel(model=[1, 0], model_ref=[1, 0])
    expected, found = rs.summarize(RESULT), rs.summarize(turned)
    found = found.isel(group=[1, 0], group_ref=[1, 0])
    assert found.group.values.tolist() == expected.group.values.tolist()
    for name in ("mean", "spread", "n", "ci_low", "ci_high"):
        np.testing.assert_allclose(found[name].values, expected[name].values, rtol=1e-12)


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=pytest.mark.faults)])
@pytest.mark.parametrize("kind", KINDS)
def test_broken_results_are_refused_or_drawn_as_tables(kind, count):
    @examples(count)
    @given(broken(RESULT))
    def check(drawn):
        outcome(rs.plot.table, drawn[1], kind, quiet=True)

    check()


@pytest.mark.parametrize("count", [5, pytest.param(200, marks=pytest.mark.faults)])
def test_broken_results_are_refused_or_stored_as_they_are(count, tmp_path):
    @examples(count)
    @given(broken(RESULT))
    def check(drawn):
        path = tmp_path / "result.nc"
        if outcome(rs.save_result, drawn[1], path) == "refused":
            return
        try:
            stored = rs.open_result(path)
        except FileError:  # whose attributes are no longer those of a result
            assert drawn[1].attrs.get("schema_version") != RESULT.attrs["schema_version"]
        else:
            xr.testing.assert_equal(stored, drawn[1])

    check()


@pytest.mark.faults
def test_broken_results_are_refused_or_shown_as_a_page(tmp_path):
    @examples(40)
    @given(broken(RESULT))
    def check(drawn):
        outcome(rs.write_report, drawn[1], tmp_path / "page.html", quiet=True)

    check()
