"""Means over queries, species and models, with 95 % intervals by bootstrap over identities.

The photos of one animal are not independent, so a replicate draws whole identities, with all
their queries, and never single photos.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from miewid_lib.errors import RetrievalError


def summarise(
    per_query: pd.DataFrame, *, by: str | Sequence[str], seed: int, n_bootstrap: int = 1000
) -> pd.DataFrame:
    """Mean of each metric over the queries that have a mate, one row for each value of `by`.

    per_query: rows of `one_vs_rest`, with any columns added. Columns: `by`, n_identities and
    n_queries (that have a mate), n_without_mate (left out of every mean), chance_top1, then top1,
    top1_low, top1_high, ..., map, map_low, map_high: the 2.5 and 97.5 % points of n_bootstrap
    draws of identities within the row, NaN for a single identity. Raises RetrievalError.

    >>> row = {"group": "zebra", "average_precision": 0.5, "chance_top1": 0.25}
    >>> rows = [row | {"identity": i, "n_mates": 1, "top1": float(i == 0)} for i in (0, 0, 1)]
    >>> summarise(pd.DataFrame(rows), by="group", seed=0)[["group", "top1", "top1_low"]].round(3)
       group   top1  top1_low
    0  zebra  0.667       0.0
    """
    by = [by] if isinstance(by, str) else list(by)
    columns = _metrics(per_query, by)
    rows = []
    for key, part in per_query.groupby(by, dropna=False, observed=True):
        # the same seed for each row: a row does not depend on which others stand in the table
        means, draws = bootstrap(part, columns, n_bootstrap, np.random.default_rng(seed))
        counts = counts_of(part)
        known = counts["n_identities"] > 1
        rows.append(dict(zip(by, key, strict=True)) | counts | row_of(columns, means, draws, known))
    return pd.DataFrame(rows)


def mean_over_seeds(per_query: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of each query over the runs of its model that differ in `seed` alone.

    Chance and counts do not depend on the run. A query without a mate keeps its NaN.
    """
    averaged = per_query.columns[per_query.columns.str.fullmatch(r"top\d+|average_precision")]
    keys = [c for c in per_query.columns if c not in (*averaged, "seed", "first_rank")]
    return per_query.groupby(keys, dropna=False, sort=False)[list(averaged)].mean().reset_index()


def species_mean(
    per_query: pd.DataFrame,
    *,
    by: str = "group",
    seed: int,
    n_bootstrap: int = 1000,
    resample_species: bool = False,
) -> pd.DataFrame:
    """Unweighted mean over species (values of `by`) of each metric, as one row named "mean".

    Only species with a query that has a mate enter, the same ones for every metric; n_species
    counts them, n_species_without_mate the others. The interval draws identities within each
    species (a species of one identity stays as it is), and says how sure the mean over these
    species is; with `resample_species` it draws species too, and speaks of species in general.
    """
    columns = _metrics(per_query, [by])
    rng = np.random.default_rng(seed)
    parts = [part for _, part in per_query.groupby(by, dropna=False, observed=True)]
    some = [part for part in parts if (part["n_mates"] > 0).any()]
    if not some:
        raise RetrievalError("no query has a mate, so there is no mean over species")
    pairs = [bootstrap(part, columns, n_bootstrap, rng) for part in some]
    means = np.mean([mean for mean, _ in pairs], axis=0)  # [M]
    draws = over_species(
        np.stack([draw for _, draw in pairs]), rng, resample_species=resample_species
    )
    known = is_known(
        [counts_of(part)["n_identities"] for part in some], resample_species=resample_species
    )
    head = {by: "mean", "n_species": len(some), "n_species_without_mate": len(parts) - len(some)}
    return pd.DataFrame([head | counts_of(per_query) | row_of(columns, means, draws, known)])


def species_scores(per_query: pd.DataFrame, *, by: str, seed: int, n_bootstrap: int = 1000):
    """`summarise` for each value of `by` and species, with the row "mean" of `species_mean`."""
    options = {"seed": seed, "n_bootstrap": n_bootstrap}
    each = summarise(per_query, by=[by, "species"], **options)
    means = [
        species_mean(part, by="species", **options).assign(**{by: name})
        for name, part in per_query.groupby(by)
    ]
    return pd.concat([each, *means], ignore_index=True)


def _metrics(per_query: pd.DataFrame, by: list[str]) -> list[str]:
    """The columns to average; refuses a table that lacks one the functions here need."""
    needed = [*by, "group", "identity", "n_mates", "chance_top1"]
    if not by or (missing := [name for name in needed if name not in per_query]):
        raise RetrievalError(f"the table of queries lacks {missing if by else 'a column by'}")
    top_k = per_query.columns[per_query.columns.str.fullmatch(r"top\d+")]
    chances = per_query.columns[per_query.columns.str.startswith("chance_")]
    columns = [*chances, *top_k, *per_query.columns.intersection(["average_precision"])]
    holes = per_query.loc[per_query["n_mates"] > 0, ["group", "identity", *columns]].isna().any()
    if holes.any():
        raise RetrievalError(f"queries with a mate have no {holes.idxmax()}; rank them all alike")
    return columns


def counts_of(part: pd.DataFrame) -> dict[str, int]:
    """n_identities and n_queries that have a mate, and n_without_mate, of some rows."""
    evaluable = part[part["n_mates"] > 0]
    counts = {"n_identities": len(evaluable[["group", "identity"]].drop_duplicates())}
    return counts | {"n_queries": len(evaluable), "n_without_mate": len(part) - len(evaluable)}


def bootstrap(part, columns: list[str], n_bootstrap: int, rng) -> tuple[np.ndarray, np.ndarray]:
    """Means [M] over the queries with a mate, and the means [n_bootstrap, M] of the replicates."""
    evaluable = part[part["n_mates"] > 0]
    if evaluable.empty:
        return np.full(len(columns), np.nan), np.full((n_bootstrap, len(columns)), np.nan)
    # one name in two species is two animals
    identities = evaluable.groupby(["group", "identity"], observed=True)[columns]
    sums, sizes = identities.sum().to_numpy(), identities.size().to_numpy()  # [I, M], [I]
    chances = np.full(len(sizes), 1 / len(sizes))
    draws = rng.multinomial(len(sizes), chances, size=n_bootstrap)  # [n_bootstrap, I]
    return sums.sum(0) / sizes.sum(), draws @ sums / (draws @ sizes)[:, None]


def over_species(draws: np.ndarray, rng, resample_species: bool) -> np.ndarray:
    """Replicates of the mean over species [n_bootstrap, M] from those of each, [S, ..., M]."""
    if not resample_species:
        return draws.mean(axis=0)
    n_species, n_bootstrap, _ = draws.shape
    picks = rng.integers(n_species, size=(n_bootstrap, n_species))
    # a species that is drawn twice brings two different draws of its identities
    turns = np.add.outer(np.arange(n_bootstrap), np.arange(n_species)) % n_bootstrap
    return draws[picks, turns].mean(axis=1)


def is_known(n_identities: list[int], resample_species: bool) -> bool:
    """Tell whether a mean over species has an interval: something in it must vary by draw."""
    return len(n_identities) > 1 if resample_species else max(n_identities) > 1


def row_of(columns: list[str], means: np.ndarray, draws: np.ndarray, known: bool) -> dict:
    """Each mean with its interval; chance goes without one."""
    low, high = np.quantile(draws, (0.025, 0.975), axis=0) if known else (means * np.nan,) * 2
    row = {}
    for i, column in enumerate(columns):
        name = {"average_precision": "map"}.get(column, column)
        row[name] = means[i]
        if not column.startswith("chance"):
            row |= {f"{name}_low": low[i], f"{name}_high": high[i]}
    return row
