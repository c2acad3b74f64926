"""One-mode ensembles as a kind of sweep: w1, w2, θ at the end of every trajectory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.sweeps.kinds import (
    Columns,
    Kind,
    Output,
    Parameter,
    Setting,
    Settings,
    count,
    one_of,
    rates,
    status_output,
    tolerance,
    word_output,
)
from dynamics.integration.ensemble import FATES, STATUSES, integrate_ensemble
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS

_COMPILED = {name: row for name, row in VARIANTS.items() if row.kind is not None}

_PARAMETERS = {
    "lambda_s": Parameter("eigenvalue λs of Σs", required=True),
    "lambda_d": Parameter("eigenvalue λd of Σd"),
    "ratio": Parameter("eigenvalue r = λd/λs of M"),
    **rates(),
    "online": Parameter("start of the online weight w1", default=0.1),
    "predictor": Parameter("start of the predictor weight w2", default=0.1),
    "target": Parameter("start of the target weight θ", default=0.1),
    "t_end": Parameter("end time; until rest when left out", "time", np.inf, lower=0, strict=True),
}


def _parameters(settings: Settings) -> Mapping[str, Parameter]:
    if settings["variant"] != "tied":
        return _PARAMETERS
    slaved = ("predictor", "tau_predictor")  # equal to online and tau_online: there is nothing to give
    return {name: parameter for name, parameter in _PARAMETERS.items() if name not in slaved}


def _check(settings: Settings, taken: Columns) -> None:
    given = [name for name in ("lambda_d", "ratio") if name in taken]
    if len(given) != 1:
        got = "both" if given else "neither"
        raise ValueError(f"parameters must give one of lambda_d and ratio, got {got}")


def _outputs(settings: Settings, taken: Columns) -> Mapping[str, Output]:
    return {
        "final_online": Output("float64", "online weight w1 at the end"),
        "final_predictor": Output("float64", "predictor weight w2 at the end"),
        "final_target": Output("float64", "target weight θ at the end"),
        "t": Output("float64", "time that was integrated to", "time"),
        "status": status_output(STATUSES),
        "fate": word_output(FATES, "what the run did: learned or collapsed where it has shown it"),
        "n_accepted": Output("uint32", "accepted steps"),
        "n_rejected": Output("uint32", "rejected steps"),
        "drift": Output("float64", "departure of c = τo w1² − τp w2² from exp(−2ηt) c(0) at the end", "time"),
    }


def _run(settings: Settings, columns: Columns, outputs: Mapping[str, Output]) -> Columns:
    given = {name: _one_if_equal(column) for name, column in columns.items()}
    if settings["variant"] == "tied":
        given |= {"predictor": given["online"], "tau_predictor": given["tau_online"]}
    lambda_s = columns["lambda_s"]
    lambda_d = columns["lambda_d"] if "lambda_d" in columns else columns["ratio"] * lambda_s
    ensemble = integrate_ensemble(
        ModeState(*(given[part] for part in ModeState._fields)),
        ModeSystem(lambda_s, lambda_d, **{name: given[name] for name in rates()}),
        VARIANTS[settings["variant"]].mode_field,
        given["t_end"],
        **{name: settings[name] for name in ("rtol", "atol", "max_steps", "device")},
    )
    w1, w2, th = ensemble.final
    found = (
        w1,
        w2,
        th,
        ensemble.t,
        ensemble.status,
        ensemble.fate,
        ensemble.n_accepted,
        ensemble.n_rejected,
        ensemble.drift,
    )
    return dict(zip(outputs, found, strict=True))


def _prepare(settings: Settings) -> None:
    system = ModeSystem(1.0, 0.5)
    integrate_ensemble(
        system.state(), system, VARIANTS[settings["variant"]].mode_field, 1.0, device=settings["device"]
    )


def _one_if_equal(column: np.ndarray) -> np.ndarray | float:
    """A constant column as one number, which need not be copied for every run."""
    return float(column[0]) if column.strides == (0,) else column


MODES = Kind(
    settings={
        "variant": Setting("full", one_of(*_COMPILED)),
        "rtol": Setting(1e-6, tolerance),
        "atol": Setting(1e-9, tolerance),
        "max_steps": Setting(100_000, count),
        "device": Setting("cpu", one_of("cpu", "cuda")),
    },
    parameters=_parameters,
    check=_check,
    outputs=_outputs,
    run=_run,
    prepare=_prepare,
)
"""Decoupled eigenmodes (R3), one trajectory of (w1, w2, θ) a run."""
