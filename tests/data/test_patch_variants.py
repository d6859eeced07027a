"""Variants on principal components: labels by energy, and patches scaled along one component."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from samples import LEAVES, noise_images
from torch import nn

import repsim_energy as rs
from repsim_energy.data import patch_variants
from repsim_energy.data.patch_variants import alpha_scaled, pca_labels
from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.models.filters.layers import see_transformed_patches
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.patches.per_image import component_energies
from repsim_energy.registry import load_dataset, load_registry
from repsim_energy.training.inputs import as_input, normalization_of


def load(text):
    return load_dataset(load_registry(plugins=False), text)


def some_images(count, seed=0):
    return noise_images(count, (1, 6, 7), seed=seed)


def energies(images, train, component, patch):
    basis = patch_moments(train.images, (patch, patch)).basis()
    return component_energies(images.images, basis)[:, component]


def copy_of(images):
    return replace(images, images=images.images.clone())


@pytest.mark.parametrize(("count", "component"), [(10, 0), (40, 3), (43, 1), (67, 2), (99, 3)])
def test_deciles_are_of_equal_size_and_follow_the_energy(count, component):
    train = some_images(count)
    found = pca_labels(train, train, component=component, patch=2)
    sizes = found.labels.bincount(minlength=10)
    assert len(sizes) == len(found.classes) == 10
    assert sizes.max() - sizes.min() <= 1
    order = energies(train, train, component, 2).argsort(descending=True)
    assert (found.labels[order].diff() >= 0).all()
    assert found.labels[order[0]] == 0
    assert torch.equal(found.images, train.images)


def test_of_equal_images_the_earlier_one_counts_as_having_more():
    once = some_images(15)
    twice = replace(
        once, images=once.images.repeat(2, 1, 1, 1), labels=torch.zeros(30, dtype=torch.int64)
    )
    labels = pca_labels(twice, twice, component=1, patch=2).labels
    rank = energies(once, twice, 1, 2).argsort(descending=True).argsort()
    assert torch.equal(labels, torch.cat([2 * rank, 2 * rank + 1]) * 10 // 30)
    same = replace(twice, images=once.images[:1].repeat(30, 1, 1, 1))
    labels = pca_labels(same, same, component=0, patch=2).labels
    assert torch.equal(labels, torch.arange(30) // 3)


def test_test_images_are_labeled_by_the_limits_of_the_training_images():
    train, test = some_images(50), some_images(300, seed=1)
    labels = pca_labels(train, train, component=0, patch=2).labels
    assert torch.equal(pca_labels(copy_of(train), train, component=0, patch=2).labels, labels)
    found = pca_labels(test, train, component=0, patch=2).labels
    of_train, of_test = (energies(images, train, 0, 2) for images in (train, test))
    for label in range(10):
        least = of_train[labels == label].min()
        assert torch.equal(found <= label, of_test >= least) or label == 9
    one = replace(test, images=test.images[:1], labels=test.labels[:1])
    alone = pca_labels(one, train, component=0, patch=2).labels
    assert torch.equal(alone, found[:1])


@pytest.mark.parametrize("count", [43, 67, 99])
def test_a_training_image_met_again_in_the_test_split_keeps_its_label(count):
    train = some_images(count)
    labels = pca_labels(train, train, component=0, patch=2).labels
    assert torch.equal(pca_labels(copy_of(train), train, component=0, patch=2).labels, labels)


def test_labels_come_with_a_data_set_of_a_name():
    plain, found = load(LEAVES), load(f"{LEAVES}+pca_labels:component=26")
    assert found.train.labels.bincount().tolist() == [12] * 10
    assert found.train.classes == found.test.classes
    assert torch.equal(found.test.images, plain.test.images)
    expected = pca_labels(plain.test, plain.train, component=26).labels
    assert torch.equal(found.test.labels, expected)
    assert len({s.train.fingerprint for s in (plain, found)}) == 2
    assert found.train.image_fingerprint == plain.train.image_fingerprint


def test_energies_are_measured_once_for_all_components(monkeypatch):
    measured = []

    def counted(images, basis):
        measured.append(len(images))
        return component_energies(images, basis)

    monkeypatch.setattr(patch_variants, "_energies", {})
    monkeypatch.setattr(patch_variants, "component_energies", counted)
    train, test = some_images(30), some_images(20, seed=1)
    labels = [
        [pca_labels(images, train, component=c, patch=2).labels for images in (train, test)]
        for c in range(4)
    ]
    assert measured == [30, 20]
    assert not torch.equal(labels[0][0], labels[3][0])
    again = pca_labels(some_images(31), some_images(31), component=0, patch=2)
    assert measured == [30, 20, 31]
    assert len(again.labels) == 31


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("pca_labels:component=27", "component is 27 .* 3x3 patches .* expected 0 to 26"),
        ("pca_labels:component=-1", "expected 0 to 26"),
        ("pca_labels:component=12:patch=2", "expected 0 to 11"),
        ("pca_labels:component=0:patch=0", "patch is 0"),
        ("pca_labels", "needs component="),
        ("alpha_scaled:component=27:alpha=2", "component is 27"),
        ("alpha_scaled:component=-1:alpha=2", "expected 0 to 26"),
        ("alpha_scaled:component=0", "needs alpha="),
        ("alpha_scaled:component=0:alpha=0", "alpha is 0.0"),
        ("alpha_scaled:component=0:alpha=nan", "alpha is nan"),
        (
            "alpha_scaled:component=0:alpha=2+alpha_scaled:component=0:alpha=2:patch=2",
            "patch=2 after patches of 3",
        ),
        ("alpha_scaled:component=0:alpha=2:patch=33", "smaller than the 33x33 kernel"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(change, words):
    with pytest.raises(UsageError, match=words) as caught:
        load(f"{LEAVES}+{change}")
    assert "\n" not in str(caught.value)


def test_nine_images_have_no_deciles():
    train = some_images(9)
    with pytest.raises(DataError, match="9 training images, expected at least 10"):
        pca_labels(train, train, component=0, patch=2)


def scaled(images, alpha, component=5, **options):
    return alpha_scaled(images, images, component=component, alpha=alpha, **options)


def test_scaling_leaves_images_and_labels_alone_and_changes_the_fingerprint(pictures):
    plain = scaled(pictures, 1.0)
    found = [pictures, plain, scaled(pictures, 2.0), scaled(pictures, 2.0, component=6)]
    assert len({images.fingerprint for images in found}) == 4
    for images in found:
        assert torch.equal(images.images, pictures.images)
        assert torch.equal(images.labels, pictures.labels)
        assert images.classes == pictures.classes
    assert scaled(copy_of(pictures), 2.0).fingerprint == found[2].fingerprint
    tiles = scaled(pictures, 2.0, tiles=True)
    assert tiles.transform is None
    assert torch.equal(tiles.labels, pictures.labels)


def test_tiles_are_the_patches_scaled_about_the_mean_color(pictures):
    pixels = pictures.images.double() / 255
    color = pixels.mean((0, 2, 3)).repeat_interleave(9)
    u = patch_moments(pictures.images, (3, 3)).basis().components[5]
    tiles = scaled(pictures, 4.0, tiles=True).images
    assert tiles.shape == (60, 3, 30, 30)
    for i, y, x in ((0, 0, 0), (3, 9, 2), (59, 5, 9)):
        p = pixels[i, :, y : y + 3, x : x + 3].flatten()
        expected = p + (4 - 1) * u * (u @ (p - color))
        found = tiles[i, :, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].flatten().double()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_the_test_split_is_scaled_along_the_component_of_the_training_split(pictures):
    test = replace(pictures, images=pictures.images[:7].flip(1), labels=pictures.labels[:7])
    options = {"component": 5, "alpha": 3.0}
    found = alpha_scaled(test, pictures, **options)
    assert torch.equal(found.transform.matrix, scaled(pictures, 3.0).transform.matrix)
    both = replace(
        pictures,
        images=torch.cat([pictures.images, test.images]),
        labels=torch.cat([pictures.labels, test.labels]),
    )
    tiles = alpha_scaled(both, pictures, tiles=True, **options).images[60:]
    assert torch.equal(alpha_scaled(test, pictures, tiles=True, **options).images, tiles)


@pytest.mark.parametrize("alpha", [0.1, 5.0])
def test_the_scaled_component_of_the_tiles_has_alpha_squared_the_variance(alpha, pictures):
    basis = patch_moments(pictures.images, (3, 3)).basis()
    tiles = scaled(pictures, alpha, tiles=True).images.double()
    patches = F.unfold(tiles, 3, stride=3).transpose(1, 2).flatten(0, 1)
    covariance = basis.components @ torch.cov(patches.T, correction=0) @ basis.components.T
    expected = basis.eigenvalues.clone()
    expected[5] *= alpha**2
    torch.testing.assert_close(covariance, torch.diag(expected), rtol=1e-4, atol=1e-7)
    found = transform_basis(basis, scaled(pictures, alpha).transform).eigenvalues
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-15)


def test_a_chain_multiplies_the_matrices(pictures):
    first, second = scaled(pictures, 3.0), scaled(pictures, 0.5, component=0)
    chain = alpha_scaled(first, pictures, component=0, alpha=0.5)
    product = second.transform.matrix @ first.transform.matrix
    torch.testing.assert_close(chain.transform.matrix, product, rtol=0, atol=1e-12)
    back = alpha_scaled(first, pictures, component=5, alpha=1 / 3)
    torch.testing.assert_close(
        back.transform.matrix, torch.eye(27, dtype=torch.float64), rtol=0, atol=1e-12
    )
    named = load(f"{LEAVES}+alpha_scaled:component=5:alpha=3+alpha_scaled:component=0:alpha=0.5")
    u = patch_moments(named.train.images, (3, 3)).basis().components
    for split in (named.train, named.test):
        along = (u @ split.transform.matrix @ u.T).diag()
        expected = torch.ones(27, dtype=torch.float64)
        expected[5], expected[0] = 3, 0.5
        torch.testing.assert_close(along, expected, rtol=0, atol=1e-9)


def strided_cnn(stride, padding):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=stride, padding=padding),
        nn.Tanh(),
        nn.Conv2d(6, 4, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def answer(net, inputs, labels):
    """Return the outputs, and the gradient of the loss with respect to every weight."""
    outputs = net(inputs.double())
    F.cross_entropy(outputs, labels).backward()
    return [outputs.detach(), *(p.grad for p in net.parameters())]


def assert_close_to_largest(found, expected, relative=1e-6):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= relative * b.abs().max()


@pytest.mark.parametrize(("component", "alpha"), [(5, 4.0), (0, 0.1), (26, 30.0)])
def test_a_layer_that_sees_transformed_patches_is_a_strided_one_on_the_tiles(
    component, alpha, pictures, rng
):
    """Outputs and gradients are equal; stride and padding of the layer are replaced."""
    images = scaled(pictures, alpha, component=component)
    tiles = scaled(pictures, alpha, component=component, tiles=True)
    normalization = normalization_of(images)
    strided, net = strided_cnn(3, 0).double(), strided_cnn(2, 1).double()
    for p in strided.parameters():
        nn.init.normal_(p, std=0.3, generator=rng)
    net.load_state_dict(strided.state_dict())
    weight = net[0].weight
    see_transformed_patches(net, images.transform)
    assert net[0].weight is weight
    expected = answer(strided, as_input(tiles.images, normalization), pictures.labels)
    found = answer(net, as_input(images.images, normalization), pictures.labels)
    assert_close_to_largest(found, expected)
    untouched = strided_cnn(1, 0).double()
    untouched.load_state_dict(strided.state_dict())
    plain = answer(untouched, as_input(images.images, normalization), pictures.labels)
    assert (plain[0] - found[0]).abs().max() > 1e-3


def test_alpha_one_is_the_layer_without_padding(pictures):
    plain, net = strided_cnn(1, 0).double(), strided_cnn(1, 1).double()
    net.load_state_dict(plain.state_dict())
    see_transformed_patches(net, scaled(pictures, 1.0).transform)
    assert net.state_dict().keys() == plain.state_dict().keys()
    inputs = as_input(pictures.images, normalization_of(pictures))
    assert_close_to_largest(
        answer(net, inputs, pictures.labels), answer(plain, inputs, pictures.labels), 1e-12
    )
    tiles = scaled(pictures, 1.0, tiles=True).images
    patches = F.unfold(pictures.images.float() / 255, 3)
    torch.testing.assert_close(F.unfold(tiles, 3, stride=3), patches, rtol=0, atol=1e-6)


def test_a_layer_of_other_patches_is_refused(pictures):
    transform = scaled(pictures, 2.0).transform
    with pytest.raises(
        ShapeError, match=r"layer '0' sees \(3, 5, 5\); give the variant the patch="
    ):
        see_transformed_patches(nn.Sequential(nn.Conv2d(3, 4, 5)), transform)
    with pytest.raises(ShapeError, match="give the variant the patch="):
        rs.compare(["lenet5"], scaled(pictures, 2.0), recipe="quick:steps=1")
    with pytest.raises(UsageError, match="trained already .* transformed patches"):
        rs.compare([torch.rand(2, 3, 3, 3)], scaled(pictures, 2.0))


def test_networks_are_trained_and_compared_on_scaled_patches():
    model, recipe = "resnet20:width=0.25", "quick:steps=2:batch=8"
    changed = f"{LEAVES}+alpha_scaled:component=5"
    plain, one, three = (
        rs.compare([model], text, recipe=recipe)
        for text in (LEAVES, f"{changed}:alpha=1", f"{changed}:alpha=3")
    )
    ratio = three.eigenvalue.values[0] / plain.eigenvalue.values[0]
    np.testing.assert_allclose(ratio, np.where(np.arange(27) == 5, 9, 1), rtol=1e-9)
    np.testing.assert_array_equal(three.components, plain.components)
    init, trained = (three.energy.sel(stage=stage).values for stage in ("init", "trained"))
    np.testing.assert_array_equal(init, plain.energy.sel(stage="init").values)
    assert (trained != one.energy.sel(stage="trained").values).any()
    assert three.similarity.notnull().all()
    assert len({str(found.run_id.values) for found in (plain, one, three)}) == 3


def test_the_30x30_responses_that_are_left_pass_five_poolings():
    name = f"{LEAVES}+alpha_scaled:component=5:alpha=3"
    found = rs.compare(["vgg11:width=0.03125"], name, recipe="quick:steps=2:batch=8", seeds=1)
    assert found.attrs["failures"] == ""
    assert found.energy.notnull().all()


def test_a_larger_first_layer_gets_its_patch_size_from_the_variant():
    found = rs.compare(
        ["lenet5"],
        f"{LEAVES}+alpha_scaled:component=70:alpha=5:patch=5",
        recipe="quick:steps=2:batch=8",
        seeds=1,
    )
    assert found.sizes["component"] == 75
    assert float(found.eigenvalue[0, 70]) > float(found.eigenvalue[0, 69])
