"""A verdict follows from its interval and from nothing else."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miewid_lib import claims

SHARE = st.floats(-1, 1)


def difference(low, high, mean=0.1):
    ends = {"difference": mean, "difference_low": low, "difference_high": high}
    return pd.Series({"species": "mean", "n_species": 4, "n_queries": 90} | ends)


@given(SHARE, SHARE)
def test_only_an_interval_above_zero_replicates(one, other):
    low, high = sorted((one, other))
    said, reason = claims.verdict(low, high)
    assert (said == claims.REPLICATED) == (low > 0)
    assert reason.endswith("zero") and said != claims.NOT_TESTABLE


def test_no_interval_is_no_verdict():
    assert claims.verdict(math.nan, 0.2)[0] == claims.NOT_TESTABLE


def test_a_claim_is_in_points_and_keeps_the_paper_apart():
    row = claims.claim("a beats b", difference(0.05, 0.2), paper=12.5, note="a control")
    assert tuple(row) == claims.COLUMNS
    assert (row["ours"], row["low"], row["high"]) == pytest.approx((10, 5, 20))
    assert row["paper"] == 12.5 and row["note"] == "interval above zero; a control"
    assert math.isnan(claims.claim("a beats b", difference(0.05, 0.2))["paper"])


def test_what_cannot_be_tested_has_empty_cells_of_ours():
    row = claims.untestable("c", paper=19.2, why="no weights")
    assert tuple(row) == claims.COLUMNS and row["verdict"] == claims.NOT_TESTABLE
    assert all(math.isnan(row[name]) for name in ("ours", "low", "high")) and row["paper"] == 19.2


def test_the_weakest_row_decides():
    rows = pd.DataFrame([difference(0.1, 0.2), difference(-0.3, 0.9), difference(0.2, 0.3)])
    assert claims.weakest(rows)["difference_low"] == -0.3


def test_rank_claim_agrees_where_small_species_gain_most():
    gains = pd.DataFrame({"n_annotations": np.arange(10, 110, 10), "n_queries": 5})
    gains["difference"] = np.linspace(0.5, 0.1, 10)
    row = claims.rank_claim("c", gains, seed=0, n_bootstrap=200)
    assert row["ours"] == pytest.approx(1) and row["verdict"] == claims.REPLICATED
    gains["difference"] = gains["difference"].to_numpy()[::-1]
    row = claims.rank_claim("c", gains, seed=0, n_bootstrap=200)
    assert row["ours"] == pytest.approx(-1) and "below zero" in row["note"]
    row = claims.rank_claim("c", gains.iloc[:2], seed=0, n_bootstrap=20)
    assert row["verdict"] == claims.NOT_TESTABLE
