"""The nodes of a graph that receive the image, and the first layer among them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["GraphInput", "Node"]


class Node(NamedTuple):
    """A layer or operation of a graph."""

    name: str
    kind: str


@dataclass
class GraphInput:
    """The nodes of a graph that receive the image.

    Parameters
    ----------
    layers : nodes with weights
    operations : nodes without weights, after which there is no image any more, such as a reshape
    scalings : kinds of nodes that only scale or shift the channels, after which there still is
    """

    layers: list[Node] = field(default_factory=list)
    operations: list[Node] = field(default_factory=list)
    scalings: list[str] = field(default_factory=list)

    def first_layer(self, filters: Collection[str]) -> tuple[str, str]:
        """Return the name of the only layer that receives the image, or why there is none.

        Parameters
        ----------
        filters : names of the layers whose filters are known

        Examples
        --------
        >>> GraphInput([Node("conv1", "Conv")]).first_layer(["conv1", "conv2"])
        ('conv1', '')
        >>> GraphInput([], [Node("fold", "Reshape")]).first_layer(["conv1"])
        ('', "the image goes into 'fold' (Reshape) before any layer")
        """
        nodes = dict.fromkeys(self.layers or self.operations)
        listed = ", ".join(f"'{name}' ({kind})" for name, kind in nodes)
        if len(set(self.layers)) > 1:
            return "", f"several layers receive the image: {listed}"
        if self.layers:
            name = self.layers[0].name
            return (name, "") if name in filters else ("", f"the image goes into {listed}")
        if self.operations:
            return "", f"the image goes into {listed} before any layer"
        return "", "no layer receives an image"
