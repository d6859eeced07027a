"""Numbers that others printed, and other people's code on the same data."""

import numpy as np
import pytest
from cases import measure

from repsim_classics.cca import CCA, PWCCA, SVCCA
from repsim_classics.rbf_cka import RBFCKA
from repsim_classics.rsa import RSA


def test_rbf_cka_of_the_demo(demo):
    assert f"{measure(RBFCKA(estimator='biased', bandwidth=0.5), *demo):.5f}" == "0.65483"


def test_squared_cca_of_the_demo(demo):
    """The demo does not center; a network and its negative below each other are centered."""
    both = [np.vstack((x, -x)) for x in demo]
    assert f"{measure(CCA(statistic='r2'), *both):.5f}" == "0.54312"


def test_whitened_rsa_is_the_linear_cka_of_the_demo(demo):
    metric = RSA(method="cosine_cov", dissimilarity="euclidean")
    assert measure(metric, *demo) == pytest.approx(0.5576132566, abs=1e-9)


@pytest.fixture
def kisungyou():
    """PyPI's repsim, a C++ library; two other projects are imported by the same name."""
    repsim = pytest.importorskip("repsim", reason="pip install repsim==0.1.5 for a second opinion")
    if not hasattr(repsim, "pwcca"):
        pytest.skip("another project of this name is installed, not PyPI's repsim 0.1.5")
    return repsim


def test_canonical_correlations_of_repsim(kisungyou, demo, rng):
    x, y = (features - features.mean(0) for features in demo)  # repsim's own centering is partial
    wide = np.hstack((x, rng.standard_normal((100, 7)))) * np.linspace(1, 0.02, 17)
    wide -= wide.mean(0)
    for other in (y, wide):
        for metric, theirs in (
            (CCA(), kisungyou.cca([x, other], summary_type="pillai")),
            (CCA(statistic="r2"), kisungyou.cca([x, other], summary_type="yanai")),
            (PWCCA(), kisungyou.pwcca([x, other])),
        ):
            assert measure(metric, x, other) == pytest.approx(theirs[0, 1], abs=1e-12)


def test_canonical_correlations_of_cca_zoo(demo, pair):
    linear = pytest.importorskip("cca_zoo.linear", reason="pip install cca-zoo for another opinion")
    for x, y in (demo, pair):
        variates = linear.CCA(n_components=x.shape[1]).fit([x, y]).transform([x, y])
        pairs = zip(*(columns.T for columns in variates), strict=True)
        found = [abs(np.corrcoef(u, v)[0, 1]) for u, v in pairs]
        assert measure(CCA(), x, y) == pytest.approx(np.mean(found), abs=1e-12)


def test_all_variance_kept_is_cca(demo):
    assert measure(SVCCA(variance=1.0), *demo) == pytest.approx(measure(CCA(), *demo), abs=1e-12)
