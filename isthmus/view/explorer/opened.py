"""All that the page shows of a model and its items, worked out once: what it is told as JSON, and arrays beside it.

n items; K latents; C components of a prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus import metrics
from isthmus.errors import DataError, IsthmusError, NotSupported
from isthmus.priors import Gaussian, GaussianMixture, Prior, StandardNormal
from isthmus.verbs.anomalies import nats_of
from isthmus.view.explorer.cache import Contents
from isthmus.view.explorer.columns import column_kinds, key_of
from isthmus.view.explorer.layers import plain_decoder, shown_channels
from isthmus.view.explorer.lines import colour_line
from isthmus.view.explorer.views import item_of, sheets, thumbnails_of

__all__ = ["gather", "map_of"]

SOME = 2000  # items, spread evenly, of which latents and baselines are measured
OFF = 1.0  # percentile of the items' own density, below which a place is off the map of the data
ENDS = (1.0, 99.0)  # percentiles of a latent between which it is moved
MOST_COLOURS = 64  # columns by which items can be coloured,
MOST_COLOURED = 2**25  # and numbers of all these columns: 128 MiB
MOST_LEVELS = 1000  # of a colour; all others are one more
MISSING = 65535
MOST_DENSITY = 2**22  # numbers of a prior that the page is given
DISTINCT = 200  # different whole numbers beyond which labels are numbers and not classes
MOST_WEIGHTS = 2**25  # of a decoder that is sent to the page: 128 MiB
DAYS, CLOCK = "days since 1970", "seconds"  # of moments and of times of day, as columns tell them
TITLES = {"pca": "PCA of the codes", "tsne": "t-SNE of the codes", "umap": "UMAP of the codes"}

Said = Callable[[str], None]


class _Colour(NamedTuple):
    """One way to colour items: what the page is told, and a number an item."""

    told: dict[str, Any]
    values: np.ndarray  # (n,) uint16 or float32


def gather(
    model: Any,
    X: Any,
    labels: Any = None,
    *,
    title: str = "a model",
    digest: str = "",
    maps: Sequence[str] = (),
    python: dict[str, str] | None = None,
    seed: int = 0,
    said: Said = lambda text: None,
) -> Contents:
    """What the page shows.

    Parameters
    ----------
    model : fitted; it encodes. What it cannot do besides (decode, tell a density) is left out
    X : items of the form that was learned
    labels : (n,) numbers or texts; None, NaN and "" are missing
    title, digest : of the model, its name and its hash
    maps : "tsne", "umap": further maps than PCA's, which take minutes
    python : lines that load model and items, for people
    seed : of maps, and of which items are looked at
    said : is told what is going on

    Raises
    ------
    NotSupported : the model does not encode
    DataError, FormatError : the items are not what was learned, or the labels do not go with them
    """
    if not callable(getattr(model, "encode", None)):
        raise NotSupported(f"the explorer needs a model that can encode, and this {type(model).__name__} cannot; PCA, "
                           "Autoencoder and VAE can")  # fmt: skip
    if hasattr(model, "fit"):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model, "format_")
    form = model.format_
    stored = model._stored(X)
    n = len(stored)
    known = _labels(labels, n)
    said(f"encoding {n:,} items")
    codes = np.ascontiguousarray(model._in_blocks(model._encode_stored, stored).numpy(), dtype="<f4")
    blobs: dict[str, Any] = {"codes": codes}
    summary = [f"{type(model).__name__} of {model.latent_dim_} latents; items: {_spoken(form)}"]
    colours = [] if known is None else [known]

    decodes = callable(getattr(model, "decode", None))
    decoder, error, nats = None, None, None
    if decodes:
        said("decoding them, for the error of each")
        error, nats = _errors(model, stored, codes)
        colours.append(_number("error", "reconstruction error", error, f"sum of squares, {form.unit}"))
        summary.append(f"mean squared error of an item: {error.mean():.4g} ({form.unit}, squared, summed)")
        decoder = _decoder(model, blobs)
    prior = getattr(model, "prior_", None)
    density = None
    if prior is not None:
        logs = prior.log_prob(codes)
        colours.append(_number("density", "log-density of the code", logs, "nats, by the prior"))
        density = _density(prior, float(np.percentile(logs, OFF)), blobs)
        summary.append(f"prior: {prior.describe()}")
        if nats is not None:  # as anomaly_scores, of what was worked out already
            colours.append(_number("anomaly", "anomaly score", nats - logs, "nats: -log p(x | z) - log p(z)"))
    columns = _columns(form, stored, X)
    most = max(min(MOST_COLOURS, MOST_COLOURED // n), 1)
    colours += columns[:most]
    if len(columns) > most:
        summary.append(f"the first {most} columns can be colours")
    laid = thumbnails_of(form, n)
    if laid is not None:
        said("drawing small pictures")
        blobs |= {f"sheet/{place}": sheet for place, sheet in enumerate(sheets(form, stored, laid))}
    elif form.spec.kind == "image":
        summary.append("too many pictures for small ones: hover shows what is decoded")
    if form.spec.kind == "image" and shown_channels(form.spec.shape[0]) != form.spec.shape[0]:
        summary.append(f"of {form.spec.shape[0]} channels {shown_channels(form.spec.shape[0])} shown")
    said("seeing which latents matter")
    some = form.from_tensor(stored[torch.from_numpy(_spread(n))]) if n > SOME else X
    attributes = {"label": _attribute(known, n)} if known is not None else None
    rows = _latents(model, some, codes, attributes, decodes, seed)
    if decodes:
        summary += _beside(model, some)
    names = _names(form, X, n)
    if names is not None:
        blobs["names"] = names
    for colour in colours:
        blobs[f"colour/{colour.told['name']}"] = colour.values
        name, kind, heading, unit = (colour.told.get(key, "") for key in ("name", "kind", "title", "unit"))
        colour.told["python"] = colour_line(name, kind, heading, unit, X)
    told: dict[str, Any] = {
        "version": 1, "title": title, "static": False,
        "model": {"kind": type(model).__name__, "latent_dim": int(model.latent_dim_), "hash": digest,
                  "summary": summary},
        "item": item_of(form, getattr(model, "feature_names_in_", None)), "n": n,
        "names": None if names is None else "names", "maps": [],
        "colours": [colour.told for colour in colours], "latents": rows, "decoder": decoder, "density": density,
        "thumbnails": laid, "python": python or {},
    }  # fmt: skip
    contents = Contents(told, blobs)
    for name in ("pca", *maps):
        if name != "pca":
            said(f"making the map {name}; this may take minutes")
        map_of(contents, name, seed)
    return contents


# ---- maps ------------------------------------------------------------------------------------------------------------


def map_of(contents: Contents, name: str, seed: int = 0) -> dict[str, Any]:
    """Make a map of the codes and put it among the contents; returns what the page is told of it.

    Codes of two latents are a map as they are. Raises MissingExtra, DataError.
    """
    from isthmus.view.maps import project

    codes, told = contents.blobs["codes"], contents.told
    exact = name == "pca" and codes.shape[1] == 2
    places = codes if exact else project(codes, name, seed=seed).places
    low, high = places.min(0).astype(np.float64), places.max(0).astype(np.float64)
    shift, scale = (low + high) / 2, max(float((high - low).max()) / 2, 1e-12)
    found: dict[str, Any] = {
        "name": "latent" if exact else name, "title": "the two latents" if exact else TITLES[name], "exact": exact,
        "python": "places = Z" if exact else f"places = im.plots.project(Z, {name!r}).places",
    }  # fmt: skip
    if exact:
        found["to_code"] = {"shift": shift.tolist(), "scale": scale}
    contents.blobs[f"map/{found['name']}"] = ((places - shift) / scale).astype("<f4")
    told["maps"] = [one for one in told["maps"] if one["name"] != found["name"]] + [found]
    return found


# ---- what is decoded, and how likely codes are -----------------------------------------------------------------------


def _errors(model: Any, stored: Tensor, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared error and -log p(x | z) of each item, (n,) each, from one decoding."""
    form, likelihood, latents = model.format_, model.likelihood_, torch.from_numpy(codes)

    def of_block(rows: Tensor) -> Tensor:
        x = form.scale(stored[rows.cpu()].to(rows.device))
        params = model._decode(latents[rows.cpu()].to(rows.device))
        error = metrics.squared_error(form.linear(x), form.linear_mean(likelihood, params))
        nats = nats_of(model, params, x).flatten(1).sum(1).cpu()
        return torch.stack([torch.from_numpy(error), nats], 1)

    errors, nats = model._in_blocks(of_block, torch.arange(len(stored))).numpy().T
    return errors, nats


def _decoder(model: Any, blobs: dict[str, Any]) -> dict[str, Any]:
    try:
        plain = plain_decoder(model)
    except NotSupported as error:
        return {"kind": "server", "why": str(error)}
    if plain.weights.size > MOST_WEIGHTS:
        return {"kind": "server", "why": f"its decoder has {plain.weights.size:,} weights, too many for a page"}
    blobs["weights"] = plain.weights.astype("<f4")
    return {"kind": "plain", "layers": plain.layers, "weights": "weights"}


def _density(prior: Prior, floor: float, blobs: dict[str, Any]) -> dict[str, Any] | None:
    """The prior as a mixture of normals, where it is one and not too large for a page."""
    width = prior.latent_dim_
    if isinstance(prior, StandardNormal):
        weights, means, factors = np.ones(1), np.zeros((1, width)), np.eye(width)[None]
    elif isinstance(prior, Gaussian):
        weights, means, factors = np.ones(1), prior.mean_[None], prior.cholesky_[None]
    elif isinstance(prior, GaussianMixture):
        spread = prior.spread_ if prior.spread_.ndim == 3 else prior.spread_[:, :, None] * np.eye(width)
        weights, means, factors = prior.weights_, prior.means_, np.einsum("ij,cjk->cik", prior.frame_, spread)
    else:
        return None
    if factors.size > MOST_DENSITY:
        return None
    blobs["density"] = np.linalg.inv(factors).transpose(0, 2, 1).astype("<f4")  # U of the precision U U'
    return {"kind": "mixture", "weights": weights.tolist(), "means": means.tolist(), "cholesky": "density",
            "floor": floor}  # fmt: skip


# ---- latents ---------------------------------------------------------------------------------------------------------


def _latents(
    model: Any, some: Any, codes: np.ndarray, attributes: dict[str, Any] | None, decodes: bool, seed: int
) -> list[dict[str, Any]]:
    """The latents, those that matter most first."""
    from isthmus.verbs.traverse import latents

    n, width = codes.shape
    prior = getattr(model, "prior_", None)
    known = codes if n > 1 or prior is None else np.concatenate([codes, prior.sample(SOME, seed)])
    low, high = np.percentile(known, ENDS, axis=0)
    flat = high - low <= 0
    low, high = np.where(flat, low - 1, low), np.where(flat, high + 1, high)
    order, shares = list(range(width)), [1 / width] * width
    meanings: list[str | None] = [None] * width
    if decodes and n > 1:
        rows = latents(model, some, attributes, seed=seed)
        order, shares = [row["latent"] for row in rows], [row["share"] for row in rows]
        meanings = [f"{row['stands_for']}: {row['information']:.2f}" if row.get("stands_for") else None for row in rows]
    return [
        {"index": j, "title": f"latent {j}", "share": share, "low": float(low[j]), "high": float(high[j]),
         "meaning": meaning}
        for j, share, meaning in zip(order, shares, meanings, strict=True)
    ]  # fmt: skip


def _beside(model: Any, some: Any) -> list[str]:
    """What ``evaluate`` says of the model beside PCA, in words."""
    import warnings

    from isthmus.evaluate import evaluate

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = evaluate(model, some)
    except IsthmusError:  # one item alone, or a model that cannot be measured: the page does without
        return []
    rows = {row["model"]: row for row in report.rows}
    pca = next((row for name, row in rows.items() if name.startswith("PCA") and row is not report.rows[0]), None)
    lines = [line for line in report.verdict.splitlines() if line]
    if pca is not None and "squared_error" in pca:
        lines.append(f"PCA of the same size: {pca['squared_error']:.4g} on the items measured")
    if "active" in report.rows[0]:
        lines.append(f"active latents: {report.rows[0]['active']} of {model.latent_dim_}")
    return lines


def _spoken(form: Any) -> str:
    """The form of items in words: of a table its columns, not the elements that they are learned as."""
    return f"rows of {len(form.codes_)} columns" if form.spec.kind == "table" else str(form.spec)


def _spread(n: int) -> np.ndarray:
    """SOME rows from all over n."""
    return np.linspace(0, n - 1, SOME).astype(np.int64)


# ---- colours ---------------------------------------------------------------------------------------------------------


def _number(name: str, title: str, values: Any, unit: str) -> _Colour:
    with np.errstate(over="ignore"):
        array = np.asarray(values).astype("<f4")
    array[~np.isfinite(array)] = np.nan
    return _Colour({"name": name, "title": title, "kind": "number", "unit": unit}, array)


def _category(name: str, title: str, levels: list[str], places: np.ndarray) -> _Colour:
    """``places`` (n,) in levels, -1 for what is missing."""
    if len(levels) > MOST_LEVELS:
        places = np.minimum(places, MOST_LEVELS)
        levels = [*levels[:MOST_LEVELS], f"{len(levels) - MOST_LEVELS} others"]
    array = np.where(places < 0, MISSING, places).astype("<u2")
    return _Colour({"name": name, "title": title, "kind": "category", "levels": levels}, array)


def _missing(value: Any) -> bool:
    return value is None or value != value or value == ""


def _labels(given: Any, n: int) -> _Colour | None:
    """Labels as classes; many different numbers as numbers."""
    if given is None:
        return None
    values = given.detach().cpu().numpy() if hasattr(given, "detach") else np.asarray(given)
    if values.shape != (n,):
        raise DataError(f"labels of shape {values.shape} given for {n} items; expected ({n},)")
    if values.dtype.kind in "fiu":
        there = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        distinct = np.unique(there)
        if len(distinct) > DISTINCT or not (distinct == np.rint(distinct)).all():
            return _number("label", "label", values, "")
    cells = [None if _missing(value) else value for value in values.tolist()]
    kinds: set[Any] = set(cells) - {None}
    try:
        order = sorted(kinds)
    except TypeError:
        order = sorted(kinds, key=str)
    place = {value: number for number, value in enumerate(order)}
    words = [str(int(value) if isinstance(value, float) and value == int(value) else value) for value in order]
    return _category("label", "label", words, np.array([place.get(cell, -1) for cell in cells]))


def _attribute(known: _Colour, n: int) -> np.ndarray:
    """Labels of the items that latents are looked at with, as numbers or as texts with holes."""
    values = known.values[_spread(n)] if n > SOME else known.values
    if known.told["kind"] == "number":
        return values.astype(np.float64)
    words = np.array([*known.told["levels"], None], dtype=object)
    return words[np.minimum(values.astype(np.int64), len(words) - 1)]


def _columns(form: Any, stored: Tensor, X: Any) -> list[_Colour]:
    """The columns of a table, and of vectors with names, as colours."""
    if form.spec.kind == "vector" and (form.origin_.columns or form.spec.size <= MOST_COLOURS):
        names = form.origin_.columns or [f"column {place}" for place in range(form.spec.size)]
        return [
            _number(f"column-{place}", str(name), stored[:, place].double().numpy(), "")
            for place, name in enumerate(names[: MOST_COLOURS + 1])
        ]
    if form.spec.kind != "table":
        return []
    from isthmus.formats.frames import source_of

    wanted = {row["name"]: row["kind"] for row in column_kinds(form) if row["kind"] not in ("text", "left out")}
    source = source_of(X)
    pieces: dict[str, list[Any]] = {name: [] for name in wanted}
    for batch in source.batches(list(wanted)):
        for name in wanted:
            pieces[name].append(batch.column(name))
    return [_column(f"column-{place}", name, kind, pieces[name]) for place, (name, kind) in enumerate(wanted.items())]


def _column(name: str, title: str, kind: str, pieces: list[Any]) -> _Colour:
    """One column, from Arrow arrays."""
    from isthmus.formats.column_values import levels_of, numbers_of

    if kind in ("category", "boolean"):
        return _category(name, title, *levels_of(pieces))
    values, unit = numbers_of(pieces)
    if unit not in (DAYS, CLOCK):
        return _number(name, title, values, unit)
    there = values[np.isfinite(values)]
    # counted from the first day: 32 bits hold the days since 1970 to minutes only
    zero = float(np.floor(there.min())) if unit == DAYS and there.size else 0.0
    whole = "date" if (there == np.floor(there)).all() else "datetime"
    colour = _number(name, title, values - zero, unit)
    colour.told.update({"zero": zero, "format": whole if unit == DAYS else "time"})
    return colour


# ---- names -----------------------------------------------------------------------------------------------------------


def _names(form: Any, X: Any, n: int) -> list[str] | None:
    """What items are called: the files of pictures, the identifiers of a table; None where they have no names."""
    if form.spec.kind == "table":
        key = key_of(form)
        if key is None:
            return None
        from isthmus.formats.frames import source_of

        source = source_of(X)
        if key not in source.schema.names:
            return None
        return ["" if name is None else str(name) for batch in source.batches([key])
                for name in batch.column(0).to_pylist()]  # fmt: skip
    paths = X
    if isinstance(X, (str, Path)) and form.spec.kind == "image":
        from isthmus.formats.picture_folders import list_folder

        paths = list_folder(X)[0] if Path(X).is_dir() else [X]
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, (str, Path)) for path in paths):
        return None
    left_out = {str(path) for path in form.skipped_ if not isinstance(path, int)}
    kept = [Path(path) for path in paths if str(path) not in left_out]
    if len(kept) != n:
        return None
    parents = {path.parent for path in kept}
    return [path.name if len(parents) == 1 else f"{path.parent.name}/{path.name}" for path in kept]
