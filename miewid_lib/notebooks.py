"""The press: tangle a chapter to its code, run that code as a page, weave prose and outputs."""

import argparse
import ast
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from miewid_lib import pages
from miewid_lib.errors import MiewidError, PageError
from miewid_lib.execution import run, settle_process
from miewid_lib.parameters import literals, merge

SHEETS = "](exercises/"  # a link of a chapter, which lies one folder deeper when woven
INJECTED = "injected-parameters"  # papermill's tag of the cell with the values of one run


def tangle(chapter: Path) -> str:
    """Return only the code cells (source and tags) in percent format: what a stage depends on."""
    nb = pages.clean(pages.code_cells(pages.read(chapter)))
    for cell in nb.cells:
        cell.metadata.pop("alt", None)  # words, no code
    return jupytext.writes(nb, fmt=pages.PERCENT | {"notebook_metadata_filter": "-all"})


def pair(chapter: Path) -> str:
    """Return the chapter as a notebook without outputs, marked as jupytext's pair of the `.py`."""
    nb = pages.clean(pages.read(chapter).cells)
    text = pages.PERCENT | {"format_version": "1.3"}
    marks = {"formats": "ipynb,py:percent", "text_representation": text}
    nb.metadata = NotebookNode(jupytext=marks, kernelspec=pages.KERNEL)
    return nbformat.writes(nb) + "\n"


def weave(chapter: Path, executed: Path, repository: str = "") -> str:
    """Return today's prose joined with the outputs of the executed page.

    Where the address of the `repository` is given, a first cell fetches the book if it is not
    there: a page that Colab opens comes alone. Values of the run that differ from the parameters
    cell are shown below it. Raises PageError where the page was made by other code, did not run to
    its end, or holds paths or addresses.
    """
    prose, page = pages.read(chapter), pages.read(executed)
    done = [cell for cell in pages.code_cells(page) if INJECTED not in pages.tags(cell)]
    if _keys(done) != _keys(pages.code_cells(prose)):
        raise PageError(f"{executed}: made by other code than {chapter} holds now, run dvc repro")
    if failure := pages.failure(page):
        raise PageError(f"{executed}: {failure}")
    pages.refuse_unstable(page, executed)
    stage = chapter.stem.partition("_")[2]
    cells = [pages.fetching(repository, stage)] if repository else []
    rest = iter(done)
    for cell in prose.cells:
        if cell.cell_type == "code":
            cell = NotebookNode(next(rest) | {"metadata": cell.metadata})
        else:
            cell.source = cell.source.replace(SHEETS, "](../../notebooks/exercises/")
        cells.append(cell)
        if "parameters" in pages.tags(cell):
            cells += _differing(page, literals(prose, chapter))
    return nbformat.writes(pages.clean(cells)) + "\n"


def _keys(cells: list[NotebookNode]) -> list[tuple[str, list[str]]]:
    return [(cell.source, pages.tags(cell)) for cell in cells]


def _differing(page: NotebookNode, defaults: dict[str, Any]) -> Iterator[NotebookNode]:
    for cell in (cell for cell in pages.code_cells(page) if INJECTED in pages.tags(cell)):
        lines = [
            ast.unparse(node)
            for node in ast.parse(cell.source).body
            if defaults[node.targets[0].id] != ast.literal_eval(node.value)
        ]
        if lines:
            cell.source = "\n".join(["# Values of this run", *lines])
            yield cell


def _override(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PageError(f"--set {text}: write name=value")
    return name, _yaml(value, f"--set {text}")


def _yaml(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PageError(f"{where}: not YAML: {' '.join(str(error).split())}") from None


def _tangle(args: argparse.Namespace) -> None:
    texts = {chapter.name: tangle(chapter) for chapter in args.chapters}
    for name, text in texts.items():
        pages.write(args.folder / name, text)


def _run(args: argparse.Namespace) -> int:
    sections = args.params.split(",") if args.params else []
    if sections and not Path("params.yaml").is_file():
        raise PageError("no params.yaml in this folder: run from the folder of dvc.yaml")
    table = _yaml(Path("params.yaml").read_text(), "params.yaml") if sections else {}
    defaults = literals(pages.read(args.source), args.source)
    values = merge(defaults, table, sections, dict(_override(text) for text in args.set))
    title = f"{args.source.stem} ({', '.join(args.set)})" if args.set else args.source.stem
    settle_process()
    print(f"== {title} ==", file=sys.stderr, flush=True)
    start_s = time.monotonic()
    failure = run(args.source, args.out, values)
    if failure:
        print(f"{title}: {failure}; see the end of {args.out}", file=sys.stderr)
        return 1
    print(f"== {title}: {time.monotonic() - start_s:.0f} s ==", file=sys.stderr)
    return 0


def _weave(args: argparse.Namespace) -> None:
    texts = {}
    for joint in args.joints:
        chapter, colons, executed = joint.partition("::")
        if not colons:
            raise PageError(f"{joint}: write CHAPTER.py::EXECUTED.ipynb")
        texts[Path(chapter).with_suffix(".ipynb").name] = weave(
            Path(chapter), Path(executed), args.repository
        )
    for stale in args.folder.glob("*.ipynb"):
        stale.unlink()
    for name, text in texts.items():
        pages.write(args.folder / name, text)


def _pair(args: argparse.Namespace) -> int:
    texts = {chapter.with_suffix(".ipynb"): pair(chapter) for chapter in args.chapters}
    stale = [path for path in texts if not path.is_file() or path.read_text() != texts[path]]
    for path in stale:
        if args.check:
            print(f"{path}: not in step with its .py, run make pages", file=sys.stderr)
        else:
            pages.write(path, texts[path])
    return int(args.check and bool(stale))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="miewid_lib.notebooks", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("tangle", help="write only the code of chapters to a folder")
    verb.set_defaults(do=_tangle)
    verb.add_argument("folder", type=Path)
    verb.add_argument("chapters", type=Path, nargs="+")
    verb = verbs.add_parser("run", help="execute a chapter with the values of params.yaml")
    verb.set_defaults(do=_run)
    verb.add_argument("source", type=Path)
    verb.add_argument("out", type=Path)
    verb.add_argument("--params", default="", help="sections, e.g. base,train: the last is its own")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    verb = verbs.add_parser("weave", help="join prose and executed pages, the folder is rewritten")
    verb.set_defaults(do=_weave)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--repository", default="", help="address of the book, for pages on Colab")
    verb.add_argument("joints", nargs="+", metavar="CHAPTER.py::EXECUTED.ipynb")
    verb = verbs.add_parser("pair", help="write the .ipynb beside each chapter")
    verb.set_defaults(do=_pair)
    verb.add_argument("--check", action="store_true", help="only name the pairs out of step")
    verb.add_argument("chapters", type=Path, nargs="+")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line: exit 1 where a cell failed or a pair is stale, 2 where the input is wrong."""
    args = _parser().parse_args(argv)
    try:
        return args.do(args) or 0
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
