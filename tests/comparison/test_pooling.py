"""Pooled positions and chosen tokens, against features that are pooled by hand."""

import numpy as np
import pytest
import torch
from samples import both_splits, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import memory
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import RepsimWarning, UndefinedSimilarityWarning, UsageError
from repsim_energy.training.inputs import as_input, normalization_of


class SmallViT(nn.Module):
    """Patches of 4x4 pixels as tokens, behind a class token if wanted, and one block."""

    def __init__(self, width=12, class_token=True, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, width, 4, 4)
            self.cls_token = nn.Parameter(torch.randn(1, 1, width)) if class_token else None
            self.norm = nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width))
            self.block = nn.Identity()
            self.head = nn.Linear(width, 3)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], 1)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed)[0]
        tokens = self.block(tokens + self.mlp(tokens))
        return self.head(tokens[:, 0])


class Turns(nn.Module):
    """Moves the axes of maps, as Swin does, and back."""

    def __init__(self, width=6):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.turn = nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.back = nn.Identity()
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, images):
        maps = self.turn(self.conv(images).permute(0, 2, 3, 1))
        return self.last(self.back(self.norm(maps).permute(0, 3, 1, 2))).mean((2, 3))


def copied(output):
    return output[0].clone() if isinstance(output, tuple) else output.clone()


def outputs(module, layer, pictures):
    """The output of a layer for all pictures, as a comparison shows them."""
    found = []
    hook = module.get_submodule(layer).register_forward_hook(
        lambda *given: found.append(copied(given[2]))
    )
    with torch.no_grad():
        module.eval()(as_input(pictures.images, normalization_of(pictures)))
    hook.remove()
    return found[0]


def off_diagonal(result):
    return result.similarity.values[0, 0, 0, :, 0, 1, 0, :]


def cnns():
    """Two networks with maps of different sizes and widths at their first layers."""
    return {"a": small_cnn(3, 3, widths=(5,)), "b": nn.Sequential(nn.Conv2d(3, 7, 5, 2))}


@pytest.mark.parametrize("metric", ["cka", "cka:estimator=biased"])
@pytest.mark.parametrize("pool", ["flatten", "mean", "max"])
def test_a_pooled_layer_is_its_pooled_features(pool, metric, data, pictures):
    modules = cnns()
    found = rs.compare(modules, data, metric, pool=pool)
    maps = [outputs(module, "0", pictures).double() for module in modules.values()]
    by_hand = {
        "flatten": lambda m: m.flatten(1),
        "mean": lambda m: m.mean((2, 3)),
        "max": lambda m: m.amax((2, 3)),
    }[pool]
    x, y = (by_hand(m) for m in maps)
    expected = rs.cka(
        x, y, estimator=metric.removeprefix("cka").removeprefix(":estimator=") or "debiased"
    )
    assert off_diagonal(found).item() == pytest.approx(expected, abs=1e-6)
    assert found.pool.values.tolist() == [pool, pool]


def test_flatten_is_what_is_done_anyway(data):
    modules = cnns()
    plain, asked = (
        rs.compare(modules, data, "cka"),
        rs.compare(modules, data, "cka", pool="flatten", tokens="all"),
    )
    for name in ("similarity", "null_low", "null_high"):
        np.testing.assert_array_equal(plain[name], asked[name])
    assert plain.attrs["command"] == asked.attrs["command"]
    assert "positions" not in plain.coords


def same_sizes():
    return {"a": small_cnn(3, 3, widths=(5,)), "b": small_cnn(3, 3, widths=(4,))}


def test_positions_as_samples_are_rows(data, pictures):
    modules = same_sizes()
    found = rs.compare(modules, data, "cka", images=8, pool="none")
    x, y = (outputs(m, "0", pictures).double().movedim(1, -1) for m in modules.values())
    shown = balanced_prefix(pictures.labels, 8)
    expected = rs.cka(x[shown].flatten(0, 2), y[shown].flatten(0, 2))
    assert off_diagonal(found).item() == pytest.approx(expected, abs=1e-6)
    assert found.positions.values.tolist() == [["10x10"], ["10x10"]]
    assert found.n_images.values.tolist() == [8]
    assert found.null_low.isnull().all()
    assert found.null_high.isnull().all()


def hsic(x, y):
    """Equation 5 of Song et al. (2012), written out."""
    k, m = x @ x.T, y @ y.T
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    n, one = len(x), torch.ones(len(x), dtype=torch.float64)
    return float(
        torch.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def test_batches_of_positions_are_samples_of_a_batch_of_images(data, pictures):
    modules = same_sizes()
    found = rs.compare(modules, data, "cka:batch=20", pool="none")
    images = torch.randperm(60, generator=torch.Generator().manual_seed(0)).split(20)
    rows = torch.randperm(20 * 100, generator=torch.Generator().manual_seed(0)).split(20)
    maps = [outputs(m, "0", pictures).double().movedim(1, -1) for m in modules.values()]
    parts = [[m[i].flatten(0, 2)[r] for i in images for r in rows] for m in maps]
    sums = np.array([[sum(map(hsic, x, y)) for y in parts] for x in parts])
    expected = sums[0, 1] / np.sqrt(sums[0, 0] * sums[1, 1])
    assert off_diagonal(found).item() == pytest.approx(expected, abs=1e-6)


def test_layers_of_different_samples_are_undefined_and_named(data):
    with pytest.warns(UndefinedSimilarityWarning, match="10x10 in 'first' of 'a'; 4x4 in 'first'"):
        found = rs.compare(cnns(), data, "cka", images=10, pool="none")
    assert np.isnan(off_diagonal(found))
    assert found.similarity.values[0, 0, 0, 0, 0, 0, 0, 0] == pytest.approx(1)
    with pytest.warns(UndefinedSimilarityWarning, match="10x10 in 'first' of 'a'; one in 'b'"):
        rs.compare(same_sizes(), data, "cka", images=10, pool={"a": "none"})


def test_gram_matrices_do_not_ask_for_equal_sizes(data):
    for pool in ("flatten", "mean", "max"):
        assert np.isfinite(off_diagonal(rs.compare(cnns(), data, "cka", pool=pool)))


def test_each_model_may_have_a_word_of_its_own(data, pictures):
    modules = cnns()
    found = rs.compare(modules, data, "cka", pool={"a": "mean"})
    maps = [outputs(module, "0", pictures).double() for module in modules.values()]
    expected = rs.cka(maps[0].mean((2, 3)), maps[1].flatten(1))
    assert off_diagonal(found).item() == pytest.approx(expected, abs=1e-6)
    assert found.pool.values.tolist() == ["mean", "flatten"]


@pytest.mark.parametrize("layer", ["block", "attention[0]", "mlp", "mlp.1"])
@pytest.mark.parametrize("tokens", ["cls", "mean", "all"])
def test_tokens_of_a_transformer(layer, tokens, data, pictures):
    modules = {"a": SmallViT(), "b": SmallViT(8, seed=1)}
    found = rs.compare(modules, data, "cka", layers=[layer], tokens=tokens, images=60)
    name = layer.removesuffix("[0]")
    features = []
    for module in modules.values():
        features.append(outputs(module, name, pictures).double())
    choose = {"cls": lambda t: t[:, 0], "mean": lambda t: t.mean(1), "all": lambda t: t.flatten(1)}
    expected = rs.cka(*(choose[tokens](t) for t in features))
    assert off_diagonal(found).item() == pytest.approx(expected, abs=1e-6)
    assert found.tokens.values.tolist() == [tokens, tokens]


def test_tokens_beside_maps_leave_the_maps_alone(data, pictures):
    modules = {"vit": SmallViT(), "cnn": small_cnn(3, 3, widths=(5,))}
    found = rs.compare(
        modules, data, "cka", layers={"a": {"vit": "block", "cnn": "0"}}, tokens="cls", pool="mean"
    )
    x = outputs(modules["vit"], "block", pictures).double()[:, 0]
    y = outputs(modules["cnn"], "0", pictures).double().mean((2, 3))
    assert off_diagonal(found).item() == pytest.approx(rs.cka(x, y), abs=1e-6)
    assert found.positions.values.tolist() == [["10"], ["10x10"]]  # nine patches


@pytest.mark.parametrize("layer", ["turn", "norm", "back", "conv"])
def test_the_axis_of_features_is_that_of_neighbors_of_known_kind(layer, data, pictures):
    module, other = Turns(), same_sizes()["b"]
    layers = {"x": {"a": layer, "b": "0"}}
    found = rs.compare({"a": module, "b": other}, data, "cka", layers=layers, pool="mean")
    x = outputs(module, layer, pictures).double()
    x = x.mean((1, 2)) if layer in ("turn", "norm") else x.mean((2, 3))
    y = outputs(other, "0", pictures).double().mean((2, 3))
    assert x.shape[1] == 6
    assert off_diagonal(found).item() == pytest.approx(rs.cka(x, y), abs=1e-6)
    assert found.positions.values[0, 0] == "10x10"


class Unknown(nn.Module):
    """Returns maps that no layer of known kind returns or receives."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.odd = nn.Identity()

    def forward(self, images):
        return self.odd(self.conv(images)[:, :, ::2].abs()).mean((2, 3))


def test_an_axis_that_is_not_known_is_refused_with_the_layers(data):
    with pytest.raises(UsageError, match=r"'net': got pool=mean .* 'odd' \(n, 5, 5, 10\) could"):
        rs.compare({"net": Unknown()}, data, "cka", layers=["odd", "conv"], pool="mean")
    square = Turns(width=10)  # (n, 10, 10, 10) in either order
    with pytest.raises(UsageError, match=r"'turn' \(n, 10, 10, 10\), 'back' \(n, 10"):
        rs.compare({"net": square}, data, "cka", layers=["turn", "back"], pool="max")
    rs.compare({"net": square}, data, "cka", layers=["norm", "conv"], pool="max")


def test_a_class_token_is_asked_for_where_there_is_one(data):
    for module, layer in ((SmallViT(class_token=False), "block"), (SmallViT(), "tokens")):
        if layer == "tokens":
            module.tokens = nn.LayerNorm(12)
            before = module.forward

            def forward(images, module=module, before=before):
                module.tokens(module.patches(images).flatten(2).transpose(1, 2))
                return before(images)

            module.forward = forward
        with pytest.raises(UsageError, match=rf"'{layer}' \(n, 9, 12\) begins with no class token"):
            rs.compare({"net": module}, data, "cka", layers=[layer], tokens="cls")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "avg"}, "got pool=avg, expected flatten, mean, max, none"),
        ({"tokens": "patches"}, "got tokens=patches, expected all, cls, mean"),
        ({"pool": {"c": "mean"}}, "unknown model in pool= 'c'"),
        ({"tokens": 3}, "got tokens=3, expected a text, or a mapping"),
    ],
)
def test_other_words_are_refused(options, words, data):
    with pytest.raises(UsageError, match=words):
        rs.compare(same_sizes(), data, "cka", **options)


def test_an_option_that_changed_nothing_is_said(data):
    with pytest.warns(
        RepsimWarning, match="tokens=cls changed nothing: no layer .* of 'a', 'b' re"
    ):
        rs.compare(same_sizes(), data, "cka", tokens="cls")
    with pytest.warns(RepsimWarning, match="pool=max changed nothing: no layer .* of 'b' has pos"):
        rs.compare(same_sizes(), data, "cka", layers="output", pool={"b": "max"})


def test_images_of_several_sizes_have_no_common_positions(data):
    smaller = noise_images(30, (3, 10, 10), 3, name="smaller")
    sets = [data, both_splits(smaller)]
    both = rs.compare(same_sizes(), sets, "cka")
    assert np.isfinite(both.similarity.values[1, 0, 0, 0, 1, 1, 0, 0])
    with pytest.raises(UsageError, match="several sizes, 12x12 in 'pictures', 10x10 in 'smaller'"):
        rs.compare(same_sizes(), sets, "cka", pool="mean")


def test_memory_of_samples_is_counted_before_anything_is_compared(data, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 2 * 60**2 * 10.0)
    rs.compare(same_sizes(), data, "cka", pool="mean")
    with pytest.raises(UsageError, match="60 images and 1 layers take 1.9 GB .* pool=mean$"):
        rs.compare(same_sizes(), data, "cka", pool="none")


def test_the_choice_is_stored(data, tmp_path):
    result = rs.compare(
        {"vit": SmallViT()}, data, "cka", layers="attention[0],output", tokens="mean"
    )
    rs.save_result(result, tmp_path / "x.nc")
    stored = rs.open_result(tmp_path / "x.nc")
    assert stored.identical(result)
    assert stored.layer_name.values.tolist() == [["attention[0]", "output"]]
    assert stored.positions.values.tolist() == [["10", ""]]
    assert (stored.tokens.item(), stored.pool.item()) == ("mean", "flatten")
    assert 'tokens="mean"' in stored.attrs["command"]
