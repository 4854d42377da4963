"""Recordings that a C++ compiler has made one program of: `hardware.compile`.

A recording calls some hundred operations one by one, and a small network's take less time than the calls.
torch's Inductor joins them into a few loops. They round otherwise than the operations do, so a run is
compiled from its first step to its last or not at all: nothing falls back on the recording on the way, which
would make a run that was stopped another one than a run that was not.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coldstart_cli.errors import RequestError
from coldstart_cli.tracing.recorder import UnrecordableError, Values
from coldstart_cli.tracing.recording import Recording
from coldstart_cli.tracing.replays import N_KINDS, Key, is_due, without_autocast
from coldstart_cli.tracing.watch import State, Watch

ROUNDING = 1e-3
"""The most that a tensor of a compiled program may differ from the plain one's, as a share of its norm."""
NUDGE, NUDGES = 1e-6, 10
"""Or, where it has nearly cancelled, as a multiple of what moving all that is read by this share does."""
_COMPILERS = ("g++", "clang++", "c++")
_INSTEAD = "hardware.compile=false does without"
_log = logging.getLogger(__name__)
_on = False
_folder: Callable[[], Path] = Path


def switch(on: bool, folder: Callable[[], Path]) -> None:
    """Sets whether functions are compiled in this process from now on.

    Args:
        folder: where programs are kept, by operations, versions and processor; made when one is compiled.

    Raises:
        RequestError: where there is no C++ compiler.
    """
    global _on, _folder
    if on and not (os.environ.get("CXX") or any(map(shutil.which, _COMPILERS))):
        raise RequestError(
            "hardware.compile: true needs a C++ compiler, and none is on the path; install one (Debian: "
            f"apt-get install g++), or {_INSTEAD}"
        )
    _on, _folder = on, folder


def is_on() -> bool:
    return _on


@dataclass(frozen=True, slots=True)
class _Program:
    """A compiled recording, the lines that it was compiled of, and the tensors that these read."""

    call: Callable[..., Any]
    lines: Callable[..., Values]
    read: Sequence[Tensor]

    def __call__(self, *inputs: Tensor) -> Values:
        with torch.no_grad():
            return list(self.call(*inputs, *self.read))

    def uncertainty(self, inputs: Sequence[Tensor]) -> Values:
        """By how much each result moves where all that is read moves by rounding."""
        with torch.no_grad():
            known = self.lines(*inputs, *self.read)
            moved = self.lines(*inputs, *map(_nudged, self.read))
        return [None if a is None or b is None else a - b for a, b in zip(known, moved, strict=True)]


class Compiled:
    """As `Replays`, but that what is replayed is compiled, and that what cannot be is refused.

    Args:
        of: what is computed, for messages.

    Attributes:
        recordable: True.
    """

    recordable = True

    def __init__(self, of: str) -> None:
        self.of = of
        self._programs: dict[Key, _Program] = {}
        self._convolves: dict[Hashable, bool] = {}
        self._met: Counter[Key] = Counter()
        self._numbers: dict[State, int] = {}
        self._lock = threading.Lock()

    def __call__(
        self, kind: Hashable, function: Callable[..., Values], inputs: Sequence[Tensor], watch: Watch
    ) -> Values:
        """The function's values for the inputs; arguments as of `Replays`.

        Raises:
            RequestError: where it cannot be recorded or compiled, or the program gives other values than it.
        """
        key = self._key(kind, inputs, watch)
        program, n = self._programs.get(key), self._counted(key)
        if program is None:
            program, plain = self._made(key, function, inputs)
        elif is_due(n):
            plain = function(*inputs)
        else:
            return without_autocast(program, inputs)
        found = without_autocast(program, inputs)
        if not _all_agree(plain, found, [None] * len(plain)) and not _all_agree(
            plain, found, without_autocast(lambda *values: program.uncertainty(values), inputs)
        ):
            raise self._refusal("its compiled program gives other values than it does as written")
        return found

    def ready(self, kind: Hashable, inputs: Sequence[Tensor], watch: Watch) -> Callable[[], Values] | None:
        """The program for the next of a kind, for any thread; None where `__call__` is needed."""
        key = self._key(kind, inputs, watch)
        if key not in self._programs or is_due(self._met[key] + 1):
            return None
        self._counted(key)
        return partial(without_autocast, self._programs[key], inputs)

    def known(self, kind: Hashable) -> bool:
        """Whether there is a program for such inputs."""
        return any(known == kind for *_, known in self._programs)

    def convolves(self, kind: Hashable) -> bool | None:
        """Whether such inputs are convolved; None where there have been none yet."""
        return self._convolves.get(kind)

    def _key(self, kind: Hashable, inputs: Sequence[Tensor], watch: Watch) -> Key:
        try:
            state = watch.state
        except UnrecordableError as error:
            raise self._refusal(str(error)) from error
        number = self._numbers.setdefault(state, len(self._numbers))
        return number, torch.is_autocast_enabled(inputs[0].device.type), kind

    def _counted(self, key: Key) -> int:
        with self._lock:
            self._met[key] += 1
            return self._met[key]

    def _made(
        self, key: Key, function: Callable[..., Values], inputs: Sequence[Tensor]
    ) -> tuple[_Program, Values]:
        """The program, and what the function gave while it was recorded."""
        if len(self._programs) == N_KINDS:
            raise self._refusal(f"it is of more than {N_KINDS} kinds (shapes of tasks, values of attributes)")
        torch.clear_autocast_cache()
        try:
            recording = Recording(function, inputs)
        except UnrecordableError as error:
            raise self._refusal(str(error)) from error
        self._convolves[key[-1]] = recording.convolves
        self._programs[key] = self._program(recording, inputs)
        return self._programs[key], recording.results

    def _program(self, recording: Recording, inputs: Sequence[Tensor]) -> _Program:
        if recording.calls_python:
            raise self._refusal("it calls Python code in every step")
        # Read when torch's compiler is imported, which takes seconds: here, for few runs need it.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(_folder()))
        folder = os.environ["TORCHINDUCTOR_CACHE_DIR"]
        _log.warning(
            "hardware.compile: %s is compiled, which takes some ten seconds where it is not kept in %s",
            self.of,
            folder,
        )
        lines, read = recording.lifted()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about itself
                from torch._inductor import standalone_compile

            # The number of threads is written into the program; with one thread for compiling no pool of
            # processes is started. Both are a part of the cache's key, as all options are.
            options = {"cpp.threads": torch.get_num_threads(), "compile_threads": 1}
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = standalone_compile(
                    lines,
                    [*inputs, *read],
                    dynamic_shapes="from_example_inputs",
                    options={"config_patches": options},
                )
        except Exception as error:  # whatever a compiler and what drives it may raise
            text = " ".join(str(error).split())[:160]
            raise self._refusal(f"the compiler failed ({type(error).__name__}: {text})") from error
        return _Program(program, lines, read)

    def _refusal(self, reason: str) -> RequestError:
        return RequestError(f"hardware.compile: {self.of} cannot be compiled: {reason}; {_INSTEAD}")


def _all_agree(plain: Values, found: Values, uncertain: Values) -> bool:
    return len(plain) == len(found) == len(uncertain) and all(map(_agree, plain, found, uncertain))


def _agree(plain: Tensor | None, found: Tensor | None, uncertain: Tensor | None) -> bool:
    """Within rounding; what is not finite cannot be compared."""
    if plain is None or found is None:
        return plain is found
    if plain.dtype != found.dtype or plain.shape != found.shape:
        return False
    difference, norm = (plain - found).double().norm(), plain.double().norm()
    allowed = ROUNDING * norm if uncertain is None else NUDGES * uncertain.double().norm()
    return not torch.isfinite(norm) or bool(difference <= allowed.maximum(ROUNDING * norm))


def _nudged(tensor: Tensor) -> Tensor:
    """Every second number a little larger, the others a little smaller; whole numbers as they are."""
    if not tensor.is_floating_point():
        return tensor
    signs = 1 - 2 * (torch.arange(tensor.numel(), device=tensor.device) % 2)
    return tensor * (1 + NUDGE * signs.view(tensor.shape))
