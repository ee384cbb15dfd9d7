"""Training an embedding network, and embedding photos with it.

Nothing here prints, plots or chooses: `fit` yields one row of numbers an epoch and trains in place.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from miewid_lib import checkpoints, distributed, images, losses, models, parallel

SAVE_EVERY_S = 15.0  # a checkpoint costs a tenth of a second; more often would be felt


def learning_rates(
    epochs: int,
    *,
    lr_start: float,
    lr_max: float,
    lr_min: float,
    ramp: int,
    sustain: int = 0,
    decay: float,
    stepping: str = "as_written",
) -> list[float]:
    """Learning rate in effect during each epoch: linear ramp, plateau, exponential decay.

    `ramp` and `sustain` are in epochs, `decay` is the factor an epoch. The public code's counter
    moves by two an epoch after the first; `stepping="as_run"` gives the rates that it really used.

    >>> learning_rates(4, lr_start=0, lr_max=8, lr_min=0, ramp=2, decay=0.5)
    [0.0, 4.0, 8.0, 4.0]
    >>> learning_rates(4, lr_start=0, lr_max=8, lr_min=0, ramp=2, decay=0.5, stepping="as_run")
    [0.0, 8.0, 2.0, 0.5]
    """
    if stepping not in ("as_written", "as_run"):
        raise ValueError(f"stepping must be 'as_written' or 'as_run', not {stepping!r}")
    factor = {"as_written": 1, "as_run": 2}[stepping]
    rates = []
    for e in (factor * epoch for epoch in range(epochs)):
        if e < ramp:
            rate = lr_start + (lr_max - lr_start) * e / ramp
        elif e < ramp + sustain:
            rate = lr_max
        else:
            rate = lr_min + (lr_max - lr_min) * decay ** (e - ramp - sustain)
        rates.append(float(rate))
    return rates


def fit(
    net: models.EmbeddingNet,
    head: losses.SubCenterArcFace,
    crops: np.ndarray,
    labels: np.ndarray,
    *,
    rates: list[float],
    batch_size: int,
    seed: int,
    precision: str = "float32",
    frozen: bool = False,
    accumulate: int = 1,
    resume_in: Path | None = None,
) -> Iterator[dict]:
    """Train `net` and its loss `head` in place with Adam, one epoch a rate; yield a row an epoch.

    crops: uint8 [N, S, S, 3]; labels: int [N] in 0..C-1. A row holds epoch, lr, steps (so far),
    loss (mean over the epoch's batches) and top1 (share of training photos whose own class wins in
    spite of its margin). `frozen` trains the head alone: the net's weights and statistics stay.
    With a folder `resume_in`, a killed run goes on after a whole epoch (saved every SAVE_EVERY_S)
    to the same weights; its file is removed when the run ends.

    Ranks of `distributed` share each batch, and one too large for the memory goes through in
    `accumulate` parts, each with its own BatchNorm statistics. A batch needs two photos for each.
    """
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)  # [N]
    photos = torch.from_numpy(crops).permute(0, 3, 1, 2)  # [N, 3, S, S], a view
    system = nn.ModuleDict({"net": net.to(memory_format=torch.channels_last), "head": head})
    optimiser = torch.optim.Adam((head if frozen else system).parameters(), fused=True)
    rank, world = distributed.synchronise(system)
    saved, done, saved_at_s = None, [], time.monotonic()
    if resume_in is not None:
        settings = (labels, rates, batch_size, seed, precision, frozen, accumulate, world)
        saved = resume_in / f"{checkpoints.run_key(system, crops, *settings)}.safetensors"
        done = checkpoints.resume(saved, system, optimiser)
    yield from done
    for epoch in range(len(done), len(rates)):
        optimiser.param_groups[0]["lr"] = rates[epoch]
        batches = _batches(len(labels), batch_size, seed, epoch, least=2 * accumulate * world)
        with torch.random.fork_rng():
            torch.manual_seed(_number(seed, epoch, "network", *[rank][:rank]))  # for dropout
            pairs = _varied(photos, labels, batches, _number(seed, epoch, "augment"))
            row = _epoch(system, optimiser, pairs, precision, frozen=frozen, parts=accumulate)
        done.append(dict(epoch=epoch, lr=rates[epoch], steps=len(batches) * (epoch + 1), **row))
        if saved is not None and rank == 0 and time.monotonic() - saved_at_s >= SAVE_EVERY_S:
            checkpoints.save(saved, system, optimiser, done)
            saved_at_s = time.monotonic()
        yield done[-1]
    distributed.release(system)
    if saved is not None and rank == 0:
        saved.unlink(missing_ok=True)


def embed(net: models.EmbeddingNet, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Embed crops uint8 [N, S, S, 3] as float32 [N, D] in eval mode; same crop, same vector.

    Under torch.distributed each rank embeds every n-th photo, and all get all of them.
    """
    parallel.keep_memory()
    device = next(net.parameters()).device
    was_training = net.training
    net.eval().to(memory_format=torch.channels_last)
    embedded = torch.zeros((len(crops), net.embedding_size), device=device)  # [N, D]
    own = np.arange(len(crops))[distributed.shard()]
    with torch.inference_mode():
        for start in range(0, len(own), batch_size):
            rows = own[start : start + batch_size]
            photos = torch.from_numpy(crops[rows]).permute(0, 3, 1, 2)
            photos = net.normalise(photos.to(device).float() / 255)  # [B, 3, S, S]
            embedded[rows] = net(photos).float()  # [B, D]
    net.train(was_training)
    return distributed.total(embedded).cpu().numpy()


def _varied(photos: torch.Tensor, labels: torch.Tensor, batches: list, seed: int) -> Iterator:
    """Yield this rank's photos of each batch, varied, and the labels of the whole batch."""
    generator = torch.Generator().manual_seed(seed)
    for batch in batches:
        whole = photos[batch].float() / 255  # [B, 3, S, S]
        own = images.augment(whole, generator=generator, rows=distributed.shard())
        yield own, labels[batch]


def _epoch(
    system: nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    pairs: Iterable,
    precision: str,
    *,
    frozen: bool,
    parts: int,
) -> dict:
    """One step a pair of `_varied`; mean loss and training top-1 over all ranks."""
    parallel.keep_memory()
    system.train()
    system["net"].train(not frozen)
    losses_seen, hits, n = [], 0, 0
    for photos, labels in pairs:
        optimiser.zero_grad(set_to_none=True)
        own = labels[distributed.shard()]
        of_step = []
        for x, y in zip(photos.tensor_split(parts), own.tensor_split(parts), strict=True):
            loss, right = _loss(system, x, y, precision, frozen=frozen)
            loss = loss * (len(y) / len(labels))  # of the mean over the whole batch
            loss.backward()
            of_step.append(loss.item())
            hits += right
        distributed.total_gradients(system)
        optimiser.step()
        losses_seen.append(sum(of_step))
        n += len(labels)
    device = next(system.parameters()).device
    seen = torch.tensor([*losses_seen, hits], dtype=torch.float64, device=device)
    *losses_seen, hits = distributed.total(seen).tolist()
    return {"loss": float(np.mean(losses_seen)), "top1": hits / n}


def _loss(
    system: nn.ModuleDict, x: torch.Tensor, y: torch.Tensor, precision: str, *, frozen: bool
) -> tuple[torch.Tensor, int]:
    """Mean loss over photos x [B, 3, S, S] of classes y [B], and how many classes win."""
    net, head = system["net"], system["head"]
    device = next(net.parameters()).device
    x = net.normalise(x.to(device)).contiguous(memory_format=torch.channels_last)
    y = y.to(device)  # [B]
    reduced = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with reduced, torch.set_grad_enabled(not frozen):
        features = net(x)  # [B, D]
    logits = head.logits(features, y)  # [B, C]
    return nn.functional.cross_entropy(logits, y), int((logits.argmax(1) == y).sum())


def _batches(n: int, batch_size: int, seed: int, epoch: int, *, least: int) -> list[torch.Tensor]:
    """Shuffled row numbers in batches; a batch of fewer than `least` is left out."""
    generator = torch.Generator().manual_seed(_number(seed, epoch, "order"))
    order = torch.randperm(n, generator=generator)
    return [batch for batch in order.split(batch_size) if len(batch) >= least]


def _number(*parts) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
