"""Products in parts against the product of the whole."""

import pytest
import torch

from repsim_energy.numerics.cka.mixed_precision import RowProducts, typical_row


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("d", [1, 128, 300, 1500])
def test_parts_of_both_precisions_add_up(symmetric, repeated, d, rng):
    products = RowProducts(symmetric, repeated)
    total = 0
    for rows, dtype in ((30, torch.float32), (3, torch.float64), (20, torch.float32)):
        a = torch.randn(rows, d, generator=rng).to(dtype)
        b = a if symmetric else torch.randn(rows, 40, generator=rng).to(dtype)
        products.add(a, b)
        total = total + a.double().T @ b.double()
    u = torch.randn(d, generator=rng).double()
    v = u if symmetric else torch.randn(40, generator=rng).double()
    norm = float((total - torch.outer(u, v)).square().sum())
    assert products.squared_norm(u, v) == pytest.approx(norm, rel=1e-6)
    scale = float(total.norm() * u.norm() * v.norm())
    assert products.bilinear(u, v) == pytest.approx(float(u @ total @ v), abs=1e-6 * scale)
    torch.testing.assert_close(products.diagonal(), total.diagonal(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(products.whole(), total, rtol=1e-5, atol=1e-4)


def test_adding_the_same_number_over_and_over_costs_no_digits(rng):
    """Half of what centering makes of features behind a ReLU is one number."""
    y = torch.randn(2000, 200, generator=rng).relu()
    y -= y.mean(0)
    products = RowProducts(symmetric=True, repeated=True)
    products.add(y, y)
    exact, zero = y.double().T @ y.double(), torch.zeros(200, dtype=torch.float64)
    assert products.squared_norm(zero, zero) == pytest.approx(float(exact.square().sum()), rel=2e-8)
    torch.testing.assert_close(products.whole().diagonal(), exact.diagonal(), rtol=3e-7, atol=0)


def test_a_constant_column_leaves_nothing():
    x = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 1e8 / 3
    assert (x - typical_row(x))[:, 1].eq(0).all()
    torch.testing.assert_close(typical_row(x), x.mean(0), rtol=1e-5, atol=1e-5)
