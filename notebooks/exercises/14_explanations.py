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
# # Exercises 14 · Animal or grass?
#
# They belong to [chapter 14](../../14_explanations.ipynb) and need
# `reports/tables/explanations.csv`. Run the cells from top to bottom. Where it says *your turn*,
# put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib.checks import using as checks
from miewid_lib.paths import ROOT, need

made = need(ROOT / "reports" / "tables" / "explanations.csv", made_by="14_explanations")
table = pd.read_csv(made)

# %% [markdown]
# ## 1 · Predict, then run: a map that knows nothing
#
# A map is made of random numbers, an animal covers a third of the crop. Which share of the map lies
# on the animal, about? Write `prediction`, a number between 0 and 1.

# %%
### BEGIN SOLUTION
prediction = 1 / 3
### END SOLUTION

# %%
rng = np.random.default_rng(0)
animal = np.zeros((72, 72))
animal[:, 24:48] = 1
noise = rng.random((72, 72))
print(f"predicted {prediction:.2f}, found {(noise * animal).sum() / noise.sum():.2f}")

# %% [markdown]
# A page on the web shows maps with "sixty per cent on the animal". What do you need to know before
# that means anything?

# %% [markdown] tags=["solution"]
# How much of the crop the animals cover. In tight crops it is often more than half, and then a map
# of noise scores as well. The chapter therefore compares with the covered share, pair by pair.

# %% [markdown]
# ## 2 · Fill in: the share on the animal
#
# `heat` [S, S] says by how much the cosine fell when a place was covered; where it *rose*, it is
# negative and counts as nothing. `animal` [S, S] is 1 on the animal, 0 beside it, and between at
# edges. Give the share of the positive part that lies on the animal.


# %%
def share_on(heat, animal):
    ### BEGIN SOLUTION
    positive = np.clip(heat, 0, None)
    return (positive * animal).sum() / positive.sum()
    ### END SOLUTION


checks.check_share_on(share_on)

# %% [markdown]
# What the chapter found with the same rule: `a` is the share on the animal, `b` the covered share.

# %%
maps = table[table["model_a"] == "map"].set_index("species")
print(f"{share_on(np.array([[3.0, 1.0, -5.0]]), np.array([[1.0, 0.0, 0.0]])):.2f} by hand: 0.75")
maps[["n_queries", "a", "b", "difference", "difference_low", "difference_high"]]

# %% [markdown]
# ## 3 · Change a parameter: smaller windows
#
# In a terminal, in the folder of `dvc.yaml` (some minutes):
#
# ```sh
# dvc exp run -S explanations.n_windows=12 -s explanations
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# Which numbers change, which cannot, and what does the map gain and lose?

# %% [markdown] tags=["solution"]
# Only the maps and their shares change. The experiments with backgrounds paint no windows, so their
# numbers stay. Smaller windows follow the outline better, but each hides so little that the cosine
# hardly falls: the map becomes noisy, and it takes four times as long.
