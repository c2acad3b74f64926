"""What theory predicts for a training run: the flow that a linear network under SGD follows, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.runs.batch_noise import drawn_views, is_covered, noisy_path
from analysis.runs.spectra import predictor_eigenvalue_paths
from dynamics.integration.integrate import Status, integrate
from dynamics.modes import spectrum
from dynamics.normalisation import normalise

if TYPE_CHECKING:
    from dynamics.data.moments import Moments
    from dynamics.training import TrainingData, TrainingRun


class FlowPrediction(NamedTuple):
    """The flow from the start of a run, at the steps at which the run was measured.

    Parameters
    ----------
    steps
        Shape (T,): those of the run, up to where the flow was followed.
    feature_eigenvalues
        Of F = W Σ Wᵀ on the samples that the run was measured on, descending, (T, n2).
    predictor_eigenvalues
        Of P, complex, by descending real part, (T, n2).
    ratios
        Spectrum of M = Σd Σs⁻¹, descending, where P's eigenvalues come to rest (R18).
    status
        How the integration of the flow ended.
    noisy_features
        The same eigenvalues of F with what batches add to the flow (`analysis.runs.batch_noise`), (T, n2); None where
        nothing is known of it.
    """

    steps: np.ndarray
    feature_eigenvalues: np.ndarray
    predictor_eigenvalues: np.ndarray
    ratios: np.ndarray
    status: Status
    noisy_features: np.ndarray | None = None


def predict(
    run: TrainingRun, data: TrainingData, index: int = 0, *, moments: Moments | None = None
) -> FlowPrediction:
    """Follow the flow that a linear run approaches when its steps are small, from the same start.

    Parameters
    ----------
    run, data
        A run and the samples that it was made on.
    index
        Which of the runs.
    moments
        Σs and Σd of the views; left out, those of `data`.

    Returns
    -------
    FlowPrediction
        Run and flow differ by O(ε) from the finite step, and by O(√ε) from the noise of batches, which also moves the
        balance, and with it the size of what is learned: `noisy_features` follows that.

    Raises
    ------
    ValueError
        No flow of the theory describes the settings: which of them does not fit.

    Examples
    --------
    >>> from dynamics.training import TrainingSettings, load_data, train
    >>> settings = TrainingSettings(
    ...     data={"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]}, batch=None, encoder={"features": 1},
    ...     predictor={"kind": "linear", "start": "positive", "scale": 0.1}, steps=2000, dtype="float64")
    >>> predict(train(settings), load_data(settings.data)).predictor_eigenvalues[-1].real.round(6)
    array([0.5])
    """
    from dynamics.training import flow_of

    moments = data.moments() if moments is None else moments
    flow = flow_of(run.settings, moments, index)
    W, P, Th = (np.asarray(part[index], np.float64) for part in run.initial)
    S = np.eye(data.n1) if moments.support is None else moments.support
    start = flow.system.state(W @ S, P, Th @ S)
    ts = flow.dt * np.unique([*run.steps, run.steps[-1] + (len(run.steps) == 1)])
    trajectory = integrate(start, flow.system, flow.vector_field, ts=ts, rtol=1e-6, atol=1e-8)
    online = trajectory.states.online[: len(run.steps)] @ S.T
    # off the support of Σs the encoder sees nothing, and only decays
    decay = np.exp(-flow.system.weight_decay * trajectory.ts[: len(online)])
    online += decay[:, None, None] * (W - W @ S @ S.T)
    normalisation = run.settings.normalisation
    samples = np.reshape(data.evaluation, (-1, data.n1))
    features = samples @ online.mT
    if normalisation.of_projector.active:  # as they are measured
        features = np.stack([normalise(one, normalisation.of_projector)[0] for one in features])
    noisy = None
    one = run.settings.at(index)
    if is_covered(one, flow) and len(online) > 1:
        path = noisy_path(start, flow, drawn_views(data, S, one), one.batch, trajectory.ts[: len(online)])
        noisy = _spectra(samples @ (path @ S.T).mT)
    predictor = predictor_eigenvalue_paths(trajectory)[: len(online)]
    order = np.argsort(-predictor.real, axis=1, kind="stable")
    return FlowPrediction(
        steps=run.steps[: len(online)],
        feature_eigenvalues=_spectra(features),
        predictor_eigenvalues=np.take_along_axis(predictor, order, axis=1),
        ratios=spectrum(flow.system)
        if np.any(normalisation.mean) and not normalisation.of_projector.subtracts
        else moments.ratios,
        status=trajectory.status,
        noisy_features=noisy,
    )


def _spectra(features: np.ndarray) -> np.ndarray:
    """Eigenvalues of F of features (T, N, n2), descending; NaN where they are not known."""
    F = features.mT @ features / features.shape[-2]
    known = np.all(np.isfinite(F), axis=(1, 2))
    found = np.full(F.shape[:2], np.nan)
    found[known] = np.linalg.eigvalsh(F[known])[:, ::-1]
    return found
