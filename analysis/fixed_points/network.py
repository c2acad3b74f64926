"""Where the network can rest: its canonical fixed points, and those that `polish` finds beside the end of a run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from math import inf
from typing import Literal, NamedTuple

import numpy as np

from analysis.stability.adapted import fixed_point_residual
from analysis.stability.jacobian import jacobian_operator
from dynamics.exact.fixed_points import weight_decay_fixed_points
from dynamics.fields.matrices import full_field
from dynamics.modes import expand_modes, joint_eigenbasis
from dynamics.states import MatrixState, ModeState, pack, unpack
from dynamics.system import MatrixSystem, ModeSystem

_SLOWEST = 1e-10  # rate, relative to the fastest, of the directions that `polish` still corrects


class CanonicalFixedPoint(NamedTuple):
    """A decoupled fixed point: row i holds mode `modes[i]` at `levels[i]`; modes by descending ratio (R9)."""

    modes: tuple[int, ...]
    levels: tuple[str, ...]
    state: MatrixState

    def __repr__(self) -> str:
        """One line, without the matrices."""
        n2, n1 = self.state.online.shape
        return f"CanonicalFixedPoint(modes={self.modes}, levels={self.levels}, n1={n1}, n2={n2})"


def canonical_fixed_points(
    system: MatrixSystem,
    n2: int,
    *,
    rank: int | None = None,
    amplitude: float | None = None,
    limit: int = 100_000,
) -> Iterator[CanonicalFixedPoint]:
    """Decoupled fixed points of the full flow: row i of W is w_i u_iᵀ, P = diag(p), Θ = W.

    At η = 0, p_i = r_i for each of the C(m, k) choices of k of the m modes that can be held; at η > 0, p_i is
    p− or p+ (R15), 2ᵏ C(m, k) ways. The first k rows hold them in their order, the others have w_i = p_i = 0.

    Parameters
    ----------
    system
        With commuting Σs and Σd.
    n2
        Feature dimension, >= 1.
    rank
        k; left out, every k from 0 to the smaller of n2 and m, ascending.
    amplitude
        |w_i| > 0 of learned rows at η = 0; left out, balanced: C = 0, |w_i| = sqrt(τp/τo) |r_i|.
    limit
        Most points that will be listed.

    Returns
    -------
    Iterator of CanonicalFixedPoint
        They are made one by one. W → −W, the order of rows, and S of R4 give the others.

    Raises
    ------
    ValueError
        Σs and Σd do not commute, an option is out of range, or there are more points than `limit`.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(3), np.array([0.9, 0.5, 0.2]))
    >>> [point.modes for point in canonical_fixed_points(system, 2, rank=2)]
    [(0, 1), (0, 2), (1, 2)]
    """
    basis = joint_eigenbasis(system)
    if n2 < 1 or not (rank is None or 0 <= rank <= n2):
        raise ValueError(
            f"`n2` must be >= 1 and `rank` from 0 to n2, got {n2} and {'any' if rank is None else rank}"
        )
    if amplitude is not None and not (system.weight_decay == 0 and 0 < amplitude < inf):
        raise ValueError(f"`amplitude` must be > 0, finite, and without weight decay, got {amplitude}")
    rates = {
        name: getattr(system, name) for name in ("tau_online", "tau_predictor", "tau_target", "weight_decay")
    }
    levels = _mode_levels(ModeSystem(basis.lambda_s, basis.lambda_d, **rates), amplitude)
    held = [mode for mode, its_levels in enumerate(levels) if its_levels]
    ranks = range(min(n2, len(held)) + 1) if rank is None else [rank]
    counts = [1]  # of choices of k modes and their levels: coefficients of the product of 1 + n_levels x
    for mode in held:
        counts = [a + len(levels[mode]) * b for a, b in zip([*counts, 0], [0, *counts], strict=True)]
    count = sum(counts[k] for k in ranks if k < len(counts))
    if count > limit:
        raise ValueError(
            f"`limit` must be at least the {count} fixed points there are, or `rank` less, got {limit}"
        )

    def points() -> Iterator[CanonicalFixedPoint]:
        for k in ranks:
            for modes in combinations(held, k):
                for choice in product(*(levels[mode] for mode in modes)):
                    w, p, U = np.zeros(n2), np.zeros(n2), np.zeros((n2, system.n1))
                    w[:k], p[:k] = [level.online for level in choice], [level.predictor for level in choice]
                    U[:k] = basis.directions[:, modes].T
                    names = tuple(level.name for level in choice)
                    yield CanonicalFixedPoint(modes, names, expand_modes(ModeState(w, p, w), U))

    return points()


class _Level(NamedTuple):
    name: str
    online: float
    predictor: float


def _mode_levels(modes: ModeSystem, amplitude: float | None) -> list[list[_Level]]:
    """Where each mode can rest with w1 > 0."""
    if modes.weight_decay:
        names, (online, predictor, _), _ = weight_decay_fixed_points(modes)
        w1 = np.abs(online)
        w1[1, w1[1] == w1[3]] = np.nan  # p− and p+ have met: one point
        which = [(names[i], w1[i], predictor[i]) for i in (1, 3)]
    else:
        balanced = np.sqrt(modes.tau_predictor / modes.tau_online) * np.abs(modes.ratio)
        held = balanced if amplitude is None else np.where(np.isnan(modes.ratio), np.nan, amplitude)
        which = [("learned", held, modes.ratio)]
    return [
        [_Level(name, float(w[mode]), float(p[mode])) for name, w, p in which if w[mode] > 0]
        for mode in range(modes.n_modes)
    ]


class Polished(NamedTuple):
    """Result of `polish`.

    Parameters
    ----------
    state
        The last state, a fixed point if converged.
    status
        "converged", or "stalled": no step made the residual smaller, or `max_steps` were used up.
    residual_before, residual_after
        `analysis.stability.spectrum.fixed_point_residual`.
    displacement
        Norm of the whole correction.
    n_steps
        Steps taken.
    """

    state: MatrixState
    status: Literal["converged", "stalled"]
    residual_before: float
    residual_after: float
    displacement: float
    n_steps: int

    def __repr__(self) -> str:
        """One line, without the matrices."""
        residuals = f"residual {self.residual_before:.3g} -> {self.residual_after:.3g}"
        return (
            f"Polished({self.status}, {residuals}, moved by {self.displacement:.3g} in {self.n_steps} steps)"
        )


def polish(
    state: MatrixState, system: MatrixSystem, *, tolerance: float = 1e-12, max_steps: int = 50
) -> Polished:
    """Carry a state near rest to a fixed point beside it: Levenberg–Marquardt on the full field F.

    Each step δ has the least |F + J δ|² + μ² |δ|², μ = |F|/|x| or, where that fails, larger. The fixed points
    come in manifolds, J is singular, and this tends to the Gauss–Newton step of minimum norm. Convergence is
    quadratic where |F| grows like the distance from them: not where p or p − r of a collapsed row is 0 (R5).

    Parameters
    ----------
    state, system
        The end of a run, at any η >= 0.
    tolerance
        `fixed_point_residual` that is small enough, > 0, in the units of the field.
    max_steps
        Most steps, >= 1.

    Returns
    -------
    Polished
        With status "stalled" where rounding or a degenerate point keeps the residual above the tolerance.

    Raises
    ------
    ValueError
        `tolerance` or `max_steps` is out of range.

    Notes
    -----
    LSMR finds the steps from products with J and its adjoint; memory is that of a few states. Yamashita and
    Fukushima (2001) prove that this damping converges quadratically.

    Examples
    --------
    >>> system = MatrixSystem(np.ones(2), np.array([0.9, 0.5]))
    >>> polish(system.state([[0.9, 0.001]], [[0.89]]), system).status
    'converged'
    """
    from scipy.sparse.linalg import lsmr

    if not 0 < tolerance < inf or max_steps < 1:
        raise ValueError(f"`tolerance` must be > 0 and `max_steps` >= 1, got {tolerance} and {max_steps}")
    start = system.state(*state)
    x = pack(start)
    before = residual = fixed_point_residual(start, system)
    F = pack(full_field(0.0, start, system))
    first = float(np.linalg.norm(F))
    n_steps = 0
    while residual > tolerance and np.any(F) and n_steps < max_steps:
        size = float(np.linalg.norm(F))
        jacobian = jacobian_operator(unpack(x, start), system)
        accuracy = 1e-2 * size / first  # of the step: enough to stay quadratic
        for damp in size / np.linalg.norm(x) * 4.0 ** np.arange(8):  # far from rest, shorter steps
            options = {"atol": _SLOWEST, "btol": accuracy, "conlim": 0, "maxiter": 10 * x.size}
            step = lsmr(jacobian, -F, damp=damp, **options)[0]
            moved = pack(full_field(0.0, unpack(x + step, start), system))
            if np.linalg.norm(moved) < size:
                break
        else:
            break
        x, F, n_steps = x + step, moved, n_steps + 1
        residual = fixed_point_residual(unpack(x, start), system)
    status: Literal["converged", "stalled"] = "converged" if residual <= tolerance else "stalled"
    displacement = float(np.linalg.norm(x - pack(start)))
    return Polished(unpack(x, start), status, before, residual, displacement, n_steps)
