# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · From photos to one table of annotations
#
# **Question.** Photos of animals arrive from many places, in folders with files of boxes and
# names. What has to be true of them before a network may learn from them, and what is lost on the
# way?
#
# After this page you can read a COCO-style folder into one table, say what an *identity* and an
# *encounter* are, account for every annotation that is left out, and cut a crop by hand.
#
# | Reads | Writes |
# | --- | --- |
# | `data/photos` | `data/annotations.csv` |
# | | `data/crops.npz` |
# | | `data/dropped.csv` |
#
# Takes about one minute.
#
# The photos of the classroom are *drawn by a program*. No such animal exists, and no result on
# them says how well the method knows real ones. They need no download and show every difficulty in
# small: few photos of most individuals, changing light, bodies that bend, boxes that are wrong.
# The same page runs on folders of real photos; the README says how.

# %% tags=["parameters"]
seed = 20241  # which animals are shown as examples
size_px = 72  # width and height of a crop
min_side_px = 24  # smaller boxes hold too little coat to know anyone by
min_quality = 0.2  # where a source gives a quality from 0 to 1
lateral = ["plains zebra", "giraffe", "tiger", "leopard", "brown trout"]  # sides differ
rename_species = {}  # source folder: species label, where two sources share one name

# %% [markdown]
# ## What is in the folders?
#
# Each source is a folder with photos and a file that says what they show: JSON as Wildbook and
# COCO write it, or a CSV table. `read_folder` joins all of them into one table. A file that is not
# what it claims to be stops the page with one line naming the file and the entry, since a guess
# here would become a wrong number in chapter 5.

# %%
from miewid_lib.paths import ROOT, need
from miewid_lib.sources import coco

photo_root = need(ROOT / "data" / "photos", made_by="dvc repro data/dvc.yaml:photos")
everything = coco.read_folder(photo_root, rename_species=rename_species)
everything.sample(5, random_state=seed).drop(columns=["theta_rad", "identity", "source", "date"])

# %% [markdown]
# A line is an **annotation**: one animal in one photo. The sample leaves out four of the columns;
# all of them, and what they hold:

# %%
import pandas as pd

from miewid_lib import annotations

pd.set_option("display.max_colwidth", None)
pd.Series(dict(annotations.COLUMNS), name="meaning").to_frame()

# %% [markdown]
# Every page of this book passes this table on. How much does each source bring?

# %%
everything.groupby("source").agg(
    photos=("image_path", "nunique"),
    annotations=("annotation_id", "size"),
    individuals=("individual", "nunique"),
)

# %% alt="One photo as it came from the camera, a box drawn round each animal"
from miewid_lib import figures, images

busy = everything.dropna(subset="individual").groupby("image_path").size().idxmax()
figures.boxes(images.load(photo_root / busy), everything[everything["image_path"] == busy])

# %% [markdown]
# One photo, its boxes and their names. A photo of two animals gives two lines and two crops. A
# program that keys its crops by photo mixes them up; public code has done so, and a wrong crop is
# hard to notice among thousands.
#
# ## Who counts as one?
#
# The network learns to tell **identities** apart. Two rules make one. The species is part of it:
# two species may both have an animal called *7*. And where the two sides of a body carry unrelated
# patterns, left and right are two identities, since nobody could match them from photos. The
# second rule is a biological statement about a species, so it is a list and not a switch for all.

# %%
everything = annotations.set_identity(everything, lateral=lateral)
sides = everything.groupby("species").agg(
    individuals=("individual", "nunique"), identities=("identity", "nunique")
)
sides.assign(lateral=sides.index.isin(lateral))

# %% [markdown]
# Where the two numbers differ, sides count apart. They need not be doubled, since many an animal
# was photographed from one side only. In all other species the table has one identity for each
# individual.
#
# ## What is an encounter?
#
# Photos of one animal taken within minutes share the light, the background and the pose; such a
# series is one **encounter**. Matching two photos of one encounter is easy and proves little, so
# the table has to carry it. Where a source has only groups of near-duplicates (bursts) or runs of
# video frames, those stand in. A photo about which nothing is known is an encounter of its own.

# %%
known = annotations.fill_encounters(everything)
named = known.dropna(subset="individual")
per_animal = named.groupby("identity")["encounter"].agg(["nunique", "size"])
shown = per_animal[per_animal["nunique"].between(3, 5)].sort_values("size").index[-1]
album = named[named["identity"] == shown].sort_values("encounter")

# %% [markdown]
# One animal, one row an encounter. Within a row much more stays the same than the coat.

# %% alt="Crops of one animal, a row an encounter, with the same light in a row" tags=["hide-input"]
rows = {
    f"encounter {i + 1}": [
        images.crop(images.load(photo_root / r.image_path), (r.x, r.y, r.w, r.h), size_px=size_px)
        for r in group.head(6).itertuples()
    ]
    for i, (_, group) in enumerate(album.groupby("encounter"))
}
figures.photo_grid(rows)

# %% [markdown]
# ## What has to go?
#
# Some annotations cannot be used: nobody knows who it is, the file is missing or broken, the box
# is empty, lies outside its photo or is too small to show a coat, or the source itself calls the
# quality poor. They leave *with a reason*, and the reasons are counted. A silent filter is where
# wrong denominators come from.

# %%
table, dropped = annotations.clean(
    known, photo_root, min_side_px=min_side_px, min_quality=min_quality
)
print(f"{len(known)} annotations read, {len(table)} kept, {len(dropped)} dropped")

# %% [markdown]
# Read the next table by rows: which reasons dominate, and does one species lose much more than the
# others? Then look at the numbers for the whole.

# %%
reasons = dropped.groupby(["reason", "species"]).size().unstack(fill_value=0)
reasons.assign(all=reasons.sum(axis=1))

# %% [markdown]
# Look at a few of them, whole photos with their boxes (one that lies outside cannot be seen). For
# each row, is it the photo that is at fault, the box, or neither, so that only a name is missing?

# %% alt="Photos that were dropped and their boxes, one row for each reason"
import numpy as np
from PIL import Image, ImageDraw

readable = dropped[~dropped["reason"].isin(["photo missing", "photo unreadable"])]
examples = readable.groupby("reason").head(3)
faulty = {reason: [] for reason in examples["reason"]}
for r in examples.itertuples():
    photo = Image.fromarray(images.load(photo_root / r.image_path))
    corners = np.nan_to_num([r.x, r.y, r.x + max(r.w, 0), r.y + max(r.h, 0)])
    width_px = max(3, photo.width // 80)
    ImageDraw.Draw(photo).rectangle(corners.tolist(), outline=figures.QUERY, width=width_px)
    faulty[r.reason].append(np.asarray(photo))
figures.photo_grid(faulty, size_in=1.6) if faulty else "no dropped photo can be shown"

# %% [markdown]
# A box that only sticks out a little is kept and cut at the edge; it goes when more than half of
# it lies outside.
#
# ## Cutting a crop by hand
#
# A crop is the content of the box, resized to a square. The aspect ratio is not kept: the network
# wants squares, and stretching keeps more of the animal than padding would. By hand, for a box
# that is not turned, that is one slice and one resize.

# %%
row = table[(table["theta_rad"] == 0)].iloc[0]
photo = images.load(photo_root / row["image_path"])
x, y, w, h = (int(value) for value in row[["x", "y", "w", "h"]])  # whole pixels
window = photo[max(0, y) : y + h, max(0, x) : x + w]
window.shape

# %% [markdown]
# Resizing must not invent patterns: every third pixel of a fine stripe makes a coarse one. An
# antialiasing kernel averages first. The public code shrank with one kernel in training and
# another in testing; here one function cuts every crop, and our hand-made one agrees with it.

# %%
by_hand = np.asarray(Image.fromarray(window).resize((size_px, size_px), Image.Resampling.BILINEAR))
by_library = images.crop(photo, tuple(row[["x", "y", "w", "h"]]), size_px=size_px)
int(np.abs(by_hand.astype(int) - by_library).max())

# %% [markdown]
# The largest difference over all pixels, in grey levels. This is the library's function; the part
# that we did not do by hand is the turned box, which reads one affine window instead of turning
# the whole photo.

# %%
import inspect

print(inspect.getsource(images.crop))

# %% [markdown]
# ## A look at every species
#
# First the scenes, as they came out of the camera: four of each species.

# %% alt="Whole scenes before cropping, four photos of each species"
shuffled = table.sample(frac=1, random_state=seed)
scenes = shuffled.groupby("species").head(4).groupby("species")["image_path"]
photos = {name: [images.load(photo_root / path) for path in some] for name, some in scenes}
figures.photo_grid(photos, size_in=1.5)

# %% [markdown]
# Then the crops, for all annotations at once, each photo decoded once.

# %%
crops = images.crops(table, photo_root, size_px=size_px)
crops.shape

# %% [markdown]
# A number alone would hide a wrong crop, so we look. One row a species, eight photos drawn at
# random, different individuals side by side.

# %% alt="One row a species, eight crops each, different individuals side by side"
rng = np.random.default_rng(seed)
sheet = {
    species: list(crops[rng.choice(where, size=min(8, len(where)), replace=False)])
    for species, where in table.reset_index(drop=True).groupby("species").indices.items()
}
figures.photo_grid(sheet)

# %% [markdown]
# Ask yourself which of these rows you could tell apart, and by what. The network will have to find
# that out without being told where to look.
#
# ## How much is there of everyone?

# %% alt="Annotations and individuals of each species, and how unevenly photos are spread"
figures.counts(table)

# %% [markdown]
# Look for long tails: a few species with most of the photos, and in each species a few individuals
# with many while most have a handful. (Sources that were balanced by hand show short boxes
# instead.) The paper's data have both tails on a larger scale: 225,374 annotations of 37,138
# individuals in 49 species, with a median of 3 for each individual. Much of what follows, the
# margins of the loss, the rules of the split, intervals instead of bare numbers, exists because of
# them.
#
# ## Check
#
# What later pages rely on: no id twice, a crop for each line, every line kept or counted as
# dropped, and nobody without a name.

# %%
assert table["annotation_id"].is_unique
assert len(table) == len(crops) and len(table) + len(dropped) == len(everything)
assert table[["individual", "encounter", "identity"]].notna().all().all()
annotations.check(table).groupby("species")["identity"].nunique()

# %% [markdown]
# ## Save
#
# One cell writes, and only this one.

# %%
annotations.write(table, ROOT / "data" / "annotations.csv")
annotations.write(dropped, ROOT / "data" / "dropped.csv")
np.savez(ROOT / "data" / "crops.npz", crops=crops, annotation_id=list(table["annotation_id"]))

# %% [markdown]
# ## What we learned
#
# An identity is a species, an individual and, where biology says so, a side. An encounter is what
# a test must not exploit. Whatever is left out is counted. One function makes every crop.
#
# **Differences from the paper.** MiewID was trained on exports of Wildbook and of public data sets
# that were cleaned by their projects. Its public code can set the rule for sides only for all
# species at once, and a missing name there could become an individual called *nan*. The crops are
# smaller here than the 256 and 440 pixels of the paper.
#
# **Exercises.** (1) Set `min_side_px` to 60. Which species loses most, and why? (2) Take a species
# out of `lateral`. What happens to the number of photos each identity has, and what would the
# network now be asked to learn? (3) Find the animal with the most encounters and lay out its album.
#
# With hints and checks: [the sheet of chapter 1](exercises/sheets/01_dataset.ipynb).
#
# Next: [2 · Who is seen, who is new](02_split.ipynb)
