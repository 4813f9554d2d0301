"""The lines of Python that the page shows: copied in order, they run, and give what the page shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import isthmus as im
from isthmus.view.explorer.lines import reading_of, rows_of_items
from isthmus.view.explorer.opened import gather


def ran(lines: list[str], folder: Path) -> str:
    """What the lines print, run from the first to the last by a Python of their own."""
    done = subprocess.run([sys.executable, "-W", "error::SyntaxWarning", "-c", "\n".join(lines)], cwd=folder,
                          capture_output=True, text=True, check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def kept(model: Any, X: Any, labels: Any, folder: Path, python: dict[str, str], shown: Any) -> None:
    """The preamble and the line of each colour, against the values that the page is given."""
    model.save(folder / "model.isthmus")
    contents = gather(model, X, labels, python=python)
    lines = ["import numpy as np", "import isthmus as im", "model = im.load('model.isthmus')", python["data"],
             "Z = model.encode(X)", python.get("labels", "")]  # fmt: skip
    for number, colour in enumerate(contents.told["colours"]):
        variable = colour["name"].replace("-", "_")
        lines += [colour["python"], f"np.save('{number}.npy', np.asarray({variable}).astype("
                  f"{'str' if colour['kind'] == 'category' else 'float'}))"]  # fmt: skip
    lines += [told["python"] for told in contents.told["maps"]]
    rows = {"array": "X[[1, 2]]", "frame": "X.iloc[[1, 2]]", "list": "[X[i] for i in [1, 2]]"}[python["rows"]]
    lines += [f"assert len({rows}) == 2", "X[3:4], model.decode(Z[3:4]), model.reconstruct(X[3:4])",
              "im.plots.scatter(places, Z[:, 0])", "print(len(X), places.shape)"]  # fmt: skip
    assert ran(lines, folder) == f"{shown} ({shown}, 2)\n"
    assert len(contents.told["colours"]) > 2
    for number, colour in enumerate(contents.told["colours"]):
        there, told = np.load(folder / f"{number}.npy"), contents.blobs[f"colour/{colour['name']}"]
        if colour["kind"] == "category":
            seen = told != 65535
            assert there[seen].tolist() == [colour["levels"][place] for place in told[seen]], colour
        else:
            unit = max(float(np.nanstd(told)), 1e-6)
            told = told + colour.get("zero", 0)
            np.testing.assert_allclose(there / unit, told / unit, atol=1e-3, rtol=1e-3, err_msg=str(colour))


def test_images(tmp_path: Path) -> None:
    X, y = im.datasets.digits(labels=True)
    X, y = X[:90], y[:90]
    np.save(tmp_path / "it's.npy", X)
    np.save(tmp_path / "y.npy", y)
    python = reading_of(["it's.npy"], "y.npy")
    assert python["data"] == """X = np.load("it's.npy")"""
    kept(im.PCA(4).fit(X), X, y, tmp_path, python, 90)


def test_labels_that_are_texts_or_fractions(tmp_path: Path) -> None:
    X, y = im.datasets.digits(labels=True)
    for labels in (np.array(["nought", "one"])[y[:60] % 2], y[:60].astype(float), y[:60] / 7):
        np.save(tmp_path / "X.npy", X[:60])
        np.save(tmp_path / "y.npy", labels)
        kept(im.PCA(2).fit(X[:60]), X[:60], labels, tmp_path, reading_of(["X.npy"], "y.npy"), 60)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "semicolons.csv", "csv.gz", "jsonl"])
def test_tables(mixed: Any, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    frame = mixed(150)[["length", "age", "rooms", "member", "town", "grade", "born", "words", "key"]]
    monkeypatch.chdir(tmp_path)
    name = f"rows.{ending}"
    if ending == "parquet":
        frame.to_parquet(name)
    elif ending == "jsonl":
        frame.to_json(name, orient="records", lines=True, date_format="iso")
    else:
        frame.to_csv(name, index=False, sep={"tsv": "\t", "semicolons.csv": ";"}.get(ending, ","))
    from isthmus.formats.frames import source_of

    python = reading_of([name])
    assert python["rows"] == "frame"
    assert ("pd.read_" in python["data"]) == (ending != "jsonl")
    kept(im.PCA(3).fit(name), source_of(name), None, tmp_path, python, 150)


def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X, y = im.datasets.digits(labels=True)
    for number in range(40):
        place = tmp_path / "pics" / f"kind {y[number] % 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[number]).save(place)
    from isthmus.formats.picture_folders import folder_labels

    python = reading_of(["pics"])
    assert python["rows"] == "list"
    kept(im.PCA(3).fit("pics"), "pics", folder_labels("pics"), tmp_path, python, 40)
    few = reading_of(sorted(map(str, Path("pics/kind 0").iterdir())))
    assert ran([few["data"], "print(len(X))"], tmp_path) == f"{len(list(Path('pics/kind 0').iterdir()))}\n"


def test_numbers_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(50, 4))
    np.savetxt("numbers.csv", X, delimiter=",", fmt="%.17g")
    python = reading_of(["numbers.csv"])
    assert python["rows"] == "array"
    kept(im.PCA(2).fit(X), X, None, tmp_path, python, 50)


def test_items_in_memory() -> None:
    pd = pytest.importorskip("pandas")
    assert rows_of_items(np.zeros((2, 2))) == "array"
    assert rows_of_items(pd.DataFrame({"a": [1]})) == "frame"
    assert rows_of_items(["a.png"]) == "list"
    assert reading_of(["-"])["data"].startswith("# ")
