"""The command ``isthmus``. Each command parses, calls one function of the library, and prints.

Results go to standard output, messages and progress bars to standard error. Nothing heavy is imported before a command
runs, so help is there at once.
"""

from __future__ import annotations

import ast
import functools
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from isthmus.errors import DataError, FileError, IsthmusError, IsthmusWarning, SettingError

__all__ = ["main"]

MODELS = ("pca", "autoencoder", "vae")  # the library's own lists are slow to import; a test holds these equal to them
FORMATS = ("vector", "image", "series")
TESTED_AT_MOST = 10_000  # items held out for the final figures: their standard error is then below 1 %
Command = Callable[..., Any]


# --- What commands share --------------------------------------------------------------------------------------------


def number_or_auto(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """A whole number as such; "auto" as it is."""
    if value is not None and value != "auto" and not re.fullmatch(r"[0-9]+", value):
        raise click.BadParameter(f"{value!r} is neither a whole number nor auto.")
    return value if value in (None, "auto") else int(value)


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


model_argument = click.argument("model", metavar="MODEL")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, metavar="NUMBER",
                           help="Decides everything random; 0 unless it is given.", show_default=False)  # fmt: skip
key_option = click.option("--key", metavar="NAME", help="Which array of an .npz file.")
skip_option = click.option("--skip-corrupt", is_flag=True, help="Leave out pictures that cannot be decoded.")


def data(command: Command) -> Command:
    """The argument and options of a command that reads items."""
    return click.argument("items", metavar="DATA")(key_option(skip_option(command)))


def writes(command: Command) -> Command:
    """The options of a command that writes items. It returns them, and what else there is to tell, as a dict.

    ``columns`` in there are names for the columns of a table.
    """

    @click.option("-o", "--output", default="-", show_default=True, metavar="PATH",
                  help="An .npy, .npz, .csv, .tsv or .parquet file, a folder for pictures, or - (.npy).")  # fmt: skip
    @click.option("--overwrite", is_flag=True, help="Write into a folder that already holds something.")
    @as_json
    @functools.wraps(command)
    def wrapped(output: str, overwrite: bool, as_json: bool, **given: Any) -> None:  # fmt: skip
        from isthmus.formats.files import write

        if output == "-" and as_json:
            raise click.UsageError("--json prints on standard output, where the result goes: name a file with -o.")
        require_apart(output, *(given.get(name) for name in ("model", "items", "codes")))
        result, told = command(**given)
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


def items_of(path: str, key: str | None, what: str = "DATA") -> Any:
    """An array, or a list of picture files. One standard input feeds one argument."""
    from isthmus.formats.files import read
    from isthmus.formats.picture_folders import image_files

    context = click.get_current_context()
    if path == "-":
        if context.meta.setdefault("isthmus.stdin", what) != what:
            raise click.UsageError(f"standard input cannot be both {context.meta['isthmus.stdin']} and {what}.")
        if sys.stdin.isatty():
            raise click.UsageError(f"{what} is -, but standard input is a terminal: send a file or a pipe to it.")
    items = read(path, key=key)
    return image_files(items) if isinstance(items, Path) else items


def labels_of(path: str | None, source: str, items: Any, skip_corrupt: bool) -> Any:
    """(n,) labels from a file, or from the subfolders of a folder of pictures; None where there are none."""
    from isthmus.formats.picture_folders import folder_labels

    if path is None:
        return folder_labels(source) if Path(source).is_dir() and not skip_corrupt else None
    labels = items_of(path, None, "--labels")
    labels = labels[:, 0] if getattr(labels, "ndim", 0) == 2 and labels.shape[1] == 1 else labels
    if getattr(labels, "shape", None) != (count(items),):
        raise DataError(f"{path} does not hold one label for each of the {count(items)} items")
    return labels


def count(items: Any) -> int:
    """How many items there are; none in an array without axes."""
    return len(items) if getattr(items, "ndim", 1) else 0


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


def require_apart(output: str, *inputs: str | None) -> None:
    """A usage error where the output would take the place of what is read."""
    for path in inputs:
        if path is not None and Path(output).exists() and Path(path).exists() and os.path.samefile(output, path):
            raise click.UsageError(f"-o {output} is what is read, and would be lost. Name another file.")


def require_place(path: str) -> None:
    """FileError at once, rather than after minutes of training."""
    folder = Path(path).resolve().parent
    if Path(path).is_dir() or path in ("", "-"):
        raise FileError(f"{path or repr(path)} is not the name of a file, such as model.isthmus")
    if not folder.is_dir():
        raise FileError(f"{path}: there is no folder {folder}. Make it first: mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise FileError(f"{path}: no permission to write in {folder}")


# --- The commands ---------------------------------------------------------------------------------------------------


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="isthmus", message="isthmus %(version)s")
def cli() -> None:
    """Learn small codes of data, and use them.

    \b
    Example:
      isthmus fit photos/ -o photos.isthmus       learn from a folder of pictures
      isthmus encode photos.isthmus new/ -o new.npy

    DATA is an .npy, .npz, IDX, .csv, .tsv or .parquet file, a folder of pictures, or - for standard input.

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
@click.option("--size", type=click.Choice(["small", "base", "large"]), help="Of the network.  [default: base]")
@click.option("--likelihood", metavar="WORD", help="What a good reconstruction is.  [default: the format's own]")
@click.option("--budget", metavar="TIME", help="Train for so long, such as 90s or 5m, in place of a number of epochs.")
@click.option("--set", "settings", callback=assignments, multiple=True, metavar="NAME=VALUE",
              help="Any other setting of the model; may repeat.")  # fmt: skip
@click.option("--labels", metavar="PATH", help="One label an item, for the accuracy of nearest neighbours.")
@seed_option
@as_json
def fit(items: str, key: str | None, skip_corrupt: bool, output: str, word: str, resize: str | None, seed: int,
        labels: str | None, settings: dict[str, Any], as_json: bool, **given: Any) -> None:  # fmt: skip
    """Learn from DATA, measure on a tenth of it that was held out, and save the model.

    Ctrl-C during training keeps the best so far, measures it, and saves it.

    \b
    Example:
      isthmus fit digits.npy -o digits.isthmus --model vae --latent 16
      isthmus fit photos/ -o photos.isthmus --resize 64x64 --budget 5m
      isthmus fit table.csv -o table.isthmus --model pca --latent auto
      isthmus fit digits.npy -o clean.isthmus --set corruption=gaussian
    """
    require_place(output)
    require_apart(output, items, labels)
    from isthmus.evaluate import evaluate
    from isthmus.formats import format_of
    from isthmus.models import MODELS

    chosen = settings_for(MODELS[word], {"random_state": seed} | given | settings)
    X = items_of(items, key)
    y = labels_of(labels, items, X, skip_corrupt)
    if isinstance(X, list) and chosen.get("format", "image") == "image":
        chosen["format"] = picture_format(resize, skip_corrupt)
    elif resize is not None:
        raise click.UsageError("--resize is for picture files; arrays keep their size.")
    learned, held_out = split(X, seed)
    model = MODELS[word](**chosen)
    try:
        model.fit(taken(X, learned))
    except DataError:
        format_of(X, chosen.get("format")).fit(X)  # fails in the same way, and names the row of the file, not of a part
        raise
    model.save(output)  # whatever happens while it is measured
    report = evaluate(model, taken(X, held_out), taken(y, held_out), train=taken(X, learned) if len(held_out) else None)
    model.save(output, report=report)
    answer({"model": word, "latents": model.latent_dim_, "output": output} | report.to_json(), str(report), as_json)
    say(f"wrote {output}: {word}, {model.latent_dim_} latents, {Path(output).stat().st_size / 1e6:.2f} MB")
    if model.history_.get("ended") == "interrupted":
        raise click.exceptions.Exit(STOPPED)


def settings_for(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments for the model's class. A usage error for a setting that it does not have; a seed is no matter."""
    known = kind._get_param_names()
    wanted = {name: value for name, value in given.items() if value is not None and (name, value) != ("ordered", False)}
    for name in wanted.keys() - {*known, "random_state"}:
        raise click.UsageError(f"{kind.__name__} has no setting {name}; it has {', '.join(known)}.")
    return {name: value for name, value in wanted.items() if name in known}


def picture_format(resize: str | None, skip_corrupt: bool) -> Any:
    """The format of picture files."""
    from isthmus.formats import ImageFormat

    sides = re.fullmatch(r"([1-9][0-9]*)x([1-9][0-9]*)", resize or "1x1")
    if sides is None:
        raise click.UsageError(f"--resize {resize}: give height and width, such as 32x32.")
    return ImageFormat(size=(int(sides[1]), int(sides[2])) if resize else None, skip_corrupt=skip_corrupt)


def split(items: Any, seed: int) -> tuple[Any, Any]:
    """Rows to learn from and rows to measure on: a tenth, none of fewer than 20 items."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(count(items))
    held = min(len(order) // 10, TESTED_AT_MOST) if len(order) >= 20 else 0
    return np.sort(order[held:]), np.sort(order[:held])


def taken(items: Any, rows: Any) -> Any:
    """These of the items; all where no row is named."""
    if items is None or not len(rows):
        return items
    return [items[row] for row in rows] if isinstance(items, list) else items[rows]


@cli.command()
@model_argument
@data
@writes
def encode(model: str, items: str, key: str | None, skip_corrupt: bool) -> tuple[Any, dict[str, Any]]:
    """Turn DATA into codes, one row an item.

    \b
    Example:
      isthmus encode digits.isthmus digits.npy -o codes.npy
      isthmus encode photos.isthmus photos/ -o codes.parquet
      cat new.csv | isthmus encode table.isthmus - > codes.npy
    """
    codes = model_of(model, skip_corrupt).encode(items_of(items, key))
    return codes, {"columns": [f"z{j}" for j in range(codes.shape[1])]}


@cli.command()
@model_argument
@click.argument("codes", metavar="CODES")
@key_option
@writes
def decode(model: str, codes: str, key: str | None) -> tuple[Any, dict[str, Any]]:
    """Turn CODES back into items.

    \b
    Example:
      isthmus decode digits.isthmus codes.npy -o again.npy
    """
    fitted = model_of(model)
    return fitted.decode(items_of(codes, key, "CODES")), columns_of(fitted)


@cli.command()
@model_argument
@data
@writes
def reconstruct(model: str, items: str, key: str | None, skip_corrupt: bool) -> tuple[Any, dict[str, Any]]:
    """Show what is left of DATA after the bottleneck: encode, then decode.

    \b
    Example:
      isthmus reconstruct digits.isthmus digits.npy -o again.npy
    """
    fitted = model_of(model, skip_corrupt)
    return fitted.reconstruct(items_of(items, key)), columns_of(fitted)


@cli.command()
@model_argument
@click.option("-n", "count", type=click.IntRange(1), default=16, show_default=True, help="How many items.")
@seed_option
@writes
def sample(model: str, count: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Make new items. The same seed makes the same items.

    \b
    Example:
      isthmus sample photos.isthmus -n 25 --seed 7 -o made/
    """
    fitted = model_of(model)
    prior = fitted.prior_.describe()
    say(f"codes are drawn from the prior: {prior}")
    return fitted.sample(count, seed), {"prior": prior, "seed": seed} | columns_of(fitted)


@cli.command()
@model_argument
@data
@click.option("--labels", metavar="PATH", help="One label an item, for the accuracy of nearest neighbours.")
@click.option("--train", metavar="PATH", help="Items that the baselines learn from.  [default: DATA, in folds]")
@as_json
def evaluate(model: str, items: str, key: str | None, skip_corrupt: bool, labels: str | None, train: str | None,
             as_json: bool) -> None:  # fmt: skip
    """Measure a model on DATA it has not seen, beside the mean, PCA of the same size and itself untrained.

    \b
    Example:
      isthmus evaluate digits.isthmus test.npy
      isthmus evaluate digits.isthmus test.npy --labels test-labels.npy --train train.npy --json
    """
    from isthmus.evaluate import evaluate

    fitted = model_of(model, skip_corrupt)
    X = items_of(items, key)
    y = labels_of(labels, items, X, skip_corrupt)
    report = evaluate(fitted, X, y, train=None if train is None else items_of(train, None, "--train"))
    answer(report.to_json(), str(report), as_json)


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


# --- The way in and the way out ---------------------------------------------------------------------------------------

STOPPED = 130  # as shells say it

IN_PYTHON = (  # how messages call a setting, and how this command calls it
    (re.compile(r"\bkey='([^']*)'"), r"--key \1"),
    (re.compile(r"\boverwrite=True\b"), "--overwrite"),
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; one line on standard error where it failed for a reason that we know."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", IsthmusWarning)
        warnings.showwarning = show_warning
        try:
            code = cli.main(arguments, prog_name="isthmus", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except IsthmusError as error:
            say(functools.reduce(lambda text, pair: pair[0].sub(pair[1], text), IN_PYTHON, str(error)))
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
    """Our own warnings as a line for people; others as Python shows them."""
    ours = issubclass(category, IsthmusWarning)
    say(f"note: {message}" if ours else warnings.formatwarning(message, category, *where[:2]).rstrip())
