"""An evaluation on disk as a person is shown it, judged by the budget that is asked for now. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from coldstart_cli.errors import JobError
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.metrics.budgets import Budget
from coldstart_cli.metrics.numbers import told_apart
from coldstart_cli.reports import evaluation_table, plots
from coldstart_cli.runs.run import Run

Show = Literal["report", "path", "nothing"]
"""What is printed of an evaluation: all, the run directory alone, or nothing, for a caller from Python."""

FINISHED = "{} is finished; this is its result (again=true trains anew)"


def show(run: Run, name: str, budget: Budget, *, show: Show) -> str:
    """Prints an evaluation from its files, or as much of it as is asked for.

    Returns:
        One line for a sweep's table.

    Raises:
        JobError: where a limit is broken and the budget is to be enforced.
    """
    found = run.summary(name)
    with shaped("run", run.evaluation(name) / "summary.json"):
        summary = replace(found, budgets=budget.verdicts(found.costs))
        told = evaluation_table.headline(summary)
        if show == "report":
            evaluation_table.show(summary)
    if show == "path":
        print(run.path)
    elif show == "report":
        print(f"\nRun directory: {run.path}")
        drawn = [file for file in plots.files(name) if (run.path / "plots" / file).exists()]
        if drawn:
            print(f"Curves: {run.path}/plots/ ({', '.join(drawn)})")
        print("Next:")
        print(f"  coldstart evaluate run={run.path} 'evaluation.k_shots=[1,2,3,5]'")
        print("  coldstart train -m strategy=maml,anil,protonet,finetune   # others, on the same tasks")
        print("  coldstart compare outputs                                 # all of them beside one another")
    if summary.broken and budget.enforce:
        verdicts = [(key, summary.budgets[key]) for key in summary.broken]
        raise JobError(
            "; ".join(
                "evaluation.budget.{}: {} is above {}".format(
                    key, *told_apart(verdict.measured, verdict.limit)
                )
                for key, verdict in verdicts
            )
            + f"; raise the limit, or choose a smaller model ({run.path} is kept)"
        )
    return told
