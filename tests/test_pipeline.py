"""The whole pipeline on tiny parameters, through papermill and DVC, in a workspace of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

from miewid_lib import notebooks, pages, scales
from miewid_lib.paths import ROOT

pytestmark = pytest.mark.pipeline
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))


def environment(folder):
    """Stages and kernels use this interpreter and the workspace's own copy of the library."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}


def command(folder, *words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd or folder,
        env=environment(folder),
        capture_output=True,
        text=True,
    )


def dvc(folder, *words):
    return command(folder, "dvc", *words)


def snapshot(folder):
    """Bytes of everything that is promised to be the same in every run."""
    files = [folder / "dvc.lock", folder / "data" / "dvc.lock"]
    files += [path for path in (folder / "reports").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = scales.workspace("tiny", tmp_path_factory.mktemp("tiny"))
    done = dvc(folder, "repro")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (folder / "terminal.log").write_text(done.stderr)
    return folder


def test_every_stage_leaves_what_it_declares(tiny):
    stages = yaml.safe_load((tiny / "dvc.lock").read_text())["stages"]
    for stage in stages.values():
        for out in stage["outs"]:
            assert (tiny / out["path"]).exists()
    names = {path.name for path in (tiny / "reports" / "notebooks").iterdir()}
    assert names == {path.with_suffix(".ipynb").name for path in CHAPTERS}


def test_tables_and_metrics_say_what_others_rely_on(tiny):
    table = (tiny / "reports" / "tables" / "one_vs_rest.csv").read_text()
    promised = "model seed species n_identities n_queries chance_top1 top1 top1_low top1_high"
    assert {*promised.split(), "top5", "map"} <= set(table.splitlines()[0].split(","))
    metrics = json.loads((tiny / "reports" / "metrics" / "evaluate.json").read_text())
    assert set(metrics) == {"imagenet", "multispecies", "single", "single_matched"}
    models = {line.split(",")[0] for line in table.splitlines()[1:]}
    assert models == {*metrics, "heldout", "efficientnetv2", "swinv2"}
    claims = (tiny / "reports" / "tables" / "claims.csv").read_text().splitlines()
    assert claims[0] == "claim,ours,low,high,n_species,n_queries,paper,verdict,note"
    assert len(claims) == 13 and sum("not testable" in line for line in claims) >= 1


def test_progress_is_seen_in_the_terminal_and_in_no_page(tiny):
    log = (tiny / "terminal.log").read_text()
    assert "== 03_train (model=single) ==" in log and "all species, seed 0" in log
    for page in (tiny / "build" / "executed").glob("*.ipynb"):
        text = page.read_text()  # a picture in base64 may hold "it/s", but no bracket
        assert "it/s]" not in text and "s/it]" not in text and "all species, seed 0" not in text


def test_nothing_to_do_takes_at_most_5_s(tiny):
    start_s = time.monotonic()
    done = dvc(tiny, "repro")
    assert done.returncode == 0 and "Running stage" not in done.stdout
    assert time.monotonic() - start_s <= 5


def test_a_prose_edit_runs_no_experiment(tiny):
    chapter = tiny / "notebooks" / "04_evaluate.py"
    original = chapter.read_text()
    chapter.write_text(original.replace("# **Question.**", "# **The question.**", 1))
    done = dvc(tiny, "repro")
    ran = [line for line in done.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'tangle':", "Running stage 'weave':"]
    assert "The question." in (tiny / "reports" / "notebooks" / "04_evaluate.ipynb").read_text()
    chapter.write_text(original)
    assert dvc(tiny, "repro").returncode == 0


def test_everything_run_again_in_another_folder_is_the_same_to_the_byte(tiny, tmp_path):
    """Forced, so nothing comes from a cache; elsewhere, so no path is in what it makes."""
    other = scales.workspace("tiny", tmp_path / "elsewhere")
    for lock in ("dvc.lock", "data/dvc.lock"):
        shutil.copyfile(tiny / lock, other / lock)
    assert dvc(other, "repro", "-f").returncode == 0
    first, second = snapshot(tiny), snapshot(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_missing_or_unknown_parameter_stops_the_stage(tiny):
    path = tiny / "params.yaml"
    original = path.read_text()
    for wrong in ("  ordre: random", ""):
        path.write_text(original.replace("  order: random", wrong))
        done = dvc(tiny, "repro", "split")
        assert done.returncode != 0 and "params.yaml" in done.stderr and "ord" in done.stderr
    path.write_text(original)
    done = dvc(tiny, "repro", "split")
    assert done.returncode == 0 and "Running stage" not in done.stdout  # back from the cache


def test_a_failing_stage_leaves_its_page_and_a_non_zero_exit(tiny, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(tiny, folder, symlinks=True, ignore=shutil.ignore_patterns("tmp"))
    parameters = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(parameters.replace("order: random", "order: nonsense"))
    done = dvc(folder, "repro")
    page = folder / "build" / "executed" / "02_split.ipynb"
    assert done.returncode != 0 and "02_split" in done.stderr and str(page.name) in done.stderr
    errors = [o for c in pages.code_cells(nbformat.read(page, 4)) for o in c.outputs]
    errors = [output for output in errors if output.output_type == "error"]
    assert errors and "nonsense" in errors[-1].evalue and errors[-1].traceback


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_runs_by_itself_in_its_folder(tiny, chapter):
    """As JupyterLab opened in notebooks/ does: the paired .ipynb, cwd there, default values."""
    text = notebooks.pair(tiny / "notebooks" / chapter.name)
    quick = re.sub(r"\b((?:rival_)?epochs|ramp|min_steps) = \d+ ", r"\1 = 1 ", text)
    page = tiny / "notebooks" / f"alone_{chapter.stem}.ipynb"
    page.write_text(quick)
    outs = ("data", "reports", "build")
    kept = tiny / "kept"
    for name in outs:
        shutil.copytree(tiny / name, kept / name, symlinks=True)
    try:
        words = ("nbconvert", "--to", "notebook", "--execute", "--inplace", page.name)
        done = command(tiny, "jupyter", *words, cwd=tiny / "notebooks")
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        page.unlink()
        for name in outs:
            shutil.rmtree(tiny / name)
            (kept / name).rename(tiny / name)
        kept.rmdir()


@pytest.mark.parametrize(
    ("chapter", "sections", "bar"),
    [("03_train", "base,train", "all species, seed"), ("10_new_species", None, "finetuned")],
)
def test_a_page_read_by_oneself_trains_only_what_has_changed(
    tiny, tmp_path, chapter, sections, bar
):
    stage = yaml.safe_load((tiny / "dvc.yaml").read_text())["stages"]["new_species"]
    words = ("miewid_lib.notebooks", "run", f"notebooks/{chapter}.py", str(tmp_path / "page.ipynb"))
    words += ("--params", sections or ",".join(stage["params"]))
    words += ("--set", "model=multispecies") if sections else ()
    again = command(tiny, *words)
    assert again.returncode == 0 and bar not in again.stderr, again.stderr[-2000:]
    assert "up to date" in dvc(tiny, "status").stdout
    log = "multispecies/log.csv" if sections else "../new_species/log.csv"
    saved = {path: path.read_bytes() for path in (tiny / "data" / "models" / log).parent.iterdir()}
    try:
        changed = command(tiny, *words, "--set", "margin_max_rad=0.3")
        assert changed.returncode == 0 and bar in changed.stderr
    finally:
        for path, content in saved.items():
            path.write_bytes(content)
        dvc(tiny, "checkout", "-f")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_without_its_inputs_says_what_to_run(tmp_path, chapter):
    folder = scales.workspace("tiny", tmp_path / "empty")
    words = ("miewid_lib.notebooks", "run", f"notebooks/{chapter.name}", "page.ipynb")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stage = stages[chapter.stem.partition("_")[2]]
    extra = ("--set", "model=multispecies") if "matrix" in stage else ()
    extra += ("--set", "photos_seed=7") if "photos_seed" in stage["cmd"] else ()
    done = command(folder, *words, "--params", ",".join(stage["params"]), *extra)
    assert done.returncode == 1 and "StageError" in done.stderr and "run" in done.stderr


def test_data_and_models_travel_through_a_remote(tiny, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(tiny, clone, symlinks=True, ignore=shutil.ignore_patterns("cache", "tmp"))
    for name in (tiny, clone):
        assert dvc(name, "remote", "add", "-d", "store", str(tmp_path / "store")).returncode == 0
        assert dvc(name, "remote", "modify", "store", "verify", "true").returncode == 0
    assert dvc(tiny, "push").returncode == 0
    for name in ("crops.npz", "models", "photos"):
        path = clone / "data" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert dvc(clone, "pull").returncode == 0
    assert "up to date" in dvc(clone, "status").stdout
    weights = "data/models/multispecies/all_species-seed0.safetensors"
    assert (clone / weights).read_bytes() == (tiny / weights).read_bytes()
    assert command(clone, "miewid_lib.cache").returncode == 0


def test_what_is_committed_is_what_the_pipeline_makes():
    """In a bare clone too: code, parameters and prose are those that dvc.lock was written for."""
    done = dvc(ROOT, "repro", "--allow-missing", "--dry")
    assert done.returncode == 0 and "Running stage" not in done.stdout, done.stdout + done.stderr
