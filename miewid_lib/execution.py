"""Running a chapter as a page: papermill, with nothing of the run's place and time left in it."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from miewid_lib import pages


def run(source: Path, out: Path, values: dict[str, Any]) -> str | None:
    """Execute `source` with `values` instead of its defaults and write the page to `out`.

    Returns None, or one line about the cell that failed; `out` then ends with its traceback. Raises
    PageError (`out` is written all the same) where a page holds what changes from run to run.
    """
    from papermill.execute import remove_error_markers

    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    partial = out.with_suffix(".partial.ipynb")
    try:
        died = _execute(pages.read(source), partial, values)
        page = pages.read(partial)
    finally:
        partial.unlink(missing_ok=True)
    failure = died or pages.failure(page)
    cells = page.cells if failure else remove_error_markers(page).cells
    page = pages.clean(cells)
    pages.write(out, nbformat.writes(page) + "\n")
    if not failure:
        pages.refuse_unstable(page, out)
    return failure


def _execute(nb: NotebookNode, out: Path, values: dict[str, Any]) -> str | None:
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError, execute_notebook
    from traitlets.config import Config

    try:
        execute_notebook(
            nb,
            str(out).replace("{", "{{").replace("}", "}}"),  # papermill formats its paths
            parameters=values,
            kernel_name=pages.KERNEL["name"],
            language=pages.KERNEL["language"],
            progress_bar=False,
            coalesce_streams=True,  # else prints are cut into outputs by the clock
            shutdown_kernel="immediate",  # a graceful end waits seconds for torch
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),
        )
    except PapermillExecutionError:
        return None  # cells that are meant to fail raise it too: ask the page
    except DeadKernelError:
        return "the kernel died (out of memory?)"
    return None


def settle_process() -> None:
    """Let nothing from this shell into the page, and let no kernel outlive `dvc repro`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # else timm retries for 47 s without a network
    os.environ |= {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONHASHSEED": "0"}
    os.environ["MIEWID_PROGRESS"] = f"/proc/{os.getpid()}/fd/2"
    os.environ.pop("MPLBACKEND", None)  # Agg would leave the page without pictures
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if sys.platform == "linux":
        import fcntl

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: the parent's end is ours
        # Kernel and runner share stderr: without O_APPEND one overwrites the other in a log file.
        fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_APPEND)
