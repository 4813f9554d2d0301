"""What each layer of a network makes of items: its activations as embeddings, and what can be read in them.

Linear CKA: Kornblith, Norouzi, Lee & Hinton 2019, "Similarity of neural network representations revisited". Probes:
Alain & Bengio 2016. Effective dimension: the participation ratio of the covariance's eigenvalues. Wide activations are
shortened by feature hashing (Weinberger et al. 2009), which keeps inner products on average.

Shapes: n items; B items of a batch; d numbers that are kept of an item's activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.verbs.linear_probe import labels_for, printed, probe, share_of

__all__ = ["Layers", "cka", "effective_dimension", "layers"]

WIDEST = 1024  # numbers kept of an item's activations
NEIGHBOURS, ASKED = 10, 2000  # of the overlap, and items among which it is measured
FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "Pool")  # modules with features along the second axis
LAST = ("Linear", "LayerNorm", "RMSNorm", "Embedding", "LSTM", "GRU", "RNN", "Attention")  # along the last
HEADINGS = {
    "layer": ("layer", "s"),
    "kind": ("kind", "s"),
    "shape": ("an item", "s"),
    "width": ("kept", "d"),
    "effective_dimension": ("eff. dim", ".1f"),
    "cka_input": ("CKA input", ".3f"),
    "cka_previous": ("CKA before", ".3f"),
    "overlap": ("neighbours", ".1%"),
    "probe": ("probe", ".1%"),
    "probe_se": ("±", ".1%"),
}


class Layers:
    """Activations of every layer, and a table of what can be read in them. ``print`` it; ``found["name"]`` is (n, d).

    Attributes
    ----------
    names : layers in the order in which they were called first, after "input"; a layer that is called again in one
        pass has the further names "name:2", "name:3", ...
    activations : dict of (n, d) float32 by name
    maps : dict of (n, 2) float32 by name: the first two principal components, drawn by ``isthmus.plots.layers``
    rows : list of dicts by layer: layer, kind (the module's class), shape (of one item's activations), width (d),
        effective_dimension, cka_input and cka_previous (linear CKA with the input and with the layer before, from 0
        to 1), overlap (share of the 10 nearest neighbours that were so in the layer before), probe and probe_se
        (accuracy of logistic regression in 5 folds, its standard error; None without labels)
    left_out : dict of layers that gave nothing to keep, with the reason
    """

    def __init__(
        self, activations: dict[str, np.ndarray], maps: dict[str, np.ndarray], rows: list[dict[str, Any]],
        left_out: dict[str, str],
    ) -> None:  # fmt: skip
        self.names = list(activations)
        self.activations, self.maps, self.rows, self.left_out = activations, maps, rows, left_out

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.activations:
            raise SettingError(f"there is no layer {name!r}; there are {', '.join(self.names)}")
        return self.activations[name]

    def __str__(self) -> str:
        lines = printed(self.rows, HEADINGS)
        lines += [f"left out: {name}, {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """The table as JSON values, without activations and maps."""
        return {"rows": self.rows, "left_out": self.left_out}


class _Seen(NamedTuple):
    """What is known of a layer from its first batch."""

    kind: str
    shape: tuple[int, ...]
    pieces: list[np.ndarray]


def layers(
    module: Any, X: Any, y: Any = None, *, leaves: bool = True, pool: bool = False, batch_size: int = 256, seed: int = 0
) -> Layers:
    """The activations of every layer of any PyTorch module as embeddings, measured layer by layer.

    Parameters
    ----------
    module : a torch.nn.Module that is called with one batch; or a fitted embedding with a network, whose encoder is
        looked into, X then being items as it learned them. Its mode (train or eval) comes back as it was, hooks are
        removed, gradients are not made
    X : (n, ...) array or tensor of inputs, n from 2; floats are brought to the dtype of the module's weights, integers
        stay integers (int64), as an embedding layer wants them
    y : (n,) labels, for the probes
    leaves : default True: modules without children. False: all but the module itself, whole blocks too
    pool : default False: activations are flattened: all that a layer knows. True: those with positions (images, series,
        tokens) become their mean over these: what is there, wherever it is. Features lie along the last axis after
        linear, recurrent, attention and LayerNorm modules, else along the second. Either way at most 1,024 numbers are
        kept of an item: wider ones are hashed to so many
    batch_size : items that go through together
    seed : of the hashing and the folds

    Returns
    -------
    Layers : ``activations``, ``maps``, ``rows``; ``print`` shows the table

    Raises
    ------
    DataError : the module fails on X (its own words follow), there are too few items, or labels do not fit
    NotSupported : an embedding without a network, such as PCA
    SettingError : no module, or a number out of range

    Examples
    --------
    >>> import torch, isthmus as im
    >>> X, y = im.datasets.digits(labels=True)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU())
    >>> found = im.layers(net, X.astype("float32") / 255, y)
    >>> found.names, found["2"].shape
    (['input', '0', '1', '2'], (1797, 16))
    """
    module, X = _network(module, X)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise SettingError(f"batch_size={batch_size!r}: expected a whole number from 1")
    inputs = _inputs(module, X)
    if len(inputs) < 2:
        raise DataError(f"{len(inputs)} items given: layers are compared over two at least")
    labels = None if y is None else labels_for(y, len(inputs))
    seen, left_out = _activations(module, inputs, leaves, pool, int(batch_size), seed)
    activations = {name: np.concatenate(layer.pieces) for name, layer in seen.items()}
    rows: list[dict[str, Any]] = []
    for name, layer in seen.items():
        before = rows[-1]["layer"] if rows else name
        row = {"layer": name, "kind": layer.kind, "shape": " x ".join(map(str, layer.shape)) or "1",
               "width": activations[name].shape[1], **_measured(activations, name, before, seed)}  # fmt: skip
        right = None if labels is None else probe(activations[name], labels, seed)
        row["probe"], row["probe_se"] = (None, None) if right is None else share_of(right)
        rows.append(row)
    maps = {name: _map(codes) for name, codes in activations.items()}
    return Layers(activations, maps, rows, left_out)


# ---- measures --------------------------------------------------------------------------------------------------------


def cka(one: Any, other: Any) -> float:
    """Linear centred kernel alignment of two embeddings (n, a) and (n, b) of the same items, from 0 to 1.

    1 where one is a rotation and a scaling of the other. With few items for their widths it is too high. NaN where one
    of them is constant. Raises DataError where n differs.
    """
    x, z = (np.asarray(a, dtype=np.float64).reshape(len(a), -1) for a in (one, other))
    if len(x) != len(z):
        raise DataError(f"embeddings of {len(x)} and {len(z)} items given: CKA compares two of the same items")
    x, z = x - x.mean(0), z - z.mean(0)
    if not x.any() or not z.any():
        return math.nan
    if len(x) < max(x.shape[1], z.shape[1]):  # the same by the products of items, which are smaller
        gram_x, gram_z = x @ x.T, z @ z.T
        return float((gram_x * gram_z).sum() / (np.linalg.norm(gram_x) * np.linalg.norm(gram_z)))
    return float(np.square(z.T @ x).sum() / (np.linalg.norm(x.T @ x) * np.linalg.norm(z.T @ z)))


def effective_dimension(codes: Any) -> float:
    """Participation ratio (sum of eigenvalues)^2 / (sum of their squares) of the covariance of codes (n, d), 1 to d.

    d where all directions vary alike, 1 where one alone does; 0 for constant codes.
    """
    x = np.asarray(codes, dtype=np.float64)
    x = x - x.mean(0)
    product = x.T @ x if x.shape[1] <= len(x) else x @ x.T
    return float(np.trace(product) ** 2 / np.square(product).sum()) if product.any() else 0.0


def _measured(activations: dict[str, np.ndarray], name: str, before: str, seed: int) -> dict[str, float | None]:
    here, first = activations[name], name == before
    aligned = None if first else cka(activations[before], here)
    with_input = None if first else cka(activations["input"], here)
    figures = {"effective_dimension": effective_dimension(here), "cka_input": with_input, "cka_previous": aligned,
               "overlap": None if first else _overlap(activations[before], here, seed)}  # fmt: skip
    return {key: None if value is None or math.isnan(value) else value for key, value in figures.items()}


def _overlap(one: np.ndarray, other: np.ndarray, seed: int) -> float:
    """Mean share of the nearest neighbours that two embeddings have in common."""
    from sklearn.neighbors import NearestNeighbors

    rows = np.sort(np.random.default_rng(seed).permutation(len(one))[:ASKED])
    k = min(NEIGHBOURS, len(rows) - 1)
    near = [NearestNeighbors(n_neighbors=k, algorithm="brute").fit(codes[rows]).kneighbors(return_distance=False)
            for codes in (one, other)]  # fmt: skip
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]) / k)


def _map(codes: np.ndarray) -> np.ndarray:
    """The first two principal components (n, 2), the largest entry of each direction positive."""
    x = codes.astype(np.float64) - codes.mean(0, dtype=np.float64)
    _, vectors = np.linalg.eigh(x.T @ x)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1, 1)
    made = np.zeros((len(x), 2), dtype=np.float32)
    made[:, : axes.shape[1]] = x @ axes
    return made


# ---- activations -----------------------------------------------------------------------------------------------------


def _network(module: Any, X: Any) -> tuple[nn.Module, Any]:
    """The module to look into, and what it takes."""
    if isinstance(module, nn.Module):
        return module, X
    if not hasattr(module, "format_"):
        raise SettingError(f"layers needs a torch.nn.Module or a fitted embedding, and no {type(module).__name__}")
    if not hasattr(module, "network_"):
        raise NotSupported("layers looks into networks, and this model has none: Autoencoder and VAE have one")
    return module.network_.encoder, module.format_.scale(module._stored(X))


def _inputs(module: nn.Module, X: Any) -> Tensor:
    try:
        given = X if isinstance(X, Tensor) else torch.from_numpy(np.ascontiguousarray(X))
    except (TypeError, ValueError) as error:
        raise DataError(f"inputs must be an array or a tensor (n, ...) of numbers: {error}") from error
    if given.ndim < 1:
        raise DataError("inputs must be an array or a tensor (n, ...), not a single number")
    weights = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return given.to(weights) if given.is_floating_point() else given.long()


def _activations(
    module: nn.Module, inputs: Tensor, leaves: bool, pool: bool, batch_size: int, seed: int
) -> tuple[dict[str, _Seen], dict[str, str]]:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    seen = {"input": _Seen("", tuple(inputs.shape[1:]), [])}
    left_out: dict[str, str] = {}
    calls: dict[str, int] = {}
    kinds = [type(part).__name__ for part in module.modules()]
    begins = next((_has_last(kind, False) for kind in kinds if any(word in kind for word in FIRST + LAST)), False)
    last_axis = [begins]  # whether features lie along the last axis: as the layers before have it
    size = [0]

    def keep(name: str, part: nn.Module, output: Any) -> None:
        output = output[0] if isinstance(output, (tuple, list)) and output else output  # an LSTM gives its state too
        calls[name] = calls.get(name, 0) + 1
        called = name if calls[name] == 1 else f"{name}:{calls[name]}"
        kind = type(part).__name__
        last_axis[0] = _has_last(kind, last_axis[0])
        if not isinstance(output, Tensor) or output.ndim < 1 or len(output) != size[0]:
            left_out[called] = "what it gives is no tensor with a row for each item"
        elif not output.is_floating_point():
            left_out[called] = f"what it gives is {str(output.dtype).removeprefix('torch.')}, not floats"
        else:
            layer = seen.setdefault(called, _Seen(kind, tuple(output.shape[1:]), []))
            layer.pieces.append(_kept(output, pool, last_axis[0], seed))

    alone = not any(True for _ in module.children())
    watched = {name: part for name, part in module.named_modules()
               if (name or alone) and (not leaves or not any(True for _ in part.children()))}  # fmt: skip
    with _hooked(watched, keep), _evaluating(module), torch.no_grad():
        for start in range(0, len(inputs), batch_size):
            batch = inputs[start : start + batch_size].to(device)
            calls.clear()
            last_axis[0], size[0] = begins, len(batch)
            seen["input"].pieces.append(_kept(batch, False, False, seed))
            try:
                module(batch)
            except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
                raise DataError(
                    f"the module fails on a batch of shape {tuple(batch.shape)} of "
                    f"{str(batch.dtype).removeprefix('torch.')}: {error}. Bring X to what it takes"
                ) from error
    for name in [name for name, layer in seen.items() if sum(map(len, layer.pieces)) != len(inputs)]:
        del seen[name]
        left_out[name] = "it is not called for all items"
    for name in [name for name, layer in seen.items() if len({piece.shape[1] for piece in layer.pieces}) > 1]:
        del seen[name]
        left_out[name] = "its width is not the same in all batches"
    if wrong := [name for name, layer in seen.items() if not all(np.isfinite(p).all() for p in layer.pieces)]:
        if wrong[0] == "input":
            row = int(np.flatnonzero(~np.isfinite(np.concatenate(seen["input"].pieces)).all(1))[0])
            raise DataError(f"item {row} is not finite (NaN or infinity): give finite numbers")
        for name in wrong:
            del seen[name]
            left_out[name] = "what it gives is not finite"
    return seen, left_out


def _has_last(kind: str, before: bool) -> bool:
    """Whether a module of this kind gives features along the last axis; one that may do either, as those before it."""
    return any(word in kind for word in LAST) or (before and not any(word in kind for word in FIRST))


def _kept(output: Tensor, pool: bool, last_axis: bool, seed: int) -> np.ndarray:
    """(B, d) float32, a copy: later layers may work in place."""
    x = output.detach().float()
    if pool and x.ndim > 2:
        x = x.mean(dim=tuple(range(1, x.ndim - 1)) if last_axis else tuple(range(2, x.ndim)))
    x = x.reshape(len(x), -1).cpu()
    if x.shape[1] <= WIDEST:
        return x.numpy().copy()
    random = np.random.default_rng(seed)
    places = torch.from_numpy(random.integers(0, WIDEST, x.shape[1]))
    signs = torch.from_numpy(random.choice(np.array([-1.0, 1.0], dtype=np.float32), x.shape[1]))
    return torch.zeros(len(x), WIDEST).index_add_(1, places, x * signs).numpy()


@contextmanager
def _hooked(watched: dict[str, nn.Module], keep: Callable[[str, nn.Module, Any], None]) -> Iterator[None]:
    """Hooks on these modules, which go whatever happens."""
    handles = []
    try:
        for name, part in watched.items():

            def hook(part: nn.Module, given: Any, output: Any, name: str = name or "module") -> None:
                keep(name, part, output)

            handles.append(part.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; afterwards each of its parts is in its own mode again."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode
