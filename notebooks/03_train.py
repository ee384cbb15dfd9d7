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
# # 3 · One embedding for all species
#
# **Question.** How does a network learn to place photos so that those of one animal lie together,
# for hundreds of animals with a handful of photos each, and for many species at once?
#
# After this page you can compute GeM pooling and an angular margin by hand, say what dynamic
# margins and sub-centers are for, draw the learning-rate schedule, and train the network.
#
# | Reads | Writes |
# | --- | --- |
# | `data/split.csv` | `data/models/<model>` |
# | `data/crops.npz` | |
#
# Takes some minutes for each model on two cores, and seconds where its networks are there already.
#
# The pipeline runs this page five times and changes one word, `model`:
#
# - `multispecies`: one network for all species;
# - `single`: one network for each species, with the same number of passes over its photos;
# - `single_matched`: the same with more steps, for a fair comparison in chapter 5;
# - `heldout`: networks that never saw some of the species, for chapters 6 and 7;
# - `backbones`: two kinds of network from random weights, for chapter 8.

# %% tags=["parameters"]
seed = 20241  # of the examples on this page
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
device = "cpu"  # cpu or cuda
model = "multispecies"  # or another of the five above
backbone = "tf_efficientnet_lite0"  # any timm network
pretrained = True  # start from ImageNet weights
seeds = [0, 1]  # a run a seed for multispecies, single, backbones; the first for the others
epochs = 10  # passes over the training photos
batch_size = 32  # photos a step; the published value is 16
min_steps = 150  # single_matched trains at least so many steps a species
folds = 3  # heldout leaves out one part of the species in each of so many runs
lr_start = 9.4e-05  # learning rate at the start; published 4.73e-05
lr_max = 0.0018  # at the top; published 8.97e-04 with half the batch
lr_min = 1.4e-06  # in the end; published 1.41e-06
ramp = 3  # epochs of warm-up; published 15 of 25 to 30, really 7.5
sustain = 0  # epochs at lr_max
decay = 0.6  # factor an epoch after it; published 0.8
n_subcenters = 3  # centers a class; published
scale = 51.96  # of the cosines before the softmax; published
margin_min_rad = 0.2  # for the identity with most photos; published
margin_max_rad = 0.3284  # for the identity with fewest; published
precision = "bfloat16"  # of the network's own sums; measured faster than float32 here
processes = 1  # that share each batch; on graphics cards, how many of them
accumulate = 1  # parts in which a batch goes through, if it does not fit into memory
rival_epochs = 8  # of chapter 8, whose networks cost more
efficientnetv2 = "tf_efficientnetv2_b0"  # chapter 8, from random weights as is its rival
swinv2 = "swinv2_tiny_window8_256"  # chapter 8, of the shape below
swinv2_shape = {"img_size": 72, "patch_size": 3, "window_size": 6, "embed_dim": 36}  # small
swinv2_stages = {"depths": [2, 2, 2, 2], "num_heads": [2, 4, 8, 12]}  # at its rival's cost

# %% [markdown]
# ## From a feature map to one vector
#
# The backbone turns a photo into a map of features: for each of many channels a small grid of
# numbers. **GeM** (generalised mean) pools a channel to one number with a power *p* that is
# learned. At one, it is the average; the larger it is, the more the strongest response decides.
# Take four numbers and three powers.

# %%
import numpy as np

four = np.array([0.1, 0.2, 0.4, 2.0])
{p: float(np.mean(four**p) ** (1 / p)).__round__(3) for p in (1, 3, 10)}

# %% [markdown]
# A stripe in one corner should count even when the rest of the flank is plain, so the start is
# three. The library's layer does the same for every channel of a whole batch:

# %%
import torch

from miewid_lib import models

torch.set_num_threads(threads)
grid = torch.tensor(four, dtype=torch.float32).reshape(1, 1, 2, 2)  # one photo, one channel
models.GeM(p=3.0)(grid).item()

# %% [markdown]
# After pooling comes BatchNorm, which puts all channels on one scale, and that vector is the
# **embedding**. Two photos are compared by the cosine of the angle between their vectors, so
# length does not matter. Before it all, colours are shifted and scaled as in the backbone's own
# training (normalisation). This is the forward pass:

# %%
import inspect

print(inspect.getsource(models.EmbeddingNet.forward))

# %% [markdown]
# ## A class is a direction
#
# During training each identity owns a direction in the space of embeddings, and a photo should
# point its way. The cosines to all identities, times a number (`scale`), are turned into shares
# that add up to one (softmax); the **loss** is minus the logarithm of the share of the right
# identity. One **step** moves the weights a little, to lower the loss of one **batch** of photos;
# one pass over all photos is an **epoch**. Let a photo point 40° from its own identity's direction
# and 60° from another's. The plain softmax is content already, since the right one is closer:

# %%
own, other = np.cos(np.radians([40, 60]))
f"{own:.3f} against {other:.3f}"

# %% [markdown]
# **ArcFace** asks for more. It adds a margin to the angle of the *own* identity before comparing,
# as if the photo were that much further away. With a margin of 0.3 radians:

# %%
margin_rad = 0.3
with_margin = np.cos(np.radians(40) + margin_rad)
f"{with_margin:.3f} against {other:.3f}"

# %% [markdown]
# Now the photo is hardly better off with its own identity, the loss stays high, and the network
# keeps pulling the photo closer. Photos of one animal end up in a narrow cone with empty space
# around it, which is meant to help with animals the network has never seen. The library agrees:

# %%
from miewid_lib import losses

head = losses.SubCenterArcFace(2, 2, n_subcenters=1, scale=1.0, margins_rad=[margin_rad] * 2)
directions = np.radians([0, 100])  # two identities
head.weight.data = torch.tensor(np.c_[np.cos(directions), np.sin(directions)]).float()
photo = torch.tensor([[np.cos(np.radians(40)), np.sin(np.radians(40))]]).float()
head.logits(photo, torch.tensor([0])).detach().numpy().round(3)

# %% [markdown]
# ## Few photos, wide margin
#
# A direction estimated from three photos is vague, one from thirty is firm. **Dynamic margins**
# give rare identities the wider margin: with $t = n^{-1/4}$ for *n* photos, the margin runs from
# the lower limit at the smallest *t* to the upper one at the largest, in proportion to *t*. Three
# animals with 1, 16 and 81 photos have *t* = 1, 1/2 and 1/3:

# %%
from miewid_lib import annotations

t = np.array([1, 16, 81]) ** -0.25
by_hand = 0.2 + (0.4 - 0.2) * (t - t.min()) / (t.max() - t.min())
by_library = losses.dynamic_margins([1, 16, 81], margin_min_rad=0.2, margin_max_rad=0.4)
by_hand.round(3), by_library.round(3)

# %% [markdown]
# On our own training set the two limits are the published ones.

# %%
import pandas as pd

from miewid_lib import figures
from miewid_lib.paths import ROOT, need

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
in_train = (table["part"] == "train").to_numpy()
photos_each = table.loc[in_train, "identity"].value_counts()
limits = {"margin_min_rad": margin_min_rad, "margin_max_rad": margin_max_rad}
margins = losses.dynamic_margins(photos_each.to_numpy(), **limits)

# %% [markdown]
# The left picture shows the rule on our own training set, the right one how many identities there
# are for each number of photos.

# %% alt="Margin falls with the number of photos; and the number of identities with so many"
rule = pd.DataFrame({"photos": photos_each.to_numpy(), "margin": margins})
rule = rule.groupby("photos")["margin"].agg(["first", "size"]).reset_index()
figures.curves(rule, x="photos", y={"first": "margin in radians", "size": "identities"})

# %% [markdown]
# What if all identities have the same number of photos? Then the smallest and the largest fourth
# root are equal, and the formula divides zero by zero. The public code returns *not a number*, the
# loss follows, and the run ends without a model or a message. Ours gives everyone the widest
# margin:

# %%
losses.dynamic_margins([5, 5, 5], **limits)

# %% [markdown]
# ## Three directions for one animal
#
# A grown male may look nothing like the same male as a calf, and a wrong name may have slipped in.
# With **sub-centers** each identity owns three directions, and only the nearest one counts. Odd
# photos gather at a direction of their own and stop dragging the others.
#
# ## Learning rate
#
# The rate climbs in a *ramp* (a pretrained network forgets if it is pushed hard at once), then
# decays. The public scheduler advances its counter by two in each epoch, so that its ramp is half
# as long as its settings say and the decay twice as fast. Both forms have a name here.

# %%
from miewid_lib import training

schedule = {"lr_start": lr_start, "lr_max": lr_max, "lr_min": lr_min}
schedule |= {"ramp": ramp, "sustain": sustain, "decay": decay}
rates = pd.DataFrame({
    name: training.learning_rates(epochs, stepping=name, **schedule)
    for name in ("as_written", "as_run")
})  # fmt: skip

# %% [markdown]
# The models of this book use `as_written`.

# %% alt="Learning rate by epoch, as written and as the public code ran it, twice as fast"
lines = rates.rename_axis("epoch").reset_index().melt("epoch", var_name="stepping")
figures.curves(lines, x="epoch", y={"value": "learning rate"}, hue="stepping")

# %% [markdown]
# ## Photos that vary
#
# Each time a photo is shown it is moved, turned, scaled, brightened, sharpened or greyed a little,
# and sometimes a corner is covered. Nothing is ever *mirrored*: a left flank turned into a right
# one would teach the network that two identities are one. Here is one photo, eight times:

# %% alt="One crop eight times, each moved, turned, brightened or partly covered anew"
from miewid_lib import images

crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
one = torch.from_numpy(crops[np.flatnonzero(in_train)[:1]].repeat(8, axis=0))
generator = torch.Generator().manual_seed(seed)
varied = images.augment(one.permute(0, 3, 1, 2) / 255, generator=generator)  # [8, 3, S, S]
figures.photo_grid({"augmented": list((varied.permute(0, 2, 3, 1).numpy() * 255).astype("uint8"))})

# %% [markdown]
# ## Which runs?
#
# A run *learns* from the training photos of some species and later *answers* for some: the joint
# network learns from all and answers for all. A species answers only if it has test photos. For
# `heldout`, the species are dealt into parts like cards, from the most to the least photographed,
# and each run leaves one part out and answers for just that part.

# %%
species = table["species"].to_numpy()
trained = sorted(set(species[in_train]))
tested = set(species[table["part"] == "test"])
by_size = [name for name in table["species"].value_counts().index if name in tested]

# %%
parts = [by_size[k::folds] for k in range(min(folds, len(by_size)))]
rivals = {"efficientnetv2": (efficientnetv2, {}), "swinv2": (swinv2, swinv2_shape | swinv2_stages)}
runs = [("all species", trained, by_size)]
if model in ("single", "single_matched"):
    runs = [(name, [name], [name]) for name in trained if name in tested]
elif model == "heldout":
    runs = [(f"without part {k}", sorted({*trained} - {*p}), p) for k, p in enumerate(parts, 1)]
elif model == "backbones":
    runs = [(name, trained, by_size) for name in rivals]

# %% [markdown]
# A small species takes few steps in an epoch, and might lose only because it was stopped early. So
# `single_matched` adds epochs until every species has made at least `min_steps` steps.

# %%
plan = pd.DataFrame(runs, columns=["run", "learns", "answers"])
plan["photos"] = [(in_train & np.isin(species, names)).sum() for names in plan["learns"]]
steps = np.ceil((plan["photos"] - 1) / batch_size)  # a last batch of one photo is left out
plan["epochs"] = rival_epochs if model == "backbones" else epochs
if model == "single_matched":
    plan["epochs"] = np.maximum(epochs, np.ceil(min_steps / steps)).astype(int)
plan["steps"] = (steps * plan["epochs"]).astype(int)
plan

# %% [markdown]
# A longer run stretches the whole schedule: its ramp keeps the same share of the epochs, and the
# rate ends about where the others end. All runs but those of chapter 8 start from the same ImageNet
# weights.

# %%
run_seeds = seeds if model in ("multispecies", "single", "backbones") else seeds[:1]

# %% [markdown]
# ## Train
#
# One function makes a network and its loss, and trains both. `training.fit` is the loop: cut the
# photos into batches, vary them, compute the loss, let the optimiser Adam take a step; it gives
# back a row of numbers for each epoch. Progress goes to the terminal and not into this page; a run
# that is interrupted goes on from the last epoch it saved (`resume_in`).

# %%
from miewid_lib.progress import progress


def train(run, run_seed: int) -> tuple[models.EmbeddingNet, pd.DataFrame]:
    chosen = np.flatnonzero(in_train & np.isin(species, run.learns))
    labels, identities = pd.factorize(table["identity"].iloc[chosen], sort=True)
    torch.manual_seed(run_seed)
    network, shape = rivals.get(run.run, (backbone, {}))
    from_imagenet = pretrained and run.run not in rivals
    net = models.EmbeddingNet(network, pretrained=from_imagenet, **shape).to(device)
    margins_rad = losses.dynamic_margins(np.bincount(labels), **limits)
    centers = {"n_subcenters": n_subcenters, "scale": scale, "margins_rad": margins_rad}
    head = losses.SubCenterArcFace(net.embedding_size, len(identities), **centers).to(device)
    longer = run.epochs / epochs
    stretched = schedule | {"ramp": round(ramp * longer), "decay": decay ** (1 / longer)}
    rates = training.learning_rates(run.epochs, **stretched)
    options = {"batch_size": batch_size, "precision": precision, "accumulate": accumulate}
    options |= {"seed": run_seed, "rates": rates, "resume_in": ROOT / "build" / "checkpoints"}
    rows = training.fit(net, head, crops[chosen], labels, **options)
    label = f"{run.run}, seed {run_seed}"
    log = pd.DataFrame(progress(rows, total=run.epochs, label=label))
    return net, log.assign(run=run.run, seed=run_seed)


# %% [markdown]
# The pipeline removes what an earlier run has left before it starts this page. Where you read it by
# yourself the networks are there, and if nothing that decides them has changed, neither data nor
# settings nor code, they are read in a moment. Change a parameter, and they are trained.

# %%
from miewid_lib import checkpoints

folder = ROOT / "data" / "models" / model
settings = [run_seeds, schedule, limits, n_subcenters, scale, backbone, pretrained, rivals]
settings += [batch_size, precision, processes, accumulate, device]
key = checkpoints.digest(crops, table, plan, *settings)
jobs = [(run, run_seed) for run_seed in run_seeds for run in plan.itertuples()]
files = [folder / f"{run.run.replace(' ', '_')}-seed{seed}.safetensors" for run, seed in jobs]

# %% [markdown]
# A small network on two threads wastes a part of them waiting, so `starmap` gives each run one
# thread and a process of its own, as many at once as there are threads. A graphics card has room
# for one run; where there are several cards, `spread` shares every batch out over `processes` of
# them, with the same losses.

# %%
from miewid_lib import distributed, parallel

if checkpoints.is_done(folder, key):
    logs = dict(list(pd.read_csv(folder / "log.csv").groupby(["run", "seed"])))
    trained = [(models.load(f), logs[run.run, n]) for f, (run, n) in zip(files, jobs, strict=True)]
elif processes > 1:
    cards = {"processes": processes, "device": device, "threads": threads}
    trained = [distributed.spread(train, *job, **cards) for job in jobs]
else:
    trained = parallel.starmap(train, jobs, threads=threads if device == "cpu" else 1)

# %%
nets = {(run.run, run_seed): net for (run, run_seed), (net, _) in zip(jobs, trained, strict=True)}
log = pd.concat([log for _, log in trained], ignore_index=True)

# %% [markdown]
# ## What happened?
#
# On the left the loss. In the middle the share of *training* photos that find their identity in
# spite of the margin, on photos that were varied anew each time. On the right the learning rate.

# %% alt="Three curves by epoch, a line a run: loss, training top-1, learning rate"
titles = {"loss": "loss", "top1": "training top-1 (with margin)", "lr": "learning rate"}
figures.curves(log[log["seed"] == run_seeds[0]], x="epoch", y=titles, hue="run")

# %% [markdown]
# Has the loss settled? The last column says by what fraction it still fell in the last quarter of
# the epochs. Whether the network has learned anything about *animals* cannot be seen here, since it
# could know these photos by heart. The next page asks that with photos it has never seen.

# %%
each = log.groupby(["run", "seed"])
ends = each[["steps", "loss", "top1"]].last()
earlier = each["loss"].apply(lambda loss: loss.iloc[-1 - len(loss) // 4])
ends.assign(last_fall=1 - ends["loss"] / earlier).round(3)

# %% [markdown]
# ## Check

# %%
done = log.groupby("run")["epoch"].max() + 1
assert (done[plan["run"]].to_numpy() == plan["epochs"]).all()
assert (log.groupby("run")["steps"].max()[plan["run"]].to_numpy() == plan["steps"]).all()
assert np.isfinite(log["loss"]).all()

# %% [markdown]
# Every run of the plan went to its end in the planned number of steps, and no loss became infinite
# or undefined.

# %% [markdown]
# ## Save
#
# Weights are written as safetensors, a format that cannot carry code, with the name of the
# backbone and its normalisation inside; a small JSON beside each says the same to people, and which
# species it learned from. `runs.csv` says which file answers for which species.

# %%
folder.mkdir(parents=True, exist_ok=True)
for file, (run, run_seed) in zip(files, jobs, strict=True):
    about = {"size_px": crops.shape[1], "species": run.learns}
    models.save(nets[run.run, run_seed], file, **about)

# %%
rows = plan.assign(model=plan["run"] if model == "backbones" else model)
rows = rows.merge(pd.DataFrame({"seed": run_seeds}), how="cross").explode("answers")
rows["file"] = rows["run"].str.replace(" ", "_") + "-seed" + rows["seed"].astype(str)
rows = rows.rename(columns={"answers": "species"})[["file", "model", "run", "seed", "species"]]
rows.to_csv(folder / "runs.csv", index=False)
log.round(6).to_csv(folder / "log.csv", index=False)
checkpoints.mark_done(folder, key)

# %% [markdown]
# ## What we learned
#
# An embedding is a pooled feature map. A margin in the angle leaves space around every animal,
# widest where photos are few. Sub-centers forgive odd photos. The joint network and the separate
# ones differ in nothing but the photos they see.
#
# **Differences from the paper.** MiewID trains EfficientNetV2-M at 256 pixels (440 in production)
# for 25 to 30 epochs on graphics cards; here a smaller network learns from smaller crops in fewer
# epochs, with the published loss and margins, and a ramp and decay that are steeper accordingly. In
# the classroom batch and learning rate are both twice the published ones, since larger batches are
# cheaper. The colour jitter of the public code also shifts
# hues, which nobody asked for; ours does not.
#
# **Exercises.** (1) Set `margin_min_rad` and `margin_max_rad` to zero. Which of the curves changes
# most? (2) Plot the cosine against the angle with and without margin, from 0° to 180°. (3) Train
# with `n_subcenters = 1`. How many steps does it take to reach the same loss?
#
# With hints and checks: [the sheet of chapter 3](exercises/sheets/03_train.ipynb).
#
# Next: [4 · Asking one photo against the rest](04_evaluate.ipynb)
