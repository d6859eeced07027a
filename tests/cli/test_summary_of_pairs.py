"""``repsim compare --pairs summary`` and what reads its file."""

import pytest

import repsim_energy as rs

ARGS = ["--seeds", "2", "--recipe", "quick:steps=3:batch=20", "--jobs", "1", "--resamples", "0"]
MODELS = "a=linear_cnn:filters=4,b=linear_cnn:filters=6"


@pytest.mark.parametrize("pairs", ["summary", "a=one,b=one"])
def test_the_command_prints_and_writes_the_summary(
    repsim, pictures_npz, tmp_path, fresh_cache, pairs
):
    out = tmp_path / "summary.nc"
    args = ["compare", "--models", MODELS, "--dataset", f"npz:path={pictures_npz}", *ARGS]
    done = repsim(*args, "--pairs", pairs, "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert "mean ± sd over 6 pairs of networks, 0 without a similarity" in done.stdout
    assert "a seed 1" in done.stdout
    assert repsim("show", str(out)).stdout == done.stdout
    result = rs.open_result(out)
    assert rs.summarize(result).sizes["group"] == (2 if pairs == "summary" else 1)
    for reader in (["plot", "--kind", "similarity", "-o", "a.svg"], ["report", "-o", "a.html"]):
        name, *options, file = reader
        refused = repsim(name, str(out), *options, str(tmp_path / file))
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")
        assert len(refused.stderr.splitlines()) == 1
