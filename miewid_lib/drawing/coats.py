"""Coats of the classroom animals: random fields on body coordinates, one an individual and side."""

import numpy as np

from miewid_lib.drawing.animals import REACH, TEXELS, mix, rgb

SIZE = int(2 * REACH * TEXELS)


def grid():
    """Return body coordinates x, y, both float32 [SIZE, SIZE], of the coat's texels."""
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / TEXELS - REACH
    return np.meshgrid(axis, axis)


def band(rng, wavelength, *, angle_rad=None, stretch=3.0, width=0.3):
    """Return band-pass filtered noise [SIZE, SIZE], mean 0, deviation 1; wavelength in body units.

    Isotropic without an angle; else waves along angle_rad whose crests are `stretch` times longer.
    """
    noise = np.fft.rfft2(rng.standard_normal((SIZE, SIZE)))
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.rfftfreq(SIZE), indexing="ij")
    centre = 1 / (wavelength * TEXELS)
    if angle_rad is None:
        lobe = ((np.hypot(fx, fy) - centre) / (width * centre)) ** 2
    else:
        along = fx * np.cos(angle_rad) + fy * np.sin(angle_rad)
        across = fy * np.cos(angle_rad) - fx * np.sin(angle_rad)
        lobe = ((np.abs(along) - centre) / (width * centre)) ** 2 + (across * stretch / centre) ** 2
    field = np.fft.irfft2(noise * np.exp(-lobe / 2), (SIZE, SIZE))
    return (field / field.std()).astype(np.float32)


def step(values, at=0.0, softness=0.1):
    """Return a smooth step from 0 below `at` to 1 above it."""
    return 1 / (1 + np.exp(-np.clip((values - at) / softness, -30, 30)))


def nearest(seeds, x, y, reach=0.5):
    """Return distances to the nearest and second nearest of seeds [n, 2], and the nearest's index.

    Only seeds within `reach` of a texel's place on the grid count (a window, for speed).
    """
    first, second = np.full_like(x, 9), np.full_like(x, 9)
    index = np.zeros(x.shape, np.intp)
    for number, (seed_x, seed_y) in enumerate(seeds):
        low = np.clip(((np.array([seed_y, seed_x]) - reach + REACH) * TEXELS).astype(int), 0, None)
        high = low + int(2 * reach * TEXELS)
        part = np.s_[low[0] : high[0], low[1] : high[1]]
        square = (x[part] - seed_x) ** 2 + (y[part] - seed_y) ** 2
        closer = square < first[part]
        second[part] = np.minimum(second[part], np.where(closer, first[part], square))
        first[part] = np.where(closer, square, first[part])
        index[part][closer] = number
    return np.sqrt(first), np.sqrt(second), index


def scatter(rng, spacing, jitter=0.42):
    """Return float32 [n, 2] points on a jittered hexagonal lattice within -1.2 to 1.2."""
    rows = np.arange(-1.2, 1.2, spacing * 0.87)
    columns = np.arange(-1.2, 1.2, spacing)
    points = [(c + spacing / 2 * (i % 2), r) for i, r in enumerate(rows) for c in columns]
    return (np.array(points) + rng.uniform(-jitter, jitter, (len(points), 2)) * spacing).astype(
        "f4"
    )


def at(field, points):
    """Return the field's values at points [n, 2]."""
    columns, rows = np.clip(((points + REACH) * TEXELS).astype(int), 0, SIZE - 1).T
    return field[rows, columns]


def zebra(rng, x, y):
    """Black and white stripes: upright on the flank, level on rump and legs."""
    upright = band(rng, 0.2, angle_rad=0.1, stretch=3.2)
    level = band(rng, 0.15, angle_rad=1.45, stretch=3.0)
    lower = step(y - 0.2 + 0.4 * np.clip(-x - 0.25, 0, 1), 0, 0.06)
    stripes = step(upright * (1 - lower) + level * lower, 0.05, 0.16)
    return mix(rgb("f0e9dc"), rgb("221d1b"), stripes * 0.95)


def tiger(rng, x, y):
    """Narrow broken dark stripes on orange, the belly white."""
    stripes = band(rng, 0.15, angle_rad=0.12, stretch=3.6, width=0.35)
    breaks = band(rng, 0.4)
    ink = step(stripes + 0.45 * breaks, 0.75, 0.16)
    belly = step(y + 0.03 * breaks, 0.14, 0.03) * step(0.4 - np.abs(x + 0.1), 0, 0.04)
    belly = np.maximum(belly, 0.8 * step(y - 0.6 * x, -0.56, 0.03) * step(x, 0.6, 0.03))
    coat = mix(rgb("d9832f"), rgb("f3e6d0"), belly * 0.85)
    return mix(mix(coat, rgb("a8571c"), step(-y, 0.12, 0.06) * 0.5), rgb("1d1410"), ink * 0.95)


def leopard(rng, x, y):
    """Broken rosettes on the flank, solid spots on head and legs."""
    limbs = np.maximum(step(y, 0.24, 0.03), step(x - 0.3 * y, 0.62, 0.03))
    first = nearest(scatter(rng, 0.145), x, y, 0.15)[0]
    shape = first + 0.012 * band(rng, 0.1)
    ring = np.exp(-(((shape - 0.046) / 0.016) ** 2)) * step(band(rng, 0.11), -0.55, 0.15)
    spots = step(
        0.026 + 0.006 * band(rng, 0.2) - nearest(scatter(rng, 0.085), x, y, 0.1)[0], 0, 0.005
    )
    coat = mix(rgb("d9a75c"), rgb("f2e3c4"), step(y, 0.16, 0.05) * 0.8)
    coat = mix(coat, rgb("b0783a"), step(0.046 - shape, 0, 0.006) * 0.8 * (1 - limbs))
    return mix(coat, rgb("20160f"), (ring * (1 - limbs) + spots * limbs) * 0.95)


def giraffe(rng, x, y):
    """Brown patches between pale lines: second minus first nearest seed."""
    seeds = scatter(rng, 0.21, 0.4)
    warp = band(rng, 0.5) * 0.02
    first, second, index = nearest(seeds, x + warp, y - warp, 0.45)
    tone = rng.uniform(0.5, 1.3, len(seeds)).astype(np.float32)[index]
    patch = step(second - first, 0.036, 0.008) * (1 - 0.85 * step(y, 0.5, 0.06))
    brown = rgb("8a4f24") * tone * (1 - 0.25 * np.exp(-first / 0.05))
    return mix(rgb("ecd5a4"), brown, patch * (1 - 0.7 * step(x + 0.4 * y, 0.28, 0.04)))


def cattle(rng, x, y):
    """Large black blotches on white."""
    field = band(rng, 0.75, width=0.55) + 0.25 * band(rng, 0.2)
    return mix(rgb("f1ece4"), rgb("1e1b1b"), step(field, rng.normal(0, 0.25), 0.07))


def shark(rng, x, y):
    """Pale spots in loose rows and faint bars on slate blue."""
    seeds = scatter(rng, 0.115, 0.5)
    seeds = seeds[at(band(rng, 0.4), seeds) > -0.35]
    first, _, index = nearest(seeds, x, y, 0.2)
    radius = rng.uniform(0.014, 0.042, len(seeds)).astype(np.float32)[index]
    bars = step(np.cos(x * 2 * np.pi / 0.26 + band(rng, 0.6) * 0.7), 0.88, 0.06) * 0.35
    base = mix(rgb("3d5a6e"), rgb("55788c"), step(np.abs(y), 0.25, 0.1))
    return mix(base, rgb("dfe9e4"), np.maximum(step(radius - first, 0, 0.006) * 0.9, bars))


def trout(rng, x, y):
    """Dark spots with pale rims, some red, on olive gold."""
    seeds = scatter(rng, 0.15, 0.5)
    seeds = seeds[at(band(rng, 0.4) - 7 * np.clip(y + 0.02, 0, 1), seeds) > -0.5]
    first, _, index = nearest(seeds, x, y, 0.2)
    radius = rng.uniform(0.018, 0.052, len(seeds)).astype(np.float32)[index]
    red = (rng.random(len(seeds)) < 0.25)[index]
    coat = mix(rgb("6a5a2c"), rgb("c49a4a"), step(y, -0.1, 0.06))
    coat = mix(coat, rgb("efe0b4"), step(y, 0.1, 0.05))
    coat = mix(coat, rgb("ecd9a0"), step(radius + 0.022 - first, 0, 0.006) * 0.6)
    spot = np.where(red, rgb("b03a22"), rgb("241a12"))
    return mix(coat, spot, step(radius - first, 0, 0.005) * 0.92)


def turtle(rng, x, y):
    """Scutes of the shell, each with its own rays; plates on the rim."""
    scutes = [(0.42 - 0.26 * i, 0) for i in range(5)]
    scutes += [(0.3 - 0.28 * i, s * 0.27) for i in range(4) for s in (-1, 1)]
    turns = np.linspace(0, 2 * np.pi, 23)[:-1]
    scutes += [(0.58 * np.cos(t) - 0.06, 0.47 * np.sin(t)) for t in turns]
    seeds = np.array(scutes, np.float32) + rng.normal(0, 0.022, (len(scutes), 2)).astype("f4")
    first, second, index = nearest(seeds, x, y)
    dx, dy = x - seeds[index, 0], y - seeds[index, 1]
    phase, rays = rng.uniform(0, 6.28, len(seeds))[index], rng.integers(3, 7, len(seeds))[index]
    streak = np.cos(rays * np.arctan2(dy, dx) + phase + 0.6 * band(rng, 0.4))
    streak += 0.5 * band(rng, 0.14)
    coat = mix(rgb("744c26"), rgb("d0a860"), step(streak, 0.55, 0.3) * step(first, 0.02, 0.01))
    coat = coat * rng.uniform(0.55, 1.25, len(seeds))[index]
    return mix(rgb("2f2818"), coat, step(second - first, 0.026, 0.006))


def salamander(rng, x, y):
    """Yellow blotches on glossy black."""
    field = band(rng, 0.34, width=0.35) + 0.25 * band(rng, 0.13)
    return mix(rgb("1c1a1b"), rgb("f0b81c"), step(field, 0.55, 0.07))


def dolphin(rng, x, y):
    """Grey with pale rake marks; the notches of the fin are drawn by animals.fin."""
    coat = mix(rgb("5d6a74"), rgb("78848c"), step(band(rng, 0.9), 0.4, 0.5))
    for _ in range(rng.integers(3, 9)):
        cx, cy, turn = rng.uniform(-0.5, 0.4), rng.uniform(-0.6, 0.4), rng.uniform(0, np.pi)
        along = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        across = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn) + 0.6 * along**2
        mark = np.exp(-((across / 0.012) ** 2)) * step(
            rng.uniform(0.06, 0.2) - np.abs(along), 0, 0.02
        )
        coat = mix(coat, rgb("b9c0c2"), mark * 0.8)
    return coat


PAINTERS = {
    painter.__name__: painter
    for painter in (
        zebra, tiger, leopard, giraffe, cattle, shark, trout, turtle, salamander, dolphin
    )
}  # fmt: skip


def coat(name, rng):
    """Return one individual's coat, float32 [3, SIZE, SIZE] in 0 to 1, with its own slight tint."""
    x, y = grid()
    tint = 1 + rng.normal(0, 0.02, (3, 1, 1)) + rng.normal(0, 0.02)
    colours = PAINTERS[name](rng, x, y) * tint
    return np.clip(colours, 0, 1).astype(np.float32)
