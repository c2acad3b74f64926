"""Views: augmentations by name, and the second moments of the views that they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dynamics.data.augmentation import Augmentation, ExactAugmentation, Pair
from dynamics.data.augmentations import Crop, Erase, Flip, Gain, Noise, Roll, Scramble, Shift
from dynamics.data.datasets import Batches

_KINDS: tuple[type[Augmentation], ...] = (Shift, Roll, Noise, Flip, Crop, Erase, Scramble, Gain)
AUGMENTATIONS = {kind.name: kind for kind in _KINDS}


def parse(spec: str, *, seed: int = 0) -> Augmentation:
    """Read an augmentation from its spec, `name` or `name:value`.

    Parameters
    ----------
    spec
        For instance ``shift:1``, ``noise:0.3``, ``crop:1/2`` or ``flip``; the names are in `AUGMENTATIONS`.
    seed
        Seed of the subspace that ``scramble`` draws; the others draw nothing before they see an image.

    Raises
    ------
    ValueError
        The name is unknown, or the value is missing, not wanted, not a number or out of range.

    Examples
    --------
    >>> parse("crop:1/2")
    Crop(f=0.5)
    """
    name, colon, text = (part.strip() for part in spec.partition(":"))
    if name not in AUGMENTATIONS:
        known = ", ".join(kind.signature for kind in AUGMENTATIONS.values())
        raise ValueError(f"an augmentation must be one of {known}, got {spec!r}")
    kind = AUGMENTATIONS[name]
    parameter = kind.signature.partition(":")[2]
    if colon and not parameter:
        raise ValueError(f"`{name}` must be given without a value, got {spec!r}")
    if parameter and not text:
        raise ValueError(f"`{name}` must be given with a value, {kind.signature}, got {spec!r}")
    settings: dict[str, Any] = {"seed": seed} if kind is Scramble else {}
    try:
        if parameter:
            settings[parameter] = _number(text)
        return kind(**settings)
    except ValueError as error:
        raise ValueError(f"in {spec!r}, {error}") from None


def _number(text: str) -> float:
    numerator, slash, denominator = text.partition("/")
    try:
        return float(numerator) / float(denominator) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"the value must be a number such as 0.5, 1/2 or 1e-3, got {text!r}") from None


def view_moments(
    batches: Batches, augmentations: Sequence[Augmentation], *, draws: int = 8, seed: int = 0
) -> list[Pair]:
    """Moments Σs and Σd of the views that a chain of augmentations makes of the samples.

    Parameters
    ----------
    batches
        The samples; memory is needed for one batch and the moments.
    augmentations
        The chain that makes a view of a sample, in its order.
    draws
        Views to draw of each sample where an augmentation has no closed form, an integer >= 4.
    seed
        Seed of those draws, which are made batch by batch.

    Returns
    -------
    list
        One pair (Σs, Σd), exact, when every augmentation has a closed form. Otherwise two independent unbiased
        pairs, each from half of the draws: views are drawn up to the last augmentation that has no closed form,
        and the rest of the chain acts in closed form.

    Raises
    ------
    ValueError
        An augmentation does not suit the samples, or `draws` is out of range.

    Examples
    --------
    >>> from dynamics.data.datasets import standardised
    >>> view_moments(standardised(np.array([[0.0], [2.0]])), [Noise(1.0)])
    [(array([[2.]]), array([[1.]]))]
    """
    if not isinstance(draws, (int, np.integer)) or draws < 4:
        raise ValueError(f"`draws` must be an integer >= 4, got {draws}")
    for augmentation in augmentations:
        augmentation.check(batches.shape)
    exact: list[ExactAugmentation] = []
    for augmentation in reversed(augmentations):
        if not isinstance(augmentation, ExactAugmentation):
            break
        exact.insert(0, augmentation)
    sampled = augmentations[: len(augmentations) - len(exact)]
    pairs = _sample(batches, sampled, draws, seed) if sampled else [_correlation(batches)]
    for augmentation in exact:
        pairs = [augmentation.propagate(*pair, batches.shape) for pair in pairs]
    return pairs


def _correlation(batches: Batches) -> Pair:
    d = int(np.prod(batches.shape))
    sigma_x = sum((X.T @ X for X in batches.samples), np.zeros((d, d))) / batches.n_samples
    return sigma_x, sigma_x


def _sample(batches: Batches, chain: Sequence[Augmentation], draws: int, seed: int) -> list[Pair]:
    """Two estimates of Σs and Σd, each from half of the draws of every sample.

    With m draws v_a of a sample, Σs averages v_a v_aᵀ over a, and Σd averages v_a v_bᵀ over a ≠ b, which is
    [(Σ_a v_a)(Σ_b v_b)ᵀ − Σ_a v_a v_aᵀ]/(m (m − 1)).
    """
    d, rng = int(np.prod(batches.shape)), np.random.default_rng(seed)
    n, sizes = batches.n_samples, (draws // 2, draws - draws // 2)
    own, total = np.zeros((2, d, d)), np.zeros((2, d, d))
    for X in batches.samples:
        for half, m in enumerate(sizes):
            V_sum = np.zeros_like(X)
            for _ in range(m):
                views = X.reshape(-1, *batches.shape)
                for augmentation in chain:
                    views = augmentation.sample(rng, views)
                V = views.reshape(X.shape)
                own[half] += V.T @ V
                V_sum += V
            total[half] += V_sum.T @ V_sum
    return [(S / (n * m), (T - S) / (n * m * (m - 1))) for S, T, m in zip(own, total, sizes, strict=True)]
