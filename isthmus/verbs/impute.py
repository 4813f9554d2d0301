"""Fill the holes of a table with what the rest of each row says.

The encoder sees a row with its holes, for it has learned from rows with hidden cells; the decoder says what each cell
holds, as a distribution. Beside it stands what a Gaussian says, and both are pooled (``isthmus.models.conditional``).
Single values: mode or mean. Several draws: multiple imputation (Rubin 1987), with latents drawn too where codes are
distributions (Rezende, Mohamed & Wierstra 2014, section 5).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.formats.tables import TableFormat

__all__ = ["impute"]

HOW = ("mode", "mean", "draw")


def impute(
    model: Any, X: Any, how: str = "mode", *, draws: int | None = None, seed: int = 0, uncertainty: bool = False
) -> Any:
    """The table with its holes filled; every cell that had a value is as it was.

    Parameters
    ----------
    model : any embedding that was fitted to a table
    X : a table with the columns learned from, in the form in which it shall come back; holes are null, None, NaN, NaT
    how : "mode", the default: the likeliest value, rounded as the column's values are (6 decimals at most). "mean":
        of numbers the expected value in the column's own unit, which has the least squared error, a fraction unless
        the column's dtype is one of integers; otherwise as "mode".
        "draw": a value drawn from what is possible, so that the filled column spreads as a true one does
    draws : with "draw": a list of so many filled tables, for multiple imputation. None: one table
    seed : of the draws
    uncertainty : also give an (n, columns) float64 array: for each filled cell the standard deviation in the column's
        unit (days for dates and for what spans more than three, seconds for shorter times and durations), or one minus
        the chance of the level that was chosen; NaN elsewhere

    Returns
    -------
    A table of the kind of X (a list of them with ``draws``); with ``uncertainty`` a pair of that and the array

    Raises
    ------
    NotSupported : the model was fitted to something else than a table
    SettingError : a word or number out of range
    FormatError, DataError : X is not what was learned

    Examples
    --------
    >>> import pandas, isthmus as im
    >>> frame = pandas.DataFrame({"a": [1.0, 2.0, None, 4.0] * 10, "b": ["x", "y", None, "y"] * 10})
    >>> model = im.VAE(latent_dim=2, epochs=2).fit(frame)
    >>> int(im.impute(model, frame).isna().sum().sum())
    0
    """
    from isthmus.formats.containers import indexed_as
    from isthmus.formats.frames import source_of

    form = getattr(model, "format_", None)
    if not isinstance(form, TableFormat):
        raise NotSupported(
            "impute fills the holes of tables, and this model was fitted to "
            + (f"a {form.spec.kind}. Fit it with format='table'" if form is not None else "nothing yet")
        )
    if how not in HOW:
        raise SettingError(f"how={how!r}: expected one of {', '.join(map(repr, HOW))}")
    whole = isinstance(draws, (int, np.integer)) and not isinstance(draws, bool)
    if draws is not None and (how != "draw" or not whole or draws < 1):
        raise SettingError(f"draws={draws!r}: expected a whole number from 1, together with how='draw'")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0 to {2**32 - 1}")
    source = source_of(X)
    if not source.count():
        raise DataError(f"{source.name} has no rows: there is nothing to fill")
    stored = model._stored(source)
    codes = model._in_blocks(model._encode_stored, stored)
    params = model._in_blocks(model._decode, codes)
    likelihood = copy.deepcopy(model.likelihood_).cpu()  # the model's own may lie on a GPU
    own = form.guess(likelihood, params)
    beside = model._conditional
    said = None if beside is None else beside.said(form.linear(form.scale(stored[:])))
    guess = form.beside(own) if said is None else beside.pooled(own, form, said)
    if how == "draw":
        filled: Any = []
        generator = torch.Generator().manual_seed(int(seed))
        uncertain = hasattr(model, "encode_distribution")  # what the row leaves open about its code
        mean, deviation = map(torch.from_numpy, model.encode_distribution(source)) if uncertain else (codes, codes)
        for _ in range(draws or 1):
            if uncertain:
                drawn = mean + deviation * torch.randn(mean.shape, generator=generator)
                params = model._in_blocks(model._decode, drawn)
            with torch.no_grad():
                elements = likelihood.of_hidden().sample(params, generator)
            if said is not None:
                elements = beside.drawn(elements, own, guess, form, said, generator)
            filled.append(indexed_as(form.fill(source, form.unscale(elements)), X))
        filled = filled if draws else filled[0]
    else:
        filled = indexed_as(form.fill(source, form.best(guess, mean=how == "mean")), X)
    return (filled, form.uncertainty(source, guess)) if uncertainty else filled
