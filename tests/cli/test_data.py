"""`coldstart data check`: exit codes, what is printed, and that no data set of the package leaks."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from coldstart_cli.cli import main
from coldstart_cli.core.tasks import TaskShape
from coldstart_cli.experiment import data_check
from tests.kit.places import CONF

CONF = CONF / "dataset"
NAMES = sorted(path.stem for path in CONF.glob("*.yaml"))
REAL = {"omniglot": "omniglot", "digits": "digits"}
"""Data sets that need files -> their folder in `data_root`."""
SHAPED = {"glyph_shift": ("dataset.n_unlabelled=2", "evaluation.n_query=8", "evaluation.k_shots=[0,1]")}

Check = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Runs `coldstart data check` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["data", "check", *arguments])
        out, err = capsys.readouterr()
        assert not list(tmp_path.iterdir())  # an audit writes nothing
        return code, out, err

    return call


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Callable[[str], tuple[str, ...]]:
    """Where a data set's files are, as an override; skips where they are not."""

    def of(name: str) -> tuple[str, ...]:
        if name not in REAL:
            return ()
        folder: Path = request.getfixturevalue("data_root") / REAL[name]
        if not folder.is_dir():
            pytest.skip(f"{folder} is not there; set COLDSTART_DATA")
        return (f"dataset.root={folder}",)

    return of


@pytest.mark.parametrize("name", NAMES)
def test_data_check_finds_every_data_set_of_the_package_clean(
    name: str, check: Check, places: Callable[[str], tuple[str, ...]]
) -> None:
    code, out, err = check(f"dataset={name}", *places(name), *SHAPED.get(name, ()), "--tasks=40", "--json")
    if code == 2 and name not in {*REAL, *SHAPED}:
        pytest.skip(f"your own data is needed: {err.strip()}")
    found = json.loads(out)
    assert [line for finding in found["findings"] for line in finding["leaks"]] == []
    assert (code, err, found["n_leaks"]) == (0, "", 0)
    assert all(finding["checked"] or finding["note"] for finding in found["findings"])
    assert {row["n_tasks"] for row in found["bank"]} == {40}


@pytest.mark.parametrize(
    ("settings", "leak"),
    [
        (("dataset.split=vinyals",), None),
        (
            ("dataset.split=vinyals", "dataset.known_duplicates=[]"),
            "train #4434 (Braille/character01) equals source_test #1110 (Braille/character01)",
        ),
        (("dataset.held_out=0", "dataset.known_duplicates=[]"), "Braille/character01"),
    ],
)  # fmt: skip
def test_data_check_finds_omniglots_known_duplicate_unless_it_is_listed(
    settings: tuple[str, ...], leak: str | None, check: Check, places: Callable[[str], tuple[str, ...]]
) -> None:
    code, out, _ = check("dataset=omniglot", *places("omniglot"), *settings, "--tasks", "10")
    told = [line for line in out.splitlines() if line.startswith("LEAK")]
    if leak is None:
        assert (code, told) == (0, [])
        assert "1 listed in the YAML (Braille/character01), none of them among the examples" in out
    else:
        assert code == 1
        assert any(leak in line for line in told)
        assert "1 leak of 1 kind" in out


def test_data_check_of_omniglot_with_rotations_hashes_every_class(
    check: Check, places: Callable[[str], tuple[str, ...]]
) -> None:
    settings = ("dataset.rotations=true", "dataset.split=vinyals", "--tasks=5", "--json")
    code, out, _ = check("dataset=omniglot", *places("omniglot"), *settings)
    sizes = {finding["check"]: finding["checked"] for finding in json.loads(out)["findings"]}
    assert code == 0
    assert sizes["examples of different splits are disjoint"] == "129,760 examples"
    assert sizes["classes of train, validation and new are disjoint"] == "4,108 + 688 + 1,692 classes"


def test_data_check_audits_what_a_run_would_use(check: Check) -> None:
    code, out, _ = check(
        "experiment=smoke", "dataset.bank_seed=4", "evaluation.n_way=7", "--tasks=3", "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert found["settings"]["bank_seed"] == 4
    assert [(row["split"], row["shape"], row["uses"]) for row in found["bank"]] == [
        ("train", "5-way 1-shot, 5 queries", ["training"]),
        ("validation", "5-way 1-shot, 5 queries", ["validation"]),
        ("new", "7-way 1-shot, 5 queries", ["evaluation"]),
        ("validation", "7-way 1-shot, 5 queries", ["evaluation"]),
        ("source_test", "7-way 1-shot, 5 queries", ["evaluation"]),
    ]


def test_data_check_prints_digests_that_the_bank_seed_determines(check: Check) -> None:
    def digests(*overrides: str) -> list[str]:
        return [
            row["digest"]
            for row in json.loads(check("experiment=smoke", "--tasks=4", "--json", *overrides)[1])["bank"]
        ]

    first = digests()
    assert digests("strategy=protonet", "seed=5", "model=conv4_small") == first
    assert not {*digests("dataset.bank_seed=1")} & {*first}


def test_data_check_says_which_functions_two_splits_of_a_regression_share(check: Check) -> None:
    one_function = ("dataset.amplitude=[1.0,1.0]", "dataset.phase=[0.0,0.0]")
    code, out, _ = check("dataset=sinusoid", "dataset.pool_tasks=2", *one_function, "--tasks=5")
    assert code == 1
    assert "LEAK 1.0 sin(1.0 x - 0.0) is 2 functions of train" in out
    assert "LEAK 1.0 sin(1.0 x - 0.0) is a function of train and of new" in out


BAD: list[tuple[str, tuple[str, ...]]] = [
    ("data: it is not said what to do", ("data",)),
    ("data: 'chek' is not a valid choice; did you mean check?", ("data", "chek")),
    ("--tasks: 'many' is not a number of tasks", ("data", "check", "--tasks", "many")),
    ("--tasks: '0' is not a number of tasks", ("data", "check", "--tasks=0")),
    ("--tasks: needs a value; write --tasks 200", ("data", "check", "--tasks")),
    ("--jsn: there is no such flag", ("data", "check", "--jsn")),
    ("-m: there is no such flag", ("data", "check", "-m", "dataset=glyphs")),
    ("--quiet: there is no such flag", ("data", "check", "--quiet")),
    ("dataset: there is no 'glyfs'", ("data", "check", "dataset=glyfs")),
    ("dataset.n_wy: there is no such key", ("data", "check", "dataset.n_wy=3")),
    ("dataset.k_shot: -1 is out of range", ("data", "check", "dataset.k_shot=-1")),
    ("dataset.root: /nope is not a folder", ("data", "check", "dataset=omniglot", "dataset.root=/nope")),
    ("dataset.root: digits are read", ("data", "check", "dataset=digits")),
    ("evaluation: glyphs: 400-way tasks", ("data", "check", "evaluation.n_way=400")),
    ("strategy.inner_lr: 'x'", ("data", "check", "strategy.inner_lr=x")),
]


@pytest.mark.parametrize(("message", "argv"), BAD, ids=[" ".join(argv[1:]) for _, argv in BAD])
def test_data_refuses_in_one_line(
    message: str, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_data_draws_fewer_tasks_where_they_are_large() -> None:
    assert data_check._enough(TaskShape(5, 1, 15, 0)) == 200
    assert data_check._enough(TaskShape(10, 1, 1000, 0)) == 19
    assert data_check._enough(TaskShape(None, 10, 50, 0)) == 200
    assert data_check._enough(TaskShape(100, 5, 5000, 0)) == 0  # then those of the evaluation


def test_data_has_a_page_of_help_for_each_thing_it_does_and_bad_arguments_import_nothing_heavy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in ("check", "fetch", "verify"))
    for name in ("check", "fetch", "verify"):
        assert main(["data", name, "-h"]) == 0
        assert capsys.readouterr().out.startswith(f"usage: coldstart data {name} ")
    code = (
        "import sys; from coldstart_cli.cli import main; code = main(['data', 'check', '--nope']);"
        "sys.exit(1 if {'torch', 'hydra', 'rich'} & set(sys.modules) else code)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 2


def test_data_summary_is_json_of_plain_values(check: Check) -> None:
    threads = torch.get_num_threads()
    found: dict[str, Any] = json.loads(check("experiment=smoke", "--tasks=2", "--json")[1])
    assert {*found} == {
        "name", "settings", "fingerprint", "facts", "n_leaks", "findings", "not_served", "unreadable", "bank"
    }  # fmt: skip
    assert {*found["findings"][0]} == {"check", "checked", "n_leaks", "leaks", "note"}
    assert torch.get_num_threads() == threads


@pytest.mark.filterwarnings("ignore:.*could not be read:RuntimeWarning")
def test_data_check_reports_what_cannot_be_read_and_goes_on(
    check: Check, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine = tmp_path_factory.mktemp("data") / "mine.csv"
    rows = [f"{c + i / 10},c{c:02d}" for c in range(12) for i in range(8)]
    mine.write_text("\n".join(["x,label", *rows, "none at all,c00", "3,"]) + "\n")
    own = ("dataset=tabular", f"dataset.root={mine}", "experiment=smoke", "--tasks=2")
    code, out, _ = check(*own, "dataset.n_way=2")
    assert code == 0, out
    assert "UNREADABLE mine.csv row 99: column label is empty" in out and out.count("UNREADABLE") == 2
    code, out, err = check(*own, "dataset.n_way=6")  # tasks that cannot be had; what there is, is told
    assert code == 2 and "new: 4 classes x 8 examples" in out and "UNREADABLE" in out
    assert err.count("\n") == 1 and "which has 4; lower n_way" in err


def test_data_check_of_one_task_names_what_to_look_at(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{i % 7},{i % 5},{'xy'[i % 2]}" for i in range(35)]
    Path("my.csv").write_text("a,b,label\n" + "\n".join([*rows, "0,0,y", "word,1,x"]) + "\n")
    words = ["data", "check", "--adapt", "dataset=tabular", "dataset.root=my.csv", "model=mlp"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(words) == 1
    out, err = capsys.readouterr()
    assert "1 could not be read and left out: my.csv row 38" in err
    assert "my.csv row 2 is x and my.csv row 37 is y" in out and "UNREADABLE my.csv row 38" in out
    Path("my.csv").write_text(
        "a,b,label\n" + "".join(f"{i * i % 37},{i},{'xy'[i % 2]}\n" for i in range(35, 0, -1))
    )
    monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_found"] == 0
    assert main(["data", "check", "--adapt", "dataset=glyphs"]) == 2
    assert "is not data of your own" in capsys.readouterr().err
