"""Cosines between photos, block by block, and who may meet whom: the ground retrieval stands on."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from miewid_lib.errors import RetrievalError

TIE = 1e-6  # cosines closer than this are equal: float32 rounding cannot tell them apart
BLOCK = 2**22  # similarities held at once: 16 MB ...
ROWS = 512  # ... or so many queries: with fewer the product reads the database once too often
Column = Sequence | None  # one value a photo


def similarities(queries, database) -> Iterator[tuple[int, np.ndarray]]:
    """Each query's number and its cosines to the database [N], computed block by block."""
    step = max(ROWS, BLOCK // max(1, len(database)))
    for start in range(0, len(queries), step):
        yield from enumerate(queries[start : start + step] @ database.T, start)


def chance(n_mates, n_candidates, k: int) -> np.ndarray:
    """Share of all orders of the candidates that have a mate among the first k; NaN without one.

    1 - C(n - m, k) / C(n, k) for m mates among n candidates, both arrays of one shape.

    >>> chance(np.array([1, 2]), np.array([4, 4]), 2)
    array([0.5       , 0.83333333])
    """
    mates, candidates = np.asarray(n_mates, float), np.asarray(n_candidates, float)
    missed = np.ones_like(mates)
    for i in range(k):
        missed *= np.maximum(0, candidates - mates - i) / np.maximum(1, candidates - i)
    return np.where(mates > 0, 1 - missed, np.where(candidates > 0, 0.0, np.nan))


def unit(embeddings: np.ndarray, name: str) -> np.ndarray:
    """Rows of length one as float32 [N, D]; refuses what has no direction."""
    x = np.asarray(embeddings)
    if x.ndim != 2 or x.dtype.kind not in "fiu":
        raise RetrievalError(f"{name} must be numbers of shape [N, D], not {x.dtype} {x.shape}")
    x = x.astype(np.result_type(x.dtype, np.float32))
    infinite, zero = ~np.isfinite(x).all(axis=1), ~x.any(axis=1)
    for bad, what in ((infinite, "holds NaN or infinity"), (zero, "is all zeros")):
        if bad.any():
            raise RetrievalError(f"{name}: row {bad.argmax()} {what} ({bad.sum()} such rows)")
    for part in np.array_split(x, 1 + len(x) // 4096):  # views: no temporary as large as x
        part /= np.abs(part).max(axis=1, keepdims=True, initial=0)  # so that no square overflows
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x.astype(np.float32, copy=False)


def _column(values: Sequence, n: int, name: str, *, nulls: bool = False) -> pd.Series:
    column = pd.Series(list(values))  # by position, whatever index a table brought along
    if len(column) != n:
        raise RetrievalError(f"{name} has {len(column)} values for {n} embeddings")
    if not nulls and column.isna().any():
        raise RetrievalError(f"{name}: row {int(column.isna().argmax())} is missing; drop it first")
    return column


def names_of(values: Sequence, n: int, name: str) -> tuple[pd.Series, str]:
    """The identities [N] and their kind, integer or string; anything else is refused."""
    column = _column(values, n, name)
    kind = pd.api.types.infer_dtype(column, skipna=False)
    if kind not in ("integer", "string", "empty"):
        raise RetrievalError(f"{name} must be integers or text, not {kind}")
    return column, kind


def meetings(groups: Column, exclude: Column, n: int) -> tuple[pd.Series, list[tuple]]:
    """The group of each row; the rows of each group with what each row there never meets."""
    group_of = _column(["all"] * n if groups is None else groups, n, "groups")
    values = [None] * n if exclude is None else exclude
    codes = pd.factorize(_column(values, n, "exclude", nulls=True))[0]
    encounters = np.where(codes < 0, n + np.arange(n), codes)  # null: an encounter of its own
    met = []
    for rows in group_of.groupby(pd.factorize(group_of)[0]).indices.values():
        members = pd.Series(encounters[rows]).groupby(encounters[rows]).indices
        met.append((rows, [members[code] for code in encounters[rows]]))
    return group_of, met
