"""The command line: dispatch, flags, exit codes. Imports no torch and no Hydra before a job needs them.

Exit codes: 0 ok, 1 the job failed, 2 bad request, 3 some jobs of a sweep failed, 130 INT, 143 TERM.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coldstart_cli import __version__, process
from coldstart_cli.errors import JobError, RequestError, line, suggestion, unforeseen

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


@dataclass(slots=True)
class Flags:
    multirun: bool = False
    quiet: bool = False
    debug: bool = False
    dry_run: bool = False
    cfg: str | None = None
    config_dirs: list[str] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; refusals are one line on standard error."""
    process.open_streams()
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


def parse(arguments: Sequence[str]) -> Flags:
    """
    Raises:
        RequestError: for a flag that no command has.
    """
    flags = Flags()
    switches = {"-m": "multirun", "--multirun": "multirun", "--quiet": "quiet", "-q": "quiet"}
    switches |= {"--debug": "debug", "--dry-run": "dry_run"}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in switches:
            setattr(flags, switches[argument], True)
        elif name in ("--cfg", "--config-dir"):
            value = value if equals else next(rest, "")
            if not value:
                raise RequestError(
                    f"{name}: needs a value; write {name} {'job' if name == '--cfg' else 'DIR'}"
                )
            if name == "--cfg":
                flags.cfg = value
            else:
                flags.config_dirs.append(value)
        elif argument.startswith("-"):
            known = [*switches, "--cfg", "--config-dir", "--help"]
            raise RequestError(f"{argument}: there is no such flag; {suggestion(argument, known)}")
        else:
            flags.overrides.append(argument)
    return flags


def _train(arguments: list[str]) -> int:
    flags = parse(arguments)
    process.set_up()
    from coldstart_cli import finished

    plain = not (flags.multirun or flags.dry_run or flags.cfg)
    asked = finished.key(flags.overrides, flags.config_dirs) if plain else None
    if asked and finished.answered(asked, quiet=flags.quiet):
        return 0
    from coldstart_cli import composition

    overrides = [*_search_path(flags.config_dirs), *flags.overrides]
    if flags.cfg is not None:
        if flags.cfg not in ("job", "hydra", "all"):
            raise RequestError(f"--cfg: {flags.cfg!r} is no choice; choose job, hydra or all")
        overrides = next(composition.points(overrides))[0] if flags.multirun else overrides
        composition.run_jobs(overrides, ["--cfg", flags.cfg], lambda config: None)
        return 0
    from coldstart_cli import commands

    words = ["coldstart", "train", *arguments]
    options = commands.Options(flags.quiet, flags.dry_run, words, asked=asked)
    if flags.multirun:
        from coldstart_cli import sweep

        return sweep.run(overrides, options)
    composition.run_jobs(overrides, [], lambda config: _ignore(commands.train(config, options)))
    return 0


def _tune(arguments: list[str]) -> int:
    flags = parse(arguments)
    if flags.multirun or flags.dry_run or flags.cfg:
        raise RequestError("tune: takes no -m, --dry-run or --cfg; leave them out")
    process.set_up()
    from coldstart_cli import commands, tune

    options = commands.Options(flags.quiet, False, ["coldstart", "tune", *arguments])
    return tune.tune([*_search_path(flags.config_dirs), *flags.overrides], options)


def _evaluate(arguments: list[str]) -> int:
    flags = parse(arguments)
    chosen = [o for o in flags.overrides if o.startswith("run=")]
    if len(chosen) != 1 or chosen == ["run="]:
        raise RequestError("run: name one finished run; coldstart evaluate run=outputs/RUN")
    if flags.multirun or flags.dry_run or flags.cfg:
        raise RequestError("evaluate: takes no -m, --dry-run or --cfg; leave them out")
    process.set_up()
    from coldstart_cli import commands, composition, foreign
    from coldstart_cli.runs import Run

    run = Run(Path(chosen[0].partition("=")[2]))
    if run.state.get("state") != "finished":
        raise RequestError(f"run: {run.path} is not finished; repeat its coldstart train command first")
    overrides = [o for o in flags.overrides if o not in chosen]
    with composition.translated(overrides), foreign.shaped("run", run.path):
        base = {**run.config, "outputs": str(run.path.parent)}
        config = composition.changed(base, overrides, _search_path(flags.config_dirs))
    options = commands.Options(flags.quiet, False, ["coldstart", "evaluate", *arguments])
    commands.reevaluate(config, run, options)
    return 0


def _data(arguments: list[str]) -> int:
    from coldstart_cli import data

    if arguments[:1] in (["fetch"], ["verify"]):
        from coldstart_cli.datasets import published

        return published.main(arguments)
    request, rest = data.parse(arguments)
    flags = parse(rest)
    if flags.multirun or flags.dry_run or flags.cfg or flags.quiet:
        raise RequestError("data: takes no -m, --dry-run, --cfg or --quiet; leave them out")
    process.set_up()
    return data.check([*_search_path(flags.config_dirs), *flags.overrides], request)


def _bundles(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        process.set_up()
        from coldstart_cli import bundle_commands

        if name == "adapt":
            flags = parse(arguments)
            if flags.multirun or flags.dry_run or flags.cfg:
                raise RequestError("adapt: takes no -m, --dry-run or --cfg; leave them out")
            return bundle_commands.run_adapt(flags.overrides, _search_path(flags.config_dirs))
        run = {"predict": bundle_commands.run_predict, "export": bundle_commands.run_export}[name]
        return run(arguments)

    return command


def _machine(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        process.set_up()
        from coldstart_cli import bench, doctor

        return bench.main(arguments) if name == "bench" else doctor.main(arguments)

    return command


def _comparison(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        from coldstart_cli import compare

        return compare.diff(arguments) if name == "diff" else compare.main(arguments)

    return command


def _catalog(name: str) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        from coldstart_cli import catalog, completion

        if name in ("ls", "cat", "cp"):
            return {"ls": catalog.ls, "cat": catalog.cat, "cp": catalog.cp}[name](arguments)
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


def _search_path(folders: Sequence[str]) -> list[str]:
    """Hydra's override for configs beside the package's: --config-dir and installed plug-ins."""
    from coldstart_cli import catalog, foreign

    for folder in folders:
        foreign.check_configs(Path(folder))
    places = [root.resolve() for root in catalog.search_roots(folders) if root != catalog.packaged_conf()]
    return [f"hydra.searchpath=[{','.join(f'file://{place}' for place in places)}]"] if places else []


def _ignore(result: object) -> None:
    """Hydra's jobs return nothing."""


if __name__ == "__main__":
    sys.exit(main())
