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
# # Exercises 12 · What replicates?
#
# They belong to [chapter 12](../../12_claims.ipynb) and need `data/per_query.csv` and the tables in
# `reports/tables`. Run the cells from top to bottom. Where it says *your turn*, put your own lines
# in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib import claims, retrieval
from miewid_lib.checks import comparing as checks
from miewid_lib.paths import ROOT, need

per_query = pd.read_csv(need(ROOT / "data" / "per_query.csv", made_by="04_evaluate"))
table = pd.read_csv(need(ROOT / "reports" / "tables" / "claims.csv", made_by="12_claims"))

# %% [markdown]
# ## 1 · Predict, then run: three intervals
#
# Three claims that a number is positive, with the intervals (0.1, 0.2), (-1, 40) and (-3, -1).
# Which verdict does each get? Write `prediction = [first, second, third]` with `claims.REPLICATED`
# and `claims.NOT_REPLICATED`.

# %%
### BEGIN SOLUTION
prediction = [claims.REPLICATED, claims.NOT_REPLICATED, claims.NOT_REPLICATED]
### END SOLUTION

# %%
intervals = [(0.1, 0.2), (-1, 40), (-3, -1)]
for said, (low, high) in zip(prediction, intervals, strict=True):
    print(f"{low} to {high}: predicted {said}, computed {': '.join(claims.verdict(low, high))}")

# %% [markdown]
# The second one has by far the largest middle. Would you tell a journalist that the claim is wrong?

# %% [markdown] tags=["solution"]
# No: it was not shown, which is something else. The interval holds zero and large positive numbers
# alike, so the test was too small to tell. The note *interval includes zero* says that; the third
# one, *below zero*, speaks against its claim. And the first is replicated, but tiny.

# %% [markdown]
# ## 2 · Fill in: the verdict
#
# Return `claims.REPLICATED` if the interval lies above zero (a lower end of exactly zero does not),
# `claims.NOT_REPLICATED` if it does not, and `claims.NOT_TESTABLE` if there is no interval (NaN).


# %%
def verdict(low, high):
    ### BEGIN SOLUTION
    if np.isnan(low) or np.isnan(high):
        return claims.NOT_TESTABLE
    return claims.REPLICATED if low > 0 else claims.NOT_REPLICATED
    ### END SOLUTION


checks.check_verdict(verdict)

# %% [markdown]
# Yours, beside the column of the chapter:

# %%
mine = [verdict(row.low, row.high) for row in table.itertuples()]
assert mine == list(table["verdict"]), "one line differs"
table.assign(yours=mine)[["claim", "low", "high", "verdict", "yours"]]

# %% [markdown]
# ## 3 · Fill in: a claim of your own
#
# *The joint model finds the animal among five candidates more often than the single models do.*
# Compare `averaged` for the pairs `[("multispecies", "single")]` on `metrics=("top5",)` by
# `retrieval.compare` (seed 0, 1000 resamples). Take the row whose `species` is `mean`, and make a
# line of it by `claims.claim(text, row)`. Call that line `mine`.

# %%
averaged = retrieval.mean_over_seeds(per_query)
### BEGIN SOLUTION
pair = [("multispecies", "single")]
compared = retrieval.compare(averaged, pair, metrics=("top5",), seed=0, n_bootstrap=1000)
row = compared.set_index("species").loc["mean"]
mine = claims.claim("joint beats single among five candidates", row)
### END SOLUTION
pd.Series(mine).to_frame("your claim")

# %%
assert mine["n_queries"] == table["n_queries"].iloc[0], "figure 1 asks the same queries"
assert mine["verdict"] == claims.verdict(mine["low"], mine["high"])[0]

# %% [markdown]
# You could have asked for top-5, top-10, top-20 or mAP, for all species or for some. Why does it
# matter that you chose *before* looking?

# %% [markdown] tags=["solution"]
# With enough questions one of the intervals lies above zero by luck: where there is no difference,
# about one of forty does. A claim that was picked because it came out says little. So write the
# claim down first, and report all that were asked.

# %% [markdown]
# ## 4 · Change a parameter: another published number
#
# In a terminal, in the folder of `dvc.yaml` (some seconds):
#
# ```sh
# dvc exp run -S claims.joint_minus_single=50 -s claims
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# The paper's number is four times as large now. Which verdict changes?

# %% [markdown] tags=["solution"]
# None, and `dvc exp show` shows the same counts in both lines. The verdict asks whether the sign
# is the same, not whether the size is: sizes on drawn animals and on real ones cannot be expected
# to agree. The paper's number only stands beside ours.
