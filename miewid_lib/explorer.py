"""The explorer: one HTML file in which to ask test photos and look at the answers of chapter 4."""

import argparse
import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from miewid_lib import annotations, images, pages, retrieval
from miewid_lib.errors import MiewidError, StageError
from miewid_lib.paths import ROOT, need
from miewid_lib.similarity import TIE

TEMPLATE = Path(__file__).with_suffix(".html")
DATA = "/* data */"  # where the template takes the photos and answers
QUALITY = 80  # of the JPEGs: coats stay sharp, a crop of 72 px takes 2 kB


def ranked(is_mate: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """Order [N] of the candidates of one query, ties broken against it as in `one_vs_rest`.

    is_mate [N] (same animal) and cosines [N], from the highest down.

    >>> ranked(np.array([True, False, False]), np.array([0.9, 0.9, 0.2])).tolist()
    [1, 0, 2]
    """
    mates, others = np.flatnonzero(is_mate), np.flatnonzero(~is_mate)
    ahead = (cosines[others] >= cosines[mates, None] - TIE).sum(axis=1)  # [mates]
    order = np.empty(len(is_mate), int)
    places = np.arange(len(mates)) + ahead
    order[places] = mates
    order[np.delete(np.arange(len(order)), places)] = others
    return order


def answers(vectors: np.ndarray, test: pd.DataFrame, asked: np.ndarray, n_near: int) -> dict:
    """What each photo of `asked` (row numbers of `test`) finds: query, to its answer.

    vectors [N, D]. An answer has near (the first n_near: row, cosine), mates (row, rank) and n, the
    number of candidates; species and encounters limit who is one, as in chapter 4.
    """
    who = {"groups": test["species"], "exclude": test["encounter"]}
    k = int(test["species"].value_counts().iloc[0])
    nearest, cosines = retrieval.neighbours(vectors, **who, k=k)
    names = test["identity"].to_numpy()
    found = {}
    for query in asked.tolist():
        n = int((nearest[query] >= 0).sum())
        is_mate = names[nearest[query, :n]] == names[query]
        order = ranked(is_mate, cosines[query, :n])
        rows, near = nearest[query, order], cosines[query, order]
        first = zip(rows[:n_near].tolist(), near[:n_near].tolist(), strict=True)
        ranks = np.flatnonzero(is_mate[order])
        mates = zip(rows[ranks].tolist(), (ranks + 1).tolist(), strict=True)
        found[query] = {
            "near": [[row, round(cosine, 2)] for row, cosine in first],
            "mates": [list(pair) for pair in mates],
            "n": n,
        }
    return found


def spread(species: pd.Series, n_queries: int) -> np.ndarray:
    """Row numbers of at most n_queries photos a species, evenly spread over its rows.

    >>> spread(pd.Series(["ox"] * 5 + ["ape"] * 2), 3).tolist()
    [0, 2, 4, 5, 6]
    """
    parts = species.reset_index(drop=True).groupby(species.to_numpy()).indices.values()
    even = [rows[np.linspace(0, len(rows) - 1, min(n_queries, len(rows))).astype(int)]
            for rows in parts]  # fmt: skip
    return np.sort(np.concatenate(even))


def jpeg(crop: np.ndarray, size_px: int) -> str:
    """Return a crop, uint8 [S, S, 3], as a data URI with a side of at most size_px."""
    photo = Image.fromarray(crop)
    if photo.width > size_px:
        photo = photo.resize((size_px, size_px), images.KERNEL)
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def first_runs(names: list[str]) -> dict[str, str]:
    """Return model, to the name of its run with the lowest seed, from names such as `single-seed1`.

    >>> first_runs(["annotation_id", "single-seed1", "single-seed0"])
    {'single': 'single-seed0'}
    """
    found = [match for name in names if (match := re.fullmatch(r"(.+)-seed(\d+)", name))]
    found = sorted(found, key=lambda match: -int(match[2]))
    return {match[1]: match[0] for match in found}


def page(test: pd.DataFrame, found: dict[str, dict], crops: np.ndarray, size_px: int) -> str:
    """Return the explorer of one run.

    test: rows of the split table; found: model, to its `answers`; crops: uint8 [N, S, S, 3], in the
    order of `test`. Only photos that some answer shows are in it.
    """
    shown = set()
    for answer in (answer for queries in found.values() for answer in queries.values()):
        shown |= {row for row, _ in answer["near"]} | {row for row, _ in answer["mates"]}
    shown |= {query for queries in found.values() for query in queries}
    columns = ["species", "individual", "viewpoint", "seen"]
    facts = test[columns].astype(object).where(test[columns].notna(), "").to_dict("records")
    photos = {row: facts[row] | {"src": jpeg(crops[row], size_px)} for row in sorted(shown)}
    data = json.dumps({"photos": photos, "answers": found}, separators=(",", ":"))
    return TEMPLATE.read_text().replace(DATA, data.replace("<", "\\u003c"))


def main(argv: list[str] | None = None) -> int:
    """Command line: read data/; write reports/explorer.html."""
    parser = argparse.ArgumentParser(prog="miewid_lib.explorer", description=__doc__)
    parser.add_argument("--n_queries", type=int, required=True, help="at most, of each species")
    parser.add_argument("--n_neighbours", type=int, required=True, help="shown for each query")
    parser.add_argument("--size_px", type=int, required=True, help="largest side of a crop")
    options = parser.parse_args(argv)
    try:
        table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
        crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
        runs = np.load(need(ROOT / "data" / "embeddings.npz", made_by="04_evaluate"))
        rows = np.flatnonzero(table["part"] == "test")
        test = table.iloc[rows].reset_index(drop=True)
        if list(runs["annotation_id"]) != list(test["annotation_id"]):
            raise StageError("data/embeddings.npz is about other photos: run dvc repro")
        asked = spread(test["species"], options.n_queries)
        found = {
            model: answers(runs[run], test, asked, options.n_neighbours)
            for model, run in first_runs(runs.files).items()
        }
        text = page(test, found, crops[rows], options.size_px)
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    pages.write(ROOT / "reports" / "explorer.html", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
