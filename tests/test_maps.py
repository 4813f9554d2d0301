"""Maps of codes: the plane that is meant, the same map from the same seed, and new codes in places of their own."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.manifold import trustworthiness

from isthmus.errors import DataError, MissingExtra, SettingError
from isthmus.view import maps
from isthmus.view.maps import METHODS, project

pytest.importorskip("openTSNE")
random = np.random.default_rng(0)
HEAPS = np.repeat(np.arange(4), 40)
CODES = random.normal(size=(4, 10))[HEAPS] * 4 + random.normal(size=(160, 10))
NEW = random.normal(size=(300, 10)) * 4


METHODS_TRIED = ["pca", "tsne", pytest.param("umap", marks=pytest.mark.slow)]  # umap-learn compiles for 20 s


@pytest.fixture(scope="module")
def made() -> Callable[[str], Any]:
    """The map by each method, made once."""
    return functools.cache(lambda method: project(CODES, method, seed=1))


def test_the_methods_are_those_that_are_tried() -> None:
    assert METHODS == ("pca", "tsne", "umap")


def test_pca_is_the_plane_of_the_greatest_variance() -> None:
    found = project(CODES)
    apart = CODES - CODES.mean(0)
    _, singular, axes = np.linalg.svd(apart, full_matrices=False)
    assert found.places.dtype == np.float32
    np.testing.assert_allclose(np.abs(found.places), np.abs(apart @ axes[:2].T), atol=1e-4)
    np.testing.assert_allclose(found.places.var(0) * 160, singular[:2] ** 2, rtol=1e-4)
    np.testing.assert_array_equal(found.place(CODES), found.places)


def test_few_codes_of_many_numbers_and_of_one() -> None:
    wide = random.normal(size=(5, 40))
    places = project(wide).places.astype(float)
    np.testing.assert_allclose(places.var(0) * 5, np.linalg.svd(wide - wide.mean(0))[1][:2] ** 2, rtol=1e-4)
    line = project([[1.0], [2.0], [6.0]])
    np.testing.assert_allclose(line.places, [[-2, 0], [-1, 0], [3, 0]])
    np.testing.assert_array_equal(project(np.ones((1, 7))).places, [[0, 0]])
    alike = project(np.ones((9, 7)), "tsne")
    np.testing.assert_array_equal(alike.places, np.zeros((9, 2)))
    np.testing.assert_array_equal(alike.place(np.zeros((2, 7))), np.zeros((2, 2)))


def test_many_copies_of_one_code() -> None:
    places = project(np.concatenate([CODES, np.repeat(CODES[:1], 80, axis=0)]), "tsne").places
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) > 100


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_neighbours_stay_neighbours(made: Callable[[str], Any], method: str) -> None:
    places = made(method).places
    assert places.shape == (160, 2)
    assert trustworthiness(CODES, places, n_neighbors=5) > (0.8 if method == "pca" else 0.9)
    assert trustworthiness(CODES, random.permutation(places), n_neighbors=5) < 0.6


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_the_same_seed_gives_the_same_map(made: Callable[[str], Any], method: str) -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    again = project(CODES, method, seed=1)
    np.testing.assert_array_equal(again.places, made(method).places)
    np.testing.assert_array_equal(again.place(NEW), made(method).place(NEW))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_a_new_code_has_its_place_in_any_company(made: Callable[[str], Any], method: str) -> None:
    places = made(method).place(NEW)
    assert places.shape == (300, 2)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(made(method).place(NEW[7:8]), places[7:8])
    np.testing.assert_array_equal(made(method).place(NEW[::-1]), places[::-1])


@pytest.mark.parametrize("method", METHODS_TRIED)
def test_new_codes_lie_among_their_like(made: Callable[[str], Any], method: str) -> None:
    before = made(method).places.copy()
    beside = made(method).place(CODES + random.normal(size=CODES.shape) / 10)
    centres = np.array([before[heap == HEAPS].mean(0) for heap in range(4)])
    nearest = np.linalg.norm(beside[:, None] - centres, axis=2).argmin(1)
    assert (nearest == HEAPS).mean() > 0.95
    np.testing.assert_array_equal(made(method).places, before)  # placing moves nothing


def test_of_many_codes_some_are_learned_and_others_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "LEARNED", 100)
    codes = load_iris().data
    found = project(codes, "tsne", seed=3)
    assert found.places.shape == (150, 2)
    assert trustworthiness(codes, found.places, n_neighbors=5) > 0.9
    some = np.sort(np.random.default_rng(3).choice(150, 100, replace=False))
    others = np.setdiff1d(np.arange(150), some)
    np.testing.assert_array_equal(found.place(codes[others]), found.places[others])
    assert repr(found) == "<Projection of 150 codes by tsne>"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: project(CODES, "isomap"), SettingError, "method='isomap': expected one of 'pca', 'tsne', 'umap'"),
        (lambda: project(CODES, seed=-1), SettingError, "seed=-1"),
        (lambda: project(CODES, seed=True), SettingError, "seed=True"),
        (lambda: project(CODES[0]), DataError, r"shape \(n, K\), n and K from 1, not \(10,\)"),
        (lambda: project(CODES[:0]), DataError, r"not \(0, 10\)"),
        (lambda: project([["a"]]), DataError, "an array of numbers"),
        (lambda: project(np.where(np.arange(160)[:, None] == 5, np.nan, CODES)), DataError, "code 5 is not finite"),
        (lambda: project(CODES[:3], "tsne"), DataError, "3 codes have too few neighbours for method='tsne'"),
        (lambda: project(CODES).place(CODES[:, :3]), DataError, "codes of 3 numbers given, but .* codes of 10"),
    ],
)
def test_what_cannot_be_mapped(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(("method", "package", "extra"), [("tsne", "openTSNE", "maps"), ("umap", "umap", "umap")])
def test_without_the_extras(monkeypatch: pytest.MonkeyPatch, method: str, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf'pip install "isthmus\[{extra}\]"'):
        project(CODES, method)
    assert len(project(CODES).places) == 160


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    code = """import sys
from isthmus.view import maps
maps.project([[0.0, 1.0], [2.0, 3.0]])
assert not {"openTSNE", "umap", "numba", "sklearn", "torch"} & set(sys.modules)"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False,
                          cwd=Path(__file__).parents[1])  # fmt: skip
    assert done.returncode == 0, done.stderr
