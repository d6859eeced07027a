"""The quality of filters: loops, closed forms, the numbers of torchconvquality, invariances."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim_energy as rs

README_SPARSITY, README_ENTROPY = 0.125244140625, 0.8243831176467854
"""Of ``layer1.0.conv1`` of torchvision's ResNet-18, in the README of torchconvquality."""


@pytest.fixture
def random():
    return np.random.default_rng(0)


def by_loops(bank):
    """The numbers of a bank whose filters are no duplicates, one filter and slice at a time."""
    filters = [list(map(float, one.ravel())) for one in bank]
    k, c, d = len(bank), bank.shape[1], bank[0].size
    norms = [math.sqrt(sum(w * w for w in one)) for one in filters]
    covariance = [[sum(one[i] * one[j] for one in filters) / k for j in range(d)] for i in range(d)]
    trace = sum(covariance[i][i] for i in range(d))
    squares = sum(value**2 for row in covariance for value in row)
    cosines = 0.0
    for i in range(k):
        for j in range(k):
            if i != j and norms[i] and norms[j]:
                product = sum(a * b for a, b in zip(filters[i], filters[j], strict=True))
                cosines += abs(product / norms[i] / norms[j])
    largest = max(abs(w) for one in filters for w in one)
    slices = [bank[j, i].ravel() for j in range(k) for i in range(c)]
    thin = sum(all(abs(w) < 0.01 * largest for w in piece) for piece in slices)
    spread = np.cov(np.array(slices).T, bias=True)
    shares = np.linalg.eigvalsh(spread).clip(0) / np.trace(spread)
    return {
        "filters": k,
        "dead": sum(norm < 0.01 * max(norms) for norm in norms),
        "effective_rank": trace**2 / squares,
        "orthogonality": 1 - cosines / (k * (k - 1)),
        "sparsity": thin / len(slices),
        "variance_entropy": -sum(s * math.log10(s) for s in shares if s > 1e-15),
    }


@pytest.mark.parametrize("shape", [(7, 3, 3, 3), (30, 1, 3, 3), (4, 2, 3, 3)])
def test_numbers_are_those_of_loops(random, shape):
    bank = random.normal(size=shape)
    bank[1] *= 1e-3
    bank[2, 0] = 0
    found = rs.filter_quality(bank)
    for name, value in by_loops(bank).items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    assert found["dead"] == (1 if shape[1] > 1 else 2)


@pytest.mark.parametrize(
    ("shape", "sparsity", "entropy", "threshold", "orthogonality"),
    [  # printed by torchconvquality 0.3.0
        ((12, 3, 3, 3), 0.1111111119, 0.919482655018627, 0.8593717088254735, 0.8703603769288694),
        ((5, 2, 3, 3), 0.3000000119, 0.6839615115144881, 0.5874174172179989, 0.8054054913857157),
    ],
)
def test_numbers_are_those_of_torchconvquality(shape, sparsity, entropy, threshold, orthogonality):
    bank = np.sin(np.arange(math.prod(shape)) ** 2 * 0.37).reshape(shape)
    bank[1, 0] *= 1e-4
    bank[2] *= 1e-5
    found = rs.filter_quality(bank)
    assert found["sparsity"] == pytest.approx(sparsity, abs=1e-7)
    assert found["variance_entropy"] == pytest.approx(entropy, rel=1e-9)
    assert found["variance_entropy_random"] == pytest.approx(threshold, rel=1e-12)
    assert found["orthogonality"] == pytest.approx(orthogonality, rel=1e-9)


def test_numbers_are_those_of_the_installed_torchconvquality(random):
    package = pytest.importorskip("torchconvquality")
    for shape in [(16, 3, 3, 3), (64, 8, 3, 3), (32, 1, 3, 3)]:
        bank = random.normal(size=shape) * random.lognormal(0, 3, (shape[0], shape[1], 1, 1))
        theirs = package.measure_conv_weight_quality(torch.from_numpy(bank))
        ours = rs.filter_quality(bank)
        for name in ("sparsity", "variance_entropy", "orthogonality"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-6), name


@pytest.mark.slow
def test_numbers_are_those_of_the_readme_of_torchconvquality():
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    cached = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    if not cached.is_file():
        pytest.skip(f"the weights of torchvision's ResNet-18 are not cached at {cached}")
    state = torch.load(cached, weights_only=True)
    found = rs.filter_quality(state["layer1.0.conv1.weight"])
    assert found["sparsity"] == pytest.approx(README_SPARSITY, abs=1e-6)
    relative = found["variance_entropy"] / found["variance_entropy_random"]
    # the README does not say whether its entropy is relative to the threshold
    assert README_ENTROPY in (
        pytest.approx(found["variance_entropy"], abs=1e-5),
        pytest.approx(relative, abs=1e-5),
    )


def test_scale_and_order_of_filters_do_not_matter(random):
    bank = random.normal(size=(20, 3, 3, 3))
    bank[3], bank[5] = bank[4], 1e-4 * bank[5]
    found = rs.filter_quality(bank)
    assert found["duplicates"] == found["dead"] == 1
    for other in (bank * 1e-30, bank * -1e30, bank[random.permutation(20)]):
        for name, value in rs.filter_quality(other).items():
            assert value == pytest.approx(found[name], rel=1e-9), name


def test_orthonormal_filters_have_full_rank_and_no_cosines(random):
    rows = np.linalg.qr(random.normal(size=(27, 27)))[0][:10]
    found = rs.filter_quality(rows.reshape(10, 3, 3, 3))
    assert found["effective_rank"] == pytest.approx(10)
    assert found["orthogonality"] == pytest.approx(1)
    one = rs.filter_quality(np.outer(random.normal(size=10), rows[0]).reshape(10, 3, 3, 3))
    assert one["effective_rank"] == pytest.approx(1)
    assert one["orthogonality"] == pytest.approx(0)


def test_slices_of_equal_variance_have_the_entropy_of_nine_components():
    slices = np.concatenate([np.eye(9), -np.eye(9)]).reshape(18, 1, 3, 3)
    assert rs.filter_quality(slices)["variance_entropy"] == pytest.approx(math.log10(9))


@pytest.mark.parametrize(("k", "d"), [(16, (3, 3, 3)), (64, (3, 7, 7)), (8, (1, 3, 3))])
def test_random_filters_have_the_stated_rank_and_orthogonality(random, k, d):
    found = [rs.filter_quality(random.normal(size=(k, *d))) for _ in range(300)]
    inverse = np.array([1 / one["effective_rank"] for one in found])
    error = inverse.std() / math.sqrt(len(inverse))
    assert inverse.mean() == pytest.approx(1 / found[0]["effective_rank_random"], abs=4 * error)
    cosines = np.array([one["orthogonality"] for one in found])
    error = cosines.std() / math.sqrt(len(cosines))
    assert cosines.mean() == pytest.approx(found[0]["orthogonality_random"], abs=4 * error)


def test_random_slices_are_at_the_threshold_of_the_entropy(random):
    found = [rs.filter_quality(random.normal(size=(64, 3, 3, 3))) for _ in range(50)]
    ratio = [one["variance_entropy"] / one["variance_entropy_random"] for one in found]
    assert min(ratio) > 0.99
    smooth = random.normal(size=(64, 3, 1, 1)) + 0.3 * random.normal(size=(64, 3, 3, 3))
    one = rs.filter_quality(smooth)
    assert one["variance_entropy"] < 0.8 * one["variance_entropy_random"]


def test_duplicates_are_counted_in_groups(random):
    bank = np.linalg.qr(random.normal(size=(27, 27)))[0][:8].reshape(8, 3, 3, 3)
    bank[1], bank[2] = 5 * bank[0], -0.1 * bank[0]  # one group of three
    bank[4] = bank[3] + 0.1 * bank[5]  # cosine 0.995 with filter 3
    bank[7] = bank[6] + 0.2 * bank[5]  # cosine 0.981 with filter 6
    found = rs.filter_quality(bank)
    assert (found["duplicates"], found["duplicate_groups"], found["dead"]) == (3, 2, 0)


def test_dead_filters_are_no_duplicates():
    bank = np.eye(27)[:6].reshape(6, 3, 3, 3)
    bank[2:] = 0
    bank[5] = 1e-3 * bank[0]
    found = rs.filter_quality(bank)
    assert (found["dead"], found["duplicates"], found["effective_rank"]) == (4, 0, pytest.approx(2))


def test_a_bank_of_zeros_is_dead_with_a_warning():
    with pytest.warns(rs.RepsimWarning, match="all filters are zero"):
        found = rs.filter_quality(np.zeros((4, 3, 3, 3)))
    assert (found["dead"], found["sparsity"], found["duplicates"]) == (4, 1, 0)
    assert all(
        math.isnan(found[n]) for n in ("effective_rank", "orthogonality", "variance_entropy")
    )


def test_undefined_numbers_are_nan(random):
    assert math.isnan(rs.filter_quality(random.normal(size=(1, 3, 3, 3)))["orthogonality"])
    large = rs.filter_quality(random.normal(size=(9, 3, 7, 7)))
    assert math.isnan(large["variance_entropy"])
    assert math.isnan(large["variance_entropy_random"])


def test_tensors_of_half_precision_are_taken(random):
    bank = torch.from_numpy(random.normal(size=(8, 3, 3, 3))).to(torch.bfloat16)
    assert rs.filter_quality(bank) == rs.filter_quality(bank.double().numpy())


def test_wrong_input_is_refused(random):
    with pytest.raises(rs.ShapeError, match=r"expected \(k, c, kh, kw\)"):
        rs.filter_quality(random.normal(size=(3, 3, 3)))
    with pytest.raises(rs.ShapeError, match="not empty"):
        rs.filter_quality(np.zeros((0, 3, 3, 3)))
    with pytest.raises(rs.DataError, match="NaN or infinite"):
        rs.filter_quality(np.full((2, 3, 3, 3), np.inf))
