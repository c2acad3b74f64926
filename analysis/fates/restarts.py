"""Which part of the modes restarts of the predictor kill, now and in the long run (R226)."""

from __future__ import annotations

import numpy as np

from dynamics.exact.restarts import RestartLaw, restart_edges, restart_map

_GRID = 1500  # sizes √x between which fractions are interpolated


def _panels(panels: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre on [0, 1], in panels of equal width."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    starts = np.arange(panels)[:, None]
    return ((starts + (nodes + 1) / 2) / panels).ravel(), np.tile(weights / 2 / panels, panels)


_U, _DU = _panels(30, 6)  # D has kinks, so many panels of low order


def death_probability(x: float, ratio: float, law: RestartLaw) -> float:
    """Probability that the next restart kills a mode, P(p <= −√x) + P(p >= √(x + r²)).

    Parameters
    ----------
    x
        τo w1²/τp >= 0 of the mode at rest.
    ratio
        r = λd/λs >= 0.
    law
        Law of the fresh predictor.

    Notes
    -----
    Source: R226.

    Examples
    --------
    >>> round(death_probability(0.01, 0.5, RestartLaw(0.15)), 6)  # (a − √x)/2a
    0.166667
    """
    return float(_death(np.asarray(x, dtype=np.float64), ratio, law))


def _death(x: np.ndarray, ratio: float, law: RestartLaw) -> np.ndarray:
    low, high = restart_edges(x, ratio)
    return np.where(x > 0, np.asarray(law.cdf(low) + 1 - law.cdf(high)), 1.0)


def collapse_fraction(x: float, ratio: float, law: RestartLaw, restarts: int) -> float:
    """Probability that a mode is dead after some restarts.

        D_k(x) = P(dies now) + E[D_{k−1}(x + r² − p²); survives],   D_0 = 0

    Parameters
    ----------
    x, ratio, law
        As for `death_probability`.
    restarts
        k >= 0, each after the mode has come to rest.

    Returns
    -------
    float
        To about 1e-4: D is interpolated in √x, and has kinks at the ends of the law.

    Raises
    ------
    ValueError
        A number is out of range.

    Notes
    -----
    Source: R226.

    Examples
    --------
    >>> [round(collapse_fraction(0.01, 0.5, RestartLaw(0.5), k), 3) for k in (1, 2)]
    [0.4, 0.447]
    """
    if isinstance(restarts, bool) or restarts < 0 or int(restarts) != restarts:
        raise ValueError(f"`restarts` must be an integer >= 0, got {restarts}")
    if not (np.isfinite(x) and x >= 0):
        raise ValueError(f"`x` must be finite and >= 0, got {x}")
    if not (np.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"`ratio` must be finite and >= 0, got {ratio}")
    if restarts == 0:
        return 0.0
    # no size that can be reached is larger: a restart adds at most r²
    roots = np.linspace(0.0, np.sqrt(x + restarts * ratio**2), _GRID)
    dead = np.zeros_like(roots)
    for _ in range(restarts - 1):
        dead = _one_more(roots**2, ratio, law, roots, dead)
    return float(_one_more(np.array([x]), ratio, law, roots, dead)[0])


def _one_more(
    x: np.ndarray, ratio: float, law: RestartLaw, roots: np.ndarray, dead: np.ndarray
) -> np.ndarray:
    """Probability of death at sizes x, shape (n,), by one restart more than those behind `dead`, given at √x = roots.

    The integral is over the law's own probability u, of which a fresh weight is the quantile.
    """
    low, high = (np.asarray(law.cdf(edge)) for edge in restart_edges(x, ratio))
    u = low[:, None] + (high - low)[:, None] * _U
    after = np.sqrt(restart_map(x[:, None], law.quantile(u), ratio))
    later = np.interp(after, roots, dead) @ _DU
    return np.where(x > 0, low + 1 - high + (high - low) * later, 1.0)


def survives_for_ever(ratio: float, law: RestartLaw) -> bool:
    """Whether a mode may live through any number of restarts: E p² < r².

    Then its size grows by r² − E p² per restart on average, and beyond all fresh predictors with positive probability.
    Where E p² >= r² every mode dies in the end.

    Raises
    ------
    ValueError
        The ratio is negative or not finite.

    Notes
    -----
    At E p² = r² the size is a walk without drift, which dies. Of a law that no weight of which kills the mode, such as
    U[0, a] with a <= r, nothing dies at all. Source: R226.

    Examples
    --------
    >>> survives_for_ever(0.5, RestartLaw(0.8)), survives_for_ever(0.5, RestartLaw(0.9))
    (True, False)
    """
    if not (np.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"`ratio` must be finite and >= 0, got {ratio}")
    return law.second_moment < ratio**2
