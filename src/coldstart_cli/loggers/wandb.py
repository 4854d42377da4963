"""Sends runs to Weights & Biases."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from coldstart_cli.loggers.tracker_ids import keep_id, kept_id


class WandB:
    """A run in Weights & Biases, with its files in wandb/ of the run directory; needs the extra `wandb`.

    Args:
        quiet: print nothing; from the run.
        run_path, config, resumed: the run directory, its config, whether training continues; from the run.
        project: name that groups runs.
        entity: user or team, None for your own.
        mode: `offline` writes files that `wandb sync` delivers; `online` needs WANDB_API_KEY or a login.
    """

    extra: ClassVar = "wandb"
    packages: ClassVar = ("wandb",)

    def __init__(
        self,
        quiet: bool,
        run_path: Path,
        config: Mapping[str, Any],
        resumed: bool,
        *,
        project: str,
        entity: str | None,
        mode: Literal["online", "offline"],
    ) -> None:
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing leaves this machine
        import wandb

        self.project, self.entity, self.mode = project, entity, mode
        # A failure, until a summary arrives, which only a run that ends well sends.
        self._exit_code = 1
        known = kept_id(run_path, "wandb") if resumed else None
        self._run = wandb.init(
            project=project,
            entity=entity,
            name=run_path.name,
            id=known or uuid.uuid4().hex[:8],
            resume="allow" if mode == "online" else None,
            dir=run_path,
            mode=mode,
            config=None if known else dict(config),
            settings=wandb.Settings(console="off", silent=quiet),
        )
        # W&B drops steps it has seen, and after a crash some come again, so the axis is our own metric.
        self._run.define_metric("*", step_metric="step")
        keep_id(run_path, "wandb", self._run.id)

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({"step": step, **values})

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))
        self._exit_code = 0

    def close(self) -> None:
        self._run.finish(exit_code=self._exit_code)
