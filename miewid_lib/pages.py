"""What a page is: cells, tags and outputs, with no clock, random id, address or absolute path."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from miewid_lib.errors import PageError
from miewid_lib.paths import ROOT

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PERCENT = {"extension": ".py", "format_name": "percent"}
FETCH = """# On Colab and the like: fetch the book and what this page needs; elsewhere do nothing.
import os
import sys
from importlib.util import find_spec

if find_spec("miewid_lib") is None:
    !git clone -q {repository} book
    sys.path.insert(0, os.path.abspath("book"))
    %pip install -q -r book/requirements.txt
    !cd book && {{sys.executable}} -m dvc repro {stage}
    %cd -q book/notebooks"""


def read(path: Path) -> NotebookNode:
    """Return the notebook at `path` (`.ipynb`, or `.py` in percent format), else PageError."""
    if not path.is_file():
        raise PageError(f"{path}: there is no such page")
    try:
        return jupytext.read(path, fmt=PERCENT if path.suffix == ".py" else None)
    except nbformat.reader.NotJSONError:
        raise PageError(f"{path}: not a notebook (cut short?), make it again") from None


def write(path: Path, text: str) -> None:
    """Write `text` to `path` in one step, so that nobody meets half a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_bytes(text.encode())
    new.replace(path)


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """Return the code cells of a notebook, in order."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell, often none."""
    return list(cell.metadata.get("tags", []))


def clean(cells: Iterable[NotebookNode]) -> NotebookNode:
    """Return a notebook of `cells` with ids and counts by position, tags, `alt` and outputs alone.

    `alt` says in words what the picture below a cell shows, for those who cannot see it.
    """
    nb = new_notebook(metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    nb.nbformat_minor = 5
    count = 0
    for position, cell in enumerate(cells):
        kept = {key: cell.metadata[key] for key in ("tags", "alt") if cell.metadata.get(key)}
        new = NotebookNode(cell | {"id": f"cell-{position:03d}", "metadata": NotebookNode(kept)})
        if cell.cell_type == "code" and cell.execution_count is not None:
            count += 1
            new.execution_count = count
            new.outputs = [_settled(output, count, cell) for output in cell.outputs]
        nb.cells.append(new)
    return nb


def fetching(repository: str, stage: str) -> NotebookNode:
    """Return the cell that fetches the book and runs what the page of `stage` needs."""
    source = FETCH.format(repository=repository, stage=stage)
    return new_code_cell(source, metadata={"tags": ["remove-cell"]})


def failure(nb: NotebookNode) -> str | None:
    """Return one line on the first cell that failed or never ran, None for a whole page."""
    for cell in code_cells(nb):
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                return " ".join(f"{output.ename}: {output.evalue}".split())
        if cell.source.strip() and cell.execution_count is None:
            return f"stopped before the cell {_first_line(cell)!r}"
    return None


def refuse_unstable(nb: NotebookNode, page: Path) -> None:
    """Raise PageError where an output holds what differs from run to run or machine to machine."""
    places = "|".join(re.escape(str(place)) for place in {ROOT, Path.cwd()})
    unstable = re.compile(rf"\bat 0x[0-9a-f]+|/\S+\.py:\d+|(?:{places})\b")
    for cell in code_cells(nb):
        for text in _texts(cell):
            if found := unstable.search(text):
                where = f"{page}: output of the cell {_first_line(cell)!r}"
                raise PageError(f"{where} holds {found[0]!r}, no other run would print it")


def _settled(output: NotebookNode, count: int, cell: NotebookNode) -> NotebookNode:
    if (alt := cell.metadata.get("alt")) and "image/png" in output.get("data", {}):
        output = NotebookNode(output | {"metadata": {"image/png": {"alt": alt}}})
    if output.output_type == "execute_result":
        return NotebookNode(output | {"execution_count": count})
    if output.output_type == "error" and "raises-exception" in tags(cell):
        # An error the chapter means to show: the reader needs its message, not our folders.
        line = f"{output.ename}: {output.evalue}"
        return new_output("error", ename=output.ename, evalue=output.evalue, traceback=[line])
    return output


def _texts(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        yield output.get("text", "")
        yield from output.get("traceback", [])
        data = output.get("data", {})
        yield from (str(data[kind]) for kind in data if kind not in ("image/png", "image/jpeg"))


def _first_line(cell: NotebookNode) -> str:
    return cell.source.strip().split("\n")[0]
