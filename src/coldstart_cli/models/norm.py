"""Normalisation whose derivatives are exact to second order, in a loop and under torch.func.vmap.

torch's own batch norm, differentiated twice inside vmap, forgets the second time that the statistics depend
on the input: a wrong meta-gradient without a warning (pytorch/functorch#534). Here the first and the second
derivative are written out. That also makes a second-order step faster, because the second derivative is one
combination of three images instead of a chain of products.
"""

from __future__ import annotations

import math
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.autograd import Function

from coldstart_cli.processes import batch_parts

Norm = Literal["group", "batch", "batch_transductive"]

EPSILON = 1e-5
"""Added to a variance, as in torch.nn.BatchNorm2d and torch.nn.GroupNorm."""

MOMENTUM = 0.1
"""Share of the newest batch in the running statistics, as in torch.nn.BatchNorm2d."""

_ALL = [True, True, True]


def norm_layer(norm: Norm, width: int, groups: int) -> nn.Module:
    """The layer that normalises (n, width, H, W).

    Raises:
        ValueError: where `groups` does not divide `width`.
    """
    if norm != "group":
        return BatchNorm(width, mode=norm)
    if width % groups:
        raise ValueError(f"groups: {groups} does not divide the {width} channels; choose a divisor")
    return GroupNorm(width, groups=groups)


def refuse_running_statistics(encoder: nn.Module) -> None:
    """For strategies that take gradient steps on a task.

    Raises:
        ValueError: where a layer of the encoder keeps running statistics.
    """
    if any(getattr(module, "running_statistics", False) for module in encoder.modules()):
        raise ValueError(
            "model.norm: running batch statistics do not follow gradient steps; "
            "choose group or batch_transductive"
        )


def learn_affine_alone(encoder: nn.Module) -> None:
    """Allows gradients of an encoder's group norms without gradients of the layers before them.

    torch's kernel for images with the channel last always writes the gradient of the images: where it was not
    requested, the process crashes (seen with torch 2.13). A norm marked here scales and shifts in a separate
    step where gradients are kept; elsewhere nothing changes.
    """
    for module in encoder.modules():
        if isinstance(module, GroupNorm):
            module.affine_alone = True


@final
class GroupNorm(nn.Module):
    """Group normalisation (Wu and He 2018, arXiv:1803.08494, equation 7) of (n, width, H, W).

    Like torch.nn.GroupNorm, which is exact to second order but refuses, under vmap, images with the
    channel last. The operation underneath has a rule for vmap and accepts both layouts.

    Args:
        width: number of channels.
        groups: groups of channels, each normalised over its channels, H and W for every image.

    Attributes:
        affine_alone: see `learn_affine_alone`.
    """

    affine_alone = False

    def __init__(self, width: int, *, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, images: Tensor) -> Tensor:
        n, width, *size = images.shape
        if self.affine_alone and torch.is_grad_enabled():
            plain = torch.native_group_norm(
                images, None, None, n, width, math.prod(size), self.groups, EPSILON
            )[0]
            return self.weight[:, None, None] * plain + self.bias[:, None, None]
        return torch.native_group_norm(
            images, self.weight, self.bias, n, width, math.prod(size), self.groups, EPSILON
        )[0]

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, groups={self.groups}"


@final
class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1) of (n, width, H, W).

    y = weight (x - mean) / sqrt(var + epsilon) + bias, mean and biased var over n, H and W.

    Args:
        width: number of channels.
        mode: `batch` uses the batch's statistics in training, where it updates running ones, and the
            running ones at evaluation: inductive, but not for gradient inner loops. `batch_transductive`
            always uses the batch's statistics, as MAML's code does: a prediction depends on its neighbours.

    Attributes:
        batch_dependent: a prediction depends on the other inputs of its batch.
        running_statistics: a forward pass in training changes buffers, which an inner loop and vmap
            must refuse.
        settling: the next forward pass keeps the statistics of its batch for all that follow.
    """

    settling = False

    def __init__(self, width: int, *, mode: Literal["batch", "batch_transductive"]) -> None:
        super().__init__()
        self.mode = mode
        self.batch_dependent = mode == "batch_transductive"
        self.running_statistics = mode == "batch"
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.running_mean: Tensor
        self.running_var: Tensor
        if self.running_statistics:
            self.register_buffer("running_mean", torch.zeros(width))
            self.register_buffer("running_var", torch.ones(width))

    def forward(self, images: Tensor) -> Tensor:
        if self.settling:
            self._settle(images)
        if self.running_statistics and not self.training:
            return self._by_running_statistics(images)
        if batch_parts.in_parts():
            return self._by_whole_batch(images)
        outputs, mean, inverse_std = _BatchNorm.apply(images, self.weight, self.bias)  # type: ignore[no-untyped-call]
        if self.running_statistics:
            # The kernel returns 1 / sqrt(var + epsilon), from which the variance is recovered.
            self.move(mean, inverse_std**-2 - EPSILON, images.numel() // images.shape[1])
        normalised: Tensor = outputs
        return normalised

    def _settle(self, images: Tensor) -> None:
        """From now on the statistics are those of `images`: a prediction no longer depends on its batch."""
        var, mean = torch.var_mean(images, (0, 2, 3), correction=0)
        self.running_mean, self.running_var = nn.Buffer(mean), nn.Buffer(var)
        self.settling, self.batch_dependent, self.running_statistics = False, False, True

    def _by_running_statistics(self, images: Tensor) -> Tensor:
        scale = self.weight * torch.rsqrt(self.running_var + EPSILON)
        shift = self.bias - self.running_mean * scale
        return torch.addcmul(_over_images(shift, images), images, _over_images(scale, images))

    def _by_whole_batch(self, images: Tensor) -> Tensor:
        """Uses the statistics of a mini-batch that is spread over processes (exact to first order only)."""
        mean, var, n_values = batch_parts.moments(images)
        if self.running_statistics:
            self.move(mean.detach(), var.detach(), n_values)
        scale = self.weight * torch.rsqrt(var + EPSILON)
        return torch.addcmul(
            _over_images(self.bias - mean * scale, images), images, _over_images(scale, images)
        )

    @torch.no_grad()
    def move(self, mean: Tensor, var: Tensor, n_values: int) -> None:
        """Moves the running statistics towards a batch's mean and biased variance of n values a channel."""
        # The running variance is unbiased, as in torch, so that checkpoints can be exchanged.
        batch_parts.move(self.running_mean, mean, MOMENTUM)
        batch_parts.move(self.running_var, var * n_values / max(1, n_values - 1), MOMENTUM)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, mode={self.mode}"


class _BatchNorm(Function):
    """(x, weight, bias) -> (y, mean, 1 / sqrt(var + epsilon)); the statistics have no gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, EPSILON)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _ = inputs
        _, mean, inverse_std = output
        ctx.mark_non_differentiable(mean, inverse_std)
        ctx.save_for_backward(x, weight, mean, inverse_std)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _BatchNormGradient.apply(grads[0], *ctx.saved_tensors)  # type: ignore[no-untyped-call]


class _BatchNormGradient(Function):
    """The gradient G(g, x, weight), linear in the output's gradient g, and its own derivative.

    With z = (x - mean) r, r = 1 / sqrt(var + epsilon), <.> the mean over a channel's N values:
    g_x = weight r (g - <g> - z <g z>), g_weight = N <g z>, g_bias = N <g>.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor) -> Any:
        return torch.ops.aten.native_batch_norm_backward(
            g, x, weight, None, None, mean, r, True, EPSILON, _ALL
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, a: Tensor, a_weight: Tensor, a_bias: Tensor) -> Any:
        """The gradients of L = sum(a g_x) + a_weight g_weight + a_bias g_bias by g, x and weight.

        G is its own adjoint in g, so dL/dg = weight r (a - <a> - z <a z>) + a_weight z + a_bias.
        x acts through z, where dL/dz = a_weight g - weight r (<g z> a + <a z> g) and
        dz -> r (h - <h> - z <h z>), and through r, where dr = -r^2 z / N:
        K = <a g> - <a> <g> - <a z> <g z> gives -weight r^2 K z. Last, dL/dweight = N r K.
        """
        # Detached: below is plain arithmetic, and `_LastDerivative` ties the results to the sources again.
        sources = (a, a_weight, a_bias, *ctx.saved_tensors)
        a, a_weight, a_bias, g, x, weight, mean, r, g_weight, g_bias = (t.detach() for t in sources)
        n_values = x.numel() // x.shape[1]
        # G applied to a gives weight r (a - <a> - z <a z>), and on the way N <a z> and N <a>.
        own, az, a_mean = torch.ops.aten.native_batch_norm_backward(
            a, x, weight, None, None, mean, r, True, EPSILON, _ALL
        )
        az, a_mean, gz, g_mean = az / n_values, a_mean / n_values, g_weight / n_values, g_bias / n_values
        k = (a * g).mean((0, 2, 3)) - a_mean * g_mean - az * gz
        scale = weight * r
        h = a_weight * g_mean - scale * (gz * a_mean + az * g_mean)
        hz = a_weight * gz - 2 * scale * az * gz
        by_x = _combination(
            x,
            # z is not stored: z = (x - mean) r is expanded, so that x itself is a term and the rest is
            # constant.
            constant=r * (r * mean * (hz + scale * k) - h),
            terms=[(-r * r * (hz + scale * k), x), (-r * scale * gz, a), (r * (a_weight - scale * az), g)],
        )
        by_g = own + _combination(x, constant=a_bias - a_weight * r * mean, terms=[(a_weight * r, x)])
        results = (by_g, by_x, n_values * r * k)
        return *(_LastDerivative.apply(result, *sources) for result in results), None, None  # type: ignore[no-untyped-call]


class _LastDerivative(Function):
    """The result, refusing to be differentiated by its sources: a third derivative is not written out.

    torch's `once_differentiable` would not help here: torch.autograd.grad bypasses its error.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(result: Tensor, *sources: Tensor) -> Tensor:
        return result.view_as(result)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Saves nothing: `backward` only raises."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError("BatchNorm has no third derivative; use norm=group")


def _combination(images: Tensor, *, constant: Tensor, terms: list[tuple[Tensor, Tensor]]) -> Tensor:
    """constant + the sum of coefficient * image, with a coefficient for each channel."""
    total = _over_images(constant, images)
    for coefficient, image in terms:
        total = torch.addcmul(total, _over_images(coefficient, images), image)
    return total


def _over_images(channels: Tensor, images: Tensor) -> Tensor:
    """(width,) in the shape and type that broadcasts with (n, width, H, W)."""
    return channels[:, None, None].to(images.dtype)
