"""Inputs that a person names."""

from __future__ import annotations

from pathlib import Path

from coldstart_cli.datasets.readers.lines import STDIN
from coldstart_cli.errors import RequestError, suggestion


def check_there(path: str) -> None:
    """Refuses an input that is not there, with a name that resembles it, or that is no file and no folder."""
    place = Path(path)
    if path != STDIN and place.exists() and not (place.is_file() or place.is_dir()):
        raise RequestError(f"input: {path} is a pipe or a device; give input=- and redirect it (< FILE)")
    if path != STDIN and not Path(path).exists():
        folder = Path(path).parent
        beside = [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
        close = suggestion(path, beside) if beside else ""
        remedy = close if close.startswith("did") else "name a file or folder of the bundle's layout, or -"
        raise RequestError(f"input: {path} is not there; {remedy}")
