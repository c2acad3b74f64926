"""C21: deep linear encoders trained by gradient steps: fates, growth and weight decay by depth (R320–R322)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from analysis.depth.decay import decay_rest, decay_threshold
from analysis.depth.fates import deep_fate
from analysis.depth.rest import approach_rate
from analysis.experiments.experiment import (
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    Panel,
    at_least,
    compare,
)
from analysis.experiments.weight_decay import threshold
from dynamics.exact.deep import jepa_speed, jepa_time
from dynamics.fields.deep import DeepSystem, layer_invariants

RATIO, DT = 0.5, 0.05
"""r of the modes whose fates are counted, λs = 1, and the step of their training."""
PERIOD = 400.0
"""How long they are trained."""
DEAD = 0.05
"""Size of the least layer below which a mode has collapsed; all start at 0.4 or more."""
WIDTH = 0.06
"""Distance of c_min from a boundary below which a start is left out: steps move c by dt e² w², and a layer that lives
may end below `DEAD`."""
SLOWEST = 0.05
"""Rate below which the approach of an end is too slow for `PERIOD`, as where two layers are nearly alike."""
AGREEMENT = 0.999
ACCURACY = 0.02
"""What thresholds must be met to, relative to η*."""


@cache
def _trainer(depth: int, n_steps: int, averaged: bool) -> Callable[..., Any]:
    """(weights (n, L), predictors (n,), views (2, B), dt, η (n,)) -> weights, predictors and their path, compiled.

    Loss ½ E (v w_L ⋯ w_1 x1 − sg(θ_L ⋯ θ_1) x2)², its gradient by automatic differentiation, steps of size dt.
    """
    import jax
    import jax.numpy as jnp

    def loss(weights: Any, v: Any, targets: Any, views: Any) -> Any:
        x1, x2 = views
        prediction = v * jnp.prod(weights) * x1
        return jnp.mean((prediction - jax.lax.stop_gradient(jnp.prod(targets)) * x2) ** 2) / 2

    def run(weights: Any, v: Any, views: Any, dt: Any, eta: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            w, v, th = carry
            to_w, to_v = jax.grad(loss, (0, 1))(w, v, th, views)
            w, v = (1 - dt * eta) * w - dt * to_w, (1 - dt * eta) * v - dt * to_v
            return (w, v, th + dt * (w - th) if averaged else w), v

        (w, v, _), path = jax.lax.scan(step, (weights, v, weights), None, length=n_steps)
        return w, v, path[:: max(1, n_steps // 4000)]

    compiled: Callable[..., Any] = jax.jit(jax.vmap(run, in_axes=(0, 0, None, None, 0)))
    return compiled


def _views(ratio: float) -> np.ndarray:
    """Four pairs of scalar views with E x1² = E x2² = 1 and E x1 x2 = r, shape (2, 4)."""
    along, across = np.array([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, -1.0]])
    return np.stack([along, ratio * along + np.sqrt(1 - ratio**2) * across])


def trained(
    weights: Any, v: Any, ratio: float, dt: float, n_steps: int, *, decay: Any = 0.0, averaged: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train one-mode networks by gradient steps in float64.

    Parameters
    ----------
    weights, v
        Layers, shape (n, L), and predictors, shape (n,), at the start; targets start at the layers.
    ratio
        r, λs = 1.
    dt, n_steps
        Size and number of the steps.
    decay
        η, one number or one per network.
    averaged
        Whether every layer has a moving average, τt = 1, as its target, or is its own target.

    Returns
    -------
    weights, v, path
        At the end, and v after some of the steps, shape (n, about 4000).
    """
    import jax

    w = np.asarray(weights, dtype=np.float64)
    n, depth = w.shape
    with jax.enable_x64(True):
        run = _trainer(depth, n_steps, averaged)
        found = run(
            w, np.asarray(v, np.float64), _views(ratio), dt, np.broadcast_to(np.asarray(decay, float), n)
        )
        end, predictor, path = (np.asarray(part) for part in found)
    return end, predictor, path


def fates(depth: int, n: int, seed: int) -> tuple[list[Measurement], list[Curve]]:
    """Count the networks whose end is that of R320."""
    rng = np.random.default_rng([seed, depth])
    w = rng.uniform(0.4, 1.4, (n, depth)) * rng.choice([-1, 1], (n, depth))
    v = rng.uniform(0.2, 1.6, n) * rng.choice([-1, 1], n)
    system = DeepSystem(np.ones(n), np.full(n, RATIO), depth=depth)
    start = system.deep_state(w.T, v)
    said = deep_fate(start, system)
    least = np.min(layer_invariants(start, system), axis=0)
    clear = np.abs(least - np.where(v > 0, -(RATIO**2), 0.0)) > WIDTH
    one = DeepSystem(1.0, RATIO, depth=depth)
    ends = zip(said.layers.T, said.predictor, strict=True)
    clear &= [approach_rate(size, float(level), one) > SLOWEST for size, level in ends]
    end, predictor, _ = trained(w, v, RATIO, DT, round(PERIOD / DT))
    dead = np.min(np.abs(end), axis=1) < DEAD
    share = np.mean((dead == (said.fate == "collapsed"))[clear])
    axes = Panel(f"{depth} layers", "c_min at the start", "predictor at the end")
    order = np.argsort(least)
    curves = []
    for name, chosen in (("v > 0", v > 0), ("v < 0", v < 0)):
        kept = order[chosen[order]]
        curves.append(axes.theory(f"R320, {name}", least[kept], said.predictor[kept]))
        curves.append(axes.training(name, least[kept], predictor[kept]))
    note = f"{int(np.sum(clear))} of {n} starts, not beside a boundary nor too slow for the period"
    return [at_least(f"fates as predicted, {depth} layers", AGREEMENT, share, note)], curves


def growth(depth: int, dt: float) -> Measurement:
    """Time in which a balanced mode grows from 0.4 r to 0.9 r."""
    ratio = 0.8
    v0, v1 = 0.4 * ratio, 0.9 * ratio
    t = float(jepa_time(v0, v1, depth, 1.0, ratio))
    stride = max(1, round(1.2 * t / dt) // 4000)
    n_steps = round(1.2 * t / dt)
    _, _, path = trained(np.full((1, depth), v0), [v0], ratio, dt, n_steps, averaged=False)
    found = float(np.interp(v1, path[0], dt * (1 + stride * np.arange(path.shape[1]))))
    # Euler's steps lag by (dt/2) ln(f(v1)/f(v0)); the level is read between samples
    slopes = [float(jepa_speed(v, depth, 1.0, ratio)) for v in (v0, v1)]
    tolerance = dt * abs(np.log(slopes[1] / slopes[0])) + dt * stride
    return compare(
        f"time of growth, {depth} layers", t, found, tolerance, "twice the lag of steps, and a sample"
    )


def bottleneck_shift(depth: int, ratio: float, t_end: float) -> float:
    """How far above η* a start above the fold has not yet collapsed at a time (λs = 1).

    Near the fold v* the pull v^{2L−1}(λd − v) is η* − b (v − v*)², so a mode stays for π/(v* √(b (η − η*))).

    >>> bool(0 < bottleneck_shift(1, 0.5, 1000.0) < 1e-3)
    True
    """
    L, v = depth, ratio * (1 - 1 / (2 * depth))
    bend = (2 * L - 1) * ((2 * L - 2) * ratio * v ** (2 * L - 3) - 2 * L * v ** (2 * L - 2))
    return float((np.pi / (v * t_end)) ** 2 / (-bend / 2))


def thresholds(depth: int, points: int) -> tuple[Measurement, list[Curve]]:
    """Sweep weight decay across η*_L from v = r, and see which modes live."""
    ratio = 0.8
    star = float(decay_threshold(depth, 1.0, ratio))
    dt, t_end = 0.2, 160 / star
    decays = star * np.linspace(0.94, 1.06, points)
    weights = np.full((points, depth), ratio)
    _, v, _ = trained(weights, weights[:, 0], ratio, dt, round(t_end / dt), decay=decays, averaged=False)
    fold = decay_rest(depth, 1.0, ratio, 0.0).fold
    found = threshold(decays, v > fold / 2)
    shift = bottleneck_shift(depth, ratio, t_end)
    spacing = (decays[1] - decays[0]) / 2
    note = "half the spacing of η, and the bottleneck at η*; a step keeps fixed points"
    axes = Panel(f"weight decay, {depth} layers", "η/η*", "predictor at the end")
    x = np.linspace(0.94, 1.0, 60)
    upper = [decay_rest(depth, 1.0, ratio, float(share * star)).upper for share in x]
    curves = [axes.theory("R322", x, upper), axes.training("training", decays / star, v)]
    tolerance = min((spacing + shift) / star, ACCURACY)
    return compare(f"threshold over η*, {depth} layers", 1.0, found / star, tolerance, note), curves


def run(effort: Effort) -> Outcome:
    """Train deep encoders of several depths."""
    depths, n, points, dt = ((2, 3), 200, 24, 0.02) if effort.quick else ((2, 3, 4), 4000, 60, 0.005)
    measurements: list[Measurement] = []
    curves: list[Curve] = []
    for k, depth in enumerate(depths):
        found, drawn = fates(depth, n, effort.seed)
        one, more = thresholds(depth, points)
        measurements += [*found, growth(depth, dt), one]
        curves += drawn + more
        effort.report((k + 1) / len(depths))
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C21",
        "Depth: fates, growth and weight decay",
        "Modes of deep linear encoders end as the least of τ_l w_l² − τp v² says (R320), grow in the time of R321,"
        " and are lost at the weight decay of R322.",
        run,
    ),
)
