"""What the tests share: the data of the notebook, the real data, and threads for small problems too."""

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from gaussum import parallel

# the helpers beside the tests (kernel_access) are importable however pytest is started
sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("gaussum", deadline=None)
settings.load_profile("gaussum")


def _read_only(a):
    a.setflags(write=False)
    return a


@pytest.fixture(scope="session")
def x():
    """The notebook's samples, shape (4600,): three Gaussians."""
    rng = np.random.RandomState(2)
    return _read_only(
        np.concatenate([rng.normal(0, 2, 2000), rng.normal(5, 5, 2000), rng.normal(3, 0.5, 600)])
    )


@pytest.fixture(scope="session")
def true_outliers(x):
    """Indices of the samples that `y` moves."""
    return _read_only(np.sort(np.random.RandomState(0).randint(0, len(x), 20)))


@pytest.fixture(scope="session")
def y(x, true_outliers):
    """`x` with twenty samples moved far away."""
    rng = np.random.RandomState(0)
    rng.randint(0, len(x), 20)
    moved = x.copy()
    moved[true_outliers] += 50 * rng.randn(20)
    return _read_only(moved)


def _shipped(name):
    return _read_only(np.genfromtxt(resources.files("gaussum") / "data" / name, delimiter=",", skip_header=1))


@pytest.fixture(scope="session")
def faithful():
    """Old Faithful, shape (272, 2)."""
    return _shipped("faithful.csv")


@pytest.fixture(scope="session")
def galaxies():
    """Velocities of galaxies, shape (82,)."""
    return _shipped("galaxies.csv")


@pytest.fixture
def always_threads(monkeypatch):
    """Threads are used however little work there is."""
    monkeypatch.setattr(parallel, "_WORTH_A_THREAD", 0.0)
    monkeypatch.setattr(parallel, "_SHORTEST_PART", 1e-9)
