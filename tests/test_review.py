"""Candidates, decisions in a file that survives a kill, and the widget over them."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miewid_lib import review
from miewid_lib.errors import AnnotationError


@pytest.fixture
def photos():
    """Five photos: a query, two of Ann, one of Bob, one of another species."""
    table = pd.DataFrame({
        "annotation_id": ["q", "a1", "a2", "b1", "t1"],
        "species": ["lion"] * 4 + ["tiger"],
        "individual": [None, "Ann", "Ann", "Bob", "Cy"],
        "encounter": ["e0", "e1", "e2", "e3", "e4"],
        "identity": [None, "lion|Ann", "lion|Ann", "lion|Bob", "tiger|Cy"],
    }).astype("str")  # fmt: skip
    angles = np.radians([0, 50, 20, 30, 0])
    return np.c_[np.cos(angles), np.sin(angles)], table


@pytest.fixture
def offered(photos):
    return review.offers(*photos, np.array([0]), np.arange(1, 5))


def answer(path: Path, *rows: tuple) -> pd.DataFrame:
    for row in rows:
        review.append(path, *row)
    return review.read(path)


def test_an_animal_stands_once_by_its_best_photo_within_the_species(offered):
    assert offered["individual"].tolist() == ["Ann", "Bob"]
    assert offered["candidate"].tolist() == [2, 3] and offered["rank"].tolist() == [1, 2]
    assert np.allclose(offered["similarity"], np.cos(np.radians([20, 30])), atol=1e-6)
    assert set(offered["annotation_id"]) == {"q"}


def test_own_encounter_and_the_query_itself_are_no_candidates(photos):
    vectors, table = photos
    table.loc[2, "encounter"] = "e0"
    found = review.offers(vectors, table, np.array([0, 3]), np.arange(5))
    assert found.loc[found["query"] == 0, "candidate"].tolist() == [3, 1]
    assert 3 not in found.loc[found["query"] == 3, "candidate"].tolist()


def test_without_catalogue_or_queries_there_is_no_offer(photos):
    none = np.array([], int)
    for asked, known in ((none, np.arange(4)), (np.array([0]), none)):
        found = review.offers(*photos, asked, known)
        assert found.empty and review.next_offer(found, review.read(None)).empty


def test_rejected_pairs_are_not_offered_again(offered, tmp_path):
    said = answer(tmp_path / "d.csv", ("q", "Ann", "different"))
    assert review.next_offer(offered, said)["individual"].tolist() == ["Bob"]
    said = answer(tmp_path / "d.csv", ("q", "Bob", "different"))
    assert review.next_offer(offered, said).empty


def test_an_accepted_name_ends_the_question_and_joins_the_catalogue(offered, photos, tmp_path):
    said = answer(tmp_path / "d.csv", ("q", "Bob", "same"))
    assert review.next_offer(offered, said).empty
    table = review.apply(photos[1], said)
    assert table["individual"].tolist() == ["Bob", "Ann", "Ann", "Bob", "Cy"]
    assert pd.isna(table["identity"][0]) and table["identity"][1] == "lion|Ann"


def test_the_last_word_counts(offered, photos, tmp_path):
    said = answer(tmp_path / "d.csv", ("q", "Ann", "same"), ("q", "Ann", "different"))
    assert pd.isna(review.apply(photos[1], said)["individual"][0])
    said = answer(tmp_path / "d.csv", ("q", "Ann", "same"), ("q", "Bob", "same"))
    assert review.apply(photos[1], said)["individual"][0] == "Bob"


def test_no_decision_changes_nothing(photos):
    pd.testing.assert_frame_equal(review.apply(photos[1], review.read(None)), photos[1])


def test_a_decision_on_a_strange_photo_is_refused(photos, tmp_path):
    said = answer(tmp_path / "d.csv", ("gone", "Ann", "same"))
    with pytest.raises(AnnotationError, match="'gone'"):
        review.apply(photos[1], said)


NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="|"), min_size=1)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(NAMES, NAMES.filter(str.strip), st.sampled_from(review.VERDICTS))))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("d") / "d.csv"
    said = answer(path, *rows)
    assert said.values.tolist() == [[a, b.strip(), c] for a, b, c in rows]


@pytest.mark.parametrize("row", [
    ("q", "", "same"), ("q", "  ", "same"), ("", "Ann", "same"), ("q", "Ann", "maybe"),
    ("q", "a|b", "same"), ("q", "a\nb", "same"), ("q\0", "Ann", "same"),
])  # fmt: skip
def test_a_bad_decision_is_refused_and_the_file_stays(tmp_path, row):
    path = tmp_path / "d.csv"
    review.append(path, "q", "Ann", "same")
    before = path.read_bytes()
    with pytest.raises(AnnotationError):
        review.append(path, *row)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [
    "", "a,b\n", "annotation_id,individual,verdict\nq,Ann\n",
    "annotation_id,individual,verdict\nq,Ann,perhaps\n", '"', b"\xff\xfe",
])  # fmt: skip
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "d.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError, match=r"d\.csv"):
        review.read(path)


def test_a_kill_while_writing_loses_no_earlier_answer(tmp_path, monkeypatch):
    path = tmp_path / "d.csv"
    review.append(path, "q", "Ann", "same")
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        review.append(path, "q", "Bob", "same")
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert len(answer(path, ("q", "Bob", "same"))) == 2


def test_the_picture_names_candidates(offered):
    crops = np.zeros((5, 8, 8, 3), np.uint8)
    figure = review.picture(offered, crops)
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert any("Ann  0.94" in text for text in texts) and len(figure.axes) == 3


def test_the_widget_steps_through_the_questions(offered, tmp_path):
    path, crops = tmp_path / "d.csv", np.zeros((5, 8, 8, 3), np.uint8)
    box = review.widget(offered, crops, path)
    view, text, row = box.children
    same, different, new, skip, name = row.children
    assert text.value == "q" and bytes(view.value).startswith(b"\x89PNG")
    different.click()
    assert review.read(path).values.tolist() == [["q", "Ann", "different"]]
    name.value = "Dot"
    new.click()
    assert review.read(path).values.tolist()[-1] == ["q", "Dot", "same"]
    assert text.value == "no photo is left" and name.value == ""
    same.click()
    skip.click()
    assert len(review.read(path)) == 2


def test_skip_and_a_nameless_new_write_nothing(offered, tmp_path):
    path = tmp_path / "d.csv"
    for label in ("skip", "new"):
        skipped = set()
        review.decide(path, offered, label, " ", skipped)
        assert skipped == {"q"} and not path.exists()
        assert review.next_offer(offered, review.read(path), skipped).empty
