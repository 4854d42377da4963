"""`coldstart runs`, `show` and `rm`: which runs there are, what one says, and how one goes.

Neither torch nor Hydra is imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from coldstart_cli.cli.confirming import confirmed
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Choice, Namespace, Parser, Words, a_folder
from coldstart_cli.config.key import Key
from coldstart_cli.errors import RequestError
from coldstart_cli.runs.states import STATES

if TYPE_CHECKING:
    from coldstart_cli.runs.listing import Listed

SORTS = ("started", "accuracy", "seconds", "size")
NAMES = ("strategy", "dataset", "model")


def add(program: Parser) -> None:
    """The commands, their flags and words."""
    runs = program.command(
        "runs",
        run_runs,
        "which runs there are: state, result, seed, when, size, what continues them",
        "Words filter: those below, or any key of a run's config (strategy.inner_lr=0.4); several values are "
        "separated by commas.",
        examples=(
            "coldstart runs",
            "coldstart runs outputs=elsewhere strategy=maml,anil state=finished --sort accuracy",
            "coldstart runs state=failed,stopped",
            "coldstart runs strategy.inner_lr=0.4 --json",
        ),
    )
    runs.key_values(Words(own=_keys, composes=False))
    runs.flag(
        "--sort", metavar="accuracy", type=Choice("--sort", SORTS), default="started",
        help=f"{' | '.join(SORTS)}: the newest, the best, the longest, the largest first; default started",
    )  # fmt: skip
    runs.flag("--commands", action="store_true", help="a line for each with the command that continues it")
    runs.flag("--json", action="store_true", help="print JSON")
    show = program.command(
        "show",
        run_show,
        "one run: state, results, config in short, files, the command that continues it",
        examples=("coldstart show outputs/RUN", "coldstart show RUN"),
    )
    show.place("run", metavar="RUN", type=a_folder, help="a run directory, or its name below outputs")
    show.flag("--json", action="store_true", help="print JSON, with the whole config and summary")
    rm = program.command(
        "rm",
        run_rm,
        "remove runs",
        "Asks first. A run that is in progress stays, and so does a folder that holds what no run writes; "
        "links are not followed.",
        examples=("coldstart rm outputs/RUN outputs/OTHER_RUN",),
    )
    rm.place("runs", nargs="*", metavar="RUN", type=a_folder, help="run directories, or names below outputs")
    rm.flag("-y", "--yes", action="store_true", help="do not ask")


def _keys() -> tuple[Key, ...]:
    from coldstart_cli.config.catalog import catalogue, search_roots

    groups = catalogue(search_roots())
    names = [
        Key(name, "text", "NAME", f"those of this {name}", choices=tuple(one.name for one in groups[name]))
        for name in NAMES
    ]
    return (
        Key("outputs", "text", _outputs(), "the folder, or several with commas; a run alone too"),
        *names,
        Key("state", " | ".join(STATES), "NAME", "those that stand so", choices=tuple(STATES)),
        Key("seed", "whole number", "N", "those of this seed"),
    )


def _outputs() -> str:
    """The folder that `train` writes to."""
    from coldstart_cli.config.catalog import catalogue, search_roots
    from coldstart_cli.config.outline import entry, outline

    train = entry(catalogue(search_roots()), "", "train")
    return outline(train.path)["outputs"].value if train else "outputs"


def run_runs(arguments: Namespace) -> int:
    """Prints a line for each run.

    Raises:
        RequestError: for a folder that is none, and a filter that no run could pass.
    """
    folders, filters = _words(arguments.overrides)
    from coldstart_cli.reports import run_list
    from coldstart_cli.runs.listing import listed, passing, sorted_by
    from coldstart_cli.runs.places import run_directories

    every = [listed(path) for path in run_directories(folders, "outputs", sweeps=False)]
    found = sorted_by(passing(every, filters), arguments.sort)
    if arguments.json:
        emit(json.dumps([run_list.as_json(run) for run in found], indent=1, allow_nan=False) + "\n")
    else:
        run_list.show(found, every, commands=arguments.commands)
    return 0


def _words(words: list[str]) -> tuple[list[Path], dict[str, list[str]]]:
    """Folders, and key -> the values that pass."""
    folders: list[str] = []
    filters: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            folders.append(word)
        elif key == "outputs":
            folders += [value] if Path(value).expanduser().is_dir() else value.split(",")
        else:
            filters[key] = value.split(",")
    for state in filters.get("state", ()):
        Choice("state", tuple(STATES))(state)
    return [Path(folder).expanduser() for folder in folders or [_outputs()]], filters


def run_show(arguments: Namespace) -> int:
    """Prints what there is to say of one run.

    Raises:
        RequestError: where it is no run.
    """
    from coldstart_cli.reports import run_list

    run = _named(arguments.run, "show")
    if arguments.json:
        emit(json.dumps(run_list.in_full(run), indent=1, allow_nan=False) + "\n")
    else:
        run_list.show_one(run)
    return 0


def run_rm(arguments: Namespace) -> int:
    """Removes runs, all or none of which can be removed.

    Raises:
        RequestError: at the first that cannot, before any is removed.
    """
    from coldstart_cli.files.sizes import n_bytes, written_size
    from coldstart_cli.runs.removal import check_removable, remove_run

    paths = list(dict.fromkeys(_place(name) for name in arguments.runs))
    if not paths:
        raise RequestError("rm: name run directories; coldstart rm outputs/RUN")
    for path in paths:
        check_removable(path)
    sizes = {path: n_bytes(path) for path in paths}
    what = str(paths[0]) if len(paths) == 1 else f"{len(paths)} runs"
    if not confirmed(f"remove {what}, {written_size(sum(sizes.values()))}", arguments.yes, "rm"):
        return 0
    for path, size in sizes.items():
        remove_run(path)
        emit(f"removed {path}, {written_size(size)}\n")
    if len(paths) > 1:
        emit(f"freed {written_size(sum(sizes.values()))}\n")
    return 0


def _place(name: str) -> Path:
    """A path as it is typed, or a name below the folder of outputs."""
    path = Path(name).expanduser()
    below = Path(_outputs()) / name
    return below if path.name == name and not path.exists() and below.exists() else path


def _named(name: str, command: str) -> Listed:
    from coldstart_cli.runs.listing import listed

    path = _place(name)
    if not (path / "run.json").exists():
        raise RequestError(f"{command}: {path} is no run directory; coldstart runs lists them")
    return listed(path)
