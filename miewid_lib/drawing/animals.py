"""Draws the classroom animals: outlines of round cones, coats in body coordinates, light."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from miewid_lib.drawing.outlines import COAT

TEXELS = 64  # of the coat for each body unit
REACH = 1.3  # the coat covers -REACH to REACH on both axes


def rgb(code):
    """Return a colour like "c89a68" as float32 [3, 1, 1] in 0 to 1."""
    return (np.array(list(bytes.fromhex(code)), np.float32) / 255)[:, None, None]


def mix(under, over, weight):
    """Return colours [3, h, w] between `under` and `over` by weight [h, w]."""
    return under + (over - under) * weight


@lru_cache(maxsize=256)
def cones(text, *, mirrored=False):
    """Parse "x y r x y r; ..." to [n, 6] rows, with their mirror images across y = 0 if asked."""
    rows = [tuple(float(number) for number in part.split()) for part in text.split(";")]
    if mirrored:
        rows += [(ax, -ay, ra, bx, -by, rb) for ax, ay, ra, bx, by, rb in rows]
    return rows


def solid(rows, x, y, blend):
    """Return signed distance (smooth union) and height of round cones at x, y [h, w]."""
    total, height = np.full_like(x, 1e-30), np.zeros_like(x)
    for ax, ay, ra, bx, by, rb in rows:
        dx, dy, px, py = bx - ax, by - ay, x - ax, y - ay
        along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        radius = ra + along * (rb - ra)
        square = (px - along * dx) ** 2 + (py - along * dy) ** 2
        total += np.exp(np.minimum((radius - np.sqrt(square)) / blend, 60))
        np.maximum(height, radius * radius - square, out=height)
    return -blend * np.log(total), np.sqrt(height)


def leg(x, y, length, girth, swing_rad, *, hind):
    """Return the cones of one leg that hangs from the hip x, y."""
    bend = 0.32 if hind else -0.1
    knee_x, knee_y = x + 0.45 * length * np.sin(swing_rad + bend), y + 0.45 * length
    foot_x, foot_y = knee_x + 0.5 * length * np.sin(swing_rad - bend), y + 0.95 * length
    return [
        (x, y, girth * (2.4 if hind else 2.0), knee_x, knee_y, girth * 0.85),
        (knee_x, knee_y, girth * 0.85, foot_x, foot_y, girth * 0.62),
        (foot_x, foot_y, girth * 0.7, foot_x + 0.6 * girth, foot_y + 0.02, girth * 0.65),
    ]


def tail(root, angle_rad, curl_rad, length, girth):
    """Return four cones of a tail from its root (x, y); angle 0 is to the head, pi / 2 down."""
    (x, y), rows = root, []
    for i in range(4):
        nx = x + length / 4 * np.cos(angle_rad)
        ny = y + length / 4 * np.sin(angle_rad)
        rows.append((x, y, girth * (1 - i * 0.1), nx, ny, girth * (0.9 - i * 0.1)))
        x, y, angle_rad = nx, ny, angle_rad + curl_rad
    return rows


def layers(animal, pose):
    """Return (paint, shade, cones) from back to front; pose holds gait_rad and tail_rad."""
    body, result = list(cones(animal["body"])), []
    if "both" in animal:
        body += cones(animal["both"], mirrored=True)
    if "legs" in animal:
        fore, hind, hip, length, girth = animal["legs"]
        swing = pose["gait_rad"]
        far = leg(fore + 0.04, hip, length * 0.96, girth, -swing, hind=False)
        far += leg(hind + 0.06, hip, length * 0.96, girth, swing * 0.8, hind=True)
        result.append((COAT, 0.62, far))
        body += leg(fore, hip, length, girth, swing, hind=False)
        body += leg(hind, hip, length, girth, -swing * 0.8, hind=True)
        x, y, angle, curl, *size = animal["tail"]
        hanging = tail((x, y), angle + pose["tail_rad"], curl, *size)
        result.append((COAT, 0.9, hanging))
        if "tuft" in animal:
            result.append(
                (animal["tuft"], 1.0, [(*row[:2], 0.03, *row[3:5], 0.026) for row in hanging[-1:]])
            )
    result += [(paint, 0.92, cones(text)) for paint, text in animal["behind"]]
    result += [
        (paint, 0.92, cones(text, mirrored=True)) for paint, text in animal.get("behind_both", [])
    ]
    result.append((COAT, 1.0, body))
    return result + [(paint, 1.0, cones(text)) for paint, text in animal["details"]]


def union(one, other, blend):
    """Return the smooth union of two signed distances."""
    gap = np.clip(0.5 + 0.5 * (other - one) / blend, 0, 1)
    return other + (one - other) * gap - blend * gap * (1 - gap)


def fin(notches, x, y):
    """Return signed distance and height of a dorsal fin; notches [n, 3] = place, depth, width."""
    up = (0.5 - y) / 1.15
    level = np.clip(up, 0, 1)
    lead = 0.54 - 0.92 * level**1.5
    trail = -0.42 + 0.22 * np.sin(np.pi * level**0.9) - 0.4 * np.clip(0.12 - up, 0, 1)
    room = np.clip((lead - trail) / 0.35, 0, 1)
    for place, depth, width in notches:
        trail = trail + room * depth * np.exp(-(np.abs((up - place) / width) ** 1.5))
    distance = -union(x - trail, (lead - x) * 0.8, 0.02)
    return np.maximum(distance, up - 1), 0.22 * np.sqrt(np.clip(-distance, 0, 0.2))


def paint(animal, coat, x, y, view):
    """Return colours times cover [3, h, w] and cover [h, w] of one animal at body x, y [h, w].

    view: pixel (its size in body units), light [3], gait_rad, tail_rad, notches.
    """
    colours, cover = np.zeros((3, *x.shape), np.float32), np.zeros_like(x)
    at = [(y + REACH) * TEXELS - 0.5, (x + REACH) * TEXELS - 0.5]
    skin = np.stack([map_coordinates(c, at, order=1, mode="nearest") for c in coat])
    for colour, shade, rows in layers(animal, view):
        part = window(rows, x, y) if animal["kind"] != "fin" else np.s_[:, :]
        px, py, blend = x[part], y[part], 0.03 if colour == COAT else 0.008
        distance, height = solid(rows, px, py, blend)
        if animal["kind"] == "fin":
            edge, thick = fin(view["notches"], px, py)
            distance, height = union(distance, edge, 0.05), np.maximum(height, thick)
        alpha = np.clip(0.5 - distance / view["pixel"], 0, 1)
        light = shade * lit(height, view["light"], view["pixel"])
        planes = (slice(None), *part)
        base = skin[planes] if colour == COAT else rgb(colour)
        colours[planes] = mix(colours[planes], base * light, alpha)
        cover[part] += alpha * (1 - cover[part])
    return colours, cover


def window(rows, x, y):
    """Return the slices of x, y [h, w] that cones can touch."""
    ends = np.array(rows).reshape(-1, 3)
    (left, top), (right, low) = (
        (ends[:, :2] - ends[:, 2:]).min(0),
        (ends[:, :2] + ends[:, 2:]).max(0),
    )
    near = (x > left - 0.08) & (x < right + 0.08) & (y > top - 0.08) & (y < low + 0.08)
    down, across = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if len(down) < 3 or len(across) < 3:
        return np.s_[:3, :3]
    return np.s_[down[0] : max(down[-1] + 1, down[0] + 3), across[0] : across[-1] + 1]


def lit(height, light, pixel):
    """Return brightness [h, w] of a solid of this height (body units) in light from [3]."""
    smooth = gaussian_filter(height, 1.5)
    slope_y, slope_x = np.gradient(smooth, pixel)
    normal = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    facing = (light[2] - light[0] * slope_x - light[1] * slope_y) * normal
    return 0.48 + 0.62 * np.clip(facing, 0, None)


def extent(animal):
    """Return the corners [4, 2] of a rectangle of body units around the animal in any pose."""
    if animal["kind"] == "fin":
        return [(-1.3, -0.85), (1.3, -0.85), (-1.3, 0.8), (1.3, 0.8)]
    rows = np.array(
        [r for _, _, part in layers(animal, {"gait_rad": 0, "tail_rad": 0}) for r in part]
    )
    ends = np.concatenate([rows[:, :3], rows[:, 3:]])
    (left, top), (right, low) = (
        (ends[:, :2] - ends[:, 2:]).min(0),
        (ends[:, :2] + ends[:, 2:]).max(0),
    )
    pad = 0.14 + animal.get("drop_px", 0) / 30  # room for bends and for a shadow thrown aside
    return [(x, y) for x in (left - pad, right + pad) for y in (top - pad, low + pad)]
