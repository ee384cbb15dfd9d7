"""The annotation table: what is refused, what is dropped and why, and its CSV."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miewid_lib import annotations, images
from miewid_lib.errors import AnnotationError

NULL = None


def make(n: int = 2, **columns) -> pd.DataFrame:
    """A table that keeps the schema, n rows; columns given by name replace its own."""
    plain = {
        "annotation_id": [f"a{i}" for i in range(n)],
        "image_path": [f"images/{i}.png" for i in range(n)],
        "x": [0.0] * n,
        "y": [0.0] * n,
        "w": [40.0] * n,
        "h": [30.0] * n,
        "theta_rad": [0.0] * n,
        "species": ["zebra"] * n,
        "individual": [f"name {i}" for i in range(n)],
        "viewpoint": ["left"] * n,
        "encounter": [NULL] * n,
        "identity": [NULL] * n,
        "source": ["herd"] * n,
        "date": [NULL] * n,
    } | columns
    numbers = (*annotations.FLOATS,)
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype="float64" if name in numbers else "str")
            for name, values in plain.items()
        }
    )


def put(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """The table with one value of any type in row 1."""
    values = table[column].astype(object)
    values.iloc[1] = value
    if isinstance(value, float) and column in annotations.FLOATS:
        values = values.astype(float)
    return table.assign(**{column: values})


def test_columns_are_those_others_rely_on():
    names = "annotation_id,image_path,x,y,w,h,theta_rad,species,individual,viewpoint,encounter"
    assert ",".join(annotations.COLUMNS) == names + ",identity,source,date"
    assert all(annotations.COLUMNS.values())


def test_check_returns_the_table_itself():
    table = make()
    before = table.copy()
    assert annotations.check(table) is table
    pd.testing.assert_frame_equal(table, before)


def test_check_allows_what_cleaning_is_for():
    annotations.check(make(individual=[NULL, "a"], w=[-1.0, 0.0], quality=[np.nan, 1.0]))
    annotations.check(make(0))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("annotation_id", "a0"),
        ("annotation_id", NULL),
        ("annotation_id", 7),
        ("image_path", NULL),
        ("image_path", "/etc/passwd"),
        ("image_path", "../secret.png"),
        ("image_path", "images/../../secret.png"),
        ("image_path", "images/../1.png"),
        ("image_path", "./1.png"),
        ("image_path", "images//1.png"),
        ("image_path", "."),
        ("image_path", "images\\1.png"),
        ("image_path", "images/\0.png"),
        ("x", np.nan),
        ("y", np.inf),
        ("w", "40"),
        ("h", True),
        ("h", NULL),
        ("theta_rad", np.nan),
        ("species", NULL),
        ("species", ""),
        ("species", "nan"),
        ("species", "a|b"),
        ("species", "ze\nbra"),
        ("individual", "nan"),
        ("individual", "None"),
        ("individual", "NULL"),
        ("individual", " <NA> "),
        ("individual", ""),
        ("individual", 7),
        ("individual", 7.5),
        ("individual", "a|left"),
        ("individual", "\ud800"),
        ("viewpoint", "none"),
        ("encounter", "null"),
        ("identity", "nan"),
        ("source", NULL),
        ("date", 20240101),
    ],
)
def test_check_names_column_row_and_value(column, value):
    with pytest.raises(AnnotationError) as caught:
        annotations.check(put(make(), column, value))
    message = str(caught.value)
    assert column in message and "\n" not in message
    if value is not NULL:
        assert "row 1" in message and (str(value) in message or repr(value)[1:-1] in message)


def test_check_names_a_missing_and_a_repeated_column():
    with pytest.raises(AnnotationError, match="column viewpoint"):
        annotations.check(make().drop(columns="viewpoint"))
    twice = pd.concat([make(), make()[["x"]]], axis=1)
    with pytest.raises(AnnotationError, match="column x "):
        annotations.check(twice)


@pytest.mark.parametrize("quality", [-0.1, 1.1, np.inf])
def test_check_refuses_a_quality_outside_its_range(quality):
    with pytest.raises(AnnotationError, match="quality, row 0"):
        annotations.check(make(quality=[quality, 0.5]))


def test_check_refuses_an_identity_without_individual():
    with pytest.raises(AnnotationError, match="identity, row 1"):
        annotations.check(make(individual=["a", NULL], identity=["zebra|a", "zebra|b"]))


def test_d8_the_same_name_in_two_species_is_two_identities():
    table = annotations.set_identity(make(species=["lion", "zebra"], individual=["007", "007"]))
    assert list(table["identity"]) == ["lion|007", "zebra|007"]


def test_sides_are_identities_of_lateral_species_only():
    table = make(
        4,
        species=["zebra", "zebra", "zebra", "dolphin"],
        individual=["a", "a", "a", "a"],
        viewpoint=["left", "right", NULL, "left"],
    )
    got = annotations.set_identity(table, lateral=["zebra"])["identity"]
    assert list(got) == ["zebra|a|left", "zebra|a|right", "zebra|a", "dolphin|a"]
    assert annotations.set_identity(table)["identity"].nunique() == 2
    assert table["identity"].isna().all()  # the argument is left alone


def test_no_individual_gives_no_identity():
    table = annotations.set_identity(make(individual=[NULL, "a"]), lateral=["zebra"])
    assert table["identity"].isna().tolist() == [True, False]


def test_lateral_must_be_a_list():
    with pytest.raises(AnnotationError, match="list"):
        annotations.set_identity(make(), lateral="zebra")


def test_without_any_encounter_each_photo_is_one():
    table = make(3, individual=["a"] * 3, image_path=["1.png", "1.png", "2.png"])
    encounter = annotations.fill_encounters(table)["encounter"]
    assert encounter.notna().all()
    assert encounter[0] == encounter[1] != encounter[2]


def test_encounters_of_two_sources_are_two():
    table = make(individual=["a", "a"], encounter=["day 1", "day 1"], source=["north", "south"])
    assert annotations.fill_encounters(table)["encounter"].nunique() == 2


def test_named_encounters_stay_what_they_are():
    table = make(3, individual=["a"] * 3, encounter=["day 1", "day 1", "day 2"])
    encounter = annotations.fill_encounters(table)["encounter"]
    assert encounter[0] == encounter[1] != encounter[2]


def test_two_boxes_of_one_animal_in_one_photo_share_the_encounter():
    table = make(
        3, individual=["a", "a", "b"], image_path=["1.png"] * 3, encounter=["day 2", "day 1", NULL]
    )
    encounter = annotations.fill_encounters(table)["encounter"]
    assert encounter[0] == encounter[1]
    assert encounter.notna().all()


@pytest.fixture
def photos(tmp_path):
    """Photos of 80 x 60 px: two good ones, one that is no photo, one cut off."""
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    for name in ("good", "turned", "cut"):
        Image.fromarray(noise).save(tmp_path / "images" / f"{name}.png")
    whole = (tmp_path / "images" / "cut.png").read_bytes()
    (tmp_path / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images" / "text.png").write_text("not a photo")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown as 60 x 80
    Image.fromarray(noise).save(tmp_path / "images" / "turned.png", exif=exif)
    return tmp_path


FAULTS = [  # photo, individual, box, theta_rad, quality, reason
    ("good", "a", (0, 0, 80, 60), 0, 1.0, NULL),
    ("good", NULL, (0, 0, 80, 60), 0, 1.0, "no individual"),
    ("gone", "a", (0, 0, 80, 60), 0, 1.0, "photo missing"),
    ("text", "a", (0, 0, 80, 60), 0, 1.0, "photo unreadable"),
    ("cut", "a", (0, 0, 80, 60), 0, 1.0, "photo unreadable"),
    ("good", "a", (5, 5, 0, 30), 0, 1.0, "box empty"),
    ("good", "a", (5, 5, 30, -2), 0, 1.0, "box empty"),
    ("good", "a", (5, 5, 0.9, 30), 0, 1.0, "box empty"),
    ("good", "a", (200, 5, 30, 30), 0, 1.0, "box outside photo"),
    ("good", "a", (-21, 5, 40, 30), 0, 1.0, "box outside photo"),
    ("good", "a", (-20, 5, 40, 30), 0, 1.0, NULL),  # half of it is inside
    ("good", "a", (70, 25, 40, 10), np.pi / 2, 1.0, "box outside photo"),
    ("good", "a", (30, 45, 40, 12), np.pi / 2, 1.0, NULL),
    ("good", "a", (-22, 1, 60, 12), 0, 1.0, NULL),
    ("good", "a", (-22, 1, 60, 12), np.pi / 4, 1.0, NULL),
    ("good", "a", (-22, 1, 60, 12), -np.pi / 4, 1.0, "box outside photo"),  # across the corner
    ("turned", "a", (10, 50, 40, 30), 0, 1.0, NULL),  # inside 60 x 80 only
    ("good", "a", (10, 50, 40, 30), 0, 1.0, "box outside photo"),
    ("good", "a", (5, 5, 9, 30), 0, 1.0, "box too small"),
    ("good", "a", (72, 5, 12, 30), 0, 1.0, "box too small"),  # 8 px of it are in the photo
    ("good", "a", (20, 20, 30, 9), 0.4, 1.0, "box too small"),
    ("good", "a", (5, 5, 30, 30), 0, 0.1, "quality too low"),
    ("good", "a", (5, 5, 30, 30), 0, np.nan, NULL),
]


def faults() -> pd.DataFrame:
    photo, individual, box, theta_rad, quality, _ = zip(*FAULTS, strict=True)
    x, y, w, h = zip(*box, strict=True)
    paths = [f"images/{name}.png" for name in photo]
    return make(
        len(FAULTS), image_path=paths, individual=individual, x=x, y=y, w=w, h=h,
        theta_rad=theta_rad, quality=quality,
    )  # fmt: skip


def test_clean_drops_each_fault_with_its_reason(photos):
    kept, dropped = annotations.clean(faults(), photos, min_side_px=10, min_quality=0.2)
    expected = {f"a{i}": fault[-1] for i, fault in enumerate(FAULTS)}
    got = dict(zip(dropped["annotation_id"], dropped["reason"], strict=True))
    assert got == {k: v for k, v in expected.items() if v is not NULL}
    assert list(kept["annotation_id"]) == [k for k, v in expected.items() if v is NULL]
    assert "reason" not in kept and list(kept.index) == list(range(len(kept)))


def test_what_clean_keeps_can_be_cut_out(photos):
    for min_side_px in (0, 1, 10):
        kept, _ = annotations.clean(faults(), photos, min_side_px=min_side_px)
        assert images.crops(kept, photos, size_px=8).shape == (len(kept), 8, 8, 3)


def test_clean_reads_each_photo_once(photos, monkeypatch):
    seen, load = [], images.load
    monkeypatch.setattr(images, "load", lambda path: seen.append(path) or load(path))
    annotations.clean(faults(), photos, min_side_px=10)
    assert sorted(path.name for path in seen) == [
        "cut.png", "gone.png", "good.png", "text.png", "turned.png"
    ]  # fmt: skip


def test_d12_missing_names_are_dropped_and_counted(photos):
    table = make(3, image_path=["images/good.png"] * 3, individual=[NULL, "a", NULL])
    kept, dropped = annotations.clean(table, photos, min_side_px=1)
    assert list(kept["individual"]) == ["a"]
    assert dropped["reason"].value_counts().to_dict() == {"no individual": 2}


def test_clean_checks_first_and_keeps_types(photos):
    with pytest.raises(AnnotationError, match="individual, row 1"):
        annotations.clean(put(make(), "individual", "nan"), photos, min_side_px=1)
    table = make(1, image_path=["images/good.png"])
    kept, dropped = annotations.clean(table, photos, min_side_px=1)
    pd.testing.assert_frame_equal(kept, table)
    assert dropped["reason"].dtype == "str" and len(dropped) == 0


def test_text_stays_text_and_null_stays_null(tmp_path):
    table = make(
        6,
        individual=["007", "NA", NULL, 'a "quoted", name', "1e5", "true"],
        viewpoint=["left", NULL, "N/A", "Ünïcode 🦓", " spaced ", "-"],
    )
    annotations.write(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(annotations.read(tmp_path / "table.csv"), table)


def test_split_columns_come_back(tmp_path):
    table = make(quality=[0.25, np.nan]).assign(
        part=pd.array(["train", "unused"], dtype="str"),
        seen=[True, False],
        reason=pd.array([None, "fewer than 3 in train"], dtype="str"),
    )
    annotations.write(table, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(annotations.read(tmp_path / "table.csv"), table)


def test_an_empty_table_comes_back(tmp_path):
    annotations.write(make(0), tmp_path / "table.csv")
    pd.testing.assert_frame_equal(annotations.read(tmp_path / "table.csv"), make(0))


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="|"), min_size=1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=60)
@given(names=st.lists(TEXT, min_size=1, max_size=5, unique=True), number=FLOAT)
def test_any_table_that_passes_comes_back_exactly(names, number, tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    table = make(len(names), individual=names, encounter=names, x=[number] * len(names))
    try:
        annotations.check(table)
    except AnnotationError:
        return
    annotations.write(table, path)
    pd.testing.assert_frame_equal(annotations.read(path), table)
    first = path.read_bytes()
    annotations.write(annotations.read(path), path)
    assert path.read_bytes() == first


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    annotations.write(make(), path)
    before = path.read_bytes()
    with pytest.raises(AnnotationError, match="row 1"):
        annotations.write(put(make(), "individual", "nan"), path)
    with pytest.raises(AnnotationError, match="number"):
        annotations.write(make().assign(number=[1, 2]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\x00\x01", b"a,b\n1,2\n", b'annotation_id,"x\n', b"\0\0\0", b"x,x\n1,2\n"],
)
def test_read_names_a_file_that_is_no_table(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        annotations.read(path)
    assert "\n" not in str(caught.value)


def test_read_says_which_file_or_number_is_wrong(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone\.csv"):
        annotations.read(tmp_path / "gone.csv")
    annotations.write(make(), tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text().replace("40.0", "wide")
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(AnnotationError, match="wide"):
        annotations.read(tmp_path / "table.csv")


def test_an_animal_called_true_keeps_its_name(tmp_path):
    named = make(1, individual="True", species="False")
    annotations.write(named, tmp_path / "a.csv")
    read = annotations.read(tmp_path / "a.csv")
    assert read["individual"].tolist() == ["True"] and read["species"].tolist() == ["False"]
