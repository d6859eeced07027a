"""Choices of positions against loops over them, and what they do not depend on."""

import numpy as np
import pytest
import torch

from repsim_energy.numerics.positions import View

LAYOUTS = {  # shape for one image, axis of features
    "maps": ((5, 3, 4), 1),
    "maps, features last": ((3, 4, 5), 3),
    "rows": ((5, 6), 1),
    "tokens": ((7, 5), 2),
    "volumes": ((5, 2, 3, 2), 1),
}


def values(shape, images=6):
    return torch.randn(images, *shape, generator=torch.Generator().manual_seed(1))


def loop(activations, axis):
    """(n, positions, features) in float64, one number at a time."""
    array = activations.double().numpy()
    places = list(np.ndindex(*(s for i, s in enumerate(array.shape) if i not in (0, axis))))
    out = np.empty((len(array), len(places), array.shape[axis]))
    for n in range(len(array)):
        for p, place in enumerate(places):
            for f in range(array.shape[axis]):
                index = [n, *place]
                index.insert(axis, f)
                out[n, p, f] = array[tuple(index)]
    return out


@pytest.mark.parametrize(("shape", "axis"), LAYOUTS.values(), ids=LAYOUTS)
def test_positions_are_those_of_a_loop(shape, axis):
    activations = values(shape)
    rows = loop(activations, axis)
    expected = {"mean": rows.mean(1), "max": rows.max(1), "none": rows.reshape(-1, rows.shape[2])}
    for pool, numbers in expected.items():
        view = View(shape, axis, pool)
        np.testing.assert_allclose(view(activations), numbers, rtol=0, atol=1e-7)
        samples = rows.shape[1] if pool == "none" else 1
        assert view(activations).numel() == view.size * len(activations)
        assert np.prod(view.sample_grid) == samples
    assert View(shape, axis)(activations) is activations
    assert View(shape, axis).size == np.prod(shape)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_moving_positions_changes_nothing(pool):
    maps = values((5, 3, 4))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    moved = maps.flatten(2)[:, :, order].view_as(maps)
    view = View((5, 3, 4), 1, pool)
    np.testing.assert_allclose(view(maps), view(moved), atol=1e-7)


def test_positions_of_an_image_stay_together_in_the_order_of_rows():
    maps = values((2, 3, 4))
    rows = View((2, 3, 4), 1, "none")(maps)
    np.testing.assert_array_equal(rows[12 * 4 + 4 * 2 + 3], maps[4, :, 2, 3])


def test_a_mean_of_large_offsets_is_that_of_float64():
    maps = values((2, 50, 50)) + 1e4
    view = View((2, 50, 50), 1, "mean")
    exact = maps.double().mean((2, 3))
    np.testing.assert_array_equal(view(maps), exact.float())


@pytest.mark.parametrize("pool", ["flatten", "mean", "max", "none"])
def test_tokens_are_chosen_before_positions_are_pooled(pool):
    tokens = values((7, 5))
    np.testing.assert_array_equal(View((7, 5), 2, pool, "cls")(tokens), tokens[:, 0])
    mean = View((7, 5), 2, pool, "mean")
    np.testing.assert_allclose(mean(tokens), tokens.double().mean(1), atol=1e-7)
    assert mean.sample_grid == ()
    assert mean.size == 5


def test_maps_have_no_tokens():
    for shape, axis in (((5, 3, 4), 1), ((3, 4, 5), 3), ((5, 6), 1), ((6,), 1)):
        activations = values(shape)
        assert View(shape, axis, tokens="cls")(activations) is activations


@pytest.mark.parametrize("pool", ["mean", "max", "none"])
def test_an_output_without_positions_is_left_as_it_is(pool):
    for shape in ((6,), ()):
        view = View(shape, 1, pool)
        assert view(values(shape)) is not None
        np.testing.assert_array_equal(view(values(shape)), values(shape))
        assert view.sample_grid == ()
        assert view.size == np.prod(shape)
