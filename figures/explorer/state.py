"""What the explorer shows, as one immutable value, to and from the query string of its address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np

from analysis.fixed_points.bifurcations import PARAMETERS
from analysis.phase_planes.planes import ON_LEAVES
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
"""The plane (w1, w2), and the plane on which the flow of the variant closes: the leaf of c for the full flow.

Variants with leaves are shown in either.
"""

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
        if self.variant in ON_LEAVES:
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
