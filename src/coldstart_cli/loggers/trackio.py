"""Sends runs to Trackio."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from coldstart_cli.loggers.tracker_ids import scalars


class Trackio:
    """A run in Trackio, in its folder (TRACKIO_DIR) or on a Space; needs the extra `trackio`.

    Args:
        quiet: print nothing; from the run.
        run_path, config, resumed: the run directory, its config, whether training continues; from the run.
        project: name that groups runs.
        space_id: a Hugging Face Space, which needs HF_TOKEN or a login; None stays on this machine.
    """

    extra: ClassVar = "trackio"
    packages: ClassVar = ("trackio",)

    def __init__(
        self,
        quiet: bool,
        run_path: Path,
        config: Mapping[str, Any],
        resumed: bool,
        *,
        project: str,
        space_id: str | None,
    ) -> None:
        self.project, self.space_id = project, space_id
        self._quiet = quiet
        with self._aside():
            import trackio

            self._trackio = trackio
            try:
                self._run = trackio.init(
                    project,
                    name=run_path.name,
                    space_id=space_id,
                    config=scalars(config),
                    # `never`: a new run must not be appended to one of the same name.
                    resume="allow" if resumed else "never",
                    embed=False,
                )
            except ValueError as error:
                raise ValueError(f"project: {error}") from error

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)

    def close(self) -> None:
        with self._aside():
            self._trackio.finish()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """What Trackio prints goes to standard error, because standard output is for the report only."""
        with (
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere if self._quiet else sys.stderr),
        ):
            yield
