"""The figures on one page, and the chart of chapter 10, from the tables that the chapters wrote."""

import sys
from pathlib import Path

import pandas as pd

from miewid_lib import charts, retrieval
from miewid_lib.errors import MiewidError
from miewid_lib.paths import ROOT, need, reports

PAPER = {"figure1": 12.5, "figure4": 4.5}  # published mean differences in points


def growth(answers: pd.DataFrame, *, seed: int, n_bootstrap: int = 1000) -> pd.DataFrame:
    """Mean over new species of each way of training and part, from the answers of chapter 10.

    `answers`: data/new_species.csv. Columns: way, share, n_photos (of all new species), then those
    of `retrieval.species_mean`.
    """
    rows = []
    new = answers[answers["kind"] == "new"]
    for (way, share), part in new.groupby(["way", "share"]):
        mean = retrieval.species_mean(part, by="species", seed=seed, n_bootstrap=n_bootstrap)
        n_photos = part.groupby("species")["n_photos"].first().sum()
        rows.append(mean.assign(way=way, share=share, n_photos=n_photos))
    return pd.concat(rows, ignore_index=True)


def panels(scores: pd.DataFrame, tables: dict[str, pd.DataFrame], order: list[str]) -> list:
    """Title and drawing function of figures 1 to 4; `tables` are those of the same names."""
    one = tables["figure1"].query("model_b == 'single'")
    two = tables["figure2"].query("model_a == 'multispecies' and metric == 'top5'")
    four = tables["figure4"].query("model_b == 'swinv2'")
    rows = [
        ("One model for all species, or one each", one, ("single", "multispecies"), {}),
        ("Species that nobody trained on", two, ("heldout", "multispecies"),
         {"reference": "imagenet", "metric": "top5"}),
        ("Convolutions or attention", four, ("swinv2", "efficientnetv2"), {}),
    ]  # fmt: skip
    papers = (PAPER["figure1"], None, PAPER["figure4"])
    drawn = [
        (title, _dumbbell(scores, part, order, {"models": models, "paper": paper, **options}))
        for (title, part, models, options), paper in zip(rows, papers, strict=True)
    ]
    curve = ("Photos of the animal in the database", _catalogue(tables["figure3"]))
    return [*drawn[:2], curve, drawn[2]]


def _dumbbell(scores, differences, order, options):
    return lambda on: charts.dumbbell(scores, differences, order=order, on=on, **options)


def _catalogue(curve):
    return lambda on: charts.catalogue(curve, on=on)


def main() -> int:
    """Command line: read data/ and reports/tables, write two figures and one table."""
    tables = ROOT / "reports" / "tables"
    try:
        scores = pd.read_csv(need(tables / "one_vs_rest.csv", made_by="04_evaluate"))
        names = ("figure1", "figure2", "figure3", "figure4")
        parts = {n: pd.read_csv(need(tables / f"{n}.csv", made_by=n)) for n in names}
        answers = pd.read_csv(need(ROOT / "data/new_species.csv", made_by="10_new_species"))
        split = pd.read_csv(need(ROOT / "data/split.csv", made_by="02_split"))
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    sizes = split["species"].value_counts().sort_values(kind="stable")
    scores = scores[scores["seed"].astype(str) == "mean"]
    scores = scores.assign(n_annotations=scores["species"].map(sizes))
    order = [name for name in sizes.index if name in set(scores["species"])]
    grown = growth(answers, seed=0)
    grown.round(4).to_csv(reports("tables") / "new_species.csv", index=False)
    _save(charts.growth(grown), "new_species.png", dpi=300)
    _save(charts.poster(panels(scores, parts, order)), "poster.png", dpi=150)
    return 0


def _save(figure, name: str, *, dpi: int) -> None:
    path: Path = reports("figures") / name
    figure.savefig(path, **(charts.PRINT | {"dpi": dpi}))


if __name__ == "__main__":
    sys.exit(main())
