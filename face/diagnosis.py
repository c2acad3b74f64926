"""Why a network collapsed, or will: a diagnosis of arrays in memory."""

from __future__ import annotations

from typing import Any

from face.result import Result


def diagnose(
    view1: Any,
    view2: Any,
    *,
    online: Any = None,
    predictor: Any = None,
    target: Any = None,
    labels: Any = None,
    **settings: Any,
) -> Result:
    """Say whether a network collapsed, or will, and why, from two views of its features and its last layers.

    Parameters
    ----------
    view1, view2
        Features of two views of each sample, shape (N, d), in one order; the input of `online` where that is given.
    online, predictor, target
        W (n2, d), P (n2, n2) and Θ (n2, d), where they are known.
    labels
        Class of each sample, integers, for a linear probe.
    **settings
        How it was trained, as far as that is known: predictor_rate (1), weight_decay, decay, stop_gradient (True),
        loss_factor (1), learning_rate and batch, as `analysis.runs.run_settings.RunSettings` has them.

    Returns
    -------
    Result
        Of an `analysis.runs.diagnosis.FeatureDiagnosis`: `verdict`, `causes`, `directions` and so on.

    Raises
    ------
    ValueError
        Arrays that do not fit, numbers that are not finite, one view given twice, or a setting that is unknown or out
        of range.

    Examples
    --------
    >>> import dyn, numpy as np
    >>> x, *noise = np.random.default_rng(0).normal(size=(3, 500, 3))
    >>> dyn.diagnose(x + 0.3 * noise[0], x + 0.3 * noise[1])
    healthy: all 3 directions vary
    rank 3, effective rank 2.997, RankMe 2.999
    """
    from dataclasses import fields

    from analysis.runs.diagnosis import diagnose as examine
    from analysis.runs.run_settings import RunSettings
    from dynamics.data.dumps import checked_dump

    known = [field.name for field in fields(RunSettings)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"`settings` must be some of {', '.join(known)}, got {unknown[0]!r}")
    arrays = {
        "view1": view1,
        "view2": view2,
        "online": online,
        "predictor": predictor,
        "target": target,
        "labels": labels,
    }
    return Result(examine(checked_dump(arrays), RunSettings(**settings)))
