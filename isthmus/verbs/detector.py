"""An outlier detector with scikit-learn's face: an embedding, normal items, and a calibration that was held out."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from isthmus.errors import DataError, FormatError, NotSupported, SettingError
from isthmus.formats.base import Format
from isthmus.formats.vectors import VectorFormat
from isthmus.models.embedding import Embedding, seed_from
from isthmus.models.pca import PCA
from isthmus.verbs.anomalies import Reference
from isthmus.verbs.conformal import require_share
from isthmus.verbs.local_outliers import farthest

__all__ = ["AnomalyDetector"]

MOST_LATENTS = 64  # of the default embedding
PIECE = 4096  # items made float at a time


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Finds what is unlike the items that it learned from: no labels, no share of anomalies to guess.

    ``fit`` learns an embedding and what is usual (``isthmus.verbs.anomalies``). Where scores shall become p-values, see
    ``isthmus.detect`` for a list with a known share of false alarms, normal items have to be held out. Works with
    everything that embeddings take: numbers, pictures, series, tables with holes.

    Parameters
    ----------
    model : an embedding, which is cloned and fitted. None: PCA with half as many components as an item has elements,
        at most 64, of standardised columns
    contaminated : whether the items to learn from may hold anomalies; default False. Then the half of them that lies
        farthest from small random samples is left out of what neighbours and embedding are (half, as the minimum
        covariance determinant of Rousseeuw 1985 keeps), and scores say how strange an item is among all of them
    held_out : share of the items that are not learned from, and calibrate p-values; from 0, the default, and below 1.
        What is held out is missing where strangeness is measured; ``detect`` takes ``calibration=`` instead
    false_alarms : share of normal items that ``predict`` calls outliers, above 0 and below 1; of fewer than
        1 / false_alarms - 1 items to calibrate with, an outlier is what is stranger than all
    random_state : seed of what is held out and drawn; None is 0

    Attributes
    ----------
    model_ : the fitted embedding
    reference_ : ``Reference``, what is usual
    calibration_ : (m,) float64, scores of the items that were held out; without any, of those learned from (2,048 at
        most), each compared with the others, which is near but not exact
    held_out_count_ : int, how many were held out
    offset_ : float, ``decision_function`` is ``score_samples`` less this
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np, isthmus as im
    >>> X = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = im.AnomalyDetector().fit(X)
    >>> detector.predict([[0, 0, 0, 0], [9, 9, 9, 9]]).tolist()
    [1, -1]
    """

    def __init__(
        self,
        model: Any = None,
        *,
        contaminated: bool = False,
        held_out: float = 0.0,
        false_alarms: float = 0.05,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.contaminated = contaminated
        self.held_out = held_out
        self.false_alarms = false_alarms
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from n items, two at least; ``y`` is ignored. An earlier fit is forgotten, unless this one fails.

        Raises
        ------
        SettingError : a setting is out of its range
        NotSupported : ``model`` is no embedding
        DataError, FormatError : the items cannot be learned from
        """
        seed = self._require_settings()
        form = self._format_for(X)
        stored = form.fit_tensor(X)
        if len(stored) < 2:
            raise DataError(f"{len(stored)} sample: a detector needs two items at least, to compare them")
        order = np.random.default_rng(seed).permutation(len(stored))
        held = int(self.held_out * len(stored))
        held = held if len(stored) - held >= 2 else 0
        learned, rest = (stored[torch.from_numpy(np.sort(some))] for some in (order[held:], order[:held]))
        kept = ~farthest(_ranged(form, learned), 0.5, seed) if self.contaminated and len(learned) > 3 else None
        normal = learned if kept is None else learned[torch.from_numpy(np.flatnonzero(kept))]
        model = self._unfitted(form, len(normal))
        if form.spec.kind == "image":  # whose format learns nothing but the shape
            model._fit_stored(form, normal)
        else:  # the items themselves go in, so that the format too is learned from these alone
            model.fit(form.from_tensor(normal))
            learned = model._stored(form.from_tensor(learned))
            rest = model._stored(form.from_tensor(rest)) if held else rest
        reference = Reference._of_stored(model, learned, kept, seed)
        calibration = reference._scores(rest, "combined") if held else reference.scores_
        self.model_, self.reference_, self.calibration_, self.held_out_count_ = model, reference, calibration, held
        self._keep_names(X, form)
        beyond = max(int(self.false_alarms * (len(calibration) + 1) + 1e-9), 1)
        self.offset_ = -float(np.sort(calibration)[-beyond])
        return self

    def _require_settings(self) -> int:
        require_share(false_alarms=self.false_alarms)
        if self.held_out != 0 or isinstance(self.held_out, bool):
            require_share(held_out=self.held_out)
        if not isinstance(self.contaminated, (bool, np.bool_)):
            raise SettingError(f"contaminated={self.contaminated!r}: expected True or False")
        if self.model is not None and not isinstance(self.model, Embedding):
            raise NotSupported(
                f"model={self.model!r:.100}: expected an embedding, such as im.PCA(8), im.Autoencoder() or im.VAE()"
            )
        return seed_from(self.random_state)

    def _format_for(self, X: Any) -> Format:
        """The format to read X with, not fitted."""
        if self.model is not None:
            return self.model._format_for(X)
        form = PCA()._format_for(X)
        return VectorFormat("standard") if isinstance(form, VectorFormat) else form

    def _unfitted(self, form: Format, count: int) -> Any:
        """The embedding to fit to ``count`` items."""
        if self.model is not None:
            return clone(self.model)
        return PCA(min(max(form.spec.size // 2, 1), MOST_LATENTS, count), format=copy.deepcopy(form))

    def _keep_names(self, X: Any, form: Format) -> None:
        """What scikit-learn asks an estimator to keep of its input."""
        self.n_features_in_ = form.n_features
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        if form.spec.kind == "vector" and (hasattr(X, "__array__") or isinstance(X, (list, tuple))):
            validate_data(self, X, skip_check_array=True, reset=True)

    def score_samples(self, X: Any) -> np.ndarray:
        """(n,) float64: the lower, the stranger; ``anomaly_scores`` with the other sign.

        Raises DataError, FormatError : the items are not what was learned.
        """
        check_is_fitted(self, "reference_")
        if self.model_.format_.spec.kind == "vector" and getattr(X, "ndim", 0) == 2:
            try:
                validate_data(self, X, skip_check_array=True, reset=False)
            except (TypeError, ValueError) as error:
                raise FormatError(str(error)) from error
        return -self.reference_._scores(self.model_._stored(X), "combined")

    def decision_function(self, X: Any) -> np.ndarray:
        """(n,) float64: ``score_samples`` less ``offset_``; below 0 is an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """(n,) int: 1, or -1 for an outlier: what is stranger than all but ``false_alarms`` of the normal items.

        Each item by itself; for a list of which the share of false alarms is known, see ``isthmus.detect``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)


def _ranged(form: Format, stored: Any) -> np.ndarray:
    """(n, F) float64: the linear view, columns of numbers by their range; 0, the mean, in a hole."""
    pieces = [form.linear(form.scale(part)).flatten(1).double() for part in stored.split(PIECE)]
    rows = torch.nan_to_num(torch.cat(pieces)).numpy()
    if form.spec.kind != "vector":
        return rows - rows.mean(0)
    low, width = rows.min(0), np.ptp(rows, axis=0)
    return (rows - low) / np.where(width > 0, width, 1.0)
