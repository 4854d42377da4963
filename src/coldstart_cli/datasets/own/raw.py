"""Examples without labels as they were read, for whatever predicts them: no torch is needed to hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coldstart_cli.core.tasks import Inputs

Recipe = Mapping[str, Any]
"""How raw examples of a layout are read, as JSON holds it; `layout` names the layout."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Inputs without labels, as the model's preprocess made them, and where each was read.

    Attributes:
        rows: the values of each by column; empty where the layout has no columns.
    """

    inputs: Inputs
    places: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.places)
