"""Restarts of the predictor: their options and their table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from commands.declaration import RUN, OneOf, numeric, option
from commands.output import print_table
from commands.simulations.tables import LISTED, prediction_text

if TYPE_CHECKING:
    from analysis.runs.restarts import Restarts


def law_names() -> list[str]:
    """Laws of a fresh predictor."""
    from dynamics.exact.restarts import LAWS

    return list(LAWS)


@dataclass(frozen=True)
class RestartOptions:
    """A fresh predictor every now and then."""

    restart_every: Annotated[
        float | None, numeric("--restart-every", panel=RUN, help="Draw the predictor anew after this time.")
    ] = None
    restart_scale: Annotated[
        float | None, numeric("--restart-scale", panel=RUN, help="Scale a > 0 of its weights (0.1).")
    ] = None
    restart_law: Annotated[
        str | None,
        option("--restart-law", panel=RUN, help="uniform in ±a, positive in [0, a], or normal (uniform)."),
        OneOf(law_names),
    ] = None

    @property
    def restarts(self) -> Restarts | None:
        """When and from what law; None without restarts."""
        from analysis.runs.restarts import Restarts
        from dynamics.exact.restarts import RestartLaw

        if self.restart_every is None:
            for name in ("restart_scale", "restart_law"):
                if (value := getattr(self, name)) is not None:
                    raise ValueError(f"`{name}` must go with --restart-every, got {value} alone")
            return None
        scale = 0.1 if self.restart_scale is None else self.restart_scale
        if not 0 < scale < math.inf:
            raise ValueError(f"`restart_scale` must be finite and > 0, got {scale:g}")
        return Restarts(self.restart_every, RestartLaw(scale, self.restart_law or "uniform"))


def print_restarts(restarts: dict[str, Any], *, as_modes: bool) -> None:
    """Print a row per restart, and per mode where modes run one by one."""
    events = restarts["events"]
    if as_modes:
        columns = ["restart", "t", "mode", "fresh w2", "fate", "predicted", "|w1| predicted", "w1 at the end"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                str(j + 1),
                f"{mode['predictor']:.6g}",
                mode["fate"],
                prediction_text(mode),
                "–" if mode["predicted"]["amplitude"] is None else f"{mode['predicted']['amplitude']:.6g}",
                f"{mode['online']:.6g}",
            ]
            for k, event in enumerate(events[:LISTED])
            for j, mode in enumerate(event["modes"])
        ]
    else:
        columns = ["restart", "t", "‖P‖", "rank floor", "rank at the end", "τo ‖W‖² before", "after"]
        rows = [
            [
                str(k + 1),
                f"{event['t']:.6g}",
                f"{event['predictor_norm']:.4g}",
                "–" if event["rank_floor"] is None else str(event["rank_floor"]),
                str(event["rank"]),
                *(f"{value:.6g}" for value in event["online_trace"]),
            ]
            for k, event in enumerate(events[:LISTED])
        ]
    more = f"and {len(events) - LISTED} more restarts (--json lists them)" if len(events) > LISTED else ""
    print_table(columns, rows, more)
