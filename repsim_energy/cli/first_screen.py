"""Text that ``repsim`` alone shows: what it is, and the first commands to use."""

from __future__ import annotations

__all__ = ["FIRST_SCREEN"]

FIRST_SCREEN = """\
repsim compares what neural networks represent: the energy profiles of their first-layer filters,
or the activations of their layers.

  repsim compare --models vgg11,resnet18 -o result.nc
      Train two small networks on rendered images, compare them, and write the result. This takes
      one to three minutes. Your own: --models a.pt,b.pt --dataset FOLDER_OF_IMAGES
      One network beside an atlas, in seconds: repsim profile a.pt --images FOLDER_OF_IMAGES
  repsim models
      List the networks that can be compared by name; with a name, their options.
  repsim report result.nc -o result.html
      Write the result as one page, with tables and figures, to look at or to send.

repsim --help lists all commands, and repsim COMMAND --help the options of one."""
