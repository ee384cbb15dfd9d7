"""The visual language of the charts: a style for each model, the theme, page and legend.

The models of a chart differ in marker, in colour and in the grey that a printer makes of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure


class Style(NamedTuple):
    """How a model is drawn, and its name for readers."""

    colour: str
    marker: str
    label: str


MODEL_STYLE = {
    "imagenet": Style("#949ba3", "v", "ImageNet features"),
    "single": Style("#f2b134", "s", "one model a species"),
    "single_matched": Style("#98381a", "D", "one a species, more steps"),
    "multispecies": Style("#0b3c5d", "o", "one joint model"),
    "heldout": Style("#268f7d", "^", "joint model that never saw the species"),
    "efficientnetv2": Style("#5b2a86", "o", "EfficientNetV2"),
    "swinv2": Style("#d98cb3", "s", "Swin-V2"),
    "finetuned": Style("#962f33", "D", "fine-tuned without the old data"),
}
MODEL_STYLE |= {"scratch": MODEL_STYLE["single"], "joint": MODEL_STYLE["multispecies"]}

INK, RULE, STRIPE = "#2b2f36", "#b9c0c8", "#f3f5f7"
MEAN, PAPER = "#3f6f9f", "#b3124f"
PRINT = {"dpi": 300, "metadata": {"Software": None}, "pil_kwargs": {"optimize": True}}
THEME = {
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.edgecolor": RULE,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dfe3e8",
    "legend.frameon": False,
    "legend.fontsize": 11,
    "figure.dpi": 90,
    "figure.titlesize": 16,
}
themed = plt.style.context(["default", THEME])  # whatever theme a page has set


def grey(colour: str) -> float:
    """The grey that a printer makes of a colour, 0 (black) to 1 (white); ITU-R BT.601."""
    return float(np.dot((0.299, 0.587, 0.114), to_rgb(colour)))


def styles(models: Sequence[str]) -> dict[str, Style]:
    """Style of each model; one that MODEL_STYLE lacks gets the grey least like all others."""
    found = {name: MODEL_STYLE[name] for name in models if name in MODEL_STYLE}
    strangers = [name for name in dict.fromkeys(models) if name not in found]
    for i, name in enumerate(strangers):
        used = np.array([grey(style.colour) for style in found.values()] or [1.0])
        free = max(np.linspace(0.1, 0.7, 13), key=lambda level: np.abs(used - level).min())
        found[name] = Style(f"{free:.2f}", "PX*Hd<"[i % 6], name)
    return {name: found[name] for name in models}


def in_order(models: Sequence[str]) -> list[str]:
    """Each model once, in the order of MODEL_STYLE; strangers follow as they come."""
    return sorted(dict.fromkeys(models), key=[*MODEL_STYLE, *models].index)


def canvas(on: SubFigure | None, size_in: tuple[float, float], n_panels: int, **grid) -> tuple:
    """A figure (or the part of a poster that is given) and its panels, side by side."""
    fig = plt.figure(figsize=size_in, layout="constrained") if on is None else on
    return fig, fig.subplots(1, n_panels, squeeze=False, **grid)[0]


def legend(fig: Figure | SubFigure, axes: Sequence[Axes], *, n_columns: int) -> None:
    """One legend below the panels, each label once; the layout reserves its place."""
    entries = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    options = {"loc": "outside lower center", "ncols": n_columns, "handlelength": 2.4}
    fig.legend(entries.values(), entries.keys(), **options)


def done(fig: Figure | SubFigure) -> Figure | SubFigure:
    """The figure, laid out once and closed, so that a page shows it once."""
    if isinstance(fig, Figure):
        fig.draw_without_rendering()
        fig.set_layout_engine("none")  # a second layout could move things by a hair
        plt.close(fig)
    return fig


def dodge(n: int, step: float) -> np.ndarray:
    """Offsets of n marks that stand side by side, around zero."""
    return step * (np.arange(n) - (n - 1) / 2)


def signed(points: float) -> str:
    """A difference in points with its sign, as an axis writes it."""
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")
