"""Activations: outputs of the layers of a network for images."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from repsim_energy.errors import UsageError, unknown_name, warn
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.training.answers import answered
from repsim_energy.training.build import NETWORK_ERRORS
from repsim_energy.training.inputs import LAYOUTS, as_input

__all__ = [
    "CONVS",
    "FIRST",
    "OUTPUT",
    "SPECIAL",
    "Receive",
    "entry_of",
    "layer_names",
    "layer_sizes",
    "layout_of",
    "looking_on",
    "observe",
]

FIRST, OUTPUT = "first", "output"
"""Names that every network has: the layer that gets the image, and the network's output."""

CONVS = "convs"
"""Name for all convolutions of a network, each of which is compared under its own name."""

Receive = Callable[[str, Tensor], None]
"""Called with the name of a layer and its output for a batch, before anything overwrites it."""

SPECIAL = (FIRST, OUTPUT, CONVS)
"""Names of layers that mean something in every network."""

ENTRY = re.compile(r"(?P<layer>.+)\[(?P<entry>[^\[\]]+)\]")
"""A layer and an entry of its output, such as ``gru[0]`` or ``output[logits]``."""


def layer_names(
    module: nn.Module, layers: Sequence[str], first: str | None = None
) -> dict[str, str]:
    """Return the submodule of each layer: layer -> its name, ``""`` for the network itself.

    If a submodule is called ``first``, ``output`` or ``convs``, that name means the submodule, with
    a warning. ``:first``, ``:output`` and ``:convs`` always have the general meaning.

    Parameters
    ----------
    first : the layer that gets the image; by default the first convolution that is registered

    Raises
    ------
    UsageError
        For a name that the network does not have.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    >>> layer_names(net, ["first", "convs", "output"])
    {'first': '0', '0': '0', '2': '2', 'output': ''}
    >>> layer_names(net, [":first", "1[maps]"])
    {':first': '0', '1[maps]': '1'}
    """
    known = [name for name, _ in module.named_modules() if name]
    found: dict[str, str] = {}
    for layer in layers:
        parts = ENTRY.fullmatch(layer)
        plain = parts["layer"] if parts and layer not in known else layer
        special = plain.removeprefix(":")
        if plain in known:
            if plain in SPECIAL:
                _say_which(module, plain)
            found[layer] = plain
        elif special == CONVS and plain == layer:
            found |= {n: n for n, m in module.named_modules() if isinstance(m, nn.Conv2d)}
        elif special in (FIRST, OUTPUT):
            found[layer] = (first or find_first_conv(module).name) if special == FIRST else ""
        else:
            raise unknown_name(f"layer of {type(module).__name__}", plain, [*SPECIAL, *known])
    return found


def _say_which(module: nn.Module, name: str) -> None:
    meant = {FIRST: "the layer that sees the image", OUTPUT: "the network's answer"}
    warn(
        f"{type(module).__name__} has a submodule '{name}', which is compared; write ':{name}' for "
        f"{meant.get(name, 'all convolutions')}"
    )


class _AllAnswered(Exception):
    """Ends a forward pass once all requested layers have been computed."""


@torch.no_grad()
def observe(
    module: nn.Module,
    layers: Mapping[str, str],
    images: Tensor,
    batch: int,
    normalization: Normalization,
    device: torch.device,
    receive: Receive,
    *,
    through: bool = False,
    answer: str = "",
    on_images: Callable[[int], None] = lambda _: None,
    typed: Mapping[str, str] | None = None,
) -> None:
    """Run a network on images in evaluation mode and pass the outputs of its layers to a function.

    Nothing is stored and no graph is built. ``receive`` must copy a tensor that it stores, because
    an in-place ReLU after the layer overwrites it.

    Parameters
    ----------
    layers : layer -> the name of the submodule, as :func:`layer_names` gives
    images : (n, c, h, w) uint8 or float
    batch : number of images per forward pass
    receive : called once for every layer and batch, with the (batch, ...) float32 output
    through : complete every forward pass, which finds layers that are used again later; otherwise
        it ends as soon as all layers have been computed
    answer : the entry of the network's own output to use, if it returns several tensors
    on_images : called with the number of images of each batch after its forward pass
    typed : layer -> its name in this network, with the entry of its output, for layers that are
        labeled otherwise

    Raises
    ------
    UsageError
        For layers that are not used exactly once in a forward pass, or do not return one tensor
        with a row for each image.
    """
    modules = dict(module.named_modules())
    answers = _Answers(layers, receive, through, answer, typed or {})
    with looking_on(module, device) as hooks:
        layout = layout_of(module, images[:2].to(device), normalization)
        hooks += [modules[n].register_forward_hook(answers.hook(key)) for key, n in layers.items()]
        for shown in images.split(batch):
            answers.begin(len(shown))
            with contextlib.suppress(_AllAnswered):
                module(as_input(shown.to(device), normalization, module, layout))
            if unused := layers.keys() - answers.seen:
                raise UsageError(
                    f"layer '{min(unused)}' is not used by {type(module).__name__}, expected one "
                    "that images pass through; name another one with layers="
                )
            on_images(len(shown))


class _Answers:
    """Passes the outputs of layers for each batch on, and checks that each is used once."""

    def __init__(
        self,
        layers: Mapping[str, str],
        receive: Receive,
        through: bool,
        answer: str,
        typed: Mapping[str, str],
    ) -> None:
        self._layers = layers
        self._receive = receive
        self._through = through
        self._answer = answer
        self._typed = typed
        self._images = 0
        self.seen: set[str] = set()

    def begin(self, images: int) -> None:
        """Expect the outputs for a batch of so many images."""
        self.seen.clear()
        self._images = images

    def hook(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        """Return the forward hook of a layer."""
        entry, how = entry_of(self._typed.get(layer, layer), self._layers[layer], self._answer)

        def forward_hook(_: nn.Module, __: object, output: object) -> None:
            if layer in self.seen:
                raise UsageError(
                    f"layer '{layer}' is used several times for an image, expected once; name the "
                    "module around it or another one with layers="
                )
            self.seen.add(layer)
            tensor = answered(output, self._images, f"layer '{layer}'", entry, how)
            self._receive(layer, tensor.detach().float())
            if not self._through and self.seen == self._layers.keys():
                raise _AllAnswered

        return forward_hook


def entry_of(layer: str, name: str, answer: str = "") -> tuple[str, str]:
    """Return the entry of a layer's output to use, empty if none is named, and how to name one.

    Parameters
    ----------
    layer : as the user names it, such as ``gru[0]``
    name : of the submodule, ``""`` for the network itself
    answer : the entry of the network's own output to use
    """
    parts = ENTRY.fullmatch(layer) if layer != name else None
    entry = parts["entry"] if parts else "" if name else answer
    return entry, f"write '{parts['layer'] if parts else layer}[ENTRY]', or name another layer"


@contextlib.contextmanager
def looking_on(module: nn.Module, device: torch.device) -> Iterator[list[RemovableHandle]]:
    """Put a network on a device, in evaluation mode, and restore both afterwards.

    Hooks that are added to the list are removed at the end.
    """
    # models/untouched.py restores networks too, but from copies of all numbers, and under a seed of
    # its own: right for a few images before a training, whose forward pass may change buffers. Here
    # a copy would double the memory of the network while the comparison needs most, and the seed
    # would change what networks draw. So only the places of the numbers are restored.
    parts = list(module.modules())
    modes = [part.training for part in parts]
    parameters = [
        (part, *named) for part in parts for named in part.named_parameters(recurse=False)
    ]
    buffers = [(part, *named) for part in parts for named in part.named_buffers(recurse=False)]
    gradients = [p.grad for _, _, p in parameters if p.grad is not None]
    numbers = [tensor for _, _, tensor in parameters] + gradients
    before = [tensor.data for tensor in numbers]
    hooks: list[RemovableHandle] = []
    try:
        module.to(device).eval()
        yield hooks
    finally:
        for hook in hooks:
            hook.remove()
        for part, was_training in zip(parts, modes, strict=True):
            part.training = was_training
        for tensor, data in zip(numbers, before, strict=True):
            if tensor.device != data.device:
                tensor.data = data
        for part, name, tensor in (*parameters, *buffers):
            if getattr(part, name) is not tensor:
                setattr(part, name, tensor)


def layout_of(
    module: nn.Module, images: Tensor, normalization: Normalization
) -> torch.memory_format:
    """Return the memory layout of images that a network accepts, found by trying a few images.

    If every layout fails, the error is raised later, with the name of the network.
    """
    with contextlib.suppress(*NETWORK_ERRORS):
        module(as_input(images, normalization, module, LAYOUTS[0]))
        return LAYOUTS[0]
    return LAYOUTS[1]


def layer_sizes(
    module: nn.Module,
    layers: Mapping[str, str],
    images: Tensor,
    device: torch.device,
    answer: str = "",
    typed: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Return the size of each layer's output for one image, found with two images."""
    sizes: dict[str, int] = {}

    def receive(layer: str, found: Tensor) -> None:
        sizes[layer] = found[0].numel()

    channels = int(images.shape[1])
    as_they_are = Normalization((0.0,) * channels, (1.0,) * channels)
    observe(
        module,
        layers,
        images[:2],
        2,
        as_they_are,
        device,
        receive,
        through=True,
        answer=answer,
        typed=typed,
    )
    return sizes
