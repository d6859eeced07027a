"""The interval over seeds of the row depth."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from repsim_energy.experiments.paper.depth import interval_of


def test_interval_is_that_of_the_t_test():
    values = np.array([0.3, 0.5, np.nan, 0.35])
    expected = ttest_1samp(values[[0, 1, 3]], 0).confidence_interval(0.95)
    assert interval_of(values) == pytest.approx((expected.low, expected.high))
    assert np.isnan(interval_of(values[:1])).all()
