"""Formats of codes beside each other: sizes by count, errors by closed forms, and what binary digits cost a reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from isthmus import datasets
from isthmus.commands.compare_codes import compare_codes as command
from isthmus.errors import DataError, SettingError
from isthmus.verbs.compare_codes import CodeTable, _digits, _level_means, _levels, _one_hot, compare_codes

DIGITS, TRUTH = datasets.digits(labels=True)
QUICK: dict[str, Any] = {"budget": "0.5s", "verbose": False}


@pytest.fixture(scope="module")
def of_digits() -> CodeTable:
    return compare_codes(DIGITS[:600], TRUTH[:600], latent_dim=8, **QUICK)


@pytest.fixture(scope="module")
def of_words() -> CodeTable:
    random = np.random.default_rng(0)
    words, good = random.integers(0, 32, 600), random.permutation(np.repeat([0, 1], 16))
    frame = pd.DataFrame({"word": [f"w{w}" for w in words], "noise": random.normal(size=600)})
    return compare_codes(frame, good[words], latent_dim=4, **QUICK)


def rows_of(table: CodeTable) -> dict[str, dict[str, Any]]:
    return {row["code"]: row for row in table.rows}


def test_a_binary_code_of_categories_is_smaller_as_exact_and_worse_to_read(of_words: CodeTable) -> None:
    rows = rows_of(of_words)
    assert rows["binary"]["bytes"] < rows["one-hot"]["bytes"] / 3
    assert rows["binary"]["squared_error"] == rows["one-hot"]["squared_error"]
    assert rows["one-hot"]["probe"] > 0.97
    assert rows["binary"]["probe"] < rows["one-hot"]["probe"] - 0.1
    assert "reads worse" in of_words.notes[-1]
    assert rows["row number"]["probe"] < 0.6  # of 600 items in no order: chance


def test_sizes_are_counted(of_digits: CodeTable) -> None:
    rows = rows_of(of_digits)
    levels = _levels((DIGITS[:600] / 255).reshape(600, -1).astype(np.float32), (), slice(None))
    counts = levels.max(0) + 1
    assert rows["raw"]["bytes"] == 64
    assert rows["one-hot"]["bytes"] * 8 == rows["one-hot"]["width"]
    assert rows["one-hot"]["width"] == pytest.approx(counts.sum(), rel=0.05)  # cut by four fifths of the items
    assert rows["row number"]["bytes"] == 10 / 8
    for name in ("hashing", "random projection", "PCA", "autoencoder", "VAE"):
        assert (rows[name]["width"], rows[name]["bytes"]) == (8, 32)


def test_errors_stand_in_the_order_that_they_must(of_digits: CodeTable) -> None:
    rows = rows_of(of_digits)
    assert rows["raw"]["squared_error"] == 0
    assert rows["row number"]["squared_error"] is None
    assert 0 < rows["one-hot"]["squared_error"] < rows["PCA"]["squared_error"]
    assert rows["PCA"]["squared_error"] < rows["random projection"]["squared_error"] < rows["hashing"]["squared_error"]
    assert rows["PCA"]["probe"] > rows["random projection"]["probe"]
    assert rows["raw"]["few"] < rows["raw"]["probe"]
    assert rows["row number"]["probe"] < 0.2


def test_levels_one_hot_and_digits_are_exact() -> None:
    x = np.array([[0.0, 5.0], [1.0, np.nan], [2.0, 5.0], [3.0, 7.0]], dtype=np.float32)
    levels = _levels(x, (), slice(None))
    assert levels[:, 0].tolist() == [0, 1, 2, 3]
    assert levels[1, 1] == levels[:, 1].max()  # a hole is a level of its own
    counts = levels.max(0) + 1
    ones, digits = _one_hot(levels, counts), _digits(levels, counts)
    assert (ones.sum(1) == 2).all()
    assert (ones[:, : counts[0]].argmax(1) == levels[:, 0]).all()
    assert (digits[:, :2] @ [1, 2] == levels[:, 0]).all()
    full = np.nan_to_num(x)
    np.testing.assert_allclose(_level_means(full, levels, counts, slice(None))[:, 0], x[:, 0])


def test_many_values_become_their_levels_means() -> None:
    x = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    levels = _levels(x, (), slice(None))
    assert levels.max() == 15
    again = _level_means(x, levels, levels.max(0) + 1, slice(None))
    assert 0.005 < np.square(x - again).mean() < 0.03  # a normal in 16 parts of like size


def test_the_same_seed_and_json(of_digits: CodeTable) -> None:
    again = compare_codes(DIGITS[:600], TRUTH[:600], latent_dim=8, **QUICK)
    for one, two in zip(of_digits.rows[:-2], again.rows[:-2], strict=True):  # the last two train by the clock
        assert one == two
    assert json.loads(json.dumps(again.to_json()))["rows"][0]["code"] == "raw"
    assert "|x-x~|^2" in str(again)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(60), "all labels are of one class, 0.0"),
        (np.arange(59) % 2, r"labels of shape \(59,\) given for 60 items"),
        (np.where(np.arange(60) == 4, np.nan, np.arange(60) % 2), "the label of item 4 is missing"),
        (np.arange(60), "two classes need two items each"),
    ],
)
def test_labels_that_do_not_do(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare_codes(DIGITS[:60], y)


def test_items_and_settings_that_do_not_do() -> None:
    with pytest.raises(DataError, match="20 items given: .* 50 at least"):
        compare_codes(DIGITS[:20], TRUTH[:20])
    for width in (0, 65, "8"):
        with pytest.raises(SettingError, match="expected a whole number from 1 to 64"):
            compare_codes(DIGITS[:60], TRUTH[:60], latent_dim=width)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="seed=-1"):
        compare_codes(DIGITS[:60], TRUTH[:60], seed=-1)


def test_the_command(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", DIGITS[:200])
    (tmp_path / "y.txt").write_text("\n".join(f"digit {c}" for c in TRUTH[:200]))
    arguments = [str(tmp_path / "x.npy"), str(tmp_path / "y.txt"), "--latent", "4", "--budget", "0.5s", "--json"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["rows"]) == 9
