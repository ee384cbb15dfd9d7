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
        means, draws = _bootstrap(part, columns, n_bootstrap, np.random.default_rng(seed))
        counts = _counts(part)
        known = counts["n_identities"] > 1
        rows.append(dict(zip(by, key, strict=True)) | counts | _row(columns, means, draws, known))
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
    pairs = [_bootstrap(part, columns, n_bootstrap, rng) for part in some]
    means = np.mean([mean for mean, _ in pairs], axis=0)  # [M]
    draws = _over_species(np.stack([draw for _, draw in pairs]), rng, resample_species)
    known = _known([_counts(part)["n_identities"] for part in some], resample_species)
    head = {by: "mean", "n_species": len(some), "n_species_without_mate": len(parts) - len(some)}
    return pd.DataFrame([head | _counts(per_query) | _row(columns, means, draws, known)])


def paired_difference(
    per_query_a: pd.DataFrame,
    per_query_b: pd.DataFrame,
    *,
    by: str = "group",
    metric: str = "top1",
    seed: int,
    n_bootstrap: int = 1000,
    resample_species: bool = False,
) -> pd.DataFrame:
    """Difference a - b of two models on the same queries: a row a species, then their mean.

    Columns: `by` (the last row: "mean", unweighted over the species that can be scored),
    n_species, n_identities, n_queries, n_without_mate, a, b, difference, difference_low and
    _high. A replicate draws the same identities for both models, so that what makes an animal
    hard for both cancels. Raises RetrievalError unless both tables hold the same queries.
    """
    table = _pair(per_query_a, per_query_b, by, metric)
    columns = ["a", "b", "difference"]
    rng = np.random.default_rng(seed)
    rows, pairs = [], []
    for name, part in table.groupby(by, dropna=False, observed=True):
        means, draws = _bootstrap(part, columns, n_bootstrap, rng)
        counts = {"n_species": int((part["n_mates"] > 0).any())} | _counts(part)
        pairs += [(means, draws)] * counts["n_species"]
        known = counts["n_identities"] > 1
        rows.append({by: name} | counts | _row(columns, means, draws, known))
    if not pairs:
        raise RetrievalError("no query has a mate, so there is nothing to compare")
    means = np.mean([mean for mean, _ in pairs], axis=0)  # [3]
    draws = _over_species(np.stack([draw for _, draw in pairs]), rng, resample_species)
    known = _known([row["n_identities"] for row in rows if row["n_species"]], resample_species)
    head = {by: "mean", "n_species": len(pairs)}
    rows.append(head | _counts(table) | _row(columns, means, draws, known))
    table = pd.DataFrame(rows).drop(columns=["a_low", "a_high", "b_low", "b_high"])
    return table.assign(**{by: table[by].astype(object)})


def _metrics(per_query: pd.DataFrame, by: list[str]) -> list[str]:
    """The columns to average; refuses a table that lacks one the functions here need."""
    needed = [*by, "group", "identity", "n_mates", "chance_top1"]
    if not by or (missing := [name for name in needed if name not in per_query]):
        raise RetrievalError(f"the table of queries lacks {missing if by else 'a column by'}")
    top_k = per_query.columns[per_query.columns.str.fullmatch(r"top\d+")]
    columns = ["chance_top1", *top_k, *per_query.columns.intersection(["average_precision"])]
    holes = per_query.loc[per_query["n_mates"] > 0, ["group", "identity", *columns]].isna().any()
    if holes.any():
        raise RetrievalError(f"queries with a mate have no {holes.idxmax()}; rank them all alike")
    return columns


def _counts(part: pd.DataFrame) -> dict[str, int]:
    evaluable = part[part["n_mates"] > 0]
    counts = {"n_identities": len(evaluable[["group", "identity"]].drop_duplicates())}
    return counts | {"n_queries": len(evaluable), "n_without_mate": len(part) - len(evaluable)}


def _bootstrap(part, columns: list[str], n_bootstrap: int, rng) -> tuple[np.ndarray, np.ndarray]:
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


def _over_species(draws: np.ndarray, rng, resample_species: bool) -> np.ndarray:
    """Replicates of the mean over species [n_bootstrap, M] from those of each, [S, ..., M]."""
    if not resample_species:
        return draws.mean(axis=0)
    n_species, n_bootstrap, _ = draws.shape
    picks = rng.integers(n_species, size=(n_bootstrap, n_species))
    # a species that is drawn twice brings two different draws of its identities
    turns = np.add.outer(np.arange(n_bootstrap), np.arange(n_species)) % n_bootstrap
    return draws[picks, turns].mean(axis=1)


def _known(n_identities: list[int], resample_species: bool) -> bool:
    return len(n_identities) > 1 if resample_species else max(n_identities) > 1


def _row(columns: list[str], means: np.ndarray, draws: np.ndarray, known: bool) -> dict:
    """Each mean with its interval; chance goes without one."""
    low, high = np.quantile(draws, (0.025, 0.975), axis=0) if known else (means * np.nan,) * 2
    row = {}
    for i, column in enumerate(columns):
        name = {"average_precision": "map"}.get(column, column)
        row[name] = means[i]
        if column != "chance_top1":
            row |= {f"{name}_low": low[i], f"{name}_high": high[i]}
    return row


def _pair(per_query_a, per_query_b, by: str, metric: str) -> pd.DataFrame:
    """One row a query with a, b and difference; both tables must hold the same queries."""
    metric = {"map": "average_precision"}.get(metric, metric)
    keys = list(dict.fromkeys([by, "group", "identity", "query"]))
    sides = []
    for name, table in (("a", per_query_a), ("b", per_query_b)):
        if missing := [key for key in [*keys, "n_mates", metric] if key not in table]:
            raise RetrievalError(f"table {name} lacks the columns {missing}")
        if len(bad := table[table.duplicated(keys)]):
            raise RetrievalError(f"table {name} holds {bad.iloc[0][keys].to_dict()} twice")
        sides.append(table.set_index(keys)[["n_mates", metric]].set_axis(["n_mates", name], axis=1))
    a, b = sides
    if len(alone := a.index.symmetric_difference(b.index)):
        raise RetrievalError(f"{len(alone)} queries are in one table only, first {alone[0]}")
    table = a.assign(b=b["b"]).reset_index()  # joined on the index, in whatever order b stands
    table["difference"] = table["a"] - table["b"]
    if (table["a"].isna() != table["b"].isna()).any():
        raise RetrievalError("some queries have a mate in one table only; exclude the same photos")
    return table
