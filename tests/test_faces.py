"""The public faces of packages."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import coldstart_cli
from coldstart_cli.package import ROOT

PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT.parent).parts)
    for path in ROOT.rglob("__init__.py")
    if "face(" in path.read_text()
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_a_face_is_there_and_is_no_module(package: str) -> None:
    module = importlib.import_module(package)
    for name in dir(module):
        if not name.startswith("_"):
            getattr(module, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_no_public_name_is_that_of_a_module_beside_it() -> None:
    """An imported module would take the place of the name."""
    for package in PACKAGES:
        folder = ROOT.joinpath(*package.split(".")[1:])
        beside = {path.stem for path in folder.iterdir() if path.suffix in ("", ".py")}
        module = importlib.import_module(package)
        public = {n for n in dir(module) if not n.startswith("_")}
        own = {n for n in public if getattr(getattr(module, n), "__module__", None) is not None}
        assert not own & beside, package


def test_a_face_imports_nothing_before_it_is_asked() -> None:
    code = "import sys\n" + "".join(f"import {package}\n" for package in PACKAGES)
    code += "sys.exit('torch' in sys.modules or 'hydra' in sys.modules or 'numpy' in sys.modules)"
    source = Path(coldstart_cli.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(source)})
