"""Modules that run in plain Python and are compiled as one: the same results, one meaning a name, nothing stale."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from single_modes import IDS, RATES, ROWS, rates_for
from test_architecture import ROOT, parse

from dynamics.integration import explicit_pair, mode_course
from dynamics.variants import Variant

Written = Callable[..., list[ModuleType]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write texts to files, but for those that are there, and run them as modules that see each other by name."""

    def write(**texts: str) -> list[ModuleType]:
        modules = []
        with pytest.MonkeyPatch.context() as patch:
            for name, text in texts.items():
                path = tmp_path / f"{name}.py"
                if not path.exists() or path.read_text(encoding="utf-8") != text:
                    path.write_text(text, encoding="utf-8")
                module = ModuleType(name)
                module.__file__ = str(path)
                patch.setitem(sys.modules, name, module)
                exec(compile(text, path, "exec"), vars(module))
                modules.append(module)
        return modules

    return write


def test_what_is_kept_of_a_function_goes_by_the_texts_of_all_modules(written: Written) -> None:
    """Numba's cache by itself sees no change of a file but the function's own."""
    second = "from first import inner\n\ndef outer(x):\n    return inner(x) + 1\n"
    for factor in (2, 3):
        modules = written(first=f"def inner(x):\n    return {factor} * x\n", second=second)
        outer = explicit_pair._compiled(*modules)["outer"]
        assert outer(1.5) == modules[1].outer(1.5) == factor * 1.5 + 1
        assert outer.stats.cache_misses.total() == 1
        # of the same texts it is loaded
        again = explicit_pair._compiled(*modules)["outer"]
        assert again(1.5) == factor * 1.5 + 1
        assert again.stats.cache_hits.total() == 1


def test_a_name_with_two_meanings_is_refused(written: Written) -> None:
    own = "def _own(x):\n    return {}\n"
    with pytest.raises(ValueError, match=r"^_own of second is another thing in a module before it$"):
        explicit_pair._compiled(*written(first=own.format("x"), second=own.format("-x")))
    # one that is imported is the same thing
    modules = written(
        first="HALF = 0.5\n", second="from first import HALF\n\ndef f(x):\n    return HALF * x\n"
    )
    assert explicit_pair._compiled(*modules)["f"](3.0) == 1.5


def test_the_modules_of_a_mode_use_no_others() -> None:
    """What they import from another one would not be compiled, nor be part of a key."""
    own = {module.__name__ for module in explicit_pair._MODULES}
    for name in own:
        path = ROOT / f"{name.replace('.', '/')}.py"
        used = {node.module for node in ast.walk(parse(path)) if isinstance(node, ast.ImportFrom)}
        assert used - own == {"__future__", "typing"}


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_trajectory_is_the_same_in_plain_python_and_compiled(row: Variant) -> None:
    form, start = (row.kind, *row.direct), (0.3, 0.3, 0.3)
    for end, eta in ((3.0, 0.0), (40.0, 0.02)):
        rates = rates_for(row, (*RATES[:5], eta))
        found = []
        for run in (mode_course.brought_to_its_end, explicit_pair.brought_to_its_end):
            saved = tuple(np.full((1, 1), np.nan) for _ in range(3))
            # of the type that kernels pass, for which it is compiled in any case
            times = np.array([end / 2, np.nan])[::2]
            times.flags.writeable = False
            result = run(form, start, start, 0.0, rates, end, 1e-7, 1e-9, 10_000, times, 0, 0, saved)
            found.append((*result[0], *result[1:], *(part.item() for part in saved)))
        # outcome, fate and tries; then the same operations, but for the elementary functions of two libraries: a few
        # roundings in each of at most 150 steps
        assert found[0][4:8] == found[1][4:8]
        assert all(math.isclose(x, y, rel_tol=150 * 4 * 2.0**-52) for x, y in zip(*found, strict=True))
