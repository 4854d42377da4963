"""The table of jobs while a sweep runs."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.sweeps.launcher import Job
from coldstart_cli.sweeps.live_table import SweepView


def test_the_live_table_shows_running_jobs_and_escapes_names() -> None:
    import io

    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=8, color_system=None)
    jobs = [
        Job(f"seed={i}", {}, Path(f"r{i}"), Path("log"), "done" if i < 9 else "running", "[red]k=1\x1b[31m")
        for i in range(10)
    ] + [Job("seed=10", {}, Path("r"), Path("log"))]
    jobs[9].progress = "training 3/10, validation accuracy 0.5"
    console.print(SweepView(False, console).table(jobs))
    text = out.getvalue()
    assert "training 3/10" in text and "9 of 11 ended, 1 waiting" in text
    assert "seed=0 " not in text and "[red]k=1" in text and "\x1b[31m" not in text
