"""Moments of views whose mean was subtracted, as batch normalisation sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dynamics.data.moments import Moments
from dynamics.normalisation import centred


def with_mean(moments: Moments, mean: object) -> Moments:
    """Moments with a mean μ of the views, given in terms of the samples.

    Raises
    ------
    ValueError
        The mean does not fit, or Σd − μμᵀ is not positive semidefinite: no views have it.

    Examples
    --------
    >>> with_mean(Moments.from_eigenvalues([2.0, 1.0], [1.5, 0.2]), [1.0, 0.0]).mean
    array([1., 0.])
    """
    mu = np.array(mean, dtype=np.float64)
    if mu.shape != (moments.n_inputs,):
        raise ValueError(f"`mean` must be given once for each of {moments.n_inputs} modes, got {mu.size}")
    found = replace(moments, mean=mu if moments.support is None else moments.support.T @ mu)
    centred_views(found)
    return found


def centred_views(moments: Moments) -> Moments:
    """Moments S = Σs − μμᵀ and D = Σd − μμᵀ of views whose mean was subtracted, on the support of S.

    Parameters
    ----------
    moments
        Σs, Σd and μ.

    Returns
    -------
    Moments
        With mean zero. A direction in which views differ from zero by their mean alone is dropped.

    Raises
    ------
    ValueError
        The mean is not known, or Σd − μμᵀ is not positive semidefinite.

    Notes
    -----
    Source: R216.

    Examples
    --------
    >>> moments = with_mean(Moments.from_eigenvalues([2.0, 1.0], [1.5, 0.2]), [1.0, 0.0])
    >>> centred_views(moments).ratios
    array([0.5, 0.2])
    """
    if moments.mean is None:
        raise ValueError(
            "`mean` of the views must be known for mean normalisation, and these moments do not hold it"
        )
    if not moments.mean.any():
        return moments
    S, D = centred(moments.sigma_s, moments.mean), centred(moments.sigma_d, moments.mean)
    try:
        found = replace(moments, sigma_s=S, sigma_d=D, mean=np.zeros(len(S)))
    except ValueError as error:
        raise ValueError(
            f"`mean` must leave Σd − μμᵀ positive semidefinite, as the mean of views does: {error}"
        ) from None
    return replace(found, notes=(*found.notes, "centred: the mean of the views was subtracted"))
