"""How many photos of an animal does a database need? The protocol of figure 3 of the paper."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import comb

from miewid_lib.errors import RetrievalError
from miewid_lib.similarity import TIE, Column, chance, meetings, names_of, similarities, unit


def own_photos(
    embeddings: np.ndarray,
    identities: Sequence,
    *,
    groups: Column = None,
    exclude: Column = None,
    sizes: Sequence[int],
    top_k: Sequence[int] = (1, 5),
) -> pd.DataFrame:
    """Chance to find a query's animal when m of its own photos are in the database; row (query, m).

    embeddings [N, D], identities, groups and exclude [N] as in `retrieval.one_vs_rest`. For each m
    of `sizes`, m of the query's M mates are in the database, and all photos of other animals. top1,
    ... are exact means over all draws: with g mates that fewer than k other photos precede,
    1 - C(M - g, m) / C(M, m). Only queries with at least max(sizes) mates enter, the same ones for
    every m, so that a curve over m does not mix populations. Columns: query, identity, group,
    n_own (m), n_mates (M), chance_top1, ..., top1, ... Ties count against the query. Raises
    RetrievalError for sizes that are no whole numbers from 1, or where no query has enough mates.

    >>> photos = np.array([[1, 0], [0.9, 0.1], [0.3, 0.9], [0.8, 0.3]])
    >>> own_photos(photos, ["ann", "ann", "ann", "bob"], sizes=[1, 2])["top1"].tolist()
    [0.5, 1.0, 0.5, 1.0, 0.0, 0.0]
    """
    if not len(sizes) or any(not isinstance(m, int | np.integer) or m < 1 for m in sizes):
        raise RetrievalError(f"sizes must be whole numbers from 1, not {list(sizes)}")
    vectors = unit(embeddings, "embeddings")  # [N, D]
    names, _ = names_of(identities, len(vectors), "identities")
    codes = pd.factorize(names)[0]
    group_of, met = meetings(groups, exclude, len(vectors))
    rows = []
    for members, left_out in met:
        for i, similarity in similarities(vectors[members], vectors[members]):
            ahead, n_others = _ahead(similarity, codes[members], i, left_out[i])
            if len(ahead) >= max(sizes):
                head = (members[i], names[members[i]], group_of[members[i]])
                rows += [(*head, m, *_expected(ahead, n_others, m, top_k)) for m in sizes]
    if not rows:
        raise RetrievalError(f"no query has {max(sizes)} mates; ask for smaller sizes")
    columns = ["query", "identity", "group", "n_own", "n_mates", "n_others"]
    table = pd.DataFrame(rows, columns=[*columns, *(f"top{k}" for k in top_k)])
    n_others = table.pop("n_others")
    for k in dict.fromkeys((1, *top_k)):
        table[f"chance_top{k}"] = chance(table["n_own"], table["n_own"] + n_others, k)
    return table.sort_values(["query", "n_own"], ignore_index=True)


def _ahead(similarity: np.ndarray, codes: np.ndarray, query: int, hidden: np.ndarray) -> tuple:
    """How many other animals' photos precede each mate of the query [M], and their number."""
    allowed = np.ones(len(codes), bool)
    allowed[hidden] = False
    same = codes == codes[query]
    others = np.sort(similarity[allowed & ~same])
    bounds = similarity[allowed & same] - TIE
    return len(others) - np.searchsorted(others, bounds), len(others)


def _expected(ahead: np.ndarray, n_others: int, m: int, top_k: Sequence[int]) -> tuple:
    n_mates = len(ahead)
    bad = [n_mates - int((ahead < k).sum()) for k in top_k]  # mates that do not help
    hits = [1 - comb(n_bad, m) / comb(n_mates, m) for n_bad in bad]
    return n_mates, n_others, *hits
