"""Where modes rest under the cosine loss in high dimension, and under the IsoLoss (R311, R312, R315, R323)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from analysis.stability.directional import check_no_decay, directional_stability
from dynamics.states import ModeState
from dynamics.system import ModeSystem

_RANGES = ((None, 0.0), (0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, None))  # of q


def _check_moments(system: ModeSystem, objective: str) -> None:
    for name in ("lambda_s", "lambda_d"):
        values = getattr(system, name)
        if np.any(values <= 0):
            raise ValueError(
                f"`{name}` must be > 0 for points of rest under the objective {objective}, got {np.min(values):g}"
            )


def _entry(
    name: str,
    state: ModeState,
    system: ModeSystem,
    objective: str,
    variant: str,
    stability: str,
    exact: dict[str, str],
) -> dict[str, Any]:
    """A point with its stability by closed form, which rates far apart do not blur, and its dense spectrum."""
    found = directional_stability(state, system, objective, variant)
    return {
        "name": name,
        **state._asdict(),
        "eigenvalues": [[value.real, value.imag] for value in found.eigenvalues.tolist()],
        "stability": stability,
        "zero_directions": found.zero_directions,
        "exact": exact,
    }


def cosine_rest(system: ModeSystem, variant: str = "full", *, limit: int = 1000) -> dict[str, Any]:
    """Points of rest of modes under the cosine loss in high dimension, as `dyn fixed-points --json` lists them.

        p = r/κ and θ = w of learned modes, w = θ = 0 of the others:  any κ ≠ 0, any sizes, any p of collapsed modes

    Parameters
    ----------
    system
        Modes with λs, λd > 0 and without weight decay, with which no weights are at rest (R312).
    variant
        full or no-ema.
    limit
        Most sets of learned modes.

    Returns
    -------
    dict
        fixed_points: of each set of learned modes one point, at κ = 1, learned modes of one size that sum to 1 in
        square, and predictors of collapsed modes at 2r; lines: the stability for κ > 0 if all collapsed modes have one
        q = κ p/r: attracting if q < 0 or q > 1, and not if 0 < q < 1, be it that of a single mode.

    Raises
    ------
    ValueError
        Moments or weight decay out of range, or more sets than `limit`.

    Notes
    -----
    Σw² and Σp² are conserved (R311), so that some mode always lives. Source: R311, R312, R315.

    Examples
    --------
    >>> found = cosine_rest(ModeSystem([1.0, 1.0], [0.8, 0.4]))
    >>> [(point["name"], point["stability"]) for point in found["fixed_points"]]
    [('mode 1', 'stable'), ('mode 2', 'stable'), ('modes 1, 2', 'stable')]
    """
    check_no_decay(system, "cosine")
    _check_moments(system, "cosine")
    n = system.n_modes
    if 2**n - 1 > limit:
        raise ValueError(
            f"`lambda_s` must be given for fewer modes: at most {limit} sets of learned modes are listed, there are"
            f" {2**n - 1}"
        )
    points, lines = [], []
    exact = {"online": "any w; 0 where collapsed", "predictor": "r/κ; any p where collapsed", "target": "w"}
    for chosen in _sets(n):
        names = ", ".join(str(k + 1) for k in chosen)
        name = f"mode{'s' * (len(chosen) > 1)} {names}"
        w, p = np.zeros(n), 2 * system.ratio
        w[list(chosen)], p[list(chosen)] = 1 / np.sqrt(len(chosen)), system.ratio[list(chosen)]
        points.append(_entry(name, ModeState(w, p, w.copy()), system, "cosine", variant, "stable", exact))
        lines_of = _segments(variant, len(chosen)) if len(chosen) < n else [((None, None), "attracting")]
        segments = [{"range": list(part), "stability": word} for part, word in lines_of]
        lines.append({"name": name, "parameter": "q", "segments": segments, "exact": exact})
    return {"objective": "cosine", "variant": variant, "fixed_points": points, "lines": lines}


def _segments(variant: str, n_learned: int) -> list[tuple[tuple[float | None, float | None], str]]:
    """Stability by the q that all collapsed modes have; one learned mode alone, without an average, never moves."""
    grows = "repelling" if variant == "no-ema" and n_learned == 1 else "saddle"
    words = ("attracting", "degenerate", grows, "degenerate", "attracting")
    return list(zip(_RANGES, words, strict=True))


def _sets(n: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, n + 1):
        yield from combinations(range(n), size)


def iso_rest(system: ModeSystem, variant: str = "full", *, invariant: float | None = None) -> dict[str, Any]:
    """Points of rest of one mode under the IsoLoss, as `dyn fixed-points --json` lists them.

        w2 = r and θ = w1 ≠ 0 attract;  w1 = θ = 0 with any w2 attracts iff w2 > r

    Parameters
    ----------
    system
        One mode with λs, λd > 0, without weight decay.
    variant
        full or no-ema.
    invariant
        C of the leaf τo w1²/2 − τp w2 = C, which has isolated points.

    Returns
    -------
    dict
        lines, or with an invariant fixed_points.

    Raises
    ------
    ValueError
        A number out of range, or more than one mode.

    Notes
    -----
    No line of negative predictors attracts, as it does with the factor Pᵀ (R6). Source: R323.

    Examples
    --------
    >>> found = iso_rest(ModeSystem(1.0, 0.5), invariant=0.1)
    >>> [(point["name"], point["stability"]) for point in found["fixed_points"]]
    [('learned', 'stable'), ('learned-mirror', 'stable'), ('collapsed', 'saddle')]
    """
    check_no_decay(system, "iso")
    _check_moments(system, "iso")
    if system.n_modes != 1:
        raise ValueError(
            "`lambda_s` must be given once with the objective iso, whose modes do not see each other, got"
            f" {system.n_modes} modes"
        )
    r, to, tp = (float(np.ravel(x)[0]) for x in (system.ratio, system.tau_online, system.tau_predictor))
    points: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    if invariant is not None:
        if not np.isfinite(invariant):
            raise ValueError(f"`invariant` must be finite, got {invariant}")
        height = invariant + tp * r
        if height > 0:
            w = float(np.sqrt(2 * height / to))
            exact = {"online": "√(2 (C + τp r)/τo)", "predictor": "r", "target": "w1"}
            points.append(
                _scalars(_entry("learned", system.state(w, r, w), system, "iso", variant, "stable", exact))
            )
            mirror = {**exact, "online": "−√(2 (C + τp r)/τo)"}
            points.append(
                _scalars(
                    _entry(
                        "learned-mirror", system.state(-w, r, -w), system, "iso", variant, "stable", mirror
                    )
                )
            )
        exact = {"online": "0", "predictor": "−C/τp", "target": "0"}
        at = system.state(0.0, -invariant / tp, 0.0)
        # w2 = −C/τp beside r; without an average one direction is left, which grows or decays
        grows = "unstable" if variant == "no-ema" else "saddle"
        word = grows if height > 0 else "stable" if height < 0 else "degenerate"
        points.append(_scalars(_entry("collapsed", at, system, "iso", variant, word, exact)))
    else:
        parts: tuple[tuple[list[float | None], str], ...]
        parts = (([None, 0.0], "attracting"), ([0.0, 0.0], "degenerate"), ([0.0, None], "attracting"))
        exact = {"online": "a", "predictor": "r", "target": "a"}
        lines.append(_line("learned", "a", parts, exact))
        grows = "repelling" if variant == "no-ema" else "saddle"
        parts = (([None, r], grows), ([r, r], "degenerate"), ([r, None], "attracting"))
        lines.append(_line("collapsed", "p", parts, {"online": "0", "predictor": "p", "target": "0"}))
    return {"objective": "iso", "variant": variant, "fixed_points": points, "lines": lines}


def _scalars(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, **{name: float(entry[name][0]) for name in ModeState._fields}}


def _line(
    name: str, parameter: str, parts: tuple[tuple[list[float | None], str], ...], exact: dict[str, str]
) -> dict[str, Any]:
    segments = [{"range": where, "stability": word} for where, word in parts]
    return {"name": name, "parameter": parameter, "segments": segments, "exact": exact}
