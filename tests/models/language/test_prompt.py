"""What stands around texts and labels: values alone, of which one may not be empty."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from coldstart_cli.models.language.prompt import Prompt
from tests.kit.places import CONF


def test_nothing_between_text_and_label_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^between: it is empty, and the model cannot see .*; write something"
    ):
        Prompt(header="", before="Text:", between="\n", after="")


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "prompt").glob("*.yaml")))
def test_packaged_prompt_is_one(name: str) -> None:
    values: dict[str, Any] = yaml.safe_load((CONF / "prompt/text.yaml").read_text())
    values |= yaml.safe_load((CONF / f"prompt/{name}.yaml").read_text())
    pieces = {key: value for key, value in values.items() if key not in ("_target_", "defaults")}
    assert Prompt(**pieces).between.endswith(":")
