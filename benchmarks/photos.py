"""From photos on disk to vectors, as `python -m miewid_lib embed` does: decode, crop, embed.

The limit is the network alone on as many crops that are in memory already, two threads with a batch
of the same size each. Photos are procedural animals; links give few files many names.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.training import network

N_FILES, THREADS = 300, 2


def make(folder: Path, n: int, size_px: int) -> None:
    """Write a few hundred photos with n names to folder/photos, and their boxes."""
    from miewid_lib.sources import synthetic

    species = ["plains zebra", "giraffe", "tiger"]
    table = synthetic.write(folder / "drawn", species=species, seed=1, n_annotations=N_FILES)
    (folder / "photos").mkdir()
    rows = []
    for i in range(n):
        row = table.iloc[i % len(table)]
        name = f"{i}{Path(row['image_path']).suffix}"
        os.link(folder / "drawn" / row["image_path"], folder / "photos" / name)
        rows.append({"image_path": name, **row[["x", "y", "w", "h", "theta_rad"]]})
    pd.DataFrame(rows).to_csv(folder / "boxes.csv", index=False)


def _ours(folder, n, size_px):
    from miewid_lib import embedding

    table, net = pd.read_csv(folder / "boxes.csv"), network().eval()
    options = {"size_px": size_px, "model": "benchmark", "threads": THREADS}
    os.environ["MIEWID_PROGRESS"] = os.devnull
    embedding.to_parts(net, table.head(64), folder / "photos", folder / "warm", **options)

    def work():
        parts = embedding.to_parts(net, table, folder / "photos", folder / "parts", **options)
        read = [embedding.read_part(path) for path in parts]
        for path in parts:
            path.unlink()  # the next repeat starts anew
        return lambda: {"vectors": sum(len(vectors) for vectors, _ in read)}

    return work


def _bare(folder, n, size_px):
    from miewid_lib import embedding, parallel

    parallel.keep_memory()  # as `embed` does
    net = network().eval().to(memory_format=torch.channels_last)
    largest = embedding.batch_size(size_px)
    pixels = np.random.default_rng(0).random((largest, 3, size_px, size_px), np.float32)
    batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)

    def forward(size):
        with torch.inference_mode():
            return len(net(batch[:size]))

    sizes = [largest] * (n // largest) + ([n % largest] if n % largest else [])
    one_thread = {"initializer": torch.set_num_threads, "initargs": (1,)}

    def work():
        with ThreadPoolExecutor(THREADS, **one_thread) as pool:
            total = sum(pool.map(forward, sizes))
        return lambda: {"vectors": total}

    forward(largest)
    return work


OURS = {"miewid_lib embed": _ours}
PEERS: dict = {}
LIMITS = {"network alone, crops in memory": _bare}
