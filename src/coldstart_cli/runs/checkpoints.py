"""States of a training, each written whole or not at all, each checked when read."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldstart_cli.digests import N_BYTES, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import remove, write_bytes, writing
from coldstart_cli.processes import ranks


class Checkpoints:
    """States of a training, each written whole or not at all, each checked when read.

    A file is the SHA-256 of its payload, then the payload. The last two states and the best one are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @ranks.alone
    def save(self, state: Mapping[str, Any], step: int) -> None:
        self._write(state, f"step-{step:09d}.ckpt")
        # Two, so that damage to the newest costs only the steps since the one before.
        for old in self._steps()[:-2]:
            remove(old)

    @ranks.alone
    def save_best(self, state: Mapping[str, Any]) -> None:
        self._write(state, "best.ckpt")

    def latest(self) -> dict[str, Any] | None:
        """The newest intact state; damaged ones are named in a warning and skipped."""
        for path in reversed(self._steps()):
            state = self._read(path)
            if state is not None:
                return state
        return None

    def best(self) -> dict[str, Any]:
        """The best state, from its own file or, if that is damaged, from the newest checkpoint.

        Raises:
            RequestError: where both are missing or damaged.
        """
        state = self._read(self.folder / "best.ckpt")
        steps = self._steps()
        if state is None and steps:
            whole = self._read(steps[-1])
            if whole is not None and whole.get("best") is not None:
                state = {"strategy": whole["best"], "step": whole["best_step"]}
        if state is None or not isinstance(state.get("strategy", {}), dict):
            raise RequestError(
                f"run: {self.folder / 'best.ckpt'} is missing or damaged; train again with again=true"
            )
        return state

    def _steps(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.ckpt"))

    def _write(self, state: Mapping[str, Any], name: str) -> None:
        import torch  # late, since reading results does not need it

        file = io.BytesIO(bytes(N_BYTES))
        file.seek(N_BYTES)
        torch.save(dict(state), file)
        whole = file.getbuffer()  # no copy: a state may be large
        # Room was left for it at the front, so that the digest needs no second copy.
        whole[:N_BYTES] = whole_digest([whole[N_BYTES:]])
        with writing(self.folder / name, len(whole)):
            self.folder.mkdir(exist_ok=True)
        write_bytes(self.folder / name, whole)

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if len(data) < N_BYTES or whole_digest([memoryview(data)[N_BYTES:]]) != data[:N_BYTES]:
            warnings.warn(f"{path}: damaged; skipped", RuntimeWarning, stacklevel=3)
            return None
        import torch

        file = io.BytesIO(data)
        file.seek(N_BYTES)
        try:
            # weights_only: tensors and plain values, no pickled code, for a run may come from somebody
            # else.
            state = torch.load(file, map_location="cpu", weights_only=True)
        except Exception:  # a hostile file may have the right digest too
            state = None
        if not isinstance(state, dict):
            warnings.warn(f"{path}: contains more than values; skipped", RuntimeWarning, stacklevel=3)
            return None
        return state
