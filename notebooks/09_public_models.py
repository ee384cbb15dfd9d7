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
# # 9 · Against public models
#
# **Question.** Networks for animal re-identification can be downloaded. How do they do on species
# that neither they nor ours were trained on, without any training?
#
# After this page you can set up a zero-shot comparison in which no side knows the species, put
# other people's weights into it, and say what photo size and licence have to do with the result.
#
# | Reads | Writes |
# | --- | --- |
# | `data/per_query.csv` | `reports/tables/public_models.csv` |
# | `data/per_query_heldout.csv` | `reports/metrics/public_models.json` |
# | `data/split.csv` | |
# | `data/photos` | |
#
# Takes seconds, and minutes for each large network that is there.

# %% tags=["parameters"]
seed = 20241  # of the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
weights = "data/weights"  # folder of downloaded weights; what is not there is left out
n_bootstrap = 2000  # resamples behind each interval

# %% [markdown]
# ## Who could compete?
#
# The released MiewID weights and the MegaDescriptor networks lie on the Hugging Face hub. This book
# downloads nothing by itself. Whoever has them puts each into the folder `weights` under the name
# below, as `NAME/model.safetensors` (MegaDescriptor with its `config.json` beside it), and runs
# `dvc repro -f public_models`. Mind their terms.

# %%
import pandas as pd

from miewid_lib.paths import ROOT

offers = pd.DataFrame([
    ("miewid-msv2", "conservationxlabs/miewid-msv2", "none stated"),
    ("miewid-msv3", "conservationxlabs/miewid-msv3", "none stated"),
    ("megadescriptor-t-224", "BVRA/MegaDescriptor-T-224", "CC BY-NC 4.0"),
    ("megadescriptor-l-384", "BVRA/MegaDescriptor-L-384", "CC BY-NC 4.0"),
], columns=["name", "on the hub as", "licence"]).set_index("name")  # fmt: skip
offers["here"] = [(ROOT / weights / name / "model.safetensors").is_file() for name in offers.index]
offers

# %% [markdown]
# Who does not take part is named, one line each:

# %%
for name in offers.index[~offers["here"]]:
    print(f"{name}: not in {weights}, left out")

# %% [markdown]
# ## The rules
#
# Nobody may know the species. Ours are the `heldout` networks of chapter 6, each scored only on
# species it never saw. A public network was trained on whatever its authors had: on real photos of
# a species that they used, the comparison flatters it, and its page on the hub has to say. The
# ImageNet features know no individual of any species.
#
# Each public network gets photos of the size it was made for, cut from the original photo, and
# normalised with its own statistics. Our own and the ImageNet features keep the small crops of
# chapter 1, which is a handicap for the latter.

# %%
from miewid_lib import annotations, images, models, training
from miewid_lib.paths import need

photo_root = need(ROOT / "data" / "photos", made_by="dvc repro data/dvc.yaml:photos")
table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
test = table[table["part"] == "test"].reset_index(drop=True)

# %% [markdown]
# Large networks take minutes on a CPU; the terminal shows how many are left.

# %%
import torch

from miewid_lib.progress import progress

torch.set_num_threads(threads)
embeddings = {}
for name in progress(offers.index[offers["here"]], label="public networks"):
    net = models.load(ROOT / weights / name / "model.safetensors")
    crops = images.crops(test, photo_root, size_px=net.size_px)
    embeddings[name] = training.embed(net, crops, batch_size=16)

# %% [markdown]
# ## The same queries for all
#
# The answers of our own models were saved by chapters 4 and 6, and the public ones are asked in the
# same way: all other test photos of the species, without those of the query's own encounter.

# %%
from miewid_lib import retrieval

saved = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
heldout = pd.read_csv(need(ROOT / "data" / "per_query_heldout.csv", made_by="06_figure2"))
ours = pd.concat([saved[saved["model"] == "imagenet"], heldout], ignore_index=True)
ours = retrieval.mean_over_seeds(ours)

# %%
from miewid_lib import evaluation

asked = {name: evaluation.answers(vectors, test) for name, vectors in embeddings.items()}

# %% [markdown]
# All answers go into one table; without any public network it holds ours alone.

# %%
public = pd.concat(asked, names=["model"]).reset_index(level="model") if asked else ours.iloc[:0]
answers = pd.concat([ours, public], ignore_index=True)

# %% [markdown]
# Means over species, each with its interval over individuals:

# %%
options = {"seed": seed, "n_bootstrap": n_bootstrap}
means = {
    model: retrieval.species_mean(part, by="species", **options)
    for model, part in answers.groupby("model")
}

# %%
overall = pd.concat(means, names=["model"]).reset_index(level="model")
columns = ["model", "n_species", "n_queries", "chance_top1"]
overall[[*columns, "top1", "top1_low", "top1_high", "top5", "map"]].round(3)

# %% [markdown]
# ## Paired differences
#
# Ours minus theirs, on the same queries. Positive numbers say that the network of this book is
# better on species it has never seen.

# %%
pairs = [("heldout", name) for name in ("imagenet", *asked)]
differences = retrieval.compare(answers, pairs, metrics=("top1", "top5", "map"), **options)
mean = differences[differences["species"] == "mean"].set_index(["model_b", "metric"])
mean[["difference", "difference_low", "difference_high"]].round(3)

# %% [markdown]
# A small network that was trained for minutes should lose to large ones on real photos. On drawn
# animals it may win for a dull reason: it knows how they are drawn. So every
# number of this page has to say which photos it stands for.
#
# ## Check

# %%
assert answers.groupby("model")["query"].agg(frozenset).nunique() == 1
assert set(asked) == set(offers.index[offers["here"]])

# %% [markdown]
# All models answered the same queries, and every network that is there was asked.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

metrics = overall.set_index("model")[["chance_top1", "top1", "top5", "map"]].round(4)
text = json.dumps(metrics.to_dict(orient="index"), indent=2) + "\n"
(reports("metrics") / "public_models.json").write_text(text)
differences.round(4).to_csv(reports("tables") / "public_models.csv", index=False)

# %% [markdown]
# ## What we learned
#
# A zero-shot comparison needs species that nobody knows, each network's own photo size, and one
# line for whoever did not take part.
#
# **Differences from the paper.** The paper compares on species that neither MiewID nor
# MegaDescriptor-L-384 was trained on, and finds MiewID ahead on all of them. Without their weights
# this page can only compare with the ImageNet features.
#
# **Exercises.** (1) Which public network could have seen which species of your own photos? (2) Give
# every network photos of one size. Whom does that favour? (3) What would you need to call the
# difference on a single species certain?
#
# With hints and checks: [the sheet of chapter 9](exercises/sheets/09_public_models.ipynb).
#
# Next: [10 · A new species arrives](10_new_species.ipynb)
