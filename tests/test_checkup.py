"""The report on a folder of photos, near-duplicates, and encounters joined by them."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miewid_lib import annotations, checkup
from miewid_lib.errors import AnnotationError


def scene(seed: int, width: int = 120, height: int = 90) -> np.ndarray:
    """A smooth random picture, as photos are: most of its energy in low frequencies."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def saved_again(photo: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def bits(a: np.ndarray, b: np.ndarray) -> int:
    difference = checkup.perceptual_hash(a) ^ checkup.perceptual_hash(b)
    return int(np.bitwise_count(difference).sum())


def table_of(rows: list[tuple]) -> pd.DataFrame:
    """(image_path, individual, encounter) a row, of one species."""
    table = pd.DataFrame(rows, columns=["image_path", "individual", "encounter"])
    table["annotation_id"] = [f"id {i}" for i in range(len(table))]
    table = table.assign(x=0.0, y=0.0, w=50.0, h=40.0, theta_rad=0.0, species="lion", source="s")
    missing = {c: None for c in annotations.COLUMNS if c not in table}
    table = table.assign(**missing)
    return table.astype({c: "str" for c in annotations.COLUMNS if c not in annotations.FLOATS})


def found(report: pd.DataFrame) -> dict[str, int]:
    return dict(zip(report["finding"], report["count"], strict=True))


@pytest.fixture
def folder(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)):
        Image.fromarray(scene(seed)).save(tmp_path / f"{name}.png")
    Image.fromarray(scene(1)).save(tmp_path / "a copy.png", compress_level=1)
    Image.fromarray(saved_again(scene(2), 40)).save(tmp_path / "b again.png")
    Image.fromarray(scene(6, 40, 30)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    return tmp_path


ROWS = [
    ("a.png", "Ann", "1"),
    ("a copy.png", "Bob", "2"),
    ("b.png", "Ann", "3"),
    ("b again.png", "Ann", "4"),
    ("c.png", "ann ", "5"),
    ("d.png", "Cy", "6"),
    ("e.png", "Cy", "6"),
    ("small.png", None, None),
    ("broken.png", "Cy", "7"),
    ("gone.png", "Cy", "8"),
]


def test_every_fault_is_found_and_counted(folder):
    report = checkup.report(table_of(ROWS), folder)
    assert found(report) == {
        "annotations": 10,
        "photos": 10,
        "species": 1,
        "individuals": 4,
        "photo missing": 1,
        "photo unreadable": 1,
        "exact copy of an earlier photo": 1,
        "pair of near-duplicates": 2,
        "near-duplicates under two names": 1,
        "different photo sizes": 2,
        "photo under half the usual size": 1,
        "annotation without a name": 1,
        "individual with one photo": 2,
        "individual with one encounter": 2,
        "names that differ in case, spaces or zeros": 1,
    }
    example = report.set_index("finding")["example"]
    assert example["photo missing"] == "gone.png"
    assert set(example["near-duplicates under two names"].split(" = ")) == {"a.png", "a copy.png"}
    assert (report["count"] <= report["of"]).all()


def test_a_clean_folder_has_no_findings(folder):
    rows = [("a.png", "Ann", "1"), ("b.png", "Ann", "2"), ("c.png", "Bob", "1"),
            ("d.png", "Bob", "2")]  # fmt: skip
    report = found(checkup.report(table_of(rows), folder))
    assert {name for name, count in report.items() if count} == {
        "annotations", "photos", "species", "individuals", "different photo sizes"
    }  # fmt: skip


def test_leaks_between_catalogue_and_queries(folder):
    table = table_of(ROWS[:7])
    table["role"] = ["catalogue", "query", "catalogue", "catalogue", "query", "catalogue", "query"]
    report = found(checkup.report(table, folder))
    assert report["encounter in catalogue and queries"] == 1  # Cy, encounter 6
    assert report["near-duplicates in catalogue and queries"] == 1  # a and its copy
    clean = found(checkup.report(table.assign(role="query"), folder))
    assert clean["encounter in catalogue and queries"] == 0
    assert clean["near-duplicates in catalogue and queries"] == 0


def test_an_unnamed_query_of_a_sighting_in_the_catalogue_is_a_leak(folder):
    table = table_of([("a.png", "Ann", "noon"), ("b.png", None, "noon")])
    table["role"] = ["catalogue", "query"]
    assert found(checkup.report(table, folder))["encounter in catalogue and queries"] == 1


def test_the_report_does_not_depend_on_the_order_of_rows_but_for_examples(folder):
    table = table_of(ROWS)
    turned = checkup.report(table.iloc[::-1].reset_index(drop=True), folder)
    assert found(turned) == found(checkup.report(table, folder))


def test_a_broken_table_and_an_empty_one(folder):
    with pytest.raises(AnnotationError, match="species"):
        checkup.report(table_of(ROWS).drop(columns="species"), folder)
    assert set(found(checkup.report(table_of(ROWS).iloc[:0], folder)).values()) == {0}


def test_two_animals_in_one_photo_are_no_duplicates(folder):
    table = table_of([("a.png", "Ann", "1"), ("a.png", "Bob", "1")])
    assert checkup.duplicates(table, folder).empty


def test_a_photo_shared_with_one_common_animal_is_not_two_names(folder):
    table = table_of([("a.png", "Ann", "1"), ("a.png", "Bob", "1"), ("a copy.png", "Bob", "2")])
    (pair,) = checkup.duplicates(table, folder).itertuples()
    assert pair.exact and not pair.two_names and pair.bits == 0


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_other_photos_are_far(seed):
    photo = scene(seed)
    height, width = photo.shape[:2]
    half = np.asarray(Image.fromarray(photo).resize((width // 2, height // 2)))
    brighter = (photo * 0.8 + 40).astype(np.uint8)
    for copy in (saved_again(photo, 20), half, brighter):
        assert bits(photo, copy) <= checkup.MAX_BITS
    assert bits(photo, scene(seed + 100)) > checkup.MAX_BITS
    assert bits(photo, photo[:, ::-1]) > checkup.MAX_BITS  # a mirrored flank is another flank


def test_one_colour_has_a_hash():
    assert bits(np.full((9, 9, 3), 7, np.uint8), np.full((1, 1, 3), 200, np.uint8)) == 0


HASHES = st.lists(st.integers(0, 2**12 - 1), max_size=30)


@settings(max_examples=60, deadline=None)
@given(words=HASHES, max_bits=st.integers(0, 6))
def test_near_duplicates_are_those_of_brute_force(words, max_bits):
    hashes = np.array(words, np.uint64).reshape(-1, 1)
    expected = {
        (a, b, (words[a] ^ words[b]).bit_count())
        for b in range(len(words))
        for a in range(b)
        if (words[a] ^ words[b]).bit_count() <= max_bits
    }
    pairs = checkup.near_duplicates(hashes, max_bits=max_bits)
    assert set(pairs.itertuples(index=False, name=None)) == expected
    assert pairs["bits"].is_monotonic_increasing


def test_blocks_change_nothing(monkeypatch):
    hashes = np.random.default_rng(0).integers(0, 2**9, (50, 4)).astype(np.uint64)
    whole = checkup.near_duplicates(hashes, max_bits=8)
    monkeypatch.setattr(checkup, "BLOCK", 120)
    assert len(whole) and checkup.near_duplicates(hashes, max_bits=8).equals(whole)


def test_chains_of_copies_become_one_encounter_of_their_animal():
    rows = [("1", "Ann", "s:Ann:d"), ("2", "Ann", "s:Ann:c"), ("3", "Ann", "s:Ann:b"),
            ("4", "Ann", "s:Ann:a"), ("1", "Bob", "s:Bob:a"), ("2", None, None)]  # fmt: skip
    pairs = pd.DataFrame({"photo_a": ["1", "2"], "photo_b": ["2", "3"]})
    joined = checkup.join_encounters(table_of(rows), pairs)["encounter"]
    expected = ["s:Ann:b"] * 3 + ["s:Ann:a", "s:Bob:a"]
    assert joined.iloc[:5].tolist() == expected and joined.isna().iloc[5]
    untouched = checkup.join_encounters(table_of(rows), pairs.iloc[:0])
    pd.testing.assert_frame_equal(untouched, table_of(rows))
