"""`coldstart adapt`: a strategy adapted to one task of your own, as a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.config.key import RUN, Key
from coldstart_cli.errors import RequestError, printable
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "adapt",
        run,
        "adapt a trained or pretrained strategy to one task of your own: a bundle",
        "The data are read as dataset=arrays, image_folder, tabular or text says.",
        examples=(
            "coldstart adapt run=outputs/RUN dataset=image_folder dataset.root=PATH bundle=DIR",
            "coldstart adapt model=minilm_frozen strategy=nearest_centroid dataset=text dataset.root=MY.csv",
        ),
    )
    parser.key_values(Words(own=_keys, plan="adapt"))
    parser.config_dir()


def _keys() -> tuple[Key, ...]:
    return (
        Key("run", RUN, "DIR", "a finished run to start from; else strategy= and model= say what adapts"),
    )


def run(arguments: Namespace) -> int:
    """Adapts, writes the bundle, and says what it is.

    Raises:
        RequestError: for what cannot be adapted.
    """
    streams.set_up()
    from coldstart_cli.config import composition
    from coldstart_cli.config.building import build
    from coldstart_cli.files.untrusted import shaped
    from coldstart_cli.runs.run import Run

    typed, folders = arguments.overrides, composition.search_path(arguments.config_dir)
    values = composition.values_of("adapt", [])
    own = [word for word in typed if word.partition("=")[0] in values]
    runs = [word.partition("=")[2] for word in typed if word.startswith("run=")]
    rest = [word for word in typed if word not in own and not word.startswith("run=")]
    of_run = Run(Path(runs[-1])) if runs else None
    if of_run is not None:
        if of_run.state.get("state") != "finished":
            raise RequestError(
                f"run: {of_run.path} is not finished; repeat its coldstart train command first"
            )
        with composition.translated(rest), shaped("run", of_run.path):
            base = {**of_run.config, "outputs": str(of_run.path.parent)}
            config = composition.changed(base, rest, folders)
    else:
        ((_, config),) = composition.points([*folders, *rest])
    from coldstart_cli.bundles.adapting import AdaptPlan, adapt

    plan: AdaptPlan = build(composition.values_of("adapt", own), "adapt", AdaptPlan, [], {})
    print(*map(printable, _told(adapt(config, plan, of_run), plan.bundle)), sep="\n")
    return 0


def _told(card: Mapping[str, Any], bundle: str) -> list[str]:
    """What a person wants to know of a bundle, and what to do with it."""
    counts = sorted(card["examples_of"].values())
    each = f", {counts[0]} to {counts[-1]} a class" if counts else ""
    classes = f"{len(card['labels'])} classes, " if card["labels"] else ""
    lines = [
        f"{bundle}: {card['strategy']} ({card['model']}), {classes}{card['data']['examples']} examples{each}"
    ]
    found = card["cross_validation"]
    if found is None:
        lines.append("accuracy not known: a class has one label, so that none can be held out")
    else:
        percent = found["metric"] == "accuracy"
        scale, unit, form = (100, " %", ".1f") if percent else (1, "", ".4g")
        half = "?" if found["half_width"] is None else format(scale * found["half_width"], form)
        lines.append(
            f"{found['metric']} {scale * found['mean']:{form}} ± {half}{unit} by cross-validation on the "
            f"labels ({found['folds']} folds, {found['repeats']} times; the bundle has learned from all)"
        )
    lines += [
        f"{card['steps']} adaptation steps, by {card['steps_chosen_by']}; "
        f"{card['seconds']['adaptation']:.2f} s, {card['seconds']['in_all']:.1f} s in all",
        f"{card['sizes']['parameters']:,} parameters, {card['sizes']['stored_parameters']:,} of them stored",
    ]
    if card["data"]["skipped"]:
        lines.append(f"{card['data']['skipped']} examples could not be read and were left out")
    if card["labels"]:
        origin = card["temperature_from"].removeprefix("none: ")
        calibrated = f"probabilities at temperature {card['temperature']:.3g}, by {origin}"
        known = origin == card["temperature_from"]
        lines.append(calibrated if known else f"probabilities are not calibrated: {origin}")
    return [*lines, "Next:", f"  coldstart predict bundle={bundle} input=PATH"]
