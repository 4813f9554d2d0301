"""Codes on a plane, and new codes placed on the same map.

- PCA: at once, and a straight look: distances on the map are never greater than those of the codes
- t-SNE: van der Maaten & Hinton 2008, by openTSNE (Policar, Strazar & Zupan 2024), begun from PCA (Kobak & Berens 2019)
- UMAP: McInnes, Healy & Melville 2018, by umap-learn

The last two keep neighbours together and tear the rest: sizes of heaps, and distances between them, mean little.

Shapes: n codes; K latents.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from isthmus.errors import DataError, MissingExtra, SettingError

__all__ = ["METHODS", "Projection", "project"]

METHODS = ("pca", "tsne", "umap")
LEARNED = 10_000  # codes that t-SNE and UMAP learn from, of more; the others are placed
PERPLEXITY, NEIGHBOURS = 30.0, 15  # the defaults of the two papers' authors
BLOCK = 256  # codes that are placed together, the last block padded: a place depends on its own code alone
FEWEST = 4  # codes that have neighbours to keep

Place = Callable[[np.ndarray], np.ndarray]  # (n, K) float64 to (n, 2)


class Projection:
    """A map of codes. ``project`` makes it.

    Attributes
    ----------
    places : (n, 2) float32, where the codes lie, in their order; PCA's in the unit of a code, others without unit
    method : "pca", "tsne" or "umap"
    latent_dim : K, the length of a code
    """

    def __init__(self, places: np.ndarray, method: str, latent_dim: int, place: Place) -> None:
        self.places = places.astype(np.float32)
        self.method, self.latent_dim = method, latent_dim
        self._place = place

    def place(self, codes: Any) -> np.ndarray:
        """Where new codes (n, K) lie on the map, (n, 2) float32; the same code in the same place in any company.

        PCA: projected as the others were. t-SNE: moved by its own gradient, all others fixed. UMAP: the mean of the
        places of the 15 nearest codes, the nearer ones weighing more; its own way depends on the company.

        Raises
        ------
        DataError : no codes, not finite, or of another length than those of the map
        """
        given = _codes(codes)
        if given.shape[1] != self.latent_dim:
            raise DataError(
                f"codes of {given.shape[1]} numbers given, but this map was made of codes of {self.latent_dim}"
            )
        return self._place(given).astype(np.float32)

    def __repr__(self) -> str:
        return f"<Projection of {len(self.places)} codes by {self.method}>"


def project(codes: Any, method: str = "pca", seed: int = 0) -> Projection:
    """Codes on a plane.

    Parameters
    ----------
    codes : (n, K) finite numbers, n from 1, for t-SNE and UMAP from 4
    method : "pca", the default; "tsne" (extra ``maps``); "umap" (extra ``umap``)
    seed : the same seed gives the same map, whatever the number of threads. PCA needs none

    Returns
    -------
    Projection, with ``places`` (n, 2) float32 and ``place(new_codes)``. Of more than 10,000 codes, t-SNE and UMAP learn
    from 10,000 drawn by the seed, and the others are placed

    Raises
    ------
    DataError : codes that are not (n, K), not finite, or too few
    SettingError : an unknown method, a seed that is no whole number from 0
    MissingExtra : openTSNE or umap-learn is not installed

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus.view.maps import project
    >>> codes = np.random.default_rng(0).normal(size=(100, 8))
    >>> flat = project(codes)
    >>> flat.places.shape, flat.place(codes[:3]).shape
    ((100, 2), (3, 2))
    """
    if method not in METHODS:
        raise SettingError(f"method={method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    given = _codes(codes)
    flat = _straight(given)
    if method == "pca":
        return Projection(flat(given), method, given.shape[1], flat)
    if len(given) < FEWEST:
        raise DataError(f"{len(given)} codes have too few neighbours for method={method!r}: give {FEWEST}, or 'pca'")
    some = np.arange(len(given))
    if len(given) > LEARNED:
        some = np.sort(np.random.default_rng(seed).choice(len(given), LEARNED, replace=False))
    learned = given[some]
    begin = flat(learned)
    if np.ptp(learned, axis=0).max() == 0:  # codes that are all alike have no neighbours to keep apart
        return Projection(np.zeros((len(given), 2)), method, given.shape[1], lambda new: np.zeros((len(new), 2)))
    begin = begin / max(float(begin[:, 0].std()), 1e-30)
    found, place = (_tsne if method == "tsne" else _umap)(learned, begin, int(seed))
    places = np.empty((len(given), 2))
    places[some] = found
    others = np.setdiff1d(np.arange(len(given)), some)
    if len(others):
        places[others] = place(given[others])
    return Projection(places, method, given.shape[1], place)


def _straight(codes: np.ndarray) -> Place:
    """The plane of the greatest variance; each axis points where its largest weight is positive."""
    mean = codes.mean(0)
    apart = codes - mean
    if len(codes) < codes.shape[1]:
        axes = np.linalg.svd(apart, full_matrices=False)[2][:2]
    else:
        axes = np.linalg.eigh(apart.T @ apart)[1].T[::-1][:2]
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1) < 0, -1.0, 1.0)
    axes = np.concatenate([axes, np.zeros((2 - len(axes), codes.shape[1]))])  # one latent makes a line

    def place(given: np.ndarray) -> np.ndarray:
        # Sums in one order for every row, which a matrix product does not promise.
        return np.einsum("nk,ak->na", given - mean, axes, optimize=False)

    return place


def _tsne(codes: np.ndarray, begin: np.ndarray, seed: int) -> tuple[np.ndarray, Place]:
    try:
        import openTSNE
    except ImportError as error:
        raise MissingExtra('t-SNE needs openTSNE: pip install "isthmus[maps]"') from error
    import torch

    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    made = openTSNE.TSNE(
        perplexity=perplexity, initialization=begin * 1e-4, neighbors="exact", random_state=seed,
        n_jobs=torch.get_num_threads(),
    ).fit(codes)  # fmt: skip
    fixed = np.array(made)

    def place(given: np.ndarray) -> np.ndarray:
        def together(block: np.ndarray) -> np.ndarray:
            moved = made.prepare_partial(block, initialization="median", perplexity=min(5.0, perplexity))
            # By the tree, for openTSNE's grid depends on the company, and shifts the map.
            return np.array(moved.optimize(250, learning_rate=0.1, momentum=0.8, negative_gradient_method="bh"))

        return _in_blocks(together, given)

    return fixed, place


def _umap(codes: np.ndarray, begin: np.ndarray, seed: int) -> tuple[np.ndarray, Place]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wishes for TensorFlow
        try:
            import umap
        except ImportError as error:
            raise MissingExtra('UMAP needs umap-learn: pip install "isthmus[umap]"') from error
    from sklearn.neighbors import NearestNeighbors

    near = min(NEIGHBOURS, len(codes) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some codes are all alone, or all alike, is to be seen on the map
        mapper = umap.UMAP(n_neighbors=near, init=begin * 10, random_state=seed, n_jobs=1, transform_seed=seed)
        fixed = np.asarray(mapper.fit_transform(codes), dtype=np.float64)
    search = NearestNeighbors(n_neighbors=near).fit(codes)

    def together(block: np.ndarray) -> np.ndarray:
        distance, rows = search.kneighbors(block)
        beyond = distance - distance[:, :1]
        weights = np.exp(-beyond / np.maximum(beyond.mean(1, keepdims=True), 1e-30))
        return np.einsum("nk,nka->na", weights / weights.sum(1, keepdims=True), fixed[rows], optimize=False)

    return fixed, lambda given: _in_blocks(together, given)


def _in_blocks(function: Place, rows: np.ndarray) -> np.ndarray:
    """``function`` over blocks of BLOCK rows, the last one padded: every row sees the same arithmetic."""
    pieces = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        full = np.concatenate([block, np.repeat(block[:1], BLOCK - len(block), axis=0)])
        pieces.append(function(full)[: len(block)])
    return np.concatenate(pieces)


def _codes(given: Any) -> np.ndarray:
    """Finite codes (n, K), float64."""
    given = given.detach().cpu() if hasattr(given, "detach") else given
    try:
        codes = np.ascontiguousarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"a map needs codes, an array of numbers (n, K): {error}") from error
    if codes.ndim != 2 or 0 in codes.shape:
        raise DataError(f"a map needs codes of shape (n, K), n and K from 1, not {codes.shape}")
    bad = ~np.isfinite(codes).all(1)
    if bad.any():
        raise DataError(
            f"code {int(bad.argmax())} is not finite (NaN or infinity): give finite numbers, or leave it out"
        )
    return codes
