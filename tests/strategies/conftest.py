"""Tiny sources and strategies built from the real configs, in float64 where numbers are compared."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coldstart_cli.config import composition
from coldstart_cli.experiment.assembly import Experiment, assemble
from coldstart_cli.testing.trial import IMAGES, SMALL


@pytest.fixture
def experiment(torch_settings: None) -> Callable[..., Experiment]:
    """Assembles what `overrides` compose on a small problem, of images unless they name a data set."""

    def made(*overrides: str) -> Experiment:
        images = not any(override.startswith("dataset=") for override in overrides)
        ((_, config),) = composition.points([*SMALL, *(IMAGES if images else ()), *overrides])
        if "teacher" in config["strategy"]:  # a wide one takes a second for a step, and reads images alone
            config["strategy"]["teacher"] = config["model"]
        return assemble(config)

    return made
