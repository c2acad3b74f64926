"""Runs of the full network as a kind of sweep: rank, spectra and invariants at the end of every run."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.sweeps.kinds import (
    Columns,
    Kind,
    Output,
    Parameter,
    Setting,
    Settings,
    count,
    empty,
    one_of,
    rates,
    status_output,
    tolerance,
)
from dynamics.data.objective_moments import objective_moments
from dynamics.data.starts import draw_start
from dynamics.integration.integrate import METHODS, Status
from dynamics.objectives import OBJECTIVES, linear_objectives
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem
from dynamics.variants import FIELDS

if TYPE_CHECKING:
    from dynamics.data.augmentation import Augmentation
    from dynamics.data.moments import Moments
    from dynamics.data.samples import Dataset

_SOURCES = ("data", "moments", "lambda_s")


def strengths(chain: Sequence[str]) -> list[str]:
    """Names in braces of a chain of augmentations: parameters that say how strong they are.

    >>> strengths(["shift:1", "noise:{noise}"])
    ['noise']
    """
    return [name for spec in chain for _, name, _, _ in string.Formatter().parse(spec) if name is not None]


def _parameters(settings: Settings) -> Mapping[str, Parameter]:
    table = {
        **rates(),
        "dim": Parameter("feature dimension n2", default=8, lower=1, integer=True),
        "init_online": Parameter("s in the start W = s N(0, 1)/√n1, Θ = W", default=0.3, lower=0),
        "init_predictor": Parameter("s in the start P = s N(0, 1)", default=0.1, lower=0),
        "seed": Parameter("seed of the start", lower=0, integer=True, drawn=True),
        "t_end": Parameter(
            "end time; left out, until steady or known to be slow", "time", lower=0, strict=True
        ),
    }
    if settings["objective"] != "byol":
        table["alpha"] = Parameter("weight α of alignment", default=1.0, lower=0)
        table["beta"] = Parameter("weight β of the target", default=1.0, lower=0, strict=True)
    for name in strengths(settings["augment"]):
        if name in table:
            raise ValueError(f"settings.augment must not name a strength like a parameter, got {name!r}")
        table[name] = Parameter("strength of an augmentation", required=True)
    return table


def _chain(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(spec, str) for spec in value):
        raise ValueError(
            f"settings.{name} must be a list such as ['shift:1', 'noise:{{strength}}'], got {value!r}"
        )
    try:
        names = strengths(value)
    except ValueError as error:
        raise ValueError(f"settings.{name} has unpaired braces: {error}") from None
    if not all(strength.isidentifier() for strength in names) or any(len(strengths([x])) > 1 for x in value):
        raise ValueError(f"settings.{name} must have one name in braces an augmentation, got {value!r}")
    return value


def _eigenvalues(name: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not numbers or any(isinstance(x, bool) or not isinstance(x, int | float) for x in numbers):
        raise ValueError(f"settings.{name} must be a list of numbers, got {value!r}")
    return [float(x) for x in numbers]


def _seed(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"settings.{name} must be an integer >= 0, got {value!r}")
    return value


def _source(name: str, value: Any) -> str | None:
    """Where data come from, with an absolute path, for workers run in folders of their own."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"settings.{name} must be a text, got {value!r}")
    published, colon, folder = value.partition(":")
    if colon:
        return f"{published}:{Path(folder).absolute()}"
    return str(Path(value).absolute()) if Path(value).suffix else value


def _check(settings: Settings, taken: Columns) -> None:
    given = [name for name in _SOURCES if settings[name] is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise ValueError(f"settings must give one of data, moments, and lambda_s with lambda_d, got {got}")
    if (settings["lambda_s"] is None) != (settings["lambda_d"] is None):
        raise ValueError("settings must give lambda_s and lambda_d together")
    if settings["augment"] and settings["data"] is None:
        raise ValueError("settings.augment must go with settings.data")
    if settings["data"] is None:
        _moments(_key(settings), ())
        return
    shape = _dataset(settings["data"]).images.shape[1:]
    for spec in settings["augment"]:
        for value in [taken[name].tolist() for name in strengths([spec])] or [[None]]:
            for strength in value:
                _augmentation(spec, strength, settings["data_seed"]).check(shape)


def _key(settings: Settings) -> str:
    names = ("data", "moments", "lambda_s", "lambda_d", "augment", "data_seed")
    return json.dumps({name: settings[name] for name in names})


@lru_cache(maxsize=1)
def _dataset(source: str) -> Dataset:
    from dynamics.data.datasets import load

    return load(source)


def _augmentation(spec: str, strength: float | None, seed: int) -> Augmentation:
    from dynamics.data.views import parse

    for name in strengths([spec]):
        assert strength is not None
        spec = spec.replace(f"{{{name}}}", f"{strength:g}" if strength.is_integer() else repr(strength))
    return parse(spec, seed=seed)


@lru_cache(maxsize=8)
def _moments(key: str, values: tuple[float, ...]) -> Moments:
    from dynamics.data.dataset_moments import dataset_moments
    from dynamics.data.moments import Moments, load_moments

    source = json.loads(key)
    if source["moments"] is not None:
        return load_moments(source["moments"])
    if source["lambda_s"] is not None:
        return Moments.from_eigenvalues(source["lambda_s"], source["lambda_d"])
    strength = dict(zip(strengths(source["augment"]), values, strict=True))
    chain = [
        _augmentation(spec, next((strength[name] for name in strengths([spec])), None), source["data_seed"])
        for spec in source["augment"]
    ]
    return dataset_moments(_dataset(source["data"]), chain, seed=source["data_seed"])


def _fingerprint(settings: Settings) -> str | None:
    """Digest of the file that a sweep reads, so that it is not continued with another one; None without a file."""
    source = settings["moments"] or settings["data"]
    path = Path(str(source).partition(":")[2] or str(source))
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if path.is_dir():  # published data sets, gigabytes: names and sizes tell them apart
        listing = sorted((str(item.relative_to(path)), item.stat().st_size) for item in path.rglob("*"))
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    return None


def _outputs(settings: Settings, taken: Columns) -> Mapping[str, Output]:
    component = (("component", int(np.max(taken["dim"]))),)
    return {
        "rank": Output("int32", "rank of W at the end"),
        "rank_floor": Output("int32", "rank that W cannot fall below (R8); -1 where not known"),
        "online_singular_values": Output(
            "float64", "singular values of W at the end, descending", dims=component
        ),
        "predictor_eigenvalues_re": Output(
            "float64", "real parts of the eigenvalues of P at the end, descending", dims=component
        ),
        "predictor_eigenvalues_im": Output(
            "float64", "imaginary parts of the eigenvalues of P at the end", dims=component
        ),
        "resonance_error": Output("float64", "distance of P's eigenvalues on W from the spectrum of M (R18)"),
        "drift": Output("float64", "largest departure of C = τo W Wᵀ − τp Pᵀ P from exp(−2ηt) C(0)", "time"),
        "t": Output("float64", "time at the end", "time"),
        "status": status_output(tuple(Status)),
        "n_steps": Output("int32", "accepted steps"),
        "n_field_evaluations": Output("int64", "evaluations of the vector field"),
    }


def _start(moments: Moments, row: Mapping[str, Any]) -> MatrixState:
    """Draw the start that `dyn simulate --dim --init-online --init-predictor --seed` draws."""
    sizes = {name: row[name] for name in ("init_online", "init_predictor")}
    return draw_start(moments, int(row["dim"]), **sizes, seed=int(row["seed"]))


def _system(moments: Moments, settings: Settings, row: Mapping[str, Any]) -> MatrixSystem:
    pair = objective_moments(
        settings["objective"], moments, *(row[name] for name in OBJECTIVES[settings["objective"]].weights)
    )
    return MatrixSystem(*pair, **{name: row[name] for name in rates()})


def _run(settings: Settings, columns: Columns, outputs: Mapping[str, Output]) -> Columns:
    from threadpoolctl import threadpool_limits

    n = len(columns["dim"])
    results = empty(outputs, n)
    # sums in BLAS depend on its threads; one thread gives a worker the values that a serial run gets
    with threadpool_limits(1):
        for i in range(n):
            values = _one(settings, {name: column[i].item() for name, column in columns.items()})
            for name, value in values.items():
                results[name][i : i + 1].reshape(-1)[: np.size(value)] = value
    return results


def _one(settings: Settings, row: Mapping[str, Any]) -> Mapping[str, Any]:
    from analysis.runs.simulation import simulate_matrices

    moments = _moments(_key(settings), tuple(row[name] for name in strengths(settings["augment"])))
    run = simulate_matrices(
        _start(moments, row),
        _system(moments, settings, row),
        FIELDS[settings["variant"]],
        row.get("t_end"),
        **{name: settings[name] for name in ("rtol", "atol", "max_steps", "method")},
    )
    eigenvalues = np.linalg.eigvals(run.trajectory.final.predictor)
    eigenvalues = eigenvalues[np.lexsort((eigenvalues.imag, -eigenvalues.real))]
    return {
        "rank": run.rank,
        "rank_floor": -1 if run.rank_floor is None else run.rank_floor,
        "online_singular_values": run.online_singular_values,
        "predictor_eigenvalues_re": eigenvalues.real,
        "predictor_eigenvalues_im": eigenvalues.imag,
        "resonance_error": run.resonance_error,
        "drift": run.drift,
        "t": run.trajectory.t,
        "status": list(Status).index(run.trajectory.status),
        "n_steps": run.trajectory.n_steps,
        "n_field_evaluations": run.trajectory.n_field_evaluations,
    }


MATRICES = Kind(
    settings={
        "variant": Setting("full", one_of(*FIELDS)),
        "objective": Setting("byol", one_of(*linear_objectives())),
        "data": Setting(None, _source),
        "augment": Setting([], _chain),
        "data_seed": Setting(0, _seed),
        "moments": Setting(None, _source),
        "lambda_s": Setting(None, _eigenvalues),
        "lambda_d": Setting(None, _eigenvalues),
        "method": Setting("auto", one_of(*METHODS)),
        "rtol": Setting(1e-8, tolerance),
        "atol": Setting(1e-10, tolerance),
        "max_steps": Setting(100_000, count),
    },
    parameters=_parameters,
    check=_check,
    outputs=_outputs,
    run=_run,
    fingerprint=_fingerprint,
)
"""The full network on the moments of data, of a file, or of given eigenvalues; one run a start."""
