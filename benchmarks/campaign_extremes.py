"""Random calls of the command line with numbers over two hundred decades, judged by closed forms in many digits.

python benchmarks/campaign_extremes.py [--n N] [--seed SEED] [--first K] [COMMAND ...] prints how the calls ended, how
long the slowest took, and every violation with the command that shows it.

Every call has to be right, or to end with exit code 2 or 3 and a sentence; no warning and no internal error may
appear. What it prints is compared with `Truth`, which shares no code with the program: R5, R6, R11 to R15, R21,
R22, R24 and R26 in mpmath, whose exponents have no limit, with as many digits as the numbers have decades.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import random
import shlex
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mpmath

COMMANDS = ("simulate", "basins", "fixed-points", "bifurcation")
VARIANTS = (
    "full",
    "fixed-target",
    "tied",
    "no-predictor",
    "no-ema",
    "no-stop-gradient",
    "symmetric-predictor",
    "fast-predictor",
    "directpred",
    "directset",
)
OBJECTIVES = ("byol", "byol", "byol", "byol-prime", "raft")
PARAMETERS = (
    "lambda-s",
    "lambda-d",
    "tau-online",
    "tau-predictor",
    "tau-target",
    "weight-decay",
    "invariant",
    "alpha",
    "beta",
)
WIDTHS = (5, 20, 50, 100, 100, 100)
"""Decades on either side of 1, from which each call takes one number."""
EDGES = (5e-324, 1e-320, 2.3e-308, 1e-300, 1e300, 8e307, 1.7e308)
"""Numbers near the ends of floats, which some calls have among theirs."""

EDGED = 0.1
"""Share of the calls that have such numbers."""

ACCURACY = 1e-6
"""Of ends, relative to the largest weight in balanced units: a hundred times the default tolerance of `simulate`."""
RESIDUAL = 1e-9
"""Of equations at fixed and special points, relative to their largest term."""
LONGEST = 20.0
"""Seconds that a call may take; reported, and never part of a test."""

mp: Any = mpmath.mp.clone()
mp.dps = 1500


# --- calls --------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """One call of the command line.

    Parameters
    ----------
    command
        Its name.
    options
        What was given, by option without dashes.
    """

    command: str
    options: dict[str, Any]

    @property
    def arguments(self) -> list[str]:
        """As typed."""
        words = [self.command]
        for name, value in self.options.items():
            for each in value if isinstance(value, list) else [value]:
                words.append(f"--{name}={each!r}" if isinstance(each, float) else f"--{name}={each}")
        return [*words, "--json", "--quiet"]

    def __str__(self) -> str:
        """As typed in a shell."""
        return "dyn " + shlex.join(self.arguments)

    def number(self, name: str, default: float = 0.0) -> Any:
        """An option as a number of many digits: as typed for closed forms, as the nearest float for runs."""
        return self.read(self.options.get(name, default))

    def read(self, value: Any) -> Any:
        """A number as the command reads it, which for the smallest floats is not their digits."""
        if isinstance(value, mp.mpf):
            return value
        return mp.mpf(repr(value) if self.command in ("fixed-points", "bifurcation") else value)


def draw(rng: random.Random, command: str) -> Call:
    """Draw a call: log-uniform numbers over the same decades, each with or without its sign as its option allows."""
    width, edge = rng.choice(WIDTHS), rng.random() < EDGED

    def size(most: float = math.inf) -> float:
        if edge and rng.random() < 0.3:
            return rng.choice(EDGES)
        return 10 ** rng.uniform(-width, min(width, most))

    def signed() -> float:
        return rng.choice((-1.0, 1.0)) * size()

    lambda_s = size()
    lambda_d = lambda_s * 10 ** -rng.uniform(0, width / rng.choice((1, 10, 100)))
    if rng.random() < 0.1:
        lambda_d = size()
    options: dict[str, Any] = {"lambda-s": lambda_s, "lambda-d": lambda_d}
    for name in ("tau-online", "tau-predictor", "tau-target"):
        if rng.random() < 0.6:
            options[name] = size()
    decays = rng.random() < 0.4
    if decays:
        options["weight-decay"] = size()
        if rng.random() < 0.5:  # near the saddle-node, where there is something to decide
            level = mp.mpf(lambda_d) ** 2 / (4 * mp.mpf(options.get("tau-online", 1.0)) * lambda_s)
            with contextlib.suppress(OverflowError):
                options["weight-decay"] = float(level * mp.mpf(10) ** rng.uniform(-6, 1)) or size()
    objective = rng.choice(OBJECTIVES)
    if objective != "byol":
        options["objective"] = objective
        for name in ("alpha", "beta"):
            if rng.random() < 0.7:
                options[name] = size()
    if command == "bifurcation":
        return Call(command, _moving(rng, options, decays, size))
    variant = rng.choice(VARIANTS)
    if variant != "full":
        options["variant"] = variant
        if variant == "tied" and rng.random() < 0.9:
            options["tau-predictor"] = options.get("tau-online", 1.0)
    if command == "simulate":
        for name in ("online", "predictor", "target"):
            options[name] = signed()
        if variant == "tied":
            options["predictor"] = options["online"]
        if rng.random() < 0.3:
            options["t-end"] = size()
    elif command == "basins":
        options["grid"] = 3
        if rng.random() < 0.7:
            reach = size()
            options["range"] = [f"online:{-reach!r}:{reach!r}"]
            if variant not in SLAVED:
                low, high = sorted((signed(), signed()))
                options["range"].append(f"predictor:{low!r}:{high!r}")
            options["at"] = signed()
        if variant in SLAVED:
            options["plane"] = "online,target"
            if rng.random() < 0.7 and "range" in options:
                options["range"].append(f"target:{-size()!r}:{size()!r}")
        if variant == "tied":
            options["variant"] = "full"
            options.pop("plane", None)
    else:
        if variant == "fixed-target":
            options["target"] = signed()
        if not decays and variant in LEAVES and rng.random() < 0.6:
            options["invariant"] = signed()
    return Call(command, options)


SLAVED = ("no-predictor", "fast-predictor", "directpred", "directset")
"""Variants that set the predictor."""
LEAVES = ("full", "symmetric-predictor", "no-ema", "fixed-target")
"""Variants whose fixed points lie on leaves."""


def _moving(
    rng: random.Random, options: dict[str, Any], decays: bool, size: Callable[[], float]
) -> dict[str, Any]:
    """Let one parameter of the full flow move, over a range that it may have."""
    objective = options.get("objective", "byol")
    known = [name for name in PARAMETERS if name not in ("alpha", "beta") or objective != "byol"]
    parameter = rng.choice(known)
    options.pop(parameter, None)
    low, high = sorted((size(), size()))
    if parameter in ("weight-decay", "alpha") and rng.random() < 0.5:
        low = 0.0
    if parameter in ("lambda-s", "lambda-d", "invariant") and rng.random() < 0.5:
        low = -size()
    if parameter == "invariant":
        options.pop("weight-decay", None)
    elif not decays and parameter != "weight-decay":
        options["invariant"] = rng.choice((-1.0, 1.0)) * size()
    return {**options, "parameter": parameter, "from": low, "to": high}


@dataclass
class Outcome:
    """What a call did: exit code, standard output and error, seconds, and a warning or error that reached its user."""

    code: int
    out: str
    err: str
    seconds: float


def run(call: Call) -> Outcome:
    """Run a call in this process, with warnings as errors."""
    from cli import app

    out, err = io.StringIO(), io.StringIO()
    began = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.simplefilter("error")
        try:
            app(call.arguments)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue(), time.perf_counter() - began)


# --- truth --------------------------------------------------------------------------------------------------


@dataclass
class Truth:
    """Closed forms of one mode in many digits, from the numbers that a call was given.

    Parameters
    ----------
    variant
        Its name.
    ls, ld
        Moments of the flow (R24, R26).
    to, tp, tt, eta, c
        Time constants, weight decay, and the leaf.
    """

    variant: str
    ls: Any
    ld: Any
    to: Any
    tp: Any
    tt: Any
    eta: Any
    c: Any

    @classmethod
    def of(cls, call: Call, **moved: Any) -> Truth:
        """From the options of a call, some of them replaced."""

        def given(name: str, default: float) -> Any:
            return call.read(moved[name]) if name in moved else call.number(name, default)

        ls, ld = given("lambda-s", 0.0), given("lambda-d", 0.0)
        alpha, beta = given("alpha", 1.0), given("beta", 1.0)
        sign = {"byol": 0, "byol-prime": 1, "raft": -1}[call.options.get("objective", "byol")]
        if sign:
            ls, ld = 2 * alpha * (ls - ld) + sign * beta * ls, sign * beta * ls
        return cls(
            call.options.get("variant", "full"),
            ls,
            ld,
            given("tau-online", 1.0),
            given("tau-predictor", 1.0),
            given("tau-target", 1.0),
            given("weight-decay", 0.0),
            given("invariant", 0.0),
        )

    @property
    def r(self) -> Any:
        """Ratio λd/λs."""
        return self.ld / self.ls

    @property
    def fold(self) -> Any:
        """Positive where p± of R15 are real and apart."""
        return self.ld**2 - 4 * self.eta * self.to * self.ls

    @property
    def fork(self) -> Any:
        """Positive where the leaf has learned points (R6)."""
        return self.c * self.ls**2 + self.tp * self.ld**2

    def direct(self, w1: Any) -> Any:
        """Predictor of DirectPred or DirectSet (R22)."""
        s = self.ls * w1**2
        return s if self.variant == "directset" else mp.sqrt(s) + s / 10

    def encoder(self, p: Any) -> Any:
        """|w1| of a fixed point with w2 = p under weight decay, or of a direct predictor."""
        if self.variant == "directset":
            return mp.sqrt(p / self.ls)
        if self.variant == "directpred":
            return 5 * (mp.sqrt(1 + p * 2 / 5) - 1) / mp.sqrt(self.ls)
        return mp.sqrt(self.tp / self.to) * abs(p)

    def ends(self, w1: Any, w2: Any, th: Any) -> list[tuple[Any, Any]]:
        """Where a start may end, |w1| and w2, None for what is not known; empty where theory is silent."""
        if self.ls <= 0:
            return []
        ls, ld, to, tp, tt, eta, r = self.ls, self.ld, self.to, self.tp, self.tt, self.eta, self.r
        zero = mp.mpf(0)
        if self.variant == "no-predictor":
            return [(zero, mp.mpf(1))] if ld < ls + eta * to else []
        if self.variant == "no-stop-gradient":
            return [(zero, zero if eta else None)] if abs(ld) < ls else []
        if self.variant == "fast-predictor":
            if not eta:
                return [(abs(w1), None if w1 == 0 else r)]
            return [(zero, r / (1 - eta * tt) if w1 and eta * tt < 1 else None)]
        if self.variant == "fixed-target":
            return self._hyperbola(w1, w2, th)
        if self.variant in ("directpred", "directset"):
            if w1 == 0 or ld <= 0:
                return [(zero, zero)]
            if not eta:
                return [(self.encoder(r), r)]
            return [(zero, zero), *self._levels()]
        if eta:
            return [(zero, zero), *self._levels()]
        if w1 == 0 and (self.variant == "no-ema" or th == 0):
            return [(zero, w2)]
        if w1 == 0 and w2 == 0:
            return [(zero, zero)]
        c, ahead = to * w1**2 - tp * w2**2, (w2 > 0) == (ld > 0) and w2 != 0
        if self.variant == "tied":
            c = zero
        if c <= (-tp * r**2 if ahead else 0):
            return [(zero, mp.sign(w2) * mp.sqrt(-c / tp))]
        return [(mp.sqrt((c + tp * r**2) / to), r)]

    def _levels(self) -> list[tuple[Any, Any]]:
        """The stable learned points of R15 and R22."""
        if self.fold <= 0 or self.ld == 0:
            return []
        p = mp.sign(self.ld) * (abs(self.ld) + mp.sqrt(self.fold)) / (2 * self.ls)
        if self.variant in ("directpred", "directset") and p < 0:
            return []
        return [(self.encoder(p), p)]

    def _hyperbola(self, w1: Any, w2: Any, th: Any) -> list[tuple[Any, Any]]:
        """Of fixed-target (R13), with weight decay e = ± η √(τo τp)."""
        to, tp, zero = self.to, self.tp, mp.mpf(0)
        if self.eta:
            excess = abs(th * self.ld) - self.eta * mp.sqrt(to * tp)
            if excess <= 0:
                return [(zero, zero)]
            lead = mp.sqrt(to) * w1 + mp.sign(th * self.ld) * mp.sqrt(tp) * w2
            if lead == 0:
                return [(zero, zero)]
            size, kappa = excess / self.ls, mp.sqrt(tp / to)
            side = mp.sign(lead) * mp.sign(th * self.ld)
            return [(mp.sqrt(kappa * size), side * mp.sqrt(size / kappa))]
        u, c = th * self.r, to * w1**2 - tp * w2**2
        if c == 0 and w1 * w2 * u <= 0:
            return [(zero, zero)]
        spread = mp.sqrt(c**2 + 4 * to * tp * u**2)
        first, second = mp.sqrt(max(c + spread, zero) / (2 * to)), mp.sqrt(max(spread - c, zero) / (2 * tp))
        side = mp.sign(w2) if c < 0 else mp.sign(u) * mp.sign(w1)
        return [(first, side * second)]

    def at(self, t: Any, w1: Any, w2: Any, th: Any) -> tuple[Any, Any] | None:
        """w1 and w2 at the time t, where the flow is solved in elementary functions (R11, R13); else None."""
        if self.variant == "no-predictor":
            a, b = -self.ls / self.to - self.eta, self.ld / self.to
            d = 1 / self.tt
            root = mp.sqrt((a + d) ** 2 + 4 * b * d)
            if root == 0:
                return None
            s1, s2 = (a - d + root) / 2, (a - d - root) / 2
            one, two = ((a - s) * w1 + b * th for s in (s2, s1))
            return (mp.exp(s1 * t) * one - mp.exp(s2 * t) * two) / root, mp.mpf(1)
        if self.variant != "fixed-target" or self.eta or self.ls <= 0:
            return None
        # with x ± y = (x0 ± y0) E^{±1}, s = E² obeys s' = −a s² + b s + d
        root_o, root_p = mp.sqrt(self.to), mp.sqrt(self.tp)
        plus, minus = root_o * w1 + root_p * w2, root_o * w1 - root_p * w2
        damping = self.ls / (self.to * self.tp)
        a, b, d = damping * plus**2 / 2, 2 * th * self.ld / (root_o * root_p), damping * minus**2 / 2
        spread = mp.sqrt(b**2 + 4 * a * d)
        if a == 0 or spread == 0:
            return None
        high, low = (b + spread) / (2 * a), (b - spread) / (2 * a)
        share = (1 - high) / (1 - low) * mp.exp(-spread * t)
        turn = mp.sqrt((high - share * low) / (1 - share))
        return (plus * turn + minus / turn) / (2 * root_o), (plus * turn - minus / turn) / (2 * root_p)

    def residual(self, w1: Any, w2: Any, th: Any) -> Any:
        """Largest rate of change over the sum of the moduli of its terms."""
        pull, push = th * self.ld, -w2 * w1 * self.ls
        own = [w2 * pull / self.to, w2 * push / self.to, -self.eta * w1]
        other = [w1 * pull / self.tp, w1 * push / self.tp, -self.eta * w2]
        follow = [w1, -th]
        if self.variant == "no-stop-gradient":
            own += [w1 * w2 * self.ld / self.to, -self.ls * w1 / self.to]
        elif self.variant == "fixed-target":
            follow = []
        elif self.variant == "no-predictor":
            other = [w2, mp.mpf(-1)]
        elif self.variant == "fast-predictor":
            own, other = [-self.eta * w1], [pull, push] if w1 else []
        elif self.variant in ("directpred", "directset"):
            other = [w2, -self.direct(w1)]
        sums = [(abs(sum(terms)), sum(map(abs, terms))) for terms in (own, other, follow)]
        return max((total / size for total, size in sums if size), default=mp.mpf(0))

    def off_leaf(self, w1: Any, w2: Any) -> Any:
        """Distance from the leaf, over the largest of its terms."""
        first, second = self.to * w1**2, self.tp * w2**2
        return abs(first - second - self.c) / (max(first, second, abs(self.c)) or 1)


# --- judgement ----------------------------------------------------------------------------------------------


def judge(call: Call, outcome: Outcome) -> list[str]:
    """What is wrong with the outcome of a call, in words."""
    if outcome.code not in (0, 2, 3):
        return [f"exit code {outcome.code}: {outcome.err}"]
    if "internal error" in outcome.err or "Traceback" in outcome.err:
        return [outcome.err.strip()]
    if outcome.code == 2:
        named = outcome.err.startswith("dyn: ") and outcome.err.count("\n") == 1
        return [] if named and not outcome.out else [f"no sentence: {outcome.err!r}"]
    if not outcome.out:
        return [] if outcome.err.startswith("dyn: ") else ["exit code 3 and no word"]
    report = json.loads(outcome.out)
    return list(_JUDGES[call.command](call, report))


def _near(found: Any, expected: Any, size: Any = 0) -> bool:
    """Whether a number is right, or its square is to the rounding of squares of the given size."""
    gap = abs(found - expected)
    return bool(gap <= ACCURACY * abs(expected) + 1e-300 or gap * (found + expected) <= 1e-13 * size**2)


def _simulated(call: Call, report: dict[str, Any]) -> Iterator[str]:
    mode, truth = report["modes"][0], Truth.of(call)
    if mode["agrees"] is False:
        yield f"the run says {mode['fate']}, its prediction {mode['predicted']}"
    start = [call.number(name) for name in ("online", "predictor", "target")]
    found = [mp.mpf(0.0 if mode["final"][name] is None else mode["final"][name]) for name in mode["final"]]
    ends = truth.ends(*start)
    known = {"collapsed" if w1 == 0 else "learned" for w1, _ in ends}
    if mode["fate"] != "undecided" and ends and mode["fate"] not in known:
        yield f"fate {mode['fate']}, closed form {known}"
    if truth.variant == "fast-predictor" and start[0]:
        start[1] = start[2] * truth.r / start[0]  # which the variant sets
    elif truth.variant in ("directpred", "directset"):
        start[1] = truth.direct(start[0])
    root_o, root_p = mp.sqrt(truth.to), mp.sqrt(truth.tp)
    size = max(root_o * abs(start[0]), root_o * abs(start[2]), root_p * abs(start[1]))
    if truth.ls > 0:
        size = max(size, root_p * abs(truth.r))
    if report["status"] == "steady" and ends:
        encoder = max(abs(start[0]), abs(start[2]))
        predictor = max(abs(start[1]), 1e-2)  # whose hundredth millionth is the absolute tolerance
        for w1, w2 in ends:
            first = _near(abs(root_o * found[0]), root_o * w1, size)
            first = first or (w1 == 0 and abs(found[0]) <= ACCURACY * encoder)
            second = w2 is None or _near(abs(root_p * found[1]), root_p * abs(w2), size)
            second = second or abs(found[1] - w2) <= ACCURACY * predictor
            if first and second:
                break
        else:
            shown = [tuple(mp.nstr(x, 12) if x is not None else None for x in end) for end in ends]
            yield f"steady at {mode['final']}, closed form {shown}"
    exact = truth.at(mp.mpf(report["t"]), *start) if report["status"] == "end-time" else None
    if exact is not None:
        largest = ACCURACY * max(root_o * abs(exact[0]), root_p * abs(exact[1]))
        if call.options.get("variant") == "no-predictor":
            largest = ACCURACY * root_o * max(abs(exact[0]), abs(found[2]))
        if abs(found[0] - exact[0]) * root_o > largest + 1e-300 * root_o:
            yield f"w1 at t = {report['t']:g} is {mode['final']['online']!r}, closed form {mp.nstr(exact[0], 12)}"
        if abs(found[1] - exact[1]) * root_p > max(largest, 1e-8 * root_p) + 1e-300 * root_p:
            yield f"w2 at t = {report['t']:g} is {mode['final']['predictor']!r}, closed form {mp.nstr(exact[1], 12)}"


WINDOW = {"online": (-1.5, 1.5), "predictor": (-1.0, 1.5), "target": (-1.5, 1.5)}
"""Ranges of `dyn basins` where none is given."""


def _mapped(call: Call, report: dict[str, Any]) -> Iterator[str]:
    if report["theory_mismatches"]:
        yield f"{report['theory_mismatches']} mismatches"
    truth = Truth.of(call)
    ranges = dict(WINDOW)
    for text in call.options.get("range", []):
        name, low, high = text.split(":")
        ranges[name] = float(low), float(high)
    plane = call.options.get("plane", "online,predictor").split(",")
    expected: Counter[str] = Counter()
    for i in range(9):
        start = dict.fromkeys(("online", "predictor", "target"), call.number("at", 0.3))
        for name, k in zip(plane, (i % 3, i // 3), strict=True):
            share = (mp.mpf(k) + mp.mpf(1) / 2) / 3
            start[name] = mp.mpf(ranges[name][0]) * (1 - share) + mp.mpf(ranges[name][1]) * share
            if abs(start[name]) < mp.mpf(10) ** -12 * max(map(abs, ranges[name])):
                start[name] = mp.mpf(0)  # the middle of a range that is symmetric
        fates = {"collapsed" if w1 == 0 else "learned" for w1, _ in truth.ends(*start.values())}
        expected[fates.pop() if len(fates) == 1 else "either"] += 1
    found = {name: round(9 * share) for name, share in report["fractions"].items()}
    slack = expected["either"]
    for fate in ("learned", "collapsed"):
        least = expected[fate] - found["undecided"]
        if not least <= found[fate] <= expected[fate] + slack:
            yield f"{found[fate]} of 9 {fate}, closed form {dict(expected)}, undecided {found['undecided']}"


def _rested(call: Call, report: dict[str, Any]) -> Iterator[str]:
    truth = Truth.of(call)
    leaf = "invariant" in call.options
    for point in report["fixed_points"]:
        at = [mp.mpf(point[name]) for name in ("online", "predictor", "target")]
        if (residual := truth.residual(*at)) > RESIDUAL:
            yield f"{point['name']} does not rest: {mp.nstr(residual, 3)}"
        if leaf and (off := truth.off_leaf(*at[:2])) > RESIDUAL:
            yield f"{point['name']} is off its leaf by {mp.nstr(off, 3)}"
    verdicts = {point["name"]: point["stability"] for point in report["fixed_points"]}
    if truth.variant not in ("full", "symmetric-predictor") or truth.ls <= 0 or not truth.ld:
        return
    expected = {}
    if truth.eta:
        expected = {"origin": "stable"}
        if truth.fold > 0:
            # p− is the smaller number: the one near zero where λd > 0, the one far from it where λd < 0
            near, far = ("lower", "upper") if truth.ld > 0 else ("upper", "lower")
            for mirror in ("", "-mirror"):
                expected |= {near + mirror: "saddle", far + mirror: "stable"}
    elif leaf:
        if truth.fork > 0:
            expected |= {"learned": "stable", "learned-mirror": "stable"}
        p = mp.sqrt(max(-truth.c / truth.tp, 0))
        for name, at_p in (("collapsed-positive", p), ("collapsed-negative", -p)) if p else ():
            expected[name] = "stable" if at_p * (truth.ls * at_p - truth.ld) > 0 else "saddle"
    if (truth.eta or leaf) and verdicts != expected:
        yield f"{verdicts}, closed form {expected}"


def _least_residual(call: Call, point: dict[str, Any], at: Sequence[Any]) -> Any:
    """Least residual of a special point over the numbers that round to the value that was printed.

    Where λs and λd cancel in the moments of an objective, a printed float cannot say the value to RESIDUAL. Between
    the neighbours of that float the rate of w1 is linear in the value: its root is where the point rests.
    """

    def truth(value: Any) -> Truth:
        return Truth.of(call, **{call.options["parameter"]: value})

    def rate(value: Any) -> Any:
        now, (w1, w2, th) = truth(value), at
        return w2 * (th * now.ld - w2 * w1 * now.ls) / now.to - now.eta * w1

    value = mp.mpf(point["value"])
    low, high = value - math.ulp(point["value"]), value + math.ulp(point["value"])
    first, last = rate(low), rate(high)
    if first * last > 0:
        return mp.mpf(1)
    return truth(low - first * (high - low) / (last - first) if last != first else value).residual(*at)


def _bifurcated(call: Call, report: dict[str, Any]) -> Iterator[str]:
    parameter = call.options["parameter"]
    kinds = Counter(point["type"] for point in report["points"])
    for point in report["points"]:
        truth = Truth.of(call, **{parameter: point["value"]})
        at = [mp.mpf(point[name]) for name in ("online", "predictor", "target")]
        if truth.residual(*at) > RESIDUAL and (residual := _least_residual(call, point, at)) > RESIDUAL:
            yield f"{point['type']} at {point['value']!r} does not rest: {mp.nstr(residual, 3)}"
        if not truth.eta and parameter != "weight-decay" and (off := truth.off_leaf(*at[:2])) > RESIDUAL:
            yield f"{point['type']} at {point['value']!r} is off its leaf by {mp.nstr(off, 3)}"
    first, last = (Truth.of(call, **{parameter: call.options[end]}) for end in ("from", "to"))
    decays = parameter == "weight-decay" or first.eta > 0
    if min(first.ls, last.ls) <= 0:
        return
    if decays and first.fold * last.fold < 0 and not kinds["saddle-node"]:
        yield "no saddle-node, though p± vanish on the way"
    if not decays and first.c < 0 and last.c < 0 and first.fork * last.fork < 0 and not kinds["branch-point"]:
        yield "no pitchfork, though learned points vanish on the way"


_JUDGES = {
    "simulate": _simulated,
    "basins": _mapped,
    "fixed-points": _rested,
    "bifurcation": _bifurcated,
}


# --- campaign -----------------------------------------------------------------------------------------------


@dataclass
class Campaign:
    """What came of many calls.

    Parameters
    ----------
    codes
        Number of calls by command and exit code.
    undecided
        Calls of exit code 3 that ended with a status, by command and status.
    violations
        Calls that are wrong, with what is wrong.
    slowest
        Seconds and call, by command.
    """

    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    undecided: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[tuple[Call, str]] = field(default_factory=list)
    slowest: dict[str, tuple[float, Call]] = field(default_factory=dict)


def campaign(n: int, seed: int = 0, first: int = 0, commands: Sequence[str] = COMMANDS) -> Campaign:
    """Draw, run and judge n calls, the commands in turn; call k depends on the seed and on k alone."""
    found = Campaign()
    for k in range(first, first + n):
        call = draw(random.Random(1_000_003 * seed + k), commands[k % len(commands)])
        outcome = run(call)
        found.codes[call.command, outcome.code] += 1
        if outcome.code == 3 and outcome.out:
            found.undecided[call.command, json.loads(outcome.out)["status"]] += 1
        found.violations += [(call, text) for text in judge(call, outcome)]
        if outcome.seconds > found.slowest.get(call.command, (0.0, call))[0]:
            found.slowest[call.command] = outcome.seconds, call
    return found


def table(found: Campaign) -> str:
    """Exit codes by command as a table in Markdown."""
    lines = [
        "| command | exit 0 | exit 2 | exit 3 | of these | violations | slowest (s) |",
        "| --- " * 7 + "|",
    ]
    for command, (seconds, _) in found.slowest.items():
        codes = [str(found.codes[command, code]) for code in (0, 2, 3)]
        of = ", ".join(f"{n} {word}" for (name, word), n in found.undecided.items() if name == command)
        wrong = len({id(call) for call, _ in found.violations if call.command == command})
        lines.append("| " + " | ".join((command, *codes, of or "–", str(wrong), f"{seconds:.1f}")) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and every violation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--n", type=lambda text: int(float(text)), default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for command in ("simulate", "basins"):  # compile first, so that no call is charged with it
        run(Call(command, {"lambda-s": 1.0, "lambda-d": 0.5}))
    found = campaign(chosen.n, chosen.seed, chosen.first, chosen.commands)
    print(table(found))
    for seconds, call in found.slowest.values():
        if seconds > LONGEST:
            print(f"{seconds:.1f} s: {call}")
    for call, text in found.violations:
        print(f"{text}\n    {call}")


if __name__ == "__main__":
    main()
