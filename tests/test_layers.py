"""Imports and cimports point down: they are read from the sources, and one that points up fails."""

import ast
import re
import sys
from pathlib import Path

import pytest

from gaussum.kernels import dispatch

ROOT = Path(__file__).parent.parent / "src" / "gaussum"

# From the ground up, one layer a line: a module may import from the lines before its own, and from what
# stands before it on its own line.
LAYERS = """
kernels.lapack kernels.real kernels.cache_lines kernels.lanes kernels.coordinates kernels._cpu kernels.dispatch
kernels.vec kernels.tiles kernels.moments kernels.radial kernels.log_lanes
kernels.estep kernels.mstep kernels.separation kernels.gauss_sum kernels.gauss_varying kernels.gauss_grid
kernels.gauss_box kernels.radial_sum kernels.kmeans kernels.pair_moments kernels.line kernels.rows
kernels.elementary kernels
kernels.mixture kernels.sums kernels.densities kernels.c_api
typing base validation criteria progress
samples covariance initial_pass mixture_pass short_em single_pass skipping_pass information_pass quasi_newton sum_pass
grid_pass tree_pass flow_pass pair_pass binned_pass radial_pass radial_line_pass box_pass line_pass varying_pass
varying_slope_pass
rotations variational_step parallel
parameters statistics orientation
structures rescue spurious
flat variational skipping information likelihood acceleration constrained moments prior
initialize search starts em
spread binned univariate pairs multivariate bandwidth_matrix bandwidth radial
axes cell_moments layout gridding tree decay plans neighbors on_grid cells tails line radial_line distribution
folded strips
stragglers tensor_sum summation modes mean_shift extension window_shift image_axes images boundary support
kernel_sum varying_grid varying_slopes varying width_classes whitening adaptive
selectors fitted box_arguments slices regions probabilities slopes
mixture_base conventions
arguments em_functions functions
mixture kde scipy_kde bayesian
selection bootstrap merging outliers
gaussum
embed
drawing plot_arguments plot_densities plot_mixtures plot_outliers plot_selection plot files
output
demo commands
cli __main__
"""
ORDER = {
    name: (i, j) for i, line in enumerate(LAYERS.split("\n")[1:-1]) for j, name in enumerate(line.split())
}

# Leaves: no layer below `gaussum` knows them, except inside a function.
PLOTS = {"plot", "plot_arguments", "plot_densities", "plot_mixtures", "plot_outliers", "plot_selection"}
LEAVES = {"embed", "drawing", *PLOTS, "files", "output", "demo", "commands", "cli", "__main__"}

# What may be imported besides the standard library: anywhere; inside the functions of certain modules only, or for
# types alone.
REQUIRED = {"numpy", "scipy", "threadpoolctl"}
OPTIONAL = {
    "matplotlib": {"drawing", "output"},
    "pyarrow": {"files"},
    "tqdm": {"progress"},
    "pandas": {"selection"},
    "sklearn": {"base"},
}


def name_of(path):
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "gaussum"


PYTHON = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
CYTHON = {str(path.relative_to(ROOT)): path for path in sorted([*ROOT.rglob("*.pyx"), *ROOT.rglob("*.pxd")])}


def python_imports(path):
    """(line, module, names, where) of every import: inside a "function", for "types" alone, or "" for neither."""
    tree = ast.parse(path.read_text())
    inside = {}
    for block in ast.walk(tree):
        if isinstance(block, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inside |= dict.fromkeys(ast.walk(block), "function")
        elif isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            inside |= dict.fromkeys(ast.walk(block), "types")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, [], inside.get(node, "")
        elif isinstance(node, ast.ImportFrom):
            yield (
                node.lineno,
                "." * node.level + (node.module or ""),
                [a.name for a in node.names],
                inside.get(node, ""),
            )


def cython_imports(path):
    """The same of import and cimport statements; docstrings and comments are taken out first."""
    text = re.sub(r'("""|\'\'\').*?\1', lambda m: "\n" * m[0].count("\n"), path.read_text(), flags=re.S)
    text = re.sub(r"#.*", "", text)
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r"(\s*)(?:from\s+(\S+)\s+)?(c?import)\s+\(?([\w.,\s*]+)\)?", line)
        if not found:
            continue
        indented, module, _, names = found.groups()
        names = [n.split(" as ")[0].strip() for n in names.split(",") if n.strip()]
        if module is None:
            for name in names:
                yield number, name, [], "function" if indented else ""
        else:
            yield number, module, names, "function" if indented else ""


def targets(module, names):
    """The modules of this package that an import reaches."""
    if module != "gaussum" and not module.startswith("gaussum."):
        return
    inner = module.removeprefix("gaussum").removeprefix(".")
    for name in names or [None]:
        deeper = f"{inner}.{name}".strip(".") if name else None
        yield deeper if deeper in ORDER else inner or "gaussum"


def everything():
    """(file, module, imports) of every source."""
    for name, path in PYTHON.items():
        imports = list(python_imports(path))
        if name == "gaussum":
            # it names for type checkers the leaves that it loads when they are asked for
            imports = [found for found in imports if found[-1] != "types"]
        yield str(path.relative_to(ROOT)), name, imports
    for file, path in CYTHON.items():
        yield file, name_of(path), list(cython_imports(path))


SOURCES = list(everything())


def test_every_module_has_its_layer():
    modules = set(PYTHON) | {name_of(path) for path in CYTHON.values()}
    assert modules == set(ORDER), "the table of layers in this test and the sources differ"
    assert len(ORDER) == len(LAYERS.split())


@pytest.mark.parametrize("file, module, imports", SOURCES, ids=[file for file, _, _ in SOURCES])
def test_imports_point_down(file, module, imports):
    for line, imported, names, inside in imports:
        assert not imported.startswith("."), f"{file}:{line}: a relative import"
        for target in targets(imported, names):
            assert target in ORDER, f"{file}:{line}: gaussum.{target} is no module of this package"
            if target in LEAVES and inside == "function":
                continue
            assert ORDER[target] < ORDER[module], (
                f"{file}:{line}: {module} imports {target}, which stands above it"
            )


@pytest.mark.parametrize("file, module, imports", SOURCES, ids=[file for file, _, _ in SOURCES])
def test_other_packages(file, module, imports):
    for line, imported, _, inside in imports:
        package = imported.split(".")[0]
        if package in ("gaussum", "cython", "cpython", "libc", *sys.stdlib_module_names, *REQUIRED):
            continue
        assert package in OPTIONAL, f"{file}:{line}: {package} is neither a requirement nor an extra"
        assert inside, f"{file}:{line}: {package} is optional and must be imported inside a function"
        if inside == "types":
            continue
        assert module in OPTIONAL[package], f"{file}:{line}: {package} belongs to {sorted(OPTIONAL[package])}"


def test_the_leaves_are_not_imported_from_below():
    for file, module, imports in SOURCES:
        if module in LEAVES:
            continue
        for line, imported, names, inside in imports:
            for target in targets(imported, names):
                assert target not in LEAVES or inside == "function", f"{file}:{line}: imports the leaf {target}"


def test_the_ground_floor_is_free_of_numpy():
    for file, module, imports in SOURCES:
        if module.startswith("kernels"):
            for line, imported, _, _ in imports:
                assert imported.split(".")[0] != "numpy", f"{file}:{line}"


def test_only_lapack_pxd_cimports_scipy():
    for file, path in CYTHON.items():
        scipy = [imported for _, imported, _, _ in cython_imports(path) if imported.split(".")[0] == "scipy"]
        assert bool(scipy) == (file == "kernels/lapack.pxd"), file


def test_kernels_hold_no_python_objects():
    # every function of a kernel may run without the GIL and cannot raise
    for kernel in (*dispatch.KERNELS, "mixture", "sums"):
        text = (ROOT / "kernels" / f"{kernel}.pyx").read_text()
        assert not re.search(r"^\s*(cp?)?def\s+(?!api|inline|enum)\w+\(", text, flags=re.M)
        ends = re.findall(r"^\) ?(\w.*?):?$", text, flags=re.M)
        assert ends and set(ends) == {"noexcept nogil"}, kernel


def test_the_reader_of_imports_reads():
    # the tests above hold nothing if this finds nothing
    found = {file: {m for _, m, _, _ in imports} for file, _, imports in SOURCES}
    assert "scipy.linalg.cython_lapack" in found["kernels/lapack.pxd"]
    assert {"gaussum.samples", "gaussum.kernels", "libc.string"} <= found["mixture_pass.pyx"]
    assert "gaussum.validation" in found["kde.py"]
    where = {(file, module): inside for file, _, imports in SOURCES for _, module, _, inside in imports}
    assert where["selection.py", "matplotlib.axes"] == "types"
    assert where["drawing.py", "matplotlib.pyplot"] == "function"
    assert where["selection.py", "numpy"] == ""
    assert list(targets("gaussum.kernels", ["estep", "mstep"])) == ["kernels.estep", "kernels.mstep"]
    assert list(targets("gaussum.kernels.lanes", ["simd_exp"])) == ["kernels.lanes"]
    assert list(targets("gaussum", ["plot", "GaussianMixture"])) == ["plot", "gaussum"]
