import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from miewid_lib import checkpoints, losses, models, training

PARITY = Path(__file__).parent / "parity"
SCHEDULES = json.loads((PARITY / "lr_schedule.json").read_text())["cases"]
SCHEDULES = [case for case in SCHEDULES if case["swa_lr"] is None]


def arguments(case):
    names = {"lr_ramp_ep": "ramp", "lr_sus_ep": "sustain", "lr_decay": "decay"}
    kept = ("lr_start", "lr_max", "lr_min", *names)
    return {names.get(key, key): case[key] for key in kept}


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda c: c["name"])
def test_d1_both_schedules_by_name(case):
    written = training.learning_rates(case["epochs"], **arguments(case))
    run = training.learning_rates(case["epochs"], **arguments(case), stepping="as_run")
    assert written == pytest.approx(case["documented_schedule_lr"], abs=1e-12)
    assert run == pytest.approx(case["official_lr_in_effect_during_epoch"], abs=1e-12)


def test_d1_the_default_reaches_its_maximum_at_the_end_of_an_odd_ramp():
    rates = training.learning_rates(9, lr_start=0, lr_max=1, lr_min=0, ramp=5, decay=0.5)
    assert rates == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 0.5, 0.25, 0.125])


def test_unknown_stepping_is_an_error():
    with pytest.raises(ValueError, match="stepping"):
        training.learning_rates(
            2, lr_start=0, lr_max=1, lr_min=0, ramp=1, decay=0.5, stepping="twice"
        )


def animals(n_classes=4, n_each=6, size=32):
    """Crops of flat colours with noise: learnable in a few steps."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(n_classes), n_each)
    colours = rng.integers(40, 215, (n_classes, 1, 1, 3))
    noise = rng.integers(-30, 30, (len(labels), size, size, 3))
    return (colours[labels] + noise).clip(0, 255).astype(np.uint8), labels


def system(n_classes=4):
    torch.manual_seed(0)
    net = models.EmbeddingNet("test_efficientnet")
    margins_rad = losses.dynamic_margins([6] * n_classes)
    return net, losses.SubCenterArcFace(net.embedding_size, n_classes, margins_rad=margins_rad)


def run(rates=(1e-3,) * 3, seed=1, stop=None, **options):
    crops, labels = animals()
    net, head = system()
    rows = []
    settings = {"rates": list(rates), "batch_size": 8, "seed": seed, **options}
    for row in training.fit(net, head, crops, labels, **settings):
        rows.append(row)
        if stop is not None and row["epoch"] == stop:
            break
    return net, rows


@pytest.fixture(autouse=True)
def every_epoch_is_saved(monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


def test_the_loss_falls_and_rows_tell_the_run():
    _, rows = run(rates=(1e-3,) * 6)
    assert [row["epoch"] for row in rows] == list(range(6))
    assert [row["steps"] for row in rows] == [3, 6, 9, 12, 15, 18]
    assert rows[-1]["loss"] < rows[0]["loss"] and 0 <= rows[-1]["top1"] <= 1


def test_same_seed_same_weights_and_another_seed_differs():
    (a, rows_a), (b, rows_b), (c, _) = run(), run(), run(seed=2)
    assert rows_a == rows_b and same(a.state_dict(), b.state_dict())
    assert not same(a.state_dict(), c.state_dict())


def test_training_does_not_touch_the_global_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    crops, labels = animals()
    state = torch.get_rng_state()
    net, head = system()
    torch.set_rng_state(state)
    list(training.fit(net, head, crops, labels, rates=[1e-3], batch_size=8, seed=1))
    assert torch.equal(torch.rand(3), expected)


def test_d13_a_killed_run_resumes_to_the_same_weights(tmp_path):
    whole, rows = run(resume_in=tmp_path)
    assert not list(tmp_path.iterdir())  # a finished run leaves nothing
    run(resume_in=tmp_path, stop=1)
    assert len(list(tmp_path.iterdir())) == 1
    resumed, again = run(resume_in=tmp_path)
    assert again == rows and same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("change", [{"seed": 9}, {"rates": (1e-3, 1e-3, 1e-4)}])
def test_a_checkpoint_of_another_run_is_not_taken(tmp_path, change):
    run(resume_in=tmp_path, stop=1)
    fresh, expected = run(**change)
    other, rows = run(**change, resume_in=tmp_path)
    assert rows == expected and same(fresh.state_dict(), other.state_dict())


def test_short_runs_do_not_wait_for_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY_S", 1000.0)
    run(resume_in=tmp_path, stop=1)
    assert not list(tmp_path.iterdir())


def test_half_a_checkpoint_is_not_trusted(tmp_path):
    run(resume_in=tmp_path, stop=1)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.with_suffix(".partial").write_bytes(whole[:1000])
    path.write_bytes(whole[: len(whole) // 2])
    _, expected = run()
    assert run(resume_in=tmp_path)[1] == expected


def test_d23_frozen_is_frozen_batchnorm_statistics_too():
    crops, labels = animals()
    net, head = system()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    directions = head.weight.detach().clone()
    options = {"rates": [1e-2] * 2, "batch_size": 8, "seed": 0}
    rows = list(training.fit(net, head, crops, labels, frozen=True, **options))
    assert same(before, net.state_dict()) and rows[-1]["loss"] < rows[0]["loss"]
    assert not torch.equal(directions, head.weight)
    assert all(parameter.grad is None for parameter in net.parameters())
    list(training.fit(net, head, crops, labels, **options))
    assert not same(before, net.state_dict())


def test_a_last_batch_of_one_does_not_break_batchnorm():
    crops, labels = animals()
    net, head = system()
    settings = {"rates": [1e-3], "batch_size": 23, "seed": 0}
    (row,) = training.fit(net, head, crops, labels, **settings)  # 24 = 23 + 1
    assert row["steps"] == 1 and np.isfinite(row["loss"])


def test_bfloat16_trains_too():
    _, rows = run(precision="bfloat16", rates=(1e-3,) * 4)
    assert np.isfinite(rows[-1]["loss"]) and rows[-1]["loss"] < rows[0]["loss"]


def test_embed_is_the_forward_pass_in_eval_mode_whatever_the_batch():
    crops, _ = animals()
    net, _ = system()
    net.train()
    one = training.embed(net, crops, batch_size=5)
    assert net.training and one.shape == (24, net.embedding_size) and one.dtype == np.float32
    assert np.allclose(one, training.embed(net, crops), atol=1e-5)
    plain = copy.deepcopy(net).eval()
    x = torch.from_numpy(crops[:3]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        assert np.allclose(one[:3], plain(plain.normalise(x)), atol=1e-5)
    assert training.embed(net, crops[:0]).shape == (0, net.embedding_size)


def test_a_digest_changes_with_every_fact(tmp_path):
    file = tmp_path / "start.safetensors"
    file.write_bytes(b"weights")
    table = pd.DataFrame({"identity": ["a", "b"]})
    facts = [np.zeros((2, 3), np.uint8), table, file, {"lr": 1e-3}, "x"]
    changes = [np.zeros((3, 2), np.uint8), table.assign(n=1), {"lr": 1e-4}, "y"]
    key = checkpoints.digest(*facts)
    assert checkpoints.digest(*facts) == key
    for i, change in zip((0, 1, 3, 4), changes, strict=True):
        assert checkpoints.digest(*facts[:i], change, *facts[i + 1 :]) != key
    file.write_bytes(b"others")
    assert checkpoints.digest(*facts) != key


def test_a_result_counts_as_done_under_its_own_key_alone(tmp_path):
    assert not checkpoints.is_done(tmp_path / "absent", "k1")
    checkpoints.mark_done(tmp_path, "k1")
    assert checkpoints.is_done(tmp_path, "k1") and not checkpoints.is_done(tmp_path, "k2")
