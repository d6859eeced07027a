"""P-values of a result, corrected for the number of its pairs."""

from __future__ import annotations

import numpy as np
import xarray as xr

from repsim_energy.errors import UsageError
from repsim_energy.numerics.inference.multiplicity import adjusted
from repsim_energy.results.summary import check_pairs
from repsim_energy.results.whole import numbers_of

__all__ = ["adjust_p_values"]


def adjust_p_values(result: xr.Dataset, method: str = "holm") -> xr.DataArray:
    r"""Return the p-values of a result, corrected for the number of its pairs.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)}) \quad\text{(Holm)},
        \qquad \tilde p_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j)
        \quad\text{(Benjamini-Hochberg)}

    m is the number of distinct pairs that have a p-value. Undefined pairs do not count. Holm's
    method bounds the probability of any wrong finding; that of Benjamini and Hochberg the expected
    share of wrong ones among the findings.

    Source: Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
    Journal of Statistics 6:65; https://www.jstor.org/stable/4615733.

    Source: Benjamini and Hochberg (1995), "Controlling the False Discovery Rate";
    doi:10.1111/j.2517-6161.1995.tb02031.x.

    Parameters
    ----------
    result : of :func:`compare` or :func:`open_result`, or a part of it with the same networks on
        both sides of the pairs
    method : ``holm``, or ``bh`` for Benjamini-Hochberg

    Returns
    -------
    xarray.DataArray
        ``p_holm`` or ``p_bh``, of the shape of ``p_value``, symmetric

    Raises
    ------
    UsageError
        For a result without p-values, as of ``null="metric"``, or with other networks on one side;
        for another method.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> draw = torch.Generator().manual_seed(0)
    >>> banks = {name: torch.randn(8, 1, 3, 3, generator=draw) for name in "abc"}
    >>> images = torch.rand(20, 1, 8, 8, generator=draw)
    >>> result = rs.compare(banks, images, null="white")
    >>> corrected = rs.adjust_p_values(result)
    >>> bool((corrected >= result.p_value).where(result.p_value.notnull(), True).all())
    True
    """
    check_pairs(result)
    if "p_value" not in result:
        raise UsageError(
            "got a result without p-values, expected one whose null is drawn or known in closed "
            "form; compare with null=smooth or null=permutation"
        )
    values = numbers_of(result, "p_value", result.similarity.dims)
    own = [str(dim) for dim in values.dims if not str(dim).endswith("_ref")]
    ordered = values.transpose(*own, *(f"{dim}_ref" for dim in own))
    size = int(np.prod(ordered.shape[: len(own)]))
    flat = ordered.values.reshape(size, size)
    upper = np.triu_indices(size, k=1)
    out = np.full((size, size), np.nan)
    out[upper] = out.T[upper] = adjusted(flat[upper], method)
    words = {"holm": "Holm", "bh": "Benjamini and Hochberg"}[method]
    corrected = ordered.copy(data=out.reshape(ordered.shape)).rename(f"p_{method}")
    corrected.attrs = {"long_name": f"p-value corrected by the method of {words}", "units": "1"}
    return corrected.transpose(*values.dims)
