"""The command: what it prints and writes, its exit codes, and its words when something is wrong."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from sklearn.datasets import load_digits

import isthmus
from isthmus import cli, console
from isthmus.evaluate import apart
from isthmus.formats.files import read, write

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(cli.cli.commands)


Run = Callable[..., Any]  # the fixture of conftest.py


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, labels, a table with names, folders of pictures, and models of them."""
    folder = tmp_path_factory.mktemp("cli")
    X, y = load_digits(return_X_y=True)
    digits = (X.reshape(-1, 8, 8)[:300] * 15.9).astype(np.uint8)
    np.save(folder / "digits.npy", digits)
    np.save(folder / "labels.npy", y[:300])
    np.savez(folder / "both.npz", train=digits[:200], test=digits[200:])
    write(folder / "table.csv", X[:60, 2:6] + np.arange(60)[:, None] / 60, columns=["a", "b", "c", "d"])
    for label in (0, 1, 2):
        write(folder / "pictures" / str(label), digits[y[:300] == label][:12])
    for name, data, latent in [("digits", "digits.npy", 8), ("table", "table.csv", 2), ("pictures", "pictures", 4)]:
        with pytest.raises(SystemExit) as exit:
            cli.main(
                ["fit", f"{folder}/{data}", "-o", f"{folder}/{name}.isthmus", "--model", "pca", f"--latent={latent}"]
            )
        assert not exit.value.code
    return folder


# --- Help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    done = run(command, "--help")
    assert done.code == 0
    assert f"Example:\n    isthmus {command}" in done.out
    for parameter in cli.cli.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command} {parameter.name} has no help"


def test_the_examples_are_commands_that_parse(run: Run) -> None:
    for command in COMMANDS:
        for line in re.findall(r"^ +(?:cat \S+ \| )?isthmus (.+?)(?: > \S+)?$", run(command, "--help").out, re.M):
            if not line.startswith("["):
                name, *arguments = shlex.split(line.split("   ")[0])
                cli.cli.commands[name].make_context(name, arguments)


def test_a_missing_file_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    asked = [
        ("there is no file or folder none.csv", "fit none.csv -o m.isthmus"),
        ("there is no file or folder b.png", "fit a.png b.png -o m.isthmus"),
        ("there is no file or folder none.csv", "fit a.png --labels none.csv -o m.isthmus"),
        ("there is no file or folder none.csv", "columns none.csv"),
        ("there is no file or folder none", "encode a.png none"),
        ("there is no file or folder none.npy", "decode a.png none.npy"),
        ("there is no file or folder none.npy", "anomalies a.png a.png --calibration none.npy"),
        ("there is no file or folder none.npy", "generation a.png a.png none.npy"),
        ("there is no file or folder none.npy", "traverse a.png none.npy -o t.png"),
        ("there is no file or folder none.csv", "label a.png a.png none.csv -o l.csv"),
        ("there is no file or folder none.index", "search none.index 3"),
        *(("none.isthmus does not exist", f"{name} none.isthmus {rest}") for name, rest in [
            ("encode", "a.png"), ("info", ""), ("sample", "-n 3"), ("evaluate", "a.png"), ("explore", "a.png"),
            ("report", "a.png"), ("predict", "a.png -o p.csv"), ("impute", "a.png"), ("denoise", "a.png"),
        ]),
    ]  # fmt: skip
    (tmp_path / "a.png").touch()
    code = f"""
import sys
from isthmus import cli
for said, line in {asked!r}:
    try:
        cli.main(line.split())
    except SystemExit as exit:
        heavy = sorted({{"torch", "numpy", "sklearn", "pyarrow", "pandas"}} & set(sys.modules))
        print(exit.code, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stdout.splitlines() == ["1 []"] * len(asked), done.stderr
    for (said, line), told in zip(asked, done.stderr.splitlines(), strict=True):
        assert told.startswith(f"isthmus: {said}"), line


def test_every_command_and_exit_code_is_documented(run: Run) -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    assert not [command for command in COMMANDS if f"`isthmus {command}" not in text]
    assert [*COMMANDS] == [
        "anomalies",
        "arithmetic",
        "augment",
        "clusters",
        "columns",
        "compare-codes",
        "decode",
        "demo",
        "denoise",
        "encode",
        "evaluate",
        "explore",
        "fit",
        "generation",
        "impute",
        "index",
        "info",
        "interpolate",
        "label",
        "latents",
        "predict",
        "reconstruct",
        "remove",
        "report",
        "sample",
        "search",
        "superresolve",
        "traverse",
    ]
    for code in ("0  ", "1  ", "2  ", "130"):
        assert f"    {code}" in run("--help").out
        assert f"| {code.strip()} |" in text


def test_the_lists_are_the_library_s() -> None:
    from isthmus.formats.infer import DEFAULTS
    from isthmus.models import MODELS

    assert tuple(MODELS) == cli.MODELS
    assert tuple(DEFAULTS) == cli.FORMATS


def test_version(run: Run) -> None:
    assert run("--version").out == f"isthmus {isthmus.__version__}\n"


# --- The way of a table, of arrays, of pictures ---------------------------------------------------------------------


def test_fit_measures_on_items_that_were_held_out(run: Run, here: Path) -> None:
    done = run("fit", here / "digits.npy", "-o", "m.isthmus", "--model", "pca", "--latent", "8")
    assert done.code == 0
    assert "30 items given as held out; baselines learned from 270 others" in done.out
    assert "wrote m.isthmus: pca, 8 latents" in done.err
    model = isthmus.load("m.isthmus")
    rows, held = apart(len(np.load(here / "digits.npy")), 0)
    assert len(held) == 30
    assert sorted([*rows, *held]) == list(range(300))
    again = isthmus.PCA(8).fit(np.load(here / "digits.npy")[rows])
    assert np.array_equal(model.encode(np.load(here / "digits.npy")), again.encode(np.load(here / "digits.npy")))


def test_encode_decode_reconstruct_agree_with_the_library(run: Run, here: Path) -> None:
    X, model = np.load(here / "digits.npy"), isthmus.load(here / "digits.isthmus")
    assert run("encode", here / "digits.isthmus", here / "digits.npy", "-o", "z.npy").code == 0
    assert np.array_equal(np.load("z.npy"), model.encode(X))
    assert run("decode", here / "digits.isthmus", "z.npy", "-o", "x.npy").code == 0
    assert run("reconstruct", here / "digits.isthmus", here / "digits.npy", "-o", "r.npy").code == 0
    assert np.array_equal(np.load("x.npy"), model.reconstruct(X))
    assert np.array_equal(np.load("r.npy"), model.reconstruct(X))
    assert np.load("x.npy").dtype == np.uint8


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".npz", ".parquet"])
def test_codes_lose_no_bit_on_the_way_through_any_file(run: Run, here: Path, ending: str) -> None:
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    run("encode", here / "digits.isthmus", here / "digits.npy", "-o", f"z{ending}")
    codes = isthmus.load(here / "digits.isthmus").encode(np.load(here / "digits.npy"))
    assert np.array_equal(np.asarray(read(f"z{ending}")).astype(np.float32), codes)
    if ending != ".npz":
        assert read(f"z{ending}").columns == tuple(f"z{j}" for j in range(8))
    assert run("decode", here / "digits.isthmus", f"z{ending}", "-o", "x.npy").code == 0


def test_names_of_columns_come_back(run: Run, here: Path) -> None:
    for command in ("reconstruct", "sample"):
        data = [here / "table.csv"] if command == "reconstruct" else ["-n", "3"]
        assert run(command, here / "table.isthmus", *data, "-o", "out.csv").code == 0
        assert read("out.csv").columns == ("a", "b", "c", "d")


def test_pictures(run: Run, here: Path) -> None:
    assert run("encode", here / "pictures.isthmus", here / "pictures", "-o", "z.npy").code == 0
    assert np.load("z.npy").shape == (36, 4)
    assert run("decode", here / "pictures.isthmus", "z.npy", "-o", "again/").code == 0
    assert len(list(Path("again").iterdir())) == 36
    done = run("decode", here / "pictures.isthmus", "z.npy", "-o", "again/")
    assert (done.code, "is not empty" in done.err, "--overwrite" in done.err) == (1, True, True)
    assert run("decode", here / "pictures.isthmus", "z.npy", "-o", "again/", "--overwrite").code == 0
    one = next((here / "pictures" / "1").iterdir())
    assert run("encode", here / "pictures.isthmus", one, "-o", "one.npy").code == 0
    assert np.load("one.npy").shape == (1, 4)


def test_folders_are_labels(run: Run, here: Path) -> None:
    X, y = load_digits(return_X_y=True)  # others than were learned from, of which a tenth alone would be measured
    for label in (0, 1, 2):
        write(f"others/{label}", (X.reshape(-1, 8, 8)[300:][y[300:] == label][:12] * 15.9).astype(np.uint8))
    done = run("evaluate", here / "pictures.isthmus", "others", "--json")
    assert "knn_accuracy" in json.loads(done.out)["rows"][0]


def test_a_picture_that_cannot_be_read(run: Run, here: Path) -> None:
    write("pictures/0", np.load(here / "digits.npy")[:30])
    Path("pictures/0/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    done = run("fit", "pictures", "-o", "m.isthmus", "--model", "pca", "--latent", "2")
    assert done.code == 1
    assert re.search(r"broken\.png.*--skip-corrupt", done.err)
    assert not Path("m.isthmus").exists()
    done = run("fit", "pictures", "-o", "m.isthmus", "--model", "pca", "--latent", "2", "--skip-corrupt")
    assert done.code == 0
    assert "broken.png" in done.err
    done = run("encode", here / "pictures.isthmus", "pictures", "-o", "z.npy")
    assert (done.code, "broken.png" in done.err) == (1, True)
    assert run("encode", here / "pictures.isthmus", "pictures", "-o", "z.npy", "--skip-corrupt").code == 0
    assert np.load("z.npy").shape == (30, 4)


def test_resize(run: Run, here: Path) -> None:
    run("fit", here / "pictures", "-o", "m.isthmus", "--model", "pca", "--latent", "2", "--resize", "6x5")
    assert isthmus.load("m.isthmus").format_.spec.shape == (1, 6, 5)
    for data, size in ((here / "pictures", "6"), (here / "digits.npy", "6x5")):
        done = run("fit", data, "-o", "n.isthmus", "--model", "pca", "--resize", size)
        assert (done.code, "--resize" in done.err) == (2, True)


def test_key(run: Run, here: Path) -> None:
    done = run("encode", here / "digits.isthmus", here / "both.npz", "-o", "z.npy")
    assert (done.code, "holds 2 arrays: train, test. Choose one: --key train" in done.err) == (2, True)
    assert run("encode", here / "digits.isthmus", here / "both.npz", "--key", "test", "-o", "z.npy").code == 0
    assert len(np.load("z.npy")) == 100


def test_labels(run: Run, here: Path) -> None:
    done = run("evaluate", here / "digits.isthmus", here / "digits.npy", "--labels", here / "labels.npy", "--json")
    assert json.loads(done.out)["rows"][0]["knn_accuracy"] > 0.6
    done = run(
        "fit", here / "digits.npy", "-o", "m.isthmus", "--model", "pca", "--labels", here / "labels.npy", "--json"
    )
    assert json.loads(done.out)["rows"][0]["knn_accuracy"] > 0.6  # a tenth would be chance: they go with their items
    np.save("few.npy", np.zeros(3))
    done = run("evaluate", here / "digits.isthmus", here / "digits.npy", "--labels", "few.npy")
    assert (done.code, "few.npy does not hold one label for each of the 300 items" in done.err) == (1, True)


# --- Settings -------------------------------------------------------------------------------------------------------


def test_a_network_with_settings(run: Run, here: Path) -> None:
    options = ["--latent", "4", "--ordered", "--size", "small", "--likelihood", "gaussian", "--seed", "3", "--json"]
    more = ["--set", "epochs=2", "--set", "network=[16,8]", "--set", 'corruption=["gaussian",0.1]']
    done = run("fit", here / "table.csv", "-o", "m.isthmus", *options, *more)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["model"], told["latents"], told["output"]) == ("autoencoder", 4, "m.isthmus")
    assert {row["model"] for row in told["rows"]} >= {"untrained", "the mean", "PCA of the same size"}
    model = isthmus.load("m.isthmus")
    expected = {"epochs": 2, "network": (16, 8), "corruption": ("gaussian", 0.1), "ordered": True, "size": "small"}
    assert model.get_params() | expected | {"random_state": 3} == model.get_params()


def test_a_vae_and_a_budget(run: Run, here: Path) -> None:
    done = run("fit", here / "table.csv", "-o", "m.isthmus", "--model", "vae", "--latent", "2", "--budget", "0.5s")
    assert done.code == 0, done.err
    assert isthmus.load("m.isthmus").history_["ended"] in ("budget", "early")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "table.csv", "--model", "pca", "-o", "table.csv"),
        ("fit", "table.csv", "--model", "pca", "--labels", "labels.npy", "-o", "labels.npy"),
        ("encode", "digits.isthmus", "digits.npy", "-o", "digits.npy"),
        ("encode", "digits.isthmus", "digits.npy", "-o", "digits.isthmus"),
        ("reconstruct", "digits.isthmus", "digits.npy", "-o", "./digits.npy"),
    ],
)
def test_nothing_that_is_read_is_written_over(run: Run, here: Path, arguments: tuple[str, ...]) -> None:
    for path in here.iterdir():
        if path.is_file():
            shutil.copy(path, path.name)
    before = {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    done = run(*arguments)
    assert (done.code, "is what is read, and would be lost" in done.err) == (2, True)
    assert {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


@pytest.mark.parametrize("text", ['["topk", 1]', '("topk", 1)', "('topk', 1)"])
def test_a_setting_as_json_or_as_python_writes_it(run: Run, here: Path, text: str) -> None:
    done = run("fit", here / "table.csv", "-o", "m.isthmus", "--set", f"sparsity={text}", "--set", "epochs=1")
    assert done.code == 0, done.err
    assert tuple(isthmus.load("m.isthmus").sparsity) == ("topk", 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_standard_output(here: Path) -> None:
    command = f"{sys.executable} -m isthmus encode {here / 'digits.isthmus'} {here / 'digits.npy'} > /dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "isthmus: cannot write to standard output: No space left on device\n")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--latent", "0"], 2, "--latent 0: expected a whole number from 1"),
        (["--latent", "-1"], 2, "'-1' is neither a whole number nor auto"),
        (["--latent", "many"], 2, "'many' is neither a whole number nor auto"),
        (["--model", "gan"], 2, "'gan' is not one of"),
        (
            ["--model", "pca", "--budget", "5s"],
            2,
            "PCA has no setting budget; it has format, latent_dim, prior, whiten",
        ),
        (["--set", "betta=4"], 2, "Autoencoder has no setting betta; it has"),
        (["--set", "beta"], 2, "'beta' is not of the form NAME=VALUE"),
        (["--model", "pca", "--epochs", "5"], 2, "PCA has no setting epochs; it has format"),
        (["--epochs", "0"], 2, "0 is not in the range"),
        (["--budget", "soon"], 2, "'soon'"),
        (["--likelihood", "magic"], 2, "likelihood='magic' is unknown"),
        (["--seed", "-1"], 2, "-1 is not in the range"),
        (["--format", "series", "--set", "epochs=0"], 2, "epochs=0: expected a whole number from 1"),
        (["--key", "a"], 2, "leave the key out"),
    ],
)
def test_settings_that_are_wrong(run: Run, here: Path, options: list[str], code: int, message: str) -> None:
    done = run("fit", here / "table.csv", "-o", "m.isthmus", *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not Path("m.isthmus").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no/m.isthmus", "there is no folder .*no. Make it first: mkdir -p"),
        ("here/", "is a folder, or the name of one"),
        ("-", "is not the name of a file"),
    ],
)
def test_a_place_that_is_wrong_is_said_before_training(run: Run, here: Path, place: str, message: str) -> None:
    Path("here").mkdir()
    Path("nothing.npy").touch()  # reading it would be an error, too
    done = run("fit", "nothing.npy", "-o", place)
    assert done.code == 1
    assert re.search(message, done.err)


def test_bad_rows_have_the_number_of_the_file(run: Run) -> None:
    X = np.random.default_rng(0).normal(size=(50, 3))
    X[37, 1] = np.nan
    np.save("x.npy", X)
    done = run("fit", "x.npy", "-o", "m.isthmus", "--model", "pca")
    assert done.code == 1
    assert "NaN in column 1 (first in row 37)" in done.err


@pytest.mark.parametrize("array", [np.zeros(()), np.zeros((0, 3)), np.zeros(5), np.zeros((2, 2, 2, 2, 2))])
def test_arrays_that_are_no_items(run: Run, array: np.ndarray) -> None:
    np.save("x.npy", array)
    done = run("fit", "x.npy", "-o", "m.isthmus", "--model", "pca")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("isthmus: ")
    assert done.err.count("\n") == 1


# --- Results and streams --------------------------------------------------------------------------------------------


def test_sample_is_the_same_for_the_same_seed_and_names_its_prior(run: Run, here: Path) -> None:
    done = run("sample", here / "digits.isthmus", "-n", "5", "--seed", "2", "-o", "a.npy", "--json")
    told = json.loads(done.out)
    assert told["shape"] == [5, 8, 8]
    assert told["prior"] in done.err
    run("sample", here / "digits.isthmus", "-n", "5", "--seed", "2", "-o", "b.npy")
    run("sample", here / "digits.isthmus", "-n", "5", "--seed", "3", "-o", "c.npy")
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))
    assert not np.array_equal(np.load("a.npy"), np.load("c.npy"))


def test_info(run: Run, here: Path) -> None:
    done = run("info", here / "digits.isthmus")
    assert done.code == 0
    assert "PCA, 8 latents" in done.out
    assert "items given as held out" in done.out
    told = json.loads(run("info", here / "digits.isthmus", "--json").out)
    assert told["hash"] in done.out
    assert told["model"] == "pca"
    assert told["format"]["word"] == "image"


def test_json_and_the_result_do_not_share_standard_output(run: Run, here: Path) -> None:
    done = run("encode", here / "digits.isthmus", here / "digits.npy", "--json")
    assert (done.code, done.out) == (2, "")
    assert "name a file with -o" in done.err


def test_json_holds_no_nan(run: Run) -> None:
    assert console.plain({"a": [float("nan"), np.float64("inf"), np.int64(3), True, None, "x"]}) == {
        "a": [None, None, 3, True, None, "x"]
    }


@pytest.mark.parametrize("command", ["encode", "decode", "reconstruct", "sample", "evaluate", "info"])
def test_what_is_no_model(run: Run, here: Path, command: str) -> None:
    data = [] if command in ("sample", "info") else [here / "digits.npy"]
    done = run(command, "nothing.isthmus", *data)
    assert (done.code, "nothing.isthmus" in done.err) == (1, True)
    done = run(command, here / "digits.npy", *data)
    assert (done.code, "Traceback" in done.err) == (1, False)


def test_notes_are_lines_for_people(run: Run, here: Path) -> None:
    done = run("fit", here / "table.csv", "-o", "m.isthmus", "--latent", "4", "--set", "epochs=1")
    assert "isthmus: note: --latent 4 is not below the 4 elements" in done.err
    assert "IsthmusWarning" not in done.err


def test_one_standard_input(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((here / "table.csv").read_bytes())))
    done = run("evaluate", here / "table.isthmus", "-", "--train", "-")
    assert (done.code, "standard input cannot be both DATA and --train" in done.err) == (2, True)


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("isthmus.store.read", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", str(here / "digits.isthmus")])


# --- As a process ---------------------------------------------------------------------------------------------------


def process(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "isthmus", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT, timeout=120, check=False)


def test_streams(here: Path) -> None:
    done = process("encode", here / "table.isthmus", "-", stdin=(here / "table.csv").read_bytes())
    assert done.returncode == 0, done.stderr
    codes = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    assert np.array_equal(codes, isthmus.load(here / "table.isthmus").encode(read(here / "table.csv")))


@pytest.mark.parametrize("arguments", [["info"], ["sample", "-n", "1000"]], ids=["text", "array"])
def test_a_reader_that_has_gone(here: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "isthmus", *arguments, here / "digits.isthmus"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command, stdout=write_end, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=120, check=False
    )
    os.close(write_end)
    assert done.returncode == 1
    assert "BrokenPipe" not in done.stderr


@pytest.fixture
def training(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A fit that would go on for ten minutes."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32))
    command = [sys.executable, "-m", "isthmus", "fit", "x.npy", "-o", "m.isthmus", "--latent", "2", "--budget", "10m"]
    command += ["--set", "checkpoint=run.checkpoint"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        yield running
        running.kill()


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_so_far(training: subprocess.Popen[str], tmp_path: Path) -> None:
    time.sleep(15)  # long enough to be in training on a slow machine
    training.send_signal(signal.SIGINT)
    out, err = training.communicate(timeout=120)
    assert training.returncode == 130, err
    assert "interrupted" in err
    assert "Autoencoder(2)" in out
    assert isthmus.load(tmp_path / "m.isthmus").history_["ended"] == "interrupted"


def test_ctrl_c_before_training(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.formats.files.read", interrupted)
    done = run("fit", here / "digits.npy", "-o", "m.isthmus")
    assert (done.code, done.err.strip(), done.out) == (130, "isthmus: stopped", "")
    assert not list(Path().iterdir())


def test_one_item_is_learned_and_not_measured(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(12, dtype=np.float32)[None])
    done = run("fit", "one.npy", "-o", "one.isthmus", "--model", "pca")
    assert done.code == 0
    assert "nothing to measure" in done.out
    assert run("info", "one.isthmus").code == 0


def test_the_file_learned_from_is_known_again(run: Run, here: Path) -> None:
    fitted = run("fit", here / "digits.npy", "-o", "known.isthmus", "--model", "pca", "--json")
    again = run("evaluate", "known.isthmus", here / "digits.npy", "--json")
    assert "30 of 300 items that training held out" in json.loads(again.out)["protocol"]
    assert json.loads(again.out)["rows"][0]["squared_error"] == json.loads(fitted.out)["rows"][0]["squared_error"]
