"""What the features of a network tell of collapse: ranks, directions, a verdict, and its causes.

Theory speaks of the last linear layer while what lies below stands still, and of squared error. Features are taken
less their mean: a bias learns the mean by itself, and the ratios of the rest are those of the deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fates.fate import Fate
from analysis.runs.causes import Cause, find_causes
from analysis.runs.directions import Directions, layer_directions, restless, spread_directions
from analysis.runs.finite_steps import target_stands_apart
from analysis.runs.run_settings import RunSettings
from dynamics.data.dumps import Dump, moments_of_views
from dynamics.data.moments import Moments
from dynamics.files import Variable
from dynamics.invariants import balance_matrix
from dynamics.system import MatrixSystem

HEALTHY, PARTLY, COLLAPSED = "healthy", "partly-collapsed", "collapsed"
COLLAPSING, CANNOT_TELL = "collapsing", "cannot-tell"
VERDICTS = (HEALTHY, PARTLY, COLLAPSED, COLLAPSING, CANNOT_TELL)

POINT = 0.03
"""Features that deviate from their mean by less than this share of their length are one point."""
NEARLY_POINT = 0.1
"""Below this share they may be collapsing, or have a large mean: a dump without weights does not tell."""
MOST_PAIRED = 4096
"""Samples whose pairs the uniformity is taken over."""


@dataclass(frozen=True, eq=False)
class FeatureDiagnosis:
    """What became of a network, and why.

    Parameters
    ----------
    verdict
        One of `VERDICTS`.
    reason
        The verdict in one sentence.
    rank, effective_rank, rankme
        Of the features less their mean: the number of directions that have not collapsed, the exponential of the
        entropy of their variances, and that of their deviations.
    deviations
        Standard deviation of the features along their principal axes, descending, shape (n,).
    std
        Standard deviation of each feature, shape (n,).
    spread
        Root mean square of the deviation of features from their mean over that of their length, in [0, 1].
    alignment, uniformity
        Of the features, less their mean.
    probe_accuracy
        Accuracy on one half of the samples of a linear probe that was fitted to the other; None without labels.
    ratios
        Spectrum of M of the given features, descending.
    told
        Ratios below this cannot be told from 0 with so few samples.
    directions
        What became of each direction.
    invariant
        ``rank_floor``, ``positive`` and ``negative`` eigenvalues of C (R2, R8); None where P is not known.
    target_distance
        ‖Θ − W‖/‖W‖, which is 0 at rest (R4); None where Θ is not known.
    commutator
        ‖Σs Σd − Σd Σs‖/‖Σs Σd‖: 0 where modes decouple, else thresholds are those of a mode by itself (R3).
    causes
        Ranked by evidence.
    limits
        What bounds the answer, in sentences.
    """

    verdict: str
    reason: str
    rank: int
    effective_rank: float
    rankme: float
    deviations: np.ndarray
    std: np.ndarray
    spread: float
    alignment: float
    uniformity: float
    probe_accuracy: float | None
    ratios: np.ndarray
    told: float
    directions: Directions
    invariant: dict[str, int | None]
    target_distance: float | None
    commutator: float
    causes: list[Cause]
    limits: list[str]

    def report(self) -> dict[str, Any]:
        """What the command prints: numbers, lists, and None for what is not known."""
        from analysis.runs.simulation import plain

        rows = [
            {
                "ratio": ratio,
                "predictor": None if np.isnan(p) else [p.real, p.imag],
                "amplitude": amplitude,
                "share": share,
                "fate": fate,
                "predicted": predicted or None,
                "margin": margin,
                "decay_threshold": threshold,
                "critical_rate": rate,
                "wear_steps": wear,
            }
            for ratio, p, amplitude, share, fate, predicted, margin, threshold, rate, wear, _ in zip(
                *self.directions, strict=True
            )
        ]
        names = ("verdict", "reason", "rank", "effective_rank", "rankme", "spread", "std", "deviations")
        more = ("alignment", "uniformity", "probe_accuracy", "ratios", "invariant", "target_distance")
        found = {name: getattr(self, name) for name in (*names, *more, "commutator")}
        found |= {"directions": rows, "causes": [cause._asdict() for cause in self.causes]}
        return plain(found | {"limits": self.limits})

    def variables(self) -> dict[str, Variable]:
        """One row for each direction, for files; fates are codes (`analysis.runs.arrays.fate_codes`).

        Columns that are not known are left out.
        """
        from analysis.runs.arrays import fate_codes

        found, codes = self.directions, fate_codes()
        columns = {
            "ratio": found.ratio,
            "predictor_real": found.predictor.real,
            "predictor_imag": found.predictor.imag,
            "amplitude": found.amplitude,
            "share": found.share,
            "fate": np.array([codes[fate] for fate in found.fate], dtype=np.int16),
            "margin": found.margin,
            "decay_threshold": found.decay_threshold,
            "critical_rate": found.critical_rate,
        }
        known = {name: values for name, values in columns.items() if not np.any(np.isnan(values))}
        return {name: Variable(("direction",), values) for name, values in known.items()}


def diagnose(dump: Dump, settings: RunSettings | None = None) -> FeatureDiagnosis:
    """Say whether a network collapsed, or will, and why.

    Parameters
    ----------
    dump
        Two views of its features, and its last linear layers where they are known.
    settings
        How it was trained, as far as that is known.

    Returns
    -------
    FeatureDiagnosis
        With the verdict ``cannot-tell`` where the evidence does not decide.

    Raises
    ------
    ValueError
        The views are not drawn independently given the sample.

    Notes
    -----
    With a bias, moments of (x, 1) are those of the deviations and the number 1 up to a change of basis, so M has the
    eigenvalue 1 for the mean and else the ratios of the deviations. Sources: R2, R6, R8, R10, R11–R15, R18.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 3))
    >>> noise = 0.3 * rng.normal(size=(2, 500, 3))
    >>> diagnose(Dump(x + noise[0], x + noise[1])).verdict
    'healthy'
    """
    settings = RunSettings() if settings is None else settings
    mean = (dump.view1.mean(0) + dump.view2.mean(0)) / 2
    unit = float(max(np.max(np.abs(dump.view1 - mean)), np.max(np.abs(dump.view2 - mean))))
    x1, x2 = (dump.view1 - mean) / unit, (dump.view2 - mean) / unit
    moments = moments_of_views(x1, x2)
    n, d = x1.shape
    told = float(
        np.sqrt(2 * d / n) + 3 / np.sqrt(n)
    )  # edge of the spectrum of M for unrelated views, and its error
    if dump.online is None:
        f1, f2, centre = x1, x2, mean / unit
        found = spread_directions(np.concatenate([x1, x2]), moments)
    else:
        f1, f2, centre = (part @ dump.online.T for part in (x1, x2, mean / unit))
        found = layer_directions(dump, moments, settings, unit, mean / unit, error=3 / np.sqrt(n))
    variance = float(np.sum(f1**2 + f2**2)) / (2 * n)
    length = variance + float(np.sum(centre**2))
    spread = float(np.sqrt(variance / length)) if length > 0 else 0.0
    turned = _spread_of_directions(f1 + centre, f2 + centre)
    verdict, reason = _verdict(found, dump, moments, told, spread, turned, restless(found, settings))
    causes = [] if verdict == HEALTHY else find_causes(found, dump, settings, told)
    measured = _measured(f1, f2, dump.labels)
    return FeatureDiagnosis(
        verdict=verdict,
        reason=reason,
        rank=int(np.sum(found.fate == Fate.LEARNED)),
        deviations=measured["deviations"] * unit,
        std=measured["std"] * unit,
        effective_rank=measured["effective_rank"],
        rankme=measured["rankme"],
        spread=spread,
        alignment=measured["alignment"],
        uniformity=measured["uniformity"],
        probe_accuracy=measured["probe_accuracy"],
        ratios=moments.ratios,
        told=told,
        directions=found,
        invariant=_invariant(dump, settings),
        target_distance=_target_distance(dump),
        commutator=moments.commutator,
        causes=causes,
        limits=_limits(dump, moments, settings, told),
    )


def _verdict(
    found: Directions,
    dump: Dump,
    moments: Moments,
    told: float,
    spread: float,
    turned: float,
    unstable: np.ndarray,
) -> tuple[str, str]:
    n, d = dump.view1.shape
    if spread < POINT and dump.online is None:
        return COLLAPSED, f"the features of all samples lie within {spread:.2g} of their length of one point"
    if turned < POINT and dump.online is None and d > 1:
        return COLLAPSED, (
            f"the features of all samples point the same way, to {turned:.2g} of their length, and vary in length alone"
        )
    if turned < NEARLY_POINT and dump.online is None and d > 1:
        return CANNOT_TELL, (
            f"the features of all samples point the same way to {turned:.2g} of their length: they are close to"
            " collapse, or their mean is large beside what varies; the last layer's weights would tell"
        )
    learned = found.fate == Fate.LEARNED
    held, undecided = int(learned.sum()), int(np.sum(found.fate == Fate.UNDECIDED))
    falling = int(np.sum(learned & (found.predicted == Fate.COLLAPSED)))
    gone = int(np.sum(found.fate == Fate.COLLAPSED))
    if dump.online is None:
        return _verdict_of_features(held, n, d)
    if told >= 1:
        return CANNOT_TELL, f"{n} samples are too few for {d} features: ratios cannot be told from 0"
    most = min(len(found.fate), int(np.sum(moments.ratios > told)))
    if most == 0:
        return (
            CANNOT_TELL,
            "no direction of these features is common to both views, to the error of the sample",
        )
    if falling:
        return COLLAPSING, f"of {held} held, {_are(falling)} on the way to zero"
    if np.any(unstable):
        return CANNOT_TELL, (
            f"{_are(held)} held, of {most} that could be,"
            f" but {_are(int(unstable.sum()))} unstable at this learning rate"
        )
    if held >= most:
        return HEALTHY, f"{_are(held)} held, of {most} that could be"
    if held and gone:
        return PARTLY, f"{_are(held)} held, of {most} that could be; {gone} collapsed"
    if gone and not undecided:
        return COLLAPSED, f"no direction is held, of {most} that could be"
    return CANNOT_TELL, f"{_are(undecided)} small, but growing by theory"


def _spread_of_directions(f1: np.ndarray, f2: np.ndarray) -> float:
    """Root mean square of the deviation of features of unit length from their mean, in [0, 1]; NaN of zeros alone."""
    both = np.concatenate([f1, f2])
    lengths = np.linalg.norm(both, axis=1, keepdims=True)
    unit = (both / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    return float(np.sqrt(np.sum(np.var(unit, axis=0)))) if len(unit) else np.nan


def _are(n: int) -> str:
    return "1 direction is" if n == 1 else f"{n} directions are"


def _verdict_of_features(held: int, n: int, d: int) -> tuple[str, str]:
    if held >= n - 1 and d > n - 1:
        return CANNOT_TELL, f"{n} samples cannot show more than {n - 1} of {d} directions"
    if held == d:
        return HEALTHY, "the only feature varies" if d == 1 else f"all {d} directions vary"
    return PARTLY, f"of {d} directions, {held} {'varies' if held == 1 else 'vary'}"


def _measured(f1: np.ndarray, f2: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    import jax

    from dynamics.training.metrics import alignment, feature_metrics, probe_accuracy, uniformity

    with jax.enable_x64(True):
        both = np.concatenate([f1, f2])
        measured = feature_metrics(both)
        found: dict[str, Any] = {
            "std": np.asarray(measured["feature_std"]),
            "deviations": np.linalg.svd(both, compute_uv=False) / np.sqrt(len(both)),
            "effective_rank": float(measured["effective_rank"]),
            "rankme": float(measured["rankme"]),
            "alignment": float(alignment(f1, f2)),
            "uniformity": float(uniformity(f1[:MOST_PAIRED])),
            "probe_accuracy": None,
        }
        if labels is not None:
            fitted, tried = slice(0, None, 2), slice(1, None, 2)
            accuracy = probe_accuracy(f1[fitted], labels[fitted], f1[tried], labels[tried], labels.max() + 1)
            found["probe_accuracy"] = float(accuracy)
    return found


def _invariant(dump: Dump, settings: RunSettings) -> dict[str, int | None]:
    """Signs of the eigenvalues of C beyond rounding; the floor holds without weight decay alone (R8)."""
    if dump.online is None or dump.predictor is None:
        return {"rank_floor": None, "negative": None, "positive": None}
    W, P = dump.online, dump.predictor
    n2, n1 = W.shape
    system = MatrixSystem(np.ones(n1), np.ones(n1), tau_predictor=settings.tau_predictor)
    values = np.linalg.eigvalsh(balance_matrix(system.state(W, P), system))
    size = np.sum(W**2) + settings.tau_predictor * np.sum(P**2)
    slack = dump.rounding * (n1 + 2 * n2) * size
    positive, negative = int(np.sum(values > slack)), int(np.sum(values < -slack))
    return {
        "rank_floor": 0 if settings.weight_decay else positive,
        "negative": negative,
        "positive": positive,
    }


def _target_distance(dump: Dump) -> float | None:
    if dump.target is None or dump.online is None or not np.any(dump.online):
        return None
    return float(np.linalg.norm(dump.target - dump.online) / np.linalg.norm(dump.online))


def _of_the_target(dump: Dump, moments: Moments, settings: RunSettings) -> list[str]:
    """What the target tells of its average, where the setting does not."""
    if settings.decay is not None or dump.online is None or dump.target is None:
        return []
    if np.max(np.abs(dump.target - dump.online)) <= dump.rounding * np.max(np.abs(dump.online)):
        return [
            "target equals online: the network rests (R4), or its target is online itself, which learns too (R14)"
        ]
    if dump.predictor is not None and target_stands_apart(dump.online, dump.predictor, dump.target, moments):
        return [
            "online rests away from target, as if the target never moved (R13): fates are those of a target that"
            " follows, and --decay 1 gives those of one that does not"
        ]
    return []


def _limits(dump: Dump, moments: Moments, settings: RunSettings, told: float) -> list[str]:
    limits = [
        "theory holds for the last linear layer while what lies below stands still, and for squared error; a"
        " normalised loss leaves the size of weights open"
    ]
    if dump.online is None:
        limits.append("without online and predictor no cause can be named, and directions have no thresholds")
    elif dump.predictor is None:
        limits.append("without predictor no fate can be predicted")
    elif settings.weight_decay is None:
        limits.append("fates are those without weight decay, as --weight-decay is not given")
    limits += _of_the_target(dump, moments, settings)
    if moments.commutator > told:
        limits.append(
            f"Σs and Σd do not commute (by {moments.commutator:.2g}): fates and thresholds are those of each"
            " direction by itself (R3)"
        )
    limits.append(f"ratios below {told:.2g} cannot be told from 0 with {len(dump.view1)} samples")
    return limits
