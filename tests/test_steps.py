"""Steps that are recorded and launched many at a time: the same as one by one.

Where there is no GPU, a recorder stands in for CUDA graphs that does what they do: it keeps the operations that reached
the device with the tensors that they were given, carries nothing out while recording, and on replay repeats them on
the same memory. What Python did in between is not repeated, and what cannot be recorded is refused.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import isthmus as im
from isthmus.training import engine, steps, tape
from isthmus.training.device import reproducible
from isthmus.training.feed import ResidentFeed, StreamedFeed
from isthmus.training.pace import Pace
from isthmus.training.steps import Captured, Eager, State, Taped, launches_for
from isthmus.training.tape import Tape

# Operations that hand numbers to the host, whose results have a size that the data decides, or that copy from the host
REFUSED = {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "_unique2", "unique_dim", "lift_fresh"}


class Recorder(TorchDispatchMode):
    """Stands in for ``steps.Recording``. A tensor made without saying where has no memory, so its use fails."""

    def __init__(self, function: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # of memory from elsewhere, and what was in it
        drawn = [generator.get_state() for generator in generators]
        with torch.device("meta"), self:
            function()
        with torch.no_grad():  # nothing has been carried out
            for memory, held in self.before.values():
                memory.copy_(held)
        for generator, state in zip(generators, drawn, strict=True):
            generator.set_state(state)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name in REFUSED:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        for tensor in given:
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
                self.before[place] = whole, whole.clone()
        result = function(*args, **kwargs)
        old = {tensor.untyped_storage().data_ptr() for tensor in given}
        new = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in old]
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in new}
        self.operations.append((function, args, kwargs, new))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, kept in self.operations:
            result = function(*args, **kwargs)
            old = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            fresh = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            fresh = [tensor for tensor in fresh if tensor.untyped_storage().data_ptr() not in old]
            for tensor, value in zip(kept, fresh, strict=True):
                tensor.copy_(value)

    @staticmethod
    def rehearse(function: Callable[[], None]) -> None:
        function()

    @staticmethod
    def staged(values: Tensor) -> Tensor:
        return values

    @staticmethod
    def mark() -> Callable[[], None]:
        return lambda: None


class OneByOne(Captured):
    """The same launches, without a recording."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.eager, self.told = True, "one by one"


def fitted(monkeypatch: pytest.MonkeyPatch, model: Any, X: Any, way: Any, y: Any = None) -> Any:
    def chosen(feed: Any, size: int, step: Any, state: Any, module: Any, device: Any, *others: Any) -> Any:
        return way(feed, size, step, device) if way is Eager else way(feed, size, step, state, device)

    monkeypatch.setattr(engine, "launches_for", chosen)
    monkeypatch.setattr(steps, "MOST", 3)
    monkeypatch.setattr(steps, "Recording", Recorder)
    return model.fit(X) if y is None else model.fit(X, y)


def weights_of(model: Any) -> dict[str, Tensor]:
    return dict(model.network_.state_dict())


RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.standard_normal((150, 6), dtype=np.float32) @ RANDOM.standard_normal((6, 10), dtype=np.float32)
IMAGES = RANDOM.integers(0, 256, (150, 8, 8), dtype=np.uint8)
SERIES = RANDOM.standard_normal((150, 2, 16)).cumsum(2)
ROWS = pd.DataFrame({
    "a": RANDOM.lognormal(size=150), "b": RANDOM.integers(0, 9, 150), "c": RANDOM.choice(list("xyz"), 150),
    "d": np.where(RANDOM.random(150) < 0.2, np.nan, RANDOM.standard_normal(150)),
})  # fmt: skip
FEW = np.where(RANDOM.random(150) < 0.3, RANDOM.integers(0, 3, 150), -1)
FAST: dict[str, Any] = {"network": (16,), "epochs": 3, "batch_size": 18, "verbose": False, "rate": 1e-3}
TABLE = {"network": "auto", "size": "small"}
CASES: dict[str, tuple[Any, Any]] = {
    "numbers": (im.Autoencoder(3, **FAST), NUMBERS),
    "ordered": (im.Autoencoder(3, ordered=True, **FAST), NUMBERS),
    "gaussian": (im.Autoencoder(3, corruption="gaussian", **FAST), NUMBERS),
    "masking": (im.Autoencoder(3, corruption="masking", **FAST), NUMBERS),
    "salt_and_pepper": (im.Autoencoder(3, corruption="salt_and_pepper", **FAST), NUMBERS),
    "topk": (im.Autoencoder(8, sparsity=("topk", 2), **FAST), NUMBERS),
    "l1": (im.Autoencoder(8, sparsity=("l1", 0.1), **FAST), NUMBERS),
    "contraction": (im.Autoencoder(3, contraction=0.1, **FAST), NUMBERS),
    "vae": (im.VAE(3, **FAST), NUMBERS),
    "vae, ordered": (im.VAE(3, ordered=True, **FAST), NUMBERS),
    "vae, free bits": (im.VAE(3, free_bits=0.1, beta=2.0, **FAST), NUMBERS),
    "vae, predicted": (im.VAE(3, likelihood=im.likelihoods.Gaussian("predicted"), **FAST), NUMBERS),
    "images": (im.VAE(3, **FAST | {"network": "conv", "size": "small"}), IMAGES),
    "bernoulli": (im.VAE(3, likelihood=im.likelihoods.Bernoulli(dynamic=True), **FAST), IMAGES),
    "mixture": (im.Autoencoder(3, likelihood="logistic_mixture", **FAST), IMAGES),
    "categorical": (im.Autoencoder(3, likelihood=im.likelihoods.Categorical(256, unit_interval=True), **FAST), IMAGES),
    "series": (im.Autoencoder(3, **FAST | {"network": "conv", "size": "small"}), SERIES),
    "table": (im.Autoencoder(3, **FAST | TABLE), ROWS),
    "table, vae": (im.VAE(3, **FAST | TABLE), ROWS),
    "own": (im.Autoencoder(3, **FAST | {"network": (nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Dropout(0.2),
                                                                  nn.Linear(8, 3)), nn.Linear(3, 10))}), NUMBERS),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_are_the_steps(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    model, X = CASES[case]
    recorded = fitted(monkeypatch, model, X, Captured)
    assert recorded.history_["steps"].startswith("recorded"), recorded.history_["steps"]
    found, losses = weights_of(recorded), recorded.history_["loss"]
    one_by_one = fitted(monkeypatch, model, X, OneByOne)
    assert losses == one_by_one.history_["loss"]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(one_by_one).items())
    eager = fitted(monkeypatch, model, X, Eager)  # the rate in float64
    np.testing.assert_allclose(losses, eager.history_["loss"], rtol=2e-3)


@pytest.mark.parametrize("y", [FEW, np.where(FEW < 0, np.nan, FEW + RANDOM.random(150))], ids=["classes", "numbers"])
@pytest.mark.parametrize("X", [NUMBERS, IMAGES], ids=["numbers", "images"])
def test_recorded_steps_with_labels_are_the_steps(monkeypatch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    model = im.VAE(3, **FAST)
    recorded = fitted(monkeypatch, model, X, Captured, y)
    assert recorded.history_["steps"].startswith("recorded"), recorded.history_["steps"]
    found = weights_of(recorded)
    one_by_one = fitted(monkeypatch, model, X, OneByOne, y)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(one_by_one).items())


def test_launches_take_all_steps_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    class Counted(Captured):
        def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
            taken.append(len(shares))
            super().take(shares, factors)

    with mock.patch.object(Recorder, "__init__", autospec=True, side_effect=Recorder.__init__) as recorded:
        model = fitted(monkeypatch, im.Autoencoder(3, **FAST), NUMBERS, Counted)
    assert recorded.call_count == 2  # one of each length, however long the run
    assert taken == [2, 2, 2, 1] * 3  # 135 items learned from, 18 a step
    assert model.history_["steps"] == "recorded, 2 a launch"


class Reads(nn.Linear):
    """Reads a number on the host, which waits for the device."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(x.abs().max() > 0)


class Counts(nn.Linear):
    """Does something else at every call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1 + self.calls % 3)


class Turns(Pace):
    """Numbers of threads take turns, however long their steps take."""

    def threads(self) -> int:
        self.asked = self.counts[int(self._spent) % len(self.counts)]
        self.tried = {*getattr(self, "tried", ()), self.asked}
        return self.asked

    def patience(self) -> float:
        return np.inf

    def took(self, seconds: float) -> None:
        self._spent += 1

    def forget(self) -> None:
        self.counts.remove(self.asked)


@pytest.mark.parametrize("narrow", [16, 0])
def test_other_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, narrow: int) -> None:
    paces: list[Turns] = []
    monkeypatch.setattr(steps, "Pace", lambda counts: paces.append(Turns(counts)) or paces[-1])
    monkeypatch.setattr(tape, "NARROW", narrow)  # products with few columns may then come to other bits
    drawn = np.random.default_rng(0)
    rows = pd.DataFrame(drawn.standard_normal((4_200, 14))).add_prefix("c").assign(d=drawn.choice(list("abc"), 4_200))
    model = im.Autoencoder(9, epochs=1, verbose=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        taped = clone(model).fit(rows)
        assert taped.history_["steps"] == "from a tape"
        assert torch.get_num_threads() == 2
        found, turns = weights_of(taped), paces[0]
        eager = fitted(monkeypatch, model, rows, Eager)
    finally:
        torch.set_num_threads(threads)
    assert turns._spent > 10
    assert turns.tried == {1, 2}  # and used on, unless this processor's products then come to other bits
    assert taped.history_["held_out"] == eager.history_["held_out"]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(eager).items())


def test_steps_that_take_long_by_other_threads_end_with_their_own() -> None:
    x, out = torch.ones(300, 300), torch.zeros(300, 300)
    seen: list[int] = []
    made = Tape(lambda: out.copy_(x @ x + 1))
    first = made._operations[0]

    def watched(*args: Any, **kwargs: Any) -> None:
        seen.append(torch.get_num_threads())
        first[0](*args, **kwargs)

    made._operations = [(watched, *first[1:])] * 3 + made._operations[1:]
    threads = torch.get_num_threads()
    assert made.replay_by(threads + 1, np.inf)
    assert seen == [threads + 1] * 3
    seen.clear()
    assert not made.replay_by(threads + 1, 0.0)
    assert seen == [threads + 1, threads, threads]
    assert torch.get_num_threads() == threads
    assert torch.equal(out, x @ x + 1)


@pytest.mark.parametrize(
    ("layer", "why"), [(Reads, "one by one (could not be recorded"), (Counts, "one by one (the recording came to")]
)
def test_steps_that_no_recording_repeats_are_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch, layer: type[nn.Linear], why: str
) -> None:
    def model() -> Any:
        with reproducible(0):
            return im.Autoencoder(3, **FAST | {"network": (layer(10, 3), nn.Linear(3, 10))})

    monkeypatch.setattr(Counts, "calls", 0)
    recorded = fitted(monkeypatch, model(), NUMBERS, Captured)
    assert recorded.history_["steps"].startswith(why), recorded.history_["steps"]
    if layer is Reads:
        found = weights_of(recorded)
        one_by_one = fitted(monkeypatch, model(), NUMBERS, OneByOne)
        assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(one_by_one).items())


def test_only_modules_that_do_the_same_at_every_call_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(module: nn.Module, feed: Any = None, averaged: bool = False) -> str:
        feed = feed or ResidentFeed(torch.zeros(9, 4), torch.arange(9), lambda x: x, torch.device("cpu"), 0)
        state = State([], torch.zeros(1), [], [])
        return launches_for(feed, 3, lambda *given: None, state, module, torch.device("cuda"), averaged).told

    zeros = torch.zeros

    def here(*size: Any, device: Any = None, **given: Any) -> Tensor:  # in place of the GPU
        return zeros(*size, **given)

    monkeypatch.setattr(torch, "zeros", here)
    plain = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Dropout(), nn.BatchNorm1d(2))
    assert chosen(plain) == "recorded, 3 a launch"
    assert chosen(plain, averaged=True) == "one by one (weights are averaged)"
    assert chosen(nn.Sequential(plain, Counts(2, 2))) == "one by one (Counts is a module of its owner)"
    rows = StreamedFeed(torch.zeros(9, 4), torch.arange(9), lambda x: x, torch.device("cpu"), 0)
    assert chosen(plain, rows) == "one by one (items are streamed)"
    plain[0].register_forward_hook(lambda *given: None)
    assert chosen(plain) == "one by one (Linear has hooks)"


@pytest.mark.parametrize("case", CASES)
def test_on_the_cpu_a_tape_does_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    model, X = CASES[case]
    taped = clone(model).fit(X)
    assert taped.history_["steps"] == "from a tape"
    eager = fitted(monkeypatch, model, X, Eager)
    for name in ("loss", "held_out"):
        assert taped.history_[name] == eager.history_[name]
    found = weights_of(taped)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(eager).items())


@pytest.mark.parametrize("y", [FEW, np.where(FEW < 0, np.nan, FEW + RANDOM.random(150))], ids=["classes", "numbers"])
@pytest.mark.parametrize("X", [NUMBERS, IMAGES, ROWS], ids=["numbers", "images", "table"])
def test_on_the_cpu_steps_with_labels_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, X: Any, y: Any) -> None:
    model = im.VAE(3, **FAST | (TABLE if X is ROWS else {}))
    taped = clone(model).fit(X, y)
    found = weights_of(taped)
    eager = fitted(monkeypatch, model, X, Eager, y)
    assert taped.history_["held_out"] == eager.history_["held_out"], taped.history_["steps"]
    assert all(torch.equal(found[name], tensor) for name, tensor in weights_of(eager).items())


def test_bf16_steps_on_the_cpu_are_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isthmus.training.recipe.bf16_pays", lambda *given: True)
    taped = im.VAE(3, **FAST).fit(NUMBERS)
    assert taped.history_["steps"] == "from a tape"
    assert taped.history_["loss"] == fitted(monkeypatch, im.VAE(3, **FAST), NUMBERS, Eager).history_["loss"]


@pytest.mark.parametrize(
    ("layer", "why"), [(Reads, "one by one (no tape: _local_scalar_dense"), (Counts, "one by one (a tape came to")]
)
def test_steps_that_no_tape_repeats_are_taken_one_by_one(
    monkeypatch: pytest.MonkeyPatch, layer: type[nn.Linear], why: str
) -> None:
    def fit(way: Any) -> Any:
        monkeypatch.setattr(Counts, "calls", 0)
        with reproducible(0):
            model = im.Autoencoder(3, **FAST | {"network": (layer(10, 3), nn.Linear(3, 10))})
        return fitted(monkeypatch, model, NUMBERS, way)

    with reproducible(0):
        careful = im.Autoencoder(3, **FAST | {"network": (layer(10, 3), nn.Linear(3, 10))})
    assert careful.fit(NUMBERS).history_["steps"] == f"one by one ({layer.__name__} is a module of its owner)"
    found = fit(Taped)
    assert found.history_["steps"].startswith(why), found.history_["steps"]
    if layer is Reads:  # the other one counts its calls, and one step is taken twice
        assert found.history_["loss"] == fit(Eager).history_["loss"]


@pytest.mark.parametrize(("most", "why"), [(100, "what is learned takes"), (9000, "a tape would keep")])
def test_a_tape_of_large_steps_is_not_kept(monkeypatch: pytest.MonkeyPatch, most: int, why: str) -> None:
    monkeypatch.setattr(steps, "LONG", most)
    model = im.Autoencoder(3, **FAST).fit(NUMBERS)
    assert model.history_["steps"].startswith(f"one by one ({why}"), model.history_["steps"]
    assert model.history_["loss"] == fitted(monkeypatch, im.Autoencoder(3, **FAST), NUMBERS, Eager).history_["loss"]


def test_a_tape_holds_no_views_and_nothing_that_stays() -> None:
    weight, x, out = torch.ones(3, 4), torch.arange(8.0).view(2, 4), torch.zeros(2, 3)

    def step() -> None:
        out.copy_((x @ weight.t() + torch.ones(3)).view(3, 2).view(2, 3).to(torch.float64))

    tape = Tape(step)
    wanted = out.clone()
    assert len(tape._operations) == 4  # product, sum, cast, copy
    out.zero_()
    tape.replay()
    assert torch.equal(out, wanted)
    x.mul_(2)
    tape.replay()
    assert torch.equal(out, (x @ weight.t() + 1))
    with pytest.raises(RuntimeError, match="nonzero"):
        Tape(x.nonzero)


def rrelu() -> Any:
    """A layer that is dead in most steps, and whose operation writes its noise and makes a new tensor."""
    encoder = nn.Sequential(nn.Linear(10, 8), nn.RReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    encoder[2].bias.data.fill_(-1.0)
    return encoder


def changing_scale() -> Any:
    layer, calls = nn.Linear(10, 3), iter(range(10**6))
    layer.register_full_backward_hook(lambda module, given, made: (given[0] * (1 + next(calls) % 3),))
    return nn.Sequential(nn.Linear(10, 10), layer)


def patched() -> Any:
    layer = nn.Linear(10, 3)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight)  # type: ignore[method-assign]
    return layer


def called() -> Any:
    return nn.Sequential(nn.Linear(10, 8), nn.TransformerEncoderLayer(8, 2, 8, activation=lambda x: x.relu()),
                         nn.Linear(8, 3))  # fmt: skip


OWN: dict[str, tuple[Callable[[], Any], str]] = {
    "rrelu": (rrelu, "from a tape"),
    "backward hook": (changing_scale, "one by one (Linear has hooks)"),
    "forward": (patched, "one by one (forward of a Linear is of its owner)"),
    "function": (called, "one by one (activation of a TransformerEncoderLayer is of its owner)"),
}


@pytest.mark.parametrize("case", OWN)
def test_python_of_somebodys_own_is_not_left_out(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    make, told = OWN[case]
    X = NUMBERS / NUMBERS.std(0)
    X[[3, 40, 77, 120]] *= 40

    def model() -> Any:
        with reproducible(0):
            return im.Autoencoder(3, **FAST | {"network": (make(), nn.Linear(3, 10)), "batch_size": 4, "rate": 1e-2})

    found = model().fit(X)
    assert found.history_["steps"] == told
    assert found.history_["loss"] == fitted(monkeypatch, model(), X, Eager).history_["loss"]


class Passing(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **kwargs or {})


class Watching(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("around", [Passing, Watching, torch.autograd.graph.allow_mutation_on_saved_tensors])
def test_a_mode_around_a_fit_sees_every_step(around: Any) -> None:
    with around():
        model = im.VAE(3, **FAST).fit(NUMBERS)
    assert model.history_["steps"].startswith("one by one ("), model.history_["steps"]
    assert model.history_["loss"] == im.VAE(3, **FAST).fit(NUMBERS).history_["loss"]


@pytest.mark.parametrize("bf16", [False, True])
def test_an_autocast_around_a_fit_changes_nothing(monkeypatch: pytest.MonkeyPatch, bf16: bool) -> None:
    monkeypatch.setattr("isthmus.training.recipe.bf16_pays", lambda *given: bf16)
    plain = im.Autoencoder(3, **FAST).fit(NUMBERS, FEW)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        around = im.Autoencoder(3, **FAST).fit(NUMBERS, FEW)
    assert around.history_["loss"] == plain.history_["loss"]


def test_operations_under_another_name_come_to_the_same_bits() -> None:
    x, out = torch.randn(40, 5), [torch.zeros(40, 5) for _ in range(5)]
    x[0, :3] = torch.tensor([torch.nan, -0.0, torch.inf])

    def step() -> None:
        for memory, value in zip(out, (x + 0.3, x - 0.3, x * 0.3, x / 0.3, x.relu()), strict=True):
            memory.copy_(value)

    tape = Tape(step)
    x[1:] = torch.randn(39, 5)
    step()
    wanted = [memory.clone() for memory in out]
    for memory in out:
        memory.zero_()
    tape.replay()
    for memory, value in zip(out, wanted, strict=True):
        assert torch.equal(memory.nan_to_num(7), value.nan_to_num(7))
        assert torch.equal(memory.signbit(), value.signbit())


def test_recording_a_tape_imports_no_compiler() -> None:
    program = (
        "import sys, numpy as np, isthmus as im\n"
        "model = im.Autoencoder(2, network=(8,), epochs=2, verbose=False).fit(np.random.rand(90, 5))\n"
        "assert model.history_['steps'] == 'from a tape', model.history_['steps']\n"
        "assert 'torch._dynamo' not in sys.modules and 'sympy' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.gpu
@pytest.mark.parametrize("case", [case for case in CASES if case != "own"])
def test_a_gpu_records_the_steps(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    model, X = CASES[case]
    model = clone(model).set_params(device="cuda").fit(X)
    assert model.history_["steps"].startswith("recorded"), model.history_["steps"]
    recorded = model.history_["loss"]
    monkeypatch.setattr(engine, "launches_for", lambda feed, size, step, state, module, device, *others: Eager(
        feed, size, step, device))  # fmt: skip
    np.testing.assert_allclose(recorded, model.fit(X).history_["loss"], rtol=0.02)


@pytest.mark.gpu
def test_on_a_gpu_the_host_does_nothing_but_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(Captured):
        def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
            torch.cuda.set_sync_debug_mode("error" if len(shares) in self.recordings else "default")
            try:
                super().take(shares, factors)
            finally:
                torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(steps, "Captured", Watched)
    X = np.random.default_rng(0).standard_normal((5000, 12), dtype=np.float32)
    model = im.VAE(3, network=(16,), epochs=5, verbose=False, device="cuda").fit(X)
    assert model.history_["steps"].startswith("recorded"), model.history_["steps"]


@pytest.mark.gpu
def test_on_a_gpu_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state(), torch.cuda.get_rng_state()
    im.VAE(3, **FAST | {"device": "cuda"}).fit(NUMBERS)
    assert all(map(torch.equal, before, (torch.get_rng_state(), torch.cuda.get_rng_state())))
