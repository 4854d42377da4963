"""A sweep while it runs: a live table on a terminal, a line for each beginning and end elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coldstart_cli.reports.plain_text import plain
from coldstart_cli.sweeps.launcher import Job

STYLES = {"done": "green", "failed": "red", "running": "cyan", "not served": "yellow", "waiting": "dim"}


class SweepView:
    """On standard error.

    Args:
        quiet: say nothing.
        console: for tests.
    """

    def __init__(self, quiet: bool, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, emoji=False)
        self.quiet, self._drawn = quiet, 0.0
        self._live: Live | None = None

    def __enter__(self) -> SweepView:
        if self.console.is_terminal and not self.quiet:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def changed(self, jobs: Sequence[Job], job: Job | None) -> None:
        """Draws the table a few times a second, or prints what began or ended."""
        if self.quiet:
            return
        if self._live is not None:
            if job is not None or time.monotonic() - self._drawn > 0.25:
                self._drawn = time.monotonic()
                self._live.update(self.table(jobs), refresh=True)
        elif job is not None:
            ended = sum(j.state not in ("waiting", "running") for j in jobs)
            said = f": {job.result}" if job.result else ""
            print(f"[{ended}/{len(jobs)}] {job.label} {job.state}{said}", file=sys.stderr, flush=True)

    def table(self, jobs: Sequence[Job]) -> Table:
        """The running jobs, the last that ended and how many wait, as many lines as the terminal has."""
        table = Table(box=None, pad_edge=False)
        for name in ("job", "state", "", "seconds"):
            table.add_column(name, no_wrap=True, overflow="ellipsis")
        room = max(3, self.console.height - 4)
        running = [job for job in jobs if job.state == "running"]
        ended = [job for job in jobs if job.state not in ("waiting", "running")]
        for job in [*ended[max(0, len(ended) - room + len(running)) :], *running]:
            what = job.progress if job.state == "running" else job.result
            table.add_row(
                plain(job.label), Text(job.state, style=STYLES[job.state]), plain(what), f"{job.seconds:.0f}"
            )
        waiting = len(jobs) - len(running) - len(ended)
        table.add_row(f"{len(ended)} of {len(jobs)} ended, {waiting} waiting", "", "", "")
        return table
