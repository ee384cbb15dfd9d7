"""Which pixels of a classroom photo show the animal: its scene is posed again from the seed.

Real photos have no such masks. No photo is drawn or touched here: a pose needs only the numbers
that `drawing.camera` draws by lot, and those depend on the seed and on names alone.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from miewid_lib import images
from miewid_lib.drawing import animals, camera
from miewid_lib.drawing.herd import generator
from miewid_lib.drawing.outlines import ANIMALS
from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco, synthetic

CANVAS_HEIGHT_PX, CANVAS_WIDTH_PX, WIDER_PX = 224, 262, 130  # of `camera.habitat`
UNPAINTED = np.zeros((3, 2, 2), np.float32)  # a coat; a mask does not ask for colours


def are_known(photo_root: Path) -> bool:
    """Tell whether each source under this folder says that the program of this book drew it."""
    folders = [path for path in sorted(Path(photo_root).iterdir()) if path.is_dir()]
    files = [folder / "annotations.json" for folder in folders]
    return bool(files) and all(file.is_file() and _is_drawn(file) for file in files)


def _is_drawn(path: Path) -> bool:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    return isinstance(content, dict) and content.get("info") == synthetic.INFO


def crops(table: pd.DataFrame, photo_root: Path, *, seed: int, size_px: int) -> np.ndarray:
    """Return how much of each pixel of each crop is animal, 0 to 1: float32 [N, size, size].

    table: rows of an annotation table, `seed`: the one its photos were drawn with. The animal is
    that of the row; others in the same box are background. Raises AnnotationError where the scene
    posed from the seed has another box than the table.
    """
    scenes = coco.read_folder(photo_root)  # with the rows that chapter 1 dropped
    main = scenes.drop_duplicates("image_path").groupby(["source", "encounter"])["individual"]
    scenes["main"] = scenes.set_index(["source", "encounter"]).index.map(main.first())
    asked = scenes[scenes["image_path"].isin(table["image_path"])]
    photos = dict(list(asked.groupby("image_path")))
    result = np.empty((len(table), size_px, size_px), np.float32)
    for path, rows in table.groupby("image_path", sort=False).indices.items():
        shots = of_photo(photos[path], seed)
        for i in rows:
            row = table.iloc[i]
            cover, box = shots[row["annotation_id"]]
            if box != [row["x"], row["y"], row["w"], row["h"]]:
                raise AnnotationError(f"photo {path} was not drawn with seed {seed}: box {box}")
            grey = np.repeat((255 * cover + 0.5).astype(np.uint8)[..., None], 3, axis=2)
            result[i] = images.crop(grey, tuple(box), 0.0, size_px)[..., 0] / np.float32(255)
    return result


def of_photo(members: pd.DataFrame, seed: int) -> dict[str, tuple]:
    """Return annotation_id -> (cover [H, W], box) for all animals of one photo.

    members: its rows of `coco.read_folder`, with the column main, the individual that its
    encounter is about (a photo may not name it).
    """
    first = members.iloc[0]
    species, side = first["source"].replace("_", " "), first["viewpoint"]
    key = (seed, species, int(first["main"]), int(first["encounter"].removeprefix("encounter_")))
    who = [int(first["main"]), *members["individual"].iloc[1:].astype(int)]
    rng = generator(*key, int(Path(first["image_path"]).stem))
    fin = ANIMALS[species]["kind"] == "fin"
    notches = [synthetic.appearance(seed, species, one, side)[1] if fin else None for one in who]
    shots = covers(ANIMALS[species], notches, rng, mirrored=side == "left")
    return dict(zip(members["annotation_id"], shots, strict=True))


def covers(animal: dict, notches: list, rng, *, mirrored: bool) -> list[tuple]:
    """Return (cover [H, W] from 0 to 1, box [x, y, w, h]) of each animal of one photo, unblurred.

    animal: of `ANIMALS`; notches: one a body, for fins (`synthetic.appearance`); rng as for
    `camera.photograph`, which draws the same numbers in the same order.
    """
    n = len(notches)
    width = int(rng.integers(168, 216)) + WIDER_PX * (n - 1)
    height = int(rng.integers(*animal.get("heights", (138, 170))))
    rng.integers(0, CANVAS_WIDTH_PX + WIDER_PX * (n - 1) - width)  # which part of the canvas
    side_view = animal["kind"] in ("flank", "fish", "fin")
    rng.integers(0, 12 if side_view else CANVAS_HEIGHT_PX - height)
    shots = []
    for i, notch in enumerate(notches):
        x = width * (i + 0.5) / n + rng.uniform(-10, 10)
        y = height * animal.get("middle", 0.5) + rng.uniform(-6, 6)
        view = camera.pose(animal, rng, mirrored=mirrored) | {"notches": notch}
        cover, box = _cover(animal, view, (x, y), (height, width))
        shots = [(below * (1 - cover), other) for below, other in shots] + [(cover, box)]
    return shots


def _cover(animal, view, centre, shape):
    """One animal's cover [H, W] and box: the steps of `camera.place` without its colours."""
    corners = np.array(animals.extent(animal)) @ view["matrix"].T + centre
    left, top = np.clip(np.floor(corners.min(0)).astype(int), 0, None)
    right, low = np.minimum(np.ceil(corners.max(0)).astype(int), shape[::-1])
    origin, size = np.subtract(centre, (left, top)), (low - top, right - left)
    x, y = camera.body_coordinates(view, origin, size)
    view = {**view, "pixel": 1 / view["scale"], "light": (0.0, 0.0, 1.0)}
    _, cover = animals.paint(animal, UNPAINTED, x, y, view)
    seen = cover > 0.5
    if animal["kind"] == "fin":  # its box ends where the back begins, its cover at the water
        seen &= y < 0.42
        cover = cover * camera.submerge(np.zeros((3, *size), np.float32), cover, x, y, view)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    box = [left + columns[0], top + rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    whole = np.zeros(shape, np.float32)
    whole[top:low, left:right] = cover
    return whole, [int(value) for value in box]
