"""R325–R330 in the registry: each is told apart from broken versions of itself, and its numbers are those derived."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from analysis.results.objectives import barlow, redundancy
from analysis.results.registry import check, collect
from dynamics.exact.hinge import hinge_size, hinge_stop
from dynamics.exact.redundancy import (
    barlow_twins_mode,
    barlow_twins_plateau,
    barlow_twins_rate,
    eigenmodes_are_minimum,
    oja_subspace,
    spectral_gram,
    spectral_mode,
)
from dynamics.exact.vicreg import vicreg_encoder, vicreg_rank, vicreg_row, vicreg_spectrum, vicreg_std
from dynamics.fields.redundancy import (
    BarlowTwins,
    RedundancyLoss,
    SpectralContrastive,
    Vicreg,
    Whitened,
    redundancy_field,
    whitened_encoder,
)
from dynamics.integration.integrate import integrate
from dynamics.states import EncoderState
from dynamics.system import MatrixSystem

RESULTS = collect((barlow, redundancy))
RATIOS = np.array([0.95, 0.9, 0.7, 0.5, 0.3, 0.1])


class _HalfForce(BarlowTwins):
    """Moves at half the speed."""

    def descent(self, W: Any, system: MatrixSystem) -> Any:
        return super().descent(W, system) / 2


def _first_row_held(ratios: Any, weight: float, unlearned: float = 0.0) -> bool:
    r = np.sort(np.asarray(ratios))[::-1]
    i, j = np.triu_indices(r.size, 1)
    return bool(r[-1] > unlearned and np.all(weight > (1 - r[j]) * (r[i] - r[j]) / r[i] ** 2))


def _equal(ratios: Any, n2: int, **weights: float) -> Any:
    found = vicreg_spectrum(ratios, n2, **weights)
    learned = found.amplitudes > 0
    return found._replace(amplitudes=learned * n2 / np.sum(learned))


class _OfSigmaD(Whitened):
    """Oja's flow with Σd for M."""

    def descent(self, W: np.ndarray, system: MatrixSystem) -> np.ndarray:
        return W @ system.sigma_d - (W @ system.sigma_d @ W.T) @ W


class _Crowded(SpectralContrastive):
    """Rows held by their own lengths, too."""

    def descent(self, W: Any, system: MatrixSystem) -> Any:
        return super().descent(W, system) - 4 * (W * W) @ np.ones_like(W.T) @ W


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R325", {"rate": lambda ld, k, n, weight: 4 * ld * barlow_twins_plateau(k, n, weight)}),  # λ ignored
    ("R325", {"rate": lambda ld, k, n, weight: 4 * ld * weight}),
    ("R325", {"plateau": lambda k, n, weight: 1 / (weight + (1 - weight) * (k + 1) / n)}),
    ("R325", {"mode": lambda t, w, ld: barlow_twins_mode(np.asarray(t) / 2, w, ld)}),
    ("R325", {"loss_of": _HalfForce}),
    ("R326", {"minimum": _first_row_held}),
    ("R326", {"minimum": lambda r, weight, unlearned: weight > 0}),
    ("R326", {"minimum": lambda r, weight, unlearned: eigenmodes_are_minimum(r, weight)}),
    ("R326", {"loss_of": lambda weight, normalised: BarlowTwins(weight, False)}),
    ("R327", {"spectrum": _equal}),
    ("R327", {"row": lambda *a, **k: vicreg_row(*a, **(k | {"invariance": k["invariance"] / 2}))}),
    ("R327", {"rest": lambda r, **k: vicreg_std(r, invariance=k["invariance"] / 2, variance=k["variance"])}),
    ("R327", {"rank": lambda r, n2, **k: vicreg_rank(r, n2, **k) + 1}),
    ("R328", {"mode": lambda t, w, ls, ld: spectral_mode(t, w, 1.01 * ls, ld)}),
    ("R328", {"gram": lambda t, start, sigma: spectral_gram(np.asarray(t) / 2, start, sigma)}),
    ("R328", {"loss": _Crowded()}),
    ("R329", {"loss": _OfSigmaD()}),
    (
        "R329",
        {
            "subspace": lambda t, start, system: oja_subspace(
                t, start, replace(system, sigma_s=np.eye(system.n1))
            )
        },
    ),
    ("R330", {"stop": lambda r: 1.001 * hinge_stop(r)}),
    ("R330", {"stop": lambda r: 2 * hinge_stop(r)}),
]
"""Every result with versions that its trial must catch."""


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(
    ("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}-{k}" for k, (n, s) in enumerate(MUTANTS)]
)
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "module", "attribute", "mutant"),
    [
        ("R325", barlow, "_plateau", lambda k, n, weight: 1 / (weight + (1 - weight) * n / k)),
        ("R326", barlow, "_gain", lambda r1, r2, weight: weight * r1**2 - (1 - r2) * (r1 - r2)),
        ("R327", redundancy, "_amplitude", lambda li, r, m, nu: (li * r - m) / (2 * nu)),
        ("R328", redundancy, "_crowding", lambda: 4),
    ],
)
def test_mutated_proof_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, attribute: str, mutant: Any
) -> None:
    monkeypatch.setattr(module, attribute, mutant)
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False


# --- losses and flows ---------------------------------------------------------------------------------------

LOSSES: list[RedundancyLoss] = [
    BarlowTwins(0.3),
    BarlowTwins(0.3, normalised=True),
    Vicreg(0.7, 1.9, 0.4),
    SpectralContrastive(),
]


def drawn(seed: int, n1: int = 5) -> MatrixSystem:
    return redundancy.random_moments(np.random.default_rng(seed), n1)[0]


@pytest.mark.parametrize("loss", LOSSES, ids=[redundancy_field(loss).name for loss in LOSSES])
def test_fields_are_gradients_of_their_losses(loss: RedundancyLoss) -> None:
    system = drawn(0)
    W = 0.2 * np.random.default_rng(1).standard_normal((3, 5))
    with jax.enable_x64(True):
        gradient = np.asarray(jax.grad(lambda W: loss.value(W, system))(jax.numpy.asarray(W)))
    # sums of 3·5 products
    assert_allclose(loss.descent(W, system), -gradient, rtol=0, atol=1e-14 * np.max(np.abs(gradient)))


def test_losses_are_means_over_samples() -> None:
    """Each loss of moments is the loss of a sample with those moments, as papers write it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 4))
    x1, x2 = x + 0.3 * rng.standard_normal((2, 64, 4))
    s = (x1.T @ x1 + x2.T @ x2) / 128
    d = (x1.T @ x2 + x2.T @ x1) / 128
    system = MatrixSystem(s, d)
    W = rng.standard_normal((3, 4)) * 0.3
    z1, z2 = x1 @ W.T, x2 @ W.T
    C = (z1.T @ z2 + z2.T @ z1) / 128
    K = (z1.T @ z1 + z2.T @ z2) / 128
    off = ~np.eye(3, dtype=bool)
    barlow_value = np.sum((np.diag(C) - 1) ** 2) + 0.3 * np.sum(C[off] ** 2)
    assert_allclose(BarlowTwins(0.3).value(W, system), barlow_value, rtol=1e-13)
    scale = np.sqrt(np.outer(np.diag(K), np.diag(K)))
    normal = np.sum((np.diag(C / scale) - 1) ** 2) + 0.3 * np.sum((C / scale)[off] ** 2)
    assert_allclose(BarlowTwins(0.3, True).value(W, system), normal, rtol=1e-13)
    drawn_together = np.mean(np.sum((z1 - z2) ** 2, axis=1))
    short = np.sum(np.maximum(0, 1 - np.sqrt(np.diag(K))))
    said = 0.7 * drawn_together + 1.9 * short + 0.4 * np.sum(K[off] ** 2)
    assert_allclose(Vicreg(0.7, 1.9, 0.4).value(W, system), said, rtol=1e-13)
    assert_allclose(SpectralContrastive().value(W, system), np.sum(K**2) - 2 * np.trace(C), rtol=1e-13)


def test_a_row_of_vicreg_stops_at_one() -> None:
    system = MatrixSystem([1.7], [1.7 * 0.9])
    run = integrate(EncoderState([[1e-3]]), system, redundancy_field(Vicreg(1.0, 0.9, 1.0)))
    assert run.status.value == "steady"
    assert_allclose(1.7 * run.final.online[0, 0] ** 2, 1.0, rtol=1e-7)  # of rtol 1e-8 of the run


@pytest.mark.parametrize(
    ("loss", "start", "decay", "message"),
    [
        (BarlowTwins(0.1, True), [[1.0, 0.0]], 0.1, "weight_decay` must be 0 for normalised barlow-twins"),
        (Whitened(), [[1.0, 0.0]], 0.1, "weight_decay` must be 0 for whitened"),
        (Vicreg(), [[1.0, 0.0], [0.0, 0.0]], 0.0, "no row of zero output under vicreg, got row 2"),
        (Whitened(), [[1.0, 0.0], [2.0, 0.0]], 0.0, "rows that stay independent"),
    ],
)
def test_what_a_loss_does_not_allow_is_refused(loss: Any, start: Any, decay: float, message: str) -> None:
    system = MatrixSystem([1.0, 1.0], [0.9, 0.5], weight_decay=decay)
    with pytest.raises(ValueError, match=message):
        integrate(EncoderState(start), system, redundancy_field(loss), 1.0)


def test_weights_are_refused_by_name() -> None:
    for make, message in (
        (lambda: BarlowTwins(-1.0), "`off_diagonal` must be finite and >= 0, got -1.0"),
        (lambda: Vicreg(covariance=np.nan), "`covariance` must be finite and >= 0, got nan"),
        (lambda: hinge_size(0.5, 0.0), "`margin` must be finite and > 0"),
        (lambda: hinge_stop(1.0), "`ratio` must be from 0.001 to 0.999"),
        (lambda: eigenmodes_are_minimum([0.5, 0.5], 1.0), "`ratios` must be different"),
        (lambda: barlow_twins_plateau(5, 4, 1.0), "`k` must be from 1 to 4"),
        (lambda: vicreg_spectrum([0.5], 0, invariance=1, covariance=1), "`n2` must be an integer >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off_diagonal", "plateau", "rates"),
    [(0.3, 2.105, (0.7579, 0.1477)), (0.05, 3.478, (0.2087, 0.0305)), (1.0, 1.0, (1.2, 0.32))],
)
def test_numbers_of_barlow_twins(off_diagonal: float, plateau: float, rates: tuple[float, float]) -> None:
    assert_allclose(barlow_twins_plateau(1, 4, off_diagonal), plateau, atol=5e-4)
    for k, (following, rate) in enumerate(zip((0.3, 0.08), rates, strict=True), 1):
        assert_allclose(barlow_twins_rate(following, k, 4, off_diagonal), rate, atol=5e-5)


def test_a_run_of_barlow_twins_rests_at_its_plateau_and_leaves_at_its_rate() -> None:
    system = MatrixSystem(np.full(4, 2.0), np.array([1.0, 0.3, 0.08, 0.02]))
    c = barlow_twins_plateau(1, 4, 0.3)
    start = np.zeros((4, 4))
    start[:, 0] = 0.1 * np.array([1, -1, 1, 1])
    start[:, 1] = 1e-9 * np.array([1, 1, 0, 0])  # orthogonal to the first column
    ts = np.array([0.0, 12.0, 16.0])
    run = integrate(
        EncoderState(start), system, redundancy_field(BarlowTwins(0.3)), ts=ts, rtol=1e-10, atol=1e-16
    )
    first = np.sum(run.states.online[:, :, 0] ** 2, axis=1)
    second = np.linalg.norm(run.states.online[:, :, 1], axis=1)
    assert_allclose(first[1:], c, rtol=1e-8)  # of steps accurate to 1e-10, some hundred of them
    rate = np.log(second[2] / second[1]) / 4
    assert_allclose(rate, barlow_twins_rate(0.3, 1, 4, 0.3), rtol=1e-7)


def test_a_random_start_of_barlow_twins_passes_near_its_plateaus() -> None:
    """Rows do not share the first mode evenly before the second grows: λd s² is 2.09, not 2.105, when it passes."""
    system = MatrixSystem(np.full(4, 2.0), np.array([1.0, 0.3, 0.08, 0.02]))
    start = EncoderState(1e-6 * np.random.default_rng(0).standard_normal((4, 4)))
    run = integrate(start, system, redundancy_field(BarlowTwins(0.3)), 15.0, rtol=1e-8, atol=1e-13)
    sizes = np.sum(run.states.online**2, axis=1) * system.sigma_d
    passing = (sizes[:, 0] > 2.0) & (sizes[:, 1] < 1e-2)
    assert np.max(sizes[passing, 0]) < 2.106
    assert_allclose(np.max(sizes[passing, 0]), 2.105, rtol=1e-2)


def test_off_diagonal_weight_slows_steps() -> None:
    def slower(k: int, n: int) -> float:
        return barlow_twins_rate(1.0, k, n, 1.0) / barlow_twins_rate(1.0, k, n, 0.005)

    # the paper's weight with 8 rows, and with 128 early and late
    assert_allclose([slower(1, 8), slower(1, 128), slower(127, 128)], [25.9, 2.55, 198], rtol=3e-3)
    assert barlow_twins_rate(1.0, 1, 8, 0.0) == 0


@pytest.mark.parametrize(
    ("covariance", "said"),
    [
        (0.05, (2.5, 1.5, 0, 0)),
        (0.1, (2.25, 1.75, 0, 0)),
        (0.2, (1.8333, 1.5833, 0.5833, 0)),
        (1.0, (1.1875, 1.1375, 0.9375, 0.7375)),
    ],
)
def test_numbers_of_vicreg(covariance: float, said: tuple[float, ...]) -> None:
    found = vicreg_spectrum(RATIOS, 4, invariance=1.0, covariance=covariance)
    assert_allclose(found.amplitudes[:4], said, atol=5e-5)
    # second method: the flow itself, from a random start, with the pull it needs and some more
    system = MatrixSystem(np.ones(6), RATIOS)
    start = EncoderState(0.1 * np.random.default_rng(0).standard_normal((4, 6)))
    run = integrate(start, system, redundancy_field(Vicreg(1.0, 4.0, covariance)), rtol=1e-6, atol=1e-9)
    amplitudes = np.linalg.eigvalsh(run.final.online @ run.final.online.T)[::-1]
    assert_allclose(amplitudes, found.amplitudes[:4], atol=1e-4)


def test_a_mode_that_vicreg_does_not_need_the_hinge_for_is_short() -> None:
    assert_allclose(vicreg_std(0.6, invariance=1.0, variance=0.9), 0.5625, rtol=1e-15)
    found = vicreg_spectrum([0.6], 1, invariance=1.0, covariance=1.0)
    assert_allclose(found.pull, 4 * 0.4, rtol=1e-15)  # μ at which std reaches 1


def test_numbers_of_the_hinge() -> None:
    assert abs(hinge_stop(0.5) - 3.034) < 0.01  # the error of its Monte Carlo
    # second method: the mean of 2e6 draws, whose error is that of the mean
    rng = np.random.default_rng(0)
    x1, e, x3 = rng.standard_normal((3, 1_000_000))
    x2 = 0.5 * x1 + np.sqrt(0.75) * e
    q = (x1 - x2) ** 2 - (x1 - x3) ** 2
    kept = q * (q > -hinge_stop(0.5))
    assert abs(np.mean(kept)) < 4 * np.std(kept) / 1000


def test_eigenmodes_are_a_minimum_as_dense_hessians_have_it() -> None:
    """A thousand random pairs: no mismatch but on the edge to rounding."""
    rng = np.random.default_rng(0)
    mismatches = tried = 0
    for _ in range(1000):
        r = np.sort(rng.uniform(0.01, 0.99, 2))[::-1]
        weight = float(np.exp(rng.uniform(-4, 6)))
        H = barlow.hessian(BarlowTwins(weight, True), np.eye(2), MatrixSystem(np.ones(2), r))
        lowest = np.linalg.eigvalsh(H[np.ix_([1, 2], [1, 2])])[0]
        if abs(lowest) > 1e-12 * weight:
            tried += 1
            mismatches += eigenmodes_are_minimum(r, weight) != (lowest > 0)
    assert tried > 990
    assert mismatches == 0


def test_no_weight_holds_eigenmodes_past_the_peak() -> None:
    assert not any(eigenmodes_are_minimum([0.95, 0.7], 10.0**k) for k in range(-6, 300, 20))
    assert eigenmodes_are_minimum([0.6, 0.3], 2.0)
    assert not eigenmodes_are_minimum([0.6, 0.3], 2.0, unlearned=0.4)


def test_encoders_of_vicreg_are_at_rest() -> None:
    system = drawn(3)
    W = vicreg_encoder(system, 4, invariance=1.0, covariance=0.3)
    K = W @ system.sigma_s @ W.T
    assert_allclose(np.diag(K), 1.0, rtol=1e-12)
    moved = redundancy_field(Vicreg(1.0, 50.0, 0.3))(0.0, EncoderState(W), system).online
    assert np.max(np.abs(moved)) < 1e-9


def test_whitening_is_nearest() -> None:
    system = drawn(1)
    W = 1e150 * np.random.default_rng(0).standard_normal((3, 5))
    V = whitened_encoder(W, system)
    assert_allclose(V @ system.sigma_s @ V.T, np.eye(3), atol=1e-13)
    assert_allclose(whitened_encoder(V, system), V, atol=1e-13)


def test_closed_forms_survive_extremes() -> None:
    assert_allclose(barlow_twins_mode(1e300, 1e-100, 1.0), 1.0)
    assert barlow_twins_mode(0.0, 0.0, 1.0) == 0
    assert_allclose(spectral_mode([1e-300, 1e300], 1e-50, 1.0, 0.5), [1e-50, 0.5**0.5])
    assert_allclose(vicreg_row(0.5, 1e-9, 1.0, 1.0, invariance=1.0, variance=0.5), 0.25, rtol=1e-8)
    gram = spectral_gram([1e4], EncoderState([[1e-20, 1e-20, 0.0]]), [0.9, 0.5, 0.0])
    assert_allclose(gram[0], np.diag([0.9, 0, 0]), atol=1e-12)
