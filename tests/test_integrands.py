"""Densities and distribution functions as integrands for SciPy's compiled integrators."""

import gc

import mpmath
import numpy as np
import pytest
from scipy import LowLevelCallable, integrate, stats

import gaussum
from gaussum import BayesianGaussianMixture, GaussianMixture, KernelDensity, embed
from gaussum.kernels import densities as compiled
from kernel_access import STRUCTURES

F = embed.functions()


@pytest.fixture(scope="module")
def densities(x):
    sample = x[::20]
    return [
        KernelDensity(0.4, rtol=0.0).fit(sample),
        KernelDensity("scott").fit(sample, sample_weight=np.arange(len(sample)) % 3),
        *(GaussianMixture(3, covariance_type=s, random_state=0).fit(sample) for s in STRUCTURES),
        BayesianGaussianMixture(2, random_state=0, tol=1e-3).fit(sample),
    ]


def log_density(density, t):
    if not isinstance(density, BayesianGaussianMixture):
        return density.score_samples([t])[0]
    scales = density.covariances_.ravel() ** 0.5        # what its own score is a little below
    return np.logaddexp.reduce(np.log(density.weights_) + stats.norm(density.means_.ravel(), scales).logpdf(t))


def test_integrands_on_a_line(densities):
    for density in densities:
        integrand = {kind: embed.low_level_callable(density, kind) for kind in embed.KINDS}
        assert integrand["cdf"].signature == "double (double, void *)"

        def value(kind, t):
            return F[f"line_{kind}"](t, integrand[kind].user_data)

        for t in (-3.0, 0.2, 4.0, 55.0, -1e4):
            assert value("log_density", t) == pytest.approx(log_density(density, t), rel=1e-9, abs=2e-6)
            assert value("density", t) == pytest.approx(np.exp(value("log_density", t)), rel=1e-14)
            at = np.array([t, 7.0, 8.0])
            for kind in embed.KINDS:
                assert F[f"line_{kind}_at"](3, at.ctypes, integrand[kind].user_data) == value(kind, t)
        for a, b in ((-60, 0.0), (-1.0, 2.5), (3.0, 60)):
            mass, error = integrate.quad(integrand["density"], a, b, epsabs=1e-12, epsrel=1e-11, limit=500)
            assert mass == pytest.approx(value("cdf", b) - value("cdf", a), abs=1e-9)
        assert value("sf", 1.5) == pytest.approx(1 - value("cdf", 1.5), rel=1e-12)
        assert value("cdf", -np.inf) == value("sf", np.inf) == 0 and value("cdf", np.inf) == pytest.approx(1, rel=1e-12)
        assert value("density", np.inf) == 0 and value("log_density", -np.inf) == -np.inf
        assert all(np.isnan(value(kind, np.nan)) for kind in embed.KINDS)
        assert np.isnan(F["line_cdf_at"](0, None, integrand["cdf"].user_data))


def test_integrands_with_further_arguments(densities):
    """quad passes (x, *args) to the second form, which looks at x alone."""
    for density in densities[:3]:
        data = embed.low_level_callable(density, "cdf").user_data
        second = LowLevelCallable.from_cython(compiled, "line_density_at", data)
        mass = integrate.quad(second, -1.0, 2.0, args=(5.0, 6.0))[0]
        assert mass == pytest.approx(F["line_cdf"](2.0, data) - F["line_cdf"](-1.0, data), abs=1e-9)


def test_tails_of_distribution_functions():
    mixture = GaussianMixture(1, random_state=0).fit(np.random.default_rng(0).normal(size=400))
    mean, scale = mixture.means_[0, 0], mixture.covariances_.ravel()[0] ** 0.5
    for kind, sign in (("cdf", -1), ("sf", 1)):
        data = embed.low_level_callable(mixture, kind).user_data
        for z in (5, 20, 37):
            truth = float(mpmath.erfc(mpmath.mpf(z) / mpmath.sqrt(2)) / 2)
            assert F[f"line_{kind}"](mean + sign * z * scale, data) == pytest.approx(truth, rel=1e-11)


def test_more_sources_than_a_chunk_holds():
    x = np.random.default_rng(0).normal(size=1001)
    kde = KernelDensity(0.01, rtol=0.0).fit(x)
    data = embed.low_level_callable(kde, "log_density").user_data
    for t in (0.0, 3.5, -30.0, 500.0):
        assert F["line_log_density"](t, data) == pytest.approx(kde.score_samples([t])[0], rel=1e-12)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_integrands_of_several_features(structure, faithful):
    faithful = stats.zscore(faithful)
    for density in (GaussianMixture(2, covariance_type=structure, random_state=0), KernelDensity("scott", rtol=0.0)):
        density.fit(faithful)
        name = "mixture" if isinstance(density, GaussianMixture) else "kernel"
        logs = embed.low_level_callable(density, "log_density")
        assert logs.signature == "double (int, double *, void *)"
        for point in ([0.3, 0.7, 1.0], [-1.0, -1.2, 1.0], [400.0, -1e3, 1.0]):
            at = np.array(point)
            found = F[f"{name}_log_density_at"](3, at.ctypes, logs.user_data)
            assert found == pytest.approx(density.score_samples([point[:2]])[0], rel=1e-10)
        assert np.isnan(F[f"{name}_log_density_at"](1, at.ctypes, logs.user_data))
        for kind in ("cdf", "sf"):
            with pytest.raises(ValueError, match=f"kind is '{kind}', but there are 2 features"):
                embed.low_level_callable(density, kind)
    mixture = GaussianMixture(2, covariance_type=structure, random_state=0).fit(faithful)
    options = {"epsabs": 1e-6, "epsrel": 1e-6}
    mass = integrate.nquad(embed.low_level_callable(mixture), [[-7, 7], [-7, 7]], opts=[options, options])[0]
    assert mass == pytest.approx(1, abs=1e-4)


def test_a_bandwidth_a_source():
    x, factors = np.array([0.0, 1.0, 5.0]), np.array([0.5, 1.0, 2.0])
    kde = type("Local", (KernelDensity,), {"local_factors_": factors})(0.3).fit(x)
    integrand = embed.low_level_callable(kde)
    for t in (0.1, 4.0):
        expected = stats.norm(x, 0.3 * factors).pdf(t).mean()
        assert F["line_density"](t, integrand.user_data) == pytest.approx(expected, rel=1e-12)


def test_a_matrix_as_bandwidth():
    rng = np.random.default_rng(0)
    X, H = rng.normal(1e4, 1, (500, 3)), np.array([[1.0, 0.9, 0.2], [0.9, 1.0, 0.1], [0.2, 0.1, 0.3]])
    kde = KernelDensity(1.0).fit(X, sample_weight=rng.random(500))
    kde.bandwidth_ = H
    data = embed.low_level_callable(kde, "log_density").user_data
    for point in (X[0], X[1] + 3, X[2] - 300):
        logs = [stats.multivariate_normal(s, H).logpdf(point) for s in X]
        expected = np.logaddexp.reduce(logs + np.log(kde.source_weights_))
        assert F["kernel_log_density_at"](3, point.ctypes, data) == pytest.approx(expected, rel=1e-9)


def test_integrands_keep_their_data_and_copy_it():
    x = np.random.default_rng(0).normal(size=300)
    kde = KernelDensity(0.3).fit(x)
    integrand = embed.low_level_callable(kde)
    before = integrate.quad(integrand, -1, 1)
    kde.fit(x + 5)
    del kde
    gc.collect()
    junk = [np.full(300, 7.0) for _ in range(100)]
    assert integrate.quad(integrand, -1, 1) == before and junk


def test_integrands_refuse():
    with pytest.raises(TypeError, match="estimator is int; expected"):
        embed.low_level_callable(3)
    with pytest.raises(gaussum.NotFittedError):
        embed.low_level_callable(KernelDensity())
    with pytest.raises(ValueError, match="kind is 'pdf'; expected"):
        embed.low_level_callable(KernelDensity(1.0).fit([0.0, 1.0]), "pdf")
    with pytest.raises(TypeError, match="mixture is KernelDensity; expected"):
        embed.parameters(KernelDensity(1.0).fit([0.0, 1.0]))
    with pytest.raises(gaussum.NotFittedError):
        embed.parameters(GaussianMixture())


@pytest.mark.parametrize("name, value, said", [
    ("kernel", "tophat", "kernel='tophat'"), ("bounds", (0, 1), "bounds"),
    ("local_factors_", np.ones(2), "local bandwidths"), ("adaptive", "balloon", "local bandwidths"),
])
def test_kernel_densities_of_other_kinds_are_refused(name, value, said):
    kde = KernelDensity(1.0).fit([[0.0, 1.0], [1.0, 2.0]])
    embed.low_level_callable(kde)
    kde = type("Other", (KernelDensity,), {name: value})(1.0).fit([[0.0, 1.0], [1.0, 2.0]])
    kde.__dict__[name] = value
    with pytest.raises(ValueError, match=said):
        embed.low_level_callable(kde)


def test_training_data_refuses_what_a_fit_refuses():
    for bad in ([[np.nan]], [], [[1.0, np.inf]]):
        with pytest.raises(ValueError, match="X"):
            embed.training_data(bad)
    with pytest.raises(ValueError, match="reg_covar is -1"):
        embed.training_data([1.0, 2.0], reg_covar=-1)
    X, w, ridge = embed.training_data(np.ones((2, 4), dtype=np.float32)[:, ::2], [3.0, 4.0])
    assert X.dtype == w.dtype == np.float64 and X.flags.c_contiguous and X.shape == (2, 2) and ridge.shape == (2,)
