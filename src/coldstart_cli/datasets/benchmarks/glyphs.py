"""Printed characters of six scripts: the data set that needs no download.

Every character that all of twelve DejaVu faces draw is one class; a class is one code point. Sources
are Latin, Greek and digits; new tasks are Cyrillic, Armenian and Georgian. This is print, not
handwriting: within a class the images differ by face and by a small affine distortion only.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from coldstart_cli.core.tasks import Split, TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.readers.cache import Arrays, load_or_make
from coldstart_cli.digests import digest
from coldstart_cli.errors import RequestError, suggestion

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
)
SOURCE_SCRIPTS = ("DIGIT", "LATIN", "GREEK")
NEW_SCRIPTS = ("CYRILLIC", "ARMENIAN", "GEORGIAN")
LOOK_ALIKE = 0.9
"""Two characters whose cosine is above this, on average over the faces, are the same drawing."""
N_JITTERS = 4
SIZE = 28
"""Height and width of an image in pixels. The longer side of a character takes 20 of them, as in MNIST."""

_RECIPE = 1  # counts the changes of this file that change the images
_DRAWN = 2 * SIZE  # drawn at twice the size, then halved, so that edges stay smooth


class GlyphTasks(TypedDict):
    """What data sets are asked for that make tasks of the characters.

    Attributes:
        bank_seed: determines the tasks, not the data.
        n_way: classes of a task.
        k_shot: support examples a class.
        n_query: query examples a class.
        n_unlabelled: unlabelled examples a class.
        split_seed: determines which source characters are for validation.
        validation_share: share of the source characters that is for validation.
    """

    bank_seed: Annotated[int, Ge(0)]
    n_way: Annotated[int, Ge(2)]
    k_shot: Annotated[int, Ge(1)]
    n_query: Annotated[int, Ge(1)]
    n_unlabelled: Annotated[int, Ge(0)]
    split_seed: Annotated[int, Ge(0)]
    validation_share: Annotated[float, Gt(0), Lt(1)]


def shape_of(asked: GlyphTasks) -> TaskShape:
    return TaskShape(asked["n_way"], asked["k_shot"], asked["n_query"], asked["n_unlabelled"])


def glyphs(*, held_out_faces: list[str], **asked: Unpack[GlyphTasks]) -> Episodes:
    """The characters as tasks; a task's support and query never share a type face.

    Args:
        held_out_faces: faces of the training characters that training never sees: source_test.
        asked: see `GlyphTasks`.

    Raises:
        RequestError: at a face that does not exist, where one side is left without faces, and where
            the characters cannot serve such tasks.
    """
    held_out = face_numbers(held_out_faces)
    kept = rendered()
    splits = class_splits(kept, asked["split_seed"], asked["validation_share"], held_out)
    images = torch.from_numpy(kept["images"])
    return Episodes("glyphs", images, splits, shape=shape_of(asked), bank_seed=asked["bank_seed"])


def class_splits(
    kept: Arrays, split_seed: int, validation_share: float, held_out: Sequence[int]
) -> dict[Split, ClassTable]:
    source = np.flatnonzero(kept["is_source"])
    shuffled = np.random.default_rng(split_seed).permutation(source)
    n_validation = max(2, round(validation_share * len(source)))
    validation, train = np.sort(shuffled[:n_validation]), np.sort(shuffled[n_validation:])
    every_face = range(len(FACES))
    seen = [face for face in every_face if face not in held_out]
    splits: dict[Split, ClassTable] = {
        "train": face_table(kept, train, seen, range(N_JITTERS)),
        "validation": face_table(kept, validation, every_face, range(N_JITTERS)),
        "new": face_table(kept, np.flatnonzero(~kept["is_source"]), every_face, range(N_JITTERS)),
    }
    if held_out:
        splits["source_test"] = face_table(kept, train, held_out, range(N_JITTERS))
    return splits


def face_numbers(names: Sequence[str]) -> list[int]:
    for name in names:
        if name not in FACES:
            raise RequestError(
                f"dataset.held_out_faces: {name} is not one of the faces; {suggestion(name, FACES)}"
            )
    numbers = sorted({FACES.index(name) for name in names})
    if len(numbers) == 1 or len(FACES) - len(numbers) < 2:
        raise RequestError(
            "dataset.held_out_faces: a task needs two faces or more, for support and for query; hold out "
            f"none, or 2 to {len(FACES) - 2}"
        )
    return numbers


def face_table(
    kept: Arrays, classes: Sequence[int] | NDArray[np.intp], faces: Sequence[int], jitters: Sequence[int]
) -> ClassTable:
    """The table of `classes` in `faces`. Example ids count classes, then faces, then jitters."""
    per_class = len(FACES) * N_JITTERS
    in_class = [face * N_JITTERS + jitter for face in faces for jitter in jitters]
    ids = [[int(number) * per_class + offset for offset in in_class] for number in classes]
    face_of = [offset // N_JITTERS for offset in range(per_class)] * len(kept["code_points"])
    code_points = [int(kept["code_points"][number]) for number in classes]
    scripts = [script(code_point) for code_point in code_points]
    names = [f"U+{code_point:04X} {unicodedata.name(chr(code_point), '')}" for code_point in code_points]
    return class_table(ids, group_of=face_of, quarter_turns=None, origins=scripts, names=names)


def rendered() -> Arrays:
    """Images (n, 1, 28, 28) uint8, code_points and is_source (n_classes,), rendered once into the cache."""
    return load_or_make(f"glyphs-{_recipe_digest()}", _render_all)


def font_folder() -> Path:
    """Where matplotlib keeps its fonts; matplotlib itself is slow to import, and is not."""
    found = importlib.util.find_spec("matplotlib")
    places = list(found.submodule_search_locations or []) if found is not None else []
    folder = Path(places[0], "mpl-data", "fonts", "ttf") if places else Path("mpl-data")
    missing = [face for face in FACES if not (folder / f"{face}.ttf").is_file()]
    if missing:
        raise RequestError(
            f"dataset=glyphs: the type face {missing[0]}.ttf of matplotlib is missing; "
            "install matplotlib from PyPI, whose packages carry it"
        )
    return folder


def _recipe_digest() -> str:
    """What the images depend on: this recipe, Pillow and the font files."""
    import PIL

    folder = font_folder()
    fonts = ((folder / f"{face}.ttf").read_bytes() for face in FACES)
    return digest([f"{_RECIPE} {PIL.__version__}", *fonts])


def _render_all() -> Arrays:
    """Makes images (n_classes * 12 * 4, 1, 28, 28) uint8, code_points and is_source (n_classes,)."""
    fonts = _fonts()
    code_points = _covered()
    upright = {code_point: [_upright(font, chr(code_point)) for font in fonts] for code_point in code_points}
    kept = _without_look_alikes(code_points, upright)
    jitters = _jitters(len(kept) * len(FACES) * N_JITTERS)
    images = np.empty((len(jitters), 1, SIZE, SIZE), dtype=np.uint8)
    for number, coefficients in enumerate(jitters):
        in_class, face = number // (len(FACES) * N_JITTERS), number // N_JITTERS % len(FACES)
        images[number, 0] = _distorted(upright[kept[in_class]][face], coefficients)
    is_source = np.array([script(code_point) in SOURCE_SCRIPTS for code_point in kept])
    return {"images": images, "code_points": np.array(kept, dtype=np.int32), "is_source": is_source}


def script(code_point: int) -> str:
    """First word of the character's Unicode name: LATIN, GREEK, DIGIT, ..."""
    return unicodedata.name(chr(code_point), "").partition(" ")[0]


def _covered() -> list[int]:
    """Letters and digits that all faces draw, scripts in their order; accented letters left out."""
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    folder = font_folder()
    maps = []
    for face in FACES:
        with TTFont(folder / f"{face}.ttf", lazy=True) as font:
            maps.append(set(font.getBestCmap()))
    scripts = SOURCE_SCRIPTS + NEW_SCRIPTS
    letters = [
        code_point
        for code_point in sorted(set.intersection(*maps))
        if script(code_point) in scripts
        and unicodedata.category(chr(code_point)) in ("Lu", "Ll", "Lo", "Nd")
        and not unicodedata.decomposition(chr(code_point))
    ]
    return sorted(letters, key=lambda code_point: scripts.index(script(code_point)))


def _fonts() -> list[Any]:
    from PIL import ImageFont

    folder = font_folder()
    basic = ImageFont.Layout.BASIC  # the other engine is missing from some builds and draws otherwise
    return [ImageFont.truetype(str(folder / f"{face}.ttf"), 96, layout_engine=basic) for face in FACES]


def _upright(font: Any, character: str) -> PillowImage:
    """The character in white on black, centred, longer side 40 of 56 pixels: mode L."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = font.getbbox(character)
    drawn = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(drawn).text((1 - left, 1 - top), character, font=font, fill=255)
    ink = drawn.crop(drawn.getbbox())
    scale = 40 / max(ink.size)
    size = max(1, round(ink.width * scale)), max(1, round(ink.height * scale))
    centred = Image.new("L", (_DRAWN, _DRAWN))
    centred.paste(
        ink.resize(size, Image.Resampling.LANCZOS), ((_DRAWN - size[0]) // 2, (_DRAWN - size[1]) // 2)
    )
    return centred


def _without_look_alikes(code_points: list[int], upright: dict[int, list[PillowImage]]) -> list[int]:
    """Goes through the scripts in order and drops what resembles a character kept before.

    So a look-alike of a source character is dropped on the new side (Cyrillic A), and of upper and
    lower case that differ in size alone (Oo) the upper stays.
    """
    drawings = np.array([[np.asarray(image.reduce(2)) for image in upright[c]] for c in code_points])
    flat = drawings.reshape(len(code_points), len(FACES), -1).astype(np.float32)
    flat /= np.linalg.norm(flat, axis=-1, keepdims=True)
    # The mean over faces of a cosine is the cosine of all faces side by side.
    side_by_side = flat.reshape(len(code_points), -1) / np.float32(np.sqrt(len(FACES)))
    cosines = side_by_side @ side_by_side.T
    kept: list[int] = []
    for number in range(len(code_points)):
        if not (cosines[number, kept] > LOOK_ALIKE).any():
            kept.append(number)
    return [code_points[number] for number in kept]


def _jitters(n_images: int) -> NDArray[np.float64]:
    """(n_images, 6) coefficients a b c d e f of (x, y) in the image <- (ax + by + c, dx + ey + f).

    Rotation up to 10 degrees, shear up to .15, scale .85 to 1.1 of each side, shift up to 1.5 of 28
    pixels, all uniform.
    """
    uniform = np.random.default_rng(20).uniform(-1, 1, (n_images, 6))
    angle, shear = np.deg2rad(10) * uniform[:, 0], 0.15 * uniform[:, 1]
    width, height = (1 / (0.975 + 0.125 * uniform[:, side]) for side in (2, 3))
    a, b = np.cos(angle) * width, (np.cos(angle) * shear - np.sin(angle)) * height
    d, e = np.sin(angle) * width, (np.sin(angle) * shear + np.cos(angle)) * height
    centre = _DRAWN / 2
    shift = centre + 3 * uniform[:, 4:]
    c, f = (centre - first * shift[:, 0] - second * shift[:, 1] for first, second in ((a, b), (d, e)))
    return np.stack([a, b, c, d, e, f], axis=1)


def _distorted(image: PillowImage, coefficients: NDArray[np.float64]) -> NDArray[np.uint8]:
    from PIL import Image

    moved = image.transform(
        image.size, Image.Transform.AFFINE, tuple(coefficients.tolist()), Image.Resampling.BILINEAR
    )
    return np.asarray(moved.reduce(2))
