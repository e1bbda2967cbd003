"""Information criteria: a log-likelihood and what it cost. Smaller is better in all of them.

``log_likelihood`` is the total over the samples, not the mean. With weighted samples it is the weighted sum
and ``n_samples`` the sum of the weights, so that a sample of weight 2 counts as two samples.
"""

import math


def aic(log_likelihood: float, n_parameters: int) -> float:
    """Akaike's information criterion, ``2 p - 2 log L``.

    Parameters
    ----------
    log_likelihood : float
        Total log-likelihood of the samples at its maximum, in nats.
    n_parameters : int
        Number of free parameters, p.

    Returns
    -------
    float
        The criterion; smaller is better.

    References
    ----------
    H. Akaike, "A new look at the statistical model identification", IEEE Transactions on Automatic Control
    19 (1974) 716-723.

    Examples
    --------
    >>> aic(-100.0, 5)
    210.0
    """
    return 2.0 * n_parameters - 2.0 * log_likelihood


def aicc(log_likelihood: float, n_parameters: int, n_samples: float) -> float:
    """AIC corrected for few samples, ``AIC + 2 p (p + 1) / (n - p - 1)``.

    Parameters
    ----------
    log_likelihood : float
        Total log-likelihood of the samples at its maximum, in nats.
    n_parameters : int
        Number of free parameters, p.
    n_samples : float
        Number of samples, n, or the sum of their weights.

    Returns
    -------
    float
        The criterion, smaller is better; infinity where ``n - p - 1 <= 0``.

    References
    ----------
    C. M. Hurvich and C.-L. Tsai, "Regression and time series model selection in small samples", Biometrika 76
    (1989) 297-307; the correction is exact for linear regression and customary elsewhere.

    Examples
    --------
    >>> aicc(-100.0, 5, 26)
    213.0
    >>> aicc(-100.0, 5, 6)
    inf
    """
    spare = n_samples - n_parameters - 1
    if spare <= 0:
        return math.inf
    return aic(log_likelihood, n_parameters) + 2.0 * n_parameters * (n_parameters + 1) / spare


def bic(log_likelihood: float, n_parameters: int, n_samples: float) -> float:
    """Bayesian information criterion, ``p log n - 2 log L``.

    The R package mclust reports the same number with the other sign.

    Parameters
    ----------
    log_likelihood : float
        Total log-likelihood of the samples at its maximum, in nats.
    n_parameters : int
        Number of free parameters, p.
    n_samples : float
        Number of samples, n, or the sum of their weights; positive.

    Returns
    -------
    float
        The criterion; smaller is better.

    References
    ----------
    G. Schwarz, "Estimating the dimension of a model", Annals of Statistics 6 (1978) 461-464.

    Examples
    --------
    >>> bic(-100.0, 5, 1)
    200.0
    """
    return n_parameters * math.log(n_samples) - 2.0 * log_likelihood


def icl(log_likelihood: float, n_parameters: int, n_samples: float, classification_log_prob: float) -> float:
    """Integrated completed likelihood, ``BIC - 2 sum_i log max_k r_ik``.

    BIC with a penalty for samples that no single component claims: it prefers components that stand apart,
    where BIC prefers as many as the density needs. Each sample is assigned to its most probable component,
    as in the R package mclust; the entropy ``-sum_ik r_ik log r_ik`` that some authors use instead is a
    different number.

    Parameters
    ----------
    log_likelihood : float
        Total log-likelihood of the samples at its maximum, in nats.
    n_parameters : int
        Number of free parameters, p.
    n_samples : float
        Number of samples, n, or the sum of their weights; positive.
    classification_log_prob : float
        Sum over the samples of ``log max_k r_ik``, the log of the largest responsibility; never positive.

    Returns
    -------
    float
        The criterion, smaller is better; never below `bic`.

    References
    ----------
    C. Biernacki, G. Celeux and G. Govaert, "Assessing a mixture model for clustering with the integrated
    completed likelihood", IEEE Transactions on Pattern Analysis and Machine Intelligence 22 (2000) 719-725.

    Examples
    --------
    >>> icl(-100.0, 5, 1, classification_log_prob=-2.5)
    205.0
    """
    return bic(log_likelihood, n_parameters, n_samples) - 2.0 * classification_log_prob
