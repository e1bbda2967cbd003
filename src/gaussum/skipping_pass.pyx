# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Passes of a mixture of many components that leave out the components which contribute nothing.

Every sample keeps a hint: the component that held most of it in the pass before.  In a window of samples those with
the same hint are gathered into tiles, wherever they lie.  A tile's largest Mahalanobis radius about its component and
that component's reaches (gaussum.kernels.separation) tell which others can hold more of any of its samples than a
negligible part, w_k exp(-T): these alone are evaluated, and those that turn out to hold no more are dropped before
the M-step.  The nearest-mean searches of k-means skip in this way (Elkan 2003), here with ellipsoids.

Samples that lie so far out that they would bring many components into their tile are left to the window's end and
run through all components.  Hints are only hints: a wrong one costs time.  Windows and parts do not depend on the
number of threads and hints belong to samples, so neither do the results, to the last bit.
"""
from libc.math cimport sqrt
from libc.string cimport memcpy, memset

import numpy as np

from gaussum.kernels cimport separation
from gaussum.mixture_pass cimport MixturePass
from gaussum.samples cimport Samples, aligned, round_up

ctypedef void (*reach_t)(
    Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *,
    double *, double *) noexcept nogil

cdef enum:
    # samples a window and component: as many as fill the kernels' lanes a few times
    WINDOW = 64
    # radii at which the components in reach are counted
    LEVELS = 8
    # what a call of the kernels for one component costs beside its samples, in samples
    CALL = 32
# -log of the part of its mass in the whole data that a component may lose at each sample: below the rounding of sums
cdef double TOLERANCE = 40.0
# relative, on radii
cdef double SLACK = 1e-6

cdef struct Model:
    const double *means                 # (K, d)
    const double *precisions_chol       # as the kernels take it
    const double *log_const             # (K,)
    const double *log_weights           # (K,)

cdef struct Space:
    Py_ssize_t *order                   # (2 window,): samples, by hint
    Py_ssize_t *first                   # (K + 1,): where those of each hint begin
    Py_ssize_t *members                 # (K,): the components of a tile
    Py_ssize_t *index                   # (ld,): its samples
    double *radius2                     # (ld,)
    double *best                        # (ld,): max_k log p_ik
    double *weight                      # (ld,)
    double *x                           # (d, ld)
    double *resp                        # (K, ld)
    double *log_density                 # (ld,)
    double *spare                       # (ld,)
    double *own                         # the statistics of a part
    double *scratch


cdef class SkippingPass(MixturePass):
    """A MixturePass with a shorter way to the same statistics: `separate` for all components, then `em_skipping`.

    Parameters
    ----------
    As those of MixturePass; at most 65536 components.

    Attributes
    ----------
    hints : ndarray of uint16, shape (n_samples,)
    reach : ndarray, shape (K, K)
        The Mahalanobis radius about component a within which component k is negligible.
    near : ndarray of int, shape (K, LEVELS)
        How many components are not, within radii that grow from about that of most samples.
    """

    cdef reach_t reach_of
    cdef double level[LEVELS]
    cdef unsigned short[::1] _hints
    cdef double[:, ::1] _reach
    cdef Py_ssize_t[:, ::1] _near
    cdef readonly object hints, reach, near
    cdef readonly Py_ssize_t reach_scratch_size, order_size

    def __init__(self, Samples samples, structure, Py_ssize_t n_components, sample_weight, Py_ssize_t n_parts):
        super().__init__(samples, structure, n_components, sample_weight, n_parts, np.zeros(samples.d))
        cdef Py_ssize_t l, d = self.d, K = self.K
        if K > 65536:
            raise ValueError(f"n_components is {K}; expected at most 65536")
        self.reach_of = separation.reach_full
        if structure == "tied":
            self.reach_of = separation.reach_tied
        elif structure == "diag":
            self.reach_of = separation.reach_diag
        elif structure == "spherical":
            self.reach_of = separation.reach_spherical
        self.level[0] = 1.0 + sqrt(<double>d)
        for l in range(1, LEVELS):
            self.level[l] = 1.25 * self.level[l - 1]
        self.hints = self._hints = np.zeros(samples.n, dtype=np.uint16)
        self.reach = self._reach = np.empty((K, K))
        self.near = self._near = np.empty((K, LEVELS), dtype=np.intp)
        self.scratch_size += 3 * self.block
        self.reach_scratch_size = K + separation.reach_scratch(d, K)
        self.order_size = 2 * (WINDOW + 1) * K + 1 + self.block

    def separate(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t step, const double[:, ::1] means,
                 const double[::1] precisions_chol, const double[::1] log_peak, const double[::1] log_const,
                 double[::1] scratch):
        """Fill every `step`-th of the rows first to last - 1 of `reach` and `near`.

        means, precisions_chol : components side by side, shapes (d, K) and (d, d, K), (d, d), (d, K) or (K,)
        log_peak : log_const without the weights; -inf for components that have none
        """
        cdef Py_ssize_t k, l, K = self.K, a = first
        cdef double *margin = &scratch[0]
        if not 0 <= first <= last <= K or step < 1:
            raise ValueError(f"components {first} to {last} by {step} are not within 0 to {K}")
        if (
            means.shape[0] != self.d or means.shape[1] != K or precisions_chol.shape[0] != self.second_size
            or log_peak.shape[0] != K or log_const.shape[0] != K or scratch.shape[0] < self.reach_scratch_size
        ):
            raise ValueError("the parameters or the scratch do not have the shape of this pass")
        with nogil:
            while a < last:
                for k in range(K):
                    margin[k] = 2.0 * (TOLERANCE + log_peak[k] - log_const[a])
                self.reach_of(self.d, K, a, &means[0, 0], &precisions_chol[0], margin, &self._reach[a, 0], margin + K)
                for l in range(LEVELS):
                    self._near[a, l] = 0
                    for k in range(K):
                        self._near[a, l] += self._reach[a, k] < self.level[l]
                a += step

    def em_skipping(self, Py_ssize_t first, Py_ssize_t last, const double[::1] parameters,
                    const double[::1] log_const, const double[::1] log_weights, bint hinted,
                    double[::1] statistics, Py_ssize_t[::1] order, double[::1] scratch):
        """As `em`, with hints that are read and renewed; returns the number of pairs (i, k) that were evaluated.

        Unless `hinted`, the hints are only written, and nothing is skipped.
        """
        cdef Model model
        cdef Space space
        cdef Py_ssize_t part, b, start, size, n_windows, i, pairs = 0
        self._check(first, last, statistics, scratch)
        self._check_parameters(parameters)
        if log_const.shape[0] != self.K or log_weights.shape[0] != self.K or order.shape[0] < self.order_size:
            raise ValueError("log_const, log_weights or order have the wrong size")
        model.means = &parameters[0] + 2 * self.K
        model.precisions_chol = model.means + self.K * self.d
        model.log_const, model.log_weights = &log_const[0], &log_weights[0]
        self._lay_out(&space, &order[0], aligned(scratch))
        with nogil:
            for part in range(first, last):
                memset(space.own, 0, self.statistics_size * sizeof(double))
                start = part * self.part_size
                size = min(self.part_size, self.samples.n - start)
                n_windows = max(1, size // (WINDOW * self.K))
                for b in range(n_windows):
                    pairs += self._window(start + b * size // n_windows, start + (b + 1) * size // n_windows, hinted,
                                          &model, &space)
                for i in range(self.statistics_size):
                    statistics[i] += space.own[i]
        return pairs

    cdef void _lay_out(self, Space *space, Py_ssize_t *order, double *scratch) noexcept nogil:
        cdef Py_ssize_t ld = self.block
        space.first = order
        space.members = space.first + self.K + 1
        space.index = space.members + self.K
        space.order = space.index + ld
        space.radius2 = scratch
        space.best = space.radius2 + ld
        space.weight = space.best + ld
        space.x = space.weight + ld
        space.resp = space.x + self.d * ld
        space.log_density = space.resp + self.K * ld
        space.spare = space.log_density + ld
        space.own = space.spare + ld
        space.scratch = space.own + round_up(self.statistics_size, 8)

    cdef Py_ssize_t _window(self, Py_ssize_t start, Py_ssize_t stop, bint hinted, Model *model,
                            Space *space) noexcept nogil:
        """The samples start to stop - 1: tiles of the same hint, then what they left over."""
        cdef Py_ssize_t a, i, n, n_tiles, tile, begin, end, pairs = 0, left = 0, K = self.K
        self._sort(start, stop, space)
        if not hinted:
            left = space.first[K]
        else:
            for a in range(K):
                n = space.first[a + 1] - space.first[a]
                n_tiles = (n + self.block - 1) // self.block
                for tile in range(n_tiles):
                    begin = space.first[a] + tile * n // n_tiles
                    end = space.first[a] + (tile + 1) * n // n_tiles
                    # what is left over takes the place of those before, which are done
                    memcpy(space.index, space.order + begin, (end - begin) * sizeof(Py_ssize_t))
                    pairs += self._tile(a, end - begin, &left, model, space)
        i = 0
        while i < left:
            n = min(self.block, left - i)
            self._all(space.order + i, n, model, space)
            pairs += n * K
            i += n
        return pairs

    cdef void _sort(self, Py_ssize_t start, Py_ssize_t stop, Space *space) noexcept nogil:
        """The samples by hint, in their order; those without weight are left out."""
        cdef Py_ssize_t i, k, count, total = 0
        memset(space.first, 0, (self.K + 1) * sizeof(Py_ssize_t))
        for i in range(start, stop):
            if not self.weighted or self.sample_weight[i] > 0.0:
                space.first[self._hints[i]] += 1
        for k in range(self.K):
            count = space.first[k]
            space.first[k] = total
            total += count
        for i in range(start, stop):
            if not self.weighted or self.sample_weight[i] > 0.0:
                space.order[space.first[self._hints[i]]] = i
                space.first[self._hints[i]] += 1
        # every entry has moved on to where the next begins
        for k in range(self.K, 0, -1):
            space.first[k] = space.first[k - 1]
        space.first[0] = 0

    cdef Py_ssize_t _tile(self, Py_ssize_t a, Py_ssize_t n, Py_ssize_t *left, Model *model,
                          Space *space) noexcept nogil:
        """Samples near component a, evaluated under the components that count; those far out are left over."""
        cdef Py_ssize_t i, k, c, pairs, n_members = 1, ld = self.block, K = self.K, d = self.d
        cdef double limit, radius, radius2 = 0.0
        cdef double *row = space.resp
        cdef Py_ssize_t *index = space.index
        self.samples.gather(index, n, ld, space.x)
        self._log_prob(a, n, row, model, space)
        for i in range(n):
            space.radius2[i] = 2.0 * (model.log_const[a] - row[i])
        pairs = n
        limit = self._limit(a, n, space.radius2)
        n = self._keep(limit, n, left, space)
        if n == 0:
            return pairs
        for i in range(n):
            radius2 = space.radius2[i] if space.radius2[i] > radius2 else radius2
            space.best[i] = row[i]
        radius = (sqrt(radius2) + SLACK) * (1.0 + SLACK)
        space.members[0] = a
        for k in range(K):
            if self._reach[a, k] < radius:
                row = space.resp + n_members * ld
                self._log_prob(k, n, row, model, space)
                pairs += n
                if _any_above(row, space.best, n, model.log_weights[k] - TOLERANCE):
                    self._renew(k, row, index, n, space.best)
                    space.members[n_members] = k
                    n_members += 1
        self.expect(n, n_members, self._weights(index, n, space), space.resp, space.log_density, space.spare,
                    space.own)
        for c in range(n_members):
            k = space.members[c]
            self.accumulate(space.x, ld, n, d, 1, space.resp + c * ld, model.means + k * d, space.own + 2 + k,
                            space.own + 2 + K + k * d, space.own + 2 + K + K * d + k * self.second_step,
                            space.scratch)
        return pairs

    cdef void _all(self, const Py_ssize_t *index, Py_ssize_t n, Model *model, Space *space) noexcept nogil:
        """Samples under all components, and their hints."""
        cdef Py_ssize_t i, k, ld = self.block, K = self.K, d = self.d
        self.samples.gather(index, n, ld, space.x)
        self.log_prob(space.x, ld, n, d, K, model.means, model.precisions_chol, model.log_const, space.resp,
                      space.scratch)
        for i in range(n):
            self._hints[index[i]] = 0
            space.best[i] = space.resp[i]
        for k in range(1, K):
            self._renew(k, space.resp + k * ld, index, n, space.best)
        self.expect(n, K, self._weights(index, n, space), space.resp, space.log_density, space.spare, space.own)
        self.accumulate(space.x, ld, n, d, K, space.resp, model.means, space.own + 2, space.own + 2 + K,
                        space.own + 2 + K + K * d, space.scratch)

    cdef inline void _log_prob(self, Py_ssize_t k, Py_ssize_t n, double *row, Model *model,
                               Space *space) noexcept nogil:
        """log p_ik of one component"""
        self.log_prob(space.x, self.block, n, self.d, 1, model.means + k * self.d,
                      model.precisions_chol + k * self.second_step, model.log_const + k, row, space.scratch)

    cdef inline void _renew(self, Py_ssize_t k, const double *row, const Py_ssize_t *index, Py_ssize_t n,
                            double *best) noexcept nogil:
        """The largest log p_ik so far, and the hints that point to it"""
        cdef Py_ssize_t i
        for i in range(n):
            if row[i] > best[i]:
                best[i] = row[i]
                self._hints[index[i]] = <unsigned short>k

    cdef inline const double *_weights(self, const Py_ssize_t *index, Py_ssize_t n, Space *space) noexcept nogil:
        cdef Py_ssize_t i
        if not self.weighted:
            return NULL
        for i in range(n):
            space.weight[i] = self.sample_weight[index[i]]
        return space.weight

    cdef inline double _limit(self, Py_ssize_t a, Py_ssize_t n, const double *radius2) noexcept nogil:
        """The squared radius up to which a tile is best kept together; -1: none of it.

        Kept, a sample costs as many evaluations as there are components in reach; left over, K.
        """
        cdef Py_ssize_t i, l, inside, cost, least = n * self.K
        cdef double limit, best = -1.0
        for l in range(LEVELS):
            limit = self.level[l] * self.level[l]
            inside = 0
            for i in range(n):
                inside += radius2[i] <= limit
            cost = (self._near[a, l] + 1) * (inside + CALL) + (n - inside) * self.K
            if cost < least:
                least = cost
                best = limit
            if inside == n:
                break
        return best

    cdef inline Py_ssize_t _keep(self, double limit, Py_ssize_t n, Py_ssize_t *left, Space *space) noexcept nogil:
        """Move the samples within the limit to the tile's front, the others to what is left over; returns how many."""
        cdef Py_ssize_t i, j, kept = 0, ld = self.block
        cdef Py_ssize_t *index = space.index
        for i in range(n):
            if space.radius2[i] <= limit:
                if kept < i:
                    index[kept] = index[i]
                    space.radius2[kept] = space.radius2[i]
                    space.resp[kept] = space.resp[i]
                    for j in range(self.d):
                        space.x[j * ld + kept] = space.x[j * ld + i]
                kept += 1
            else:
                space.order[left[0]] = index[i]
                left[0] += 1
        return kept


cdef inline bint _any_above(const double *a, const double *b, Py_ssize_t n, double bound) noexcept nogil:
    """Whether any a_i - b_i reaches the bound, or is not a number"""
    cdef Py_ssize_t i, count = 0
    for i in range(n):
        count += not a[i] - b[i] < bound
    return count > 0
