"""The command ``isthmus``. Each command parses, calls one function of the library, and prints.

Results go to standard output, messages and progress bars to standard error. Nothing heavy is imported before a command
runs, so help is there at once.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from isthmus.commands.anomalies import anomalies
from isthmus.commands.arithmetic import arithmetic
from isthmus.commands.clusters import clusters
from isthmus.commands.compare_codes import compare_codes
from isthmus.commands.denoise import denoise, superresolve
from isthmus.commands.explore import explore
from isthmus.commands.generate import augment, generation, interpolate
from isthmus.commands.label import label
from isthmus.commands.predict import predict
from isthmus.commands.report import report
from isthmus.commands.search import index, remove, search
from isthmus.commands.traverse import latents, traverse
from isthmus.console import (
    answer,
    as_json,
    assignments,
    coded,
    codes_of,
    columns_of,
    count,
    data,
    delimiter_option,
    encoding_option,
    is_source,
    key_option,
    kinds_option,
    labels_of,
    model_argument,
    model_of,
    number_or_auto,
    require_apart,
    require_file,
    require_place,
    say,
    seed_option,
    stream_out,
    table_ending,
    there,
    two_numbers,
    writes,
)
from isthmus.errors import DataError, IsthmusError, IsthmusWarning, SettingError

__all__ = ["main"]

MODELS = ("pca", "autoencoder", "vae")  # the library's own lists are slow to import; a test holds these equal to them
FORMATS = ("vector", "image", "series", "table")
STEP = 4096  # items of a mapped file that are copied together


# --- The commands ---------------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="isthmus", message="isthmus %(version)s")
def cli() -> None:
    """Learn small codes of data, and use them.

    \b
    Example:
      isthmus fit photos/ -o photos.isthmus       learn from a folder of pictures
      isthmus encode photos.isthmus new/ -o new.npy

    DATA is an .npy, .npz or IDX file, a folder of pictures, a table (.csv, .tsv, .parquet, .feather, .jsonl; a folder
    of such files, or several), or - for standard input.

    \b
    Exit codes:
      0    done
      1    something is wrong with data or files; one line on standard error says what
      2    the command was not understood, or a setting is out of range
      130  stopped with Ctrl-C; nothing half-written is left, and fit has saved the best so far
    """


@cli.command()
@data
@click.option("-o", "--output", required=True, metavar="PATH", help="The model file, such as digits.isthmus.")
@click.option("--model", "word", type=click.Choice(MODELS), default="autoencoder", show_default=True,
              help="What to fit.")  # fmt: skip
@click.option("--latent", "latent_dim", callback=number_or_auto, metavar="NUMBER|auto",
              help="Numbers in a code.  [default: 16, or fewer]")  # fmt: skip
@click.option("--ordered", is_flag=True, help="Learn codes whose first k numbers are a good code for every k.")
@click.option("--format", type=click.Choice(FORMATS), help="What the items are.  [default: found from the data]")
@click.option("--resize", metavar="HxW", help="Height and width to bring picture files to, such as 32x32.")
@click.option("--range", "ends", callback=two_numbers, metavar="BLACK,WHITE",
              help="The values of black and white in an array of images, such as 0,15.")  # fmt: skip
@click.option("--channels", type=click.Choice(["first", "last"]),
              help="Where an array of images has its channels.  [default: found]")  # fmt: skip
@click.option("--size", type=click.Choice(["small", "base", "large"]), help="Of the network.  [default: base]")
@click.option("--likelihood", metavar="WORD", help="What a good reconstruction is.  [default: the format's own]")
@click.option("--epochs", type=click.IntRange(min=1), metavar="NUMBER",
              help="Passes over the data.  [default: by the number of items]")  # fmt: skip
@click.option("--budget", metavar="TIME", help="Train for so long, such as 90s or 5m, in place of a number of epochs.")
@kinds_option
@click.option("--set", "settings", callback=assignments, multiple=True, metavar="NAME=VALUE",
              help="Any other setting of the model; may repeat.")  # fmt: skip
@click.option(
    "--labels", callback=there, metavar="PATH", help="One label an item, for the accuracy of nearest neighbours."
)
@click.option("--supervised", is_flag=True, help="Learn from --labels too, which some items may lack.")
@seed_option
@as_json
def fit(items: Any, read: Callable[..., Any], skip_corrupt: bool, output: str, word: str, resize: str | None,
        ends: tuple[float, float] | None, channels: Any, seed: int, labels: str | None, supervised: bool,
        settings: dict[str, Any], kinds: dict[str, str], as_json: bool, **given: Any) -> None:  # fmt: skip
    """Learn from DATA, measure on a tenth of it that was held out, and save the model.

    Ctrl-C during training keeps the best so far, measures it, and saves it.

    \b
    Example:
      isthmus fit digits.npy -o digits.isthmus --model vae --latent 16
      isthmus fit photos/ -o photos.isthmus --resize 64x64 --budget 5m
      isthmus fit customers.csv -o customers.isthmus --kind zip=category
      isthmus fit year/*.parquet -o year.isthmus --model pca --latent auto
      isthmus fit digits.npy -o clean.isthmus --set corruption=gaussian
      isthmus fit digits.npy -o told.isthmus --labels known.csv --supervised
      isthmus fit scans.npy -o scans.isthmus --range 0,4095
    """
    require_place(output)
    require_apart(output, items, labels)
    from isthmus.evaluate import apart, evaluate, remember_apart
    from isthmus.formats import ImageFormat, format_of
    from isthmus.models import MODELS

    chosen = settings_for(MODELS[word], {"random_state": seed} | given | settings)
    X = read(items)
    y = supervision_of(labels, X, word) if supervised else labels_of(labels, items, X, skip_corrupt)
    if kinds:
        chosen["format"] = table_format(kinds, chosen.get("format"))
    pictures = isinstance(X, list)
    if ends is not None or channels is not None:
        if pictures or is_source(X) or chosen.get("format", "image") != "image":
            raise click.UsageError("--range and --channels are for arrays of images.")
        chosen["format"] = ImageFormat(channels, ends)
    if pictures and chosen.get("format", "image") == "image":
        chosen["format"] = picture_format(resize, skip_corrupt)
    elif resize is not None:
        raise click.UsageError("--resize is for picture files; arrays keep their size.")
    learned, held_out = apart(count(X), seed)
    model = MODELS[word](**chosen)
    try:
        model.fit(taken(X, learned), taken(y, learned) if supervised else None)
    except DataError:
        format_of(X, chosen.get("format")).fit(X)  # fails in the same way, and names the row of the file, not of a part
        raise
    model.save(output)  # whatever happens while it is measured
    remember_apart(model, X, held_out, seed)
    if count(X) < 2:
        told = {"model": word, "latents": model.latent_dim_, "output": output}
        answer(told, "one item: there is nothing to measure on", as_json)
        say(f"wrote {output}: {word}, {model.latent_dim_} latents")
        return
    if supervised and None in y:
        y = None  # nearest neighbours are judged by the labels of all
    report = evaluate(model, taken(X, held_out), taken(y, held_out), train=taken(X, learned) if len(held_out) else None)
    model.save(output, report=report)
    answer({"model": word, "latents": model.latent_dim_, "output": output} | report.to_json(), str(report), as_json)
    say(f"wrote {output}: {word}, {model.latent_dim_} latents, {Path(output).stat().st_size / 1e6:.2f} MB")
    if model.history_.get("ended") == "interrupted":
        raise click.exceptions.Exit(STOPPED)


def supervision_of(labels: str | None, items: Any, word: str) -> list[Any]:
    """One label for each item to learn from, None where there is none."""
    from isthmus.commands.label import labels_in

    if labels is None:
        raise click.UsageError("--supervised learns from labels: name a file with --labels.")
    if word == "pca":
        raise click.UsageError("--supervised is for --model autoencoder and vae; PCA learns from items alone.")
    y = labels_in(labels, count(items))
    y = y.tolist() if hasattr(y, "tolist") else list(y)
    if len(y) != count(items):
        raise DataError(f"{labels} does not hold one label for each of the {count(items)} items")
    return [None if name == -1 or name != name else name for name in y]


def settings_for(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments for the model's class. A usage error for a setting that it does not have; a seed is no matter."""
    known = kind._get_param_names()
    wanted = {name: value for name, value in given.items() if value is not None and (name, value) != ("ordered", False)}
    for name in wanted.keys() - {*known, "random_state"}:
        raise click.UsageError(f"{kind.__name__} has no setting {name}; it has {', '.join(known)}.")
    return {name: value for name, value in wanted.items() if name in known}


def table_format(kinds: dict[str, str], word: str | None) -> Any:
    """The format of a table whose columns are said to hold this."""
    from isthmus.formats import TableFormat

    if word not in (None, "table"):
        raise click.UsageError(f"--kind is for tables, and --format is {word}.")
    return TableFormat(kinds)


def picture_format(resize: str | None, skip_corrupt: bool) -> Any:
    """The format of picture files."""
    from isthmus.formats import ImageFormat

    sides = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", resize or "1x1")
    if sides is None:
        raise click.UsageError(f"--resize {resize}: give height and width, such as 32x32.")
    return ImageFormat(size=(int(sides[1]), int(sides[2])) if resize else None, skip_corrupt=skip_corrupt)


def taken(items: Any, rows: Any) -> Any:
    """These of the items; all where no row is named."""
    if items is None or not len(rows):
        return items
    if is_source(items):
        return items.subset(rows)
    if hasattr(items, "filename") and len(rows) > 2 * STEP:  # mapped from a file, which does not fit in memory
        import numpy as np

        from isthmus.formats.streams import stream

        return stream(items[np.asarray(rows[start : start + STEP])] for start in range(0, len(rows), STEP))
    rows = rows[:].numpy() if hasattr(rows, "within") else rows
    return [items[row] for row in rows] if isinstance(items, list) else items[rows]


@cli.command()
@model_argument
@data
@click.option("--keep", metavar="COLUMN,COLUMN", help="Columns of a table to write beside the codes.")
@writes
def encode(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, keep: str | None,
           output: str, overwrite: bool) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Turn DATA into codes, one row an item. A table of any size goes through piece by piece.

    \b
    Example:
      isthmus encode digits.isthmus digits.npy -o codes.npy
      isthmus encode photos.isthmus photos/ -o codes.parquet
      isthmus encode year.isthmus year/*.parquet -o codes/ --keep id,date
      cat new.csv | isthmus encode table.isthmus - > codes.npy
    """
    fitted, X = model_of(model, skip_corrupt), read(items)
    if is_source(X) and (keep or table_ending(output)):
        return None, stream_out(output, coded(fitted, X, keep.split(",") if keep else []), overwrite)
    if keep:
        raise click.UsageError("--keep is for tables, written as .parquet, .csv or another table.")
    require_file(output, "the codes of arrays and pictures")
    codes = fitted.encode(X)
    return codes, {"columns": [f"z{j}" for j in range(codes.shape[1])]}


@cli.command()
@model_argument
@click.argument("codes", metavar="CODES", callback=there)
@key_option
@writes
def decode(model: str, codes: str, key: str | None) -> tuple[Any, dict[str, Any]]:
    """Turn CODES back into items. Of a table, the columns z0, z1, ... that encode has written are the codes.

    \b
    Example:
      isthmus decode digits.isthmus codes.npy -o again.npy
      isthmus decode year.isthmus codes/ -o again.parquet
    """
    fitted = model_of(model)
    return fitted.decode(codes_of(codes, key, fitted.latent_dim_)), columns_of(fitted)


@cli.command()
@model_argument
@data
@writes
def reconstruct(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool) -> tuple[Any, dict[str, Any]]:
    """Show what is left of DATA after the bottleneck: encode, then decode.

    \b
    Example:
      isthmus reconstruct digits.isthmus digits.npy -o again.npy
    """
    fitted = model_of(model, skip_corrupt)
    return fitted.reconstruct(read(items)), columns_of(fitted)


@cli.command()
@model_argument
@data
@click.option("--how", type=click.Choice(["mode", "mean", "draw"]), default="mode", show_default=True,
              help="The likeliest value, the mean of numbers, or one drawn from what is possible.")  # fmt: skip
@seed_option
@writes
def impute(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, how: str, seed: int,
           output: str, overwrite: bool) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Fill the holes of a table; cells that have a value keep it.

    A CSV is written anew: moments with a time zone in UTC, truths as true and
    false.

    \b
    Example:
      isthmus impute customers.isthmus customers.csv -o filled.csv
      isthmus impute customers.isthmus new.parquet --how draw --seed 3 -o drawn.parquet
    """
    import pyarrow

    from isthmus.verbs.impute import impute

    fitted, X = model_of(model, skip_corrupt), read(items)
    if not is_source(X) or not table_ending(output):
        return impute(fitted, X, how, seed=seed), {}
    tables = (pyarrow.Table.from_batches([batch]) for batch in X.batches())
    filled = (impute(fitted, table, how, seed=seed + i) for i, table in enumerate(tables))
    return None, stream_out(output, filled, overwrite)


@cli.command()
@model_argument
@click.option("-n", "count", type=click.IntRange(1), default=16, show_default=True, help="How many items.")
@click.option("--label", metavar="CLASS", help="A class that the model learned with --supervised.")
@seed_option
@writes
def sample(model: str, count: int, label: str | None, seed: int) -> tuple[Any, dict[str, Any]]:
    """Make new items, of a class where one is named. The same seed makes the same items.

    \b
    Example:
      isthmus sample photos.isthmus -n 25 --seed 7 -o made/
      isthmus sample told.isthmus -n 25 --label 3 -o threes/
    """
    fitted = model_of(model)
    if label is not None:
        from isthmus.verbs.generate import sample

        known = next((name for name in getattr(fitted, "classes_", ()) if str(name) == label), label)
        return sample(fitted, count, label=known, seed=seed), {"label": label, "seed": seed} | columns_of(fitted)
    prior = fitted.prior_.describe()
    say(f"codes are drawn from the prior: {prior}")
    return fitted.sample(count, seed), {"prior": prior, "seed": seed} | columns_of(fitted)


@cli.command()
@model_argument
@data
@click.option(
    "--labels", callback=there, metavar="PATH", help="One label an item, for the accuracy of nearest neighbours."
)
@click.option(
    "--train", callback=there, metavar="PATH", help="Items that the baselines learn from.  [default: DATA, in folds]"
)
@as_json
def evaluate(model: str, items: Any, read: Callable[..., Any], skip_corrupt: bool, labels: str | None,
             train: str | None, as_json: bool) -> None:  # fmt: skip
    """Measure a model on DATA it has not seen, beside the mean, PCA of the same size and itself untrained.

    \b
    Example:
      isthmus evaluate digits.isthmus test.npy
      isthmus evaluate digits.isthmus test.npy --labels test-labels.npy --train train.npy --json
    """
    from isthmus.evaluate import evaluate

    fitted = model_of(model, skip_corrupt)
    X = read(items)
    y = labels_of(labels, items, X, skip_corrupt)
    report = evaluate(fitted, X, y, train=None if train is None else read(train, "--train"))
    answer(report.to_json(), str(report), as_json)


@cli.command()
@click.argument("items", metavar="DATA...", nargs=-1, required=True, callback=there)
@delimiter_option
@encoding_option
@kinds_option
@as_json
def columns(items: tuple[str, ...], delimiter: str | None, encoding: str | None, kinds: dict[str, str],
            as_json: bool) -> None:  # fmt: skip
    """Show what the columns of a table are found to hold, before anything is learned.

    \b
    Example:
      isthmus columns customers.csv
      isthmus columns customers.csv --kind zip=category --json
    """
    from isthmus.formats import TableFormat
    from isthmus.formats.frames import source_of

    source = source_of(items[0] if len(items) == 1 else list(items), delimiter=delimiter, encoding=encoding)
    found = TableFormat(kinds or None).fit(source).describe()
    answer({"rows": source.count(), "columns": found}, columns_as_text(source.count(), found), as_json)


def columns_as_text(rows: int, found: list[dict[str, Any]]) -> str:
    """One line a column."""
    cells = [["column", "kind", "type", "missing", "holds", ""]]
    cells += [[one["name"], one["kind"], one["type"], f"{one['missing']:.1%}", one["holds"], one["note"]]
              for one in found]  # fmt: skip
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    lines = ["  ".join([*map(str.ljust, line, widths), *line[5:]]).rstrip() for line in cells]
    return "\n".join([*lines, "", f"{rows:,} rows"])


@cli.command()
@model_argument
@as_json
def info(model: str, as_json: bool) -> None:
    """Say what is in a model file.

    \b
    Example:
      isthmus info digits.isthmus
    """
    from isthmus import store

    found = store.read(model)
    numbers = sum(tensor.numel() for tensor in found.tensors.values())
    told = {"file": model, "bytes": os.path.getsize(model), "numbers": numbers, "hash": found.hash,
            "written_by": found.written_by, **found.model, "format": found.format}  # fmt: skip
    text = f"{found.card}\n{numbers:,} numbers, {told['bytes']:,} bytes, Isthmus {found.written_by}, hash {found.hash}"
    answer(told, text, as_json)


@cli.command()
@click.argument("folder", metavar="[FOLDER]", default="demo")
@seed_option
def demo(folder: str, seed: int) -> None:
    """Learn real handwritten digits three ways, and compare. Takes about a minute; writes into FOLDER (demo).

    \b
    Example:
      isthmus demo
    """
    from isthmus.view.demo import demo

    demo(folder, seed=seed)


for command in (  # each in a file of its own
    anomalies,
    arithmetic,
    augment,
    compare_codes,
    clusters,
    denoise,
    explore,
    generation,
    index,
    interpolate,
    label,
    latents,
    predict,
    remove,
    search,
    superresolve,
    report,
    traverse,
):
    cli.add_command(command)


# --- The way in and the way out ---------------------------------------------------------------------------------------

STOPPED = 130  # as shells say it
TOLD: set[str] = set()  # warnings that were shown

IN_PYTHON = (  # how messages call a setting, and how this command calls it
    (re.compile(r"\bkey='([^']*)'"), r"--key \1"),
    (re.compile(r"\boverwrite=True\b"), "--overwrite"),
    (re.compile(r"\bskip_corrupt=True \(--skip-corrupt\)"), "--skip-corrupt"),
    (re.compile(r"\bImageFormat\(range=\(([^\s()]+), ([^\s()]+)\)\)"), r"--range \1,\2"),
    (re.compile(r"\brange=\(([^\s()]+), ([^\s()]+)\)"), r"--range \1,\2"),
    (re.compile(r'\bImageFormat\(channels="(\w+)"\)'), r"--channels \1"),
    (re.compile(r"\bsize=\(height, width\)"), "--resize HxW"),
    (re.compile(r"""\b(format|encoding|delimiter)=(?:"([^"]+)"|('[^']+'))"""), r"--\1 \2\3"),
    (re.compile(r'\bkinds=\{"(.*?)": "(\w+)"\}'), r"--kind \1=\2"),
    (re.compile(r"\bkinds=(?!\S)"), "--kind"),
    (re.compile(r"\blatent_dim=(?=\w)"), "--latent "),
    (re.compile(r"\b(corruption|sparsity|contraction)=(?=[\s,])"), r"--set \1="),
    (re.compile(r"\bordered=True\b"), "--ordered"),
    (re.compile(r"\b(names|port|columns)=(?=\S)"), r"--\1 "),
    (re.compile(r"\b(names|port|columns)="), r"--\1"),
)


def as_typed(text: str) -> str:
    """A message of the library in the words of the command line."""
    return functools.reduce(lambda text, pair: pair[0].sub(pair[1], text), IN_PYTHON, text)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; one line on standard error where it failed for a reason that we know."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", IsthmusWarning)
        warnings.showwarning = show_warning
        TOLD.clear()
        try:
            code = cli.main(arguments, prog_name="isthmus", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except IsthmusError as error:
            say(as_typed(str(error)))
            code = 2 if isinstance(error, SettingError) else 1
        except OSError as error:  # our own files have errors of ours; this is standard output
            say(f"cannot write to standard output: {error.strerror or error}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in it would fail once more
            code = 1
        except (click.Abort, KeyboardInterrupt):
            say("stopped")
            code = STOPPED
    sys.exit(code)


def show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """Our own warnings as a line for people, those that differ in a count alone once; others as Python shows them."""
    if not issubclass(category, IsthmusWarning):
        say(warnings.formatwarning(message, category, *where[:2]).rstrip())
    elif (told := re.sub(r"\(\d+ cells\)", "", str(message))) not in TOLD:
        TOLD.add(told)
        say(f"note: {as_typed(str(message))}")
