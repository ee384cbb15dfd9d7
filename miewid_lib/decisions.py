"""Known animal or new one? Thresholds and probabilities per species, and how often they are wrong.

A trial asks one photo of a catalogue. Half of the animals of a species (the calibration half) set
the threshold and the probability, the other half (evaluation) says how good they are; the two share
neither queries nor catalogue. In each of several draws half of the animals of each half are known:
their photos are the catalogue, and each is asked about without the photos of its own encounter. The
others are new: nothing of them is in the catalogue.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame

from miewid_lib.errors import RetrievalError
from miewid_lib.similarity import similarities, unit

HALVES = ("calibration", "evaluation")


class Calibration(NamedTuple):
    """What a species' calibration half says: accept from `threshold` on (a cosine)."""

    species: str
    n_animals: int  # fewer of the two halves, animals that can be known (two encounters or more)
    threshold: float  # NaN where there are too few
    slope: float  # of the logistic curve from cosine to probability that the candidate is right
    intercept: float
    note: str


def trials(vectors: np.ndarray, table: DataFrame, *, seed: int, n_draws: int = 20) -> DataFrame:
    """Ask about every photo in every draw, within species; one row a trial.

    vectors [N, D]; table: species, individual, identity, encounter of N photos. Columns: query and
    candidate (row numbers; the candidate is the most similar photo), species, animal
    (species|individual), half, draw, known, similarity, right (the candidate shows the query's
    animal), n_catalogue. Left out: queries of known animals that have no photo of their own
    identity (side) from another encounter in the catalogue, and where the catalogue is empty.
    Draws depend on seed and names, not on the order of rows. Raises RetrievalError.
    """
    vectors = unit(vectors, "embeddings")
    if table[["species", "individual", "identity", "encounter"]].isna().any(axis=None):
        raise RetrievalError("every photo needs species, individual, identity and encounter")
    animal = (table["species"] + "|" + table["individual"]).reset_index(drop=True)
    found = []
    for species, rows in animal.groupby(table["species"].to_numpy()):
        names = np.sort(rows.unique())
        rng = np.random.default_rng([seed, *species.encode()])
        order = rng.permutation(len(names))
        for half, mine in zip(HALVES, (order[::2], order[1::2]), strict=True):
            known = [rng.permutation(len(mine)) < (len(mine) + 1) // 2 for _ in range(n_draws)]
            photos = np.flatnonzero(animal.isin(names[mine]))
            who = pd.Index(names[mine]).get_indexer(animal[photos])
            is_known = np.array(known, bool).reshape(n_draws, len(mine))[:, who]
            part = _ask(vectors[photos], table.iloc[photos], who, is_known)
            part[["query", "candidate"]] = photos[part[["query", "candidate"]].to_numpy()]
            who = animal[part["query"]].array
            found.append(part.assign(species=species, half=half, animal=who))
    return pd.concat(found, ignore_index=True)


def _ask(vectors: np.ndarray, table: DataFrame, animal: np.ndarray, known: np.ndarray) -> DataFrame:
    """Trials of one half: vectors [M, D], animal codes [M], known [draws, M]."""
    identity, encounter = (pd.factorize(table[c])[0] for c in ("identity", "encounter"))
    parts = [np.zeros((0, 6))]
    for i, cosine in similarities(vectors, vectors):
        apart = (encounter != encounter[i]) & (np.arange(len(cosine)) != i)
        there = known & apart  # [draws, M], the catalogue of each draw
        mates = (there & (identity == identity[i])).any(axis=1)
        draws = np.flatnonzero(there.any(axis=1) & (mates | ~known[:, i]))
        inside = np.where(there[draws], cosine, -np.inf)
        best = inside.argmax(axis=1) if len(draws) else np.array([], int)
        facts = np.full(len(draws), i), draws, known[draws, i], best, cosine[best]
        parts.append(np.column_stack([*facts, there[draws].sum(axis=1)]))
    query, draw, is_known, best, cosine, n = np.concatenate(parts).T
    query, best = query.astype(int), best.astype(int)
    return DataFrame({
        "query": query, "draw": draw.astype(int), "known": is_known.astype(bool),
        "candidate": best, "similarity": cosine, "right": animal[best] == animal[query],
        "n_catalogue": n.astype(int),
    })  # fmt: skip


def weights(part: DataFrame) -> np.ndarray:
    """Weight of each trial: animals count alike, and known animals as much as new ones."""
    trials_of_animal = part.groupby(["known", "animal"])["query"].transform("size")
    animals = part.groupby("known")["animal"].transform("nunique")
    return (1 / (trials_of_animal * animals)).to_numpy(float)


def calibrate(asked: DataFrame, *, min_animals: int) -> list[Calibration]:
    """Threshold and probability of each species from its calibration half alone.

    asked: rows of `trials`. The threshold maximises, on the calibration animals, the mean of the
    shares of known animals named rightly and of new animals turned away; halfway between
    neighbouring cosines, the lowest of equally good ones. The probability is logistic regression of
    `right` on the cosine (J. Platt 1999), weighted by `weights`, never falling. No number where
    either half has fewer than `min_animals` animals that served as known.
    """
    rows = []
    for species, part in asked.groupby("species"):
        served = part[part["known"]].groupby("half")["animal"].nunique()
        n = int(served.reindex(list(HALVES), fill_value=0).min())
        mine = part[part["half"] == HALVES[0]]
        if n < min_animals:
            note = f"too few animals: {n} known ones in the smaller half, {min_animals} needed"
            rows.append(Calibration(species, n, np.nan, np.nan, np.nan, note))
        else:
            curve = _logistic(mine)
            rows.append(Calibration(species, n, _threshold(mine), *curve, ""))
    return rows


def _threshold(part: DataFrame) -> float:
    """The cosine from which accepting is worth most on these trials."""
    worth = np.select([part["right"] & part["known"], ~part["known"]], [1.0, -1.0], 0.0)
    gain = pd.Series(worth * weights(part)).groupby(part["similarity"].to_numpy()).sum()
    cosines, total = gain.index.to_numpy(), np.r_[gain.to_numpy()[::-1].cumsum()[::-1], 0.0]
    step = np.r_[cosines[0], (cosines[1:] + cosines[:-1]) / 2, np.nextafter(cosines[-1], 2)]
    return float(step[np.flatnonzero(total >= total.max() - 1e-12)[0]])


def _logistic(part: DataFrame) -> tuple[float, float]:
    """Slope (0 or more) and intercept; a constant where only one answer ever came."""
    from sklearn.linear_model import LogisticRegression

    right, weight = part["right"].to_numpy(), weights(part)
    share = np.average(right, weights=weight).clip(1e-3, 1 - 1e-3)
    constant = 0.0, float(np.log(share / (1 - share)))
    if right.all() or not right.any():
        return constant
    cosine = part["similarity"].to_numpy(float)
    middle, spread = float(cosine.mean()), float(cosine.std()) or 1.0
    scaled = ((cosine - middle) / spread)[:, None]
    fit = LogisticRegression().fit(scaled, right, sample_weight=weight * len(set(part["animal"])))
    slope = float(fit.coef_[0, 0]) / spread
    return (slope, float(fit.intercept_[0]) - slope * middle) if slope > 0 else constant


def judge(asked: DataFrame, calibrations: Sequence[Calibration]) -> DataFrame:
    """Add probability (that the candidate is right) and accepted to rows with species, similarity.

    Rows of species without a threshold are left out.
    """
    able = [c for c in calibrations if not np.isnan(c.threshold)]
    numbers = DataFrame(able, columns=Calibration._fields).set_index("species")
    rows = asked[asked["species"].isin(numbers.index)]
    mine = numbers.loc[rows["species"]]
    cosine = rows["similarity"].to_numpy(float)
    logit = mine["slope"].to_numpy(float) * cosine + mine["intercept"].to_numpy(float)
    accepted = cosine >= mine["threshold"].to_numpy(float)
    return rows.assign(probability=1 / (1 + np.exp(-logit)), accepted=accepted)
