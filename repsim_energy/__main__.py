"""``python -m repsim_energy``."""

from repsim_energy.cli import main

main()
