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
# # Exercises 13 · Fine-tune on your own animals
#
# They belong to [chapter 13](../../13_finetune.ipynb) and need `data/models/finetuned`. Nothing is
# trained here. Run the cells from top to bottom. Where it says *your turn*, put your own lines in
# the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import finetuning
from miewid_lib.checks import using as checks
from miewid_lib.paths import ROOT, need

folder = need(ROOT / "data" / "models" / "finetuned", made_by="13_finetune")
log = pd.read_csv(folder / "my_model.csv")
frozen = (log["stage"] == finetuning.FROZEN).to_numpy()

# %% [markdown]
# ## 1 · Predict, then run: a curve that only falls
#
# Which of the three falls (nearly) without a break to the last epoch: the training loss, the
# validation loss, or neither? Write `prediction = "loss"`, `"validation_loss"` or `"neither"`.

# %%
### BEGIN SOLUTION
prediction = "loss"
### END SOLUTION

# %%
later = log[~frozen]
rises = {name: int((later[name].diff() > 0).sum()) for name in ("loss", "validation_loss")}
print(f"predicted {prediction}; epochs in which it rose: {rises}, of {len(later) - 1}")

# %% [markdown]
# Somebody shows you a training loss that falls to zero and says that the network now knows the
# animals. What do you ask for?

# %% [markdown] tags=["solution"]
# For the same curve on photos that it did not learn from, held out by encounter, with some animals
# it never saw. A network with millions of weights can learn a few hundred photos by heart.

# %% [markdown]
# ## 2 · Fill in: the epoch to keep
#
# `frozen` says in which epochs the loss learned alone, `training` and `validation` hold the losses
# after each epoch. Give the number of the epoch whose network should be kept, counted from 0 over
# all epochs.


# %%
def kept_epoch(frozen, training, validation):
    ### BEGIN SOLUTION
    open_to_all = np.where(frozen, np.inf, validation)
    return int(np.argmin(open_to_all))
    ### END SOLUTION


checks.check_kept_epoch(kept_epoch)

# %% [markdown]
# Yours on the chapter's curve, beside the epoch that the chapter kept:

# %%
mine = kept_epoch(frozen, log["loss"].to_numpy(), log["validation_loss"].to_numpy())
assert mine == finetuning.best_row(log)["epoch"], "another epoch"
log.loc[[mine, len(log) - 1], ["epoch", "loss", "validation_loss", "validation_top1"]]

# %% [markdown]
# The second row is the last epoch. Why not keep the epoch with the best *test* score?

# %% [markdown] tags=["solution"]
# Then the test has chosen, and its score is the best of many tries: it flatters. The test photos
# are asked once, after everything is decided.

# %% [markdown]
# ## 3 · Change a parameter: more time for the loss
#
# In a terminal, in the folder of `dvc.yaml` (a minute or two):
#
# ```sh
# dvc exp run -S finetune.frozen_epochs=8 -s finetune
# jupyter lab build/executed/13_finetune.ipynb                  # look at the curve
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# While it is frozen, does the validation top-1 move? And is a longer frozen stage worth its time?

# %%
log.loc[frozen, ["epoch", "loss", "validation_loss", "validation_top1"]]

# %% [markdown] tags=["solution"]
# The loss falls and the top-1 stays the same to the last digit: embeddings come from the network,
# and that does not move. The frozen stage only brings the directions of the loss to a sensible
# start, which takes few epochs.
