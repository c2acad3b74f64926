"""The training loop: state, one gradient step, one measurement, and the compiled function that runs many of both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.training import networks, objectives, optimizers, predictors, targets
from dynamics.training.data import Probe, Samples, draw_views, view_pair
from dynamics.training.metrics import (
    alignment,
    deviations,
    directions,
    feature_metrics,
    predictor_metrics,
    probe_accuracy,
    tree_norm,
    uniformity,
)
from dynamics.training.normalisation import batch_normalised
from dynamics.training.settings import SWEPT, TrainingSettings

PAIRS_AT_ONCE = 2**23
"""Pairs of samples that a measurement holds in memory."""

EVALUATED_ON_CPUS, EVALUATED_ELSEWHERE = 2**18, 2**20
"""Numbers in the images that a convolutional network evaluates at a time: what comes of them stays in a CPU's cache."""

ON_CPUS = {"xla_cpu_prefer_vector_width": 512}
"""XLA takes half of what CPUs with AVX-512 have unless told; others are not affected."""


class Backbone(NamedTuple):
    """Weights, or running statistics, of encoder and projector: one entry a layer."""

    encoder: Any
    projector: Any


class TrainingState(NamedTuple):
    """All that a step changes.

    Parameters
    ----------
    online, predictor, target
        Weights θ of encoder and projector, of the predictor, and ξ of the target.
    statistics, predictor_statistics
        Running statistics of batch normalisation; of a predictor that is set, its running averages and P.
    optimizer, predictor_optimizer
        Memory of the optimisers.
    balance
        C(0) = W Wᵀ − Pᵀ P/αp of linear networks; () for others.
    clipped
        Number of pairs clipped by the tangential loss so far.
    failed_at
        Step whose loss was not finite, −1 while all were.
    """

    online: Backbone
    predictor: Any
    target: Backbone
    statistics: Backbone
    predictor_statistics: Any
    optimizer: Any
    predictor_optimizer: Any
    balance: Any
    clipped: Any
    failed_at: Any


class Arrays(NamedTuple):
    """Data that all runs share, on the device.

    Parameters
    ----------
    samples, evaluation, probe
        As `TrainingData` has them.
    basis
        Directions (n1, K) of the data's modes, in which linear encoders are measured.
    """

    samples: Samples
    evaluation: Any
    probe: Probe | None
    basis: Any


class Program:
    """The functions of one configuration: `start`, `step`, `measure`, and the compiled `initialise` and `advance`.

    Parameters
    ----------
    settings
        The configuration; its swept scalars are ignored, they come as arguments.
    shape
        Shape of one sample.
    n_classes
        Number of classes of the probe.
    platform
        ``cpu``, ``gpu``, … as JAX names it. Runs are stacked by vmap, but on CPUs those of convolutional networks come
        one after the other: see `dynamics.training.convolutions`.
    """

    def __init__(
        self, settings: TrainingSettings, shape: tuple[int, ...], n_classes: int, platform: str
    ) -> None:
        self.settings, self.shape, self.n_classes = settings, shape, n_classes
        self.dtype = jnp.dtype(settings.dtype)
        self.chain = settings.data.chain()
        convolutional, on_cpu = settings.encoder.kind == "conv", platform == "cpu"
        self.in_turn = convolutional and on_cpu
        self.encoder = networks.encoder_layers(settings.encoder, stacked=not self.in_turn)
        self.projector = networks.projector_layers(settings.encoder)
        self.linear = settings.encoder.kind == "linear" and not self.projector
        self.initialise = jax.jit(self._for_all_runs(self.start))
        self.complete = jax.jit(self._for_all_runs(self.completed))
        n1 = int(np.prod(shape))
        # features of linear and MLP encoders take no more memory than the samples
        at_once = EVALUATED_ON_CPUS if on_cpu else EVALUATED_ELSEWHERE
        self.at_once = max(1, at_once // n1) if convolutional else sys.maxsize
        n_views = 2 * (settings.batch or 2 * n1)  # `exact` has 2 n1 pairs
        self.view_bytes = n_views * n1 * self.dtype.itemsize
        # P W is multiplied out where that is less work than P z for all views
        trained = settings.predictor.kind == "linear" and settings.objective.stop_gradient
        self.is_product = self.linear and trained and n1 < n_views and not settings.normalisation.active
        mean = np.shape(settings.normalisation.mean)
        if mean not in ((), (n1,)):
            raise ValueError(f"`mean` must be one number or one per input, {n1}, got {mean[0]}")
        self._mean_shape = shape if mean else ()
        self.advance = jax.jit(self._advance, donate_argnums=0, compiler_options=ON_CPUS)

    def start(self, key: Any, scalars: Mapping[str, Any], arrays: Arrays) -> TrainingState:
        """State before step 0: weights drawn from `key`, the target equal to the online network or random."""
        for_online, for_predictor, for_target = jax.random.split(jax.random.fold_in(key, 0), 3)
        online, statistics = self._backbone(for_online, scalars)
        target = online
        if self.settings.target.kind == "fixed":
            target, _ = self._backbone(for_target, scalars)
        weights, predictor_statistics = predictors.init(
            self.settings.predictor,
            for_predictor,
            self.settings.encoder.output,
            scalars["predictor.scale"],
            self.dtype,
        )
        state = TrainingState(
            online=online,
            predictor=weights,
            target=target,
            statistics=statistics,
            predictor_statistics=predictor_statistics,
            optimizer=(),
            predictor_optimizer=(),
            balance=(),
            clipped=jnp.zeros((), jnp.int32),
            failed_at=jnp.full((), -1, jnp.int32),
        )
        return self.completed(state, key, scalars, arrays)

    def completed(
        self, state: TrainingState, key: Any, scalars: Mapping[str, Any], arrays: Arrays
    ) -> TrainingState:
        """Fill in what follows from the weights at the start: memories of optimisers, averages, C(0)."""
        network, predictor = self._optimizers(scalars)
        state = state._replace(
            optimizer=network.init(state.online),
            predictor_optimizer=predictor.init(state.predictor),
            balance=self._balance(state, scalars),
        )
        if self.settings.predictor.kind in ("direct", "optimal"):
            views = self._views(arrays, key, 0)
            _, (_, predictor_statistics, _) = self._loss(
                (state.online, state.predictor), state, views, scalars, jnp.zeros((), jnp.int32)
            )
            state = state._replace(predictor_statistics=predictor_statistics)
        return state

    def step(
        self, state: TrainingState, index: Any, key: Any, scalars: Mapping[str, Any], arrays: Arrays
    ) -> TrainingState:
        """One gradient step: views, loss, gradients, optimisers, target."""
        settings = self.settings
        views = self._views(arrays, key, index)
        gradient = jax.value_and_grad(self._loss, has_aux=True)
        (value, (statistics, predictor_statistics, clipped)), (g, g_predictor) = gradient(
            (state.online, state.predictor), state, views, scalars, index
        )
        if settings.predictor.symmetric:
            g_predictor = jax.tree.map(predictors.symmetric_part, g_predictor)
        network, predictor = self._optimizers(scalars)
        v, optimizer = network.update(g, state.optimizer, state.online)
        v_predictor, predictor_optimizer = predictor.update(
            g_predictor, state.predictor_optimizer, state.predictor
        )
        rate = optimizers.rate(settings.optimizer, scalars["optimizer.learning_rate"], index, settings.steps)
        predictor_rate = scalars["optimizer.predictor_rate"] * rate
        online = jax.tree.map(lambda w, d: w - rate * d, state.online, v)
        moved = jax.tree.map(lambda w, d: w - predictor_rate * d, state.predictor, v_predictor)
        if settings.predictor.symmetric:  # once more, for rounding
            moved = jax.tree.map(predictors.symmetric_part, moved)
        failed = (state.failed_at < 0) & ~jnp.isfinite(value)
        after = state._replace(
            online=online,
            predictor=moved,
            target=targets.follow(
                settings.target, state.target, online, scalars["target.decay"], index, settings.steps
            ),
            statistics=statistics,
            predictor_statistics=predictor_statistics,
            optimizer=optimizer,
            predictor_optimizer=predictor_optimizer,
            clipped=state.clipped + clipped,
            failed_at=jnp.where(failed, index, state.failed_at),
        )
        return self._reinitialised(after, index, key, scalars)

    def measure(
        self, state: TrainingState, index: Any, key: Any, scalars: Mapping[str, Any], arrays: Arrays
    ) -> dict[str, Any]:
        """Metrics of a state; loss and gradients are those that step `index` is about to see."""
        views = self._views(arrays, key, index)
        gradient = jax.value_and_grad(self._loss, has_aux=True)
        (value, _), (g, g_predictor) = gradient((state.online, state.predictor), state, views, scalars, index)
        f, z = self._features(state, arrays.evaluation[None])
        both = jnp.broadcast_to(arrays.evaluation, (2, *arrays.evaluation.shape))
        if self.settings.data.source in ("gaussian", "exact"):
            pair = views
        else:
            pair = view_pair(self.chain, jax.random.fold_in(key, 1), both)
        predictor = self.settings.predictor
        q = predictors.evaluate(
            predictor, state.predictor, state.predictor_statistics, self._features(state, pair)[1]
        )
        q = batch_normalised(q, self.settings.normalisation.of_predictor)
        found = {
            "loss": value,
            "gradient_norm": tree_norm(g),
            "alignment": alignment(q[0], q[1]),
            "uniformity": uniformity(f[0]),
            **feature_metrics(z[0]),
        }
        if predictor.trained:
            found["predictor_gradient_norm"] = tree_norm(g_predictor)
        if self.linear:
            found["encoder"] = state.online.encoder[0]["weight"] @ arrays.basis
        else:
            # a loss that divides features by their norm sees directions alone
            seen = jnp.nan_to_num(directions(z[0])) if self.settings.objective.normalize else z[0]
            found["deviations"] = deviations(seen)
        P = predictors.matrix(predictor, state.predictor, state.predictor_statistics)
        if P is not None:
            found |= predictor_metrics(z[0].T @ z[0] / len(z[0]), P)
        if not isinstance(state.balance, tuple):
            found["balance_drift"] = jnp.linalg.norm(self._balance(state, scalars) - state.balance)
        if self.settings.objective.tangential:
            found["clipped"] = state.clipped
        if arrays.probe is not None:
            train, held_out = (
                self._features(state, images[None])[0][0]
                for images in (arrays.probe.images, arrays.probe.held_out_images)
            )
            found["probe_accuracy"] = probe_accuracy(
                train, arrays.probe.labels, held_out, arrays.probe.held_out_labels, self.n_classes
            )
        return found

    def _advance(
        self,
        states: TrainingState,
        first: Any,
        stop: Any,
        keys: Any,
        scalars: Mapping[str, Any],
        arrays: Arrays,
    ) -> tuple[TrainingState, dict[str, Any]]:
        """Take steps first, …, stop − 1 of all runs, then measure."""

        def steps(
            state: TrainingState, key: Any, scalars: Mapping[str, Any], arrays: Arrays
        ) -> TrainingState:
            return jax.lax.fori_loop(
                first, stop, lambda index, s: self.step(s, index, key, scalars, arrays), state
            )

        states = self._for_all_runs(steps)(states, keys, scalars, arrays)
        # a few runs at a time: each compares all pairs of samples
        at_once = min(len(keys), max(1, PAIRS_AT_ONCE // len(arrays.evaluation) ** 2))
        measured = jax.lax.map(
            lambda run: self.measure(run[0], stop, run[1], run[2], arrays),
            (states, keys, scalars),
            batch_size=None if self.in_turn else at_once,
        )
        failed = (states.failed_at < 0) & ~jnp.isfinite(measured["loss"])
        failed_at = jnp.where(failed, stop, states.failed_at)
        return states._replace(failed_at=failed_at), jax.tree.map(
            lambda values: _undefined(failed_at >= 0, values), measured
        )

    def _for_all_runs(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Function of arguments with the run as first axis and of the data, which all runs share, as the last one."""

        def of_all(*arguments: Any) -> Any:
            *stacked, arrays = arguments
            if self.in_turn:
                return jax.lax.map(lambda run: function(*run, arrays), tuple(stacked))
            return jax.vmap(lambda *run: function(*run, arrays))(*stacked)

        return of_all

    def _views(self, arrays: Arrays, key: Any, index: Any) -> Any:
        # key 0 started the network, so step k draws from key k + 1
        step_key = jax.random.fold_in(key, index + 1)
        views = draw_views(self.settings.data, self.chain, arrays.samples, step_key, self.settings.batch or 0)
        normalisation = self.settings.normalisation
        has_mean = bool(np.any(normalisation.mean))
        if self.settings.data.source == "exact" and (normalisation.active or has_mean):
            views = jnp.concatenate([views, -views], axis=1)  # their mean is zero
        if not has_mean:
            return views
        return views + jnp.reshape(jnp.asarray(normalisation.mean, views.dtype), self._mean_shape)

    def _backbone(self, key: Any, scalars: Mapping[str, Any]) -> tuple[Backbone, Backbone]:
        for_encoder, for_projector = jax.random.split(key)
        w, s, shape = networks.init(
            self.encoder, for_encoder, self.shape, scalars["encoder.scale"], self.dtype
        )
        w_projector, s_projector, _ = networks.init(self.projector, for_projector, shape, 1.0, self.dtype)
        return Backbone(w, w_projector), Backbone(s, s_projector)

    def _forward(self, weights: Backbone, statistics: Backbone, x: Any) -> tuple[Any, Backbone]:
        """Projections z of (V, N, …) in training, and running statistics after them."""
        f, encoder = networks.apply(self.encoder, weights.encoder, statistics.encoder, x, training=True)
        z, projector = networks.apply(
            self.projector, weights.projector, statistics.projector, f, training=True
        )
        return z, Backbone(encoder, projector)

    def _features(self, state: TrainingState, x: Any) -> tuple[Any, Any]:
        """Representations f and projections z of (V, N, …), with running statistics."""
        f = networks.evaluate(self.encoder, state.online.encoder, state.statistics.encoder, x, self.at_once)
        z = networks.evaluate(
            self.projector, state.online.projector, state.statistics.projector, f, self.at_once
        )
        return f, batch_normalised(z, self.settings.normalisation.of_projector)

    def _loss(
        self, weights: Any, state: TrainingState, views: Any, scalars: Mapping[str, Any], index: Any
    ) -> tuple[Any, Any]:
        online, predictor = weights
        settings = self.settings.objective
        seen, aimed = objectives.views_needed(settings)
        x = _pick(views, seen)
        target = online if self.settings.target.kind == "none" else state.target
        if self.is_product and seen == aimed:
            W, P, Th = online.encoder[0]["weight"], predictor["weight"], target.encoder[0]["weight"]
            q, t = networks.online_and_target(W, P, Th, x)
            statistics, predictor_statistics = state.statistics, state.predictor_statistics
        else:
            normalisation = self.settings.normalisation
            z, statistics = self._forward(online, state.statistics, x)
            z = batch_normalised(z, normalisation.of_projector)
            t = z
            if aimed:
                t, _ = self._forward(target, state.statistics, _pick(views, aimed))
                t = batch_normalised(t, normalisation.of_target)
                if settings.stop_gradient:
                    t = jax.lax.stop_gradient(t)
            q, predictor_statistics = predictors.apply(
                self.settings.predictor,
                predictor,
                state.predictor_statistics,
                z,
                t[::-1],  # of the other view
                index,
                scalars["predictor.average"],
            )
            q = batch_normalised(q, normalisation.of_predictor)
        names = SWEPT["objective"]
        value, clipped = objectives.loss(settings, {n: scalars[f"objective.{n}"] for n in names}, q, t)
        return value, (statistics, predictor_statistics, clipped)

    def _optimizers(self, scalars: Mapping[str, Any]) -> tuple[Any, Any]:
        momentum = scalars["optimizer.momentum"]
        return tuple(
            optimizers.direction(self.settings.optimizer, scalars[f"optimizer.{name}"], momentum)
            for name in ("weight_decay", "predictor_weight_decay")
        )

    def _balance(self, state: TrainingState, scalars: Mapping[str, Any]) -> Any:
        normalisation = self.settings.normalisation
        conserved = normalisation.projector in ("none/none", "full/none") and normalisation.predictor in (
            "none/none",
            "full/none",
        )
        if not self.linear or self.settings.predictor.kind != "linear" or not conserved:
            return ()  # R213, R218, R221
        W, P = state.online.encoder[0]["weight"], state.predictor["weight"]
        rate = scalars["optimizer.predictor_rate"]
        # without the predictor's learning there is no law: NaN, not 0/0
        return W @ W.T - jnp.where(rate > 0, P.T @ P / jnp.where(rate > 0, rate, 1), jnp.nan)

    def _reinitialised(
        self, state: TrainingState, index: Any, key: Any, scalars: Mapping[str, Any]
    ) -> TrainingState:
        every = self.settings.predictor.reinitialise
        if every == 0:
            return state

        def anew(old: TrainingState) -> TrainingState:
            weights, statistics = predictors.init(
                self.settings.predictor,
                jax.random.fold_in(jax.random.fold_in(key, 0), index + 1),
                self.settings.encoder.output,
                scalars["predictor.scale"],
                self.dtype,
            )
            memory = self._optimizers(scalars)[1].init(weights)
            return old._replace(
                predictor=weights, predictor_statistics=statistics, predictor_optimizer=memory
            )

        return jax.lax.cond((index + 1) % every == 0, anew, lambda old: old, state)


def _undefined(failed: Any, values: Any) -> Any:
    """Measurements of all runs (n_runs, …), NaN for those that failed; counts stay."""
    if not jnp.issubdtype(values.dtype, jnp.inexact):
        return values
    return jnp.where(failed.reshape(-1, *[1] * (values.ndim - 1)), jnp.nan, values)


def _pick(views: Any, wanted: tuple[int, ...]) -> Any:
    if wanted == (0, 1):
        return views
    return jnp.stack([views[view] for view in wanted])


@lru_cache(maxsize=32)
def program(settings: TrainingSettings, shape: tuple[int, ...], n_classes: int, platform: str) -> Program:
    """Return the program of a configuration, compiled once for all values of its swept scalars."""
    return Program(settings, shape, n_classes, platform)
