"""Who is told of a run while it goes: the terminal, TensorBoard.

The run directory's own files (history.jsonl, timings.jsonl, records.jsonl) are written in any case.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Protocol

from annotated_types import Gt
from rich.console import Console as Terminal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coldstart_cli.errors import RequestError


class Logger(Protocol):
    def start(self, title: str, total: int, done: int) -> None:
        """A phase of `total` units begins, of which `done` were done before."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a training step."""

    def advance(self, done: int) -> None:
        """So many units are done now."""

    def close(self) -> None:
        """The run ended, well or not."""


class Console:
    """A progress bar on a terminal, plain lines elsewhere (CI, files); both on standard error.

    Args:
        quiet: print nothing; from the run.
        every_seconds: between two plain lines.
    """

    def __init__(self, quiet: bool, *, every_seconds: Annotated[float, Gt(0)]) -> None:
        self.every_seconds = every_seconds
        self._quiet = quiet
        self._values: dict[str, float] = {}
        self._title, self._total, self._printed = "", 0, 0.0
        self._progress: Progress | None = None

    def start(self, title: str, total: int, done: int) -> None:
        self.close()
        self._title, self._total, self._values = title, total, {}
        self._printed = time.monotonic()
        if self._quiet or not sys.stderr.isatty():
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Terminal(stderr=True), transient=True)
        self._progress.add_task(title, total=total, completed=done, values="")
        self._progress.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._values.update(values)

    def advance(self, done: int) -> None:
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, values=self._shown())
            return
        due = time.monotonic() - self._printed >= self.every_seconds
        if not self._quiet and (due or done == self._total):
            self._printed = time.monotonic()
            print(
                f"{self._title} {done}/{self._total}  {self._shown()}".rstrip(), file=sys.stderr, flush=True
            )

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _shown(self) -> str:
        return "  ".join(f"{name} {value:.4g}" for name, value in self._values.items())


class TensorBoard:
    """Scalars below tensorboard/ in the run directory; needs the extra `tensorboard`.

    Args:
        run_path: the run directory; from the run.
        flush_seconds: between two writes to disk.
    """

    def __init__(self, run_path: Path, *, flush_seconds: Annotated[float, Gt(0)]) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError as error:
            raise RequestError(
                "logger.tensorboard: the package tensorboard is not installed; "
                "pip install 'coldstart-cli[tensorboard]'"
            ) from error
        self.flush_seconds = flush_seconds
        self._writer = SummaryWriter(str(run_path / "tensorboard"), flush_secs=int(flush_seconds) or 1)

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def advance(self, done: int) -> None:
        pass

    def close(self) -> None:
        self._writer.close()
