"""Who is compared with whom: results gathered into contestants, and these into settings.

A *contestant* is what differs in nothing but its training seed. A *setting* is a set of contestants that
were evaluated on the same tasks, by the hashes in their records; data sets and shapes are never pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from coldstart_cli.comparison.results import Result
from coldstart_cli.digests import json_digest
from coldstart_cli.files.durable import flat
from coldstart_cli.metrics.names import CONSTANT
from coldstart_cli.metrics.records import Record
from coldstart_cli.metrics.results import Outcome
from coldstart_cli.runs.run import DETERMINING, PLACES, rounding, training_that_determines

REFERENCE = "scratch"
"""The strategy that transfer is measured against."""

UNSET = "unset"
"""In names, of a key that a contestant's config does not have."""

Role = Literal["strategy", "baseline", "constant"]


@dataclass(frozen=True, slots=True)
class Shot:
    """What one training seed reached at one k.

    Attributes:
        outcome: what the summary says of it.
        new, source_test: step -> task -> value, by `task_key`.
        chosen: new task -> value at the step that it chose itself; empty where validation tasks chose.
        rows: the records of new tasks, of every role.
    """

    outcome: Outcome
    new: Mapping[int, Mapping[str, float]]
    source_test: Mapping[int, Mapping[str, float]]
    chosen: Mapping[str, float]
    rows: Sequence[Record]
    result: Result

    @property
    def step(self) -> int:
        """Adaptation steps that validation tasks chose, or that most tasks chose for themselves."""
        return self.outcome.step

    @property
    def adapted(self) -> Mapping[str, float]:
        """Task -> value of the new tasks at `step`, or at each task's own."""
        return self.chosen or self.new[self.step]

    def origins(self, tasks: Sequence[str]) -> list[str | None]:
        """The origin of each of these new tasks, None where it has none."""
        known = {task_key(row): row.origin for row in self.rows}
        return [known.get(task) for task in tasks]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A strategy with its settings, trained with one seed or several.

    Attributes:
        settings: flat keys and values of what determines it, without the seed.
        shots: k -> seed -> what it reached.
        baseline: it was evaluated beside other strategies, as their baseline.
    """

    name: str
    strategy: str
    model: str
    settings: Mapping[str, Any]
    shots: Mapping[int, Mapping[int, Shot]]
    baseline: bool

    @property
    def role(self) -> Role:
        """The role of its predictors in the records."""
        if self.baseline and self.strategy == CONSTANT:
            return "constant"
        return "baseline" if self.baseline else "strategy"

    @property
    def results(self) -> list[Result]:
        """Its evaluations, each once."""
        found = {id(s.result): s.result for by_seed in self.shots.values() for s in by_seed.values()}
        return list(found.values())

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for by_seed in self.shots.values() for seed in by_seed})


def settings_of(results: Sequence[Result]) -> list[list[Contestant]]:
    """Contestants in groups that share tasks; the largest group first."""
    contestants = _contestants(results)
    groups: list[tuple[set[object], list[Contestant]]] = []
    # A contestant with several k may join groups that shared nothing until it came.
    for contestant in contestants:
        tasks = _tasks(contestant)
        joined = [group for group in groups if group[0] & tasks]
        rest = [group for group in groups if not group[0] & tasks]
        merged = (tasks.union(*(t for t, _ in joined)), [c for _, cs in joined for c in cs] + [contestant])
        groups = [*rest, merged]
    found = [_named(members) for _, members in groups]
    # Baselines alone are what is left of runs that were evaluated on other data: the least of interest.
    return sorted(found, key=lambda members: (all(m.baseline for m in members), -len(members)))


def task_key(row: Record) -> str:
    """A task by number and content: without labels, two draws differ in what is unlabelled alone.

    Its content is what the files hold where that is known, so that models which read it differently meet.
    Keys sort as the tasks are numbered.
    """
    split, _, number = row.task.rpartition("/")
    return f"{split}/{number:>9} {row.raw_hash or row.task_hash}"


def _tasks(contestant: Contestant) -> set[object]:
    """(k, task) of all its new tasks."""
    return {
        (k, task)
        for k, by_seed in contestant.shots.items()
        for shot in by_seed.values()
        for task in shot.adapted
    }


def determining(config: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the trained weights but the seed, flat; as runs.run_name sees it."""
    parts = {key: config[key] for key in DETERMINING if key != "seed"}
    parts["dataset"] = {k: v for k, v in config["dataset"].items() if k not in PLACES}
    parts["training"] = training_that_determines(config["training"])
    return flat({**parts, **rounding(config["hardware"])})


def _baseline_settings(result: Result) -> dict[str, Any]:
    """What determines a baseline: its own node, the network, and what validation chose from."""
    config, plan = result.config, result.config["evaluation"]
    asked = {key: plan[key] for key in ("baseline_steps", "baseline_search")}
    return flat({"strategy": config["baseline"], "model": config["model"], "evaluation": asked})


def _contestants(results: Sequence[Result]) -> list[Contestant]:
    """All contestants, not yet told apart by name; of one seed's evaluations the newest that has a k."""
    shots: dict[str, dict[int, dict[int, Shot]]] = {}
    found: dict[str, Contestant] = {}
    for result in sorted(results, key=lambda r: -r.written):
        for contestant in _taking_part(result):
            # The data of the evaluation too: one run may be evaluated on several, and on several ways.
            of = result.summary
            where = [of.names.dataset, of.headline, of.n_way]
            identity = [contestant.role, contestant.strategy, contestant.settings, where, _bank(result)]
            key = json_digest(identity)
            found.setdefault(key, contestant)
            # The newest evaluation comes first, and setdefault keeps it.
            for k, shot in _shots(contestant.role, result).items():
                shots.setdefault(key, {}).setdefault(k, {}).setdefault(result.seed, shot)
    return [
        replace(contestant, shots=dict(sorted(shots[key].items())))
        for key, contestant in found.items()
        if key in shots
    ]


def _taking_part(result: Result) -> Iterator[Contestant]:
    """The strategy of an evaluation and the baselines beside it, without what they reached."""
    names = result.summary.names
    settings = determining(result.training)
    yield Contestant(names.strategy, names.strategy, names.model, settings, {}, baseline=False)
    if result.config["baseline"] is not None:
        baseline, settings = str(names.baseline), _baseline_settings(result)
        yield Contestant(baseline, baseline, names.model, settings, {}, baseline=True)
    if any(CONSTANT in shot.beside for shot in result.summary.shots.values()):
        yield Contestant(CONSTANT, CONSTANT, names.model, {}, {}, baseline=True)


def _bank(result: Result) -> list[object]:
    """What says which tasks were drawn, but for their number and k; hashes have the last word."""
    plan, data = result.config["evaluation"], result.config["dataset"]
    training = ("n_way", "k_shot", "n_query", "n_unlabelled", *PLACES)
    kept = {key: value for key, value in data.items() if key not in training}
    return [kept, plan["n_query"], result.environment.get("fingerprint")]


def _shots(role: Role, result: Result) -> dict[int, Shot]:
    """k -> what a role reached, of every k at which new tasks were scored after the chosen step."""
    new: dict[int, dict[int, dict[str, float]]] = {}
    source: dict[int, dict[int, dict[str, float]]] = {}
    rows: dict[int, list[Record]] = {}
    for row in result.records:
        if row.split == "new":
            rows.setdefault(row.k_shot, []).append(row)
        if row.role == role and row.split != "validation":
            into = new if row.split == "new" else source
            into.setdefault(row.k_shot, {}).setdefault(row.step, {})[task_key(row)] = row.value
    shots = {}
    for k, found in result.summary.shots.items():
        outcome = {"strategy": found.new, "baseline": found.baseline}.get(role, found.beside.get(role))
        if outcome is not None and outcome.step in new.get(k, {}):
            own = [row for row in rows[k] if row.chosen and row.role == role]
            chosen = {task_key(row): row.value for row in own}
            shots[k] = Shot(outcome, new[k], source.get(k, {}), chosen, rows[k], result)
    return shots


def _named(members: Sequence[Contestant]) -> list[Contestant]:
    """The same with names that tell them apart: by model, then by whatever settings differ."""
    named: list[Contestant] = []
    for strategy in dict.fromkeys(m.strategy for m in members):
        own = [m for m in members if m.strategy == strategy]
        names = _names(own, unset=False)
        # A key that one config lacks came with a later version: told only where nothing else tells two apart.
        if len(set(names)) < len(own):
            names = _names(own, unset=True)
        for i, (m, name) in enumerate(zip(own, names, strict=True)):
            # The same settings drawn from other data; results are kept by name, so each needs its own.
            earlier = names[:i].count(name)
            named.append(replace(m, name=f"{name} #{earlier + 1}" if earlier else name))
    return named


def _names(own: Sequence[Contestant], *, unset: bool) -> list[str]:
    """Names of contestants of one strategy; `unset`: a key that one lacks counts as a value of its own."""
    models = len({m.model for m in own}) > 1
    keys = dict.fromkeys(key for m in own for key in m.settings)
    told: list[list[str]] = [[m.model] if models else [] for m in own]
    for key in keys:
        texts = [_text(m.settings[key]) if key in m.settings else UNSET if unset else None for m in own]
        if len(set(texts) - {None}) < 2 or (models and key.startswith("model.")):
            continue
        for parts, text in zip(told, texts, strict=True):
            parts += [] if text is None else [f"{key.removeprefix('strategy.')}={text}"]
    # Where all of them are baselines, the word would tell nothing apart.
    if not all(m.baseline for m in own):
        for parts, m in zip(told, own, strict=True):
            parts += ["as baseline"] if m.baseline else []
    several = len(own) > 1
    return [
        f"{m.strategy} ({', '.join(p)})" if p and several else m.strategy
        for m, p in zip(own, told, strict=True)
    ]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
