"""Inputs that a person names: there, or refused with what resembles them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from coldstart_cli.cli.inputs import check_there, own_keys
from coldstart_cli.datasets.readers.lines import STDIN
from coldstart_cli.errors import RequestError


def test_an_input_that_is_there_and_standard_input_pass(tmp_path: Path) -> None:
    check_there(str(tmp_path))
    check_there(STDIN)


def test_an_input_that_is_not_there_is_refused_with_what_resembles_it(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").touch()
    with pytest.raises(
        RequestError, match=r"^input: .*text\.csv is not there; did you mean .*texts\.csv\? \(E10\)$"
    ):
        check_there(str(tmp_path / "text.csv"))
    with pytest.raises(RequestError, match=r"is not there; name a file or folder of the bundle's layout, "):
        check_there(str(tmp_path / "no_folder" / "x"))
    with pytest.raises(RequestError, match=r"^labelled: .*x is not there; "):
        check_there(str(tmp_path / "no_folder" / "x"), "labelled")


def test_what_is_said_of_files_names_the_keys_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "a.csv: is torn; say dataset.quoted=false or dataset.encoding=cp1252, or fit dataset.root"
    own = "a.csv: is torn; say quoted=false or encoding=cp1252, or fit dataset.root"
    with pytest.raises(RequestError) as error, own_keys():
        raise RequestError(hint)
    assert str(error.value) == own
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *_: told.append(str(message)))
        before = warnings.showwarning
        with own_keys():
            warnings.warn(hint, RuntimeWarning, stacklevel=1)
        assert told == [own] and warnings.showwarning is before


def test_a_pipe_is_refused_with_what_to_do(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        RequestError, match=r"^input: .*pipe is a pipe or a device; give input=- and redirect"
    ):
        check_there(str(tmp_path / "pipe"))
