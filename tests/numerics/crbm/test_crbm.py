"""Convolutional restricted Boltzmann machines, against enumeration of all their states."""

import itertools
import math

import pytest
import torch
from samples import LEAVES, noise_images
from torch.nn import functional

import repsim_energy as rs
from repsim_energy.errors import DataError, ShapeError, TrainingError, UsageError
from repsim_energy.numerics.crbm.layer import Crbm, pooled_probabilities, pooled_sample
from repsim_energy.numerics.crbm.network import bases, train_network
from repsim_energy.numerics.crbm.train import CrbmOptions, statistics, train_crbm
from repsim_energy.numerics.crbm.whitening import gray, whitened, whitening_kernel


def tiny(rng, *, real, k=2, c=1, pool=2):
    """A layer of 2x2 filters whose 2x2 hidden maps are one block (of 3x3 visible units)."""
    draw = lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)  # noqa: E731
    return Crbm(draw(k, c, 2, 2), draw(k), draw(c), pool, real)


def energy(layer, visible, hidden):
    """The energy by loops over all units."""
    k, c, kh, kw = layer.filters.shape
    total = 0.0
    for channel, i, j in itertools.product(range(c), *map(range, visible.shape[1:])):
        v, a = visible[channel, i, j], layer.visible_bias[channel]
        total += (v - a) ** 2 / 2 if layer.real else -a * v
    for number, i, j in itertools.product(range(k), *map(range, hidden.shape[1:])):
        drive = layer.hidden_bias[number]
        for channel, x, y in itertools.product(range(c), range(kh), range(kw)):
            drive = drive + layer.filters[number, channel, x, y] * visible[channel, i + x, j + y]
        total -= hidden[number, i, j] * drive
    return total


def all_hidden(k, pool):
    """All states of k hidden maps of one block each: at most one unit of a block is 1."""
    units = pool * pool
    choices = torch.eye(units + 1, dtype=torch.float64)[:, :units].reshape(-1, pool, pool)
    return [torch.stack(maps) for maps in itertools.product(choices, repeat=k)]


@pytest.mark.parametrize("real", [True, False])
def test_hidden_and_pooling_units_have_the_probabilities_of_the_energy(rng, real):
    layer = tiny(rng, real=real)
    visible = torch.randn(1, 3, 3, generator=rng, dtype=torch.float64)
    states = all_hidden(2, 2)
    weights = torch.stack([-energy(layer, visible, h) for h in states]).softmax(0)
    expected = sum(weight * state for weight, state in zip(weights, states, strict=True))
    hidden, pooled = pooled_probabilities(layer.hidden_input(visible[None]), 2)
    torch.testing.assert_close(hidden[0], expected)
    torch.testing.assert_close(pooled[0, :, 0, 0], expected.sum((1, 2)))
    torch.testing.assert_close(layer.pooled(visible[None]), pooled)
    log_sum = torch.stack([-energy(layer, visible, h) for h in states]).logsumexp(0)
    torch.testing.assert_close(layer.free_energy(visible[None])[0], -log_sum)


def test_pooling_of_many_blocks_is_that_of_each(rng):
    inputs = 3 * torch.randn(2, 3, 4, 6, generator=rng, dtype=torch.float64)
    hidden, pooled = pooled_probabilities(inputs, 2)
    for n, k, i, j in itertools.product(range(2), range(3), range(4), range(6)):
        rows, columns = (slice(side // 2 * 2, side // 2 * 2 + 2) for side in (i, j))
        block = [math.exp(x) for x in inputs[n, k, rows, columns].flatten().tolist()]
        expected = math.exp(inputs[n, k, i, j]) / (1 + sum(block))
        assert float(hidden[n, k, i, j]) == pytest.approx(expected, rel=1e-12)
        whole = sum(block) / (1 + sum(block))
        assert float(pooled[n, k, i // 2, j // 2]) == pytest.approx(whole, rel=1e-12)
    large = torch.tensor([[[[1000.0, -1000.0], [0.0, 999.0]]]])
    assert pooled_probabilities(large, 2)[0].isfinite().all()


def test_visible_units_have_the_distribution_of_the_energy(rng):
    hidden = all_hidden(2, 2)[7]
    layer = tiny(rng, real=False)
    states = [
        torch.tensor(bits, dtype=torch.float64).reshape(1, 3, 3)
        for bits in itertools.product((0, 1), repeat=9)
    ]
    weights = torch.stack([-energy(layer, v, hidden) for v in states]).softmax(0)
    expected = sum(weight * state for weight, state in zip(weights, states, strict=True))
    torch.testing.assert_close(layer.visible_mean(hidden[None])[0], expected)
    layer = tiny(rng, real=True)
    mean = layer.visible_mean(hidden[None])[0].requires_grad_()
    energy(layer, mean, hidden).backward()
    torch.testing.assert_close(mean.grad, torch.zeros_like(mean))  # the minimum, of a parabola


@pytest.mark.parametrize("real", [True, False])
def test_statistics_are_the_gradient_of_the_free_energy(rng, real):
    layer = tiny(rng, real=real, c=2)
    visible = torch.randn(5, 2, 3, 3, generator=rng, dtype=torch.float64)
    parameters = [layer.filters, layer.hidden_bias, layer.visible_bias]
    for values in parameters:
        values.requires_grad_()
    expected = torch.autograd.grad(-layer.free_energy(visible).mean(), parameters)
    hidden, _ = pooled_probabilities(layer.hidden_input(visible), 2)
    for found, one in zip(statistics(layer, visible, hidden), expected, strict=True):
        torch.testing.assert_close(found, one)


def test_the_exact_gradient_of_the_likelihood_is_a_difference_of_statistics(rng):
    """Data minus model; contrastive divergence replaces the model by a reconstruction."""
    layer = tiny(rng, real=False)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9)), dtype=torch.float64)
    every = every.reshape(-1, 1, 3, 3)
    data = every[torch.randint(512, (6,), generator=rng)]
    layer.filters.requires_grad_()
    log_sum = (-layer.free_energy(every)).logsumexp(0)
    likelihood = (-layer.free_energy(data) - log_sum).mean()
    (expected,) = torch.autograd.grad(likelihood, layer.filters)
    model = (-layer.free_energy(every)).softmax(0)

    def filters(visible):
        hidden, _ = pooled_probabilities(layer.hidden_input(visible), 2)
        return statistics(layer, visible, hidden)[0]

    average = sum(w * filters(v[None]) for w, v in zip(model, every, strict=True))
    torch.testing.assert_close(filters(data) - average, expected)


def test_samples_have_their_probabilities_and_at_most_one_unit_of_a_block(rng):
    inputs = torch.randn(1, 2, 4, 4, generator=rng)
    hidden, _ = pooled_probabilities(inputs, 2)
    drawn = pooled_sample(hidden.expand(20000, -1, -1, -1), 2, rng)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert functional.avg_pool2d(drawn, 2).max() == 0.25
    torch.testing.assert_close(drawn.mean(0), hidden[0], atol=0.015, rtol=0)


def synthetic(generator, count=16, side=16):
    """Images with a vertical and a horizontal edge at random positions, rarely, and noise."""
    edge = torch.tensor([[1.0, -1.0]]).repeat(4, 2)
    filters = torch.stack([edge, edge.T])[:, None]
    units = (torch.rand(count, 2, side, side, generator=generator) < 0.02).float()
    noise = torch.randn(count, 1, side + 3, side + 3, generator=generator)
    return functional.conv_transpose2d(units, filters) + 0.2 * noise, filters


def test_known_filters_are_found():
    options = CrbmOptions(filters=2, patch=(5, 5), sparsity=0.02, steps=400, lr=0.02)
    trained = train_crbm(lambda g: synthetic(g, side=17)[0], options, real=True, seed=1)
    _, known = synthetic(torch.Generator())
    found = trained.layer.filters
    match = functional.conv2d(found, known, padding=2).abs().amax((2, 3))
    match = match / found.flatten(1).norm(dim=1)[:, None] / known.flatten(1).norm(dim=1)
    assert match.amax(0).min() > 0.85
    assert match.argmax(0).unique().numel() == 2  # each by a filter of its own
    assert trained.error < 0.6


@pytest.mark.parametrize("target", [0.01, 0.03, 0.1])
def test_sparsity_reaches_its_target(target):
    images = rs.load_images(LEAVES).train.images
    options = CrbmOptions(filters=6, patch=(5, 5), sparsity=target, steps=500)
    (trained,) = train_network(images, [options])
    assert trained.activation.tolist() == pytest.approx([target] * 6, rel=0.15)


def test_training_depends_on_the_seed_alone():
    images = noise_images(6, (3, 20, 20)).images
    options = [CrbmOptions(4, (3, 3), steps=5), CrbmOptions(3, (2, 2), steps=5)]

    def filters(seed):
        return [training.layer.filters for training in train_network(images, options, seed=seed)]

    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = filters(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        again = filters(0)
    finally:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], filters(1)[0])
    assert [tuple(bank.shape) for bank in first] == [(4, 1, 3, 3), (3, 4, 2, 2)]


def test_bases_of_the_second_layer_are_what_its_units_add_to_the_image(rng):
    """The image of one active unit, with the blocks of pooling units evenly filled."""
    first, second = tiny(rng, real=True, k=3), tiny(rng, real=False, k=4, c=3)
    (*_, h, w), sums = bases([first, second]).shape, bases([first, second])
    assert (h, w) == (5, 5)
    slow = torch.zeros_like(sums)
    for k, m, i, j, x, y in itertools.product(*map(range, (4, 3, 2, 2, 2, 2))):
        weight = second.filters[k, m, i, j] / 4
        row, column = 2 * i + x, 2 * j + y
        slow[k, :, row : row + 2, column : column + 2] += weight * first.filters[m]
    torch.testing.assert_close(sums, slow)
    assert torch.equal(bases([first]), first.filters)


def test_whitening_equalizes_what_is_not_noise(rng):
    rough = torch.randn(30, 3, 40, 40, generator=rng)
    smooth = functional.avg_pool2d(rough, 3, stride=1) + 0.2 * rough[..., 1:-1, 1:-1]
    images = (100 + 100 * smooth).clamp(0, 255).to(torch.uint8)
    kernel = whitening_kernel(images)
    pixels = whitened(images, kernel)
    assert float(pixels.var()) == pytest.approx(1, rel=0.05)
    assert float(kernel.sum()) == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), atol=0.1 * float(kernel.max()), rtol=0)

    def unevenness(maps):
        power = torch.fft.rfft2(maps[..., :32, :32] - maps.mean()).abs().square().mean((0, 1))
        low = power[4:10, 4:10]  # waves shorter than the kernel is wide, longer than the noise
        return float(low.std() / low.mean())

    assert unevenness(pixels) < 0.6 * unevenness(gray(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "got filters=0"),
        ({"pool": 0}, "got pool=0"),
        ({"steps": 0}, "got steps=0"),
        ({"sparsity": 0.25}, "between 0 and 0.25"),
        ({"sparsity": 0.0}, "got sparsity=0"),
        ({"lr": 0.0}, "got lr=0"),
        ({"lr": float("nan")}, "got lr=nan"),
        ({"decay": -1.0}, "got decay=-1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        CrbmOptions(**options)


def test_bad_images_are_refused():
    gradual = noise_images(4, (1, 12, 12)).images
    with pytest.raises(ShapeError, match="a side of 12 pixels, expected at least 24"):
        train_network(gradual, [CrbmOptions()])
    with pytest.raises(ShapeError, match="at least 7x7"):
        whitening_kernel(gradual[..., :6])
    with pytest.raises(DataError, match="contrast"):
        whitening_kernel(torch.full((3, 1, 9, 9), 7, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="3x4 units, expected multiples of 2"):
        pooled_probabilities(torch.zeros(1, 1, 3, 4), 2)
    with pytest.raises(TrainingError, match="smaller lr"):
        train_network(
            noise_images(4, (1, 20, 20)).images, [CrbmOptions(4, (3, 3), steps=60, lr=1e6)]
        )
