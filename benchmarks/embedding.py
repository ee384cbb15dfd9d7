"""Embedding crops of 72 px with a trained network, float32."""

import numpy as np
import torch

from benchmarks.training import BATCH, SIZE_PX, network


def _crops(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(n, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def _ours(folder, n):
    from miewid_lib import training

    net, crops = network().eval(), _crops(n)
    training.embed(net, crops[:64])

    def work():
        vectors = training.embed(net, crops)
        return lambda: {"mean": round(float(np.abs(vectors).mean()), 5)}

    return work


def _plain(folder, n):
    from torch.utils.data import DataLoader, TensorDataset

    net, photos = network().eval(), torch.from_numpy(_crops(n)).permute(0, 3, 1, 2)
    loader = DataLoader(TensorDataset(photos.contiguous()), batch_size=BATCH)

    def work():
        with torch.no_grad():
            rows = [net(net.normalise(batch.float() / 255)) for (batch,) in loader]
        return lambda: {"mean": round(float(torch.cat(rows).abs().mean()), 5)}

    work()
    return work


def _wildlife(folder, n):
    from wildlife_tools.features import DeepFeatures

    net = network().eval()
    photos = net.normalise(torch.from_numpy(_crops(n)).permute(0, 3, 1, 2).float() / 255)
    extract = DeepFeatures(net, batch_size=BATCH, num_workers=0, device="cpu")
    pairs = [(photo, 0) for photo in photos]

    def work():
        extract(pairs)
        return dict

    return work


def _bare(folder, n):
    from miewid_lib import parallel

    parallel.keep_memory()  # as `embed` does
    net = network().eval().to(memory_format=torch.channels_last)
    photos = net.normalise(torch.from_numpy(_crops(n)).permute(0, 3, 1, 2).float() / 255)
    batches = photos.contiguous(memory_format=torch.channels_last).split(64)

    def work():
        with torch.inference_mode():
            for batch in batches:
                net(batch)
        return dict

    work()
    return work


OURS = {"miewid_lib embed": _ours}
PEERS = {"plain loop, no_grad, DataLoader": _plain, "wildlife-tools DeepFeatures": _wildlife}
LIMITS = {"bare forward": _bare}
