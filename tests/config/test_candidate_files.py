"""What `choose` tries: every file of the package composes, and a spoiled one is named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.bundles.requests import composed
from coldstart_cli.config.candidate_files import Preference, candidates_file, candidates_in
from coldstart_cli.errors import RequestError
from tests.kit.places import CONF

KINDS = sorted(path.stem for path in (CONF / "candidates").glob("*.yaml"))
DATA = {"text": "text", "image": "image_folder", "vectors": "tabular", "windows": "arrays"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_candidate_composes_and_one_needs_no_reason(kind: str) -> None:
    found = candidates_in(candidates_file(kind, []))
    assert len(found) > 2
    for candidate in found:
        composed([*candidate.words, f"dataset={DATA[kind]}"], [], run=None, bundle=None)
    assert any(candidate.prefer == Preference() for candidate in found)


def test_a_folder_of_your_own_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "candidates" / "text.yaml"
    own.parent.mkdir()
    own.write_text("# Mine\nmine:\n  words: [strategy=logistic]\n  prefer: {most_classes: 3, named: false}\n")
    assert candidates_file("text", [str(tmp_path)]) == own
    (found,) = candidates_in(own)
    assert (found.name, found.words, found.run) == ("mine", ("strategy=logistic",), None)
    assert found.prefer is not None and found.prefer.said() == "up to 3 classes and labels that say nothing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "is no mapping of names to candidates; see"),
        ("a: 1\n", "a has no list of words; write words:"),
        ("a: {words: [3]}\n", "a: 3 is no override; write key=value"),
        ("a: {words: [], preferred: {}}\n", "a.preferred: there is no such key; write words or prefer"),
        ("a: {words: [], prefer: {classes: 3}}\n", "a.classes: there is no such key; did you mean most_cl"),
        ("a: {words: [], prefer: {most_classes: x}}\n", "a.most_classes: 'x' is no value for it"),
        ("a: {words: [], prefer: 3}\n", "a.prefer: there is no such key"),
        ("a: ${oc.env:HOME}\n", "cannot be read as a mapping of names to candidates"),
    ],
)
def test_a_spoiled_file_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "text.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as refused:
        candidates_in(path)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_preference_is_said_in_words() -> None:
    assert Preference().said() == ""
    assert Preference(frozen_below=0.9, named=True).said() == (
        "frozen features below 90 % and labels that say something"
    )
