"""Directions of a network's last linear layers: what each holds of the data, and what becomes of it (R6, R10, R15)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.fates.fate import Fate
from analysis.fates.predictions import predict_fates
from analysis.runs.eigenspaces import predictor_rows
from analysis.runs.finite_steps import Rows, critical_rates, noise_boundary, wear_steps
from analysis.runs.run_settings import RunSettings
from dynamics.data.dumps import Dump
from dynamics.data.moments import Moments
from dynamics.exact.fixed_points import saddle_node
from dynamics.states import ModeState
from dynamics.system import ModeSystem

VANISHED = 1e-3
"""A direction without weights to judge it by has vanished below this share of the largest deviation."""

LEAST_RATIO = 1e-3
"""Ratios told from samples are no surer than this."""


class Directions(NamedTuple):
    """Directions of feature space, strongest first; arrays (n,), NaN where a number is not known.

    Parameters
    ----------
    ratio
        r of the direction, or, if it is small, of the free mode that it could learn best.
    predictor
        Eigenvalue p of P, complex.
    amplitude
        ‖vᵀW‖ of its row; without W, its standard deviation over that of the largest.
    share
        Amplitude over that of a balanced fixed point, sqrt(τp/τo) r.
    fate
        learned: not small; collapsed: small and going to stay so; undecided: small, but theory has it grow.
    predicted
        Where the direction goes from here by R6, R11 to R15; "" where no result decides.
    margin
        τo‖w‖² − τp p² + τp r² for p > 0, τo‖w‖² − τp p² for p <= 0: a direction collapses where it is negative (R6).
    decay_threshold
        Weight decay above which the direction cannot be held, in the units of the setting (R15); of a small one,
        above which it could hold no mode that is free.
    critical_rate
        Learning rate above which the direction cannot rest, in the units of the setting; of a small one, where it
        would rest if it learned its mode (R303).
    wear_steps
        Steps in which the noise of batches wears its amplitude down to the balanced one (R307).
    noise_boundary
        Eigenvalue of P from which a small direction typically dies on batches (R309); r where the noise is not known.
    """

    ratio: np.ndarray
    predictor: np.ndarray
    amplitude: np.ndarray
    share: np.ndarray
    fate: np.ndarray
    predicted: np.ndarray
    margin: np.ndarray
    decay_threshold: np.ndarray
    critical_rate: np.ndarray
    wear_steps: np.ndarray
    noise_boundary: np.ndarray


def restless(found: Directions, settings: RunSettings) -> np.ndarray:
    """Directions that are held although steps are too long for them to rest (R303), booleans (n,)."""
    if settings.learning_rate is None:
        return np.zeros(len(found.fate), dtype=bool)
    out: np.ndarray = (found.fate == Fate.LEARNED) & (found.critical_rate < settings.learning_rate)
    return out


def is_identity(predictor: np.ndarray | None, rounding: float) -> bool:
    """Whether P = I to rounding, which is no predictor.

    >>> is_identity(np.eye(2), 1e-16), is_identity(0.5 * np.eye(2), 1e-16), is_identity(None, 1e-16)
    (True, False, False)
    """
    return predictor is not None and bool(np.max(np.abs(predictor - np.eye(len(predictor)))) <= rounding)


def variant_of(dump: Dump, settings: RunSettings) -> str:
    """Name of the variant of the flow that the dump and the settings describe."""
    if not settings.stop_gradient:
        return "no-stop-gradient"
    if is_identity(dump.predictor, dump.rounding):
        return "no-predictor"
    return {0.0: "no-ema", 1.0: "fixed-target"}.get(
        settings.decay if settings.decay is not None else np.nan, "full"
    )


def spread_directions(deviations: np.ndarray, moments: Moments) -> Directions:
    """Directions of features that have no layer above them: the principal axes, and what of each augmentation leaves.

    Parameters
    ----------
    deviations
        Features less their mean, both views one below the other, shape (2N, d).
    moments
        Of the same deviations.
    """
    _, singular, axes = np.linalg.svd(deviations, full_matrices=False)
    axes = axes if moments.support is None else axes @ moments.support
    s = np.einsum("ij,jk,ik->i", axes, moments.sigma_s, axes)
    d = np.einsum("ij,jk,ik->i", axes, moments.sigma_d, axes)
    share = singular / singular[0]
    kept = share >= VANISHED
    unknown = np.full(len(share), np.nan)
    return Directions(
        ratio=np.where(s > 0, d / np.where(s > 0, s, 1), 0.0),
        predictor=unknown + 1j * unknown,
        amplitude=share,
        share=unknown,
        fate=np.where(kept, str(Fate.LEARNED), str(Fate.COLLAPSED)),
        predicted=np.full(len(share), ""),
        margin=unknown,
        decay_threshold=unknown,
        critical_rate=unknown,
        wear_steps=unknown,
        noise_boundary=unknown,
    )


def layer_directions(
    dump: Dump,
    moments: Moments,
    settings: RunSettings,
    unit: float,
    mean: np.ndarray | None = None,
    error: float = 0.0,
) -> Directions:
    """Directions of the last linear layer: rows of the encoder that belong to the eigenvalues of the predictor.

    Parameters
    ----------
    dump
        With `online`.
    moments
        Of the inputs of that layer, divided by `unit`.
    settings
        How it was trained.
    unit
        What the inputs were divided by.
    mean
        Of the inputs, divided by `unit`; none counts as zero.
    error
        A ratio r of the sample errs by this times 1 − r²; where that much decides on R6, no fate is predicted.
    """
    from dynamics.training.diagnosis import HELD

    assert dump.online is not None
    W = dump.online if moments.support is None else dump.online @ moments.support
    tau_p, ratios = settings.tau_predictor, moments.ratios
    if dump.predictor is None:
        _, singular, axes = np.linalg.svd(W, full_matrices=False)
        p, rows = np.full(len(W), complex(np.nan, np.nan)), np.zeros(W.shape, complex)
        rows[: len(singular)] = singular[:, None] * axes
    else:
        tolerance = HELD**2 * np.sqrt(tau_p) * max(ratios[0], 0.0)
        p, rows, _ = predictor_rows(W, dump.predictor, tolerance=tolerance)
    variant = variant_of(dump, settings)
    amplitude = np.linalg.norm(rows, axis=1)

    # what a row holds; a small one could learn the best mode that no other row holds
    shape = rows / np.where(amplitude > 0, amplitude, 1)[:, None]
    s, ratio = _quotients(shape, moments)
    small = amplitude < HELD * np.sqrt(tau_p) * np.maximum(ratio, LEAST_RATIO)
    held = np.argmax(np.abs(shape[~small] @ moments.sigma_s @ moments.modes.directions), axis=1)
    eta = (settings.weight_decay or 0.0) / settings.loss_factor / unit**2
    next_s, next_ratio, survived = _next_mode(held, moments, decays=eta > 0)
    s, ratio = np.where(small, next_s, s), np.where(small, next_ratio, ratio)
    rest = np.sqrt(tau_p) * np.maximum(ratio, LEAST_RATIO)

    system = ModeSystem(s, ratio * s, tau_predictor=tau_p, weight_decay=eta)
    threshold = np.where(small, survived, saddle_node(system)) * settings.loss_factor * unit**2
    if dump.predictor is None and settings.stop_gradient:
        predicted, margin = np.full(len(p), ""), np.full(len(p), np.nan)
    else:
        w2 = np.zeros(len(p)) if dump.predictor is None else p.real
        # a row that is exactly 0 stays so; one that is small need not
        w1 = np.maximum(amplitude, np.finfo(float).tiny ** 0.25)
        state = ModeState(w1, w2, _fixed_rows(dump, moments, p, rows) if variant == "fixed-target" else w1)
        end = predict_fates(state, system, variant)
        predicted = np.where(end.amplitude < HELD * rest, str(Fate.COLLAPSED), end.fate)
        c = amplitude**2 - tau_p * w2**2
        margin = np.where(dump.predictor is None, np.nan, np.where(w2 > 0, c + tau_p * ratio**2, c))
        if variant in ("full", "no-ema"):
            slack = 2 * tau_p * ratio * (1 - ratio**2) * error
            close = ~small & (w2 > 0) & (np.abs(margin) <= slack) & (end.amplitude < HELD * rest)
            predicted = np.where(close & (eta == 0), "", predicted)
    stays = small & ((predicted != Fate.LEARNED) if dump.predictor is not None else True)
    fate = np.where(stays, str(Fate.COLLAPSED), np.where(small, str(Fate.UNDECIDED), str(Fate.LEARNED)))
    # a small row is asked where it would rest
    at = Rows(np.where(small | np.isnan(p), ratio, p.real), np.where(small, rest, amplitude), s, ratio)
    steps = (
        critical_rates(
            at, dump.online, np.zeros(dump.online.shape[1]) if mean is None else mean, moments, settings, unit
        ),
        np.where(small, np.nan, wear_steps(at, settings, unit)),
        noise_boundary(at, settings, unit),
    )
    order = np.argsort(-amplitude, kind="stable")
    found = Directions(ratio, p, amplitude, amplitude / rest, fate, predicted, margin, threshold, *steps)
    return Directions(*(array[order] for array in found))


def _fixed_rows(dump: Dump, moments: Moments, p: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """θ of each row for a target that never moves: its own if the file has one, with the sign that it has beside W."""
    if dump.target is None or dump.predictor is None:
        return np.linalg.norm(rows, axis=1)
    target = dump.target if moments.support is None else dump.target @ moments.support
    values, vectors = np.linalg.eig(dump.predictor.T)
    own = vectors[:, np.argmin(np.abs(values[:, None] - p), axis=0)].T @ target
    overlap = np.real(np.sum(own * rows.conj(), axis=1))
    return np.where(overlap < 0, -1.0, 1.0) * np.linalg.norm(own, axis=1)


def _quotients(shape: np.ndarray, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """λs and r of unit rows w: w Σs wᴴ and w Σd wᴴ/(w Σs wᴴ); 1 and 0 for a row that is 0."""
    s, d = (
        np.real(np.einsum("ij,jk,ik->i", shape, sigma, shape.conj()))
        for sigma in (moments.sigma_s, moments.sigma_d)
    )
    s = np.where(s > 0, s, 1.0)
    return s, np.clip(d / s, 0, 1)


def _next_mode(held: np.ndarray, moments: Moments, *, decays: bool) -> tuple[float, float, float]:
    """λs and r of the best mode that is not held, and the weight decay that one of them survives.

    The best is the one of largest ratio (R10), or where weights decay the one that survives most (R15); λs = 1 and
    r = 0 where no mode is left.
    """
    free = np.setdiff1d(np.arange(moments.n1), held)
    if free.size == 0:
        return 1.0, 0.0, 0.0
    directions = moments.modes.directions[:, free]
    s, ratio = _quotients((directions / np.linalg.norm(directions, axis=0)).T, moments)
    survived = saddle_node(ModeSystem(s, ratio * s))
    best = np.argmax(survived if decays else ratio)
    return float(s[best]), float(ratio[best]), float(np.max(survived))
