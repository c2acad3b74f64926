"""Linear encoders under the simple contrastive loss: field, exact solution, runs, and what R113 says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

from analysis.runs import encoders
from analysis.runs.encoders import simulate_encoder
from dynamics.exact.contrastive import simple_encoder
from dynamics.fields.contrastive import encoder_start, simple_field, simple_one_branch_field
from dynamics.fields.vector_field import VectorField
from dynamics.integration.integrate import Status, integrate
from dynamics.states import EncoderState, pack, unpack
from dynamics.system import MatrixSystem

RACE = MatrixSystem([10.0, 1.0], [5.0, 0.9])


def random_system(seed: int, n1: int = 4, weight_decay: float = 0.0) -> MatrixSystem:
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, n1, n1))
    sigma_d = A @ A.T / n1
    return MatrixSystem(sigma_d + B @ B.T / n1, sigma_d, weight_decay=weight_decay)


# --- any state ----------------------------------------------------------------------------------------------


class Oscillators(NamedTuple):
    """A state of parts with shapes that no encoder has."""

    position: Any
    velocity: Any


def test_any_named_tuple_of_arrays_is_integrated() -> None:
    omega = np.array([1.0, 2.0, 3.0])
    field = VectorField(
        "oscillators",
        lambda t, state, system: Oscillators(state.velocity, -(system**2) * state.position),
        start=lambda parts, system: Oscillators(*(np.asarray(part, dtype=float) for part in parts)),
        sizes=lambda state: tuple(np.max(np.abs(part)) for part in state),
        clock=lambda system: (1 / system.max(), 1 / system.min()),
    )
    run = integrate(Oscillators(np.ones(3), np.zeros(3)), omega, field, ts=[0.0, 1.0, 2.0], dense=True)
    assert isinstance(run.states, Oscillators)
    assert_allclose(run.states.position, np.cos(np.outer(run.ts, omega)), atol=1e-8)
    assert_allclose(run(1.5).velocity, -omega * np.sin(1.5 * omega), atol=1e-7)
    assert run.status is Status.END_TIME
    assert [part.shape for part in unpack(pack(run.final), run.final)] == [(3,), (3,)]


# --- field and exact solution -------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "branches"), [(simple_field, 2), (simple_one_branch_field, 1)])
def test_the_field_is_the_gradient_of_the_variance_of_mean_outputs(field: VectorField, branches: int) -> None:
    # L = -tr W Σd Wᵀ, of which one branch gives half
    system, h = random_system(1, weight_decay=0.3), 1e-3
    W = np.random.default_rng(2).standard_normal((3, 4))
    moved = field(0.0, EncoderState(W), system).online + 0.3 * W
    slope = np.empty_like(W)
    for index in np.ndindex(*W.shape):
        step = np.zeros_like(W)
        step[index] = h
        ahead, behind = (np.trace(V @ system.sigma_d @ V.T) for V in (W + step, W - step))
        slope[index] = (ahead - behind) / (2 * h)  # exact for a quadratic, but for rounding of order 1e-16/h
    assert_allclose(moved, branches / 2 * slope, atol=1e-11)


@pytest.mark.parametrize("branches", [1, 2])
def test_the_exact_solution_is_a_matrix_exponential(branches: int) -> None:
    system = random_system(3, weight_decay=0.2)
    W = np.random.default_rng(4).standard_normal((2, 4))
    found = simple_encoder([0.0, 0.7], EncoderState(W), system, branches=branches).online
    generator = branches * system.sigma_d - 0.2 * np.eye(4)
    assert_allclose(found[0], W, rtol=1e-13)
    assert_allclose(found[1], W @ expm(0.7 * generator), rtol=1e-12)


@pytest.mark.parametrize("branches", ["all", "one"])
def test_a_run_is_the_exact_solution(branches: str) -> None:
    system = random_system(5, weight_decay=0.1)
    start = EncoderState(np.random.default_rng(6).standard_normal((3, 4)))
    found = simulate_encoder(start, system, branches, t_end=2.0)
    assert found.trajectory.status is Status.END_TIME
    assert found.error < 1e-7  # ten times the tolerance
    assert set(found.fate) == {"undecided"}
    assert set(found.agrees) == {None}


def test_every_row_turns_to_the_top_eigenvector_of_the_covariance() -> None:
    system = random_system(7)
    found = simulate_encoder(
        EncoderState(np.random.default_rng(8).standard_normal((3, 4))), system, t_end=None
    )
    assert found.trajectory.status is Status.UNBOUNDED
    top = np.linalg.eigh(system.sigma_d)[1][:, -1]
    rows = found.trajectory.final.online
    cosines = np.abs(rows @ top) / np.linalg.norm(rows, axis=1)
    assert_allclose(cosines, 1.0, atol=1e-10)
    assert found.rank == 1
    assert found.fate.tolist() == ["learned", "collapsed", "collapsed", "collapsed"]
    assert all(found.agrees)


# --- fates at the edges of the statement --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lambda_d", "weight_decay", "online", "fates", "status"),
    [
        ([5.0, 0.9], 0.0, [0.1, 0.1], ["learned", "collapsed"], "unbounded"),
        ([0.5, 0.5], 0.0, [0.1, 0.3], ["learned", "learned"], "unbounded"),
        ([5.0, 0.9], 0.0, [0.0, 0.3], ["collapsed", "learned"], "unbounded"),
        ([0.5, 0.2], 0.9, [0.1, 0.3], ["learned", "collapsed"], "unbounded"),
        (
            [0.5, 0.2],
            1.0,
            [0.1, 0.3],
            ["learned", "collapsed"],
            "steady",
        ),  # 2 λd = η: stays as large as it is
        ([0.5, 0.2], 1.1, [0.1, 0.3], ["collapsed", "collapsed"], "steady"),
        ([5.0, 0.9], 0.0, [0.0, 0.0], ["collapsed", "collapsed"], "steady"),
        ([1e-31, 1e-40], 0.0, [0.1, 0.1], ["learned", "collapsed"], "unbounded"),
        ([1e90, 1e80], 0.0, [1e-90, 0.1], ["learned", "collapsed"], "unbounded"),
    ],
)
def test_a_mode_is_learned_or_falls_behind(
    lambda_d: list[float], weight_decay: float, online: list[float], fates: list[str], status: str
) -> None:
    system = MatrixSystem(np.array(lambda_d) * 2, lambda_d, weight_decay=weight_decay)
    found = simulate_encoder(EncoderState([online]), system)
    assert found.trajectory.status.value == status
    assert found.fate.tolist() == fates == found.predicted.tolist()


def test_modes_too_close_to_part_before_numbers_end_are_left_undecided() -> None:
    found = simulate_encoder(EncoderState([[0.1, 0.1]]), MatrixSystem([1.0, 1.0], [0.5, 0.5 - 1e-6]))
    assert found.trajectory.status is Status.SLOW
    assert found.fate.tolist() == ["undecided", "undecided"]


def test_a_wrong_prediction_disagrees_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def reversed_(*arguments: Any) -> np.ndarray:
        return np.array(["collapsed", "learned"])

    monkeypatch.setattr(encoders, "predict_simple", reversed_)
    found = simulate_encoder(EncoderState([[0.1, 0.1]]), RACE)
    assert found.agrees == [False, False]
    assert found.fate.tolist() == ["learned", "collapsed"]


def test_a_wrong_field_is_far_from_the_exact_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.BRANCHES, "all", (simple_one_branch_field, 2))
    assert simulate_encoder(EncoderState([[0.1, 0.1]]), RACE, t_end=0.3).error > 0.1


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("online", "message"),
    [
        ([0.1, 0.1], r"`online` must have shape \(n2, 2\), got \(2,\)"),
        ([[0.1]], r"`online` must have shape \(n2, 2\), got \(1, 1\)"),
        ([[0.1, np.nan]], "`online` must be finite, got nan"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(online: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encoder_start([online], RACE)


def test_branches_that_no_loss_has_are_refused() -> None:
    with pytest.raises(ValueError, match="`branches` must be 1 or 2, got 3"):
        simple_encoder([0.0], EncoderState([[0.1, 0.1]]), RACE, branches=3)
    with pytest.raises(ValueError, match="`branches` must be one of all, one, got 'both'"):
        simulate_encoder(EncoderState([[0.1, 0.1]]), RACE, "both")


# --- the command --------------------------------------------------------------------------------------------

PAIRS = ["--lambda-s", "10", "--lambda-d", "5", "--lambda-s", "1", "--lambda-d", ".9"]


def test_simulate_runs_the_simple_flow(dyn: Any, tmp_path: Path) -> None:
    code, out, _ = dyn(
        "simulate", "--objective", "simple", *PAIRS, "--json", "--out", str(tmp_path / "run.npz")
    )
    report = json.loads(out)
    assert code == 0
    assert [mode["fate"] for mode in report["modes"]] == ["learned", "collapsed"]
    assert [mode["agrees"] for mode in report["modes"]] == [True, True]
    assert report["final"]["rank"] == 1
    assert report["status"] == "unbounded"
    with np.load(tmp_path / "run.npz") as saved:
        assert saved["online"].shape == (len(saved["t"]), 1, 2)
    code, out, _ = dyn(
        *("simulate", "--objective", "simple", *PAIRS, "--state", str(tmp_path / "run.npz")),
        *("--t-end", "1e-3", "--json"),
    )
    assert code == 0
    assert json.loads(out)["modes"][0]["initial"]["online"] == report["modes"][0]["final"]["online"]


def test_one_branch_goes_half_as_fast(dyn: Any) -> None:
    ends = []
    for branches, t_end in (("all", "0.5"), ("one", "1")):
        code, out, _ = dyn(
            *("simulate", "--objective", "simple", *PAIRS, "--branches", branches, "--t-end", t_end, "--json")
        )
        assert code == 0
        ends.append([mode["final"]["online"] for mode in json.loads(out)["modes"]])
    assert_allclose(ends[0], ends[1], rtol=1e-7)


def test_data_have_more_modes_than_rows_of_the_table(dyn: Any) -> None:
    code, out, _ = dyn(
        *("simulate", "--objective", "simple", "--data", "digits", "--augment", "shift:1", "--dim", "2")
    )
    assert code == 0
    assert "and 52 more modes: 52 collapsed (--json lists them)" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "tied"], "--variant must not go with --objective simple, got tied"),
        (["--tau-target", "2"], "--tau-target must not go with --objective simple, got 2"),
        (["--alpha", "2"], "--alpha must not go with --objective simple, got 2"),
        (["--predictor", "1"], "--predictor must not go with --objective simple"),
        (["--init-predictor", "1"], "--init-predictor must not go with --objective simple"),
        (
            ["--online", "1", "--online", "1", "--online", "1"],
            "--online must be given once, or once for each",
        ),
        (["--dim", "2", "--online", "1"], "--online must go with eigenvalues alone"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options: list[str], message: str, dyn: Any) -> None:
    code, out, err = dyn("simulate", "--objective", "simple", *PAIRS, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_branches_go_with_the_simple_loss(dyn: Any) -> None:
    code, _, err = dyn("simulate", *PAIRS, "--branches", "one")
    assert code == 2
    assert "--branches must go with --objective simple, got --objective byol" in err


def test_the_page_shows_shares_and_the_rate_of_growth() -> None:
    from figures.results.encoders import figure_encoder_simulation

    found = simulate_encoder(EncoderState([[0.1, 0.1]]), RACE)
    left, right = figure_encoder_simulation(found).axes
    assert_allclose(left.lines[0].get_ydata(), found.shares[:, 0])
    dashed = right.lines[-1]
    times, heights = np.asarray(dashed.get_xdata()), np.asarray(dashed.get_ydata())
    assert_allclose(np.diff(np.log(heights)), 10.0 * np.diff(times), rtol=1e-9)


def test_notebooks_run_it_too() -> None:
    import dyn

    row = dyn.objectives.simple
    found = dyn.simulate(lambda_s=[10, 1], lambda_d=[5, 0.9], objective=row)
    assert "mode 1: λd = 5, learned as predicted" in repr(found)
    assert found.to_xarray().sizes["input"] == 2
    assert dyn.simulate(lambda_s=[10, 1], lambda_d=[5, 0.9], objective=row, dim=3).rank == 1
    state = (np.ones((2, 2)),)
    assert dyn.simulate(lambda_s=[10, 1], lambda_d=[5, 0.9], objective=row, state=state).rank == 1
    for words, message in (
        ({"variant": dyn.variants.no_ema}, "`variant` must not go with simple"),
        ({"tau_online": 2.0}, "`tau_online` must not go with simple"),
        ({"predictor": 0.1}, "`predictor` must not go with simple"),
        ({"online": [1, 1, 1]}, "`online` must be one number"),
        ({"state": state, "dim": 2}, "`dim` must not be given with `state`"),
        ({"state": (np.ones((2, 3)),)}, "`state` must hold W"),
        ({"dim": 2, "online": 0.1}, "`online` must go with modes"),
    ):
        with pytest.raises(ValueError, match=message):
            dyn.simulate(**{"lambda_s": [10, 1], "lambda_d": [5, 0.9], "objective": row, **words})
