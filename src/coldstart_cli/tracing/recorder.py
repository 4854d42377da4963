"""The operations of a computation below autograd and vmap, and those among them that its results need."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from coldstart_cli.tracing.dispatch import Mode

Values = list[Tensor | None]
_aten = torch.ops.aten
_active: ContextVar[Recorder | None] = ContextVar("_active", default=None)
LONGEST = 20_000
"""The most calls of a recording: a longer one would take seconds to compile."""
_READING = {Tensor.numpy, Tensor.tolist, Tensor.__array__}
_SCALINGS = {_aten.mul.Scalar, _aten.mul.Tensor, _aten.div.Scalar, _aten.div.Tensor}


class UnrecordableError(Exception):
    """The computation does something that a replay would leave out, or do differently."""


def refuse(what: str) -> None:
    """Ends a recording; for functions whose effect goes beyond their result.

    Raises:
        UnrecordableError: inside a recording.
    """
    if _active.get() is not None:
        raise UnrecordableError(what)


def call(function: Callable[[], None]) -> None:
    """Calls the function now and, inside a recording, at this place of every replay."""
    recorder = _active.get()
    if recorder is not None:
        recorder.calls.append(Call(function, (), {}, (), several=False))
    function()


@dataclass(frozen=True, slots=True)
class Name:
    """A tensor of the recording."""

    number: int

    def __repr__(self) -> str:
        return f"x{self.number}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in memory a tensor's values are, and how they are laid out."""

    address: int
    reading: tuple[object, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Place:
        return cls(tensor.data_ptr(), (tensor.shape, tensor.stride(), tensor.dtype))


@dataclass(frozen=True, slots=True)
class Call:
    """`results` is empty where the first argument is changed in place, or there are no arguments at all."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Name | None, ...]
    several: bool

    @property
    def arguments(self) -> set[Name]:
        return set(_names((self.args, self.kwargs)))


class _Outside(TorchFunctionMode):
    """Refuses to read values without an operation of torch: a replay would never see them change."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READING and _active.get() is not None:
            raise UnrecordableError("values are read, and may decide what is done")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Code that runs inside is not part of a recording around it, and may read values."""
    # A context variable rather than a global: threads that replay must not see another thread's recorder.
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


def _by_numbers(func: Any, args: Any) -> bool:
    """Whether an index is by numbers, so that shapes alone give the result's; with a mask, values do."""
    return func is _aten.index.Tensor and not any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )


class Recorder(Mode):
    """Writes down each operation below autograd and vmap, and notes those that change nothing."""

    def __init__(self, inputs: Iterable[Tensor]) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.read: dict[Name, Tensor] = {}
        # Weak: a recording must not keep alive what autograd would free.
        self._named = WeakTensorKeyDictionary()  # by identity
        self._places: list[Place] = []
        self._memories: dict[int, tuple[StorageWeakRef, list[Name]]] = {}
        self._same: dict[Name, Name] = {}
        self._scaled: dict[Name, Name] = {}
        self.view_of: dict[Name, Name] = {}
        self._changing: set[Name] = set()
        # Inputs are named first, x0 to xn: the placeholders of the replay have these names.
        self._given = {self._new(tensor) for tensor in inputs}

    def __enter__(self) -> Recorder:
        self._token, self._outside = _active.set(self), _Outside()
        # Both modes: `_Outside` sees methods that never reach the dispatcher, such as `numpy()`.
        self._outside.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._outside.__exit__(*error)  # type: ignore[no-untyped-call]
        _active.reset(self._token)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnrecordableError(f"{func} draws random numbers")
        if torch.Tag.data_dependent_output in func.tags:
            raise UnrecordableError("a value is read, and may decide what is done")
        if torch.Tag.dynamic_output_shape in func.tags and not _by_numbers(func, args):
            raise UnrecordableError(f"values decide the shape that {func} gives")
        if len(self.calls) >= LONGEST:
            raise UnrecordableError(f"it is longer than {LONGEST:,} calls")
        kwargs = kwargs or {}
        named = (self._of(args), {name: self._of(value) for name, value in kwargs.items()})
        if func._schema.is_mutable:
            self._refuse_changed(func, named[0])
            # An in-place change is replayed as it is, on the replay's own tensor (`_refuse_changed` saw to
            # that).
            if torch.Tag.inplace_view not in func.tags:
                self._changing.add(self._root(named[0][0]))
                self.calls.append(Call(func, *named, (), several=False))
                return func(*args, **kwargs)
            # Made before the call: afterwards the tensor itself has the new shape.
            given = args[0].detach()  # a new shape of the same values is recorded as a view of its own
            out, func = func(*args, **kwargs), _out_of_place(func)
            args = (given, *args[1:])
        else:
            out = func(*args, **kwargs)
        several = isinstance(out, list | tuple)
        results = tuple(self._new(t) if isinstance(t, Tensor) else None for t in (out if several else [out]))
        self.calls.append(Call(func, *named, results, several))
        if args and isinstance(args[0], Tensor):
            for tensor, result in zip(out if several else [out], results, strict=True):
                if result is not None:
                    self._compare(func, named[0], args[0], result, tensor)
        return out

    def needed(self, results: Values) -> tuple[list[Call], list[Name | None]]:
        """The calls that the results need, without repetitions, and the results' names."""
        # Three passes: drop what changes nothing, merge equal calls, then walk back from the results.
        same, calls = dict(self._same), list[Call]()
        same |= {name: whole for name, whole in self._scaled.items() if self._lasting(name, whole)}
        known: dict[object, tuple[Name | None, ...]] = {}
        for call in self.calls:
            if call.results and call.results[0] in same:
                continue
            args, kwargs = _renamed(call.args, same), _renamed(call.kwargs, same)
            call = Call(call.operation, args, kwargs, call.results, call.several)
            # Equal operations on equal names give equal values, unless one of them is changed in place
            # between.
            key = (call.operation, repr(args), repr(kwargs))
            lasting = bool(call.results) and self._lasting(*call.arguments, *filter(None, call.results))
            if lasting and key in known:
                for result, first in zip(call.results, known[key], strict=True):
                    if result is not None and first is not None:
                        same[result] = first
                continue
            if lasting:
                known[key] = call.results
            calls.append(call)
        wanted = [None if t is None else _renamed(self._of(t), same) for t in results]
        waiting = {name for name in wanted if name is not None}
        roots = set(map(self._root, waiting))
        kept = []
        for call in reversed(calls):
            if call.results:
                needed = bool(waiting.intersection(call.results))
            else:
                # A change in place is needed where memory that is needed changes, whichever view it goes
                # through.
                needed = not call.args or self._root(call.args[0]) in roots
            if needed:
                kept.append(call)
                waiting |= call.arguments
                roots |= set(map(self._root, call.arguments))
        return kept[::-1], wanted

    def _new(self, tensor: Tensor) -> Name:
        name = Name(len(self._places))
        self._places.append(Place.of(tensor))
        self._named[tensor] = name
        storage = tensor.untyped_storage()
        if storage.data_ptr() == 0:  # it has no values: of size 0, or on the meta device
            return name
        # An address may be used again once its storage is freed, hence the weak reference beside it.
        known, names = self._memories.get(storage.data_ptr(), (None, []))
        if known is None or known.expired():  # type: ignore[no-untyped-call]
            self._memories[storage.data_ptr()] = (StorageWeakRef(storage), [name])  # type: ignore[no-untyped-call]
        else:
            names.append(name)
        return name

    def _of(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            name = self._named.get(value)  # type: ignore[no-untyped-call]
            return self._unknown(value) if name is None else name
        if isinstance(value, list | tuple):
            return type(value)(self._of(part) for part in value)
        return value

    def _unknown(self, tensor: Tensor) -> Name:
        """The name of a tensor from before the recording, or of a known one rewrapped (`nn.Parameter(x)`)."""
        storage, names = self._memories.get(tensor.untyped_storage().data_ptr(), (None, []))
        if storage is None or storage.expired():  # type: ignore[no-untyped-call]
            name = self._new(tensor)
            self.read[name] = tensor
            return name
        place = Place.of(tensor)
        for name in names:
            if self._places[name.number] == place:
                self._named[tensor] = name
                return name
        raise UnrecordableError("a tensor is seen through another that no operation made")

    def _root(self, name: Name) -> Name:
        """The tensor in whose memory this one lies."""
        while name in self.view_of:
            name = self.view_of[name]
        return name

    def _lasting(self, *names: Name) -> bool:
        """Whether none of them is ever changed in place."""
        return self._changing.isdisjoint(map(self._root, names))

    def _refuse_changed(self, operation: Any, args: tuple[Any, ...]) -> None:
        """Refuses in-place changes of earlier tensors, and of more than the first argument."""
        writes = [bool(a.alias_info and a.alias_info.is_write) for a in operation._schema.arguments]
        root = self._root(args[0]) if args and isinstance(args[0], Name) else None
        if not writes[0] or any(writes[1:]) or root is None or root in self._given or root in self.read:
            raise UnrecordableError(f"{operation} changes a tensor from before in place")

    def _compare(self, operation: Any, args: Any, given: Tensor, result: Name, tensor: Tensor) -> None:
        """Notes a result that is an earlier tensor again: the same values in the same layout."""
        place, earlier = self._places[result.number], args[0]
        if tensor.untyped_storage().data_ptr() == given.untyped_storage().data_ptr() != 0:
            self.view_of[result] = earlier
            # A view of a view may read as the first tensor does: a transpose that is transposed back.
            while place != self._places[earlier.number]:
                if earlier not in self.view_of:
                    return
                earlier = self.view_of[earlier]
            self._same[result] = earlier
            return
        # Times 1 gives the same bits; autograd multiplies by a gradient of 1 at every start.
        by_one = operation in _SCALINGS and not isinstance(args[1], Name) and args[1] == 1
        if by_one and place.reading == self._places[earlier.number].reading:
            self._scaled[result] = earlier


def _out_of_place(operation: Any) -> Any:
    """`unsqueeze` for `unsqueeze_`."""
    name, _, overload = str(operation).removeprefix("aten.").partition(".")
    found = getattr(getattr(_aten, name.removesuffix("_"), None), overload, None)
    if found is None or not found.is_view:
        raise UnrecordableError(f"{operation} changes a shape in place")
    return found


def _names(value: Any) -> Iterator[Name]:
    if isinstance(value, Name):
        yield value
    elif isinstance(value, Mapping):
        yield from _names(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _names(part)


def _renamed(value: Any, same: Mapping[Name, Name]) -> Any:
    if isinstance(value, Name):
        while value in same:
            value = same[value]
        return value
    if isinstance(value, dict):
        return {key: _renamed(part, same) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_renamed(part, same) for part in value)
    return value
