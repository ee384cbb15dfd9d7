"""The explorer: ranks are those of the evaluation, the page is one file in its workspace."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from miewid_lib import explorer, retrieval, scales
from miewid_lib.paths import ROOT

RNG = np.random.default_rng(3)
N = 24


def photos():
    test = pd.DataFrame({"species": ["ox"] * 14 + ["ape"] * 10})
    test["individual"] = [f"<{i % 5}>" for i in range(N)]
    test["identity"] = test["species"] + "|" + test["individual"]
    test["encounter"] = [f"e{i // 2}" if i < 6 else None for i in range(N)]
    return test.assign(viewpoint=None, seen=True)


def vectors():
    return RNG.integers(0, 3, (N, 4)) + np.array([1.0, 0, 0, 0])  # many ties


def test_ranks_are_those_of_one_vs_rest():
    test, x = photos(), vectors()
    found = explorer.answers(x, test, np.arange(N), 5)
    who = {"groups": test["species"], "exclude": test["encounter"]}
    for row in retrieval.one_vs_rest(x, test["identity"], **who).itertuples():
        answer = found[row.query]
        ranks = np.array([rank for _, rank in answer["mates"]])
        assert (answer["n"], len(ranks)) == (row.n_candidates, row.n_mates)
        if len(ranks):
            assert ranks[0] == row.first_rank
            precision = (np.arange(1, len(ranks) + 1) / ranks).mean()
            assert precision == pytest.approx(row.average_precision)
        by_rank = {rank: mate for mate, rank in answer["mates"] if rank <= 5}
        shown = {place + 1: photo for place, (photo, _) in enumerate(answer["near"])}
        assert by_rank.items() <= shown.items()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.9, 0.5, 0.1])), max_size=12))
def test_an_order_holds_everyone_once_and_mates_last_among_equals(candidates):
    candidates = sorted(candidates, key=lambda pair: -pair[1])
    mates = np.array([mate for mate, _ in candidates], bool)
    cosines = np.array([cosine for _, cosine in candidates], np.float32)
    order = explorer.ranked(mates, cosines)
    assert sorted(order.tolist()) == list(range(len(candidates)))
    expected = sorted(range(len(candidates)), key=lambda i: (-cosines[i], mates[i], i))
    assert order.tolist() == expected


def test_the_page_is_one_file_with_the_photos_it_shows():
    test, crops = photos(), RNG.integers(0, 255, (N, 16, 16, 3), dtype=np.uint8)
    asked = explorer.spread(test["species"], 3)
    found = {"joint": explorer.answers(vectors(), test, asked, 2)}
    text = explorer.page(test, found, crops, 8)
    assert text == explorer.page(test, found, crops, 8)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert list(data["answers"]["joint"]) == [str(row) for row in asked]
    shown = {row for answer in data["answers"]["joint"].values()
             for part in ("near", "mates") for row, _ in answer[part]}  # fmt: skip
    assert {str(row) for row in shown | set(asked.tolist())} == set(data["photos"])
    assert all(p["src"].startswith("data:image/jpeg;base64,") for p in data["photos"].values())
    assert data["photos"]["0"]["individual"] == "<0>" and "<0>" not in text
    assert explorer.jpeg(crops[0], 8) != explorer.jpeg(crops[1], 8)


def test_photos_of_other_scales_are_not_collected():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["explorer"]
    (out,) = (next(iter(entry)) for entry in stage["outs"])
    assert out == "reports/explorer.html"
    assert out.split("/")[1] not in scales.RESULTS


def test_what_the_pipeline_wrote_is_small_and_agrees_with_chapter_4():
    path, scored = ROOT / "reports" / "explorer.html", ROOT / "data" / "per_query.csv"
    if not (path.is_file() and scored.is_file()):
        pytest.skip("no explorer and scores here, run dvc repro")
    assert path.stat().st_size < 4e6
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(), re.DOTALL)[1])
    per_query = pd.read_csv(scored).set_index(["model", "query"])
    for model, queries in data["answers"].items():
        first = per_query.loc[model].query("seed == seed.min()")["first_rank"]
        for query, answer in queries.items():
            ranks = [rank for _, rank in answer["mates"]] or [np.nan]
            assert ranks[0] == first[int(query)] or np.isnan([ranks[0], first[int(query)]]).all()
