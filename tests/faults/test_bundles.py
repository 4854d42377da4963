"""Bundles that are killed while they are written, written twice at once, and read meanwhile.

Rows R18 and R19 of tests/kit/reliability.py. The processes are real, and so is SIGKILL; what they write was
adapted before, so that a try takes no longer than its writing. With all tries `adapt` itself is taken too.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.bundles.kept.folder import Contents, read, write
from coldstart_cli.bundles.kept.versions import versions
from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from coldstart_cli.files.durable import PARTIAL
from tests.kit.processes import Child, Processes
from tests.kit.reliability import Tries

pytestmark = pytest.mark.timeout(1200)  # with all tries
SMALL = ("model=mlp", "model.hidden=[4]", "hardware=cpu", "hardware.threads=1", "experiment=smoke")


def adapt(name: str, bundle: str) -> list[str]:
    """The command, which takes the place of a bundle that is there: its head over random weights will do."""
    data = ("dataset=arrays", f"dataset.root={name}.npz", f"bundle={bundle}")
    return ["adapt", *SMALL, "strategy=logistic", "untrained=true", *data, "overwrite=true"]


def with_base(bundle: Path, base: Path) -> None:
    """Puts files beside a predictor as those of a pretrained base, of which it reads none."""
    found = read(bundle, lambda contents: contents)
    write(bundle, found.card, found.weights, base, rows=found.rows)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_settings: None) -> Path:
    """A folder with two bundles, `red` and `blue`, that answer otherwise, each with a base of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    g = np.random.default_rng(0)
    for name, shift in (("red", 2), ("blue", 3)):
        y = np.repeat(["ant", "bee"], 4)
        x = np.stack([g.normal(shift if label == "ant" else -shift, 0.3, 4) for label in y])
        np.savez(f"{name}.npz", x=x.astype(np.float32), y=y)
        assert main(adapt(name, name)) == 0
        base = Path(f"base of {name}")
        base.mkdir()
        (base / "config.json").write_text(json.dumps({"of": name}))
        (base / "vocab.txt").write_text(name * 1000)
        with_base(Path(name), base)
    return tmp_path


def answers(bundle: Bundle) -> list[float]:
    found = bundle.predict(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)).probabilities
    assert found is not None
    return [float(p) for p in found.flatten()]


def whole(folder: Path, known: Mapping[str, list[float]]) -> str | None:
    """Which bundle a folder holds: its card's data, if its weights answer so; None where there is none."""
    if not (folder / "card.json").exists():
        return None

    def use(contents: Contents) -> tuple[Bundle, str | None]:
        """One look: two could be at two bundles."""
        base = None if contents.base is None else (contents.base / "config.json").read_text()
        return Bundle._of(contents, folder), base

    try:
        bundle, base = read(folder, use)
    except RequestError as error:
        return str(error)
    name = str(bundle.card.data.root).removesuffix(".npz")
    if base is not None and json.loads(base)["of"] != name:
        return f"the card of {name} over another base"
    return name if answers(bundle) == known[name] else f"the card of {name} over other weights"


def left_over(folder: Path) -> list[str]:
    """What lies in a bundle that its card does not name."""
    named = {"card.json", *json.loads((folder / "card.json").read_text())["files"]}
    places = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    return sorted(place for place in places - named if not re.match(r"versions/\d+/", place))


@pytest.mark.fault("R18")
@pytest.mark.parametrize("before", [None, "red"])
def test_a_bundle_whose_writer_is_killed_is_the_old_or_the_new_one_and_the_same_command_goes_on(
    processes: Processes, place: Path, tries: Tries, before: str | None
) -> None:
    known = {name: answers(Bundle.load(name)) for name in ("red", "blue")}
    target, seen = place / "b", set()
    for number in itertools.count(step=1 if tries.full else 2):
        shutil.rmtree(target, ignore_errors=True)
        if before is not None:
            shutil.copytree(before, target)
        ended = processes.run(["ls"], place, "rewrites", ["blue", "b", 1, number])
        if ended.code == 0:
            break
        assert ended.code == -9, ended.err
        tries.n += 1
        found = whole(target, known)
        seen.add(found)
        if found not in (before, "blue"):
            tries.failures.append(f"change {number}: {found}")
        kept = [whole(version, known) for version in versions(target).values()]
        again = processes.run(["ls"], place, "rewrites", ["blue", "b", 1, None])
        kept += [whole(version, known) for version in versions(target).values()][:1]
        if {*kept} - ({"red"} if before else {"blue"}):
            tries.failures.append(f"change {number}: versions {kept}")
        if again.code != 0 or whole(target, known) != "blue" or left_over(target):
            tries.failures.append(f"change {number}, again: {again.err} {left_over(target)}")
    # two files and a folder of a base, weights, rows, card: each is opened and renamed; what was there is
    # linked to as a version, and removed
    assert number >= (18 if before else 10)
    # The card of a new bundle is its last change
    assert seen == ({before, "blue"} if before else {None})
    assert not list(place.glob(f"*{PARTIAL}"))


@pytest.mark.fault("R18")
@pytest.mark.slow
def test_an_adapt_that_is_killed_leaves_the_old_bundle_or_the_new_one(
    processes: Processes, place: Path, tries: Tries
) -> None:
    known = {}
    for name in ("red", "blue"):
        shutil.rmtree(name)
        assert processes.run(adapt(name, name), place).code == 0
        known[name] = answers(Bundle.load(name))
    for number in itertools.count():
        shutil.rmtree("b", ignore_errors=True)
        shutil.copytree("red", "b")
        ended = processes.run(adapt("blue", "b"), place, "killed_at", ["b", number])
        if ended.code == 0:
            break
        tries.n += 1
        if (found := whole(place / "b", known)) not in ("red", "blue"):
            tries.failures.append(f"change {number}: {found}")
        again = processes.run(adapt("blue", "b"), place)
        if again.code != 0 or whole(place / "b", known) != "blue" or left_over(place / "b"):
            tries.failures.append(f"change {number}, again: {again.err} {left_over(place / 'b')}")
    assert number >= 6


@pytest.mark.fault("R19")
def test_two_writers_of_one_bundle_leave_one_of_both_and_a_reader_meanwhile_sees_one_of_both(
    processes: Processes, place: Path, tries: Tries
) -> None:
    known = {name: answers(Bundle.load(name)) for name in ("red", "blue")}
    shutil.copytree("red", "b")
    n_writes = 100 if tries.full else 40
    for _ in tries.of(2, 20):
        writers: list[Child] = [
            processes.start(["ls"], place, "rewrites", [name, "b", n_writes, None]) for name in known
        ]
        reads = 0
        while reads < n_writes // 4:  # some of them while both write, the last ones after them
            found = whole(place / "b", known)
            reads += 1
            if found not in known:
                tries.failures.append(f"read {reads}: {found}")
        for writer in writers:
            ended = writer.wait()
            if ended.code != 0:
                tries.failures.append(f"a writer: {ended.err}")
        if whole(place / "b", known) not in known or left_over(place / "b"):
            tries.failures.append(f"at the end: {whole(place / 'b', known)}, {left_over(place / 'b')}")


def test_contents_of_a_bundle_that_never_comes_to_rest_are_given_up(place: Path) -> None:
    def use(contents: Contents) -> None:
        card = Path("red", "card.json")
        card.rename("card")
        shutil.copy("card", card)  # another file each time
        raise RequestError("bundle: what is read is gone")

    with pytest.raises(RequestError, match="changes all the time"):
        read(Path("red"), use)
