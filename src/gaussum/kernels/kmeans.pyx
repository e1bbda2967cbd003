# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Lloyd's iterations (Lloyd 1982) and the seeding of k-means++ (Arthur and Vassilvitskii 2007) over one block.

    label_i = argmin_k |x_i - c_k|^2,  the lowest k of several
    n_k = sum_{i in k} w_i     s_k = sum_{i in k} w_i x_i
    m_ti = min(m_i, w_i |x_i - c_t|^2)     phi_t = sum_i m_ti

A block lies feature by feature, x[j * ld + i], and is taken in tiles of samples whose distances from one centre stay
in registers.  Distances are summed from differences, so that an offset of the data costs no digits; one that overflows
is infinite, and a sample infinitely far from every centre belongs to the first.
"""
from libc.math cimport INFINITY

from gaussum.kernels.lanes cimport fused, sum_lanes

cdef enum:
    TILE = 32                           # and the steps below


cdef inline void _squared_distances(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    const double *center,               # IN (d,)
    double *out,                        # OUT (n,)
) noexcept nogil:
    """|x_i - c|^2"""
    cdef Py_ssize_t i, j
    cdef double c = center[0], z
    for i in range(n):
        z = x[i] - c
        out[i] = z * z
    for j in range(1, d):
        c = center[j]
        for i in range(n):
            z = x[j * ld + i] - c
            out[i] = fused(z, z, out[i])


cdef inline void _nearest_tile(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d, Py_ssize_t K,  # IN, n <= TILE
    const double *centers,              # IN (K, d)
    Py_ssize_t *labels,                 # OUT (n,)
    double *distances,                  # OUT (n,)
) noexcept nogil:
    cdef double distance[TILE]
    cdef double least[TILE]
    cdef Py_ssize_t label[TILE]
    cdef Py_ssize_t i, k
    for i in range(n):
        least[i] = INFINITY
        label[i] = 0
    for k in range(K):
        _squared_distances(x, ld, n, d, centers + k * d, distance)
        for i in range(n):
            label[i] = k if distance[i] < least[i] else label[i]
        for i in range(n):              # a loop of its own, or neither vectorises
            least[i] = distance[i] if distance[i] < least[i] else least[i]
    for i in range(n):
        labels[i] = label[i]
        distances[i] = least[i]


cdef api void nearest_centers(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t K,                       # IN
    const double *centers,              # IN (K, d)
    Py_ssize_t *labels,                 # OUT (n,)
    double *distances,                  # OUT (n,): squared
) noexcept nogil:
    """label_i = argmin_k |x_i - c_k|^2, and that least squared distance"""
    cdef Py_ssize_t i, whole = n - n % TILE
    for i in range(0, whole, 32):
        _nearest_tile(x + i, ld, TILE, d, K, centers, labels + i, distances + i)
    if n > whole:
        _nearest_tile(x + whole, ld, n - whole, d, K, centers, labels + whole, distances + whole)


cdef inline void _masses_tile(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld, Py_ssize_t n, Py_ssize_t d,  # IN, n <= TILE
    const double *candidate,            # IN (d,)
    const double *sample_weight,        # IN (n,)
    const double *mass,                 # IN (n,)
    double *out,                        # OUT (n,)
) noexcept nogil:
    cdef double distance[TILE]
    cdef Py_ssize_t i
    cdef double m
    _squared_distances(x, ld, n, d, candidate, distance)
    for i in range(n):
        m = sample_weight[i] * distance[i]
        out[i] = m if m < mass[i] else mass[i]


cdef api void seed_masses(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    Py_ssize_t n_candidates,            # IN
    const double *candidates,           # IN (n_candidates, d)
    const double *sample_weight,        # IN (n,)
    const double *mass,                 # IN (n,)
    double *masses,                     # OUT (n_candidates, ld)
    double *potentials,                 # INOUT (n_candidates,)
) noexcept nogil:
    """m_ti = min(m_i, w_i |x_i - c_t|^2), phi_t <- phi_t + sum_i m_ti"""
    cdef Py_ssize_t i, t, whole = n - n % TILE
    for i in range(0, whole, 32):
        for t in range(n_candidates):
            _masses_tile(x + i, ld, TILE, d, candidates + t * d, sample_weight + i, mass + i, masses + t * ld + i)
    if n > whole:
        for t in range(n_candidates):
            _masses_tile(x + whole, ld, n - whole, d, candidates + t * d, sample_weight + whole, mass + whole,
                         masses + t * ld + whole)
    for t in range(n_candidates):
        potentials[t] += sum_lanes(masses + t * ld, n)


cdef api void accumulate_clusters(
    const double *x,                    # IN (d, ld)
    Py_ssize_t ld,                      # IN
    Py_ssize_t n,                       # IN
    Py_ssize_t d,                       # IN
    const Py_ssize_t *labels,           # IN (n,), from 0 to K - 1
    const double *sample_weight,        # IN (n,)
    double *nk,                         # INOUT (K,)
    double *sums,                       # INOUT (K, d)
) noexcept nogil:
    """n_k <- n_k + sum_{i in k} w_i,  s_k <- s_k + sum_{i in k} w_i x_i"""
    cdef Py_ssize_t i, j
    cdef double w
    cdef double *row
    for i in range(n):
        w = sample_weight[i]
        row = sums + labels[i] * d
        nk[labels[i]] += w
        for j in range(d):              # the features of a sample overlap where samples of one cluster would wait
            row[j] = fused(w, x[j * ld + i], row[j])
