"""`dyn train`: what it prints and writes, how options make settings, what is refused, and that kills change nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import HANG_S, command_environment, report_of
from numpy.testing import assert_array_equal

from commands.compilation import cache_folder
from commands.training_options import TrainingOptions, read_settings
from dynamics.files import load_state
from dynamics.states import MatrixState
from dynamics.training import TrainingSettings
from dynamics.training.presets import preset

Dyn = Callable[..., tuple[Any, str, str]]

# two modes and small networks: compiled in a second, stepped in microseconds
MODES = ("--lambda-s", "1", "--lambda-d", ".9", "--lambda-s", "1", "--lambda-d", ".4")
SMALL = ("train", *MODES, "--batch", "8", "--seeds", "2", "--metrics-every", "10", "--steps", "40")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# --- what it does -------------------------------------------------------------------------------------------


def test_digits_from_nothing_end_above_the_random_encoder_with_a_picture(dyn: Dyn, tmp_path: Path) -> None:
    report = report_of(dyn, "train", "--data", "digits", "--seeds", "8", "--plot", "digits.png")
    # the gain of a seed is .125 ± .05, random encoders being good or bad by chance; of eight, four deviations
    assert report["metrics"]["probe_accuracy"] > report["initial"]["probe_accuracy"] + 0.05
    assert report["steps"] == 5000
    assert report["steps_per_second"] > 0
    assert report["device"]
    assert [run["seed"] for run in report["runs"]] == list(range(8))
    assert all(run["diagnosis"].startswith("learned: 6 of 6 modes") for run in report["runs"])
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_collapse_is_diagnosed_in_a_line_with_its_theory(dyn: Dyn) -> None:
    code, out, _ = dyn(
        *SMALL[:-1], "2000", "--predictor-kind", "none", "--decay", ".5", "--learning-rate", ".05"
    )
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("run 1, seed 1: "))
    assert line.startswith("run 1, seed 1: collapsed: none of 2 modes held")
    assert line.endswith("predicted: no predictor and ratio < 1: collapse (R11): agrees")
    assert "2000 steps · 2 runs" in out


def test_the_report_names_what_was_run_so_that_it_can_be_run_again(dyn: Dyn, tmp_path: Path) -> None:
    first = report_of(dyn, *SMALL, "--seed", "3", "--predictor-rate", "2")
    (tmp_path / "again.json").write_text(json.dumps(first["settings"]))
    again = report_of(dyn, "train", "--config", "again.json", "--seeds", "2", "--seed", "3")
    assert again["settings"] == first["settings"]
    assert again["metrics"] == first["metrics"]
    assert TrainingSettings.from_json(json.dumps(first["settings"])).optimizer.predictor_rate == 2


def test_runs_with_one_seed_are_equal_to_the_last_bit(dyn: Dyn, tmp_path: Path) -> None:
    for name in ("one.csv", "other.csv", "another.csv"):
        code, _, err = dyn(*SMALL, "--quiet", "--out", name, "--seed", str(int(name == "another.csv")))
        assert code == 0, err
    one, other, another = ((tmp_path / f"{name}.csv").read_bytes() for name in ("one", "other", "another"))
    assert one == other
    assert one != another


def test_measurements_are_streamed_for_every_run(dyn: Dyn, tmp_path: Path) -> None:
    sweep = ("--set", "optimizer.learning_rate=[0.01, 0.02]")
    report = report_of(dyn, *SMALL, *sweep, "--out", "run.jsonl", "--seed", "5")
    rows = rows_of(tmp_path / "run.jsonl")
    assert [(row["step"], row["run"]) for row in rows] == [
        (k, run) for k in range(0, 50, 10) for run in range(4)
    ]
    assert {row["optimizer.learning_rate"] for row in rows} == {0.01, 0.02}
    assert [row["seed"] for row in rows[:4]] == [5, 6, 5, 6]
    ends = [row["loss"] for row in rows[-4:]]
    assert np.float32(ends).tolist() == [run["metrics"]["loss"] for run in report["runs"]]


def test_a_sweep_keeps_its_values_apart_from_its_seeds(dyn: Dyn) -> None:
    sweep = ("--set", "optimizer.learning_rate=[0.01, 0.02, 50]", "--json")
    code, out, _ = dyn(*SMALL, *sweep)
    assert code == 3
    report = json.loads(out)
    assert [group["values"] for group in report["groups"]] == [
        {"optimizer.learning_rate": rate} for rate in (0.01, 0.02, 50)
    ]
    assert [group["n_diverged"] for group in report["groups"]] == [0, 0, 2]
    losses = [[report["runs"][run]["metrics"]["loss"] for run in (2 * k, 2 * k + 1)] for k in (0, 1)]
    assert report["metrics"]["loss"] == pytest.approx([*np.mean(losses, axis=1), None])
    assert report["spread"]["loss"] == pytest.approx([*np.std(losses, axis=1, ddof=1), None])
    assert [run["seed"] for run in report["runs"]] == [0, 1] * 3


@pytest.mark.parametrize("suffix", ["npz", "json", "nc"])
def test_whole_runs_are_saved_at_the_end(dyn: Dyn, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run.{suffix}"
    report = report_of(dyn, *SMALL, "--out", path.name)
    if suffix == "json":
        found = {
            name: np.array(values) for name, values in json.loads(path.read_text()).items() if name != "meta"
        }
    elif suffix == "nc":
        import xarray

        with xarray.open_dataset(path) as dataset:
            found = {str(name): dataset[name].values for name in dataset.variables}
    else:
        with np.load(path) as archive:
            found = dict(archive)
        # the last run, as other commands read it
        assert_array_equal(load_state(path, MatrixState).online, found["online"][-1])
    assert_array_equal(found["step"], range(0, 50, 10))
    assert_array_equal(found["seed"], [0, 1])
    assert found["loss"].shape == (5, 2)
    assert found["predictor_eigenvalues"].shape == (5, 2, 2, 2)
    assert np.mean(found["loss"][-1]) == pytest.approx(report["metrics"]["loss"], rel=1e-6)
    assert found["online"].shape == (2, 2, 2)


def test_moments_come_from_a_file_too(dyn: Dyn, tmp_path: Path) -> None:
    sigma_s = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.savez(tmp_path / "moments.npz", sigma_s=sigma_s, sigma_d=sigma_s / 2)
    report = report_of(dyn, "train", "--moments", "moments.npz", "--data", "exact", "--steps", "20")
    assert report["settings"]["data"]["sigma_s"] == sigma_s.tolist()
    assert report["settings"]["batch"] is None


def test_a_picture_without_theory_says_why(dyn: Dyn, tmp_path: Path) -> None:
    code, _, err = dyn(*SMALL, "--optimizer", "adam", "--plot", "run.svg")
    assert code == 0
    assert "no theory: no flow describes these settings: optimizer must be sgd at a constant rate" in err
    assert (tmp_path / "run.svg").exists()


# --- options make settings ----------------------------------------------------------------------------------


def settings_of(**options: Any) -> TrainingSettings:
    return read_settings(TrainingOptions(**options))


def test_nothing_given_is_the_default_preset() -> None:
    assert settings_of() == preset("linear")
    assert settings_of(preset="BYOL-LPI") == preset("BYOL-LPI")


def test_options_lie_over_the_file_over_the_preset(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("steps = 7\nbatch = 9\n[target]\ndecay = 0.5\n")
    settings = settings_of(preset="BYOL-LP", config=path, batch=11, assign=["target.schedule=cosine"])
    assert (settings.steps, settings.batch) == (7, 11)
    assert (settings.target.decay, settings.target.schedule) == (0.5, "cosine")
    assert settings.encoder == preset("BYOL-LP").encoder


def test_every_option_sets_what_it_names() -> None:
    settings = settings_of(
        augment=["noise:0.1"], encoder="conv", widths=[3, 4], features=5, objective="raft", alpha=2.0, beta=0.5,
        normalize=True, decay=0.7, optimizer="lars", learning_rate=0.3, predictor_rate=4.0, weight_decay=0.1,
        steps=6, batch=7, dtype="float64", metrics_every=2,
    )  # fmt: skip
    assert settings.data.augmentations == ("noise:0.1",)
    assert (settings.encoder.kind, settings.encoder.widths, settings.encoder.features) == ("conv", (3, 4), 5)
    objective, optimizer = settings.objective, settings.optimizer
    assert (objective.kind, objective.alpha, objective.beta, objective.normalize) == ("raft", 2.0, 0.5, True)
    assert settings.target.decay == 0.7
    assert (optimizer.kind, optimizer.learning_rate, optimizer.predictor_rate) == ("lars", 0.3, 4.0)
    assert (optimizer.weight_decay, optimizer.predictor_weight_decay) == (0.1, 0.1)
    assert (settings.steps, settings.batch, settings.dtype, settings.metrics_every) == (6, 7, "float64", 2)


def test_a_part_of_another_kind_starts_from_that_kind_s_defaults() -> None:
    settings = settings_of(preset="BYOL-MLPP", predictor_kind="linear", optimizer="sgd")
    assert settings.predictor == TrainingSettings(predictor={"kind": "linear"}).predictor
    assert settings.optimizer.learning_rate == 0.01
    kept = settings_of(preset="TanBYOL-LP", objective="infonce")
    assert (kept.objective.normalize, kept.objective.tangential) == (True, False)
    assert (kept.predictor.kind, kept.target.kind) == ("none", "none")


def test_the_predictor_s_weight_decay_follows_unless_given_too() -> None:
    assert settings_of(weight_decay=0.1).optimizer.predictor_weight_decay == 0.1
    both = settings_of(assign=["optimizer.predictor_weight_decay=0.2"], weight_decay=0.1)
    assert both.optimizer.predictor_weight_decay == 0.2


@pytest.mark.parametrize("encoder", ["mlp", "conv"])
def test_other_encoders_have_widths_that_suit(encoder: str) -> None:
    assert settings_of(encoder=encoder).encoder.widths


def test_given_moments_need_neither_augmentations_nor_more_features_than_modes() -> None:
    settings = settings_of(lambda_s=[1.0, 2.0], lambda_d=[0.5, 1.0])
    assert (settings.data.source, settings.data.augmentations) == ("gaussian", ())
    assert settings.encoder.features == 2
    exact = settings_of(data="exact", lambda_s=[1.0], lambda_d=[0.5])
    assert exact.batch is None


def test_values_given_to_set_are_json_or_words() -> None:
    settings = settings_of(
        assign=["predictor.start=identity", "predictor.scale=1.0", "target.decay=[0.9, 0.99]"]
    )
    assert settings.predictor.start == "identity"
    assert settings.target.decay == (0.9, 0.99)


# --- stopping and going on ----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_with_3_and_names_what_is_left(dyn: Dyn, tmp_path: Path) -> None:
    kept = ("--checkpoint", "run.npz", "--checkpoint-every", "10", "--out", "run.json")
    code, out, err = dyn(*SMALL[:-1], "2000", "--learning-rate", "9", *kept, "--json")
    assert code == 3
    report = json.loads(out)
    failed = report["runs"][0]["failed_at"]
    assert report["status"] == "diverged"
    assert report["metrics"]["loss"] is None
    (line,) = [line for line in err.splitlines() if line.startswith("dyn: ")]
    assert f"not finite at step {failed} with seed 0 and optimizer.learning_rate = 9" in line
    assert ("the last good checkpoint is run.npz" in line) == (tmp_path / "run.npz").exists()
    assert json.loads((tmp_path / "run.json").read_text())["loss"][-1] == [None, None]


def test_what_diverged_is_told_a_rate_that_holds(dyn: Dyn) -> None:
    given = ("train", "--data", "digits", "--seeds", "2", "--quiet")
    code, _, err = dyn(*given, "--learning-rate", "1", "--steps", "2000")
    assert code == 3
    found = re.search(r"of Σs is ([\d.]+), .* try --learning-rate ([\d.]+)$", err.strip())
    assert found is not None, err
    assert float(found[2]) == pytest.approx(1 / (4 * float(found[1])), rel=0.2)
    code, _, err = dyn(*given, "--learning-rate", found[2], "--steps", "500")
    assert code == 0, err
    code, _, err = dyn(*given, "--learning-rate", "1", "--set", "encoder.kind=mlp", "--steps", "2000")
    assert code == 0 or err.strip().endswith("try a smaller --learning-rate")


LONG = ("train", *MODES, "--batch", "8", "--seeds", "2", "--metrics-every", "50", "--steps", "20000")
KEPT = ("--checkpoint", "run.npz", "--checkpoint-every", "500", "--resume", "--json", "--quiet")


def started(arguments: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("dyn")), *arguments]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=command_environment(), **pipes)


def kill_after_rows(process: subprocess.Popen[str], path: Path, n_rows: int, delay: float) -> bool:
    """Kill a process once a file has as many rows and a delay is over; say whether it was still at work."""
    end = time.monotonic() + HANG_S
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= n_rows:
            time.sleep(delay)
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def killed_and_resumed(dyn: Dyn, folder: Path, n_kills: int, suffix: str) -> None:
    """A run killed at random moments, again and again, ends with the numbers of one that never was."""
    whole = report_of(dyn, *LONG, "--out", "whole.jsonl")
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    path = folder / f"run.{suffix}"
    n_killed = 0
    for place in np.sort(rng.uniform(0, 0.9, n_kills)):
        process = started((*LONG, *KEPT, "--out", path.name), folder)
        n_killed += kill_after_rows(process, path, int(place * 802), rng.uniform(0, 0.05))
        if suffix == "jsonl" and path.exists():
            found = rows_of(path)  # a killed run leaves a file that reads
            assert found == rows_of(folder / "whole.jsonl")[: len(found)]
    assert n_killed > 0
    process = started((*LONG, *KEPT, "--out", path.name), folder)
    out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, err
    resumed = json.loads(out)
    for key in ("metrics", "initial", "runs", "steps", "settings"):
        assert resumed[key] == whole[key], key
    if suffix == "jsonl":
        assert path.read_bytes() == (folder / "whole.jsonl").read_bytes()


def test_killed_runs_that_are_resumed_end_as_if_they_never_stopped(dyn: Dyn, tmp_path: Path) -> None:
    killed_and_resumed(dyn, tmp_path, 2, "jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_ten_kills_change_nothing(dyn: Dyn, tmp_path: Path, suffix: str) -> None:
    killed_and_resumed(dyn, tmp_path, 10, suffix)


def test_an_interrupted_run_ends_with_130_and_keeps_its_rows(tmp_path: Path) -> None:
    process = started((*LONG, "--out", "run.parquet"), tmp_path)
    end = time.monotonic() + HANG_S
    while not (tmp_path / "run.parquet").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "run.parquet")["step"].to_pylist()[:2] == [0, 0]


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "cifar10:nowhere"), "nowhere"),
        (("--data", "nowhere.npy"), "nowhere.npy does not exist"),
        (("--data", "mnist"), "mnist"),
        (("--batch", "1"), "--batch must be an integer >= 2, got 1"),
        (("--features", "65"), "--features must be at most 64, the dimension of the data, for a linear encoder"),
        (("--preset", "SimSiam"), "--preset must be one of linear, BYOL-MLPP"),
        (("--device", "tpu"), "--device must be auto, cpu or gpu, got 'tpu'"),
        (("--encoder", "resnet"), "--encoder must be one of linear, mlp, conv, got 'resnet'"),
        (("--learning-rate", "0"), "--learning-rate must be finite and > 0, got 0.0"),
        (("--alpha", "2"), "--alpha must be left out unless the objective is byol-prime or raft, got byol"),
        (("--set", "predictor.start=zero"), "--set predictor.start must be one of normal"),
        (("--set", "predictor.colour=1"), "must name average"),
        (("--set", "colour"), "--set must be PART.NAME=VALUE"),
        (("--set", "optimizer.learning_rate=[1,2]", "--set", "target.decay=[0,0,0]"), "must have one length"),
        (("--out", "a.csv", "--checkpoint", "./a.csv"), "--out must be another file than --checkpoint"),
        (("--set", "data.source=out.npz", "--out", "out.npz"), "--out must be another file than --set data.source"),
        (("--augment", "blur:2"), "blur"),
        (("--resume",), "--resume must come with --checkpoint"),
        (("--checkpoint", "no/run.npz"), "the folder no does not exist"),
        (("--checkpoint", "run.npz", "--checkpoint-every", "0"), "--checkpoint-every must be an integer >= 1, got 0"),
        (("--out", "run.txt"), "must end in .npz, .csv, .json, .nc, .jsonl, .parquet, got 'run.txt'"),
        (("--out", "no/run.csv"), "the folder no does not exist"),
        (("--plot", "run.bmp"), "must end in .png, .svg, .pdf"),
        (("--config", "no.toml"), "no.toml does not exist"),
        (("--config", "no.yaml"), "must end in .toml, .json"),
        (("--lambda-s", "1"), "--lambda-s and --lambda-d must both be given"),
        (("--data", "digits", "--lambda-s", "1", "--lambda-d", "1"), "must go with --data gaussian or exact"),
        (("--data", "gaussian"), "Σs (--lambda-s or --moments) must be given for the source gaussian"),
        (("--seed", str(2**32)), "must be in [0, 2**32)"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence_and_nothing_is_written(
    dyn: Dyn, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    asked = () if "--out" in arguments else ("--out", "out.csv")
    code, out, err = dyn("train", *asked, *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("dyn: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["steps = ", "[1, 2]", "steps = 0"])
def test_files_of_settings_that_are_none_are_refused(dyn: Dyn, tmp_path: Path, text: str) -> None:
    path = tmp_path / ("settings.json" if text.startswith("[") else "settings.toml")
    path.write_text(text)
    code, _, err = dyn("train", "--config", path.name)
    assert code == 2
    assert "--config" in err or "--steps must be an integer >= 1, got 0" in err


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(dyn: Dyn, tmp_path: Path) -> None:
    code, _, err = dyn("train", "--device", "gpu", "--out", "run.csv")
    assert (code, err) == (2, "dyn: --device must be one that is here (cpu), got 'gpu'\n")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_other_runs_and_damaged_ones_are_refused(dyn: Dyn, tmp_path: Path) -> None:
    kept = ("--checkpoint", "run.npz", "--resume")
    assert dyn(*SMALL, *kept, "--quiet")[0] == 0
    before = (tmp_path / "run.npz").read_bytes()
    code, _, err = dyn(*SMALL, *kept, "--decay", ".5", "--out", "run.csv")
    assert code == 2
    assert "checkpoint of another run: `target.decay` 0.99 there, 0.5 here" in err
    code, _, err = dyn(*SMALL, *kept, "--seed", "1", "--out", "run.csv")
    assert (code, "its seeds, data or given start differ" in err) == (2, True)
    (tmp_path / "run.npz").write_bytes(before[:-300])
    code, _, err = dyn(*SMALL, *kept, "--out", "run.csv")
    assert (code, "must be an .npz archive" in err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


# --- the cache of compiled programs -------------------------------------------------------------------------


def test_compiled_programs_are_kept_in_the_user_s_cache(tmp_path: Path) -> None:
    hidden = {"JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"}
    env = {name: value for name, value in command_environment().items() if name not in hidden}
    command = [str(Path(sys.executable).with_name("dyn")), *SMALL, "--quiet"]
    env |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=HANG_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if sys.platform == "linux":
        assert any((tmp_path / "cache" / "dyn" / "jax").iterdir())


def test_the_cache_folder_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/dyn")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "dyn"


@pytest.mark.parametrize(("n", "more"), [(8, None), (10, "and 2 more, all in --json")])
def test_only_diagnoses_that_are_left_out_are_counted(dyn: Dyn, n: int, more: str | None) -> None:
    code, out, err = dyn(*SMALL[:-1], "2", "--seeds", n, "--quiet")
    assert code == 0, err
    assert (f"run {min(n, 8) - 1}, seed" in out, "more, all in" in out) == (True, more is not None)
    assert more is None or more in out


@pytest.mark.parametrize("option", ["--lambda-s", "--lambda-d"])
def test_moments_go_with_no_eigenvalues(dyn: Dyn, option: str) -> None:
    code, _, err = dyn("train", "--moments", "moments.npz", option, "0.5")
    assert (code, "--moments must be given without --lambda-s and --lambda-d" in err) == (2, True)


def test_a_mean_over_all_runs_that_are_left_needs_no_count() -> None:
    from commands.train import _table_of_groups

    def cell(n_defined: int) -> str:
        group = {
            "values": {"learning_rate": 0.1},
            "runs": [0, 1, 2],
            "n_diverged": 1,
            "metrics": {"loss": 0.25},
            "spread": {"loss": None},
            "n_defined": {"loss": n_defined},
            "verdicts": {"learned": 2, "diverged": 1},
        }
        _, (row,) = _table_of_groups({"groups": [group]})
        return row[1]

    assert (cell(2), cell(1)) == ("0.25", "0.25 (1 of 2 runs)")
