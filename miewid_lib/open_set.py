"""How often a decision between known and new is wrong, on animals that did not set it."""

import numpy as np
import pandas as pd
from pandas import DataFrame

from miewid_lib.intervals import over_species, row_of

METRICS = ("known_right", "known_wrong_name", "known_taken_for_new", "new_turned_away",
           "new_taken_for_known", "balanced_accuracy", "auc")  # fmt: skip
HEAD = ("species", "n_animals", "n_known", "n_new")
_COLUMNS = [*HEAD, *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high"))]


def scores(judged: DataFrame, *, seed: int, n_bootstrap: int = 1000) -> DataFrame:
    """Errors on the evaluation half: one row a species, then their mean, with 95 % intervals.

    judged: rows of `decisions.judge`. Each animal counts alike. known_right, known_wrong_name and
    known_taken_for_new add up to 1, as do new_turned_away and new_taken_for_known.
    balanced_accuracy is the mean of known_right and new_turned_away (0.5 for who calls every animal
    new); auc is the chance that the best cosine of a known animal exceeds that of a new one (0.5:
    it says nothing). n_known, n_new: photos asked as such. Intervals draw the evaluation animals
    again, threshold and curve stay; NaN for a single animal.
    """
    mine, rows, every = judged[judged["half"] == "evaluation"], [], []
    for species, part in mine.groupby("species"):
        n, rng = part["animal"].nunique(), np.random.default_rng(seed)
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_bootstrap)
        numbers = _numbers(part, np.vstack([np.ones(n), drawn]))  # [1 + n_bootstrap, M]
        asked = part.groupby("known")["query"].nunique().reindex([True, False], fill_value=0)
        rows.append(dict(zip(HEAD, (species, n, *asked), strict=True)) | _row(numbers, n > 1))
        every.append(numbers)
    if len(every) > 1:
        filled = [np.where(np.isnan(numbers), numbers[0], numbers) for numbers in every]
        total = DataFrame(rows)[list(HEAD[1:])].sum().to_dict()
        mean = over_species(np.stack(filled), None, resample_species=False)
        rows.append({"species": "mean"} | total | _row(mean, True))
    return DataFrame(rows, columns=_COLUMNS)


def reliability(judged: DataFrame, *, n_bins: int = 5) -> DataFrame:
    """Predicted against observed on the evaluation half: one row an equal bin of the probability.

    Columns: predicted and observed (means over trials: of the probability, and of whether the
    candidate is right), n_trials, n_photos, n_animals. Empty bins have no row.
    """
    mine = judged[judged["half"] == "evaluation"]
    bins = np.minimum((mine["probability"] * n_bins).astype(int), n_bins - 1)
    return mine.groupby(bins.to_numpy()).agg(
        predicted=("probability", "mean"), observed=("right", "mean"), n_trials=("query", "size"),
        n_photos=("query", "nunique"), n_animals=("animal", "nunique"),
    ).reset_index(drop=True)  # fmt: skip


def _row(numbers: np.ndarray, several: bool) -> dict:
    draws = np.where(np.isnan(numbers), numbers[0], numbers)[1:]  # a draw may lack known or new
    return row_of(list(METRICS), numbers[0], draws, several)


def _numbers(part: DataFrame, draws: np.ndarray) -> np.ndarray:
    """METRICS [B, M] where animals (in order of name) count as often as `draws` [B, I] says."""
    animal, n = pd.factorize(part["animal"], sort=True)[0], draws.shape[1]
    known = part["known"].to_numpy(bool)
    accepted, good = part["accepted"].to_numpy(bool), part["right"].to_numpy(bool)
    right, wrong = (_mean(_share(accepted & hit, animal, known, n), draws) for hit in (good, ~good))
    taken = _mean(_share(accepted, animal, ~known, n), draws)
    mean = (right + 1 - taken) / 2
    auc = _auc(part["similarity"].to_numpy(float), animal, known, draws)
    return np.column_stack([right, wrong, 1 - right - wrong, 1 - taken, taken, mean, auc])


def _share(hit: np.ndarray, animal: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Mean of `hit` over the chosen rows of each animal [n]; NaN for one without any."""
    return pd.Series(hit[rows], dtype=float).groupby(animal[rows]).mean().reindex(range(n)).array


def _mean(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return draws[:, there] @ values[there] / draws[:, there].sum(axis=1)


def _auc(
    cosine: np.ndarray, animal: np.ndarray, known: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Area under the ROC curve for each draw: pairs of a known and a new animal that are in order.

    >>> cosine, known = np.array([0.9, 0.4, 0.5, 0.4]), np.array([True, True, False, False])
    >>> _auc(cosine, np.arange(4), known, np.ones((1, 4))).tolist()  # (1 + 1 + 0 + 1/2) / 4
    [0.625]
    """
    n = draws.shape[1]
    wins = np.full((n, n), np.nan)  # [known animal, new animal]
    for new in np.unique(animal[~known]):
        against = np.sort(cosine[~known & (animal == new)])
        below = sum(np.searchsorted(against, cosine, side) for side in ("left", "right"))
        wins[:, new] = _share(below / (2 * len(against)), animal, known, n)
    there = ~np.isnan(wins)
    pairs = ((draws @ there) * draws).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return ((draws @ np.where(there, wins, 0)) * draws).sum(axis=1) / pairs
