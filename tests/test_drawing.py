"""Plots: what is drawn is what was given, without pyplot and without global state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from isthmus.errors import DataError, FileError, MissingExtra
from isthmus.view import drawing, plots

random = np.random.default_rng(0)
GREY = random.integers(0, 256, (6, 8, 5), dtype=np.uint8)


@pytest.fixture
def ax() -> Any:
    return plots.canvas(4, 3).add_subplot()


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_samples_show_the_very_pixels(ax: Any) -> None:
    assert drawing.samples(ax, GREY) is ax
    assert len(ax.images) == 6
    for image, item in zip(ax.images, GREY, strict=True):
        np.testing.assert_allclose(image.get_array(), item / 255)
        assert image.get_interpolation() == "nearest"
        assert image.get_clim() == (0, 1)  # grey means the same in every image
    left, right, bottom, top = ax.images[0].get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(5 / 8)  # pixels are squares


@pytest.mark.parametrize(
    "items",
    [GREY / 255, GREY[..., None], np.repeat(GREY[..., None], 3, axis=-1), GREY > 99, GREY.astype(int), GREY[:1]],
)
def test_every_form_of_images(ax: Any, items: np.ndarray) -> None:
    drawing.samples(ax, items)
    assert len(ax.images) == len(items)
    assert 0 <= np.min(ax.images[0].get_array()) <= np.max(ax.images[0].get_array()) <= 1


def test_images_do_not_overlap(ax: Any) -> None:
    drawing.items_beside_reconstructions(ax, GREY, {"a": GREY, "b": GREY}, {"a": np.ones(6)})
    boxes = [image.get_extent() for image in ax.images]
    assert len(boxes) == 18
    for i, (left, right, bottom, top) in enumerate(boxes):
        for left2, right2, bottom2, top2 in boxes[:i]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_rows_and_errors_are_named(ax: Any) -> None:
    drawing.items_beside_reconstructions(ax, GREY, {"PCA": 255 - GREY}, {"PCA": np.arange(6)})
    assert texts(ax) == ["given", "PCA", "0.00", "1.00", "2.00", "3.00", "4.00", "5.00"]
    np.testing.assert_allclose(ax.images[6].get_array(), (255 - GREY[0]) / 255)


def test_one_reconstruction_needs_no_name(ax: Any) -> None:
    drawing.items_beside_reconstructions(ax, GREY, GREY, np.ones(6))
    assert texts(ax) == ["given", "reconstructed", *["1.00"] * 6]


def test_a_map_colours_and_names_classes_where_they_are(ax: Any) -> None:
    Z = np.concatenate([random.normal(place, 0.1, (50, 2)) for place in ((0, 0), (5, 0), (0, 5))])
    labels = np.repeat(["cat", "dog", "eel"], 50)
    assert drawing.scatter(ax, Z, labels) is ax
    assert texts(ax) == ["cat", "dog", "eel"]
    assert ax.get_legend() is None
    for i, text in enumerate(ax.texts):
        np.testing.assert_allclose(text.get_position(), np.median(Z[50 * i : 50 * i + 50], axis=0))
        assert text.get_color() == plots.PALETTE[i]
        assert text.get_path_effects()
    points, colours = ax.collections[0].get_offsets(), ax.collections[0].get_facecolors()
    expected = {tuple(z): to_rgb(plots.PALETTE[i // 50]) for i, z in enumerate(Z)}
    assert all(expected[tuple(z)] == tuple(colour[:3]) for z, colour in zip(points, colours, strict=True))


def test_names_move_apart(ax: Any) -> None:
    Z = np.zeros((40, 2))
    Z[0], Z[1] = (-1, -1), (1, 1)
    drawing.scatter(ax, Z, np.arange(40) % 10)
    places = np.array([text.get_position() for text in ax.texts])
    distance = np.hypot(*(places[:, None] - places[None]).T) + 9 * np.eye(10)
    assert distance.min() > 0.1


def test_a_map_without_labels_and_with_many(ax: Any) -> None:
    assert texts(drawing.scatter(ax, random.normal(size=(9, 2)))) == []
    assert len(texts(drawing.scatter(ax, random.normal(size=(90, 2)), np.arange(90) % 30))) == 30
    drawing.scatter(plots.canvas(2, 2).add_subplot(), [[0.0, 0.0]], [3])


EYES = {  # what linear red, green and blue become without one kind of cone (Machado, Oliveira & Fernandes 2009)
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("eyes", EYES)
def test_ten_colours_that_any_eyes_tell_apart(eyes: str, theme: Any) -> None:
    colours = np.array([to_rgb(colour) for colour in theme.palette])
    assert len(colours) == 10
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    assert min(contrast(colour, theme.paper) for colour in theme.palette) > 2
    x, y, z = np.cbrt((linear @ np.transpose(EYES[eyes])).clip(1e-6, 1) @ XYZ.T / XYZ.sum(1)).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + 99 * np.eye(10)
    assert distance.min() > 13  # one is just noticeable


def contrast(one: str, other: str) -> float:
    """Of two colours, from 1 to 21, by the rule of WCAG."""
    light = []
    for colour in (one, other):
        parts = np.array(to_rgb(colour))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ XYZ[1]) + 0.05)
    return max(light) / min(light)


@pytest.mark.parametrize("theme", [plots.LIGHT, plots.DARK], ids=["light", "dark"])
def test_words_are_read_on_their_paper(theme: Any) -> None:
    assert contrast(theme.ink, theme.paper) > 12
    assert contrast(theme.faint, theme.paper) > 4.5
    assert [contrast(colour, theme.paper) > 2 for colour in theme.ramp] == [True] * 8
    steps = [contrast(colour, theme.paper) for colour in theme.ramp]
    assert steps == sorted(steps)  # from little to much


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = plots.canvas(12, 9)
        drawing.samples(figure.add_subplot(), GREY)
        plots.write(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1600, 1200)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: drawing.samples(ax, GREY[0]), r"can be shown, not uint8 of shape \(8, 5\)"),
        (lambda ax: drawing.samples(ax, GREY[:0]), "can be shown"),
        (lambda ax: drawing.samples(ax, np.array([["a"]])), "can be shown"),
        (lambda ax: drawing.samples(ax, np.zeros((3, 8, 8, 5))), "can be shown"),
        (lambda ax: drawing.items_beside_reconstructions(ax, GREY, GREY[:3]), "do not fit"),
        (
            lambda ax: drawing.items_beside_reconstructions(ax, GREY, {"PCA": GREY}, {"PCA": [1.0]}),
            "PCA: .* 1 errors do not",
        ),
        (lambda ax: drawing.scatter(ax, np.zeros((5, 3))), r"\(n, 2\), not \(5, 3\): reduce them, with PCA\(2\)"),
        (lambda ax: drawing.scatter(ax, np.zeros((0, 2))), r"\(n, 2\)"),
        (lambda ax: drawing.scatter(ax, np.zeros((5, 2)), [1, 2]), r"labels of shape \(2,\) given for 5 points"),
    ],
)
def test_what_cannot_be_drawn(ax: Any, call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call(ax)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        plots.write(plots.canvas(1, 1), tmp_path / "nowhere" / "a.png")


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r'pip install "isthmus\[plots\]"'):
        plots.canvas(1, 1)


def test_matplotlib_is_imported_late_and_pyplot_never() -> None:
    code = """import sys
from isthmus.view import drawing, plots
assert "matplotlib" not in sys.modules
drawing.scatter(plots.canvas(1, 1).add_subplot(), [[0, 0], [1, 1]], [0, 1])
plots.layers({"a": [[0, 0], [1, 1]]})._repr_png_()
plots.contributions([1.0], [2.0], ["a"])._repr_png_()
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[1])  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_many_dates_are_a_scale_and_few_are_names() -> None:
    pd = pytest.importorskip("pandas")
    Z = np.random.default_rng(0).normal(size=(400, 2))
    days = pd.Series(pd.Timestamp("2019-03-01 08:30") + pd.to_timedelta(np.arange(400), "h"))
    days[7] = None
    for given in (days, days.to_numpy(), days.dt.tz_localize("Europe/Paris", nonexistent="NaT"), days.astype(object)):
        ax = drawing.scatter(plots.canvas(3, 3).add_subplot(), Z, given)
        assert [text.get_text() for text in ax.texts] == ["2019-03-01  to  2019-03-17"]
    hours = drawing.scatter(plots.canvas(3, 3).add_subplot(), Z[:40], days[:40])
    assert [text.get_text() for text in hours.texts] == ["2019-03-01 08:30  to  2019-03-02 23:30"]
    few = drawing.scatter(plots.canvas(3, 3).add_subplot(), Z, days.dt.year.map(lambda _: pd.Timestamp("2020-02-29")))
    assert [text.get_text() for text in few.texts] == ["2020-02-29"]


def test_cells_of_a_table_do_not_lie_over_each_other() -> None:
    long = [("row 0", ["2019-03-18 21:27:00", "UN/Turtle Bay South"], [True, True]),
            ("row 1", ["1", "no"], [False, False]),
            ("row 2", ["2019-03-18 21:34:10", "x" * 40], [True, True])]  # fmt: skip
    figure = plots.canvas(2 + 0.95 * sum(drawing.widths(long)), 1.2)
    ax = drawing.cells(figure.add_axes((0, 0, 1, 1)), ["pickup", "zone"], long)
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in ax.texts]  # type: ignore[attr-defined]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert "2019-03-18 21:27" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    ("labels", "scale"),
    [
        (np.arange(300) % 60, False),  # classes by number
        (np.where(np.arange(300) % 7, np.arange(300) % 60, np.nan), False),  # some missing
        (2700.0 + 25 * (np.arange(300) % 60), True),  # grams
        (1000 * (np.arange(300) % 60), True),
        (1000 * (np.arange(300) % 15), False),
        (np.arange(300) / 7, True),
        (np.arange(300), True),
    ],
)
def test_measurements_are_a_scale_and_numbers_of_classes_are_none(labels: np.ndarray, scale: bool) -> None:
    names, coded, edges = drawing.classes_of(labels, 300)
    assert (edges is not None) == scale
    assert coded.max() == (7 if scale else len(names) - 1)
