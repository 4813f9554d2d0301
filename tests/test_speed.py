"""What must not grow, counted and not timed: waits for the device, copies of the data, work for nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import isthmus as im
from isthmus.training.feed import data_hash
from isthmus.training.optimiser import AdamW
from isthmus.training.tape import Tape


class Counting(TorchDispatchMode):
    """Counts operations by name, and those that make a new tensor of so many elements or more."""

    def __init__(self, large: int = 2**62) -> None:
        super().__init__()
        self.large = large
        self.calls: Counter[str] = Counter()
        self.large_ones: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        self.calls[name] += 1
        old = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        new = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.large_ones[name] += any(t.numel() >= self.large and t.untyped_storage().data_ptr() not in old for t in new)
        return result


def counted(model: Any, X: np.ndarray, large: int = 2**62) -> Counting:
    with Counting(large) as counting:
        model.fit(X)
    return counting


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("model_class", [im.Autoencoder, im.VAE])
def test_no_step_waits_for_the_device(model_class: type[Any], ordered: bool) -> None:
    X = np.random.default_rng(0).standard_normal((320, 12), dtype=np.float32)
    waits, begun = [], time.monotonic()
    for size in (72, 9):  # 4 steps an epoch, and 32
        model = model_class(3, network=(16,), epochs=3, batch_size=size, ordered=ordered, verbose=False)
        counting = counted(model, X)
        assert counting.calls["_fused_adamw_"] >= 3 * (288 // size)
        waits.append(counting.calls["_local_scalar_dense"])
    looks = 4 * (time.monotonic() - begun) + 1  # of the bar, which reads the loss and checks it four times a second
    assert abs(waits[1] - waits[0]) <= 2 * looks < 3 * (32 - 4)


def test_a_step_is_few_operations() -> None:
    X = np.random.default_rng(0).standard_normal((320, 12), dtype=np.float32)
    calls = []
    for size in (72, 9):
        model = im.Autoencoder(3, network=(16,), epochs=3, batch_size=size, verbose=False)
        calls.append(sum(counted(model, X).calls.values()))
    assert (calls[1] - calls[0]) / (3 * (32 - 4)) < 100  # the network itself, both ways, is half


@pytest.mark.parametrize("model_class", [im.Autoencoder, im.VAE])
def test_training_makes_no_copy_of_the_items(model_class: type[Any]) -> None:
    X = np.random.default_rng(0).integers(0, 256, (2000, 16, 16), dtype=np.uint8)
    counting = counted(model_class(3, network=(16,), epochs=1, verbose=False), X, large=X.size)
    assert not +counting.large_ones


def test_a_vae_encodes_nothing_for_a_prior_that_it_knows() -> None:
    X = np.random.default_rng(0).standard_normal((4000, 12), dtype=np.float32)
    model = im.VAE(3, network=(16,), epochs=1, batch_size=1000, verbose=False)
    assert counted(model, X).calls["exp"] < 40


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_optimiser_is_torchs_own(weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(5, 7), (5,), (3, 4, 2, 2), ()]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    ours[2].data = ours[2].data.contiguous(memory_format=torch.channels_last)
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours]
    matrices, others = [p for p in theirs if p.ndim >= 2], [p for p in theirs if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.99), fused=True)
    optimiser = AdamW(ours, 0.02, weight_decay, (0.9, 0.99))
    for step in range(5):
        optimiser.forget_gradients()
        for parameter, other in zip(ours, theirs, strict=True):
            if step != 2 or parameter.ndim:  # one without a gradient is left as it is
                parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad
        for group in reference.param_groups:
            group["lr"] = 0.02 * (1 - step / 5)
        optimiser.step(1 - step / 5)
        reference.step()
    for parameter, other in zip(ours, theirs, strict=True):
        assert torch.equal(parameter, other)


def test_a_first_fit_imports_no_compiler() -> None:
    code = (
        "import sys, isthmus as im; im.Autoencoder(2, network=(4,), epochs=1, verbose=False).fit(im.datasets.digits());"
        "assert 'torch._dynamo' not in sys.modules; assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_a_model_of_a_table_imports_no_compiler() -> None:
    path = Path(__file__).with_name("data") / "table-autoencoder-v1.isthmus"
    code = f"import sys, isthmus as im; im.load({str(path)!r}); assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("model", "most"), [(im.Autoencoder(3, network=(16,), epochs=1, verbose=False), 45),
                                             (im.VAE(3, network=(16,), epochs=1, verbose=False), 95)])  # fmt: skip
def test_a_step_repeats_few_operations(monkeypatch: pytest.MonkeyPatch, model: Any, most: int) -> None:
    lengths: set[int] = set()
    usual = Tape.replay

    def replay(tape: Tape) -> None:
        lengths.add(len(tape._operations))
        usual(tape)

    monkeypatch.setattr(Tape, "replay", replay)
    model.fit(np.random.default_rng(0).standard_normal((300, 12), dtype=np.float32))
    assert len(lengths) == 1
    assert max(lengths) <= most


@pytest.mark.parametrize(("width", "expected"), [(1024, 1), (8192, 2)])
def test_a_step_takes_the_threads_that_it_has_work_for(width: int, expected: int) -> None:
    class Watched(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 128:  # a step
                threads.add(torch.get_num_threads())
            return super().forward(x)

    threads: set[int] = set()
    layers = [torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 4)]
    network = Watched(*layers), torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Linear(width, 64))
    X = np.random.default_rng(0).standard_normal((300, 64), dtype=np.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        im.Autoencoder(4, network=network, epochs=1, batch_size=128, verbose=False).fit(X)
        assert (threads, torch.get_num_threads()) == ({expected}, 2)
    finally:
        torch.set_num_threads(before)


def test_naming_the_data_beside_a_fit_takes_none_of_pytorchs_threads() -> None:
    stored = torch.arange(3000.0).reshape(1000, 3)
    with Counting() as counting:
        data_hash(stored)
    assert set(counting.calls) <= {"slice", "select", "detach"}  # views: a second team of threads slows each step down
