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
# # 12 · What replicates?
#
# **Question.** The paper makes a number of claims. Which of them come out the same in this book, on
# these animals, with this network?
#
# After this page you can turn a claim into a number with an interval, let the interval speak the
# verdict, and tell a claim that failed from one that was never tested.
#
# | Reads | Writes |
# | --- | --- |
# | `data/per_query.csv` | `reports/tables/claims.csv` |
# | `data/per_query_backbones.csv` | `reports/metrics/claims.json` |
# | `data/split.csv` | |
# | `data/new_species.csv` | |
# | `reports/tables/figure1.csv` | |
# | `reports/tables/figure2.csv` | |
# | `reports/tables/figure3_steps.csv` | |
# | `reports/tables/figure4.csv` | |
# | `reports/tables/public_models.csv` | |
#
# Takes seconds.

# %% tags=["parameters"]
seed = 20241  # of the bootstrap
n_bootstrap = 2000  # resamples behind each interval
joint_minus_single = 12.5  # published mean difference in top-1 points, 49 species
joint_minus_megadescriptor = 19.2  # published, 33 species that neither was trained on
efficientnetv2_minus_swinv2 = 4.5  # published, 49 species

# %% [markdown]
# ## How a claim becomes a verdict
#
# *The joint model is better than separate ones* becomes: the paired difference of top-1, averaged
# over species, is positive. Its 95 % interval decides. If it lies above zero, the claim is
# **replicated** here. If it does not, it is **not replicated**, and the note says whether the
# interval includes zero (we cannot tell) or lies below (the opposite holds). What cannot be asked
# here at all is **not testable at this scale**, which is no verdict on the claim. The size of a
# difference need not agree with the paper's, and is shown beside it only where the paper has one.
#
# All intervals but that of the last correlation draw *animals*. So *replicated* means: for other
# animals of these species. For other species, see the second table of chapter 5, whose intervals
# draw species as well and are wider.

# %%
import inspect

from miewid_lib import claims

print(inspect.getsource(claims.verdict))

# %% [markdown]
# Three made-up intervals, three answers:

# %%
[claims.verdict(low, high) for low, high in ((2.0, 9.0), (-1.0, 9.0), (-9.0, -2.0))]

# %% [markdown]
# ## The differences of chapters 5 to 8
#
# Each chapter has saved its comparisons in the same form, so that one line picks one of them. You
# need not have read them all. `heldout` is a joint network that never saw the species it is asked
# about. `5` against `1` is five photos of the queried animal in the database against one; the
# *first step* is what the second photo adds, the *last step* what the last one adds.
# `efficientnetv2` and `swinv2` are two kinds of backbone.

# %%
import pandas as pd

from miewid_lib.paths import ROOT, need

folder = ROOT / "reports" / "tables"
chapters = {"figure1": "05_figure1", "figure2": "06_figure2"}
chapters |= {"figure3_steps": "07_figure3", "figure4": "08_figure4"}
tables = [pd.read_csv(need(folder / f"{n}.csv", made_by=by)) for n, by in chapters.items()]

# %%
saved = pd.concat(tables).query("species == 'mean'")
saved = saved.astype({"model_a": str, "model_b": str})
saved = saved.set_index(["model_a", "model_b", "metric"]).sort_index()
saved[["n_species", "n_queries", "difference", "difference_low", "difference_high"]]

# %% [markdown]
# Is a species missing? The split of chapter 2 gives a species no test photo when its animals have
# too few separate sightings. No claim below speaks of such a species, and the notes name it. An
# empty list means that every species has test photos.

# %%
table = pd.read_csv(need(ROOT / "data" / "split.csv", made_by="02_split"))
per_query = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
left_out = sorted(set(table["species"]) - set(per_query["species"]))
without = f"without {', '.join(left_out)}: too few sightings" if left_out else ""
left_out

# %% [markdown]
# Each claim names two models and a measure; the paper's number, where it printed one, stands beside
# it. The second line is no claim of the paper but the control of chapter 5: the single models get
# more steps, so that lack of patience is a less likely reason for them to lose.

# %%
joint, nothing = "multispecies", float("nan")
asked = [
    ("one joint model beats one model a species", joint, "single", "top1", joint_minus_single),
    ("... also if those take more steps", joint, "single_matched", "top1", nothing),
    ("features transfer to unseen species", "heldout", "imagenet", "top5", nothing),
    ("training on the species adds to that", joint, "heldout", "top5", nothing),
]

# %% [markdown]
# For figure 3 the claims are that more own photos help, and that the curve soon flattens, so that
# its first step is worth more than its last. For figure 4 it is that convolutions beat attention;
# both networks were small and started from random weights, unlike those of the paper.

# %%
ends = [name for pair in saved.index for name in pair[:2] if name.isdigit()]
most, fewest = max(ends, key=int), min(ends, key=int)
backbones = ("efficientnetv2", "swinv2", "top1", efficientnetv2_minus_swinv2)
asked += [
    ("more photos of the animal in the database help", most, fewest, "top1", nothing),
    (
        "the first further photo helps more than the last",
        "first step",
        "last step",
        "top1",
        nothing,
    ),
    ("EfficientNetV2 beats Swin-V2", *backbones),
]

# %% [markdown]
# The verdicts so far:

# %%
rows = [
    claims.claim(text, saved.loc[(a, b, metric)], paper=paper, note=without)
    for text, a, b, metric, paper in asked
]
pd.DataFrame(rows)[["claim", "ours", "low", "high", "verdict"]].round(1)

# %% [markdown]
# ## A new species
#
# Chapter 10 left one line for each query, way of training and share of the new animals that was
# used: from *scratch* on them alone, *fine-tuned* on them from a joint network, or *joint* on old
# and new together. The paper's three claims: the joint model beats the single one at *every* share
# (so the one where it does least decides); on the smallest share, fine-tuning without the old
# photos beats training from scratch; and with all of the new photos, training jointly again beats
# fine-tuning.

# %%
from miewid_lib import retrieval

arrived = pd.read_csv(need(ROOT / "data" / "new_species.csv", made_by="10_new_species"))
new = arrived[(arrived["kind"] == "new") & (arrived["way"] != "heldout")]
options = {"seed": seed, "n_bootstrap": n_bootstrap}

# %%
pairs = [("joint", "scratch"), ("finetuned", "scratch"), ("joint", "finetuned")]
by_share = {
    share: retrieval.compare(part.assign(model=part["way"]), pairs, **options)
    for share, part in new.groupby("share")
}

# %% [markdown]
# One comparison for each pair of ways and each share; from here on only their means over species
# count. A claim about *every* share is as strong as the one where it is weakest.

# %%
steps = pd.concat(by_share, names=["share"]).reset_index(level="share")
steps = steps[steps["species"] == "mean"].set_index(["model_a", "model_b", "share"]).sort_index()
least = claims.weakest(steps.loc[("joint", "scratch")])
tuned, again = (steps.loc[(*pairs[1], min(by_share))], steps.loc[(*pairs[2], max(by_share))])

# %%
weakest, smallest = (f"{share:.0%} of its animals" for share in (least.name, min(by_share)))
rows += [
    claims.claim("joint beats single at every part of a new species", least, note=weakest),
    claims.claim("fine-tuning beats scratch on the smallest part", tuned, note=smallest),
    claims.claim("training jointly again beats fine-tuning", again),
]

# %% [markdown]
# ## Where is the gain largest?
#
# *The gain is largest where photos are few* is a claim about species, so its interval draws
# species. The number is a rank correlation between photos and gain, with its sign turned: positive
# agrees with the paper.

# %%
figure1 = pd.read_csv(folder / "figure1.csv").query("model_b == 'single' and species != 'mean'")
figure1["n_annotations"] = figure1["species"].map(table["species"].value_counts())
gain = figure1.dropna(subset="difference")
rows.append(claims.rank_claim("joining helps most where photos are few", gain, **options))

# %% [markdown]
# The bootstrap draws the species of figure 1 again and again, some of them twice, and takes the
# correlation each time. With a handful of species that says little, and the interval will admit it.
#
# ## What could not be asked
#
# A claim about a network that is not here gets a line all the same. Leaving it out would make the
# list look more complete than it is. It has no number of ours and no interval.

# %%
public = pd.read_csv(need(folder / "public_models.csv", made_by="09_public_models"))
is_mega = public["model_b"].str.startswith("megadescriptor-l")
mega = public[is_mega & (public["species"] == "mean") & (public["metric"] == "top1")]
text = "a MiewID that never saw the species beats MegaDescriptor-L-384"
if len(mega):
    rows.append(claims.claim(text, mega.iloc[0], paper=joint_minus_megadescriptor))
else:
    why = "its weights are not here"
    rows.append(claims.untestable(text, paper=joint_minus_megadescriptor, why=why))

# %% [markdown]
# ## The verdicts

# %%
pd.set_option("display.max_colwidth", None)
verdicts = pd.DataFrame(rows, columns=claims.COLUMNS)
verdicts.round(2).astype(object).where(verdicts.notna(), "")

# %% [markdown]
# Read the notes before the verdicts. A handful of species are little evidence: an interval that
# includes zero here does not contradict the paper. And one that agrees on drawn animals does not
# prove it for real ones.
#
# How far do the seeds disagree? The difference between two training runs of the same model, in
# points of top-1 averaged over species, is a yardstick for every number above. (With one seed the
# table is empty, and this page has no such yardstick.)

# %%
other = pd.read_csv(need(ROOT / "data" / "per_query_backbones.csv", made_by="08_figure4"))
by_seed = pd.concat([per_query, other]).groupby(["model", "seed", "species"])["top1"].mean()
runs = 100 * by_seed.groupby(["model", "seed"]).mean().unstack("seed")
runs = runs[runs.notna().sum(axis=1) > 1]
runs.assign(range=runs.max(axis=1) - runs.min(axis=1)).dropna().round(1)

# %% [markdown]
# ## Check

# %%
tested = verdicts[verdicts["verdict"] != claims.NOT_TESTABLE]
assert tested[["ours", "low", "high"]].notna().all().all() and (tested["n_queries"] > 0).all()
assert ((tested["low"] > 0) == (tested["verdict"] == claims.REPLICATED)).all()
published = {joint_minus_single, joint_minus_megadescriptor, efficientnetv2_minus_swinv2}
assert set(verdicts["paper"].dropna()) <= published

# %% [markdown]
# Each verdict follows from its interval, and a number of the paper stands only where it has one.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

counted = verdicts["verdict"].value_counts().sort_index().to_dict()
(reports("metrics") / "claims.json").write_text(json.dumps(counted, indent=2) + "\n")
verdicts.round(2).to_csv(folder / "claims.csv", index=False)

# %% [markdown]
# ## What we learned
#
# A claim needs a number, a number needs an interval, and a verdict follows from it without anybody
# choosing words. What was not tested stays empty.
#
# **Differences from the paper.** It gives no intervals, so nobody can say from it which of its
# differences would survive other animals of the same species.
#
# **Exercises.** (1) Let chapters 5 to 8 save their intervals with `resample_species=True`. Which
# verdict changes? (2) Make one claim of
# your own from the columns of `per_query`, and judge it. (3) `dvc exp run -S photos.seed=8` draws
# another herd and runs the whole book on it: which verdicts stay?
#
# With hints and checks: [the sheet of chapter 12](exercises/sheets/12_claims.ipynb).
