# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Gaussian sums of points at one another, with moments: block by block, without the GIL."""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport pair_moments as pm
from gaussum.samples cimport ALIGNMENT, aligned

cdef enum:
    TARGETS = 64            # with their moments and a block of sources in L1 in low dimensions
    SOURCES = 256
    LANES = 32

cdef double INFINITY = float("inf")


cdef class PairPass:
    """Sums of a point's Gaussians over all others; see kernels/pair_moments.pyx.

    Parameters
    ----------
    points : ndarray of float64, shape (n_features, n_points), C order
        In units in which the bandwidth matrix is 1.
    weights : ndarray of float64, shape (n_points,)
    """

    cdef const double[:, ::1] points
    cdef const double[::1] weights
    cdef readonly Py_ssize_t n, d, n_parts, n_monomials, scratch_size

    def __init__(self, const double[:, ::1] points, const double[::1] weights):
        self.d, self.n = points.shape[0], points.shape[1]
        if weights.shape[0] != self.n or self.n < 1 or self.d < 1:
            raise ValueError("points and weights do not fit together")
        self.points, self.weights = points, weights
        self.n_parts = (self.n + TARGETS - 1) // TARGETS
        self.n_monomials = (
            1 + self.d * (self.d + 1) // 2 + self.d * (self.d + 1) * (self.d + 2) * (self.d + 3) // 24
        )
        self.scratch_size = ALIGNMENT // sizeof(double) + (self.d + 1) * LANES

    def moments(self, Py_ssize_t part, const double[::1] nearest, double[::1] sums, double[:, ::1] moments,
                double[::1] scratch):
        """Set `sums` (n_points,) and `moments` (d (d + 1) / 2, n_points) at the points of a part.

        `nearest` are squared distances of nearest points, by which the exponents are raised, or None.
        """
        cdef Py_ssize_t first = part * TARGETS, n = min(<Py_ssize_t>TARGETS, self.n - first), s = 0, i, k, m
        cdef double *spare = aligned(scratch)
        if (
            not 0 <= part < self.n_parts or scratch.shape[0] < self.scratch_size or sums.shape[0] != self.n
            or moments.shape[0] != self.d * (self.d + 1) // 2 or moments.shape[1] != self.n
            or nearest is not None and nearest.shape[0] != self.n
        ):
            raise ValueError("part, nearest, sums, moments or scratch do not fit")
        PyErr_CheckSignals()
        with nogil:
            for i in range(first, first + n):
                sums[i] = 0.0
            for k in range(moments.shape[0]):
                for i in range(first, first + n):
                    moments[k, i] = 0.0
            while s < self.n:
                m = min(<Py_ssize_t>SOURCES, self.n - s)
                pm.pair_moments(&self.points[0, s], self.n, m, &self.weights[s], &self.points[0, first], self.n, n,
                                self.d, first - s, &nearest[first] if nearest is not None else NULL, &sums[first],
                                &moments[0, first], spare)
                s += m

    def derivatives(self, Py_ssize_t part, const double[:, ::1] radial, double[:, ::1] totals, double[::1] scratch):
        """Add to `totals` (n_monomials, 32), in lanes, what the points of a part contribute.

        Of 1, z z' and z z z z, each with two numbers of `radial` (3, 2), the entries with falling indices.
        """
        cdef Py_ssize_t first = part * TARGETS, n = min(<Py_ssize_t>TARGETS, self.n - first), s = 0, m
        cdef double *spare = aligned(scratch)
        if (
            not 0 <= part < self.n_parts or scratch.shape[0] < self.scratch_size
            or radial.shape[0] != 3 or radial.shape[1] != 2
            or totals.shape[0] != self.n_monomials or totals.shape[1] != LANES
        ):
            raise ValueError("part, radial, totals or scratch do not fit")
        PyErr_CheckSignals()
        with nogil:
            while s < self.n:
                m = min(<Py_ssize_t>SOURCES, self.n - s)
                pm.pair_derivatives(&self.points[0, s], self.n, m, &self.weights[s], &self.points[0, first], self.n, n,
                                    &self.weights[first], self.d, &radial[0, 0], &totals[0, 0], spare)
                s += m

    def nearest(self, Py_ssize_t part, double[::1] out, double[::1] scratch):
        """Set `out` (n_points,) to the squared distance of the nearest other point at the points of a part."""
        cdef Py_ssize_t first = part * TARGETS, n = min(<Py_ssize_t>TARGETS, self.n - first), s = 0, i, m
        cdef double *spare = aligned(scratch)
        if not 0 <= part < self.n_parts or scratch.shape[0] < self.scratch_size or out.shape[0] != self.n:
            raise ValueError("part, out or scratch do not fit")
        PyErr_CheckSignals()
        with nogil:
            for i in range(first, first + n):
                out[i] = INFINITY
            while s < self.n:
                m = min(<Py_ssize_t>SOURCES, self.n - s)
                pm.nearest_pairs(&self.points[0, s], self.n, m, &self.points[0, first], self.n, n, self.d, first - s,
                                 &out[first], spare)
                s += m
