"""Layers, import cost, wheel contents and bookkeeping: what keeps the code the shape that it was given."""

from __future__ import annotations

import ast
import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent

# From the bottom up: a layer may import itself and what stands to its left, except that the two ways in, `import dyn`
# and the command line, know nothing of each other.
LAYERS = ("dynamics", "analysis", "figures", "face", "dyn", "commands", "cli")
WAYS_IN = (("face", "dyn"), ("commands", "cli"))

# JAX takes most of a second to import, so only these may do it before a command has asked for them.
JAX = ("jax", "jaxlib", "diffrax", "equinox", "lineax", "optax", "optimistix")
MAY_IMPORT_JAX: frozenset[str] = frozenset(
    f"dynamics/training/{name}.py"
    for name in (
        "augmentations", "checkpoints", "convolutions", "data", "generator", "lapack", "loop", "metrics", "networks",
        "normalisation", "objectives", "optimizers", "predictors", "run", "stacks", "targets", "tree_networks",
        "tree_training", "two_layers",
    )
)  # fmt: skip

# Not to be paid for by `dyn --help`.
SLOW_TO_IMPORT = ("bokeh", "jax", "matplotlib.pyplot", "sklearn", "xarray")

LONGEST_FILE, LONGEST_TEST = 450, 700

# The house: a room is one concept of the field.
ROOMS = {
    "dynamics": ("data", "exact", "fields", "integration", "training"),
    "analysis": (
        "contrastive", "depth", "experiments", "fates", "fixed_points", "normalisation", "objectives", "phase_planes",
        "results", "runs", "stability", "steps", "sweeps", "sylvester", "trees",
    ),
    "figures": ("explorer", "gallery", "layout", "panels", "results"),
    "commands": ("simulations",),
}  # fmt: skip
# Rooms within rooms: results by the part of the theory that they belong to.
DEEPER = {
    "analysis/results/linear",
    "analysis/results/contrastive",
    "analysis/results/trees",
    "analysis/results/steps",
    "analysis/results/objectives",
}
MOST_ENTRIES = 17  # fifteen rooms and two files


def layer_files(*layers: str) -> list[Path]:
    paths = [path for layer in layers for path in (ROOT / layer).rglob("*.py")]
    return sorted(paths + [ROOT / f"{layer}.py" for layer in layers if (ROOT / f"{layer}.py").exists()])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def each(*layers: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", layer_files(*layers), ids=name_of)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> set[str]:
    """Dotted names of all that is imported; `from a import b` gives a and a.b, as b may be a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their layer: no relative ones"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_at_once(tree: ast.Module) -> set[str]:
    """What importing the module itself imports: all but the bodies of functions and of `if TYPE_CHECKING`."""
    names: set[str] = set()
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= imported(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return names


# --- layers -------------------------------------------------------------------------------------------------


def test_import_lists_are_complete() -> None:
    tree = ast.parse(
        "import a.b\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import c\n"
        "try:\n    import d\nexcept ImportError:\n    pass\n"
        "def f():\n    from e import g\n"
    )
    typing = {"typing", "typing.TYPE_CHECKING"}
    assert imported(tree) == {"a.b", "c", "d", "e", "e.g"} | typing
    assert imported_at_once(tree) == {"a.b", "d"} | typing


@each(*LAYERS)
def test_no_import_points_up(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    forbidden = {*LAYERS[LAYERS.index(own) + 1 :], "tests", "benchmarks"}
    forbidden |= {name for way in WAYS_IN if own not in way for name in way}
    assert {name for name in imported(parse(path)) if name.split(".")[0] in forbidden} == set()


@each("dynamics", "analysis", "figures", "face", "dyn")
def test_only_the_listed_modules_import_jax_at_once(path: Path) -> None:
    found = {name for name in imported_at_once(parse(path)) if name.split(".")[0] in JAX}
    assert bool(found) == (name_of(path) in MAY_IMPORT_JAX), found


def test_the_list_of_jax_modules_is_not_stale() -> None:
    assert {name for name in MAY_IMPORT_JAX if not (ROOT / name).exists()} == set()


@each("dynamics", "analysis", "face", "dyn", "commands", "cli")
def test_pyplot_is_imported_at_once_by_figures_alone(path: Path) -> None:
    assert "matplotlib.pyplot" not in imported_at_once(parse(path))


@each("dynamics", "analysis", "figures", "face", "dyn")
def test_nothing_prints_below_the_command_line(path: Path) -> None:
    calls = [node.func for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert "print" not in {func.id for func in calls if isinstance(func, ast.Name)}


# --- cost and side effects of importing ---------------------------------------------------------------------


def fresh_python(code: str) -> str:
    """Run code in a new interpreter, where no test has imported anything, and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_packages_imports_nothing_slow() -> None:
    code = f"import {', '.join(LAYERS)}, sys; print([m for m in {SLOW_TO_IMPORT} if m in sys.modules])"
    assert fresh_python(code).strip() == "[]"


def test_importing_every_module_leaves_the_settings_of_jax_alone() -> None:
    names = [name_of(path).removesuffix(".py").removesuffix("/__init__") for path in layer_files(*LAYERS)]
    modules = [name.replace("/", ".") for name in names if not name.endswith("__main__")]
    code = (
        "import importlib, jax\n"
        "before = dict(jax.config.values)\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "print({k: v for k, v in jax.config.values.items() if before.get(k, v) != v})\n"
        "print(jax.config.jax_enable_x64)"
    )
    assert fresh_python(code).split("\n")[:2] == ["{}", "False"]


# --- wheel --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_holds_the_layers_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    style_sheets = {name_of(path) for path in (ROOT / "figures").rglob("*.mplstyle")}
    typed = {f"{layer}/py.typed" for layer in LAYERS if (ROOT / layer).is_dir()}
    assert files == {name_of(path) for path in layer_files(*LAYERS)} | style_sheets | typed


def test_the_wheel_answers_from_an_empty_folder(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    wheel.extractall(installed)
    empty.mkdir()
    code = "import dyn; print(dyn.__file__); print(dyn.simulate(lambda_s=1, lambda_d=.5))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True, check=True
    )
    where, *answer = done.stdout.splitlines()
    assert where == str(installed / "dyn.py")
    assert answer[1].startswith("mode 1: r = 0.5, learned as predicted")


def test_the_wheel_carries_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    about = {name.split(".dist-info/")[1]: name for name in wheel.namelist() if ".dist-info/" in name}
    assert wheel.read(about["entry_points.txt"]).decode().split("\n")[:2] == [
        "[console_scripts]",
        "dyn = cli:app",
    ]
    assert wheel.read(about["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    metadata = email.message_from_bytes(wheel.read(about["METADATA"]))
    assert metadata["License-Expression"] == "Apache-2.0"


# --- bookkeeping --------------------------------------------------------------------------------------------


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


Definition = ast.FunctionDef | ast.ClassDef


def public(scope: ast.Module | Definition, kind: type[Definition]) -> list[Definition]:
    return [node for node in scope.body if isinstance(node, kind) and not node.name.startswith("_")]


@each(*LAYERS)
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = parse(path)
    assert ast.get_docstring(tree) is not None
    functions = public(tree, ast.FunctionDef)
    classes = public(tree, ast.ClassDef)
    methods = [method for node in classes for method in public(node, ast.FunctionDef)]
    assert [node.name for node in (*functions, *classes) if not ast.get_docstring(node)] == []
    # a method that overrides one of the same file is documented there
    documented = {node.name for node in methods if ast.get_docstring(node)}
    assert {node.name for node in methods} - documented == set()


@pytest.mark.parametrize(
    "path",
    [*layer_files(*LAYERS), *sorted((ROOT / "docs").glob("*.py")), *sorted((ROOT / "tests").glob("*.py"))],
    ids=name_of,
)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    length = len(path.read_text(encoding="utf-8").splitlines())
    longest = LONGEST_TEST if path.parent.name == "tests" else LONGEST_FILE
    assert length <= longest


@pytest.mark.parametrize("layer", ROOMS)
def test_the_rooms_are_those_of_the_plan(layer: str) -> None:
    rooms = sorted(path.parent.name for path in (ROOT / layer).glob("*/__init__.py"))
    sys.stdout.write("\n".join([f"{layer}/", *(f"    {room}/" for room in rooms)]) + "\n")
    assert tuple(rooms) == ROOMS[layer]
    deeper = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / layer).glob("*/*/*.py")}
    assert deeper == {name for name in DEEPER if name.startswith(f"{layer}/")}
    assert not list((ROOT / layer).glob("*/*/*/*.py"))


def test_the_analysis_has_few_doors() -> None:
    assert len([path for path in (ROOT / "analysis").iterdir() if path.name != "__pycache__"]) <= MOST_ENTRIES


def test_no_module_imports_itself_through_others() -> None:
    known = {
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
        for path in layer_files(*LAYERS)
    }
    own = {name: imported(parse(path)) & set(known) for name, path in known.items()}
    graph = {
        # a package is imported on the way to its modules
        name: {target for target in targets if not any(other.startswith(f"{target}.") for other in targets)}
        for name, targets in own.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_tests_are_flat() -> None:
    # tests/dynamics/__init__.py would shadow the real package
    assert {path.parent for path in (ROOT / "tests").rglob("*.py")} == {ROOT / "tests"}
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_one_version_everywhere() -> None:
    version = pyproject()["project"]["version"]
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    newest = re.search(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert citation is not None
    assert newest is not None
    assert (citation[1], newest[1]) == (version, version)


def test_constraints_are_names_and_versions_and_cover_the_dependencies() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = re.compile(r'([a-z0-9-]+)==[0-9][0-9.a-z]*(; python_version (<|>=) "3\.\d+")?')
    matches = [(line, pin.fullmatch(line)) for line in lines if not line.startswith("#")]
    assert [line for line, match in matches if match is None] == []
    project = pyproject()["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[><=\[]", requirement)[0] for requirement in wanted}
    assert names - {match[1] for _, match in matches if match} == set()


def test_what_is_pinned_for_every_python_takes_the_oldest_one() -> None:
    """A release may ask for a later 3.11 than the first, and whoever has that one could not install."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and ";" not in line)
    refusing, seen = [], 0
    for found in distributions():
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        if pins.get(name) != found.version:
            continue
        seen += 1
        asked = found.metadata.get("Requires-Python")
        if asked and not SpecifierSet(asked).contains("3.11.0"):
            refusing.append(f"{name} {found.version}: {asked}")
    assert refusing == []
    assert seen > 50
