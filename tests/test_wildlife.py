"""Data frames of wildlife-datasets become annotation tables; its classes read folders made here."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from miewid_lib import annotations
from miewid_lib.errors import AnnotationError
from miewid_lib.paths import ROOT
from miewid_lib.sources import wildlife
from miewid_lib.sources.known import KNOWN


def photo(path: Path, size: tuple[int, int] = (60, 40), **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "brown").save(path, **options)


def frame(*rows: dict) -> pd.DataFrame:
    base = {"image_id": 0, "identity": "Kaka", "path": "a.jpg"}
    return pd.DataFrame([base | {"image_id": i} | row for i, row in enumerate(rows)])


def convert(root: Path, table: pd.DataFrame, name: str = "CTai", **keywords) -> pd.DataFrame:
    return annotations.check(wildlife.convert(table, name, root, **keywords))


def test_every_field_arrives(tmp_path):
    row = {
        "image_id": 7,
        "identity": "z01",
        "path": "data/a.jpg",
        "bbox": [1, 2.5, 30, 20],
        "orientation": "Left",
        "date": "2011-01-18 07:10:05",
        "segmentation": [0, 0, 1, 1],
        "photo_quality": 3,
    }
    table = convert(tmp_path, pd.DataFrame([row]), "StripeSpotter")
    assert list(table.columns) == list(annotations.COLUMNS)
    assert table.iloc[0].dropna().to_dict() == {
        "annotation_id": "7",
        "image_path": "data/a.jpg",
        "x": 1.0,
        "y": 2.5,
        "w": 30.0,
        "h": 20.0,
        "theta_rad": 0.0,
        "species": "zebra",
        "individual": "z01",
        "viewpoint": "left",
        "encounter": "2011-01-18",
        "source": "StripeSpotter",
        "date": "2011-01-18 07:10:05",
    }


@pytest.mark.parametrize("nothing", [None, np.nan, pd.NaT, pd.NA, "unknown"], ids=repr)
def test_nothing_has_many_forms_and_becomes_null(tmp_path, nothing):
    table = frame({"identity": nothing, "orientation": nothing, "date": nothing, "bbox": None}, {})
    got = convert(tmp_path, table, "StripeSpotter").iloc[0]
    assert got[["individual", "viewpoint", "encounter", "date", "identity"]].isna().all()


def test_numbers_as_names_stay_whole(tmp_path):
    whole = convert(tmp_path, frame({"identity": 12}, {"identity": 7}))
    mixed = convert(tmp_path, frame({"identity": 12.0}, {"identity": np.nan}))
    typed = convert(tmp_path, frame({}).assign(identity=pd.array([12], "Int64")))
    assert [t["individual"].iloc[0] for t in (whole, mixed, typed)] == ["12"] * 3
    assert whole["annotation_id"].tolist() == ["0", "1"]


@pytest.mark.parametrize(
    "box", [[1, 2, 3, 4], (1, 2, 3, 4), np.array([1.0, 2, 3, 4]), "[1, 2, 3, 4]"], ids=repr
)
def test_a_box_has_many_forms(tmp_path, box):
    got = convert(tmp_path, frame({"bbox": box}))
    assert got[["x", "y", "w", "h"]].to_numpy().tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("box", ["1 2 3 4", "[1]", [1, 2, 3], 5, [1, 2, 3, np.nan], ["a"] * 4])
def test_a_box_that_is_none_names_set_row_and_value(tmp_path, box):
    with pytest.raises(AnnotationError, match=r"^CTai: row 1 \(image_id 1\).*bbox must be"):
        convert(tmp_path, frame({"bbox": [1, 2, 3, 4]}, {"bbox": box}))


def test_without_a_box_the_whole_photo_is_meant_as_it_is_shown(tmp_path):
    photo(tmp_path / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "broken.jpg").write_bytes(b"text")
    names = ["a.jpg", "turned.jpg", "broken.jpg", "gone.jpg"]
    table = convert(tmp_path, frame(*({"path": name} for name in names)))
    assert table[["x", "y", "w", "h"]].to_numpy()[:2].tolist() == [[0, 0, 60, 40], [0, 0, 40, 60]]
    usable, dropped = annotations.clean(table, tmp_path, min_side_px=8)
    assert list(usable["image_path"]) == names[:2]
    assert list(dropped["reason"]) == ["photo unreadable", "photo missing"]


def test_paths_lose_a_leading_dot_and_may_not_leave_the_folder(tmp_path):
    folder = tmp_path / "root"
    photo(tmp_path / "private.jpg")
    photo(folder / "a.jpg")
    (folder / "out.jpg").symlink_to(tmp_path / "private.jpg")
    assert convert(folder, frame({"path": "./a.jpg"}))["image_path"].tolist() == ["a.jpg"]
    for path in ("../private.jpg", str(tmp_path / "private.jpg"), "out.jpg"):
        with pytest.raises(AnnotationError, match=r"CTai: row 0.*not inside the folder of photos"):
            convert(folder, frame({"path": path}))
    with pytest.raises(AnnotationError, match="path must be text"):
        convert(folder, frame({"path": 3}))


def test_species_is_the_known_one_else_the_column_else_the_only_animal(tmp_path):
    rows = frame({"species": "plains zebra"}, {"species": None})
    assert set(convert(tmp_path, rows)["species"]) == {"chimpanzee"}
    other = convert(tmp_path, rows, "Other", species="zebra")
    assert other["species"].tolist() == ["plains zebra", "zebra"]
    assert convert(tmp_path, frame({}), "Other", species="zebra")["species"].tolist() == ["zebra"]
    with pytest.raises(AnnotationError, match="which species"):
        convert(tmp_path, frame({}), "Other")
    with pytest.raises(AnnotationError, match=r"Other: row 1.*species"):
        convert(tmp_path, rows, "Other")


def test_sightings_and_sides_of_file_names(tmp_path):
    folder = "wildlife_reidentification-main/Nyala_Data_Zero/train/188/"
    names = ["14_leftphoto.jpg", "809_leftphoto(1).jpg", "odd.jpg"]
    table = convert(tmp_path, frame(*({"path": folder + name} for name in names)), "NyalaData")
    assert table["encounter"].isna().tolist() == [False, False, True]
    assert table["encounter"].tolist()[:2] == ["14", "809"]
    names = ["Kaka_Right_ear.png", "Kaka_Left.png", "Kaka_Whiskers.png", "Leftie_Nose.png"]
    lions = convert(tmp_path, frame(*({"path": f"x/{name}"} for name in names)), "LionData")
    assert lions["viewpoint"].fillna("-").tolist() == ["right", "left", "-", "-"]


def test_dates_of_every_kind_name_the_day_as_sighting(tmp_path):
    dates = ["2020-05-01", pd.Timestamp("2020-05-01 10:30"), "2020-05-01T10:30", "May 2020"]
    table = convert(tmp_path, frame(*({"date": date} for date in dates)), "BelugaID")
    assert table["encounter"].tolist() == ["2020-05-01"] * 3 + ["May 2020"]
    assert table["date"].tolist()[1] == "2020-05-01 10:30:00"


def test_seen_from_the_top_is_up(tmp_path):
    rows = frame({"orientation": "Top"}, {"orientation": "topleft"})
    assert convert(tmp_path, rows, "ZindiTurtleRecall")["viewpoint"].tolist() == ["up", "topleft"]


def test_a_frame_without_its_columns_and_a_repeated_id_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="CTai: its frame has no column identity"):
        convert(tmp_path, frame({}).drop(columns="identity"))
    with pytest.raises(AnnotationError, match="unique"):
        convert(tmp_path, frame({"image_id": 1}, {"image_id": 1}))
    assert len(convert(tmp_path, frame({})[:0])) == 0


def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wildlife_datasets", None)
    with pytest.raises(AnnotationError, match="pip install 'wildlife-datasets") as caught:
        wildlife.read("NyalaData", tmp_path)
    assert "\n" not in str(caught.value)


def test_the_extra_is_the_release_that_the_message_names():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'wildlife = ["{wildlife.EXTRA}"]' in text


def test_known_sets_are_plainly_described():
    assert {"LionData", "NyalaData", "OpenCows2020", "IPanda50", "ATRW"} <= KNOWN.keys()
    for name, known in KNOWN.items():
        assert known.species == known.species.lower() and known.citation, name
        for how in (known.viewpoint, known.encounter):
            assert how is None or how in ("orientation", "date") or how.startswith("path:"), name


def datasets():
    return pytest.importorskip(
        "wildlife_datasets.datasets", reason=f"needs the optional package {wildlife.EXTRA}"
    )


def test_licences_and_sizes_are_those_the_package_states():
    classes = datasets()
    for name, known in KNOWN.items():
        summary = getattr(classes, name).summary
        licence = (summary["licenses"] or "").replace("\N{EN DASH}", "-") or None
        assert (known.licence, known.download_mb) == (licence, summary["size"]), name


def test_nyala_lion_and_cattle_folders_are_read(tmp_path):
    datasets()
    upstream = tmp_path / "wildlife_reidentification-main"
    for name in ("train/12/14_leftphoto.jpg", "train/12/15_rightphoto.jpg", "test/3/9_photo.jpg"):
        photo(upstream / "Nyala_Data_Zero" / name)
    nyala = wildlife.read("NyalaData", tmp_path).sort_values("image_path", ignore_index=True)
    assert nyala["individual"].tolist() == ["3", "12", "12"]
    assert nyala["viewpoint"].fillna("-").tolist() == ["-", "left", "right"]
    assert nyala["encounter"].tolist() == ["9", "14", "15"]
    assert nyala["image_path"][1].endswith("main/Nyala_Data_Zero/train/12/14_leftphoto.jpg")
    assert set(nyala["species"]) == {"nyala"} and set(nyala["source"]) == {"NyalaData"}
    assert len(annotations.clean(nyala, tmp_path, min_side_px=8)[0]) == 3

    for name in ("Kaka/Kaka_Left_Ear.png", "Naibor/Naibor_Portrait.png"):
        photo(tmp_path / "lions" / "wildlife_reidentification-main/Lion_Data_Zero/train" / name)
    lions = wildlife.read("LionData", tmp_path / "lions").sort_values("individual")
    assert lions["individual"].tolist() == ["Kaka", "Naibor"]
    assert lions["viewpoint"].fillna("-").tolist() == ["left", "-"]

    herd = tmp_path / "cows" / "10m32xl88x2b61zlkkgz3fml17"
    photo(herd / "identification/images/train/007/a.jpg", (80, 30))
    photo(herd / "identification/images/test/007/a.jpg")
    photo(herd / "detection_and_localisation/images/b.jpg")
    cows = wildlife.read("OpenCows2020", tmp_path / "cows")
    assert cows["individual"].tolist() == ["007", "007"]
    assert sorted(cows["w"]) == [60, 80] and cows["viewpoint"].isna().all()


def test_coco_folders_with_boxes_and_dates_are_read(tmp_path):
    datasets()
    folder = tmp_path / "beluga/beluga.coco"
    photo(folder / "images/train2022/a.jpg")
    outline = [5, 6, 35, 6, 35, 26, 5, 26]
    animal = {"id": 1, "image_id": 4, "category_id": 1, "segmentation": [outline]}
    content = {
        "images": [{"id": 4, "file_name": "a.jpg", "date_captured": "2019-07-01 10:00:00"}],
        "annotations": [
            animal | {"name": "whale 1", "viewpoint": "up"},
            animal | {"id": 2, "name": "____", "viewpoint": None},
        ],
        "categories": [{"id": 1, "name": "beluga_whale", "supercategory": "animal"}],
    }
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train2022.json").write_text(json.dumps(content))
    table = wildlife.read("BelugaID", tmp_path)
    assert table["individual"].fillna("-").tolist() == ["whale 1", "-"]
    assert table[["x", "y", "w", "h"]].to_numpy()[0].tolist() == [5, 6, 30, 20]
    assert table["viewpoint"].fillna("-").tolist() == ["up", "-"]
    assert table["encounter"].tolist() == ["2019-07-01"] * 2
    assert set(table["species"]) == {"beluga whale"}


@pytest.mark.parametrize("name", ["NyalaData", "OpenCows2020", "CTai", "SeaTurtleID2022"])
def test_a_folder_of_another_layout_is_one_line(tmp_path, name):
    datasets()
    photo(tmp_path / "somewhere" / "a.jpg")
    with pytest.raises(AnnotationError, match=f"not laid out as {name} expects") as caught:
        wildlife.read(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_names_and_folders_are_one_line(tmp_path):
    datasets()
    with pytest.raises(AnnotationError, match="did you mean NyalaData"):
        wildlife.read("NyalaDate", tmp_path)
    for name in ("utils", "os", "DatasetFactory2"):
        with pytest.raises(AnnotationError, match="not a data set"):
            wildlife.read(name, tmp_path)
    with pytest.raises(AnnotationError, match="no such folder for NyalaData"):
        wildlife.read("NyalaData", tmp_path / "absent")


def test_a_large_download_is_refused_with_size_and_licence(tmp_path, monkeypatch):
    fetched = []

    class Small:
        @classmethod
        def get_data(cls, root):
            fetched.append(root)
            if len(fetched) > 1:
                raise OSError("no route\nto host")

    monkeypatch.setattr(wildlife, "_class", lambda name: Small)
    with pytest.raises(AnnotationError, match="ATRW: 1760 MB, Attribution-NonCommercial"):
        wildlife.download("ATRW", tmp_path)
    with pytest.raises(AnnotationError, match="Giraffes: 1719 MB, no licence stated"):
        wildlife.download("Giraffes", tmp_path)
    with pytest.raises(AnnotationError, match="Elsewhere: unknown size"):
        wildlife.download("Elsewhere", tmp_path, up_to_mb=10**5)
    assert not fetched
    wildlife.download("MacaqueFaces", tmp_path)
    assert fetched == [str(tmp_path)]
    with pytest.raises(AnnotationError, match=r"failed \(OSError: no route\)"):
        wildlife.download("ATRW", tmp_path, up_to_mb=1760)
