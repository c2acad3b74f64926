"""What a flow is: a callable (t, state, system) -> d state/dt, and what its integration must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from dynamics.states import State
from dynamics.system import natural_time


def _unconstrained(t: Any, state: State, system: Any) -> State:
    return state


def _no_demand(state: Any, system: Any) -> None:
    return None


def _of_system(parts: Any, system: Any) -> Any:
    return system.state(*parts)


def _encoder_sizes(state: Any) -> tuple[Any, ...]:
    """Largest entry of the encoder, W and Θ together, for its parts; of all for the predictor.

    The encoder moves by multiplication with the predictor, but the predictor is pushed by the encoder alone. Modes
    are sized one by one: each has a fate of its own.
    """
    whole = None if np.ndim(state[1]) == 2 else ()
    W, P, Th = (np.max(np.abs(part), axis=whole, keepdims=whole is None) for part in state)
    encoder = np.maximum(W, Th)
    return encoder, np.maximum(encoder, P), encoder


def _clock(system: Any) -> tuple[float, float]:
    return natural_time(system, fastest=True), natural_time(system)


Binding = Callable[[Any, Any], Callable[[float], None]]
"""(state, derivative) -> what, called with a time, computes the derivative of the state into the other's arrays."""


class InPlace(NamedTuple):
    """A field computed in place.

    Parameters
    ----------
    derivative, constrain
        Functions of the `VectorField` that it computes. It is used for no field that has others.
    binding
        (state like those to come, system) -> `Binding`.
    """

    derivative: Callable[[Any, Any, Any], Any]
    constrain: Callable[[Any, Any, Any], Any]
    binding: Callable[[Any, Any], Binding]


class TargetRule(Enum):
    """How the target moves in a flow dW/dt = PᵀE/τo − ηW, dP/dt = EWᵀ/τp − ηP of matrices."""

    FOLLOWS = "dΘ/dt = (W − Θ)/τt"
    FIXED = "dΘ/dt = 0"
    ONLINE = "Θ = W"


@dataclass(frozen=True)
class VectorField:
    """A variant of the flow: a callable (t, state, system) -> d state/dt.

    Parameters
    ----------
    name
        Name of the variant, as on the command line.
    derivative
        (t, state, system) -> state of derivatives. Parts that `constrain` sets may be given derivative zero.
    constrain
        (t, state, system) -> state on which the variant lives, such as Θ = W. It is applied before every
        evaluation and to every state that is handed out.
    require
        (state, system) -> None; raises ValueError where the variant is not defined.
    start
        (parts, system) -> state, checked: the arrays that a run starts from. Left out, `system.state`.
    sizes
        state -> for each of its parts, a number or an array that broadcasts to it, >= 0: the size that its components
        are measured by. Left out, those of (W, P, Θ).
    clock
        system -> times in which the fastest and the slowest direction move by their own size. Left out, `natural_time`.
    growth
        Of a field that is linear in the state, system -> the largest real part of its eigenvalues; None for all
        others. A trajectory of a linear flow may grow for ever, and is over when its direction is at rest. Steps are
        short beside 1/growth, so that what is far below the tolerance now, but grows, is followed.
    target_rule
        Of a flow of matrices whose W and P follow the gradient, how its target moves: implicit steps know the
        linearisation of these (`dynamics.integration.linearised`). None for all others.
    in_place
        What computes in NumPy what the field returns, without temporary arrays: small systems spend most of their time
        on these. Left out, what the field returns is copied. See `computed_in_place`.
    """

    name: str
    derivative: Callable[[Any, Any, Any], Any]
    constrain: Callable[[Any, Any, Any], Any] = _unconstrained
    require: Callable[[Any, Any], None] = _no_demand
    start: Callable[[Any, Any], Any] = _of_system
    sizes: Callable[[Any], tuple[Any, ...]] = _encoder_sizes
    clock: Callable[[Any], tuple[float, float]] = _clock
    growth: Callable[[Any], float] | None = None
    target_rule: TargetRule | None = None
    in_place: InPlace | None = None

    def __call__(self, t: Any, state: State, system: Any) -> State:
        """Evaluate d state/dt at time t."""
        return self.derivative(t, self.constrain(t, state, system), system)

    def computed_in_place(self, binding: Callable[[Any, Any], Binding]) -> VectorField:
        """The same field with a binding that computes it in place."""
        return replace(self, in_place=InPlace(self.derivative, self.constrain, binding))

    def binding(self, like: Any, system: Any) -> Binding:
        """The field in place, for states like one: `in_place`, or copies of what it returns."""
        own = self.in_place
        if own is not None and own.derivative is self.derivative and own.constrain is self.constrain:
            return own.binding(like, system)

        def bind(state: Any, derivative: Any) -> Callable[[float], None]:
            def evaluate(t: float) -> None:
                for part, value in zip(derivative, self(t, state, system), strict=True):
                    part[...] = value

            return evaluate

        return bind
