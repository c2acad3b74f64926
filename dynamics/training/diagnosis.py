"""One line on what a run did, and what theory says of its settings."""

from __future__ import annotations

import numpy as np

from dynamics.training.run import TrainingRun
from dynamics.training.settings import TrainingSettings

RANK_FLOOR = 1e-2
"""A direction of the features counts when its eigenvalue of F is above this fraction of the largest."""
VANISHED = 1e-6
"""Features have vanished when the trace of F is below this fraction of that at the start."""


def feature_rank(eigenvalues: np.ndarray) -> np.ndarray:
    """Number of directions that features use, at each time: 0 once they have vanished.

    Parameters
    ----------
    eigenvalues
        Of F, shape (T, n2), the start first.

    Returns
    -------
    array (T,)
        Integers from 0 to n2; 0 where F is not finite.

    Examples
    --------
    >>> feature_rank(np.array([[4.0, 1.0], [4.0, 1e-3], [1e-9, 0.0]]))
    array([2, 1, 0])
    """
    total = np.sum(np.maximum(eigenvalues, 0), axis=-1)
    used = np.sum(eigenvalues > RANK_FLOOR * np.max(eigenvalues, axis=-1, keepdims=True), axis=-1)
    return np.where(total > VANISHED * total[0], used, 0)


def prediction(settings: TrainingSettings) -> str:
    """What theory says of these settings in a few words with its result, empty where it says nothing.

    >>> prediction(TrainingSettings(predictor={"kind": "none"}))
    'no predictor and ratio < 1: collapse (R11)'
    """
    objective, predictor, optimizer = settings.objective, settings.predictor, settings.optimizer
    if objective.contrastive:
        return "contrast keeps features apart: top eigenvectors of the averaged view (R30)"
    if not objective.stop_gradient:
        return "no stop-gradient: collapse (R12)"
    if objective.kind == "raft" and not objective.normalize:
        return "RAFT without normalisation: modes with 2α(1 − r) < β run away (R26)"
    if settings.target.kind == "fixed":
        return "a fixed target: its own features are learned (R13)"
    if predictor.kind == "none":
        return "no predictor and ratio < 1: collapse (R11)" if objective.kind != "raft" else ""
    if predictor.kind in ("linear", "direct") and np.any(np.asarray(optimizer.weight_decay) > 0):
        return "weight decay: modes with η above λd²/(4 τo λs) are lost (R15)"
    if predictor.kind == "linear":
        return "predictor and encoder learn together: no collapse where the encoder starts larger (R6, R8)"
    return ""


def diagnose(run: TrainingRun, index: int = 0) -> str:
    """Say in one line what a run did, and what theory predicts for its settings.

    Parameters
    ----------
    run
        The runs.
    index
        Which of them.

    Returns
    -------
    str
        Such as "collapsed: rank 1 of 16 since step 400; predicted: no predictor and ratio < 1: collapse (R11)".
    """
    settings = run.settings.at(index)
    theory = prediction(settings)
    predicted = f"; predicted: {theory}" if theory else ""
    if run.failed_at[index] >= 0:
        return f"diverged: the loss was not finite at step {run.failed_at[index]}{predicted}"
    ranks = feature_rank(run.metrics["feature_eigenvalues"][index])
    n2 = settings.encoder.output
    collapsed = ranks < min(2, n2)
    if collapsed[-1]:
        since = int(run.steps[np.flatnonzero(~collapsed)[-1] + 1]) if np.any(~collapsed) else 0
        return f"collapsed: rank {ranks[-1]} of {n2} since step {since}{predicted}"
    found = (
        f"learned: rank {ranks[-1]} of {n2}, effective rank {run.metrics['effective_rank'][index, -1]:.1f}"
    )
    if "probe_accuracy" in run.metrics:
        first, last = run.metrics["probe_accuracy"][index, [0, -1]]
        found += f", probe accuracy {last:.3f} (random encoder {first:.3f})"
    return found + predicted
