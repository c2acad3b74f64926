"""The flow of matrices linearised at a state, and what nearly inverts I − cJ: implicit steps rest on it.

With increments (w, p, t) of (W, P, Θ) and e = t Σd − (P w + p W) Σs,

    J (w, p, t) = ((pᵀE + Pᵀe)/τo − η w,  (e Wᵀ + E wᵀ)/τp − η p,  (w − t)/τt).

`Condensed` eliminates t from (I − cJ) x = b. `Preconditioner` nearly solves the rest in a basis Y of the inputs in
which I, Σs and Σd are replaced by their diagonals, and is exact in all else: it eliminates w by one n2×n2 system per
basis vector, then solves for p, n2² unknowns. Where Σs and Σd commute nothing is replaced. Else two bases serve: the
eigenvectors of Σs for short steps, where I and Σs count, and those of the pencil (Σd, I/(cκ²) + Σs) for long ones,
which are right for predictors of size κ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dynamics.fields.predictors import times
from dynamics.fields.vector_field import TargetRule, VectorField
from dynamics.integration.trajectory import Trajectory
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem

LARGEST_FEATURES = 32
"""n2 up to which the predictor is eliminated: that takes a dense system of n2² unknowns."""

SMALLEST_INPUTS = 128
"""n1 from which implicit steps are faster than the explicit and exponential ones."""

LADDER = 4.0
"""Long steps share a basis as long as they differ by less than this factor."""


class Basis(NamedTuple):
    """Vectors of the inputs as columns Y, shape (n1, n1), and the diagonals of YᵀY, YᵀΣsY and YᵀΣdY.

    Y None stands for the unit vectors.
    """

    vectors: np.ndarray | None
    unit: np.ndarray
    sigma_s: np.ndarray
    sigma_d: np.ndarray


class Bases:
    """The bases of a system whose Σs is diagonal, made when first asked for.

    Parameters
    ----------
    sigma_s
        Eigenvalues of Σs, shape (n1,), >= 0 up to rounding.
    sigma_d
        Σd in the eigenvectors of Σs, shape (n1, n1), or its diagonal.
    """

    def __init__(self, sigma_s: np.ndarray, sigma_d: np.ndarray):
        self._sigma_s, self._sigma_d = sigma_s, sigma_d
        self.diagonal = sigma_d.ndim == 1
        diagonal = sigma_d if self.diagonal else np.diag(sigma_d).copy()
        self.short = Basis(None, np.ones_like(sigma_s), sigma_s, diagonal)
        self._long: dict[int, Basis] = {}

    def long(self, weight: float) -> Basis:
        """Basis for (1 + weight Σs) and Σd, which it makes diagonal up to the rounding of weight to its ladder."""
        if self.diagonal:
            return self.short
        rung = round(float(np.log(weight) / np.log(LADDER)))
        if rung not in self._long:
            from scipy.linalg import eigh

            shifted = self._sigma_s + LADDER**-rung
            sigma_d, Y = eigh(self._sigma_d, np.diag(shifted), overwrite_b=True, check_finite=False)
            squares = Y * Y
            self._long[rung] = Basis(Y, squares.sum(axis=0), self._sigma_s @ squares, sigma_d)
        return self._long[rung]


class Linearisation:
    """J at a state, for a system whose Σs is diagonal.

    Parameters
    ----------
    y
        State, packed.
    flow
        What does not depend on the state.
    """

    def __init__(self, y: np.ndarray, flow: MatrixFlow):
        self.flow = flow
        system = flow.system
        self.W, self.P, Th = flow.parts(y)
        if flow.rule is TargetRule.ONLINE:
            Th = self.W
        self.WS = self.W * flow.sigma_s
        self.E = times(Th, flow.sigma_d) - self.P @ self.WS
        self._system = system

    def condensed(self, c: float) -> Condensed:
        """I − cJ with the target eliminated."""
        return Condensed(self, c)


class Condensed:
    """(I − cJ) x = b without its target: t = t0 + θ w, where t0 comes from b.

    What is left, for x = (w, p) and e = θ w Σd − (P w + p W) Σs, is

        A x = ((1 + cη) w − (c/τo)(pᵀE + Pᵀe),  (1 + cη) p − (c/τp)(e Wᵀ + E wᵀ)).
    """

    def __init__(self, at: Linearisation, c: float):
        flow, system = at.flow, at.flow.system
        self.at, self.c = at, c
        self.decay = 1 + c * system.weight_decay
        self.follow = c / system.tau_target if flow.rule is TargetRule.FOLLOWS else 0.0
        self.theta = {
            TargetRule.FOLLOWS: self.follow / (1 + self.follow),
            TargetRule.FIXED: 0.0,
            TargetRule.ONLINE: 1.0,
        }[flow.rule]
        self.co, self.cp = c / system.tau_online, c / system.tau_predictor

    def _split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n1, n2 = self.at.flow.n1, self.at.flow.n2
        return x[: n1 * n2].reshape(n2, n1), x[n1 * n2 :].reshape(n2, n2)

    def right(self, b: np.ndarray) -> np.ndarray:
        """What A x must be for (I − cJ) x = b."""
        at, flow = self.at, self.at.flow
        w, p, t = flow.parts(b)
        if flow.rule is TargetRule.ONLINE:
            return b[: w.size + p.size]
        e = times(t / (1 + self.follow), flow.sigma_d)
        return np.concatenate([(w + self.co * (at.P.T @ e)).ravel(), (p + self.cp * (e @ at.W.T)).ravel()])

    def product(self, x: np.ndarray) -> np.ndarray:
        """A x."""
        at, flow = self.at, self.at.flow
        w, p = self._split(x)
        e = -(at.P @ w + p @ at.W) * flow.sigma_s
        if self.theta:
            e += self.theta * times(w, flow.sigma_d)
        dw = self.decay * w - self.co * (p.T @ at.E + at.P.T @ e)
        dp = self.decay * p - self.cp * (e @ at.W.T + at.E @ w.T)
        return np.concatenate([dw.ravel(), dp.ravel()])

    def whole(self, x: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(w, p, t) from (w, p)."""
        flow = self.at.flow
        w = self._split(x)[0]
        rw, _, rt = flow.parts(b)
        t = rt + w - rw if flow.rule is TargetRule.ONLINE else rt / (1 + self.follow) + self.theta * w
        return np.concatenate([x, t.ravel()])

    def preconditioner(self, *, long: bool) -> Preconditioner:
        """What nearly solves A x = b, in the basis for long or for short steps."""
        return Preconditioner(self, long=long)


class Preconditioner:
    """Solve A x = b of `Condensed` as if I, Σs and Σd were diagonal in a basis; exactly where they are.

    It reads, with L_j for basis vector j and v the coordinates of w,

        L_j v_j = (rw Y)_j + (c/τo) (pᵀ(E Y)_j − Pᵀ p (W Σs Y)_j),
        L_j = (1 + cη) |Y_j|² I + (c/τo)(PᵀP Y_jᵀΣsY_j − θ Pᵀ Y_jᵀΣdY_j),
        (1 + cη) p − (c/τp)(θ w Σd Wᵀ − P w Σs Wᵀ − p W Σs Wᵀ + E wᵀ) = rp;

    v put into the last line leaves a system for p alone.

    Raises
    ------
    numpy.linalg.LinAlgError
        A system is singular: c times the rate of a mode that grows is 1.
    """

    def __init__(self, system: Condensed, *, long: bool):
        at, flow = system.at, system.at.flow
        P, E = at.P, at.E
        n2 = len(P)
        self.at, self.decay, self.theta, self.co, self.cp = (
            at,
            system.decay,
            system.theta,
            system.co,
            system.cp,
        )
        size = np.sum(P * P)
        kappa = float(np.sum((P.T @ P) ** 2) / size) if size > 0 else 0.0
        weight = float(self.co * kappa / self.decay)
        basis = flow.bases.long(weight) if long and weight > 0 else flow.bases.short
        self.Y = basis.vectors
        self.VS, self.VD, self.EY = self._in(at.WS), self._in(times(at.W, flow.sigma_d)), self._in(E)
        eye = np.eye(n2)
        L = self.decay * basis.unit[:, None, None] * eye + self.co * (
            basis.sigma_s[:, None, None] * (P.T @ P) - (self.theta * basis.sigma_d)[:, None, None] * P.T
        )
        self.L = np.linalg.inv(L)
        from scipy.linalg import lu_factor

        F = self.decay * eye + self.cp * (at.WS @ at.W.T)
        self.predictor = lu_factor(np.kron(eye, F) - self.co * self.cp * self._feedback(), check_finite=False)

    def _in(self, rows: np.ndarray) -> np.ndarray:
        """Rows times Y."""
        return rows if self.Y is None else rows @ self.Y

    def _feedback(self) -> np.ndarray:
        """What p does to its own equation through w, shape (n2², n2²).

        p -> Σ_j [θ L_j⁻¹ b_j (WΣdY)_jᵀ − P L_j⁻¹ b_j (WΣsY)_jᵀ + (EY)_j b_jᵀL_j⁻ᵀ], b_j = pᵀ(EY)_j − Pᵀp (WΣsY)_j.
        """
        P, L = self.at.P, self.L
        n1, n2, _ = L.shape
        E, S, D = self.EY.T, self.VS.T, self.VD.T

        def total(left: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
            """Σ_j left_j ⊗ u_j ⊗ v_j, indices (row, column of left; u; v)."""
            outer = u[:, :, None] * v[:, None, :]
            return (left.reshape(n1, -1).T @ outer.reshape(n1, -1)).reshape(n2, n2, n2, n2)

        LP, PL = L @ P.T, P @ L
        found = self.theta * total(L, D, E) - total(PL, S, E)
        found = found.transpose(0, 2, 3, 1)
        found = found - (self.theta * total(LP, D, S) - total(P @ LP, S, S)).transpose(0, 2, 1, 3)
        found = found + total(L, E, E).transpose(2, 0, 3, 1) - total(LP, E, S).transpose(2, 0, 1, 3)
        return found.reshape(n2 * n2, n2 * n2)

    def __call__(self, b: np.ndarray) -> np.ndarray:
        """Solution x = (w, p)."""
        P = self.at.P
        n1, n2 = self.at.flow.n1, self.at.flow.n2
        v = self._in(b[: n1 * n2].reshape(n2, n1))
        first = self._solved(v)
        back = self.theta * (first @ self.VD.T) - P @ (first @ self.VS.T) + self.EY @ first.T
        from scipy.linalg import lu_solve

        p = lu_solve(self.predictor, b[n1 * n2 :] + self.cp * back.ravel(), check_finite=False).reshape(
            n2, n2
        )
        w = self._solved(v + self.co * (p.T @ self.EY - P.T @ p @ self.VS))
        if self.Y is not None:
            w = w @ self.Y.T
        return np.concatenate([w.ravel(), p.ravel()])

    def _solved(self, v: np.ndarray) -> np.ndarray:
        return np.matmul(self.L, v.T[:, :, None])[:, :, 0].T


class MatrixFlow:
    """A flow of matrices in the eigenvectors of Σs: W → W Q, Θ → Θ Q, Σd → QᵀΣdQ, where Σs = Q diag(λs) Qᵀ.

    Parameters
    ----------
    system
        Any system.
    vector_field
        A field whose target moves by a `TargetRule`.
    n2
        Number of features.
    """

    def __init__(self, system: MatrixSystem, vector_field: VectorField, n2: int):
        if vector_field.target_rule is None or not isinstance(system, MatrixSystem):
            raise ValueError(
                f"`method` must be auto, explicit or exponential for {vector_field.name}, got implicit, which is for"
                " the matrices of full, fixed-target and no-ema"
            )
        if n2 > LARGEST_FEATURES:
            raise ValueError(
                f"`method` must be auto, explicit or exponential for more than {LARGEST_FEATURES} features, got"
                f" implicit for {n2}"
            )
        self.rule, self.n2, self.n1 = vector_field.target_rule, n2, system.n1
        if system.sigma_s.ndim == 1:
            self.Q, self.sigma_s, self.sigma_d, self.system = None, system.sigma_s, system.sigma_d, system
        else:
            self.sigma_s, self.Q = np.linalg.eigh(system.sigma_s)
            turned = self.Q.T @ system.sigma_d @ self.Q
            self.sigma_d = np.asfortranarray((turned + turned.T) / 2)
            self.system = replace(system, sigma_s=np.diag(self.sigma_s), sigma_d=self.sigma_d)
        self.bases = Bases(self.sigma_s, self.sigma_d)

    def parts(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W, P and Θ of a packed state."""
        n1, n2 = self.n1, self.n2
        a, b = n1 * n2, n1 * n2 + n2 * n2
        return y[:a].reshape(n2, n1), y[a:b].reshape(n2, n2), y[b:].reshape(n2, n1)

    def at(self, y: np.ndarray) -> Linearisation:
        """The flow linearised at a packed state."""
        return Linearisation(y, self)

    def turned(self, state: MatrixState) -> MatrixState:
        """A state, written in the eigenvectors of Σs."""
        return state if self.Q is None else MatrixState(state[0] @ self.Q, state[1], state[2] @ self.Q)

    def turned_back(self, state: MatrixState) -> MatrixState:
        """A state, or states with time first, written as the system has them."""
        return state if self.Q is None else MatrixState(state[0] @ self.Q.T, state[1], state[2] @ self.Q.T)

    def as_given(self, run: Trajectory[MatrixState]) -> Trajectory[MatrixState]:
        """A trajectory of `system`, written as the system was given."""
        dense = run._dense
        evaluate = None if dense is None else lambda times: self.turned_back(dense(times))
        return replace(run, states=self.turned_back(run.states), _dense=evaluate)


def implicit_pays(state: Any, system: Any, vector_field: VectorField) -> bool:
    """Whether a run is large enough for implicit steps, and of a flow that has them.

    The pencil of the long steps asks for Σs that is positive semidefinite, up to rounding.
    """
    if vector_field.target_rule is None or not isinstance(system, MatrixSystem):
        return False
    if system.n1 < SMALLEST_INPUTS or np.ndim(state[0]) != 2 or len(state[0]) > LARGEST_FEATURES:
        return False
    sigma_s = system.sigma_s if system.sigma_s.ndim == 1 else np.linalg.eigvalsh(system.sigma_s)
    return bool(np.min(sigma_s) >= -system.n1 * np.finfo(float).eps * np.max(np.abs(sigma_s)))
