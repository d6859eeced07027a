"""What similarity unrelated networks have by chance."""

from __future__ import annotations

import math

from scipy.special import stdtrit

__all__ = ["pearson_null_interval"]


def pearson_null_interval(components: int, *, level: float = 0.95) -> tuple[float, float]:
    r"""Return the central band of the correlation of two independent random banks' profiles.

    The entries of a Gaussian bank's profile are independent and alike on every orthonormal basis,
    and close to normal already for a few filters. The correlation r of two such profiles of d
    entries then has :math:`r\sqrt{(d-2)/(1-r^2)}` distributed as Student's t with d - 2 degrees
    of freedom, whatever the number of filters.

    Source: the classical distribution of a sample correlation (Fisher, 1915).

    Parameters
    ----------
    components : d, the number of components
    level : the probability inside the band

    Returns
    -------
    (low, high). NaN for fewer than three components, which always correlate fully.

    Examples
    --------
    >>> low, high = pearson_null_interval(27)
    >>> round(low, 3), round(high, 3)
    (-0.381, 0.381)
    """
    if components < 3:
        return (math.nan, math.nan)
    t = float(stdtrit(components - 2, 0.5 + level / 2))
    r = t / math.sqrt(components - 2 + t * t)
    return (-r, r)
