"""How a network that is diagnosed was trained, as far as that is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynamics.integration.batch_noise import check_batch


@dataclass(frozen=True)
class RunSettings:
    """How the network was trained, as far as it is known.

    Parameters
    ----------
    predictor_rate
        αp > 0, learning rate of the predictor over that of the encoder; τp = 1/αp.
    weight_decay
        Coefficient that is multiplied by the learning rate, as in SGD, >= 0; None where it is not known.
    decay
        γ in [0, 1] of the target's moving average; None where it is not known.
    stop_gradient
        Whether no gradient passes through the target.
    loss_factor
        k > 0: the loss is k/2 E‖P W x1 − Θ x2‖². 2 without the ½, 4 if also summed over both orders of the views.
    learning_rate
        ε > 0 of the encoder; None where it is not known.
    batch
        B >= 1, samples of one step; None where it is not known.

    Raises
    ------
    ValueError
        A number is out of range.

    Examples
    --------
    >>> RunSettings(decay=1.5)
    Traceback (most recent call last):
    ValueError: `decay` must be from 0 to 1, got 1.5
    """

    predictor_rate: float = 1.0
    weight_decay: float | None = None
    decay: float | None = None
    stop_gradient: bool = True
    loss_factor: float = 1.0
    learning_rate: float | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("predictor_rate", "loss_factor"):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise ValueError(f"`{name}` must be finite and > 0, got {value}")
        if self.weight_decay is not None and not 0 <= self.weight_decay < np.inf:
            raise ValueError(f"`weight_decay` must be finite and >= 0, got {self.weight_decay}")
        if self.decay is not None and not 0 <= self.decay <= 1:
            raise ValueError(f"`decay` must be from 0 to 1, got {self.decay}")
        if self.learning_rate is not None and not 0 < self.learning_rate < np.inf:
            raise ValueError(f"`learning_rate` must be finite and > 0, got {self.learning_rate}")
        if self.batch is not None:
            check_batch(self.batch)

    @property
    def tau_predictor(self) -> float:
        """τp = 1/αp, in units of τo."""
        return 1 / self.predictor_rate
