"""What a comparison says, as `compare --json` prints it: values alone, with None for what is not known.

The table in the terminal, --json, --csv and the HTML report are views of a `Comparison` and read nothing
else; docs/comparison.md shows it as JSON. Numbers are in the metric's own unit. Fields stand in the order in
which JSON has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, final

from coldstart_cli.files.durable import finite
from coldstart_cli.metrics.json_edge import ABSENT, EMPTY, to_json
from coldstart_cli.metrics.numbers import MeanInterval
from coldstart_cli.metrics.results import Calibration, HardwareFacts, Unit, Verdict
from coldstart_cli.metrics.significance import Verdict as PairVerdict

Point = tuple[float | None, float | None, str]
"""Of one source group and one new task: their similarity, the group's real gain over scratch, the group."""


@final
@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that cannot be read, and why."""

    path: str
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Times:
    """Medians over runs of a call's times at one batch size; early versions did not count the calls."""

    p50_ms: float | None
    p95_ms: float | None
    calls: float | None = field(default=None, metadata=ABSENT)


@final
@dataclass(frozen=True, slots=True)
class Costs:
    """Medians over a contestant's runs of what its adapted predictor costs (`metrics.results.Costs`).

    Attributes:
        inference: batch size -> times.
        flops: for one input, a multiply-add counted as 2.
        peak_memory: in bytes.
        adaptation_ms: k -> milliseconds of adaptation to one task.
    """

    inference: Mapping[int, Times]
    parameters: float | None
    flops: float | None
    peak_memory: float | None
    adaptation_ms: Mapping[int, float | None]


@final
@dataclass(frozen=True, slots=True)
class Training:
    """Medians over a contestant's runs of the budget that was used.

    Attributes:
        examples: labelled source examples drawn.
        adaptation_steps: the most that were tried; validation tasks chose among them.
        trials: of the search that chose its settings; None where that is not known.
    """

    steps: float | None
    seconds: float | None
    examples: float | None
    adaptation_steps: float | None
    trials: float | None


@final
@dataclass(frozen=True, slots=True)
class OverShots:
    """The curve of means over k.

    Attributes:
        area: mean height of the curve over log2(k).
        shots_to_95: the k at which 95 % of the curve's way is gone.
        label_efficiency: k -> the k at which scratch does as well; None where it never gets there.
    """

    area: float | None
    shots_to_95: float | None
    label_efficiency: Mapping[int, float | None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ContestantFacts:
    """What a contestant is and costs, over all its runs.

    Attributes:
        baseline: it was evaluated beside other strategies, as their baseline.
        runs: paths; none of a baseline, which is part of other runs.
        costs, hardware: None of a baseline.
        training: of a baseline, which draws nothing from the source, the search among its variants;
            None of a constant answer.
        budgets: limit -> its verdict; kept where every run kept it.
    """

    name: str
    strategy: str
    model: str
    baseline: bool
    transductive: bool
    seeds: Sequence[int]
    runs: Sequence[str]
    costs: Costs | None
    hardware: HardwareFacts | None
    budgets: Mapping[str, Verdict]
    training: Training | None
    over_shots: OverShots


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one contestant did at one k, on the tasks that all of them share.

    Attributes:
        mean, half_width: of the headline after adaptation.
        bootstrap: [low, high] of an interval that assumes no distribution.
        rank: 1 + the number of contestants that beat it.
        steps: adaptation steps that validation tasks chose; a list where they differ between seeds.
        source_test: on held-out source tasks.
        before: before adaptation.
        curve: step -> the headline there.
        area: mean height of that curve.
        steps_to_95: mean over seeds of the step at which 95 % of the way is gone.
        calibration: means over seeds, nan where a measure is not known; None where none was measured.
        gain: over scratch, paired; positive where it is better than scratch.
        metrics: the metrics beside the headline; empty for runs of earlier versions.
    """

    mean: float | None
    half_width: float | None
    bootstrap: Sequence[float | None]
    rank: int
    steps: int | Sequence[int]
    source_test: MeanInterval | None
    before: MeanInterval | None
    curve: Mapping[int, MeanInterval]
    area: float | None
    steps_to_95: float | None
    calibration: Calibration | None = field(metadata=EMPTY)
    gain: MeanInterval | None
    metrics: Mapping[str, MeanInterval]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One contestant against another at one k.

    Attributes:
        p_wilcoxon: of the signed rank test over tasks, which decides nothing.
        difference, half_width: of a minus b, positive where a is better.
        p, p_holm: of the difference, alone and among all pairs at this k.
        seeds: that the difference was taken over.
        seeds_needed, tasks_needed: that would decide an undecided pair; None where no sensible number would.
    """

    a: str
    b: str
    p_wilcoxon: float | None
    difference: float | None
    half_width: float | None
    p: float | None
    p_holm: float | None
    verdict: PairVerdict
    seeds: int
    seeds_needed: int | None
    tasks_needed: int | None

    @property
    def interval(self) -> MeanInterval:
        """Of the difference."""
        return MeanInterval(self.difference, self.half_width)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AtK:
    """All contestants at one k.

    Attributes:
        n_origins: persons, sites or speakers that the tasks come from, over which intervals and tests are;
            None where tasks have no origins.
        bank: a digest over the hashes of the tasks that all of them share.
        zone: a difference within +-zone does not matter.
        results: contestant -> how it did, the best mean first.
        pairs: every two contestants once.
        winners: those that no other beats, the best mean first.
    """

    n_tasks: int
    n_origins: int | None = field(default=None, metadata=ABSENT)
    bank: str
    zone: float | None
    results: Mapping[str, Standing]
    pairs: Sequence[Pair]
    winners: Sequence[str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """What a contestant's similarity to source groups was worth (`strategy_notes.similarity_check`)."""

    contestant: str
    k: str
    rho: float | None
    p: float | None
    pairs: int
    within_task_rho: float | None
    regret: float | None
    constant_rho: float | None
    constant_regret: float | None
    points: Sequence[Point]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Contestants that were evaluated on the same tasks; data sets and shapes are never pooled.

    Attributes:
        n_way: classes of a task; None for a regression.
        percent: the headline is shown as 100 times its value, with %.
        zone: of equivalence; None for errors, where each k has its own.
        units: metric -> its unit, the headline first.
        contestants: the best first, at the smallest k.
        shots: k -> how they did, ascending.
        tasks: k -> hashes of the tasks that all contestants share.
        sentences: the verdict.
    """

    title: str
    dataset: str
    n_way: int | None
    headline: str
    higher_is_better: bool
    percent: bool
    zone: float | None
    units: Mapping[str, Unit]
    contestants: Sequence[ContestantFacts]
    shots: Mapping[int, AtK]
    similarity: Sequence[Similarity]
    tasks: Mapping[int, Sequence[str]]
    sentences: Sequence[str]

    def contestant(self, name: str) -> ContestantFacts:
        """The one of that name."""
        return next(contestant for contestant in self.contestants if contestant.name == name)

    @property
    def chance(self) -> float | None:
        """The accuracy of guessing, where classes are equally frequent in a task's query set."""
        return 1 / self.n_way if self.headline == "accuracy" and self.n_way else None

    @property
    def other_metrics(self) -> list[str]:
        """The metrics beside the headline that some contestant is known by."""
        standings = (standing for at in self.shots.values() for standing in at.results.values())
        return list(dict.fromkeys(name for standing in standings for name in standing.metrics))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run that was compared.

    Attributes:
        contestant: the name of the one it belongs to; empty where that has no place in a setting.
        config: as YAML.
        differs: flat keys whose values are not those of the first run.
        environment, state: environment.json and run.json.
    """

    path: str
    contestant: str
    seed: int
    config: str
    differs: Mapping[str, Any]
    environment: Mapping[str, Any]
    state: Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A verdict on runs.

    Attributes:
        format: of this layout.
        confidence: of all intervals and tests.
        sentences: the verdict over all settings, one to three sentences of each.
        notes: caveats that a reader must see.
    """

    format: int
    confidence: float
    sentences: Sequence[str]
    left_out: Sequence[LeftOut]
    notes: Sequence[str]
    settings: Sequence[Setting]
    runs: Sequence[RunFacts]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as --json prints it (docs/comparison.md)."""
    return cast("dict[str, Any]", finite(to_json(comparison)))
