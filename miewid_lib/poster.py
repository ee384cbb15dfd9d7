"""What the chapters wrote, brought together: one table of all scores, and one page of figures."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from miewid_lib import charts, evaluation, retrieval
from miewid_lib.errors import MiewidError
from miewid_lib.paths import ROOT, need, reports

PAPER = {"figure1": 12.5, "figure4": 4.5}  # published mean differences in points


def growth(answers: pd.DataFrame, *, seed: int, n_bootstrap: int) -> pd.DataFrame:
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


def main(argv: list[str] | None = None) -> int:
    """Command line: read data/ and reports/tables; write the two figures and two tables."""
    parser = argparse.ArgumentParser(prog="miewid_lib.poster", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="of the bootstrap")
    parser.add_argument("--n_bootstrap", type=int, required=True)
    options = vars(parser.parse_args(argv))
    names = ("figure1", "figure2", "figure3", "figure4")
    try:
        parts = {n: _read(f"reports/tables/{n}.csv") for n in names}
        asked = [_read(f"data/per_query{which}.csv") for which in ("", "_heldout", "_backbones")]
        answers, split = _read("data/new_species.csv"), _read("data/split.csv")
    except MiewidError as error:
        print(error, file=sys.stderr)
        return 2
    scores = evaluation.score_table(pd.concat(asked, ignore_index=True), **options)
    scores.round(4).to_csv(reports("tables") / "one_vs_rest.csv", index=False)
    sizes = split["species"].value_counts().sort_values(kind="stable")
    scores = scores[scores["seed"] == "mean"]
    scores = scores.assign(n_annotations=scores["species"].map(sizes))
    order = [name for name in sizes.index if name in set(scores["species"])]
    grown = growth(answers, **options)
    grown.round(4).to_csv(reports("tables") / "new_species.csv", index=False)
    _save(charts.growth(grown), "new_species.png", dpi=300)
    _save(charts.poster(panels(scores, parts, order)), "poster.png", dpi=150)
    return 0


def _read(path: str) -> pd.DataFrame:
    return pd.read_csv(need(ROOT / path, made_by="dvc repro"))


def _save(figure, name: str, *, dpi: int) -> None:
    path: Path = reports("figures") / name
    figure.savefig(path, **(charts.PRINT | {"dpi": dpi}))


if __name__ == "__main__":
    sys.exit(main())
