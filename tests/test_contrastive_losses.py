"""Contrastive losses: against sums written out, slopes against autodiff, extremes, and the same in NumPy and JAX."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dynamics.contrastive_losses import (
    NORM_FLOOR,
    InfoNCELoss,
    SimpleLoss,
    TripletLoss,
    UniformityLoss,
    hard_triplet_loss,
    infonce_loss,
    normalise,
    pair_weights,
    simple_loss,
    triplet_loss,
)

RNG = np.random.default_rng(0)
POSITIVE, NEGATIVES = RNG.exponential(size=5), RNG.exponential(size=(5, 3))
ZERO_SUM = [
    SimpleLoss(),
    TripletLoss(0.3, 0.2),
    TripletLoss(0.0, 0.2),
    InfoNCELoss(0.4),
    InfoNCELoss(0.4, positive_in_denominator=False),
]
LOSSES = [*ZERO_SUM, UniformityLoss(0.5, 3.0)]
each = pytest.mark.parametrize("loss", LOSSES, ids=repr)


def written_out(loss: Any, r_pos: float, r_neg: np.ndarray) -> float:
    match loss:
        case SimpleLoss():
            return r_pos - float(np.mean(r_neg))
        case TripletLoss(temperature=0):
            return float(np.mean([max(r_pos - r + loss.margin, 0) for r in r_neg]))
        case TripletLoss():
            T = loss.temperature
            return float(np.mean([T * np.log(1 + np.exp((r_pos - r + loss.margin) / T)) for r in r_neg]))
        case InfoNCELoss():
            T = loss.temperature
            own, others = np.exp(-r_pos / T), sum(np.exp(-r / T) for r in r_neg)
            return float(-np.log(own / (own * loss.positive_in_denominator + others)))
        case UniformityLoss():
            return r_pos + loss.weight * float(np.log(np.mean(np.exp(-loss.sharpness * r_neg))))
    raise AssertionError(loss)


@each
def test_losses_are_what_is_printed(loss: Any) -> None:
    found = loss(POSITIVE, NEGATIVES)
    assert isinstance(found, np.ndarray)
    wanted = [written_out(loss, *pair) for pair in zip(POSITIVE, NEGATIVES, strict=True)]
    assert_allclose(found, wanted, rtol=1e-13, atol=1e-14)  # a handful of exponentials


@each
def test_slopes_are_the_gradient(loss: Any) -> None:
    with jax.enable_x64(True):

        def total(a: Any, b: Any, loss: Any = loss) -> Any:
            return jnp.sum(loss(a, b))

        a, minus_xi = jax.grad(total, argnums=(0, 1))(jnp.asarray(POSITIVE), jnp.asarray(NEGATIVES))
    found = pair_weights(loss, POSITIVE, NEGATIVES)
    assert_allclose(found[0], a, rtol=1e-13)
    assert_allclose(found[1], -minus_xi, rtol=1e-13)


@each
def test_numpy_in_numpy_out_jax_in_jax_out(loss: Any) -> None:
    with jax.enable_x64(True):
        pair = jnp.asarray(POSITIVE), jnp.asarray(NEGATIVES)
        traced = [jax.jit(loss)(*pair), *jax.jit(lambda *r: pair_weights(loss, *r))(*pair)]
    plain = [loss(POSITIVE, NEGATIVES), *pair_weights(loss, POSITIVE, NEGATIVES)]
    for mine, other in zip(plain, traced, strict=True):
        assert isinstance(mine, np.ndarray)
        assert isinstance(other, jax.Array)
        assert_allclose(mine, other, rtol=1e-13)


@pytest.mark.parametrize("loss", ZERO_SUM, ids=repr)
@settings(deadline=None, max_examples=60)
@given(
    r=st.lists(st.floats(0, 1e100), min_size=2, max_size=6),
    exponent=st.floats(-100, 100),
)
def test_slopes_of_differences_sum_to_zero_and_have_signs_at_any_scale(
    loss: Any, r: list[float], exponent: float
) -> None:
    if isinstance(loss, InfoNCELoss):
        loss = InfoNCELoss(10.0**exponent, loss.positive_in_denominator)
    elif isinstance(loss, TripletLoss) and loss.temperature:
        loss = TripletLoss(10.0**exponent, loss.margin)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, xi = pair_weights(loss, r[0], r[1:])
        value = loss(r[0], r[1:])
    assert np.isfinite(value)
    assert np.all(xi >= 0)
    assert a == pytest.approx(np.sum(xi), rel=1e-14)


@pytest.mark.parametrize("gap", [1e-300, 1e-8, 1.0, 30.0, 700.0])
def test_small_losses_keep_their_digits(gap: float) -> None:
    # log(1 + e^{−gap}) and σ(−gap), to a few roundings, and one of gap inside the exponential
    rtol = 1e-15 * (4 + gap)
    assert_allclose(infonce_loss(0.0, [gap], 1.0), np.log1p(np.exp(-gap)), rtol=rtol)
    assert_allclose(triplet_loss(0.0, [gap], 1.0), np.log1p(np.exp(-gap)), rtol=rtol)
    share = np.exp(-gap) / (1 + np.exp(-gap))
    for loss in (InfoNCELoss(1.0), TripletLoss(1.0)):
        assert_allclose(pair_weights(loss, 0.0, [gap])[1], [share], rtol=rtol)


def test_signs_are_not_strict_where_a_loss_is_flat_or_a_float_is_zero() -> None:
    # R104: the hard triplet beyond its margin; InfoNCE at τ = .05, in 32 bits from r₋ − r₊ = 6 on, in 64 from 40 on
    assert hard_triplet_loss(1.0, [2.0], margin=0.5) == 0.0
    assert pair_weights(TripletLoss(0.0, 0.5), 1.0, [1.5]) == (0.0, 0.0)
    for dtype, zero, positive in ((np.float32, 6.0, 4.0), (np.float64, 40.0, 35.0)):
        for gap, flat in ((zero, True), (positive, False)):
            _, xi = pair_weights(InfoNCELoss(0.05), dtype(0.0), np.array([gap], dtype))
            assert xi.dtype == dtype
            assert (xi[0] == 0) == flat


def test_the_mask_leaves_pairs_out() -> None:
    where = np.array([[True, False, True]] * 5)
    kept = NEGATIVES[:, [0, 2]]
    assert_allclose(simple_loss(POSITIVE, NEGATIVES, where=where), simple_loss(POSITIVE, kept), rtol=1e-14)
    assert_allclose(
        triplet_loss(POSITIVE, NEGATIVES, 0.3, 0.1, where=where),
        triplet_loss(POSITIVE, kept, 0.3, 0.1),
        rtol=1e-14,
    )


def test_a_row_that_holds_its_positive_is_the_printed_loss() -> None:
    row = np.column_stack([POSITIVE, NEGATIVES])
    assert_allclose(
        infonce_loss(POSITIVE, row, 0.3, positive_in_denominator=False),
        infonce_loss(POSITIVE, NEGATIVES, 0.3),
        rtol=1e-13,
    )


def test_the_soft_triplet_tends_to_the_hard_one() -> None:
    # τ log(1 + e^{x/τ}) − max(x, 0) = τ log(1 + e^{−|x|/τ}) is within [0, τ log 2]
    soft = triplet_loss(POSITIVE, NEGATIVES, 1e-9, 0.1)
    assert np.all(np.abs(soft - hard_triplet_loss(POSITIVE, NEGATIVES, 0.1)) <= 1e-9)


@pytest.mark.parametrize("exponent", [-11, 0, 200, 300])
def test_normalised_features_have_length_one_at_any_scale(exponent: int) -> None:
    f = RNG.standard_normal((4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z, n_degenerate = normalise(f * 10.0**exponent)
    assert_allclose(z, f / np.linalg.norm(f, axis=1, keepdims=True), rtol=1e-14)
    assert n_degenerate == 0


def test_features_without_direction_are_counted() -> None:
    f = np.array([[0.0, 0.0], [NORM_FLOOR / 2, 0.0], [2 * NORM_FLOOR, 0.0]])
    z, n_degenerate = normalise(f)
    assert n_degenerate == 2
    assert_allclose(z[:, 0], [0.0, 0.5, 1.0], rtol=1e-14)
    with jax.enable_x64(True):
        traced, count = jax.jit(normalise)(jnp.asarray(f))
    assert int(count) == 2
    assert_allclose(traced, z, rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TripletLoss(-1.0), "`temperature` must be finite and >= 0, got -1.0"),
        (lambda: TripletLoss(np.nan), "`temperature` must be finite and >= 0, got nan"),
        (lambda: TripletLoss(1.0, np.inf), "`margin` must be finite, got inf"),
        (lambda: InfoNCELoss(0.0), "`temperature` must be finite and > 0, got 0.0"),
        (lambda: UniformityLoss(0.0), "`weight` must be finite and > 0, got 0.0"),
        (lambda: UniformityLoss(1.0, -2.0), "`sharpness` must be finite and > 0, got -2.0"),
        (lambda: pair_weights(SimpleLoss(), 1.0, []), "`r_neg` must hold at least one negative, got none"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
