"""What a run did, mode by mode, beside what theory says of its settings.

A mode is held when the encoder is not small in its direction, measured against the weight that it has at rest; which
directions there are, the moments of the data say. Neither the start of the run nor the scale of the data matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynamics.training.run import TrainingRun
from dynamics.training.settings import TrainingSettings

HELD = 0.03
"""A linear encoder holds a mode above this share of the weight that the mode has at rest."""
NEAR = 0.25
"""Modes of a nonlinear encoder are on their way to collapse below this share, if most of them shrink."""
SMALL = 1e-3
"""Unnormalised features of a nonlinear encoder have vanished below this share of those of a linear one at rest."""
SMALLEST_RATIO = 1e-3
"""Ratios told from samples are no surer than this."""
RECENT = 0.1
"""Share of the run over which its present motion is measured."""
ROUNDING = 1e-6
"""Below this share of the largest, weights in single precision are rounding."""
AT_REST = 0.1
"""A weight moves when it would change by more than this share in as many steps as were taken."""

LEARNED, PARTLY, COLLAPSED = "learned", "partly-collapsed", "collapsed"
COLLAPSING, UNDECIDED, DIVERGED = "collapsing", "undecided", "diverged"
AGREES, DISAGREES, TOO_EARLY = "agrees", "disagrees", "too early"


@dataclass(frozen=True)
class Prediction:
    """What theory says of settings.

    Parameters
    ----------
    text
        In a few words, with its result; empty where it says nothing.
    fewest, most
        Bounds on the number of modes that are held in the end; None where it gives none.
    diverges
        Whether weights are to run away.
    """

    text: str = ""
    fewest: int | None = None
    most: int | None = None
    diverges: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What became of a run.

    Parameters
    ----------
    verdict
        ``learned``: all modes that fit into the encoder are held; ``partly-collapsed``: some are; ``collapsed``: none
        is; ``collapsing``: modes are being lost; ``undecided``: modes are too small, but grow; ``diverged``.
    held, n_modes
        Number of modes that are held, and of those that data and encoder permit.
    prediction
        What theory says.
    agreement
        ``agrees``, ``disagrees``, ``too early``; None where theory says nothing.
    text
        One line for people.
    """

    verdict: str
    held: int
    n_modes: int
    prediction: Prediction
    agreement: str | None
    text: str

    def __str__(self) -> str:
        return self.text


def diagnose(run: TrainingRun, index: int = 0) -> Diagnosis:
    """Say what a run did, and whether that is what theory predicts for its settings.

    Parameters
    ----------
    run
        The runs.
    index
        Which of them.

    Returns
    -------
    Diagnosis
        Printed as "collapsed: none of 2 modes held; predicted: no predictor and ratio < 1: collapse (R11): agrees".

    Examples
    --------
    >>> from dynamics.training import train
    >>> exact = {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}
    >>> settings = TrainingSettings(
    ...     data=exact, batch=None, encoder={"features": 1}, predictor={"kind": "none"}, target={"decay": 0.5})
    >>> diagnose(train(settings)).verdict
    'collapsed'
    """
    settings = run.settings.at(index)
    predicted = predict_outcome(run, index)
    n_modes = min(settings.encoder.output, run.spectrum.n_modes)
    if run.failed_at[index] >= 0:
        agreement = AGREES if predicted.diverges else None
        text = f"diverged: the loss was not finite at step {run.failed_at[index]}"
        return _diagnosis(DIVERGED, 0, n_modes, predicted, agreement, text)
    share, later = _shares(run, index, settings, n_modes)
    is_held = share >= HELD
    if _is_linear(settings):
        rests = settings.predictor.kind != "none" and settings.objective.stop_gradient
        collapsing = is_held & ((share <= 1) | (not rests)) & (later < share / 2)
    else:
        collapsing = is_held & (share < NEAR) & (later < (1 - AT_REST) * share)
        collapsing &= np.sum(collapsing) >= n_modes / 2
    grows = (later > (1 + AT_REST) * share) | (_repelled(run, index, settings, n_modes) & (later > share))
    growing = ~is_held & grows & (share > ROUNDING * np.max(share, initial=0.0))
    held = int(np.sum(is_held))
    shrinks = bool(np.any(is_held & (later < (1 - AT_REST) * share)))
    if np.any(collapsing):
        verdict, text = COLLAPSING, f"still collapsing: {np.sum(collapsing)} of {n_modes} modes shrink"
        if held < n_modes:
            text += f", {n_modes - held} have collapsed"
    elif n_modes == 0:
        verdict, text = (
            COLLAPSED,
            "collapsed: the data have no mode that could be held, λd = 0 in all of them",
        )
    elif held == n_modes:
        verdict, text = LEARNED, f"learned: {held} of {n_modes} modes"
    elif np.any(growing):
        verdict, text = (
            UNDECIDED,
            f"undecided: {held} of {n_modes} modes learned, {np.sum(growing)} still grow",
        )
    elif held == 0:
        verdict, text = COLLAPSED, f"collapsed: none of {n_modes} modes held"
    else:
        verdict, text = PARTLY, f"{n_modes - held} of {n_modes} modes collapsed"
    text += _measured(run, index)
    agreement = _agreement(predicted, held, grows=bool(np.any(growing)), shrinks=shrinks)
    return _diagnosis(verdict, held, n_modes, predicted, agreement, text)


def _diagnosis(
    verdict: str, held: int, n_modes: int, predicted: Prediction, agreement: str | None, text: str
) -> Diagnosis:
    if predicted.text:
        text += f"; predicted: {predicted.text}" + (f": {agreement}" if agreement else "")
    return Diagnosis(verdict, held, n_modes, predicted, agreement, text)


def _measured(run: TrainingRun, index: int) -> str:
    text = f", effective rank {run.metrics['effective_rank'][index, -1]:.1f}"
    if "probe_accuracy" in run.metrics:
        first, last = run.metrics["probe_accuracy"][index, [0, -1]]
        text += f", probe accuracy {last:.3f} (random encoder {first:.3f})"
    return text


def _agreement(predicted: Prediction, held: int, *, grows: bool, shrinks: bool) -> str | None:
    if predicted.diverges:
        return TOO_EARLY
    if predicted.fewest is None and predicted.most is None:
        return None
    if predicted.most is not None and held > predicted.most:
        return TOO_EARLY if shrinks else DISAGREES
    if predicted.fewest is not None and held < predicted.fewest:
        return TOO_EARLY if grows else DISAGREES
    return AGREES


def _is_linear(settings: TrainingSettings) -> bool:
    return settings.encoder.kind == "linear" and not settings.encoder.projector


def _shares(
    run: TrainingRun, index: int, settings: TrainingSettings, n_modes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each mode over that at rest, now, and after as many steps again at the present pace."""
    last = len(run.steps) - 1
    recent = run.steps <= (1 - RECENT) * run.steps[-1]
    before = max(int(np.flatnonzero(recent)[-1]) if np.any(recent) else 0, 0)
    now = _share(run, index, settings, last, n_modes)
    then = _share(run, index, settings, before, n_modes)
    passed = max(int(run.steps[last] - run.steps[before]), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pace = np.where((now > 0) & (then > 0), np.log(now / then), 0.0) / passed
    return now, now * np.exp(np.clip(pace * run.steps[last], -700, 700))


def _repelled(run: TrainingRun, index: int, settings: TrainingSettings, n_modes: int) -> np.ndarray:
    """Modes that collapse repels, as slowly as it may be: those with 0 < w2 < r, without weight decay (R5)."""
    found = np.zeros(n_modes, bool)
    applies = (
        _is_linear(settings) and settings.predictor.kind == "linear" and settings.objective.kind == "byol"
    )
    if applies and settings.objective.stop_gradient and _number(settings.optimizer.weight_decay) == 0:
        p, r = (run.metrics[f"mode_{name}"][index, -1] for name in ("predictors", "ratios"))
        found[: len(p)] = ((p > 0) & (p < r))[:n_modes]
    return found


def _share(run: TrainingRun, index: int, settings: TrainingSettings, time: int, n_modes: int) -> np.ndarray:
    """Weight of each mode over that at rest, at one measurement; zeros for modes that are nowhere."""
    metrics = run.metrics
    amplitudes, ratios, variances = (
        np.asarray(metrics[f"mode_{name}"][index, time], np.float64)
        for name in ("amplitudes", "ratios", "variances")
    )
    ratios = np.maximum(ratios, SMALLEST_RATIO if _is_linear(settings) else 10 * SMALLEST_RATIO)
    found = amplitudes / _at_rest(run, index, settings, amplitudes, ratios, variances)
    if not _is_linear(settings):
        if not _free(settings):
            variances, ratios = run.spectrum.modes
            size = np.sum(np.asarray(metrics["feature_eigenvalues"][index, time], np.float64))
            if size < SMALL**2 * np.sum(variances * ratios**2):
                found = np.zeros_like(found)
        # features are told apart by size alone: beyond one that is lost, none counts
        found = np.minimum.accumulate(found)
    shares = np.zeros(n_modes)
    kept = found[:n_modes]
    shares[: len(kept)] = kept
    return shares


def _free(settings: TrainingSettings) -> bool:
    """Whether the objective leaves the size of the features free."""
    objective, predictor = settings.objective, settings.predictor
    return objective.normalize or objective.row.alone or predictor.kind in ("optimal", "mlp")


def _at_rest(
    run: TrainingRun,
    index: int,
    settings: TrainingSettings,
    amplitudes: np.ndarray,
    ratios: np.ndarray,
    variances: np.ndarray,
) -> np.ndarray:
    """Weight |w1| of each mode at rest (R5): that of balanced weights, τo w1² = τp w2² with w2 = r."""
    if not _is_linear(settings):
        return ratios
    if _free(settings):  # the largest mode sets the scale
        return ratios * (amplitudes[0] / ratios[0] if amplitudes[0] > 0 else 1.0)
    objective, predictor = settings.objective, settings.predictor
    alpha, beta = _number(objective.alpha), _number(objective.beta)
    if objective.row.align and objective.row.cross > 0 and beta > 0:  # R24
        ratios = beta / (beta + 2 * alpha * (1 - np.minimum(ratios, 1)))
    rate = _number(settings.optimizer.predictor_rate)
    if predictor.kind == "direct":  # P is set by features, not weights
        return ratios / np.sqrt(variances)
    if predictor.kind != "linear" or rate == 0:
        return ratios
    if _still(settings):  # w1 w2 = θ r
        theta = run.state.target.encoder[0]["weight"][index]
        size = float(np.linalg.norm(np.asarray(theta, np.float64), 2))
        return np.sqrt(ratios * size / np.sqrt(rate)) if size > 0 else ratios
    return ratios / np.sqrt(rate)


def _contrast(kind: str) -> str:
    """What a linear network would learn under a contrastive loss."""
    if kind == "simple":
        return "linear networks turn to the top eigenvector of the averaged view alone, rank one (R113)"
    return "linear networks learn the modes of M of the largest ratios, and saturate there (R114, R116)"


def _number(value: object) -> float:
    return float(np.asarray(value))


def _still(settings: TrainingSettings) -> bool:
    """Whether the target never moves."""
    return settings.target.kind == "fixed" or (
        settings.target.kind == "ema" and _number(settings.target.decay) == 1
    )


# --- predictions --------------------------------------------------------------------------------------------


def predict_outcome(run: TrainingRun, index: int = 0) -> Prediction:
    """What theory says of the settings and the start of a run.

    Parameters
    ----------
    run
        The runs; of the weights only those at the start are looked at.
    index
        Which of them.
    """
    settings = run.settings.at(index)
    objective, predictor, optimizer = settings.objective, settings.predictor, settings.optimizer
    n_modes = min(settings.encoder.output, run.spectrum.n_modes)
    decays = _number(optimizer.weight_decay) > 0
    if settings.normalisation.active:
        return Prediction(
            "features are normalised by their batch: its mean decides which are learned (R216, R222)"
        )
    if objective.row.of_moments:
        return Prediction()
    if objective.row.contrastive:
        return Prediction(_contrast(objective.kind))
    if not objective.stop_gradient:
        return Prediction("no stop-gradient: collapse (R12)", most=0)
    if objective.row.cross < 0 and not objective.normalize:
        return Prediction("RAFT without normalisation: modes with 2α(1 − r) < β run away (R26)")
    if _still(settings):
        return Prediction(
            "a target that never moves: its own features are learned (R13)", fewest=None if decays else 1
        )
    if predictor.kind == "none":
        return _without_predictor(run, settings)
    if predictor.kind == "linear" and _number(optimizer.predictor_rate) == 0:
        return _with_fixed_predictor(run, settings, index)
    if predictor.kind in ("linear", "direct") and decays:
        return _with_weight_decay(run, settings, n_modes)
    if predictor.kind != "linear":
        return Prediction()
    balance = run.start.balance
    if isinstance(balance, tuple) or objective.normalize:
        text = "predictor and encoder learn together: no collapse where the encoder starts larger (R6, R8)"
        return Prediction(text, fewest=1)
    # the i-th eigenvalue of W Wᵀ is never below that of C(0); what HELD calls small is not counted
    least = (HELD * np.max(run.spectrum.ratios)) ** 2 / _number(optimizer.predictor_rate)
    stay = int(np.sum(np.linalg.eigvalsh(np.asarray(balance[index], np.float64)) > least))
    if stay == 0:
        return Prediction(
            "predictor and encoder learn together: modes may collapse where the encoder starts smaller (R6)"
        )
    return Prediction(
        f"at least {min(stay, n_modes)} of {n_modes} modes stay, the encoder starts larger (R6, R8)",
        fewest=min(stay, n_modes),
    )


def _without_predictor(run: TrainingRun, settings: TrainingSettings) -> Prediction:
    objective = settings.objective
    if objective.row.cross < 0:
        return Prediction()
    if objective.row.align and _number(objective.alpha) == 0:
        return Prediction()  # views of the target are predicted from themselves: every mode has ratio 1
    lasting = int(np.sum(run.spectrum.ratios > 1 - 1e-9))
    if lasting and not objective.normalize:
        return Prediction(
            f"no predictor: only the modes with ratio 1 stay, at most {lasting} (R11)", most=lasting
        )
    return Prediction("no predictor and ratio < 1: collapse (R11)", most=0)


def _with_fixed_predictor(run: TrainingRun, settings: TrainingSettings, index: int) -> Prediction:
    """W and Θ follow a linear flow: along p and r with determinant p λs (p − r)/τt, as R11 has it for p = 1."""
    text = "a predictor that does not learn: directions with 0 < p < r run away, others collapse (R11, R17)"
    if settings.objective.normalize or settings.objective.kind != "byol":
        return Prediction()
    if not _is_linear(settings) or _number(settings.optimizer.weight_decay) > 0:
        return Prediction(text)
    P = np.asarray(run.start.predictor["weight"][index], np.float64)
    if np.max(np.abs(P @ P.T - P.T @ P)) > 1e-6 * np.sum(P * P):
        return Prediction(text)  # not normal: p alone does not decide
    p = np.linalg.eigvals(P)
    if np.any(p.imag != 0):
        return Prediction(text)
    if np.any((p.real > 0) & (p.real < np.max(run.spectrum.ratios))):
        return Prediction(text, diverges=True)
    return Prediction(text, most=0)


def _with_weight_decay(run: TrainingRun, settings: TrainingSettings, n_modes: int) -> Prediction:
    """Modes with λd² > 4 η λs can rest away from zero (R15), where the flow is that of R15."""
    from dynamics.data.moments import Moments
    from dynamics.training.flow import flow_of

    text = "weight decay: modes with η above λd²/(4 τo λs) are lost (R15)"
    if settings.predictor.kind == "direct" or settings.objective.kind != "byol":
        return Prediction(text)
    try:
        eta = flow_of(settings, Moments.from_eigenvalues([1.0], [0.5])).system.weight_decay
    except ValueError:  # no flow: Adam, normalised losses
        return Prediction(text)
    variances, ratios = run.spectrum.modes
    n = min(int(np.sum(variances * ratios**2 / 4 > eta)), n_modes)
    return Prediction(f"weight decay: at most {n} of {n_modes} modes stay (R15)", most=n)
