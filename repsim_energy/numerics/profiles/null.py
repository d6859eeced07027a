"""Null interval of the correlation of energy profiles."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from repsim_energy.errors import UsageError

__all__ = ["pearson_null_interval"]


def pearson_null_interval(components: int, *, level: float = 0.95) -> tuple[float, float]:
    r"""Return the central interval of the correlation of two unrelated energy profiles.

    .. math:: r\sqrt{\frac{d - 2}{1 - r^2}} \sim t_{d-2}

    This is the distribution for profiles of independent Gaussian filters: on every orthonormal
    basis their d entries are independent, equally distributed, and close to normal already for a
    few filters. It does not depend on the number of filters.

    Source: Fisher (1915), "Frequency distribution of the values of the correlation coefficient in
    samples from an indefinitely large population"; doi:10.1093/biomet/10.4.507.

    Parameters
    ----------
    components : d, the number of components
    level : the probability inside the interval

    Returns
    -------
    (low, high), symmetric about 0. NaN for fewer than three components, where every correlation is
    1 or -1.

    Raises
    ------
    UsageError
        For a level that is not between 0 and 1.

    Examples
    --------
    >>> low, high = pearson_null_interval(27)
    >>> round(low, 3), round(high, 3)
    (-0.381, 0.381)
    """
    if not 0 < level < 1:
        raise UsageError(f"got level={level}, expected a probability between 0 and 1, such as 0.95")
    if components < 3:
        return (math.nan, math.nan)
    t = float(stdtrit(components - 2, 0.5 + level / 2))
    r = t / math.sqrt(components - 2 + t * t)
    return (-r, r)
