"""Sweeps: every point is checked before the first job runs, and one that fails does not stop the others."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from coldstart_cli import commands, composition
from coldstart_cli.assembly import assemble
from coldstart_cli.errors import JobError, RequestError, Unserved


def run(overrides: Sequence[str], options: commands.Options) -> int:
    """Runs all points by Hydra's launcher and prints a table of their results.

    A method that cannot serve the task has the reason in its row.

    Returns:
        0, or 3 where some jobs failed.

    Raises:
        RequestError: at the first point that cannot run, before any has run.
    """
    labels: list[str] = []
    refused: list[Unserved] = []
    varied = _varied(overrides)
    for point, config in composition.points(overrides):
        label = " ".join(o for o in point if o.split("=")[0] in varied)
        try:
            assemble(config)
        except Unserved as error:  # a stated result of the sweep, not a mistake in it
            refused.append(error)
        except RequestError as error:
            raise RequestError(f"{error} (in the job {label})") from error
        labels.append(label)
    if len(refused) == len(labels):
        raise refused[0]
    rows: list[tuple[str, str]] = []
    failed = 0

    def job(config: composition.Config) -> None:
        nonlocal failed
        label = labels[len(rows)] if len(rows) < len(labels) else f"job {len(rows)}"
        if not options.quiet:
            print(f"\n[{len(rows) + 1}/{len(labels)}] {label}", file=sys.stderr)
        try:
            rows.append((label, commands.train(config, options)))
        except Unserved as error:
            rows.append((label, f"not served: {error}"))
        except (RequestError, JobError) as error:
            failed += 1
            rows.append((label, f"failed: {error}"))
        except Exception as error:
            failed += 1
            traceback.print_exc()
            rows.append((label, f"failed: {type(error).__name__}: {' '.join(str(error).split())}"))

    composition.run_jobs(overrides, ["-m"], job)
    width = max(len(label) for label, _ in rows)
    print(f"\n{len(rows)} jobs, {failed} failed" + (f", {len(refused)} not served" if refused else ""))
    for label, result in rows:
        print(f"  {label:<{width}}  {result}")
    return 3 if failed else 0


def _varied(overrides: Sequence[str]) -> set[str]:
    """The keys that take more than one value, as their text shows; all where none does."""
    keys = {o.split("=")[0] for o in overrides}
    several = {o.split("=")[0] for o in overrides if "," in o or "(" in o}
    return several or keys
