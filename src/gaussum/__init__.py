"""Fast, accurate densities made of Gaussians: mixtures, kernel density, model selection, outliers."""

import importlib
from importlib.metadata import version as _version
from pathlib import Path as _Path
from typing import TYPE_CHECKING

from gaussum import bandwidth, criteria, functions, kernels
from gaussum.bandwidth import BandwidthWarning
from gaussum.base import NotFittedError
from gaussum.bayesian import BayesianGaussianMixture
from gaussum.bootstrap import BootstrapTest, bootstrap_test
from gaussum.em import ConvergenceWarning
from gaussum.kde import KernelDensity
from gaussum.kernels import build_info
from gaussum.kernels.c_api import _C_API  # noqa: F401
from gaussum.merging import ComponentMerging, MergedMixture, merge_components
from gaussum.mixture import GaussianMixture
from gaussum.outliers import OutlierDetector
from gaussum.rescue import CollapsedComponentWarning, SpuriousOptimumWarning
from gaussum.scipy_kde import gaussian_kde
from gaussum.selection import SelectionResult, select_mixture
from gaussum.statistics import SufficientStatistics

if TYPE_CHECKING:
    from gaussum import embed, plot

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
    "embed",
    "functions",
    "gaussian_kde",
    "get_include",
    "kernels",
    "merge_components",
    "plot",
    "select_mixture",
]


def get_include() -> str:
    """The folder of gaussum.h, for C and C++ compilers: `-I` (see gaussum.embed).

    Examples
    --------
    >>> import gaussum, pathlib
    >>> (pathlib.Path(gaussum.get_include()) / "gaussum.h").exists()
    True
    """
    return str(_Path(__file__).parent / "include")


if not TYPE_CHECKING:

    def __getattr__(name):
        # matplotlib is loaded when plots are asked for, not before; few need what other compiled packages do
        if name in ("embed", "plot"):
            return importlib.import_module(f"gaussum.{name}")
        raise AttributeError(f"module 'gaussum' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
