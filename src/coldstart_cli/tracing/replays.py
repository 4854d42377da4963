"""Functions computed for one task after another: recorded on the way, compared, and replayed from then on.

A recording must not give wrong results, whatever a function reads beside its inputs. A recording is valid for
one state of what a `Watch` sees; what it does not see, such as globals of called functions, is found by
repeatedly comparing a replay with the plain computation, bit for bit.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from coldstart_cli.tracing.recorder import UnrecordableError, Values
from coldstart_cli.tracing.recording import Recording
from coldstart_cli.tracing.watch import State, Watch

N_KINDS = 16
"""Most kinds of inputs whose recordings are kept; further kinds are computed as written."""
COMPARED_AGAIN = 10
COMPARED_EVERY = 100
"""Replays of a kind between two that are compared; comparing takes up to four replays' time."""
N_STATES, LASTING = 4, 20
"""After more than N_STATES states that lasted fewer than LASTING calls each, recording is not worth it."""
_log = logging.getLogger(__name__)
_on = _records = True
Key = tuple[int, bool, Hashable]
"""Number of a state, whether autocast is on, kind of inputs."""


def switch(on: bool) -> None:
    """Sets whether functions are recorded in this process from now on (`hardware.replay`)."""
    global _on
    _on = on


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Nothing is recorded inside: to record takes as long as to compute a dozen, and few are asked for."""
    global _records
    before, _records = _records, False
    try:
        yield
    finally:
        _records = before


class Replays:
    """Recordings of functions, one for each kind of inputs and each state of what a function reads.

    Where a replay differs from the plain computation, or a function cannot be recorded, everything is
    computed as written from then on. Several threads may call it at once.

    Args:
        of: what is computed, for messages: "the gradient of a task".
        after: how many of a kind are computed before one is recorded.
        quiet: do not report what cannot be recorded.

    Attributes:
        recordable: nothing has ruled recording out so far.
        on: whether recordings are replayed; otherwise they only show what is recordable.
    """

    def __init__(self, of: str, after: int = 0, *, quiet: bool = False) -> None:
        self.of, self.after, self.recordable, self.on = of, after, True, _on
        self._level = logging.DEBUG if quiet or not _on else logging.WARNING
        self._recordings: dict[Key, Recording] = {}
        self._trusted: set[Key] = set()
        self._convolves: dict[Hashable, bool] = {}
        self._met: Counter[Key] = Counter()
        self._numbers: dict[State, int] = {}
        self._latest: State | None = None
        self._n_states = self._n_calls = 0
        self._lock = threading.Lock()

    def __call__(
        self, kind: Hashable, function: Callable[..., Values], inputs: Sequence[Tensor], watch: Watch
    ) -> Values:
        """The function's values for the inputs.

        Args:
            kind: equal for inputs for which the function calls the same operations.
            watch: watches what the function reads beside its inputs.
        """
        key = self._key(kind, inputs, watch)
        if key is None:
            return function(*inputs)
        n = self._counted(key)
        recording = self._recordings.get(key)
        # The count was taken under the lock, so only one thread can see this one and record.
        if _records and recording is None and n == self.after + 1 and len(self._recordings) < N_KINDS:
            return self._recorded(key, function, inputs, watch)
        if recording is None or not self.on:
            self._convolves.setdefault(kind, False)
            return function(*inputs)
        if key in self._trusted and not is_due(n - self.after - 1):
            return without_autocast(recording, inputs)
        # What is computed is returned in any case, so a comparison never changes a result.
        plain = function(*inputs)
        self._compare(key, n, plain, without_autocast(recording, inputs))
        return plain

    def ready(self, kind: Hashable, inputs: Sequence[Tensor], watch: Watch) -> Callable[[], Values] | None:
        """A replay for the next of a kind, for any thread; None where it has to be computed by `__call__`."""
        key = self._key(kind, inputs, watch)
        # A call that is due for comparison needs the plain computation, and so the main thread.
        if key is None or key not in self._trusted or is_due(self._met[key] - self.after):
            return None
        self._counted(key)
        return partial(without_autocast, self._recordings[key], inputs)

    def known(self, kind: Hashable) -> bool:
        """Whether such inputs are replayed."""
        return any(known == kind for *_, known in self._trusted)

    def convolves(self, kind: Hashable) -> bool | None:
        """Whether a recording of such inputs has a convolution; None where there has been none yet."""
        return self._convolves.get(kind)

    def _key(self, kind: Hashable, inputs: Sequence[Tensor], watch: Watch) -> Key | None:
        if not self.recordable:
            return None
        try:
            state = watch.state
        except UnrecordableError as error:
            self._give_up(str(error))
            return None
        number = self._numbers.get(state)
        if number is None:
            number = self._new(state)
            if not self.recordable:
                return None
        return number, torch.is_autocast_enabled(inputs[0].device.type), kind

    def _new(self, state: State) -> int:
        with self._lock:
            before, self._latest = self._latest, state
            self._n_states += 1
            if before is not None and self._n_states > N_STATES and self._n_calls < LASTING * self._n_states:
                self._give_up(f"{state.differs(before)} changes from step to step")
            # Bounds the memory where states keep changing.
            elif len(self._recordings) >= N_KINDS:  # drops those of earlier states, which may never come back
                self._forget()
            return self._numbers.setdefault(state, self._n_states)

    def _counted(self, key: Key) -> int:
        """The number of calls of a kind so far, this one included, over all threads."""
        with self._lock:
            self._n_calls += 1
            self._met[key] += 1
            return self._met[key]

    def _recorded(
        self, key: Key, function: Callable[..., Values], inputs: Sequence[Tensor], watch: Watch
    ) -> Values:
        before = watch.state
        torch.clear_autocast_cache()  # a weight that was cast earlier would be recorded as a constant
        try:
            recording = Recording(function, inputs)
        except UnrecordableError as error:
            self._give_up(str(error))
            return function(*inputs)
        self._convolves[key[-1]] = recording.convolves
        if watch.state == before:  # otherwise it changes what it reads, as when it caches something
            self._recordings[key] = recording
        return recording.results

    def _compare(self, key: Key, n: int, plain: Values, replayed: Values) -> None:
        if len(plain) == len(replayed) and all(map(_agree, plain, replayed)):
            self._trusted.add(key)
            return
        n -= self.after + 1
        n_stale = n - 1 - max(m for m in range(n) if m == 0 or is_due(m))
        stale = (
            f"up to {n_stale} before this one may have been computed from what it was; " if n_stale else ""
        )
        warnings.warn(
            f"{self.of} depends on more than the task, the weights and the attributes that it can read (a "
            f"global, a clock), or on operations that differ from time to time: {stale}it is computed as it "
            "is written from now on, which is slower (hardware.replay=false does so from the start)",
            RuntimeWarning,
            stacklevel=3,
        )
        self._give_up("a replay differs")

    def _give_up(self, reason: str) -> None:
        if self.recordable:
            level = logging.DEBUG if reason == "a replay differs" else self._level
            _log.log(level, "%s is computed as it is written, which is slower: %s", self.of, reason)
        self.recordable = False
        self._forget()

    def _forget(self) -> None:
        for known in (self._recordings, self._trusted, self._met, self._numbers):
            known.clear()


def is_due(n: int) -> bool:
    """Whether the n-th replay of a kind is compared, 1 for the first: soon, then now and then."""
    return n in (1, COMPARED_AGAIN) or n % COMPARED_EVERY == 0


def without_autocast(recording: Callable[..., Values], inputs: Sequence[Tensor]) -> Values:
    """Replays with autocast off: its choices are in the recording."""
    device = inputs[0].device.type
    if not torch.is_autocast_enabled(device):
        return recording(*inputs)
    with torch.autocast(device, enabled=False):
        return recording(*inputs)


def _agree(plain: Tensor | None, replayed: Tensor | None) -> bool:
    """Bit for bit; NaN equals NaN."""
    if plain is None or replayed is None:
        return plain is replayed
    if plain.dtype != replayed.dtype or plain.shape != replayed.shape:
        return False
    return torch.equal(plain, replayed) or (
        plain.is_floating_point() and torch.allclose(plain, replayed, rtol=0, atol=0, equal_nan=True)
    )
