"""What the commands share: arguments and options, reading, writing, printing."""

from __future__ import annotations

import ast
import functools
import inspect
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from isthmus.errors import DataError, FileError, FormatError

__all__ = [
    "answer",
    "array_of",
    "as_json",
    "assignments",
    "coded",
    "codes_of",
    "columns_of",
    "count",
    "data",
    "delimiter_option",
    "encoding_option",
    "is_source",
    "key_option",
    "kinds_option",
    "labels_of",
    "model_argument",
    "model_of",
    "number_or_auto",
    "require_apart",
    "require_file",
    "require_place",
    "say",
    "seed_option",
    "stream_out",
    "table_ending",
    "there",
    "two_numbers",
    "writes",
]

Command = Callable[..., Any]
ROWS_A_PIECE = 2**18  # rows of codes that are written together
ROWS_A_PART = 2**20  # rows of one file of a folder of codes


def number_or_auto(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """A whole number as such; "auto" as it is."""
    if value is not None and value != "auto" and not re.fullmatch(r"[0-9]+", value):
        raise click.BadParameter(f"{value!r} is neither a whole number nor auto.")
    return value if value in (None, "auto") else int(value)


def two_numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, float] | None:
    """LOW,HIGH as two numbers."""
    if value is None:
        return None
    try:
        low, high = map(float, value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not two numbers such as 0,255.") from error
    if not (math.isfinite(high - low) and low < high):
        raise click.BadParameter(f"{value!r}: the first should be below the second.")
    return low, high


def assignments(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE for each."""
    found = {}
    for name, equals, text in (value.partition("=") for value in values):
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"{name + equals + text!r} is not of the form NAME=VALUE.")
        found[name] = value_of(text)
    return found


def value_of(text: str) -> Any:
    """A value as JSON or Python writes it: 3, true, None, ["topk", 8], ('topk', 8); any other text as it is."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def kinds_given(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """COLUMN=KIND for each; a column may be called anything."""
    pairs = [value.rpartition("=") for value in values]
    for name, equals, kind in pairs:
        if not equals or not name:
            raise click.BadParameter(f"{name + equals + kind!r} is not of the form COLUMN=KIND.")
    return {name: kind for name, _, kind in pairs}


def there(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """FileError for a path to read that is not there, before anything heavy is imported; - and patterns pass."""
    if context.parent is None:  # a line that is parsed and not run
        return value
    for path in [value] if isinstance(value, str) else value or ():
        if path != "-" and not os.path.lexists(path) and not any(sign in path for sign in "*?["):
            if parameter.name == "model":
                raise FileError(f"{path} does not exist. Check the name, and the folder that you are in")
            raise FileError(f"there is no file or folder {path}")
    return value


model_argument = click.argument("model", metavar="MODEL", callback=there)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="NUMBER",
                           help="Decides everything random; 0 unless it is given.", show_default=False)  # fmt: skip
key_option = click.option("--key", metavar="NAME", help="Which array of an .npz file.")
skip_option = click.option("--skip-corrupt", is_flag=True, help="Leave out pictures that cannot be decoded.")
delimiter_option = click.option("--delimiter", metavar="CHARACTER", help="Of a CSV, one character.  [default: found]")
encoding_option = click.option("--encoding", metavar="NAME", help="Of a CSV, such as latin-1.  [default: UTF-8]")
kinds_option = click.option("--kind", "kinds", callback=kinds_given, multiple=True, metavar="COLUMN=KIND",
                            help="What a column of a table holds: continuous, integer, boolean, category, ordinal, "
                            "datetime, duration, text, identifier, ignore; may repeat.")  # fmt: skip


def data(command: Command) -> Command:
    """The arguments and options of a command that reads items, which it gets as ``items`` and ``read``.

    ``read`` gives the items of a path, read with these options.
    """

    @click.argument("items", metavar="DATA...", nargs=-1, required=True, callback=there)
    @key_option
    @delimiter_option
    @encoding_option
    @skip_option
    @functools.wraps(command)
    def wrapped(items: tuple[str, ...], key: str | None, delimiter: str | None, encoding: str | None,
                **given: Any) -> Any:  # fmt: skip
        def read(path: Any, what: str = "DATA") -> Any:
            return items_of(path, key, what, delimiter, encoding)

        one = items[0] if len(items) == 1 else items
        try:
            return command(items=one, read=read, **given)
        except FormatError as error:
            model = given.get("model")
            told = other_kind(model, one, read(one)) if isinstance(model, str) and one != "-" else None
            if told is None:
                raise
            raise FormatError(told) from error

    return wrapped


def other_kind(model: str, path: Any, items: Any) -> str | None:
    """What to say where items are of another kind than the model learned; None where they are not."""
    from isthmus import store
    from isthmus.formats import format_from_json

    form = format_from_json(store.read(model).format)
    kind, shape, names = form.spec.kind, form.spec.shape, getattr(form, "columns", ())
    if is_source(items):
        found, given = "table", f"a table of {counted(items.column_names, 'column')}"
    elif isinstance(items, list):
        found, given = "image", "pictures"
    elif getattr(items, "ndim", 0) > 2:
        found, given = "array", f"an array of shape {items.shape}"
    else:
        return None
    known = getattr(getattr(form, "origin_", None), "columns", None)
    if kind == found or (found == "array" and kind in ("image", "series")) or (found == "table" and known):
        return None
    learned = {"table": f"a table of {counted(names, 'column')}", "vector": f"rows of {shape[0]} numbers",
               "image": f"images of {' x '.join(map(str, shape[1:]))} pixels",
               "series": f"series of {shape[-1]} steps"}[kind]  # fmt: skip
    what = path if isinstance(path, str) else f"{path[0]} ..."
    return f"{what} holds {given}, and {model} learned from {learned}: give items as it learned them, or another model"


def counted(names: Sequence[str], word: str) -> str:
    """ "3 columns ("a", "b" and "c")"."""
    from isthmus.formats.arrays import listing

    shown = listing([f'"{name}"' for name in names], 3)
    return f"{len(names)} {word}{'' if len(names) == 1 else 's'} ({shown})"


def writes(command: Command) -> Command:
    """The options of a command that writes items. It returns them, and what else there is to tell, as a dict.

    ``columns`` in there are names for the columns of a table.
    """

    @click.option("-o", "--output", default="-", show_default=True, metavar="PATH",
                  help="An .npy, .npz, .csv, .tsv, .parquet, .feather or .jsonl file; a folder (a name that ends in / "
                  "or has no ending) for pictures or the parts of a table; - (.npy, or CSV of a table).")  # fmt: skip
    @click.option(
        "--overwrite",
        is_flag=True,
        help="Write into a folder that already holds something: the parts of a table, or the numbered pictures, that "
        "are there are replaced once the new ones are whole.",
    )
    @as_json
    @functools.wraps(command)
    def wrapped(output: str, overwrite: bool, as_json: bool, **given: Any) -> None:  # fmt: skip
        from isthmus.formats.files import write
        from isthmus.formats.frames import is_table

        if output == "-" and as_json:
            raise click.UsageError("--json prints on standard output, where the result goes: name a file with -o.")
        place = Path(output)
        if output != "-" and not output.endswith("/") and (place.is_dir() or not (place.suffix or place.exists())):
            output += "/"  # a name without ending is a folder's
        read = [given.get(name) for name in ("model", "items", "codes")]
        require_apart(output, *read)
        for path in [path for some in read for path in (some if isinstance(some, tuple) else (some,))]:
            if overwrite and path and is_table(path) and Path(output).resolve() in Path(path).resolve().parents:
                raise click.UsageError(f"-o {output} holds {path}, which is read and would be lost: name another.")
        if "output" in inspect.signature(command).parameters:  # it may write what does not fit in memory by itself
            given |= {"output": output, "overwrite": overwrite}
        result, told = command(**given)
        if result is None:
            shape, dtype = [told.pop("rows"), told.pop("columns")], "table"
        elif is_table(result):
            shape, dtype = write_tables(output, result, overwrite), "table"
            told.pop("columns", None)
        else:
            if getattr(result, "ndim", 3) < 3:
                require_file(output, "rows of numbers")
            write(output, result, columns=told.pop("columns", None), overwrite=overwrite)
            shape, dtype = list(getattr(result, "shape", [len(result)])), str(getattr(result, "dtype", "pictures"))
        if as_json:
            answer({"output": output, "shape": shape, "dtype": dtype} | told, "", True)
        say(f"wrote {output}: {' x '.join(map(str, shape))} {dtype}")

    return wrapped


def say(text: str) -> None:
    """A message for people, on standard error."""
    click.echo(f"isthmus: {text}", err=True)


def answer(value: Any, as_text: str, wants_json: bool) -> None:
    """The result, on standard output: JSON for programs, text for people."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, default=str) if wants_json else as_text)


def plain(value: Any) -> Any:
    """What JSON can hold: NumPy's numbers as Python's, NaN and infinity as null."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def items_of(path: Any, key: str | None, what: str = "DATA", delimiter: str | None = None,
             encoding: str | None = None) -> Any:  # fmt: skip
    """An array, a table that is read when it is asked for, or a list of picture files. One standard input feeds one
    argument. Several paths are the parts of one table, or pictures.
    """
    from isthmus.formats.files import read
    from isthmus.formats.frames import is_table, source_of
    from isthmus.formats.picture_folders import image_files
    from isthmus.formats.room import fits_in_memory

    if not isinstance(path, str):
        paths = list(path)
        if all(map(is_table, paths)):
            return source_of(paths, delimiter=delimiter, encoding=encoding)
        if any(map(is_table, paths)) or any(Path(one).suffix in (".npy", ".npz") for one in paths):
            raise click.UsageError(f"several {what} must be the parts of one table, or pictures; arrays go one by one.")
        return [Path(one) for one in paths]
    if path == "-":
        path = kept_input(what)
    if is_table(path) and key is not None:
        raise click.UsageError(f"--key is for .npz files, and {path} is none: leave the key out.")
    if is_table(path) and (delimiter is not None or encoding is not None or not numbers_without_names(path)):
        return source_of(path, delimiter=delimiter, encoding=encoding)
    if delimiter is not None or encoding is not None:
        raise click.UsageError("--delimiter and --encoding are for CSV files.")
    if path.endswith(".npy") and Path(path).is_file() and not fits_in_memory(os.path.getsize(path)):
        return mapped(path)
    items = read(path, key=key)
    return image_files(items) if isinstance(items, Path) else items


def mapped(path: str) -> Any:
    """An .npy file that does not fit in memory, as an array that is read where it is looked at."""
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"{path} is larger than memory, and cannot be read piece by piece: {error}") from error


def array_of(path: str, key: str | None, what: str) -> Any:
    """An array, whatever names its columns have."""
    from isthmus.formats.files import read

    return read(kept_input(what) if path == "-" else path, key=key)


def codes_of(path: str, key: str | None, latents: int) -> Any:
    """Codes from an array, or from a table: its columns z0, z1, ... where ``encode`` has written them, else all."""
    import numpy as np

    from isthmus.formats.frames import is_table, source_of

    path = kept_input("CODES") if path == "-" else path
    if key is None and is_table(path) and not numbers_without_names(path):
        source, names = source_of(path), [f"z{j}" for j in range(latents)]
        if {*names, f"z{latents}"} <= set(source.schema.names):
            raise DataError(f"{path}: has a column z{latents}, and this model's codes end at z{latents - 1}: they are "
                            "those of another model. Give what `isthmus encode` wrote with this one")  # fmt: skip
        if set(names) <= set(source.schema.names):
            batches = [np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)
                       for batch in source.batches(names)]  # fmt: skip
            return np.concatenate(batches)
        if Path(path).is_dir():
            return np.asarray(source)
    return array_of(path, key, "CODES")


def kept_input(what: str) -> str:
    """Standard input as a file for as long as the command runs, for tables are read more than once."""
    import shutil
    import tempfile

    context = click.get_current_context()
    if context.meta.setdefault("isthmus.stdin", what) != what:
        raise click.UsageError(f"standard input cannot be both {context.meta['isthmus.stdin']} and {what}.")
    if sys.stdin.isatty():
        raise click.UsageError(f"{what} is -, but standard input is a terminal: send a file or a pipe to it.")
    folder = context.with_resource(tempfile.TemporaryDirectory(prefix="isthmus-"))
    place = Path(folder) / "standard input"
    with open(place, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with open(place, "rb") as file:
        magic = file.read(6)
    known = {b"\x93NUMPY": ".npy", b"PK": ".npz", b"PAR1": ".parquet", b"\x1f\x8b": ".csv.gz"}
    ending = next((ending for start, ending in known.items() if magic.startswith(start)), ".csv")
    return str(place.rename(place.with_name(place.name + ending)))


def numbers_without_names(path: str) -> bool:
    """Whether a file of text has no names of columns: then it is an array of numbers, and needs no tables."""
    from isthmus.formats.files import first_row_is_numbers

    return Path(path).is_file() and first_row_is_numbers(path)


def table_of(result: Any) -> list[Any]:
    """A frame as Arrow tables."""
    import pyarrow

    from isthmus.formats.frames import source_of

    return [pyarrow.Table.from_batches([batch]) for batch in source_of(result).batches()]


def write_tables(output: str, result: Any, overwrite: bool = False) -> list[int]:
    """Write a frame as a file, or a folder of files; - is CSV on standard output. Returns rows and columns."""
    from isthmus.formats.frames import source_of, write_table

    source = source_of(result)
    pieces = table_of(source)
    if output == "-":
        import pyarrow.csv

        for number, piece in enumerate(pieces):
            pyarrow.csv.write_csv(piece, sys.stdout.buffer, pyarrow.csv.WriteOptions(include_header=not number))
    elif output.endswith("/"):
        stream_out(output, iter(pieces), overwrite)
    else:
        write_table(output, pieces)
    return [source.count(), len(source.schema)]


def labels_of(path: str | None, source: Any, items: Any, skip_corrupt: bool) -> Any:
    """(n,) labels from a file, or from the subfolders of a folder of pictures; None where there are none."""
    from isthmus.formats.picture_folders import folder_labels

    if path is None:
        pictures = isinstance(source, str) and isinstance(items, list) and Path(source).is_dir()
        return folder_labels(source) if pictures and not skip_corrupt else None
    labels = array_of(path, None, "--labels")
    labels = labels[:, 0] if getattr(labels, "ndim", 0) == 2 and labels.shape[1] == 1 else labels
    if getattr(labels, "shape", None) != (count(items),):
        raise DataError(f"{path} does not hold one label for each of the {count(items)} items")
    return labels


def count(items: Any) -> int:
    """How many items there are; none in an array without axes."""
    return len(items) if getattr(items, "ndim", 1) else 0


def is_source(items: Any) -> bool:
    """Whether it is a table that is read when it is asked for."""
    return hasattr(items, "subset")


def model_of(path: str, skip_corrupt: bool = False) -> Any:
    """The saved model."""
    from isthmus.models import load

    model = load(path)
    if skip_corrupt and hasattr(model.format_, "skip_corrupt"):
        model.format_.skip_corrupt = True
    return model


def columns_of(model: Any) -> dict[str, Any]:
    """Names of the columns that the model learned from, where they had names."""
    return {"columns": getattr(getattr(model.format_, "origin_", None), "columns", None)}


def require_apart(output: str, *inputs: Any) -> None:
    """A usage error where the output would take the place of what is read."""
    for path in [path for some in inputs for path in (some if isinstance(some, tuple) else (some,))]:
        if path is not None and Path(output).exists() and Path(path).exists() and os.path.samefile(output, path):
            raise click.UsageError(f"-o {output} is what is read, and would be lost. Name another file.")


def require_file(output: str, what: str) -> None:
    """A usage error where the name is that of a folder."""
    if output.endswith("/"):
        name = output.rstrip("/") or "items"
        raise click.UsageError(f"-o {output} is the name of a folder, and {what} are written to one file: name it, such"
                               f" as -o {name}.npy")  # fmt: skip


def require_place(path: str) -> None:
    """FileError at once, rather than after minutes of training."""
    folder = Path(path).resolve().parent
    if Path(path).is_dir() or path.endswith(("/", os.sep)):
        raise FileError(f"{path} is a folder, or the name of one, and one file is to be written: name a file in it")
    if path in ("", "-"):
        raise FileError(f"{path or repr(path)} is not the name of a file")
    if not folder.is_dir():
        raise FileError(f"{path}: there is no folder {folder}. Make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{path}: no permission to write in {folder}")


def coded(model: Any, source: Any, keep: list[str]) -> Any:
    """Arrow tables of the columns to keep and the codes, piece by piece; the next ones are read meanwhile.

    Where reading breaks, what was encoded before comes first, and then the error.
    """
    import pyarrow

    from isthmus.formats.rows import in_parts
    from isthmus.models.embedding import PART

    if missing := [name for name in keep if name not in source.schema.names]:
        raise click.UsageError(f"--keep names {missing[0]!r}, which the table does not have.")
    kept = source.batches(keep, PART) if keep else None  # a pass of its own, over these columns alone
    pieces, held, broken = in_parts(model._encoded(source), PART), [], None
    while broken is None:
        try:
            codes = next(pieces, None)
            if codes is not None:
                beside = next(kept) if kept is not None else None
                columns = {} if beside is None else {name: beside.column(name) for name in keep}
                held.append(columns | {f"z{j}": column for j, column in enumerate(codes.numpy().T)})
        except Exception as error:
            codes, broken = None, error
        if held and (codes is None or len(held) * PART >= ROWS_A_PIECE):
            yield pyarrow.concat_tables([pyarrow.table(columns) for columns in held]).combine_chunks()
            held = []
        if codes is None:
            break
    if broken is not None:
        raise broken


def table_ending(output: str) -> bool:
    """Whether it is written as a table, or as a folder of such files."""
    from isthmus.formats.frames import TABLE_ENDINGS

    return output.endswith(("/", *TABLE_ENDINGS))


def stream_out(output: str, pieces: Any, overwrite: bool = False) -> dict[str, Any]:
    """Write tables as they come: one file, or in a folder files of about a million rows.

    Where reading breaks or the user stops it, a file is not written at all; of a folder the parts stay, the last one
    with the rows that there were. What ``overwrite`` replaces stays until all is written, and for good where it is not.
    """
    from itertools import chain

    from isthmus.formats.frames import write_table

    held = output.endswith("/") and _held(output, overwrite)
    first = next(pieces)
    columns, pieces = first.num_columns, chain([first], pieces)
    if not output.endswith("/"):
        return {"rows": write_table(output, pieces), "columns": columns}
    number, total = 0, 0
    folder = _beside(output) if held else Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    broken: BaseException | None = None

    def asked() -> Any:
        """The next piece; None at the end, and where reading broke: what came before is written all the same."""
        nonlocal broken
        try:
            return next(pieces, None)
        except (Exception, KeyboardInterrupt) as error:
            broken = error
            return None

    def part(piece: Any) -> Any:
        rows = 0
        while piece is not None:
            rows += piece.num_rows
            yield piece
            piece = asked() if rows < ROWS_A_PART else None

    try:
        while broken is None and (first := asked()) is not None:
            total += write_table(folder / f"part-{number:05}.parquet", part(first))
            number += 1
        if broken is not None:
            raise broken
        if held:
            _held(output, overwrite)  # nobody has put anything there meanwhile
            _change_places(folder, Path(os.path.realpath(output)))
    except BaseException:  # the work of hours is kept: every file is whole, and the rows in them are the first ones
        if held:
            say(f"{output} is as it was")
        if number or not held:
            place = f"{folder}/" if held else output
            whole = "one whole file" if number == 1 else f"{number} whole files"
            say(f"{place} keeps the first {total:,} rows, in {whole}; delete it where they are not wanted")
        else:
            folder.rmdir()
        raise
    return {"rows": total, "columns": columns, "files": number}


def _held(output: str, overwrite: bool) -> bool:
    """Whether a folder holds parts of a table to be replaced. FileError for what must not be."""
    folder = Path(output)
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise FileError(f"{output} is a file: name another folder")
    names = sorted(name for name in os.listdir(folder) if name not in (".DS_Store", "Thumbs.db", "desktop.ini"))
    if names and not overwrite:
        raise FileError(f"{output} holds something already: name a new folder, or empty it, or give --overwrite")
    if others := [name for name in names if not re.fullmatch(r"part-[0-9]{5,}\.parquet", name)]:
        raise FileError(
            f"{output} holds {others[0]}, which is no part of a table that was written there and would be lost: move "
            "it away, or name another folder"
        )
    return bool(names)


def _beside(output: str) -> Path:
    """A new empty folder beside a folder, of the same permissions."""
    import tempfile

    folder = Path(os.path.realpath(output))
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
        fresh.chmod(folder.stat().st_mode & 0o7777)
    except OSError as error:
        raise FileError(f"{folder.parent} cannot be written: {error.strerror or error}") from error
    return fresh


def _change_places(fresh: Path, folder: Path) -> None:
    """Put a folder in the place of another, which is removed once that is done, and put back where it fails."""
    import shutil

    former = fresh.with_name(fresh.name.replace(".new-", ".old-"))
    try:
        folder.rename(former)
        fresh.rename(folder)
    except BaseException as error:
        if not folder.exists():
            former.rename(folder)
        if isinstance(error, OSError):
            raise FileError(f"{folder} cannot be replaced: {error.strerror or error}") from error
        raise
    shutil.rmtree(former, ignore_errors=True)
