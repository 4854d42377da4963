"""A bundle's folder, written and read as one thing.

    card.json                          the card, which names the other files and holds a digest of each
    weights-<digest>.safetensors       the predictor's tensors, without those of the pretrained base
    base-<digest>/                     a copy of the pretrained base, where that was asked for

All but the card are named by their content, so writing a bundle over another touches no file that the old
card names. The one rename that puts the new card in place is the moment when the new bundle begins; what no
card names is swept afterwards. docs/decisions/0012-one-bundle.md says why this and no other way.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from coldstart_cli.bundles.card import CARD, Card, read_card
from coldstart_cli.digests import digest, file_digest, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL, copy_file, remove, sync, write_bytes
from coldstart_cli.files.locks import locked
from coldstart_cli.files.regular import read_bytes

T = TypeVar("T")

HARMLESS = {".json", ".safetensors", ".txt", ".md", ".model"}
"""Suffixes of a base's files: weights, configs and vocabularies, none of which runs."""
TRIES = 5
"""Looks at a bundle that others write meanwhile; then it is given up."""

_WEIGHTS = re.compile(r"weights(-[0-9a-f]{16})?\.safetensors")
_BASE = re.compile(r"base(-[0-9a-f]{16})?")
"""Also the names of format 1, which said nothing of the content."""
_LITTER = re.compile(
    rf"\.DS_Store|\._.*|\.localized|Thumbs\.db|desktop\.ini|\.nfs.*|\..*{re.escape(PARTIAL)}"
)
"""What file managers and file systems drop into a folder, and what a killed `adapt` leaves: never read."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle's folder holds, each part checked against the card's digests.

    Attributes:
        weights: the bytes of the file of tensors.
        base: folder of the copied pretrained base, or None.
    """

    card: Card
    weights: bytes
    base: Path | None


def refuse_to_overwrite(folder: Path, *, overwrite: bool) -> None:
    """
    Raises:
        RequestError: where a bundle is there already: it may be the only one of its labels.
    """
    if (folder / CARD).exists() and not overwrite:
        raise RequestError(
            f"bundle: {folder} is a bundle already; name another folder, or replace it (overwrite=true)"
        )


def write(folder: Path, card: Card, weights: bytes, base: Path | None, *, overwrite: bool = True) -> Card:
    """Puts a bundle into a folder, in place of the one there; others see the old one or this one, whole.

    Args:
        base: a folder whose harmless files are copied into the bundle, or None.
        overwrite: whether it may take the place of another bundle.

    Returns:
        The card as it was written: with the names and digests of the files.

    Raises:
        RequestError: where the folder holds anything but a bundle, or cannot be written.
    """
    check_place(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync(folder.parent)
    except OSError as error:
        raise RequestError(f"bundle: {folder} cannot be made ({error.strerror}); name another") from error
    with locked(folder) as alone:
        check_place(folder)
        refuse_to_overwrite(folder, overwrite=overwrite)  # one that was written while this one adapted
        named = f"weights-{digest([weights])}.safetensors"
        files = {named: digest([weights], 64)}
        write_bytes(folder / named, weights)
        if base is not None:
            files |= _copied(base, folder)
        card = replace(card, files=files)
        # Until this rename the folder is the old bundle, from it on the new one
        write_bytes(folder / CARD, card.as_json().encode())
        if alone:  # without a lock, what looks left over may be what another is writing
            _sweep(folder, files)
    return card


def check_place(folder: Path) -> None:
    """
    Raises:
        RequestError: where a folder exists and holds anything but a bundle or what one left behind.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise RequestError(f"bundle: {folder} exists and is not a bundle; name a new folder")
    for place in _inside(folder):
        if place.is_symlink():
            raise RequestError(f"bundle: {folder} holds links, which writing would follow; name a new folder")
    if not (folder / CARD).exists() and any(not _is_ours(p.relative_to(folder)) for p in _inside(folder)):
        raise RequestError(f"bundle: {folder} exists and is not a bundle; name a new folder")


def read(folder: Path, use: Callable[[Contents], T]) -> T:
    """What `use` makes of the bundle in a folder: of one whole bundle, also while another replaces it.

    Raises:
        RequestError: where it is none, damaged, of a newer version, or holds anything but values; as `use`.
    """
    for i in range(TRIES):
        # Without a lock first, as readers seldom meet a writer; then with one, so that writers wait
        with locked(folder) if i else contextlib.nullcontext():
            before = _which_card(folder)
            try:
                return use(_contents(folder))
            except (RequestError, OSError) as error:
                # A new card in the meantime: the files of the one that was read may be gone for that alone
                if before is None or _which_card(folder) == before:
                    if isinstance(error, OSError):
                        raise RequestError(
                            f"bundle: {folder} cannot be read ({error.strerror}); check it, or make it again"
                        ) from error
                    raise
    raise RequestError(f"bundle: {folder} changes all the time; wait until its writer has ended")


def _contents(folder: Path) -> Contents:
    if not folder.is_dir() or not (folder / CARD).is_file():
        raise RequestError(f"bundle: {folder} is not a bundle (it has no {CARD}); coldstart adapt makes one")
    _check_values_only(folder)
    card = read_card(folder / CARD)
    if card.files is None:  # format 1, whose files have no digests
        base = folder / "base"
        return Contents(card, _bytes(folder / "weights.safetensors"), base if base.is_dir() else None)
    weights = [name for name in card.files if _WEIGHTS.fullmatch(name)]
    bases = {PurePosixPath(name).parts[0] for name in card.files if _in_base(PurePosixPath(name))}
    if len(weights) != 1 or len(bases) > 1 or not all(map(_is_named, card.files)):
        raise RequestError(f"bundle: {folder / CARD} is damaged; make it again")
    content = _bytes(folder / weights[0])
    found = {weights[0]: whole_digest([content]).hex()}
    for name in card.files.keys() - found.keys():
        found[name] = file_digest(folder / name) if (folder / name).is_file() else ""
    for name, expected in card.files.items():
        if found[name] != expected:
            raise RequestError(
                f"bundle: {folder / name} is damaged: it is not the file that {CARD} names; make it again"
            )
    chosen = folder / bases.pop() if bases else None
    _check_base(chosen, folder, card.files)
    return Contents(card, content, chosen)


def _bytes(path: Path) -> bytes:
    if not path.is_file():  # a pipe would never end
        raise RequestError(f"bundle: {path} is damaged (it is missing, or no file); make it again")
    try:
        return read_bytes(path)
    except OSError as error:
        raise RequestError(f"bundle: {path} is damaged ({error.strerror}); make it again") from error


def _check_values_only(folder: Path) -> None:
    """Refuses a folder in which anything lies that could run, or that leads elsewhere."""
    for file in _inside(folder):
        known = _is_ours(file.relative_to(folder)) or str(file.relative_to(folder)) == CARD
        if file.is_symlink() or (file.is_file() and not known):
            raise RequestError(
                f"bundle: {file} is not part of a bundle, which holds values only; remove it, if you trust "
                "the rest"
            )


def _check_base(base: Path | None, folder: Path, files: Mapping[str, str]) -> None:
    """Refuses further files in the base: what reads it would read them too, and no digest covers them."""
    for file in _inside(base) if base is not None else ():
        inside = file.relative_to(folder).as_posix()
        if file.is_file() and inside not in files and not _LITTER.fullmatch(file.name):
            raise RequestError(
                f"bundle: {file} is not part of the bundle by its {CARD}; remove it, if you trust the rest"
            )


def _copied(base: Path, folder: Path) -> dict[str, str]:
    """Copies the harmless files of a base; their names in the bundle with the digests of their content."""
    kept = sorted(file for file in base.iterdir() if file.is_file() and file.suffix in HARMLESS)
    digests = {file.name: file_digest(file) for file in kept}
    target = folder / f"base-{digest(f'{name} {found}' for name, found in digests.items())}"
    target.mkdir(exist_ok=True)
    for file in kept:
        copy_file(file, target / file.name)
    sync(folder)
    return {f"{target.name}/{name}": found for name, found in digests.items()}


def _sweep(folder: Path, files: Mapping[str, str]) -> None:
    """Removes what earlier bundles and killed commands left: all of ours that the card does not name."""
    tops = {PurePosixPath(name).parts[0] for name in files}
    for place in folder.iterdir():
        left_over = place.name.startswith(".") and place.name.endswith(PARTIAL)
        ours = _WEIGHTS.fullmatch(place.name) or _BASE.fullmatch(place.name)
        if left_over or (ours and place.name not in tops):
            remove(place)
    for name in tops:
        for partial in (folder / name).glob(f".*{PARTIAL}"):
            remove(partial)


def _inside(folder: Path) -> Iterator[Path]:
    """Everything below a folder; what others remove meanwhile is passed over, which rglob does not do."""
    for place, folders, names in os.walk(folder):
        yield from (Path(place, name) for name in (*folders, *names))


def _is_ours(inside: Path) -> bool:
    """Whether a place in a bundle may be there without being named by the card: it is never read then."""
    first = inside.parts[0]
    if _LITTER.fullmatch(inside.name):
        return True
    return bool(_WEIGHTS.fullmatch(str(inside))) or bool(
        _BASE.fullmatch(first) and (len(inside.parts) == 1 or inside.suffix in HARMLESS)
    )


def _is_named(name: str) -> bool:
    """Whether a card may name such a file: nothing leads out of the folder."""
    return bool(_WEIGHTS.fullmatch(name)) or _in_base(PurePosixPath(name))


def _in_base(inside: PurePosixPath) -> bool:
    parts = inside.parts
    return len(parts) == 2 and bool(_BASE.fullmatch(parts[0])) and inside.suffix in HARMLESS


def _which_card(folder: Path) -> tuple[int, ...] | None:
    """What tells one card.json from the next without reading it: each is another file, put in its place."""
    try:
        status = (folder / CARD).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
