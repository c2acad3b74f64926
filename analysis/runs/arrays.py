"""Arrays of results with names for their axes, as files and `to_xarray` hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamics.files import Variable

if TYPE_CHECKING:
    from analysis.fates.basins import BasinMap
    from analysis.fixed_points.diagrams import Bifurcation
    from analysis.runs.alignment import Alignment
    from analysis.runs.simulation import MatrixSimulation, ModeSimulation
    from analysis.trees.summary import TreeSummary
    from dynamics.training import TrainingRun

Variables = dict[str, Variable]

SAMPLES = 401
"""Times at which a run is kept, about."""


def simulation_arrays(
    simulation: ModeSimulation | MatrixSimulation, support: np.ndarray | None = None
) -> Variables:
    """W, P and Θ over time, at about `SAMPLES` times that follow the integrator's steps.

    Parameters
    ----------
    simulation
        A run of modes or of matrices.
    support
        Directions in which Σs is not zero, shape (n_inputs, n1), where matrices are to be written in terms of the
        samples; None for all.
    """
    trajectory = simulation.trajectory.resampled(SAMPLES)
    W, P, Th = trajectory.states
    encoder: tuple[str, ...] = ("t", "mode")
    square = encoder
    if P.ndim == 3:
        encoder, square = ("t", "feature", "input"), ("t", "feature", "feature_in")
        if support is not None:
            W, Th = W @ support.T, Th @ support.T
    return {
        "t": Variable(("t",), trajectory.ts),
        "online": Variable(encoder, W),
        "predictor": Variable(square, P),
        "target": Variable(encoder, Th),
    }


def alignment_arrays(found: Alignment) -> Variables:
    """Commutator, bounds, symmetry and overlaps over time."""
    columns = ("t", "commutator", "bound", "sharp_bound", "symmetry")
    variables = {name: Variable(("t",), getattr(found, name)) for name in columns}
    return variables | {"overlap": Variable(("t", "feature"), found.overlap)}


def basin_arrays(found: BasinMap) -> Variables:
    """One row per start, layers by columns; lattices go row by row, and fates are codes (`fate_codes`)."""
    columns = {
        **{name: part.T for name, part in found.start._asdict().items()},
        **{f"{name}_end": part.T for name, part in found.final._asdict().items()},
        "fate": found.fate.astype("int16"),
        "predicted": found.predicted.astype("int16"),
    }
    return {
        name: Variable(("start", "layer")[: values.ndim], np.ascontiguousarray(values))
        for name, values in columns.items()
    }


def fate_codes() -> dict[str, int]:
    """Codes of fates in `basin_arrays`.

    >>> fate_codes()["learned"]
    0
    """
    from analysis.fates.basins import FATES, UNPREDICTED

    return {str(fate): code for code, fate in enumerate(FATES)} | {"unpredicted": UNPREDICTED}


def bifurcation_arrays(found: Bifurcation) -> Variables:
    """One row per point of a branch; `branch` numbers the branches."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(branch, name) for branch in found.branches])

    eigenvalues = column("eigenvalues")
    columns = {
        "branch": np.repeat(np.arange(len(found.branches)), [len(branch.value) for branch in found.branches]),
        **{name: column(name) for name in ("value", "online", "predictor", "target")},
        "eigenvalues_real": eigenvalues.real,
        "eigenvalues_imag": eigenvalues.imag,
    }
    return {
        name: Variable(("point", "eigenvalue")[: values.ndim], values) for name, values in columns.items()
    }


def training_arrays(run: TrainingRun) -> Variables:
    """Every metric of every run over steps, and for linear networks W, P and Θ at the end."""
    axes = ("step", "run", "feature", "part")
    variables = {"step": Variable(("step",), run.steps), "seed": Variable(("run",), run.seeds)}
    for name, values in run.metrics.items():
        moved = np.moveaxis(values, 1, 0)
        variables[name] = Variable(axes[: moved.ndim], moved)
    encoder = run.settings.encoder
    linear = encoder.kind == "linear" and not encoder.projector and run.settings.predictor.kind != "mlp"
    if linear and run.status == "done":
        W, P, Th = run.final
        inputs, square = ("run", "feature", "input"), ("run", "feature", "feature_in")
        variables["online"], variables["target"] = Variable(inputs, W), Variable(inputs, Th)
        variables["predictor"] = Variable(square, P)
    return variables


def _tree_arrays(found: TreeSummary) -> Variables:
    """Polarities by node, and layer traces and ceilings by depth; what is not known is left out."""
    variables = {"parents": Variable(("node",), found.tree.parents)}
    if found.path_polarity is not None and found.layer_trace is not None and found.linear is not None:
        variables["path_polarity"] = Variable(("node",), found.path_polarity)
        variables["layer_trace"] = Variable(("layer",), found.layer_trace)
        variables["linear_ceiling"] = Variable(("depth",), found.linear)
    if found.bayes is not None:
        for name in ("correlation", "standard_error"):
            values = np.array([getattr(one, name) for one in found.bayes])
            variables["bayes_ceiling" if name == "correlation" else "bayes_error"] = Variable(
                ("depth",), values
            )
    return variables


def arrays_of(found: Any, support: np.ndarray | None = None) -> Variables:
    """Arrays of any result that has them.

    Parameters
    ----------
    found
        A simulation, an alignment, basins, a bifurcation, a training run, fixed points, a spectrum, solutions of
        P θ = θ M, what a contrastive loss learns, what a latent tree lets a network learn, moments, or a diagnosis.
    support
        As for `simulation_arrays`.

    Raises
    ------
    ValueError
        It holds no arrays.

    Examples
    --------
    >>> arrays_of(1.5)
    Traceback (most recent call last):
    ValueError: a result must hold arrays, got float, which holds none
    """
    kind = type(found).__name__
    if kind in ("ModeSimulation", "MatrixSimulation", "SteppedModes", "SteppedMatrices"):
        return simulation_arrays(found, support)
    if kind == "EncoderSimulation":
        return _encoder_arrays(found, support)
    if kind == "Contrast":
        return _contrast_arrays(found, support)
    makers: dict[str, Callable[[Any], Variables]] = {
        "DeepSimulation": _deep_arrays,
        "DeepMatrixSimulation": lambda found: _deep_matrix_arrays(found, support),
        "TreeSummary": _tree_arrays,
        "Alignment": alignment_arrays,
        "BasinMap": basin_arrays,
        "DeepBasinMap": basin_arrays,
        "Bifurcation": bifurcation_arrays,
        "TrainingRun": training_arrays,
        "FixedPoints": _fixed_point_arrays,
        "Stability": _stability_arrays,
        "SylvesterSolutions": _sylvester_arrays,
        "Moments": _moment_arrays,
        "FeatureDiagnosis": lambda found: found.variables(),
    }
    if kind not in makers:
        raise ValueError(f"a result must hold arrays, got {kind}, which holds none")
    return makers[kind](found)


def _encoder_arrays(found: Any, support: np.ndarray | None) -> Variables:
    trajectory = found.trajectory.resampled(SAMPLES)
    W = trajectory.states.online
    return {
        "t": Variable(("t",), trajectory.ts),
        "online": Variable(("t", "feature", "input"), W if support is None else W @ support.T),
    }


def _deep_arrays(found: Any) -> Variables:
    trajectory = found.trajectory.resampled(SAMPLES)
    w, v, th = trajectory.states
    layers = ("t", "layer", "mode")
    return {
        "t": Variable(("t",), trajectory.ts),
        "layers": Variable(layers, w),
        "predictor": Variable(("t", "mode"), v),
        "targets": Variable(layers, th),
    }


def _deep_matrix_arrays(found: Any, support: np.ndarray | None) -> Variables:
    """Layers one by one, as `dynamics.data.layers.load_deep_state` reads them."""
    trajectory = found.trajectory.resampled(SAMPLES)
    first, upper, P, target, targets = trajectory.states
    if support is not None:
        first, target = first @ support.T, target @ support.T
    encoder, square = ("t", "feature", "input"), ("t", "feature", "feature_in")
    variables = {"t": Variable(("t",), trajectory.ts), "predictor": Variable(square, P)}
    for name, below, above in (("layer", first, upper), ("target", target, targets)):
        variables[f"{name}1"] = Variable(encoder, below)
        for k in range(above.shape[1]):
            variables[f"{name}{k + 2}"] = Variable(square, above[:, k])
    return variables


def _fixed_point_arrays(found: Any) -> Variables:
    names = ("name", "online", "predictor", "target", "stability")
    return {
        name: Variable(("point",), np.array([getattr(point, name) for point in found.points]))
        for name in names
    }


def _stability_arrays(found: Any) -> Variables:
    return {"eigenvalues": Variable(("eigenvalue",), found.eigenvalues)}


def _sylvester_arrays(found: Any) -> Variables:
    names = ("shared_eigenvalues", "perturbation")
    variables = {name: Variable(("solution",), getattr(found, name)) for name in names}
    if found.basis is not None:
        variables["basis"] = Variable(("solution", "feature", "input"), found.basis)
    return variables


def _contrast_arrays(found: Any, support: np.ndarray | None) -> Variables:
    """Modes and where each saturates, and the encoders of the critical points."""
    variables = {
        "ratio": Variable(("mode",), found.modes.ratios),
        "saturation": Variable(("mode",), found.norms),
        "learned": Variable(("learned_mode",), np.array(found.learned.modes, dtype=np.int64)),
    }
    if found.points:
        W = np.stack([point.online for point in found.points])
        variables |= {
            "online": Variable(("point", "feature", "input"), W if support is None else W @ support.T),
            "loss": Variable(("point",), np.array([point.loss for point in found.points])),
            "stability": Variable(("point",), np.array([point.stability for point in found.points])),
        }
    return variables


def _moment_arrays(found: Any) -> Variables:
    square = ("input", "input_out")
    return {
        "sigma_s": Variable(square, found.sigma_s),
        "sigma_d": Variable(square, found.sigma_d),
        "ratio": Variable(("mode",), found.ratios),
    }
