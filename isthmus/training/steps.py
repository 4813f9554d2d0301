"""How steps are taken: one by one, from a tape of their operations, or many by one launch of a recording.

A small network on a GPU computes a step in some ten microseconds, and its hundred or so launches from Python take a
hundred times that. So the steps of a resident feed are recorded once as a CUDA graph: gather, scale, losses, gradients
and optimisers of many steps. The host copies in which items they are of and at which rates, and launches. On the CPU
what lies between the operations of a step costs up to a third of it: there they are kept on a tape.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._C import _len_torch_dispatch_stack
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from isthmus.training.feed import Feed, ResidentFeed
from isthmus.training.pace import Pace
from isthmus.training.tape import Tape

__all__ = ["Captured", "Eager", "Recording", "State", "Steps", "Taped", "launches_for"]

MOST = 64  # steps a launch: enough that launching is nothing, few enough that recording them is quick
AHEAD = 2  # launches that the host may be ahead of the device, so that clocks and Ctrl-C mean something
# How far a recording may end from the steps themselves, of the losses of a launch and of the squared way of the weights
LOSSES_APART, WEIGHTS_APART = 0.01, 0.05
LONG = 2**26  # bytes that a tape may keep: a step that makes more has little to gain

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

# a scaled batch, the share of the training that is done and the share of the peak rate, () each
Step = Callable[[Tensor, Tensor, "float | Tensor"], None]
Kept = tuple[list[Tensor], list[Tensor]]


class Steps(Protocol):
    """What the engine asks: how many steps come next, and to take them."""

    told: str  # for the history

    def launches(self, epoch: int) -> Iterator[int]:
        """Of one epoch: how many steps each launch takes."""

    def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
        """The steps just announced: for each the share of the training done, and the share of the peak rate."""


class State:
    """All that steps change: to go back to, and to compare.

    Parameters
    ----------
    weights : floating point, what is learned
    total : sum of the losses of the steps
    others : all other tensors
    generators : that the steps draw from
    """

    def __init__(
        self, weights: Sequence[Tensor], total: Tensor, others: Sequence[Tensor], generators: Sequence[torch.Generator]
    ) -> None:
        self.weights, self.tensors, self.generators = list(weights), [*weights, total, *others], list(generators)

    def copy(self) -> Kept:
        """The tensors, the weights first, and the states of the generators."""
        return [t.detach().clone() for t in self.tensors], [generator.get_state() for generator in self.generators]

    @torch.no_grad()
    def restore(self, kept: Kept) -> None:
        """In place: recordings know the tensors by their addresses."""
        for tensor, value in zip(self.tensors, kept[0], strict=True):
            tensor.copy_(value)
        for generator, state in zip(self.generators, kept[1], strict=True):
            generator.set_state(state)

    def is_as(self, kept: Kept) -> bool:
        """Whether all is to the bit as it was when ``copy`` was taken."""
        return all(map(torch.equal, self.tensors, kept[0])) and all(
            torch.equal(generator.get_state(), state) for generator, state in zip(self.generators, kept[1], strict=True)
        )

    @torch.no_grad()
    def agrees(self, before: list[Tensor], after: list[Tensor]) -> bool:
        """Whether all is now, but for rounding, where it had come to from ``before`` with ``after``."""

        def squares(one: list[Tensor], other: list[Tensor]) -> float:
            return sum(float((a - b).double().square().sum()) for a, b in zip(one, other, strict=True))

        count = len(self.weights)
        apart, way = squares(self.weights, after[:count]), squares(after[:count], before[:count])
        loss, steps = self.tensors[count], after[count] - before[count]
        near = bool(((loss - after[count]).abs() <= LOSSES_APART * steps.abs() + 1e-12).all())
        return near and apart <= WEIGHTS_APART * way  # not where one is NaN


class Eager:
    """One step a launch, straight from a feed."""

    def __init__(self, feed: Feed, size: int, step: Step, device: torch.device, why: str | None = None) -> None:
        self.feed, self.size, self.step = feed, size, step
        self.told = f"one by one ({why})" if why else "one by one"
        self.progress = torch.zeros((), device=device)

    def launches(self, epoch: int) -> Iterator[int]:
        for batch in self.feed.batches(epoch, self.size):
            self.batch = batch
            yield 1

    def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
        for share, factor in zip(shares, factors, strict=True):
            self.progress.fill_(share)
            self.step(self.batch, self.progress, factor)


class Taped(Eager):
    """One step a launch, on the CPU: after two, the operations of the first from a tape (``isthmus.training.tape``).

    The second is taken both ways, and the tape is used only where it comes to the same bits. So are numbers of threads:
    those that come to the same bits take turns, and the fastest goes on (``isthmus.training.pace``).

    Parameters
    ----------
    feed, size, step, state, device : as of ``Captured``; the items may come from anywhere
    threads : as many as may be used
    """

    def __init__(self, feed: Feed, size: int, step: Step, state: State, device: torch.device, threads: int = 1) -> None:
        super().__init__(feed, size, step, device)
        self.own = torch.get_num_threads()
        twice = [2**power for power in range(threads.bit_length())]
        self.pace = Pace([self.own, *twice, threads])
        self.proven: set[int] = set()  # numbers of threads that come to the same bits
        self.state, self.factor = state, torch.zeros((), dtype=torch.float64)  # as precise as a number of Python's
        self.tape: Tape | None = None
        self.tried = self.taped = False
        self.told = "one by one (too few)"

    def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
        if self.tried and not self.taped:
            return super().take(shares, factors)
        self.progress.fill_(shares[0])
        self.factor.fill_(factors[0])
        if self.tape is None:
            self.given = self.batch.clone()
            self._begin()
            return
        self.given.copy_(self.batch)
        if not self.taped:
            return self._compare()
        count = self.pace.threads()
        if count == self.own:
            begun = time.perf_counter()
            self.tape.replay()
            return self.pace.took(time.perf_counter() - begun)
        before = None if count in self.proven else self.state.copy()
        begun = time.perf_counter()
        patient = self.tape.replay_by(count, self.pace.patience())
        seconds = time.perf_counter() - begun
        if before is not None and patient and not self._same(before):
            return self.pace.forget()
        if patient:
            self.proven.add(count)
        self.pace.took(seconds)

    def _begin(self) -> None:
        if (nbytes := sum(tensor.nbytes for tensor in self.state.tensors)) > LONG:
            self._without(f"what is learned takes {nbytes / 2**20:.0f} MiB")
            return self.step(self.given, self.progress, self.factor)
        before = self.state.copy()
        try:
            self.tape = Tape(lambda: self.step(self.given, self.progress, self.factor), LONG)
            if not self.tape.whole:
                self._without(f"a tape would keep more than {LONG / 2**20:.0f} MiB")
        except (RuntimeError, AttributeError) as error:
            self.state.restore(before)
            self._without(f"no tape: {str(error).partition(chr(10))[0]}")
            self.step(self.given, self.progress, self.factor)

    def _compare(self) -> None:
        assert self.tape is not None
        before = self.state.copy()
        self.step(self.given, self.progress, self.factor)
        after = self.state.copy()
        self.state.restore(before)
        try:
            self.tape.replay()
            same = self.state.is_as(after)
        except (RuntimeError, TypeError, LookupError):
            same = False
        if same:
            self.tried = self.taped = True
            self.told = "from a tape"
        else:
            self.state.restore(after)
            self._without("a tape came to something else")

    def _same(self, before: Kept) -> bool:
        """Whether the step just taken comes to the same bits by its own threads, as which it then stands: in which
        order sums are made depends on threads and shapes alone."""
        assert self.tape is not None
        found = self.state.copy()
        self.state.restore(before)
        self.tape.replay()
        return self.state.is_as(found)

    def _without(self, why: str) -> None:
        self.tried, self.tape, self.told = True, None, f"one by one ({why})"


class Recording:
    """A CUDA graph of all that a function launches; ``replay`` launches it again, on the same memory.

    The function must have run before on another stream than the default one, and is not carried out here. Raises
    RuntimeError where it waits for the device, or does anything else that cannot be recorded.
    """

    def __init__(self, function: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            defaults = torch.cuda.default_generators  # every graph knows them
            if generator.device.type == "cuda" and all(generator is not default for default in defaults):
                self.graph.register_generator_state(generator)
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self.graph):
                function()
        finally:  # a recording that failed would leave its own stream behind as the current one
            torch.cuda.set_stream(stream)
        self.replay = self.graph.replay

    @staticmethod
    def rehearse(function: Callable[[], None]) -> None:
        """Carry a function out on a stream of its own, as recording asks for."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            function()
        torch.cuda.current_stream().wait_stream(side)

    @staticmethod
    def staged(values: Tensor) -> Tensor:
        """In memory from which a copy to the device needs no waiting."""
        return values.pin_memory()

    @staticmethod
    def mark() -> Callable[[], None]:
        """Call what this gives to wait until the device has come to here."""
        event = torch.cuda.Event()
        event.record()
        return event.synchronize


class Captured:
    """Many steps a launch, recorded when they are first taken.

    The first launch of each length is taken step by step too, and the recording is used only where it comes to the same
    weights; where it does not, or where a step cannot be recorded, all steps are taken one by one, and ``told`` says
    why.

    Parameters
    ----------
    feed : of items that rest on the device
    size : items a step
    step : changes nothing but ``state``, and reads nothing that changes but its arguments
    state : what the steps change
    device : a GPU
    """

    def __init__(self, feed: ResidentFeed, size: int, step: Step, state: State, device: torch.device) -> None:
        self.feed, self.step, self.state = feed, step, state
        self.size = min(size, feed.n_items)
        in_epoch = feed.n_items // self.size
        self.length = in_epoch // -(-in_epoch // MOST)  # as alike as can be; what remains are launches of one
        self.rows = torch.zeros(self.length * self.size, dtype=torch.int64, device=device)
        self.moments = torch.zeros(2, self.length, device=device)  # shares, factors
        self.recordings: dict[int, Recording] = {}
        self.marks: deque[Callable[[], None]] = deque()
        self.eager = False
        self.told = f"recorded, {self.length} a launch"

    def launches(self, epoch: int) -> Iterator[int]:
        order = Recording.staged(self.feed.order(epoch)).to(self.rows.device, non_blocking=True)
        in_epoch = len(order) // self.size
        start = 0
        while start < in_epoch:
            count = self.length if in_epoch - start >= self.length else 1
            self.rows[: count * self.size].copy_(order[start * self.size : (start + count) * self.size])
            yield count
            start += count

    def take(self, shares: Sequence[float], factors: Sequence[float]) -> None:
        count = len(shares)
        moments = Recording.staged(torch.tensor([list(shares), list(factors)]))
        self.moments[:, :count].copy_(moments, non_blocking=True)
        if self.eager:
            self._steps(count)
        elif count in self.recordings:
            self.recordings[count].replay()
        else:
            self._record(count)
        self.marks.append(Recording.mark())
        if len(self.marks) > AHEAD:
            self.marks.popleft()()

    def _steps(self, count: int) -> None:
        for index in range(count):
            rows = self.rows[index * self.size : (index + 1) * self.size]
            self.step(self.feed.items(rows), self.moments[0, index], self.moments[1, index])

    def _record(self, count: int) -> None:
        """Take these steps one by one; then record them, and see whether the recording does the same."""
        before = self.state.copy()
        Recording.rehearse(lambda: self._steps(count))
        after = self.state.copy()
        self.state.restore(before)
        try:
            recording = Recording(lambda: self._steps(count), self.state.generators)
            recording.replay()
            if self.state.agrees(before[0], after[0]):
                self.recordings[count] = recording
                return
            told = "the recording came to other weights"
        except RuntimeError as error:
            first: BaseException = error  # closing the broken recording fails too
            while first.__context__ is not None:
                first = first.__context__
            told = f"could not be recorded: {str(first).partition(chr(10))[0]}"
        self.state.restore(after)
        self.recordings.clear()
        self.eager, self.told = True, f"one by one ({told})"


def launches_for(
    feed: Feed,
    size: int,
    step: Step,
    state: State,
    module: nn.Module,
    device: torch.device,
    averaged: bool,
    threads: int = 1,
) -> Steps:
    """Recorded where that is safe, on the CPU on a tape, by as many of ``threads`` as are fastest, else one by one;
    ``averaged``: something is done between two steps, which a GPU would not wait for."""
    why = _unsafe(module)
    if device.type != "cuda":
        return Eager(feed, size, step, device, why) if why else Taped(feed, size, step, state, device, threads)
    why = "weights are averaged" if averaged else why
    if why is None and isinstance(feed, ResidentFeed):
        return Captured(feed, size, step, state, device)
    return Eager(feed, size, step, device, why or "items are streamed")


def _unsafe(module: nn.Module) -> str | None:
    """Why the steps of a module must be taken one by one; None where they may be recorded.

    A recording repeats what went to the device. Python code of somebody's own may do more at each call, count or choose
    for example, which would be repeated as it was when recorded; PyTorch's and ours does not.
    """
    for part in module.modules():
        name = type(part).__name__
        if not _is_known(type(part)):
            return f"{name} is a module of its owner"
        if any(getattr(part, hooks) for hooks in HOOKS):
            return f"{name} has hooks"
        for attribute, value in vars(part).items():
            if attribute == "forward" or (callable(value) and not _is_known(value)):
                return f"{attribute} of a {name} is of its owner"
    if any(getattr(nn.modules.module, f"_global{hooks}") for hooks in HOOKS):
        return "all modules have hooks"
    modes = _get_current_function_mode_stack()
    if _len_torch_dispatch_stack() or not all(isinstance(mode, DeviceContext) for mode in modes):
        return "a mode watches the operations"
    return None


def _is_known(code: Any) -> bool:
    """Whether a class, a function or an object of a class is PyTorch's, ours or Python's."""
    home = str(getattr(code, "__module__", None) or type(code).__module__)
    return home.startswith(("torch.nn.modules.", "torch.nn.functional", "torch._C", "isthmus.", "builtins")) or (
        home in ("torch", "torch.nn.init", "torch.autograd.graph") or isinstance(code, torch.Tensor)
    )
