"""The prompt encoder: vectors by plain arithmetic, scores by transformers, ablations and steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from coldstart_cli.models.language.label_likelihood import rows
from tests.models.language.test_causal_lm import of_transformers
from tests.strategies.transfer.test_prompt_tuning import support_of, trial, whole

pytestmark = pytest.mark.usefixtures("torch_settings")


def moved(made: Any) -> Any:
    """The strategy with every number of its generator somewhere else, so that nothing is zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.strategy.generator.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.strategy


def test_vectors_are_those_of_the_formula() -> None:
    made = trial("prompt_encoder", n_vectors=2)
    strategy, support = moved(made), support_of(made)
    lm, generator = strategy.lm, strategy.generator
    with torch.no_grad():
        x, e = lm(support.inputs).double().numpy(), lm(support.names).double().numpy()
        found = strategy._generated(support, support).numpy()
    y = support.targets.numpy()
    means = np.stack([x[y == c].mean(0) for c in range(3)])
    within = sum(((x[y == c] - means[c]) ** 2).sum(0) for c in range(3)) / (len(y) - 3)
    read = np.concatenate([np.log(within + 1e-4), np.log(means.var(0, ddof=1) + 1e-4)])

    def network(layers: Any, values: Any) -> Any:
        for layer in layers:
            weights = getattr(layer, "weight", None)
            values = (
                np.maximum(values, 0)
                if weights is None
                else values @ weights.detach().double().numpy().T + layer.bias.detach().double().numpy()
            )
        return values

    def unlike(rows: Any) -> Any:
        d = rows - rows.mean(0)
        return (d - d.mean(1, keepdims=True)) / np.sqrt(d.var(1, keepdims=True) + 1e-5)

    task = network(generator.set_encoder, read)
    pieces = lm.embedded(torch.cat([lm.piece("before"), lm.piece("between")])).double().numpy()
    for c in range(3):
        told = np.concatenate([task, unlike(means)[c], unlike(e)[c]])
        said = network(generator.decoder, told).reshape(2, 16)
        expected = generator.vectors.detach().numpy() + pieces.std(ddof=1) * said
        np.testing.assert_allclose(found[c], expected, rtol=1e-3, atol=1e-4)


def test_scores_are_transformers_own_after_the_generated_prompt() -> None:
    made = trial("prompt_encoder")
    strategy, support = moved(made), support_of(made)
    lm, theirs = strategy.lm, of_transformers(strategy.lm.path)
    table, labels = theirs.get_input_embeddings(), rows(support.names)  # type: ignore[arg-type]
    with torch.no_grad():
        vectors = strategy._generated(support, support)
        found = next(strategy.adapt(support)).module(support.inputs)
        words = [torch.cat([lm.piece("between"), w, lm.piece("after")]) for w in labels]
        prompt = torch.cat([torch.cat([v, table(w)]) for v, w in zip(vectors, words, strict=True)])
        for i, text in enumerate(rows(support.inputs)):
            for c, label in enumerate(labels):
                ids, n = whole(lm, text, label)
                said = theirs(inputs_embeds=torch.cat([prompt, table(ids)])[None]).logits[0, len(prompt) :]
                logs = said.log_softmax(-1)
                expected = sum(float(logs[n - 1 + j, token]) for j, token in enumerate(label))
                assert float(found[i, c]) == pytest.approx(expected, abs=5e-4)


def first(adaptation: Iterator[Any], inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        outputs: torch.Tensor = next(adaptation).module(inputs)
    return outputs


def test_ablations_take_another_tasks_vectors_or_none() -> None:
    made = trial("prompt_encoder")
    strategy, support, other = moved(made), support_of(made), support_of(made, 1)
    found = strategy.ablations(support, other)
    assert set(found) == {"swap", "off", "names of another class", "names off"}
    own = first(strategy.adapt(support), support.inputs)
    swapped, off = (first(found[name], support.inputs) for name in ("swap", "off"))
    assert not torch.allclose(own, swapped, atol=1e-3)
    assert not torch.allclose(own, off, atol=1e-3)
    # Of one's own set, a swap changes nothing.
    again = first(strategy.ablations(support, support)["swap"], support.inputs)
    torch.testing.assert_close(own, again)


def test_steps_from_the_generated_prompt_are_as_many_as_asked_and_lower_the_loss() -> None:
    made = trial("prompt_encoder", inner_steps=5, lr=0.05, support_batch_size=None)
    support = support_of(made)
    items = list(islice(moved(made).adapt(support), 9))
    assert len(items) == 6
    with torch.no_grad():
        ends = [support.objective.loss(items[i].module(support.inputs), support.targets) for i in (0, -1)]
    assert ends[1] < ends[0]
    assert len(list(trial("prompt_encoder").strategy.adapt(support))) == 1
