"""What several test files share: the book, built once, with an exercise of its own."""

import shutil
from importlib.util import find_spec

import pytest

from miewid_lib import book
from miewid_lib.paths import ROOT

TOY = """# %% [markdown]
# # Exercise of the tests
#
# Give the double of `x`. It helps to read [chapter one](../01_dataset.ipynb).

# %%
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %%
assert double(3) == 6
"""


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """A copy of what the book is made of, and one exercise more."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("book", "reports/notebooks"):
        shutil.copytree(ROOT / name, root / name)
    (root / "reports" / "figures").mkdir()
    for name in ("reports/figures/poster.png", "reports/explorer.html", "TEACHING.md"):
        if (ROOT / name).is_file():
            shutil.copyfile(ROOT / name, root / name)
    exercises = root / "notebooks" / "exercises"
    exercises.mkdir(parents=True)
    for path in (ROOT / "notebooks" / "exercises").glob("*.py"):
        shutil.copyfile(path, exercises / path.name)
    (exercises / "99_toy.py").write_text(TOY)
    return root


@pytest.fixture(scope="session")
def site(repository, tmp_path_factory):
    """The book as Sphinx makes it from `repository`, warnings being errors."""
    if not (find_spec("sphinx") and find_spec("myst_nb")):
        pytest.skip("no Sphinx here: pip install -r requirements.txt brings it")
    folder = tmp_path_factory.mktemp("site")
    book.collect(repository, folder / "pages")
    assert book.build(folder / "pages", folder / "book") == 0
    return folder / "book"
