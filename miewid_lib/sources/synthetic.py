"""Writes the classroom data: procedural pictures of animals that do not exist, as COCO folders."""

import argparse
import io
import json
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import numpy as np
from PIL import Image

from miewid_lib.drawing import coats
from miewid_lib.drawing.camera import habitat, photograph
from miewid_lib.drawing.herd import SIZES, generator, plan
from miewid_lib.drawing.outlines import ANIMALS
from miewid_lib.errors import AnnotationError
from miewid_lib.progress import progress

SPECIES = tuple(ANIMALS)
"""The species that `write` can draw."""
LATERAL = tuple(name for name in SPECIES if ANIMALS[name]["lateral"])
"""Those whose left and right coats differ: there a side is an identity of its own."""

INFO = {"description": "procedural picture, not data: drawn by a program, no such animal exists"}
LICENSES = [{"id": 1, "name": "the licence of the program that drew the pictures"}]


@lru_cache(maxsize=64)
def appearance(seed, species, individual, side):
    """Return an individual's coat [3, SIZE, SIZE] and the notches [n, 3] of its fin, one side's."""
    rng = generator(seed, species, individual, side, "coat")
    n = rng.integers(2, 6)
    low, high = (0.1, 0.04, 0.012), (0.95, 0.16, 0.05)  # place, depth, width
    return coats.coat(ANIMALS[species]["coat"], rng), rng.uniform(low, high, (n, 3))


def _shoot(folder, seed, job):
    """Write the photos of one encounter; return a row for each, for `_document`."""
    species, encounter = job
    number, side = encounter["number"], encounter["side"]
    key = (seed, species, encounter["individual"], number)
    who = [one for one in (encounter["individual"], encounter["companion"]) if one is not None]
    bodies = [appearance(seed, species, one, side) for one in who]
    shared, rows = habitat(ANIMALS[species], len(who), generator(*key, "place")), []
    for image, fault in zip(encounter["images"], encounter["faults"], strict=True):
        photo, boxes, quality = photograph(
            ANIMALS[species], bodies, shared, generator(*key, image),
            mirrored=side == "left", blurred=fault == "blurred")  # fmt: skip
        jpeg_quality = int(generator(*key, image, "file").integers(82, 93))
        path = folder / species.replace(" ", "_") / f"images/{image:06d}.jpg"
        path.write_bytes(_jpeg(photo, jpeg_quality, truncated=fault == "truncated"))
        height, width = photo.shape[:2]
        if fault == "outside":
            boxes[0] = [width + 20, height + 12, *boxes[0][2:]]
        if fault == "tiny":
            boxes[0] = [*boxes[0][:2], 4, 3]
        names = [None if fault == "nameless" and one is who[0] else f"{one:03d}" for one in who]
        rows.append((image, width, height, number, side, names, boxes, quality))
    return rows


def _jpeg(photo, quality, *, truncated):
    """Return the bytes of a photo [h, w, 3] as JPEG, only the first third of them if truncated."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(photo)).save(buffer, "JPEG", quality=quality)
    data = buffer.getvalue()
    return data[: len(data) // 3] if truncated else data


def _document(species, rows):
    """Return the COCO-style document of one species."""
    images, annotations = [], []
    for row in sorted(rows, key=itemgetter(0)):
        image, width, height, number, side, names, boxes, quality = row
        images.append({
            "id": image, "file_name": f"images/{image:06d}.jpg", "width": width, "height": height,
            "original_width": width, "original_height": height, "source_path": None,
            "date_captured": None, "original_split": None})  # fmt: skip
        for name, box in zip(names, boxes, strict=True):
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": 1, "bbox": box,
                "area": box[2] * box[3], "iscrowd": 0, "species": species, "individual_id": name,
                "viewpoint": side, "encounter_id": f"encounter_{number:04d}",
                "quality": quality})  # fmt: skip
    return {"info": INFO, "licenses": LICENSES, "categories": [{"id": 1, "name": species}],
            "images": images, "annotations": annotations}  # fmt: skip


def write(folder, *, species, seed, n_annotations=3000, workers=2):
    """Draw about n_annotations procedural photos of these species; return their annotation table.

    Writes <folder>/<species>/annotations.json and images/; the bytes depend on species, seed and
    n_annotations alone. An existing folder is replaced, and only once everything is drawn.
    Raises AnnotationError for a species that is not in SPECIES.
    """
    _check(species)
    folder = Path(folder)
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    weight, jobs = sum(SIZES[name] for name in species), []
    for name in species:
        (draft / name.replace(" ", "_") / "images").mkdir(parents=True)
        share = n_annotations * SIZES[name] / weight
        jobs += [(name, encounter) for encounter in plan(name, seed, share)]
    shots = _run(partial(_shoot, draft, seed), jobs, workers)
    for name in species:
        rows = [
            row
            for (drawn, _), part in zip(jobs, shots, strict=True)
            if drawn == name
            for row in part
        ]
        text = json.dumps(_document(name, rows), indent=1) + "\n"
        (draft / name.replace(" ", "_") / "annotations.json").write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    from miewid_lib.sources.coco import read_folder

    return read_folder(folder)


def _check(species):
    if isinstance(species, str) or not len(species):
        raise AnnotationError(
            f"species is {species!r}: give a list of names such as {SPECIES[0]!r}"
        )
    for name in species:
        if name not in SPECIES:
            raise AnnotationError(f"species {name!r} cannot be drawn: take {', '.join(SPECIES)}")


def _run(function, jobs, workers):
    """Return [function(job) for job in jobs], in fresh processes if workers are several."""
    seen = partial(progress, total=len(jobs), label="drawing encounters")
    if workers < 2:
        return list(seen(map(function, jobs)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(seen(pool.map(function, jobs, chunksize=6)))


def main(argv=None):
    """Command line: `python -m miewid_lib.sources.synthetic FOLDER --seed 7 ...`."""
    parser = argparse.ArgumentParser(prog="miewid_lib.sources.synthetic", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--n_annotations", type=int, default=3000, help="roughly, of all species")
    parser.add_argument("--species", nargs="+", default=SPECIES, metavar="NAME")
    try:
        table = write(**vars(parser.parse_args(argv)))
    except AnnotationError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(table)} annotations of {table['species'].nunique()} species drawn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
