"""R1–R15 and R29 in the registry: each holds, and each is told apart from a broken version of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.fates.predictions import predict_fates
from analysis.results.linear import fates, flow, pair_blocks, points, solutions
from analysis.results.registry import Measurement, Result, check, collect
from analysis.stability.pair_conditions import pair_conditions
from dynamics.exact import fixed_target, no_ema, no_predictor
from dynamics.exact.fixed_points import (
    collapsed_line_eigenvalues,
    learned_line_eigenvalues,
    saddle_node,
    weight_decay_fixed_points,
)
from dynamics.fields.matrices import (
    full_field,
    no_ema_field,
    no_predictor_field,
    no_stop_gradient_field,
    symmetric_predictor_field,
)
from dynamics.fields.modes import (
    fixed_target_mode_field,
    full_mode_field,
    no_ema_mode_field,
    no_predictor_mode_field,
    tied_mode_field,
)
from dynamics.fields.vector_field import VectorField
from dynamics.invariants import balance_drift, eigenvalue_floor, mode_invariant, rank_floor
from dynamics.modes import reduce_to_modes

RESULTS = collect((flow, points, pair_blocks, fates, solutions))


@pytest.mark.parametrize("result", RESULTS.values(), ids=list(RESULTS))
def test_one_seed_one_measurement(result: Result) -> None:
    first, second = (result.trial(np.random.default_rng(7)) for _ in range(2))
    assert isinstance(first, Measurement)
    assert first == second


# --- mutants ------------------------------------------------------------------------------------------------


def mutant(field: VectorField, change: Callable[[Any, Any, Any], Any]) -> VectorField:
    """Return the field with its derivative passed through change(derivative, state, system)."""
    return replace(
        field, derivative=lambda t, state, system: change(field.derivative(t, state, system), state, system)
    )


def flipped(d: Any, state: Any, system: Any) -> Any:
    """NC prints the flow as +∂J."""
    return d._replace(online=-d.online, predictor=-d.predictor)


def swapped(d: Any, state: Any, system: Any) -> Any:
    """DD 179–180 and 186–187 print each of τo and τp on the other weights."""
    ratio = system.tau_online / system.tau_predictor
    return d._replace(online=d.online * ratio, predictor=d.predictor / ratio)


def leaking(d: Any, state: Any, system: Any) -> Any:
    return d._replace(online=d.online - 0.1 * state.online)


def seeping(d: Any, state: Any, system: Any) -> Any:
    """A leak that no run to eight digits would show."""
    return d._replace(online=d.online - 1e-10 * state.online)


def one_of(fields: Any, name: str, change: Any) -> dict[str, VectorField]:
    """The variants, with one of them changed."""
    return {**fields, name: mutant(fields[name], change)}


def early_collapse(share: float) -> Any:
    """R6 with its threshold moved, collapse iff c <= share·(−τp r²): share 1 is right, and is told by `exact_fate`."""

    def predict(state: Any, system: Any, *, decide_sign: bool) -> Any:
        found = predict_fates(state, system, decide_sign=decide_sign)
        c, floor = mode_invariant(state, system), -system.tau_predictor * system.ratio**2
        wrong = (np.asarray(state.predictor) > 0) & (c <= share * floor) & (c > floor)
        zero = np.where(wrong, 0.0, 1.0)
        level = np.where(wrong, np.sqrt(np.maximum(-c / system.tau_predictor, 0)), found.predictor)
        fate = np.where(wrong, "collapsed", found.fate)
        amplitude = np.where(wrong, 0.0, found.amplitude)
        return found._replace(
            fate=fate,
            predictor=level,
            amplitude=amplitude,
            online=np.where(wrong, 0.0, found.online * zero),
            target=np.where(wrong, 0.0, found.target * zero),
        )

    return predict


def collapse_below(edge: float) -> Any:
    """R6 with c <= edge for w2 <= 0, where it is c <= 0."""

    def predict(state: Any, system: Any, *, decide_sign: bool) -> Any:
        found = predict_fates(state, system, decide_sign=decide_sign)
        c = mode_invariant(state, system)
        wrong = (np.asarray(state.predictor) <= 0) & (c > 0) & (c <= edge)
        return found._replace(fate=np.where(wrong, "collapsed", found.fate))

    return predict


def blind_where_singular(d: Any, state: Any, system: Any) -> Any:
    """A field that rests wherever P is singular: "only if" of R4 would be false there."""
    singular = abs(np.linalg.det(state.predictor)) < 1e-9
    return type(d)(*(0 * part for part in d)) if singular else d


def blind_where_deficient(d: Any, state: Any, system: Any) -> Any:
    """A field that rests wherever W has deficient rank, with more features than inputs among them."""
    sigma = np.linalg.svd(state.online @ state.online.T, compute_uv=False)
    return type(d)(*(0 * part for part in d)) if sigma[-1] < 1e-12 else d


def stable_at_the_ratio(p: Any, system: Any) -> Any:
    """R5 with p = r counted as attracting."""
    found = collapsed_line_eigenvalues(p, system)
    found[..., 1][np.asarray(p) == system.ratio] = -1e-3
    return found


def no_time_below_zero(w2: Any, state: Any, system: Any) -> Any:
    return np.where(np.asarray(state.predictor) < 0, np.nan, no_ema.no_ema_time(w2, state, system))


def no_state_below_zero(t: Any, state: Any, system: Any) -> Any:
    found = no_ema.no_ema_solution(t, state, system)
    return type(found)(*(np.where(np.asarray(state.predictor) < 0, np.nan, part) for part in found))


def other_without_invariant(w: Any, c: Any, r: Any) -> Any:
    """F of R14 with A = +1/w at c = 0."""
    F = solutions.time_integral(w, c, r)
    return F + 2 * r / w if c == 0 else F


def lagging(d: Any, state: Any, system: Any) -> Any:
    """The target's own term is dropped in part."""
    return d._replace(target=d.target + 0.5 * state.target)


def always_learned(state: Any, system: Any, *, decide_sign: bool) -> Any:
    """DD: generic starts never collapse."""
    found = predict_fates(state, system, decide_sign=decide_sign)
    return found._replace(predictor=system.ratio)


def only_unselected(state: Any, system: Any) -> Any:
    """DD: whatever the amplitudes are, selected pairs are stable."""
    return [pair for pair in pair_conditions(state, system) if not pair.selected]


def second_root_moved(system: Any) -> Any:
    found = weight_decay_fixed_points(system)
    return found._replace(eigenvalues=found.eigenvalues * 1.001)


MUTANTS: list[tuple[str, dict[str, Any]]] = [
    ("R1", {"field": mutant(full_field, flipped)}),
    ("R1", {"field": mutant(full_field, swapped)}),
    ("R1", {"loss": lambda z, target, other: 2 * flow.prediction_loss(z, target, other)}),  # RAFT's
    ("R2", {"fields": one_of(flow.MATRIX_FIELDS, "full", swapped)}),
    *(("R2", {"fields": one_of(flow.MATRIX_FIELDS, name, seeping)}) for name in flow.MATRIX_FIELDS),
    *(("R2", {"mode_fields": one_of(flow.MODE_VARIANTS, name, seeping)}) for name in flow.MODE_VARIANTS),
    ("R2", {"fields": {**flow.MATRIX_FIELDS, "symmetric-predictor": symmetric_predictor_field}}),
    (
        "R2",
        {"drift": lambda ts, states, system: balance_drift(ts, states, replace(system, weight_decay=0.0))},
    ),
    ("R3", {"mode_field": mutant(full_mode_field, swapped)}),
    ("R3", {"field": mutant(full_field, leaking)}),
    ("R3", {"reduce": lambda state, system: reduce_to_modes(state, commuting(system))}),
    ("R4", {"field": mutant(full_field, leaking)}),
    ("R4", {"residual": lambda state, system: 1e-3}),
    ("R4", {"residual": lambda state, system: 0.0}),
    ("R4", {"field": mutant(full_field, blind_where_singular)}),
    ("R4", {"field": mutant(full_field, blind_where_deficient)}),
    ("R5", {"field": mutant(full_mode_field, swapped)}),
    ("R5", {"learned": lambda a, system: learned_line_eigenvalues(1.01 * a, system)}),
    ("R5", {"collapsed": lambda p, system: collapsed_line_eigenvalues(-p, system)}),
    ("R5", {"collapsed": stable_at_the_ratio}),
    ("R6", {"predict": always_learned}),
    *(("R6", {"predict": early_collapse(share)}) for share in (0.5, 0.9, 0.999, 1 - 2e-6, 1 - 1e-11)),
    ("R6", {"predict": collapse_below(1e-3)}),
    ("R6", {"predict": collapse_below(1e-9)}),
    ("R6", {"field": mutant(full_mode_field, leaking)}),
    ("R7", {"field": mutant(tied_mode_field, flipped)}),
    ("R7", {"field": mutant(tied_mode_field, leaking)}),
    ("R8", {"field": mutant(full_field, leaking)}),
    ("R8", {"floor": lambda state, system: 1.2 * eigenvalue_floor(state, system)}),
    ("R8", {"floor": lambda state, system: (1 + 1e-12) * eigenvalue_floor(state, system)}),
    ("R8", {"rank": lambda state, system: rank_floor(state, system) + 1}),
    ("R8", {"rank": lambda state, system: max(rank_floor(state, system) - 1, 0)}),
    ("R9", {"block": lambda p, w, ls, ld, system: pair_blocks.pair_block(p, w, ld, ls, system)}),
    ("R9", {"block": lambda p, w, ls, ld, system: pair_blocks.pair_block(p, -w, ls, ld, system)}),
    ("R9", {"jacobian": lambda state, system: 1.001 * pair_blocks.dense_jacobian(state, system)}),
    ("R10", {"conditions": only_unselected}),
    ("R11", {"field": full_mode_field}),
    ("R11", {"matrix_field": mutant(no_predictor_field, leaking)}),
    ("R11", {"eigenvalues": lambda system: -no_predictor.no_predictor_eigenvalues(system)}),
    ("R11", {"field": mutant(no_predictor_mode_field, lagging)}),
    ("R12", {"field": no_ema_field}),
    ("R12", {"field": mutant(no_stop_gradient_field, flipped)}),
    ("R13", {"field": mutant(fixed_target_mode_field, leaking)}),
    ("R13", {"solution": lambda t, s, system: fixed_target.fixed_target_solution(1.01 * t, s, system)}),
    ("R14", {"field": mutant(no_ema_mode_field, leaking)}),
    ("R14", {"integral": lambda w, c, r: solutions.time_integral(w, c, -r)}),
    ("R14", {"time_of": no_time_below_zero}),
    ("R14", {"solution": no_state_below_zero}),
    ("R14", {"integral": other_without_invariant}),
    ("R14", {"escape": lambda w, system: 2 * no_ema.escape_time(w, system)}),
    ("R15", {"threshold": lambda system: 1.01 * saddle_node(system)}),
    ("R15", {"fixed_points": second_root_moved}),
    ("R15", {"field": mutant(full_mode_field, swapped)}),
    ("R29", {"loss": flow.prediction_loss}),
    ("R29", {"field": mutant(full_field, flipped)}),
]


def commuting(system: Any) -> Any:
    """Σd is replaced by Σs/2, which commutes with it: nothing is refused."""
    return replace(system, sigma_d=system.sigma_s / 2)


def test_the_threshold_of_the_fate_itself_is_no_mutant() -> None:
    assert check(RESULTS["R6"], predict=early_collapse(1.0)).verdict == "holds"


def off_in_one_entry(d: Any, state: Any, system: Any) -> Any:
    online = d.online.copy()
    online[0, 0] += 1e-6
    return d._replace(online=online)


def test_one_entry_of_a_gradient_that_is_off_is_found() -> None:
    for seed in range(3):
        measured = flow._gradient_trial(
            *(np.random.default_rng(seed), mutant(full_field, off_in_one_entry)),
            *(flow.prediction_loss, 1.0, 0.0),
        )
        assert measured.residual > measured.tolerance


def test_fates_are_tried_from_two_each_of_the_kinds_of_start() -> None:
    for seed in range(3):
        tried: list[Any] = []

        def predict(start: Any, system: Any, tried: list[Any] = tried, **options: Any) -> Any:
            tried.append((start, mode_invariant(start, system)))
            return predict_fates(start, system, **options)

        fates.exact_fate(np.random.default_rng(seed), predict=predict)
        start, c = tried[0]
        assert np.all(c[:4] > 0)
        assert np.sign(start.predictor[:4]).tolist() == [1, 1, -1, -1]
        assert np.all(c[4:6] < 0)


def test_every_result_has_a_mutant() -> None:
    assert {name for name, _ in MUTANTS} == set(RESULTS)


@pytest.mark.parametrize(("name", "subjects"), MUTANTS, ids=[f"{n}-{next(iter(s))}" for n, s in MUTANTS])
def test_mutant_is_violated(name: str, subjects: dict[str, Any]) -> None:
    assert check(RESULTS[name], **subjects).verdict == "violated"


@pytest.mark.parametrize(
    ("name", "module", "attribute", "broken"),
    [
        ("R1", flow, "full_field", mutant(full_field, swapped)),
        ("R2", flow, "full_field", mutant(full_field, leaking)),
        ("R3", flow, "full_mode_field", mutant(full_mode_field, swapped)),
        ("R4", points, "full_field", mutant(full_field, leaking)),
        ("R5", points, "full_mode_field", mutant(full_mode_field, swapped)),
        ("R7", points, "tied_mode_field", mutant(tied_mode_field, flipped)),
        ("R9", pair_blocks, "pair_block", lambda p, w, ls, ld, system: np.eye(3, dtype=int).tolist()),
        ("R11", solutions, "no_predictor_mode_field", mutant(no_predictor_mode_field, lagging)),
        ("R12", flow, "no_stop_gradient_field", no_ema_field),
        ("R13", solutions, "fixed_target_mode_field", full_mode_field),
        ("R14", solutions, "no_ema_mode_field", mutant(no_ema_mode_field, leaking)),
        ("R15", solutions, "full_mode_field", mutant(full_mode_field, swapped)),
        ("R29", flow, "symmetrised_loss", flow.prediction_loss),
    ],
)
def test_broken_proof_fails(
    name: str, module: Any, attribute: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, attribute, broken)
    proof = RESULTS[name].proof
    assert proof is not None
    assert proof() is False
