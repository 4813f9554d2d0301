"""What a report tells of a model, measured: which items, and all figures.

Shapes: n items; K latents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from isthmus.errors import DataError
from isthmus.evaluate import Report, error_curves, evaluate, rows_not_learned
from isthmus.verbs.generation import GenerationReport, generation_report
from isthmus.verbs.traverse import latents
from isthmus.view.items import labels_for

__all__ = ["PRIVATE", "Measured", "measured"]

MOST = 10_000  # items that are all measured; of more, MEASURED are, and MOST others are what the baselines learn from
MEASURED = 5_000  # a standard error of 1 % of the error's own spread
CURVED = 1_000  # items of the curve against k, which decodes each many times
MADE = 1_000  # items of each kind in the comparison of made with real ones
PRIVATE = ("closest", "closer", "membership")


class Measured(NamedTuple):
    """What the page tells, and what it is told of."""

    stored: Any  # all items, in the stored view
    rows: np.ndarray  # of them that are measured
    labels: np.ndarray | None  # of all
    seen: bool  # whether the model is known to have learned from what is measured
    known: bool  # whether it is known not to have
    report: Report
    curves: dict[str, Any]
    latents: list[dict[str, Any]]
    made: GenerationReport | None
    private: bool  # whether the items learned from are known, so that copies can be told
    rule: str  # which items were taken


def measured(model: Any, X: Any, labels: Any, train: Any, seed: int) -> Measured:
    """Everything that a report of a model tells; the rule is in ``isthmus.report``."""
    stored = model._stored(X)
    n = len(stored)
    y = labels_for(labels, n)
    if n < 2:
        raise DataError(f"a report needs two items at least; {n} given")
    unseen = rows_not_learned(model, stored)
    fitted = len(unseen) < n  # these are the very items that the model was fitted to
    rows = np.arange(n) if train is not None or len(unseen) < 2 else unseen
    seen = fitted and not set(rows.tolist()) <= set(unseen.tolist())
    random = np.random.default_rng(seed)
    if n <= MOST:
        asked, y_asked, learn_from = X, y, train
        rule = f"All {n:,} items were looked at."
    else:
        if len(rows) > MEASURED:
            rows = np.sort(random.choice(rows, MEASURED, replace=False))
        rest = np.setdiff1d(np.arange(n), rows)
        some = np.sort(random.choice(rest, min(len(rest), MOST), replace=False))
        asked, y_asked = _taken(X, rows), None if y is None else y[rows]
        learn_from = _taken(X, some) if train is None else train
        rule = (f"Of {n:,} items, {len(rows):,} were measured, drawn by seed {seed}; the baselines learned from "
                + (f"{len(some):,} others." if train is None else "the training items."))  # fmt: skip
    if y_asked is not None and not all(label is not None and label == label for label in y_asked.tolist()):
        told = evaluate(model, asked, train=learn_from)  # neighbours cannot be asked for labels that are missing
    else:
        told = evaluate(model, asked, y_asked, train=learn_from)
    curves = error_curves(model, asked, train=learn_from, limit=CURVED)
    watched = stored[torch.from_numpy(rows)]
    known = None if y is None or model.format_.spec.kind == "table" else {"label": y[rows]}  # a table has columns
    back = model.format_.from_tensor(watched)
    of_latents = latents(model, back, known, seed=seed)
    other = np.setdiff1d(np.arange(n), rows) if fitted and not seen else None
    made, private = _made(model, stored, rows, other, train, seed)
    return Measured(stored, rows, y, seen, fitted and not seen, told, curves, of_latents, made, private, rule)


def _taken(X: Any, rows: np.ndarray) -> Any:
    """These of the items, in a form that the model reads."""
    if hasattr(X, "subset"):
        return X.subset(rows)
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    if hasattr(X, "columns") or hasattr(X, "schema"):
        from isthmus.formats.frames import source_of

        return source_of(X).subset(rows)
    return [X[row] for row in rows] if isinstance(X, (list, tuple)) else X[rows]


def _made(model: Any, stored: Any, rows: np.ndarray, others: np.ndarray | None, train: Any,
          seed: int) -> tuple[GenerationReport | None, bool]:  # fmt: skip
    """What made items are worth beside held-out ones; and whether the items learned from were known."""
    if getattr(model, "prior_", None) is None:
        return None, False
    form, random = model.format_, np.random.default_rng(seed)
    rows = random.permutation(rows)
    if train is not None:
        known, private = model._stored(train), True
        known = known[torch.from_numpy(np.sort(random.permutation(len(known))[:MADE]))]
    elif others is not None and len(others) >= 10:
        known, private = stored[torch.from_numpy(np.sort(random.permutation(others)[:MADE]))], True
    else:  # two halves of what there is: likeness can be told, copies cannot
        half = len(rows) // 2
        known, rows, private = stored[torch.from_numpy(np.sort(rows[:half][:MADE]))], rows[half:], False
    test = stored[torch.from_numpy(np.sort(rows[:MADE]))]
    n = min(len(known), len(test))
    if n < 20:
        return None, False
    found = generation_report(model, form.from_tensor(known), form.from_tensor(test), n=n, seed=seed)
    if not private:
        found.rows = [{key: value for key, value in row.items() if key not in PRIVATE} for row in found.rows]
        found.rows[0]["items"] = "other real items"
        found.verdict = [line for line in found.verdict if "its codes are not" in line]
    return found, private
