"""A report of a model as one HTML page: what the data is, what was learned, whether that is better than PCA, and what
to do. It needs no network, can be printed, and says of every figure how it is read.

Shapes: n items; K latents.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isthmus.errors import SettingError
from isthmus.metrics import knee
from isthmus.store import atomic_path
from isthmus.verbs.generate import require_able
from isthmus.verbs.traverse import range_of, traverse
from isthmus.view import items, plots
from isthmus.view.drawing import classes_of
from isthmus.view.maps import METHODS
from isthmus.view.measured import PRIVATE, Measured, measured
from isthmus.view.page import as_svg, bar, data, figure, page, section, table, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["report"]

POINTS = 1_500  # of a map
WORST, WORST_ROWS = 6, 2
LATENTS, COLUMNS = 24, 40  # rows of tables
BESIDE = 3  # rows of a table that stand beside each other: more are cut on paper and on a telephone
FIGURES = dict.fromkeys(("precision", "recall", "coverage", *PRIVATE), ".2f")

HEADINGS = {  # keys of evaluate's rows that are shown
    "squared_error": ("squared error", ".4g"),
    "explained": ("explained", ".1%"),
    "psnr": ("PSNR, dB", ".1f"),
    "nats": ("nats", ".5g"),
    "bits_per_dimension": ("bits/dim", ".3f"),
    "trustworthiness": ("trust", ".3f"),
    "knn_accuracy": ("k-NN", ".1%"),
}
WORDS = {
    "latent": "One of the numbers of a code. The model squeezes each item into its code, and brings it back from "
    "there.",
    "squared error": "The sum over the elements of an item of (given − brought back)², in the unit that is "
    "named; the mean "
    "over items is shown. Smaller is better.",
    "explained": "The share of the error of always answering with the mean item that is gone. 100 % is a perfect copy.",
    "PCA": "Principal component analysis: the best that can be done with straight lines and as many numbers. A "
    "model that "
    "does not beat it is not worth its training.",
    "nats, bits/dim": "How surprised the model is by an item: −log p(x) in natural units, or for each element in bits. "
    "Smaller is better.",
    "trust": "Whether neighbours among the codes are neighbours among the items: 1 is best, 0.5 is chance.",
    "k-NN": "How many labels are told by the five nearest codes.",
    "held out": "Items that the model has not learned from. Only they show whether it has understood or learned "
    "by heart.",
}


def report(
    model: Any,
    X: Any,
    path: str | os.PathLike[str] = "report.html",
    labels: Any = None,
    *,
    train: Any = None,
    title: str | None = None,
    method: str = "pca",
    seed: int = 0,
) -> Path:
    """Write one HTML file that tells what a model learned of data; it needs nothing else, and runs no code.

    Parameters
    ----------
    model : any embedding that encodes and decodes
    X : items of the form that was learned, two at least. As in ``isthmus.evaluate``, the very items that the model was
        fitted to are recognised, and then only the tenth that training held out is measured. The page says which
    path : of the file, which is replaced when the new one is whole; default "report.html"
    labels : (n,) classes or numbers, for colours, for what latents stand for, and for the accuracy of neighbours
    train : items that the model learned from, for the baselines and for whether it copies. None: as ``evaluate`` does
    title : a heading; None: "What VAE(16) learned"
    method : of the map: "pca", "tsne" or "umap"
    seed : of what is drawn: the same call writes the same bytes. Of more than 10,000 items, 5,000 are measured (of
        those that training held out, where the model was fitted to these very items), and baselines learn from 10,000
        others

    Returns
    -------
    Path of the file, below 3 MB

    Raises
    ------
    DataError, FormatError : items or labels that the model cannot read
    NotSupported : the model has no encoder or no decoder
    SettingError : an unknown method, a seed that is no whole number from 0
    MissingExtra : matplotlib is not installed
    FileError : the file cannot be written; one that was there before is still there

    Examples
    --------
    >>> import isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> path = im.report(im.PCA(8).fit(X[:1500]), X[1500:], "digits.html", y[1500:])  # doctest: +SKIP
    """
    require_able(model, "report", prior=False)
    if method not in METHODS:
        raise SettingError(f"method={method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise SettingError(f"seed={seed!r}: expected a whole number from 0")
    items.kind_of(model, "report")
    plots.canvas(1, 1)  # what is missing is said now, not after a minute
    with atomic_path(path) as temporary:  # a place that cannot be written is told now, too
        found = measured(model, X, labels, train, int(seed))
        heading = f"What {type(model).__name__}({model.latent_dim_}) learned" if title is None else title
        body = _Writer(model, found, method, int(seed)).body(heading)
        temporary.write_text(page(heading, body), encoding="utf-8", newline="\n")
    return Path(path)


# ---------------------------------------------------------------------------------------------- writing


class _Writer:
    """Puts the page together, part by part."""

    def __init__(self, model: Any, found: Measured, method: str, seed: int) -> None:
        self.model, self.found, self.method, self.seed = model, found, method, seed
        self.kind = items.kind_of(model, "report")
        self.name = f"{type(model).__name__}({model.latent_dim_})"
        self.rows = {row["model"]: row for row in found.report.rows}
        self.own = found.report.rows[0]
        self.drawn, self.beside_pca = 0, "PCA of the same size" in self.rows
        watched = found.stored[torch.from_numpy(found.rows)]
        self.watched = watched
        self.errors = items.errors_of(model, watched)
        self.back = model.format_.from_tensor(watched)  # in the user's own form, for the verbs

    def body(self, heading: str) -> str:
        parts = [
            ("items", "The items", self._items()),
            ("pca", f"Is it better than {'PCA' if self.beside_pca else 'the mean'}?", self._beside()),
            ("latents", "How many latents does it need?", self._needed()),
            ("back", "What comes back", self._back()),
            ("map", "Where the items lie", self._map()),
            ("meaning", "What each latent seems to mean", self._meaning()),
            ("new", "Can it make new ones?", self._new()),
            ("training", "How it learned", self._training()),
            ("words", "Words", [self._words()]),
        ]
        parts = [(name, title, inside) for name, title, inside in parts if any(inside)]
        listed = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
        sections = "".join(section(name, title, *inside) for name, title, inside in parts)
        return (
            f"<header><h1>{text(heading)}</h1>{self._lead()}<nav "
            f"aria-label='Contents'><ol>{listed}</ol></nav></header>\n"
            f"{sections}{self._footer()}\n{data(self._told())}\n"
        )

    def _draw(self, draw: Callable[[], Axes], alt: str, title: str, read: str) -> str:
        self.drawn += 1
        return figure(as_svg(draw, alt, self.drawn), title, read)

    # ---- the beginning and the end -----------------------------------------------------------------------------------

    def _lead(self) -> str:
        found, own = self.found, self.own
        pca = self.rows.get("PCA of the same size")
        facts = [("items measured", f"{len(found.rows):,}")]
        if pca is not None and pca["squared_error"] > 0:
            facts.append(("of PCA’s error", f"{own['squared_error'] / pca['squared_error']:.0%}"))
        if "explained" in own:
            facts.append(("of the variance explained", f"{own['explained']:.1%}"))
        facts.append(("latents in use", f"{own['active']} of {self.model.latent_dim_}"))
        cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
        if found.seen:
            said = ("<strong>The model has learned from the very items that are measured here.</strong> The "
                    "figures are too "
                    "good: give items that it has not seen.")  # fmt: skip
        elif found.known:
            said = "The figures are of items that were held out: the model has not learned from them."
        else:
            said = ("The items were given as held out. The page cannot know whether the model has learned from "
                    "some of them; "
                    "if it has, the figures are too good.")  # fmt: skip
        advice = "".join(
            f"<p class='note warn'>{text(line, 400)}.</p>"
            for line in found.report.advice
            if not line.endswith("its figures are too good")
        )  # that is said already
        return (f"<p class='lead'>{text(found.report.verdict, 400)}</p><dl class='facts'>{cells}</dl>"
                f"<p class='note{' warn' if found.seen else ''}'>{said}</p>{advice}")  # fmt: skip

    def _footer(self) -> str:
        import platform

        model, found = self.model, self.found
        settings = ", ".join(f"{name}={value}" for name, value in model._settings().items() if value is not None)
        versions = f"torch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
        return (
            f"<footer><p>{text(self.name)}, settings: <code>{text(settings, 600)}</code>. "
            f"{text(found.rule, 400)} {text(found.report.protocol.capitalize(), 400)}. Seed {self.seed}. "
            f"Written by Isthmus with {text(versions)}.</p></footer>"
        )

    def _words(self) -> str:
        shown = [
            (word, said)
            for word, said in WORDS.items()
            if word not in ("trust", "k-NN") or any(HEADINGS[key][0] == word and key in self.own for key in HEADINGS)
        ]
        inside = "".join(f"<dt>{word}</dt><dd>{said}</dd>" for word, said in shown)
        return f'<dl class="words">{inside}</dl>'

    def _told(self) -> dict[str, Any]:
        found = self.found
        return {
            "model": self.name,
            "items": len(found.stored),
            "measured": len(found.rows),
            "learned_from_measured": found.seen,
            "known_held_out": found.known,
            "evaluate": found.report.to_json(),
            "curves": found.curves,
            "latents": found.latents,
            "generation": None if found.made is None else found.made.to_json(),
            "worst": [int(found.rows[row]) for row in self._worst()],
            "seed": self.seed,
        }

    # ---- the items ---------------------------------------------------------------------------------------------------

    def _items(self) -> list[str]:
        form, n = self.model.format_, len(self.found.stored)
        shape = form.spec.shape
        if form.spec.kind == "image":
            colour = {1: "grey", 3: "in colour", 4: "in colour, with transparency"}[shape[0]]
            said = f"{n:,} images of {shape[1]} × {shape[2]} pixels, {colour}: {form.spec.size:,} numbers each."
        elif form.spec.kind == "series":
            said = f"{n:,} series of {shape[1]:,} steps" + (f" and {shape[0]} channels." if shape[0] > 1 else ".")
        elif self.kind == "table":
            said = f"{n:,} rows of {len(form.codes_)} columns."
        else:
            said = f"{n:,} items of {form.spec.size:,} numbers each."
        said += f" Each becomes a code of {self.model.latent_dim_} numbers. Errors are in this unit: {text(form.unit)}."
        parts = [f"<p>{said}</p>", self._classes()]
        if self.kind == "table":
            described = form.describe()
            lines = [[text(one["name"], 60), text(one["kind"]), f"{one['missing']:.1%}", text(one["holds"], 80)]
                     for one in described[:COLUMNS]]  # fmt: skip
            more = f" {len(described) - COLUMNS} columns more are not listed." if len(described) > COLUMNS else ""
            parts.append(
                figure(
                    table(
                        ["column", "kind", "missing", "holds"],
                        lines,
                        label="Columns of the table",
                        words=(1, 3),
                        below=True,
                    ),
                    "The columns as the model was taught them.",
                    f"Read a kind as what the model takes the column for; identifiers and constants are not "
                    f"learned.{more}",
                )
            )
        return parts  # fmt: skip

    def _classes(self) -> str:
        labels = self.found.labels
        if labels is None:
            return ""
        names, coded, edges = classes_of(labels, len(labels))
        if edges is not None:
            return f"<p>Each has a number as its label, from {edges[0]:.4g} to {edges[-1]:.4g}.</p>"
        counts = np.bincount(coded[coded >= 0], minlength=len(names))
        order = np.argsort(-counts, kind="stable")
        told = ", ".join(f"{text(names[i], 30)} ({counts[i]:,})" for i in order[:12])
        more = f", and {len(names) - 12} more" if len(names) > 12 else ""
        missing = int((coded < 0).sum())
        return (f"<p>They are labelled, {len(names)} classes: {told}{more}."
                + (f" {missing:,} have no label." if missing else "") + "</p>")  # fmt: skip

    # ---- beside PCA --------------------------------------------------------------------------------------------------

    def _beside(self) -> list[str]:
        rows = self.found.report.rows
        shown = [key for key in HEADINGS if any(key in row for row in rows)]
        worst = max(row["squared_error"] for row in rows) or 1.0
        lines = []
        for i, row in enumerate(rows):
            line = [text(row["model"], 60)]
            for key in shown:
                value = format(row[key], HEADINGS[key][1]) if key in row and np.isfinite(row[key]) else "–"
                line.append((bar(row["squared_error"] / worst, i > 0, 2.5) if key == "squared_error" else "") + value)
            lines.append(line)
        head = ["", *(HEADINGS[key][0] for key in shown)]
        if self.beside_pca:
            title = "The model beside the best straight lines, its network as drawn at random, and the mean."
            read = ("Compare the bars: the shorter the first one is beside PCA’s, the more the model has found that no "
                    "straight line can say.")  # fmt: skip
        else:
            title = "The model beside itself before learning, and the mean."
            read = ("Compare the bars: the shorter the first one is beside that of the mean, the more its codes carry. "
                    "This model is PCA itself: whether another does better, its own report tells.")  # fmt: skip
        return [figure(table(head, lines, label="The model beside its baselines", marked=(0,)), title, read)]

    # ---- how many ----------------------------------------------------------------------------------------------------

    def _needed(self) -> list[str]:
        curves, found = self.found.curves, self.found
        own, steps = curves["model"], curves["k"]
        if len(own) == len(steps):
            enough = steps[knee(own, curves["nothing"]) - 1]
            said = (
                f"With its first {enough} latents it explains 95 % of what all {steps[-1]} explain."
                if enough < steps[-1]
                else f"It needs {'its one latent' if steps[-1] == 1 else f'all of its {steps[-1]} latents'}: "
                "with fewer it explains less than 95 % of what it does with all."
            )
            curve_read = "Read from left to right: where the curve goes flat, more latents are of little use."
        else:
            said = ("Its latents have no order, so only the error of all together can be told; a model that is "
                    "learned with "
                    "<code>ordered=True</code> has a curve of its own.")  # fmt: skip
            curve_read = (
                "Read the dot against the curve: PCA needs as many latents as where the curve comes down to the dot."
            )
        used = sum(row["active"] for row in found.latents)
        alt = f"Squared error against k, of {self.name} from {own[0]:.4g} to {own[-1]:.4g}"
        if curves["pca"]:
            alt += f", of PCA from {curves['pca'][0]:.4g} to {curves['pca'][-1]:.4g}"
        title = f"The error with the first k latents, of {curves['items']:,} items."
        first = self._draw(lambda: plots.error_curve(self.model, curves=curves), alt, title, curve_read)
        second = self._draw(
            lambda: plots.active_units(self.model, rows=found.latents),
            f"Bars of what each of {len(found.latents)} latents changes; {used} are in use",
            "What each latent changes.",
            "Read a bar as the share of all changes that moving this latent makes; a grey latent, or one without "
            "a bar, is "
            "not in use and could be spared.",
        )
        return [f"<p>{said} {used} of {len(found.latents)} are in use.</p>", first, second]

    # ---- what comes back ---------------------------------------------------------------------------------------------

    def _worst(self) -> np.ndarray:
        """Which of the measured items come back worst, the worst first."""
        return np.argsort(-self.errors, kind="stable")[: WORST if self.kind != "table" else WORST_ROWS]

    def _back(self) -> list[str]:
        some = items.spread(len(self.found.rows), WORST if self.kind != "table" else WORST_ROWS)
        worst = [int(row) for row in self._worst()]
        typical, hard = float(np.median(self.errors)), float(self.errors[worst[0]])
        said = f"<p>Half of the items have a squared error below {typical:.3g}; the worst one has {hard:.3g}.</p>"
        if self.kind == "table":
            return [said, self._cells(some, "Some rows, and what came back."),
                    self._cells(worst, "The rows that come back worst."), self._columns()]  # fmt: skip
        curves = self.kind == "curve"
        over = (
            "what came back is drawn over the faint given curve" if curves else "each stands above what came back of it"
        )
        first = self._draw(
            lambda: plots.reconstructions(self.model, self.back, rows=some),
            f"{len(some)} items; {over}; with errors from {self.errors[some].min():.3g} to "
            f"{self.errors[some].max():.3g}",
            "Some items, and what came back.",
            f"Read it column by column: {over}, and the number is the squared error.",
        )
        numbers = ", ".join(str(int(self.found.rows[row])) for row in worst)
        second = self._draw(
            lambda: plots.reconstructions(self.model, self.back, rows=worst),
            f"The {len(worst)} items with the greatest errors, from {hard:.3g} downwards",
            "The items that come back worst.",
            f"Ask what these have in common: what is rare, or wrong, in the data comes back badly. They are "
            f"items {numbers}, "
            "counted from 0.",
        )
        return [said, first, second]

    def _cells(self, rows: list[int], title: str) -> str:
        stored = self.watched[torch.as_tensor(rows)]
        names, given, texts = items.texts_of(self.model, self.model.format_.from_tensor(stored))
        codes = self.model._in_blocks(self.model._encode_stored, stored)
        _, back, again = items.texts_of(self.model, self.model.decode(codes.numpy()))
        blocks = []
        for i, row in enumerate(rows):  # one below the other: side by side they are cut on paper
            number = int(self.found.rows[row])
            head = ["", f"row {number}", f"came back, error {self.errors[row]:.3g}"]
            lines = [[text(name, 60), text(texts[i][j], 40), text(again[i][j], 40)]
                     for j, name in enumerate(names[:COLUMNS])]  # fmt: skip
            off = [(j, 2) for j, (a, b) in enumerate(zip(given[i], back[i], strict=True))
                   if j < COLUMNS and a is not None and not isinstance(a, float) and a != b]  # fmt: skip
            blocks.append(table(head, lines, label=f"{title} Row {number}", off=off, cells=True))
        return figure("".join(blocks), title,
                      "Read a row as it was given, and right of it what came back; what differs is in colour, a "
                      "dash is a "
                      "cell without a value.")  # fmt: skip

    def _columns(self) -> str:
        columns = self.found.report.columns
        if not any(row["guess"] > 0 for row in columns):
            return ""
        return self._draw(
            lambda: plots.column_errors(columns),
            "Bars of the error of each column by that of a guess: "
            + ", ".join(
                f"{row['column']} {row['error'] / row['guess']:.2f}" for row in columns[:12] if row["guess"] > 0
            ),
            "How well each column comes back.",
            "Read a bar that ends before the line as a column that the codes know something of; at the line they "
            "know no more "
            "than a guess.",
        )

    # ---- maps --------------------------------------------------------------------------------------------------------

    def _map(self) -> list[str]:
        found, random = self.found, np.random.default_rng(self.seed)
        n = len(found.stored)
        rows = np.arange(n) if n <= POINTS else np.sort(random.choice(n, POINTS, replace=False))
        shown = self.model.format_.from_tensor(found.stored[torch.from_numpy(rows)])
        labels = None if found.labels is None else found.labels[rows]
        pictures = labels is None and self.kind != "table"
        name = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}[self.method]
        warning = "" if self.method == "pca" else " Sizes of heaps, and distances between them, mean little here."
        of = f"{len(rows):,} of the {n:,} items, drawn by seed {self.seed}" if len(rows) < n else f"all {n:,} items"
        parts = [self._draw(
            lambda: plots.map_2d(self.model, shown, labels, method=self.method, seed=self.seed, thumbnails=pictures),
            f"A map of {of}" + (", coloured by label" if labels is not None else ""),
            f"The codes of {of}, brought to a plane by {name}.",
            f"Read two points that lie near each other as items that the model takes for alike.{warning}")]  # fmt: skip
        if self.kind != "table" and self.model.latent_dim_ > 1:
            a, b = (row["latent"] for row in found.latents[:2])
            few = rows[:: max(len(rows) // 600, 1)]
            beside = self.model.format_.from_tensor(found.stored[torch.from_numpy(few)])
            colours = None if found.labels is None else found.labels[few]
            parts.append(self._draw(
                lambda: plots.decoded_grid(self.model, beside, (a, b), labels=colours, steps=9),
                f"A grid of items decoded over latents {a} and {b}, beside {len(few)} items’ own codes",
                "What is decoded over the two latents that change most.",
                "Read the left side as a map of what the model would make at each place, and the right side as "
                "where the real "
                "items lie on it."))  # fmt: skip
        return parts

    # ---- latents -----------------------------------------------------------------------------------------------------

    def _meaning(self) -> list[str]:
        rows = self.found.latents
        named, rated = "stands_for" in rows[0], "kl" in rows[0]
        head = ["latent", "changes", "in use", *(["tells, nats"] if rated else []),
                *(["seems to mean", "of its information", "correlation"] if named else [])]  # fmt: skip
        lines = []
        for row in rows[:LATENTS]:
            line = [str(row["latent"]), bar(row["share"] / max(rows[0]["share"], 1e-12)) + f"{row['share']:.1%}"]
            line.append("yes" if row["active"] else "no")
            line += [f"{row['kl']:.2f}"] if rated else []
            if named:
                one = row["stands_for"]
                line += (
                    ["–"] * 3
                    if one is None
                    else [text(one, 60), f"{row['information']:.0%}", f"{row['correlation']:+.2f}"]
                )
            lines.append(line)
        more = f" The {len(rows) - LATENTS} that change least are not listed." if len(rows) > LATENTS else ""
        said = (
            ""
            if named
            else "<p>Give labels to learn what latents stand for: nothing is known of these items but themselves.</p>"
        )
        words = (head.index("seems to mean"),) if named else ()
        parts = [said, figure(
            table(head, lines, label="What each latent does", words=words),
            "The latents, those that change most first.",
            "Read a name as what the latent tells most of, by how much of that is told; a dash says that it "
            "tells less than "
            f"5 % of anything known.{more}" if named else
            f"Read the bar as the share of all changes that moving this latent makes.{more}")]  # fmt: skip
        if len(self.found.rows) > 1:
            parts.append(self._moved([row["latent"] for row in rows[:6]]))
        return parts

    def _moved(self, chosen: list[int]) -> str:
        item = int(self.found.rows[0])
        if self.kind == "table":
            latent = chosen[0]
            one = self.model.format_.from_tensor(self.watched[:1])
            made = traverse(self.model, one, latent, steps=5, X=self.back)
            values = range_of(self.model.encode(self.back)[:, latent], 5)
            title = f"Row {item} with latent {latent} moved, the one that changes most."
            return self._as_columns(made, [f"{value:+.2g}" for value in values], title,
                                    "Read along a row, from its lowest usual value to its highest: what changes "
                                    "is what "
                                    "the latent stands for.")  # fmt: skip
        return self._draw(
            lambda: plots.traversals(self.model, self.back, latents=chosen, steps=7),
            f"One item with latents {', '.join(map(str, chosen))} moved, each in a row",
            f"Item {item} with one latent moved.",
            "Read along a row, from its lowest usual value at the left to its highest at the right: what changes "
            "is what "
            "the latent stands for.",
        )

    def _as_columns(self, made: Any, headings: list[str], title: str, read: str) -> str:
        """Rows of a table, each in a column of its own."""
        names, _, texts = items.texts_of(self.model, made)
        blocks = []
        for start in range(0, len(headings), BESIDE):
            some = range(start, min(start + BESIDE, len(headings)))
            lines = [[text(name, 60), *(text(texts[i][j], 40) for i in some)] for j, name in enumerate(names[:COLUMNS])]
            head = ["", *(headings[i] for i in some), *[""] * (BESIDE - len(some))]  # the blocks stand in line
            lines = [line + [""] * (BESIDE - len(some)) for line in lines]
            blocks.append(table(head, lines, label=f"{title} {headings[start]} to {headings[some[-1]]}", cells=True))
        return figure("".join(blocks), title, read)

    # ---- new items ---------------------------------------------------------------------------------------------------

    def _new(self) -> list[str]:
        if getattr(self.model, "prior_", None) is None:
            return []
        prior = self.model.prior_.describe()
        title, read = (
            "Items that never were.",
            (
                "Read them for what is likely and what is nonsense: their codes were drawn from the prior "
                f"({text(prior)}) with seed {self.seed}."
            ),
        )
        if self.kind == "table":
            parts = [self._as_columns(self.model.sample(5, self.seed), list("12345"), title, read)]
        else:
            parts = [self._draw(lambda: plots.samples(self.model, 25, seed=self.seed),
                                "25 made items, from codes drawn at random", title, read)]  # fmt: skip
        made = self.found.made
        if made is None:
            return [*parts, "<p>There are too few items to tell what made ones are worth: 40 at least are needed.</p>"]
        keys = ["precision", "recall", "coverage", "frechet", *(PRIVATE if self.found.private else ())]
        lines = []
        for row in made.rows:
            told = [format(row[key], FIGURES.get(key, ".3g")) if key in row else "–" for key in keys]
            lines.append([text(row["items"], 80), *told])
        copies = ""
        if self.found.private:
            copies = (
                " <i>closest</i> is the distance to the nearest item learned from, by that of held-out items: 0 is "
                "a copy; <i>closer</i> and <i>membership</i> are 0.5 where nothing was learned by heart."
            )
        parts.append(figure(
            table(["", *(key if key != "frechet" else "Fréchet" for key in keys)], lines, label="What made items "
                                                                                                "are worth"),
            "What made items are worth, beside real ones.",
            "Read the first row as the best that there is: precision is how many made items look real, recall "
            "and coverage "
            f"how many real ones are reached, and a smaller Fréchet distance is better.{copies}"))  # fmt: skip
        return [*parts, *(f"<p class='note'>{text(line, 400)}.</p>" for line in made.verdict),
                f"<p class='aside'>{text(made.protocol, 400)}</p>"]  # fmt: skip

    # ---- training ----------------------------------------------------------------------------------------------------

    def _training(self) -> list[str]:
        history = self.model.history_
        if not history.get("epoch"):
            return [f"<p>{type(self.model).__name__} was not trained by steps: its answer was worked out at once.</p>"]
        ended = {"finished": "It went on to its end.", "early": "It stopped by itself, for held-out items no "
                                                                "longer got better.",
                 "budget": "It ended because its time was up.", "interrupted": "It was stopped by hand."}  # fmt: skip
        epochs, seconds = history["epoch"], history["seconds"]
        said = (f"{history.get('items', 0):,} items, {history.get('held_out_items', 0):,} of them held out, "
                f"{epochs[-1]:,} epochs in {seconds[-1]:,.1f} s. {ended.get(history.get('ended'), '')}")  # fmt: skip
        if history.get("held_out"):
            best = min(history["held_out"])
            alt = f"The held-out loss falls to {best:.4g} in epoch {history['best_epoch']} of {epochs[-1]}"
        else:
            alt = f"The loss over {epochs[-1]} epochs"
        return [f"<p>{said}</p>", self._draw(
            lambda: plots.training(self.model), alt, "The loss while it learned.",
            "Read the two curves together: where the held-out one rises while the other falls, the model begins "
            "to learn by "
            "heart; what was best on held-out items is kept.")]  # fmt: skip
