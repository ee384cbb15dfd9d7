"""Trials, thresholds, probabilities and their errors."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miewid_lib import decisions, open_set
from miewid_lib.errors import RetrievalError


def herd(n_animals=24, n_photos=6, *, noise=0.5, seed=0, species="lion"):
    """Vectors around a centre for each animal, every photo an encounter of its own."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_animals, 16))
    animal = np.repeat(np.arange(n_animals), n_photos)
    vectors = centres[animal] + noise * rng.normal(size=(len(animal), 16))
    names = [f"{i:02}" for i in animal]
    table = pd.DataFrame({"species": species, "individual": names})
    table["identity"] = table["species"] + "|" + table["individual"]
    table["encounter"] = [f"e{i}" for i in range(len(table))]
    return vectors, table


def pipeline(vectors, table, *, seed=1, n_draws=6, min_animals=4):
    asked = decisions.trials(vectors, table, seed=seed, n_draws=n_draws)
    calibrations = decisions.calibrate(asked, min_animals=min_animals)
    return asked, calibrations, decisions.judge(asked, calibrations)


def test_each_trial_is_what_its_columns_say():
    vectors, table = herd(noise=2.0)
    asked = decisions.trials(vectors, table, seed=3, n_draws=4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    animal = table["species"] + "|" + table["individual"]
    halves = asked.groupby("half")["animal"].agg(set)
    assert not halves["calibration"] & halves["evaluation"]
    for (half, _), part in asked.groupby(["half", "draw"]):
        known = set(part.loc[part["known"], "animal"])
        assert known.isdisjoint(part.loc[~part["known"], "animal"]) and known <= halves[half]
        for row in part.itertuples():
            inside = np.flatnonzero(animal.isin(known) & (table.index != row.query))
            assert len(inside) == row.n_catalogue
            cosines = unit[inside] @ unit[row.query]
            assert row.similarity == pytest.approx(cosines.max(), abs=1e-5)
            assert row.candidate == inside[cosines.argmax()]
            assert row.right == (animal[row.candidate] == row.animal)


def test_own_encounter_is_hidden_and_a_single_encounter_is_never_known():
    vectors, table = herd(12, 4)
    table["encounter"] = table["identity"]  # one encounter an animal
    asked = decisions.trials(vectors, table, seed=0, n_draws=5)
    assert len(asked) and not asked["known"].any() and not asked["right"].any()
    (calibration,) = decisions.calibrate(asked, min_animals=1)
    assert np.isnan(calibration.threshold) and "too few" in calibration.note


def test_sides_are_identities_and_the_animal_is_what_counts():
    vectors, table = herd(12, 4)
    table["identity"] += ["|left", "|left", "|right", "|right"] * 12
    asked = decisions.trials(vectors, table, seed=0, n_draws=5)
    mates = table.groupby("identity")["encounter"].transform("nunique")
    assert (mates[asked.loc[asked["known"], "query"]] > 1).all()
    assert asked.groupby(["draw", "half", "animal"])["known"].nunique().max() == 1


def test_the_order_of_rows_changes_nothing():
    vectors, table = herd()
    order = np.random.default_rng(5).permutation(len(table))
    _, here, judged = pipeline(vectors, table)
    _, there, turned = pipeline(vectors[order], table.iloc[order].reset_index(drop=True))
    assert here[0].threshold == pytest.approx(there[0].threshold, abs=1e-5)
    a, b = (open_set.scores(j, seed=0, n_bootstrap=10)["auc"][0] for j in (judged, turned))
    assert a == pytest.approx(b, abs=1e-9)


def with_noise_for(half):
    """Calibrations as they are, and with noise for the photos of the animals of one half."""
    vectors, table = herd()
    asked, calibrations, _ = pipeline(vectors, table)
    mine = set(asked.loc[asked["half"] == half, "animal"])
    rows = (table["species"] + "|" + table["individual"]).isin(mine).to_numpy()
    vectors[rows] = np.random.default_rng(9).normal(size=vectors[rows].shape)
    return calibrations, pipeline(vectors, table)[1]


def test_evaluation_animals_cannot_move_the_threshold():
    before, after = with_noise_for("evaluation")
    assert after == before


def test_calibration_animals_do_move_it():
    before, after = with_noise_for("calibration")
    assert after != before


def test_clear_animals_are_told_apart_and_scrambled_ones_are_not():
    vectors, table = herd(60, 6, noise=0.1)
    clear = open_set.scores(pipeline(vectors, table)[2], seed=0, n_bootstrap=50).iloc[0]
    assert clear["auc"] > 0.95 and clear["balanced_accuracy"] > 0.9
    order = np.random.default_rng(0).permutation(len(table))
    blind = open_set.scores(pipeline(vectors[order], table)[2], seed=0, n_bootstrap=200).iloc[0]
    assert abs(blind["auc"] - 0.5) < 0.06
    assert blind["balanced_accuracy"] < 0.6


def test_shares_add_up_and_intervals_hold_their_number():
    vectors, table = herd(30, 5, noise=1.2)
    other, more = herd(20, 5, noise=0.8, seed=4, species="tiger")
    judged = pipeline(np.r_[vectors, other], pd.concat([table, more], ignore_index=True))[2]
    scores = open_set.scores(judged, seed=0, n_bootstrap=300)
    assert scores["species"].tolist() == ["lion", "tiger", "mean"]
    known = scores[["known_right", "known_wrong_name", "known_taken_for_new"]].sum(axis=1)
    assert np.allclose(known, 1)
    assert np.allclose(scores["new_turned_away"] + scores["new_taken_for_known"], 1)
    for name in open_set.METRICS:
        assert (scores[f"{name}_low"] <= scores[name] + 1e-9).all()
        assert (scores[f"{name}_high"] >= scores[name] - 1e-9).all()
        assert scores[name][2] == pytest.approx(scores[name][:2].mean())


def test_balanced_accuracy_counts_animals_alike():
    """One known animal with nine wrong answers, one with a single right answer: one half."""
    rows = [("a", True, False, False)] * 9 + [("b", True, True, True), ("c", False, False, False)]
    judged = pd.DataFrame(rows, columns=["animal", "known", "accepted", "right"])
    judged = judged.assign(species="lion", half="evaluation", similarity=0.5, query=judged.index)
    scores = open_set.scores(judged, seed=0, n_bootstrap=5).iloc[0]
    assert scores["known_right"] == 0.5 and scores["new_turned_away"] == 1
    assert scores["balanced_accuracy"] == 0.75 and scores["auc"] == 0.5
    assert (scores["n_known"], scores["n_new"]) == (10, 1)


COSINES = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=2)


@settings(max_examples=80, deadline=None)
@given(trials=COSINES)
def test_auc_is_the_share_of_pairs_in_order_ties_half(trials):
    cosine, known = (np.array(column) for column in zip(*trials, strict=True))
    if known.all() or not known.any():
        return
    pairs = list(itertools.product(cosine[known], cosine[~known]))
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    n = len(cosine)
    assert open_set._auc(cosine, np.arange(n), known, np.ones((1, n)))[0] == pytest.approx(expected)


@settings(max_examples=80, deadline=None)
@given(trials=st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.sampled_from("RWN")),
                       min_size=1, max_size=12))  # fmt: skip
def test_the_threshold_is_the_best_of_all(trials):
    """R known and right, W known with a wrong name, N new; animals one a trial."""
    part = pd.DataFrame(trials, columns=["similarity", "kind"])
    part["known"], part["right"] = part["kind"] != "N", part["kind"] == "R"
    part = part.assign(animal=[str(i) for i in range(len(part))], query=range(len(part)))

    def worth(threshold):
        accepted = part["similarity"] >= threshold
        right = (accepted & part["right"])[part["known"]].mean() if part["known"].any() else 0
        taken = accepted[~part["known"]].mean() if not part["known"].all() else 0
        return right - taken

    found = worth(decisions._threshold(part))
    assert found == pytest.approx(max(map(worth, (0, 0.15, 0.25, 1))))


def test_too_few_animals_get_no_number_and_no_row():
    vectors, table = herd(6, 5)
    _, (calibration,), judged = pipeline(vectors, table, min_animals=4)
    assert np.isnan([calibration.threshold, calibration.slope]).all()
    assert "4 needed" in calibration.note
    assert judged.empty and open_set.scores(judged, seed=0).empty
    assert open_set.reliability(judged).empty
    assert set(open_set.METRICS) <= set(open_set.scores(judged, seed=0).columns)


def test_probability_rises_with_the_similarity_and_is_honest():
    judged = pipeline(*herd(80, 6, noise=1.0), n_draws=10)[2]
    ordered = judged.sort_values("similarity")["probability"]
    assert ordered.is_monotonic_increasing and ordered.between(0, 1).all()
    table = open_set.reliability(judged)
    mine = judged[judged["half"] == "evaluation"]
    assert table["n_trials"].sum() == len(mine)
    gap = np.average(abs(table["predicted"] - table["observed"]), weights=table["n_trials"])
    assert gap < 0.12


def test_a_similarity_that_misleads_gives_a_constant():
    part = pd.DataFrame({"similarity": [0.9, 0.8, 0.2, 0.1], "right": [False, False, True, True]})
    part = part.assign(known=[False, False, True, True], animal=list("abcd"), query=range(4))
    slope, intercept = decisions._logistic(part)
    assert slope == 0 and intercept == pytest.approx(0)


def test_what_cannot_be_tried_is_refused():
    vectors, table = herd(4, 2)
    with pytest.raises(RetrievalError, match="needs species"):
        decisions.trials(vectors, table.assign(identity=None), seed=0)
    vectors[3] = np.nan
    with pytest.raises(RetrievalError, match="row 3"):
        decisions.trials(vectors, table, seed=0)


def test_one_animal_has_no_trial_that_counts():
    asked = decisions.trials(*herd(1, 3), seed=0, n_draws=2)
    (calibration,) = decisions.calibrate(asked, min_animals=1)
    assert np.isnan(calibration.threshold)
