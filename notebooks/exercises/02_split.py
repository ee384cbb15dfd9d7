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
# # Exercises 2 · Who is seen, who is new
#
# They belong to [chapter 2](../../02_split.ipynb) and need `data/annotations.csv`,
# `data/crops.npz` and `data/split.csv`. Run the cells from top to bottom. Where it says *your
# turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import annotations, retrieval, splits
from miewid_lib.checks import data as checks
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "annotations.csv", made_by="01_dataset"))
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
parts = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))

# %% [markdown]
# ## 1 · Predict, then run: three numbers a photo
#
# Chapter 2 searched with thumbnails of 24 × 24 pixels. Take even less: the mean red, green and blue
# of a crop. How high is top-1, mean over species, with every photo allowed, and how high once the
# query's own encounter is left out? Write `prediction = (first, second)` in per cent.

# %%
### BEGIN SOLUTION
prediction = (40, 15)
### END SOLUTION

# %%
colours = crops.mean(axis=(1, 2))
colours = colours - colours.mean(axis=0)
ask = {"embeddings": colours, "identities": table["identity"], "groups": table["species"]}
answers = {name: retrieval.one_vs_rest(**ask, exclude=own)
           for name, own in (("all allowed", None), ("own out", table["encounter"]))}  # fmt: skip
askable = answers["own out"]["top1"].notna()
scores = pd.DataFrame({
    name: answer[askable].groupby("group")[["top1", "chance_top1"]].mean().mean()
    for name, answer in answers.items()
})  # fmt: skip
print("predicted:", prediction)
(100 * scores).round(1)

# %% [markdown]
# What did the mean colour recognise in the first column?

# %% [markdown] tags=["solution"]
# The sighting: its light and its background. They are the same in all photos of an encounter and
# hardly tell animals apart, so without the own encounter the score falls near to chance. A test
# that allows the own encounter praises whatever recognises light.

# %% [markdown]
# ## 2 · Fill in: the leak of a split
#
# Return the share (0 to 1) of test photos whose `encounter` also has photos in the training part.
# `parts` has the columns `part` (train, test or unused), `encounter` and `individual`.


# %%
def leak(parts):
    ### BEGIN SOLUTION
    train, test = (parts.loc[parts["part"] == part, "encounter"] for part in ("train", "test"))
    return test.isin(train).mean()
    ### END SOLUTION


checks.check_leak(leak)

# %% [markdown]
# Chapter 2 prints this share for a random split. Yours, for that split and for the book's:

# %%
naive = splits.random_split(table, seed=20241, train_share=0.7)
pd.Series({"random split": leak(naive), "split of the book": leak(parts)}).map("{:.0%}".format)

# %% [markdown]
# ## 3 · Fill in: one photo a sighting
#
# In the test, one photo of each identity in each encounter stays: the first by its
# `annotation_id` in the order of text. Return the ids that stay, as a `set`.


# %%
def one_an_encounter(test):
    ### BEGIN SOLUTION
    first = test.sort_values("annotation_id").drop_duplicates(["identity", "encounter"])
    return set(first["annotation_id"])
    ### END SOLUTION


checks.check_one_an_encounter(one_an_encounter)

# %% [markdown]
# How many photos does this rule cost, of those that the lot gave to the test?

# %%
in_test = parts[(parts["part"] == "test") | (parts["reason"] == splits.SAME_ENCOUNTER)]
f"{len(in_test)} photos, {len(one_an_encounter(in_test))} stay"

# %% [markdown]
# ## 4 · Change a parameter: roles by size
#
# In a terminal, in the folder of `dvc.yaml`, run
#
# ```sh
# dvc exp run -S split.order=by_size -s split
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock && dvc checkout data/split.csv   # back to the book
# ```
#
# The same rule here, without touching the book: photos that a test individual has in all.

# %%
table["photos"] = table.groupby(["species", "individual"])["annotation_id"].transform("size")
rules = {rule: splits.split(table, seed=20241, order=rule) for rule in ("random", "by_size")}
tests = pd.concat(rules, names=["rule"]).query("part == 'test'")
tests.groupby(["seen", "rule"])["photos"].mean().unstack().round(1)

# %% [markdown]
# Which column of `dvc exp show` changed, and which did not although the split is another one? Under
# `by_size`, could a lower score of unseen animals be blamed on their being new?

# %% [markdown] tags=["solution"]
# The parameter changed and no metric: `-s split` ran one stage, and the scores in that line still
# belong to the old split. A line of `dvc exp show` is only as new as the stages that were run. And
# no: under `by_size` the unseen animals are those with fewest photos, so being new and being rarely
# photographed cannot be told apart.
