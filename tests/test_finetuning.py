"""Two stages: frozen is frozen, held out is held out, and a killed run ends in the same weights."""

import numpy as np
import pandas as pd
import pytest
import torch

from miewid_lib import finetuning, models, splits
from miewid_lib.errors import SplitError

STAGES = finetuning.stages(frozen_epochs=2, epochs=3, lr_max=0.01)
OPTIONS = {"stages": STAGES, "batch_size": 16, "seed": 3, "precision": "float32"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start() -> models.EmbeddingNet:
    torch.manual_seed(0)
    return models.EmbeddingNet("test_efficientnet").eval()


def catalogue() -> tuple[pd.DataFrame, np.ndarray]:
    rows = [
        (f"{name}{day}{photo}", "koi", name, f"{name}{day}", f"koi|{name}")
        for name in "abcdef"
        for day in range(4)
        for photo in range(3)
    ]
    table = splits.split(pd.DataFrame(rows, columns=splits.NEEDED), seed=1)
    rng = np.random.default_rng(0)
    colour = {name: rng.uniform(50, 200, 3) for name in "abcdef"}
    crops = [colour[name] + rng.normal(0, 30, (32, 32, 3)) for name in table["individual"]]
    return table, np.stack(crops).clip(0, 255).astype(np.uint8)


def weights(net) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_while_frozen_no_weight_and_no_statistic_of_batchnorm_moves(tmp_path):
    net, (table, crops) = start(), catalogue()
    before, moved = weights(net), []
    statistics = [key for key in before if "running_" in key or "num_batches" in key]
    assert len(statistics) > 30
    for row in finetuning.run(net, crops, table, tmp_path, **OPTIONS):
        if row["stage"] == finetuning.FROZEN:
            assert same(before, weights(net))
        else:
            now = weights(net)
            moved.append([key for key in statistics if not torch.equal(before[key], now[key])])
    assert len(moved) == 3 and set(moved[-1]) == set(statistics)  # and then all of them do


def test_the_kept_epoch_has_the_lowest_validation_loss(tmp_path):
    net, (table, crops) = start(), catalogue()
    after = []
    log = []
    for row in finetuning.run(net, crops, table, tmp_path, **OPTIONS):
        log.append(row)
        after.append(weights(net))
    kept = finetuning.best_row(pd.DataFrame(log))
    later = [row["validation_loss"] for row in log if row["stage"] == finetuning.ALL]
    assert kept["validation_loss"] == min(later)
    assert same(weights(models.load(tmp_path / finetuning.BEST)), after[kept["epoch"]])
    assert pd.read_csv(tmp_path / finetuning.CURVE)["epoch"].tolist() == [0, 1, 2, 3, 4]


def test_photos_held_out_do_not_touch_the_weights(tmp_path):
    table, crops = catalogue()
    other = np.where((table["part"] == "test").to_numpy()[:, None, None, None], 255 - crops, crops)
    results = []
    for name, photos in (("a", crops), ("b", other)):
        net = start()
        log = list(finetuning.run(net, photos, table, tmp_path / name, **OPTIONS))
        results.append((weights(net), log[-1]["validation_loss"]))
    assert same(results[0][0], results[1][0]) and results[0][1] != results[1][1]


@pytest.mark.parametrize("n_done", [1, 2, 3, 4])
def test_a_killed_run_goes_on_to_the_same_weights_and_curve(tmp_path, monkeypatch, n_done):
    monkeypatch.setattr("miewid_lib.training.SAVE_EVERY_S", 0.0)
    table, crops = catalogue()
    list(finetuning.run(start(), crops, table, tmp_path / "whole", **OPTIONS))
    rows = finetuning.run(start(), crops, table, tmp_path / "killed", **OPTIONS)
    for _ in range(n_done):
        next(rows)
    rows.close()
    list(finetuning.run(start(), crops, table, tmp_path / "killed", **OPTIONS))
    for name in (finetuning.BEST, finetuning.CURVE):
        a, b = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "killed"))
        assert a == b, name


def test_a_finished_first_stage_is_not_repeated(tmp_path, monkeypatch):
    table, crops = catalogue()
    rows = finetuning.run(start(), crops, table, tmp_path, **OPTIONS)
    for _ in range(3):
        next(rows)
    rows.close()
    trained = []
    fit = finetuning.training.fit
    monkeypatch.setattr(
        finetuning.training, "fit", lambda *a, **k: trained.append(k["frozen"]) or fit(*a, **k)
    )
    list(finetuning.run(start(), crops, table, tmp_path, **OPTIONS))
    assert trained == [False]


def test_each_run_has_a_folder_of_its_own_and_others_go(tmp_path):
    table, crops = catalogue()
    first = finetuning.run_folder(tmp_path, start(), crops, table, 1)
    assert finetuning.run_folder(tmp_path, start(), crops, table, 1) == first
    second = finetuning.run_folder(tmp_path, start(), crops, table, 2)
    assert list(tmp_path.iterdir()) == [second] and second != first


def test_without_a_known_animal_to_validate_on_it_says_so(tmp_path):
    table, crops = catalogue()
    table = table.assign(identity=table["identity"] + table["part"])
    with pytest.raises(SplitError, match="more encounters"):
        next(finetuning.run(start(), crops, table, tmp_path, **OPTIONS))
