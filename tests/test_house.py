"""What no linter knows: the public list, a fast start, and the manners of the house."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import isthmus

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("isthmus", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
TEXTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
TEXTS += sorted((ROOT / "docs").rglob("*.md"))
HEAVY = {"PIL", "matplotlib", "numpy", "pooch", "pyarrow", "rich", "safetensors", "scipy", "sklearn", "torch"}

PUBLIC = [
    "AnomalyDetector",
    "Autoencoder",
    "PCA",
    "VAE",
    "__version__",
    "analogy",
    "anomaly_scores",
    "arithmetic",
    "augment",
    "average",
    "clusters",
    "compare",
    "compare_codes",
    "concept",
    "contributions",
    "datasets",
    "decoded_grid",
    "denoise",
    "detect",
    "disentanglement",
    "drags",
    "errors",
    "evaluate",
    "explore",
    "format_of",
    "formats",
    "generation_report",
    "impute",
    "index",
    "interpolate",
    "label",
    "latents",
    "layers",
    "likelihoods",
    "load",
    "nearest",
    "plots",
    "priors",
    "report",
    "sample",
    "search",
    "stream",
    "superresolve",
    "templates",
    "traverse",
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- The public list ------------------------------------------------------------------------------------------------


def test_the_public_list_is_exact() -> None:
    assert sorted(isthmus.__all__) == PUBLIC == dir(isthmus)
    hidden = {"annotations", "os", "sys", "import_module", "ModuleType", "TYPE_CHECKING", "Any"}
    loaded = {name for name in vars(isthmus) if not name.startswith("_")} - hidden
    modules = {name for name in loaded if isinstance(vars(isthmus)[name], types.ModuleType)}
    assert loaded - modules <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(isthmus, name)
    assert value is getattr(isthmus, name)
    assert isinstance(value, str) or (value.__doc__ and len(value.__doc__.split()) > 3), f"{name} has no docstring"
    assert f"isthmus.{name}" in (ROOT / "docs" / "api.md").read_text(), f"{name} is missing in docs/api.md"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(
        AttributeError, match="module 'isthmus' has no attribute 'Pca'; it has AnomalyDetector, Autoencoder, PCA"
    ):
        isthmus.Pca  # noqa: B018


@pytest.mark.parametrize("first", ["import isthmus.evaluate", "from isthmus.evaluate import compare", "pass"])
def test_evaluate_is_the_function_whatever_was_imported_before(first: str) -> None:
    run(f"import isthmus\n{first}\nassert callable(isthmus.evaluate) and callable(isthmus.compare)")


def test_editors_and_type_checkers_see_the_same_list() -> None:
    tree = ast.parse((ROOT / "isthmus" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == set(PUBLIC)


# --- A fast start ---------------------------------------------------------------------------------------------------


def run(code: str, *arguments: str) -> str:
    """What a fresh Python prints for the code."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import isthmus",
        "import isthmus; isthmus.errors; dir(isthmus)",
        "import isthmus.cli",
        "from isthmus.cli import cli; cli(['--help'], standalone_mode=False)",
        "from isthmus.cli import cli; cli(['fit', '--help'], standalone_mode=False)",
    ],
)
def test_nothing_heavy_at_the_start(code: str) -> None:
    loaded = set(run(f"{code}\nimport sys; print('\\n' + ' '.join(sys.modules))").splitlines()[-1].split())
    assert not loaded & HEAVY


# --- Manners --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CODE, ids=name_of)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600


def test_names_of_files_say_something() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff", "base_utils"}
    assert not [name_of(path) for path in CODE if path.stem in empty or path.parent.name in empty]


UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK|WI" + r"P)\b")


@pytest.mark.parametrize("path", CODE + TEXTS, ids=name_of)
def test_nothing_is_left_unfinished(path: Path) -> None:
    found = [f"{i}: {line}" for i, line in enumerate(path.read_text().splitlines(), 1) if UNFINISHED.search(line)]
    assert not found


@pytest.mark.parametrize("path", CODE + TEXTS, ids=name_of)
def test_no_place_of_one_machine(path: Path) -> None:
    assert not re.search(r"/(home|root|Users|work)/\w", path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with its function as it is written: "np.load"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def pickle_doors(source: str) -> list[str]:
    """Calls that could load a pickle through NumPy: np.load without allow_pickle=False, allow_pickle=True anywhere."""
    found = []
    for call, name in calls(ast.parse(source)):
        allowed = {word.arg: ast.unparse(word.value) for word in call.keywords}.get("allow_pickle")
        loads = name in ("np.load", "numpy.load", "np.lib.format.read_array", "numpy.lib.format.read_array")
        if (loads and allowed != "False") or (allowed not in (None, "False") and not name.endswith("save")):
            found.append(f"line {call.lineno}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize("path", [path for path in CODE if "tests" not in path.parts], ids=name_of)
def test_numpy_loads_no_pickle(path: Path) -> None:
    assert not pickle_doors(path.read_text())


def test_that_test_can_fail() -> None:
    for bad in ("np.load(p)", "np.load(p, allow_pickle=True)", "load(p, allow_pickle=yes)", "numpy.load(p, 'r')"):
        assert pickle_doors(bad), bad
    assert not pickle_doors("np.load(p, allow_pickle=False); json.load(p)")


# --- The project's own files ----------------------------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split())  # type: ignore[index]


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"(?:^ *|`)make (?:PYTHON=\S+ )?([a-z]+)", path.read_text(), re.M))
    assert named <= targets()


def test_every_make_target_is_documented() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert not [target for target in targets() if f"`make {target}`" not in text]


def test_constraints_pin_every_dependency() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [want for some in (project["dependencies"], *project["optional-dependencies"].values()) for want in some]
    names = {re.split(r"[\[<>=~! ]", want)[0].lower() for want in wanted} - {"isthmus"}
    assert names <= pinned


def test_add_a_model_takes_at_most_eight_steps() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a model")[1].split("\n## ")[0]
    assert 1 <= len(re.findall(r"^\d+\. ", section, re.M)) <= 8


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_decisions_are_short_and_weigh_alternatives(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    assert "## Alternatives" in text
    assert "## Consequences" in text
