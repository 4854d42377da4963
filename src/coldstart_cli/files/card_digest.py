"""The digest that a bundle's card.json holds of itself: whether it is as it was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError

DIGEST = "digest"
"""The key of the digest: 64 hexadecimal digits of the SHA-256 over the canonical JSON of all other keys."""
SINCE = 4
"""The first format whose cards have one."""


def with_digest(card: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with the digest of them, in place of one that is there."""
    values = {key: value for key, value in card.items() if key != DIGEST}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return {**values, DIGEST: digest([canonical], 64)}


def check_digest(card: Mapping[str, Any], path: object, key: str) -> None:
    """
    Args:
        card: what a card.json holds, of any format.
        path: where it lies, for the message.
        key: that the message begins with.

    Raises:
        RequestError: where it is not as it was written: damaged, or edited. Formats before 4 have no digest,
            and pass without one.
    """
    version = card.get("format")
    if DIGEST not in card and not (isinstance(version, int) and version >= SINCE):
        return
    if card.get(DIGEST) != with_digest(card)[DIGEST]:
        raise RequestError(
            f"{key}: {path} is damaged or was edited (it is not what its own digest says); nothing in it is "
            "for editing: take back the file as it was, or adapt again"
        )
