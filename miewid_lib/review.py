"""Candidates for query photos, what a person decides about them, and the widget that asks.

Decisions are a CSV, the newest last: annotation_id, individual, verdict (same or different). A new
animal is `same` with a name that the catalogue does not hold.
"""

import csv
import io
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from miewid_lib import annotations
from miewid_lib.errors import AnnotationError
from miewid_lib.similarity import similarities, unit

COLUMNS = ["annotation_id", "individual", "verdict"]
VERDICTS = ("same", "different")
_OFFER = ["candidate", "similarity", "individual", "query", "rank"]


def read(path: Path | None) -> DataFrame:
    """Return the decisions of a file, text in COLUMNS; none where there is no file (or no path).

    Raises AnnotationError naming the file, the row (from 0) and the value.
    """
    if path is None or not Path(path).exists():
        return DataFrame(columns=COLUMNS, dtype="str")
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise AnnotationError(f"{path}: not a readable CSV file ({error})") from None
    if header != COLUMNS:
        raise AnnotationError(f"{path}: its header is {header}, not {COLUMNS}")
    for i, row in enumerate(rows):
        try:
            _check(row)
        except AnnotationError as error:
            raise AnnotationError(f"{path}: row {i}: {error}") from None
    return DataFrame(rows, columns=COLUMNS, dtype="str")


def append(path: Path, annotation_id: str, individual: str, verdict: str) -> None:
    """Add one decision to the file, whole or not at all: written aside, then renamed."""
    row = [annotation_id, individual.strip(), verdict]
    _check(row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *read(path).values.tolist(), row])
    partial = Path(f"{path}.part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _check(row: Sequence[str]) -> None:
    if len(row) != len(COLUMNS) or row[2] not in VERDICTS:
        raise AnnotationError(f"{row} is not annotation_id, individual and one of {VERDICTS}")
    if (
        not row[0]
        or not row[1].strip()
        or annotations.CONTROL.search("".join(row))
        or "|" in row[1]
    ):
        raise AnnotationError(f"{row}: a name must be plain text without |, and not empty")


def newest(decisions: DataFrame) -> DataFrame:
    """The last verdict on each pair of photo and animal, in order; earlier ones were withdrawn."""
    return decisions.drop_duplicates(COLUMNS[:2], keep="last", ignore_index=True)


def apply(table: DataFrame, decisions: DataFrame) -> DataFrame:
    """Return `table` with accepted names as individuals (the last one counts), identity null there.

    Raises AnnotationError for a decision about a photo that the table does not hold.
    """
    strangers = decisions.loc[~decisions["annotation_id"].isin(table["annotation_id"])]
    if len(strangers):
        raise AnnotationError(f"decision on {strangers.iloc[0, 0]!r}: not in the table")
    same = newest(decisions).query("verdict == 'same'")
    name = same.drop_duplicates("annotation_id", keep="last").set_index("annotation_id")
    given = table["annotation_id"].map(name["individual"]).astype(object)
    individual = given.where(given.notna(), table["individual"]).astype(table["individual"].dtype)
    identity = table["identity"].mask(given.notna()).astype(table["identity"].dtype)
    return table.assign(individual=individual, identity=identity)


def offers(
    vectors: np.ndarray, table: DataFrame, asked: np.ndarray, known: np.ndarray, *, k: int = 5
) -> DataFrame:
    """Return the k most similar animals for each query, one row each, most similar first.

    vectors [N, D]; table: annotation_id, species, individual, encounter of N photos; asked and
    known: row numbers of queries and catalogue. An animal's similarity is that of its best photo
    of the species, never one of the query's own encounter. Columns: query, candidate (row numbers),
    annotation_id, species, individual (of the candidate), rank (from 1), similarity.
    """
    vectors, rows = unit(vectors, "embeddings"), [DataFrame(columns=_OFFER)]
    asked, known = np.asarray(asked, int), np.asarray(known, int)
    species, encounter = table["species"].to_numpy(), table["encounter"].to_numpy()
    for i, cosine in similarities(vectors[asked], vectors[known]):
        query = asked[i]
        apart = pd.isna(encounter[known]) | (encounter[known] != encounter[query])
        fits = (species[known] == species[query]) & apart & (known != query)
        found = DataFrame({"candidate": known[fits], "similarity": cosine[fits]})
        found["individual"] = table["individual"].to_numpy()[found["candidate"]]
        found = found.sort_values(["similarity", "candidate"], ascending=[False, True])
        found = found.drop_duplicates("individual").head(k)
        rows.append(found.assign(query=query, rank=np.arange(1, len(found) + 1)))
    whole = pd.concat([r for r in rows if len(r)] or rows, ignore_index=True)
    facts = table[["annotation_id", "species"]].iloc[whole["query"].astype(int)]
    return whole.assign(**facts.reset_index(drop=True))


def next_offer(offered: DataFrame, decisions: DataFrame, skipped: Collection = ()) -> DataFrame:
    """Return the candidates left for the first query without an answer; no row when all are done.

    Pairs that were rejected are not offered again; a query with an accepted name is done.
    """
    now = newest(decisions)
    done = {*now.loc[now["verdict"] == "same", "annotation_id"], *skipped}
    rejected = set(zip(now["annotation_id"], now["individual"], strict=True))
    pairs = zip(offered["annotation_id"], offered["individual"], strict=True)
    left = offered[np.array([a not in done and (a, b) not in rejected for a, b in pairs], bool)]
    return left[left["query"] == left["query"].iloc[0]] if len(left) else left


def picture(offer: DataFrame, crops: np.ndarray):
    """Return a Figure: the query and its candidates with their similarities; crops [N, S, S, 3]."""
    from miewid_lib import figures

    rows = offer.head(5)
    photos = [crops[rows["query"].iloc[0]], *crops[rows["candidate"].astype(int)]]
    figure = figures.photo_grid({"query, then\nbest first": photos}, size_in=1.5)
    names = zip(figure.axes[1:], rows["individual"], rows["similarity"], strict=False)
    for ax, name, cosine in names:
        write(ax, f"{name}  {cosine:.2f}")
    return figure


def write(ax, text: str) -> None:
    """Write a few words on the lower edge of a photo."""
    style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    ax.text(0.5, 0.03, text, bbox=style, transform=ax.transAxes, ha="center", fontsize=8)


def widget(offered: DataFrame, crops: np.ndarray, path: Path, *, show: Callable = picture):
    """Return a box for JupyterLab that asks about one query after the other and appends to `path`.

    `same` accepts the first candidate, `different` rejects it, `new` names an animal that is not in
    the catalogue, `skip` leaves the query for another time.
    """
    import ipywidgets

    view, text = ipywidgets.Image(format="png"), ipywidgets.Label()
    name, skipped = ipywidgets.Text(placeholder="name of a new animal"), set()
    labels = ("same", "different", "new", "skip")
    buttons = {label: ipywidgets.Button(description=label) for label in labels}

    def refresh():
        offer = next_offer(offered, read(path), skipped)
        view.value = _png(show(offer, crops)) if len(offer) else b""
        text.value = offer["annotation_id"].iloc[0] if len(offer) else "no photo is left"

    def answer(button):
        offer = next_offer(offered, read(path), skipped)
        if len(offer):
            decide(path, offer, button.description, name.value, skipped)
        name.value = ""
        refresh()

    for button in buttons.values():
        button.on_click(answer)
    refresh()
    return ipywidgets.VBox([view, text, ipywidgets.HBox([*buttons.values(), name])])


def decide(path: Path, offer: DataFrame, label: str, name: str, skipped: set) -> None:
    """Put one answer of the widget into effect: a line in the file, or the query skipped."""
    photo, best = offer["annotation_id"].iloc[0], offer["individual"].iloc[0]
    if label == "skip" or (label == "new" and not name.strip()):
        skipped.add(photo)
    else:
        verdict = "different" if label == "different" else "same"
        append(path, photo, name if label == "new" else best, verdict)


def _png(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90)
    return stream.getvalue()
