"""The batch norm that follows a layer in a file, by names and shapes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.utils.fusion import fuse_conv_bn_weights

from repsim_energy.errors import UsageError
from repsim_energy.models.files.file_norms import parse_fold, scale_in_file
from repsim_energy.models.files.weights import Weights, load_weights

PLACE = Path("weights.any")
TORCH = ("weight", "bias", "running_mean", "running_var")
KERAS = ("gamma", "beta", "moving_mean", "moving_variance")


def bank(name, kernels=6, ending="weight"):
    return {f"{name}.{ending}": torch.randn(kernels, 3, 3, 3)}


def norm(name, kernels=6, parts=TORCH):
    drawn = {part: torch.randn(kernels) for part in parts}
    return {f"{name}.{p}": t.square() + 0.1 if "var" in p else t for p, t in drawn.items()}


def taken(tensors, layer, word="bn", epsilon=None):
    return scale_in_file(Weights(PLACE, tensors, False, epsilon=epsilon), layer, word)


BESIDE = [
    ("conv1", "bn1"),
    ("conv0", "norm0"),
    ("0", "1"),
    ("features.0", "features.1"),
    ("features.conv0", "features.norm0"),
    ("stem.conv", "stem.bn"),
    ("conv_stem", "bn1"),
    ("module.conv_stem", "module.bn1"),
    ("stem.conv1.conv", "stem.conv1.bn"),
    ("layer2.0.downsample.0", "layer2.0.downsample.1"),
    ("conv1.0", "conv1.1"),
    ("embedder.embedder.convolution", "embedder.embedder.normalization"),
    ("conv2d.conv2d", "batch_normalization.batch_normalization"),
    ("conv2d_1", "batch_normalization_1"),
    ("Conv1", "bn_Conv1"),
    ("conv1_conv", "conv1_bn"),
    ("block1_conv1", "block1_conv1_bn"),
    ("stem_conv", "stem_bn"),
    ("Conv_0", "BatchNorm_0"),
    ("Conv2d_1a_3x3.conv", "Conv2d_1a_3x3.bn"),
    ("convs.0", "bns.0"),
    ("c1", "bn1"),
    ("model.0.conv", "model.0.bn"),
    ("module_list.0.conv_0", "module_list.0.batch_norm_0"),
    ("conv1", "affine"),
    ("conv", "scale"),
    ("init_block.conv.conv", "init_block.conv.bn"),
    ("features.init_block.conv.conv", "features.init_block.conv.bn"),
]


@pytest.mark.parametrize(("layer", "follows"), BESIDE)
def test_the_batch_norm_after_a_layer_is_found_by_name(layer, follows):
    parts = ("weight", "bias") if follows in ("affine", "scale") else TORCH
    others = {**bank("layer1.0.conv1"), **norm("layer1.0.bn1"), **norm("layer1.0.bn2")}
    tensors = {**bank(layer), **norm(follows, parts=parts), **others}
    said, scale = taken(tensors, f"{layer}.weight")
    expected = tensors[f"{follows}.weight"].double()
    if parts == TORCH:
        assert said == f"{follows}.weight {follows}.running_var eps=1e-05"
        expected = expected / (tensors[f"{follows}.running_var"].double() + 1e-5).sqrt()
    else:
        assert said == f"{follows}.weight"
    torch.testing.assert_close(scale, expected)


def test_factors_are_those_of_fuse_conv_bn():
    tensors = {**bank("conv1"), **norm("bn1")}
    _, scale = taken(tensors, "conv1.weight")
    weight, bias, mean, variance = (tensors[f"bn1.{part}"] for part in TORCH)
    conv = tensors["conv1.weight"]
    fused, _ = fuse_conv_bn_weights(conv, None, mean, variance, 1e-5, weight, bias)
    torch.testing.assert_close(conv * scale.float().view(-1, 1, 1, 1), fused.data)


NOT_BESIDE = {
    "none": {},
    "of another size": norm("bn1", 8),
    "behind an activation": norm("features.2"),
    "of a block": norm("layer1.0.bn1"),
    "of the second convolution": {**bank("features.conv2"), **norm("features.bn2")},
    "a layer norm": norm("features.norm", parts=("weight", "bias")),
}


@pytest.mark.parametrize("name", NOT_BESIDE)
def test_other_batch_norms_are_refused_and_listed(name):
    layer = (
        "features.conv1" if name in ("of the second convolution", "a layer norm") else "features.0"
    )
    tensors = {**bank(layer), **NOT_BESIDE[name]}
    with pytest.raises(UsageError) as caught:
        taken(tensors, f"{layer}.weight")
    message = str(caught.value)
    assert "\n" not in message
    fitting = [
        n.removesuffix(".running_var")
        for n, t in tensors.items()
        if n.endswith("running_var") and len(t) == 6
    ]
    if fitting:
        assert f"by size alone it may be {fitting[0]}" in message
        said, _ = taken(tensors, f"{layer}.weight", fitting[0])
        assert said.startswith(f"{fitting[0]}.weight")
    else:
        assert "holds no batch norm of 6 channels" in message


def test_several_candidates_are_listed_and_one_is_named():
    tensors = {**bank("stem.conv1"), **norm("stem.bn1"), **norm("stem.norm1")}
    with pytest.raises(
        UsageError, match=r"by name it may be stem\.bn1, stem\.norm1: choose with fold=st"
    ):
        taken(tensors, "stem.conv1.weight")
    for word in ("stem.norm1", "norm1"):
        said, _ = taken(tensors, "stem.conv1.weight", word)
        assert said.startswith("stem.norm1.weight")
    with pytest.raises(
        UsageError, match=r"expected 'bn3'; by size alone it may be stem\.bn1, stem\.norm1"
    ):
        taken(tensors, "stem.conv1.weight", "bn3")


def test_variances_and_factors_in_two_layers_are_one_batch_norm():
    """Caffe's BatchNorm and Scale layers."""
    tensors = {
        **bank("conv1"),
        **norm("bn_conv1", parts=("running_mean", "running_var")),
        **norm("scale_conv1", parts=("weight", "bias")),
    }
    said, scale = taken(tensors, "conv1.weight")
    assert said == "scale_conv1.weight bn_conv1.running_var eps=1e-05"
    variance = tensors["bn_conv1.running_var"].double()
    torch.testing.assert_close(scale, tensors["scale_conv1.weight"] / (variance + 1e-5).sqrt())
    with pytest.raises(UsageError, match="by name it may be bn_conv1, scale_conv1, bn1"):
        taken({**tensors, **norm("bn1")}, "conv1.weight")


def test_epsilon_is_given_or_of_the_metadata_or_the_default_of_the_framework(tmp_path):
    tensors = {**bank("conv1"), **norm("bn1")}
    tensors["bn1.running_var"][:] = 0.001
    keras = {**bank("conv2d", ending="kernel"), **norm("batch_normalization", parts=KERAS)}
    assert taken(tensors, "conv1.weight", "bn/0.01", 1e-4)[0].endswith("eps=0.01")
    assert taken(tensors, "conv1.weight", "bn", 1e-4)[0].endswith("eps=0.0001")
    assert taken(keras, "conv2d.kernel")[0].endswith("moving_variance eps=0.001")
    assert taken(keras, "conv2d.kernel", "batch_normalization/1e-05")[0].endswith("eps=1e-05")
    scale = taken(tensors, "conv1.weight", "bn/0.01")[1]
    torch.testing.assert_close(scale, tensors["bn1.weight"].double() / (0.001 + 0.01) ** 0.5)
    for text, expected in (("0.001", 0.001), ("-1", None), ("none", None)):
        save_file(tensors, tmp_path / "w.safetensors", {"bn_eps": text})
        assert load_weights(tmp_path / "w.safetensors").epsilon == expected


@pytest.mark.parametrize("word", ["bn/", "bn/0", "bn/x", "/0.001", "bn/nan", "bn/2"])
def test_invalid_values_of_fold_are_refused(word):
    with pytest.raises(UsageError, match=f"got fold={word}, expected bn"):
        parse_fold(word)
