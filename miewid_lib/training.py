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

from miewid_lib import checkpoints, images, losses, models

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
    resume_in: Path | None = None,
) -> Iterator[dict]:
    """Train `net` and its loss `head` in place with Adam, one epoch a rate; yield a row an epoch.

    crops: uint8 [N, S, S, 3]; labels: int [N] in 0..C-1. A row holds epoch, lr, steps (so far),
    loss (mean over the epoch's batches) and top1 (share of training photos whose own class wins in
    spite of its margin). `frozen` trains the head alone: no weight and no BatchNorm statistic of
    the net moves. With a folder `resume_in`, a run that was killed goes on after a whole epoch (it
    is saved every SAVE_EVERY_S) to the same weights; its file is removed when the run ends.
    """
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.long)  # [N]
    photos = torch.from_numpy(crops).permute(0, 3, 1, 2)  # [N, 3, S, S], a view
    net.to(memory_format=torch.channels_last)  # a third faster on the CPUs measured
    system = nn.ModuleDict({"net": net, "head": head})
    optimiser = torch.optim.Adam((head if frozen else system).parameters(), fused=True)
    saved, done, saved_at_s = None, [], time.monotonic()
    if resume_in is not None:
        settings = (labels, rates, batch_size, seed, precision, frozen)
        saved = resume_in / f"{checkpoints.run_key(system, crops, *settings)}.safetensors"
        done = checkpoints.resume(saved, system, optimiser)
    yield from done
    for epoch in range(len(done), len(rates)):
        optimiser.param_groups[0]["lr"] = rates[epoch]
        batches = _batches(len(labels), batch_size, seed, epoch)
        with torch.random.fork_rng():
            torch.manual_seed(_number(seed, epoch, "network"))  # for backbones with dropout
            augment = torch.Generator().manual_seed(_number(seed, epoch, "augment"))
            pairs = ((_varied(photos[batch], augment), labels[batch]) for batch in batches)
            row = _epoch(system, optimiser, pairs, precision, frozen=frozen)
        steps = len(batches) * (epoch + 1)
        done.append({"epoch": epoch, "lr": rates[epoch], "steps": steps, **row})
        if saved is not None and time.monotonic() - saved_at_s >= SAVE_EVERY_S:
            checkpoints.save(saved, system, optimiser, done)
            saved_at_s = time.monotonic()
        yield done[-1]
    if saved is not None:
        saved.unlink(missing_ok=True)


def embed(net: models.EmbeddingNet, crops: np.ndarray, *, batch_size: int = 64) -> np.ndarray:
    """Embed crops uint8 [N, S, S, 3] as float32 [N, D] in eval mode; same crop, same vector."""
    device = next(net.parameters()).device
    was_training = net.training
    net.eval().to(memory_format=torch.channels_last)
    rows = [np.zeros((0, net.embedding_size), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(crops), batch_size):
            photos = torch.from_numpy(crops[start : start + batch_size]).permute(0, 3, 1, 2)
            photos = net.normalise(photos.to(device).float() / 255)  # [B, 3, S, S]
            rows.append(net(photos).float().cpu().numpy())  # [B, D]
    net.train(was_training)
    return np.concatenate(rows)


def _varied(photos: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return images.augment(photos.float() / 255, generator=generator)  # [B, 3, S, S]


def _epoch(
    system: nn.ModuleDict,
    optimiser: torch.optim.Optimizer,
    pairs: Iterable,
    precision: str,
    *,
    frozen: bool,
) -> dict:
    net, head = system["net"], system["head"]
    device = next(net.parameters()).device
    system.train()
    net.train(not frozen)
    losses_seen, hits, n = [], 0, 0
    for photos, labels in pairs:
        x = net.normalise(photos.to(device)).contiguous(memory_format=torch.channels_last)
        y = labels.to(device)  # [B]
        reduced = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with reduced, torch.set_grad_enabled(not frozen):
            features = net(x)  # [B, D]
        logits = head.logits(features, y)  # [B, C]
        loss = nn.functional.cross_entropy(logits, y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses_seen.append(loss.item())
        hits, n = hits + int((logits.argmax(1) == y).sum()), n + len(y)
    return {"loss": float(np.mean(losses_seen)), "top1": hits / n}


def _batches(n: int, batch_size: int, seed: int, epoch: int) -> list[torch.Tensor]:
    """Shuffled row numbers in batches; a last batch of one is left out (BatchNorm needs two)."""
    generator = torch.Generator().manual_seed(_number(seed, epoch, "order"))
    order = torch.randperm(n, generator=generator)
    return [batch for batch in order.split(batch_size) if len(batch) > 1]


def _number(*parts) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
