"""Average patches, patch energies, changed bases, whitening, and the linear CNN on images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim_energy.errors import DataError, RepsimWarning, ShapeError
from repsim_energy.interfaces import PatchTransform
from repsim_energy.numerics.patches import per_image
from repsim_energy.numerics.patches.basis import transform_basis
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.patches.per_image import (
    average_patches,
    average_shuffled_patches,
    class_correlations,
    component_energies,
)
from repsim_energy.numerics.profiles.energy import energy_profile
from repsim_energy.numerics.profiles.linear_cnn import simulate_linear_cnn, solve_linear_cnn
from repsim_energy.numerics.profiles.theory import whitening_filters


@pytest.fixture
def floats(pictures):
    return pictures.images.double() / 255


@pytest.fixture
def basis(pictures):
    return patch_moments(pictures.images, (3, 3)).basis()


def every_patch(images, patch):
    """(all patches, d) float64."""
    return F.unfold(images, patch).transpose(1, 2).flatten(0, 1)


@pytest.mark.parametrize("patch", [(1, 1), (2, 3), (3, 3), (12, 12)])
def test_average_patches_are_the_means_of_the_unfolded_patches(patch, pictures, floats):
    expected = F.unfold(floats, patch).mean(2)
    for images in (pictures.images, floats):
        found = average_patches(images, patch)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_shuffled_patches_are_those_of_the_set_and_uncorrelated_within_an_image(rng):
    images = torch.randn(1500, 1, 1, 1, generator=rng) + torch.randn(1500, 1, 5, 6, generator=rng)
    patches = every_patch(images.double(), (2, 2))
    found = average_shuffled_patches(images, (2, 2))
    assert found.shape == (1500, 4)
    torch.testing.assert_close(found.mean(0), patches.mean(0), rtol=0, atol=1e-12)
    of_patches, of_averages = (torch.cov(v.T) for v in (patches, found))
    torch.testing.assert_close(of_averages * 20, of_patches, rtol=0, atol=0.25)
    of_images = torch.cov(average_patches(images, (2, 2)).T)
    assert (of_images * 20).min() > 5 * of_patches.max()  # the 20 patches of an image are alike


def test_shuffling_follows_the_seed_and_does_nothing_to_one_image(floats):
    first, again, other = (average_shuffled_patches(floats, (3, 3), seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(
        average_shuffled_patches(floats[:1], (3, 3)), average_patches(floats[:1], (3, 3))
    )
    pixels = floats[:3, :1, :2, :1]
    shuffled = average_shuffled_patches(pixels, (2, 1))  # one patch an image: they change places
    assert sorted(shuffled.tolist()) == sorted(pixels.flatten(1).tolist())


@pytest.mark.parametrize("center", [True, False])
def test_patch_energies_equal_a_loop_over_places(center, pictures, floats):
    basis = patch_moments(pictures.images, (2, 3)).basis(center=center)
    found = component_energies(pictures.images[:4], basis)
    slow = torch.zeros(4, 18, dtype=torch.float64)
    for i in range(4):
        for y in range(11):
            for x in range(10):
                patch = floats[i, :, y : y + 2, x : x + 3].flatten()
                seen = patch - basis.mean if center else patch
                for number, u in enumerate(basis.components):
                    slow[i, number] += float(u @ seen) ** 2
    torch.testing.assert_close(found, slow, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(component_energies(floats[:4], basis), found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("center", [True, False])
def test_energies_of_all_images_per_patch_are_the_eigenvalues(center, pictures):
    basis = patch_moments(pictures.images, (3, 3)).basis(center=center)
    total = component_energies(pictures.images, basis).sum(0)
    torch.testing.assert_close(total / basis.count, basis.eigenvalues, rtol=1e-8, atol=1e-12)


def test_statistics_of_an_image_do_not_depend_on_its_batch(pictures, basis, monkeypatch):
    def statistics():
        for function in (average_patches, average_shuffled_patches):
            yield function(pictures.images, (2, 3))
        yield component_energies(pictures.images, basis)

    whole = list(statistics())
    monkeypatch.setattr(per_image, "BATCH_IMAGES", 7)
    for a, b in zip(statistics(), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_images_without_the_patches_of_the_basis_are_refused(pictures, basis):
    with pytest.raises(ShapeError, match="1 channels but the basis sees 3"):
        component_energies(pictures.images[:, :1], basis)
    with pytest.raises(ShapeError, match="smaller than the 3x3 kernel"):
        component_energies(pictures.images[:, :, :2], basis)
    with pytest.raises(ShapeError, match="expected uint8 or float"):
        average_patches(pictures.images.int(), (3, 3))


def test_class_correlations_are_pearson_correlations_with_one_hot_labels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 50)
    values = rng.normal(size=(50, 6)) + 100 + labels[:, None] * np.linspace(0, 3, 6)
    found = class_correlations(torch.from_numpy(values), torch.from_numpy(labels), 4)
    expected = np.corrcoef(np.eye(4)[labels].T, values.T)[:4, 4:]
    np.testing.assert_allclose(found, expected, atol=1e-11)
    scaled = class_correlations(torch.from_numpy(7 - 2 * values), torch.from_numpy(labels), 4)
    np.testing.assert_allclose(scaled, -expected, atol=1e-11)


def test_a_class_without_images_and_a_constant_column_have_no_correlation(rng):
    values = torch.rand(10, 3, generator=rng)
    values[:, 1] = 4
    undefined = class_correlations(values, torch.arange(10) % 2, 3).isnan()
    assert undefined.tolist() == [[False, True, False]] * 2 + [[True] * 3]
    assert class_correlations(values, torch.zeros(10, dtype=torch.int64), 1).isnan().all()


def test_labels_are_whole_numbers_of_classes(rng):
    values, labels = torch.randn(6, 2, generator=rng), torch.tensor([0, 0, 1, 1, 2, 2])
    expected = class_correlations(values, labels, 3)
    for dtype in (torch.int8, torch.uint8, torch.int32):
        assert torch.equal(class_correlations(values, labels.to(dtype), 3), expected)
    for wrong, error in (
        (labels - 1, DataError),
        (labels + 1, DataError),
        (labels / 2, DataError),
        (labels[:3], ShapeError),
    ):
        with pytest.raises(error, match="labels"):
            class_correlations(values, wrong, 3)


@pytest.mark.parametrize(("count", "value"), [(3, 0.1), (17, 0.3), (24, 0.7)])
def test_a_constant_column_has_no_correlation_whatever_its_value(count, value):
    column = torch.full((count, 1), value, dtype=torch.float64)
    assert class_correlations(column, torch.arange(count) % 2, 2).isnan().all()


def test_whitened_patches_are_uncorrelated_with_variance_one(basis, floats):
    filters = whitening_filters(basis)
    assert filters.shape == (27, 3, 3, 3)
    responses = every_patch(floats, 3) @ filters.flatten(1).T
    covariance = torch.cov(responses.T, correction=0)
    torch.testing.assert_close(covariance, torch.eye(27).double(), rtol=0, atol=1e-9)


def test_the_whitening_bank_has_the_profile_of_the_limit(basis):
    profile = energy_profile(whitening_filters(basis), basis)
    limit = 1 / basis.eigenvalues.sqrt().numpy()
    np.testing.assert_allclose(profile * np.sqrt(27), limit, rtol=1e-9)


def test_a_component_without_variance_cannot_be_whitened(floats, basis):
    gray = floats.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    with pytest.warns(RepsimWarning, match="18 of 27"):
        of_gray = patch_moments(gray, (3, 3)).basis()
    with pytest.raises(DataError, match="no variance and cannot be whitened"):
        whitening_filters(of_gray)
    eigenvalues = basis.eigenvalues.clone()
    eigenvalues[-1] = 0
    with pytest.raises(DataError, match="no variance"):
        whitening_filters(replace(basis, eigenvalues=eigenvalues))


@pytest.mark.parametrize(("t", "a"), [(0, 0.001), (5, 3.0), (26, 1000.0), (7, 1.0)])
def test_scaling_a_component_multiplies_its_eigenvalue_and_keeps_the_order(t, a, basis, floats):
    u = basis.components[t]
    matrix = torch.eye(27).double() + (a - 1) * torch.outer(u, u)
    changed = transform_basis(basis, PatchTransform(matrix, basis.patch))
    expected = basis.eigenvalues.clone()
    expected[t] *= a**2
    torch.testing.assert_close(changed.eigenvalues, expected, rtol=1e-9, atol=1e-15)
    assert torch.equal(changed.components, basis.components)
    patches = every_patch(floats, 3) @ matrix.T
    torch.testing.assert_close(changed.mean, patches.mean(0), rtol=0, atol=1e-9 * max(a, 1))
    assert changed.basis_id != basis.basis_id or a == 1


def test_eigenvalues_of_any_transform_are_the_variances_along_the_components(basis, floats, rng):
    half = torch.randn(27, 27, generator=rng, dtype=torch.float64)
    matrix = half + half.T
    changed = transform_basis(basis, PatchTransform(matrix, basis.patch))
    along = every_patch(floats, 3) @ matrix.T @ basis.components.T
    torch.testing.assert_close(changed.eigenvalues, along.var(0, correction=0), rtol=1e-9, atol=0)


def test_a_transform_of_other_patches_is_refused(basis):
    with pytest.raises(ShapeError, match=r"\(3, 2, 2\) and a basis of patches \(3, 3, 3\)"):
        transform_basis(basis, PatchTransform(torch.eye(12).double(), (3, 2, 2)))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70),
    st.sampled_from([0.0, 1e-6, 0.1, 3.0]),
    st.integers(0, 300),
    st.sampled_from([0.01, 0.3, 0.9]),
    st.integers(0, 10),
)
def test_descent_step_by_step_ends_where_the_closed_form_does(width, sigma, steps, speed, seed):
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(40, 6)) * np.geomspace(1, 1e-3, 6) + 0.3
    targets = rng.normal(size=40)
    a, b = patches.T @ patches / 40, patches.T @ targets / 40
    start = sigma * rng.normal(size=(width, 6))
    how = {"step_size": speed / (width * np.linalg.eigvalsh(a)[-1]), "steps": steps}
    found = simulate_linear_cnn(start, patches, targets, **how)
    np.testing.assert_allclose(found, solve_linear_cnn(start, a, b, **how), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("filters", "sigma"), [(1, 0.0), (4, 0.1), (32, 1.0)])
def test_descent_is_that_of_a_convolutional_network(filters, sigma, floats, rng):
    """Convolution, mean over places, sum over filters; autograd through every place."""
    inputs = floats - floats.mean()
    targets = torch.randn(60, generator=rng, dtype=torch.float64)
    conv = torch.nn.Conv2d(3, filters, 3, bias=False).double()
    torch.nn.init.normal_(conv.weight, std=sigma, generator=rng)
    start = conv.weight.detach().flatten(1).clone().numpy()
    optimizer = torch.optim.SGD(conv.parameters(), 0.1)
    for _ in range(25):
        optimizer.zero_grad()
        (conv(inputs).mean((2, 3)).sum(1) - targets).square().mean().backward()
        optimizer.step()
    trained = conv.weight.detach().flatten(1).numpy()
    found = simulate_linear_cnn(
        start, average_patches(inputs, (3, 3)), targets, step_size=0.1, steps=25
    )
    assert np.abs(trained - start).max() > 1e-3
    np.testing.assert_allclose(found, trained, rtol=0, atol=1e-9)


def test_descent_leaves_its_start_alone_and_refuses_what_does_not_fit():
    start = np.ones((2, 3))
    simulate_linear_cnn(start, np.ones((5, 3)), np.zeros(5), step_size=0.1, steps=3)
    assert (start == 1).all()
    for initial, patches, targets in (
        (np.ones(3), np.ones((5, 3)), np.ones(5)),
        (start, np.ones((5, 4)), np.ones(5)),
        (start, np.ones((5, 3)), np.ones(4)),
    ):
        with pytest.raises(ShapeError, match="do not fit"):
            simulate_linear_cnn(initial, patches, targets, step_size=0.1, steps=1)
