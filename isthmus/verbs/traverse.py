"""What single latents do: one item with one of them moved, which of them matter, and what they stand for.

Moving a latent through its range and decoding is how Kingma & Welling 2013 (figure 4) and Higgins et al. 2017 look into
a decoder. What coordinates stand for is told by correlation, and by mutual information corrected for chance (Vinh, Epps
& Bailey 2010).

Shapes: n items; K latents; T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isthmus.errors import DataError, SettingError
from isthmus.metrics import active_units
from isthmus.priors import StandardNormal
from isthmus.verbs.disentanglement import Factor, as_factor, columns_of
from isthmus.verbs.generate import DRAWN, code_of_one, means_at, require_able

__all__ = ["decoded_grid", "latents", "range_of", "traverse"]

ENDS = (1.0, 99.0)  # percentiles of a latent between which it is moved
MOST_ITEMS = 2000  # looked at for correlations and information
MOVED = 256  # items whose latents are moved to see the effect
MOST_BINS, IN_A_BIN = 20, 5  # bins of a number, and items in a cell of two numbers, about
TELLS = 0.05  # share of an attribute's information from which on a latent is named after it
MOST_COLUMNS = 64  # of vectors, that latents are named after


def traverse(model: Any, item: Any, latent: int, *, steps: int = 8, values: Any = None, X: Any = None) -> Any:
    """One item with one latent moved through its range, the others as they are.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    item : one item, alone or as a set of one
    latent : which, from 0
    steps : number T of items, from 2; default 8
    values : (T,) values that the latent takes, in place of steps
    X : items whose codes say what its range is: from their 1st to their 99th percentile. None: draws from the prior

    Returns
    -------
    T items in the user's own form: the likelihood's means

    Raises
    ------
    NotSupported : the model has no encoder, no decoder, or neither X nor a prior says what the range is
    SettingError : latent, steps or values out of range
    DataError, FormatError : item is not one item of the form that was learned

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.traverse import traverse
    >>> X = im.datasets.digits()
    >>> traverse(im.PCA(16).fit(X), X[0], latent=2, steps=5).shape
    (5, 8, 8)
    """
    require_able(model, "traverse", prior=values is None and X is None)
    place = _latent(model, latent)
    if values is None:
        values = range_of(_reference(model, X)[:, place], steps)
    try:
        moved = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SettingError(f"values={values!r}: expected numbers (T,)") from error
    if moved.ndim != 1 or not len(moved) or not np.isfinite(moved).all():
        raise SettingError(f"values of shape {moved.shape} given: expected finite numbers (T,)")
    codes = np.repeat(code_of_one(model, item, "item"), len(moved), axis=0)
    codes[:, place] = moved
    return means_at(model, codes)


def decoded_grid(
    model: Any, latents: Sequence[int] = (0, 1), *, item: Any = None, steps: int = 8, X: Any = None
) -> Any:
    """What is decoded over a grid of two latents.

    Parameters
    ----------
    model : any embedding that decodes
    latents : two different latents, from 0; default the first two
    item : whose code the other latents have. None: their mean over the codes that give the range
    steps, X : as in ``traverse``

    Returns
    -------
    T * T items in the user's own form, row by row from above: the first latent grows along a row, the second falls
    from row to row, as on a map

    Raises
    ------
    NotSupported, SettingError, DataError, FormatError : as ``traverse``
    """
    require_able(model, "decoded_grid", encode=item is not None or X is not None, prior=X is None)
    if not isinstance(latents, (tuple, list)) or len(latents) != 2 or latents[0] == latents[1]:
        raise SettingError(f"latents={latents!r}: expected two different ones, such as (0, 1)")
    across, up = (_latent(model, latent) for latent in latents)
    reference = _reference(model, X)
    one = reference.mean(0, keepdims=True) if item is None else code_of_one(model, item, "item")
    side = range_of(reference[:, across], steps), range_of(reference[:, up], steps)
    codes = np.repeat(one, steps * steps, axis=0)
    codes[:, across], codes[:, up] = np.tile(side[0], steps), np.repeat(side[1][::-1], steps)
    return means_at(model, codes)


def latents(model: Any, X: Any, attributes: Any = None, *, seed: int = 0) -> list[dict[str, Any]]:
    """Which latents matter, and what they stand for.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    X : (n, ...) items, two at least
    attributes : what is known of the items: a dict of (n,) arrays or a frame, or an array (n,) or (n, M); holes (None,
        NaN) are left out. None: of a table and of vectors of at most 64 columns, their own columns
    seed : of which items are looked at, of more than 2000

    Returns
    -------
    list of dicts, one a latent, those of the greatest effect first:
    latent (from 0), variance (of its codes), kl (mean KL to a standard normal prior in nats, where codes are
    distributions), effect (half of a move by two standard deviations, squared and summed over the elements of an item,
    in the view in which errors are measured, mean over items; of PCA the variance along the component), share (of all
    effects), active (in use); and where there are attributes
    stands_for (the attribute that it tells most of, None where that is below 5 % or the latent is not in use),
    information (the share of that attribute's entropy that it tells, less what it would by chance), correlation
    (Pearson's of numbers; of levels the correlation ratio, with Pearson's sign where levels are numbers)

    Raises
    ------
    NotSupported : the model has no encoder or no decoder
    DataError : fewer than two items, attributes of another length

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.traverse import latents
    >>> X, y = im.datasets.digits(labels=True)
    >>> [row["latent"] for row in latents(im.PCA(4).fit(X), X, {"digit": y})]
    [0, 1, 2, 3]
    """
    require_able(model, "latents", prior=False)
    codes = model.encode(X)
    if len(codes) < 2:
        raise DataError("one item tells nothing of what varies: give two at least")
    known = _attributes(model, X, attributes, len(codes))
    variance = codes.astype(np.float64).var(0)
    random = np.random.default_rng(seed)
    some = np.sort(random.permutation(len(codes))[:MOVED])
    effect = _effects(model, codes[some], np.sqrt(variance))
    fixed = isinstance(getattr(model, "prior_", None), StandardNormal)
    least = 0.01 if fixed else 1e-4 * variance.max()  # Burda's threshold, where codes have the unit of their prior
    rows: list[dict[str, Any]] = [
        {"latent": j, "variance": float(variance[j]), "effect": float(effect[j]),
         "share": float(effect[j] / effect.sum()) if effect.sum() > 0 else 0.0, "active": bool(variance[j] > least)}
        for j in range(codes.shape[1])
    ]  # fmt: skip
    assert sum(row["active"] for row in rows) == active_units(codes, 0.01 if fixed else 1e-4, relative=not fixed)
    if fixed and hasattr(model, "encode_distribution"):
        mean, deviation = (part.astype(np.float64) for part in model.encode_distribution(X))
        nats = 0.5 * (mean**2 + deviation**2 - 1 - 2 * np.log(deviation)).mean(0)
        rows = [row | {"kl": float(nats[j])} for j, row in enumerate(rows)]
    if known:
        rows = [row | _meaning(codes[:, j], known if row["active"] else {}) for j, row in enumerate(rows)]
    return sorted(rows, key=lambda row: -row["effect"])


def _effects(model: Any, codes: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(K,) mean of |g(z + s e) - g(z - s e)|^2 / 4 over some items, of a move of each latent by its deviation s."""
    found = []
    for j, step in enumerate(deviation):
        move = np.zeros(codes.shape[1], np.float32)
        move[j] = step
        ends = [model._in_blocks(model._linear_mean, torch.from_numpy(codes + sign * move)) for sign in (1, -1)]
        found.append(float((ends[0].double() - ends[1].double()).flatten(1).square().sum(1).mean()) / 4)
    return np.array(found)


# ---------------------------------------------------------------------------------------------- names


def _attributes(model: Any, X: Any, given: Any, count: int) -> dict[str, np.ndarray]:
    """(n,) values by name; None or NaN where one is missing."""
    form = model.format_
    if given is not None:
        found = {str(name): np.asarray(column) for name, column in columns_of(given).items()}
    elif form.spec.kind == "table":
        elements = form._elements(model._stored(X)).double().numpy()
        owners = [element.name for code in form.codes_ for element in code.elements]
        kinds = {code.name: code.kind for code in form.codes_}
        # A column of several elements is told by its first, and a text, whose letters are elements, by none.
        found = {name: elements[:, owners.index(name)] for name in dict.fromkeys(owners) if kinds[name] != "text"}
    elif form.spec.kind == "vector" and form.spec.size <= MOST_COLUMNS:
        elements = form.scale(model._stored(X)).double().numpy()
        names = getattr(model, "feature_names_in_", [f"column {j}" for j in range(elements.shape[1])])
        found = {str(name): column for name, column in zip(names, elements.T, strict=True)}
    else:
        found = {}
    for name, values in found.items():
        if values.shape != (count,):
            raise DataError(f"the attribute {name!r} has the shape {values.shape}; expected ({count},), one an item")
    return found


def _meaning(latent: np.ndarray, known: dict[str, np.ndarray]) -> dict[str, Any]:
    """What one latent stands for."""
    best: dict[str, Any] = {"stands_for": None, "information": 0.0, "correlation": 0.0}
    for name, values in known.items():
        there = np.array([value is not None and value == value for value in values.tolist()])
        rows = np.flatnonzero(there)
        if len(rows) > MOST_ITEMS:
            rows = rows[:: len(rows) // MOST_ITEMS + 1]
        if len(rows) < 2 * IN_A_BIN:
            continue
        factor = as_factor(name, values[rows])
        if factor.levels == 1 or np.ptp(latent[rows]) == 0:
            continue
        told = _information(latent[rows], factor)
        if told > best["information"]:
            correlation = _correlation(latent[rows], factor, values[rows])
            best = {"stands_for": name, "information": told, "correlation": correlation}
    return best | ({"stands_for": None} if best["information"] < TELLS else {})


def _information(latent: np.ndarray, factor: Factor) -> float:
    """Share of what the poorer of both knows that is shared, beyond chance: 1 where one tells all of the other."""
    from sklearn.metrics import adjusted_mutual_info_score

    count = int(np.clip(np.sqrt(len(latent) / IN_A_BIN), 2, MOST_BINS))
    levels = _even_bins(factor.values, count) if factor.levels is None else factor.values
    return float(adjusted_mutual_info_score(levels, _even_bins(latent, count), average_method="min"))


def _even_bins(values: np.ndarray, count: int) -> np.ndarray:
    """Which of ``count`` bins of as many items each value is in; equal values are in one."""
    return np.searchsorted(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]), values, side="right")


def _correlation(latent: np.ndarray, factor: Factor, values: np.ndarray) -> float:
    """Pearson's; or the root of the share of variance that lies between levels, signed where these are numbers."""
    numbers = values.dtype.kind in "fiub"
    pearson = float(np.corrcoef(latent, values)[0, 1]) if numbers else 1.0
    if factor.levels is None:
        return pearson
    apart = latent.astype(np.float64) - latent.mean(dtype=np.float64)
    sums = np.bincount(factor.values, apart, minlength=factor.levels)
    between = (sums**2 / np.maximum(np.bincount(factor.values, minlength=factor.levels), 1)).sum()
    return float(np.copysign(np.sqrt(np.clip(between / np.square(apart).sum(), 0, 1)), pearson))


# ---------------------------------------------------------------------------------------------- ranges


def range_of(latent: np.ndarray, steps: int) -> np.ndarray:
    """``steps`` even values from the 1st to the 99th percentile; SettingError for fewer than two."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise SettingError(f"steps={steps!r}: expected how many values a latent takes, a whole number from 2")
    least, most = np.percentile(latent, ENDS)
    return np.linspace(least, most, int(steps))


def _reference(model: Any, X: Any) -> np.ndarray:
    codes: np.ndarray = model.prior_.sample(DRAWN, 0) if X is None else model.encode(X)
    return codes


def _latent(model: Any, latent: Any) -> int:
    whole = isinstance(latent, (int, np.integer)) and not isinstance(latent, bool)
    if not whole or not 0 <= latent < model.latent_dim_:
        raise SettingError(f"latent={latent!r}: expected a whole number from 0 to {model.latent_dim_ - 1}")
    return int(latent)
