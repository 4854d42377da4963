"""Bundles of a few points, as `coldstart adapt` makes them."""

from __future__ import annotations

from pathlib import Path

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


HARDWARE = ("hardware=cpu", "hardware.threads=1", "experiment=smoke")


def adapt_texts(
    capsys: pytest.CaptureFixture[str], path: Path, *words: str, labels: tuple[str, str] = ("a", "b")
) -> None:
    """The bundle b of eight texts of the words of `tiny_bert`, written into the working folder."""
    rows = [f'w{i} w{i + 1} w{i + 20},"{labels[i % 2]}"' for i in range(8)]
    Path("texts.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    short = (f"model.path={path}", "model.preprocess.max_length=16")
    data = (*short, "dataset=text", "dataset.root=texts.csv", "bundle=b", *HARDWARE)
    code, _, err = call(capsys, "adapt", *words, *data, "untrained=true")
    assert code == 0, err
