"""Checkpoints of a training run that may be killed: safetensors, keyed by all that decides it."""

import hashlib
import inspect
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from miewid_lib import depthwise, images, losses, models


def run_key(system: nn.Module, crops: np.ndarray, *settings) -> str:
    """Name of a run: a digest of everything that determines its weights, the code included."""
    from miewid_lib import training

    digest = hashlib.sha256(np.ascontiguousarray(crops))
    for tensor in system.state_dict().values():
        digest.update(tensor.cpu().contiguous().numpy())
    digest.update(repr([s.tolist() if hasattr(s, "tolist") else s for s in settings]).encode())
    digest.update(f"{torch.__version__} {torch.get_num_threads()} {crops.shape}".encode())
    for module in (depthwise, images, losses, models, training):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:32]


def save(path: Path, system: nn.Module, optimiser: torch.optim.Optimizer, rows: list) -> None:
    """Write weights, optimiser state and the rows of the epochs so far, in one step."""
    tensors = {f"system.{k}": v.contiguous() for k, v in system.state_dict().items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v.contiguous() for k, v in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"rows": json.dumps(rows)})
    partial.replace(path)


def resume(path: Path, system: nn.Module, optimiser: torch.optim.Optimizer) -> list:
    """Fill system and optimiser from the checkpoint at `path`; its rows, none where it is absent.

    A file that was cut short is not trusted: the run starts again.
    """
    if not path.exists():
        return []
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            rows = json.loads(file.metadata()["rows"])
    except SafetensorError:
        return []
    system.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("system.")})
    state: dict = {}
    for key in (k for k in tensors if k.startswith("optimiser.")):
        _, i, name = key.split(".")
        state.setdefault(int(i), {})[name] = tensors[key]
    weights = optimiser.param_groups[0]["params"]
    for i, moments in state.items():
        for name in ("exp_avg", "exp_avg_sq"):  # the fused kernel wants the weight's memory order
            moments[name] = torch.empty_like(weights[i]).copy_(moments[name])
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    return rows
