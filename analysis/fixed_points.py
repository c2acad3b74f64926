"""Where the flow can rest: all fixed points of one mode, exact; canonical and polished fixed points of the network.

Each one-mode variant is solved by hand. Its formulas are written once and read twice: with Fractions, which decide
exactly what exists and give the numbers, and with SymPy, which shows them. The points of the network are those of
R9, and those that `polish` finds beside the end of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, product
from math import comb, isinf, sqrt
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.stability import classify, fixed_point_residual, jacobian_operator
from dynamics.fields import VectorField, full_field
from dynamics.mode_fields import MODE_FIELDS
from dynamics.mode_fixed_points import leaf_eigenvalues, weight_decay_fixed_points
from dynamics.modes import expand_modes, joint_eigenbasis
from dynamics.states import MatrixState, ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

PointStability = Literal["stable", "saddle", "unstable", "half-stable", "degenerate"]
LineStability = Literal["attracting", "saddle", "repelling", "degenerate"]

LEAVES = ("full", "symmetric-predictor", "no-ema", "fixed-target")
"""Variants that keep c = τo w1² − τp w2² at η = 0 and rest along lines: an invariant isolates their points."""

_ACROSS: dict[str, LineStability] = {"stable": "attracting", "saddle": "saddle", "unstable": "repelling"}


class _Letters(NamedTuple):
    """The paper's letters and what is made of them: in Fractions, in SymPy numbers or in SymPy symbols."""

    lambda_s: Any
    lambda_d: Any
    tau_online: Any
    tau_predictor: Any
    tau_target: Any
    weight_decay: Any
    invariant: Any
    target: Any
    root: Callable[[Any], Any] = sqrt


    @property
    def r(self) -> Any:
        return self.ld / self.ls
