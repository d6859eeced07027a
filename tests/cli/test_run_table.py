"""The table of runs: its cells are the numbers of the result."""

import pytest
from samples import RECIPE, TINY, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.cli import run_table

IMAGES = noise_images(20, (3, 8, 8))


@pytest.fixture
def printed(monkeypatch):
    """What print_runs prints of a result: a mapping from title to cell for each run."""

    def printed(result):
        captured = {}
        monkeypatch.setattr(
            run_table,
            "print_if_it_fits",
            lambda head, rows: captured.update(head=head, rows=rows) or True,
        )
        run_table.print_runs(result)
        return [dict(zip(captured["head"], row, strict=True)) for row in captured["rows"]]

    return printed


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
def test_the_cells_of_a_run_are_its_numbers(printed):
    result = rs.compare(
        {"given": small_cnn(2, 3), "run": TINY}, IMAGES, recipe=RECIPE, seeds=2, stage="trained"
    )
    given, first, second = printed(result)
    assert given["run"] == "given (given)"
    assert [given[title] for title in ("steps", "train acc.", "r with init")] == ["-"] * 3
    for s, row in enumerate((first, second)):
        run = result.isel(dataset=0, model=1, seed=s)
        assert row == {
            "run": f"run seed {s}",
            "steps": "6",
            "train acc.": f"{float(run.train_accuracy):.3f}",
            "test acc.": f"{float(run.test_accuracy):.3f}" if run.test_accuracy.notnull() else "-",
            "r with init": f"{float(run.init_similarity):.3f}",
            "r with theory": f"{float(run.fit_correlation.sel(stage='trained')):.3f}",
        }


def test_a_column_is_there_if_the_result_has_what_it_needs(printed, monkeypatch):
    count = run_table.Column("filters", "filters", lambda run: str(int(run.n_filters)), "n_filters")
    monkeypatch.setattr(run_table, "COLUMNS", (*run_table.COLUMNS, count))
    plain = rs.compare([small_cnn(2, 3)], IMAGES)
    assert "filters" not in printed(plain)[0]
    counted = plain.assign(n_filters=(("dataset", "model", "seed"), [[[6]]]))
    assert printed(counted)[0]["filters"] == "6"
