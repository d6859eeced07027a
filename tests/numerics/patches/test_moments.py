"""Patch moments and the basis: against a slow loop, mergeable, exact for whole numbers."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from repsim_energy.errors import DataError, RepsimWarning, ShapeError
from repsim_energy.numerics import checked_products
from repsim_energy.numerics.patches import batches, layout
from repsim_energy.numerics.patches.moments import patch_moments


def slow_moments(images, kh, kw):
    """Every patch by itself, in float64, channel-first."""
    found = []
    n, _, h, w = images.shape
    for i, y, x in itertools.product(range(n), range(h - kh + 1), range(w - kw + 1)):
        found.append(images[i, :, y : y + kh, x : x + kw].reshape(-1).double())
    stack = torch.stack(found)
    return len(found), stack.sum(0), stack.T @ stack


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_channels_last_are_summed_as_their_copy(channels):
    """The strides of a single channel are not those of a new tensor, which has the same order."""
    last = torch.arange(5 * 8 * 8 * channels).remainder(251).to(torch.uint8)
    images = last.reshape(5, 8, 8, channels).permute(0, 3, 1, 2)
    copy = torch.empty(images.shape, dtype=torch.uint8).copy_(images)
    assert torch.equal(patch_moments(images, (3, 3)).second, patch_moments(copy, (3, 3)).second)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(3, 7),
    st.integers(3, 7),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 10),
)
def test_moments_equal_a_loop_over_patches(n, c, h, w, kh, kw, whole, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, c, h, w, generator=generator, dtype=torch.float64)
    if whole:
        images = torch.randint(0, 256, (n, c, h, w), generator=generator, dtype=torch.uint8)
    moments = patch_moments(images, (kh, kw))
    count, total, second = slow_moments(images, kh, kw)
    assert moments.count == count
    torch.testing.assert_close(moments.total, total, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(moments.second, second, rtol=1e-12, atol=1e-9)


def test_moments_of_bytes_do_not_depend_on_the_split_by_a_single_bit(pictures, monkeypatch):
    whole = patch_moments(pictures.images, (3, 3))
    parts = [patch_moments(part, (3, 3)) for part in pictures.images.split(7)]
    backwards = parts[-1]
    for part in reversed(parts[:-1]):
        backwards = backwards + part
    monkeypatch.setattr(layout, "CHUNK_BYTES", 1)
    for other in (backwards, patch_moments(iter(pictures.images.split(11)), (3, 3))):
        assert other.count == whole.count
        assert torch.equal(other.second, whole.second)
        assert torch.equal(other.total, whole.total)


def test_arrays_files_and_loaders_give_the_same_moments(pictures, tmp_path, monkeypatch):
    expected = patch_moments(pictures.images, (3, 3))
    path = tmp_path / "images.npy"
    np.save(path, pictures.images.numpy())
    monkeypatch.setattr(batches, "CHUNK_BYTES", 10_000)  # some images of the file at a time
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    loader = DataLoader(TensorDataset(pictures.images, pictures.labels), batch_size=13)
    for source in (pictures.images.numpy(), mapped, loader, [mapped[:40], mapped[40:]]):
        found = patch_moments(source, (3, 3))
        assert found.count == expected.count
        assert torch.equal(found.second, expected.second)
        assert torch.equal(found.total, expected.total)


def test_bytes_are_read_as_zero_to_one(pictures):
    as_bytes = patch_moments(pictures.images, (3, 3)).basis()
    as_floats = patch_moments(pictures.images.double() / 255, (3, 3)).basis()
    torch.testing.assert_close(as_bytes.eigenvalues, as_floats.eigenvalues)
    torch.testing.assert_close(as_bytes.mean, as_floats.mean)


def test_basis_is_orthonormal_descending_and_explains_the_covariance(pictures):
    moments = patch_moments(pictures.images, (3, 3))
    basis = moments.basis()
    u, eigenvalues = basis.components, basis.eigenvalues
    torch.testing.assert_close(u @ u.T, torch.eye(27, dtype=torch.float64))
    assert (eigenvalues.diff() <= 0).all()
    torch.testing.assert_close(u.T @ torch.diag(eigenvalues) @ u, moments.covariance())
    uncentered = moments.basis(center=False)
    assert uncentered.eigenvalues[0] > eigenvalues[0]
    assert uncentered.basis_id != basis.basis_id


def test_components_are_flattened_channel_first():
    """One channel varies: the components of variance lie in that channel's block of entries."""
    images = torch.zeros(20, 3, 6, 6)
    images[:, 1] = torch.randn(20, 6, 6, generator=torch.Generator().manual_seed(1))
    with pytest.warns(RepsimWarning, match="8 of 12"):
        basis = patch_moments(images, (2, 2)).basis()
    strong = basis.components[basis.eigenvalues > 1e-6].reshape(-1, 3, 2, 2)
    assert len(strong) == 4
    assert strong[:, [0, 2]].abs().max() < 1e-9


def test_basis_id_follows_the_data(pictures):
    first = patch_moments(pictures.images, (3, 3)).basis().basis_id
    assert patch_moments(pictures.images.clone(), (3, 3)).basis().basis_id == first
    assert patch_moments(pictures.images[:-1], (3, 3)).basis().basis_id != first


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.zeros(0, 3, 8, 8), DataError, "no images"),
        ([], DataError, "no images"),
        (torch.full((2, 3, 8, 8), torch.nan), DataError, "NaN"),
        (torch.full((2, 3, 8, 8), torch.inf), DataError, "infinite"),
        (torch.full((9, 3, 8, 8), 0.3), DataError, "constant"),
        (torch.full((9, 3, 8, 8), 7, dtype=torch.uint8), DataError, "constant"),
        (torch.rand(1, 3, 4, 4), DataError, "4 patches for 27 components"),
        (torch.rand(3, 3, 2, 8), ShapeError, "smaller than the 3x3 kernel"),
        (torch.rand(3, 8, 8), ShapeError, r"\(n, c, h, w\)"),
        (torch.zeros(3, 3, 8, 8, dtype=torch.int64), ShapeError, "uint8 or float"),
    ],
)
def test_images_without_a_basis_are_refused(images, error, words):
    with pytest.raises(error, match=words):
        patch_moments(images, (3, 3)).basis()


def test_moments_of_different_patches_do_not_merge(pictures):
    with pytest.raises(ShapeError, match="cannot merge"):
        patch_moments(pictures.images, (3, 3)) + patch_moments(pictures.images, (2, 2))


ODD = [
    ((2, 3, 32, 32), (7, 7)),
    ((2, 3, 32, 32), (11, 11)),
    ((2, 2, 9, 70), (3, 5)),  # wider than a tile
    ((1, 1, 12, 112), (4, 20)),
    ((3, 1, 7, 8), (7, 2)),  # as high as the patch
    ((3, 1, 12, 12), (1, 4)),
    ((3, 1, 13, 12), (5, 1)),
    ((4, 2, 11, 11), (11, 11)),  # one place
    ((2, 1, 5, 5), (1, 1)),
]


@pytest.mark.parametrize(("shape", "patch"), ODD)
@pytest.mark.parametrize("values", ["any", "extreme", "dark", "bright"])
def test_moments_of_bytes_are_exact_for_every_shape(shape, patch, values, rng):
    images = torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)
    if values == "extreme":
        images = (images > 127) * torch.tensor(255, dtype=torch.uint8)
    elif values != "any":
        images = torch.full_like(images, 0 if values == "dark" else 255)
    moments = patch_moments(images, patch)
    count, total, second = slow_moments(images, *patch)
    assert moments.count == count
    assert torch.equal(moments.total, total)
    assert torch.equal(moments.second, second)


def test_as_many_products_as_are_multiplied_at_once_do_not_overflow():
    """One more than fits: the brightest images possible, beside the darkest."""
    count = checked_products.MAX_TERMS + 5
    for value in (0, 255):
        images = torch.full((1, 1, 1, 2), value, dtype=torch.uint8).expand(count, -1, -1, -1)
        moments = patch_moments(images, (1, 2))
        assert moments.second.unique().tolist() == [count * value**2]
        assert moments.total.unique().tolist() == [count * value]


@pytest.mark.parametrize("k", [3, 7])
def test_moments_of_single_precision_are_close(pictures, k):
    """Within 1e-6 of the largest eigenvalue, and a thousandth of the smallest."""
    images = pictures.images.double() / 255 + 3
    exact = patch_moments(images, (k, k)).basis()
    found = patch_moments(images.float(), (k, k)).basis()
    away = (found.eigenvalues - exact.eigenvalues).abs()
    assert away.max() <= 1e-6 * exact.eigenvalues[0]
    assert away[-1] <= 1e-3 * exact.eigenvalues[-1]
    half = patch_moments(images.half(), (k, k)).second
    expected = patch_moments(images.half().double(), (k, k)).second
    torch.testing.assert_close(half, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("threads", [2, 4])
def test_a_basis_has_the_same_bits_whatever_the_threads(threads, rng):
    images = torch.randint(0, 256, (40, 3, 16, 16), generator=rng, dtype=torch.uint8)
    before = torch.get_num_threads()
    try:
        ids = []
        for number in (1, threads):
            torch.set_num_threads(number)
            ids.append(patch_moments(images, (7, 7)).basis().basis_id)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert ids[0] == ids[1]


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def plain_moments(images, patch):
    """Sum and second moment of all patches in int64: one patch beside the other, no matrices."""
    windows = images.long().unfold(2, patch[0], 1).unfold(3, patch[1], 1)
    patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    rows = [(patches * column[:, None]).sum(0) for column in patches.T]
    return patches.sum(0), torch.stack(rows)


LARGE = [
    ((1, 1, 1, 1), (1, 1)),
    ((3, 5, 12, 13), (11, 11)),
    ((2, 1, 224, 224), (3, 3)),
    ((1, 3, 100, 98), (5, 4)),
    ((301, 2, 20, 20), (3, 2)),
    ((1, 4, 200, 9), (3, 8)),
]


@pytest.mark.parametrize(("shape", "patch"), LARGE)
@pytest.mark.parametrize("threads", [1, 3])
def test_chunks_and_passes_of_bytes_are_exact_in_every_memory_layout(
    shape, patch, threads, rng, monkeypatch, torch_threads
):
    torch_threads(threads)
    images = torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)
    total, second = plain_moments(images, patch)
    odd = torch.zeros(images.numel() + 1, dtype=torch.uint8)[1:].view(shape).copy_(images)
    wide = torch.zeros(*shape[:3], shape[3] + 3, dtype=torch.uint8)
    wide[..., 3:] = images
    last = images.contiguous(memory_format=torch.channels_last)
    for size in (layout.CHUNK_BYTES, 3000):
        monkeypatch.setattr(layout, "CHUNK_BYTES", size)
        for laid_out in (images, odd, wide[..., 3:], last, last.repeat_interleave(2, 0)[::2]):
            found = patch_moments(laid_out, patch)
            assert torch.equal(found.total, total.double())
            assert torch.equal(found.second, second.double())


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_threads_change_no_bit_of_sums_of_many_chunks(kind, rng, monkeypatch, torch_threads):
    images = torch.randint(0, 256, (90, 3, 40, 24), generator=rng, dtype=torch.uint8).to(kind)
    monkeypatch.setattr(layout, "CHUNK_BYTES", 100_000)
    found = []
    for threads in (1, 2, 5):
        torch_threads(threads)
        found.append(patch_moments(images, (5, 5)))
    for other in found[1:]:
        assert torch.equal(other.total, found[0].total)
        assert torch.equal(other.second, found[0].second)


def test_int32_sums_of_many_chunks_do_not_overflow(monkeypatch):
    """White images beside black ones, more of them than int32 holds the products of."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 64 * 8 * 1000)
    count = 3 * checked_products.MAX_TERMS // 8
    for value in (0, 255):
        images = torch.full((1, 1, 8, 8), value, dtype=torch.uint8).expand(count, -1, -1, -1)
        moments = patch_moments(images, (1, 1))
        assert moments.second.item() == count * 64 * value**2
