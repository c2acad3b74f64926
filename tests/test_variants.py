"""What a row of the table of variants owes, and how a new row fares where something is not known of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from analysis.fates.cases import CASES
from analysis.fates.predictions import predict_fates
from analysis.fixed_points.one_mode import fixed_points
from analysis.fixed_points.variants import RESTS
from analysis.runs.simulation import simulate_matrices, simulate_modes
from analysis.sweeps.modes import _COMPILED
from dynamics.fields.vector_field import VectorField
from dynamics.integration import mode_flow as flow
from dynamics.integration.ensemble import integrate_ensemble
from dynamics.integration.integrate import integrate
from dynamics.invariants import balance_matrix, mode_invariant
from dynamics.system import MatrixSystem, ModeSystem
from dynamics.variants import (
    FIELDS,
    MODE_FIELDS,
    VARIANTS,
    Variant,
    mode_variant,
)

COMPILED = {name: row for name, row in VARIANTS.items() if row.kind is not None}
SYSTEM = ModeSystem(
    [1.3, 0.8], [0.7, 0.3], tau_online=0.7, tau_predictor=1.9, tau_target=1.4, weight_decay=0.05
)


def system_for(name: str) -> ModeSystem:
    if name != "tied":
        return SYSTEM
    return ModeSystem(SYSTEM.lambda_s, SYSTEM.lambda_d, tau_target=1.4, weight_decay=0.05)


def start_for(name: str, system: ModeSystem) -> Any:
    return system.state(0.6, 0.6 if name == "tied" else -0.4, 0.3)


def matrices() -> tuple[Any, MatrixSystem]:
    rng = np.random.default_rng(1)
    A = rng.normal(size=(3, 3))
    sigma_s = np.eye(3) + A @ A.T / 3
    system = MatrixSystem(
        sigma_s, 0.5 * np.eye(3), tau_online=0.7, tau_predictor=1.9, tau_target=1.4, weight_decay=0.05
    )
    P = rng.normal(size=(2, 2))
    return system.state(rng.normal(size=(2, 3)), P + P.T), system


@pytest.mark.parametrize("row", VARIANTS.values(), ids=list(VARIANTS))
def test_a_row_has_its_fields_under_its_name(row: Variant) -> None:
    assert row.mode_field.name == row.name
    assert mode_variant(row.mode_field) is row
    if row.matrix_field is not None:
        assert row.matrix_field.name == row.name
    assert row.meaning
    assert not row.meaning.endswith(".")


def test_what_is_known_of_fates_is_known_of_variants_of_the_table() -> None:
    assert set(CASES) <= set(VARIANTS)
    assert set(RESTS) <= set(VARIANTS)


@pytest.mark.parametrize("row", VARIANTS.values(), ids=list(VARIANTS))
def test_one_mode_conserves_the_balance_iff_the_row_says_so(row: Variant) -> None:
    system = system_for(row.name)
    start = start_for(row.name, system)
    run = integrate(start, system, row.mode_field, 2.0, rtol=1e-10, atol=1e-12)
    c = mode_invariant(run.states, system)
    law = np.exp(-2 * 0.05 * run.ts[:, None]) * c[0]
    if row.mode_balanced:
        assert_allclose(c, law, rtol=0, atol=1e-8)
    else:
        assert np.max(np.abs(c - law)) > 1e-3


@pytest.mark.parametrize("row", VARIANTS.values(), ids=list(VARIANTS))
def test_a_network_conserves_the_balance_iff_the_row_says_so(row: Variant) -> None:
    start, system = matrices()
    if row.matrix_field is None:
        assert not row.matrix_balanced
        return
    run = integrate(start, system, row.matrix_field, 1.0, rtol=1e-10, atol=1e-12)
    C = balance_matrix(run.states, system)
    law = np.exp(-2 * 0.05 * run.ts)[:, None, None] * C[0]
    if row.matrix_balanced:
        assert_allclose(C, law, rtol=0, atol=1e-8)
    else:
        assert np.max(np.abs(C - law)) > 1e-3


@pytest.mark.parametrize("row", COMPILED.values(), ids=list(COMPILED))
def test_single_runs_and_ensembles_know_every_kind(row: Variant) -> None:
    assert row.kind in range(8)
    assert (row.direct != (0.0, 0.0)) == (row.kind == flow.DIRECT)
    system = system_for(row.name)
    start = start_for(row.name, system)
    run = simulate_modes(start, system, row.mode_field, 3.0, rtol=1e-9)
    ensemble = integrate_ensemble(start, system, row.mode_field, 3.0, rtol=1e-9, device="cpu")
    reference = integrate(start, system, row.mode_field, 3.0, rtol=1e-11, atol=1e-13).final
    for one, many, exact in zip(run.trajectory.final, ensemble.final, reference, strict=True):
        # ten times the tolerance, of weights of size one
        assert_allclose(one, exact, rtol=0, atol=1e-8)
        assert_allclose(many, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", sorted(set(CASES) & set(RESTS)))
def test_predictions_and_fixed_points_are_found_by_name(name: str) -> None:
    system = ModeSystem([1.0], [0.5])
    found = predict_fates(system.state(0.5, 0.5, 0.2), system, name)
    assert found.fate[0] in ("learned", "collapsed")
    target = {"target": 0.2} if name == "fixed-target" else {}
    assert fixed_points(system, name, **target).variant == name


def test_the_command_line_lists_every_row(dyn: Any) -> None:
    code, printed, _ = dyn("info", "variants", "--json")
    assert code == 0
    listed = json.loads(printed)["variants"]
    assert list(listed) == list(VARIANTS)


def test_sweeps_accept_every_row_that_is_compiled() -> None:
    assert set(_COMPILED) == {name for name, row in VARIANTS.items() if row.kind is not None}


def test_simulate_refuses_a_network_of_a_variant_of_one_mode(dyn: Any) -> None:
    rates = ("--lambda-s", "1", "--lambda-d", ".5")
    code, _, printed = dyn("simulate", *rates, *rates, "--variant", "tied", "--dim", "2")
    assert code == 2
    assert "tied" in printed


# --- a new row ------------------------------------------------------------------------------------------------


def _halved(t: Any, state: Any, system: Any) -> Any:
    return MODE_FIELDS["full"].derivative(t, state, system)


TOY = Variant("toy", "the full flow under another name", VectorField("toy", _halved), None, True, False, None)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Variant:
    monkeypatch.setitem(VARIANTS, "toy", TOY)
    return TOY


def test_a_new_row_is_integrated_by_the_general_method(toy: Variant) -> None:
    start = SYSTEM.state(0.6, -0.4, 0.3)
    found, full = (
        integrate(start, SYSTEM, row.mode_field, 3.0, rtol=1e-10, atol=1e-12)
        for row in (toy, VARIANTS["full"])
    )
    assert_array_equal(np.array(found.final), np.array(full.final))


def test_a_new_row_is_refused_by_name_where_nothing_is_known_of_it(toy: Variant) -> None:
    start = SYSTEM.state(0.6, -0.4, 0.3)
    with pytest.raises(ValueError, match="toy"):
        simulate_modes(start, SYSTEM, toy.mode_field)
    with pytest.raises(ValueError, match=r"must be compiled \(full, .*\), got toy"):
        integrate_ensemble(start, SYSTEM, toy.mode_field, 1.0, device="cpu")
    with pytest.raises(ValueError, match=r"`variant` must be one of .*, got 'toy'"):
        predict_fates(start, SYSTEM, "toy")
    with pytest.raises(ValueError, match=r"`variant` must be one of .*, got 'toy'"):
        fixed_points(ModeSystem(1.0, 0.5), "toy")


def test_a_field_under_the_name_of_a_row_is_not_that_row() -> None:
    start = SYSTEM.state(0.6, -0.4, 0.3)
    impostor = VectorField("full", _halved)
    with pytest.raises(ValueError, match="must be the mode field of a variant"):
        simulate_modes(start, SYSTEM, impostor)


def test_a_network_of_a_new_row_is_simulated_without_a_promise() -> None:
    start, system = matrices()
    field = VectorField("toy", FIELDS["full"].derivative)
    run = simulate_matrices(start, system, field, 1.0)
    assert run.rank_floor is None
    assert np.isnan(run.drift)
