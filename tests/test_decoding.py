"""A crop decoded at reduced scale is nearly that of the whole photo; all others are the same."""

import numpy as np
import pytest
import torch
from PIL import Image

from miewid_lib import decoding, images, models, training
from miewid_lib.errors import ImageError


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft shapes with fine stripes and noise: some energy at every scale, as in a real photo."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(0, 256, (height // 30, width // 30, 3), np.uint8))
    pixels = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC), float)
    down, across = np.mgrid[:height, :width]
    stripes = 25 * np.sin(down / rng.uniform(1, 9) + across / rng.uniform(1, 9))[..., None]
    noise = rng.normal(0, 6, pixels.shape)
    return Image.fromarray((pixels + stripes + noise).clip(0, 255).astype(np.uint8))


def saved(path, image: Image.Image, **options):
    image.save(path, quality=90, **options)
    return path


def whole(path, box, theta_rad=0.0, *, size_px):
    return images.crop(images.load(path), box, theta_rad, size_px)


@pytest.mark.parametrize("case", ["png", "small box", "turned box", "small photo"])
def test_without_reduction_a_crop_is_the_same_to_the_bit(tmp_path, case):
    suffix = ".png" if case == "png" else ".jpg"
    size = (100, 80) if case == "small photo" else (640, 480)
    path = saved(tmp_path / f"photo{suffix}", photo(*size))
    box = (20, 30, 130, 120) if case == "small box" else (0, 0, *size)
    theta_rad = 0.2 if case == "turned box" else 0.0
    ours = decoding.crop(path, box, theta_rad, size_px=48)
    assert np.array_equal(ours, whole(path, box, theta_rad, size_px=48))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size_px", [72, 36])
def test_a_reduced_crop_shows_the_same_place_of_the_photo(tmp_path, orientation, size_px):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "photo.jpg", photo(805, 603), exif=exif)
    box = (31, 57, 481, 507)
    ours, exact = (f(path, box, size_px=size_px).astype(float) for f in (decoding.crop, whole))
    assert not np.array_equal(ours, exact)  # it was really reduced
    difference = abs(ours - exact).mean()
    shifted = abs(ours[:, 1:] - exact[:, :-1]).mean()
    assert difference < 4 and difference < shifted / 3


def test_vectors_of_reduced_crops_are_nearly_those_of_the_whole_photo(tmp_path):
    net = models.EmbeddingNet(models.LITE0_BACKBONE, pretrained=True).eval()
    paths = [saved(tmp_path / f"{i}.jpg", photo(480, 360, seed=i)) for i in range(12)]
    box = (0, 0, 480, 360)
    vectors = [
        training.embed(net, np.stack([crop(path, box, size_px=72) for path in paths]))
        for crop in (decoding.crop, whole)
    ]
    ours, exact = (torch.nn.functional.normalize(torch.from_numpy(v)).numpy() for v in vectors)
    own = (ours * exact).sum(1)
    other = (ours @ exact.T)[~np.eye(len(paths), dtype=bool)]
    assert own.min() > 0.99 and own.min() > other.max(), (own.min(), other.max())


def test_what_cannot_be_cropped_is_one_line(tmp_path):
    path = saved(tmp_path / "photo.jpg", photo(90, 60))
    cases = {"empty or not inside": (200, 200, 10, 10), "is empty": (0, 0, 0.5, 20)}
    for message, box in cases.items():
        with pytest.raises(ImageError, match=message):
            decoding.crop(path, box, size_px=8)
    (tmp_path / "broken.jpg").write_bytes(path.read_bytes()[:400])
    for name, message in (("broken.jpg", "cannot be read"), ("gone.jpg", "is not there")):
        with pytest.raises(ImageError, match=message):
            decoding.crop(tmp_path / name, (0, 0, 9, 9), size_px=8)
