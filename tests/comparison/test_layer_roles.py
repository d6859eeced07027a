"""One label for a layer that models name differently."""

import numpy as np
import pytest
from samples import small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UsageError


def named(**layers):
    """A network with these names: two convolutions and a recurrent layer at the end."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, images):
            for name in layers:
                layer = getattr(self, name)
                if isinstance(layer, nn.GRU):
                    images = layer(images.flatten(2).transpose(1, 2))[0]
                else:
                    images = layer(images)
            return images.flatten(1)

    return Net()


@pytest.fixture
def models():
    return {
        "a": named(
            conv1=nn.Conv2d(3, 4, 3), conv2=nn.Conv2d(4, 5, 3), gru=nn.GRU(5, 3, batch_first=True)
        ),
        "b": named(
            stem=nn.Conv2d(3, 6, 3), conv2=nn.Conv2d(6, 2, 3), gru=nn.GRU(2, 3, batch_first=True)
        ),
    }


def values(result):
    return result.similarity.values


@pytest.mark.parametrize(
    "layers",
    [
        "x=conv1|stem,output",
        ["x=conv1|stem", "output"],
        "x=a=conv1|b=stem,output",
        "x=a=conv1|stem,output",
        " x = conv1 | stem ,output",
        "x=first|conv1|stem,output",
        {"x": {"a": "conv1", "b": "stem"}, "output": "output"},
        {"x": "conv1|stem", "output": "output"},
    ],
)
def test_every_way_to_write_a_role_gives_the_layers(layers, models, data):
    found = rs.compare(models, data, "cka", layers=layers)
    assert found.layer.values.tolist() == ["x", "output"]
    assert found.layer_name.values.tolist() == [["conv1", "output"], ["stem", "output"]]
    plain = rs.compare(models, data, "cka", layers=["first", "output"])
    np.testing.assert_array_equal(values(found), values(plain))


def test_an_entry_of_a_layer_has_a_label_too(models, data):
    found = rs.compare(models, data, "cka", layers="late=gru[0]")
    assert found.layer_name.values.tolist() == [["gru[0]"], ["gru[0]"]]
    np.testing.assert_array_equal(
        values(found), values(rs.compare(models, data, "cka", layers="gru[0]"))
    )
    with pytest.raises(UsageError, match=r"write 'gru\[ENTRY\]'"):
        rs.compare(models, data, "cka", layers="late=gru")


def test_a_label_with_colons_names_its_model(data):
    spec = "linear_cnn:filters=4"
    one = {"m": small_cnn(3, 3)}
    found = rs.compare(
        [spec, one["m"]], data, "cka", layers=f"x={spec}=conv|0", seeds=1, recipe="quick:steps=1"
    )
    assert found.layer_name.values.tolist() == [["conv"], ["0"]]


REFUSED = {
    "conv1|stem": "'conv1|stem' without a label, expected LABEL=NAME",
    "x=": "layer 'x' without a label or a name",
    "=conv1": "layer '' without a label or a name",
    "x=conv1|": "layer 'x' without a label or a name",
    "x=conv1": "'b': unknown layer of Net 'conv1'",
    "x=nowhere|conv1": "'b': got layer 'x', but the model has none of nowhere, conv1",
    "x=conv1|stem|conv2": "could be conv1 or conv2, expected one.*write x=a=",
    "x=convs|conv1": "'convs' for the layer 'x', which stands for several",
    "x=a=conv1": "no layer 'x' of 'b', expected a name for every model",
    "x=c=conv1|stem": "unknown model of layer 'x' 'c'",
    "x=a=conv1|a=conv2|stem": "expected each model once",
    "x=a=nowhere|stem": "'a': unknown layer of Net 'nowhere'",
    "first=conv1|stem": "the label 'first' for a layer, which is a word",
    ":output=conv1|stem": "the label ':output' for a layer, which is a word",
    "a=conv1|stem": "the label 'a' for a layer, which is the label of a model",
    "conv2=conv1|stem": "'a': got the label 'conv2' for the layer 'conv1', but 'conv2' is another",
    "x=conv1|stem,x=conv2": "got layer 'x' twice",
    "conv2=conv2,conv2": "got layer 'conv2' twice",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_could_mean_several_layers_or_none_is_refused(text, models, data):
    with pytest.raises(UsageError, match=REFUSED[text]) as said:
        rs.compare(models, data, "cka", layers=text)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({}, "got no layers"),
        ({"x": ["conv1"]}, "got layers {'x': .'conv1'.}, expected a label"),
        ({1: "conv1"}, "got layers {1: 'conv1'}, expected a label"),
        ({"x": {"a": "conv1"}}, "no layer 'x' of 'b'"),
        ({"x": {"a": "conv1", "b": ""}}, "layer 'x' without a label or a name"),
    ],
)
def test_other_mappings_are_refused(layers, words, models, data):
    with pytest.raises(UsageError, match=words):
        rs.compare(models, data, "cka", layers=layers)


def test_the_command_takes_the_same_text(repsim, tmp_path, pictures_npz):
    done = repsim(
        "compare",
        "--metric",
        "cka",
        "--models",
        "vgg11:width=0.0625,resnet18:width=0.0625",
        "--dataset",
        f"npz:path={pictures_npz}",
        "--layer",
        "stem=conv1|features.0.0",
        "--seeds",
        "1",
        "--recipe",
        "quick:steps=1",
        "--pool",
        "resnet18:width=0.0625=mean",
        "--tokens",
        "all",
        "-q",
        "-j",
        "1",
        "-o",
        str(tmp_path / "x.nc"),
    )
    assert done.returncode == 0, done.stderr
    stored = rs.open_result(tmp_path / "x.nc")
    assert stored.layer_name.values.tolist() == [["features.0.0"], ["conv1"]]
    assert stored.pool.values.tolist() == ["flatten", "mean"]
