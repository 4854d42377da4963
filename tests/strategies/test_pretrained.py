"""Every strategy over a pretrained encoder of text, trainable and frozen: it learns, or says why not."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from coldstart_cli.config import composition
from coldstart_cli.errors import RequestError
from coldstart_cli.tracing.replays import as_written
from tests.kit.places import STRATEGIES, skip_without_package

REFUSED = r"^(strategy|model)[.:].*\b(frozen|weights?)\b.*; "  # over features there are no weights to change
LACKS = r"feature maps of convolutions|running batch statistics|language head|text tower"  # BERT has none
SMALL = ["model.embedding_dim=8", "model.hidden=8"]  # a student must be smaller than its teacher
Make = Callable[..., Any]


def on(model: str, folder: Path | str, name: str) -> list[str]:
    """Overrides that put a strategy, and the teacher it may have, on a pretrained model."""
    chosen = [f"strategy={name}", f"model={model}", f"model.path={folder}"]
    ((_, config),) = composition.points([f"strategy={name}"])
    if "teacher" in config["strategy"]:
        chosen += [f"model@strategy.teacher={model}", f"strategy.teacher.path={folder}"]
    return chosen


@pytest.mark.filterwarnings("ignore:strategy.inner_lr.*hardly adapt:RuntimeWarning")
@pytest.mark.parametrize("model", ["hf_text", "hf_text_frozen"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategy_serves_a_pretrained_encoder_or_says_why_not(
    text_experiment: Make, tiny_bert: Path, name: str, model: str
) -> None:
    skip_without_package(name)
    overrides = on(model, tiny_bert, name)
    try:
        made = text_experiment(*overrides)
    except RequestError as error:
        lacks = re.search(LACKS, str(error))
        assert lacks or (model == "hf_text_frozen" and re.search(REFUSED, str(error))), error
        return
    strategy = made.strategy.train()
    with as_written():
        steps = list(islice(strategy.fit(made.source), 2))
    assert bool(steps) == strategy.learns_from_source
    can_learn = any(parameter.requires_grad for parameter in strategy.parameters())
    trains = can_learn and made.config["strategy"].get("source_training", True)
    assert strategy.learns_from_source == (trains or strategy.searches_source)
    task = made.source.tasks("new", [0])[0]
    for adapted in islice(strategy.eval().adapt(task.support), 2):
        with torch.no_grad():
            outputs = adapted.module(task.query.inputs)
        assert outputs.shape == (9, 3)
        assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("name", ["linear_probe", "finetune", "lora", "maml_lora"])
def test_adapting_a_random_transformer_lowers_the_loss_on_the_support_set(
    text_experiment: Make, tiny_bert: Path, name: str
) -> None:
    rate = "inner_lr" if name == "maml_lora" else "lr"
    made = text_experiment(*on("hf_text", tiny_bert, name), f"strategy.{rate}=0.1")
    task = made.source.tasks("new", [0])[0]
    losses = []
    for adapted in islice(made.strategy.eval().adapt(task.support), 6):
        with torch.no_grad():
            outputs = adapted.module(task.support.inputs)
        losses.append(float(task.support.objective.loss(outputs, task.support.targets)))
    assert losses[-1] < losses[0]


def test_lora_without_source_training_starts_from_the_pretrained_weights(
    text_experiment: Make, tiny_bert: Path
) -> None:
    made = text_experiment(*on("hf_text", tiny_bert, "lora"), "strategy.source_training=false")
    strategy, task = made.strategy, made.source.tasks("new", [0])[0]
    assert not strategy.learns_from_source and list(strategy.fit(made.source)) == []
    items = list(islice(strategy.adapt(task.support), 3))
    with torch.no_grad():
        assert not items[0].module(task.query.inputs).any()  # a new head
        assert items[-1].module(task.query.inputs).any()


def test_teacher_that_reads_other_tokens_is_refused(text_experiment: Make, tiny_bert: Path) -> None:
    student = ["strategy=distillation", "model=embedding_bag", f"model.path={tiny_bert}", *SMALL]
    teacher = ["model@strategy.teacher=hf_text", f"strategy.teacher.path={tiny_bert}"]
    with pytest.raises(
        RequestError, match=r"^strategy\.teacher: reads tokens-\w+-32, the run's model tokens-"
    ):
        text_experiment(*student, *teacher, "strategy.teacher.preprocess.max_length=32")
    made = text_experiment(*student, *teacher)
    assert made.strategy.teacher.encoder.feature_dim == 16


def test_transformer_teaches_a_bag_of_words_over_an_unlabelled_pool(
    text_experiment: Make, tiny_bert: Path
) -> None:
    made = text_experiment(
        "strategy=distill_unlabelled",
        "model=embedding_bag",
        f"model.path={tiny_bert}",
        *SMALL,
        "model@strategy.teacher=hf_text",
        f"strategy.teacher.path={tiny_bert}",
        "strategy.teacher.frozen=true",
        "strategy.batch_size=16",
        "training.steps=8",
    )
    strategy = made.strategy.train()
    kinds = {next(iter(metrics)) for metrics in islice(strategy.fit(made.source), 8)}
    assert kinds == {"teacher_loss", "loss"}
    assert not any("teacher.encoder.body" in name for name in strategy.state_dict())
    task = made.source.tasks("new", [0])[0]
    distances = [a.notes["distance"] for a in islice(strategy.eval().adapt(task.support), 1, 12)]
    assert distances[-1] < distances[0]


def test_checkpoint_of_maml_lora_holds_no_pretrained_weights(text_experiment: Make, tiny_bert: Path) -> None:
    overrides = on("hf_text", tiny_bert, "maml_lora")
    made = text_experiment(*overrides)
    list(islice(made.strategy.fit(made.source), 2))
    state = made.strategy.state_dict()
    assert sum(t.numel() for n, t in state.items() if "encoder" in n and "lora" not in n) == 32  # a digest
    saved = io.BytesIO()
    torch.save(state, saved)
    saved.seek(0)
    again = text_experiment(*overrides).strategy
    again.load_state_dict(torch.load(saved, weights_only=True))
    task = made.source.tasks("new", [0])[0]
    with torch.no_grad():
        one, two = (
            next(s.eval().adapt(task.support)).module(task.query.inputs) for s in (made.strategy, again)
        )
    assert torch.equal(one, two)


def test_vmap_over_a_transformer_is_refused(text_experiment: Make, tiny_bert: Path) -> None:
    with pytest.raises(RequestError, match=r"^hardware\.vectorize: .*; choose auto or loop"):
        text_experiment(*on("hf_text", tiny_bert, "maml"), "hardware.vectorize=vmap")
    assert not text_experiment(*on("hf_text", tiny_bert, "maml")).vectorize
    assert text_experiment(*on("hf_text_frozen", tiny_bert, "maml")).vectorize
