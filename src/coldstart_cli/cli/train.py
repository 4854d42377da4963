"""`coldstart train`: train on source tasks, adapt to new ones, report the four evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coldstart_cli.cli.parsing import Choice, Namespace, Parser, Words
from coldstart_cli.processes import streams

if TYPE_CHECKING:
    from coldstart_cli.reports.finished_run import Show

CFG = ("job", "hydra", "all")


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "train",
        run,
        "train on source tasks, adapt to new ones, report the four evaluations",
        "The same command again finds the finished run, or goes on from the last checkpoint.",
        examples=(
            "coldstart train strategy=protonet",
            "coldstart train strategy=maml strategy.inner_lr=0.01 dataset=sinusoid model=mlp",
            "coldstart train -m strategy=maml,anil,protonet seed=0,1,2",
            "coldstart train strategy=maml dataset=omniglot dataset.root=path/to/omniglot --dry-run",
        ),
    )
    parser.key_values(Words(plans=("train",)))
    parser.flag(
        "-m", "--multirun", action="store_true", help="sweep: every combination of comma-separated values"
    )
    parser.flag("--dry-run", action="store_true", help="print parameters, FLOPs, seconds and disk, and stop")
    parser.flag(
        "--cfg",
        metavar="job",
        type=Choice("--cfg", CFG),
        help=f"print the config and stop: {' | '.join(CFG)}",
    )
    parser.flag("-q", "--quiet", action="store_true", help="print the run directory alone")
    parser.config_dir()


def run(arguments: Namespace) -> int:
    """Trains, finds the run finished, sweeps, or prints what would be done."""
    streams.set_up()
    typed, folders = arguments.overrides, arguments.config_dir
    if not (arguments.multirun or arguments.dry_run or arguments.cfg):
        from coldstart_cli.experiment import requests

        show: Show = "path" if arguments.quiet else "report"
        requests.train(typed, folders, show=show, command_line=arguments.command_line)
        return 0
    from coldstart_cli.config import composition

    overrides = [*composition.search_path(folders), *typed]
    if arguments.cfg is not None:
        overrides = next(composition.points(overrides))[0] if arguments.multirun else overrides
        composition.run_jobs(overrides, ["--cfg", arguments.cfg], lambda config: None)
        return 0
    if arguments.multirun:
        return _sweep(overrides, arguments)

    def job(config: composition.Config) -> None:  # a key that is misspelt is found before torch is imported
        from coldstart_cli.experiment import running

        running.train(config, running.Options(arguments.quiet, True, arguments.command_line))

    composition.run_jobs(overrides, [], job)
    return 0


def _sweep(overrides: list[str], arguments: Namespace) -> int:
    from coldstart_cli.config import composition

    if not any(word.startswith("hydra/sweeper=") for word in overrides):
        next(composition.points(overrides))  # a key that is misspelt is found before torch is imported
    from coldstart_cli.experiment import running
    from coldstart_cli.sweeps import sweep

    options = running.Options(arguments.quiet, arguments.dry_run, arguments.command_line)
    return sweep.run(overrides, options)
