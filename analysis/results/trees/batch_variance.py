"""Results on the deviation in batch normalisation: R218–R222."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from analysis.fates.predictions import predict_fates
from analysis.normalisation.spectrum import field_jacobian
from analysis.normalisation.stability import (
    NormalisedBlock,
    NormalisedCondition,
    normalised_blocks,
    normalised_point,
    rayleigh_rates,
    stability_conditions,
)
from analysis.results.registry import AsPrinted, Measurement, Result
from analysis.results.trees.batch_mean import centred_system, with_mean
from analysis.results.trials import EPS, followed, random_rates, refuted, symbols, worst
from dynamics.exact.detached_deviation import DetachedEnd, detached_end, detached_solution
from dynamics.fields.batch_normalised import batch_normalised_field, rayleigh_field
from dynamics.fields.vector_field import VectorField
from dynamics.normalisation import Normaliser, centred_moments, normalise
from dynamics.states import EncoderState, MatrixState, ModeState
from dynamics.system import MatrixSystem, ModeSystem

FieldOf = Callable[..., VectorField]


def _random_state(rng: np.random.Generator, system: MatrixSystem, n2: int) -> MatrixState:
    shapes = ((n2, system.n1), (n2, n2), (n2, system.n1))
    return system.state(*(rng.standard_normal(shape) for shape in shapes))


def _velocity_size(state: MatrixState, system: MatrixSystem) -> float:
    """Bound on the terms of dW/dt and dP/dt with normalised rows, of norm ‖w_i‖/σ_i each."""
    values = np.linalg.eigvalsh(system.sigma_s)
    rows, least = len(state.online), float(np.min(np.linalg.norm(state.online, axis=1)))
    P, unit = np.linalg.norm(state.predictor), np.sqrt(rows / values[0])
    return float((1 + P) ** 2 * unit * values[-1] * (1 + unit + unit * np.sqrt(values[-1]) / least))


# --- R218 ---------------------------------------------------------------------------------------------------


def conserved_norms(
    rng: np.random.Generator,
    *,
    normaliser: tuple[str, str] = ("", "full"),
    field_of: FieldOf = batch_normalised_field,
) -> Measurement:
    """R218: ⟨w_i, g_i⟩ of a batch with ε, the growth of a step, and the velocity along rows of a population."""
    n, n1, n2 = int(rng.integers(2, 9)), 4, 3
    epsilon = float(rng.choice([0.0, rng.uniform(0.01, 1.0)]))
    mean = normaliser[0] or str(rng.choice(["none", "full"]))
    used = Normaliser(mean=mean, std=normaliser[1], epsilon=epsilon)
    x, W = rng.standard_normal((n, n1)) + rng.uniform(-1, 1, n1), rng.standard_normal((n2, n1))
    z, slopes = x @ W.T, rng.standard_normal((n, n2))
    y, pullback = normalise(z, used)
    g = pullback(slopes).T @ x / n
    variance = z.var(axis=0)
    said = epsilon / (variance + epsilon) * np.mean(y * slopes, axis=0)
    # sums of n products of outputs over their deviation, and of as many entries of a row
    spread = np.sqrt(np.mean(z**2, axis=0) / (variance + epsilon)) + np.mean(z**2, axis=0) / (
        variance + epsilon
    )
    products = np.linalg.norm(x) * np.linalg.norm(W, axis=1) / np.sqrt(variance + epsilon)
    tolerance = 4 * EPS * np.linalg.norm(slopes) * (1 + spread) * (1 + products)
    parts: list[tuple[Any, Any]] = [(np.abs(np.sum(W * g, axis=1) - said), tolerance)]
    rate = rng.uniform(0.01, 0.5)
    grown = np.sum((W - rate * g) ** 2, axis=1) - np.sum(W**2, axis=1)
    wanted = rate**2 * np.sum(g**2, axis=1) - 2 * rate * said
    sizes = np.sum(W**2, axis=1) + rate**2 * np.sum(g**2, axis=1)
    parts.append((np.abs(grown - wanted), 2 * rate * tolerance + 4 * n1 * EPS * sizes))
    middle, mu = centred_system(rng, n1, **random_rates(rng)), rng.uniform(-1, 1, n1)
    system = with_mean(middle, mu)
    state = _random_state(rng, system, n2)
    moved = field_of(Normaliser(mean=mean, std=normaliser[1]), mu)(0.0, state, system).online
    lengths = np.linalg.norm(state.online)
    size = EPS * n1 * _velocity_size(state, system) * lengths / float(system.tau_online)
    parts.append((np.abs(np.sum(state.online * moved, axis=1)), size))
    return worst(*parts)


def prove_conserved_norms() -> bool:
    """R218: outputs of a row do not change with its length, so its gradient is at right angles to it; three samples."""
    import sympy as sp

    w, x, t = sp.symbols("w0:2", real=True), sp.symbols("x0:6", real=True), sp.symbols("t0:3", real=True)
    z = [w[0] * x[2 * k] + w[1] * x[2 * k + 1] for k in range(3)]
    mean = sum(z) / 3
    deviation = sp.sqrt(sum((one - mean) ** 2 for one in z) / 3)
    loss = sum(((one - mean) / deviation - aim) ** 2 for one, aim in zip(z, t, strict=True))
    return bool(sp.simplify(sum(one * sp.diff(loss, one) for one in w)) == 0)


# --- R219 ---------------------------------------------------------------------------------------------------


def rayleigh_flow(
    rng: np.random.Generator,
    *,
    field: VectorField = rayleigh_field,
    rates: Callable[[float, MatrixSystem], np.ndarray] = rayleigh_rates,
) -> Measurement:
    """R219: the velocity against ½∇R by the complex step, against that of BYOL at P = I, and rates at the top mode."""
    n1, n2 = 4, 2
    middle, mu = centred_system(rng, n1, **random_rates(rng)), rng.uniform(-1, 1, n1)
    W = rng.standard_normal((n2, n1))
    moved, to = field(0.0, EncoderState(W), middle).online, float(middle.tau_online)
    step, slope = 1e-200, np.empty_like(W)
    for i, j in np.ndindex(W.shape):
        w = W[i].astype(complex)
        w[j] += step * 1j
        slope[i, j] = np.imag((w @ middle.sigma_d @ w) / (w @ middle.sigma_s @ w)) / step / 2
    system = with_mean(middle, mu)
    parts: list[tuple[Any, Any]] = []
    state = system.state(W, np.eye(n2), W)
    size = EPS * n1 * _velocity_size(state, system) / to
    parts.append((np.abs(moved - slope / to), size))
    for mean in ("none", "full"):
        of_byol = batch_normalised_field(Normaliser(mean=mean, std="full"), mu)(0.0, state, system).online
        parts.append((np.abs(moved - of_byol), size))
    # nobody is left but the top mode: a Jacobian by the complex step, whose entries are some of these
    s, r, norm = rng.uniform(0.5, 2.0, n1), rng.uniform(0.1, 0.9, n1), rng.uniform(0.3, 2.0)
    diagonal = MatrixSystem(s, r * s, tau_online=to)
    top = np.zeros((1, n1))
    top[0, int(np.argmax(r))] = norm
    jacobian = field_jacobian(EncoderState(top), diagonal, field)
    largest = float(np.max(s) / np.min(s)) / norm**2 / to
    parts.append((np.abs(jacobian + np.diag(rates(norm, diagonal))), 8 * EPS * largest))
    return worst(*parts)


def prove_rayleigh_flow() -> bool:
    """R219 in two dimensions: the field is ½∇R."""
    from types import SimpleNamespace

    import sympy as sp

    S, D = ((X + X.T) / 2 for X in (symbols("s", 2, 2), symbols("d", 2, 2)))
    W = symbols("w", 1, 2)
    system: Any = SimpleNamespace(sigma_s=S, sigma_d=D, tau_online=1)
    quotient = (W @ D @ W.T)[0, 0] / (W @ S @ W.T)[0, 0]
    moved = rayleigh_field(0, EncoderState(W), system).online[0]
    return all(sp.simplify(one - sp.diff(quotient, w) / 2) == 0 for one, w in zip(moved, W[0], strict=True))


# --- R220 ---------------------------------------------------------------------------------------------------


def _assembled(
    selection: list[int], norms: np.ndarray, system: MatrixSystem, blocks: list[NormalisedBlock]
) -> np.ndarray:
    """The Jacobian that consists of the blocks alone: those of other modes are in units of w_ij √λs_j/σ_i."""
    n1, n2 = system.n1, len(selection)
    at_W = np.arange(n2 * n1).reshape(n2, n1)
    at_P, at_Th = n2 * n1 + np.arange(n2 * n2).reshape(n2, n2), n2 * n1 + n2 * n2 + at_W
    found = np.zeros((n2 * (2 * n1 + n2),) * 2)
    for i, j, held_by, matrix in blocks:
        unit = norms[i] * np.sqrt(system.sigma_s[selection[i]] / system.sigma_s[j])
        if held_by is None:
            where, scale = [at_W[i, j], at_Th[i, j]], np.array([unit, unit])
        elif held_by == i:
            where, scale = [at_W[i, j], at_Th[i, j], at_P[i, i]], np.ones(3)
        else:
            where, scale = [at_W[i, j], at_P[i, held_by], at_Th[i, j]], np.array([unit, 1.0, unit])
        found[np.ix_(where, where)] = scale[:, None] * matrix / scale
    return found


def normalised_spectrum(
    rng: np.random.Generator,
    *,
    blocks: Callable[..., list[NormalisedBlock]] = normalised_blocks,
    conditions: Callable[..., list[NormalisedCondition]] = stability_conditions,
    field_of: FieldOf = batch_normalised_field,
) -> Measurement:
    """R220: the blocks against the whole Jacobian by the complex step, and the conditions against its eigenvalues."""
    n1, n2 = int(rng.integers(3, 5)), int(rng.choice([1, 2], p=[0.2, 0.8]))
    s, r = rng.uniform(0.5, 2.0, n1), np.linspace(0.9, 0.2, n1) + rng.uniform(-0.05, 0.05, n1)
    system = MatrixSystem(s, r * s, **random_rates(rng))
    kind = int(
        rng.choice(3, p=[0.2, 0.4, 0.4])
    )  # top modes, any modes, top modes the other way round with short rows
    selection = rng.permutation(n1)[:n2] if kind == 1 else np.arange(n2)[:: 1 if kind == 0 else -1]
    modes, norms = selection.tolist(), rng.uniform(0.15, 0.4, n2) if kind == 2 else rng.uniform(0.5, 1.5, n2)
    point = normalised_point(modes, norms, system)
    jacobian = field_jacobian(point, system, field_of(Normaliser(std="full")))
    said = blocks(modes, norms, system)
    # products of a few factors; what they are divided by, squares of norms and times, is rounded as often
    error = np.max(np.abs(jacobian - _assembled(modes, norms, system, said)))
    parts: list[tuple[Any, Any]] = [(error, 16 * EPS * np.max(np.abs(jacobian)))]
    growth = float(np.max(np.linalg.eigvals(jacobian).real))
    margins = [condition.margin for condition in conditions(modes, norms, system)]
    stable = min(margins, default=1.0) > 0
    near = min(np.abs(margins), default=1.0) < 1e-3  # a root of rounding is not told from zero
    parts.append(refuted(unless=near or stable == (growth < 1e-6)))
    return worst(*parts)


def prove_normalised_spectrum() -> bool:
    """R220: both blocks lose stability where their margins say; the selected one has a zero for mixtures of rows."""
    import sympy as sp

    k, r, q, tp, tt, x = sp.symbols("kappa r_i r_j tau_p tau_t x")
    free = sp.Matrix([[-k * r**2, k * r * q], [1 / tt, -1 / tt]])
    held = sp.Matrix([[-k * r**2, -k * r, k * r * q], [-r / tp, -1 / tp, q / tp], [1 / tt, 0, -1 / tt]])
    polynomial = sp.expand((x * sp.eye(3) - held).det())
    margin = 1 / tp + k * r * (r - q)
    checks = [
        free.det() - k * r * (r - q) / tt,
        free.trace() + k * r**2 + 1 / tt,
        polynomial.coeff(x, 0),
        polynomial.coeff(x, 1) - margin / tt,
        polynomial.coeff(x, 2) - (1 / tt + 1 / tp + k * r**2),
    ]
    return all(sp.simplify(one) == 0 for one in checks)


# --- R221 ---------------------------------------------------------------------------------------------------


def detached_deviation(
    rng: np.random.Generator,
    *,
    field_of: FieldOf = batch_normalised_field,
    end: Callable[[ModeState, ModeSystem], DetachedEnd] = detached_end,
    solution: Callable[..., ModeState] = detached_solution,
    std: str = "detached",
) -> Measurement:
    """R221: the balance of rows, one mode against its integration, its end, and fates against R6."""
    n1, n2 = 4, 3
    middle, mu = centred_system(rng, n1, **random_rates(rng)), rng.uniform(-1, 1, n1)
    system = with_mean(middle, mu)
    state = _random_state(rng, system, n2)
    moved = field_of(Normaliser(mean=str(rng.choice(["none", "full"])), std=std), mu)(0.0, state, system)
    change = system.tau_online * np.sum(state.online * moved.online, axis=1)
    change -= system.tau_predictor * np.sum(state.predictor * moved.predictor, axis=0)
    size = EPS * n1 * _velocity_size(state, system) * (1 + np.linalg.norm(state.online))
    parts: list[tuple[Any, Any]] = [(np.abs(change), size)]
    rates = random_rates(rng)
    s, r = rng.uniform(0.5, 2.0), rng.uniform(0.1, 0.9)
    w, p = rng.uniform(0.05, 0.6), rng.uniform(-0.8, 0.8)
    modes, one = ModeSystem([s], [r * s], **rates), MatrixSystem([s], [r * s], **rates)
    start = modes.state(w, p, w)
    said = end(start, modes)
    death = float(said.time[0])
    flow = field_of(Normaliser(std=std))
    ts = np.linspace(0.0, min(0.9 * death, 4.0), 5)
    run, error = followed(one.state([[w]], [[p]], [[w]]), one, flow, ts=ts)
    exact = solution(ts, start, modes)
    for name in ("online", "predictor"):
        off = np.abs(getattr(run.states, name)[:, 0] - getattr(exact, name))
        parts.append((off, 2 * error))  # the finer run errs, too, and the more the nearer to death
    collapsed = predict_fates(start, modes, "full", decide_sign=True).fate[0] == "collapsed"
    parts.append(refuted(unless=collapsed == (said.online[0] == 0) == np.isfinite(death)))
    if np.isfinite(death):  # w² falls to nothing exactly then, the predictor to p*
        left = solution(death * (1 - 1e-9), start, modes).online[0] ** 2
        speed = 2 * (abs(p) + r) ** 2 / rates["tau_online"]
        parts.append((left, 2e-9 * death * speed))
    else:
        rest = solution(60 * rates["tau_predictor"], start, modes).online[0]
        square = (abs(p) + r) ** 2 * (1 + rates["tau_predictor"] / rates["tau_online"])
        parts.append((abs(rest**2 - said.online[0] ** 2), 16 * EPS * square))
    return worst(*parts)


def prove_detached_deviation() -> bool:
    """R221, one mode: p = r + (p0 − r)e^{−t/τp} and τo w² = c + τp p² solve the flow."""
    import sympy as sp

    t, to, tp, r, p0, c, s = sp.symbols("t tau_o tau_p r p0 c lambda_s", positive=True)
    p = r + (p0 - r) * sp.exp(-t / tp)
    w = sp.sqrt((c + tp * p**2) / to)
    deviation = w * sp.sqrt(s)
    error = r * s * w / deviation - p * s * w / deviation  # θ̂ λd − p ŵ λs, θ̂ = ŵ
    checks = [sp.diff(w, t) - p * error / (deviation * to), sp.diff(p, t) - error * (w / deviation) / tp]
    return all(sp.simplify(one) == 0 for one in checks)


# --- R222 ---------------------------------------------------------------------------------------------------


def linear_ablation(rng: np.random.Generator, *, field_of: FieldOf = batch_normalised_field) -> Measurement:
    """R222: where the network rests for every mean and deviation, which rows keep their length, what never rests."""
    n1, n2 = 4, 2
    middle, mu = centred_system(rng, n1, **random_rates(rng)), rng.uniform(0.5, 1.0, n1)
    system = with_mean(middle, mu)
    parts: list[tuple[Any, Any]] = []
    state = _random_state(rng, system, n2)
    for mean, std in product(("none", "full"), ("none", "full", "detached")):
        # the mean decides the modes, whatever the deviation does
        seen = centred_moments(system, mu) if mean == "full" else system
        point = normalised_point(rng.permutation(n1)[:n2].tolist(), rng.uniform(0.5, 1.5, n2), seen)
        field = field_of(Normaliser(mean=mean, std=std), mu)
        size = _velocity_size(point, system) * (1 + np.linalg.norm(point.online)) ** 2 / min(rates_of(system))
        rounding = 4 * 9 * n1 * EPS * size  # eigenvectors err by the condition of S
        parts += [(np.abs(part), rounding) for part in field(0.0, point, system)]
        # a detached mean with a centred target is the full one
        if mean == "full":
            other = field_of(Normaliser(mean="forward", std=std), mu, target_centred=True)(0.0, state, system)
            velocity = field(0.0, state, system)
            bound = EPS * n1 * _velocity_size(state, system) / min(rates_of(system))
            parts += [(np.abs(a - b), bound) for a, b in zip(other, velocity, strict=True)]
            raw = field_of(Normaliser(mean="forward", std=std), mu)(0.0, point, system)
            across = np.abs(point.online @ mu) > 1e-3
            parts.append(refuted(unless=not across.any() or np.max(np.abs(raw.online)) > 1e-9))
        if std == "full":
            # the deviation forbids death alone: lengths stay
            along = np.sum(state.online * field(0.0, state, system).online, axis=1)
            lengths = np.linalg.norm(state.online) / float(system.tau_online)
            parts.append((np.abs(along), EPS * n1 * _velocity_size(state, system) * lengths))
    return worst(*parts)


def rates_of(system: MatrixSystem) -> tuple[float, ...]:
    """τo, τp and τt of a system."""
    return float(system.tau_online), float(system.tau_predictor), float(system.tau_target)


RESULTS: tuple[Result, ...] = (
    Result(
        id="R218",
        title="conserved norms",
        statement=(
            "With the deviation in the graph of gradients ⟨w_i, g_i⟩ = (ε/(σ_i² + ε))⟨y_i, ∂L/∂y_i⟩ for every batch: at"
            " ε = 0 the flow conserves ‖w_i‖, a step of size ε' adds ε'²‖g_i‖², and weight decay gives e^{−2ηt}. So"
            " complete collapse is impossible; the balance law R2 is gone."
        ),
        source="new",
        hypotheses=(
            "The mean is not subtracted, or with gradients through it; a detached one needs ∂L/∂y that sums to 0, as"
            " with a centred target."
        ),
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.batch_normalised.batch_normalised_field",
        trial=conserved_norms,
        proof=prove_conserved_norms,
    ),
    Result(
        id="R219",
        title="neither predictor nor average: Rayleigh flow",
        statement=(
            "dw_i/dt = ½∇R(w_i)/τo, R(w) = w D wᵀ/w S wᵀ, with or without subtraction of the mean. Every row turns to"
            " the top mode of D S⁻¹, at (r_1 − r_j)λs_j/(λs_1‖w‖²τo): no complete collapse, total dimensional"
            " collapse."
        ),
        source="new",
        hypotheses="P = I, Θ = W, deviation in the graph, large batches; off the other modes, which are saddles.",
        as_printed=AsPrinted.NEW,
        code="dynamics.fields.batch_normalised.rayleigh_field",
        trial=rayleigh_flow,
        proof=prove_rayleigh_flow,
    ),
    Result(
        id="R220",
        title="spectrum with batch normalisation",
        statement=(
            "At rows on distinct modes, P = diag r_k(i), Θ = W, κ = λs_j/(λs_k(i)‖w_i‖²τo): own mode 0, −1/τt, −1/τp;"
            " an unselected mode [[−κr_i², κr_ir_j], [1/τt, −1/τt]], stable iff r_j < r_i, whatever the amplitudes; a"
            " selected one stable iff 1/τp + κr_i(r_i − r_j) > 0: short rows leave for larger modes of other rows."
        ),
        source="new; DD F.1",
        hypotheses="Commuting moments, η = 0, deviation in the graph; across the n2² directions of fixed points.",
        as_printed=AsPrinted.NEW,
        code="analysis.normalisation.stability.normalised_blocks",
        trial=normalised_spectrum,
        proof=prove_normalised_spectrum,
    ),
    Result(
        id="R221",
        title="detached deviation",
        statement=(
            "τo‖w_i‖² − τp‖P_:i‖² is conserved for each i. One mode: p = r + (p0 − r)e^{−t/τp}, τo w² = c + τp p²; the"
            " collapse set and the learned amplitude are those of R6, but death comes in finite time"
            " t = τp ln((r − p0)/(r − p*)), p* = sign(p0)√(−c/τp)."
        ),
        source="new",
        hypotheses="η = 0; encoder and predictor learn from the same moments; w and θ of one sign for the mode.",
        as_printed=AsPrinted.NEW,
        code="dynamics.exact.detached_deviation.detached_end",
        trial=detached_deviation,
        proof=prove_detached_deviation,
    ),
    Result(
        id="R222",
        title="Table 4 of linear networks",
        statement=(
            "For every deviation the network rests on modes of D S⁻¹ with the mean subtracted, and of Σd Σs⁻¹ without:"
            " the mean decides the subspace. A deviation in the graph keeps the length of rows, and so forbids death"
            " alone. A detached mean with a centred target is the full one; with a raw target no point that feels the"
            " mean is at rest."
        ),
        source="DD Table 4, Table 3",
        hypotheses="Linear networks with a predictor, large batches.",
        as_printed=AsPrinted.REFINED,
        code="dynamics.normalisation.learning_moments",
        correction="E29: a detached mean is bad for raw targets only; the order of σ and μ alone is not explained.",
        trial=linear_ablation,
    ),
)
"""R218 to R222."""
