"""What all reports have in common."""

from __future__ import annotations

from coldstart_cli.reports.html.page import teller


def test_a_sentence_gets_its_capital_and_a_name_keeps_its_small_letter() -> None:
    told = teller(["maml", "at"])
    assert told("maml wins") == "maml wins."
    assert told("mamls win!") == "Mamls win!"
    assert told("at k = 1") == "at k = 1."  # a contestant may be called so
    assert told("atoms") == "Atoms."
