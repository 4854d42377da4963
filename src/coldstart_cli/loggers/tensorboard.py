"""Scalars for TensorBoard."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Gt


class TensorBoard:
    """Scalars in the folder tensorboard/ of the run directory; needs the extra `tensorboard`.

    Args:
        run_path: the run directory; from the run.
        resumed: whether its training continues; otherwise earlier scalars are removed; from the run.
        flush_seconds: time between two writes to disk.
    """

    extra: ClassVar = "tensorboard"
    packages: ClassVar = ("tensorboard",)

    def __init__(self, run_path: Path, resumed: bool, *, flush_seconds: Annotated[float, Gt(0)]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.flush_seconds = flush_seconds
        folder = run_path / "tensorboard"
        if not resumed:
            # TensorBoard would draw the events of the old training and of the new one as one curve.
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = SummaryWriter(str(folder), flush_secs=int(flush_seconds) or 1)

    def start(self, title: str, total: int, done: int) -> None:
        pass

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def advance(self, done: int) -> None:
        pass

    def summary(self, step: int, values: Mapping[str, float]) -> None:
        self.metrics(step, values)

    def close(self) -> None:
        self._writer.close()
