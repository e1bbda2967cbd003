"""Benchmarks of gaussum beside scikit-learn, SciPy and others: ``python -m bench`` from the repository root.

Every case first checks the answers and only then reports times: a case whose answers disagree is reported as
WRONG, shows no time, and makes the exit status 1. Peers that are not installed are left out.

    timing.py          contenders in interleaved rounds, medians, the refusal of wrong answers
    reference.py       the same mathematics in plain NumPy: what every answer is held against
    solvers.py         the data, and each library's EM
    mixtures.py        EM iterations, whole fits
    selection.py       the number of components chosen by BIC
    bayesian.py        iterations of variational Bayes
    predictions.py     log densities, labels and responsibilities under a mixture
    kernel_density.py  direct Gaussian sums
    bandwidth_matrix.py    errors of bandwidth selectors in several dimensions (python -m bench.bandwidth_matrix)
    radial_kernels.py  sums of kernels other than the Gaussian
    marron_wand.py     bandwidth selectors on fifteen densities: a command of its own
    adaptive_bandwidths.py  sums of Gaussians of different widths
    threads.py         EM iterations on one thread and on more
    builds.py          the same cases once for every instruction-set build, in processes of their own
    limits.py          EM iterations beside what the machine's arithmetic and memory allow
    memory.py          growth of the peak memory during one fit, in processes of its own
    scaling.py         an EM iteration against samples, features and components
    sum_curves.py      a kernel density by every plan against samples, bandwidth and features, with its errors
    cases.py           which cases run
    report.py          machine, tables (Markdown) and JSON
    picture.py         the scaling curves as a picture
    sum_picture.py     the curves of sums as a picture
"""
