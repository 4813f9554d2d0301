"""The Gaussian that helps to fill holes: closed forms, what it learns through holes, the pool, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from isthmus.formats import TableFormat
from isthmus.formats.layout import Guess
from isthmus.models import PCA, VAE, Autoencoder, conditional, load
from isthmus.models.conditional import Conditional, Said, conditional_of
from isthmus.verbs.impute import impute

pd = pytest.importorskip("pandas")
pytest.importorskip("datasketches")

COVARIANCE = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.0], [0.3, 0.0, 1.0]])


def gaussian(n: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of COVARIANCE, whole and with a share of holes."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, 3)) @ np.linalg.cholesky(COVARIANCE).T
    return x, np.where(random.random(x.shape) < share, np.nan, x)


def of(mean: Any, covariance: Any) -> Conditional:
    return Conditional(mean, covariance, np.zeros(len(mean)), np.zeros(len(mean)))


def test_what_is_missing_has_the_moments_of_the_textbook() -> None:
    mean = np.array([1.0, -1.0, 0.5])
    x = np.array([[2.0, np.nan, np.nan], [np.nan] * 3, [0.0, 1.0, np.nan], [1.0, 2.0, 3.0]])
    said = of(mean, COVARIANCE).said(torch.from_numpy(x))
    for row, means, variances in zip(x, *said, strict=True):
        m = np.isnan(row)
        along = COVARIANCE[np.ix_(m, ~m)] @ np.linalg.pinv(COVARIANCE[np.ix_(~m, ~m)])
        assert_allclose(means[m], mean[m] + along @ (row - mean)[~m], atol=1e-12)
        assert_allclose(variances[m], np.diag(COVARIANCE)[m] - (along @ COVARIANCE[np.ix_(~m, m)]).diagonal())
        assert_array_equal(means[~m], row[~m])
        assert_array_equal(variances[~m], 0)


def test_a_row_is_filled_alike_whatever_else_is_there() -> None:
    random = np.random.default_rng(0)
    spread = random.standard_normal((40, 40))
    model = of(np.zeros(40), spread @ spread.T + np.eye(40))
    x = random.standard_normal((700, 40))
    x[random.random(x.shape) < random.random((700, 1))] = np.nan
    whole = model.said(torch.from_numpy(x))
    order = random.permutation(700)
    for part in (order, order[:300], order[:1]):
        assert_array_equal(model.said(torch.from_numpy(x[part])).means, whole.means[part])


def test_the_covariance_is_learned_through_holes() -> None:
    _, holes = gaussian(4000, 0.3)
    learned = Conditional.learned(holes, 3)
    assert_allclose(learned.covariance, COVARIANCE, atol=0.06)
    filled = np.nan_to_num(holes)  # the mean in every hole says less of what goes together
    assert abs(np.cov(filled.T)[0, 1] - 0.8) > 0.25


def test_holes_that_lie_together_and_columns_of_no_spread() -> None:
    _, holes = gaussian(300, 0.2)
    x = np.column_stack([holes, np.zeros(300), np.where(np.isnan(holes[:, 0]), np.nan, 1 - holes[:, 0])])
    x[:5] = np.nan
    learned = Conditional.learned(x, 5)
    said = learned.said(torch.from_numpy(x))
    assert np.isfinite(said.means).all()
    assert (said.variances >= 0).all()
    assert_allclose(said.means[0], learned.mean, atol=1e-9)  # a row that says nothing
    assert np.isfinite(Conditional.learned(x[:2], 5).covariance).all()


def test_the_weights_are_those_of_who_is_right() -> None:
    form = TableFormat().fit(frame())
    x = form.scale(form.to_tensor(frame())).numpy()
    random, asked = np.random.default_rng(0), np.ones(x.shape, bool)
    model = Conditional.learned(form.linear(torch.from_numpy(x)).numpy(), 3)
    said = model.said(form.linear(torch.full(x.shape, torch.nan)))  # it knows but what is usual
    right = {element: (x[:, element], 0.0) for element in (0, 1)}
    wrong = {element: (random.standard_normal(len(x)), 1.0) for element in (0, 1)}
    sure = np.where(x[:, 2:] == np.arange(2), 0.99, 0.01)
    model.weigh(Guess(len(x), right, {2: sure}), form, said, x, asked)
    assert model.trust.min() > 0.9
    assert model.doubt[:2].max() < 0.1
    model.weigh(Guess(len(x), wrong, {2: 1 - sure}), form, said, x, asked)
    assert model.trust.max() < 0.2
    assert_allclose(model.doubt[:2], 1, atol=0.2)


def test_a_column_that_was_not_asked_about_is_as_the_others_are() -> None:
    form = TableFormat().fit(frame())
    x = form.scale(form.to_tensor(frame())).numpy()
    asked = np.zeros(x.shape, bool)
    asked[:, 0] = True
    model = Conditional.learned(form.linear(torch.from_numpy(x)).numpy(), 3)
    said = model.said(form.linear(torch.full(x.shape, torch.nan)))
    even = np.full((len(x), 2), 0.5)
    model.weigh(Guess(len(x), {e: (x[:, e], 0.0) for e in (0, 1)}, {2: even}), form, said, x, asked)
    assert model.trust[1] > 0.8
    assert model.trust[2] == pytest.approx(0.5)


def frame(n: int = 400, seed: int = 0) -> Any:
    """Two numbers and a choice."""
    x, _ = gaussian(n, 0.0, seed)
    return pd.DataFrame({"a": x[:, 0], "b": 10 * x[:, 1], "c": np.where(x[:, 2] > 0, "yes", "no")})


@pytest.mark.parametrize("make", [PCA, Autoencoder, VAE])
def test_what_fills_holes_is_saved_and_forgotten(make: Any, tmp_path: Path) -> None:
    given = {} if make is PCA else {"epochs": 2, "size": "small", "verbose": False}
    table = frame()
    table.loc[::5, "a"] = None
    table.loc[1::5, "c"] = None
    model = make(2, **given).fit(table)
    model.save(tmp_path / "model.isthmus")
    again = load(tmp_path / "model.isthmus")
    for name, array in model._conditional.arrays().items():
        assert_array_equal(again._conditional.arrays()[name], array)
    pd.testing.assert_frame_equal(impute(again, table, "mean"), impute(model, table, "mean"))
    assert model.untrained()._conditional is None
    assert model.fit(np.random.default_rng(0).standard_normal((50, 4)))._conditional is None


def test_a_line_is_found_that_a_code_of_one_number_cannot_hold() -> None:
    x, _ = gaussian(600, 0.0, 3)
    whole = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "d": x[:, 2] + 0.1 * x[:, 1]})
    holes = whole.copy()
    holes.loc[::4, "d"] = None
    model = PCA(1, format="table").fit(holes)
    at = holes["d"].isna()
    filled = impute(model, holes, "mean")["d"][at]
    model._conditional = None
    alone = impute(model, holes, "mean")["d"][at]
    assert np.square(filled - whole["d"][at]).mean() < 0.05
    assert np.square(alone - whole["d"][at]).mean() > 0.15


def test_a_wide_table_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    form = TableFormat().fit(frame())
    stored = form.to_tensor(frame())
    assert conditional_of(form, stored) is not None
    assert conditional_of(form, stored[:1]) is None
    monkeypatch.setattr(conditional, "MOST_LINES", 3)
    assert conditional_of(form, stored) is None
    model = PCA(2).fit(frame())
    assert model._conditional is None
    holes = frame()
    holes.loc[0, "a"] = None
    assert impute(model, holes).notna().all(axis=None)


def test_arrays_that_do_not_go_together() -> None:
    good = of(np.zeros(3), COVARIANCE).arrays()
    for bad in ({"mean": np.zeros(2)}, {"covariance": -COVARIANCE}, {"trust": np.full(3, 2.0)}, {"doubt": np.zeros(1)}):
        with pytest.raises(ValueError):
            Conditional(**(good | bad))
    with pytest.raises(ValueError, match="another table"):
        of(np.zeros(3), COVARIANCE).require(TableFormat().fit(frame()))
    assert isinstance(of(np.zeros(3), COVARIANCE).said(torch.zeros(0, 3)), Said)
