"""Two processes train and embed as one does: through `spread`, and under torchrun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import animals, system

from miewid_lib import distributed, training
from miewid_lib.errors import MiewidError

TOLERANCE = 2e-4  # of a loss; sums in another order, and Adam makes much of small differences


def train(options, resume_in=None, die_after=None):
    torch.set_num_threads(1)
    training.SAVE_EVERY_S = 0.0
    crops, labels = animals(n_each=7)
    net, head = system()
    rows = []
    settings = {"rates": [1e-3] * 3, "batch_size": 8, "seed": 1, "resume_in": resume_in}
    for row in training.fit(net, head, crops, labels, **settings | options):
        rows.append(row)
        if die_after == row["epoch"] and distributed.world()[0] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    return rows, weights, training.embed(net, crops[:11])


def on_two(*args):
    return distributed.spread(train, *args, processes=2, threads=2)


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"precision": "bfloat16"}])
def test_two_processes_reproduce_the_losses_of_one(options):
    (one, _, vectors), (two, _, theirs) = train(options), on_two(options)
    for key in ("epoch", "steps", "lr"):
        assert [row[key] for row in one] == [row[key] for row in two]
    losses = [[row["loss"] for row in rows] for rows in (one, two)]
    if "precision" in options:  # eight bits: some steps on, these are two runs
        assert losses[0][0] == pytest.approx(losses[1][0], rel=0.02)
        return
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(theirs, axis=1)
    assert ((vectors * theirs).sum(1) / lengths).min() > 0.998


def test_the_statistics_are_those_of_the_whole_batch():
    """Without synchronised BatchNorm the running mean is that of a half; the check can fail."""
    _, weights, _ = train({"rates": [0.0]})
    _, others, _ = on_two({"rates": [0.0]})
    key = next(key for key in weights if key.endswith("running_var"))
    np.testing.assert_allclose(weights[key], others[key], rtol=1e-5)
    _, half, _ = train({"rates": [0.0], "accumulate": 2})  # sees halves
    assert not np.allclose(weights[key], half[key], rtol=1e-3)


def test_two_parts_of_a_batch_make_one_step():
    whole, parts = train({"frozen": True})[0], train({"frozen": True, "accumulate": 2})[0]
    assert [row["loss"] for row in whole] == pytest.approx([r["loss"] for r in parts], rel=1e-5)
    assert [row["steps"] for row in whole] == [row["steps"] for row in parts]


def test_a_killed_rank_ends_the_run_and_its_checkpoint_goes_on(tmp_path):
    with pytest.raises(MiewidError, match="a process of 2 ended"):
        on_two({}, tmp_path, 1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    resumed, weights, _ = on_two({}, tmp_path)
    whole, others, _ = on_two({})
    assert resumed == whole and not list(tmp_path.glob("*.safetensors"))
    assert all(np.array_equal(weights[key], others[key]) for key in weights)


def test_one_process_needs_no_group_and_cards_are_counted(monkeypatch):
    assert distributed.spread(sum, [1, 2], processes=1) == 3
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MiewidError, match="processes=2, but 1 graphics"):
        distributed.spread(sum, [1, 2], processes=2, device="cuda")


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from torch import distributed as dist
from test_distributed import train
dist.init_process_group("gloo")
rows, _, vectors = train({{}})
if dist.get_rank() == 0:
    print([row["loss"] for row in rows], vectors.shape)
dist.destroy_process_group()
"""


def test_the_same_function_runs_under_torchrun(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = on_two({})[0]
    assert str([row["loss"] for row in losses]) in done.stdout
