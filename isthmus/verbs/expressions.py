"""A small language for sums of named things: ``king - man + woman``, ``average(a, b) / 2``.

    sum    := term (("+" | "-") term)*
    term   := factor (("*" | "/") factor)*
    factor := ("+" | "-") factor | number | name | "average" "(" sum ("," sum)* ")" | "(" sum ")"

A name stands bare where it is a letter or underscore followed by letters, digits, underscores and dots, and in quotes
otherwise: ``"New York" - 'img 3.png'``; a backslash before a quote keeps it. Whatever is written is a weighted sum of
names, and that is what comes out; nothing is evaluated by Python.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from isthmus.errors import DataError

__all__ = ["quoted", "unknown", "weights_of"]

LONGEST = 10_000  # characters; a sentence of arithmetic has some tens
DEEPEST = 50  # parentheses and signs within each other
TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<name>[^\W\d][\w.]*)
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>[-+*/(),−–×·÷])|(?P<end>\Z)|(?P<strange>.))""",
    re.VERBOSE | re.DOTALL,
)
SAID = {"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/"}  # as people and editors type them


class Sum(NamedTuple):
    """A number plus weighted names. Only one of the two is ever there."""

    number: float
    weights: dict[str, float] | None  # None: a number


def weights_of(expression: str) -> dict[str, float]:
    """The weight of every name: {"king": 1.0, "man": -1.0, "woman": 1.0} of "king - man + woman".

    A name whose weights cancel keeps the weight 0.

    Raises
    ------
    DataError : the expression cannot be read, or is a number; the message says where
    """
    if not isinstance(expression, str):
        raise DataError(f"an expression is text, such as 'king - man + woman', not a {type(expression).__name__}")
    if len(expression) > LONGEST:
        raise DataError(f"the expression has {len(expression)} characters; at most {LONGEST} are read")
    found = _Reader(expression).whole()
    if found.weights is None:
        raise DataError(f"the expression {expression!r} is a number: name at least one item in it")
    return found.weights


def quoted(name: str) -> str:
    """The name as an expression of its own."""
    return name if re.fullmatch(r"[^\W\d][\w.]*", name) else '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def unknown(name: str, known: Iterable[str], what: str = "item") -> DataError:
    """The error for a name that there is not, with those that are spelt nearly so."""
    names = [one for one in known if isinstance(one, str)]
    folded = {one.casefold(): one for one in names}
    near = [folded[one] for one in difflib.get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.6)]
    if near:
        return DataError(f"there is no {what} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    return DataError(f"there is no {what} {name!r}; there are {len(names)}" + (f": {shown}" if names else ""))


class _Reader:
    """Reads one expression from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = []
        for match in TOKEN.finditer(text):
            kind = str(match.lastgroup)
            word = match.group(kind)
            self.tokens.append((kind, SAID.get(word, word) if kind == "sign" else word, match.start(kind)))
        self.place = self.depth = 0

    def whole(self) -> Sum:
        found = self.sum()
        if self.kind != "end":
            raise self.wrong("an operator or the end was expected")
        return found

    @property
    def kind(self) -> str:
        return self.tokens[self.place][0]

    @property
    def word(self) -> str:
        return self.tokens[self.place][1]

    def wrong(self, why: str) -> DataError:
        kind, word, at = self.tokens[self.place]
        what = "it ends" if kind == "end" else f"{word!r} stands at character {at + 1}"
        hint = ' (a name with spaces, hyphens or other signs stands in quotes: "New York")' if kind != "end" else ""
        return DataError(f"the expression {self.text!r} cannot be read: {what} where {why}{hint}")

    def take(self, *signs: str) -> str | None:
        if self.kind == "sign" and self.word in signs:
            self.place += 1
            return self.tokens[self.place - 1][1]
        return None

    def sum(self) -> Sum:
        total = self.term()
        while sign := self.take("+", "-"):
            total = self.plus(total, self.term(), -1.0 if sign == "-" else 1.0)
        return total

    def term(self) -> Sum:
        total = self.factor()
        while sign := self.take("*", "/"):
            other = self.factor()
            if sign == "*" and total.weights is None:
                total, other = other, total
            if other.weights is not None:
                how = "divided by" if sign == "/" else "multiplied with"
                raise DataError(f"{self.text!r}: items are {how} numbers alone; they are added to each other")
            if sign == "/" and not other.number:
                raise DataError(f"{self.text!r} divides by zero")
            total = _times(total, other.number if sign == "*" else 1 / other.number)
        return total

    def factor(self) -> Sum:
        self.depth += 1
        if self.depth > DEEPEST:
            raise DataError(f"{self.text[:40]!r}... is nested deeper than {DEEPEST} levels: write it flatter")
        try:
            return self._factor()
        finally:
            self.depth -= 1

    def _factor(self) -> Sum:
        if sign := self.take("+", "-"):
            return _times(self.factor(), -1.0 if sign == "-" else 1.0)
        if self.take("("):
            found = self.sum()
            self.close()
            return found
        kind, word, _ = self.tokens[self.place]
        if kind not in ("number", "name", "quoted"):
            raise self.wrong("a name or a number was expected")
        self.place += 1
        if kind == "number":
            return self.finite(float(word))
        if kind == "quoted":
            return Sum(0.0, {re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL): 1.0})
        if word == "average" and self.take("("):
            terms = [self.sum()]
            while self.take(","):
                terms.append(self.sum())
            self.close()
            total = terms[0]
            for other in terms[1:]:
                total = self.plus(total, other, 1.0)
            return _times(total, 1 / len(terms))
        return Sum(0.0, {word: 1.0})

    def close(self) -> None:
        if not self.take(")"):
            raise self.wrong("a closing parenthesis was expected")

    def finite(self, number: float) -> Sum:
        if not math.isfinite(number):
            raise DataError(f"{self.text!r} holds a number that is too large")
        return Sum(number, None)

    def plus(self, one: Sum, other: Sum, sign: float) -> Sum:
        if (one.weights is None) != (other.weights is None):
            raise DataError(f"{self.text!r} adds a number to an item; multiply the item by it, or leave it out")
        if one.weights is None or other.weights is None:
            return self.finite(one.number + sign * other.number)
        added = dict(one.weights)
        for name, weight in other.weights.items():
            added[name] = added.get(name, 0.0) + sign * weight
        return Sum(0.0, added)


def _times(one: Sum, number: float) -> Sum:
    weights = None if one.weights is None else {name: weight * number for name, weight in one.weights.items()}
    return Sum(one.number * number, weights)
