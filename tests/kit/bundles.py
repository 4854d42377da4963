"""Bundles that a test changes behind their card's back, or with a card to match."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from coldstart_cli.digests import digest
from coldstart_cli.files.card_digest import DIGEST, with_digest


def weights_of(bundle: Path) -> Path:
    """The file of a bundle's tensors."""
    (path,) = bundle.glob("weights*.safetensors")
    return path


def put_weights(bundle: Path, data: bytes) -> None:
    """Other weights with a card that names them: what somebody writes who knows the format."""
    weights_of(bundle).unlink()
    name = f"weights-{digest([data])}.safetensors"
    (bundle / name).write_bytes(data)
    edit(bundle, files={name: digest([data], 64)})


def edit(bundle: Path, **changes: Any) -> None:
    """Keys of a card with other values; those of `build` one by one. Its digest is made to match."""
    card = json.loads((bundle / "card.json").read_text())
    if "build" in changes:
        changes["build"] = {**card["build"], **changes["build"]}
    put_card(bundle, {**card, **changes})


def put_card(bundle: Path, card: dict[str, Any]) -> None:
    """Another card, with a digest to match: what somebody writes who knows the format."""
    (bundle / "card.json").write_text(json.dumps(with_digest(card)))


def matched(path: Path) -> None:
    """A spoiled card that is JSON still gets the digest of what it holds, so that more than that is tried."""
    if path.name == "card.json":
        with contextlib.suppress(ValueError, RecursionError):
            card = json.loads(path.read_text())
            if isinstance(card, dict) and DIGEST in card:
                put_card(path.parent, card)


def as_format_1(bundle: Path) -> None:
    """The bundle as versions before format 2 wrote it: without digests, under plain names."""
    weights_of(bundle).rename(bundle / "weights.safetensors")
    for base in bundle.glob("base-*"):
        base.rename(bundle / "base")
    edit(bundle, format=1, files=None, pretrained=None)
    card = json.loads((bundle / "card.json").read_text())
    del card[DIGEST]
    (bundle / "card.json").write_text(json.dumps(card))
