"""Who is told of a run while it goes: the terminal, TensorBoard; trackers.py has those with a store of runs.

The run directory's own files (history.jsonl, timings.jsonl, records.jsonl) are written in any case.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from annotated_types import Ge, Gt
from rich.console import Console as Terminal
from rich.console import ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from coldstart_cli import config as configs
from coldstart_cli import ranks
from coldstart_cli.curve import LABEL, VALIDATION, Series, panel
from coldstart_cli.errors import RequestError, printable
from coldstart_cli.files import read_jsonl


class Logger(Protocol):
    def start(self, title: str, total: int, done: int) -> None:
        """A phase of `total` units begins, of which `done` were done before."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a training step."""

    def advance(self, done: int) -> None:
        """So many units are done now."""

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a finished evaluation, after so many steps of training."""

    def close(self) -> None:
        """The run ended, well or not."""


class Tolerated:
    """A logger that cannot end a run: at its first error a warning names it, and it is told no more."""

    def __init__(self, key: str, logger: Logger) -> None:
        self._key, self._logger, self._failed = key, logger, False

    def start(self, title: str, total: int, done: int) -> None:
        self._tell(self._logger.start, title, total, done)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._tell(self._logger.metrics, step, values)

    def advance(self, done: int) -> None:
        self._tell(self._logger.advance, done)

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self._tell(self._logger.summary, step, values)

    def close(self) -> None:
        """Closes also what has failed: it may hold a process or the terminal."""
        failed, self._failed = self._failed, False
        self._tell(self._logger.close, silently=failed)

    def _tell(self, method: Callable[..., None], *values: object, silently: bool = False) -> None:
        if self._failed:
            return
        try:
            method(*values)
        except Exception as error:
            self._failed = True
            if not silently:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                warnings.warn(
                    f"{self._key}: {what}; the run goes on without it", RuntimeWarning, stacklevel=3
                )


class Console:
    """A progress bar and learning curves on a terminal, plain lines elsewhere; both on standard error.

    Args:
        quiet: print nothing; from the run.
        run_path: the run directory, whose history a training that goes on is shown with; from the run.
        every_seconds: between two plain lines.
        curve_rows: height of the curves; 0 for none.
    """

    def __init__(
        self,
        quiet: bool,
        run_path: Path,
        *,
        every_seconds: Annotated[float, Gt(0)],
        curve_rows: Annotated[int, Ge(0)],
    ) -> None:
        self.every_seconds, self.curve_rows = every_seconds, curve_rows
        self._quiet, self._history = quiet, run_path / "history.jsonl"
        self._values: dict[str, float] = {}
        self._title, self._total, self._printed = "", 0, 0.0
        self._curves = _Curves(0, 0)
        self._progress: Progress | None = None
        self._live: Live | None = None

    def start(self, title: str, total: int, done: int) -> None:
        self.close()
        self._title, self._total, self._values = title, total, {}
        self._printed = time.monotonic()
        terminal = Terminal(stderr=True)
        if self._quiet or not sys.stderr.isatty() or terminal.is_dumb_terminal:
            return
        self._curves = _Curves(total, self.curve_rows)
        for row in read_jsonl(self._history) if done else []:
            self.metrics(
                row["step"], {name: v for name, v in row.items() if name != "step" and v is not None}
            )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            TimeRemainingColumn(),
            console=terminal,
        )
        self._progress.add_task(title, total=total, completed=done, values=self._shown())
        self._live = Live(
            Group(self._progress, self._curves), console=terminal, transient=True, refresh_per_second=4
        )
        self._live.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._values.update(values)
        self._curves.add(step, values)

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

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing: the report says it."""

    def close(self) -> None:
        """Takes the bar away; the curves stay where they are."""
        if self._live is not None:
            live, self._live, self._progress = self._live, None, None
            live.stop()
            live.console.print(self._curves)
        self._curves = _Curves(0, 0)

    def _shown(self) -> str:
        return "  ".join(f"{printable(name)} {value:.4g}" for name, value in self._values.items())


class _Curves:
    """What the terminal draws anew a few times a second: the training's metric, validation's beside it.

    Of several metrics of a step the first counts; of phases with names of their own the latest.
    """

    def __init__(self, total: int, rows: int) -> None:
        self._total, self._rows = total, rows
        self._series: dict[str, Series] = {}
        self._training = ""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        if not self._rows or not values:
            return
        name = next(iter(values))
        if not name.startswith(VALIDATION):
            self._training = name
        self._series.setdefault(name, Series(self._total)).add(step, values[name])

    def __rich_console__(self, console: Terminal, options: ConsoleOptions) -> RenderResult:
        shown = [self._training, *(name for name in self._series if name.startswith(VALIDATION))]
        shown = [name for name in shown if name in self._series]
        width, height = console.size
        shown = shown[-max(1, width // 40) :]
        if not shown or width < 2 * LABEL or height < self._rows + 4:
            return
        across = width // len(shown) - 1
        table = Table.grid(padding=(0, 1, 0, 0))
        cells = []
        for name in shown:
            table.add_column(width=across, no_wrap=True)
            lines = panel(name, self._series[name], across, self._rows, ascii_only=options.ascii_only)
            cells.append(Text("\n".join(lines), no_wrap=True, overflow="crop"))
        table.add_row(*cells)
        yield table


class TensorBoard:
    """Scalars below tensorboard/ in the run directory; needs the extra `tensorboard`.

    Args:
        run_path: the run directory; from the run.
        resumed: whether its training goes on; one that begins anew removes what was there; from the run.
        flush_seconds: between two writes to disk.
    """

    extra: ClassVar = "tensorboard"
    packages: ClassVar = ("tensorboard",)

    def __init__(self, run_path: Path, resumed: bool, *, flush_seconds: Annotated[float, Gt(0)]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.flush_seconds = flush_seconds
        folder = run_path / "tensorboard"
        if not resumed:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), flush_secs=int(flush_seconds) or 1)

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def opened(
    config: Mapping[str, Any], run_path: Path, watcher: Logger | None, *, quiet: bool, resumed: bool
) -> Iterator[Sequence[Logger]]:
    """The loggers of a command, open; before training one that cannot be opened is refused, later none is.

    None on ranks but the first, which tells of all.

    Args:
        watcher: one more, of whoever started the command.
        resumed: whether the run was there before; its trackers then go on with what they have of it.
    """
    facts = {"quiet": quiet, "run_path": run_path, "config": config, "resumed": resumed}
    if not ranks.first():
        yield []
        return
    loggers: list[Logger] = [] if watcher is None else [watcher]
    try:
        for name, node in config["logger"].items():
            key = f"logger.{name}"
            try:
                loggers.append(Tolerated(key, configs.build(node, key, Logger, config["trust"], facts)))
            except RequestError:
                raise
            except Exception as error:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise RequestError(
                    f"{key}: {what}; mend it, or train without it (logger=[console])"
                ) from error
        yield loggers
    finally:
        for logger in loggers:
            logger.close()
