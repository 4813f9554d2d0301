"""``isthmus.plots``: what is drawn is the model's own, in the Axes that is given, on light and on dark paper."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from sklearn.datasets import load_digits, load_wine

import isthmus as im
from isthmus import metrics, plots
from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.evaluate import error_curves
from isthmus.verbs.traverse import range_of

X, y = load_digits(return_X_y=True)
X, y = (X.reshape(-1, 8, 8)[:300] * 15.9).astype(np.uint8), y[:300]
random = np.random.default_rng(0)
WAVES = np.sin(np.linspace(0, 6, 30) * random.uniform(0.5, 2, (120, 1)) + random.uniform(0, 6, (120, 1)))
WINE = load_wine().data


@pytest.fixture(scope="module")
def images() -> Any:
    return im.PCA(6).fit(X)


@pytest.fixture(scope="module")
def trained() -> Any:
    return im.VAE(4, epochs=3, ordered=True, network=(32,), verbose=False).fit(X)


@pytest.fixture(scope="module")
def waves() -> Any:
    return im.PCA(3, format="series").fit(WAVES)


@pytest.fixture(scope="module")
def wine() -> Any:
    return im.PCA(3, format=im.formats.VectorFormat("standard")).fit(WINE)


@pytest.fixture(scope="module")
def table(mixed: Callable[..., Any]) -> tuple[Any, Any]:
    frame = mixed(150)
    return im.PCA(3).fit(frame), frame


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def pixels(ax: Any) -> np.ndarray:
    return np.stack([image.get_array() for image in ax.images])


# --- The values are the model's -------------------------------------------------------------------------------------


def test_reconstructions_are_what_decode_gives_with_the_errors_of_evaluate(images: Any) -> None:
    ax = plots.reconstructions(images, X, rows=[3, 7, 250])
    shown = pixels(ax)
    assert len(shown) == 6
    np.testing.assert_allclose(shown[:3], X[[3, 7, 250]] / 255, atol=1e-6)
    np.testing.assert_allclose(shown[3:], images.decode(images.encode(X[[3, 7, 250]])) / 255, atol=1e-6)
    told = [float(text) for text in texts(ax) if text[0].isdigit()]
    again = images._in_blocks(images._linear_mean, images._in_blocks(images._encode_stored, images._stored(X)))
    expected = metrics.squared_error(images.format_.scale(images._stored(X)), again)
    np.testing.assert_allclose(told, expected[[3, 7, 250]], atol=0.005)
    from isthmus.view.items import errors_of

    row = im.evaluate(images, X[:200], train=X[200:]).rows[0]
    assert errors_of(images, images._stored(X[:200])).mean() == pytest.approx(row["squared_error"], rel=1e-6)


def test_several_models_have_a_row_each_and_items_come_from_all_over(images: Any, trained: Any) -> None:
    ax = plots.reconstructions({"PCA": images, "VAE": trained}, X, n=4)
    assert [text for text in texts(ax) if text.isalpha()] == ["given", "PCA", "VAE"]
    assert len(ax.images) == 12
    np.testing.assert_allclose(pixels(ax)[:4], X[[0, 100, 199, 299]] / 255, atol=1e-6)
    np.testing.assert_allclose(pixels(ax)[8:], trained.reconstruct(X[[0, 100, 199, 299]]) / 255, atol=1e-6)


def test_samples_are_those_of_the_seed(images: Any) -> None:
    np.testing.assert_allclose(pixels(plots.samples(images, 7, seed=3)), images.sample(7, 3) / 255, atol=1e-6)


def test_traversals_are_those_of_the_verb(images: Any) -> None:
    ax = plots.traversals(images, X, item=5, latents=(2, 0), steps=4)
    rows = [im.traverse(images, X[5], latent, steps=4, X=X) for latent in (2, 0)]
    np.testing.assert_allclose(pixels(ax), np.concatenate(rows) / 255, atol=1e-6)
    assert texts(ax) == ["latent 2", "latent 0"]
    found = plots.traversals(images, X)
    assert texts(found) == [f"latent {row['latent']}" for row in im.latents(images, X)]


def test_interpolations_are_those_of_the_verb(images: Any) -> None:
    ax = plots.interpolations(images, X[:2], X[5:7], steps=5)
    rows = [im.interpolate(images, X[i], X[5 + i], 5) for i in range(2)]
    np.testing.assert_allclose(pixels(ax), np.concatenate(rows) / 255, atol=1e-6)


def test_templates_are_decoded_class_means_and_the_decoded_zero(images: Any) -> None:
    ax = plots.templates(images, X, y)
    codes = images.encode(X)
    middles = np.stack([np.zeros(6), *(codes[y == digit].mean(0) for digit in range(10))])
    np.testing.assert_allclose(pixels(ax), images.decode(middles) / 255, atol=1.01 / 255)
    assert texts(ax) == ["zero", *"0123456789"]
    np.testing.assert_allclose(pixels(ax)[0], images.mean_.reshape(8, 8), atol=1.01 / 255)  # PCA's zero is the mean


def test_the_grid_is_decoded_and_the_items_stand_beside_it(images: Any) -> None:
    ax = plots.decoded_grid(images, X, (1, 3), steps=4, labels=y)
    grid, beside = ax.child_axes
    np.testing.assert_allclose(pixels(grid), im.decoded_grid(images, (1, 3), steps=4, X=X) / 255, atol=1e-6)
    points = np.asarray(beside.collections[0].get_offsets())
    codes = images.encode(X)[:, [1, 3]]
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(codes, axis=0), rtol=1e-5)
    frame = beside.lines[0].get_xydata()
    np.testing.assert_allclose(frame.min(0), [range_of(codes[:, j], 2)[0] for j in (0, 1)], rtol=1e-5)


def test_a_map_holds_every_item_once_and_new_ones_in_rings(images: Any) -> None:
    ax = plots.map_2d(images, X, y, new=X[:3])
    found = plots.project(images.encode(X))
    points, rings = (np.asarray(part.get_offsets()) for part in ax.collections)
    order = np.lexsort(points.T), np.lexsort(found.places.T)
    np.testing.assert_allclose(points[order[0]], found.places[order[1]], rtol=1e-5)
    np.testing.assert_allclose(rings, found.places[:3], rtol=1e-5)
    assert texts(ax) == list("0123456789")
    again = plots.map_2d(images, X[:20], projection=found)
    placed = np.asarray(again.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(placed, axis=0), np.sort(found.places[:20], axis=0), rtol=1e-5)


def test_thumbnails_are_items_where_they_lie_and_none_over_another(images: Any) -> None:
    ax = plots.map_2d(images, X, thumbnails=True)
    places = plots.project(images.encode(X)).places
    assert 10 < len(ax.images) < 300
    boxes = []
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        nearest = np.abs(places - [(left + right) / 2, (bottom + top) / 2]).sum(1).argmin()
        np.testing.assert_allclose(image.get_array(), X[nearest] / 255, atol=1e-6)
        assert all(right < a or b < left or top < c or d < bottom for a, b, c, d in boxes)
        boxes.append((left, right, bottom, top))


def test_the_curve_ends_where_evaluate_is(trained: Any, images: Any) -> None:
    report = im.evaluate(trained, X)  # the tenth that training held out
    curves = error_curves(trained, X)
    errors = {row["model"]: row["squared_error"] for row in report.rows}
    assert curves["k"] == [1, 2, 3, 4]
    assert curves["items"] == 30
    assert curves["model"][-1] == pytest.approx(errors["VAE(4)"], rel=1e-6)
    assert curves["pca"][-1] == pytest.approx(errors["PCA of the same size"], rel=1e-6)
    assert curves["nothing"] == pytest.approx(errors["the mean"], rel=1e-6)
    ax = plots.error_curve(trained, X)
    pca, own = ax.lines[0], ax.lines[1]
    np.testing.assert_allclose(own.get_ydata(), curves["model"])
    np.testing.assert_allclose(pca.get_ydata(), curves["pca"])
    assert {"PCA", "VAE"} <= set(texts(ax))
    held_out = X[200:]
    alone = error_curves(im.PCA(6).fit(X[:200]), held_out, train=X[:200])
    np.testing.assert_allclose(alone["model"], im.PCA(6).fit(X[:200]).error_curve(held_out), rtol=1e-6)
    assert alone["pca"] == []


def test_a_model_without_order_has_its_point_beside_the_curve_of_pca() -> None:
    model = im.Autoencoder(3, epochs=2, network=(16,), verbose=False).fit(X[:200])
    curves = error_curves(model, X[200:], limit=50)
    assert (len(curves["model"]), len(curves["pca"]), curves["items"]) == (1, 3, 50)
    ax = plots.error_curve(model, curves=curves)
    assert list(ax.lines[1].get_xdata()) == [3]


def test_many_latents_are_asked_for_in_steps() -> None:
    curves = error_curves(im.PCA(40).fit(X), X)
    assert curves["k"][:16] == list(range(1, 17))
    assert curves["k"][-1] == 40
    assert len(curves["k"]) < 25
    assert (np.diff(curves["model"]) < 0).all()


def test_bars_are_shares_of_effects_and_grey_where_not_in_use() -> None:
    flat = np.concatenate([WINE[:, :2], np.zeros((len(WINE), 2)) + random.normal(size=(len(WINE), 2)) * 1e-6], axis=1)
    model = im.PCA(4).fit(flat)
    rows = im.latents(model, flat)
    ax = plots.active_units(model, flat)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], [100 * row["share"] for row in rows])
    grey = [to_hex(bar.get_facecolor()).upper() == plots.LIGHT.rule for bar in ax.patches]
    assert grey == [not row["active"] for row in rows] == [False, False, True, True]
    assert "2 of 4 in use" in texts(ax)


def test_training_draws_the_history(trained: Any) -> None:
    ax = plots.training(trained)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.ravel(trained.history_["loss"]))
    np.testing.assert_allclose(ax.lines[1].get_ydata(), trained.history_["held_out"])
    best = trained.history_["best_epoch"]
    assert ax.lines[2].get_xydata().tolist() == [[best, min(trained.history_["held_out"])]]


def test_bars_of_columns_are_errors_by_guesses(table: tuple[Any, Any]) -> None:
    model, frame = table
    report = im.evaluate(model, frame)
    ax = plots.column_errors(report)
    expected = sorted((row["error"] / row["guess"] for row in report.columns if row["guess"] > 0), reverse=True)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], expected)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert set(names) == {row["column"] for row in report.columns if row["guess"] > 0}


def test_contributions_of_an_image_a_series_and_a_row() -> None:
    added = random.normal(size=(8, 8))
    ax = plots.contributions(X[0], added)
    np.testing.assert_allclose(ax.images[0].get_array(), X[0] / 255)
    np.testing.assert_allclose(ax.images[1].get_array(), added)
    assert ax.images[1].get_clim() == (-np.abs(added).max(), np.abs(added).max())  # nothing added is paper
    ax = plots.contributions(WAVES[0], np.arange(30.0))
    np.testing.assert_allclose(ax.child_axes[0].lines[0].get_ydata(), WAVES[0])
    assert [bar.get_height() for bar in ax.child_axes[1].patches] == list(range(30))
    ax = plots.contributions(["Oslo", 4.25, None], [0.5, -3, 1], ["town", "age", "when"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["age = 4.25", "when = –", "town = Oslo"]
    assert [bar.get_width() for bar in ax.patches] == [-3, 1, 0.5]


def test_layers_stand_side_by_side_in_their_order() -> None:
    places = random.normal(size=(40, 2))
    ax = plots.layers({"in": places, "middle": X[0], "out": places * 2}, np.arange(40) % 3)
    assert [inner.get_title(loc="left") for inner in ax.child_axes] == ["in", "middle", "out"]
    assert len(ax.child_axes[0].collections) == len(ax.child_axes[1].images) == 1
    found = im.layers(im.VAE(2, epochs=1, network=(8,), verbose=False).fit(X[:40]), X[:40])
    assert len(plots.layers(found).child_axes) == len(found.maps) > 1
    lefts = [inner.get_position().x0 for inner in ax.child_axes]
    assert lefts == sorted(lefts)


# --- Every kind of item ---------------------------------------------------------------------------------------------


def test_series_and_vectors_are_curves_and_reconstructions_lie_over_them(waves: Any, wine: Any) -> None:
    for model, items in ((waves, WAVES), (wine, WINE)):
        ax = plots.reconstructions(model, items, n=3)
        assert not ax.images
        assert len(ax.lines) == 3 + 2 * 3  # given; given faintly, and what came back
        width = items.shape[1]
        assert all(len(line.get_xdata()) == width for line in ax.lines)
        given, again = ax.lines[0].get_ydata(), ax.lines[4].get_ydata()
        scaled = model.format_.scale(model._stored(items[:1])).numpy().ravel()
        back = model.format_.scale(model._stored(model.reconstruct(items[:1]))).numpy().ravel()
        shift = ax.lines[3].get_ydata() - given  # the same curve, a row lower
        assert np.ptp(shift) < 1e-9
        slope = np.polyfit(scaled, given, 1)[0]
        np.testing.assert_allclose(again - ax.lines[3].get_ydata(), slope * (back - scaled), atol=1e-5)
        assert len(plots.samples(model, 4).lines) == 4
        assert len(plots.traversals(model, items, latents=(0,), steps=5).lines) == 5
        assert len(plots.interpolations(model, items[:1], items[1:2], steps=5).lines) == 5
        assert len(plots.templates(model, items, np.arange(len(items)) % 2).lines) == 3
        assert len(plots.decoded_grid(model, items, steps=3).child_axes[0].lines) == 9
        assert len(plots.map_2d(model, items, thumbnails=True).lines) > 5


def test_rows_of_a_table_that_are_not_drawn_are_counted(table: tuple[Any, Any]) -> None:
    titles = [plots.samples(table[0], n).get_title("left") for n in (8, 9, 12)]
    assert ["more" in title for title in titles] == [False, True, True]
    assert titles[1].startswith("and 1 row more")
    assert titles[2].startswith("and 4 rows more")


def test_rows_of_tables_are_cells(table: tuple[Any, Any]) -> None:
    model, frame = table
    ax = plots.reconstructions(model, frame, rows=[4])
    words = texts(ax)
    assert {"row 4", "length", "town"} <= set(words)
    assert "key" not in words  # an identifier, which is not learned
    back = model.reconstruct(frame[4:5])
    place = words.index("row 4") + 1
    count = sum(bool(code.elements) for code in model.format_.codes_)
    shown = min(count, 14)
    names, given, again = words[:shown], words[place : place + shown], words[place + shown + 1 :]
    assert given[names.index("age")] == str(frame["age"][4])
    assert again[names.index("age")] == str(back["age"].iloc[0])
    assert "row 3" in texts(plots.samples(model, 3))
    assert "zero" in texts(plots.templates(model, frame, np.arange(len(frame)) % 2))
    assert "latent 1" in plots.traversals(model, frame, latents=(1,), steps=3).get_title(loc="left")
    assert "100%" in texts(plots.interpolations(model, frame[:1], frame[1:2], steps=3))
    assert len(plots.map_2d(model, frame, frame["length"].to_numpy()).collections) == 1


def test_colour_images_and_torch_labels() -> None:
    import torch

    colour = random.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
    model = im.PCA(3).fit(colour)
    ax = plots.reconstructions(model, colour, n=2)
    assert ax.images[0].get_array().shape == (6, 5, 3)
    assert texts(plots.templates(model, colour, torch.arange(40) % 2)) == ["zero", "0", "1"]


# --- Axes, paper, and nothing else touched --------------------------------------------------------------------------

CALLS = {
    "reconstructions": lambda m, ax: plots.reconstructions(m, X, ax=ax),
    "samples": lambda m, ax: plots.samples(m, ax=ax),
    "traversals": lambda m, ax: plots.traversals(m, X, latents=(0, 1), ax=ax),
    "interpolations": lambda m, ax: plots.interpolations(m, X[:1], X[1:2], ax=ax),
    "templates": lambda m, ax: plots.templates(m, X, y, ax=ax),
    "decoded_grid": lambda m, ax: plots.decoded_grid(m, X, steps=3, ax=ax),
    "map_2d": lambda m, ax: plots.map_2d(m, X, y, thumbnails=True, ax=ax),
    "scatter": lambda m, ax: plots.scatter(random.normal(size=(50, 2)), random.normal(size=50), ax=ax),
    "layers": lambda m, ax: plots.layers({"a": random.normal(size=(9, 2)), "b": X[0]}, ax=ax),
    "error_curve": lambda m, ax: plots.error_curve(m, X, ax=ax),
    "active_units": lambda m, ax: plots.active_units(m, X, ax=ax),
    "training": lambda m, ax: plots.training(m, ax=ax),
    "column_errors": lambda m, ax: plots.column_errors(
        [{"column": "a", "error": 1.0, "guess": 2.0}, {"column": "b", "error": 3.0, "guess": 2.0}], ax=ax
    ),
    "contributions": lambda m, ax: plots.contributions(X[0], X[0] / 255, ax=ax),
}


def test_every_function_is_tried_here() -> None:
    functions = {name for name in plots.__all__ if callable(getattr(plots, name)) and not name.isupper()}
    assert functions - {"canvas", "project", "theme", "write"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_it_draws_into_the_axes_given_and_shows_itself_in_a_notebook(trained: Any, name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure = plots.canvas(5, 4)
    ax = figure.add_subplot()
    assert CALLS[name](trained, ax) is ax
    assert figure.axes == [ax]
    alone = CALLS[name](trained, None)
    assert isinstance(alone, Axes)
    assert alone._repr_png_().startswith(b"\x89PNG")  # warnings are errors here
    figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")  # another test may have imported it
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize("name", CALLS)
def test_ink_is_seen_on_dark_paper(trained: Any, name: str) -> None:
    with plots.theme("dark"):
        ax = CALLS[name](trained, None)
    figure = ax.get_figure(root=True)
    assert to_hex(figure.get_facecolor()).upper() == plots.DARK.paper
    given = plots.canvas(4, 3)
    given.set_facecolor("black")
    inner = given.add_subplot(facecolor="black")
    CALLS[name](trained, inner)
    assert to_hex(given.get_facecolor()) == "#000000"  # the user's own
    for one in (ax, inner):
        parts = [one, *one.child_axes]
        shown = [text for part in parts for text in [*part.texts, part.xaxis.label, part.yaxis.label]
                 if text.get_text()]  # fmt: skip
        allowed = {plots.DARK.ink, plots.DARK.faint, *plots.DARK.palette}
        assert {to_hex(text.get_color()).upper() for text in shown} <= allowed
    assert figure.axes[0]._repr_png_()


def test_light_paper_wins_over_the_theme_where_axes_are_given(trained: Any) -> None:
    ax = plots.canvas(4, 3).add_subplot()
    with plots.theme("dark"):
        plots.training(trained, ax=ax)
    assert to_hex(ax.xaxis.label.get_color()).upper() == plots.LIGHT.faint
    with pytest.raises(SettingError, match=r"theme\('blue'\): expected one of 'light', 'dark'"), plots.theme("blue"):
        pass


def test_names_are_names_and_no_formulas(images: Any) -> None:
    hostile = np.array(["$x^2$ & $", "a\nb\x07", "x" * 200, "😀 שלום <b>"])[np.arange(300) % 4]
    ax = plots.map_2d(images, X, hostile)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ax._repr_png_()
    assert r"\$x^2\$ & \$" in texts(ax)
    assert "a b" in texts(ax)
    assert max(map(len, texts(ax))) <= 18
    plots.column_errors([{"column": "$\\frac{", "error": 1.0, "guess": 2.0}])._repr_png_()
    plots.contributions(["$", "\\$"], [1.0, 2.0], ["$a", "b$"])._repr_png_()


def test_labels_that_are_numbers_are_a_scale_and_missing_ones_are_grey() -> None:
    places, values = random.normal(size=(60, 2)), np.linspace(0, 1, 60)
    values[7] = np.nan
    ax = plots.scatter(places, values)
    colours = [to_hex(colour).upper() for colour in ax.collections[0].get_facecolors()]
    points = np.asarray(ax.collections[0].get_offsets())
    of = {tuple(point): colour for point, colour in zip(points, colours, strict=True)}
    assert of[tuple(places[0])] == plots.LIGHT.ramp[0]
    assert of[tuple(places[-1])] == plots.LIGHT.ramp[-1]
    assert of[tuple(places[7])] == plots.LIGHT.faint
    assert "0  to  1" in texts(ax)
    named = plots.scatter(places, np.where(np.arange(60) == 3, None, "cat"))
    assert texts(named) == ["cat"]


# --- What cannot be drawn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, t: plots.samples(m, 0), SettingError, "n=0: expected a whole number from 1"),
        (lambda m, t: plots.samples(m, ax="here"), SettingError, "ax=str: expected one Axes of matplotlib"),
        (lambda m, t: plots.samples(object()), NotSupported, "plots.samples needs a model that can decode"),
        (lambda m, t: plots.reconstructions(m, X[:, :5]), DataError, "shape"),
        (lambda m, t: plots.reconstructions(m, X, rows=[300]), SettingError, "expected numbers from 0 to 299"),
        (lambda m, t: plots.traversals(m, X, item=300), SettingError, "item=300: .* from 0 to 299"),
        (lambda m, t: plots.traversals(m, X, latents=()), SettingError, "name one latent at least"),
        (lambda m, t: plots.traversals(m, X, latents=(9,)), SettingError, "latent=9: expected .* from 0 to 5"),
        (
            lambda m, t: plots.interpolations(m, X[:2], X[:3]),
            DataError,
            "2 and 3 items given: expected as many of both",
        ),
        (lambda m, t: plots.templates(m, X, y[:5]), DataError, r"labels of shape \(5,\) given for 300"),
        (lambda m, t: plots.templates(m, X, np.full(300, np.nan)), DataError, "labels name no class"),
        (lambda m, t: plots.map_2d(m, X, y[:5]), DataError, r"labels of shape \(5,\) given for 300"),
        (lambda m, t: plots.map_2d(m, X, projection="pca"), SettingError, "projection=str"),
        (lambda m, t: plots.map_2d(m, X, method="lda"), SettingError, "method='lda'"),
        (lambda m, t: plots.training(m), NotSupported, "this PCA was solved at once"),
        (lambda m, t: plots.error_curve(m), DataError, "needs items to measure"),
        (lambda m, t: plots.active_units(m), DataError, "needs items whose codes vary"),
        (lambda m, t: plots.column_errors(im.evaluate(m, X)), DataError, "these items have no columns"),
        (lambda m, t: plots.layers({}), DataError, "no layer is given"),
        (lambda m, t: plots.layers({"a": np.zeros(3)}), DataError, "the layer 'a' has the shape"),
        (lambda m, t: plots.contributions(X[0], np.zeros((3, 3))), DataError, r"\(3, 3\) do not go with"),
        (lambda m, t: plots.contributions([1, 2], [1, np.nan]), DataError, "finite"),
        (lambda m, t: plots.contributions(["a"], [1.0]), DataError, "needs names="),
        (lambda m, t: plots.contributions([1], [1.0, 2.0], ["a"]), DataError, "do not go together"),
        (lambda m, t: plots.decoded_grid(*t), NotSupported, "a row of a table has none: plots.map_2d shows where"),
        (lambda m, t: plots.map_2d(*t, thumbnails=True), NotSupported, "leave thumbnails out"),
        (lambda m, t: plots.traversals(*t, latents=(0, 1)), NotSupported, "one latent of a table at a time"),
        (lambda m, t: plots.reconstructions({"a": t[0], "b": t[0]}, t[1]), NotSupported, "for one model at a time"),
    ],
)
def test_what_cannot_be_drawn(images: Any, table: Any, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(images, table)
