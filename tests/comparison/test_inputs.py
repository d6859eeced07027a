"""How images become the input of networks that were trained elsewhere."""

import warnings

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, both_splits, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison.inside import normalizes_inside
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.models.normalization import parse_normalization

IMAGES = noise_images(30, (3, 12, 12))
UNIT = IMAGES.images.float() / 255
CPU = torch.device("cpu")


class Inside(nn.Module):
    """Does something to the images before its network sees them."""

    def __init__(self, network, before):
        super().__init__()
        self.network, self.before = network, before

    def forward(self, images):
        return self.network(self.before(images))


def steep(seed=0):
    """A network whose answers depend on the mean and spread of its input."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Sigmoid())


def minus_over(mean, std):
    m, s = (torch.tensor(v).float().view(-1, 1, 1) for v in (mean, std))
    return lambda images: (images - m) / s


IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture
def seen():
    """The inputs that a network received."""
    return []


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("none", UNIT),
        ("imagenet", minus_over(*IMAGENET)(UNIT)),
        ("0.5/0.25", (UNIT - 0.5) / 0.25),
        ("0.1/0.2/0.3/1/2/4", minus_over([0.1, 0.2, 0.3], [1, 2, 4])(UNIT)),
        ("dataset", (UNIT - UNIT.mean((0, 2, 3)).view(-1, 1, 1)) / UNIT.std(unbiased=False)),
        ("auto", (UNIT - UNIT.mean((0, 2, 3)).view(-1, 1, 1)) / UNIT.std(unbiased=False)),
    ],
)
def test_images_become_the_input_that_is_said(normalize, expected, seen):
    net = small_cnn(2, 3)
    net.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    found = rs.compare({"net": net}, IMAGES, "cka", normalize=normalize, images=30, seeds=1)
    last = seen[-1]
    assert last.shape == expected.shape
    order = ((last[:, None] - expected[None]).flatten(2).abs().amax(2)).argmin(1)
    torch.testing.assert_close(last, expected[order], atol=1e-3, rtol=1e-3)
    assert sorted(order.tolist()) == list(range(30))
    said = found.normalization.item()
    assert said == {
        "auto": "dataset",
        "imagenet": "0.485/0.456/0.406/0.229/0.224/0.225",
        "0.5/0.25": "0.5/0.5/0.5/0.25/0.25/0.25",
    }.get(normalize, normalize)


def test_it_is_said_network_by_network_and_of_a_checkpoint(tmp_path):
    net = steep()
    inside = Inside(net, minus_over(*IMAGENET))
    words = {"net": "imagenet", "inside": "none"}
    found = rs.compare(
        {"net": net, "inside": inside, "other": steep(1)},
        IMAGES,
        "cka",
        layers=["output"],
        normalize=words,
        seeds=1,
    )
    assert float(found.similarity.squeeze()[0, 1]) == pytest.approx(1, abs=1e-6)
    assert found.normalization.values[1:].tolist() == ["none", "dataset"]
    run = rs.compare(["lenet5"], both_splits(IMAGES32), "cka", recipe=RECIPE, seeds=1)
    assert run.normalization.values.tolist() == ["dataset"]


IMAGES32 = noise_images(30, (3, 32, 32))


def test_a_checkpoint_says_it_as_an_option(tmp_path):
    from repsim_energy.models.architectures.lenet import lenet5

    net = lenet5(10, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    spec = f"checkpoint:path={tmp_path}/net.pt:arch=lenet5:normalize=0.5/0.25"
    found = rs.compare(
        {"file": spec, "module": net},
        IMAGES32,
        "cka",
        layers=["output"],
        normalize={"module": "0.5/0.25"},
        seeds=1,
    )
    assert float(found.similarity.squeeze()[0, 1]) == pytest.approx(1, abs=1e-6)
    assert found.normalization.values.tolist() == ["0.5/0.5/0.5/0.25/0.25/0.25"] * 2


NORMALIZED = {
    "imagenet": minus_over(*IMAGENET),
    "to -1 .. 1": lambda images: 2 * images - 1,
    "centered": lambda images: images - 0.5,
}


@pytest.mark.parametrize("name", NORMALIZED)
def test_a_network_that_normalizes_inside_sees_images_as_they_are(name):
    net, before = steep(), NORMALIZED[name]
    inside = Inside(net, before)
    with pytest.warns(RepsimWarning, match="'inside' normalizes images inside"):
        found = rs.compare({"inside": inside}, IMAGES, "cka", layers=["output"], seeds=1)
    assert found.normalization.values.tolist() == ["none"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = rs.compare(
            {"inside": inside}, IMAGES, "cka", layers=["output"], normalize="dataset", seeds=1
        )
    assert said.normalization.values.tolist() == ["dataset"]


def batch_norm(mean):
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(mean)
    norm.running_var.fill_(0.06)
    return norm


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        (nn.Identity(), False),
        (minus_over([123.0] * 3, [58.0] * 3), False),
        (batch_norm(0.45), True),
        (batch_norm(0.0), False),
        (nn.AvgPool2d(2), False),
        (nn.ReLU(), False),
        (torch.sqrt, False),
        (lambda images: images.flip(1), False),
    ],
    ids=[
        "as it is",
        "of 0 to 255",
        "batch norm of 0 to 1",
        "batch norm of normalized images",
        "smaller",
        "positive part",
        "root",
        "other order of channels",
    ],
)
def test_what_counts_as_normalizing_inside(before, inside):
    net = Inside(steep(), before)
    net.train()
    assert normalizes_inside(net, IMAGES.images, CPU) is inside
    assert net.training
    assert not any(part._forward_pre_hooks for part in net.modules())
    assert not normalizes_inside(net, 3 * UNIT, CPU)  # these are not from 0 to 1


def test_linear_layers_and_other_dtypes_are_looked_at_too():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(432, 4))
    assert normalizes_inside(Inside(flat, lambda x: (x - 0.5) / 0.25), IMAGES.images, CPU)
    assert not normalizes_inside(flat, IMAGES.images, CPU)
    half = Inside(steep().to(torch.float64), lambda x: (x - 0.5) / 0.25)
    assert normalizes_inside(half, IMAGES.images, CPU)


@pytest.mark.parametrize("text", ["imagnet", "0.5", "0.5/0", "1/2/3", "nan/1", "1/2/3/4/5/6/7"])
def test_unusable_words_are_refused(text):
    with pytest.raises(UsageError, match=f"normalize={text}, expected auto, none"):
        parse_normalization(text, 3)


def test_options_that_cannot_apply_are_refused():
    net = small_cnn(2, 3)
    with pytest.raises(UsageError, match="metrics that show images"):
        rs.compare({"net": net}, IMAGES, "energy", normalize="none")
    with pytest.raises(UsageError, match="not one trained here"):
        rs.compare([TINY], IMAGES, "cka", normalize="none")
    models = {"run": small_cnn, "net": net}
    with pytest.raises(UsageError, match="'run', which is trained here"):
        rs.compare(models, IMAGES, "cka", normalize={"run": "none"})
    with pytest.raises(UsageError, match="unknown model in normalize= 'nett'"):
        rs.compare({"net": net}, IMAGES, "cka", normalize={"nett": "none"})
    with pytest.raises(UsageError, match="channels, expected 3"):
        parse_normalization("imagenet", 1)


class Several(nn.Module):
    """Answers scores beside other things."""

    def __init__(self, num_classes=2, in_channels=3):
        super().__init__()
        self.net = small_cnn(num_classes, in_channels)

    def forward(self, images):
        return {"logits": self.net(images), "images": images}


def test_the_entry_of_an_answer_is_said_for_training_and_comparing():
    with pytest.raises(UsageError, match=r"'net': .*logits \(20, 2\), images .*answer="):
        rs.compare({"net": Several}, IMAGES, recipe=RECIPE, seeds=1)
    models = {"net": Several, "plain": small_cnn}
    entry = {"net": "logits"}
    found = rs.compare(models, IMAGES, recipe=RECIPE, seeds=1, answer=entry)
    first, plain = found.energy.sel(stage="trained").values[0, :, 0]
    np.testing.assert_array_equal(first, plain)
    found = rs.compare(
        models, both_splits(IMAGES), "cka", layers=["output"], recipe=RECIPE, seeds=1, answer=entry
    )
    assert float(found.similarity.squeeze()[0, 1]) == pytest.approx(1)
    given = rs.compare({"net": Several()}, IMAGES, "cka", layers=["output"], answer="logits")
    assert np.isfinite(given.similarity.isel(seed=0, seed_ref=0)).all()


def test_a_cached_run_is_kept_under_the_entry_that_was_trained(fresh_cache):
    def run_id(**options):
        found = rs.compare([TINY], IMAGES, recipe=RECIPE, seeds=1, **options)
        return str(found.run_id.values.ravel()[0])

    plain = run_id()
    with pytest.raises(UsageError, match="an entry 'logits'"):
        run_id(answer="logits")
    assert run_id() == plain
