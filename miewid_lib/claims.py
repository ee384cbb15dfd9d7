"""Verdicts on the claims of the paper: computed from intervals, never typed."""

import math

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


def untestable(text: str, *, paper: float = math.nan, why: str) -> dict:
    """Return the row of a claim that nothing here can test; our cells stay empty."""
    empty = dict.fromkeys(("ours", "low", "high"), math.nan) | {"n_species": 0, "n_queries": 0}
    return {"claim": text, **empty, "paper": paper, "verdict": NOT_TESTABLE, "note": why}


def weakest(rows: DataFrame) -> Series:
    """Return the row whose interval reaches lowest: it decides a claim about all rows."""
    return rows.loc[rows["difference_low"].idxmin()]
