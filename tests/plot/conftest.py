"""Figures of tests are not shown, and closed after each."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def _figures():
    with mpl.rc_context():
        mpl.use("agg")
        yield
        plt.close("all")
