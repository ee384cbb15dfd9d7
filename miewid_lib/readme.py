"""Fills the results of the README from the tables the pipeline wrote; nobody types a number."""

import sys
from pathlib import Path

import pandas as pd

from miewid_lib.paths import ROOT, need

START, END = "<!-- results -->", "<!-- /results -->"
MODELS = ("imagenet", "single", "single_matched", "multispecies")
SCALES = {"Procedural animals": "reports", "Real photos": "reports/real"}


def results(root: Path) -> str:
    """Return Markdown with one table a scale that has been run below `root`."""
    parts = []
    for title, folder in SCALES.items():
        tables = root / folder / "tables"
        if tables.exists():
            scores = pd.read_csv(tables / "evaluate.csv")
            differences = pd.read_csv(tables / "figure1.csv")
            parts += [f"### {title}", _species(scores), _differences(differences)]
    verdicts = {
        title: pd.read_csv(root / folder / "tables" / "claims.csv").set_index("claim")
        for title, folder in SCALES.items()
        if (root / folder / "tables" / "claims.csv").exists()
    }
    return "\n\n".join([*([_claims(verdicts)] if verdicts else []), *parts])


def _claims(verdicts: dict[str, pd.DataFrame]) -> str:
    """One row a claim: the paper's number, then ours with interval and verdict at each scale."""
    lines = ["| claim | paper | " + " | ".join(verdicts) + " |"]
    lines.append("| --- | ---: |" + " --- |" * len(verdicts))
    for claim in next(iter(verdicts.values())).index:
        rows = [table.loc[claim] for table in verdicts.values()]
        paper = "" if pd.isna(rows[0]["paper"]) else f"{rows[0]['paper']:+.1f}"
        lines.append(f"| {claim} | {paper} | " + " | ".join(map(_verdict, rows)) + " |")
    return "\n".join(lines)


def _verdict(row: pd.Series) -> str:
    if pd.isna(row["ours"]):
        return row["verdict"]
    digits = 2 if "rank correlation" in row["note"] else 1
    ours, low, high = (f"{row[name]:+.{digits}f}" for name in ("ours", "low", "high"))
    return f"{ours} ({low} to {high}), {row['verdict']}"


def fill(text: str, block: str) -> str:
    """Return `text` with `block` between the two markers."""
    head, _, rest = text.partition(START)
    return f"{head}{START}\n{block}\n{END}{rest.partition(END)[2]}"


def _species(scores: pd.DataFrame) -> str:
    scores = scores[scores["seed"].astype(str) == "mean"]
    lines = ["| species | identities | queries | chance | " + " | ".join(MODELS) + " |"]
    lines.append("| --- |" + " ---: |" * (3 + len(MODELS)))
    for species, part in scores.groupby("species", sort=False):
        part = part.set_index("model")
        one = part.loc["multispecies"]
        label = f"**mean of {one['n_species']:.0f}**" if species == "mean" else species
        cells = [label, f"{one['n_identities']:.0f}", f"{one['n_queries']:.0f}"]
        cells += [f"{100 * one['chance_top1']:.1f}", *(_cell(part.loc[name]) for name in MODELS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: pd.Series) -> str:
    if pd.isna(row["top1"]):
        return "no query"
    return f"{100 * row['top1']:.1f} ({100 * row['top1_low']:.0f} to {100 * row['top1_high']:.0f})"


def _differences(table: pd.DataFrame) -> str:
    mean = table[table["species"] == "mean"].set_index("model_b")
    said = [
        f"{100 * row['difference']:+.1f} over `{rival}` "
        f"({100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f})"
        for rival, row in mean.iterrows()
    ]
    return "Joint model, paired difference in points, mean over species: " + "; ".join(said) + "."


def main() -> int:
    """Command line: rewrite README.md."""
    path = need(ROOT / "README.md", made_by="git checkout")
    path.write_text(fill(path.read_text(), results(ROOT)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
