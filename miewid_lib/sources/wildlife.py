"""Reads public data sets through the optional package wildlife-datasets (MIT up to 1.0.8)."""

import difflib
import json
import os
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pandas import DataFrame

from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco, folders
from miewid_lib.sources.known import KNOWN, Known

EXTRA = "wildlife-datasets>=1.0.8,<1.0.9"  # later releases are under the AGPL
_UP = {"top": "up"}  # seen from above, in our words
_LAYOUT = (OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError)
_DOWNLOAD = (RuntimeError, ImportError, zipfile.BadZipFile, tarfile.TarError)  # OSError is above


def read(name: str, root: Path) -> DataFrame:
    """Return the annotation table of the data set that class `name` finds in the folder `root`.

    `name` is a class of wildlife_datasets.datasets, such as "NyalaData"; `root` is the folder that
    the class was downloaded to. Nothing is downloaded here (some classes rename photos in `root`).
    image_path is relative to `root`. Raises AnnotationError where the package, the class or the
    folder is missing, or the folder is laid out in another way; complaints of the class itself
    about the content pass as they are.
    """
    dataset = _class(name)
    if not Path(root).is_dir():
        raise AnnotationError(f"{root}: no such folder for {name}")
    try:
        with warnings.catch_warnings(action="ignore"):  # its calls of older pandas
            frame = dataset(str(root), check_files=False).df  # `clean` counts missing photos
    except _LAYOUT as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise AnnotationError(f"{root}: not laid out as {name} expects ({reason})") from error
    animals = sorted(getattr(dataset, "summary", {}).get("animals", ()))
    return convert(frame, name, root, species=animals[0] if len(animals) == 1 else None)


def download(name: str, root: Path, *, up_to_mb: int = 1000) -> None:
    """Download the data set of class `name` into the folder `root`, with its own code.

    A set that is known to be larger than `up_to_mb`, or of unknown size, is refused with its size
    and licence, so that nobody fills a disk by a line of code. Photos keep their own terms. Raises
    AnnotationError, also where the download fails.
    """
    dataset, known = _class(name), KNOWN.get(name)
    size_mb = known.download_mb if known else None
    if size_mb is None or size_mb > up_to_mb:
        size = "unknown size" if size_mb is None else f"{size_mb} MB"
        licence = (known.licence if known else None) or "no licence stated"
        raise AnnotationError(f"{name}: {size}, {licence}; pass up_to_mb={size_mb or 10**6}")
    try:
        dataset.get_data(str(root))
    except (*_LAYOUT, *_DOWNLOAD) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise AnnotationError(f"{name}: the download failed ({reason})") from error


def convert(frame: DataFrame, name: str, root: Path, *, species: str | None = None) -> DataFrame:
    """Return the annotation table of a data frame of wildlife-datasets; photos are under `root`.

    Columns used: image_id, path, identity ("unknown" is null), bbox [x, y, w, h] (list or JSON;
    the whole photo where there is none), species, date, and those that KNOWN[name] names; masks
    are not used. A set outside KNOWN takes its species from the column, else from `species`.
    Raises AnnotationError naming the set, the row and the value.
    """
    known = KNOWN.get(name, Known(species, False, "orientation", None, None, None, None))
    missing = [column for column in ("image_id", "path", "identity") if column not in frame]
    if missing:
        raise AnnotationError(f"{name}: its frame has no column {missing[0]}")
    if name not in KNOWN and "species" not in frame and species is None:
        raise AnnotationError(f"{name}: neither KNOWN nor its frame says which species it shows")
    real_root = os.path.realpath(root)
    try:
        rows = _entries(frame, known, real_root, own_species=name not in KNOWN)
        return coco.table_of(rows, real_root, name)
    except AnnotationError as error:
        raise AnnotationError(f"{name}: {error}") from None


def _class(name: str) -> type:
    try:
        from wildlife_datasets import datasets
    except ImportError as error:
        raise AnnotationError(
            f"{name}: needs the package wildlife-datasets: pip install '{EXTRA}' ({error})"
        ) from None
    found = getattr(datasets, name, None)
    if not isinstance(found, type) or not issubclass(found, datasets.WildlifeDataset):
        close = difflib.get_close_matches(name, dir(datasets), n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        raise AnnotationError(f"{name}: not a data set of wildlife-datasets{hint}")
    return found


def _entries(
    frame: DataFrame, known: Known, root: str, *, own_species: bool
) -> Iterator[tuple[str, dict, dict]]:
    """Yield (where, annotation, image) for each row, with the keys of COCO."""
    frame = frame.astype(object).where(frame.notna(), None)  # one word for nothing
    for i, row in enumerate(frame.to_dict("records")):  # values of Python, not of numpy
        where, path = f"row {i} (image_id {row['image_id']!r})", row["path"]
        if not isinstance(path, str):
            raise AnnotationError(f"{where}: path must be text, not {path!r}")
        path = path.replace(os.sep, "/")
        entry = {
            "id": row["image_id"],
            "bbox": _box(row.get("bbox"), Path(root, path), where),
            "species": (row.get("species") if own_species else None) or known.species,
            "individual_id": row["identity"],
            "viewpoint": _viewpoint(_say(row, path, known.viewpoint)),
            "encounter_id": _say(row, path, known.encounter),
            "date": _text(row.get("date")),
        }
        yield where, entry, {"file_name": path}


def _say(row: dict, path: str, how: str | None) -> object:
    """What a column, or a pattern of the path, says of this row."""
    if how is None:
        return None
    if not how.startswith("path:"):
        return _day(row.get(how)) if how == "date" else row.get(how)
    found = re.search(how.removeprefix("path:"), path, re.IGNORECASE)
    return found[1] if found else None


def _text(value: object) -> str | None:
    return None if value is None else str(value).strip()


def _day(value: object) -> str | None:
    """2011-01-18 of "2011-01-18 07:10:05" or of a time stamp; other text stays what it is."""
    text = _text(value)
    return text[:10] if text and re.match(r"\d{4}-\d\d-\d\d[ T]", text) else text


def _viewpoint(value: object) -> object:
    return _UP.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _box(value: object, photo: Path, where: str) -> object:
    """Four numbers of a list or its JSON; what else there is goes on to the check that names it."""
    if value is None:
        return folders.whole_photo(photo)
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            raise AnnotationError(f"{where}: bbox must be [x, y, w, h], not {value!r}") from None
    return np.asarray(value).tolist()  # numbers of Python; a tuple or an array becomes a list
