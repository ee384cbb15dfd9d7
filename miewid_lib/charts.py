"""Charts of results in one visual language: tidy tables in, matplotlib Figures out.

Shares 0..1 of the tables are drawn in per cent, with 95 % intervals. Save a chart with
`figure.savefig(path, **PRINT)`: the same table gives the same bytes.
"""

from collections.abc import Callable, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from miewid_lib import chart_rows as rows
from miewid_lib import chart_style as look
from miewid_lib.chart_style import MODEL_STYLE, PRINT, Style, themed
from miewid_lib.errors import ChartError

__all__ = ["MODEL_STYLE", "PRINT", "catalogue", "dumbbell", "growth", "poster", "scores", "seeds"]
TITLES = {"top1": "Top-1 in %", "top5": "Top-5 in %", "map": "mAP in %"}


@themed
def scores(
    table: pd.DataFrame,
    *,
    order: Sequence[str],
    metric: str = "top1",
    models: Sequence[str] | None = None,
) -> Figure:
    """Score of each model on each species of `order`, top down; a tick marks chance.

    `table`: model, species ("mean" gets a row of its own), metric with _low and _high; where known
    n_annotations, n_species (of the mean) and chance_top1. Without `models`, all in the table.
    """
    models = models or look.in_order(table["model"])
    height_in = rows.height_in(order, 0.14 * len(models) + 0.1)
    fig, (ax,) = look.canvas(None, (10.5, height_in), 1)
    places = rows.species_rows([ax], table, order)
    shifts = look.dodge(len(models), 0.8 / len(models))
    for shift, (name, style) in zip(shifts, look.styles(models).items(), strict=True):
        part = rows.of_model(table, name, places)
        rows.marks(ax, part, places + shift, style, metric=metric)
    rows.chance(ax, table, places, metric=metric)
    ax.set(title=_title(metric), xlim=(-2, 102))
    look.legend(fig, [ax], n_columns=3)
    return look.done(fig)


@themed
def dumbbell(
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    *,
    order: Sequence[str],
    models: tuple[str, str],
    reference: str | None = None,
    metric: str = "top1",
    paper: float | None = None,
    on: SubFigure | None = None,
) -> Figure | SubFigure:
    """Two models on each species of `order`, joined by a line, and their paired difference.

    `scores` as in the chart of this name; `differences`: species ("mean" gives the band) and
    difference (second of `models` minus first) with _low and _high. `reference` is a third model,
    drawn hollow; `paper` is the published mean difference in points.
    """
    size_in = (10.5, 0.6 + rows.height_in(order, 0.46))
    grid = {"sharey": True, "width_ratios": (3, 2)}
    fig, (left, right) = look.canvas(on, size_in, 2, **grid)
    places = rows.species_rows([left, right], scores, order)
    rows.pairs(left, scores, places, [*models, reference], metric=metric)
    rows.chance(left, scores, places, metric=metric)
    left.set(title=_title(metric), xlim=(-2, 102))
    rows.differences(right, differences.set_index("species"), places, paper=paper)
    first, second = (look.styles(models)[name].label for name in models)
    label = "\n".join(fill(text, 28) for text in (second, f"minus {first}"))
    right.set_title("Difference in points")
    right.set_xlabel(label, loc="right")  # the layout reserves no width for it
    look.legend(fig, [left, right], n_columns=2)
    return look.done(fig)


@themed
def seeds(table: pd.DataFrame, *, order: Sequence[str], metric: str = "top1") -> Figure:
    """How far the seeds of a model disagree on each species of `order`; a panel a model.

    `table` as in `scores`, with seed. A model with one seed is left out; the title of a panel
    tells the gap between its highest and lowest seed, mean over species, in points.
    """
    table = table[table.groupby("model")["seed"].transform("nunique") > 1]
    if table.empty:
        raise ChartError("no model has two seeds, so there is nothing to compare")
    models = look.in_order(table["model"])
    size_in = (2.3 + 3.3 * len(models), rows.height_in(order, 0.42))
    fig, axes = look.canvas(None, size_in, len(models), sharey=True)
    places = rows.species_rows(axes, table, order)
    for ax, name in zip(axes, models, strict=True):
        rows.seeds(ax, table[table["model"] == name], places, metric=metric)
        rows.chance(ax, table, places, metric=metric)
        ax.set(xlabel=_title(metric), xlim=(-2, 102))
    for label, face in {"first seed": look.INK, "other seeds": "white"}.items():
        ax.plot([], [], "o", color=look.INK, markerfacecolor=face, markersize=7.5, label=label)
    look.legend(fig, axes, n_columns=3)
    return look.done(fig)


@themed
def catalogue(curve: pd.DataFrame, *, on: SubFigure | None = None) -> Figure | SubFigure:
    """Score against the number of the animal's own photos in the database, a panel a metric.

    `curve`: n_own, metric ("top1", "top5"), species ("mean" is the bold line), mean, low and high;
    where known chance.
    """
    metrics = [name for name in TITLES if name in set(curve["metric"])]
    fig, axes = look.canvas(on, (5 * len(metrics) + 0.5, 5), len(metrics), sharey=True)
    for ax, metric in zip(axes, metrics, strict=True):
        part = curve[curve["metric"] == metric].sort_values("n_own")
        for _, line in part[part["species"] != "mean"].groupby("species"):
            thin = {"color": look.RULE, "linewidth": 1.3, "label": "each species"}
            ax.plot(line["n_own"], 100 * line["mean"], **thin)
        mean = part[part["species"] == "mean"]
        style = MODEL_STYLE["multispecies"]._replace(label="mean over species, 95 % interval")
        _curve(ax, mean["n_own"], mean, style)
        if "chance" in mean:
            ax.plot(mean["n_own"], 100 * mean["chance"], color="black", ls=":", label="chance")
        ax.set(title=TITLES[metric], xticks=sorted(part["n_own"].unique()), ylim=(0, 102))
        ax.set(xlabel="photos of the animal in the database")
        ax.label_outer(remove_inner_ticks=True)
    look.legend(fig, axes, n_columns=3)
    return look.done(fig)


@themed
def growth(table: pd.DataFrame, *, on: SubFigure | None = None) -> Figure | SubFigure:
    """Top-1 on a new species against the share of its individuals that were trained on.

    `table`: way (joint, finetuned, scratch, …; heldout is a level line), share (0..1), n_photos
    for training, top1 with top1_low and top1_high; where known chance_top1.
    """
    fig, (ax,) = look.canvas(on, (8.5, 5.4), 1)
    table = table.rename(columns={"top1": "mean", "top1_low": "low", "top1_high": "high"})
    grown = table[table["way"] != "heldout"].sort_values("share")
    styles = look.styles(look.in_order(grown["way"]))
    for shift, (way, style) in zip(look.dodge(len(styles), 1.6), styles.items(), strict=True):
        part = grown[grown["way"] == way]
        _curve(ax, 100 * part["share"] + shift, part, style, bars=True)
    for row in table[table["way"] == "heldout"].head(1).itertuples():
        colour, _, label = MODEL_STYLE["heldout"]
        ax.axhspan(100 * row.low, 100 * row.high, color=colour, alpha=0.18, linewidth=0)
        ax.axhline(100 * row.mean, color=colour, linewidth=2, linestyle="-.", label=label)
    if "chance_top1" in table:
        ax.axhline(100 * table["chance_top1"].mean(), color="black", ls=":", label="chance")
    sizes = grown.groupby("share")["n_photos"].max()
    labels = [f"{100 * share:.0f} %\n{n:,.0f} photos" for share, n in sizes.items()]
    ax.set(title=_title("top1"), xlabel="individuals of the new species in training")
    ax.set(xticks=100 * sizes.index, xticklabels=labels, ylim=(0, 102))
    look.legend(fig, [ax], n_columns=2)
    return look.done(fig)


@themed
def poster(panels: Sequence[tuple[str, Callable[[SubFigure], object]]]) -> Figure:
    """One landscape page (A3) of up to four charts, 2 x 2, with letters.

    A panel is a title and a function that draws into a part of the page, for example
    `lambda part: growth(table, on=part)`. `PRINT | {"dpi": 150}` keeps the file small.
    """
    if not 1 <= len(panels) <= 4:
        raise ChartError(f"a poster has one to four panels, not {len(panels)}")
    fig = plt.figure(figsize=(16.5, 11.7), layout="constrained")
    parts = fig.subfigures(2, 2, wspace=0.03, hspace=0.04).flat
    for letter, part, (title, draw) in zip("ABCD", parts, panels, strict=False):
        part.suptitle(f"{letter}   {title}", x=0.01, ha="left", weight="bold")
        draw(part)
    return look.done(fig)


def _title(metric: str) -> str:
    return f"{TITLES.get(metric, metric)} (95 % intervals)"


def _curve(ax: Axes, x, part: pd.DataFrame, style: Style, *, bars: bool = False) -> None:
    """A line through the means in per cent, with a bar at each or a band for the interval."""
    mean, low, high = (100 * part[name] for name in ("mean", "low", "high"))
    if bars:
        ax.vlines(x, low, high, color=style.colour, linewidth=1.8)
    else:
        ax.fill_between(x, low, high, color=style.colour, alpha=0.22, linewidth=0)
    point = {"markersize": 8, "markeredgecolor": look.INK, "markeredgewidth": 0.7}
    ax.plot(x, mean, color=style.colour, marker=style.marker, lw=2.2, label=style.label, **point)
