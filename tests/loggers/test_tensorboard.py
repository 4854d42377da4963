"""Scalars of a run that goes on, and of one that begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.loggers.tensorboard import TensorBoard


def test_tensorboard_keeps_a_run_that_goes_on_and_forgets_one_that_begins_anew(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def steps(resumed: bool, *new: int) -> list[int]:
        logger = TensorBoard(tmp_path, resumed, flush_seconds=0.1)
        logger.start("training", 4, 0)
        for step in new:
            logger.metrics(step, {"loss": 1.0})
            logger.advance(step)
        logger.summary(4, {"1-shot/accuracy": 0.5})
        logger.close()
        events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        assert events.Scalars("1-shot/accuracy")[-1].value == 0.5
        return sorted(event.step for event in events.Scalars("loss"))

    assert steps(False, 1, 2) == [1, 2]
    assert steps(True, 3, 4) == [1, 2, 3, 4]
    assert steps(False, 1) == [1]
