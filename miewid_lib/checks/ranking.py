"""Checks of chapters 4, 6 and 7: ranks, average precision, hits and the worth of one more photo."""

from math import comb

import numpy as np

from miewid_lib.checks.answers import check


def check_top1(answer) -> None:
    """Check answer(vectors, names) -> share of photos whose nearest other photo is of its animal.

    vectors [N, D] are not of length one; nearest is the largest cosine; names [N] are text.
    """
    draws = []
    for seed, n in enumerate((6, 9, 14, 20)):
        rng = np.random.default_rng(seed)
        names = np.repeat(["ann", "bob", "cat", "dan", "eve"], 4)[:n]
        draws.append((rng.normal(size=(n, 3)) * rng.uniform(0.2, 5, (n, 1)) + 1, names))
    mistakes = {
        "a query must not find itself": lambda v, names: _top1(v, names, itself=True),
        "compare directions: divide each vector by its length": lambda v, names: _top1(
            v, names, unit=False
        ),
        "count the hits, not the misses": lambda v, names: 1 - _top1(v, names),
        "a share, so divide by the number of photos": lambda v, names: len(names) * _top1(v, names),
        "the nearest has the largest cosine, not the smallest": lambda v, names: _top1(
            v, names, nearest=False
        ),
    }
    check(answer, _top1, draws, mistakes)


def _top1(vectors, names, *, unit=True, itself=False, nearest=True) -> float:
    v, names = np.asarray(vectors, float), np.asarray(names)
    v = v / np.linalg.norm(v, axis=1, keepdims=True) if unit else v
    similarity = (1 if nearest else -1) * v @ v.T
    if not itself:
        np.fill_diagonal(similarity, -np.inf)
    return float((names[similarity.argmax(axis=1)] == names).mean())


def check_average_precision(answer) -> None:
    """Check answer(ranks) -> mean of i / r over the mates, r the rank of the i-th (from 1).

    ranks are whole numbers from 1, in any order.
    """
    rng = np.random.default_rng(5)
    draws = [([3],), ([1, 2, 3],), ([5, 2],)]
    draws += [(rng.permutation(40)[:n] + 1,) for n in (2, 4, 6, 9)]
    mistakes = {
        "this is one over the rank, but the second mate is divided into 2, the third into 3": (
            lambda r: np.mean(1 / np.array(r))
        ),
        "all mates count, not the first alone": lambda r: 1 / min(r),
        "the ranks come in any order; which mate is the first": lambda r: np.mean(
            np.arange(1, len(r) + 1) / np.array(r)
        ),
        "count mates from 1, not from 0": lambda r: np.mean(np.arange(len(r)) / np.sort(r)),
        "a mean over the mates, not a sum": lambda r: len(r) * _precision(r),
    }
    check(answer, _precision, draws, mistakes)


def _precision(ranks) -> float:
    return float(np.mean(np.arange(1, len(ranks) + 1) / np.sort(ranks)))


def check_hits(answer) -> None:
    """Check answer(first_rank, k) -> 1.0, 0.0 or NaN for each query.

    first_rank [N] is the rank of the best mate, NaN where the animal has no other photo.
    """
    rng = np.random.default_rng(6)
    draws = []
    for k in (1, 5, 10):
        ranks = rng.integers(1, 15, 12).astype(float)
        ranks[:3] = [k, k + 1, np.nan]
        draws.append((ranks, k))
    mistakes = {
        "a query without a mate is no miss: its score stays NaN": lambda r, k: (r <= k) * 1.0,
        "the k-th place still counts": lambda r, k: np.where(np.isnan(r), np.nan, r < k),
        "any place up to k counts, not the k-th alone": lambda r, k: np.where(
            np.isnan(r), np.nan, r == k
        ),
    }
    check(answer, lambda r, k: np.where(np.isnan(r), np.nan, r <= k), draws, mistakes)


def check_hit_chance(answer) -> None:
    """Check answer(good, mates, m) -> chance that m drawn mates hold a good one."""
    draws = [(good, mates, m) for mates in (3, 5, 8) for m in (1, 2, 3) for good in (0, 2, mates)]
    mistakes = {
        "this is the chance of a miss": lambda g, n, m: 1 - _hit_chance(g, n, m),
        "a photo cannot be drawn twice": lambda g, n, m: 1 - (1 - g / n) ** m,
        "this holds for one drawn mate; what about m of them": lambda g, n, m: g / n,
        "chances of events that may happen together do not add up": lambda g, n, m: min(
            1, m * g / n
        ),
    }
    check(answer, _hit_chance, draws, mistakes)


def _hit_chance(good, mates, m) -> float:
    return 1 - comb(mates - good, m) / comb(mates, m)
