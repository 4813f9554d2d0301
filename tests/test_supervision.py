"""Labels that shape the map: what is told from codes, by models that learned labels, and by those that did not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from isthmus import datasets
from isthmus.errors import DamagedFileError, DataError, NotSupported, SettingError, TrainingError
from isthmus.formats import VectorFormat
from isthmus.formats.labels import Target, coded_labels, target_of
from isthmus.formats.streams import stream
from isthmus.models import load
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.pca import PCA
from isthmus.models.vae import VAE
from isthmus.training import engine
from isthmus.training.supervision import jittered
from isthmus.verbs.generate import sample

DIGITS, TRUTH = datasets.digits(labels=True)
X, HELD, T_X, T_HELD = DIGITS[:600], DIGITS[600:900], TRUTH[:600], TRUTH[600:900]
QUICK: dict[str, Any] = {"network": (64,), "verbose": False, "device": "cpu"}


def few(truth: np.ndarray, each: int, seed: int = 0) -> np.ndarray:
    """Labels of so many items of each class, -1 elsewhere."""
    random = np.random.default_rng(seed)
    y = np.full(len(truth), -1)
    for name in np.unique(truth):
        y[random.choice(np.flatnonzero(truth == name), each, replace=False)] = name
    return y


@pytest.fixture(scope="module", params=[Autoencoder, VAE])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def model(kind: Any) -> Any:
    """Learned from 600 digits, of which 100 have a label."""
    return kind(8, epochs=25, **QUICK).fit(X, few(T_X, 10))


# --- What labels bring ----------------------------------------------------------------------------------------------


def test_labels_are_told_and_an_untrained_model_cannot(model: Any) -> None:
    told = model.predict(HELD)
    assert told.dtype == np.int64
    assert (told == T_HELD).mean() > 0.7
    assert (model.untrained().predict(HELD) == T_HELD).mean() < 0.4
    chances = model.predict_proba(HELD)
    assert chances.shape == (300, 10)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert_array_equal(model.classes_[chances.argmax(1)], told)
    assert_array_equal(model.classes_, np.arange(10))
    right = chances.max(1)[told == T_HELD].mean()
    assert right > chances.max(1)[told != T_HELD].mean()


def faint_marks(n: int = 500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two strong directions that say nothing, a faint mark of two kinds, and a faint number."""
    random = np.random.default_rng(0)
    strong = random.standard_normal((n, 2)) @ random.standard_normal((2, 8)) * 3
    mark, number = random.integers(0, 2, n), random.standard_normal(n)
    faint = np.column_stack([0.3 * mark + 0.02 * random.standard_normal(n), 0.3 * number])
    return np.column_stack([strong, faint]), np.array(["red", "blue"])[mark], number


def probe(model: Any, items: np.ndarray, truth: np.ndarray) -> float:
    reader = LogisticRegression().fit(model.encode(items[:400]), truth[:400])
    return float(reader.score(model.encode(items[400:]), truth[400:]))


def test_labels_shape_the_map_and_items_come_back_all_the_same(kind: Any) -> None:
    items, mark, _ = faint_marks()
    y = np.where(np.arange(400) % 4, mark[:400], "")  # a quarter has none
    settings = QUICK | {"format": VectorFormat("centre"), "epochs": 15, "network": (32,)}
    plain, told = (kind(3, **settings).fit(items[:400], labels) for labels in (None, y))
    assert probe(plain, items, mark) < 0.8
    assert probe(told, items, mark) > 0.95
    assert (told.predict(items[400:]) == mark[400:]).mean() > 0.95
    errors = [np.square(m.reconstruct(items[400:]) - items[400:]).mean() for m in (plain, told)]
    assert errors[1] < errors[0] + 0.05 * items.var()


def test_items_without_a_label_help() -> None:
    """Three patches anywhere in a picture, four labels of each: with the other pictures and without them."""
    random, truth = np.random.default_rng(0), np.arange(400) % 3
    patches, items = random.integers(0, 256, (3, 6, 6)), np.zeros((400, 12, 12), np.uint8)
    for image, c in zip(items, truth, strict=True):
        top, left = random.integers(1, 6, 2)
        image[top : top + 6, left : left + 6] = patches[c]
    learn, y = items[:300], few(truth[:300], 4)
    alone = Autoencoder(8, epochs=100, shifts=2, **QUICK).fit(learn[y >= 0], y[y >= 0])
    together = Autoencoder(8, epochs=20, shifts=2, **QUICK).fit(learn, y)
    shares = [(m.predict(items[300:]) == truth[300:]).mean() for m in (alone, together)]
    assert shares[1] > shares[0] + 0.2


def test_attributes_that_items_lose_are_kept_where_they_are_asked_for() -> None:
    items, mark, number = faint_marks()
    settings = QUICK | {"format": VectorFormat("centre"), "epochs": 20, "network": (32,)}
    asked = Autoencoder(4, **settings).fit(items[:400], auxiliary={"colour": mark[:400], "number": number[:400]})
    assert probe(asked, items, mark) > 0.95
    told = asked.predict_auxiliary(items[400:])
    assert list(told) == ["colour", "number"]
    assert (told["colour"] == mark[400:]).mean() > 0.95
    assert np.corrcoef(told["number"], number[400:])[0, 1] > 0.9
    assert abs(told["number"].std() - number.std()) < 0.3  # in its own unit
    assert not hasattr(asked, "predict")


def test_a_number_is_predicted_in_its_own_unit() -> None:
    random = np.random.default_rng(0)
    items = random.standard_normal((500, 6))
    y = 100 + 20 * items[:, 0] + random.standard_normal(500)
    y[:100] = np.nan
    model = Autoencoder(3, epochs=25, **QUICK).fit(items[:400], y[:400])
    assert np.sqrt(np.square(model.predict(items[400:]) - y[400:]).mean()) < 0.5 * y[400:].std()
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "predict_proba")
    with pytest.raises(NotSupported, match="predict_proba needs a model that learned labels"):
        model.predict_proba(items)


@pytest.mark.parametrize("likely", [None, "series", "table"])
def test_every_form_of_items(kind: Any, likely: str | None) -> None:
    random = np.random.default_rng(0)
    truth = np.arange(200) % 3
    y = [None if i % 4 else "abc"[c] for i, c in enumerate(truth)]
    items: Any = np.eye(6)[truth] * 3 + random.standard_normal((200, 6))
    if likely == "series":
        items = np.sin(np.arange(32) * (truth[:, None] + 1) / 3) + 0.1 * random.standard_normal((200, 32))
    if likely == "table":
        items = pd.DataFrame({"a": truth * 3 + random.standard_normal(200), "b": np.array(list("xyz"))[truth]})
        items.loc[::7, "a"] = None
    network = {} if likely == "table" else {"network": (32,)}
    model = kind(3, format=likely, epochs=15, verbose=False, **network).fit(items, y)
    assert (model.predict(items) == np.array(list("abc"))[truth]).mean() > 0.85
    assert model.predict_proba(items).shape == (200, 3)
    assert len(sample(model, 4, label="b")) == 4


# --- Laws -----------------------------------------------------------------------------------------------------------


def test_without_labels_nothing_is_learned_of_them(kind: Any) -> None:
    """To the bit, whatever the settings for labels are."""
    plain = kind(4, epochs=2, **QUICK).fit(X)
    for other in (kind(4, epochs=2, supervision=0, **QUICK).fit(X, T_X), kind(4, epochs=2, shifts=2, **QUICK).fit(X)):
        assert_array_equal(other.encode(X), plain.encode(X))
        assert list(other.network_.state_dict()) == list(plain.network_.state_dict())
    for name in ("predict", "predict_proba", "classes_", "class_priors_"):
        assert not hasattr(plain, name)
    for call in (lambda: plain.predict(X), lambda: plain.predict_proba(X), lambda: plain.predict_auxiliary(X)):
        with pytest.raises(NotSupported, match="give them to fit"):
            call()
    with pytest.raises(DataError, match=r"fitted with labels, fit\(X, y\), needs label= alone"):
        sample(plain, 3, label=1)


def test_each_item_by_itself_and_in_any_order(model: Any) -> None:
    whole = model.predict_proba(HELD[:300])
    assert_array_equal(model.predict_proba(HELD[7:8])[0], whole[7])
    order = np.random.default_rng(0).permutation(300)
    assert_array_equal(model.predict_proba(HELD[order]), whole[order])


def test_a_refit_agrees_and_forgets(kind: Any, model: Any) -> None:
    before = torch.random.get_rng_state()
    one, again = (kind(8, epochs=2, **QUICK).fit(X, y) for y in (few(T_X, 10), few(T_X, 10).astype(float)))
    assert_array_equal(again.predict_proba(HELD), one.predict_proba(HELD))
    assert not hasattr(clone(model), "classes_")
    assert (torch.random.get_rng_state() == before).all()
    new = kind(8, epochs=2, **QUICK)
    again.fit(X)
    assert set(vars(again)) == set(vars(new.fit(X)))
    assert not hasattr(again, "predict")


def test_a_file_gives_the_same_model(model: Any, tmp_path: Path) -> None:
    path = model.save(tmp_path / "m.isthmus")
    back = load(path)
    assert_array_equal(back.predict_proba(HELD), model.predict_proba(HELD))
    assert_array_equal(back.predict(HELD), model.predict(HELD))
    assert_array_equal(back.classes_, model.classes_)
    assert_array_equal(sample(back, 3, label=[1, 2, 3]), sample(model, 3, label=[1, 2, 3]))
    assert set(vars(back)) == set(vars(model))
    assert back.save(tmp_path / "again.isthmus").read_bytes() == path.read_bytes()


def test_a_file_whose_parts_do_not_go_together_is_refused(model: Any, tmp_path: Path) -> None:
    from isthmus import store

    contents = store.read(model.save(tmp_path / "m.isthmus"))
    for change in (
        {"class_priors": []},
        {"targets": []},
        {"targets": [{"name": None, "classes": [1, 2], "mean": 0.0, "deviation": 1.0}]},
        {"targets": [{"name": None, "classes": ["one", 2, None], "mean": 0.0, "deviation": 1.0}]},
    ):
        changed = copy.deepcopy(contents.model)
        changed["learned"]["own"] |= change
        store.write(tmp_path / "x.isthmus", model=changed, format=contents.format, tensors=contents.tensors, card="")
        with pytest.raises(DamagedFileError):
            load(tmp_path / "x.isthmus")


def test_a_killed_run_goes_on_to_the_same(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"epochs": 4} | QUICK
    y = few(T_X, 5)
    whole = kind(4, **settings).fit(X, y)
    write, path = engine.checkpoint.write, tmp_path / "run"

    def killed(*given: Any, **more: Any) -> None:
        write(*given, **more)
        raise RuntimeError("killed")

    monkeypatch.setattr(engine.checkpoint, "write", killed)
    with pytest.raises(RuntimeError, match="killed"):
        kind(4, checkpoint=str(path), **settings).fit(X, y)
    monkeypatch.setattr(engine.checkpoint, "write", write)
    with pytest.raises(TrainingError, match="another run"):
        kind(4, checkpoint=str(path), **settings).fit(X, few(T_X, 5, seed=1))
    on = kind(4, checkpoint=str(path), **settings).fit(X, y)
    assert_array_equal(on.predict_proba(HELD), whole.predict_proba(HELD))


def test_ordered_codes_tell_labels_with_their_beginnings(kind: Any) -> None:
    model = kind(6, ordered=True, epochs=12, **QUICK).fit(X, T_X)
    shares = [(model.truncate(k).predict(HELD) == T_HELD).mean() for k in (1, 3, 6)]
    assert shares[0] < shares[2]
    assert shares[1] > 0.5
    assert sample(model.truncate(3), 2, label=4).shape == (2, 8, 8)


def test_in_a_pipeline_and_a_search() -> None:
    line = make_pipeline(Autoencoder(8, epochs=8, **QUICK), LogisticRegression(max_iter=1000))
    assert line.fit(X, T_X).score(HELD, T_HELD) > 0.75
    items, mark, _ = faint_marks()
    scores = cross_val_score(Autoencoder(3, epochs=10, **QUICK), items, mark, cv=2, scoring="accuracy")
    assert scores.min() > 0.9


# --- Items of a class -----------------------------------------------------------------------------------------------


def test_items_of_a_class_are_of_that_class(model: Any) -> None:
    judge = KNeighborsClassifier(3).fit(X.reshape(len(X), -1), T_X)
    wanted = np.repeat(np.arange(10), 20)
    made = sample(model, label=wanted, seed=3)
    assert made.dtype == np.uint8
    assert (judge.predict(made.reshape(200, -1)) == wanted).mean() > 0.6
    assert_array_equal(sample(model, 5, label=7, seed=1), sample(model, 5, label=7, seed=1))
    with pytest.raises(DataError, match="label=12: the model learned 0, 1, 2"):
        sample(model, 2, label=12)
    assert sample(model, 3, X=X, y=T_X, label=2).shape == (3, 8, 8)  # priors of others, as before


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(7), r"y: labels of shape \(7,\) given for 60 items"),
        (np.full(60, -1), "y: no item has a label"),
        ([None] * 60, "y: no item has a label"),
        (np.where(np.arange(60) < 5, 4, -1), "y: all labels are of one class, 4"),
        (["a", 1] * 30, "y: labels must be of one kind"),
        (np.arange(60) * 1j, "y: labels must be of one kind"),
        ([{"a": 1}] * 60, "y: labels must be of one kind"),
        (np.where(np.arange(60) < 5, np.inf, 0.5), "y: a value is infinite"),
        (np.full(60, 0.5), "y: 60 of the items have a number, and all the same"),
        (np.zeros((60, 2)), r"y: labels of shape \(60, 2\).* To leave labels aside.*supervision=0"),
    ],
)
def test_labels_that_do_not_do(kind: Any, y: Any, message: str) -> None:
    model = kind(2, epochs=1, **QUICK)
    with pytest.raises(DataError, match=message):
        model.fit(X[:60], y)
    assert not hasattr(model, "format_")


def test_auxiliaries_that_do_not_do(kind: Any) -> None:
    model = kind(2, epochs=1, **QUICK)
    for given, message in (
        ([1, 2], "auxiliary is a list; expected a dict"),
        ({3: T_X[:60]}, "auxiliary is a dict; expected a dict such as"),
        ({"colour": ["red"] * 60}, r"auxiliary\['colour'\]: all labels are of one class, 'red'"),
        ({"colour": ["red"] * 7}, r"auxiliary\['colour'\]: labels of shape \(7,\)"),
    ):
        with pytest.raises(DataError, match=message):
            model.fit(X[:60], auxiliary=given)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"supervision": -1}, "supervision=-1: expected a weight from 0"),
        ({"supervision": "much"}, "supervision='much'"),
        ({"supervision": np.inf}, "supervision=inf"),
        ({"shifts": 4}, "shifts=4: expected less than half of the shortest side, 8"),
        ({"shifts": -1}, "shifts=-1: expected a whole number"),
        ({"shifts": 1.5}, "shifts=1.5: expected a whole number"),
    ],
)
def test_settings_out_of_range(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(2, epochs=1, **(QUICK | settings)).fit(X[:60], T_X[:60])


def test_rows_that_are_streamed_and_modules_of_ones_own(kind: Any, tmp_path: Path) -> None:
    y = few(T_X, 10)
    streamed = kind(4, epochs=6, **QUICK).fit(stream([X[i : i + 100] for i in range(0, 600, 100)]), T_X)
    assert (streamed.predict(HELD) == T_HELD).mean() > 0.25
    widths = 3 * kind.codes
    own = (nn.Sequential(nn.Flatten(), nn.Linear(64, widths)), nn.Linear(3, 64))
    model = kind(3, epochs=1, **(QUICK | {"network": own})).fit(X, y)
    back = load(model.save(tmp_path / "own.isthmus"), network=own)
    assert_array_equal(back.predict(HELD), model.predict(HELD))


def test_two_items_do(kind: Any) -> None:
    assert kind(1, epochs=1, **QUICK).fit(X[:2], ["a", "b"]).predict(X[:2]).shape == (2,)


def test_vectors_cannot_be_moved(kind: Any) -> None:
    with pytest.raises(SettingError, match="only images and series can be moved, and these items are a vector"):
        kind(2, epochs=1, shifts=1, **QUICK).fit(X[:60].reshape(60, -1), T_X[:60])


def test_pca_learns_no_labels() -> None:
    model = PCA(2).fit(X, T_X)  # as scikit-learn's own
    assert not hasattr(model, "predict")


# --- What labels are ------------------------------------------------------------------------------------------------


def test_what_is_a_class_and_what_is_a_number() -> None:
    for values in ([1, 2, -1], [1.0, 2.0, np.nan], ["a", "b", ""], [True, False, None], [b"a", b"b", None]):
        target, coded = target_of(values, 3)
        assert target.classes is not None
        assert coded.tolist() == ([1, 0, -1] if values[0] is True else [0, 1, -1])
        assert Target.from_json(target.to_json()).classes.tolist() == target.classes.tolist()  # type: ignore[union-attr]
    assert target_of([1.0, 2.0, 3.0], 3)[0].classes is not None
    assert target_of([1.0, 2.0, 3.0], 3, "weight")[0].classes is None
    target, scaled = target_of([0.5, -1.0, np.nan, 2.0], 4)
    assert target.classes is None
    assert np.isnan(scaled).tolist() == [False, False, True, False]
    np.testing.assert_allclose(target.mean + target.deviation * scaled[[0, 1, 3]], [0.5, -1, 2], rtol=1e-6)
    for column in (pd.Series([3, None, 4], dtype="Int64"), pd.DataFrame({"y": [3, None, 4]}), torch.tensor([3, -1, 4])):
        assert coded_labels(column, 3)[1].tolist() == [0, -1, 1]


def test_moves_go_every_way_and_no_further() -> None:
    items = torch.zeros(400, 1, 7, 7)
    items[:, 0, 3, 3] = 1
    moved = jittered(items, 2, 2, torch.Generator().manual_seed(0))
    assert (moved.flatten(1).sum(1) == 1).all()
    seen = moved[:, 0].sum(0).nonzero()
    assert seen.min() == 1
    assert seen.max() == 5
    assert len(seen) == 25


# --- The commands ---------------------------------------------------------------------------------------------------


def test_the_commands_learn_tell_and_draw(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from isthmus.cli import cli

    np.save(tmp_path / "x.npy", X)
    (tmp_path / "y.csv").write_text("".join(f"{'' if i % 3 else c}\n" for i, c in enumerate(T_X)))

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(cli, [str(tmp_path / word) if "." in word else word for word in arguments])
        assert done.exit_code == 0, done.output
        return done

    some = ["--model", "vae", "--latent", "6", "--set", "epochs=10", "--set", "network=[64]"]
    run("fit", "x.npy", "-o", "m.isthmus", "--labels", "y.csv", "--supervised", *some)
    run("predict", "m.isthmus", "x.npy", "-o", "told.csv")
    told = pd.read_csv(tmp_path / "told.csv")
    assert list(told.columns) == ["item", "label", "chance"]
    assert (told["label"] == T_X).mean() > 0.5
    run("sample", "m.isthmus", "-n", "4", "--label", "3", "-o", "made.npy")
    assert_array_equal(np.load(tmp_path / "made.npy"), sample(load(tmp_path / "m.isthmus"), 4, label=3))
    run("fit", "x.npy", "-o", "plain.isthmus", *some)
    done = CliRunner().invoke(cli, ["predict", str(tmp_path / "plain.isthmus"), str(tmp_path / "x.npy"), "-o", "t.csv"])
    assert isinstance(done.exception, NotSupported)
    done = CliRunner().invoke(cli, ["fit", str(tmp_path / "x.npy"), "-o", "n.isthmus", "--supervised"])
    assert "name a file with --labels" in done.output
