"""Diagnoses of runs whose end is known: gradient steps of linear BYOL, each spoilt in one way, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import save_file

from analysis.runs.causes import find_causes
from analysis.runs.diagnosis import VERDICTS, diagnose
from analysis.runs.directions import layer_directions
from analysis.runs.run_settings import RunSettings
from dynamics.data.datasets import load
from dynamics.data.dumps import Dump, checked_dump, moments_of_views, read_dump
from dynamics.data.moments import Moments

N1, N2, SAMPLES = 6, 4, 3000
RATIOS = np.linspace(0.95, 0.45, N1)
WEIGHT_DECAY = 0.5
"""Above λd²/(4λs) for every λs < 1.6 that is drawn."""


def trained(seed: int, spoilt: str = "healthy", steps: int = 3000) -> dict[str, np.ndarray]:
    """Views of Gaussian data, and W, P and Θ after gradient steps on their exact moments."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(N1, N1)))[0]
    lambda_s = rng.uniform(0.6, 1.5, N1)
    sigma_s, sigma_d = (Q * lambda_s) @ Q.T, (Q * lambda_s * RATIOS) @ Q.T
    W = 0.3 * rng.normal(size=(N2, N1)) / np.sqrt(N1)
    P = 0.3 * np.eye(N2) + 0.02 * rng.normal(size=(N2, N2))
    if spoilt == "negative":
        W, P = 0.15 * W, np.diag([0.2, 0.2, -0.3, -0.5])
    if spoilt == "large":
        W, P = 0.1 * W, np.diag([1.5, 1.5, 0.3, 0.3])
    if spoilt == "no-predictor":
        P = np.eye(N2)
    decay = WEIGHT_DECAY if spoilt == "weight-decay" else 0.0
    Th = W.copy()
    for _ in range(steps):
        if spoilt == "no-stop-gradient":  # of ½ E‖P W x1 − W x2‖²
            E, back = W @ sigma_d - P @ W @ sigma_s, W @ sigma_s - P @ W @ sigma_d
            dW = P.T @ E - back
        else:
            E = Th @ sigma_d - P @ W @ sigma_s
            dW = P.T @ E
        dP = 0 * P if spoilt == "no-predictor" else E @ W.T - decay * P
        W, P = W + 0.1 * (dW - decay * W), P + 0.1 * dP
        Th = 0.9 * Th + 0.1 * W
    x = rng.normal(size=(SAMPLES, N1)) * np.sqrt(lambda_s * RATIOS)
    noise = rng.normal(size=(2, SAMPLES, N1)) * np.sqrt(lambda_s * (1 - RATIOS))
    view1, view2 = (x + noise) @ Q.T
    return {"view1": view1, "view2": view2, "online": W, "predictor": P, "target": Th}


SPOILT: list[tuple[str, RunSettings, str, list[tuple[str, str, int]]]] = [
    ("healthy", RunSettings(), "healthy", []),
    ("negative", RunSettings(), "partly-collapsed", [("predictor", "R6", 2)]),
    ("large", RunSettings(), "partly-collapsed", [("predictor", "R6", 2)]),
    ("no-predictor", RunSettings(), "collapsed", [("predictor", "R11", 4)]),
    ("weight-decay", RunSettings(weight_decay=WEIGHT_DECAY), "collapsed", [("weight-decay", "R15", 4)]),
    ("no-stop-gradient", RunSettings(stop_gradient=False), "collapsed", [("stop-gradient", "R12", 4)]),
]


@pytest.mark.parametrize("seed", [101, 102, 103])
@pytest.mark.parametrize(("spoilt", "settings", "verdict", "causes"), SPOILT, ids=[row[0] for row in SPOILT])
def test_each_way_to_spoil_a_run_is_named(spoilt, settings, verdict, causes, seed):
    found = diagnose(checked_dump(trained(seed, spoilt)), settings)
    assert found.verdict == verdict
    assert [(cause.knob, cause.result, cause.directions) for cause in found.causes] == causes
    assert found.rank == {"healthy": 4, "partly-collapsed": 2, "collapsed": 0}[verdict]


@pytest.mark.parametrize(
    ("spoilt", "first"), [("weight-decay", "weight-decay"), ("no-stop-gradient", "stop-gradient")]
)
def test_without_settings_what_they_would_show_cannot_be_told(spoilt, first):
    found = diagnose(checked_dump(trained(104, spoilt)))
    assert found.verdict == "cannot-tell"
    assert [cause.directions for cause in found.causes] == [0, 0]
    assert found.causes[0].knob == first


def test_a_run_on_its_way_down_is_collapsing():
    found = diagnose(checked_dump(trained(105, "no-predictor", steps=5)))
    assert found.verdict == "collapsing"
    assert found.causes[0].result == "R11"


def test_eigenvalues_of_the_predictor_are_those_of_M_and_the_sampled_ratios_are_near():
    found = diagnose(checked_dump(trained(106)))
    # the run followed the exact moments (R18); a ratio from N pairs errs by about (1 − r²)/√N
    assert_allclose(np.sort(found.directions.predictor.real)[::-1], RATIOS[:N2], atol=1e-6)
    errors = np.abs(np.sort(found.directions.ratio)[::-1] - RATIOS[:N2])
    assert np.all(errors < 5 * (1 - RATIOS[:N2] ** 2) / np.sqrt(SAMPLES))
    assert found.target_distance is not None
    assert found.target_distance < 1e-6


def test_the_decay_threshold_is_where_runs_die():
    """Runs of one mode from rest with weight decay around η* = λd²/(4λs): held below, lost above (R15)."""
    rng = np.random.default_rng(107)
    x = rng.normal(size=(4000, 1))
    view1, view2 = 3 * (x + 0.5 * rng.normal(size=(2, 4000, 1)))
    view1, view2 = view1 - (view1.mean() + view2.mean()) / 2, view2 - (view1.mean() + view2.mean()) / 2
    moments = moments_of_views(view1, view2)
    s, d = moments.sigma_s[0, 0], moments.sigma_d[0, 0]
    found = diagnose(Dump(view1, view2, np.array([[d / s]]), np.array([[d / s]])), RunSettings(loss_factor=2))
    threshold = found.directions.decay_threshold[0]
    for share, held in ((0.97, True), (1.03, False)):
        w = p = th = d / s
        step = 0.02 / s
        for _ in range(4000):
            e = th * d - p * w * s
            w, p = (
                w + step * (2 * p * e - share * threshold * w),
                p + step * (2 * w * e - share * threshold * p),
            )
            th = w
        assert (w > 0.03 * d / s) == held
        dump = Dump(view1, view2, np.array([[d / s]]), np.array([[d / s]]))
        decayed = diagnose(dump, RunSettings(loss_factor=2, weight_decay=share * threshold))
        assert decayed.verdict == ("healthy" if held else "collapsing")


def test_features_that_are_rotated_or_scaled_have_the_same_diagnosis():
    plain = trained(108, "negative")
    found = diagnose(checked_dump(plain))
    rng = np.random.default_rng(108)
    S, R = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (N2, N1))
    turned = {
        "view1": plain["view1"] @ R.T,
        "view2": plain["view2"] @ R.T,
        "online": S @ plain["online"] @ R.T,
        "predictor": S @ plain["predictor"] @ S.T,
    }
    again = diagnose(checked_dump(turned))
    scaled = diagnose(
        checked_dump(plain | {"view1": 1e-60 * plain["view1"], "view2": 1e-60 * plain["view2"]})
    )
    for other, unit in ((again, 1.0), (scaled, 1e-60)):
        assert (other.verdict, other.rank, other.invariant) == (found.verdict, found.rank, found.invariant)
        assert [cause[4:] for cause in other.causes] == [cause[4:] for cause in found.causes]
        # rounding of a product of 6×6 matrices, less than 1e-13 of the largest
        assert_allclose(other.directions.ratio, found.directions.ratio, atol=1e-12)
        assert_allclose(
            other.directions.decay_threshold, found.directions.decay_threshold * unit**2, rtol=1e-11
        )
        assert_allclose(other.effective_rank, found.effective_rank, rtol=1e-11)


def test_the_mean_counts_as_one_more_mode_of_ratio_one():
    """With a bias M is that of (x, 1): the ratios of the deviations, and 1."""
    run = trained(109)
    offset = np.array([2.0, -1.0, 0.0, 3.0, 0.0, 1.0])
    view1, view2 = run["view1"] + offset, run["view2"] + offset
    mean = (view1.mean(0) + view2.mean(0)) / 2
    ones = np.ones((SAMPLES, 1))
    # both views must have one mean, as they have in expectation
    view1, view2 = view1 - view1.mean(0) + mean, view2 - view2.mean(0) + mean
    biased = Moments.from_views(np.hstack([view1, ones]), np.hstack([view2, ones])).ratios
    found = diagnose(Dump(view1, view2))
    assert_allclose(biased, np.concatenate([[1.0], found.ratios]), atol=1e-12)


def test_features_alone_show_collapse_but_no_cause():
    rng = np.random.default_rng(110)
    x, noise = rng.normal(size=(400, 5)), 0.3 * rng.normal(size=(2, 400, 5))
    whole = diagnose(Dump(x + noise[0], x + noise[1]))
    assert (whole.verdict, whole.rank, whole.causes) == ("healthy", 5, [])
    flat = np.diag([1.0, 1.0, 1.0, 1e-5, 1e-5])
    part = diagnose(Dump((x + noise[0]) @ flat, (x + noise[1]) @ flat))
    assert (part.verdict, part.rank, part.causes) == ("partly-collapsed", 3, [])
    point = diagnose(Dump(50 + 0.1 * (x + noise[0]), 50 + 0.1 * (x + noise[1])))
    assert (point.verdict, point.causes) == ("collapsed", [])
    # features along one ray: what a normalised loss sees of them is a point
    ray = np.eye(5)[0] + 0.01 * x
    length = rng.uniform(0.5, 2, (400, 1))
    alike = diagnose(Dump(length * ray, 1.1 * length * (ray + 0.001 * noise[1])))
    assert alike.verdict == "collapsed"
    assert "vary in length alone" in alike.reason
    spun = diagnose(Dump(length * (ray + 0.1 * x), 1.1 * length * (ray + 0.1 * x + 0.001 * noise[1])))
    assert spun.verdict == "healthy"
    single = diagnose(Dump(length, 1.1 * length))
    assert (single.verdict, single.reason) == ("healthy", "the only feature varies")
    for n in (4, 5):
        assert diagnose(Dump(x[:n] + noise[0, :n], x[:n] + noise[1, :n])).verdict == "cannot-tell"
    assert_allclose(np.sum(whole.deviations**2), np.sum(whole.std**2), rtol=1e-12)  # both are the trace
    assert any("no cause can be named" in text for text in part.limits)


def test_too_few_samples_and_views_without_anything_in_common_cannot_be_judged():
    run = trained(111)
    few = diagnose(checked_dump(run | {"view1": run["view1"][:10], "view2": run["view2"][:10]}))
    assert few.verdict == "cannot-tell"
    assert few.reason.startswith("10 samples are too few")
    shuffled = run["view2"][np.random.default_rng(111).permutation(SAMPLES)]
    apart = diagnose(checked_dump(run | {"view2": shuffled}))
    assert apart.verdict == "cannot-tell"
    assert set(VERDICTS) >= {few.verdict, apart.verdict}


def test_the_invariant_counts_signs_and_weight_decay_takes_the_floor():
    run = trained(112) | {
        "online": np.diag([2.0, 1, 0.5, 0.1]) @ np.eye(N2, N1),
        "predictor": np.diag([1, 1, 1, 1e-9]),
    }
    assert diagnose(checked_dump(run)).invariant == {"rank_floor": 2, "positive": 2, "negative": 1}
    decayed = diagnose(checked_dump(run), RunSettings(weight_decay=1e-3))
    assert decayed.invariant["rank_floor"] == 0
    faster = diagnose(checked_dump(run), RunSettings(predictor_rate=10.0))  # τp = 0.1
    assert faster.invariant == {"rank_floor": 4, "positive": 4, "negative": 0}


def test_a_large_encoder_without_a_predictor_is_collapsing():
    """R6 would hold it, for c > 0; without a predictor it decays (R11)."""
    run = trained(116) | {"online": 2 * np.eye(N2, N1), "predictor": np.eye(N2)}
    assert diagnose(checked_dump(run)).verdict == "collapsing"


def test_margins_are_those_of_R6_and_causes_come_by_how_much_they_account_for():
    """w1 = .1 at λd/λs = .5: lost at w2 = .6, where −.35 < −.25, and at w2 = −.3; held at w2 = .1."""
    moments = Moments.from_eigenvalues(np.ones(4), np.full(4, 0.5))
    dump = Dump(np.zeros((3, 4)), np.zeros((3, 4)), 0.1 * np.eye(4), np.diag([0.6, -0.3, -0.3, 0.1]))
    found = layer_directions(dump, moments, RunSettings(), 1.0)
    by = np.argsort(found.predictor.real)
    assert_allclose(found.margin[by], [-0.08, -0.08, 0.25, -0.1], atol=1e-15)
    assert found.predicted[by].tolist() == ["collapsed", "collapsed", "learned", "collapsed"]
    causes = find_causes(found, dump, RunSettings(), 0.0)
    assert [(cause.result, cause.directions) for cause in causes] == [("R6", 2), ("R6", 1)]
    assert_allclose([causes[0].value, causes[1].value, causes[1].threshold], [-0.3, 0.6, 0.26**0.5])
    swapped = dump._replace(predictor=np.diag([0.6, 0.6, -0.3, 0.1]))
    causes = find_causes(layer_directions(swapped, moments, RunSettings(), 1.0), swapped, RunSettings(), 0.0)
    assert [(cause.value, cause.directions) for cause in causes] == [
        (pytest.approx(0.6), 2),
        (pytest.approx(-0.3), 1),
    ]


def test_a_small_row_is_judged_by_the_best_mode_that_is_free():
    moments = Moments.from_eigenvalues([1.0, 1.0, 4.0], [0.9, 0.6, 2.0])
    online = np.diag([0.9, 0.0])[:, [0, 1, 1]] * np.array([1, 0, 0])
    dump = Dump(np.zeros((3, 3)), np.zeros((3, 3)), online, np.diag([0.9, 0.3]))
    free = layer_directions(dump, moments, RunSettings(), 1.0)
    assert_allclose(free.ratio, [0.9, 0.6])
    assert_allclose(
        free.decay_threshold, [0.81 / 4, 0.25]
    )  # the third mode, 2²/(4·4), outlives the second, .36/4
    assert free.fate.tolist() == ["learned", "undecided"]
    decayed = layer_directions(dump, moments, RunSettings(weight_decay=0.1), 1.0)
    assert_allclose(decayed.ratio, [0.9, 0.5])


def test_a_row_that_falls_is_not_put_down_to_augmentation_and_one_with_nothing_to_learn_is():
    rng = np.random.default_rng(114)
    x, noise = rng.normal(size=(4000, 2)) * [1.0, 1e-2], rng.normal(size=(2, 4000, 2)) * [0.3, 1.0]
    falling = Dump(x + noise[0], x + noise[1], np.diag([0.9, 0.2]), np.diag([0.9, -0.3]))
    found = diagnose(falling)
    assert [(c.knob, c.result, c.directions) for c in found.causes] == [("predictor", "R6", 1)]
    gone = Dump(x + noise[0], x + noise[1], np.diag([1e-9, 1e-9]), np.diag([-0.3, -0.3]))
    assert diagnose(gone).causes[0].result == "R6"
    left = find_causes(
        layer_directions(gone, Moments.from_eigenvalues([1.0, 1.0], [1e-3, 1e-3]), RunSettings(), 1.0),
        gone,
        RunSettings(),
        0.05,
    )
    assert [(c.knob, c.result, c.directions) for c in left] == [("augmentation", "R5", 2)]


@pytest.mark.slow  # it trains: 6000 steps on digits, and compiles them
def test_the_trainer_and_the_diagnosis_agree_on_digits():
    from dynamics.training import TrainingSettings, train
    from dynamics.training.diagnosis import diagnose as of_run

    images = load("digits").images.reshape(1797, -1).astype(float)
    images = (images - images.mean(0)) / (images - images.mean(0)).std()
    rng = np.random.default_rng(115)
    views = images + 0.5 * rng.normal(size=(2, *images.shape))
    data = {"source": "digits", "augmentations": ["noise:0.5"]}
    for predictor, decay, verdicts, knob in (
        ({"kind": "none"}, 0.0, {"collapsing", "collapsed"}, "predictor"),
        ({"kind": "linear"}, 20.0, {"collapsed"}, "weight-decay"),
    ):
        optimizer = {"learning_rate": 0.004, "weight_decay": decay}
        run = train(
            TrainingSettings(data=data, steps=6000, predictor=predictor, optimizer=optimizer), seeds=[0]
        )
        W, P, Th = (np.asarray(part)[0] for part in run.final)
        dump = checked_dump({"view1": views[0], "view2": views[1], "online": W, "predictor": P, "target": Th})
        # the trainer's loss is the squared error, summed over both orders of the views
        found = diagnose(dump, RunSettings(weight_decay=decay, loss_factor=4))
        assert {found.verdict, of_run(run).verdict} <= verdicts
        assert found.causes[0].knob == knob
        assert found.causes[0].directions == len(W)


def test_a_probe_reads_labels_that_features_carry():
    run = trained(113)
    labels = (run["view1"][:, 0] > 0).astype(int)
    accuracy = diagnose(checked_dump(run | {"labels": labels + 5})).probe_accuracy
    assert accuracy is not None
    assert accuracy > 0.6  # chance is 0.5 ± 0.013
    assert diagnose(checked_dump(run)).probe_accuracy is None


# --- files --------------------------------------------------------------------------------------------------

VIEWS: dict[str, Any] = {"view1": [[0.0, 1], [1, 0], [3, 1]], "view2": [[0.1, 1], [1, 0.2], [2.8, 1]]}
W, P = np.ones((3, 2)), np.eye(3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"view2": None}, "view2 must be given, got view1"),
        ({"view2": VIEWS["view1"]}, "view2 must be another view of the samples, got view1 again"),
        ({"view2": VIEWS["view2"][:2]}, r"view2 must have the shape of view1, \(3, 2\), got \(2, 2\)"),
        (
            {"view1": VIEWS["view1"][:1], "view2": VIEWS["view2"][:1]},
            "view1 must hold at least three samples, got 1",
        ),
        (
            {"view1": [[np.nan, 1], [1, 0], [3, 1]]},
            "view1 must be finite, got 1 values that are NaN or infinite",
        ),
        ({"view1": [[np.inf, 1], [1, 0], [3, 1]]}, "view1 must be finite"),
        ({"view1": [1.0, 2, 3]}, r"view1 must have shape \(N, d\), got shape \(3,\)"),
        ({"view1": [["a", "b"]]}, "view1 must hold real numbers"),
        ({"view1": np.ones((4, 2)), "view2": np.ones((4, 2))}, "must vary from sample to sample"),
        ({"online": np.ones((3, 4))}, "online must have a column for each of 2 features"),
        ({"predictor": P}, "predictor must go with online"),
        (
            {"online": W, "predictor": np.eye(2)},
            r"predictor must have shape \(3, 3\) like the outputs of online",
        ),
        (
            {"online": W, "target": np.ones((2, 2))},
            r"target must have the shape of online, \(3, 2\), got \(2, 2\)",
        ),
        ({"labels": [0.5, 1, 2]}, "labels must be 3 integers"),
        ({"labels": [0, 1]}, "labels must be 3 integers"),
    ],
)
def test_what_is_no_dump_is_refused(changed, message):
    arrays = {name: np.asarray(value) for name, value in (VIEWS | changed).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        checked_dump(arrays)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predictor_rate": 0.0}, "`predictor_rate` must be finite and > 0"),
        ({"loss_factor": float("nan")}, "`loss_factor` must be finite and > 0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be finite and >= 0"),
        ({"decay": 1.1}, "`decay` must be from 0 to 1"),
        ({"decay": float("nan")}, "`decay` must be from 0 to 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RunSettings(**settings)


def test_files_of_every_kind_are_read(tmp_path: Path):
    arrays = {name: np.array(value, np.float32) for name, value in VIEWS.items()}
    np.savez(tmp_path / "a.npz", z1=arrays["view1"], view2=arrays["view2"])
    np.save(tmp_path / "a.npy", np.stack([*arrays.values()]))
    read = [read_dump(tmp_path / "a.npz", {"view1": "z1"}), read_dump(tmp_path / "a.npy")]
    for dump in read:
        assert_allclose(dump.view2, np.float32(VIEWS["view2"]))
        assert dump.rounding == np.finfo(np.float32).eps


def test_safetensors_are_read(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_file({"z1": np.array(VIEWS["view1"]), "view2": np.array(VIEWS["view2"])}, path)
    assert_allclose(read_dump(path, {"view1": "z1"}).view1, VIEWS["view1"])
    path.write_bytes(b"no such file")
    with pytest.raises(ValueError, match=r"must be a \.safetensors file"):
        read_dump(path)


def test_files_that_hold_something_else_are_refused(tmp_path: Path):
    np.save(tmp_path / "flat.npy", np.ones((4, 2)))
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", view1=np.array([{}], dtype=object), view2=np.ones((1, 1)))
    np.savez(tmp_path / "one.npz", view1=np.ones((3, 2)))
    (tmp_path / "a.pt").write_bytes(b"x")
    (tmp_path / "pickle.npy").write_bytes(b"\x80\x04N.")
    for name, names, message in (
        ("flat.npy", {}, r"must hold two views, shape \(2, N, d\)"),
        ("flat.npy", {"view1": "a"}, "`names` must not go with"),
        ("objects.npy", {}, "must be a .npy file of numbers"),
        ("pickle.npy", {}, "must be a .npy file of numbers"),
        ("objects.npz", {}, "must be an .npz archive of plain numeric arrays"),
        ("one.npz", {}, r"must hold view2, got view1"),
        ("one.npz", {"view1": "h"}, r"must hold h, got view1"),
        ("one.npz", {"veiw1": "h"}, "`names` must set some of view1, view2, online, .* got 'veiw1'"),
        ("a.pt", {}, "a file name must end in .npz, .npy, .safetensors"),
    ):
        with pytest.raises(ValueError, match=message):
            read_dump(tmp_path / name, names)


@pytest.mark.parametrize(
    ("spread", "verdict"),
    [(0.028, "collapsed"), (0.032, "cannot-tell"), (0.095, "cannot-tell"), (0.105, "healthy")],
)
def test_features_that_nearly_point_the_same_way_are_not_called_healthy(spread: float, verdict: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 4))
    mean = np.zeros(4)
    mean[0] = np.sqrt(3) / spread  # three of four axes turn features of unit length
    length = rng.uniform(0.5, 2, (4000, 1))  # so that they are far from one point
    noise = 0.3 * rng.normal(size=x.shape)
    found = diagnose(Dump(length * (x + mean), length * (x + noise + mean)))
    assert found.verdict == verdict
