"""`coldstart tune`: a search for hyper-parameters on source-validation tasks."""

from __future__ import annotations

from coldstart_cli.cli.parsing import Namespace, Parser, Words
from coldstart_cli.processes import streams


def add(program: Parser) -> None:
    """The command's flags and words."""
    parser = program.command(
        "tune",
        run,
        "search hyper-parameters on source-validation tasks",
        "A key is searched where it has a range: interval(0.01, 1), choice(32, 64), range(1, 6). Without "
        "any, search/STRATEGY.yaml says what is searched (coldstart ls search). The same command goes on "
        "where it stopped. Needs the extra tune.",
        examples=(
            "coldstart tune strategy=maml",
            "coldstart tune strategy=maml 'strategy.inner_lr=tag(log,interval(0.01,1))' tune.n_trials=10",
        ),
    )
    parser.key_values(Words(plans=("tune",)))
    parser.flag("-q", "--quiet", action="store_true", help="print no line for each trial")
    parser.config_dir()


def run(arguments: Namespace) -> int:
    """Searches; prints the best values and their command."""
    streams.set_up()
    from coldstart_cli.config import composition

    overrides = [*composition.search_path(arguments.config_dir), *arguments.overrides]
    _check_keys(overrides)
    from coldstart_cli.experiment import running
    from coldstart_cli.sweeps import search

    options = running.Options(arguments.quiet, False, arguments.command_line)
    return search.tune(overrides, options, arguments.config_dir)


def _check_keys(overrides: list[str]) -> None:
    """A key that is misspelt is found before torch is imported."""
    from coldstart_cli.config import composition

    fixed, space = composition.search_space([word for word in overrides if not word.startswith("tune.")])
    firsts = [f"{key}={searched.first}" for key, searched in space.items()]
    for _ in composition.points([*fixed, *firsts]):
        break
