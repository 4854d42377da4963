"""Files of an input that are written otherwise than those that were adapted from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.predicting.input_form import form_keys, with_form
from coldstart_cli.datasets.own.raw_text import TextRecipe
from coldstart_cli.errors import RequestError
from tests.kit.adapted import call
from tests.kit.places import REPOSITORY

EARLIER = REPOSITORY / "tests" / "data" / "flat_layout" / "bundle"


def test_keys_are_those_of_tables() -> None:
    assert {key.name for key in form_keys()} <= {*TextRecipe.__annotations__, "decimal"}


def test_the_card_reads_files_as_asked_and_is_the_same_where_nothing_is(torch_settings: None) -> None:
    card = Bundle.load(EARLIER).card
    assert with_form(card, {"bundle": "b"}) is card
    recipe: Any = with_form(
        card, {"quoted": "false", "delimiter": "semicolon", "encoding": "cp1252"}
    ).build.recipe
    expected = {"quoted": False, "delimiter": "semicolon", "encoding": "cp1252"}
    assert recipe == {**card.build.recipe, **expected}


@pytest.mark.filterwarnings("default::RuntimeWarning")  # which the command prints
def test_predict_takes_what_it_hints_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("comma.csv").write_text("a;b\n1,5;2,5\n9;-3\n", encoding="utf-16")
    words = ("predict", f"bundle={EARLIER}", "input=comma.csv")
    code, _, err = call(capsys, *words)
    assert code == 2 and err == "comma.csv: is UTF-16; say so with encoding=utf-16 (E15)\n"
    code, out, err = call(capsys, *words, "encoding=utf-16", "decimal=comma")
    assert code == 0 and len(out.splitlines()) == 2, err
    code, _, err = call(capsys, *words, "delimiter=dot")
    assert code == 2 and err.startswith("delimiter: ") and "semicolon" in err
    Path("dot.csv").write_text("a,b,label\n1.5,2.5,x\n9,-3,y\n", encoding="utf-16")
    evaluated = ("evaluate", f"bundle={EARLIER}", "input=dot.csv")
    code, _, err = call(capsys, *evaluated)
    assert code == 2 and "say so with encoding=utf-16" in err and "dataset." not in err
    assert call(capsys, *evaluated, "encoding=utf-16")[0] == 0


def test_inputs_that_are_no_tables_have_no_such_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None
) -> None:
    card = Bundle.load(EARLIER).card
    images = {**card.build.recipe, "layout": "image_folder"}
    from dataclasses import replace

    other = replace(card, build=replace(card.build, recipe=images))
    with pytest.raises(RequestError, match=r"^quoted: this bundle reads image_folder, .*; leave it out$"):
        with_form(other, {"quoted": "false"})
    texts = replace(card, build=replace(card.build, recipe={**card.build.recipe, "layout": "text"}))
    with pytest.raises(RequestError, match=r"^decimal: this bundle reads text"):
        with_form(texts, {"decimal": "comma"})
