"""Checks of chapters 11, 13 and 14: known or new, which epoch to keep, where a map lies."""

import numpy as np
from sklearn.metrics import roc_auc_score

from miewid_lib.checks.answers import check


def check_balanced_accuracy(answer) -> None:
    """Check answer(known, accepted, right) -> balanced accuracy of decisions, a number.

    Three arrays of booleans [N]: the animal is in the catalogue; the candidate was accepted; the
    candidate is the animal.
    """
    draws = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        known = np.r_[True, False, rng.random(18) < 0.2 + 0.1 * seed]
        accepted = rng.random(20) < 0.6
        draws.append((known, accepted, known & (rng.random(20) < 0.7)))
    mistakes = {
        "known and new animals count alike, however many of each were asked": lambda k, a, r: (
            np.where(k, a & r, ~a).mean()
        ),
        "an accepted candidate with the wrong name is no success": lambda k, a, r: _halves(
            k, a, np.ones_like(r)
        ),
        "a new animal is right when it is turned away": lambda k, a, r: (
            ((a & r)[k].mean() + a[~k].mean()) / 2
        ),
        "the mean of the two shares, not their sum": lambda k, a, r: 2 * _halves(k, a, r),
    }
    check(answer, _halves, draws, mistakes)


def _halves(known, accepted, right) -> float:
    return float(((accepted & right)[known].mean() + (~accepted)[~known].mean()) / 2)


def check_auc(answer) -> None:
    """Check answer(known, new) -> area under the ROC curve, from two arrays of similarities."""
    draws = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        known, new = rng.integers(3, 10, 7 + seed), rng.integers(0, 8, 9)  # with ties
        draws.append((known / 10, new / 10))
    mistakes = {
        "a tie counts one half": lambda known, new: (known[:, None] > new).mean(),
        "a tie counts one half, not a whole": lambda known, new: (known[:, None] >= new).mean(),
        "known animals should have the larger similarity": lambda known, new: 1 - _auc(known, new),
        "a share of all pairs, not their number": lambda known, new: (
            _auc(known, new) * len(known) * len(new)
        ),
    }
    check(answer, _auc, draws, mistakes)


def _auc(known, new) -> float:
    truth = np.r_[np.ones(len(known)), np.zeros(len(new))]
    return float(roc_auc_score(truth, np.r_[known, new]))


def check_kept_epoch(answer) -> None:
    """Check answer(frozen, training, validation) -> number of the epoch to keep.

    frozen [E] is True for epochs in which only the loss learned; training and validation [E] are
    the losses after each epoch.
    """
    draws = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n, still = 9 + seed, 2 + seed % 2
        training = np.sort(rng.random(n))[::-1] * 9
        turn = still + 1 + seed % 4
        validation = 5 + 0.3 * np.abs(np.arange(n) - turn) + rng.random(n) / 10
        if seed % 2:
            validation[1] = 1.0  # while frozen
        draws.append((np.arange(n) < still, training, validation))
    mistakes = {
        "the training loss always falls; which photos were held out": lambda f, t, v: int(
            np.argmin(t)
        ),
        "while it is frozen the network has learned nothing yet": lambda f, t, v: int(np.argmin(v)),
        "the number counts from the first epoch of all, frozen ones too": lambda f, t, v: int(
            np.argmin(v[~f])
        ),
        "the least loss, not the largest": lambda f, t, v: int(np.argmax(np.where(f, -1, v))),
    }
    check(answer, _kept, draws, mistakes)


def _kept(frozen, training, validation) -> int:
    return int(np.argmin(np.where(frozen, np.inf, validation)))


def check_share_on(answer) -> None:
    """Check answer(heat, animal) -> share of a map's positive part that lies on the animal.

    heat [S, S] may be negative, animal [S, S] is 1 on the animal, 0 beside it and between at edges.
    """
    rng = np.random.default_rng(14)
    draws = [
        (rng.normal(0.3, 1, (6, 6)), rng.choice([0, 0.5, 1], (6, 6), p=[0.5, 0.1, 0.4]))
        for _ in range(6)
    ]
    mistakes = {
        "where the cosine rose when covered, the map is negative and does not count": (
            lambda h, a: (h * a).sum() / h.sum()
        ),
        "this is the share of the crop that the animal covers": lambda h, a: a.mean(),
        "a share of the whole positive map, not a mean over the animal": lambda h, a: (
            (np.clip(h, 0, None) * a).sum() / a.sum()
        ),
        "edges count in part, as the mask says": lambda h, a: _share(h, a > 0),
        "the animal, not the background": lambda h, a: 1 - _share(h, a),
    }
    check(answer, _share, draws, mistakes)


def _share(heat, animal) -> float:
    positive = np.clip(heat, 0, None)
    return float((positive * animal).sum() / positive.sum())
