"""How Sphinx makes the book: outputs as they are, no outside request, links to chapters and terms.

`make book` copies this folder with the pages to build/book-pages and calls Sphinx there.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

HERE = Path(__file__).parent

project = "MiewID, a book that reproduces itself"
html_title = "MiewID"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["_static"]

nb_execution_mode = "off"  # pages were executed by the pipeline
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = True  # the download button hands out the page as a notebook
html_show_sourcelink = False
html_show_search_summary = False  # it fetches pages, which a browser refuses for files on a disk
html_math_renderer = "mathml"  # browsers draw MathML, no script needed
html_context = {"default_mode": "auto"}  # light or dark as the reader's system says
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "use_fullscreen_button": False,
    "toc_title": "On this page",
    "footer_content_items": ["extra-footer"],
}
if (HERE / "explorer.html").is_file():
    html_extra_path = ["explorer.html"]

CHAPTERS = {int(p.stem[:2]): p.stem for p in (HERE / "chapters").glob("[0-9][0-9]_*.ipynb")}
TERMS = re.findall(r"^(\w.*)\n  \S", (HERE / "glossary.md").read_text(), flags=re.MULTILINE)
PLACES = re.compile(
    r"(?P<chapters>\b[Cc]hapters? \d+(?:(?:,| and| to| or) \d+)*)|\b(?P<term>"
    + "|".join(re.escape(term) for term in sorted(TERMS, key=len, reverse=True))
    + r")\b",
    flags=re.IGNORECASE,
)
SHOWN = (nodes.literal, nodes.reference, pending_xref, nodes.title, nodes.FixedTextElement)
UNSPLIT = (*SHOWN, nodes.rubric, nodes.term, nodes.raw, nodes.math, nodes.container)


class Links(SphinxTransform):
    """Make `chapter 4` a link, and the first mention of a glossary's term on a page."""

    default_priority = 700

    def apply(self) -> None:
        """Replace texts in prose; headings, code and links stay as they are."""
        here = self.env.docname
        seen = set() if re.match("chapters/|exercises/|teaching", here) else set(TERMS)
        lower = {term.lower(): term for term in TERMS}
        for text in list(self.document.findall(nodes.Text)):
            if not prose(text):
                continue
            parts, end = [], 0
            for match in PLACES.finditer(text):
                term = lower.get((match["term"] or "").lower())
                if match["term"] and (term in seen or not same_case(match["term"], term)):
                    continue
                seen.add(term)
                parts.append(nodes.Text(text[end : match.start()]))
                parts += [xref(match[0], "term", term, here)] if term else chapters(match[0], here)
                end = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text[end:])])


def same_case(found: str, term: str) -> bool:
    """Say whether letters after the first agree: GeM is a term, gem is a stone."""
    return found[1:] == term[1:] or (found[1:] == term[1:].lower() and len(term) > 4)


def prose(text: nodes.Text) -> bool:
    """Say whether a text stands in a sentence that may hold links."""
    parent = text.parent
    while parent is not None:
        if isinstance(parent, UNSPLIT):
            return False
        parent = parent.parent
    return True


def chapters(text: str, here: str) -> list[nodes.Node]:
    """Return the nodes of `chapters 5, 6 and 8`, each number a link to its chapter."""
    made = []
    for piece in re.split(r"(\d+)", text):
        known = piece.isdigit() and f"chapters/{CHAPTERS.get(int(piece))}"
        if known and int(piece) in CHAPTERS and known != here:
            made.append(xref(piece, "doc", f"/{known}", here))
        elif piece:
            made.append(nodes.Text(piece))
    if len(made) == 2:  # one chapter: its word belongs to the link
        made = [xref(text, "doc", made[1]["reftarget"], here)] if "reftarget" in made[1] else made
    return made


def xref(text: str, kind: str, target: str, here: str) -> pending_xref:
    """Return a link to a document or a term, which Sphinx resolves or warns about."""
    label = nodes.inline(text, text, classes=["std", f"std-{kind}"])
    options = {"refdomain": "std", "reftype": kind, "reftarget": target, "refdoc": here}
    return pending_xref("", label, refexplicit=True, refwarn=True, **options)


def describe(app: Sphinx, doctree: nodes.document) -> None:
    """Give every picture that a cell has made words for those who cannot see it."""
    for image in doctree.findall(nodes.image):
        if image.get("alt"):
            continue
        section = image
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        title = section.next_node(nodes.title).astext() if section is not None else "the page"
        image["alt"] = f"Picture made by the code above it, in: {title}"


def remember(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Keep the words of a page for the search results."""
    texts = app.env.__dict__.setdefault("book_texts", {})
    texts[docname] = " ".join(doctree.astext().split())


def scripts(app: Sphinx, page: str, template: str, context: dict, doctree: object) -> None:
    """Give the search page, and no other, the words of all pages and what shows them."""
    if page == "search":
        app.add_js_file("texts.js")
        app.add_js_file("search.js")


def write_texts(app: Sphinx, error: Exception | None) -> None:
    """Write the words of all pages as a script, since a page on a disk may not fetch others."""
    if error is None:
        texts = json.dumps(app.env.book_texts, ensure_ascii=False, indent=0, sort_keys=True)
        (Path(app.outdir) / "_static" / "texts.js").write_text(f"const BOOK_TEXTS = {texts};\n")


def mathml(self, node: nodes.Element) -> None:
    """Write a formula as MathML."""
    self.body.append(tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_transform(Links)
    app.connect("doctree-read", describe)
    app.connect("doctree-resolved", remember)
    app.connect("html-page-context", scripts)
    app.connect("build-finished", write_texts)
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
