"""An earlier version of a bundle takes its place again: as the next version, so nothing is lost by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from coldstart_cli.bundles.kept.card import CARD, Card
from coldstart_cli.bundles.kept.folder import Contents, add_program, read, read_program, write
from coldstart_cli.bundles.kept.versions import drop, newest, versions
from coldstart_cli.errors import RequestError
from coldstart_cli.files.locks import locked


def put_back(folder: Path, number: int, *, keep: int) -> Card:
    """Writes what `versions/<number>` holds into the bundle's folder, with its program where it has one.

    Args:
        keep: earlier versions that are kept, the one in whose place it comes among them; 0: that one is not.

    Returns:
        The card as it was written: of the version that comes next.

    Raises:
        RequestError: where the bundle has no such version, or one of the two cannot be read.
    """
    known = versions(folder)
    if number not in known:
        if not (folder / CARD).is_file():
            raise RequestError(f"bundle: {folder} is not a bundle (it has no {CARD}); name one that is")
        kept = ", ".join(map(str, known)) or "none"
        raise RequestError(f"version: {folder} keeps no version {number} (kept: {kept}); name one of these")
    found: Contents = read(known[number], lambda contents: contents)
    program = read_program(known[number], lambda program: program)
    said = f"version {number} again, put back in place of version {newest(folder)}"
    card = replace(found.card, changed=None, said=(*found.card.said, said))
    # The one that is put back may be the oldest, which goes once all of it is copied
    all_of_them = len(known) + 1 if keep else 0
    written = write(folder, card, found.weights, found.base, rows=found.rows, keep=all_of_them)
    if program is not None:
        written = add_program(folder, written, program.onnx, program.tokenizer.encode())
    with locked(folder) as alone:
        if alone and keep:
            drop(folder, keep)
    return written
