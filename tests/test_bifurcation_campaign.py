"""Random bifurcation problems against closed forms of their own: no special point missing, false or listed twice.

Each expected value solves its equation by hand, one parameter at a time; the program finds roots of polynomials.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest

from analysis.fixed_points.bifurcations import bifurcation
from analysis.fixed_points.diagrams import Bifurcation
from dynamics.system import ModeSystem

OBJECTIVES = ("byol", "byol-prime", "raft")
FIXED = ("lambda-s", "lambda-d", "tau-online", "tau-predictor", "tau-target")
MOVES = [
    (objective, parameter, decays)
    for objective in OBJECTIVES
    for decays in (False, True)
    for parameter in (
        *FIXED,
        *(("weight-decay",) if decays else ("invariant",)),
        *(() if objective == "byol" else ("alpha", "beta")),
    )
]
PROBLEMS = 500 // len(MOVES) + 1  # of each kind
EDGE = 4 * 2.0**-52  # a point so close to an end lies on it


class Problem(NamedTuple):
    """Numbers by name, of which `parameter` moves over `interval`."""

    objective: str
    parameter: str
    decays: bool
    numbers: dict[str, float]
    interval: tuple[float, float]


class Expected(NamedTuple):
    type: str
    value: Any
    predictor: Any
    copies: int  # mirror images in w1


# --- closed forms -------------------------------------------------------------------------------------------


def effective(objective: str, x: dict[str, Any]) -> tuple[Any, Any]:
    """λs and λd of the flow (R24, R26)."""
    if objective == "byol":
        return x["lambda-s"], x["lambda-d"]
    weight = x["beta"] if objective == "byol-prime" else -x["beta"]
    return 2 * x["alpha"] * (x["lambda-s"] - x["lambda-d"]) + weight * x["lambda-s"], weight * x["lambda-s"]


def where_lambda_s_is(problem: Problem, x: dict[str, Any], level: Any, slope: Any = 0) -> list[Any]:
    """Values of λs, λd, α or β at which λs of the flow is level + slope · (λd of the flow)."""
    ls, ld, a, b = x["lambda-s"], x["lambda-d"], x["alpha"], x["beta"]
    if problem.objective == "byol":
        match problem.parameter:
            case "lambda-s":
                return [level + slope * ld]
            case "lambda-d":
                return [(ls - level) / slope] if slope else []
        return []
    sigma = 1 if problem.objective == "byol-prime" else -1
    k = sigma * (1 - slope)  # 2α(λs − λd) + k β λs = level
    match problem.parameter:
        case "lambda-s":
            return [(level + 2 * a * ld) / (2 * a + k * b)] if 2 * a + k * b else []
        case "lambda-d":
            return [ls - (level - k * b * ls) / (2 * a)]
        case "alpha":
            return [(level - k * b * ls) / (2 * (ls - ld))]
        case "beta":
            return [(level - 2 * a * (ls - ld)) / (k * ls)] if k else []
    return []


def pair(square: Any, half: Any, constant: Any) -> list[Any]:
    """Roots of square x² − 2 half x + constant, the smaller one from their product."""
    spread = half**2 - square * constant
    if spread <= 0:
        return []
    q = half + (1 if half >= 0 else -1) * mpmath.sqrt(spread)
    return [q / square, constant / q]


def folds(problem: Problem, x: dict[str, Any]) -> list[Any]:
    """R15: λd² = 4 η τo λs."""
    g = 4 * x["weight-decay"] * x["tau-online"]
    ls, ld = effective(problem.objective, x)
    match problem.parameter:
        case "weight-decay":
            return [ld**2 / (4 * x["tau-online"] * ls)]
        case "tau-online":
            return [ld**2 / (4 * x["weight-decay"] * ls)]
        case "tau-predictor" | "tau-target":
            return []
    L, D, a, b = x["lambda-s"], x["lambda-d"], x["alpha"], x["beta"]
    if problem.objective == "byol":
        if problem.parameter == "lambda-s":
            return [D**2 / g]
        return [mpmath.sqrt(g * L), -mpmath.sqrt(g * L)] if L > 0 else []
    sigma = 1 if problem.objective == "byol-prime" else -1
    match problem.parameter:
        case "alpha":
            return [(b**2 * L**2 / g - sigma * b * L) / (2 * (L - D))]
        case "lambda-d":
            return [L - (b**2 * L**2 / g - sigma * b * L) / (2 * a)]
        case "lambda-s":  # b² λs² − 2 half λs + square = 0
            return pair(b**2, g * (2 * a + sigma * b) / 2, g * 2 * a * D)
        case "beta":  # λs² b² − 2 half b − square = 0
            return pair(L**2, g * sigma * L / 2, -g * 2 * a * (L - D))
    raise AssertionError(problem.parameter)


def forks(problem: Problem, x: dict[str, Any]) -> list[Any]:
    """R6: c = −τp r²."""
    ls, ld = effective(problem.objective, x)
    match problem.parameter:
        case "invariant":
            return [-x["tau-predictor"] * (ld / ls) ** 2]
        case "tau-predictor":
            return [-x["invariant"] * (ls / ld) ** 2]
        case "tau-online" | "tau-target":
            return []
    if x["invariant"] >= 0:
        return []
    k = mpmath.sqrt(-x["tau-predictor"] / x["invariant"])
    return [value for sign in (1, -1) for value in where_lambda_s_is(problem, x, mpmath.mpf(0), sign * k)]


def centres(problem: Problem, x: dict[str, Any]) -> list[Any]:
    """The trace of the collapsed points is 0: c λs τt = τo τp."""
    ls, _ = effective(problem.objective, x)
    to, tp, tt, c = (x[name] for name in ("tau-online", "tau-predictor", "tau-target", "invariant"))
    match problem.parameter:
        case "invariant":
            return [to * tp / (ls * tt)]
        case "tau-online":
            return [c * ls * tt / tp]
        case "tau-predictor":
            return [c * ls * tt / to]
        case "tau-target":
            return [to * tp / (c * ls)]
    return where_lambda_s_is(problem, x, to * tp / (c * tt))


def solved(problem: Problem) -> tuple[list[Expected], list[Any]]:
    """All special points and escapes for any value of the parameter."""
    x = {name: mpmath.mpf(repr(value)) for name, value in problem.numbers.items()}
    points = []

    def at(value: Any) -> tuple[Any, Any, dict[str, Any]]:
        there = {**x, problem.parameter: value}
        return *effective(problem.objective, there), there

    if problem.decays:
        for value in folds(problem, x):
            ls, ld, _ = at(value)
            if ls > 0 and ld:
                points.append(Expected("saddle-node", value, ld / (2 * ls), 2))
        if problem.parameter == "weight-decay":
            points.append(Expected("branch-point", mpmath.mpf(0), mpmath.mpf(0), 1))
    else:
        for value in forks(problem, x):
            ls, ld, there = at(value)
            if there["invariant"] < 0:
                points.append(Expected("branch-point", value, ld / ls, 1))
        if problem.parameter == "invariant":
            points.append(Expected("saddle-node", mpmath.mpf(0), mpmath.mpf(0), 1))
        for value in centres(problem, x):
            ls, ld, there = at(value)
            if there["invariant"] < 0 and there["tau-predictor"] > 0:
                p = mpmath.sqrt(-there["invariant"] / there["tau-predictor"])
                points += [
                    Expected("hopf", value, s * p, 1) for s in (1, -1) if s * p * (ls * s * p - ld) > 0
                ]
    infinite = where_lambda_s_is(problem, x, mpmath.mpf(0)) if problem.parameter in _MOMENTS else []
    return points, infinite


_MOMENTS = ("lambda-s", "lambda-d", "alpha", "beta")


# --- problems -----------------------------------------------------------------------------------------------


def allowed(parameter: str, value: Any) -> bool:
    if parameter in ("tau-online", "tau-predictor", "tau-target", "beta"):
        return bool(value > 0)
    return bool(value >= 0) if parameter in ("weight-decay", "alpha") else True


def random_problem(rng: np.random.Generator, objective: str, parameter: str, decays: bool) -> Problem:
    numbers = {name: float(10 ** rng.uniform(-3, 3)) for name in (*FIXED, "alpha", "beta")}
    numbers["lambda-d"] = numbers["lambda-s"] * float(rng.uniform(0.001, 0.999))
    numbers["weight-decay"] = float(10 ** rng.uniform(-6, 2)) if decays else 0.0
    r = numbers["lambda-d"] / numbers["lambda-s"]
    level = numbers["tau-predictor"] * r**2 * float(10 ** rng.uniform(-3, 3))
    numbers["invariant"] = 0.0 if decays else level * float(rng.choice([-1, -1, 1]))
    problem = Problem(objective, parameter, decays, numbers, (0.0, 1.0))
    with mpmath.workdps(60):
        known = [float(item.value) for item in solved(problem)[0] if allowed(parameter, item.value)]
    middle = float(rng.choice(known)) if known else numbers[parameter]
    size = abs(middle) or abs(numbers[parameter]) or 1.0
    down, up = (float(10 ** rng.uniform(-6, 6)) for _ in range(2))
    lo, hi = sorted([size * min(down, 1 / down) * 0.999, size * max(up, 1 / up) * 1.001])
    if middle < 0:
        lo, hi = -hi, -lo
    if rng.random() < 0.3 and parameter in ("lambda-s", "lambda-d", "invariant"):  # across 0
        lo, hi = -abs(hi) if rng.random() < 0.5 else -abs(lo), abs(hi)
    if parameter in ("weight-decay", "alpha") and rng.random() < 0.3:
        lo = 0.0
    ends = [value for value in known if allowed(parameter, value) and lo < value < hi]
    if ends and rng.random() < 0.3:  # on a special point
        end = float(rng.choice(ends))
        lo, hi = (end, hi) if rng.random() < 0.5 else (lo, end)
        lo = 0.0 if not allowed(parameter, lo) else lo
    return problem._replace(interval=(lo, hi))


def run(problem: Problem) -> Bifurcation:
    x = problem.numbers
    system = ModeSystem(
        x["lambda-s"],
        x["lambda-d"],
        tau_online=x["tau-online"],
        tau_predictor=x["tau-predictor"],
        tau_target=x["tau-target"],
        weight_decay=x["weight-decay"] if problem.parameter != "weight-decay" else 0.0,
    )
    options: dict[str, Any] = {"objective": problem.objective, "alpha": x["alpha"], "beta": x["beta"]}
    if not problem.decays and problem.parameter != "invariant":
        options["invariant"] = x["invariant"]
    return bifurcation(system, problem.parameter, problem.interval, **options)


def inside(problem: Problem, value: Any) -> bool:
    lo, hi = problem.interval
    return bool(lo - EDGE * abs(lo) <= value <= hi + EDGE * abs(hi))


def residuals(problem: Problem, found: Bifurcation) -> Iterator[float]:
    """Of the equations of every special point, relative to the sum of their terms, in numbers of 60 digits."""
    for point in found.points:
        x = {name: mpmath.mpf(repr(value)) for name, value in problem.numbers.items()}
        x[problem.parameter] = mpmath.mpf(point.value)
        ls, ld = effective(problem.objective, x)
        _, own = effective(problem.objective, {**x, "lambda-d": mpmath.mpf(0)})
        spread = abs(x["lambda-s"]) if problem.objective == "byol" else (
            2 * x["alpha"] * (abs(x["lambda-s"]) + abs(x["lambda-d"])) + abs(own)
        )  # fmt: skip
        w1, w2 = mpmath.mpf(point.online), mpmath.mpf(point.predictor)
        to, tp, tt, eta, c = (
            x[name] for name in ("tau-online", "tau-predictor", "tau-target", "weight-decay", "invariant")
        )
        if problem.decays:
            sums = [([to * w1**2, -tp * w2**2], 0)]
            if w2:
                sums += [([w2 * ld, -ls * w2**2, -eta * to], spread * w2**2)]
                sums += [([ld, -2 * ls * w2], spread * abs(w2))]
        else:
            sums = [([to * w1**2, -tp * w2**2, -c], 0), ([w1 * ld, -w1 * w2 * ls], 0)]
            if point.type == "hopf":
                sums += [([ls * w2**2 / to, 1 / tt], spread * w2**2 / to)]
            elif w2:
                sums += [([ls * w2, -ld], spread * abs(w2))]
        for terms, more in sums:
            size = sum(map(abs, terms)) + more
            yield float(abs(sum(terms)) / size) if size else 0.0


def examine(problem: Problem) -> None:
    """Compare what the program finds with the closed forms."""
    found = run(problem)
    with mpmath.workdps(60):
        points, infinite = solved(problem)
        expected = [item for item in points if inside(problem, item.value)]
        # found by value to rounding of what the value is made of: sums of numbers that may cancel
        assert len(found.points) == sum(item.copies for item in expected), (problem, found)
        rest = list(found.points)
        for item in expected:
            scale = max(abs(item.value), mpmath.mpf("1e-300"))
            same = [
                p
                for p in rest
                if p.type == item.type
                and abs(p.value - item.value) <= 1e-12 * scale
                and abs(p.predictor - item.predictor) <= 1e-9 * abs(item.predictor)
            ]
            assert len(same) == item.copies, (problem, item, found.points)
            assert len({p.online for p in same}) == item.copies
            rest = [p for p in rest if p not in same]
        assert rest == []
        assert max(residuals(problem, found), default=0.0) <= 1e-9, (problem, found.points)
        escapes = [value for value in infinite if inside(problem, value)]
        assert len(found.escapes) == len(escapes), (problem, found.escapes, escapes)
        for escape, value in zip(found.escapes, sorted(escapes), strict=True):
            assert abs(escape.value - value) <= 1e-12 * abs(value)


@pytest.mark.parametrize(("objective", "parameter", "decays"), MOVES)
def test_no_special_point_is_missing_false_or_twice(objective: str, parameter: str, decays: bool) -> None:
    rng = np.random.default_rng([OBJECTIVES.index(objective), decays, len(parameter), ord(parameter[-1])])
    for _ in range(PROBLEMS):
        examine(random_problem(rng, objective, parameter, decays))


# --- any numbers at all -------------------------------------------------------------------------------------


def extreme_call(rng: np.random.Generator) -> tuple[list[str], Problem]:
    objective, parameter, decays = MOVES[rng.integers(len(MOVES))]
    decades = float(rng.choice([10, 100]))

    def any_number() -> float:
        return float(10 ** rng.uniform(-decades, decades))

    numbers = {name: any_number() for name in (*FIXED, "weight-decay", "alpha", "beta")}
    numbers["lambda-d"] = numbers["lambda-s"] * float(10 ** -abs(rng.uniform(0, 3)))
    numbers["invariant"] = any_number() * float(rng.choice([-1, 1]))
    lo, hi = sorted(numbers[parameter] * 10 ** rng.uniform(-6, 6, 2))
    options = [name for name in FIXED if name != parameter]
    options += ["weight-decay"] if decays and parameter != "weight-decay" else []
    options += [] if decays or parameter == "invariant" else ["invariant"]
    options += [] if objective == "byol" else [name for name in ("alpha", "beta") if name != parameter]
    given = [text for name in options for text in (f"--{name}", repr(numbers[name]))]
    moves = [
        "--objective",
        objective,
        "--parameter",
        parameter,
        "--from",
        repr(float(lo)),
        "--to",
        repr(float(hi)),
    ]
    if not decays:
        numbers["weight-decay"] = 0.0
    else:
        numbers["invariant"] = 0.0
    return [*given, *moves], Problem(objective, parameter, decays, numbers, (float(lo), float(hi)))


def examine_call(dyn: Any, rng: np.random.Generator) -> int:
    """Run the command on any numbers: the values of its points are right, or one sentence says what is not."""
    options, problem = extreme_call(rng)
    code, out, err = dyn("bifurcation", *options, "--json")
    if code != 0:
        assert code in (2, 3), (options, err)
        assert out == ""
        assert err.startswith("dyn: ")
        assert err.count("\n") == 1
        assert "internal error" not in err, (options, err)
        return code
    report = json.loads(out)
    with mpmath.workdps(400):
        points, infinite = solved(problem)
        expected = [item for item in points if inside(problem, item.value)]
        values = sorted(float(item.value) for item in expected for _ in range(item.copies))
        assert [point["value"] for point in report["points"]] == pytest.approx(values, rel=1e-12, abs=0), (
            options
        )
        assert len(report["escapes"]) == sum(inside(problem, value) for value in infinite), options
    return code


@pytest.mark.parametrize(
    "part", [part if part < 2 else pytest.param(part, marks=pytest.mark.slow) for part in range(10)]
)
def test_the_command_is_right_over_two_hundred_decades(dyn: Any, part: int) -> None:
    rng = np.random.default_rng([7, part])
    codes = [examine_call(dyn, rng) for _ in range(30)]
    assert 0 in codes
