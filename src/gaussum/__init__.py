"""Fast, accurate densities made of Gaussians: mixtures, kernel density, model selection, outliers."""

import importlib
from importlib.metadata import version as _version

from gaussum import functions
from gaussum.bandwidth import BandwidthWarning
from gaussum.base import NotFittedError
from gaussum.bayesian import BayesianGaussianMixture
from gaussum.bootstrap import BootstrapTest, bootstrap_test
from gaussum.em import ConvergenceWarning
from gaussum.kde import KernelDensity
from gaussum.kernels import build_info
from gaussum.merging import ComponentMerging, MergedMixture, merge_components
from gaussum.mixture import GaussianMixture
from gaussum.outliers import OutlierDetector
from gaussum.rescue import CollapsedComponentWarning, SpuriousOptimumWarning
from gaussum.scipy_kde import gaussian_kde
from gaussum.selection import SelectionResult, select_mixture
from gaussum.statistics import SufficientStatistics

__version__ = _version("gaussum")

__all__ = [
    "BandwidthWarning",
    "BayesianGaussianMixture",
    "BootstrapTest",
    "CollapsedComponentWarning",
    "ComponentMerging",
    "ConvergenceWarning",
    "GaussianMixture",
    "KernelDensity",
    "MergedMixture",
    "NotFittedError",
    "OutlierDetector",
    "SelectionResult",
    "SpuriousOptimumWarning",
    "SufficientStatistics",
    "bandwidth",
    "bootstrap_test",
    "build_info",
    "criteria",
    "functions",
    "gaussian_kde",
    "kernels",
    "merge_components",
    "plot",
    "select_mixture",
]


def __getattr__(name):
    # matplotlib is loaded when plots are asked for, not before
    if name == "plot":
        return importlib.import_module("gaussum.plot")
    raise AttributeError(f"module 'gaussum' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
