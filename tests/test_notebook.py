"""Results show themselves in a running IPython, and nothing is imported or changed otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest

from analysis.fixed_points.one_mode import fixed_points
from dynamics.system import ModeSystem
from figures.results import notebook
from figures.results.notebook import SHOWN, enable


class Formatter:
    """Keeps what IPython's own formatter would be told."""

    def __init__(self) -> None:
        self.drawers: dict[tuple[str, str], Callable[[Any], bytes]] = {}

    def for_type_by_name(self, module: str, name: str, draw: Callable[[Any], bytes]) -> None:
        self.drawers[module, name] = draw


def shell() -> tuple[Any, Formatter]:
    formatter = Formatter()
    return SimpleNamespace(display_formatter=SimpleNamespace(formatters={"image/png": formatter})), formatter


def pixels(picture: bytes, folder: Path) -> np.ndarray:
    from matplotlib.image import imread

    path = folder / "shown.png"
    path.write_bytes(picture)
    return imread(path)


def test_every_type_and_drawer_exists() -> None:
    for (module, name), where in SHOWN.items():
        assert isinstance(getattr(import_module(module), name), type)
        drawer, function = where.split(":")
        assert callable(getattr(import_module(drawer), function))


@pytest.mark.parametrize(("theme", "corner"), [("light", 1.0), ("dark", 0x16 / 255)])
def test_fixed_points_become_a_picture(theme: str, corner: float, tmp_path: Path) -> None:
    running, formatter = shell()
    enable(running, theme=theme)
    before = dict(matplotlib.rcParams)
    picture = formatter.drawers["analysis.fixed_points.one_mode", "FixedPoints"](
        fixed_points(ModeSystem(1.0, 0.5))
    )
    assert pixels(picture, tmp_path)[0, 0, 0] == pytest.approx(corner, abs=1e-6)
    assert dict(matplotlib.rcParams) == before


def test_the_running_shell_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    running, formatter = shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: running))
    enable()
    assert set(formatter.drawers) == set(SHOWN)


@pytest.mark.parametrize("found", [None, SimpleNamespace(get_ipython=lambda: None)])
def test_without_a_shell_it_says_so(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if found is None:
        monkeypatch.delitem(sys.modules, "IPython", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "IPython", found)
    with pytest.raises(RuntimeError, match="in a running IPython only, such as a notebook; there is none"):
        enable()


def test_unknown_themes_are_refused() -> None:
    with pytest.raises(ValueError, match="`theme` must be one of light, dark, got 'sepia'"):
        enable(shell()[0], theme="sepia")


def test_enabling_imports_no_page() -> None:
    code = (
        "import sys, types, figures.results.notebook as n\n"
        "f = types.SimpleNamespace(for_type_by_name=lambda *a: None)\n"
        "n.enable(types.SimpleNamespace(display_formatter=types.SimpleNamespace(formatters={'image/png': f})))\n"
        "known = {'figures', 'figures.results', 'figures.results.notebook', 'figures.style'}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('figures', 'matplotlib', 'IPython') and m not in known])"
    )
    root = Path(notebook.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "name"), SHOWN)
def test_shown_types_are_named_by_the_module_that_defines_them(module: str, name: str) -> None:
    assert getattr(import_module(module), name).__module__ == module
