"""Anomalies: scores, p-values, lists with a known share of false alarms, what is strange, and scikit-learn's face."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawing
from hypothesis import settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

import isthmus as im
from isthmus import cli
from isthmus.errors import DataError, FormatError, NotSupported, SettingError
from isthmus.verbs.anomalies import SCORES, Reference
from isthmus.verbs.conformal import discoveries, p_values, require_enough, surprise
from isthmus.verbs.local_outliers import LocalOutliers, farthest


def on_a_plane(n: int, seed: int) -> np.ndarray:
    """(n, 6) items of two latents, with a little noise."""
    random = np.random.default_rng(seed)
    loads = np.random.default_rng(7).standard_normal((2, 6))
    return random.standard_normal((n, 2)) @ loads + 0.1 * random.standard_normal((n, 6))


def tampered(X: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items with three added to one column, and which column."""
    bad, columns = X.copy(), np.random.default_rng(seed).integers(0, X.shape[1], len(X))
    bad[np.arange(len(X)), columns] += 3.0
    return bad, columns


@pytest.fixture(scope="module")
def model() -> Any:
    return im.PCA(2, format=im.formats.VectorFormat("standard")).fit(on_a_plane(300, 0))


@pytest.fixture(scope="module")
def detector() -> im.AnomalyDetector:
    return im.AnomalyDetector().fit(on_a_plane(300, 0))


# ---- p-values and lists ----------------------------------------------------------------------------------------------


def test_p_values_are_uniform_when_any_of_the_items_may_be_the_new_one() -> None:
    scores = np.random.default_rng(0).standard_normal(20)
    found = [p_values(np.delete(scores, i), scores[i : i + 1])[0] for i in range(20)]
    np.testing.assert_allclose(np.sort(found), np.arange(1, 21) / 20)


def test_p_values_of_equal_scores_are_never_too_small() -> None:
    np.testing.assert_allclose(p_values(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0, 0.0])), [1, 0.5, 0.25, 1])


HOCHBERG = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
                     0.6528, 0.7590, 1.0])  # fmt: skip


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_the_list_of_benjamini_and_hochberg(chance: float) -> None:
    # Their example of 1995 lists four. With a third of the hypotheses estimated not to be null, (1 + 4) / 7.5, it is
    # the list at the level 0.05 / (2 / 3): eight. Steps of 1 / 10,000 leave next to nothing to chance.
    assert discoveries(HOCHBERG, 9999, 0.05, chance, share=1.0).sum() == 4
    assert discoveries(HOCHBERG, 9999, 0.05, chance).sum() == 8
    order = np.random.default_rng(0).permutation(15)
    mixed = discoveries(HOCHBERG[order], 9999, 0.05, chance)
    assert (mixed == discoveries(HOCHBERG, 9999, 0.05, chance)[order]).all()


def test_an_empty_list_and_a_full_one() -> None:
    for chance in (0.0, 0.999):
        assert not discoveries(np.full(10, 0.9), 99, 0.05, chance).any()
        assert discoveries(np.full(10, 0.01), 99, 0.05, chance).all()


@settings(max_examples=40, deadline=None)
def part_of(normal: np.ndarray, others: list[float], fdr: float, draws: int) -> float:
    """The share of the list that one normal item makes up, in the mean over which of them it is and over chance."""
    shares = []
    for i in range(len(normal)):
        p = p_values(np.delete(normal, i), np.array([normal[i], *others]))
        lists = [discoveries(p, len(normal) - 1, fdr, (k + 0.5) / draws, share=1.0) for k in range(draws)]
        shares.append(np.mean([made[0] / max(made.sum(), 1) for made in lists]))
    return float(np.mean(shares))


@settings(max_examples=40, deadline=None)
@drawing(
    count=st.integers(1, 30),
    others=st.lists(st.floats(-4, 40), max_size=25),
    fdr=st.sampled_from([0.05, 0.1, 0.3]),
    seed=st.integers(0, 9),
)
def test_no_normal_item_adds_more_than_its_part(count: int, others: list[float], fdr: float, seed: int) -> None:
    # Whatever the other items are, it is fdr / n at most: summed over the normal items, that is the theorem.
    normal = np.random.default_rng(seed).standard_normal(count + 1)
    assert part_of(normal, others, fdr, 100) <= fdr / (1 + len(others)) + 0.01  # chances are a hundredth apart


def test_a_list_made_by_chance_is_paid_for_by_the_next() -> None:
    # The list to the second normal item holds 7 and costs 1.43 of what there is; it is made with a chance of 0.4. That
    # to the first holds 5 and costs all that there is: were it made with the 0.6 that are left, 0.0234 would be spent.
    others = [20.0] * 4 + [7.5] * 2 + [-1.0] * 18
    assert part_of(np.arange(10.0), others, 0.5, 1000) == pytest.approx(0.5 / 25, abs=2e-4)


def hochberg(p: np.ndarray, fdr: float) -> np.ndarray:
    """Their list, in the words of 1995."""
    ranks = np.arange(1, len(p) + 1)
    small = ranks[np.sort(p) <= fdr * ranks / len(p)]
    return p <= (np.sort(p)[small[-1] - 1] if len(small) else -1)


@pytest.mark.parametrize(
    ("count", "normals", "anomalies", "fdr"),
    [(1000, 150, 50, 0.05), (1000, 150, 50, 0.2), (200, 180, 20, 0.05), (19, 30, 10, 0.1)],
)
def test_the_share_of_false_alarms_on_normals(count: int, normals: int, anomalies: int, fdr: float) -> None:
    random, shares, found, before = np.random.default_rng(0), [], [], []
    for _ in range(800):
        scores = np.concatenate([random.standard_normal(normals), random.standard_normal(anomalies) + 3])
        p = p_values(random.standard_normal(count), scores)
        flagged = discoveries(p, count, fdr, random.random())
        shares.append(flagged[:normals].sum() / max(flagged.sum(), 1))
        found.append(flagged[normals:].mean())
        before.append(hochberg(p, fdr)[normals:].mean())
    assert abs(np.mean(shares) - fdr) < 3 * np.std(shares) / np.sqrt(800) + 0.003
    assert np.mean(found) > np.mean(before) * (3 if count <= normals + anomalies else 1), "steps of p leave little"


def test_too_few_to_calibrate_with() -> None:
    require_enough(19, 0.05)
    with pytest.raises(DataError, match=r"18 normal items .* fdr=0.05 needs 19 at least"):
        require_enough(18, 0.05)
    with pytest.raises(DataError, match="needs 99 at least"):
        im.detect(im.AnomalyDetector(held_out=0.2).fit(on_a_plane(60, 0)), on_a_plane(5, 1), fdr=0.01)


def test_surprise_is_the_share_that_is_as_large_and_goes_on_beyond_all() -> None:
    rising = np.arange(1.0, 101.0)
    np.testing.assert_allclose(surprise(rising, np.array([0.0, 1.0, 51.0])), -np.log([1, 1, 51 / 101]))
    beyond = surprise(rising, np.array([100.0, 105.0, 200.0, 300.0]))
    # the nine above 91 exceed it by five in the mean
    np.testing.assert_allclose(beyond, np.log(101) - np.log([2, 1, 1, 1]) + np.log1p(np.array([0, 5, 100, 200]) / 5))
    assert np.isfinite(surprise(np.zeros(5), np.array([0.0, 1.0]))).all()


# ---- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", SCORES)
def test_a_score_does_not_depend_on_the_other_items(model: Any, score: str) -> None:
    X, reference = on_a_plane(300, 1), Reference(model, on_a_plane(300, 0))
    whole = im.anomaly_scores(model, X, score, reference=reference)
    assert whole.shape == (300,)
    assert whole.dtype == np.float64
    alone = [im.anomaly_scores(model, X[i : i + 1], score, reference=reference)[0] for i in (0, 130, 299)]
    assert alone == whole[[0, 130, 299]].tolist()
    order = np.random.default_rng(0).permutation(300)
    assert (im.anomaly_scores(model, X[order], score, reference=reference) == whole[order]).all()


@pytest.mark.parametrize("score", SCORES)
def test_strange_items_score_higher(model: Any, score: str) -> None:
    normal = on_a_plane(200, 1)
    bad = normal * 4 if score == "prior" else tampered(normal, 2)[0]
    scores = im.anomaly_scores(model, np.concatenate([normal, bad]), score, reference=on_a_plane(300, 0))
    assert roc_auc_score(np.repeat([0, 1], 200), scores) > (0.85 if score == "prior" else 0.98)


def test_without_a_reference_the_model_alone_says(model: Any) -> None:
    X = on_a_plane(20, 1)
    parts = [im.anomaly_scores(model, X, score) for score in ("reconstruction", "prior")]
    np.testing.assert_allclose(im.anomaly_scores(model, X), np.sum(parts, axis=0))
    z = model.encode(X).astype(np.float64)
    np.testing.assert_allclose(parts[1], -model.prior_.log_prob(z), rtol=1e-6)


def test_an_item_of_the_reference_is_compared_with_the_others() -> None:
    rows = np.random.default_rng(0).standard_normal((40, 3))
    found = LocalOutliers(rows, ranged=False)(rows)[:, 0]
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2) + 1e9 * np.eye(40)
    np.testing.assert_allclose(found, distances.min(1), rtol=1e-12)


def test_the_outlier_factor_is_that_of_scikit_learn() -> None:
    from sklearn.neighbors import LocalOutlierFactor

    rows = np.random.default_rng(0).standard_normal((300, 4))
    found = LocalOutliers(rows)(rows)
    for place, k in ((1, 5), (2, 20)):
        theirs = -LocalOutlierFactor(k).fit(rows / np.ptp(rows, axis=0)).negative_outlier_factor_
        np.testing.assert_allclose(found[:, place], theirs, rtol=1e-6)


def test_a_trained_embedding_finds_what_an_untrained_one_does_not(model: Any) -> None:
    normal = on_a_plane(200, 1)
    both, truth = np.concatenate([normal, tampered(normal, 2)[0]]), np.repeat([0, 1], 200)
    assert roc_auc_score(truth, im.anomaly_scores(model, both, "reconstruction")) > 0.98
    assert roc_auc_score(truth, im.anomaly_scores(model.untrained(), both, "reconstruction")) < 0.9


def test_the_detector_needs_the_items_that_it_learns_from(detector: im.AnomalyDetector) -> None:
    normal = on_a_plane(200, 1)
    both, truth = np.concatenate([normal, tampered(normal, 2)[0]]), np.repeat([0, 1], 200)
    assert roc_auc_score(truth, -detector.score_samples(both)) > 0.99
    noise = np.random.default_rng(0).standard_normal((300, 6)) * normal.std(0)  # the same columns, unrelated
    unaware = im.AnomalyDetector().fit(noise)
    assert roc_auc_score(truth, -unaware.score_samples(both)) < 0.95


def test_a_heap_of_anomalies_may_be_among_what_it_learns_from() -> None:
    random = np.random.default_rng(0)
    X = np.concatenate([on_a_plane(300, 0), 6 + 0.3 * random.standard_normal((60, 6))])
    truth = np.repeat([0, 1], [300, 60])
    trusting, wary = (im.AnomalyDetector(contaminated=wary).fit(X) for wary in (False, True))
    assert roc_auc_score(truth, -wary.score_samples(X)) > 0.99
    assert roc_auc_score(truth, -trusting.score_samples(X)) < 0.9


def test_farthest_leaves_out_a_heap_that_keeps_together() -> None:
    random = np.random.default_rng(0)
    rows = np.concatenate([random.standard_normal((400, 3)), 8 + 0.01 * random.standard_normal((60, 3))])
    assert farthest(rows, 0.2, 0)[400:].all()
    assert farthest(rows, 0.2, 0).sum() == 92


# ---- what is strange -------------------------------------------------------------------------------------------------


def test_contributions_point_to_the_tampered_column(model: Any) -> None:
    bad, columns = tampered(on_a_plane(200, 1), 2)
    parts = im.contributions(model, bad)
    assert parts.shape == (200, 6)
    assert (parts.argmax(1) == columns).mean() > 0.93
    assert (im.contributions(model.untrained(), bad).argmax(1) == columns).mean() < 0.8
    np.testing.assert_allclose(parts.sum(1), im.anomaly_scores(model, bad, "reconstruction"))


def test_contributions_point_to_the_tampered_pixel_and_step() -> None:
    digits = im.datasets.digits()
    pictures = im.PCA(16).fit(digits[:1000])
    bad = digits[1000:1050].copy()
    bad[:, 4, 0] = 255 - bad[:, 4, 0]
    parts = im.contributions(pictures, bad)
    assert parts.shape == (50, 1, 8, 8)
    assert (parts.reshape(50, -1).argmax(1) == 32).mean() > 0.9
    time = np.linspace(0, 6, 40)
    waves = np.sin(time + np.random.default_rng(0).uniform(0, 6, (200, 1))).astype(np.float32)
    series = im.PCA(2, format="series").fit(waves)
    broken = waves[:20].copy()
    broken[:, 17] += 1
    parts = im.contributions(series, broken)
    assert parts.shape == (20, 1, 40)
    assert (parts[:, 0].argmax(1) == 17).all()


def test_tables_with_holes_and_levels_never_seen(mixed: Callable[..., Any]) -> None:
    frame = mixed(300)
    for embedding in (None, im.PCA(4), im.VAE(3, epochs=2, verbose=False)):
        found = im.AnomalyDetector(embedding).fit(frame)
        new = mixed(40, seed=1)
        scores = im.anomaly_scores(found, new)
        assert np.isfinite(scores).all()
        assert scores.tolist()[:3] == [im.anomaly_scores(found, new[i : i + 1])[0] for i in range(3)]
        parts = im.contributions(found, new)
        columns = list(found.model_.format_.columns)
        assert parts.shape == (40, len(columns))
        at = new["length"].isna().to_numpy()
        assert at.any()
        assert (parts[at, columns.index("length")] == 0).all()
        assert not parts[:, columns.index("always")].any()
    new.loc[:, "town"] = "Atlantis"
    with pytest.warns(im.errors.IsthmusWarning, match="town"):
        assert np.isfinite(im.anomaly_scores(found, new)).all()


def test_a_strange_row_of_a_table_and_its_column() -> None:
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    size = random.standard_normal(400)
    frame = pd.DataFrame({"height": 170 + 10 * size, "weight": 70 + 9 * size + random.standard_normal(400),
                          "shoe": np.round(42 + 2 * size), "town": random.choice(["Rome", "Oslo"], 400)})  # fmt: skip
    model = im.PCA(2).fit(frame)
    bad = frame[:50].copy()
    bad["weight"] += 30
    scores = im.anomaly_scores(model, pd.concat([frame[50:100], bad]), reference=frame)
    assert roc_auc_score(np.repeat([0, 1], 50), scores) > 0.99
    worst = im.contributions(model, bad).argmax(1)
    assert (np.array(model.format_.columns)[worst] == "weight").mean() > 0.9


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_with_its_p_values(model: Any) -> None:
    normal, bad = on_a_plane(150, 3), tampered(on_a_plane(50, 4), 2)[0]
    X = np.concatenate([normal, bad])
    found = im.detect(model, X, 0.1, reference=on_a_plane(300, 0), calibration=on_a_plane(300, 5))
    assert found.flagged[150:].mean() > 0.9
    assert found.flagged[:150].sum() <= 15
    assert found.p_values.min() == 1 / 301
    np.testing.assert_array_equal(found.scores, im.anomaly_scores(model, X, reference=on_a_plane(300, 0)))
    assert found.scores[found.flagged].min() > found.scores[~found.flagged].max(), "the strangest are listed"


def test_the_list_is_the_same_in_any_order_and_another_with_another_seed(model: Any) -> None:
    X = np.concatenate([on_a_plane(150, 3), tampered(on_a_plane(5, 4), 2)[0]])
    order = np.random.default_rng(0).permutation(len(X))
    calibration, lists = on_a_plane(40, 5), []
    for seed in range(12):
        flagged = im.detect(model, X, 0.1, calibration=calibration, seed=seed).flagged
        again = im.detect(model, X[order], 0.1, calibration=calibration[::-1], seed=seed).flagged
        np.testing.assert_array_equal(again, flagged[order])
        lists.append(int(flagged.sum()))
    assert len(set(lists)) > 1, "41 steps of p are too coarse for 155 items at 10 %: chance decides"
    with pytest.raises(SettingError, match="seed=-1: expected a whole number"):
        im.detect(model, X, calibration=calibration, seed=-1)


def test_p_values_of_a_detector_are_uniform_on_normal_items() -> None:
    found = []
    for seed in range(12):
        detector = im.AnomalyDetector(random_state=seed, held_out=0.4).fit(on_a_plane(150, 100 + seed))
        found.append(p_values(detector.calibration_, -detector.score_samples(on_a_plane(100, 200 + seed))))
    p = np.concatenate(found)
    for level in (0.1, 0.3, 0.5, 0.8):  # 12 calibrations of 60: a deviation of sqrt(t (1 - t) / 720) and that of 1,200
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) * (1 / 720 + 1 / 1200)) + 0.01


def test_predict_calls_so_many_normal_items_outliers() -> None:
    detector = im.AnomalyDetector(false_alarms=0.1, held_out=0.5).fit(on_a_plane(1000, 0))
    assert 0.05 < (detector.predict(on_a_plane(500, 1)) == -1).mean() < 0.16
    scores = detector.score_samples(on_a_plane(50, 2))
    np.testing.assert_array_equal(detector.decision_function(on_a_plane(50, 2)), scores - detector.offset_)
    assert len(detector.calibration_) == 500


# ---- scikit-learn's face ---------------------------------------------------------------------------------------------


def test_scikit_learn_s_own_checks() -> None:
    check_estimator(im.AnomalyDetector(), on_skip=None)
    check_estimator(im.AnomalyDetector(im.PCA(1), contaminated=True, held_out=0.2), on_skip=None)


def test_the_same_seed_gives_the_same_detector_and_fit_forgets() -> None:
    X, new = on_a_plane(80, 0), on_a_plane(10, 1)
    once = im.AnomalyDetector(random_state=3).fit(X).score_samples(new)
    again = im.AnomalyDetector(random_state=3).fit(X[:30, ::-1]).fit(X)
    np.testing.assert_array_equal(once, again.score_samples(new))
    assert (once != im.AnomalyDetector(random_state=4).fit(X).score_samples(new)).any()


@pytest.mark.parametrize("embedding", [None, im.Autoencoder(4, epochs=2, verbose=False)])
def test_pictures_and_any_embedding(embedding: Any) -> None:
    digits = im.datasets.digits()
    detector = im.AnomalyDetector(embedding).fit(digits[:300])
    upside_down = digits[300:400, ::-1]
    scores = im.anomaly_scores(detector, np.concatenate([digits[300:400], upside_down]))
    assert roc_auc_score(np.repeat([0, 1], 100), scores) > 0.7
    assert im.contributions(detector, digits[:2]).shape == (2, 1, 8, 8)


def test_wide_items_are_compared_by_their_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.verbs import anomalies

    monkeypatch.setattr(anomalies, "WIDE", 4)
    normal = on_a_plane(200, 1)
    both = np.concatenate([normal, tampered(normal, 2)[0]])
    detector = im.AnomalyDetector().fit(on_a_plane(300, 0))
    assert roc_auc_score(np.repeat([0, 1], 200), -detector.score_samples(both)) > 0.95


# ---- what is wrong is said -------------------------------------------------------------------------------------------


def test_settings_out_of_range(model: Any) -> None:
    X = on_a_plane(30, 0)
    with pytest.raises(SettingError, match="score='odd': expected one of 'combined', 'reconstruction'"):
        im.anomaly_scores(model, X, "odd")
    with pytest.raises(SettingError, match="needs reference=, the normal items"):
        im.anomaly_scores(model, X, "neighbours")
    with pytest.raises(SettingError, match="a detector has its own normal items"):
        im.anomaly_scores(im.AnomalyDetector().fit(X), X, reference=X)
    with pytest.raises(SettingError, match="made with another model"):
        im.anomaly_scores(im.PCA(2).fit(X), X, reference=Reference(model, X))
    for given in (model, im.AnomalyDetector().fit(X)):
        with pytest.raises(SettingError, match="calibration= is needed: normal items that the model has not learned"):
            im.detect(given, X)
    for fdr in (0, 1, -0.1, "5%", None, True, np.nan):
        with pytest.raises(SettingError, match="fdr=.*: expected a number above 0 and below 1"):
            im.detect(model, X, fdr, calibration=X)  # type: ignore[arg-type]
    for setting, value in (("held_out", 1), ("held_out", -0.1), ("false_alarms", 0), ("contaminated", "yes"),
                           ("random_state", -1)):  # fmt: skip
        with pytest.raises(SettingError, match=f"{setting}="):
            im.AnomalyDetector(**{setting: value}).fit(X)
    with pytest.raises(NotSupported, match="expected an embedding, such as"):
        im.AnomalyDetector("pca").fit(X)


def test_models_that_cannot(model: Any) -> None:
    X = on_a_plane(30, 0)
    for call in (im.anomaly_scores, im.contributions):
        with pytest.raises(NotSupported, match="str is neither an embedding nor an AnomalyDetector"):
            call("model.isthmus", X)
        with pytest.raises(NotFittedError):
            call(im.PCA(2), X)
    with pytest.raises(NotFittedError):
        im.AnomalyDetector().score_samples(X)


def test_items_that_cannot_be_scored(model: Any, detector: im.AnomalyDetector) -> None:
    X = on_a_plane(30, 0)
    for given in (model, detector):
        with pytest.raises(FormatError, match="X has 5 features"):
            im.anomaly_scores(given, X[:, :5])
        with pytest.raises(DataError, match="NaN"):
            im.anomaly_scores(given, np.where(X[3, 2] == X, np.nan, X))
        with pytest.raises(DataError):
            im.anomaly_scores(given, X[:0])
    with pytest.raises(DataError, match="two items at least"):
        im.AnomalyDetector().fit(X[:1])
    with pytest.raises(DataError, match="two at least"):
        im.anomaly_scores(model, X, reference=X[:1])


def test_columns_of_one_value_huge_values_and_few_items() -> None:
    X = on_a_plane(40, 0)
    X[:, 2], X[:, 3] = 5.0, X[:, 3] * 1e12
    detector = im.AnomalyDetector().fit(X)
    new = on_a_plane(10, 1)
    new[:, 2], new[:, 3] = 5.0, new[:, 3] * 1e12
    far = new.copy()
    far[:, 2] = 6.0  # never seen to differ
    far[5:, 0] = 1e15
    assert np.isfinite(-detector.score_samples(far)).all()
    assert im.anomaly_scores(detector, far).min() > im.anomaly_scores(detector, new).mean()
    for few in (2, 3, 5):
        assert np.isfinite(im.AnomalyDetector().fit(X[:few]).score_samples(new)).all()
    same = im.AnomalyDetector().fit(np.ones((20, 3)))
    assert (same.predict(np.ones((2, 3))) == 1).all()
    assert (same.predict(np.full((2, 3), 2.0)) == -1).all()
    one = im.AnomalyDetector().fit(X[:, :1])
    assert one.score_samples([[100.0]]) < one.score_samples([[0.0]])


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main([str(argument) for argument in arguments])
        return int(exit.value.code or 0), *capsys.readouterr()

    digits = im.datasets.digits()
    model, new, held_out, out = (tmp_path / name for name in ("d.isthmus", "new.npy", "held.npy", "strange.csv"))
    im.PCA(16).fit(digits[:1000]).save(model)
    some = digits[1500:1600].copy()
    some[42, 2:6, 0] = 255
    np.save(new, some)
    np.save(held_out, digits[1000:1500])
    code, text, _ = run("anomalies", model, new, "--top", 3)
    assert not code
    lines = text.splitlines()
    assert lines[0].split() == ["item", "score", "where"]
    assert lines[1].split()[0] == "42"
    assert lines[1].endswith(", 0")
    assert len(lines) == 4
    code, text, error = run("anomalies", model, new, "--calibration", held_out, "--reference", held_out, "-o", out)
    assert not code
    assert "of 100 items are flagged; 5% of those are expected to be normal" in text
    assert "wrote" in error
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert len(rows) == 100
    assert list(rows[0]) == ["item", "score", "p_value", "flagged", "where"]
    reference = Reference(im.load(model), digits[1000:1500])
    expected = im.anomaly_scores(reference.model, some, reference=reference)
    np.testing.assert_array_equal([float(row["score"]) for row in rows], expected)
    code, _, error = run("anomalies", model, new, "--score", "neighbours")
    assert code == 2
    assert "--reference" in error
    code, _, error = run("anomalies", model, new, "--calibration", new, "--fdr", "0.001")
    assert code == 1
    assert "999" in error


def test_calibrating_with_the_items_of_the_fit_is_warned_of(tmp_path: Path, capsys: Any) -> None:
    seen, new = on_a_plane(300, 0), on_a_plane(50, 1)
    model = im.PCA(2).fit(seen)
    with pytest.warns(im.errors.IsthmusWarning, match="learned from 300 of the 300 items to calibrate with.* too low"):
        im.detect(model, new, calibration=seen)
    im.detect(model, new, calibration=on_a_plane(300, 2))  # warnings are errors
    np.save(tmp_path / "seen.npy", seen)
    fitted = tmp_path / "m.isthmus"
    for line in (
        ["fit", f"{tmp_path}/seen.npy", "-o", f"{fitted}", "--model", "pca", "--latent", "2"],
        ["anomalies", f"{fitted}", f"{tmp_path}/seen.npy", "--calibration", f"{tmp_path}/seen.npy"],
    ):
        with pytest.raises(SystemExit) as exit:
            cli.main(line)
        assert not exit.value.code
    assert "note: the model has learned from 270 of the 300 items to calibrate with" in capsys.readouterr().err
