"""Layers of networks as embeddings: measures against closed forms, hooks that go, modes that come back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus import datasets
from isthmus.errors import DataError, NotSupported, SettingError
from isthmus.models.autoencoder import Autoencoder
from isthmus.models.pca import PCA
from isthmus.training.device import reproducible
from isthmus.verbs.layers import cka, effective_dimension, layers

random = np.random.default_rng(0)
X = random.normal(size=(300, 12)).astype(np.float32)


def made(*parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(*parts)


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with reproducible(0):
        yield


# --- Measures -------------------------------------------------------------------------------------------------------


def test_cka_is_its_definition_and_knows_no_rotation_or_scale() -> None:
    one, other = random.normal(size=(50, 4)), random.normal(size=(50, 9))
    centre = np.eye(50) - 1 / 50
    K, L = centre @ one @ one.T @ centre, centre @ other @ other.T @ centre
    wanted = (K * L).sum() / np.sqrt((K * K).sum() * (L * L).sum())
    assert cka(one, other) == pytest.approx(wanted)
    assert cka(one[:8], other[:8]) == pytest.approx(cka(other[:8], one[:8]))  # by the products of items
    turned = one @ np.linalg.qr(random.normal(size=(4, 4)))[0] * 3 + 7
    assert cka(one, turned) == pytest.approx(1)
    assert cka(random.normal(size=(5000, 3)), random.normal(size=(5000, 3))) < 0.01
    assert np.isnan(cka(one, np.ones((50, 2))))
    with pytest.raises(DataError, match="embeddings of 50 and 8 items"):
        cka(one, other[:8])


def test_the_effective_dimension_counts_directions() -> None:
    assert effective_dimension(random.normal(size=(20_000, 6))) == pytest.approx(6, rel=0.01)
    assert effective_dimension(random.normal(size=(100, 1)) @ random.normal(size=(1, 6))) == pytest.approx(1)
    assert effective_dimension(np.ones((10, 3))) == 0
    wide = random.normal(size=(20, 50))
    values = np.linalg.eigvalsh(np.cov(wide.T))
    assert effective_dimension(wide) == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_a_rotation_keeps_everything_and_a_narrow_layer_does_not() -> None:
    turn, narrow = nn.Linear(12, 12, bias=False), nn.Linear(12, 1)
    nn.init.orthogonal_(turn.weight)
    rows = {row["layer"]: row for row in layers(made(turn, narrow), X).rows}
    assert rows["0"]["cka_input"] == pytest.approx(1, abs=1e-4)
    assert rows["0"]["overlap"] > 0.99
    assert rows["1"]["effective_dimension"] == pytest.approx(1)
    assert rows["1"]["cka_previous"] < 0.9
    assert rows["1"]["overlap"] < 0.5
    assert rows["input"]["cka_input"] is None


def test_the_probe_reads_what_is_there_and_no_more() -> None:
    y = (X[:, 0] * X[:, 1] > 0).astype(int)  # no line tells it

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1] * x[:, 1:2]

    rows = {row["layer"]: row for row in layers(made(Product(), nn.ReLU()), X, y).rows}
    assert rows["input"]["probe"] < 0.6
    assert rows["0"]["probe"] > 0.95
    assert rows["0"]["probe_se"] < 0.02


def test_a_trained_network_reads_better_than_an_untrained_one() -> None:
    digits, y = datasets.digits(labels=True)
    model = Autoencoder(8, network=(32,), epochs=6, verbose=False).fit(digits)
    last = {name: layers(one, digits[:600], y[:600]).rows[-1]
            for name, one in (("trained", model), ("not", model.untrained()))}  # fmt: skip
    assert last["trained"]["probe"] > last["not"]["probe"] + 0.05
    np.testing.assert_allclose(
        layers(model, digits[:50])[last["trained"]["layer"]], model.encode(digits[:50]), atol=1e-4
    )


# --- Activations ----------------------------------------------------------------------------------------------------


def test_activations_are_what_the_layers_gave_even_where_the_next_works_in_place() -> None:
    first = nn.Linear(12, 5)
    net = made(first, nn.ReLU(inplace=True), nn.Linear(5, 3))
    found = layers(net, X, batch_size=77)
    with torch.no_grad():
        wanted = first(torch.from_numpy(X))
    assert found.names == ["input", "0", "1", "2"]
    np.testing.assert_allclose(found["0"], wanted, atol=1e-6)
    np.testing.assert_allclose(found["1"], wanted.relu(), atol=1e-6)
    assert (found["0"] < 0).any()
    assert found.maps["0"].shape == (300, 2)
    assert found.maps["2"].var(0)[0] >= found.maps["2"].var(0)[1]
    json.dumps(found.to_json())
    assert "eff. dim" in str(found)


def test_a_module_that_is_used_twice_has_two_layers() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn, self.unused = nn.Linear(12, 12), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.turn(self.turn(x))

    assert layers(Twice(), X).names == ["input", "turn", "turn:2"]


def test_maps_are_averaged_or_flattened_and_wide_ones_hashed() -> None:
    images = torch.rand(40, 3, 8, 8)
    conv = nn.Conv2d(3, 40, 3, padding=1)
    flat, pooled = layers(made(conv), images), layers(made(conv), images, pool=True)
    assert flat["0"].shape == (40, 1024)  # of 2560
    with torch.no_grad():
        whole = conv(images)
    np.testing.assert_allclose(pooled["0"], whole.mean((2, 3)), atol=1e-5)
    products, kept = (whole.flatten(1) @ whole.flatten(1).T).numpy(), flat["0"] @ flat["0"].T
    assert np.corrcoef(products.ravel(), kept.ravel())[0, 1] > 0.8
    tokens = torch.randn(30, 7, 6)
    found = layers(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), tokens, pool=True, leaves=False)
    assert found["linear2"].shape == (30, 6)
    assert "self_attn" in found.names
    words = layers(made(nn.Embedding(5, 3), nn.Flatten()), torch.randint(0, 5, (20, 4)), pool=True)
    assert words["0"].shape == (20, 3)
    assert layers(nn.LSTM(4, 3, batch_first=True), torch.randn(9, 5, 4))["module"].shape == (9, 15)


def test_modes_hooks_and_weights_are_as_they_were_whatever_happens() -> None:
    norm, drop = nn.BatchNorm1d(12), nn.Dropout(0.5)
    net = made(norm, drop, nn.Linear(12, 2)).train()
    drop.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert (layers(net, X)["1"] == layers(net, X)["1"]).all()
    with pytest.raises(DataError, match=r"the module fails on a batch of shape \(3, 5\) of float32: .*Bring X"):
        layers(net, torch.zeros(3, 5))
    assert [part.training for part in (net, norm, drop)] == [True, True, False]
    assert not any(part._forward_hooks for part in net.modules())
    assert all((net.state_dict()[name] == tensor).all() for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_what_gives_no_embedding_is_left_out_and_named() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum()

    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.log(-x.abs())

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum, self.root = Sum(), Root()

        def forward(self, x: Tensor) -> Tensor:
            return self.sum(x) + self.root(x)

    found = layers(Odd(), X)
    assert found.names == ["input"]
    assert "no tensor with a row for each item" in found.left_out["sum"]
    assert "not finite" in found.left_out["root"]


@pytest.mark.parametrize(
    ("given", "y", "error", "message"),
    [
        (X[:1], None, DataError, "1 items given"),
        (np.array(["a", "b"]), None, DataError, "numbers"),
        (np.where(np.arange(12) == 3, np.nan, X), None, DataError, "item 0 is not finite"),
        (X, np.zeros(300), DataError, "all labels are of one class"),
        (X, np.zeros(299), DataError, r"expected \(300,\)"),
        (X, np.arange(300), DataError, "two classes need two items each"),
    ],
)
def test_inputs_that_do_not_do(given: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layers(made(nn.Linear(12, 2)), given, y)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(NotSupported, match="Autoencoder and VAE have one"):
        layers(PCA(2).fit(X), X)
    with pytest.raises(SettingError, match="no str"):
        layers("net", X)
    with pytest.raises(SettingError, match="batch_size=0"):
        layers(made(nn.Linear(12, 2)), X, batch_size=0)
    with pytest.raises(SettingError, match="there is no layer '7'; there are input, 0"):
        layers(made(nn.Linear(12, 2)), X)["7"]
