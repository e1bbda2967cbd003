# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Passes over samples before EM: moments of the features, and k-means.

As in gaussum.mixture_pass a pass works on a range of parts, fixed by the shape of the problem alone; what a part
contributes is formed by itself, for the caller to add in the order of the parts.
"""
from gaussum.kernels cimport kmeans, mstep
from gaussum.kernels.lanes cimport dot_lanes
from gaussum.samples cimport ALIGNMENT, Samples, aligned, round_up

cdef enum:
    BLOCK_DOUBLES = 16384               # a block of features and the scratch of the kernel stay in L2
    MAX_BLOCK = 992                     # no power of two: rows a page apart would share cache sets
    MIN_BLOCK = 64


cdef class MomentsPass:
    """Weighted moments of every feature.

    Parameters
    ----------
    samples : Samples
    sample_weight : ndarray of float64, shape (n_samples,), or None
    n_parts : int
    """

    cdef Samples samples
    cdef const double[::1] sample_weight
    cdef bint weighted
    cdef Py_ssize_t block
    cdef readonly Py_ssize_t n_parts, part_size, scratch_size

    def __init__(self, Samples samples, sample_weight, Py_ssize_t n_parts):
        if n_parts < 1:
            raise ValueError(f"n_parts is {n_parts}; expected at least 1")
        if sample_weight is not None and sample_weight.shape != (samples.n,):
            raise ValueError(f"sample_weight has shape {sample_weight.shape}; expected ({samples.n},)")
        self.samples = samples
        self.weighted = sample_weight is not None
        if self.weighted:
            self.sample_weight = sample_weight
        self.block = min(MAX_BLOCK, max(MIN_BLOCK, BLOCK_DOUBLES // samples.d // 32 * 32))
        self.part_size = round_up((samples.n + n_parts - 1) // n_parts, self.block)
        self.n_parts = (samples.n + self.part_size - 1) // self.part_size
        self.scratch_size = (
            ALIGNMENT // sizeof(double) + self.block * (samples.d + 1) + mstep.mstep_scratch(samples.d, 1, self.block)
        )

    def moments(self, Py_ssize_t part, const double[::1] origin, double[::1] out, double[::1] scratch):
        """Add sum w, sum w (x - o) and sum w (x - o)^2 of the samples of a part to `out`, shape (1 + 2 d,)."""
        cdef Py_ssize_t start, stop, n, i, j, ld = self.block, d = self.samples.d
        cdef double *x = aligned(scratch)
        cdef double *weight = x + d * ld
        cdef double *more = weight + ld
        if not 0 <= part < self.n_parts:
            raise ValueError(f"part {part} is not within 0 to {self.n_parts}")
        if scratch.shape[0] < self.scratch_size or origin.shape[0] != d or out.shape[0] != 1 + 2 * d:
            raise ValueError("scratch, origin or out have the wrong size")
        with nogil:
            start = part * self.part_size
            stop = min(start + self.part_size, self.samples.n)
            for i in range(ld):
                weight[i] = 1.0
            while start < stop:
                n = min(ld, stop - start)
                self.samples.load(start, n, ld, x)
                if self.weighted:
                    for i in range(n):
                        weight[i] = self.sample_weight[start + i]
                        if weight[i] == 0.0:
                            # a sample without weight is absent, however large
                            for j in range(d):
                                x[j * ld + i] = origin[j]
                mstep.accumulate_diag(x, ld, n, d, 1, weight, &origin[0], &out[0], &out[1], &out[1 + d], more)
                start += n


cdef class KMeansPass:
    """Steps of k-means over samples that lie feature by feature.

    Parameters
    ----------
    x : ndarray of float64, shape (n_features, row), C order
        A row begins with the samples.
    sample_weight : ndarray of float64, shape (n_samples,)
    n_parts : int
    """

    cdef const double[:, ::1] x
    cdef const double[::1] sample_weight
    cdef Py_ssize_t n, d, ld
    cdef readonly Py_ssize_t n_parts, part_size

    def __init__(self, const double[:, ::1] x, const double[::1] sample_weight, Py_ssize_t n_parts):
        self.x, self.sample_weight = x, sample_weight
        self.d, self.ld, self.n = x.shape[0], x.shape[1], sample_weight.shape[0]
        if n_parts < 1 or self.d < 1 or not 1 <= self.n <= self.ld:
            raise ValueError("x, sample_weight and n_parts do not fit together")
        self.part_size = round_up((self.n + n_parts - 1) // n_parts, 32)
        self.n_parts = (self.n + self.part_size - 1) // self.part_size

    def assign(self, Py_ssize_t part, const double[:, ::1] centers, Py_ssize_t[::1] labels, double[::1] distances,
               double[::1] out):
        """Fill the labels and squared distances of a part; add its inertia and then its `clusters` to `out`."""
        cdef Py_ssize_t first, n, K = centers.shape[0]
        self._check(part, labels.shape[0], distances.shape[0], centers.shape[1])
        if K < 1 or out.shape[0] != 1 + K * (1 + self.d):
            raise ValueError("centers and out do not fit together")
        with nogil:
            first = part * self.part_size
            n = min(self.part_size, self.n - first)
            kmeans.nearest_centers(&self.x[0, first], self.ld, n, self.d, K, &centers[0, 0],
                                   &labels[first], &distances[first])
            out[0] += dot_lanes(&self.sample_weight[first], &distances[first], n)
            kmeans.accumulate_clusters(&self.x[0, first], self.ld, n, self.d, &labels[first],
                                       &self.sample_weight[first], &out[1], &out[1 + K])

    def clusters(self, Py_ssize_t part, const Py_ssize_t[::1] labels, double[::1] out):
        """Add the masses, (K,), and the sums, (K, d), of the clusters of a part to `out`; labels are below K."""
        cdef Py_ssize_t first, n, K = out.shape[0] // (1 + self.d)
        self._check(part, labels.shape[0], self.n, self.d)
        if K < 1 or out.shape[0] != K * (1 + self.d):
            raise ValueError("out has the wrong size")
        with nogil:
            first = part * self.part_size
            n = min(self.part_size, self.n - first)
            kmeans.accumulate_clusters(&self.x[0, first], self.ld, n, self.d, &labels[first],
                                       &self.sample_weight[first], &out[0], &out[K])

    def seed_masses(self, Py_ssize_t part, const double[:, ::1] candidates, const double[::1] mass,
                    double[:, ::1] masses, double[::1] potentials):
        """min(m_i, w_i |x_i - c_t|^2) for the samples of a part, and their sums added to `potentials`.

        The rows of `masses` are as long as those of `x`.
        """
        cdef Py_ssize_t first, n
        self._check(part, mass.shape[0], self.n, candidates.shape[1])
        if masses.shape[0] != candidates.shape[0] or masses.shape[1] != self.ld:
            raise ValueError("mass, masses and candidates do not fit together")
        if potentials.shape[0] != candidates.shape[0]:
            raise ValueError("potentials and candidates do not fit together")
        with nogil:
            first = part * self.part_size
            n = min(self.part_size, self.n - first)
            kmeans.seed_masses(&self.x[0, first], self.ld, n, self.d, candidates.shape[0], &candidates[0, 0],
                               &self.sample_weight[first], &mass[first], &masses[0, first], &potentials[0])

    cdef _check(self, Py_ssize_t part, Py_ssize_t n, Py_ssize_t also_n, Py_ssize_t d):
        if not 0 <= part < self.n_parts:
            raise ValueError(f"part {part} is not within 0 to {self.n_parts}")
        if n != self.n or also_n != self.n or d != self.d:
            raise ValueError("an array does not have the shape of this pass")
