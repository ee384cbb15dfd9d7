"""The same pipeline at another scale, in a workspace of its own: results never overwrite others.

`python -m miewid_lib.scales real --data FOLDER` copies the code and `params/real.yaml` to
`runs/real`, links the photos there, runs `dvc repro` in it (a killed run goes on where it was) and
copies tables, charts and metrics, no photo, to `reports/real`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from miewid_lib.errors import MiewidError, StageError
from miewid_lib.paths import ROOT, need

CODE = ("miewid_lib", "notebooks", "dvc.yaml", ".dvcignore")
RESULTS = ("tables", "figures", "metrics")  # pages show photos, so they stay in the workspace
WITH_PHOTOS = ("explanations.png",)  # figures that do, and stay as well


def workspace(scale: str, folder: Path, photos: Path | None = None) -> Path:
    """Make or refresh the workspace of a scale in `folder`; results of earlier runs stay there.

    Without `photos` the workspace makes procedural animals of its own. StageError where the scale
    or the folder of photos does not exist.
    """
    parameters = need(ROOT / "params" / f"{scale}.yaml", made_by="a scale of params/")
    if photos is not None and not photos.is_dir():
        raise StageError(f"{photos} is not a folder of photos; give DATA=folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        _copy(ROOT / name, folder / name)
    shutil.copyfile(parameters, folder / "params.yaml")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    if (data / "photos").is_symlink():
        (data / "photos").unlink()
    if photos is None:
        shutil.copyfile(ROOT / "data" / "dvc.yaml", data / "dvc.yaml")
    elif (data / "photos").exists():
        raise StageError(f"{data / 'photos'} holds made photos; remove it to use {photos}")
    else:
        (data / "dvc.yaml").unlink(missing_ok=True)
        (data / "photos").symlink_to(photos.resolve(), target_is_directory=True)
    if not (folder / ".dvc").exists():
        _dvc(folder, "init", "--no-scm", "--quiet")
        for silent in ("core.analytics", "core.check_update"):
            _dvc(folder, "config", "--quiet", silent, "false")
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Variables for a command in a workspace: this Python, and the library of that folder.

    A kernel looks in PYTHONPATH before its own folder, so a path set by the user would lead to
    another library, which writes elsewhere.
    """
    bin_folder = str(Path(sys.executable).parent)  # stages say `python`: it must be this one
    variables = os.environ | {"HF_HUB_OFFLINE": "1"}
    for name, first in (("PATH", bin_folder), ("PYTHONPATH", str(folder.resolve()))):
        variables[name] = os.pathsep.join(filter(None, [first, os.environ.get(name)]))
    return variables


def reproduce(folder: Path, *dvc_arguments: str) -> None:
    """Run `dvc repro` in a workspace; CalledProcessError where a stage fails."""
    _dvc(folder, "repro", *dvc_arguments)


def collect(folder: Path, reports: Path) -> None:
    """Copy tables, charts and metrics (no photo) of a workspace to `reports`."""
    for name in RESULTS:
        _copy(need(folder / "reports" / name, made_by="dvc repro"), reports / name)


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copyfile(source, target)
        return
    if target.exists():
        shutil.rmtree(target)
    left = ("__pycache__", ".ipynb_checkpoints", "*.ipynb", ".gitignore", *WITH_PHOTOS)
    ignore = shutil.ignore_patterns(*left)
    shutil.copytree(source, target, ignore=ignore)


def _dvc(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, cwd=folder, env=environment(folder), check=True)


def main(argv: list[str] | None = None) -> int:
    """Command line: scale, `--data` folder of photos, `--into` another workspace."""
    parser = argparse.ArgumentParser(prog="miewid_lib.scales", description=__doc__)
    parser.add_argument("scale", help="name of a file in params/")
    parser.add_argument("--data", type=Path, help="folder of photos (COCO or CSV sub-folders)")
    parser.add_argument("--into", type=Path, help="workspace, default runs/<scale>")
    options = parser.parse_args(argv)
    folder = options.into or ROOT / "runs" / options.scale
    reports = folder / "collected" if options.into else ROOT / "reports" / options.scale
    try:
        if options.data is None and options.scale != "tiny":
            raise StageError(f"the scale {options.scale} needs photos: give DATA=folder")
        reproduce(workspace(options.scale, folder, options.data))
        collect(folder, reports)
    except MiewidError as error:
        print(f"{options.scale}: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return error.returncode
    print(f"tables, charts and metrics: {reports}\npages: {folder / 'reports' / 'notebooks'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
