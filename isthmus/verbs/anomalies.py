"""Which items are strange, how strange, and what about them; with p-values in place of a guess.

Of an item x with the code z, any embedding says -log p(x | z), the reconstruction, and -log p(z), the prior. Against
normal items, the reference, there are also the measures of ``isthmus.verbs.local_outliers``: a code and what it leaves
out are the whole item, so neighbours are sought among the items themselves.

The combined score is the mean of what the measures are worth, each as -log of the share of normal items that measure
as much: one unit for all, the nat, without labels and weights (averages: Aggarwal & Sathe 2015). The two parts of the
embedding, reconstruction and prior, count as one measure, their mean.

Shapes: n items; D... the axes of an item; F numbers of its linear view; L measures.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.errors import DataError, NotSupported, SettingError, warn
from isthmus.evaluate import rows_not_learned
from isthmus.models.embedding import BLOCK
from isthmus.verbs.conformal import discoveries, p_values, require_enough, require_share, surprise
from isthmus.verbs.local_outliers import LocalOutliers

__all__ = ["Detection", "Reference", "anomaly_scores", "contributions", "detect"]

SCORES = ("combined", "reconstruction", "prior", "neighbours")
ABLE = "PCA, Autoencoder and VAE have one"
REFERENCES = 2048  # normal items that distances are taken to; more change the nearest by the root of degree F only
FARTHEST = 1e38  # nats of an element that float32 cannot hold
WIDE = 2048  # numbers of an item, beyond which neighbours are sought among codes: 32 MiB of references


class Detection(NamedTuple):
    """What ``detect`` found, (n,) each: bool, float64, float64."""

    flagged: np.ndarray
    p_values: np.ndarray
    scores: np.ndarray


class Reference:
    """Normal items as an embedding sees them: what is usual, against which others are strange.

    Parameters
    ----------
    model : any fitted embedding with a decoder and a prior
    X : normal items, two at least; those that the model learned from will do. At most 2,048 of them, drawn by the
        seed, are compared with
    seed : default 0

    Attributes
    ----------
    model : the embedding
    count_ : int, how many items are compared with
    scores_ : (m,) float64, the combined scores of at most 2,048 of the items, each compared with the others
    """

    def __init__(self, model: Any, X: Any, *, seed: int = 0) -> None:
        _require_able(model, ("reconstruction", "prior"))
        _require_seed(seed)
        self._learn(model, model._stored(X), None, int(seed))

    @classmethod
    def _of_stored(cls, model: Any, stored: Any, kept: np.ndarray | None, seed: int) -> Reference:
        """From stored items; with ``kept`` (n,) bool neighbours are those alone, and what is usual is that of all."""
        made = cls.__new__(cls)
        made._learn(model, stored, kept, seed)
        return made

    def _learn(self, model: Any, stored: Any, kept: np.ndarray | None, seed: int) -> None:
        if len(stored) < 2:
            raise DataError("the reference is 1 sample, one item: two at least are needed, to compare them")
        random = np.random.default_rng(seed)
        self.model = model
        chosen = _drawn(random, np.arange(len(stored)))
        near = chosen if kept is None else _drawn(random, np.flatnonzero(kept))
        rows = _rows(model, stored[torch.from_numpy(near)])
        self.count_ = len(rows)
        self._shift, self._scale = _scaling(model, rows)
        ranged = model.format_.spec.kind == "vector"
        self._near = LocalOutliers((rows - self._shift) / self._scale, ranged, _groups(model, rows.shape[1]), seed)
        measured = _by_block(self._measured, stored[torch.from_numpy(chosen)])
        self._rising = np.sort(measured, axis=0)  # (m, L), each in order
        self.scores_ = self._worth(measured, "combined")

    def _measured(self, stored: Any) -> np.ndarray:
        """(BLOCK, L) measures: reconstruction, prior, and those of the neighbours."""
        parts = _parts(self.model, stored, SCORES[1:3])
        return np.concatenate([parts, self._near((_rows(self.model, stored) - self._shift) / self._scale)], axis=1)

    def _scores(self, stored: Any, score: str) -> np.ndarray:
        """(n,) float64, see ``anomaly_scores``."""
        return _by_block(lambda block: self._worth(self._measured(block), score), stored)

    def _worth(self, measured: np.ndarray, score: str) -> np.ndarray:
        """(n,) mean surprise, nats, of measures (n, L)."""
        worth = [surprise(self._rising[:, j], measured[:, j]) for j in range(measured.shape[1])]
        near = np.sum(worth[2:], axis=0)
        if score == "neighbours":
            return np.asarray(near / len(worth[2:]))
        return np.asarray((near + (worth[0] + worth[1]) / 2) / (len(worth) - 1))


def _by_block(function: Callable[[Any], np.ndarray], stored: Any) -> np.ndarray:
    """``function`` over stored items, BLOCK together and the last ones filled up: sums of other shapes have other bits.

    What is streamed passes by.
    """
    pieces = []
    for start in range(0, len(stored), BLOCK):
        block = stored[start : start + BLOCK]
        kept = len(block)
        if kept < BLOCK:
            block = torch.cat([block, block[:1].expand(BLOCK - kept, *block.shape[1:])])
        pieces.append(function(block)[:kept])
    return np.concatenate(pieces)


def _drawn(random: np.random.Generator, places: np.ndarray) -> np.ndarray:
    """At most ``REFERENCES`` of the places, rising."""
    if len(places) <= REFERENCES:
        return places
    return np.sort(random.choice(places, REFERENCES, replace=False))


def anomaly_scores(model: Any, X: Any, score: str = "combined", *, reference: Any = None) -> np.ndarray:
    """How strange each item is: higher is stranger. An item's score does not depend on the other items of X.

    Parameters
    ----------
    model : any fitted embedding, or a fitted ``AnomalyDetector``, which has its own normal items
    X : n items of the form that was learned
    score : "reconstruction": -log p(x | z) in nats, of the code z of x. "prior": -log p(z) in nats. "neighbours": how
        far and how far outside of the reference, in nats of surprise. "combined", the default: with a reference the
        mean of the surprises of all measures; without one -log p(x | z) - log p(z), for which nothing need be known
        but the model
    reference : normal items, or a ``Reference`` made of them, which saves time where it is used again

    Returns
    -------
    (n,) float64. An item that equals one of the reference is compared with the others

    Raises
    ------
    NotSupported : the model has no decoder or no prior
    SettingError : another word; neighbours without a reference
    DataError, FormatError : the items are not what was learned

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> model = im.PCA(16).fit(X[:1000])
    >>> im.anomaly_scores(model, X[1000:], reference=X[:1000]).shape
    (797,)
    """
    if score not in SCORES:
        raise SettingError(f"score={score!r}: expected one of {', '.join(map(repr, SCORES))}")
    if hasattr(model, "reference_"):
        if reference is not None:
            raise SettingError("reference=: a detector has its own normal items, leave it out")
        model, reference = model.model_, model.reference_
    else:
        _require_model(model)
    if score in ("reconstruction", "prior"):
        return _parts(model, model._stored(X), (score,))[:, 0]
    if reference is None:
        if score == "neighbours":
            raise SettingError("score='neighbours' needs reference=, the normal items that X is compared with")
        return _parts(model, model._stored(X), SCORES[1:3]).sum(1)
    if not isinstance(reference, Reference):
        reference = Reference(model, reference)
    elif reference.model is not model:
        raise SettingError("reference= was made with another model: make it with this one")
    return reference._scores(model._stored(X), score)


def contributions(model: Any, X: Any) -> np.ndarray:
    """What about each item is strange: what every element adds to the score of its reconstruction.

    Parameters
    ----------
    model : any fitted embedding with a decoder, or a fitted ``AnomalyDetector``
    X : n items of the form that was learned

    Returns
    -------
    (n, D...) float64 in nats, -log p of each element given the item's code: vectors (n, d), pictures (n, c, h, w),
    series (n, c, t); they sum to ``anomaly_scores(model, X, "reconstruction")``. Of tables (n, columns), in the order
    of ``model.format_.columns``, 0 where a cell is empty

    Raises
    ------
    NotSupported : the model has no decoder
    DataError, FormatError : the items are not what was learned

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> im.contributions(im.PCA(16).fit(X), X[:5]).shape
    (5, 1, 8, 8)
    """
    model = model.model_ if hasattr(model, "reference_") else model
    _require_model(model)
    _require_able(model, ("reconstruction",))
    nats = model._in_blocks(lambda rows: _nats(model, rows), model._stored(X)).numpy()
    return _by_column(model, nats) if model.format_.spec.kind == "table" else nats


def detect(
    model: Any,
    X: Any,
    fdr: float = 0.05,
    *,
    calibration: Any = None,
    reference: Any = None,
    score: str = "combined",
    seed: int = 0,
) -> Detection:
    """Which items are anomalies, so that of those that are flagged a share of ``fdr`` is expected to be none.

    Scores become p-values by normal items that were held out (split conformal, Bates et al. 2023); p-values become a
    list by the procedure of Benjamini and Hochberg (1995), with the share of normal items estimated (Storey et al.
    2004; Marandon et al. 2024). No share of anomalies is guessed. Where few items to calibrate with make the steps of
    the p-values too coarse for ``fdr``, the list is longer or shorter by a chance that spends it; it always holds the
    items of the highest scores.

    Parameters
    ----------
    model : any fitted embedding, or a fitted ``AnomalyDetector``
    X : n items of the form that was learned
    fdr : false-discovery rate, above 0 and below 1
    calibration : normal items that neither the model nor the reference knows, 1 / fdr - 1 at least. None, with a
        detector: those that it held out. Anomalies among them make p-values larger, and the list shorter. The very
        items of the fit are recognised, and warned of: their scores are too low
    reference, score : as in ``anomaly_scores``
    seed : of that chance, which is drawn from it and from all scores: the same items give the same list, in any order

    Returns
    -------
    Detection(flagged, p_values, scores): (n,) bool, float64, float64. A p-value belongs to its item alone; the list to
    all of X

    Raises
    ------
    SettingError : fdr out of range; no ``calibration`` with an embedding
    DataError : ``calibration`` is too small; the message says how many items are needed

    Examples
    --------
    >>> import isthmus as im
    >>> X = im.datasets.digits()
    >>> model = im.PCA(16).fit(X[:800])
    >>> found = im.detect(model, X[1400:], reference=X[:800], calibration=X[800:1400])
    >>> found.flagged.shape
    (397,)
    """
    require_share(fdr=fdr)
    _require_seed(seed)
    if reference is not None and not isinstance(reference, Reference) and not hasattr(model, "reference_"):
        _require_model(model)
        reference = Reference(model, reference)  # once, for both
    if calibration is not None:
        normal = anomaly_scores(model, calibration, score, reference=reference)
        _note_learned(getattr(model, "model_", model), calibration)
    elif getattr(model, "held_out_count_", 0) and score == "combined":
        normal = model.calibration_
    else:
        raise SettingError(
            "calibration= is needed: normal items that the model has not learned from. An "
            "AnomalyDetector(held_out=0.2) keeps some by itself, for score='combined'"
        )
    require_enough(len(normal), fdr)
    scores = anomaly_scores(model, X, score, reference=reference)
    p = p_values(normal, scores)
    drawn = [seed, *(zlib.crc32(np.sort(some).tobytes()) for some in (normal, scores))]
    chance = np.random.default_rng(drawn).random()
    return Detection(discoveries(p, len(normal), fdr, chance), p, scores)


def _note_learned(model: Any, calibration: Any) -> None:
    """A warning where the items to calibrate with are the very items of the fit, whose scores are too low."""
    if "data" not in model.history_ and "apart" not in model.history_:
        return
    stored = model._stored(calibration)
    if learned := len(stored) - len(rows_not_learned(model, stored)):
        warn(
            f"the model has learned from {learned} of the {len(stored)} items to calibrate with: their scores are too "
            "low, so more is flagged falsely than was asked for. Calibrate with normal items that it has not seen"
        )


# ---- what a model says of stored items -------------------------------------------------------------------------------


def _require_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")


def _require_model(model: Any) -> None:
    if not callable(getattr(model, "encode", None)) or not hasattr(model, "_stored"):
        raise NotSupported(
            f"{type(model).__name__} is neither an embedding nor an AnomalyDetector: give a fitted PCA, Autoencoder or "
            "VAE, or a fitted AnomalyDetector"
        )
    check_is_fitted(model, "format_")


def _require_able(model: Any, wanted: tuple[str, ...]) -> None:
    for part, method, what in (("reconstruction", "_decode", "decoder"), ("prior", "prior_", "prior")):
        if part in wanted and not hasattr(model, method):
            raise NotSupported(f"the {part} of an item needs a {what}, which {type(model).__name__} does not have; "
                               f"{ABLE}")  # fmt: skip


def _parts(model: Any, stored: Any, wanted: tuple[str, ...]) -> np.ndarray:
    """The wanted of -log p(x | z) and -log p(z) of stored items, (n, wanted) float64."""
    _require_able(model, wanted)

    def of_block(block: Any) -> np.ndarray:
        columns = []
        for part in wanted:
            if part == "prior":
                columns.append(-model.prior_.log_prob(model._in_blocks(model._encode_stored, block).numpy()))
            else:
                columns.append(model._in_blocks(lambda rows: _nats(model, rows).flatten(1).sum(1), block).numpy())
        return np.stack(columns, 1)

    return _by_block(of_block, stored)


def _nats(model: Any, stored: Tensor) -> Tensor:
    """One block: -log p of each element given the item's own code, (B, D...) float64; 0 in a hole."""
    x = model.format_.scale(stored)
    return nats_of(model, model._decode(model._encode(x)), x)


def nats_of(model: Any, params: Tensor, x: Tensor) -> Tensor:
    """-log p of each element of scaled items x given what the decoder says, (B, D...) float64; 0 in a hole."""
    return torch.nan_to_num(model.likelihood_.nll(params, x).double(), nan=0.0, posinf=FARTHEST)


def _by_column(model: Any, elements: np.ndarray) -> np.ndarray:
    """(n, columns) sums over the elements of each column of a table."""
    form, names = model.format_, _owners(model.format_, elements.shape[1])
    sums = np.zeros((len(elements), len(form.columns)))
    for number, name in enumerate(names):
        sums[:, form.columns.index(name)] += elements[:, number]
    return sums


def _owners(form: Any, width: int) -> list[str]:
    """The column of each number of a table's scaled view, or of its linear one."""
    elements = [column.name for code in form.codes_ for column in code.elements]
    if width == len(elements):
        return elements
    return [elements[form._lines.kept[element]] for element in form._lines.owner.tolist()]


def _rows(model: Any, stored: Any) -> np.ndarray:
    """(n, F) float64: the linear view, holes as the decoder fills them; of wide items code and length of the rest."""

    def seen(block: Tensor) -> Tensor:
        x = model.format_.linear(model.format_.scale(block)).flatten(1).double()
        if x.shape[1] <= WIDE and not x.isnan().any():
            return x
        z = model._encode_stored(block)
        told = model._linear_mean(z).flatten(1).double()
        if x.shape[1] <= WIDE:
            return torch.where(x.isnan(), told, x)
        rest = torch.nan_to_num(x - told).square().sum(1, keepdim=True).sqrt()
        return torch.cat([z.double(), rest], dim=1)

    return model._in_blocks(seen, stored).numpy()


def _scaling(model: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to subtract and to divide by, so that columns weigh alike; other things have one unit, and one deviation."""
    middle, spread = rows.mean(0), rows.std(0)
    if model.format_.spec.kind != "vector":
        spread = np.full_like(spread, np.sqrt(np.square(spread).mean()))
    return middle, np.where(spread > 1e-9 * np.abs(middle), spread, 1.0)


def _groups(model: Any, width: int) -> np.ndarray | None:
    """Which numbers of a row belong to one column of a table."""
    if model.format_.spec.kind != "table" or width != model.format_._lines.width:
        return None
    return np.unique(_owners(model.format_, width), return_inverse=True)[1]
