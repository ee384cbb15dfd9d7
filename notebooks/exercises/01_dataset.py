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
# # Exercises 1 · From photos to one table of annotations
#
# They belong to [chapter 1](../../01_dataset.ipynb) and need its table `data/annotations.csv` and
# the photos. Run the cells from top to bottom; an error is one line that says what to do. Where it
# says *your turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
from miewid_lib import annotations, figures, images
from miewid_lib.checks import data as checks
from miewid_lib.paths import ROOT, need

photo_root = need(ROOT / "data" / "photos", made_by="dvc repro data/dvc.yaml:photos")
table = annotations.read(need(ROOT / "data" / "annotations.csv", made_by="01_dataset"))

# %% [markdown]
# ## 1 · Predict, then run: smaller boxes leave
#
# Chapter 1 drops boxes with a side below 24 pixels. Suppose the limit were 60. Which species would
# lose the largest share of its annotations? Look at the scenes of the chapter before you decide,
# and write `prediction = "name of a species"`.

# %%
### BEGIN SOLUTION
prediction = "brown trout"
### END SOLUTION

# %% [markdown]
# Now the shares, largest first:

# %%
small = table[["w", "h"]].min(axis=1) < 60
lost = small.groupby(table["species"]).mean().sort_values(ascending=False)
print("predicted:", prediction, "- place", 1 + list(lost.index).index(prediction))
lost.rename("share that would leave").round(2).to_frame()

# %% [markdown]
# Why this species and not another one? And why does a higher limit make the score of a model
# better without making the model better?

# %% [markdown] tags=["solution"]
# The body fills only a narrow box: long and flat animals have one short side, however near the
# camera is. What counts in `min_side_px` is the shorter side. A higher limit takes away the photos
# that are hard for everybody, so the score speaks of an easier set. Compare models only on the same
# annotations, and print how many were dropped.

# %% [markdown]
# ## 2 · Fill in: what a box shows
#
# A box is (x, y, width, height) in whole pixels and may stick out of its photo. Return the tuple
# `(left, top, right, bottom)` of the part that can be cut, clipped to the photo; `right` and
# `bottom` are the first pixels *outside*.


# %%
def window(box, width_px, height_px):
    ### BEGIN SOLUTION
    x, y, w, h = box
    return max(0, x), max(0, y), min(width_px, x + w), min(height_px, y + h)
    ### END SOLUTION


checks.check_window(window)

# %% [markdown]
# With it you cut crops as the library does. Upper row yours, lower row the library's:

# %%
rows = table[table["theta_rad"] == 0].sample(6, random_state=5)
mine, library = [], []
for row in rows.itertuples():
    photo = images.load(photo_root / row.image_path)
    box = (int(row.x), int(row.y), int(row.w), int(row.h))
    left, top, right, bottom = window(box, photo.shape[1], photo.shape[0])
    mine.append(photo[top:bottom, left:right])
    library.append(images.crop(photo, box))
figures.photo_grid({"yours": mine, "library": library})

# %%
assert all((a == b).all() for a, b in zip(mine, library, strict=True)), "one crop differs"

# %% [markdown]
# ## 3 · Fill in: who counts as one?
#
# Return the class of an annotation as one text: `species|individual`, and
# `species|individual|viewpoint` where the species is in the list `lateral` and the viewpoint is
# known (it is `None` otherwise).


# %%
def identity(species, individual, viewpoint, lateral):
    ### BEGIN SOLUTION
    parts = [species, individual]
    if species in lateral and viewpoint is not None:
        parts.append(viewpoint)
    return "|".join(parts)
    ### END SOLUTION


checks.check_identity(identity)

# %% [markdown]
# The chapter's own list gives the chapter's own number of identities. What does the empty list
# give?

# %%
lateral = ["plains zebra", "giraffe", "tiger", "leopard", "brown trout"]
columns = table[["species", "individual", "viewpoint"]].astype(object)
columns = columns.where(columns.notna(), None)
counted = {
    name: len({identity(*row, chosen) for row in columns.itertuples(index=False)})
    for name, chosen in (("chapter 1", lateral), ("empty list", []))
}
counted | {"column identity": table["identity"].nunique()}

# %% [markdown]
# With the empty list a zebra's two flanks are one class. What would the network be asked to learn?

# %% [markdown] tags=["solution"]
# That two unrelated patterns are the same animal. It can do so only by heart, photo by photo, since
# nothing in the left flank tells the right one. In the test, a left photo would be expected to find
# right ones, which nobody could.
