"""Runs as a person reads them in a terminal: a table of many, or one in full; and both as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console

from coldstart_cli.files.durable import finite
from coldstart_cli.files.sizes import n_bytes, written_size
from coldstart_cli.metrics.json_edge import to_json
from coldstart_cli.metrics.numbers import UNKNOWN, duration
from coldstart_cli.reports import evaluation_table
from coldstart_cli.reports.footnotes import numbers_of
from coldstart_cli.reports.html.tables import written
from coldstart_cli.reports.plain_text import plain, terminal
from coldstart_cli.runs.listing import Listed
from coldstart_cli.runs.states import GOING_ON, STATES

HEADS = ("run", "state", "result", "seed", "started", "training", "size")
RIGHT = ("seed", "training", "size")
NAMES = ("strategy", "dataset", "model")
PARTS = ("strategy", "model", "dataset", "optimizer", "training", "evaluation", "hardware")
"""Of a config, in the order in which they are told in short."""


def show(
    runs: Sequence[Listed], every: Sequence[Listed], *, commands: bool, console: Console | None = None
) -> None:
    """Prints a row for each run, and what there is to say of those that are not finished.

    Args:
        every: of which `runs` passed the filters.
        commands: also print what continues each.
    """
    console = console or terminal()
    for line in _lines(runs, console.width):
        console.print(plain(line), soft_wrap=True)
    if runs:
        console.print()
    for run in runs:
        for line in _remarks(run, commands=commands):
            console.print(plain(line), soft_wrap=True)
    console.print(plain(_total(runs, every)), soft_wrap=True)


def _lines(runs: Sequence[Listed], width: int) -> Iterator[str]:
    """A line for each, or two where the terminal is too narrow for one: nothing is cut."""
    rows = [HEADS, *map(_cells, runs)] if runs else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    in_one = sum(widths) + 2 * len(widths) <= width
    for row in rows:
        cells = [
            cell.rjust(size) if head in RIGHT else cell.ljust(size)
            for head, cell, size in zip(HEADS, row, widths, strict=True)
        ]
        if in_one:
            yield "  ".join(cells).rstrip()
        else:
            yield from (row[0], f"  {'  '.join(cells[1:]).rstrip()}")


def _total(runs: Sequence[Listed], every: Sequence[Listed]) -> str:
    """How many there are, how they stand, what they take; of none, what there would have been."""
    if not every:
        return "no run"
    if not runs:
        there = [
            f"{key} {', '.join(sorted({run.names.get(key, UNKNOWN) for run in every}))}" for key in NAMES
        ]
        return f"none of {len(every)} runs; they have {'; '.join(there)}"
    counts = Counter(run.state for run in runs)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    of = f" of {len(every)}" if len(runs) < len(every) else ""
    total = written_size(sum(run.n_bytes for run in runs))
    return f"{len(runs)}{of} run{'' if len(every) == 1 else 's'}: {states}, {total}"


def _cells(run: Listed) -> tuple[str, ...]:
    seconds = UNKNOWN if run.seconds is None else f"{duration(run.seconds)} s"
    return (str(run.path), run.state, _result(run), UNKNOWN if run.seed is None else str(run.seed),
            _when(run) or UNKNOWN, seconds, written_size(run.n_bytes))  # fmt: skip


def _result(run: Listed) -> str:
    """`k=5 accuracy 95.2 ± 1.2`, of the largest k."""
    if run.summary is None or run.headline is None:
        return UNKNOWN
    k, after = run.headline
    return f"k={k} {run.summary.headline} {numbers_of(run.summary).interval(after)}"


def _when(run: Listed) -> str | None:
    if run.started is None:
        return None
    return datetime.fromtimestamp(run.started).isoformat(sep=" ", timespec="minutes")


def _remarks(run: Listed, *, commands: bool) -> Iterator[str]:
    if run.why:
        yield f"{run.path}: {run.state}: {run.why}"
    if run.command and (commands or run.state in GOING_ON):
        yield f"{run.path}: {'goes on by' if run.state in GOING_ON else 'made by'} {run.command}"


def show_one(run: Listed, console: Console | None = None) -> None:
    """Prints how a run stands, its newest evaluation, its config in short, its files and its command."""
    console = console or terminal()

    def say(text: str, style: str = "") -> None:
        console.print(plain(text, style), soft_wrap=True)

    facts = [f"started {when}" for when in (_when(run),) if when]
    facts += [] if run.seconds is None else [f"{duration(run.seconds)} s of training"]
    say(f"{run.path}: {run.state} ({run.why or STATES[run.state]})", "bold")
    say(", ".join([*facts, written_size(run.n_bytes)]))
    if run.summary is not None:
        evaluation_table.show(run.summary, console)
        if len(run.evaluations) > 1:
            say(f"The newest of {len(run.evaluations)} evaluations: {', '.join(run.evaluations)}")
    say("")
    for part, told in _in_short(run.settings):
        say(f"{part:<10} {told}")
    say("")
    for name, size in _files(run).items():
        say(f"{written_size(size):>10}  {name}")
    if run.command:
        say("")
        say(f"{'Goes on by' if run.state in GOING_ON else 'Made by'}: {run.command}")


def _in_short(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A line for each part of the config: those of its values that are set."""
    for part in PARTS:
        own = {k.removeprefix(f"{part}."): v for k, v in settings.items() if k.startswith(f"{part}.")}
        kept = {key: v for key, v in own.items() if v is not None and not key.endswith("_target_")}
        told = " ".join(f"{key}={written(value)}" for key, value in kept.items())
        name = settings.get(f"names.{part}")
        if own:
            yield part, ": ".join(text for text in (str(name) if name else "", told) if text)


def _files(run: Listed) -> dict[str, int]:
    """What lies in the directory, and in its evaluations, with sizes."""
    found: dict[str, int] = {}
    for place in sorted(run.path.iterdir()):
        inside = sorted(place.iterdir()) if place.name == "evaluations" and place.is_dir() else [place]
        for path in inside:
            name = str(path.relative_to(run.path)) + ("/" if path.is_dir() else "")
            found[name] = n_bytes(path)
    return {name: size for name, size in found.items() if name != ".lock"}


def as_json(run: Listed) -> dict[str, Any]:
    """A run of the list as JSON values."""
    summary = run.summary
    results = {} if summary is None else {k: shot.new.after for k, shot in summary.shots.items()}
    value = {
        "path": str(run.path),
        "state": run.state,
        "why": run.why or None,
        **{key: run.names.get(key) for key in NAMES},
        "seed": run.seed,
        "metric": None if summary is None else summary.headline,
        "results": {k: {"mean": after.mean, "half_width": after.half_width} for k, after in results.items()},
        "evaluations": run.evaluations,
        "started": _when(run),
        "seconds": run.seconds,
        "bytes": run.n_bytes,
        "command": run.command or None,
    }
    made: dict[str, Any] = finite(value)  # type: ignore[assignment]
    return made


def in_full(run: Listed) -> dict[str, Any]:
    """The same with its files, its config as flat keys, and the summary of its newest evaluation."""
    summary = None if run.summary is None else to_json(run.summary)
    rest: dict[str, Any] = finite({"files": _files(run), "config": dict(run.settings), "summary": summary})  # type: ignore[assignment]
    return {**as_json(run), **rest}
