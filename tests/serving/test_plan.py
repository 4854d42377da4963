"""The keys of conf/serve.yaml."""

from __future__ import annotations

import pytest

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.models.pretrained.features import WORTH_KEEPING
from coldstart_cli.serving.plan import FEATURES_KEPT, plan_of


def test_the_packaged_values_serve_this_machine_alone() -> None:
    plan = plan_of(composition.values_of("serve", []))
    assert plan.host == "127.0.0.1" and plan.max_bytes == 8_000_000


@pytest.mark.parametrize("word", ["port=70000", "max_mb=0", "batch_size=256", "waiting=0", "per_minute=0"])
def test_a_value_out_of_range_is_refused_by_its_key(word: str) -> None:
    with pytest.raises(RequestError, match=f"^serve.{word.partition('=')[0]}: "):
        plan_of(composition.values_of("serve", [word]))


def test_no_request_makes_a_frozen_encoder_keep_features_on_disk() -> None:
    assert FEATURES_KEPT == WORTH_KEEPING
