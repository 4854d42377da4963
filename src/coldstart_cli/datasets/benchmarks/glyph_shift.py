"""A shift of type face: the characters of `glyphs` in one family of faces, then in another.

New tasks have the characters of the source in faces that training never saw. Labels are shared, so a
source classifier serves a new task as it is, and k may be 0.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import torch
from annotated_types import Ge

from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.datasets.benchmarks.glyphs import FACES, N_JITTERS, face_table, rendered
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.errors import RequestError

Family = Literal["Sans", "Serif", "SansMono"]
FACES_OF: dict[str, list[int]] = {
    family: [n for n, face in enumerate(FACES) if face.removeprefix("DejaVu").split("-")[0] == family]
    for family in get_args(Family)
}
"""Four faces each: upright, bold, slanted, bold and slanted."""


def glyph_shift(
    *,
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)],
    k_shot: Annotated[int, Ge(0)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    source: Family,
    new: Family,
) -> Episodes:
    """All characters in the upright faces of one family; new tasks in the four faces of another.

    A task's support and query never share a face. Validation tasks shift within the source family, from its
    upright faces to its slanted ones: no example of the new family chooses anything. Of each upright face one
    of the four distortions is held out: source_test.

    Args:
        bank_seed: determines the tasks, not the data.
        n_way: classes of a task.
        k_shot: support examples a class; k_shot + n_unlabelled <= 8 on new tasks.
        n_query: query examples a class, at most 8 on new tasks.
        n_unlabelled: unlabelled examples a class.
        source: family of the source's faces.
        new: family of the new tasks' faces.

    Raises:
        RequestError: where both families are one, and where the faces cannot serve such tasks.
    """
    if source == new:
        raise RequestError(f"dataset.new: {new} is the source itself; choose another family")
    kept = rendered()
    classes = range(len(kept["code_points"]))
    upright, slanted = FACES_OF[source][:2], FACES_OF[source][2:]
    last, every = range(N_JITTERS - 1, N_JITTERS), range(N_JITTERS)
    return Episodes(
        "glyph_shift",
        torch.from_numpy(kept["images"]),
        {
            "train": face_table(kept, classes, upright, range(N_JITTERS - 1)),
            "validation": face_table(kept, classes, slanted, every),
            "source_test": face_table(kept, classes, upright, last),
            "new": face_table(kept, classes, FACES_OF[new], every),
        },
        shape=TaskShape(n_way, k_shot, n_query, n_unlabelled),
        bank_seed=bank_seed,
        shares_labels=True,
    )
