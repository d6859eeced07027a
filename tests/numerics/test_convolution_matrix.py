"""The sparse matrix of a convolutional layer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import repsim_energy as rs
from repsim_energy.errors import ShapeError, UsageError

MODES = {"circular": "circular", "zeros": "constant"}
SHAPES = [
    ((3, 2, 3, 3), (7, 9)),
    ((2, 3, 5, 4), (6, 8)),
    ((4, 1, 1, 2), (1, 5)),
    ((1, 2, 5, 5), (5, 5)),
]


def convolved(images, filters, boundary):
    """Return the output of the layer, padded by hand."""
    rows, columns = filters.shape[2:]
    top, left = (rows - 1) // 2, (columns - 1) // 2
    padding = (left, columns - 1 - left, top, rows - 1 - top)
    return F.conv2d(F.pad(images, padding, mode=MODES[boundary]), filters)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_it_is_the_convolution_and_its_adjoint(boundary, shape, size, rng):
    filters = torch.randn(shape, generator=rng, dtype=torch.float64)
    matrix = rs.convolution_matrix(filters, size, boundary=boundary)
    images = torch.randn(1, shape[1], *size, generator=rng, dtype=torch.float64)
    output = convolved(images.requires_grad_(), filters, boundary)
    assert matrix.shape == (output.numel(), images.numel())
    x = images.detach().flatten().numpy()
    np.testing.assert_allclose(matrix @ x, output.detach().flatten(), rtol=0, atol=1e-12)
    y = torch.randn(output.shape, generator=rng, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(output, images, y)
    np.testing.assert_allclose(matrix.T @ y.flatten(), gradient.flatten(), rtol=0, atol=1e-12)
    assert float((matrix @ x) @ y.flatten().numpy()) == pytest.approx(
        float(x @ gradient.flatten().numpy()), abs=1e-12
    )


@pytest.mark.parametrize("boundary", MODES)
def test_every_entry_is_that_of_the_formula(boundary, rng):
    filters = torch.randn(2, 3, 3, 2, generator=rng, dtype=torch.float64).numpy()
    expected = np.zeros((2 * 4 * 5, 3 * 4 * 5))
    for k, c, a, b, i, j in np.ndindex(2, 3, 3, 2, 4, 5):
        row, column = i + a - 1, j + b
        inside = row in range(4) and column in range(5)
        if boundary == "circular" or inside:
            source = (c * 4 + row % 4) * 5 + column % 5
            expected[(k * 4 + i) * 5 + j, source] += filters[k, c, a, b]
    found = rs.convolution_matrix(filters, (4, 5), boundary=boundary)
    np.testing.assert_array_equal(found.toarray(), expected)


def test_a_circular_matrix_commutes_with_shifts(rng):
    matrix = rs.convolution_matrix(torch.randn(1, 1, 3, 3, generator=rng), (6, 7))
    image = torch.randn(6, 7, generator=rng, dtype=torch.float64).numpy()
    shifted = np.roll(image, (2, 3), (0, 1))
    expected = np.roll((matrix @ image.ravel()).reshape(6, 7), (2, 3), (0, 1))
    np.testing.assert_allclose((matrix @ shifted.ravel()).reshape(6, 7), expected, atol=1e-12)


def test_filters_larger_than_a_circular_image_wrap_around_it():
    """Which torch refuses: each column sums all entries of the filter that meet there."""
    found = rs.convolution_matrix(np.ones((1, 1, 1, 7)), (1, 3))
    np.testing.assert_array_equal(found.toarray().sum(0), [7, 7, 7])


def test_shapes_and_boundaries_that_do_not_exist_are_refused():
    filters = np.ones((2, 3, 3, 3))
    with pytest.raises(ShapeError, match=r"shape \(3, 3, 3\), expected \(k, c, hk, wk\)"):
        rs.convolution_matrix(filters[0], (4, 4))
    for size in ((4,), (0, 4), (4, 4, 4)):
        with pytest.raises(ShapeError, match="expected height and width"):
            rs.convolution_matrix(filters, size)
    with pytest.raises(UsageError, match="boundary 'reflect', expected circular or zeros"):
        rs.convolution_matrix(filters, (4, 4), boundary="reflect")
