"""`train`: seeds, stacked runs, resumption, divergence, RAFT beside BYOL′ (R25), re-initialisation, refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ks_2samp

from dynamics.states import MatrixState, random_state
from dynamics.training import DataSettings, TrainingRun, TrainingSettings, diagnose, load_data, train
from dynamics.training.diagnosis import predict_outcome
from dynamics.training.generator import new_key, normal
from dynamics.training.loop import Program
from dynamics.training.run import _arrays
from dynamics.training.stacks import on

GAUSSIAN = {"source": "gaussian", "sigma_s": [1.0, 1.5, 2.0, 1.2], "sigma_d": [0.9, 0.7, 0.5, 0.1]}
ONE_MODE: dict[str, Any] = {
    "data": {"source": "exact", "sigma_s": [1.0], "sigma_d": [0.5]},
    "batch": None,
    "encoder": {"features": 1},
    "dtype": "float64",
}
NETWORK: dict[str, Any] = {
    "data": {"source": "digits", "augmentations": ["shift:1", "noise:0.3"], "limit": 200},
    "encoder": {"kind": "mlp", "widths": [12], "batch_norm": True, "features": 6, "projector": [8, 5]},
    "predictor": {"kind": "mlp", "hidden": 7, "batch_norm": True, "reinitialise": 3},
    "objective": {"normalize": True},
    "target": {"decay": 0.9, "schedule": "cosine"},
    "optimizer": {"kind": "adam", "learning_rate": 0.01, "weight_decay": 1e-4, "schedule": "cosine"},
    "batch": 16,
    "steps": 10,
    "metrics_every": 2,
}


def gaussian(**changes: Any) -> TrainingSettings:
    settings: dict[str, Any] = {
        "data": GAUSSIAN,
        "encoder": {"features": 3},
        "steps": 20,
        "metrics_every": 10,
        "batch": 8,
    }
    return TrainingSettings(**settings | changes)


@pytest.fixture(scope="module")
def network_run() -> TrainingRun:
    return train(TrainingSettings(**NETWORK), seeds=[0, 1])


def assert_equal_runs(a: Any, b: Any) -> None:
    for one, other in zip(
        jax.tree.leaves((a.state, a.metrics)), jax.tree.leaves((b.state, b.metrics)), strict=True
    ):
        assert_array_equal(one, other)


# --- seeds and stacked runs ---------------------------------------------------------------------------------


def test_one_seed_gives_one_run_bit_for_bit() -> None:
    settings = gaussian()
    assert_equal_runs(train(settings, seeds=5), train(settings, seeds=5))
    assert np.any(train(settings, seeds=5).final.online != train(settings, seeds=6).final.online)


def test_runs_of_either_generator_have_one_law() -> None:
    settings = gaussian(optimizer={"learning_rate": 0.05}, steps=40, metrics_every=40)
    runs = {
        name: train(replace(settings, generator=name), seeds=range(400)) for name in ("triple32", "threefry")
    }
    for of in (
        lambda run: run.metrics["loss"][:, -1],
        lambda run: np.linalg.norm(run.final.online, axis=(1, 2)),
    ):
        ours, theirs = of(runs["triple32"]), of(runs["threefry"])
        assert not np.any(ours == theirs)
        assert ks_2samp(ours, theirs).pvalue > 1e-4


def test_threefry_is_that_of_jax() -> None:
    key = jax.random.key(7, impl="threefry2x32")
    assert new_key(7, "threefry") == key
    assert_array_equal(normal(key, (3,), "float32"), jax.random.normal(key, (3,), "float32"))
    alone, beside = (
        train(gaussian(generator="threefry"), seeds=seeds).final.online[-1] for seeds in (7, [6, 7])
    )
    assert_allclose(alone, beside, rtol=1e-4)


@pytest.mark.parametrize(("matmul", "precision"), [("float32", "HIGHEST"), ("tf32", "HIGH")])
def test_products_are_rounded_to_tf32_by_choice_alone(matmul: str, precision: str) -> None:
    """What the compiler is told: on a GPU DEFAULT and HIGH stand for TF32."""
    settings = gaussian(matmul=matmul)
    data = load_data(settings.data)
    program = Program(settings, data.shape, 0, "cpu")
    scalars = {name: np.asarray([value], np.float32) for name, value in settings.swept().items()}
    with on(jax.devices("cpu")[0], settings):
        arrays, _ = _arrays(data, settings.dtype)
        keys = jax.vmap(new_key)(np.asarray([0], np.uint32))
        state = program.initialise(keys, scalars, arrays)
        text = program.advance.lower(state, 0, 1, keys, scalars, arrays).as_text()
    products = re.findall(r"dot_general.*precision = \[(\w+), (\w+)\]", text)
    assert len(products) > 5
    assert {one for pair in products for one in pair} == {precision}


def test_every_step_draws_a_batch_of_its_own() -> None:
    # weights that hardly move: what differs between losses is the batch
    run = train(gaussian(optimizer={"learning_rate": 1e-12}, dtype="float64", steps=6, metrics_every=1))
    assert len(np.unique(np.round(run.metrics["loss"][0], 9))) == 7


def test_stacked_seeds_are_the_single_runs() -> None:
    settings = gaussian(dtype="float64")
    stacked = train(settings, seeds=[3, 4])
    for index, seed in enumerate((3, 4)):
        single = train(settings, seeds=seed)
        for name, values in single.metrics.items():
            # eigenvalues and logarithms of 8 samples' features: some hundred roundings of numbers of order one
            assert_allclose(stacked.metrics[name][index], values[0], rtol=1e-9, atol=1e-11, err_msg=name)


CONVOLUTIONAL: dict[str, Any] = {
    "data": {"source": "digits", "augmentations": ["noise:0.3"], "limit": 40},
    "encoder": {"kind": "conv", "widths": [3, 5], "features": 4},
    "batch": 6,
    "steps": 4,
    "metrics_every": 4,
    "dtype": "float64",
}


def test_convolutional_runs_in_turn_are_stacked_ones() -> None:
    """On CPUs they come one after the other, with convolutions of their own; elsewhere vmap stacks them."""
    # a predictor that is set by features needs the network before the first step, too
    settings = TrainingSettings(**CONVOLUTIONAL, predictor={"kind": "direct", "refresh": 2})
    data = load_data(settings.data)
    n = 3
    scalars = {name: np.full(n, value, np.float64) for name, value in settings.swept().items()}
    ends = []
    with on(jax.devices("cpu")[0], settings):
        arrays, n_classes = _arrays(data, settings.dtype)
        keys = jax.vmap(new_key)(np.arange(n, dtype=np.uint32))
        for platform in ("cpu", "gpu"):
            program = Program(settings, data.shape, n_classes, platform)
            assert program.in_turn == (platform == "cpu")
            state = program.initialise(keys, scalars, arrays)
            lowered = program.advance.lower(state, 0, settings.steps, keys, scalars, arrays)
            # a convolution with groups, one per run, would be hundreds of times slower
            groups = re.findall(r"feature_group_count = (\d+)", lowered.as_text())
            assert set(groups) == ({"1"} if platform == "cpu" else set())
            ends.append(lowered.compile()(state, 0, settings.steps, keys, scalars, arrays))
    leaves = [jax.tree.leaves(end) for end in ends]
    assert len(leaves[0]) == len(leaves[1]) > 20
    for mine, theirs in zip(*leaves, strict=True):
        # four steps, each of sums of up to 800 numbers of order one; eigenvectors and logarithms lose digits
        assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_convolutional_runs_do_not_depend_on_what_runs_beside_them() -> None:
    settings = TrainingSettings(**CONVOLUTIONAL)
    beside, alone = (train(settings, seeds=seeds, device="cpu") for seeds in ([3, 4], 4))
    for name, values in alone.metrics.items():
        # as for stacked seeds above
        assert_allclose(beside.metrics[name][1], values[0], rtol=1e-9, atol=1e-11, err_msg=name)


def test_stacked_settings_are_the_single_runs() -> None:
    swept = gaussian(
        dtype="float64",
        objective={"kind": "raft", "normalize": True, "alpha": [1.0, 0.5], "beta": [1.0, 2.0]},
        optimizer={"learning_rate": [0.1, 0.2], "predictor_rate": [1.0, 3.0], "weight_decay": [0.0, 0.1]},
        target={"decay": [0.9, 0.5]},
        encoder={"features": 3, "scale": [1.0, 0.5]},
    )
    stacked = train(swept, seeds=3)
    assert stacked.n_runs == swept.n_settings == 2
    for index in range(2):
        single = train(swept.at(index), seeds=3)
        for part, own in zip(stacked.final, single.final, strict=True):
            assert_allclose(part[index], own[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n_runs", [2, 5, 33])
def test_runs_are_the_same_in_whatever_stacks_they_are(n_runs: int) -> None:
    """33 runs make three stacks of a megabyte of views, five two stacks of three of which one is a copy."""
    settings = gaussian(
        batch=1024, dtype="float64", optimizer={"learning_rate": [0.01, *[0.02] * (n_runs - 1)]}
    )
    seeds = list(range(40, 40 + n_runs))
    stacked = train(settings, seeds=seeds)
    assert stacked.n_runs == len(stacked.final.online) == len(stacked.metrics["loss"]) == n_runs
    for index in {0, 1, n_runs // 2, n_runs - 1}:
        single = train(settings.at(index), seeds=seeds[index])
        for part, own in zip(stacked.final, single.final, strict=True):
            assert_allclose(part[index], own[0], rtol=1e-10, atol=1e-12)
        assert_allclose(stacked.metrics["loss"][index], single.metrics["loss"][0], rtol=1e-12)


def test_stacks_resume_each_where_it_was(tmp_path: Path) -> None:
    settings, seeds = gaussian(batch=1024, optimizer={"learning_rate": 0.01}), list(range(5))
    with pytest.raises(Killed):
        train(settings, seeds, checkpoint=tmp_path / "run.npz", checkpoint_every=1, progress=kill_at(20))
    resumed = train(settings, seeds, checkpoint=tmp_path / "run.npz", resume=True)
    assert_equal_runs(train(settings, seeds), resumed)


def test_many_one_mode_networks_run_at_once_from_their_own_starts() -> None:
    w1, w2 = (grid.reshape(-1, 1, 1) for grid in np.meshgrid([0.1, 0.3], [0.1, 0.6]))
    settings = TrainingSettings(
        **ONE_MODE, optimizer={"learning_rate": 0.005}, steps=40_000, metrics_every=40_000
    )
    run = train(settings, seeds=[0] * 4, initial=MatrixState(w1, w2, w1))
    # R6: collapse iff c <= −r², here 0, .08, −.35, −.27 against −.25, far from it beside a drift O(ε)
    learned = w1[:, 0, 0] ** 2 - w2[:, 0, 0] ** 2 > -(0.5**2)
    assert_array_equal(np.abs(run.final.online[:, 0, 0]) > 1e-3, learned)
    assert_allclose(run.final.predictor[learned, 0, 0], 0.5, atol=1e-6)


def test_given_starts_are_used() -> None:
    start = random_state(4, 3, scale_online=0.5, scale_predictor=0.5, seed=0)
    run = train(gaussian(dtype="float64"), initial=start)
    for used, given in zip(run.initial, start, strict=True):
        assert_array_equal(used[0], given)
    balance = start.online @ start.online.T - start.predictor.T @ start.predictor
    assert_allclose(run.start.balance[0], balance, rtol=1e-14, atol=1e-15)
    drift = (
        run.final.online[0] @ run.final.online[0].T
        - run.final.predictor[0].T @ run.final.predictor[0]
        - balance
    )
    assert run.metrics["balance_drift"][0, -1] == pytest.approx(np.linalg.norm(drift), rel=1e-10)


def test_without_a_predictor_it_is_the_identity() -> None:
    run = train(gaussian(predictor={"kind": "none"}), seeds=[0, 1])
    assert_array_equal(run.final.predictor, np.broadcast_to(np.eye(3), (2, 3, 3)))


def test_a_fixed_target_stays_and_differs_from_the_start() -> None:
    run = train(gaussian(target={"kind": "fixed"}))
    assert_array_equal(run.final.target, run.initial.target)
    assert np.all(run.initial.target != run.initial.online)


# --- RAFT and BYOL′ (R25) -----------------------------------------------------------------------------------


def paired(kind: str, start: MatrixState, *, normalize: bool) -> MatrixState:
    settings = gaussian(
        objective={"kind": kind, "normalize": normalize, "alpha": 0.7, "beta": 1.3},
        optimizer={"kind": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
        dtype="float64",
        steps=200,
        metrics_every=200,
    )
    return train(settings, initial=start).final


@pytest.mark.parametrize("normalize", [True, False])
def test_raft_is_byol_prime_with_the_predictor_negated_if_features_are_normalised(normalize: bool) -> None:
    start = random_state(4, 3, scale_online=1.0, scale_predictor=0.5, seed=1)
    byol_prime = paired("byol-prime", start, normalize=normalize)
    raft = paired("raft", start._replace(predictor=-start.predictor), normalize=normalize)
    distance = max(
        np.max(np.abs(byol_prime.online - raft.online)), np.max(np.abs(byol_prime.predictor + raft.predictor))
    )
    if normalize:
        # 200 steps of at most 0.01, each with a relative rounding that Adam's division enlarges at small gradients
        assert distance < 1e-10
    else:
        assert distance > 1e-2


# --- predictors along the run -------------------------------------------------------------------------------


def test_a_symmetric_predictor_stays_symmetric() -> None:
    run = train(gaussian(predictor={"symmetric": True}, optimizer={"kind": "adam", "learning_rate": 0.05}))
    P = run.final.predictor[0]
    assert_array_equal(P, P.T)
    assert np.all(run.metrics["predictor_symmetry"] == pytest.approx(1, abs=1e-6))


def test_a_symmetric_predictor_follows_the_symmetric_part_of_its_gradient() -> None:
    # the first step of Adam has length ε in every entry; of the plain gradient, entries of opposite signs would cancel
    settings = gaussian(
        predictor={"symmetric": True},
        optimizer={"kind": "adam", "learning_rate": 0.05},
        steps=1,
        dtype="float64",
    )
    run = train(settings, seeds=range(20))
    assert_allclose(np.abs(run.final.predictor - run.initial.predictor), 0.05, rtol=1e-4)


def test_a_predictor_starts_anew_every_so_many_steps() -> None:
    settings = gaussian(
        predictor={"kind": "linear", "start": "positive", "scale": 0.1, "reinitialise": 5},
        optimizer={"kind": "momentum", "learning_rate": 0.01},
        steps=10,
        metrics_every=1,
        dtype="float64",
    )
    run = train(settings, seeds=[0, 1])
    P, memory = run.final.predictor, jax.tree.leaves(run.state.predictor_optimizer)
    assert np.all((P >= 0) & (P <= 0.1))
    assert np.all(P[0] != P[1])
    assert all(np.all(leaf == 0) for leaf in memory if leaf.ndim == 3)
    norms = run.metrics["predictor_eigenvalues"][0, :, :, 0].sum(-1)  # the trace of P
    assert np.all((norms[[0, 5, 10]] >= 0) & (norms[[0, 5, 10]] <= 0.3))
    assert norms[5] != norms[10]


def test_set_predictors_are_set_before_the_first_measurement() -> None:
    for kind in ("direct", "optimal"):
        run = train(gaussian(predictor={"kind": kind}, steps=2, metrics_every=1))
        assert np.all(run.metrics["predictor_eigenvalues"][0, 0, :, 0] != 0)


# --- checkpoints --------------------------------------------------------------------------------------------


class Killed(Exception):
    """Stands for whatever ends a process."""


def kill_at(step: int) -> Any:
    def progress(done: int, steps: int, metrics: Any) -> None:
        if done >= step:
            raise Killed

    return progress


@pytest.mark.parametrize("stop", [2, 8])
def test_a_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, network_run: TrainingRun, stop: int
) -> None:
    settings, path, whole = network_run.settings, tmp_path / "run.npz", network_run
    with pytest.raises(Killed):
        train(settings, seeds=[0, 1], checkpoint=path, checkpoint_every=4, progress=kill_at(stop))
    resumed = train(settings, seeds=[0, 1], checkpoint=path, checkpoint_every=4, resume=True)
    assert_equal_runs(whole, resumed)
    assert_array_equal(resumed.steps, [0, 2, 4, 6, 8, 10])
    assert_equal_runs(whole, train(settings, seeds=[0, 1], checkpoint=path, resume=True))


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(gaussian(), checkpoint=path)
    with pytest.raises(
        ValueError, match=r"checkpoint of another run: `optimizer.predictor_rate` 1.0 there, 2.0 here"
    ):
        train(gaussian(optimizer={"predictor_rate": 2.0}), checkpoint=path, resume=True)
    with pytest.raises(ValueError, match="its seeds, data or given start differ"):
        train(gaussian(), seeds=1, checkpoint=path, resume=True)
    start = random_state(4, 3, scale_online=1.0, scale_predictor=1.0, seed=0)
    with pytest.raises(ValueError, match="its seeds, data or given start differ"):
        train(gaussian(), checkpoint=path, resume=True, initial=start)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"must be an \.npz archive"):
        train(gaussian(), checkpoint=path, resume=True)
    np.savez(path, something=np.zeros(2))
    with pytest.raises(ValueError, match="must be a checkpoint of `train`"):
        train(gaussian(), checkpoint=path, resume=True)


def test_a_checkpoint_that_does_not_exist_yet_starts_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    assert_equal_runs(train(gaussian(), checkpoint=path, resume=True), train(gaussian()))
    assert path.exists()


# --- divergence and diagnosis -------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path: Path) -> None:
    settings = gaussian(optimizer={"learning_rate": 5.0}, steps=400, metrics_every=1)
    run = train(settings, seeds=7, checkpoint=tmp_path / "run.npz", checkpoint_every=1)
    assert run.status == "diverged"
    failed = int(run.failed_at[0])
    assert run.steps[-2] <= failed <= run.steps[-1] < 400
    assert f"not finite at step {failed} with seed 7 and optimizer.learning_rate = 5;" in run.message
    assert "the last good checkpoint is" in run.message
    with np.load(tmp_path / "run.npz") as saved:
        assert int(saved["step"]) < failed
        weights = [saved[name] for name in saved.files if name.startswith("leaf ")]
    assert weights
    assert all(np.all(np.isfinite(leaf)) for leaf in weights)
    assert diagnose(run).text.startswith(f"diverged: the loss was not finite at step {failed}")


def test_runs_beside_one_that_diverged_go_on() -> None:
    settings = gaussian(optimizer={"learning_rate": [0.05, 50.0]}, steps=60, metrics_every=20)
    run = train(settings, seeds=0)
    assert run.failed_at[0] == -1
    assert run.failed_at[1] >= 0
    assert run.steps[-1] == 60
    assert_allclose(run.final.online[0], train(settings.at(0), seeds=0).final.online[0], rtol=1e-4)
    assert "1 of 2 runs diverged" in run.message


def test_a_diverged_run_goes_on_at_a_smaller_rate_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    rates = gaussian(optimizer={"learning_rate": [0.05, 5.0]}, steps=400, metrics_every=1)
    run = train(rates, checkpoint=path, checkpoint_every=1)
    assert (run.failed_at >= 0).tolist() == [False, True]
    assert run.checkpoint == path
    with np.load(path) as saved:
        assert all(np.all(np.isfinite(saved[name])) for name in saved.files if name.startswith("leaf "))
        kept = int(saved["step"])
        metrics = [name for name in saved.files if name.startswith("metric ")]
        assert all(np.all(np.isfinite(saved[name])) for name in metrics)
    assert kept < run.failed_at[1]
    slower = replace(rates, optimizer=replace(rates.optimizer, learning_rate=(0.05, 0.001)))
    again = train(slower, checkpoint=path, resume=True)
    assert (again.status, again.steps[-1]) == ("done", 400)
    assert_array_equal(again.metrics["loss"][:, : kept + 1], run.metrics["loss"][:, : kept + 1])


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    train(gaussian(steps=25), checkpoint=path)
    longer = train(gaussian(steps=60), checkpoint=path, resume=True)
    assert_equal_runs(longer, train(gaussian(steps=60)))
    assert_array_equal(longer.steps, [0, 10, 20, 30, 40, 50, 60])  # not 25, where the shorter one ended
    assert longer.steps_per_second > 0
    with pytest.raises(ValueError, match=r"`steps` must be at least 60, where .*run\.npz stands, got 50"):
        train(gaussian(steps=50), checkpoint=path, resume=True)


def test_one_interval_that_is_left_is_timed(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with pytest.raises(Killed):
        train(gaussian(), checkpoint=path, checkpoint_every=10, progress=kill_at(20))
    assert train(gaussian(), checkpoint=path, resume=True).steps_per_second > 0
    assert train(gaussian(), checkpoint=path, resume=True).steps_per_second == 0  # now there is none


@pytest.mark.parametrize("part", [{"target": {"schedule": "cosine"}}, {"optimizer": {"schedule": "cosine"}}])
def test_what_follows_a_cosine_over_all_steps_cannot_be_made_longer(
    tmp_path: Path, part: dict[str, Any]
) -> None:
    path = tmp_path / "run.npz"
    train(gaussian(**part), checkpoint=path)
    with pytest.raises(
        ValueError, match=f"`steps` must be 20 as in .*, whose {next(iter(part))} follows a cosine"
    ):
        train(gaussian(**part, steps=40), checkpoint=path, resume=True)


def test_a_run_is_described_in_a_few_lines(network_run: TrainingRun) -> None:
    text = repr(network_run)
    assert text.count("\n") < 12
    assert len(text) < 1000
    assert text.startswith("TrainingRun of 2 runs, 10 steps, on ")


def test_runs_are_grouped_by_what_is_swept_and_not_by_seed() -> None:
    settings = gaussian(optimizer={"learning_rate": [0.05, 0.1]}, target={"decay": [0.9, 0.99]}, steps=1)
    run = train(settings.repeated(3), seeds=[0, 1, 2, 0, 1, 2])
    first, second = run.groups
    assert first.values == {"target.decay": 0.9, "optimizer.learning_rate": 0.05}
    assert (first.runs.tolist(), second.runs.tolist()) == ([0, 1, 2], [3, 4, 5])
    assert first.name == "decay 0.9, learning rate 0.05"
    (only,) = train(gaussian(steps=1), seeds=[0, 1]).groups
    assert (only.values, only.name) == ({}, "")
    (decayed, _) = train(gaussian(optimizer={"weight_decay": [0.0, 0.1]}, steps=1)).groups
    assert decayed.values == {"optimizer.weight_decay": 0.0}


def test_learning_is_diagnosed_with_the_probe_beside_the_random_encoder(network_run: TrainingRun) -> None:
    first, last = network_run.metrics["probe_accuracy"][1, [0, -1]]
    assert f"probe accuracy {last:.3f} (random encoder {first:.3f})" in diagnose(network_run, 1).text


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"objective": {"kind": "infonce"}, "predictor": {"kind": "none"}, "target": {"kind": "none"}},
            "R114, R116",
        ),
        (
            {"objective": {"kind": "simple"}, "predictor": {"kind": "none"}, "target": {"kind": "none"}},
            "R113",
        ),
        ({"objective": {"stop_gradient": False}, "target": {"kind": "none"}}, "R12"),
        ({"objective": {"kind": "raft"}}, "R26"),
        ({"target": {"kind": "fixed"}}, "R13"),
        ({"predictor": {"kind": "none"}}, "R11"),
        ({"optimizer": {"weight_decay": 0.1}}, "R15"),
        ({"encoder": {"features": 3, "scale": 5.0}}, "R6, R8"),
        ({"encoder": {"features": 3, "scale": 0.01}}, "R6"),
        ({"predictor": {"kind": "mlp"}}, ""),
        ({"target": {"decay": 1.0}}, "R13"),
        ({"optimizer": {"predictor_rate": 0.0}}, "R11, R17"),
    ],
)
def test_theory_speaks_where_it_applies(changes: dict[str, Any], wanted: str) -> None:
    found = predict_outcome(train(gaussian(**changes, steps=1))).text
    assert found.endswith(f"({wanted})") if wanted else found == ""


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": -1}, r"`seeds` must be in \[0, 2\*\*32\), got -1"),
        ({"seeds": [0.5]}, "`seeds` must be an integer, or one a run"),
        ({"device": "tpu"}, "`device` must be cpu or gpu, got 'tpu'"),
        ({"resume": True}, "`resume` must come with `checkpoint`"),
        ({"checkpoint_every": 0}, "`checkpoint_every` must be an integer >= 1, got 0"),
        (
            {"initial": MatrixState(np.eye(3), np.eye(3), np.eye(3))},
            r"`initial.online` must have shape \(3, 4\)",
        ),
        (
            {"initial": MatrixState(np.full((3, 4), np.nan), np.eye(3), np.ones((3, 4)))},
            "`initial.online` must be finite",
        ),
    ],
)
def test_train_refuses_nonsense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(gaussian(), **options)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`device` must be one that is here \(cpu\), got 'gpu'"):
        train(gaussian(), device="gpu")


def test_sweeps_and_seeds_must_fit() -> None:
    with pytest.raises(ValueError, match="swept scalars must have one length, got"):
        gaussian(optimizer={"learning_rate": [0.1, 0.2]}, target={"decay": [0.9, 0.8, 0.7]})
    with pytest.raises(ValueError, match="`seeds` must be one, or one for each of 2 swept settings, got 3"):
        train(gaussian(optimizer={"learning_rate": [0.1, 0.2]}), seeds=[0, 1, 2])


def test_matrices_of_other_networks_are_refused(network_run: TrainingRun) -> None:
    with pytest.raises(ValueError, match="need a linear encoder without projector"):
        _ = network_run.final


def test_float64_leaves_the_precision_of_jax_as_it_was() -> None:
    before = jax.config.jax_enable_x64
    data = load_data(DataSettings(**GAUSSIAN))
    assert train(gaussian(dtype="float64"), data=data).final.online.dtype == np.float64
    assert train(gaussian(), data=data).final.online.dtype == np.float32
    assert jax.config.jax_enable_x64 == before
