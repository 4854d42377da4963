"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each.

Lake, Salakhutdinov and Tenenbaum (2015, Science 350:1332). Rotations as classes: Santoro et al. (2016,
arXiv:1605.06065). The split "vinyals": Vinyals et al. (2016, arXiv:1606.04080); "random": Finn, Abbeel
and Levine (2017, arXiv:1703.03400), section 5.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Le

from coldstart_cli.core.tasks import Split, TaskShape
from coldstart_cli.datasets.episodes.classes import ClassTable, class_table
from coldstart_cli.datasets.episodes.episodes import Episodes
from coldstart_cli.datasets.readers.omniglot import N_DRAWINGS, Character, characters, drawings
from coldstart_cli.errors import RequestError, suggestion

Parts = dict[Literal["train", "validation", "new"], list[Character]]


def omniglot(
    *,
    bank_seed: Annotated[int, Ge(0)],
    n_way: Annotated[int, Ge(2)],
    k_shot: Annotated[int, Ge(1)],
    n_query: Annotated[int, Ge(1)],
    n_unlabelled: Annotated[int, Ge(0)],
    root: str | None,
    split: Literal["background", "vinyals", "random"],
    split_seed: Annotated[int, Ge(0)],
    validation_alphabets: Annotated[int, Ge(1), Le(29)],
    rotations: bool,
    held_out: Annotated[int, Ge(0), Le(N_DRAWINGS - 2)],
    known_duplicates: list[str],
) -> Episodes:
    """Handwritten characters as tasks.

    Args:
        bank_seed: determines the tasks, not the data.
        n_way: classes of a task.
        k_shot: support examples a class.
        n_query: query examples a class.
        n_unlabelled: unlabelled examples a class.
        root: folder with images_background and images_evaluation, zipped or unpacked; None downloads.
        split: by alphabet as Omniglot's authors, by the lists of Vinyals et al., or at random.
        split_seed: determines the validation alphabets of "background", and the split "random".
        validation_alphabets: of the 30 background alphabets; used by "background" alone.
        rotations: whether each rotation by 90 degrees is a class of its own.
        held_out: drawings of each training character that training never sees: source_test.
        known_duplicates: characters left out because two of their drawings are one file.

    Raises:
        RequestError: at missing or damaged files, and where the characters cannot serve such tasks.
    """
    parts = _parts(split, split_seed, validation_alphabets)
    images, numbers = drawings(root)
    parts = _without(parts, known_duplicates, numbers)
    splits = _splits(parts, numbers, held_out, rotations)
    shape = TaskShape(n_way, k_shot, n_query, n_unlabelled)
    return Episodes("omniglot", torch.from_numpy(images), splits, shape=shape, bank_seed=bank_seed)


def _splits(
    parts: Parts, numbers: Mapping[Character, int], held_out: int, rotations: bool
) -> dict[Split, ClassTable]:
    # The drawings of a character come from 20 people in the same order: hold out the last ones.
    last = range(N_DRAWINGS - held_out, N_DRAWINGS)
    first, every = range(N_DRAWINGS - held_out), range(N_DRAWINGS)
    splits: dict[Split, ClassTable] = {
        "train": _table(parts["train"], numbers, first, rotations),
        "validation": _table(parts["validation"], numbers, every, rotations),
        "new": _table(parts["new"], numbers, every, rotations),
    }
    if held_out:
        splits["source_test"] = _table(parts["train"], numbers, last, rotations)
    return splits


def _parts(
    split: Literal["background", "vinyals", "random"], split_seed: int, validation_alphabets: int
) -> Parts:
    random = np.random.default_rng(split_seed)
    known = characters()
    if split == "vinyals":
        letters = {"train": "t", "validation": "v", "new": "n"}
        chosen = {part: [c for c, fate in known.items() if fate.vinyals == letters[part]] for part in letters}
        return {"train": chosen["train"], "validation": chosen["validation"], "new": chosen["new"]}
    if split == "random":
        names = list(known)
        shuffled = [names[number] for number in random.permutation(len(names))]
        # 1,200 of 1,623 for training, of these 100 for validation.
        n_source, n_validation = round(len(names) * 1200 / 1623), round(len(names) * 100 / 1623)
        return {
            "train": sorted(shuffled[n_validation:n_source]),
            "validation": sorted(shuffled[:n_validation]),
            "new": sorted(shuffled[n_source:]),
        }
    source = [name for name, fate in known.items() if fate.folder == "images_background"]
    alphabets = sorted({alphabet for alphabet, _ in source})
    validation = {str(name) for name in random.permutation(alphabets)[:validation_alphabets]}
    return {
        "train": [name for name in source if name[0] not in validation],
        "validation": [name for name in source if name[0] in validation],
        "new": [name for name, fate in known.items() if fate.folder == "images_evaluation"],
    }


def _without(parts: Parts, left_out: Sequence[str], numbers: Mapping[Character, int]) -> Parts:
    """The parts without some characters, each `Alphabet/characterNN`."""
    names = {f"{alphabet}/{character}" for alphabet, character in numbers}
    for name in left_out:
        if name not in names:
            raise RequestError(
                f"dataset.known_duplicates: {name} is not a character of Omniglot; {suggestion(name, names)}"
            )
    return {part: [c for c in chosen if f"{c[0]}/{c[1]}" not in left_out] for part, chosen in parts.items()}


def _table(
    chosen: Sequence[Character], numbers: Mapping[Character, int], which: Sequence[int], rotations: bool
) -> ClassTable:
    """The table of `chosen` with the drawings `which`; rotated classes follow one another by turn."""
    classes = [[numbers[name] * N_DRAWINGS + drawing for drawing in which] for name in chosen]
    alphabets, names = [alphabet for alphabet, _ in chosen], ["/".join(name) for name in chosen]
    if not rotations:
        return class_table(classes, group_of=None, quarter_turns=None, origins=alphabets, names=names)
    turns = [quarter for quarter in range(4) for _ in classes]
    names = [f"{name}/rot{90 * quarter:03d}" for quarter in range(4) for name in names]
    return class_table(classes * 4, group_of=None, quarter_turns=turns, origins=alphabets * 4, names=names)
