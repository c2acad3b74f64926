"""Systems and starts on data, for the pages that follow the full network there."""

from __future__ import annotations

from collections.abc import Sequence

from dynamics.data.dataset_moments import dataset_moments
from dynamics.data.datasets import load
from dynamics.data.starts import draw_start
from dynamics.data.views import parse
from dynamics.states import MatrixState
from dynamics.system import MatrixSystem


def network_on_data(
    source: str, augment: Sequence[str], *, dim: int, init_online: float, init_predictor: float, seed: int
) -> tuple[MatrixSystem, MatrixState]:
    """Full network on augmented data, all time constants 1 and η = 0, and a start drawn for it.

    Parameters
    ----------
    source, augment
        Source of the samples, and the chain of augmentations that makes a view.
    dim
        n2, number of features, an integer >= 1.
    init_online, init_predictor
        √n1 W ~ init_online N(0, 1) and P ~ init_predictor N(0, 1), n1 the number of inputs; finite and >= 0.
    seed
        Of all draws.

    Returns
    -------
    tuple
        The system and the start, on the support of Σs.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Examples
    --------
    >>> system, start = network_on_data(
    ...     "digits", ["shift:1"], dim=2, init_online=0.3, init_predictor=0.1, seed=0)
    >>> system.n1, start.online.shape
    (64, (2, 64))
    """
    chain = [parse(spec, seed=seed) for spec in augment]
    moments = dataset_moments(load(source), chain, seed=seed)
    start = draw_start(moments, dim, init_online=init_online, init_predictor=init_predictor, seed=seed)
    return MatrixSystem(moments.sigma_s, moments.sigma_d), start
