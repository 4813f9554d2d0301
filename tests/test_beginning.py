"""The network of a table begins where a PCA ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from isthmus.formats import TableFormat
from isthmus.formats.layout import Lines
from isthmus.models import PCA, VAE, Autoencoder, load
from isthmus.models.beginning import EXACT, Straight, begin
from isthmus.networks import network_for
from isthmus.networks.coder import Coder
from isthmus.training.device import reproducible

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")
pytest.importorskip("datasketches")


def mixed(rows: int = 400) -> Any:
    """Numbers, one of them with a frequent value, choices, dates and short texts that two hidden numbers decide."""
    r = np.random.default_rng(0)
    h = r.standard_normal((rows, 2))
    return pd.DataFrame({
        "a": h[:, 0] + 0.1 * r.standard_normal(rows),
        "gain": np.where(h[:, 1] < 0.3, 0.0, np.round(9 + h[:, 0], 2)),
        "b": 5 + 100 * (h[:, 0] - h[:, 1]),
        "sign": np.where(h[:, 0] > 0, "plus", "minus"),
        "third": pd.Categorical(np.digitize(h[:, 1], [-0.5, 0.5])),
        "flag": r.random(rows) < 0.03,
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.rint(300 * h[:, 0]), "D"),
        "word": r.choice(["aa", "bb", "cc"], rows) + pd.Series(r.integers(100, 999, rows)).astype(str),
    })  # fmt: skip


class Begun:
    """A network before training, and the view of the same rows that PCA has."""

    def __init__(self, frame: Any, latents: int, codes: int = 1, ordered: bool = False, network: str = "auto") -> None:
        self.form = TableFormat().fit(frame)
        self.x = self.form.scale(self.form.to_tensor(frame))
        self.lines = Lines(self.form.codes_, weighed=True)
        self.view = self.lines.spread(self.x).double().numpy()
        plan = network_for(self.form.spec, latents, len(frame), network=network)
        with reproducible(0):
            self.network = Coder.of(plan, self.form.spec, latents, codes, self.form.likelihood(), ordered)
        self.straight = begin(self.network, self.form.spec.columns, self.lines, self.x)

    def codes(self) -> np.ndarray:
        with torch.no_grad():
            return self.network.encoder(self.x).double().numpy()

    def principal(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes of deviation one of a PCA, and what it brings back."""
        mean = self.view.mean(0)
        left, sizes, right = np.linalg.svd(self.view - mean, full_matrices=False)
        return left[:, :k] * len(self.view) ** 0.5, mean + (left[:, :k] * sizes[:k]) @ right[:k]


@pytest.mark.parametrize("network", ["auto", "linear"])
def test_codes_begin_as_those_of_a_pca(network: str) -> None:
    begun = Begun(mixed(), 4, network=network)
    codes, principal = begun.codes(), begun.principal(4)[0]
    signs = np.sign((codes * principal).sum(0))
    assert_allclose(codes * signs, principal, atol=2e-4)
    assert_allclose(codes.std(0), 1, atol=1e-3)


def test_numbers_begin_as_a_pca_brings_them_back_and_choices_at_their_shares() -> None:
    begun = Begun(mixed(), 4)
    likelihood = begun.network.likelihood
    with torch.no_grad():
        params = begun.network.decode(begun.network.encoder(begun.x))
    brought, lines = begun.principal(4)[1], begun.lines
    for element, start in zip(lines.kept, lines.starts, strict=True):
        if not likelihood.levels[element]:
            place = likelihood.numbers.index(element)
            assert_allclose(params[:, 0, place], brought[:, start] / float(lines.scales[start]), atol=2e-3)
    for element, chances in likelihood.chances(params).items():
        shares = np.maximum(begun.form.spec.columns[element].shares, 1e-3)
        assert_allclose(chances, np.broadcast_to(shares / shares.sum(), chances.shape), atol=1e-5)


def test_straight_lines_leave_over_what_a_pca_leaves_over() -> None:
    begun = Begun(mixed(), 3)
    assert isinstance(begun.straight, Straight)
    with torch.no_grad():
        left = begun.straight(begun.network.encoder(begun.x), begun.x)
    assert_allclose(left, np.square(begun.view - begun.principal(3)[1]).sum(1), rtol=1e-3, atol=1e-3)


def test_holes_count_nothing_and_cost_nothing() -> None:
    begun = Begun(mixed(), 3)
    nothing = torch.full_like(begun.x, torch.nan)
    with torch.no_grad():
        assert_allclose(begun.network.encoder(nothing), 0, atol=1e-6)
        assert begun.straight is not None
        assert_array_equal(begun.straight(begun.network.encoder(begun.x), nothing), 0)


@pytest.mark.parametrize(("codes", "ordered"), [(2, False), (1, True)])
def test_a_vae_and_ordered_latents_begin_there_too(codes: int, ordered: bool) -> None:
    begun = Begun(mixed(), 3, codes, ordered)
    outputs, principal = begun.codes(), begun.principal(3)[0]
    assert outputs.shape[1] == 3 * codes
    assert_allclose(np.abs(outputs[:, :3]), np.abs(principal), atol=2e-4)
    assert np.abs(outputs[:, 3:]).max(initial=0) < 2  # of a VAE: log-variances, as they were drawn


@pytest.mark.parametrize("network", ["auto", "linear"])
def test_latents_without_a_component_begin_as_they_were_drawn(network: str) -> None:
    frame = pd.DataFrame({"a": np.arange(50.0), "c": ["x", "y"] * 25})
    codes = Begun(frame, 6, network=network).codes()
    assert_allclose(codes[:, :2].std(0), 1, atol=1e-3)
    assert (codes[:, 3:].std(0) > 1e-3).all()


def test_rows_that_do_not_differ_have_no_directions() -> None:
    begun = Begun(mixed(), 2)
    assert begin(begun.network, begun.form.spec.columns, begun.lines, begun.x[:1]) is None
    assert np.isfinite(Autoencoder(1, epochs=1, verbose=False).fit(mixed().iloc[:1]).encode(mixed().iloc[:1])).all()


def test_a_table_wider_than_its_covariance_begins_at_its_leading_directions() -> None:
    r = np.random.default_rng(0)
    h = r.standard_normal((60, 2))
    wide = h @ r.standard_normal((2, EXACT + 50)) + 0.01 * r.standard_normal((60, EXACT + 50))
    frame = pd.DataFrame(wide, columns=[f"c{i}" for i in range(wide.shape[1])]).assign(sign=np.where(h[:, 0] > 0, 1, 0))
    begun = Begun(frame.astype({"sign": bool}), 2)
    assert_allclose(np.abs(begun.codes()), np.abs(begun.principal(2)[0]), atol=1e-2)


def test_the_beginning_is_the_same_whatever_the_threads() -> None:
    allowed, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append([tensor.clone() for tensor in Begun(mixed(), 3).network.state_dict().values()])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(allowed)
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


def test_a_model_that_has_not_learned_yet_brings_back_what_a_pca_does() -> None:
    frame = mixed()[["a", "b", "sign", "third"]]
    model = Autoencoder(3, epochs=1, rate=1e-9, verbose=False).fit(frame)
    ours, theirs = model.reconstruct(frame), PCA(3).fit(frame).reconstruct(frame)
    for name in ("a", "b"):
        assert np.abs(ours[name] - theirs[name]).mean() < 0.03 * frame[name].std()


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
def test_what_is_there_for_training_alone_is_not_in_the_model(kind: Any, tmp_path: Any) -> None:
    frame = mixed(100)
    model = kind(2, epochs=2, verbose=False).fit(frame)
    assert model.network_.straight is None
    assert not [name for name in model.network_.state_dict() if "straight" in name]
    model.save(tmp_path / "m.isthmus")
    assert_array_equal(load(tmp_path / "m.isthmus").encode(frame), model.encode(frame))


def test_the_loss_that_is_told_is_that_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    for weight in (0.0, 4.0):
        monkeypatch.setattr(Autoencoder, "straightness", weight)
        model = Autoencoder(3, epochs=1, rate=1e-9, verbose=False).fit(mixed())
        told.append((model.history_["loss"], model.history_["held_out"]))
    assert_allclose(told[1][0], told[0][0], rtol=1e-4)
    assert_allclose(told[1][1], told[0][1], rtol=1e-4)


@pytest.mark.parametrize("settings", [{"labels": True}, {"ordered": True}])
def test_where_something_else_leads_the_code_straight_lines_do_not(
    settings: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, codes = mixed(), []
    labels = np.arange(len(frame)) % 2 if settings.pop("labels", False) else None
    for weight in (0.0, 4.0):
        monkeypatch.setattr(Autoencoder, "straightness", weight)
        codes.append(Autoencoder(2, epochs=2, verbose=False, **settings).fit(frame, labels).encode(frame))
    assert_array_equal(*codes)


def test_straight_lines_keep_in_the_code_what_lines_can_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    """By linear regression on the codes: variance of the view that is explained."""
    explained = []
    frame = mixed()
    for weight in (0.0, 4.0):
        monkeypatch.setattr(Autoencoder, "straightness", weight)
        model = Autoencoder(2, verbose=False, random_state=0).fit(frame)
        codes = np.c_[model.encode(frame), np.ones(len(frame))]
        view = Begun(frame, 2).view
        left = view - codes @ np.linalg.lstsq(codes, view, rcond=None)[0]
        explained.append(1 - np.square(left).sum() / np.square(view - view.mean(0)).sum())
    assert explained[1] > explained[0] + 0.01
