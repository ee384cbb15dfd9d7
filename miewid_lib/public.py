"""Networks that others published in timm's layout, to stand beside ours as they are."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from miewid_lib import weights
from miewid_lib.errors import WeightsError


class PublicNet(nn.Module):
    """Photo to embedding by a timm network: its own pooled features [B, D]; compare by cosine.

    `config` is timm's `config.json`: architecture, model_args, pretrained_cfg with input_size.
    Photos are `size_px` wide and high and are normalised with the ImageNet statistics, whatever the
    file says: the authors of MegaDescriptor evaluate it so, though its model card shows 0.5 and
    0.5. Set `mean` and `std` to compare. Raises WeightsError naming `where`.
    """

    def __init__(self, config: Mapping, where: Path):
        super().__init__()
        import timm
        from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        self.name, arguments = config.get("architecture"), config.get("model_args", {})
        weights.check_recipe(self.name, arguments, where)
        try:
            self.backbone = timm.create_model(self.name, **{**arguments, "num_classes": 0})
            channels, self.size_px, width = config["pretrained_cfg"]["input_size"]
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise WeightsError(f"{where}: does not describe a network ({reason})") from error
        if (channels, self.size_px) != (3, width) or type(width) is not int:
            raise WeightsError(f"{where}: input_size must be 3 and a square, not {channels, width}")
        self.embedding_size = self.backbone.head_hidden_size
        for key, value in (("mean", IMAGENET_DEFAULT_MEAN), ("std", IMAGENET_DEFAULT_STD)):
            self.register_buffer(key, torch.tensor(value).view(3, 1, 1), persistent=False)

    def normalise(self, photos: torch.Tensor) -> torch.Tensor:
        """Map photos [B, 3, size_px, size_px] in 0..1 to the range the network was trained on."""
        return (photos - self.mean) / self.std

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Embed normalised photos [B, 3, size_px, size_px] as [B, embedding_size]."""
        return self.backbone(photos)


def load(path: Path, state: Mapping[str, torch.Tensor]) -> PublicNet:
    """Return the network that `config.json` beside `path` describes, filled with `state`.

    A classifier in the file is left out; every other key must fit. Raises WeightsError.
    """
    where = path.with_name(weights.CONFIG)
    try:
        config = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{where}: not a readable JSON file ({error})") from error
    if not isinstance(config, dict):
        raise WeightsError(f"{where}: does not describe a network")
    net = PublicNet(config, where)
    weights.fill(net.backbone, present_layout(state, net.backbone), path, net.name)
    return net.eval()


def present_layout(state: Mapping[str, torch.Tensor], net: nn.Module) -> dict[str, torch.Tensor]:
    """Return `state` with today's keys of timm, without a classifier and without constants.

    Swin files from before timm 0.9, MegaDescriptor among them, count the merging of patches to the
    end of a stage; now it is the start of the next one.
    """
    classifier = (net.pretrained_cfg.get("classifier") or "head.fc", "head")
    left_out = {f"{name}.{kind}" for name in classifier for kind in ("weight", "bias")}
    left_out -= set(net.state_dict())
    old = "layers.0.downsample.reduction.weight" in state
    result = {}
    for key, value in state.items():
        if key in left_out or key.endswith((".relative_position_index", ".attn_mask")):
            continue
        if old and (stage := re.match(r"layers\.(\d+)\.downsample\.", key)):
            key = f"layers.{int(stage[1]) + 1}.{key.split('.', 2)[2]}"
        result[key] = value
    return result
