"""What every test stands on: one torch thread, quiet hypothesis, no global random state touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
import threadpoolctl
import torch

torch.set_num_threads(1)  # two workers on two cores: more threads only step on each other
BLAS = threadpoolctl.threadpool_limits(1)  # the same for scikit-learn's and SciPy's

# No deadline: the first call of a function may compile or import. In CI the same examples every time.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run."""
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def mixed() -> Callable[..., Any]:
    """Makes a pandas frame of n rows with every kind of column, and holes in most."""
    pd = pytest.importorskip("pandas")

    def made(n: int = 400, seed: int = 0) -> Any:
        r = np.random.default_rng(seed)
        x = r.standard_normal(n)
        holes = r.random((8, n)) < 0.1
        frame = pd.DataFrame({
            "length": x,
            "income": np.exp(3 * r.standard_normal(n)),
            "gain": np.where(r.random(n) < 0.6, 0.0, r.lognormal(5, 1, n)),
            "age": r.integers(0, 90, n),
            "rooms": pd.array(np.where(holes[0], None, r.integers(1, 9, n)), dtype="Int64"),
            "member": pd.array(np.where(holes[1], None, x > 0), dtype="boolean"),
            "town": pd.Series(np.where(holes[2], None, r.choice(["Rome", "Oslo", "Bern"], n)), dtype="str"),
            "grade": pd.Categorical(r.choice(["low", "mid", "high"], n), ["low", "mid", "high", "top"], ordered=True),
            "born": pd.Series(pd.Timestamp("1970-01-05") + pd.to_timedelta(r.integers(0, 12_000, n), "D")),
            "seen": pd.Series(pd.to_datetime(1.6e9 + r.integers(0, 3e7, n), unit="s", utc=True)).dt.tz_convert(
                "Europe/Paris"
            ),
            "stay": pd.Series(pd.to_timedelta(r.integers(0, 9e6, n), "s")),
            "words": [f"has {a} and {b}" for a, b in r.integers(0, 10**6, (n, 2))],
            "key": [f"k{i:06}" for i in r.permutation(n)],
            "row": np.arange(n),
            "always": "yes",
            "never": pd.Series([None] * n, dtype="float64"),
        })  # fmt: skip
        for column, at in zip(("length", "born", "seen", "stay", "words"), holes[3:], strict=True):
            frame.loc[at, column] = None
        return frame

    return made
