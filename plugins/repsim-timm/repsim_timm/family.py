"""Family ``timm/*``: new networks of timm, and pretrained ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import repsim_energy as rs
from torch import nn

try:
    import timm
except ImportError as error:
    raise rs.UsageError("timm is missing, expected 1.0.31 or newer; pip install timm") from error

from timm.models import get_deprecated_models

from repsim_timm.first_layer import expect_size, first_layer
from repsim_timm.pretrained import load_pretrained

__all__ = ["family"]


class _Timm:
    """All architectures of timm, as a ``ModelFamily``."""

    example = "test_resnet"

    def names(self) -> Iterable[str]:
        """Return timm's architectures, without a tag and with each tag of published weights."""
        return dict.fromkeys([*timm.list_models(), *timm.list_pretrained()])

    def __call__(
        self,
        name: str,
        num_classes: int,
        in_channels: int,
        *,
        pretrained: bool = False,
        weights: Path | None = None,
        img_size: int | None = None,
        patch_size: int | None = None,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        frozen: bool = False,
        sigma: float | None = None,
    ) -> nn.Module | rs.TrainedModel:
        """Build a timm model.

        Parameters
        ----------
        name : an architecture such as resnet18, or one with a tag such as resnet18.a1_in1k
        pretrained : load timm's weights of that tag, or of timm's default tag; without it the
            network is new and trained here
        weights : a file with those weights, for a machine that cannot download them
        img_size : rows and columns of the images, for architectures of a fixed size
        patch_size : rows and columns of the patches that a new transformer embeds
        drop_rate : dropout before the classifier of a new network
        drop_path_rate : stochastic depth of a new network
        frozen : the first layer of a new network stays as initialized
        sigma : standard deviation of the first layer's normal initial weights
        """
        if name not in self.names():
            raise _unknown(name, self.names())
        new_only = {"patch_size": patch_size, "drop_rate": drop_rate, "sigma": sigma}
        new_only |= {"drop_path_rate": drop_path_rate, "frozen": frozen or None}
        if pretrained or weights is not None:
            if given := [option for option, value in new_only.items() if value is not None]:
                raise rs.UsageError(
                    f"timm/{name} got {given[0]}= with pretrained weights, expected it for a new "
                    "network only; leave one of the two out"
                )
            return load_pretrained(name, weights, img_size)
        net = timm.create_model(
            name,
            num_classes=num_classes,
            in_chans=in_channels,
            img_size=img_size,
            patch_size=patch_size,
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
        )
        if first_layer(net, name, in_channels) is not None:
            rs.init_first_layer(net, frozen=frozen, sigma=sigma)
        elif frozen or sigma is not None:
            raise rs.UsageError(
                f"timm/{name} got {'frozen' if frozen else 'sigma'}=, which is for a first "
                "convolution, and it embeds patches by a linear layer; leave it out"
            )
        expect_size(net, name)
        return net


def _unknown(name: str, known: Iterable[str]) -> rs.UsageError:
    """Return the error for a name that timm does not know, with the closest one."""
    renamed = get_deprecated_models().get(name)
    close = [renamed] if renamed else difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean 'timm/{close[0]}'? " if close else ""
    start = name.rstrip("0123456789").partition(".")[0][:6]
    return rs.UsageError(
        f"timm {timm.__version__} has no model '{name}'; {hint}list names with "
        f"repsim models 'timm/{start}*'"
    )


family = _Timm()
