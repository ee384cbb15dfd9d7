"""The pictures of the pages, from arrays and tables to a matplotlib Figure; results: `charts`."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

RIGHT, WRONG, QUERY = "#2a9d5c", "#a3213a", "#2b4c7e"
PART_COLOURS = {"train": "#1f6f8b", "test seen": "#e9a03b", "test unseen": "#7b1e3b"}
PART_COLOURS |= {"unused": "#d5dae0"}

sns.set_theme(
    style="whitegrid",
    palette="colorblind",
    rc={"axes.titlelocation": "left", "axes.edgecolor": "#b8c0ca"},
)
plt.rcParams |= {"figure.dpi": 90, "savefig.dpi": 160, "grid.color": "#e6e9ee"}


def photo_grid(rows: dict[str, list[np.ndarray]], *, size_in: float = 1.05) -> Figure:
    """One labelled row of photos (HxWx3 uint8) for each key; rows may differ in length."""
    n = max(map(len, rows.values()))
    height_in = size_in * len(rows)
    fig, axes = plt.subplots(len(rows), n, figsize=(size_in * n + 1.3, height_in), squeeze=False)
    for line, (label, photos) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.axis("off")
        for ax, photo in zip(line, photos, strict=False):
            ax.imshow(photo)
        line[0].text(-0.08, 0.5, label, transform=line[0].transAxes, ha="right", va="center")
    left = 1.3 / (size_in * n + 1.3)
    fig.subplots_adjust(wspace=0.04, hspace=0.04, left=left, right=1, bottom=0, top=1)
    return _done(fig)


def boxes(photo: np.ndarray, table: pd.DataFrame) -> Figure:
    """One photo with the box of each of its annotations and the name of the animal in it."""
    fig, ax = plt.subplots(figsize=(5, 5 * photo.shape[0] / photo.shape[1]))
    ax.imshow(photo)
    ax.axis("off")
    for row in table.itertuples():
        box = (row.x, row.y), row.w, row.h
        ax.add_patch(Rectangle(*box, fill=False, edgecolor="white", linewidth=4))
        ax.add_patch(Rectangle(*box, fill=False, edgecolor=QUERY, linewidth=2))
        style = {"facecolor": QUERY, "edgecolor": "none", "pad": 2}
        ax.text(row.x, row.y, row.individual, color="white", fontsize=8, va="bottom", bbox=style)
    return _done(fig)


def counts(table: pd.DataFrame) -> Figure:
    """Annotations a species, and how many photos each individual has (both heavy-tailed)."""
    order = table["species"].value_counts().index
    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 0.32 * len(order) + 1.2), sharey=True)
    sns.countplot(table, y="species", order=order, color=PART_COLOURS["train"], ax=left)
    left.bar_label(left.containers[0], padding=3, fontsize=9)
    left.set(title="Annotations", xlabel="", ylabel="")
    each = table.groupby(["species", "individual"]).size().rename("photos").reset_index()
    sns.boxplot(each, y="species", x="photos", order=order, color="#cfe3ea", fliersize=2, ax=right)
    right.set(title="Photos of each individual", xlabel="", ylabel="")
    fig.tight_layout()
    return _done(fig)


def split_diagram(table: pd.DataFrame, *, n_individuals: int = 14) -> Figure:
    """One line an individual, one square a photo, coloured by part; encounters stand apart."""
    fig, ax = plt.subplots(figsize=(9, 0.3 * n_individuals + 0.8))
    names = table["individual"].value_counts().index
    names = names[:: max(1, len(names) // n_individuals)][:n_individuals]
    for y, name in enumerate(names):
        x = 0.0
        for _, photos in table[table["individual"] == name].groupby("encounter"):
            for label in photos["label"]:
                ax.add_patch(Rectangle((x, y - 0.4), 0.8, 0.8, color=PART_COLOURS[label]))
                x += 0.9
            x += 0.6  # a gap between encounters
    handles = [Rectangle((0, 0), 1, 1, color=c, label=k) for k, c in PART_COLOURS.items()]
    ax.legend(handles=handles, loc="lower right", frameon=True)
    ax.set(yticks=range(len(names)), yticklabels=names, xticks=[])
    ax.set(title="Photos of some individuals, grouped by encounter")
    ax.grid(False)
    ax.autoscale()
    ax.invert_yaxis()
    return _done(fig)


def curves(table: pd.DataFrame, *, x: str, y: dict[str, str], hue: str | None = None) -> Figure:
    """Lines of several columns side by side; `y` maps a column to its title, `hue` colours."""
    fig, axes = plt.subplots(1, len(y), figsize=(4.4 * len(y), 3.2), squeeze=False)
    for i, (ax, (column, title)) in enumerate(zip(axes[0], y.items(), strict=True)):
        last = hue is not None and i == len(y) - 1
        sns.lineplot(table, x=x, y=column, hue=hue, ax=ax, legend=last, errorbar=None)
        ax.set(title=title, ylabel="")
    if hue is not None:
        sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1), title=hue, frameon=False)
    fig.tight_layout()
    return _done(fig)


def retrieval_strips(strips: list[dict]) -> Figure:
    """Queries (blue frame) and their neighbours: green the same animal, red and broken another.

    A strip holds label (text), query (photo), neighbours (photos) and hits (bools).
    """
    n = 1 + max(len(strip["neighbours"]) for strip in strips)
    size = (1.2 * n + 1.2, 1.25 * len(strips))
    fig, axes = plt.subplots(len(strips), n, figsize=size, squeeze=False)
    for line, strip in zip(axes, strips, strict=True):
        colours = [QUERY, *(RIGHT if hit else WRONG for hit in strip["hits"])]
        photos = [strip["query"], *strip["neighbours"]]
        for ax in line:
            ax.axis("off")
        for ax, photo, colour in zip(line, photos, colours, strict=False):
            ax.imshow(photo)
            _frame(ax, colour, broken=colour == WRONG)
        where = {"ha": "right", "va": "center", "fontsize": 9}
        line[0].text(-0.12, 0.5, strip["label"], transform=line[0].transAxes, **where)
    edges = {"left": 1 / (n + 1), "right": 0.99, "bottom": 0.01, "top": 0.99}
    fig.subplots_adjust(wspace=0.08, hspace=0.08, **edges)
    return _done(fig)


def embedding_map(points: np.ndarray, labels: list[str], *, title: str = "") -> Figure:
    """Points [N, 2], one a photo; each label has a colour and a marker."""
    fig, ax = plt.subplots(figsize=(7.6, 5))
    palette = "colorblind" if len(set(labels)) <= 10 else "tab20"
    style = {"s": 22, "linewidth": 0, "alpha": 0.85, "palette": palette, "style": labels}
    sns.scatterplot(x=points[:, 0], y=points[:, 1], hue=labels, ax=ax, **style)
    sns.move_legend(ax, "upper left", bbox_to_anchor=(1, 1), title="", frameon=False)
    ax.set(title=title, xticks=[], yticks=[])
    return _done(fig)


def _frame(ax, colour: str, *, broken: bool = False) -> None:
    ax.axis("on")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=4)
        if broken:
            spine.set(linestyle=(0, (2, 1)), capstyle="butt")


def _done(fig: Figure) -> Figure:
    plt.close(fig)  # a page shows the returned figure once, not twice
    return fig
