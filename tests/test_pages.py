"""The measures of a chapter, and that page, stage and parameters say the same."""

import ast
import re
from pathlib import Path
from statistics import median
from typing import Any

import jupytext
import nbformat
import pytest
import yaml
from closure import library_files
from jupytext.config import load_jupytext_config
from nbformat import NotebookNode

from miewid_lib import pages
from miewid_lib.notebooks import pair
from miewid_lib.parameters import literals, merge
from miewid_lib.paths import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("*.py"))
TAGS = {"parameters", "hide-input", "remove-cell", "raises-exception"}
TABLE = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
NONE_YET = pytest.param(None, marks=pytest.mark.skip(reason="no chapter in notebooks/ yet"))


@pytest.fixture(params=CHAPTERS or [NONE_YET], ids=lambda path: path.stem)
def chapter(request) -> Path:
    return request.param


@pytest.fixture
def nb(chapter) -> NotebookNode:
    return pages.read(chapter)


@pytest.fixture
def stage(chapter) -> dict[str, Any]:
    """The stage of a chapter: `03_train.py` is the page of the stage `train`."""
    name = re.sub(r"^\d+_", "", chapter.stem)
    assert name in STAGES, f"dvc.yaml has no stage {name}"
    return STAGES[name]


def lines(cell: NotebookNode) -> list[str]:
    return [line for line in cell.source.split("\n") if line.strip()]


def working_cells(nb: NotebookNode) -> list[NotebookNode]:
    """Code cells but for the parameters, which are as long as the method has parameters."""
    return [cell for cell in pages.code_cells(nb) if "parameters" not in pages.tags(cell)]


def python(nb: NotebookNode) -> str:
    """The code of a chapter without magics, which ast cannot read."""
    code = [line for cell in pages.code_cells(nb) for line in cell.source.split("\n")]
    return "\n".join(line for line in code if not line.startswith(("%", "!")))


def paths(entries: list) -> list[str]:
    """Paths of a DVC list of `path` or `path: {options}`, with `<x>` for `${item.x}`."""
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]
    return [re.sub(r"\$\{item\.(\w+)\}", r"<\1>", name) for name in names]


def words(stage: dict[str, Any], option: str) -> list[str]:
    return re.findall(rf"{option}[ =](\S+)", stage["cmd"])


def test_cells_are_short(nb):
    counts = sorted(len(lines(cell)) for cell in working_cells(nb))
    assert median(counts) <= 5, counts
    assert sum(count <= 12 for count in counts) >= 0.9 * len(counts), counts
    for cell in working_cells(nb):
        assert len(lines(cell)) <= (25 if "hide-input" in pages.tags(cell) else 20), cell.source


def test_at_most_two_code_cells_in_a_row(nb):
    kinds = "".join(cell.cell_type[0] for cell in nb.cells)
    assert "ccc" not in kinds, kinds


def test_at_most_one_function_and_no_class(nb):
    nodes = list(ast.walk(ast.parse(python(nb))))
    functions = [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert len(functions) <= 1, functions
    assert not [n.name for n in nodes if isinstance(n, ast.ClassDef)]


def test_no_cell_ends_by_showing_how_many_letters_it_wrote(nb):
    assert not [cell for cell in working_cells(nb) if ".write_text(" in lines(cell)[-1]]


def test_tags_are_from_the_closed_list(nb):
    assert {tag for cell in nb.cells for tag in pages.tags(cell)} <= TAGS


def test_prose_and_code_are_in_balance(nb):
    """Words of prose a line of code; a parameter's reason stands in its own line."""
    prose = " ".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    n_words = sum(bool(re.search(r"[^\W_]", word)) for word in prose.split())
    n_lines = sum(len(lines(cell)) for cell in working_cells(nb))
    assert 8 <= n_words / n_lines <= 15, f"{n_words} words, {n_lines} lines of code"


def test_parameters_are_literals_with_a_reason_each(chapter, nb):
    assert literals(nb, chapter)
    (cell,) = [cell for cell in pages.code_cells(nb) if "parameters" in pages.tags(cell)]
    for line in lines(cell):
        assert re.fullmatch(r"\w+ = .+  # \S.+", line), line


def test_first_cell_promises_exactly_what_the_stage_reads_and_writes(nb, stage):
    first = nb.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# \S", first.source)
    assert "| Reads | Writes |" in first.source
    rows = first.source.split("| Reads | Writes |")[1].split("\n\n")[0].split("\n")[2:]
    cells = [row.strip()[1:-1].split("|") for row in rows]
    table = [re.findall(r"`([^`]+)`", " ".join(row[i] for row in cells)) for i in (0, 1)]
    written = paths([*stage["outs"], *stage.get("metrics", []), *stage.get("plots", [])])
    assert sorted(table[0]) == sorted(p for p in paths(stage["deps"]) if not p.endswith(".py"))
    assert sorted(table[1]) == sorted(p for p in written if not p.startswith("build/executed/"))


def test_stage_tracks_the_sections_it_is_given(stage):
    assert ",".join(stage["params"]) == words(stage, "--params")[0]


def test_stage_runs_its_own_chapter(chapter, stage):
    source, out = re.search(r"notebooks run (\S+) (\S+)", stage["cmd"]).groups()
    assert source == f"build/code/{chapter.name}"
    assert Path(out).name.startswith(chapter.stem) and out in stage["outs"]
    assert paths([out])[0].count("<") == len(stage.get("matrix", {}))


def test_parameters_equal_the_classroom_scale(chapter, nb, stage):
    defaults = literals(nb, chapter)
    given = {text.partition("=")[0] for text in words(stage, "--set")}
    values = merge(defaults, TABLE, stage["params"], {name: defaults[name] for name in given})
    assert values == defaults
    assert [name for name in given if name in TABLE[stage["params"][-1]]] == []


def test_stage_depends_on_the_code_it_imports_and_no_other(chapter, nb, stage):
    code = {path for path in stage["deps"] if path.endswith(".py")}
    assert code == {f"build/code/{chapter.name}"} | library_files(python(nb))


def test_pair_is_in_step_and_without_outputs(chapter):
    notebook = chapter.with_suffix(".ipynb")
    text = notebook.read_text() if notebook.is_file() else ""
    assert text == pair(chapter), "run: make pages"
    cells = pages.code_cells(nbformat.reads(text, as_version=4))
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_saving_in_jupyterlab_leaves_the_chapter_as_it_is(chapter):
    config = load_jupytext_config(str(chapter))
    notebook = nbformat.reads(pair(chapter), as_version=4)
    assert jupytext.writes(notebook, fmt="py:percent", config=config) == chapter.read_text()


@pytest.mark.parametrize("scale", sorted((ROOT / "params").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_scale_has_the_same_keys_of_the_same_kinds(scale):
    other = yaml.safe_load(scale.read_text())
    assert list(other) == list(TABLE)
    for section, values in TABLE.items():
        assert set(other[section]) == set(values), section
        merge(values, other, [section], {})  # raises where a number has become text


def library_stages() -> list[tuple[str, dict[str, Any]]]:
    """Module and stage, for the stages that run a module of the library other than the press."""
    files = [ROOT / folder / "dvc.yaml" for folder in ("", "data", "tuning")]
    stages = [s for file in files for s in yaml.safe_load(file.read_text())["stages"].values()]
    runs = [(match[1], s) for s in stages if (match := re.match(r"python -m (\S+)", s["cmd"]))]
    return [(module, stage) for module, stage in runs if module != "miewid_lib.notebooks"]


@pytest.mark.parametrize(("module", "stage"), library_stages())
def test_stage_of_a_module_depends_on_the_code_it_imports(module, stage):
    code = {path for path in stage["deps"] if path.endswith(".py")}
    assert code == library_files(f"import {module}")


@pytest.mark.parametrize(
    "woven", sorted((ROOT / "reports/notebooks").glob("*.ipynb")), ids=lambda path: path.stem
)
def test_every_picture_has_a_text_alternative(woven):
    page = pages.read(woven)
    drawn = [output for cell in pages.code_cells(page) for output in cell.outputs]
    drawn = [output for output in drawn if "image/png" in output.get("data", {})]
    said = [output.metadata.get("image/png", {}).get("alt", "") for output in drawn]
    assert all(len(words) > 20 for words in said) and len(set(said)) == len(said)
