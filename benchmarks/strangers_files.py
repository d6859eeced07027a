"""Read networks trained by other people, described by their cards, and images, for strangers.py."""

import gzip
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import safe_open

import repsim_energy as rs

__all__ = [
    "IMAGE_SETS",
    "Network",
    "effective_filters",
    "first_layers",
    "images_of",
    "in_gray",
    "read_network",
    "read_or_refused",
    "trajectory",
]

IMAGE_SETS = {
    "CIFAR-10": "cifar10-subset.npz",
    "ImageNet": "images/imagenet-samples-224.tar",
    "Kyoto": "images/kyoto-thumbs.npz",
    "traffic signs": "images/gtsrb-test-32.npz",
    "MNIST": "images/mnist/t10k-images-idx3-ubyte.gz",
}
LUMINANCE = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)

# The first pattern that is found in "NAME | ARCHITECTURE | TRAINED ON" of the card decides. Both
# tables were written down before any correlation was looked at.
FAMILIES = {
    "MobileNet-V1": "bodypix|mobilenet.?v1|mobilenet x0|mobilenet_reg",
    "MobileNet-V2": "mobilenet_v2|mnv2|movenet",
    "other MobileNet": "edgetpu|mobilenetv3|lcnet",
    "EfficientNet-Lite": "efficientnet",
    "Xception": "xception",
    "tiny dense net": "tiny dense",
    "DenseNet": "densenet",
    "SSR-Net": "ssr-net",
    "UltraFace": "ultraface",
    "MTCNN": "mtcnn",
    "MiniFASNet": "minifasnet",
    "VGG": "vgg",
    "ResNet": "resnet",
    "YOLO": "yolo",
    "ConvSmall": "convsmall",
    "CNN of provable defense": "provable defence",
    "Marabou CNN": "marabou",
    "OVAL CNN": "oval",
}
TASKS = {
    "age and gender": "age_gender",
    "gender": "gender",
    "age": r"\(age\)|_reg_",
    "expression": "fer2013|kdef|expression",
    "face shape": "landmark|3ddfa",
    "anti-spoofing": "spoofing",
    "face recognition": "recognition|openface",
    "face detection": "wider|face_detector|ssd_face",
    "person or not": "wake words",
    "segmentation": "segmentation|bodypix",
    "pose": "movenet",
    "animals": "inaturalist",
    "object detection": "voc|traffic",
    "nudity": "nsfw",
    "edges": "edges",
    "text": "text",
    "Tiny ImageNet": "tiny imagenet",
    "ImageNet": "imagenet",
    "CIFAR-10, robust": "cifar-10, (adv|prov|pgd)",
    "CIFAR-10": "cifar-10",
    "SVHN, robust": "svhn",
    "Fashion-MNIST, robust": "fashion",
    "MNIST, robust": "mnist, prov",
    "MNIST": "mnist",
    "compression": "compression",
    "super-resolution": "super-res",
    "similarity to the eye": "perceptual",
}


@dataclass(frozen=True)
class Network:
    """First layer of a network, with input channels in the order red, green, blue."""

    name: str
    filters: torch.Tensor
    folded: torch.Tensor
    family: str
    task: str
    source: str
    license: str
    norm: str
    as_stored: bool

    @property
    def patch(self):
        """Shape (c, kh, kw) of its patches."""
        return tuple(self.filters.shape[1:])


def effective_filters(bank):
    """Return the effective number of filters, (sum of |w|^2)^2 / sum of |w|^4."""
    energy = bank.flatten(1).square().sum(1)
    return float(energy.sum() ** 2 / energy.square().sum())


def read_network(path):
    """Read a network from a file with one first layer and its card."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card = json.loads(metadata["card"])
    built = f"{path.stem} | {card['arch']}"
    stored = tensors[metadata.get("first_layer", "conv1.weight")]
    filters, factors = in_order(stored, tensors, card), norm_factors(tensors, card)
    return Network(
        path.stem,
        filters,
        filters if factors is None else filters * factors[:, None, None, None],
        kind_of(built, FAMILIES) or card["arch"],
        kind_of(f"{built} | {card['trained_on']}", TASKS) or card["trained_on"],
        re.match(r"github[^@]*|\S+ [^\d ]+", card["source"])[0],
        re.split(r" \(| for ", card["licence"])[0],
        "inside" if card["bn_folded"] else "beside" if factors is not None else "none",
        torch.equal(filters, stored),
    )


def kind_of(text, table):
    """Return the name of the first pattern that matches a text."""
    return next((name for name, pattern in table.items() if re.search(pattern, text.lower())), None)


def in_order(filters, tensors, card):
    """Return filters for unscaled red, green and blue, undoing the input scaling of a network."""
    if "input.scale" in tensors:
        filters = filters * tensors["input.scale"][:, None, None]
    return filters.flip(1) if card["channels"].startswith("BGR") else filters


def norm_factors(tensors, card):
    """Return the factors of the batch norm after a layer; None without one."""
    if "affine.weight" in tensors:
        return tensors["affine.weight"]
    if "bn1.running_var" not in tensors:
        return None
    scale = tensors.get("bn1.weight", torch.ones_like(tensors["bn1.running_var"]))
    return scale / torch.sqrt(tensors["bn1.running_var"] + card["bn_eps"])


def first_layers(folder):
    """Read all networks in the folder of first layers, sorted by name."""
    paths = sorted(Path(folder, "networks", "first-layers").rglob("*.safetensors"))
    return [read_network(path) for path in paths]


def trajectory(folder):
    """Read the training stored by epoch: epoch -> filters."""
    with safe_open(
        Path(folder, "networks/trajectories/fer2013_mini_xception.safetensors"), "pt"
    ) as f:
        names = [name for name in f.keys() if name.endswith("conv1.weight")]  # noqa: SIM118
        return {int(name[5:8]): f.get_tensor(name) for name in sorted(names)}


def read_or_refused(folder, images):
    """Compare each file; return path -> profile, and path -> error message."""
    read, refused = {}, {}
    for path in sorted(Path(folder, "networks").rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            card = json.loads(file.metadata()["card"])
        shown = in_gray(images) if card["channels"].startswith("grey") else images
        try:
            result = rs.compare([rs.write_spec("checkpoint", path=path)], shown, seeds=1)
            read[path] = result.energy.sel(stage="trained").values.ravel()
        except rs.RepsimError as error:
            refused[path] = str(error)
    return read, refused


def in_gray(images):
    """Return (n, 1, h, w) luminances (ITU-R BT.601) of (n, 3, h, w) bytes."""
    luminance = torch.einsum("nchw,c->nhw", images.double(), LUMINANCE)
    return luminance.round().to(torch.uint8)[:, None]


def images_of_tar(path):
    """Read the images of one size from an archive."""
    with tarfile.open(path) as archive:
        members = [archive.extractfile(member) for member in archive if member.isfile()]
        return np.stack([np.asarray(Image.open(member).convert("RGB")) for member in members])


def images_of_npz(path):
    """Read the training images from a file of arrays."""
    with np.load(path, allow_pickle=False) as file:
        return file["train_images"]


def images_of(folder, name):
    """Read an image set as (n, c, h, w) bytes."""
    path = Path(folder, IMAGE_SETS[name])
    pixels = READERS[path.suffix](path)
    return torch.from_numpy(np.array(pixels.transpose(0, 3, 1, 2), order="C"))


def digits(path):
    """Read the (n, 28, 28, 1) images of a compressed MNIST file."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28, 1)


READERS = {".tar": images_of_tar, ".npz": images_of_npz, ".gz": digits}
