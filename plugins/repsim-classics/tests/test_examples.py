"""The examples of the docstrings run."""

import doctest

from repsim_classics import coordinates


def test_examples():
    failed, tried = doctest.testmod(coordinates)
    assert failed == 0
    assert tried > 0
