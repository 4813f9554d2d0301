"""Arithmetic with codes: the language, sums of items, directions and their worth, templates."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from click.testing import CliRunner

import isthmus as im
from isthmus.commands.arithmetic import arithmetic as command
from isthmus.errors import DataError, FormatError, SettingError
from isthmus.verbs.arithmetic import analogy, arithmetic, average, concept, drags, nearest, templates
from isthmus.verbs.expressions import quoted, weights_of
from isthmus.verbs.search import index

X, Y = im.datasets.digits(labels=True)


@pytest.fixture(scope="module")
def model() -> Any:
    return im.PCA(16).fit(X)


@pytest.fixture(scope="module")
def exact() -> Any:
    """Codes that are the items but for a rotation: sums of items are known."""
    return im.PCA(5).fit(np.random.default_rng(0).standard_normal((200, 5)))


# --- The language -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "weights"),
    [
        ("king - man + woman", {"king": 1, "man": -1, "woman": 1}),
        ("2 * a / 4 - -b", {"a": 0.5, "b": 1}),
        ("(a + b) / 2", {"a": 0.5, "b": 0.5}),
        ("average(a, b, 2 * c) * 3", {"a": 1, "b": 1, "c": 2}),
        ("a + a - a", {"a": 1}),
        ("a - a + b", {"a": 0, "b": 1}),
        ("average + a", {"average": 1, "a": 1}),
        ("\"New York\" - 'it''s'", None),
        ("\"New York\" - 'it\\'s'", {"New York": 1, "it's": -1}),
        ("a.png − b_2", {"a.png": 1, "b_2": -1}),
        ("naïve × 2", {"naïve": 2}),
        ("(1 + 2) * a", {"a": 3}),
        ("1e2*a", {"a": 100}),
    ],
)
def test_sums(expression: str, weights: dict[str, float] | None) -> None:
    if weights is None:
        with pytest.raises(DataError, match="cannot be read"):
            weights_of(expression)
    else:
        assert weights_of(expression) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("expression", "match"),
    [
        ("", "it ends where a name or a number was expected"),
        ("a +", "it ends where"),
        ("a b", "'b' stands at character 3 where an operator or the end was expected .*in quotes"),
        ("(a", "a closing parenthesis was expected"),
        ("a * b", "items are multiplied with numbers alone"),
        ("a / b", "items are divided by numbers alone"),
        ("1 / a", "divided by numbers alone"),
        ("a / 0", "divides by zero"),
        ("a + 1", "adds a number to an item"),
        ("1 + 2", "is a number: name at least one item"),
        ("__import__('os').system('x')", "cannot be read"),
        ("a ** 2", "cannot be read"),
        ("a; b", "';' stands at character 2"),
        ("9e999 * a", "number that is too large"),
        ("(" * 1000 + "a", "nested deeper than 50 levels"),
        ("-" * 1000 + "a", "nested deeper than 50 levels"),
        ("a" * 20_000, "at most 10000 are read"),
        ("3.png", "cannot be read"),
    ],
)
def test_expressions_that_are_refused(expression: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        weights_of(expression)


@hypothesis.given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert weights_of(text)
    except DataError:
        pass


@hypothesis.given(st.text(min_size=1, max_size=10), st.text(min_size=1, max_size=10))
def test_any_name_can_be_quoted(one: str, other: str) -> None:
    hypothesis.assume(one != other and "average" not in (one, other))
    assert weights_of(f"{quoted(one)} - {quoted(other)}") == {one: 1, other: -1}


# --- Sums of items ----------------------------------------------------------------------------------------------------


def test_a_sum_of_rows_is_known_where_codes_are_exact(exact: Any) -> None:
    items = np.random.default_rng(1).standard_normal((4, 5))
    items[3] = items[0] - items[1] + items[2] + 0.01
    found = arithmetic(exact, "a - b + c", items, ["a", "b", "c", "d"])
    assert found.item == pytest.approx(items[:1] - items[1:2] + items[2:3], abs=1e-5)
    assert found.code == pytest.approx(exact.encode(found.item)[0], abs=1e-5)
    assert found.nearest.names == ["d"]
    assert found.nearest.distances == pytest.approx([0.01 * np.sqrt(5)], abs=1e-4)


def test_a_mapping_an_index_and_codes_say_the_same(model: Any) -> None:
    names = ["a", "b b", "c", "d", "e"]
    expression = "a - 'b b' + 0.5 * c"
    whole = arithmetic(model, expression, X[:5], names)
    by_name = arithmetic(model, expression, {name: X[row] for row, name in enumerate(names)})  # one item, no axis
    by_code = arithmetic(model, expression, dict(zip(names, model.encode(X[:5]), strict=True)), codes=True)
    with index(model, X[:5], names=names) as held:
        by_index = arithmetic(model, expression, held)
    for other in (by_name, by_code, by_index):
        assert (other.code == whole.code).all()
        assert (other.item == whole.item).all()
        assert other.nearest.names == whole.nearest.names
    assert whole.nearest.names is not None
    assert sorted(whole.nearest.names) == ["d", "e"]


def test_several_items_of_a_name_are_averaged(model: Any) -> None:
    found = arithmetic(model, "three", {"three": X[Y == 3]})
    assert found.item == pytest.approx(average(model, X[Y == 3]), abs=1)
    assert found.nearest.rows.size == 0
    assert found.code == pytest.approx(model.encode(X[Y == 3]).mean(0), abs=1e-5)


def test_an_analogy_is_the_sum(model: Any) -> None:
    names = ["man", "king 1", "woman", "x", "y"]
    one = analogy(model, "man", "king 1", "woman", X[:5], names, k=2)
    two = arithmetic(model, '"king 1" - man + woman', X[:5], names, k=2)
    assert (one.code == two.code).all()
    assert one.nearest.names == two.nearest.names


def test_average_and_nearest(exact: Any) -> None:
    items = np.random.default_rng(1).standard_normal((6, 5))
    assert average(exact, items) == pytest.approx(items.mean(0, keepdims=True), abs=1e-5)
    assert average(exact, items, [0, 0, 2, 0, 0, 0]) == pytest.approx(items[2:3], abs=1e-5)
    assert nearest(exact, items[2:4], items, 1).rows.tolist() == [[2], [3]]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m: arithmetic(m, "a - bb", {"a": X[0], "b": X[1]}), DataError, "no item 'bb'; did you mean 'b'"),
        (lambda m: arithmetic(m, "a", {"a": X[:2, :3]}), FormatError, "item 'a': images of shape"),
        (lambda m: arithmetic(m, "a", {}), DataError, "the mapping is empty"),
        (lambda m: arithmetic(m, "a", X[:2]), DataError, "items need names"),
        (lambda m: arithmetic(m, "a", X[:2], ["a"]), DataError, "1 names given for 2 items"),
        (lambda m: arithmetic(m, "a", X[:2], ["a", "b"], k=2), DataError, "k=2 neighbours asked for"),
        (lambda m: arithmetic(m, "a", {"a": np.zeros(3)}, codes=True), DataError, "item 'a': codes of shape"),
        (lambda m: average(m, X[:3], [1, -1, 0]), DataError, "of sum not 0"),
        (lambda m: concept(m, X[:5], X[:1]), DataError, "the negative group holds 1 item"),
        (lambda m: concept(m, X[:5], X[:5], seed=-1), SettingError, "seed=-1"),
        (lambda m: templates(m, X[:5], Y[:4]), DataError, r"labels of shape \(4,\) given for 5 items"),
    ],
)
def test_what_is_refused(model: Any, call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(model)


# --- Concepts ---------------------------------------------------------------------------------------------------------


def test_a_concept_is_the_difference_of_means_and_tells_unseen_items_apart(model: Any) -> None:
    Z = model.encode(X)
    found = concept(model, X[Y == 8], X[Y == 3])
    assert found.direction == pytest.approx(Z[Y == 8].mean(0) - Z[Y == 3].mean(0), abs=1e-5)
    assert found.score(Z[Y == 8]).mean() == pytest.approx(1, abs=1e-4)
    assert found.score(Z[Y == 3]).mean() == pytest.approx(-1, abs=1e-4)
    assert found.accuracy > 0.9
    assert found.p == pytest.approx(0.005)
    assert 0.4 < found.chance < 0.6
    assert 0.005 < found.standard_error < 0.02
    assert found.verdict.startswith("The direction tells held-out items apart with accuracy 0.9")
    again = concept(model, Z[Y == 8], Z[Y == 3], codes=True)
    assert again[1:] == pytest.approx(found[1:])


def test_groups_of_one_kind_give_a_direction_and_no_accuracy(model: Any) -> None:
    """In 64 dimensions 30 items can always be told apart, if they are the ones that the direction was made of."""
    threes = X[Y == 3]
    ps, seen, unseen = [], [], []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(threes))[:60]
        found = concept(model, threes[order[:30]], threes[order[30:]], seed=seed)
        seen.append(np.mean((found.score(model.encode(threes[order])) > 0) == (np.arange(60) < 30)))
        unseen.append(found.accuracy)
        ps.append(found.p)
    assert np.mean(seen) > 0.62
    assert np.mean(unseen) < 0.56
    assert np.mean(np.array(ps) < 0.05) <= 1 / 6
    assert found.verdict.startswith("Nothing to build on")


def test_an_untrained_model_has_no_concept_that_the_trained_one_has() -> None:
    random = np.random.default_rng(0)
    sign = np.repeat([1.0, -1.0], 100)
    items = np.outer(sign, np.ones(20)) * 3 + random.standard_normal((200, 20))
    items[:, 1:] += random.standard_normal((200, 1)) * 0.1
    model = im.PCA(2).fit(items)
    assert concept(model, items[:100], items[100:]).accuracy > 0.99
    shuffled = random.permutation(200)  # groups that the items know nothing of
    assert concept(model, items[shuffled[:100]], items[shuffled[100:]]).accuracy < 0.65


def test_an_untrained_decoder_follows_no_direction() -> None:
    """The encoder of an untrained network tells digits apart, as any projection does; its decoder knows none."""
    model = im.Autoencoder(8, network="mlp", size="small", epochs=12, verbose=False).fit(X)
    eight = concept(model, X[Y == 8], X[Y == 3])
    assert drags(model, eight, {"self": eight}, X)["self"]["dragged"] > 0.3
    bare = model.untrained()
    eight = concept(bare, X[Y == 8], X[Y == 3])
    assert eight.accuracy > 0.8
    assert abs(drags(bare, eight, {"self": eight}, X)["self"]["dragged"]) < 0.1


def test_few_items_are_said_to_be_too_few(model: Any) -> None:
    found = concept(model, X[Y == 8][:2], X[Y == 3][:2])
    assert found.p > 0.05
    assert "too few items" in found.verdict


def test_drags_on_a_concept_itself_on_a_bound_one_and_on_a_free_one() -> None:
    random = np.random.default_rng(0)
    a, free = random.integers(0, 2, (2, 1000)) * 2.0 - 1
    bound = np.where(random.random(1000) < 0.9, a, -a)
    items = np.stack([a * 2, bound * 2, free * 2], axis=1) + random.standard_normal((1000, 3)) * 0.3
    model = im.PCA(3).fit(items)
    made = {name: concept(model, items[sign > 0], items[sign < 0])
            for name, sign in (("self", a), ("bound", bound), ("free", free))}  # fmt: skip
    found = drags(model, made["self"], made, items)
    assert found["self"] == pytest.approx({"cosine": 1, "correlation": 1, "dragged": 1}, abs=1e-3)
    assert found["bound"]["correlation"] > 0.9
    assert 0.8 < found["bound"]["dragged"] < 1.1
    assert max(abs(value) for value in found["free"].values()) < 0.15


# --- Templates --------------------------------------------------------------------------------------------------------


def test_templates_of_a_linear_model_are_averages_and_its_zero_the_mean(model: Any) -> None:
    found = templates(model, X, Y)
    assert found.classes.tolist() == list(range(10))
    assert found.averages.shape == (10, 8, 8)
    assert np.abs(found.zero[0] - X.mean(0)).max() <= 0.5
    assert (found.prior == found.zero).all()
    assert found.bias.shape == (1, 8, 8)
    nothing = model.reconstruct(np.zeros((1, 8, 8), np.uint8))
    assert (found.bias == nothing).all()


def test_templates_of_codes_that_lose_nothing_are_the_averages_of_the_classes(exact: Any) -> None:
    items = np.random.default_rng(1).standard_normal((40, 5))
    found = templates(exact, items, np.repeat(["b", "a"], 20))
    assert found.classes.tolist() == ["a", "b"]
    assert found.averages == pytest.approx(np.stack([items[20:].mean(0), items[:20].mean(0)]), abs=1e-5)
    assert found.zero == pytest.approx(exact.mean_[None], abs=1e-5)


def test_templates_with_a_mixture_prior_and_of_a_table_with_holes() -> None:
    import pandas

    random = np.random.default_rng(0)
    kind = random.choice(["x", "y"], 120)
    frame = pandas.DataFrame({"a": random.standard_normal(120) + (kind == "x") * 3, "kind": kind})
    frame["b"], frame["c"] = random.standard_normal((2, 120))
    frame.loc[::7, "a"] = None
    for model in (im.PCA(2).fit(frame), im.Autoencoder(2, epochs=2, verbose=False).fit(frame)):
        found = templates(model, frame, kind)
        assert [len(part) for part in found[1:]] == [2, 1, 1, 1]
        assert not found.bias.isna().any().any()
        made = arithmetic(model, "average(x, y)", {"x": frame[kind == "x"], "y": frame[kind == "y"]})
        assert list(made.item.columns) == ["a", "kind", "b", "c"]
        assert concept(model, frame[kind == "x"], frame[kind == "y"]).accuracy > 0.9


# --- The command, and words -------------------------------------------------------------------------------------------


def test_from_the_command_line(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.isthmus")
    index(model, X[:9], tmp_path / "x.index", names=list("abcdefghi")).close()
    out = tmp_path / "sum.npy"
    files = [str(tmp_path / name) for name in ("m.isthmus", "x.index")]
    given = [*files, "a - b + c", "-o", str(out), "-k", "2", "--json"]
    done = CliRunner().invoke(command, given, catch_exceptions=False)
    told = json.loads(done.stdout)
    wanted = arithmetic(model, "a - b + c", X[:9], list("abcdefghi"), k=2)
    assert [one["name"] for one in told["nearest"]] == wanted.nearest.names
    assert (np.load(out, allow_pickle=False) == wanted.item).all()


WORDS = Path(os.environ.get("ISTHMUS_DATA", "")) / "words" / "glove6b_50d_top25k_f16.npz"


@pytest.mark.slow
@pytest.mark.skipif(not WORDS.is_file(), reason="no word vectors in ISTHMUS_DATA")
def test_king_minus_man_plus_woman() -> None:
    with np.load(WORDS, allow_pickle=False) as file:
        vectors = file["vectors"].astype(np.float32)
        words = file["words_utf8"].tobytes().decode().split("\n")[: len(vectors)]
    model = im.PCA(50).fit(vectors)  # a rotation
    with index(model, vectors, names=words, metric="cosine", recall=1) as held:
        found = arithmetic(model, "king - man + woman", held)
        assert found.nearest.names is not None
        assert found.nearest.names[0] == "queen"
        assert arithmetic(model, "paris - france + japan", held, k=1).nearest.names == ["tokyo"]
