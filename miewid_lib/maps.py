"""Pairs of photos with the parts that match: maps over crops, as a matplotlib Figure."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from miewid_lib.figures import QUERY, RIGHT, WRONG

HEAT, LINE = "YlOrBr", "#3b0f02"  # one hue that darkens: the same order in grey
HALF = 0.5  # a line surrounds what is above half of the map's maximum


def pairs(rows: dict[str, list[dict]], *, size_in: float = 1.1) -> Figure:
    """One labelled row of pairs: query, its map, the map of its match, and the match.

    A pair holds query and match (uint8 [S, S, 3]), query_map and match_map ([S, S], only the
    positive part is drawn), hit (the same animal?) and caption (text below the maps). The query
    has a blue frame, the match a green one where it is right, a red one with a cross where not.
    """
    n = max(map(len, rows.values()))
    size = (size_in * (4.3 * n + 1.6), (size_in + 0.24) * len(rows) + 0.3)
    fig = plt.figure(figsize=size)
    widths = [1, 1, 1, 1, 0.22] * n
    grid = fig.add_gridspec(len(rows), len(widths), width_ratios=widths, wspace=0.07, hspace=0.24)
    for y, (label, found) in enumerate(rows.items()):
        for x, pair in enumerate(found):
            axes = [fig.add_subplot(grid[y, 5 * x + k]) for k in range(4)]
            _pair(axes, pair)
            if y == 0:
                for ax, title in zip(axes, ("query", "its map", "map", "its match"), strict=True):
                    ax.set_title(title, fontsize=9, loc="center", pad=4)
            if x == 0:
                where = {"ha": "right", "va": "center", "fontsize": 10}
                axes[0].text(-0.14, 0.5, label, transform=axes[0].transAxes, **where)
    fig.subplots_adjust(left=1.55 * size_in / size[0], right=1, bottom=0.24 / size[1], top=0.96)
    plt.close(fig)  # a page shows the returned figure once, not twice
    return fig


def _pair(axes, pair: dict) -> None:
    colour = RIGHT if pair["hit"] else WRONG
    _photo(axes[0], pair["query"], QUERY)
    heat(axes[1], pair["query"], pair["query_map"])
    heat(axes[2], pair["match"], pair["match_map"])
    _photo(axes[3], pair["match"], colour)
    mark = {"ha": "center", "va": "top", "fontsize": 9, "transform": axes[3].transAxes}
    axes[3].text(0.5, -0.06, "right" if pair["hit"] else "wrong", color=colour, **mark)
    axes[1].text(1.03, -0.06, pair["caption"], **mark | {"transform": axes[1].transAxes})


def heat(ax, photo: np.ndarray, values: np.ndarray) -> None:
    """Draw the positive part of a map [h, w] over a pale grey photo, cells as cells."""
    grey = photo.mean(-1) / 255
    extent = (0, photo.shape[1], photo.shape[0], 0)
    ax.imshow(0.45 + 0.55 * grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    strength = np.clip(values, 0, None) / max(float(values.max()), 1e-12)
    colours = plt.get_cmap(HEAT)(0.35 + 0.6 * strength)
    colours[..., 3] = 0.85 * strength
    ax.imshow(colours, extent=extent, interpolation="nearest")
    if values.shape == photo.shape[:2] and np.ptp(strength):
        style = {"levels": [HALF], "colors": LINE, "linewidths": 1.1}
        ax.contour(
            np.arange(photo.shape[1]) + 0.5, np.arange(photo.shape[0]) + 0.5, strength, **style
        )
    ax.axis("off")


def _photo(ax, photo: np.ndarray, colour: str) -> None:
    ax.imshow(photo)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=3.5)
