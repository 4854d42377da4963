"""The command line: dispatch, flags, exit codes. Imports no torch and no Hydra before a job needs them.

Exit codes: 0 ok, 1 the job failed, 2 bad request, 3 some jobs of a sweep failed, 130 INT, 143 TERM.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coldstart_cli import __version__
from coldstart_cli.cli.arguments import parse
from coldstart_cli.errors import JobError, RequestError, line, suggestion, unforeseen
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.reports.finished_run import Show

USAGE = """\
coldstart: which strategy gets a model working on a new task with the fewest labels?

usage: coldstart COMMAND [overrides] [flags]

  train        train on source tasks, adapt to new ones, report the four evaluations
  evaluate     evaluate a finished run again: run=DIR, other shots, ways, steps, data, hardware
  tune         search hyper-parameters on source-validation tasks: 'optimizer.lr=interval(1e-4, 1e-2)'
  adapt        a trained or pretrained strategy to one task of your own -> a bundle
               [run=DIR] dataset=LAYOUT dataset.root=PATH bundle=DIR
  predict      labels and probabilities by a bundle   bundle=DIR input=PATH|- [--json|--csv] [threshold=P]
  export       a bundle as pt2 or onnx, checked   bundle=DIR input=PATH format=pt2|onnx
  compare      runs beside one another: a verdict, a table, an HTML report   DIR...
               [--html FILE] [--json] [--csv] [--for k=5,p95_ms=10] [--zone POINTS] [--confidence PERCENT]
  diff         how two runs' configurations differ   RUN RUN [--json]
  data fetch, verify   published data sets   dataset=NAME [dataset.root=DIR]
  data check   leaks in the data a run would use: support, query, classes, duplicates   [--json] [--tasks N]
  ls           list strategies, models, data sets, ...      [GROUP] [--json]
  cat, cp      print a config; copy it to start one's own   GROUP/NAME [FILE]
  doctor       versions, devices, threads, a write test and a short training
  bench        how fast training is here, of the most this machine can do   [--quick] [--json]
  completion   a completion script for bash, zsh or fish

flags of train
  -m           sweep: every combination of comma-separated values
  --cfg job    print the composed config and stop
  --dry-run    print parameters, FLOPs, seconds and disk, and stop
flags of train and evaluate
  --quiet      print the run directory alone
  --debug      show the whole stack of an error
  --config-dir DIR   look for configs of one's own there too (data check as well)

examples
  coldstart train strategy=maml
  coldstart train -m strategy=maml,protonet seed=0,1,2
  coldstart train strategy=maml dataset=omniglot dataset.root=path/to/omniglot
  coldstart evaluate run=outputs/RUN 'evaluation.k_shots=[1,2,5,10]'
  coldstart compare outputs --html report.html
  coldstart data check dataset=omniglot dataset.root=path/to/omniglot
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; refusals are one line on standard error."""
    streams.open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return _dispatch(arguments)
    except RequestError as error:
        return _failed(str(error), 2, debug)
    except JobError as error:
        return _failed(str(error), 1, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as error:
        number = getattr(error, "number", int(signal.SIGINT))
        return _failed("stopped: the same command goes on from here", 128 + number, debug)
    except SystemExit as error:  # of an argument parser that showed its help
        return int(error.code or 0)
    except Exception as error:
        return _failed(*unforeseen(error), debug)


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(line(message), file=sys.stderr)
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    if arguments[0] == "--version":
        print(f"coldstart {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        known = [command for command in COMMANDS if not command.startswith("_")]
        raise RequestError(f"{name}: there is no such command; {suggestion(name, known)}")
    own_help = name.startswith("_") or name in ("ls", "cat", "cp", "completion")
    if not own_help and {"-h", "--help"} & set(rest):
        print(USAGE, end="")
        return 0
    return COMMANDS[name](rest)


def _train(arguments: list[str]) -> int:
    flags = parse(arguments)
    streams.set_up()
    words = ["coldstart", "train", *arguments]
    if not (flags.multirun or flags.dry_run or flags.cfg):
        from coldstart_cli.experiment import requests

        show: Show = "path" if flags.quiet else "report"
        requests.train(flags.overrides, flags.config_dirs, show=show, command_line=words)
        return 0
    from coldstart_cli.config import composition

    overrides = [*composition.search_path(flags.config_dirs), *flags.overrides]
    if flags.cfg is not None:
        if flags.cfg not in ("job", "hydra", "all"):
            raise RequestError(f"--cfg: {flags.cfg!r} is no choice; choose job, hydra or all")
        overrides = next(composition.points(overrides))[0] if flags.multirun else overrides
        composition.run_jobs(overrides, ["--cfg", flags.cfg], lambda config: None)
        return 0
    from coldstart_cli.experiment import running

    options = running.Options(flags.quiet, flags.dry_run, words)
    if flags.multirun:
        from coldstart_cli.sweeps import sweep

        return sweep.run(overrides, options)
    composition.run_jobs(overrides, [], lambda config: _ignore(running.train(config, options)))
    return 0


def _tune(arguments: list[str]) -> int:
    flags = parse(arguments)
    if flags.multirun or flags.dry_run or flags.cfg:
        raise RequestError("tune: takes no -m, --dry-run or --cfg; leave them out")
    streams.set_up()
    from coldstart_cli.config import composition
    from coldstart_cli.experiment import running
    from coldstart_cli.sweeps import search

    options = running.Options(flags.quiet, False, ["coldstart", "tune", *arguments])
    return search.tune([*composition.search_path(flags.config_dirs), *flags.overrides], options)


def _evaluate(arguments: list[str]) -> int:
    flags = parse(arguments)
    chosen = [o for o in flags.overrides if o.startswith("run=")]
    if len(chosen) != 1 or chosen == ["run="]:
        raise RequestError("run: name one finished run; coldstart evaluate run=outputs/RUN")
    if flags.multirun or flags.dry_run or flags.cfg:
        raise RequestError("evaluate: takes no -m, --dry-run or --cfg; leave them out")
    streams.set_up()
    from coldstart_cli.experiment import requests
    from coldstart_cli.runs.run import Run

    run, words = Run(Path(chosen[0].partition("=")[2])), ["coldstart", "evaluate", *arguments]
    overrides = [o for o in flags.overrides if o not in chosen]
    show: Show = "path" if flags.quiet else "report"
    requests.evaluate(run, overrides, flags.config_dirs, show=show, command_line=words)
    return 0


def _data(arguments: list[str]) -> int:
    from coldstart_cli.cli import data

    if arguments[:1] in (["fetch"], ["verify"]):
        from coldstart_cli.datasets.readers import download

        return download.main(arguments)
    request, rest = data.parse(arguments)
    flags = parse(rest)
    if flags.multirun or flags.dry_run or flags.cfg or flags.quiet:
        raise RequestError("data: takes no -m, --dry-run, --cfg or --quiet; leave them out")
    streams.set_up()
    from coldstart_cli.config import composition

    return data.check([*composition.search_path(flags.config_dirs), *flags.overrides], request)


def _bundles(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        streams.set_up()
        from coldstart_cli.cli import adapt, export, predict
        from coldstart_cli.config import composition

        if name == "adapt":
            flags = parse(arguments)
            if flags.multirun or flags.dry_run or flags.cfg:
                raise RequestError("adapt: takes no -m, --dry-run or --cfg; leave them out")
            return adapt.run_adapt(flags.overrides, composition.search_path(flags.config_dirs))
        run = {"predict": predict.run_predict, "export": export.run_export}[name]
        return run(arguments)

    return command


def _machine(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        streams.set_up()
        from coldstart_cli.bench import rows
        from coldstart_cli.cli import doctor

        return rows.main(arguments) if name == "bench" else doctor.main(arguments)

    return command


def _comparison(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        from coldstart_cli.cli import compare, diff

        return diff.diff(arguments) if name == "diff" else compare.main(arguments)

    return command


def _catalog(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        from coldstart_cli.cli import completion, configs

        if name in ("ls", "cat", "cp"):
            return {"ls": configs.ls, "cat": configs.cat, "cp": configs.cp}[name](arguments)
        return {"completion": completion.completion, "_complete": completion.complete}[name](arguments)

    return command


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "tune": _tune,
    **{name: _bundles(name) for name in ("adapt", "predict", "export")},
    **{name: _comparison(name) for name in ("compare", "diff")},
    "data": _data,
    **{name: _machine(name) for name in ("doctor", "bench")},
    **{name: _catalog(name) for name in ("ls", "cat", "cp", "completion", "_complete")},
}


def _ignore(result: object) -> None:
    """Hydra's jobs return nothing."""


if __name__ == "__main__":
    sys.exit(main())
