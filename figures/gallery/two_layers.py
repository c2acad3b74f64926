"""Pages `figure-7` and `figure-8`: two-layer networks on Gaussian clusters, without and with normalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from analysis.runs.two_layers import Activity, activity, cluster_problem, first_blow_up, trained_on_clusters
from dynamics.fields.two_layers import TwoLayerState
from figures.gallery.captions import described
from figures.gallery.registry import Page
from figures.layout.sheets import is_narrow, panels
from figures.panels.training import draw_runs
from figures.panels.two_layers import draw_activity, draw_blow_ups
from figures.style import style, theme

LOSSES = {"simple": "simple loss", "infonce": "InfoNCE"}
"""The two losses, in the order of the columns."""
_ROOM = 1.25  # steps of the simple loss over those that its slowest run needs to blow up
_HIGHEST = 4.0  # ln‖W‖ in sight: beyond, a run is a few steps from its overflow
_LOWEST = 1e-4  # |w2| in sight
_CLEAR = -0.3  # rank correlation below which a headline says that |w2| falls
_UNSTATED = (
    "The source gives neither d, n1, the start nor the augmentation: here W1 ~ U(±1/√d), W2 ~ U(±1/√n1), a view is "
    "fresh noise around the same centre, and the gradient goes through all branches."
)


@dataclass(frozen=True, eq=False)
class Growth:
    """Norms of the layers over steps, one row per seed.

    Parameters
    ----------
    parameters
        As given.
    bottom, top
        ‖W1‖ and ‖W2‖ by loss, shape (n_seeds, steps + 1); inf or NaN after an overflow.
    overflows
        Step at which each run of the simple loss overflows, NaN if it does not.
    predicted
        T*/ε of the fastest node of each, in steps.
    """

    parameters: dict[str, Any]
    bottom: dict[str, np.ndarray]
    top: dict[str, np.ndarray]
    overflows: np.ndarray
    predicted: np.ndarray


def _slows(norms: np.ndarray) -> bool:
    """Whether the mean norm grows less in the second half of the steps than in the first, by half."""
    first, middle, last = (float(np.mean(norms[:, k])) for k in (0, norms.shape[1] // 2, -1))
    return last - middle < (middle - first) / 2


@dataclass(frozen=True, eq=False)
class Selectivity:
    """Nodes of normalised networks after training.

    Parameters
    ----------
    parameters
        As given.
    start, ends
        What nodes respond to and their |w2|, before training, and by loss after it.
    n_short
        Number of outputs with ‖f‖ < ε, by loss.
    n_outputs
        How many outputs were computed by each loss.
    """

    parameters: dict[str, Any]
    start: Activity
    ends: dict[str, Activity]
    n_short: dict[str, int]
    n_outputs: int


def compute_figure_7(
    *,
    n_seeds: int = 4,
    steps: int = 1000,
    dimension: int = 20,
    nodes: int = 20,
    n_clusters: int = 10,
    variance: float = 0.1,
    temperature: float = 0.05,
    learning_rate: float = 0.01,
    batch: int = 128,
    seed: int = 0,
) -> Growth:
    """Train two-layer networks by the simple loss to their overflow and by InfoNCE, and time the blow-up (R124, R127).

    Parameters
    ----------
    n_seeds, seed
        Number of networks, each on clusters of its own, and the first seed; the source has 30.
    steps
        Minibatches, at most; the source has 5000.
    dimension, nodes, n_clusters, variance
        d, n1, K and σ².
    temperature
        τ > 0 of InfoNCE.
    learning_rate, batch
        ε > 0, and triples per minibatch.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_figure_7(n_seeds=1, steps=20).top["infonce"].shape
    (1, 21)
    """
    from dynamics.training.two_layers import TwoLayerSettings

    parameters = {**locals()}
    parameters.pop("TwoLayerSettings")
    settings: dict[str, Any] = {"temperature": temperature, "learning_rate": learning_rate, "batch": batch}
    asked = TwoLayerSettings("infonce", steps=steps, **settings)
    problem = cluster_problem(
        n_seeds, seed=seed, dimension=dimension, nodes=nodes, n_clusters=n_clusters, variance=variance
    )
    predicted = np.array([first_blow_up(*one) for one in zip(problem.starts, problem.mixtures, strict=True)])
    predicted = predicted / learning_rate
    needed = _ROOM * float(np.max(predicted)) + 20
    few = math.ceil(min(steps, needed))
    runs = {
        "simple": trained_on_clusters(TwoLayerSettings("simple", steps=few, **settings), problem, seed=seed),
        "infonce": trained_on_clusters(asked, problem, seed=seed),
    }
    return Growth(
        parameters,
        {loss: run.bottom_norms for loss, run in runs.items()},
        {loss: run.top_norms for loss, run in runs.items()},
        runs["simple"].overflows,
        predicted,
    )


def figure_7(found: Growth) -> Figure:
    """Logarithms of ‖W1‖ above those of ‖W2‖, the simple loss on the left and InfoNCE on the right."""
    with style():
        explodes = bool(np.all(np.isfinite(found.overflows)))
        headline = (
            "The simple loss explodes in finite time, InfoNCE " if explodes else "Under either loss, growth "
        )
        headline += "slows down" if _slows(found.top["infonce"]) else "goes on"
        figure, axes = panels(headline, 4, columns=2, aspect=0.62)
        for ax, (layer, norms, loss) in zip(
            axes,
            ((layer, norms, loss) for layer, norms in ((1, found.bottom), (2, found.top)) for loss in LOSSES),
            strict=True,
        ):
            with np.errstate(invalid="ignore"):
                values = np.log(norms[loss])
            steps = np.arange(values.shape[1])
            draw_runs(ax, steps, values, theme().weights["online" if layer == 1 else "predictor"])
            lowest = float(np.min(values[:, 0]))
            if loss == "simple":
                ax.set_ylim(lowest - 0.15 * (_HIGHEST - lowest), _HIGHEST)
                draw_blow_ups(ax, found.predicted[found.predicted <= steps[-1]])
                steps = steps[: math.ceil(1.04 * np.nanmax(np.append(found.overflows, found.predicted)))]
            ax.set_xlim(0, steps[-1])
            ax.set_title(f"{LOSSES[loss]}, layer {layer}")
            ax.set_xlabel("minibatches")
            ax.set_ylabel(rf"$\ln \Vert W_{layer} \Vert$")
        return figure


def caption_figure_7(found: Growth) -> str:
    """Say what was trained, when it overflows, and where InfoNCE stands at the end."""
    lost = found.overflows[np.isfinite(found.overflows)]
    predicted = ", ".join(f"{n:.0f}" for n in found.predicted)
    overflows = ", ".join(f"{n:.0f}" for n in lost) if len(lost) else "none"
    ends = found.top["infonce"]
    return (
        "Norms of the layers of rectified two-layer networks with a diagonal W2 and no biases, on Gaussian clusters, "
        f"the first at 0, with one negative; {described(found.parameters)}. Left: the simple loss, drawn until its "
        f"weights overflow, at minibatch {overflows}; ticks are T*/ε of the fastest node of each network by the flow "
        f"with A_j in closed form (R124, R127), {predicted}. Right: InfoNCE; the mean of ‖W2‖ goes from "
        f"{np.mean(ends[:, 0]):.3g} over {np.mean(ends[:, ends.shape[1] // 2]):.3g} to {np.mean(ends[:, -1]):.3g}, and "
        f"‖W‖² of no layer can grow faster than 4 W0(1/e) per unit of time (R108). {_UNSTATED} The source trains 30 "
        "seeds for 5000 minibatches, which the simple loss does not reach."
    )


def compute_figure_8(
    *,
    n_seeds: int = 4,
    steps: int = 1000,
    dimension: int = 20,
    nodes: int = 20,
    n_clusters: int = 10,
    variance: float = 0.1,
    temperature: float = 0.05,
    learning_rate: float = 0.01,
    batch: int = 128,
    floor: float = 1e-6,
    seed: int = 0,
) -> Selectivity:
    """Train two-layer networks with normalised outputs, and see which nodes have large upper weights (R128, R129).

    Parameters
    ----------
    n_seeds, steps, dimension, nodes, n_clusters, variance, temperature, learning_rate, batch, seed
        As for `compute_figure_7`.
    floor
        ε of z = f/√(‖f‖² + ε²), > 0.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> compute_figure_8(n_seeds=1, steps=5, nodes=6).start.counts.shape
    (6,)
    """
    from dynamics.training.two_layers import TwoLayerSettings

    parameters = {**locals()}
    parameters.pop("TwoLayerSettings")
    problem = cluster_problem(
        n_seeds, seed=seed, dimension=dimension, nodes=nodes, n_clusters=n_clusters, variance=variance
    )
    runs = {
        loss: trained_on_clusters(
            TwoLayerSettings(
                loss,
                normalised=True,
                temperature=temperature,
                learning_rate=learning_rate,
                batch=batch,
                steps=steps,
                floor=floor,
            ),
            problem,
            seed=seed,
        )
        for loss in LOSSES
    }
    starts = TwoLayerState(*(np.stack(part) for part in zip(*problem.starts, strict=True)))
    return Selectivity(
        parameters,
        activity(starts, problem.mixtures),
        {loss: activity(run.final, problem.mixtures) for loss, run in runs.items()},
        {loss: int(run.n_short.sum()) for loss, run in runs.items()},
        3 * batch * steps * n_seeds,
    )


def figure_8(found: Selectivity) -> Figure:
    """Upper weights over the number of centres that a node responds to: at the start, and after each loss."""
    with style():
        falls = all(one.rank_correlation < _CLEAR for one in found.ends.values())
        headline = "With normalised outputs, large upper weights " + (
            "sit on nodes that respond to few clusters"
            if falls
            else "show no clear preference for few clusters"
        )
        figure, axes = panels(headline, 3, columns=3, aspect=0.75 if is_narrow() else 1.05)
        shown = {"start": found.start, **{LOSSES[loss]: ends for loss, ends in found.ends.items()}}
        colours = (theme().muted, theme().weights["predictor"], theme().weights["online"])
        most = max(float(np.max(one.weights)) for one in shown.values())
        for ax, (name, one), colour in zip(axes, shown.items(), colours, strict=True):
            draw_activity(ax, one.counts, np.maximum(one.weights, _LOWEST), colour)
            ax.set_xlim(-0.6, max(int(each.counts.max()) for each in shown.values()) + 0.6)
            ax.set_ylim(_LOWEST / 1.6, 1.6 * most)
            ax.set_title(name)
            ax.set_xlabel(r"centres with $w_1^T \mu_k > 0$")
        axes[0].set_ylabel("$|w_{2,j}|$")
        return figure


def caption_figure_8(found: Selectivity) -> str:
    """Say what was trained, how strong the relation is, and how many outputs were too short to be normalised."""

    def means(one: Activity) -> str:
        return ", ".join(f"{mean:.3g} at {n}" for n, mean in one.mean_weights().items())

    short = " and ".join(f"{n} under {LOSSES[loss]}" for loss, n in found.n_short.items())
    said = " ".join(
        f"{LOSSES[loss][0].upper() + LOSSES[loss][1:]}: mean |w2| {means(one)} centres, rank correlation "
        f"{one.rank_correlation:.2f}."
        for loss, one in found.ends.items()
    )
    return (
        "Nodes of rectified two-layer networks with a diagonal W2, trained on Gaussian clusters with normalised "
        f"outputs and one negative; {described(found.parameters)}. Each dot is a node, by the number of non-zero "
        "centres that it responds to (the centre at 0 tells nothing); bars are means, and weights below "
        f"{_LOWEST:g} are drawn there. {said} At the start the rank correlation is {found.start.rank_correlation:.2f}. "
        f"Outputs with ‖f‖ < {found.parameters['floor']:g}: {short}, of {found.n_outputs} each; a step at one of them "
        f"can be most of the growth of W2, which then depends on this floor (R129). {_UNSTATED} The source trains 30 "
        "seeds for 5000 minibatches."
    )


FIGURE_7 = Page(
    "figure-7",
    "Norms of two layers under the simple loss and InfoNCE (DD Figure 7)",
    compute_figure_7,
    figure_7,
    caption_figure_7,
)
"""Growth of norms without normalisation."""

FIGURE_8 = Page(
    "figure-8",
    "Upper weights by the number of clusters that a node responds to (DD Figure 8)",
    compute_figure_8,
    figure_8,
    caption_figure_8,
)
"""Selectivity of nodes with normalisation."""
