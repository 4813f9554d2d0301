"""The operations of one training step on the CPU, repeated without what leads to them.

A small step is some forty operations of a few microseconds each, and between them Python, PyTorch's layers and its
record for gradients take as long again. A tape keeps the operations themselves, once gradients are worked out, with the
memory that they read and write, and repeats them there: views are made already, and nothing is allocated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from isthmus.training.device import NARROW

__all__ = ["Tape"]

ATEN = torch.ops.aten
# Operations that hand numbers to Python, or whose results have a size that the data decides
REFUSED = {"_local_scalar_dense", "nonzero", "bincount", "masked_select", "_unique2", "unique_dim",
           "unique_consecutive", "repeat_interleave", "equal"}  # fmt: skip
EMPTY = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
CONSTANT = {"zeros", "zeros_like", "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full",
            "scalar_tensor", "arange"}  # fmt: skip
COPIES = {"_to_copy", "clone"}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
# Operations that the processor has under another name alone
OTHERS: dict[Any, Callable[..., Any]] = {
    ATEN.add.Scalar: torch.add,
    ATEN.sub.Scalar: torch.sub,
    ATEN.mul.Scalar: torch.mul,
    ATEN.div.Scalar: torch.div,
    ATEN.relu.default: lambda x, out: torch.clamp_min(x, 0, out=out),
}


class Tape(TorchDispatchMode):
    """What ``step`` does to tensors: it is carried out once, and again by every ``replay``, on the same memory.

    What Python computes in between is not repeated. Whoever uses a tape has to see that it does what the step does.
    Where PyTorch has other threads than when it was made, products with few columns keep to those: their sums run in
    another order with more, and the bits would differ.

    Parameters
    ----------
    step : carried out once
    most : bytes that may be kept; beyond, the step is carried out to its end, and nothing is kept

    Attributes
    ----------
    whole : whether the step was kept

    Raises
    ------
    RuntimeError : the step hands numbers to Python, or asks for sizes that the data decides
    """

    def __init__(self, step: Callable[[], None], most: float = math.inf) -> None:
        super().__init__()
        self.whole, self._left = True, most
        self._threads = torch.get_num_threads()
        self._carried_out: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor], list[Tensor]]] = []
        with self:
            step()
        self._operations = self._without_detours()

    def replay(self) -> None:
        """The same operations on the same memory."""
        with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for operation, args, kwargs in self._operations:
                operation(*args, **kwargs)

    def replay_by(self, threads: int, patience: float) -> bool:
        """The same by other threads; after ``patience`` seconds the rest by those with which the tape was made, and
        False."""
        end = time.perf_counter() + patience
        torch.set_num_threads(threads)
        patient = True
        try:
            with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
                for operation, args, kwargs in self._operations:
                    operation(*args, **kwargs)
                    if patient and time.perf_counter() > end:
                        patient = False
                        torch.set_num_threads(self._threads)
        finally:  # what is no step, a look at held-out items, has the bits of these
            torch.set_num_threads(self._threads)
        return patient

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else PyTorch's compiler is imported, which takes longer than most trainings

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.whole:
            return function(*args, **kwargs)
        if function.overloadpacket.__name__ in REFUSED:
            raise RuntimeError(f"{function.overloadpacket.__name__} hands numbers to Python")
        result = function(*args, **kwargs)
        given = {_address(tensor) for tensor in _tensors(args) + _tensors(kwargs)}
        results = _tensors(result)
        new = [tensor for tensor in results if _address(tensor) not in given and tensor.numel()]
        self._carried_out.append((function, args, kwargs, results, new))
        self._left -= sum({_address(tensor): tensor.untyped_storage().nbytes() for tensor in new}.values())
        if self._left < 0:
            self.whole = False
            self._carried_out.clear()
        return result

    def _without_detours(self) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
        """The operations that must be repeated: not views, and what never changes only once."""
        changed: set[int] = set()
        for function, args, kwargs, _, _ in self._carried_out:
            for position, argument in enumerate(function._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    value = args[position] if position < len(args) else kwargs.get(argument.name)
                    changed |= {_address(tensor) for tensor in _tensors(value)}
        kept: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        for function, args, kwargs, results, new in self._carried_out:
            name = function.overloadpacket.__name__
            if function._schema.is_mutable:
                kept.append((_again(function._op, results, new) if new else function._op, args, kwargs))
            elif not new or name in EMPTY or (name in CONSTANT and _address(new[0]) not in changed):
                continue  # a view, memory without values, or values that stay
            elif name in COPIES:
                kept.append((ATEN.copy_.default._op, (results[0], args[0]), {}))
            elif function in OTHERS and len(args) <= 2:  # without a factor
                kept.append((OTHERS[function], args, kwargs | {"out": results[0]}))
            elif (writing := _writing(function)) is not None and len(new) == len(results):
                operation, names = writing
                if name in PRODUCTS and min(results[0].shape[-2:]) < NARROW:
                    operation = _by(self._threads, operation)
                kept.append((operation, args, kwargs | dict(zip(names, results, strict=True))))
            else:
                kept.append((_again(function._op, results, new), args, kwargs))
        return kept


def _by(threads: int, operation: Any) -> Callable[..., None]:
    """An operation by so many threads, whatever others take."""

    def carried_out(*args: Any, **kwargs: Any) -> None:
        others = torch.get_num_threads()
        if others != threads:
            torch.set_num_threads(threads)
        operation(*args, **kwargs)
        if others != threads:
            torch.set_num_threads(others)

    return carried_out


def _again(operation: Any, results: list[Tensor], new: list[Tensor]) -> Callable[..., None]:
    """An operation that can only make new tensors, and what it made before."""
    wanted = {id(tensor) for tensor in new}

    def carried_out(*args: Any, **kwargs: Any) -> None:
        for memory, value in zip(results, _tensors(operation(*args, **kwargs)), strict=True):
            if id(memory) in wanted:
                memory.copy_(value)

    return carried_out


def _writing(function: Any) -> tuple[Any, list[str]] | None:
    """The same operation into memory that is given, where the processor has such a one, and the names of what it
    writes."""
    takes = [(argument.name, str(argument.type)) for argument in function._schema.arguments]
    for overload in function.overloadpacket.overloads():
        other = getattr(function.overloadpacket, overload)
        names = [argument.name for argument in other._schema.arguments if argument.is_out]
        same = [(one.name, str(one.type)) for one in other._schema.arguments if not one.is_out] == takes
        if same and names and len(names) == len(function._schema.returns):
            own = torch._C._dispatch_has_kernel_for_dispatch_key(other.name(), "CPU")  # others make new tensors inside
            return (other._op, names) if own else None
    return None


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    return [t for one in value for t in _tensors(one)] if isinstance(value, (tuple, list, type({}.values()))) else []


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
