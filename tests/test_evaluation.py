"""One call asks like chapter 4 does by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from miewid_lib import evaluation, models, retrieval, training
from miewid_lib.errors import RetrievalError


def photos(n_each=6):
    """Test rows of two species and noise crops for them."""
    rng = np.random.default_rng(0)
    species = np.repeat(["ray", "owl"], n_each)
    test = pd.DataFrame({"species": species, "annotation_id": [f"a{i}" for i in range(2 * n_each)]})
    test["identity"] = test["species"] + "|" + pd.Series(list("xxyyzz") * 2)
    test["encounter"] = [f"e{i}" for i in range(2 * n_each)]
    test["seen"] = [True, True, True, True, False, False] * 2
    return test, rng.integers(0, 255, (2 * n_each, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A model of two seeds whose runs answer for one species each."""
    rows = []
    for seed in (0, 1):
        for species in ("ray", "owl"):
            torch.manual_seed(10 * seed + len(rows))
            file = f"{species}-seed{seed}"
            models.save(models.EmbeddingNet("test_efficientnet"), tmp_path / f"{file}.safetensors")
            rows.append({"file": file, "model": "pond", "seed": seed, "species": species})
    pd.DataFrame(rows).to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path


def test_each_photo_is_embedded_by_the_network_of_its_species(folder):
    test, crops = photos()
    runs = pd.read_csv(folder / "runs.csv").query("seed == 1")
    vectors = evaluation.embed(folder, runs, test["species"], crops)
    for species in ("ray", "owl"):
        mine = (test["species"] == species).to_numpy()
        net = models.load(folder / f"{species}-seed1.safetensors")
        assert np.array_equal(vectors[mine], training.embed(net, crops[mine]))


def test_answers_are_one_vs_rest_with_facts_of_the_query(folder):
    test, crops = photos()
    asked = evaluation.ask(folder, test, crops)
    assert asked["model"].unique().tolist() == ["pond"]
    assert asked.groupby("seed").size().tolist() == [12, 12]
    runs = pd.read_csv(folder / "runs.csv").query("seed == 0")
    vectors = evaluation.embed(folder, runs, test["species"], crops)
    by_hand = retrieval.one_vs_rest(vectors, test["identity"], groups=test["species"])
    first = asked[asked["seed"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first[by_hand.columns], by_hand)
    assert first["annotation_id"].tolist() == test["annotation_id"].tolist()


def test_a_species_without_a_network_is_found_and_not_scored(folder):
    test, crops = photos()
    runs = pd.read_csv(folder / "runs.csv").query("species == 'ray'")
    runs.to_csv(folder / "runs.csv", index=False)
    with pytest.raises(RetrievalError, match="NaN"):
        evaluation.ask(folder, test, crops)


def test_score_table_has_every_seed_their_mean_and_the_mean_of_species(folder):
    test, crops = photos()
    table = evaluation.score_table(evaluation.ask(folder, test, crops), seed=0, n_bootstrap=50)
    assert set(table["seed"]) == {"0", "1", "mean"}
    assert set(table["species"]) == {"ray", "owl", "mean"} and len(table) == 9
    wide = table.pivot(index="species", columns="seed", values="top1")
    assert wide["mean"].tolist() == pytest.approx(wide[["0", "1"]].mean(axis=1).tolist())
    each = wide.loc[["ray", "owl"]].mean()
    assert wide.loc["mean"].tolist() == pytest.approx(each.tolist())
    rows = table[table["species"] != "mean"]
    assert (rows["n_queries_seen"] + rows["n_queries_unseen"] == rows["n_queries"]).all()


def test_two_models_of_one_folder_answer_apart(folder):
    test, crops = photos()
    runs = pd.read_csv(folder / "runs.csv")
    rival = runs.query("seed == 1").assign(model="rival", seed=0)
    pd.concat([runs.query("seed == 0"), rival]).to_csv(folder / "runs.csv", index=False)
    asked = evaluation.ask(folder, test, crops)
    assert asked.groupby("model", sort=False)["seed"].agg(list).to_dict() == {
        "pond": [0] * 12,
        "rival": [0] * 12,
    }
