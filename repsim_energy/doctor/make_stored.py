"""Compute the stored answers again: ``python -m repsim_energy.doctor.make_stored``.

This is needed only when the checks that use them change. The training is computed in float64, so
that the numbers do not depend on the machine; float32 agrees with them within 1e-6.
"""

from __future__ import annotations

import json
from typing import Any

from repsim_energy.doctor.image_checks import leaves
from repsim_energy.doctor.stored import FILE
from repsim_energy.doctor.ten_steps import SEEDS, train_in_float64

__all__ = ["answers"]


def answers() -> dict[str, Any]:
    """Compute the answers."""
    outcomes = [train_in_float64(seed) for seed in SEEDS]
    return {
        "leaves": _rounded(leaves()),
        "ten_steps": [{name: _rounded(v) for name, v in one.items()} for one in outcomes],
    }


def _rounded(values: Any) -> Any:
    """Return nested lists of numbers rounded to ten digits, more than float32 has."""
    if values.ndim:
        return [_rounded(part) for part in values]
    return float(f"{values:.10g}")


if __name__ == "__main__":
    FILE.write_text(json.dumps(answers()) + "\n", encoding="utf-8")
