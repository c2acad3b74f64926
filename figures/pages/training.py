"""Page of a training run: loss, probe, spectrum of the features and predictor, beside what theory predicts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.pages.layout import panels as page
from figures.pages.legends import legend_below
from figures.panels import training as panels
from figures.panels.scales import scale_log
from figures.panels.simulation import draw_spectrum
from figures.style import DASHED, style, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.training import FlowPrediction
    from dynamics.training import TrainingRun

_DECADES = 6  # of losses and spectra, that are shown below the largest value


def figure_training(run: TrainingRun, prediction: FlowPrediction | None = None) -> Figure:
    """Four panels over the steps of a run.

    Loss; accuracy of the linear probe with that of the random encoder, which is the run's own start (effective rank
    where there are no labels); eigenvalues of the features' F and, of linear predictors, of P (effective rank and
    RankMe for others), of the first run. Dashed is the flow that starts where the first run starts; grey lines are
    the top of M's spectrum, where P's eigenvalues should come to rest (R18).

    Parameters
    ----------
    run
        One run or several, drawn thin around their median.
    prediction
        Of the flow from the start of the first run; None where no flow describes the settings.

    Examples
    --------
    >>> from dynamics.training import TrainingSettings, train
    >>> source = {"source": "exact", "sigma_s": [1.0, 1.0], "sigma_d": [0.5, 0.2]}
    >>> run = train(TrainingSettings(data=source, batch=None, encoder={"features": 2}, steps=5))
    >>> [ax.get_title(loc="left") for ax in figure_training(run).axes]
    ['Loss', 'Effective rank', 'Features: eigenvalues of $F$', 'Predictor: eigenvalues of $P$']
    """
    with style():
        return _draw(run, prediction)


def _draw(run: TrainingRun, prediction: FlowPrediction | None) -> Figure:
    figure, axes = page(_headline(run), 4, columns=2, aspect=0.5)
    for ax in axes:
        ax.set_xlim(0, max(run.steps[-1], 1))
    for ax in axes[-2:]:
        ax.set_xlabel("step")
    handles = [_line(theme().weights["online"], "median of the runs" if run.n_runs > 1 else "run")]
    _draw_loss(axes[0], run)
    if "probe_accuracy" in run.metrics:
        _draw_probe(axes[1], run)
        handles.append(_line(theme().muted, "random encoder", 0.9))
    else:
        _draw_ranks(axes[1], run)
    _draw_features(axes[2], run, prediction)
    if "predictor_eigenvalues" in run.metrics:
        _draw_predictor(axes[3], run, prediction)
        if prediction is not None:
            handles.append(_line(theme().faint, "spectrum of $M$", 0.9))
    else:
        _draw_ranks(axes[3], run)
    if prediction is not None:
        predicted = Line2D(
            [], [], color=theme().ink, linewidth=0.8, linestyle=DASHED, label="flow, predicted"
        )
        handles.append(predicted)
    legend_below(figure, handles)
    return figure


def _draw_loss(ax: Axes, run: TrainingRun) -> None:
    losses = run.metrics["loss"]
    ax.set_title("Loss")
    panels.draw_runs(ax, run.steps, losses, theme().weights["online"])
    if np.all(losses[np.isfinite(losses)] > 0):
        scale_log(ax, losses, _DECADES)


def _draw_probe(ax: Axes, run: TrainingRun) -> None:
    accuracies = run.metrics["probe_accuracy"]
    ax.set_title("Accuracy of the linear probe, held out")
    panels.draw_runs(ax, run.steps, accuracies, theme().weights["online"])
    panels.draw_level(ax, float(np.median(accuracies[:, 0])))


def _draw_ranks(ax: Axes, run: TrainingRun) -> None:
    ax.set_title("Effective rank")
    panels.draw_runs(ax, run.steps, run.metrics["effective_rank"], theme().weights["online"])
    ax.set_ylim(0, 1.05 * run.settings.encoder.output)


def _draw_features(ax: Axes, run: TrainingRun, prediction: FlowPrediction | None) -> None:
    eigenvalues = run.metrics["feature_eigenvalues"][0]
    ax.set_title("Features: eigenvalues of $F$")
    panels.draw_eigenvalues(ax, run.steps, eigenvalues, theme().weights["online"])
    if prediction is not None:
        panels.draw_predicted(ax, prediction.steps, prediction.feature_eigenvalues)
    scale_log(ax, eigenvalues, _DECADES)


def _draw_predictor(ax: Axes, run: TrainingRun, prediction: FlowPrediction | None) -> None:
    eigenvalues = run.metrics["predictor_eigenvalues"][0]
    real = " (real parts)" if np.any(eigenvalues[..., 1]) else ""
    ax.set_title(f"Predictor: eigenvalues of $P${real}")
    panels.draw_eigenvalues(ax, run.steps, eigenvalues[..., 0], theme().weights["predictor"])
    if prediction is not None:
        panels.draw_predicted(ax, prediction.steps, prediction.predictor_eigenvalues.real)
        draw_spectrum(ax, prediction.ratios[: eigenvalues.shape[1]], 0)


def _line(colour: str, label: str, width: float = 1.5) -> Line2D:
    return Line2D([], [], color=colour, linewidth=width, label=label)


def _headline(run: TrainingRun) -> str:
    from dynamics.training import diagnose

    lines = [diagnose(run, index) for index in range(run.n_runs)]
    if run.n_runs == 1:
        return lines[0][0].upper() + lines[0][1:]
    counts = Counter(line.partition(":")[0] for line in lines)
    return f"{run.n_runs} runs: " + ", ".join(f"{n} {fate}" for fate, n in counts.most_common())
