"""The alignment model by hand: whom it attends to, what evidence is worth, where the unlabelled go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from coldstart_cli.models.alignment import ROUNDS, AlignmentModel, Seen, gate, refined

Array = NDArray[np.float64]


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(values: Array) -> Array:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def model_and_seen() -> tuple[AlignmentModel, Seen]:
    model = AlignmentModel(4.0).double()
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.copy_(0.1 * drawn(*weight.shape, seed=i))
    opened = torch.ones(3, 5, dtype=torch.bool)
    opened[0, 2] = False
    normal = torch.nn.functional.normalize
    return model, Seen(
        means=drawn(3, 4, seed=10),
        counts=torch.tensor([1, 3, 2]),
        known=drawn(5, 4, seed=11),
        open=opened,
        names=normal(drawn(3, 4, seed=12), dim=-1),
        known_names=normal(drawn(5, 4, seed=13), dim=-1),
        unlabelled=normal(drawn(7, 4, seed=14), dim=-1),
        weights=torch.linspace(0, 1, 7, dtype=torch.float64),
    )


def softened(z: Array) -> Array:
    return np.asarray(np.clip(1.2 / (1 + np.exp(-z)) - 0.1, 0, 1))


def test_alignment_model_equals_numpy() -> None:
    model, seen = model_and_seen()
    with torch.no_grad():
        said = model(seen, ("source", "names", "unlabelled"))
    s = np.exp(10 * model.log_scales.detach().numpy())
    m, p, e = seen.means.numpy(), seen.known.numpy(), seen.names.numpy()  # type: ignore[union-attr]
    names, x, w = seen.known_names.numpy(), seen.unlabelled.numpy(), seen.weights.numpy()  # type: ignore[union-attr]
    sums, attention = [], []
    for c in range(3):
        scores = np.array([s[0] * unit(m)[c] @ unit(p)[j] + s[1] * e[c] @ names[j] for j in range(5)])
        a = np.exp(scores) * seen.open[c].numpy()
        a = a / a.sum()
        v = unit(a @ p)
        read = 10 * model.source.detach().numpy() @ [1, a.max(), v @ unit(m)[c]]
        cosine = e[c] @ unit(m)[c]
        margin = cosine - max(e[c] @ unit(m)[other] for other in range(3) if other != c)
        of_name = 10 * model.names.detach().numpy() @ [1, margin, cosine]
        sums.append(seen.counts[c].item() * m[c] + 4 * softened(read) * v + 4 * softened(of_name) * e[c])
        attention.append(a)
        np.testing.assert_allclose(said.worth["source"][c], 4 * softened(read), rtol=1e-9)
        np.testing.assert_allclose(said.worth["names"][c], 4 * softened(of_name), rtol=1e-9)
    np.testing.assert_allclose(said.attention, attention, atol=1e-12)
    total = np.array(sums)
    each, moved, prior = softened(10 * model.unlabelled.detach().numpy())[0], total, np.full(3, 1 / 3)
    for _ in range(ROUNDS):
        r = prior * np.exp(s[2] * x @ unit(moved).T)
        r = r / r.sum(1, keepdims=True)
        prior = (1 + (w[:, None] * r).sum(0)) / (3 + w.sum())
        moved = total + each * (w[:, None] * r).T @ x
    np.testing.assert_allclose(said.points, unit(moved), rtol=1e-8)
    np.testing.assert_allclose(said.soft, r, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(float(said.scale), s[3])


def test_gate_reaches_both_ends_and_is_a_half_in_the_middle() -> None:
    z = torch.tensor([-9.0, 0.0, 9.0])
    assert gate(z).tolist() == [0.0, 0.5, 1.0]


def test_evidence_that_a_task_lacks_moves_nothing() -> None:
    model, seen = model_and_seen()
    bare = replace(seen, names=None, unlabelled=None)
    said = model(bare, ("names", "unlabelled"))
    assert said.worth == {} and said.soft is None
    torch.testing.assert_close(said.points, torch.nn.functional.normalize(seen.means, dim=-1))


def test_class_with_nothing_to_attend_to_gets_nothing_from_the_source() -> None:
    model, seen = model_and_seen()
    closed = replace(seen, open=torch.zeros(3, 5, dtype=torch.bool), names=None)
    said = model(closed, ("source",))
    assert not said.attention.any()
    torch.testing.assert_close(said.points, torch.nn.functional.normalize(seen.means, dim=-1))


def test_refined_finds_unequal_classes_that_a_uniform_prior_would_split() -> None:
    directions = torch.nn.functional.normalize(drawn(2, 8, seed=0), dim=-1)
    which = torch.tensor([0] * 57 + [1] * 3)
    unlabelled = torch.nn.functional.normalize(directions[which] + 0.1 * drawn(60, 8, seed=1), dim=-1)
    total = directions + 0.2 * drawn(2, 8, seed=2)
    _, soft = refined(total, unlabelled, None, each=1.0, scale=10.0, rounds=20)
    assert abs(float(soft[:, 1].sum()) - 3) < 2
    assert (soft.argmax(1) == which).double().mean() > 0.95
