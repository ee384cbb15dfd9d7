"""Matches of small made catalogues, compared with what a person would write down."""

import numpy as np
import pandas as pd
import pytest

from miewid_lib import matching, store
from miewid_lib.errors import RetrievalError


def embeddings(rows: list[tuple], angles_deg: list[float], model: str = "m") -> tuple:
    """Rows (path, species, individual, encounter) with vectors in the plane."""
    table = pd.DataFrame(rows, columns=["image_path", "species", "individual", "encounter"])
    table = table.assign(annotation_id=table["image_path"], viewpoint=None, theta_rad=0.0)
    table = table.assign(x=0.0, y=0.0, w=1.0, h=1.0)
    angles = np.radians(angles_deg)
    return table, np.c_[np.cos(angles), np.sin(angles)].astype(np.float32), model


CATALOGUE = embeddings(
    [
        ("a1", "lion", "Ann", "e1"),
        ("a2", "lion", "Ann", "e2"),
        ("b1", "lion", "Bob", "e3"),
        ("z1", "zebra", "Zoe", "e1"),
        ("n1", "lion", None, None),
    ],
    [0, 10, 30, 5, 60],
)


def found(queries: tuple, **choice) -> dict:
    table = matching.matches(queries, CATALOGUE, **{"top": 9} | choice)
    return table.groupby("query", sort=False)["candidate"].agg(list).to_dict()


def test_best_first_within_species_with_rank_and_cosine():
    table = matching.matches(embeddings([("q", "lion", None, None)], [4]), CATALOGUE, top=3)
    assert list(table.columns) == matching.COLUMNS
    assert list(table["candidate"]) == ["a1", "a2", "b1"] and list(table["rank"]) == [1, 2, 3]
    assert list(table["individual"]) == ["Ann", "Ann", "Bob"]
    assert table["similarity"].to_numpy() == pytest.approx(np.cos(np.radians([4, 6, 26])))


def test_other_species_only_where_asked():
    query = embeddings([("q", "lion", None, None)], [4])
    assert found(query) == {"q": ["a1", "a2", "b1", "n1"]}
    assert found(query, across_species=True) == {"q": ["z1", "a1", "a2", "b1", "n1"]}


def test_own_encounter_is_left_out_where_it_is_known():
    rows = [("q1", "lion", "Ann", "e1"), ("q2", "lion", None, None), ("q3", "zebra", None, "e2")]
    assert found(embeddings(rows, [4, 4, 4])) == {
        "q1": ["a2", "b1", "n1"], "q2": ["a1", "a2", "b1", "n1"], "q3": ["z1"]
    }  # fmt: skip


def test_a_photo_never_finds_itself_but_another_of_the_same_name():
    assert found(CATALOGUE)["a1"] == ["a2", "b1", "n1"]
    assert found(embeddings([("a1", "lion", None, None)], [19]))["a1"] == ["a2", "b1", "a1", "n1"]


def test_each_animal_once_by_its_best_photo():
    query = embeddings([("q", "lion", None, None)], [9])
    assert found(query, one_each=True) == {"q": ["a2", "b1", "n1"]}
    assert found(query, one_each=True, top=2) == {"q": ["a2", "b1"]}


def test_what_cannot_be_compared_is_refused():
    query = embeddings([("q", "tiger", None, None)], [4])
    with pytest.raises(RetrievalError, match="no common species: queries tiger"):
        found(query)
    with pytest.raises(RetrievalError, match="different models"):
        matching.matches((*query[:2], "other"), CATALOGUE, top=1)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_gives_back_what_was_written_whatever_its_parts(tmp_path, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    table, vectors, model = CATALOGUE
    for name, parts in (("a", [vectors]), ("b", [vectors[:2], vectors[2:]])):
        store.write(tmp_path / f"{name}{suffix}", table, iter(parts), model=model)
        again, read, made_by = store.read(tmp_path / f"{name}{suffix}")
        assert np.array_equal(read, vectors) and made_by == model
        assert again["individual"].isna().tolist() == [False] * 4 + [True]
        assert list(again["image_path"]) == list(table["image_path"])
    assert not list(tmp_path.glob("*.partial"))
    if suffix == ".npz":
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(40)])
def test_a_file_that_holds_no_embeddings_is_one_line(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(RetrievalError, match="not a file of embeddings"):
        store.read(tmp_path / "a.npz")
