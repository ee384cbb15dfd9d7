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
# # 7 · How many photos does a catalogue need?
#
# **Question.** Somebody builds a catalogue of a new population. Is one photo of each animal enough,
# or must there be five?
#
# After this page you can draw a curve over the number of photos that does not compare different
# animals at its two ends, compute each of its points exactly instead of by repeated draws, and read
# off where more photos stop paying. This is figure 3 of the paper.
#
# | Reads | Writes |
# | --- | --- |
# | `data/split.csv` | `reports/figures/figure3.png` |
# | `data/crops.npz` | `reports/tables/figure3.csv` |
# | `data/models/heldout` | `reports/tables/figure3_steps.csv` |
# | | `reports/metrics/figure3.json` |
#
# Takes less than a minute.

# %% tags=["parameters"]
seed = 20241  # of the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
sizes = [1, 2, 3, 4, 5]  # numbers m of the animal's own photos in the database
n_bootstrap = 2000  # resamples behind each band

# %% [markdown]
# ## The wrong curve first
#
# The obvious way is to sort the queries by the number of photos their animal happens to have, and
# to average each group. But animals with many photos are different animals: bolder, closer to the
# road, better lit. A rise of that curve may say nothing about photos. We want the *same* queries at
# every point, and only the database to change.
#
# ## By hand
#
# A query has three other photos of its animal, its **mates**. Between them and the query stand
# photos of other animals: none ahead of the first mate, two ahead of the second, nine ahead of the
# third. With all three in the database the nearest photo is the first mate, so top-1 is a hit.
# Which of the three would be there if the catalogue had only one, or two?

# %%
from itertools import combinations, pairwise

import numpy as np

ahead = [0, 2, 9]  # other animals' photos that are closer to the query than each mate
chance_of_hit = {}
for m in (1, 2, 3):
    draws = list(combinations(ahead, m))
    chance_of_hit[m] = float(np.mean([min(drawn) == 0 for drawn in draws])).__round__(3)
chance_of_hit

# %% [markdown]
# One mate of three is good enough, so a single photo in the catalogue hits in a third of all
# cases, and two in two thirds. No draw is needed: with *g* good mates out of *M*, the chance
# that *m* drawn ones miss them all is the number of ways to choose *m* from the bad ones, divided
# by the ways to choose *m* from all. The library counts that way; here are the same three mates as
# vectors.

# %%
from miewid_lib import catalogue

angles = np.radians([0, 10, 30, 60, *[20] * 2, *[40] * 7])  # the query, its mates, 2 + 7 others
names = ["Ada"] * 4 + [f"other {i}" for i in range(9)]
photos = np.c_[np.cos(angles), np.sin(angles)]
by_library = catalogue.own_photos(photos, names, sizes=[1, 2, 3])
by_library[by_library["query"] == 0][["n_own", "n_mates", "top1", "top5"]].round(3)

# %% [markdown]
# ## Whose photos?
#
# The paper asks this of species that the network was *not* trained on, since that is when somebody
# builds a catalogue. So we take the `heldout` networks of chapter 6. They never saw any photo of
# their species, hence all photos of it may be used, those of chapter 2's training part too. Of each
# encounter one photo stays, the first by its id, so that one sighting is one photo.

# %%
import pandas as pd

from miewid_lib import annotations
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
folder = need(ROOT / "data" / "models" / "heldout", made_by="03_train")
runs = pd.read_csv(folder / "runs.csv")
table["row"] = np.arange(len(table))
answered = table[table["species"].isin(runs["species"])].sort_values("annotation_id")
pictures = answered.drop_duplicates(["identity", "encounter"]).reset_index(drop=True)

# %% [markdown]
# How many animals of each species have enough of them?

# %%
by_animal = pictures.groupby(["species", "identity"]).size()
enough = by_animal > max(sizes)
counts = by_animal.groupby("species").agg(identities="size", photos="sum")
counts.assign(**{"identities with enough": enough.groupby("species").sum()})

# %% [markdown]
# The last column is the population of the curve. A query enters if its animal has at least as many
# *other* sightings as the largest `m`, and then it enters at every point. All other animals stay in
# the database as those who could be mistaken for it.
#
# ## From photos to vectors
#
# Each network embeds the species that it answers for, which are those it never saw.

# %%
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
crops = crops[pictures["row"]]

# %%
import torch

from miewid_lib import evaluation

torch.set_num_threads(threads)
vectors = evaluation.embed(folder, runs, pictures["species"], crops)
vectors.shape

# %% [markdown]
# ## The curve
#
# Average over queries within a species, then over species; the band draws individuals again.

# %%
from miewid_lib import retrieval

who = {"groups": pictures["species"], "exclude": pictures["encounter"]}
per_query = catalogue.own_photos(vectors, pictures["identity"], sizes=sizes, **who)
per_query["species"] = per_query["group"]

# %%
options = {"seed": seed, "n_bootstrap": n_bootstrap}
means = {m: retrieval.species_mean(part, by="species", **options)
         for m, part in per_query.groupby("n_own")}  # fmt: skip

# %% [markdown]
# The table shows the mean over species at each point, beside what guessing would reach.

# %%
overall = pd.concat(means, names=["n_own"]).reset_index(level="n_own")
columns = ["n_own", "n_species", "n_identities", "n_queries", "chance_top1"]
intervals = ["top1", "top1_low", "top1_high", "top5", "top5_low", "top5_high"]
overall[columns + intervals].round(3)

# %% [markdown]
# Chance rises along with the number of photos: with five tickets in the lottery one wins more often
# than with one. Only the distance between the curve and chance is the method's.
#
# ## Where does it flatten?
#
# What is one photo more worth, in points of top-1? The same queries stand on both sides of each
# difference, so we pair them, and the interval tells a real step from noise.

# %%
points = per_query.assign(model=per_query["n_own"].astype(str))
steps = [(str(more), str(fewer)) for fewer, more in pairwise(sizes)]
steps += [(str(sizes[-1]), str(sizes[0]))]
gains = retrieval.compare(points, list(dict.fromkeys(steps)), metrics=("top1", "top5"), **options)

# %% [markdown]
# The last line below is the whole way from the first to the last point. A catalogue has enough
# photos where a step is no longer worth a trip to the field.

# %%
mean = gains[gains["species"] == "mean"].rename(columns={"model_a": "photos", "model_b": "from"})
columns = ["difference", "difference_low", "difference_high"]
mean[mean["metric"] == "top1"].set_index(["from", "photos"])[columns].round(3)

# %% [markdown]
# *Flat soon* is a claim about two steps: the first one must be worth more than the last. That, too,
# can be asked query by query. We give each query the worth of its first and of its last step, and
# compare the two like models.

# %%
wide = per_query.pivot(index="query", columns="n_own", values="top1")
ends = {
    "first step": wide[sizes[1]] - wide[sizes[0]],
    "last step": wide[sizes[-1]] - wide[sizes[-2]],
}

# %%
one = per_query[per_query["n_own"] == sizes[0]].set_index("query")
worth = pd.concat([one.assign(model=name, top1=step).reset_index() for name, step in ends.items()])
flattens = retrieval.compare(worth, [("first step", "last step")], **options)
flattens[flattens["species"] == "mean"][["a", "b", *columns]].round(3)

# %% [markdown]
# ## Figure 3
#
# Thin lines are single species, thick ones their mean with its band.

# %%
each = retrieval.summarise(per_query, by=["species", "n_own"], **options)
wide = pd.concat([each, overall])
curve = pd.concat([
    wide[["species", "n_own", "n_queries"]].assign(chance=wide[f"chance_{name}"],
        metric=name, mean=wide[name], low=wide[f"{name}_low"], high=wide[f"{name}_high"])
    for name in ("top1", "top5")
], ignore_index=True)  # fmt: skip

# %% alt="Figure 3: top-1 and top-5 against the animal's own photos in the database"
from miewid_lib import charts

figure = charts.catalogue(curve)
figure

# %% [markdown]
# ## Check

# %%
population = per_query.groupby("n_own")["query"].agg(frozenset)
assert population.nunique() == 1, "the same queries at every point"
rises = per_query.pivot(index="query", columns="n_own", values="top1").diff(axis=1).iloc[:, 1:]
assert (rises > -1e-9).all().all(), "one more own photo never hurts"
assert np.isfinite(vectors).all() and not pictures.duplicated(["identity", "encounter"]).any()

# %% [markdown]
# The population is one and the same, and a further photo of the animal itself can only help, as it
# must be when nothing else in the database changes.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

curve.round(4).to_csv(reports("tables") / "figure3.csv", index=False)
steps = pd.concat([gains, flattens]).round(4)
steps.to_csv(reports("tables") / "figure3_steps.csv", index=False)
points = overall.set_index("n_own")[["chance_top1", "top1", "top5"]].round(4)
text = json.dumps(points.to_dict(orient="index"), indent=2) + "\n"
(reports("metrics") / "figure3.json").write_text(text)
figure.savefig(reports("figures") / "figure3.png", **charts.PRINT)

# %% [markdown]
# ## What we learned
#
# Fix the population, change only the database, and count all draws instead of making some. Then a
# rise of the curve is a rise in what one more photo is worth.
#
# **Differences from the paper.** The paper reports that few photos cost little and that the curve
# is soon flat; it prints no numbers for it. Its draws were random; here each point is the exact
# mean over all possible draws.
#
# **Exercises.** (1) Leave out both `drop_duplicates` and `exclude`. How does the first point of the
# curve change, and why that one most? (2) Call `own_photos` once for each *m* with `sizes=[m]`, so
# that more queries enter on the left. Which way does the curve bend now?
# (3) Which is worth more in a catalogue, a second photo of each animal or twice as many animals?
#
# With hints and checks: [the sheet of chapter 7](exercises/sheets/07_figure3.ipynb).
#
# Next: [8 · Two kinds of backbone](08_figure4.ipynb)
