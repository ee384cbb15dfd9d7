"""Masks of the classroom photos: the animal and nothing else, told by what a new coat changes."""

import json

import numpy as np
import pytest
from scipy.ndimage import grey_dilation

from miewid_lib import annotations, images, masks
from miewid_lib.drawing import camera
from miewid_lib.drawing.herd import generator
from miewid_lib.drawing.outlines import ANIMALS
from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco, synthetic

PAIR = ["plains zebra", "bottlenose dolphin"]
SEED = 3


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks") / "photos"
    table = synthetic.write(folder, species=PAIR, seed=SEED, n_annotations=90, workers=1)
    kept, _ = annotations.clean(
        annotations.fill_encounters(annotations.set_identity(table, lateral=())),
        folder, min_side_px=24, min_quality=0.2,
    )  # fmt: skip
    return folder, kept.reset_index(drop=True)


def scene(species, key, *, notches, coat):
    """One photo by `camera.photograph`, as `synthetic` takes it."""
    animal = ANIMALS[species]
    shared = camera.habitat(animal, len(notches), generator(*key, "place"))
    bodies = [(np.full((3, 8, 8), coat, np.float32), notch) for notch in notches]
    return camera.photograph(animal, bodies, shared, generator(*key, 1), mirrored=True)


@pytest.mark.parametrize("species", synthetic.SPECIES)
def test_a_new_coat_changes_the_animal_and_nothing_else(species):
    key = (SEED, species, 1, 1)
    notches = [synthetic.appearance(SEED, species, one, "left")[1] for one in (1, 2)]
    black, boxes, _ = scene(species, key, notches=notches, coat=0.0)
    white, _, _ = scene(species, key, notches=notches, coat=1.0)
    shots = masks.covers(ANIMALS[species], notches, generator(*key, 1), mirrored=True)
    assert [box for _, box in shots] == boxes
    cover = sum(part for part, _ in shots)
    changed = np.abs(white.astype(int) - black).max(axis=-1) > 60
    assert cover.shape == changed.shape and cover.max() <= 1 + 1e-6
    near = grey_dilation(cover, 5) > 0.05  # the lens blurs the edge
    assert changed.any() and not (changed & ~near).any()
    assert (changed & (cover > 0.5)).sum() > 0.5 * (cover > 0.5).sum()  # legs and fins keep theirs


def test_scene_from_the_seed_is_the_photo_on_disk(drawn):
    folder, table = drawn
    single = table[table.groupby("image_path")["x"].transform("size") == 1]
    scenes = coco.read_folder(folder).set_index("annotation_id")
    for row in single.groupby("species").head(2).itertuples():
        who, side = int(row.individual), row.viewpoint
        number = int(scenes.loc[row.annotation_id, "encounter"].removeprefix("encounter_"))
        key, animal = (SEED, row.species, who, number), ANIMALS[row.species]
        if (scenes["image_path"] == row.image_path).sum() > 1:
            continue
        shared = camera.habitat(animal, 1, generator(*key, "place"))
        rng = generator(*key, int(row.image_path[-10:-4]))
        bodies = [synthetic.appearance(SEED, row.species, who, side)]
        photo, _, _ = camera.photograph(animal, bodies, shared, rng, mirrored=side == "left")
        on_disk = images.load(folder / row.image_path).astype(int)
        assert np.abs(on_disk - photo).mean() < 4  # grey levels, of JPEG


def test_every_kept_annotation_has_a_mask_that_touches_its_box(drawn):
    folder, table = drawn
    cover = masks.crops(table, folder, seed=SEED, size_px=48)
    assert cover.shape == (len(table), 48, 48) and cover.dtype == np.float32
    assert cover.min() >= 0 and cover.max() <= 1
    # a box ends where its animal does; a companion in front may hide a side of a few
    sides = [cover[:, 0], cover[:, -1], cover[:, :, 0], cover[:, :, -1]]
    touched = np.mean([side.max(axis=1) > 0.2 for side in sides], axis=1)
    assert (touched > 0.9).all()
    areas = cover.mean((1, 2))
    assert 0.2 < np.median(areas) < 0.7


def test_masks_follow_the_rows_of_the_table(drawn):
    folder, table = drawn
    every = masks.crops(table, folder, seed=SEED, size_px=24)
    order = np.random.default_rng(0).permutation(len(table))[:15]
    some = masks.crops(table.iloc[order], folder, seed=SEED, size_px=24)
    assert np.array_equal(some, every[order])


def test_another_seed_is_refused_by_name(drawn):
    folder, table = drawn
    with pytest.raises(AnnotationError, match=r"photo .*jpg was not drawn with seed 4"):
        masks.crops(table, folder, seed=4, size_px=24)


def test_only_the_programs_own_photos_have_masks(drawn, tmp_path):
    folder, _ = drawn
    assert masks.are_known(folder)
    assert not masks.are_known(tmp_path)
    for name, head in (("giraffe", {"info": synthetic.INFO}), ("lion", {"info": None})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "annotations.json").write_text(json.dumps(head))
        assert masks.are_known(tmp_path) == (name == "giraffe")
    (tmp_path / "lion" / "annotations.json").unlink()
    assert not masks.are_known(tmp_path)  # a folder of another kind, such as CSV
