"""A model beside its baselines, and models beside each other, on held-out items.

What is always beside a model: the mean item, PCA of the same size, and the same network before training. A model that
does not beat PCA is reported as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import metrics
from isthmus.errors import DataError, SettingError
from isthmus.formats.base import Format
from isthmus.likelihoods import Gaussian
from isthmus.models.embedding import Embedding, data_hash
from isthmus.models.pca import PCA
from isthmus.training.recipe import split

__all__ = ["Report", "compare", "evaluate"]

ROWS = 4096  # items reconstructed at a time
FOLDS = 5  # for baselines where no training items are given
MAPPED = 2_000  # items whose neighbourhoods are compared
COLUMNS = {  # name in the report: heading, format
    "model": ("", "s"),
    "latents": ("latents", "d"),
    "squared_error": ("|x-x~|^2", ".4g"),
    "distance": ("|x-x~|", ".4g"),
    "mse": ("MSE", ".3g"),
    "psnr": ("PSNR dB", ".2f"),
    "explained": ("explained", ".1%"),
    "nats": ("nats", ".5g"),
    "bits_per_dimension": ("bits/dim", ".3f"),
    "active": ("active", "d"),
    "trustworthiness": ("trust", ".3f"),
    "knn_accuracy": ("kNN", ".1%"),
}


class Report:
    """What was measured: a table, one verdict in words, and advice.

    Attributes
    ----------
    rows : list of dicts, one a model; a figure that a model does not have is missing from its row. Keys:
        squared_error (mean over items of ||x - x~||^2, summed over elements), distance (mean of its root), mse (mean
        over elements too), psnr (dB, images), explained (share of the mean item's error), nats (upper bound of
        -log p(x) per item), bits_per_dimension, active (latents in use), trustworthiness, knn_accuracy
    verdict : one line
    advice : what to do about what was noticed, a line each
    unit : of one element, whose square is that of squared_error and mse
    protocol : on which items, and what the baselines learned from
    """

    def __init__(self, rows: list[dict[str, Any]], verdict: str, advice: list[str], unit: str, protocol: str) -> None:
        self.rows = rows
        self.verdict = verdict
        self.advice = advice
        self.unit = unit
        self.protocol = protocol

    def __str__(self) -> str:
        shown = [name for name in COLUMNS if any(name in row for row in self.rows)]
        cells = [[COLUMNS[name][0] for name in shown]]
        cells += [[format(row[n], COLUMNS[n][1]) if n in row else "-" for n in shown] for row in self.rows]
        widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
        lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
                 for line in cells]  # fmt: skip
        lines.insert(1, "  ".join("-" * width for width in widths))
        notes = [f"unit: {self.unit}; {self.protocol}", "", self.verdict, *(f"- {line}" for line in self.advice)]
        return "\n".join([*(line.rstrip() for line in lines), *notes])

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "verdict": self.verdict, "advice": self.advice, "unit": self.unit,
                "protocol": self.protocol}  # fmt: skip


def evaluate(model: Embedding, X: Any, y: Any = None, *, train: Any = None) -> Report:
    """One model beside the mean, PCA of the same size, and itself before training.

    Parameters
    ----------
    model : fitted
    X : held-out items. The very items that the model was fitted to are recognised: then only the tenth that training
        held out is measured, and the baselines learn from the rest
    y : (n,) labels, for the accuracy of nearest neighbours among the codes
    train : items that the baselines learn from. None: they are cross-fitted on X in five folds, which favours the model
        a little where X is small

    Raises
    ------
    DataError : fewer than two items, or labels of another length
    """
    return _report([model], X, y, train, alone=True)


def compare(models: Sequence[Embedding], X: Any, y: Any = None, *, train: Any = None) -> Report:
    """Fitted models beside each other, the mean, and a PCA of each of their sizes; as ``evaluate`` otherwise.

    Errors are measured in the scaled view of the first model's format, whatever the others'.

    Raises
    ------
    SettingError : no model is given
    """
    if not models:
        raise SettingError("compare needs at least one fitted model")
    return _report(list(models), X, y, train, alone=False)


def _report(models: list[Embedding], X: Any, y: Any, train: Any, *, alone: bool) -> Report:
    first = models[0]
    everything = [model._stored(X) for model in models]
    count = len(everything[0])
    labels = _labels(y, count)
    learn_from = None if train is None else first._stored(train)
    keep = torch.arange(count)
    if train is None and first.history_.get("data") == data_hash(everything[0]):
        learned, held_out = split(count, int(first.history_.get("seed", 0)))
        if first.history_.get("held_out_items"):
            learn_from, keep = everything[0][learned], held_out
            protocol = f"the {len(held_out)} items that training held out"
        else:
            protocol = f"the {count} items that the model learned from"
    else:
        protocol = f"{count} items given as held out"
    if len(keep) < 2:
        raise DataError(f"evaluation needs at least two held-out items; {len(keep)} given")
    stored = [tensor[keep] for tensor in everything]
    labels = None if labels is None else labels[keep.numpy()]
    whole = learn_from if learn_from is not None else stored[0]
    protocol += "; baselines learned from " + (
        f"{len(learn_from)} others" if learn_from is not None else f"them, in {min(FOLDS, len(keep))} folds"
    )
    scaled = first.format_.scale(stored[0])
    discrete = first.likelihood_.discrete

    rows, errors = [], []
    for index, (model, items) in enumerate(zip(models, stored, strict=True)):
        codes, means = _through(model, items, first.format_)
        row, error = _measured(_name(model, models), scaled, means, first.format_, model.latent_dim_)
        nats = _nats(model, items, first)
        rows.append(row | _of_codes(codes, items, labels, model) | _likelihood_figures(nats, discrete, first))
        errors.append(error)
        if alone:
            bare = model.untrained()
            row, _ = _measured("untrained", scaled, _through(bare, items, first.format_)[1], first.format_, index)
            rows.append(row | {"latents": model.latent_dim_})
    pca_errors: dict[int, np.ndarray] = {}
    for k in sorted({model.latent_dim_ for model in models if not isinstance(model, PCA)}):
        means, nats = _pca_baseline(first.format_, whole, learn_from is not None, stored[0], k)
        row, pca_errors[k] = _measured("PCA of the same size", scaled, means, first.format_, k)
        rows.append(row | (_likelihood_figures(nats, discrete, first) if not discrete else {}))
    means, nats = _mean_baseline(first.format_, whole, learn_from is not None, stored[0])
    row, nothing = _measured("the mean", scaled, means, first.format_, 0)
    rows.append(row | (_likelihood_figures(nats, discrete, first) if not discrete else {}))
    for row in rows:
        row["explained"] = 1 - row["squared_error"] / max(float(nothing.mean()), 1e-300)
    verdicts = [_verdict(_name(model, models), model, error, pca_errors.get(model.latent_dim_), nothing)
                for model, error in zip(models, errors, strict=True)]  # fmt: skip
    advice = [line for model, row in zip(models, [r for r in rows if "active" in r], strict=True)
              for line in _advice(_name(model, models), model, row)]  # fmt: skip
    return Report(rows, " ".join(verdicts), advice, first.format_.unit, protocol)


# ---- what is measured ------------------------------------------------------------------------------------------------


def _through(model: Embedding, stored: Tensor, reference: Format) -> tuple[np.ndarray, Tensor]:
    """Codes, and reconstructions in the scaled view of ``reference``."""
    codes = model._in_blocks(model._encode_stored, stored)
    means = model._in_blocks(model._mean, codes)
    if model.format_ is not reference and model.format_.to_json() != reference.to_json():
        means = reference.scale(model.format_.unscale(means))
    return codes.numpy(), means.float()


def _measured(name: str, x: Tensor, means: Tensor, format: Format, latents: int) -> tuple[dict[str, Any], np.ndarray]:
    """A row of the report, and the squared error of each item."""
    error = np.asarray(metrics.squared_error(x, means), dtype=np.float64)
    row = {"model": name, "latents": latents, "squared_error": float(error.mean()),
           "distance": float(np.sqrt(error).mean()), "mse": float(error.mean() / format.spec.size)}  # fmt: skip
    if format.spec.kind == "image":
        row["psnr"] = float(10 * math.log10(1 / max(row["mse"], 1e-20)))
    return row, error


def _of_codes(codes: np.ndarray, stored: Tensor, labels: np.ndarray | None, model: Embedding) -> dict[str, Any]:
    """What the codes are like: how many are in use, and whether neighbours stayed neighbours."""
    figures: dict[str, Any] = {"active": metrics.active_units(codes, relative=True)}
    chosen = np.random.default_rng(0).permutation(len(codes))[:MAPPED]
    if len(chosen) > 20:
        flat = model.format_.scale(stored[chosen]).flatten(1).numpy()
        figures["trustworthiness"] = float(metrics.trustworthiness(flat, codes[chosen], 5))
    if labels is not None and len(chosen) > 10:
        figures["knn_accuracy"] = float(metrics.knn_accuracy(codes, labels))
    return figures


def _nats(model: Embedding, stored: Tensor, first: Embedding) -> np.ndarray | None:
    """Upper bound of -log p(x) of each item, where the model has one in the view of the first."""
    if model.word == "autoencoder" or model.likelihood_.discrete != first.likelihood_.discrete:
        return None
    if model is not first and model.format_.to_json() != first.format_.to_json():
        return None
    return -model._in_blocks(lambda s: model._log_likelihood(model.format_.scale(s)), stored).double().numpy()


def _likelihood_figures(nats: np.ndarray | None, discrete: bool, first: Embedding) -> dict[str, Any]:
    if nats is None:
        return {}
    mean, spec = float(nats.mean()), first.format_.spec
    return {"nats": mean, "bits_per_dimension": float(metrics.bits_per_dimension(mean, spec, discrete))}


# ---- baselines -------------------------------------------------------------------------------------------------------


def _pca_baseline(format: Format, learn_from: Tensor, apart: bool, stored: Tensor, k: int) -> tuple[Tensor, np.ndarray]:
    def fitted(items: Tensor) -> PCA:
        return PCA(min(k, len(items), format.spec.size))._fit_stored(format, items)

    def applied(model: PCA, items: Tensor) -> tuple[Tensor, np.ndarray]:
        nats = -model._in_blocks(lambda s: model._log_likelihood(format.scale(s)), items).double().numpy()
        return _through(model, items, format)[1], nats

    return _cross_fitted(fitted, applied, learn_from, apart, stored)


def _mean_baseline(format: Format, learn_from: Tensor, apart: bool, stored: Tensor) -> tuple[Tensor, np.ndarray]:
    def fitted(items: Tensor) -> tuple[Tensor, Gaussian]:
        total = torch.zeros(format.spec.shape, dtype=torch.float64)
        squares = 0.0
        for start in range(0, len(items), ROWS):
            x = format.scale(items[start : start + ROWS]).double()
            total += x.sum(0)
            squares += float(x.square().sum())
        mean = total / len(items)
        variance = squares / (len(items) * format.spec.size) - float(mean.square().mean())
        return mean.float(), Gaussian(max(variance, 1e-12))

    def applied(model: tuple[Tensor, Gaussian], items: Tensor) -> tuple[Tensor, np.ndarray]:
        means = model[0].expand(len(items), *model[0].shape)
        return means, model[1].loss(means.unsqueeze(1), format.scale(items)).double().numpy()

    return _cross_fitted(fitted, applied, learn_from, apart, stored)


def _cross_fitted(fitted: Any, applied: Any, learn_from: Tensor, apart: bool, stored: Tensor) -> tuple[Tensor, np.ndarray]:
    """A baseline learned from other items, or from all folds but the one it is measured on."""
    if apart:
        return applied(fitted(learn_from), stored)
    order = torch.randperm(len(stored), generator=torch.Generator().manual_seed(0))
    folds = [fold for fold in order.tensor_split(min(FOLDS, len(stored))) if len(fold)]
    pieces = []
    for held in range(len(folds)):
        others = torch.cat([fold for i, fold in enumerate(folds) if i != held])
        pieces.append(applied(fitted(stored[others]), stored[folds[held]]))
    back = torch.cat(folds).argsort()
    return torch.cat([means for means, _ in pieces])[back], np.concatenate([nats for _, nats in pieces])[back.numpy()]


# ---- words -----------------------------------------------------------------------------------------------------------


def _name(model: Embedding, models: list[Embedding]) -> str:
    name = f"{type(model).__name__}({model.latent_dim_})"
    same = [i for i, m in enumerate(models) if f"{type(m).__name__}({m.latent_dim_})" == name]
    return name if len(same) == 1 else f"{name} #{same.index(next(i for i, m in enumerate(models) if m is model)) + 1}"


def _verdict(name: str, model: Embedding, error: np.ndarray, pca: np.ndarray | None, nothing: np.ndarray) -> str:
    """One sentence. Differences count where they are above two standard errors and 2 % of PCA's error."""
    if pca is None:
        return f"{name} explains {1 - error.mean() / max(nothing.mean(), 1e-300):.1%} of the variance."
    apart = pca - error
    noise = 2 * apart.std() / math.sqrt(len(apart))
    ratio = error.mean() / max(pca.mean(), 1e-300)
    if error.mean() >= nothing.mean():
        return f"{name} has learned nothing: it is no better than the mean."
    if abs(apart.mean()) <= max(noise, 0.02 * pca.mean()):
        return f"{name} does not help on this data: PCA of the same size is as good."
    if apart.mean() < 0:
        return f"{name} is worse than PCA of the same size: its error is {ratio:.2f} times PCA's. Use PCA, or train longer."
    return f"{name} helps: its error is {ratio:.2f} of that of PCA of the same size."


def _advice(name: str, model: Embedding, row: dict[str, Any]) -> list[str]:
    lines = []
    unused = model.latent_dim_ - row["active"]
    history = model.history_
    if unused and row["active"] == 0:
        lines.append(f"{name}: all latents have collapsed, codes carry nothing. Lower beta, give free_bits=0.1 or more, "
                     "or train longer")  # fmt: skip
    elif unused:
        lines.append(f"{name}: {unused} of {model.latent_dim_} latents are unused. latent_dim={row['active']} would do "
                     "as well" + ("; or give free_bits=0.1 to wake them" if model.word == "vae" else ""))  # fmt: skip
    ended, epochs = history.get("ended"), history.get("epoch") or [0]
    if ended == "early":
        lines.append(f"{name}: stopped early, its best epoch was {history['best_epoch']} of {epochs[-1]}: it began to "
                     "learn its items by heart. More items, a smaller size or corruption= would let it go on")  # fmt: skip
    if ended in ("budget", "interrupted") and history.get("best_epoch") == epochs[-1]:
        lines.append(f"{name}: training was cut off while still getting better; more time would help")
    return lines


def _labels(y: Any, count: int) -> np.ndarray | None:
    if y is None:
        return None
    labels = np.asarray(y)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} given for {count} items; expected ({count},)")
    return labels
