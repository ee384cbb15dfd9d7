"""Reads photos, cuts crops out of them, and varies crops for training."""

import math
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy import ndarray
from pandas import DataFrame
from PIL import Image, ImageOps

from miewid_lib.errors import ImageError

KERNEL = Image.Resampling.BILINEAR  # antialiased when shrinking; as the released weights expect
BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError)
BROKEN += (AttributeError, MemoryError, struct.error, zlib.error)  # from Pillow's decoders
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF")  # EPS is a program
# Augmentation of the public code, without its hue jitter (a library default nobody asked for).
CORNER_SHARE = FILTER_SHARE = MOVE_SHARE = COLOUR_SHARE = 0.5  # of the photos, drawn apart
CORNER_WIDTH, CORNER_HEIGHT = 0.3, 0.25  # of a white triangle, parts of the photo's sides
SHARPEN_BLEND = (0.2, 0.5)  # part of the sharpened photo (default of albumentations)
EQUALISE_LIMIT = 4.0  # a grey level counts at most so many times its fair share (same default)
SHIFT, SCALE, ROTATE_DEG = 0.25, 0.2, 15.0  # largest move: parts of the side, degrees
COLOUR = 0.1  # largest change of brightness, contrast and saturation


def load(path: Path) -> ndarray:
    """Return the photo as RGB, uint8 [H, W, 3], turned as its EXIF orientation says.

    The content decides, not the name; tests/test_hostile_photos.py lists what becomes of what.
    Raises ImageError for a missing, broken, 16-bit grey or too large file (a decompression bomb).
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))  # on one line
    if not Path(path).is_file():
        raise ImageError(f"photo {shown} is not there")
    with warnings.catch_warnings(action="ignore"):  # odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=FORMATS) as photo:
                if photo.mode.startswith(("I", "F")):
                    raise ValueError(f"mode {photo.mode} is not 8 bit")
                upright = ImageOps.exif_transpose(photo) if 0x0112 in photo.getexif() else photo
                return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))
        except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ImageError(f"photo {shown} cannot be read ({reason})")


def window(box: tuple, photo_size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in whole pixels (as in the public code), clipped."""
    x, y, w, h = (int(value) for value in box)
    return max(0, x), max(0, y), min(photo_size_px[0], x + w), min(photo_size_px[1], y + h)


def share_inside(box: tuple, photo_size_px: tuple[int, int], theta_rad: float = 0.0) -> float:
    """Return the part of the box's area inside the photo (turned boxes: of 64 x 64 points)."""
    (x, y, w, h), (width, height) = box, photo_size_px
    if not theta_rad:
        across = max(0.0, min(x + w, width) - max(x, 0))
        return across * max(0.0, min(y + h, height) - max(y, 0)) / (w * h)
    steps = (np.arange(64) + 0.5) / 64 - 0.5
    u, v = np.meshgrid(steps * w, steps * h)  # [64, 64], from the centre of the box
    cos, sin = math.cos(theta_rad), math.sin(theta_rad)
    px, py = x + w / 2 + cos * u - sin * v, y + h / 2 + sin * u + cos * v
    return float(((px >= 0) & (px <= width) & (py >= 0) & (py <= height)).mean())


def crop(image: ndarray, box: tuple, theta_rad: float = 0.0, size_px: int | None = None) -> ndarray:
    """Return what the box (x, y, w, h) shows, upright: uint8 [h, w, 3], or [size, size, 3].

    image is uint8 [H, W, 3]. A box that is not turned (theta 0, None or NaN) is clipped to the
    photo, a turned one is white outside. Resizing does not keep the aspect ratio.
    Raises ImageError if no pixel of the photo lies in the box.
    """
    photo_size = image.shape[1::-1]
    left, top, right, bottom = window(box, photo_size)
    chip = image[top : max(top, bottom), left : max(left, right)]
    if theta_rad and not math.isnan(theta_rad):
        chip = _turned(image, box, theta_rad)
    if chip.size == 0:
        raise ImageError(f"box {[float(v) for v in box]} lies outside the photo of {photo_size} px")
    if size_px is None:
        return chip.copy()
    return np.array(Image.fromarray(chip).resize((size_px, size_px), KERNEL))


def _turned(image: ndarray, box: tuple, theta_rad: float) -> ndarray:
    """Sample the window alone; its corner is a whole pixel of the turned photo (public code)."""
    (x, y, w, h), photo_size = box, np.array(image.shape[1::-1])
    no_pixel = min(w, h) < 1 or not share_inside(box, photo_size, theta_rad)
    if no_pixel or w * h > 4 * photo_size.prod():  # or hardly any, for a lot of memory
        return image[:0]
    size, middle = np.array([int(w), int(h)]), photo_size // 2
    cos, sin = math.cos(theta_rad), math.sin(theta_rad)
    turn = np.array([[cos, -sin], [sin, cos]])
    centre = np.array([(2 * x + w) // 2, (2 * y + h) // 2])
    corner = np.floor((centre - middle) @ turn + middle - size / 2 + 1e-9)  # in the turned photo
    origin = turn @ (corner - middle) + middle  # the same corner in the photo
    corners = origin + np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size @ turn.T  # [4, 2]
    left, top = (np.floor(corners.min(0)).astype(int) - 2).clip(0, photo_size)
    right, bottom = (np.ceil(corners.max(0)).astype(int) + 2).clip(0, photo_size)
    part = np.pad(image[top:bottom, left:right], ((1, 1), (1, 1), (0, 0)), constant_values=255)
    back = (cos, -sin, origin[0] - left + 1, sin, cos, origin[1] - top + 1)  # crop to part
    how = (Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return np.array(Image.fromarray(part).transform(tuple(size), *how, fillcolor=(255,) * 3))


def crops(table: DataFrame, root: Path, *, size_px: int) -> ndarray:
    """Return one crop a row of `table`, in its order, uint8 [N, size, size, 3].

    Photos are under `root`; each is read once, however many boxes it has. Raises ImageError.
    """
    result = np.empty((len(table), size_px, size_px, 3), np.uint8)
    boxes = table[["x", "y", "w", "h", "theta_rad"]].to_numpy(float)
    for image_path, rows in table.groupby("image_path", sort=False).indices.items():
        photo = load(Path(root) / image_path)
        for i in rows:
            try:
                result[i] = crop(photo, tuple(boxes[i][:4]), boxes[i][4], size_px)
            except ImageError as error:
                raise ImageError(f"photo {image_path}: {error}") from None
    return result


def augment(photos, *, generator, rows=slice(None)):
    """Return `photos`, torch floats [B, 3, S, S] from 0 to 1, each varied by draws of its own.

    White corner; one of sharpen, grey, equalise; move; colours (constants above). No flip, no hue:
    sides and colours are identity. `generator` is a torch.Generator; `rows`: return only these.
    """
    import torch

    draw = torch.rand((len(photos), 13), generator=generator, device=generator.device)
    draw, photos = draw[rows].to(photos.device, photos.dtype), photos[rows].clone()
    down, across = ((torch.arange(n, device=photos.device) + 0.5) / n for n in photos.shape[2:])
    corner = down[:, None] / CORNER_HEIGHT + across / CORNER_WIDTH < 1  # [S, S]
    photos.masked_fill_((draw[:, 0] < CORNER_SHARE)[:, None, None, None] & corner, 1.0)
    kind = draw[:, 1] / FILTER_SHARE * 3  # up to 1, 2, 3, or more: none
    for rows, change, columns in (
        (kind < 1, _sharpen, draw[:, 2:3]),
        ((kind >= 1) & (kind < 2), _grey, draw[:, :0]),
        ((kind >= 2) & (kind < 3), _equalise, draw[:, 3:4]),
        (draw[:, 4] < MOVE_SHARE, _move, draw[:, 5:9]),
        (draw[:, 9] < COLOUR_SHARE, _colour, draw[:, 10:13]),
    ):
        rows = rows.nonzero()[:, 0]
        if len(rows):
            photos[rows] = change(photos[rows], columns[rows])
    return photos


def _grey(photos, _=None):
    weights = photos.new_tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
    return (photos * weights[:, None, None]).sum(1, keepdim=True)  # [B, 1, S, S]


def _sharpen(photos, draw):
    """Add 9 (photo - mean of its 3 x 3 neighbourhood), blended; the border pixels stay."""
    part = SHARPEN_BLEND[0] + (SHARPEN_BLEND[1] - SHARPEN_BLEND[0]) * draw[..., None, None]
    sums = photos[..., :-2] + photos[..., 1:-1] + photos[..., 2:]
    sums = sums[:, :, :-2] + sums[:, :, 1:-1] + sums[:, :, 2:]  # [B, 3, S - 2, S - 2]
    inner = photos[:, :, 1:-1, 1:-1]
    inner += part * (9 * inner - sums)
    return photos.clamp_(0, 1)


def _equalise(photos, draw):
    """Contrast-limited equalisation of the grey levels of the whole photo (CLAHE of one tile)."""
    grey = _grey(photos)
    levels = (grey * 255).round().long().flatten(1)  # [B, S * S]
    n, ones = levels.shape[1], photos.new_ones(1).expand_as(levels)
    counts = photos.new_zeros(len(photos), 256).scatter_add_(1, levels, ones)
    counts = counts.minimum((1 + (EQUALISE_LIMIT - 1) * draw) * n / 256)
    counts = counts + (n - counts.sum(1, keepdim=True)) / 256  # what was cut off, spread evenly
    target = (counts.cumsum(1) / n).gather(1, levels).view_as(grey)
    return (photos + target - grey).clamp(0, 1)


def _move(photos, draw):
    """Shift, scale and rotate about the centre; what was outside is the photo's reflection."""
    import torch
    from torch.nn import functional

    angle, scale, *shift = (2 * draw - 1).T  # each [B], from -1 to 1
    angle, scale = angle * math.radians(ROTATE_DEG), 1 + SCALE * scale
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = (2 * SHIFT * part for part in shift)  # the grid is 2 wide
    rows = torch.stack([cos, -sin, x, sin, cos, y], 1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(photos.shape), align_corners=False)
    return functional.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def _colour(photos, draw):
    """Multiply (brightness), blend with the mean grey (contrast), with the grey (saturation)."""
    brightness, contrast, saturation = (1 + COLOUR * (2 * draw - 1)).T[:, :, None, None, None]
    photos = (photos * brightness).clamp(0, 1)
    photos = _grey(photos).mean((2, 3), keepdim=True).lerp(photos, contrast).clamp(0, 1)
    return _grey(photos).lerp(photos, saturation).clamp(0, 1)
