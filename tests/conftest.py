"""Set-up that every test shares: float64, Agg, one compilation cache, and the command line as a subprocess."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import jax
import matplotlib
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A hung command should fail its own test, not the whole run. No test asserts a time.
HANG_S = 600

jax.config.update("jax_enable_x64", True)
matplotlib.use("Agg")

# The first example compiles, so neither a deadline nor "too slow" says anything about the code under test.
hypothesis.settings.register_profile(
    "dyn",
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("dyn")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code under pytest's cache, for the commands that tests start and for the next run."""
    # Shells start background jobs with Ctrl-C ignored, and the commands that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if getattr(config, "cache", None) is None:  # pytest -p no:cacheprovider
        return
    # One folder a worker: JAX does not lock its cache, so another worker could read what is half written.
    folder = config.cache.mkdir(f"jax-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}")
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.2,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture(autouse=True)
def same_numbers_in_any_order(request: pytest.FixtureRequest) -> None:
    """Start the generator RNG of a module anew for every test: which tests ran before it does not matter."""
    rng = getattr(request.module, "RNG", None)
    if rng is not None:
        rng.bit_generator.state = type(rng.bit_generator)(rng.bit_generator.seed_seq).state


@pytest.fixture
def run_dyn(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`run_dyn("simulate", "--json", ...)` runs the installed command in a folder of its own.

    Keyword arguments: `cwd` (the test's `tmp_path`), `env` (variables to add), `stdin` (text). The exit code is
    not checked: read `returncode`, `stdout` and `stderr`.
    """
    command = Path(sys.executable).with_name("dyn")
    assert command.exists(), f"{command} is missing: run `make install`"

    def run(
        *args: object, cwd: Path = tmp_path, env: dict[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *map(str, args)],
            cwd=cwd,
            env=command_environment() | (env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    return run


@pytest.fixture
def dyn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    """Run the command line in this process, in an empty folder; return exit code, standard output and error."""
    from cli import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as stop:
            app([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def report_of(dyn: Callable[..., tuple[Any, str, str]], *arguments: object) -> dict[str, Any]:
    """Run a command that has to end well, and read its JSON."""
    code, out, err = dyn(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def command_environment() -> dict[str, str]:
    """Environment for commands: this environment's `dyn` and `python` first, plain output of a fixed width."""
    forced = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "CLICOLOR_FORCE", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in forced}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return kept | {"PATH": path, "COLUMNS": "120", "NO_COLOR": "1"}
