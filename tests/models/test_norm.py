"""Norms against torch's own, and their meta-gradients against finite differences in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from coldstart_cli.models.norm import EPSILON, BatchNorm, GroupNorm, learn_affine_alone, norm_layer

Weights = dict[str, Tensor]
N_TASKS, N_SUPPORT, N_QUERY, WIDTH = 3, 5, 7, 4


class TorchBatchNorm(nn.Module):
    """What the hand-written layer stands in for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, images: Tensor) -> Tensor:
        return F.batch_norm(images, None, None, self.weight, self.bias, True, 0.1, EPSILON)


NORMS: dict[str, Callable[[], nn.Module]] = {
    "group": lambda: norm_layer("group", WIDTH, 2),
    "batch_transductive": lambda: norm_layer("batch_transductive", WIDTH, 2),
    "torch": TorchBatchNorm,
}


class MetaProblem:
    """Three inner steps on each of three tasks, and the gradient of the query losses' sum."""

    def __init__(self, norm: str) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(2, WIDTH, 3, padding=1), NORMS[norm](), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)
        ).double()
        self.weights = {name: w.detach() for name, w in self.network.named_parameters()}
        self.weights["1.weight"] = torch.rand(WIDTH, dtype=torch.float64) + 0.5
        self.data = tuple(
            part
            for n in (N_SUPPORT, N_QUERY)
            for part in (torch.randn(N_TASKS, n, 2, 4, 4).double(), torch.randint(0, 3, (N_TASKS, n)))
        )

    def loss(self, weights: Weights, images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.network, weights, (images,)), targets)

    def task(self, weights: Weights, s: Tensor, s_targets: Tensor, q: Tensor, q_targets: Tensor) -> Tensor:
        for _ in range(3):
            gradients = grad(self.loss)(weights, s, s_targets)
            weights = {name: w - 0.5 * gradients[name] for name, w in weights.items()}
        return self.loss(weights, q, q_targets)

    def looped(self, weights: Weights) -> Tensor:
        return torch.stack([self.task(weights, *(d[i] for d in self.data)) for i in range(N_TASKS)]).sum()

    def vmapped(self, weights: Weights) -> Tensor:
        return vmap(self.task, (None, 0, 0, 0, 0))(weights, *self.data).sum()

    def stacked(self, weights: Weights) -> Tensor:
        """Derivatives outside, vmap inside: what `adaptation.descend` does on stacked weights."""
        loss = vmap(self.loss)
        tasks = {n: w.expand(N_TASKS, *w.shape).requires_grad_() for n, w in weights.items()}
        for _ in range(3):
            gradients = torch.autograd.grad(
                loss(tasks, *self.data[:2]).sum(), list(tasks.values()), create_graph=True
            )
            tasks = {n: w - 0.5 * g for (n, w), g in zip(tasks.items(), gradients, strict=True)}
        return loss(tasks, *self.data[2:]).sum()

    def gradient(self, of: Callable[[Weights], Tensor]) -> Tensor:
        leaves = {name: w.clone().requires_grad_() for name, w in self.weights.items()}
        gradients = torch.autograd.grad(of(leaves), list(leaves.values()))
        return torch.cat([g.flatten() for g in gradients])


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
@pytest.mark.parametrize("form", ["looped", "vmapped", "stacked"])
def test_meta_gradient_equals_finite_differences(norm: str, form: str) -> None:
    problem, step = MetaProblem(norm), 1e-6
    direction = {name: torch.randn_like(w) for name, w in problem.weights.items()}

    def moved(by: float) -> Tensor:
        return problem.looped({name: w + by * direction[name] for name, w in problem.weights.items()})

    difference = (moved(step) - moved(-step)) / (2 * step)
    along = torch.cat([d.flatten() for d in direction.values()])
    found = problem.gradient(getattr(problem, form)) @ along
    torch.testing.assert_close(found, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", ["group", "batch_transductive"])
def test_meta_gradient_vmapped_equals_looped(norm: str) -> None:
    problem = MetaProblem(norm)
    looped = problem.gradient(problem.looped)
    for form in (problem.vmapped, problem.stacked):
        torch.testing.assert_close(problem.gradient(form), looped, rtol=0, atol=1e-9)


def test_meta_gradient_of_torch_batch_norm_under_vmap_is_wrong() -> None:
    """When this fails torch has mended its batch norm, and BatchNorm is there for speed alone."""
    problem = MetaProblem("torch")
    looped, vmapped = problem.gradient(problem.looped), problem.gradient(problem.vmapped)
    assert (looped - vmapped).norm() > 1e-3 * looped.norm()


def test_batch_norm_has_torchs_meta_gradient_in_a_loop() -> None:
    ours, theirs = MetaProblem("batch_transductive"), MetaProblem("torch")
    torch.testing.assert_close(ours.gradient(ours.looped), theirs.gradient(theirs.looped), rtol=0, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, WIDTH, 2, 3), (1, WIDTH, 2, 2), (5, WIDTH, 1, 1)])
def test_batch_norm_passes_torchs_gradient_check(layout: torch.memory_format, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = BatchNorm(WIDTH, mode="batch_transductive").double()
    images = torch.randn(shape, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    weight = (torch.rand(WIDTH, dtype=torch.float64) + 0.5).requires_grad_()
    bias = torch.randn(WIDTH, dtype=torch.float64).requires_grad_()

    def normalised(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        outputs: Tensor = functional_call(layer, {"weight": w, "bias": b}, (x,))
        return outputs

    assert torch.autograd.gradcheck(normalised, (images, weight, bias))
    assert torch.autograd.gradgradcheck(normalised, (images, weight, bias))


def test_batch_norm_refuses_a_third_derivative() -> None:
    layer = BatchNorm(WIDTH, mode="batch_transductive")
    images = torch.randn(3, WIDTH, 2, 2, requires_grad=True)
    (first,) = torch.autograd.grad(layer(images).pow(3).sum(), images, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(3).sum(), images, create_graph=True)
    with pytest.raises(RuntimeError, match="no third derivative"):
        torch.autograd.grad(second.sum(), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_norm_equals_torchs_forward_and_first_gradient(
    dtype: torch.dtype, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    images = (3 + 2 * torch.randn(6, WIDTH, 5, 5, dtype=dtype)).to(memory_format=layout)
    target = torch.randn(6, WIDTH, 5, 5, dtype=dtype)
    weight, bias = torch.rand(WIDTH, dtype=dtype) + 0.5, torch.randn(WIDTH, dtype=dtype)
    theirs: dict[Literal["group", "batch_transductive"], Callable[..., Tensor]] = {
        "group": lambda x, w, b: F.group_norm(x, 2, w, b, EPSILON),
        "batch_transductive": lambda x, w, b: F.batch_norm(x, None, None, w, b, True, 0.1, EPSILON),
    }
    for norm, function in theirs.items():
        layer = norm_layer(norm, WIDTH, 2).to(dtype)
        results = []
        for run in (
            function,
            lambda x, w, b, layer=layer: functional_call(layer, {"weight": w, "bias": b}, x),
        ):
            leaves = [t.clone().requires_grad_() for t in (images, weight, bias)]
            outputs = run(*leaves)
            results.append([outputs, *torch.autograd.grad((outputs * target).sum(), leaves)])
        torch.testing.assert_close(results[1], results[0])


def test_batch_norm_keeps_torchs_running_statistics() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(WIDTH, mode="batch"), nn.BatchNorm2d(WIDTH)
    for _ in range(3):
        images = 3 + 2 * torch.randn(6, WIDTH, 5, 5)
        torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    before = {name: t.clone() for name, t in ours.state_dict().items()}
    ours(images)
    assert all(torch.equal(t, before[name]) for name, t in ours.state_dict().items())


def test_batch_norm_moves_its_buffers_under_functional_call() -> None:
    layer = BatchNorm(WIDTH, mode="batch")
    functional_call(layer, dict(layer.named_parameters()), (3 + torch.randn(4, WIDTH, 2, 2),))
    assert (layer.running_mean > 0.1).all()
    own = {"running_mean": torch.zeros(WIDTH), "running_var": torch.ones(WIDTH)}
    before = layer.running_mean.clone()
    functional_call(layer, {**dict(layer.named_parameters()), **own}, (9 + torch.randn(4, WIDTH, 2, 2),))
    assert torch.equal(layer.running_mean, before)
    assert (own["running_mean"] > 0.5).all()


def test_batch_norm_says_what_it_depends_on() -> None:
    inductive, transductive = BatchNorm(2, mode="batch"), BatchNorm(2, mode="batch_transductive")
    assert (inductive.batch_dependent, inductive.running_statistics) == (False, True)
    assert (transductive.batch_dependent, transductive.running_statistics) == (True, False)
    assert not list(transductive.buffers())
    images = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(inductive.eval()(images)[:1], inductive(images[:1]))
    assert not torch.allclose(transductive.eval()(images)[:1], transductive(images[:1]))


def test_batch_norm_stays_finite_and_near_under_bfloat16() -> None:
    torch.manual_seed(0)
    layer, images = BatchNorm(WIDTH, mode="batch"), torch.randn(8, WIDTH, 6, 6)
    exact = layer(images)
    low = layer(images.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, atol=0.05, rtol=0.02)
    assert layer.eval()(images.bfloat16()).dtype == torch.bfloat16


def test_norm_layer_refuses_groups_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"^groups: 5 does not divide the 64 channels; "):
        norm_layer("group", 64, 5)


def test_group_norm_whose_affine_alone_is_learned_has_the_same_values_and_gradients() -> None:
    """In a process of its own the unmarked norm dies here, for nobody asks for the images' gradient."""
    torch.manual_seed(0)
    norm, marked = GroupNorm(4, groups=2).double(), GroupNorm(4, groups=2).double()
    learn_affine_alone(marked)
    images = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    expected = torch.autograd.grad((norm(images.contiguous()) ** 2).sum(), [norm.weight, norm.bias])
    last = images.to(memory_format=torch.channels_last)
    found = torch.autograd.grad((marked(last) ** 2).sum(), [marked.weight, marked.bias])
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(marked(last), norm(images))
