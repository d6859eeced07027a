"""The first layers that come with the package say where they are from, and carry their licenses."""

import json
import re
from importlib.resources import files

from safetensors import safe_open

ATLAS = files("repsim_energy") / "atlas"


def test_every_layer_has_its_source_and_the_license_of_it():
    licenses = (ATLAS / "LICENSES.txt").read_text("utf-8")
    with safe_open(str(ATLAS / "first-layers.safetensors"), "np") as file:
        cards = json.loads(file.metadata()["cards"])
        names = {re.split(r"\.(?:conv1|bn1)\.", name)[0] for name in file.keys()}  # noqa: SIM118
        for name in cards:
            weight = file.get_tensor(f"{name}.conv1.weight")
            assert weight.shape[1:] == (3, 3, 3), name
            assert abs(weight).max() > 0, name
    assert names == set(cards)
    for name, card in cards.items():
        repository = re.match(r"(?:github\.com/)?([^@:]+?)(?:@| [\d.]+ :| :)", card["source"])[1]
        assert repository.strip() in licenses, name
        assert card["license"].split(" ")[0] in licenses, name
        assert re.fullmatch(r"[0-9a-f]{64}", card["source_sha256"]), name
        assert card["channels"] in ("RGB", "BGR"), name
