"""Reads plain folders of photos: a folder an individual, the folder's name is the animal's name."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from reprlib import repr as shown

from pandas import DataFrame
from PIL import ExifTags, Image

from miewid_lib import images
from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco

UNREADABLE = [0, 0, 1, 1]  # box where the photo is missing or broken: `clean` drops and counts it


def read(folder: Path, *, species: str) -> DataFrame:
    """Return the annotation table of <folder>/<individual>/[<encounter>/]<photo>, all of `species`.

    The box is the whole photo. Photos that lie in `folder` itself, or in a folder named unknown,
    nan, none, null or ____, are of animals not known: null. Names that start with a dot are passed
    over; every other file is a row, so that what is no photo is dropped and counted by
    `annotations.clean`. image_path and annotation_id are relative to `folder`. Raises
    AnnotationError naming the file: a link that leaves `folder`, folders nested deeper, a name
    that the table cannot hold, no file at all.
    """
    root = os.path.realpath(folder)
    if not os.path.isdir(root):
        raise AnnotationError(f"{shown(str(folder))}: no such folder")
    try:
        table = coco.table_of(_entries(root, species), root, Path(folder).absolute().name)
    except AnnotationError as error:
        raise AnnotationError(f"{shown(str(folder))}: {error}") from None
    if table.empty:
        raise AnnotationError(f"{shown(str(folder))}: no <individual>/<photo> in it")
    return table


def read_any(folder: Path, *, species: str = "") -> DataFrame:
    """Return the table of `folder` in whichever documented form it has; paths relative to it.

    annotations.json or annotations.csv in it (`coco.read`), else sub-folders that hold some
    (`coco.read_folder`), else plain folders (`read`), which need `species`. Raises AnnotationError.
    """
    folder = Path(folder)
    own = [path for path in sorted(folder.glob("annotations.*")) if _is_table(path)]
    if len(own) > 1:
        raise AnnotationError(f"{folder}: {own[0].name} or {own[1].name}? Leave one of them")
    if own:
        return coco.read(own[0])
    if any(_is_table(path) for path in folder.glob("[!.]*/annotations*")):
        return coco.read_folder(folder)
    if not species and folder.is_dir():
        raise AnnotationError(f"{folder}: plain folders do not say which species: name it")
    return read(folder, species=species)


def whole_photo(path: Path) -> list[int]:
    """Return the box [x, y, w, h] of a whole photo as it is shown, from its header alone.

    Decoding waits for the crops; UNREADABLE where there is no photo to read.
    """
    with warnings.catch_warnings(action="ignore"):  # odd metadata
        try:
            with Image.open(path, formats=images.FORMATS) as opened:
                width, height = opened.size
                turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        except (*images.BROKEN, Image.DecompressionBombError):
            return UNREADABLE
    return [0, 0, *((height, width) if turned else (width, height))]


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in (".json", ".csv") and path.is_file()


def _entries(root: str, species: str) -> Iterator[tuple[str, dict, dict]]:
    """Yield (where, annotation, image) for each file, with the keys of COCO."""
    for path in _files(root, "", 2):
        *names, _ = path.split("/")
        is_file = os.path.isfile(f"{root}/{path}")  # a pipe would wait for ever
        entry = {
            "id": path,
            "bbox": whole_photo(Path(root, path)) if is_file else UNREADABLE,
            "species": species,
            "individual_id": names[0] if names else None,
            "encounter_id": names[1] if len(names) > 1 else None,
        }
        yield f"file {shown(path)}", entry, {"file_name": path}


def _files(root: str, inside: str, depth: int) -> Iterator[str]:
    """Paths of all files, relative to `root` and in order; no folder behind a link that leaves."""
    for name in sorted(os.listdir(os.path.join(root, inside))):
        path = f"{inside}{name}"
        real = os.path.realpath(os.path.join(root, path))
        if name.startswith("."):
            continue
        if not real.startswith(root.rstrip("/") + "/"):
            raise AnnotationError(f"{shown(path)} leads out of the folder of photos")
        if not os.path.isdir(real):
            yield path
        elif depth:
            yield from _files(root, f"{path}/", depth - 1)
        else:
            raise AnnotationError(f"{shown(path)}: deeper than individual/encounter/photo")
