"""The measures of the library, who may import what, and one truth about versions."""

import ast
import re
import tomllib
from pathlib import Path
from statistics import median

import pytest
import yaml
from closure import imported_names, packages
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from miewid_lib.paths import ROOT

MODULES = [p for p in sorted((ROOT / "miewid_lib").rglob("*.py")) if p.name != "__init__.py"]
WRITERS = {"savefig", "imsave", "save", "savez", "to_csv", "to_parquet", "to_json", "open"}
WRITERS |= {"write", "write_text", "write_bytes", "mkdir", "unlink"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "miewid_lib").as_posix()


@pytest.fixture(params=MODULES, ids=name_of)
def module(request) -> ast.Module:
    return ast.parse(request.param.read_text())


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def code_length(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring, which may be long where there is much to say."""
    first, *_ = function.body
    documented = ast.get_docstring(function) is not None
    n_doc = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - n_doc


def called(tree: ast.Module) -> set[str]:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(func, "attr", getattr(func, "id", "")) for func in calls}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_at_most_200_lines(path):
    n_lines = path.read_text().count("\n")
    assert n_lines <= 200


def test_functions_are_short(module):
    too_long = {f.name: code_length(f) for f in functions(module) if code_length(f) > 40}
    assert not too_long


def test_half_of_all_functions_have_at_most_12_lines():
    lengths = [code_length(f) for path in MODULES for f in functions(ast.parse(path.read_text()))]
    assert median(lengths) <= 12, sorted(lengths)


def test_functions_take_at_most_five_arguments_and_switches_are_keywords(module):
    for function in functions(module):
        by_place = [*function.args.posonlyargs, *function.args.args]
        names = [a.arg for a in by_place if a.arg not in ("self", "cls")]
        assert len(names) <= 5, f"{function.name}{names}"
        defaults = function.args.defaults
        switches = [d for d in defaults if isinstance(getattr(d, "value", None), bool)]
        assert not switches, f"{function.name}: a yes/no argument must be keyword-only"


def test_everything_public_is_documented(module):
    assert ast.get_docstring(module), "the module itself"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    nodes = [n for parent in (module, *classes) for n in parent.body if isinstance(n, kinds)]
    silent = [n.name for n in nodes if not n.name.startswith("_") and not ast.get_docstring(n)]
    assert not silent


def test_no_module_swallows_errors_or_unpickles(module):
    handlers = [node for node in ast.walk(module) if isinstance(node, ast.ExceptHandler)]
    for handler in handlers:
        kind = ast.unparse(handler.type) if handler.type else "BaseException"
        passed_on = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        assert passed_on or kind not in ("Exception", "BaseException"), f"line {handler.lineno}"
    names = imported_names(ast.unparse(module))
    assert not {"pickle", "dill", "cloudpickle"} & names
    # joblib may send work to processes of our own, and read or write no file
    of_joblib = {name for name in names if name.startswith("joblib")}
    assert of_joblib <= {"joblib", "joblib.Parallel", "joblib.delayed"}


def test_init_files_are_empty():
    for path in (ROOT / "miewid_lib").rglob("__init__.py"):
        assert path.read_text() == "", path


@pytest.mark.parametrize(
    ("name", "forbidden"),
    [
        ("training.py", {"matplotlib", "seaborn", "yaml"}),
        ("retrieval.py", {"matplotlib", "seaborn", "torch", "timm", "yaml"}),
        ("losses.py", {"matplotlib", "pandas", "timm", "yaml"}),
        ("splits.py", {"matplotlib", "torch", "timm", "yaml"}),
        ("annotations.py", {"matplotlib", "timm", "yaml"}),
        ("figures.py", {"torch", "timm", "yaml"}),
        ("charts.py", {"torch", "timm", "yaml", "seaborn"}),
    ],
)
def test_module_does_not_reach_for_other_rooms_tools(name, forbidden):
    path = ROOT / "miewid_lib" / name
    if not path.is_file():
        pytest.skip(f"no {name} yet")
    assert not packages(path.read_text()) & forbidden


def test_only_the_press_and_the_scales_read_yaml():
    readers = {name_of(p) for p in MODULES if "yaml" in imported_names(p.read_text())}
    assert readers <= {"notebooks.py", "scales.py"}


def test_figures_write_no_file_and_training_prints_nothing():
    pictures = {name: WRITERS for name in ("figures.py", "charts.py", "chart_rows.py")}
    for name, forbidden in (pictures | {"training.py": {"print"}}).items():
        tree = ast.parse((ROOT / "miewid_lib" / name).read_text())
        assert not called(tree) & forbidden, name


def pins() -> dict[str, str]:
    """Name -> version of requirements.txt; platform markers cut off."""
    rows = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = (re.fullmatch(r"([\w.-]+)==([^\s;]+).*", row) for row in rows if row[:1].isalnum())
    return {canonicalize_name(match[1]): match[2] for match in pinned}


def test_lock_satisfies_every_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    locked = pins()
    for requirement in map(Requirement, ranges):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in requirements.txt, run make lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} {version}"


def test_lock_pins_each_package_once_and_nothing_loosely():
    rows = [r for r in (ROOT / "requirements.txt").read_text().splitlines() if r[:1].isalnum()]
    assert len(rows) > 100
    assert len({canonicalize_name(row.partition("==")[0]) for row in rows}) == len(pins())
    assert all("==" in row for row in rows)


def test_conda_environment_takes_the_same_lock_and_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, pip, packages_of_pip = environment["dependencies"]
    assert pip == "pip"
    assert packages_of_pip == {"pip": ["-r requirements.txt", "-e ."]}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = python.removeprefix("python=")
    assert SpecifierSet(settings["project"]["requires-python"]).contains(version)
    assert settings["tool"]["ruff"]["target-version"] == "py" + version.replace(".", "")


def test_package_lists_every_folder_of_the_library():
    folders = {p.parent.relative_to(ROOT) for p in (ROOT / "miewid_lib").rglob("__init__.py")}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == {".".join(folder.parts) for folder in folders}
