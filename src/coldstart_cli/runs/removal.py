"""Run directories removed: whole, unless a process is at one or it holds what no run does.

Links are removed and never followed. run.json goes first, so that it is no run any more, config.yaml and
environment.json last, so that what an interruption leaves can be removed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL, remove
from coldstart_cli.files.locks import held, is_held
from coldstart_cli.runs.run import FAILURE, LOCK

MARKS = ("config.yaml", "environment.json")
"""With run.json, what every run has: two of the three are enough, since one may be lost."""
KNOWN = frozenset((
    *MARKS, LOCK, FAILURE, "run.json", "history.jsonl", "timings.jsonl", "checkpoints", "evaluations",
    "plots", "trackers.json", "tensorboard", "wandb",
))  # fmt: skip
"""All that a run and its loggers write into its directory."""


def check_removable(path: Path) -> None:
    """Refuses what is not a run directory and nothing else, and one that a process is at.

    Raises:
        RequestError: naming the place and what is there.
    """
    if path.is_symlink():
        raise RequestError(f"rm: {path} is a link; name the run that it leads to")
    if not path.is_dir() or sum((path / name).is_file() for name in (*MARKS, "run.json")) < 2:
        raise RequestError(f"rm: {path} is not a run directory; name those that coldstart runs lists")
    if is_held(path / LOCK):
        raise RequestError(f"rm: {path} is in progress; stop that first")
    foreign = sorted(
        place.name for place in path.iterdir() if place.name not in KNOWN and not place.name.endswith(PARTIAL)
    )
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise RequestError(
            f"rm: {path} holds what no run writes ({', '.join(foreign[:3])}{more}); move it elsewhere first"
        )


def remove_run(path: Path) -> None:
    """Removes a run directory.

    Raises:
        RequestError: where it is none, a process is at it, or the system refuses.
    """
    check_removable(path)
    try:
        with held(path / LOCK, lambda process: f"rm: {path} is in progress; stop process {process} first"):
            for place in _in_order(path):
                remove(place)
            remove(path / LOCK)
        path.rmdir()
    except OSError as error:
        raise RequestError(f"rm: {path} cannot be removed ({error.strerror}); remove it yourself") from error


def _in_order(path: Path) -> Sequence[Path]:
    first, last = path / "run.json", [path / name for name in MARKS]
    rest = [place for place in path.iterdir() if place not in (first, *last) and place.name != LOCK]
    return [first, *sorted(rest), *last]
