"""Teaches a trained network the animals of one catalogue: the loss alone first, then all layers.

Photos held out from both stages tell, epoch by epoch, when it begins to learn by heart.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from miewid_lib import checkpoints, evaluation, losses, models, training
from miewid_lib.errors import SplitError

FROZEN, ALL = "loss alone", "all layers"
BEST, CURVE = "best.safetensors", "curve.csv"
"""Names in the folder of a run: the kept network and one row an epoch."""


def stages(*, frozen_epochs: int, epochs: int, lr_max: float) -> dict[str, list[float]]:
    """Learning rate of every epoch of both stages: `lr_max` while frozen, then the book's schedule.

    Start and end stand to `lr_max` as published; ramp and decay fit the number of epochs.

    >>> {name: len(rates) for name, rates in stages(frozen_epochs=1, epochs=2, lr_max=1).items()}
    {'loss alone': 1, 'all layers': 2}
    """
    shape = {"lr_start": 0.0528 * lr_max, "lr_max": lr_max, "lr_min": 0.0016 * lr_max}
    shape |= {"ramp": round(0.3 * epochs), "decay": 0.6 ** (10 / epochs)}
    return {FROZEN: [lr_max] * frozen_epochs, ALL: training.learning_rates(epochs, **shape)}


def run(
    net: models.EmbeddingNet,
    crops: np.ndarray,
    table: pd.DataFrame,
    folder: Path,
    *,
    stages: dict[str, list[float]],
    batch_size: int,
    seed: int,
    precision: str = "bfloat16",
) -> Iterator[dict]:
    """Fine-tune `net` in place on the train part of `table`; yield a row an epoch.

    crops: uint8 [N, S, S, 3]; table: N rows of `splits.split`, whose test part validates. A row
    holds stage, epoch, the numbers of `training.fit`, validation_loss (of held-out photos of the
    trained identities) and validation_top1 (of all held-out photos, each against the others, its
    encounter left out). BEST in `folder` is the network after the epoch of all layers with the
    lowest validation loss, CURVE the rows. A run that was killed goes on. Raises SplitError.
    """
    part, identity = table["part"].to_numpy(), table["identity"]
    train, held_out = np.flatnonzero(part == "train"), np.flatnonzero(part == "test")
    names = sorted(set(identity.iloc[train]))
    known = held_out[identity.iloc[held_out].isin(names).to_numpy()]
    if not len(known):
        raise SplitError("no animal has photos in both parts: more encounters each are needed")
    labels = pd.Index(names).get_indexer(identity)
    margins_rad = losses.dynamic_margins(np.bincount(labels[train]))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = losses.SubCenterArcFace(net.embedding_size, len(names), margins_rad=margins_rad)
    head.to(next(net.parameters()).device)
    options = {"batch_size": batch_size, "seed": seed, "precision": precision}
    folder.mkdir(parents=True, exist_ok=True)
    rows = _rows(net, head, crops[train], labels[train], folder, stages=stages, **options)
    seen, best, done = _read_curve(folder / CURVE), np.inf, []
    for i, row in enumerate(rows):
        if i < len(seen) and seen[i]["stage"] == row["stage"]:
            row = seen[i]
        else:
            row |= {"validation_loss": _loss(net, head, crops[known], labels[known])}
            row |= {"validation_top1": _top1(net, crops[held_out], table.iloc[held_out])}
        done.append({"epoch": i} | {key: row[key] for key in row if key != "epoch"})
        if row["stage"] == ALL and row["validation_loss"] < best:
            best = row["validation_loss"]
            if i >= len(seen):
                models.save(net, folder / BEST)
        _write_curve(done, folder / CURVE)
        yield done[-1]


def best_row(log: pd.DataFrame) -> pd.Series:
    """Return the row of the kept epoch: of all layers, the first with the least validation loss."""
    return log.loc[log.loc[log["stage"] == ALL, "validation_loss"].idxmin()]


def run_folder(
    parent: Path, net: models.EmbeddingNet, crops: np.ndarray, table: pd.DataFrame, *settings
) -> Path:
    """Return a folder in `parent` named by all that decides a run; folders of other runs go."""
    facts = [table[name].tolist() for name in ("part", "identity", "encounter", "species")]
    key = checkpoints.run_key(nn.ModuleDict({"net": net}), crops, *facts, *settings)
    for other in parent.glob("*"):
        if other.is_dir() and other.name != key:
            shutil.rmtree(other)
    (parent / key).mkdir(parents=True, exist_ok=True)
    return parent / key


def _rows(net, head, crops, labels, folder: Path, *, stages: dict, **options) -> Iterator[dict]:
    """Rows of both stages; a finished first stage is kept, so that it is not repeated."""
    kept = folder / "head.safetensors"
    for stage, rates in stages.items():
        frozen = stage == FROZEN
        if frozen and kept.exists():
            head.load_state_dict(load_file(kept))
            yield from ({"stage": stage} for _ in rates)
            continue
        options |= {"rates": rates, "frozen": frozen, "resume_in": folder}
        for row in training.fit(net, head, crops, labels, **options):
            yield {"stage": stage} | row
        if frozen:
            partial_path = kept.with_suffix(".partial")
            save_file(head.state_dict(), partial_path)
            partial_path.replace(kept)


def _loss(net, head, crops: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross entropy of photos as they are, with the margins of the training."""
    device = next(head.parameters()).device
    features = torch.from_numpy(training.embed(net, crops)).to(device)
    with torch.no_grad():
        return head(features, torch.as_tensor(labels, device=device)).item()


def _top1(net, crops: np.ndarray, table: pd.DataFrame) -> float:
    answers = evaluation.answers(training.embed(net, crops), table.reset_index(drop=True))
    return float(answers["top1"].mean())  # without queries that have no mate


def _read_curve(path: Path) -> list[dict]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def _write_curve(rows: list[dict], path: Path) -> None:
    partial_path = path.with_suffix(".partial")
    pd.DataFrame(rows).to_csv(partial_path, index=False, lineterminator="\n")
    partial_path.replace(path)
