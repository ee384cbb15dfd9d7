"""Nearest neighbours by cosine, one query a row: ranks, top-k, mAP, and means with intervals."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from miewid_lib.comparisons import by_seed, compare, paired_difference  # noqa: F401
from miewid_lib.errors import RetrievalError
from miewid_lib.intervals import (  # noqa: F401
    mean_over_seeds,
    species_mean,
    species_scores,
    summarise,
)
from miewid_lib.similarity import TIE, Column, chance, meetings, names_of, similarities, unit


def one_vs_rest(
    embeddings: np.ndarray,
    identities: Sequence,
    *,
    groups: Column = None,
    exclude: Column = None,
    top_k: Sequence[int] = (1, 5, 10, 20),
) -> pd.DataFrame:
    """Each photo in turn asks all others of its group who is most like it; one row a query.

    embeddings [N, D]; identities [N], integers or text; groups [N], such as the species; exclude
    [N]: who shares a value with the query, such as its encounter, is left out (null: nobody).
    Columns: query (row number), identity, group, n_candidates, n_mates (candidates of its
    identity), first_rank (of the best mate), top1, ... (1.0: first_rank <= k), average_precision =
    mean of i / rank_i over the mates, chance_top1 = n_mates / n_candidates, ... Without a mate
    scores are NaN, never 0. Ties are pessimistic: other animals with a cosine >= the mate's - 1e-6
    rank before it, so that one vector for every photo scores 0. Raises RetrievalError.

    >>> photos = np.array([[1, 0], [0.8, 0.6], [0.9, 0.1]])
    >>> one_vs_rest(photos, ["ann", "ann", "bob"])[["n_mates", "first_rank", "top1", "top5"]]
       n_mates  first_rank  top1  top5
    0        1         2.0   0.0   1.0
    1        1         2.0   0.0   1.0
    2        0         NaN   NaN   NaN
    """
    vectors = unit(embeddings, "embeddings")  # [N, D]
    names, _ = names_of(identities, len(vectors), "identities")
    codes = pd.factorize(names)[0]
    group_of, met = meetings(groups, exclude, len(vectors))
    scores = np.empty((len(vectors), 4))
    for rows, left_out in met:
        own = vectors if len(rows) == len(vectors) else vectors[rows]  # one group: no second copy
        photos = own, codes[rows]
        scores[rows] = _scores(*photos, *photos, left_out.__getitem__)
    return _table(names, group_of, scores, top_k)


def query_database(
    query_embeddings: np.ndarray,
    query_identities: Sequence,
    database_embeddings: np.ndarray,
    database_identities: Sequence,
    *,
    exclude_pairs: np.ndarray | None = None,
    top_k: Sequence[int] = (1, 5, 10, 20),
) -> pd.DataFrame:
    """The table of `one_vs_rest` for queries [Q, D] against another set of photos, [N, D].

    exclude_pairs [Q, N]: True where a photo is no candidate for a query. Raises RetrievalError.

    >>> query_database(np.eye(2), [7, 8], np.eye(2), [8, 7], top_k=[1])["first_rank"].tolist()
    [2.0, 2.0]
    """
    queries = unit(query_embeddings, "query_embeddings")  # [Q, D]
    database = unit(database_embeddings, "database_embeddings")  # [N, D]
    shape = len(queries), len(database)
    if len(sizes := {queries.shape[1], database.shape[1]}) > 1:
        raise RetrievalError(f"query and database embeddings have different sizes: {sizes}")
    names, kind = names_of(query_identities, shape[0], "query_identities")
    others, other_kind = names_of(database_identities, shape[1], "database_identities")
    if min(shape) and kind != other_kind:
        raise RetrievalError("query and database identities must both be integers or both be text")
    both = np.array([*names.tolist(), *others.tolist()], dtype=object)  # never int64 to float64
    codes, database_codes = np.split(pd.factorize(both)[0], [len(names)])
    pairs = np.zeros((len(names), 0)) if exclude_pairs is None else np.asarray(exclude_pairs)
    fits = exclude_pairs is None or pairs.shape == shape
    if not fits or not ((pairs == 0) | (pairs == 1)).all():
        raise RetrievalError(f"exclude_pairs must be True and False of shape {shape}")
    scores = _scores(queries, codes, database, database_codes, lambda i: np.flatnonzero(pairs[i]))
    return _table(names, np.full(len(names), "all"), scores, top_k)


def neighbours(
    embeddings: np.ndarray, *, groups: Column = None, exclude: Column = None, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers [N, k] and cosines [N, k] of the photos most like each photo, best first.

    groups, exclude and errors as in `one_vs_rest`; -1 and NaN where no candidate is left.

    >>> neighbours(np.array([[1, 0], [0.8, 0.6], [0, 1]]), k=1)[0].ravel().tolist()
    [1, 0, 1]
    """
    vectors = unit(embeddings, "embeddings")  # [N, D]
    nearest = np.full((len(vectors), k), -1)
    cosines = np.full((len(vectors), k), np.nan, np.float32)
    for rows, left_out in meetings(groups, exclude, len(vectors))[1]:
        for i, similarity in similarities(vectors[rows], vectors[rows]):
            similarity[left_out[i]] = -np.inf
            last = np.partition(similarity, -k)[-k] if k < len(rows) else -np.inf
            near = np.flatnonzero((similarity >= last) & (similarity > -np.inf))
            near = near[np.argsort(-similarity[near], kind="stable")][:k]
            nearest[rows[i], : len(near)] = rows[near]
            cosines[rows[i], : len(near)] = similarity[near]
    return nearest, cosines


def _scores(queries, codes, database, database_codes, left_out: Callable) -> np.ndarray:
    """n_candidates, n_mates, first_rank and average_precision of each query, [Q, 4]."""
    mates_of = pd.Series(database_codes).groupby(database_codes).indices
    scores = np.full((len(queries), 4), np.nan)
    for i, similarity in similarities(queries, database):
        hidden = left_out(i)
        similarity[hidden] = -np.inf
        mates = mates_of.get(codes[i], np.array([], int))
        by_mate = np.sort(similarity[mates])[::-1]
        by_mate = by_mate[by_mate > -np.inf]  # best first
        similarity[mates] = -np.inf  # from here on only other animals are counted
        places = np.arange(1, len(by_mate) + 1)
        ranks = places + _n_ahead(similarity, by_mate - TIE)
        scores[i, :2] = len(similarity) - len(hidden), len(ranks)
        if len(ranks):
            scores[i, 2:] = ranks[0], (places / ranks).mean()
    return scores


def _n_ahead(similarity: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """How many similarities reach each bound; sorting pays from some sixty bounds on."""
    if len(bounds) < 64:
        return np.array([np.count_nonzero(similarity >= bound) for bound in bounds], int)
    return len(similarity) - np.searchsorted(np.sort(similarity), bounds)


def _table(names, group_of, scores: np.ndarray, top_k: Sequence[int]) -> pd.DataFrame:
    if bad := [k for k in top_k if not isinstance(k, int | np.integer) or k < 1]:
        raise RetrievalError(f"top_k must be whole numbers from 1, not {bad}")
    candidates, mates, first_rank, precision = scores.T
    table = pd.DataFrame({"query": np.arange(len(scores)), "identity": names, "group": group_of})
    table["n_candidates"], table["n_mates"] = candidates.astype(int), mates.astype(int)
    table["first_rank"] = first_rank
    for k in top_k:
        table[f"top{k}"] = np.where(np.isnan(first_rank), np.nan, first_rank <= k)
    table["average_precision"] = precision
    for k in dict.fromkeys((1, *top_k)):
        table[f"chance_top{k}"] = chance(mates, candidates, k)
    return table
