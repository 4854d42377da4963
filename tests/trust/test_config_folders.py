"""S11: a stranger's folder of configs makes Hydra run nothing, import nothing and write nothing."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest
import yaml

from coldstart_cli.config import composition, untrusted
from tests.kit.reliability import Tries
from tests.trust.conftest import TRAINED, Stage, said

SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


def handler(**words: object) -> str:
    """A `hydra` node whose logging has one handler."""
    node = {"version": 1, "handlers": {"h": words}, "root": {"handlers": ["h"], "level": "DEBUG"}}
    return yaml.safe_dump({"job_logging": node})


def formatter(**words: object) -> str:
    handlers = {"h": {"class": "logging.StreamHandler", "formatter": "f"}}
    node = {"version": 1, "formatters": {"f": words}, "handlers": handlers, "root": {"handlers": ["h"]}}
    return yaml.safe_dump({"hydra_logging": node})


# what a `hydra` node of an experiment holds
NODES = [
    handler(**{"class": "logging.FileHandler", "filename": "{mark}"}),
    handler(**{"class": "logging.handlers.RotatingFileHandler", "filename": "{mark}"}),
    handler(**{"class": "logging.handlers.WatchedFileHandler", "filename": "{mark}"}),
    handler(**{"class": "logging.handlers.SocketHandler", "host": "127.0.0.1", "port": 9}),
    handler(**{"class": "logging.handlers.SMTPHandler", "mailhost": "x", "fromaddr": "x", "toaddrs": "x"}),
    handler(**{"class": "logging.os.system"}),
    handler(**{"()": "logging.os.system", "command": "touch {mark}"}),
    handler(**{"()": "logging.shutil.copy", "src": "points.npz", "dst": "{mark}"}),
    handler(**{"()": "logging.config.logging.os.mkdir", "path": "{mark}"}),
    handler(**{"()": "hydra.utils.get_method", "path": "evil.mark"}),
    handler(**{"()": "colorlog.formatter.os.mkdir", "path": "{mark}"}),
    handler(**{"()": "ext://evil.mark"}),
    handler(**{"class": "evil.Thing"}),
    handler(**{"class": "loggingevil.Thing"}),
    handler(**{"class": "logging.StreamHandler", "stream": "ext://evil.stream"}),
    handler(**{"class": "logging.StreamHandler", "stream": "cfg://handlers.h.x", "x": {"()": "evil.mark"}}),
    handler(**{"class": "${outputs}"}),
    handler(**{"class": "logging.StreamHandler", "stream": "${outputs}"}),
    handler(**{"class": "logging.StreamHandler", "filters": [{"()": "evil.mark"}]}),
    formatter(**{"()": "evil.mark"}),
    formatter(**{"class": "evil.Thing"}),
    formatter(**{"()": "logging.FileHandler", "filename": "{mark}"}),
    yaml.safe_dump({"callbacks": {"x": {"_target_": "evil.Thing"}}}),
    yaml.safe_dump({"launcher": {"_target_": "evil.Thing"}}),
    yaml.safe_dump({"launcher": {"_target_": "hydra.utils.call", "config": {"_target_": "evil.mark"}}}),
    yaml.safe_dump({"sweeper": {"_target_": "hydra.utils.get_class", "path": "evil.Thing"}}),
    yaml.safe_dump({"sweeper": {"_target_": "hydra_plugins_evil.Thing"}}),
    yaml.safe_dump({"sweeper": {"sampler": {"_target_": "hydra.utils.get_method", "path": "evil.mark"}}}),
    yaml.safe_dump({"output_subdir": "mark", "run": {"dir": "{folder}"}}),
    yaml.safe_dump({"sweep": {"dir": "{mark}"}, "output_subdir": "x"}),
    yaml.safe_dump({"run": {"dir": "{mark}"}}),
    yaml.safe_dump({"job": {"chdir": True}, "run": {"dir": "{mark}"}}),
    yaml.safe_dump({"job": {"env_set": {"LD_PRELOAD": "x"}}}),
    yaml.safe_dump({"job": {"name": "../../mark"}}),
    yaml.safe_dump({"verbose": True}),
]
# launchers of a folder, each chosen on the command line
LAUNCHERS = [
    {"_target_": LOCAL, "submitit_folder": "{mark}", "timeout_min": 1},
    {"_target_": SLURM, "setup": ["touch {mark}"]},
    {"_target_": SLURM, "additional_parameters": {"wrap": "touch {mark}"}},
    {"_target_": SLURM, "partition": "x; touch {mark}"},
    {"_target_": BASIC, "x": {"_target_": "evil.Thing"}},
    {"_target_": BASIC, "_args_": [1]},
    {"_target_": "evil.Thing"},
]


def experiment(folder: Path, hydra: str) -> None:
    (folder / "cd" / "experiment").mkdir(parents=True)
    text = "".join(f"  {line}\n" for line in hydra.splitlines())
    (folder / "cd" / "experiment" / "theirs.yaml").write_text(
        f"# @package _global_\ndefaults: [smoke]\nhydra:\n{text}"
    )


def armed(stage: Stage, text: str) -> str:
    return text.replace("{mark}", str(stage.mark)).replace("{folder}", str(stage.mark.parent))


REST = [o for o in TRAINED if not o.startswith("experiment=")]
WAYS = [
    ("train", *REST, "experiment=theirs", "--config-dir", "cd", "--cfg", "job"),
    ("train", *REST, "experiment=theirs", "--config-dir", "cd", "-m", "seed=0,1", "hydra/launcher=basic"),
    ("train", *REST, "experiment=theirs,smoke", "--config-dir", "cd", "-m", "hydra/launcher=basic"),
    ("train", *REST, "experiment=theirs", "--config-dir", "cd"),
]  # fmt: skip


@contextlib.contextmanager
def logging_kept() -> object:  # type: ignore[misc]
    """What a test of logging changes is put back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for added in set(root.handlers) - set(handlers):
        added.close()
    root.handlers[:], root.level = handlers, level


@pytest.mark.fault("S11")
def test_a_folder_of_configs_runs_and_writes_nothing(stage: Stage, tries: Tries) -> None:
    cases = [(node, WAYS[i % len(WAYS)]) for i, node in enumerate(NODES)]
    for i in tries.of(len(cases) // 2, len(cases)):
        node, way = cases[i if tries.full else (3 * i) % len(cases)]
        experiment(stage.folder, armed(stage, node))
        before = {path for path in stage.mark.parent.rglob("*") if "__pycache__" not in path.parts}
        with logging_kept():  # type: ignore[attr-defined]
            ended = said(*way)
        after = {path for path in stage.mark.parent.rglob("*") if "__pycache__" not in path.parts}
        if ended.wrong or after != before or "hydra." not in ended.err:
            new = sorted(map(str, after - before))
            tries.failures.append(f"{node!r} by {way[-2:]}: {new} {ended}")
        if stage.mark.exists():
            stage.mark.rmdir() if stage.mark.is_dir() else stage.mark.unlink()
        stage.fresh()


@pytest.mark.fault("S11")
@pytest.mark.parametrize("i", range(len(LAUNCHERS)))
def test_a_launcher_of_a_folder_reaches_no_shell(stage: Stage, tries: Tries, i: int) -> None:
    (stage.folder / "cd" / "hydra" / "launcher").mkdir(parents=True)
    text = armed(stage, yaml.safe_dump(LAUNCHERS[i]))
    (stage.folder / "cd" / "hydra" / "launcher" / "theirs.yaml").write_text(text)
    tries.of(1, 1)
    ended = said("train", *TRAINED, "-m", "seed=0,1", "hydra/launcher=theirs", "--config-dir", "cd")
    if ended.wrong or stage.mark.exists():
        tries.failures.append(f"{LAUNCHERS[i]}: ran={stage.mark.exists()} {ended.wrong}")


def test_a_launcher_of_a_folder_may_ask_for_a_machine(stage: Stage) -> None:
    (stage.folder / "cd" / "hydra" / "launcher").mkdir(parents=True)
    text = "defaults: [submitit_slurm]\npartition: gpu\ngpus_per_node: 1\nmem_per_gpu: 8G\n"
    (stage.folder / "cd" / "hydra" / "launcher" / "ours.yaml").write_text(text)
    command = ["train", *TRAINED, "-m", "hydra/launcher=ours", "--config-dir", "cd", "--cfg", "hydra"]
    ended = said(*command, "hydra.launcher.setup=[module load cuda]")  # typed, so it is meant
    assert ended.code == 0, ended.err
    assert "partition: gpu" in ended.out and "module load cuda" in ended.out


def test_a_search_path_is_not_typed(stage: Stage) -> None:
    """Its folders would not be looked into."""
    for place in ("file://cd", "pkg://evil"):
        ended = said("train", *TRAINED, f"hydra.searchpath=[{place}]", "--cfg", "job")
        assert ended.wrong is None
        assert "--config-dir" in ended.err


def test_a_file_handler_would_write_without_the_guard(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "HANDLERS", ("logging.FileHandler",))
    monkeypatch.setattr(composition, "check_changed_hydra", lambda *args: None)
    experiment(stage.folder, armed(stage, NODES[0]))
    with logging_kept():  # type: ignore[attr-defined]
        ended = said(*WAYS[1])
    assert stage.mark.exists(), ended
