"""The annotation table: one row an annotation (one animal in one photo), its checks and its CSV."""

import posixpath
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from miewid_lib import images
from miewid_lib.errors import AnnotationError, ImageError

COLUMNS = {
    "annotation_id": "text, unique in the table",
    "image_path": "text, the photo, relative to the folder of photos, with /",
    "x": "left edge of the box before turning [px of the photo, EXIF orientation applied]",
    "y": "top edge of the box before turning [px]",
    "w": "width of the box [px]",
    "h": "height of the box [px]",
    "theta_rad": "clockwise turn of the box about its centre [rad]",
    "species": "text, never null",
    "individual": "text, name of the animal within its species; null: not known",
    "viewpoint": "text such as left, right, front, back, up; null: unknown or does not apply",
    "encounter": "text, the sighting event; null: not known (until fill_encounters)",
    "identity": "text, the class: species|individual[|viewpoint]; null: not known or not set yet",
    "source": "text, the data set the row comes from",
    "date": "text, when the photo was taken, ISO 8601 where known; null: not known",
}
"""Column -> meaning [unit]. A further column `quality` (0 worst to 1 best, or null) is optional."""

_NUMBERS = ("x", "y", "w", "h", "theta_rad")
FLOATS = (*_NUMBERS, "quality")  # all other columns are text, or bool
CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # breaks a line, or UTF-8
_REFUSED = (
    (re.compile(r"^\s*(nan|none|null|nat|<na>|)\s*$", re.I), "is text for nothing: make it null"),
    (CONTROL, "must not hold control characters"),
    (re.compile("[|]"), "must not hold |"),
)


def check(table: DataFrame) -> DataFrame:
    """Return `table` itself if it keeps the schema of COLUMNS; nothing is repaired.

    Raises AnnotationError naming column, row (counted from 0) and value.
    """
    for column in COLUMNS:
        if (found := list(table.columns)).count(column) != 1:
            raise AnnotationError(f"column {column} must be there once, not as in {found}")
        if column not in _NUMBERS:
            _check_text(table, column)
        else:
            _refuse(table, column, ~np.isfinite(_numbers(table, column)), "must be finite")
    if "quality" in table:
        quality = _numbers(table, "quality")
        _refuse(table, "quality", (quality < 0) | (quality > 1), "must be null or from 0 to 1")
    _refuse(table, "annotation_id", table["annotation_id"].duplicated(), "must be unique")
    bad_path = table["image_path"].map(_leaves_folder).to_numpy(bool)
    _refuse(table, "image_path", bad_path, "must be a plain relative path with / and without ..")
    nameless = table["identity"].notna() & table["individual"].isna()
    _refuse(table, "identity", nameless, "must be null where individual is null")
    return table


def _check_text(table: DataFrame, column: str) -> None:
    values, null = table[column], table[column].isna().to_numpy(bool)
    if column in ("annotation_id", "image_path", "species", "source"):
        _refuse(table, column, null, "must not be null")
    text = np.array([isinstance(value, str) for value in values], bool)
    _refuse(table, column, ~(text | null), "must be text or null")
    named = column in ("species", "individual", "viewpoint")  # joined by | to the identity
    for pattern, rule in _REFUSED[: None if named else -1]:
        found = [bool(pattern.search(value)) for value in values.where(text, "-")]
        _refuse(table, column, found, rule)


def _numbers(table: DataFrame, column: str) -> np.ndarray:
    values, api = table[column], pd.api.types
    if api.is_bool_dtype(values) or not api.is_any_real_numeric_dtype(values):
        _refuse(table, column, [type(v) not in (int, float) for v in values], "must be a number")
        raise AnnotationError(f"column {column} must be numbers, not of type {values.dtype}")
    return values.to_numpy(np.float64, na_value=np.nan)


def _leaves_folder(path: str) -> bool:
    plain = posixpath.normpath(path) == path and "\\" not in path
    return not plain or path == "." or path.startswith("/") or path.split("/")[0] == ".."


def _refuse(table: DataFrame, column: str, bad: Iterable[bool], rule: str) -> None:
    rows = np.flatnonzero(np.asarray(bad, bool))
    if len(rows):
        value = reprlib.repr(table[column].iloc[rows[0]])
        more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise AnnotationError(f"column {column}, row {rows[0]}: {value} {rule}{more}")


def set_identity(table: DataFrame, *, lateral: Iterable[str] = ()) -> DataFrame:
    """Return `table` with identity = species|individual, and |viewpoint for `lateral` species.

    Lateral species carry different patterns on their two sides; a null viewpoint adds nothing.
    Raises AnnotationError as `check` does.
    """
    if isinstance(lateral, str):
        raise AnnotationError(f"lateral must be a list of species, not the text {lateral!r}")
    identity = check(table)["species"] + "|" + table["individual"]  # null where individual is
    sided = table["species"].isin(list(lateral)) & table["viewpoint"].notna()
    return table.assign(identity=identity.where(~sided, identity + "|" + table["viewpoint"]))


def fill_encounters(table: DataFrame) -> DataFrame:
    """Return `table` with an encounter in every row that is of one animal: source:individual:name.

    Where a source names no encounter at all, each photo is one. Where it names some, the unnamed
    photos of an animal are one together, so that they are never each other's evidence; so are two
    boxes of one animal in one photo (the first name counts).
    """
    animal = table["source"] + ":" + table["individual"].fillna("")
    named = table["encounter"].groupby(table["source"]).transform("count") > 0
    name = table["encounter"].fillna("photo " + table["image_path"])
    name = name.mask(named & table["encounter"].isna(), "not known")
    photo = [table["image_path"], table["species"], animal]
    return table.assign(encounter=animal + ":" + name.groupby(photo).transform("min"))


def clean(table: DataFrame, root: Path, *, min_side_px: float, min_quality: float = 0.0) -> tuple:
    """Return the usable rows and the dropped rows with a column `reason` (the first that holds).

    no individual; photo missing; photo unreadable; box empty (no whole pixel); box outside photo
    (less than half of its area inside; a box that sticks out less is kept, its crop is clipped);
    box too small (a side of the crop under `min_side_px`); quality too low (null is kept).
    Photos are under `root`; each is decoded once. Raises AnnotationError as `check` does.
    """
    rows = check(table).reset_index(drop=True)
    reason = pd.Series(np.nan, rows.index, dtype="str")
    reason[rows["individual"].isna()] = "no individual"
    for image_path, group in rows[reason.isna()].groupby("image_path", sort=False):
        size_px = _photo_size(Path(root) / str(image_path))
        for row in group.itertuples():
            fault = size_px if isinstance(size_px, str) else _box_fault(row, size_px, min_side_px)
            if fault is None and getattr(row, "quality", 1.0) < min_quality:
                fault = "quality too low"
            reason[row.Index] = fault
    dropped = rows.assign(reason=reason)[reason.notna()]
    return rows[reason.isna()].reset_index(drop=True), dropped.reset_index(drop=True)


def _photo_size(path: Path) -> tuple[int, int] | str:
    try:
        height, width = images.load(path).shape[:2]
    except ImageError:
        return "photo unreadable" if path.is_file() else "photo missing"
    return width, height


def _box_fault(row: tuple, photo_size_px: tuple[int, int], min_side_px: float) -> str | None:
    box = (row.x, row.y, row.w, row.h)
    if min(row.w, row.h) < 1:
        return "box empty"
    if images.share_inside(box, photo_size_px, row.theta_rad) < 0.5:
        return "box outside photo"
    left, top, right, bottom = images.window(box, photo_size_px)
    sides = (row.w, row.h) if row.theta_rad else (right - left, bottom - top)
    return "box too small" if min(sides) < max(1, min_side_px) else None


def write(table: DataFrame, path: Path) -> None:
    """Write `table` as CSV (UTF-8, \\n, null = empty cell), atomically; same table, same bytes.

    Columns beside COLUMNS and quality must be text or bool. Raises AnnotationError as `check` does.
    """
    check(table)
    for column in table.columns:
        if column not in FLOATS and table[column].dtype != bool:
            _check_text(table, column)
    partial = Path(f"{path}.part")
    try:
        table.to_csv(partial, index=False, lineterminator="\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> DataFrame:
    """Return the table that `write` wrote: text stays text ("007", "NA"), empty cells are null.

    Raises AnnotationError naming the file, or as `check` does.
    """
    try:
        cells = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""])
        for column in cells.columns:
            if column in FLOATS:
                cells[column] = cells[column].astype(np.float64)
            elif len(cells) and column not in COLUMNS and set(cells[column]) <= {"True", "False"}:
                cells[column] = cells[column] == "True"
    except (OSError, UnicodeError, ValueError) as error:
        raise AnnotationError(f"{path}: not a table ({str(error).splitlines()[0]})") from None
    return check(cells)
