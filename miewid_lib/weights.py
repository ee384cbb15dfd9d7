"""Files of weights: found in a folder or on the hub, read without running code, fitted strictly."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from miewid_lib.errors import WeightsError

FILE, PICKLED, CONFIG = "model.safetensors", "pytorch_model.bin", "config.json"
"""Names in a folder of weights, the same as on the hub."""

# Commits of the hub whose files are known; another name is read at its newest commit, `main`.
PINNED = {"conservationxlabs/miewid-msv3": "4f1d7f2b521149e5fe34bb85f377248ce9971a7d"}
# Arguments of timm that would fetch or unpickle a second file while a network is being built.
_READING = {
    "checkpoint_path",
    "pretrained",
    "cache_dir",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
}


def find(path_or_hub_name: str | Path, revision: str | None, *, allow_pickle: bool) -> Path:
    """Return the file of weights that is meant: a file, the one in a folder, or one of the hub.

    What exists on disk counts before a name on the hub. A folder holds `model.safetensors`, or
    with `allow_pickle` a `pytorch_model.bin`. Raises WeightsError.
    """
    path, name = Path(path_or_hub_name), str(path_or_hub_name).removeprefix("hf-hub:")
    names = (FILE, PICKLED) if allow_pickle else (FILE,)
    if path.is_dir():
        found = [path / file for file in names if (path / file).is_file()]
    elif path.exists():
        found = [path] if allow_pickle or path.name != PICKLED else []
    elif name != str(path_or_hub_name) or re.fullmatch(r"[\w-]+/[\w-]+(@\S+)?", name):
        name, _, commit = name.partition("@")  # timm's way to name a revision
        where = name, revision or commit or PINNED.get(name, "main")
        found = [file for file in (_fetch(*where, file) for file in names) if file]
        with suppress(WeightsError):  # MiewID needs none, so it may be missing without a connection
            _fetch(*where, CONFIG)
    else:
        raise WeightsError(f"{path}: no such file of weights")
    if not found:
        hint = "" if allow_pickle else f"; {PICKLED}, a pickle, needs allow_pickle=True"
        raise WeightsError(f"{path_or_hub_name}: no {FILE}{hint}")
    return found[0]


def _fetch(name: str, revision: str, file: str) -> Path | None:
    """Path of one file of the hub in its local cache; None where the hub does not hold it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        HTTPError,  # of the library that the hub's client speaks HTTP with
        LocalEntryNotFoundError,
    )

    try:
        try:
            path = hf_hub_download(name, file, revision=revision, local_files_only=True)
        except LocalEntryNotFoundError:
            # One question without retries, or a machine without a connection waits for 20 s.
            get_hf_file_metadata(hf_hub_url(name, file, revision=revision), timeout=5)
            path = hf_hub_download(name, file, revision=revision)
    except LocalEntryNotFoundError as error:
        raise _unreachable(name, revision, error) from None
    except EntryNotFoundError:
        return None
    except (HTTPError, HFValidationError, OSError) as error:
        raise _unreachable(name, revision, error) from None
    return Path(path)


def _unreachable(name: str, revision: str, error: BaseException) -> WeightsError:
    where = f"{name} at revision {revision}"
    return WeightsError(f"{where}: neither a file nor reachable on the hub ({_line(error)})")


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Return tensors by key and what the header says of the network ({} where it says nothing).

    Reads safetensors; a file named `.bin` must hold tensors only and is read by torch's restricted
    unpickler (`find` hands one out only where it was allowed). Raises WeightsError.
    """
    from safetensors import SafetensorError, safe_open

    if path.name == PICKLED:
        return _unpickled(path), {}
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("network", "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({_line(error)})") from error
    if not isinstance(about, dict):
        raise WeightsError(f"{path}: its header does not describe a network")
    return state, about


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    try:
        if code := torch.serialization.get_unsafe_globals_in_checkpoint(path):
            raise WeightsError(f"{path}: a pickle that wants to run {code[0]}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except (RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: not a readable file of tensors ({_line(error)})") from error
    state = state.get("model", state) if isinstance(state, dict) else {}
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds something else than tensors by name")
    return state


def check_recipe(name: object, arguments: object, where: Path) -> None:
    """Refuse, with a WeightsError, to build anything but a plain network of timm's own registry.

    `name` and `arguments` come out of a file that somebody else may have written.
    """
    import timm

    if not isinstance(name, str) or not timm.is_model(name.partition(".")[0]):
        raise WeightsError(f"{where}: does not describe a network (timm knows no {name!r})")
    if not isinstance(arguments, Mapping) or (set(arguments) & _READING):
        raise WeightsError(f"{where}: does not describe a network (arguments {arguments!r})")


def fill(net: nn.Module, state: Mapping[str, torch.Tensor], where: Path, name: str) -> None:
    """Load `state` into `net` if every key and shape fits and every value is finite.

    Raises WeightsError with up to three keys of each kind, and leaves `net` as it was.
    """
    expected = net.state_dict()
    both = [key for key in expected if key in state]
    faults = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [key for key in both if expected[key].shape != state[key].shape],
    }
    if any(faults.values()):
        parts = ", ".join(f"{len(keys)} {kind}{_some(keys)}" for kind, keys in faults.items())
        raise WeightsError(f"{where}: not the weights of {name}, its keys differ: {parts}")
    if bad := [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]:
        raise WeightsError(f"{where}: {bad[0]!r} holds values that are not finite")
    net.load_state_dict(state, strict=True)


def _some(keys: list[str]) -> str:
    more = ", ..." if len(keys) > 3 else ""
    return f" ({', '.join(sorted(keys)[:3])}{more})" if keys else ""
