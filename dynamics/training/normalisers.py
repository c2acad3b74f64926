"""Settings of batch normalisation at the outputs of projector and predictor, and of the mean of the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.normalisation import DEVIATIONS, MEANS, Normaliser


@dataclass(frozen=True, kw_only=True)
class NormalisationSettings:
    """Batch normalisation of what the predictor sees and of what it puts out, without scale and shift.

    Parameters
    ----------
    projector, predictor
        MEAN/STD at the output of encoder and projector, and at that of the predictor: a mean of
        `dynamics.normalisation.MEANS` and a deviation of `DEVIATIONS`, such as ``full/detached``.
    epsilon
        ε >= 0, added to variances before they are divided by.
    target_centred
        Whether the target's features lose their mean where those of the online network do, as in a normaliser at the
        very output; hidden ones leave the target's outputs a mean. They are divided in any case.
    mean
        Added to every view: one number, or one per input. The moments of ``gaussian`` and ``exact`` data, and loaded
        images, are about it.

    Raises
    ------
    ValueError
        A value is none of these.

    Notes
    -----
    Each view of a batch has statistics of its own; measurements use those of the samples that are measured. Source:
    R213, R222.

    Examples
    --------
    >>> NormalisationSettings(projector="full/detached").of_projector.std
    'detached'
    """

    projector: str = "none/none"
    predictor: str = "none/none"
    epsilon: float = 0.0
    target_centred: bool = True
    mean: Any = 0.0

    def __post_init__(self) -> None:
        epsilon = self.epsilon
        number = isinstance(epsilon, (int, float, np.number)) and not isinstance(epsilon, bool)
        if not (number and 0 <= epsilon < np.inf):
            raise ValueError(f"`normalisation.epsilon` must be finite and >= 0, got {epsilon!r}")
        for name in ("projector", "predictor"):
            _parts(f"normalisation.{name}", getattr(self, name))
        if epsilon and "none" == self.of_projector.std == self.of_predictor.std:
            raise ValueError(f"`normalisation.epsilon` must be 0 where nothing is divided, got {epsilon:g}")
        if not isinstance(self.target_centred, bool):
            raise ValueError(
                f"`normalisation.target_centred` must be true or false, got {self.target_centred!r}"
            )
        try:
            mean = np.asarray(self.mean, dtype=np.float64)
        except (TypeError, ValueError):
            mean = np.full(1, np.nan)
        if mean.ndim > 1 or mean.size == 0 or not np.all(np.isfinite(mean)):
            raise ValueError(
                f"`normalisation.mean` must be a finite number, or one per input, got {self.mean!r}"
            )
        object.__setattr__(self, "mean", float(mean) if mean.ndim == 0 else tuple(mean.tolist()))
        object.__setattr__(self, "epsilon", float(epsilon))

    @property
    def active(self) -> bool:
        """Whether anything is normalised."""
        return self.of_projector.active or self.of_predictor.active

    @property
    def of_projector(self) -> Normaliser:
        """What is done before the predictor."""
        return self._normaliser("projector")

    @property
    def of_predictor(self) -> Normaliser:
        """What is done behind it."""
        return self._normaliser("predictor")

    @property
    def of_target(self) -> Normaliser:
        """What is done to the target's features, through which no gradient passes."""
        online = self.of_projector
        subtracts = online.subtracts and self.target_centred
        return Normaliser(mean="full" if subtracts else "none", std=online.std, epsilon=online.epsilon)

    def _normaliser(self, name: str) -> Normaliser:
        mean, std = _parts(f"normalisation.{name}", getattr(self, name))
        return Normaliser(mean=mean, std=std, epsilon=0.0 if std == "none" else self.epsilon)


def _parts(name: str, text: Any) -> tuple[str, str]:
    mean, slash, std = text.partition("/") if isinstance(text, str) else ("", "", "")
    if not slash or mean not in MEANS or std not in DEVIATIONS:
        raise ValueError(
            f"`{name}` must be MEAN/STD, of {', '.join(MEANS)} and {', '.join(DEVIATIONS)}, got {text!r}"
        )
    return mean, std
