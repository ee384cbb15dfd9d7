"""Checks of chapters 5, 9 and 12: paired differences, draws of animals, fairness, verdicts."""

import numpy as np

from miewid_lib import claims
from miewid_lib.checks.answers import check, say, tried


def check_difference(answer) -> None:
    """Check answer(a, b, species) -> mean over species of the mean difference a - b of its queries.

    a, b [N] are scores of two models on the same queries, species [N] are text.
    """
    draws = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(2, 25, 3 + seed % 2)
        species = np.repeat([f"species {i}" for i in range(len(sizes))], sizes)
        a, b = (rng.integers(0, 2, len(species)).astype(float) for _ in range(2))
        order = rng.permutation(len(species))
        draws.append((a[order], b[order], species[order]))
    mistakes = {
        "every species counts once, however many queries it has": lambda a, b, s: np.mean(a - b),
        "a minus b, so that a positive number says that a is better": lambda a, b, s: _difference(
            b, a, s
        ),
        "a difference, not its size without a sign": lambda a, b, s: abs(_difference(a, b, s)),
        "a mean over species, not a sum": lambda a, b, s: len(np.unique(s)) * _difference(a, b, s),
        "the scores of the second model are not used": lambda a, b, s: _difference(a, 0 * b, s),
    }
    check(answer, _difference, draws, mistakes)


def _difference(a, b, species) -> float:
    species = np.asarray(species)
    gain = np.asarray(a) - np.asarray(b)
    return float(np.mean([gain[species == name].mean() for name in np.unique(species)]))


def check_draw(answer) -> None:
    """Check answer(animals, rng) -> row numbers of one bootstrap draw of whole animals.

    animals [N] names the animal of each query, rng is a numpy Generator. As many animals as there
    are come with replacement, each with all of its queries, as often as it was drawn.
    """
    say(_draw_fault(answer))


def _draw_fault(answer) -> str | None:
    if not callable(answer):
        return "give the function itself, by its name and without brackets after it"
    repeated, all_draws = False, []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        animals = np.repeat(["ann", "bob", "cat", "dan", "eve", "fay"], rng.permutation(6) + 1)
        rows, fault = tried(answer, (animals, np.random.default_rng(seed)))
        if fault:
            return fault
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            return "give row numbers, a flat list of whole numbers"
        if len(rows) and (rows.min() < 0 or rows.max() >= len(animals)):
            return "some row numbers lie outside of the table"
        times = np.bincount(rows, minlength=len(animals))  # how often each row was drawn
        if any(len(set(times[animals == name])) > 1 for name in set(animals)):
            return "the queries of an animal come all together, or not at all"
        drawn = sum(times[animals == name][0] for name in sorted(set(animals)))
        if drawn != len(set(animals)):
            return f"draw as many animals as there are ({len(set(animals))}), not {drawn}"
        repeated |= times.max() > 1
        all_draws.append(tuple(times[animals == name][0] for name in sorted(set(animals))))
    if not repeated:
        return "draw with replacement: an animal may come twice, and another one not at all"
    return None if len(set(all_draws)) > 2 else "take the draws from `rng`, they are all alike"


def check_fair(answer) -> None:
    """Check answer(tested, ours, theirs) -> set of the tested species that neither side knows."""
    tested = ["tiger", "koi", "lion", "nyala", "giraffe"]
    draws = [
        (tested, {"tiger", "zebra"}, {"koi", "cat"}),
        (tested, set(), {"lion"}),
        (tested[:3], {"tiger", "koi"}, {"tiger"}),
        (tested[1:], {"nyala"}, {"giraffe", "nyala", "koi", "dog"}),
    ]
    mistakes = {
        "a species that only one side knows flatters that side": lambda t, a, b: set(t) - (a & b),
        "what did the other side learn from": lambda t, a, b: set(t) - a,
        "what did our side learn from": lambda t, a, b: set(t) - b,
        "these are the species that are not fair to ask": lambda t, a, b: set(t) & (a | b),
    }
    check(answer, lambda t, a, b: set(t) - a - b, draws, mistakes)


def check_verdict(answer) -> None:
    """Check answer(low, high) -> one of the three verdicts of `claims`, as text.

    low and high are the ends of the interval of a number that the claim says is positive.
    """
    yes, no, unknown = claims.REPLICATED, claims.NOT_REPLICATED, claims.NOT_TESTABLE
    draws = [(2.0, 9.0), (-1.0, 9.0), (-9.0, -2.0), (0.1, 0.2), (0.0, 4.0), (-5.0, 0.0)]
    draws += [(np.nan, np.nan)]
    mistakes = {
        "no interval, no verdict: NaN is neither above zero nor below": lambda a, b: (
            yes if a > 0 else no
        ),
        "the middle of an interval decides nothing, its lower end does": lambda a, b: (
            unknown if np.isnan(a) else yes if a + b > 0 else no
        ),
        "an interval that includes zero was tested": lambda a, b: (
            yes if a > 0 else no if b < 0 else unknown
        ),
        "the claim says positive: an interval below zero speaks against it": lambda a, b: (
            unknown if np.isnan(a) else yes if a > 0 or b < 0 else no
        ),
        "zero itself is not positive": lambda a, b: (
            unknown if np.isnan(a) else yes if a >= 0 else no
        ),
    }
    check(answer, lambda a, b: claims.verdict(a, b)[0], draws, mistakes)
