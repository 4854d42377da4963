"""The loggers of a command, built from its config."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.config.building import build
from coldstart_cli.errors import RequestError
from coldstart_cli.loggers.logger import Logger, Tolerated
from coldstart_cli.processes import ranks


@contextlib.contextmanager
def opened(
    config: Mapping[str, Any], run_path: Path, watcher: Logger | None, *, quiet: bool, resumed: bool
) -> Iterator[Sequence[Logger]]:
    """The loggers of a command, open. One that cannot be opened is refused; later failures end nothing.

    Only the first rank has any, and it reports for all.

    Args:
        watcher: an additional logger of the caller, such as a sweep.
        resumed: whether the run existed before; its trackers then continue what they have of it.
    """
    facts = {"quiet": quiet, "run_path": run_path, "config": config, "resumed": resumed}
    if not ranks.first():
        yield []
        return
    loggers: list[Logger] = [] if watcher is None else [watcher]
    try:
        for name, node in config["logger"].items():
            key = f"logger.{name}"
            try:
                loggers.append(Tolerated(key, build(node, key, Logger, config["trust"], facts)))
            except RequestError:
                raise
            except Exception as error:
                what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise RequestError(
                    f"{key}: {what}; fix it, or train without it (logger=[console])"
                ) from error
        yield loggers
    finally:
        for logger in loggers:
            logger.close()
