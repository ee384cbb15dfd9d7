"""Reads Wildbook and COCO JSON, and the documented CSV, into the annotation table."""

import csv
import json
import os
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from reprlib import repr as shown

from pandas import DataFrame, concat

from miewid_lib import annotations
from miewid_lib.errors import AnnotationError

IDS = ("annotation_id", "id", "uuid")
INDIVIDUAL = ("individual_id", "individual_uuid", "name", "individual")
ENCOUNTER = ("encounter_id", "encounter_uuid", "encounter", "burst_id", "segment_id")
DATE = ("date_captured", "date")
"""Keys of JSON entries and columns of the CSV; row by row the first that says something counts."""

_NOTHING = re.compile(r"\s*(nan|none|null|nat|<na>|unknown|_*)\s*", re.IGNORECASE)
_LARGEST = 1e6  # no photo has more pixels on a side; the largest floats would overflow


def read(path: Path, image_root: Path | None = None) -> DataFrame:
    """Return the annotation table of one file; image_path is relative to `image_root`.

    `image_root` is the folder that file names start at (default: the folder of the file).
    JSON: `images` and `annotations`, joined by image_uuid = uuid, else image_id = id; bbox
    [x, y, w, h], theta [rad], viewpoint, species (else the name of category_id), quality.
    CSV: x, y, w, h, species, file_name; theta, viewpoint, quality, id (else the row number).
    Both: IDS, INDIVIDUAL, ENCOUNTER, DATE; file_path counts before file_name and may be absolute
    inside `image_root`; nan, none, null, nat, <na>, unknown and ____ in any case mean null.
    Raises AnnotationError naming the file and the entry.
    """
    path = Path(path)
    root = os.path.realpath(path.parent if image_root is None else image_root)
    entries = {".json": _json_entries, ".csv": _csv_entries}.get(path.suffix.lower())
    if entries is None:
        raise AnnotationError(f"{path}: not .json or .csv")
    try:
        return table_of(entries(path), root, path.absolute().parent.name)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from None


def read_folder(folder: Path, *, rename_species: Mapping[str, str] | None = None) -> DataFrame:
    """Return the merged table of every <folder>/<source>/annotations*.json and annotations*.csv.

    source = name of the sub-folder, annotation_id = source:id, image_path relative to `folder`;
    `rename_species` maps a source to the label of its species. Raises AnnotationError as `read`
    does, if two files of a source hold the same id, and if there is no file at all.
    """
    tables = []
    files = sorted(Path(folder).glob("[!.]*/annotations*"))
    for path in (file for file in files if file.suffix in (".json", ".csv")):
        table, source = read(path), path.parent.name
        if source in (rename_species or {}):
            table["species"] = rename_species[source]
        table["annotation_id"] = source + ":" + table["annotation_id"]
        table["image_path"] = source + "/" + table["image_path"]
        tables.append(table)
    if not tables:
        raise AnnotationError(f"{folder}: no <source>/annotations*.json or annotations*.csv in it")
    return annotations.check(concat(tables, ignore_index=True))


def table_of(entries: Iterable[tuple[str, dict, dict]], root: str, source: str) -> DataFrame:
    """Return the table of (where, annotation, image), read as in `read`; `root` is a real path."""
    rows, real_folder = [], cache(os.path.realpath)
    for where, entry, image in entries:
        try:
            rows.append(_row(entry, image, root, real_folder))
        except AnnotationError as error:
            raise AnnotationError(f"{where}: {error}") from None
    columns = [*annotations.COLUMNS, *["quality"] * any(r["quality"] is not None for r in rows)]
    kinds = {c: "float64" if c in annotations.FLOATS else "str" for c in columns}
    return annotations.check(DataFrame(rows, columns=columns).assign(source=source).astype(kinds))


def _json_entries(path: Path) -> Iterator[tuple[str, dict, dict]]:
    """Yield (where, annotation, image) for each annotation of a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnnotationError(f"not a readable JSON file ({error})") from None
    by_uuid, by_id = _by_key(content, "images", "uuid"), _by_key(content, "images", "id")
    categories = _by_key({"categories": []} | content, "categories", "id")
    for i, entry in enumerate(_entries(content, "annotations")):
        where = f"annotation {i} (id {shown(next((entry[k] for k in IDS if k in entry), None))})"
        by_key, key = by_id, entry.get("image_id")
        if by_uuid and entry.get("image_uuid") is not None:
            by_key, key = by_uuid, entry["image_uuid"]
        image = by_key.get(key if isinstance(key, str | int) else None)
        if image is None:
            raise AnnotationError(f"{where}: its image {shown(key)} is not in `images`")
        category = entry.get("category_id")
        named = categories.get(category if isinstance(category, str | int) else None, {})
        yield where, entry | {"category name": named.get("name")}, image


def _entries(content: object, kind: str) -> list[dict]:
    found = content.get(kind) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise AnnotationError(f"`{kind}` must be a list of objects, not {shown(found)}")
    return found


def _by_key(content: dict, kind: str, key: str) -> dict:
    found = {}
    for i, entry in enumerate(_entries(content, kind)):
        value = entry.get(key)
        if type(value) not in (str, int, type(None)) or value in found:
            raise AnnotationError(f"`{kind}` {i}: {key} {shown(value)} is there twice or no name")
        if value is not None:
            found[value] = entry
    return found


def _csv_entries(path: Path) -> Iterator[tuple[str, dict, dict]]:
    """Yield (where, annotation, image) for each row of a CSV file, numbers as numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise AnnotationError(f"not a readable CSV file with a header ({error})") from None
    for column in ("x", "y", "w", "h", "species", *header):
        if header.count(column) != 1:
            raise AnnotationError(f"column {column} must be there once, not as in {shown(header)}")
    for i, cells in enumerate(filter(None, rows)):  # without blank lines
        if len(cells) != len(header):
            raise AnnotationError(f"row {i}: {len(cells)} cells, but {len(header)} in the header")
        row = {"id": str(i)} if not set(IDS) & set(header) else {}
        row |= zip(header, cells, strict=True)
        row["bbox"] = [_parsed(row[column]) for column in "xywh"]
        row["theta"] = _parsed(row.get("theta", row.get("theta_rad", "")))
        row["quality"] = _parsed(row.get("quality", ""))
        yield f"row {i}", row, row


def _parsed(cell: str) -> float | str | None:
    try:
        return None if _NOTHING.fullmatch(cell) else float(cell)
    except ValueError:
        return cell  # for the check that names it


def _row(entry: dict, image: dict, root: str, real_folder: Callable) -> dict:
    box, theta, quality = entry.get("bbox"), entry.get("theta"), entry.get("quality")
    if not isinstance(box, list) or len(box) != 4:
        raise AnnotationError(f"bbox must be [x, y, w, h], not {shown(box)}")
    return dict(zip("xywh", [_number(value, "bbox") for value in box], strict=True)) | {
        "annotation_id": _text(entry, IDS, needed=True),
        "image_path": _image_path(image, root, real_folder),
        "theta_rad": _number(0 if theta is None or theta != theta else theta, "theta"),
        "species": _text(entry, ("species", "category name"), needed=True),
        "individual": _text(entry, INDIVIDUAL),
        "viewpoint": _text(entry, ("viewpoint",)),
        "encounter": _text(entry, ENCOUNTER),
        "date": _text(image, DATE) or _text(entry, DATE),
        "quality": None if quality is None or quality != quality else _number(quality, "quality"),
    }


def _number(value: object, name: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # neither bool nor NaN
        raise AnnotationError(f"{name} must be numbers within {_LARGEST:g}, not {shown(value)}")
    return float(value)


def _text(entry: dict, keys: tuple[str, ...], *, needed: bool = False) -> str | None:
    for key in keys:
        value = entry.get(key)
        if value is None or value != value:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # 1030.0: a whole number that once stood in a column with NaN
        if type(value) not in (str, int) or annotations.CONTROL.search(str(value)):
            raise AnnotationError(f"{key} must be plain text, not {shown(value)}")
        if not _NOTHING.fullmatch(str(value)):
            return str(value).strip()
    if needed:
        raise AnnotationError(f"{' or '.join(keys)} is missing")


def _image_path(image: dict, root: str, real_folder: Callable) -> str:
    """File of the photo relative to `root`, and still inside it once links are followed."""
    path = _text(image, ("file_path", "file_name", "image_path"), needed=True)
    given = posixpath.normpath(path)
    if image.get("file_path") and os.path.isabs(given):
        given = os.path.relpath(os.path.realpath(given), root)
    folder, name = os.path.split(os.path.join(root, given))
    real = os.path.join(real_folder(folder), name)
    real = os.path.realpath(real) if os.path.islink(real) else real
    if given.startswith(("/", "../")) or not real.startswith(root + "/"):
        raise AnnotationError(f"photo {shown(path)} is not inside the folder of photos")
    return given
