"""Pictures of fitted densities with matplotlib (``pip install "gaussum[plot]"``).

Every function draws into `ax`, or into a figure of its own when `ax` is None, and returns the Axes. Titles
are the caller's. Nothing here shows a figure or changes matplotlib's settings. Estimators are known by their
public attributes only, so scikit-learn's mixtures and kernel densities can be drawn too.

Examples
--------
>>> from gaussum import GaussianMixture, plot
>>> x = [0.0, 0.1, 0.3, 4.8, 5.0, 5.1]
>>> ax = plot.density(GaussianMixture(2, random_state=0).fit(x), x)
>>> ax.get_xlabel(), ax.get_ylabel()
('value', 'density')
"""

from gaussum.drawing import COLORS
from gaussum.plot_densities import compare, density
from gaussum.plot_mixtures import components, pairs
from gaussum.plot_outliers import outliers
from gaussum.plot_selection import bootstrap, criteria, entropy, selection

__all__ = [
    "COLORS", "bootstrap", "compare", "components", "criteria", "density", "entropy", "outliers", "pairs", "selection",
]
