"""Omniglot's files: where they are, whether they are whole, and their drawings as one array."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.readers import zips
from coldstart_cli.datasets.readers.cache import Arrays, load_or_make
from coldstart_cli.datasets.readers.download import fetch
from coldstart_cli.digests import Part, digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.regular import read_bytes

Character = tuple[str, str]
"""Alphabet and character, as their folders are called."""

N_DRAWINGS = 20
SIZE = 28
"""Height and width of an image in pixels, resized from `_STORED`."""
_STORED = 105

_FOLDERS = ("images_background", "images_evaluation")
_LARGEST = 1 << 20
"""Bytes of a drawing; the publisher's have some hundred."""
_RECIPE = 1  # counts the changes of this file that change the images


class Fate(NamedTuple):
    """folder: images_background or images_evaluation; vinyals: t (training), v (validation), n (new)."""

    folder: str
    vinyals: str


def characters() -> dict[Character, Fate]:
    """All 1,623 characters in alphabetical order, from omniglot_vinyals.txt."""
    fates: dict[Character, Fate] = {}
    for line in Path(__file__).with_name("omniglot_vinyals.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        folder, alphabet, letters = line.split()
        for number, letter in enumerate(letters, start=1):
            fates[alphabet, f"character{number:02d}"] = Fate(f"images_{folder}", letter)
    return fates


def drawings(root: str | None) -> tuple[NDArray[np.uint8], dict[Character, int]]:
    """Images (n_characters * 20, 1, 28, 28) uint8, ink 255, and the number of each character.

    Drawing d of character number c is image 20 * c + d. Decoded once, then read from the cache.

    Raises:
        RequestError: where the files are missing, incomplete or damaged.
    """
    places = _downloaded() if root is None else _found(Path(root).expanduser())
    kept = load_or_make(f"omniglot-{_digest(places)}", lambda: _decoded(places))
    numbers = {
        (str(alphabet), str(character)): number
        for number, (alphabet, character) in enumerate(kept["characters"])
    }
    return kept["images"], numbers


def _found(root: Path) -> dict[str, Path]:
    """The zip or the folder of each half."""
    if not root.is_dir():
        raise RequestError(
            f"dataset.root: {root} is not a folder; name the folder that holds images_background and "
            "images_evaluation (or their zips), or null to download them"
        )
    places: dict[str, Path] = {}
    for name in _FOLDERS:
        candidates = [root / name, root / f"{name}.zip"]
        present = [path for path in candidates if path.exists()]
        if not present:
            raise RequestError(
                f"dataset.root: {root} holds neither {name}.zip nor {name}/; name the folder that "
                "holds them, or null to download them"
            )
        places[name] = present[0]
    return places


def _downloaded() -> dict[str, Path]:
    """The publisher's zips, fetched once into the cache and checked by MD5."""
    fetched = fetch("omniglot", None)
    return {name: fetched[f"{name}.zip"] for name in _FOLDERS}


def _digest(places: dict[str, Path]) -> str:
    """Names the content: a zip by its bytes, a folder by the name, size and time of each file."""
    parts: list[Part] = [str(_RECIPE)]
    for place in places.values():
        if place.is_file():
            parts.append(_content(place))
            continue
        parts.append(str(place.resolve()))
        for folder, subfolders, files in os.walk(place):
            subfolders.sort()
            for name in sorted(files):
                status = os.stat(os.path.join(folder, name))
                parts.append(f"{folder}/{name} {status.st_size} {status.st_mtime_ns}\n")
    return digest(parts)


def _decoded(places: dict[str, Path]) -> Arrays:
    """Makes images as in `drawings`, characters (n_characters, 2): alphabet and character."""
    known = list(characters())
    numbers = {name: number for number, name in enumerate(known)}
    images = np.empty((len(known) * N_DRAWINGS, 1, SIZE, SIZE), dtype=np.uint8)
    filled = np.zeros(len(known), dtype=np.int64)
    for place in places.values():
        for name, content in _files(place):
            number = numbers.get((name.parts[-3], name.parts[-2])) if len(name.parts) >= 3 else None
            if number is None or filled[number] == N_DRAWINGS:
                raise RequestError(
                    f"dataset.root: {place} holds {name}, no drawing of Omniglot; unpack it anew"
                )
            images[number * N_DRAWINGS + filled[number], 0] = _image(place, name, content)
            filled[number] += 1
    lacking = ["/".join(known[number]) for number in np.flatnonzero(filled < N_DRAWINGS)]
    if lacking:
        raise RequestError(
            f"dataset.root: drawings of {len(lacking)} of {len(known)} characters are missing, first "
            f"{lacking[0]}; unpack or copy the files anew"
        )
    return {"images": images, "characters": np.array(known)}


def _files(place: Path) -> Iterator[tuple[Path, bytes]]:
    """Every PNG file below a folder or in a zip, by name; drawings of a character are in order."""
    if place.is_dir():
        for path in sorted(place.rglob("*.png")):
            if not path.name.startswith("."):
                yield path, _content(path)
        return
    try:
        with zips.opened(place) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".png") and not name.startswith("__MACOSX"):
                    yield Path(name), zips.content(archive, name, _LARGEST)
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise RequestError(f"dataset.root: {place} is a damaged zip ({error}); fetch it anew") from error


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise RequestError(
            f"dataset.root: {path} cannot be read ({error.strerror}); unpack or copy the files anew"
        ) from error


def _image(place: Path, name: Path, content: bytes) -> NDArray[Any]:
    """(28, 28) uint8. The files have one bit a pixel, with ink 0: inverted, resized with antialiasing."""
    from PIL import Image, ImageChops

    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as file:
            if file.size != (_STORED, _STORED):
                raise ValueError("it has another size")
            grey = ImageChops.invert(file.convert("L"))
    except Exception as error:  # flipped bits raise nearly anything
        raise RequestError(f"dataset.root: {name} of {place} is damaged; unpack it anew") from error
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
