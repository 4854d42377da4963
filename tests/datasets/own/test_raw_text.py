"""Texts are read for whatever makes inputs of them, in parts, with what is left out said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from coldstart_cli.datasets.own.raw_text import TextRecipe, raw_texts
from coldstart_cli.datasets.readers.problems import Problems


class Words:
    """A reader that needs no torch: the words of a text, at most three."""

    def texts(self, texts: Sequence[str], /) -> list[list[str]]:
        return [text.split()[:3] for text in texts]

    def cut(self, texts: Sequence[str], /) -> tuple[int, int]:
        return sum(len(text.split()) > 3 for text in texts), 8


def test_any_reader_gets_the_texts_of_a_table_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("say,id\none two,1\n,2\na b c d,3\nlast,4\n")
    recipe = TextRecipe.from_json({"layout": "text", "text_column": "say", "label_column": "l",
        "task_column": None, "split_column": None, "encoding": "utf-8"})  # fmt: skip
    problems = Problems("skip")
    first, second = raw_texts(Words(), str(path), recipe, problems=problems, chunk=2)
    assert first.inputs == [["one", "two"], ["a", "b", "c"]] and second.inputs == [["last"]]
    assert first.places == ("a.csv row 2", "a.csv row 4") and first.rows[1]["id"] == "3"
    assert problems.skipped == ["a.csv row 3: it has no text"]
    with pytest.warns(RuntimeWarning) as told:
        problems.warn(str(path), 3)
    assert "1 of 3 texts are longer than 3 tokens and were cut" in str(told[-1].message)
