"""The layers that the explorer's page runs give what decode gives, for every network, format and likelihood."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import isthmus as im
from isthmus.errors import NotSupported
from isthmus.view.explorer.interpreter import run_columns, run_layers
from isthmus.view.explorer.layers import plain_decoder
from isthmus.view.explorer.views import pixels_of

QUICK: dict[str, Any] = {"epochs": 1, "verbose": False}


def shaken(model: Any, seed: int = 0, by: float = 0.15) -> Any:
    """The model with noise on every weight: what begins at zero would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network_.decoder.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return model


def smooth(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Items in [0, 1] that share structure."""
    r = np.random.default_rng(seed)
    base = r.random((4, *shape))
    return np.clip(np.tensordot(r.dirichlet(np.ones(4), n), base, 1), 0, 1)


def bytes_(n: int, *shape: int) -> np.ndarray:
    return (smooth(n, *shape) * 255).astype(np.uint8)


def codes_of(model: Any, X: Any) -> np.ndarray:
    """Codes of items, and places where no item lies."""
    Z = model.encode(X)[:20]
    r = np.random.default_rng(1)
    return np.concatenate([Z, r.normal(Z.mean(0), 2 * Z.std(0) + 0.1, (20, Z.shape[1]))]).astype(np.float32)


def ran(model: Any, codes: np.ndarray) -> np.ndarray:
    layers, weights = plain_decoder(model)
    layers = json.loads(json.dumps(layers, allow_nan=False))  # as the page gets them
    return run_layers(layers, weights, codes)


# --- Images ---------------------------------------------------------------------------------------------------------

IMAGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "grey, conv": (lambda: bytes_(60, 9, 14), lambda X: shaken(im.Autoencoder(3, **QUICK).fit(X))),
    "colour, conv, patches that are cut": (
        lambda: bytes_(60, 19, 17, 3), lambda X: shaken(im.Autoencoder(3, **QUICK).fit(X))),
    "two channels": (
        lambda: bytes_(40, 2, 8, 8),
        lambda X: shaken(im.VAE(2, format=im.formats.ImageFormat(channels="first"), **QUICK).fit(X))),
    "five channels": (
        lambda: bytes_(40, 8, 8, 5),
        lambda X: im.PCA(3, format=im.formats.ImageFormat(channels="last")).fit(X)),
    "mlp": (lambda: bytes_(60, 6, 5, 3), lambda X: shaken(im.Autoencoder(4, network=(24, 12), **QUICK).fit(X))),
    "linear": (lambda: bytes_(60, 6, 5), lambda X: shaken(im.Autoencoder(4, network="linear", **QUICK).fit(X))),
    "floats": (lambda: smooth(60, 8, 8).astype(np.float32), lambda X: shaken(im.VAE(3, **QUICK).fit(X))),
    "floats from -1 to 1": (
        lambda: smooth(60, 8, 8) * 2 - 1, lambda X: im.PCA(3, format=im.formats.ImageFormat(range=(-1, 1))).fit(X)),
    "16 bits": (lambda: (smooth(60, 8, 8) * 65535).astype(np.uint16), lambda X: im.PCA(3, format="image").fit(X)),
    "eleven levels": (
        lambda: (smooth(60, 8, 8) * 10).round().astype(np.uint8),
        lambda X: shaken(im.Autoencoder(3, format=im.formats.ImageFormat(range=(0, 10)), **QUICK).fit(X))),
    "black and white": (lambda: smooth(60, 8, 8) > 0.5, lambda X: shaken(im.VAE(3, **QUICK).fit(X))),
    "predicted variance": (
        lambda: bytes_(60, 8, 8, 3),
        lambda X: shaken(im.VAE(3, likelihood="gaussian_predicted", **QUICK).fit(X), by=0.05)),
    "categorical": (
        lambda: (smooth(40, 6, 6) * 7).astype(np.uint8),
        lambda X: shaken(im.Autoencoder(
            3, network=(16,), likelihood="categorical", format=im.formats.ImageFormat(range=(0, 7)), **QUICK).fit(X))),
    "PCA, whitened": (lambda: bytes_(60, 8, 8), lambda X: im.PCA(5, whiten=True).fit(X)),
    "ordered": (lambda: bytes_(60, 8, 8), lambda X: shaken(im.Autoencoder(5, ordered=True, **QUICK).fit(X))),
    "ordered, truncated": (
        lambda: bytes_(60, 8, 8), lambda X: shaken(im.Autoencoder(5, ordered=True, **QUICK).fit(X)).truncate(2)),
}  # fmt: skip


@pytest.mark.parametrize("kind", IMAGES)
def test_pixels_are_those_of_decode(kind: str) -> None:
    data, fitted = IMAGES[kind]
    X = data()
    model = fitted(X)
    codes = codes_of(model, X)
    form = model.format_
    wanted = pixels_of(form, form.to_tensor(model.decode(codes))).astype(float)
    given = ran(model, codes)
    assert given.shape == (len(codes), wanted[0].size)
    again = given.reshape(len(codes), wanted.shape[3], *wanted.shape[1:3]).transpose(0, 2, 3, 1)
    assert wanted.std() > 1, "a decoder that says one thing only would hide mistakes"
    assert np.abs(again - wanted).max() <= 1
    assert (again == wanted).mean() > 0.99


# --- Vectors and series ---------------------------------------------------------------------------------------------


def mixed_frame() -> Any:
    pd = pytest.importorskip("pandas")
    x = smooth(60, 4)
    return pd.DataFrame({"a": x[:, 0], "b": (x[:, 1] * 200).astype("int8"), "c": (x[:, 2] * 9e9).astype("int64"),
                         "d": x[:, 3].astype("float32")})  # fmt: skip


NUMBERS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "floats": (lambda: smooth(60, 7) * 3, lambda X: shaken(im.Autoencoder(3, **QUICK).fit(X))),
    "large offsets": (
        lambda: smooth(60, 7) + 1.6e9 * np.arange(7), lambda X: shaken(im.Autoencoder(3, **QUICK).fit(X))),
    "whole numbers": (lambda: bytes_(60, 7), lambda X: shaken(im.VAE(3, **QUICK).fit(X))),
    "truths": (lambda: smooth(60, 9) > 0.5, lambda X: shaken(im.VAE(3, **QUICK).fit(X))),
    "one scale": (
        lambda: smooth(60, 7), lambda X: im.PCA(3, format=im.formats.VectorFormat("global")).fit(X)),
    "centred": (lambda: smooth(60, 7), lambda X: im.PCA(3, format=im.formats.VectorFormat("centre")).fit(X)),
    "as it is": (lambda: smooth(60, 7), lambda X: im.PCA(3, format=im.formats.VectorFormat("none")).fit(X)),
    "a frame of several dtypes": (mixed_frame, lambda X: im.PCA(3, format="vector").fit(X)),
    "series, conv": (
        lambda: smooth(60, 131, 2) * 5, lambda X: shaken(im.Autoencoder(3, format="series", **QUICK).fit(X))),
    "series, one channel": (
        lambda: smooth(60, 40), lambda X: shaken(im.VAE(3, format="series", ordered=True, **QUICK).fit(X))),
    "series, linear": (lambda: smooth(60, 20, 3), lambda X: im.PCA(3, format="series").fit(X)),
}  # fmt: skip


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_are_those_of_decode(kind: str) -> None:
    data, fitted = NUMBERS[kind]
    X = data()
    model = fitted(X)
    codes = codes_of(model, X)
    wanted = np.asarray(model.decode(codes), dtype=np.float64)
    if wanted.ndim == 3:
        wanted = wanted.transpose(0, 2, 1)
    wanted = wanted.reshape(len(codes), -1)
    given = ran(model, codes)
    step = model.format_.scaling_.step
    step = np.ones(wanted.shape[1]) if len(step) == 1 else np.repeat(step, wanted.shape[1] // len(step))
    whole = (wanted == np.rint(wanted)).all(0)
    assert wanted.std(0).max() > 0
    assert (np.abs(given - wanted) <= np.where(whole, 1, step / 255)).all()
    assert (given == wanted)[:, whole].mean() > 0.99 if whole.any() else True


# --- Tables ---------------------------------------------------------------------------------------------------------


def cells_agree(model: Any, codes: np.ndarray) -> None:
    """What the layers say of rows is what decode says, column by column."""
    import pyarrow

    from isthmus.formats.frames import source_of

    layers, weights = plain_decoder(model)
    layers = json.loads(json.dumps(layers, allow_nan=False))
    rows = run_columns(layers[-1]["columns"], run_layers(layers, weights, codes))
    decoded = pyarrow.Table.from_batches(list(source_of(model.decode(codes)).batches()))
    for place, (code, column) in enumerate(zip(model.format_.codes_, layers[-1]["columns"], strict=True)):
        given, wanted = [row[place] for row in rows], decoded.column(code.name).to_pylist()
        kind = column["kind"]
        assert column["name"] == code.name
        if kind == "number":
            raw = decoded.column(code.name).combine_chunks()
            own = code._own(raw).cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
            apart = np.abs(code.scaled(np.array(given, dtype=float)) - code.scaled(own))
            step = 1 / code.deviation if column["digits"] == 0 and not code.heavy else 0
            assert apart.max() <= max(1 / 255, 1.01 * step), code.name
        elif kind == "datetime":
            assert len(given) == len(wanted)
            moments = decoded.column(code.name).combine_chunks()
            whole = pyarrow.int32() if moments.type.bit_width == 32 else pyarrow.int64()
            unit = {"s": 1e3, "ms": 1, "us": 1e-3, "ns": 1e-6, "day": 86_400_000}[code.unit]
            own = moments.cast(whole).to_numpy(zero_copy_only=False) * unit
            close = np.abs(np.array(given) - own) <= max(code.grain * unit, 1e-6 * code.step * unit, 1)
            assert close.mean() > 0.97, code.name  # a turn of a cycle may fall to either side
        elif kind == "fixed":
            assert given == [str(value) if code.kind == "constant" else None for value in wanted]
        else:
            assert given == [str(value) for value in wanted], code.name


@pytest.mark.parametrize("kind", ["autoencoder", "vae", "ordered", "truncated", "linear", "pca"])
def test_rows_are_those_of_decode(kind: str, mixed: Callable[..., Any]) -> None:
    pytest.importorskip("pyarrow")
    frame = mixed(300)
    made = {
        "autoencoder": lambda: shaken(im.Autoencoder(4, **QUICK).fit(frame)),
        "vae": lambda: shaken(im.VAE(4, **QUICK).fit(frame)),
        "ordered": lambda: shaken(im.Autoencoder(4, ordered=True, **QUICK).fit(frame)),
        "truncated": lambda: shaken(im.VAE(4, ordered=True, **QUICK).fit(frame)).truncate(2),
        "linear": lambda: shaken(im.Autoencoder(4, network="linear", **QUICK).fit(frame)),
        "pca": lambda: im.PCA(4).fit(frame),
    }[kind]()
    cells_agree(made, codes_of(made, frame))


def test_a_column_of_more_levels_than_a_choice_has(mixed: Callable[..., Any]) -> None:
    pd = pytest.importorskip("pandas")
    r = np.random.default_rng(0)
    frame = pd.DataFrame({"place": pd.Categorical([f"p{one}" for one in r.integers(0, 700, 3000)]),
                          "x": r.standard_normal(3000)})  # fmt: skip
    model = shaken(im.Autoencoder(3, **QUICK).fit(frame))
    assert len(model.format_.codes_[0].elements) == 2
    cells_agree(model, codes_of(model, frame))


# --- What the page cannot run ---------------------------------------------------------------------------------------


def test_modules_of_the_user_s_own_decode_in_python() -> None:
    X = smooth(60, 6).astype(np.float32)
    pair = (torch.nn.Linear(6, 2), torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 6)))
    model = im.Autoencoder(2, network=pair, **QUICK).fit(X)
    with pytest.raises(NotSupported, match="a torch module of its owner, which no page can run"):
        plain_decoder(model)


def test_a_mixture_s_mode_decodes_in_python() -> None:
    model = im.Autoencoder(2, network=(8,), likelihood="logistic_mixture", **QUICK).fit(bytes_(40, 6, 6))
    with pytest.raises(NotSupported, match="DiscretisedLogisticMixture"):
        plain_decoder(model)


def test_this_test_can_fail() -> None:
    X = bytes_(60, 9, 14)
    model = shaken(im.Autoencoder(3, **QUICK).fit(X))
    codes = codes_of(model, X)
    layers, weights = plain_decoder(model)
    right = run_layers(layers, weights, codes)
    for broken in (weights[::-1], np.roll(weights, 1)):
        assert np.abs(run_layers(layers, broken, codes) - right).max() > 1
