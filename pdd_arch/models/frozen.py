"""Passes through frozen networks whose gradient is wanted for the input only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

#: stride, padding, dilation and groups of a convolution
_DEFAULTS: tuple[Any, ...] = ((1,), (0,), (1,), 1)


class _FrozenConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how = x.shape, (stride, padding, dilation, groups)
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        (weight,) = ctx.saved_tensors
        return conv2d_input(ctx.shape, weight, gradient, *ctx.how), *([None] * 6)


class FrozenConvolutions(TorchFunctionMode):
    """Within this context a convolution whose weight needs no gradient does not keep its input.

    Autograd keeps the input of every convolution for the gradient of the weight, also where there will be none: in a
    discriminator that only judges, the inputs of the layers behind each upsampling are a third of what it holds.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.conv2d and not kwargs and 3 <= len(args) <= 7 and torch.is_grad_enabled():
            x, weight, bias = args[:3]
            how: tuple[Any, ...] = args[3:]
            stride, padding, dilation, groups = (*how, *_DEFAULTS[len(how) :])
            frozen = not weight.requires_grad and (bias is None or not bias.requires_grad)
            if frozen and x.requires_grad and not isinstance(padding, str):
                if not x.is_meta and torch.is_autocast_enabled(x.device.type):  # it would come too late, inside
                    kind = torch.get_autocast_dtype(x.device.type)
                    x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
                return _FrozenConv2d.apply(x, weight, bias, stride, padding, dilation, groups)
        return func(*args, **kwargs)
