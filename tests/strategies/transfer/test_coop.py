"""CoOp against transformers' own text tower and torch's Adam; at step 0 zero-shot by the same words."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from coldstart_cli.errors import RequestError
from coldstart_cli.models.language.label_likelihood import rows
from coldstart_cli.models.mlp import MLP
from coldstart_cli.models.pretrained.hf import imported
from coldstart_cli.strategies.transfer.coop import CoOp
from coldstart_cli.testing.trial import Trial

pytestmark = pytest.mark.usefixtures("torch_settings")
B = 2  # tokens of "w50 w51", before names in the captions of a trial


def trial(name: str = "coop", **settings: Any) -> Any:
    pytest.importorskip("transformers", reason="needs the extra hf")
    return Trial(name).experiment(strategy=settings)


def task_of(made: Any) -> Any:
    return made.source.tasks("new", [0])[0]


def said(made: Any, support: Any, inputs: Tensor, step: int = 0) -> Tensor:
    *_, item = islice(made.strategy.adapt(support), step + 1)
    with torch.no_grad():
        outputs: Tensor = item.module(inputs)
    return outputs


def of_transformers(made: Any) -> Any:
    return imported().CLIPModel.from_pretrained(made.config["model"]["path"]).eval().requires_grad_(False)


def by_their_tower(theirs: Any, context: Tensor, names: list[Tensor]) -> Tensor:
    """(C, d) features of captions built by hand: [CLS], the context, the words of a name, [SEP]."""
    tokens = theirs.text_model.embeddings.token_embedding
    found = []
    for caption in names:
        words = torch.cat([caption[:1], caption[1 + B :]])
        table = tokens.weight[words]
        built = torch.cat([table[:1], context, table[1:]]).unsqueeze(0)
        hook = tokens.register_forward_hook(lambda module, inputs, output, built=built: built)
        hidden = theirs.text_model(
            input_ids=torch.zeros(built.shape[:2], dtype=torch.int64)
        ).last_hidden_state
        hook.remove()
        found.append(theirs.text_projection(hidden[0, -1]))
    return torch.stack(found)


@pytest.mark.parametrize(("start", "n_context"), [("words", None), ("words", 5), ("random", 3)])
def test_steps_are_torchs_adam_through_transformers_own_tower(start: str, n_context: int | None) -> None:
    made = trial(start=start, n_context=n_context, lr=0.05, temperature=0.1)
    task, theirs = task_of(made), of_transformers(made)
    support, names = task.support, rows(task.support.names)
    with torch.no_grad():
        features, queries = (
            F.normalize(theirs.visual_projection(theirs.vision_model(pixels).pooler_output))
            for pixels in ((x.float() / 255 - 0.5) / 0.25 for x in (support.inputs, task.query.inputs))
        )
    context = next(made.strategy.adapt(support)).changed["context"].clone().requires_grad_()
    assert context.shape == (n_context or B, 16)
    optimizer = torch.optim.Adam([context], 0.05)

    def logits(x: Tensor) -> Tensor:
        return x @ F.normalize(by_their_tower(theirs, context, names)).T / 0.1

    for step in range(3):
        found, expected = said(made, support, task.query.inputs, step), logits(queries).detach()
        # of cosines less one
        torch.testing.assert_close(found + 10, expected, rtol=1e-3, atol=1e-3)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits(features), support.targets))
        optimizer.step()


def test_step_0_is_zero_shot_with_the_words_it_starts_from() -> None:
    made, names = trial(temperature=0.01), Trial("name_centroid", overrides=_like_coop())
    task, other = task_of(made), names.experiment(strategy={"temperature": 0.01})
    unlabelled = replace(task.support, inputs=task.support.inputs[:0], targets=task.support.targets[:0])
    found = said(made, unlabelled, task.query.inputs)
    assert len(list(made.strategy.adapt(unlabelled))) == 1
    theirs = said(other, unlabelled, task.query.inputs)
    torch.testing.assert_close(found.softmax(1), theirs.softmax(1), rtol=1e-3, atol=1e-4)


def _like_coop() -> list[str]:
    config = Trial("coop")._config
    model, dataset = config["model"], config["dataset"]
    before = f"model.preprocess.before='{model['preprocess']['before']}'"
    read = ["dataset=image_folder", f"dataset.root={dataset['root']}", "dataset.n_way=3"]
    return ["model=clip", f"model.path={model['path']}", before, *read]


def test_steps_lower_the_loss_and_move_nothing_but_the_vectors() -> None:
    made = trial(lr=0.05, temperature=0.1)
    support = task_of(made).support
    before = {name: t.clone() for name, t in made.strategy.named_buffers()}
    losses = [
        float(support.objective.loss(said(made, support, support.inputs, step), support.targets))
        for step in (0, 5, 20)
    ]
    assert losses[2] < losses[1] < losses[0] and losses[2] < 0.7 * losses[0]
    assert all(torch.equal(t, before[name]) for name, t in made.strategy.named_buffers())
    assert list(made.strategy.parameters()) == [] and not made.strategy.learns_from_source


def test_words_of_a_caption_are_repeated_or_cut_and_chance_is_the_tasks_own() -> None:
    made = trial(n_context=5)
    assert isinstance(made.strategy, CoOp)
    encoder = made.strategy.encoder
    torch.testing.assert_close(made.strategy._context(0), encoder.embedded(encoder.before[[0, 1, 0, 1, 0]]))
    random = trial(start="random", n_context=9).strategy
    one, two = random._context(1), random._context(2)
    assert torch.equal(one, random._context(1)) and not torch.equal(one, two)
    assert float(torch.cat([one, two]).std()) == pytest.approx(0.02, rel=0.15)


def test_what_cannot_be_served_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^model: it has no text tower, .*; choose model=clip$"):
        CoOp(MLP((3,), hidden=[4], activation="relu"), start="words", n_context=None, temperature=1.0, lr=0.1)
    with pytest.raises(
        RequestError, match=r"^strategy: n_context: 40 vectors and 5 tokens .*; give 19 at most"
    ):
        trial(n_context=40)
    model = Trial("coop")._config["model"]
    bare = {**model, "preprocess": {**model["preprocess"], "before": ""}}
    for settings in ({}, {"start": "random"}):
        with pytest.raises(RequestError, match=r"start: captions say nothing before the name; write words"):
            Trial("coop").experiment(model=bare, strategy=settings)
    made: Any = Trial("coop").experiment(model=bare, strategy={"start": "random", "n_context": 4})
    assert made.strategy.refusal(made.source) is None
    made.source.named = False
    assert str(made.strategy.refusal(made.source)).startswith("it learns what stands before the names of")
    whole = trial()
    whole.strategy.encoder.before = whole.strategy.encoder.before + 1
    assert "has other tokens where a name follows; write" in str(whole.strategy.refusal(whole.source))


def test_ablations_exchange_names() -> None:
    made = trial()
    task, other = task_of(made), made.source.tasks("new", [1])[0].support
    found = made.strategy.ablations(task.support, other)
    assert set(found) == {"names of another class", "names off"}
    with torch.no_grad():
        rolled = next(iter(found["names of another class"])).module(task.query.inputs)
    own = said(made, task.support, task.query.inputs)
    torch.testing.assert_close(rolled, own.roll(1, 1))
