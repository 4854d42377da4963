"""`train` and `evaluate` for the command line and for Python: overrides in, a run out.

Torch and Hydra are imported only if a request needs them, which one for a finished run does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import finished
from coldstart_cli.experiment.finished import Outcome
from coldstart_cli.files.untrusted import shaped
from coldstart_cli.reports.finished_run import Show
from coldstart_cli.runs.run import Run


def train(
    overrides: Sequence[str], config_dirs: Sequence[str], *, show: Show, command_line: Sequence[str]
) -> Outcome:
    """Trains, continues or finds the run of a config, and evaluates it if that has not been done.

    Args:
        overrides: as Hydra takes them.
        config_dirs: folders with your own configs.
        command_line: the words that the run directory records as its origin.

    Raises:
        RequestError: where the request cannot be served.
        JobError: where training fails, or an enforced budget is broken.
    """
    asked = finished.key(overrides, config_dirs)
    found = finished.answered(asked, show=show) if asked else None
    if found is not None:
        return found
    from coldstart_cli.config import composition

    outcomes: list[Outcome] = []

    def job(config: dict[str, Any]) -> None:
        # Imports torch, for which a refused config does not have to wait.
        from coldstart_cli.experiment import running
        from coldstart_cli.hardware import settings_kept

        options = running.Options(show != "report", False, command_line, asked=asked, show=show)
        with settings_kept():
            outcomes.append(running.train(config, options))

    with composition.environment_hidden():
        composition.run_jobs([*composition.search_path(config_dirs), *overrides], [], job)
    return outcomes[0]


def evaluate(
    run: Run,
    overrides: Sequence[str],
    config_dirs: Sequence[str],
    *,
    show: Show,
    command_line: Sequence[str],
) -> Outcome:
    """Evaluates a finished run again; arguments and errors are those of `train`."""
    with left_as_found():
        from coldstart_cli.config import composition
        from coldstart_cli.experiment import running

        config = changed_config(run, overrides, composition.search_path(config_dirs))
        options = running.Options(show != "report", False, command_line, show=show)
        return running.reevaluate(config, run, options)


def changed_config(run: Run, overrides: Sequence[str], search_path: Sequence[str]) -> dict[str, Any]:
    """The config of a finished run, with overrides of whatever does not belong to its training.

    Raises:
        RequestError: where the run is not finished, or an override belongs to its training.
    """
    from coldstart_cli.config import composition

    check_finished(run)
    with composition.translated(overrides), shaped("run", run.path):
        base = {**run.config, "outputs": str(run.path.parent)}
        return composition.changed(base, overrides, search_path)


def check_finished(run: Run) -> None:
    """Refuses a run that cannot be evaluated.

    Raises:
        RequestError: where the directory is not a run, or its training has not finished.
    """
    if run.state.get("state") != "finished":
        raise RequestError(f"run: {run.path} is not finished; repeat its coldstart train command first")


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Restores, for a caller from Python, the settings of the process that a run has to change."""
    from coldstart_cli.config import composition
    from coldstart_cli.hardware import settings_kept

    with composition.environment_hidden(), settings_kept():
        yield
