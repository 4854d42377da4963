"""Signatures read from source: the same names and types as by import, without importing anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.config import building
from coldstart_cli.config.annotations import choices, described
from coldstart_cli.config.catalog import catalogue, search_roots
from coldstart_cli.config.keys import of_entry
from coldstart_cli.config.signatures import module_of, signature
from coldstart_cli.package import ROOT
from tests.test_conf import located

GROUPS = catalogue(search_roots())
TARGETS = sorted(
    {
        written.value
        for entries in GROUPS.values()
        for entry in entries
        for key, written in of_entry(entry, GROUPS).items()
        if key.rpartition(".")[2] == "_target_"
    }
)


def imported(target: str) -> dict[str, Any]:
    """What `building` sees: the keyword-only parameters with their annotations."""
    parameters = getattr(building, "parameters_of", None) or building._parameters
    found: dict[str, Any] = parameters(located(target))[1]
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_signature_from_source_equals_the_one_by_import(target: str) -> None:
    read = signature(target)
    assert read is not None
    seen = imported(target)
    assert {n: described(a) for n, a in read.parameters.items()} == {n: described(a) for n, a in seen.items()}
    assert {n: choices(a) for n, a in read.parameters.items()} == {n: choices(a) for n, a in seen.items()}
    assert read.module == located(target).__module__ == module_of(target)


def test_signatures_cover_every_target_of_conf() -> None:
    assert len(TARGETS) > 50


SHARED = '''
from typing import Annotated, Literal, TypedDict, Unpack
from annotated_types import Ge
LEAST = 1 + 1
Kind = Literal["one", "two"]
class Shared(TypedDict):
    """What all take.

    Attributes:
        n_way: classes
            of a task.
    """
    n_way: Annotated[int, Ge(LEAST)]
'''
TARGET = '''
from .shared import Kind, Shared
from typing import Unpack
def made(encoder: object, *, kind: "Kind | None", other, **tasks: Unpack[Shared]) -> None:
    """Makes.

    Args:
        kind: which; None for any.
    """
'''


def test_signature_of_somebody_elses_class_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "their_signatures"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import made\nraise SystemExit('imported')\n")
    (package / "inner.py").write_text(TARGET)
    (package / "shared.py").write_text(SHARED)
    (package / "broken.py").write_text("def made(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    read = signature("their_signatures.made")
    assert read is not None and read.module == "their_signatures.inner"
    assert "n_way" in read.parameters and read.parameters["other"] is Any
    assert described(read.parameters["n_way"]) == "whole number >= 2"
    assert described(read.parameters["kind"]) == "one | two, or null"
    assert read.lines == {"kind": "which; null for any", "n_way": "classes of a task"}
    for nowhere in (
        "their_signatures.absent",
        "their_signatures.broken.made",
        "no_such_package.X",
        "",
        "int",
    ):
        assert signature(nowhere) is None


def test_signatures_import_nothing_heavy() -> None:
    code = (
        "import sys; from coldstart_cli.config.signatures import signature;"
        f"found = signature({TARGETS[-1]!r});"
        "heavy = {'torch', 'hydra', 'omegaconf', 'rich', 'yaml', 'numpy'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy or found is None else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT.parent)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
