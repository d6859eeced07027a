"""Checks of the numbers that this machine computes, and facts for a bug report.

Each check compares a kernel with a known answer: a slow definition in plain NumPy, a closed form,
or a stored result. A difference beyond rounding is a fault of this machine, of a library or of
this package. From Python::

    from repsim_energy.doctor import examine
    examination = examine()
    examination.passed, examination.facts["versions"]["torch"], examination.findings
"""

from __future__ import annotations

from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.examination import Examination, examine

__all__ = ["Examination", "Finding", "examine"]
