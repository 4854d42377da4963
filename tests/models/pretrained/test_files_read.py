"""What a card keeps of a pretrained model's files is read without torch."""

from __future__ import annotations

from coldstart_cli.config.from_json import from_json
from coldstart_cli.models.pretrained.files_read import FilesRead


def test_files_read_come_back_from_json() -> None:
    found = from_json(FilesRead, {"contents": ["a", "b"], "revision": None})
    assert found == FilesRead(contents=("a", "b"), revision=None)
