"""What the chapters wrote, brought together: one table of all scores, and one page of figures."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from miewid_lib import charts, evaluation, retrieval
from miewid_lib.errors import MiewidError
from miewid_lib.paths import ROOT, need, reports


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


def panels(
    scores: pd.DataFrame,
    tables: dict[str, pd.DataFrame],
    order: list[str],
    papers: dict[str, float],
) -> list:
    """Title and drawing function of figures 1 to 4.

    `tables` are those of the same names; `papers`: the published mean differences in points of
    figures 1 and 4.
    """

    def dumbbell(part: pd.DataFrame, *models: str, **options):
        options |= {"order": order, "models": models}
        return lambda on: charts.dumbbell(scores, part, on=on, **options)

    one = tables["figure1"].query("model_b == 'single'")
    two = tables["figure2"].query("model_a == 'multispecies' and metric == 'top5'")
    four = tables["figure4"].query("model_b == 'swinv2'")
    unseen = {"reference": "imagenet", "metric": "top5"}
    return [
        ("One model for all species, or one each",
         dumbbell(one, "single", "multispecies", paper=papers["figure1"])),
        ("Species that nobody trained on", dumbbell(two, "heldout", "multispecies", **unseen)),
        ("Photos of the animal in the database",
         lambda on: charts.catalogue(tables["figure3"], on=on)),
        ("Convolutions or attention",
         dumbbell(four, "swinv2", "efficientnetv2", paper=papers["figure4"])),
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Command line: read data/ and reports/tables; write the two figures and two tables."""
    parser = argparse.ArgumentParser(prog="miewid_lib.poster", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="of the bootstrap")
    parser.add_argument("--n_bootstrap", type=int, required=True)
    for name in ("figure1", "figure4"):
        parser.add_argument(f"--{name}", type=float, required=True, help="published mean, points")
    options = vars(parser.parse_args(argv))
    papers = {name: options.pop(name) for name in ("figure1", "figure4")}
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
    _save(charts.poster(panels(scores, parts, order, papers)), "poster.png", dpi=150)
    return 0


def _read(path: str) -> pd.DataFrame:
    return pd.read_csv(need(ROOT / path, made_by="dvc repro"))


def _save(figure, name: str, *, dpi: int) -> None:
    path: Path = reports("figures") / name
    figure.savefig(path, **(charts.PRINT | {"dpi": dpi}))


if __name__ == "__main__":
    sys.exit(main())
