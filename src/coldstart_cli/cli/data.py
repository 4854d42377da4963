"""`coldstart data check`: a leak audit of the data set that a run with these overrides would use.

Nothing heavy is imported before the arguments are known to be good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coldstart_cli.cli.output import emit
from coldstart_cli.errors import RequestError

ACTIONS = ("check",)  # fetch and verify are datasets/readers/download.py


@dataclass(frozen=True, slots=True)
class Request:
    """Flags of `data check` that no other command has. n_tasks: None where it is not said."""

    as_json: bool
    n_tasks: int | None


def parse(arguments: Sequence[str]) -> tuple[Request, list[str]]:
    """The request, and the arguments that belong to the composition.

    Raises:
        RequestError: where it is not said what to do, or --tasks is no number.
    """
    if not arguments or arguments[0] not in ACTIONS:
        what = arguments[0] if arguments else ""
        wrong = f"{what!r} is nothing it does" if what else "it is not said what to do"
        raise RequestError(f"data: {wrong}; write coldstart data check dataset=NAME")
    as_json, n_tasks, others = False, None, []
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--json":
            as_json = True
        elif name == "--tasks":
            n_tasks = _whole(value if equals else next(rest, ""))
        else:
            others.append(argument)
    return Request(as_json, n_tasks), others


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise RequestError(f"--tasks: {text!r} is no number of tasks; write --tasks 200")
    return int(text)


def check(overrides: Sequence[str], request: Request) -> int:
    """Composes as `train` does, audits, prints.

    Returns:
        0, or 1 where there is a leak.

    Raises:
        RequestError: for a config that `train` would refuse because of its data.
    """
    from coldstart_cli.config import composition
    from coldstart_cli.experiment.data_check import audited
    from coldstart_cli.reports import audit_table

    found: list[dict[str, Any]] = []

    def job(config: Mapping[str, Any]) -> None:
        found.append(audited(config, n_tasks=request.n_tasks, show_read=not request.as_json))

    composition.run_jobs(overrides, [], job)
    summary = found[0]
    if request.as_json:
        emit(json.dumps(summary, indent=2) + "\n")
    else:
        audit_table.show(summary)
    return 1 if summary["n_leaks"] else 0
