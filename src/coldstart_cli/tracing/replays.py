"""Functions computed for one task after another: recorded on the way, compared, and replayed from then on."""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from coldstart_cli.tracing.recorder import UnrecordableError, Values
from coldstart_cli.tracing.recording import Recording

N_KINDS = 16
"""Kinds of inputs of which recordings are kept; further ones are computed as they are written."""
_log = logging.getLogger(__name__)


class Replays:
    """Recordings of functions, one for each kind of inputs; several threads may ask at once.

    Where a replay differs from what is computed, or a function cannot be recorded, all is computed as it is
    written from then on.

    Args:
        of: what is computed, for a warning: "the gradient of a task".
        after: how many of a kind are computed first, without a record.

    Attributes:
        recordable: nothing speaks against it so far.
    """

    def __init__(self, of: str, after: int = 0) -> None:
        self.of, self.after, self.recordable = of, after, True
        self._recordings: dict[Hashable, Recording] = {}
        self._trusted: set[Hashable] = set()
        self._met: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def __call__(self, kind: Hashable, function: Callable[..., Values], inputs: Sequence[Tensor]) -> Values:
        """What the function gives for the inputs.

        Args:
            kind: what inputs have in common for which the function calls the same operations.
        """
        recording = self._recordings.get(kind)
        if recording is not None and kind in self._trusted:
            return _without_autocast(recording, inputs)
        if recording is not None:
            return self._compared(kind, function(*inputs), _without_autocast(recording, inputs))
        if self._to_be_recorded(kind):
            try:
                recording = Recording(function, inputs)
            except UnrecordableError as error:
                _log.debug("%s is computed as it is written: %s", self.of, error)
                self.recordable = False
            else:
                self._recordings[kind] = recording
                return recording.results
        return function(*inputs)

    def known(self, kind: Hashable) -> bool:
        """Whether such inputs are replayed."""
        return kind in self._trusted

    def convolves(self, kind: Hashable) -> bool:
        """Whether such inputs are recorded, with a convolution among the operations."""
        recording = self._recordings.get(kind)
        return recording is not None and recording.convolves

    def _to_be_recorded(self, kind: Hashable) -> bool:
        """Once for each kind, whichever thread asks."""
        with self._lock:
            self._met[kind] += 1
            return self.recordable and self._met[kind] == self.after + 1 and len(self._recordings) < N_KINDS

    def _compared(self, kind: Hashable, plain: Values, replayed: Values) -> Values:
        if len(plain) == len(replayed) and all(map(_agree, plain, replayed)):
            self._trusted.add(kind)
        else:
            warnings.warn(
                f"{self.of} depends on more than the task and the values of the weights (a loss that counts "
                "its calls, say): it is computed as it is written, which is slower",
                RuntimeWarning,
                stacklevel=2,
            )
            self.recordable = False
            self._trusted.clear()
            self._recordings.clear()
        return plain


def _without_autocast(recording: Recording, inputs: Sequence[Tensor]) -> Values:
    """What autocast chose is in the recording."""
    device = inputs[0].device.type
    if not torch.is_autocast_enabled(device):
        return recording(*inputs)
    with torch.autocast(device, enabled=False):
        return recording(*inputs)


def _agree(plain: Tensor | None, replayed: Tensor | None) -> bool:
    """Bit for bit, or nearly where the same computation differs from time to time."""
    if plain is None or replayed is None:
        return plain is replayed
    if torch.equal(plain, replayed):
        return True
    rounding = 0.0 if torch.are_deterministic_algorithms_enabled() else 1e-3
    size = float(plain.abs().nan_to_num().max())
    return torch.allclose(plain, replayed, rtol=rounding, atol=rounding * size, equal_nan=True)
