"""Messages of the command line: they speak of what was typed, and name what can be typed instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import isthmus
from isthmus import cli

pytest.importorskip("pyarrow")
random = np.random.default_rng(0)
COLOURS = np.array(["red", "green", "blue"])


Run = Callable[..., Any]  # the fixture of conftest.py


def rows(n: int) -> list[str]:
    a = random.normal(size=n)
    colour = COLOURS[(a > 0).astype(int) + (a > 1)]
    return [f"{x:.2f},{3 * x + 1:.1f},{int(x > 0)},{word}" for x, word in zip(a, colour, strict=True)]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, rows of numbers and a table, and a model of each."""
    folder = tmp_path_factory.mktemp("words")
    pictures = random.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    np.save(folder / "pictures.npy", pictures)
    np.save(folder / "rows.npy", pictures.reshape(40, -1)[:, :5] / 255)
    (folder / "table.csv").write_text("\n".join(["price,size,new,colour", *rows(60), ""]))
    for name in ("pictures.npy", "rows.npy", "table.csv"):
        model = (folder / name).with_suffix(".isthmus")
        with pytest.raises(SystemExit) as exit:
            cli.main(["fit", f"{folder / name}", "-o", f"{model}", "--model", "pca", "--latent", "2"])
        assert not exit.value.code
    return folder


def test_dark_images_are_told_in_the_words_of_who_asks(run: Run) -> None:
    dark = random.integers(0, 16, (40, 8, 8)).astype(np.uint8)
    np.save("dark.npy", dark)
    said = run("fit", "dark.npy", "-o", "m.isthmus", "--model", "pca", "--latent", "2").err
    assert re.search(r"white was taken to be 255.*give --range 0,15, or divide by 15.*--range 0,255 keeps", said)
    assert "ImageFormat" not in said
    with pytest.warns(isthmus.errors.IsthmusWarning, match=r"give ImageFormat\(range=\(0, 15\)\), or divide"):
        isthmus.PCA(2).fit(dark)


def test_range_and_channels_reach_the_format(run: Run, here: Path) -> None:
    np.save("dark.npy", random.integers(0, 16, (40, 8, 8)).astype(np.uint8))
    done = run("fit", "dark.npy", "-o", "m.isthmus", "--model", "pca", "--latent", "2", "--range", "0,15")
    assert (done.code, "note" in done.err) == (0, False)
    form = isthmus.load("m.isthmus").format_
    assert (form.low_, form.high_, form.spec.levels) == (0, 15, 16)
    outside = run("fit", "dark.npy", "-o", "n.isthmus", "--model", "pca", "--range", "0,12")
    assert (outside.code, "these run from 0 to 15" in outside.err, "Give --range 0,15" in outside.err) == (
        1,
        True,
        True,
    )
    np.save("two.npy", random.integers(0, 256, (30, 2, 8, 8)).astype(np.uint8))
    unclear = run("fit", "two.npy", "-o", "n.isthmus", "--model", "pca")
    assert (unclear.code, "say where they are with --channels first or --channels last" in unclear.err) == (1, True)
    assert run("fit", "two.npy", "-o", "n.isthmus", "--model", "pca", "--latent=2", "--channels", "first").code == 0
    assert isthmus.load("n.isthmus").format_.spec.shape == (2, 8, 8)


@pytest.mark.parametrize("given", ["15", "a,b", "0,nan", "5,5", "1,2,3", "0,inf"])
def test_a_range_that_is_none(run: Run, given: str) -> None:
    np.save("dark.npy", np.zeros((30, 8, 8), np.uint8))
    done = run("fit", "dark.npy", "-o", "m.isthmus", "--range", given)
    assert (done.code, f"Invalid value for '--range': '{given}'" in done.err) == (2, True)


def test_a_range_is_for_arrays_of_images(run: Run, here: Path) -> None:
    for data in ("table.csv", "rows.npy"):
        done = run("fit", here / data, "-o", "m.isthmus", "--range", "0,1", *["--format=vector"] * (data == "rows.npy"))
        assert (done.code, "--range and --channels are for arrays of images" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("model", "data", "says"),
    [
        ("pictures", "table.csv", r'table.csv holds a table of 4 columns \("price", "size", "new" and "colour"\)'),
        ("rows", "table.csv", r"table.csv holds a table of .*rows.isthmus learned from rows of 5 numbers: give items"),
        ("rows", "pictures.npy", r"pictures.npy holds an array of shape \(40, 8, 8\), and .*learned from rows of 5"),
        ("table", "pictures.npy", r"pictures.npy holds an array.*learned from a table of 4 columns \(.price., .size."),
    ],
)
@pytest.mark.parametrize("command", ["encode", "anomalies", "evaluate"])
def test_items_of_another_kind(run: Run, here: Path, command: str, model: str, data: str, says: str) -> None:
    to = [] if command == "evaluate" else ["-o", "out.npy" if command == "encode" else "out.csv"]
    done = run(command, here / f"{model}.isthmus", here / data, *to)
    assert (done.code, done.out) == (1, "")
    assert re.search(says, done.err), done.err
    assert "format=" not in done.err


def test_other_columns_are_still_told_as_such(run: Run, here: Path) -> None:
    Path("less.csv").write_text("price,size,colour\n1,2,red\n")
    done = run("encode", here / "table.isthmus", "less.csv", "-o", "z.npy")
    assert (done.code, 'missing: "new"' in done.err) == (1, True)


@pytest.mark.parametrize("name", ["codes/", "codes", "there"])
@pytest.mark.parametrize("kind", ["pictures", "rows"])
def test_codes_of_an_array_are_one_file(run: Run, here: Path, kind: str, name: str) -> None:
    Path("there").mkdir()
    done = run("encode", here / f"{kind}.isthmus", here / f"{kind}.npy", "-o", name)
    assert (done.code, f"one file: name it, such as -o {name.rstrip('/')}.npy" in done.err) == (2, True)
    assert not Path("codes").exists()
    if kind == "rows":
        made = run("sample", here / "rows.isthmus", "-o", name)
        assert (made.code, "rows of numbers are written to one file" in made.err) == (2, True)


def test_a_name_without_ending_is_a_folder(run: Run, here: Path) -> None:
    assert run("encode", here / "table.isthmus", here / "table.csv", "-o", "codes").code == 0
    assert [path.name for path in Path("codes").iterdir()] == ["part-00000.parquet"]
    assert run("sample", here / "pictures.isthmus", "-n", "3", "-o", "made").code == 0
    assert len(list(Path("made").iterdir())) == 3


def test_every_way_to_say_a_setting_in_python_is_translated() -> None:
    told: dict[str, Any] = {
        "Choose one: key='train'": "Choose one: --key train",
        'say format="series"': "say --format series",
        'give encoding="latin-1", or': "give --encoding latin-1, or",
        "give delimiter=';', or none": "give --delimiter ';', or none",
        'kinds={"a b": "colour"}: expected': "--kind a b=colour: expected",
        "Say what they hold with kinds=": "Say what they hold with --kind",
        "leave them out with skip_corrupt=True (--skip-corrupt)": "leave them out with --skip-corrupt",
        "(size=(height, width) chooses another size)": "(--resize HxW chooses another size)",
        "range=(0.0, 1.5) for images": "--range 0.0,1.5 for images",
        "learn them with ordered=True": "learn them with --ordered",
        "Give corruption=, sparsity= or fewer latents": "Give --set corruption=, --set sparsity= or fewer latents",
        "latent_dim=9 is above": "--latent 9 is above",
    }
    for python, typed in told.items():
        assert cli.as_typed(python) == typed


def test_a_smaller_sample_takes_the_place_of_a_larger_one(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus.formats import picture_folders

    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path("made").iterdir()}

    sample = ("sample", here / "pictures.isthmus", "-o", "made/", "--overwrite")
    assert run(*sample, "-n", "9").code == 0
    for name in ("mine.png", "00003.txt", "0.png"):
        (Path("made") / name).write_bytes(b"mine")
    before, whole = held(), picture_folders._write_png

    def broken(path: Path, *rest: Any) -> None:
        if path.name == "00002.png":
            raise isthmus.errors.FileError("no room")
        whole(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(picture_folders, "_write_png", broken)
        assert run(*sample, "-n", "3", "--seed", "1").code == 1
        assert held() == before, "all is as it was"
    assert run(*sample, "-n", "3", "--seed", "1").code == 0
    after = held()
    assert sorted(after) == ["0.png", "00000.png", "00001.png", "00002.png", "00003.txt", "mine.png"]
    assert all(after[name] != before[name] for name in ("00000.png", "00001.png", "00002.png"))


@pytest.mark.parametrize("name", ["part-0.parquet", "data.parquet", "part-00000.csv", "notes.txt", ".hidden"])
def test_a_folder_with_other_names_is_not_replaced(run: Run, here: Path, name: str) -> None:
    encode = ("encode", here / "table.isthmus", here / "table.csv", "-o", "codes/", "--overwrite")
    assert run(*encode).code == 0
    (Path("codes") / name).write_bytes(b"mine")
    done = run(*encode)
    assert (done.code, f"codes/ holds {name}, which is no part of a table that was written there" in done.err) == (
        1,
        True,
    )
    assert (Path("codes") / name).read_bytes() == b"mine"


def test_what_a_system_leaves_in_folders_is_no_matter(run: Run, here: Path) -> None:
    Path("codes").mkdir()
    (Path("codes") / ".DS_Store").touch()
    for options in ([], ["--overwrite"]):
        assert run("encode", here / "table.isthmus", here / "table.csv", "-o", "codes/", *options).code == 0


@pytest.mark.parametrize("ending", [".npy", ".csv", ".parquet"])
def test_one_file_is_replaced_once_the_new_one_is_whole(run: Run, here: Path, ending: str) -> None:
    model, data, out = here / "table.isthmus", here / "table.csv", Path(f"z{ending}")
    out.write_bytes(b"old")
    Path("bad.csv").write_text("price,size,new,colour\n1,2,1,red\ninf,2,1,red\n")
    assert run("encode", model, "bad.csv", "-o", out).code == 1
    assert out.read_bytes() == b"old"
    assert run("encode", model, data, "-o", out).code == 0
    assert out.read_bytes() != b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv", out.name]
