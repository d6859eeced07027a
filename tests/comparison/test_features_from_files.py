"""Features from files: the same numbers as in memory, and only of the same samples."""

import json
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from samples import LEAVES

import repsim_energy as rs
from repsim_energy.comparison import memory
from repsim_energy.errors import DataError, FileError, RepsimWarning, UsageError
from repsim_energy.files import array_files
from repsim_energy.numerics.inference.half_samples import half_samples, random_groups

COUNT = 40
NAMES = np.array([f"image{i}" for i in range(COUNT)])


def numbers(width, seed, shape=()):
    return np.random.default_rng(seed).normal(size=(COUNT, width, *shape)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", features=numbers(6, 0), ids=NAMES)
    np.savez("b.npz", features=numbers(9, 1), ids=NAMES)
    np.savez("none.npz", features=numbers(9, 1))
    return tmp_path


def both(a="a.npz", b="b.npz", metric="cka", **options):
    return rs.compare([f"features:path={a}", f"features:path={b}"], metric=metric, **options)


def between(result):
    return float(result.similarity.values[0, 0, 0, 0, 0, 1, 0, 0])


@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_a_file_gives_the_number_of_its_arrays(estimator, folder):
    found = both(metric=f"cka:estimator={estimator}")
    expected = rs.cka(numbers(6, 0), numbers(9, 1), estimator=estimator)
    assert between(found) == pytest.approx(expected, abs=1e-12)
    assert found.model.values.tolist() == ["a", "b"]
    assert found.dataset.values.tolist() == ["40 samples"]
    assert found.n_samples.item() == COUNT
    assert found.layer.values.tolist() == ["features"]
    assert found.given.values.tolist() == [[1, 1]]
    assert found.file_sha256.values[0] != found.file_sha256.values[1]
    low, high = (found[f"null_{end}"].values[0, 0, 0, 0, 0, 1, 0, 0] for end in ("low", "high"))
    assert low < high
    rs.save_result(found, "x.nc")
    assert rs.open_result("x.nc").identical(found)


def test_a_batch_of_all_samples_is_the_whole(folder):
    whole, once = both(), both(metric="cka:batch=40")
    np.testing.assert_allclose(whole.similarity, once.similarity, atol=1e-9)
    parts = both(metric="cka:batch=15")
    assert parts.n_samples.item() == 39  # three batches of 13
    assert between(parts) != between(whole)


def test_files_in_another_order_are_put_in_one(folder):
    order = np.random.default_rng(3).permutation(COUNT)
    np.savez("turned.npz", features=numbers(9, 1)[order], ids=NAMES[order])
    np.testing.assert_array_equal(both(b="turned.npz").similarity, both().similarity)
    assert between(both(b="turned.npz:ids=order", a="a.npz:ids=order")) != between(both())


@pytest.mark.parametrize(
    "ids", [NAMES.astype("S"), NAMES.astype(object), np.arange(COUNT), np.arange(COUNT, dtype="u1")]
)
@pytest.mark.process
def test_ids_are_texts_or_whole_numbers(ids, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = [str(i.decode()) if isinstance(i, bytes) else str(i) for i in ids.tolist()]
        np.savez("texts.npz", features=numbers(6, 0), ids=np.array(plain))
        if ids.dtype == object:  # which netCDF stores as texts, and .npz as pickles
            data = xr.Dataset({"f": (("s", "d"), numbers(9, 1))}, {"s": ids.astype(str)})
            data.to_netcdf("other.nc")
            assert between(both("texts.npz", "other.nc")) == between(both())
            return
        np.savez("other.npz", features=numbers(9, 1), ids=ids)
        assert between(both("texts.npz", "other.npz")) == between(both())


@pytest.mark.process
def test_netcdf_and_npz_give_the_same(folder):
    coords = {"sample": NAMES}
    xr.Dataset({"features": (("sample", "d"), numbers(6, 0))}, coords).to_netcdf("a.nc")
    variable = {"ids": ("sample", NAMES), "features": (("sample", "d"), numbers(9, 1))}
    xr.Dataset(variable).to_netcdf("b.nc")
    np.testing.assert_array_equal(both("a.nc", "b.nc").similarity, both().similarity)


def test_every_array_is_a_layer(folder):
    np.savez("two.npz", early=numbers(4, 2, (3, 3)), late=numbers(5, 3), ids=NAMES)
    found = both(b="two.npz")
    assert found.layer.values.tolist() == ["features", "early", "late"]
    one = found.similarity.sel(model="a", layer="features", model_ref="two", layer_ref="early")
    early = numbers(4, 2, (3, 3)).reshape(COUNT, -1)
    assert one.squeeze().item() == pytest.approx(rs.cka(numbers(6, 0), early), abs=1e-7)
    assert found.similarity.sel(model="a", layer="late").isnull().all()
    chosen = both(b="two.npz", layers="x=features|late")
    assert chosen.layer_name.values.tolist() == [["features"], ["late"]]
    expected = rs.cka(numbers(6, 0), numbers(5, 3))
    assert between(chosen) == pytest.approx(expected, abs=1e-7)
    mapped = both(b="two.npz", layers={"x": {"a": "features", "two": "late"}})
    np.testing.assert_array_equal(mapped.similarity, chosen.similarity)
    with pytest.raises(UsageError, match="unknown array of 'two' 'features'.*known: early, late"):
        both(b="two.npz", layers="features")


def test_numbers_are_taken_as_precise_as_they_are(folder):
    offset = numbers(6, 0).astype(np.float64) + 1e7
    np.savez("double.npz", features=offset, ids=NAMES)
    np.savez("half.npz", features=numbers(6, 0).astype(np.float16), ids=NAMES)
    np.savez("big.npz", features=numbers(6, 0).astype(">f4"), ids=NAMES)
    np.savez("codes.npz", features=np.arange(COUNT * 3).reshape(COUNT, 3) % 7, ids=NAMES)
    assert between(both("double.npz")) == pytest.approx(between(both()), abs=1e-6)
    assert between(both("half.npz")) == pytest.approx(between(both()), abs=1e-3)
    assert between(both("big.npz")) == between(both())
    assert np.isfinite(between(both("codes.npz")))


def test_ids_that_differ_are_refused_with_their_number(folder):
    other = NAMES.copy()
    other[[3, 5]] = ["x", "y"]
    np.savez("other.npz", features=numbers(9, 1), ids=other)
    words = r"2 of 40 are in 'a.npz' alone \(image3, image5\) and 2 of 40 .* 'other.npz' .*\(x, y\)"
    with pytest.raises(UsageError, match=words):
        both(b="other.npz")
    np.savez("fewer.npz", features=numbers(9, 1)[:30], ids=NAMES[:30])
    words = r"10 of 40 are in 'a.npz' alone \(image30, image31, image32 and 7 more\) and 0 of 30"
    with pytest.raises(UsageError, match=words):
        both(b="fewer.npz")
    with pytest.raises(UsageError, match="different numbers of samples, 40 in 'a.npz', 30 in"):
        both(b="fewer.npz:ids=order")


def test_ids_that_are_missing_are_asked_for(folder):
    with pytest.raises(UsageError, match="'none.npz' has no array 'ids'.*path=none.npz:ids=order"):
        both(b="none.npz")
    np.testing.assert_array_equal(both(b="none.npz:ids=order").similarity, both().similarity)
    order = np.arange(COUNT)[::-1]
    np.savez("turned.npz", features=numbers(9, 1)[order], ids=NAMES[order])
    with pytest.raises(UsageError, match="ids=order beside files whose ids are in different"):
        rs.compare(
            "features:path=a.npz,features:path=turned.npz,features:path=none.npz:ids=order",
            metric="cka",
        )


BAD = {
    "twice": (
        {"features": numbers(3, 0), "ids": NAMES[[0, *range(39)]]},
        DataError,
        "1 ids .*image0",
    ),
    "short": ({"features": numbers(3, 0), "ids": NAMES[:9]}, DataError, r"expected \(40,\) texts"),
    "fractions": ({"features": numbers(3, 0), "ids": numbers(1, 0)[:, 0]}, DataError, "float32"),
    "objects": ({"features": np.array([{}] * COUNT), "ids": NAMES}, FileError, "without pickle"),
    "rows": ({"x": numbers(3, 0), "y": numbers(3, 0)[:9]}, DataError, r"x \(40, 3\), y \(9, 3\)"),
    "empty": ({"ids": NAMES}, DataError, "no features among its arrays"),
    "complex": ({"x": numbers(3, 0) * 1j, "ids": NAMES}, DataError, r"x \(complex64, \(40, 3\)\)"),
    "texts": ({"x": NAMES, "ids": NAMES}, DataError, "no features among"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_of_something_else_are_refused(name, folder):
    arrays, error, words = BAD[name]
    np.savez("bad.npz", **arrays)
    with pytest.raises(error, match=words) as said:
        both(b="bad.npz")
    assert "\n" not in str(said.value)
    assert "bad.npz" in str(said.value)


def test_a_pickle_in_a_file_is_never_run(folder):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    trap = np.array([Trap()] * COUNT, dtype=object)
    np.savez("trap.npz", features=numbers(3, 0), ids=trap)
    with pytest.raises(FileError, match="save arrays of numbers with numpy.savez"):
        both(b="trap.npz")


@pytest.mark.process
def test_damaged_and_foreign_files_are_refused(folder):
    content = (folder / "b.npz").read_bytes()
    (folder / "cut.npz").write_bytes(content[:-200])
    (folder / "text.npz").write_text("features")
    rs.save_result(both(), "result.nc")
    for name, words in {
        "cut.npz": "cannot be read",
        "text.npz": "neither .npz nor netCDF",
        "result.nc": "is a result of this toolkit",
    }.items():
        with pytest.raises(FileError, match=words):
            both(b=name)
    with pytest.raises(UsageError, match="no file at 'gone.npz'"):
        both(b="gone.npz")


def test_labels_in_a_file_are_left_out_and_said(folder):
    np.savez("more.npz", features=numbers(9, 1), ids=NAMES, labels=np.arange(COUNT), seed=3)
    with pytest.warns(
        RepsimWarning, match=r"left out of 'more.npz'.*labels \(int64, \(40,\)\), seed"
    ):
        found = both(b="more.npz")
    np.testing.assert_array_equal(found.similarity, both().similarity)


def test_features_that_are_not_finite_fail_alone(folder):
    values = numbers(4, 5)
    values[3, 1] = np.inf
    np.savez("two.npz", good=numbers(9, 1), bad=values, ids=NAMES)
    found = both(b="two.npz")
    assert (
        found.attrs["failures"] == "two: array 'bad' has NaN or infinite numbers; its pairs are NaN"
    )
    assert found.similarity.sel(layer="bad").isnull().all()
    good = found.similarity.sel(model="a", layer="features", model_ref="two", layer_ref="good")
    assert good.squeeze().item() == between(both())


REFUSED = {
    "beside a network": (["features:path=a.npz", "vgg11"], {}, "beside 'vgg11'"),
    "by filters": (["features:path=a.npz"], {"metric": "energy"}, "which have no filters"),
    "dataset": (["features:path=a.npz"], {"dataset": ["cifar10"]}, "got dataset=, which is for"),
    "images in memory": (
        ["features:path=a.npz"],
        {"dataset": torch.rand(9, 3, 8, 8)},
        "got dataset=",
    ),
    "images": (["features:path=a.npz"], {"images": 10}, "got images="),
    "pool": (["features:path=a.npz"], {"pool": "mean"}, "got pool="),
    "precision": (["features:path=a.npz"], {"precision": "bfloat16"}, "got precision="),
    "channels": (["features:path=a.npz"], {"channels": "bgr"}, "got channels="),
    "frozen": (["features:path=a.npz:frozen=true"], {}, "got frozen= for"),
    "first": (["features:path=a.npz:first=frame/dct"], {}, "got first= for"),
    "option": (["features:path=a.npz:ids=other"], {}, "ids got 'other', expected file or order"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_features_cannot_do_is_refused(case, folder):
    models, options, words = REFUSED[case]
    with pytest.raises(UsageError, match=words):
        rs.compare(models, **{"metric": "cka", **options})


def test_options_of_trainings_are_said_to_change_nothing(folder):
    with pytest.warns(RepsimWarning, match="no network is trained here, so that seeds=5"):
        both(seeds=5)


def test_memory_is_counted_before(folder, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 10_000.0)
    with pytest.raises(UsageError, match="40 samples and 1 layers take .* take fewer samples"):
        both()


@pytest.mark.process
def test_arrays_that_do_not_fit_are_not_read(folder, monkeypatch):
    """A compressed file is small, whatever is in it."""
    np.savez_compressed("zeros.npz", features=np.zeros((COUNT, 1000)), ids=NAMES)
    data = xr.Dataset({"f": (("s", "d"), np.zeros((COUNT, 1000)))}, {"s": NAMES})
    data.to_netcdf("zeros.nc", encoding={"f": {"zlib": True}})
    monkeypatch.setattr(array_files, "available_memory", lambda: 8.0 * COUNT * 999)
    for name in ("zeros.npz", "zeros.nc"):
        assert (folder / name).stat().st_size < 20_000
        with pytest.raises(UsageError, match=f"'{name}' has arrays of 0.0 GB, expected at most"):
            both(a=name)


@pytest.mark.parametrize("command", [["train", "--models"], ["visualize"]])
def test_a_network_cannot_be_made_of_them(command, folder, repsim):
    to_draw = ["--layer", "0", "-o", "x.png"] if command == ["visualize"] else []
    done = repsim(*command, "features:path=a.npz", "--dataset", LEAVES, *to_draw)
    assert done.returncode == 2
    assert "which is no network but its features" in done.stderr


def test_the_command_prints_and_stores_them(folder, repsim):
    done = repsim(
        "compare",
        "--metric",
        "cka",
        "--models",
        "features:path=a.npz,mine=features:path=b.npz",
        "-o",
        "x.nc",
    )
    assert done.returncode == 0, done.stderr
    assert "cka on 40 samples" in done.stdout
    assert f"{between(both()):.3f}" in done.stdout
    stored = rs.open_result("x.nc")
    assert stored.model.values.tolist() == ["a", "mine"]
    models = json.loads(stored.attrs["configuration"])["models"]
    assert models["mine"]["options"] == {"path": "b.npz", "ids": "file", "sha256": ""}
    rs.write_report(stored, "x.html")
    assert "Features of 40 samples are from files." in (folder / "x.html").read_text()


def test_the_call_makes_the_result_again(folder):
    found = both(layers="x=features")
    code = found.attrs["command"]
    names = {}
    exec(code, names)
    np.testing.assert_array_equal(names["result"].similarity, found.similarity)


def test_half_samples_are_those_of_the_samples(folder):
    found = both(resamples=8)
    assert found.attrs["interval_over"] == "images"
    assert (
        float(found.ci_low.squeeze()[0, 1]) < between(found) < float(found.ci_high.squeeze()[0, 1])
    )
    parts = random_groups(COUNT, 8)
    for value, half in zip(found.half_similarity.values, half_samples(8), strict=True):
        rows = np.sort(np.concatenate([parts[g] for g in np.flatnonzero(half)]))
        expected = rs.cka(numbers(6, 0)[rows], numbers(9, 1)[rows])
        assert value[0, 0, 0, 0, 0, 1, 0, 0] == pytest.approx(expected, abs=1e-12)


def test_every_null_is_drawn_from_the_features(folder):
    np.savez("b.npz", features=numbers(6, 0) @ numbers(6, 3)[:6], ids=NAMES)
    for null in ("permutation", "rotation"):
        found = both(null=null, metric="cka:estimator=biased")
        assert found.attrs["null"] == null
        p, ends = found.p_value.squeeze().values, (found.null_low, found.null_high)
        assert p[0, 1] < 0.05
        assert ends[0].squeeze()[0, 1] < ends[1].squeeze()[0, 1] < between(found)
