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
# # Exercises 7 · How many photos does a catalogue need?
#
# They belong to [chapter 7](../../07_figure3.ipynb) and need `data/split.csv` and
# `data/embeddings.npz`. Run the cells from top to bottom. Where it says *your turn*, put your own
# lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
from math import comb

import numpy as np
import pandas as pd

from miewid_lib import annotations, catalogue
from miewid_lib.checks import ranking as checks
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
test = table[table["part"] == "test"].reset_index(drop=True)
vectors = np.load(need(ROOT / "data" / "embeddings.npz", made_by="04_evaluate"))
vectors = vectors["imagenet-seed0"]

# %% [markdown]
# ## 1 · Predict, then run: the population on the left
#
# Chapter 7 keeps the same queries at every number of own photos. Now let each point take all
# queries it can: those with at least *m* mates. More queries enter on the left. Will the first
# point move by more or by less than the last one? Write `prediction = "first"` or `"last"`.

# %%
### BEGIN SOLUTION
prediction = "first"
### END SOLUTION

# %%
sizes = [1, 2, 3, 4]
who = {"groups": test["species"], "exclude": test["encounter"]}
fixed = catalogue.own_photos(vectors, test["identity"], sizes=sizes, **who)
free = [catalogue.own_photos(vectors, test["identity"], sizes=[m], **who) for m in sizes]
curves = {name: part.groupby("n_own")["top1"].agg(["mean", "size"])
          for name, part in (("same queries", fixed), ("all it can", pd.concat(free)))}  # fmt: skip
print("predicted:", prediction)
pd.concat(curves, axis=1).round(3)

# %% [markdown]
# The last point is the same in both. Which of the two curves answers a project that asks whether a
# second photo of each animal is worth the trip?

# %% [markdown] tags=["solution"]
# The one with the same queries. In the other, animals with few photos leave from point to point, so
# a difference between two points is a difference between animals as well. It would be there even
# if more photos helped nobody.

# %% [markdown]
# ## 2 · Fill in: the chance of a hit
#
# A query has `mates` photos of its animal, of which `good` would be found first. Now `m` of the
# mates are drawn, all at once. What is the chance that a good one is among them? `comb(n, k)`
# counts the ways to choose k of n.


# %%
def hit_chance(good, mates, m):
    ### BEGIN SOLUTION
    return 1 - comb(mates - good, m) / comb(mates, m)
    ### END SOLUTION


checks.check_hit_chance(hit_chance)

# %% [markdown]
# Match a thousand draws, with two good mates of six:

# %%
rng = np.random.default_rng(2)
drawn = {m: np.mean([min(rng.choice(6, m, replace=False)) < 2 for _ in range(1000)])
         for m in (1, 2, 3)}  # fmt: skip
pd.DataFrame({"drawn": drawn, "counted": {m: hit_chance(2, 6, m) for m in drawn}}).round(3)

# %% [markdown]
# What is gained by counting instead of drawing?

# %% [markdown] tags=["solution"]
# The luck of the draws is gone, so two points of the curve differ only by what they are about. The
# page is also the same each time and takes no longer for large *m*. What is left is the luck of
# which animals were photographed, and the band of the figure is about that.

# %% [markdown]
# ## 3 · Change a parameter: a shorter curve
#
# In a terminal, in the folder of `dvc.yaml` (less than a minute):
#
# ```sh
# dvc exp run -S 'figure3.sizes=[1,2,3]' -s figure3
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# The network and the photos are the same. Why is top-1 with *one* own photo another number now?

# %% [markdown] tags=["solution"]
# A query enters if its animal has at least as many other sightings as the largest *m*. With three
# instead of five, more animals have enough, so the curve is about another population, and its first
# point is, too. Curves with different largest *m* cannot be laid over each other.
