"""`dyn simulate` and `dyn info`: every option, every exit code, the keys of the JSON, and what is refused how."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import report_of

from cli import COMMANDS
from dynamics.variants import VARIANTS


def arrays_of(path):
    with np.load(path) as archive:
        return dict(archive)


ONE_MODE = ("simulate", "--lambda-s", "1", "--lambda-d", "0.5")
SMALL = (
    "simulate",
    "--lambda-s",
    "1",
    "--lambda-d",
    ".9",
    "--lambda-s",
    "1",
    "--lambda-d",
    ".4",
    "--dim",
    "2",
)


def test_the_worked_example(dyn):
    report = report_of(dyn, *ONE_MODE)
    (mode,) = report["modes"]
    assert set(mode) >= {
        "lambda_s",
        "lambda_d",
        "ratio",
        "initial",
        "final",
        "fate",
        "predicted",
        "invariant",
    }
    assert set(report) >= {"status", "t", "n_field_evaluations", "seconds"}
    for part in ("online", "predictor", "target"):
        assert mode["final"][part] == pytest.approx(0.5, abs=1e-6)
        assert mode["initial"][part] == 0.1
        assert mode["predicted"][part] == pytest.approx(0.5, abs=1e-12)
    assert mode["fate"] == mode["predicted"]["fate"] == "learned"
    assert mode["invariant"]["drift"] < 1e-9
    assert report["status"] == "steady"


@pytest.mark.parametrize(
    ("arguments", "fate", "end"),
    [
        ((), "learned", (0.5, 0.5, 0.5)),
        (("--online", ".3", "--target", "3/10"), "learned", (0.5744563, 0.5, 0.5744563)),
        (("--predictor", ".6"), "collapsed", (0, 0.5916080, 0)),
        (("--predictor", "-.3"), "collapsed", (0, -0.2828427, 0)),
        (("--online", ".8", "--predictor", "-.3", "--target", "0"), "learned", (0.8944272, 0.5, 0.8944272)),
    ],
)
def test_starts_with_known_ends(dyn, arguments, fate, end):
    mode = report_of(dyn, *ONE_MODE, *arguments)["modes"][0]
    assert mode["fate"] == mode["predicted"]["fate"] == fate
    # seven printed digits of the ends
    assert [mode["final"][part] for part in ("online", "predictor", "target")] == pytest.approx(end, abs=1e-6)


def test_a_crawl_is_called_slow_and_its_fate_is_predicted(dyn):
    report = report_of(dyn, *ONE_MODE, "--variant", "tied", "--online", "-.1", "--target", "-.1")
    assert report["status"] == "slow"
    assert report["modes"][0]["predicted"]["fate"] == "collapsed"


@pytest.mark.parametrize("tau", ["1e-2", "1", "100"])
def test_weight_decay_below_the_saddle_node_keeps_the_stable_point(dyn, tau):
    start = ("--online", ".4", "--predictor", ".4", "--target", ".4")
    mode = report_of(dyn, *ONE_MODE, "--weight-decay", ".06", "--tau-target", tau, *start)["modes"][0]
    assert mode["final"]["predictor"] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(
    ("lambda_d", "online", "fate"),
    [("0", ".1", "collapsed"), ("1", ".1", "learned"), (".5", "0", "collapsed")],
)
def test_edges_of_the_parameter_range_work(dyn, lambda_d, online, fate):
    arguments = (
        "simulate",
        "--lambda-s",
        "1",
        "--lambda-d",
        lambda_d,
        "--online",
        online,
        "--target",
        online,
    )
    report = report_of(dyn, *arguments)
    if report["status"] == "steady":
        assert report["modes"][0]["fate"] == fate
    assert report["modes"][0]["predicted"]["fate"] == fate


def test_several_modes_with_a_start_each(dyn):
    pairs = ("--lambda-s", "1", "--lambda-d", ".5", "--lambda-s", "2", "--lambda-d", "1.8")
    report = report_of(dyn, "simulate", *pairs, "--predictor", ".1", "--predictor", "-.3")
    assert [mode["fate"] for mode in report["modes"]] == ["learned", "collapsed"]
    assert [mode["ratio"] for mode in report["modes"]] == pytest.approx([0.5, 0.9])


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_for_modes_and_matrices(dyn, variant):
    assert report_of(dyn, *ONE_MODE, "--variant", variant, "--t-end", "5")["variant"] == variant
    if variant == "tied":
        code, _, err = dyn(*SMALL, "--variant", variant)
        assert code == 2
        assert "modes only" in err
    else:
        assert report_of(dyn, *SMALL, "--variant", variant, "--t-end", "5")["system"]["n2"] == 2


def test_matrix_report_has_its_keys(dyn):
    report = report_of(dyn, *SMALL)
    assert set(report["system"]) >= {"n1", "n2", "dropped_directions", "commutator"}
    assert set(report["final"]) >= {"rank", "online_singular_values", "predictor_eigenvalues"}
    assert set(report["theory"]) >= {"ratios", "rank_floor", "resonance_error"}
    assert set(report["invariant"]) >= {"drift"}
    assert set(report) >= {"status", "t", "n_field_evaluations", "seconds"}
    assert report["theory"]["ratios"] == pytest.approx([0.9, 0.4])
    assert report["final"]["rank"] >= report["theory"]["rank_floor"]


def test_digits_reach_the_top_of_the_spectrum(dyn):
    report = report_of(
        dyn, "simulate", "--data", "digits", "--augment", "shift:1", "--augment", "noise:0.3", "--dim", "8"
    )
    assert report["status"] == "steady"
    assert report["theory"]["resonance_error"] < 1e-6
    assert report["final"]["rank"] >= report["theory"]["rank_floor"]
    learned = [row for row in report["final"]["rows"] if row["fate"] == "learned"]
    collapsed = [row for row in report["final"]["rows"] if row["fate"] == "collapsed"]
    assert len(learned) + len(collapsed) == 8
    assert len(learned) == report["final"]["rank"]
    # R18 and R10: the learned rows hold the top of M's spectrum, in order
    ratios = sorted((row["ratio"] for row in learned), reverse=True)
    assert ratios == pytest.approx(report["theory"]["ratios"][: len(learned)], abs=1e-12)
    eigenvalues = sorted((row["predictor_eigenvalue"][0] for row in learned), reverse=True)
    assert eigenvalues == pytest.approx(ratios, abs=1e-6)
    # R6 and R10: what collapsed has a predictor eigenvalue that no unlearned mode destabilises
    for row in collapsed:
        assert row["predictor_eigenvalue"][0] <= 0 or row["predictor_eigenvalue"][0] >= ratios[0]


def test_objectives_follow_their_moments(dyn):
    report = report_of(dyn, *ONE_MODE, "--objective", "byol-prime", "--alpha", "1", "--beta", "2")
    # R24: r' = β/(β + 2α(1 − r)) = 2/3
    assert report["modes"][0]["final"]["predictor"] == pytest.approx(2 / 3, abs=1e-6)


def test_raft_without_normalisation_runs_away(dyn):
    # R26: 2α(1 − r) < β makes λs' < 0; below p = r' collapse still attracts (R5), so start beyond it
    start = ("--online", "2", "--predictor", "2", "--target", "2")
    raft = ("--objective", "raft", "--alpha", ".1")
    code, out, err = dyn(*ONE_MODE, *raft, *start, "--out", "run.npz", "--json")
    assert code == 3
    assert json.loads(out)["status"] == "diverged"
    assert "diverged at t =" in err
    assert arrays_of("run.npz")["t"].size > 1


def test_a_spent_step_budget_is_a_failure_that_keeps_its_work(dyn):
    code, out, err = dyn(*ONE_MODE, "--max-steps", "3", "--out", "run.json", "--json")
    assert code == 3
    assert json.loads(out)["status"] == "max-steps"
    assert len(json.loads(Path("run.json").read_text())["t"]) > 1
    assert "step budget" in err


def test_end_time_is_kept(dyn):
    report = report_of(dyn, *ONE_MODE, "--t-end", "3")
    assert (report["status"], report["t"], report["modes"][0]["fate"]) == ("end-time", 3.0, "undecided")


@pytest.mark.parametrize("system", [ONE_MODE, SMALL])
def test_every_format_holds_the_same_numbers(dyn, system):
    import xarray

    for suffix in ("npz", "csv", "json", "nc"):
        assert dyn(*system, "--seed", "3", "--out", f"run.{suffix}")[0] == 0
    npz = arrays_of("run.npz")
    assert set(npz) == {"t", "online", "predictor", "target", "meta"}
    assert json.loads(str(npz["meta"]))["report"]["status"] == "steady"
    assert np.all(np.diff(npz["t"]) > 0)
    data = json.loads(Path("run.json").read_text())
    rows = Path("run.csv").read_text().splitlines()
    columns = {name: [] for name in rows[0].split(",")}
    for row in csv.DictReader(rows):
        for name, value in row.items():
            columns[name].append(float(value))
    with xarray.open_dataset("run.nc") as dataset:
        for name in ("t", "online", "predictor", "target"):
            np.testing.assert_array_equal(data[name], npz[name])
            np.testing.assert_array_equal(dataset[name].values, npz[name])
            for index in np.ndindex(npz[name].shape[1:]):
                key = "_".join([name, *map(str, index)])
                np.testing.assert_array_equal(columns[key], npz[name][(slice(None), *index)])
    assert not list(Path().glob(".run*"))


def test_seeds_repeat_bit_for_bit(dyn):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert dyn(*SMALL, "--seed", seed, "--out", f"{name}.npz")[0] == 0
    a, b, c = (arrays_of(f"{name}.npz") for name in "abc")
    for part in ("t", "online", "predictor", "target"):
        assert a[part].tobytes() == b[part].tobytes()
    assert a["online"][0].tobytes() != c["online"][0].tobytes()


def test_a_saved_run_is_a_start(dyn):
    assert dyn(*SMALL, "--t-end", "2", "--out", "half.npz")[0] == 0
    pairs = SMALL[:-2]
    report = report_of(dyn, *pairs, "--state", "half.npz", "--t-end", "1", "--out", "rest.npz")
    np.testing.assert_array_equal(arrays_of("rest.npz")["online"][0], arrays_of("half.npz")["online"][-1])
    assert report["system"]["n2"] == 2


def test_moments_from_a_file_with_a_dead_direction(dyn):
    sigma_s, sigma_d = np.diag([1.0, 0.5, 0.0]), np.diag([0.8, 0.1, 0.0])
    np.savez("m.npz", sigma_s=sigma_s, sigma_d=sigma_d)
    report = report_of(dyn, "simulate", "--moments", "m.npz", "--dim", "2", "--out", "run.npz")
    assert report["system"]["dropped_directions"] == 1
    assert report["system"]["n1"] == 3
    assert arrays_of("run.npz")["online"].shape[1:] == (2, 3)
    np.testing.assert_allclose(arrays_of("run.npz")["online"][:, :, 2], 0.0, atol=1e-15)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_pictures_are_written(dyn, suffix):
    assert dyn(*ONE_MODE, "--plot", f"run.{suffix}")[0] == 0
    assert Path(f"run.{suffix}").stat().st_size > 1000


def test_tables_for_people(dyn):
    code, out, err = dyn(*ONE_MODE)
    assert code == 0
    for word in ("learned", "steady", "field evaluations", "0.5"):
        assert word in out
    assert err == ""
    code, out, _ = dyn(*SMALL)
    assert code == 0
    assert "resonance error" in out


def test_notes_go_to_standard_error_and_quiet_silences_them(dyn):
    np.save("x.npy", np.random.default_rng(0).standard_normal((50, 4)))
    data = ("--data", "x.npy", "--augment", "noise:1")
    arguments = ("simulate", *data, "--dim", "2", "--t-end", "1", "--json")
    loud = dyn(*arguments)
    quiet = dyn(*arguments, "--quiet")
    assert "mean" in loud[2]
    assert quiet[2] == ""
    assert json.loads(loud[1])["final"] == json.loads(quiet[1])["final"]


def test_info_names_versions_devices_and_things(dyn):
    report = report_of(dyn, "info")
    assert "numpy" in report["versions"]
    assert report["devices"]
    assert set(report["variants"]) == set(VARIANTS)
    for topic in ("augmentations", "variants", "objectives", "datasets", "formats"):
        code, out, _ = dyn("info", topic)
        assert code == 0
        assert all(name in out for name in report[topic])


def write_bad_files():
    generator = np.random.default_rng(0)
    np.savez("nokeys.npz", a=np.eye(2))
    np.savez("shapes.npz", sigma_s=np.eye(3), sigma_d=np.eye(2))
    np.savez("notsquare.npz", sigma_s=np.ones((2, 3)), sigma_d=np.ones((2, 3)))
    np.savez("nan.npz", sigma_s=np.array([[1.0, np.nan], [np.nan, 1.0]]), sigma_d=np.eye(2))
    np.savez("asymmetric.npz", sigma_s=np.array([[1.0, 0.5], [0.0, 1.0]]), sigma_d=0.1 * np.eye(2))
    np.savez("indefinite.npz", sigma_s=np.diag([1.0, -0.5]), sigma_d=np.zeros((2, 2)))
    np.savez("order.npz", sigma_s=np.eye(2), sigma_d=np.diag([1.5, 0.1]))
    np.savez("zero.npz", sigma_s=np.zeros((2, 2)), sigma_d=np.zeros((2, 2)))
    np.savez("text.npz", sigma_s=np.array([["a", "b"], ["c", "d"]]), sigma_d=np.eye(2))
    np.savez("good.npz", sigma_s=np.eye(2), sigma_d=0.5 * np.eye(2))
    np.savez("state_shape.npz", online=np.ones((2, 5)), predictor=np.eye(2))
    np.savez("state_predictor.npz", online=np.ones((2, 2)), predictor=np.eye(3))
    np.savez("state_keys.npz", online=np.ones((2, 2)))
    np.savez("state_nan.npz", online=np.full((2, 2), np.nan), predictor=np.eye(2))
    np.save("empty.npy", np.empty((0, 4)))
    np.save("one.npy", np.ones((1, 4)))
    np.save("constant.npy", np.ones((5, 4)))
    np.save("nan.npy", np.array([[1.0, np.nan], [0.0, 1.0]]))
    np.save("vector.npy", np.ones(7))
    np.save("text.npy", np.array([["a"], ["b"]]))
    np.save("flat.npy", generator.standard_normal((20, 16)))
    Path("broken.npz").write_bytes(b"not an archive")
    Path("broken.npy").write_bytes(b"not an array")
    Path("data.txt").write_text("1 2 3")
    Path("folder").mkdir()


MODE = ("--lambda-s", "1", "--lambda-d", "0.5")
DATA = ("--data", "digits", "--augment", "noise:.3")
BAD = [
    # the system
    ((), "one way"),
    (("--lambda-s", "1"), "--lambda-d"),
    (("--lambda-d", "1"), "--lambda-s"),
    ((*MODE, *DATA), "one way"),
    ((*MODE, "--moments", "good.npz"), "one way"),
    (("--lambda-s", "1", "--lambda-s", "2", "--lambda-d", "0.5"), "lambda"),
    (("--lambda-s", "1", "--lambda-d", "2"), "lambda"),
    (("--lambda-s", "1", "--lambda-d", "-0.5"), "lambda"),
    (("--lambda-s", "0", "--lambda-d", "0"), "lambda"),
    (("--lambda-s", "-1", "--lambda-d", "-2"), "lambda"),
    (("--lambda-s", "nan", "--lambda-d", "0.5"), "lambda"),
    (("--lambda-s", "inf", "--lambda-d", "0.5"), "lambda"),
    (("--lambda-s", "one", "--lambda-d", "0.5"), "'one'"),
    (("--lambda-s", "1/0", "--lambda-d", "0.5"), "'1/0'"),
    # rates and objectives
    ((*MODE, "--tau-online", "0"), "--tau-online"),
    ((*MODE, "--tau-predictor", "-1"), "--tau-predictor"),
    ((*MODE, "--tau-target", "nan"), "--tau-target"),
    ((*MODE, "--weight-decay", "-0.1"), "--weight-decay"),
    ((*MODE, "--weight-decay", "lots"), "--weight-decay"),
    ((*MODE, "--variant", "magic"), "--variant"),
    ((*MODE, "--objective", "simclr"), "--objective"),
    ((*MODE, "--alpha", "1"), "--alpha"),
    ((*MODE, "--objective", "raft", "--beta", "0"), "--beta"),
    ((*MODE, "--objective", "byol-prime", "--alpha", "-1"), "--alpha"),
    # starts
    ((*MODE, "--online", "nan"), "--online"),
    ((*MODE, "--online", "1", "--online", "2"), "--online"),
    ((*MODE, "--init-online", "1"), "--init-online"),
    ((*MODE, "--variant", "tied", "--online", ".1", "--predictor", ".2"), "tied"),
    ((*MODE, "--variant", "tied", "--tau-online", "2"), "tied"),
    ((*MODE, "--dim", "0"), "--dim"),
    ((*MODE, "--dim", "two"), "--dim"),
    ((*DATA, "--online", "0.1"), "--online"),
    ((*DATA, "--init-online", "-1"), "--init-online"),
    ((*DATA, "--init-predictor", "nan"), "--init-predictor"),
    ((*DATA, "--seed", "-1"), "--seed"),
    (("--moments", "good.npz", "--state", "nosuch.npz"), "nosuch.npz"),
    (("--moments", "good.npz", "--state", "state_shape.npz"), "2 columns"),
    (("--moments", "good.npz", "--state", "state_predictor.npz"), "--predictor"),
    (("--moments", "good.npz", "--state", "state_keys.npz"), "predictor"),
    (("--moments", "good.npz", "--state", "state_nan.npz"), "--online"),
    (("--moments", "good.npz", "--state", "good.npz"), "online"),
    (("--moments", "good.npz", "--state", "state_nan.npz", "--dim", "2"), "--dim"),
    # moments
    (("--moments", "nosuch.npz"), "nosuch.npz"),
    (("--moments", "broken.npz"), "broken.npz"),
    (("--moments", "folder"), "folder"),
    (("--moments", "nokeys.npz"), "sigma_s"),
    (("--moments", "shapes.npz"), "shape"),
    (("--moments", "notsquare.npz"), "square"),
    (("--moments", "nan.npz"), "nan"),
    (("--moments", "asymmetric.npz"), "symmetric"),
    (("--moments", "indefinite.npz"), "-0.5"),
    (("--moments", "order.npz"), "1.5"),
    (("--moments", "zero.npz"), "zero"),
    (("--moments", "text.npz"), "number"),
    # data
    (("--data", "nosuch"), "nosuch"),
    (("--data", "nosuch.npy"), "nosuch.npy"),
    (("--data", "broken.npy"), "broken.npy"),
    (("--data", "data.txt"), "data.txt"),
    (("--data", "cifar10:nosuch"), "data_batch_1"),
    (("--data", "stl10:folder"), "train_X.bin"),
    (("--data", "empty.npy"), "0"),
    (("--data", "one.npy"), "1"),
    (("--data", "constant.npy", "--augment", "noise:.1"), "same"),
    (("--data", "nan.npy", "--augment", "noise:.1"), "nan"),
    (("--data", "vector.npy"), "(7,)"),
    (("--data", "text.npy"), "number"),
    (("--data", "flat.npy", "--augment", "shift:1"), "shift"),
    (("--data", "digits"), "--augment must"),
    (("--data", "digits", "--augment", "noise:0"), "got noise:0"),
    ((*DATA, "--augment", "blur:1"), "shift:k"),
    ((*DATA, "--augment", "shift"), "shift:k"),
    ((*DATA, "--augment", "shift:9"), "9"),
    ((*DATA, "--augment", "noise:-1"), "-1"),
    ((*DATA, "--augment", "noise:x"), "'x'"),
    ((*DATA, "--augment", "crop:2"), "2"),
    ((*DATA, "--augment", "flip:1"), "flip"),
    # run and output
    ((*MODE, "--t-end", "0"), "--t-end"),
    ((*MODE, "--t-end", "inf"), "--t-end"),
    ((*MODE, "--rtol", "0"), "--rtol"),
    ((*MODE, "--atol", "-1"), "--atol"),
    ((*MODE, "--method", "euler"), "--method"),
    ((*MODE, "--max-steps", "0"), "--max-steps"),
    ((*MODE, "--out", "run.txt"), ".npz"),
    ((*MODE, "--out", "nosuch/run.npz"), "nosuch"),
    ((*MODE, "--plot", "run.gif"), ".png"),
    ((*MODE, "--plot", "nosuch/run.png"), "nosuch"),
    ((*MODE, "--nonsense"), "--nonsense"),
    ((*MODE, "extra"), "extra"),
]


@pytest.mark.parametrize(
    ("arguments", "named"), BAD, ids=[" ".join(arguments) or "nothing" for arguments, _ in BAD]
)
def test_bad_input_is_refused_in_one_line(dyn, arguments, named):
    write_bad_files()
    before = sorted(Path().rglob("*"))
    out_options = () if {"--out", "--plot"} & set(arguments) else ("--out", "run.npz", "--plot", "run.png")
    code, out, err = dyn("simulate", *arguments, *out_options, "--json")
    assert code == 2
    assert out == ""
    assert err.startswith("dyn: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert named in err
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_groups_of_options_and_an_example(dyn, command):
    code, out, _ = dyn(command, "--help")
    assert code == 0
    groups = re.findall(r"^(\w[\w ]*):$", out, re.MULTILINE)
    assert groups[-2:] == ["Output", "Options"]
    assert len(groups) == len(set(groups))
    assert "Arguments" not in groups[1:]
    assert re.search(rf"\n\n  Example: .*dyn {command} ", out)


def test_unknown_topics_of_info_are_refused(dyn):
    code, out, err = dyn("info", "weather")
    assert (code, out) == (2, "")
    assert "augmentations" in err


def test_the_installed_command_runs(run_dyn):
    done = run_dyn(*ONE_MODE, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "steady"
    assert run_dyn("simulate", "--lambda-s", "x", "--lambda-d", "1").returncode == 2
