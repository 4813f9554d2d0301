"""The one loop: what it minimises, what it keeps, and how it ends."""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from isthmus import store
from isthmus.errors import FileError, IsthmusWarning, SettingError, TrainingError
from isthmus.models import VAE, Autoencoder
from isthmus.networks import multiply_adds
from isthmus.training import bar as bars
from isthmus.training import device as devices
from isthmus.training import engine
from isthmus.training.device import bf16_pays, device_of, reproducible
from isthmus.training.engine import History, Moment, Objective, train
from isthmus.training.feed import ResidentFeed
from isthmus.training.recipe import batch_for, seconds_of, split, steps_for
from isthmus.training.steps import Eager
from isthmus.training.tape import Tape

CPU = torch.device("cpu")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def line(seed: int = 0) -> nn.Linear:
    with reproducible(seed):
        return nn.Linear(4, 4)


def feed_of(n: int = 64, seed: int = 0) -> ResidentFeed:
    return ResidentFeed(drawn(n, 4), torch.arange(n), lambda x: x, CPU, seed)


def trained(module: nn.Module, loss: Callable[[Tensor, Moment], Tensor], **given: Any) -> History:
    """One objective over all parameters; the monitor is the loss of the first 16 items."""
    feed = given.pop("feed", None) or feed_of()

    def held_out() -> float:
        return float(loss(feed.stored[:16], Moment(torch.ones(()), torch.Generator().manual_seed(1))))

    monitor = given.pop("monitor", None) or held_out
    settings = {"epochs": 5, "batch_size": 16, "seed": 0, "device": CPU} | given
    objectives = settings.pop("objectives", None) or [Objective(loss, list(module.parameters()), 0.05)]
    return train(module, objectives, feed, monitor, **settings)


def copying(module: nn.Module) -> Callable[[Tensor, Moment], Tensor]:
    return lambda x, moment: (module(x) - x).square().sum(1).mean()


def copying_noise(module: nn.Module) -> Callable[[Tensor, Moment], Tensor]:
    """Draws from the moment's generator, so that a resumed run must find its place again."""
    return lambda x, moment: (module(x + 0.1 * torch.randn(x.shape, generator=moment.generator)) - x).square().mean()


def weights_of(module: nn.Module) -> list[np.ndarray]:
    return [tensor.detach().numpy().copy() for tensor in module.state_dict().values()]


def assert_same(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- what is minimised ---------------------------------------------------------------------------------------------


def test_it_learns_and_says_so() -> None:
    module = line()
    history = trained(module, copying(module), epochs=40)
    assert history["ended"] == "finished"
    assert history["held_out"][-1] < 0.01 * history["held_out"][0]
    assert history["epoch"] == list(range(1, 41))
    assert len(history["loss"]) == len(history["held_out"]) == len(history["seconds"]) == 40
    assert history["seconds"] == sorted(history["seconds"])
    assert not module.training


def test_two_objectives_each_move_their_own_parameters() -> None:
    """min over a, max over b, of a b + 0.1 a^2 - 0.1 b^2, whose only equilibrium is (0, 0)."""
    game = nn.ParameterDict({"a": nn.Parameter(torch.tensor([1.0])), "b": nn.Parameter(torch.tensor([-0.7]))})

    def value() -> Tensor:
        return (game["a"] * game["b"] + 0.1 * game["a"] ** 2 - 0.1 * game["b"] ** 2).sum()

    seen: dict[str, list[tuple[float, float]]] = {"first": [], "second": []}

    def first(x: Tensor, moment: Moment) -> Tensor:
        seen["first"].append((game["a"].item(), game["b"].item()))
        return value()

    def second(x: Tensor, moment: Moment) -> Tensor:
        seen["second"].append((game["a"].item(), game["b"].item()))
        return -value()

    objectives = [Objective(first, [game["a"]], 0.02), Objective(second, [game["b"]], 0.01)]
    history = trained(game, first, objectives=objectives, epochs=150, monitor=lambda: abs(value().item()))
    assert all(len(losses) == 2 for losses in history["loss"])
    for before, after in zip(seen["first"][:50], seen["second"], strict=False):
        assert before[0] != after[0], "the first objective moves a"
        assert before[1] == after[1], "and leaves b"
    for before, after in zip(seen["second"][:50], seen["first"][1:], strict=False):
        assert before[0] == after[0]
        assert before[1] != after[1]
    assert np.hypot(*seen["first"][-1]) < 0.6 < np.hypot(*seen["first"][0])


def test_a_parameter_that_no_loss_touches_stays() -> None:
    module = nn.ModuleDict({"used": line(), "unused": line(1)})
    before = weights_of(module["unused"])
    trained(module, copying(module["used"]))
    assert_same(weights_of(module["unused"]), before)


def test_decay_is_for_matrices_only() -> None:
    module = line()
    trained(module, lambda x, moment: 0 * module(x).sum(), weight_decay=0.5, monitor=iter(range(99, 0, -1)).__next__)
    fresh = line()
    assert (module.weight.abs() < 0.95 * fresh.weight.abs()).all()
    np.testing.assert_array_equal(module.bias.detach(), fresh.bias.detach())


def test_the_rate_climbs_and_falls() -> None:
    rates = [engine._rate(done, 0.05) for done in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1, abs=0.02)
    assert rates[0] < 0.05
    assert rates[-1] <= 1e-3
    assert all(np.diff(rates[6:]) < 0)


def test_progress_goes_from_zero_to_one() -> None:
    module, seen = line(), []

    def loss(x: Tensor, moment: Moment) -> Tensor:
        seen.append(moment.progress.item())
        return copying(module)(x, moment)

    trained(module, loss, monitor=lambda: 0.0, epochs=3)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.85 < seen[-1] < 1


# ---- what is kept --------------------------------------------------------------------------------------------------


def test_the_best_weights_come_back() -> None:
    module, kept = line(), []
    scores = iter([5.0, 3.0, 1.0, 2.0, 4.0])

    def monitor() -> float:
        kept.append(weights_of(module))
        return next(scores)

    history = trained(module, copying(module), monitor=monitor)
    assert history["best_epoch"] == 3
    assert_same(weights_of(module), kept[2])
    assert not np.array_equal(kept[2][0], kept[4][0])


def test_an_average_of_the_weights_is_what_is_measured_and_kept() -> None:
    module, measured = line(), []

    def monitor() -> float:
        measured.append(weights_of(module))
        return -float(len(measured))

    plain = line()
    trained(plain, copying(plain), monitor=lambda: 0.0, epochs=1)
    trained(module, copying(module), monitor=monitor, average=0.9, epochs=1)
    assert_same(weights_of(module), measured[-1])
    assert not np.array_equal(measured[-1][0], weights_of(plain)[0])


def test_an_early_stop() -> None:
    module = line()
    scores = iter([3.0, 1.0, *[2.0] * 98])
    history = trained(module, copying(module), monitor=scores.__next__, epochs=20)
    assert history["ended"] == "early"
    assert history["best_epoch"] == 2
    assert history["epoch"][-1] == 8  # a quarter of the run is five epochs


# ---- time ----------------------------------------------------------------------------------------------------------


def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the loss is called for every step."""
    monkeypatch.setattr(engine, "launches_for", lambda feed, size, step, state, module, device, *others: Eager(
        feed, size, step, device))  # fmt: skip


class Clock:
    """A second for every look at it that the engine makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tick: float = 0.0) -> None:
        self.now, self.tick = 0.0, tick
        monkeypatch.setattr(engine, "time", types.SimpleNamespace(monotonic=self))

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


@pytest.mark.parametrize(("budget", "a_step"), [(60.0, 1.0), (10.0, 0.25), (0.5, 1.0)])
def test_a_budget_is_kept(monkeypatch: pytest.MonkeyPatch, budget: float, a_step: float) -> None:
    clock, module, steps, rates = Clock(monkeypatch), line(), [], []
    one_by_one(monkeypatch)

    def loss(x: Tensor, moment: Moment) -> Tensor:
        clock.now += a_step
        steps.append(clock.now)
        rates.append(moment.progress.item())
        return copying(module)(x, moment)

    history = trained(module, loss, epochs=10**9, budget=budget, monitor=lambda: -clock.now)
    assert history["ended"] == "budget"
    assert len(steps) == pytest.approx(np.ceil(budget / a_step), abs=1)
    assert rates[-1] >= 1 - a_step / budget - 1e-6
    assert history["seconds"][-1] <= budget + a_step
    assert all(np.isfinite(history["held_out"]))


def test_a_budget_that_epochs_end_first(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    module = line()
    assert trained(module, copying(module), epochs=2, budget=100.0)["ended"] == "finished"


def test_a_budget_stops_early_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, module = Clock(monkeypatch, tick=0.1), line()
    scores = iter([1.0, *[2.0] * 10**4])
    history = trained(module, copying(module), epochs=10**9, budget=100.0, monitor=scores.__next__)
    assert history["ended"] == "early"
    assert 20 < clock.now < 60


@pytest.mark.parametrize(("given", "seconds"), [(60, 60), ("90s", 90), ("5m", 300), ("1.5h", 5400), (" 2 min", 120),
                                                (0.5, 0.5), (None, None), (np.float64(3), 3)])  # fmt: skip
def test_ways_to_say_a_budget(given: Any, seconds: float | None) -> None:
    assert seconds_of(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "-5s", 0, "0m", -1, True, "5 days", [1], float("nan"), float("inf")])
def test_budgets_that_are_none(given: Any) -> None:
    with pytest.raises(SettingError, match="budget=.*: expected a time above zero"):
        seconds_of(given)


# ---- Ctrl-C --------------------------------------------------------------------------------------------------------


class Stopping:
    """A feed that is interrupted in the given epoch, after two of its batches."""

    def __init__(self, feed: ResidentFeed, epoch: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.inner, self.epoch, self.error, self.n_items = feed, epoch, error, feed.n_items
        self.stored = feed.stored

    def batches(self, epoch: int, size: int) -> Iterator[Tensor]:
        for index, batch in enumerate(self.inner.batches(epoch, size)):
            if epoch == self.epoch and index == 2:
                raise self.error
            yield batch


def test_ctrl_c_keeps_the_best() -> None:
    module, kept = line(), []
    scores = iter([3.0, 1.0, 2.0])

    def monitor() -> float:
        kept.append(weights_of(module))
        return next(scores)

    history = trained(module, copying(module), monitor=monitor, feed=Stopping(feed_of(), epoch=3))
    assert history["ended"] == "interrupted"
    assert history["best_epoch"] == 2
    assert_same(weights_of(module), kept[1])
    assert not module.training


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
@pytest.mark.parametrize("calls", [1, 5, 40, 100])
def test_a_model_survives_ctrl_c(model_class: type[Any], calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the first step, and in later ones."""
    items = drawn(100, 6).numpy()
    left = iter(range(calls, -1, -1))
    usual = model_class._loss

    def loss(self: Any, x: Tensor, moment: Moment) -> Tensor:
        if not next(left):
            raise KeyboardInterrupt
        return usual(self, x, moment)

    monkeypatch.setattr(model_class, "_loss", loss)
    one_by_one(monkeypatch)
    survives(model_class(2, network=(8,), epochs=20), items)


@pytest.mark.parametrize("calls", [0, 1, 40])
def test_a_model_survives_ctrl_c_amid_a_tape(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    items, left, usual = drawn(100, 6).numpy(), iter(range(calls, -1, -1)), Tape.replay

    def replay(tape: Tape) -> None:
        if not next(left):
            tape._operations = tape._operations[: len(tape._operations) // 2]
            usual(tape)
            raise KeyboardInterrupt
        usual(tape)

    monkeypatch.setattr(Tape, "replay", replay)
    survives(VAE(2, network=(8,), epochs=20), items)


def survives(model: Any, items: Any) -> None:
    with pytest.warns(
        IsthmusWarning, match="training was interrupted; the model is (the best so far, of epoch|as far)"
    ):
        model.fit(items)
    assert model.history_["ended"] == "interrupted"
    assert np.isfinite(model.encode(items)).all()
    assert np.isfinite(model.sample(3)).all()


# ---- checkpoints ---------------------------------------------------------------------------------------------------


class Killed(Exception):
    """What no loop catches."""


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("killed", [1, 4, 9])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, killed: int, average: float | None) -> None:
    given = {"epochs": 10, "average": average}
    whole = line()
    unbroken = trained(whole, copying_noise(whole), **given)
    path, broken = tmp_path / "run.checkpoint", line()
    with pytest.raises(Killed):
        trained(broken, copying_noise(broken), feed=Stopping(feed_of(), killed, Killed), resume=path, **given)
    assert path.exists()
    resumed = line(5)  # other first weights: all comes from the file
    history = trained(resumed, copying_noise(resumed), resume=path, **given)
    assert_same(weights_of(resumed), weights_of(whole))
    for name in ("epoch", "loss", "held_out", "best_epoch", "ended"):
        assert history[name] == unbroken[name]
    assert not path.exists(), "a run that has ended needs no checkpoint"


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
@pytest.mark.parametrize(("ordered", "network"), [(False, (8,)), (True, (8,)), (False, "conv")])
def test_a_killed_fit_goes_on_to_the_same_model(
    model_class: type[Any], ordered: bool, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = (drawn(100, 6) if network != "conv" else drawn(40, 8, 8).sigmoid() / 2).numpy()
    given = {"latent_dim": 2, "network": network, "epochs": 6, "ordered": ordered}
    whole = model_class(**given).fit(items)
    path = tmp_path / "fit.checkpoint"
    usual = ResidentFeed.batches

    def batches(self: ResidentFeed, epoch: int, size: int) -> Iterator[Tensor]:
        if epoch == 4:
            raise Killed
        return usual(self, epoch, size)

    monkeypatch.setattr(ResidentFeed, "batches", batches)
    model = model_class(**given, checkpoint=str(path))
    with pytest.raises(Killed):
        model.fit(items)
    monkeypatch.undo()
    other = model_class(**given | {"random_state": 3}, checkpoint=str(path))
    with pytest.raises(TrainingError, match="is the checkpoint of another run: its data, settings or seed differ"):
        other.fit(items)
    with pytest.raises(TrainingError, match="another run"):
        model.fit(items * 2)
    model.fit(items)
    np.testing.assert_array_equal(model.encode(items), whole.encode(items))
    np.testing.assert_array_equal(model.sample(4), whole.sample(4))
    assert not path.exists()


def test_a_checkpoint_stays_after_ctrl_c_and_can_go_on(tmp_path: Path) -> None:
    path, module, whole = tmp_path / "run", line(), line()
    assert trained(module, copying_noise(module), feed=Stopping(feed_of(), 3), resume=path)["ended"] == "interrupted"
    assert path.exists()
    trained(module, copying_noise(module), resume=path)
    trained(whole, copying_noise(whole))
    assert_same(weights_of(module), weights_of(whole))


def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    path, module = tmp_path / "run", line()
    trained(module, copying(module), feed=Stopping(feed_of(), 2), resume=path, fingerprint="this")
    before = path.read_bytes()
    with pytest.raises(TrainingError, match="Give the same ones to continue it, name another checkpoint file"):
        trained(module, copying(module), resume=path, fingerprint="that")
    assert path.read_bytes() == before


def test_files_that_are_no_checkpoint_are_refused_and_kept(tmp_path: Path) -> None:
    module, path = line(), tmp_path / "notes.txt"
    path.write_text("buy milk")
    with pytest.raises(FileError, match=r"notes\.txt"):
        trained(module, copying(module), resume=path)
    assert path.read_text() == "buy milk"
    Autoencoder(2, network=(4,), epochs=1).fit(drawn(30, 6).numpy()).save(tmp_path / "m.isthmus")
    with pytest.raises(TrainingError, match="another run"):
        trained(module, copying(module), resume=tmp_path / "m.isthmus")


def test_loading_a_checkpoint_as_a_model(tmp_path: Path) -> None:
    from isthmus.errors import DamagedFileError
    from isthmus.models import load

    path, module = tmp_path / "run", line()
    trained(module, copying(module), feed=Stopping(feed_of(), 2), resume=path)
    assert store.read(path).model["checkpoint"] is True
    with pytest.raises(DamagedFileError, match="a checkpoint of a run that has not ended"):
        load(path)


def test_a_folder_for_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    module = line()
    with pytest.raises(FileError):
        trained(module, copying(module), resume=tmp_path / "nowhere" / "run")


# ---- what is not finite --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(value: float) -> None:
    module = line()
    with pytest.raises(TrainingError) as caught:
        trained(module, lambda x, moment: copying(module)(x, moment) * value)
    text = str(caught.value)
    assert text.startswith(
        "the loss was no longer finite in epoch 1. The most likely cause is a learning rate too high"
    )
    assert "try rate=0.005" in text


def test_a_held_out_loss_that_is_not_finite_stops_the_run() -> None:
    module = line()
    with pytest.raises(TrainingError, match="held-out loss: nan"):
        trained(module, copying(module), monitor=lambda: float("nan"))


@pytest.mark.parametrize("model_class", [Autoencoder, VAE])
def test_a_rate_too_high_is_named(model_class: type[Any]) -> None:
    model = model_class(2, network=(8,), epochs=5, rate=1e30)
    with pytest.raises(TrainingError, match=r"the loss was no longer finite in epoch \d+.*try rate=1e\+29"):
        model.fit(drawn(100, 6).numpy())
    assert not hasattr(model, "network_")


# ---- the held-out part and the formulas ------------------------------------------------------------------------------


@given(n=st.integers(1, 3000), seed=st.integers(0, 99))
def test_a_tenth_is_held_out(n: int, seed: int) -> None:
    learn_from, held_out = split(n, seed)
    assert sorted(learn_from.tolist() + held_out.tolist()) == list(range(n))
    assert len(held_out) == (n // 10 if n >= 20 else 0)
    assert torch.equal(learn_from, split(n, seed)[0])


def test_formulas_grow_with_the_data() -> None:
    assert steps_for(60_000) == pytest.approx(11_800, rel=0.01)
    assert steps_for(10) == 1000
    assert steps_for(10, 2.0) == 2000
    assert [batch_for(n) for n in (1, 300, 1000, 60_000)] == [8, 8, 16, 128]


def test_global_state_is_left_alone_even_by_dropout() -> None:
    """A module of the user's own draws from the global generator; the loop puts that back, and seeds it itself."""
    results = []
    for _ in range(2):
        torch.rand(3)  # somebody else's draw, between the runs
        before = torch.get_rng_state()
        module = nn.Sequential(line(), nn.Dropout(0.5))
        trained(module, copying(module))
        assert torch.equal(torch.get_rng_state(), before)
        results.append(weights_of(module))
    assert_same(*results)


# ---- devices and precision -----------------------------------------------------------------------------------------


def test_bf16_is_for_large_steps_on_machines_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_native_bf16", lambda: True)
    assert not bf16_pays(CPU, devices.BF16_FROM - 1)
    assert bf16_pays(CPU, devices.BF16_FROM) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(devices, "_native_bf16", lambda: False)
    assert not bf16_pays(CPU, 1e12)


def test_in_bf16_a_run_learns_too() -> None:
    module = line()
    history = trained(module, copying(module), epochs=30, bf16=True)
    assert history["held_out"][-1] < 0.05 * history["held_out"][0]
    assert module.weight.dtype == torch.float32


@pytest.mark.parametrize("setting", ["warp", "cuda:99", 3.5])
def test_devices_that_are_not_there(setting: Any) -> None:
    with pytest.raises(SettingError, match="device=.* cannot be used here"):
        device_of(setting)


def test_reproducible_gives_back_the_global_generator() -> None:
    before = torch.get_rng_state()
    with reproducible(3):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with reproducible(3):
        assert torch.equal(torch.rand(3), first)


# ---- the bar -------------------------------------------------------------------------------------------------------


def test_the_bar_is_silent_when_piped(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock, module = Clock(monkeypatch, tick=1.0), line()
    trained(module, copying(module), bar=bars.Bar("quiet"), epochs=3)
    assert clock.now > 10
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_shows_losses_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    Clock(monkeypatch, tick=1.0)
    module = line()
    trained(module, copying(module), bar=bars.Bar("Autoencoder(2)", show=True), epochs=3)
    shown = terminal.getvalue()
    assert "Autoencoder(2)" in shown
    assert "loss" in shown
    assert "held out" in shown


def test_a_short_run_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.stderr", terminal)
    module = line()
    trained(module, copying(module), bar=bars.Bar("short", show=True), epochs=2)
    assert terminal.getvalue() == ""


def test_the_work_of_anybodys_layers_is_counted_and_leaves_them_as_they_were() -> None:
    norm = nn.BatchNorm2d(8)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), norm, nn.Flatten(), nn.Linear(8 * 8 * 8, 5), nn.Unflatten(1, (5, 1)),
        nn.ConvTranspose1d(5, 4, 6),
    )  # fmt: skip
    expected = 8 * 8 * 8 * 3 * 9 + 8 * 8 * 8 * 5 + 5 * 4 * 6
    assert multiply_adds(module, 3, 16, 16) == expected
    assert norm.training
    assert int(norm.num_batches_tracked) == 0
    assert not module[0]._forward_hooks


@pytest.mark.parametrize("pays", [True, False])
def test_held_out_items_are_looked_at_in_the_precision_of_the_steps(
    monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    seen = []
    loss = Autoencoder._loss

    def noting(self: Autoencoder, x: Tensor, moment: Moment) -> Tensor:
        seen.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        return loss(self, x, moment)

    monkeypatch.setattr("isthmus.training.recipe.bf16_pays", lambda *_: pays)
    monkeypatch.setattr(Autoencoder, "_loss", noting)
    X = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
    model = Autoencoder(2, network=(8,), epochs=2, device="cpu").fit(X)
    assert set(seen) == {(True, pays), (False, pays)}
    assert np.isfinite(model.history_["held_out"]).all()
