"""Write the atlas of first layers: ``python tests/models/make_atlas.py FOLDER``.

FOLDER contains ``networks/first-layers`` (docs/explanation/onboarding.md says what else is in it).
The tensors are copied as they are; their licenses are in ``repsim_energy/atlas/LICENSES.txt``.
"""

import json
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

ATLAS = Path(__file__).parents[2] / "repsim_energy" / "atlas" / "first-layers.safetensors"

CHOSEN = {
    # name of the file: (name in the atlas, family)
    "3ddfa_mobilenet_v1_05": ("3ddfa_mobilenet_v1_05", "MobileNet-V1"),
    "abcrown_resnet2b": ("abcrown_resnet2b", "ResNet"),
    "abcrown_resnet4b": ("abcrown_resnet4b", "ResNet"),
    "mlperf_tiny_resnet8": ("mlperf_tiny_resnet8", "ResNet"),
    "mlperf_tiny_vww_mobilenet": ("mlperf_tiny_vww_mobilenet", "MobileNet-V1"),
    "tiny_vgg_cnn_explainer": ("tiny_vgg_cnn_explainer", "VGG"),
    "ultraface_rfb_320": ("ultraface_rfb_320", "UltraFace"),
    "ultraface_rfb_640": ("ultraface_rfb_640", "UltraFace"),
    "ultraface_slim_320": ("ultraface_slim_320", "UltraFace"),
    "ultraface_slim_640": ("ultraface_slim_640", "UltraFace"),
    "coral_mobilenet_v1_1_0_224_quant_embedding_extractor": (
        "coral_mobilenet_v1",
        "MobileNet-V1",
    ),
    "coral_mobilenet_v2_1_0_224_quant": ("coral_mobilenet_v2", "MobileNet-V2"),
    "coral_deeplab_mobilenet_edgetpu_slim_cityscapes_quant": (
        "coral_deeplab_edgetpu",
        "MobileNet-EdgeTPU",
    ),
    "efficientnet_lite0": ("efficientnet_lite0", "EfficientNet-Lite"),
    "mtcnn_onet": ("mtcnn_onet", "MTCNN"),
    "ppocrv4_det": ("ppocrv4_det", "PP-LCNet"),
    "ssrnet_imdb_ssrnet": ("ssrnet_imdb", "SSR-Net"),
    "ssrnet_imdb_densenet_19": ("ssrnet_imdb_densenet_19", "DenseNet"),
    "tiny_yolo_v2_voc": ("tiny_yolo_v2_voc", "YOLO"),
    "fer2013_big_xception": ("fer2013_big_xception", "Xception"),
    "gender_mini_xception": ("gender_mini_xception", "Xception"),
    "convex_fashion_mnist": ("convex_fashion_mnist", "CNN of provable defense"),
    "eran_mnist_conv_small_nat": ("eran_mnist_conv_small", "ConvSmall"),
    "convex_svhn": ("convex_svhn", "CNN of provable defense"),
    "eran_cifar_conv_small_pgd": ("eran_cifar_conv_small_pgd", "ConvSmall"),
    "marabou_cifar_large": ("marabou_cifar_large", "Marabou CNN"),
    "oval_cifar_wide_kw": ("oval_cifar_wide_kw", "OVAL CNN"),
    "lenet5_mnist": ("lenet5_mnist", "LeNet"),
    "dlib_mmod_face_detector": ("dlib_mmod_face_detector", "dlib CNN"),
    "dlib_face_recognition_resnet": ("dlib_face_recognition_resnet", "ResNet"),
    "faceboxes": ("faceboxes", "FaceBoxes"),
    "open_nsfw_resnet50_1by2": ("open_nsfw_resnet50_1by2", "ResNet"),
    "openface_nn4_small2": ("openface_nn4_small2", "Inception"),
}

LICENSES = {"CC0 (LICENSE": "CC0-1.0", "MIT (the": "MIT", "BSD-2-Clause for": "BSD-2-Clause"}
"""Beginning of what a card says -> its license."""


def main(folder):
    """Write the atlas from the files in a folder."""
    paths = {path.stem: path for path in Path(folder).glob("networks/first-layers/*/*.safetensors")}
    tensors, cards, known = {}, {}, LICENSES.items()
    for stem, (name, family) in CHOSEN.items():
        with safe_open(paths[stem], "pt") as file:
            card = json.loads(file.metadata()["card"])
            for key in file.keys():  # noqa: SIM118
                if key != "conv1.bias":
                    tensors[f"{name}.{key}"] = file.get_tensor(key)
        said = card["licence"]
        cards[name] = {
            "network": card["arch"].replace("provable defence", "provable defense"),
            "family": family,
            "trained_on": card["trained_on"],
            "channels": card["channels"].split(" ")[0],
            "source": card["source"],
            "license": next((word for start, word in known if said.startswith(start)), said),
            "source_sha256": card["source_sha256"],
            "bn_eps": card.get("bn_eps"),
            "bn_folded": card["bn_folded"],
        }
    save_file(tensors, ATLAS, {"cards": json.dumps(cards)})


if __name__ == "__main__":
    main(sys.argv[1])
