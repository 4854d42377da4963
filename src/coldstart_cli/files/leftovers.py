"""What commands that were killed while they wrote have left behind, removed once nobody can be writing it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

OLD_SECONDS = 3600.0
"""A file that is being written changes more often; a clock of a shared file system may differ by minutes."""


def sweep_leftovers(folder: Path, pattern: str) -> None:
    """Removes files that have not changed for an hour; one that is gone by then is passed over."""
    oldest = time.time() - OLD_SECONDS
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if not path.is_symlink() and path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
