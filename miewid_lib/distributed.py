"""One training run on several processes, or several graphics cards, that gives the same losses.

Every process (a rank of the world) holds the whole network and takes its share of each batch;
gradients and the statistics of BatchNorm are summed over all of them. `training.fit` and `embed` do
so wherever a process group of torch.distributed exists: one that `spread` made, or torchrun.
"""

import functools
import tempfile
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

from miewid_lib.errors import MiewidError


def world() -> tuple[int, int]:
    """Rank of this process and number of processes; (0, 1) without a group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def shard() -> slice:
    """Rows of a batch that are this rank's: every n-th, from its own number."""
    rank, n = world()
    return slice(rank, None, n)


def total(tensor: torch.Tensor) -> torch.Tensor:
    """Sum of `tensor` over all ranks, in place; without a group it stays as it is."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def total_gradients(module: nn.Module) -> None:
    """Replace the gradients of `module` by their sums over all ranks, in one message."""
    if not dist.is_initialized():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    sums = total(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, sums.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def synchronise(module: nn.Module) -> tuple[int, int]:
    """Start all ranks from the weights of rank 0, and let BatchNorm see the batch of all ranks.

    A choice: with 16 photos a batch (published) on eight cards, each card's own statistics would
    rest on two. State-dict keys stay. Without a group nothing changes. Returns `world()`.
    """
    if not dist.is_initialized():
        return world()
    for tensor in module.state_dict().values():
        dist.broadcast(tensor, 0)
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.forward = functools.partial(_normalise, norm)
    return world()


def release(module: nn.Module) -> None:
    """Give BatchNorm its own forward pass back, so that the network can be sent and saved."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.__dict__.pop("forward", None)


class _Total(torch.autograd.Function):
    """The sum over all ranks; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, tensor):
        """Sum the tensors of all ranks."""
        return total(tensor.clone())

    @staticmethod
    def backward(ctx, gradient):
        """Sum the gradients of all ranks."""
        return total(gradient.contiguous().clone())


def _normalise(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """BatchNorm of x [B, C, ...] by mean and variance over all ranks (Ioffe and Szegedy 2015)."""
    if not norm.training:
        return type(norm).forward(norm, x)
    axes, shape = [0, *range(2, x.ndim)], [1, -1] + [1] * (x.ndim - 2)
    wide = x.float()
    n = wide.new_tensor([x.numel() / x.shape[1]])
    sums = _Total.apply(torch.cat([n, wide.sum(axes)]))
    n, mean = sums[0], sums[1:] / sums[0]  # [C]
    centred = wide - mean.view(shape)
    variance = _Total.apply(centred.square().sum(axes)) / n  # [C]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * n / (n - 1), norm.momentum)
    scale = norm.weight * (variance + norm.eps).rsqrt()
    y = (centred * scale.view(shape) + norm.bias.view(shape)).to(x.dtype)
    return norm.act(norm.drop(y)) if hasattr(norm, "act") else y  # timm's carries its activation


def spread(function: Callable, *args, processes: int, device: str = "cpu", threads: int = 1) -> Any:
    """Return `function(*args)` of rank 0, run by `processes` ranks at once on this machine.

    On the CPU they share the `threads`; with device "cuda" each has a card of its own. If one ends
    before its time the others are ended and MiewidError says so; a checkpoint of `fit` stands.
    """
    if processes == 1:
        return function(*args)
    if device == "cuda" and processes > torch.cuda.device_count():
        raise MiewidError(f"processes={processes}, but {torch.cuda.device_count()} graphics cards")
    from joblib import Parallel, delayed  # sends functions of a notebook, too (cloudpickle)

    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder, "meeting").as_uri(), device, max(1, threads // processes))
        ranks = [(rank, processes, *meeting) for rank in range(processes)]
        pool = Parallel(n_jobs=processes, batch_size=1, pre_dispatch="all")
        try:
            return pool(delayed(_join)(rank, function, args) for rank in ranks)[0]
        except (BrokenExecutor, dist.DistError) as error:
            raise MiewidError(f"a process of {processes} ended before its time") from error


def _join(place: tuple, function: Callable, args: tuple) -> Any:
    from miewid_lib import parallel

    rank, n, address, device, threads = place
    parallel.settle(threads)
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=address, rank=rank, world_size=n)
    try:
        result = function(*args)
    finally:
        dist.destroy_process_group()
    return result if rank == 0 else None
