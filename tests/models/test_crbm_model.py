"""The model crbm in comparisons, its cache and its two spaces."""

import pytest
import torch
from samples import noise_images
from torch.nn import functional

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, ShapeError, UsageError
from repsim_energy.files.storage import cache_path
from repsim_energy.interfaces import TrainedModel
from repsim_energy.models import crbm as module
from repsim_energy.numerics.crbm.whitening import gray, whitened, whitening_kernel
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.testing import check_model
from repsim_energy.testing.models import GIVEN_RULES

REGISTRY = load_registry(plugins=False)
IMAGES = noise_images(8, (3, 20, 20))
SMALL = "steps=4:filters=5"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))


def built(spec, images=IMAGES):
    return resolve_model(REGISTRY, spec).build(2, images.images.shape[1], images)


def weight(spec, images=IMAGES):
    return built(spec, images).module[0].weight.detach()


def test_it_keeps_the_rules():
    found = check_model(resolve_model(REGISTRY, f"crbm:{SMALL}").build, name="crbm")
    assert [one.rule for one in found][1:] == list(GIVEN_RULES)
    assert all(one.problem is None for one in found)


def test_filters_act_equally_on_all_channels():
    model = built(f"crbm:{SMALL}:patch=5x3")
    assert isinstance(model, TrainedModel)
    assert not model.network
    bank = model.module[0].weight
    assert bank.shape == (5, 3, 5, 3)
    assert torch.equal(bank[:, 0], bank[:, 2])
    one = noise_images(8, (1, 20, 20))
    assert weight(f"crbm:{SMALL}", one).shape == (5, 1, 3, 3)


def test_filters_of_pixels_are_whitening_and_filters_in_one(rng):
    """On any image, they respond as the filters of whitened images to the whitened image."""
    inner = weight(f"crbm:{SMALL}:patch=5").sum(1, keepdim=True)
    outer = weight(f"crbm:{SMALL}:patch=11:space=pixels")
    assert outer.shape == (5, 3, 11, 11)
    images = torch.randint(256, (3, 3, 20, 20), generator=rng, dtype=torch.uint8)
    expected = functional.conv2d(whitened(images, whitening_kernel(IMAGES.images)), inner)
    found = functional.conv2d(images / 255, outer)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    gray_response = functional.conv2d(gray(images), outer.sum(1, keepdim=True))
    torch.testing.assert_close(found, gray_response, atol=1e-4, rtol=1e-4)


def test_it_is_trained_once_for_the_same_images_and_options(monkeypatch):
    calls = []
    train = module.train_network

    def counted(*arguments, **options):
        calls.append(options)
        return train(*arguments, **options)

    monkeypatch.setattr(module, "train_network", counted)
    first = weight(f"crbm:{SMALL}")
    again = noise_images(8, (3, 20, 20))  # equal images, as in another process
    assert torch.equal(weight(f"crbm:{SMALL}", again), first)
    assert len(calls) == 1
    (file,) = cache_path("crbm").iterdir()
    whole = file.read_bytes()
    for number, damaged in enumerate((b"damaged", whole[:-1] + bytes([whole[-1] ^ 4]), whole[:50])):
        file.write_bytes(damaged)
        with pytest.warns(RepsimWarning, match="is damaged.*they are trained again"):
            assert torch.equal(weight(f"crbm:{SMALL}", noise_images(8, (3, 20, 20))), first)
        assert len(calls) == 2 + number
    for other in ("seed=1", "steps=5", "sparsity=0.02", "pool=3", "lr=0.01", "decay=0"):
        options = f"steps=4:filters=5:{other}" if "steps" not in other else f"filters=5:{other}"
        assert not torch.equal(weight(f"crbm:{options}"), first)
    different = noise_images(8, (3, 20, 20), seed=1)
    assert not torch.equal(weight(f"crbm:{SMALL}", different), first)
    assert len(calls) == 11


def test_it_joins_a_comparison_and_starts_a_network(repsim, pictures_npz):
    models = f"linear_cnn:filters=5,crbm:{SMALL},linear_cnn:first='crbm:{SMALL}'"
    options = ("--seeds", "1", "--recipe", "quick:steps=2", "--scheduler", "local:1")
    dataset = f"npz:path={pictures_npz}"
    done = repsim("compare", "--models", models, "--dataset", dataset, *options)
    assert done.returncode == 0, done.stderr
    assert "(given)" in done.stdout
    done = repsim("models", "crbm")
    assert "sparsity" in done.stdout


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("crbm:patch=0", UsageError, "got patch=0"),
        ("crbm:patch=13", ShapeError, "a side of 20 pixels"),
        ("crbm:patch=5:space=pixels", ShapeError, "patch=5x5 with space=pixels"),
        ("crbm:space=some", UsageError, "whitened or pixels"),
        ("crbm:sparsity=0.5", UsageError, "between 0 and 0.25"),
        ("crbm:filters=0", UsageError, "got filters=0"),
    ],
)
def test_bad_options_are_refused_in_one_line(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        built(spec)
    assert "\n" not in str(caught.value)


def test_transformed_patches_are_refused(pictures_npz):
    data = f"npz:path={pictures_npz}+alpha_scaled:component=3:alpha=2"
    with pytest.raises(UsageError, match="leave the variant out|cannot see the transformed"):
        rs.compare(f"crbm:{SMALL}", data, registry=REGISTRY)
