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
# # 10 · A new species arrives
#
# **Question.** A new species joins. Should one train everything again, train a network for it
# alone, or fine-tune the network one has?
#
# After this page you can set up that comparison with equal steps on the same photos, fine-tune a
# network in two stages, notice when a network learns its photos by heart, and measure what it
# forgets meanwhile.
#
# | Reads | Writes |
# | --- | --- |
# | `data/split.csv` | `data/new_species.csv` |
# | `data/crops.npz` | `data/new_species` |
# | `data/models/heldout` | |
# | `data/models/multispecies` | |
#
# Takes some minutes on two cores, most of them for training everything again; read after the
# pipeline has run, seconds.

# %% tags=["parameters"]
seed = 20241  # of the draw of individuals, of examples and of the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
device = "cpu"  # cpu or cuda
backbone = "tf_efficientnet_lite0"  # the network of chapter 3
pretrained = True  # start from ImageNet weights where there is nothing better
seeds = [0, 1]  # of chapter 3; every run here takes the first
epochs = 10  # passes over the training photos; more where a part is small
batch_size = 32  # photos a step; the published value is 16
lr_start = 9.4e-05  # learning rate at the start; published 4.73e-05
lr_max = 0.0018  # at the top, and while the network is frozen
lr_min = 1.4e-06  # in the end; published 1.41e-06
ramp = 3  # epochs of warm-up, as in chapter 3
sustain = 0  # epochs at lr_max
decay = 0.6  # factor an epoch after it; published 0.8
n_subcenters = 3  # centers a class; published
scale = 51.96  # of the cosines before the softmax; published
margin_min_rad = 0.2  # for the identity with most photos; published
margin_max_rad = 0.3284  # for the identity with fewest; published
precision = "bfloat16"  # of the network's own sums; measured faster than float32 here
arriving = 1  # the part of the held-out species that arrives
shares = [0.25, 0.5, 0.75, 1.0]  # of its individuals, in steps
frozen_epochs = 3  # of fine-tuning: the loss alone learns; published
min_steps = 40  # a small part trains at least so many steps
n_bootstrap = 1000  # resamples behind each interval

# %% [markdown]
# ## Who arrives?
#
# Chapter 3 trained networks that never saw some of the species. One of these networks is the one
# *we have*; the species it was kept from are the newcomers. A newcomer needs photos to learn from
# as well as photos to be asked about.

# %%
import numpy as np
import pandas as pd

from miewid_lib import annotations
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
species, individual = table["species"], table["individual"]
in_train, in_test = ((table["part"] == part).to_numpy() for part in ("train", "test"))

# %% [markdown]
# The list of files of chapter 3 says which network answers for which species. One that answers
# for just a part of them never saw that part.

# %%
names = ("heldout", "multispecies")
folders = {name: need(ROOT / "data" / "models" / name, made_by="03_train") for name in names}
files = pd.concat({name: pd.read_csv(folder / "runs.csv") for name, folder in folders.items()})
files = files[files["seed"] == seeds[0]]

# %%
arrival = files[files["run"] == f"without part {arriving}"]
new = [name for name in arrival["species"] if name in set(species[in_train])]
assert new, f"chapter 3 held out no part {arriving} of species"

# %% [markdown]
# Old are all other species. Here is what both groups bring; only the newcomers' training photos
# will be dealt out in parts.

# %%
kind = np.where(species.isin(new), "new", "old")
counted = table.assign(kind=kind, train=in_train, test=in_test).groupby(["kind", "species"])
counted[["train", "test"]].sum()

# %% [markdown]
# Four individuals of each newcomer, one photo each. Would you say that what a network knows of
# the old species should help with these?

# %% alt="Four individuals of each newcomer species, one crop each"
from miewid_lib import figures

faces = table[in_train].groupby(["species", "individual"]).sample(1, random_state=seed)
faces = {name: faces.index[faces["species"] == name][:4] for name in new}
figures.photo_grid({name: list(crops[rows]) for name, rows in faces.items()})

# %% [markdown]
# ## A catalogue that grows
#
# Nobody has a whole catalogue on the first day. We let each newcomer arrive in steps: a share of
# its training individuals, each with *all* of its photos. The parts are nested, that is, a larger
# one holds the smaller, as a catalogue that grows does. Otherwise two steps would differ in luck
# as well as in size. The order comes from sorted names and a seed, so the order of rows in the
# table cannot change it. Two individuals are the least that can be told apart.

# %%
queue, parts = {}, {}
for name in new:
    mine = in_train & (species == name).to_numpy()
    queue[name] = np.random.default_rng(seed).permutation(sorted(set(individual[mine])))
    for share in shares:
        first = queue[name][: max(2, round(share * len(queue[name])))]
        parts[name, share] = np.flatnonzero(mine & individual.isin(first).to_numpy())

# %% [markdown]
# Individuals and photos in each part. How many photos an animal has differs, so photos do not grow
# exactly with the share.

# %%
sizes = pd.DataFrame({
    key: {"individuals": individual[rows].nunique(), "photos": len(rows)}
    for key, rows in parts.items()
})  # fmt: skip
sizes.T.rename_axis(["species", "share"]).unstack("share")

# %% [markdown]
# One newcomer, one photo an individual, a row a step. Each row repeats the one above and adds to
# it.

# %% alt="The newcomer's individuals, each row adding to the one above" tags=["hide-input"]
example = new[0]
portraits = table[in_train & (species == example)].drop_duplicates("individual")
portraits = dict(zip(portraits["individual"], crops[portraits.index], strict=True))
steps = {
    f"{share:.0%}": [
        portraits[who] for who in queue[example][: sizes[example, share]["individuals"]]
    ]
    for share in shares
}
figures.photo_grid({label: photos[:14] for label, photos in steps.items()}, size_in=0.7)

# %% [markdown]
# ## Three ways
#
# - `joint`: from ImageNet, on all photos of the old species and the part;
# - `scratch`: one network a newcomer, from ImageNet, on its part alone;
# - `finetuned`: one network a newcomer, from the network we have, on its part alone. The old
#   photos are not used; they may be lost, private, or too many.
#
# And `heldout` is doing nothing: the network we have, on a species it never saw. When a share is
# one, `joint` learns from all training photos there are. That is the joint model of chapter 3, so
# we load it instead of training it again.

# %%
old_rows = np.flatnonzero(in_train & (kind == "old"))
old = sorted(set(species[in_test & (kind == "old")]))
files["path"] = [folders[name] / f"{file}.safetensors" for (name, _), file in files["file"].items()]
ours, whole = files.loc[arrival.index[0], "path"], files.loc["multispecies", "path"].iloc[0]
runs = [("heldout", 0.0, "", old_rows, [*new, *old], ours)]

# %%
for share in shares:
    rows = np.sort(np.concatenate([old_rows, *(parts[name, share] for name in new)]))
    start = whole if len(rows) == in_train.sum() else None
    runs.append(("joint", share, "", rows, [*new, *old], start))
    for name in new:
        runs.append(("scratch", share, name, parts[name, share], [name], None))
        runs.append(("finetuned", share, name, parts[name, share], [name, *old], ours))

# %% [markdown]
# Is it really the same? The photos must be the same set. And where rounding makes two steps of a
# small newcomer the same part, it is one run that counts for both: nothing here is trained twice.

# %%
plan = pd.DataFrame(runs, columns=["way", "share", "newcomer", "rows", "answers", "start"])
for rows in plan.loc[(plan["way"] == "joint") & (plan["share"] == 1), "rows"]:
    assert set(rows) == set(np.flatnonzero(in_train))
same = [plan["way"], plan["newcomer"], plan["rows"].map(tuple)]
plan["run"] = plan.groupby(same, sort=False).ngroup()

# %% [markdown]
# ## The same number of steps
#
# A few passes over a dozen photos are a handful of steps, and a network that was hardly moved
# tells nothing about the way it was trained. So both ways that learn from the part alone get
# epochs until they have made `min_steps` steps, like `single_matched` in chapter 3. On one part
# the two make the same number of steps, the frozen ones of fine-tuning apart. `joint` makes more,
# because it has more photos; networks that are only loaded make none.

# %%
alone = plan["way"].isin(["scratch", "finetuned"])
plan["photos"] = plan["rows"].map(len)
batches = np.ceil((plan["photos"] - 1) / batch_size)  # a last batch of one photo is left out
longer = np.maximum(epochs, np.ceil(min_steps / batches.where(alone)))
plan["epochs"] = longer.fillna(epochs).where(alone | plan["start"].isna(), 0).astype(int)
plan["steps"] = (batches * plan["epochs"]).astype(int)
plan.groupby(["way", "share"], sort=False)[["photos", "epochs", "steps"]].agg(["min", "max"])

# %% [markdown]
# ## Fine-tuning in two stages
#
# The network is trained, but the loss is new: its directions, one bundle for each identity, start
# at random. At first its errors say nothing about the photos. If they reached the network they
# would damage what it knows. So in the first `frozen_epochs` epochs only the directions learn;
# *frozen* means that neither the weights of the network nor the statistics of its BatchNorm move.
# The rate stays at its top there, since nothing can be damaged. Then everything learns, with a
# fresh optimiser and a fresh schedule.

# %%
from pathlib import Path

import torch

from miewid_lib import losses, models, training
from miewid_lib.progress import progress

torch.set_num_threads(threads)
limits = {"margin_min_rad": margin_min_rad, "margin_max_rad": margin_max_rad}
centers = {"n_subcenters": n_subcenters, "scale": scale}
schedule = {"lr_start": lr_start, "lr_max": lr_max, "lr_min": lr_min, "sustain": sustain}
options = {"batch_size": batch_size, "seed": seeds[0], "precision": precision}
blank = {"backbone": backbone, "pretrained": pretrained}

# %% [markdown]
# Each run gets its stages: a name and a learning rate for every epoch. Networks that are only
# loaded have none. As in chapter 3, a longer run stretches the whole schedule.

# %%
stages = {}
for run in plan.drop_duplicates("run").itertuples():
    longer = max(run.epochs, 1) / epochs
    stretched = schedule | {"ramp": round(ramp * longer), "decay": decay ** (1 / longer)}
    first = {"frozen": [lr_max] * frozen_epochs} if run.way == "finetuned" else {}
    rates = {"everything": training.learning_rates(run.epochs, **stretched)}
    stages[run.run] = first | rates if run.epochs else {}

# %% [markdown]
# ## Train, and ask at once
#
# Training is that of chapter 3, with a start of its own and, for fine-tuning, a first stage.
# Training everything again goes on after its last saved epoch when it is interrupted; the runs of
# a newcomer are short and simply begin again.
#
# Each network is asked as soon as it is ready: about the test photos of its newcomer, and, unless
# it began from scratch, about those of the old species. The rules are those of chapter 4: all
# other test photos of a species are the database, without the query's own encounter. Whatever the
# part, the questions are the same; only the training photos change.

# %%
from miewid_lib import evaluation, retrieval

test, test_crops = table[in_test].reset_index(drop=True), crops[in_test]
unfinished = ROOT / "build" / "checkpoints"


# %%
def train_and_ask(run) -> tuple[pd.DataFrame, pd.DataFrame]:
    torch.manual_seed(seeds[0])
    net = (models.load(run.start) if run.start else models.EmbeddingNet(**blank)).to(device)
    labels, _ = pd.factorize(table["identity"].iloc[run.rows], sort=True)
    margins_rad, log = losses.dynamic_margins(np.bincount(labels), **limits), []
    sizes = net.embedding_size, len(margins_rad)
    head = losses.SubCenterArcFace(*sizes, margins_rad=margins_rad, **centers).to(device)
    for stage, rates in stages[run.run].items():
        mode = {"frozen": stage == "frozen", "resume_in": None if run.newcomer else unfinished}
        rows = training.fit(net, head, crops[run.rows], labels, rates=rates, **mode, **options)
        rows = progress(rows, total=len(rates), label=f"{run.way} {run.share:.0%} {run.newcomer}")
        log += [row | {"stage": stage, "run": run.run} for row in rows]
    asked = np.flatnonzero(test["species"].isin(run.answers))
    answers = evaluation.answers(training.embed(net, test_crops[asked]), test.iloc[asked])
    answers["query"] = asked[answers["query"]]  # numbered as in chapter 4
    return pd.DataFrame(log), answers.assign(run=run.run)


# %% [markdown]
# As in chapter 3, what was found under the same data, settings and code is read where it is there.
# Otherwise several runs go on at once, each in a process of its own, and the longest begin, so that
# no processor waits for the others in the end.

# %%
from miewid_lib import checkpoints, parallel

folder = ROOT / "data" / "new_species"
longest_first = plan.drop_duplicates("run").sort_values("steps", ascending=False, kind="stable")
jobs = [(run,) for run in longest_first.itertuples()]
settings = [stages, options, limits, centers, blank, device]
starts = [Path(start) for start in plan["start"].dropna().unique()]
runs = plan[["way", "share", "newcomer", "answers", "epochs", "run"]]
key = checkpoints.digest(crops, table, runs, *plan["rows"], *starts, *settings)

# %%
if checkpoints.is_done(folder, key):
    found = [pd.read_csv(folder / name) for name in ("log.csv", "answers.csv")]
else:
    at_once = threads if device == "cpu" else 1
    results = parallel.starmap(train_and_ask, jobs, threads=at_once)
    found = [pd.concat(tables, ignore_index=True) for tables in zip(*results, strict=True)]
logs, asked = found

# %% [markdown]
# One line a query and network. `tuned_on` names the newcomer a network was fine-tuned on (for the
# other ways it repeats the species), `n_photos` the photos of that species in the part.

# %%
about = plan[["way", "share", "newcomer", "run"]]
per_query = about.merge(asked, on="run").drop(columns=["run", "first_rank"])
per_query["kind"] = np.where(per_query["species"].isin(new), "new", "old")

# %%
tuned = per_query["way"] == "finetuned"
per_query["tuned_on"] = per_query.pop("newcomer").where(tuned, per_query["species"])
keys = per_query[["tuned_on", "share"]].itertuples(index=False, name=None)
per_query["n_photos"] = [len(parts.get(key, ())) for key in keys]

# %% [markdown]
# ## Which way, with how many photos?
#
# The mean over the newcomers, with a 95 % interval from drawing identities again. With few
# newcomers this says how sure the mean over *these* species is, and little about the next one.

# %%
asked_new = per_query[per_query["kind"] == "new"]
draws = {"seed": seed, "n_bootstrap": n_bootstrap}
means = {
    key: retrieval.species_mean(part, by="species", **draws)
    for key, part in asked_new.groupby(["way", "share"], sort=False)
}
means = pd.concat(means, names=["way", "share"]).droplevel(-1).reset_index()

# %%
total = asked_new.drop_duplicates(["share", "species"]).groupby("share")["n_photos"].sum()
means["n_photos"] = means["share"].map(total)
columns = ["way", "share", "n_photos", "n_species", "n_queries"]
means[[*columns, "chance_top1", "top1", "top1_low", "top1_high"]].round(3)

# %% [markdown]
# The first row needs no training at all: compare the others with it before comparing them with
# each other. In the picture it is the level line, and each way has a line of its own. Look at their
# height on the left, where a project starts, and at whether they meet on the right.

# %% alt="Score against the part of the new species that has arrived, one line a way"
from miewid_lib import charts

charts.growth(means)

# %% [markdown]
# Does the mean speak for every newcomer? Top-1 a species:

# %%
each = retrieval.summarise(asked_new, by=["species", "share", "n_photos", "way"], **draws)
steps = each[each["way"] != "heldout"]
wide = steps.pivot(index=["species", "share", "n_photos"], columns="way", values="top1")
idle = each[each["way"] == "heldout"].set_index("species")["top1"].rename("heldout")
wide.join(idle).round(3)

# %% [markdown]
# ## Query by query
#
# All ways answered the same queries, so they can be compared in pairs, as in chapter 5. A positive
# difference says that the first of the two is better; an interval across zero, that it was not
# shown.

# %%
pairs = [("joint", "scratch"), ("finetuned", "scratch"), ("joint", "finetuned")]
by_model = asked_new.rename(columns={"way": "model"})
differences = {
    share: retrieval.compare(by_model[by_model["share"] == share], pairs, **draws)
    for share in shares
}
differences = pd.concat(differences, names=["share"]).reset_index(level="share")

# %%
shown = ["model_a", "model_b", "share", "difference", "difference_low", "difference_high"]
mean = differences.loc[differences["species"] == "mean", shown]
percent = mean.set_index(shown[:3]).sort_index(level=[0, 1], sort_remaining=False)
(100 * percent).round(1)

# %% [markdown]
# In points, mean over the newcomers. And in words, for the first of the two: *better* or *worse*
# only where the whole interval lies on one side of zero. These words are computed, too.

# %%
sides = [mean["difference_low"] > 0, mean["difference_high"] < 0]
words = mean.assign(verdict=np.select(sides, ["better", "worse"], "not shown"))
words.pivot(index=["model_a", "model_b"], columns="share", values="verdict")

# %% [markdown]
# ## By heart?
#
# A network with millions of weights can learn a dozen animals by heart. Then its loss on the
# *training* photos is low and tells nothing. First the course of one newcomer's runs on the
# smallest part; fine-tuning begins with its frozen epochs.

# %% alt="Loss and training top-1 by epoch for each way on the smallest part"
log = about.merge(logs, on="run")
log["epoch"] = log.groupby(["way", "share", "newcomer"]).cumcount()
one = log[(log["newcomer"] == example) & (log["share"] == shares[0])]
figures.curves(one, x="epoch", y={"loss": "loss", "top1": "training top-1"}, hue="way")

# %% [markdown]
# Now the end of all runs beside the test. `train` is the share of training photos that find their
# identity in spite of the margin, `test` the top-1 from above, both as means over newcomers. The
# two ask different questions (of named animals, and of a catalogue), so the gap itself says little.
# What matters is where it *grows*: a part on which training goes up while the test stays behind is
# being learned by heart.

# %%
ends = log[log["newcomer"] != ""].groupby(["way", "share", "newcomer"])[["loss", "top1"]].last()
ends = ends.groupby(["way", "share"]).mean().rename(columns={"top1": "train"})
ends["test"] = means.set_index(["way", "share"])["top1"]
ends.assign(gap=ends["train"] - ends["test"]).round(3)

# %% [markdown]
# ## What is forgotten?
#
# Fine-tuning used no old photo, and nothing in its loss asks to keep the old species apart. So we
# ask the old questions again. One fine-tuned network first, the one that saw most photos of its
# newcomer: how many old queries were right before and after?

# %%
asked_old = per_query[per_query["kind"] == "old"].dropna(subset="top1")
before = asked_old[asked_old["way"] == "heldout"]
tuned = asked_old[asked_old["way"] == "finetuned"]
most = tuned.loc[tuned["n_photos"].idxmax(), ["tuned_on", "share"]]
one = tuned[(tuned[most.index] == most).all(axis=1)]
hits = {"before": before.set_index("query")["top1"], "after": one.set_index("query")["top1"]}
hits = pd.DataFrame(hits).replace({0.0: "wrong", 1.0: "right"})
pd.crosstab(hits["before"], hits["after"])

# %% [markdown]
# Off the diagonal stand the queries that were lost and those that were won. A mean shows only
# their difference. Here it is for all networks: the points that the old species lose, mean over
# them. For `finetuned` each query counts with its mean over the newcomers' networks. `joint` stands
# beside it: it saw the old photos, and shows what starting anew with more species changes.

# %%
again = asked_old[asked_old["way"] != "heldout"].drop(columns="n_photos")
again = retrieval.mean_over_seeds(again.assign(seed=again["tuned_on"], tuned_on=""))
forgotten = {
    key: retrieval.paired_difference(before, part, by="species", **draws)
    for key, part in again.groupby(["way", "share"])
}
forgotten = pd.concat(forgotten, names=["way", "share"]).reset_index(level=["way", "share"])

# %%
lost = forgotten[forgotten["species"] == "mean"].set_index(["way", "share"])
points = lost[["a", "b", "difference", "difference_low", "difference_high"]]
points = points.set_axis(["before", "after", "lost", "lost_low", "lost_high"], axis=1)
(100 * points).round(1).assign(n_queries=lost["n_queries"])

# %% [markdown]
# `lost` is in points with its interval; a negative number is a gain. A fine-tuned network serves
# the newcomer. Whoever needs both keeps both networks, and asks the one that fits the species.
#
# ## Check

# %%
steps = [(small, large) for small in shares for large in shares if small <= large]
assert all(set(parts[name, a]) <= set(parts[name, b]) for name in new for a, b in steps)
assert plan.groupby(["newcomer", "share"])["steps"].nunique().max() == 1
assert not np.isin(np.concatenate([parts[key] for key in parts]), old_rows).any()
made = log[log["stage"] == "everything"].groupby("run")["steps"].max()
assert (made == plan.drop_duplicates("run").set_index("run")["steps"][made.index]).all()
assert asked_new.groupby(["way", "share"])["query"].agg(frozenset).nunique() == 1

# %% [markdown]
# In words: a larger part holds the smaller, both ways that learn from a part alone were planned
# the same steps, no part holds an old photo, every run made the steps of the plan, and all ways
# answered the same queries.
#
# ## Save

# %%
leading = ["way", "share", "n_photos", "kind", "tuned_on", "species"]
columns = [*leading, *per_query.columns.drop(leading)]
per_query[columns].to_csv(ROOT / "data" / "new_species.csv", index=False)
folder.mkdir(exist_ok=True)
logs.round(6).to_csv(folder / "log.csv", index=False)
asked.to_csv(folder / "answers.csv", index=False)
checkpoints.mark_done(folder, key)

# %% [markdown]
# ## What we learned
#
# A newcomer has three ways to join. Compare them on the same queries, the same photos and the same
# number of steps, and beside what the network can do without any training. The table of verdicts
# says which differences are more than luck here. A low training loss says little, and a network
# tuned for one species has to be asked again about the others.
#
# **Differences from the paper.** The paper adds a species to the joint training in steps and finds
# it better than a network for the species alone at every size. It finds fine-tuning clearly better
# than starting from scratch on small sets, scratch catching up only with many individuals and
# photos, and joint training better still. Here several species arrive at once and all of them stay
# small, so whether scratch catches up later cannot be seen. The equal steps, the intervals and the
# measure of forgetting are additions of this page. One seed trained each network; chapter 5 shows
# how far two seeds can lie apart.
#
# **Exercises.** (1) Set `frozen_epochs` to zero. What changes for the newcomer, what for the old
# species? (2) Give `finetuned` some old photos with each batch. How many does it take to stop the
# forgetting? (3) Let another part arrive (`arriving = 2`). Does your advice to a field project
# change?
#
# With hints and checks: [the sheet of chapter 10](exercises/sheets/10_new_species.ipynb).
#
# Next: [11 · Your animals](11_your_animals.ipynb)
