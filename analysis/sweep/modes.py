"""One-mode ensembles as a kind of sweep: w1, w2, θ at the end of every trajectory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.sweep.kinds import (
    Columns,
    Kind,
    Output,
    Parameter,
    Setting,
    Settings,
    count,
    one_of,
    positive,
    rates,
    status_output,
)
from dynamics.mode_fields import MODE_FIELDS
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_PARAMETERS = {
    "lambda_s": Parameter("eigenvalue λs of Σs", required=True),
    "lambda_d": Parameter("eigenvalue λd of Σd"),
    "ratio": Parameter("eigenvalue r = λd/λs of M"),
    **rates(),
    "online": Parameter("start of the online weight w1", default=0.1),
    "predictor": Parameter("start of the predictor weight w2", default=0.1),
    "target": Parameter("start of the target weight θ", default=0.1),
    "t_end": Parameter("end time", "time", required=True, lower=0, strict=True),
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
        "t": Output("float64", "time at the end", "time"),
        "status": status_output(),
        "n_accepted": Output("int32", "accepted steps"),
        "n_rejected": Output("int32", "rejected steps"),
        "drift": Output("float64", "largest departure of c = τo w1² − τp w2² from exp(−2ηt) c(0)", "time"),
    }


def _run(settings: Settings, columns: Columns, results: Mapping[str, np.ndarray]) -> None:
    from dynamics.integrate import Status, integrate
    from dynamics.invariants import balance_drift

    columns = dict(columns)
    if settings["variant"] == "tied":
        columns |= {"predictor": columns["online"], "tau_predictor": columns["tau_online"]}
    if "ratio" in columns:
        columns["lambda_d"] = columns["ratio"] * columns["lambda_s"]
    codes = list(Status)
    for i in range(len(columns["online"])):
        system = ModeSystem(**{k: float(columns[k][i]) for k in ("lambda_s", "lambda_d", *rates())})
        start = system.state(*(columns[k][i] for k in ModeState._fields))
        options = {k: settings[k] for k in ("rtol", "atol", "max_steps")}
        field = MODE_FIELDS[settings["variant"]]
        tr = integrate(start, system, field, float(columns["t_end"][i]), **options)
        f = tr.final
        row = (f.online[0], f.predictor[0], f.target[0], tr.t, codes.index(tr.status), tr.n_steps)
        row += (tr.n_rejected, balance_drift(tr.ts, tr.states, system)[0])
        for result, value in zip(results.values(), row, strict=True):
            result[i] = value


MODES = Kind(
    settings={
        "variant": Setting("full", one_of(*MODE_FIELDS)),
        "rtol": Setting(1e-6, positive),
        "atol": Setting(1e-9, positive),
        "max_steps": Setting(100_000, count),
        "device": Setting("cpu", one_of("cpu", "cuda")),
    },
    parameters=_parameters,
    check=_check,
    outputs=_outputs,
    run=_run,
)
"""Decoupled eigenmodes (R3), one trajectory of (w1, w2, θ) a run."""
