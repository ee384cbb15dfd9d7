"""Two models on the same queries: paired differences with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from miewid_lib.errors import RetrievalError
from miewid_lib.intervals import bootstrap, counts_of, is_known, over_species, row_of


def compare(
    per_query: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    metrics: Sequence[str] = ("top1",),
    by: str = "species",
    **options,
) -> pd.DataFrame:
    """Paired differences a - b for each pair of models and each metric, in one tidy table.

    per_query holds each query once a model (`mean_over_seeds`), with a column model. Columns:
    model_a, model_b, metric, then those of `paired_difference`, which takes the options too.
    Raises RetrievalError for a model without rows, naming those that have some.
    """
    parts = dict(list(per_query.groupby("model", sort=False)))
    if unknown := sorted({name for pair in pairs for name in pair} - set(parts)):
        raise RetrievalError(f"no queries of {unknown[0]!r}; there are {', '.join(parts)}")
    tables = []
    for a, b in pairs:
        for metric in metrics:
            table = paired_difference(parts[a], parts[b], by=by, metric=metric, **options)
            tables.append(table.assign(model_a=a, model_b=b, metric=metric))
    heads = ["model_a", "model_b", "metric"]
    whole = pd.concat(tables, ignore_index=True)
    return whole[[*heads, *whole.columns.drop(heads)]]


def by_seed(per_query: pd.DataFrame, pair: tuple[str, str], **options) -> pd.DataFrame:
    """Mean difference of two models over the species, a row a seed: one training run against one.

    per_query holds each query once a model and seed. Columns: those of `compare`, which takes the
    options, from n_species on. Raises RetrievalError where a seed lacks one of the two models.
    """
    rows = {s: compare(part, [pair], **options).iloc[-1] for s, part in per_query.groupby("seed")}
    return pd.DataFrame(rows).T.loc[:, "n_species":].infer_objects().rename_axis("seed")


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
        means, draws = bootstrap(part, columns, n_bootstrap, rng)
        counts = {"n_species": int((part["n_mates"] > 0).any())} | counts_of(part)
        pairs += [(means, draws)] * counts["n_species"]
        known = counts["n_identities"] > 1
        rows.append({by: name} | counts | row_of(columns, means, draws, known))
    if not pairs:
        raise RetrievalError("no query has a mate, so there is nothing to compare")
    means = np.mean([mean for mean, _ in pairs], axis=0)  # [3]
    draws = over_species(
        np.stack([draw for _, draw in pairs]), rng, resample_species=resample_species
    )
    known = is_known(
        [row["n_identities"] for row in rows if row["n_species"]], resample_species=resample_species
    )
    head = {by: "mean", "n_species": len(pairs)}
    rows.append(head | counts_of(table) | row_of(columns, means, draws, known))
    table = pd.DataFrame(rows).drop(columns=["a_low", "a_high", "b_low", "b_high"])
    return table.assign(**{by: table[by].astype(object)})


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
