"""C14: deep rectified networks blow up under the simple loss before a bound, and under InfoNCE grow below one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from analysis.experiments.experiment import (
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    Panel,
    at_most,
    compare,
)
from dynamics.contrastive_losses import ContrastiveLoss, InfoNCELoss, SimpleLoss, pair_weights
from dynamics.deep_networks import DeepReLU, forward, pull_back, unvec
from dynamics.exact.norm_growth import blow_up_bound, norm_growth_bound

DEPTHS = (2, 3, 4)
SOURCES, VIEWS, INPUTS = 5, 4, 4
WIDTH = 6
BATCH = 64
TEMPERATURE = 0.05
NEGATIVES = (1, 10)
LARGEST = 1e30
"""Squared norm that a run with weights of order one reaches by blowing up alone, a few steps before it overflows."""


class Growth(NamedTuple):
    """Squared norms of the layers before the first step and after each, (steps + 1, depth); and (step size)² ‖g_l‖²."""

    squares: np.ndarray
    increments: np.ndarray
    blown_up: bool


def descent(net: DeepReLU, x: np.ndarray, loss: ContrastiveLoss) -> list[np.ndarray]:
    """−∂L/∂W_l through all branches, of the mean over a batch.

    Parameters
    ----------
    net
        The network.
    x
        Anchor, positive and H negatives of each element, shape (n, 2 + H, d).
    loss
        Which loss.
    """
    n = len(x)
    found = forward(net, x.reshape(-1, x.shape[-1]))
    f = found.output.reshape(n, x.shape[1], -1)
    anchor = f[:, :1]
    gaps = anchor - f[:, 1:]
    r = (gaps**2).sum(axis=-1) / 2
    towards, away = pair_weights(loss, r[:, 0], r[:, 1:])
    slopes = np.concatenate([np.reshape(towards, (n, 1)), -away], axis=1)[..., None] * gaps / n
    df = np.concatenate([slopes.sum(axis=1, keepdims=True), -slopes], axis=1).reshape(-1, 1, f.shape[-1])
    return [
        -unvec(pull_back(net, found, layer, df)[:, 0], W.shape)
        for layer, W in enumerate(net.weights, start=1)
    ]


def trained(
    net: DeepReLU, batches: np.random.Generator | np.ndarray, views: np.ndarray, loss: ContrastiveLoss,
    step: float, n_steps: int, negatives: int = 1,
) -> Growth:  # fmt: skip
    """Train by gradient steps until `n_steps`, or until a squared norm passes `LARGEST`.

    Parameters
    ----------
    net
        The start.
    batches
        A generator, from which batches are drawn, sources being equally likely; or one batch for all steps.
    views
        Of each source, shape (n_sources, n_views, d).
    loss, step, n_steps, negatives
        Loss, size and number of steps, and H.
    """
    squares, increments = [_squares(net.weights)], []
    for _ in range(n_steps):
        x = batches if isinstance(batches, np.ndarray) else _drawn(batches, views, negatives)
        moves = [step * g for g in descent(net, x, loss)]
        net = net._replace(weights=tuple(W + move for W, move in zip(net.weights, moves, strict=True)))
        squares.append(_squares(net.weights))
        increments.append(_squares(moves))
        if not np.max(squares[-1]) < LARGEST:
            return Growth(np.array(squares), np.array(increments), True)
    return Growth(np.array(squares), np.array(increments), False)


def _squares(arrays: tuple[np.ndarray, ...] | list[np.ndarray]) -> np.ndarray:
    return np.array([float(np.sum(W**2)) for W in arrays])


def _drawn(rng: np.random.Generator, views: np.ndarray, negatives: int) -> np.ndarray:
    """A batch (BATCH, 2 + H, d): two views of one source, and H of sources of their own."""
    sources = rng.integers(0, len(views), (BATCH, 1 + negatives))
    sources = np.concatenate([sources[:, :1], sources], axis=1)
    return views[sources, rng.integers(0, views.shape[1], sources.shape)]


def problem(rng: np.random.Generator, depth: int, size: float = 1.0) -> tuple[DeepReLU, np.ndarray]:
    """A network whose outputs are of order `size`, and views around random centres."""
    widths = (INPUTS, *(WIDTH,) * depth)
    scale = size ** (1 / depth)
    weights = [scale * rng.standard_normal((m, n)) * math.sqrt(2 / n) for n, m in pairwise(widths)]
    centres = rng.standard_normal((SOURCES, 1, INPUTS))
    return DeepReLU(tuple(weights)), centres + 0.3 * rng.standard_normal((SOURCES, VIEWS, INPUTS))


def latest(net: DeepReLU, views: np.ndarray) -> float:
    """R109's bound of the blow-up time, from the variance of the mean outputs over sources."""
    f = forward(net, views).output.mean(axis=1)
    return blow_up_bound(_squares(net.weights), float(((f - f.mean(axis=0)) ** 2).sum() / len(f)))


def ends(net: DeepReLU, views: np.ndarray, bound: float, n_steps: int, rng: np.random.Generator) -> float:
    """Time at which the simple loss blows up in steps of bound/n_steps, over the bound; inf if beyond three of them."""
    run = trained(net, rng, views, SimpleLoss(), bound / n_steps, 3 * n_steps)
    return (len(run.squares) - 1) / n_steps if run.blown_up else math.inf


def explosions(effort: Effort, n_seeds: int, n_steps: int) -> tuple[list[Measurement], list[Curve]]:
    """Blow-up times of random networks of each depth, over their bounds."""
    measurements = []
    ratios = np.empty((len(DEPTHS), n_seeds))
    for row, depth in enumerate(DEPTHS):
        coarse = np.empty(n_seeds)
        for k in range(n_seeds):
            rng = np.random.default_rng([effort.seed, depth, k])
            net, views = problem(rng, depth)
            bound = latest(net, views)
            coarse[k] = ends(net, views, bound, n_steps // 2, rng)
            ratios[row, k] = ends(net, views, bound, n_steps, rng)
        note = f"largest of {n_seeds} networks; slack is 1.5 times the largest change from twice the step"
        lasting = np.isfinite(coarse) & np.isfinite(ratios[row])
        slack = 1.5 * float(np.max(np.abs(coarse[lasting] - ratios[row, lasting]), initial=0.0))
        name = f"blow-up time over its bound, depth {depth}"
        measurements.append(at_most(name, 1.0, float(np.max(ratios[row])), note, slack=slack))
    panel = Panel("blow-up under the simple loss", "depth", "time over its bound")
    where = np.repeat(DEPTHS, n_seeds).astype(float)
    curves = [
        panel.theory("bound (R109)", np.array(DEPTHS, float), np.ones(len(DEPTHS))),
        panel.training("networks", where, ratios.ravel()),
    ]
    return measurements, curves


def chains(n_steps: int) -> list[Measurement]:
    """Chains of one node per layer, which attain the bound: full batches of three sources without augmentation."""
    inputs = np.array([0.5, 1.0, 2.0])
    pairs = np.array([[a, a, b] for a in inputs for b in inputs])[..., None]
    measurements = []
    for depth in DEPTHS:
        net = DeepReLU(tuple(np.array([[a]]) for a in (0.8, 0.5, 0.7, 0.6)[:depth]))
        bound = latest(net, inputs[:, None, None])
        found = {
            n: (len(trained(net, pairs, pairs, SimpleLoss(), bound / n, 3 * n).squares) - 1) / n
            for n in (n_steps // 2, n_steps)
        }
        value = found[n_steps]
        note = "1.5 times the change from twice the step; full batches"
        tolerance = 1.5 * abs(found[n_steps // 2] - value)
        measurements.append(
            compare(f"the same for a chain of one node per layer, depth {depth}", 1.0, value, tolerance, note)
        )
    return measurements


def growth_of_infonce(effort: Effort, n_seeds: int, n_steps: int) -> tuple[list[Measurement], list[Curve]]:
    """Squared norms under InfoNCE, beside ‖W(0)‖² + 4 W0(H/e) t and what finite steps add.

    Networks start with outputs of order √τ/4, from which they grow: at √τ and above the loss has saturated.
    """
    measurements, curves = [], []
    step = 0.01
    for negatives in NEGATIVES:
        rate = norm_growth_bound("infonce", negatives=negatives)
        excess, fastest, shown = -math.inf, 0.0, np.zeros(n_steps + 1)
        for depth in DEPTHS:
            for k in range(n_seeds):
                rng = np.random.default_rng([effort.seed, depth, k, negatives])
                net, views = problem(rng, depth, math.sqrt(TEMPERATURE) / 4)
                run = trained(net, rng, views, InfoNCELoss(TEMPERATURE), step, n_steps, negatives)
                grown = run.squares - run.squares[0]
                added = np.concatenate([np.zeros((1, depth)), np.cumsum(run.increments, axis=0)])
                times = step * np.arange(len(grown))[:, None]
                excess = max(excess, float(np.max((grown - added - rate * times)[1:])))
                fastest = max(fastest, float(np.max(np.diff(grown - added, axis=0))) / (rate * step))
                if not run.blown_up:
                    shown = np.maximum(shown, np.max(grown - added, axis=1))
        # the sums of a thousand steps round to 1e-12 of norms of order ten
        note = f"all layers, steps and networks; less the squares of the steps; the fastest step is {fastest:.0%} of it"
        measurements.append(
            at_most(f"growth of ‖W_l‖² above 4 W0(H/e) t, H = {negatives}", 0.0, excess, note, slack=1e-9)
        )
        panel = Panel(f"InfoNCE, H = {negatives}", "time", "growth of the squared norm")
        ts = step * np.arange(n_steps + 1)
        few = slice(None, None, max(1, n_steps // 60))
        curves += [
            panel.theory("bound (R108)", ts, rate * ts),
            panel.training("largest", ts[few], shown[few]),
        ]
    return measurements, curves


def run(effort: Effort) -> Outcome:
    """Blow up networks of depths 2 to 4, attain the bound by chains, and watch norms under InfoNCE."""
    first, drawn = explosions(effort, 2 if effort.quick else 12, 100 if effort.quick else 400)
    effort.report(0.4)
    second = chains(200 if effort.quick else 2000)
    effort.report(0.5)
    third, more = growth_of_infonce(effort, 1 if effort.quick else 6, 200 if effort.quick else 2000)
    effort.report(1)
    return Outcome((*first, *second, *third), (*drawn, *more))


EXPERIMENTS = (
    Experiment(
        "C14",
        "Explosion under the simple loss, bounded growth under InfoNCE",
        "Rectified networks without biases of depth 2 to 4 blow up under the simple loss before the time"
        " ∫ dy/(4 v0 Π(1 + y/N_l)), and chains of one node at it (R109); under InfoNCE no ‖W_l‖² grows faster than"
        " 4 W0(H/e) (R108).",
        run,
    ),
)
