"""Evaluation: baselines against closed forms, on the right items, and words that say what the figures say."""

from __future__ import annotations

import copy
import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA as SKPCA
from sklearn.exceptions import NotFittedError

from isthmus import datasets, metrics
from isthmus.errors import DataError, FormatError, IsthmusWarning, SettingError
from isthmus.evaluate import Report, compare, evaluate
from isthmus.formats.arrays import four_digits
from isthmus.formats.images import ImageFormat
from isthmus.formats.vectors import VectorFormat
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.pca import PCA
from isthmus.models.vae import VAE
from isthmus.training.recipe import split

DIGITS, LABELS = datasets.digits(labels=True)
LEARNED, HELD_OUT = DIGITS[:500], DIGITS[500:800]
random = np.random.default_rng(0)
LINEAR = random.normal(size=(1200, 3)) @ random.normal(size=(3, 8)) + 0.1 * random.normal(size=(1200, 8)) + 5.0
angle = random.uniform(0, 2 * np.pi, (900, 1))
CIRCLE = np.hstack([np.cos(angle), np.sin(angle)]) @ random.normal(size=(2, 5)) + 0.01 * random.normal(size=(900, 5))
QUICK: dict[str, Any] = {"epochs": 1, "network": (16,), "verbose": False}


@pytest.fixture(scope="module")
def pca() -> PCA:
    return PCA(8).fit(LEARNED)


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE(4, network=(64,), epochs=20, verbose=False).fit(LEARNED)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return Autoencoder(4, network=(64,), epochs=20, verbose=False).fit(LEARNED)


def row_of(report: Report, name: str) -> dict[str, Any]:
    return next(row for row in report.rows if row["model"] == name)


def flat(items: np.ndarray) -> np.ndarray:
    return items.reshape(len(items), -1) / 255


# --- The figures ----------------------------------------------------------------------------------------------------


def test_pca_and_the_mean_equal_their_closed_forms(vae: VAE) -> None:
    report = evaluate(vae, HELD_OUT, train=LEARNED)
    x, other = flat(HELD_OUT), SKPCA(4, svd_solver="full").fit(flat(LEARNED))
    error = ((x - other.inverse_transform(other.transform(x))) ** 2).sum(1)
    row = row_of(report, "PCA of the same size")
    assert row["squared_error"] == pytest.approx(error.mean(), rel=1e-4)
    assert row["distance"] == pytest.approx(np.sqrt(error).mean(), rel=1e-4)
    assert row["mse"] == pytest.approx(error.mean() / 64, rel=1e-4)
    assert row["psnr"] == pytest.approx(10 * math.log10(64 / error.mean()), rel=1e-4)
    assert row["nats"] == pytest.approx(-other.score(x), rel=1e-2)  # of probabilistic PCA
    nothing = ((x - flat(LEARNED).mean(0)) ** 2).sum(1).mean()
    assert row_of(report, "the mean")["squared_error"] == pytest.approx(nothing, rel=1e-4)
    assert row["explained"] == pytest.approx(1 - error.mean() / nothing, rel=1e-4)
    assert row_of(report, "the mean")["explained"] == 0
    variance = flat(LEARNED).var(0).mean()
    gauss = nothing / variance / 2 + 32 * math.log(2 * math.pi * variance)
    assert row_of(report, "the mean")["nats"] == pytest.approx(gauss, rel=1e-3)
    assert row_of(report, "the mean")["bits_per_dimension"] == pytest.approx(
        gauss / 64 / math.log(2) + math.log2(255), rel=1e-3
    )


def test_the_models_own_figures(vae: VAE) -> None:
    report = evaluate(vae, HELD_OUT, LABELS[500:800], train=LEARNED)
    row, codes = report.rows[0], vae.encode(HELD_OUT)
    means = vae._in_blocks(vae._mean, torch.from_numpy(codes)).flatten(1)
    assert row["model"] == "VAE(4)"
    assert row["squared_error"] == pytest.approx(metrics.squared_error(flat(HELD_OUT), means.numpy()).mean(), rel=1e-5)
    assert row["nats"] == pytest.approx(-vae.score(HELD_OUT), rel=1e-6)
    assert row["active"] == (codes.var(0) > 0.01).sum()
    assert row["trustworthiness"] == pytest.approx(metrics.trustworthiness(flat(HELD_OUT), codes, 5), abs=1e-4)
    assert row["knn_accuracy"] == pytest.approx(metrics.knn_accuracy(codes, LABELS[500:800]), abs=0.01)
    assert row["trustworthiness"] > 0.8 < row["knn_accuracy"]


def test_the_untrained_network_is_a_baseline(vae: VAE) -> None:
    row = row_of(evaluate(vae, HELD_OUT), "untrained")
    bare = vae.untrained()
    means = bare._in_blocks(bare._mean, torch.from_numpy(bare.encode(HELD_OUT))).flatten(1).numpy()
    assert row["squared_error"] == pytest.approx(metrics.squared_error(flat(HELD_OUT), means).mean(), rel=1e-5)
    assert row["squared_error"] > evaluate(vae, HELD_OUT).rows[0]["squared_error"]
    assert row["latents"] == 4


def test_knn_needs_labels_and_is_bounded(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "knn_accuracy" not in evaluate(vae, HELD_OUT).rows[0]
    monkeypatch.setitem(evaluate.__globals__, "ASKED", 60)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(metrics, "knn_accuracy", lambda Z, y, k: asked.append((len(Z), len(y))) or 0.5)
    assert evaluate(vae, HELD_OUT, LABELS[500:800]).rows[0]["knn_accuracy"] == 0.5
    assert asked == [(60, 60)]


def test_labels_of_any_kind(vae: VAE) -> None:
    words = np.array([f"digit {label}" for label in LABELS[500:800]])
    kinds = [LABELS[500:800], words, list(words), torch.from_numpy(LABELS[500:800])]
    assert len({evaluate(vae, HELD_OUT, labels).rows[0]["knn_accuracy"] for labels in kinds}) == 1


# --- On which items -------------------------------------------------------------------------------------------------


def test_the_fitted_items_are_recognised(vae: VAE) -> None:
    report = evaluate(vae, LEARNED, LABELS[:500])
    learned, tenth = split(500, 0)
    assert (
        "measured on the 50 of 500 items that training held out; baselines learned from 450 others" in report.protocol
    )
    apart = evaluate(vae, LEARNED[tenth], LABELS[:500][tenth], train=LEARNED[learned])
    assert [row["squared_error"] for row in report.rows] == pytest.approx([row["squared_error"] for row in apart.rows])
    assert report.rows[0]["knn_accuracy"] == apart.rows[0]["knn_accuracy"]
    assert "too good" not in str(report)


def test_the_split_is_that_of_the_models_seed() -> None:
    model = Autoencoder(2, random_state=5, **QUICK).fit(LEARNED)
    expected = evaluate(model, LEARNED[split(500, 5)[1]], train=LEARNED[split(500, 5)[0]])
    assert evaluate(model, LEARNED).rows[0]["squared_error"] == pytest.approx(expected.rows[0]["squared_error"])


def test_foreign_items_give_folds(vae: VAE) -> None:
    report = evaluate(vae, HELD_OUT)
    assert "measured on 300 items given as held out; baselines learned in 5 folds of them" in report.protocol
    seen = evaluate(vae, HELD_OUT, train=HELD_OUT)  # PCA of the items themselves is better than any fold's
    assert (
        row_of(report, "PCA of the same size")["squared_error"] > row_of(seen, "PCA of the same size")["squared_error"]
    )
    assert (
        row_of(report, "PCA of the same size")["squared_error"]
        < 1.2 * row_of(seen, "PCA of the same size")["squared_error"]
    )
    assert row_of(evaluate(vae, HELD_OUT[:3]), "the mean")["squared_error"] > 0  # three items, three folds


def test_folds_predict_every_item_from_the_others(vae: VAE) -> None:
    x = flat(HELD_OUT[:2])
    expected = ((x[0] - x[1]) ** 2).sum()  # of two items, each is the other's mean
    assert row_of(evaluate(vae, HELD_OUT[:2]), "the mean")["squared_error"] == pytest.approx(expected, rel=1e-5)


def test_items_that_pca_has_learned_from_are_named_as_such(pca: PCA) -> None:
    report = evaluate(pca, LEARNED)
    assert "measured on the 500 items that training saw" in report.protocol
    assert report.advice == ["PCA(8) has learned from items that it is measured on: its figures are too good"]
    assert evaluate(pca, HELD_OUT).advice == []


def test_models_that_held_out_different_items(vae: VAE, pca: PCA) -> None:
    other = Autoencoder(4, random_state=1, **QUICK).fit(LEARNED)
    report = compare([pca, vae, other], LEARNED)
    assert "the 50 of 500 items that training held out" in report.protocol
    assert sum("too good" in line for line in report.advice) == 2
    assert not any("too good" in line and line.startswith("VAE") for line in report.advice)


def test_given_training_items_measure_all_of_x(vae: VAE) -> None:
    report = evaluate(vae, LEARNED, train=HELD_OUT)
    assert "measured on the 500 items that training saw; baselines learned from 300 others" in report.protocol
    assert any("VAE(4) has learned from items that it is measured on" in line for line in report.advice)


def test_a_pca_among_the_models_is_the_baseline(vae: VAE) -> None:
    four = PCA(4).fit(LEARNED)
    names = [row["model"] for row in compare([four, vae], HELD_OUT, train=LEARNED).rows]
    assert names == ["PCA(4)", "VAE(4)", "the mean"]
    names = [row["model"] for row in compare([four, vae], HELD_OUT).rows]  # the baseline learns elsewhere
    assert names == ["PCA(4)", "VAE(4)", "PCA of the same size", "the mean"]
    verdicts = [compare([four, vae], HELD_OUT, train=train).verdict for train in (LEARNED, LEARNED[:499])]
    assert [verdict.splitlines()[0] for verdict in verdicts] == [verdicts[0].splitlines()[0]] * 2


def test_wide_items_bound_the_baseline(vae: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []
    whole = PCA._fit_stored
    monkeypatch.setattr(
        PCA, "_fit_stored", lambda self, form, items: fitted.append(len(items)) or whole(self, form, items)
    )
    monkeypatch.setitem(evaluate.__globals__, "WIDE", 10)
    monkeypatch.setitem(evaluate.__globals__, "FEW", 100)
    row = row_of(evaluate(vae, HELD_OUT, train=LEARNED), "PCA of the same size")
    assert fitted == [100]
    assert 0.3 < row["explained"] < 0.7


# --- Verdicts -------------------------------------------------------------------------------------------------------


def test_a_better_model_helps() -> None:
    model = Autoencoder(1, network=(64, 64), epochs=60, rate=4e-3, verbose=False).fit(CIRCLE[:600])
    report = evaluate(model, CIRCLE[600:], train=CIRCLE[:600])
    ratio = report.rows[0]["squared_error"] / row_of(report, "PCA of the same size")["squared_error"]
    assert report.verdict == f"Autoencoder(1) helps: its error is {ratio:.2f} of that of PCA of the same size."
    assert ratio < 0.5


def test_a_linear_autoencoder_does_not_help() -> None:
    model = Autoencoder(3, network="linear", verbose=False).fit(LINEAR[:900])
    report = evaluate(model, LINEAR[900:], train=LINEAR[:900])
    assert report.verdict == "Autoencoder(3) does not help on this data: PCA of the same size is as good."
    assert report.rows[0]["explained"] > 0.99


def test_a_worse_model_is_told_so(autoencoder: Autoencoder) -> None:
    model = Autoencoder(16, **QUICK | {"epochs": 8}).fit(LEARNED)
    report = evaluate(model, HELD_OUT, train=LEARNED)
    times = report.rows[0]["squared_error"] / row_of(report, "PCA of the same size")["squared_error"]
    assert times > 1.1
    assert report.verdict == (
        f"Autoencoder(16) is worse than PCA of the same size: its error is {times:.2f} times PCA's. "
        "Use PCA, or train longer."
    )


def test_an_untrained_model_has_learned_nothing(vae: VAE) -> None:
    report = evaluate(vae.untrained(), HELD_OUT, train=LEARNED)
    assert report.verdict == "VAE(4) has learned nothing: it is no better than the mean."
    assert not any("would do as well" in line for line in report.advice)


def test_pca_says_what_it_explains(pca: PCA) -> None:
    report = evaluate(pca, HELD_OUT, train=LEARNED)
    assert report.verdict == f"PCA(8) explains {report.rows[0]['explained']:.1%} of the variance."
    assert [row["model"] for row in report.rows] == ["PCA(8)", "untrained", "the mean"]
    assert report.rows[1]["explained"] < 0.3


def test_an_exact_pca_is_no_division_by_zero() -> None:
    X = random.normal(size=(300, 2)) @ random.normal(size=(2, 6))
    report = evaluate(Autoencoder(2, **QUICK).fit(X), X)
    assert "worse than PCA" in report.verdict or "nothing" in report.verdict
    assert json.dumps(report.to_json(), allow_nan=False)


def test_items_that_are_all_alike() -> None:
    X = np.full((60, 8, 8), 7, dtype=np.uint8)
    for model in (PCA(1), Autoencoder(1, **QUICK), VAE(1, **QUICK)):
        report = evaluate(model.fit(X), X)
        assert "has learned nothing, for these items are all alike" in report.verdict
        assert json.dumps(report.to_json(), allow_nan=False)
        assert "explained" not in report.rows[0]


# --- Advice ---------------------------------------------------------------------------------------------------------


def test_collapse() -> None:
    model = VAE(4, beta=1000.0, kl_warm_up=0.0, **QUICK | {"epochs": 20}).fit(LEARNED)
    report = evaluate(model, LEARNED)
    assert report.rows[0]["active"] == 0
    assert report.advice[0] == ("VAE(4): all latents have collapsed, codes carry nothing. Lower beta, give "
                                "free_bits=0.1, or train longer")  # fmt: skip


def test_unused_latents(vae: VAE) -> None:
    lame = copy.deepcopy(vae)
    with torch.no_grad():
        last = [module for module in lame.network_.encoder.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight[3].zero_()
        last.bias[3] = 0.5
    report = evaluate(lame, HELD_OUT)
    assert report.rows[0]["active"] == 3
    assert (
        "VAE(4): 1 of 4 latents are unused. latent_dim=3 would do as well; or free_bits=0.1 wakes them" in report.advice
    )


def test_small_codes_of_an_autoencoder_are_in_use(autoencoder: Autoencoder) -> None:
    """An autoencoder's codes have no unit: a factor on all of them means nothing."""
    small = copy.deepcopy(autoencoder)
    with torch.no_grad():
        last = [module for module in small.network_.encoder.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.weight *= 1e-3
        last.bias *= 1e-3
    assert evaluate(small, HELD_OUT).rows[0]["active"] == evaluate(autoencoder, HELD_OUT).rows[0]["active"] == 4


def test_why_training_ended(autoencoder: Autoencoder) -> None:
    model = copy.deepcopy(autoencoder)
    model.history_ |= {"ended": "early", "best_epoch": 7}
    last = model.history_["epoch"][-1]
    (line,) = evaluate(model, HELD_OUT).advice
    assert line.startswith(
        f"Autoencoder(4): stopped early, its best epoch was 7 of {last}: it began to learn its items"
    )
    model.history_ |= {"ended": "budget", "best_epoch": last}
    (line,) = evaluate(model, HELD_OUT).advice
    assert line == "Autoencoder(4): training was cut off while still getting better; more time would help"


# --- The report -----------------------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_names_its_units(vae: VAE, pca: PCA) -> None:
    lines = str(compare([vae, pca], HELD_OUT, LABELS[500:800])).splitlines()
    table, rest = lines[: lines.index("")], lines[lines.index("") + 1 :]
    heads = "latents |x-x~|^2 |x-x~| MSE PSNR dB explained nats bits/dim active trust k-NN"
    assert table[0].split() == heads.split()
    assert set(table[1]) == {"-", " "}
    assert len({len(line) for line in table}) == 1
    gaps = [i for i, c in enumerate(table[1]) if c == " "]
    assert all(line[i] == " " for line in table[2:] for i in gaps if i > 20)
    assert rest[0] == "x in pixels in [0, 1]; |x-x~|^2 is the sum over 64 elements, MSE their mean"
    assert rest[1].startswith("measured on 300 items")
    assert max(map(len, table)) <= 120


def test_units_of_vectors() -> None:
    report = evaluate(PCA(2).fit(LINEAR[:900]), LINEAR[900:])
    assert f"x in {report.unit}; |x-x~|^2 is the sum over 8 elements" in str(report)
    assert "psnr" not in report.rows[0]


def test_json_holds_everything_and_no_nan(vae: VAE) -> None:
    report = evaluate(vae, HELD_OUT, LABELS[500:800])
    again = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert sorted(again) == ["advice", "columns", "protocol", "rows", "size", "unit", "verdict"]
    assert again["rows"] == report.rows
    report.rows[0]["nats"] = float("nan")
    report.rows[0]["mse"] = float("inf")
    assert report.to_json()["rows"][0] | {"nats": None, "mse": None} == report.to_json()["rows"][0]
    assert math.isnan(report.rows[0]["nats"])  # the report itself is as it was


def test_the_same_call_gives_the_same_report_and_changes_nothing(vae: VAE) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    X = HELD_OUT.copy()
    assert str(evaluate(vae, X)) == str(evaluate(vae, X))
    np.testing.assert_array_equal(X, HELD_OUT)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# --- Models beside each other ---------------------------------------------------------------------------------------


def test_names_of_models_called_the_same(vae: VAE) -> None:
    report = compare([vae, PCA(2).fit(LEARNED), vae], HELD_OUT)
    assert [row["model"] for row in report.rows][:3] == ["VAE(4) #1", "PCA(2)", "VAE(4) #2"]
    assert [line.split(" ")[0] for line in report.verdict.splitlines()] == ["VAE(4)", "PCA(2)", "VAE(4)"]


def test_a_baseline_for_every_size(vae: VAE) -> None:
    other = Autoencoder(2, **QUICK).fit(LEARNED)
    rows = compare([vae, other], HELD_OUT).rows
    assert [(row["model"], row["latents"]) for row in rows[2:]] == [
        ("PCA of the same size", 2), ("PCA of the same size", 4), ("the mean", 0)]  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
def test_different_formats_are_measured_in_that_of_the_first(turned: bool) -> None:
    X, held_out = LINEAR[:900] * np.arange(1, 9), LINEAR[900:] * np.arange(1, 9)
    models = [PCA(3).fit(X), PCA(3, format=VectorFormat("standard")).fit(X)]
    models = models[::-1] if turned else models
    report = compare(models, held_out, train=X)
    spread = X.std(0) if turned else np.ones(8)
    for model, row in zip(models, report.rows, strict=False):
        again = np.asarray(model.reconstruct(held_out), dtype=float)
        expected = (((held_out - again) / spread) ** 2).sum(1).mean()
        assert row["squared_error"] == pytest.approx(expected, rel=1e-3)
    assert ["nats" in row for row in report.rows] == [True, False, True]  # densities in two units do not compare


def test_images_of_two_dtypes_compare() -> None:
    """The scaled view of images is [0, 1] always, whatever they are stored as."""
    whole, broken = PCA(4).fit(LEARNED), PCA(4, format=ImageFormat(range=(0, 255))).fit(LEARNED.astype(np.float32))
    rows = compare([whole, broken], HELD_OUT).rows
    assert rows[1]["squared_error"] == pytest.approx(rows[0]["squared_error"], rel=1e-4)
    assert rows[1]["nats"] == pytest.approx(rows[0]["nats"], rel=1e-3)


def test_images_of_two_sizes_do_not_compare(tmp_path: Path) -> None:
    for i, item in enumerate(DIGITS[:30]):
        Image.fromarray(item).save(tmp_path / f"{i:02}.png")
    models = []
    for size in ((8, 8), (6, 6)):
        with pytest.warns(IsthmusWarning) if size == (6, 6) else nullcontext():
            models.append(PCA(2, format=ImageFormat(size=size)).fit(tmp_path))
    with (
        pytest.warns(IsthmusWarning),
        pytest.raises(FormatError, match="image of 1 x 8 x 8, .* and image of 1 x 6 x 6"),
    ):
        compare(models, tmp_path)


def test_a_folder_is_an_x_like_any_other(tmp_path: Path, vae: VAE) -> None:
    for i, item in enumerate(HELD_OUT[:30]):
        Image.fromarray(item).save(tmp_path / f"{i:02}.png")
    report = evaluate(PCA(2, format=ImageFormat(size=(8, 8))).fit(tmp_path), tmp_path)
    assert report.rows[0]["squared_error"] == pytest.approx(
        evaluate(PCA(2).fit(HELD_OUT[:30]), HELD_OUT[:30]).rows[0]["squared_error"], rel=1e-5)  # fmt: skip


def test_likelihoods_of_two_kinds_are_kept_apart(vae: VAE) -> None:
    levels = VAE(2, likelihood="logistic_mixture", **QUICK).fit(LEARNED)
    grey = VAE(2, likelihood="bernoulli", **QUICK).fit(LEARNED)
    rows = compare([vae, levels, grey], HELD_OUT).rows
    assert ["nats" in row for row in rows] == [True, False, False, True, True, True]
    assert ["bits_per_dimension" in row for row in rows] == [True, True, False, True, True, True]
    rows = compare([grey, vae], HELD_OUT).rows
    assert ["nats" in row for row in rows] == [True, False, False, False, False]


def test_an_autoencoder_has_no_likelihood_of_items(autoencoder: Autoencoder) -> None:
    report = evaluate(autoencoder, HELD_OUT)
    assert "nats" not in report.rows[0]
    assert "nats" in row_of(report, "PCA of the same size")


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [[], None, "VAE", PCA(2)])
def test_compare_needs_a_list(models: Any) -> None:
    with pytest.raises(SettingError, match=r"compare needs a list of fitted models.*compare\(\[model, other\], X\)"):
        compare(models, HELD_OUT)


def test_models_of_others() -> None:
    with pytest.raises(SettingError, match=r"a fitted model such as VAE\(\).fit\(X\) is expected, and no PCA"):
        evaluate(SKPCA(2).fit(flat(LEARNED)), HELD_OUT)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [PCA(2), Autoencoder(2), VAE(2)])
def test_models_that_are_not_fitted(model: Any, pca: PCA) -> None:
    for call in (lambda: evaluate(model, HELD_OUT), lambda: compare([pca, model], HELD_OUT)):
        with pytest.raises(NotFittedError):
            call()


def test_too_few_items(vae: VAE) -> None:
    with pytest.raises(DataError, match="evaluation needs at least two items; 1 given"):
        evaluate(vae, HELD_OUT[:1])
    with pytest.raises(DataError):
        evaluate(vae, HELD_OUT[:0])


@pytest.mark.parametrize("labels", [LABELS[:3], LABELS[500:800, None], 3, ["a"] * 299])
def test_labels_that_do_not_fit(vae: VAE, labels: Any) -> None:
    with pytest.raises(DataError, match=r"labels of shape \(.*\) given for 300 items; expected \(300,\)"):
        evaluate(vae, HELD_OUT, labels)


def test_a_missing_label_is_named(vae: VAE) -> None:
    labels = LABELS[500:800].astype(float)
    labels[7] = np.nan
    with pytest.raises(DataError, match="the label of item 7 is missing"):
        evaluate(vae, HELD_OUT, labels)


def test_few_items_do_not_tell() -> None:
    from isthmus.evaluate import _verdict

    pca, error = np.tile([1.0, 3.0], 10), np.tile([2.0, 1.2], 10)
    args = np.full(20, 9.0), 1e-9
    assert "looks better than PCA of the same size, but 20 items are too few" in _verdict("VAE(2)", error, pca, *args)
    assert "looks worse" in _verdict("VAE(2)", pca, error, *args)
    assert "does not help" in _verdict("VAE(2)", pca, pca, *args)
    assert "helps" in _verdict("VAE(2)", pca / 2, pca, *args)


def test_labels_that_cannot_be_sorted(vae: VAE) -> None:
    with pytest.raises(DataError, match="all numbers or all text"):
        evaluate(vae, HELD_OUT, np.array([1, "a", None] * 100, dtype=object))


def test_items_of_another_shape(vae: VAE) -> None:
    with pytest.raises(FormatError):
        evaluate(vae, HELD_OUT[:, :7])
    with pytest.raises(FormatError):
        evaluate(vae, HELD_OUT, train=LEARNED[:, :7])


@pytest.mark.parametrize("times", [1000.0, 0.001])
@pytest.mark.parametrize("kind", [PCA, Autoencoder])
def test_items_of_another_scale_are_not_blamed_on_training(kind: Any, times: float) -> None:
    X = LINEAR - 5
    model = kind(3, **{} if kind is PCA else QUICK | {"epochs": 20}).fit(X[:600])
    report = evaluate(model, X[600:] * times)
    assert "items unlike those that it learned from" in report.verdict
    assert "nothing" not in report.verdict.partition(":")[0]
    assert "train longer" not in "\n".join(report.advice)
    (line,) = [line for line in report.advice if "another unit" in line]
    assert ("lie far" if times > 1 else "hardly vary") in line
    again = evaluate(model, X[600:])
    assert "unlike" not in again.verdict
    assert not any("another unit" in line for line in again.advice)


def test_the_columns_that_lie_far_are_named() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(CIRCLE, columns=list("abcde")).assign(word=np.where(CIRCLE[:, 0] > 0, "up", "down"))
    model = PCA(3).fit(frame[:600])
    report = evaluate(model, frame[600:].assign(c=frame.c * 1000))
    assert "unlike" in report.verdict
    assert 'from: column "c" by' in report.advice[0]
    assert (
        "unlike" not in evaluate(model, frame[600:].assign(c=frame.c + 1)).verdict
    )  # one deviation or so is no matter
    few = frame[600:].copy()
    few.iloc[:20, 2] = 1e6
    assert "unlike" not in evaluate(model, few).verdict  # outliers are not a unit


def test_series_of_another_scale() -> None:
    X = np.sin(np.linspace(0, 6, 20) + random.uniform(0, 6, (300, 1)))[..., None] * [1.0, 10.0]
    model = Autoencoder(2, format="series", **QUICK).fit(X[:200])
    far = evaluate(model, X[200:] * [1.0, 100.0])
    assert "channel 1 by" in far.advice[0]
    assert "channel 0" not in far.advice[0]


def test_a_heavy_tail_is_no_other_scale() -> None:
    X = np.exp(3 * random.normal(size=(400, 4)))
    for seed in range(3):
        rows = np.random.default_rng(seed).permutation(400)
        report = evaluate(PCA(2, format=VectorFormat("standard")).fit(X[rows[:300]]), X[rows[300:]])
        assert "unlike" not in report.verdict


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (392_512.4, "392500"),
        (0.017984, "0.01798"),
        (12.0, "12"),
        (-45_000.2, "-45000"),
        (1.2e17, "1.2e+17"),
        (0.0, "0"),
    ],
)
def test_money_is_written_without_an_exponent(value: float, words: str) -> None:
    assert four_digits(value) == words
