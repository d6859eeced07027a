"""Filters of Keras files, in the layouts that Keras 2 and 3 write (compared with files of 3.15)."""

import contextlib
import gzip
import hashlib
import io
import json
import sys
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import FileError, RepsimError, RepsimWarning, ShapeError, UsageError
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.filters.layers import read_filters

h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'repsim-energy[keras]'")

GROUPS = {
    "Conv2D": "conv2d",
    "DepthwiseConv2D": "depthwise_conv2d",
    "Dense": "dense",
    "Conv2DTranspose": "conv2d_transpose",
    "Sequential": "sequential",
    "Functional": "functional",
}
KERNELS = {"DepthwiseConv2D": "depthwise_kernel"}


def kernel(h=3, w=2, c=3, k=4, seed=0):
    """A kernel in the layout of Keras: (h, w, in, out)."""
    return np.random.default_rng(seed).standard_normal((h, w, c, k)).astype(np.float32)


def turned(array):
    """The same as (out, in, h, w), number by number."""
    h, w, c, k = array.shape
    out = np.zeros((k, c, h, w), array.dtype)
    for i, j, a, b in np.ndindex(h, w, c, k):
        out[b, a, i, j] = array[i, j, a, b]
    return out


class Net:
    """A network as Keras describes it, with the kernels of its layers by their names."""

    def __init__(self, kind, *layers, name="net"):
        self.kind, self.name, self.layers = kind, name, layers

    def config(self, version):
        layers = [
            entry.config(version) if isinstance(entry, Net) else described(version, *entry[:4])
            for entry in self.layers
        ]
        if self.kind == "Functional":
            for entry, described_ in zip(self.layers, layers, strict=True):
                sources = entry.sources if isinstance(entry, Net) else entry[4]
                described_["name"] = described_["config"]["name"]
                described_["inbound_nodes"] = nodes(version, sources)
        inner = {"name": self.name, "layers": layers}
        if self.kind == "Functional":
            inner["output_layers"] = [[layers[-1]["name"], 0, 0]]
        return {"class_name": self.kind, "config": inner} | (
            {"module": "keras.src.models.functional", "registered_name": self.kind}
            if version == 3
            else {}
        )


def nodes(version, sources):
    if not sources:
        return []
    if version == 2:
        return [[[source, 0, 0, {}] for source in sources]]
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {
                "shape": [None, 8, 8, 3],
                "dtype": "float32",
                "keras_history": [source, 0, 0],
            },
        }
        for source in sources
    ]
    return [{"args": tensors if len(tensors) == 1 else [tensors], "kwargs": {"mask": None}}]


def described(version, kind, name, array, options):
    config = {"name": name, "trainable": True, **options}
    if array is not None and array.ndim == 4:
        config |= {"kernel_size": list(array.shape[:2]), "data_format": "channels_last"}
    entry = {"class_name": kind, "config": config}
    return entry | ({"module": "keras.layers", "registered_name": None} if version == 3 else {})


def layer(kind, name, array=None, *sources, **options):
    return (kind, name, array, options, sources)


def within(net, *sources):
    net.sources = sources
    return net


def write_new(group, net, named):
    """Write the layout of saving_lib: a group for each layer, numbered within its class."""
    before = Counter()
    for entry in net.layers:
        kind = entry.kind if isinstance(entry, Net) else entry[0]
        kind = GROUPS.get(kind, kind.lower())
        inner = group.create_group(f"layers/{kind}" + f"_{before[kind]}" * (before[kind] > 0))
        before[kind] += 1
        if isinstance(entry, Net):
            write_new(inner, entry, named)
            continue
        variables = inner.create_group("vars")
        if named:
            variables.attrs["name"] = entry[1]
        if entry[2] is not None:
            variables["0"] = entry[2]
            variables["1"] = np.zeros(entry[2].shape[-1], np.float32)
    group.create_group("vars")


def weights_of(net, version):
    for entry in net.layers:
        if isinstance(entry, Net):
            yield from weights_of(entry, version)
        elif entry[2] is not None:
            before = f"{net.name}/" if version == 3 and net.kind == "Sequential" else ""
            end = ":0" if version == 2 else ""
            for name in ("bias", KERNELS.get(entry[0], "kernel")):
                array = entry[2] if name != "bias" else np.zeros(entry[2].shape[-1], np.float32)
                yield f"{before}{entry[1]}/{name}{end}", array


def write_old(root, net, version, split=False):
    """Write the layout of legacy_h5_format: a group for each layer of the outermost network."""
    names = []
    for entry in net.layers:
        name = entry.name if isinstance(entry, Net) else entry[1]
        names.append(name.encode())
        group = root.create_group(name)
        part = entry if isinstance(entry, Net) else Net(net.kind, entry, name=net.name)
        weights = dict(weights_of(part, version))
        group.attrs["weight_names"] = [key.encode() for key in weights]
        for key, array in weights.items():
            group[key] = array
    if split:
        root.attrs["layer_names0"], root.attrs["layer_names1"] = names[:1], names[1:]
    else:
        root.attrs["layer_names"] = names
    root.attrs["keras_version"] = b"2.15.0" if version == 2 else b"3.15.1"
    root.attrs["backend"] = b"tensorflow"


def written(net, folder, form, **config):
    path = folder / ("net.keras" if "keras" in form else "net.h5")
    version = 2 if "2" in form else 3
    description = json.dumps(net.config(version) | config)
    if "keras" in form:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            write_new(file, net, named=version == 3)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", "{}")
            archive.writestr("config.json", description)
            archive.writestr("model.weights.h5", stream.getvalue())
        return path
    with h5py.File(path, "w") as file:
        if "weights" in form:
            write_new(file, net, named=True) if "new" in form else write_old(file, net, version)
        else:
            file.attrs["model_config"] = description.encode()
            file.attrs["keras_version"] = b"2.15.0" if version == 2 else b"3.15.1"
            write_old(file.create_group("model_weights"), net, version, split="split" in form)
    return path


WHOLE = ["keras 3", "keras 2", "h5 3", "h5 2", "h5 2 split"]
WEIGHTS = ["new weights", "weights 2", "weights 3"]


def filters(found):
    return read_filters(found.module.get_submodule(found.layer)).numpy()


IMAGE = layer("InputLayer", "image", batch_shape=[None, 12, 12, 3])
OLD_IMAGE = layer("InputLayer", "image", batch_input_shape=[None, 12, 12, 3])
K = kernel()
SECOND = kernel(3, 3, 4, 5, seed=1)


def sequential(*before, first=None, image=IMAGE):
    first = first or layer("Conv2D", "zfirst", K)
    return Net(
        "Sequential",
        image,
        *before,
        first,
        layer("BatchNormalization", "bn"),
        layer("Conv2D", "asecond", SECOND),
        layer("Flatten", "flat"),
        layer("Dense", "dense", kernel(1, 1, 7, 2).reshape(7, 2)),
    )


def functional():
    """Layers registered in another order than they are called, with a shortcut."""
    return Net(
        "Functional",
        IMAGE,
        layer("Conv2D", "aux", kernel(3, 2, 4, 3, seed=2), "zfirst"),
        layer("ZeroPadding2D", "pad", None, "image"),
        layer("Conv2D", "zfirst", K, "pad"),
        layer("Add", "sum", None, "aux", "image"),
        layer("Dense", "dense", kernel(1, 1, 7, 2).reshape(7, 2), "sum"),
    )


def nested():
    augment = Net(
        "Sequential", IMAGE, layer("RandomFlip", "flip"), layer("Dropout", "drop"), name="augment"
    )
    return Net(
        "Functional",
        IMAGE,
        within(augment, "image"),
        within(functional(), "augment"),
        layer("Dense", "head", kernel(1, 1, 2, 2).reshape(2, 2), "net"),
    )


NETS = {
    "sequential": sequential(),
    "functional": functional(),
    "nested": nested(),
    "old input": sequential(image=OLD_IMAGE),
    "without input": Net("Sequential", *sequential().layers[1:]),
    "not changed": sequential(
        layer("GaussianNoise", "noise"),
        layer("Identity", "same"),
        layer("Activation", "none", activation="linear"),
    ),
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("name", NETS)
def test_the_filters_are_those_of_the_first_layer(name, form, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = checkpoint(10, 3, path=written(NETS[name], tmp_path, form))
    assert found.layer == ("net.zfirst" if name == "nested" else "zfirst")
    assert not found.network
    np.testing.assert_array_equal(filters(found), turned(K))


@pytest.mark.parametrize("form", WEIGHTS)
@pytest.mark.parametrize("name", ["sequential", "nested"])
def test_without_a_configuration_the_first_layer_is_found_by_names_and_shapes(name, form, tmp_path):
    found = checkpoint(10, 3, path=written(NETS[name], tmp_path, form))
    np.testing.assert_array_equal(filters(found), turned(K))


@pytest.mark.parametrize("form", [*WHOLE, *WEIGHTS])
def test_a_layer_can_be_named(form, tmp_path):
    path = written(sequential(), tmp_path, form)
    name = "conv2d_1" if form == "new weights" else "asecond"
    found = checkpoint(10, 3, path=path, layer=name)
    np.testing.assert_array_equal(filters(found), turned(SECOND))
    with pytest.raises(UsageError, match="unknown layer"):
        checkpoint(10, 3, path=path, layer="third")


@pytest.mark.parametrize("form", WHOLE)
def test_the_order_of_axes_of_the_images_changes_nothing(form, tmp_path):
    first = layer("Conv2D", "first", K, data_format="channels_first")
    found = checkpoint(10, 3, path=written(sequential(first=first), tmp_path, form))
    np.testing.assert_array_equal(filters(found), turned(K))


@pytest.mark.parametrize("form", WHOLE)
def test_groups_and_dilation_are_those_of_the_configuration(form, tmp_path):
    weights = kernel(3, 2, 1, 6)
    first = layer("Conv2D", "first", weights, groups=3, dilation_rate=[2, 1])
    found = checkpoint(10, 3, path=written(sequential(first=first), tmp_path, form))
    expected = np.zeros((6, 3, 5, 2), np.float32)
    for k in range(6):
        expected[k, k // 2, ::2] = weights[:, :, 0, k]
    np.testing.assert_array_equal(filters(found), expected)


@pytest.mark.parametrize("form", WHOLE)
def test_depthwise_kernels_are_filters_of_one_channel_each(form, tmp_path):
    weights = kernel(3, 3, 3, 2)  # (h, w, in, multiplier)
    first = layer("DepthwiseConv2D", "first", weights)
    found = checkpoint(10, 3, path=written(sequential(first=first), tmp_path, form))
    expected = np.zeros((6, 3, 3, 3), np.float32)
    for c in range(3):
        for each in range(2):
            expected[c * 2 + each, c] = weights[:, :, c, each]
    np.testing.assert_array_equal(filters(found), expected)


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("kind", ["Rescaling", "Normalization", "BatchNormalization"])
def test_a_network_that_scales_images_is_read_with_a_warning(kind, form, tmp_path):
    path = written(sequential(layer(kind, "before")), tmp_path, form)
    with pytest.warns(RepsimWarning, match=f"scales the image first .{kind}., which is not in"):
        found = checkpoint(10, 3, path=path)
    np.testing.assert_array_equal(filters(found), turned(K))


@pytest.mark.parametrize("version", [2, 3])
def test_arithmetic_with_numbers_scales_the_image(version, tmp_path):
    """As ``preprocess_input`` of Keras' applications, x / 127.5 - 1, leaves it in the network."""
    kinds = ["TFOpLambda"] * 2 if version == 2 else ["TrueDivide", "Subtract"]
    options = [
        {"function": f"math.{name}"} if version == 2 else {} for name in ("truediv", "subtract")
    ]
    net = Net(
        "Functional",
        IMAGE,
        layer(kinds[0], "over", None, "image", **options[0]),
        layer(kinds[1], "minus", None, "over", **options[1]),
        layer("Conv2D", "first", K, "minus"),
    )
    path = written(net, tmp_path, f"h5 {version}")
    with pytest.raises(UsageError, match="into 'over' .* before any layer"):
        checkpoint(10, 3, path=path)  # by something that is no number
    description = net.config(version)
    for entry, number in zip(description["config"]["layers"][1:3], (127.5, 1), strict=True):
        if version == 2:
            entry["inbound_nodes"] = [[*entry["inbound_nodes"][0][0][:3], {"y": number}]]
        else:
            entry["inbound_nodes"][0]["args"].append(number)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(description)
    with pytest.warns(RepsimWarning, match=f"scales the image first .{kinds[0]}, {kinds[1]}."):
        found = checkpoint(10, 3, path=path)
    np.testing.assert_array_equal(filters(found), turned(K))


TWO = Net(
    "Functional",
    IMAGE,
    layer("Conv2D", "left", K, "image"),
    layer("Conv2D", "right", -K, "image"),
    layer("Add", "sum", None, "left", "right"),
)
NOT_KNOWN = {
    "several layers receive the image: 'left' .Conv2D., 'right' .Conv2D.": TWO,
    "'swap' .Lambda. before any layer": sequential(layer("Lambda", "swap", function="x")),
    "'pool' .AveragePooling2D. before": sequential(layer("AveragePooling2D", "pool")),
    "into 'up' .Conv2DTranspose.": sequential(layer("Conv2DTranspose", "up", kernel(3, 3, 5, 3))),
    "into 'own' .MyLayer.": sequential(layer("MyLayer", "own")),
}


@pytest.mark.parametrize("form", ["keras 3", "h5 2"])
@pytest.mark.parametrize("words", NOT_KNOWN)
def test_without_one_first_layer_in_the_configuration_all_layers_are_listed(words, form, tmp_path):
    path = written(NOT_KNOWN[words], tmp_path, form)
    with pytest.raises(UsageError, match=f"is not known .*{words}.*choose with layer=") as caught:
        checkpoint(10, 3, path=path)
    assert "\n" not in str(caught.value)
    name, expected = ("right", -K) if "right" in words else ("zfirst", K)
    np.testing.assert_array_equal(
        filters(checkpoint(10, 3, path=path, layer=name)), turned(expected)
    )


def test_a_class_of_the_user_is_not_treated_as_one_of_keras(tmp_path):
    net = sequential()
    path = written(net, tmp_path, "keras 3")
    config = net.config(3)
    config["config"]["layers"][1] |= {"module": None, "registered_name": "mine>Conv2D"}
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights)
    with pytest.raises(UsageError, match="into 'zfirst' .mine>Conv2D."):
        checkpoint(10, 3, path=path)


def test_a_network_connected_by_its_code_is_read_by_names(tmp_path):
    path = tmp_path / "net.keras"
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:  # a subclass of Model with attributes stem and body
        for place, array, outputs in [
            ("body/conv2d", SECOND, 5),
            ("stem", K, 4),
            ("optimizer/conv2d", kernel(seed=5), 4),
            ("a_transposed", kernel(3, 3, 5, 3), 5),
            ("depthwise_conv2d", kernel(3, 3, 3, 1), 1),
            ("conv2d_transpose", kernel(3, 3, 3, 3), 3),
            ("depth", kernel(3, 3, 3, 1), 3),
            ("twice", kernel(3, 3, 3, 2), 6),
        ]:
            file[f"{place}/vars/0"] = array
            file[f"{place}/vars/1"] = np.zeros(outputs, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        config = {"module": None, "class_name": "Mine", "config": {}, "registered_name": "Mine"}
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", stream.getvalue())
    np.testing.assert_array_equal(filters(checkpoint(10, 3, path=path)), turned(K))


def test_kernels_of_theano_are_flipped(tmp_path):
    path = written(sequential(), tmp_path, "h5 2")
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["backend"] = b"theano"
    found = checkpoint(10, 3, path=path)
    np.testing.assert_array_equal(filters(found), turned(K)[:, :, ::-1, ::-1])


@pytest.mark.parametrize("order", ["tf", "th"])
def test_kernels_called_w_are_read_if_their_biases_show_the_order_of_axes(order, tmp_path):
    """As in the files of VGG16 that Keras publishes, tf_kernels and th_kernels."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        names = []
        for name, array in (("block1_conv1", K), ("block1_conv2", SECOND)):
            group = file.create_group(name)
            array = array if order == "tf" else turned(array)
            outputs = array.shape[3 if order == "tf" else 0]
            group[f"{name}_W_1:0"] = array
            group[f"{name}_b_1:0"] = np.zeros(outputs, np.float32)
            group.attrs["weight_names"] = [f"{name}_{one}_1:0".encode() for one in "Wb"]
            names.append(name.encode())
        file.attrs["layer_names"] = names
    if order == "th":
        with pytest.raises(FileError, match="holds no kernels"):
            checkpoint(10, 3, path=tmp_path / "w.h5")
        return
    found = checkpoint(10, 3, path=tmp_path / "w.h5")
    assert found.layer == "block1_conv1"
    np.testing.assert_array_equal(filters(found), turned(K))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
@pytest.mark.parametrize("form", WHOLE)
def test_kernels_of_any_precision_are_read(dtype, form, tmp_path):
    first = layer("Conv2D", "first", K.astype(dtype))
    found = checkpoint(10, 3, path=written(sequential(first=first), tmp_path, form))
    np.testing.assert_array_equal(filters(found), turned(K.astype(dtype).astype(np.float32)))


@pytest.mark.parametrize("form", WHOLE)
def test_a_kernel_that_does_not_fit_the_configuration_is_refused(form, tmp_path):
    net = sequential()
    other = sequential(first=layer("Conv2D", "zfirst", kernel(5, 5)))
    wrong = written(other, tmp_path, form, config=net.config(2 if "2" in form else 3)["config"])
    with pytest.raises(FileError, match=r"layer 'zfirst' .*\(5, 5, 3, 4\), expected .*\(3, 2\)"):
        checkpoint(10, 3, path=wrong)
    eight = sequential(first=layer("Conv2D", "zfirst", (K * 20).astype(np.int8)))
    with pytest.raises(FileError, match="is int8, expected floating-point"):
        checkpoint(10, 3, path=written(eight, tmp_path, form))


@pytest.mark.parametrize("way", ["link", "storage", "virtual"])
@pytest.mark.parametrize("form", ["h5 2", "keras 3"])
def test_data_in_other_files_is_refused_unread(way, form, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["k"] = K
    (tmp_path / "raw").write_bytes(K.tobytes())
    path = written(sequential(), tmp_path, form)
    if form == "h5 2":
        place, stream = "model_weights/zfirst/zfirst/kernel:0", path
    else:
        with zipfile.ZipFile(path) as archive:
            config, stream = archive.read("config.json"), archive.read("model.weights.h5")
        place, stream = "layers/conv2d/vars/0", io.BytesIO(stream)
    with h5py.File(stream, "a") as file:
        del file[place]
        if way == "link":
            file[place] = h5py.ExternalLink(str(tmp_path / "other.h5"), "k")
        elif way == "storage":
            file.create_dataset(place, K.shape, K.dtype, external=[(str(tmp_path / "raw"), 0, 999)])
        else:
            layout = h5py.VirtualLayout(K.shape, K.dtype)
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "k", K.shape)
            file.create_virtual_dataset(place, layout)
    if form != "h5 2":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("model.weights.h5", stream.getvalue())
    with pytest.raises(FileError, match="in another file, expected all in one") as caught:
        checkpoint(10, 3, path=path)
    assert "\n" not in str(caught.value)


def archive(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def hdf5(fill):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file)
    return stream.getvalue()


def keras_1(file):
    file.attrs["keras_version"] = "1.2.2"
    file.attrs["layer_names"] = [b"conv"]


def no_json(file):
    file.attrs["model_config"] = "{"


WRONG = {
    "as HDF5: truncated or damaged": b"\x89HDF\r\n\x1a\n" + bytes(600),
    "cannot be read as HDF5": archive(**{"config.json": "{}", "model.weights.h5": "x"}),
    "holds no kernels": hdf5(lambda file: file.create_group("data")),
    "saved by Keras 1": hdf5(keras_1),
    "is not JSON": hdf5(no_json),
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.parametrize("name", ["w.h5", "w.keras", "w.pt", "w.onnx"])
def test_files_without_kernels_are_described(words, name, tmp_path):
    (tmp_path / name).write_bytes(WRONG[words])
    with pytest.raises(FileError, match=words) as caught:
        checkpoint(10, 3, path=tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", WHOLE)
def test_a_truncated_file_is_refused_in_one_line(form, tmp_path):
    path = written(sequential(), tmp_path, form)
    data = path.read_bytes()
    for part in (0.05, 0.3, 0.6, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(RepsimError) as caught:
            checkpoint(10, 3, path=path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [*WHOLE, *WEIGHTS])
def test_files_compressed_with_gzip_are_read(form, tmp_path):
    path = written(sequential(), tmp_path, form)
    packed = tmp_path / f"packed{path.suffix}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    found = checkpoint(10, 3, path=packed)
    np.testing.assert_array_equal(filters(found), turned(K))
    assert found.file_sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()


def parts(value, place=()):
    """All places in nested lists and mappings."""
    yield place
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    inner = inner if isinstance(inner, dict) else {}
    for key, part in inner.items():
        yield from parts(part, (*place, key))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("wrong", [None, [], "x", 3, {"layers": [{}]}])
def test_a_configuration_that_keras_does_not_write_gives_one_line_or_the_filters(
    wrong, version, tmp_path
):
    description = functional().config(version)
    path = written(functional(), tmp_path, f"h5 {version}")
    for place in [*parts(description)][1::7]:
        changed = json.loads(json.dumps(description))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = wrong
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = json.dumps(changed)
        with contextlib.suppress(RepsimError):
            read = filters(checkpoint(10, 3, path=path))
            assert np.array_equal(np.sort(read[read != 0]), np.sort(K.ravel())), place


@pytest.mark.parametrize("form", ["keras 3", "h5 3"])
def test_a_missing_package_is_named_with_its_installation(form, tmp_path, monkeypatch):
    path = written(sequential(), tmp_path, form)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match="pip install 'repsim-energy.keras.'"):
        checkpoint(10, 3, path=path)


def test_an_architecture_is_refused(tmp_path):
    from repsim_energy.models.architectures.lenet import lenet5

    with pytest.raises(UsageError, match="is a Keras file, of which only filters are read"):
        checkpoint(10, 3, path=written(sequential(), tmp_path, "h5 3"), arch=lenet5)


def test_networks_of_keras_files_are_compared(pictures, tmp_path):
    path = written(sequential(), tmp_path, "keras 3")
    result = rs.compare([str(path), torch.from_numpy(turned(K))], pictures)
    assert result.model.values.tolist() == ["net", "filters"]
    assert result.first_layer.values.tolist() == ["zfirst", "0"]
    assert float(result.similarity[0, 0, 0, 0, 1, 0]) == pytest.approx(1)
    gray = Net("Sequential", layer("Conv2D", "first", kernel(3, 3, 1, 4)))
    with pytest.raises(ShapeError, match="3 channels but the filters of 'net' see 1"):
        rs.compare(str(written(gray, tmp_path, "keras 3")), pictures)
