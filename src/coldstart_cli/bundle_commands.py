"""`adapt`, `predict` and `export` as they are typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from coldstart_cli import composition, exporting, predicting
from coldstart_cli import config as configs
from coldstart_cli.adapting import AdaptPlan, adapt
from coldstart_cli.bundles import Bundle
from coldstart_cli.core import Inputs, joined, map_inputs, n_examples
from coldstart_cli.datasets.labelled import Labelled
from coldstart_cli.datasets.layouts import read_labelled, read_raw
from coldstart_cli.datasets.problems import OnBad, Problems
from coldstart_cli.datasets.tables import STDIN
from coldstart_cli.errors import RequestError, printable, suggestion
from coldstart_cli.foreign import shaped
from coldstart_cli.models.preprocess import Preprocess
from coldstart_cli.runs import Run

CHUNK = 256
"""Inputs that are predicted together."""
PROBE = 16
"""Inputs that an export is compared on."""


def run_adapt(overrides: Sequence[str], search_path: Sequence[str]) -> int:
    """`coldstart adapt [run=DIR] dataset=LAYOUT dataset.root=PATH bundle=DIR ...`.

    Raises:
        RequestError: for what cannot be adapted.
    """
    own_keys = {field.name for field in fields(AdaptPlan)}
    own = [o for o in overrides if o.partition("=")[0] in own_keys]
    runs = [o.partition("=")[2] for o in overrides if o.startswith("run=")]
    rest = [o for o in overrides if o not in own and not o.startswith("run=")]
    plan: AdaptPlan = configs.build(composition.values_of("adapt", own), "adapt", AdaptPlan, [], {})
    run = Run(Path(runs[-1])) if runs else None
    if run is not None:
        if run.state.get("state") != "finished":
            raise RequestError(f"run: {run.path} is not finished; repeat its coldstart train command first")
        with composition.translated(rest), shaped("run", run.path):
            base = {**run.config, "outputs": str(run.path.parent)}
            config = composition.changed(base, rest, search_path)
    else:
        ((_, config),) = composition.points([*search_path, *rest])
    print(*map(printable, _told(adapt(config, plan, run), plan.bundle)), sep="\n")
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


def run_predict(arguments: Sequence[str]) -> int:
    """`coldstart predict bundle=DIR input=PATH [--json|--csv] [threshold=P] [on_bad=skip]`.

    Raises:
        RequestError: for what cannot be read.
    """
    values, flags = _parsed(
        "predict",
        arguments,
        ("bundle", "input", "threshold", "on_bad"),
        ("--json", "--csv"),
        needed=("bundle", "input"),
    )
    on_bad = _choice("on_bad", values.get("on_bad", "stop"), get_args(OnBad))
    bundle = Bundle.load(values["bundle"])
    _check_there(values["input"])
    if "threshold" in values:
        bundle.card = {**bundle.card, "threshold": _share("threshold", values["threshold"])}
    form = "json" if "--json" in flags else "csv" if "--csv" in flags else "text"
    with shaped("bundle", values["bundle"]):
        problems = predicting.predict(bundle, values["input"], form, on_bad=on_bad, chunk=CHUNK)
    problems.warn(values["input"])
    return 0


def run_export(arguments: Sequence[str]) -> int:
    """`coldstart export bundle=DIR format=pt2|onnx|peft [input=PATH] [file=FILE]`.

    Raises:
        RequestError: for what cannot be exported.
        JobError: where the exported program answers otherwise.
    """
    values, _ = _parsed("export", arguments, ("bundle", "format", "input", "file"), (), needed=("bundle",))
    form = _choice("format", values.get("format", "pt2"), get_args(exporting.Format))
    bundle = Bundle.load(values["bundle"])
    file = Path(values.get("file", str(Path(values["bundle"]).with_suffix(f".{form}"))))
    if form == "peft":
        n = exporting.export_peft(bundle, file)
        print(f"{file}: peft, {n:,} low-rank weights of {bundle.card['build']['model']['path']}")
        return 0
    if "input" in values:
        _check_there(values["input"])
    probe = _probe(bundle, values.get("input"))
    worst = exporting.export(bundle, file, form, probe)
    print(f"{file}: {form}, {file.stat().st_size:,} bytes, any batch size")
    print(f"largest difference from predict on {n_examples(probe.own)} inputs: {worst:.2g}")
    tokenizer = exporting.copy_tokenizer(bundle, file)
    if tokenizer is not None:
        print(f"{tokenizer}: what makes its token ids of texts")
    return 0


def _probe(bundle: Bundle, path: str | None) -> exporting.Probe:
    """The first inputs of a file, or of what the bundle was adapted to; at least two.

    Raises:
        RequestError: where neither can be read.
    """
    both = []
    for preprocess in (exporting.reads(bundle), bundle.preprocess):
        inputs = _support(bundle, preprocess) if path is None else _first(bundle, preprocess, path)
        probe = map_inputs(lambda t: t[:PROBE], inputs)
        both.append(joined(probe, probe) if n_examples(probe) < 2 else probe)
    return exporting.Probe(*both)


def _first(bundle: Bundle, preprocess: Preprocess, path: str) -> Inputs:
    recipe, problems = bundle.card["build"]["recipe"], Problems("stop")
    raw = next(read_raw(recipe, preprocess, path, problems=problems, chunk=PROBE), None)
    if raw is None:
        raise RequestError(f"input: {path} has no example; name one that has")
    return raw.inputs


def _support(bundle: Bundle, preprocess: Preprocess) -> Inputs:
    """The examples that the bundle was adapted to, where they lie as they lay.

    Raises:
        RequestError: where they are not there, or are others now.
    """
    known, recipe = bundle.card["data"], bundle.card["build"]["recipe"]
    root, remedy = known.get("root"), "name some for the check of the export (input=PATH)"
    if root is None or not Path(root).exists():
        raise RequestError(f"input: what the bundle was adapted to is not there ({root}); {remedy}")

    def read(preprocess: Preprocess) -> Labelled:
        return read_labelled(recipe, preprocess, root, unlabelled=None, on_bad=known["on_bad"])

    own = read(bundle.preprocess)
    if own.fingerprint != known["hash"]:
        raise RequestError(f"input: {root} holds other examples than the bundle was adapted to; {remedy}")
    return own.inputs if preprocess is bundle.preprocess else read(preprocess).inputs


def _parsed(
    command: str,
    arguments: Sequence[str],
    keys: Sequence[str],
    switches: Sequence[str],
    *,
    needed: Sequence[str],
) -> tuple[dict[str, str], set[str]]:
    """key=value pairs and flags."""
    values: dict[str, str] = {}
    flags: set[str] = set()
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument in (*switches, "--debug"):
            flags.add(argument)
        elif equals and key in keys:
            values[key] = value
        else:
            raise RequestError(
                f"{argument}: {command} has no such key; {suggestion(key, [*keys, *switches])}"
            )
    for key in needed:
        if not values.get(key):
            example = " ".join(f"{name}={'DIR' if name == 'bundle' else 'PATH'}" for name in needed)
            raise RequestError(f"{key}: is needed; coldstart {command} {example}")
    return values, flags


def _check_there(path: str) -> None:
    """Refuses an input that is not there, with a name that resembles it."""
    if path != STDIN and not Path(path).exists():
        folder = Path(path).parent
        beside = [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
        close = suggestion(path, beside) if beside else ""
        remedy = close if close.startswith("did") else "name a file or folder of the bundle's layout, or -"
        raise RequestError(f"input: {path} is not there; {remedy}")


def _choice(key: str, value: str, choices: Sequence[str]) -> Any:
    if value not in choices:
        raise RequestError(f"{key}: {value!r} is no choice; {suggestion(value, choices)}")
    return value


def _share(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RequestError(f"{key}: {text!r} is not between 0 and 1; write {key}=0.5")
    return value
