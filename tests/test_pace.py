"""How many threads steps take: the fastest number, whatever else the machine does meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from isthmus.training.pace import LEAST, SHARE, SLOW, Pace

Cost = Callable[[int, float], float]  # threads, seconds since the start: seconds of the step


def steps(pace: Pace, cost: Cost, until: float) -> tuple[list[int], list[float]]:
    """Threads and seconds of the steps that begin before ``until``; a slow one ends with the first number's threads."""
    counts, taken = [], []
    while sum(taken) < until:
        count, now = pace.threads(), sum(taken)
        seconds = cost(count, now)
        if seconds > pace.patience():
            seconds = pace.patience() + cost(pace.counts[0], now)
        counts.append(count)
        taken.append(seconds)
        pace.took(seconds)
    return counts, taken


def test_the_fastest_number_is_taken() -> None:
    counts, _ = steps(Pace([1, 2, 4, 8]), lambda count, now: {1: 0.015, 2: 0.01, 4: 0.008, 8: 0.02}[count], 4)
    assert set(counts[:20]) == {1, 2, 4, 8}
    assert set(counts[20:]) == {4}


@pytest.mark.parametrize("factor", [1.2, 10, 1000])
def test_where_other_programs_are_busy_trials_cost_little(factor: float) -> None:
    counts, taken = steps(Pace([1, 2]), lambda count, now: 0.015 * (1 if count == 1 else factor), 300)
    lost = sum(seconds - 0.015 for count, seconds in zip(counts, taken, strict=True) if count == 2)
    assert counts.count(2) >= 2  # asked again now and then
    assert lost <= max(2 * SHARE * 300, (SLOW + 1) * 0.015)
    assert lost <= 300 / LEAST * (SLOW + 1) * 0.015


def test_a_program_that_comes_is_noticed_in_one_step_and_its_leaving_in_a_few_seconds() -> None:
    def cost(count: int, now: float) -> float:
        return 0.015 if count == 1 else 1.0 if 10 < now < 30 else 0.01

    counts, taken = steps(Pace([1, 2]), cost, 60)
    starts = [sum(taken[:place]) for place in range(len(taken))]
    during = [count for count, start in zip(counts, starts, strict=True) if 10 < start < 29.9]
    assert during[0] == 2
    assert during.count(2) <= 2 + 20 / LEAST
    assert {count for count, start in zip(counts, starts, strict=True) if 36 < start < 40} == {2}


def test_a_number_that_will_not_do_is_not_asked_for_again() -> None:
    pace = Pace([2, 1, 2, 4])
    while pace.threads() != 4:
        pace.took(0.01)
    pace.forget()
    counts, _ = steps(pace, lambda count, now: 0.01 / count, 20)
    assert 4 not in counts
    assert pace.chosen == 2
    assert pace.counts == [2, 1]


def test_one_number_is_no_choice() -> None:
    counts, _ = steps(Pace([3, 3]), lambda count, now: 0.5, 20)
    assert set(counts) == {3}
