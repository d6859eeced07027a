"""Gradients of networks by patches: finite differences, networks of known gradients, refusals."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import repsim_energy as rs


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Smooth(nn.Module):
    """A small network with a batch norm, whose later part can be called alone."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(2, 5, 3, **options)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Conv2d(5, 3, 2)
        self.double()
        self.norm.running_mean.copy_(drawn(5))
        self.norm.running_var.copy_(1 + drawn(5).abs())

    def rest(self, responses):
        return torch.tanh(self.head(torch.tanh(self.norm(responses)))).sum((2, 3))

    def forward(self, images):
        return self.rest(self.conv(images))


@pytest.mark.parametrize(
    "options", [{}, {"padding": 1, "stride": 2}, {"groups": 1, "bias": False, "padding": 2}]
)
def test_it_is_the_outer_product_of_differences_by_every_patch(options):
    """Each patch is changed alone, as if it did not overlap with its neighbors."""
    net, images = Smooth(**options).eval(), drawn(3, 2, 5, 5)
    step, total = 1e-5, np.zeros((18, 18))
    with torch.no_grad():
        filters = net.conv.weight.flatten(1)
        for image in images:
            responses = net.conv(image[None])
            for y in range(responses.shape[2]):
                for x in range(responses.shape[3]):
                    slopes = []
                    for direction in filters.T:  # the responses to one pixel of the patch
                        ends = []
                        for sign in (1, -1):
                            moved = responses.clone()
                            moved[0, :, y, x] += sign * step * direction
                            ends.append(net.rest(moved)[0])
                        slopes.append((ends[0] - ends[1]) / (2 * step))
                    by_pixel = torch.stack(slopes).numpy()  # (pixel, output)
                    total += by_pixel @ by_pixel.T / len(images)
    found = rs.gradient_covariance(net, images, batch=2)
    assert np.abs(found - total).max() <= 1e-8 * np.abs(total).max()
    np.testing.assert_array_equal(found, found.T)


def test_it_is_that_of_gradients_by_unfolded_patches():
    net, images = Smooth().eval(), drawn(4, 2, 6, 6)
    patches = F.unfold(images, 3).requires_grad_()
    responses = net.conv.weight.flatten(1) @ patches + net.conv.bias[:, None]
    values = net.rest(responses.view(4, 5, 4, 4))
    total = 0
    for output in values.T:
        (slope,) = torch.autograd.grad(output.sum(), patches, retain_graph=True)
        rows = slope.transpose(1, 2).flatten(0, 1)
        total = total + rows.T @ rows / 4
    np.testing.assert_allclose(rs.gradient_covariance(net, images), total, rtol=1e-10, atol=1e-14)


def test_outputs_add_up_and_can_be_chosen():
    net, images = Smooth(), drawn(4, 2, 6, 6)
    parts = [
        rs.gradient_covariance(net, images, outputs=lambda found, o=o: found[:, o])
        for o in range(3)
    ]
    np.testing.assert_allclose(sum(parts), rs.gradient_covariance(net, images), rtol=1e-12)


def test_the_network_is_as_before_and_its_mode_does_not_matter():
    net, images = Smooth(), drawn(4, 2, 6, 6)
    net.train()
    net.conv.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        found = rs.gradient_covariance(net, images.numpy())
    assert net.training
    assert net.norm.training
    assert not net.conv._forward_hooks
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    np.testing.assert_array_equal(found, rs.gradient_covariance(net.eval(), images))


def test_layers_that_work_in_place_and_dead_units_are_no_obstacle():
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(1, 4, 3), nn.Linear(4, 2)
    with torch.no_grad():
        conv.bias[0] = -100.0
    nets = [
        nn.Sequential(conv, nn.ReLU(inplace=place), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
        for place in (True, False)
    ]
    one, other = (rs.gradient_covariance(net, drawn(5, 1, 6, 6).float()) for net in nets)
    np.testing.assert_array_equal(one, other)
    alone = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 2, bias=False))
    nn.init.zeros_(alone[2].weight)
    assert not rs.gradient_covariance(alone, drawn(5, 1, 6, 6).float()).any()


def test_dilated_and_grouped_convolutions_have_the_filters_that_they_apply():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2, dilation=2), nn.Tanh(), nn.Flatten())
    found = rs.gradient_covariance(net, drawn(2, 4, 7, 7))
    filters = rs.read_filters(net[0])
    assert found.shape == (100, 100) == (filters[0].numel(),) * 2
    assert np.linalg.matrix_rank(found) <= 4


def test_the_ansatz_holds_exactly_in_a_balanced_linear_network_of_two_layers():
    """There A'A = WW', so that G = (W'W)² and its square root is W'W."""
    net = nn.Sequential(nn.Conv2d(2, 6, 3, bias=False), nn.Flatten(), nn.Linear(6, 6, bias=False))
    net.double()
    left, right = (torch.linalg.qr(drawn(n, 6, seed=n))[0] for n in (6, 18))
    values = torch.linspace(0.2, 2, 6, dtype=torch.float64)
    with torch.no_grad():
        net[0].weight.copy_((left * values @ right.T).view(6, 2, 3, 3))
        net[2].weight.copy_(torch.linalg.qr(drawn(6, 6, seed=1))[0] * values @ left.T)
    gradient = rs.gradient_covariance(net, drawn(7, 2, 3, 3))
    weights = net[0].weight.detach()
    gram = (weights.flatten(1).T @ weights.flatten(1)).numpy()
    np.testing.assert_allclose(gradient, gram @ gram, atol=1e-12)
    assert rs.neural_feature_ansatz(weights, gradient) == pytest.approx(1, abs=1e-12)
    assert rs.neural_feature_ansatz(weights, gradient, alpha=1) < 0.99
    expected = np.corrcoef(gram.ravel(), gradient.ravel())[0, 1]
    assert rs.neural_feature_ansatz(weights, gradient, alpha=1) == pytest.approx(expected)


def test_white_filters_and_other_gradients_are_uncorrelated_beside_the_diagonal():
    filters, others = drawn(64, 27), drawn(64, 27, seed=1)
    gram, other = (w.T @ w for w in (filters, others))
    other = other - torch.diag(torch.diag(other))
    other = other + 20 * torch.eye(27, dtype=torch.float64)
    assert rs.neural_feature_ansatz(filters, gram, alpha=1) == pytest.approx(1)
    assert 0.1 < rs.neural_feature_ansatz(filters, other, alpha=1) < 0.9


@pytest.mark.parametrize("gradient", [np.zeros((4, 4)), np.ones((4, 4)), np.full((4, 4), np.nan)])
def test_a_constant_gradient_has_no_correlation(gradient):
    with pytest.warns(rs.UndefinedSimilarityWarning, match="constant or not finite"):
        assert np.isnan(rs.neural_feature_ansatz(drawn(5, 4), gradient))


class Twice(Smooth):
    """Calls its layer for two scales."""

    def forward(self, images):
        return super().forward(images) + super().forward(images.flip(3))


class Detached(Smooth):
    """Has no gradient."""

    def forward(self, images):
        return super().forward(images).detach()


class Several(Smooth):
    """Returns a mapping."""

    def forward(self, images):
        return {"logits": super().forward(images)}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"images": drawn(2, 5, 5)}, rs.ShapeError, r"expected \(n, c, h, w\)"),
        ({"images": drawn(2, 2, 5, 5).byte()}, rs.DataError, "expected floating point"),
        ({"images": drawn(2, 3, 5, 5)}, rs.UsageError, "fails on 5x5x3 images"),
        ({"batch": 0}, rs.UsageError, "at least 1 image"),
        ({"layer": "cnv"}, rs.UsageError, "did you mean 'conv'"),
        ({"module": nn.Linear(3, 3)}, rs.UsageError, "no Conv2d layer"),
        ({"module": Twice()}, rs.UsageError, "'conv' 2 times per image"),
        ({"module": Detached()}, rs.UsageError, "have no gradient"),
        ({"module": Several()}, rs.UsageError, "returns dict, expected a tensor"),
        ({"outputs": lambda y: y[0]}, rs.ShapeError, "a row per image"),
        ({"outputs": lambda y: y[:, 7]}, rs.UsageError, "images and outputs= that fit"),
        ({"images": drawn(2, 2, 5, 5) * np.nan}, rs.DataError, "NaN or infinite"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(change, error, text):
    given = {"module": Smooth(), "images": drawn(2, 2, 5, 5), **change}
    with pytest.raises(error, match=text) as caught:
        rs.gradient_covariance(**given)
    assert "\n" not in str(caught.value)


def test_one_of_several_outputs_is_chosen():
    images = drawn(2, 2, 5, 5)
    found = rs.gradient_covariance(Several(), images, outputs=lambda y: y["logits"])
    np.testing.assert_array_equal(found, rs.gradient_covariance(Smooth(), images))


def test_an_ansatz_of_other_sizes_is_refused():
    with pytest.raises(rs.ShapeError, match=r"use rs.gradient_covariance"):
        rs.neural_feature_ansatz(drawn(5, 4), np.eye(5))
    with pytest.raises(rs.UsageError, match="expected a positive number"):
        rs.neural_feature_ansatz(drawn(5, 4), np.eye(4), alpha=0)
