"""What the runs of a comparison were: configurations and environments, with what they share said once."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from coldstart_cli.comparison.findings import Comparison, RunFacts
from coldstart_cli.files.durable import flat
from coldstart_cli.reports.html.tables import Table, written

Values = Mapping[str, Any]
"""Of a config or an environment: flat keys and what they hold."""


def shared(maps: Sequence[Values]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The entries that all of some dicts have in common, and of each the others."""
    common = {
        key: value
        for key, value in (maps[0] if maps else {}).items()
        if all(key in other and other[key] == value for other in maps)
    }
    return common, [{key: value for key, value in row.items() if key not in common} for row in maps]


def settings(comparison: Comparison) -> tuple[Table, Table]:
    """What tells contestants from the first run, and what tells a contestant's runs from one another."""
    members: dict[str, list[RunFacts]] = {}
    for run in comparison.runs:
        members.setdefault(run.contestant, []).append(run)
    contestants, runs = [], []
    for name, own in members.items():
        # What all runs of a contestant share is its settings; the rest, such as the seed, is the run's.
        common, rest = shared([run.differs for run in own])
        contestants.append([name, _lines(common)])
        for run, differs in zip(own, rest, strict=True):
            runs.append([run.path, name, written(run.seed), _lines(differs), _lines(run.state),
                         _command(run.environment)])  # fmt: skip
    return (
        Table("Contestants", ["contestant", "settings"], contestants, (0, 1)),
        Table(
            "Runs",
            ["run", "contestant", "seed", "settings of its own", "state", "command line"],
            runs,
            range(6),
        ),
    )


def environments(comparison: Comparison) -> tuple[Table, Table | None]:
    """What all runs had in common, and groups of runs that differ in the rest; None with one group."""
    known = [flat(run.environment) for run in comparison.runs]
    # A run's own words stand beside the run; here they would make every run a group of its own.
    for environment in known:
        environment.pop("command_line", None)
    common, rest = shared(known)
    table = Table(
        "All runs", ["of the environment", "value"], [[k, written(v)] for k, v in common.items()], (0, 1)
    )
    groups: dict[str, list[str]] = {}
    for run, own in zip(comparison.runs, rest, strict=True):
        groups.setdefault(_lines(own), []).append(run.path)
    if len(groups) < 2:
        return table, None
    rows = [[own, str(len(paths)), "\n".join(paths)] for own, paths in groups.items()]
    return table, Table("Where they differ", ["of the environment", "runs", "which"], rows, (0, 2))


def _lines(entries: Values) -> str:
    return "\n".join(f"{key}: {written(value)}" for key, value in flat(entries).items()) or "–"


def _command(environment: Values) -> str:
    words = environment.get("command_line")
    return shlex.join(map(str, words)) if words else "–"
