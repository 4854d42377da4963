"""The evaluation loop: every contestant adapts to the same tasks at every k; validation tasks choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Len, Lt

from coldstart_cli.core.tasks import Split, Strategy, Task, TaskShape, TaskSource
from coldstart_cli.evaluation.baselines import Baselines
from coldstart_cli.evaluation.scoring import scored_together
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.metrics import measures
from coldstart_cli.metrics.budgets import BATCH, Budget
from coldstart_cli.metrics.records import Record, Score, labelled
from coldstart_cli.processes import ranks
from coldstart_cli.processes.signals import StopOnSignal


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPlan:
    """What is asked of a trained strategy, and of the baseline beside it.

    Attributes:
        n_tasks: new tasks, and as many held-out source tasks.
        n_way, n_query, n_unlabelled: their shape, or None for the data set's.
        k_shots: labels for each class (regression: for each task); one evaluation for each. At 0 there
            is no baseline: it would have nothing to learn from.
        beyond: whether numbers of shots that the data cannot serve are refused, or left out and named.
        steps: adaptation steps at which the strategy is scored; the one reported is the best on
            validation tasks.
        baseline_steps: the same for the baseline.
        baseline_search: values of the baseline's hyper-parameters to choose from on validation tasks.
        n_selection_tasks: validation tasks that choose.
        reuse_baseline: whether records of the baseline may come from an earlier run that measured the same.
        confidence: of the intervals.
        coverage: probability that a prediction set is to hold.
        batch_sizes: batches whose inference time is measured.
        timed_calls: calls of each at least, after a warm-up.
        timed_seconds: each is called until its calls have taken as long, in seconds.
        budget: limits on what the predictor may cost.

    Raises:
        ValueError: where a limit needs a batch size that is not measured.
    """

    n_tasks: Annotated[int, Ge(2)]
    n_way: Annotated[int, Ge(2)] | None
    n_query: Annotated[int, Ge(1)] | None
    n_unlabelled: Annotated[int, Ge(0)] | None
    k_shots: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    beyond: Literal["refuse", "leave_out"]
    steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_search: dict[str, Annotated[list[float], Len(1)]]
    n_selection_tasks: Annotated[int, Ge(2)]
    reuse_baseline: bool
    confidence: Annotated[float, Gt(0), Lt(1)]
    coverage: Annotated[float, Gt(0), Lt(1)]
    batch_sizes: Annotated[list[Annotated[int, Ge(1)]], Len(1)]
    timed_calls: Annotated[int, Ge(10)]
    timed_seconds: Annotated[float, Gt(0)]
    budget: Budget

    def __post_init__(self) -> None:
        timed = sorted({"p50_ms", "p95_ms"} & self.budget.limits.keys())
        if timed and BATCH not in self.batch_sizes:
            raise ValueError(f"batch_sizes: lacks {BATCH}, for which budget.{timed[0]} is meant; add it")


def evaluate(
    contestants: Mapping[str, Mapping[str, Strategy]],
    source: TaskSource,
    plan: EvaluationPlan,
    hardware: Hardware,
    loggers: Sequence[Logger],
    stop: StopOnSignal,
    *,
    trained_on_source: bool,
    baselines: Baselines | None,
) -> tuple[list[Record], dict[str, dict[int, tuple[str, int]]]]:
    """Adapts every contestant to the same tasks, for every k.

    Args:
        contestants: role (`strategy`, `baseline`) -> variant -> strategy; validation tasks choose the
            variant and the adaptation step of each role.
        trained_on_source: whether the strategy was trained on this source; only then are there held-out
            examples of its training classes.
        baselines: where records of the baseline may come from.

    Returns:
        The records, and what was chosen: role -> k_shot -> (variant, step).
    """
    chosen: dict[str, dict[int, tuple[str, int]]] = {role: {} for role in contestants}
    records: list[Record] = []
    jobs = list(_jobs(contestants, source, plan, trained_on_source))
    for logger in loggers:
        logger.start("evaluating", sum(_n_adaptations(job, contestants) for job in jobs), 0)
    done = 0
    for job in jobs:
        variants = contestants[job.role]
        if job.split != "validation":  # the choice has been made by the jobs before
            ours = [r for r in records if (r.role, r.k_shot) == (job.role, job.k_shot)]
            choice = measures.choose(ours, source.objective.higher_is_better)
            chosen[job.role][job.k_shot] = choice
            variants = {choice[0]: variants[choice[0]]}
        for variant, strategy in variants.items():
            for rows in _records(job, variant, strategy, plan, hardware, baselines):
                stop.check()
                records += rows
                done += 1
                for logger in loggers:
                    logger.advance(done)
    return records, chosen


def _n_adaptations(job: _Job, contestants: Mapping[str, Mapping[str, Strategy]]) -> int:
    """All variants meet the validation tasks, the one that was chosen the others."""
    return job.n_tasks * (len(contestants[job.role]) if job.split == "validation" else 1)


def _records(
    job: _Job,
    variant: str,
    strategy: Strategy,
    plan: EvaluationPlan,
    hardware: Hardware,
    baselines: Baselines | None,
) -> Iterator[list[Record]]:
    """The rows of each task of a job. Validation tasks choose by the headline alone: theirs stay short."""
    label = partial(labelled, role=job.role, variant=variant, split=job.split, k_shot=job.k_shot)
    tasks = partial(tasks_of, job.source, job.split, job.n_tasks)
    beside = job.split == "new"
    coverage = None if job.split == "validation" else plan.coverage
    score = partial(
        scored_together, strategy, steps=job.steps, hardware=hardware, beside=beside, coverage=coverage
    )

    def fresh() -> Iterator[list[Score]]:
        return ranks.spread(tasks(), score)

    if baselines is None or job.role != "baseline":
        found = fresh()
    else:
        asked = {"steps": list(job.steps), "beside": beside, "coverage": coverage}
        found = baselines.records(variant, strategy, tasks, asked, fresh)
    for scores in found:
        yield [label(score) for score in scores]


@dataclass(frozen=True, slots=True)
class _Job:
    role: str
    split: Split
    k_shot: int
    source: TaskSource
    n_tasks: int
    steps: Sequence[int]


def _jobs(
    contestants: Mapping[str, object], source: TaskSource, plan: EvaluationPlan, trained_on_source: bool
) -> Iterator[_Job]:
    for k in plan.k_shots:
        shaped = source.with_shape(shape_of(source, plan, k))
        for role in contestants:
            if role == "baseline" and k == 0:
                continue
            steps = plan.steps if role == "strategy" else plan.baseline_steps
            yield _Job(role, "validation", k, shaped, plan.n_selection_tasks, steps)
            if role == "strategy" and source_refusal(source, plan, k, trained_on_source) is None:
                yield _Job(role, "source_test", k, shaped, plan.n_tasks, steps)
            yield _Job(role, "new", k, shaped, plan.n_tasks, steps)


def shape_of(source: TaskSource, plan: EvaluationPlan, k_shot: int) -> TaskShape:
    """The shape of the evaluation's tasks: the plan's where it says, the data set's where it does not."""
    given = {"n_way": plan.n_way, "n_query": plan.n_query, "n_unlabelled": plan.n_unlabelled}
    return replace(
        source.shape, k_shot=k_shot, **{name: value for name, value in given.items() if value is not None}
    )


def served(source: TaskSource, plan: EvaluationPlan) -> tuple[EvaluationPlan, dict[int, str]]:
    """The plan without the shots that the data cannot serve, where it says so, and why they are left out.

    Where they can serve none, the plan as it is: that is a mistake in it, which others refuse.
    """
    if plan.beyond == "refuse":
        return plan, {}
    left_out: dict[int, str] = {}
    for k in plan.k_shots:
        shape = shape_of(source, plan, k)
        reason = source.refusal("new", shape) or source.refusal("validation", shape)
        if reason is not None:
            left_out[k] = reason
    kept = [k for k in plan.k_shots if k not in left_out]
    return (replace(plan, k_shots=kept), left_out) if kept else (plan, {})


def source_refusal(
    source: TaskSource, plan: EvaluationPlan, k_shot: int, trained_on_source: bool
) -> str | None:
    """Why there are no held-out source tasks beside the new ones, or None where there are."""
    if not trained_on_source:
        return "the run was trained on other data"
    return source.refusal("source_test", shape_of(source, plan, k_shot))


def tasks_of(source: TaskSource, split: Split, n: int) -> Iterator[Task]:
    """Tasks 0 to n - 1 of a split, drawn in batches."""
    for start in range(0, n, 32):
        yield from source.tasks(split, range(start, min(start + 32, n)))
