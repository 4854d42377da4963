"""Leftovers of killed commands go; what may still be written stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

from coldstart_cli.files.leftovers import OLD_SECONDS, sweep_leftovers


def test_old_leftovers_alone_are_removed(tmp_path: Path) -> None:
    for name in (".x.npz.old", ".x.npz.new", "x.npz", ".y.npz.old"):
        (tmp_path / name).touch()
    (tmp_path / ".x.npz.link").symlink_to("x.npz")
    before = time.time() - 2 * OLD_SECONDS
    for name in (".x.npz.old", "x.npz", ".y.npz.old"):
        os.utime(tmp_path / name, (before, before))
    sweep_leftovers(tmp_path, ".x.npz.*")
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == [".x.npz.link", ".x.npz.new", ".y.npz.old", "x.npz"]
