"""What the page does as lines of Python that run: how items and labels are read again, and how colours are made."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["colour_line", "reading_of", "rows_of_items"]

FRAMES = {".parquet": "read_parquet", ".feather": "read_feather", ".arrow": "read_feather"}


def reading_of(paths: Sequence[str], labels: str | None = None, *, key: str | None = None, delimiter: str | None = None,
               encoding: str | None = None, skip_corrupt: bool = False) -> dict[str, str]:  # fmt: skip
    """Lines that read items from files, how rows are taken from what they read, and lines that read the labels.

    Parameters
    ----------
    paths : of the items; several are parts of one table, or pictures
    labels : path of the labels. None: the names of the folders that pictures lie in, where there are any
    key, delimiter, encoding, skip_corrupt : as the command line has them
    """
    from isthmus.formats.frames import is_table

    if "-" in paths:
        return {"data": "# X: what came through standard input", "rows": "array"}
    first, folder = paths[0], len(paths) == 1 and Path(paths[0]).is_dir()
    table = all(map(is_table, paths))
    told = {"data": _items(paths, key, delimiter, encoding, table, folder)}
    told["rows"] = (
        "frame"
        if "import pandas" in told["data"] or "to_pandas" in told["data"]
        else "list"
        if told["data"].startswith("X = [")
        else "array"
    )
    if not table and folder:
        told["rows"] = "list"
        told["data"] = (f"from isthmus.formats.picture_folders import folder_labels, image_files\n"
                        f"X = image_files({first!r})")  # fmt: skip
        if labels is None and not skip_corrupt:
            told["labels"] = f"labels = folder_labels({first!r})"
    if labels is not None:
        load = (
            "labels = np.load" if labels.endswith(".npy") else "from isthmus.formats.files import read\nlabels = read"
        )
        told["labels"] = f"{load}({labels!r}).ravel()"
    if skip_corrupt and told["rows"] == "list":
        told["skip"] = "model.format_.skip_corrupt = True"
        told["codes"] = "Z = model.encode(X); X = [path for path in X if path not in model.format_.skipped_]"
    return told


def _items(paths: Sequence[str], key: str | None, delimiter: str | None, encoding: str | None, table: bool,
           folder: bool) -> str:  # fmt: skip
    from isthmus.formats.delimited import DELIMITERS
    from isthmus.formats.files import first_row_is_numbers

    first = paths[0]
    if not table:
        if len(paths) > 1:
            return f"X = {list(paths)!r}"
        if first.endswith(".npy"):
            return f"X = np.load({first!r})"
        from isthmus.formats.picture_folders import ENDINGS

        if first.lower().endswith(ENDINGS):
            return f"X = [{first!r}]"
        more = "" if key is None else f", key={key!r}"
        return f"from isthmus.formats.files import read\nX = read({first!r}{more})"
    asked = delimiter is not None or encoding is not None
    file = len(paths) == 1 and Path(first).is_file()
    if file and not asked and first_row_is_numbers(first):
        return f"from isthmus.formats.files import read\nX = read({first!r})"
    ending = Path(first.lower().removesuffix(".gz")).suffix
    if file and ending in FRAMES:
        return f"import pandas as pd\nX = pd.{FRAMES[ending]}({first!r}, dtype_backend='numpy_nullable')"
    if file and ending in (".csv", ".tsv", ".txt"):
        mark = delimiter or max(DELIMITERS, key=_first_line(first, encoding).count)
        given = f", sep={mark!r}" * (mark != ",") + (f", encoding={encoding!r}" if encoding else "")
        return f"import pandas as pd\nX = pd.read_csv({first!r}{given}, dtype_backend='numpy_nullable')"
    given = "".join(f", {name}={value!r}" for name, value in (("delimiter", delimiter), ("encoding", encoding))
                    if value is not None)  # fmt: skip
    where = repr(first if len(paths) == 1 else list(paths))
    return ("import pandas as pd\nimport pyarrow\nfrom isthmus.formats.frames import source_of\n"
            f"X = pyarrow.Table.from_batches(source_of({where}{given}).batches()).to_pandas()")  # fmt: skip


def _first_line(path: str, encoding: str | None) -> str:
    with (gzip.open if path.lower().endswith(".gz") else open)(path, "rb") as file:
        return file.readline(2**16).decode(encoding or "utf-8", "replace")


def rows_of_items(X: Any) -> str:
    """How rows are taken from items in memory: of a "frame", a "list" or an "array"."""
    return "frame" if hasattr(X, "iloc") else "list" if isinstance(X, (list, tuple)) else "array"


def colour_line(name: str, kind: str, title: str, unit: str, X: Any) -> str:
    """The line that makes the variable by which the page colours or filters, ``name`` with _ for what is no letter."""
    variable = name.replace("-", "_")
    if name == "label" and kind == "number":
        return f"{variable} = np.asarray(labels)"
    if name == "label":  # as texts: what is shown of 3.0 is 3
        return (f"{variable} = np.array([str(int(one)) if isinstance(one, float) and one.is_integer() else str(one) "
                "for one in np.asarray(labels).tolist()])")  # fmt: skip
    fixed = {
        "error": "from isthmus.view.items import errors_of; error = errors_of(model, model.format_.to_tensor(X))",
        "density": "density = model.prior_.log_prob(Z)",
        "anomaly": "anomaly = im.anomaly_scores(model, X)",
    }
    if name in fixed:
        return fixed[name]
    if isinstance(X, np.ndarray):
        return f"{variable} = X[:, {int(name.removeprefix('column-'))}]"
    column = f"X[{title!r}]"
    if kind == "category":
        return f"{variable} = {column}.astype(str).to_numpy()"
    if unit == "days since 1970":
        return f"{variable} = (pd.to_datetime({column}, utc=True) - pd.Timestamp(0, tz='UTC')) / pd.Timedelta(days=1)"
    if unit == "seconds":
        return f"{variable} = pd.to_timedelta({column}.astype(str), errors='coerce').dt.total_seconds()"
    if unit:
        return f"{variable} = pd.to_timedelta({column}) / pd.Timedelta(1, {unit!r})"
    return f"{variable} = {column}.astype('float64').to_numpy()"
