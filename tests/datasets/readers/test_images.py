from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coldstart_cli.datasets.readers import images as module
from coldstart_cli.datasets.readers.images import MAX_SIDE, ImageFile, Unreadable, channels_of, decoded, image
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.errors import RequestError

pytestmark = pytest.mark.usefixtures("own_cache")


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header alone says how large it would be."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def folder_of(tmp_path: Path, n: int) -> list[ImageFile]:
    files = []
    for number in range(n):
        path = tmp_path / f"{number}.png"
        Image.new("L", (12, 10), number * 10).save(path)
        files.append(ImageFile(path, path.name))
    return files


GREY = np.linspace(0, 255, 64).reshape(8, 8).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.fromarray(GREY)), GREY),
        (encoded(Image.fromarray(GREY.astype(np.uint16) * 257)), GREY),  # 16 bits
        (encoded(Image.fromarray(GREY).convert("RGB")), GREY),
        (encoded(Image.fromarray(GREY).convert("RGB"), "WEBP", lossless=True), GREY),
        (encoded(Image.fromarray(GREY).convert("P")), GREY),  # palette
        (encoded(Image.fromarray(GREY > 99).convert("1")), np.uint8(255) * (GREY > 99)),
        (
            encoded(Image.merge("LA", (Image.fromarray(GREY), Image.new("L", (8, 8), 0)))),
            np.full((8, 8), 255),
        ),
        (encoded(Image.merge("LA", (Image.fromarray(GREY), Image.new("L", (8, 8), 255)))), GREY),
        (encoded(Image.fromarray(GREY), "BMP"), GREY),
        (encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"), GREY),
        (encoded(Image.fromarray(GREY), "GIF"), GREY),
        (
            encoded(Image.fromarray(GREY), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 255)]),
            GREY,  # the first picture
        ),
    ],
    ids=[
        "grey",
        "16-bit",
        "rgb",
        "webp",
        "palette",
        "1-bit",
        "transparent",
        "opaque",
        "bmp",
        "tiff",
        "gif",
        "animated",
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_image_of_any_kind_has_the_same_grey_values(
    content: bytes,
    expected: np.ndarray,
    channels: int,  # type: ignore[type-arg]
) -> None:
    found = image(content, 8, channels, "crop")
    assert found.shape == (channels, 8, 8) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_image_is_turned_upright_and_cmyk_is_colour() -> None:
    picture = Image.new("RGB", (8, 8), "black")
    picture.paste("red", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    found = image(encoded(picture, "JPEG", quality=95, subsampling=0, exif=exif), 8, 3, "crop")
    assert found[0, :, 6].min() > 200 and found[0, :, 1].max() < 60
    cmyk = image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), 8, 3, "crop")
    assert cmyk[0].min() > 180 and cmyk[1].max() < 90


def test_image_is_cut_or_stretched() -> None:
    wide = Image.new("L", (30, 10), 0)
    wide.paste(200, (10, 0, 20, 10))
    cut, stretched = (image(encoded(wide), 10, 1, how) for how in ("crop", "stretch"))  # type: ignore[arg-type]
    assert (cut == 200).all()
    assert stretched[0, :, 0].max() == 0 and stretched[0, 5, 5] == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"it is empty \(0 bytes\)"),
        (b"hello", "it is none of PNG, JPEG, WebP, BMP, TIFF, GIF"),
        (encoded(Image.new("RGB", (400, 400), "red"), "JPEG")[:600], "it is damaged"),
        (encoded(Image.fromarray(GREY))[:70], "it is damaged"),
        (bomb(1_000_000, 1), "it has 1,000,000 x 1 pixels, and sides end at 30,000"),
        (bomb(25_000, 5_000), "more than 89 million pixels"),
        (bomb(2**31 - 1, 2**31 - 1), "more than 89 million pixels"),
        (encoded(Image.new("L", (4, 4)), "PPM"), "it is none of PNG"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "its pixels are real numbers; save it with 8 or 16"),
    ],
    ids=["empty", "text", "cut jpeg", "cut png", "wide", "large", "bomb", "ppm", "reals"],
)
def test_image_that_cannot_be_read_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        image(content, 8, 1, "crop")


def test_strip_at_the_limit_needs_no_larger_picture() -> None:
    assert image(encoded(Image.new("L", (MAX_SIDE, 2), 7)), 64, 1, "crop").shape == (1, 64, 64)


def test_images_are_decoded_once_and_mapped_from_disk(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    real = module._image

    def counting(content: bytes, *rest: object) -> object:
        counted.append(1)
        return real(content, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_image", counting)
    files = folder_of(tmp_path, 7)
    first, again = (decoded(files, 6, 1, "crop", Problems("stop")) for _ in range(2))
    assert len(counted) == 7 and isinstance(again.images, np.memmap)
    assert first.images.shape == (7, 1, 6, 6) and np.array_equal(first.images, again.images)
    assert torch.from_numpy(again.images).index_select(0, torch.tensor([3]))[0, 0, 0, 0] == 30
    assert decoded(files, 5, 1, "crop", Problems("stop")).images.shape == (7, 1, 5, 5) and len(counted) == 14
    assert not list(own_cache.glob(".*"))


def test_a_file_of_other_content_and_equal_size_and_time_is_decoded_anew(
    tmp_path: Path, own_cache: Path
) -> None:
    files = [ImageFile(tmp_path / f"{i}.bmp", f"{i}.bmp") for i in range(2)]
    for i, file in enumerate(files):
        Image.new("L", (8, 8), 10 * i).save(file.path)
    before = files[0].path.stat()
    assert decoded(files, 6, 1, "crop", Problems("stop")).images[:, 0, 0, 0].tolist() == [0, 10]
    content = [file.path.read_bytes() for file in files]
    assert len(content[0]) == len(content[1])
    files[0].path.write_bytes(content[1])
    os.utime(files[0].path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert decoded(files, 6, 1, "crop", Problems("stop")).images[:, 0, 0, 0].tolist() == [10, 10]


def test_a_copy_of_a_folder_and_a_cache_that_can_only_be_read_need_no_decoding(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = folder_of(tmp_path, 2)
    first = decoded(files, 6, 1, "crop", Problems("stop")).images
    copied = [ImageFile(file.path.rename(tmp_path / f"moved{file.name}"), file.name) for file in files]
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("it is decoded again"))
    monkeypatch.setattr(module, "locked", lambda _: pytest.fail("a lock is taken to read"))
    assert np.array_equal(decoded(copied, 6, 1, "crop", Problems("stop")).images, first)


def test_decoding_holds_one_image_at_a_time(tmp_path: Path) -> None:
    files = folder_of(tmp_path, 120)
    image(files[0].path.read_bytes(), 64, 3, "crop")  # Pillow's modules are loaded
    tracemalloc.start()
    try:
        made = decoded(files, 64, 3, "crop", Problems("stop"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 1 MiB is the chunk in which files are hashed
    assert made.images.nbytes == 120 * 3 * 64 * 64 > peak - (1 << 20) and peak < 20 * 3 * 64 * 64 + (1 << 20)


@pytest.mark.parametrize("damage", ["flip", "cut", "json", "missing"])
def test_damaged_cache_is_made_again(tmp_path: Path, own_cache: Path, damage: str) -> None:
    files = folder_of(tmp_path, 3)
    before = np.array(decoded(files, 6, 1, "crop", Problems("stop")).images)
    (path,) = own_cache.glob("*.bin")
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    if damage == "json":
        path.with_suffix(".json").write_text("{")
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(bytes(content) if damage == "flip" else bytes(content[:50]))
    assert np.array_equal(decoded(files, 6, 1, "crop", Problems("stop")).images, before)


def test_bad_images_are_skipped_the_same_from_the_cache(tmp_path: Path, own_cache: Path) -> None:
    files = folder_of(tmp_path, 4)
    files[1].path.write_bytes(b"")
    for _ in range(2):
        problems = Problems("skip")
        found = decoded(files, 6, 1, "crop", problems)
        assert found.kept.tolist() == [0, 2, 3] and found.images[:, 0, 0, 0].tolist() == [0, 20, 30]
        assert problems.skipped == ["1.png: it is empty (0 bytes)"]
    assert json.loads(next(own_cache.glob("*.json")).read_text())["kept"] == [0, 2, 3]
    with pytest.raises(RequestError, match=r"^1.png: it is empty \(0 bytes\); repair or remove it, or leave"):
        decoded(files, 6, 1, "crop", Problems("stop"))


def test_channels_are_those_of_the_files(tmp_path: Path) -> None:
    files = folder_of(tmp_path, 2)
    files[0].path.write_bytes(b"broken")
    assert channels_of(files) == 1
    Image.new("P", (4, 4)).save(files[0].path)
    assert channels_of(files) == 3


def test_colours_of_an_image_of_the_size_asked_for_are_its_own() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    found = image(encoded(Image.fromarray(colours)), 9, 3, "crop")
    assert np.array_equal(found, colours.transpose(2, 0, 1))


def test_image_is_turned_by_its_xmp_as_by_its_exif() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    content = encoded(Image.fromarray(colours), "WEBP", lossless=True, xmp=xmp)
    assert np.array_equal(image(content, 8, 3, "crop"), colours[::-1, ::-1].transpose(2, 0, 1))
