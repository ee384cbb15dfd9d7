"""Another scale lives in a workspace of its own."""

import subprocess
import sys

import pytest
import yaml

from miewid_lib import scales
from miewid_lib.errors import StageError
from miewid_lib.paths import ROOT


def test_a_workspace_holds_code_parameters_and_a_link_to_the_photos(tmp_path):
    photos = tmp_path / "photos"
    (photos / "koi").mkdir(parents=True)
    folder = scales.workspace("real", tmp_path / "run", photos)
    assert (folder / "data" / "photos").resolve() == photos
    assert not (folder / "data" / "dvc.yaml").exists()
    assert (folder / "params.yaml").read_text() == (ROOT / "params" / "real.yaml").read_text()
    assert (folder / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()
    assert (folder / "miewid_lib" / "paths.py").is_file()


def test_refreshing_keeps_results_and_takes_new_code(tmp_path):
    folder = scales.workspace("tiny", tmp_path / "run")
    (folder / "reports").mkdir()
    (folder / "reports" / "kept").write_text("x")
    (folder / "miewid_lib" / "paths.py").write_text("old")
    scales.workspace("tiny", folder)
    assert (folder / "reports" / "kept").exists()
    assert (folder / "miewid_lib" / "paths.py").read_text() != "old"
    assert (folder / "data" / "dvc.yaml").is_file()


def test_made_photos_are_not_mistaken_for_given_ones(tmp_path):
    folder = scales.workspace("tiny", tmp_path / "run")
    (folder / "data" / "photos").mkdir()
    with pytest.raises(StageError, match="made photos"):
        scales.workspace("real", folder, tmp_path)


def test_collected_results_hold_no_page(tmp_path):
    for name in ("tables", "figures", "metrics", "notebooks"):
        (tmp_path / "run" / "reports" / name).mkdir(parents=True)
        (tmp_path / "run" / "reports" / name / "x.png").write_bytes(b"x")
    scales.collect(tmp_path / "run", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(scales.RESULTS)


def test_figures_that_show_photos_are_not_collected(tmp_path):
    for name in scales.RESULTS:
        (tmp_path / "run" / "reports" / name).mkdir(parents=True)
    for name in ("figure1.png", *scales.WITH_PHOTOS):
        (tmp_path / "run" / "reports" / "figures" / name).write_bytes(b"x")
    scales.collect(tmp_path / "run", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "figures").iterdir()] == ["figure1.png"]
    # a new figure must be put on one side or the other before it can be collected
    charts = {*(f"figure{i}.png" for i in range(1, 5)), "new_species.png", "poster.png"}
    made = {path.name for path in (ROOT / "reports" / "figures").glob("*.png")}
    assert made <= charts | set(scales.WITH_PHOTOS)
    assert {path.name for path in (ROOT / "reports" / "real" / "figures").glob("*")} <= charts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["real"], "DATA"),
        (["real", "--data", "no/such/folder"], "not a folder"),
        (["nonsense", "--data", "."], "nonsense.yaml"),
    ],
)
def test_wrong_requests_are_one_line(tmp_path, words, said):
    command = [sys.executable, "-m", "miewid_lib.scales", *words, "--into", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_every_scale_is_in_the_readme_or_for_tests():
    names = {path.stem for path in (ROOT / "params").glob("*.yaml")}
    assert names == {"real", "paper", "tiny"}
    for name in names:
        assert yaml.safe_load((ROOT / "params" / f"{name}.yaml").read_text())["dataset"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_no_photo_of_a_real_animal_is_tracked():
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    tracked = done.stdout.split()
    assert not [name for name in tracked if name.lower().endswith((".jpg", ".jpeg"))]
    assert not [name for name in tracked if name.startswith("reports/real/notebooks")]


def test_a_workspace_imports_its_own_library_whatever_the_shell_says(tmp_path, monkeypatch):
    (tmp_path / "miewid_lib.py").write_text("print('the copy')")
    command = [sys.executable, "-P", "-c", "import miewid_lib"]  # as a kernel: no current folder
    for shell in (str(ROOT), ""):
        monkeypatch.setenv("PYTHONPATH", shell)
        done = subprocess.run(command, env=scales.environment(tmp_path), capture_output=True)
        assert done.stdout == b"the copy\n"
