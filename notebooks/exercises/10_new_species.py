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
# # Exercises 10 · A new species arrives
#
# They belong to [chapter 10](../../10_new_species.ipynb) and need `data/new_species.csv`. Nothing
# is trained here. Run the cells from top to bottom. Where it says *your turn*, put your own lines
# in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
from itertools import pairwise
from math import ceil

import numpy as np
import pandas as pd

from miewid_lib import retrieval
from miewid_lib.checks import learning as checks
from miewid_lib.paths import ROOT, need

answers = pd.read_csv(need(ROOT / "data" / "new_species.csv", made_by="10_new_species"))
new = answers[answers["kind"] == "new"]

# %% [markdown]
# ## 1 · Predict, then run: the first photos
#
# On the smallest part of the newcomers, which way comes first, and which comes last: `heldout` (do
# nothing), `scratch`, `finetuned` or `joint`? Write `prediction = ["best", ..., "worst"]`.

# %%
### BEGIN SOLUTION
prediction = ["joint", "finetuned", "heldout", "scratch"]
### END SOLUTION

# %%
first = new[new["share"].isin([0, new.loc[new["share"] > 0, "share"].min()])]
means = {
    way: retrieval.species_mean(part, by="species", seed=0, n_bootstrap=500)
    for way, part in first.groupby("way")
}
means = pd.concat(means).droplevel(1).sort_values("top1", ascending=False)
print("predicted:", prediction)
means[["n_queries", "chance_top1", "top1", "top1_low", "top1_high"]].round(3)

# %% [markdown]
# The intervals of some ways overlap. May one still say that one of them is better?

# %% [markdown] tags=["solution"]
# Perhaps. All ways answered the same queries, and what makes an animal hard is in both intervals.
# The interval of the paired *difference* decides; two intervals that overlap do not.

# %% [markdown]
# ## 2 · Fill in: a part of the queue
#
# `queue` lists individuals in the order of the lot. Give those of a `share` of it: the first ones,
# as many as the nearest whole number, and two at least.


# %%
def part(queue, share):
    ### BEGIN SOLUTION
    return queue[: max(2, round(share * len(queue)))]
    ### END SOLUTION


checks.check_part(part)

# %% [markdown]
# Nested parts, beside parts that are drawn anew in each step. How many individuals are in both of
# two neighbouring steps?

# %%
animals = [f"animal {i}" for i in range(20)]
rng = np.random.default_rng(3)
shares = [0.25, 0.5, 0.75, 1.0]
queues = {"nested": [animals] * 4, "anew": [list(rng.permutation(animals)) for _ in shares]}
steps = {
    name: [set(part(queue, share)) for queue, share in zip(each, shares, strict=True)]
    for name, each in queues.items()
}
pd.DataFrame({
    name: [f"{len(a & b)} of {len(a)}" for a, b in pairwise(each)]
    for name, each in steps.items()
})  # fmt: skip

# %% [markdown]
# ## 3 · Fill in: epochs that make enough steps
#
# A part of `n_photos` photos is trained for `epochs` epochs, or for more, until at least
# `min_steps` steps are made. A last batch of a single photo is left out. Give the number of epochs.


# %%
def epochs_needed(n_photos, batch_size, epochs, min_steps):
    ### BEGIN SOLUTION
    steps = ceil((n_photos - 1) / batch_size)  # in each epoch
    return max(epochs, ceil(min_steps / steps))
    ### END SOLUTION


checks.check_epochs(epochs_needed)

# %% [markdown]
# The parts of the chapter: photos, and the epochs they were trained for.

# %%
alone = new[new["way"] == "scratch"].drop_duplicates(["species", "share"])
alone = alone.set_index(["species", "share"])["n_photos"]
epochs = alone.map(lambda n: epochs_needed(n, batch_size=32, epochs=10, min_steps=40))
pd.DataFrame({"photos": alone, "epochs": epochs}).unstack("share")

# %% [markdown]
# Why not simply the same number of epochs for all parts?

# %% [markdown] tags=["solution"]
# The smallest part would make a handful of steps and its network would hardly have moved from its
# start. A low score would then say that it was not trained, and not that its photos are too few.

# %% [markdown]
# ## 4 · Change a parameter: nothing frozen
#
# This takes as long as chapter 10, some minutes:
#
# ```sh
# dvc exp run -S new_species.frozen_epochs=0 -s new_species claims
# dvc exp show --only-changed
# ```
#
# `dvc exp show` lists how many claims were replicated. Is that a good measure of what you changed?
# Which table would you look at instead?

# %% [markdown] tags=["solution"]
# A count of verdicts is coarse: it moves only where an interval crosses zero, and may then move by
# a hair. The tables of chapter 10 show the differences with their intervals, for the newcomers and
# for what is forgotten of the old species.
