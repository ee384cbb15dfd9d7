"""From a photo on disk to one crop, fast: safe to call from several threads at once."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from miewid_lib import images
from miewid_lib.errors import ImageError

SPARE = 2  # pixels that a reduced crop keeps for each one of the result, on its shorter side
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
FROM_THE_RIGHT, FROM_BELOW = (2, 3, 6, 7), (3, 4, 7, 8)  # and where the upright photo was stored so


def crop(path: Path, box: tuple, theta_rad: float = 0.0, *, size_px: int) -> np.ndarray:
    """Return `images.crop` of the photo at `path`, uint8 [size, size, 3], or nearly so if faster.

    A JPEG whose box is not turned and is at least 2 SPARE times as large as the result is decoded
    at half, a quarter or an eighth of its size (tests/test_decoding.py says how near that is);
    everything else is the same to the bit. Raises ImageError as `images.load` does, and where the
    box is empty or less than half of it lies inside the photo.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))  # on one line
    if not Path(path).is_file():
        raise ImageError(f"photo {shown} is not there")
    try:
        photo, full_size, factor, mirrored = _decoded(path, box, theta_rad, size_px)
    except (*images.BROKEN, Image.DecompressionBombError, Warning) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ImageError(f"photo {shown} cannot be read ({reason})") from None
    if min(box[2:]) < 1 or images.share_inside(box, full_size, theta_rad) < 0.5:
        box = [float(value) for value in box]
        raise ImageError(f"photo {shown}: box {box} is empty or not inside its {full_size} px")
    if theta_rad != 0:  # NaN too
        return images.crop(np.asarray(photo), box, theta_rad, size_px)
    edges = images.window(box, full_size)
    if factor == 1:  # as `images.crop` does, without copies in between
        part = photo if edges == (0, 0, *full_size) else photo.crop(edges)
        return np.asarray(part.resize((size_px, size_px), images.KERNEL))
    # a reduced photo is rounded up to whole pixels at its stored right and lower edge
    shift = (np.array(photo.size) * factor - full_size) * mirrored
    edges = (np.array(edges) + np.tile(shift, 2)) / factor
    edges = edges.clip(0, [*photo.size, *photo.size]).tolist()
    return np.asarray(photo.resize((size_px, size_px), images.KERNEL, box=edges))


def _decoded(path: Path, box: tuple, theta_rad: float, size_px: int) -> tuple:
    """The upright photo in RGB, its full size, its reduction, and whether x, y were mirrored."""
    with Image.open(path, formats=images.FORMATS) as photo:
        if photo.width * photo.height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{photo.size} px, exceeds limit of {Image.MAX_IMAGE_PIXELS} pixels")
        if photo.mode.startswith(("I", "F")):
            raise ValueError(f"mode {photo.mode} is not 8 bit")
        orientation = photo.getexif().get(0x0112)
        mirrored = np.array([orientation in FROM_THE_RIGHT, orientation in FROM_BELOW])
        full_size = photo.size[::-1] if orientation in TURNED else photo.size
        factor = 1
        if photo.format == "JPEG" and theta_rad == 0:
            left, top, right, bottom = images.window(box, full_size)
            factor = _factor(min(right - left, bottom - top), size_px)
            photo.draft(None, (photo.width // factor, photo.height // factor))
        photo.load()
        upright = ImageOps.exif_transpose(photo) if orientation in range(2, 9) else photo
        upright = upright if upright.mode == "RGB" else upright.convert("RGB")
    return upright, full_size, factor, mirrored


def _factor(side_px: int, size_px: int) -> int:
    """The largest reduction a JPEG decoder offers that leaves SPARE pixels for each of the crop."""
    return next((k for k in (8, 4, 2) if side_px >= SPARE * k * size_px), 1)
