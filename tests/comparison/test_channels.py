"""Networks that take blue first: their filters, and the images that they are shown."""

import copy

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, UsageError

IMAGES = noise_images(40, (3, 12, 12))


def flipped(net):
    """The same network for images whose channels stand in reverse order."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.copy_(net[0].weight.flip(1))
    return other


def steep():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Sigmoid())
    net[0].weight.data *= torch.tensor([3.0, 1.0, 0.2]).view(-1, 1, 1)
    return net


def test_filters_of_a_network_that_takes_blue_first_are_turned_round():
    net = small_cnn(2, 3)
    models = {"rgb": net, "bgr": flipped(net), "bank": net[0].weight.detach().flip(1), "as": net}
    words = {"bgr": "bgr", "bank": "bgr", "as": "rgb"}
    result = rs.compare(models, IMAGES, channels=words, seeds=1)
    energy = result.energy.sel(stage="trained").values[0, :, 0]
    for found in energy[1:]:
        np.testing.assert_array_equal(found, energy[0])
    assert result.channels.values.tolist() == ["rgb", "bgr", "bgr", "rgb"]
    raw = rs.compare({"rgb": net, "bgr": flipped(net)}, IMAGES, seeds=1)
    assert float(raw.similarity.squeeze()[0, 1]) < 0.999


def test_a_checkpoint_says_it_with_its_weights_before_training_and_its_batch_norm(tmp_path):
    nets = [small_cnn(2, 3, norm=True) for _ in range(2)]
    for net, name in zip(nets, ("net", "init"), strict=True):
        net[1].weight.data.normal_()
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
        torch.save(flipped(net).state_dict(), tmp_path / f"{name}-bgr.pt")
    given = [
        f"checkpoint:path={tmp_path}/net{a}.pt:init={tmp_path}/init{a}.pt:fold=bn{b}"
        for a, b in (("", ""), ("-bgr", ":channels=bgr"))
    ]
    result = rs.compare(dict(zip("ab", given, strict=True)), IMAGES)
    np.testing.assert_array_equal(*result.energy.values[0, :, 0])
    assert result.attrs["stage"] == "change"
    assert result.channels.values.tolist() == ["rgb", "bgr"]


@pytest.mark.parametrize("normalize", ["auto", "none", "imagenet", "0.1/0.2/0.3/1/2/4"])
def test_images_are_normalized_as_red_green_and_blue_and_then_turned_round(normalize):
    net, seen = steep(), []
    other = flipped(net)
    other.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    models = {"rgb": net, "bgr": other}
    options = {"layers": ["first", "output"], "normalize": normalize, "images": 40, "seeds": 1}
    result = rs.compare(models, IMAGES, "cka", channels={"bgr": "bgr"}, **options)
    np.testing.assert_allclose(result.similarity.squeeze().values[0, :, 1].diagonal(), 1, atol=1e-6)
    first, second = (x for x in seen if len(x) == 40)
    assert torch.equal(first, second.flip(1))
    assert len(set(result.normalization.values)) == 1
    raw = rs.compare(models, IMAGES, "cka", **options)
    assert (raw.similarity.squeeze().values[0, :, 1].diagonal() < 0.99).all()


class Inside(nn.Module):
    """Takes mean and standard deviation of each channel off before its network."""

    def __init__(self, network, mean, std):
        super().__init__()
        self.network = network
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))

    def forward(self, images):
        return self.network((images - self.mean) / self.std)


def test_one_that_normalizes_inside_is_recognized_by_the_images_it_is_shown():
    mean, std = [0.3, 0.4, 0.6], [0.2, 0.25, 0.5]
    models = {
        "rgb": Inside(steep(), mean, std),
        "bgr": Inside(flipped(steep()), mean[::-1], std[::-1]),
    }
    with pytest.warns(RepsimWarning, match="normalizes images inside"):
        result = rs.compare(
            models, IMAGES, "cka", layers=["output"], channels={"bgr": "bgr"}, seeds=1
        )
    assert result.normalization.values.tolist() == ["none", "none"]
    assert float(result.similarity.squeeze()[0, 1]) == pytest.approx(1, abs=1e-6)


def test_options_that_cannot_apply_are_refused():
    net = small_cnn(2, 3)
    gray = noise_images(40, (1, 12, 12))
    with pytest.raises(UsageError, match="got channels=brg for 'net', expected rgb, bgr or luma"):
        rs.compare({"net": net}, IMAGES, channels="brg")
    with pytest.raises(UsageError, match="is for images of 3 channels, but those of .* have 1"):
        rs.compare({"net": small_cnn(2, 1)}, gray, channels="bgr")
    with pytest.raises(UsageError, match=f"'{TINY}', which is trained here on images as they are"):
        rs.compare([TINY], IMAGES, channels="bgr", recipe=RECIPE)
    with pytest.raises(UsageError, match="unknown model in channels= 'nett'"):
        rs.compare({"net": net}, IMAGES, channels={"nett": "bgr"})
    rs.compare({"net": small_cnn(2, 1)}, gray, channels="rgb")


def test_a_network_that_is_shown_one_channel_of_gray_pictures_has_no_order_of_colors():
    gray = noise_images(40, (1, 12, 12))
    stored = rs.ImageSet(gray.images.expand(-1, 3, -1, -1), gray.labels, gray.classes, "gray")
    words = "channels=bgr for 'net', which is for images of 3 channels, but those of 'gray' have 1"
    with pytest.raises(UsageError, match=words):
        rs.compare({"net": small_cnn(2, 1)}, stored, channels="bgr")
