"""The static book: solutions are folded, links lead to pages, nothing comes from outside."""

import html
import itertools
import re

import pytest
from nbformat.v4 import new_code_cell

from miewid_lib import book
from miewid_lib.errors import PageError, StageError

MEGABYTE = 1e6


def pages_of(site):
    return {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}


def test_a_solution_leaves_its_cell_and_is_folded_below():
    cell = new_code_cell(
        "def f(x):\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\nf(2)"
    )
    asked, folded = book.fold(cell)
    assert asked.source == "def f(x):\n    ...  # your turn\nf(2)"
    assert "    return 1\n" in folded.source and folded.source.startswith("<details")
    assert book.fold(new_code_cell("f(2)"))[0].source == "f(2)"


@pytest.mark.parametrize(
    "source",
    ["### BEGIN SOLUTION\nx = 1", "x = 1\n### END SOLUTION", "### BEGIN SOLUTION\n" * 2],
)
def test_a_solution_without_beginning_or_end_is_an_error(source):
    with pytest.raises(PageError, match="SOLUTION without its partner"):
        book.fold(new_code_cell(source))


def test_links_lead_to_pages_of_the_book_or_keep_their_words():
    known = {"reports/notebooks/02_split": "chapters/02_split", "TEACHING": "teaching"}
    for link in ("02_split.ipynb", "../notebooks/02_split.ipynb", "./02_split.ipynb"):
        assert book.relink(f"see [two]({link}).", known) == "see [two](/chapters/02_split)."
    assert book.relink("[t](TEACHING.md#plan)", known) == "[t](/teaching#plan)"
    assert book.relink("[p](../params.yaml) [w](https://a.org/x.md)", known) == (
        "p [w](https://a.org/x.md)"
    )
    assert book.relink("![picture](02_split.ipynb)", known) == "![picture](02_split.ipynb)"


def test_no_page_no_book(tmp_path):
    with pytest.raises(StageError, match="dvc repro"):
        book.collect(tmp_path, tmp_path / "pages")


def test_every_chapter_is_a_page_and_leads_to_the_next(site, repository):
    chapters = sorted(path.stem for path in (repository / "reports" / "notebooks").glob("*.ipynb"))
    found = pages_of(site)
    assert len(chapters) > 5
    for one, two in itertools.pairwise(chapters):
        assert re.search(rf'class="right-next"\s+href="{two}.html"', found[f"chapters/{one}.html"])


def test_words_and_chapters_are_linked_once_a_page(site):
    text = pages_of(site)["chapters/04_evaluate.html"]
    assert text.count('href="../glossary.html#term-cosine"') == 1
    assert re.search(r'href="05_figure1.html"[^>]*><span class="[^"]*">chapter 5<', text)


def test_every_term_of_the_glossary_is_an_anchor(site):
    text = pages_of(site)["glossary.html"]
    anchors = re.findall(r'<dt id="(term-[^"]+)"', text)
    assert len(anchors) > 30 and len(set(anchors)) == len(anchors)


def test_every_picture_has_words(site):
    pictures = [
        picture for text in pages_of(site).values() for picture in re.findall(r"<img [^>]*>", text)
    ]
    assert len(pictures) > 20
    words = [html.unescape(re.search(r'alt="([^"]*)"', picture)[1]) for picture in pictures]
    assert not [alt for alt in words if len(alt) < 15 or alt.endswith((".png", ".jpeg"))]
    assert len(set(words)) == len(words), "two pictures in the same words"


def test_formulas_are_drawn_without_a_script(site):
    text = pages_of(site)["chapters/03_train.html"]
    assert "<math " in text and not re.search("<script[^>]*mathjax", text, re.IGNORECASE)


def test_nothing_on_a_page_is_fetched_from_outside(site):
    for name, text in pages_of(site).items():
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]*?src="([^"]*)"', text)
        fetched += re.findall(r'<link [^>]*rel="(?!canonical)[^"]*"[^>]*href="([^"]*)"', text)
        outside = [link for link in fetched if re.match(r"(https?:)?//", html.unescape(link))]
        assert not outside, name


def test_the_book_is_light(site):
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 60 * MEGABYTE
