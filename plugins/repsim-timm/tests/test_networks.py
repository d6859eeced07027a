"""New networks: first layers, options, seeds, and what is refused."""

from functools import partial

import pytest
import repsim_energy as rs
import timm
import torch
from repsim_energy.testing import check_model

from repsim_timm.family import family

FAMILIES = {
    "resnet18": ("conv1", (3, 7, 7)),
    "vit_tiny_patch16_224": ("patch_embed.proj", (3, 16, 16)),
    "convnext_atto": ("stem.0", (3, 4, 4)),
    "mixer_s32_224": ("stem.proj", (3, 32, 32)),
    "swin_tiny_patch4_window7_224": ("patch_embed.proj", (3, 4, 4)),
    "efficientnet_b0": ("conv_stem", (3, 3, 3)),
    "tf_efficientnet_b0": ("conv_stem", (3, 3, 3)),
    "levit_128s": ("stem.conv1.linear", (3, 3, 3)),
    "repvgg_a0": ("stem.conv_kxk.conv", (3, 3, 3)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_layer_is_the_one_that_is_given_the_image(name):
    """A hook sees the image itself, or its three channels padded."""
    net = family(name, 7, 3).eval()
    place, layer = rs.find_first_conv(net)
    assert (place, tuple(layer.weight.shape[1:])) == FAMILIES[name]
    image, given = torch.rand(1, *net.pretrained_cfg["input_size"]), []
    layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        assert net(image).shape == (1, 7)
    assert torch.equal(given[0], image)


SEES_OTHERWISE = ["tresnet_l", "csatv2"]
LINEAR = {
    "gemma4_vit_167m": "encoder.patch_embed.input_proj",
    "naflexvit_base_patch16_gap": "embeds.proj",
}
"""Networks that embed patches by a linear layer."""


def of_every_other_file():
    """Return the architecture whose name comes first in every other of timm's files."""
    listed = [timm.list_models(module=module) for module in timm.list_modules()[::2]]
    others = {*SEES_OTHERWISE, *LINEAR}
    return [models[0] for models in listed if models and models[0] not in others]


@pytest.mark.parametrize("name", of_every_other_file())
def test_the_first_layer_is_timms(name):
    """Built on the meta device: no memory, no arithmetic."""
    with torch.device("meta"):
        net = family(name, 10, 3)
    named = timm.get_pretrained_cfg(name).first_conv
    place, layer = rs.find_first_conv(net)
    assert place == (named if isinstance(named, str) else named[0])
    assert layer.in_channels == 3


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_embedding_of_patches_is_a_first_layer(name):
    net = family(name, 7, 3)
    images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    found = rs.compare({"net": net}, images, stage="trained", null="metric", resamples=0)
    assert found.first_layer.values.tolist() == [LINEAR[name]]
    weight = net.get_submodule(LINEAR[name]).weight
    energy = found.energy.sel(stage="trained").values.ravel()
    assert len(energy) == weight.shape[1] == 3 * 16 * 16
    scale = (energy**2).sum() / float(weight.detach().double().square().sum() / len(weight))
    assert scale == pytest.approx(scale.round(), abs=1e-4)  # 1, or that of pixels from -1 to 1
    with pytest.raises(rs.UsageError, match="embeds patches by a linear layer"):
        family(name, 7, 3, frozen=True)


@pytest.mark.parametrize("name", SEES_OTHERWISE)
def test_networks_that_see_the_image_otherwise_are_refused(name):
    with torch.device("meta"), pytest.raises(rs.UsageError, match="use another model") as caught:
        family(name, 10, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {}),
        ("test_efficientnet", {"drop_rate": 0.1, "drop_path_rate": 0.1}),
        ("test_vit", {"img_size": 32, "patch_size": 4}),
        ("vit_tiny_patch16_224", {"img_size": 32}),
    ],
)
def test_the_rules_of_architectures_hold(name, options):
    check_model(partial(family, name), name=f"timm/{name}", **options)


def test_options_change_what_they_name():
    net = family("test_resnet", 10, 3, frozen=True, sigma=0.3)
    layer = rs.find_first_conv(net).module
    frozen = [p for p in net.parameters() if not p.requires_grad]
    assert {id(p) for p in frozen} == {id(p) for p in layer.parameters()}
    assert float(layer.weight.std()) == pytest.approx(0.3, rel=0.1)
    vit = family("test_vit", 10, 3, img_size=32, patch_size=4, drop_rate=0.25)
    assert rs.find_first_conv(vit).module.weight.shape[1:] == (3, 4, 4)
    assert vit.head_drop.p == 0.25
    with pytest.raises(rs.UsageError, match="sigma is -1"):
        family("test_resnet", 10, 3, sigma=-1)


def test_a_fixed_size_is_asked_for_in_one_line():
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(rs.ShapeError, match="sees 224x224 images, got 32x32; .*img_size=32"):
        family("vit_tiny_patch16_224", 10, 3)(images)
    assert family("vit_tiny_patch16_224", 10, 3, img_size=32)(images).shape == (2, 10)
    assert family("test_resnet", 10, 3)(images).shape == (2, 10)


def test_standardized_filters_of_a_new_network_are_those_that_it_applies():
    """Each is its weight less the mean over its inputs, over their deviation, up to a gain."""
    layer = rs.find_first_conv(family("test_nfnet", 10, 3)).module
    rows = layer.weight.detach().flatten(1)
    applied = rs.read_filters(layer).flatten(1)
    torch.testing.assert_close(applied.mean(1), torch.zeros(len(rows)), rtol=0, atol=1e-6)
    cosine = torch.cosine_similarity(applied, rows - rows.mean(1, keepdim=True))
    torch.testing.assert_close(cosine, torch.ones(len(rows)), rtol=0, atol=1e-5)
