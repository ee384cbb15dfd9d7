"""Training: the same network, photos and augmentation; ours in bfloat16 with channels last, the
others in float32.

The limits run the network forward and backward, without augmentation, loss head and optimiser.
top1 is one-vs-rest on photos that were not trained on; one epoch of a few photos teaches little.
"""

import math
import time
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch

BACKBONE, SIZE_PX, BATCH = "tf_efficientnet_lite0", 72, 32
SCALE, MARGIN_RAD, LR = 51.96, 0.3284, 1e-3


def make(folder, n: int, epochs: int, seed: int) -> None:
    """Write crops and labels of n photos for training and as many for the test."""
    from miewid_lib import annotations, images
    from miewid_lib.sources import synthetic

    species = ["plains zebra", "friesian cattle", "tiger"]
    table = synthetic.write(folder / "drawn", species=species, seed=1, n_annotations=2 * n + 60)
    table, _ = annotations.clean(table, folder / "drawn", min_side_px=8)
    table = annotations.set_identity(table)
    # whole encounters, so that no test photo has its twin in training
    encounter = table["encounter"].fillna(table["image_path"])
    test = table.groupby("identity")["image_path"].transform("size").gt(0)
    test &= encounter.groupby(table["identity"]).transform(lambda e: e.factorize()[0] % 2 == 1)
    for name, part in (("train", table[~test]), ("test", table[test])):
        part = part.sample(frac=1, random_state=0).head(n)
        crops = images.crops(part, folder / "drawn", size_px=SIZE_PX)
        codes, _ = part["identity"].factorize()
        events = encounter[part.index].factorize()[0]
        np.savez(folder / f"{name}.npz", crops=crops, labels=codes, encounters=events)


def network(seed: int = 0, *, trained: bool = True):
    """Return the network that all sides share, from the same seed, which decides what follows."""
    from miewid_lib import models

    torch.manual_seed(seed)
    return models.EmbeddingNet(BACKBONE, pretrained=trained)


def _read(folder) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / "train.npz") as saved:
        return saved["crops"], saved["labels"]


def _answer(folder, net):
    from miewid_lib import retrieval, training

    def answer():
        with np.load(folder / "test.npz") as saved:
            crops, labels, events = saved["crops"], saved["labels"], saved["encounters"]
        table = retrieval.one_vs_rest(training.embed(net, crops), labels, exclude=events)
        return {"top1": round(float(table["top1"].mean()), 4)}

    return answer


def _ours(folder, n, epochs, seed):
    from miewid_lib import losses, training

    crops, labels = _read(folder)
    net, n_classes = network(seed), labels.max() + 1
    margins = np.full(n_classes, MARGIN_RAD)
    head = losses.SubCenterArcFace(net.embedding_size, n_classes, scale=SCALE, margins_rad=margins)
    options = {"batch_size": BATCH, "seed": seed, "precision": "bfloat16"}
    list(training.fit(net, head, crops[:BATCH], labels[:BATCH], rates=[0.0], **options))

    def work():
        start = time.perf_counter()
        with _elsewhere(training) as seconds:
            list(training.fit(net, head, crops, labels, rates=[LR] * epochs, **options))
        share = 1 - sum(seconds) / (time.perf_counter() - start)
        score = _answer(folder, net)
        return lambda: score() | {"forward and backward, share": round(share, 3)}

    return work


@contextmanager
def _elsewhere(training):
    """Collect the seconds that `fit` spends on preparing photos and on the optimiser's steps."""
    seconds: list[float] = []

    def timed(function):
        def run(*args, **options):
            start = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                seconds.append(time.perf_counter() - start)

        return run

    varied, adam = training._varied, torch.optim.Adam
    photos = patch.object(training, "_varied", lambda *args: iter(timed(varied(*args).__next__), 0))
    with photos, patch.object(adam, "step", timed(adam.step)):
        yield seconds


def _loader(crops, labels):
    from torch.utils.data import DataLoader, TensorDataset

    photos = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
    pairs = TensorDataset(photos, torch.from_numpy(labels))
    return DataLoader(pairs, batch_size=BATCH, shuffle=True, drop_last=True)


def _metric_learning(folder, n, epochs, seed):
    from pytorch_metric_learning.losses import SubCenterArcFaceLoss

    from miewid_lib import images

    crops, labels = _read(folder)
    net = network(seed)
    loss_of = SubCenterArcFaceLoss(
        num_classes=int(labels.max()) + 1,
        embedding_size=net.embedding_size,
        margin=math.degrees(MARGIN_RAD),
        scale=SCALE,
    )
    draws = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam([*net.parameters(), *loss_of.parameters()], lr=LR)

    def step(photos, y):
        photos = images.augment(photos.float() / 255, generator=draws)
        loss = loss_of(net(net.normalise(photos)), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    step(*next(iter(_loader(crops, labels))))
    loader = _loader(crops, labels)

    def work():
        net.train()
        for _ in range(epochs):
            for photos, y in loader:
                step(photos, y)
        return _answer(folder, net)

    return work


def _wildlife(folder, n, epochs, seed):
    from torch.utils.data import TensorDataset
    from wildlife_tools.train import ArcFaceLoss, BasicTrainer

    crops, labels = _read(folder)
    net = network(seed)
    photos = net.normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255)
    classes = int(labels.max()) + 1
    objective = ArcFaceLoss(classes, net.embedding_size, margin=MARGIN_RAD, scale=SCALE)
    optimiser = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=LR)
    options = {"device": "cpu", "batch_size": BATCH, "num_workers": 0}
    pairs = TensorDataset(photos.contiguous(), torch.from_numpy(labels))
    trainer = BasicTrainer(pairs, net, objective, optimiser, epochs, **options)
    objective(net(photos[:BATCH]), torch.from_numpy(labels[:BATCH])).backward()

    def work():
        trainer.train()
        return _answer(folder, net)

    return work


def _bare(*, reduced: bool):
    def prepare(folder, n, epochs, seed):
        from miewid_lib import parallel

        parallel.keep_memory()  # as `fit` does
        crops, _ = _read(folder)
        net = network(seed).to(memory_format=torch.channels_last)
        photos = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
        photos = net.normalise(photos).contiguous(memory_format=torch.channels_last)
        batches = [part for part in photos.split(BATCH) if len(part) > 1]

        def step(batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                features = net(batch)
            features.float().sum().backward()
            net.zero_grad()

        step(batches[0])

        def work():
            for _ in range(epochs):
                for batch in batches:
                    step(batch)
            return dict

        return work

    return prepare


OURS = {"miewid_lib fit (bfloat16, channels last)": _ours}
PEERS = {
    "float32 loop with pytorch-metric-learning": _metric_learning,
    "wildlife-tools BasicTrainer (no augmentation, no sub-centers)": _wildlife,
}
LIMITS = {
    "bare forward + backward, bfloat16": _bare(reduced=True),
    "bare forward + backward, float32": _bare(reduced=False),
}
