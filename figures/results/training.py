"""Page of a training run: loss, probe, spectrum of the features and predictor, beside what theory predicts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.layout.legends import legend_below
from figures.layout.sheets import panels as page
from figures.panels import training as panels
from figures.panels.palette import shades
from figures.panels.scales import scale_log, scale_log_closely
from figures.panels.simulation import draw_spectrum
from figures.style import DASHED, style, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from analysis.runs.training import FlowPrediction
    from dynamics.training import TrainingRun
    from dynamics.training.run import Group

    Groups = list[tuple[Group, str]]  # with the colour of each

_DECADES = 6  # of losses and spectra, that are shown below the largest value


def figure_training(run: TrainingRun, prediction: FlowPrediction | None = None) -> Figure:
    """Four panels over the steps of a run; of a sweep, with a colour for each value.

    Loss; accuracy of the linear probe with that of the random encoder, which is the run's own start (effective rank
    where there are no labels); eigenvalues of the features' F and, of linear predictors, of P (effective rank and
    RankMe for others), of the first run of each value. Dashed is the flow that starts where the first run starts,
    dotted the same with the drift that batches cause (R310); grey lines are the top of M's spectrum, where P's
    eigenvalues should come to rest (R18).

    Parameters
    ----------
    run
        One run or several, drawn thin around the median over seeds of those that did not diverge.
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
    groups = run.groups
    colours = [theme().weights["online"]] if len(groups) == 1 else shades(len(groups))
    by_group = list(zip(groups, colours, strict=True))
    handles = [_line(colour, group.name or _named(run)) for group, colour in by_group]
    if len(groups) > 1:
        handles[0].set_label(f"{groups[0].name}{': median' if run.n_runs > len(groups) else ''}")
    if run.n_runs > len(groups):
        handles.append(_line(colours[0], "each run", 0.5))
    _draw_loss(axes[0], run, by_group)
    if "probe_accuracy" in run.metrics:
        _draw_probe(axes[1], run, by_group)
        handles.append(_line(theme().muted, "random encoder", 0.9))
    else:
        _draw_ranks(axes[1], run, by_group)
    _draw_features(axes[2], run, prediction, by_group)
    if "predictor_eigenvalues" in run.metrics:
        _draw_predictor(axes[3], run, prediction, by_group)
        if len(groups) == 1:
            handles.append(_line(theme().weights["predictor"], "eigenvalues of $P$", 1.1))
        if prediction is not None:
            handles.append(_line(theme().faint, "spectrum of $M$", 0.9))
    else:
        _draw_ranks(axes[3], run, by_group)
    if prediction is not None:
        predicted = Line2D(
            [], [], color=theme().ink, linewidth=0.8, linestyle=DASHED, label="flow, predicted"
        )
        handles.append(predicted)
        if prediction.noisy_features is not None:
            noisy = Line2D([], [], color=theme().ink, linewidth=1.0, linestyle=":", label="with batch noise")
            handles.append(noisy)
    legend_below(figure, handles)
    return figure


def _named(run: TrainingRun) -> str:
    return "median of the runs" if run.n_runs > 1 else "run"


def _draw_loss(ax: Axes, run: TrainingRun, groups: Groups) -> None:
    losses = run.metrics["loss"]
    ax.set_title("Loss")
    for group, colour in groups:
        panels.draw_runs(ax, run.steps, losses[group.runs], colour)
    if np.all(losses[np.isfinite(losses)] > 0):
        scale_log_closely(ax, losses, _DECADES)


def _draw_probe(ax: Axes, run: TrainingRun, groups: Groups) -> None:
    accuracies = run.metrics["probe_accuracy"]
    ax.set_title("Accuracy of the linear probe, held out")
    for group, colour in groups:
        panels.draw_runs(ax, run.steps, accuracies[group.runs], colour)
    panels.draw_level(ax, float(np.median(accuracies[:, 0])))


def _draw_ranks(ax: Axes, run: TrainingRun, groups: Groups) -> None:
    ax.set_title("Effective rank")
    for group, colour in groups:
        panels.draw_runs(ax, run.steps, run.metrics["effective_rank"][group.runs], colour)
    ax.set_ylim(0, 1.05 * run.settings.encoder.output)


def _draw_features(ax: Axes, run: TrainingRun, prediction: FlowPrediction | None, groups: Groups) -> None:
    eigenvalues = run.metrics["feature_eigenvalues"]
    ax.set_title(f"Features: eigenvalues of $F${_of_first(run)}")
    for group, colour in groups:
        panels.draw_eigenvalues(ax, run.steps, eigenvalues[group.runs[0]], colour)
    if prediction is not None:
        panels.draw_predicted(ax, prediction.steps, prediction.feature_eigenvalues)
        if prediction.noisy_features is not None:
            panels.draw_noisy(ax, prediction.steps, prediction.noisy_features)
    scale_log(ax, eigenvalues[[group.runs[0] for group, _ in groups]], _DECADES)


def _draw_predictor(ax: Axes, run: TrainingRun, prediction: FlowPrediction | None, groups: Groups) -> None:
    eigenvalues = run.metrics["predictor_eigenvalues"]
    firsts = [group.runs[0] for group, _ in groups]
    real = " (real parts)" if np.any(np.nan_to_num(eigenvalues[firsts, ..., 1])) else ""
    ax.set_title(f"Predictor: eigenvalues of $P${real}{_of_first(run)}")
    for group, colour in groups:
        own = theme().weights["predictor"] if len(groups) == 1 else colour
        panels.draw_eigenvalues(ax, run.steps, eigenvalues[group.runs[0], ..., 0], own)
    if prediction is not None:
        panels.draw_predicted(ax, prediction.steps, prediction.predictor_eigenvalues.real)
        draw_spectrum(ax, prediction.ratios[: eigenvalues.shape[2]], 0)


def _of_first(run: TrainingRun) -> str:
    """Spectra are those of one run of each group."""
    return ", first run" if run.n_runs > len(run.groups) else ""


def _line(colour: str, label: str, width: float = 1.5) -> Line2D:
    return Line2D([], [], color=colour, linewidth=width, label=label)


def _headline(run: TrainingRun) -> str:
    from dynamics.training import diagnose

    found = [diagnose(run, index) for index in range(run.n_runs)]
    if run.n_runs == 1:
        text = found[0].text.partition("; predicted: ")[0]
        return text[0].upper() + text[1:]
    counts = Counter(one.verdict for one in found)
    return f"{run.n_runs} runs: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
