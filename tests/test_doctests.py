"""The examples in the docstrings of the installed package are true."""

import doctest
import importlib
import pkgutil

import pytest

import gaussum

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(gaussum.__path__, "gaussum.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted(set(gaussum.__all__) - {"kernels"}))
def test_everything_public_is_documented(name):
    thing = getattr(gaussum, name)
    assert thing.__doc__
    for attribute, value in vars(thing).items() if isinstance(thing, type) else ():
        if callable(value) and not attribute.startswith("_"):
            assert value.__doc__, f"{name}.{attribute}"


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    for name in ("mixture", "kde", "outliers", "selection", "bootstrap", "merging", "criteria", "bandwidth", "plot"):
        tests = finder.find(importlib.import_module(f"gaussum.{name}"))
        assert any(test.examples for test in tests), name
