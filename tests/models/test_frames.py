"""The family frame/*: filters alone, and below a linear classifier."""

import pytest
import torch
from samples import both_splits, noise_images, smooth_images

import repsim_energy as rs
from repsim_energy.errors import (
    FlatProfileWarning,
    ShapeError,
    UndefinedSimilarityWarning,
    UsageError,
)
from repsim_energy.interfaces import TrainedModel
from repsim_energy.numerics.frames.bank import FRAMES, frame_bank
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.testing import check_model
from repsim_energy.testing.models import GIVEN_RULES, RULES

REGISTRY = load_registry(plugins=False)
WITHOUT_PACKAGES = [name for name in FRAMES if not name.startswith(("db", "curvelet"))]
IMAGES = noise_images(40, (3, 12, 12))


def built(spec, images=IMAGES):
    return resolve_model(REGISTRY, spec).build(2, images.images.shape[1], images)


def test_all_frames_are_members():
    assert REGISTRY.names("model", "frame/*") == sorted(
        ["frame/*", *(f"frame/{n}" for n in FRAMES)]
    )


@pytest.mark.parametrize("name", WITHOUT_PACKAGES)
def test_a_frame_is_a_bank_without_a_network(name):
    basis = rs.patch_moments(IMAGES.images, (5, 3)).basis()
    model = built(f"frame/{name}:patch=5x3")
    assert isinstance(model, TrainedModel)
    assert not model.network
    expected = frame_bank(name, 3, (5, 3), basis=basis)
    torch.testing.assert_close(model.module[0].weight, expected.float())


@pytest.mark.parametrize("name", WITHOUT_PACKAGES)
def test_a_frame_keeps_the_rules_alone_and_with_a_classifier(name):
    for train, rules in {"nothing": GIVEN_RULES, "classifier": RULES, "all": RULES}.items():
        build = resolve_model(REGISTRY, f"frame/{name}:train={train}").build
        found = check_model(build, name=name)
        expected = ["is built from the numbers of classes and channels", *rules]
        assert [one.rule for one in found] == expected
        assert all(one.problem is None for one in found)


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.FlatProfileWarning")  # of no change
@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
def test_the_classifier_alone_or_all_is_trained():
    for train, trained in {"classifier": 2, "all": 4}.items():
        net = built(f"frame/haar:train={train}")
        assert sum(p.requires_grad for p in net.parameters()) == trained
    recipe = rs.Recipe(batch=20, steps=30, lr=0.05)
    bright = noise_images(40, (1, 8, 8))
    pixels = bright.images // 2 + 120 * bright.labels[:, None, None, None].to(torch.uint8)
    images = rs.ImageSet(pixels, bright.labels, bright.classes, "bright and dark")
    result = rs.compare(
        ["frame/gabor:train=classifier", "frame/gabor:train=all"],
        both_splits(images),
        recipe=recipe,
        seeds=1,
        registry=REGISTRY,
        scheduler="local:1",
        stage="trained",
    )
    assert result.train_accuracy.values.min() > 0.9


def test_whitening_is_the_end_of_the_theory_and_orthonormal_bases_have_no_similarity(rng):
    data = both_splits(smooth_images(rng))
    with pytest.warns(FlatProfileWarning), pytest.warns(UndefinedSimilarityWarning, match="dct"):
        result = rs.compare(
            "frame/whitening:eps=0,frame/gabor,frame/dct,frame/dct:filters=9",
            data,
            registry=REGISTRY,
        )
    similarity = result.similarity.squeeze().values
    assert str(similarity[2, 0]) == str(similarity[2, 2]) == "nan"
    assert abs(similarity[0, 1]) < 1
    assert abs(similarity[0, 3]) < 1
    profile = result.energy.sel(model="frame/whitening:eps=0", stage="trained").squeeze()
    inverse = profile * result.eigenvalue.squeeze() ** 0.5
    assert inverse.values == pytest.approx(inverse.values[0], rel=1e-3)


def test_frames_join_a_comparison_with_a_network(repsim, tmp_path, pictures_npz):
    models = "linear_cnn:filters=8,frame/whitening,gray=frame/gabor:color=channels"
    dataset = ("--dataset", f"npz:path={pictures_npz}")
    options = (*dataset, "--seeds", "1", "--recipe", "quick:steps=2", "--scheduler", "local:1")
    done = repsim("compare", "--models", models, *options)
    assert done.returncode == 0, done.stderr
    assert "frame/whitening (given)" in done.stdout
    done = repsim("models", "frame/gabor")
    assert done.returncode == 0
    assert "orientations" in done.stdout


@pytest.mark.parametrize("name", ["pca", "whitening"])
def test_filters_of_images_are_those_of_each_data_set(name, rng):
    smooth = smooth_images(rng)
    one, other, again = (built(f"frame/{name}", images) for images in (IMAGES, smooth, IMAGES))
    weights = [model.module[0].weight for model in (one, other, again)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_gray_images_have_filters_of_one_channel():
    gray = noise_images(40, (1, 12, 12))
    for name in WITHOUT_PACKAGES:
        assert built(f"frame/{name}", gray).module[0].weight.shape[1:] == (1, 3, 3)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("frame/dct:patch=0", UsageError, "got patch=0"),
        ("frame/dct:patch=3x", UsageError, "got patch=3x"),
        ("frame/dct:patch=300", ShapeError, "smaller patch="),
        ("frame/pca:patch=13", ShapeError, "13"),
        ("frame/dct:orientations=4", UsageError, "option of frame 'dct' 'orientations'"),
        ("frame/dct:train=some", UsageError, "nothing or classifier or all"),
        ("frame/dct:filters=many", UsageError, "expected int"),
        ("frame/gobor", UsageError, "did you mean 'gabor'"),
    ],
)
def test_bad_input_is_refused_in_one_line(spec, error, message):
    with pytest.raises(error, match=message) as caught:
        built(spec)
    assert "\n" not in str(caught.value)


def test_transformed_patches_are_refused(rng, pictures_npz):
    with pytest.raises(UsageError, match="leave the variant out|cannot see the transformed"):
        rs.compare(
            "frame/pca",
            f"npz:path={pictures_npz}+alpha_scaled:component=3:alpha=2",
            registry=REGISTRY,
        )
