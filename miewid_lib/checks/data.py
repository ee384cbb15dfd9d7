"""Checks of chapters 1 and 2: boxes, identities, leaks and one photo a sighting."""

import numpy as np
import pandas as pd

from miewid_lib.checks.answers import check


def check_window(answer) -> None:
    """Check answer(box, width_px, height_px) -> (left, top, right, bottom), clipped to the photo.

    box is (x, y, w, h) in whole pixels.
    """
    rng = np.random.default_rng(1)
    draws = [((10, 20, 30, 40), 100, 90), ((-5, -8, 30, 40), 100, 90), ((90, 70, 30, 40), 100, 90)]
    draws += [((*rng.integers(-20, 80, 2), *rng.integers(21, 60, 2)), 100, 80) for _ in range(5)]
    draws = [(tuple(map(int, box)), width, height) for box, width, height in draws]
    mistakes = {
        "a box may begin left of the photo or above it, and -5 is not the fifth pixel from the "
        "left": lambda b, w, h: (b[0], b[1], min(w, b[0] + b[2]), min(h, b[1] + b[3])),
        "a box may end outside of the photo": lambda b, w, h: (
            *(max(0, b[0]), max(0, b[1])),
            *(b[0] + b[2], b[1] + b[3]),
        ),
        "the third and fourth number of a box are its width and height, not its right and lower "
        "edge": lambda b, w, h: (max(0, b[0]), max(0, b[1]), min(w, b[2]), min(h, b[3])),
        "clip the right edge to the width and the lower edge to the height": lambda b, w, h: (
            *(max(0, b[0]), max(0, b[1])),
            *(min(h, b[0] + b[2]), min(w, b[1] + b[3])),
        ),
    }
    check(answer, _window, draws, mistakes)


def _window(box, width_px, height_px) -> tuple:
    x, y, w, h = box
    return max(0, x), max(0, y), min(width_px, x + w), min(height_px, y + h)


def check_identity(answer) -> None:
    """Check answer(species, individual, viewpoint, lateral) -> text, the class of an animal.

    viewpoint is text or None, lateral a list of species. The form is species|individual, with
    |viewpoint for a lateral species whose viewpoint is known.
    """
    draws = [
        (species, name, side, ["tiger", "giraffe"])
        for species in ("tiger", "whale shark")
        for name in ("7", "Ada")
        for side in ("left", "right", None)
    ]
    draws += [("whale shark", "7", "left", ["whale shark"]), ("tiger", "7", "left", [])]
    mistakes = {
        "two species may both have an animal called 7": lambda s, i, v, lateral: (
            f"{i}|{v}" if s in lateral and v else str(i)
        ),
        "sides count apart only in the species of the list": lambda s, i, v, _: (
            f"{s}|{i}|{v}" if v else f"{s}|{i}"
        ),
        "in the species of the list the sides count apart": lambda s, i, v, _: f"{s}|{i}",
        "a viewpoint that nobody knows is no side": lambda s, i, v, lateral: (
            f"{s}|{i}|{v}" if s in lateral else f"{s}|{i}"
        ),
    }
    check(answer, _identity, draws, mistakes)


def _identity(species, individual, viewpoint, lateral) -> str:
    sided = species in lateral and viewpoint is not None
    return "|".join([species, individual, *([viewpoint] if sided else [])])


def check_leak(answer) -> None:
    """Check answer(parts) -> share of the test photos whose encounter is in the training, too.

    parts is a table with the columns part (train, test, unused), encounter and individual.
    """
    mistakes = {
        "ask of each test photo, not of each training photo": lambda p: _leak(p, of="train"),
        "divide by the number of test photos, not of all photos": lambda p: (
            _leak(p) * (p["part"] == "test").mean()
        ),
        "the same animal is allowed, the same encounter is what gives the answer away": lambda p: (
            _leak(p, column="individual")
        ),
        "count photos, not encounters": lambda p: _leak(p.drop_duplicates(["part", "encounter"])),
        "photos that are not used stand in neither part": lambda p: _leak(
            p.assign(part=p["part"].replace("unused", "train"))
        ),
        "give the share of those that have a companion, not of those that have none": lambda p: (
            1 - _leak(p)
        ),
        "give a share from 0 to 1, not per cent": lambda p: 100 * _leak(p),
    }
    check(answer, _leak, [(_photos(seed),) for seed in range(6)], mistakes)


def _leak(parts: pd.DataFrame, column: str = "encounter", of: str = "test") -> float:
    other = {"test": "train", "train": "test"}[of]
    mine = parts.loc[parts["part"] == of, column]
    return float(mine.isin(parts.loc[parts["part"] == other, column]).mean())


def check_one_an_encounter(answer) -> None:
    """Check answer(test) -> the annotation_ids that stay, as a set.

    Of each identity in each encounter the photo with the first id (in the order of text) stays.
    """
    mistakes = {
        "the table is not sorted: take the first by its id": lambda t: set(
            t.drop_duplicates(["identity", "encounter"])["annotation_id"]
        ),
        "two animals of one encounter, or two sides, are two identities: keep one of each": (
            lambda t: _first(t, ["encounter"])
        ),
        "an animal keeps one photo for each encounter, not one in all": lambda t: _first(
            t, ["identity"]
        ),
    }

    draws = [(_photos(seed)[["annotation_id", "identity", "encounter"]],) for seed in range(6)]
    check(answer, lambda t: _first(t, ["identity", "encounter"]), draws, mistakes)


def _first(table: pd.DataFrame, keys: list[str]) -> set:
    return set(table.sort_values("annotation_id").drop_duplicates(keys)["annotation_id"])


def _photos(seed: int) -> pd.DataFrame:
    """A drawn table of photos: some encounters hold two animals, some lie in several parts."""
    rng = np.random.default_rng(seed)
    n = 60 + 5 * seed
    table = pd.DataFrame({"individual": rng.integers(0, 8, n).astype(str)})
    table["encounter"] = [f"day {day}" for day in rng.integers(0, 12 + seed, n)]
    table["encounter"] = table["encounter"].where(rng.random(n) < 0.4, "e" + table["individual"])
    table["encounter"] += rng.integers(0, 3, n).astype(str)
    table["identity"] = "koi|" + table["individual"]
    table["annotation_id"] = [f"koi:{i}" for i in rng.permutation(n)]
    table["part"] = rng.choice(["train", "test", "unused"], n, p=[0.45, 0.35, 0.2])
    return table
