"""How many threads a training step takes, where their number changes its speed and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

__all__ = ["Pace"]

EACH = 3  # steps by which a number of threads is judged, after one that wakes them
SLOW = 2.0  # times the fastest step so far: then one step is enough to know
SHARE = 0.02  # of the time that trials may cost
LEAST = 5.0  # seconds of steps from one trial to the next


class Pace:
    """Which of some numbers of threads is fastest now: each takes a few steps, and now and then once more.

    Threads that meet many times a step gain a third or more with a processor each, and take ten times as long where
    another program has one of them. Which it is changes while a model learns, so it is asked, not foretold.

    Parameters
    ----------
    counts : numbers of threads to choose from; the first is what steps take until another is faster
    """

    def __init__(self, counts: Iterable[int]) -> None:
        self.counts = list(dict.fromkeys(counts))
        self.chosen = self.counts[0]
        self._promised = math.inf  # seconds of a step by the chosen number
        self._spent = self._until = 0.0
        self._begin()

    def threads(self) -> int:
        """Of the next step."""
        return self._asked[0] if self._asked else self.chosen

    def patience(self) -> float:
        """Seconds after which the next step is slow: another program has a processor that its threads need."""
        return SLOW * min([self._promised, *map(_typical, self._seconds.values())])

    def took(self, seconds: float) -> None:
        """What that step took."""
        self._spent += seconds
        if self._asked:
            count, slow = self._asked[0], seconds > self.patience()
            taken = self._seconds.setdefault(count, [])
            taken.append(seconds)
            if slow or len(taken) > EACH:
                self._next()
        elif self._spent >= self._until or (self.chosen != self.counts[0] and seconds > self.patience()):
            self._begin()

    def forget(self) -> None:
        """The number that was asked for will not do. It is not the first."""
        self.counts.remove(self._asked[0])
        self._seconds.pop(self._asked[0], None)
        self._next()

    def _begin(self) -> None:
        """A trial."""
        self._asked = self.counts.copy() if len(self.counts) > 1 else []
        self._seconds: dict[int, list[float]] = {}
        self._promised, self._begun = math.inf, self._spent

    def _next(self) -> None:
        """The next number of the trial, or its end."""
        del self._asked[0]
        if not self._asked:
            steps = sum(map(len, self._seconds.values()))
            self.chosen = min(self._seconds, key=lambda count: _typical(self._seconds[count]))
            self._promised = _typical(self._seconds[self.chosen])
            lost = self._spent - self._begun - steps * self._promised
            self._until = self._spent + max(lost / SHARE, LEAST)


def _typical(seconds: list[float]) -> float:
    """Of steps of which the first woke the threads."""
    return median(seconds[1:] or seconds)
