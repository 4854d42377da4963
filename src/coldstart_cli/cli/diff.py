"""`coldstart diff`: how two runs differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coldstart_cli.cli.parsing import Namespace, Parser, a_file
from coldstart_cli.errors import RequestError


def add(program: Parser) -> None:
    """The command's flags."""
    parser = program.command(
        "diff",
        run,
        "how two runs' configurations, environments and budgets differ",
        examples=("coldstart diff outputs/RUN outputs/OTHER_RUN",),
    )
    parser.place("runs", nargs="*", metavar="RUN", type=a_file, help="two run directories")
    parser.flag("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """Prints the keys whose values differ.

    Raises:
        RequestError: unless two runs are named.
    """
    paths = [Path(path) for path in arguments.runs]
    if len(paths) != 2:
        raise RequestError(f"diff: takes two run directories, not {len(paths)}; coldstart diff RUN RUN")
    from coldstart_cli.files.untrusted import shaped
    from coldstart_cli.reports import comparison_table

    with shaped("diff", f"{paths[0]} or {paths[1]}"):
        sides = [_facts(path) for path in paths]
    keys = dict.fromkeys(key for side in sides for key in side)
    missing = "(absent)"
    found = {
        key: [side.get(key, missing) for side in sides]
        for key in keys
        if sides[0].get(key, missing) != sides[1].get(key, missing)
    }
    if arguments.json:
        print(json.dumps({"runs": [str(path) for path in paths], "differs": found}))
    else:
        comparison_table.show_difference([str(path) for path in paths], found)
    return 0


def _facts(path: Path) -> dict[str, Any]:
    """Flat keys: the config as it is, then what the run met and spent."""
    from coldstart_cli.files.durable import flat, read_json
    from coldstart_cli.runs.run import Run

    run = Run(path)
    state = run.state
    environment = read_json(path / "environment.json", "diff")
    environment.pop("command_line", None)
    kept: dict[str, Any] = {key: state[key] for key in ("state", "steps", "best_step") if key in state}
    return {**flat(run.config), **flat(environment, "environment."), **flat(kept, "run.")}
