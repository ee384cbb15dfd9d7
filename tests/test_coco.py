"""Wildbook and COCO JSON, the documented CSV and folders of them, hostile files included."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miewid_lib import annotations
from miewid_lib.errors import AnnotationError
from miewid_lib.sources import coco

IMAGE = {"id": 1, "file_name": "images/1.jpg", "date_captured": "2024-05-01"}
ENTRY = {
    "id": 7,
    "image_id": 1,
    "bbox": [1, 2.5, 30, 20],
    "theta": 0.3,
    "species": "lion",
    "individual_id": "007",
    "viewpoint": "left",
    "encounter_id": "day 1",
}


def save(folder: Path, content, name: str = "annotations.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def file_of(folder: Path, *entries: dict, image: dict | None = None) -> Path:
    """A JSON file of one image whose entries are ENTRY with some keys changed."""
    full = [ENTRY | {"id": i} | entry for i, entry in enumerate(entries)]
    return save(folder, {"images": [IMAGE | (image or {})], "annotations": full})


def test_every_field_arrives(tmp_path):
    table = coco.read(save(tmp_path / "herd", {"images": [IMAGE], "annotations": [ENTRY]}))
    assert list(table.columns) == list(annotations.COLUMNS)
    assert table.iloc[0].dropna().to_dict() == {
        "annotation_id": "7",
        "image_path": "images/1.jpg",
        "x": 1.0,
        "y": 2.5,
        "w": 30.0,
        "h": 20.0,
        "theta_rad": 0.3,
        "species": "lion",
        "individual": "007",
        "viewpoint": "left",
        "encounter": "day 1",
        "source": "herd",
        "date": "2024-05-01",
    }


def test_images_join_by_uuid_before_id(tmp_path):
    images = [
        {"id": 1, "uuid": "u1", "file_name": "one.jpg"},
        {"id": 2, "uuid": "u2", "file_name": "two.jpg"},
    ]
    entries = [
        ENTRY | {"id": 1, "image_uuid": "u2", "image_id": 1},
        ENTRY | {"id": 2, "image_uuid": None, "image_id": 1},
        ENTRY | {"id": 3, "image_id": 2},
    ]
    table = coco.read(save(tmp_path, {"images": images, "annotations": entries}))
    assert list(table["image_path"]) == ["two.jpg", "one.jpg", "two.jpg"]


def test_an_image_uuid_joins_by_id_where_images_have_no_uuid(tmp_path):
    table = coco.read(file_of(tmp_path, {"image_uuid": "u9"}))
    assert list(table["image_path"]) == ["images/1.jpg"]


def test_wildbook_names(tmp_path):
    entry = {k: v for k, v in ENTRY.items() if k not in ("id", "individual_id", "encounter_id")}
    entry |= {"uuid": "abc", "name": 1030.0, "individual_uuid": None, "encounter_uuid": "e1"}
    table = coco.read(save(tmp_path, {"images": [IMAGE], "annotations": [entry]}))
    row = table.iloc[0]
    assert (row.annotation_id, row.individual, row.encounter) == ("abc", "1030", "e1")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"encounter_id": "e", "burst_id": "b", "segment_id": "s"}, "e"),
        ({"encounter_id": None, "burst_id": "b", "segment_id": "s"}, "b"),
        ({"encounter_id": "", "burst_id": None, "segment_id": 3}, "3"),
        ({"encounter_id": None}, None),
    ],
)
def test_encounter_else_burst_else_segment(tmp_path, keys, expected):
    encounter = coco.read(file_of(tmp_path, keys))["encounter"][0]
    assert encounter == expected or (expected is None and pd.isna(encounter))


@pytest.mark.parametrize(
    "name", [None, float("nan"), "", " ", "nan", "NaN", "None", "NULL", "unknown", "____", "<NA>"]
)
def test_d12_a_missing_name_is_null_and_never_a_shared_individual(tmp_path, name):
    table = coco.read(file_of(tmp_path, {"individual_id": name}, {"individual_id": "007"}))
    assert table["individual"].isna().tolist() == [True, False]


def test_species_else_category_and_theta_else_zero(tmp_path):
    entry = {k: v for k, v in ENTRY.items() if k not in ("species", "theta")}
    content = {"images": [IMAGE], "categories": [{"id": 3, "name": "nyala"}]}
    entries = [entry | {"category_id": 3, "id": 1}]
    entries += [entry | {"category_id": 3, "species": "kudu", "theta": None, "id": 2}]
    table = coco.read(save(tmp_path, content | {"annotations": entries}))
    assert list(table["species"]) == ["nyala", "kudu"]
    assert list(table["theta_rad"]) == [0.0, 0.0]


def test_quality_is_a_column_only_where_given(tmp_path):
    table = coco.read(file_of(tmp_path, {"quality": 0.5}, {"quality": None}))
    assert table["quality"].isna().tolist() == [False, True]
    assert "quality" not in coco.read(file_of(tmp_path, {}))


def test_image_root_is_where_file_names_start(tmp_path):
    path = file_of(tmp_path / "tables", {})
    assert coco.read(path, image_root=tmp_path / "photos")["image_path"][0] == "images/1.jpg"


def test_names_are_made_plain(tmp_path):
    table = coco.read(file_of(tmp_path, {}, image={"file_name": "./images//a/../1.jpg"}))
    assert table["image_path"][0] == "images/1.jpg"


CSV = """theta,viewpoint,name,file_name,species,file_path,x,y,w,h
0,up,1030,wrong.jpg,beluga,{path},0,0,162,440
0.5,,NA,wrong.jpg,beluga,right/2.jpg,1,2,3.5,4
,up,nan,right.jpg,beluga,,0,0,1,1
"""


@pytest.mark.parametrize("prefix", ["", "{root}/"])
def test_d11_csv_file_path_counts_before_file_name(tmp_path, prefix):
    path = prefix.format(root=tmp_path) + "right/1.jpg"
    table = coco.read(save(tmp_path, CSV.format(path=path), "annotations.csv"))
    assert list(table["image_path"]) == ["right/1.jpg", "right/2.jpg", "right.jpg"]
    assert list(table["annotation_id"]) == ["0", "1", "2"]
    assert list(table["individual"].fillna("-")) == ["1030", "NA", "-"]
    assert list(table["theta_rad"]) == [0, 0.5, 0]
    assert list(table["w"]) == [162, 3.5, 1]


def test_an_absolute_file_path_may_go_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    text = CSV.format(path=f"{tmp_path}/link/right/1.jpg")
    table = coco.read(save(tmp_path / "link", text, "annotations.csv"))
    assert table["image_path"][0] == "right/1.jpg"


def test_csv_of_the_table_itself(tmp_path):
    table = coco.read(file_of(tmp_path, {}, {"individual_id": "NA", "encounter_id": None}))
    annotations.write(table, tmp_path / "annotations.csv")
    pd.testing.assert_frame_equal(coco.read(tmp_path / "annotations.csv"), table)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header"),
        ("x,y,w\n1,2,3\n", "column h"),
        ("x,y,w,h\n1,2,3,4\n", "column species"),
        ("x,y,w,h,species,x\n1,2,3,4,a,1\n", "column x"),
        ("x,y,w,h,species,file_name\n1,2,3\n", "row 0"),
        ("x,y,w,h,species,file_name\n1,2,3,4,a,b,c\n", "row 0"),
        ("x,y,w,h,species,file_name\n1,2,3,wide,a,b.jpg\n", "wide"),
        ("x,y,w,h,species,file_name\n1,2,3,,a,b.jpg\n", "bbox"),
        ("x,y,w,h,species,file_name\n1,2,3,inf,a,b.jpg\n", "inf"),
        ("x,y,w,h,species,file_name\n1,2,3,4,,b.jpg\n", "species"),
        ("x,y,w,h,species\n1,2,3,4,a\n", "file_name"),
        ("x,y,w,h,species,file_name\n1,2,3,4,a,/etc/passwd\n", "inside"),
        ("x,y,w,h,species,file_name\n1,2,3,4,a,{root}/1.jpg\n", "inside"),
        ("x,y,w,h,species,file_name\n1,2,3,4,a,../{name}/1.jpg\n", "inside"),
        ("x,y,w,h,species,file_path\n1,2,3,4,a,/etc/passwd\n", "inside"),
        ('x,y,w,h,species,file_name\n1,2,3,4,"a,b\n', "CSV"),
        ("id,x,y,w,h,species,file_name\n1,1,2,3,4,a,b\n1,1,2,3,4,a,b\n", "annotation_id"),
        ("x,y,w,h,species,file_name,quality\n1,2,3,4,a,b.jpg,good\n", "quality"),
    ],
)
def test_csv_errors_are_one_line(tmp_path, text, words):
    text = text.format(root=tmp_path, name=tmp_path.name)
    path = save(tmp_path, text, "annotations.csv")
    with pytest.raises(AnnotationError, match=words) as caught:
        coco.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


HOSTILE = {
    "not JSON": "{",
    "empty": "",
    "binary": "\x00\x01",
    "too deep": "[" * 100_000,
    "a list": [],
    "no images": {"annotations": []},
    "no annotations": {"images": []},
    "images no list": {"images": {}, "annotations": []},
    "image no object": {"images": [1], "annotations": []},
    "annotation no object": {"images": [IMAGE], "annotations": [None]},
    "image id a list": {"images": [IMAGE | {"id": [1]}], "annotations": []},
    "image id true": {"images": [IMAGE | {"id": True}], "annotations": []},
    "image twice": {"images": [IMAGE, IMAGE], "annotations": []},
    "categories no list": {"images": [], "annotations": [], "categories": 3},
    "huge number": '{"images": [], "annotations": [' + "1" * 5000 + "]}",
}
HOSTILE |= {
    str(change): {"images": [IMAGE], "annotations": [ENTRY | change]}
    for change in (
        {"image_id": 99},
        {"image_id": None},
        {"image_id": [1]},
        {"image_id": {"a": 1}},
        {"id": None},
        {"id": [7]},
        {"bbox": None},
        {"bbox": "1 2 3 4"},
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, 4, 5]},
        {"bbox": [1, 2, 3, "4"]},
        {"bbox": [1, 2, 3, True]},
        {"bbox": [1, 2, 3, None]},
        {"bbox": [1, 2, 3, float("nan")]},
        {"bbox": [1, 2, 3, float("inf")]},
        {"bbox": [1, 2, 3, 10**400]},
        {"bbox": [1, 2, 3, 1e300]},
        {"bbox": [1, 2, 3, [4]]},
        {"theta": "left"},
        {"theta": float("inf")},
        {"species": None},
        {"species": "____"},
        {"species": ["lion"]},
        {"species": "a|b"},
        {"individual_id": ["a"]},
        {"individual_id": True},
        {"individual_id": 1.5},
        {"individual_id": "a\nb"},
        {"individual_id": "\ud800"},
        {"viewpoint": {}},
        {"encounter_id": [1]},
        {"quality": "good"},
        {"quality": 2},
    )
}
HOSTILE |= {
    f"file {name!r:.30}": {"images": [IMAGE | {"file_name": name}], "annotations": [ENTRY]}
    for name in (
        None, 3.5, [], "", "/etc/passwd", "../1.jpg", "images/../../1.jpg", "..", ".", "a\0b",
        "a\\b.jpg", "\ud800.jpg",
    )
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_one_line_naming_the_file(tmp_path, content):
    path = save(tmp_path, content)
    with pytest.raises(AnnotationError) as caught:
        coco.read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < len(str(path)) + 300


def test_errors_name_the_entry(tmp_path):
    path = file_of(tmp_path, {}, {"id": "cow 7", "bbox": [1, 2, 3, "4"]})
    with pytest.raises(AnnotationError, match=r"annotation 1 \(id 'cow 7'\): bbox"):
        coco.read(path)


def test_the_same_id_twice_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="annotation_id, row 1: '5'"):
        coco.read(file_of(tmp_path, {"id": 5}, {"id": "5"}))


def test_other_endings_and_missing_files_are_refused(tmp_path):
    for name in ("annotations.txt", "gone.json", "gone.csv"):
        with pytest.raises(AnnotationError, match=name):
            coco.read(tmp_path / name)


def test_links_may_not_lead_out_of_the_folder_of_photos(tmp_path):
    home, outside = tmp_path / "herd", tmp_path / "outside"
    outside.mkdir()
    (outside / "1.jpg").write_bytes(b"secret")
    home.mkdir()
    (home / "folder").symlink_to(outside, target_is_directory=True)
    (home / "file.jpg").symlink_to(outside / "1.jpg")
    (home / "2.jpg").write_bytes(b"own")
    (home / "own.jpg").symlink_to(home / "2.jpg")
    for name in ("folder/1.jpg", "file.jpg"):
        with pytest.raises(AnnotationError, match="inside"):
            coco.read(file_of(home, {}, image={"file_name": name}))
    assert coco.read(file_of(home, {}, image={"file_name": "own.jpg"}))["image_path"][0]


def test_the_folder_of_photos_may_be_a_link(tmp_path):
    file_of(tmp_path / "real" / "lion", {})
    (tmp_path / "photos").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lion").symlink_to(tmp_path / "real" / "lion", target_is_directory=True)
    for folder in ("photos", "other"):
        table = coco.read_folder(tmp_path / folder)
        assert list(table["image_path"]) == ["lion/images/1.jpg"]
        assert list(table["source"]) == ["lion"]


def test_a_folder_of_sources_is_merged_in_order(tmp_path):
    file_of(tmp_path / "b_face", {}, {})
    save(tmp_path / "a_top", CSV.format(path="1.jpg"), "annotations.csv")
    save(tmp_path / "c", {"images": [IMAGE], "annotations": [ENTRY]}, "annotations_1.json")
    save(
        tmp_path / "c",
        {"images": [IMAGE], "annotations": [ENTRY | {"id": 8}]},
        "annotations_2.json",
    )
    save(tmp_path / ".hidden", "{")
    save(tmp_path / "c", "{", "other.json")
    table = coco.read_folder(tmp_path, rename_species={"b_face": "lion face"})
    assert list(table["source"]) == ["a_top"] * 3 + ["b_face"] * 2 + ["c"] * 2
    assert list(table["annotation_id"][3:]) == ["b_face:0", "b_face:1", "c:7", "c:8"]
    assert list(table["image_path"][3:5]) == ["b_face/images/1.jpg"] * 2
    assert list(table["species"]) == ["beluga"] * 3 + ["lion face"] * 2 + ["lion"] * 2
    annotations.check(table)


def test_the_same_id_in_two_files_of_a_source_is_refused(tmp_path):
    for name in ("annotations.json", "annotations_old.json"):
        save(tmp_path / "c", {"images": [IMAGE], "annotations": [ENTRY]}, name)
    with pytest.raises(AnnotationError, match="c:7"):
        coco.read_folder(tmp_path)


def test_a_folder_without_annotations_says_what_was_looked_for(tmp_path):
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(AnnotationError, match=r"annotations\*\.json"):
            coco.read_folder(folder)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=150)
@given(place=st.sampled_from(["top", "images", "annotations"]), data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_one_line(place, data, tmp_path_factory):
    content = {"images": [dict(IMAGE)], "annotations": [dict(ENTRY)], "categories": []}
    where = content if place == "top" else content[place][0]
    where[data.draw(st.sampled_from(sorted(where)))] = data.draw(ODD)
    path = save(tmp_path_factory.mktemp("odd"), content)
    try:
        annotations.check(coco.read(path))
    except AnnotationError as error:
        assert "\n" not in str(error)


REAL = os.environ.get("MIEWID_REALDATA")


@pytest.mark.skipif(not REAL, reason="MIEWID_REALDATA does not name a folder of real photos")
def test_real_data_have_their_published_counts():
    table = coco.read_folder(Path(REAL))
    expected = {  # annotations, photos, individuals
        "cattle_face": (2356, 2356, 82),
        "cattle_topdown": (1322, 1322, 46),
        "koi": (326, 108, 9),
        "lion": (740, 740, 94),
        "nyala": (1934, 1934, 237),
    }
    columns = table.groupby("source")[["annotation_id", "image_path", "individual"]].nunique()
    assert {name: tuple(row) for name, row in columns.T.items()} == expected
    tops = table[table["source"] == "cattle_topdown"]
    assert tops["encounter"].str.contains("_b").all()  # bursts stand in for encounters
    assert table[table["source"] == "lion"]["encounter"].isna().all()
