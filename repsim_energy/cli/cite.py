"""``repsim cite``."""

from __future__ import annotations

import rich_click as click

from repsim_energy.cli.messages import say
from repsim_energy.versions import NOT_INSTALLED, OWN, version_of

__all__ = ["PAPER", "SOFTWARE", "cite"]

SOFTWARE = """\
@software{repsim_energy,
  author  = {{The repsim-energy developers}},
  title   = {repsim-energy},
  version = {VERSION},
  license = {MIT},
}
"""

PAPER = """\
@inproceedings{chowers2023,
  author    = {Chowers, Rhea and Weiss, Yair},
  title     = {What do {CNNs} Learn in the First Layer and Why? {A} Linear Systems Perspective},
  booktitle = {Proceedings of the 40th International Conference on Machine Learning},
  series    = {Proceedings of Machine Learning Research},
  volume    = {202},
  pages     = {6115--6139},
  publisher = {PMLR},
  year      = {2023},
  url       = {https://proceedings.mlr.press/v202/chowers23a.html},
  note      = {arXiv:2206.02454},
}
"""


@click.command()
def cite() -> None:
    """Print the BibTeX of this software, with its version, and of the paper of its method.

    Example: repsim cite >> references.bib
    """
    version = version_of(OWN)
    if version == NOT_INSTALLED:
        say("the version is unknown, because repsim-energy is not installed; add it by hand")
    click.echo(SOFTWARE.replace("VERSION", version))
    click.echo(PAPER, nl=False)
