"""The harness on tiny cases; the speeds themselves are no test."""

import json
import sys

import numpy as np
import pytest
import yaml

from benchmarks import budget, harness, page, paper_scale, retrieval, wall
from miewid_lib.paths import ROOT


def test_ratio_is_the_median_over_repeats_and_skips_who_is_missing():
    runs = {"a": [{"seconds": 1}, {"seconds": 3}], "b": [{"seconds": 2}, {"seconds": 4}]}
    assert harness.ratios(runs | {"c": [{"missing": "no"}]}, "a") == {"b": 0.625}


def test_a_side_far_slower_than_ours_or_missing_is_not_asked_again():
    mine = [{"seconds": 1.0}]
    assert harness._again([], mine) and harness._again(mine, mine)
    assert harness._again([{"seconds": 2.9}], mine)
    assert not harness._again([{"seconds": 3.1}], mine)
    assert not harness._again([{"missing": "no wheel"}], mine)
    assert not harness._again([{"seconds": 2.9}], [{"missing": "ours failed, which ends the run"}])
    thrice = {"a": 3 * [{"seconds": 2.0}], "slow": [{"seconds": 8.0}]}
    assert harness.ratios(thrice, "a") == {"slow": 0.25}


def test_peak_memory_is_that_of_the_work():
    before = harness.forget_peak()
    np.ones(2**23).sum()  # 64 MB, given back at once
    assert 50 < harness.peak_mb() - before < 100


def test_one_side_runs_in_a_process_of_its_own(tmp_path):
    done = harness.run("retrieval", "miewid_lib one_vs_rest", tmp_path, {"n": 60})
    assert done["seconds"] > 0 and 0 <= done["answer"]["top1"] <= 1


def test_a_side_that_fails_is_named_with_its_reason(tmp_path):
    size = {"n": retrieval.WHOLE_MATRIX + 1}
    done = harness.run("retrieval", "NumPy, whole matrix, sort each row", tmp_path, size)
    assert done == {"missing": "MemoryError: keeps a whole matrix of 20001 x 20001"}
    row = {"name": "x", "kind": "peer"} | done
    assert "did not run: MemoryError" in page.table({"size": size, "repeats": 1, "sides": [row]})


def test_sizes_without_peers_say_so():
    row = harness.measure("retrieval", {"n": 60}, 1, peers=False)
    assert {side["kind"] for side in row["sides"] if "missing" not in side} == {"ours", "limit"}
    left_out = [side["missing"] for side in row["sides"] if side["kind"] == "peer"]
    assert set(left_out) == {"not asked at this size"}


@pytest.mark.parametrize("n", [60, 400])
def test_oracle_and_ours_agree_with_ties(n, tmp_path):
    ours, plain = (retrieval.OURS | retrieval.PEERS)["miewid_lib one_vs_rest"], retrieval._sorting
    first, second = ours(tmp_path, n)()(), plain(tmp_path, n)()()
    assert first == pytest.approx(second)


@pytest.mark.parametrize(("n", "parts"), [(225_374, 37_138), (37_138, 49), (7, 7)])
def test_made_up_sizes_add_up_and_have_a_heavy_tail(n, parts):
    sizes = paper_scale.shares(n, parts, 0.6)
    assert sizes.sum() == n and sizes.min() >= 1 and len(sizes) == parts
    assert n == parts or sizes[: parts // 10].sum() > 0.2 * n


def test_every_stage_without_a_network_runs_on_the_made_up_table(tmp_path):
    size = {"part": "no network", "scale": 0.01}
    paper_scale.make(tmp_path, **size)
    done = harness.run("paper_scale", "miewid_lib", tmp_path, size)
    answer = done["answer"]
    assert answer["annotations"] == 2253 and answer["dropped"] == 0 and answer["queries"] > 200
    assert {"assembly s", "split s", "retrieval s", "tables s", "figures s"} <= set(answer)


def test_wall_time_counts_a_second_once_and_no_bar_of_drawing():
    bars = [
        "all, seed 0: 100%|##| 10/10 [00:08<00:00]",
        "all, seed 1: 100%|##| 10/10 [00:04<00:00]",
    ]
    lines = [(10.0, bars[0]), (25.0, bars[0]), (12.0, bars[1]), (11.0, "all: 90%|#| 9/10 [00:09<")]
    lines += [(30.0, "drawing encounters: 100%|##| 3/3 [00:05<00:00]")]
    assert wall.union_s(wall.intervals(lines)) == 10.0
    script = "import sys; sys.stderr.write('x: 100%|#| 1/1 [00:00<00:00]'); print('end')"
    seen = [line for _, line in wall.watch([sys.executable, "-c", script], ROOT)]
    assert len(wall.intervals([(1.0, line) for line in seen])) >= 1 and "end" in seen[-2]


def test_wall_time_is_that_of_the_library_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "miewid_lib.py").write_text("print('the copy')")
    command = [sys.executable, "-P", "-c", "import miewid_lib"]  # as a kernel: no current folder
    assert "the copy" in [line for _, line in wall.watch(command, tmp_path)]


def test_photos_on_disk_become_as_many_vectors_as_the_network_alone_makes(tmp_path):
    from benchmarks import photos

    size = {"n": 70, "size_px": 32}
    photos.make(tmp_path, **size)
    for name in harness.sides("photos"):
        done = harness.run("photos", name, tmp_path, size)
        assert done["answer"] == {"vectors": 70}, done


SIDES = [
    {"name": "ours", "kind": "ours", "seconds": 2.0, "peak_mb": 10.0, "ours_over_this": None,
     "answer": {"photos": 100}},
    {"name": "bare", "kind": "limit", "seconds": 1.0, "peak_mb": 4.0, "ours_over_this": 2.0,
     "answer": {}},
    {"name": "absent", "kind": "peer", "missing": "no wheel"},
]  # fmt: skip
MACHINE = {"cores": 2, "cpu": "a cpu", "threads": 2, "load_before": 0.1, "versions": {}}


def test_the_readme_quotes_ratios_of_the_reports(tmp_path):
    result = {"size": {"n": 100}, "repeats": 1, "sides": SIDES}
    report = {"case": "loading", "machine": MACHINE, "results": [result]}
    (tmp_path / "loading.json").write_text(json.dumps(report))
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{page.START}\nold\n{page.END}\nafter\n")
    page.fill_readme(tmp_path, readme)
    text = readme.read_text()
    assert "| loading | n = 100 | bare (limit) | 2.00 | 10, 4 |" in text and "old" not in text
    assert text.startswith("before\n") and text.endswith("after\n") and "2 cores (a cpu)" in text
    text = budget.text({"loading": report})
    assert "| 225,374 | 20.0 ms | 1.3 h | 44 GB of crops |" in text and "partial FC" in text
    head = {"results": [{"sides": [{"peak_mb": 4200.0, "seconds": 3.21}]}]}
    text = budget.text({"loading": report, "loss_large": head})
    assert "239,762,928 numbers" in text.replace("\n", " ") and "took 3.2 s and 4.2 GB" in text


def test_the_budget_counts_with_the_parameters_of_the_paper():
    paper = yaml.safe_load((ROOT / "params" / "paper.yaml").read_text())
    train = paper["train"]
    assert paper["split"]["train_share"] == budget.TRAIN_SHARE
    assert paper["dataset"]["size_px"] == budget.SIZE_PX
    assert (train["epochs"], train["folds"]) == (budget.EPOCHS, budget.FOLDS)
    assert len(train["seeds"]) == budget.SEEDS
