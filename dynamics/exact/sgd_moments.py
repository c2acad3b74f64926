"""SGD of one linear neuron under the simple contrastive loss: noise of its steps, and E[w wᵀ] exactly (R106, R107)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from dynamics.system import MatrixSystem

Negatives = Literal["independent", "in-batch"]
"""Whether every anchor has a negative of its own, or the other samples of the batch are its negatives."""


class SecondMoment(NamedTuple):
    """E[w wᵀ] = e^{log_trace} · share: its trace apart, for it grows without bound.

    Parameters
    ----------
    share
        E[w wᵀ]/tr E[w wᵀ], shape (n1, n1).
    log_trace
        log tr E[w wᵀ] = log E‖w‖².
    """

    share: np.ndarray
    log_trace: float


def triplet_noise(system: MatrixSystem, w: Any, batch: int) -> np.ndarray:
    """Covariance of −ĝ = (1/B) Σ x1 (f₊ − f₋) over B independent triplets: [2 s Σs + Σd w wᵀ Σd]/B, s = wᵀΣs w.

    Parameters
    ----------
    system
        Σs and Σd of centred Gaussian views.
    w
        The neuron, shape (n1,).
    batch
        B >= 1.

    Returns
    -------
    Array
        Shape (n1, n1). The mean of −ĝ is Σd w at every B.

    Raises
    ------
    ValueError
        `batch` or the shape of `w` is out of range.

    Notes
    -----
    Gradients through one branch. Source: R106.

    Examples
    --------
    >>> triplet_noise(MatrixSystem([[2.0]], [[1.0]]), [1.0], batch=1)
    array([[9.]])
    """
    return _noise(system, np.outer(*[_weights(system, w)] * 2), batch, "independent")


def in_batch_noise(system: MatrixSystem, w: Any, batch: int) -> np.ndarray:
    """Covariance of −ĝ when the other samples of a batch of N are the negatives: [s Σs + Σd w wᵀ Σd]/(N − 1).

    −ĝ is then the unbiased sample cross-covariance of x1 and f₊. Parameters and results as for `triplet_noise`, with
    N >= 2 samples. Source: R106.

    >>> in_batch_noise(MatrixSystem([[2.0]], [[1.0]]), [1.0], batch=2)
    array([[5.]])
    """
    return _noise(system, np.outer(*[_weights(system, w)] * 2), batch, "in-batch")


def mean_factor(batch: int, *, includes_itself: bool = False, finite_population: bool = False) -> float:
    """Mean of the in-batch estimate −ĝ over its large-batch value.

    Parameters
    ----------
    batch
        N: the batch size, or that of the whole data set where that is the batch. N >= 2 unless `includes_itself`.
    includes_itself
        The sample itself counts among its N negatives: 1 − 1/N.
    finite_population
        The N samples are all there are, and the large-batch value is their plug-in covariance: N/(N − 1) if negatives
        j ≠ i are used, 1 if j = i is included.

    Returns
    -------
    float
        1 for negatives j ≠ i of fresh batches, at every N >= 2: no large batch is needed in the mean.

    Raises
    ------
    ValueError
        `batch` is too small.

    Notes
    -----
    Source: R106.

    Examples
    --------
    >>> mean_factor(4), mean_factor(4, includes_itself=True), mean_factor(4, finite_population=True)
    (1.0, 0.75, 1.3333333333333333)
    """
    least = 1 if includes_itself else 2
    if batch < least:
        raise ValueError(f"`batch` must be an integer >= {least}, got {batch}")
    if finite_population:
        return 1.0 if includes_itself else batch / (batch - 1)
    return 1 - 1 / batch if includes_itself else 1.0


def sgd_second_moment(
    M0: Any,
    system: MatrixSystem,
    step: float,
    batch: int,
    n: int,
    *,
    negatives: Negatives = "independent",
) -> SecondMoment:
    """Second moment E[w wᵀ] after n steps of SGD under the simple loss, fresh batches, one branch: exact.

        M⁺ = M + ε(Σd M + M Σd) + ε²[Σd M Σd + noise],   noise = (2 tr(MΣs) Σs + Σd M Σd)/B

    or, with in-batch negatives, noise = (tr(MΣs) Σs + Σd M Σd)/(B − 1). The mean is E w = (I + εΣd)ⁿ w_0.

    Parameters
    ----------
    M0
        E[w_0 w_0ᵀ], shape (n1, n1), symmetric positive semidefinite, not 0.
    system
        Σs and Σd of centred Gaussian views.
    step
        ε > 0.
    batch
        B >= 1 triplets, or B >= 2 samples with in-batch negatives.
    n
        Number of steps, >= 0.
    negatives
        ``independent`` or ``in-batch``.

    Returns
    -------
    SecondMoment
        Its share and the logarithm of its trace, which is past all floats where the moment itself would be.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Each step is linear in M (Isserlis), at a cost of O(n1³). Source: R107, new.

    Examples
    --------
    >>> system = MatrixSystem([[2.0]], [[1.0]])
    >>> found = sgd_second_moment([[1.0]], system, step=0.1, batch=1, n=1)
    >>> round(float(np.exp(found.log_trace)), 12)
    1.3
    """
    M = np.array(M0, dtype=np.float64)
    if M.shape != (system.n1, system.n1) or not np.all(np.isfinite(M)) or not np.trace(M) > 0:
        raise ValueError(f"`M0` must be a finite matrix ({system.n1}, {system.n1}) with a trace > 0, got {M}")
    _check_step(step)
    if n < 0:
        raise ValueError(f"`n` must be an integer >= 0, got {n}")
    log_trace = 0.0
    for moved in range(n + 1):
        if moved:
            M = _stepped(M, system, step, batch, negatives)
        trace = np.trace(M)
        M, log_trace = M / trace, log_trace + float(np.log(trace))
    return SecondMoment(M, log_trace)


def _stepped(
    M: np.ndarray, system: MatrixSystem, step: float, batch: int, negatives: Negatives
) -> np.ndarray:
    drift = np.eye(system.n1) + step * _matrix(system.sigma_d)
    return drift @ M @ drift.T + step**2 * _noise(system, M, batch, negatives)


def _noise(system: MatrixSystem, M: np.ndarray, batch: int, negatives: Negatives) -> np.ndarray:
    sigma_s, sigma_d = _matrix(system.sigma_s), _matrix(system.sigma_d)
    if negatives == "independent":
        twice, count, least = 2, batch, 1
    elif negatives == "in-batch":
        twice, count, least = 1, batch - 1, 2
    else:
        raise ValueError(f"`negatives` must be independent or in-batch, got {negatives!r}")
    if batch < least:
        raise ValueError(f"`batch` must be an integer >= {least}, got {batch}")
    return (twice * np.sum(M * sigma_s) * sigma_s + sigma_d @ M @ sigma_d) / count


def settled_misalignment(
    system: MatrixSystem, step: float, batch: int, *, negatives: Negatives = "independent"
) -> float:
    """Share Σ_{i>1} M_ii/M_11 of the lesser eigenvectors of Σd that SGD settles to: its direction never does.

    From the Perron vector of the map M → M⁺ of `sgd_second_moment`.

    Parameters
    ----------
    system
        Σs and Σd of centred Gaussian views; the top eigenvalue of Σd is simple.
    step, batch, negatives
        As for `sgd_second_moment`.

    Returns
    -------
    float
        Misalignment in the eigenbasis of Σd.

    Raises
    ------
    ValueError
        An argument is out of range.

    Notes
    -----
    Decoupled modes need the diagonal of M alone; else the map has n1² unknowns. Source: R107, new.

    Examples
    --------
    >>> system = MatrixSystem([2.0, 1.0], [1.0, 0.5])
    >>> exact, first = settled_misalignment(system, 1e-4, 8), first_order_misalignment(system, 1e-4, 8)
    >>> round(exact / first, 3)
    1.0
    """
    _check_step(step)
    n = system.n1
    if system.sigma_d.ndim == 1:
        units = [np.diag(row) for row in np.eye(n)]
        images = np.array([np.diag(_stepped(M, system, step, batch, negatives)) for M in units]).T
    else:
        units = [row.reshape(n, n) for row in np.eye(n * n)]
        images = np.array([_stepped(M, system, step, batch, negatives).ravel() for M in units]).T
    values, vectors = np.linalg.eig(images)
    top = np.real(vectors[:, np.argmax(np.real(values))])
    M = np.diag(top) if system.sigma_d.ndim == 1 else top.reshape(n, n)
    _, Q = np.linalg.eigh(_matrix(system.sigma_d))
    shares = np.diag(Q.T @ M @ Q)[::-1]
    return float(np.sum(shares[1:]) / shares[0])


def first_order_misalignment(system: MatrixSystem, step: float, batch: int) -> float:
    """(ε/B) Σ_{i>1} λs_1 λs_i/(λd_1 − λd_i): `settled_misalignment` of decoupled modes up to O(ε²).

    Parameters
    ----------
    system
        λs and λd as vectors, in any order; the largest λd is simple.
    step, batch
        ε > 0, and B >= 1 independent triplets.

    Raises
    ------
    ValueError
        The system is no system of decoupled modes, or an argument is out of range.

    Notes
    -----
    Source: R107, new.

    Examples
    --------
    >>> first_order_misalignment(MatrixSystem([2.0, 1.0], [1.0, 0.5]), step=0.001, batch=8)
    0.0005
    """
    _check_step(step)
    if batch < 1:
        raise ValueError(f"`batch` must be an integer >= 1, got {batch}")
    if system.sigma_d.ndim != 1:
        raise ValueError("`system` must hold decoupled modes, Σs and Σd as vectors")
    order = np.argsort(-system.sigma_d)
    ls, ld = system.sigma_s[order], system.sigma_d[order]
    if len(ld) > 1 and ld[0] == ld[1]:
        raise ValueError(f"`system` must have one largest λd, got {ld[0]} twice")
    return float(step / batch * np.sum(ls[0] * ls[1:] / (ld[0] - ld[1:])))


def _check_step(step: float) -> None:
    if not 0 < step < np.inf:
        raise ValueError(f"`step` must be finite and > 0, got {step}")


def _weights(system: MatrixSystem, w: Any) -> np.ndarray:
    w = np.asarray(w, dtype=np.float64)
    if w.shape != (system.n1,):
        raise ValueError(f"`w` must have shape ({system.n1},), got {w.shape}")
    return w


def _matrix(sigma: np.ndarray) -> np.ndarray:
    return np.diag(sigma) if sigma.ndim == 1 else sigma
