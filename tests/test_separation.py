"""How far the samples of one component stay clear of the others: the bound holds, and is as near as it says."""

import numpy as np
import pytest

from kernel_access import BUILDS, STRUCTURES, mixture, reach

SIZES = [(1, 1), (1, 7), (2, 1), (2, 40), (5, 17), (13, 9), (40, 5)]


def factors(structure, chol, K, d):
    """U_k as matrices, shape (K, d, d)."""
    if structure == "full":
        return chol
    if structure == "tied":
        return np.broadcast_to(chol, (K, d, d))
    return np.eye(d) * (chol[:, None, :] if structure == "diag" else chol[:, None, None])


def geometry(a, means, U):
    """D_k, and U_a^-1 U_k v_k, whose norm is g_k."""
    z = np.einsum("kj,kjl->kl", means[a] - means, U)
    D = np.sqrt((z**2).sum(axis=1))
    v = np.divide(z, D[:, None], out=np.zeros_like(z), where=D[:, None] > 0)
    return D, np.linalg.solve(np.broadcast_to(U[a], U.shape), np.einsum("kjl,kl->kj", U, v)[:, :, None])[:, :, 0]


def room(r, D, g):
    return np.maximum(0.0, D - r * g) ** 2 - r**2


@pytest.mark.parametrize("d, K", SIZES)
@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("build", BUILDS)
def test_reach_is_the_largest_radius_with_room(build, structure, d, K):
    _, means, chol, _ = mixture(structure, 1, d, K)
    means = means * 3
    U = factors(structure, chol, K, d)
    others = np.arange(K)
    for margin in (np.full(K, 30.0), np.zeros(K), np.full(K, -5.0), np.linspace(-200, 400, K)):
        for a in {0, K // 2, K - 1}:
            got = reach(build, structure, a, means, chol, margin)
            assert got[a] == np.inf
            D, t = geometry(a, means, U)
            g = np.sqrt((t**2).sum(axis=1))
            # there is room within the reach, and none a little beyond
            k = (got >= 0) & (others != a)
            rounding = 1e-12 * (D[k] ** 2 + np.abs(margin[k]))
            assert (room(got[k], D[k], g[k]) >= margin[k] - rounding).all()
            beyond = got[k] * (1 + 1e-4) + 1e-4 * D[k]
            assert (room(beyond, D[k], g[k]) < margin[k]).all()
            k = (got < 0) & (others != a)
            assert (room(0.0, D[k], g[k]) <= margin[k] + 1e-5 * D[k] ** 2).all()


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_sample_within_the_reach_comes_nearer(structure):
    """Samples in random directions and in the worst, at the reach itself."""
    d, K, a = 4, 30, 3
    rng = np.random.default_rng(1)
    _, means, chol, _ = mixture(structure, 1, d, K)
    means = means * 4
    U = factors(structure, chol, K, d)
    margin = np.full(K, 40.0)
    radii = reach(BUILDS[0], structure, a, means, chol, margin)
    _, t = geometry(a, means, U)
    y = rng.normal(size=(K, 200, d))
    y[:, 0] = -t
    y /= np.maximum(np.sqrt((y**2).sum(axis=2, keepdims=True)), 1e-300)
    found = 0
    for k in np.flatnonzero((radii >= 0) & np.isfinite(radii)):
        x = means[a] + np.linalg.solve(U[a].T, radii[k] * y[k].T).T
        room_left = (((x - means[k]) @ U[k]) ** 2).sum(axis=1) - radii[k] ** 2
        assert (room_left >= margin[k]).all()
        found += 1
        if structure == "spherical":
            assert room_left[0] == pytest.approx(margin[k], rel=1e-3)
    assert found > K // 2


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("build", BUILDS)
def test_what_cannot_be_told_is_not_left_out(build, structure):
    d, K = 3, 8
    _, means, chol, _ = mixture(structure, 1, d, K)
    means = means * 100
    margin = np.full(K, 10.0)
    margin[1], margin[2], margin[3] = np.inf, np.nan, -np.inf
    means[4] = means[0]
    means[5, 1] = np.nan
    means[6] = 1e300
    got = reach(build, structure, 0, means, chol, margin)
    assert got[0] == np.inf and got[3] == np.inf
    np.testing.assert_array_equal(got[[1, 2, 4, 5, 6]], -1)
    assert got[7] > 0
    means[0] = np.nan
    assert (reach(build, structure, 0, means, chol, margin)[[1, 2, 4, 5, 6, 7]] == -1).all()


def test_nearly_singular_covariances():
    """Two thin components side by side: what tells them apart is the thin direction."""
    rng = np.random.default_rng(0)
    for thin in (1e-3, 1e-6, 1e-7):
        Q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        covariance = (Q * [1.0, 1.0, thin**2]) @ Q.T
        U = np.linalg.cholesky(np.linalg.inv(covariance)[::-1, ::-1])[::-1, ::-1]
        means = np.array([[0.0, 0, 0], 20 * thin * Q[:, 2], 20 * Q[:, 0]])
        got = reach(BUILDS[0], "full", 0, means, np.ascontiguousarray(np.tile(U, (3, 1, 1))), np.full(3, 80.0))
        # D = 20, g = 1: (20 - r)^2 - r^2 = 80
        np.testing.assert_allclose(got[1:], 8.0, rtol=1e-2)
        assert (got[1:] <= 8.0 * (1 + 1e-3)).all()
