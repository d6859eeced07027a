"""The first layer among the tensors of a file, or an error that lists the candidates."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from samples import noise_images
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import FileError, RepsimError, UsageError
from repsim_energy.models.architectures.lenet import lenet5
from repsim_energy.models.architectures.linear_cnn import linear_cnn
from repsim_energy.models.architectures.resnet import resnet20
from repsim_energy.models.architectures.torchvision_zoo import zoo
from repsim_energy.models.architectures.vgg import vgg11
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.files.first_filters import first_filters, layer_name, named_filters
from repsim_energy.models.files.weights import Weights, load_weights

PLACE = Path("weights.any")


def bank(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def taken(tensors, channels=3, ordered=False, first_layer=None):
    """The name of the first layer among tensors, or among names and shapes."""
    tensors = {n: t if isinstance(t, torch.Tensor) else bank(*t) for n, t in tensors.items()}
    if not ordered:
        tensors = dict(sorted(tensors.items()))
    return first_filters(Weights(PLACE, tensors, ordered, first_layer), channels)[0]


def refusal(tensors, channels=3, ordered=False):
    with pytest.raises(RepsimError) as caught:
        taken(tensors, channels, ordered)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def family(name):
    return lambda classes, channels: zoo(name, classes, channels)


BUILT_IN = {
    "vgg11": lambda *of: vgg11(*of, width=0.125),
    "resnet20": resnet20,
    "lenet5": lenet5,
    "linear_cnn": linear_cnn,
    **{
        name: family(name)
        for name in ("squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "mnasnet0_5")
    },
}


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_layer_of_every_architecture_is_found(name, ordered):
    net = BUILT_IN[name](10, 3)
    first = next(n for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    state = net.state_dict()
    assert layer_name(taken(state, ordered=ordered)) == first
    wrapped = {f"module.model.{key}": tensor for key, tensor in state.items()}
    assert layer_name(taken(wrapped, ordered=ordered)) == f"module.model.{first}"


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_every_architecture_is_loaded_from_every_format(name, ending, tmp_path):
    net, path, init = BUILT_IN[name](7, 3), tmp_path / f"w.{ending}", tmp_path / f"init.{ending}"
    write = torch.save if ending == "pt" else save_file
    write(net.state_dict(), path)
    write(BUILT_IN[name](5, 3).state_dict(), init)
    found = checkpoint(10, 3, path=path, arch=BUILT_IN[name], init=init)
    state = found.module.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in net.state_dict().items())
    alone = checkpoint(10, 3, path=path, init=init)
    before = found.initial.get_submodule(alone.layer).weight
    assert torch.equal(alone.initial, before)
    assert not torch.equal(alone.initial, alone.module.get_submodule(alone.layer).weight)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("upper", [nn.ConvTranspose2d, nn.Conv2d])
@pytest.mark.parametrize("bias", [True, False])
def test_a_decoder_is_not_the_first_layer(ordered, upper, bias):
    net = nn.ModuleDict(
        {
            "encoder": nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.Conv2d(8, 16, 3, bias=bias)),
            "decoder": nn.Sequential(upper(16, 8, 3, bias=bias), upper(8, 3, 3, bias=bias)),
        }
    )
    assert taken(net.state_dict(), ordered=ordered) == "encoder.0.weight"
    numbered = nn.Sequential(*net["encoder"], *net["decoder"])
    assert taken(numbered.state_dict(), ordered=ordered) == "0.weight"


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_a_generator_has_no_first_layer(ordered, bias):
    widths = (100, 32, 16, 8, 3)
    layers = [
        nn.ConvTranspose2d(a, b, 4, bias=bias) for a, b in zip(widths, widths[1:], strict=False)
    ]
    net = nn.ModuleDict({"main": nn.Sequential(*layers)})
    message = refusal(net.state_dict(), ordered=ordered)
    assert "main.3.weight (8, 3, 4, 4)" in message
    assert "layer=" in message


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("codes.weight", torch.randint(-127, 127, (8, 3, 3, 3), dtype=torch.int8)),
        ("a.weight_bits", torch.rand(8, 3, 3, 3) > 0.5),
        ("a.weight", (torch.rand(8, 3, 3, 3) > 0.5).float()),
        ("a.weight_mask", torch.rand(8, 3, 3, 3)),
        ("a.weight", torch.randn(8, 3, 3, 3, dtype=torch.complex64)),
        ("a.weight", torch.randn(8, 3, 3, 3).to(torch.float8_e4m3fn)),
        ("a.weight", torch.empty(8, 3, 3, 3, device="meta")),
        ("image_mean", torch.rand(1, 3, 1, 1)),
        ("pixel", torch.rand(1, 3, 1, 1)),
        ("norm.running_mean", torch.rand(1, 3, 3, 3)),
        ("sub_mean.weight", torch.randn(3, 3, 1, 1)),
        ("optimizer.exp_avg_sq", torch.rand(8, 3, 3, 3)),
        ("conv1.momentum_buffer", torch.rand(8, 3, 3, 3)),
        ("ema.conv1.weight", torch.rand(8, 3, 3, 3)),
        ("a.skip.weight", torch.rand(8, 3, 1, 1)),
        ("pos_embed", torch.rand(1, 3, 8, 8)),
        ("a.kernel", torch.rand(3, 3, 3, 16)),
        ("a.weight", torch.rand(3, 3, 16, 16)),
        ("deconv.weight", torch.rand(8, 3, 3, 3)),
        ("up1.weight", torch.rand(8, 3, 3, 3)),
    ],
)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("own", ["strange.name.weight", "conv1.weight"])
def test_tensors_that_are_no_filters_are_ignored(name, tensor, ordered, own):
    tensors = {name: tensor, own: bank(8, 3, 5, 5)}
    assert taken(tensors, ordered=ordered) == own
    if name not in ("a.skip.weight", "ema.conv1.weight"):
        assert name in refusal({name: tensor})


KNOWN = [
    "conv1.weight",
    "module.conv1.weight",
    "stem.0.weight",
    "stem.conv.weight",
    "conv_stem.weight",
    "features.0.weight",
    "features.0.0.weight",
    "features.conv0.weight",
    "0.weight",
    "patch_embed.proj.weight",
    "vit.embeddings.patch_embeddings.projection.weight",
    "visual.conv1.weight",
    "model.0.conv.weight",
    "embedder.embedding.convolution.weight",
    "resnet.embedder.embedding.convolution.weight",
    "downsample_layers.0.0.weight",
    "Conv2d_1a_3x3.conv.weight",
    "conv_proj.weight",
    "conv_in.weight",
    "conv_first.weight",
    "backbone.conv1.weight",
    "encoder.conv1.weight",
    "conv2d.kernel",
    "block1_conv1.kernel",
    "conv1_1.weight",
    "first_conv.weight",
    "network.0.weight",
    "input_conv.weight",
]


@pytest.mark.parametrize("name", KNOWN)
def test_usual_names_of_first_layers_decide(name):
    others = {"a.branch.weight": (8, 3, 3, 3), "zz.branch.weight": (8, 3, 5, 5)}
    assert taken({**others, name: (16, 3, 3, 3)}) == name


def test_the_order_of_pytorch_files_decides_and_that_of_safetensors_does_not():
    tensors = {"right.weight": (8, 3, 3, 3), "left.weight": (8, 3, 5, 5)}
    assert taken(tensors, ordered=True) == "right.weight"
    message = refusal(tensors)
    assert "left.weight (8, 3, 5, 5), right.weight (8, 3, 3, 3)" in message
    assert "layer=left" in message


@pytest.mark.parametrize("ordered", [True, False])
def test_copies_of_one_layer_are_refused(ordered):
    for one, other in (("student", "teacher"), ("a", "b"), ("epoch1", "epoch2"), ("0", "1")):
        tensors = {f"{p}.conv1.weight": (8, 3, 3, 3) for p in (one, other)}
        message = refusal(tensors, ordered=ordered)
        assert f"{one}.conv1.weight (8, 3, 3, 3)" in message
        assert f"{other}.conv1.weight (8, 3, 3, 3)" in message
        assert "layer=" in message


@pytest.mark.parametrize("ordered", [True, False])
def test_depthwise_filters_are_not_taken_for_a_gray_network(ordered):
    color = {
        "first.0.weight": (16, 3, 3, 3),
        "b.1.weight": (16, 1, 3, 3),
        "b.2.weight": (8, 16, 1, 1),
    }
    assert taken(color, channels=1, ordered=ordered) == "first.0.weight"  # refused by its channels
    gray = {**color, "first.0.weight": (16, 1, 3, 3)}
    assert taken(gray, channels=1, ordered=ordered) == "first.0.weight"


def test_metadata_may_name_the_first_layer(tmp_path):
    tensors = {"a.weight": bank(8, 3, 3, 3), "b.weight": bank(8, 3, 3, 3)}
    save_file(tensors, tmp_path / "w.safetensors", {"first_layer": "b.weight"})
    taken_of_file = checkpoint(2, 3, path=tmp_path / "w.safetensors")
    assert taken_of_file.layer == "b"
    save_file(tensors, tmp_path / "w.safetensors", {"first_layer": "c.weight"})
    with pytest.raises(UsageError, match=r"a\.weight \(8, 3, 3, 3\), b\.weight"):
        checkpoint(2, 3, path=tmp_path / "w.safetensors")


def test_a_layer_is_named_with_or_without_its_prefix():
    names = ["module.conv1.weight", "module.blocks.0.conv1.weight", "module.blocks.0.conv2.weight"]
    weights = Weights(PLACE, {name: bank(4, 3, 3, 3) for name in names}, True)
    assert named_filters(weights, "conv1")[0] == names[0]
    assert named_filters(weights, "blocks.0.conv1")[0] == names[1]
    assert named_filters(weights, "module.conv1.weight")[0] == names[0]
    with pytest.raises(UsageError, match="did you mean"):
        named_filters(weights, "blocks.0.conv3")
    twice = {**weights.tensors, "module.blocks.1.conv2.weight": bank(4, 3, 3, 3)}
    with pytest.raises(UsageError, match=r"blocks\.0\.conv2.*blocks\.1\.conv2"):
        named_filters(replace(weights, tensors=twice), "conv2")


@pytest.mark.parametrize("name", ["train.conv1", "state_dict", "a..b", "conv,1", "weight"])
def test_layers_may_have_any_name(name, tmp_path):
    save_file({f"{name}.weight": bank(4, 3, 3, 3)}, tmp_path / "w.safetensors")
    found = checkpoint(2, 3, path=tmp_path / "w.safetensors")
    assert torch.equal(found.module.get_submodule(found.layer).weight, bank(4, 3, 3, 3))
    assert found.layer.replace("_", "") == name.replace("_", "").replace(",", "")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.float8_e5m2, torch.bool])
def test_a_layer_without_floating_point_numbers_is_refused_even_by_name(dtype):
    weights = Weights(PLACE, {"conv1.weight": bank(4, 3, 3, 3).to(dtype)}, True)
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(FileError, match=f"{kind}, expected floating-point filters"):
        named_filters(weights, "conv1")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_filters_of_any_precision_are_read(dtype, tmp_path):
    filters = bank(8, 3, 3, 3).to(dtype)
    torch.save({"conv1.weight": filters}, tmp_path / "w.pt")
    module = checkpoint(2, 3, path=tmp_path / "w.pt").module
    assert torch.equal(module.conv1.weight, filters.float())


def test_sparse_filters_and_parameters_are_read(tmp_path):
    filters = bank(8, 3, 3, 3).relu()
    for kept in (filters.to_sparse(), nn.Parameter(filters)):
        torch.save({"conv1.weight": kept}, tmp_path / "w.pt")
        module = checkpoint(2, 3, path=tmp_path / "w.pt").module
        assert torch.equal(module.conv1.weight, filters)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*holds 'input.scale'")  # of opencv_res10_ssd_face
def test_every_network_of_strangers_is_read_or_refused():
    """In 94 first layers and 23 whole networks, that of the metadata is found, named or not."""
    folder = Path(os.environ.get("REPSIM_TEST_IMAGES", "/nowhere")) / "networks"
    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        pytest.skip("REPSIM_TEST_IMAGES names no folder with networks/")
    for path in files:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        weights = load_weights(path)
        wanted = metadata.get("first_layer") or "conv1.weight"
        for known in (weights, replace(weights, first_layer=None)):
            for channels in (1, 3):
                images = noise_images(20, (channels, 16, 16))
                if path.parent.name == "trajectories":
                    with pytest.raises(UsageError, match="may be epoch000"):
                        first_filters(known, channels)
                else:
                    assert first_filters(known, channels)[0] == wanted, path.name
                fits = weights.tensors.get(wanted, torch.empty(0, 0)).shape[1] == channels
                if fits:
                    result = rs.compare([f"checkpoint:path={path}"], images)
                    assert result.first_layer.item() == layer_name(wanted)
                else:
                    with pytest.raises(RepsimError, match=r"^[^\n]*$"):
                        rs.compare([f"checkpoint:path={path}"], images)


@pytest.mark.parametrize(
    ("name", "factors", "said"),
    [
        ("input.scale", [0.018, -0.0162, 0.0232], True),
        ("data_bn.weight", [3.0, 1.0, 3.0], True),
        ("module.preprocess.std", [-1.0, -1.0, -1.0], False),
        ("input.std", [0.229, 0.224, 0.225], False),
        ("out.bias", [1.0, -1.0, 1.0], False),
        ("output.weight", [1.0, -1.0, 1.0], False),
        ("input.mean", [1.0, -1.0, 1.0], False),
    ],
)
def test_factors_of_the_image_that_differ_much_give_a_warning(name, factors, said, tmp_path):
    state = {"conv1.weight": torch.randn(8, 3, 3, 3), name: torch.tensor(factors)}
    save_file(state, tmp_path / "w.safetensors")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        checkpoint(10, 3, path=tmp_path / "w.safetensors")
    assert [f"holds '{name}'" in str(one.message) for one in warned] == [True] * said
