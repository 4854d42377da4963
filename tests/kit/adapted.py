"""Bundles of a few points, as `coldstart adapt` makes them."""

from __future__ import annotations

import pytest

from coldstart_cli.cli import main

SMALL = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(list(argv))
    out, err = capsys.readouterr()
    return code, out, err


def adapt(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    data = ("dataset=arrays", "dataset.root=points.npz", "bundle=b", "overwrite=true", "untrained=true")
    words = {word.partition("=")[0]: word for word in (*SMALL, "strategy=logistic", *data, *more)}
    return call(capsys, "adapt", *words.values())
