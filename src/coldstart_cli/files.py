"""Files that a crash cannot tear, lines that can be cut back, and JSON that any reader takes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldstart_cli.errors import RequestError
from coldstart_cli.foreign import DECODER, LARGEST_JSON, json_values, read_text


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file so that a crash at any moment leaves the old one or the new one, on disk.

    Raises:
        RequestError: if the folder cannot be written or the disk is full, naming path and bytes.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise RequestError(
            f"{path}: cannot write {len(data)} bytes ({error.strerror}); make room, or choose outputs=DIR"
        ) from error


def write_json(path: Path, value: object) -> None:
    write_bytes(path, (json.dumps(finite(value), indent=2) + "\n").encode())


def finite(value: object) -> object:
    """The same with null for every number that JSON does not know: a loss that diverged is infinite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def append_jsonl(path: Path, row: Mapping[str, object]) -> int:
    """Appends one line and returns its length in bytes."""
    data = (json.dumps(finite(row)) + "\n").encode()
    with open(path, "ab") as file:
        file.write(data)
    return len(data)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of lines, without what a crash left of the last one; none where there is no file."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            rows.append(DECODER.decode(line))
    return [row for row in rows if isinstance(row, dict)]


def truncate(path: Path, length: int) -> None:
    """Cuts a file of lines to what a checkpoint knows of."""
    with open(path, "ab") as file:
        file.truncate(length)


def read_json(path: Path, key: str) -> dict[str, Any]:
    """
    Raises:
        RequestError: naming `key` and the file that is missing or damaged.
    """
    try:
        value = json_values(read_text(path, LARGEST_JSON))
    except FileNotFoundError as error:
        raise RequestError(
            f"{key}: {path.parent} is no run directory (it has no {path.name}); name one below outputs"
        ) from error
    except (OSError, ValueError) as error:
        raise RequestError(f"{key}: {path} is damaged; train again with again=true") from error
    if not isinstance(value, dict):
        raise RequestError(f"{key}: {path} is damaged; train again with again=true")
    return value


def umask() -> int:
    """The process's mask for new files, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of equal keys as CSV with a header line; text that a spreadsheet would run is quoted by '."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([[csv_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()


FORMULAS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""What begins a formula, and the full-width forms that some spreadsheets take for it."""


def csv_cell(value: object) -> object:
    """OWASP's rule for CSV: a cell must not begin with what starts a formula."""
    if value is None or isinstance(value, int | float):
        return value
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return f"'{text}" if text.lstrip().startswith(FORMULAS) else text


def flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested keys in one level, joined by dots."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found
