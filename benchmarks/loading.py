"""Reading photos of a camera's size and cutting the animals out, 72 px a side.

The photos are procedural animals, enlarged to 1,600 px and saved as JPEG.
"""

from pathlib import Path

import pandas as pd

SIZE_PX, LONG_SIDE_PX = 72, 1600


def make(folder: Path, n: int) -> None:
    """Write about n photos to folder/photos and their boxes to folder/boxes.csv."""
    from PIL import Image

    from miewid_lib.sources import synthetic

    species = ["plains zebra", "giraffe", "tiger"]
    table = synthetic.write(folder / "drawn", species=species, seed=1, n_annotations=n)
    for path, rows in table.groupby("image_path").indices.items():
        photo = Image.open(folder / "drawn" / path).convert("RGB")
        factor = LONG_SIDE_PX / max(photo.size)
        side = tuple(round(length * factor) for length in photo.size)
        target = folder / "photos" / Path(path).parts[0] / f"{Path(path).stem}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        photo.resize(side, Image.Resampling.BICUBIC).save(target, quality=90)
        table.loc[rows, ["x", "y", "w", "h"]] *= factor
        table.loc[rows, "image_path"] = target.relative_to(folder / "photos").as_posix()
    table.assign(theta_rad=0.0).to_csv(folder / "boxes.csv", index=False)


def _ours(folder, n):
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from miewid_lib import decoding

    table = pd.read_csv(folder / "boxes.csv")
    boxes = table[["x", "y", "w", "h"]].to_numpy().tolist()
    jobs = list(zip(table["image_path"], boxes, strict=True))

    def cut(job):
        return decoding.crop(folder / "photos" / job[0], job[1], size_px=SIZE_PX)

    def work():
        with ThreadPoolExecutor(2) as pool:
            crops = list(pool.map(cut, jobs))
        return lambda: {"photos": len(table), "mean": round(float(np.mean(crops)), 3)}

    return work


def _exact(folder, n):
    from miewid_lib import images

    table = pd.read_csv(folder / "boxes.csv")

    def work():
        crops = images.crops(table, folder / "photos", size_px=SIZE_PX)
        return lambda: {"photos": len(table), "mean": round(float(crops.mean()), 3)}

    return work


def _pillow(folder, n):
    import numpy as np
    from PIL import Image

    table = pd.read_csv(folder / "boxes.csv")

    def work():
        crops = []
        for row in table.itertuples():
            photo = Image.open(folder / "photos" / row.image_path).convert("RGB")
            box = (int(row.x), int(row.y), int(row.x) + int(row.w), int(row.y) + int(row.h))
            box = (
                max(0, box[0]),
                max(0, box[1]),
                min(photo.width, box[2]),
                min(photo.height, box[3]),
            )
            small = photo.crop(box).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)
            crops.append(np.array(small))
        return lambda: {"photos": len(table), "mean": round(float(np.mean(crops)), 3)}

    return work


def _image_folder(n_workers: int):
    def prepare(folder, n):
        from torch.utils.data import DataLoader
        from torchvision import datasets, transforms

        change = transforms.Compose([transforms.Resize((SIZE_PX,) * 2), transforms.ToTensor()])
        photos = datasets.ImageFolder(folder / "photos", change)
        loader = DataLoader(photos, batch_size=32, num_workers=n_workers)

        def work():
            seen = sum(len(batch) for batch, _ in loader)
            return lambda: {"photos": seen}

        return work

    return prepare


def _wildlife(folder, n):
    from torchvision import transforms
    from wildlife_tools.data import WildlifeDataset

    table = pd.read_csv(folder / "boxes.csv")
    table["bbox"] = table[["x", "y", "w", "h"]].astype(int).to_numpy().tolist()
    options = {"root": str(folder / "photos"), "col_path": "image_path", "img_load": "bbox"}
    change = transforms.Resize((SIZE_PX, SIZE_PX))
    photos = WildlifeDataset(table, transform=change, **options)

    def work():
        seen = sum(1 for _ in (photos[i] for i in range(len(photos))))
        return lambda: {"photos": seen}

    return work


def _bytes(folder, n):
    paths = sorted((folder / "photos").rglob("*.jpg"))

    def work():
        n_bytes = sum(len(path.read_bytes()) for path in paths)
        return lambda: {"photos": len(paths), "bytes": n_bytes}

    return work


OURS = {
    "miewid_lib decoding, as `embed` does, 2 threads": _ours,
    "miewid_lib images.crops, exact": _exact,
}
PEERS = {
    "Pillow: open, convert, crop, resize": _pillow,
    "ImageFolder and DataLoader (whole photos)": _image_folder(0),
    "ImageFolder and DataLoader, 2 workers (whole photos)": _image_folder(2),
    "wildlife-tools WildlifeDataset": _wildlife,
}
LIMITS = {"reading the files": _bytes}
