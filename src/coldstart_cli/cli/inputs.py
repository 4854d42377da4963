"""Inputs that a person names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coldstart_cli.datasets.readers.lines import STDIN
from coldstart_cli.errors import RequestError, suggestion

_OF_FILES = re.compile(r"\bdataset\.(?=(encoding|delimiter|quoted|header|sheet|decimal|on_bad)\b)")


@contextmanager
def own_keys() -> Iterator[None]:
    """What is said of files names the command's own keys (`quoted`), not those of a data set."""
    show = warnings.showwarning

    def shown(message: Warning | str, *where: Any, **more: Any) -> None:
        show(RuntimeWarning(_OF_FILES.sub("", str(message))), *where, **more)

    warnings.showwarning = shown
    try:
        yield
    except RequestError as error:
        raise type(error)(_OF_FILES.sub("", str(error))) from error
    finally:
        warnings.showwarning = show


def check_there(path: str, key: str = "input") -> None:
    """Refuses an input that is not there, with a name that resembles it, or that is no file and no folder."""
    place = Path(path)
    if path != STDIN and place.exists() and not (place.is_file() or place.is_dir()):
        raise RequestError(f"{key}: {path} is a pipe or a device; give {key}=- and redirect it (< FILE)")
    if path != STDIN and not Path(path).exists():
        folder = Path(path).parent
        beside = [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
        close = suggestion(path, beside) if beside else ""
        remedy = close if close.startswith("did") else "name a file or folder of the bundle's layout, or -"
        raise RequestError(f"{key}: {path} is not there; {remedy} (E10)")
