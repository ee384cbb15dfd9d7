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
# # Exercises 5 · One model for all, or one a species?
#
# They belong to [chapter 5](../../05_figure1.ipynb) and need `data/per_query.csv`. Run the cells
# from top to bottom. Where it says *your turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import retrieval
from miewid_lib.checks import comparing as checks
from miewid_lib.paths import ROOT, need

per_query = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
averaged = retrieval.mean_over_seeds(per_query)

# %% [markdown]
# ## 1 · Predict, then run: fewer resamples
#
# The interval of the mean difference rests on 2000 resamples. Suppose it is computed ten times,
# with ten seeds: by how many points does its lower end jump (as a standard deviation) with 50
# resamples, and with 2000? Write `prediction = (points with 50, points with 2000)`.

# %%
### BEGIN SOLUTION
prediction = (0.8, 0.1)
### END SOLUTION

# %%
rows = []
for n_bootstrap in (50, 2000):
    for seed in range(10):
        options = {"seed": seed, "n_bootstrap": n_bootstrap}
        table = retrieval.compare(averaged, [("multispecies", "single")], **options)
        mean = table.set_index("species").loc["mean"]
        rows.append({"resamples": n_bootstrap, "low": mean["difference_low"],
                     "width": mean["difference_high"] - mean["difference_low"]})  # fmt: skip
print("predicted:", prediction)
(100 * pd.DataFrame(rows).set_index("resamples")).groupby("resamples").agg(["mean", "std"]).round(2)

# %% [markdown]
# In points; the spread of the lower end is `low`, `std`. The width is nearly the same in both rows.
# Which two things are often confused here, and which of them gets smaller with more animals?

# %% [markdown] tags=["solution"]
# The width of the interval says how much other *animals* would change the result; only more animals
# make it narrower. The spread of its ends over seeds says how well the interval was *computed*;
# more resamples make that smaller, and that costs seconds instead of field work. (With 50 the width
# comes out a little too small: the extremes of a few draws are not extreme enough.)

# %% [markdown]
# ## 2 · Fill in: a paired difference
#
# `a` and `b` [N] are the scores of two models on the same queries, `species` [N] is an array of
# text. Return the mean over species of the mean difference a - b of their queries.


# %%
def difference(a, b, species):
    ### BEGIN SOLUTION
    gain = a - b
    return np.mean([gain[species == name].mean() for name in np.unique(species)])
    ### END SOLUTION


checks.check_difference(difference)

# %% [markdown]
# The line of figure 1, by your function and by the table of the chapter:

# %%
wide = averaged.pivot(index=["species", "query"], columns="model", values="top1").dropna()
names = wide.index.get_level_values("species").to_numpy()
mine = difference(wide["multispecies"].to_numpy(), wide["single"].to_numpy(), names)
shown = pd.read_csv(need(ROOT / "reports" / "tables" / "figure1.csv", made_by="05_figure1"))
shown = shown[(shown["model_b"] == "single") & (shown["species"] == "mean")]["difference"].item()
f"yours {100 * mine:.1f}, chapter 5 {100 * shown:.1f} points"

# %% [markdown]
# ## 3 · Fill in: one draw of animals
#
# `animals` [N] names the animal of each query, `rng` is a NumPy Generator. Draw as many animals as
# there are, with replacement. Give the row numbers of all queries of those drawn; an animal that
# was drawn twice brings its rows twice.


# %%
def draw(animals, rng):
    ### BEGIN SOLUTION
    names = np.unique(animals)
    drawn = rng.choice(names, size=len(names))
    return np.concatenate([np.flatnonzero(animals == name) for name in drawn])
    ### END SOLUTION


checks.check_draw(draw)

# %% [markdown]
# What if single photos were drawn instead of animals? One species, both ways:

# %%
zebra = averaged[(averaged["model"] == "multispecies")]
zebra = zebra[zebra["species"] == zebra["species"].value_counts().index[0]].dropna(subset="top1")
hits, animals = zebra["top1"].to_numpy(), zebra["identity"].to_numpy()
rng = np.random.default_rng(1)
means = {
    "animals": [hits[draw(animals, rng)].mean() for _ in range(1000)],
    "photos": [rng.choice(hits, len(hits)).mean() for _ in range(1000)],
}
pd.DataFrame(means).quantile([0.025, 0.975]).round(3)

# %% [markdown]
# Which interval would you print, and why is it not always the wider one?

# %% [markdown] tags=["solution"]
# That of the animals, since a claim is about other animals and not about other photos of the same
# ones. It is wider where the photos of an animal succeed or fail together. Where an animal's photos
# are as unlike as those of two animals, both intervals are about the same, and in a single draw of
# a thousand either may be a little wider.

# %% [markdown]
# ## 4 · Change a parameter: a quick look
#
# In a terminal, in the folder of `dvc.yaml` (some seconds):
#
# ```sh
# dvc exp run -S figure1.n_bootstrap=50 -s figure1
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# Which columns of the table changed? Which number is the same to the last digit, and why?

# %% [markdown] tags=["solution"]
# The parameter and the ends of the intervals. The differences themselves stay, since they are means
# over the queries and no resample enters them. Metrics of other chapters are the same, too: no
# other stage was run.
