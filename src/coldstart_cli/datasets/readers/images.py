"""Images of any usual kind as one array on disk: decoded once, streamed, read through the page cache.

Never more than one image is in memory while decoding. The array is a plain file beside a JSON file that says
its shape, its digest and what could not be read; the JSON file is written last, so half an array is none.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.digests import Part, digest, file_digest, whole_digest
from coldstart_cli.errors import RequestError
from coldstart_cli.files.caching import cache_folder
from coldstart_cli.files.durable import write_json
from coldstart_cli.files.locks import locked
from coldstart_cli.files.regular import read_bytes

Resize = Literal["crop", "stretch"]
"""`crop`: short side to size, then the centre; `stretch`: both sides to size."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
KINDS = "PNG, JPEG, WebP, BMP, TIFF, GIF"
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_SIDE = 30_000
"""Pixels of a side; beside it Pillow's own bound on the pixels of an image (89 million) holds."""
MAX_COSTLY = 40_000_000
"""Pixels of an image with transparency or 16 bits, which takes 16 bytes a pixel on its way: under a GB."""
LARGEST_FILE = 256 << 20
"""Bytes; an image of the most pixels has as many without any compression."""
NOT_TURNED = {
    "jfif",
    "jfif_version",
    "jfif_unit",
    "jfif_density",
    "dpi",
    "adobe",
    "adobe_transform",
    "icc_profile",
    "gamma",
}
"""What Pillow may know of an image without EXIF or XMP: nothing in it turns the image."""
_BUFFER = 1 << 20  # bytes: one system call for many small images
_RECIPE = 1  # counts the changes of this file that change the images


class Unreadable(ValueError):
    """Why a file is not an image that can be read."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file, and what messages call it."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of Pillow in memory, and what messages call it."""

    image: Any
    name: str


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of an image's file in memory, and what messages call it."""

    data: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """images (n, C, size, size) uint8, mapped from disk; `kept` (n,) numbers of the files they are."""

    images: NDArray[np.uint8]
    kept: NDArray[np.int64]


def channels_of(files: Sequence[ImageFile]) -> int:
    """1 where all images are grey, else 3; headers alone are read. Files that cannot be read do not count."""
    from PIL import Image

    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                if not file.path.is_file():  # a pipe would never end
                    continue
                with Image.open(file.path, formats=FORMATS) as image:
                    if not (image.mode in ("1", "L", "I", "F") or image.mode.startswith(("LA", "I;"))):
                        return 3
        except Exception:  # decoding tells what is wrong
            continue
    return 1


def decoded(
    files: Sequence[ImageFile], size: int, channels: int, resize: Resize, problems: Problems
) -> Decoded:
    """The images, from the cache where these very files were decoded like this before.

    Raises:
        RequestError: at a file that cannot be read, where that is not to be skipped; at a full disk.
    """
    path = cache_folder() / f"images-{_key(files, size, channels, resize)}.bin"
    facts, made = _facts(path), False
    if facts is None:  # only who writes takes the lock: a cache that another user made need only be read
        with locked(path.with_suffix(".lock")):
            facts = _facts(path)  # another process may have made it meanwhile
            if facts is None:
                facts, made = _make(path, files, size, channels, resize, problems), True
    if not made:
        for place, what in facts["bad"]:
            problems.add(place, what, "repair or remove it")
    kept = np.array(facts["kept"], dtype=np.int64)
    shape = (len(kept), channels, size, size)
    if not len(kept):
        return Decoded(np.zeros(shape, dtype=np.uint8), kept)
    # Copy on write: nothing is written to the file, and torch wants an array that can be written to.
    return Decoded(np.memmap(path, dtype=np.uint8, mode="c", shape=shape), kept)


def pixels(
    picture: ImageFile | Picture | Content, size: int, channels: int, resize: Resize
) -> NDArray[np.uint8]:
    """One image (C, size, size), from its file or from memory.

    Raises:
        Unreadable: as `image` and `content_of`.
    """
    if not isinstance(picture, Picture):
        data = picture.data if isinstance(picture, Content) else content_of(picture)
        return image(data, size, channels, resize)
    with _strict_about_bombs(), _told():
        return _sized(_upright(picture.image.copy()), size, channels, resize)  # the caller's stays as it is


def image(content: bytes, size: int, channels: int, resize: Resize) -> NDArray[np.uint8]:
    """One image (C, size, size).

    Turned upright as its EXIF says; 16 bits scaled to 8, so that 65,535 is 255; what is transparent shows
    white; of an animation the first picture. Antialiased bilinear interpolation.

    Raises:
        Unreadable: saying what is wrong with the file.
    """
    with _strict_about_bombs():
        return _image(content, size, channels, resize)


@contextlib.contextmanager
def _strict_about_bombs() -> Iterator[None]:
    """Pillow only warns of the smaller bombs; entered once for many images, as it costs a tenth of one."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _image(content: bytes, size: int, channels: int, resize: Resize) -> NDArray[np.uint8]:
    """`image`, inside `_strict_about_bombs`."""
    from PIL import Image

    if not content:
        raise Unreadable("it is empty (0 bytes)")
    with _told(), Image.open(io.BytesIO(content), formats=FORMATS) as file:
        upright = _upright(file)
    return _sized(upright, size, channels, resize)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Says in our words why Pillow could not read an image."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except Unreadable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable("it has more than 89 million pixels") from error
    except UnidentifiedImageError as error:
        raise Unreadable(f"it is none of {KINDS}") from error
    except Exception as error:  # flipped bits raise nearly anything
        raise Unreadable(f"it is damaged ({' '.join(str(error).split())})") from error


def _upright(file: Any) -> Any:
    """The picture with 8 bits a channel, nothing transparent, turned as its EXIF says."""
    from PIL import ImageOps

    if max(file.size) > MAX_SIDE:
        width, height = file.size
        raise Unreadable(f"it has {width:,} x {height:,} pixels, and sides end at {MAX_SIDE:,}")
    upright = _eight_bits(file)
    if not upright.info.keys() <= NOT_TURNED:
        ImageOps.exif_transpose(upright, in_place=True)
    upright.load()
    return upright


def _sized(upright: Any, size: int, channels: int, resize: Resize) -> NDArray[np.uint8]:
    """An upright picture as an array (channels, size, size)."""
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    flat = upright if upright.mode == mode else upright.convert(mode)
    width, height = flat.size
    if (width, height) != (size, size):
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        # The box is cut out before it is resized: a strip of 30,000 pixels never becomes a larger one.
        box = (left, top, left + side, top + side) if resize == "crop" else None
        flat = flat.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if channels == 1:
        return np.frombuffer(flat.tobytes(), np.uint8).reshape(1, size, size)
    # Rows of one colour after another: to turn these into planes moves whole rows, not single bytes.
    rows = np.frombuffer(flat.tobytes("raw", "RGB;L"), np.uint8).reshape(size, 3, size)
    return rows.transpose(1, 0, 2)


def _eight_bits(file: Any) -> Any:
    """The picture with 8 bits a channel and nothing transparent; its EXIF stays."""
    from PIL import Image

    if file.mode == "F":  # no range says what is white
        raise Unreadable("its pixels are real numbers; save it with 8 or 16 bits a channel")
    transparent = file.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in file.info
    if (transparent or file.mode.startswith("I")) and file.size[0] * file.size[1] > MAX_COSTLY:
        raise Unreadable(f"it has transparency or 16 bits and more than {MAX_COSTLY // 10**6} million pixels")
    if file.mode.startswith("I"):
        wide = np.asarray(file).astype(np.int32).clip(0, 65535)
        narrow = Image.fromarray(((wide + 128) // 257).astype(np.uint8))  # 257 is odd: rounds to nearest
        narrow.info = file.info
        return narrow
    file.load()
    if transparent:
        picture = file.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        flat = Image.alpha_composite(white, picture).convert("RGB")
        flat.info = {name: value for name, value in file.info.items() if name != "transparency"}
        return flat
    return file


def _make(
    path: Path, files: Sequence[ImageFile], size: int, channels: int, resize: Resize, problems: Problems
) -> dict[str, Any]:
    kept, bad, temporary = [], [], None
    try:
        name = f".{path.name}."
        with (
            _strict_about_bombs(),
            tempfile.NamedTemporaryFile("wb", _BUFFER, dir=path.parent, prefix=name, delete=False) as stream,
        ):
            temporary = Path(stream.name)
            for number, file in enumerate(files):
                try:
                    row = _image(content_of(file), size, channels, resize).tobytes()
                except Unreadable as error:
                    problems.add(file.name, str(error), "repair or remove it")
                    bad.append((file.name, str(error)))
                    continue
                stream.write(row)
                kept.append(number)
        temporary.replace(path)
        facts = {"kept": kept, "bad": bad, "bytes": path.stat().st_size, "sha256": file_digest(path)}
        write_json(path.with_suffix(".json"), facts)
    except OSError as error:
        raise RequestError(
            f"COLDSTART_CACHE: {path} cannot be written ({error.strerror}); name a folder with room"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return facts


def content_of(file: ImageFile) -> bytes:
    """The bytes of an image's file.

    Raises:
        Unreadable: where it cannot be read, is not a file, or larger than any image.
    """
    try:
        if not file.path.is_file():
            raise Unreadable("it is not a file")
        if file.path.stat().st_size > LARGEST_FILE:
            raise Unreadable(f"it has more than {LARGEST_FILE >> 20} MiB")
        return read_bytes(file.path)
    except OSError as error:
        raise Unreadable(f"it cannot be read ({error.strerror})") from error


def _facts(path: Path) -> dict[str, Any] | None:
    """What is known of a kept array, or None where it is missing or not what was written."""
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        return facts if file_digest(path) == facts["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key(files: Sequence[ImageFile], size: int, channels: int, resize: Resize) -> str:
    """Names the content: each file by its name and its bytes.

    Not by place, size and time, which a file that was swapped may share; and so a copy of a folder is decoded
    once. Reading the bytes costs a hundredth of decoding them.
    """
    return digest(_content_parts(files, f"{_RECIPE} {size} {channels} {resize}"))


def _content_parts(files: Sequence[ImageFile], recipe: str) -> Iterator[Part]:
    yield recipe
    for file in files:
        yield f"\n{file.name} ".encode("utf-8", "surrogateescape")
        try:
            yield whole_digest([content_of(file)])
        except Unreadable as error:  # decoding says so
            yield str(error)
