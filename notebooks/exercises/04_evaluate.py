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
# # Exercises 4 · Asking one photo against the rest
#
# They belong to [chapter 4](../../04_evaluate.ipynb) and need `data/split.csv`,
# `data/embeddings.npz` and `data/per_query.csv`. Run the cells from top to bottom. Where it says
# *your turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import annotations, retrieval
from miewid_lib.checks import ranking as checks
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
test = table[table["part"] == "test"].reset_index(drop=True)
saved = np.load(need(ROOT / "data" / "embeddings.npz", made_by="04_evaluate"))
per_query = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
joint, imagenet = saved["multispecies-seed0"], saved["imagenet-seed0"]

# %% [markdown]
# ## 1 · Predict, then run: the query stays in the database
#
# Somebody forgets to take the query itself out of the database. What does top-1 become, in per
# cent, for the joint model and for one that was never trained to tell individuals apart? Write
# `prediction = (joint, imagenet)`.

# %%
### BEGIN SOLUTION
prediction = (100, 100)
### END SOLUTION

# %%
names = list(test["identity"])
wrong = {
    name: 100 * retrieval.query_database(vectors, names, vectors, names)["top1"].mean()
    for name, vectors in (("joint", joint), ("imagenet", imagenet))
}
print("predicted:", prediction)
pd.Series(wrong).round(1)

# %% [markdown]
# Such numbers have been published. How would you notice in a paper without its code?

# %% [markdown] tags=["solution"]
# The score does not depend on the model, nor on the number of animals: everyone finds the photo
# itself. A row for a network that never learned individuals would show it at once, and so would the
# chance level, which cannot explain a perfect score.

# %% [markdown]
# ## 2 · Fill in: top-1
#
# `vectors` [N, D] are not of length one, `names` [N] is an array of text. Return the share (0 to 1)
# of photos whose nearest *other* photo, by cosine, shows the same animal.


# %%
def top1(vectors, names):
    ### BEGIN SOLUTION
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T  # [query, candidate]
    np.fill_diagonal(similarity, -np.inf)
    return (names[similarity.argmax(axis=1)] == names).mean()
    ### END SOLUTION


checks.check_top1(top1)

# %% [markdown]
# Compare with the chapter's answers of the *first seed*, species by species. (Its printed table has
# the mean over the seeds, which differs.)

# %%
shown = per_query[(per_query["model"] == "multispecies") & (per_query["seed"] == 0)]
shown = shown.groupby("species")["top1"].mean()
rows = test.groupby("species").indices
mine = {name: top1(joint[i], test["identity"].to_numpy()[i]) for name, i in rows.items()}
both = pd.DataFrame({"yours": mine, "chapter 4, seed 0": shown})
both.round(3)

# %% [markdown]
# Where a lateral animal was seen from both sides in one encounter, the chapter leaves the other
# side out of the database (`exclude`), and you do not. In this herd that changes little or nothing.
#
# ## 3 · Fill in: average precision
#
# `ranks` are the ranks of a query's mates, from 1, in any order. Sort them; the *i*-th has rank
# *r*. Return the mean of *i/r*.


# %%
def average_precision(ranks):
    ### BEGIN SOLUTION
    ranks = np.sort(ranks)
    return np.mean(np.arange(1, len(ranks) + 1) / ranks)
    ### END SOLUTION


checks.check_average_precision(average_precision)

# %% [markdown]
# Two queries with the same top-1 and top-5, and mates at other places. Which has the higher average
# precision? Decide, then run.

# %%
{str(ranks): round(float(average_precision(ranks)), 2) for ranks in ([1, 2, 3, 40], [1, 6, 7, 8])}

# %% [markdown]
# When would a field project care about mAP, and when about top-5 alone?

# %% [markdown] tags=["solution"]
# Somebody who only wants to know *who it is* needs one mate among the first few: top-5. Whoever
# wants *all* photos of an animal, to build its history or to find wrong names in a catalogue, wants
# every mate far up the list: mAP.
