"""The kinds of run that a sweep can repeat, by name."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.sweeps.kinds import Kind
from analysis.sweeps.matrices import MATRICES
from analysis.sweeps.modes import MODES

KINDS: Mapping[str, Kind] = {"modes": MODES, "matrices": MATRICES}
"""Kinds of run by name."""
