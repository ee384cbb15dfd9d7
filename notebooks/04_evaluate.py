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
# # 4 · Asking one photo against the rest
#
# **Question.** A photo comes in from the field. The system lists the most similar photos of the
# catalogue. How often is the right animal first, for each species, for animals that the network
# has seen and for those that are new, and how sure are we of that number?
#
# After this page you can rank a catalogue by cosine, compute top-k and average precision by hand,
# and read a score together with chance, counts and an interval.
#
# | Reads | Writes |
# | --- | --- |
# | `data/split.csv` | `data/embeddings.npz` |
# | `data/crops.npz` | `data/per_query.csv` |
# | `data/models/multispecies` | `reports/tables/evaluate.csv` |
# | `data/models/single` | `reports/metrics/evaluate.json` |
# | `data/models/single_matched` | |
#
# Takes about two minutes.

# %% tags=["parameters"]
seed = 20241  # of the bootstrap and the examples
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
n_bootstrap = 1000  # resamples behind each 95 % interval

# %% [markdown]
# *If you skipped chapter 3:* a network turns a photo into a list of numbers, its **embedding**.
# Training moves the network in small **steps**, a few photos each, so that embeddings of one animal
# point the same way; the **loss** says how badly they still do, and an **epoch** is one pass over
# all photos. A **seed** fixes all that is random in it: two seeds are two trainings. The model
# `multispecies` learned all species together, `single` is one network for each species with as
# many epochs, `single_matched` the same with more steps.
#
# ## Four photos by hand
#
# Four photos, two of Ada and two of Ben, each with an embedding of two numbers. We divide every
# vector by its length; then a cosine is a sum of products, and all of them are one matrix.

# %%
import numpy as np

names = np.array(["Ada", "Ada", "Ben", "Ben"])
vectors = np.array([[1.0, 0.1], [0.8, 0.6], [0.7, 0.7], [0.0, 1.0]])
vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
similarity = vectors @ vectors.T  # [query, candidate]
similarity.round(2)

# %% [markdown]
# Each photo is most similar to *itself*. A query must never find itself (the exercises ask what
# happens if it can), so we take out the diagonal. In **one-vs-rest** every photo is the query once
# and all others are the database.

# %%
np.fill_diagonal(similarity, -np.inf)
nearest = similarity.argmax(axis=1)
list(zip(names, names[nearest], strict=True))

# %% [markdown]
# **Top-1** is the share of queries whose nearest photo shows the same animal; top-5 asks for the
# right animal anywhere among the first five. **Average precision** looks at all other photos of the
# query's animal, its **mates**: with the *i*-th mate at rank *r*, it is the mean of *i/r*. With one
# mate each, that is one over its rank. Its mean over queries is mAP, column `map`. The library says
# the same of our four photos:

# %%
from miewid_lib import retrieval

by_library = retrieval.one_vs_rest(vectors, names)
by_library[["identity", "n_candidates", "n_mates", "chance_top1", "top1", "average_precision"]]

# %% [markdown]
# `chance_top1` is what guessing would reach: mates divided by candidates. Equal similarities count
# against the query, so a network that maps every photo to one point scores nothing instead of
# everything. A query whose animal has no other photo is not a failure of the method: it is counted
# apart and has no score.
#
# ## From photos to vectors
#
# Now the networks. Each embeds the test photos of the species it answers for. Beside the models of
# chapter 3 stand the features of their common starting point (the **backbone**) *before* training
# on individual animals, under the name `imagenet`: what a network knows that can only tell zebras
# from teapots.

# %%
import torch

from miewid_lib import annotations, models, training
from miewid_lib.paths import ROOT, need

torch.set_num_threads(threads)

# %%
table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
rows = np.flatnonzero(table["part"] == "test")
test, crops = table.iloc[rows].reset_index(drop=True), crops[rows]

# %% [markdown]
# Only rows of the test part are read from here on. Which networks are there? Here we ask the three
# models of chapter 5; the others are asked in their own chapters. The folder of each model says in
# `runs.csv` which file answers for which species, and after which training run.

# %%
import pandas as pd

trained = ("multispecies", "single", "single_matched")
folders = {name: need(ROOT / "data" / "models" / name, made_by="03_train") for name in trained}
files = pd.concat([pd.read_csv(folder / "runs.csv") for folder in folders.values()])
files.groupby(["model", "seed"], sort=False)[["file", "species"]].nunique()

# %% [markdown]
# Every test photo goes through each of its networks once; nothing is learned here. A species that
# no network answers for would leave a gap; the check at the end of the page would find it.

# %%
from miewid_lib.progress import progress

embeddings = {}
networks = list(files.groupby(["model", "seed", "file"], sort=False))
for (model, run_seed, file), part in progress(networks, label="embedding"):
    net = models.load(folders[model] / f"{file}.safetensors")
    empty = np.full((len(test), net.embedding_size), np.nan, dtype="float32")
    mine = test["species"].isin(part["species"]).to_numpy()
    embeddings.setdefault((model, run_seed), empty)[mine] = training.embed(net, crops[mine])

# %% [markdown]
# Last, the common starting point: the same backbone with its ImageNet weights, before any training
# on individuals.

# %%
joint = files[files["model"] == "multispecies"].iloc[0]
net = models.load(folders["multispecies"] / f"{joint['file']}.safetensors")
start = models.EmbeddingNet(net.name, pretrained=True, **net.timm_arguments)
embeddings["imagenet", 0] = training.embed(start, crops)
pd.Series({f"{model}, seed {s}": v.shape[1] for (model, s), v in embeddings.items()}, name="size")

# %% [markdown]
# ## Every photo asks once
#
# The database of a query is all other test photos of its species. The split left one photo of each
# encounter (or burst) of an identity. What `exclude` may still take out is the other side of a
# `lateral` animal, where one encounter shows both. Where a source knows neither encounters nor
# bursts, nothing can protect the score from near-duplicates.

# %%
who = {"groups": test["species"], "exclude": test["encounter"]}
asked = {
    run: retrieval.one_vs_rest(vectors, test["identity"], **who)
    for run, vectors in embeddings.items()
}

# %% [markdown]
# One long table holds all answers: a line for each query and model, with the columns from above,
# and whether the query's animal was seen in training.

# %%
per_query = pd.concat(asked, names=["model", "seed"]).reset_index(level=["model", "seed"])
per_query = per_query.assign(species=per_query["group"]).reset_index(drop=True)
per_query["seen"] = test["seen"].to_numpy()[per_query["query"]]
per_query["annotation_id"] = test["annotation_id"].to_numpy()[per_query["query"]]

# %% [markdown]
# ## How sure are we?
#
# Ten queries of one easily recognised animal are not ten independent facts. The 95 % intervals
# therefore draw *identities* again and again, each with all of its queries (a bootstrap). Wide
# bars mean few animals. (The two sides of an animal count apart, so the bars of `lateral` species
# are a little too short.)

# %%
averaged = retrieval.mean_over_seeds(per_query).assign(seed="mean")
everything = pd.concat([per_query.astype({"seed": str}), averaged], ignore_index=True)
options = {"seed": seed, "n_bootstrap": n_bootstrap}
scores = retrieval.summarise(everything, by=["model", "seed", "species"], **options)

# %% [markdown]
# A model that was trained with two seeds has one score a seed, and one in which each query counts
# with its mean over the seeds (`mean`). The joint model, species by species:

# %%
joint = scores[(scores["model"] == "multispecies") & (scores["seed"] == "mean")]
percent = ["chance_top1", "top1", "top1_low", "top1_high", "top5", "map"]
joint[["species", "n_identities", "n_queries", *percent]].round(3)

# %% [markdown]
# Now all four models; the species with most annotations stand at the bottom.

# %% alt="Top-1 of each species for four models with intervals; a mark for chance"
from miewid_lib import charts, figures

main = scores[scores["seed"] == "mean"]
order = list(table["species"].value_counts().sort_values(kind="stable").index)
charts.scores(main, order=[name for name in order if name in set(scores["species"])])

# %% [markdown]
# Compare each mark with the black tick of chance before comparing marks with each other. The fewer
# identities a species has, the higher is chance and the wider are the bars: no conclusion should
# rest on such a species alone.
#
# ## Look at answers, not only at scores
#
# The blue frame is the query, green is the same animal, a broken red frame another one. The first
# rows are queries that the joint model gets right, the last ones are mistakes. Look at these: would
# you have known?

# %%
joint_run = ("multispecies", int(files["seed"].min()))
neighbours, _ = retrieval.neighbours(embeddings[joint_run], **who, k=6)
answers = asked[joint_run].dropna(subset=["top1"])
both = [answers[answers["top1"] == hit] for hit in (1, 0)]
examples = [part.groupby("group").sample(1, random_state=seed).head(5) for part in both]

# %% alt="Queries with their nearest photos, right ones green, wrong ones red" tags=["hide-input"]
strips = []
for q in pd.concat(examples)["query"]:
    found = neighbours[q][neighbours[q] >= 0]
    hits = (test["identity"].to_numpy()[found] == test["identity"][q]).tolist()
    photos = [crops[i] for i in found]
    strips.append(
        {"label": test["species"][q], "query": crops[q], "neighbours": photos, "hits": hits}
    )
figures.retrieval_strips(strips)

# %% [markdown]
# ## Seen and unseen
#
# Is an animal that the network was trained on easier to find than one it has never met? Means over
# species, for the species that have both kinds.

# %%
kinds = retrieval.summarise(everything, by=["model", "seed", "species", "seen"], **options)
wide = kinds.pivot(index=["model", "seed", "species"], columns="seen", values="top1").dropna()
wide = wide.rename(columns={True: "seen", False: "unseen"})[["seen", "unseen"]]
wide.xs("mean", level="seed").groupby("model").agg(["mean", "size"]).round(3)

# %% [markdown]
# For a system in the field the column *unseen* counts: animals join a catalogue every season, and
# nobody wants to train again for each of them. Compare the rows of a column, not the two columns of
# a row: a seen animal gave some of its encounters to training, so it has fewer mates here. The row
# `imagenet`, which was trained on neither kind, shows how much of the gap that makes.
#
# ## A map of the embedding
#
# So many dimensions cannot be drawn. t-SNE places photos on paper so that neighbours stay
# neighbours; distances between far groups mean little. One dot a photo, first coloured by species.

# %% alt="Map of test photos by t-SNE, one dot a photo, coloured by species"
from sklearn.manifold import TSNE

sample = test.groupby("species").sample(frac=1, random_state=seed).groupby("species").head(40).index
unit = embeddings[joint_run][sample]
unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
points = TSNE(init="pca", perplexity=15, random_state=seed, method="exact").fit_transform(unit)
figures.embedding_map(points, list(test["species"][sample]), title="species")

# %% [markdown]
# If the species part, remember that nobody named them: they are only classes that differ. Within
# one species, colours are identities, those with most photos on the map. Where sides differ, expect
# two clouds, left flanks and right flanks, and judge neighbours inside a cloud.

# %% alt="The same map for one species, coloured by identity"
shown = test.loc[sample, ["species", "identity"]]
largest = shown["species"].value_counts().index[0]
own = shown.loc[shown["species"] == largest, "identity"].str.split("|", n=1).str[1]
known = own[own.isin(own.value_counts().index[:10])]
figures.embedding_map(
    points[shown.index.isin(known.index)], list(known), title=f"{largest}: identities"
)

# %% [markdown]
# ## All numbers
#
# The mean over species gives every species the same weight, however many photos it has.

# %%
means = {
    run: retrieval.species_mean(part, by="species", **options)
    for run, part in everything.groupby(["model", "seed"])
}
overall = pd.concat(means, names=["model", "seed"]).reset_index(level=["model", "seed"])
overall[["model", "seed", "n_species", "n_queries", *percent]].round(3)

# %% [markdown]
# ## In one call
#
# Chapters 6, 8 and 9 ask other models in the same way, so the library has all of this in one
# function. It must give the same answers:

# %%
from miewid_lib import evaluation

in_one_call = evaluation.ask(folders["single"], test, crops)
by_hand = per_query[per_query["model"] == "single"]
columns = ["seed", "annotation_id", "first_rank"]
assert in_one_call[columns].equals(by_hand[columns].reset_index(drop=True))

# %% [markdown]
# ## Check

# %%
assert all(np.isfinite(vectors).all() for vectors in embeddings.values())
assert (per_query.groupby(["model", "seed"]).size() == len(test)).all()
assert (per_query["n_candidates"] < per_query["species"].map(test["species"].value_counts())).all()
assert not test["annotation_id"].isin(table.loc[table["part"] == "train", "annotation_id"]).any()

# %% [markdown]
# Every model answered every query, no query was its own candidate, and no test photo was trained
# on.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

out = evaluation.score_table(per_query, **options)
out.round(4).to_csv(reports("tables") / "evaluate.csv", index=False)
flat = {f"{model}-seed{s}": vectors for (model, s), vectors in embeddings.items()}
np.savez(ROOT / "data" / "embeddings.npz", annotation_id=list(test["annotation_id"]), **flat)
metrics = overall[overall["seed"] == "mean"].set_index("model")
metrics = metrics[["chance_top1", "top1", "top5", "map"]].round(4)
text = json.dumps(metrics.to_dict(orient="index"), indent=2)
(reports("metrics") / "evaluate.json").write_text(text + "\n")
per_query.to_csv(ROOT / "data" / "per_query.csv", index=False)

# %% [markdown]
# ## What we learned
#
# A score is a ranking question asked by every test photo. It needs chance, counts, an interval
# over animals, and a rule for ties, for mates that do not exist and for photos of the same
# sighting.
#
# **Differences from the paper.** The protocol is the paper's. The public package has two
# evaluators that disagree on ties and on animals with one photo, and both give a species with
# fewer than twenty photos no score at all. The paper reports no intervals.
#
# **Exercises.** (1) How many photos does `exclude` still hide after the split, and in which herd
# would it hide more? (2) Replace cosine by the
# Euclidean distance of unnormalised vectors. (3) How does chance change if the database holds only
# photos of the same side?
#
# With hints and checks: [the sheet of chapter 4](exercises/sheets/04_evaluate.ipynb).
#
# Next: [5 · One model for all, or one a species?](05_figure1.ipynb)
