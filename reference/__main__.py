"""Writes the pages of the reference into a folder."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from coldstart_cli.errors import RequestError, line
from reference.markdown import Unsaid
from reference.pages import PLACE, pages, write


def main(words: list[str]) -> int:
    """Writes what has changed and says how many pages there are; 1 where something cannot be told."""
    folder = Path(words[0]) if words else PLACE
    try:
        made = pages()
    except (Unsaid, RequestError) as error:  # of a strategy, also what it needs and is not installed
        print(f"reference: {line(str(error))}", file=sys.stderr)
        return 1
    changed = write(made, folder)
    print(f"{folder.name}: {len(made)} pages, {changed} of them written anew")
    return 0


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # of the strategies that are built to be asked what they serve
    sys.exit(main(sys.argv[1:]))
