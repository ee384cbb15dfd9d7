"""Binder and dev containers: what they are told to run exists in this repository."""

import json
import os
import re
import subprocess
import tomllib

import yaml
from packaging.specifiers import SpecifierSet

from miewid_lib.paths import ROOT

BINDER = ROOT / ".binder"
PYTHON = SpecifierSet(
    tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
)


def test_binder_installs_the_lock_on_a_python_the_project_supports():
    (line,) = (BINDER / "requirements.txt").read_text().splitlines()
    assert (BINDER / line.removeprefix("-r ")).resolve() == ROOT / "requirements.txt"
    assert PYTHON.contains((BINDER / "runtime.txt").read_text().strip().removeprefix("python-"))


def test_binder_runs_commands_that_exist():
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    asked = re.findall(r"^[^#\n]*dvc repro (\w+)$", script.read_text(), flags=re.MULTILINE)
    assert asked and set(asked) <= set(stages)
    locked = (ROOT / "requirements.txt").read_text()
    assert re.search(r"^dvc==", locked, flags=re.MULTILINE)
    assert re.search(r"^setuptools==", locked, flags=re.MULTILINE)  # --no-build-isolation needs it


def test_dev_container_sets_up_with_a_make_target():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert PYTHON.contains(re.fullmatch(r"python:([\d.]+)-\w+", settings["image"])[1])
    target = settings["postCreateCommand"].removeprefix("make ")
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
    interpreter = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter.endswith(
        "/" + re.search(r"^VENV \?= (\S+)$", makefile, re.MULTILINE)[1] + "/bin/python"
    )
