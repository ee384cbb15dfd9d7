"""Exercise sheets: a solved notebook with its solutions cut out, so that both never disagree."""

import argparse
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from miewid_lib import pages
from miewid_lib.errors import MiewidError, PageError
from miewid_lib.paths import ROOT

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
YOUR_TURN = 'raise NotImplementedError("your turn")'
BLANK = "*Your answer:*\n\n"  # in place of a prose cell with the tag solution
SOURCES = ROOT / "notebooks" / "exercises"


def sheet(source: Path) -> str:
    """Return the student's sheet of a solved notebook: a notebook without solutions and outputs.

    A block between the lines BEGIN and END becomes YOUR_TURN, a prose cell with the tag `solution`
    a line to write on. Raises PageError where marks do not pair or nothing is there to solve.
    """
    cells = pages.read(source).cells
    blank = [_blank(cell, source) for cell in cells]
    if all(new.source == old.source for new, old in zip(blank, cells, strict=True)):
        raise PageError(f"{source}: no solution is marked, so there is nothing to solve")
    nb = pages.clean(blank)
    # alone: a sheet that is saved in JupyterLab must not write a .py beside it
    nb.metadata = NotebookNode(jupytext={"formats": "ipynb"}, kernelspec=pages.KERNEL)
    return nbformat.writes(nb) + "\n"


def cut(code: str, where: str) -> str:
    """Return `code` with each solution block replaced by YOUR_TURN; PageError for odd marks.

    >>> cut("def half(x):\\n    ### BEGIN SOLUTION\\n    return x / 2\\n    ### END SOLUTION", "")
    'def half(x):\\n    raise NotImplementedError("your turn")'
    """
    try:
        return split(code, YOUR_TURN)[0]
    except PageError as error:
        raise PageError(f"{where}: {error}") from None


def split(code: str, placeholder: str) -> tuple[str, list[str]]:
    """Return `code` with `placeholder` for each solution block, and the solutions.

    Raises PageError where a line that begins a solution has no line that ends it, or the reverse.
    """
    kept, solutions, inside = [], [], False
    for line in code.split("\n"):
        mark = line.strip()
        if mark not in (BEGIN, END):
            (solutions[-1] if inside else kept).append(line)
            continue
        if inside == (mark == BEGIN):
            raise PageError(f"{mark} without its partner")
        inside = mark == BEGIN
        if inside:
            kept.append(line.replace(BEGIN, placeholder))
            solutions.append([])
    if inside:
        raise PageError(f"{BEGIN} without its partner")
    return "\n".join(kept), ["\n".join(lines) for lines in solutions]


def target(source: Path) -> Path:
    """Return where the sheet of a solved notebook is written: sheets/<name>.ipynb beside it."""
    return source.parent / "sheets" / f"{source.stem}.ipynb"


def _blank(cell: NotebookNode, source: Path) -> NotebookNode:
    text = cut(cell.source, str(source)) if cell.cell_type == "code" else cell.source
    if "solution" in pages.tags(cell):
        if cell.cell_type == "code":
            raise PageError(f"{source}: mark code by {BEGIN}, the tag solution is for prose")
        text = BLANK
    tags = [tag for tag in pages.tags(cell) if tag != "solution"]
    return NotebookNode(cell | {"source": text, "metadata": NotebookNode(tags=tags)})


def _worked_in(path: Path) -> bool:
    return any(cell.execution_count for cell in pages.code_cells(pages.read(path)))


def main(argv: list[str] | None = None) -> int:
    """Command line: exit 1 where a sheet is stale or was worked in, 2 where a source is wrong."""
    parser = argparse.ArgumentParser(prog="miewid_lib.sheets", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only name the sheets out of step")
    parser.add_argument("sources", type=Path, nargs="*", help="default: all solved notebooks")
    options = parser.parse_args(argv)
    try:
        texts = {target(s): sheet(s) for s in options.sources or sorted(SOURCES.glob("*.py"))}
        stale = [path for path in texts if not path.is_file() or path.read_text() != texts[path]]
        kept = [path for path in stale if path.is_file() and _worked_in(path)]
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    for path in stale:
        if options.check:
            print(f"{path}: not in step with its solved notebook, run make sheets", file=sys.stderr)
        elif path in kept:
            print(f"{path}: holds somebody's work, move it away first", file=sys.stderr)
        else:
            pages.write(path, texts[path])
    return int(bool(stale if options.check else kept))


if __name__ == "__main__":
    sys.exit(main())
