"""The two-layer network is its formula, in explicit matrices."""

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.models.architectures.two_layer import two_layer_cnn

CASES = [
    {"n0": 5, "n1": 3},
    {"n0": 4, "n1": 2},
    {"n0": 1, "n1": 7},
    {"n0": 7, "n1": 5, "boundary": "zeros"},
    {"n0": 2, "n1": 4, "boundary": "zeros"},
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("options", CASES)
def test_layers_are_their_explicit_matrices(options, rng):
    """z2 = relu(b2 + W2^T relu(b1 + W1^T x)) of the image as one vector."""
    torch.manual_seed(0)
    net = two_layer_cnn(3, 2, m1=3, m2=4, **options).double()
    boundary = options.get("boundary", "circular")
    image = torch.randn(1, 2, 9, 8, generator=rng, dtype=torch.float64)
    z = image.flatten().numpy()
    for layer, filters in ((net.layer1, 3), (net.layer2, 4)):
        with torch.no_grad():
            layer.bias.normal_(generator=rng)
        matrix = rs.convolution_matrix(layer.weight, (9, 8), boundary=boundary)
        assert matrix.shape == (filters * 72, len(z))
        z = np.maximum(layer.bias.detach().numpy().repeat(72) + matrix @ z, 0)
    z2 = net[:4](image)
    assert z2.shape == (1, 4, 9, 8)
    np.testing.assert_allclose(z2.detach().numpy().ravel(), z, rtol=0, atol=1e-12)


def test_the_classifier_is_linear_in_the_output_of_the_second_layer(rng):
    head = two_layer_cnn(3, 1, m2=4).double()[4:]
    one, other = torch.randn(2, 1, 4, 12, 20, generator=rng, dtype=torch.float64)
    middle = head((one + other) / 2)
    torch.testing.assert_close(middle, (head(one) + head(other)) / 2)


def test_options_set_the_sizes_of_both_layers():
    net = two_layer_cnn(10, 3, m1=6, m2=10, n0=4, n1=3, width=0.5, sigma=0.2, frozen=True)
    assert net.layer1.weight.shape == (3, 3, 4, 4)
    assert net.layer2.weight.shape == (5, 3, 3, 3)
    assert not net.layer1.weight.requires_grad
    wide = two_layer_cnn(10, 3, m1=400, sigma=0.2).layer1.weight
    assert float(wide.detach().std()) == pytest.approx(0.2, rel=0.05)
    for option in ("m1", "m2", "n0", "n1"):
        with pytest.raises(UsageError, match=f"{option}=0, expected at least 1"):
            two_layer_cnn(10, 3, **{option: 0})
