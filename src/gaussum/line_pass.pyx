# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Probabilities of intervals and densities under sums of Gaussians on a line, without the GIL.

`LinePass` goes through sorted sources from an interval outward and stops where all that is left counts for nothing.
`CellPass` evaluates local polynomials, one for each cell of the line: see gaussum.cells.
"""
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, NAN, floor, log

from gaussum.kernels cimport gauss_box as gb, gauss_sum as gs
from gaussum.kernels.lanes cimport LOWEST, fused, simd_log
from gaussum.samples cimport ALIGNMENT, aligned

cdef enum:
    SOURCE_BLOCK = 128
    ORDER = 24              # coefficients of a cell
    INTERRUPTIBLE = 256     # intervals after which Ctrl-C is looked for

# Farther inside a half-line than this, in bandwidths, a source counts whole: to 1e-18.
cdef double WHOLE = 8.8
# What is left counts for nothing where it is less than exp(-NOTHING) of what there is.
cdef double NOTHING = 41.0


cdef inline Py_ssize_t _first(const double[::1] x, double origin, double scale, double distance) noexcept nogil:
    """The first index with (x_i - origin) scale >= distance; differences first, so that no wide range costs digits"""
    cdef Py_ssize_t low = 0, high = x.shape[0], middle
    while low < high:
        middle = (low + high) // 2
        if (x[middle] - origin) * scale < distance:
            low = middle + 1
        else:
            high = middle
    return low


cdef class LinePass:
    """Log probabilities of intervals, with a relative error of rounding only.

    Parameters
    ----------
    sources : ndarray of float64, shape (n_sources,)
        In ascending order.
    log_weights : ndarray of float64, shape (n_sources,)
    sharpness : ndarray of float64, shape (n_sources,)
        One over the factor by which a source's Gaussian is wider than the bandwidth; within a factor of 2.
    below, above : ndarray of float64, shape (n_sources + 1,)
        The weight of the sources before each, and of those from each on.
    inv_bandwidth : float
    """

    cdef const double[::1] sources, log_weights, sharpness, below, above
    cdef double inv_bandwidth, inv_widest
    cdef readonly Py_ssize_t scratch_size

    def __init__(self, const double[::1] sources, const double[::1] log_weights, const double[::1] sharpness,
                 const double[::1] below, const double[::1] above, double inv_bandwidth):
        cdef Py_ssize_t n = sources.shape[0], i
        if (log_weights.shape[0] != n or sharpness.shape[0] != n or below.shape[0] != n + 1
                or above.shape[0] != n + 1):
            raise ValueError("sources and weights do not fit together")
        self.sources, self.log_weights, self.below, self.above = sources, log_weights, below, above
        self.sharpness, self.inv_bandwidth, self.inv_widest = sharpness, inv_bandwidth, INFINITY
        for i in range(n):
            self.inv_widest = min(self.inv_widest, inv_bandwidth * sharpness[i])
        self.scratch_size = ALIGNMENT // sizeof(double) + 3 * SOURCE_BLOCK

    def log_densities(self, const double[::1] x, Py_ssize_t first, Py_ssize_t last, double[::1] out,
                      double[::1] scratch):
        """Set out[first:last] to log sum_s w_s exp(-r_ts^2 / 2) at those points, for sources of one width."""
        self._log_sums(x, x, first, last, True, out, scratch)

    def log_probabilities(self, const double[::1] low, const double[::1] high, Py_ssize_t first, Py_ssize_t last,
                          double[::1] out, double[::1] scratch):
        """Set out[first:last] to the log probabilities of those intervals."""
        self._log_sums(low, high, first, last, False, out, scratch)

    cdef _log_sums(self, const double[::1] low, const double[::1] high, Py_ssize_t first, Py_ssize_t last,
                   bint density, double[::1] out, double[::1] scratch):
        cdef Py_ssize_t t
        if (scratch.shape[0] < self.scratch_size
                or not 0 <= first <= last <= min(out.shape[0], low.shape[0], high.shape[0])):
            raise ValueError("scratch, out or the range of intervals have the wrong size")
        with nogil:
            for t in range(first, last):
                if t % INTERRUPTIBLE == 0:
                    with gil:
                        PyErr_CheckSignals()
                out[t] = self._log_sum(low[t], high[t], density, aligned(scratch))

    cdef double _log_sum(self, double low, double high, bint density, double *scratch) noexcept nogil:
        """Of the probabilities of an interval, or of the kernels at the point that it is."""
        cdef double largest = LOWEST, sum = 0.0
        cdef Py_ssize_t n = self.sources.shape[0], i, j, m
        if low == -INFINITY and high == INFINITY:
            return 0.0
        if low == INFINITY or high == -INFINITY:
            return -INFINITY
        i = _first(self.sources, low, 1.0, 0.0)
        j = _first(self.sources, high, 1.0, 0.0)
        if low == -INFINITY:
            i = _first(self.sources, high, self.inv_widest, -WHOLE)
            if i > 0 and self.below[i] > 0.0:
                largest, sum = log(self.below[i]), 1.0
            else:
                i = 0
        elif high == INFINITY:
            j = _first(self.sources, low, self.inv_widest, WHOLE)
            if j < n and self.above[j] > 0.0:
                largest, sum = log(self.above[j]), 1.0
            else:
                j = n
        m = i
        while m < j:
            self._add(m, min(m + SOURCE_BLOCK, j), low, high, density, &largest, &sum, scratch)
            m += SOURCE_BLOCK
        while j < n and not self._nothing(self.above[j], (self.sources[j] - high) * self.inv_widest, largest, sum):
            m = min(j + SOURCE_BLOCK, n)
            self._add(j, m, low, high, density, &largest, &sum, scratch)
            j = m
        while i > 0 and low != -INFINITY and not self._nothing(
            self.below[i], (low - self.sources[i - 1]) * self.inv_widest, largest, sum
        ):
            m = max(i - SOURCE_BLOCK, 0)
            self._add(m, i, low, high, density, &largest, &sum, scratch)
            i = m
        return largest + simd_log(sum)

    cdef inline void _add(self, Py_ssize_t first, Py_ssize_t last, double low, double high, bint density,
                          double *largest, double *sum, double *scratch) noexcept nogil:
        if density:
            gs.gauss_log_sum_at(&self.sources[first], 0, last - first, &self.log_weights[first], -1, &low, 1,
                                &self.inv_bandwidth, largest, sum, scratch)
            return
        gb.box_log_sum(&self.sources[first], 0, last - first, &self.log_weights[first], &self.sharpness[first],
                       &low, &high, 1, &self.inv_bandwidth, largest, sum, scratch)

    cdef inline bint _nothing(self, double weight, double distance, double largest, double sum) noexcept nogil:
        """Whether sources of that weight, at least so many of their widths from the interval, do not count."""
        return log(weight) - 0.5 * distance * distance < largest + log(sum) - NOTHING


cdef class CellPass:
    """Polynomials in the cells of a line.

    Parameters
    ----------
    width : float
        Of a cell: a power of two, so that cells begin at multiples of it without rounding.
    starts : ndarray of float64, shape (n_stretches,)
        The number of the first cell of each stretch, ascending.
    offsets : ndarray of intp, shape (n_stretches + 1,)
        The row of that cell in the table, and the number of rows.
    """

    cdef const double[::1] starts
    cdef const Py_ssize_t[::1] offsets
    cdef double inv_width

    def __init__(self, double width, const double[::1] starts, const Py_ssize_t[::1] offsets):
        if starts.shape[0] < 1 or offsets.shape[0] != starts.shape[0] + 1:
            raise ValueError("starts and offsets do not fit together")
        self.starts, self.offsets, self.inv_width = starts, offsets, 1.0 / width

    cdef inline Py_ssize_t _row(self, double x, double *u) noexcept nogil:
        """The row of a point, or -1, and its place there, between -1/2 and 1/2."""
        cdef Py_ssize_t low = 0, high = self.starts.shape[0], middle
        cdef double v = x * self.inv_width, cell = floor(v)
        u[0] = (v - cell) - 0.5
        while high - low > 1:
            middle = (low + high) // 2
            if self.starts[middle] <= cell:
                low = middle
            else:
                high = middle
        if not 0.0 <= cell - self.starts[low] < self.offsets[low + 1] - self.offsets[low]:
            return -1
        return self.offsets[low] + <Py_ssize_t>(cell - self.starts[low])

    def values(self, const double[::1] x, Py_ssize_t first, Py_ssize_t last, const double[:, ::1] table,
               const double[::1] least, Py_ssize_t[::1] rows, double[::1] out):
        """out_t = sum_k c_k u_t^k of the cell of x_t, and its row; NaN, -1 where there is none or it is too small."""
        cdef Py_ssize_t t, k, row
        cdef double u, p
        if not 0 <= first <= last <= min(x.shape[0], out.shape[0], rows.shape[0]) or table.shape[1] != ORDER:
            raise ValueError("the table, out or the range of points have the wrong size")
        with nogil:
            for t in range(first, last):
                row = self._row(x[t], &u)
                p = NAN
                if row >= 0:
                    p = table[row, ORDER - 1]
                    for k in range(ORDER - 2, -1, -1):
                        p = fused(p, u, table[row, k])
                    if not p >= least[row]:
                        p, row = NAN, -1
                out[t], rows[t] = p, row

    def differences(self, const double[::1] low, const double[::1] high, Py_ssize_t first, Py_ssize_t last,
                    const double[:, ::1] table, const double[::1] signs, const double[::1] least, double[::1] out):
        """The polynomial at high_t less that at low_t, times the sign of the row, if both are in one cell or two that
        follow each other, by divided differences, so that it does not cancel; NaN elsewhere or where it is too small
        for the distance of the two."""
        cdef Py_ssize_t t, i, j
        cdef double u, v, p, length, rest, edge
        if not 0 <= first <= last <= min(low.shape[0], high.shape[0], out.shape[0]) or table.shape[1] != ORDER:
            raise ValueError("the table, out or the range of intervals have the wrong size")
        with nogil:
            for t in range(first, last):
                i, j = self._row(low[t], &u), self._row(high[t], &v)
                length = high[t] * self.inv_width - low[t] * self.inv_width
                p = NAN
                if i >= 0 and i == j:
                    p = signs[i] * _difference(&table[i, 0], u, v) * length
                    p = p if p >= least[i] * length else NAN
                elif i >= 0 and j == i + 1 and length < 2.0:
                    # lengths on both sides of the edge from the ends themselves, which may be much finer than u and v
                    edge = floor(high[t] * self.inv_width)
                    rest = edge - low[t] * self.inv_width
                    p = signs[i] * _difference(&table[i, 0], u, 0.5) * rest
                    rest = high[t] * self.inv_width - edge
                    p += signs[j] * _difference(&table[j, 0], -0.5, v) * rest
                    p = p if p >= max(least[i], least[j]) * length else NAN
                out[t] = p


cdef inline double _difference(const double *c, double u, double v) noexcept nogil:
    """(p(v) - p(u)) / (v - u) of the polynomial with these coefficients"""
    cdef double p = c[ORDER - 1], q = 0.0
    cdef Py_ssize_t k
    for k in range(ORDER - 2, -1, -1):
        q = fused(q, v, p)
        p = fused(p, u, c[k])
    return q
