"""Asks trained networks about test photos: chapter 4 in one call, for the chapters after it."""

from pathlib import Path

import numpy as np
import pandas as pd

from miewid_lib import models, retrieval, training
from miewid_lib.progress import progress


def ask(folder: Path, test: pd.DataFrame, crops: np.ndarray) -> pd.DataFrame:
    """Answers of all models of a folder: rows of `answers`, with model and seed.

    folder: safetensors files and `runs.csv` (file, model, seed, species it answers for), as chapter
    3 writes them. test: rows of a split table, numbered from 0; crops: uint8 [N, S, S, 3].
    """
    runs, tables = pd.read_csv(folder / "runs.csv"), []
    for (model, seed), files in runs.groupby(["model", "seed"]):
        vectors = embed(folder, files, test["species"], crops)
        tables.append(answers(vectors, test).assign(model=model, seed=seed))
    return pd.concat(tables, ignore_index=True)


def embed(folder: Path, runs: pd.DataFrame, species: pd.Series, crops: np.ndarray) -> np.ndarray:
    """Vectors [N, D], each from the network of `runs` that answers for the photo's species.

    runs: file and species, each species once; NaN where no network answers for a species.
    """
    vectors = None
    for file, part in progress(list(runs.groupby("file", sort=False)), label="embedding"):
        net = models.load(folder / f"{file}.safetensors")
        if vectors is None:
            vectors = np.full((len(crops), net.embedding_size), np.nan, np.float32)
        mine = species.isin(part["species"]).to_numpy()
        vectors[mine] = training.embed(net, crops[mine])
    return vectors


def answers(vectors: np.ndarray, test: pd.DataFrame) -> pd.DataFrame:
    """`retrieval.one_vs_rest` within species, own encounter left out, with facts of the query.

    Adds species, seen and annotation_id; query is the row of `test`.
    """
    who = {"groups": test["species"], "exclude": test["encounter"]}
    table = retrieval.one_vs_rest(vectors, test["identity"], **who)
    facts = test[["species", "seen", "annotation_id"]].iloc[table["query"]]
    return table.assign(**facts.reset_index(drop=True))


def score_table(per_query: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """All scores of all models: a row a model, seed and species, and their mean over species.

    per_query: answers with model and seed. Columns: those of `retrieval.summarise` by model, seed
    and species ("mean" is the unweighted mean, with n_species), then n_queries and top1 of seen and
    of unseen animals. seed is text; "mean" gives each query its mean over the seeds.
    """
    averaged = retrieval.mean_over_seeds(per_query).assign(seed="mean")
    every = pd.concat([per_query.astype({"seed": str}), averaged], ignore_index=True)
    keys, options = ["model", "seed", "species"], {"seed": seed, "n_bootstrap": n_bootstrap}
    scores = retrieval.summarise(every, by=keys, **options)
    kinds = retrieval.summarise(every, by=[*keys, "seen"], seed=seed, n_bootstrap=1)
    halves = kinds.pivot(index=keys, columns="seen", values=["n_queries", "top1"])
    halves.columns = [f"{name}_{'seen' if seen else 'unseen'}" for name, seen in halves.columns]
    means = [
        retrieval.species_mean(part, by="species", **options).assign(model=model, seed=run)
        for (model, run), part in every.groupby(["model", "seed"])
    ]
    each = scores.merge(halves.reset_index(), on=keys, how="left")
    return pd.concat([each, *means], ignore_index=True)
