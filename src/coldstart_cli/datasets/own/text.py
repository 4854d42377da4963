"""Your own texts: CSV, TSV, JSONL or Parquet with columns text and label, and maybe task and split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

from coldstart_cli.core.tasks import Inputs
from coldstart_cli.datasets.own.labelled import Labelled, Raw, marks
from coldstart_cli.datasets.own.shared import OwnData, plan_of
from coldstart_cli.datasets.own.source import Own
from coldstart_cli.datasets.readers.equality import near_equal_groups
from coldstart_cli.datasets.readers.problems import OnBad, Problems
from coldstart_cli.datasets.readers.tables import (
    STDIN,
    SUFFIXES,
    check_columns,
    files_of,
    rows_of,
    stream_of,
    text_of,
)
from coldstart_cli.errors import RequestError
from coldstart_cli.models.preprocess import Preprocess


@dataclass(frozen=True, slots=True)
class TextRecipe:
    """Which columns hold what; task and split may be None."""

    text_column: str
    label_column: str
    task_column: str | None
    split_column: str | None
    encoding: str

    def as_json(self) -> dict[str, Any]:
        return {"layout": "text", **asdict(self)}

    @staticmethod
    def from_json(recipe: Mapping[str, Any]) -> TextRecipe:
        return TextRecipe(**{name: value for name, value in recipe.items() if name != "layout"})


def text(
    preprocess: Preprocess,
    *,
    text_column: str,
    label_column: str,
    task_column: str | None,
    split_column: str | None,
    encoding: str,
    **own: Unpack[OwnData],
) -> Own:
    """Your own texts as tasks.

    Args:
        preprocess: the model's.
        text_column, label_column: names of columns.
        task_column, split_column: names of columns, or None.
        encoding: of the files.
        own: see `OwnData`.

    Raises:
        RequestError: naming file and row.
    """
    recipe = TextRecipe(text_column, label_column, task_column, split_column, encoding)
    labelled = read_texts(preprocess, own["root"], recipe, unlabelled=own["unlabelled"], on_bad=own["on_bad"])
    return Own("text", labelled, plan_of(own))


def read_texts(
    preprocess: Preprocess, root: str | None, recipe: TextRecipe, *, unlabelled: str | None, on_bad: OnBad
) -> Labelled:
    """All rows of the file, or of all files in the folder, with their labels.

    Raises:
        RequestError: naming file and row.
    """
    problems = Problems(on_bad)
    texts: list[str] = []
    labels: list[str] = []
    tasks: list[str] = []
    splits: list[str] = []
    places: list[str] = []
    needed = {
        f"{name}_column": getattr(recipe, f"{name}_column") for name in ("text", "label", "task", "split")
    }
    for path in files_of(root):
        for place, row in rows_of(path, recipe.encoding, problems):
            check_columns(place, row, needed)
            if not _is_whole(place, row, needed.values(), recipe, problems):
                continue
            texts.append(row[recipe.text_column])
            labels.append(text_of(row[recipe.label_column]))
            places.append(place)
            if recipe.task_column is not None:
                tasks.append(text_of(row[recipe.task_column]))
            if recipe.split_column is not None:
                splits.append(text_of(row[recipe.split_column]))
    problems.warn(str(root))
    if not texts:
        raise RequestError(f"dataset.root: {root} holds no row with text and label; name a file that does")
    marked = marks(labels, tasks or None, splits or None, places)
    free = None if unlabelled is None else _unlabelled(preprocess, unlabelled, recipe, problems)
    alike = near_equal_groups(texts)
    return marked.labelled(preprocess.texts(texts), free, problems.skipped, recipe.as_json(), alike)


def raw_texts(
    preprocess: Preprocess, path: str, recipe: TextRecipe, *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """Texts without labels, `chunk` at a time.

    Args:
        path: a table with the text column; any other file, or `-` for standard input: one text a line.

    Raises:
        RequestError: naming file and row.
    """
    return raw_lines(preprocess, _raw(path, recipe, problems), problems=problems, chunk=chunk)


def raw_lines(
    preprocess: Preprocess, lines: Iterable[tuple[str, object]], *, problems: Problems, chunk: int
) -> Iterator[Raw]:
    """The same for texts that have been read, or lie in memory, each with its place."""
    texts: list[str] = []
    places: list[str] = []
    for place, value in lines:
        if not isinstance(value, str) or not value.strip():
            problems.add(place, "it has no text", "write one")
            continue
        texts.append(value)
        places.append(place)
        if len(texts) == chunk:
            yield Raw(preprocess.texts(texts), tuple(places))
            texts, places = [], []
    if texts:
        yield Raw(preprocess.texts(texts), tuple(places))


def _raw(path: str, recipe: TextRecipe, problems: Problems) -> Iterator[tuple[str, object]]:
    known = Path(path).expanduser()
    if known.is_dir() or known.suffix.lower() in SUFFIXES:
        for file in files_of(str(known)):
            for place, row in rows_of(file, recipe.encoding, problems):
                check_columns(place, row, {"text_column": recipe.text_column})
                yield place, row[recipe.text_column]
        return
    name = "standard input" if path == STDIN else known.name
    with stream_of(path if path == STDIN else str(known), recipe.encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if any("\ud800" <= letter <= "\udfff" for letter in line):
                problems.add(f"{name} row {number}", f"it is not {recipe.encoding}", "name its encoding")
            elif line.strip():
                yield f"{name} row {number}", line.rstrip("\r\n")


def _is_whole(
    place: str, row: Mapping[str, Any], columns: Any, recipe: TextRecipe, problems: Problems
) -> bool:
    """Whether every cell that is needed has a value; what is wrong goes to `problems`."""
    value = row[recipe.text_column]
    if value is not None and not isinstance(value, str):
        problems.add(place, f"column {recipe.text_column} is not a text but {value!r:.40}", "quote it")
        return False
    for column in columns:
        if column is not None and not text_of(row[column]):
            problems.add(place, f"column {column} is empty", "fill it")
            return False
    return True


def _unlabelled(preprocess: Preprocess, path: str, recipe: TextRecipe, problems: Problems) -> Inputs | None:
    """All of them at once, for inputs of two calls may differ in length."""
    found = list(raw_texts(preprocess, path, recipe, problems=problems, chunk=1 << 30))
    return found[0].inputs if found else None
