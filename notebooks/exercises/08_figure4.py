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
# # Exercises 8 · Two kinds of backbone
#
# They belong to [chapter 8](../../08_figure4.ipynb) and need the models of figure 4 in
# `data/models`. Nothing is trained here. Run the cells from top to bottom. Where it says *your
# turn*, put your own lines in the place of `raise`.

# %%
from miewid_lib.checks.session import start

start()

# %%
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from miewid_lib import models
from miewid_lib.checks import learning as checks
from miewid_lib.paths import ROOT, need

names = ("efficientnetv2", "swinv2")
folder = need(ROOT / "data" / "models" / "backbones", made_by="03_train")
nets = {name: models.load(next(folder.glob(f"{name}-*.safetensors"))) for name in names}

# %% [markdown]
# ## 1 · Predict, then run: coarser patches
#
# The Swin-V2 of the book cuts a photo of 72 pixels into patches of three. With patches of six there
# is a quarter of them. By which factor does its work for one photo fall, and by which its number of
# weights? Write `prediction = (factor of the work, factor of the weights)`.

# %%
### BEGIN SOLUTION
prediction = (4, 1)
### END SOLUTION


# %%
def cost(net):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, 72, 72))
    weights = sum(parameter.numel() for parameter in net.parameters())
    return {"multiplications": counter.get_total_flops() / 2e6, "weights": weights / 1e6}


book = nets["swinv2"]
coarse = models.EmbeddingNet(book.name, **book.timm_arguments | {"patch_size": 6}).eval()
costs = pd.DataFrame({"patches of 3": cost(book), "patches of 6": cost(coarse)}).T
print("predicted:", prediction)
costs.round(2), (costs.iloc[0] / costs.iloc[1]).round(2).to_dict()

# %% [markdown]
# Both in millions. Whose fins or coats would suffer from patches of six?

# %% [markdown] tags=["solution"]
# Those told apart by what is smaller than a patch: notches in a fin, small spots. A patch is turned
# into numbers before it is compared with others, so what lies inside it must survive that first
# step. The weights hardly change, since they belong to patches and windows and not to places.

# %% [markdown]
# ## 2 · Fill in: the work of a convolution
#
# The output of a convolution has `height` × `width` places and `n_out` channels; its square filters
# have `kernel` × `kernel` places and see `n_in / groups` channels. How many multiplications is
# that?


# %%
def multiplications(height, width, n_in, n_out, kernel, groups):
    ### BEGIN SOLUTION
    return height * width * n_out * kernel**2 * (n_in // groups)
    ### END SOLUTION


checks.check_multiplications(multiplications)

# %% [markdown]
# Match PyTorch's count for the convolutional network, and look at its dearest layers:

# %%
layers = []


def note(layer, _, output):
    height, width = output.shape[-2:]
    work = height, width, layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.groups
    layers.append((*work, multiplications(*work)))


convolutions = [m for m in nets["efficientnetv2"].modules() if isinstance(m, torch.nn.Conv2d)]
hooks = [layer.register_forward_hook(note) for layer in convolutions]
total = cost(nets["efficientnetv2"])["multiplications"]
for hook in hooks:
    hook.remove()
columns = ["height", "width", "n_in", "n_out", "kernel", "groups", "multiplications"]
layers = pd.DataFrame(layers, columns=columns)
print(f"yours {layers['multiplications'].sum() / 1e6:.2f} million, PyTorch {total:.2f} million")
layers.nlargest(5, "multiplications")

# %% [markdown]
# A depthwise convolution has as many groups as channels. How many times less work is it than a full
# one, and what can it not do?

# %% [markdown] tags=["solution"]
# As many times less as it has channels. But each filter sees one channel alone, so it cannot join
# what different channels found; that is why a convolution of one by one place follows it, which
# joins channels and sees no neighbours.

# %% [markdown]
# ## 3 · Change a parameter: more patience
#
# If you have a quarter of an hour, train both twice as long:
#
# ```sh
# dvc exp run -S train.rival_epochs=16 -s train@backbones figure4
# dvc exp show --only-changed
# ```
#
# Before you look: which of the two has more to gain, judging by its loss in chapter 8? And which
# line of `dvc exp show` would make you change your mind about the two kinds of network?

# %% [markdown] tags=["solution"]
# The one whose loss was still falling at the end. The metric is `efficientnetv2 minus swinv2`: if
# its interval moves to the other side of zero, what the first run compared was how fast the two
# learn. If it stays across zero in both runs, neither run shows who is better, and one run with a
# lucky sign is no reason to change anything.
