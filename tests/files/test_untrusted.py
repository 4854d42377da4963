"""JSON and texts of strangers are read as values, within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.errors import RequestError
from coldstart_cli.files import regular, untrusted
from coldstart_cli.files.untrusted import Foreign, json_values, shaped


@pytest.mark.parametrize(
    "text", ["{", "[" * 2000, '{"a": NaN}', '{"a": -Infinity}', "[" * 40 + "]" * 40, "9" * 5000, ""]
)
def test_json_values_refuses(text: str) -> None:
    with pytest.raises(Foreign):
        json_values(text)


def test_large_files_are_not_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a file beyond memory nothing is read at all: for this one the bound of the reader itself must do.
    monkeypatch.setattr(regular, "_memory", lambda: 1 << 43)
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(Foreign, match="more than 1 MiB"):
        untrusted.read_text(tmp_path / "x", 1 << 20)


def test_json_values_are_what_was_written() -> None:
    assert json_values('{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}


def test_a_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    with pytest.raises(Foreign, match="is not UTF-8"):
        untrusted.read_text(tmp_path / "x", 10)
    (tmp_path / "x").write_bytes("ü".encode())
    assert untrusted.read_text(tmp_path / "x", 2) == "ü"


@pytest.mark.parametrize("error", [KeyError("step"), TypeError("no"), ZeroDivisionError("by\nzero")])
def test_shaped_names_the_file_that_holds_something_else(error: Exception) -> None:
    with pytest.raises(RequestError) as caught, shaped("run", "outputs/x"):
        raise error
    line = str(caught.value)
    assert line.startswith("run: outputs/x holds what no file of ours does (") and "\n" not in line
