"""The command lines that reproduce a view of the explorer."""

from __future__ import annotations

import shlex

import numpy as np

from analysis.phase_planes.planes import ON_LEAVES
from dynamics.objectives import OBJECTIVES
from dynamics.states import ModeState
from figures.explorer.scene import is_slice, on_plane, plane_of
from figures.explorer.state import LEAF_PLANE, STEPS, WEIGHTS_PLANE, View
from figures.gallery.own_portrait import WITH_PLANE


def simulate_command(view: View) -> str:
    """Return the `dyn simulate` that runs the trajectory of a view.

    >>> simulate_command(View(weight_decay=0.04))
    'dyn simulate --lambda-s 1 --lambda-d 0.5 --weight-decay 0.04 --online 0.1 --predictor 0.1 --target 0.1'
    """
    start = view.start
    words = [*_system_words(view)]
    for name in ModeState._fields:
        words += [f"--{name}", _text(float(getattr(start, name).item()))]
    if view.step:
        words += ["--step", _text(view.step), "--t-end", _text(STEPS * view.step)]
    return shlex.join(["dyn", "simulate", *words])


def basins_command(view: View) -> str | None:
    """Return the `dyn basins` that follows the starts of the window, None where they lie on a leaf.

    >>> print(basins_command(View(plane="leaf")))
    None
    """
    if view.shown_plane == LEAF_PLANE and view.variant in ON_LEAVES:
        return None
    axes = ("online", "predictor" if view.shown_plane == WEIGHTS_PLANE else "target")
    bounds = f"{_text(-view.extent)}:{_text(view.extent)}"
    words = ["--plane", ",".join(axes)]
    for axis in axes:
        words += ["--range", f"{axis}:{bounds}"]
    words += ["--at", _text(view.target if view.shown_plane == WEIGHTS_PLANE else view.predictor)]
    return shlex.join(["dyn", "basins", *_system_words(view), *words, "--plot", "basins.png"])


def figure_command(view: View) -> str | None:
    """Return the `dyn figure portrait` of the plane of a view and its trajectories in it.

    None for a slice, which is no plane of the flow, and for the fast predictor, which has no portrait.

    >>> print(figure_command(View(variant="no-ema")))
    dyn figure portrait --lambda-s 1 --lambda-d 0.5 --variant no-ema --start 0.1,0.1 --extent 1.5 --plot portrait.png
    """
    if is_slice(view) or view.variant not in WITH_PLANE:
        return None
    # words of the system leave out the default variant of `dyn simulate`, which is not that of the figure
    words = ["--variant", view.variant] if view.variant == View.variant else []
    if view.variant == "fixed-target":
        words += ["--target", _text(view.target)]
    if view.variant in ON_LEAVES and not view.weight_decay:
        words += ["--invariant", _text(view.invariant)]
    plane = plane_of(view)
    starts = [one.start for one in (view, *_of_the_same_flow(view)) if on_plane(view, one.start)]
    if view.step:
        starts = []  # a portrait has trajectories of the flow alone
    for start in starts:
        u, v = (float(np.squeeze(part)) for part in plane.coordinates(start))
        words += ["--start", f"{_text(u)},{_text(v)}"]
    if not starts:
        words += ["--start", "none"]
    words += ["--extent", _text(view.extent), "--plot", "portrait.png"]
    return shlex.join(["dyn", "figure", "portrait", *_system_words(view), *words])


def _of_the_same_flow(view: View) -> list[View]:
    """Frozen trajectories that differ from that of a view in their starts alone."""
    return [one for one in view.kept if view.with_start(one.start).run_view() == one]


def commands_of(view: View) -> list[str]:
    """Every command that reproduces a part of a view.

    >>> [command.split()[1] for command in commands_of(View(variant="tied"))]
    ['simulate', 'figure', 'basins']
    """
    found = [simulate_command(view), figure_command(view), basins_command(view)]
    return [command for command in found if command is not None]


def _system_words(view: View) -> list[str]:
    words = ["--lambda-s", _text(view.lambda_s), "--lambda-d", _text(view.lambda_d)]
    names = ("tau_online", "tau_predictor", "tau_target", "weight_decay", "variant", "objective")
    for name in (*names, *OBJECTIVES[view.objective].weights):
        if (value := getattr(view, name)) != getattr(View, name):
            words += [_flag(name), value if isinstance(value, str) else _text(value)]
    return words


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _text(value: float) -> str:
    """Shortest text that reads as the same number."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
