"""`coldstart adapt`: a strategy, trained or pretrained, meets one labelled task; the result is a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from coldstart_cli.bundles.adapting import notices
from coldstart_cli.bundles.adapting.changes import (
    Earlier,
    adapted_otherwise,
    changed,
    check_same_task,
    earlier_in,
)
from coldstart_cli.bundles.adapting.estimates import estimated, without_luck
from coldstart_cli.bundles.adapting.held_out_rows import rows_of
from coldstart_cli.bundles.adapting.preparing import AdaptPlan, Prepared, prepared
from coldstart_cli.bundles.adapting.settling import calibrated, chosen_steps
from coldstart_cli.bundles.adapting.stated_test import scored
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.judging.batch_statistics import reads_its_batch, settled
from coldstart_cli.bundles.judging.held_out_labels import Answers, Rehearsal, Told
from coldstart_cli.bundles.judging.kept_precision import kept_precision
from coldstart_cli.bundles.kept.card import (
    BY_LABELS,
    Card,
    Changed,
    Seconds,
)
from coldstart_cli.bundles.kept.kept_rows import KeptRows
from coldstart_cli.bundles.kept.origin import determined_by, made_of
from coldstart_cli.bundles.rebuild import base_of, build_section
from coldstart_cli.core.stepping import last_step
from coldstart_cli.experiment.parts import preprocess_of
from coldstart_cli.runs.run import Run


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What is settled before the strategy adapts to all labels.

    Attributes:
        step, how: the number of adaptation steps, and how it was chosen.
        answers: to held-out labels, or None where none can be held out.
        started: by `time.perf_counter`.
        luck: what the score of `answers` is expected to lose elsewhere, for having been the best of several.
        said: what else the card is to say.
    """

    step: int
    how: str
    answers: Answers | None
    started: float
    luck: float = 0.0
    said: tuple[str, ...] = ()


def adapt(
    config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, told: Told = lambda what, done, total: None
) -> Bundle:
    """Adapts, writes the bundle, and returns it; where nothing has changed, the one that is there.

    Args:
        config: resolved; the run's own with another data set, or one composed anew.
        told: hears how far it is.

    Raises:
        RequestError: see `prepared`.
    """
    ready = prepared(config, plan, run)
    if (there := unchanged(config, plan, run, ready)) is not None:
        return there
    started = time.perf_counter()
    rehearsal = Rehearsal(ready.strategy, ready.support, ready.together, told)
    step, how = chosen_steps(rehearsal, ready.candidates, plan, run)
    answers = rehearsal.answers(step, plan.folds_to_estimate, plan.repeats_to_estimate)
    return bundled(config, plan, run, ready, Rehearsed(step, how, answers, started))


def _changed(config: Mapping[str, Any], ready: Prepared, earlier: Earlier, rows: KeptRows) -> Changed:
    task = ready.task
    found = changed(earlier, task.labelled, rows, ready.together, task.objective.headline)
    return replace(found, adapted_by=adapted_otherwise(earlier.card, config))


def unchanged(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared) -> Bundle | None:
    """The bundle that is there, where all that determines one is as it was; else None."""
    if ready.earlier is None or ready.earlier.card.made_from != _determined_by(config, plan, run, ready):
        return None
    bundle = Bundle.load(plan.bundle)
    bundle.found = True
    return bundle


def bundled(
    config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared, settled_by: Rehearsed
) -> Bundle:
    """Adapts to all labels, writes the bundle, and returns it."""
    own, facts = _adapted(config, plan, run, ready, settled_by)
    ready = _with_what_is_there(ready, plan)
    if (there := unchanged(config, plan, run, ready)) is not None:
        return there
    rows = KeptRows.of(ready.task.labelled, settled_by.answers)
    card = Card(
        made_from=_determined_by(config, plan, run, ready),
        changed=None if ready.earlier is None else _changed(config, ready, ready.earlier, rows),
        **made_of(config, plan.licence, run, ready.task.labelled),
        **facts,
    )
    preprocess = preprocess_of(config["model"], "model", config["trust"])
    bundle = Bundle(card, own.cpu(), preprocess)
    bundle.save(
        Path(plan.bundle),
        base_of(config["model"]),
        copy_base=plan.copy_base,
        rows=rows.as_bytes(),
        keep=0 if plan.overwrite else plan.keep_versions,
    )
    return bundle


def _adapted(
    config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared, settled_by: Rehearsed
) -> tuple[nn.Module, dict[str, Any]]:
    """The predictor, and what the card says of it, whatever bundle is there."""
    strategy, support, task = ready.strategy, ready.support, ready.task
    step, how, answers = settled_by.step, settled_by.how, settled_by.answers
    before = time.perf_counter()
    taken, adapted = last_step(strategy, support, step)
    seconds = time.perf_counter() - before
    own = settled(adapted.module, support)
    t, origin = calibrated(config, plan, run, ready, answers, step)
    measured = None if answers is None else estimated(answers, task.objective, task.labelled.classes)
    found = notices.of_data(task.labelled, ready.together)
    found += notices.of_code(config)
    found += notices.of_strategy(config, strategy, support, adapted, step)
    found += notices.of_result(measured, config, task.labelled.classes)
    found += notices.of_choices(
        config, ready.candidates, (step, taken), how, t if origin == BY_LABELS else None
    )
    threshold = plan.threshold
    if plan.precision is not None:
        threshold, how_sure = kept_precision(answers, t, plan.precision, plan.threshold)
        found.append(how_sure)
    dataset, passed = config["dataset"], time.perf_counter() - settled_by.started
    return own, {
        "steps": taken,
        "steps_chosen_by": how,
        "threshold": threshold,
        "build": build_section(config, task, ready.known, is_settled=reads_its_batch(adapted.module)),
        "cross_validation": None if measured is None else without_luck(measured, settled_by.luck),
        "temperature": t,
        "temperature_from": origin,
        "seconds": Seconds(adaptation=round(seconds, 4), in_all=round(passed, 3)),
        "held_out": rows_of(answers, task.labelled, dataset["root"], dataset.get("labelled", ())),
        "test": None if ready.test is None else scored(own, ready.test, ready.hardware.device),
        "said": (*ready.said, *settled_by.said, *found),
        "input_ranges": ready.ranges,
    }


def _with_what_is_there(ready: Prepared, plan: AdaptPlan) -> Prepared:
    """With the bundle that is in the folder by now: another command may have put one there meanwhile.

    Raises:
        RequestError: where it is one of another task.
    """
    earlier = None if plan.overwrite else earlier_in(Path(plan.bundle))
    if earlier is not None:
        check_same_task(earlier, ready.task.labelled, plan.bundle)
    return replace(ready, earlier=earlier)


def _determined_by(config: Mapping[str, Any], plan: AdaptPlan, run: Run | None, ready: Prepared) -> str:
    return determined_by(config, asdict(plan), run, ready.strategy, ready.task.labelled, ready.test)
