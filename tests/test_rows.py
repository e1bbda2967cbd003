"""The kernels that read rows of samples as they lie: their formulas, and the bits of the kernels for blocks."""

import numpy as np
import pytest
from kernel_access import BUILDS, LONG, SENTINEL, Guarded, functions, log_prob, mixture

from gaussum import GaussianMixture

STRUCTURES = ["diag", "spherical"]
# samples about TALL, LANES and SPAN_ROWS, features about strips, components about those taken together
SHAPES = [(1, 256, 1), (3, 257, 2), (7, 263, 3), (8, 264, 4), (9, 300, 5), (33, 271, 7), (70, 511, 10), (37, 784, 30)]


def e_step(build, structure, X, means, chol, log_const):
    """log p_ik, shape (n, K), of rows with any stride."""
    f, guard = functions(build), Guarded()
    (n, d), K, ld = X.shape, len(means), len(X) + 5
    strips, out = guard.array(f["strips_size"](d, K)), guard.array((K, ld))
    f["pack_strips"](d, K, guard.read(means), guard.read(chol) if structure == "diag" else None, strips)
    f[f"log_prob_{structure}_rows"](
        rows(guard, X), X.strides[0] // 8, ld, n, d, K, guard.freeze(strips), guard.read(chol), guard.read(log_const),
        out, guard.scratch(f["rows_scratch"](K)),
    )
    guard.check()
    assert (out[:, n:] == SENTINEL).all(), "written beyond the last sample"
    return out[:, :n].T.copy()


def m_step(build, structure, X, resp, origins, into, at_rows=True):
    """n_k, f_k and s_k, added to those in `into`; of a block, or of rows."""
    f, guard = functions(build), Guarded()
    (n, d), K, ld = X.shape, len(origins), len(X) + 5
    sums = [guard.copy(a) for a in into]
    r = guard.freeze(guard.block(resp, ld))
    if at_rows:
        f[f"accumulate_{structure}_rows"](
            rows(guard, X), X.strides[0] // 8, ld, n, d, K, r, guard.read(origins), *sums)
    else:
        f[f"accumulate_{structure}"](
            guard.freeze(guard.block(X, ld)), ld, n, d, K, r, guard.read(origins), *sums,
            guard.scratch(f["mstep_scratch"](d, K, ld)))
    guard.check()
    return [a.copy() for a in sums]


def rows(guard, X):
    """The first row, in memory that must stay as it is, NaN beyond the rows and between them."""
    step, (n, d) = X.strides[0] // 8, X.shape
    whole = guard.array(abs(step) * (n - 1) + d, np.nan)
    first = abs(step) * (n - 1) if step < 0 else 0
    for i in range(n):
        whole[first + i * step : first + i * step + d] = X[i]
    guard.freeze(whole)
    return whole[first:]


def strided(X, gap, backwards):
    wide = np.full((len(X), X.shape[1] + gap), np.nan)
    view = wide[::-1] if backwards else wide
    view[:, : X.shape[1]] = X
    return view[:, : X.shape[1]]


def responsibilities(n, K, seed=0):
    rng = np.random.default_rng([seed, n, K])
    resp = rng.dirichlet(np.ones(K), size=n) * rng.exponential(size=(n, 1))
    resp[rng.random((n, K)) < 0.2] = 0.0
    return resp


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("gap, backwards", [(0, False), (3, True)])
def test_rows_have_the_bits_of_blocks(build, structure, gap, backwards):
    for n, d, K in SHAPES:
        X, means, chol, log_const = mixture(structure, n, d, K)
        X = strided(X, gap, backwards)
        found = e_step(build, structure, X, means, chol, log_const)
        expected = log_prob(build, structure, np.ascontiguousarray(X), means, chol, log_const)
        # the others' kernels for blocks add one feature after the other, and these are not used there
        np.testing.assert_allclose(found, expected, rtol=0 if functions(build)["rows_pay"](d) else 1e-13)
        resp = responsibilities(n, K)
        into = np.arange(K) * 1.0, np.ones((K, d)) / 3, np.ones((K, d) if structure == "diag" else K)
        of_rows, of_blocks = (m_step(build, structure, X, resp, means, into, at_rows) for at_rows in (True, False))
        for a, b in zip(of_rows, of_blocks):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("build", BUILDS)
def test_rows_pay_with_many_features_where_a_vector_holds_all_lanes(build):
    assert [functions(build)["rows_pay"](d) for d in (1, 255, 256, 1000)] == [0, 0, build == "v4", build == "v4"]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("build", BUILDS)
def test_rows_against_extended_precision(build, structure):
    for n, d, K in SHAPES:
        X, means, chol, log_const = mixture(structure, n, d, K, seed=1)
        z = X[:, None].astype(LONG) - means
        scaled = z * (chol if structure == "diag" else chol[:, None])
        expected = log_const - 0.5 * (scaled**2).sum(axis=2)
        found = e_step(build, structure, X, means, chol, log_const)
        np.testing.assert_allclose(found.astype(LONG), expected, rtol=2e-14)
        resp = responsibilities(n, K)
        into = np.zeros(K), np.zeros((K, d)), np.zeros((K, d) if structure == "diag" else K)
        nk, first, second = m_step(build, structure, X, resp, means, into)
        squares = np.einsum("ik,ikj->kj", resp.astype(LONG), z**2)
        np.testing.assert_allclose(nk, resp.sum(axis=0), rtol=1e-14)
        np.testing.assert_allclose(
            first, np.einsum("ik,ikj->kj", resp, z), rtol=0, atol=1e-14 * np.abs(resp[..., None] * z).sum(axis=0).max())
        np.testing.assert_allclose(second, squares if structure == "diag" else squares.sum(axis=1), rtol=2e-14)


@pytest.mark.parametrize("build", BUILDS)
def test_an_offset_costs_no_digits(build):
    X, means, chol, log_const = mixture("diag", 20, 260, 3)
    X, means = np.rint(X * 1024), np.rint(means * 1024)     # the shift is exact, and so are the differences
    a, b = (e_step(build, "diag", X + shift, means + shift, chol / 1024, log_const) for shift in (0.0, 2.0**40))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_sample_that_is_not_finite_stays_alone(build, structure):
    X, means, chol, log_const = mixture(structure, 11, 259, 3)
    clean = e_step(build, structure, X, means, chol, log_const)
    for i, j, value in ((2, 0, np.nan), (9, 258, np.inf), (10, 100, 1e200)):
        X[i, j] = value
    found = e_step(build, structure, X, means, chol, log_const)
    assert np.isnan(found[2]).all() and (found[[9, 10]] == -np.inf).all()
    others = np.setdiff1d(np.arange(11), [2, 9, 10])
    np.testing.assert_array_equal(found[others], clean[others])


def misplaced(X):
    packed = np.zeros(len(X), dtype=[("tag", "i1"), ("x", X.dtype, X.shape[1:])])
    packed["x"] = X
    return packed["x"]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_layout_of_many_features_gives_the_same_bits(structure, tmp_path):
    rng = np.random.default_rng(0)
    n, d, K = 700, 261, 3
    X = rng.normal(size=(n, d)) + rng.integers(0, K, size=(n, 1))
    np.save(tmp_path / "x.npy", X)
    layouts = [
        X, np.asfortranarray(X), X[::-1].copy()[::-1], strided(X, 3, False), np.repeat(X, 2, axis=1)[:, ::2],
        misplaced(X), np.load(tmp_path / "x.npy", mmap_mode="r"),
    ]
    weight = rng.exponential(size=n)
    same, *others = (
        GaussianMixture(K, covariance_type=structure, max_iter=1, tol=0.0, accelerate=False, random_state=0,
                        n_threads=threads, means_init=X[:K])
        for threads in (1, 2, 3, 7, 1, 2, 1)
    )
    with pytest.warns(Warning):
        same.fit(X, sample_weight=weight)
    for mixture_of_other, Y in zip(others, layouts[1:]):
        with pytest.warns(Warning):
            mixture_of_other.fit(Y, sample_weight=weight)
        np.testing.assert_array_equal(mixture_of_other.means_, same.means_)
        np.testing.assert_array_equal(mixture_of_other.covariances_, same.covariances_)
        np.testing.assert_array_equal(mixture_of_other.score_samples(Y), same.score_samples(X))
        np.testing.assert_array_equal(mixture_of_other.predict_proba(Y), same.predict_proba(X))
    np.testing.assert_allclose(same.score_samples(X[:1]), same.score_samples(X)[:1], rtol=1e-13)
