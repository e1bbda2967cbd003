"""Progress: callbacks that count, bars by tqdm, and a word where it is missing."""

import builtins
import sys

import pytest

from gaussum import bootstrap_test, select_mixture
from gaussum.progress import counted


def test_counts():
    calls = []
    with counted(3, "things", callback=lambda *a: calls.append(a)) as advance:
        for _ in range(3):
            advance()
    assert calls == [(1, 3), (2, 3), (3, 3)]
    with counted(1, "things") as advance:
        advance()


def test_bars(capsys):
    pytest.importorskip("tqdm")
    x = [0.0, 0.1, 0.3, 0.7, 4.8, 5.0, 5.1, 5.3]
    select_mixture(x, [1, 2], n_init=1, random_state=0, progress=True)
    err = capsys.readouterr().err
    assert "fits: 100%" in err and "2/2" in err
    bootstrap_test(x, 1, n_bootstrap=19, n_init=1, random_state=0, progress=True)
    assert "1 or 2 components: 100%" in capsys.readouterr().err
    select_mixture(x, [1, 2], n_init=1, random_state=0)
    assert capsys.readouterr().err == ""


def test_a_missing_tqdm_is_told_before_any_work(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "tqdm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    calls = []
    with pytest.raises(ImportError, match=r"progress=True needs tqdm: pip install \"gaussum\[progress\]\""):
        select_mixture([0.0, 1.0, 2.0], 1, progress=True, callback=lambda *a: calls.append(a))
    assert calls == []


def test_refusals():
    with pytest.raises(TypeError, match="progress is 'bar'; expected True or False"):
        select_mixture([0.0, 1.0, 2.0], 1, progress="bar")
