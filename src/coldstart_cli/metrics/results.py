"""What an evaluation says, as `summary.json` keeps it: plain values, so that showing them needs no numpy.

A number that was not finite is read back as nan: JSON does not say which it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from coldstart_cli.metrics.json_edge import ABSENT, EMPTY, from_json

Unit = Literal["%", ""]
"""Of a metric: shares in [0, 1] are shown in percent, others as they are."""


@final
@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n tasks and the half-width of its t interval.

    Attributes:
        mean: over the tasks.
        half_width: the interval is mean - half_width to mean + half_width.
        n: tasks.
        origins: of the tasks, the clusters that the interval is over; None where each has its own. Of one
            origin alone the interval is over its tasks and says nothing of other origins.
    """

    mean: float
    half_width: float
    n: int
    origins: int | None = field(default=None, metadata=ABSENT)

    def excludes_zero(self) -> bool:
        return abs(self.mean) > self.half_width


@dataclass(frozen=True, slots=True)
class Calibration:
    """Negative log-likelihood (nats), Brier score, coverage and size of prediction sets, ECE in [0, 1].

    Attributes:
        nll: mean negative log-likelihood of the right classes, in nats.
        brier: mean squared distance of the probabilities from the right answers, in [0, 2].
        coverage: share of the examples whose class lies in its prediction set.
        set_size: mean number of classes in such a set.
        ece: expected calibration error, in [0, 1].
    """

    nll: float
    brier: float
    coverage: float
    set_size: float
    ece: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one role did on the tasks of a split at one k.

    Attributes:
        step: the adaptation step that validation tasks chose, or most tasks did where each chose its own.
        before, after: the headline at the first step and at `step`.
        curve: the headline at every step.
        area: mean height of the curve.
        steps_to_95: the step at which the curve has gone 95 % of its way to `step`; None where it has none.
        calibration: at `step`; None where outputs are not probabilities.
        metrics: the other metrics at `step`, by name.
        metrics_before: the same at the first step.
        chosen_by_tasks: step -> how many tasks chose it themselves (`evaluation.step_choice`); `after` and
            all else that is said to be at `step` is then at each task's own. None: validation tasks chose.
    """

    step: int
    before: Interval
    after: Interval
    curve: Mapping[int, Interval]
    area: float
    steps_to_95: int | None
    calibration: Calibration | None = field(default=None, metadata=EMPTY)
    metrics: Mapping[str, Interval]
    metrics_before: Mapping[str, Interval]
    chosen_by_tasks: Mapping[int, int] | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Similarity:
    """What a similarity was worth (`strategy_notes.similarity_check`).

    Attributes:
        rho: Spearman's rank correlation of similarity and gain over all pairs.
        p: of a correlation as strong where there is none.
        pairs: of a task and a source group.
        within_task_rho: the mean of the rank correlations within each task.
        regret: gain lost, on average, by choosing the group that is most alike instead of the best one.
        constant_rho, constant_regret: `within_task_rho` and `regret` of the best constant ranking; None where
            there is one task, or an earlier version wrote the result.
    """

    rho: float
    p: float
    pairs: int
    within_task_rho: float
    regret: float
    constant_rho: float | None = field(default=None, metadata=ABSENT)
    constant_regret: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """All that was found at one k.

    Attributes:
        source_test, new, baseline: the strategy on held-out source tasks and on new ones, the baseline on
            the same new tasks.
        gap: from source to new tasks.
        gain: over the baseline, paired over tasks.
        beside: role -> a predictor that was scored beside the strategy's own.
        ablations: what was exchanged or left out -> how much better that is, paired over tasks; None
            where none were asked for.
        notes: name -> mean over new tasks before and after adaptation.
        baseline_shots: shots with which the baseline does as well; not finite where it never does.
    """

    source_test: Outcome | None
    new: Outcome
    baseline: Outcome | None = field(default=None, metadata=ABSENT)
    gap: Interval | None = field(default=None, metadata=ABSENT)
    gain: Interval | None = field(default=None, metadata=ABSENT)
    beside: Mapping[str, Outcome]
    ablations: Mapping[str, Interval] | None = field(default=None, metadata=ABSENT)
    notes: Mapping[str, Sequence[float | None]]
    similarity: Similarity | None
    baseline_shots: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class RoleOverShots:
    """Area under the curve over log2(k), and the shots to 95 % of its way, which two points do not tell.

    Attributes:
        area: under the curve, over log2(k).
        shots_to_95: k at which the curve has gone 95 % of its way; None where it is not told.
    """

    area: Interval
    shots_to_95: float | None


@dataclass(frozen=True, slots=True)
class OverShots:
    """The curve over k >= 1, after adaptation; `gain` is of the area, paired over tasks.

    Attributes:
        k_shots: those of the curve.
        strategy, baseline: of each.
    """

    k_shots: Sequence[int]
    strategy: RoleOverShots
    baseline: RoleOverShots | None = field(default=None, metadata=ABSENT)
    gain: Interval | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Times:
    """Times of a call at one batch size; early versions did not count the calls.

    Attributes:
        p50_ms, p95_ms: milliseconds that half, and 95 in 100, of the calls took at most.
        calls: how many were timed.
    """

    p50_ms: float
    p95_ms: float
    calls: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class PredictorCosts:
    """inference: batch size -> times. flops: for one input, a multiply-add counted as 2.

    Attributes:
        inference: batch size -> times.
        parameters: numbers of the predictor, a frozen encoder's with them.
        flops: for one input, a multiply-add counted as 2.
    """

    inference: Mapping[int, Times]
    parameters: int
    flops: int


@dataclass(frozen=True, slots=True)
class Costs(PredictorCosts):
    """Costs of the adapted predictor.

    Attributes:
        peak_memory: in bytes, of what `Hardware.peak_memory` measures.
        beside: role -> costs of a predictor that is scored beside it.
        adaptation_ms: k_shot -> milliseconds of adaptation to one task.
    """

    peak_memory: int
    beside: Mapping[str, PredictorCosts]
    adaptation_ms: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A limit of the budget, and whether what was measured kept it.

    Attributes:
        limit: as configured in `evaluation.budget`.
        measured: what was found.
        kept: whether it is within the limit.
    """

    limit: float
    measured: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareFacts:
    """What a reader needs to judge a figure of time (`Hardware.facts`).

    Attributes:
        device: cpu, cuda or mps.
        name: of the processor or the GPU.
        threads: of the CPU, for each process.
        processes: that trained together; None in a summary of before.
        precision: `fp32`, `bf16`, ...
        deterministic: whether only operations were allowed that give the same bits again.
    """

    device: str
    name: str
    threads: int
    processes: int | None = field(default=None, metadata=ABSENT)
    precision: str
    deterministic: bool


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """The budget that was used.

    Attributes:
        steps: outer steps that were taken.
        best_step: the one whose state was kept, by validation tasks.
        seconds: of training.
        examples: labelled source examples drawn; None where none were counted.
        trials: of the search that chose the settings; None where that is not known.
    """

    steps: int
    best_step: int
    seconds: float
    examples: int | None
    trials: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class BaselineRead:
    """How many sets of the baseline's records came from the cache, and when they were measured.

    Attributes:
        sets: that came from the cache.
        of: all that were needed.
        measured: when the oldest of them was.
    """

    sets: int
    of: int
    measured: str


@dataclass(frozen=True, slots=True)
class Names:
    """Which configs were chosen.

    Attributes:
        strategy, model, dataset, baseline: each by its name, as in `coldstart ls`; no baseline: None.
    """

    strategy: str
    model: str
    dataset: str
    baseline: str | None


@dataclass(frozen=True, slots=True)
class Findings:
    """What follows from the records alone."""

    shots: Mapping[int, Shot]
    over_shots: OverShots | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One evaluation of one run: what follows from its records, its costs, and facts.

    Attributes:
        names: of the configs that were chosen.
        seed: of training.
        headline: the metric that reports lead with.
        higher_is_better: the direction of the headline.
        n_tasks: new tasks that were asked for.
        confidence: of all intervals.
        transductive: whether an answer may depend on the other inputs of its batch.
        shots: k_shot -> all that was found.
        over_shots: the curve over k; None where one k was evaluated.
        costs: of the adapted predictor.
        hardware, training: where and how it was made.
        baseline_read: where records of the baseline came from the cache, else None.
        units: metric -> its unit, the headline first.
        n_way: classes of a task; None for a regression.
        coverage: the probability with which a prediction set was to hold the right class.
        variants: k_shot -> the baseline's configuration that validation tasks chose.
        budgets: limit -> its verdict.
        source: split -> what the data set says of it.
        left_out, source_left_out: k_shot -> why there are no new tasks, no source tasks.
        edges: choices at the edge of what was tried (`evaluation.edges`); None where there is none.
    """

    names: Names
    seed: int
    headline: str
    higher_is_better: bool
    units: Mapping[str, Unit]
    n_way: int | None
    n_tasks: int
    confidence: float
    coverage: float
    transductive: bool
    variants: Mapping[int, str]
    shots: Mapping[int, Shot]
    over_shots: OverShots | None
    costs: Costs
    budgets: Mapping[str, Verdict]
    hardware: HardwareFacts
    training: TrainingFacts
    source: Mapping[str, str]
    left_out: Mapping[int, str]
    source_left_out: Mapping[int, str]
    baseline_read: BaselineRead | None = field(default=None, metadata=ABSENT)
    edges: Sequence[str] | None = field(default=None, metadata=ABSENT)

    @property
    def unit(self) -> Unit:
        """Of the headline."""
        return self.units[self.headline]

    @property
    def origins(self) -> int | None:
        """Persons, sites or speakers that the new tasks come from, the fewest at any k; None: not known."""
        known = [shot.new.after.origins for shot in self.shots.values()]
        return min((n for n in known if n is not None), default=None)

    @property
    def of_origins(self) -> str:
        """` of 5 origins`, to stand behind a number of tasks; nothing where origins are unknown."""
        if self.origins is None:
            return ""
        return f" of {self.origins} origin{'' if self.origins == 1 else 's'}"

    @property
    def broken(self) -> list[str]:
        """The names of the limits that were broken."""
        return [name for name, verdict in self.budgets.items() if not verdict.kept]


OLDER: Mapping[type, Mapping[str, object]] = {
    Summary: {"coverage": None, "over_shots": None, "budgets": {}, "left_out": {}, "source_left_out": {}},
    Outcome: {"metrics": {}, "metrics_before": {}},
    TrainingFacts: {"examples": None},
}
"""class -> the fields that earlier versions did not write, with values that mean "not measured"."""


def summary_of(value: Mapping[str, object]) -> Summary:
    """The summary of a summary.json, of this version or an earlier one.

    Raises:
        KeyError, TypeError: where a key is missing or its value has another type; `untrusted.shaped` makes a
            message of either.
    """
    # Early summaries do not describe their metric; it was accuracy or mse.
    is_accuracy = value["headline"] == "accuracy"
    units = {str(value["headline"]): "%" if is_accuracy else ""}
    return from_json(Summary, {"higher_is_better": is_accuracy, "units": units, **value}, OLDER)
