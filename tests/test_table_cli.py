"""The commands on tables."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from isthmus import cli, console

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("datasketches")

from pandas.testing import assert_frame_equal  # noqa: E402


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Run:
    """One command, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, stdin: bytes | None = None) -> Done:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        out, err = capsysbinary.readouterr()
        return Done(int(exit.value.code or 0), out.decode(), err.decode())

    return run


def table(n: int = 240) -> Any:
    r = np.random.default_rng(0)
    h = r.standard_normal(n)
    frame = pd.DataFrame({
        "id": [f"x{i}" for i in range(n)],
        "size": h,
        "price": 100 * h + r.standard_normal(n),
        "town": np.where(h > 0, "Rome", "Öslo"),
        "zip": r.integers(0, 5, n),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(100 * h), "D"),
    })  # fmt: skip
    for name in ("size", "price", "town"):
        frame[name] = frame[name].mask(r.random(n) < 0.2)
    return frame


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table in several files, and a model of it."""
    folder = tmp_path_factory.mktemp("tables")
    frame = table()
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "latin.csv", index=False, sep=";", encoding="latin-1")
    frame.to_parquet(folder / "t.parquet")
    frame.to_json(folder / "t.jsonl", orient="records", lines=True, date_format="iso", force_ascii=False)
    (folder / "parts").mkdir()
    for part in range(3):
        frame[80 * part : 80 * part + 80].to_csv(folder / "parts" / f"p{part}.csv", index=False)
    with pytest.raises(SystemExit) as exit:
        cli.main(["fit", str(folder / "t.csv"), "-o", str(folder / "m.isthmus"), "--model", "pca", "--latent", "2",
                  "--kind", "zip=category"])  # fmt: skip
    assert not exit.value.code
    return folder


def test_columns_are_shown(run: Run, here: Path) -> None:
    done = run("columns", here / "t.csv")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["column", "kind", "type", "missing", "holds"]
    kinds = {line.split()[0]: line.split()[1] for line in lines[1:7]}
    assert kinds == {"id": "identifier", "size": "continuous", "price": "continuous", "town": "category",
                     "zip": "integer", "day": "datetime"}  # fmt: skip
    assert lines[-1] == "240 rows"
    assert "every value is different" in done.out
    assert not done.err


def test_columns_as_json_and_overridden(run: Run, here: Path) -> None:
    found = json.loads(run("columns", here / "t.csv", "--kind", "zip=category", "--json").out)
    assert found["rows"] == 240
    assert [column["kind"] for column in found["columns"]][4] == "category"
    assert found["columns"][1]["missing"] == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl", "parts", "parts/*.csv"])
def test_every_kind_of_file_holds_the_same(run: Run, here: Path, name: str) -> None:
    wanted = json.loads(run("columns", here / "t.csv", "--json").out)
    found = json.loads(run("columns", here / name, "--json").out)
    for a, b in zip(found["columns"], wanted["columns"], strict=True):
        assert (a["kind"], a["missing"]) == (b["kind"], b["missing"])


def test_several_files_and_standard_input_are_a_table_too(run: Run, here: Path) -> None:
    wanted = run("encode", here / "m.isthmus", here / "t.csv", "-o", "a.npy")
    assert wanted.code == 0
    parts = [here / "parts" / f"p{part}.csv" for part in range(3)]
    assert run("encode", here / "m.isthmus", *parts, "-o", "b.npy").code == 0
    assert run("encode", here / "m.isthmus", "-", "-o", "c.npy", stdin=(here / "t.csv").read_bytes()).code == 0
    assert run("encode", here / "m.isthmus", "-", "-o", "d.npy", stdin=(here / "t.parquet").read_bytes()).code == 0
    latin = run(
        "encode", here / "m.isthmus", here / "latin.csv", "--encoding", "latin-1", "--delimiter", ";", "-o", "e.npy"
    )
    assert latin.code == 0
    a = np.load("a.npy", allow_pickle=False)
    assert a.shape == (240, 2)
    for other in "bcde":
        np.testing.assert_array_equal(np.load(f"{other}.npy", allow_pickle=False), a)


def test_fit_measures_and_says_what_each_column_is_worth(run: Run, here: Path) -> None:
    done = run("fit", here / "t.parquet", "-o", "m.isthmus", "--set", "epochs=8", "--kind", "zip=ignore", "--json")
    assert done.code == 0
    told = json.loads(done.out)
    assert [column["column"] for column in told["columns"]] == ["size", "price", "town", "day"]
    assert told["rows"][0]["model"].startswith("Autoencoder")
    assert told["protocol"].startswith("measured on 24 items given as held out")
    assert "zip" in json.loads(run("info", "m.isthmus", "--json").out)["format"]["kinds"]
    again = run("evaluate", "m.isthmus", here / "t.csv")
    assert again.code == 0
    assert "guessing" in again.out


@pytest.mark.parametrize("name", ["f.csv", "f.parquet", "f.jsonl", "f.tsv", "f.feather", "filled/"])
def test_impute_fills_holes_and_leaves_the_rest(run: Run, here: Path, name: str) -> None:
    done = run("impute", here / "m.isthmus", here / "t.csv", "-o", name)
    assert done.code == 0
    assert done.err == f"isthmus: wrote {name}: 240 x 6 table\n"
    readers = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True, precise_float=True),
        "feather": pd.read_feather,
    }
    filled, given = readers.get(name.split(".")[-1], pd.read_parquet)(name), table()
    assert not filled.isna().any(axis=None)
    assert list(filled) == list(given)
    for column in ("id", "size", "price", "town", "zip"):
        there = given[column].notna()
        assert filled[column][there].tolist() == given[column][there].tolist()
    assert pd.to_datetime(filled["day"]).tolist() == given["day"].tolist()


def test_impute_to_standard_output_and_drawn(run: Run, here: Path) -> None:
    done = run("impute", here / "m.isthmus", "-", stdin=(here / "t.csv").read_bytes())
    assert done.code == 0
    assert pd.read_csv(io.StringIO(done.out)).shape == (240, 6)
    one, again, other = (
        run("impute", here / "m.isthmus", here / "t.csv", "--how", "draw", "--seed", seed).out for seed in (1, 1, 2)
    )
    assert one == again != other


def test_impute_in_pieces_is_impute_at_once(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.formats import source

    run("impute", here / "m.isthmus", here / "t.csv", "-o", "a.csv")
    given = source.Source.batches
    monkeypatch.setattr(source.Source, "batches", lambda self, columns=None, rows=50: given(self, columns, rows))
    run("impute", here / "m.isthmus", here / "t.csv", "-o", "b.csv")
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


@pytest.mark.parametrize("name", ["codes/", "codes.csv", "codes.parquet"])
def test_codes_with_columns_beside_them_and_back(run: Run, here: Path, name: str) -> None:
    done = run("encode", here / "m.isthmus", here / "t.csv", "-o", name, "--keep", "id,day", "--json")
    assert done.code == 0
    assert json.loads(done.out)["shape"] == [240, 4]
    codes = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert list(codes) == ["id", "day", "z0", "z1"]
    assert codes["id"].tolist() == table()["id"].tolist()
    back = run("decode", here / "m.isthmus", name, "-o", "back.parquet")
    assert back.code == 0, back.err
    run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes.npy")
    run("decode", here / "m.isthmus", "codes.npy", "-o", "again.parquet")
    found, wanted = pd.read_parquet("back.parquet"), pd.read_parquet("again.parquet")
    assert found.dtypes.equals(wanted.dtypes)
    np.testing.assert_allclose(found["price"], wanted["price"], rtol=1e-5)
    assert list(found) == list(table())


def test_codes_of_a_model_with_more_latents_are_refused(run: Run, here: Path) -> None:
    pd.DataFrame(np.zeros((3, 3)), columns=["z0", "z1", "z2"]).to_parquet("other.parquet")
    done = run("decode", here / "m.isthmus", "other.parquet", "-o", "back.csv")
    assert done.code
    assert "has a column z2" in done.err
    assert "another model" in done.err
    assert not Path("back.csv").exists()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes in pieces of 50 rows, and files of 100."""
    from isthmus.models import embedding

    monkeypatch.setattr(embedding, "PART", 50)
    monkeypatch.setattr(console, "ROWS_A_PIECE", 50)
    monkeypatch.setattr(console, "ROWS_A_PART", 100)


@pytest.mark.usefixtures("small_pieces")
def test_a_folder_of_codes_has_parts(run: Run, here: Path) -> None:
    done = run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/", "--keep", "id", "--json")
    assert json.loads(done.out)["files"] == 3
    assert sorted(path.name for path in Path("codes").iterdir()) == [f"part-0000{i}.parquet" for i in range(3)]
    assert pd.read_parquet("codes")["id"].tolist() == table()["id"].tolist()
    again = run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/")
    assert again.code == 1
    assert "codes/ holds something already: name a new folder, or empty it" in again.err


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("command", ["encode", "impute", "reconstruct"])
def test_overwrite_replaces_the_parts_of_a_table(run: Run, here: Path, command: str) -> None:
    assert run(command, here / "m.isthmus", here / "t.csv", "-o", "made/").code == 0
    table().iloc[:120].to_csv("less.csv", index=False)
    os.chmod("made", 0o750)
    refused = run(command, here / "m.isthmus", "less.csv", "-o", "made/")
    assert (refused.code, "--overwrite" in refused.err) == (1, True)
    assert len(pd.read_parquet("made")) == 240
    assert run(command, here / "m.isthmus", "less.csv", "-o", "made/", "--overwrite").code == 0
    assert run(command, here / "m.isthmus", "less.csv", "-o", "new/", "--overwrite").code == 0, "nothing to replace"
    assert_frame_equal(pd.read_parquet("made"), pd.read_parquet("new"))
    assert os.stat("made").st_mode & 0o777 == 0o750
    assert {path.name for path in Path().iterdir()} == {"less.csv", "made", "new"}, "nothing else is left"


@pytest.mark.usefixtures("small_pieces")
def test_what_was_there_is_kept_where_overwriting_fails(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/").code == 0
    before = {path: path.read_bytes() for path in Path("codes").iterdir()}
    again = ("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/", "--overwrite")

    def as_it_was() -> bool:
        return {path: path.read_bytes() for path in Path("codes").iterdir()} == before

    frame = table()
    frame["price"] = np.where(np.arange(240) == 5, np.inf, 1.0)
    frame.to_csv("bad.csv", index=False)
    broken = run("encode", here / "m.isthmus", "bad.csv", "-o", "codes/", "--overwrite")
    assert (broken.code, as_it_was(), len(list(Path().iterdir()))) == (1, True, 2)

    coded = console.coded
    monkeypatch.setattr(cli, "coded", lambda *given: stopped(coded(*given)))  # Ctrl-C after 100 rows

    def stopped(pieces: Any) -> Any:
        yield next(pieces)
        yield next(pieces)
        raise KeyboardInterrupt

    done = run(*again)
    (kept,) = Path().glob("codes.new-*")
    assert (done.code, as_it_was(), len(pd.read_parquet(kept))) == (130, True, 100)
    assert "codes/ is as it was" in done.err
    assert f"{kept.name}/ keeps the first 100 rows, in one whole file" in done.err


@pytest.mark.usefixtures("small_pieces")
def test_overwrite_takes_nothing_but_parts(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/").code == 0
    inside = run("encode", here / "m.isthmus", "codes/part-00000.parquet", "-o", "codes/", "--overwrite")
    assert (inside.code, "which is read and would be lost" in inside.err) == (2, True)
    Path("codes/mine.txt").write_text("notes")
    done = run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/", "--overwrite")
    assert done.code == 1
    assert "codes/ holds mine.txt, which is no part of a table that was written there and would be lost" in done.err
    Path("codes/mine.txt").unlink()
    rename = Path.rename

    def once(self: Path, target: Any) -> Any:
        if ".new-" in self.name:
            raise PermissionError(13, "not today")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    failed = run("encode", here / "m.isthmus", here / "t.csv", "-o", "codes/", "--overwrite")
    assert (failed.code, len(pd.read_parquet("codes"))) == (1, 240), "what was moved away is put back"
    assert "cannot be replaced: not today" in failed.err
    assert "keeps the first 240 rows" in failed.err


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("output", ["codes/", "codes.csv"])
def test_nothing_half_written_is_left(run: Run, here: Path, output: str) -> None:
    frame = table()
    frame["price"] = np.where(np.arange(240) == 230, np.inf, 1.0)
    frame.to_csv("bad.csv", index=False)
    done = run("encode", here / "m.isthmus", "bad.csv", "-o", output)
    assert done.code == 1
    assert 'column "price" holds infinity (first in row 230)' in done.err
    assert not Path(output).exists()


def test_reconstruct_and_sample_write_tables(run: Run, here: Path) -> None:
    assert run("reconstruct", here / "m.isthmus", here / "t.csv", "-o", "r.csv").code == 0
    assert pd.read_csv("r.csv")["id"].tolist() == table()["id"].tolist(), "identifiers are put back"
    done = run("sample", here / "m.isthmus", "-n", "7", "--seed", "2")
    made = pd.read_csv(io.StringIO(done.out))
    assert made.shape == (7, 6)
    assert set(made["town"]) <= {"Rome", "Öslo"}


def test_notes_are_told_once(run: Run, here: Path) -> None:
    table().assign(more=1, town="Pisa").to_csv("more.csv", index=False)
    done = run("impute", here / "m.isthmus", "more.csv", "-o", "f.csv")
    assert done.code == 0
    notes = [line for line in done.err.splitlines() if line.startswith("isthmus: note:")]
    assert len(notes) == 2
    assert 'columns not learned from are left aside: "more"' in done.err
    assert 'read as missing, in "town"' in done.err


def test_columns_may_be_reordered_and_must_be_there(run: Run, here: Path) -> None:
    frame = table()
    frame[frame.columns[::-1]].to_csv("turned.csv", index=False)
    run("encode", here / "m.isthmus", here / "t.csv", "-o", "a.npy")
    assert run("encode", here / "m.isthmus", "turned.csv", "-o", "b.npy").code == 0
    np.testing.assert_array_equal(np.load("a.npy", allow_pickle=False), np.load("b.npy", allow_pickle=False))
    frame.drop(columns="town").to_csv("less.csv", index=False)
    done = run("encode", here / "m.isthmus", "less.csv", "-o", "c.npy")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert 'missing: "town"' in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["columns", "none.csv"], 1, "there is no file or folder none.csv"),
        (["columns", "empty.csv"], 1, "empty.csv is empty"),
        (["columns", "broken.csv"], 1, "broken.csv: line 3 has 3 fields, and 2 are expected"),
        (["columns", "twice.csv"], 1, 'two columns of the name "a"'),
        (["columns", "cut.parquet"], 1, "cut.parquet"),
        (["columns", "{here}/latin.csv"], 1, 'is not text in utf-8.*give --encoding latin-1'),
        (["columns", "{here}/t.csv", "--kind", "zip=colour"], 2, "expected one of continuous, integer"),
        (["columns", "{here}/t.csv", "--kind", "zap=text"], 2, 'names the column "zap", which the table does not have'),
        (["columns", "{here}/t.csv", "--kind", "zap"], 2, "'zap' is not of the form COLUMN=KIND"),
        (["columns", "{here}/t.csv", "--delimiter", "ab"], 2, "should be one character"),
        (["columns", "{here}/t.parquet", "--delimiter", ","], 2, "delimiter and encoding are for CSV files"),
        (["fit", "{here}/t.csv", "-o", "m.isthmus", "--kind", "zip=text"], 1, 'holds int64, which cannot be read'),
        (["fit", "{here}/t.csv", "-o", "m.isthmus", "--kind", "zip=text", "--format", "vector"], 2, "--kind is for"),
        (["fit", "{here}/t.csv", "-o", "m.isthmus", "--format", "vector"], 1, 'are not numeric: give --format table'),
        (["encode", "{here}/m.isthmus", "{here}/t.csv", "-o", "c.csv", "--keep", "nope"], 2, "--keep names 'nope'"),
        (["encode", "{here}/m.isthmus", "{here}/t.csv", "--key", "a", "-o", "c.npy"], 2, "--key is for .npz files"),
        (["encode", "{here}/m.isthmus", "{here}/t.csv", "{here}/t.parquet", "-o", "c.npy"], 1, "is of another kind"),
        (["impute", "{here}/m.isthmus", "{here}/t.csv", "-o", "f.npy"], 1, "f.npy is not written as a table"),
        (["impute", "{here}/m.isthmus", "{here}/t.csv", "--json"], 2, "--json prints on standard output"),
        (["impute", "{here}/m.isthmus", "{here}/t.csv", "-o", "{here}/t.csv"], 2, "is what is read, and would be lost"),
        (["impute", "{here}/m.isthmus", "{here}/t.csv", "--how", "guess"], 2, "'guess' is not one of"),
        (["decode", "{here}/m.isthmus", "{here}/t.parquet", "-o", "x.csv"], 1, "not numeric|holds"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(run: Run, here: Path, arguments: list[str], code: int, says: str) -> None:
    import re

    Path("empty.csv").write_text("")
    Path("broken.csv").write_text("a,b\n1,2\n1,2,3\n")
    Path("twice.csv").write_text("a,a\n1,2\n")
    Path("cut.parquet").write_bytes((here / "t.parquet").read_bytes()[:500])
    done = run(*[argument.replace("{here}", str(here)) for argument in arguments])
    assert done.code == code, done
    assert re.search(says, done.err), done.err
    assert "Traceback" not in done.err
    assert not done.out
    assert code == 2 or done.err.count("\n") == 1
