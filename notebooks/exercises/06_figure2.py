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
# # Exercises 6 · A species nobody trained on
#
# They belong to [chapter 6](../../06_figure2.ipynb) and need `data/per_query.csv`,
# `data/per_query_heldout.csv` and `data/split.csv`. Run the cells from top to bottom. Where it says
# *your turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import figures, retrieval
from miewid_lib.checks import learning, ranking
from miewid_lib.paths import ROOT, need

table = pd.read_csv(need(ROOT / "data" / "split.csv", made_by="02_split"))
saved = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
heldout = pd.read_csv(need(ROOT / "data" / "per_query_heldout.csv", made_by="06_figure2"))

# %% [markdown]
# ## 1 · Predict, then run: where does transfer fail?
#
# For which species does the network that never saw it gain *least* in top-1 over the ImageNet
# features? Look at the coats in chapter 1: which species has no cousin? Write
# `prediction = "name of a species"`.

# %%
### BEGIN SOLUTION
prediction = "green turtle"
### END SOLUTION

# %%
averaged = retrieval.mean_over_seeds(pd.concat([saved, heldout], ignore_index=True))
pair = [("heldout", "imagenet")]
gains = retrieval.compare(averaged, pair, seed=0, n_bootstrap=500)
gains = gains[gains["species"] != "mean"].sort_values("difference").set_index("species")
print("predicted:", prediction, "- place", 1 + list(gains.index).index(prediction))
(100 * gains[["difference", "difference_low", "difference_high"]]).round(1)

# %% [markdown]
# How many places of this order would you defend?

# %% [markdown] tags=["solution"]
# Few. The intervals of most species overlap with those of their neighbours in the table, so another
# set of animals could turn the order. What can be said is which intervals lie on one side of zero.
# And whoever looks for a reason only for the species that came last, will find one.

# %% [markdown]
# ## 2 · Fill in: who may learn from whom
#
# `by_size` lists the species from the most to the least photographed. They are dealt into `folds`
# parts like cards. Run `k` (from 0) leaves part `k` out. Give the `set` of species it learns from.


# %%
def learns(by_size, folds, k):
    ### BEGIN SOLUTION
    return set(by_size) - set(by_size[k::folds])
    ### END SOLUTION


learning.check_learns(learns)

# %% [markdown]
# Does it agree with the runs that chapter 3 wrote down?

# %%
folder = need(ROOT / "data" / "models" / "heldout", made_by="03_train")
answers = pd.read_csv(folder / "runs.csv").groupby("run")["species"].agg(set)
tested = set(table.loc[table["part"] == "test", "species"])
by_size = [name for name in table["species"].value_counts().index if name in tested]
for k, left_out in enumerate(answers):
    assert learns(by_size, len(answers), k) == set(by_size) - left_out, answers.index[k]
answers.map(sorted).to_frame("never seen")

# %% [markdown]
# Why like cards, and not the largest species into the first part?

# %% [markdown] tags=["solution"]
# A part of the largest species would take most photos away at once, and the run without it would
# learn from little. Dealt like cards, every run loses about the same, so the parts can be compared.

# %% [markdown]
# ## 3 · Fill in: hits from ranks
#
# `first_rank` [N] is the rank of the best mate of each query, NaN where the animal has no other
# photo. Give 1.0 where it is among the first `k`, 0.0 where not, and NaN where nobody can say.


# %%
def hits(first_rank, k):
    ### BEGIN SOLUTION
    return np.where(np.isnan(first_rank), np.nan, first_rank <= k)
    ### END SOLUTION


ranking.check_hits(hits)

# %% [markdown]
# The queries of one species, from top-1 to top-20, beside guessing. Where is the distance largest?

# %%
some = heldout[heldout["species"] == heldout["species"].value_counts().index[0]]
ks = (1, 5, 10, 20)
mine = [np.nanmean(hits(some["first_rank"].to_numpy(), k)) for k in ks]
assert np.allclose(mine, [some[f"top{k}"].mean() for k in ks]), "chapter 6 counts differently"
chance = [some[f"chance_top{k}"].mean() for k in ks]
lines = pd.DataFrame({"k": ks, "network": mine, "guessing": chance}).melt("k", var_name="who")
figures.curves(lines, x="k", y={"value": "top-k"}, hue="who")

# %% [markdown]
# The paper shows top-5 for unseen species. What speaks for it, and what against?

# %% [markdown] tags=["solution"]
# A person looks through five candidates quickly, so top-5 is how such a system would be used. But
# among few animals guessing often hits among five as well: the score is high and the distance to
# chance is what counts. So top-1 and chance belong beside it.
