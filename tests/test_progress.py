"""Pieces of work report themselves to whoever listens, and cost nothing where nobody does."""

import functools
import hashlib
import http.server
import io
import pickle
import shutil
import tarfile
import threading
from itertools import pairwise

import pytest
import torch
from samples import LEAVES, RECIPE, TINY, EveryReport, noise_images
from torchvision import datasets

import repsim_energy as rs
from repsim_energy import progress
from repsim_energy.comparison import layers
from repsim_energy.data import class_folders, leaf_renderer, published
from repsim_energy.data.arrays import image_set_of_items
from repsim_energy.data.torchvision_sets import cifar10
from repsim_energy.errors import FileError, RepsimError, RepsimWarning
from repsim_energy.files import downloads
from repsim_energy.interfaces import hashing
from repsim_energy.models.architectures import torchvision_zoo
from repsim_energy.numerics.patches import layout
from repsim_energy.progress import reporting, working
from repsim_energy.registry import resolve_model
from repsim_energy.training.together import run_together
from repsim_energy.training.training import Training


@pytest.fixture
def heard(monkeypatch):
    reporter = EveryReport(monkeypatch)
    with reporting(reporter):
        yield reporter


def check_whole(heard, label, total, unit):
    """One piece: from 0, never falling, to its total, with one last report."""
    pieces = [one for one in heard.pieces if one.label == label]
    counts = [one.done for one in pieces]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == total
    assert [one.ended for one in pieces] == [False] * (len(pieces) - 1) + [True]
    assert {(one.total, one.unit) for one in pieces} == {(total, unit)}
    return counts


def test_reports_have_a_distance(monkeypatch):
    """A unit every 10 ms of a fake clock: a report every tenth of a second, and the ends."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    heard = []

    class Listener(rs.Reporter):
        def work(self, work):
            heard.append((round(now[0], 2), work.done, work.ended))

    with reporting(Listener()), working("counting", 35, "units") as advance:
        for _ in range(35):
            now[0] += 0.01
            advance(1)
    times = [time for time, *_ in heard]
    assert times[0] == 0.0
    assert all(0.1 - 1e-9 <= b - a < 0.125 for a, b in pairwise(times[:-1]))
    assert heard[-1] == (0.35, 35, True)


def test_a_piece_that_fails_ends_where_it_is(heard):
    def fail():
        with working("counting", 10, "units") as advance:
            advance(3)
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    last = heard.pieces[-1]
    assert (last.done, last.total, last.ended) == (3, 10, True)


def test_parts_of_units_add_up(heard):
    with working("thirds", 10, "units") as advance:
        for _ in range(30):
            advance(1 / 3)
    check_whole(heard, "thirds", 10, "units")


def test_other_threads_and_reporters_that_do_not_listen_report_nothing(heard):
    def work():
        with working("elsewhere", 1, "units") as advance:
            advance(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard.pieces == []
    with reporting(rs.Reporter()):  # the outer one still listens
        work()
    check_whole(heard, "elsewhere", 1, "units")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("width", [12, 90])
def test_patch_sums_count_images_and_stay_the_same(heard, monkeypatch, dtype, width):
    images = noise_images(1500, (3, 8, width)).images.to(dtype)
    expected = rs.patch_moments(images, (3, 3))
    heard.pieces.clear()
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1024)
    moments = rs.patch_moments(images, (3, 3))
    counts = check_whole(heard, "summing 3x3 patches", 1500, "images")
    assert len(set(counts)) > 4
    torch.testing.assert_close(moments.second, expected.second, rtol=1e-6, atol=0)


def test_quantities_of_each_image_are_counted(heard):
    images = noise_images(600, (1, 6, 6)).images
    rs.average_patches(images, (3, 3))
    assert check_whole(heard, "measuring patches of each image", 600, "images")[1:3] == [256, 512]


def test_files_of_a_folder_are_counted_once_while_they_are_listed(heard, monkeypatch, photos):
    monkeypatch.setattr(class_folders, "FILES_PER_REPORT", 4)
    (photos / "train" / "cat" / "notes.txt").write_text("mine")
    with pytest.warns(rs.RepsimWarning, match="1 files are left out"):
        class_folders.list_pictures(photos, "train")
    label = f"listing {photos.name}, train"
    counts = heard.counts(label)
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] == 12 + 1  # of this split alone
    assert max(b - a for a, b in pairwise(counts)) == 4
    assert {(one.total, one.unit) for one in heard.pieces} == {(None, "files")}
    assert [one.ended for one in heard.pieces] == [False] * (len(counts) - 1) + [True]


def test_rendering_is_counted(heard):
    leaf_renderer.render("train", 300)
    assert check_whole(heard, "rendering deadleaves, train", 300, "images")[1] == 256


def test_items_of_torch_data_sets_are_counted(heard):
    images = noise_images(7, (3, 8, 8))
    items = torch.utils.data.TensorDataset(images.images, images.labels)
    image_set_of_items(items)
    check_whole(heard, "reading TensorDataset", 7, "images")
    heard.pieces.clear()
    image_set_of_items(torch.utils.data.DataLoader(items, batch_size=3))
    assert heard.counts("reading TensorDataset") == [0, 1, 2, 3, 3]
    assert {one.total for one in heard.pieces} == {None}


def test_hashes_of_large_arrays_and_files_are_counted_and_right(heard, monkeypatch, tmp_path):
    values = torch.arange(1000, dtype=torch.int32)
    expected = hashing.tensor_digest(values)
    (tmp_path / "m.pt").write_bytes(values.numpy().tobytes())
    with (tmp_path / "m.pt").open("rb") as file:
        of_file = hashing.file_digest(file, "m.pt")
    assert heard.pieces == []  # too small for a report
    monkeypatch.setattr(hashing, "MIN_REPORTED_BYTES", 4000)
    monkeypatch.setattr(hashing, "PART_BYTES", 1500)
    assert hashing.tensor_digest(values) == expected
    assert hashing.tensor_digest(values.view(10, 100)[:, :50]) == hashing.tensor_digest(
        values.view(10, 100)[:, :50].clone()
    )
    assert hashing.bytes_digest(values.numpy().data, "array").hex() == of_file
    with (tmp_path / "m.pt").open("rb") as file:
        file.seek(7)
        assert hashing.file_digest(file, "m.pt") == of_file
    for label in ("SHA-256 of an array", "array", "SHA-256 of m.pt"):
        assert check_whole(heard, label, 4000, "bytes") == [0, 1500, 3000, 4000, 4000]


def test_one_pass_of_cka_counts_every_image_of_every_network(heard):
    options = {"metric": "cka:batch=16", "layers": "convs", "images": 60, "recipe": RECIPE}
    rs.compare([TINY, f"other={TINY}:width=2"], LEAVES, seeds=2, reporter=heard, **options)
    shown = 4 * (60 // 15) * 15  # four batches of 15
    check_whole(heard, "showing images to networks", shown, "images")


def test_every_pass_of_cka_is_counted(heard, monkeypatch):
    monkeypatch.setattr(layers, "MAX_ACTIVATION_BYTES", 1)  # a pass for each layer
    options = {"layers": "first,output", "images": 60, "recipe": RECIPE}
    rs.compare(TINY, LEAVES, "cka", seeds=1, reporter=heard, **options)
    check_whole(heard, "showing images to networks", 120, "images")


def test_seeds_in_one_batch_report_their_steps(heard):
    images = noise_images(40, (3, 8, 8))
    data = rs.Dataset("noise", images, images)
    model = resolve_model(rs.load_registry(), TINY)
    trainings = [Training(model, data, seed, RECIPE) for seed in (0, 3)]
    found = run_together(trainings, torch.device("cpu"))
    assert [run.history.steps for run in found] == [6, 6]
    check_whole(heard, f"{TINY} seeds 0, 3", 6, "steps")


def test_chunks_are_counted_with_and_without_a_total(monkeypatch, tmp_path):
    heard = EveryReport(monkeypatch)
    batches = noise_images(8, (1, 6, 6)).images.split(2)
    chunks = [functools.partial(torch.clone, batch) for batch in batches]
    rs.patch_moments_of_chunks(iter(chunks), (3, 3), reporter=heard)
    assert heard.counts("summing chunks") == [0, 1, 2, 3, 4, 4]
    assert {one.total for one in heard.pieces if one.unit == "chunks"} == {None}
    heard.pieces.clear()
    path = tmp_path / "sums"
    for count in (3, 4):
        rs.patch_moments_of_chunks(chunks[:count], (3, 3), checkpoint=path, reporter=heard)
    last = [one for one in heard.pieces if one.unit == "chunks"][-1]
    assert (last.done, last.total) == (1, 1)  # three are in the checkpoint


def write_cifar(folder):
    """An archive of 20 images in the layout of CIFAR-10, and its data set for torchvision."""
    files = {}
    for name in ("data_batch_1", "test_batch"):
        pixels = noise_images(20, (3, 32, 32)).images.numpy().reshape(20, -1)
        content = {"data": pixels, "labels": [i % 10 for i in range(20)]}
        files[name] = pickle.dumps(content, protocol=2)  # as the published ones
    files["batches.meta"] = pickle.dumps({"label_names": list("abcdefghij")}, protocol=2)
    with tarfile.open(folder / "cifar-tiny.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-tiny/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}

    class Tiny(datasets.CIFAR10):
        base_folder, filename = "cifar-tiny", "cifar-tiny.tar.gz"
        tgz_md5 = hashlib.md5((folder / filename).read_bytes()).hexdigest()
        train_list = (("data_batch_1", md5["data_batch_1"]),)
        test_list = (("test_batch", md5["test_batch"]),)
        meta = {"filename": "batches.meta", "key": "label_names", "md5": md5["batches.meta"]}  # noqa: RUF012

    return Tiny, (folder / "cifar-tiny.tar.gz").read_bytes()


class _Server(http.server.BaseHTTPRequestHandler):
    content, promised = b"x" * 600_000, None

    def do_GET(self):
        self.send_response(200 if self.path.startswith("/file") else 404)
        if self.promised:
            self.send_header("Content-Length", str(self.promised))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        server.handle_error = lambda *_: None  # a client may leave before the end
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("promised", [600_000, None])
def test_a_download_counts_bytes(heard, monkeypatch, tmp_path, address, promised):
    monkeypatch.setattr(_Server, "promised", promised)
    downloads.download(address, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == _Server.content
    assert heard.pieces[-1].done == 600_000
    assert {one.total for one in heard.pieces} == {promised}
    assert len(set(heard.counts("downloading file.bin"))) > 2


def test_a_download_that_fails_leaves_nothing(monkeypatch, tmp_path, address):
    monkeypatch.setattr(_Server, "promised", 700_000)
    with pytest.raises(RepsimError, match="ended early"):
        downloads.download(address, tmp_path / "file.bin")
    with pytest.raises(OSError, match="404"):
        downloads.download(address.replace("file", "none"), tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_trainings_that_are_missing_are_counted(heard, fresh_cache):
    for seeds, missing in ((2, 2), (3, 1), (3, None)):
        heard.pieces.clear()
        rs.compare(TINY, LEAVES, seeds=seeds, recipe=RECIPE, reporter=heard)
        if missing is None:
            assert heard.counts("training networks") == []
        else:
            check_whole(heard, "training networks", missing, "networks")


def test_a_data_set_is_downloaded_once_with_progress_of_ours(
    heard, monkeypatch, tmp_path, address, capfd
):
    (tmp_path / "server").mkdir()
    tiny, content = write_cifar(tmp_path / "server")
    tiny.url = address
    monkeypatch.setattr(_Server, "content", content)
    monkeypatch.setattr(_Server, "promised", len(content))
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(published, "CIFAR10", tiny)
    for _ in range(2):
        assert len(cifar10("train", root=root)) == 20
    check_whole(heard, "downloading cifar-tiny.tar.gz", len(content), "bytes")
    shutil.rmtree(root / "cifar-tiny")
    assert len(cifar10("test", root=root)) == 20  # from the archive
    assert len({id(one) for one in heard.pieces if one.done == 0}) == 1
    shutil.rmtree(root / "cifar-tiny")
    (root / "cifar-tiny.tar.gz").write_bytes(b"damaged")
    assert len(cifar10("test", root=root)) == 20
    assert capfd.readouterr() == ("", "")


def test_weights_are_downloaded_with_progress_and_checked(heard, monkeypatch, tmp_path, address):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = io.BytesIO()
    torch.save({"weight": torch.ones(1000)}, content)
    monkeypatch.setattr(_Server, "content", content.getvalue())
    stem = f"net-{hashlib.sha256(_Server.content).hexdigest()[:8]}"
    for _ in range(2):
        state = torchvision_zoo._published_state(f"{address}/{stem}.pth")
        assert torch.equal(state["weight"], torch.ones(1000))
    assert heard.pieces[-1].done == len(_Server.content)
    assert len({id(one) for one in heard.pieces if one.done == 0}) == 1
    with pytest.raises(FileError, match="as in its name.*the published file"):
        torchvision_zoo._published_state(f"{address}/net-00000000.pth")
    with pytest.warns(RepsimWarning, match="could not be compared with the published file"):
        torchvision_zoo._published_state(f"{address}/file.pth")
