"""How a run may stand. Imports nothing, because help pages show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

State = Literal["finished", "trained", "running", "stopped", "failed", "broken"]
STATES: Mapping[State, str] = {
    "finished": "trained and evaluated",
    "trained": "trained, and not evaluated",
    "running": "a process is at it",
    "stopped": "interrupted; its command continues",
    "failed": "its last attempt ended in an error",
    "broken": "files are damaged, or of a newer coldstart",
}
GOING_ON: tuple[State, ...] = ("trained", "stopped", "failed")
"""Those that their command continues."""
