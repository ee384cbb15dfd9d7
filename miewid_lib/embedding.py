"""Embeds any number of photos from disk: as fast as the network, in little memory, to be resumed.

Each thread decodes a batch of photos and embeds it with one thread of torch, so decoding goes on
beside the network, and the result does not depend on the number of threads.
"""

import hashlib
import inspect
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from miewid_lib import decoding, depthwise, images, models, public, store, training
from miewid_lib.errors import ImageError
from miewid_lib.progress import progress

PART = 1024  # photos in a part on disk; a killed run loses at most so many
BATCH, BATCH_PIXELS = 64, 64 * 128 * 128  # photos at once, fewer where they are large
BOX = ["x", "y", "w", "h"]


def to_parts(
    net: models.EmbeddingNet | public.PublicNet,
    table: pd.DataFrame,
    root: Path,
    folder: Path,
    *,
    size_px: int,
    model: str,
    threads: int,
) -> list[Path]:
    """Embed a row of `table` after the other into files in `folder`; return those, in order.

    Photos are under `root`. A file is named by all that determines it: photos (path, size in bytes,
    time of change), boxes, size_px, `model` (digest of the weights), code and version of torch.
    What an earlier run left there is kept if it is whole. See `read_part`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [table.iloc[start : start + PART] for start in range(0, len(table), PART)]
    code = (decoding, depthwise, images, models, public, training)
    settings = [model, size_px, torch.__version__, *map(inspect.getsource, code)]
    paths = [folder / f"{_digest(part, root, settings)}.npz" for part in parts]
    missing = [i for i, path in enumerate(paths) if read_part(path) is None]
    n_left = sum(len(parts[i]) for i in missing)
    every = _stream(net, [parts[i] for i in missing], Path(root), size_px, threads=threads)
    every = progress(every, total=n_left, label="embedding") if n_left else every
    for i in missing:
        results = [next(every) for _ in range(len(parts[i]))]
        reasons = np.array([result if isinstance(result, str) else "" for result in results])
        vectors = [result for result in results if not isinstance(result, str)]
        shape = len(vectors), net.embedding_size
        _write_part(paths[i], np.array(vectors, np.float32).reshape(shape), reasons)
    for _ in every:  # let the bar come to its end
        raise AssertionError("more results than photos")
    return paths


def read_part(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Vectors float32 [n, D] and, for every row of the part, why it has none ("" if it has one).

    None where the file is not there or not whole.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            vectors, reasons = file["vectors"], file["reasons"]
    except store.FAULTS:
        return None
    return (vectors, reasons) if (reasons == "").sum() == len(vectors) else None


def batch_size(size_px: int) -> int:
    """Crops that a thread embeds at once: fewer where they are large, so that memory stays flat."""
    return max(1, min(BATCH, BATCH_PIXELS // size_px**2))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, and of a `config.json` beside it, which may say what the network is."""
    digest = hashlib.sha256()
    for file in (path, path.with_name("config.json")):
        if file.is_file():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _write_part(path: Path, vectors: np.ndarray, reasons: np.ndarray) -> None:
    partial_path = path.with_suffix(".partial")
    with partial_path.open("wb") as file:
        np.savez(file, vectors=vectors, reasons=reasons)
    partial_path.replace(path)


def _digest(part: pd.DataFrame, root: Path, settings: list) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for row in part[["image_path", *BOX, "theta_rad"]].itertuples(index=False):
        try:
            facts = os.stat(root / row.image_path)
            digest.update(repr((*row, facts.st_size, facts.st_mtime_ns)).encode())
        except (OSError, ValueError):
            digest.update(repr((*row, None)).encode())
    return digest.hexdigest()[:32]


def _stream(net, parts: list, root: Path, size_px: int, *, threads: int) -> Iterator:
    """For each row its vector [D], or the text that says why there is none."""
    n = batch_size(size_px)
    batches = (part.iloc[i : i + n] for part in parts for i in range(0, len(part), n))
    net = net.to(memory_format=torch.channels_last)
    job = partial(_batch, net, root=root, size_px=size_px)
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with (
        warnings.catch_warnings(action="ignore"),
        ThreadPoolExecutor(threads, **one_thread) as pool,
    ):
        for results in _in_order(pool, job, batches, ahead=2 * threads):
            yield from results


def _batch(net, rows: pd.DataFrame, *, root: Path, size_px: int) -> list:
    """Of each row its vector, or the reason why there is none."""
    crops, results = [], []
    for path, *box, theta_rad in rows[["image_path", *BOX, "theta_rad"]].to_numpy(object):
        try:
            crops.append(decoding.crop(root / path, tuple(box), theta_rad, size_px=size_px))
            results.append(None)
        except ImageError as error:
            results.append(str(error))
    if crops:
        vectors = iter(training.embed(net, np.stack(crops), batch_size=len(crops)))
    return [next(vectors) if result is None else result for result in results]


def _in_order(pool: Executor, function: Callable, jobs: Iterable, *, ahead: int) -> Iterator:
    """Results in the order of the jobs, of which no more than `ahead` wait or run at a time."""
    waiting: deque = deque()
    for job in jobs:
        waiting.append(pool.submit(function, job))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
