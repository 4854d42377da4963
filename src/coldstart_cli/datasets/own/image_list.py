"""A table that names images: a row for each file, with its label and maybe split, task and origin.

Files are named from a folder, which is the table's own unless another one is given. What a row lacks of these
is looked for from the working directory, as `label-next` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldstart_cli.datasets.own.filled_in import having_label
from coldstart_cli.datasets.own.folders import Files, images_below
from coldstart_cli.datasets.own.targets import label_of
from coldstart_cli.datasets.readers.delimited import TableFormat
from coldstart_cli.datasets.readers.images import ImageFile
from coldstart_cli.datasets.readers.problems import Problems
from coldstart_cli.datasets.readers.tables import SUFFIXES, check_columns, check_is_table, rows_of
from coldstart_cli.errors import RequestError, suggestion

_FORM = TableFormat("utf-8", "auto", quoted=None, header=True)
_SPLIT = "split"
"""A column that is read as splits without being named."""


@dataclass(frozen=True, slots=True)
class ListColumns:
    """What the columns of a list are called; of those that are None a list says nothing.

    `split`: None: the column split, where there is one.
    """

    file: str
    label: str
    task: str | None
    split: str | None
    group: str | None

    @property
    def named(self) -> dict[str, str]:
        """Columns that a list must have, by the option that names them."""
        known = {"file": self.file, "label": self.label, "task": self.task, "split": self.split}
        columns = {**known, "group": self.group}
        return {f"{name}_column": column for name, column in columns.items() if column is not None}


def is_list(path: Path) -> bool:
    """Whether a path names a table, and not an image or a folder of them."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def listed(
    path: Path,
    folder: Path,
    columns: ListColumns,
    exclude: Sequence[str],
    problems: Problems,
    *,
    filled_in: bool = False,
) -> Files:
    """The images that a list names, and what it says of them; what the folder holds beside them is counted.

    Args:
        folder: that its files are named from.
        exclude: labels that are left out.
        filled_in: rows may lack a label, and the folder holds other images.

    Raises:
        RequestError: naming the row, or an excluded label that is not there.
    """
    check_is_table(path, "dataset.file_list")
    values: dict[str, list[str]] = {}
    files, labels = list[ImageFile](), set[str]()
    finder = _Finder(path, folder)
    rows = rows_of(path, _FORM, problems)
    for place, row in having_label(rows, path, columns.label, problems) if filled_in else rows:
        if not values:
            if columns.split is None and _SPLIT in row:
                columns = ListColumns(columns.file, columns.label, columns.task, _SPLIT, columns.group)
            check_columns(place, row, columns.named, headless=False)
            values = {option: [] for option in columns.named}
        read = {o: label_of(place, c, row.get(c), problems) for o, c in columns.named.items()}
        label = read["label_column"]
        if None in read.values() or label is None:
            continue
        labels.add(label)
        found = None if label in exclude else finder.found(place, str(read["file_column"]), problems)
        if found is not None:
            files.append(ImageFile(found.path, f"{place} ({found.name})"))
            for option, value in read.items():
                values[option].append(str(value))
    for name in exclude:
        if name not in labels and not filled_in:
            raise RequestError(
                f"dataset.exclude: {name} is not a class of {path}; {suggestion(name, labels)}"
            )
    finder.say(None if filled_in else files, problems)
    if not files and filled_in:
        return Files([], [], None, None, None, by_name=False)
    if not files:
        raise RequestError(f"dataset.root: {path} names no image that is there; see what its rows are")
    return Files(
        files,
        values["label_column"],
        values.get("task_column"),
        values.get("split_column"),
        values.get("group_column"),
        by_name=False,
    )


def files_listed(path: Path, file_column: str, problems: Problems) -> Iterator[ImageFile]:
    """The images that a list names, whatever else it says of them.

    Raises:
        RequestError: naming the row.
    """
    finder = _Finder(path, path.parent)
    for place, row in rows_of(path, _FORM, problems):
        check_columns(place, row, {"file_column": file_column}, headless=False)
        name = label_of(place, file_column, row[file_column], problems)
        found = None if name is None else finder.found(place, name, problems)
        if found is not None:
            yield found
    finder.say(None, problems)


class _Finder:
    """Where the files of a list lie."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder, self.n_elsewhere = path, folder, 0

    def found(self, place: str, name: str, problems: Problems) -> ImageFile | None:
        """The file of a row; None where it is not there, which goes to `problems`."""
        for written in dict.fromkeys((name, name.replace("\\", "/"))):  # as Windows writes it
            for elsewhere, folder in enumerate((self.folder, Path())):
                file = folder / Path(written).expanduser()
                if file.is_file():
                    self.n_elsewhere += elsewhere
                    return ImageFile(file, name)
        remedy = "correct it, or name the folder that files are named from (dataset.root, with file_list)"
        problems.add(place, f"{name} is not a file of {self.folder}", remedy)
        return None

    def say(self, files: Sequence[ImageFile] | None, problems: Problems) -> None:
        """What is to be known of a list that has been read, and of the folder beside it."""
        if self.n_elsewhere:
            problems.remark(
                f"{self.path}: {self.n_elsewhere:,} of its files are not below {self.folder} and are read "
                "from the working directory"
            )
        if files is None:
            return
        named = {os.path.realpath(file.path) for file in files}
        others = [file for file in images_below(self.folder) if os.path.realpath(file.path) not in named]
        if others:
            problems.remark(
                f"{self.folder}: {len(others):,} images are not read, for {self.path.name} does not name "
                f"them ({others[0].name}{', ...' if len(others) > 1 else ''})"
            )
