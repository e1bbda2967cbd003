"""Benchmarks of gaussum beside scikit-learn, SciPy and oneDAL: ``python -m bench`` from the repository root.

Every case first checks the answers and only then reports times: a case whose answers disagree is reported as
WRONG, shows no time, and makes the exit status 1. Peers that are not installed are left out.

    timing.py          contenders in interleaved rounds, medians, the refusal of wrong answers
    reference.py       the same mathematics in plain NumPy: what every answer is held against
    solvers.py         the data, and each library's EM
    mixtures.py        EM iterations, log densities of a mixture, whole fits
    kernel_density.py  direct Gaussian sums
    builds.py          the same cases once for every instruction-set build, in processes of their own
    memory.py          growth of the peak memory during one fit, in processes of its own
    report.py          machine, tables (Markdown) and JSON
"""
