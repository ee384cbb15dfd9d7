"""Depthwise convolutions whose backward pass is fast in bfloat16 on a CPU, with equal results.

PyTorch has quick CPU kernels for almost everything that a depthwise convolution needs in bfloat16,
but not for the weight gradient of 5 x 5 filters, nor for the input gradient of strided filters:
those fall back to code ten to fifty times slower. Both are avoided here, and bfloat16 pays.
"""

import torch
from torch import nn
from torch.nn import functional


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise nn.Conv2d, 3 x 3 or 5 x 5, that takes the detour below in training on a CPU.

    `same` marks TensorFlow's padding, which depends on the size of the photo (timm's Conv2dSame).
    """

    same = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Filter each channel of [B, C, H, W] on its own."""
        padding = self.padding
        if self.same:
            from timm.layers import pad_same

            x, padding = pad_same(x, self.kernel_size, self.stride), (0, 0)
        reduced = torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
        if x.is_cuda or not reduced:
            return functional.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)
        dtype = torch.get_autocast_dtype("cpu")
        return _Filter.apply(x.to(dtype), self.weight.to(dtype), self.stride, padding)


def replace(net: nn.Module) -> nn.Module:
    """Turn the depthwise convolutions of `net` into DepthwiseConv2d, in place; keys stay."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and _fits(module):
            module.same = type(module).__name__ == "Conv2dSame"
            module.__class__ = DepthwiseConv2d  # same parameters, another forward
    return net


def _fits(conv: nn.Conv2d) -> bool:
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    plain = conv.bias is None and conv.dilation == (1, 1) and not isinstance(conv.padding, str)
    return depthwise and plain and conv.kernel_size in ((3, 3), (5, 5))


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, stride, padding):
        """Filter as PyTorch does."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        with torch.autocast("cpu", enabled=False):
            return functional.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx, gradient):
        """Take the gradients of input and weight apart, each by its quickest way."""
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        strided = max(ctx.stride) > 1
        parts = [part.float() if strided else part for part in (gradient, x, weight)]
        for_x = _gradient(*parts, ctx.stride, ctx.padding, of_weight=False).to(x.dtype)
        return for_x, _weight_gradient(gradient, x, weight, ctx.stride, ctx.padding), None, None


def _weight_gradient(gradient, x, weight, stride, padding):
    """A 5 x 5 filter's gradient is that of its four 3 x 3 corners, which share middle lines."""
    if weight.shape[-1] == 3:
        return _gradient(gradient, x, weight, stride, padding, of_weight=True)
    x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    height, width = ((n - 1) * s + 3 for n, s in zip(gradient.shape[2:], stride, strict=True))
    result = torch.empty_like(weight)
    for top in (0, 2):
        for left in (0, 2):
            seen = x[:, :, top : top + height, left : left + width]
            seen = seen.contiguous(memory_format=torch.channels_last)
            corner = weight[:, :, top : top + 3, left : left + 3].contiguous()
            part = _gradient(gradient, seen, corner, stride, (0, 0), of_weight=True)
            result[:, :, top : top + 3, left : left + 3] = part
    return result


def _gradient(gradient, x, weight, stride, padding, *, of_weight: bool):
    asked = (not of_weight, of_weight, False)  # of the input, the weight, the bias
    options = (stride, padding, (1, 1), False, (0, 0), len(weight), asked)
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *options)[int(of_weight)]
