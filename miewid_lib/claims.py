"""Verdicts on the claims of the paper: computed from intervals, never typed."""

import math

import numpy as np
from pandas import DataFrame, Series

COLUMNS = ("claim", "ours", "low", "high", "n_species", "n_queries", "paper", "verdict", "note")
REPLICATED, NOT_REPLICATED, NOT_TESTABLE = (
    "replicated",
    "not replicated",
    "not testable at this scale",
)


def verdict(low: float, high: float) -> tuple[str, str]:
    """Return verdict and reason for a claim that a number is positive, from its 95 % interval.

    >>> verdict(0.5, 3.0)[0], verdict(-1.0, 3.0)[0], verdict(math.nan, math.nan)[0]
    ('replicated', 'not replicated', 'not testable at this scale')
    """
    if math.isnan(low) or math.isnan(high):
        return NOT_TESTABLE, "no interval"
    if low > 0:
        return REPLICATED, "interval above zero"
    return NOT_REPLICATED, "interval below zero" if high < 0 else "interval includes zero"


def claim(text: str, difference: Series, *, paper: float = math.nan, note: str = "") -> dict:
    """Return one row for the claim that a difference of shares is positive; numbers in points.

    `difference` is a row of `comparisons.compare`: difference, _low, _high, n_species, n_queries.
    """
    ours, low, high = (100 * difference[f"difference{end}"] for end in ("", "_low", "_high"))
    said, reason = verdict(low, high)
    counts = {name: int(difference[name]) for name in ("n_species", "n_queries")}
    row = {"claim": text, "ours": ours, "low": low, "high": high, **counts, "paper": paper}
    return row | {"verdict": said, "note": "; ".join(filter(None, (reason, note)))}


def rank_claim(text: str, gains: DataFrame, *, seed: int, n_bootstrap: int) -> dict:
    """Return the row for the claim that `difference` falls as `n_annotations` rises over species.

    Our number is Spearman's rank correlation with its sign turned, so that positive agrees; the
    claim is about species, so the interval draws species (rows of `gains`, with n_queries).
    """
    rng = np.random.default_rng(seed)
    draws = (gains.sample(frac=1, replace=True, random_state=rng) for _ in range(n_bootstrap))
    ranks = [_falling(draw) for draw in draws]
    low, high = np.nanquantile(ranks, (0.025, 0.975)) if len(gains) > 2 else (math.nan,) * 2
    said, reason = verdict(low, high)
    counts = {"n_species": len(gains), "n_queries": int(gains["n_queries"].sum())}
    row = {"claim": text, "ours": _falling(gains), "low": low, "high": high, **counts}
    return row | {"verdict": said, "note": f"{reason}; a rank correlation, not points"}


def _falling(gains: DataFrame) -> float:
    ranks = gains[["n_annotations", "difference"]].rank()
    if (ranks.nunique() < 2).any():
        return math.nan  # a draw of one species again and again has no order
    return -ranks["n_annotations"].corr(ranks["difference"])


def untestable(text: str, *, paper: float = math.nan, why: str) -> dict:
    """Return the row of a claim that nothing here can test; our cells stay empty."""
    empty = dict.fromkeys(("ours", "low", "high"), math.nan) | {"n_species": 0, "n_queries": 0}
    return {"claim": text, **empty, "paper": paper, "verdict": NOT_TESTABLE, "note": why}


def weakest(rows: DataFrame) -> Series:
    """Return the row whose interval reaches lowest: it decides a claim about all rows."""
    return rows.loc[rows["difference_low"].idxmin()]
