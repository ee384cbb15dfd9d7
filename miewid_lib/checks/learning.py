"""Checks of chapters 3, 8 and 10: pooling, margins, the cost of a layer, parts and epochs."""

import math

import numpy as np

from miewid_lib.checks.answers import check


def check_gem(answer) -> None:
    """Check answer(features, p) -> [C], the generalised mean of each channel of [C, h, w]."""
    rng = np.random.default_rng(3)
    shapes = [(2, 3, 3), (4, 2, 5), (3, 4, 2), (1, 6, 6)]
    powers = (3.0, 2.0, 6.5, 1.0)
    draws = [(rng.random(shape) + 0.05, p) for shape, p in zip(shapes, powers, strict=True)]
    flat = {"axis": (1, 2)}
    mistakes = {
        "a mean of powers has the unit of a power: take the root": lambda x, p: (x**p).mean(**flat),
        "each channel has a mean of its own: average over the grid alone": lambda x, p: (
            (x**p).mean() ** (1 / p)
        ),
        "a mean, not a sum: the size of the grid must not matter": lambda x, p: (
            (x**p).sum(**flat) ** (1 / p)
        ),
        "this is the plain mean; where is p": lambda x, p: x.mean(**flat),
        "the average comes between the power and the root": lambda x, p: x.mean(**flat) ** p,
        "this is the largest number of each channel, which GeM only nears as p grows": (
            lambda x, p: x.max(**flat)
        ),
    }
    check(answer, lambda x, p: (x**p).mean(**flat) ** (1 / p), draws, mistakes)


def check_margins(answer) -> None:
    """Check answer(counts, low, high) -> [C], the dynamic margin of each identity in radians.

    counts [C] are photos an identity. Identities with equal counts all get the upper limit.
    """
    rng = np.random.default_rng(4)
    draws = [(rng.integers(1, 90, size=n), 0.1 * n / 5, 0.5) for n in (3, 5, 8, 12)]
    draws += [(np.array([5, 5, 5]), 0.2, 0.4), (np.array([1, 16, 81]), 0.2, 0.4)]
    mistakes = {
        "the identity with fewest photos gets the widest margin": lambda n, a, b: (
            a + b - _margins(n, a, b)
        ),
        "t is one over the fourth root, not over the square root": lambda n, a, b: _margins(
            n, a, b, power=-0.5
        ),
        "t is one over the fourth root of the count, so neither the count itself nor its inverse": (
            lambda n, a, b: _margins(n, a, b, power=-1)
        ),
        "what if all counts are equal": lambda n, a, b: (
            _margins(n, a, b) if len(set(n)) > 1 else np.full(len(n), np.nan)
        ),
        "with equal counts nobody is more certain than the others: the upper limit for all": (
            lambda n, a, b: _margins(n, a, b) if len(set(n)) > 1 else np.full(len(n), a)
        ),
    }
    check(answer, _margins, draws, mistakes)


def _margins(counts, low, high, power=-0.25) -> np.ndarray:
    t = np.asarray(counts, float) ** power
    span = t.max() - t.min()
    share = (t - t.min()) / span if span else np.ones_like(t)
    return low + (high - low) * share


def check_multiplications(answer) -> None:
    """Check answer(height, width, n_in, n_out, kernel, groups) -> multiplications of a convolution.

    The grid [height, width] is that of the output, kernel the side of the square filter. With
    groups, a filter sees n_in / groups channels.
    """
    draws = [(9, 7, 16, 32, 3, 1), (36, 36, 24, 24, 5, 24), (8, 8, 64, 16, 1, 1)]
    draws += [(12, 10, 32, 48, 3, 4), (1, 1, 20, 30, 7, 10)]
    mistakes = {
        "a filter covers kernel x kernel places": lambda h, w, i, o, k, g: h * w * (i // g) * o * k,
        "with groups, a filter sees only its own part of the channels": lambda h, w, i, o, k, g: (
            h * w * i * o * k**2
        ),
        "groups do not make fewer filters, they make each see less": lambda h, w, i, o, k, g: (
            h * w * (i // g) * (o // g) * k**2
        ),
        "count multiplications alone, not their sums": lambda h, w, i, o, k, g: (
            2 * h * w * (i // g) * o * k**2
        ),
        "these are the weights of the layer; how often is each used": lambda h, w, i, o, k, g: (
            (i // g) * o * k**2
        ),
    }
    check(answer, lambda h, w, i, o, k, g: h * w * (i // g) * o * k**2, draws, mistakes)


def check_learns(answer) -> None:
    """Check answer(by_size, folds, k) -> set of the species that run k (from 0) learns from.

    by_size lists the species from the most to the least photographed; they are dealt into folds
    like cards, and run k leaves part k out.
    """
    names = [f"species {c}" for c in "abcdefghijkl"]
    draws = [(names[:n], folds, k) for n, folds in ((12, 3), (10, 3), (7, 5)) for k in range(3)]
    mistakes = {
        "this is the part that is left out; the run learns from all others": lambda s, f, k: set(
            s[k::f]
        ),
        "dealt like cards: neighbours in the list go to different parts": lambda s, f, k: (
            set(s) - set(np.array_split(s, f)[k].tolist())
        ),
        "every run leaves a part out": lambda s, f, k: set(s),
    }
    check(answer, lambda s, f, k: set(s) - set(s[k::f]), draws, mistakes)


def check_part(answer) -> None:
    """Check answer(queue, share) -> list of the first individuals of a queue, two at least."""
    queues = [list("badcfehg"), list("zyx"), [f"animal {i}" for i in range(30)]]
    draws = [(queue, share) for queue in queues for share in (0.1, 0.25, 0.5, 0.75, 1.0)]
    mistakes = {
        "two individuals are the least that can be told apart": lambda q, s: q[: round(s * len(q))],
        "the queue is in its order already; sorting it would undo the lot": lambda q, s: sorted(q)[
            : max(2, round(s * len(q)))
        ],
        "take the first of the queue, so that a larger part holds the smaller": lambda q, s: q[
            -max(2, round(s * len(q))) :
        ],
        "round to the nearest whole number, not always down": lambda q, s: q[
            : max(2, int(s * len(q)))
        ],
        "round to the nearest whole number, not always up": lambda q, s: q[
            : max(2, math.ceil(s * len(q)))
        ],
    }
    check(answer, lambda q, s: q[: max(2, round(s * len(q)))], draws, mistakes)


def check_epochs(answer) -> None:
    """Check answer(n_photos, batch_size, epochs, min_steps) -> epochs that make enough steps.

    At least `epochs`. The last batch of an epoch is left out where it holds a single photo.
    """
    draws = [(n, 16, 10, 40) for n in (12, 16, 17, 33, 40, 49, 64, 400)]
    draws += [(65, 32, 2, 150), (90, 32, 10, 15)]
    mistakes = {
        "a last batch of one photo is left out": lambda n, b, e, m: max(
            e, math.ceil(m / math.ceil(n / b))
        ),
        "a batch that is not full makes a step, too, unless it holds one photo": (
            lambda n, b, e, m: max(e, math.ceil(m / max(1, n // b)))
        ),
        "this many epochs end before the last steps are made: round up": lambda n, b, e, m: max(
            e, int(m / math.ceil((n - 1) / b))
        ),
        "where there are many photos, the usual number of epochs stays": lambda n, b, e, m: (
            math.ceil(m / math.ceil((n - 1) / b))
        ),
    }
    right = lambda n, b, e, m: max(e, math.ceil(m / math.ceil((n - 1) / b)))  # noqa: E731
    check(answer, right, draws, mistakes)
