"""Reports: results as one self-contained HTML page."""

from __future__ import annotations

from repsim_energy.report.page import write_report

__all__ = ["write_report"]
