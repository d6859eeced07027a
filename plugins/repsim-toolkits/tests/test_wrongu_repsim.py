"""wrongu/repsim: the space of profiles keeps what its base class asks."""

from __future__ import annotations

import math

import pytest
import repsim_energy as rs
import signatures
import torch

from repsim_toolkits import component_matrix


@pytest.fixture(params=["real", "signature check"])
def module(request, adapter):
    check = request.param == "signature check"
    return adapter("wrongu_repsim", signatures.wrongu_repsim() if check else None)


@pytest.fixture
def points(module, banks, basis):
    space = module.EnergyProfileAngle(m=27)
    matrices = [torch.from_numpy(component_matrix(bank, basis)) for bank in banks]
    return space, [space.neural_data_to_point(x) for x in matrices]


def test_points_are_in_the_space_and_projection_leaves_them(points):
    space, found = points
    assert (space.m, space.dim, space.ambient, space.shape) == (27, 25, 27, (27,))
    assert space.is_spherical
    assert space.string_id() == "EnergyProfileAngle.27"
    for point in found:
        assert space.contains(point)
        torch.testing.assert_close(space.project(point), point, rtol=0, atol=1e-15)
        far = 3 * point + 2
        for outside in (far, 3 * point, torch.full((27,), 27**-0.5), point[1:]):
            assert not space.contains(outside)
        torch.testing.assert_close(space.project(far), point, rtol=0, atol=1e-12)


def test_lengths_are_a_metric(points):
    space, (a, b, c, _) = points
    assert space.length(a, a) == 0
    assert space.length(a, -a).item() == pytest.approx(math.pi)
    assert space.length(a, b) == space.length(b, a)
    assert space.length(a, c) <= space.length(a, b) + space.length(b, c)
    close = space.project(a + 1e-10 * (b - a.dot(b) * a))
    assert space.length(a, close).item() == pytest.approx(
        1e-10 * math.sin(space.length(a, b)), rel=1e-4
    )


def test_lengths_can_be_differentiated(points):
    space, (a, b, *_) = points
    assert torch.autograd.gradcheck(lambda p: space._length_impl(p, b), a.requires_grad_())
    same = a.detach().clone().requires_grad_()
    space._length_impl(same, a.detach()).backward()
    assert torch.isfinite(same.grad).all()


def test_the_geodesic_halves_the_way(points):
    space, (a, b, *_) = points
    if not hasattr(space, "geodesic"):
        pytest.skip("the signature check has no optimizer; needs the real wrongu/repsim")
    half = space.geodesic(a.detach(), b, frac=0.5)
    for end in (a, b):
        assert space.length(end, half).item() == pytest.approx(
            space.length(a, b).item() / 2, abs=1e-3
        )


def test_a_matrix_of_other_components_is_refused(points):
    space, _ = points
    with pytest.raises(rs.ShapeError, match=r"147 components but the space 27; take .*m=147"):
        space.neural_data_to_point(torch.zeros(147, 3))
