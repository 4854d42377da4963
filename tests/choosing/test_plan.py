"""The keys of choose.yaml, checked."""

from __future__ import annotations

from dataclasses import fields

import pytest

from coldstart_cli.choosing.plan import ChoosePlan, plan_of
from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError


def test_the_file_has_the_keys_of_the_plan() -> None:
    values = composition.values_of("choose", [])
    assert set(values) - {"_target_"} == {field.name for field in fields(ChoosePlan)}
    assert plan_of(values).time_minutes == values["time_minutes"]


@pytest.mark.parametrize("word", ["time_minutes=0", "p95_ms=-1", "alpha=2", "runs=x", "max_mb=many"])
def test_a_value_that_it_cannot_take_is_refused(word: str) -> None:
    with pytest.raises(RequestError, match=rf"^choose\.{word.partition('=')[0]}"):
        plan_of(composition.values_of("choose", [word]))
