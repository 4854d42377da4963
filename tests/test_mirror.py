"""tests/ mirrors src: who changes a module finds its tests at once, and sees where there are none."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from coldstart_cli.package import ROOT
from tests.kit.places import REPOSITORY

EXEMPT = {"cli", "datasets"}
"""Packages whose tests do not stand by modules yet: take one out once they do."""


@cache
def unmirrored() -> list[Path]:
    """Modules with a function or a class of their own and no tests/<package>/test_<module>.py."""
    found = []
    for module in sorted(ROOT.rglob("*.py")):
        place = module.relative_to(ROOT)
        defines = any(
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            for node in ast.parse(module.read_text(encoding="utf-8")).body
        )
        test = REPOSITORY / "tests" / place.parent / f"test_{place.name}"
        if defines and place.name not in ("__init__.py", "__main__.py") and not test.is_file():
            found.append(place)
    return found


def test_every_module_has_a_file_of_tests() -> None:
    assert [str(place) for place in unmirrored() if place.parts[0] not in EXEMPT] == []


def test_no_package_is_exempt_whose_tests_are_complete() -> None:
    assert {place.parts[0] for place in unmirrored()} >= EXEMPT
