"""What a job says reaches its sweep as JSON; what is no message is passed over."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from pathlib import Path

from coldstart_cli.sweeps.messages import LIMIT, Watcher, heard, tell


def test_messages_are_short_json_and_keep_their_order() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    watcher = Watcher(theirs)
    watcher.start("training", 4, 0)
    watcher.metrics(2, {"loss": 1.0, "validation_mse": math.inf})
    tell(theirs, "failed", "\U0001f600" * 10_000)
    said = list(heard(ours))
    assert said[:2] == [("progress", "training 0/4"), ("validation", [2, math.inf])]
    assert said[2] == ("failed", "\U0001f600" * 300)
    theirs.close()
    assert list(heard(ours)) == []


def test_a_pickle_is_not_loaded_and_a_long_message_not_read(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    ours, theirs = multiprocessing.Pipe(duplex=False)
    theirs.send_bytes(pickle.dumps(Hostile()))
    theirs.send_bytes(b"[1]")
    tell(theirs, "done", "k=1")
    assert list(heard(ours)) == [("done", "k=1")] and not (tmp_path / "ran").exists()
    theirs.send_bytes(b" " * (LIMIT + 1))
    assert list(heard(ours)) == []
    theirs.close()
    ours.close()


def test_nobody_hears_and_nothing_is_raised() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    ours.close()
    tell(theirs, "done", "k=1")
    theirs.close()
