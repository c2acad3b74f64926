"""C6: weight decay collapses each mode at its own η*."""

from __future__ import annotations

import numpy as np

from analysis.experiments.experiment import Curve, Effort, Experiment, Measurement, Outcome, Panel, compare
from analysis.experiments.flow_limit import exact_settings
from analysis.experiments.runs import clocked, mean_of, noisy_digit_modes
from dynamics.data.moments import Moments
from dynamics.exact.fixed_points import saddle_node, weight_decay_fixed_points
from dynamics.modes import expand_modes
from dynamics.states import MatrixState, ModeState
from dynamics.system import ModeSystem
from dynamics.training import DataSettings, EncoderSettings, TrainingSettings, load_data, train

ACCURACY = 0.02
"""What the threshold must be met to, relative to η*."""
TAU_TARGET = 1.0


def bottleneck_shift(system: ModeSystem, t_end: float) -> np.ndarray:
    """How far above η* a start above p* has not yet collapsed at a time, for balanced modes.

    Near p* = λd/(2λs) a balanced mode obeys κ dp/dt = −p [λs (p − p*)² + η − η*] with κ = 1 + τt λd p*, the lag of
    the target, so it stays for κπ/(p* √(λs (η − η*))): η − η* = (κπ/(p* t))²/λs.
    """
    p = system.ratio / 2
    lag = 1 + system.tau_target * system.lambda_d * p
    return (lag * np.pi / (p * t_end)) ** 2 / system.lambda_s


def _swept(system: ModeSystem, points: int, width: float) -> np.ndarray:
    """Weight decays (n_modes, points) around the threshold of each mode, which is not in the middle of them."""
    return saddle_node(system)[:, None] * (1 + width * np.linspace(-1, 0.9, points))


def _amplitudes(
    settings: TrainingSettings, system: ModeSystem, decays: np.ndarray, dt: float, n_steps: int, seed: int
) -> np.ndarray:
    """Amplitude |w1| of every mode at the end of every run, (n_runs, n_modes), from starts at w1 = w2 = θ = r."""
    settings = clocked(settings, dt, n_steps, tau_target=TAU_TARGET, weight_decay=decays)
    r = system.ratio
    start = expand_modes(ModeState(r, r, r), np.eye(system.n_modes))
    run = train(
        settings,
        [seed * len(decays) + k for k in range(len(decays))],
        initial=MatrixState(*start),
        data=load_data(settings.data, n_evaluation=2),
    )
    return np.abs(np.einsum("kii->ki", run.final.online))


def threshold(decays: np.ndarray, alive: np.ndarray) -> float:
    """Weight decay between the last of increasing ones at which a mode is alive and the first at which it is not."""
    if alive.all() or not alive.any():
        return float("nan")
    first = int(np.argmin(alive))
    return float((decays[first - 1] + decays[first]) / 2) if first else float("nan")


def _curves(system: ModeSystem, decays: np.ndarray, amplitudes: np.ndarray, panel: str) -> list[Curve]:
    curves = []
    axes = Panel(panel, "η/η*", "|w1| at the end")
    for mode in range(system.n_modes):
        star = float(saddle_node(system)[mode])
        x = np.linspace(decays[mode, 0] / star, 1.0, 100)
        same = [np.full(len(x), eigenvalues[mode]) for eigenvalues in (system.lambda_s, system.lambda_d)]
        points = weight_decay_fixed_points(ModeSystem(*same, weight_decay=star * x))
        upper = points.points.online[points.names.index("upper")]
        label = f"λd = {system.lambda_d[mode]:.2f}"
        curves.append(axes.theory(f"p+, {label}", x, upper))
        curves.append(axes.training(label, decays[mode] / star, amplitudes[mode]))
    return curves


def saddle_node_level(system: ModeSystem) -> np.ndarray:
    """Amplitude |w1| of each mode at its saddle-node, p* √(τp/τo)."""
    return system.ratio / 2 * np.sqrt(system.tau_predictor / system.tau_online)


def exact_thresholds(points: int, t_end: float, seed: int) -> tuple[list[Measurement], list[Curve]]:
    """Sweep weight decay across the η* of four modes of digits, on exact moments."""
    width, dt = 0.04, 0.1
    basis = noisy_digit_modes(4)
    unit = basis.lambda_s[0]  # in units of its own time, the top mode has λs = 1
    system = ModeSystem(basis.lambda_s / unit, basis.lambda_d / unit)
    decays = _swept(system, points, width)
    settings = exact_settings(Moments.from_eigenvalues(system.lambda_s, system.lambda_d), 4)
    ends = _amplitudes(settings, system, decays.ravel(), dt, round(t_end / dt), seed)
    found = ends.reshape(4, points, 4)[np.arange(4), :, np.arange(4)]
    alive = found > saddle_node_level(system)[:, None] / 2
    stars, shifts = saddle_node(system), bottleneck_shift(system, t_end)
    spacing = (decays[:, 1] - decays[:, 0]) / 2
    note = "half the spacing of η, and the bottleneck at η* that t_end cannot see; a step keeps fixed points"
    measurements = [
        compare(
            f"threshold over η*, mode {mode + 1} of digits",
            1.0,
            threshold(decays[mode], alive[mode]) / star,
            min((spacing[mode] + shifts[mode]) / star, ACCURACY),
            note,
        )
        for mode, star in enumerate(stars)
    ]
    return measurements, _curves(system, decays, found, "exact moments of digits")


def noisy_threshold(seed: int) -> tuple[Measurement, list[Curve]]:
    """Sweep weight decay across the η* of one mode, in batches of Gaussian samples."""
    points, width, n_seeds, t_end, dt = 16, 0.06, 4, 1000.0, 0.05
    system = ModeSystem(1.0, 0.5)
    decays = _swept(system, points, width)
    data = DataSettings(source="gaussian", sigma_s=system.lambda_s, sigma_d=system.lambda_d)
    settings = TrainingSettings(data=data, batch=256, encoder=EncoderSettings(features=1))
    swept = np.tile(decays[0], n_seeds)
    found = _amplitudes(settings, system, swept, dt, round(t_end / dt), seed).reshape(n_seeds, points)
    alive = found > saddle_node_level(system) / 2
    star = float(saddle_node(system)[0])
    measured = mean_of(np.array([threshold(decays[0], row) for row in alive]) / star)
    note = f"as asked; {n_seeds} seeds give a standard error of {measured.error:.2g}, batches of 256"
    measurement = compare("threshold over η*, Gaussian batches", 1.0, measured.value, ACCURACY, note)
    return measurement, _curves(system, decays, np.mean(found, axis=0)[None], "Gaussian batches")


def run(effort: Effort) -> Outcome:
    """Sweep weight decay across η* on exact moments and, in the full version, in batches."""
    points, t_end = (16, 1200.0) if effort.quick else (40, 3000.0)
    measurements, curves = exact_thresholds(points, t_end, effort.seed)
    effort.report(0.5)
    if not effort.quick:
        measurement, more = noisy_threshold(effort.seed)
        measurements.append(measurement)
        curves += more
    effort.report(1)
    return Outcome(tuple(measurements), tuple(curves))


EXPERIMENTS = (
    Experiment(
        "C6",
        "Weight decay across η*",
        "A balanced mode that starts above the saddle keeps w2 = p+ for η < η* = λd²/(4 τo λs) and collapses for"
        " η > η*, a saddle-node, whatever τt (R15).",
        run,
    ),
)
