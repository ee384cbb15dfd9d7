"""The fast backward pass gives the gradients that PyTorch gives."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from miewid_lib import depthwise


def gradients(conv, x, upstream, dtype):
    """Output and gradients of input and weight, as float32, computed in `dtype`."""
    conv, x = copy.deepcopy(conv), x.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = conv(x)
    out.backward(upstream.to(out.dtype))
    return [each.float() for each in (out.detach(), x.grad, conv.weight.grad)]


@pytest.mark.parametrize("size", [5, 8, 9])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("kind", [nn.Conv2d, Conv2dSame])
def test_gradients_are_those_of_pytorch(kind, kernel, stride, size):
    torch.manual_seed(0)
    padding = {"padding": kernel // 2} if kind is nn.Conv2d else {}
    plain = kind(12, 12, kernel, stride=stride, groups=12, bias=False, **padding)
    plain = plain.to(memory_format=torch.channels_last)
    fast = depthwise.replace(copy.deepcopy(plain))
    assert type(fast) is depthwise.DepthwiseConv2d
    x = torch.randn(3, 12, size, size).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn_like(plain(x)).bfloat16().float()
    exact = gradients(plain, x, upstream, torch.float32)
    theirs = gradients(plain, x, upstream, torch.bfloat16)
    ours = gradients(fast, x, upstream, torch.bfloat16)
    for reference, one, other in zip(exact, theirs, ours, strict=True):
        scale = reference.abs().max()
        torch.testing.assert_close(other / scale, one / scale, atol=0.01, rtol=0)
        assert (other - reference).abs().max() <= 1.5 * (one - reference).abs().max() + 1e-3 * scale


def test_without_autocast_nothing_changes():
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    fast = depthwise.replace(copy.deepcopy(plain))
    x, upstream = torch.randn(2, 6, 7, 7), torch.randn(2, 6, 7, 7)
    pairs = zip(*(gradients(c, x, upstream, torch.float32) for c in (plain, fast)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 3, padding=1),  # not depthwise
        nn.Conv2d(6, 12, 3, padding=1, groups=6),  # two filters a channel
        nn.Conv2d(6, 6, 3, padding=1, groups=6),  # with a bias
        nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, bias=False),
    ],
)
def test_other_convolutions_are_left_alone(conv):
    assert type(depthwise.replace(nn.Sequential(conv))[0]) is nn.Conv2d


def test_keys_stay_and_weights_are_shared():
    conv = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
    weight = conv.weight
    net = depthwise.replace(nn.Sequential(conv))
    assert list(net.state_dict()) == ["0.weight"] and net[0].weight is weight
