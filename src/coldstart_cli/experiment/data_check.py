"""What `coldstart data check` audits: the data that a run would use, or one task to adapt to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldstart_cli.config.building import build
from coldstart_cli.core.tasks import Split, TaskShape, TaskSource
from coldstart_cli.datasets.audit.audit import Audit, audit
from coldstart_cli.datasets.audit.findings import DataAudit
from coldstart_cli.datasets.audit.names import finding_of_names, observation_of_names
from coldstart_cli.datasets.audit.one_task import TaskAudit, observations
from coldstart_cli.datasets.audit.task_bank import Asked
from coldstart_cli.datasets.own.labelled import Labelled
from coldstart_cli.errors import RequestError
from coldstart_cli.evaluation.loop import EvaluationPlan, shape_of
from coldstart_cli.experiment import assembly, parts
from coldstart_cli.experiment.trainer import TrainingPlan
from coldstart_cli.reports import audit_table

N_TASKS = 200
"""Tasks that are drawn in each shape; fewer where they are large, but never fewer than are evaluated."""


MOST_EXAMPLES = 200_000
"""Most examples drawn in one shape, unless the evaluated tasks alone have more."""


def audited(config: Mapping[str, Any], *, n_tasks: int | None, show_read: bool) -> DataAudit:
    """The leak audit of the data that a run of `config` would use.

    Args:
        n_tasks: in each shape of tasks, or None for as many as a run uses.
        show_read: where the data cannot serve the run, first show what was read of them.

    Raises:
        RequestError: for a config that `train` would refuse because of its data.
    """
    assembly.check_values(config)
    training: TrainingPlan = build(config["training"], "training", TrainingPlan, config["trust"], {})
    evaluation: EvaluationPlan = build(
        config["evaluation"], "evaluation", EvaluationPlan, config["trust"], {}
    )
    if "on_bad" in config["dataset"]:  # here, what cannot be read is a finding rather than an end
        config = {**config, "dataset": {**config["dataset"], "on_bad": "skip"}}
    source = parts.source_of(config)
    try:
        assembly.check_shapes(source, training, evaluation, config["baseline"])
    except RequestError:
        if show_read and hasattr(source, "labelled"):  # what was read shows why the data cannot serve
            audit_table.show_read(source.facts(), _unreadable(source))
            print("One task to adapt to is checked by: coldstart data check --adapt ...")
        raise
    asked, not_served = _asked(source, training, evaluation, config["baseline"], n_tasks)
    listed = {"known_duplicates": [], **config["dataset"]}["known_duplicates"]
    return _summary(config, source, audit(source, asked, listed), not_served)


def task_checked(config: Mapping[str, Any]) -> TaskAudit:
    """What is to be known of one task before `adapt` learns from it.

    Raises:
        RequestError: where the data set is not your own, or cannot be read.
    """
    assembly.check_values(config)
    if "on_bad" in config["dataset"]:
        config = {**config, "dataset": {**config["dataset"], "on_bad": "skip"}}
    labelled = getattr(parts.source_of(config), "labelled", None)
    if not isinstance(labelled, Labelled):
        raise RequestError(
            f"dataset: {config['names']['dataset']} is not data of your own; choose image_folder, text, "
            "tabular or arrays with dataset.root=PATH, or leave --adapt out"
        )
    classes = f" of {len(labelled.classes)} classes" if labelled.classes else ""
    found = [*observations(labelled), *observation_of_names(labelled)]
    return TaskAudit(
        name=config["names"]["dataset"],
        root=config["dataset"].get("root"),
        fingerprint=labelled.fingerprint,
        facts=f"{len(labelled):,} examples{classes}",
        observations=found,
        remarks=labelled.remarks,
        unreadable=labelled.skipped,
        n_found=sum(one.n_found for one in found) + len(labelled.skipped),
    )


def _asked(
    source: TaskSource,
    training: TrainingPlan,
    evaluation: EvaluationPlan,
    baseline: object,
    n_tasks: int | None,
) -> tuple[list[Asked], list[str]]:
    """What a run draws, each split and shape once, and why some of it is left out."""
    uses = {"dataset": "training", "training.validation": "validation", "evaluation": "evaluation"}
    drawn: dict[tuple[Split, TaskShape], dict[str, None]] = {}
    for key, split, shape in assembly.shapes_asked(source, training, evaluation, baseline):
        drawn.setdefault((split, shape), {})[uses[key]] = None
    not_served = []
    for k in evaluation.k_shots:
        shape = shape_of(source, evaluation, k)
        reason = source.refusal("source_test", shape)
        if reason is None:
            drawn.setdefault(("source_test", shape), {})["evaluation"] = None
        else:
            not_served.append(f"source_test at k = {k}: {reason}")
    asked = [
        Asked(tuple(names), split, shape, n_tasks or max(_enough(shape), evaluation.n_tasks))
        for (split, shape), names in drawn.items()
    ]
    return asked, not_served


def _enough(shape: TaskShape) -> int:
    examples = (shape.n_way or 1) * (shape.k_shot + shape.n_query + shape.n_unlabelled)
    return min(N_TASKS, MOST_EXAMPLES // examples)


def _unreadable(source: TaskSource) -> list[str]:
    """What could not be read of your own data, one line each."""
    return list(getattr(getattr(source, "labelled", None), "skipped", ()))


def _summary(
    config: Mapping[str, Any], source: TaskSource, found: Audit, not_served: Sequence[str]
) -> DataAudit:
    labelled = getattr(source, "labelled", None)
    of_names = finding_of_names(labelled) if isinstance(labelled, Labelled) else []
    return DataAudit(
        name=config["names"]["dataset"],
        settings=config["dataset"],
        fingerprint=source.fingerprint,
        facts=source.facts(),
        n_leaks=found.n_leaks,
        findings=(*found.findings, *of_names),
        not_served=not_served,
        unreadable=_unreadable(source),
        bank=found.bank,
    )
