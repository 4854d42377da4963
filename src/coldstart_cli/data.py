"""`coldstart data check`: a leak audit of the data set that a run with these overrides would use.

Nothing heavy is imported before the arguments are known to be good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coldstart_cli.catalog import emit
from coldstart_cli.errors import RequestError

if TYPE_CHECKING:
    from coldstart_cli.audit import Audit
    from coldstart_cli.bank import Asked
    from coldstart_cli.core import Split, TaskShape, TaskSource
    from coldstart_cli.evaluation import EvaluationPlan

ACTIONS = ("check",)  # fetch and verify are datasets/published.py
N_TASKS = 200
"""Tasks that are drawn in each shape: fewer where they are large, and never fewer than are evaluated."""
MOST_EXAMPLES = 200_000
"""Examples of the tasks in one shape, beyond those of the tasks that are evaluated."""


@dataclass(frozen=True, slots=True)
class Request:
    """Flags of `data check` that no other command has. n_tasks: None where it is not said."""

    as_json: bool
    n_tasks: int | None


def parse(arguments: Sequence[str]) -> tuple[Request, list[str]]:
    """The request, and the arguments that belong to the composition.

    Raises:
        RequestError: where it is not said what to do, or --tasks is no number.
    """
    if not arguments or arguments[0] not in ACTIONS:
        what = arguments[0] if arguments else ""
        wrong = f"{what!r} is nothing it does" if what else "it is not said what to do"
        raise RequestError(f"data: {wrong}; write coldstart data check dataset=NAME")
    as_json, n_tasks, others = False, None, []
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == "--json":
            as_json = True
        elif name == "--tasks":
            n_tasks = _whole(value if equals else next(rest, ""))
        else:
            others.append(argument)
    return Request(as_json, n_tasks), others


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise RequestError(f"--tasks: {text!r} is no number of tasks; write --tasks 200")
    return int(text)


def check(overrides: Sequence[str], request: Request) -> int:
    """Composes as `train` does, audits, prints.

    Returns:
        0, or 1 where there is a leak.

    Raises:
        RequestError: for a config that `train` would refuse because of its data.
    """
    from coldstart_cli import audit_report, composition

    found: list[dict[str, Any]] = []
    composition.run_jobs(overrides, [], lambda config: found.append(_audited(config, request)))
    summary = found[0]
    if request.as_json:
        emit(json.dumps(summary, indent=2) + "\n")
    else:
        audit_report.show(summary)
    return 1 if summary["n_leaks"] else 0


def _audited(config: Mapping[str, Any], request: Request) -> dict[str, Any]:
    from coldstart_cli import assembly, audit_report, building
    from coldstart_cli import config as configs
    from coldstart_cli.audit import audit
    from coldstart_cli.evaluation import EvaluationPlan
    from coldstart_cli.runner import TrainingPlan

    assembly.check_values(config)
    training = configs.build(config["training"], "training", TrainingPlan, config["trust"], {})
    evaluation = configs.build(config["evaluation"], "evaluation", EvaluationPlan, config["trust"], {})
    if "on_bad" in config["dataset"]:  # what cannot be read is a finding, and ends no check
        config = {**config, "dataset": {**config["dataset"], "on_bad": "skip"}}
    source = building.source_of(config)
    try:
        assembly.check_shapes(source, training, evaluation)
    except RequestError:
        if hasattr(source, "labelled") and not request.as_json:  # what was read tells why it cannot serve
            audit_report.show_read(source.facts(), _unreadable(source))
        raise
    asked, not_served = _asked(source, training, evaluation, request.n_tasks)
    listed = {"known_duplicates": [], **config["dataset"]}["known_duplicates"]
    found = audit(source, asked, listed)
    return summary(config, source, found, not_served)


def _asked(
    source: TaskSource, training: Any, evaluation: EvaluationPlan, n_tasks: int | None
) -> tuple[list[Asked], list[str]]:
    """What a run draws, each once, and why some of it is left out."""
    from coldstart_cli import assembly
    from coldstart_cli.bank import Asked
    from coldstart_cli.evaluation import shape_of

    uses = {"dataset": "training", "training.validation": "validation", "evaluation": "evaluation"}
    drawn: dict[tuple[Split, TaskShape], dict[str, None]] = {}
    for key, split, shape in assembly.shapes_asked(source, training, evaluation):
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
    """What data of one's own hold that could not be read, a line each."""
    return list(getattr(getattr(source, "labelled", None), "skipped", ()))


def summary(
    config: Mapping[str, Any], source: TaskSource, found: Audit, not_served: Sequence[str]
) -> dict[str, Any]:
    """All of an audit, as JSON keeps it."""
    return {
        "name": config["names"]["dataset"],
        "settings": config["dataset"],
        "fingerprint": source.fingerprint,
        "facts": source.facts(),
        "n_leaks": found.n_leaks,
        "findings": [asdict(one) for one in found.findings],
        "not_served": list(not_served),
        "unreadable": _unreadable(source),
        "bank": [asdict(row) for row in found.bank],
    }
