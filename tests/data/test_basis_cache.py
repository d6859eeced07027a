"""Patch bases of known images come from the cache, the same bits as those that are measured."""

import shutil

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.data import basis_cache
from repsim_energy.errors import RepsimWarning


def images(kind="bytes", count=400):
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=draw).to(torch.uint8)
    if kind == "gray":
        return pixels[:, :1].expand(-1, 3, -1, -1).contiguous()
    return pixels if kind == "bytes" else pixels[: count // 2].float() / 255


def compared(pixels, **options):
    banks = torch.randn(2, 8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    return rs.compare(dict(zip("ab", banks, strict=True)), pixels, **options)


def equal(one, other):
    created = {"created"}
    assert {k: v for k, v in one.attrs.items() if k not in created} == {
        k: v for k, v in other.attrs.items() if k not in created
    }
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        np.testing.assert_array_equal(one[name].values, other[name].values)


def entries(cache):
    return sorted(path.name for path in cache.glob("bases/*"))


@pytest.mark.parametrize("kind", ["bytes", "floats"])
@pytest.mark.parametrize("options", [{}, {"resamples": 0}, {"patch": "4x3"}])
def test_the_stored_bases_give_the_same_bits(kind, options, fresh_cache):
    pixels = images(kind)
    measured = compared(pixels, **options)
    assert len(entries(fresh_cache)) == 1
    equal(compared(pixels, **options), measured)
    assert len(entries(fresh_cache)) == 1


def test_other_images_patches_and_groups_have_other_entries(fresh_cache):
    pixels = images()
    requests = [(pixels, {}), (255 - pixels, {}), (pixels, {"patch": "4x3"})]
    requests += [(pixels, {"resamples": 8}), (pixels.float() / 255, {})]
    results = [compared(which, **options) for which, options in requests]
    assert len(entries(fresh_cache)) == len(requests)
    shutil.rmtree(fresh_cache)
    for (which, options), before in zip(requests, results, strict=True):
        equal(compared(which, **options), before)


@pytest.mark.parametrize("setting", ["ONEDNN_MAX_CPU_ISA", "MKL_CBWR"])
def test_settings_that_change_how_products_round_are_part_of_the_key(setting, monkeypatch):
    shown = rs.ImageSet(images(), torch.zeros(400, dtype=torch.int64), (), "noise")
    keys = {basis_cache.bases_key(shown, (3, 3, 1, 1), 20)}
    monkeypatch.setenv(setting, "AVX2")
    keys.add(basis_cache.bases_key(shown, (3, 3, 1, 1), 20))
    assert len(keys) == 2


def test_a_damaged_entry_is_measured_again_with_a_warning(fresh_cache):
    pixels = images()
    before = compared(pixels)
    (entry,) = fresh_cache.glob("bases/*")
    whole = entry.read_bytes()
    entry.write_bytes(whole[:1000] + b"?" + whole[1001:])
    with pytest.warns(RepsimWarning, match="is damaged: .* patches are measured again"):
        again = compared(pixels)
    equal(again, before)
    assert entry.read_bytes() == whole


def test_an_entry_under_the_name_of_another_is_not_read(fresh_cache):
    first = compared(images())
    (entry,) = fresh_cache.glob("bases/*")
    compared(255 - images())
    (other,) = set(fresh_cache.glob("bases/*")) - {entry}
    shutil.copy(other, entry)
    with pytest.warns(RepsimWarning, match="is of another key"):
        equal(compared(images()), first)


def test_components_without_variance_are_warned_of_each_time(fresh_cache):
    for _ in range(2):
        with pytest.warns(RepsimWarning, match="18 of 27 components"):
            compared(images("gray"))
    assert not entries(fresh_cache)


def test_a_few_images_are_not_stored(fresh_cache):
    compared(images(count=100))
    assert not entries(fresh_cache)
