"""The press on throw-away chapters: real papermill, real kernels, as few as will do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jupytext
import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupytext.config import load_jupytext_config, notebook_formats
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from miewid_lib import pages
from miewid_lib.errors import PageError
from miewid_lib.notebooks import main, pair, tangle, weave
from miewid_lib.parameters import literals, merge
from miewid_lib.paths import ROOT

PARAMS = "base:\n  seed: 3\n  threads: 1\ntoy:\n  rate: 1.0e-3\n"
CHAPTER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A toy chapter

# %% tags=["parameters"]
seed = 3  # of every draw
rate = 0.5  # of learning
model = "joint"  # which one

# %% [markdown]
# What does it do?

# %%
import os
from miewid_lib.progress import progress

for step in progress(range(3), label="counting"):
    print("step", step, flush=True)

# %%
names = ["PYTHONHASHSEED", "HF_HUB_OFFLINE", "JUPYTER_PREFER_ENV_PATH"]
print({name: os.environ[name] for name in names}, "MPLBACKEND ok" if "inline" in
      os.environ.get("MPLBACKEND", "") else "MPLBACKEND wrong", len(set("abc")), {"b", "a", "c"})
seed, rate, model

# %% tags=["raises-exception"]
raise ValueError("meant to be seen")

# %% [markdown]
# The end.
"""


def code(*cells: str) -> str:
    """A small chapter: a parameters cell and these cells."""
    return "\n".join(
        ['# %% tags=["parameters"]', "seed = 1  # why", *(f"\n# %%\n{c}" for c in cells)]
    )


def start(folder: Path, *arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "miewid_lib.notebooks", *arguments]
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "random"}
    return subprocess.Popen(command, cwd=folder, env=environment, **options)


def press(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command line in `folder`, stderr in a log file as in a CI job; exit code and log."""
    log = folder / "log.txt"
    with log.open("w") as file:
        returned = start(folder, *arguments, stderr=file).wait(60)
    return returned, log.read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "01_toy.py").write_text(CHAPTER)
    return tmp_path


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> tuple[Path, str]:
    """A chapter tangled and run, with the log of the run."""
    folder = tmp_path_factory.mktemp("press")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "01_toy.py").write_text(CHAPTER)
    assert press(folder, "tangle", "code", "01_toy.py") == (0, "")
    run = ["run", "code/01_toy.py", "executed/01_toy-single.ipynb", "--params", "base,toy"]
    returned, log = press(folder, *run, "--set", "model=single")
    assert returned == 0, log
    return folder, log


def outputs(page: Path) -> str:
    """All the text that the outputs of a page hold."""
    shown = [out for cell in pages.code_cells(pages.read(page)) for out in cell.outputs]
    kinds = ("text", "evalue", "traceback", "data")
    return "\n".join(f"{out[kind]}" for out in shown for kind in kinds if kind in out)


def test_page_shows_values_and_environment_of_the_run(printed):
    page = outputs(printed[0] / "executed/01_toy-single.ipynb")
    assert "(3, 0.001, 'single')" in page
    expected = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    assert str(expected) in page
    assert "MPLBACKEND ok" in page


def test_progress_goes_to_the_terminal_and_never_into_the_page(printed):
    folder, log = printed
    first, *middle, last = log.splitlines()
    assert first == "== 01_toy (model=single) =="
    assert "counting: 100%" in middle[-1] and "3/3" in middle[-1]
    assert last.startswith("== 01_toy (model=single): ") and last.endswith(" s ==")
    assert "counting" not in outputs(folder / "executed/01_toy-single.ipynb")


def test_page_is_byte_identical_when_run_again(printed):
    folder, _ = printed
    again = ["run", "code/01_toy.py", "executed/again.ipynb", "--params", "base,toy"]
    returned, log = press(folder, *again, "--set", "model=single")
    assert returned == 0, log
    first = (folder / "executed/01_toy-single.ipynb").read_bytes()
    assert (folder / "executed/again.ipynb").read_bytes() == first
    assert sorted(p.name for p in (folder / "executed").iterdir()) == [
        "01_toy-single.ipynb",
        "again.ipynb",
    ]


def test_executed_page_has_positional_ids_and_no_clock(printed):
    page = nbformat.read(printed[0] / "executed/01_toy-single.ipynb", as_version=4)
    nbformat.validate(page)
    assert (page.nbformat, page.nbformat_minor) == (4, 5)
    assert page.metadata == {"kernelspec": pages.KERNEL, "language_info": {"name": "python"}}
    assert [cell.id for cell in page.cells] == [f"cell-{i:03d}" for i in range(len(page.cells))]
    assert all(set(cell.metadata) <= {"tags"} for cell in page.cells)
    streams = [[out.output_type for out in cell.outputs] for cell in page.cells]
    assert streams == [[], [], ["stream"], ["stream", "execute_result"], ["error"]]
    assert page.cells[-1].outputs[0].traceback == ["ValueError: meant to be seen"]


def test_weave_joins_todays_prose_and_shows_differing_values_only(printed):
    folder, _ = printed
    chapter = folder / "edited.py"
    sentence = "A better sentence, [a sheet](exercises/sheets/01.ipynb)."
    chapter.write_text(CHAPTER.replace("What does it do?", sentence))
    woven = nbformat.reads(weave(chapter, folder / "executed/01_toy-single.ipynb"), as_version=4)
    nbformat.validate(woven)
    kinds = [cell.cell_type for cell in woven.cells]
    assert kinds == ["markdown", "code", "code", "markdown", "code", "code", "code", "markdown"]
    from_reports = sentence.replace("exercises", "../../notebooks/exercises", 1)
    assert woven.cells[3].source == from_reports
    assert woven.cells[2].source == "# Values of this run\nrate = 0.001\nmodel = 'single'"
    assert woven.cells[2].metadata.tags == ["injected-parameters"]
    assert [c.execution_count for c in pages.code_cells(woven)] == [1, 2, 3, 4, 5]
    assert "step 2" in str(woven.cells[4].outputs)


@pytest.mark.parametrize("kind", ["display_data", "execute_result"])
def test_words_of_a_picture_reach_the_page_and_are_no_code(printed, kind):
    folder, _ = printed
    image = nbformat.v4.new_output(kind, {"image/png": "aGk="})
    page = nbformat.read(folder / "executed/01_toy-single.ipynb", as_version=4)
    cell = next(cell for cell in pages.code_cells(page) if "counting" in cell.source)
    cell.outputs.append(image)
    nbformat.write(page, folder / "drawn.ipynb")
    chapter = folder / "told.py"
    chapter.write_text(CHAPTER.replace("# %%\nimport os", '# %% alt="Three steps"\nimport os'))
    assert tangle(chapter) == tangle(folder / "01_toy.py")
    woven = nbformat.reads(weave(chapter, folder / "drawn.ipynb"), as_version=4)
    drawn = next(c for c in woven.cells if c.metadata.get("alt")).outputs[-1]
    assert drawn.metadata == {"image/png": {"alt": "Three steps"}}


def test_weave_drops_values_equal_to_the_defaults(printed):
    folder, _ = printed
    page = (folder / "executed/01_toy-single.ipynb").read_text()
    same = page.replace("rate = 0.5", "rate = 0.001").replace('\\"joint\\"', '\\"single\\"')
    (folder / "same.ipynb").write_text(same)
    chapter = folder / "same.py"
    chapter.write_text(CHAPTER.replace("0.5", "0.001").replace('"joint"', '"single"'))
    woven = nbformat.reads(weave(chapter, folder / "same.ipynb"), as_version=4)
    assert len(woven.cells) == 7
    assert [c.execution_count for c in pages.code_cells(woven)] == [1, 2, 3, 4]


def test_weave_rewrites_the_folder_and_is_deterministic(printed, monkeypatch):
    folder, _ = printed
    monkeypatch.chdir(folder)
    (folder / "reports").mkdir(exist_ok=True)
    (folder / "reports/00_stale.ipynb").write_text("{}")
    call = ["weave", "reports", "01_toy.py::executed/01_toy-single.ipynb"]
    assert main(call) == 0
    assert [path.name for path in (folder / "reports").iterdir()] == ["01_toy.ipynb"]
    first = (folder / "reports/01_toy.ipynb").read_bytes()
    assert main(call) == 0
    assert (folder / "reports/01_toy.ipynb").read_bytes() == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("range(3)", "range(4)"),
        ('# %% tags=["raises-exception"]', '# %% tags=["raises-exception", "hide-input"]'),
        ("# %% [markdown]\n# The end.", "# %%\n1"),
        ('\n# %% tags=["raises-exception"]\nraise ValueError("meant to be seen")\n', ""),
    ],
)
def test_weave_refuses_a_stale_page(printed, monkeypatch, capsys, old, new):
    folder, _ = printed
    monkeypatch.chdir(folder)
    assert old in CHAPTER
    (folder / "stale.py").write_text(CHAPTER.replace(old, new))
    call = ["weave", "refused", "01_toy.py::executed/01_toy-single.ipynb"]
    assert main([*call, "stale.py::executed/01_toy-single.ipynb"]) == 2
    error = capsys.readouterr().err
    assert "stale.py" in error and "dvc repro" in error and error.count("\n") == 1
    assert not (folder / "refused").exists()


def test_weave_refuses_a_page_cut_short(printed, tmp_path):
    folder, _ = printed
    text = (folder / "executed/01_toy-single.ipynb").read_text()
    (tmp_path / "half.ipynb").write_text(text[: len(text) // 2])
    with pytest.raises(PageError, match="not a notebook"):
        weave(folder / "01_toy.py", tmp_path / "half.ipynb")
    with pytest.raises(PageError, match="no such page"):
        weave(folder / "01_toy.py", tmp_path / "none.ipynb")
    with pytest.raises(PageError, match="stopped before the cell 'import os'"):
        (tmp_path / "stop.ipynb").write_text(
            text.replace('"execution_count": 3', '"execution_count": null')
        )
        weave(folder / "01_toy.py", tmp_path / "stop.ipynb")


def test_failing_cell_leaves_the_page_with_its_traceback(folder):
    chapter = code("print('before')", "raise RuntimeError('two\\nlines')", "print('after')")
    (folder / "02_fail.py").write_text(chapter)
    (folder / "out.ipynb").write_text("the page of yesterday")
    returned, log = press(folder, "run", "02_fail.py", "out.ipynb", "--params", "base")
    assert returned == 1
    assert log.splitlines()[1:] == ["02_fail: RuntimeError: two lines; see the end of out.ipynb"]
    page = nbformat.read(folder / "out.ipynb", as_version=4)
    nbformat.validate(page)
    text = outputs(folder / "out.ipynb")
    assert "before" in text and "Traceback" in text and "after" not in text
    assert "papermill" not in page.metadata
    with pytest.raises(PageError, match="RuntimeError"):
        weave(folder / "02_fail.py", folder / "out.ipynb")


def test_dead_kernel_is_one_line_and_exit_1(folder):
    (folder / "02_dead.py").write_text(code("import os", "os._exit(9)"))
    returned, log = press(folder, "run", "02_dead.py", "out.ipynb", "--params", "base")
    assert returned == 1
    assert "02_dead: the kernel died" in log and "Traceback" not in log
    assert not list(folder.glob("*.partial*"))


def test_absolute_path_in_an_output_fails_the_run(folder):
    (folder / "02_path.py").write_text(code("from miewid_lib.paths import ROOT", "print(ROOT)"))
    returned, log = press(folder, "run", "02_path.py", "out.ipynb", "--params", "base")
    assert returned == 2
    assert "out.ipynb: output of the cell 'print(ROOT)' holds" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "stable"),
    [
        ("<object object at 0x7f96563a73b0>", False),
        ("/temporary/ipykernel_5023/118.py:1: UserWarning: x", False),
        (f"{ROOT}/data/crops.npz", False),
        ("file at 0.5 and 0x10", True),
        ("miewid_lib/images.py: 3 photos", True),
        ("https://github.com/someone/project.py", True),
    ],
)
def test_unstable_text_is_refused_wherever_it_stands(text, stable):
    shown = [
        new_output("stream", name="stderr", text=text),
        new_output("execute_result", {"text/html": f"<b>{text}</b>"}),
        new_output("error", ename="E", evalue=text, traceback=[text]),
    ]
    for output in shown:
        page = new_notebook(cells=[new_code_cell("x\ny", outputs=[output])])
        if stable:
            pages.refuse_unstable(page, Path("p.ipynb"))
        else:
            with pytest.raises(PageError, match=r"p\.ipynb: output of the cell 'x' holds"):
                pages.refuse_unstable(page, Path("p.ipynb"))


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux only")
def test_killed_dvc_leaves_no_runner_and_no_kernel(folder):
    (folder / "02_slow.py").write_text(code("open('started', 'w').close()\nwhile True: pass"))
    run = [sys.executable, "-m", "miewid_lib.notebooks", "run", "02_slow.py", "o.ipynb"]
    like_dvc = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    parent = subprocess.Popen([sys.executable, "-c", like_dvc, *run, "--set", "seed=1"])
    deadline_s = time.monotonic() + 30
    while not (folder / "started").exists() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    alive = descendants(parent.pid)
    assert len(alive) == 2, alive
    parent.kill()
    parent.wait()
    deadline_s = time.monotonic() + 10
    while any(map(running, alive)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not any(map(running, alive))


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [below for child in children for below in [int(child), *descendants(int(child))]]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--params", "base,toy"], "model: neither in"),
        (["--params", "base", "--set", "model=x"], "rate: neither in"),
        (["--params", "base,toy", "--set", "model=x", "--set", "modle=y"], "--set modle"),
        (["--params", "base,toys", "--set", "model=x"], "no section 'toys'"),
        (["--params", "base,toy", "--set", "model"], "write name=value"),
        (["--params", "base,toy", "--set", "model=7"], "7 is not a text"),
        (["--params", "base,toy", "--set", "model=2020-01-01"], "cannot be written"),
        (["--params", "base,toy", "--set", "model=x", "--set", "rate=1e-3"], "write 1.0e-3"),
        (["--params", "base,toy", "--set", "model=x", "--set", "rate=.nan"], "cannot be written"),
        (["--params", "base,toy", "--set", "model=x", "--set", "seed=true"], "not a number"),
        (["--params", "base,toy", "--set", "model=["], "--set model=["),
    ],
)
def test_wrong_parameters_are_one_line_and_nothing_runs(folder, capsys, arguments, message):
    assert main(["run", "01_toy.py", "out.ipynb", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (folder / "out.ipynb").exists()


def test_key_of_the_section_that_the_page_does_not_know_is_an_error(folder, capsys):
    (folder / "params.yaml").write_text(PARAMS + "  rtae: 2\n")
    assert main(["run", "01_toy.py", "o.ipynb", "--params", "base,toy", "--set", "model=x"]) == 2
    assert "toy.rtae of params.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("params", "message"),
    [(None, "no params.yaml"), ("a: [", "params.yaml: not YAML"), ("toy: 3", "section 'toy'")],
)
def test_wrong_params_file_is_one_line(folder, capsys, params, message):
    (folder / "params.yaml").unlink()
    if params is not None:
        (folder / "params.yaml").write_text(params)
    assert main(["run", "01_toy.py", "out.ipynb", "--params", "toy"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_merge_lends_base_names_and_lets_overrides_win():
    table = {"base": {"seed": 1, "threads": 2}, "own": {"seed": 5, "size_px": 96}}
    defaults = {"size_px": 0, "seed": 0, "note": None}
    values = merge(defaults, table, ["base", "own"], {"note": "x"})
    assert values == {"size_px": 96, "seed": 5, "note": "x"}
    assert list(values) == list(defaults)
    overrides = {"note": 1, "size_px": 0.5}
    assert merge(defaults, table, ["own", "base"], overrides) == overrides | {"seed": 1}


@pytest.mark.parametrize("line", ["a = 1 + f(2)", "a: int = 1", "a.b = 1", "a, b = 1, 2", "a = ("])
def test_parameters_cell_holds_literals_only(line):
    nb = new_notebook(cells=[new_code_cell(line, metadata={"tags": ["parameters"]})])
    with pytest.raises(PageError, match=r"c\.py: the parameters cell may hold only"):
        literals(nb, Path("c.py"))
    with pytest.raises(PageError, match="exactly one cell tagged parameters, has 0"):
        literals(new_notebook(), Path("c.py"))


def test_tangle_reads_back_as_the_code_of_the_chapter(folder):
    (folder / "03.py").write_text(CHAPTER + "\n# %%\n# %matplotlib inline\n# !ls\nx = 1\n")
    text = tangle(folder / "03.py")
    (folder / "code.py").write_text(text)
    chapter, back = pages.read(folder / "03.py"), pages.read(folder / "code.py")
    assert [(c.source, pages.tags(c)) for c in pages.code_cells(chapter)] == [
        (c.source, pages.tags(c)) for c in back.cells
    ]
    assert back.cells[-1].source == "%matplotlib inline\n!ls\nx = 1"
    assert tangle(folder / "code.py") == text


prose = st.lists(st.text(st.sampled_from("ab #*|`-\n"), max_size=30), min_size=4, max_size=4)


@settings(deadline=None, max_examples=40)
@given(before=prose, after=prose)
def test_prose_never_changes_tangled_bytes(tmp_path_factory, before, after):
    cells = [new_code_cell("x = 1  # why\n\ny = 2"), new_code_cell("x"), new_code_cell("y")]
    tangled = []
    for texts in (before, after):
        first, *rest = [new_markdown_cell(text) for text in texts]
        joined = [first, *(c for both in zip(cells, rest, strict=True) for c in both)]
        chapter = tmp_path_factory.getbasetemp() / "prose.py"
        chapter.write_text(jupytext.writes(new_notebook(cells=joined), fmt="py:percent"))
        tangled.append(tangle(chapter))
    assert tangled[0] == tangled[1]


def test_pair_is_in_step_without_outputs_and_check_names_the_stale(folder, capsys):
    assert main(["pair", "--check", "01_toy.py"]) == 1
    assert not (folder / "01_toy.ipynb").exists()
    assert main(["pair", "01_toy.py"]) == 0
    assert main(["pair", "--check", "01_toy.py"]) == 0
    capsys.readouterr()
    notebook = nbformat.read(folder / "01_toy.ipynb", as_version=4)
    nbformat.validate(notebook)
    chapter = pages.read(folder / "01_toy.py")
    assert [c.source for c in notebook.cells] == [c.source for c in chapter.cells]
    assert not any(cell.outputs for cell in pages.code_cells(notebook))
    (folder / "01_toy.py").write_text(CHAPTER.replace("A toy", "Another"))
    assert main(["pair", "--check", "01_toy.py"]) == 1
    assert "01_toy.ipynb" in capsys.readouterr().err


def test_jupyterlab_sees_the_pair_and_saving_leaves_the_chapter(tmp_path):
    (tmp_path / "jupytext.toml").write_bytes((ROOT / "jupytext.toml").read_bytes())
    chapter = tmp_path / "notebooks" / "01_toy.py"
    library = tmp_path / "miewid_lib" / "pages.py"
    for path in (chapter, library):
        path.parent.mkdir()
        path.write_text(CHAPTER)
    config = load_jupytext_config(str(chapter))
    notebook = nbformat.reads(pair(chapter), as_version=4)
    assert jupytext.writes(notebook, fmt="py:percent", config=config) == CHAPTER
    extensions = [f["extension"] for f in notebook_formats(notebook, config, str(chapter))]
    assert extensions == [".ipynb", ".py"]
    sync = [sys.executable, "-m", "jupytext", "--sync", "--quiet"]
    subprocess.run([*sync, chapter, library], cwd=tmp_path, check=False, capture_output=True)
    assert chapter.with_suffix(".ipynb").exists() and chapter.read_text() == CHAPTER
    assert not library.with_suffix(".ipynb").exists()
