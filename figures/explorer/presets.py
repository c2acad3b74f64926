"""Views to begin with, each named by what it shows: those of the gallery, and one for every other question."""

from __future__ import annotations

from figures.explorer.state import LEAF_PLANE, View

PRESETS = {
    "The full flow": View(),
    "Constant target (Figure 5 left)": View(variant="fixed-target", target=1.0, extent=1.2),
    "Tied weights (Figure 5 middle)": View(variant="tied", extent=1.2),
    "No predictor (Figure 5 right)": View(variant="no-predictor", extent=1.2),
    "Leaf c = 0.2: every start learns": View(
        plane=LEAF_PLANE, invariant=0.2, online=0.6, predictor=0.4, target=0.4, extent=1.2, parameter="invariant"
    ),
    "Leaf c = −0.1: a saddle decides the sign": View(
        plane=LEAF_PLANE, invariant=-0.1, online=0.3, predictor=0.19**0.5, target=-0.6, extent=1.2,
        parameter="invariant",
    ),
    "Leaf c = −0.4: every start collapses": View(
        plane=LEAF_PLANE, invariant=-0.4, online=0.3, predictor=0.7, target=0.6, extent=1.2, parameter="invariant"
    ),
    "Weight decay moves the boundary": View(weight_decay=0.04, online=0.6, predictor=0.6),
    "Weight decay beyond the saddle-node": View(weight_decay=0.07, online=0.6, predictor=0.6),
    "Slow target": View(tau_target=20.0, online=0.4, predictor=0.5, target=-0.3),
    "No EMA": View(variant="no-ema"),
    "No stop-gradient": View(variant="no-stop-gradient", online=0.6, predictor=0.8),
    "RAFT": View(objective="raft", alpha=1.0, beta=0.5, predictor=-0.1, parameter="beta"),
    "Large steps": View(step=0.5, online=0.3, predictor=0.1, target=0.3),
}  # fmt: skip
"""Presets by name."""
