"""A progress bar and learning curves in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Gt
from rich.console import Console as Terminal
from rich.console import ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from coldstart_cli.files.durable import read_jsonl
from coldstart_cli.loggers.curve import LABEL, Series, panel
from coldstart_cli.metrics.names import VALIDATION
from coldstart_cli.safe_text import printable


class Console:
    """A progress bar and learning curves on a terminal, plain lines elsewhere; both on standard error.

    Args:
        quiet: print nothing; from the run.
        run_path: the run directory, whose history is shown when a training continues; from the run.
        every_seconds: time between two plain lines.
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
        # A dumb terminal, such as an editor's shell, cannot move the cursor to redraw.
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
        """Does nothing: the report shows the numbers."""

    def close(self) -> None:
        """Removes the bar; the curves stay on the screen."""
        if self._live is not None:
            live, self._live, self._progress = self._live, None, None
            live.stop()
            # `transient` has removed the display; the curves are printed once more, to stay.
            live.console.print(self._curves)
        self._curves = _Curves(0, 0)

    def _shown(self) -> str:
        return "  ".join(f"{printable(name)} {value:.4g}" for name, value in self._values.items())


class _Curves:
    """What the terminal redraws a few times a second: the metric of training, and of validation beside it.

    The first of a step's metrics is shown, and of phases with metrics of their own the latest.
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
        # At least 40 columns for a curve; the last ones, so that validation is kept.
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
