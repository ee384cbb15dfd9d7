"""Paints the habitats behind the classroom animals: one canvas and front layer an encounter.

A canvas is [3, height, width], a layer [4, height, width], float32, 0 to 1; size = (height, width).
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from miewid_lib.drawing.animals import mix
from miewid_lib.drawing.brushes import blades, clouds, lay, leaves, net, ovals, pick, picks, strokes

PALETTES = {
    "savanna": {
        "sky": "8fb4d8 a8c4dc 9cb8cc", "hills": "8a946a 9a8a6a 7a8a80", "trees": 2.5,
        "grass": "cdb070 c0a465 b4a862 d4bc80 a8a460", "leaves": "6a7a44 7a8450 5c6e40",
        "close": False,
    },
    "woodland": {
        "sky": "c8d4c0 d8ccb0", "hills": "8a8a5a 7a7a4c", "trees": 5, "close": True,
        "grass": "c0a468 a89a60 b4a470 98945c", "leaves": "94945c 808a54 a8a068 747c4c",
    },
    "forest": {
        "sky": "a8c098 b8c8a0", "hills": "56704a 486440", "trees": 6, "close": True,
        "grass": "7c8c50 8c9458 6c8448 949060", "leaves": "54744a 68865a 46663e 7a9460",
    },
}  # fmt: skip


def land(rng, size, palette):
    """Return canvas and front layer of open country or wood, from the side."""
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    horizon = size[0] * rng.uniform(0.3, 0.46)
    low, high = pick(rng, "f2e6d0 e4eaea f4dcc0"), pick(rng, palette["sky"])
    canvas = high + (low - high) * np.clip(rows / horizon, 0, 1)
    puffs = np.clip(clouds(rng, size, 40, flat=4), 0, 1.5) * 0.25
    canvas = mix(canvas, np.float32(1), puffs * np.clip(1 - rows / horizon, 0, 1))
    for i in range(3):
        crest = horizon - (11 - 5 * i) * (1 + 0.7 * clouds(rng, size, 60 - 15 * i)[:1])
        hill = low + (pick(rng, palette["hills"]) - low) * (0.45 + 0.25 * i)
        canvas = mix(canvas, hill, np.clip(rows - crest, 0, 1))
    near, far = pick(rng, palette["grass"]), pick(rng, palette["grass"])
    far = far + (low - far) * 0.25
    ground = far + (near - far) * np.clip((rows - horizon) / 90, 0, 1)
    ground = ground * (1 + 0.09 * clouds(rng, size, 45, flat=4, octaves=4))
    canvas = mix(canvas, ground, np.clip((rows - horizon) / 3, 0, 1))
    canvas = wood(rng, canvas, horizon, palette)
    greens = np.stack([c.ravel() for c in (near, far, near * 0.7, near * 1.2)])
    canvas = gaussian_filter(canvas, (0, 1, 1))
    canvas = lay(canvas, strokes(rng, blades(rng, 420, (horizon, size[0]), 15, size), greens, size))
    rooted = blades(rng, 110, (size[0] - 22, size[0] + 16), 27, size)
    return canvas, strokes(rng, rooted, greens, size)


def wood(rng, canvas, horizon, palette):
    """Return the canvas with trees: flat crowns on the horizon, or close trunks and foliage."""
    size = canvas.shape[1:]
    count = rng.poisson(palette["trees"])
    x = rng.uniform(0, size[1], (count, 1))
    foot, girth = horizon + rng.uniform(1, 14, (count, 1)), rng.uniform(1, 2, (count, 1))
    tall = rng.uniform(16, 34, (count, 1))
    if palette["close"]:
        girth, tall = girth * rng.uniform(1.5, 4.5, (count, 1)), tall + 150
    trunks = np.stack(
        [
            np.concatenate(p, -1)
            for p in (
                (x - girth, foot),
                (x - 0.7 * girth, foot - tall),
                (x + 0.7 * girth, foot - tall),
                (x + girth, foot),
            )
        ],
        1,
    )
    spread = (
        rng.normal(0, 1, (count, 9, 2)) * (7, 1.6) + np.concatenate([x, foot - tall], -1)[:, None]
    )
    crowns = spread.reshape(-1, 2), rng.uniform(3, 9, (9 * count, 1)) * (1.2, 0.5)
    if palette["close"]:
        n = 170
        crowns = (
            rng.uniform((0, -10), (size[1], horizon), (n, 2)),
            rng.uniform(4, 13, (n, 1)) * (1, 0.8),
        )
    foliage = strokes(rng, ovals(*crowns), picks(rng, 4, palette["leaves"]), size)
    foliage *= 0.75
    canvas = (
        gaussian_filter(lay(canvas, foliage), (0, 1.5, 1.5))
        if palette["close"]
        else lay(canvas, foliage)
    )
    return lay(canvas, strokes(rng, trunks, picks(rng, 3, "4a3a2a 5a4a38 3a3026"), size))


def pasture(rng, size):
    """Return canvas and front layer of a meadow from above."""
    canvas = pick(rng, "7c9a4c 8ca254 80985a 9c9a5c") * (1 + 0.09 * clouds(rng, size, 50))
    earth = np.clip(clouds(rng, size, 70) - 0.8, 0, 1) * 0.8
    canvas = mix(canvas, pick(rng, "94805a 867658") * (1 + 0.08 * clouds(rng, size, 8)), earth)
    greens = picks(rng, 4, "6c8c40 8aa652 a0ac64 5f8040")
    grass = blades(rng, 600, (0, size[0] + 8), 9, size, lean=0.9)
    canvas = lay(canvas, strokes(rng, grass, greens, size))
    flowers = ovals(rng.uniform((0, 0), size[::-1], (rng.poisson(14), 2)), np.full((1, 2), 1.1))
    canvas = lay(canvas, strokes(rng, flowers, picks(rng, 2, "f4f0dc f0d860"), size))
    shade = np.clip(clouds(rng, size, 60), 0, 1) * rng.uniform(0, 0.5)
    return canvas, np.concatenate([np.zeros((3, *size), np.float32), shade[None]])


def water(rng, size, deep, sand):
    """Return canvas and front layer of water from above; `sand` is how much its floor shows."""
    blue = pick(rng, deep)
    canvas = blue * (1 + 0.12 * clouds(rng, size, 110))
    ripples = 1 + 0.05 * clouds(rng, size, 14, flat=3)
    floor = pick(rng, "d8cfa4 cfd2b0 c8c49a") * ripples
    floor = floor + (blue - floor) * 0.35
    weeds = pick(rng, "4a6a48 5a7050") * (1 + 0.15 * clouds(rng, size, 9))
    floor = mix(floor, weeds, np.clip(clouds(rng, size, 60) - 0.7, 0, 1) * 0.8)
    canvas = mix(canvas, floor, np.clip(0.5 + 0.5 * clouds(rng, size, 90), 0, 1) * sand)
    glow = net(rng, size, 42) * rng.uniform(0.1, 0.3)
    veil = 0.1 + 0.9 * glow
    front = np.concatenate([np.clip(blue * 0.7 + 0.35, 0, 1) * veil, veil[None]])
    return canvas * (1 + 0.5 * glow), front


def litter(rng, size):
    """Return canvas and front layer of a forest floor from above."""
    canvas = np.zeros((3, *size), np.float32) + pick(rng, "4a3a28 3e3828")
    fallen = leaves(rng, 230, 17, size)
    colours = picks(rng, 7, "8f6a44 a8875c 77583c 857850 6c7850 b09468 94644a")
    shadow = strokes(rng, fallen + np.array([1.2, 1.6]), np.zeros((1, 3), np.float32) + 0.12, size)
    canvas = lay(canvas, shadow)
    canvas = lay(canvas, strokes(rng, fallen, colours, size)) * (1 + 0.07 * clouds(rng, size, 12))
    moss = np.clip(clouds(rng, size, 70) - 0.5, 0, 1) * 0.8
    green = pick(rng, "6a8444 5c7840") * (1 + 0.14 * clouds(rng, size, 7))
    return mix(canvas, green, moss), strokes(rng, leaves(rng, 5, 11, size), colours, size)


def river(rng, size):
    """Return canvas and front layer of a clear stream, from the side under water."""
    rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None]
    top, low = pick(rng, "c4d8b8 b4d0c8 d0d8b0"), pick(rng, "4a6e60 54744e 5a7264")
    canvas = top + (low - top) * rows**0.7
    rays = clouds(rng, size, 30, flat=0.08, octaves=2) * (1 - rows)
    canvas = canvas * (1 + 0.12 * rays)
    n = 240
    y = np.sort(rng.uniform(0.7, 1.02, n)) * size[0]
    centres = np.stack([rng.uniform(0, size[1], n), y], -1)
    radii = (2 + 12 * (y[:, None] / size[0] - 0.66) / 0.34) * rng.uniform(0.5, 1, (n, 1)) * (1, 0.6)
    stones = picks(rng, 6, "8a8470 6c6a60 a69c80 5c5e58 94805e")
    canvas = lay(canvas, strokes(rng, ovals(centres, radii), stones * 0.55, size))
    canvas = lay(canvas, strokes(rng, ovals(centres - (0, 1), radii * 0.8), stones, size))
    canvas = mix(canvas, low, np.clip(1 - np.abs(rows - 0.72) / 0.14, 0, 1) * 0.6 + 0.12)
    canvas = canvas + (net(rng, size, 30) * 0.12) * rows
    weeds = blades(rng, 16, (size[0], size[0] + 10), 42, size, lean=0.3)
    return gaussian_filter(canvas, (0, 0.7, 0.7)), strokes(
        rng, weeds, picks(rng, 3, "5a7a3a 6c8446"), size
    )


def sea(rng, size):
    """Return canvas and (empty) front layer of the open sea under a sky."""
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    horizon = size[0] * rng.uniform(0.12, 0.4)
    high, low = pick(rng, "8fb8dc b0c0cc d8c4b8"), pick(rng, "e6eaea f4e0cc dce6ec")
    canvas = high + (low - high) * np.clip(rows / horizon, 0, 1)
    canvas = mix(canvas, np.float32(1), np.clip(clouds(rng, size, 40, flat=5), 0, 1) * 0.3)
    depth = np.clip((rows - horizon) / (size[0] - horizon), 0, 1)
    fine, coarse = clouds(rng, size, 9, flat=5), clouds(rng, size, 26, flat=5)
    waves = fine * (1 - depth) + coarse * depth
    base = pick(rng, "3a6a84 486f7c 50707c 3a7888")
    surface = base + (low - base) * (0.35 * (1 - depth) ** 2)
    surface = surface * (1 + 0.13 * waves) + 0.22 * np.clip(waves - 1.1, 0, 1)
    canvas = mix(canvas, surface, np.clip((rows - horizon) / 2, 0, 1))
    return canvas, np.zeros((4, *size), np.float32)


def habitat(name, rng, size):
    """Return canvas and front layer of one encounter."""
    if name in PALETTES:
        return land(rng, size, PALETTES[name])
    if name == "ocean":
        return water(rng, size, "2a6286 36729a 24567a 2c7088", 0.12)
    if name == "lagoon":
        return water(rng, size, "3a9aa4 4aa4a8 3a8a9c", 0.85)
    return {"pasture": pasture, "leaf litter": litter, "river": river, "sea": sea}[name](rng, size)
