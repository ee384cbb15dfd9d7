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
# # Exercises 9 · Against public models
#
# They belong to [chapter 9](../../09_public_models.ipynb) and need `data/split.csv` and the photos.
# No weights have to be downloaded. Run the cells from top to bottom. Where it says *your turn*, put
# your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import pandas as pd
import torch

from miewid_lib import annotations, evaluation, images, models, training
from miewid_lib.checks import comparing as checks
from miewid_lib.paths import ROOT, need

torch.set_num_threads(1)
photo_root = need(ROOT / "data" / "photos", made_by="dvc repro data/dvc.yaml:photos")
table = annotations.read(need(ROOT / "data" / "split.csv", made_by="02_split"))
test = table[table["part"] == "test"]
folder = need(ROOT / "data" / "models" / "heldout", made_by="03_train")

# %% [markdown]
# ## 1 · Predict, then run: the size of a photo
#
# The ImageNet features get crops of 72 pixels here. For the species with most test photos, what
# happens to their top-1 with crops of 36, and of 144 pixels? Write `prediction = "rises"`,
# `"falls"` or `"stays"` for each: `prediction = (at 36, at 144)`.

# %%
### BEGIN SOLUTION
prediction = ("falls", "rises")
### END SOLUTION

# %%
joint = models.load(next(folder.glob("*.safetensors")))
net = models.EmbeddingNet(joint.name, pretrained=True, **joint.timm_arguments)
one = test[test["species"] == test["species"].value_counts().index[0]].reset_index(drop=True)
scores = {}
for size_px in (36, 72, 144):
    crops = images.crops(one, photo_root, size_px=size_px)
    answers = evaluation.answers(training.embed(net, crops), one)
    scores[size_px] = answers[["top1", "chance_top1"]].mean()
shorter_px = one[["w", "h"]].min(axis=1).median()
print(f"predicted: {prediction}; {len(one)} photos, median shorter side {shorter_px:.0f} pixels")
pd.DataFrame(scores).T.rename_axis("pixels").round(3)

# %% [markdown]
# Compare 144 pixels with the median side of the boxes. What does the larger crop show that one of
# 72 does not, and why could a network care all the same?

# %% [markdown] tags=["solution"]
# Hardly anything: pixels that the photo does not have cannot be won back. But the filters of a
# network were learned for patterns of a certain size, and in a larger crop a coat has the size it
# had in the photos of ImageNet. So a size that fits the network can help without showing more. That
# is why each public network gets photos of the size it was made for.

# %% [markdown]
# ## 2 · Fill in: which species are fair?
#
# `tested` is a list of species, `ours` and `theirs` are the `set`s of species that the two networks
# learned from. Give the `set` of species on which neither side has an advantage of that kind.


# %%
def fair(tested, ours, theirs):
    ### BEGIN SOLUTION
    return set(tested) - ours - theirs
    ### END SOLUTION


checks.check_fair(fair)

# %% [markdown]
# In the book each `heldout` network answers for its own part. Suppose a public network had learned
# from zebras, tigers and whale sharks: on which species could each of our networks meet it?

# %%
public = {"plains zebra", "tiger", "whale shark"}
answers = pd.read_csv(folder / "runs.csv").groupby("run")["species"].agg(set)
tested = sorted(set(test["species"]))
pd.Series({run: sorted(fair(tested, set(tested) - own, public)) for run, own in answers.items()})

# %% [markdown]
# A public network's page on the hub says *trained on 49 species* and lists no names. What can you
# compare, and what do you have to write beside the result? And what if it states no licence?

# %% [markdown] tags=["solution"]
# Nothing zero-shot: any tested species may be one of the 49. Such a result may be shown as *trained
# on unknown species*, which says that the comparison may flatter it. Without a licence nobody has
# been given a right to use or pass on the weights: ask the authors, and put neither the weights nor
# a network made from them into your own repository.
