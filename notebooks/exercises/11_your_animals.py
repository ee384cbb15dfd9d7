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
# # Exercises 11 · Your animals
#
# They belong to [chapter 11](../../11_your_animals.ipynb) and need
# `reports/tables/your_animals.csv`. Run the cells from top to bottom. Where it says *your turn*,
# put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import numpy as np
import pandas as pd

from miewid_lib.checks import using as checks
from miewid_lib.paths import ROOT, need

table = pd.read_csv(
    need(ROOT / "reports" / "tables" / "your_animals.csv", made_by="11_your_animals")
)
able = table[table["threshold"].notna()]

# %% [markdown]
# ## 1 · Predict, then run: who calls everyone new
#
# A lazy assistant answers *new animal* to every photo. Of 90 photos, 80 show known animals. Write
# `prediction = [accuracy, balanced]`: the share of right answers, and the mean of the share of
# known animals named rightly and of new ones turned away.

# %%
### BEGIN SOLUTION
prediction = [10 / 90, 0.5]
### END SOLUTION

# %%
known = np.arange(90) < 80
accepted = np.zeros(90, bool)
accuracy = np.where(known, accepted, ~accepted).mean()
balanced = (accepted[known].mean() + (~accepted)[~known].mean()) / 2
print(f"predicted {prediction}, computed [{accuracy:.3f}, {balanced:.3f}]")

# %% [markdown]
# Turn the numbers round: 80 of 90 photos show new animals. Which of the two numbers flatters now?

# %% [markdown] tags=["solution"]
# The plain share: the same lazy answer is right in 80 of 90 cases. The balanced one stays at one
# half whatever the mixture, and one half is what an answer without a look at the photo is worth.

# %% [markdown]
# ## 2 · Fill in: balanced accuracy
#
# Three arrays of booleans, one entry a photo: `known` (the animal is in the catalogue), `accepted`
# (its best candidate was accepted) and `right` (the candidate is the animal). Known animals are
# answered well when the candidate was accepted *and* is right, new ones when it was turned away.


# %%
def balanced_accuracy(known, accepted, right):
    ### BEGIN SOLUTION
    named = (accepted & right)[known].mean()
    turned_away = (~accepted)[~known].mean()
    return (named + turned_away) / 2
    ### END SOLUTION


checks.check_balanced_accuracy(balanced_accuracy)

# %% [markdown]
# The same from two columns of the chapter's table; there each animal counts alike.

# %%
halves = able.set_index("species")[["known_right", "new_turned_away", "balanced_accuracy"]]
assert np.allclose(halves.iloc[:, :2].mean(axis=1), halves["balanced_accuracy"], atol=2e-4)
halves

# %% [markdown]
# ## 3 · Fill in: the area under the curve
#
# Of all pairs of one known and one new animal: the share in which the known one has the larger
# similarity. A tie counts one half. `known` and `new` are arrays of similarities.


# %%
def auc(known, new):
    ### BEGIN SOLUTION
    return ((known[:, None] > new) + 0.5 * (known[:, None] == new)).mean()
    ### END SOLUTION


checks.check_auc(auc)

# %% [markdown]
# The example of the chapter, and what happens to it if every similarity is doubled and lowered by
# one. Why does no threshold appear?

# %%
known, new = np.array([0.9, 0.4]), np.array([0.5, 0.4])
print(auc(known, new), auc(2 * known - 1, 2 * new - 1))

# %% [markdown] tags=["solution"]
# Only the order counts, so stretching and shifting change nothing. The area says how well *some*
# threshold could do; choosing one is a second task, and the table shows that it costs something.

# %% [markdown]
# ## 4 · Change a parameter: fewer draws
#
# In a terminal, in the folder of `dvc.yaml` (a minute):
#
# ```sh
# dvc exp run -S your_animals.n_draws=2 -s your_animals
# dvc exp show --only-changed
# git checkout params.yaml dvc.lock reports && dvc checkout     # back to the book
# ```
#
# Each draw decides anew who is known and who is new. What happens to the thresholds with two draws
# instead of twenty, and what to the intervals?

# %% [markdown] tags=["solution"]
# Thresholds move, since fewer pairs of known and new animals set them. The intervals hardly do:
# they draw *animals* again, and more draws of who is known bring no new animals. Nobody becomes
# surer about a species by asking the same few animals more often.
