"""Laws that hold through every adapter: on the real toolkit, and on its signatures."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import repsim_energy as rs
import signatures
import torch
from torch import nn

from repsim_toolkits import component_matrix

REAL, CHECK = "real", "signature check"


def through_similarity_repository(adapter, stand_ins):
    module = adapter("similarity_repository", stand_ins)
    try:
        module.register()
    except rs.UsageError as error:
        pytest.skip(f"not run on the real toolkit: {error}")
    import similarity

    measure = similarity.make("measure/*/*")["measure/repsim_energy/energy"]
    return lambda a, b, basis: measure(component_matrix(a, basis), component_matrix(b, basis))


def through_its_distance(adapter, stand_ins):
    through_similarity_repository(adapter, stand_ins)
    import similarity

    measure = similarity.make("measure/repsim_energy/energy-distance=angular")
    return lambda a, b, basis: math.cos(
        measure(component_matrix(a, basis), component_matrix(b, basis))
    )


def through_netrep(adapter, stand_ins):
    metric = adapter("netrep").EnergyProfileAngle()
    if stand_ins is None:
        multiset = pytest.importorskip(
            "netrep.multiset",
            reason="not run on the real toolkit: netrep is on GitHub alone (ahwillia/netrep)",
        )
    else:
        multiset = signatures.netrep

    def similarity(a, b, basis):
        matrices = [component_matrix(a, basis), component_matrix(b, basis)]
        distances = multiset.pairwise_distances(metric, matrices, verbose=False)
        assert distances[0, 0] == 0
        return math.cos(distances[0, 1])

    return similarity


def through_wrongu_repsim(adapter, stand_ins):
    module = adapter("wrongu_repsim", stand_ins)
    import repsim

    def similarity(a, b, basis):
        x, y = (torch.from_numpy(component_matrix(bank, basis)) for bank in (a, b))
        space = module.EnergyProfileAngle(m=len(x))
        return math.cos(repsim.compare(x, y, method=space))

    return similarity


def through_resi(adapter, stand_ins):
    measure = adapter("resi", stand_ins).EnergyProfileCorrelation()
    return lambda a, b, basis: measure(
        component_matrix(a, basis), torch.from_numpy(component_matrix(b, basis)), "nd"
    )


def through_simtorch(adapter, stand_ins):
    module = adapter("simtorch", stand_ins)
    from simtorch.model import SimilarityModel

    def model(bank):
        layer = nn.Conv2d(bank.shape[1], len(bank), bank.shape[2:])
        layer.weight = nn.Parameter(bank)
        return SimilarityModel(nn.Sequential(layer), layers_to_include=["0"])

    def similarity(a, b, basis):
        compared = module.EnergyProfileCorrelation(model(a), model(b), basis=basis)
        assert compared.compute().shape == (1, 1)
        return compared.sim_matrix[0, 0]

    return similarity


STANDING_IN = [
    through_similarity_repository,
    through_its_distance,
    through_netrep,
    through_wrongu_repsim,
    through_resi,
]
CASES = [
    *((through, how) for through in STANDING_IN for how in (REAL, CHECK)),
    (through_simtorch, REAL),
]

STAND_INS = {
    through_similarity_repository: signatures.similarity_repository,
    through_its_distance: signatures.similarity_repository,
    through_netrep: dict,
    through_wrongu_repsim: signatures.wrongu_repsim,
    through_resi: signatures.resi,
}


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0].__name__} ({case[1]})")
def similarity(request, adapter):
    through, kind = request.param
    return through(adapter, None if kind == REAL else STAND_INS[through]())


def test_similarity_is_that_of_the_energy_profiles(similarity, banks, basis):
    for a in banks:
        for b in banks:
            expected = rs.profile_similarity(
                rs.energy_profile(a, basis), rs.energy_profile(b, basis)
            )
            assert similarity(a, b, basis) == pytest.approx(expected, abs=1e-12)


def test_order_and_mixing_of_filters_do_not_count(similarity, banks, basis):
    a, b = banks[1], banks[3]
    expected = similarity(a, b, basis)
    assert abs(expected) < 0.999
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(a)))
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    mixed = torch.einsum("jk,kchw->jchw", rotation, a.double())
    assert similarity(a[order], b, basis) == pytest.approx(expected, abs=1e-12)
    assert similarity(mixed.float(), b, basis) == pytest.approx(expected, abs=1e-6)  # of float32
    assert similarity(-2 * a, b, basis) == pytest.approx(expected, abs=1e-12)


def test_order_of_pixels_does_count(similarity, banks, basis):
    a, b = banks[0], banks[1]
    assert abs(similarity(a.flip(1), b, basis) - similarity(a, b, basis)) > 1e-6


@pytest.mark.filterwarnings("ignore:pt_. is not on the manifold")
def test_a_flat_profile_is_undefined(similarity, banks, basis):
    flat = basis.components.reshape(27, 3, 3, 3).float()
    with pytest.warns(rs.RepsimWarning, match="flat"):
        assert math.isnan(similarity(torch.zeros_like(flat), banks[0], basis))


@pytest.mark.parametrize(
    ("name", "stand_ins", "arguments"),
    [
        ("netrep", None, {}),
        ("wrongu_repsim", signatures.wrongu_repsim, {"m": 27}),
        ("resi", signatures.resi, {}),
    ],
)
def test_instances_can_be_pickled(adapter, name, stand_ins, arguments):
    module = adapter(name, stand_ins and stand_ins())
    cls = getattr(module, module.__all__[0])
    back = pickle.loads(pickle.dumps(cls(**arguments)))
    assert type(back) is cls
    assert vars(back) == vars(cls(**arguments))
