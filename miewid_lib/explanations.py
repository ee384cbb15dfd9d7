"""Which parts of two photos match: maps of a cosine, and crops with another background."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from miewid_lib import retrieval
from miewid_lib.similarity import unit

MARGIN_PX = 2  # around an animal; its edge is blurred into the pixels beside it


def pooling_shares(net, crops: np.ndarray) -> np.ndarray:
    """Return what share of each channel GeM takes from each cell: [N, C, h, w], sums 1.

    net: an `EmbeddingNet` in eval mode; crops: uint8 [N, S, S, 3], few enough for one batch.
    A cell's share is x^p / sum of x^p, which is x / y times the derivative of the pooled value y
    by x: y is homogeneous, so by Euler's theorem these parts add up to it.
    """
    import torch

    with torch.inference_mode():
        photos = torch.from_numpy(crops).permute(0, 3, 1, 2).to(net.mean.device).float() / 255
        x = net.backbone.forward_features(net.normalise(photos))
        x = x.permute(0, 3, 1, 2) if net.channels_last_map else x  # [N, C, h, w]
        powers = x.float().clamp(min=net.pooling.eps).pow(net.pooling.p)
        return (powers / powers.sum((2, 3), keepdim=True)).cpu().numpy()


def parts(shares: np.ndarray, vector: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Split the cosine of two embeddings over the cells of the first photo: [h, w], sums to it.

    shares [C, h, w] of `pooling_shares`, vector [C] of the same photo, other [C]. A channel's
    product goes to the cells that filled it (after Stylianou et al. 2019, for GeM and BatchNorm).

    >>> parts(np.array([[[1.0, 0.0]], [[0.5, 0.5]]]), np.array([3.0, 4.0]), np.array([3.0, 4.0]))
    array([[0.68, 0.32]])
    """
    products = vector * other / (np.linalg.norm(vector) * np.linalg.norm(other))  # [C]
    return np.tensordot(products, shares, axes=1)


def covered(crop: np.ndarray, *, window_px: int, step_px: int) -> Iterator[tuple]:
    """Yield (slices, crop with that window painted over) for windows over all of the crop.

    crop: uint8 [S, S, 3]; the paint is its mean colour. Windows at the edge reach over it, so that
    each pixel lies in as many.
    """
    colour = crop.mean((0, 1)).round()
    starts = range(step_px - window_px, len(crop), step_px)
    for y, x in product(starts, starts):
        window = np.s_[max(0, y) : y + window_px, max(0, x) : x + window_px]
        painted = crop.copy()
        painted[window] = colour
        yield window, painted


def falls(net, crop: np.ndarray, other: np.ndarray, *, window_px: int, step_px: int) -> np.ndarray:
    """Return by how much the cosine falls when a pixel is covered: [S, S], mean over its windows.

    net: any network that `training.embed` takes; crop: uint8 [S, S, 3]; other: the embedding [D]
    of the other photo. Negative where covering helps. (Zeiler and Fergus 2014, section 4.2.)
    """
    from miewid_lib import training

    windows, painted = zip(*covered(crop, window_px=window_px, step_px=step_px), strict=True)
    vectors = training.embed(net, np.stack([crop, *painted]))
    cosines = vectors @ other / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(other))
    total, count = np.zeros((2, *crop.shape[:2]))
    for window, cosine in zip(windows, cosines[1:], strict=True):
        total[window] += cosines[0] - cosine
        count[window] += 1
    return total / count


def share_on(heat: np.ndarray, cover: np.ndarray) -> float:
    """Return the share of a map's positive part that lies on the animal, both [S, S]; NaN without.

    >>> share_on(np.array([[3.0, 1.0, -5.0]]), np.array([[1.0, 0.0, 0.0]]))
    0.75
    """
    positive = np.clip(heat, 0, None)
    return float((positive * cover).sum() / positive.sum()) if positive.any() else float("nan")


def background(crop: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Return the crop without its animal: each of its pixels takes the nearest one beside it.

    crop: uint8 [S, S, 3]; cover: [S, S], 0 to 1. A crop that is all animal becomes its mean colour.
    """
    from scipy.ndimage import distance_transform_edt, grey_dilation

    hole = grey_dilation(cover, 2 * MARGIN_PX + 1) > 0.05
    if hole.all():
        return np.broadcast_to(crop.mean((0, 1)).round(), crop.shape).astype(np.uint8)
    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    return crop[tuple(nearest)]


def on_background(crop: np.ndarray, cover: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """Return the animal of a crop (uint8 [S, S, 3], cover [S, S]) before another background."""
    alpha = cover[..., None]
    return (crop * alpha + behind * (1 - alpha) + 0.5).astype(np.uint8)


def lenders(table: pd.DataFrame, *, seed: int) -> np.ndarray:
    """Return for each row of `table` the row that lends its background: [N], by lot.

    Same species and viewpoint, other identity; where there is none, any other row of the species.
    """
    rng, chosen = np.random.default_rng(seed), np.empty(len(table), int)
    facts = table[["identity", "viewpoint"]].fillna("").to_numpy()
    for rows in table.groupby("species", sort=True).indices.values():
        for i in rows:
            fits = rows[(facts[rows, 0] != facts[i, 0]) & (facts[rows, 1] == facts[i, 1])]
            chosen[i] = rng.choice(fits if len(fits) else rows[rows != i])
    return chosen


def answers(queries: np.ndarray, vectors: np.ndarray, table: pd.DataFrame) -> pd.DataFrame:
    """Ask as in chapter 4, with changed queries [N, D] and the photos' own vectors [N, D] as base.

    table: rows of a split table; own encounter left out. The columns of `retrieval.one_vs_rest`,
    in the order of `table`, with species and `nearest`, the row most like the query (or -1).
    """
    tables = []
    for species, rows in table.groupby("species").indices.items():
        part = table.iloc[rows]
        encounters, identities = part["encounter"].to_numpy(), part["identity"]
        hidden = encounters[:, None] == encounters  # also the photo itself
        pair = queries[rows], vectors[rows]
        asked = retrieval.query_database(
            pair[0], identities, pair[1], identities, exclude_pairs=hidden
        )
        cosines = unit(pair[0], "queries") @ unit(pair[1], "vectors").T
        cosines[hidden] = -np.inf
        nearest = np.where(hidden.all(1), -1, rows[cosines.argmax(1)])
        facts = {"query": rows, "group": species, "species": species, "nearest": nearest}
        tables.append(asked.assign(**facts))
    return pd.concat(tables).sort_values("query", ignore_index=True)
