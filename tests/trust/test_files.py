"""S3 and S4: files of a stranger are read as values, within bounds, or refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from coldstart_cli.files.plain_yaml import yaml_values
from coldstart_cli.files.untrusted import Foreign
from tests.kit.bundles import matched, put_weights
from tests.kit.reliability import Tries
from tests.trust.conftest import DATA, SMALL, TRAINED, Said, Stage, said


class Bomb:
    """Its pickle runs `evil.mark`."""

    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path(self.mark), "ran")


def saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def npy(descr: str, shape: str, body: bytes) -> bytes:
    """An array file of any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def npz(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def tensors(header: object, body: bytes = b"\0" * 64, length: int | None = None) -> bytes:
    """A safetensors file of any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def checkpoints(mark: Path) -> dict[str, bytes]:
    bomb = Bomb(mark)
    return {
        "torch zip": saved({"strategy": bomb}),
        "torch legacy": saved({"strategy": bomb}, _use_new_zipfile_serialization=False),
        "pickle 0": pickle.dumps(bomb, 0),
        "pickle 4": pickle.dumps({"strategy": {"w": bomb}}, 4),
        "no dictionary": saved([1, 2]),
        "no strategy": saved({"step": 1}),
        "a strategy that is none": saved({"strategy": {"w": 1}}),
        "nothing": b"",
    }


def arrays(mark: Path) -> dict[str, dict[str, bytes]]:
    objects = npy("'|O'", "(2,)", pickle.dumps([Bomb(mark)] * 2))
    labels = npy("'<U2'", "(4,)", b"a\0\0\0\0\0\0\0" * 4)
    return {
        "objects": {"x": objects, "y": labels},
        "labels of objects": {"x": npy("'<f4'", "(4, 2)", b"\0" * 32), "y": objects},
        "a header that calls": {"x": npy(f"__import__('pathlib').Path({str(mark)!r}).touch()", "(2,)", b"")},
        "a shape beyond memory": {"x": npy("'<f4'", "(1000000000000, 1000)", b"\0" * 64), "y": labels},
        "labels beyond memory": {
            "x": npy("'<f4'", "(4, 2)", b"\0" * 32),
            "y": npy("'<U9'", "(99999999999,)", b""),
        },
        "a shape below zero": {"x": npy("'<f4'", "(-4, 2)", b"\0" * 32), "y": labels},
        "a type of no size": {"x": npy("'<U0'", "(4, 2)", b""), "y": labels},
        "a record": {"x": npy("[('a', '<f4')]", "(4,)", b"\0" * 16), "y": labels},
        "a zip in a zip": {"x": b"PK\x03\x04" + b"\0" * 100, "y": labels},
        "too short": {"x": npy("'<f4'", "(4000, 2)", b"\0" * 8), "y": labels},
    }


def weights(mark: Path) -> dict[str, bytes]:
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    return {
        "a huge length": tensors({"a": one}, length=2**62),
        "a length beyond the file": tensors({"a": one}, length=10**9),
        "overlapping": tensors({"a": one, "b": {**one, "data_offsets": [8, 24]}}),
        "beyond the end": tensors({"a": {**one, "shape": [400], "data_offsets": [0, 1600]}}),
        "another type": tensors({"a": {**one, "dtype": "PICKLE"}}),
        "another shape": tensors({"a": {**one, "shape": [2**40, 2**40]}}),
        "no JSON": tensors(b"{" * 1000),
        "deep": tensors(b"[" * 10**6),
        "a pickle": pickle.dumps(Bomb(mark)),
        "a torch file": saved({"w": Bomb(mark)}),
        "foreign tensors": tensors({"a": one}, b"\0" * 16),
        "nothing": b"",
    }


def hostile_files(stage: Stage) -> list[tuple[str, Callable[[], Said]]]:
    """Every file in its place, and the command that reads it."""

    def checkpoint(data: bytes) -> Said:
        for path in (stage.run / "checkpoints").glob("*.ckpt"):  # each would stand in for another
            path.write_bytes(hashlib.sha256(data).digest() + data)
        return said("evaluate", f"run={stage.run}", "again=true").last  # after a warning that names it

    def array(members: dict[str, bytes]) -> Said:
        npz(stage.folder / "points.npz", **members)
        return said("data", "check", *SMALL, *DATA)

    def weight(data: bytes) -> Said:
        put_weights(stage.folder / "b", data)
        return said("predict", "bundle=b", "input=points.npz")

    def bare(data: bytes) -> Said:
        (stage.folder / "points.npz").write_bytes(data)
        return said("predict", "bundle=b", "input=points.npz")

    return [
        *((f"checkpoint: {n}", lambda d=d: checkpoint(d)) for n, d in checkpoints(stage.mark).items()),
        *((f"npz: {n}", lambda d=d: array(d)) for n, d in arrays(stage.mark).items()),
        *((f"safetensors: {n}", lambda d=d: weight(d)) for n, d in weights(stage.mark).items()),
        ("npz: a pickle", lambda: bare(pickle.dumps(Bomb(stage.mark)))),
        ("npz: a torch file", lambda: bare(saved({"x": Bomb(stage.mark)}))),
    ]


@pytest.mark.fault("S3")
def test_hostile_weights_and_arrays_run_nothing(stage: Stage, tries: Tries) -> None:
    cases = hostile_files(stage)
    for i in tries.of(len(cases) // 2, len(cases)):
        name, attempt = cases[i if tries.full else 2 * i]
        ended = attempt()
        if stage.mark.exists():
            tries.failures.append(f"{name} ran")
            stage.mark.unlink()
        elif ended.wrong:
            tries.failures.append(f"{name}: {ended.wrong}")
        stage.fresh()


def test_hostile_pickles_do_run_where_they_are_loaded_as_pickles(stage: Stage) -> None:
    torch.load(io.BytesIO(checkpoints(stage.mark)["torch zip"]), weights_only=False)
    assert stage.mark.exists()
    stage.mark.unlink()
    npz(stage.folder / "o.npz", x=arrays(stage.mark)["objects"]["x"])
    with pytest.raises(ValueError, match="allow_pickle"), np.load(stage.folder / "o.npz") as file:
        file["x"]
    with np.load(stage.folder / "o.npz", allow_pickle=True) as file:
        file["x"]
    assert stage.mark.exists()


SECRET = "s3cret-value-of-the-environment"
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 30))
YAMLS: dict[str, str] = {
    "an alias bomb": ALIASES,
    "a merge bomb": MERGES,
    "10 MB": "a: [" + "1, " * 3_400_000 + "1]\n",
    "10 MB of one value": "a: " + "x" * 10_000_000 + "\n",
    "deep in brackets": "a: " + "[" * 100_000 + "]" * 100_000 + "\n",
    "deep in lines": "".join(" " * i + "a:\n" for i in range(1000)),
    "deep in braces": "a: " + "{b: " * 50 + "1" + "}" * 50 + "\n",
    "a long number of base 60": "a: " + ":".join(["1"] * 8_000) + "\n" + "b: 1" + ":01" * 250_000 + "\n",
    "a long whole number": "a: " + "9" * 10_000 + "\n",
    "the environment": "seed: ${oc.env:SECRET}\n",
    "the environment, escaped": 'seed: "\\x24{oc.env:SECRET}"\n',
    "the environment, as a key": '"${oc.env:SECRET}": 1\n',
    "a tag": "seed: !!python/object/apply:os.getenv [SECRET]\n",
    "a harmless tag": "seed: !!set {1, 2}\n",
    "a date": "seed: 2020-01-01\n",
    "a date that is none": "seed: 2020-99-99\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "NUL": "a: \0\n",
    "an unhashable key": "? [1, 2]\n: 3\n",
}  # fmt: skip


TEXTS = ("a date", "the environment, as a key")


def spoil(path: Path, text: str) -> None:
    """Puts a text behind a config, so that all else is there; of two equal keys the last holds."""
    path.write_text(path.read_text() + text)


def hostile_yaml(stage: Stage, name: str, place: str) -> Said:
    text = YAMLS[name]
    if place == "run":
        spoil(stage.run / "config.yaml", text)
        return said("evaluate", f"run={stage.run}", "again=true")
    if place == "compare":
        (path,) = stage.run.glob("evaluations/*/config.yaml")
        spoil(path, text)
        return said("compare", str(stage.run))
    folder = stage.folder / "cd" / "experiment"
    folder.mkdir(parents=True)
    (folder / "theirs.yaml").write_text("# @package _global_\n" + text)
    rest = [o for o in TRAINED if not o.startswith("experiment=")]
    return said("train", *rest, "experiment=theirs", "--config-dir", "cd", "--cfg", "job")


@pytest.mark.fault("S4")
def test_hostile_yaml_is_refused(stage: Stage, tries: Tries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    cases = [(name, place) for place in ("run", "compare", "configs") for name in YAMLS]
    # as Hydra reads them these are texts, and what `--cfg` does not resolve is printed as it stands
    cases = [case for case in cases if case not in {(name, "configs") for name in TEXTS}]
    for i in tries.of(len(cases) // 3, len(cases)):
        name, place = cases[i if tries.full else (i * 11) % len(cases)]
        before = time.process_time()
        ended = hostile_yaml(stage, name, place)
        seconds = time.process_time() - before
        if SECRET in ended.out + ended.err:
            tries.failures.append(f"{name} in {place} told the environment")
        if ended.wrong or seconds > 10:  # of the whole command; what reads alone is measured below
            tries.failures.append(f"{name} in {place}: {seconds:.1f} s, {ended.wrong}")
        stage.fresh()


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_is_refused_before_it_unfolds(name: str) -> None:
    before = time.process_time()
    with pytest.raises(Foreign):
        yaml_values(YAMLS[name])
    assert time.process_time() - before < 1  # the row's own bound; it takes hundredths


def test_yaml_that_unfolds_is_what_the_guard_is_for() -> None:
    small = "\n".join(ALIASES.splitlines()[:6])
    assert len(json.dumps(yaml.safe_load(small))) > 100 * len(small)


JSONS: list[tuple[str, Callable[[Any], object]]] = [
    ("NaN", lambda v: '{"format": NaN}'),
    ("infinity in digits", lambda v: json.dumps(v).replace("1", "1e999", 1)),
    ("deep", lambda v: '{"format": ' + "[" * 100_000),
    ("deep and whole", lambda v: '{"format": 1, "x": ' + "[" * 500 + "]" * 500 + "}"),
    ("a list", lambda v: "[]"),
    ("a number", lambda v: "7"),
    ("nothing", lambda v: ""),
    ("no keys", lambda v: "{}"),
    ("lists for values", lambda v: json.dumps({k: [] for k in v})),
    ("texts for values", lambda v: json.dumps(dict.fromkeys(v, "x"))),
    ("nulls for values", lambda v: json.dumps(dict.fromkeys(v))),
    ("numbers for values", lambda v: json.dumps(dict.fromkeys(v, -1))),
    ("mappings for values", lambda v: json.dumps({k: {"x": {}} for k in v})),
    ("a long number", lambda v: '{"format": ' + "9" * 10_000 + "}"),
    ("half", lambda v: json.dumps(v)[: len(json.dumps(v)) // 2]),
    ("another encoding", lambda v: "\ufeff" + json.dumps(v)),
]  # fmt: skip
FILES: dict[str, tuple[tuple[str, ...], ...]] = {
    "run.json": (("evaluate", "run={run}"), ("compare", "{run}")),
    "environment.json": (("compare", "{run}"), ("diff", "{run}", "{run}")),
    "evaluations/*/summary.json": (("compare", "{run}"), ("evaluate", "run={run}")),
    "evaluations/*/records.jsonl": (("compare", "{run}"),),
    "../../b/card.json": (("predict", "bundle=b", "input=points.npz"),),
}


@pytest.mark.fault("S4")
def test_hostile_json_is_refused_or_read_as_it_is(stage: Stage, tries: Tries) -> None:
    cases = [
        (pattern, command, name, change)
        for pattern, commands in FILES.items()
        for command in commands
        for name, change in JSONS
    ]
    for i in tries.of(len(cases) // 4, len(cases)):
        pattern, command, name, change = cases[i if tries.full else (i * 5) % len(cases)]
        (path,) = stage.run.glob(pattern) if ".." not in pattern else [stage.folder / "b" / "card.json"]
        lines = path.read_text().splitlines()
        value = json.loads(lines[0] if path.suffix == ".jsonl" else path.read_text())
        path.write_text(str(change(value)))
        matched(path)
        ended = said(*(word.format(run=stage.run) for word in command)).last
        wrong = ended.wrong if ended.code != 0 else None  # what a command does not need, may be anything
        if wrong:
            tries.failures.append(f"{path.name} {name} for {command[0]}: {wrong}")
        stage.fresh()
