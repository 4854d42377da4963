"""Bundles of a few points, as `coldstart adapt` makes them."""

from __future__ import annotations

import pytest

from coldstart_cli.bundles.adapting import adapting
from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from coldstart_cli.config import composition

SMALL = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")


PLAN = adapting.AdaptPlan(
    precision=None, bundle="bundle", steps=1, folds_to_select=3, folds_to_estimate=3, repeats_to_estimate=1,
    tasks_to_calibrate=2, threshold=0.0, copy_base=False, untrained=True, overwrite=True,
    keep_versions=2, licence=None,
)  # fmt: skip


def made(*overrides: str) -> Bundle:
    """The bundle of these overrides, written into the working folder."""
    common = ("hardware=cpu", "hardware.threads=1", "experiment=smoke", "baseline=null")
    ((_, config),) = composition.points([*common, *overrides])
    adapting.adapt(config, PLAN, None)
    return Bundle.load("bundle")


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def adapt(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    data = ("dataset=arrays", "dataset.root=points.npz", "bundle=b", "overwrite=true", "untrained=true")
    words = {word.partition("=")[0]: word for word in (*SMALL, "strategy=logistic", *data, *more)}
    return call(capsys, "adapt", *words.values())
