"""`coldstart data check`, `fetch` and `verify`: the data that a run would use, and published data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Namespace, Parser, Words, values_of
from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.datasets.audit.findings import DataAudit
    from coldstart_cli.datasets.audit.one_task import TaskAudit


def add(program: Parser) -> None:
    """The commands, their flags and words."""
    data = program.command(
        "data",
        None,
        "leaks in the data of a run; published data sets",
        examples=("coldstart data check dataset=NAME",),
    )
    check = data.command(
        "check",
        run_check,
        "leaks in the data a run would use: support, query, classes, duplicates",
        "The words are those of train. Exit code 1 where something was found.",
        examples=(
            "coldstart data check dataset=omniglot dataset.root=path/to/omniglot",
            "coldstart data check dataset=text dataset.root=intents.csv model=minilm_frozen",
            "coldstart data check --adapt dataset=text dataset.root=my.csv model=minilm_frozen",
        ),
    )
    check.key_values(Words(plans=("train",)))
    check.flag(
        "--tasks",
        metavar="200",
        type=_n_tasks,
        help="tasks of each kind; default 200, fewer of large ones",
    )
    check.flag(
        "--adapt",
        action="store_true",
        help="check the data as the one task that adapt learns from: duplicates, conflicts, small classes",
    )
    check.flag("--json", action="store_true", help="print JSON")
    check.config_dir()
    fetch = data.command(
        "fetch",
        run_fetch,
        "download a published data set, checked by its digest",
        examples=("coldstart data fetch dataset=omniglot dataset.root=data/omniglot",),
    )
    verify = data.command(
        "verify",
        run_verify,
        "whether files are those that were published; downloads nothing",
        examples=("coldstart data verify dataset=omniglot dataset.root=data/omniglot",),
    )
    for command in (fetch, verify):
        command.key_values(Words(own=_published, composes=False))


def _n_tasks(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise RequestError(f"--tasks: {text!r} is not a number of tasks; write --tasks 200")
    return int(text)


def _published() -> tuple[Key, ...]:
    from coldstart_cli.datasets.readers.download import PUBLISHED

    return (
        Key("dataset", " | ".join(PUBLISHED), "NAME", "which data set", choices=tuple(PUBLISHED)),
        Key("dataset.root", "text", "null", "the folder of its files; null: the cache folder"),
    )


def run_check(arguments: Namespace) -> int:
    """Composes as `train` does, audits, prints.

    Returns:
        0, or 1 where there is a leak, or in one task something to look at.

    Raises:
        RequestError: for a config that `train` would refuse because of its data.
    """
    streams.set_up()
    from coldstart_cli.config import composition

    found: list[DataAudit | TaskAudit] = []

    def job(config: Mapping[str, Any]) -> None:  # a key that is misspelt is found before torch is imported
        from coldstart_cli.experiment.data_check import audited, task_checked

        if arguments.adapt:
            found.append(task_checked(config))
            return
        found.append(audited(config, n_tasks=arguments.tasks, show_read=not arguments.json))

    overrides = [*composition.search_path(arguments.config_dir), *arguments.overrides]
    composition.run_jobs(overrides, [], job)
    from coldstart_cli.datasets.audit.one_task import TaskAudit
    from coldstart_cli.reports import audit_table

    summary = found[0]
    if arguments.json:
        from coldstart_cli.metrics.json_edge import to_json

        emit(json.dumps(to_json(summary), indent=2) + "\n")
    elif isinstance(summary, TaskAudit):
        audit_table.show_task(summary)
    else:
        audit_table.show(summary)
    return 1 if (summary.n_found if isinstance(summary, TaskAudit) else summary.n_leaks) else 0


def run_fetch(arguments: Namespace) -> int:
    """Downloads what is missing; prints a line for each file."""
    from coldstart_cli.datasets.readers import download

    emit("".join(f"{path}\n" for path in download.fetch(*_named("fetch", arguments)).values()))
    return 0


def run_verify(arguments: Namespace) -> int:
    """Prints a line for each file that is the publisher's."""
    from coldstart_cli.datasets.readers import download

    emit("".join(f"{told}\n" for told in download.verify(*_named("verify", arguments))))
    return 0


def _named(command: str, arguments: Namespace) -> tuple[str, str | None]:
    """The data set, and its folder or None for the cache."""
    values = values_of(f"data {command}", arguments.overrides, _published(), needed=("dataset",))
    root = values.get("dataset.root")
    return values["dataset"], None if root in (None, "", "null") else root
