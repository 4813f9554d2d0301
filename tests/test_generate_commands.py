"""The commands that generate and traverse: what they write and print, and their words when something is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

import isthmus as im
from isthmus.commands import generate, traverse
from isthmus.errors import DataError
from isthmus.verbs import generate as verb

COMMANDS: dict[str, click.Command] = {
    "augment": generate.augment,
    "interpolate": generate.interpolate,
    "generation": generate.generation,
    "traverse": traverse.traverse,
    "latents": traverse.latents,
}
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generate")
    X, y = load_digits(return_X_y=True)
    X = (X.reshape(-1, 8, 8)[:400] * 15.9).astype(np.uint8)
    np.save(folder / "digits.npy", X)
    np.save(folder / "labels.npy", y[:400])
    np.save(folder / "one.npy", X[7])
    im.PCA(6).fit(X).save(folder / "digits.isthmus")
    size = np.random.default_rng(0).normal(size=120)
    frame = pd.DataFrame({"weight": size * 3 + 50, "size": np.where(size > 0, "big", "small")})
    frame.to_csv(folder / "animals.csv", index=False)
    im.PCA(2).fit(frame).save(folder / "animals.isthmus")
    return folder


@pytest.fixture
def run(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """One command, in an empty folder with the files beside it."""
    monkeypatch.chdir(tmp_path)
    for file in here.iterdir():
        (tmp_path / file.name).symlink_to(file)

    def run(name: str, *arguments: Any) -> Result:
        return CliRunner().invoke(COMMANDS[name], [str(one) for one in arguments], prog_name=f"isthmus {name}")

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert f"Example:\n    isthmus {name}" in done.output
    assert all(option.help for option in COMMANDS[name].params if isinstance(option, click.Option))
    for line in re.findall(rf"^ +isthmus {name} (.+)$", done.output, re.M):
        COMMANDS[name].make_context(name, line.split())


def test_augment(run: Run) -> None:
    done = run("augment", "digits.isthmus", "digits.npy", "--strength", 0.2, "--copies", 2, "-o", "new.npy")
    assert done.exit_code == 0, done.output
    X, made = np.load("digits.npy"), np.load("new.npy")
    assert (made.shape, made.dtype) == ((800, 8, 8), np.uint8)
    np.testing.assert_array_equal(made, verb.augment(im.load("digits.isthmus"), X, 0.2, copies=2))
    done = run("augment", "digits.isthmus", "digits.npy", "--labels", "labels.npy", "-o", "new.npy", "--json")
    assert json.loads(done.stdout)["strength"] == 0.5
    done = run("augment", "animals.isthmus", "animals.csv", "--strength", 0.3, "-o", "new.csv")
    assert done.exit_code == 0, done.output
    found = pd.read_csv("new.csv")
    assert list(found.columns) == ["weight", "size"]
    assert set(found["size"]) == {"big", "small"}
    assert len(found) == 120
    assert "is not in the range 0<=x<=1" in run("augment", "digits.isthmus", "digits.npy", "--strength", -1).output


def test_interpolate(run: Run) -> None:
    done = run("interpolate", "digits.isthmus", "digits.npy:3", "one.npy", "--steps", 5, "-o", "path/")
    assert done.exit_code == 0, done.output
    assert len(list(Path("path").glob("*.png"))) == 5
    run(
        "interpolate",
        "digits.isthmus",
        "digits.npy:3",
        "digits.npy:7",
        "--steps",
        5,
        "--how",
        "manifold",
        "-o",
        "way.npy",
    )
    X, way = np.load("digits.npy"), np.load("way.npy")
    np.testing.assert_array_equal(way[[0, -1]], im.load("digits.isthmus").reconstruct(X[[3, 7]]))
    done = run(
        "interpolate", "animals.isthmus", "animals.csv:0", "animals.csv:5", "--data", "animals.csv", "-o", "way.csv"
    )
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv("way.csv")) == 8
    done = run("interpolate", "digits.isthmus", "digits.npy:400", "one.npy", "-o", "way.npy")
    assert isinstance(done.exception, DataError)
    assert "A has 400 items, from 0 to 399, and no item 400" in str(done.exception)
    done = run("interpolate", "digits.isthmus", "one.npy", "digits.npy", "-o", "way.npy")
    assert "b must be one item of the form learned" in str(done.exception)
    assert generate.HOW == verb.HOW


def test_generation(run: Run) -> None:
    X = np.load("digits.npy")
    np.save("train.npy", X[:200])
    np.save("test.npy", X[200:])
    done = run("generation", "digits.isthmus", "train.npy", "test.npy")
    assert done.exit_code == 0, done.output
    assert "PCA(6) from N(0, 1)" in done.stdout
    assert "accuracy" not in done.stdout
    y = np.load("labels.npy")
    np.save("y.npy", y[:200])
    np.save("test-y.npy", y[200:])
    labels = ["--labels", "y.npy", "--test-labels", "test-y.npy"]
    done = run("generation", "digits.isthmus", "train.npy", "test.npy", *labels, "-n", 150, "--json")
    rows = json.loads(done.stdout)["rows"]
    assert rows[0]["accuracy"] > rows[1]["accuracy"] > 0.3
    done = run("generation", "digits.isthmus", "train.npy", "test.npy", "--labels", "y.npy")
    assert done.exit_code == 2
    assert "--labels and --test-labels go together" in done.output


def test_traverse(run: Run) -> None:
    pytest.importorskip("matplotlib")
    done = run("traverse", "digits.isthmus", "digits.npy", "--item", 4, "-o", "picture.png", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["latents"] == [0, 1, 2, 3, 4, 5]
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")
    assert run("traverse", "digits.isthmus", "digits.npy", "--grid", "0,2", "-o", "map.png").exit_code == 0
    done = run(
        "traverse", "animals.isthmus", "animals.csv", "--item", 4, "--latent", 0, "--steps", 6, "-o", "moved.csv"
    )
    assert done.exit_code == 0, done.output
    assert pd.read_csv("moved.csv")["weight"].diff().dropna().ne(0).all()
    np.save("first.npy", np.load("digits.npy")[:1])  # its range is then the prior's
    assert run("traverse", "digits.isthmus", "first.npy", "--latent", 1, "-o", "moved.npy").exit_code == 0
    assert len(np.unique(np.load("moved.npy"), axis=0)) == 10
    assert np.load("moved.npy").shape == (10, 8, 8)
    for arguments, said in [
        (["digits.isthmus", "digits.npy", "-o", "moved.npy"], "name one latent with --latent"),
        (["digits.isthmus", "digits.npy", "--grid", "1", "-o", "map.png"], "give two latents, such as 0,1"),
        (["digits.isthmus", "digits.npy", "--grid", "1,2", "--latent", 1, "-o", "a.png"], "leave --latent out"),
        (["animals.isthmus", "animals.csv", "-o", "a.png"], "drawn of images, and this model learned a table"),
    ]:  # fmt: skip
        done = run("traverse", *arguments)
        assert done.exit_code == 2
        assert said in done.output


def test_latents(run: Run) -> None:
    done = run("latents", "digits.isthmus", "digits.npy", "--attributes", "labels.npy")
    assert done.exit_code == 0, done.output
    head, first, *rest = done.stdout.splitlines()
    assert re.split(" {2,}", head) == ["latent", "effect", "share", "variance", "in use", "stands for",
                                       "of its information", "correlation"]  # fmt: skip
    assert first.split()[0] == "0"
    assert "label" in first
    assert len(rest) == 5
    rows = json.loads(run("latents", "animals.isthmus", "animals.csv", "--json").stdout)
    assert rows[0]["stands_for"] in ("weight", "size")
    codes = im.load("digits.isthmus").encode(np.load("digits.npy"))
    known = pd.DataFrame({"side": np.where(codes[:, 1] > 0, "up", "down"), "size": codes[:, 3] * 2})
    known.loc[::9, "side"] = known.loc[::7, "size"] = None
    known.to_csv("known.csv", index=False)
    rows = json.loads(run("latents", "digits.isthmus", "digits.npy", "--attributes", "known.csv", "--json").stdout)
    named = {row["latent"]: row["stands_for"] for row in rows}
    assert (named[1], named[3]) == ("side", "size")
