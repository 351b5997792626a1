"""Convolution that can be differentiated twice at the speed of once."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class TwiceDifferentiable(nn.Conv2d):
    """A convolution of stride 1 that keeps the size, for networks whose gradient at the images is in their loss.

    torch's own second derivative of a convolution goes group by group and takes whole maps for kernels; on a GPU that
    is most of a training step. Here the gradient at the input is a transposed convolution, and the derivative of that
    is again a convolution and a plain weight gradient. Values are those of ``nn.Conv2d``. A backward pass that is
    itself to be differentiated (``create_graph``) gives the gradient at the input alone, none at weight and bias.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D, H, W)."""
        weight, bias, kind = self.weight, self.bias, x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            low = torch.get_autocast_dtype(kind)
            x, weight, bias = x.to(low), weight.to(low), None if bias is None else bias.to(low)
        return _Convolution.apply(x, weight, bias, self.groups)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, groups):
        ctx.save_for_backward(x, weight)
        ctx.groups = groups
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _Transposed.apply(gradient, weight, ctx.groups)
        if ctx.needs_input_grad[1] and not torch.is_grad_enabled():
            of_weight = _weight_gradient(gradient, x, weight, ctx.groups)
        if ctx.needs_input_grad[2] and not torch.is_grad_enabled():
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


class _Transposed(torch.autograd.Function):
    """What a convolution passes back to its input."""

    @staticmethod
    def forward(ctx, gradient, weight, groups):
        ctx.save_for_backward(gradient, weight)
        ctx.groups = groups
        return F.conv_transpose2d(gradient, weight, padding=weight.shape[-1] // 2, groups=groups)

    @staticmethod
    def backward(ctx, outer):
        gradient, weight = ctx.saved_tensors
        of_gradient = of_weight = None
        if ctx.needs_input_grad[0]:
            of_gradient = _Convolution.apply(outer, weight, None, ctx.groups)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(gradient, outer, weight, ctx.groups)
        return of_gradient, of_weight, None


def _weight_gradient(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    padding, only_weight = [weight.shape[-1] // 2] * 2, (False, True, False)
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], groups, only_weight
    )[1]
