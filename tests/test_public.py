"""Networks in timm's layout: what MegaDescriptor is published as, made on the spot."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import checkpoint_filter_fn

from miewid_lib import models, public, training
from miewid_lib.errors import WeightsError

SWIN = "swin_tiny_patch4_window7_224"
CONFIG = {
    "architecture": SWIN,
    "num_classes": 0,
    "num_features": 768,
    "global_pool": "avg",
    "pretrained_cfg": {"input_size": [3, 224, 224], "mean": [0.5] * 3, "std": [0.5] * 3},
}


def write(folder, state, config=CONFIG):
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def swin():
    torch.manual_seed(0)
    return timm.create_model(SWIN, num_classes=0).eval()


def old_layout(state: dict) -> dict:
    """The same weights as timm wrote them in 2023: merging ends a stage, constants are kept."""
    moved = {}
    for key, value in state.items():
        stage = re.match(r"layers\.(\d)\.(downsample\..*)", key)
        moved[f"layers.{int(stage[1]) - 1}.{stage[2]}" if stage else key] = value
    moved["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49).long()
    moved["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    return moved


def test_a_folder_in_timms_layout_loads_and_embeds(tmp_path, swin):
    write(tmp_path, swin.state_dict())
    net = models.load(tmp_path)
    assert not net.training and net.size_px == 224 and net.embedding_size == 768
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    got = training.embed(net, crops)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    photos = torch.tensor((crops / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = swin(photos).numpy()
    assert got.shape == (2, 768) and np.allclose(got, expected, atol=1e-5)


def test_files_of_2023_give_the_same_network(tmp_path, swin):
    old = old_layout(swin.state_dict())
    assert "layers.0.downsample.reduction.weight" in old
    write(tmp_path, old | {"head.weight": torch.ones(5, 768), "head.bias": torch.ones(5)})
    again = models.load(tmp_path).backbone.state_dict()
    assert all(torch.equal(again[key], value) for key, value in swin.state_dict().items())
    theirs = checkpoint_filter_fn(dict(old), swin)  # what timm itself makes of the old keys
    assert public.present_layout(old, swin).keys() == theirs.keys() == again.keys()


def test_a_pickle_of_2023_is_read_where_allowed(tmp_path, swin):
    write(tmp_path, swin.state_dict())
    (tmp_path / "model.safetensors").unlink()
    torch.save(old_layout(swin.state_dict()), tmp_path / "pytorch_model.bin")
    for where in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(WeightsError, match="allow_pickle"):
            models.load(where)
    again = models.load(tmp_path, allow_pickle=True).backbone.state_dict()
    assert all(torch.equal(again[key], value) for key, value in swin.state_dict().items())


def test_a_wrong_network_names_the_keys(tmp_path, swin):
    state = {k: v for k, v in swin.state_dict().items() if k != "norm.weight"}
    write(tmp_path, state | {"norm.other": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"\(norm\.weight\), 1 unexpected \(norm\.other\)"):
        models.load(tmp_path)
    write(tmp_path, state, CONFIG | {"architecture": "test_resnet"})
    with pytest.raises(
        WeightsError, match=r"not the weights of test_resnet, its keys differ: \d+ missing"
    ):
        models.load(tmp_path)


BROKEN = {
    "text": "not json",
    "list": "[1]",
    "nothing": "{}",
    "unknown": json.dumps(CONFIG | {"architecture": "no_such"}),
    "hub": json.dumps(CONFIG | {"architecture": "hf-hub:a/b"}),
    "reads": json.dumps(CONFIG | {"model_args": {"checkpoint_path": "x.pth"}}),
    "arguments": json.dumps(CONFIG | {"model_args": {"no_such": 1}}),
    "no size": json.dumps(CONFIG | {"pretrained_cfg": {}}),
    "grey": json.dumps(CONFIG | {"pretrained_cfg": {"input_size": [1, 224, 224]}}),
    "wide": json.dumps(CONFIG | {"pretrained_cfg": {"input_size": [3, 224, 448]}}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_config_that_describes_no_network_is_one_line(tmp_path, content):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(WeightsError, match=r"config\.json") as caught:
        models.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_network_that_is_no_swin_keeps_its_keys(tmp_path):
    torch.manual_seed(0)
    net = timm.create_model("test_efficientnet", num_classes=3).eval()
    size = {"pretrained_cfg": {"input_size": [3, 160, 160]}}
    write(tmp_path, net.state_dict(), size | {"architecture": "test_efficientnet"})
    again = models.load(tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), np.uint8)
    assert training.embed(again, crops).shape == (1, again.embedding_size) == (1, 256)
