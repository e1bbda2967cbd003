"""The ground floor: compiled kernels over one block, chosen for this processor at import.

Each kernel module is built once for every instruction set (`_estep_baseline`, `_estep_v3`, `_estep_v4`, ...).
The best build that the processor runs takes the plain name: ``cimport gaussum.kernels.estep`` finds its C functions
through the chosen module's own table, so a call costs what any call through a pointer costs.  The environment
variable ``GAUSSUM_BUILD`` (``baseline``, ``v3`` or ``v4``) forces a build.

Other packages cimport ``gaussum.kernels.mixture``, ``sums``, ``elementary`` and ``densities``: plain types over the
others, which keep their signatures as include/gaussum.h says. The others are the package's own, and change.
"""

from gaussum.kernels.dispatch import build_info

__all__ = ["build_info"]
