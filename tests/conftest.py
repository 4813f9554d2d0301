"""What every test stands on: one torch thread, quiet hypothesis, no global random state touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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
                item.add_marker(pytest.mark.skip(reason="this machine has no GPU that PyTorch can use"))


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


# --- The explorer -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def nasty() -> list[str]:
    """Seven texts that a page or a file may trip over."""
    return [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "&amp; ' \" `",
        "🙂👩‍👩‍👧",
        "שלום עולם",
        "\u202eabc",
        "a\u2028b",
    ]


@pytest.fixture
def small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A page for tests of what stands behind it, whatever it looks like."""
    from isthmus.view.explorer import server

    page = "<!doctype html><html><head><title>x</title></head><body><p>the page</p></body></html>"
    (tmp_path / "page.html").write_text(page, "utf-8")
    monkeypatch.setattr(server, "PAGE", tmp_path / "page.html")
    return page


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """120 handwritten digits, and what they are."""
    from isthmus import datasets

    X, y = datasets.digits(labels=True)
    return X[:120], y[:120]


@pytest.fixture(scope="session")
def fitted(digits: tuple[np.ndarray, np.ndarray]) -> Any:
    """PCA of them."""
    from isthmus.models import PCA

    return PCA(6).fit(digits[0])


@pytest.fixture
def saved(tmp_path: Path, fitted: Any, digits: tuple[np.ndarray, np.ndarray]) -> tuple[Path, Path]:
    """The files of both."""
    fitted.save(tmp_path / "m.isthmus")
    np.save(tmp_path / "x.npy", digits[0])
    return tmp_path / "m.isthmus", tmp_path / "x.npy"


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """One command, in this process and an empty folder."""
    from isthmus import cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        return Done(int(exit.value.code or 0), *capsys.readouterr())

    return run
