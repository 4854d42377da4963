"""What every contestant reached on every task, as one flat table: for a paired test of a reader's own."""

from __future__ import annotations

from collections.abc import Sequence

from coldstart_cli.comparison.contestants import settings_of
from coldstart_cli.comparison.results import Result
from coldstart_cli.safe_text import csv_text


def csv_of_tasks(results: Sequence[Result]) -> str:
    """A row for each new task, contestant, seed and k: the headline after adaptation.

    Names are those of the comparison. Rows of equal k, task and hash are of the same support and query set.
    """
    return csv_text(
        [
            {
                "dataset": member.results[0].summary.names.dataset,
                "n_way": member.results[0].summary.n_way,
                "metric": member.results[0].summary.headline,
                "k": k,
                "contestant": member.name,
                "baseline": member.baseline,
                "seed": seed,
                "task": "".join(task.split()[:-1]),
                "hash": task.split()[-1],
                "origin": origin,
                "value": shot.adapted[task],
            }
            for members in settings_of(results)
            for member in members
            for k, by_seed in member.shots.items()
            for seed, shot in sorted(by_seed.items())
            for tasks in [sorted(shot.adapted)]
            for task, origin in zip(tasks, shot.origins(tasks), strict=True)
        ]
    )
