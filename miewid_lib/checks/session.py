"""The manners of an exercise sheet: an error is one line that says what to do."""

from miewid_lib.errors import MiewidError, StageError
from miewid_lib.paths import ROOT


def start() -> None:
    """Let every error of this notebook be one line; StageError if this is not the book's kernel.

    Outside of a notebook nothing changes. `%tb` is not kept: take this line out of the sheet to see
    whole tracebacks.
    """
    if not (ROOT / "dvc.yaml").is_file():
        folder = "the folder of dvc.yaml"
        raise StageError(f"{ROOT} is not {folder}: run pip install -e . there and restart")
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return
    if shell := get_ipython():
        shell.set_custom_exc((Exception,), _show)


def hint(error: Exception, place: str = "") -> str:
    """Return one line on an error: what happened, in which line of the cell, and what may help."""
    text = " ".join(str(error).split()) or "no message"
    if isinstance(error, MiewidError):
        return text
    if isinstance(error, NotImplementedError):
        return f"{text}: put your own lines in the place of the line `raise ...`{place}"
    if isinstance(error, NameError):
        return f"{text}{place}: run the cells above first, or undo a change of the name"
    if isinstance(error, ModuleNotFoundError):
        return f"{text}{place}: choose the book's kernel (Kernel > Change Kernel)"
    return f"{type(error).__name__}{place}: {text}"


def _show(shell, kind, error, trace, tb_offset=None) -> None:
    in_cell = None  # the last line of the reader's own code that led here
    while trace is not None:
        if shell.compile.format_code_name(trace.tb_frame.f_code.co_filename):
            in_cell = trace.tb_lineno
        trace = trace.tb_next
    place = f" (line {in_cell} of the cell it stands in)" if in_cell else ""
    shell._showtraceback(kind, error, [hint(error, place)])
