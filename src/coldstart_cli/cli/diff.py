"""`coldstart diff`: how two runs differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError, suggestion
from coldstart_cli.files.durable import flat, read_json
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.reports import comparison_table
from coldstart_cli.runs.run import Run


def diff(arguments: Sequence[str]) -> int:
    """`coldstart diff RUN RUN [--json]`: where two configurations, environments and budgets differ.

    Raises:
        RequestError: unless two runs are named.
    """
    paths = [Path(a) for a in arguments if not a.startswith("-")]
    unknown = [a for a in arguments if a.startswith("-") and a not in ("--json", "--debug")]
    if unknown:
        raise RequestError(f"{unknown[0]}: there is no such flag; {suggestion(unknown[0], ['--json'])}")
    if len(paths) != 2:
        raise RequestError(f"diff: takes two run directories, not {len(paths)}; coldstart diff RUN RUN")
    with shaped("diff", f"{paths[0]} or {paths[1]}"):
        sides = [_facts(path) for path in paths]
    keys = dict.fromkeys(key for side in sides for key in side)
    missing = "(absent)"
    found = {
        key: [side.get(key, missing) for side in sides]
        for key in keys
        if sides[0].get(key, missing) != sides[1].get(key, missing)
    }
    if "--json" in arguments:
        print(json.dumps({"runs": [str(path) for path in paths], "differs": found}))
    else:
        comparison_table.show_difference([str(path) for path in paths], found)
    return 0


def _facts(path: Path) -> dict[str, Any]:
    """Flat keys: the config as it is, then what the run met and spent."""
    run = Run(path)
    state = run.state
    environment = read_json(path / "environment.json", "diff")
    environment.pop("command_line", None)
    kept: dict[str, Any] = {key: state[key] for key in ("state", "steps", "best_step") if key in state}
    return {**flat(run.config), **flat(environment, "environment."), **flat(kept, "run.")}
