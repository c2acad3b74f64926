"""Bias-free networks of linear and (leaky) ReLU layers, with their Jacobians and connections (R101–R103)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from dynamics.contrastive_losses import normalise

BIAS_REFUSAL = (
    "`biases` must be left out: with a bias at or above layer l, the connection K_lᵀ vec W_l misses f_L (R102);"
    " write a bias as a weight of an input that is always 1"
)


class _Layers(NamedTuple):
    weights: tuple[Any, ...]
    leak: Any = 0.0
    activated_top: bool = False


class DeepReLU(_Layers):
    """Network f_l = ψ(W_l f_{l−1}), f_0 = x, with ψ(u) = u for u > 0 and leak·u otherwise, and no biases.

    A NamedTuple (weights, leak, activated_top), checked at birth.

    Parameters
    ----------
    weights
        W_1 … W_L, shapes (n_l, n_{l−1}), L >= 1.
    leak
        Slope of ψ below 0, finite: 0 for ReLU, 1 for a linear network.
    activated_top
        Whether ψ follows W_L too; by default the outputs are linear, f_L = W_L f_{L−1}.
    biases
        None: there is no place for biases in Theorem 1.

    Raises
    ------
    ValueError
        The shapes do not follow one another, an entry or `leak` is not finite, or biases are given.

    Examples
    --------
    >>> net = DeepReLU((np.ones((3, 2)), np.ones((1, 3))))
    >>> net.depth, net.widths
    (2, (2, 3, 1))
    """

    __slots__ = ()

    def __new__(
        cls,
        weights: Sequence[Any],
        leak: float = 0.0,
        activated_top: bool = False,
        *,
        biases: Any = None,
    ) -> DeepReLU:
        """Check shapes; entries too, unless they are being traced by JAX."""
        if biases is not None:
            raise ValueError(BIAS_REFUSAL)
        layers = tuple(w if hasattr(w, "__array_namespace__") else np.asarray(w, np.float64) for w in weights)
        if not layers:
            raise ValueError("`weights` must hold at least one layer, got none")
        for number, w in enumerate(layers, start=1):
            if w.ndim != 2 or 0 in w.shape:
                raise ValueError(
                    f"`weights` must be matrices (n_l, n_{{l−1}}), got shape {w.shape} in layer {number}"
                )
            if isinstance(w, np.ndarray) and not np.all(np.isfinite(w)):
                raise ValueError(
                    f"`weights` must be finite, got {w[~np.isfinite(w)].flat[0]} in layer {number}"
                )
        for number, (below, above) in enumerate(pairwise(layers), start=2):
            if above.shape[1] != below.shape[0]:
                raise ValueError(
                    f"`weights` of layer {number} must have {below.shape[0]} columns, the width of the layer below,"
                    f" got shape {above.shape}"
                )
        if isinstance(leak, (int, float)) and not np.isfinite(leak):
            raise ValueError(f"`leak` must be finite, got {leak}")
        return super().__new__(cls, layers, leak, activated_top)

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.weights)

    @property
    def widths(self) -> tuple[int, ...]:
        """Dimensions n_0 … n_L."""
        return (self.weights[0].shape[1], *(w.shape[0] for w in self.weights))

    def with_layer(self, layer: int, weights: Any) -> DeepReLU:
        """The same network with other weights in one layer, counted from 1.

        >>> DeepReLU((np.ones((1, 1)),)).with_layer(1, [[2.0]]).weights[0].item()
        2.0
        """
        index = self.place(layer)
        return DeepReLU(
            (*self.weights[:index], weights, *self.weights[index + 1 :]), self.leak, self.activated_top
        )

    def place(self, layer: int) -> int:
        """Place in `weights` of layer l = 1 … L, refusing others."""
        if not 1 <= layer <= self.depth:
            raise ValueError(f"`layer` must be from 1 to {self.depth}, got {layer}")
        return layer - 1

    def activated(self, layer: int) -> bool:
        """Whether ψ follows layer l."""
        return layer < self.depth or self.activated_top


class Activations(NamedTuple):
    """What a network computes on its way.

    Parameters
    ----------
    pre
        Pre-activations W_l f_{l−1} of the layers l = 1 … L, shapes (..., n_l).
    post
        f_0 = x, …, f_L, shapes (..., n_l): one more than `pre`.
    """

    pre: tuple[Any, ...]
    post: tuple[Any, ...]

    @property
    def output(self) -> Any:
        """f_L, shape (..., n_L)."""
        return self.post[-1]


def forward(net: DeepReLU, x: Any) -> Activations:
    """Run a network on inputs, f_l = ψ(W_l f_{l−1}).

    Parameters
    ----------
    net
        The network.
    x
        Inputs, shape (..., n_0), arrays of NumPy or of JAX.

    Returns
    -------
    Activations
        Of all layers.

    Raises
    ------
    ValueError
        The inputs have another dimension than the network.

    Examples
    --------
    >>> net = DeepReLU(([[1.0], [-1.0]], [[2.0, 3.0]]))
    >>> forward(net, [2.0]).output, forward(net, [-2.0]).output
    (array([4.]), array([6.]))
    """
    x = x if hasattr(x, "__array_namespace__") else np.asarray(x, np.float64)
    if x.ndim < 1 or x.shape[-1] != net.widths[0]:
        raise ValueError(f"`x` must have shape (..., {net.widths[0]}), got {x.shape}")
    pre, post = [], [x]
    for layer, W in enumerate(net.weights, start=1):
        pre.append(post[-1] @ W.T)
        post.append(_through(net, pre[-1], pre[-1]) if net.activated(layer) else pre[-1])
    return Activations(tuple(pre), tuple(post))


def _through(net: DeepReLU, pre: Any, u: Any) -> Any:
    """u·ψ′(pre): what ψ does to a pre-activation, and to changes of it; ψ′ = leak at 0."""
    if isinstance(net.leak, (int, float)) and net.leak in (0, 1):
        return u if net.leak == 1 else u * (pre > 0)
    return pre.__array_namespace__().where(pre > 0, u, net.leak * u)


def output_jacobian(net: DeepReLU, x: Any, layer: int) -> Any:
    """Jacobian J_l = ∂f_L/∂(pre-activation l) of the output.

        J_L = ψ′ (or I),   J_l = J_{l+1} W_{l+1} diag ψ′(W_l f_{l−1})

    Parameters
    ----------
    net, x
        The network and its inputs (..., n_0).
    layer
        l, from 1 to L.

    Returns
    -------
    Array
        Shape (..., n_L, n_l). At a kink the slope is the leak.

    Raises
    ------
    ValueError
        `layer` or the dimension of `x` does not fit.

    Notes
    -----
    Source: R101.

    Examples
    --------
    >>> net = DeepReLU(([[1.0], [-1.0]], [[2.0, 3.0]]))
    >>> output_jacobian(net, [2.0], 1)
    array([[2., 0.]])
    """
    net.place(layer)
    return _jacobian(net, forward(net, x), layer)


def _jacobian(net: DeepReLU, found: Activations, layer: int) -> Any:
    xp = found.output.__array_namespace__()
    J = xp.broadcast_to(
        xp.eye(net.widths[-1], dtype=found.output.dtype), (*found.output.shape, net.widths[-1])
    )
    for above in range(net.depth, layer - 1, -1):
        if above < net.depth:
            J = J @ net.weights[above]
        if net.activated(above):
            J = _through(net, found.pre[above - 1][..., None, :], J)
    return J


def connection(net: DeepReLU, x: Any, layer: int) -> Any:
    """Connection K_l(x) = f_{l−1} ⊗ J_lᵀ of a layer, so that δf_L = K_lᵀ vec δW_l.

    For these networks K_l(x)ᵀ vec W_l = f_L(x) for every l, Euler's identity for homogeneous functions.

    Parameters
    ----------
    net, x
        The network and its inputs (..., n_0).
    layer
        l, from 1 to L.

    Returns
    -------
    Array
        Shape (..., n_l n_{l−1}, n_L); vec stacks columns, as `vec` does.

    Raises
    ------
    ValueError
        `layer` or the dimension of `x` does not fit.

    Notes
    -----
    Away from kinks. Source: R101; DD Theorem 1 and Lemmas 1 and 2. With biases it would miss the output (R102).

    Examples
    --------
    >>> net = DeepReLU(([[1.0], [-1.0]], [[2.0, 3.0]]))
    >>> connection(net, [2.0], 1).T @ vec(net.weights[0])
    array([4.])
    """
    index = net.place(layer)
    found = forward(net, x)
    f, J = found.post[index], _jacobian(net, found, layer)
    xp = J.__array_namespace__()
    J_T = xp.moveaxis(J, -1, -2)
    K = f[..., :, None, None] * J_T[..., None, :, :]  # [j, i, a] = f_j J_ai: column j of W, then row i
    return xp.reshape(K, (*f.shape[:-1], f.shape[-1] * J.shape[-1], J.shape[-2]))


def push_forward(net: DeepReLU, found: Activations, layer: int, directions: Any) -> Any:
    """Changes of the output, K_l(x)ᵀ v for each of m changes v of vec W_l, without forming K_l.

    Parameters
    ----------
    net, found
        The network, and its activations on N inputs: `forward` of x (N, n_0).
    layer
        l, from 1 to L.
    directions
        Columns v, shape (n_l n_{l−1}, m).

    Returns
    -------
    Array
        Shape (N, m, n_L).

    Notes
    -----
    Source: R101.

    Examples
    --------
    >>> net = DeepReLU(([[1.0], [-1.0]], [[2.0, 3.0]]))
    >>> push_forward(net, forward(net, [[2.0]]), 1, vec(net.weights[0])[:, None])
    array([[[4.]]])
    """
    f = found.post[net.place(layer)]
    n, m = f.shape[0], directions.shape[-1]
    u = (f @ directions.reshape(f.shape[1], -1)).reshape(n, -1, m).swapaxes(1, 2)
    for above in range(layer, net.depth + 1):
        if above > layer:
            u = (u.reshape(n * m, -1) @ net.weights[above - 1].T).reshape(n, m, -1)
        if net.activated(above):
            u = _through(net, found.pre[above - 1][:, None, :], u)
    return u


def pull_back(net: DeepReLU, found: Activations, layer: int, outputs: Any) -> Any:
    """Sums Σ_x K_l(x) y(x) over inputs, for each of m sets of outputs y, without forming K_l.

    The transpose of `push_forward`.

    Parameters
    ----------
    net, found, layer
        As there.
    outputs
        y, shape (N, m, n_L).

    Returns
    -------
    Array
        Shape (n_l n_{l−1}, m).

    Notes
    -----
    Source: R101.

    Examples
    --------
    >>> net = DeepReLU(([[1.0], [-1.0]], [[2.0, 3.0]]))
    >>> pull_back(net, forward(net, [[2.0]]), 1, np.ones((1, 1, 1))).ravel()
    array([4., 0.])
    """
    f, u = found.post[net.place(layer)], outputs
    n, m, _ = u.shape
    for above in range(net.depth, layer - 1, -1):
        if net.activated(above):
            u = _through(net, found.pre[above - 1][:, None, :], u)
        if above > layer:
            u = (u.reshape(n * m, -1) @ net.weights[above - 1]).reshape(n, m, -1)
    return (f.T @ u.swapaxes(1, 2).reshape(n, -1)).reshape(-1, m)


def vec(W: Any) -> Any:
    """Stack the columns of a matrix: vec(W)[i + n j] = W[i, j].

    >>> vec(np.array([[1, 2], [3, 4]]))
    array([1, 3, 2, 4])
    """
    return W.T.reshape(-1)


def unvec(v: Any, shape: tuple[int, int]) -> Any:
    """Matrix whose stacked columns are v: the inverse of `vec`.

    >>> unvec(np.array([1, 3, 2, 4]), (2, 2))
    array([[1, 2],
           [3, 4]])
    """
    return v.reshape(shape[::-1]).T


def distance_gradient(net: DeepReLU, x: Any, other: Any, layer: int, *, normalised: bool = False) -> Any:
    """Gradient in vec W_l of r = ½‖f1 − f2‖², through the branch of x alone: K_l(x)(f_L(x) − f2).

    Of normalised outputs z = f/‖f‖, of r = ½‖z1 − z2‖², it is −K_l(x)(I − z1 z1ᵀ) z2/‖f1‖, orthogonal to W_l.

    Parameters
    ----------
    net, x
        Branch 1: the network and its inputs (..., n_0).
    other
        Output f2 of the other branch before normalisation, shape (..., n_L); any network, of any depth, may have
        made it.
    layer
        l, from 1 to L.
    normalised
        Whether both outputs are divided by their norms first.

    Returns
    -------
    Array
        Shape (..., n_l n_{l−1}).

    Raises
    ------
    ValueError
        `layer` or a dimension does not fit, or a normalised output has no direction.

    Notes
    -----
    Source: R101 and R103, which corrects what DD's Theorem 1 gives for normalised outputs.

    Examples
    --------
    >>> net = DeepReLU((np.eye(2),))
    >>> distance_gradient(net, [3.0, 4.0], [3.0, 0.0], 1)
    array([ 0., 12.,  0., 16.])
    """
    K, f1 = connection(net, x, layer), forward(net, x).output
    f2 = other if hasattr(other, "__array_namespace__") else np.asarray(other, np.float64)
    if f2.shape[-1] != f1.shape[-1]:
        raise ValueError(f"`other` must have shape (..., {f1.shape[-1]}), got {f2.shape}")
    if not normalised:
        return (K @ (f1 - f2)[..., None])[..., 0]
    (z1, none1), (z2, none2) = normalise(f1), normalise(f2)
    if none1 or none2:
        raise ValueError("`x` and `other` must give outputs that have a direction, got one of norm 0")
    xp = f1.__array_namespace__()
    tangential = z2 - z1 * xp.sum(z1 * z2, axis=-1, keepdims=True)
    norm = xp.sum(z1 * f1, axis=-1, keepdims=True)
    return -(K @ (tangential / norm)[..., None])[..., 0]
