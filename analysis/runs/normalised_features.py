"""What a run with normalised features has besides its trajectory (R216, R218, R221)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.normalisation import Normaliser


@dataclass(frozen=True, eq=False)
class NormalisedRun:
    """What a run with a normaliser has besides.

    Parameters
    ----------
    normaliser, mean
        What was done to features, and μ of the views, shape (n1,).
    features
        Rows ŵ_i = w_i/σ_i at the end, shape (n2, n1): what the predictor sees.
    squared_norms
        ‖w_i‖² at the start and at the end, shape (2, n2).
    dead
        Row that reached zero in finite time, None where none did.
    predicted_death
        Time at which R221 says that the first row dies: infinite for never, None where no result applies.
    runaway_rate
        Rate at which R216 says that the mode with a mean grows, None where no result applies.
    conserved
        What `MatrixSimulation.drift` is the drift of: row-norms, diagonal-balance, balance, or None.
    """

    normaliser: Normaliser
    mean: np.ndarray
    features: np.ndarray
    squared_norms: np.ndarray
    dead: int | None
    predicted_death: float | None
    runaway_rate: float | None
    conserved: str | None

    def report(self) -> dict[str, Any]:
        """Return it as a dictionary, as `dyn simulate --json` prints it."""
        return {
            "mean": self.normaliser.mean,
            "std": self.normaliser.std,
            "row_norms": {"initial": np.sqrt(self.squared_norms[0]), "final": np.sqrt(self.squared_norms[1])},
            "conserved": self.conserved,
            "dead_row": self.dead,
            "predicted": {"death": self.predicted_death, "runaway_rate": self.runaway_rate},
        }
