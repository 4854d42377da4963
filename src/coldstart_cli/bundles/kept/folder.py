"""A bundle's folder, written and read as one thing.

    card.json                          the card, which names the other files and holds a digest of each
    weights-<digest>.safetensors       the predictor's tensors, without those of the pretrained base
    rows-<digest>.safetensors          hashes, labels and held-out answers of the rows it has learned from
    predictor-<digest>.onnx            the predictor with its encoder, and tokenizer-<digest>.json, where
                                       `coldstart export inside=true` has put them for a quick start
    base-<digest>/                     a copy of the pretrained base, where that was asked for
    versions/<number>/                 bundles that lay here before, each a whole one by itself

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

from coldstart_cli.bundles.kept.card import CARD, Card, read_card
from coldstart_cli.bundles.kept.versions import VERSIONS, drop, listed, newest, whose
from coldstart_cli.bundles.kept.versions import keep as put_away
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
_ROWS = re.compile(r"rows-[0-9a-f]{16}\.safetensors")
_PROGRAM = re.compile(r"predictor-[0-9a-f]{16}\.onnx")
_TOKENIZER = re.compile(r"tokenizer-[0-9a-f]{16}\.json")
_FILES = (_WEIGHTS, _ROWS, _PROGRAM, _TOKENIZER)
_VERSION = re.compile(rf"\d{{1,9}}|\.\d{{1,9}}{re.escape(PARTIAL)}")
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
        rows: the bytes of the file of rows; None before format 3.
    """

    card: Card
    weights: bytes
    base: Path | None
    rows: bytes | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A predictor that answers without torch, each file checked against the card's digests.

    Attributes:
        onnx: the file, with its encoder inside.
        tokenizer: what a tokenizer.json holds.
    """

    card: Card
    onnx: Path
    tokenizer: str


def write(
    folder: Path, card: Card, weights: bytes, base: Path | None, *, rows: bytes | None = None, keep: int = 0
) -> Card:
    """Puts a bundle into a folder, in place of the one there; others see the old one or this one, whole.

    Args:
        base: a folder whose harmless files are copied into the bundle, or None.
        rows: see `Contents`.
        keep: earlier versions that are kept, the one there among them; 0: that one is not, others stay.

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
        number = 1 + newest(folder)
        if keep and (folder / CARD).exists():
            before = read_card(folder / CARD)
            kept_files = before.files if before.files is not None else _format_1(folder)
            put_away(folder, before, kept_files)
        named = f"weights-{digest([weights])}.safetensors"
        files = {named: digest([weights], 64)}
        write_bytes(folder / named, weights)
        if rows is not None:
            kept = f"rows-{digest([rows])}.safetensors"
            files[kept] = digest([rows], 64)
            write_bytes(folder / kept, rows)
        if base is not None:
            files |= _copied(base, folder)
        card = replace(card, files=files, version=number)
        # Until this rename the folder is the old bundle, from it on the new one
        write_bytes(folder / CARD, card.as_json().encode())
        if alone:  # without a lock, what looks left over may be what another is writing
            _sweep(folder, files)
            if keep:
                drop(folder, keep)
    return card


def _format_1(folder: Path) -> list[str]:
    """The files of a bundle whose card names none."""
    found = [place for place in _inside(folder) if place.is_file() and _is_ours(place.relative_to(folder))]
    inside = [place.relative_to(folder) for place in found]
    return [str(name) for name in inside if name.parts[0] != VERSIONS and not _LITTER.fullmatch(name.name)]


def check_place(folder: Path) -> None:
    """
    Raises:
        RequestError: where a folder exists and holds anything but a bundle or what one left behind.
    """
    if (bundle := whose(folder)) is not None:
        raise RequestError(
            f"bundle: {folder} is for an earlier version of {bundle}; name a folder outside of it"
        )
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
    return _at_rest(folder, lambda: use(_contents(folder)))


def read_program(folder: Path, use: Callable[[Program], T]) -> T | None:
    """The same of the program that a bundle may hold; None where it holds none.

    Raises:
        RequestError: as `read`.
    """

    def found() -> T | None:
        program = _program(folder)
        return None if program is None else use(program)

    return _at_rest(folder, found)


def add_program(folder: Path, card: Card, onnx: Path, tokenizer: bytes) -> Card:
    """Puts a program into the bundle that has this card, and returns the card that names it.

    Raises:
        RequestError: where another bundle has taken its place, or it cannot be written.
    """
    programs = (_PROGRAM, _TOKENIZER)
    with locked(folder) as alone:
        if read_card(folder / CARD).files != card.files or card.files is None:
            raise RequestError(f"bundle: {folder} was replaced or is of an older coldstart; make it again")
        files = {name: of for name, of in card.files.items() if not any(p.fullmatch(name) for p in programs)}
        whole = {"predictor": file_digest(onnx), "tokenizer": digest([tokenizer], 64)}
        copy_file(onnx, folder / f"predictor-{whole['predictor'][:16]}.onnx")
        write_bytes(folder / f"tokenizer-{whole['tokenizer'][:16]}.json", tokenizer)
        files[f"predictor-{whole['predictor'][:16]}.onnx"] = whole["predictor"]
        files[f"tokenizer-{whole['tokenizer'][:16]}.json"] = whole["tokenizer"]
        card = replace(card, files=files)
        write_bytes(folder / CARD, card.as_json().encode())
        if alone:
            _sweep(folder, files)
    return card


def _at_rest(folder: Path, look: Callable[[], T]) -> T:
    """What a look at the bundle in a folder finds: at one whole bundle, also while another replaces it.

    Raises:
        RequestError: where it is none, damaged, of a newer version, or holds anything but values; as `use`.
    """
    for i in range(TRIES):
        # Without a lock first, as readers seldom meet a writer; then with one, so that writers wait
        with locked(folder) if i else contextlib.nullcontext():
            before = _which_card(folder)
            try:
                return look()
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
        raise RequestError(
            f"bundle: {folder} is not a bundle (it has no {CARD}); coldstart adapt makes one (E40)"
        )
    _check_values_only(folder)
    card = read_card(folder / CARD)
    if card.files is None:  # format 1, whose files have no digests
        base = folder / "base"
        return Contents(card, _bytes(folder / "weights.safetensors"), base if base.is_dir() else None)
    weights = [name for name in card.files if _WEIGHTS.fullmatch(name)]
    rows = [name for name in card.files if _ROWS.fullmatch(name)]
    bases = {PurePosixPath(name).parts[0] for name in card.files if _in_base(PurePosixPath(name))}
    if len(weights) != 1 or len(rows) > 1 or len(bases) > 1 or not all(map(_is_named, card.files)):
        raise RequestError(f"bundle: {folder / CARD} is damaged; make it again")
    contents = {name: _bytes(folder / name) for name in (*weights, *rows)}
    found = {name: whole_digest([content]).hex() for name, content in contents.items()}
    unread = {name for name in card.files if _PROGRAM.fullmatch(name) or _TOKENIZER.fullmatch(name)}
    for name in card.files.keys() - found.keys() - unread:  # a program is checked by who runs it
        found[name] = file_digest(folder / name) if (folder / name).is_file() else ""
    for name in found:
        _check_digest(folder / name, found[name], card.files[name])
    chosen = folder / bases.pop() if bases else None
    _check_base(chosen, folder, card.files)
    return Contents(card, contents[weights[0]], chosen, contents[rows[0]] if rows else None)


def _program(folder: Path) -> Program | None:
    if not folder.is_dir() or not (folder / CARD).is_file():
        return None  # who reads it whole says what is wrong
    card = read_card(folder / CARD, builds=False)
    onnx = [name for name in card.files or () if _PROGRAM.fullmatch(name)]
    tokenizer = [name for name in card.files or () if _TOKENIZER.fullmatch(name)]
    if len(onnx) != 1 or len(tokenizer) != 1 or card.files is None:
        return None
    _check_values_only(folder)
    text = _bytes(folder / tokenizer[0])
    _check_digest(folder / tokenizer[0], digest([text], 64), card.files[tokenizer[0]])
    found = file_digest(folder / onnx[0]) if (folder / onnx[0]).is_file() else ""
    _check_digest(folder / onnx[0], found, card.files[onnx[0]])
    return Program(card, folder / onnx[0], text.decode())


def _check_digest(path: Path, found: str, expected: str) -> None:
    """
    Raises:
        RequestError: where a file is not the one that the card names.
    """
    if found != expected:
        raise RequestError(f"bundle: {path} is damaged: it is not the file that {CARD} names; make it again")


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
        ours = any(kind.fullmatch(place.name) for kind in (*_FILES, _BASE))
        if left_over or (ours and place.name not in tops):
            remove(place)
    for place in listed(folder / VERSIONS):
        if place.name.endswith(PARTIAL):
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
    if first == VERSIONS:  # each is checked by itself where it is read
        below = Path(*inside.parts[2:])
        named = len(inside.parts) == 1 or bool(_VERSION.fullmatch(inside.parts[1]))
        nested = inside.parts[2:3] == (VERSIONS,)
        return named and not nested and (len(inside.parts) < 3 or str(below) == CARD or _is_ours(below))
    return any(kind.fullmatch(str(inside)) for kind in _FILES) or bool(
        _BASE.fullmatch(first) and (len(inside.parts) == 1 or inside.suffix in HARMLESS)
    )


def _is_named(name: str) -> bool:
    """Whether a card may name such a file: nothing leads out of the folder."""
    return any(kind.fullmatch(name) for kind in _FILES) or _in_base(PurePosixPath(name))


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
