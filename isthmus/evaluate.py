"""A model beside its baselines, and models beside each other, on held-out items.

What is always beside a model: the mean item, PCA of the same size, and the same network as drawn at random. A model
that does not beat PCA is reported as such.

Shapes: n items; D... the axes of an item in its tensor view; K latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import metrics
from isthmus.errors import DataError, FormatError, SettingError
from isthmus.formats.arrays import four_digits, listing
from isthmus.formats.base import Format
from isthmus.formats.room import fits_in_memory, room_for_items
from isthmus.formats.rows import AllBut, Rows
from isthmus.likelihoods import Gaussian
from isthmus.models.embedding import Embedding
from isthmus.models.pca import PCA
from isthmus.priors import StandardNormal
from isthmus.training.feed import data_hash
from isthmus.training.recipe import split

__all__ = ["Report", "compare", "error_curves", "evaluate", "rows_not_learned"]

Baseline = Callable[[Tensor], tuple[Tensor, np.ndarray]]  # stored items: their means, scaled, and -log p(x)
ROWS = 4096  # items made float at a time
FOLDS = 5  # for baselines where no training items are given
NEIGHBOURS = 5  # for trustworthiness and k-NN accuracy
ASKED = 10_000  # items among which k-NN accuracy is measured: 100 million distances, seconds
WIDE, FEW = 4096, 2000  # beyond so many elements, PCA as a baseline learns from so many items: minutes become seconds
CLOSE = 0.05  # share of PCA's error (0.2 dB) below which a difference is of no use, however certain
NOTHING = 0.01  # share of the mean's error that a model must take away to have learned anything
TESTED_AT_MOST = 10_000  # items that are held apart for the final figures: their standard error is below 1 %
MANY = 2**20  # items from which no list of all is made
SPREAD = 100_000  # items of a set larger than memory that are measured: a standard error of 0.3 %
FAR, OTHERS = 5.0, 0.25  # deviations beyond which 1 in 25 learned from lies at most (Chebyshev), and a share beyond any
FLAT, ENOUGH = 0.01, 20  # share of the learned variance below which items hardly vary, and items that can say so
COPIES, LEAST = 8, 1000  # of the float view that are made at a time; items that are measured in any case
SHOWN = 30  # columns of a table that are printed
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
    "knn_accuracy": ("k-NN", ".1%"),
}


class Report:
    """What was measured: a table, a verdict in words, and advice. ``print`` it, or take ``to_json``.

    Attributes
    ----------
    rows : list of dicts, one a model or baseline; a figure that it does not have is missing from its row. Keys:
        model, latents; squared_error (mean over items of ||x - x~||^2, summed over elements), distance (mean of its
        root), mse (mean over elements too), psnr (dB, of that MSE; images), explained (share of the mean's error that
        is gone), nats (mean of -log p(x) or a bound above it, of the scaled view), bits_per_dimension, active (latents
        in use), trustworthiness (of 5 neighbours, 1 is best), knn_accuracy (5 neighbours, each item left out in turn)
    verdict : one sentence a model, each on its line
    advice : what to do about what was noticed, a line each
    unit : of one element; squared_error and mse are in its square
    size : number of elements of an item
    protocol : on which items, and what the baselines learned from
    columns : of a table, a dict a column: column, kind, error (root of the mean squared error in the column's unit, or
        the share of wrong levels), guess (the same for the mean or the most frequent level), unit; else empty
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        verdict: str,
        advice: list[str],
        unit: str,
        size: int,
        protocol: str,
        columns: list[dict[str, Any]] | None = None,
    ) -> None:
        self.rows, self.verdict, self.advice = rows, verdict, advice
        self.unit, self.size, self.protocol = unit, size, protocol
        self.columns = columns or []

    def __str__(self) -> str:
        shown = [name for name in COLUMNS if any(name in row for row in self.rows)]
        figures = [[format(row[n], COLUMNS[n][1]) if n in row else "-" for n in shown] for row in self.rows]
        lines = _aligned([[COLUMNS[name][0] for name in shown], *figures], 1)
        if self.columns:
            cells = [[row["column"], row["kind"], four_digits(row["error"]), four_digits(row["guess"]), row["unit"]]
                     for row in self.columns[:SHOWN]]  # fmt: skip
            lines += ["", *_aligned([["column", "kind", "error", "guessing", "of"], *cells], 2)]
            lines += [f"and {len(self.columns) - SHOWN} columns more"] * (len(self.columns) > SHOWN)
        unit = f"x in {self.unit}; |x-x~|^2 is the sum over {self.size} elements, MSE their mean"
        notes = ["", unit, self.protocol, "", self.verdict, *(f"- {line}" for line in self.advice)]
        return "\n".join([*lines, *notes])

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; a figure that is not finite is None."""
        tables = {"rows": self.rows, "columns": self.columns}
        return vars(self) | {
            key: [{name: None if isinstance(value, float) and not math.isfinite(value) else value
                   for name, value in row.items()} for row in rows]
            for key, rows in tables.items()
        }  # fmt: skip


def _aligned(cells: list[list[str]], left: int) -> list[str]:
    """Rows of cells as lines, a rule below the first; the first ``left`` columns start at the left."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    cells.insert(1, ["-" * width for width in widths])
    lines = ["  ".join([*map(str.ljust, line[:left], widths), *map(str.rjust, line[left:], widths[left:])])
             for line in cells]  # fmt: skip
    return [line.rstrip() for line in lines]


def evaluate(model: Embedding, X: Any, y: Any = None, *, train: Any = None) -> Report:
    """One model beside the mean, PCA of the same size, and its network as drawn at random.

    Parameters
    ----------
    model : fitted
    X : held-out items. The very items that the model was fitted to are recognised: then only the tenth that training
        held out is measured, and the baselines learn from the rest
    y : (n,) labels, for the accuracy of nearest neighbours among the codes
    train : items that the baselines learn from; all of X is then measured. None: they are cross-fitted on X in five
        folds, which favours the model a little where X is small

    Raises
    ------
    DataError : fewer than two items, or labels of another length
    SettingError, sklearn.exceptions.NotFittedError : not a model of Isthmus, or not a fitted one
    """
    return _report([_model(model)], X, y, train, alone=True)


def compare(models: Sequence[Embedding], X: Any, y: Any = None, *, train: Any = None) -> Report:
    """Fitted models beside each other, the mean, and a PCA of each of their sizes; otherwise as ``evaluate``.

    Errors are measured in the scaled view of the first model's format, whatever the others'.

    Raises
    ------
    SettingError : no model is given, or something else
    FormatError : the models bring X to items of different sizes
    """
    if not isinstance(models, (list, tuple)) or not models:
        raise SettingError("compare needs a list of fitted models, at least one: compare([model, other], X)")
    return _report([_model(model) for model in models], X, y, train, alone=False)


def error_curves(model: Embedding, X: Any, *, train: Any = None, limit: int | None = None) -> dict[str, Any]:
    """Mean squared error of an item against k, the first latents that are kept, beside PCA's.

    Parameters
    ----------
    model : fitted
    X, train : as in ``evaluate``: the same items are measured, and PCA learns from the same others
    limit : items that are measured at most, taken evenly from all over; None: all of them

    Returns
    -------
    dict: "k" (up to 16 all, then some 4 in each doubling, and the model's own); "pca" (as long; of fewer where PCA of
    so many is not possible); "model" (as long) where its latents are ordered, else only for its own k, as [error];
    "items", how many were measured; "nothing", the error of the mean

    Raises
    ------
    as ``evaluate``
    """
    model = _model(model)
    stored, form = model._stored(X), model.format_.lines()
    part = _part([model], [stored], None if train is None else model._stored(_spread(train)))
    rows = part.keep if limit is None else part.keep[:: max(-(-len(part.keep) // limit), 1)]
    measured, most = stored[rows], model.latent_dim_
    steps = [k for k in range(1, most + 1) if k <= 16 or k == most or k in {round(2 ** (i / 4)) for i in range(68)}]
    codes = model._in_blocks(model._encode_stored, measured)
    own = steps if model._ordered else [most]
    curve = [model._mean_error(measured, codes[:, :k]) for k in own]
    fold = -(-len(measured) // min(FOLDS, len(measured)))
    fewest = len(measured) - fold if part.learn_from is None else len(part.learn_from)

    def learned(items: Tensor) -> Baseline:
        pca = _fitted_pca(items, form, most)

        def applied(some: Tensor) -> tuple[Tensor, np.ndarray]:
            codes, x = pca._in_blocks(pca._encode_stored, some), form.scale(some)
            errors = [metrics.squared_error(x, pca._in_blocks(pca._linear_mean, codes[:, :k]))
                      for k in steps if k <= min(fewest, form.spec.size)]  # fmt: skip
            return torch.from_numpy(np.stack(errors, axis=1)), np.zeros(len(some))

        return applied

    pca = [] if isinstance(model, PCA) else _cross_fitted(learned, part.learn_from, measured)[0].mean(0).tolist()
    nothing = _cross_fitted(partial(_mean, form=form), part.learn_from, measured)[0]
    zero = float(metrics.squared_error(form.scale(measured), nothing).mean())
    return {"k": steps, "model": curve, "pca": pca, "items": len(rows), "nothing": zero}


def _report(models: list[Embedding], X: Any, y: Any, train: Any, *, alone: bool) -> Report:
    first, names = models[0], _names(models)
    everything = [model._stored(X) for model in models]
    labels = _labels(y, len(everything[0]))
    part = _part(models, everything, None if train is None else first._stored(_spread(train)))
    labels = None if labels is None else labels[part.keep.numpy()]
    stored = [tensor[part.keep] for tensor in everything]
    form = first.format_.lines()
    x = form.scale(stored[0])
    kinds = [_kind_of_nats(model, form) for model in models]

    rows: list[dict[str, Any]] = []
    errors: list[np.ndarray] = []
    pca_errors: dict[int, np.ndarray] = {}
    for model, name, items, kind in zip(models, names, stored, kinds, strict=True):
        codes, means = _through(model, items, form)
        row, error = _of_errors(name, model.latent_dim_, x, means, form)
        nats = None if kind is None else _nats(model, items)
        rows.append(row | _of_nats(nats, kind, kinds[0], form) | _of_codes(model, codes, x, labels))
        errors.append(error)
        if alone:
            bare = _through(model.untrained(), items, form)[1]
            rows.append(_of_errors("untrained", model.latent_dim_, x, bare, form)[0])
        if isinstance(model, PCA) and _same_view(model.format_.lines(), form) and _has_learned(model, part.learn_from):
            pca_errors[model.latent_dim_] = error  # no need to fit the same again
    for k in sorted({model.latent_dim_ for model in models if not isinstance(model, PCA)} - set(pca_errors)):
        means, nats = _cross_fitted(partial(_pca, form=form, k=k), part.learn_from, stored[0])
        row, pca_errors[k] = _of_errors("PCA of the same size", k, x, means, form)
        rows.append(row | _of_nats(nats, "density", kinds[0], form))
    means, nats = _cross_fitted(partial(_mean, form=form), part.learn_from, stored[0])
    row, nothing = _of_errors("the mean", 0, x, means, form)
    rows.append(row | _of_nats(nats, "density", kinds[0], form))
    zero = 1e-12 * float(x.square().nanmean(dtype=torch.float64)) * form.spec.size  # rounding, no error
    if nothing.mean() > zero:
        for row in rows:
            row["explained"] = 1 - row["squared_error"] / float(nothing.mean())

    of_models = [row for row in rows if "active" in row]
    verdicts, advice = [], []
    for model, name, items, error, row, seen in zip(models, names, stored, errors, of_models, part.seen, strict=True):
        pca = None if isinstance(model, PCA) else pca_errors[model.latent_dim_]
        far, unlike = _unlike(name, model, items)
        worse = error.mean() > (1 - NOTHING) * nothing.mean() or (pca is not None and error.mean() > pca.mean())
        said = _verdict(name, error, pca, nothing, zero)
        others = f"{name} was given items unlike those that it learned from: this says nothing of its training."
        verdicts.append(others if unlike and (far or worse) and nothing.mean() > zero else said)
        advice += [unlike] * bool(unlike) + _advice(name, model, row, seen, judged=not unlike)
    columns = _columns(first, stored[0]) if alone else []
    return Report(rows, "\n".join(verdicts), advice, form.unit, form.spec.size, part.protocol, columns)


def _columns(model: Embedding, stored: Tensor) -> list[dict[str, Any]]:
    """Of a table, the error of each column in its own unit."""
    if model.format_.spec.kind != "table":
        return []
    codes = model._in_blocks(model._encode_stored, stored)
    again = model.format_.unscale(model._in_blocks(model._mode, codes))
    return model.format_.column_errors(stored, again)


# ---- on which items --------------------------------------------------------------------------------------------------


class _Part(NamedTuple):
    keep: Tensor  # rows of X that are measured
    learn_from: Tensor | None  # stored items that baselines learn from; None: folds
    seen: list[bool]  # of each model: whether it is known to have learned from rows that are measured
    protocol: str


def _part(models: list[Embedding], everything: list[Tensor], train: Tensor | None) -> _Part:
    count = len(everything[0])
    if any(len(stored) != count for stored in everything):
        raise DataError(f"the models read different numbers of items from the same X: {[len(s) for s in everything]}")
    if count < 2:
        raise DataError(f"evaluation needs at least two items; {count} given")
    unseen = [_unseen(model, stored) for model, stored in zip(models, everything, strict=True)]
    rows: Any = AllBut(count)
    learn_from, said, size = train, f"{count} items given as held out", models[0].format_.lines().spec.size
    tenth = next((rows for rows in unseen if 1 < len(rows) < count), None)
    if train is None and tenth is not None:
        rows, said = tenth, f"the {len(tenth)} of {count} items that training held out"
        learn_from = everything[0][_some(everything[0], AllBut(count, tenth.numpy()), size)]
    elif any(len(rows) < count for rows in unseen):
        said = f"the {count} items that training saw"
    keep = _some(everything[0], rows, size)
    if len(keep) < len(rows):
        said = f"{len(keep)} of {said}, for they do not fit in memory"
    if learn_from is not None and len(some := _some(learn_from, AllBut(len(learn_from)), size)) < len(learn_from):
        learn_from = learn_from[some]
    seen = [not _all_among(keep, rows) for rows in unseen]
    source = f"in {min(FOLDS, len(keep))} folds of them" if learn_from is None else f"from {len(learn_from)} others"
    if models[0].format_.spec.size > WIDE and len(everything[0] if learn_from is None else learn_from) > FEW:
        source += f" (PCA from {FEW} of them, for an item has more than {WIDE} elements)"
    return _Part(keep, learn_from, seen, f"measured on {said}; baselines learned {source}")


def _some(stored: Any, rows: Any, size: int) -> Tensor:
    """All of these rows; a part from all over them where they lie in a file, or their float views do not fit.

    ``size`` is the number of elements of an item in the view that is measured.
    """
    most = min(SPREAD if isinstance(stored, Rows) else len(rows), room_for_items() / (size * 4 * COPIES))
    return rows[:: max(-(-len(rows) // max(int(most), LEAST)), 1)]


def _spread(items: Any) -> Any:
    """Of a table in a file that is larger than memory, the rows that ``_some`` would take: no others are packed."""
    large = hasattr(items, "subset") and not items.in_memory
    if large and items.count() > SPREAD and not fits_in_memory(items.count() * len(items.schema) * 8):
        return items.subset(np.arange(0, items.count(), -(-items.count() // SPREAD)))
    return items


def _all_among(keep: Tensor, rows: Any) -> bool:
    """Whether all of these numbers are among those."""
    if isinstance(rows, AllBut):
        return not bool(torch.isin(keep, torch.from_numpy(rows.left_out)).any())
    return bool(torch.isin(keep, rows).all())


def _has_learned(model: Embedding, stored: Tensor | None) -> bool:
    """Whether these, all of them and no others, are the items that the model was fitted to."""
    return stored is not None and model.history_.get("data") == data_hash(stored)


def rows_not_learned(model: Embedding, stored: Tensor) -> np.ndarray:
    """(m,) rows of stored items that the model is not known to have learned from, rising: all, those that training held
    out where it was fitted to these very items, or none."""
    rows = _unseen(model, stored)
    return np.arange(len(stored)) if isinstance(rows, AllBut) else rows.numpy()


def apart(n: int, seed: int) -> tuple[Any, Any]:
    """Rows to learn from and rows to measure on, of n items: a tenth, at most 10,000, none of fewer than 20 items.

    Arrays (m,) int64, rising; of more than a million items the first is an ``AllBut``.
    """
    random = np.random.default_rng(seed)
    held = min(n // 10, TESTED_AT_MOST) if n >= 20 else 0
    if n > MANY:
        left_out = np.sort(random.choice(n, held, replace=False, shuffle=False))
        return AllBut(n, left_out), left_out
    order = random.permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])


def remember_apart(model: Embedding, X: Any, held_out: np.ndarray, seed: int) -> None:
    """Lets the model know X again, of which it learned all but these rows of ``apart``; a million items at most."""
    if len(held_out) and len(X) <= MANY:
        model.history_["apart"] = {"data": data_hash(model._stored(X)), "seed": int(seed)}


def _unseen(model: Embedding, stored: Tensor) -> Any:
    """Rows that the model is not known to have learned from: all, or what was held out, or none."""
    known = model.history_.get("apart")
    if isinstance(known, dict) and known.get("data") == data_hash(stored):
        return torch.from_numpy(apart(len(stored), known["seed"])[1])
    if not _has_learned(model, stored):
        return AllBut(len(stored))
    rows = split(len(stored), int(model.history_.get("seed", 0)))[1]
    return rows if model.history_.get("held_out_items") else rows[:0]


# ---- what is measured ------------------------------------------------------------------------------------------------


def _same_view(one: Format, other: Format) -> bool:
    """Whether two formats have the same scaled view of the same items. That of images is [0, 1] always."""
    if one.spec.kind == other.spec.kind == "image":
        return one.spec.shape == other.spec.shape
    return one is other or one.to_json() == other.to_json()


def _through(model: Embedding, stored: Tensor, reference: Format) -> tuple[np.ndarray, Tensor]:
    """Codes (n, K), and reconstructions (n, D...) in the scaled view of ``reference``."""
    codes = model._in_blocks(model._encode_stored, stored)
    means = model._in_blocks(model._linear_mean, codes).float()
    if not _same_view(model.format_.lines(), reference):
        if reference.spec.kind == "table" or model.format_.spec.shape != reference.spec.shape:
            both = f"{reference.spec} and {model.format_.spec}"
            raise FormatError(f"models of different items do not compare: {both}. Fit them with the same format=")
        means = reference.scale(model.format_.unscale(means))
    return codes.numpy(), means


def _of_errors(name: str, k: int, x: Tensor, means: Tensor, form: Format) -> tuple[dict[str, Any], np.ndarray]:
    """The beginning of a row, and the squared error of each item."""
    error = metrics.squared_error(x, means)
    distance, mse = float(metrics.l2_distance(x, means).mean()), float(metrics.mse(x, means).mean())
    row = {"model": name, "latents": int(k), "squared_error": float(error.mean()), "distance": distance, "mse": mse}
    decibels = {"psnr": -10 * math.log10(max(mse, 1e-20))} if form.spec.kind == "image" else {}  # 200 dB is exact
    return row | decibels, error


def _of_codes(model: Embedding, codes: np.ndarray, x: Tensor, labels: np.ndarray | None) -> dict[str, Any]:
    """How many latents are in use, and whether neighbours are neighbours still.

    A code with a standard normal prior has its unit, and Burda's threshold holds; others are measured by their widest.
    """
    fixed = isinstance(model.prior_, StandardNormal)
    figures: dict[str, Any] = {"active": metrics.active_units(codes, 0.01 if fixed else 1e-4, relative=not fixed)}
    if len(codes) > 2 * NEIGHBOURS:
        figures["trustworthiness"] = metrics.trustworthiness(torch.nan_to_num(x), codes, NEIGHBOURS)
        if labels is not None:
            asked = np.random.default_rng(0).permutation(len(codes))[:ASKED]
            figures["knn_accuracy"] = metrics.knn_accuracy(codes[asked], labels[asked], k=NEIGHBOURS)
    return figures


def _kind_of_nats(model: Embedding, reference: Format) -> str | None:
    """What the model's likelihood of items is; nats of two kinds do not compare. None: nothing that compares."""
    if model.word == "autoencoder" or not _same_view(model.format_.lines(), reference):
        return None  # an autoencoder's p(x | its own code) is no density of x
    if model.likelihood_.word == "table":
        return "row"  # densities of numbers and probabilities of levels together
    if not model.likelihood_.discrete:
        return "density"
    return "cross-entropy" if model.likelihood_.word == "bernoulli" and reference.spec.levels != 2 else "probability"


def _nats(model: Embedding, stored: Tensor) -> np.ndarray:
    """-log p(x) of each item, or a bound above it."""
    return -model._in_blocks(lambda s: model._log_likelihood(model.format_.scale(s)), stored).double().numpy()


def _of_nats(nats: np.ndarray | None, kind: str | None, first: str | None, form: Format) -> dict[str, Any]:
    """Nats where they are of the kind of the first model's; bits per pixel compare densities with probabilities."""
    if nats is None:
        return {}
    mean = float(nats.mean())
    figures = {"nats": mean} if kind == (first or "density") else {}
    bins = form.spec.kind == "image" and form.spec.levels is not None
    if form.spec.kind == "table":  # its dimensions are of many kinds
        return figures
    if kind != "cross-entropy" and (bins or figures):
        figures["bits_per_dimension"] = float(metrics.bits_per_dimension(mean, form.spec, kind == "probability"))
    return figures


# ---- baselines -------------------------------------------------------------------------------------------------------


def _fitted_pca(items: Tensor, form: Format, k: int) -> PCA:
    """PCA of k components, in a format that is fitted already."""
    if form.spec.size > WIDE and len(items) > FEW:
        items = items[torch.randperm(len(items), generator=torch.Generator().manual_seed(0))[: max(FEW, k)]]
    return PCA(min(k, len(items), form.spec.size))._fit_stored(form, items)


def _pca(items: Tensor, form: Format, k: int) -> Baseline:
    model = _fitted_pca(items, form, k)
    return lambda stored: (_through(model, stored, form)[1], _nats(model, stored))


def _mean(items: Tensor, form: Format) -> Baseline:
    """The mean item, and a normal of one variance around it."""
    total, squares = torch.zeros(form.spec.shape, dtype=torch.float64), 0.0
    for piece in items.split(ROWS):
        x = torch.nan_to_num(form.scale(piece).double())  # holes of a table: 0 is the mean there
        total, squares = total + x.sum(0), squares + float(x.square().sum())
    mean = total / len(items)
    variance = squares / (len(items) * form.spec.size) - float(mean.square().mean())
    normal = Gaussian(max(variance, 1e-12))

    def applied(stored: Tensor) -> tuple[Tensor, np.ndarray]:
        means = mean.float().expand(len(stored), *mean.shape)
        pieces = zip(means.unsqueeze(1).split(ROWS), stored.split(ROWS), strict=True)
        nats = [normal.loss(params, torch.nan_to_num(form.scale(some))) for params, some in pieces]
        return means, torch.cat(nats).double().numpy()

    return applied


def _cross_fitted(learned: Callable[[Tensor], Baseline], learn_from: Tensor | None, stored: Tensor) -> Any:
    """What a baseline says of items, learned from other items, or from all folds but the one it is asked about."""
    if learn_from is not None:
        return learned(learn_from)(stored)
    order = torch.randperm(len(stored), generator=torch.Generator().manual_seed(0))
    folds = order.tensor_split(min(FOLDS, len(stored)))
    pieces = [learned(stored[~torch.isin(torch.arange(len(stored)), fold)])(stored[fold]) for fold in folds]
    back = order.argsort()
    return torch.cat([means for means, _ in pieces])[back], np.concatenate([nats for _, nats in pieces])[back.numpy()]


def _unlike(name: str, model: Embedding, stored: Tensor) -> tuple[bool, str]:
    """Whether items lie far from what the model learned from; a line on that, or on items that hardly vary."""
    form = model.format_.lines()
    x = form.scale(stored).float()
    views, names = (x, x - x.nanmean((0, *range(2, x.ndim)), keepdim=True)), ["the items as a whole"]
    of_items, of_spread = map(form.squares, views)
    if of_items is not None and of_spread is not None:
        (parts, names), (about, _) = of_items, of_spread
    elif isinstance(model, PCA) and form.spec.kind != "image" and model._spectrum.total > 0:  # pixels have a range
        parts, about = (view.square().flatten(1).sum(1, keepdim=True) / model._spectrum.total for view in views)
    else:
        return False, ""
    far = (parts > FAR**2).sum(0) >= max(min(len(x), 3), OTHERS * len(x))
    mend = "Are they in another unit, or scaled otherwise? Bring them to what was learned from, or fit again with them"
    if far.any():
        typical = torch.where(far, parts.nanmedian(0).values.sqrt(), 0.0)
        worst = typical.argsort(descending=True)[: int(far.sum())].tolist()
        where = listing((f"{names[part]} by {float(typical[part]):.3g} deviations" for part in worst), 3)
        return True, f"{name}: these items lie far from what was learned from: {where}. {mend}"
    share = float(about.nanmean())
    flat = f"{name}: these items hardly vary: {math.sqrt(share):.2g} times as much as what was learned from. {mend}"
    return False, flat if len(x) >= ENOUGH and share < FLAT else ""


# ---- words -----------------------------------------------------------------------------------------------------------


def _verdict(name: str, error: np.ndarray, pca: np.ndarray | None, nothing: np.ndarray, zero: float) -> str:
    """One sentence. Differences count where they are above two standard errors and 5 % of PCA's error."""
    if nothing.mean() <= zero:
        return f"{name} has learned nothing, for these items are all alike."
    explained = 1 - error.mean() / nothing.mean()
    if explained < NOTHING:
        return f"{name} has learned nothing: it is no better than the mean."
    if pca is None:
        return f"{name} explains {explained:.1%} of the variance."
    better = pca - error
    noise = 2 * float(better.std(ddof=1)) / math.sqrt(len(better))
    if abs(better.mean()) <= max(CLOSE * float(pca.mean()), zero):
        return f"{name} does not help on this data: PCA of the same size is as good."
    if abs(better.mean()) <= noise:
        side = "better" if better.mean() > 0 else "worse"
        return f"{name} looks {side} than PCA of the same size, but {len(better)} items are too few to tell."
    if better.mean() > 0:
        return f"{name} helps: its error is {error.mean() / pca.mean():.2f} of that of PCA of the same size."
    if pca.mean() <= zero:
        return f"{name} is worse than PCA of the same size, which loses nothing. Use PCA."
    times = error.mean() / pca.mean()
    return f"{name} is worse than PCA of the same size: its error is {times:.2f} times PCA's. Use PCA, or train longer."


def _advice(name: str, model: Embedding, row: dict[str, Any], seen: bool, judged: bool) -> list[str]:
    active, vae = row["active"], isinstance(model.prior_, StandardNormal)
    lines = [f"{name} has learned from items that it is measured on: its figures are too good"] if seen else []
    if judged and active == 0 and "explained" in row:
        mend = "Lower beta, give free_bits=0.1, or train longer" if vae else "Lower rate, or train longer"
        lines.append(f"{name}: all latents have collapsed, codes carry nothing. {mend}")
    elif judged and active < model.latent_dim_ and row.get("explained", 0) >= NOTHING and not isinstance(model, PCA):
        unused = f"{name}: {model.latent_dim_ - active} of {model.latent_dim_} latents are unused"
        lines.append(f"{unused}. latent_dim={active} would do as well" + "; or free_bits=0.1 wakes them" * vae)
    history, ended, epochs = model.history_, model.history_.get("ended"), model.history_.get("epoch") or [None]
    if ended == "early":
        best = f"{name}: stopped early, its best epoch was {history['best_epoch']} of {epochs[-1]}"
        lines.append(f"{best}: it began to learn its items by heart. More items or a smaller size would let it go on")
    if ended in ("budget", "interrupted") and history.get("best_epoch") == epochs[-1]:
        lines.append(f"{name}: training was cut off while still getting better; more time would help")
    return lines


def _names(models: list[Embedding]) -> list[str]:
    """``VAE(16)`` for each; numbered where several are called the same."""
    plain = [f"{type(model).__name__}({model.latent_dim_})" for model in models]
    return [name if plain.count(name) == 1 else f"{name} #{plain[: i + 1].count(name)}" for i, name in enumerate(plain)]


def _model(given: Any) -> Embedding:
    """The model itself, where it is one and fitted."""
    if not isinstance(given, Embedding):
        raise SettingError(f"a fitted model such as VAE().fit(X) is expected, and no {type(given).__name__}")
    check_is_fitted(given, "format_")
    return given


def _labels(y: Any, count: int) -> np.ndarray | None:
    """(count,) numbers of the classes."""
    if y is None:
        return None
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} given for {count} items; expected ({count},)")
    if labels.dtype.kind in "fc" and np.isnan(labels).any():
        row = int(np.flatnonzero(np.isnan(labels))[0])
        raise DataError(f"the label of item {row} is missing (NaN): give one for each item, or leave such items out")
    try:
        return np.unique(labels, return_inverse=True)[1]
    except TypeError as error:
        raise DataError("labels must be of one kind, all numbers or all text; these cannot be sorted") from error
