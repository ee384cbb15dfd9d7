"""What is wrong with a folder of photos: broken, twice there, badly named, or leaking into a test.

Near-duplicates are found by a perceptual hash: the signs of the low frequencies of the grey photo
(discrete cosine transform, above or below their median; C. Zauner 2010, Implementation and
Benchmarking of Perceptual Image Hash Functions). Saving again and resizing change few of its 256 bits.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from miewid_lib import annotations, images
from miewid_lib.errors import ImageError

SIDE = 16  # frequencies a direction: 256 bits
MAX_BITS = 40  # copies differ by up to 22 bits, cut by 2 % a side by 50, others by 58 or more
BLOCK = 2**22  # pairs compared at once


def photos(table: DataFrame, root: Path) -> tuple[DataFrame, np.ndarray]:
    """Return one row a photo of `table` and the perceptual hashes of all, uint64 [P, 4].

    Columns: image_path, width_px, height_px (0 where it cannot be read), fault (photo missing,
    photo unreadable or null), pixels (digest of what is shown: equal for exact duplicates), animals
    (frozenset of species|individual that boxes name in it). Each photo is decoded once; `root` is
    the folder that image_path starts at.
    """
    rows, hashes = [], []
    animal = table["species"] + "|" + table["individual"]  # null where individual is
    for image_path, names in animal.groupby(table["image_path"]):
        path, fault, photo = Path(root) / str(image_path), None, np.zeros((0, 0, 3), np.uint8)
        try:
            photo = images.load(path)
        except ImageError:
            fault = "photo unreadable" if path.is_file() else "photo missing"
        digest = hashlib.sha256(repr(photo.shape).encode() + photo.tobytes()).hexdigest()
        height, width = photo.shape[:2]
        rows.append((image_path, width, height, fault, digest, frozenset(names.dropna())))
        hashes.append(perceptual_hash(photo) if fault is None else np.zeros(4, np.uint64))
    columns = ["image_path", "width_px", "height_px", "fault", "pixels", "animals"]
    return DataFrame(rows, columns=columns), np.array(hashes, np.uint64).reshape(-1, 4)


def perceptual_hash(photo: np.ndarray) -> np.ndarray:
    """Return the 256 bits of a photo (uint8 [H, W, 3]) as uint64 [4]; see the head of the module.

    >>> stripes = np.tile(np.uint8([[0], [200]]), (40, 60, 3)).reshape(80, 60, 3)
    >>> int(np.bitwise_count(perceptual_hash(stripes) ^ perceptual_hash(stripes // 2 + 20)).sum())
    0
    """
    from PIL import Image
    from scipy.fft import dctn

    grey = Image.fromarray(photo).convert("L").resize((4 * SIDE, 4 * SIDE), images.KERNEL)
    low = dctn(np.asarray(grey, float), norm="ortho")[:SIDE, :SIDE].ravel().round(6)
    return np.packbits(low > np.median(low)).view(np.uint64)


def near_duplicates(hashes: np.ndarray, *, max_bits: int = MAX_BITS) -> DataFrame:
    """Return the pairs a < b of row numbers whose hashes (uint64 [P, W]) differ in few bits.

    Columns: a, b, bits (from 0 to `max_bits`), most alike first. Pairs are compared block by block.

    >>> near_duplicates(np.array([[7], [6], [2**64 - 1]], np.uint64)).values.tolist()
    [[0, 1, 1]]
    """
    found = [np.zeros((3, 0), int)]
    step = max(1, BLOCK // max(1, len(hashes)))
    for start in range(0, len(hashes), step):
        block = hashes[start : start + step]
        bits = np.zeros((len(block), len(hashes)), np.int16)
        for word in range(hashes.shape[1]):
            bits += np.bitwise_count(block[:, word, None] ^ hashes[None, :, word])
        a, b = np.nonzero(bits <= max_bits)
        later = start + a < b
        found.append(np.stack([start + a[later], b[later], bits[a[later], b[later]]]))
    pairs = DataFrame(np.concatenate(found, axis=1).T, columns=["a", "b", "bits"])
    return pairs.sort_values(["bits", "a", "b"], ignore_index=True)


def duplicates(table: DataFrame, root: Path, *, max_bits: int = MAX_BITS) -> DataFrame:
    """Return the pairs of near-duplicate photos: photo_a, photo_b, bits, exact, two_names.

    exact: the same pixels; two_names: both photos name animals, and no animal is in both.
    """
    return _pairs(*photos(table, root), max_bits)


def _pairs(each: DataFrame, hashes: np.ndarray, max_bits: int) -> DataFrame:
    whole = each["fault"].isna().to_numpy()
    each, pairs = each[whole], near_duplicates(hashes[whole], max_bits=max_bits)
    a, b = each.iloc[pairs["a"]], each.iloc[pairs["b"]]
    named = [bool(x and y) and not x & y for x, y in zip(a["animals"], b["animals"], strict=True)]
    return DataFrame({
        "photo_a": a["image_path"].to_numpy(),
        "photo_b": b["image_path"].to_numpy(),
        "bits": pairs["bits"],
        "exact": a["pixels"].to_numpy() == b["pixels"].to_numpy(),
        "two_names": np.array(named, bool),
    })  # fmt: skip


def join_encounters(table: DataFrame, pairs: DataFrame) -> DataFrame:
    """Return `table` with near-duplicate photos of one animal in one encounter (the first by name).

    pairs: of `duplicates`; encounters are filled (`annotations.fill_encounters`). Encounters that
    share a pair are joined, and so on along chains: no copy is evidence for its original.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    keys = ["species", "individual"]
    each = table[["image_path", *keys, "encounter"]].dropna().drop_duplicates()
    met = pairs.merge(each.rename(columns={"image_path": "photo_a"}))
    met = met.merge(each.rename(columns={"image_path": "photo_b"}), on=["photo_b", *keys])
    names = pd.Index(sorted(table["encounter"].dropna().unique()))
    edges = tuple(names.get_indexer(met[f"encounter_{side}"]) for side in "xy")
    shape = (len(names), len(names))
    _, part = connected_components(coo_array((np.ones(len(met)), edges), shape=shape))
    first = pd.Series(names).groupby(part).transform("first")
    joined = table["encounter"].map(dict(zip(names, first, strict=True)))
    return table.assign(encounter=joined.astype(table["encounter"].dtype))


def report(table: DataFrame, root: Path, *, max_bits: int = MAX_BITS) -> DataFrame:
    """Return what there is and what is wrong with it: finding, count, of, example, one row each.

    table: keeps the schema; a column `role` ("catalogue" or "query"), where there is one, adds the
    two findings about leaks between them. `of` is the number of things that could be counted,
    `example` the first one. Raises AnnotationError as `annotations.check` does.
    """
    annotations.check(table)
    each, hashes = photos(table, root)
    pairs = _pairs(each, hashes, max_bits)
    findings = [*_amounts(table, each), *_photo_faults(each, pairs), *_names(table)]
    if "role" in table:
        findings += _leaks(table, pairs)
    rows = [(what, len(found), of, next(iter(found), None)) for what, found, of in findings]
    return DataFrame(rows, columns=["finding", "count", "of", "example"])


def _amounts(table: DataFrame, each: DataFrame) -> list[tuple]:
    """(finding, what was found, of how many) of what there is."""
    animals = (table["species"] + "|" + table["individual"]).dropna()
    found = {"annotations": table["annotation_id"], "photos": each["image_path"]}
    found |= {"species": table["species"].unique(), "individuals": animals.unique()}
    return [(what, things, len(things)) for what, things in found.items()]


def _photo_faults(each: DataFrame, pairs: DataFrame) -> list[tuple]:
    whole = each[each["fault"].isna()]
    side_px = whole[["width_px", "height_px"]].min(axis=1)
    sizes = whole["width_px"].astype(str) + " x " + whole["height_px"].astype(str)
    small = whole.loc[side_px < side_px.median() / 2, "image_path"]
    broken = {what: each["fault"] == what for what in ("photo missing", "photo unreadable")}
    return [
        *((what, each.loc[rows, "image_path"], len(each)) for what, rows in broken.items()),
        ("exact copy of an earlier photo",
         whole.loc[whole["pixels"].duplicated(), "image_path"], len(whole)),
        ("pair of near-duplicates", _both(pairs), len(whole) * (len(whole) - 1) // 2),
        ("near-duplicates under two names", _both(pairs[pairs["two_names"]]), len(pairs)),
        ("different photo sizes", sizes.unique(), len(whole)),
        ("photo under half the usual size", small, len(whole)),
    ]  # fmt: skip


def _both(pairs: DataFrame) -> list[str]:
    return [f"{a} = {b}" for a, b in zip(pairs["photo_a"], pairs["photo_b"], strict=True)]


def _names(table: DataFrame) -> list[tuple]:
    named = annotations.fill_encounters(table).dropna(subset="individual")
    by_animal = named.groupby(named["species"] + "|" + named["individual"])
    n_photos, n_encounters = by_animal["image_path"].nunique(), by_animal["encounter"].nunique()
    animals = n_photos.index.to_series()
    plain = animals.str.casefold().str.replace(r"[\s_.\-]|(?<!\d)0+(?=\d)", "", regex=True)
    alike = animals.groupby(plain).agg(" = ".join)[plain.value_counts() > 1]
    nameless = table.loc[table["individual"].isna(), "annotation_id"]
    return [
        ("annotation without a name", nameless, len(table)),
        ("individual with one photo", n_photos.index[n_photos == 1], len(animals)),
        ("individual with one encounter", n_encounters.index[n_encounters == 1], len(animals)),
        ("names that differ in case, spaces or zeros", alike, len(animals)),
    ]


def _leaks(table: DataFrame, pairs: DataFrame) -> list[tuple]:
    """Encounters and near-duplicates with one foot in the catalogue and one in the queries."""
    sides = table.groupby(table["source"] + ":" + table["encounter"])["role"].nunique()
    role = table.drop_duplicates(["image_path", "role"])[["image_path", "role"]]
    met = pairs.merge(role.rename(columns={"image_path": "photo_a"}))
    met = met.merge(role.rename(columns={"image_path": "photo_b"}), on="photo_b")
    across = met[met["role_x"] != met["role_y"]].drop_duplicates(["photo_a", "photo_b"])
    return [
        ("encounter in catalogue and queries", sides.index[sides > 1], len(sides)),
        ("near-duplicates in catalogue and queries", _both(across), len(pairs)),
    ]
