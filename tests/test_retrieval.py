import json
import tracemalloc
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from miewid_lib import retrieval, similarity
from miewid_lib.errors import RetrievalError

PARITY = json.loads((Path(__file__).parent / "parity" / "retrieval_eval.json").read_text())
CASES = {case["name"]: case for case in PARITY["cases"]}
TOP_K = (1, 5, 10, 20)


def case_arrays(name):
    case = CASES[name]
    return case, np.array(case["embeddings"], np.float32), case["labels"]


def cosines_by_hand(queries, database):
    queries, database = np.asarray(queries, float), np.asarray(database, float)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    database = database / np.linalg.norm(database, axis=1, keepdims=True)
    return np.einsum("qd,nd->qn", queries, database)


def ranks_by_hand(cosines, identity, candidates, identities):
    """Ranks of the mates: everybody sorted, and of equals the other animals first."""
    order = sorted(
        candidates,
        key=lambda j: -cosines[j] + (1e-6 if identities[j] == identity else 0),
    )
    return [rank for rank, j in enumerate(order, 1) if identities[j] == identity]


def row_by_hand(ranks, n_candidates, top_k=TOP_K):
    row = {"n_candidates": n_candidates, "n_mates": len(ranks)}
    nan = float("nan")
    row["first_rank"] = ranks[0] if ranks else nan
    row |= {f"top{k}": float(ranks[0] <= k) if ranks else nan for k in top_k}
    precisions = [i / rank for i, rank in enumerate(ranks, 1)]
    row["average_precision"] = sum(precisions) / len(ranks) if ranks else nan
    for k in dict.fromkeys((1, *top_k)):
        orders = comb(n_candidates, min(k, n_candidates))  # of who may be among the first k
        missed = comb(n_candidates - len(ranks), min(k, n_candidates))
        row[f"chance_top{k}"] = 1 - missed / orders if n_candidates else nan
    return row


def one_vs_rest_by_hand(embeddings, identities, groups=None, exclude=None):
    n = len(embeddings)
    groups = ["all"] * n if groups is None else groups
    exclude = [None] * n if exclude is None else exclude
    cosines = cosines_by_hand(embeddings, embeddings)
    rows = []
    for i in range(n):
        candidates = []
        for j in range(n):
            together = exclude[i] is not None and exclude[i] == exclude[j]
            if j != i and groups[i] == groups[j] and not together:
                candidates.append(j)
        ranks = ranks_by_hand(cosines[i], identities[i], candidates, identities)
        head = {"query": i, "identity": identities[i], "group": groups[i]}
        rows.append(head | row_by_hand(ranks, len(candidates)))
    return pd.DataFrame(rows)


def same(ours, expected):
    pd.testing.assert_frame_equal(ours, expected, check_dtype=False, atol=1e-12)


vectors = st.lists(st.integers(-2, 2), min_size=3, max_size=3).filter(any)
photo = st.tuples(
    vectors,
    st.sampled_from("abcd"),
    st.sampled_from(["zebra", "lion"]),
    st.sampled_from([None, "dawn", "noon", "dusk"]),
)
albums = st.lists(photo, min_size=1, max_size=25)


def columns(album):
    embeddings, identities, groups, exclude = (list(part) for part in zip(*album, strict=True))
    return np.array(embeddings, float), identities, {"groups": groups, "exclude": exclude}


# one against the rest


@settings(deadline=None, max_examples=60)
@given(albums)
def test_one_vs_rest_agrees_with_plain_loops(album):
    embeddings, identities, where = columns(album)
    table = retrieval.one_vs_rest(embeddings, identities, **where)
    same(table, one_vs_rest_by_hand(embeddings, identities, **where))


@settings(deadline=None, max_examples=40)
@given(albums, st.randoms(), st.sampled_from([0.001, 0.3, 7.0, 1e30]))
def test_order_of_rows_and_length_of_vectors_do_not_matter(album, random, factor):
    embeddings, identities, where = columns(album)
    table = retrieval.one_vs_rest(embeddings, identities, **where)
    order = random.sample(range(len(album)), len(album))
    shuffled, names, there = columns([album[i] for i in order])
    again = retrieval.one_vs_rest(shuffled * factor, names, **there)
    expected = table.iloc[order].reset_index(drop=True)
    same(again.drop(columns="query"), expected.drop(columns="query"))


@settings(deadline=None, max_examples=40)
@given(albums)
def test_scores_stay_in_bounds_and_rise_with_k(album):
    embeddings, identities, where = columns(album)
    table = retrieval.one_vs_rest(embeddings, identities, top_k=(1, 2, 3, 25), **where)
    scored = table[table["n_mates"] > 0]
    tops = scored[["top1", "top2", "top3", "top25"]].to_numpy()
    assert np.isin(tops, (0, 1)).all()
    assert (np.diff(tops, axis=1) >= 0).all()
    assert (tops[:, 3] == 1).all()  # nobody has 25 candidates: the rank is capped
    assert scored["average_precision"].between(1 / 25, 1).all()
    assert scored["first_rank"].between(1, scored["n_candidates"]).all()
    empty = table.loc[table["n_mates"] == 0, ["first_rank", "top1", "average_precision"]]
    assert empty.isna().all(axis=None)


@settings(deadline=None, max_examples=40)
@given(albums, st.data())
def test_a_burst_neighbour_that_is_excluded_changes_nothing(album, data):
    embeddings, identities, where = columns(album)
    i = data.draw(st.integers(0, len(album) - 1))
    where["exclude"][i] = "the burst"
    before = retrieval.one_vs_rest(embeddings, identities, **where)
    twin = (embeddings[i].tolist(), identities[i], where["groups"][i], "the burst")
    rows = zip(embeddings.tolist(), identities, where["groups"], where["exclude"], strict=True)
    embeddings, identities, where = columns([*rows, twin])
    after = retrieval.one_vs_rest(embeddings, identities, **where)
    pd.testing.assert_series_equal(after.iloc[i], before.iloc[i])
    same(
        after.iloc[[-1]].drop(columns="query"),
        after.iloc[[i]].drop(columns="query").set_axis([len(album)]),
    )


def test_average_precision_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    embeddings, identities = rng.normal(size=(60, 8)), rng.integers(9, size=60)
    table = retrieval.one_vs_rest(embeddings, identities)
    cosines = cosines_by_hand(embeddings, embeddings)
    for i, row in table.iterrows():
        others = np.arange(60) != i
        truth = (identities == identities[i])[others]
        expected = average_precision_score(truth, cosines[i, others])
        assert row["average_precision"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["random45_with_singletons_cosine", "n21", "n12_below_20"])
def test_parity_with_the_public_one_vs_all_evaluator(name):
    case, embeddings, labels = case_arrays(name)
    table = retrieval.one_vs_rest(embeddings, labels)
    scored = table[table["n_mates"] > 0]
    official = case["onevsall"]
    assert len(scored) == official["n_valid_queries"]
    assert scored["average_precision"].mean() == pytest.approx(official["official_mAP"], abs=1e-6)
    for k, value in official["cmc"].items():
        assert scored[f"top{k}"].mean() == pytest.approx(value, abs=1e-6)


def test_d6_a_group_of_fewer_than_twenty_is_scored_with_capped_ranks():
    case, embeddings, labels = case_arrays("n12_below_20")
    assert "official_error" in case["pipeline"]
    table = retrieval.one_vs_rest(embeddings, labels)
    assert (table["n_candidates"] == 11).all()
    assert (table["top20"] == 1).all()
    assert table["top1"].mean() == 0.5


def test_d6_every_metric_is_averaged_over_the_same_species():
    rng = np.random.default_rng(0)
    groups = ["lion"] * 3 + ["koi"] * 30 + ["newt"] * 4
    identities = ["a", "a", "b", *(f"k{i % 6}" for i in range(30)), "p", "q", "r", "s"]
    table = retrieval.one_vs_rest(rng.normal(size=(37, 4)), identities, groups=groups)
    by_species = retrieval.summarise(table, by=["group"], seed=0)
    assert by_species["group"].tolist() == ["koi", "lion", "newt"]
    assert by_species["n_queries"].tolist() == [30, 2, 0]
    assert by_species["n_without_mate"].tolist() == [0, 1, 4]
    metrics = ["chance_top1", "top1", "top5", "top10", "top20", "map"]
    assert by_species[metrics].iloc[:2].notna().all(axis=None)
    assert by_species[metrics].iloc[2].isna().all()
    mean = retrieval.species_mean(table, seed=0).iloc[0]
    assert (mean["n_species"], mean["n_species_without_mate"]) == (2, 1)
    for metric in metrics:
        assert mean[metric] == pytest.approx(by_species[metric].iloc[:2].mean())


def test_d7_a_query_without_a_mate_is_not_a_miss():
    case, embeddings, labels = case_arrays("all_singletons")
    assert "official_error" in case["onevsall"]
    table = retrieval.one_vs_rest(embeddings, labels)
    assert (table["n_mates"] == 0).all()
    assert (table["chance_top1"] == 0).all()
    unscored = ["first_rank", "top1", "top5", "top10", "top20", "average_precision"]
    assert table[unscored].isna().all(axis=None)


def test_d7_the_query_itself_and_its_encounter_are_never_hits():
    embeddings = np.array([[1.0, 0], [1, 0.01], [0, 1], [0.1, 1]])
    table = retrieval.one_vs_rest(
        embeddings, ["ann", "ann", "ann", "bob"], exclude=["e1", "e1", None, np.nan]
    )
    assert table["n_candidates"].tolist() == [2, 2, 3, 3]
    assert table["n_mates"].tolist() == [1, 1, 2, 0]
    assert table["first_rank"].tolist()[:3] == [2, 2, 2]


def test_d8_one_name_in_two_species_is_two_animals():
    embeddings = np.array([[1.0, 0], [1, 0.1], [1, 0], [0, 1]])
    table = retrieval.one_vs_rest(
        embeddings, ["m1", "m1", "m1", "m2"], groups=["lion", "lion", "koi", "koi"]
    )
    assert table["n_mates"].tolist() == [1, 1, 0, 0]


def test_d20_ties_are_broken_against_the_query_whatever_the_order():
    case, embeddings, labels = case_arrays("duplicates30_cosine")
    worst = case["tie_bounds"]["pessimistic"]
    assert worst["mAP"] < case["onevsall"]["official_mAP"] < case["tie_bounds"]["optimistic"]["mAP"]
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(len(labels))
        table = retrieval.one_vs_rest(embeddings[order], np.array(labels)[order])
        scored = table[table["n_mates"] > 0]
        assert scored["average_precision"].mean() == pytest.approx(worst["mAP"], abs=1e-9)
        for k, value in worst["cmc"].items():
            assert scored[f"top{k}"].mean() == pytest.approx(value, abs=1e-9)


def test_d20_cosines_that_differ_by_rounding_are_ties():
    # corners of a cube: the true cosines are -1, -1/3, 1/3 and 1, counted here in whole numbers
    case, embeddings, labels = case_arrays("ties30_cosine")
    products = embeddings.astype(int) @ embeddings.astype(int).T
    everybody = range(len(labels))
    for i, row in retrieval.one_vs_rest(embeddings, labels).iterrows():
        others = [j for j in everybody if j != i]
        ranks = ranks_by_hand(products[i], labels[i], others, labels)
        assert row["first_rank"] == ranks[0]
        assert row["average_precision"] == pytest.approx(
            row_by_hand(ranks, 29)["average_precision"]
        )
    # the bound in the file sorts rounded distances, which splits some of these ties
    mean = retrieval.one_vs_rest(embeddings, labels)["average_precision"].mean()
    assert mean < case["tie_bounds"]["pessimistic"]["mAP"]


def test_d20_a_network_that_gives_one_vector_to_all_scores_nothing():
    rng = np.random.default_rng(0)
    identities = np.arange(40) // 2
    embeddings = np.tile(rng.normal(size=(1, 512)), (40, 1))
    embeddings *= rng.uniform(0.1, 10, size=(40, 1))  # rounds differently in every row
    table = retrieval.one_vs_rest(embeddings, identities)
    assert (table["first_rank"] == 39).all()
    assert table[["top1", "top5", "top10", "top20"]].to_numpy().max() == 0
    assert table["average_precision"].max() == pytest.approx(1 / 39)


def test_d21_identities_above_two_to_the_24_do_not_collide():
    case, embeddings, labels = case_arrays("labels_above_2pow24")
    assert min(labels) == 2**24
    official = case["onevsall"]
    table = retrieval.one_vs_rest(embeddings, labels)
    assert table["average_precision"].mean() == pytest.approx(official["official_mAP"], abs=1e-6)
    assert table["top1"].mean() == official["cmc"]["1"]
    vast = np.array([2**53, 2**53 + 1, 2**63], np.uint64)  # equal or lost as floats
    assert retrieval.one_vs_rest(np.eye(3), vast)["n_mates"].tolist() == [0, 0, 0]
    near = np.array([2**53 + 1, 2**53 + 2], np.int64)
    pairs = retrieval.query_database(np.eye(2), near, np.eye(3)[:, :2] + 1, vast)
    assert pairs["n_mates"].tolist() == [1, 0]


def test_d21_float_identities_are_refused():
    with pytest.raises(RetrievalError, match="must be integers or text, not floating"):
        retrieval.one_vs_rest(np.eye(2), np.array([1.0, 2.0], np.float32))


def test_d22_memory_is_linear_in_the_number_of_photos():
    rng = np.random.default_rng(0)
    peaks = []
    for n in (3000, 6000):
        embeddings, identities = rng.normal(size=(n, 16)), np.arange(n) // 4
        tracemalloc.start()
        retrieval.one_vs_rest(embeddings, identities)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    assert peaks[1] < 64  # one whole matrix of 6,000 x 6,000 in float32 would take 137
    assert peaks[1] - peaks[0] < 16


@pytest.mark.parametrize(("block", "rows"), [(1, 1), (640, 1), (1, 7)])
def test_d22_the_size_of_the_blocks_does_not_matter(block, rows, monkeypatch):
    rng = np.random.default_rng(0)
    embeddings, identities = rng.normal(size=(40, 6)), rng.integers(8, size=40)
    expected = retrieval.one_vs_rest(embeddings, identities)
    monkeypatch.setattr(similarity, "BLOCK", block)
    monkeypatch.setattr(similarity, "ROWS", rows)
    pd.testing.assert_frame_equal(retrieval.one_vs_rest(embeddings, identities), expected)


def test_an_identity_with_hundreds_of_photos_is_ranked_the_same_way():
    rng = np.random.default_rng(0)
    embeddings = rng.integers(-2, 3, size=(300, 6)) + 0.5
    identities = np.where(np.arange(300) < 200, "herd", "stray")
    table = retrieval.one_vs_rest(embeddings, identities)
    same(table, one_vs_rest_by_hand(embeddings, identities.tolist()))


def test_d25_embeddings_that_cannot_be_compared_stop_the_run():
    good = np.ones((4, 3))
    for value, message in ((np.nan, "NaN or infinity"), (np.inf, "NaN or infinity")):
        bad = good.copy()
        bad[2, 1] = value
        with pytest.raises(RetrievalError, match=rf"embeddings: row 2 holds {message} \(1 such"):
            retrieval.one_vs_rest(bad, [1, 1, 2, 2], groups=["a", "a", "b", "b"])
    bad = good.copy()
    bad[[1, 3]] = 0
    with pytest.raises(RetrievalError, match=r"embeddings: row 1 is all zeros \(2 such"):
        retrieval.neighbours(bad, k=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.ones(3)}, r"shape \[N, D\], not float64 \(3,\)"),
        ({"embeddings": np.ones((3, 2), complex)}, "not complex128"),
        ({"embeddings": np.ones((3, 0))}, "row 0 is all zeros"),
        ({"identities": ["a", "b"]}, "identities has 2 values for 3 embeddings"),
        ({"identities": ["a", None, "b"]}, "identities: row 1 is missing"),
        ({"identities": [1, 2, None]}, "identities: row 2 is missing"),
        ({"identities": ["a", 1, "b"]}, "not mixed-integer"),
        ({"identities": [True, False, True]}, "not boolean"),
        ({"groups": ["a"]}, "groups has 1 values for 3"),
        ({"groups": ["a", "a", np.nan]}, "groups: row 2 is missing"),
        ({"exclude": ["a", "a"]}, "exclude has 2 values for 3"),
        ({"top_k": (1, 0)}, r"whole numbers from 1, not \[0\]"),
        ({"top_k": (1.0,)}, r"whole numbers from 1, not \[1.0\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    arguments = {"embeddings": np.ones((3, 2)), "identities": ["a", "a", "b"], **change}
    with pytest.raises(RetrievalError, match=message):
        retrieval.one_vs_rest(**arguments)


def test_columns_of_a_table_are_read_by_position():
    table = pd.DataFrame({"identity": ["a", "b", "a"], "species": ["x"] * 3}, index=[7, 7, 2])
    table["encounter"] = pd.Categorical([None, "e", "e"])
    found = retrieval.one_vs_rest(
        np.array([[1, 0], [0, 1], [1, 0.1]], np.float16),
        table["identity"].astype("category"),
        groups=table["species"],
        exclude=table["encounter"],
    )
    assert found["query"].tolist() == [0, 1, 2]
    assert found["identity"].tolist() == ["a", "b", "a"]
    assert found["n_candidates"].tolist() == [2, 1, 1]
    assert found["top1"].tolist()[::2] == [1, 1]
    assert retrieval.one_vs_rest(np.ones((0, 4)), []).empty


def test_tiny_and_huge_vectors_keep_their_direction():
    embeddings = np.array([[1e-200, 0], [1e200, 1e199], [0, 3.0]])
    table = retrieval.one_vs_rest(embeddings, ["a", "a", "b"])
    assert table["top1"].tolist()[:2] == [1, 1]


# queries against a database


def test_query_database_matches_the_masked_parity_case():
    case = CASES["query_db_masked"]
    table = retrieval.query_database(
        case["query_embeddings"],
        case["query_labels"],
        case["db_embeddings"],
        case["db_labels"],
        exclude_pairs=np.array(case["mask"]),
        top_k=range(1, 21),
    )
    # there, an animal that is not in the database counts as a miss; here it is no question
    reference = case["pipeline"]
    counted = table["average_precision"].fillna(0).mean()
    assert counted == pytest.approx(reference["reference_mAP"], abs=1e-6)
    for k, value in reference["reference_cmc"].items():
        assert table[f"top{k}"].fillna(0).mean() == pytest.approx(value, abs=1e-9)
    assert table.loc[table["identity"] == 0, "top1"].isna().all()
    expected = len(case["db_labels"]) - np.array(case["mask"]).sum(axis=1)
    assert table["n_candidates"].tolist() == expected.tolist()


@settings(deadline=None, max_examples=40)
@given(albums, albums, st.integers(0, 2**20))
def test_query_database_agrees_with_plain_loops(asked, searched, seed):
    queries, names, _ = columns(asked)
    database, others, _ = columns(searched)
    pairs = np.random.default_rng(seed).random((len(asked), len(searched))) < 0.3
    table = retrieval.query_database(queries, names, database, others, exclude_pairs=pairs)
    cosines = cosines_by_hand(queries, database)
    rows = []
    for i, name in enumerate(names):
        candidates = [j for j in range(len(others)) if not pairs[i, j]]
        ranks = ranks_by_hand(cosines[i], name, candidates, others)
        head = {"query": i, "identity": name, "group": "all"}
        rows.append(head | row_by_hand(ranks, len(candidates)))
    same(table, pd.DataFrame(rows))


def test_one_vs_rest_is_a_database_without_the_own_photo():
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(30, 5)), rng.integers(6, size=30)
    a = retrieval.one_vs_rest(x, names)
    b = retrieval.query_database(x, names, x, names, exclude_pairs=np.eye(30, dtype=bool))
    pd.testing.assert_frame_equal(a, b)


def test_d7_an_excluded_pair_is_never_a_hit_even_in_a_short_list():
    pairs = [[True, False, False]]
    table = retrieval.query_database(
        np.eye(2)[:1], ["a"], np.eye(2)[[0, 1, 1]], ["a", "b", "c"], exclude_pairs=pairs
    )
    assert table["n_candidates"].tolist() == [2]
    assert table["n_mates"].tolist() == [0]
    assert table["top20"].isna().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"database_embeddings": np.ones((3, 5))}, "different sizes"),
        ({"database_identities": [1, 2, 3]}, "both be integers or both be text"),
        ({"database_identities": ["a"]}, "database_identities has 1 values for 3"),
        ({"exclude_pairs": np.zeros((3, 2), bool)}, r"of shape \(2, 3\)"),
        ({"exclude_pairs": [[0, 1, 2], [0, 0, 0]]}, r"of shape \(2, 3\)"),
    ],
)
def test_query_and_database_that_do_not_fit_are_refused(change, message):
    arguments = {
        "query_embeddings": np.ones((2, 4)),
        "query_identities": ["a", "b"],
        "database_embeddings": np.ones((3, 4)),
        "database_identities": ["a", "b", "c"],
    }
    with pytest.raises(RetrievalError, match=message):
        retrieval.query_database(**{**arguments, **change})


def test_an_empty_database_leaves_every_question_open():
    table = retrieval.query_database(np.eye(2), ["a", "b"], np.ones((0, 2)), [])
    assert table["n_candidates"].tolist() == [0, 0]
    assert table[["top1", "chance_top1"]].isna().all(axis=None)


# neighbours


@settings(deadline=None, max_examples=60)
@given(albums, st.integers(1, 6))
def test_neighbours_agree_with_plain_loops(album, k):
    embeddings, _, where = columns(album)
    nearest, cosines = retrieval.neighbours(embeddings, k=k, **where)
    assert nearest.shape == cosines.shape == (len(album), k)
    expected = cosines_by_hand(embeddings, embeddings)
    for i in range(len(album)):
        allowed = {
            j
            for j in range(len(album))
            if j != i
            and where["groups"][i] == where["groups"][j]
            and (where["exclude"][i] is None or where["exclude"][i] != where["exclude"][j])
        }
        n = min(k, len(allowed))
        found = nearest[i, :n].tolist()
        assert len(set(found)) == n
        assert set(found) <= allowed
        np.testing.assert_allclose(cosines[i, :n], expected[i, found], atol=1e-6)
        best = sorted(expected[i, list(allowed)], reverse=True)[:n]
        np.testing.assert_allclose(cosines[i, :n], best, atol=1e-6)
        assert (nearest[i, n:] == -1).all()
        assert np.isnan(cosines[i, n:]).all()


def test_the_first_neighbour_decides_top1():
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(50, 6)), rng.integers(7, size=50)
    nearest, _ = retrieval.neighbours(x, k=1)
    hits = names[nearest[:, 0]] == names
    assert hits.tolist() == (retrieval.one_vs_rest(x, names)["top1"] == 1).tolist()


# means and intervals


def queries(scores, *, group="zebra", **more):
    """A table of queries from lists of top1, one list an identity; None has no mate."""
    rows = []
    for identity, values in enumerate(scores):
        for value in values:
            score = np.nan if value is None else float(value)
            row = {"query": len(rows), "identity": identity, "group": group}
            row |= {"n_mates": 0 if value is None else 1, "top1": score}
            rows.append(row | {"average_precision": score / 2, "chance_top1": 0.25} | more)
    return pd.DataFrame(rows)


def test_summarise_weights_queries_and_counts_what_it_leaves_out():
    table = pd.concat(
        [queries([[1, 1, 1], [0], [None]]), queries([[1, 0], [None, None]], group="koi")]
    )
    summary = retrieval.summarise(table, by=["group"], seed=0)
    assert summary.columns.tolist() == [
        *("group", "n_identities", "n_queries", "n_without_mate", "chance_top1"),
        *("top1", "top1_low", "top1_high", "map", "map_low", "map_high"),
    ]
    assert summary["group"].tolist() == ["koi", "zebra"]
    assert summary["n_identities"].tolist() == [1, 2]
    assert summary["n_queries"].tolist() == [2, 4]
    assert summary["n_without_mate"].tolist() == [2, 1]
    assert summary["top1"].tolist() == [0.5, 0.75]
    assert summary["map"].tolist() == [0.25, 0.375]
    assert summary["chance_top1"].tolist() == [0.25, 0.25]
    assert summary.loc[0, ["top1_low", "top1_high"]].isna().all()  # one animal says nothing
    assert summary.loc[1, ["top1_low", "top1_high"]].tolist() == [0, 1]


def test_the_interval_draws_whole_animals():
    rng = np.random.default_rng(0)
    scores = [rng.integers(0, 2, size=rng.integers(1, 9)) for _ in range(30)]
    summary = retrieval.summarise(queries(scores), by="group", seed=1, n_bootstrap=4000).iloc[0]
    means = []
    for _ in range(4000):
        drawn = [scores[i] for i in rng.integers(30, size=30)]
        means.append(np.concatenate(drawn).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    assert summary["top1_low"] == pytest.approx(low, abs=0.01)
    assert summary["top1_high"] == pytest.approx(high, abs=0.01)
    assert summary["map_low"] == pytest.approx(summary["top1_low"] / 2)
    assert summary["top1"] == pytest.approx(np.concatenate(scores).mean())


def test_the_interval_holds_the_truth_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    held = by_photo = 0
    for _ in range(120):
        skill = rng.beta(1, 1, size=40)  # animals differ; the truth is 0.5
        scores = [rng.random(8) < s for s in skill]
        row = retrieval.summarise(queries(scores), by="group", seed=0, n_bootstrap=200).iloc[0]
        held += row["top1_low"] <= 0.5 <= row["top1_high"]
        flat = np.concatenate(scores)
        half = 1.96 * flat.std() / np.sqrt(flat.size)  # as if photos were independent
        by_photo += abs(flat.mean() - 0.5) <= half
    assert 0.88 <= held / 120 <= 0.99
    assert by_photo / 120 < 0.85


def test_a_row_of_the_summary_depends_on_its_own_queries_only():
    rng = np.random.default_rng(0)
    zebra = queries(rng.integers(0, 2, size=(12, 3)))
    koi = queries(rng.integers(0, 2, size=(5, 4)), group="koi")
    alone = retrieval.summarise(zebra, by="group", seed=3)
    both = pd.concat([koi, zebra]).sample(frac=1, random_state=0)
    together = retrieval.summarise(both, by="group", seed=3)
    pd.testing.assert_frame_equal(together.iloc[[1]].reset_index(drop=True), alone)
    other = retrieval.summarise(zebra, by="group", seed=4)
    assert other["top1"].tolist() == alone["top1"].tolist()
    assert other["map_low"].tolist() + other["map_high"].tolist() != (
        alone["map_low"].tolist() + alone["map_high"].tolist()
    )


def test_d8_animals_of_one_name_are_drawn_apart():
    table = pd.concat([queries([[1, 0]]), queries([[0, 0]], group="koi")]).assign(model="m")
    row = retrieval.summarise(table, by=["model"], seed=0).iloc[0]
    assert row["n_identities"] == 2
    assert row[["top1_low", "top1_high"]].tolist() == [0, 0.5]


def test_summarise_by_several_columns_keeps_nothing_from_sight():
    table = queries([[1, 0], [1]]).assign(model="m", seen=[True, False, True])
    summary = retrieval.summarise(table, by=["model", "seen"], seed=0)
    assert summary[["model", "seen"]].to_numpy().tolist() == [["m", False], ["m", True]]
    assert summary["top1"].tolist() == [0, 1]
    blank = table.assign(seen=["yes", None, None])
    assert retrieval.summarise(blank, by=["seen"], seed=0)["n_queries"].sum() == 3


def test_tables_that_cannot_be_averaged_are_refused():
    table = queries([[1, 0], [1]])
    with pytest.raises(RetrievalError, match=r"lacks \['model'\]"):
        retrieval.summarise(table, by=["model"], seed=0)
    with pytest.raises(RetrievalError, match="lacks a column by"):
        retrieval.summarise(table, by=[], seed=0)
    with pytest.raises(RetrievalError, match=r"lacks \['n_mates'\]"):
        retrieval.species_mean(table.drop(columns="n_mates"), seed=0)
    for column in ("top1", "identity"):  # an animal called NA, read back from a csv
        holes = table.assign(**{column: [None, 1, 1]})
        with pytest.raises(RetrievalError, match=f"have no {column}"):
            retrieval.summarise(holes, by="group", seed=0)
    with pytest.raises(RetrievalError, match="no query has a mate"):
        retrieval.species_mean(queries([[None]]), seed=0)


def several_species(rng, n_species=8, noise=0.0, skills=(0.1, 0.9)):
    parts = []
    for s in range(n_species):
        skill = rng.uniform(*skills)
        scores = [rng.random(4) < np.clip(skill + noise * rng.normal(), 0, 1) for _ in range(15)]
        parts.append(queries(scores, group=f"species{s}"))
    return pd.concat(parts, ignore_index=True)


def test_species_mean_gives_every_species_one_vote():
    table = pd.concat([queries([[1] * 50, [1] * 50]), queries([[0], [0]], group="koi")])
    row = retrieval.species_mean(table, seed=0).iloc[0]
    assert (row["group"], row["n_species"], row["n_queries"]) == ("mean", 2, 102)
    assert row["top1"] == 0.5
    assert row[["top1_low", "top1_high"]].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("skills", [(0.1, 0.9), (0.5, 0.5)])
def test_species_mean_with_species_drawn_too_is_less_sure(skills):
    table = several_species(np.random.default_rng(0), n_species=20, skills=skills)
    these = retrieval.species_mean(table, seed=0, n_bootstrap=4000).iloc[0]
    general = retrieval.species_mean(table, seed=0, n_bootstrap=4000, resample_species=True).iloc[0]
    by_species = table.groupby("group")["top1"].mean()
    assert these["top1"] == general["top1"] == pytest.approx(by_species.mean())
    within = these["top1_high"] - these["top1_low"]
    between = 2 * 1.96 * by_species.std(ddof=0) / np.sqrt(20)  # the textbook's, of 20 means
    width = general["top1_high"] - general["top1_low"]
    assert width == pytest.approx(np.hypot(within, between), rel=0.08)


def test_one_species_says_nothing_of_species_in_general():
    table = several_species(np.random.default_rng(0), n_species=1)
    these = retrieval.species_mean(table, seed=0).iloc[0]
    general = retrieval.species_mean(table, seed=0, resample_species=True).iloc[0]
    assert these[["top1_low", "top1_high"]].notna().all()
    assert general[["top1_low", "top1_high"]].isna().all()


def test_species_mean_accepts_another_column_for_species():
    table = several_species(np.random.default_rng(0), n_species=3)
    table["species"] = table["group"].where(table["group"] != "species2", "species1")
    row = retrieval.species_mean(table, by="species", seed=0).iloc[0]
    assert (row["species"], row["n_species"]) == ("mean", 2)


def test_paired_difference_of_a_table_with_itself_is_zero():
    table = several_species(np.random.default_rng(0), n_species=3)
    shuffled = table.sample(frac=1, random_state=1)
    found = retrieval.paired_difference(table, shuffled, by="group", seed=0)
    assert found["group"].tolist() == ["species0", "species1", "species2", "mean"]
    assert found["n_species"].tolist() == [1, 1, 1, 3]
    zero = found[["difference", "difference_low", "difference_high"]]
    assert (zero == 0).all(axis=None)
    assert found["a"].tolist() == found["b"].tolist()


def test_paired_difference_draws_the_same_animals_for_both():
    rng = np.random.default_rng(0)
    b = several_species(rng, n_species=4, noise=0.3)
    a = b.assign(average_precision=b["average_precision"] + 0.125)  # better by as much everywhere
    found = retrieval.paired_difference(a, b, by="group", metric="map", seed=0)
    low, high = found["difference_low"], found["difference_high"]
    np.testing.assert_allclose(found["difference"], 0.125)
    np.testing.assert_allclose([low, high], 0.125)
    back = retrieval.paired_difference(b, a, by="group", metric="average_precision", seed=0)
    np.testing.assert_allclose(back["difference"], -found["difference"])
    apart = retrieval.summarise(a, by="group", seed=0)
    assert (apart["map_high"] - apart["map_low"] > 0.05).all()


def test_paired_difference_agrees_with_a_plain_bootstrap():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2, size=(2, 25, 3))
    a, b = (queries(side) for side in scores)
    row = retrieval.paired_difference(a, b, by="group", seed=0, n_bootstrap=4000).iloc[0]
    difference = scores[0].astype(float) - scores[1]
    draws = [difference[rng.integers(25, size=25)].mean() for _ in range(4000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    assert row["difference"] == pytest.approx(difference.mean())
    assert row["difference_low"] == pytest.approx(low, abs=0.02)
    assert row["difference_high"] == pytest.approx(high, abs=0.02)


def test_paired_difference_averages_the_species_that_can_be_scored():
    a = pd.concat([queries([[1], [1]]), queries([[None], [None]], group="koi")])
    b = pd.concat([queries([[0], [1]]), queries([[None], [None]], group="koi")])
    found = retrieval.paired_difference(a, b, by="group", seed=0)
    assert found["group"].tolist() == ["koi", "zebra", "mean"]
    assert found["n_species"].tolist() == [0, 1, 1]
    assert found["n_without_mate"].tolist() == [2, 0, 2]
    assert found["difference"].tolist()[1:] == [0.5, 0.5]
    assert np.isnan(found["difference"][0])
    wide = retrieval.paired_difference(a, b, by="group", seed=0, resample_species=True)
    assert np.isnan(wide["difference_low"].iloc[-1])  # one species says nothing of species


def test_paired_difference_needs_the_same_queries():
    table = queries([[1, 0], [1]])
    with pytest.raises(RetrievalError, match="1 queries are in one table only"):
        retrieval.paired_difference(table, table.iloc[:2], by="group", seed=0)
    with pytest.raises(RetrievalError, match=r"'query': 0.* twice"):
        retrieval.paired_difference(pd.concat([table, table]), table, by="group", seed=0)
    with pytest.raises(RetrievalError, match=r"table b lacks the columns \['top1'\]"):
        retrieval.paired_difference(table, table.drop(columns="top1"), by="group", seed=0)
    holes = table.assign(top1=[np.nan, 0, 1])
    with pytest.raises(RetrievalError, match="a mate in one table only"):
        retrieval.paired_difference(table, holes, by="group", seed=0)


def scored(model, hits):
    rows = {"model": model, "group": ["a", "a", "b", "b"], "identity": list("wxyz")}
    rows |= {"query": range(4), "n_mates": 1, "top1": hits, "top5": 1.0, "chance_top1": 0.2}
    return pd.DataFrame(rows).assign(species=rows["group"])


def test_compare_holds_every_pair_and_metric():
    table = pd.concat([scored("p", [1, 1, 1, 0]), scored("q", [0, 1, 0, 0])])
    result = retrieval.compare(
        table, [("p", "q"), ("q", "p")], metrics=("top1", "top5"), seed=0, n_bootstrap=20
    )
    mean = result[result["species"] == "mean"].set_index(["model_a", "model_b", "metric"])
    assert mean.loc[("p", "q", "top1"), "difference"] == 0.5
    assert mean.loc[("q", "p", "top1"), "difference"] == -0.5
    assert (mean.xs("top5", level="metric")["difference"] == 0).all() and len(result) == 12


def test_compare_names_the_models_it_knows():
    with pytest.raises(RetrievalError, match="no queries of 'r'; there are p"):
        retrieval.compare(scored("p", [1, 1, 1, 0]), [("p", "r")], seed=0)


def test_by_seed_compares_one_run_with_one():
    hits = {0: ([1, 1, 1, 0], [0, 1, 0, 0]), 3: ([0, 1, 0, 0], [0, 1, 0, 1])}
    table = pd.concat(
        scored(model, side).assign(seed=seed)
        for seed, sides in hits.items()
        for model, side in zip("pq", sides, strict=True)
    )
    found = retrieval.by_seed(table, ("p", "q"), seed=0, n_bootstrap=20)
    assert found["difference"].to_dict() == {0: 0.5, 3: -0.25}
    assert found["n_queries"].tolist() == [4, 4]
    run = table[table["seed"] == 3]
    alone = retrieval.compare(run, [("p", "q")], seed=0, n_bootstrap=20).iloc[-1]
    assert found.loc[3].to_dict() == alone[found.columns].to_dict()
    with pytest.raises(RetrievalError, match="no queries of 'q'; there are p"):
        half = table[(table["model"] == "p") | (table["seed"] == 0)]
        retrieval.by_seed(half, ("p", "q"), seed=0)
