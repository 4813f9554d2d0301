"""Autoencoders: the linear one is PCA, the variants do what their papers say, and settings are checked."""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import Tensor, nn

from isthmus import priors
from isthmus.errors import DataError, IsthmusWarning, NotSupported, SettingError
from isthmus.formats.vectors import VectorFormat
from isthmus.metrics import knee, principal_angles
from isthmus.models import PCA, VAE, Autoencoder, load
from isthmus.models.autoencoder import _corrupted, _squared_jacobian
from isthmus.training.device import reproducible
from isthmus.training.recipe import split

SMALL: dict[str, Any] = {"network": (24,), "device": "cpu"}


@functools.cache
def curved(n: int = 400) -> np.ndarray:
    """A two-dimensional sheet bent through ten dimensions, with a little noise."""
    drawn = np.random.default_rng(0)
    u = drawn.uniform(-1, 1, (n, 2))
    bent = np.column_stack([u, np.sin(3 * u), np.cos(3 * u), u[:, :1] * u[:, 1:], u**2, np.sin(3 * u.sum(1))])
    return (bent + 0.02 * drawn.standard_normal(bent.shape)).astype(np.float32)


@functools.cache
def flat(n: int = 600, d: int = 10) -> np.ndarray:
    """Gaussian, of variances that fall."""
    drawn = np.random.default_rng(1)
    turned = np.linalg.qr(drawn.standard_normal((d, d)))[0]
    return drawn.standard_normal((n, d)) * 2 * 0.6 ** np.arange(d) @ turned


def left(model: Any, items: np.ndarray, seen: np.ndarray | None = None) -> float:
    """Mean squared error of what comes back of ``seen``, measured against ``items``."""
    back = model.reconstruct(items if seen is None else seen)
    return float(np.square(back - items).sum(1).mean())


# ---- linear: PCA by gradient ---------------------------------------------------------------------------------------


def test_a_linear_one_is_pca() -> None:
    """Baldi & Hornik 1989: the only minimum is the space of the leading components."""
    items = flat(2000)[split(2000, 0)[0]]  # what it learns from; the others it is only measured on
    format = VectorFormat("centre")
    model = Autoencoder(3, network="linear", format=format, epochs=30, rate=0.01, device="cpu").fit(flat(2000))
    pca = PCA(3).fit(items)
    assert left(model, items) < 1.01 * left(pca, items)
    columns = model.network_.decoder.layers[0].weight.detach()  # (D, K)
    assert principal_angles(columns, pca.components_.T).max() < 0.05
    bare = model.untrained().network_.decoder.layers[0].weight.detach()
    assert principal_angles(bare, pca.components_.T).max() > 0.5
    assert left(model.untrained(), items) > 1.5 * left(pca, items)


def test_a_deep_one_beats_pca_on_what_is_bent() -> None:
    items = curved()
    model = Autoencoder(2, network=(48, 24), epochs=80, rate=0.01, device="cpu").fit(items)
    assert left(model, items) < 0.5 * left(PCA(2).fit(items), items)


# ---- noise on the way in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_gaussian_damage_has_its_deviation(level: float) -> None:
    x = torch.ones(200, 50)
    damage = _corrupted(x, "gaussian", level, torch.Generator().manual_seed(0)) - x
    assert damage.std() == pytest.approx(level, rel=0.05)
    assert damage.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_masked_elements_are_zero_and_the_others_untouched(level: float) -> None:
    x = torch.rand(200, 50, generator=torch.Generator().manual_seed(1)) + 1
    damaged = _corrupted(x, "masking", level, torch.Generator().manual_seed(0))
    assert (damaged == 0).float().mean() == pytest.approx(level, abs=0.02)
    assert torch.equal(damaged[damaged != 0], x[damaged != 0])


@pytest.mark.parametrize("level", [0.1, 0.5])
def test_salt_and_pepper_are_the_extremes(level: float) -> None:
    x = torch.rand(200, 50, generator=torch.Generator().manual_seed(1))
    damaged = _corrupted(x, "salt_and_pepper", level, torch.Generator().manual_seed(0))
    changed = damaged != x
    assert changed.float().mean() == pytest.approx(level, abs=0.02)
    assert (damaged[changed] == x.min()).float().mean() == pytest.approx(0.5, abs=0.05)
    assert set(damaged[changed].unique().tolist()) == {x.min().item(), x.max().item()}


def test_clean_items_are_the_target() -> None:
    """The damaged input goes through the encoder, and the loss compares with the item as it was."""
    model = Autoencoder(2, corruption=("masking", 0.9), epochs=1, **SMALL).fit(curved())
    seen: list[Tensor] = []
    usual = model.network_.likelihood.loss
    model.network_.likelihood.loss = lambda params, x: seen.append(x) or usual(params, x)  # type: ignore[method-assign]
    inputs: list[Tensor] = []
    model.network_.encoder.register_forward_pre_hook(lambda module, given: inputs.append(given[0]))
    from isthmus.training.engine import Moment

    x = model.format_.scale(torch.from_numpy(curved()))
    model._loss(x, Moment(torch.zeros(()), torch.Generator().manual_seed(0)))
    assert torch.equal(seen[0], x)
    assert (inputs[0] == 0).float().mean() > 0.85


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_denoising_pays_on_damaged_items(kind: str) -> None:
    items = curved()
    level = 0.3
    random = torch.Generator().manual_seed(9)
    given = {"epochs": 25, "rate": 0.01} | SMALL
    plain = Autoencoder(4, **given).fit(items)
    denoising = Autoencoder(4, corruption=(kind, level), **given).fit(items)
    scaled = plain.format_.scale(torch.from_numpy(items))
    damaged = plain.format_.unscale(_corrupted(scaled, kind, level, random)).numpy().astype(np.float32)
    assert left(denoising, items, damaged) < 0.9 * left(plain, items, damaged)


# ---- sparse, contractive, overcomplete -----------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, np.int64(3)])
def test_top_k_codes_have_k_numbers(k: int) -> None:
    model = Autoencoder(6, sparsity=("topk", k), epochs=2, **SMALL).fit(curved())
    assert ((model.encode(curved()) != 0).sum(1) == k).all()
    dense = Autoencoder(6, epochs=2, **SMALL).fit(curved())
    assert ((dense.encode(curved()) != 0).sum(1) == 6).all()


def test_top_k_keeps_the_largest() -> None:
    model = Autoencoder(6, sparsity=("topk", 2), epochs=1, **SMALL).fit(curved())
    sparse = model.encode(curved())
    model.sparsity = None
    dense = model.encode(curved())
    rows = np.arange(len(dense))[:, None]
    largest = np.argsort(-np.abs(dense), axis=1)[:, :2]
    assert_array_equal(np.sort(sparse[rows, largest]), np.sort(dense[rows, largest]))


def test_l1_makes_codes_small() -> None:
    sizes = [np.abs(Autoencoder(6, sparsity=given, epochs=20, **SMALL).fit(curved()).encode(curved())).mean()
             for given in (None, ("l1", 0.1), ("l1", 2.0))]  # fmt: skip
    assert sizes[2] < sizes[1] < sizes[0]
    assert sizes[2] < 0.3 * sizes[0]


def jacobian(model: Autoencoder, items: np.ndarray) -> float:
    x = model.format_.scale(torch.from_numpy(items))
    slopes = [
        torch.autograd.functional.jacobian(lambda one: model.network_.encoder(one[None])[0], row) for row in x[:40]
    ]
    return float(torch.stack(slopes).square().sum((1, 2)).mean())


def test_contraction_shrinks_the_jacobian() -> None:
    slopes = [jacobian(Autoencoder(4, contraction=c, epochs=12, **SMALL).fit(curved()), curved()) for c in (0.0, 1.0)]
    assert slopes[1] < 0.5 * slopes[0]


def test_the_estimate_of_the_jacobian_is_not_biased() -> None:
    with reproducible(0):
        encoder = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    estimate = torch.stack([_squared_jacobian(encoder, x, generator).detach() for _ in range(3000)]).mean(0)
    exact = [torch.autograd.functional.jacobian(encoder, row).square().sum() for row in x]
    np.testing.assert_allclose(estimate, torch.stack(exact).detach(), rtol=0.1)


@pytest.mark.parametrize("latent_dim", [10, 15])
def test_an_overcomplete_one_warns_and_says_why(latent_dim: int) -> None:
    text = (
        f"latent_dim={latent_dim} is not below the 10 elements of an item: nothing forces such an autoencoder to learn "
        "structure, it can copy each element into a latent of its own. Give corruption="
    )
    with pytest.warns(IsthmusWarning, match=re.escape(text)) as caught:
        model = Autoencoder(latent_dim, epochs=1, **SMALL).fit(curved())
    assert Path(caught[0].filename).name == Path(__file__).name, "it points at the user's line"
    assert model.latent_dim_ == latent_dim


@pytest.mark.parametrize("given", [{"corruption": "gaussian"}, {"sparsity": ("topk", 2)}, {"contraction": 0.1}])
def test_an_overcomplete_one_that_is_held_does_not_warn(given: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Autoencoder(12, epochs=1, **given, **SMALL).fit(curved()).encode(curved()).shape == (400, 12)


# ---- ordered -------------------------------------------------------------------------------------------------------


@functools.cache
def ordered() -> Autoencoder:
    return Autoencoder(5, ordered=True, network=(48,), epochs=60, rate=0.01, device="cpu").fit(flat())


def test_the_error_curve_falls_and_agrees_with_truncated_models() -> None:
    model, items = ordered(), flat()
    curve = model.error_curve(items)
    assert curve.shape == (5,)
    assert (np.diff(curve) < 0).all()
    scaled = model.format_.scale(torch.from_numpy(items)).numpy()
    for k in (1, 3, 5):
        shorter = model.truncate(k)
        assert shorter.get_params()["latent_dim"] == shorter.latent_dim_ == k
        codes = shorter.encode(items)
        assert_array_equal(codes, model.encode(items)[:, :k])
        back = model.format_.scale(torch.from_numpy(shorter.decode(codes))).numpy()
        assert np.square(back - scaled).sum(1).mean() == pytest.approx(curve[k - 1], rel=1e-4)
        assert shorter.sample(3).shape == (3, 10)
        assert shorter.prior_.latent_dim_ == k
        assert np.isfinite(shorter.score(items))
    assert model.latent_dim_ == 5
    nothing = np.square(scaled).sum(1).mean()
    assert curve[0] < 0.75 * nothing
    assert model.untrained().error_curve(items)[0] > 0.9 * nothing


def test_one_coordinate_of_an_ordered_code_is_worth_nearly_a_component() -> None:
    items = flat()
    pca = PCA(5, format=VectorFormat("standard")).fit(items).error_curve(items)
    assert (ordered().error_curve(items) < 1.35 * pca).all()


def test_a_truncated_model_is_saved_and_truncated_again(tmp_path: Path) -> None:
    items = flat()
    shorter = load(ordered().truncate(3).save(tmp_path / "m.isthmus"))
    assert_array_equal(shorter.encode(items), ordered().encode(items)[:, :3])
    assert_array_equal(shorter.truncate(2).decode(np.ones((1, 2))), ordered().truncate(2).decode(np.ones((1, 2))))
    with pytest.raises(SettingError, match="k=4: expected a whole number from 1 to 3"):
        shorter.truncate(4)


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
def test_what_has_no_order_says_so(model_class: type[Any]) -> None:
    model = model_class(3, epochs=1, **SMALL).fit(flat())
    for call in (lambda: model.error_curve(flat()), lambda: model.truncate(2)):
        with pytest.raises(NotSupported, match=r"needs ordered latents: PCA has them, .* learn them with ordered=True"):
            call()


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
def test_auto_reads_the_knee(model_class: type[Any], tmp_path: Path) -> None:
    drawn = np.random.default_rng(5)
    items = drawn.standard_normal((300, 2)) @ drawn.standard_normal((2, 12)) + 0.05 * drawn.standard_normal((300, 12))
    model = model_class("auto", network=(32,), epochs=40, rate=0.01, device="cpu").fit(items)
    assert model.latent_dim_ in (2, 3)
    curve = model.history_["error_curve"]
    assert len(curve) == 6
    nothing = float(np.square(model.format_.scale(torch.from_numpy(items)).numpy()).sum(1).mean())
    assert model.latent_dim_ == pytest.approx(knee(curve, nothing), abs=1)
    assert model.encode(items).shape == (300, model.latent_dim_)
    assert model.prior_.latent_dim_ == model.latent_dim_
    back = load(model.save(tmp_path / "m.isthmus"))
    assert_array_equal(back.encode(items), model.encode(items))
    assert len(model.error_curve(items)) == model.latent_dim_


# ---- modules of your own -------------------------------------------------------------------------------------------


def pair(latents: int = 2, params: int = 1, seed: int = 3) -> tuple[nn.Module, nn.Module]:
    with reproducible(seed):
        encoder = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, latents))
        decoder = nn.Sequential(
            nn.Linear(latents, 16), nn.Tanh(), nn.Linear(16, 10 * params), nn.Unflatten(1, (params, 10))
        )
    return encoder, decoder


def test_modules_of_your_own_are_trained_in_copies(tmp_path: Path) -> None:
    own = pair()
    before = [tensor.clone() for module in own for tensor in module.state_dict().values()]
    model = Autoencoder(2, network=own, epochs=20, device="cpu").fit(flat())
    after = [tensor for module in own for tensor in module.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert left(model, flat()) < 0.8 * left(model.untrained(), flat())
    again = Autoencoder(2, network=own, epochs=20, device="cpu").fit(flat())
    assert_array_equal(again.encode(flat()), model.encode(flat()))
    path = model.save(tmp_path / "own.isthmus")
    with pytest.raises(SettingError, match=r"load\(path, network=\(encoder, decoder\)\)"):
        load(path)
    back = load(path, network=pair(seed=8))
    assert_array_equal(back.encode(flat()), model.encode(flat()))
    assert_array_equal(back.reconstruct(flat()), model.reconstruct(flat()))
    with pytest.raises(SettingError, match="your encoder turns a batch"):
        load(path, network=pair(3))
    other = (nn.Linear(10, 2), pair()[1])
    with pytest.raises(SettingError, match="not those that this file was trained with"):
        load(path, network=other)


def test_modules_of_your_own_can_be_ordered() -> None:
    model = Autoencoder(3, network=pair(3), ordered=True, epochs=30, device="cpu").fit(flat())
    assert (np.diff(model.error_curve(flat())) < 0).all()
    assert model.truncate(1).reconstruct(flat()).shape == flat().shape


def test_modules_of_your_own_in_a_vae() -> None:
    encoder, decoder = pair(4)[0], pair(2)[1]
    model = VAE(2, network=(encoder, decoder), epochs=3, device="cpu").fit(flat())
    assert model.encode(flat()).shape == (600, 2)
    with pytest.raises(
        SettingError, match=r"your encoder turns .* \(2, 2\); expected \(2, 4\): 2 numbers for each of 2"
    ):
        VAE(2, network=pair(), device="cpu").fit(flat())


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8), (1, 1, 8, 8)])
def test_a_decoder_of_your_own_need_not_name_the_one_parameter(shape: tuple[int, ...], tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((40, 8, 8), dtype=np.float32)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nn.Sequential(nn.Linear(2, 64), nn.Unflatten(1, shape))
    model = Autoencoder(2, network=network, epochs=1, device="cpu").fit(X)
    assert model.reconstruct(X).shape == (40, 8, 8)
    model.save(tmp_path / "own.isthmus")
    again = load(tmp_path / "own.isthmus", network=network)
    np.testing.assert_array_equal(again.encode(X), model.encode(X))


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (lambda: pair(3), r"your encoder turns a batch of shape \(2, 10\) into \(2, 3\); expected \(2, 2\)"),
        (
            lambda: (pair()[0], nn.Linear(2, 11)),
            r"your decoder turns .* into \(2, 11\); expected \(2, 1, 10\): 1 param",
        ),
        (lambda: (nn.Linear(9, 2), pair()[1]), r"your encoder fails on a batch of shape \(2, 10\): mat1 and mat2"),
        (lambda: (pair()[0], pair(3)[1]), r"your decoder fails on a batch of shape \(2, 2\)"),
        (lambda: (nn.Flatten(), nn.Flatten()), "your encoder turns"),
        (lambda: (nn.LSTM(10, 2), pair()[1]), "your encoder gives a tuple"),
        (lambda: (pair()[0],), "network="),
        (lambda: pair()[0], "network="),
        (lambda: (pair()[0], "mlp"), "network="),
    ],
)
def test_modules_of_the_wrong_shape(network: Any, text: str) -> None:
    with pytest.raises(SettingError, match=text):
        Autoencoder(2, network=network(), epochs=1, device="cpu").fit(flat())


def test_modules_without_anything_to_learn() -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2]

    class Back(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z.repeat(1, 5)[:, None]

    with pytest.raises(SettingError, match="nothing to learn"):
        Autoencoder(2, network=(Half(), Back()), epochs=1, device="cpu").fit(flat())


# ---- settings ------------------------------------------------------------------------------------------------------

WRONG: dict[str, list[Any]] = {
    "latent_dim": [0, -3, 2.5, "all", True, 2**40],
    "ordered": ["yes", 1, None],
    "corruption": [
        "rain",
        ("gaussian", 0),
        ("gaussian", -1),
        ("masking", 1),
        ("masking", "much"),
        ("a", "b", "c"),
        0.3,
        ("gaussian", float("nan")),
    ],
    "sparsity": ["topk", ("topk", 0), ("topk", 1.5), ("l1", 0), ("l1", -1), ("l2", 1), ("l1", float("inf")), 3],
    "contraction": [-0.1, "some", None, float("nan"), float("inf"), True],
    "likelihood": ["normal", 3, "categorical"],
    "network": ["deep", (0,), (8, "a"), (2.5,), ("conv",), 64, "conv", None],
    "size": ["tiny", 2, None],
    "epochs": [0, -1, 1.5, "ten", True],
    "batch_size": [0, -8, 2.5, True],
    "rate": [0, -1.0, "fast", float("nan"), float("inf")],
    "budget": ["soon", 0, -5, True],
    "checkpoint": [5, True],
    "supervision": [-1, "much", None, True, float("nan"), float("inf")],
    "shifts": [-1, 1.5, "two", True],
    "device": ["warp", 3.5],
    "verbose": ["loud", 3],
    "random_state": [-1, "lucky", 1.5, 2**40],
    "beta": [-1, "one", None, float("inf"), float("nan"), True],
    "free_bits": [-0.1, "few", float("nan")],
    "kl_warm_up": [-0.1, 1.5, None],
}


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_every_wrong_setting_is_named(model_class: type[Any], name: str, value: Any) -> None:
    if name not in inspect.signature(model_class).parameters:
        return
    with pytest.raises(SettingError) as caught:
        model_class(**{"latent_dim": 2, "epochs": 1, "network": (4,)} | {name: value}).fit(flat())
    assert name in str(caught.value)
    assert len(str(caught.value)) < 400


def test_wrong_formats_are_named() -> None:
    with pytest.raises(DataError, match="format="):
        Autoencoder(2, format="pictures").fit(flat())


def test_all_settings_have_wrong_values_here() -> None:
    known = {name for c in (Autoencoder, VAE) for name in inspect.signature(c).parameters}
    assert known - {"format"} == set(WRONG)


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(SettingError, match="sparsity and ordered latents contradict each other"):
        Autoencoder(4, sparsity=("topk", 2), ordered=True).fit(flat())


def test_numbers_of_numpy_are_numbers() -> None:
    given = {"epochs": np.int64(1), "batch_size": np.int32(16), "rate": np.float32(0.01), "random_state": np.int64(2)}
    model = Autoencoder(np.int64(2), network=(8,), contraction=np.float32(0.1), **given).fit(flat())
    assert model.encode(flat()).shape == (600, 2)
    model = VAE(np.int64(2), network=(8,), beta=np.float32(0.5), free_bits=np.int64(0), **given).fit(flat())
    assert model.history_["batch_size"] == 16


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_sizes(size: str) -> None:
    model = Autoencoder(2, size=size, epochs=1, device="cpu").fit(flat())
    assert model.network_.encoder.layers[0].out_features == {"small": 24, "base": 48, "large": 104}[size]


def test_the_prior_is_fitted_to_codes_from_all_over_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fit = priors.GaussianMixture.fit
    monkeypatch.setattr(priors.GaussianMixture, "MOST_CODES", 50)
    monkeypatch.setattr(priors.GaussianMixture, "fit", lambda self, Z: seen.append(Z) or fit(self, Z))
    X = np.random.default_rng(0).standard_normal((173, 6)).astype(np.float32)
    model = Autoencoder(2, epochs=1, **SMALL).fit(X)
    (codes,) = seen
    assert np.array_equal(codes, model.encode(X[np.arange(50) * 173 // 50]))
