"""The commit that a folder's repository stands at, read from git's files.

git itself is not asked: `git describe --dirty`, like most of its commands, runs programs that the
repository's own configuration names (core.fsmonitor, filters), and a repository may be a stranger's. Whether
files differ from the commit is therefore not known.
"""

from __future__ import annotations

import re
from pathlib import Path

from coldstart_cli.files.regular import opened

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # SHA-1, or SHA-256
_SMALL = 1 << 12
"""Bytes of HEAD, of a reference, of a worktree's `.git`: each is one line."""
_PACKED = 1 << 24
"""Bytes of packed-refs; a repository with 100,000 references has some seven million."""


def head_commit(folder: Path) -> str | None:
    """The commit that is checked out at `folder`, in hexadecimal digits.

    None where there is no repository with a commit, or where it keeps its references in another way.
    A bare repository is not looked for: nothing is checked out of it.
    """
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_dir():
            return _head(git)
        if git.is_file():  # a worktree or a submodule: the path of its folder, perhaps relative
            named = _line(git)
            return _head(place / named[8:]) if named.startswith("gitdir: ") else None
    return None


def _head(git: Path) -> str | None:
    head = _line(git / "HEAD")
    if not head.startswith("ref: "):
        return _commit(head)
    name = head[5:]
    if not name.startswith("refs/") or ".." in name:
        return None
    # A worktree has a HEAD of its own and shares the branches of the repository it was made from.
    common = git / (_line(git / "commondir") or ".")
    for place in (git, common):
        # A loose reference is newer than its line in packed-refs, which git rewrites only now and then.
        if found := _commit(_line(place / name)):
            return found
    for row in _text(common / "packed-refs", _PACKED).splitlines():
        commit, _, packed = row.partition(" ")
        if packed == name:
            return _commit(commit)
    return None


def _commit(text: str) -> str | None:
    return text if _COMMIT.fullmatch(text) else None


def _line(path: Path) -> str:
    return _text(path, _SMALL).rstrip("\n")


def _text(path: Path, largest: int) -> str:
    """The beginning of a file, or nothing where there is none."""
    try:
        with opened(path) as stream:
            return stream.read(largest).decode(errors="replace")
    except (OSError, ValueError):  # ValueError: a path with a NUL
        return ""
