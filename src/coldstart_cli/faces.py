"""The public face of a package: names of modules below it, each imported on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def face(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562).

    A face imports nothing by itself, so that `coldstart --help` starts without torch. Code inside the
    package imports from the modules, never from a face.

    Args:
        package: its `__name__`.
        places: module below the package -> public names in it, separated by spaces.
    """
    module_of = {name: module for module, names in places.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        # Kept as an ordinary attribute: Python calls `__getattr__` only for names that are not found.
        setattr(sys.modules[package], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names
