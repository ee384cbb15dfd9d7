"""The paper's size on two cores: every stage that needs no network, and the first steps of one.

A made-up table of 225,374 annotations, 37,138 individuals and 49 species with a heavy tail goes
through reading, cleaning, splitting, ranking, scoring and drawing; photos are tiny and embeddings
are made up, since neither decoding nor a network is measured here. `first steps` trains the paper's
network (params/paper.yaml) on random photos, on the CPU, with all 37,138 classes.
"""

import json
import os
import time

import numpy as np

N_ANNOTATIONS, N_INDIVIDUALS, N_SPECIES = 225_374, 37_138, 49
SIZE, N_FILES = 2152, 64  # numbers an embedding; photo files, each linked under many names


def shares(n: int, parts: int, power: float) -> np.ndarray:
    """Split n into `parts` whole numbers of at least 1 that fall like rank^-power.

    >>> shares(10, 3, 1.0).tolist()
    [5, 3, 2]
    """
    ideal = np.arange(1, parts + 1) ** -power
    ideal *= (n - parts) / ideal.sum()
    whole = np.floor(ideal).astype(int) + 1
    whole[np.argsort(whole - ideal, kind="stable")[: n - whole.sum()]] += 1
    return whole


def make(folder, part: str, scale: float = 1.0) -> None:
    """Write tiny photos and a COCO file of the paper's size, times `scale`."""
    if part != "no network":
        return
    from PIL import Image

    rng = np.random.default_rng(0)
    n, n_animals = int(N_ANNOTATIONS * scale), int(N_INDIVIDUALS * scale)
    animals = np.repeat(np.arange(N_SPECIES), shares(n_animals, N_SPECIES, 1.0))
    photos = rng.permutation(shares(n, n_animals, 0.6))
    owner = np.repeat(np.arange(n_animals), photos)
    (folder / "photos").mkdir()
    for k in range(N_FILES):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"file{k}.jpg")
    images, boxes = [], []
    for i, animal in enumerate(owner):
        os.link(folder / "photos" / f"file{i % N_FILES}.jpg", folder / "photos" / f"{i}.jpg")
        images.append({"id": i, "file_name": f"photos/{i}.jpg"})
        species = f"species {animals[animal]:02d}"
        box = {"id": i, "image_id": i, "bbox": [4, 4, 50, 40], "species": species}
        facts = {"individual_id": f"animal {animal}", "viewpoint": ["left", "right"][i % 2]}
        boxes.append(box | facts | {"encounter_id": f"{animal}-{i // 2}"})
    content = {"images": images, "annotations": boxes}
    (folder / "annotations.json").write_text(json.dumps(content))


def _ours(folder, part: str, scale: float = 1.0):
    return _no_network(folder) if part == "no network" else _first_steps()


def _no_network(folder):
    import pandas as pd

    from miewid_lib import annotations, charts, evaluation, figures, retrieval, splits
    from miewid_lib.sources import coco

    seconds = {}

    def timed(stage, function, *args, **options):
        start = time.perf_counter()
        result = function(*args, **options)
        seconds[stage] = round(seconds.get(stage, 0) + time.perf_counter() - start, 1)
        return result

    def work():
        table = timed("assembly", coco.read, folder / "annotations.json", folder)
        table = timed("assembly", annotations.set_identity, table, lateral=["species 00"])
        table = timed("assembly", annotations.fill_encounters, table)
        table, dropped = timed("assembly", annotations.clean, table, folder, min_side_px=24)
        parts = timed("split", splits.split, table, seed=1, train_share=0.7, unseen_share=0.5)
        test = parts[parts["part"] == "test"].reset_index(drop=True)
        vectors = embeddings(test["identity"].factorize()[0])
        answers = {}
        for seed, model in enumerate(("multispecies", "single")):
            vectors += np.random.default_rng(seed).standard_normal(SIZE, np.float32)
            rows = timed("retrieval", evaluation.answers, vectors, test)
            answers[model] = rows.assign(model=model, seed=0)
        per_query = pd.concat(answers.values(), ignore_index=True)
        scores = timed("tables", evaluation.score_table, per_query, seed=0)
        averaged = timed("tables", retrieval.mean_over_seeds, per_query)
        pair = [("multispecies", "single")]
        gains = timed("tables", retrieval.compare, averaged, pair, seed=0, n_bootstrap=2000)
        order = list(table["species"].value_counts().sort_values(kind="stable").index)
        order = [name for name in order if name in set(gains["species"])]
        timed("figures", figures.counts, table)
        main = scores[(scores["seed"] == "mean") & (scores["species"] != "mean")]
        timed("figures", charts.scores, main, order=order)
        numbers = {"annotations": len(table), "dropped": len(dropped), "queries": len(test)}
        numbers |= {"individuals": table["individual"].nunique()}
        return lambda: numbers | {f"{stage} s": value for stage, value in seconds.items()}

    return work


def embeddings(identities: np.ndarray) -> np.ndarray:
    """Float32 [N, 2152], photos of one animal close together, filled block by block."""
    rng = np.random.default_rng(3)
    vectors = np.empty((len(identities), SIZE), np.float32)
    for start in range(0, len(vectors), 4096):
        block = vectors[start : start + 4096]
        block[:] = rng.standard_normal(block.shape, np.float32)
        block[:, :256] += (identities[start : start + 4096, None] * 7919 % np.arange(3, 259)) / 64
    return vectors


def _first_steps():
    import torch
    import yaml
    from torch.utils.flop_counter import FlopCounterMode

    from miewid_lib import losses, models, training
    from miewid_lib.paths import ROOT

    paper = yaml.safe_load((ROOT / "params" / "paper.yaml").read_text())
    train, size_px = paper["train"], paper["dataset"]["size_px"]
    torch.manual_seed(0)
    net = models.EmbeddingNet(train["backbone"])
    head = losses.SubCenterArcFace(
        net.embedding_size,
        N_INDIVIDUALS,
        n_subcenters=train["n_subcenters"],
        scale=train["scale"],
        margins_rad=losses.dynamic_margins(shares(N_ANNOTATIONS, N_INDIVIDUALS, 0.6)),
    )
    rng, n = np.random.default_rng(0), 2 * train["batch_size"]
    crops = rng.integers(0, 255, (n, size_px, size_px, 3), np.uint8)
    labels = rng.integers(0, N_INDIVIDUALS, n)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, 3, size_px, size_px))
    options = {"batch_size": train["batch_size"], "precision": train["precision"], "seed": 0}

    def work():
        rates = [train["lr_max"] / train["ramp"]]  # of the second epoch
        (row,) = training.fit(net, head, crops, labels, rates=rates, accumulate=4, **options)
        weights = sum(p.numel() for module in (net, head) for p in module.parameters())
        facts = {"steps": row["steps"], "loss": round(row["loss"], 2)}
        gflop = round(counter.get_total_flops() / 1e9, 1)
        return lambda: facts | {"million weights": weights // 10**6, "gflop a photo": gflop}

    return work


OURS = {"miewid_lib": _ours}
PEERS: dict = {}
LIMITS: dict = {}
