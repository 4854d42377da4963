"""Earlier versions of a bundle: folders inside its own, whole bundles, put there and taken away whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from coldstart_cli.bundles.kept.card import CARD, Card, read_card
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL, copy_file, remove, sync

VERSIONS = "versions"


def versions(folder: Path) -> dict[int, Path]:
    """The earlier versions that a bundle's folder keeps, the oldest first."""
    found = [place for place in listed(folder / VERSIONS) if place.name.isdecimal() and place.is_dir()]
    return {int(place.name): place for place in sorted(found, key=lambda place: int(place.name))}


def whose(folder: Path) -> Path | None:
    """The bundle that a folder is an earlier version of, or None."""
    place = folder.expanduser().resolve()
    bundle = place.parent.parent
    return bundle if place.parent.name == VERSIONS and (bundle / CARD).is_file() else None


def listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def newest(folder: Path) -> int:
    """The highest number of the versions in a folder, the bundle itself among them; 0 where there is none."""
    found = [*versions(folder)]
    if (folder / CARD).is_file():
        with contextlib.suppress(RequestError):  # one that is replaced for being damaged
            found.append(read_card(folder / CARD).version)
    return max(found, default=0)


def keep(folder: Path, card: Card, names: Iterable[str]) -> None:
    """Puts the bundle there among the versions, whole at once: in a hidden folder, which is then renamed.

    Its files are named by their content and never changed, so links to them are copies that take no room.

    Args:
        names: of its files, the card left out.

    Raises:
        RequestError: where they cannot be copied.
    """
    kept = folder / VERSIONS / str(card.version)
    if kept.exists():  # by a writer that was killed before its own card was in place
        return
    partial = kept.with_name(f".{kept.name}{PARTIAL}")
    remove(partial)
    names = [CARD, *names]
    try:
        for name in names:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(folder / name, partial / name)
            except OSError:  # a file system without such links
                copy_file(folder / name, partial / name)
        for place in {partial, *((partial / name).parent for name in names)}:
            sync(place)
        os.replace(partial, kept)
        sync(kept.parent)
    except OSError as error:
        raise RequestError(
            f"bundle: the earlier version of {folder} cannot be kept ({error.strerror}); make room, or "
            "replace it (overwrite=true)"
        ) from error


def drop(folder: Path, most: int) -> None:
    """Removes the oldest versions beyond so many; one that is half removed has a name of its own."""
    for place in [*versions(folder).values()][:-most]:
        partial = place.with_name(f".{place.name}{PARTIAL}")
        os.replace(place, partial)
        remove(partial)
