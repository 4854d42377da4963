"""A key as a person types it: which of its descriptions is shown, and whether it names a place."""

from __future__ import annotations

import pytest

from coldstart_cli.config.key import Key


@pytest.mark.parametrize(
    ("line", "comment", "short"),
    [
        ("Of the outer loop. More of it.", "", "Of the outer loop"),
        ("Of the outer loop. More of it.", "short", "Of the outer loop"),
        ("", "a share", "a share"),
        (f"{'long ' * 30}.", "a share", "a share"),
        ("", "number", ""),  # the type, once more
    ],
)
def test_a_key_shows_a_sentence_of_the_docstring_or_a_shorter_comment(
    line: str, comment: str, short: str
) -> None:
    assert Key("strategy.rate", "number", line=line, comment=comment).short == short


@pytest.mark.parametrize(
    ("kind", "line", "is_path"),
    [
        ("text", "folder of the images", True),
        ("text, or null", "a CSV file", True),
        ("text", "name of a column", False),
        ("whole number", "files at once", False),
    ],
)
def test_a_text_of_which_a_folder_or_file_is_said_names_a_place(kind: str, line: str, is_path: bool) -> None:
    assert Key("dataset.root", kind, line=line).is_path is is_path


@pytest.mark.parametrize(
    ("line", "comment", "said"),
    [
        ("Of the outer loop", "", ["Of the outer loop"]),
        ("Of the outer loop", "of the outer loop", ["Of the outer loop"]),
        ("Of the outer loop", ".1 on Omniglot", ["Of the outer loop", "in its file: .1 on Omniglot"]),
        ("", "a share", ["a share"]),
    ],
)
def test_a_key_tells_both_descriptions_where_they_differ(line: str, comment: str, said: list[str]) -> None:
    assert Key("strategy.rate", "number", line=line, comment=comment).said == said
