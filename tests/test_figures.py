"""Pictures: the right colours in the right places, the same bytes each time."""

import hashlib
import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")
import matplotlib.pyplot as plt

from miewid_lib import figures

RNG = np.random.default_rng(0)
PHOTOS = [RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8) for _ in range(8)]


def annotations():
    n = 24
    table = pd.DataFrame({"species": ["zebra"] * 20 + ["koi"] * 4})
    table["individual"] = [f"animal {i % 5}" for i in range(n)]
    table["encounter"] = [f"e{i % 5}{i % 2}" for i in range(n)]
    table["label"] = [list(figures.PART_COLOURS)[i % 4] for i in range(n)]
    return table.assign(x=2.0, y=3.0, w=10.0, h=8.0)


def strips():
    return [{"label": "zebra", "query": PHOTOS[0], "neighbours": PHOTOS[1:4], "hits": [1, 0, 0]}]


def lines():
    return pd.DataFrame({"epoch": [0, 1, 0, 1], "loss": [3.0, 1, 2, 1], "run": list("aabb")})


MAKERS = {
    "photo_grid": lambda: figures.photo_grid({"long name of a row": PHOTOS[:5], "b": PHOTOS[5:]}),
    "boxes": lambda: figures.boxes(PHOTOS[0], annotations().head(1)),
    "counts": lambda: figures.counts(annotations()),
    "split_diagram": lambda: figures.split_diagram(annotations()),
    "curves": lambda: figures.curves(lines(), x="epoch", y={"loss": "loss"}, hue="run"),
    "retrieval_strips": lambda: figures.retrieval_strips(strips()),
    "embedding_map": lambda: figures.embedding_map(RNG.random((6, 2)), list("aabbcc")),
}


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, bbox_inches="tight")
    return buffer.getvalue()


@pytest.mark.parametrize("name", MAKERS)
def test_a_figure_is_closed_and_the_same_bytes_twice(name):
    first = MAKERS[name]()
    assert plt.get_fignums() == []  # else a page would show it twice
    if name != "embedding_map":  # its points are drawn anew
        assert hashlib.md5(png(first)).digest() == hashlib.md5(png(MAKERS[name]())).digest()


def test_hits_are_green_misses_red_and_the_query_blue():
    axes = figures.retrieval_strips(strips()).axes
    edges = [mpl.colors.to_hex(ax.spines["left"].get_edgecolor()) for ax in axes]
    assert edges == [figures.QUERY, figures.RIGHT, figures.WRONG, figures.WRONG]


def test_photos_stand_where_their_labels_say():
    figure = MAKERS["photo_grid"]()
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert all(np.array_equal(a, b) for a, b in zip(shown, PHOTOS, strict=True))
