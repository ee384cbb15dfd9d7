"""Charts with one row a species: the rows, and what is drawn on them, in per cent.

`places` is the y of each row, a Series with the species (and "mean", if it has a row) as index.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from miewid_lib import chart_style as look
from miewid_lib.chart_style import Style
from miewid_lib.errors import ChartError

DIFFERENCE = ["difference", "difference_low", "difference_high"]


def height_in(order: Sequence[str], row_in: float) -> float:
    """Height of a chart; more than 20 rows stand closer."""
    return 2 + row_in * len(order) * (1 if len(order) <= 20 else 0.7)


def species_rows(axes: Sequence[Axes], table: pd.DataFrame, order: Sequence[str]) -> pd.Series:
    """One row a species, first on top, the mean (if the table has one) below a rule.

    A label holds the number of annotations where the table has n_annotations, and that of the
    mean its number of species where the table has n_species.
    """
    if not len(order):
        raise ChartError("no species to draw: `order` is empty")
    if missing := set(order) - set(table["species"]):
        raise ChartError(f"no scores of {sorted(missing)}; leave them out of `order`")
    names = [*order, *(["mean"] if (table["species"] == "mean").any() else [])]
    places = pd.Series(np.arange(len(names), dtype=float), index=names)
    for ax in axes:
        _stripes(ax, len(order), with_mean="mean" in names)
        ax.set(yticks=places, yticklabels=_labels(table, names), ylim=(len(names) - 0.5, -0.5))
        ax.label_outer()
    if "n_annotations" in table:
        where = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
        axes[0].annotate("species (annotations)", (0, 1), (-7, 6), fontsize=11, **where)
    return places


def _stripes(ax: Axes, n_species: int, *, with_mean: bool) -> None:
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    for y in range(0, n_species, 2):
        ax.axhspan(y - 0.5, y + 0.5, color=look.STRIPE, linewidth=0, zorder=0)
    if with_mean:
        ax.axhline(n_species - 0.5, color=look.INK, linewidth=1)


def _labels(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    labels = {name: name for name in names} | {"mean": "mean over species"}
    if "n_species" in table and "mean" in names:  # not the length of `order`, which may hold fewer
        n_species = table.loc[table["species"] == "mean", "n_species"].iloc[0]
        labels["mean"] = f"mean of {n_species:.0f} species"
    if "n_annotations" in table:
        counts = table.dropna(subset="n_annotations").groupby("species")["n_annotations"].first()
        labels |= {name: f"{name} ({counts[name]:,.0f})" for name in names if name in counts}
    return [labels[name] for name in names]


def of_model(table: pd.DataFrame, model: str, places: pd.Series) -> pd.DataFrame:
    """The scores of one model, one for each row of the chart; NaN where it has none."""
    part = table[table["model"] == model]
    if part.empty or part["species"].duplicated().any():
        n = len(part)
        raise ChartError(f"{model}: {n} scores; a chart needs one a species, choose one seed")
    return part.set_index("species").reindex(places.index)


def marks(ax: Axes, rows: pd.DataFrame, y, style: Style, *, metric: str, hollow=False) -> None:
    """Points with their 95 % intervals; `rows` has metric, metric_low and metric_high."""
    value, low, high = (100 * rows[name] for name in (metric, f"{metric}_low", f"{metric}_high"))
    ax.hlines(y, low, high, color=style.colour, linewidth=1.6, zorder=3)
    face, edge = ("white", style.colour) if hollow else (style.colour, look.INK)
    point = {"marker": style.marker, "markersize": 7.5, "markerfacecolor": face}
    point |= {"markeredgecolor": edge, "markeredgewidth": 1.8 if hollow else 0.7}
    ax.plot(value, y, linestyle="none", label=style.label, zorder=4, **point)


def chance(ax: Axes, table: pd.DataFrame, places: pd.Series, *, metric: str) -> None:
    """A black tick as high as the row at the score of guessing, if the table has one."""
    if f"chance_{metric}" in table:
        x = 100 * table.groupby("species")[f"chance_{metric}"].first().reindex(places.index)
        ax.vlines(x, places - 0.36, places + 0.36, color="black", linewidth=2, zorder=2)
        tick = {"marker": "|", "markersize": 13, "markeredgewidth": 2, "color": "black"}
        ax.plot([], [], linestyle="none", label="chance", **tick)


def pairs(ax: Axes, scores: pd.DataFrame, places: pd.Series, models: list, *, metric: str) -> None:
    """Two models joined by a line on each row, and above them the third, hollow, if not None."""
    first, second, reference = models
    names = [name for name in (reference, first, second) if name]
    y = {n: places + shift for n, shift in zip(names, look.dodge(len(names), 0.24), strict=True)}
    parts = {name: of_model(scores, name, places) for name in names}
    x = [100 * parts[name][metric] for name in (first, second)]
    ax.plot(x, [y[first], y[second]], color=look.RULE, linewidth=5, zorder=2.5)
    for name, style in look.styles(names).items():
        marks(ax, parts[name], y[name], style, metric=metric, hollow=name == reference)


def differences(ax: Axes, rows: pd.DataFrame, places: pd.Series, *, paper: float | None) -> None:
    """Paired difference on each row; zero, the mean with its band, the published mean.

    `rows`: DIFFERENCE by species, in 0..1; `paper` in points.
    """
    if rows.index.has_duplicates:
        raise ChartError("several differences for a species; choose one pair and one metric")
    species = rows.reindex(places.index.drop("mean", errors="ignore"))
    marks(ax, species, places[species.index], Style(look.INK, "o", "_"), metric="difference")
    ax.axvline(0, color="black", linewidth=1.2, zorder=2)
    if "mean" in rows.index:
        mean, low, high = (float(100 * rows.loc["mean", name]) for name in DIFFERENCE)
        ax.axvline(mean, color=look.MEAN, linewidth=2.2, label=f"mean {look.signed(mean)}")
        label = f"its 95 % interval, {look.signed(low)} to {look.signed(high)}"
        ax.axvspan(low, high, color=look.MEAN, alpha=0.25, linewidth=0, zorder=1, label=label)
    if {"mean"} <= set(rows.index) & set(places.index):
        diamond = Style(look.MEAN, "D", "_")
        marks(ax, rows.loc[["mean"]], places[["mean"]], diamond, metric="difference")
    if paper is not None:
        dashed = {"color": look.PAPER, "linewidth": 2, "linestyle": (0, (4, 2))}
        ax.axvline(paper, label=f"mean in the paper {look.signed(paper)}", **dashed)


def seeds(ax: Axes, table: pd.DataFrame, places: pd.Series, *, metric: str) -> None:
    """The seeds of one model joined on each row, the first one filled; the title has their gap."""
    ((model, style),) = look.styles(table["model"].unique()).items()
    parts = [of_model(part, model, places) for _, part in table.groupby("seed")]
    x = np.array([100 * part[metric] for part in parts])  # [seed, row]
    y = [places + shift for shift in look.dodge(len(parts), 0.5 / len(parts))]
    ax.plot(x, y, color=look.RULE, linewidth=4, zorder=2.5)
    for k, part in enumerate(parts):
        unnamed = style._replace(label="_")
        marks(ax, part, y[k], unnamed, metric=metric, hollow=k > 0)
    gap = np.nanmean(np.ptp(x[:, places.index != "mean"], axis=0))
    ax.set_title(f"{style.label}\nmean gap {gap:.1f} points")
