"""Maps: exact where they claim it, in the right corner where only one corner counts."""

import hashlib
import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

mpl.use("Agg")
import matplotlib.pyplot as plt

from miewid_lib import explanations, maps, models, training

RNG = np.random.default_rng(0)
CROPS = RNG.integers(0, 255, (4, 48, 48, 3), dtype=np.uint8)


class Corner(nn.Module):
    """A backbone that sees the upper left quarter of a photo alone, in cells of 12 pixels."""

    def forward_features(self, x):
        """Give [B, 3, 4, 4]; all cells but four are zero."""
        cells = nn.functional.avg_pool2d(x, 12).abs()
        seen = torch.zeros(4, 4)
        seen[:2, :2] = 1
        return cells * seen


def network(backbone="tf_efficientnet_lite0", **arguments):
    torch.manual_seed(0)
    net = models.EmbeddingNet(backbone, **arguments)
    for name in ("running_mean", "weight", "bias"):
        getattr(net.bn, name).data.normal_()
    return net.eval()


def cornered():
    net = network()
    net.backbone, net.bn, net.embedding_size = Corner(), nn.BatchNorm1d(3), 3
    return net.eval()


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


SWIN = {"img_size": 48, "patch_size": 4, "window_size": 6, "embed_dim": 24}
SWIN |= {"depths": (1, 1, 1), "num_heads": (1, 2, 4)}
NETS = [("tf_efficientnet_lite0", {}), ("swinv2_tiny_window8_256", SWIN)]


@pytest.mark.parametrize(("backbone", "arguments"), NETS)
def test_parts_add_up_to_the_cosine(backbone, arguments):
    net = network(backbone, **arguments)
    net.pooling.p.data.fill_(2.3)
    vectors, shares = training.embed(net, CROPS), explanations.pooling_shares(net, CROPS)
    assert shares.shape[:2] == vectors.shape and np.allclose(shares.sum((2, 3)), 1, atol=1e-5)
    for i, j in ((0, 1), (2, 3), (1, 1)):
        parts = explanations.parts(shares[i], vectors[i], vectors[j])
        assert parts.ndim == 2 and parts.size > 1
        assert abs(parts.sum() - cosine(vectors[i], vectors[j])) < 1e-5


def test_shares_are_cell_times_gradient_over_pooled_value():
    net = network()
    net.backbone = Corner()
    photos = net.normalise(torch.from_numpy(CROPS[:1]).permute(0, 3, 1, 2).float() / 255)
    cells = net.backbone.forward_features(photos).double()
    shares, p, step = explanations.pooling_shares(net, CROPS[:1])[0], 3.0, 1e-6
    for channel, y, x in ((0, 0, 0), (1, 1, 0), (2, 1, 1)):
        values = cells[0, channel].clamp(min=1e-6)
        ends = []
        for sign in (-1, 1):
            moved = values.clone()
            moved[y, x] += sign * step
            ends.append(moved.pow(p).mean().pow(1 / p))
        slope = (ends[1] - ends[0]) / (2 * step)
        expected = values[y, x] * slope / values.pow(p).mean().pow(1 / p)
        assert abs(shares[channel, y, x] - float(expected)) < 1e-4


def test_a_network_that_sees_one_corner_has_its_maps_there():
    net = cornered()
    vectors, shares = training.embed(net, CROPS), explanations.pooling_shares(net, CROPS)
    parts = explanations.parts(shares[0], vectors[0], vectors[1])
    assert np.allclose(parts.sum(), parts[:2, :2].sum(), atol=1e-5) and abs(parts.sum()) > 0.1
    heat = explanations.falls(net, CROPS[0], vectors[0], window_px=12, step_px=12)
    corner = np.zeros((48, 48))
    corner[:24, :24] = 1
    assert heat.shape == (48, 48) and np.abs(heat[24:]).max() < 1e-6 > np.abs(heat[:, 24:]).max()
    assert heat[:24, :24].max() > 1e-4
    assert explanations.share_on(heat, corner) > 0.999


def test_fall_of_one_window_is_the_difference_of_two_cosines():
    net = cornered()
    vectors = training.embed(net, CROPS)
    heat = explanations.falls(net, CROPS[0], vectors[1], window_px=12, step_px=12)
    painted = CROPS[0].copy()
    painted[12:24, :12] = CROPS[0].mean((0, 1)).round()
    now = training.embed(net, painted[None])[0]
    expected = cosine(vectors[0], vectors[1]) - cosine(now, vectors[1])
    assert np.allclose(heat[12:24, :12], expected, atol=1e-6)


def test_a_constant_photo_has_an_empty_map():
    net, photo = network(), np.full((48, 48, 3), 90, np.uint8)
    heat = explanations.falls(net, photo, RNG.normal(size=1280), window_px=16, step_px=8)
    assert np.abs(heat).max() < 1e-5


@pytest.mark.parametrize(("window_px", "step_px"), [(12, 12), (12, 6), (8, 3), (48, 48)])
def test_windows_cover_every_pixel(window_px, step_px):
    count = np.zeros((48, 48))
    for window, painted in explanations.covered(CROPS[0], window_px=window_px, step_px=step_px):
        count[window] += 1
        outside = np.ones((48, 48), bool)
        outside[window] = False
        assert (painted[outside] == CROPS[0][outside]).all()
        assert len(np.unique(painted[window].reshape(-1, 3), axis=0)) == 1
    assert count.min() >= 1
    if window_px % step_px == 0:
        assert count.max() == count.min() == (window_px // step_px) ** 2


def test_background_has_no_pixel_of_the_animal():
    crop, cover = np.full((30, 30, 3), 40, np.uint8), np.zeros((30, 30), np.float32)
    crop[10:20, 8:22], cover[10:20, 8:22] = 250, 1
    assert (explanations.background(crop, cover) == 40).all()
    whole = explanations.background(crop, np.ones_like(cover))
    assert (whole == crop.mean((0, 1)).round()).all()


def test_animal_stays_where_it_is_before_another_background():
    cover = np.zeros((48, 48), np.float32)
    cover[10:30, 10:30] = 1
    cover[30] = 0.5
    mixed = explanations.on_background(CROPS[0], cover, CROPS[1])
    assert (mixed[cover == 1] == CROPS[0][cover == 1]).all()
    assert (mixed[cover == 0] == CROPS[1][cover == 0]).all()
    half = (CROPS[0][30].astype(float) + CROPS[1][30]) / 2
    assert np.abs(mixed[30] - half).max() <= 0.5


def herd():
    table = pd.DataFrame({"species": ["zebra"] * 6 + ["koi"] * 2})
    table["identity"] = [*"aabbcc", "k", "k"]
    table["viewpoint"] = ["left", "right"] * 3 + [None, None]
    table["encounter"] = ["1", "2", "3", "4", "5", "5", "6", "7"]
    return table


def test_lenders_are_others_of_the_same_side_where_there_are_some():
    table = herd()
    for seed in range(5):
        chosen = explanations.lenders(table, seed=seed)
        lent = table.iloc[chosen].reset_index(drop=True)
        assert (lent["species"] == table["species"]).all() and (chosen != table.index).all()
        zebras = table["species"] == "zebra"
        assert (lent["viewpoint"] == table["viewpoint"])[zebras].all()
        assert (lent["identity"] != table["identity"])[zebras].all()
    assert (explanations.lenders(table, seed=1) == explanations.lenders(table, seed=1)).all()


def test_answers_of_unchanged_queries_are_those_of_one_vs_rest():
    from miewid_lib import retrieval

    table, vectors = herd(), RNG.normal(size=(8, 5)).astype(np.float32)
    own = explanations.answers(vectors, vectors, table)
    who = {"groups": table["species"], "exclude": table["encounter"]}
    known = retrieval.one_vs_rest(vectors, table["identity"], **who)
    columns = ["query", "identity", "group", "n_candidates", "n_mates", "first_rank", "top1"]
    pd.testing.assert_frame_equal(own[columns], known[columns], check_dtype=False)
    near = retrieval.neighbours(vectors, k=1, **who)[0].ravel()
    assert own["nearest"].tolist() == near.tolist()


def test_share_on_an_empty_map_is_nan():
    assert np.isnan(explanations.share_on(np.full((2, 2), -1.0), np.ones((2, 2))))


def test_figure_is_closed_framed_and_the_same_bytes_twice():
    pair = {"query": CROPS[0], "match": CROPS[1], "caption": "80 %", "hit": True}
    pair |= {"query_map": RNG.random((48, 48)), "match_map": -np.ones((48, 48))}
    rows = {"zebra": [pair, pair | {"hit": False}], "koi": [pair | {"hit": False}]}
    digests = set()
    for _ in range(2):
        figure, buffer = maps.pairs(rows), io.BytesIO()
        figure.savefig(buffer)
        digests.add(hashlib.md5(buffer.getvalue()).hexdigest())
    assert len(digests) == 1 and plt.get_fignums() == []
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts.count("right") == 1 and texts.count("wrong") == 2
    assert {"zebra", "koi"} <= set(texts)
