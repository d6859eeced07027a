"""Find the batch norm that gets what a layer answers, by sending an image through the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, reason_of
from repsim_energy.models.filters.first_layer import run_eagerly
from repsim_energy.models.filters.module_state import left_as_it_was
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.numerics.settings import own_settings

__all__ = ["following_norm"]

Shape = tuple[int, int, int]


def following_norm(module: nn.Module, layer: str, image: Shape) -> Norm:
    """Return the batch norm that gets what a layer answers, found by sending an image through.

    What passes its input on unchanged and has no numbers (``Identity``, dropout) is looked
    through. The network is left as it was.

    Parameters
    ----------
    layer : the name of the layer
    image : (c, h, w) of the images that the network is for

    Raises
    ------
    UsageError
        Where something else than an affine map of each channel follows, or the answers of the
        layer go to several places.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> following_norm(net, "0", (3, 16, 16)).name
    '1'
    """
    with own_settings(), left_as_it_was(module), run_eagerly(module):
        trial = _Trial(module, layer, image)
        found = trial.receivers()
        names = list(found)
        if len(names) != 1:
            got = ", ".join(f"'{n}' ({type(m).__name__})" for n, m in found.items())
            raise UsageError(
                f"what '{layer}' answers goes to {got or 'no other layer'}, expected one batch "
                "norm that follows, to be folded into the filters; leave fold= out"
            )
        norm = Norm(names[0], found[names[0]], trial.maps)
        norm.scale()
        if trial.is_used_beside(norm.module):
            raise UsageError(
                f"what '{layer}' answers goes to '{norm.name}' and past it too (a shortcut), "
                "expected a batch norm that gets all of it, to be folded into the filters; leave "
                "fold= out"
            )
    return norm


class _Trial:
    """A network that images are sent through, the answers of one of its layers replaced."""

    def __init__(self, module: nn.Module, layer: str, image: Shape) -> None:
        self._module, self._name = module, layer
        self._parts = dict(module.named_modules())
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(1, *image, generator=generator, device="cpu")
        own = next((p for p in module.parameters() if p.is_floating_point()), images)
        self._images = images.to(own.device, own.dtype)
        self.maps: Shape = (0, 0, 0)

    def receivers(self) -> dict[str, nn.Module]:
        """Return the innermost modules that get what the layer answers, by their names."""
        passed: list[tuple[Tensor, Tensor]] = []  # kept alive, with what was in them
        found: dict[str, nn.Module] = {}
        through: set[str] = set()

        def noise(_: nn.Module, __: Any, answer: Any) -> Any:
            if not isinstance(answer, Tensor) or answer.ndim != 4:
                return answer
            self.maps = (answer.shape[1], answer.shape[2], answer.shape[3])
            numbers = 100 * torch.randn(answer.shape, dtype=torch.float32, device="cpu")
            replaced = numbers.to(answer.device, answer.dtype)
            passed.append((replaced, replaced.clone()))
            return replaced

        def before(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def note(part: nn.Module, args: Any, options: Any) -> None:
                given = (*args, *options.values())
                if any(one is x and _equal(x, kept) for one in given for x, kept in passed):
                    found[name] = part

            return note

        def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def note(part: nn.Module, _: Any, answer: Any) -> None:
                if name in found and isinstance(answer, Tensor) and not _holds_numbers(part):
                    same = [kept for _, kept in passed if _equal(answer, kept)]
                    if same:
                        through.add(name)
                        passed.append((answer, same[0]))

            return note

        others = [(n, m) for n, m in self._parts.items() if n not in ("", self._name)]
        hooks = [
            *(m.register_forward_pre_hook(before(n), with_kwargs=True) for n, m in others),
            *(m.register_forward_hook(after(n)) for n, m in others),
        ]
        self._sent(noise, hooks)
        received = {n: m for n, m in found.items() if n not in through}
        return {
            name: part
            for name, part in received.items()
            if not any(other.startswith(f"{name}.") for other in received)
        }

    def is_used_beside(self, norm: nn.Module) -> bool:
        """Return whether the network's answer depends on the layer's past its batch norm."""
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: Any, answer: Any) -> None:
            kept.append(answer.clone())

        def put_back(_: nn.Module, __: Any, answer: Any) -> Any:
            return kept.pop(0)

        def noise(_: nn.Module, __: Any, answer: Any) -> Any:
            numbers = torch.randn(answer.shape, dtype=torch.float32, device="cpu")
            return answer + numbers.to(answer.device, answer.dtype) + 1

        answer = self._sent(lambda *_: None, [norm.register_forward_hook(keep)])
        other = self._sent(noise, [norm.register_forward_hook(put_back)])
        return not _alike(answer, other)

    def _sent(self, at_layer: Callable[..., Any], hooks: Sequence[Any]) -> Any:
        """Return the network's answer to an image, with a hook at the layer."""
        hooks = [*hooks, self._parts[self._name].register_forward_hook(at_layer)]
        torch.manual_seed(0)
        try:
            return self._module(self._images)
        except Exception as error:  # the network's own code may raise anything
            raise UsageError(
                f"{type(self._module).__name__} cannot be run on the images ({reason_of(error)}), "
                f"so that what follows '{self._name}' is not known; use other images, or leave "
                "fold= out"
            ) from error
        finally:
            for hook in hooks:
                hook.remove()


def _holds_numbers(part: nn.Module) -> bool:
    return any(True for _ in (*part.parameters(), *part.buffers()))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)


def _alike(one: Any, other: Any) -> bool:
    """Return whether two answers of one network are the same up to rounding."""
    pairs = list(zip(_tensors(one), _tensors(other), strict=False))
    return len(pairs) > 0 and all(
        a.shape == b.shape
        and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-6, equal_nan=True)
        for a, b in pairs
    )


def _tensors(answer: Any) -> list[Tensor]:
    """Return the real tensors in an answer."""
    if isinstance(answer, Tensor):
        return [torch.view_as_real(answer) if answer.is_complex() else answer]
    if isinstance(answer, Mapping):
        answer = list(answer.values())
    elif dataclasses.is_dataclass(answer):
        answer = [getattr(answer, part.name) for part in dataclasses.fields(answer)]
    elif not isinstance(answer, tuple | list):
        answer = list(vars(answer).values()) if hasattr(answer, "__dict__") else []
    return [tensor for part in answer for tensor in _tensors(part)]
