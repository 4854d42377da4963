"""Whether anything that a computation can read has changed, except the values of tensors: mainly attributes.

A recording is valid for one state of the objects that its function can reach: attributes of a strategy and of
its modules, what these hold in turn, arguments of a `partial`, what a closure holds, class attributes, and
globals that methods name. Visiting all of them takes a millisecond, too long for a step of a small network;
so a state remembers every object that it met, in order, and counts as unchanged if all are still the same
objects, which is compared in C. Only if one is not, values are visited again: a new float may equal the old.
"""

from __future__ import annotations

import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from functools import partial
from itertools import chain, starmap, zip_longest
from operator import attrgetter, is_
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from coldstart_cli.tracing.recorder import UnrecordableError

MOST: Final = 100_000
"""Most values of a state: comparing more would take longer than many steps do."""
LARGEST_ARRAY: Final = 1 << 16
"""Most bytes of a numpy array that is compared by value; a larger one is compared by identity."""
_PLAIN: Final = frozenset(
    {bool, int, float, complex, str, bytes, type(None), range, torch.dtype, torch.device}
)
_MAPPINGS: Final = (dict, OrderedDict, defaultdict, types.MappingProxyType)
_LISTS: Final = (list, tuple, set, frozenset, deque, torch.Size)
_CALLED: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
_FOREIGN: Final = frozenset({*sys.stdlib_module_names, "torch", "numpy"})
"""Packages whose classes and functions have no state that a strategy changes."""
_NAMES: Final = "names"
_placed: Final = attrgetter("requires_grad", "dtype", "shape")


class State:
    """What was found; equal to another state if a function that reads it would do the same."""

    def __init__(
        self, tokens: Iterable[tuple[Any, ...]], paths: Iterable[str], held: Iterable[object]
    ) -> None:
        self.tokens, self.paths = tuple(tokens), tuple(paths)
        self._held = tuple(held)  # what is compared by identity must live as long
        self._hash = hash(self.tokens)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, State) and self.tokens == other.tokens)

    def differs(self, before: State) -> str:
        """The name of the first thing that differs: `encoder.scale`."""
        for token, path, old, old_path in zip_longest(self.tokens, self.paths, before.tokens, before.paths):
            if token == old:
                continue
            if token and old and token[0] == old[0] == _NAMES:  # an attribute was added or removed
                path = f"{path}.{min({*token} ^ {*old})}"
            return str(path or old_path).removeprefix(".")
        return "nothing"


class Watch:
    """Watches everything that can be reached from `roots`.

    Args:
        roots: such as a bound method, a `partial`, a module, a mapping of tensors.
        closed: classes whose instances are not looked into: a source of data.
    """

    def __init__(self, *roots: object, closed: tuple[type, ...] = ()) -> None:
        self._roots, self._closed = roots, closed
        self._state: State | None = None

    @property
    def state(self) -> State:
        """The present state: the same object as last time, if nothing has changed since.

        Raises:
            UnrecordableError: where there are too many values.
        """
        state = self._state
        if state is None or not self._unchanged():
            state = self._state = self._look()
        return state

    def _unchanged(self) -> bool:
        try:
            return (
                # Sizes first, because `map` stops at the shorter of its iterables. All in C: this runs at
                # every step.
                list(map(len, self._sized)) == self._sizes
                and all(map(is_, chain.from_iterable(self._views), self._items))
                and all(map(is_, self._named(), self._values))
                and not any(starmap(hasattr, self._empty))
                and list(map(Tensor.data_ptr, self._tensors)) == self._addresses
                and list(map(_placed, self._tensors)) == self._kinds
                and list(map(np.ndarray.tobytes, self._arrays)) == self._contents
            )
        except (
            AttributeError,
            ValueError,
            RuntimeError,
        ):  # an empty slot, a tensor without memory
            return False

    def _named(self) -> Iterable[object]:
        found = map(getattr, self._owners, self._names)
        return chain(found, map(dict.get, self._spaces, self._globals))

    def _look(self) -> State:
        self._tokens: list[tuple[Any, ...]] = []
        self._paths: list[str] = []
        self._held: list[object] = []
        self._seen: dict[int, int] = {}
        self._sized: list[Collection[Any]] = []
        self._views: list[Iterable[object]] = []
        self._owners: list[object] = []
        self._names: list[str] = []
        self._empty: list[tuple[object, str]] = []
        self._spaces: list[dict[str, object]] = []
        self._globals: list[str] = []
        self._tensors: list[Tensor] = []
        self._arrays: list[np.ndarray[Any, Any]] = []
        for root in self._roots:
            self._see(root, "")
        self._sizes = list(map(len, self._sized))
        self._items = list(chain.from_iterable(self._views))
        self._values = list(self._named())
        self._addresses = [_address(tensor) for tensor in self._tensors]
        self._kinds = list(map(_placed, self._tensors))
        self._contents = [array.tobytes() for array in self._arrays]
        return State(self._tokens, self._paths, self._held)

    def _see(self, value: object, path: str) -> None:
        kind = type(value)
        if kind in _PLAIN:
            # By repr: nan then equals itself, and -0.0 differs from 0.0.
            self._note(path, kind, repr(value) if kind in (float, complex) else value)
        elif id(value) in self._seen:
            # A cycle or a shared object, noted as the n-th that was met.
            self._note(path, "again", self._seen[id(value)])
        else:
            self._seen[id(value)] = len(self._seen)
            # Kept alive, or another object might be given its id.
            self._held.append(value)
            self._see_new(value, path)

    def _see_new(self, value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            # A tensor's values may change: a replay reads them where they are.
            self._tensors.append(value)
            strides = value.stride() if value.layout is torch.strided else None
            self._note(path, id(value), *_placed(value), strides, value.device)
        elif isinstance(value, np.ndarray) and value.nbytes <= LARGEST_ARRAY:
            # An array's may not: numpy computes outside torch, so a recording has its results as constants.
            self._arrays.append(value)
            self._note(path, value.dtype.str, value.shape, value.tobytes())
        elif isinstance(value, np.generic | PurePath):
            self._note(path, type(value), repr(value))
        elif isinstance(value, partial):
            self._see_attributes(value, ("func", "args", "keywords"), path, hidden=True)
        elif isinstance(value, types.MethodType):
            self._see(value.__self__, path)
            self._see(value.__func__, path)
        elif isinstance(value, types.FunctionType):
            self._see_function(value, path)
        elif isinstance(value, _MAPPINGS):
            self._see_mapping(value, path)
        elif isinstance(value, _LISTS):
            self._note(path, type(value), len(value))
            if not isinstance(value, tuple | frozenset):
                self._see_through(value)
            for i, part in enumerate(value):
                self._see(part, f"{path}[{i}]")
        elif isinstance(value, type):
            self._see_class(value, path)
        elif isinstance(value, torch.optim.Optimizer):
            self._note(path, "optimizer")  # no loss reads what it counts
        elif isinstance(value, (Enum, types.ModuleType, *self._closed)) or _opaque(value):
            self._note(path, id(value))
        else:
            self._see_object(value, path)

    def _see_object(self, value: object, path: str) -> None:
        """Attributes, in `__dict__` and in slots, and those of its class."""
        self._note(path, type(value))
        if hasattr(value, "__dict__"):
            attributes = vars(value)
            self._see_through(attributes, attributes.values())
            self._note(path, _NAMES, *attributes)
            for name, part in attributes.items():
                # Paths as in a state dict: `encoder.scale`, not `encoder._parameters.scale`.
                inner = isinstance(value, nn.Module) and name in ("_parameters", "_buffers", "_modules")
                self._see(part, path if inner else f"{path}.{name}")
        for cls in type(value).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            names = [slots] if isinstance(slots, str) else slots
            filled = [name for name in names if name != "__dict__" and hasattr(value, name)]
            self._empty += [(value, name) for name in names if not hasattr(value, name)]
            self._note(path, _NAMES, *filled)
            self._see_attributes(value, filled, path)
            self._see(cls, path)

    def _see_attributes(self, owner: object, names: Iterable[str], path: str, hidden: bool = False) -> None:
        for name in names:
            self._owners.append(owner)
            self._names.append(name)
            self._see(getattr(owner, name), path if hidden else f"{path}.{name}")

    def _see_class(self, cls: type, path: str) -> None:
        self._note(path, id(cls))
        if _foreign(cls):
            return
        self._see_through(vars(cls), vars(cls).values())
        for name, part in vars(cls).items():
            function = _function_of(part)
            if function is not None:
                self._note(path, id(function))
                self._see_globals(function)
            elif not name.startswith("__"):
                self._see(part, f"{path}.{name}")

    def _see_function(self, function: types.FunctionType, path: str) -> None:
        # By its code: a lambda is a new object at every call, with the same code.
        self._note(path, id(function.__code__))
        if _foreign(function):
            return
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if _is_full(cell):
                inner = path if name == "self" else f"{path}.{name}"
                self._see_attributes(cell, ["cell_contents"], inner, hidden=True)
        self._see_attributes(function, ("__defaults__", "__kwdefaults__"), path, hidden=True)
        self._see_globals(function)

    def _see_globals(self, function: types.FunctionType) -> None:
        """Globals that it names, except what it calls: functions, classes and modules."""
        space = function.__globals__
        for name in _names(function.__code__):
            value = space.get(name)
            if name in space and not isinstance(value, _CALLED):
                self._spaces.append(space)
                self._globals.append(name)
                self._see(value, f"{function.__module__}.{name}")

    def _see_mapping(self, value: Any, path: str) -> None:
        self._note(path, type(value), len(value))
        self._see_through(value, value.keys(), value.values())
        for key, part in value.items():
            self._see(key, path)
            self._see(part, f"{path}.{key}" if isinstance(key, str) else f"{path}[{key!r}]")

    def _see_through(self, sized: Collection[Any], *views: Iterable[object]) -> None:
        self._sized.append(sized)
        if sized:
            self._views += views or [sized]

    def _note(self, path: str, *token: object) -> None:
        if len(self._tokens) >= MOST:
            raise UnrecordableError(f"it can read more than {MOST:,} values")
        self._tokens.append(token)
        self._paths.append(path)


def _foreign(thing: Any) -> bool:
    """Whether a class or a function comes from a package without any state of a strategy."""
    return str(thing.__module__).partition(".")[0] in _FOREIGN


def _opaque(value: object) -> bool:
    """Whether it can only be compared by identity: an iterator, a lock, a generator of random numbers."""
    return _foreign(type(value)) and not isinstance(value, nn.Module | types.SimpleNamespace)


def _function_of(attribute: object) -> types.FunctionType | None:
    """The function of a method or a property, given the attribute of its class."""
    if isinstance(attribute, property):
        attribute = attribute.fget
    if isinstance(attribute, staticmethod | classmethod):
        attribute = attribute.__func__
    return attribute if isinstance(attribute, types.FunctionType) else None


def _names(code: types.CodeType) -> Iterator[str]:
    """The globals and attributes that a function names, including functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_full(cell: types.CellType) -> bool:
    try:
        # Reading the contents of an empty cell raises.
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _address(tensor: Tensor) -> int:
    try:
        # Wrappers, as under vmap, have no memory of their own.
        return tensor.data_ptr()
    except RuntimeError:
        return -1
