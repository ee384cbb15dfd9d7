"""Brushes for the habitats: noise, colours, strokes of grass, leaves and stones, light under water.

A canvas is [3, height, width], a layer [4, height, width], float32, 0 to 1; size = (height, width).
"""

import numpy as np
from PIL import Image, ImageDraw

from miewid_lib.drawing.animals import rgb


def clouds(rng, size, cell_px, *, flat=1.0, octaves=3):
    """Return smooth noise [height, width], deviation about 1; cells `flat` times as wide."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        high = max(2, round(size[0] * flat**0.5 / cell_px * 2**octave))
        wide = max(2, round(size[1] / flat**0.5 / cell_px * 2**octave))
        cells = Image.fromarray(rng.standard_normal((high, wide), np.float32))
        total += np.asarray(cells.resize(size[::-1], Image.Resampling.BICUBIC)) * 0.6**octave
    return total


def lay(canvas, layer):
    """Return canvas [3, h, w] under layer [4, h, w], whose colours are already times its cover."""
    return canvas * (1 - layer[3]) + layer[:3]


def pick(rng, codes):
    """Return one of the colours in a text like "8fb4d8 a8c4dc", slightly off; float32 [3, 1, 1]."""
    codes = codes.split()
    tint = 1 + rng.normal(0, 0.05, (3, 1, 1)) + rng.normal(0, 0.05)
    return np.clip(rgb(codes[rng.integers(len(codes))]) * tint, 0, 1).astype(np.float32)


def picks(rng, count, codes):
    """Return `count` colours, float32 [count, 3]."""
    return np.stack([pick(rng, codes).ravel() for _ in range(count)])


def strokes(rng, shapes, colours, size):
    """Return a layer [4, height, width] of filled shapes [n, k, 2], drawn at twice the size."""
    # CMYK only means four plain channels here: the mean of colour times cover needs no conversion.
    layer = Image.new("CMYK", (2 * size[1], 2 * size[0]))
    draw = ImageDraw.Draw(layer)
    which = rng.integers(len(colours), size=len(shapes))
    fills = colours[which] * rng.uniform(0.8, 1.2, (len(shapes), 1)) * 255
    fills = np.clip(fills, 0, 255).astype(int).tolist()
    points = (2 * shapes).reshape(-1, 2 * shapes.shape[1]).tolist()
    for corners, fill in zip(points, fills, strict=True):
        draw.polygon(corners, fill=(*fill, 255))
    return np.asarray(layer.reduce(2)).transpose(2, 0, 1).astype(np.float32, order="C") / 255


def blades(rng, count, rows, length, size, *, lean=0.35):
    """Return shapes [count, 3, 2] of grass rooted between two rows, the nearer the longer."""
    x, y = rng.uniform(0, size[1], count), np.sort(rng.uniform(*rows, count))
    tall = length * rng.uniform(0.5, 1.2, count) * (0.3 + 0.8 * y / size[0])
    wide, tip = 0.35 + 0.035 * tall, x + tall * rng.normal(0, lean, count)
    return np.stack([np.stack([x - wide, y], -1), np.stack([tip, y - tall], -1),
                     np.stack([x + wide, y], -1)], 1)  # fmt: skip


def ovals(centres, radii, turns=0.0, point=0.0):
    """Return ellipses [n, 12, 2] of centres, radii [n, 2], turned; `point` sharpens the ends."""
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    x = radii[:, :1] * np.cos(angle)
    y = radii[:, 1:] * np.sin(angle) * (1 - point * np.cos(angle) ** 2)
    cos, sin = np.cos(turns).reshape(-1, 1), np.sin(turns).reshape(-1, 1)
    return centres[:, None] + np.stack([x * cos - y * sin, x * sin + y * cos], -1)


def leaves(rng, count, length, size):
    """Return pointed leaves [count, 12, 2] all over the canvas."""
    long = length * rng.uniform(0.6, 1.3, (count, 1))
    centres = rng.uniform((0, 0), size[::-1], (count, 2))
    return ovals(centres, long * (1, 0.42), rng.uniform(0, 6.28, count), 0.45)


def net(rng, size, cell_px):
    """Return the bright net that waves throw on what lies below, [height, width], 0 to 1."""
    ridges = [np.clip(1 - np.abs(clouds(rng, size, cell_px, octaves=2)), 0, 1) for _ in range(2)]
    return np.clip(ridges[0] ** 6 + ridges[1] ** 6 + 2 * (ridges[0] * ridges[1]) ** 4, 0, 2) * 0.5
