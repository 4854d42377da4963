"""A trained run and a bundle, made once, and what a test needs to turn a copy of them hostile."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra

from coldstart_cli.cli import main
from coldstart_cli.experiment import parts
from tests.kit.bundles import put_card

SMALL = ("model=mlp", "model.hidden=[8]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")
DATA = ("dataset=arrays", "dataset.root=points.npz", "dataset.n_way=2")
TRAINED = (
    *SMALL, *DATA, "strategy=protonet", "baseline=null", "evaluation.n_tasks=4",
    "evaluation.n_selection_tasks=2", "evaluation.timed_seconds=0.01", "training.steps=4",
)  # fmt: skip
EVIL = """\
import logging, pathlib
def mark(*args, **kwargs):
    pathlib.Path({mark!r}).write_text("ran")
mark()
class Thing(logging.Handler):
    def __init__(self, *args, **kwargs):
        super().__init__()
        mark()
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> Said:
        """The same without what a command said before it refused."""
        return Said(self.code, self.out, self.err.strip("\n").split("\n")[-1])

    @property
    def wrong(self) -> str | None:
        """What is wrong with a refusal, or None where it is exit code 2 and one line."""
        # Words of a test that stand twice are said before the refusal, a line each.
        lines = [line for line in self.err.strip("\n").split("\n") if not line.endswith("; the last counts")]
        if self.code != 2:
            return f"exit {self.code}: {self.err[-200:]!r}"
        if len(lines) != 1 or not 0 < len(lines[0]) <= 300 or not "".join(lines).isprintable():
            return f"{len(lines)} lines, {len(self.err)} characters: {self.err[:200]!r}"
        return "a traceback" if "Traceback" in self.err else None


@dataclass(frozen=True, slots=True)
class Stage:
    """A folder with `points.npz`, the run `outputs/RUN` and the bundle `b`; `mark` appears if `evil` runs."""

    folder: Path
    run: Path
    mark: Path

    def edit_config(self, change: Callable[[dict[str, Any]], object]) -> None:
        for path in (self.run / "config.yaml", *self.run.glob("evaluations/*/config.yaml")):
            config = yaml.safe_load(path.read_text())
            change(config)
            path.write_text(yaml.safe_dump(config))

    def edit_card(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.folder / "b" / "card.json"
        card = json.loads(path.read_text())
        change(card)
        put_card(path.parent, card)

    def fresh(self) -> None:
        """Puts back what a test changed."""
        original = Path(str(self.folder) + "-original")
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(original, self.folder, dirs_exist_ok=True)


def said(*argv: str) -> Said:
    """A command in this process; warnings go where a user sees them."""
    out, err = io.StringIO(), io.StringIO()
    GlobalHydra.instance().clear()
    parts._sources.clear()  # kept by path, and paths are relative here
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        code = main(list(argv))
    return Said(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    g = np.random.default_rng(0)
    y = np.repeat([f"c{i}" for i in range(12)], 12)
    x = (g.normal(0, 0.3, (144, 4)) + np.repeat(g.normal(0, 3, (12, 4)), 12, axis=0)).astype(np.float32)
    np.savez(folder / "points.npz", x=x, y=y)
    threads = torch.get_num_threads()
    with contextlib.chdir(folder):
        trained = said("train", *TRAINED)
        assert trained.code == 0, trained.err
        adapted = said("adapt", *SMALL, *DATA, "strategy=scratch", "bundle=b")
        assert adapted.code == 0, adapted.err
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def stage(
    _made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None
) -> Iterator[Stage]:
    """A copy of the run and the bundle to spoil, with a module `evil` that can be imported."""
    folder, mark = tmp_path / "stage", tmp_path / "mark"
    for name in ("stage", "stage-original"):
        shutil.copytree(_made, tmp_path / name)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "evil.py").write_text(EVIL.format(mark=str(mark)))
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    (run,) = (path for path in (folder / "outputs").iterdir() if (path / "run.json").exists())
    yield Stage(folder, run.relative_to(folder), mark)
    sys.modules.pop("evil", None)
    GlobalHydra.instance().clear()


def with_places(node: Mapping[str, Any]) -> list[str]:
    """The dotted places of all nodes with a `_target_` below `node`."""
    found = []
    for name, value in node.items():
        if isinstance(value, Mapping):
            found += [name] if "_target_" in value else []
            found += [f"{name}.{below}" for below in with_places(value)]
    return found
