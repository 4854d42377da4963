"""How much places take on disk."""

from __future__ import annotations

import os
from pathlib import Path


def n_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; links are not followed, and what cannot be read counts 0."""
    total, waiting = 0, [os.fspath(path)]
    while waiting:
        place = waiting.pop()
        try:
            if os.path.islink(place) or not os.path.isdir(place):
                total += os.lstat(place).st_size
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def written_size(size: int) -> str:
    """`512 B`, `1.2 MiB`: what a person compares with the room that there is."""
    if size < 1024:
        return f"{size} B"
    for power, unit in enumerate(("KiB", "MiB", "GiB"), start=1):
        if size < 1023.95 * 1024**power:  # above, it would be written as 1024.0
            return f"{size / 1024**power:.1f} {unit}"
    return f"{size / 1024**4:.1f} TiB"
