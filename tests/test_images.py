"""Photos, crops against the published numbers, and the variations of training."""

import io
import json
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miewid_lib import images
from miewid_lib.errors import ImageError

PARITY = Path(__file__).parent / "parity"
CASES = json.loads((PARITY / "chips.json").read_text())["cases"]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    down, across = np.mgrid[:height, :width]
    waves = [np.sin(down / 9), np.cos(across / 7), np.sin((down + across) / 11)]
    return (127 + 100 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_crops_equal_the_published_ones(case):
    arrays = np.load(PARITY / "chips.npz", allow_pickle=False)
    expected = arrays[f"out_{case['name']}"].astype(int)
    if case["is_original_image"]:  # the public code hands back the whole photo
        with pytest.raises(ImageError, match="outside"):
            images.crop(arrays["image"], tuple(case["bbox"]), case["theta"])
        return
    got = images.crop(arrays["image"], tuple(case["bbox"]), case["theta"])
    turned = bool(case["theta"]) and abs(case["theta"]) >= 0.1
    assert got.shape == expected.shape and got.dtype == np.uint8
    assert abs(got - expected).max() <= turned


def test_a_box_beyond_the_left_edge_is_clipped():
    photo = noise(60, 80)
    assert np.array_equal(images.crop(photo, (-5, -3, 30, 20)), photo[:17, :25])


@pytest.mark.parametrize("theta_rad", [0.0, None, float("nan")])
def test_no_turn_may_be_said_in_three_ways(theta_rad):
    photo = noise(60, 80)
    assert np.array_equal(images.crop(photo, (4, 5, 6, 7), theta_rad), photo[5:12, 4:10])


def test_a_turn_by_a_quarter_is_clockwise_on_the_photo():
    photo = noise(60, 80)
    got = images.crop(photo, (20, 10, 30, 20), np.pi / 2)  # its right is the photo's down
    expected = np.rot90(photo[5:35, 25:45])  # around the centre of the box, (35, 20)
    assert abs(got.astype(int) - expected).max() <= 1


@settings(deadline=None, max_examples=60)
@given(
    x=st.floats(-30, 90), y=st.floats(-30, 70), w=st.floats(1, 60), h=st.floats(1, 60),
    theta_rad=st.floats(-7, 7),
)  # fmt: skip
def test_a_turned_window_shows_the_photo_where_it_should(x, y, w, h, theta_rad):
    photo = smooth(60, 80)
    if abs(theta_rad) < 1e-3 or images.share_inside((x, y, w, h), (80, 60), theta_rad) == 0:
        return
    got = images.crop(photo, (x, y, w, h), theta_rad).astype(int)
    assert got.shape == (int(h), int(w), 3)
    v, u = np.mgrid[: int(h), : int(w)] + 0.5
    u, v = u - int(w) / 2, v - int(h) / 2
    px = x + w / 2 + np.cos(theta_rad) * u - np.sin(theta_rad) * v
    py = y + h / 2 + np.sin(theta_rad) * u + np.cos(theta_rad) * v
    inside = (px > 4) & (px < 76) & (py > 4) & (py < 56)
    expected = photo[py[inside].astype(int), px[inside].astype(int)].astype(int)
    assert abs(got[inside] - expected).max(initial=0) < 50  # within 3 px of a slow wave
    far = (px < -4) | (px > 84) | (py < -4) | (py > 64)
    assert (got[far] == 255).all()


@pytest.mark.parametrize("theta_rad", [0.0, 0.5])
@pytest.mark.parametrize("box", [(200, 0, 20, 20), (-50, 0, 20, 20), (5, 5, 0, 9), (5, 5, 9, 0.5)])
def test_a_box_without_a_pixel_is_an_error(box, theta_rad):
    with pytest.raises(ImageError, match="outside"):
        images.crop(noise(60, 80), box, theta_rad)


def test_a_giant_turned_box_is_an_error_and_not_a_lot_of_memory():
    for box in ((-4e5, -4e5, 8e5, 8e5), (-1960, -1970, 4000, 4000)):
        with pytest.raises(ImageError, match="outside"):
            images.crop(noise(60, 80), box, 0.5)


def test_d24_a_turned_crop_of_a_large_photo_reads_its_window_only():
    photo = np.zeros((3000, 4000, 3), np.uint8)
    tracemalloc.start()
    start = time.perf_counter()
    images.crop(photo, (1800, 1300, 400, 300), 0.6, size_px=96)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # the whole canvas takes 75 MB, the public code 403 MB
    assert seconds < 0.4  # the public code takes 1.19 s, this about 0.01 s


def test_d19_shrinking_averages_over_what_it_covers():
    photo = noise(384, 384)
    got = images.crop(photo, (0, 0, 384, 384), size_px=96).astype(float)
    blocks = photo.reshape(96, 4, 96, 4, 3).mean((1, 3))
    plain = photo[2::4, 2::4].astype(float)  # what a kernel without antialiasing reads
    assert abs(got - blocks).mean() < 0.4 * abs(got - plain).mean()
    assert got.std() < 0.4 * photo.std()


def test_d19_one_kernel_for_upright_turned_and_torch():
    photo = smooth(300, 400)
    upright = images.crop(photo, (100, 100, 120, 90), size_px=32).astype(int)
    turned = images.crop(photo, (100, 100, 120, 90), 2 * np.pi, size_px=32).astype(int)
    assert abs(upright - turned).max() <= 2
    window = torch.from_numpy(photo[100:190, 100:220].copy()).permute(2, 0, 1)[None].float()
    other = torch.nn.functional.interpolate(window, (32, 32), mode="bilinear", antialias=True)
    assert abs(upright - other[0].permute(1, 2, 0).numpy()).max() <= 1.5


def test_crop_leaves_the_photo_alone_and_owns_its_pixels():
    photo = noise(60, 80)
    got = images.crop(photo, (0, 0, 80, 60))
    got[:] = 0
    assert photo.any()
    assert images.crop(photo, (0, 0, 80, 60), size_px=8).flags.writeable


def test_share_inside_of_turned_boxes():
    for theta_rad in (0.3, 1.0, 2.5):
        assert images.share_inside((30, 20, 20, 20), (80, 60), theta_rad) == 1
        half = images.share_inside((-15, 15, 30, 30), (80, 60), theta_rad)
        assert half == pytest.approx(0.5, abs=0.02)
    assert images.share_inside((0, 25, 80, 10), (80, 60), np.pi / 2) == pytest.approx(
        0.75, abs=0.02
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_d16_exif_orientation_is_applied(tmp_path, orientation, ending):
    turns = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(smooth(40, 56)).save(path, exif=exif)
    with Image.open(path) as stored:
        plain = np.array(stored.convert("RGB"))
    assert np.array_equal(images.load(path), turns[orientation](plain))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_every_8_bit_photo_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    Image.fromarray(smooth(20, 30)).convert(mode).save(path)
    photo = images.load(path)
    assert photo.shape == (20, 30, 3) and photo.dtype == np.uint8 and photo.std() > 10


def test_16_bit_photos_are_refused_rather_than_read_as_white(tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImageError, match="8 bit"):
        images.load(tmp_path / "deep.png")


def bomb(side_px: int) -> bytes:
    """A few hundred bytes that claim to be a large photo."""
    small = io.BytesIO()
    Image.new("1", (8, 8)).save(small, "PNG")
    body = b"IHDR" + struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return small.getvalue()[:8] + header + small.getvalue()[33:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot"),
        (b"text", "cannot"),
        (b"\x89PNG", "cannot"),
        (bomb(20_000), "pixels"),
        (bomb(10_000), "pixels"),
    ],
)
def test_broken_photos_are_one_line(tmp_path, content, words):
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(ImageError, match=words) as caught:
        images.load(tmp_path / "photo.png")
    assert "photo.png" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_photos_and_folders_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "gone.jpg"):
        with pytest.raises(ImageError, match="is not there"):
            images.load(path)


def encoded(form: str) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(16, 24)).save(stream, form, exif=exif)
    return stream.getvalue()


WHOLE = {form: encoded(form) for form in ("JPEG", "PNG", "TIFF", "WEBP")}


@settings(deadline=None, max_examples=150)
@given(form=st.sampled_from(sorted(WHOLE)), data=st.data())
def test_any_damage_gives_a_photo_or_an_image_error(form, data, tmp_path_factory):
    whole = bytearray(WHOLE[form])
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "photo"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        photo = images.load(path)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == np.uint8


def boxes_of(tmp_path: Path) -> pd.DataFrame:
    """Four boxes, higher than wide, in two photos, the photos in turns."""
    for i in range(2):
        Image.fromarray(noise(60, 80, seed=i)).save(tmp_path / f"{i}.png")
    return pd.DataFrame(
        {
            "image_path": ["1.png", "0.png", "1.png", "0.png"],
            "x": [1.0, 2, 30, 40],
            "y": [5.0, 6, 7, 8],
            "w": [10.0, 12, 14, 16],
            "h": [30.0, 32, 34, 36],
            "theta_rad": [0, 0.4, 0, 0],
        }
    )


def test_d10_two_boxes_in_one_photo_are_two_crops_in_the_order_of_the_table(tmp_path):
    table = boxes_of(tmp_path)
    for rows in (table, table[::-1], table.iloc[[2, 0, 1]]):
        got = images.crops(rows, tmp_path, size_px=24)
        assert got.shape == (len(rows), 24, 24, 3) and got.dtype == np.uint8
        for i, row in enumerate(rows.itertuples()):
            photo = images.load(tmp_path / row.image_path)
            box = (row.x, row.y, row.w, row.h)
            assert np.array_equal(got[i], images.crop(photo, box, row.theta_rad, size_px=24))


def test_crops_reads_each_photo_once(tmp_path, monkeypatch):
    table, seen, load = boxes_of(tmp_path), [], images.load
    monkeypatch.setattr(images, "load", lambda path: seen.append(path.name) or load(path))
    images.crops(table, tmp_path, size_px=8)
    assert sorted(seen) == ["0.png", "1.png"]


def test_crops_of_nothing_and_of_a_box_outside(tmp_path):
    table = boxes_of(tmp_path)
    assert images.crops(table[:0], tmp_path, size_px=8).shape == (0, 8, 8, 3)
    with pytest.raises(ImageError, match=r"1\.png.*outside"):
        images.crops(table.assign(x=500.0), tmp_path, size_px=8)


def batch(n: int, size_px: int = 48) -> torch.Tensor:
    return torch.from_numpy(np.stack([smooth(size_px, size_px)] * n)).permute(0, 3, 1, 2) / 255


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_augment_is_drawn_from_its_generator_alone():
    photos = batch(16)
    before = photos.clone()
    first = images.augment(photos, generator=draws())
    torch.manual_seed(5)
    assert torch.equal(first, images.augment(photos, generator=draws()))
    assert not torch.equal(first, images.augment(photos, generator=draws(1)))
    assert torch.equal(photos, before)
    assert len({photo.numpy().tobytes() for photo in first}) > 12  # each by draws of its own


def test_augment_stays_in_range_and_shape():
    for photos in (torch.rand(32, 3, 20, 30), torch.zeros(8, 3, 16, 16), torch.ones(8, 3, 16, 16)):
        got = images.augment(photos, generator=draws())
        assert got.shape == photos.shape and got.dtype == photos.dtype
        assert got.min() >= 0 and got.max() <= 1
    assert images.augment(torch.zeros(0, 3, 8, 8), generator=draws()).shape == (0, 3, 8, 8)


def only(monkeypatch, name: str) -> None:
    for share in ("CORNER_SHARE", "FILTER_SHARE", "MOVE_SHARE", "COLOUR_SHARE"):
        monkeypatch.setattr(images, share, 1.0 if share == name else 1e-9)


def test_a_white_triangle_in_the_top_left_corner(monkeypatch):
    only(monkeypatch, "CORNER_SHARE")
    got = images.augment(torch.zeros(1, 3, 100, 200), generator=draws())[0]
    white = (got == 1).all(0)
    assert white[0].sum() == 60 - 1 or white[0].sum() == 60  # 30 % of the width
    assert abs(int(white[:, 0].sum()) - 25) <= 1  # 25 % of the height
    assert white.float().mean() == pytest.approx(0.3 * 0.25 / 2, abs=0.002)
    assert not white[40:].any() and not white[:, 61:].any()


@pytest.mark.parametrize("share", ["CORNER_SHARE", "FILTER_SHARE", "MOVE_SHARE", "COLOUR_SHARE"])
def test_every_variation_reaches_its_share_of_the_photos(monkeypatch, share):
    only(monkeypatch, share)
    monkeypatch.setattr(images, share, 0.5)
    photos = batch(600, 16)
    changed = (images.augment(photos, generator=draws()) != photos).flatten(1).any(1)
    assert changed.float().mean() == pytest.approx(0.5, abs=0.07)


def test_one_third_of_the_filtered_photos_is_grey(monkeypatch):
    only(monkeypatch, "FILTER_SHARE")
    got = images.augment(batch(600, 16), generator=draws())
    grey = ((got.max(1).values - got.min(1).values) < 1e-6).flatten(1).all(1)
    assert grey.float().mean() == pytest.approx(1 / 3, abs=0.06)
    assert len({photo.numpy().tobytes() for photo in got}) > 350  # the others by draws of their own


def test_sharpening_steepens_an_edge_and_leaves_an_even_photo():
    photos = torch.full((1, 3, 9, 9), 0.4)
    assert torch.allclose(images._sharpen(photos.clone(), torch.tensor([[0.5]])), photos)
    photos[..., 5:] = 0.6
    kernel = torch.full((3, 1, 3, 3), -1.0)
    kernel[:, :, 1, 1] = 9.0
    sharp = torch.nn.functional.conv2d(photos, kernel, groups=3)
    part = 0.2 + 0.3 * 0.5
    expected = photos[..., 1:-1, 1:-1] * (1 - part) + part * sharp
    got = images._sharpen(photos.clone(), torch.tensor([[0.5]]))
    assert torch.allclose(got[..., 1:-1, 1:-1], expected.clamp(0, 1), atol=1e-5)


def test_equalising_spreads_a_flat_photo_but_not_without_limit():
    low = 0.4 + 0.2 * batch(1)
    got = images._equalise(low, torch.tensor([[1.0]]))
    assert got.std() > 1.3 * low.std()
    levels = images._grey(low).flatten()
    order = levels.argsort()
    assert (images._grey(got).flatten()[order].diff() > -2 / 255).all()  # darker stays darker
    none = images._equalise(low, torch.tensor([[0.0]]))  # limit 1: nothing above its fair share
    assert none.std() < got.std()


def test_moves_are_those_of_the_drawn_angle_scale_and_shift():
    photos = torch.zeros(5, 1, 101, 101)
    photos[:, :, 50, 50] = photos[:, :, 50, 70] = 1.0
    half = torch.full((5, 4), 0.5)
    half[1, 2], half[2, 3], half[3, 1], half[4, 0] = 1.0, 1.0, 0.75, 1.0
    still, across, down, scaled, turned = images._move(photos, half)[:, 0]
    assert torch.allclose(still, photos[0, 0], atol=1e-4)
    assert across[50, 25].item() == pytest.approx(0.75, abs=0.3)  # a quarter of 101 px
    assert down[25, 50].item() == pytest.approx(0.75, abs=0.3)
    assert scaled[50, 72].item() > 0.6  # 20 px become 22
    angle = np.deg2rad(15)
    dx, dy = round(20 * np.cos(angle)), round(20 * np.sin(angle))
    assert max(turned[50 + dy, 50 + dx], turned[50 - dy, 50 + dx]) > 0.3


def test_what_was_outside_is_reflected_not_black():
    moved = images._move(torch.full((64, 3, 20, 20), 0.7), torch.rand(64, 4, generator=draws()))
    assert torch.allclose(moved, torch.tensor(0.7), atol=1e-5)


def test_colours_change_by_a_tenth_and_keep_their_hue():
    photos = 0.2 + 0.5 * batch(64)
    got = images._colour(photos, torch.rand(64, 3, generator=draws()))
    assert 0.85 < got.mean() / photos.mean() < 1.15
    assert (got - photos).abs().max() < 0.2
    same = images._colour(photos, torch.full((64, 3), 0.5))
    assert torch.allclose(same, photos, atol=1e-5)
    red, green, blue = got.unbind(1)
    order = (photos[:, 0] - photos[:, 1]).sign() == (red - green).sign()
    assert order.float().mean() > 0.99 and (green != blue).any()


def test_d4_nothing_is_mirrored_or_turned_upside_down():
    side = torch.linspace(0, 1, 64)
    photos = torch.stack([side[:, None].expand(64, 64), side.expand(64, 64), torch.rand(64, 64)])
    got = images.augment(photos.expand(400, 3, 64, 64), generator=draws())
    coloured = got[(got[:, 0] - got[:, 1]).abs().flatten(1).mean(1) > 0.05]
    inner = coloured[:, :, 20:-20, 20:-20]
    down, across = inner[:, 0].diff(dim=1).mean((1, 2)), inner[:, 1].diff(dim=2).mean((1, 2))
    assert (down > 0).float().mean() > 0.95 and (across > 0).float().mean() > 0.95
