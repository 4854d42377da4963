"""`coldstart cache`: what lies in the cache folder, and how it goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from coldstart_cli.cli.confirming import confirmed
from coldstart_cli.cli.output import emit
from coldstart_cli.cli.parsing import Namespace, Parser
from coldstart_cli.errors import RequestError
from coldstart_cli.safe_text import printable

if TYPE_CHECKING:
    from coldstart_cli.files.cache_entries import CacheEntry


def add(program: Parser) -> None:
    """The command's flags and words."""
    from coldstart_cli.files.cache_entries import KINDS

    parser = program.command(
        "cache",
        run,
        "what lies in the cache folder, with sizes; --remove frees it",
        "All of it is made again where it is needed. The folder is COLDSTART_CACHE, else "
        "XDG_CACHE_HOME/coldstart, else ~/.cache/coldstart.",
        examples=("coldstart cache", "coldstart cache features", "coldstart cache --remove features gguf"),
    )
    parser.place(
        "entries", nargs="*", metavar="ENTRY", help=f"a name, or a kind: {', '.join(KINDS)}; default all"
    )
    parser.flag("--remove", action="store_true", help="remove them; asks first")
    parser.flag("-y", "--yes", action="store_true", help="do not ask")
    parser.flag("--json", action="store_true", help="print JSON")


def run(arguments: Namespace) -> int:
    """Lists entries, or removes those that are named.

    Raises:
        RequestError: for a word that names no entry, and where all would be removed without a word.
    """
    from coldstart_cli.files.cache_entries import cache_entries, chosen, remove_entry
    from coldstart_cli.files.caching import cache_folder
    from coldstart_cli.files.sizes import written_size

    folder = cache_folder()
    entries, others = cache_entries(folder)
    found = chosen(entries, arguments.entries)
    total = written_size(sum(entry.n_bytes for entry in found))
    if arguments.remove:
        if not arguments.entries:
            raise RequestError("cache: --remove takes what to remove; coldstart cache --remove features")
        if not found:
            emit("nothing to remove\n")
        elif confirmed(f"remove {_counted(found)} of {folder}, {total}", arguments.yes, "cache"):
            for entry in found:
                remove_entry(entry)
            emit(f"removed {_counted(found)}, freed {total}\n")
    elif arguments.json:
        emit(json.dumps([_as_json(entry) for entry in found], indent=1) + "\n")
    else:
        lines = _each(found) if arguments.entries else _by_kind(found)
        more = f"; {others} more there of others" if others else ""
        emit(printable("\n".join([*lines, f"{folder}: {_counted(found)}, {total}{more}"]), kept="\n") + "\n")
    return 0


def _as_json(entry: CacheEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "path": str(entry.path),
        "bytes": entry.n_bytes,
        "written": _when(entry.written),
    }


def _counted(entries: Sequence[CacheEntry]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _by_kind(entries: Sequence[CacheEntry]) -> list[str]:
    from coldstart_cli.files.cache_entries import KINDS
    from coldstart_cli.files.sizes import written_size

    lines = []
    for kind, (_, what) in KINDS.items():
        own = [entry for entry in entries if entry.kind == kind]
        if own:
            size = written_size(sum(entry.n_bytes for entry in own))
            newest = _when(max(entry.written for entry in own))
            lines.append(f"{kind:<10} {len(own):>5} {size:>10}  {newest}  {what}")
    return lines


def _each(entries: Sequence[CacheEntry]) -> list[str]:
    from coldstart_cli.files.sizes import written_size

    width = max((len(entry.name) for entry in entries), default=0)
    return [f"{e.name:<{width}} {written_size(e.n_bytes):>10}  {_when(e.written)}" for e in entries]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="minutes")
