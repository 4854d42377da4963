"""The alignment model by hand: whom it attends to, how far it is trusted."""

from __future__ import annotations

import numpy as np
import torch

from coldstart_cli.models.alignment import AlignmentModel


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_alignment_model_equals_numpy() -> None:
    model = AlignmentModel(3).double()
    with torch.no_grad():
        for i, weight in enumerate(model.parameters()):
            weight.copy_(0.5 * drawn(*weight.shape, seed=i))
    source, target, known = drawn(2, 3, seed=20), drawn(2, 3, seed=21), drawn(4, 3, seed=22)
    counts, hidden = torch.tensor([1, 3]), torch.zeros(2, 4, dtype=torch.bool)
    hidden[0, 2] = True
    said = model(source, target, counts, known, hidden)
    q, k, v = (m.weight.detach().numpy() for m in (model.query, model.key, model.value))
    centre = known.numpy().mean(0)
    for c in range(2):
        query = q @ np.concatenate([source[c].numpy() - centre, target[c].numpy() - centre])
        keys = [k @ (p - centre) for p in known.numpy()]
        cosines = [query @ key / np.linalg.norm(query) / np.linalg.norm(key) for key in keys]
        scores = np.exp(np.exp(float(model.log_scale.detach())) * np.array(cosines))
        scores[hidden[c].numpy()] = 0
        attention = scores / scores.sum()
        point = v @ (attention @ known.numpy())
        t = target[c].numpy()
        read = np.array([attention.max(), point @ t / np.linalg.norm(point) / np.linalg.norm(t)])
        tau = np.exp(float(model.trust.weight.detach().numpy()[0] @ read) + float(model.trust.bias.detach()))
        np.testing.assert_allclose(said.attention[c].detach(), attention, rtol=1e-6)
        np.testing.assert_allclose(said.points[c].detach(), point, rtol=1e-6)
        np.testing.assert_allclose(float(said.beta[c].detach()), tau / (tau + float(counts[c])), rtol=1e-6)
