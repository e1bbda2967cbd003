# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Samples on a line to the nodes of a grid, and densities at the nodes back to the samples; without the GIL."""
from cpython.exc cimport PyErr_CheckSignals

from gaussum.kernels cimport line

cdef enum:
    BLOCK = 256
    # blocks after which Ctrl-C is looked for
    INTERRUPTIBLE = 4096


def spread(const double[::1] place, const double[::1] w, double[::1] nodes):
    """Add the samples to the nodes; see kernels/line.pyx.

    Parameters
    ----------
    place : ndarray of float64, shape (n_samples,)
        Of the samples, in steps from the first node; from 0 to less than n_nodes - 2.
    w : ndarray of float64, shape (n_samples,)
    nodes : ndarray of float64, shape (n_nodes,)
    """
    if w.shape[0] != place.shape[0]:
        raise ValueError("one weight a sample")
    with nogil:
        line.line_spread(&place[0], &w[0], place.shape[0], nodes.shape[0], &nodes[0])


def leave_one_out(const double[::1] nodes, const double[::1] place, const double[::1] w, double own, double floor):
    """The weighted sum of log densities at the samples by the others; see kernels/line.pyx.

    Parameters
    ----------
    nodes : ndarray of float64, shape (n_nodes,)
        The density by all of them.
    place, w : ndarray of float64, shape (n_samples,)
        As of `spread`; weights that add up to 1.
    own : float
        The kernel at its own sample.
    floor : float
        Below this density the logarithm goes on as a straight line.

    Returns
    -------
    float
    """
    cdef Py_ssize_t n = place.shape[0], i = 0, m, blocks = 0
    cdef double others[BLOCK]
    cdef double total = 0.0
    if w.shape[0] != n:
        raise ValueError("one weight a sample")
    with nogil:
        while i < n:
            if blocks % INTERRUPTIBLE == 0:
                with gil:
                    PyErr_CheckSignals()
            blocks += 1
            m = min(<Py_ssize_t>BLOCK, n - i)
            total += line.line_leave_one_out(&place[i], &w[i], m, &nodes[0], nodes.shape[0], own, floor, others)
            i += m
    return total
