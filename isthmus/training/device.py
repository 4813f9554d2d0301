"""Where to compute, and in which precision."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from isthmus.errors import SettingError

__all__ = ["autocast", "bf16_pays", "device_of", "generators_of", "reproducible", "steady_products", "threads_for"]

CPU = torch.device("cpu")
# Below this many multiply-adds a step the casts cost more than bf16 saves (measured: dev/LOG.md).
BF16_FROM = 50e6
EACH = 20e6  # multiply-adds of a layer for each thread: with less, threads mostly wait for each other (dev/LOG.md)
NARROW = 16  # columns of a product below which MKL treats rows by their place (seen below 12; 16 floats are a register)
MATMULS = (torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)


def device_of(setting: str | torch.device | None) -> torch.device:
    """The device that a setting names; ``None`` or "auto" is the GPU where there is one, else the CPU.

    Raises SettingError for a device that this machine does not have.
    """
    if setting is None or setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(setting)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise SettingError(f"device={setting!r} cannot be used here: {error}. Use 'auto', 'cpu' or 'cuda'.") from error
    return device


def bf16_pays(device: torch.device, multiply_adds: float) -> bool:
    """True where the machine multiplies bf16 natively and one training step is large enough for it to pay.

    A rule, not a measurement: two runs with one seed must choose alike.
    """
    if multiply_adds < BF16_FROM:
        return False
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _native_bf16()


def _native_bf16() -> bool:
    """The instructions themselves (AVX512-BF16 or AMX): oneDNN emulates bf16 on older processors, which is slower."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


@contextlib.contextmanager
def autocast(device: torch.device, bf16: bool) -> Iterator[None]:
    """The context in which a training step runs, whatever the user's own is."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        try:
            yield
        finally:  # within another one, PyTorch would keep the weights as they were in bf16
            torch.clear_autocast_cache()


@contextlib.contextmanager
def threads_for(device: torch.device, works: Sequence[float]) -> Iterator[int]:
    """As many of PyTorch's threads as one training step on the CPU has work for; afterwards as many as before, which
    is what it gives.

    ``works``: multiply-adds of each layer in a step. Threads meet several times a layer; where other programs take the
    processor from one of them, the others wait for its turn, so a small gain is not worth having unless it is watched
    (``isthmus.training.pace``).
    """
    allowed = torch.get_num_threads()
    if device.type == "cpu":
        mean = sum(works) / max(len(works), 1)
        torch.set_num_threads(min(max(math.ceil(mean / EACH), 1), allowed))
    try:
        yield allowed
    finally:
        torch.set_num_threads(allowed)


def generators_of(device: torch.device) -> list[torch.Generator]:
    """The global generators from which PyTorch's own modules draw on a device."""
    if device.type != "cuda":
        return [torch.default_generator]
    torch.cuda.init()
    at = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[at]]


@contextlib.contextmanager
def reproducible(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Draw module initialisations from ``seed``; the global generators come back as they were.

    PyTorch's layers draw their first weights, and dropout, from the global generators and take no other.
    """
    generators = generators_of(device)
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)


class steady_products(TorchFunctionMode):  # noqa: N801  # used as a context
    """Inside, a row of a matrix product has the same bits wherever among the rows it stands.

    Products with few columns go through kernels whose sums run in an order that depends on the row's place; so they
    are made with zeros for the columns that are missing, and cut.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.linear and not kwargs and len(args[1]) < NARROW:
            x, weight, *bias = args
            missing = NARROW - len(weight)
            wide = [F.pad(b, (0, missing)) for b in bias if b is not None]
            return function(x, F.pad(weight, (0, 0, 0, missing)), *wide)[..., : len(weight)]
        if function in MATMULS and not kwargs and args[1].ndim == 2 and args[1].shape[1] < NARROW:
            columns = args[1].shape[1]
            return function(args[0], F.pad(args[1], (0, NARROW - columns)))[..., :columns]
        return function(*args, **kwargs or {})
