"""Activations flattened to a row per image."""

import numpy as np
import pytest
import torch

import repsim_energy as rs

VALUES = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


def test_rows_hold_the_activations_of_one_image_each():
    assert torch.equal(rs.flatten_activations(VALUES), VALUES.reshape(2, 60))
    assert torch.equal(rs.flatten_activations(VALUES.numpy()), VALUES.reshape(2, 60))
    assert rs.flatten_activations(VALUES.flatten(1)).shape == (2, 60)


def test_channels_last_are_not_copied_and_keep_one_order_for_all_images():
    last = VALUES.contiguous(memory_format=torch.channels_last)
    rows = rs.flatten_activations(last)
    assert rows.data_ptr() == last.data_ptr()
    order = [row.sort().indices for row in rows]
    assert torch.equal(*order)
    assert torch.equal(rows.sort().values, VALUES.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int32, torch.bool])
def test_types_stay_and_graphs_go(dtype):
    assert rs.flatten_activations(VALUES.to(dtype)).dtype == dtype
    assert not rs.flatten_activations(VALUES.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(dtype, value):
    values = VALUES.to(dtype).clone()
    values[1, 2, 3, 4] = value
    with pytest.raises(rs.DataError, match="NaN or infinite values, expected finite"):
        rs.flatten_activations(values)


def test_one_number_per_image_is_one_feature():
    assert torch.equal(rs.flatten_activations(torch.arange(3.0)), torch.tensor([[0.0], [1], [2]]))
    with pytest.raises(rs.ShapeError, match=r"single number, expected \(images, ...\)"):
        rs.flatten_activations(torch.tensor(1.0))


def test_activations_without_features_or_images():
    assert rs.flatten_activations(torch.zeros(3, 0)).shape == (3, 0)
    assert rs.flatten_activations(torch.zeros(0, 4, 2)).shape == (0, 8)
