"""Splits: properties that always hold, a brute-force search beside ours, and the old defects."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from miewid_lib import splits
from miewid_lib.errors import SplitError


def herd(counts: list[list[int]], species: str = "lion") -> pd.DataFrame:
    """One individual a list; each number is an encounter of so many photos."""
    rows = [
        (f"{species}:{i}:{e}:{k}", species, f"name {i}", f"day {e}")
        for i, encounters in enumerate(counts)
        for e, n_photos in enumerate(encounters)
        for k in range(n_photos)
    ]
    table = pd.DataFrame(rows, columns=["annotation_id", "species", "individual", "encounter"])
    return table.assign(identity=table["species"] + "|" + table["individual"])


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    return table.sample(frac=1, random_state=seed)


def random_counts(n_individuals: int, seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [list(generator.integers(1, 4, generator.integers(1, 9))) for _ in range(n_individuals)]


COUNTS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=8), min_size=1, max_size=14)


@st.composite
def tables(draw) -> pd.DataFrame:
    """One to three species with the same individual names, some with sides as identities."""
    parts = []
    for species in draw(st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"]])):
        part = herd(draw(COUNTS), species)
        if draw(st.booleans()):
            side = part["annotation_id"].map(lambda name: "left" if hash_of(name) % 2 else "right")
            part["identity"] += "|" + side
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def hash_of(name: str) -> int:
    return sum(map(ord, name))


def split_or_none(table: pd.DataFrame, **arguments) -> pd.DataFrame | None:
    try:
        return splits.split(table, **arguments)
    except SplitError:
        return None


ARGUMENTS = {
    "seed": st.integers(0, 5),
    "train_share": st.sampled_from([0.3, 0.5, 0.7, 0.9]),
    "unseen_share": st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    "order": st.sampled_from(["random", "by_size"]),
}


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.filter_too_much])
@given(table=tables(), arguments=st.fixed_dictionaries(ARGUMENTS))
def test_what_always_holds(table, arguments):
    done = split_or_none(table, **arguments)
    assume(done is not None)
    pd.testing.assert_frame_equal(done[list(table.columns)], table)
    train, test, unused = (done[done["part"] == part] for part in ("train", "test", "unused"))
    assert len(train) + len(test) + len(unused) == len(table)
    event = ["species", "individual", "encounter"]
    assert not set(map(tuple, train[event].values)) & set(map(tuple, test[event].values))
    assert list(test["seen"]) == list(test["identity"].isin(train["identity"]))
    assert not done.loc[done["part"] != "test", "seen"].any()
    assert unused["reason"].notna().all() and train["reason"].isna().all()
    assert test["reason"].isna().all()
    assert train.groupby("identity").size().min() >= 3
    assert test.groupby("identity").size().between(2, 10).all()
    assert not test.duplicated(["identity", "encounter"]).any()
    assert all(len(set(names)) > 1 for _, names in test.groupby("species")["individual"])


@settings(deadline=None, max_examples=40)
@given(table=tables(), arguments=st.fixed_dictionaries(ARGUMENTS), seed=st.integers(0, 3))
def test_the_order_of_rows_does_not_matter(table, arguments, seed):
    columns = ["part", "seen", "reason"]
    first = split_or_none(table, **arguments)
    second = split_or_none(shuffled(table, seed), **arguments)
    assert (first is None) == (second is None)
    if first is not None:
        pd.testing.assert_frame_equal(second[columns].sort_index(), first[columns])


@settings(deadline=None, max_examples=40)
@given(table=tables(), arguments=st.fixed_dictionaries(ARGUMENTS))
def test_one_species_does_not_change_another(table, arguments):
    done = split_or_none(table, **arguments)
    assume(done is not None)
    for species, rows in done.groupby("species"):
        alone = split_or_none(table[table["species"] == species], **arguments)
        if alone is not None:
            assert list(alone["part"]) == list(rows["part"])


def plain_trims(table: pd.DataFrame) -> tuple[set, set]:
    """Train and test identities after the trims, row by row; column part is train or test."""
    train = {
        name for name, rows in table[table["part"] == "train"].groupby("identity") if len(rows) >= 3
    }
    test = {
        name
        for name, rows in table[table["part"] == "test"].groupby("identity")
        if rows["encounter"].nunique() >= 2
    }
    return train, test


def brute_force(table: pd.DataFrame, seed: int, train_share: float, unseen_share: float) -> float:
    """Smallest distance to both shares under the documented rules, by trying everything."""
    rows = splits._rows(table, seed)
    order, best = np.argsort(rows["individual_hash"]), (np.inf, np.inf)
    able = [i for i in order if rows["n_encounters"][i] >= 2]
    tried = itertools.product(range(len(able) + 1), range(len(able) + 1), splits.TEST_PARTS)
    for n_unseen, last, part in tried:
        if n_unseen > last:
            continue
        n_test = np.zeros(len(order), int)
        for i in able[n_unseen:last]:
            n_test[i] = np.clip(
                np.rint(part * rows["n_encounters"][i]), 2, rows["n_encounters"][i] - 1
            )
            of_it = rows["individual"] == i
            kept = (of_it & (rows["encounter_rank"] >= n_test[i])).sum()
            if n_test[i] < 2 or kept < 3:
                n_test[i] = 0
        n_seen = (n_test > 0).sum()
        n_test[able[:n_unseen]] = rows["n_encounters"][able[:n_unseen]]
        test = rows["encounter_rank"] < n_test[rows["individual"]]
        train_ids, test_ids = plain_trims(table.assign(part=np.where(test, "test", "train")))
        if (
            n_unseen + n_seen == 1
            or (unseen_share == 0 and n_unseen)
            or (unseen_share == 1 and n_seen)
        ):
            continue
        far = abs((~test).mean() - train_share)
        if test_ids:
            far += abs(len(test_ids - train_ids) / len(test_ids) - unseen_share)
        missing = max(0, min(10, -(-len(able) // 2)) - n_unseen - n_seen)
        best = min(best, (1000 * (not train_ids) + 10 * missing, far))
    return best[0] + best[1]


@settings(deadline=None, max_examples=12)
@given(
    counts=st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=2, max_size=7),
    seed=st.integers(0, 9),
    train_share=st.sampled_from([0.3, 0.7]),
    unseen_share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_no_other_choice_of_roles_comes_nearer(counts, seed, train_share, unseen_share):
    table = herd(counts)
    done = split_or_none(table, seed=seed, train_share=train_share, unseen_share=unseen_share)
    assume(done is not None)
    achieved = splits.shares(done).iloc[0]
    far = abs(achieved["train_share"] - train_share)
    if achieved["test_identities"]:
        far += abs(achieved["unseen_share"] - unseen_share)
    assert far <= brute_force(table, seed, train_share, unseen_share) % 10 + 0.0101


def test_d8_the_same_name_in_two_species_is_drawn_apart():
    table = pd.concat([herd([[2] * 6] * 12, "lion"), herd([[2] * 6] * 12, "zebra")])
    roles = splits.split(table, seed=0).groupby(["individual", "species"])["part"].agg(set)
    assert any(roles[name]["lion"] != roles[name]["zebra"] for name, _ in roles.index)


def test_an_identity_of_two_individuals_is_refused():
    table = herd([[2] * 4] * 4)
    with pytest.raises(SplitError, match=r"lion\|name 0"):
        splits.split(table.assign(identity="lion|name 0"), seed=0)


WIDE = herd(random_counts(150) + [[2] * 12] * 60)


@pytest.mark.parametrize("order", ["random", "by_size"])
@pytest.mark.parametrize("train_share", [0.4, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("unseen_share", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_d9_shares_are_met_where_they_can_be(train_share, unseen_share, order):
    wanted = {"train_share": train_share, "unseen_share": unseen_share}
    achieved = splits.shares(splits.split(WIDE, seed=3, order=order, **wanted), **wanted).iloc[0]
    assert achieved["train_share"] == pytest.approx(train_share, abs=0.02)
    assert achieved["unseen_share"] == pytest.approx(unseen_share, abs=0.02)
    assert achieved["train_share_requested"] == train_share
    assert achieved["unseen_share_requested"] == unseen_share


def test_d9_a_small_train_share_is_met():
    table = herd([[2] * 10] * 40)
    wanted = {"train_share": 0.1, "unseen_share": 0.8}
    achieved = splits.shares(splits.split(table, seed=0, **wanted), **wanted).iloc[0]
    assert achieved["train_share"] == pytest.approx(0.1, abs=0.03)
    assert achieved["unseen_share"] == pytest.approx(0.8, abs=0.03)


def test_d9_one_individual_stays_in_train_and_never_is_test():
    both = pd.concat([herd([[2] * 6], "alone"), herd([[2] * 6] * 10)])
    done = splits.split(both, seed=0)
    assert set(done.loc[done["species"] == "alone", "part"]) == {"train"}
    with pytest.raises(SplitError, match="test"):
        splits.split(herd([[2] * 6]), seed=0)


@pytest.mark.parametrize(("counts", "part"), [([[1], [1, 1], [2]], "train"), ([[9]] * 8, "test")])
def test_an_empty_part_is_an_error_that_names_it(counts, part):
    with pytest.raises(SplitError, match=part):
        splits.split(herd(counts), seed=0)


def test_everything_may_be_train():
    done = splits.split(herd([[2] * 5] * 20), seed=0, train_share=1.0)
    assert set(done["part"]) == {"train"}


def test_train_keeps_an_identity_even_where_the_share_says_none():
    done = splits.split(herd([[2, 2]] * 10), seed=0, train_share=0.02, unseen_share=1.0)
    assert done.loc[done["part"] == "train", "identity"].nunique() == 1


@pytest.mark.parametrize("seed", range(5))
def test_small_species_keep_ten_in_test_at_the_cost_of_train(seed):
    for n, expected in ((24, 10), (14, 7), (5, 3)):
        done = splits.split(herd([[1] * 6] * n), seed=seed, train_share=0.9)
        test = done[done["part"] == "test"]
        assert test["individual"].nunique() >= expected
        assert (done["part"] == "train").any()


def test_by_size_is_the_public_rule():
    counts = [[1] * (3 + i) for i in range(40)]
    sizes = {f"name {i}": 3 + i for i in range(40)}
    done = splits.split(herd(counts), seed=0, order="by_size")
    test = done[done["part"] == "test"]
    size = {seen: test.loc[test["seen"] == seen, "individual"].map(sizes) for seen in (True, False)}
    only_train = set(done["individual"]) - set(test["individual"])
    assert size[False].max() < size[True].min()
    assert size[True].max() < min(sizes[name] for name in only_train)


def test_the_lot_does_not_follow_the_number_of_photos():
    counts = [[1] * (5 + i % 20) for i in range(200)]
    table = herd(counts)
    table["n"] = table.groupby("individual")["identity"].transform("size")
    gaps = []
    for seed in range(20):
        done = splits.split(table, seed=seed)
        test = done[done["part"] == "test"]
        role = done["individual"].map(test.groupby("individual")["seen"].any()).astype(object)
        mean = done.drop_duplicates("individual").groupby(role.fillna("train"))["n"].mean()
        gaps.append([mean[False] - mean["train"], mean[True] - mean["train"]])
    assert (abs(np.mean(gaps, axis=0)) < 1).all()  # sizes run from 5 to 24


def test_another_seed_is_another_draw():
    parts = [tuple(splits.split(WIDE, seed=seed)["part"]) for seed in range(4)]
    assert len(set(parts)) == 4


def test_more_photos_do_not_change_who_is_drawn_first():
    order = [splits._rows(table, 0)["individual_hash"] for table in (WIDE, WIDE[::3])]
    assert set(order[1]) <= set(order[0])


def test_trims_by_hand():
    table = herd([[2, 1, 1], [1] * 12, [1, 1]])
    done = splits._trim(table, splits._rows(table, 0), table["individual"].to_numpy() != "name 2")
    reasons = done.groupby("individual")["reason"].value_counts()
    assert reasons["name 0"].to_dict() == {"another photo of its encounter": 1}
    assert reasons["name 1"].to_dict() == {"more than 10 of its identity": 2}
    assert reasons["name 2"].to_dict() == {"fewer than 3 in train": 2}
    single = herd([[3], [2, 2]])
    done = splits._trim(single, splits._rows(single, 0), np.ones(7, bool))
    counts = done.groupby("individual")["reason"].value_counts()
    assert counts["name 0"]["fewer than 2 in test"] == 1
    assert (done["part"] == "test").sum() == 2


def test_photos_that_the_trims_keep_are_drawn():
    table = herd([[5, 5]])
    kept = set()
    for seed in range(30):
        done = splits._trim(table, splits._rows(table, seed), np.ones(10, bool))
        kept |= set(done.loc[done["part"] == "test", "annotation_id"])
    assert len(kept) == 10


def test_sides_are_trimmed_apart_but_drawn_together():
    table = herd([[2] * 6] * 12)
    table["identity"] += np.where(np.arange(len(table)) % 2, "|left", "|right")
    done = splits.split(table, seed=0)
    test = done[done["part"] == "test"]
    assert test.groupby("individual")["identity"].nunique().eq(2).all()
    assert test.groupby("individual")["seen"].nunique().eq(1).all()


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        ({}, {"train_share": 1.1}, "train_share"),
        ({}, {"train_share": float("nan")}, "nan"),
        ({}, {"unseen_share": -0.1}, "unseen_share"),
        ({}, {"order": "by_name"}, "by_name"),
        ({"annotation_id": "a"}, {}, "annotation_id 'a'"),
        ({"encounter": None}, {}, "encounter"),
        ({"identity": None}, {}, "identity"),
        ({"individual": np.nan}, {}, "individual"),
    ],
)
def test_unusable_arguments_are_one_line(change, arguments, words):
    with pytest.raises(SplitError, match=words) as caught:
        splits.split(herd([[2] * 4] * 4).assign(**change), seed=0, **arguments)
    assert "\n" not in str(caught.value)


def test_missing_columns_and_empty_tables_are_named():
    with pytest.raises(SplitError, match="encounter"):
        splits.split(WIDE.drop(columns="encounter"), seed=0)
    for make in (splits.split, splits.random_split):
        with pytest.raises(SplitError, match="empty"):
            make(WIDE[:0], seed=0, train_share=0.5)


def test_shares_count_what_is_there():
    done = splits.split(WIDE, seed=1)
    row = splits.shares(done).iloc[0]
    train, test = done[done["part"] == "train"], done[done["part"] == "test"]
    assert row["individuals"] == 210 and row["annotations"] == len(WIDE)
    assert row["train_annotations"] == len(train) and row["test_queries"] == len(test)
    assert row["train_identities"] == train["identity"].nunique()
    assert row["test_identities"] == test["identity"].nunique()
    assert row["unseen_identities"] == test.loc[~test["seen"], "identity"].nunique()
    drawn = len(train) + (done["reason"] == "fewer than 3 in train").sum()
    assert row["train_share"] == drawn / len(WIDE)


def test_random_rows_leak_encounters_and_whole_roles_do_not():
    naive = splits.random_split(WIDE, seed=0, train_share=0.7)
    assert (naive["part"] == "train").sum() == round(0.7 * len(WIDE))
    event = naive["individual"] + naive["encounter"]
    in_train = event.isin(event[naive["part"] == "train"])
    assert in_train[naive["part"] == "test"].mean() > 0.5
    assert list(naive["seen"]) == list(
        (naive["part"] == "test")
        & naive["identity"].isin(naive.loc[naive["part"] == "train", "identity"])
    )
    again = splits.random_split(shuffled(WIDE), seed=0, train_share=0.7)
    pd.testing.assert_frame_equal(again.sort_index(), naive)
    assert splits.shares(naive)["train_share"][0] == pytest.approx(0.7, abs=0.001)


def test_fifty_thousand_rows_are_quick():
    generator = np.random.default_rng(0)
    names = (generator.pareto(1.2, 50_000) * 1000).astype(int) % 20_000
    table = pd.DataFrame({"individual": names.astype(str)}).assign(species="lion")
    table["encounter"] = generator.integers(0, 9, len(table)).astype(str)
    table["annotation_id"] = np.arange(len(table)).astype(str)
    table["identity"] = table["species"] + "|" + table["individual"]
    start = time.perf_counter()
    done = splits.split(table, seed=0)
    assert time.perf_counter() - start < 3  # 0.3 s here, 6.1 s in the public code
    achieved = splits.shares(done).iloc[0]
    assert achieved["train_share"] == pytest.approx(0.7, abs=0.005)
    assert achieved["unseen_share"] == pytest.approx(0.5, abs=0.005)
