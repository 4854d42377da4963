"""Writes the pages of the reference into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from reference.pages import PLACE, pages, write


def main(words: list[str]) -> int:
    """Writes what has changed and says how many pages there are."""
    folder = Path(words[0]) if words else PLACE
    made = pages()
    changed = write(made, folder)
    print(f"{folder.name}: {len(made)} pages, {changed} of them written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
