"""Nonsense in the public functions gives a typed error, or a documented NaN with a warning."""

import inspect
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nonsense import examples, outcome, shapes, tensors

import repsim_energy as rs

IMAGES = tensors(shapes(4, 1, 6, 6))
FILTERS = tensors(shapes(3, 1, 2, 2))
ROWS = tensors(shapes(5, 4))
SQUARES = tensors(shapes(4, 4))
SYMMETRIC = tensors(shapes(4, 4), symmetric=True)
PROFILES = tensors(shapes(4))
ENERGIES = tensors(shapes(4), positive=True)
VARIANCES = st.just(torch.tensor([4.0, 2.0, 1.0, 0.25])) | ENERGIES
SMALL = st.sampled_from([2, 2, 3, 1, 4, 0, -1, 9])
PATCH = st.sampled_from([(2, 2)] * 4) | st.tuples(SMALL, SMALL)
RATES = st.sampled_from([0.1, 0.5, 1.0, 0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300])


def basis():
    images = torch.rand(20, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return rs.patch_moments(images, (2, 2)).basis()


BASIS = st.just(basis())


def basis_of(images, patch):
    return rs.patch_moments(images, patch).basis()


CASES = {
    rs.patch_moments: (IMAGES, PATCH),
    basis_of: (IMAGES, PATCH),
    rs.average_patches: (IMAGES, PATCH),
    rs.component_energies: (IMAGES, BASIS),
    rs.autocorrelation: (IMAGES, SMALL),
    rs.patch_autocovariance: (IMAGES, PATCH, SMALL),
    rs.centered_gram: (ROWS,),
    rs.unbiased_gram: (SYMMETRIC,),
    rs.cka: (ROWS, ROWS, st.sampled_from(["debiased", "biased", "nonsense"])),
    rs.convolution_matrix: (FILTERS, PATCH, st.sampled_from(["circular", "zeros", "nonsense"])),
    rs.filter_covariance: (FILTERS, BASIS),
    rs.misalignment: (SYMMETRIC | SQUARES,),
    rs.compare_covariances: (
        SYMMETRIC,
        SYMMETRIC | SQUARES,
        st.sampled_from(["cosine", "bures", "operator", "nonsense"]),
    ),
    rs.neural_feature_ansatz: (FILTERS, SYMMETRIC, RATES),
    rs.flatten_activations: (IMAGES,),
    rs.filter_quality: (FILTERS | tensors(shapes(4, 1, 3, 3)),),
    rs.describe_components: (tensors(shapes(4, 3, 3, 3)),),
    rs.energy_profile: (FILTERS, BASIS),
    rs.profile_similarity: (PROFILES, PROFILES),
    rs.profile_similarities: (ROWS,),
    rs.beyond_theory: (ENERGIES, ENERGIES, VARIANCES, RATES | st.none()),
    rs.fit_profile: (ENERGIES, VARIANCES, RATES | st.none()),
    rs.fit_profiles: (ROWS, VARIANCES, RATES | st.none()),
    rs.theoretical_profile: (VARIANCES, RATES, PROFILES | st.integers(-1, 5)),
    rs.whitening_distance: (ENERGIES, VARIANCES),
    rs.whitening_exponent: (ENERGIES, VARIANCES, RATES),
    rs.pearson_null_interval: (SMALL, RATES),
    rs.place_filters: (FILTERS, PATCH, PATCH | st.just((1, 1))),
    rs.keep_largest: (FILTERS, SMALL),
    rs.wavelike: (FILTERS,),
    rs.solve_linear_cnn: (ROWS, SYMMETRIC, PROFILES, RATES, SMALL),
    rs.simulate_linear_cnn: (ROWS, ROWS, tensors(shapes(5)), RATES, SMALL),
    rs.split_half_reliability: (FILTERS, BASIS),
    rs.filter_influence: (FILTERS, BASIS),
}
"""Function -> what its arguments are drawn from, in the order of its signature."""

QUIET = [rs.filter_quality, rs.describe_components, rs.pearson_null_interval, rs.filter_influence]
"""Functions whose numbers include, by their documentation, NaN for a part of valid input."""

MANY = [5, pytest.param(250, marks=pytest.mark.faults)]


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("function", CASES, ids=lambda function: function.__name__)
def test_numbers_are_refused_or_give_finite_numbers_or_a_warning(function, count):
    parameters = inspect.signature(function).parameters.values()
    seen = Counter()

    @examples(count)
    @given(st.tuples(*CASES[function]))
    def check(drawn):
        by_name, by_place = {}, []
        for parameter, value in zip(parameters, drawn, strict=False):
            if parameter.kind == parameter.KEYWORD_ONLY:
                by_name[parameter.name] = value
            else:
                by_place.append(value)
        seen[outcome(function, *by_place, quiet=function in QUIET, **by_name)] += 1

    check()
    if count > 100:  # the draws reach the function itself, and its checks
        assert seen["defined"] + seen["undefined"] > count // 50
        assert seen["refused"] > 0


@pytest.mark.parametrize("function", QUIET, ids=lambda function: function.__name__)
def test_nan_without_a_warning_is_documented(function):
    assert "NaN" in function.__doc__
