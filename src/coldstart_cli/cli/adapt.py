"""`adapt`, `predict` and `export` as they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from coldstart_cli.bundles.adapting import AdaptPlan, adapt
from coldstart_cli.bundles.card import Card
from coldstart_cli.config import composition
from coldstart_cli.config.building import build
from coldstart_cli.errors import RequestError, printable
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.runs.run import Run


def run_adapt(overrides: Sequence[str], search_path: Sequence[str]) -> int:
    """`coldstart adapt [run=DIR] dataset=LAYOUT dataset.root=PATH bundle=DIR ...`.

    Raises:
        RequestError: for what cannot be adapted.
    """
    own_keys = {field.name for field in fields(AdaptPlan)}
    own = [o for o in overrides if o.partition("=")[0] in own_keys]
    runs = [o.partition("=")[2] for o in overrides if o.startswith("run=")]
    rest = [o for o in overrides if o not in own and not o.startswith("run=")]
    plan: AdaptPlan = build(composition.values_of("adapt", own), "adapt", AdaptPlan, [], {})
    run = Run(Path(runs[-1])) if runs else None
    if run is not None:
        if run.state.get("state") != "finished":
            raise RequestError(f"run: {run.path} is not finished; repeat its coldstart train command first")
        with composition.translated(rest), shaped("run", run.path):
            base = {**run.config, "outputs": str(run.path.parent)}
            config = composition.changed(base, rest, search_path)
    else:
        ((_, config),) = composition.points([*search_path, *rest])
    print(*map(printable, _told(adapt(config, plan, run).card, plan.bundle)), sep="\n")
    return 0


def _told(card: Card, bundle: str) -> list[str]:
    """What a person wants to know of a bundle, and what to do with it."""
    counts = sorted(card.examples_of.values())
    each = f", {counts[0]} to {counts[-1]} a class" if counts else ""
    classes = f"{len(card.labels)} classes, " if card.labels else ""
    lines = [f"{bundle}: {card.strategy} ({card.model}), {classes}{card.data.examples} examples{each}"]
    found = card.cross_validation
    if found is None:
        lines.append("accuracy not known: a class has one label, so that none can be held out")
    else:
        percent = found.metric == "accuracy"
        scale, unit, form = (100, " %", ".1f") if percent else (1, "", ".4g")
        half = "?" if found.half_width is None else format(scale * found.half_width, form)
        lines.append(
            f"{found.metric} {scale * found.mean:{form}} ± {half}{unit} by cross-validation on the "
            f"labels ({found.folds} folds, {found.repeats} times; the bundle has learned from all)"
        )
    assert card.sizes is not None  # it has been saved
    lines += [
        f"{card.steps} adaptation steps, by {card.steps_chosen_by}; "
        f"{card.seconds.adaptation:.2f} s, {card.seconds.in_all:.1f} s in all",
        f"{card.sizes.parameters:,} parameters, {card.sizes.stored_parameters:,} of them stored",
    ]
    if card.data.skipped:
        lines.append(f"{card.data.skipped} examples could not be read and were left out")
    if card.labels:
        origin = card.temperature_from.removeprefix("none: ")
        calibrated = f"probabilities at temperature {card.temperature:.3g}, by {origin}"
        known = origin == card.temperature_from
        lines.append(calibrated if known else f"probabilities are not calibrated: {origin}")
    return [*lines, "Next:", f"  coldstart predict bundle={bundle} input=PATH"]
