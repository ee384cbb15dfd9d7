"""Plain folders of photos, and which reader a folder gets."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miewid_lib import annotations, images
from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco, folders


def photo(path: Path, width: int = 40, height: int = 30, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 60, 30)).save(path, "JPEG", **options)
    return path


@pytest.fixture
def herd(tmp_path):
    folder = tmp_path / "herd"
    photo(folder / "007" / "a.jpg")
    photo(folder / "007" / "day 1" / "b.jpg", 20, 50)
    photo(folder / "Ann" / "a.jpg")
    photo(folder / "new.jpg")
    photo(folder / "unknown" / "c.jpg")
    return folder


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        folders.read(folder, species="lion")
    message = str(caught.value)
    assert message.isprintable() and all(word in message for word in words), message


def test_folders_are_names_and_the_box_is_the_whole_photo(herd):
    table = folders.read(herd, species="lion").set_index("annotation_id")
    assert list(table.index) == ["007/a.jpg", "007/day 1/b.jpg", "Ann/a.jpg", "new.jpg",
                                 "unknown/c.jpg"]  # fmt: skip
    assert (table.index == table["image_path"]).all()
    names = table["individual"]
    assert names.iloc[:3].tolist() == ["007", "007", "Ann"] and names.iloc[3:].isna().all()
    assert table["encounter"].dropna().to_dict() == {"007/day 1/b.jpg": "day 1"}
    assert set(table["species"]) == {"lion"} and set(table["source"]) == {"herd"}
    assert table.loc["007/day 1/b.jpg", ["x", "y", "w", "h"]].tolist() == [0, 0, 20, 50]


def test_the_table_goes_through_the_rest_of_chapter_1(herd):
    (herd / "Ann" / "notes.txt").write_text("seen at the river")
    (herd / "Ann" / "broken.jpg").write_bytes(b"\xff\xd8")
    table = annotations.fill_encounters(
        annotations.set_identity(folders.read(herd, species="lion"))
    )
    kept, dropped = annotations.clean(table, herd, min_side_px=8)
    assert dropped["reason"].value_counts().to_dict() == {
        "no individual": 2,
        "photo unreadable": 2,
    }
    assert images.crops(kept, herd, size_px=16).shape == (3, 16, 16, 3)


def test_the_box_follows_the_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "Ann" / "a.jpg", exif=exif)
    row = folders.read(tmp_path, species="lion").iloc[0]
    assert (row["w"], row["h"]) == (30, 40) == images.load(tmp_path / "Ann/a.jpg").shape[1::-1]


def test_hidden_files_are_passed_over(herd):
    for name in (".DS_Store", "._a.jpg", ".git/a.jpg", "Ann/.a.jpg"):
        photo(herd / name)
    assert len(folders.read(herd, species="lion")) == 5


def test_links_inside_are_followed_and_links_that_leave_are_refused(herd, tmp_path):
    (herd / "Ann" / "same.jpg").symlink_to(herd / "007" / "a.jpg")
    assert len(folders.read(herd, species="lion")) == 6
    outside = photo(tmp_path / "secret" / "a.jpg")
    for name, target in (("Ann/out.jpg", outside), ("Bob", outside.parent), ("up", "..")):
        (herd / name).symlink_to(target)
        refused(herd, repr(name), "leads out")
        (herd / name).unlink()
    (tmp_path / "herd2").mkdir()  # the name of a neighbour starts alike
    (herd / "Bob").symlink_to(tmp_path / "herd2")
    refused(herd, "leads out")


def test_a_loop_of_links_ends(herd):
    (herd / "Ann" / "self").symlink_to(herd / "Ann")
    refused(herd, "deeper than individual/encounter/photo")
    (herd / "Ann" / "self").unlink()
    (herd / "Ann" / "self.jpg").symlink_to("self.jpg")
    table = folders.read(herd, species="lion")
    dropped = annotations.clean(table, herd, min_side_px=1)[1].set_index("annotation_id")
    assert dropped.loc["Ann/self.jpg", "reason"] == "photo missing"


def test_a_pipe_is_no_photo_and_stops_nothing(herd):
    os.mkfifo(herd / "Ann" / "pipe.jpg")
    assert len(folders.read(herd, species="lion")) == 6


def test_what_is_nested_deeper_is_refused(herd):
    photo(herd / "Ann" / "day 1" / "morning" / "a.jpg")
    refused(herd, "'Ann/day 1/morning'", "deeper")


@pytest.mark.parametrize("name", ["a|b", "a\nb", "\x1b[2J", os.fsdecode(b"\xff")])
def test_names_that_the_table_cannot_hold_are_refused(herd, name):
    photo(herd / name / "a.jpg")
    refused(herd, "herd")


def test_empty_missing_and_nameless(tmp_path):
    refused(tmp_path / "gone", "no such folder")
    refused(tmp_path, "no <individual>/<photo> in it")
    photo(tmp_path / "Ann" / "a.jpg")
    with pytest.raises(AnnotationError, match="species"):
        folders.read(tmp_path, species="")


def test_the_photo_of_a_link_to_the_folder_itself(herd, tmp_path):
    (tmp_path / "link").symlink_to(herd)
    assert len(folders.read(tmp_path / "link", species="lion")) == 5


NAMES = st.text(st.characters(exclude_characters="/\0|\\.", exclude_categories=["C"]), min_size=1)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(NAMES.filter(lambda s: len(s.encode()) < 100), min_size=1, max_size=4))
def test_names_of_any_script_arrive_as_they_are(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("any")
    for name in names:
        photo(folder / name / "a.jpg")
    table = folders.read(folder, species="lion")
    known = {name.strip() for name in names} - {""}
    known = {name for name in known if not coco._NOTHING.fullmatch(name)}
    assert set(table["individual"].dropna()) == known and len(table) == len(set(names))


def test_any_layout_is_recognised(herd, tmp_path):
    assert folders.read_any(herd, species="lion").equals(folders.read(herd, species="lion"))
    with pytest.raises(AnnotationError, match="name it"):
        folders.read_any(herd)
    own = coco_file(tmp_path / "own")
    assert folders.read_any(own).equals(coco.read(own / "annotations.json"))
    assert set(folders.read_any(own.parent)["source"]) == {"own"}
    (own / "annotations.csv").write_text("x,y,w,h,species,file_name\n0,0,9,9,lion,a.jpg\n")
    with pytest.raises(AnnotationError, match="Leave one"):
        folders.read_any(own)
    (own / "annotations.json").unlink()
    assert folders.read_any(own)["image_path"].tolist() == ["a.jpg"]


def coco_file(folder: Path) -> Path:
    photo(folder / "a.jpg")
    entry = {"id": 1, "image_id": 1, "bbox": [0, 0, 9, 9], "species": "lion"}
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [entry]}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def test_the_header_alone_gives_the_box_that_decoding_gives(tmp_path):
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate(rng.integers(1, 99, (9, 2)).tolist()):
        exif = Image.Exif()
        exif[0x0112] = i
        path = photo(tmp_path / f"{i}.jpg", width, height, exif=exif)
        assert folders.whole_photo(path) == [0, 0, *images.load(path).shape[1::-1]]
    assert folders.whole_photo(tmp_path / "gone.jpg") == folders.UNREADABLE
