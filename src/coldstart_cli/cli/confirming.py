"""A question before what cannot be undone."""

from __future__ import annotations

import sys

from coldstart_cli.errors import RequestError
from coldstart_cli.safe_text import printable


def confirmed(what: str, yes: bool, command: str) -> bool:
    """Whether a person agrees; nothing is asked with `yes`.

    Args:
        what: would be done, in the imperative.

    Raises:
        RequestError: where there is no terminal to ask on.
    """
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty()):
        raise RequestError(f"{command}: would {what}, and nobody can be asked here; --yes does it")
    print(printable(f"{what}? [y/N] "), end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was removed", file=sys.stderr)
    return False
