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
# # 13 · Fine-tune on your own animals
#
# **Question.** How do I teach a network that others trained the animals of my own catalogue, and
# how do I know when to stop?
#
# After this page you can hold out photos without a leak, train in two stages, read the moment at
# which a network begins to learn its photos by heart, and keep a file that loads in one line.
# Chapter 10 compares this way with others; this page is the recipe.
#
# | Reads | Writes |
# | --- | --- |
# | `data/split.csv` | `data/models/finetuned` |
# | `data/crops.npz` | |
# | `data/models/heldout` | |
#
# Takes less than a minute on two cores. The command `python -m miewid_lib finetune` does the same
# without a notebook.

# %% tags=["parameters"]
seed = 20241  # of the split, the order of photos and the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
device = "cpu"  # cpu or cuda
folder = ""  # of your own photos; empty: one species of the book
newcomer = ""  # that species; empty: the first that a network never saw
validation_share = 0.3  # of the photos to learn from, held out to watch
frozen_epochs = 3  # the loss alone learns; published
epochs = 20  # of all layers; twice chapter 3, to see more than the best one
batch_size = 16  # photos a step; published
lr_max = 0.0018  # learning rate at the top, and while frozen
precision = "bfloat16"  # of the network's own sums
n_bootstrap = 1000  # resamples behind each interval

# %% [markdown]
# ## A network, and animals it never saw
#
# Each network of `heldout` in chapter 3 was kept from some species. We take the one that never saw
# our newcomer, as if it had come from somebody else.

# %%
import numpy as np
import pandas as pd
import torch

from miewid_lib import annotations, models
from miewid_lib.paths import ROOT, need

# %%
torch.set_num_threads(threads)
table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]

# %% [markdown]
# A network can be our start for a species that it was kept from and that has photos to learn from.
# Ours is the first in the list. A species picked because its scores came out well would flatter.

# %%
others = need(ROOT / "data" / "models" / "heldout", made_by="03_train")
files = pd.read_csv(others / "runs.csv")
in_train = table["part"] == "train"
can = files[files["species"].isin(table.loc[in_train, "species"])]
newcomer = newcomer or can["species"].iloc[0]

# %%
file = can.loc[can["species"] == newcomer, "file"].iloc[0]
start = others / f"{file}.safetensors"
file, newcomer

# %% [markdown]
# ## Choose photos
#
# A few dozen photos of a dozen animals are a beginning. What counts more than their number is that
# each animal was met on several occasions: photos of one encounter share light, place and pose,
# and a network would learn those. To use your own, name their folder above; its table or its plain
# folders (one an animal) are read and cleaned as in chapter 1 and split as in chapter 2.

# %%
from pathlib import Path

from miewid_lib import commands, images

own_crops = crops[table["species"] == newcomer]
own = table[table["species"] == newcomer].reset_index(drop=True)
if folder:
    options = {"seed": seed, "validation_share": validation_share}
    own, dropped, root = commands.training_table(Path(folder), "animal", [], **options)
    own_crops = images.crops(own, root, size_px=crops.shape[1])

# %%
counts = own.groupby("part")[["individual", "encounter"]].nunique()
counts.assign(photos=own["part"].value_counts())

# %% [markdown]
# Six of the animals, each in photos of several encounters. Find what stays the same from one photo
# to the next; that, and nothing else, should be learned.

# %% alt="Six animals, one row each, in photos of several encounters" tags=["hide-input"]
from miewid_lib import figures

usual = own["individual"].value_counts().index[:6]
apart = own.drop_duplicates(["individual", "encounter"])
rows = {name: apart.index[apart["individual"] == name][:6] for name in usual}
figures.photo_grid({name: list(own_crops[found]) for name, found in rows.items()}, size_in=0.8)

# %% [markdown]
# ## Hold out, without a leak
#
# The test photos wait until the very end and choose nothing. From the others we hold out a
# validation part: whole encounters of some animals, and some animals entirely. Splitting photo by
# photo would put two photos of one burst on both sides, and the validation would praise a network
# for its memory.

# %%
from miewid_lib import tuning

parts = tuning.tuning_split(own, seed=seed, train_share=1 - validation_share)
parts["kind"] = parts["part"].where(~parts["seen"], "validation, known animal")
parts["kind"] = parts["kind"].replace("test", "validation, new animal")
parts.groupby("kind")[["individual", "encounter"]].nunique().join(parts["kind"].value_counts())

# %%
sides = parts[parts["part"] != "unused"].groupby("encounter")["part"].nunique()
f"{len(sides)} encounters, {(sides > 1).sum()} on both sides"

# %% [markdown]
# ## Two stages
#
# The loss is new: its directions start at random, and its first errors say nothing about the
# photos. So the loss learns alone for a few epochs, with the network *frozen*: neither a weight nor
# a statistic of BatchNorm moves. Then everything learns, with a rate that climbs, so that nothing
# is torn down at the start, and decays.

# %%
from miewid_lib import finetuning

stages = finetuning.stages(frozen_epochs=frozen_epochs, epochs=epochs, lr_max=lr_max)
{name: [f"{rate:.1e}" for rate in rates] for name, rates in stages.items()}

# %% [markdown]
# `finetuning.run` gives back a row an epoch. After each it looks at the held-out photos, without
# learning from them. If it is stopped it goes on from there: its folder is named by everything that
# decides the result, and goes when the file is saved.

# %%
from miewid_lib.progress import progress

net = models.load(start).to(device)
used = parts.index.to_numpy()
settings = {"stages": stages, "batch_size": batch_size, "seed": seed, "precision": precision}
unfinished = ROOT / "build" / "checkpoints" / "finetune"
place = finetuning.run_folder(unfinished, net, own_crops[used], parts, *settings.values())

# %% [markdown]
# While it is frozen we look whether anything in the network moves.

# %%
frozen = {key: value.clone() for key, value in net.state_dict().items()}
log, still = [], []
rows = finetuning.run(net, own_crops[used], parts, place, **settings)
for row in progress(rows, total=frozen_epochs + epochs, label="fine-tuning"):
    log.append(row)
    if row["stage"] == finetuning.FROZEN:
        still.append(all(torch.equal(frozen[key], now) for key, now in net.state_dict().items()))
log = pd.DataFrame(log)

# %% [markdown]
# ## Watch the curve turn
#
# The training loss falls as long as one trains. The loss of held-out photos falls with it at first;
# where it turns up, or stops falling while the other goes on, the network has begun to learn these
# photos rather than these animals. (The two levels differ: training photos are varied, and counted
# while the network still learns.) On the right is the validation as a field project would ask it:
# the share of held-out photos whose nearest neighbour is the same animal.

# %% alt="Training and validation loss by epoch, and the validation top-1"
losses = {"loss": "training", "validation_loss": "validation"}
lines = log.rename(columns=losses).melt("epoch", list(losses.values()), "photos", "loss")
lines["top1"] = lines["epoch"].map(log["validation_top1"])
figures.curves(lines, x="epoch", y={"loss": "loss", "top1": "validation top-1"}, hue="photos")

# %% [markdown]
# Kept is the epoch with the lowest validation loss, once all layers learn. Had we taken the best of
# the test photos instead, the score below would flatter.

# %%
kept = finetuning.best_row(log)
kept[["epoch", "stage", "loss", "validation_loss", "validation_top1"]].to_frame().T

# %% [markdown]
# ## Save, load
#
# A checkpoint is one safetensors file with all that rebuilds the network, a `.json` beside it for
# people, and the curve.

# %%
target = ROOT / "data" / "models" / "finetuned"
target.mkdir(parents=True, exist_ok=True)
about = {"size_px": crops.shape[1], "species": set(own["species"])}
models.save(models.load(place / finetuning.BEST), target / "my_model.safetensors", **about)
log.to_csv(target / "my_model.csv", index=False)

# %%
tuned = models.load(target / "my_model.safetensors")
tuned.name, tuned.size_px, tuned.training

# %% [markdown]
# ## Ask it
#
# Now the test photos, for the first time. The rules are those of chapter 4, and the network we
# began with answers the same questions.

# %%
from miewid_lib import evaluation, retrieval, training


def ask(rows: pd.DataFrame, photos: np.ndarray) -> dict[str, pd.DataFrame]:
    rows = rows.reset_index(drop=True)
    nets = {"before": models.load(start), "after": tuned}
    return {
        name: evaluation.answers(training.embed(each, photos), rows) for name, each in nets.items()
    }


in_test = (own["part"] == "test").to_numpy()
mine = ask(own[in_test], own_crops[in_test])

# %%
draws = {"by": "species", "seed": seed, "n_bootstrap": n_bootstrap}
gain = retrieval.paired_difference(mine["after"], mine["before"], **draws).iloc[-1:]

# %% [markdown]
# Beside both stands what guessing would reach.

# %%
chance = mine["after"]["chance_top1"].mean()
shown = ["n_identities", "n_queries", "b", "a", "difference", "difference_low", "difference_high"]
names = {"b": "before", "a": "after", "difference": "gain"}
gain[shown].rename(columns=names).assign(chance=chance).round(3)

# %% [markdown]
# `gain` is the difference in top-1 with its 95 % interval, from drawing identities again. An
# interval across zero says that more photos are needed before one may speak of a gain.
#
# ## What it forgot
#
# One line: the mean over the species that this network knew, on the questions of chapter 4. No old
# photo was shown meanwhile. A negative number is a loss; keep the old file for the old species.

# %%
old = (table["part"] == "test") & ~table["species"].isin(
    files.loc[files["file"] == file, "species"]
)
before_after = ask(table[old], crops[old])
lost = retrieval.paired_difference(before_after["after"], before_after["before"], **draws)
lost.iloc[-1:][["n_species", *shown]].rename(columns=names | {"difference": "change"}).round(3)

# %% [markdown]
# ## Check

# %%
held_out = set(own.loc[in_test, "annotation_id"])
assert not held_out & set(parts["annotation_id"]) and (sides == 1).all()
assert all(still) and len(still) == frozen_epochs
assert kept["validation_loss"] == log.loc[log["stage"] == finetuning.ALL, "validation_loss"].min()
best = models.load(place / finetuning.BEST).state_dict()
assert all(torch.equal(best[key], value) for key, value in tuned.state_dict().items())

# %% [markdown]
# In words: no test photo was trained or validated on, nothing moved while the network was frozen,
# the kept epoch is the one the rule names, and the file holds that network.
#
# ## What we learned
#
# Hold out by encounters and animals, let the loss find its feet first, and stop by the validation
# curve rather than by the training loss. Ask the test photos once. Then ask about the old species,
# too.
#
# **Differences from the paper.** The public code also trains in two stages, but there the
# statistics of BatchNorm keep moving in the first one, and the second forgets the first one's best
# score. The validation part and the interval are additions of this page.
#
# **Exercises.** (1) Set `frozen_epochs` to one. Is the start of the second stage worse? (2) Double
# `epochs`. Where does the validation curve turn, and is the kept epoch the same? (3) Set `folder`
# to photos of your own.
#
# With hints and checks: [the sheet of chapter 13](exercises/sheets/13_finetune.ipynb).
#
# Back to: [10 · A new species arrives](10_new_species.ipynb)
