"""Tables larger than memory: fit and encode under a limit that the system enforces, and encoding beside reading."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table

LIMIT = 2**30  # bytes of private memory of a process, the libraries' own 560 MiB counted with them
TIMES = (1, 3, 10)  # of the limit, that the tables are as Arrow tables in memory
BLOCK = 125_000  # rows made at a time, one row group
WIDTH = 488  # bytes of a row of the table of the limit as an Arrow table, with names of categories of so many
LETTERS = 96
TIMED, SHORT = 10_000_000, 12  # rows of the table that is timed, and letters of its names
NEURAL = 300_000  # rows of it that networks encode: their time is that of the rows
FEW = 1000  # rows that show what the libraries take
ROUNDS = 2  # in which the readers and the models take turns
LIMITED = {
    "PCA": ["--model", "pca", "--latent", "8"],
    'Autoencoder(size="small", budget="20s")': ["--model", "autoencoder", "--latent", "8", "--size", "small",
                                                "--budget", "20s"],
}  # fmt: skip
ENCODED = {
    "PCA()": ({"class": "PCA"}, TIMED),
    'Autoencoder(size="small")': ({"class": "Autoencoder", "size": "small", "epochs": 1, "verbose": False}, NEURAL),
    "Autoencoder()": ({"class": "Autoencoder", "epochs": 1, "verbose": False}, NEURAL),
}
ONE = """
import json, os, resource, sys, threading, time
from pathlib import Path
limit, arguments = int(sys.argv[1]), json.loads(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
def memory():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(lines[key].split()[0]) / 1024 for key in ("VmData", "RssAnon", "VmHWM")]
most, done = [0, 0, 0], threading.Event()
def watch():
    while not done.wait(0.02):
        most[:] = map(max, most, memory())
threading.Thread(target=watch, daemon=True).start()
from isthmus import cli
from isthmus.formats import frames, table_files
passes, read = [0], table_files.parquet_batches
def counted(file, columns, *coded):
    passes[0] += file.path.name == "part-0.parquet"
    return read(file, columns, *coded)
frames.parquet_batches = counted
begun = time.monotonic()
try:
    cli.main(arguments)
except SystemExit as end:
    code = end.code or 0
wall = time.monotonic() - begun
done.set()
print(json.dumps({"code": code, "s": wall, "cpu": time.process_time(), "passes": passes[0], "data": most[0],
                  "anonymous": most[1], "peak": memory()[2]}))
"""
AT_ONCE = """
import resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
import pyarrow
from pyarrow import parquet
pyarrow.set_memory_pool(pyarrow.system_memory_pool())
print(parquet.read_table(sys.argv[2:]).num_rows)
"""
SAME = """
import json, sys
import numpy as np
from pyarrow import parquet
import isthmus as im
model, part, codes = sys.argv[1:]
Z = im.load(model).encode(parquet.read_table(part))  # the frame in memory, no limit
written = parquet.read_table(codes).slice(0, len(Z))
print(json.dumps(all(np.array_equal(written[f"z{j}"].to_numpy(), Z[:, j]) for j in range(Z.shape[1]))))
"""
CLOCK = """
import json, sys, time
import numpy as np
import pyarrow
import torch
from pyarrow import parquet
import isthmus as im
from isthmus.formats.frames import source_of
path, given, rows = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
pyarrow.set_cpu_count(torch.get_num_threads())  # as many threads as we have
whole = source_of(path)
def told(function):
    wall, cpu = time.monotonic(), time.process_time()
    function()
    return {"s": time.monotonic() - wall, "cpu": time.process_time() - cpu}
def read_batches():
    for batch in parquet.ParquetFile(path).iter_batches(65_536):
        pass
if not given:
    print(json.dumps([told(read_batches), told(lambda: parquet.read_table(path))]))
else:
    from isthmus.networks import multiply_adds
    model = getattr(im, given.pop("class"))(**given)
    model.fit(parquet.ParquetFile(path).read_row_group(0)[:20_000])
    source = whole if rows >= whole.count() else whole.subset(np.arange(rows))
    model.encode(whole.subset(np.arange(10_000)))  # everything is imported now
    adds = multiply_adds(model.network_.encoder, *model.format_.spec.shape) if hasattr(model, "network_") else 0
    print(json.dumps([told(lambda: model.encode(source)), adds]))
"""


def block(start: int, letters: int) -> Any:
    """BLOCK rows of 20 columns drawn from four hidden numbers a row; the same for the same ``start``."""
    import pyarrow

    random = np.random.default_rng(start)
    z = random.standard_normal((BLOCK, 4), dtype=np.float32).astype(np.float64)

    def noise(scale: float) -> np.ndarray:
        return scale * random.standard_normal(BLOCK, dtype=np.float32)

    def holes(values: np.ndarray, share: float, kind: Any = None) -> Any:
        return pyarrow.array(values, kind, mask=random.random(BLOCK, dtype=np.float32) < share)

    def names(levels: int, score: np.ndarray, share: float = 0.0) -> Any:
        words = pyarrow.array([f"{'the name of a category, which is long ' * 3:.{letters - 5}} {i:4}"
                               for i in range(levels)])  # fmt: skip
        codes = np.minimum((levels * (np.tanh(score) + 1) / 2).astype(np.int32), levels - 1)
        return words.take(holes(codes, share))

    day, second = 86_400, pyarrow.timestamp("s")
    columns = {f"x{j}": holes(z @ np.roll([1.0, 0.5, -0.3, 0.2], j) + noise(0.3), 0.03 * (j % 2)) for j in range(4)}
    columns |= {
        "income": np.exp(10 + 0.8 * z[:, 0] + noise(0.3)),
        "tail": holes(2 * z[:, 1] + random.standard_t(3, BLOCK), 0.05),
        "price": np.exp(3 + z[:, 2]).astype(np.float32),
        "gain": np.where(z[:, 3] > 0.5, np.exp(7 + z[:, 0]), 0.0),
        "count": random.poisson(np.exp(1 + 0.5 * z[:, 2])),
        "age": holes(np.clip(40 + 15 * z[:, 3] + noise(3), 0, 110).astype(np.int32), 0.02),
        "large": (1e12 * (z[:, 0] + z[:, 3])).astype(np.int64),
        "year": (2000 + 8 * z[:, 1]).astype(np.int16),
        "c5": names(5, z[:, 0], 0.02), "c12": names(12, z[:, 1]), "c24": names(24, z[:, 2]),
        "c60": names(60, z[:, 3], 0.1),
        "b1": z[:, 0] + noise(0.5) > 0, "b2": holes(z[:, 1] > 1, 0.1),
        "moment": pyarrow.array((1.6e9 + day * (200 * z[:, 2] + random.random(BLOCK))).astype(np.int64), second),
        "date": holes((1.5e9 + day * np.rint(1000 * z[:, 3]) + 10_800 * (4 + z[:, 0])).astype(np.int64), 0.05, second),
    }  # fmt: skip
    return pyarrow.table(columns)


def written(path: Path, first: int, blocks: int, letters: int) -> int:
    """Write so many blocks as one file; bytes of the rows as an Arrow table in memory."""
    from pyarrow import parquet

    size = 0
    with parquet.ParquetWriter(path, block(0, letters).schema) as writer:
        for number in range(first, first + blocks):
            rows = block(number, letters)
            size += rows.nbytes
            writer.write_table(rows)
    return size


def child(code: str, *arguments: Any) -> Any:
    """What a process of its own prints last, as JSON. Raises RuntimeError with what it said where it fails."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def run(seeds: int = 1, budget: str | None = None) -> None:
    """Both tables; all files lie in a folder of the cache and are gone afterwards, also where it is stopped."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(dir=os.environ.get("ISTHMUS_CACHE") or None, prefix="isthmus-larger-") as name:
        folder = Path(name)
        os.environ["ISTHMUS_CACHE"] = str(folder)
        if shutil.disk_usage(folder).free < TIMES[-1] * LIMIT:
            raise RuntimeError(f"{folder} has too little room: set ISTHMUS_CACHE to a folder with 11 GB")
        under_a_limit(folder)
        beside_reading(folder)
    signal.signal(signal.SIGTERM, before)


def load() -> str:
    """How busy the machine was."""
    return (f"The load of the machine over the last 1, 5 and 15 minutes was "
            f"{', '.join(f'{value:.1f}' for value in os.getloadavg())} at the end: where it is above the threads, "
            "others were at work, and CPU seconds tell more than seconds.")  # fmt: skip


COLUMNS = ("20 columns (12 numbers, of which four have heavy tails, one a spike, and four are whole; categories of 5, "
           "12, 24 and 60 levels; two booleans; two moments; holes in eight), drawn from four hidden numbers a row. "
           )  # fmt: skip


def under_a_limit(folder: Path) -> None:
    """The peak of fitting and encoding against the number of rows."""
    in_part = -(-LIMIT // (WIDTH * BLOCK))  # blocks
    parts = [folder / f"part-{number}.parquet" for number in range(TIMES[-1])]
    sizes = [written(part, in_part * number, in_part, LETTERS) for number, part in enumerate(parts)]
    on_disk = sum(part.stat().st_size for part in parts) / 1e9
    rows = limited(folder, parts, sizes, in_part * BLOCK)
    for part in parts:
        part.unlink()
    table.write("larger", "Tables ten times a limit of memory that the system enforces",
                f"{COLUMNS}The commands `fit` and `encode` with {' and '.join(LIMITED)}, 8 latents, on Parquet "
                f"files of {in_part * BLOCK:,} rows, "
                f"of {WIDTH} bytes each as an Arrow table (names of {LETTERS} letters); ten files are "
                f"{sum(sizes) / 2**30:.1f} GiB as an Arrow table and {on_disk:.1f} GB on disk. Each process has an "
                f"RLIMIT_DATA of {LIMIT / 2**20:.0f} MiB, which counts all private memory, the libraries' too: what a "
                f"table of {FEW:,} rows takes shows theirs. \"Times the limit\" is the size as an Arrow table over "
                "this whole limit. (RLIMIT_AS does not go: PyTorch and Arrow map gigabytes of addresses that they "
                "never touch.) VmData is what the limit counts, RssAnon what is in memory of it, both the most that "
                "was seen at 50 looks a second; VmHWM has the code of the libraries too. Reads: how often the first "
                "file was begun. Same codes: of the first file, against the table in memory without a limit, to the "
                f"bit. One run each. {load()}", rows)  # fmt: skip


def limited(folder: Path, parts: list[Path], sizes: list[int], rows_a_part: int) -> list[dict[str, Any]]:
    """Fit and encode under the limit, for each size."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    few = folder / "few.parquet"
    parquet.write_table(block(0, LETTERS)[:FEW], few)
    for times in (0, *TIMES):
        files = [str(part) for part in parts[:times]] or [str(few)]
        of = {"rows": f"{times * rows_a_part or FEW:,}", "times the limit": f"{sum(sizes[:times]) / LIMIT:.1f}"}
        rows.append({"what": "pyarrow.parquet.read_table"} | of | {"result": at_once(files)})
        for name, settings in LIMITED.items():
            rows += under(folder, name, settings, files, of)
    return rows


def under(folder: Path, name: str, settings: list[str], files: list[str], of: dict[str, str]) -> list[dict[str, Any]]:
    """Fit and encode with one model."""
    model, codes = folder / "model.isthmus", folder / "codes"
    fit = child(ONE, LIMIT, json.dumps(["fit", *files, "-o", str(model), *settings]))
    encode = child(ONE, LIMIT, json.dumps(["encode", str(model), *files, "-o", f"{codes}/"]))
    same = child(SAME, model, files[0], codes)
    shutil.rmtree(codes)
    rows = []
    for what, found, told in (("fit", fit, "fitted"), ("encode", encode, "same codes" if same else "OTHER CODES")):
        rows.append({"what": f"{what}, {name}"} | of | {
            "result": told if not found["code"] else f"exit {found['code']}",
            "s": f"{found['s']:.0f}", "CPU s": f"{found['cpu']:.0f}",
            "reads": found["passes"] if "part-" in files[0] else "",
            "VmData, MiB": f"{found['data']:.0f}", "RssAnon, MiB": f"{found['anonymous']:.0f}",
            "VmHWM, MiB": f"{found['peak']:.0f}",
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def at_once(files: list[str]) -> str:
    """Whether pyarrow alone can read the files into memory under the limit."""
    spare = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    try:
        done = subprocess.run([sys.executable, "-c", AT_ONCE, str(LIMIT), *files], capture_output=True, check=False,
                              env=spare, timeout=120)  # fmt: skip
    except subprocess.TimeoutExpired:
        return "no memory for its threads"
    return "no memory" if done.returncode else "read"


def beside_reading(folder: Path) -> None:
    """What encoding costs beside reading the same file."""
    path = folder / "timed.parquet"
    written(path, 0, TIMED // BLOCK, SHORT)
    megabytes = path.stat().st_size / 1e6
    rows = timed(path)
    path.unlink()
    table.write("beside_reading", "Encoding a table beside reading it",
                f"{COLUMNS}{TIMED:,} rows, one file of {megabytes:.0f} MB, names of {SHORT} letters, no limit; pyarrow "
                f"has as many threads as we have; networks encode the first {NEURAL:,}, and their time is multiplied; "
                f"{ROUNDS} rounds in turn, medians. {load()}", rows)  # fmt: skip


def timed(path: Path) -> list[dict[str, Any]]:
    """Encoding beside reading the same file: medians of rounds in which all take turns."""
    readers, models = [], {name: [] for name in ENCODED}  # type: ignore[var-annotated]
    adds = dict.fromkeys(ENCODED, 0)
    for _ in range(ROUNDS):
        readers.append(child(CLOCK, path, "{}", 0))
        for name, (given, count) in ENCODED.items():
            found, adds[name] = child(CLOCK, path, json.dumps(given), count)
            models[name].append(found)

    def median(some: list[dict[str, float]], key: str) -> float:
        return float(np.median([one[key] for one in some]))

    batches, whole = ([{"s": median(some, "s"), "cpu": median(some, "cpu")}] for some in zip(*readers, strict=True))
    rows = []
    for what, (found,) in (("iter_batches, nothing kept", batches), ("read_table", whole)):
        rows.append({"what": f"pyarrow, {what}", "rows": f"{TIMED:,}", "s": f"{found['s']:.1f}",
                     "CPU s": f"{found['cpu']:.1f}", "rows/s": f"{TIMED / found['s']:,.0f}"})  # fmt: skip
    for name, (_, count) in ENCODED.items():
        share, s, cpu = TIMED / count, median(models[name], "s"), median(models[name], "cpu")
        rows.append({
            "what": f"encode, {name}", "rows": f"{TIMED:,}", "s": f"{s * share:.1f}", "CPU s": f"{cpu * share:.1f}",
            "rows/s": f"{count / s:,.0f}", "to read_table": f"{s * share / whole[0]['s']:.1f}",
            "CPU to read_table": f"{cpu * share / whole[0]['cpu']:.1f}",
            "to iter_batches": f"{s * share / batches[0]['s']:.1f}",
            "GFLOP/s of CPU": f"{2e-9 * adds[name] * count / cpu:.0f}" if adds[name] else "",
        })  # fmt: skip
    return rows
