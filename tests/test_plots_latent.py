"""Pictures of traversals and of decoded grids: every image where it belongs, and clear errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from isthmus.errors import DataError
from isthmus.view import drawing, plots


def pictures(n: int, shade: int = 200) -> np.ndarray:
    return np.full((n, 6, 4), shade, np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None]


def test_a_row_for_each_latent_with_its_name() -> None:
    ax = plots.canvas(4, 3).subplots()
    assert drawing.traversals(ax, {"latent 3": pictures(5), "latent 0": pictures(5, 100)}) is ax
    assert [text.get_text() for text in ax.texts] == ["latent 3", "latent 0"]
    assert ax.texts[0].get_position()[1] < ax.texts[1].get_position()[1]  # downwards: the first is above
    assert len(ax.images) == 10
    tops = [image.get_extent()[3] for image in ax.images]
    assert tops == sorted(tops)
    lefts = [image.get_extent()[0] for image in ax.images[:5]]
    assert lefts == sorted(lefts)
    assert ax.images[0].get_array()[0, 0] == pytest.approx(200 / 255)


def test_a_grid_fills_its_square_from_above() -> None:
    ax = plots.canvas(4, 4).subplots()
    assert drawing.decoded_grid(ax, pictures(9), ("latent 0", "latent 1")) is ax
    places = [(image.get_extent()[0], image.get_extent()[3]) for image in ax.images]
    assert places == [(column, row * 1.5) for row in range(3) for column in range(3)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latent 0 →", "latent 1 →")
    assert ax.get_xlim() == (0, 3)
    assert ax.get_ylim() == (4.5, 0)


def test_they_are_written(tmp_path: Path) -> None:
    figure = plots.canvas(4, 4)
    drawing.decoded_grid(figure.subplots(), np.random.default_rng(0).random((4, 5, 5, 3)))
    plots.write(figure, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_no_picture() -> None:
    ax = plots.canvas(2, 2).subplots()
    with pytest.raises(DataError, match="5 images make no square grid"):
        drawing.decoded_grid(ax, pictures(5))
    with pytest.raises(DataError, match="rows of images of one shape"):
        drawing.traversals(ax, {"a": pictures(3), "b": pictures(4)})
    with pytest.raises(DataError, match="not of none"):
        drawing.traversals(ax, {})
    with pytest.raises(DataError, match="can be shown"):
        drawing.traversals(ax, {"a": np.zeros((3, 5))})
