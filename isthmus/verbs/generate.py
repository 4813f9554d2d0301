"""New items: drawn from a prior, near given ones, and between two of them.

A decoder turns any code into something; what it learned to decode are the codes of data. So where codes are drawn from
decides everything, and every function here asks a prior (``isthmus.priors``): the model's own, or one fitted to codes.

- new items near given ones: a step of the preconditioned Crank-Nicolson walk (Neal 1998, Beskos et al. 2008), which
  leaves the prior as it is
- spherical interpolation: Shoemake 1985; for codes, White 2016, "Sampling generative networks"

Shapes: n items; K coordinates of a code; C components of a mixture; T points of a path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from isthmus.errors import DataError, FormatError, NotSupported, SettingError, warn
from isthmus.priors import Gaussian, GaussianMixture, Prior, StandardNormal, prior_of

__all__ = ["augment", "code_of_one", "components", "interpolate", "means_at", "require_able", "sample"]

DRAWN = 4096  # codes that stand for a prior: a percentile of them is good to a fifth of itself
RARE, USUAL = 1.0, 25.0  # percentiles of the density of codes: to warn below, to move up to
HOW = ("linear", "spherical", "manifold")


# ---------------------------------------------------------------------------------------------- drawing


def sample(
    model: Any,
    n: int | None = None,
    *,
    prior: str | Prior | None = None,
    X: Any = None,
    y: Any = None,
    label: Any = None,
    seed: int = 0,
) -> Any:
    """New items from a prior of codes; with labels, items of a class.

    Parameters
    ----------
    model : any embedding that decodes
    n : how many, from 1. None, the default, is 1, or the number of labels
    prior : None: the model's own, and with ``y`` a mixture for each class. A fitted Prior is used as it is.
        "standard_normal", "gaussian", "mixture" or an unfitted Prior is fitted to the codes of X
    X : items whose codes a prior is fitted to
    y : (len(X),) labels of any kind that can be sorted: a prior is fitted to the codes of each class. Items without
        label (None, NaN) are left aside
    label : the class to draw from, or a list of n classes, one for each item: from the priors that a model keeps which
        was fitted with labels, or with X and ``y`` from priors fitted to these
    seed : the same seed gives the same items; items of a class do not depend on what else is asked for

    Returns
    -------
    n items in the user's own form: the likelihood's means at the codes, of a table draws

    Raises
    ------
    NotSupported : the model has no decoder, or no prior
    SettingError : n, prior or seed out of range
    DataError : labels of another length, a class that no item has, or X missing where a prior is to be fitted; a class
        where neither the model nor ``y`` knows any

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.generate import sample
    >>> X, y = im.datasets.digits(labels=True)
    >>> sample(im.PCA(16).fit(X), 5, X=X, y=y, label=3).shape
    (5, 8, 8)
    """
    require_able(model, "sample", encode=X is not None, prior=prior is None and y is None)
    _require_seed(seed)
    labels = None if label is None else np.atleast_1d(np.asarray(label))
    learned = X is None and y is None and prior is None and hasattr(model, "class_priors_")  # by fit(X, y)
    if not learned and ((y is None) != (labels is None) or (y is not None and X is None)):
        raise DataError("to draw from a class, give X=, its labels y=, and label=, the class that is wanted; a model "
                        "that was fitted with labels, fit(X, y), needs label= alone")  # fmt: skip
    if n is None:
        n = 1 if labels is None else len(labels)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise SettingError(f"n={n!r}: expected how many items to draw, a whole number from 1")
    if labels is None:
        codes = prior_for(model, prior, X).sample(int(n), int(seed))
    else:
        if labels.ndim != 1 or len(labels) not in (1, n):
            raise DataError(f"label= names {labels.shape} classes for n={n} items; expected one, or one for each")
        labels = np.broadcast_to(labels, (int(n),))
        codes = np.empty((int(n), model.latent_dim_), np.float32)
        classes, of_class = _priors_of_classes(model, prior, X, y)
        for wanted in np.unique(labels):
            at = np.flatnonzero(classes == wanted)
            if not len(at):
                told = "the model learned" if learned else "no item of X has it; y has"
                more = ", ..." if len(classes) > 20 else ""
                raise DataError(f"label={wanted.item()!r}: {told} {', '.join(map(str, classes[:20]))}{more}")
            rows = labels == wanted
            drawn_by = np.random.SeedSequence([int(seed), int(at[0])]).generate_state(1)[0]
            codes[rows] = of_class(int(at[0])).sample(int(rows.sum()), int(drawn_by))
    return model._drawn_at(torch.from_numpy(codes), int(seed))


def _priors_of_classes(
    model: Any, prior: str | Prior | None, X: Any, y: Any
) -> tuple[np.ndarray, Callable[[int], Prior]]:
    """The classes, and the prior of each by its place among them: the model's own, or of the codes of X."""
    if y is None:
        return model.classes_, lambda place: model.class_priors_[place]
    codes = model.encode(X)
    classes, places = _classes(y, len(codes))
    return classes, lambda place: _fitted("mixture" if prior is None else prior, codes[places == place])


def augment(
    model: Any,
    X: Any,
    strength: float = 0.5,
    *,
    copies: int = 1,
    y: Any = None,
    prior: str | Prior | None = None,
    seed: int = 0,
) -> Any:
    """New items near given ones, made by moving their codes.

    A code z moves to m + sqrt(1 - s^2) (z - m) + s e, with s the strength, m the mean of the prior and e a draw with
    its covariance; of a mixture, mean and covariance are of a component drawn by how likely it made z. Codes that
    follow the prior still follow it afterwards, whatever the strength, and no scale has to be chosen.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    X : (n, ...) items of the form that was learned
    strength : from 0, reconstructions, to 1, draws that have forgotten the item but for its component; default 0.5,
        where a code keeps a correlation of 0.87 with what it was
    copies : new items for each given one, default 1
    y : (n,) labels: items move as their own class does, by a prior fitted to its codes, which keeps labels better.
        Items without label (None, NaN) move by the prior of all
    prior : None: the model's own (with ``y``, a mixture for each class). Otherwise as in ``sample``, fitted to X
    seed : the same seed gives the same items

    Returns
    -------
    n * copies items in the user's own form, all of X once, then all of X again; holes of a table are filled

    Raises
    ------
    NotSupported : the model has no encoder, no decoder, or no prior
    SettingError : strength outside 0 to 1, copies below 1
    DataError : items that are not what was learned, labels of another length

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.generate import augment
    >>> X = im.datasets.digits()
    >>> augment(im.PCA(16).fit(X), X[:10], 0.3, copies=4).shape
    (40, 8, 8)
    """
    require_able(model, "augment")
    _require_seed(seed)
    if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 <= float(strength) <= 1:
        raise SettingError(f"strength={strength!r}: expected a number from 0, the item itself, to 1, a fresh draw")
    if isinstance(copies, bool) or not isinstance(copies, (int, np.integer)) or copies < 1:
        raise SettingError(f"copies={copies!r}: expected how many new items for each given one, from 1")
    given = model.encode(X).astype(np.float64)
    codes = np.tile(given, (int(copies), 1))
    if y is None:
        groups = [(np.ones(len(given), dtype=bool), prior_for(model, prior, X, given))]
    else:
        classes, places = _classes(y, len(given))
        groups = [(places == c, _fitted("mixture" if prior is None else prior, given[places == c]))
                  for c in range(len(classes))]  # fmt: skip
        if (places < 0).any():
            groups.append((places < 0, prior_for(model, prior, X, given)))
    noise, luck = (np.random.default_rng(part) for part in np.random.SeedSequence(int(seed)).spawn(2))
    steps, draws = noise.standard_normal(codes.shape), luck.random(len(codes))
    for some, own in groups:
        rows = np.tile(some, int(copies))
        codes[rows] = _moved(own, codes[rows], float(strength), steps[rows], draws[rows])
    return model._drawn_at(torch.from_numpy(codes.astype(np.float32)), int(seed))


# ---------------------------------------------------------------------------------------------- between two


def interpolate(
    model: Any,
    a: Any,
    b: Any,
    steps: int = 8,
    *,
    how: str = "linear",
    prior: str | Prior | None = None,
    X: Any = None,
) -> Any:
    """Items on a way from one item to another, both of them (as the model gives them back) included.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    a, b : one item each, alone or as a set of one; of a table a row
    steps : number T of items, from 2; default 8
    how : "linear", the default: the straight line between the codes. "spherical": the arc about the prior's mean, in
        coordinates in which its covariance is the identity; for a standard normal prior of many coordinates, where a
        straight line cuts through a middle in which no code lies. "manifold": the straight line, and codes on it where
        the prior is thin moved up its density, no further than to that of the ends or of the lower quarter of data
    prior : whose density is asked. None: the model's own; otherwise as in ``sample``, fitted to the codes of X
    X : items whose codes say what density is usual. None: codes drawn from the prior

    Returns
    -------
    T items in the user's own form: the likelihood's means

    Warns
    -----
    IsthmusWarning : codes on the way have a lower density than all but a hundredth of the codes of X

    Raises
    ------
    NotSupported : the model has no encoder, no decoder, or no prior
    SettingError : steps below 2, an unknown word
    DataError, FormatError : a or b is not one item of the form that was learned

    Examples
    --------
    >>> import isthmus as im
    >>> from isthmus.verbs.generate import interpolate
    >>> X = im.datasets.digits()
    >>> interpolate(im.PCA(16).fit(X), X[0], X[1], steps=5).shape
    (5, 8, 8)
    """
    require_able(model, "interpolate")
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
        raise SettingError(f"steps={steps!r}: expected how many items, both ends included, a whole number from 2")
    if how not in HOW:
        raise SettingError(f"how={how!r}: expected one of {', '.join(map(repr, HOW))}")
    ends = np.concatenate([code_of_one(model, a, "a"), code_of_one(model, b, "b")]).astype(np.float64)
    known = None if X is None else model.encode(X)
    density = prior_for(model, prior, X, known)
    usual = density.log_prob(density.sample(DRAWN, 0) if known is None else known)
    rare, level = np.percentile(usual, [RARE, USUAL])
    share = np.linspace(0, 1, int(steps))
    path = _arc(density, ends, share) if how == "spherical" else ends[0] + share[:, None] * (ends[1] - ends[0])
    if how == "manifold":
        first, last = density.log_prob(ends)
        path[1:-1] = _raised(density, path[1:-1], np.minimum((1 - share) * first + share * last, level)[1:-1])
    thin = density.log_prob(path) < rare
    if thin.any():
        places = ", ".join(str(place + 1) for place in np.flatnonzero(thin))
        warn(
            f"of {steps} codes on the way, {places} (from 1) lie where the prior ({density.describe()}) is thinner "
            f"than at 99 % of {'its own draws' if known is None else 'the codes of X'}: what is decoded there may look "
            "like nothing" + ("" if how == "manifold" else "; how='manifold' goes round such places")
        )
    return means_at(model, path)


def _arc(prior: Prior, ends: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Shoemake's arc between two codes (2, K), (T, K); a line where they lie on one ray or on opposite ones."""
    weights, means, factors = components(prior)
    centre = weights @ means
    apart = means - centre
    covariance = np.einsum("c,cij,ckj->ik", weights, factors, factors) + np.einsum("c,ci,cj->ij", weights, apart, apart)
    factor = np.linalg.cholesky(covariance)
    one, other = np.linalg.solve(factor, (ends - centre).T).T
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    angle = np.arccos(np.clip((one / lengths[0]) @ (other / lengths[1]), -1, 1)) if min(lengths) > 0 else 0.0
    if np.sin(angle) < 1e-6:
        return ends[0] + share[:, None] * (ends[1] - ends[0])
    turned = np.outer(np.sin((1 - share) * angle), one / lengths[0]) + np.outer(
        np.sin(share * angle), other / lengths[1]
    )
    length = (1 - share) * lengths[0] + share * lengths[1]  # or the arc between two unlike lengths would bulge
    white = length[:, None] * turned / np.sin(angle)
    path = centre + np.einsum("tj,kj->tk", white, factor)
    path[0], path[-1] = ends  # to the bit
    return path


def _raised(prior: Prior, codes: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Codes moved to where the log-density is at least their level, and no further.

    Each goes towards where expectation-maximisation would take it: the mean of the components that may have made it,
    by their precision, on which way a mixture's density never falls.
    """
    weights, means, factors = components(prior)
    inverse = np.linalg.inv(factors)
    precision = np.einsum("cji,cjk->cik", inverse, inverse)
    codes = codes.copy()
    for _ in range(50 if len(codes) else 0):
        low = np.flatnonzero(prior.log_prob(codes) < levels)
        if not len(low):
            break
        blame = np.exp(_log_parts(codes[low], weights, means, factors))
        blame /= blame.sum(1, keepdims=True)
        pull = np.einsum("nc,cij,cj->ni", blame, precision, means)
        target = np.linalg.solve(np.einsum("nc,cij->nij", blame, precision), pull[..., None])[..., 0]
        near, far = np.zeros(len(low)), np.ones(len(low))
        enough = prior.log_prob(target) >= levels[low]
        for _ in range(30):  # the least share of the way that is enough
            middle = (near + far) / 2
            there = prior.log_prob(codes[low] + middle[:, None] * (target - codes[low])) >= levels[low]
            far, near = np.where(there, middle, far), np.where(there, near, middle)
        codes[low] += np.where(enough, far, 1.0)[:, None] * (target - codes[low])
    return codes


# ---------------------------------------------------------------------------------------------- priors


class _Components(NamedTuple):
    """A mixture of normals; a single one has C = 1."""

    weights: np.ndarray  # (C,)
    means: np.ndarray  # (C, K)
    factors: np.ndarray  # (C, K, K), lower triangular


def components(prior: Prior) -> _Components:
    """What a prior is made of; any other than those known here is taken for the normal of its draws."""
    if isinstance(prior, StandardNormal):
        width = prior.latent_dim_
        return _Components(np.ones(1), np.zeros((1, width)), np.eye(width)[None])
    if isinstance(prior, GaussianMixture):
        spread = prior.spread_ if prior.spread_.ndim == 3 else prior.spread_[:, :, None] * np.eye(prior.latent_dim_)
        return _Components(prior.weights_, prior.means_, np.einsum("ij,cjk->cik", prior.frame_, spread))
    normal = prior if isinstance(prior, Gaussian) else Gaussian().fit(prior.sample(DRAWN, 0))
    return _Components(np.ones(1), normal.mean_[None], normal.cholesky_[None])


def _log_parts(codes: np.ndarray, weights: np.ndarray, means: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Log of weight times density of each component at each code, (n, C), less the greatest of the code."""
    from scipy.linalg import solve_triangular

    logs = np.empty((len(codes), len(weights)))
    for c, (weight, mean, factor) in enumerate(zip(weights, means, factors, strict=True)):
        white = solve_triangular(factor, (codes - mean).T, lower=True)
        logs[:, c] = np.log(weight) - np.log(np.diag(factor)).sum() - 0.5 * np.einsum("kn,kn->n", white, white)
    return logs - logs.max(1, keepdims=True)


def _moved(prior: Prior, codes: np.ndarray, strength: float, noise: np.ndarray, luck: np.ndarray) -> np.ndarray:
    """One step of the walk that ``augment`` describes; ``luck`` (n,) in [0, 1) chooses the components."""
    weights, means, factors = components(prior)
    chances = np.exp(_log_parts(codes, weights, means, factors)).cumsum(1)
    chosen = (chances < luck[:, None] * chances[:, -1:]).sum(1)
    moved = np.sqrt(1 - strength**2) * (codes - means[chosen]) + means[chosen]
    for c, factor in enumerate(factors):
        rows = chosen == c
        moved[rows] += strength * np.einsum("nk,jk->nj", noise[rows], factor)
    return moved


def prior_for(model: Any, prior: str | Prior | None, X: Any, codes: np.ndarray | None = None) -> Prior:
    """The model's own prior, or the one that is asked for, fitted to the codes of X."""
    if prior is None:
        own: Prior = model.prior_
        return own
    if isinstance(prior, Prior) and hasattr(prior, "latent_dim_"):
        if prior.latent_dim_ != model.latent_dim_:
            raise SettingError(
                f"prior= is of {prior.latent_dim_} coordinates; the model's codes have {model.latent_dim_}"
            )
        return prior
    if isinstance(prior_of(prior), StandardNormal):
        return _fitted(prior, np.zeros((1, model.latent_dim_)))
    if X is None:
        raise DataError(f"prior={prior!r} is fitted to codes: give X=, the items to encode for it")
    return _fitted(prior, model.encode(X) if codes is None else codes)


def _fitted(prior: str | Prior, codes: np.ndarray) -> Prior:
    return prior_of(prior).fit(codes)


def _classes(y: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes in sorted order, and the place of each item's among them; -1 for an item without label."""
    labels = y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
    if labels.shape != (count,):
        raise DataError(f"labels of shape {labels.shape} given for {count} items; expected ({count},), one for each")
    known = np.array([label is not None and label == label for label in labels.tolist()], dtype=bool)
    if not known.any():
        raise DataError("no item has a label: give one to some of them at least")
    places = np.full(count, -1)
    try:
        classes, places[known] = np.unique(labels[known], return_inverse=True)
    except TypeError as error:
        raise DataError("labels must be of one kind, all numbers or all text; these cannot be sorted") from error
    return classes, places


# ---------------------------------------------------------------------------------------------- models and items


def require_able(model: Any, verb: str, *, encode: bool = True, prior: bool = True) -> None:
    """NotSupported where the model cannot do what the verb needs; NotFittedError where it was not fitted."""
    needed = (*(("encode",) if encode else ()), "decode")
    lacking = [name for name in needed if not callable(getattr(model, name, None))]
    if lacking:
        raise NotSupported(
            f"{verb} needs a model that can {' and '.join(lacking)}, and this {type(model).__name__} cannot; PCA, "
            "Autoencoder and VAE can"
        )
    if hasattr(model, "fit"):
        check_is_fitted(model, "format_")
    if prior and getattr(model, "prior_", None) is None:
        raise NotSupported(
            f"{verb} needs a prior of codes, and this {type(model).__name__} has none; PCA, Autoencoder and VAE have "
            "one, or name one with prior= and items with X="
        )


def means_at(model: Any, codes: np.ndarray) -> Any:
    """Items at codes (n, K) in the user's own form: the likelihood's means, of choices the likeliest."""
    means = model._in_blocks(model._mean, torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)))
    return model.format_.from_tensor(model.format_.unscale(means))


def code_of_one(model: Any, item: Any, name: str) -> np.ndarray:
    """The code (1, K) of one item, given alone or as a set of one.

    Raises DataError or FormatError, calling the item by ``name``, for what is not one item of the form learned.
    """
    problems: list[DataError] = []
    for form in _as_set(model, item):
        try:
            codes: np.ndarray = model.encode(form)
        except DataError as error:
            problems.append(error)
            continue
        if len(codes) == 1:
            return codes
        problems.append(FormatError(f"{len(codes)} items given"))
    problem = next((one for one in problems if isinstance(one, FormatError)), problems[-1])
    raise type(problem)(f"{name} must be one item of the form learned ({model.format_.spec}): {problem}") from problem


def _as_set(model: Any, item: Any) -> list[Any]:
    """The ways in which a single item may have been given."""
    kind = model.format_.spec.kind
    if isinstance(item, (str, os.PathLike)):
        return [[Path(item)]] if kind == "image" and not Path(item).is_dir() else [item]
    if isinstance(item, Mapping):
        return [item, [item]] if all(np.ndim(value) for value in item.values()) else [[item]]
    if kind == "vector" and hasattr(item, "columns"):
        return [item]
    if kind == "vector" and hasattr(item, "to_frame"):  # a row of a frame
        return [item.to_frame().T]
    if kind == "table" or not (hasattr(item, "ndim") or isinstance(item, (list, tuple))):
        return [item]
    return [item, (item if hasattr(item, "ndim") else np.asarray(item))[None]]


def _require_seed(seed: Any) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
