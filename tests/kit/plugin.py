"""The plug-in of tests/testing/outside, as somebody else would have it, and which laws it breaks."""

from __future__ import annotations

from coldstart_cli.testing.checking import LAWS, laws_for
from coldstart_cli.testing.trial import Trial
from tests.kit.places import REPOSITORY

OUTSIDE = REPOSITORY / "tests" / "testing" / "outside"
NEAREST = str(OUTSIDE / "strategy" / "nearest.yaml")
TRUST = "trust=[own_strategies]"


def broken(trial: Trial, *names: str) -> dict[str, str]:
    """Law -> what it says, of those of `names` that are broken; of all where none is named."""
    said = {law.name: law.broken_by(trial) for law in laws_for(trial) if law.name in names or not names}
    return {name: words for name, words in said.items() if words}


def assert_breaks(how: str, law: str, seen: str, mend: str) -> None:
    """The plug-in that is broken in one way hears so in one line: which law, by what, and what to do."""
    words = broken(Trial(NEAREST, overrides=[TRUST, f"strategy.broken={how}"]), law)[law]
    sentence = next(one.sentence for one in LAWS if one.name == law)
    assert words.startswith(f"nearest: {sentence} ({law}), but ") and seen in words and mend in words
    assert "\n" not in words
