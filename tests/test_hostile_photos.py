"""What becomes of photos that are broken, odd, huge or oddly named.

| file | `images.load` |
| --- | --- |
| no file, a folder, a pipe | ImageError: is not there |
| zero bytes, text, a name that promises a photo | ImageError: cannot be read |
| cut short | ImageError: cannot be read; never half a photo |
| PNG named .jpg, JPEG named .png | read: the content decides |
| EPS, or another format that is no photo | ImageError: cannot be read; Ghostscript never starts |
| CMYK, palette, grey, one bit | read as RGB |
| alpha, transparent palette | the colour is kept, transparency is dropped, also under full one |
| 16-bit grey, 32-bit | ImageError: is not 8 bit (its upper half would be read as white) |
| 16-bit colour | read by the upper byte |
| animated GIF, a TIFF of many pages, MPO | the first picture |
| EXIF orientation 1 to 8 | turned; any other value: as it is stored |
| above 89 million pixels (20,000 x 20,000) | ImageError: exceeds limit, before any is decoded |
| a link to a file | followed; `coco.read` refuses one that leaves the folder of photos |
| spaces, quotes, letters of any script | read |
| a line break in the name | read, escaped in messages; refused in an annotation file |

In the pipeline `annotations.clean` drops and counts what `load` refuses.
"""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miewid_lib import annotations, images
from miewid_lib.errors import AnnotationError, ImageError
from miewid_lib.sources import coco

RED, GREEN = (200, 10, 30), (20, 180, 40)


def halves(width: int = 48, height: int = 32) -> Image.Image:
    """Left half red, right half green."""
    photo = Image.new("RGB", (width, height), RED)
    photo.paste(GREEN, (width // 2, 0, width, height))
    return photo


def encoded(form: str, photo: Image.Image | None = None, **options) -> bytes:
    stream = io.BytesIO()
    (photo or halves()).save(stream, form, **options)
    return stream.getvalue()


def looks_like_halves(photo: np.ndarray, tolerance: int = 8) -> bool:
    left, right = photo[4:-4, 4:20].astype(int), photo[4:-4, 28:-4].astype(int)
    close = abs(left - RED).max() <= tolerance and abs(right - GREEN).max() <= tolerance
    return photo.shape == (32, 48, 3) and photo.dtype == np.uint8 and close


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        images.load(path)
    assert str(caught.value).isprintable()  # one line, nothing that moves a cursor
    return str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_photo_cut_short_is_never_half_a_photo(tmp_path, form):
    whole = encoded(form, halves(480, 320))
    for n_bytes in (1, 20, len(whole) // 2, len(whole) * 9 // 10):
        (tmp_path / "photo").write_bytes(whole[:n_bytes])
        assert "cannot be read" in refusal(tmp_path / "photo")


@pytest.mark.parametrize("content", [b"", b"a text\nof two lines\n", b"\xff\xd8", b"GIF89a"])
def test_what_is_no_photo_is_refused_whatever_its_name(tmp_path, content):
    for name in ("photo.jpg", "photo.png", "photo.gif"):
        (tmp_path / name).write_bytes(content)
        assert "cannot be read" in refusal(tmp_path / name)


def test_the_content_decides_not_the_name(tmp_path):
    for form, name in (("PNG", "a.jpg"), ("JPEG", "a.png"), ("GIF", "a.tif"), ("WEBP", "a")):
        (tmp_path / name).write_bytes(encoded(form))
        assert looks_like_halves(images.load(tmp_path / name), 16)


def test_a_postscript_program_is_no_photo(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("it was run"))
    (tmp_path / "photo.jpg").write_bytes(encoded("EPS"))
    assert "cannot be read" in refusal(tmp_path / "photo.jpg")


def test_what_is_not_a_file_is_not_there(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("pipe.jpg", "", "gone.jpg", "null\0.jpg"):
        assert "is not there" in refusal(tmp_path / name)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_has_the_colours_that_a_viewer_shows(tmp_path, form):
    (tmp_path / "photo").write_bytes(encoded(form, halves().convert("CMYK")))
    assert looks_like_halves(images.load(tmp_path / "photo"), 12)


def test_palettes_are_looked_up(tmp_path):
    for form in ("PNG", "GIF", "BMP"):
        (tmp_path / "photo").write_bytes(encoded(form, halves().quantize(4)))
        assert looks_like_halves(images.load(tmp_path / "photo"))


def test_transparency_is_dropped_and_the_colour_kept(tmp_path):
    clear = halves()
    clear.putalpha(0)
    palette = encoded("PNG", halves().quantize(4), transparency=0)
    for content in (encoded("PNG", clear), encoded("WEBP", clear, lossless=True, exact=True)):
        (tmp_path / "photo").write_bytes(content)
        assert looks_like_halves(images.load(tmp_path / "photo"))
    (tmp_path / "photo").write_bytes(palette)
    assert looks_like_halves(images.load(tmp_path / "photo"))


def deep_colour(value: int) -> bytes:
    """A PNG of 4 x 4 pixels with 16 bits a channel, which Pillow cannot write."""
    row = b"\0" + struct.pack(">3H", value, value // 2, 0) * 4
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 4)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_16_bit_grey_is_refused_and_16_bit_colour_is_read(tmp_path):
    grey = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    for form in ("PNG", "TIFF"):
        (tmp_path / "photo").write_bytes(encoded(form, grey))
        assert "8 bit" in refusal(tmp_path / "photo")
    for mode in ("I", "F"):
        (tmp_path / "photo").write_bytes(encoded("TIFF", Image.new(mode, (4, 4), 300)))
        assert "8 bit" in refusal(tmp_path / "photo")
    (tmp_path / "photo").write_bytes(deep_colour(40_000))
    assert images.load(tmp_path / "photo")[2, 2].tolist() == [40_000 >> 8, 20_000 >> 8, 0]


@pytest.mark.parametrize("form", ["GIF", "TIFF", "MPO", "WEBP", "PNG"])
def test_of_several_pictures_the_first_counts(tmp_path, form):
    others = [Image.new("RGB", (48, 32), "blue")] * 3
    (tmp_path / "photo").write_bytes(encoded(form, save_all=True, append_images=others))
    assert looks_like_halves(images.load(tmp_path / "photo"), 24)


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded("JPEG", exif=exif, quality=95)


def test_orientations_turn_the_photo_and_nonsense_does_not(tmp_path):
    red_corner = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom"}
    red_corner |= {8: "bottom", 0: "left", 9: "left", 1000: "left"}
    for orientation, side in red_corner.items():
        (tmp_path / "photo.jpg").write_bytes(oriented(orientation))
        photo = images.load(tmp_path / "photo.jpg")
        assert photo.shape[:2] == ((48, 32) if orientation in (5, 6, 7, 8) else (32, 48))
        half = {
            "left": photo[:, :16], "right": photo[:, -16:], "top": photo[:16], "bottom": photo[-16:]
        }[side]  # fmt: skip
        assert abs(half.mean((0, 1)) - RED).max() < 8, orientation


def bomb(form: str) -> bytes:
    """A small file that claims 20,000 x 20,000 pixels: 1.2 GB once decoded."""
    if form == "PNG":
        body = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
        small = encoded("PNG")
        return small[:12] + body + struct.pack(">I", zlib.crc32(body)) + small[33:]
    if form == "GIF":
        small = encoded("GIF")
        return small[:6] + struct.pack("<HH", 20_000, 20_000) + small[10:]
    if form == "BMP":
        small = encoded("BMP")
        return small[:18] + struct.pack("<ii", 20_000, 20_000) + small[26:]
    small = encoded("JPEG")
    at = small.index(b"\xff\xc0") + 5  # the frame header: height, then width
    return small[:at] + struct.pack(">HH", 20_000, 20_000) + small[at + 4 :]


MEASURE = """
import resource, sys
from miewid_lib import images
from miewid_lib.errors import ImageError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        images.load(path)
    except ImageError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_bomb_is_refused_before_its_pixels_take_memory(tmp_path):
    paths = []
    for form in ("PNG", "GIF", "BMP", "JPEG"):
        paths.append(tmp_path / form)
        paths[-1].write_bytes(bomb(form))
        assert paths[-1].stat().st_size < 10_000
    run = [sys.executable, "-c", MEASURE, *map(str, paths)]
    done = subprocess.run(
        run, capture_output=True, text=True, check=True, cwd=images.__file__[:-20]
    )
    *messages, grown = done.stdout.splitlines()
    assert len(messages) == 4 and all("exceeds limit of" in message for message in messages)
    assert int(grown) / (1 if sys.platform == "linux" else 1024) < 20_000  # KB; 1.2 million decoded


def annotated(folder: Path, *names: str) -> Path:
    """An annotation file with one box in each of these photos."""
    photos = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    box = {"bbox": [0, 0, 40, 30], "species": "lion", "individual_id": "Kaka"}
    boxes = [box | {"id": i, "image_id": i} for i in range(len(names))]
    (folder / "annotations.json").write_text(json.dumps({"images": photos, "annotations": boxes}))
    return folder / "annotations.json"


NAMES = [
    "a b.jpg",
    "it's.jpg",
    'say "lion".jpg',
    "größe.jpg",
    "e\u0301.jpg",
    "狮子.jpg",
    "%20;&.jpg",
]


def test_odd_names_are_read_from_the_file_to_the_crop(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_bytes(encoded("JPEG"))
    table = coco.read(annotated(tmp_path, *NAMES))
    usable, dropped = annotations.clean(table, tmp_path, min_side_px=8)
    assert list(usable["image_path"]) == NAMES and not len(dropped)
    annotations.write(usable, tmp_path / "table.csv")
    assert list(annotations.read(tmp_path / "table.csv")["image_path"]) == NAMES
    assert images.crops(usable, tmp_path, size_px=8).shape == (len(NAMES), 8, 8, 3)


def test_a_line_break_in_a_name_breaks_no_message_and_no_table(tmp_path):
    name = "two\nlines\x1b[2J.jpg"
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert looks_like_halves(images.load(tmp_path / name), 16)
    (tmp_path / name).write_bytes(b"text")
    assert r"two\nlines\x1b[2J.jpg cannot be read" in refusal(tmp_path / name)
    assert r"\n" in refusal(tmp_path / ("gone" + name))
    with pytest.raises(AnnotationError, match="plain text"):
        coco.read(annotated(tmp_path, name))


def test_a_link_may_point_anywhere_inside_the_folder_of_photos_only(tmp_path):
    folder, outside = tmp_path / "photos", tmp_path / "private.jpg"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "photo.jpg").write_bytes(encoded("JPEG"))
    outside.write_bytes(encoded("JPEG"))
    (folder / "link.jpg").symlink_to("deep/photo.jpg")
    (folder / "shelf").symlink_to(folder / "deep")
    table = coco.read(annotated(folder, "link.jpg", "shelf/photo.jpg"))
    assert len(annotations.clean(table, folder, min_side_px=8)[0]) == 2
    (folder / "out.jpg").symlink_to(outside)
    (folder / "up").symlink_to("..")
    for name in ("out.jpg", "up/private.jpg", "../private.jpg", str(outside)):
        with pytest.raises(AnnotationError, match="is not inside the folder of photos"):
            coco.read(annotated(folder, name))
    (folder / "dead.jpg").symlink_to("nowhere.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    for name in ("dead.jpg", "round.jpg"):
        assert "is not there" in refusal(folder / name)


def test_clean_counts_what_cannot_be_read_and_keeps_the_rest(tmp_path):
    contents = {"good.jpg": encoded("JPEG"), "named.jpg": encoded("PNG"), "bomb.jpg": bomb("PNG")}
    contents |= {"empty.jpg": b"", "text.jpg": b"text", "cut.jpg": encoded("JPEG")[:200]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    table = coco.read(annotated(tmp_path, *contents, "gone.jpg"))
    usable, dropped = annotations.clean(table, tmp_path, min_side_px=8)
    assert list(usable["image_path"]) == ["good.jpg", "named.jpg"]
    counts = dropped["reason"].value_counts().to_dict()
    assert counts == {"photo unreadable": 4, "photo missing": 1}
