"""Everything that is built in keeps to the rules that plugins are held to."""

import pytest
import torch
from PIL import Image

from repsim_energy.registry import (
    load_dataset,
    load_registry,
    resolve_metric,
    resolve_model,
    resolve_variant,
)
from repsim_energy.testing import check_dataset, check_metric, check_model, check_variant

REGISTRY = load_registry(plugins=False)
NARROW = [f"{name}:width=0.1" for name in REGISTRY.names("model") if name[:3] in ("vgg", "res")]
MODELS = [*NARROW, "vgg11:width=0.1:bn=false", "linear_cnn", "lenet5", "torchvision/squeezenet1_1"]
METRICS = ["energy", "cka", "cka:estimator=biased", "cka:batch=30"]
VARIANTS = ["random_labels:seed=3", "pca_labels:component=3", "alpha_scaled:component=3:alpha=2"]


@pytest.mark.parametrize("spec", METRICS)
def test_a_metric_keeps_the_rules(spec):
    assert len(check_metric(resolve_metric(REGISTRY, spec))) == 18


@pytest.mark.parametrize("spec", MODELS)
def test_a_model_keeps_the_rules(spec):
    size = 64 if "torchvision" in spec else 32
    assert len(check_model(resolve_model(REGISTRY, spec).build, name=spec, size=size)) == 8


@pytest.mark.parametrize("spec", VARIANTS)
def test_a_variant_keeps_the_rules(spec):
    assert len(check_variant(resolve_variant(REGISTRY, spec), name=spec)) == 6


@pytest.fixture
def photos(tmp_path, rng):
    """A folder of both splits with two classes."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = torch.randint(256, (8, 8, 3), generator=rng, dtype=torch.uint8)
                Image.fromarray(pixels.numpy()).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("spec", ["deadleaves:count=200", "npz", "folder"])
def test_a_data_set_keeps_the_rules(spec, pictures_npz, photos):
    spec += {"npz": f":path={pictures_npz}", "folder": f":path={photos}"}.get(spec, "")

    def load(split):
        return getattr(load_dataset(REGISTRY, spec), split)

    assert len(check_dataset(load, name=spec)) == 6


def test_a_given_network_keeps_the_rules(tmp_path):
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "net.safetensors")
    build = resolve_model(REGISTRY, f"checkpoint:path={tmp_path / 'net.safetensors'}").build
    assert len(check_model(build)) == 3


def test_all_pairs_at_once_are_exactly_the_pairs_one_by_one(rng):
    metric = resolve_metric(REGISTRY, "energy")
    profiles = torch.rand(5, 27, generator=rng, dtype=torch.float64).numpy()
    similarity, low, high = metric.compare_all(profiles)
    for i, a in enumerate(profiles):
        for j, b in enumerate(profiles):
            assert similarity[i, j] == pytest.approx(metric.compare(a, b), abs=1e-12)
            assert (low[i, j], high[i, j]) == metric.null_band(a, b)
