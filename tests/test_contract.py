"""The nine laws that every model obeys, over all of ``MODELS`` and every kind of items.

Each model is fitted once a kind, small and short; a test that learns or changes anything takes a copy of its own.
"""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import SkipTest, estimator_checks_generator

from isthmus.errors import DamagedFileError, DataError, FileError, FormatError, NotSupported, SettingError
from isthmus.evaluate import evaluate
from isthmus.models import MODELS, load
from isthmus.models.embedding import BLOCK, Embedding

N = 160
LATENTS = 3
NEURAL = [word for word in MODELS if word != "pca"]
QUICK = {"network": (16,), "epochs": 2, "device": "cpu"}


# ---- items and models ----------------------------------------------------------------------------------------------


@functools.cache
def items_of(kind: str, n: int = N) -> np.ndarray:
    """n items of rank three and a little noise. Do not change them: they are shared."""
    drawn = np.random.default_rng(7)
    shape = {"vector": (10,), "image": (8, 8), "series": (12, 2)}[kind]
    codes = drawn.standard_normal((n, 3)) * (3.0, 2.0, 1.5)
    items = codes @ drawn.standard_normal((3, int(np.prod(shape)))) + 0.1 * drawn.standard_normal((n, np.prod(shape)))
    items = items.reshape(n, *shape)
    if kind == "image":
        items = (255 / (1 + np.exp(-items))).astype(np.uint8)
    items.setflags(write=False)
    return items


def made(word: str, **given: Any) -> Embedding:
    return MODELS[word](**{"latent_dim": LATENTS} | (QUICK if word in NEURAL else {}) | given)


@functools.cache
def fitted(word: str, kind: str) -> Embedding:
    return made(word).fit(items_of(kind))


@pytest.fixture(params=MODELS)
def word(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["vector", "image", "series"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(word: str, kind: str) -> Embedding:
    return fitted(word, kind)


def test_the_items_are_what_they_are_called(model: Embedding, kind: str) -> None:
    assert model.format_.spec.kind == kind
    assert model.encode(items_of(kind)).shape == (N, LATENTS)
    assert model.encode(items_of(kind)).dtype == np.float32
    for back in (model.reconstruct(items_of(kind)), model.inverse_transform(model.transform(items_of(kind)))):
        assert back.shape == items_of(kind).shape
        assert back.dtype == items_of(kind).dtype
    assert model.sample(4).shape == items_of(kind)[:4].shape
    assert model.n_features_in_ == items_of(kind)[0].size
    assert model.score_samples(items_of(kind)).shape == (N,)
    assert model.score(items_of(kind)) == model.score_samples(items_of(kind)).mean()


# ---- 1: the same item, the same code -------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=8)
@pytest.mark.parametrize("kind_", ["vector", "image", "series"])
@pytest.mark.parametrize("word_", MODELS)
def test_the_same_bits_in_any_batch(data: st.DataObject, word_: str, kind_: str) -> None:
    """Alone, in pieces of any sizes, more than a block together, on one thread or two."""
    model, items = fitted(word_, kind_), items_of(kind_)
    cuts = sorted(data.draw(st.lists(st.integers(1, N - 1), max_size=4, unique=True)))
    threads = data.draw(st.sampled_from([1, 2]))
    with threads_set(1):
        whole = model.encode(np.concatenate([items, items]))
    assert len(whole) > BLOCK
    with threads_set(threads):
        pieces = np.concatenate([model.encode(piece) for piece in np.split(items, cuts)])
        decoded = np.concatenate([model.decode(piece) for piece in np.split(pieces, cuts)])
        one = data.draw(st.integers(0, N - 1))
        alone = model.encode(items[one : one + 1])
    assert_array_equal(whole[:N], pieces)
    assert_array_equal(whole[N:], pieces)
    assert_array_equal(alone[0], whole[one])
    assert_array_equal(decoded, model.decode(whole[:N]))


class threads_set:  # noqa: N801
    """As many threads as said, inside."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.count)

    def __exit__(self, *error: object) -> None:
        torch.set_num_threads(self.before)


@pytest.mark.parametrize(("d", "k"), [(17, 5), (10, 6), (9, 2), (11, 10)])
def test_the_same_bits_wherever_the_item_stands(word: str, d: int, k: int) -> None:
    """Narrow products are where libraries sum in an order that depends on the row's place."""
    items = np.random.default_rng(5).standard_normal((300, d))
    model = made(word, latent_dim=k, **({"network": "linear"} if word in NEURAL else {})).fit(items)
    codes, back, scores = model.encode(items), model.reconstruct(items), model.score_samples(items)
    for shift in (1, 2, 7, 255):
        turned = np.roll(items, -shift, 0)
        assert_array_equal(model.encode(turned), np.roll(codes, -shift, 0))
        assert_array_equal(model.reconstruct(turned), np.roll(back, -shift, 0))
        assert_array_equal(model.score_samples(turned), np.roll(scores, -shift, 0))


@pytest.mark.parametrize("kind_", ["image", "series"])
@pytest.mark.parametrize("word_", NEURAL)
def test_convolutions_give_the_same_bits_too(word_: str, kind_: str) -> None:
    items = items_of(kind_)
    model = made(word_, network="conv", size="small", epochs=1).fit(items)
    codes = model.encode(items)
    for threads in (1, 2):
        with threads_set(threads):
            assert_array_equal(np.concatenate([model.encode(piece) for piece in np.split(items, [1, 8, 101])]), codes)
            assert_array_equal(model.encode(np.concatenate([items[3:], items, items]))[-N:], codes)
            assert_array_equal(model.decode(codes[5:9]), model.decode(codes)[5:9])


def test_scores_do_not_depend_on_the_other_items(model: Embedding, kind: str) -> None:
    items = items_of(kind)
    assert_array_equal(model.score_samples(items)[5:9], model.score_samples(items[5:9]))


# ---- 2: fit forgets, and leaves everything else alone --------------------------------------------------------------


@pytest.fixture
def global_state_is_left_alone() -> Iterator[None]:
    def state() -> tuple[Any, ...]:
        kind, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), (kind, keys.tolist(), *rest), random.getstate()

    before = state()
    yield
    assert state() == before


@pytest.mark.usefixtures("global_state_is_left_alone")
def test_global_random_state_is_left_alone(word: str, kind: str) -> None:
    model, items = made(word), items_of(kind)
    model.fit(items)
    model.encode(items)
    model.sample(3)
    model.score(items)
    model.untrained()
    if word == "vae":
        model.encode_sample(items)
        model.log_likelihood(items[:4], samples=2)
    evaluate(model, items)


def test_fit_returns_self_and_forgets(word: str) -> None:
    """A model that was fitted to images is, after a second fit, what a new one is."""
    model = made(word)
    assert model.fit(items_of("image")) is model
    assert model.fit(items_of("vector")) is model
    new = fitted(word, "vector")
    assert_array_equal(model.encode(items_of("vector")), new.encode(items_of("vector")))
    assert_array_equal(model.sample(5), new.sample(5))
    assert set(vars(model)) == set(vars(new))


def test_a_second_fit_forgets_the_names_of_columns(word: str) -> None:
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(items_of("vector"), columns=[f"c{i}" for i in range(10)])
    model = made(word).fit(frame)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert not hasattr(model.fit(items_of("image")), "feature_names_in_")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("format", [None, "image", "series"])
def test_the_data_are_not_changed(word: str, dtype: type, format: str | None) -> None:
    """Writable arrays of the very dtype of the stored view, which shares their memory."""
    items = np.random.default_rng(0).random((80, 8, 8)) * (255 if dtype == np.uint8 else 1)
    items = items.astype(dtype)
    before = items.copy()
    model = made(word, format=format).fit(items)
    for call in (model.encode, model.reconstruct, model.score, model.fit_transform):
        call(items)
        assert_array_equal(items, before)
    codes = model.encode(items)
    kept = codes.copy()
    model.decode(codes)
    assert_array_equal(codes, kept)


@pytest.mark.parametrize("scale", ["none", "centre", "standard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_are_not_changed_whatever_the_scale(word: str, scale: str, dtype: type) -> None:
    from isthmus.formats.vectors import VectorFormat

    items = items_of("vector").astype(dtype)
    before = items.copy()
    given = VectorFormat(scale)
    made(word, format=given).fit(items).score(items)
    assert_array_equal(items, before)
    assert not hasattr(given, "spec"), "the format that was given is a setting"


def test_the_settings_are_not_changed(word: str, kind: str) -> None:
    model = made(word)
    before = copy.deepcopy(model.get_params())
    model.fit(items_of(kind)).sample(2)
    assert model.get_params() == before
    assert clone(model).get_params() == before


def test_settings_that_are_objects_are_not_changed() -> None:
    from isthmus.likelihoods import Gaussian

    for word in NEURAL:
        likelihood = Gaussian("learned")
        model = made(word, likelihood=likelihood).fit(items_of("vector"))
        assert likelihood.log_variance.item() == 0.0
        assert model.likelihood is likelihood
        assert model.likelihood_ is not likelihood


def test_a_fit_that_fails_loses_nothing(word: str) -> None:
    model = made(word)
    with pytest.raises(DataError):
        model.fit(np.full((5, 4), np.nan))
    with pytest.raises(NotFittedError):
        model.encode(items_of("vector"))
    model.fit(items_of("vector"))
    codes = model.encode(items_of("vector"))
    model.latent_dim = 99 if word == "pca" else 0
    with pytest.raises(ValueError, match="latent_dim=(99|0)"):
        model.fit(items_of("vector")[:20])
    assert_array_equal(model.encode(items_of("vector")), codes)
    unfitted = made("pca", latent_dim=99)
    with pytest.raises(ValueError, match="latent_dim=99"):
        unfitted.fit(items_of("vector"))
    with pytest.raises(NotFittedError):
        unfitted.encode(items_of("vector"))


# ---- 3: one item, none, and wrong ones -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::isthmus.errors.IsthmusWarning")
def test_one_item_works(word: str, kind: str) -> None:
    one = items_of(kind)[:1]
    model = made(word, latent_dim=1).fit(one)
    assert model.encode(one).shape == (1, 1)
    assert np.isfinite(model.encode(one)).all()
    assert np.isfinite(model.score(one))
    assert model.reconstruct(one).shape == one.shape
    assert model.sample(2).shape == (2, *one.shape[1:])
    if word == "pca":
        np.testing.assert_allclose(model.reconstruct(one), one, rtol=1e-6)


def test_zero_items_are_refused(model: Embedding, word: str, kind: str) -> None:
    none = items_of(kind)[:0]
    for call in (made(word).fit, model.encode, model.reconstruct, model.score, model.score_samples):
        with pytest.raises(DataError, match="0 sample|there are no images"):
            call(none)
    with pytest.raises(DataError, match=r"codes of shape \(0, 3\) given"):
        model.decode(np.empty((0, LATENTS)))
    for count in (0, -1, True, 2.5):
        with pytest.raises(ValueError, match=r"n=.*: expected how many items to draw"):
            model.sample(count)


def test_wrong_shapes_are_refused(model: Embedding, kind: str) -> None:
    items = items_of(kind)
    with pytest.raises(FormatError, match=r"expecting|learned|expected"):
        model.encode(items[:, :-1])
    with pytest.raises(DataError, match="Reshape|one series|shape|axes"):
        model.encode(items[0].reshape(-1))
    for codes in (np.zeros((2, LATENTS + 1)), np.zeros(LATENTS), np.zeros((1, 2, LATENTS))):
        with pytest.raises(DataError, match=r"codes of shape .* given; this \w+ decodes \(n, 3\)"):
            model.decode(codes)
    with pytest.raises(FormatError, match="codes must be an array of numbers"):
        model.decode([["a", "b", "c"]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(model: Embedding, word: str, kind: str, value: float) -> None:
    items = items_of(kind) / np.float64(255 if kind == "image" else 1)
    if kind == "image":
        model = made(word).fit(items)
    items[2].reshape(-1)[1] = value
    what = "NaN|nan" if np.isnan(value) else "infinity|inf"
    with pytest.raises(DataError, match=what):
        made(word, format=kind).fit(items)
    with pytest.raises(DataError, match=what):
        model.encode(items)
    with pytest.raises(DataError, match="code 1 is not finite"):
        model.decode([[0, 0, 0], [0, value, 0]])


def test_before_fit(word: str, kind: str) -> None:
    model = made(word)
    for call in (model.encode, model.transform, model.score, model.reconstruct, model.score_samples):
        with pytest.raises(NotFittedError, match=type(model).__name__):
            call(items_of(kind))
    for call in (lambda: model.decode(np.zeros((1, 3))), model.sample, lambda: model.save("never.isthmus")):
        with pytest.raises(NotFittedError, match=type(model).__name__):
            call()
    with pytest.raises((NotFittedError, NotSupported)):
        model.error_curve(items_of(kind))
    assert not Path("never.isthmus").exists()


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(np.zeros((2, 2, 2, 2, 2)), id="five axes"),
        pytest.param(np.array([[1, "a"], [2, None]], dtype=object), id="mixed objects"),
        pytest.param([[1, 2], [3]], id="ragged"),
        pytest.param(np.array([1.0, 2.0]), id="one axis"),
        pytest.param(3, id="a number"),
        pytest.param(None, id="None"),
    ],
)
def test_hostile_items_get_one_error(word: str, hostile: Any) -> None:
    with pytest.raises(DataError) as caught:
        made(word).fit(hostile)
    assert 20 < len(str(caught.value)) < 600
    with pytest.raises(DataError):
        fitted(word, "vector").encode(hostile)


@pytest.mark.filterwarnings("ignore::isthmus.errors.IsthmusWarning")
def test_constant_columns_and_one_column(word: str) -> None:
    items = items_of("vector").copy()
    items[:, 4] = 7.5
    model = made(word).fit(items)
    np.testing.assert_allclose(model.reconstruct(items)[:, 4], 7.5, atol=0.5 if word != "pca" else 1e-6)
    assert np.isfinite(model.score(items))
    same = np.full((30, 4), 2.5)
    model = made(word, latent_dim=2).fit(same)
    assert np.isfinite(model.encode(same)).all()
    assert np.isfinite(model.sample(3)).all()
    column = items[:, :1]
    model = made(word, latent_dim=1).fit(column)
    assert model.encode(column).shape == (N, 1)
    assert np.isfinite(model.score(column))


# ---- 4: files ------------------------------------------------------------------------------------------------------


def test_a_file_gives_the_same_model(model: Embedding, kind: str, tmp_path: Path) -> None:
    items = items_of(kind)
    path = model.save(tmp_path / "model.isthmus")
    back = load(path)
    assert type(back) is type(model)
    assert back.get_params() == model.get_params()
    assert_array_equal(back.encode(items), model.encode(items))
    assert_array_equal(back.decode(model.encode(items)), model.reconstruct(items))
    assert_array_equal(back.sample(6, seed=4), model.sample(6, seed=4))
    assert_array_equal(back.score_samples(items), model.score_samples(items))
    assert back.history_ == model.history_
    assert back.prior_.describe() == model.prior_.describe()
    assert set(vars(back)) == set(vars(model))
    assert back.save(tmp_path / "again.isthmus").read_bytes() == path.read_bytes()
    assert_array_equal(back.fit(items).encode(items), model.encode(items))


def test_loading_with_a_setting_that_the_model_lacks(word: str, tmp_path: Path) -> None:
    model = made(word).fit(np.random.default_rng(0).standard_normal((40, 5)))
    path = model.save(tmp_path / "m.isthmus")
    with pytest.raises(SettingError, match=r"load\(..., colour=\)"):
        load(path, colour=1)


def test_names_of_columns_are_kept(word: str, tmp_path: Path) -> None:
    frames = pytest.importorskip("pandas")
    frame = frames.DataFrame(items_of("vector"), columns=[f"c{i}" for i in range(10)])
    model = made(word).fit(frame)
    back = load(model.save(tmp_path / "m.isthmus"))
    assert_array_equal(back.feature_names_in_, model.feature_names_in_)
    assert list(back.reconstruct(frame).columns if hasattr(back.reconstruct(frame), "columns") else frame.columns)
    with pytest.raises(FormatError, match="order|names"):
        back.encode(frame[frame.columns[::-1]])


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=12)
@pytest.mark.parametrize("word_", MODELS)
def test_an_altered_file_is_refused(
    word_: str, place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("altered")
    whole = bytearray(fitted(word_, "vector").save(folder / "whole.isthmus").read_bytes())
    at = int(place * len(whole))
    (folder / "cut.isthmus").write_bytes(whole[:at])
    whole[at] ^= 1 << bit
    (folder / "flipped.isthmus").write_bytes(whole)
    with pytest.raises(FileError, match=r"cut\.isthmus"):
        load(folder / "cut.isthmus")
    try:
        back = load(folder / "flipped.isthmus")
    except FileError as error:
        assert "flipped.isthmus" in str(error)  # noqa: PT017
    else:  # a bit outside the members, such as the zip's note of the writing system
        model, items = fitted(word_, "vector"), items_of("vector")
        assert_array_equal(back.encode(items), model.encode(items))
        assert_array_equal(back.sample(3), model.sample(3))


def test_a_flipped_bit_of_a_weight_is_refused(word: str, tmp_path: Path) -> None:
    path = fitted(word, "vector").save(tmp_path / "m.isthmus")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"card.md") - 60] ^= 1  # the end of the weights, before the header of the card
    path.write_bytes(whole)
    with pytest.raises(DamagedFileError, match=r"m\.isthmus"):
        load(path)


def test_a_whole_file_of_something_else_is_refused(word: str, tmp_path: Path) -> None:
    """The hash is right, the content is not: wrong words, wrong shapes, missing parts."""
    from isthmus import store

    contents = store.read(fitted(word, "vector").save(tmp_path / "m.isthmus"))

    def written(model: dict[str, Any], tensors: dict[str, Any] | None = None) -> Path:
        path = tmp_path / "other.isthmus"
        store.write(path, model=model, format=contents.format, tensors=tensors or contents.tensors, card="")
        return path

    changed = copy.deepcopy(contents.model)
    changed["learned"]["latent_dim"] = 50
    wrong = [contents.model | {"model": "gan"}, {"model": word}, contents.model | {"learned": 3}, {}, changed]
    for model in wrong:
        with pytest.raises(DamagedFileError):
            load(written(model))
    name = next(name for name in contents.tensors if not name.startswith("prior."))
    fewer = {key: value for key, value in contents.tensors.items() if key != name}
    shorter = contents.tensors | {name: contents.tensors[name][:-1]}
    for tensors in (fewer, shorter):
        with pytest.raises(DamagedFileError, match=f"{word} model"):
            load(written(contents.model, tensors))


# ---- 5: it learns --------------------------------------------------------------------------------------------------


def share_left(model: Embedding, items: np.ndarray) -> float:
    """Squared error as a share of that of the mean item."""
    flat = items.reshape(len(items), -1).astype(float)
    error = np.square(model.reconstruct(items).reshape(len(items), -1) - flat).sum()
    return float(error / np.square(flat - flat.mean(0)).sum())


def test_learning_beats_not_learning(word: str, kind: str) -> None:
    items = items_of(kind)
    model = made(word, **({"epochs": 60, "rate": 0.01} if word in NEURAL else {})).fit(items)
    assert share_left(model, items) < 0.4
    assert share_left(model.untrained(), items) > 0.6
    assert model.score(items) > model.untrained().score(items)
    assert model.untrained().encode(items).shape == (N, LATENTS)


# ---- 6: the same seed, the same model ------------------------------------------------------------------------------


def test_a_refit_agrees_to_the_bit(model: Embedding, word: str, kind: str) -> None:
    again = made(word).fit(items_of(kind).copy())
    assert_array_equal(again.encode(items_of(kind)), model.encode(items_of(kind)))
    assert_array_equal(again.sample(5), model.sample(5))
    assert (model.sample(5, seed=1) != model.sample(5, seed=2)).any()


@pytest.mark.parametrize("neural", NEURAL)
def test_another_seed_is_another_model(neural: str) -> None:
    items = items_of("vector")
    codes = [made(neural, random_state=seed).fit(items).encode(items) for seed in (0, 1, np.random.RandomState(1))]
    assert_array_equal(codes[0], fitted(neural, "vector").encode(items))
    assert not np.allclose(codes[0], codes[1])
    assert not np.allclose(codes[1], codes[2])


# ---- 7: scikit-learn -----------------------------------------------------------------------------------------------

ESTIMATORS = [MODELS["pca"](), *(MODELS[word](epochs=3, device="cpu") for word in NEURAL)]
MAY_SKIP = {"check_array_api_input"}  # needs SCIPY_ARRAY_API=1 in the environment
CHECKS = [pair for estimator in ESTIMATORS for pair in estimator_checks_generator(estimator)]


def check_name(pair: Any) -> str:
    estimator, check = pair
    return f"{type(estimator).__name__}-{getattr(check, 'func', check).__name__}"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("pair", CHECKS, ids=check_name)
def test_scikit_learns_own_check(pair: Any) -> None:
    estimator, check = pair
    try:
        check(copy.deepcopy(estimator))
    except SkipTest as skipped:
        assert check_name(pair).split("-")[1] in MAY_SKIP, f"skipped: {skipped}"  # noqa: PT017


def test_scikit_learn_has_many_checks() -> None:
    assert len(CHECKS) > 120


def test_in_a_pipeline(word: str) -> None:
    line = make_pipeline(StandardScaler(), made(word))
    codes = line.fit_transform(items_of("vector"))
    assert_array_equal(codes, line.transform(items_of("vector")))
    assert line.inverse_transform(codes).shape == items_of("vector").shape
    assert np.isfinite(line.score(items_of("vector")))


def test_in_a_grid_search(word: str) -> None:
    search = GridSearchCV(made(word), {"latent_dim": np.array([1, 3])}, cv=2)
    search.fit(items_of("vector"))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    if word == "pca":  # rank three
        assert search.best_params_ == {"latent_dim": 3}
    assert search.best_estimator_.encode(items_of("vector")).shape[1] == search.best_params_["latent_dim"]


def test_a_clone_is_unfitted_and_equal(word: str) -> None:
    model = clone(fitted(word, "vector"))
    with pytest.raises(NotFittedError):
        model.encode(items_of("vector"))
    assert_array_equal(
        model.fit(items_of("vector")).encode(items_of("vector")), fitted(word, "vector").encode(items_of("vector"))
    )


def test_names_of_codes(word: str) -> None:
    names = fitted(word, "vector").get_feature_names_out()
    assert list(names) == [f"{type(fitted(word, 'vector')).__name__.lower()}{i}" for i in range(LATENTS)]


# ---- 8: codes are means --------------------------------------------------------------------------------------------


def test_codes_are_posterior_means(kind: str) -> None:
    model, items = fitted("vae", kind), items_of(kind)
    mean, deviation = model.encode_distribution(items)
    assert_array_equal(model.encode(items), mean)
    assert_array_equal(model.encode(items), model.encode(items))
    assert (deviation > 0).all()
    draws = np.stack([model.encode_sample(items, seed) for seed in range(400)])
    assert (np.abs(draws.mean(0) - mean) < 6 * deviation / 20).all()
    np.testing.assert_allclose(draws.std(0) / deviation, 1, atol=0.25)


# ---- 9: the order of the items -------------------------------------------------------------------------------------


def test_permuted_items_give_permuted_codes(model: Embedding, kind: str) -> None:
    order = np.random.default_rng(3).permutation(N)
    assert_array_equal(model.encode(items_of(kind)[order]), model.encode(items_of(kind))[order])
