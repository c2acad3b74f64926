"""The frame of `dyn confirm`: measurements and verdicts, reports, the command, its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.experiments import (
    EXPERIMENTS,
    Confirmation,
    Curve,
    Effort,
    Experiment,
    Measurement,
    Outcome,
    Verdict,
    at_least,
    at_most,
    compare,
    confirm,
)
from analysis.experiments.experiment import Panel
from analysis.experiments.infonce import REACHED, flow_angle
from analysis.experiments.seeds import network
from dynamics.data.moments import Moments
from figures.results.confirm import caption_confirmation, figure_confirmation

GOOD = compare("slope", 1.0, 1.05, 0.1, "second order")
BAD = at_least("agreement", 0.999, 0.5, "as asked")


def experiment(*measurements: Measurement, curves: tuple[Curve, ...] = (), reason: str = "") -> Experiment:
    return Experiment("C1", "title", "prediction (R1).", lambda effort: Outcome(measurements, curves, reason))


def curves() -> tuple[Curve, ...]:
    x = np.array([1.0, 2.0, 4.0])
    steps = Panel("errors", "step", "error", log_x=True, log_y=True)
    return (
        steps.theory("slope 1", x, x),
        steps.training("training", x, 1.1 * x, 0.1 * x),
        Panel("other", "a", "b").training("only points", x, x),
    )


@pytest.mark.parametrize(
    ("measurement", "holds"),
    [
        (compare("a", 1.0, 1.1, 0.11, ""), True),
        (compare("a", 1.0, 0.8, 0.11, ""), False),
        (compare("a", 1.0, np.nan, 0.1, ""), False),
        (at_least("a", 1.0, 1.0, ""), True),
        (at_least("a", 1.0, 0.9, "", slack=0.05), False),
        (at_least("a", 1.0, np.nan, ""), False),
        (at_most("a", 1.0, 1.04, "", slack=0.05), True),
        (at_most("a", 1.0, 1.06, "", slack=0.05), False),
        (at_most("a", 1.0, np.nan, ""), False),
    ],
)
def test_a_measurement_holds_within_its_tolerance_and_never_if_not_a_number(measurement, holds):
    assert measurement.holds is holds


def test_one_measurement_that_disagrees_violates_an_experiment():
    assert Outcome((GOOD,)).verdict is Verdict.HOLDS
    assert Outcome((GOOD, BAD)).verdict is Verdict.VIOLATED
    assert Outcome(()).verdict is Verdict.NOT_APPLICABLE


def test_a_report_shows_the_measurement_that_disagrees():
    report = confirm(experiment(GOOD, BAD, reason="theory ends here")).report()
    assert {"id", "title", "predicted", "measured", "tolerance", "verdict"} <= set(report)
    assert (report["quantity"], report["predicted"], report["measured"]) == ("agreement", 0.999, 0.5)
    assert (report["verdict"], report["reason"]) == ("violated", "theory ends here")
    assert [m["name"] for m in report["measurements"]] == ["slope", "agreement"]
    assert confirm(experiment(GOOD)).report()["quantity"] == "slope"


def test_a_report_is_json_even_when_training_diverged():
    report = confirm(experiment(compare("slope", 1.0, np.nan, np.inf, ""))).report()
    assert json.loads(json.dumps(report, allow_nan=False))["measured"] is None
    nothing = confirm(experiment()).report()
    assert (nothing["predicted"], nothing["verdict"]) == (None, "not-applicable")


def test_nonsense_is_refused():
    for seed in (-1, 2**20, True, 0.5):
        with pytest.raises(ValueError, match=f"`seed` must be an integer >= 0 and < 1048576, got {seed}"):
            Effort(seed=seed)
    with pytest.raises(ValueError, match="`kind` must be one of theory, training, got 'guess'"):
        Curve("p", "l", "guess", np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match=r"one shape \(n,\), got \(2,\) and \(3,\)"):
        Curve("p", "l", "theory", np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"`error` must have the shape of `x`, \(2,\), got \(3,\)"):
        Curve("p", "l", "theory", np.zeros(2), np.zeros(2), error=np.zeros(3))


def test_experiments_are_in_order_and_name_their_results():
    numbers = [int(name[1:]) for name in EXPERIMENTS]
    assert numbers == sorted(set(numbers))
    assert {1, 2, 3, 5, 6, 12, 13, 14, 15} <= set(numbers)
    for name, item in EXPERIMENTS.items():
        assert item.id == name
        assert "R" in item.prediction


def test_a_figure_draws_training_on_theory():
    found = Confirmation(experiment(GOOD), Outcome((GOOD,), curves()), 0.0)
    figure = figure_confirmation(found)
    assert len(figure.axes) == 2
    first = figure.axes[0]
    assert (first.get_title(loc="left"), first.get_xlabel(), first.get_xscale()) == ("errors", "step", "log")
    drawn = {line.get_label(): line for line in first.lines}
    np.testing.assert_array_equal(drawn["slope 1"].get_ydata(), [1.0, 2.0, 4.0])
    points = first.containers[0]
    np.testing.assert_allclose(points.lines[0].get_ydata(), [1.1, 2.2, 4.4])
    assert drawn["slope 1"].get_color() == points.lines[0].get_color()
    assert "slope: predicted = 1 ± 0.1, measured 1.05" in caption_confirmation(found)


def test_a_figure_without_curves_is_refused():
    with pytest.raises(ValueError, match="C1 has no curves to draw"):
        figure_confirmation(confirm(experiment(GOOD)))


@pytest.fixture
def two_experiments(monkeypatch):
    """Stand-ins that take no time: C1 holds and has curves, C2 disagrees."""
    seen: list[Effort] = []

    def first(effort: Effort) -> Outcome:
        seen.append(effort)
        effort.report(0.5)
        return Outcome((GOOD,), curves())

    monkeypatch.setitem(EXPERIMENTS, "C1", Experiment("C1", "one", "R1.", first))
    monkeypatch.setitem(
        EXPERIMENTS, "C2", Experiment("C2", "two", "R6.", lambda effort: Outcome((BAD,), (), "too noisy"))
    )
    return seen


def test_the_command_reports_and_fails_when_one_disagrees(two_experiments, dyn):
    code, out, _ = dyn("confirm", "C1", "C2", "--quick", "--seed", "7", "--json")
    report = json.loads(out)
    assert (code, report["n_failed"]) == (1, 1)
    assert [item["verdict"] for item in report["experiments"]] == ["holds", "violated"]
    assert [(effort.quick, effort.seed) for effort in two_experiments] == [(True, 7)]
    code, out, _ = dyn("confirm", "C1")
    assert code == 0
    assert "1 experiments, all agree with theory" in out


def test_the_table_gives_reasons(two_experiments, dyn):
    code, out, _ = dyn("confirm", "C1", "C2")
    assert code == 1
    assert "C2: too noisy" in out
    assert "2 experiments, 1 disagree with theory" in out
    code, out, _ = dyn("confirm", "C1", "C2", "--markdown")
    assert code == 1
    assert "| C2 | agreement | > 0.999 | 0.5 | VIOLATED | as asked |" in out


def test_the_command_draws_a_figure_of_each_experiment_that_has_curves(two_experiments, dyn):
    code, out, _ = dyn("confirm", "C1", "C2", "--folder", "drawn", "--format", "svg", "--json")
    assert code == 1
    files = [item["figure"] for item in json.loads(out)["experiments"]]
    assert files == [str(Path("drawn/C1.svg")), None]
    assert Path("drawn/C1.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "slope: predicted = 1 ± 0.1, measured 1.05" in Path("drawn/C1.svg").read_text(encoding="utf-8")
    assert "slope: predicted = 1 ± 0.1, measured 1.05" in json.loads(out)["experiments"][0]["caption"]


def test_drawing_writes_pictures_alone_and_prints_their_captions(two_experiments, dyn):
    Path("drawn").mkdir()
    Path("drawn/C1.txt").write_text("notes", encoding="utf-8")
    code, out, _ = dyn("confirm", "C1", "C2", "--folder", "drawn")
    assert code == 1
    assert "drawn/C1.png: prediction" in out or "drawn/C1.png: R1." in out
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["C1.png", "C1.txt"]
    assert Path("drawn/C1.txt").read_text(encoding="utf-8") == "notes"


@pytest.mark.parametrize(
    ("measurement", "relation", "required"),
    [
        (compare("a", 1.0, 1.1, 0.25, ""), "eq", "= 1 ± 0.25"),
        (at_least("a", 1e-3, 2.474, ""), "gt", "> 0.001"),
        (at_least("a", 1.0, 0.9, "", slack=0.25), "gt", "> 0.75"),
        (at_most("a", 1.0, 1.04, "", slack=0.25), "lt", "< 1.25"),
        (Measurement("a", "falls", "0.5 to 0.1", None, True, "", "lt"), "lt", "falls"),
    ],
)
def test_what_must_hold_is_said_as_it_is(measurement, relation, required):
    report = measurement.report()
    assert (report["relation"], report["required"]) == (relation, required)


def test_a_relation_is_one_of_three():
    with pytest.raises(ValueError, match="`relation` must be one of eq, lt, gt, got 'near'"):
        Measurement("a", 1.0, 1.0, 0.0, True, "", "near")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("C99",), "an experiment must be one of C1, "),
        (("C1", "--format", "gif"), "--format must be one of png, svg, pdf, got 'gif'"),
        (("C1", "--folder", "taken"), "--folder must be a folder, got the file taken"),
        (("C1", "--seed", "-1"), "--seed"),
        (("C1", "--seed", "4000000000"), "--seed must be an integer >= 0 and < 1048576, got 4000000000"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(dyn, arguments, message):
    Path("taken").write_text("", encoding="utf-8")
    code, out, err = dyn("confirm", *arguments)
    assert (code, out) == (2, "")
    assert message in err


# --- data ---------------------------------------------------------------------------------------------------

TAKERS = ("C4", "C8", "C10", "C11", "C13")


def test_experiments_that_take_data_are_those_on_digits_alone():
    assert [name for name, row in EXPERIMENTS.items() if row.data] == list(TAKERS)


@pytest.mark.parametrize("name", ["C1", "C2", "C22"])
def test_data_are_refused_by_experiments_that_use_none(name):
    with pytest.raises(ValueError, match=f"`data` must go with C4, C8, C10, C11, C13, got {name}"):
        confirm(EXPERIMENTS[name], Effort(quick=True, data="photos"))


@pytest.mark.parametrize("name", ["C8", "C10", "C11"])
def test_data_without_classes_are_refused_where_a_probe_needs_them(name, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((40, 8, 8)))
    with pytest.raises(ValueError, match=f"`data` must have classes for the probe of {name}, got .*x.npy"):
        confirm(EXPERIMENTS[name], Effort(quick=True, data=str(tmp_path / "x.npy")))


def test_rows_are_compared_with_modes_where_the_flow_comes_to_them():
    moments = Moments.from_eigenvalues([4.0, 1.0, 0.5], [1.6, 0.8, 0.1])  # r = 0.4, 0.8, 0.2
    W = 0.1 * np.random.default_rng(0).standard_normal((1, 3))
    early, late = (flow_angle(W, moments, t_end) for t_end in (0.5, 60.0))
    assert early > REACHED > 0.1 > late


def test_networks_see_the_data_that_are_asked_for_and_digits_otherwise():
    assert network(Effort()).data.source == "digits"
    assert network(Effort()).data.limit is None
    other = network(Effort(data="photos")).data
    assert (other.source, other.augmentations) == ("photos", network(Effort()).data.augmentations)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("C1", "--data", "photos"), "--data must go with C4, C8, C10, C11, C13, got C1"),
        (("--data", "photos"), "--data must go with C4, C8, C10, C11, C13, got C1"),
        (("C8", "--data", "missing.npy"), "missing.npy"),
        (("C8", "--data", "foto"), "got 'foto'"),
    ],
)
def test_the_command_refuses_data_before_anything_is_trained(dyn, words, message):
    code, out, err = dyn("confirm", "--quick", *words)
    assert (code, out) == (2, "")
    assert message in err
