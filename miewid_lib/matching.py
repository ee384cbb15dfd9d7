"""Whose photo is this? The most similar photos of a catalogue for every query, as a table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from miewid_lib.errors import RetrievalError
from miewid_lib.similarity import TIE, similarities, unit
from miewid_lib.store import Embeddings

COLUMNS = ["query", "query_photo", "query_individual", "rank", "similarity", "species"]
COLUMNS += ["individual", "candidate", "candidate_photo"]


def matches(
    queries: Embeddings,
    catalogue: Embeddings,
    *,
    top: int,
    across_species: bool = False,
    one_each: bool = False,
) -> pd.DataFrame:
    """Return COLUMNS, a row a query and candidate, best first; similarity is the cosine.

    A candidate is of the query's species unless `across_species`. Left out are the query itself
    (same path, same vector) and photos of its encounter: species and encounter have one name.
    `one_each` ranks animals by their best photo; a nameless photo counts as an animal. Equal
    cosines stand in the order of the catalogue. A query without a candidate has no row.
    Raises RetrievalError for vectors of two models, and where no species is in both.
    """
    (asked, query_vectors, model), (known, vectors, other_model) = queries, catalogue
    if model != other_model:
        raise RetrievalError("queries and catalogue were embedded by different models")
    if top < 1:
        raise RetrievalError(f"top must be at least 1, not {top}")
    names = [sorted(set(table["species"])) for table in (asked, known)]
    if not across_species and not set(names[0]) & set(names[1]):
        texts = [", ".join(each) for each in names]
        raise RetrievalError(f"no common species: queries {texts[0]}, catalogue {texts[1]}")
    query_vectors, vectors = unit(query_vectors, "queries"), unit(vectors, "catalogue")
    rows = []
    for name in [None] if across_species else names[0]:
        mine, theirs = (
            np.flatnonzero((table["species"] == name) | across_species) for table in (asked, known)
        )
        groups = (asked.iloc[mine], query_vectors[mine]), (known.iloc[theirs], vectors[theirs])
        for i, candidates, cosines in _nearest(*groups, top=top, one_each=one_each):
            pairs = zip(theirs[candidates], cosines, strict=True)
            rows += [(mine[i], k, *pair) for k, pair in enumerate(pairs)]
    return _table(asked, known, sorted(rows))


def _nearest(queries: tuple, others: tuple, *, top: int, one_each: bool) -> Iterator[tuple]:
    """Number of each query, its candidates (row numbers) and their cosines, best first."""
    (asked, vectors), (known, other_vectors) = queries, others
    paths, encounters = (_codes(asked, known, name) for name in ("image_path", "encounter"))
    animals = _codes(known, known, "individual")[0] if one_each else np.full(len(known), -1)
    animals = np.where(animals < 0, len(known) + np.arange(len(known)), animals)
    for i, cosines in similarities(vectors, other_vectors):
        own = (paths[1] == paths[0][i]) & (cosines > 1 - TIE)
        own |= (encounters[1] == encounters[0][i]) & (encounters[0][i] >= 0)
        cosines[own] = -np.inf
        enough = top if not one_each and top < len(cosines) else len(cosines)
        least = np.partition(cosines, -enough)[-enough] if enough else 0
        left = np.flatnonzero((cosines >= least) & (cosines > -np.inf))
        best = left[np.argsort(-cosines[left], kind="stable")]
        best = best[np.sort(np.unique(animals[best], return_index=True)[1])][:top]
        yield i, best, cosines[best]


def _codes(asked: pd.DataFrame, known: pd.DataFrame, column: str) -> list[np.ndarray]:
    """Numbers for species and value of a column, the same number in both tables; -1 for null."""
    both = pd.concat([asked, known])
    names = (both["species"] + "|" + both[column]).array
    return np.split(pd.factorize(names)[0], [len(asked)])


def _table(asked: pd.DataFrame, known: pd.DataFrame, rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["i", "rank", "j", "similarity"])
    query, candidate = asked.iloc[table["i"]], known.iloc[table["j"]]
    facts = {
        "query": query["annotation_id"],
        "query_photo": query["image_path"],
        "query_individual": query["individual"],
        "species": candidate["species"],
        "individual": candidate["individual"],
        "candidate": candidate["annotation_id"],
        "candidate_photo": candidate["image_path"],
    }
    facts = {name: values.to_numpy() for name, values in facts.items()}
    return table.assign(rank=table["rank"] + 1, **facts)[COLUMNS]
