"""Samples of a training run: loaded or made once on the host, then batches of views drawn on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dynamics.data.augmentation import Augmentation
from dynamics.data.datasets import load, standardised
from dynamics.data.latent_trees import LatentTree, jax_sampler
from dynamics.data.moments import Moments
from dynamics.data.samples import Dataset
from dynamics.data.tree_moments import leaf_scale, tree_view_moments
from dynamics.data.tree_samples import tree_of
from dynamics.training.augmentations import augment
from dynamics.training.generator import new_key, normal
from dynamics.training.modes import Spectrum, spectrum_of_moments, spectrum_of_views
from dynamics.training.parts import DataSettings

LARGEST_BYTES = 2 * 2**30
"""Samples are held in memory as float32; more than this is refused, and `limit` offered."""


SPECTRUM_VIEWS, SPECTRUM_NUMBERS = 4096, 2**24
"""Pairs of views from which the modes of loaded data are told: so many, or as many as have so many pixels."""


class Samples(NamedTuple):
    """What batches are drawn from, on the device.

    Parameters
    ----------
    images
        Training samples (N, h, w, c) or (N, d); () for ``gaussian``; the pairs (2, N, n1) for ``exact``.
    roots
        Matrices A (n1, n1) with A Aᵀ = Σd and B with B Bᵀ = Σs − Σd, for ``gaussian``; () otherwise.
    sources
        State of the root of each training sample (N,), for ``tree``; () otherwise.
    """

    images: Any
    roots: Any
    sources: Any = ()


class Probe(NamedTuple):
    """Labelled samples for the linear probe, unaugmented: fitted on the first pair, judged on the second."""

    images: Any
    labels: Any
    held_out_images: Any
    held_out_labels: Any


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Samples as the trainer sees them.

    Parameters
    ----------
    settings
        What was asked for.
    samples
        What batches are drawn from, NumPy arrays in float64.
    shape
        Shape of one sample.
    probe
        Labelled samples, or None where there are no labels or nothing is held out.
    evaluation
        Samples (M, *shape), not augmented, on which features are measured: held-out ones where there are any; for
        ``exact`` the first views, so that F is W Σs Wᵀ without error.
    """

    settings: DataSettings
    samples: Samples
    shape: tuple[int, ...]
    probe: Probe | None
    evaluation: np.ndarray

    @property
    def n1(self) -> int:
        """Dimension of a flattened sample."""
        return int(np.prod(self.shape))

    @cached_property
    def spectrum(self) -> Spectrum:
        """Modes of the views: exact where moments are given, else as sampled views tell them."""
        if self.settings.from_moments and not self.settings.augmentations:
            return spectrum_of_moments(_full(self.settings.sigma_s), _full(self.settings.sigma_d))
        tree = tree_of_source(self.settings.source)
        if tree is not None:
            return spectrum_of_moments(*tree_view_moments(tree, self.settings.chain())[0])
        n = max(8, min(SPECTRUM_VIEWS, SPECTRUM_NUMBERS // self.n1))
        key = new_key(np.asarray(self.settings.seed, np.uint32))
        samples = jax.tree.map(lambda a: np.asarray(a, np.float32), self.samples)
        views = draw_views(self.settings, self.settings.chain(), samples, key, n)
        return spectrum_of_views(np.asarray(views).reshape(2, n, -1))

    def moments(self, **options: Any) -> Moments:
        """Moments Σs and Σd of the views that training draws; options of `Moments.from_data` where data are loaded.

        Raises
        ------
        ValueError
            The source is ``gaussian`` and augmentations are drawn on top: it has no samples to take moments of.
        """
        if self.settings.from_moments:
            if self.settings.augmentations:
                raise ValueError("moments of gaussian samples with augmentations must be worked out by hand")
            return Moments(_full(self.settings.sigma_s), _full(self.settings.sigma_d))
        tree = tree_of_source(self.settings.source)
        if tree is not None:
            return Moments(*tree_view_moments(tree, self.settings.chain())[0])
        return Moments.from_data(
            self.samples.images, self.settings.chain(), center=False, scale=False, **options
        )


def load_data(
    settings: DataSettings,
    *,
    n_evaluation: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingData:
    """Read or make the samples of a run.

    Parameters
    ----------
    settings
        Where from; see `DataSettings`.
    n_evaluation
        Largest number of samples on which features are measured.
    progress
        Called as progress(done, total) while loaded samples are read.

    Raises
    ------
    FileNotFoundError
        A file or folder is not there.
    ValueError
        The source is unknown or not what it should be, Σd ≼ Σs does not hold, an augmentation does not suit the
        samples, or they are too many for memory.

    Notes
    -----
    Loaded images are centred and scaled as one: mean image and deviation are those of all samples used, held-out
    ones included.

    Examples
    --------
    >>> load_data(DataSettings(source="digits")).samples.images.shape
    (1348, 8, 8, 1)
    """
    if settings.from_moments:
        return _from_moments(settings, n_evaluation)
    dataset, test = load(settings.source), _test_split(settings.source)
    labels, chain = dataset.labels, settings.chain()
    rng = np.random.default_rng(settings.seed)
    n = len(dataset.images)
    picked = rng.permutation(n)[: settings.limit]
    if test is None:
        n_held_out = round(settings.held_out * len(picked))
        held_out, picked = picked[:n_held_out], picked[n_held_out:]
        if len(picked) < 2:
            raise ValueError(
                f"`data.held_out` must leave at least two samples of {n} to train on, got {settings.held_out}"
            )
        parts, rows = (dataset.images[picked], dataset.images[held_out]), np.concatenate([picked, held_out])
        classes = (None, None) if labels is None else (labels[picked], labels[held_out])
    else:
        some = rng.permutation(len(test.images))[: settings.limit]
        parts, rows = (dataset.images[picked], test.images[some]), np.concatenate([picked, some])
        of_test = test.labels
        classes = (None, None) if labels is None or of_test is None else (labels[picked], of_test[some])
    size = sum(part.size for part in parts) * 4
    if size > LARGEST_BYTES:
        raise ValueError(f"{dataset.name} would take {size / 2**30:.1f} GB of memory: give `data.limit`")
    try:
        if dataset.tree is not None:  # by the exact mean and deviation, as views are
            origin, unit = leaf_scale(dataset.tree)
            parts = tuple((part - origin) / unit for part in parts)
        batches = standardised(
            np.concatenate(parts),
            center=dataset.tree is None,
            scale=dataset.tree is None,
            rows=rows,
            progress=progress,
        )
    except ValueError as error:
        raise ValueError(f"`data.source` {settings.source}: {error}") from None
    for augmentation in chain:
        augmentation.check(batches.shape)
    flat = np.concatenate([batch.astype(np.float32) for batch in batches.samples])
    images = flat.reshape(-1, *batches.shape)
    train, held_out_images = images[: len(picked)], images[len(picked) :]
    probe = None
    if classes[0] is not None and len(held_out_images):
        probe = Probe(train, classes[0], held_out_images, classes[1])
    evaluation = held_out_images if len(held_out_images) >= 2 else train
    sources = () if dataset.tree is None or labels is None else labels[picked]
    return TrainingData(
        settings, Samples(train, (), sources), batches.shape, probe, evaluation[:n_evaluation]
    )


def tree_of_source(source: str) -> LatentTree | None:
    """Latent tree of a source ``tree:…``; None for any other source."""
    kind, _, spec = source.partition(":")
    return tree_of(spec) if kind == "tree" else None


def _tree_views(tree: LatentTree, sources: Any, key: Any, dtype: Any) -> Any:
    """Two views of sources (N,), the root's states: leaves drawn anew, centred and scaled, shape (2, N, leaves)."""
    origin, unit = leaf_scale(tree)
    batch = len(sources)
    roots = jnp.concatenate([sources, sources]).astype(jnp.int32)
    leaves = jax_sampler(tree, tree.leaves)(key, 2 * batch, root=roots)
    return ((leaves - origin) / unit).astype(dtype).reshape(2, batch, -1)


def _test_split(source: str) -> Dataset | None:
    return load(source, split="test") if source.partition(":")[0] in ("cifar10", "stl10") else None


def _full(sigma: tuple[Any, ...]) -> np.ndarray:
    array = np.array(sigma)
    return np.diag(array) if array.ndim == 1 else array


def _root(sigma: np.ndarray) -> np.ndarray:
    values, U = np.linalg.eigh(sigma)
    return U * np.sqrt(np.maximum(values, 0))


def _from_moments(settings: DataSettings, n_evaluation: int) -> TrainingData:
    sigma_s, sigma_d = _full(settings.sigma_s), _full(settings.sigma_d)
    n1 = len(Moments(sigma_s, sigma_d).sigma_s)
    if n1 < len(sigma_s):
        raise ValueError(f"`data.sigma_s` must be positive definite, got rank {n1} of {len(sigma_s)}")
    for augmentation in settings.chain():
        augmentation.check((n1,))
    if settings.source == "exact":
        pairs = exact_pairs(sigma_s, sigma_d)
        return TrainingData(settings, Samples(pairs, ()), (n1,), None, pairs[0])
    shared = _root(sigma_d)
    rng = np.random.default_rng(settings.seed)
    evaluation = rng.standard_normal((n_evaluation, n1)) @ shared.T
    samples = Samples((), (shared, _root(sigma_s - sigma_d)))
    return TrainingData(settings, samples, (n1,), None, evaluation)


def exact_pairs(sigma_s: np.ndarray, sigma_d: np.ndarray) -> np.ndarray:
    """Pairs of views whose averages are the moments without error, shape (2, 2 n1, n1).

        mean of x1 x1ᵀ = mean of x2 x2ᵀ = Σs,   mean of x2 x1ᵀ = Σd

    x1 = (a + b)/√2 and x2 = (a − b)/√2, where a runs through √N times the columns of a root of Σs + Σd while b = 0,
    then b through those of a root of Σs − Σd while a = 0.

    Examples
    --------
    >>> x1, x2 = exact_pairs(np.eye(1), np.array([[0.5]]))
    >>> (x2.T @ x1 / len(x1)).round(12)
    array([[0.5]])
    """
    n1 = len(sigma_s)
    a, b = (np.sqrt(n1) * _root(sigma).T for sigma in (sigma_s + sigma_d, sigma_s - sigma_d))
    return np.stack([np.concatenate([a, b]), np.concatenate([a, -b])])


def draw_views(
    settings: DataSettings, chain: tuple[Augmentation, ...], samples: Samples, key: Any, batch: int
) -> Any:
    """Two views of each sample of a batch drawn with replacement, shape (2, N, …).

    Parameters
    ----------
    settings, chain
        The source and its augmentations.
    samples
        Arrays on the device.
    key
        Randomness of this batch.
    batch
        N; ``exact`` gives all of its pairs, whatever N is.
    """
    if settings.source == "exact":
        return samples.images
    for_samples, for_views = jax.random.split(key)
    if settings.source == "gaussian":
        shared, own = samples.roots
        n1 = len(shared)
        x = normal(for_samples, (batch, n1), shared.dtype) @ shared.T
        for_noise, for_views = jax.random.split(for_views)
        both = x + normal(for_noise, (2, batch, n1), own.dtype) @ own.T
    else:
        # modulo prefers some samples to others by less than n/2³², and costs half of `jax.random.randint`
        chosen = jax.random.bits(for_samples, (batch,), jnp.uint32) % np.uint32(len(samples.images))
        tree = tree_of_source(settings.source)
        if tree is None:
            x = samples.images[chosen]
            both = jnp.broadcast_to(x, (2, *x.shape))
        else:
            for_tree, for_views = jax.random.split(for_views)
            both = _tree_views(tree, samples.sources[chosen], for_tree, samples.images.dtype)
    return view_pair(chain, for_views, both)


def view_pair(chain: tuple[Augmentation, ...], key: Any, both: Any) -> Any:
    """Augment each of (2, N, …) samples by a draw of its own."""
    if not chain:
        return both
    return augment(chain, key, both.reshape(-1, *both.shape[2:])).reshape(both.shape)
