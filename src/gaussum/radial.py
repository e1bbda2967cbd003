"""Kernels that are functions of the distance alone: their integrals, how far they smooth, samples of them.

With r the Euclidean distance over the bandwidth:

    tophat 1,  epanechnikov 1 - r^2,  linear 1 - r,  cosine cos(pi r / 2), each for r < 1 and 0 beyond;
    exponential exp(-r),  gaussian exp(-r^2 / 2)

These are scikit-learn's definitions. So are the densities, but for the cosine kernel in an even number of dimensions,
where those of scikit-learn (1.9) do not integrate to one.
"""

import math

import numpy as np
from scipy.special import betaln, gammaln

from gaussum.typing import FloatArray



KERNELS = ("gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine")
_COSINE_TERMS = 30


def log_volume(kernel: str, d: int) -> float:
    """The logarithm of a kernel's integral over d dimensions, in units of the bandwidth."""
    return _log_sphere(d) + _log_integral(kernel, d - 1, 1)


def canonical_factor(kernel: str, d: int) -> float:
    """The bandwidth at which a kernel smooths as much as the Gaussian of bandwidth 1.

    The mean integrated squared error is asymptotically least at a bandwidth proportional to (R(K) / m(K)^2)^(1 / (d +
    4)), R being the integral of the density K^2 and m its variance along an axis; to the kernels at hand apply the same
    constants of the density that is estimated. So the ratio of these scales takes the bandwidth of one kernel to that
    of another.

    Parameters
    ----------
    kernel : {"gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"}
    d : int
        The number of features.

    Returns
    -------
    float

    References
    ----------
    J. S. Marron and D. Nolan, *Canonical kernels for density estimation*, Statistics and Probability Letters 7, 1988,
    195-199 (d = 1). M. P. Wand and M. C. Jones, *Kernel Smoothing*, Chapman and Hall 1995, section 4.3.

    Examples
    --------
    >>> round(canonical_factor("epanechnikov", 1), 4)
    2.2138
    """
    return math.exp((_log_scale(kernel, d) - _log_scale("gaussian", d)) / (d + 4))


def draw(kernel: str, n: int, d: int, rng: np.random.Generator) -> FloatArray:
    """Samples of a kernel of bandwidth 1.

    A direction, uniform, and a distance: r^d, r^2 or r are uniform or follow a beta or a gamma distribution; for the
    cosine kernel proposals from the Epanechnikov kernel are accepted with probability cos(pi r / 2) / (1 - r^2), which
    lies between pi / 4 and 1.

    Parameters
    ----------
    kernel : str
    n, d : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (n, d)
    """
    steps = rng.standard_normal((n, d))
    if kernel == "gaussian":
        return steps
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    if kernel == "tophat":
        r = rng.random(n) ** (1.0 / d)
    elif kernel == "epanechnikov":
        r = np.sqrt(rng.beta(0.5 * d, 2.0, n))
    elif kernel == "linear":
        r = rng.beta(d, 2.0, n)
    elif kernel == "exponential":
        r = rng.gamma(d, size=n)
    else:
        r, late = np.empty(n), np.arange(n)
        while late.size:
            u = rng.beta(0.5 * d, 2.0, late.size)
            r[late] = np.sqrt(u)
            late = late[rng.random(late.size) * (1.0 - u) >= np.cos(0.5 * math.pi * r[late])]
    return steps * r[:, np.newaxis]


def _log_sphere(d: int) -> float:
    """The logarithm of the surface of the unit sphere in d dimensions."""
    return math.log(2.0) + 0.5 * d * math.log(math.pi) - float(gammaln(0.5 * d))


def _log_integral(kernel: str, p: int, power: int) -> float:
    """The logarithm of the integral of r^p K(r)^power over r > 0, for power 1 and 2."""
    if kernel == "gaussian":
        return float(gammaln(0.5 * (p + 1)) - 0.5 * (p + 1) * math.log(0.5 * power)) - math.log(2.0)
    if kernel == "tophat":
        return -math.log(p + 1.0)
    if kernel == "epanechnikov":
        return float(betaln(0.5 * (p + 1), power + 1.0)) - math.log(2.0)
    if kernel == "linear":
        return float(betaln(p + 1.0, power + 1.0))
    if kernel == "exponential":
        return float(gammaln(p + 1.0)) - (p + 1) * math.log(power)
    # by its series; cos^2(a / 2) = (1 + cos a) / 2
    terms = [
        (-1) ** k * (0.5 * power * math.pi) ** (2 * k) / math.factorial(2 * k) / (p + 2 * k + 1)
        for k in range(_COSINE_TERMS)
    ]
    return math.log(math.fsum(terms) if power == 1 else 0.5 * math.fsum([terms[0], *terms]))


def _log_scale(kernel: str, d: int) -> float:
    """log(R(K) / m(K)^2)"""
    volume = log_volume(kernel, d)
    roughness = _log_sphere(d) + _log_integral(kernel, d - 1, 2) - 2.0 * volume
    variance = _log_sphere(d) + _log_integral(kernel, d + 1, 1) - volume - math.log(d)
    return roughness - 2.0 * variance
