"""Tables larger than memory: under a limit of the system, cut short, in parts, resumed; and as fast as bits allow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import isthmus as im
from isthmus import cli, console, threads
from isthmus.errors import DamagedFileError, DataError, FormatError
from isthmus.formats import infer, room, tables
from isthmus.formats.frames import is_table, source_of
from isthmus.formats.rows import AllBut, Rows, RowsWriter
from isthmus.formats.tables import TableFormat
from isthmus.models import embedding, projection
from isthmus.training import feed, recipe
from isthmus.training.feed import StreamedFeed


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISTHMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def table_of(n: int, seed: int = 0) -> pa.Table:
    """Numbers, heavy tails, a spike, whole numbers, levels, moments and holes, drawn from two hidden numbers a row."""
    random = np.random.default_rng(seed)
    z = random.standard_normal((n, 2))
    codes = pa.array(np.clip(6 + 3 * z[:, 0], 0, 11).astype(np.int32), mask=random.random(n) < 0.1)
    return pa.table({
        "x": z @ [1.0, -0.5],
        "y": pa.array(np.exp(3 * z[:, 1]), mask=random.random(n) < 0.2),
        "gain": np.where(z[:, 0] > 0, np.exp(z[:, 1]), 0.0),
        "count": pa.array(random.poisson(np.exp(1 + z[:, 0])), mask=random.random(n) < 0.1),
        "level": pa.array([f"level {j}" for j in range(12)]).take(codes),
        "many": pa.array([f"{j}" for j in range(700)]).take(pa.array(np.clip(350 + 100 * z[:, 1], 0, 699).astype(int))),
        "flag": pa.array(z[:, 1] > 0.3, mask=random.random(n) < 0.1),
        "when": pa.array((1.6e9 + 86_400 * 300 * z[:, 0]).astype(np.int64), pa.timestamp("s")),
    })  # fmt: skip


def rows_of(stored: torch.Tensor) -> Rows:
    with RowsWriter(tuple(stored.shape[1:]), stored.dtype) as writer:
        writer.append(stored)
        return writer.finish()


# --- A limit that the system enforces ---------------------------------------------------------------------------------

LIMITED = """
import json, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import numpy as np
import isthmus as im
from isthmus.formats import room
from isthmus.formats.frames import source_of
room.OVERHEAD = limit - 2**20  # a mebibyte is left for items
source = source_of(sys.argv[2])
model = im.PCA(3).fit(source)
np.save(sys.argv[3], model.encode(source))
try:
    said = str(np.ones(2**27).nbytes)
except MemoryError:
    said = "MemoryError"
import pyarrow
kind = type(model.format_.to_tensor(source)).__name__
print(json.dumps([kind, said, pyarrow.default_memory_pool().backend_name]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts private memory on Linux alone")
def test_a_table_beyond_the_limit_of_the_process_gives_the_same_codes(tmp_path: Path) -> None:
    table = table_of(50_000)
    parquet.write_table(table, tmp_path / "table.parquet", row_group_size=20_000)
    arguments = [str(800 * 2**20), str(tmp_path / "table.parquet"), str(tmp_path / "codes.npy")]
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment["OMP_NUM_THREADS"] = "1"  # the stack of every thread counts
    done = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, env=environment,
                          check=False)  # fmt: skip
    assert not done.returncode, done.stderr
    assert json.loads(done.stdout) == ["Rows", "MemoryError", "system"]
    model = im.PCA(3).fit(table)
    assert isinstance(model.format_.to_tensor(table), torch.Tensor)
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), model.encode(table))


PEAK = """
import os, resource, sys, threading
import torch
limit, path = 2**30, sys.argv[1]
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from isthmus import cli
from isthmus.formats import room
room.OVERHEAD = limit - 2**24  # 8 MiB are left for items
most, done = [0], threading.Event()
def watch():
    while not done.wait(0.01):
        line = next(line for line in open("/proc/self/status") if line.startswith("VmData"))
        most[0] = max(most[0], int(line.split()[1]) // 1024)
threading.Thread(target=watch, daemon=True).start()
try:
    cli.main(["fit", path, "-o", path + ".isthmus", "--model", "pca"])
except SystemExit as end:
    print(most[0] if not end.code else end.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_peak_of_a_fit_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    random, peaks = np.random.default_rng(0), []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for n in (140_000, 560_000):  # stored, 17 and 68 MiB
        columns = {f"x{j}": pa.array(random.standard_normal(n), mask=np.arange(n) % 7 == j) for j in range(16)}
        parquet.write_table(pa.table(columns), path := tmp_path / f"{n}.parquet", row_group_size=70_000)
        done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, env=environment,
                              check=False)  # fmt: skip
        assert not done.returncode, done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    assert 100 < peaks[0] < 1024, peaks
    assert peaks[1] < peaks[0] + 24, peaks  # half of what the rows have grown


# --- What is cut short, and what is kept ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, im.PCA]:
    folder = tmp_path_factory.mktemp("fitted")
    parquet.write_table(table_of(60_000), folder / "table.parquet", row_group_size=10_000)
    model = im.PCA(3).fit(str(folder / "table.parquet"))
    model.save(folder / "table.isthmus")
    return folder, model


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a folder after 20,000 rows, in place of a million."""
    monkeypatch.setattr(tables, "PIECE", 5_000)
    monkeypatch.setattr(embedding, "PART", 5_000)
    monkeypatch.setattr(console, "ROWS_A_PIECE", 5_000)
    monkeypatch.setattr(console, "ROWS_A_PART", 20_000)


def damaged(folder: Path, group: int) -> Path:
    """The table with a row group in which a page is not what was written."""
    path = folder / f"damaged-{group}.parquet"
    parquet.write_table(table_of(60_000), path, row_group_size=10_000, write_page_checksum=True)
    column = parquet.ParquetFile(path).metadata.row_group(group).column(0)
    start, whole = column.data_page_offset + column.total_compressed_size // 2, path.read_bytes()
    path.write_bytes(whole[:start] + bytes(64) + whole[start + 64 :])
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit:
        cli.main([str(argument) for argument in arguments])
    return int(exit.value.code or 0), capsys.readouterr().err


def test_a_damaged_row_group_is_named_with_its_rows(fitted: tuple[Path, im.PCA]) -> None:
    folder, model = fitted
    path = damaged(folder, 3)
    with pytest.raises(DamagedFileError, match=r"in row group 3 of 6, which has the rows 30,000 to 39,999: .*[Ff]etch"):
        model.encode(str(path))
    with pytest.raises(DamagedFileError, match="in row group 3 of 6"):
        im.PCA(3).fit(str(path))
    (folder / "cut.parquet").write_bytes(path.read_bytes()[:-5000])  # what says where the groups are is at the end
    with pytest.raises(DamagedFileError, match="cut.parquet is cut short or damaged"):
        model.encode(str(folder / "cut.parquet"))


@pytest.mark.usefixtures("small_pieces")
def test_parts_that_are_written_stay_when_reading_breaks(
    fitted: tuple[Path, im.PCA], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = fitted
    code, said = run(capsys, "encode", folder / "table.isthmus", damaged(folder, 5), "-o", f"{tmp_path}/codes/")
    assert code == 1
    assert "in row group 5 of 6, which has the rows 50,000 to 59,999" in said
    assert f"{tmp_path}/codes/ keeps the first 50,000 rows, in 3 whole files" in said
    kept = [parquet.read_table(path) for path in sorted((tmp_path / "codes").iterdir())]
    assert [part.num_rows for part in kept] == [20_000, 20_000, 10_000]
    codes = np.stack([pa.concat_tables(kept)[f"z{j}"].to_numpy() for j in range(3)], axis=1)
    np.testing.assert_array_equal(codes, model.encode(str(folder / "table.parquet"))[:50_000])
    code, said = run(capsys, "encode", folder / "table.isthmus", damaged(folder, 1), "-o", f"{tmp_path}/codes.parquet")
    assert code == 1
    assert not (tmp_path / "codes.parquet").exists()  # one file is whole or not there


@pytest.mark.usefixtures("small_pieces")
def test_ctrl_c_keeps_the_parts(
    fitted: tuple[Path, im.PCA], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = fitted
    codes_of, calls = projection.Projection.of_columns, []

    def stopping(self: Any, x: np.ndarray) -> torch.Tensor:
        calls.append(x.shape[1])
        if sum(calls) > 30_000:
            raise KeyboardInterrupt
        return codes_of(self, x)

    monkeypatch.setattr(projection.Projection, "of_columns", stopping)
    output = f"{tmp_path}/codes/"
    code, said = run(capsys, "encode", folder / "table.isthmus", folder / "table.parquet", "-o", output)
    assert code == 130
    assert f"{output} keeps the first 30,000 rows, in 2 whole files" in said
    assert [parquet.read_metadata(path).num_rows for path in sorted((tmp_path / "codes").iterdir())] == [20_000, 10_000]


@pytest.mark.usefixtures("small_pieces")
def test_codes_of_a_folder_are_those_of_the_table_and_columns_stand_beside(
    fitted: tuple[Path, im.PCA], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = fitted
    table = parquet.read_table(folder / "table.parquet")
    arguments = ["encode", folder / "table.isthmus", folder / "table.parquet", "-o", f"{tmp_path}/codes/"]
    assert run(capsys, *arguments, "--keep", "x,level")[0] == 0
    written = source_of(tmp_path / "codes")
    assert written.count() == 60_000
    again = pa.Table.from_batches(written.batches())
    assert again.column_names == ["x", "level", "z0", "z1", "z2"]
    assert again["x"].to_pylist() == table["x"].to_pylist()
    assert again["level"].to_pylist() == table["level"].to_pylist()
    codes = np.stack([again[f"z{j}"].to_numpy() for j in range(3)], axis=1)
    np.testing.assert_array_equal(codes, model.encode(table))


# --- Streams are what they are in memory ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [im.PCA(3), im.Autoencoder(3, size="small", epochs=1, verbose=False)])
def test_a_code_is_the_same_in_blocks_in_parts_and_alone(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(3000)
    model.fit(table)
    stored = model._stored(table)
    codes = model.encode(table)
    np.testing.assert_array_equal(codes, model._in_blocks(model._encode_stored, stored).numpy())
    scaled = model.format_.scale(stored)
    for size in (1, 7, 256, 1000):  # whatever is scaled together
        parts = torch.cat([model.format_.scale(part) for part in stored[:1000].split(size)])
        assert torch.equal(parts.view(torch.int32), scaled[:1000].view(torch.int32))  # NaN too
    order = np.random.default_rng(0).permutation(3000)
    np.testing.assert_array_equal(codes[order], model.encode(table.take(order)))
    np.testing.assert_array_equal(codes[1234:1235], model.encode(table.slice(1234, 1)))
    monkeypatch.setattr(embedding, "PART", 512)
    monkeypatch.setattr(tables, "PIECE", 1100)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(codes, model.encode(table))
    finally:
        torch.set_num_threads(before)


def test_pca_encodes_a_table_as_its_linear_view_says() -> None:
    table = table_of(2000)
    for model in (im.PCA(3), im.PCA(5, whiten=True), im.PCA(20)):
        model.fit(table)
        stored = model._stored(table)
        expected = torch.cat([model._encode(model.format_.scale(part)) for part in stored.split(256)]).numpy()
        np.testing.assert_allclose(model.encode(table), expected, atol=2e-4)
    many = model.format_._elements(stored)
    many[:, : many.shape[1] // 2] = torch.nan  # and with more patterns than are counted
    assert torch.isfinite(model._projection(many)).all()


@pytest.mark.parametrize("few", [16, 2])
def test_patterns_of_holes_by_counting_and_by_sorting(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "FEW", few)
    holes = np.random.default_rng(0).random((9, 500)) < 0.2
    holes[:, ::3] = False
    holes[5] = holes[4]
    order, counts, first = projection.patterns(holes)
    np.testing.assert_array_equal(np.sort(order), np.flatnonzero(holes.any(0)))
    np.testing.assert_array_equal(np.repeat(holes[:, first], counts, axis=1), holes[:, order])
    assert len({line.tobytes() for line in holes[:, first].T}) == len(first) == len(counts)
    none = projection.patterns(np.zeros((9, 5), bool))
    assert [len(part) for part in none] == [0, 0, 0]


def test_a_code_of_a_row_with_holes_is_the_posterior_mean_solved_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(4000)
    model = im.PCA(5).fit(table)
    stored = model._stored(table)
    model._projection(model.format_._elements(stored))  # solves the patterns
    solved = model._projection.solved
    assert 8 < len(solved) < 500
    expected = torch.cat([model._from_what_is_there(model.format_.scale(part))[0] for part in stored.split(256)])
    holes = model.format_.scale(stored).isnan().any(1)
    assert 0.3 < holes.float().mean() < 0.9
    np.testing.assert_allclose(model.encode(table)[holes], expected[holes], atol=2e-5)
    calls: list[int] = []
    monkeypatch.setattr(projection.Projection, "_solve", lambda self, some: calls.append(len(some)))
    codes = model.encode(table)  # from those that are kept
    assert not calls
    monkeypatch.undo()
    monkeypatch.setattr(projection, "KEPT", 0)
    model._projection.solved = {}
    np.testing.assert_array_equal(model.encode(table), codes)
    assert not model._projection.solved


@pytest.mark.parametrize("width", [1, 3, 40, 150])
@pytest.mark.parametrize("threads_", [1, 2])
def test_a_code_of_a_wide_table_has_the_same_bits_wherever_its_row_stands(width: int, threads_: int) -> None:
    random = np.random.default_rng(width)
    numbers = random.standard_normal((1000, width)) @ random.standard_normal((width, width))
    numbers[random.random(numbers.shape) < 0.3 / width] = np.nan
    table = pa.table({f"x{j}": pa.array(numbers[:, j], from_pandas=True) for j in range(width)})
    model = im.PCA(min(width, 20), format="table").fit(table)
    before = torch.get_num_threads()
    torch.set_num_threads(threads_)
    try:
        codes = model.encode(table)
        order = random.permutation(1000)
        np.testing.assert_array_equal(model.encode(table.take(order)), codes[order])
        for row in range(0, 1000, 97):
            np.testing.assert_array_equal(model.encode(table.slice(row, 1)), codes[row : row + 1])
            np.testing.assert_array_equal(model.encode(table.slice(row, 300)), codes[row : row + 300])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("row_group", [700, 3000])
def test_a_file_gives_the_codes_of_the_table_in_memory(row_group: int, tmp_path: Path) -> None:
    """Texts come as dictionaries from the file, each row group has its own, and NaN is a hole as null is."""
    table = table_of(3000)
    x = table["x"].to_numpy().copy()
    x[::7] = np.nan
    rare = pa.array([f"number {row}" if row % 2 else None for row in range(1000)] * 3)  # more than a dictionary takes
    table = table.set_column(0, "x", pa.array(x)).append_column("rare", rare)
    path = tmp_path / "table.parquet"
    parquet.write_table(table, path, row_group_size=row_group, dictionary_pagesize_limit=2000)
    for model in (im.PCA(3), im.Autoencoder(3, size="small", epochs=1, verbose=False)):
        model.fit(table)
        np.testing.assert_array_equal(model.encode(str(path)), model.encode(table))
    model = im.PCA(3).fit(table)
    new = table.set_column(4, "level", pa.array(["level 1", "never seen", None] * 1000))
    parquet.write_table(new, path, row_group_size=row_group)
    with pytest.warns(UserWarning, match=r'never seen in learning are read as missing, in "level" \(1000 cells\)'):
        codes = model.encode(str(path))
    with pytest.warns(UserWarning, match=r"\(1000 cells\)"):
        np.testing.assert_array_equal(codes, model.encode(new))


def test_elements_column_by_column_have_the_bits_of_those_of_rows() -> None:
    random = np.random.default_rng(0)
    n = 5000
    table = table_of(n).append_column("large", pa.array(random.integers(2**63, 2**64 - 1, n, np.uint64)))
    table = table.append_column(
        "small", pa.array(random.integers(-100, 100, n).astype(np.int8), mask=np.arange(n) == 5)
    )
    table = table.append_column("short", pa.array(random.standard_normal(n).astype(np.float32), mask=np.arange(n) < 9))
    table = table.append_column("words", pa.array([f"{'ab' * (j % 7)} {j % 900}" for j in range(n)]))
    table = table.append_column("day", pa.array(random.integers(-9000, 9000, n).astype(np.int32), pa.date32()))
    table = table.append_column(
        "took", pa.array(random.integers(0, 10**6, n), pa.duration("ms"), mask=np.arange(n) < 3)
    )
    form = TableFormat(kinds={"words": "text"}).fit(table)
    made = torch.cat(list(form.through(table, lambda x: torch.from_numpy(x.T.copy()))))
    expected = form.scale(form.to_tensor(table))
    assert expected.isnan().any()
    assert torch.equal(made.view(torch.int32), expected.view(torch.int32))


def test_a_fit_on_rows_in_a_file_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(3000)
    monkeypatch.setattr(tables, "fits_in_memory", lambda size: False)
    monkeypatch.setattr(feed, "BLOCK", 2**12)
    parquet.write_table(table, tmp_path / "table.parquet")
    settings: dict[str, Any] = {"size": "small", "epochs": 4, "batch_size": 256, "verbose": False}
    whole = im.Autoencoder(3, **settings).fit(str(tmp_path / "table.parquet"))
    assert isinstance(whole.format_.to_tensor(source_of(tmp_path / "table.parquet")), Rows)
    batches, epochs = StreamedFeed.batches, []

    def stopping(self: StreamedFeed, epoch: int, size: int) -> Iterator[torch.Tensor]:
        epochs.append(epoch)
        if len(epochs) == 3:
            raise RuntimeError("killed")
        return batches(self, epoch, size)

    place = str(tmp_path / "run.checkpoint")
    monkeypatch.setattr(StreamedFeed, "batches", stopping)
    with pytest.raises(RuntimeError, match="killed"):
        im.Autoencoder(3, checkpoint=place, **settings).fit(str(tmp_path / "table.parquet"))
    resumed = im.Autoencoder(3, checkpoint=place, **settings).fit(str(tmp_path / "table.parquet"))
    assert epochs == [0, 1, 2, 2, 3]
    for one, other in zip(whole.network_.state_dict().values(), resumed.network_.state_dict().values(), strict=True):
        assert torch.equal(one, other)


# --- Batches ----------------------------------------------------------------------------------------------------------


class Batches:
    """Frames, whenever it is iterated."""

    def __init__(self, *frames: Any) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Any]:
        return iter(self.frames)


def test_batches_are_a_table() -> None:
    pandas = pytest.importorskip("pandas")
    table = table_of(900)
    frame = table.to_pandas()
    parts = [frame[:300], frame[300:301], frame[301:]]
    expected = im.PCA(2).fit(frame)
    for batches in (Batches(*parts), table.to_batches(max_chunksize=200)):
        assert is_table(batches)
        model = im.PCA(2).fit(batches)
        np.testing.assert_array_equal(model.encode(batches), expected.encode(frame))
    assert isinstance(im.PCA(2).fit(Batches(*parts)).reconstruct(Batches(*parts)), pandas.DataFrame)
    assert not is_table(Batches(np.ones(3)))
    assert not is_table(iter(parts))
    assert not is_table([frame, frame])  # an array of three axes as well as any
    wrong = frame[300:].assign(x=["text"] * 600)
    with pytest.raises(DataError, match=r'the column "x" holds \w+ in batch 1, and double in batch 0'):
        source_of(Batches(frame[:300], wrong)).count()
    with pytest.raises(DataError, match=r'the column "flag" is not in batch 1'):
        TableFormat().fit(Batches(frame[:300], frame[300:].drop(columns="flag")))
    with pytest.raises(FormatError, match="batch 1 is a list"):
        source_of(Batches(frame, [1])).count()


# --- Little is read, little is kept -----------------------------------------------------------------------------------


def test_how_often_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.formats import frames, table_files

    passes: list[list[str]] = []
    read = table_files.parquet_batches

    def counted(file: Any, columns: list[str], *coded: list[str]) -> Any:
        passes.append(list(columns))
        return read(file, columns, *coded)

    monkeypatch.setattr(frames, "parquet_batches", counted)
    parquet.write_table(table_of(1000), tmp_path / "mixed.parquet")
    model = im.PCA(2).fit(str(tmp_path / "mixed.parquet"))
    assert len(passes) == 2  # what the columns hold, and their values
    passes.clear()
    model.encode(str(tmp_path / "mixed.parquet"))
    assert len(passes) == 1
    passes.clear()
    whole = pa.table({"a": np.arange(1000), "b": np.arange(1000)[::-1] ** 2})
    parquet.write_table(whole, tmp_path / "numbers.parquet")
    source = source_of(tmp_path / "numbers.parquet")
    im.PCA(1).fit(source)
    assert len(passes) == 2  # whether there are holes, and the values
    passes.clear()
    monkeypatch.setattr(room, "memory_limit", lambda: 2.0**20)
    assert isinstance(infer.format_of(source_of(tmp_path / "numbers.parquet")), TableFormat)
    assert not passes  # what does not fit is no array, and is not looked at


def test_all_but_some() -> None:
    random = np.random.default_rng(0)
    for n, held in ((1, 0), (10, 3), (1000, 400), (50, 50)):
        left_out = random.choice(n, held, replace=False)
        expected = np.setdiff1d(np.arange(n), left_out)
        rows = AllBut(n, left_out)
        assert len(rows) == len(expected)
        np.testing.assert_array_equal(rows[:], expected)
        np.testing.assert_array_equal(rows[2:30:3], expected[2:30:3])
        np.testing.assert_array_equal(rows[-1:], expected[-1:])
        if len(expected):
            index = torch.from_numpy(random.integers(0, len(expected), 20))
            np.testing.assert_array_equal(rows[index], expected[index])
        for start, stop in ((0, n), (2, 5), (n // 2, n)):
            inside = expected[(expected >= start) & (expected < stop)]
            np.testing.assert_array_equal(rows.within(start, stop), inside)
    source = source_of({"a": list(range(100))})
    left_out = np.array([0, 5, 99])
    part = source.subset(AllBut(100, left_out))
    values = [value for batch in part.batches() for value in batch["a"].to_pylist()]
    assert values == [row for row in range(100) if row not in left_out]
    assert part.count() == 97
    inner = part.subset(np.array([0, 3, 3, 96]))
    assert [value for batch in inner.batches() for value in batch["a"].to_pylist()] == [1, 4, 4, 98]


def test_a_part_of_a_part_is_read_from_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    within = AllBut.within
    monkeypatch.setattr(AllBut, "within", lambda self, *ends: taken.append(0) or within(self, *ends))
    source = source_of({"a": list(range(100))})
    part = source.subset(AllBut(100, np.array([0, 5])))
    inner = part.subset(np.arange(0, 98, 10)).subset(np.array([1, 9]))
    assert pa.Table.from_batches(inner.batches())["a"].to_pylist() == [12, 92]
    assert not taken  # no copy of the part is made on the way
    part.count()
    assert len(pa.Table.from_batches(part.batches())) == 98
    assert taken


def test_a_split_of_many_items_takes_no_memory() -> None:
    n = recipe.MANY + 1
    learned, held_out = recipe.split(n, 3)
    assert isinstance(learned, AllBut)
    assert len(held_out) == len(held_out.unique()) == recipe.HELD_OUT
    assert bool((held_out[1:] > held_out[:-1]).all())
    assert len(learned) == n - recipe.HELD_OUT
    assert torch.equal(held_out, recipe.split(n, 3)[1])
    assert not torch.equal(held_out, recipe.split(n, 4)[1])
    assert not np.isin(held_out, learned[:]).any()


def test_a_streamed_feed_of_all_but_some_gives_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BLOCK", 64)
    numbers, left_out = torch.arange(1000), np.arange(0, 1000, 7)
    rows = AllBut(1000, left_out)
    for stored in (numbers, rows_of(numbers)):
        made = StreamedFeed(stored, rows, lambda x: x, torch.device("cpu"), 0)
        seen = torch.cat(list(made.batches(0, 1)))
        assert sorted(seen.tolist()) == rows[:].tolist()


# --- Side by side -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("products", [True, False])
def test_side_by_side_keeps_the_order_and_asks_for_little(count: int, products: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    asked = []

    def stream(stop: int) -> Iterator[int]:
        for number in range(stop):
            asked.append(number)
            yield number
        raise OSError("broken")

    try:
        results = threads.side_by_side(lambda number: number**2, stream(9), products)
        assert next(results) == 0
        assert len(asked) <= count + 1
        given = [0]
        with pytest.raises(OSError, match="broken"):
            given.extend(results)
        assert given == [number**2 for number in range(9)]  # what came before the break is there
        with pytest.raises(ZeroDivisionError):
            list(threads.side_by_side(lambda number: 1 // (number - 3), stream(9), products))
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
