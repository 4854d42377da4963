"""An evaluation beside training, by the image: `python -m benchmarks.evaluating [--write]`."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks import page
from coldstart_cli.bench import measuring, rows
from coldstart_cli.bench.rows import Case
from coldstart_cli.evaluation.scoring import scored_together
from coldstart_cli.tracing import replays

STEPS, N_TASKS = (0, 1, 5, 10), 64


def evaluation(case: Case, *, replayed: bool) -> None:
    """Adapts to tasks and scores them; not replayed, as where adaptation cannot be recorded."""
    drawn = case.source.source.tasks("new", range(N_TASKS))
    replays.switch(replayed)
    list(scored_together(case.strategy, drawn, STEPS, case.hardware, beside=False))


def section() -> str:
    row = next(row for row in rows.ROWS if row.name == "FOMAML, 16 tasks")
    case = rows.built(row, ["hardware=cpu"])
    sides = {
        "as written": partial(evaluation, case, replayed=False),
        "evaluation": partial(evaluation, case, replayed=True),
        "training": case.step(),
    }
    times = measuring.interleaved(sides, 20.0, least=3, hardware=case.hardware)
    (task, *_), (other, *_) = case.source.source.tasks("new", range(1)), case.source.drawn
    n_evaluated = N_TASKS * (max(STEPS) * len(task.support) + len(STEPS) * len(task.query) / 3)
    n_trained = len(case.source.drawn) * (len(other.support) + len(other.query))
    images = {"as written": n_evaluated, "evaluation": n_evaluated, "training": n_trained}
    each = {side: measuring.spread([1e3 * t / images[side] for t in ts]) for side, ts in times.items()}
    lines = ["| | ms an image | times training's |", "| --- | ---: | ---: |"]
    for side, title in (
        ("training", "a step of FOMAML, 16 tasks"),
        ("evaluation", f"an evaluation of {N_TASKS} tasks"),
        ("as written", "the same, nothing replayed"),
    ):
        ms, ratio = each[side], each[side].middle / each["training"].middle
        lines.append(f"| {title} | {ms.middle:.3f} ({ms.low:.3f}-{ms.high:.3f}) | {ratio:.2f} |")
    words = (
        f"5-way 1-shot, {len(task.query)} queries, Conv4, {max(STEPS)} steps on {len(task.support)} images, "
        f"scored after {', '.join(map(str, STEPS))}. An image that passes forward alone counts a third of "
        "one that is differentiated; recording one task and computing the next both ways is in the time."
    )
    return "\n\n".join(["## Evaluation", words, "\n".join(lines)])


if __name__ == "__main__":
    page.show("evaluating", section(), "--write" in sys.argv)
