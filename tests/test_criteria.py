"""Information criteria against scikit-learn and against the R package mclust."""

import math
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from gaussum import criteria

# mclust 6.0.0 on Old Faithful, two components: log-likelihood, parameters, BIC and ICL with the sign turned.
MCLUST = {
    "tied": (-1140.18676032611, 8, 2325.21993718258, 2326.70973199106),
    "diag": (-1147.80635267749, 9, 2346.06492395165, 2346.16080858798),
}

likelihoods = st.floats(-1e6, 1e6)
parameters = st.integers(1, 1000)


@pytest.fixture(scope="module")
def faithful():
    text = (resources.files("gaussum") / "data" / "faithful.csv").read_text()
    return np.loadtxt(text.splitlines(), delimiter=",", skiprows=1)


@pytest.fixture(scope="module", params=MCLUST)
def fitted(request, faithful):
    mixture = GaussianMixture(2, covariance_type=request.param, tol=1e-10, max_iter=2000, random_state=0)
    return mixture.fit(faithful)


def test_agrees_with_scikit_learn(fitted, faithful):
    n = len(faithful)
    total, p = fitted.score(faithful) * n, fitted._n_parameters()
    assert criteria.aic(total, p) == pytest.approx(fitted.aic(faithful), rel=1e-13)
    assert criteria.bic(total, p, n) == pytest.approx(fitted.bic(faithful), rel=1e-13)


def test_agrees_with_mclust(fitted, faithful):
    likelihood, p, bic, icl = MCLUST[fitted.covariance_type]
    n = len(faithful)
    assert fitted._n_parameters() == p
    assert criteria.bic(likelihood, p, n) == pytest.approx(bic, abs=1e-7)
    total = fitted.score(faithful) * n
    assert total == pytest.approx(likelihood, abs=2e-5)  # mclust stops a little before the maximum
    certainty = np.log(fitted.predict_proba(faithful).max(axis=1)).sum()
    assert criteria.icl(total, p, n, certainty) == pytest.approx(icl, abs=1e-3)


@pytest.mark.parametrize(
    "value, expected",
    [
        (criteria.aic(-3.5, 2), 11.0),
        (criteria.bic(-3.5, 2, math.e**3), 13.0),
        (criteria.aicc(-3.5, 2, 15), 12.0),
        (criteria.icl(-3.5, 2, math.e**3, -0.5), 14.0),
        (criteria.bic(-3.5, 2, 2.5), 7 + 2 * math.log(2.5)),
    ],
)
def test_by_hand(value, expected):
    assert value == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("n_samples", [0.5, 1, 5, 6])
def test_aicc_needs_samples(n_samples):
    assert criteria.aicc(-10.0, 5, n_samples) == math.inf


def test_aicc_beyond_its_limit():
    assert math.isfinite(criteria.aicc(-10.0, 5, 6.001))
    assert criteria.aicc(-10.0, 5, 10**9) == pytest.approx(criteria.aic(-10.0, 5), rel=1e-8)


@settings(deadline=None)
@given(likelihoods, parameters, st.integers(1, 10**9), st.floats(0, 1e6))
def test_order_of_the_criteria(likelihood, p, n, uncertainty):
    assert criteria.aicc(likelihood, p, n) >= criteria.aic(likelihood, p)
    assert criteria.icl(likelihood, p, n, -uncertainty) >= criteria.bic(likelihood, p, n)
    assert (criteria.bic(likelihood, p, n) >= criteria.aic(likelihood, p)) == (n > math.e**2)


@settings(deadline=None)
@given(likelihoods, parameters, st.integers(2, 10**6))
def test_smaller_is_better(likelihood, p, n):
    """A higher likelihood lowers every criterion, a parameter more raises it."""
    for criterion, rest in [(criteria.aic, ()), (criteria.bic, (n,)), (criteria.icl, (n, -1.0))]:
        assert criterion(likelihood + 1, p, *rest) < criterion(likelihood, p, *rest)
        assert criterion(likelihood, p + 1, *rest) > criterion(likelihood, p, *rest)
