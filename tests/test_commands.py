"""The command line as people meet it: real runs of `python -m miewid_lib` on small made photos."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_hostile_photos import NAMES, bomb, encoded

from miewid_lib import images, models, training
from miewid_lib.paths import ROOT

SIZE_PX = 32
COMMANDS = ["embed", "match", "check", "finetune"]


def command(*words, **options) -> list[str]:
    flags = [
        part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)
    ]
    return [sys.executable, "-m", "miewid_lib", *map(str, words), *map(str, flags)]


def run(*words, **options) -> subprocess.CompletedProcess:
    there = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*words, **options), capture_output=True, text=True, env=there)


def refusal(*words, **options) -> str:
    done = run(*words, **options)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert lines[-1].startswith("error: ") and "Traceback" not in done.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "start.safetensors"
    models.save(models.EmbeddingNet("test_efficientnet").eval(), path, size_px=SIZE_PX)
    return path


def herd(folder: Path, n_animals: int = 4, n_encounters: int = 4, n_photos: int = 2) -> Path:
    """<animal>/<encounter>/<photo>.jpg: each animal has a colour, each photo some noise."""
    rng = np.random.default_rng(0)
    for animal in range(n_animals):
        colour = rng.uniform(40, 215, 3)
        for encounter in range(n_encounters):
            place = folder / f"animal {animal}" / f"day {encounter}"
            place.mkdir(parents=True)
            for photo in range(n_photos):
                pixels = (colour + rng.normal(0, 25, (40, 48, 3))).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{photo}.jpg")
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(name):
    done = run(name, "--help")
    assert done.returncode == 0 and f"python -m miewid_lib {name}" in done.stdout
    assert "example" in done.stdout and "Exit code" in done.stdout


def test_vectors_are_those_of_the_library(tmp_path, model):
    photos, out = herd(tmp_path / "photos"), tmp_path / "out" / "e.npz"
    done = run("embed", photos, model=model, out=out, threads=2)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        paths, vectors, individual = file["image_path"], file["vectors"], file["individual"]
    crops = [images.crop(images.load(photos / p), (0, 0, 48, 40), 0, SIZE_PX) for p in paths]
    exact = training.embed(models.load(model), np.stack(crops))
    assert len(paths) == 32 and list(individual) == [p.split("/")[0] for p in paths]
    assert np.allclose(vectors, exact, rtol=1e-4, atol=1e-5)
    assert [path.name for path in out.parent.iterdir()] == ["e.npz"]


def test_threads_do_not_change_a_byte(tmp_path, model):
    photos = herd(tmp_path / "photos", 3, 8, 4)
    for threads in (1, 3):
        run("embed", photos, model=model, out=tmp_path / f"{threads}.npz", threads=threads)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "3.npz").read_bytes()


def test_a_bad_photo_is_named_with_its_reason_and_the_rest_goes_on(tmp_path, model):
    photos = tmp_path / "photos"
    photos.mkdir()
    contents = {name: encoded("JPEG") for name in NAMES} | {"named.jpg": encoded("PNG")}
    bad = {"bomb.jpg": bomb("PNG"), "huge.jpg": bomb("JPEG"), "empty.jpg": b"", "text.jpg": b"text"}
    bad |= {"cut.jpg": encoded("JPEG")[:200], "eps.jpg": encoded("EPS")}
    for name, content in (contents | bad).items():
        (photos / name).write_bytes(content)
    done = run("embed", photos, model=model, out=tmp_path / "e.npz")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    skipped = pd.read_csv(tmp_path / "e.skipped.csv").set_index("image_path")["reason"]
    assert sorted(skipped.index) == sorted(bad)
    assert "exceeds limit" in skipped["bomb.jpg"] and "exceeds limit" in skipped["huge.jpg"]
    assert all(f"skipped '{name}': " in done.stderr for name in bad)
    with np.load(tmp_path / "e.npz") as file:
        assert sorted(file["image_path"]) == sorted(contents)


def test_a_table_and_boxes_are_read_and_a_box_outside_is_skipped(tmp_path, model):
    Image.new("RGB", (60, 40), "red").save(tmp_path / "a.jpg")
    rows = "id,file_name,x,y,w,h,species\n1,a.jpg,0,0,30,30,lion\n2,a.jpg,90,90,9,9,lion\n"
    (tmp_path / "annotations.csv").write_text(rows + "3,gone.jpg,0,0,30,30,lion\n")
    done = run("embed", tmp_path / "annotations.csv", model=model, out=tmp_path / "e.npz")
    assert done.returncode == 1
    skipped = pd.read_csv(tmp_path / "e.skipped.csv")["reason"]
    assert "not inside" in skipped[0] and "is not there" in skipped[1]


def test_killed_in_the_middle_and_run_again_gives_the_same_bytes(tmp_path, model):
    photos, parts = tmp_path / "photos", tmp_path / "e.npz.parts"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3000):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        Image.new("RGB", (20, 20), colour).save(photos / f"{i:04d}.png")
    options = {"model": model, "threads": 1}
    assert run("embed", photos, out=tmp_path / "once.npz", **options).returncode == 0
    there = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        command("embed", photos, out=tmp_path / "e.npz", **options),
        env=there,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not list(parts.glob("*.npz")) and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {path: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    assert 0 < len(kept) < 3 and not (tmp_path / "e.npz").exists()
    damaged = next(iter(kept))
    damaged.write_bytes(damaged.read_bytes()[:-500])  # not trusted either
    assert run("embed", photos, out=tmp_path / "e.npz", **options).returncode == 0
    assert (tmp_path / "e.npz").read_bytes() == (tmp_path / "once.npz").read_bytes()
    assert not parts.exists()


MEASURE = "import runpy, sys, resource; sys.argv = sys.argv[1:]\n"
MEASURE += "try:\n    runpy.run_module('miewid_lib', run_name='__main__')\n"
MEASURE += "except SystemExit as end:\n    assert not end.code\n"
MEASURE += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def peak_kb(photos: Path, model: Path, out: Path) -> int:
    words = command("embed", photos, model=model, out=out, threads=1)[3:]
    there = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "miewid_lib", *words],
        capture_output=True,
        text=True,
        env=there,
    )
    return int(done.stdout.split()[-1]) // (1 if sys.platform == "linux" else 1024)


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path, model):
    """Twelve times as many photos: their crops alone would be 150 MB, their vectors 4 MB."""
    for n, folder in ((400, "few"), (4800, "many")):
        (tmp_path / folder).mkdir()
        for i in range(n):
            Image.new("RGB", (12, 12), (i % 256, i // 256, 9)).save(tmp_path / folder / f"{i}.bmp")
    few, many = (
        peak_kb(tmp_path / name, model, tmp_path / f"{name}.npz") for name in ("few", "many")
    )
    assert many - few < 30_000, (few, many)


def test_match_writes_a_row_a_query_and_candidate(tmp_path, model):
    photos = herd(tmp_path / "photos")
    done = run("match", photos, photos, model=model, top=3, out=tmp_path / "m.csv")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "m.csv")
    assert len(table) == 32 * 3 and set(table["rank"]) == {1, 2, 3}
    folder = table[["query_photo", "candidate_photo"]].map(lambda path: path.rpartition("/")[0])
    assert (folder["query_photo"] != folder["candidate_photo"]).all()  # own encounter
    again = run(
        "match", tmp_path / "m.queries.npz", tmp_path / "m.catalogue.npz", out="/dev/null/x"
    )
    assert again.returncode == 2
    first = (tmp_path / "m.csv").read_bytes()
    run("match", tmp_path / "m.queries.npz", tmp_path / "m.catalogue.npz", top=3,
        out=tmp_path / "m.csv")  # fmt: skip
    assert (tmp_path / "m.csv").read_bytes() == first


def test_check_reports_and_says_so_in_its_exit_code(tmp_path):
    photos = herd(tmp_path / "photos")
    assert run("check", photos).returncode == 0
    (photos / "animal 0" / "bad.jpg").write_bytes(b"text")
    done = run("check", photos, out=tmp_path / "report.csv")
    assert done.returncode == 1 and "photo unreadable" in done.stdout
    report = pd.read_csv(tmp_path / "report.csv").set_index("finding")
    assert report.loc["photo unreadable", ["count", "of"]].tolist() == [1, 33]


def test_bad_input_is_one_line(tmp_path, model):
    photos, out = herd(tmp_path / "photos", 1, 1), tmp_path / "e.npz"
    assert "no such file" in refusal("embed", tmp_path / "gone", model=model, out=out)
    assert "no such file" in refusal("embed", photos, model=tmp_path / "gone.x", out=out)
    assert ".npz or .parquet" in refusal("embed", photos, model=model, out=tmp_path / "e.txt")
    (tmp_path / "annotations.json").write_text("{}")
    assert "annotations.json" in refusal("embed", tmp_path, model=model, out=out)
    (tmp_path / "a.npz").write_bytes(b"text")
    assert "a.npz" in refusal("match", tmp_path / "a.npz", tmp_path / "a.npz", out=out)
    assert "give --model" in refusal("match", photos, photos, out=out)
    done = run("finetune", photos, model=model, out=tmp_path / "m.safetensors")
    assert done.returncode == 2 and done.stderr.startswith("error: ")
    done = run("match", "a", "b", out=out, top=0)
    assert done.returncode == 2 and "at least 1" in done.stderr


TUNING = {"frozen_epochs": 1, "epochs": 3, "batch_size": 16, "precision": "float32", "threads": 1}


def test_fine_tuning_gives_a_network_that_loads_and_a_curve(tmp_path, model):
    photos = herd(tmp_path / "photos", 5, 5, 2)
    for name in ("a", "b"):
        done = run("finetune", photos, model=model, out=tmp_path / f"{name}.safetensors", **TUNING)
        assert done.returncode == 0, done.stderr
    for suffix in ("safetensors", "csv", "json"):  # same input, same bytes
        a, b = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("a", "b"))
        assert a == b, suffix
    assert models.load(tmp_path / "a.safetensors").size_px == SIZE_PX
    curve = pd.read_csv(tmp_path / "a.csv")
    assert list(curve["stage"]) == ["loss alone", *["all layers"] * 3]
    assert curve[["loss", "validation_loss", "validation_top1"]].notna().all(axis=None)
    assert json.loads((tmp_path / "a.json").read_text())["species"] == ["animal"]
    assert not (tmp_path / "a.parts").exists()
