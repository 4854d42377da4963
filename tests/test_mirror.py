"""tests/ mirrors src: who changes a module finds its tests at once, and sees where there are none."""

from __future__ import annotations

import ast
from pathlib import Path

from coldstart_cli.package import ROOT
from tests.kit.places import REPOSITORY


def defines(module: Path) -> bool:
    """Whether it has a function or a class of its own."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body)


def test_every_module_has_a_file_of_tests() -> None:
    unmirrored = []
    for module in sorted(ROOT.rglob("*.py")):
        place = module.relative_to(ROOT)
        test = REPOSITORY / "tests" / place.parent / f"test_{place.name}"
        if place.name not in ("__init__.py", "__main__.py") and not test.is_file() and defines(module):
            unmirrored.append(str(place))
    assert unmirrored == []
