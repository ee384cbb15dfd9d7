"""Tries settings on splits that hold no annotation of the final test.

The paper tunes on splits drawn with other seeds than the final one. Such splits still hold photos
that the final test asks about, so here they are drawn from the training part of the final split
alone: whatever is chosen on them, the final test has had no say in it. Optional:
`dvc repro tuning/dvc.yaml` runs it, and nothing else depends on it.
"""

import argparse
import sys
from itertools import product

import numpy as np
import pandas as pd

from miewid_lib import annotations, losses, models, retrieval, splits, training
from miewid_lib.errors import MiewidError
from miewid_lib.paths import ROOT, need, reports
from miewid_lib.progress import progress


def tuning_split(table: pd.DataFrame, *, seed: int, **shares) -> pd.DataFrame:
    """Return the training rows of a split table, split anew; row numbers of `table` are kept.

    Encounters, identities and roles follow the rules of `splits.split`. Raises SplitError.
    """
    rows = table[table["part"] == "train"].drop(columns=["part", "seen", "reason"])
    return splits.split(rows, seed=seed, **shares)


def score(
    parts: pd.DataFrame,
    crops: np.ndarray,
    *,
    seed: int,
    settings: dict,
    backbone: str,
    pretrained: bool = True,
) -> dict:
    """Train one joint model on the training part of `parts`, ask its test part; mean top-1 and 5.

    parts: as from `tuning_split`, its index the rows of `crops`, uint8 [N, S, S, 3]. settings:
    epochs, ramp, decay, lr_start, lr_max, lr_min, batch_size, precision.
    """
    import torch

    train, test = (parts[parts["part"] == part] for part in ("train", "test"))
    labels, identities = pd.factorize(train["identity"], sort=True)
    torch.manual_seed(seed)
    net = models.EmbeddingNet(backbone, pretrained=pretrained)
    margins_rad = losses.dynamic_margins(np.bincount(labels))
    head = losses.SubCenterArcFace(net.embedding_size, len(identities), margins_rad=margins_rad)
    names = ("epochs", "ramp", "decay", "lr_start", "lr_max", "lr_min")
    rates = training.learning_rates(**{name: settings[name] for name in names})
    options = {"batch_size": settings["batch_size"], "precision": settings["precision"]}
    for _ in training.fit(net, head, crops[train.index], labels, rates=rates, seed=seed, **options):
        pass
    vectors = training.embed(net, crops[test.index])
    who = {"groups": test["species"], "exclude": test["encounter"], "top_k": (1, 5)}
    answers = retrieval.one_vs_rest(vectors, test["identity"], **who)
    mean = retrieval.species_mean(answers, seed=seed, n_bootstrap=200).iloc[0]
    return mean[["n_species", "n_queries", "top1", "top1_low", "top1_high", "top5"]].to_dict()


def grid(fixed: dict, *, lr_max: list[float], batch_size: list[int]) -> list[dict]:
    """Return a setting for every pair of the lists; lr_start is a fixed share of lr_max.

    >>> grid({"lr_start_share": 0.5}, lr_max=[2.0, 4.0], batch_size=[8])[1]
    {'lr_max': 4.0, 'lr_start': 2.0, 'batch_size': 8}
    """
    rest = {name: value for name, value in fixed.items() if name != "lr_start_share"}
    return [
        rest | {"lr_max": rate, "lr_start": rate * fixed["lr_start_share"], "batch_size": size}
        for rate, size in product(lr_max, batch_size)
    ]


def run(table: pd.DataFrame, crops: np.ndarray, *, seeds: list[int], tried: list[dict], **options):
    """Score every setting on the tuning split of every seed; one row each, best setting first."""
    rows = []
    for seed, settings in progress(list(product(seeds, tried)), label="tuning"):
        parts = tuning_split(table, seed=seed)
        shown = {name: settings[name] for name in ("lr_max", "batch_size", "epochs")}
        scored = score(parts, crops, seed=0, settings=settings, **options)
        rows.append(shown | {"seed": seed} | scored)
    result = pd.DataFrame(rows)
    result["mean_top1"] = result.groupby(["lr_max", "batch_size"])["top1"].transform("mean")
    order = ["mean_top1", "lr_max", "batch_size", "seed"]
    return result.sort_values(order, ascending=[False, True, True, True], ignore_index=True)


def main(argv: list[str] | None = None) -> int:
    """Command line of the stage: lists to try, and the settings of `train` that stay."""
    parser = argparse.ArgumentParser(prog="miewid_lib.tuning", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="of tuning splits")
    for name, kind in (("lr_max", float), ("batch_size", int)):
        parser.add_argument(f"--{name}", type=kind, nargs="+", required=True, help="to try")
    for name in ("backbone", "precision"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("epochs", "ramp"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("decay", "lr_min", "lr_start_share"):
        parser.add_argument(f"--{name}", type=float, required=True)
    fixed = vars(parser.parse_args(argv))
    lists = {name: fixed.pop(name) for name in ("lr_max", "batch_size")}
    seeds, backbone = fixed.pop("seeds"), fixed.pop("backbone")
    try:
        path = need(ROOT / "data" / "split.csv", made_by="02_split")
        crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
        result = run(
            annotations.read(path),
            crops,
            seeds=seeds,
            tried=grid(fixed, **lists),
            backbone=backbone,
        )
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    result.round(4).to_csv(reports("tables") / "tuning.csv", index=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
