"""Exact moments of what is seen of a latent tree, two views of which have the root in common (R202)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dynamics.data.augmentation import Augmentation, ExactAugmentation, Pair
from dynamics.data.latent_trees import LatentTree, marginals


class LeafMoments(NamedTuple):
    """Moments of the states of the leaves, in the order of ``tree.leaves``.

    Parameters
    ----------
    mean
        E[x], shape (L,).
    sigma_s
        Σs = E[x xᵀ], shape (L, L).
    sigma_d
        Σd = E[x2 x1ᵀ] of two views that have the root in common and all else drawn apart, shape (L, L).
    """

    mean: np.ndarray
    sigma_s: np.ndarray
    sigma_d: np.ndarray


def leaf_moments(tree: LatentTree) -> LeafMoments:
    """Moments of the leaves' states 0, 1, …, and of two views with the same root.

        Σs_αβ = Σ_i π_μ(i) h_α(i) h_β(i),  μ the last common ancestor of α ≠ β, h_α(i) = E[x_α | z_μ = i]
        Σd = Σ_i π_0(i) h(i) h(i)ᵀ,        h(i) = E[x | z_0 = i]

    Parameters
    ----------
    tree
        Any tree.

    Returns
    -------
    LeafMoments
        Σd is of rank at most m_0. Means given an ancestor are passed up the tree, so that the work is that of the
        L² entries and, for a tree in which every node but the leaves has two children or more, no more.

    Notes
    -----
    Source: DD 4.3; R202.

    Examples
    --------
    >>> leaf_moments(LatentTree.binary(2, 1, 0.5)).sigma_d.tolist()
    [[0.3125, 0.3125], [0.3125, 0.3125]]
    """
    laws, L = marginals(tree), len(tree.leaves)
    m = laws.shape[1]
    sigma_s = np.zeros((L, L))
    squares = np.arange(m, dtype=np.float64) ** 2
    np.fill_diagonal(sigma_s, laws[tree.leaves] @ squares)
    # leaves under a node, by their place, and their means given its states
    below = {
        int(leaf): (np.array([k]), np.arange(m, dtype=np.float64)[:, None])
        for k, leaf in enumerate(tree.leaves)
    }
    for level in reversed(tree.levels[1:]):
        for parent, nodes in zip(level.parents, np.split(level.nodes, level.starts[1:]), strict=True):
            groups = [below.pop(int(node)) for node in nodes]
            places = np.concatenate([places for places, _ in groups])
            means = np.concatenate(
                [tree.table[node] @ h for node, (_, h) in zip(nodes, groups, strict=True)], axis=1
            )
            done = 0
            for group, _ in groups[:-1]:
                own, later = slice(done, done + len(group)), slice(done + len(group), None)
                block = (means[:, own].T * laws[parent]) @ means[:, later]
                sigma_s[np.ix_(places[own], places[later])] = block
                sigma_s[np.ix_(places[later], places[own])] = block.T
                done += len(group)
            below[int(parent)] = (places, means)
    places, means = below[tree.root]
    at_root = np.empty_like(means)
    at_root[:, places] = means
    law = laws[tree.root]
    return LeafMoments(law @ at_root, sigma_s, (at_root.T * law) @ at_root)


def leaf_scale(tree: LatentTree) -> tuple[np.ndarray, float]:
    """Mean of the leaves, shape (L,), and one standard deviation for all of them about it.

    Raises
    ------
    ValueError
        No leaf varies.

    Examples
    --------
    >>> leaf_scale(LatentTree.binary(2, 1, 0.5))
    (array([0.5, 0.5]), 0.5)
    """
    states = np.arange(tree.table.shape[-1], dtype=np.float64)
    laws = marginals(tree)[tree.leaves]
    mean = laws @ states
    deviation = float(np.sqrt(np.mean(np.sum(laws * (states - mean[:, None]) ** 2, axis=-1))))
    if deviation == 0:
        raise ValueError("`tree` must have leaves that vary, got none")
    return mean, deviation


def tree_view_moments(
    tree: LatentTree, augmentations: Sequence[Augmentation] = (), *, center: bool = True, scale: bool = True
) -> tuple[Pair, tuple[str, ...]]:
    """Exact Σs and Σd of views that keep the root, augmented further in closed form.

    Parameters
    ----------
    tree
        The tree.
    augmentations
        What is done to the leaves of each view, in its order; each must have exact averages.
    center, scale
        Subtract the exact mean; divide by the deviation of all leaves about it (`leaf_scale`).

    Returns
    -------
    (Σs, Σd), notes
        The moments, and what was done, one plain sentence each.

    Raises
    ------
    ValueError
        An augmentation has no closed form or does not suit vectors, or no leaf varies.

    Examples
    --------
    >>> tree_view_moments(LatentTree.binary(2, 1, 0.5))[0][1].tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    moments = leaf_moments(tree)
    origin, unit = leaf_scale(tree)
    notes = []
    sigma_s, sigma_d = moments.sigma_s, moments.sigma_d
    if center:
        sigma_s, sigma_d = sigma_s - np.outer(origin, origin), sigma_d - np.outer(origin, origin)
        notes.append("centred: the exact mean of the leaves was subtracted")
    if scale:
        sigma_s, sigma_d = sigma_s / unit**2, sigma_d / unit**2
        notes.append(f"scaled by 1/{unit:.4g}, the standard deviation of all leaves about their mean")
    shape = (len(tree.leaves),)
    for augmentation in augmentations:
        augmentation.check(shape)
        if not isinstance(augmentation, ExactAugmentation):
            raise ValueError(f"augmentations of a tree must have exact averages, got {augmentation}")
        sigma_s, sigma_d = augmentation.propagate(sigma_s, sigma_d, shape)
    chain = ", ".join(map(str, augmentations)) or "none"
    notes.append(f"views keep the root of the tree, augmentations {chain}: averages exact")
    return (sigma_s, sigma_d), tuple(notes)
