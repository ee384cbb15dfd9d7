"""Nothing that the final test asks about has a say in the tuning."""

import numpy as np
import pytest

from miewid_lib import annotations, splits, tuning
from miewid_lib.errors import SplitError
from miewid_lib.paths import ROOT
from miewid_lib.sources import synthetic


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """A split table of a few drawn animals and a crop of noise for each of its rows."""
    folder = tmp_path_factory.mktemp("tuning") / "photos"
    species = ["plains zebra", "whale shark"]
    table = synthetic.write(folder, species=species, seed=1, n_annotations=260)
    table = annotations.fill_encounters(annotations.set_identity(table)).dropna(subset="individual")
    table = splits.split(table.reset_index(drop=True), seed=5)
    crops = np.random.default_rng(0).integers(0, 255, (len(table), 32, 32, 3), dtype=np.uint8)
    return table, crops


def settings():
    fixed = {"epochs": 1, "ramp": 1, "decay": 0.5, "lr_min": 0.0, "precision": "float32"}
    return tuning.grid(fixed | {"lr_start_share": 0.1}, lr_max=[1e-3, 3e-3], batch_size=[16])


def run(table, crops, **options):
    rest = {"backbone": "test_efficientnet", "pretrained": False, "tried": settings()}
    return tuning.run(table, crops, seeds=[1, 2], **rest, **options)


def test_tuning_splits_hold_training_rows_only(animals):
    table, _ = animals
    final_test = table[table["part"] != "train"]
    for seed in range(5):
        parts = tuning.tuning_split(table, seed=seed)
        assert set(parts["annotation_id"]) == set(table.loc[table["part"] == "train"].annotation_id)
        assert not set(parts["annotation_id"]) & set(final_test["annotation_id"])
        assert {"train", "test"} <= set(parts["part"])
        assert (table.loc[parts.index, "annotation_id"] == parts["annotation_id"]).all()


def test_scrambling_the_final_test_changes_no_tuning_score(animals):
    table, crops = animals
    expected = run(table, crops)
    held = (table["part"] != "train").to_numpy()
    scrambled, other = crops.copy(), table.copy()
    scrambled[held] = 255 - scrambled[held]
    other.loc[held, "identity"] = other.loc[held, "identity"].to_numpy()[::-1]
    assert run(other, scrambled).equals(expected)
    scrambled[~held] = 255 - scrambled[~held]  # so that this test can fail
    assert not run(table, scrambled).equals(expected)


def test_the_best_setting_stands_first_and_every_seed_has_a_row(animals):
    result = run(*animals)
    assert len(result) == 4 and result["mean_top1"].is_monotonic_decreasing
    assert set(zip(result["lr_max"], result["seed"], strict=True)) == {
        (1e-3, 1), (1e-3, 2), (3e-3, 1), (3e-3, 2),
    }  # fmt: skip


def test_a_table_without_training_rows_is_refused(animals):
    table, _ = animals
    with pytest.raises(SplitError):
        tuning.tuning_split(table[table["part"] == "test"], seed=1)


def test_the_stage_is_optional():
    assert (ROOT / "tuning" / "dvc.yaml").is_file()
    assert "tuning.csv" not in (ROOT / "dvc.yaml").read_text()
