"""`dyn explore`: the phase plane of one mode in a browser."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from typing import Annotated

from commands.declaration import OUTPUT, START, SYSTEM, OneOf, command, numeric, option
from commands.options import variant_names
from commands.output import QuietOption, ShowOptions, note
from dynamics.objectives import linear_objectives


@dataclass(frozen=True)
class ExploredMode:
    """One mode, and where its trajectory starts."""

    lambda_s: Annotated[float, numeric("--lambda-s", panel=SYSTEM, help="Eigenvalue of Σs (1).")] = 1.0
    lambda_d: Annotated[float, numeric("--lambda-d", panel=SYSTEM, help="Eigenvalue of Σd (0.5).")] = 0.5
    tau_online: Annotated[float, numeric("--tau-online", panel=SYSTEM, help="τo > 0 (1).")] = 1.0
    tau_predictor: Annotated[float, numeric("--tau-predictor", panel=SYSTEM, help="τp > 0 (1).")] = 1.0
    tau_target: Annotated[float, numeric("--tau-target", panel=SYSTEM, help="τt > 0 (1).")] = 1.0
    weight_decay: Annotated[float, numeric("--weight-decay", panel=SYSTEM, help="η >= 0 (0).")] = 0.0
    variant: Annotated[
        str, option("--variant", panel=SYSTEM, help="Variant of the flow (full)."), OneOf(variant_names)
    ] = "full"
    objective: Annotated[
        str,
        option("--objective", panel=SYSTEM, help="Objective, linear with squared error (byol)."),
        OneOf(linear_objectives),
    ] = "byol"
    online: Annotated[float, numeric("--online", panel=START, help="w1 (0.1).")] = 0.1
    predictor: Annotated[float, numeric("--predictor", panel=START, help="w2 (0.1).")] = 0.1
    target: Annotated[
        float, numeric("--target", panel=START, help="θ, of the slice that is drawn, too (0.1).")
    ] = 0.1


@command("explore", epilog="Example: dyn explore --lambda-d 0.7 --weight-decay 0.04 --no-browser")
def explore(
    mode: ExploredMode,
    port: Annotated[int, option("--port", panel=OUTPUT, help="Port of 127.0.0.1; 0 picks one (0).")] = 0,
    no_browser: Annotated[
        bool, option("--no-browser", panel=OUTPUT, help="Print the address, and open no browser.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Serve the phase plane until Ctrl-C, and print its address."""
    from figures.explorer.server import Explorer
    from figures.explorer.state import View

    output = ShowOptions(quiet=quiet)
    explorer = Explorer(View(**{item.name: getattr(mode, item.name) for item in fields(mode)}), port)
    print(explorer.address, flush=True)
    note("Ctrl-C ends it", output)
    if not no_browser and not _opened(explorer.address):
        note("no browser could be opened: copy the address into one", output)
    explorer.serve()


def _opened(address: str) -> bool:
    """Open a browser with a window of its own; one in the terminal would hide the address."""
    import webbrowser

    unix = sys.platform not in ("win32", "darwin")
    if unix and not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        return False
    return webbrowser.open(address)
