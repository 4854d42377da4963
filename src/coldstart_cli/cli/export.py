"""`coldstart export`: a bundle as pt2, onnx or peft, checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.cli.parsing import Namespace, Parser, Words, values_of
from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.bundles.bundle import Bundle


def add(program: Parser) -> None:
    """The command's words."""
    parser = program.command(
        "export",
        run,
        "a bundle as pt2 or onnx, checked, or its low-rank weights for peft",
        "The frozen encoder is inside; what is exported is compared with the bundle on a few inputs.",
        examples=("coldstart export bundle=intents format=onnx file=intents.onnx",),
    )
    parser.key_values(Words(own=keys, composes=False))


def keys() -> tuple[Key, ...]:
    """The words of the command."""
    from coldstart_cli.config.annotations import choices
    from coldstart_cli.config.signatures import alias

    forms = choices(alias("coldstart_cli.bundles.exporting.exporting", "Format"))
    return (
        Key("bundle", "text", "DIR", "the folder that adapt wrote"),
        Key("format", " | ".join(forms), "pt2", "what is written", choices=forms),
        Key(
            "input",
            "text",
            "",
            "a file or folder for the check; else what the bundle was adapted to",
        ),
        Key(
            "inside",
            "true | false",
            "false",
            "onnx: put it into the bundle, by which predict then answers without torch",
            choices=("true", "false"),
        ),
        Key("file", "text", "", "the file to write; else the bundle's name with the format as its suffix"),
    )


def run(arguments: Namespace) -> int:
    """Exports, compares, and prints how large the difference is.

    Raises:
        RequestError: for what cannot be exported.
        JobError: where the exported program answers otherwise.
    """
    values = values_of("export", arguments.overrides, keys(), needed=("bundle",))
    streams.set_up()
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.exporting import exporting
    from coldstart_cli.bundles.exporting.export_probe import probes
    from coldstart_cli.bundles.kept.versions import whose
    from coldstart_cli.cli.inputs import check_there
    from coldstart_cli.core.tasks import n_examples
    from coldstart_cli.files.outputs import check_output, is_stream

    form: Any = values.get("format", "pt2")
    bundle = Bundle.load(values["bundle"])
    folder = Path(values["bundle"])
    folder = folder if folder.name else folder.resolve()
    # Added to the name and not put in place of its end: a.v1 and a.v2 are two bundles
    beside = folder.with_name(f"{folder.name}.{form}")
    if (of := whose(folder)) is not None:  # beside a version lie others, and nothing else may
        beside = of.with_name(f"{of.name}-version-{folder.name}.{form}")
    file = Path(values["file"]) if "file" in values else beside
    if values.get("inside") == "true":
        return _inside(bundle, values)
    if "input" in values:
        check_there(values["input"])
    if form in _OF_OTHERS:
        _OF_OTHERS[form](bundle, file, values.get("input"))
        return 0
    check_output(file, "file")
    inputs = probes(bundle, values.get("input"))
    worst = exporting.export(bundle, file, form, inputs)
    stream = is_stream(file)
    said = sys.stderr if stream else sys.stdout  # which may be what was written to
    size = "" if stream else f" {file.stat().st_size:,} bytes,"
    print(f"{file}: {form},{size} any batch size; labels and temperature inside", file=said)
    n = sum(n_examples(part.own) for part in inputs)
    print(f"largest difference from predict on {n} inputs: {worst:.2g}", file=said)
    tokenizer = None if stream else exporting.write_tokenizer(bundle, file, form)
    if tokenizer is not None:
        print(f"{tokenizer}: what makes its token ids of texts, cut and filled up alike", file=said)
    return 0


def _inside(bundle: Bundle, values: Mapping[str, str]) -> int:
    from coldstart_cli.bundles.exporting import exporting
    from coldstart_cli.bundles.exporting.export_probe import probes
    from coldstart_cli.core.tasks import n_examples

    if values.get("format", "onnx") != "onnx" or "file" in values:
        raise RequestError("inside: the bundle holds onnx under a name of its own; leave out format and file")
    inputs = probes(bundle, values.get("input"))
    worst = exporting.put_inside(bundle, inputs)
    n = sum(n_examples(part.own) for part in inputs)
    print(f"{bundle.path}: holds its predictor as onnx; coldstart predict answers by it without torch")
    print(f"largest difference from predict on {n} inputs: {worst:.2g}")
    return 0


def _peft(bundle: Bundle, file: Path, asked: str | None) -> None:
    from coldstart_cli.bundles.exporting import exporting

    n = exporting.export_peft(bundle, file)
    print(f"{file}: peft, {n:,} low-rank weights of {bundle.card.build.model['path']}")


def _mlflow(bundle: Bundle, file: Path, asked: str | None) -> None:
    from coldstart_cli.bundles.exporting.export_probe import raw_probe
    from coldstart_cli.bundles.exporting.mlflow_model import export_mlflow

    n = export_mlflow(bundle, file, raw_probe(bundle, asked))
    print(f"{file}: a model of MLflow, without a pickle; mlflow.pyfunc.load_model reads it")
    print(f"its {n} answers to the first inputs are those of predict")


def _huggingface(bundle: Bundle, file: Path, asked: str | None) -> None:
    from coldstart_cli.bundles.exporting.export_probe import probes
    from coldstart_cli.bundles.exporting.huggingface import export_huggingface

    name, worst = export_huggingface(bundle, file, probes(bundle, asked))
    print(f"{file}: {name}, whose softmax is calibrated; largest difference from predict: {worst:.2g}")


_OF_OTHERS = {"peft": _peft, "mlflow": _mlflow, "huggingface": _huggingface}
"""Formats of others, and what writes them: (bundle, folder, inputs to compare on)."""
