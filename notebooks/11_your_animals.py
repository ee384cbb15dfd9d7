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
# # 11 · Your animals
#
# **Question.** You come home with photos. Which animals of your catalogue are on them, which are
# new, and how far may you trust an answer?
#
# After this page you can check a folder of photos, rank the animals that each photo may show, turn
# a similarity into a decision with a probability, say how often it is wrong, and keep what a person
# decided.
#
# | Reads | Writes |
# | --- | --- |
# | `data/photos` | `reports/tables/your_animals.csv` |
# | `data/split.csv` | `reports/metrics/your_animals.json` |
# | `data/models/multispecies` | |
#
# Takes less than a minute for a thousand photos.

# %% tags=["parameters"]
seed = 20241  # of the draws of animals and of the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
lateral = ["plains zebra", "giraffe", "tiger", "leopard", "brown trout"]  # sides differ
min_side_px = 24  # smaller boxes hold too little coat to know anyone by
folder = ""  # your own photos; empty: those of the book
public = ""  # class of wildlife-datasets that reads the folder; empty: none
species = ""  # of plain folders, which do not say it
decisions_csv = ""  # file of what you decided before; empty: nothing yet
model = "data/models/multispecies"  # folder of a network of chapter 3
n_draws = 20  # of who is known and who is new
min_animals = 4  # a species with fewer known ones in a half gets no threshold
n_bootstrap = 1000  # resamples behind each interval

# %% [markdown]
# ## Your photos, or ours
#
# Set `folder` to try your own: a folder for each animal with its photos in it (`Ann/1.jpg`, and
# `Ann/day 2/7.jpg` where you know the encounters), or `annotations.csv` or `annotations.json` as
# the README describes. Photos beside the folders are of animals that you do not know yet.
#
# A *public data set* does as well, by the name of its class in the package wildlife-datasets: it is
# read with what is known of it here, sides and sightings above all. `wildlife.download` fetches one
# into `folder`; it refuses what is large unless told how large it may be. Read the licence first.

# %%
import pandas as pd

from miewid_lib.paths import ROOT, need
from miewid_lib.sources import folders, wildlife
from miewid_lib.sources.known import KNOWN

shown = ["species", "lateral", "viewpoint", "encounter", "licence", "download_mb"]
sets = pd.DataFrame(KNOWN.values(), index=list(KNOWN))[shown].astype(object)
sets.where(sets.notna(), "none stated")

# %% [markdown]
# Columns: which column or part of the file name tells the side and the sighting, what the licence
# allows, and megabytes. Without a stated licence nothing is granted, however easy the download.
#
# Without a folder the page takes the photos of all animals that no network of this book was
# trained on. Animals that the network knows from its training would look easier than yours are.

# %%
from miewid_lib import annotations

photo_root = ROOT / folder
if public:
    everything = wildlife.read(public, photo_root)
    lateral = [k.species for name, k in KNOWN.items() if name == public and k.lateral]
elif folder:
    everything = folders.read_any(photo_root, species=species)
else:
    photo_root = need(ROOT / "data" / "photos", made_by="dvc repro data/dvc.yaml:photos")
    split = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
    animal = split["species"] + "|" + split["individual"]
    everything = split[~animal.isin(animal[split["part"] == "train"])].reset_index(drop=True)

# %% [markdown]
# ## What is wrong with them?
#
# One photo saved under two names, a copy that sits in the catalogue and among the questions, an
# animal filed as *Ann* and as *ann*: each of these makes results look better or worse than they
# are. The report counts them and names one example of each. Copies are found by a hash of the
# coarse light and dark of a photo, which survives saving and shrinking.

# %%
from miewid_lib import checkup

pd.set_option("display.max_colwidth", 60)
checkup.report(everything, photo_root).fillna({"example": ""})

# %% [markdown]
# Repair what you can at home and run the page again. What remains is handled by rule. Names that
# you accepted earlier are filled in, copies of one photo become one encounter, and what cannot be
# used is dropped with a count.

# %%
from miewid_lib import review

said = review.read(ROOT / decisions_csv if decisions_csv else None)
named = annotations.set_identity(review.apply(everything, said), lateral=lateral)
copies = checkup.duplicates(named, photo_root)
named = checkup.join_encounters(annotations.fill_encounters(named), copies)
table, dropped = annotations.clean(named, photo_root, min_side_px=min_side_px)
print(f"{len(everything)} photos of animals, {len(table)} with a name and usable")

# %%
table.groupby("species").agg(photos=("annotation_id", "size"),
    animals=("individual", "nunique"), encounters=("encounter", "nunique"))  # fmt: skip

# %% [markdown]
# Photos without a name are the ones to ask about. They stay in a table of their own.

# %%
nameless = named[named["individual"].isna()].assign(individual="not known")
nameless, _ = annotations.clean(nameless, photo_root, min_side_px=min_side_px)
both = pd.concat([table, nameless.assign(individual=None)], ignore_index=True)
print(f"{len(nameless)} photos without a name")

# %% [markdown]
# ## From photos to vectors

# %%
import torch

from miewid_lib import images, models, training

torch.set_num_threads(threads)
runs = pd.read_csv(need(ROOT / model, made_by="03_train") / "runs.csv")
net = models.load(ROOT / model / f"{runs['file'].iloc[0]}.safetensors")
crops = images.crops(both, photo_root, size_px=net.size_px)
vectors = training.embed(net, crops)
vectors.shape

# %% [markdown]
# ## The wrong way first: a guessed threshold
#
# The most similar photo of the catalogue always exists, also for an animal that was never
# photographed. So somebody picks a similarity, say 0.5, and calls everything above it *the same*.
# To see what that does we need questions whose answer we know.
#
# For each species the animals are drawn into two halves by the seed. In each of many draws half of
# the animals of a half are **known**: their photos are the catalogue, and each photo is asked about
# while the others of its own encounter are hidden. The rest are **new**: none of their photos is in
# the catalogue. The first half may set thresholds, the second only judges them. The halves share
# neither questions nor catalogue.

# %%
from miewid_lib import decisions

asked = decisions.trials(vectors[: len(table)], table, seed=seed, n_draws=n_draws)
guess = asked[asked["half"] == "calibration"]
guess.assign(over=guess["similarity"] > 0.5).groupby(["species", "known"])["over"].mean().unstack()

# %% [markdown]
# Each number is the share of questions that a threshold of 0.5 would call *the same*. In the
# column of known animals it should be high, in that of new animals near zero. Compare the species:
# one number cannot serve them all.
#
# ## By hand
#
# Four questions. Two are of known animals, whose best similarities are 0.9 and 0.4, two of new
# ones, with 0.5 and 0.4. Of the four pairs of one known and one new animal two are in order, one is
# not and one is a tie, which counts one half. The share of pairs in order is the *area under the
# ROC curve* (AUC): 1 is perfect, one half says nothing.

# %%
import numpy as np

known, new = np.array([0.9, 0.4]), np.array([0.5, 0.4])
((known[:, None] > new) + 0.5 * (known[:, None] == new)).mean()

# %% [markdown]
# ## Calibrated on some animals
#
# The threshold of a species is the similarity that is worth most on its calibration animals: known
# ones named rightly and new ones turned away, both counted in shares, each animal alike. A logistic
# curve on the same animals turns a similarity into the probability that the best candidate *is*
# the animal. A species with too few animals gets no number; `note` says so.

# %%
calibrations = decisions.calibrate(asked, min_animals=min_animals)
pd.DataFrame(calibrations).set_index("species").round(3)

# %% [markdown]
# ## Judged on the others
#
# Three things can go wrong: a known animal is called new, a new one is taken for a known one, or a
# known one gets the wrong name. They cost different things in the field, so they stand apart.
# Balanced accuracy is the mean of two shares: known animals named rightly, new animals turned away.
# Who calls every animal new reaches one half.

# %%
from miewid_lib import open_set

judged = decisions.judge(asked, calibrations)
scores = open_set.scores(judged, seed=seed, n_bootstrap=n_bootstrap)
scores[["species", *open_set.METRICS]].round(3)

# %% [markdown]
# How sure are these numbers? The intervals draw the evaluation animals again. With a handful of
# animals they are wide, and that is the message. They do not hold the luck of the calibration
# animals, which another seed would show.

# %%
ends = [f"{m}{end}" for m in ("balanced_accuracy", "auc") for end in ("", "_low", "_high")]
scores[["species", "n_animals", "n_known", "n_new", *ends]].round(3)

# %% [markdown]
# ## Is a probability of 0.8 right eight times of ten?
#
# Sort the questions of the evaluation animals by the probability they were given and count how
# often the candidate was right. On the line, predicted is observed.

# %%
checked = open_set.reliability(judged)
checked.round(3)

# %% alt="Observed share of right candidates against the predicted probability" tags=["hide-input"]
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
ax.plot([0, 1], [0, 1], color="#b9c0c8", linewidth=1)
ax.plot(checked["predicted"], checked["observed"], "o-", color="#0b3c5d")
for row in checked.itertuples():
    where = {"textcoords": "offset points", "xytext": (7, -11), "fontsize": 8}
    ax.annotate(f"{row.n_photos} photos", (row.predicted, row.observed), **where)
ax.set(xlim=(0, 1.15), ylim=(-0.05, 1.05), xlabel="predicted probability", ylabel="share right")
plt.close(figure)
figure if len(checked) else "no species could be calibrated"

# %% [markdown]
# Points above the line are answers that are right more often than promised. Where few animals
# speak, the logistic fit stays close to their average, so its promises are cautious ones.
#
# The probability holds for a catalogue of this size in which half of the questions are of new
# animals. In a larger catalogue strangers find a closer double, and where most animals are known
# the number is too low.
#
# ## A look at the answers
#
# One question a line, from the evaluation animals: the photo asked about, and the most similar
# animals of the catalogue with their similarity, green where it is the right one. In front stands
# the decision with its probability.

# %%
first = asked[(asked["draw"] == 0) & (asked["half"] == "evaluation")]
animal = table["species"] + "|" + table["individual"]
catalogue = np.flatnonzero(animal.isin(first.loc[first["known"], "animal"]))
shown = judged[(judged["draw"] == 0) & (judged["half"] == "evaluation")]
shown = shown.groupby(["species", "known"]).sample(1, random_state=seed)
ranked = review.offers(vectors, both, shown["query"].to_numpy(), catalogue, k=4)

# %% alt="Queries with ranked candidates and the decision: same animal or new" tags=["hide-input"]
from miewid_lib import figures

strips = []
for row in shown.itertuples():
    mine = ranked[ranked["query"] == row.query]
    verdict = "same" if row.accepted else "new"
    kind = "known" if row.known else "new"
    label = f"{row.species}\nis {kind}, called {verdict}\n(p = {row.probability:.2f})"
    hits = animal[mine["candidate"].astype(int)] == row.animal
    photos = list(crops[mine["candidate"].astype(int)])
    strips.append({"label": label, "query": crops[row.query], "neighbours": photos, "hits": hits})
answers = figures.retrieval_strips(strips) if strips else "no species could be calibrated"
for i, row in enumerate(shown.itertuples()):
    for j, cosine in enumerate(ranked.loc[ranked["query"] == row.query, "similarity"]):
        review.write(answers.axes[i * (len(answers.axes) // len(strips)) + 1 + j], f"{cosine:.2f}")
answers

# %% [markdown]
# ## A person decides
#
# The network proposes; somebody who knows the animals decides. Photos without a name are asked
# about, or here, where there are none, the questions above. Pairs that you rejected are not offered
# again, and a name that you accept makes the photo part of the catalogue of the next run.

# %% alt="One question to a person: the photo asked about and the candidates offered"
questions = np.arange(len(table), len(both)) if len(nameless) else shown["query"].to_numpy()
known_rows = np.arange(len(table)) if len(nameless) else catalogue
offered = review.offers(vectors, both, questions, known_rows)
offer = review.next_offer(offered, said)
review.picture(offer, crops) if len(offer) else "no photo is left"

# %% [markdown]
# This is the first question as the widget shows it. In JupyterLab the line
# `review.widget(offered, crops, ROOT / "decisions.csv")` opens it, with buttons for *same*,
# *different*, *new* and *skip*. Each answer is a line in the file, which is written aside and then
# renamed, so that a computer that stops halfway loses no earlier answer. Give the file to the page
# as `decisions_csv`.
#
# ## Check
#
# The threshold must not know the animals that judge it. We replace all their vectors by noise and
# calibrate again.

# %%
judges = set(asked.loc[asked["half"] == "evaluation", "animal"])
noise = vectors[: len(table)].copy()
swap = animal.isin(judges).to_numpy()
noise[swap] = np.random.default_rng(seed).normal(size=noise[swap].shape)
again = decisions.trials(noise, table, seed=seed, n_draws=n_draws)
again = pd.DataFrame(decisions.calibrate(again, min_animals=min_animals))
pd.testing.assert_frame_equal(again, pd.DataFrame(calibrations))
assert not judges & set(asked.loc[asked["half"] == "calibration", "animal"])
assert len(table) + len(dropped) == len(everything)

# %% [markdown]
# Not a digit of any threshold moved.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

whole = pd.DataFrame(calibrations).merge(scores, on="species", how="outer", suffixes=("_half", ""))
metrics = scores.set_index("species")[["balanced_accuracy", "auc"]].round(4)
text = json.dumps(metrics.to_dict(orient="index"), indent=2) + "\n"
(reports("metrics") / "your_animals.json").write_text(text)
whole.round(4).to_csv(reports("tables") / "your_animals.csv", index=False)

# %% [markdown]
# ## What we learned
#
# Check before you match. A ranking always has a first place, so a decision needs a threshold, and a
# threshold needs known and new animals that it was not set on. Each species needs its own, or an
# honest *too few*.
#
# **Differences from the paper.** The paper ranks photos of animals that are all in the database. It
# has no new animals and no threshold.
#
# **Exercises.** (1) Run `review.widget(offered, crops, ROOT / "decisions.csv")`, answer some
# questions and run the page with your file. What changed? (2) Take the seen animals of the test
# part as well. Which numbers rise, and why may you not report them? (3) Set `seed` to three other
# values. Do the thresholds move more than the intervals are wide?
#
# With hints and checks: [the sheet of chapter 11](exercises/sheets/11_your_animals.ipynb).
#
# Next: [12 · What replicates?](12_claims.ipynb)
