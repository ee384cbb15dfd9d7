"""Figure 3's protocol against a count over every possible draw."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miewid_lib import catalogue, retrieval
from miewid_lib.errors import RetrievalError


def by_enumeration(vectors, names, encounters, query, m, k):
    """Share of all draws of m mates for which one-vs-rest finds the animal in the first k."""
    others = [i for i in range(len(names)) if names[i] != names[query]]
    others = [i for i in others if encounters[i] != encounters[query]]
    mates = [i for i in range(len(names)) if names[i] == names[query] and i != query]
    mates = [i for i in mates if encounters[i] != encounters[query]]
    hits = []
    for drawn in combinations(mates, m):
        kept = [*drawn, *others]
        answer = retrieval.query_database(
            vectors[[query]], [names[query]], vectors[kept], [names[i] for i in kept], top_k=[k]
        )
        hits.append(answer[f"top{k}"].iloc[0])
    return np.mean(hits)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_expectation_equals_the_mean_over_all_draws(seed):
    rng = np.random.default_rng(seed)
    names = np.array(list("aaaaabbbbccc"))
    vectors = rng.normal(size=(12, 3)).round(1) + 0.01  # coarse, so that ties happen
    encounters = rng.integers(0, 9, 12)
    try:
        table = catalogue.own_photos(vectors, names, exclude=encounters, sizes=[1, 2], top_k=(1, 3))
    except RetrievalError:
        return  # no query was left with two mates
    for row in table.itertuples():
        for k in (1, 3):
            expected = by_enumeration(vectors, names, encounters, row.query, row.n_own, k)
            assert getattr(row, f"top{k}") == pytest.approx(expected)


def test_all_mates_in_the_database_is_one_vs_rest():
    rng = np.random.default_rng(0)
    names, species = np.repeat(np.arange(10), 4), np.repeat(["ray", "owl"], 20)
    vectors = rng.normal(size=(40, 5)) + np.eye(10)[names][:, :5]
    table = catalogue.own_photos(vectors, names, groups=species, sizes=[3])
    whole = retrieval.one_vs_rest(vectors, names, groups=species)
    assert table["query"].tolist() == whole["query"].tolist()
    for column in ("top1", "top5", "chance_top1", "n_mates"):
        assert table[column].tolist() == pytest.approx(whole[column].tolist())


def test_the_population_is_the_same_for_every_m_and_scores_never_fall():
    rng = np.random.default_rng(1)
    names = np.repeat(["a", "b", "c", "d"], [6, 5, 3, 2])
    table = catalogue.own_photos(rng.normal(size=(16, 4)), names, sizes=[1, 2, 4])
    assert set(table["identity"]) == {"a", "b"}  # the others have fewer than four mates
    assert table.groupby("n_own").size().tolist() == [11, 11, 11]
    wide = table.pivot(index="query", columns="n_own", values="top1")
    assert (wide.diff(axis=1).iloc[:, 1:] >= 0).all().all()


def test_a_constant_embedding_finds_nobody():
    table = catalogue.own_photos(np.ones((6, 3)), list("aaabbb"), sizes=[1, 2])
    assert (table["top1"] == 0).all()


def test_intervals_can_be_drawn_from_the_rows():
    rng = np.random.default_rng(2)
    table = catalogue.own_photos(rng.normal(size=(24, 4)), np.repeat(list("abcdef"), 4), sizes=[2])
    mean = retrieval.species_mean(table, seed=0, n_bootstrap=50)
    assert mean["top1"].item() == pytest.approx(table["top1"].mean())
    assert mean["top1_low"].item() <= mean["top1"].item() <= mean["top1_high"].item()
    assert "map" not in mean


@pytest.mark.parametrize("sizes", [[], [0], [1.5], [9]])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(RetrievalError, match=r"sizes|mates"):
        catalogue.own_photos(np.eye(4), list("aabb"), sizes=sizes)


def test_mean_over_seeds_keeps_queries_without_a_mate():
    rows = pd.DataFrame({"model": "m", "seed": [0, 0, 1, 1], "query": [0, 1, 0, 1], "group": "g"})
    rows = rows.assign(identity=["a", "b"] * 2, n_mates=[1, 0] * 2, first_rank=[1.0, None] * 2)
    rows = rows.assign(
        top1=[1.0, np.nan, 0.0, np.nan], average_precision=[1.0, np.nan, 0.5, np.nan]
    )
    mean = retrieval.mean_over_seeds(rows)
    assert mean["top1"].tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert mean["average_precision"].iloc[0] == 0.75 and "seed" not in mean
