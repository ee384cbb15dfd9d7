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
# # Exercises 3 · One embedding for all species
#
# They belong to [chapter 3](../../03_train.ipynb) and need `data/split.csv` and the joint model in
# `data/models/multispecies`. Nothing is trained here. Run the cells from top to bottom. Where it
# says *your turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd
import torch

from miewid_lib import annotations, figures, losses, models
from miewid_lib.checks import learning as checks
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
folder = need(ROOT / "data" / "models" / "multispecies", made_by="03_train")

# %% [markdown]
# ## 1 · Predict, then run: how much margin is too much?
#
# A photo points 40° from its own identity and 60° from another one. ArcFace turns the own angle
# away by a margin. From which margin on, in radians, does the photo look closer to the *other*
# identity? Write `prediction = number`.

# %%
### BEGIN SOLUTION
prediction = np.radians(60 - 40)
### END SOLUTION

# %%
margins_rad = np.linspace(0, 0.6, 25)
own = np.cos(np.radians(40) + margins_rad)
lines = pd.DataFrame({"margin": margins_rad, "own": own, "other": np.cos(np.radians(60))})
crossing = margins_rad[own < np.cos(np.radians(60))][0]
print(f"predicted {prediction:.2f}, first margin of the grid beyond it {crossing:.2f}")
figures.curves(lines.melt("margin"), x="margin", y={"value": "cosine"}, hue="variable")

# %% [markdown]
# Does the network do worse when its photos look closer to others during training?

# %% [markdown] tags=["solution"]
# No. The margin is there in training alone, and makes the loss ask for more: the photo must come
# closer to its own direction than it would have to without. In the test, angles are taken as they
# are. Too wide a margin asks for what no photo can reach, and then the loss stops teaching.

# %% [markdown]
# ## 2 · Fill in: GeM
#
# `features` is [C, height, width], all positive. Give the generalised mean with the power `p` of
# each channel: [C].


# %%
def gem(features, p):
    ### BEGIN SOLUTION
    return (features**p).mean(axis=(1, 2)) ** (1 / p)
    ### END SOLUTION


checks.check_gem(gem)

# %% [markdown]
# Match the library, and look up which power the joint model ended with:

# %%
net = models.load(folder / "all_species-seed0.safetensors")
grid = np.random.default_rng(0).random((4, 3, 3)).astype("float32") + 0.1
with torch.no_grad():
    by_library = net.pooling(torch.from_numpy(grid)[None])[0].numpy()
p = net.pooling.p.item()
assert np.allclose(gem(grid, p), by_library, atol=1e-5), "the library pools differently"
f"learned power: {p:.2f}"

# %% [markdown]
# ## 3 · Fill in: dynamic margins
#
# With *t* = n^(-1/4) for *n* photos, the margin runs from `low` at the smallest *t* to `high` at
# the largest, in proportion to *t*. If all counts are equal, everyone gets `high`. `counts` is an
# array.


# %%
def margins(counts, low, high):
    ### BEGIN SOLUTION
    t = counts**-0.25
    span = t.max() - t.min()
    share = (t - t.min()) / span if span > 0 else np.ones(len(t))
    return low + (high - low) * share
    ### END SOLUTION


checks.check_margins(margins)

# %% [markdown]
# The chapter's picture of the rule, this time from your function:

# %%
photos = table.loc[table["part"] == "train", "identity"].value_counts().to_numpy()
mine = margins(photos.astype(float), 0.2, 0.3284)
assert np.allclose(mine, losses.dynamic_margins(photos, margin_max_rad=0.3284)), "not the library's"
rule = pd.DataFrame({"photos": photos, "margin": mine}).drop_duplicates()
figures.curves(rule, x="photos", y={"margin": "margin in radians"})

# %% [markdown]
# ## 4 · Change a parameter: no margin at all
#
# If you have some minutes, train the single models without a margin, and ask them:
#
# ```sh
# dvc exp run -S train.margin_min_rad=0.0 -S train.margin_max_rad=0.0 \
#     -s train@single_matched evaluate figure1
# dvc exp show --only-changed
# ```
#
# The loss in `data/models/single_matched/log.csv` is lower now. Has the network become better?
# Which number of `dvc exp show` answers, and what does its interval have to do with it?

# %% [markdown] tags=["solution"]
# A lower loss proves nothing: without a margin the question is easier. Only the test photos can
# say, so look at `multispecies_minus.single_matched.difference` of figure 1, which compares with a
# joint model that was not trained again. Its change from one line to the other counts only if it is
# large beside the interval, and beside what a second seed would have changed.
