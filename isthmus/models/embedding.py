"""The abstract embedding: what every model is, whatever it learns by.

Shapes, said once: n items; D... the axes of an item in its tensor view; K = ``latent_dim_`` coordinates of a code;
P parameters an element; B rows of a block.
"""

from __future__ import annotations

import copy
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from isthmus import metrics, priors, store
from isthmus.errors import DamagedFileError, DataError, FormatError, NotSupported, SettingError
from isthmus.formats.base import Format
from isthmus.formats.containers import indexed_as
from isthmus.formats.infer import format_from_json, format_of
from isthmus.formats.tables import TableFormat
from isthmus.likelihoods import Likelihood, likelihood_from_json
from isthmus.models.conditional import Conditional
from isthmus.threads import side_by_side
from isthmus.training.device import steady_products
from isthmus.training.feed import data_hash

__all__ = ["BLOCK", "Embedding", "require_switch", "seed_from"]

BLOCK = 256  # rows that are always computed together: see Embedding.encode
PART = 32 * BLOCK  # rows that one thread encodes, and that are scaled at once: a table's then stay in the cache
MOST_LATENTS = 2**16  # beyond it nothing is squeezed, and the layers next to the code no longer fit
LOG = logging.getLogger("isthmus")


class Embedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A scikit-learn estimator that learns an encoder and a decoder. Abstract: its children are final.

    A child gives ``word``, ``_learn``, ``_encode``, ``_decode`` and ``_tensors``/``_restore``; everything that users
    call stands here.

    Attributes
    ----------
    format_ : Format, how items become tensors
    latent_dim_ : int, length K of a code
    likelihood_ : Likelihood of an item given the decoder's output
    prior_ : Prior of the codes, what ``sample`` draws from
    n_features_in_ : int, number of elements of an item
    history_ : dict, what was measured during training (empty for closed forms)
    """

    word: ClassVar[str]  # names the model in files and on the command line
    latent_dim: int | str | None
    format: Any
    random_state: Any
    format_: Format
    latent_dim_: int
    likelihood_: Likelihood
    prior_: priors.Prior
    history_: dict[str, Any]
    _conditional: Conditional | None = None  # of a table, for its holes

    # ---- what a child gives ------------------------------------------------------------------------------------------

    @abstractmethod
    def _learn(self, stored: Tensor, y: Any) -> None:
        """Learn from the stored view (n, D...); set latent_dim_, likelihood_, prior_, history_."""

    @abstractmethod
    def untrained(self) -> Self:
        """This model as it would be without learning, in the same format: a baseline for any claim."""

    @abstractmethod
    def _encode(self, x: Tensor) -> Tensor:
        """One block, scaled (B, D...), to codes (B, K)."""

    @abstractmethod
    def _decode(self, z: Tensor) -> Tensor:
        """One block of codes (B, K) to the likelihood's parameters (B, P, D...). Ordered models take fewer than K."""

    @abstractmethod
    def _tensors(self) -> dict[str, Tensor]:
        """Everything learned that is an array, by name."""

    @abstractmethod
    def _restore(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse of ``_tensors`` and ``_learned``, on loading."""

    def _learned(self) -> dict[str, Any]:
        """What else was learned, as JSON values."""
        return {}

    @abstractmethod
    def _log_likelihood(self, x: Tensor) -> Tensor:
        """One block, scaled (B, D...), to (a bound of) log p(x) in nats (B,)."""

    def _linear_decoder(self) -> tuple[Tensor, Tensor] | None:
        """Mean (D,) and directions (K, D) where the mean of an item is mean + z @ directions; None where it is not."""
        return None

    def _residual_variance(self) -> float:
        """Variance of the elements of items about the decoder's mean, in the scaled view; 0 where it is not known."""
        return self.likelihood_.residual_variance()

    @property
    def _corrupted_by(self) -> tuple[str, float] | None:
        """What the model learned to take away from items: the kind of damage and its level in the scaled view."""
        return None

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu")

    # ---- learning ----------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from items.

        Parameters
        ----------
        X : array (n, d), images, series, or a folder of pictures: whatever ``format_of`` knows. At least one item
        y : ignored; there so that scikit-learn's pipelines can pass it

        Returns
        -------
        self. An earlier fit is forgotten, unless this one fails: then it is as if it had not been tried. Neither X nor
        the settings nor any global random state is changed.

        Raises
        ------
        DataError, FormatError : the items cannot be learned from; the message names the first bad one
        SettingError : a setting is out of range, or does not go with these items
        """
        with self._as_before_on_failure():
            self._require_settings()
            stored = self._adopt(X)
            return self._fit_stored(self.format_, stored, y)

    def _fit_stored(self, format: Format, stored: Tensor, y: Any = None) -> Self:
        """Learn from items already in the stored view of a fitted format."""
        self.format_ = format
        self.n_features_in_ = format.n_features
        self._conditional = None
        with ThreadPoolExecutor(1, "isthmus-name") as beside:  # a twentieth of a closed form's time, and nobody waits
            named = beside.submit(data_hash, stored)
            self._learn(stored, y)
            self.history_["data"] = named.result()
        return self

    @contextmanager
    def _as_before_on_failure(self) -> Iterator[None]:
        """Whatever stops a fit, the earlier one is still there, or NotFittedError is what the next call gives."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _adopt(self, X: Any) -> Tensor:
        """The stored view, of a format fitted to X; keeps what scikit-learn asks an estimator to keep of its input."""
        made = self._format_for(X)
        stored = made.fit_tensor(X)
        if made.spec.kind == "vector" and (hasattr(X, "__array__") or isinstance(X, (list, tuple))):
            self._compare(X, reset=True)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.n_features_in_ = made.n_features
        self.format_ = made
        return stored

    def _format_for(self, X: Any) -> Format:
        """The format to fit, one that no other model holds."""
        return copy.deepcopy(format_of(X, self.format))

    def _require_settings(self) -> None:
        k = self.latent_dim
        if k is None or k == "auto":
            return
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= MOST_LATENTS:
            raise SettingError(
                f"latent_dim={k!r}: expected a whole number from 1 to {MOST_LATENTS}, 'auto', or None for the default"
            )

    # ---- codes -------------------------------------------------------------------------------------------------------

    def encode(self, X: Any) -> np.ndarray:
        """Items to codes.

        Parameters
        ----------
        X : items of the form that was learned

        Returns
        -------
        (n, latent_dim_) float32. The same item gives the same bits whatever else is in the call: rows go through the
        network in blocks of 256, the last one padded, so that every product has one shape. A VAE gives posterior means.

        Raises
        ------
        DataError, FormatError : the items are not what was learned
        sklearn.exceptions.NotFittedError : before ``fit``
        """
        check_is_fitted(self, "format_")
        self._require_width(X)
        items = self.format_.opened(X)
        return _joined(self._encoded(items), getattr(items, "n_rows", None))

    def _encoded(self, X: Any) -> Iterator[Tensor]:
        """The codes of items, piece by piece in their order; what is next is read while these are computed."""
        together = self._device.type == "cpu" and self._takes_threads
        if together and isinstance(self.format_, TableFormat):
            yield from self.format_.through(X, self._codes_of_columns)
            return
        parts = (part for stored in self.format_.pieces(X) for part in self.format_.require(stored).split(PART))
        yield from side_by_side(self._codes_of, parts) if together else map(self._codes_of, parts)

    def _codes_of_columns(self, x: np.ndarray) -> Tensor:
        """The elements of a table's rows (E, n) float32, which may be written over, to codes."""
        return self._in_blocks(lambda rows: self._encode(rows).float(), torch.from_numpy(np.ascontiguousarray(x.T)))

    def _codes_of(self, stored: Tensor) -> Tensor:
        """Stored (n, D...) to codes. Tables are scaled at once: that is many small steps, each row for itself."""
        if self.format_.spec.kind == "table":
            return self._in_blocks(lambda x: self._encode(x).float(), self.format_.scale(stored))
        return self._in_blocks(self._encode_stored, stored)

    @property
    def _takes_threads(self) -> bool:
        """Whether blocks may go through the encoder side by side."""
        return True

    def decode(self, Z: Any) -> Any:
        """Codes to items in the user's own form: the mode of the likelihood, rounded and clipped to the items' dtype.

        Parameters
        ----------
        Z : (n, latent_dim_) array of finite numbers

        Raises
        ------
        DataError : of another width, or not finite
        """
        modes = self._in_blocks(self._mode, self._codes(Z))
        return self.format_.from_tensor(self.format_.unscale(modes))

    def reconstruct(self, X: Any) -> Any:
        """``decode(encode(X))``: what is left of the items after the bottleneck.

        Identifiers of tables, and the index of a pandas frame, are as they were.
        """
        modes = self._in_blocks(self._mode, self._codes(self.encode(X)))
        return indexed_as(self.format_.from_tensor_of(self.format_.unscale(modes), X), X)

    def transform(self, X: Any) -> np.ndarray:
        """``encode``, under scikit-learn's name."""
        return self.encode(X)

    def inverse_transform(self, X: Any) -> Any:
        """``decode``, under scikit-learn's name."""
        return self.decode(X)

    def sample(self, n: int = 1, seed: int = 0) -> Any:
        """New items: codes drawn from ``prior_``, decoded, in the user's own form.

        Each item is the likelihood's mean at its code, of a table a draw. ``prior_.describe()`` says which prior it is;
        it is logged too.

        Parameters
        ----------
        n : how many, from 1
        seed : the same seed gives the same items

        Raises
        ------
        SettingError : n below 1
        """
        check_is_fitted(self, "format_")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise SettingError(f"n={n!r}: expected how many items to draw, a whole number from 1")
        LOG.info("sampling %d codes from the prior: %s", n, self.prior_.describe())
        return self._drawn_at(torch.from_numpy(self.prior_.sample(int(n), seed)), seed)

    def _drawn_at(self, codes: Tensor, seed: int) -> Any:
        """New items at codes (n, K): the likelihood's means, of a table draws."""
        if isinstance(self.format_, TableFormat):  # the likeliest level of a choice would be the same one nearly always
            params = self._in_blocks(self._decode, codes)
            with torch.no_grad():
                drawn = self.format_.drawn(self.likelihood_.cpu(), params, torch.Generator().manual_seed(seed))
            return self.format_.from_tensor(self.format_.unscale(drawn))
        return self.format_.from_tensor(self.format_.unscale(self._in_blocks(self._mean, codes)))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of the items in nats; higher is better. ``score_samples`` says of what."""
        return float(self.score_samples(X).mean())

    def score_samples(self, X: Any) -> np.ndarray:
        """(n,) float64: log-likelihood of each item in nats, of its scaled view.

        PCA: the exact log p(x) of probabilistic PCA. VAE: the ELBO, a lower bound of log p(x). Autoencoder:
        log p(x | its own code), which is no density of x, and compares only with other autoencoders.
        """
        stored = self._stored(X)
        return self._in_blocks(lambda s: self._log_likelihood(self.format_.scale(s)), stored).double().numpy()

    # ---- ordered codes -----------------------------------------------------------------------------------------------

    def error_curve(self, X: Any) -> np.ndarray:
        """Mean squared error of an item, sum over its elements, with the first 1, 2, ... latent_dim_ coordinates.

        Returns
        -------
        (latent_dim_,) float64, in the unit ``format_.unit`` squared

        Raises
        ------
        NotSupported : the coordinates of this model have no order
        """
        self._require_ordered("error_curve")
        stored = self._stored(X)
        codes = self._in_blocks(self._encode_stored, stored)
        return np.array([self._mean_error(stored, codes[:, :k]) for k in range(1, self.latent_dim_ + 1)])

    def truncate(self, k: int) -> Self:
        """A model of the first ``k`` coordinates, without training again. The prior is that of those coordinates.

        Raises
        ------
        SettingError : k below 1 or above latent_dim_
        NotSupported : the coordinates of this model have no order
        """
        self._require_ordered("truncate")
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= self.latent_dim_:
            raise SettingError(f"k={k!r}: expected a whole number from 1 to {self.latent_dim_}, the length of the code")
        shorter = copy.deepcopy(self)
        shorter.latent_dim = shorter.latent_dim_ = int(k)
        shorter.prior_ = self.prior_.first(int(k))
        return shorter

    @property
    def _ordered(self) -> bool:
        """True where the first k coordinates are a good code for every k."""
        return False

    def _require_ordered(self, call: str) -> None:
        check_is_fitted(self, "format_")
        if not self._ordered:
            raise NotSupported(
                f"{call} needs ordered latents: PCA has them, Autoencoder and VAE learn them with ordered=True"
            )

    def _mean_error(self, stored: Tensor, codes: Tensor) -> float:
        """Mean of ||x - x~||^2 over items, from codes that may be the beginnings of whole ones."""
        means = self._in_blocks(self._linear_mean, codes)
        total = 0.0
        for start in range(0, len(stored), 4096):
            x = self.format_.linear(self.format_.scale(stored[start : start + 4096]))
            total += float(metrics.squared_error(x, means[start : start + 4096]).sum())
        return total / len(stored)

    # ---- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], report: Any = None) -> Path:
        """Write one file, atomically; ``isthmus.load`` reads it.

        Parameters
        ----------
        path : conventionally NAME.isthmus
        report : what ``evaluate`` gave, for the card that people read

        Raises
        ------
        FileError : the file cannot be written; one that was there before is still there
        """
        check_is_fitted(self, "format_")
        tensors: dict[str, Any] = dict(self._tensors())
        tensors |= {f"prior.{name}": array for name, array in self.prior_.arrays().items()}
        if self._conditional is not None:
            tensors |= {f"conditional.{name}": array for name, array in self._conditional.arrays().items()}
        learned = {
            "latent_dim": self.latent_dim_,
            "n_features_in": self.n_features_in_,
            "feature_names_in": [str(name) for name in getattr(self, "feature_names_in_", [])],
            "likelihood": self.likelihood_.to_json(),
            "prior": self.prior_.to_json(),
            "history": self.history_,
            "own": self._learned(),
        }
        model = {"model": self.word, "settings": self._settings(), "learned": learned}
        store.write(path, model=model, format=self.format_.to_json(), tensors=tensors, card=self._card(report))
        return Path(path)

    def _settings(self) -> dict[str, Any]:
        """The settings as JSON values; what JSON cannot hold is described in words and comes back as its default."""
        settings: dict[str, Any] = {}
        for name, value in self.get_params(deep=False).items():
            if isinstance(value, (bool, int, float, str, type(None))):
                settings[name] = value
            elif isinstance(value, (np.integer, np.floating)):
                settings[name] = value.item()
            elif isinstance(value, (tuple, list)) and all(isinstance(v, (bool, int, float, str)) for v in value):
                settings[name] = {"tuple": list(value)}
            else:
                settings[name] = {"object": type(value).__name__}
        return settings

    @classmethod
    def _from_contents(cls, contents: store.Contents, **given: Any) -> Self:
        """The model that ``save`` wrote. ``given`` are settings that no file can hold, such as modules."""
        if unknown := sorted(given.keys() - set(cls._get_param_names())):
            raise SettingError(f"load(..., {unknown[0]}=): {cls.__name__} has no such setting")
        try:
            settings, learned = contents.model["settings"], contents.model["learned"]
            known = cls._get_param_names()
            values = {name: _setting(saved) for name, saved in settings.items() if name in known}
            values = {name: value for name, value in values.items() if value is not Ellipsis}
            model = cls(**(values | given))
            model.format_ = format_from_json(contents.format)
            model.likelihood_ = likelihood_from_json(learned["likelihood"])
            model.latent_dim_ = int(learned["latent_dim"])
            model.n_features_in_ = int(learned["n_features_in"])
            if learned["feature_names_in"]:
                model.feature_names_in_ = np.array(learned["feature_names_in"], dtype=object)
            model.history_ = dict(learned["history"])
            own, saved, cells = (_below(contents.tensors, part) for part in ("", "prior.", "conditional."))
            model.prior_ = priors.prior_from_json(learned["prior"], _arrays(saved))
            model._conditional = Conditional(**_arrays(cells)).require(model.format_) if cells else None
            model._restore(learned["own"], own)
            lengths = (model.prior_.latent_dim_, model.n_features_in_)
            if lengths != (model.latent_dim_, model.format_.n_features):
                raise ValueError("the prior, the format and the lengths of codes and items do not go together")
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, (DamagedFileError, SettingError)):
                raise
            raise DamagedFileError(f"the file is no {cls.word} model as Isthmus writes them: {error}") from error
        return model

    def _card(self, report: Any) -> str:
        """What a person who finds the file wants to know."""
        history = self.history_
        lines = [f"# {type(self).__name__}, {self.latent_dim_} latents", "", f"- items: {self.format_.spec}"]
        if history.get("items"):
            held_out = history.get("held_out_items", 0)
            lines.append(f"- learned from {history['items']} items, {held_out} of them held out")
        if history.get("held_out"):
            best = min(history["held_out"])
            lines.append(
                f"- held-out loss {best:.6g} after epoch {history['best_epoch']} of {history['epoch'][-1]}, "
                f"{history['seconds'][-1]:.1f} s of training ({history['ended']})"
            )
        lines += [f"- likelihood: {self.likelihood_}", f"- prior: {self.prior_.describe()}"]
        settings = {name: value for name, value in self._settings().items() if value is not None}
        lines.append(f"- settings: {', '.join(f'{name}={value}' for name, value in settings.items())}")
        lines.append(f"- written with torch {torch.__version__}, numpy {np.__version__}")
        if report is not None:
            lines += ["", "## Measured", "", "```", str(report), "```"]
        return "\n".join(lines) + "\n"

    # ---- between the calls and the blocks ----------------------------------------------------------------------------

    def _stored(self, X: Any) -> Tensor:
        """Items to their stored view, checked against what was learned."""
        check_is_fitted(self, "format_")
        self._require_width(X)
        return self.format_.require(self.format_.to_tensor(X))

    def _require_width(self, X: Any) -> None:
        if self.format_.spec.kind == "vector" and getattr(X, "ndim", 0) == 2:
            self._compare(X, reset=False)

    def _compare(self, X: Any, reset: bool) -> None:
        """Number and names of columns as scikit-learn learns and checks them."""
        try:
            validate_data(self, X, skip_check_array=True, reset=reset)
        except (TypeError, ValueError) as error:
            raise FormatError(str(error)) from error

    def _codes(self, Z: Any) -> Tensor:
        check_is_fitted(self, "format_")
        try:
            codes = torch.from_numpy(np.ascontiguousarray(np.asarray(Z), dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise FormatError(f"codes must be an array of numbers (n, {self.latent_dim_}): {error}") from error
        if codes.ndim != 2 or codes.shape[1] != self.latent_dim_ or not len(codes):
            raise DataError(
                f"codes of shape {tuple(codes.shape)} given; this {type(self).__name__} decodes (n, {self.latent_dim_})"
                " with n from 1"
            )
        if not torch.isfinite(codes).all():
            row = int((~torch.isfinite(codes)).any(1).nonzero()[0])
            raise DataError(f"code {row} is not finite (NaN or infinity): give finite numbers")
        return codes

    def _encode_stored(self, stored: Tensor) -> Tensor:
        return self._encode(self.format_.scale(stored)).float()

    def _mode(self, z: Tensor) -> Tensor:
        return self.likelihood_.mode(self._decode(z))

    def _mean(self, z: Tensor) -> Tensor:
        return self.likelihood_.mean(self._decode(z))

    def _linear_mean(self, z: Tensor) -> Tensor:
        """The means in the view in which errors are measured."""
        return self.format_.linear_mean(self.likelihood_, self._decode(z))

    def _in_blocks(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """``function`` over blocks of exactly BLOCK rows, the last one padded: every row sees the same arithmetic."""
        pieces = []
        with torch.inference_mode(), steady_products():
            for start in range(0, len(rows), BLOCK):
                block = rows[start : start + BLOCK].to(self._device)
                kept = len(block)
                if kept < BLOCK:
                    block = torch.cat([block, block[:1].expand(BLOCK - kept, *block.shape[1:])])
                pieces.append(function(block)[:kept].cpu())
        return torch.cat(pieces)

    @property
    def _n_features_out(self) -> int:
        """What ``get_feature_names_out`` asks."""
        return self.latent_dim_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _joined(pieces: Iterator[Tensor], rows: int | None) -> np.ndarray:
    """Codes piece by piece as one array; where ``rows`` says how many there will be, they are copied as they come."""
    first = next(pieces)
    if rows is None or len(first) == rows:
        return torch.cat([first, *pieces]).numpy()
    out, start = np.empty((rows, first.shape[1]), np.float32), 0
    for piece in chain([first], pieces):
        out[start : start + len(piece)] = piece.numpy()
        start += len(piece)
    return out


def _below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part of a model, under their own names; the empty part is all that are in none."""
    parts = {name: next((p for p in ("prior.", "conditional.") if name.startswith(p)), "") for name in tensors}
    return {name.removeprefix(part): tensor for name, tensor in tensors.items() if parts[name] == part}


def _arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _setting(saved: Any) -> Any:
    """A setting as ``_settings`` wrote it; Ellipsis for an object, which no file holds: the default stands for it."""
    if not isinstance(saved, dict):
        return saved
    return tuple(saved["tuple"]) if "tuple" in saved else ...


def require_switch(**settings: Any) -> None:
    """SettingError for what is neither True nor False."""
    for name, value in settings.items():
        if not isinstance(value, (bool, np.bool_)):
            raise SettingError(f"{name}={value!r}: expected True or False")


def seed_from(random_state: Any) -> int:
    """The seed that scikit-learn's ``random_state`` means: an int as it is, None is 0, a RandomState draws one.

    None is a fixed seed on purpose: the same call gives the same model.
    """
    if random_state is None:
        return 0
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if not 0 <= int(random_state) < 2**32:
            raise SettingError(f"random_state={random_state!r}: expected a whole number from 0 to {2**32 - 1}")
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    raise SettingError(f"random_state={random_state!r}: expected a whole number, None or a numpy RandomState")
