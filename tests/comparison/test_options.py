"""An option that cannot apply is refused, or said to change nothing; none is passed over."""

import inspect
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, both_splits, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.comparison.options import OF_CHECKPOINTS, USES
from repsim_energy.errors import RepsimWarning, UsageError

IMAGES = noise_images(30, (3, 12, 12))
BOTH = both_splits(IMAGES)
BANK = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))

ALWAYS = {
    "resamples",
    "models",
    "dataset",
    "metric",
    "null",
    "channels",
    "registry",
    "reporter",
    "progress",
    "retry_failed",
}
"""What every comparison has a use for, or what is told how far it is."""


def test_of_every_option_it_is_known_what_it_is_for():
    assert set(inspect.signature(rs.compare).parameters) - ALWAYS == USES.keys()
    from repsim_energy.models.checkpoint import checkpoint

    always = {"path", "sha256", "layer", "weights", "arch", "arch_options"}
    always |= {"num_classes", "channels"}
    options = set(list(inspect.signature(checkpoint).parameters)[2:])
    assert options - always == OF_CHECKPOINTS.keys()


REFUSED = [
    ("energy", "align", "rank"),
    ("cka", "align", "input"),
    ("energy", "images", 10),
    ("energy", "pool", "mean"),
    ("energy", "tokens", {"net": "cls"}),
    ("energy", "precision", "bfloat16"),
    ("energy", "normalize", "none"),
    ("energy", "normalize", {"net": "none"}),
    ("cka", "fold", "bn"),
    ("cka", "fold", {"net": "bn"}),
    ("cka", "stage", "init"),
    ("cka", "stage", "change"),
    ("cka", "stage", "nonsense"),
    ("cka:batch=20", "stage", "change"),
]


@pytest.mark.parametrize(("metric", "option", "value"), REFUSED)
def test_options_of_metrics_of_the_other_kind_are_refused(metric, option, value):
    kind = {"energy": "show images to networks", "cka": "compare filters"}[metric.split(":")[0]]
    kind = "compare filters of deeper layers" if option == "align" else kind
    with pytest.raises(UsageError, match=f"got {option}=.* for metrics that {kind}") as said:
        rs.compare({"net": small_cnn(2, 3)}, BOTH, metric, **{option: value})
    assert "\n" not in str(said.value)
    assert "--" not in str(said.value)


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("energy", {"layers": "first"}),
        ("energy", {"layers": ["first"]}),
        ("energy", {"images": 1000}),
        ("energy", {"normalize": "auto"}),
        ("energy", {"pool": "flatten", "tokens": "all"}),
        ("cka", {"pool": "flatten", "tokens": "all"}),
        ("energy", {"stage": "trained", "seeds": [5], "device": "cpu"}),
        ("cka", {"stage": "trained"}),
        ("cka", {"stage": "auto", "jobs": 1, "seeds": 1}),
    ],
)
def test_what_is_done_anyway_may_be_asked_for(metric, options):
    net = {"net": small_cnn(2, 3)}
    plain, asked = rs.compare(net, BOTH, metric), rs.compare(net, BOTH, metric, **options)
    np.testing.assert_array_equal(plain.similarity, asked.similarity)


IDLE = [
    ("energy", {"seeds": 5}, ["seeds=5"]),
    ("cka", {"seeds": [1, 2]}, ["seeds=1,2"]),
    ("energy", {"recipe": "paper"}, ["recipe=paper"]),
    ("energy", {"recipe": RECIPE, "seeds": 4}, ["recipe=Recipe", "seeds=4"]),
    ("energy", {"answer": "logits"}, ["answer=logits"]),
    ("cka", {"jobs": 3}, ["jobs=3"]),
    ("cka", {"scheduler": "local:2"}, ["scheduler=local:2"]),
]


@pytest.mark.parametrize(("metric", "options", "named"), IDLE)
def test_options_of_trainings_are_said_to_change_nothing_where_there_is_none(
    metric, options, named
):
    net = {"net": small_cnn(2, 3)}
    with pytest.warns(RepsimWarning, match="no network is trained here") as said:
        found = rs.compare(net, BOTH, metric, **options)
    (line,) = (str(one.message) for one in said)
    for option in named:
        assert option in line
    plain = rs.compare(net, BOTH, metric)
    np.testing.assert_array_equal(found.similarity, plain.similarity)


def test_options_of_trainings_apply_where_one_network_is_trained():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rs.compare({"net": small_cnn(2, 3), "run": "linear_cnn"}, BOTH, seeds=3, recipe=RECIPE)


@pytest.mark.parametrize(
    ("metric", "option"),
    [("cka", "init"), ("energy", "normalize=none"), ("energy", "answer=logits")],
)
def test_options_of_a_checkpoint_that_a_metric_does_not_use_are_said(metric, option, tmp_path):
    net = small_cnn(2, 3)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    option = f"init={tmp_path}/net.pt" if option == "init" else option
    spec = f"checkpoint:path={tmp_path}/net.pt:{option}"
    if metric == "cka":
        from repsim_energy.models.architectures.lenet import lenet5

        torch.save(lenet5(2, 3).state_dict(), tmp_path / "net.pt")
        spec += ":arch=lenet5"
    images = both_splits(noise_images(20, (3, 32, 32)))
    with pytest.warns(RepsimWarning, match=f"does not use {option.split('=')[0]}= of 'file'"):
        rs.compare({"file": spec}, images, metric)


def test_more_images_than_there_are_are_counted_and_shown():
    net = {"net": small_cnn(2, 3)}
    with pytest.warns(RepsimWarning, match="got images=31, but 'noise' has 30 test images; all"):
        found = rs.compare(net, BOTH, "cka", images=31)
    assert found.n_images.values.tolist() == [30]
    for images in (29, 30):
        assert rs.compare(net, BOTH, "cka", images=images).n_images.item() == images
    assert rs.compare(net, BOTH, "cka").n_images.item() == 30  # nobody asked for 1000


def test_training_images_that_are_shown_are_said():
    words = "'noise' has no test images, so that networks are shown training images"
    with pytest.warns(RepsimWarning, match=words) as said:
        found = rs.compare(TINY, IMAGES, "cka", seeds=1, recipe=RECIPE)
    assert len(said) == 1
    assert found.images_from.values.tolist() == ["train"]
    given = rs.compare({"net": small_cnn(2, 3)}, IMAGES, "cka")  # the images that there are
    assert given.images_from.values.tolist() == ["train"]
    other = both_splits(noise_images(30, (3, 12, 12), seed=1, name="other"))
    sets = rs.compare({"net": small_cnn(2, 3)}, [IMAGES, other], "cka")
    assert sets.images_from.values.tolist() == ["train", "test"]


def test_training_images_of_a_named_data_set_are_said_of_given_networks_too(pictures_npz, tmp_path):
    with np.load(pictures_npz, allow_pickle=False) as arrays:
        kept = {key: arrays[key] for key in ("train_images", "train_labels", "classes")}
    np.savez(tmp_path / "untested.npz", **kept)
    with pytest.warns(RepsimWarning, match="has no test images"):
        rs.compare({"net": small_cnn(2, 3)}, f"npz:path={tmp_path}/untested.npz", "cka")


def test_batches_larger_than_the_images_are_said():
    recipe = replace(RECIPE, batch=31)
    with pytest.warns(RepsimWarning, match="batches of 31, but 'noise' has 30 training images"):
        found = rs.compare(TINY, BOTH, seeds=1, recipe=recipe)
    whole = rs.compare(TINY, BOTH, seeds=1, recipe=replace(RECIPE, batch=30))
    np.testing.assert_array_equal(found.energy, whole.energy)


def test_evaluations_without_test_images_are_said():
    with pytest.warns(RepsimWarning, match="evaluations=2, but 'noise' has no test images"):
        rs.compare(TINY, IMAGES, seeds=1, recipe=replace(RECIPE, evaluations=2))


def test_adam_has_no_momentum():
    with pytest.raises(UsageError, match=r"momentum=0.9 with optimizer=adam"):
        rs.compare(TINY, BOTH, recipe="quick:optimizer=adam:momentum=0.9")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layers", 3),
        ("layers", None),
        ("images", "all"),
        ("images", 1.5),
        ("images", 0),
        ("jobs", "2"),
        ("jobs", 1.5),
        ("jobs", []),
        ("scheduler", 3),
        ("scheduler", []),
        ("device", None),
        ("device", 1.5),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(option, value):
    with pytest.raises(UsageError, match=option.removesuffix("s")):
        rs.compare([small_cnn(2, 3)], BOTH, "cka", **{option: value})


@pytest.mark.parametrize("variant", ["random_labels:seed=1", "pca_labels:component=2"])
def test_labels_that_nobody_is_trained_on_are_named(variant, pictures_npz):
    with pytest.warns(RepsimWarning, match="the labels of .* changed nothing"):
        rs.compare([BANK, -BANK.flip(0)], f"npz:path={pictures_npz}+{variant}")


def test_a_warning_names_the_line_that_called():
    with pytest.warns(RepsimWarning, match="changed nothing") as said:
        rs.compare([BANK, BANK.flip(0)], IMAGES, recipe=RECIPE)
    assert [warning.filename for warning in said] == [__file__]
    assert "recipe=Recipe(...)" in str(said[0].message)
