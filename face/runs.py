"""Questions that a run answers: simulate, basins, align."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from face.result import Result
from face.starts import encoder_of, matrix_field, start_of
from face.systems import System, Words, full_only, made_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamics.integration.trajectory import Trajectory
    from dynamics.states import MatrixState
    from face.systems import Numbers


def simulate(
    system: System | None = None,
    *,
    online: Numbers | None = None,
    predictor: Numbers | None = None,
    target: Numbers | None = None,
    dim: int | None = None,
    init_online: float | None = None,
    init_predictor: float | None = None,
    state: MatrixState | None = None,
    seed: int = 0,
    t_end: float | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
    temperature: float | None = None,
    negatives: float | None = None,
    margin: float | None = None,
    **words: Unpack[Words],
) -> Result:
    """Run the flow from one start, and compare its end with what theory predicts.

    Parameters
    ----------
    system, **words
        From `dyn.system`, or its words. Eigenvalues run as modes, unless `dim` or `state` is given.
    online, predictor, target
        w1, w2 and θ of modes at the start, one number or one per mode (0.1).
    dim, init_online, init_predictor, seed
        Of the full network: n2 (8, at most n1), and a start W ~ init_online N(0, 1)/√n1 (0.3), P ~ init_predictor
        N(0, 1) (0.1).
    state
        Or its start, (W, P, Θ) as arrays.
    t_end, rtol, atol, max_steps
        How long (until at rest) and how exactly.
    temperature, negatives, margin
        Of infonce and triplet: τ > 0 (1); of infonce: 1 or infinitely many negatives (inf); of triplet: m >= 0 (0).

    Returns
    -------
    Result
        Of an `analysis.runs.simulation.ModeSimulation` or `MatrixSimulation`, or of contrastive objectives an
        `analysis.runs.encoders.EncoderSimulation`: `trajectory`, `fate`, `prediction` and
        so on. A run that failed says so in `trajectory.status`.

    Raises
    ------
    ValueError
        A value out of range, or one that does not go with the others.

    Examples
    --------
    >>> import dyn
    >>> dyn.simulate(lambda_s=1, lambda_d=0.5, predictor=-0.3)  # doctest: +ELLIPSIS
    full flow, steady at t = ...
    mode 1: r = 0.5, collapsed as predicted, (w1, w2, θ) = (0, -0.2828, 0)
    """
    from analysis.runs.simulation import simulate_matrices, simulate_modes
    from dynamics.fields.infonce import saturating_loss
    from dynamics.fields.redundancy import redundancy_loss

    made = made_of(system, words)
    options: dict[str, Any] = {"t_end": t_end, "rtol": rtol, "atol": atol, "max_steps": max_steps}
    loss = saturating_loss(made.objective, temperature, negatives, margin)
    if made.objective.encoder_flow:
        from analysis.runs.encoders import simulate_encoder
        from analysis.runs.infonce import simulate_saturating
        from analysis.runs.redundancy import simulate_redundancy

        for name, given in (("predictor", predictor), ("target", target), ("init_predictor", init_predictor)):
            if given is not None:
                raise ValueError(
                    f"`{name}` must not go with {made.objective.name}, which trains an encoder alone"
                )
        encoder = encoder_of(made, online, state, dim, init_online, seed)
        alone = made.moments_alone
        if (of_moments := redundancy_loss(made.objective)) is not None:
            found = simulate_redundancy(encoder, alone, of_moments, **options)
        elif loss is None:
            found = simulate_encoder(encoder, alone, **options)
        else:
            found = simulate_saturating(encoder, alone, loss, **options)
        return Result(found, support=made.moments.support)
    if made.of_modes and dim is None and state is None:
        for name, size in (("init_online", init_online), ("init_predictor", init_predictor)):
            if size is not None:
                raise ValueError(f"`{name}` must go with `dim`, moments or data, got eigenvalues alone")
        first = 0.1 if online is None else online
        second = predictor if predictor is not None else first if made.variant.name == "tied" else 0.1
        modes = made.modes
        start = modes.state(first, second, 0.1 if target is None else target)
        return Result(simulate_modes(start, modes, made.variant.mode_field, **options))
    for name, given in (("online", online), ("predictor", predictor), ("target", target)):
        if given is not None:
            raise ValueError(
                f"`{name}` must go with modes; the full network starts from `state` or at random"
            )
    full = made.matrices
    field = matrix_field(made)
    begin = start_of(made, state, dim, init_online, init_predictor, seed)
    return Result(simulate_matrices(begin, full, field, **options), support=made.moments.support)


def basins(
    system: System | None = None,
    *,
    plane: Sequence[str] = ("online", "predictor"),
    ranges: Sequence[tuple[float, float] | None] = (None, None),
    at: float = 0.3,
    grid: int | None = None,
    random: int | None = None,
    seed: int = 0,
    t_end: float = float("inf"),
    rtol: float = 1e-7,
    **words: Unpack[Words],
) -> Result:
    """Follow starts of a plane to their ends: which learn, which collapse, and what theory says.

    Parameters
    ----------
    system, **words
        One mode, from `dyn.system` or its words.
    plane, ranges, at
        Two of online, predictor and target that vary, the range of each, and the third coordinate.
    grid, random, seed
        Cells a side of a lattice of starts (200), or the number of random ones and their seed.
    t_end, rtol
        How long a start is followed at most, and how exactly.

    Returns
    -------
    Result
        Of an `analysis.fates.basins.BasinMap`: `fractions`, `fate`, `predicted` and so on.

    Raises
    ------
    ValueError
        An argument is out of range, or there are several modes; the message names which.

    Examples
    --------
    >>> import dyn
    >>> dyn.basins(lambda_s=1, lambda_d=0.5, grid=15)
    full flow, 225 lattice starts: 65.33% learned, 34.67% collapsed
    theory predicts 225 of them, 0 otherwise than they went
    """
    from analysis.fates.basins import basins as theory

    made = made_of(system, words)
    cells = 200 if grid is None and random is None else grid
    options: dict[str, Any] = {"grid": cells, "random": random, "seed": seed, "t_end": t_end, "rtol": rtol}
    return Result(theory(made.modes, made.variant.mode_field, plane=plane, ranges=ranges, at=at, **options))


def align(
    system: System | None = None,
    *,
    ema_ratio: float | None = None,
    dim: int | None = None,
    init_online: float | None = None,
    init_predictor: float | None = None,
    state: MatrixState | None = None,
    seed: int = 0,
    t_end: float | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    **words: Unpack[Words],
) -> Result:
    """Do predictor and features align along a run: ‖[F, P]‖ and its bound e^{−2 λ0 t} (R19).

    Parameters
    ----------
    system, **words
        From `dyn.system`, or its words.
    ema_ratio
        Keep the predictor symmetric and Θ = τ W at all times, by this τ >= 0.
    dim, init_online, init_predictor, state, seed, t_end, rtol, atol
        As for `dyn.simulate`.

    Returns
    -------
    Result
        Of an `analysis.runs.alignment.Alignment`: `commutator`, `bound`, `holds` and so on.

    Raises
    ------
    ValueError
        A value out of range, or a variant of modes alone.

    Examples
    --------
    >>> import dyn
    >>> dyn.align(lambda_s=[1.5] * 3, lambda_d=[1] * 3, ema_ratio=0.9, weight_decay=0.05, t_end=5, dim=2).holds
    True
    """
    from math import inf

    from analysis.runs.alignment import align as theory
    from dynamics.fields.matrices import aligned_field
    from dynamics.integration.integrate import integrate

    made = made_of(system, words)
    field = matrix_field(made)
    if ema_ratio is not None:
        if not 0 <= ema_ratio < inf:
            raise ValueError(f"`ema_ratio` must be finite and >= 0, got {ema_ratio}")
        full_only(made, "a run with `ema_ratio`")
        field = aligned_field(lambda t: ema_ratio)
    start = start_of(made, state, dim, init_online, init_predictor, seed)
    run: Trajectory = integrate(start, made.matrices, field, t_end, rtol=rtol, atol=atol, dense=True)
    return Result(theory(run.resampled(401), made.matrices, field, rtol=rtol))
