"""Find the batch norm that follows a layer, by forward passes through the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, reason_of
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.models.filters.partial_forward import run_eagerly
from repsim_energy.numerics.settings import own_settings

__all__ = ["following_norm"]

Shape = tuple[int, int, int]

Hook = Callable[[nn.Module, Any, Any], Any]


def following_norm(module: nn.Module, layer: str, image: Shape) -> Norm:
    """Return the batch norm whose input is the output of a layer.

    Modules without parameters that return their input unchanged (``Identity``, dropout) may stand
    between them. The state of the network is restored.

    Parameters
    ----------
    layer : the name of the layer
    image : (c, h, w) of the images

    Raises
    ------
    UsageError
        If another module follows than an affine map of each channel, several modules follow, or
        the output of the layer is also used elsewhere.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> following_norm(net, "0", (3, 16, 16)).name
    '1'
    """
    with own_settings(), preserve_state(module), run_eagerly(module):
        trial = _Trial(module, layer, image)
        receivers = trial.receivers()
        names = list(receivers)
        if len(names) != 1:
            got = ", ".join(f"'{n}' ({type(m).__name__})" for n, m in receivers.items())
            raise UsageError(
                f"the output of '{layer}' goes to {got or 'no other module'}, expected one batch "
                "norm to be folded into the filters; leave fold= out"
            )
        norm = Norm(names[0], receivers[names[0]], trial.shape)
        norm.scale()
        if trial.is_bypassed(norm.module):
            raise UsageError(
                f"the output of '{layer}' goes to '{norm.name}' and elsewhere too (a shortcut), "
                "expected one batch norm to be folded into the filters; leave fold= out"
            )
    return norm


class _Trial:
    """Forward passes through a network in which the output of one of its layers is replaced."""

    def __init__(self, module: nn.Module, layer: str, image: Shape) -> None:
        self._module, self._name = module, layer
        self._submodules = dict(module.named_modules())
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(1, *image, generator=generator, device="cpu")
        own = next((p for p in module.parameters() if p.is_floating_point()), images)
        self._images = images.to(own.device, own.dtype)
        self.shape: Shape = (0, 0, 0)

    def receivers(self) -> dict[str, nn.Module]:
        """Return the innermost modules whose input is the output of the layer, by name."""
        record = _Receivers()

        def replace(_: nn.Module, __: Any, output: Any) -> Any:
            if not isinstance(output, Tensor) or output.ndim != 4:
                return output
            self.shape = (output.shape[1], output.shape[2], output.shape[3])
            noise = 100 * torch.randn(output.shape, dtype=torch.float32, device="cpu")
            replaced = noise.to(output.device, output.dtype)
            record.follow(replaced, replaced.clone())
            return replaced

        others = [(n, m) for n, m in self._submodules.items() if n not in ("", self._name)]
        hooks = [
            *(m.register_forward_pre_hook(record.before(n), with_kwargs=True) for n, m in others),
            *(m.register_forward_hook(record.after(n)) for n, m in others),
        ]
        self._forward(replace, hooks)
        return record.innermost()

    def is_bypassed(self, norm: nn.Module) -> bool:
        """Return whether the network's output depends on the layer other than through the norm."""
        outputs: list[Tensor] = []

        def store(_: nn.Module, __: Any, output: Any) -> None:
            outputs.append(output.clone())

        def restore(_: nn.Module, __: Any, output: Any) -> Any:
            return outputs.pop(0)

        def add_noise(_: nn.Module, __: Any, output: Any) -> Any:
            noise = torch.randn(output.shape, dtype=torch.float32, device="cpu")
            return output + noise.to(output.device, output.dtype) + 1

        output = self._forward(lambda *_: None, [norm.register_forward_hook(store)])
        other = self._forward(add_noise, [norm.register_forward_hook(restore)])
        return not _are_close(output, other)

    def _forward(self, at_layer: Hook, hooks: Sequence[Any]) -> Any:
        """Return the network's output for an image, with a hook at the layer."""
        hooks = [*hooks, self._submodules[self._name].register_forward_hook(at_layer)]
        torch.manual_seed(0)
        try:
            return self._module(self._images)
        except Exception as error:  # the network's own code may raise anything
            raise UsageError(
                f"{type(self._module).__name__} cannot be run on the images ({reason_of(error)}), "
                f"expected a forward pass that shows what follows '{self._name}'; use other "
                "images, or leave fold= out"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()


class _Receivers:
    """The modules that a tensor comes to in a forward pass, recorded by hooks."""

    def __init__(self) -> None:
        self._followed: list[tuple[Tensor, Tensor]] = []  # with copies of their values
        self._modules: dict[str, nn.Module] = {}
        self._unchanging: set[str] = set()

    def follow(self, tensor: Tensor, values: Tensor) -> None:
        """Record from now on where this tensor comes, as long as it has these values."""
        self._followed.append((tensor, values))

    def before(self, name: str) -> Hook:
        """Return a pre-hook that records the module if a followed tensor is its input."""

        def record(module: nn.Module, args: Any, kwargs: Any) -> None:
            inputs = (*args, *kwargs.values())
            if any(one is x and _are_equal(x, v) for one in inputs for x, v in self._followed):
                self._modules[name] = module

        return record

    def after(self, name: str) -> Hook:
        """Return a hook that follows the output too, if the module has not changed the tensor."""

        def record(module: nn.Module, _: Any, output: Any) -> None:
            if name in self._modules and isinstance(output, Tensor) and not _has_tensors(module):
                same = [values for _, values in self._followed if _are_equal(output, values)]
                if same:
                    self._unchanging.add(name)
                    self.follow(output, same[0])

        return record

    def innermost(self) -> dict[str, nn.Module]:
        """Return the recorded modules that change the tensor, without the parents of others."""
        received = {n: m for n, m in self._modules.items() if n not in self._unchanging}
        return {
            name: module
            for name, module in received.items()
            if not any(other.startswith(f"{name}.") for other in received)
        }


def _has_tensors(module: nn.Module) -> bool:
    return any(True for _ in (*module.parameters(), *module.buffers()))


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _are_close(one: Any, other: Any) -> bool:
    """Return whether two outputs of a network are equal up to rounding."""
    pairs = list(zip(_tensors(one), _tensors(other), strict=False))
    return len(pairs) > 0 and all(
        a.shape == b.shape
        and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-6, equal_nan=True)
        for a, b in pairs
    )


def _tensors(output: Any) -> list[Tensor]:
    """Return all tensors in an output, complex ones as real ones."""
    if isinstance(output, Tensor):
        return [torch.view_as_real(output) if output.is_complex() else output]
    if isinstance(output, Mapping):
        output = list(output.values())
    elif dataclasses.is_dataclass(output):
        output = [getattr(output, entry.name) for entry in dataclasses.fields(output)]
    elif not isinstance(output, tuple | list):
        output = list(vars(output).values()) if hasattr(output, "__dict__") else []
    return [tensor for entry in output for tensor in _tensors(entry)]
