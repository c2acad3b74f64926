"""R108, R109, R121–R129 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.contrastive.mixtures import gated_covariance, gated_mean, isolated_centres
from analysis.contrastive.rings import linear_operator, selective_patterns, selectivity_time, shift_spectrum
from analysis.results.contrastive import growth, mixtures, rings, two_layers
from analysis.results.registry import Measurement, Result, check, collect
from dynamics.data.rings import RingObjects
from dynamics.exact.norm_growth import norm_growth_bound
from dynamics.exact.two_layers import blow_up_bounds, blow_up_time, decayed_time
from dynamics.fields.normalised import normalised_gradient, normalised_outputs
from dynamics.fields.rings import gated_field
from dynamics.fields.two_layers import TwoLayerState, diagonal_two_layer_field, two_layer_field

RESULTS = collect((growth, rings, two_layers, mixtures))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


def without_base(loss: str, **options: Any) -> float:
    """H in place of H/e."""
    changed = {name: value * np.e if name == "negatives" else value for name, value in options.items()}
    return norm_growth_bound(loss, **changed) + (0.1 if loss == "triplet" else 0.0)


def sum_for_product(norms: Any, variance: float) -> float:
    """1 + Σ y/N_l in place of Π(1 + y/N_l), cut off where it diverges."""
    return float(np.log1p(1e6) / (4 * variance * np.sum(1 / np.asarray(norms))))


def off_the_ring(ring: RingObjects, offsets: Any) -> dict[str, np.ndarray]:
    """Loses what leaves the last pixel."""
    found: dict[str, np.ndarray] = {}
    for i, profile in enumerate(ring.profiles):
        line = np.concatenate([np.zeros(ring.length), profile])
        for z in range(ring.length):
            seen = np.roll(line, z)[ring.length :]
            word = "".join(str(int(seen[pixel % ring.length])) for pixel in offsets)
            found.setdefault(word, np.zeros(2))[i] += 1 / ring.length
    return found


def shifted_counts(k: int, d: int) -> np.ndarray:
    """A position too many at which 101 is not seen."""
    return rings._window_counts(k, d) + np.array([[0, 0, 0], [0, 0, 1]])


def any_pattern(ring: RingObjects, offsets: Any, bias: bool = False) -> list[str]:
    return (["11"] if not bias else []) + selective_patterns(ring, offsets, bias=bias)


def squared_norm_lost(w1: Any, w2: float, A: Any, **options: Any) -> float:
    """‖w1‖ in place of ‖w1‖²."""
    w1 = np.asarray(w1)
    return blow_up_time(w1 / np.sqrt(np.linalg.norm(w1)), w2, A, **options)


def transposed(state: TwoLayerState, moved: TwoLayerState) -> np.ndarray:
    """W1W1ᵀ with the wrong sign."""
    half = state.top.T @ moved.top + moved.bottom @ state.bottom.T
    return np.asarray(half + half.T)


def unprojected(state: TwoLayerState, x: Any, slopes: Any) -> TwoLayerState:
    """Forgets that the norm moves too: its slopes are taken as those of f."""
    norms = normalised_outputs(state, x).norms
    hidden = np.maximum(x @ state.bottom.T, 0.0)
    df = slopes / np.where(norms == 0, 1, norms)[:, None]
    return TwoLayerState((df * state.top * (hidden > 0)).T @ x, (df * hidden).sum(axis=0))


def norms_lost(state: TwoLayerState, x: Any, slopes: Any) -> TwoLayerState:
    """Lacks 1/‖f‖, on average."""
    size = float(np.linalg.norm(state.top))
    return TwoLayerState(*(size * part for part in normalised_gradient(state, x, slopes)))


def no_density(w: Any, mixture: Any) -> np.ndarray:
    from scipy.special import ndtr

    h = mixture.centres @ w / np.sqrt(w @ mixture.covariance @ w)
    return np.asarray(mixture.centres * ndtr(h)[:, None])


def origin_decides(mixture: Any) -> np.ndarray:
    """As printed: with a centre at the origin every other one is a fixed direction."""
    alive = mixture.centres.any(axis=1)
    return np.flatnonzero(alive) if not alive.all() else isolated_centres(mixture)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R108", {"bound": without_base}),
    ("R108", {"bound": lambda loss, **options: norm_growth_bound(loss, **options) / 2}),
    ("R108", {"gradient": lambda *a: growth._Layers(*(0.5 * g for g in growth._gradient(*a)))}),
    ("R109", {"bound": sum_for_product}),
    ("R109", {"bound": lambda norms, v: 2 * growth.blow_up_bound(norms, v)}),
    ("R109", {"ascent": lambda *a: growth._Layers(*(0.5 * g for g in growth._ascent(*a)))}),
    ("R121", {"frequencies": off_the_ring}),
    ("R121", {"counts": shifted_counts}),
    ("R122", {"operator": lambda A, P, o, prior: linear_operator(A, np.eye(len(P)), o, prior)}),
    ("R122", {"spectrum": lambda ring, law: np.sqrt(shift_spectrum(ring, law))}),
    ("R123", {"strength": lambda table, p: 2 * rings._pattern_strength(table, p)}),
    ("R123", {"patterns": any_pattern}),
    ("R123", {"time": lambda *a: 2 * selectivity_time(*a)}),
    ("R123", {"field": lambda w, table, gates: gated_field(w, table, gates, branches="all")}),
    ("R124", {"time": lambda *a, branches="one": blow_up_time(*a)}),
    ("R124", {"time": squared_norm_lost}),
    ("R124", {"bounds": lambda *a, **o: blow_up_bounds(*a, **o)._replace(upper=0.0)}),
    ("R124", {"field": lambda t, s, A, **o: diagonal_two_layer_field(t, s, 2 * A, **o)}),
    ("R125", {"clock": lambda t, eta: decayed_time(t, eta, degree=2)}),
    ("R125", {"time": lambda *a, weight_decay=0.0: blow_up_time(*a, weight_decay=weight_decay / 2)}),
    ("R126", {"balance": transposed}),
    ("R126", {"rectified": lambda rates: rates}),
    ("R126", {"field": lambda t, s, V, **o: two_layer_field(t, s, V, branches="all", **o)}),
    ("R127", {"mean": no_density}),
    ("R127", {"mean": lambda w, mixture: gated_mean(-np.asarray(w), mixture)}),
    ("R127", {"covariance": lambda w, mixture: 2 * gated_covariance(w, mixture)}),
    ("R128", {"isolated": origin_decides}),
    ("R128", {"winner": lambda centres, w: int(np.argmin(centres @ w))}),
    ("R129", {"gradient": unprojected}),
    ("R129", {"gradient": norms_lost}),
]  # fmt: skip


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}-{i}" for i, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"
