"""Takes the pictures of the classroom animals: pose, lens and light of one photo."""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from miewid_lib.drawing import scenes
from miewid_lib.drawing.animals import extent, paint


def pose(animal, rng, *, mirrored):
    """Return a photo's pose: the 2 x 2 matrix from body units to pixels and the free angles."""
    turn = rng.normal(0, 0.05 if animal["kind"] in ("flank", "fin") else 0.13)
    scale = animal.get("scale", 60) * rng.uniform(0.85, 1.15)
    stretch, shear = rng.uniform(0.82, 1.06), rng.normal(0, 0.08)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[stretch, shear], [0, 1]])
    if mirrored:
        matrix = np.diag([-1, 1]) @ matrix
    return {
        "matrix": matrix, "scale": scale,
        "gait_rad": rng.normal(0, 0.22), "tail_rad": rng.normal(0, 0.2),
        "sway": animal.get("sway", 0) * rng.normal(0, 1), "phase": rng.uniform(0, 6.28),
        "bend": rng.normal(0, 0.026, (2, 4, 4)).astype(np.float32),
    }  # fmt: skip


def body_coordinates(view, centre, shape):
    """Return body x, y [h, w] of the pixels of a patch whose body origin lies at centre (x, y)."""
    rows, columns = np.indices(shape, dtype=np.float32)
    inverse = np.linalg.inv(view["matrix"]).astype(np.float32)
    px, py = columns - centre[0], rows - centre[1]
    x, y = inverse[0, 0] * px + inverse[0, 1] * py, inverse[1, 0] * px + inverse[1, 1] * py
    size, bicubic = (shape[1], shape[0]), Image.Resampling.BICUBIC
    x = x + np.asarray(Image.fromarray(view["bend"][0]).resize(size, bicubic))
    y = y + np.asarray(Image.fromarray(view["bend"][1]).resize(size, bicubic))
    y = y + view["sway"] * np.sin(2.4 * x + view["phase"]) * np.clip(0.7 - x, 0, 1.5)
    return x, y


def habitat(animal, n_animals, rng):
    """Return what the photos of one encounter share: canvas, front layer and light."""
    canvas, front = scenes.habitat(animal["habitat"], rng, (224, 262 + 130 * (n_animals - 1)))
    return canvas, front, light_of(rng)


def photograph(animal, bodies, shared, rng, *, mirrored=False, blurred=False):
    """Return photo [h, w, 3] uint8, boxes [[x, y, w, h]] and quality of one shot of an encounter.

    bodies: coat and notches of each animal; shared: from `habitat`; rng draws the rest.
    """
    canvas, front, light = shared
    width = int(rng.integers(168, 216)) + 130 * (len(bodies) - 1)
    height = int(rng.integers(*animal.get("heights", (138, 170))))
    left, slack = rng.integers(0, canvas.shape[2] - width), canvas.shape[1] - height
    side_view = animal["kind"] in ("flank", "fish", "fin")
    top = slack - rng.integers(0, 12) if side_view else rng.integers(0, slack)
    window = np.s_[:, top : top + height, left : left + width]
    photo, boxes = canvas[window].astype(np.float32), []
    for i, body in enumerate(bodies):
        x = width * (i + 0.5) / len(bodies) + rng.uniform(-10, 10)
        y = height * animal.get("middle", 0.5) + rng.uniform(-6, 6)
        view = pose(animal, rng, mirrored=mirrored)
        boxes.append(place(photo, animal, body, (x, y), {**view, **light}))
    photo, quality = develop(scenes.lay(photo, front[window]), light, rng, blurred=blurred)
    return photo, boxes, quality


def light_of(rng):
    """Return what one encounter's light does: direction, gain [3], gradient and contrast."""
    azimuth, height = rng.uniform(-2.6, -0.5), rng.uniform(0.45, 0.9)
    flat = np.sqrt(1 - height**2)
    warmth = rng.normal(0, 0.06)
    return {
        "light": (flat * np.cos(azimuth), flat * np.sin(azimuth), height),
        "gain": rng.uniform(0.78, 1.12) * np.float32([1 + warmth, 1, 1 - warmth])[:, None, None],
        "gradient": rng.normal(0, 0.12, 2), "contrast": rng.uniform(0.8, 1.12),
    }  # fmt: skip


def place(photo, animal, body, centre, view):
    """Paint one animal and its shadow into photo (in place); return its box [x, y, w, h]."""
    coat, notches = body
    corners = np.array(extent(animal)) @ view["matrix"].T + centre
    low = np.clip(np.floor(corners.min(0)).astype(int), 0, None)
    high = np.minimum(np.ceil(corners.max(0)).astype(int), photo.shape[:0:-1])
    patch = photo[:, low[1] : high[1], low[0] : high[0]]
    x, y = body_coordinates(view, np.subtract(centre, low), patch.shape[1:])
    view = {**view, "pixel": 1 / view["scale"], "notches": notches}
    colours, cover = paint(animal, coat, x, y, view)
    if animal["kind"] == "fin":
        dry = submerge(patch, cover, x, y, view)
        colours, cover = colours * dry, cover * dry
    else:
        patch *= 1 - shadow(animal, cover, x, y, view)
    patch += colours - cover * patch
    shown = 0.42 if animal["kind"] == "fin" else np.inf  # a fin's box leaves out the back
    seen = (cover > 0.5) & (y < shown)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    left, top = low[0] + columns[0], low[1] + rows[0]
    return [int(left), int(top), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]


def shadow(animal, cover, x, y, view):
    """Return how much of the light each pixel of a patch loses to the animal's shadow, [h, w]."""
    if "legs" in animal:
        fore, hind, hip, length, _ = animal["legs"]
        foot, middle = hip + 0.97 * length, (fore + hind) / 2
        return 0.5 * np.exp(-(((x - middle) / 0.75) ** 4) - ((y - foot) / 0.09) ** 2)
    drop = animal.get("drop_px", 3)
    if not drop:
        return np.zeros_like(cover)
    across = round(-drop * np.sign(view["light"][0]))
    cast = np.pad(cover, drop + 1)
    cast = cast[1 : 1 + cover.shape[0], drop + 1 - across : drop + 1 - across + cover.shape[1]]
    return 0.5 * gaussian_filter(cast, 1 + 0.4 * drop)


def submerge(patch, cover, x, y, view):
    """Return what share of each pixel is above water; foam and a reflection go into the patch."""
    line = 0.56 + 0.02 * np.sin(9 * x + view["phase"]) + 0.015 * np.sin(23 * x)
    wet = gaussian_filter(cover, (0, 3)) * np.clip((y - line) / 0.02, 0, 1)
    patch *= 1 - 0.35 * (wet * np.exp(-(y - line) / 0.12))
    foam = np.exp(-(((y - line) / 0.022) ** 2)) * np.clip(gaussian_filter(cover, 2) * 1.6, 0, 1)
    patch += 0.75 * (foam * (0.6 + 0.4 * np.sin(40 * x + 3 * np.sin(17 * x)))) * (0.95 - patch)
    return np.clip(0.5 + (line - y) / view["pixel"], 0, 1) * (1 - 0.5 * foam)


def develop(photo, light, rng, *, blurred):
    """Return the finished photo, uint8 [h, w, 3], and its quality: light, blur and grain."""
    height, width = photo.shape[1:]
    across, down = light["gradient"]
    slope = np.linspace(-across, across, width) + np.linspace(-down, down, height)[:, None]
    gain = (light["gain"] * rng.uniform(0.94, 1.06) * (1 + slope)).astype(np.float32)
    photo = ((photo - 0.45) * light["contrast"] + 0.45) * gain
    blur = rng.uniform(5, 7) if blurred else rng.gamma(2, 0.19)
    photo = gaussian_filter(photo, (0, blur, blur))
    photo += rng.standard_normal((height, width), np.float32) * rng.uniform(0.004, 0.016)
    quality = round(float(0.1 if blurred else np.clip(1 - 0.3 * blur, 0.3, 1)), 2)
    return (np.clip(photo, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0), quality
