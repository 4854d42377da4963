"""The evaluation loop: all contestants adapt to the same tasks at every k; validation tasks choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Len, Lt

from coldstart_cli.core.strategy import Strategy
from coldstart_cli.core.tasks import Split, Support, Task, TaskShape, TaskSource
from coldstart_cli.evaluation.baselines import Baselines
from coldstart_cli.evaluation.scoring import Asked, scored_together
from coldstart_cli.hardware import Hardware
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.metrics import measures
from coldstart_cli.metrics.budgets import BATCH, Budget
from coldstart_cli.metrics.records import Record, Score, labelled
from coldstart_cli.processes import ranks
from coldstart_cli.processes.signals import StopOnSignal


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPlan:
    """How a trained strategy, and the baseline beside it, are evaluated.

    Attributes:
        n_tasks: number of new tasks.
        n_source_tasks: number of held-out source tasks, for the gap; None for as many, 0 for none.
        n_way, n_query, n_unlabelled: their shape; None for the data set's.
        k_shots: labels per class (regression: per task); one evaluation for each. At 0 there is no
            baseline, which would have nothing to learn from.
        beyond: whether numbers of shots that the data cannot serve are refused, or left out and listed.
        steps: adaptation steps at which the strategy is scored; the one reported is the best on
            validation tasks, or where these are not like new tasks each new task's own choice.
        baseline_steps: the same for the baseline.
        baseline_search: values of the baseline's hyper-parameters to choose from on validation tasks.
        n_selection_tasks: number of validation tasks for these choices.
        ablate: whether the strategy's own ablations (`Strategy.ablations`) are scored on the new tasks too.
        reuse_baseline: whether records of the baseline may come from an earlier run that measured the same.
        confidence: of the intervals.
        coverage: probability with which a prediction set should hold the right class.
        batch_sizes: batches whose inference time is measured.
        timed_calls: fewest timed calls of each, after a warm-up.
        timed_seconds: seconds that the calls of each have to take together.
        budget: limits on what the predictor may cost.

    Raises:
        ValueError: where a limit refers to a batch size that is not measured, and for one source task.
    """

    n_tasks: Annotated[int, Ge(2)]
    n_source_tasks: Annotated[int, Ge(0)] | None
    n_way: Annotated[int, Ge(2)] | None
    n_query: Annotated[int, Ge(1)] | None
    n_unlabelled: Annotated[int, Ge(0)] | None
    k_shots: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    beyond: Literal["refuse", "leave_out"]
    steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_steps: Annotated[list[Annotated[int, Ge(0)]], Len(1)]
    baseline_search: dict[str, Annotated[list[float], Len(1)]]
    n_selection_tasks: Annotated[int, Ge(2)]
    ablate: bool
    reuse_baseline: bool
    confidence: Annotated[float, Gt(0), Lt(1)]
    coverage: Annotated[float, Gt(0), Lt(1)]
    batch_sizes: Annotated[list[Annotated[int, Ge(1)]], Len(1)]
    timed_calls: Annotated[int, Ge(10)]
    timed_seconds: Annotated[float, Gt(0)]
    budget: Budget

    @property
    def of_source(self) -> int:
        """How many held-out source tasks there are."""
        return self.n_tasks if self.n_source_tasks is None else self.n_source_tasks

    def __post_init__(self) -> None:
        if self.n_source_tasks == 1:
            raise ValueError("n_source_tasks: one task has no interval; give 0, or 2 and more")
        timed = sorted({"p50_ms", "p95_ms"} & self.budget.limits.keys())
        if timed and BATCH not in self.batch_sizes:
            raise ValueError(f"batch_sizes: {BATCH} is missing, to which budget.{timed[0]} refers; add it")


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
            variant and the adaptation step of each role. Where they cannot, as they are not like new tasks,
            each new task chooses the steps of the strategy itself (`step_choice`).
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
        if job.split != "validation" and not job.chooses:  # the choice has been made by the jobs before
            ours = [r for r in records if (r.role, r.k_shot) == (job.role, job.k_shot)]
            choice = measures.choose(ours, source.objective.higher_is_better)
            chosen[job.role][job.k_shot] = choice
            variants = {choice[0]: variants[choice[0]]}
        for variant, strategy in variants.items():
            for rows in _records(job, variant, strategy, plan, hardware, baselines):
                # After every task, so that Ctrl-C need not wait for the others.
                stop.check()
                records += rows
                done += 1
                for logger in loggers:
                    logger.advance(done)
        if job.chooses and job.split == "new":
            chosen[job.role][job.k_shot] = ("", _commonest_step(job, records))
    return records, chosen


def _commonest_step(job: _Job, records: Sequence[Record]) -> int:
    """The step that most new tasks of the job chose for themselves."""
    counts = measures.counted_steps(
        r for r in records if (r.role, r.split, r.k_shot) == (job.role, "new", job.k_shot)
    )
    assert counts is not None, "each new task has chosen"
    return max(counts, key=lambda step: counts[step])


def _n_adaptations(job: _Job, contestants: Mapping[str, Mapping[str, Strategy]]) -> int:
    """All variants adapt to the validation tasks, and only the chosen one to the others."""
    return job.n_tasks * (len(contestants[job.role]) if job.split == "validation" else 1)


def _records(
    job: _Job,
    variant: str,
    strategy: Strategy,
    plan: EvaluationPlan,
    hardware: Hardware,
    baselines: Baselines | None,
) -> Iterator[list[Record]]:
    """The rows of each task of a job; those of validation tasks are short, with the headline metric only."""
    label = partial(labelled, role=job.role, variant=variant, split=job.split, k_shot=job.k_shot)
    tasks = partial(tasks_of, job.source, job.split, job.n_tasks)
    beside = job.split == "new"
    asked = Asked(
        coverage=None if job.split == "validation" else plan.coverage,
        chooses=job.chooses and job.split == "new",
        constant=beside and job.role == "strategy",
        others=_others(job) if plan.ablate and job.role == "strategy" and job.split == "new" else None,
    )
    score = partial(scored_together, strategy, steps=job.steps, hardware=hardware, beside=beside, asked=asked)

    def fresh() -> Iterator[list[Score]]:
        return ranks.spread(tasks(), score)

    if baselines is None or job.role != "baseline":
        found = fresh()
    else:
        key = {"steps": list(job.steps), "beside": beside, "coverage": asked.coverage}
        found = baselines.records(variant, strategy, tasks, key, fresh)
    for scores in found:
        yield [label(score) for score in scores]


def _others(job: _Job) -> dict[str, Support]:
    """Task -> the support set of the one that follows it, of the last that of the first."""
    tasks = list(tasks_of(job.source, job.split, job.n_tasks))
    return {task.name: other.support for task, other in zip(tasks, tasks[1:] + tasks[:1], strict=True)}


@dataclass(frozen=True, slots=True)
class _Job:
    role: str
    split: Split
    k_shot: int
    source: TaskSource
    n_tasks: int
    steps: Sequence[int]
    chooses: bool = False  # whether each new task chooses its own step


def _jobs(
    contestants: Mapping[str, object], source: TaskSource, plan: EvaluationPlan, trained_on_source: bool
) -> Iterator[_Job]:
    for k in plan.k_shots:
        shaped = source.with_shape(shape_of(source, plan, k))
        for role in contestants:
            if role == "baseline" and k == 0:
                continue
            steps = plan.steps if role == "strategy" else plan.baseline_steps
            own = role == "strategy" and source.validation != "as_new"
            if not own:
                yield _Job(role, "validation", k, shaped, plan.n_selection_tasks, steps)
            if role == "strategy" and source_refusal(source, plan, k, trained_on_source) is None:
                yield _Job(role, "source_test", k, shaped, plan.of_source, steps, own)
            yield _Job(role, "new", k, shaped, plan.n_tasks, steps, own)


def shape_of(source: TaskSource, plan: EvaluationPlan, k_shot: int) -> TaskShape:
    """The shape of the evaluation's tasks: the plan's where it gives one, otherwise the data set's."""
    given = {"n_way": plan.n_way, "n_query": plan.n_query, "n_unlabelled": plan.n_unlabelled}
    return replace(
        source.shape, k_shot=k_shot, **{name: value for name, value in given.items() if value is not None}
    )


def served(source: TaskSource, plan: EvaluationPlan) -> tuple[EvaluationPlan, dict[int, str]]:
    """With beyond=leave_out, the plan without the shots that the data cannot serve, and why each is left out.

    Where the data can serve none, the plan is returned unchanged: a mistake in it, which is refused later.
    """
    if plan.beyond == "refuse":
        return plan, {}
    left_out: dict[int, str] = {}
    for k in plan.k_shots:
        shape = shape_of(source, plan, k)
        reason = source.refusal("new", shape)
        if reason is None and source.validation != "none":
            reason = source.refusal("validation", shape)
        if reason is not None:
            left_out[k] = reason
    kept = [k for k in plan.k_shots if k not in left_out]
    return (replace(plan, k_shots=kept), left_out) if kept else (plan, {})


def source_refusal(
    source: TaskSource, plan: EvaluationPlan, k_shot: int, trained_on_source: bool
) -> str | None:
    """Why there are no held-out source tasks to compare with the new ones, or None where there are."""
    if not trained_on_source:
        return "the run was trained on other data"
    if plan.n_source_tasks == 0:
        return "evaluation.n_source_tasks is 0"
    return source.refusal("source_test", shape_of(source, plan, k_shot))


def tasks_of(source: TaskSource, split: Split, n: int) -> Iterator[Task]:
    """Tasks 0 to n - 1 of a split, drawn in batches."""
    # In batches, which are faster to draw; not all at once, since unlabelled examples can be many.
    for start in range(0, n, 32):
        yield from source.tasks(split, range(start, min(start + 32, n)))
