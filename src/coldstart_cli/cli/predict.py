"""`coldstart predict`: labels and probabilities by a bundle."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.cli.parsing import Namespace, Number, Parser, Words, values_of
from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError
from coldstart_cli.package import getting
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.predicting.program import OnnxPredictor


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "predict",
        run,
        "labels and probabilities by a bundle",
        "Each line is a label, its probability and the input; a regression has the value alone. "
        "Standard input is answered as its lines come.",
        examples=(
            "coldstart predict bundle=intents input=questions.csv output=answers.csv keep=id,text",
            "coldstart predict bundle=intents input=questions.csv top_k=3 --json",
            "printf 'How do I top up?\\n' | coldstart predict bundle=intents input=-",
        ),
    )
    parser.key_values(Words(own=keys, composes=False))
    parser.flag("--json", action="store_true", help="print a JSON object for each input")
    parser.flag("--csv", action="store_true", help="print CSV; labels stand in it as they are")
    parser.flag(
        "--spreadsheet",
        action="store_true",
        help="CSV for a spreadsheet: what it would take for a formula, such as -1, is written as '-1",
    )


def keys() -> tuple[Key, ...]:
    """The words of the command."""
    from coldstart_cli.bundles.predicting.input_form import form_keys
    from coldstart_cli.config.annotations import choices
    from coldstart_cli.config.signatures import alias

    on_bad = choices(alias("coldstart_cli.datasets.readers.problems", "OnBad"))
    return (
        Key("bundle", "text", "DIR", "the folder that adapt wrote"),
        Key("input", "text", "PATH", "a file or folder of the bundle's layout, or - for standard input"),
        Key(
            "threshold",
            "number >= 0 and <= 1",
            "",
            "abstain below this probability; else the bundle's",
        ),
        Key(
            "output",
            "text",
            "FILE",
            "a new file to write to: CSV or JSON by its name (.csv, .jsonl), else text",
        ),
        Key("keep", "text", "COLUMNS", "columns of the input beside the answer: id,name or all"),
        Key("top_k", "whole number >= 1", "1", "labels of each input, the likeliest first"),
        Key(
            "probabilities",
            "true | false",
            "false",
            "the probability of every class",
            choices=("true", "false"),
        ),
        Key("batch_size", "whole number >= 1", "256", "inputs that are predicted together, at most"),
        Key(
            "runtime",
            "auto | onnxruntime | torch",
            "auto",
            "what computes; auto: the bundle's own program, where it holds one (export inside=true)",
            choices=("auto", "onnxruntime", "torch"),
        ),
        Key("on_bad", " | ".join(on_bad), "stop", "what an input does that cannot be read", choices=on_bad),
        *form_keys(),
    )


def run(arguments: Namespace) -> int:
    """Predicts and prints, or writes a file.

    Raises:
        RequestError: for what cannot be read.
    """
    values = values_of("predict", arguments.overrides, keys(), needed=("bundle", "input"))
    output = Path(values["output"]).expanduser() if values.get("output") else None
    settings: dict[str, Any] = {
        "form": _form(arguments, output),
        "threshold": _number(values, "threshold", 0, 1, "threshold=0.5"),
        "top_k": int(_number(values, "top_k", 1, 1e6, "top_k=3") or 1),
        "probabilities": values.get("probabilities") == "true",
        "keep": tuple(filter(None, values.get("keep", "").strip("[]").split(","))),
        "batch_size": int(_number(values, "batch_size", 1, 1e6, "batch_size=256") or 256),
        "spreadsheet": arguments.spreadsheet,
    }
    if output is not None and output.exists():
        raise RequestError(f"output: {output} is already there; name a new file")
    streams.set_up()
    from coldstart_cli.bundles.predicting import predicting
    from coldstart_cli.bundles.predicting.input_form import with_form
    from coldstart_cli.cli.inputs import check_there, own_keys
    from coldstart_cli.files.durable import text_file
    from coldstart_cli.files.untrusted import shaped

    predictor = _predictor(Path(values["bundle"]), values.get("runtime", "auto"))
    predictor.card = with_form(predictor.card, values)
    check_there(values["input"])
    on_bad: Any = values.get("on_bad", "stop")
    asked = predicting.Asked(**settings)
    written = contextlib.nullcontext(sys.stdout) if output is None else text_file(output)
    with own_keys(), shaped("bundle", values["bundle"]), written as out:
        problems = predicting.predict(predictor, values["input"], asked, out, on_bad=on_bad)
        problems.warn(values["input"], predictor.preprocess.max_length)
    return 0


def _predictor(folder: Path, runtime: str) -> Bundle | OnnxPredictor:
    """The bundle's own program where it holds one and its runtime is installed, which is told; else torch.

    Raises:
        RequestError: where a bundle is damaged, or a program is asked for that is not there.
    """
    from coldstart_cli.bundles.predicting import program

    if runtime == "onnxruntime" and not program.held(folder):
        raise RequestError(
            "runtime: the bundle holds no program; coldstart export inside=true puts one in, or leave it out"
        )
    if runtime != "torch" and program.held(folder):
        lack = program.missing()
        if lack is None and (found := program.OnnxPredictor.load(folder)) is not None:
            print(f"answered by {found.runtime}, from the bundle's own program", file=sys.stderr)
            return found
        remedy = f"{lack} is not installed ({getting('hf,onnx')})"
        if runtime == "onnxruntime":
            raise RequestError(f"runtime: {remedy if lack else 'the card names no program; export it again'}")
        if lack is not None:
            print(f"answered by torch: {remedy}, by which this bundle would start sooner", file=sys.stderr)
    from coldstart_cli.bundles.bundle import Bundle

    bundle = Bundle.load(folder)
    if runtime != "torch" and program.lost(folder, bundle.card):
        print(
            "answered by torch: the program that the card names is gone; coldstart export inside=true "
            "makes it anew",
            file=sys.stderr,
        )
    return bundle


def _form(arguments: Namespace, output: Path | None) -> str:
    """What a flag says, or the name of the file."""
    if arguments.json:
        return "json"
    if arguments.csv or arguments.spreadsheet:
        return "csv"
    suffix = "" if output is None else output.suffix.lower()
    if suffix == ".json":
        raise RequestError(f"output: {output} would hold an object a line; name it .jsonl")
    return {".csv": "csv", ".jsonl": "json", ".ndjson": "json"}.get(suffix, "text")


def _number(values: Mapping[str, str], name: str, low: float, high: float, remedy: str) -> float | None:
    """A number of the command line, or None where it is not given; whole where its lowest value is 1."""
    if name not in values:
        return None
    number = Number(name, low, high, remedy)(values[name])
    if low == 1 and not number.is_integer():
        raise RequestError(f"{name}: {values[name]} is not a whole number; write {remedy}")
    return number
