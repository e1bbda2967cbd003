"""Which cases `python -m bench` runs, in this order."""

from bench.acceleration import AccelerationCase
from bench.bayesian import BayesCase
from bench.builds import BuildsCase
from bench.grid import GridCase, PlotCase
from bench.kernel_density import KDECase, PlannedCase
from bench.limits import LimitsCase
from bench.memory import MemoryCase
from bench.mixtures import EMCase, FitCase
from bench.optima import OptimaCase
from bench.predictions import METHODS, PredictionCase
from bench.radial_kernels import RadialCase
from bench.scaling import Curve
from bench.selection import SelectionCase
from bench.sum_curves import SumCurve
from bench.threads import ThreadsCase

EM = [
    EMCase(4_600, 1, 4),
    EMCase(1_000_000, 1, 4),
    EMCase(1_000_000, 2, 8),
    EMCase(500_000, 4, 8),
    EMCase(200_000, 10, 16),
    EMCase(200_000, 10, 16, "diag"),
    EMCase(50_000, 50, 10),
    EMCase(10_000, 200, 10),
    EMCase(20_000, 784, 10, "diag"),
]
SIMPLER = [EMCase(n, d, K, structure) for n, d, K in ((200_000, 10, 16), (50_000, 50, 10))
           for structure in ("tied", "spherical")]
SINGLE = [EMCase(case.n, case.d, case.K, dtype="float32") for case in (EM[2], EM[4], EM[6])]
GRID = [EMCase(200_000, 2, 256, spacing=spacing) for spacing in (20.0, 1.0)]
BAYES = [BayesCase(4_600, 1, 4), BayesCase(1_000_000, 2, 8)]
BAYES += [BayesCase(200_000, 10, 16, structure) for structure in ("full", "tied", "diag", "spherical")]
PREDICTION = [PredictionCase(n, d, K, method) for n, d, K in ((1_000_000, 2, 8), (200_000, 10, 16))
              for method in METHODS]
FIT = [FitCase(4_600, 1, 4), FitCase(1_000_000, 2, 8)]
SELECTION = [SelectionCase()]
KDE = [
    KDECase(20_000, 20_000, 1, 0.15),
    KDECase(20_000, 20_000, 2, 0.2),
    KDECase(20_000, 20_000, 10, 0.5, tree_tolerance=1e-2),
]
KDE_SINGLE = [KDECase(20_000, 20_000, case.d, case.bandwidth, case.tree_tolerance, "float32") for case in KDE]
PLANNED = [PlannedCase(1_000_000, 1_000_000, d, factor) for d in (1, 2, 3) for factor in (1.0, 0.1)]
PLANNED += [PlannedCase(200_000, 200_000, d, 0.1) for d in (4, 6, 10)]
RADIAL = [RadialCase(20_000, 20_000, d, kernel) for d in (1, 2)
          for kernel in ("tophat", "epanechnikov", "exponential")]
ON_GRID = [GridCase(1_000_000, 1, 4096), GridCase(1_000_000, 2, 512), GridCase(1_000_000, 3, 64)]
PLOTS = [PlotCase(100_000, 1), PlotCase(100_000, 2)]
THREADS = [ThreadsCase(case) for case in EM[1:]]
ACCELERATION = [AccelerationCase(data, structure) for data in ("notebook", "faithful", "galaxies", "diabetes")
                for structure in ("full", "diag")]
OTHERS = [BuildsCase([*EM, KDE[0], KDE[2]]), LimitsCase(EM), MemoryCase(1_000_000, 2, 8), OptimaCase()]
CASES = [*EM, *SIMPLER, *SINGLE, *GRID, *BAYES, *PREDICTION, *FIT, *SELECTION, *KDE, *KDE_SINGLE]
CASES += [*PLANNED, *RADIAL, *ON_GRID, *PLOTS, *THREADS, *ACCELERATION, *OTHERS]
QUICK = [EM[0], EM[2], EM[4], EM[6], SIMPLER[0], SINGLE[0], GRID[0], *BAYES[:3], *PREDICTION[:3]]
QUICK += [*FIT, *SELECTION, *KDE[::2], PLANNED[0], RADIAL[1], ON_GRID[0], PLOTS[0], THREADS[1], ACCELERATION[2]]
QUICK += OTHERS

THIRDS = [10**exponent * digit for exponent in range(3, 7) for digit in (1, 3)]
CURVES = [
    Curve("n", [*THIRDS, 10_000_000], d=2, K=8),
    Curve("d", [1, 2, 5, 10, 20, 50, 100, 200, 500], n=20_000, K=8),
    Curve("K", [1, 2, 4, 8, 16, 32, 64, 128, 256], n=100_000, d=4),
]
SUM_CURVES = [SumCurve("n", THIRDS[:-1], d=d) for d in (1, 2, 3)]
SUM_CURVES += [
    SumCurve("h", [1 / 30, 1 / 18, 1 / 10, 1 / 5.5, 1 / 3, 1 / 1.7, 1, 1.7, 3], n=100_000, d=2),
    SumCurve("d", [1, 2, 3, 4, 6, 8, 10], n=20_000),
]
