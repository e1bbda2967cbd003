"""Picks the build of the kernels for this processor, once, at import."""

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from gaussum.kernels import _cpu

KERNELS = (
    "estep", "mstep", "separation", "gauss_sum", "gauss_varying", "gauss_grid", "gauss_box", "radial_sum", "kmeans",
    "pair_moments", "line", "elementary", "rows",
)
VARIABLE = "GAUSSUM_BUILD"


def builds() -> list[str]:
    """The instruction sets that were compiled, best first."""
    return [
        build
        for build in ("v4", "v3", "baseline")
        if importlib.util.find_spec(f"gaussum.kernels._{KERNELS[0]}_{build}") is not None
    ]


def kernel_module(kernel: str, build: str) -> ModuleType:
    """The compiled module of one kernel in one build, for example ``("estep", "v3")``."""
    return importlib.import_module(f"gaussum.kernels._{kernel}_{build}")


def choose(forced: str | None = None) -> str:
    """The best build that exists and that this processor runs, or the forced one.

    Raises
    ------
    ImportError
        The forced build does not exist, or this processor cannot run it.
    """
    usable = [build for build in builds() if build in _cpu.runnable()]
    if not forced:
        return usable[0]
    if forced not in usable:
        raise ImportError(
            f"{VARIABLE}={forced!r}, but the builds that exist and that this processor runs are: {', '.join(usable)}"
        )
    return forced


def build_info() -> dict[str, Any]:
    """How the kernels were compiled and which build of them runs.

    Returns
    -------
    dict
        ``compiler``: its name and version; ``builds``: the instruction sets compiled, best first; ``runnable``: those
        that this processor runs; ``build``: the one in use (``GAUSSUM_BUILD`` in the environment forces one).

    Examples
    --------
    >>> import gaussum
    >>> info = gaussum.build_info()
    >>> info["build"] in info["builds"]
    True
    """
    return {"compiler": _cpu.compiler(), "builds": builds(), "runnable": _cpu.runnable(), "build": BUILD}


BUILD = choose(os.environ.get(VARIABLE))

for _kernel in KERNELS:
    sys.modules[f"gaussum.kernels.{_kernel}"] = kernel_module(_kernel, BUILD)
