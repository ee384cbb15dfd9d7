"""Binder and dev containers: what they are told to run exists in this repository."""

import json
import os
import re
import subprocess
import sys
import tomllib

import yaml
from packaging.specifiers import SpecifierSet

from miewid_lib import pages
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


ALONE = """
import sys, importlib.util
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import register_line_magic

shell = InteractiveShell.instance()
told = []
shell.register_magic_function(told.append, "line", "pip")
real = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if {absent} and name == "miewid_lib" else real(name)
done = shell.run_cell(sys.stdin.read())
done.raise_error()
import os
print("", os.getcwd(), told, sys.path[0], sep="\\n")
"""


def test_a_page_that_comes_alone_fetches_the_book(tmp_path):
    """The packages themselves are not installed again: what pip is told is looked at."""
    book, alone = tmp_path / "origin", tmp_path / "alone"
    for folder in (book / "notebooks", book / "miewid_lib", alone, alone / "runtime"):
        folder.mkdir(parents=True)
    (book / "requirements.txt").touch()
    (book / "notebooks" / "keep").touch()
    (book / "miewid_lib" / "__init__.py").write_text("")
    (book / "dvc.yaml").write_text("stages: {figure1: {cmd: touch made}}")
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", "-C", book, *words], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", book, *who, "commit", "-qm", "book"], check=True)
    cell = pages.fetching(book.as_uri(), "figure1")
    for absent in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", ALONE.format(absent=absent)],
            input=cell.source,
            cwd=alone,
            env=os.environ | {"IPYTHONDIR": str(alone / "runtime")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        *_, place, told, first = done.stdout.splitlines()
        if absent:
            assert place == str(alone / "book" / "notebooks") and first == str(alone / "book")
            assert told == "['install -q -r book/requirements.txt']"
        else:
            assert place == str(alone) and told == "[]" and not (alone / "book").exists()
