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
# | `data/split.csv` | `reports/tables/new_species.csv` |
# | `data/new_species.csv` | `reports/figures/new_species.png` |
# | `reports/tables/figure1.csv` | `reports/figures/poster.png` |
# | `reports/tables/figure2.csv` | `reports/metrics/claims.json` |
# | `reports/tables/figure3.csv` | |
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
# Each chapter has saved its comparisons in the same form, so that one line picks one of them.

# %%
import pandas as pd

from miewid_lib.paths import ROOT, need

folder = ROOT / "reports" / "tables"
names = {"figure1": "05", "figure2": "06", "figure3_steps": "07", "figure4": "08"}
tables = [pd.read_csv(need(folder / f"{n}.csv", made_by=f"{c}_…")) for n, c in names.items()]
saved = pd.concat(tables).query("species == 'mean'")
saved = saved.astype({"model_a": str, "model_b": str})
saved = saved.set_index(["model_a", "model_b", "metric"]).sort_index()
saved[["n_species", "n_queries", "difference", "difference_low", "difference_high"]]

# %%
joint = "multispecies"
rows = [
    claims.claim("one joint model beats one model a species (figure 1)",
                 saved.loc[(joint, "single", "top1")], paper=joint_minus_single),
    claims.claim("the same when the single models take more steps",
                 saved.loc[(joint, "single_matched", "top1")], note="control of this book"),
    claims.claim("a model that never saw the species beats untrained features (figure 2, top-5)",
                 saved.loc[("heldout", "imagenet", "top5")]),
    claims.claim("training on the species adds to that (figure 2, top-5)",
                 saved.loc[(joint, "heldout", "top5")]),
]  # fmt: skip

# %% [markdown]
# For figure 3 the claims are that more own photos help, and that the curve soon flattens: its first
# step is worth more than its last.

# %%
ends = [name for pair in saved.index for name in pair[:2] if name.isdigit()]
most, fewest = max(ends, key=int), min(ends, key=int)
rows += [
    claims.claim(f"{most} own photos in the database beat {fewest} (figure 3)",
                 saved.loc[(most, fewest, "top1")]),
    claims.claim("the first further photo is worth more than the last (figure 3)",
                 saved.loc[("first step", "last step", "top1")]),
    claims.claim("EfficientNetV2 beats Swin-V2 (figure 4)",
                 saved.loc[("efficientnetv2", "swinv2", "top1")],
                 paper=efficientnetv2_minus_swinv2, note="both small, from random weights"),
]  # fmt: skip

# %% [markdown]
# ## A new species
#
# Chapter 10 left one line for each query, way of training and part of the new species. The joint
# model must beat the single one at *every* part, so the part where it does least decides.

# %%
from miewid_lib import retrieval

arrived = pd.read_csv(need(ROOT / "data" / "new_species.csv", made_by="10_new_species"))
new = arrived[arrived["kind"] == "new"]
options = {"seed": seed, "n_bootstrap": n_bootstrap}
pairs = [("joint", "scratch"), ("finetuned", "scratch"), ("joint", "finetuned")]
by_share = {
    share: retrieval.compare(part.assign(model=part["way"]), pairs, **options)
    for share, part in new[new["way"] != "heldout"].groupby("share")
}

# %%
steps = pd.concat(by_share, names=["share"]).reset_index(level="share")
steps = steps[steps["species"] == "mean"].set_index(["model_a", "model_b", "share"]).sort_index()
least = claims.weakest(steps.loc[("joint", "scratch")])
smallest, whole = min(by_share), max(by_share)
rows += [
    claims.claim("joint training beats a single model at every part of a new species", least,
                 note=f"the weakest part, {least.name:.0%} of its individuals"),
    claims.claim("fine-tuning without old data beats training from scratch, smallest part",
                 steps.loc[("finetuned", "scratch", smallest)]),
    claims.claim("training jointly again beats fine-tuning, with all of the new species",
                 steps.loc[("joint", "finetuned", whole)]),
]  # fmt: skip

# %% [markdown]
# ## Where is the gain largest?
#
# *The gain is largest where photos are few* is a claim about species, so its interval draws
# species. The number is a rank correlation between photos and gain, with its sign turned: positive
# agrees with the paper.

# %%
import numpy as np

figure1 = pd.read_csv(folder / "figure1.csv").query("model_b == 'single' and species != 'mean'")
annotations = pd.read_csv(need(ROOT / "data" / "split.csv", made_by="02_split"))
figure1["n_annotations"] = figure1["species"].map(annotations["species"].value_counts())
gain = figure1.dropna(subset="difference")[["n_annotations", "difference", "n_queries"]]
rng = np.random.default_rng(seed)
draws = [gain.sample(frac=1, replace=True, random_state=rng) for _ in range(n_bootstrap)]

# %%
ranks = [-part["n_annotations"].corr(part["difference"], method="spearman") for part in draws]
low, high = np.nanquantile(ranks, (0.025, 0.975))
ours = -gain["n_annotations"].corr(gain["difference"], method="spearman")
counts = {"n_species": len(gain), "n_queries": gain["n_queries"].sum()}
said, reason = claims.verdict(low, high)
rows.append({
    "claim": "the gain of the joint model is largest where photos are few", "ours": ours,
    "low": low, "high": high, **counts, "verdict": said,
    "note": f"{reason}; a rank correlation, not points",
})  # fmt: skip

# %% [markdown]
# ## What could not be asked

# %%
public = pd.read_csv(need(folder / "public_models.csv", made_by="09_public_models"))
is_mega = public["model_b"].str.startswith("megadescriptor-l")
mega = public[is_mega & (public["species"] == "mean") & (public["metric"] == "top1")]
text = "a MiewID that never saw the species beats MegaDescriptor-L-384"
if len(mega):
    rows.append(claims.claim(text, mega.iloc[0], paper=joint_minus_megadescriptor))
else:
    why = "its weights are not here; chapter 9 says where they go"
    rows.append(claims.untestable(text, paper=joint_minus_megadescriptor, why=why))

# %% [markdown]
# ## The verdicts

# %%
pd.set_option("display.max_colwidth", None)
table = pd.DataFrame(rows, columns=claims.COLUMNS)
table.round(2).fillna({"paper": ""})

# %% [markdown]
# Read the notes before the verdicts. Ten species drawn by a program, or four real ones, are a small
# court: an interval that includes zero here does not contradict the paper. And one that agrees on
# drawn animals does not prove it for real ones.
#
# How far do the seeds disagree? The difference between two training runs of the same model, in
# points of top-1 averaged over species, is a yardstick for every number above.

# %%
per_query = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
by_seed = per_query.groupby(["model", "seed", "species"])["top1"].mean()
runs = 100 * by_seed.groupby(["model", "seed"]).mean().unstack("seed")
runs.assign(range=runs.max(axis=1) - runs.min(axis=1)).dropna().round(1)

# %% [markdown]
# ## The ways of chapter 10, and all figures on one page

# %%
from miewid_lib import charts

keys = ["way", "share", "n_photos"]
means = {}
for (way, share), part in new.groupby(["way", "share"]):
    mean = retrieval.species_mean(part, by="species", **options)
    means[way, share] = mean.assign(n_photos=part.groupby("species")["n_photos"].first().sum())
growth = pd.concat(means, names=["way", "share"]).reset_index(level=["way", "share"])
new_species = charts.growth(growth)
new_species

# %%
per_species = retrieval.mean_over_seeds(per_query)
scores = retrieval.summarise(per_species, by=["model", "species"], **options)
sizes = annotations["species"].value_counts().sort_values(kind="stable")
scores["n_annotations"] = scores["species"].map(sizes)
order = [name for name in sizes.index if name in set(scores["species"])]
differences = {n: pd.read_csv(folder / f"{n}.csv") for n in ("figure1", "figure2", "figure4")}
curve = pd.read_csv(folder / "figure3.csv")

# %% tags=["hide-input"]
one = differences["figure1"].query("model_b == 'single'")
two = differences["figure2"].query("model_a == 'multispecies' and metric == 'top5'")
four = differences["figure4"].query("model_b == 'swinv2'")
panels = [
    ("One model for all species, or one for each", lambda on: charts.dumbbell(
        scores, one, order=order, models=("single", joint), paper=joint_minus_single, on=on)),
    ("Species that nobody trained on", lambda on: charts.dumbbell(
        scores, two, order=order, models=("heldout", joint), reference="imagenet",
        metric="top5", on=on)),
    ("Photos of the animal in the database", lambda on: charts.catalogue(curve, on=on)),
    ("Convolutions or attention", lambda on: charts.dumbbell(
        scores, four, order=order, models=("swinv2", "efficientnetv2"),
        paper=efficientnetv2_minus_swinv2, on=on)),
]  # fmt: skip
poster = charts.poster(panels)
poster

# %% [markdown]
# ## Check

# %%
tested = table[table["verdict"] != claims.NOT_TESTABLE]
assert tested[["ours", "low", "high"]].notna().all().all() and (tested["n_queries"] > 0).all()
assert ((tested["low"] > 0) == (tested["verdict"] == claims.REPLICATED)).all()
assert set(table["paper"].dropna()) <= {
    joint_minus_single, joint_minus_megadescriptor, efficientnetv2_minus_swinv2
}  # fmt: skip

# %% [markdown]
# Each verdict follows from its interval, and a paper's number stands only where the paper has one.
#
# ## Save

# %%
import json

for name in ("figures", "tables", "metrics"):
    (ROOT / "reports" / name).mkdir(parents=True, exist_ok=True)
table.round(2).to_csv(folder / "claims.csv", index=False)
growth.round(4).to_csv(folder / "new_species.csv", index=False)
new_species.savefig(ROOT / "reports" / "figures" / "new_species.png", bbox_inches="tight")
poster.savefig(ROOT / "reports" / "figures" / "poster.png", bbox_inches="tight")
counted = table["verdict"].value_counts().sort_index().to_dict()
(ROOT / "reports" / "metrics" / "claims.json").write_text(json.dumps(counted, indent=2) + "\n")

# %% [markdown]
# ## What we learned
#
# A claim needs a number, a number needs an interval, and a verdict follows from it without anybody
# choosing words. What was not tested stays empty.
#
# **Differences from the paper.** It gives no intervals, so nobody can say from it which of its
# differences would survive other animals of the same species.
#
# **Exercises.** (1) Which verdict changes if intervals draw species as well? (2) Make one claim of
# your own from the columns of `per_query`, and judge it. (3) `dvc exp run -S photos.seed=8` draws
# another herd: which verdicts stay?
