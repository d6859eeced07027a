"""Whether this machine computes the right numbers, and all that a bug report needs to say of it.

A kernel is asked for an answer that is known: from a slow definition in plain numpy, from a closed
form, or from a file. What differs by more than rounding is a fault of this machine, of a library
or of this package. From Python::

    from repsim_energy.doctor import examine
    found = examine()
    found.passed, found.facts["versions"]["torch"], found.findings
"""

from __future__ import annotations

from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.examination import Examination, examine

__all__ = ["Examination", "Finding", "examine"]
