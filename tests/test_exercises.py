"""Solved notebooks run, sheets are made from them and stop at the first exercise, checks hint."""

import importlib
import inspect
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from miewid_lib import pages, sheets
from miewid_lib.checks import answers, session
from miewid_lib.errors import MiewidError, PageError, StageError
from miewid_lib.execution import run
from miewid_lib.paths import ROOT

SOURCES = sorted(sheets.SOURCES.glob("*.py"))
MODULES = [p.stem for p in sorted((ROOT / "miewid_lib" / "checks").glob("*.py"))]
MODULES = [importlib.import_module(f"miewid_lib.checks.{name}") for name in MODULES]
CHECKS = [f for m in MODULES for name, f in vars(m).items() if name.startswith("check_")]
by_name = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
every = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
TABLED = [check for check in CHECKS if check.__name__ != "check_draw"]


@by_name
def test_sheet_is_made_from_the_solved_notebook(source):
    path = sheets.target(source)
    assert path.is_file() and path.read_text() == sheets.sheet(source), "run: make sheets"
    text = path.read_text()
    assert sheets.BEGIN not in text and sheets.END not in text


def test_no_sheet_is_left_over():
    assert {p.stem for p in (sheets.SOURCES / "sheets").glob("*.ipynb")} == {
        p.stem for p in SOURCES
    }


@by_name
def test_measures_of_a_solved_notebook(source):
    nb = pages.read(source)
    assert (ROOT / "notebooks" / source.name).is_file(), "exercises belong to a chapter"
    headings = re.findall(r"^## \d+ · (.+?):", "\n".join(c.source for c in nb.cells), re.M)
    assert 2 <= len(headings) <= 4
    assert set(headings) <= {"Predict, then run", "Fill in", "Change a parameter"}
    assert {tag for cell in nb.cells for tag in pages.tags(cell)} <= {"solution"}
    for cell in pages.code_cells(nb):
        assert sum(bool(line.strip()) for line in cell.source.split("\n")) <= 20, cell.source
    links = re.findall(r"\]\(([^)]+)\)", "\n".join(c.source for c in nb.cells))
    assert links and all((sheets.target(source).parent / link).is_file() for link in links)


@by_name
def test_the_chapter_leads_to_its_sheet(source):
    link = f"]({sheets.target(source).relative_to(sheets.SOURCES.parent).as_posix()})"
    assert link in (ROOT / "notebooks" / source.name).read_text()


@by_name
def test_sheet_fails_at_its_first_exercise_and_nowhere_before(source):
    solved = [cell.source for cell in pages.code_cells(pages.read(source))]
    first = next(i for i, code in enumerate(solved) if sheets.BEGIN in code)
    cells = pages.code_cells(pages.read(sheets.target(source)))
    names = {}
    for i, cell in enumerate(cells):
        try:
            exec(cell.source, names)
        except NotImplementedError as error:
            assert (i, str(error)) == (first, "your turn")
            return
        except StageError as error:
            pytest.skip(str(error))
        finally:
            plt.close("all")
    pytest.fail("the sheet runs to its end")


@pytest.mark.pipeline
@by_name
def test_solved_notebook_runs(source, tmp_path):
    page = tmp_path / f"{source.stem}.ipynb"
    failure = run(source, page, {})
    if failure and failure.startswith("StageError"):
        pytest.skip(failure)
    assert failure is None
    printed = [o.get("text", "") for c in pages.code_cells(pages.read(page)) for o in c.outputs]
    assert not any("Not yet" in text for text in printed)
    called = sum(".check_" in c.source for c in pages.code_cells(pages.read(page)))
    assert sum("Right, on every input" in text for text in printed) == called


@pytest.mark.parametrize("code", ["### END SOLUTION", "### BEGIN SOLUTION\nx = 1"])
def test_odd_marks_are_refused(code):
    with pytest.raises(PageError, match="without its partner"):
        sheets.cut(code, "01_toy.py")


def test_a_sheet_somebody_worked_in_is_kept(tmp_path, capsys):
    source = tmp_path / "01_toy.py"
    source.write_text("# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n")
    assert sheets.main([str(source)]) == 0
    path = sheets.target(source)
    worked = path.read_text().replace('"execution_count": null', '"execution_count": 1')
    path.write_text(worked)
    assert sheets.main([str(source)]) == 1 and path.read_text() == worked
    assert "move it away" in capsys.readouterr().err
    assert sheets.main([str(source), "--check"]) == 1


def parts_of(check, monkeypatch) -> tuple:
    """The right function, the draws and the mistakes of a check."""
    caught = []
    module = inspect.getmodule(check)
    monkeypatch.setattr(module, "check", lambda *arguments: caught.append(arguments))
    check(len)
    monkeypatch.undo()
    return caught[0][1:]


def verdict(check, answer, capsys) -> str:
    check(answer)
    text = capsys.readouterr().out.strip()
    assert "\n" not in text and "Traceback" not in text
    return text


@pytest.mark.parametrize("check", TABLED, ids=lambda check: check.__name__)
def test_check_tells_right_wrong_and_typed_in(check, monkeypatch, capsys):
    right, draws, mistakes = parts_of(check, monkeypatch)
    assert verdict(check, right, capsys).startswith("Right")
    for hint, wrong in mistakes.items():
        assert verdict(check, wrong, capsys) == f"Not yet: {hint}."
    for arguments in draws:
        typed = right(*arguments)
        assert verdict(check, lambda *_, typed=typed: typed, capsys).startswith("Not yet")
        assert verdict(check, typed, capsys).startswith("Not yet: give the function itself")


@every
def test_check_survives_what_is_no_answer(check, capsys):
    def unfinished(*arguments):
        raise NotImplementedError("your turn")

    assert "your turn" in verdict(check, unfinished, capsys)
    assert "return" in verdict(check, lambda *_: None, capsys)
    assert "ZeroDivisionError" in verdict(check, lambda *_: 1 / 0, capsys)
    assert verdict(check, lambda *_: "42", capsys).startswith("Not yet")
    assert verdict(check, lambda: 1, capsys).startswith("Not yet: it stopped with TypeError")


def draw(animals, rng):
    names = np.unique(animals)
    drawn = rng.choice(names, size=len(names))
    return np.concatenate([np.flatnonzero(animals == name) for name in drawn])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (draw, "Right"),
        (lambda animals, rng: rng.integers(0, len(animals), len(animals)), "all together"),
        (lambda animals, rng: np.arange(len(animals)), "with replacement"),
        (lambda animals, rng: draw(animals, rng)[:-1], "all together"),
        (lambda animals, rng: np.flatnonzero(animals == "ann"), "as many animals"),
        (lambda animals, rng: draw(animals, rng) * 1.0, "whole numbers"),
        (lambda animals, rng: draw(animals, rng) + 99, "outside"),
    ],
)
def test_check_draw(answer, said, capsys):
    from miewid_lib.checks.comparing import check_draw

    assert said in verdict(check_draw, answer, capsys)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NameError("name 'tabel' is not defined"), "run the cells above first"),
        (NotImplementedError("your turn"), "your own lines"),
        (MiewidError("data/split.csv is not there yet: run 02_split first"), "02_split"),
        (ModuleNotFoundError("No module named 'timm'"), "kernel"),
        (KeyError("top_1"), "top_1"),
    ],
)
def test_an_error_is_one_line_that_helps(error, said):
    line = session.hint(error, " (line 2)")
    assert said in line and "\n" not in line


def test_a_folder_that_is_not_the_book_is_named(monkeypatch):
    monkeypatch.setattr(session, "ROOT", Path("elsewhere"))
    with pytest.raises(StageError, match="pip install -e"):
        session.start()


def test_an_error_in_a_notebook_is_one_line(tmp_path):
    source, page = tmp_path / "01_toy.py", tmp_path / "page.ipynb"
    source.write_text(
        "# %%\nfrom miewid_lib.checks.session import start\n\nstart()\n\n# %%\n1\nprint(tabel)\n"
    )
    assert "tabel" in run(source, page, {})
    (error,) = [
        o
        for c in pages.code_cells(pages.read(page))
        for o in c.outputs
        if o.output_type == "error" and "tabel" in o.evalue
    ]
    assert len(error.traceback) == 1 and "line 2 of the cell" in error.traceback[0]
    assert "run the cells above first" in error.traceback[0]


def test_same_is_exact_where_it_must_be():
    assert not answers.same({1}, [1]) and not answers.same("1", 1) and answers.same([], [])


def test_teaching_names_every_sheet_and_no_broken_link():
    text = (ROOT / "TEACHING.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert all((ROOT / link).is_file() for link in links)
    assert {sheets.target(s).relative_to(ROOT).as_posix() for s in SOURCES} <= set(links)
