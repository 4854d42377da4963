"""R20: what is another thing by its content is noticed, whatever its name and place say."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from coldstart_cli.bundles.bundle import Bundle
from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from coldstart_cli.runs.places import run_directories
from tests.kit.bundles import as_format_1, edit
from tests.kit.reliability import Tries

HARDWARE = ("hardware=cpu", "hardware.threads=1", "experiment=smoke")
SHORT = (
    *HARDWARE, "training.steps=2", "evaluation.n_tasks=2", "evaluation.n_selection_tasks=2", "baseline=null",
    "evaluation.timed_seconds=0.01", "logger=[]",
)  # fmt: skip
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, torch_settings: None) -> None:
    """Each command as in a process of its own, with nothing known of files read before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLDSTART_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    def call(*argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr("coldstart_cli.experiment.parts._sources", {})
        monkeypatch.setattr("coldstart_cli.experiment.parts._preprocesses", {})
        capsys.readouterr()
        code = main(list(argv))
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def model(tiny_bert: Path) -> Path:
    """A pretrained model at `model`, which a test may replace by `other`, of other weights."""
    shutil.copytree(tiny_bert, "model")
    shutil.copytree(tiny_bert, "other")
    weights = load_file("other/model.safetensors")
    save_file({name: t * 1.5 for name, t in weights.items()}, "other/model.safetensors", {"format": "pt"})
    rows = [f"w{8 * c + i} w{8 * c + (i + 1) % 8},c{c}" for c in range(6) for i in range(8)]
    Path("source.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    Path("texts.csv").write_text("\n".join(["text,label", *rows[:16]]) + "\n")
    return Path("model")


def replace_model(by: str = "other") -> None:
    shutil.rmtree("model")
    shutil.copytree(by, "model")


def adapt(say: Say, kind: str, *more: str, steps: int = 1) -> None:
    code, _, err = say(
        "adapt", f"model={kind}", "model.path=model", *HARDWARE, "dataset=text", "dataset.root=texts.csv",
        "bundle=b", f"steps={steps}", *more,
    )  # fmt: skip
    assert code == 0, err


FAMILIES = [
    ("hf_text_frozen", "strategy=nearest_centroid"),  # a preprocess reads the weights
    ("hf_text", "strategy=lora"),  # the strategy changes some of them
    ("hf_text", "strategy=nearest_centroid", "model.frozen=true"),  # constants of the encoder
]


@pytest.mark.fault("R20")
@pytest.mark.parametrize("family", FAMILIES, ids=["features", "adapted", "constant"])
def test_a_bundle_notices_other_weights_at_its_model_path(
    say: Say, model: Path, tries: Tries, family: tuple[str, ...]
) -> None:
    adapt(say, *family)
    predict = ("predict", "bundle=b", "input=texts.csv")
    assert say(*predict)[0] == 0
    (model / "README.md").write_text("a file that nobody reads")
    assert say(*predict)[0] == 0
    replace_model()
    code, out, err = say(*predict)
    tries.n += 1
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("bundle: b was made with other files than those at model; ")
    adapt(say, *family, "overwrite=true")  # over the others: it is theirs now
    assert say(*predict)[0] == 0


@pytest.mark.fault("R20")
def test_a_bundle_with_a_copy_of_its_base_needs_no_model_and_takes_the_newer_base(
    say: Say, model: Path, tries: Tries
) -> None:
    answers = []
    for by in ("other", "model"):
        if by == "other":
            shutil.copytree("model", "first")
            replace_model()
        else:
            replace_model("first")
        adapt(say, *FAMILIES[0], "copy_base=true", "overwrite=true")
        answers.append(say("predict", "bundle=b", "input=texts.csv", "--json")[1])
    assert len(list(Path("b").glob("base*"))) == 1
    shutil.rmtree("model")
    loaded = Bundle.load("b")
    shutil.move("b", "moved")
    assert loaded.predict(["w1 w2"]).labels  # its base was read at once: another bundle may take its place
    tries.n += 1
    assert say("predict", "bundle=moved", "input=texts.csv", "--json")[1] == answers[1] != answers[0]


@pytest.mark.fault("R20")
def test_a_bundle_of_before_the_digests_is_taken_with_one_warning(
    say: Say, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapt(say, *FAMILIES[0])
    as_format_1(Path("b"))
    with caplog.at_level(logging.WARNING):
        assert Bundle.load("b").card.files is None
    said = "bundle: b was made by an older coldstart, which kept no digest of the files at model; "
    assert [r.getMessage() for r in caplog.records] == [f"{said}they are taken as they are"]


def train(say: Say, *more: str) -> tuple[int, str, str]:
    return say(
        "train", "model.path=model", *SHORT, "dataset=text", "dataset.root=source.csv", "dataset.n_way=2",
        "dataset.k_shot=1", "dataset.n_query=2", "--quiet", *more,
    )  # fmt: skip


@pytest.mark.fault("R20")
@pytest.mark.parametrize("family", FAMILIES[:2], ids=["features", "adapted"])
def test_a_run_notices_other_weights_at_its_model_path(
    say: Say, model: Path, tries: Tries, family: tuple[str, ...]
) -> None:
    kind, strategy, *rest = family
    words = (f"model={kind}", "strategy=protonet" if kind.endswith("frozen") else strategy, *rest)
    code, out, err = train(say, *words)
    assert code == 0, err
    run = out.strip()
    assert train(say, *words)[:2] == (0, out)
    replace_model()
    commands = [
        ("evaluate", f"run={run}", "evaluation.n_tasks=3"),
        ("adapt", f"run={run}", "dataset=text", "dataset.root=texts.csv", "bundle=b"),
    ]
    for command in commands:
        tries.n += 1
        code, _, err = say(*command)
        if (code, err.count("\n")) != (2, 1) or "was made with other files than those at model" not in err:
            tries.failures.append(f"{command}: {code} {err}")
    tries.n += 1
    code, out, err = train(say, *words)  # features are part of the data, and so of the run's name
    assert (code == 0 and out.strip() != run) if kind.endswith("frozen") else code == 2, err


@pytest.fixture
def sweep(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """A sweep of two runs in `outputs`, as it lists them: by absolute paths."""
    runs = [make_run(name, {1: {"a": 0.5}}, folder=tmp_path / "outputs") for name in ("one", "two")]
    rows = [{"label": run.name, "path": str(run), "state": "done"} for run in runs]
    folder = tmp_path / "outputs" / "sweeps" / "stamp"
    folder.mkdir(parents=True)
    (folder / "runs.json").write_text(json.dumps({"format": 1, "runs": rows}))
    return folder


@pytest.mark.fault("R20")
@pytest.mark.parametrize("original", ["there", "gone"])
def test_a_copied_or_moved_sweep_is_compared_by_its_own_runs(
    sweep: Path, tmp_path: Path, tries: Tries, original: str
) -> None:
    (shutil.copytree if original == "there" else shutil.move)("outputs", "copy")
    tries.n += 1
    found = run_directories([Path("copy", "sweeps", "stamp")], "compare")
    assert sorted(found) == [Path("copy", "one"), Path("copy", "two")]


@pytest.mark.fault("R20")
def test_a_copied_sweep_without_its_runs_says_which_are_read(
    sweep: Path, tmp_path: Path, tries: Tries, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree("outputs", "copy")
    shutil.rmtree("copy/one")
    tries.n += 1
    copied = Path("copy", "sweeps", "stamp")
    assert run_directories([copied], "compare") == [tmp_path / "outputs" / "one", Path("copy", "two")]
    assert f"one is not beside it; the run at {tmp_path / 'outputs'} is read" in caplog.text
    caplog.clear()
    shutil.rmtree("outputs/one")
    assert run_directories([copied], "compare") == [Path("copy", "two")]
    assert "its run one is not there any more and is left out" in caplog.text


@pytest.mark.fault("R20")
def test_a_run_that_was_copied_over_the_name_of_another_is_refused(say: Say, tries: Tries) -> None:
    words = ("strategy=protonet", "dataset=glyphs", "model=mlp", "model.hidden=[4]", *SHORT, "--quiet")
    first, second = (say("train", *words, f"seed={seed}")[1].strip() for seed in (0, 1))
    shutil.rmtree(second)
    shutil.copytree(first, second)
    tries.n += 1
    code, _, err = say("train", *words, "seed=1")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"run: {second} holds another run, {Path(first).name}, copied or renamed; ")
    assert say("train", *words, "seed=0")[1].strip() == first
    moved = shutil.move(first, "elsewhere")  # by a path it is what it is, wherever it lies
    assert say("evaluate", f"run={moved}")[0] == 0
    assert say("train", *words, "seed=1", "again=true")[1].strip() == second


@pytest.mark.fault("R20")
def test_a_card_of_another_bundle_does_not_fit(say: Say, model: Path, tries: Tries) -> None:
    adapt(say, *FAMILIES[1])
    shutil.copytree("b", "a")
    adapt(say, *FAMILIES[1], "overwrite=true", steps=2)
    tries.n += 1
    shutil.copy("a/card.json", "b/card.json")
    with pytest.raises(RequestError, match="is damaged"):
        Bundle.load("b")


def test_pretrained_files_of_a_card_are_checked_for_their_type(say: Say, model: Path) -> None:
    adapt(say, *FAMILIES[0])
    edit(Path("b"), pretrained={"contents": "x", "revision": None})
    with pytest.raises(RequestError, match=r"card\.json is damaged"):
        Bundle.load("b")
