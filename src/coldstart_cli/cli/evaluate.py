"""`coldstart evaluate`: a finished run again, with other shots, ways, steps, data; or a bundle."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coldstart_cli.cli.parsing import Namespace, Number, Parser, Words, a_file, values_of
from coldstart_cli.config.key import EVALUATED, RUN, Key
from coldstart_cli.errors import RequestError
from coldstart_cli.files.outputs import check_output, write_output
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.bundles.evaluating.evaluation import Evaluation
    from coldstart_cli.reports.finished_run import Show


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "evaluate",
        run,
        "evaluate a finished run again, or a bundle on labelled data",
        "Of a run other shots, ways, steps, data, hardware: nothing is trained; the evaluation lies beside "
        "the run's others. Of a bundle: whether it is right, where not, and which labels look wrong.",
        examples=(
            "coldstart evaluate bundle=intents input=labelled.csv precision=0.95 wrong=wrong.csv",
            "coldstart evaluate bundle=intents input=labelled.csv --html report.html",
            "coldstart evaluate run=outputs/RUN 'evaluation.k_shots=[1,2,5,10]'",
            "coldstart evaluate run=outputs/RUN dataset=omniglot evaluation.n_way=20 hardware=cuda",
        ),
    )
    parser.key_values(Words(own=_keys, roots=EVALUATED))
    parser.flag("-q", "--quiet", action="store_true", help="print the run directory alone")
    parser.flag("--json", action="store_true", help="of a bundle: print everything as a JSON object")
    parser.flag("--html", metavar="FILE", type=a_file, help="of a bundle: write a report there")
    parser.config_dir()


def _keys() -> tuple[Key, ...]:
    return (
        Key("run", RUN, "DIR", "the finished run"),
        Key(
            "again",
            "true | false",
            "false",
            "evaluate anew even so",
            choices=("false", "true"),
        ),
        *_keys_of_bundles(),
    )


def _keys_of_bundles() -> tuple[Key, ...]:
    from coldstart_cli.bundles.predicting.input_form import form_keys
    from coldstart_cli.config.annotations import choices
    from coldstart_cli.config.signatures import alias

    on_bad = choices(alias("coldstart_cli.datasets.readers.problems", "OnBad"))
    return (
        Key("bundle", "text", "DIR", "in place of run: the folder that adapt wrote"),
        Key("input", "text", "PATH", "of a bundle: a labelled file or folder of its layout"),
        Key("label_column", "text", "NAME", "of the label, where the bundle's own data had another"),
        Key("precision", "number > 0 and < 1", "", "find the threshold whose answers are so often right"),
        Key("output", "text", "FILE", "a new file for the whole confusion matrix (CSV)"),
        Key("wrong", "text", "FILE", "a new file for the rows that are answered wrongly (CSV)"),
        Key("on_bad", " | ".join(on_bad), "stop", "what a row does that cannot be read", choices=on_bad),
        *form_keys(),
    )


def run(arguments: Namespace) -> int:
    """Evaluates what the words change of the run's own config; or a bundle.

    Raises:
        RequestError: for what cannot be evaluated.
    """
    if any(word.startswith("bundle=") for word in arguments.overrides):
        return _run_bundle(arguments)
    if arguments.json:
        raise RequestError("--json: is of bundles (bundle=DIR); a run's results lie in its summary.json")
    if arguments.html is not None:
        raise RequestError("--html: is of bundles (bundle=DIR); of a run: coldstart compare DIR --html FILE")
    chosen = [word for word in arguments.overrides if word.startswith("run=")]
    if len(chosen) != 1 or chosen == ["run="]:
        raise RequestError("run: name one finished run, or a bundle; coldstart evaluate run=outputs/RUN")
    streams.set_up()
    from coldstart_cli.experiment import requests
    from coldstart_cli.runs.run import Run

    of_run = Run(Path(chosen[0].partition("=")[2]))
    overrides = [word for word in arguments.overrides if word not in chosen]
    show: Show = "path" if arguments.quiet else "report"
    requests.evaluate(of_run, overrides, arguments.config_dir, show=show, command_line=arguments.command_line)
    return 0


def _run_bundle(arguments: Namespace) -> int:
    values = values_of("evaluate", arguments.overrides, _keys_of_bundles(), needed=("bundle", "input"))
    precision = None
    if "precision" in values:
        precision = Number("precision", 0.01, 0.9999, "precision=0.95")(values["precision"])
    files = {name: Path(values[name]).expanduser() for name in ("output", "wrong") if values.get(name)}
    for name, file in files.items():
        if file.exists():
            raise RequestError(f"{name}: {file} is already there; name a new file")
        if file.suffix.lower() != ".csv":
            raise RequestError(f"{name}: {file} will hold CSV; name it .csv")
    if arguments.html is not None:
        check_output(Path(arguments.html), "--html")  # before anything is answered
    streams.set_up()
    from coldstart_cli.bundles.bundle import Bundle
    from coldstart_cli.bundles.predicting.input_form import with_form
    from coldstart_cli.cli.evaluation_lines import lines
    from coldstart_cli.cli.inputs import check_there, own_keys
    from coldstart_cli.files.untrusted import shaped
    from coldstart_cli.safe_text import printable

    bundle = Bundle.load(values["bundle"])
    bundle.card = with_form(bundle.card, values)
    if values["input"] == "-":
        raise RequestError("input: labels are read from files; name one")
    check_there(values["input"])
    if files and not bundle.card.labels:
        raise RequestError(f"{next(iter(files))}: the bundle answers with numbers; leave it out")
    on_bad: Any = values.get("on_bad", "stop")
    with own_keys(), shaped("bundle", values["bundle"]):
        found = bundle.evaluate(
            values["input"], label_column=values.get("label_column"), precision=precision, on_bad=on_bad
        )
    _write(found, files)
    if arguments.html is not None:
        _write_page(found, arguments)
    if arguments.json:
        print(json.dumps(found.as_json(), indent=2, allow_nan=False, default=str))
    else:
        print(*(printable(line) for line in lines(found)), sep="\n")
    return 0


def _write(found: Evaluation, files: Mapping[str, Path]) -> None:
    from coldstart_cli.cli.evaluation_lines import write_doubts, write_matrix
    from coldstart_cli.files.durable import text_file

    if found.classes is None:
        return
    if "output" in files:
        with text_file(files["output"]) as out:
            write_matrix(found.classes, out)
    if "wrong" in files:
        with text_file(files["wrong"]) as out:
            write_doubts(found.classes.doubts, out)


def _write_page(found: Evaluation, arguments: Namespace) -> None:
    from coldstart_cli.bundles.evaluating.evaluation_report import report_of
    from coldstart_cli.reports.html import evaluated

    # Files that it has written would be there already.
    words = [word for word in arguments.overrides if not word.startswith(("output=", "wrong="))]
    command = shlex.join(["coldstart", "evaluate", *words, "--html", arguments.html])
    page = evaluated.render(report_of(found, command))
    write_output(Path(arguments.html), page.encode(), "--html")
    print(f"report: {arguments.html}", file=sys.stderr)
