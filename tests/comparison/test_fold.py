"""A batch norm folded into the filters before it: checkpoints, modules, own runs."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from samples import RECIPE, TINY, noise_images, small_cnn
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import repsim_energy as rs
from repsim_energy.comparison.network import network_of_run
from repsim_energy.comparison.planning import make_plan
from repsim_energy.errors import TrainingError, UsageError
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel
from repsim_energy.models.architectures.resnet import resnet20
from repsim_energy.registry import load_registry
from repsim_energy.training.training import Training

IMAGES = noise_images(40, (3, 12, 12))
BASIS = rs.patch_moments(IMAGES.images, (3, 3)).basis()
BATCH_NORM = "resnet20:width=0.25"

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")


def with_norm(num_classes=2, in_channels=3):
    return small_cnn(num_classes, in_channels, norm=True)


def trained(seed=0):
    """A network whose batch norms have seen images, with other factors in every channel."""
    torch.manual_seed(seed)
    net = with_norm()
    net[1].weight.data.normal_()
    net.train()(IMAGES.images.float() / 64)
    return net


def fused(net):
    """The same network as torch itself folds it."""
    conv, norm, *rest = copy.deepcopy(net).eval()
    return nn.Sequential(fuse_conv_bn_eval(conv, norm), *rest)


TRAINING = {"recipe": RECIPE, "seeds": 1}


def profiles(models, **options):
    """The profiles of a comparison, at every stage."""
    result = rs.compare(models, IMAGES, **options)
    return result.energy.values[0, :, 0], result


def test_the_profile_of_a_folded_network_is_that_of_the_fused_one():
    net = trained()
    models = {"net": net, "fused": fused(net), "raw": copy.deepcopy(net)}
    before = copy.deepcopy(net.state_dict())
    energy, result = profiles(models, fold={"net": "bn"})
    np.testing.assert_allclose(energy[0, 1], energy[1, 1], rtol=1e-5)
    assert np.abs(energy[2, 1] / energy[1, 1] - 1).max() > 0.1
    assert result.folded.values.tolist() == ["1 (BatchNorm2d)", "", ""]
    assert result.first_layer.values.tolist() == ["0", "0", "0"]
    assert net.training
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_alone_and_one_with_its_architecture_are_folded_alike(ending, tmp_path):
    torch.manual_seed(0)
    net = resnet20(2, 3, width=0.25)
    net.bn1.weight.data.normal_()
    net.train()(torch.rand(8, 3, 32, 32))
    path = tmp_path / f"net.{ending}"
    if ending == "pt":
        torch.save(net.state_dict(), path)
    else:
        save_file(net.state_dict(), path)
    expected = fuse_conv_bn_eval(net.conv1.eval(), net.bn1.eval()).weight.detach()
    spec = f"checkpoint:path={path}"
    models = {
        "alone": f"{spec}:fold=bn",
        "named": f"{spec}:fold=bn1/0.00001",
        "arch": f"{spec}:arch=resnet20:width=0.25:fold=bn",
        "bank": expected,
        "raw": spec,
    }
    energy, result = profiles(models)
    for found in energy[:3, 1]:
        np.testing.assert_allclose(found, energy[3, 1], rtol=1e-5)
    assert np.abs(energy[4, 1] / energy[3, 1] - 1).max() > 0.1
    names = "bn1.weight bn1.running_var eps=1e-05"
    assert result.folded.values.tolist() == [names, names, "bn1 (BatchNorm2d)", "", ""]
    said, _ = profiles({"alone": spec, "arch": models["arch"]}, fold="bn")
    np.testing.assert_allclose(said, energy[[0, 2]])


def test_the_weights_before_training_are_folded_with_their_own_batch_norm(tmp_path):
    nets = [trained(seed) for seed in (0, 1)]
    paths = [tmp_path / "net.pt", tmp_path / "init.pt"]
    for net, path in zip(nets, paths, strict=True):
        torch.save(net.state_dict(), path)
    spec = f"checkpoint:path={paths[0]}:init={paths[1]}"
    energy, result = profiles({"file": spec}, fold="bn")
    assert result.attrs["stage"] == "change"
    after, before = (fused(net)[0].weight.detach() for net in nets)
    expected, _ = profiles({"a": before, "b": after, "c": after - before})
    np.testing.assert_allclose(energy[0], expected[:, 1], rtol=1e-5)


def test_a_run_is_folded_at_every_stage_with_the_batch_norm_of_its_own(fresh_cache):
    spec = ModelSpec("net", with_norm, {"name": "with norm"})
    energy, result = profiles([spec], fold="bn", **TRAINING, stage="change")
    raw, unfolded = profiles([spec], **TRAINING, stage="change")
    assert str(result.run_id.values) == str(unfolded.run_id.values)
    assert result.folded.values.tolist() == ["1 (BatchNorm2d)"]
    assert unfolded.folded.values.tolist() == [""]
    data = make_plan(load_registry(plugins=False), [spec], IMAGES, 1, RECIPE, "cpu").datasets[0]
    cpu = torch.device("cpu")

    def network(steps):
        run = Training(spec, data, 0, replace(RECIPE, steps=steps)).run(cpu)
        return fused(run.network())[0].weight.detach()

    def profile(filters):
        return rs.energy_profile(filters, BASIS)

    start = Training(spec, data, 0, RECIPE).run(cpu).initial / (1 + 1e-5) ** 0.5
    end = network(RECIPE.steps)
    for found, filters in zip(energy[0], (start, end, end - start), strict=True):
        np.testing.assert_allclose(found, profile(filters), rtol=1e-4)
    assert np.abs(energy[0, 1] / raw[0, 1] - 1).max() > 0.01
    steps, course = result.snapshot_step.values.ravel(), result.snapshot_energy.values[0, 0, 0]
    for step, found in [*zip(steps, course, strict=True)][1:]:
        np.testing.assert_allclose(found, profile(network(int(step)) - start), rtol=1e-4)


def test_a_run_without_the_factors_has_failed():
    spec = ModelSpec("net", with_norm, None)
    data = Dataset("noise", IMAGES, IMAGES)
    run = Training(spec, data, 0, RECIPE).run(torch.device("cpu"))
    network_of_run(run, fold=True)
    run.history.snapshot_scales[1, 2] = torch.nan
    network_of_run(run)
    with pytest.raises(TrainingError, match="no batch norm that can be folded followed '0'"):
        network_of_run(run, fold=True)


def test_models_are_folded_label_by_label():
    models = {"folded": with_norm, "raw": with_norm, "linear": TINY}
    energy, result = profiles(models, fold={"folded": "bn"}, **TRAINING, stage="trained")
    assert result.folded.values.tolist() == ["1 (BatchNorm2d)", "", ""]
    assert not np.allclose(energy[0, 1], energy[1, 1])
    np.testing.assert_allclose(energy[0, 0], energy[1, 0], rtol=1e-4)


BANK = torch.randn(6, 3, 3, 3)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (TINY, {}, f"'{TINY}': the output of 'conv' goes to no other"),
        ({"net": small_cnn}, {}, r"'net': '1' \(ReLU\), which follows the layer, is no"),
        ({"net": small_cnn(2, 3)}, {}, r"'net': '1' \(ReLU\), which follows .* is no batch norm"),
        ({"bank": BANK}, {}, "'bank', which is filters alone"),
        ({"net": with_norm}, {"fold": "bn1"}, "got fold=bn1 for 'net', expected fold=bn"),
        ({"net": with_norm}, {"fold": {"nett": "bn"}}, "unknown model in fold= 'nett'"),
        (
            {"net": with_norm},
            {"metric": "cka"},
            "fold=bn, which is for metrics that compare filters",
        ),
        ({"net": trained()}, {"stage": "init"}, "needs the initial weights of 'net'"),
        (
            {"net": TrainedModel(trained(), initial=BANK)},
            {"stage": "change"},
            "stage 'change' needs the batch norm of 'net' before training",
        ),
    ],
)
def test_what_cannot_be_folded_is_refused_before_anything_is_trained(models, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        rs.compare(models, IMAGES, recipe=RECIPE, seeds=1, **{"fold": "bn", **options})
    assert "\n" not in str(caught.value)


def test_a_file_without_a_batch_norm_is_refused(tmp_path):
    torch.save({"conv1.weight": BANK, "layer1.bn1.running_var": torch.ones(6)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"by size alone it may be layer1\.bn1"):
        rs.compare([f"checkpoint:path={tmp_path}/w.pt:fold=bn"], IMAGES)


@pytest.mark.slow
def test_networks_of_strangers_are_folded_by_their_own_numbers_or_refused(cifar_subset):
    """Among first layers that strangers trained, folding changes r by 0.15 in the median.

    It falls more often than it rises: factors of filters that hardly answer are large.
    """
    files = sorted((cifar_subset.parent / "networks" / "first-layers").rglob("*.safetensors"))
    if not files:
        pytest.skip("the folder of real images has no networks/")
    data, models, banks = f"npz:path={cifar_subset}", {}, {}
    for path in files:
        tensors, spec = load_file(path), f"checkpoint:path={path}:fold=bn"
        if "bn1.running_var" in tensors:
            with safe_open(path, framework="pt") as file:
                eps = float(file.metadata()["bn_eps"])
            scale = tensors["bn1.weight"].double() / (tensors["bn1.running_var"] + eps).sqrt()
            if path.parent.name == "3x3x3":
                models[path.stem] = spec
                banks[path.stem] = tensors["conv1.weight"].double() * scale.view(-1, 1, 1, 1)
        elif "affine.weight" not in tensors:
            channels = tensors["conv1.weight"].shape[1]
            with pytest.raises(UsageError, match=r"^'.*' holds no batch norm of .* channels.*$"):
                rs.compare([spec], noise_images(20, (channels, 16, 16)))
    result = rs.compare(models, data)
    pixels = np.load(cifar_subset, allow_pickle=False)["train_images"].transpose(0, 3, 1, 2)
    basis = rs.patch_moments(np.ascontiguousarray(pixels), (3, 3)).basis()
    for found, bank in zip(result.energy.values[0, :, 0, 1], banks.values(), strict=True):
        np.testing.assert_allclose(found, rs.energy_profile(bank, basis), rtol=1e-4)
    raw = rs.compare({name: spec.removesuffix(":fold=bn") for name, spec in models.items()}, data)
    above = np.triu_indices(len(models), 1)
    before, after = (r.similarity.values[0, :, 0, 0, :, 0][above] for r in (raw, result))
    assert len(models) == 37
    assert np.median(abs(after - before)) == pytest.approx(0.15, abs=0.02)
    assert np.mean(after < before) > 0.6
