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
# # 8 · Two kinds of backbone
#
# **Question.** Should the network look at a photo with convolutions, or with attention?
#
# After this page you can compare two backbones fairly (same photos, same recipe, like cost), and
# say why a comparison from random weights may come out differently from one that starts with
# ImageNet. This is figure 4 of the paper.
#
# | Reads | Writes |
# | --- | --- |
# | `data/per_query.csv` | `data/per_query_backbones.csv` |
# | `data/split.csv` | `reports/figures/figure4.png` |
# | `data/crops.npz` | `reports/tables/figure4.csv` |
# | `data/models/backbones` | `reports/metrics/figure4.json` |
#
# Takes less than a minute.

# %% tags=["parameters"]
seed = 20241  # of the bootstrap
threads = 2  # of torch; fixed, because the last bits of a sum depend on it
n_bootstrap = 2000  # resamples behind each interval
paper = 4.5  # published mean difference in points, over 49 species

# %% [markdown]
# ## What differs
#
# **EfficientNetV2** slides small filters over the photo. That a pattern means the same wherever it
# lies is built into it, and need not be learned. **Swin-V2** cuts the photo into patches and lets
# the patches of a window attend to each other; what belongs together is learned from data, which
# pays when there is much of it. Chapter 3 trained networks of each kind, one a seed, on the same
# photos, with the same loss, rates and number of steps, all *from random weights*: no ImageNet
# weights of a Swin-V2 come with a Python package, and starting only one kind from ImageNet would
# decide the comparison beforehand.
#
# ## Do they cost the same?
#
# A larger network usually wins, so we look at the size and at the work for one photo, in millions
# of multiplications. Seconds depend on the machine, multiplications do not.

# %%
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from miewid_lib import models
from miewid_lib.paths import ROOT, need

torch.set_num_threads(threads)
names = ("efficientnetv2", "swinv2")
folder = need(ROOT / "data" / "models" / "backbones", made_by="03_train")

# %%
files = pd.read_csv(folder / "runs.csv").drop_duplicates("model").set_index("model")["file"]
nets = {name: models.load(folder / f"{files[name]}.safetensors") for name in names}
size_px = nets["swinv2"].timm_arguments["img_size"]

# %% [markdown]
# PyTorch counts the operations of a forward pass; two of them are one multiplication and its sum.

# %%
costs = {}
for name, net in nets.items():
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, size_px, size_px))
    weights = sum(parameter.numel() for parameter in net.parameters())
    costs[name] = {"backbone": net.name, "embedding": net.embedding_size}
    costs[name] |= {"weights (million)": weights / 1e6}
    costs[name] |= {"multiplications (million)": counter.get_total_flops() / 2e6}
pd.DataFrame(costs).T

# %% [markdown]
# ## Did they learn?
#
# Both losses on the same axes, each the mean over its seeds. They may be compared here, since both
# networks sort the same photos into the same identities.

# %% alt="Loss and training top-1 by epoch for EfficientNetV2 and Swin-V2"
from miewid_lib import figures

log = pd.read_csv(folder / "log.csv").rename(columns={"run": "network"})
logs = dict(list(log.groupby("network")))
titles = {"loss": "loss", "top1": "training top-1 (with margin)"}
figures.curves(log, x="epoch", y=titles, hue="network")

# %% [markdown]
# A loss that is still falling at the end says that this network is not done. What such a figure
# compares is how *fast* two kinds of network learn from few photos, not how good they can become.
#
# ## Species by species

# %%
import numpy as np

from miewid_lib import annotations, evaluation, retrieval

table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
crops = np.load(need(ROOT / "data" / "crops.npz", made_by="01_dataset"))["crops"]
rows = np.flatnonzero(table["part"] == "test")
test = table.iloc[rows].reset_index(drop=True)
asked = evaluation.ask(folder, test, crops[rows])

# %% [markdown]
# The ImageNet features answered the same photos in chapter 4; they join the comparison.

# %%
saved = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
untrained = saved[saved["model"] == "imagenet"]
averaged = retrieval.mean_over_seeds(pd.concat([asked, untrained], ignore_index=True))

# %%
options = {"seed": seed, "n_bootstrap": n_bootstrap}
pairs = [("efficientnetv2", "swinv2"), ("efficientnetv2", "imagenet"), ("swinv2", "imagenet")]
differences = retrieval.compare(averaged, pairs, **options)

# %% [markdown]
# Columns `a` and `b` are the two means, then comes their difference.

# %%
mean = differences[differences["species"] == "mean"].set_index(["model_a", "model_b"])
columns = ["n_species", "n_queries", "difference", "difference_low", "difference_high"]
mean[["a", "b", *columns]].round(3)

# %% [markdown]
# The first line is the question of this page. The other two put both networks beside the ImageNet
# features of chapter 4: what a few minutes of training from nothing are worth against a
# million photos of other things.
#
# Would another training run say the same? A row a seed, each run of one network against that of the
# other:

# %%
retrieval.by_seed(asked, pairs[0], **options)[columns[2:]].round(3)

# %% [markdown]
# If the sign changes from row to row, the draw of the first weights decides who wins at least as
# much as the kind of network. Figure 4 takes the mean of the seeds, query by query.
#
# ## Figure 4
#
# The paper's average is drawn as a dashed line. It belongs to networks that started from ImageNet,
# on other photos and other species.

# %%
from miewid_lib import charts

sizes = table["species"].value_counts().sort_values(kind="stable")
scores = retrieval.species_scores(averaged, by="model", **options)
scores["n_annotations"] = scores["species"].map(sizes)
order = [name for name in sizes.index if name in set(scores["species"])]

# %% alt="Figure 4: top-1 by species for EfficientNetV2 and Swin-V2, and the difference"
first = differences[differences["model_b"] == "swinv2"]
rivals = ("swinv2", "efficientnetv2")
figure = charts.dumbbell(scores, first, order=order, models=rivals, paper=paper)
figure

# %% [markdown]
# ## What this can show, and what not
#
# It can show whether convolutions learn faster from some thousand small photos. It cannot show
# which backbone is better for a project with ten times the photos, with ImageNet weights and with
# photos of 256 pixels. The intervals draw animals; they hold for the networks at hand, and the rows
# by seed are the only look at others.
#
# ## Check

# %%
assert logs["efficientnetv2"]["steps"].tolist() == logs["swinv2"]["steps"].tolist()
assert logs["efficientnetv2"]["lr"].tolist() == logs["swinv2"]["lr"].tolist()
pair = averaged[averaged["model"].isin(names)]
assert pair.groupby("model")["annotation_id"].agg(frozenset).nunique() == 1

# %% [markdown]
# Same steps, same rates, same queries.
#
# ## Save

# %%
import json

from miewid_lib.paths import reports

asked.to_csv(ROOT / "data" / "per_query_backbones.csv", index=False)
differences.round(4).to_csv(reports("tables") / "figure4.csv", index=False)
numbers = mean[columns].set_axis(mean.index.map("{0[0]} minus {0[1]}".format))
text = json.dumps(numbers.round(4).to_dict(orient="index"), indent=2) + "\n"
(reports("metrics") / "figure4.json").write_text(text)
figure.savefig(reports("figures") / "figure4.png", **charts.PRINT)

# %% [markdown]
# ## What we learned
#
# A backbone is compared with its cost beside it, from the same start, query by query.
#
# **Differences from the paper.** The paper compares EfficientNetV2-M with Swin-V2 base, both from
# ImageNet weights and at 256 pixels. Here both are small and start from random weights. At the
# paper's scale the same page compares the full networks, also from random weights.
#
# **Exercises.** (1) `dvc exp run -S train.rival_epochs=16 -s train@backbones figure4`
# trains twice as long. Who gains more? (2) Give the Swin-V2 patches of six pixels. What happens to
# its cost, and what to its score? (3) Why would a fin with notches be a hard case for large
# patches?
#
# With hints and checks: [the sheet of chapter 8](exercises/sheets/08_figure4.ipynb).
#
# Next: [9 · Against public models](09_public_models.ipynb)
