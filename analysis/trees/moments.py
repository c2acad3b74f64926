"""How much of the root survives in functions of the leaves: conditional means and their covariances (R201–R203)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamics.data.latent_trees import LatentTree, marginals, path_polarities, polarity


def selectivity(conditional_mean: Any) -> Any:
    """Half the difference that a binary latent makes to a mean: s = (v(1) − v(0))/2.

    Parameters
    ----------
    conditional_mean
        v(z) = E[f | z], shape (2, ...).

    Notes
    -----
    Source: DD 4.3; R202.

    Examples
    --------
    >>> selectivity([0.25, 0.75])
    0.25
    """
    v = np.asarray(conditional_mean, dtype=np.float64)
    if v.ndim == 0 or len(v) != 2:
        raise ValueError(f"`conditional_mean` must have shape (2, ...), got {v.shape}")
    s = (v[1] - v[0]) / 2
    return float(s) if s.ndim == 0 else s


def means_given_root(tree: LatentTree, node: int, conditional_means: Any) -> np.ndarray:
    """Means given the root of functions whose means given a node are known: E[f | z_0] = P_0μ v(z_μ).

    Parameters
    ----------
    tree, node
        The tree, and the node μ under which the functions' leaves are.
    conditional_means
        v_k(z_μ) = E[f_k | z_μ], shape (states of μ, K).

    Returns
    -------
    array
        E[f_k | z_0], shape (states of the root, K).

    Notes
    -----
    Source: DD theorem 6; R202.

    Examples
    --------
    >>> means_given_root(LatentTree.binary(1, 2, 0.5), 2, [[-1.0], [1.0]]).tolist()
    [[-0.25], [0.25]]
    """
    v = np.asarray(conditional_means, dtype=np.float64)
    if v.ndim != 2 or len(v) != tree.n_states[node]:
        raise ValueError(f"`conditional_means` must have shape ({tree.n_states[node]}, K), got {v.shape}")
    while node != tree.root:
        v = tree.kernel(node) @ v
        node = int(tree.parents[node])
    return np.asarray(v)


def covariance_of_means(law: Any, conditional_means: Any) -> np.ndarray:
    """Covariance of conditional means: V_z[v(z)] = vᵀ (diag π − πᵀ π) v.

    Parameters
    ----------
    law
        π, law of z, shape (m,).
    conditional_means
        v_k(z), shape (m, K).

    Returns
    -------
    array
        Shape (K, K), of rank at most m − 1.

    Notes
    -----
    Source: R202.

    Examples
    --------
    >>> covariance_of_means([0.5, 0.5], [[0.0, 1.0], [2.0, 1.0]]).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    pi, v = np.asarray(law, dtype=np.float64), np.asarray(conditional_means, dtype=np.float64)
    centred = v - pi @ v  # before products, so that nothing cancels in them
    return np.asarray((centred.T * pi) @ centred)


def conditional_covariance(tree: LatentTree, node: int, child_selectivity: Any) -> np.ndarray:
    """What the root decides of the activations that a node gathers, for binary trees.

        V_{z0}[E[f | z0]] = ρ_0μ² (1 − ρ_0²) a aᵀ

    Parameters
    ----------
    tree, node
        A tree of binary variables, and the node μ.
    child_selectivity
        a = (ρ_μν(k) s_k), selectivity of each activation k under a child ν(k) of μ times the polarity of the edge,
        shape (K,).

    Returns
    -------
    array
        Shape (K, K), of rank one.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Kernels need not be symmetric. Source: DD theorem 6; R202.

    Examples
    --------
    >>> conditional_covariance(LatentTree.binary(2, 2, 0.5), 1, [1.0, 2.0]).tolist()
    [[0.25, 0.5], [0.5, 1.0]]
    """
    a = np.asarray(child_selectivity, dtype=np.float64)
    rho = path_polarities(tree)[node]
    return np.asarray(rho**2 * _root_variance(tree) * np.outer(a, a))


def layer_covariance(tree: LatentTree, nodes: Any, selectivities: Any) -> np.ndarray:
    """What the root decides of the activations of a whole layer, for binary trees.

        V_{z0}[E[f | z0]] = (1 − ρ_0²) g gᵀ,  g_k = ρ_0ν(k) s_k

    Parameters
    ----------
    tree
        A tree of binary variables.
    nodes, selectivities
        The node ν(k) of each activation and its selectivity s_k there, shape (K,) each.

    Returns
    -------
    array
        Shape (K, K), of rank one.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Source: R202.

    Examples
    --------
    >>> layer_covariance(LatentTree.binary(2, 1, [0.5]), [1, 2], [1.0, 2.0]).tolist()
    [[0.25, 0.5], [0.5, 1.0]]
    """
    g = path_polarities(tree)[np.asarray(nodes)] * np.asarray(selectivities, dtype=np.float64)
    return np.asarray(_root_variance(tree) * np.outer(g, g))


def layer_traces(tree: LatentTree, selectivities: Any = 0.5) -> np.ndarray:
    """Total signal of the root in each layer: (1 − ρ_0²) Σ_ν ρ_0ν² s_ν², one number per depth.

    Parameters
    ----------
    tree
        A tree of binary variables.
    selectivities
        s_ν of one activation per node: one number, or shape (n,). The default is that of the latents themselves,
        states 0 and 1.

    Returns
    -------
    array
        Shape (height + 1,), the root first. With constant ρ and s it is (1 − ρ_0²) s² (bρ²)^depth.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Source: R203.

    Examples
    --------
    >>> layer_traces(LatentTree.binary(2, 2, 0.5)).tolist()
    [0.25, 0.125, 0.0625]
    """
    g = path_polarities(tree) * selectivities
    return np.array([_root_variance(tree) * np.sum(g[level.nodes] ** 2) for level in tree.levels])


def kesten_stigum(branching: float, polarity: Any) -> Any:
    """Kesten–Stigum number bρ²: layer traces grow towards the leaves where it exceeds 1, and shrink where it is less.

    Parameters
    ----------
    branching, polarity
        b >= 1 and ρ in [−1, 1].

    Notes
    -----
    Source: R203.

    Examples
    --------
    >>> kesten_stigum(2, 0.5)
    0.5
    """
    return branching * polarity**2


def maximal_correlation(kernel: Any, law: Any) -> float:
    """Maximal correlation κ of a parent and its child: the largest that functions of the two can have.

    κ is the second singular value of diag(π_μ)^{1/2} P diag(π_ν)^{−1/2}, π_ν = π_μ P; for binary variables
    κ² = ρ² π_μ(0)π_μ(1)/(π_ν(0)π_ν(1)).

    Parameters
    ----------
    kernel
        P_μν, shape (m_μ, m_ν).
    law
        π_μ, shape (m_μ,).

    Returns
    -------
    float
        κ in [0, 1]; 0 where the parent or the child has one state of positive probability.

    Notes
    -----
    V_{z0}[E[f | z0]] ≼ κ_e² ⋯ V_{zμ}[E[f | zμ]] over the edges e of the path, in the Loewner order.
    Source: R202.

    Examples
    --------
    >>> round(maximal_correlation([[0.75, 0.25], [0.25, 0.75]], [0.5, 0.5]), 12)
    0.5
    """
    P, pi = np.asarray(kernel, dtype=np.float64), np.asarray(law, dtype=np.float64)
    P, pi = P[pi > 0], pi[pi > 0]
    child = pi @ P
    P, child = P[:, child > 0], child[child > 0]
    # without the pair of singular vectors √π_μ, √π_ν of singular value 1, the largest one is κ
    B = np.sqrt(pi)[:, None] * (P - child) / np.sqrt(child)
    return min(float(np.linalg.norm(B, 2)), 1.0)


def path_correlation(tree: LatentTree, node: int) -> float:
    """Product of the maximal correlations κ_e of the edges from the root to a node.

    Notes
    -----
    Source: R202.

    Examples
    --------
    >>> round(path_correlation(LatentTree.binary(1, 2, [0.5, -0.5]), 2), 12)
    0.25
    """
    laws = marginals(tree)
    product = 1.0
    while node != tree.root:
        parent = int(tree.parents[node])
        product *= maximal_correlation(tree.kernel(node), laws[parent, : tree.n_states[parent]])
        node = parent
    return product


def edge_correlations(tree: LatentTree) -> tuple[np.ndarray, np.ndarray]:
    """Squared correlation of every node with its parent in a binary tree, and what it lacks to 1.

        κ² = ρ² π_μ(0)π_μ(1)/(π_ν(0)π_ν(1)),  1 − κ² = Σ_i π_μ(i) P(i,0)P(i,1)/(π_ν(0)π_ν(1))

    Returns
    -------
    squared, lacking
        κ² and 1 − κ², shape (n,) each, the second without cancellation; 0 and 1 for the root and where the node or
        its parent has one state of positive probability.

    Raises
    ------
    ValueError
        A node has other than two states.

    Notes
    -----
    Source: R202, R204.

    Examples
    --------
    >>> edge_correlations(LatentTree.binary(1, 1, 0.5))
    (array([0.  , 0.25]), array([1.  , 0.75]))
    """
    if not tree.is_binary:
        raise ValueError("`tree` must have two states per node, got other numbers")
    laws = marginals(tree)
    variances, above = laws.prod(-1), laws[tree.parents]
    within = np.sum(above * tree.table.prod(-1), axis=-1)
    between = polarity(tree.table) ** 2 * variances[tree.parents]
    varies = (variances > 0) & (variances[tree.parents] > 0) & (np.arange(tree.n_nodes) != tree.root)
    total = np.where(varies, variances, 1.0)
    return np.where(varies, between / total, 0.0), np.where(varies, within / total, 1.0)


def _root_variance(tree: LatentTree) -> float:
    """1 − ρ_0² = 4 π_0(0) π_0(1)."""
    return float(4 * np.prod(tree.root_law))
