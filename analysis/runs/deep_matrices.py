"""One run of a deep linear encoder of matrices, and what theory says of its end (R18, R320)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.runs.simulation import MatrixSimulation, matrix_simulation, plain
from dynamics.fields.deep_matrices import (
    DeepMatrixState,
    as_layers,
    as_product,
    deep_matrices_field,
    largest_imbalance,
)
from dynamics.fields.vector_field import VectorField
from dynamics.integration.trajectory import Trajectory
from dynamics.system import MatrixSystem


@dataclass(frozen=True, eq=False)
class DeepMatrixSimulation:
    """A run of a deep encoder of matrices.

    Parameters
    ----------
    system, vector_field
        What was run.
    trajectory
        Layers, predictor and targets over time.
    product
        The same run of the encoder Ω = W_L ⋯ W_1 and the target Θ_L ⋯ Θ_1: where a run rests with P Ω Σs = Ω Σd, the
        eigenvalues of P on the range of Ω are those of M, as of one layer (R18).
    drift
        Largest departure of the invariants of R320 from e^{−2ηt} times their start.
    """

    system: MatrixSystem
    vector_field: VectorField
    trajectory: Trajectory[DeepMatrixState]
    product: MatrixSimulation
    drift: float

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.trajectory.final.upper) + 1

    @property
    def layer_singular_values(self) -> np.ndarray:
        """Singular values of every layer at the end, descending, shape (L, min(n1, n2)) or padded with zeros to n2."""
        n2 = len(self.trajectory.final.first)
        values = [np.linalg.svd(W, compute_uv=False) for W in as_layers(self.trajectory.final).layers]
        return np.stack([np.pad(one, (0, n2 - one.size)) for one in values])

    def report(self) -> dict[str, Any]:
        """Return the run as a dictionary of plain numbers and words, as `dyn simulate --json` prints it."""
        report = self.product.report()
        report["system"]["depth"] = self.depth
        report["final"]["layer_singular_values"] = plain(self.layer_singular_values)
        return report | {"invariant": {"drift": self.drift}, "variant": self.vector_field.name}


def simulate_deep_matrices(
    state: DeepMatrixState,
    system: MatrixSystem,
    vector_field: VectorField = deep_matrices_field,
    t_end: float | None = None,
    **options: Any,
) -> DeepMatrixSimulation:
    """Run a deep encoder of matrices, and compare its end with R18 and R320.

    Parameters
    ----------
    state, system, vector_field, t_end, **options
        As for `dynamics.integration.integrate.integrate`; the field one of `DEEP_MATRIX_FIELDS`.

    Returns
    -------
    DeepMatrixSimulation
        A run that fails has its status, and undecided rows.

    Examples
    --------
    >>> system = MatrixSystem(np.eye(2), np.diag([0.9, 0.4]))
    >>> W = np.array([[0.5, 0.2], [0.1, 0.6]])
    >>> start = DeepMatrixState(W, W[None], 0.1 * np.eye(2), W, W[None])
    >>> found = simulate_deep_matrices(start, system)
    >>> found.product.resonance_error < 1e-6, found.drift < 1e-7
    (True, True)
    """
    from dynamics.integration.integrate import integrate  # SciPy's integrators take their time to import

    trajectory = integrate(state, system, vector_field, t_end, **options)
    of_product: Any = replace(trajectory, states=as_product(trajectory.states), _dense=None)
    # as a flow of its own name: what R2 and R8 say of one layer is not said of the product
    product = matrix_simulation(of_product, system, replace(vector_field, name="deep"))
    drift = largest_imbalance(trajectory.ts, trajectory.states, system)
    return DeepMatrixSimulation(system, vector_field, trajectory, product, drift)
