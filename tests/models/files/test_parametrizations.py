"""The weights of a file are those that the network with that state applies."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as old_spectral_norm

from repsim_energy.errors import FileError
from repsim_energy.models.files.parametrizations import effective_weights


def convolution(kind=nn.Conv2d):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 3, 1), kind(3, 6, 3), nn.BatchNorm2d(6))
    return net.eval()


def old_weight_norm(layer, dim=0):
    """Old-style weight norm by its definition, because torch deprecates its own."""
    weight = layer.weight.detach()
    del layer._parameters["weight"]
    axes = [a for a in range(4) if a != dim]
    norm = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    norm = weight.norm() if dim is None else norm
    layer.weight_g = nn.Parameter(norm * 1.7)
    layer.weight_v = nn.Parameter(weight)
    layer.weight = weight * 1.7


def masked_twice(layer):
    prune.random_unstructured(layer, "weight", 0.4)
    prune.ln_structured(layer, "weight", 0.3, n=2, dim=0)


def pruned_then_normed(layer):
    parametrizations.weight_norm(layer)
    prune.random_unstructured(layer.parametrizations.weight, "original1", 0.5)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)


def after_steps(layer):
    """Spectral norm whose vectors have converged and whose weight was trained on since."""
    parametrizations.spectral_norm(layer)
    layer.train()
    for _ in range(3):
        layer(torch.rand(1, 3, 8, 8))
    layer.eval()
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(2).add_(0.1)


CHANGES = {
    "plain": lambda layer: None,
    "pruned": lambda layer: prune.random_unstructured(layer, "weight", 0.7),
    "pruned twice": masked_twice,
    "bias pruned": lambda layer: prune.random_unstructured(layer, "bias", 0.5),
    "weight norm, old": old_weight_norm,
    "weight norm, old, other axis": lambda layer: old_weight_norm(layer, dim=1),
    "weight norm, old, one norm": lambda layer: old_weight_norm(layer, dim=None),
    "weight norm": parametrizations.weight_norm,
    "weight norm, other axis": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "weight norm, one norm": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "weight norm, pruned": pruned_then_normed,
    "spectral norm, old": old_spectral_norm,
    "spectral norm": after_steps,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_the_weights_that_the_network_applies_are_computed(change, kind, ending, tmp_path):
    net = convolution(kind)
    CHANGES[change](net[1])
    images = torch.rand(2, 3, 8, 8)
    answer = None if change.startswith("weight norm, old") else net.eval()(images)
    state = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    if ending == "pt":
        torch.save(state, tmp_path / "w.pt")
        state = torch.load(tmp_path / "w.pt", weights_only=True)
    else:
        save_file(state, tmp_path / "w.safetensors")
        state = load_file(tmp_path / "w.safetensors")
    found = effective_weights(state)
    assert not found.unknown
    torch.testing.assert_close(found.tensors["1.weight"], net[1].weight.detach())
    plain = convolution(kind)
    plain.load_state_dict(found.tensors)  # strict: no part is left over
    if answer is not None:
        torch.testing.assert_close(plain(images), answer)


def test_one_filter_and_a_scalar_norm_are_not_confused():
    v = torch.randn(1, 3, 2, 2)
    for g in (torch.full((1, 1, 1, 1), 2.0), torch.tensor(2.0)):
        found = effective_weights({"weight_g": g, "weight_v": v}).tensors["weight"]
        torch.testing.assert_close(found, 2 * v / v.norm())


class Squared(nn.Module):
    def forward(self, weight):
        return weight**2


def orthogonal(layer):
    parametrizations.orthogonal(layer)


def own(layer):
    parametrize.register_parametrization(layer, "weight", Squared())


def own_after_spectral(layer):
    parametrizations.spectral_norm(layer)
    parametrize.register_parametrization(layer, "weight", Squared())
    layer.parametrizations.weight[1].register_buffer("extra", torch.zeros(1))


@pytest.mark.parametrize("change", [orthogonal, own, own_after_spectral])
def test_other_parametrizations_are_refused_by_name(change):
    net = convolution()
    change(net[1])
    found = effective_weights(net.state_dict())
    with pytest.raises(FileError, match=r"1\.weight.*1\.parametrizations\.weight\.original"):
        found.check_known("1.weight")
    found.check_known("0.weight")
    assert found.tensors["1.weight"].shape == net[1].weight.shape


@pytest.mark.parametrize(
    "parts",
    [
        {"1.weight_orig": torch.ones(6, 3, 3, 3)},
        {"1.weight_orig": torch.ones(6, 3, 3, 3), "1.weight_u": torch.ones(6)},
        {"1.weight_g": torch.ones(6, 3, 1, 1), "1.weight_v": torch.ones(6, 3, 3, 3)},
        {"1.weight": torch.ones(6, 3, 3, 3), "1.lora_A.default": torch.ones(2, 27)},
        {"1.base_layer.weight": torch.ones(6, 3, 3, 3), "1.lora_A.x.weight": torch.ones(2, 27)},
    ],
)
def test_incomplete_parametrizations_are_refused_by_name(parts):
    found = effective_weights(parts)
    name = next(name for name in found.tensors if found.tensors[name].ndim == 4)
    with pytest.raises(FileError, match="cannot be computed") as caught:
        found.check_known(name)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts)
