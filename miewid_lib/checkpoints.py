"""Checkpoints of a run that may be killed, and marks of finished ones; keyed by what decides it."""

import hashlib
import inspect
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from miewid_lib import depthwise, distributed, images, losses, models, retrieval, similarity

DONE = "key.txt"


def digest(*facts) -> str:
    """Name of what `facts` decide: arrays, tables, files (Path) and settings, and the code of ours.

    The versions of torch and the number of its threads are facts, too.
    """
    from miewid_lib import evaluation, training

    found = hashlib.sha256(f"{torch.__version__} {torch.get_num_threads()}".encode())
    for module in (depthwise, distributed, images, losses, models, retrieval, similarity):
        found.update(inspect.getsource(module).encode())
    for module in (evaluation, training):
        found.update(inspect.getsource(module).encode())
    for fact in facts:
        found.update(_content(fact))
    return found.hexdigest()[:32]


def _content(fact: object) -> bytes:
    if isinstance(fact, np.ndarray):
        return f"{fact.dtype} {fact.shape}".encode() + np.ascontiguousarray(fact).tobytes()
    if isinstance(fact, pd.DataFrame):
        return fact.to_csv().encode()
    return fact.read_bytes() if isinstance(fact, Path) else f"{fact!r};".encode()


def run_key(system: nn.Module, crops: np.ndarray, *settings) -> str:
    """Name of a training run: the digest of its first weights, its photos and its settings."""
    weights = [tensor.cpu().contiguous().numpy() for tensor in system.state_dict().values()]
    plain = [s.tolist() if hasattr(s, "tolist") else s for s in settings]
    return digest(crops, *weights, plain)


def is_done(folder: Path, key: str) -> bool:
    """Tell whether `folder` holds what was made under this key, whole."""
    path = folder / DONE
    return path.is_file() and path.read_text().strip() == key


def mark_done(folder: Path, key: str) -> None:
    """Say under which key the content of `folder` was made; the last thing to write there."""
    (folder / DONE).write_text(key + "\n")


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
