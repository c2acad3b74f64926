"""The covariance operator of a layer, −∇L = OP vec W_l: matrix-free, or as a matrix (R105, R110, R112)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from analysis.contrastive.pair_graphs import Branches, PairGraph, enumerated_pairs, sampled_pairs
from dynamics.contrastive_losses import ContrastiveLoss, SimpleLoss
from dynamics.data.view_tables import ViewSource, ViewTable
from dynamics.deep_networks import DeepReLU, connection, forward, output_jacobian, pull_back, push_forward

EPS = float(np.finfo(np.float64).eps)
CHUNK = 512
"""Views whose activations are in memory at a time."""
BASIS = 40
"""Vectors that Lanczos's method keeps: more of them take fewer passes over the views."""
LANCZOS_TOLERANCE = 1e-6
"""Relative residual at which an eigenvalue is accepted; its error is of the order of the square."""
DENSE_EIGENVALUES = 256
"""Unknowns up to which eigenvalues come from the matrix."""


class Semidefiniteness(NamedTuple):
    """Whether the symmetric part of an operator is positive semidefinite.

    Parameters
    ----------
    holds
        True, False, or None where Lanczos's method did not converge.
    lowest
        Lowest eigenvalue of the symmetric part; NaN where that is unknown.
    error
        What rounding, and the method, may have moved it by.
    why
        The theorem, or what was seen.
    """

    holds: bool | None
    lowest: float
    error: float
    why: str


@dataclass(frozen=True, eq=False)
class CovarianceOperator:
    """OP of layer l with −∇L = OP vec W_l; see `covariance_operator`, which makes it.

    OP = Σ_ij K_l(x_i) 𝓛_ij K_l(x_j)ᵀ is applied by one pass of derivatives up the network, the graph's Laplacian 𝓛, and
    one pass down, `CHUNK` views at a time: beside the outputs of all views, memory is that of the weights.

    Parameters
    ----------
    net, layer
        The network, and l.
    inputs
        Views x_i, shape (V, n_0).
    graph, branches
        Weights of their pairs, and whose gradients count.
    theorem
        Why the operator is positive semidefinite, where that is proved; else empty.
    """

    net: DeepReLU
    layer: int
    inputs: np.ndarray
    graph: PairGraph
    branches: Branches
    theorem: str = ""

    @property
    def size(self) -> int:
        """Number of weights of the layer, n_l n_{l−1}."""
        return int(self.net.weights[self.layer - 1].size)

    @cached_property
    def laplacian(self) -> Any:
        """𝓛, shape (V, V)."""
        return self.graph.laplacian(self.branches)

    @cached_property
    def linear(self) -> Any:
        """The operator as a SciPy `LinearOperator`, shape (n_l n_{l−1}, n_l n_{l−1}), in float64."""
        from scipy.sparse.linalg import LinearOperator

        def by(laplacian: Any) -> Any:
            return lambda columns: self._applied(laplacian, columns.reshape(self.size, -1))

        once, adjoint = by(self.laplacian), by(self.laplacian.T)
        return LinearOperator(
            (self.size, self.size), once, rmatvec=adjoint, matmat=once, rmatmat=adjoint, dtype=np.float64
        )

    def _applied(self, laplacian: Any, columns: np.ndarray) -> np.ndarray:
        n, m = len(self.inputs), columns.shape[1]
        width = self.net.widths[-1]
        pushed = np.empty((n, m * width))
        for rows in _chunks(n):
            found = forward(self.net, self.inputs[rows])
            pushed[rows] = push_forward(self.net, found, self.layer, columns).reshape(-1, m * width)
        weighed = (laplacian @ pushed).reshape(n, m, width)
        total = np.zeros((self.size, m))
        for rows in _chunks(n):
            found = forward(self.net, self.inputs[rows])
            total += pull_back(self.net, found, self.layer, weighed[rows])
        return total

    def dense(self) -> np.ndarray:
        """The operator as a matrix, shape (n_l n_{l−1}, n_l n_{l−1}), 64 columns at a time."""
        identity = np.eye(self.size)
        return np.hstack([self.linear.matmat(identity[:, k : k + 64]) for k in range(0, self.size, 64)])

    @cached_property
    def rounding(self) -> float:
        """What rounding may move eigenvalues by: 4 eps Σ_ij |𝓛_ij| ‖K_i‖ ‖K_j‖."""
        sizes = np.concatenate(
            [self._connection_sizes(self.inputs[rows]) for rows in _chunks(len(self.inputs))]
        )
        return 4 * EPS * float(sizes @ (abs(self.laplacian) @ sizes))

    def _connection_sizes(self, x: np.ndarray) -> np.ndarray:
        """Frobenius norms ‖f_{l−1} ⊗ J_lᵀ‖ = ‖f_{l−1}‖ ‖J_l‖, shape (N,)."""
        J = output_jacobian(self.net, x, self.layer)
        f = forward(self.net, x).post[self.layer - 1]
        return np.linalg.norm(J, axis=(-2, -1)) * np.linalg.norm(f, axis=-1)

    @cached_property
    def symmetric_defect(self) -> float:
        """‖OP − OPᵀ‖/‖OP‖ in the spectral norm: 0 through all branches; NaN where the norms did not converge."""
        if self.branches == "all":
            return 0.0
        if self.size <= DENSE_EIGENVALUES:
            matrix = self.dense()
            return float(np.linalg.norm(matrix - matrix.T, 2) / np.linalg.norm(matrix, 2))
        from scipy.sparse.linalg import aslinearoperator

        operator = aslinearoperator(self.linear)
        norms = [self._extreme(one.T @ one, "LA")[0] for one in (operator - operator.T, operator)]
        return float(np.sqrt(max(norms[0], 0.0) / norms[1]))

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest eigenvalue of the symmetric part; NaN where Lanczos's method did not converge."""
        if self.size <= DENSE_EIGENVALUES:
            values = self._eigenvalues
            return float(values[0]), float(values[-1])
        return self._lowest[0], self._extreme(self._symmetric, "LA")[0]

    @property
    def lowest_eigenvalue(self) -> float:
        """Lowest eigenvalue of the symmetric part; NaN where Lanczos's method did not converge."""
        return self._lowest[0]

    def semidefiniteness(self) -> Semidefiniteness:
        """Whether the operator is positive semidefinite, and why (R110, R112)."""
        lowest, residual = self._lowest
        error = residual + self.rounding
        if self.theorem:
            return Semidefiniteness(True, lowest, error, self.theorem)
        if np.isnan(lowest):
            return Semidefiniteness(None, lowest, error, "Lanczos's method did not converge")
        if lowest < -error:
            why = f"its lowest eigenvalue {lowest:.3g} is below 0: with augmentation nothing prevents that (R112)"
            return Semidefiniteness(False, lowest, error, why)
        why = "its lowest eigenvalue is not below 0 by more than rounding, though no theorem says so (R112)"
        return Semidefiniteness(True, lowest, error, why)

    @cached_property
    def _eigenvalues(self) -> np.ndarray:
        matrix = self.dense()
        return np.linalg.eigvalsh((matrix + matrix.T) / 2)

    @property
    def _symmetric(self) -> Any:
        return self.linear if self.branches == "all" else (self.linear + self.linear.T) * 0.5

    @cached_property
    def _lowest(self) -> tuple[float, float]:
        if self.size <= DENSE_EIGENVALUES:
            return float(self._eigenvalues[0]), 0.0
        return self._extreme(self._symmetric, "SA")

    def _extreme(self, operator: Any, which: str) -> tuple[float, float]:
        """An end of the spectrum of a symmetric operator, and the norm of its residual, which bounds its error."""
        from scipy.sparse.linalg import ArpackNoConvergence, eigsh

        start = np.random.default_rng(0).standard_normal(self.size)
        try:
            values, vectors = eigsh(operator, 1, which=which, v0=start, ncv=BASIS, tol=LANCZOS_TOLERANCE)
        except ArpackNoConvergence:
            return np.nan, np.nan
        return float(values[0]), float(np.linalg.norm(operator @ vectors[:, 0] - values[0] * vectors[:, 0]))


def covariance_operator(
    net: DeepReLU,
    views: ViewTable | ViewSource,
    layer: int,
    loss: ContrastiveLoss,
    *,
    branches: Branches = "all",
    negatives: int = 1,
    draws: int | None = None,
    seed: int = 0,
) -> CovarianceOperator:
    """Covariance operator OP of a layer, −∇_{W_l} L = OP vec W_l.

        one branch:   OP = E[Σ_k ξ_k K1 (K1 − K_k)ᵀ − a K1 (K1 − K₊)ᵀ]
        all branches: OP = E[Σ_k ξ_k (K1 − K_k)(K1 − K_k)ᵀ − a (K1 − K₊)(K1 − K₊)ᵀ]

    with a = ∂L/∂r₊ and ξ_k = −∂L/∂r_k at the network's own distances, so that OP depends on the weights.

    Parameters
    ----------
    net
        The network.
    views
        A `ViewTable`, whose sums are exact unless `draws` is given, or any source with `sample`.
    layer
        l, from 1 to L.
    loss
        A loss of `dynamics.contrastive_losses`.
    branches
        ``one``: gradients through x1 alone, as DD's theorems have it; ``all``: through every view, as in training.
    negatives
        H >= 1, drawn independently from the whole population.
    draws
        Number of tuples to draw; None sums a table exactly.
    seed
        Of the draws.

    Returns
    -------
    CovarianceOperator
        Nothing is computed but the weights of the pairs.

    Raises
    ------
    ValueError
        An argument is out of range, a source that is no table is given without `draws`, or a table has too many
        tuples.

    Notes
    -----
    For the simple loss OP is V_x[K̄] through one branch and twice that through all (R105). Without augmentation it is
    positive semidefinite (R110), with it in general not (R112). Source: R105, R110, R112; DD Theorems 3 and 4.

    Examples
    --------
    >>> table = ViewTable([0.5, 0.5], [[[-1.0]], [[1.0]]])
    >>> covariance_operator(DeepReLU(([[1.0]],)), table, 1, SimpleLoss()).dense()
    array([[2.]])
    """
    net.place(layer)
    if draws is None:
        if not isinstance(views, ViewTable):
            raise ValueError("`draws` must be given where views are drawn and not listed")
        n, a, d = views.views.shape
        inputs = views.views.reshape(n * a, d)
        graph = enumerated_pairs(views, _outputs(net, inputs).reshape(n, a, -1), loss, negatives)
    else:
        for name, value in (("draws", draws), ("negatives", negatives)):
            if value < 1:
                raise ValueError(f"`{name}` must be an integer >= 1, got {value}")
        draw = views.sample(np.random.default_rng(seed), draws, negatives)
        inputs = np.concatenate([part.reshape(-1, part.shape[-1]) for part in draw])
        f1, f_pos, f_neg = np.split(_outputs(net, inputs), [draws, 2 * draws])
        graph = sampled_pairs(draw, (f1, f_pos, f_neg.reshape(draws, negatives, -1)), loss)
    theorem = _theorem(graph, loss, branches, negatives, exact=draws is None)
    return CovarianceOperator(net, layer, inputs, graph, branches, theorem)


def _theorem(graph: PairGraph, loss: Any, branches: Branches, negatives: int, *, exact: bool) -> str:
    """Why OP is positive semidefinite, where that is proved."""
    if isinstance(loss, SimpleLoss) and exact:
        return "under the simple loss it is a multiple of the covariance of averaged connections (R105, R112)"
    # one branch and one negative: half of the operator of all branches, once averaged over who is whose negative
    symmetric = branches == "all" or (negatives == 1 and exact)
    if not graph.augmented and graph.repelling and symmetric:
        return "without augmentation it is a sum of squares with weights ξ >= 0 (R110)"
    return ""


def _outputs(net: DeepReLU, inputs: np.ndarray) -> np.ndarray:
    return np.concatenate([forward(net, inputs[rows]).output for rows in _chunks(len(inputs))])


def _chunks(n: int, size: int = CHUNK) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def mean_connection(net: DeepReLU, table: ViewTable, layer: int) -> np.ndarray:
    """Connection averaged over the views of each sample, K̄(x) = E[K_l(x′) | x], shape (N, n_l n_{l−1}, n_L).

    Notes
    -----
    Source: R105; DD Theorem 3.

    Examples
    --------
    >>> table = ViewTable([1.0], [[[1.0], [3.0]]])
    >>> mean_connection(DeepReLU(([[5.0]],)), table, 1)
    array([[[2.]]])
    """
    return table.average(connection(net, table.views, layer))
