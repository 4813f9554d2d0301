"""The demo: everything it promises to write is there, and what it tells people to type works."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import isthmus
from isthmus.errors import FileError, MissingExtra
from isthmus.evaluate import Report
from isthmus.view.demo import demo

ROOT = Path(__file__).parents[1]


class Done:
    """One short demo, in a folder whose name must be quoted."""

    def __init__(self, place: Path, report: Report) -> None:
        self.place, self.report, self.printed = place, report, ""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("here")
        patch.chdir(place)
        lines: list[str] = []
        patch.setattr(sys.stdout, "write", lines.append)
        done = Done(place, demo("my demo", epochs=1))
    done.printed = "".join(lines)
    return done


def test_what_it_writes(done: Done) -> None:
    folder = done.place / "my demo"
    names = ["digits-held-out.npy", "digits-learned.npy", "digits-vae.isthmus", "digits.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with Image.open(folder / "digits.png") as picture:
        assert picture.size == (1600, 1200)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 200
    held_out, learned = (np.load(folder / name, allow_pickle=False) for name in names[:2])
    assert (len(held_out), len(learned)) == (359, 1438)
    model = isthmus.load(folder / "digits-vae.isthmus")
    assert model.history_["items"] == 1438
    assert model.encode(held_out).shape == (359, 16)


def test_held_out_digits_are_held_out(done: Done) -> None:
    folder = done.place / "my demo"
    both = [np.load(folder / f"digits-{name}.npy", allow_pickle=False) for name in ("held-out", "learned")]
    X = isthmus.datasets.digits()
    together = np.concatenate(both).reshape(len(X), -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, X.reshape(len(X), -1)))
    assert np.mean([bytes(item) in set(map(bytes, both[1])) for item in both[0]]) < 0.05


def test_what_it_says(done: Done) -> None:
    assert "1797 handwritten digits of 8 x 8 pixels: 1438 to learn from, 359 held out." in done.printed
    assert str(done.report) in done.printed
    assert done.printed.isascii()  # for terminals of any kind
    assert "The picture is my demo" in done.printed
    names = [row["model"] for row in done.report.rows]
    assert names == ["PCA(16)", "Autoencoder(16)", "VAE(16)", "the mean"]
    assert all("knn_accuracy" in row for row in done.report.rows[:3])
    assert len(done.report.verdict.splitlines()) == 3


def test_the_next_commands_work(done: Done) -> None:
    from isthmus.cli import main

    typed = [shlex.split(line) for line in done.printed.split("Now try:")[1].splitlines() if line.strip()]
    assert [words[words.index("isthmus") + 1 if "isthmus" in words else 1] for words in typed] == [
        "info", "sample", "evaluate"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(done.place)
        for words in typed:
            arguments = words[3:] if words[1] == "-m" else words[1:]
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            assert not ended.value.code, words
        assert len(list(Path("my demo", "new-digits").glob("*.png"))) == 25


def test_evaluate_says_what_the_table_said(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    from isthmus.cli import main

    line = done.printed.splitlines()[-1]
    arguments = shlex.split(line)[shlex.split(line).index("evaluate") :]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(done.place)
        with pytest.raises(SystemExit):
            main([*arguments, "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["squared_error"] == pytest.approx(done.report.rows[2]["squared_error"], rel=1e-5)
    assert rows[2]["squared_error"] == pytest.approx(done.report.rows[0]["squared_error"], rel=1e-5)  # PCA of that size


def test_the_command_that_is_printed_starts_this_isthmus(done: Done) -> None:
    first = next(line for line in done.printed.splitlines() if line.strip().endswith(".isthmus'"))
    started = shlex.split(first)[: shlex.split(first).index("info")]
    ended = subprocess.run([*started, "--version"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "isthmus"), ended.stderr


def test_quiet_and_again(done: Done, capfd: pytest.CaptureFixture[str]) -> None:
    picture = done.place / "my demo" / "digits.png"
    before = picture.read_bytes()
    again = demo(picture.parent, epochs=1, quiet=True)
    assert capfd.readouterr() == ("", "")
    assert str(again) == str(done.report)  # the same seed, the same figures
    assert picture.read_bytes() == before


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, kind: str) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(FileError, match=r"taken.*isthmus demo FOLDER"):
        demo(tmp_path / "taken" if kind == "file" else tmp_path / "taken" / "demo", quiet=True)
    assert (tmp_path / "taken").read_text() == "mine"


def test_without_matplotlib_it_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'pip install "isthmus\[plots\]"'):
        demo(tmp_path / "demo", quiet=True)
    assert not (tmp_path / "demo").exists()


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    """With default settings: both networks help, and it stays below 120 s of computing on one thread."""
    began: Any = time.process_time()
    report = demo(tmp_path, quiet=True)
    assert time.process_time() - began < 120
    assert [line.split("(")[0] for line in report.verdict.splitlines() if "helps" in line] == ["Autoencoder", "VAE"]
    assert report.rows[1]["squared_error"] < 0.5 * report.rows[0]["squared_error"]
