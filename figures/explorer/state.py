"""What the explorer shows, as one immutable value: to and from the query string of its address, and as commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np

from analysis.fixed_points.bifurcations import PARAMETERS
from dynamics.data.moments import Moments
from dynamics.data.systems import mode_system
from dynamics.fields.vector_field import VectorField
from dynamics.objectives import OBJECTIVES, linear_objectives
from dynamics.states import ModeState
from dynamics.system import ModeSystem
from dynamics.variants import VARIANTS
from figures.style import THEMES

WEIGHTS_PLANE, LEAF_PLANE = "weights", "leaf"
PLANES = (WEIGHTS_PLANE, LEAF_PLANE)
"""The plane (w1, w2), and the plane on which the flow of the variant closes: the leaf of c for the full flow."""

CHOOSES = ("full", "symmetric-predictor")
"""Variants that are shown in either plane."""
IN_WEIGHTS = ("fixed-target", "no-ema", "no-stop-gradient")
"""Variants whose flow closes in (w1, w2); all others set w2 from w1, and are shown in (w1, θ)."""

STEPS = 1000
"""Steps of a run of gradient descent."""
MOST_KEPT = 12
"""Frozen trajectories at most."""

_WORDS = {
    "variant": tuple(VARIANTS),
    "objective": tuple(linear_objectives()),
    "plane": PLANES,
    "parameter": PARAMETERS,
    "theme": tuple(THEMES),
}
_RUN = (
    *("lambda_s", "lambda_d", "objective", "alpha", "beta", "variant"),
    *("tau_online", "tau_predictor", "tau_target", "weight_decay", "step"),
    *("online", "predictor", "target"),
)
"""What a run depends on."""


@dataclass(frozen=True)
class View:
    """One view of the explorer.

    Parameters
    ----------
    lambda_s, lambda_d
        λs > 0 and λd of the views, 0 <= λd <= λs.
    tau_online, tau_predictor, tau_target, weight_decay
        τo, τp, τt > 0 and η >= 0.
    variant, objective, alpha, beta
        Names of a variant and of an objective of BYOL's kind, and the objective's α and β.
    step
        ε of gradient descent; 0 is the flow.
    plane
        "weights" or "leaf".
    invariant
        c of the leaf.
    online, predictor, target
        Start w1, w2, θ of the trajectory; θ is that of the slice of the plane (w1, w2), too.
    extent
        Half the width of the window.
    parameter
        What moves in the bifurcation diagram.
    theme
        "light" or "dark".
    kept
        Frozen trajectories, each as the view in which it was run.

    Raises
    ------
    ValueError
        A name is unknown, a number out of range, or the variant is not defined for the system.

    Examples
    --------
    >>> View(lambda_d=0.7).query()
    'lambda_d=0.7'
    >>> View.from_query("lambda_d=0.7") == View(lambda_d=0.7)
    True
    """

    lambda_s: float = 1.0
    lambda_d: float = 0.5
    tau_online: float = 1.0
    tau_predictor: float = 1.0
    tau_target: float = 1.0
    weight_decay: float = 0.0
    variant: str = "full"
    objective: str = "byol"
    alpha: float = 1.0
    beta: float = 1.0
    step: float = 0.0
    plane: str = WEIGHTS_PLANE
    invariant: float = -0.1
    online: float = 0.1
    predictor: float = 0.1
    target: float = 0.1
    extent: float = 1.5
    parameter: str = "weight-decay"
    theme: str = "light"
    kept: tuple[View, ...] = ()

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ValueError(f"`{name}` must be one of {', '.join(words)}, got {getattr(self, name)!r}")
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(item.default, float) and not isfinite(value):
                raise ValueError(f"`{item.name}` must be finite, got {value}")
        if self.extent <= 0:
            raise ValueError(f"`extent` must be > 0, got {self.extent}")
        if self.step < 0:
            raise ValueError(f"`step` must be >= 0, got {self.step}")
        if self.step > 0 and self.variant != "full":
            raise ValueError(
                f"`step` must be 0 for every variant but full, got {self.step} with {self.variant}"
            )
        if self.step > self.tau_target:
            raise ValueError(f"`step` must be <= `tau_target` {self.tau_target}, got {self.step}")
        if self.parameter in ("alpha", "beta") and self.parameter not in OBJECTIVES[self.objective].weights:
            raise ValueError(
                f"`parameter` must be another than {self.parameter} for `objective` {self.objective}, got it"
            )
        if len(self.kept) > MOST_KEPT:
            raise ValueError(f"`kept` must hold at most {MOST_KEPT} trajectories, got {len(self.kept)}")
        if any(one.kept for one in self.kept):
            raise ValueError("`kept` must hold views that keep none themselves, got one that does")
        system = self.system
        if self.variant == "tied":  # w2 follows w1, whatever is given
            self.field.require(system.state(self.online, self.online, self.target), system)

    @property
    def system(self) -> ModeSystem:
        """The mode, with the moments of the objective's flow (R24, R26)."""
        given = {name: getattr(self, name) for name in OBJECTIVES[self.objective].weights}
        names = ("tau_online", "tau_predictor", "tau_target", "weight_decay")
        return mode_system(
            Moments.from_eigenvalues([self.lambda_s], [self.lambda_d]),
            OBJECTIVES[self.objective],
            self.variant,
            **given,
            **{name: getattr(self, name) for name in names},
        )

    @property
    def field(self) -> VectorField:
        """Vector field of the variant."""
        return VARIANTS[self.variant].mode_field

    @property
    def start(self) -> ModeState:
        """Start of the trajectory, on the states of the variant."""
        system = self.system
        return self.field.constrain(0.0, system.state(self.online, self.predictor, self.target), system)

    @property
    def shown_plane(self) -> str:
        """The plane that is drawn: that of the variant where it leaves no choice."""
        if self.variant in CHOOSES:
            return self.plane
        return WEIGHTS_PLANE if self.variant in IN_WEIGHTS else LEAF_PLANE

    def run_view(self) -> View:
        """Return this view reduced to what its trajectory depends on."""
        return View(**{name: getattr(self, name) for name in _RUN})

    def with_start(self, start: ModeState) -> View:
        """Return this view with another start."""
        w1, w2, th = (float(np.squeeze(part)) for part in start)
        return replace(self, online=w1, predictor=w2, target=th)

    def query(self) -> str:
        """Everything that differs from the default view, as a query string."""
        default = View()
        parts = [
            (name, value)
            for name, value in asdict(replace(self, kept=())).items()
            if name != "kept" and value != getattr(default, name)
        ]
        return urlencode([*parts, *(("kept", one.query()) for one in self.kept)])

    @classmethod
    def from_query(cls, query: str) -> View:
        """Read a query string.

        Raises
        ------
        ValueError
            A name that no view has, a value given twice, what is no number, or a combination that no view accepts.
        """
        return cls.from_words(parse_qs(query, keep_blank_values=True))

    @classmethod
    def from_words(cls, given: Mapping[str, Sequence[str]]) -> View:
        """Read a query string that is taken apart: the words of every name.

        Raises
        ------
        ValueError
            As for `from_query`.
        """
        defaults = {item.name: item.default for item in fields(cls)}
        values: dict[str, Any] = {}
        for name, words in given.items():
            if name not in defaults:
                raise ValueError(f"an address must name {', '.join(defaults)}, got {name!r}")
            if name == "kept":
                values[name] = tuple(cls.from_query(word) for word in words)
                continue
            if len(words) != 1:
                raise ValueError(f"`{name}` must be given once, got {len(words)} values")
            values[name] = _number(name, words[0]) if isinstance(defaults[name], float) else words[0]
        return cls(**values)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"`{name}` must be a number, got {text!r}") from None


# --- commands -----------------------------------------------------------------------------------------------


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
    if view.shown_plane == LEAF_PLANE and view.variant in CHOOSES:
        return None
    axes = ("online", "predictor" if view.shown_plane == WEIGHTS_PLANE else "target")
    bounds = f"{_text(-view.extent)}:{_text(view.extent)}"
    words = ["--plane", ",".join(axes)]
    for axis in axes:
        words += ["--range", f"{axis}:{bounds}"]
    words += ["--at", _text(view.target if view.shown_plane == WEIGHTS_PLANE else view.predictor)]
    return shlex.join(["dyn", "basins", *_system_words(view), *words, "--plot", "basins.png"])


def figure_command(view: View) -> str | None:
    """Return the `dyn figure` whose page shows this plane, None where the gallery has none for it.

    >>> figure_command(View(variant="tied", tau_target=2.0))
    'dyn figure tied --lambda-s 1 --lambda-d 0.5 --tau-target 2 --extent 1.5 --plot portrait.png'
    """
    if view.objective != "byol":
        return None
    pages = {
        "fixed-target": ("fixed-target", ("tau_online", "tau_predictor", "weight_decay")),
        "tied": ("tied", ("tau_target", "weight_decay")),
        "no-predictor": ("no-predictor", ("tau_online", "tau_target", "weight_decay")),
        "full": ("leaf", ("tau_online", "tau_predictor", "tau_target")),
    }
    if view.variant not in pages:
        return None
    if view.variant == "full" and (view.shown_plane != LEAF_PLANE or view.weight_decay):
        return None
    page, rates = pages[view.variant]
    words = ["--lambda-s", _text(view.lambda_s), "--lambda-d", _text(view.lambda_d)]
    if page == "tied" and view.tau_online != 1:
        words += ["--tau", _text(view.tau_online)]
    for name in rates:
        if getattr(view, name) != getattr(View, name):
            words += [_flag(name), _text(getattr(view, name))]
    if page == "fixed-target":
        words += ["--target", _text(view.target)]
    if page == "leaf":
        words += ["--invariants", _text(view.invariant)]
    words += ["--extent", _text(view.extent), "--plot", "portrait.png"]
    return shlex.join(["dyn", "figure", page, *words])


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
