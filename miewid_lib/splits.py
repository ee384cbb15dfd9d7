"""Train and test with seen and unseen identities (paper, section 3); draws are hashes of names."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy import ndarray
from pandas import DataFrame, array, factorize

from miewid_lib.errors import SplitError

MIN_TRAIN, MIN_TEST, MAX_TEST = 3, 2, 10  # annotations an identity must or may have (paper)
MIN_INDIVIDUALS = 10  # in test, even where a small species' train share falls (paper)
TEST_PARTS = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)  # of a seen individual's encounters
TOO_FEW_TRAIN, TOO_FEW_TEST = "fewer than 3 in train", "fewer than 2 in test"
SAME_ENCOUNTER, TOO_MANY = "another photo of its encounter", "more than 10 of its identity"
NEEDED = ("annotation_id", "species", "individual", "encounter", "identity")


def split(
    table: DataFrame,
    *,
    seed: int,
    train_share: float = 0.7,
    unseen_share: float = 0.5,
    order: str = "random",
) -> DataFrame:
    """Return `table` with part (train, test, unused), seen (False outside test) and reason.

    Each (species, individual) has one role: unseen (all test), seen (whole encounters test, the
    others train) or train-only. Unseen needs 2 encounters; seen 2 in test and 3 annotations left.
    Within that, `order` "random" draws; "by_size" (public code) makes the smallest unseen, the
    largest train-only. Per species the roles come as near as can be to `train_share` (of all
    annotations, before trims) and `unseen_share` (of test identities), but 10 individuals, or half
    of those that can be, are tested while train keeps an identity; one is never tested alone.
    Trims: train identities under 3 annotations leave; test keeps one an encounter, 2 to 10 an
    identity. Raises SplitError for unusable columns or shares, and a part that would be empty.

    >>> rows = [(f"{name}{day}{photo}", "koi", name, f"{name}{day}", f"koi|{name}")
    ...         for name in "abcdefgh" for day in range(4) for photo in range(3)]
    >>> done = split(DataFrame(rows, columns=NEEDED), seed=1)
    >>> done.groupby(["part", "seen"]).identity.nunique().to_dict()
    {('test', False): 2, ('test', True): 2, ('train', False): 6, ('unused', False): 4}
    """
    _check(table, train_share=train_share, unseen_share=unseen_share)
    if order not in ("random", "by_size"):
        raise SplitError(f'order must be "random" or "by_size", not {order!r}')
    rows = _rows(table, seed)
    n = rows["n_encounters"]  # [individuals]
    n_test = [0 * n, n]  # encounters in test if train-only, if unseen; then if seen
    n_test += [np.clip(np.rint(part * n), MIN_TEST, n - 1).astype(int) for part in TEST_PARTS]
    roles = [_outcome(rows, each) for each in n_test]
    size, chosen = roles[1][:, 0] * (order == "by_size"), 0 * n
    drawn = np.lexsort((rows["individual_hash"], size, rows["species"]))
    for codes in np.split(drawn, np.flatnonzero(np.diff(rows["species"][drawn])) + 1):
        unseen, seen, i = _search(codes, roles, (train_share, unseen_share))
        chosen[unseen], chosen[seen] = n[unseen], n_test[i][seen]
    result = _trim(table, rows, rows["encounter_rank"] < chosen[rows["individual"]])
    for part, share in (("train", train_share), ("test", 1 - train_share)):
        if share > 0 and not (result["part"] == part).any():
            raise SplitError(f"no identity stays in {part}: too few annotations or encounters")
    return result


def random_split(table: DataFrame, *, seed: int, train_share: float) -> DataFrame:
    """Return `table` with part, seen and null reason; each row drawn apart: the split that lies."""
    _check(table, train_share=train_share, unseen_share=0.0)
    rank = _rank(np.zeros(len(table)), _hashes(seed, "annotation", table["annotation_id"]))
    train = rank < round(train_share * len(table))
    seen = ~train & table["identity"].isin(table["identity"][train]).to_numpy()
    part, reason = np.where(train, "train", "test"), array([None] * len(table), dtype="str")
    return table.assign(part=array(part, dtype="str"), seen=seen, reason=reason)


def shares(table: DataFrame, *, train_share: float = 0.7, unseen_share: float = 0.5) -> DataFrame:
    """Return one row a species of a split table: counts, and shares beside the requested ones.

    train_share is of annotations before the trims (by `reason`), unseen_share of test identities.
    """
    train, test, identity = table["part"] == "train", table["part"] == "test", table["identity"]
    names = {"individuals": table["individual"], "train_identities": identity.where(train)}
    names |= {"test_identities": identity.where(test)}
    names |= {"unseen_identities": identity.where(test & ~table["seen"])}
    rows = {"annotations": train | True, "train_annotations": train, "test_queries": test}
    rows |= {"train_share": train | (table["reason"] == TOO_FEW_TRAIN)}
    by = table["species"]
    result = DataFrame(names).groupby(by).nunique().join(DataFrame(rows).groupby(by).sum())
    result["train_share"] = result["train_share"] / result["annotations"]
    result["train_share_requested"] = train_share
    result["unseen_share"] = result["unseen_identities"] / result["test_identities"]
    return result.assign(unseen_share_requested=unseen_share).reset_index()


def _check(table: DataFrame, **asked: float) -> None:
    if not all(0 <= share <= 1 for share in asked.values()):
        raise SplitError(f"shares must be from 0 to 1, not {asked}")
    for column in NEEDED:
        if column not in table or table.empty or table[column].isna().any():
            raise SplitError(f"column {column} is missing, empty or null in places: clean first")
    owners = table[["identity", "species", "individual"]].drop_duplicates()["identity"]
    for values, rule in ((table["annotation_id"], "twice"), (owners, "in two individuals")):
        if len(twice := values[values.duplicated()]):
            raise SplitError(f"{values.name} {twice.iloc[0]!r} is there {rule}")


def _rows(table: DataFrame, seed: int) -> dict[str, ndarray]:
    """Number the groups of each annotation, draw ranks in them (of photos: in their encounter)."""
    names = table["species"] + "\0" + table["individual"]
    events = names + "\0" + table["encounter"]
    groups = (factorize(each, sort=True)[0] for each in (names, events, table["identity"]))
    individual, encounter, identity = groups
    event, animal = (np.unique(g, return_index=True)[1] for g in (encounter, individual))  # a row
    rank = _rank(individual[event], _hashes(seed, "encounter", events.iloc[event]))
    photo = _hashes(seed, "annotation", table["annotation_id"])
    rows = {"individual": individual, "identity": identity, "encounter_rank": rank[encounter]}
    rows |= {"hash": photo, "photo_rank": _rank(identity * len(event) + encounter, photo)}
    rows |= {"n_encounters": np.bincount(individual[event])}  # here and below: [individuals]
    rows |= {"individual_hash": _hashes(seed, "individual", names.iloc[animal])}
    return rows | {"species": factorize(table["species"].iloc[animal], sort=True)[0]}


def _hashes(seed: int, kind: str, names: Iterable[str]) -> ndarray:
    texts = (f"{seed}\0{kind}\0{name}".encode() for name in names)
    return np.array([int.from_bytes(blake2b(t, digest_size=8).digest()) for t in texts], np.uint64)


def _rank(groups: ndarray, keys: ndarray) -> ndarray:
    """Rank of each entry by key inside its group, from 0."""
    order = np.lexsort((keys, groups))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
    return rank


def _outcome(rows: dict[str, ndarray], n_test: ndarray) -> ndarray:
    """If their first `n_test` encounters are test: [individuals, 6], columns as named in _cost."""
    identity, individual = rows["identity"], rows["individual"]
    test = rows["encounter_rank"] < n_test[individual]
    owner = individual[np.unique(identity, return_index=True)[1]]  # [identities]
    tested = np.bincount(identity, test & (rows["photo_rank"] == 0)) >= MIN_TEST
    trained = np.bincount(identity, ~test) >= MIN_TRAIN
    after = [np.bincount(owner, each) for each in (tested & ~trained, tested & trained, trained)]
    new = (n_test == rows["n_encounters"]) & (after[0] > 0)
    return np.column_stack([np.bincount(individual, test), *after, new, after[1] > 0])


def _search(codes: ndarray, roles: list[ndarray], asked: tuple[float, float]) -> tuple:
    """Return the unseen and the seen individuals of one species, and the role of the seen.

    The first p that can be are unseen, then up to e seen; all are tried (over 64: in two steps).
    """
    never, always, *partly = [role[codes] for role in roles]
    able = always[:, 4] > 0
    n, best = able.sum(), (np.inf, 0, 0, 0)
    step = max(1, -(-n // 64))
    for i, role in enumerate(partly):
        gain = np.where(role[:, 5:] > 0, role - never, 0)[able].cumsum(0)  # [n, 6]
        unseen, seen = np.pad([(always - never)[able].cumsum(0), gain], ((0, 0), (1, 0), (0, 0)))
        p = e = np.append(np.arange(0, n, step), n)
        for _ in range(1 + (step > 1)):
            total = never.sum(0) + (unseen - seen)[p, None] + seen[e]  # [p, e, 6]
            cost = _cost(total, always[:, 0].sum(), n, asked) + 0.001 * i
            cost[p[:, None] > e] = np.inf
            at = np.unravel_index(cost.argmin(), cost.shape)
            best = min(best, (cost[at], i, p[at[0]], e[at[1]]))
            p, e = (np.arange(max(0, m - step), min(n, m + step) + 1) for m in (p[at[0]], e[at[1]]))
    _, i, p, e = best
    can = partly[i][able, 5][p:e] > 0
    return codes[able][:p], codes[able][p:e][can], i + 2


def _cost(total: ndarray, n_annotations: int, n_able: int, asked: tuple[float, float]) -> ndarray:
    """Keep an identity in train, then individuals in test, then near both shares (to 1 percent)."""
    # annotations before trims; identities in test (unseen, seen) and train after; individuals
    test, unseen, seen, train, new, known = np.moveaxis(total, -1, 0)
    far = abs(unseen / np.maximum(unseen + seen, 1) - asked[1]) * (unseen + seen > 0)
    far += abs(1 - test / n_annotations - asked[0])
    enough = min(MIN_INDIVIDUALS, -(-n_able // 2)) if asked[0] < 1 else 0  # half of a tiny species
    missing = np.maximum(0, enough - new - known)
    cost = np.round(far, 2) + 1e-4 * far + 10 * missing + 1000 * ((train == 0) & (asked[0] > 0))
    refused = (new + known == 1) | ((asked[1] == 0) & (new > 0)) | ((asked[1] == 1) & (known > 0))
    return np.where(refused, np.inf, cost)


def _trim(table: DataFrame, rows: dict[str, ndarray], test: ndarray) -> DataFrame:
    """Add part, seen and reason by the rules of the paper."""
    identity, reason = rows["identity"], np.full(len(table), "", object)
    reason[~test & (np.bincount(identity, ~test) < MIN_TRAIN)[identity]] = TOO_FEW_TRAIN
    reason[test & (rows["photo_rank"] > 0)] = SAME_ENCOUNTER
    kept = np.flatnonzero(test & (reason == ""))
    reason[kept[_rank(identity[kept], rows["hash"][kept]) >= MAX_TEST]] = TOO_MANY
    kept = test & (reason == "")
    reason[kept & (np.bincount(identity, kept) < MIN_TEST)[identity]] = TOO_FEW_TEST
    used = reason == ""
    seen = used & test & (np.bincount(identity, used & ~test) > 0)[identity]
    part = np.where(used, np.where(test, "test", "train"), "unused")
    reason = array(np.where(used, None, reason), dtype="str")
    return table.assign(part=array(part, dtype="str"), seen=seen, reason=reason)
