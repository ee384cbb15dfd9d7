"""What the pipeline itself costs: asking DVC with nothing to do, starting a page, tangle.

The limit is the start of the programs that do the work. Memory of their processes is not counted.
"""

import subprocess
import sys

from miewid_lib.paths import ROOT

IMPORTS = "import numpy, pandas, torch\nfrom miewid_lib import charts, evaluation, models, training"
PAGE = """
import nbclient, nbformat
code = {imports!r}
nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
nbclient.NotebookClient(nb, kernel_name="python3").execute()
"""


def _commands(folder, task: str) -> tuple[list[str], list[str]]:
    chapters = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.py"))
    press, python = [sys.executable, "-m", "miewid_lib.notebooks"], [sys.executable, "-c"]
    dvc = [sys.executable, "-m", "dvc"]
    return {
        "nothing to do": ([*dvc, "repro", "--dry"], [*dvc, "--version"]),
        "start a page": ([*python, PAGE.format(imports=IMPORTS)], [*python, IMPORTS]),
        "tangle": ([*press, "tangle", str(folder), *chapters], [*python, "import jupytext"]),
    }[task]


def _ours(folder, task):
    command, _ = _commands(folder, task)

    def work():
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        stages = done.stdout.count("Running stage") if task == "nothing to do" else None
        return lambda: {} if stages is None else {"stages that would run": stages}

    return work


def _start(folder, task):
    _, command = _commands(folder, task)

    def work():
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return dict

    return work


OURS = {"miewid_lib": _ours}
PEERS: dict = {}
LIMITS = {"start of the programs": _start}
