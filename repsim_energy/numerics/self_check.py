"""Quick check of numerical kernels against slow, plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from repsim_energy.errors import RepsimError
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.patches.sums import patch_sums
from repsim_energy.numerics.profiles.energy import energy_profile
from repsim_energy.numerics.threads import one_thread

__all__ = ["self_check"]

SHAPES = (((3, 3, 9, 16), (3, 3)), ((2, 1, 5, 53), (2, 4)))
"""Shapes of images and patches. The second images are wide enough for sums in tiles."""

PASSED = "passed"


@cache
def self_check() -> str:
    """Check patch sums, components and energy profiles of a few small images, once per process.

    Sums of bytes have to be exact, and those of float32 correct to 1e-5 of the largest. Components
    have to be orthonormal eigenvectors, and profiles correct, to 1e-9. The check takes a few
    milliseconds. ``repsim doctor`` checks far more.

    Returns
    -------
    ``passed``, the attribute ``self_check`` of results

    Raises
    ------
    RepsimError
        For a number that is wrong. No number of this process can be trusted then.
    """
    with one_thread():  # too small for several
        wrong = [name for name, deviation, allowed in _deviations() if not deviation <= allowed]
    if wrong:
        raise RepsimError(
            f"torch {torch.__version__} computes wrongly on this machine ({', '.join(wrong)}), "
            "expected the results of plain arithmetic; run repsim doctor, unset variables that "
            "select kernels (such as ONEDNN_DEFAULT_FPMATH_MODE), or use another version of torch"
        )
    return PASSED


def _deviations() -> Iterator[tuple[str, float, float]]:
    """Yield the name of each check, the deviation, and the largest one that is allowed."""
    for shape, patch in SHAPES:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        for kind, allowed in ((torch.uint8, 0.0), (torch.float32, 1e-5)):
            found = patch_sums(images.to(kind), patch)[:2]
            expected = _plain_sums(images.to(torch.int64), patch)
            off = max(_distance(a, b) for a, b in zip(found, expected, strict=True))
            yield f"patch sums of {str(kind).removeprefix('torch.')}", off, allowed
    total, second = (sums.double() / 1000 for sums in expected)
    basis = basis_from_moments(second, total, (shape[1], *patch), False, 10 * len(total))
    u = basis.components
    mapped = (u[:, None] * second).sum(2)
    yield "eigenvectors", _distance(mapped, basis.eigenvalues[:, None] * u), 1e-9
    gram = (u[:, None] * u).sum(2)
    yield "orthonormal components", _distance(gram, torch.eye(len(u), dtype=u.dtype)), 1e-9
    filters = second[:3]
    responses = (filters[:, None] * u).sum(2)
    expected_profile = responses.square().mean(0).sqrt()
    found_profile = torch.from_numpy(energy_profile(filters, basis))
    yield "energy profiles", _distance(found_profile, expected_profile), 1e-9


def _plain_sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the sum and the second moment of all patches, multiplied entry by entry."""
    windows = images.unfold(2, patch[0], 1).unfold(3, patch[1], 1)  # (n, c, y, x, kh, kw)
    patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    return patches.sum(0), (patches[:, :, None] * patches[:, None]).sum(0)


def _distance(found: Tensor, expected: Tensor) -> float:
    """Return the largest deviation, relative to the largest number."""
    found, expected = found.double(), expected.double()
    return float((found - expected).abs().max() / expected.abs().max())
