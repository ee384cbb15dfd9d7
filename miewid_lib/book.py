"""The static book: executed pages, exercises and glossary as one site that opens from a disk.

`python -m miewid_lib.book build/book` collects the sources in `build/book-pages` and has Sphinx
make HTML from them. Nothing is run again: outputs are those of `reports/notebooks`.
"""

import argparse
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from miewid_lib import pages, sheets
from miewid_lib.errors import MiewidError, PageError
from miewid_lib.paths import ROOT, need

FOLDED = "<details class=solution><summary>Solution</summary>\n\n```python\n{}\n```\n\n</details>"
PLACES = ("explore", "teach", "contents")  # where index.md wants what is there
LINK = re.compile(r"(?<!!)\[([^\]\n]+(?:\n[^\]\n]+)?)\]\(([^)\s]+)\)")


def fold(cell: NotebookNode) -> list[NotebookNode]:
    """Return a code cell with its solutions left out, and below it each of them, folded.

    PageError where a line that begins a solution has no line that ends it, or the other way round.
    """
    try:
        kept, solutions = sheets.split(cell.source, "...  # your turn")
    except PageError as error:
        name = cell.source.strip().partition("\n")[0]
        raise PageError(f"{error} in the cell {name!r}") from None
    if not solutions:
        return [cell]
    asked = NotebookNode(cell | {"source": kept, "outputs": []})
    return [asked, *(new_markdown_cell(FOLDED.format(solution)) for solution in solutions)]


def relink(text: str, documents: dict[str, str]) -> str:
    """Return Markdown whose links to files of the repository lead to pages of the book.

    `documents`: path in the repository without its suffix, to document. A relative link is known
    by its last parts; one to a file that is no page keeps its words alone.
    """

    def target(match: re.Match) -> str:
        words, link = match.groups()
        if re.match(r"[a-z]+:|#|/", link):
            return match[0]
        stem, _, fragment = link.removeprefix("./").partition("#")
        stem = re.sub(r"^(\.\./)+|\.(ipynb|py|md)$", "", stem)
        found = [doc for path, doc in documents.items() if f"/{path}".endswith(f"/{stem}")]
        if not found:
            return words
        return f"[{words}](/{found[0]}{'#' + fragment if fragment else ''})"

    return LINK.sub(target, text)


def documents(root: Path) -> dict[str, str]:
    """Return what the book shows: path in the repository without suffix, to document."""
    chapters = sorted(need(root / "reports" / "notebooks", made_by="dvc repro").glob("*.ipynb"))
    found = {f"reports/notebooks/{path.stem}": f"chapters/{path.stem}" for path in chapters}
    found |= {f"notebooks/{path.stem}": f"chapters/{path.stem}" for path in chapters}
    for path in sorted((root / "notebooks" / "exercises").glob("*.py")):
        for folder in ("exercises", "exercises/sheets"):  # a sheet is the page without solutions
            found[f"notebooks/{folder}/{path.stem}"] = f"exercises/{path.stem}"
    if (root / "TEACHING.md").is_file():
        found["TEACHING"] = "teaching"
    if (root / "reports" / "explorer.html").is_file():
        found["reports/explorer"] = "explore"
    return found


def collect(root: Path, folder: Path) -> None:
    """Write the sources of the book to `folder`, anew: pages of `root/book` and all notebooks."""
    known = documents(root)
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(root / "book", folder, ignore=shutil.ignore_patterns("__pycache__"))
    figures = need(root / "reports" / "figures" / "poster.png", made_by="dvc repro").parent
    shutil.copyfile(figures / "poster.png", folder / "poster.png")
    for path, document in known.items():
        if path.startswith("reports/notebooks/"):
            page = pages.read(root / f"{path}.ipynb")
        elif path.startswith("notebooks/exercises/") and "sheets" not in path:
            page = pages.read(root / f"{path}.py")
            page.cells = [new for cell in page.cells for new in _exercise(cell)]
        else:
            continue
        page = pages.clean(page.cells)
        page.cells = [_bound(cell, known) for cell in page.cells]
        pages.write(folder / f"{document}.ipynb", nbformat.writes(page) + "\n")
    if "explore" in known.values():
        shutil.copyfile(root / "reports" / "explorer.html", folder / "explorer.html")
    else:
        (folder / "explore.md").unlink()
    if "TEACHING" in known:
        text = (root / "TEACHING.md").read_text()
        pages.write(folder / "teaching.md", relink(text, known))
    index = folder / "index.md"
    text = index.read_text()
    for place, words in zip(PLACES, (*_doors(known), _contents(known)), strict=True):
        text = text.replace(f"<!-- {place} -->", words)
    pages.write(index, text)


def _bound(cell: NotebookNode, known: dict[str, str]) -> NotebookNode:
    """Return a cell whose links lead to pages of the book, and whose picture has its words."""
    if cell.cell_type == "markdown":
        return NotebookNode(cell | {"source": relink(cell.source, known)})
    if alt := cell.metadata.get("alt"):
        metadata = cell.metadata | {"mystnb": {"image": {"alt": alt}}}
        return NotebookNode(cell | {"metadata": NotebookNode(metadata)})
    return cell


def _exercise(cell: NotebookNode) -> list[NotebookNode]:
    return fold(cell) if cell.cell_type == "code" else [cell]


def _contents(known: dict[str, str]) -> str:
    listed = list(dict.fromkeys(known.values()))
    groups = {
        "Chapters": [name for name in listed if name.startswith("chapters/")],
        "Exercises": [name for name in listed if name.startswith("exercises/")],
        "Around the book": [name for name in listed if "/" not in name],
        "Reference": ["glossary", "references"],
    }
    trees = []
    for caption, names in groups.items():
        if names:
            names = "\n".join(names)
            trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```")
    return "\n\n".join(trees)


def _doors(known: dict[str, str]) -> tuple[str, str]:
    """What the doors Read and Teach say about pages that may be there or not."""
    there = "reports/explorer" in known
    explore = "The [explorer](explore.md) shows the answer to every test photo." if there else ""
    exercises = [name for name in known.values() if name.startswith("exercises/")]
    said = [f"Their solutions are [folded](/{exercises[0]}.ipynb)."] if exercises else []
    teach = [*said, *(["[How to teach it](teaching.md)."] if "TEACHING" in known else [])]
    return explore, "\n".join(teach)


def build(source: Path, site: Path) -> int:
    """Have Sphinx make the site; warnings are errors. Return its exit code.

    The site is made beside the old one and takes its place only when it is whole.
    """
    new = site.with_name(site.name + ".new")
    if new.exists():
        shutil.rmtree(new)
    tree = site.with_name(site.name + ".doctrees")
    words = ["-q", "-W", "--keep-going", "-E", "-d", str(tree), str(source), str(new)]
    code = subprocess.run([sys.executable, "-m", "sphinx", *words]).returncode
    if code == 0:
        if site.exists():
            shutil.rmtree(site)
        new.rename(site)
    return code


def main(argv: list[str] | None = None) -> int:
    """Command line: the folder of the site."""
    parser = argparse.ArgumentParser(prog="miewid_lib.book", description=__doc__)
    parser.add_argument("site", type=Path, help="folder of the HTML, such as build/book")
    site = parser.parse_args(argv).site
    if not (find_spec("sphinx") and find_spec("myst_nb")):
        print("no Sphinx here: pip install -r requirements.txt brings it", file=sys.stderr)
        return 2
    source = site.with_name(site.name + "-pages")
    try:
        collect(ROOT, source)
    except MiewidError as error:
        print(f"book: {error}", file=sys.stderr)
        return 2
    if code := build(source, site):
        return code
    n_bytes = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"open {site / 'index.html'} ({n_bytes / 1e6:.0f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
