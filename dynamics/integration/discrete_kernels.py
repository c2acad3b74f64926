"""The compiled part of `discrete_ensemble`: many modes by gradient descent, with batches or without.

A batch of any size B costs one χ²_B number and one normal number per step (R306). Each trajectory draws from a
xoshiro256++ generator of its own, whose state is four words of SplitMix64 from the seed and the trajectory's number: so
results depend neither on threads nor on chunks.

This module imports Numba: only `discrete_ensemble` imports it, when it is called.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_device = njit(inline="always", error_model="numpy")

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TO_UNIT = 2.0**-53


@_device
def _mixed(z: Any) -> Any:
    """Scramble a word, the output function of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@_device
def _rotated(x: Any, k: Any) -> Any:
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@_device
def _uniform(words: Any) -> Any:
    """Draw a number in (0, 1], by one step of xoshiro256++."""
    drawn = _rotated(words[0] + words[3], 23) + words[0]
    shifted = words[1] << np.uint64(17)
    words[2] ^= words[0]
    words[3] ^= words[1]
    words[1] ^= words[2]
    words[0] ^= words[3]
    words[2] ^= shifted
    words[3] = _rotated(words[3], 45)
    return (np.float64(drawn >> np.uint64(11)) + 1.0) * _TO_UNIT


@_device
def _normals(words: Any) -> Any:
    """Draw two independent normal numbers, by Box and Muller."""
    radius = math.sqrt(-2.0 * math.log(_uniform(words)))
    angle = 2.0 * math.pi * _uniform(words)
    return radius * math.cos(angle), radius * math.sin(angle)


@njit(error_model="numpy")
def _draw(words: Any, batch: Any) -> Any:
    """Draw χ²_B/B and an independent normal number."""
    free, other = _normals(words)
    if batch == 1:
        return other * other, free
    if batch == 2:
        return -math.log(_uniform(words)), free
    # gamma of shape B/2 >= 3/2: Marsaglia and Tsang (2000)
    d = 0.5 * batch - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        v = 1.0 + c * other
        if v > 0.0:
            v = v * v * v
            if math.log(_uniform(words)) < 0.5 * other * other + d - d * v + d * math.log(v):
                return 2.0 * d * v / batch, free
        other, _ = _normals(words)


@_device
def _seed(words: Any, seed: Any, index: Any) -> None:
    z = _mixed(np.uint64(seed) + _GOLDEN) ^ _mixed(np.uint64(index) * _GOLDEN + np.uint64(1))
    for k in range(4):
        z = z + _GOLDEN
        words[k] = _mixed(z)


@njit(error_model="numpy", cache=True, nogil=True)
def draw_batches(seed: Any, index: Any, batch: Any, out: Any) -> None:
    """Fill out (n, 2) with χ²_B/B and normal numbers of one trajectory: the random numbers of its steps alone."""
    words = np.empty(4, np.uint64)
    _seed(words, seed, index)
    for k in range(out.shape[0]):
        out[k, 0], out[k, 1] = _draw(words, batch)


@njit(error_model="numpy", cache=True, nogil=True)
def advance(
    first: Any,
    last: Any,
    y: Any,
    p: Any,
    step: Any,
    rate: Any,
    practical: Any,
    batch: Any,
    seed: Any,
    save_at: Any,
    n_steps: Any,
    saved: Any,
    taken: Any,
    largest: Any,
) -> None:
    """Advance trajectories first … last − 1 by n_steps steps of gradient descent, in place.

    Parameters
    ----------
    y
        w1, w2, θ, shape (3, N).
    p
        λs, λd, 1/τo, 1/τp, η, shape (5, N).
    step, rate
        ε and h, shape (N,).
    practical
        Whether the average takes in the encoder after the step.
    batch
        B, or 0 for the whole population.
    save_at, saved
        Increasing numbers of steps (K,), and where the states go, shape (K, 3, N).
    taken, largest
        Steps taken until a weight overflowed, or all; and the largest |κ| = ε|e|/√(τo τp), both (N,).
    """
    words = np.empty(4, np.uint64)
    for i in range(first, last):
        w1, w2, th = y[0, i], y[1, i], y[2, i]
        ls, ld, to, tp, eta = p[0, i], p[1, i], p[2, i], p[3, i], p[4, i]
        eps, h = step[i], rate[i]
        r = ld / ls if ls != 0.0 else 0.0
        spread = math.sqrt(max(ls * (1.0 - r * r), 0.0) / batch) if batch > 0 else 0.0
        if batch > 0:
            _seed(words, seed, i)
        unit = eps * math.sqrt(to * tp)
        peak = 0.0
        kept = 1.0 - eps * eta
        next_save = 0
        done = n_steps
        for k in range(n_steps + 1):
            while next_save < save_at.size and save_at[next_save] == k:
                saved[next_save, 0, i], saved[next_save, 1, i], saved[next_save, 2, i] = w1, w2, th
                next_save += 1
            if k == n_steps:
                break
            if batch > 0:
                chi, normal = _draw(words, batch)
                s = ls * chi
                e = th * (r * s + spread * math.sqrt(s) * normal) - w1 * w2 * s
            else:
                e = th * ld - w1 * w2 * ls
            peak = max(peak, abs(unit * e))
            new = kept * w1 + eps * to * w2 * e
            w2_new = kept * w2 + eps * tp * w1 * e
            th_new = th + h * ((new if practical else w1) - th)
            if not (abs(new) < 1e300 and abs(w2_new) < 1e300 and abs(th_new) < 1e300):
                done = k
                break
            w1, w2, th = new, w2_new, th_new
        y[0, i], y[1, i], y[2, i] = w1, w2, th
        taken[i], largest[i] = done, peak
