"""Images a second on one core beside Pillow's own: `python -m benchmarks.decoding FOLDER [SIZE]`.

Pillow's own: open, decode, convert, resize and to an array, nothing else. The order alternates, so that a
busy machine slows both; CPU seconds, so that a neighbour does not count.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from coldstart_cli.datasets.readers.images import ImageFile, channels_of, decoded
from coldstart_cli.datasets.readers.problems import Problems


def pillow(files: list[ImageFile], size: int, mode: str) -> float:
    started = time.process_time()
    for file in files:
        with Image.open(file.path) as image:
            np.asarray(image.convert(mode).resize((size, size), Image.Resampling.BILINEAR))
    return time.process_time() - started


def ours(files: list[ImageFile], size: int, channels: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COLDSTART_CACHE"] = folder
        started = time.process_time()
        decoded(files, size, channels, "stretch", Problems("stop"))
        return time.process_time() - started


def main() -> None:
    root, size = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 84
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))[:3000]
    files = [ImageFile(path, path.name) for path in paths]
    channels = channels_of(files)
    pillow(files, size, "L" if channels == 1 else "RGB")  # fills the page cache
    pairs = [
        (pillow(files, size, "L" if channels == 1 else "RGB"), ours(files, size, channels)) for _ in range(5)
    ]
    own, theirs = (statistics.median(pair[i] for pair in pairs) for i in (1, 0))
    ratio = statistics.median(theirs / own for theirs, own in pairs)
    print(
        f"{len(files):,} images to {size} x {size}, {channels} channels: {len(files) / own:,.0f} a second, "
        f"Pillow {len(files) / theirs:,.0f}; {100 * ratio:.0f} %"
    )


if __name__ == "__main__":
    main()
