import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from miewid_lib import models
from miewid_lib.errors import WeightsError

PARITY = Path(__file__).parent / "parity"
TINY = "test_efficientnet"  # 256 features, for timm's own tests


def read(name):
    return json.loads((PARITY / name).read_text())


@pytest.mark.parametrize("case", read("gem.json")["cases"], ids=lambda c: f"p={c['p']}")
def test_gem_value_and_gradients_equal_the_public_layer(case):
    pool = models.GeM(case["p"], case["eps"])
    x = torch.tensor(case["x"], requires_grad=True)
    out = pool(x)
    out.backward(torch.tensor(case["upstream"]).flatten(1))
    assert torch.allclose(out, torch.tensor(case["official_out"]).flatten(1), rtol=1e-5)
    grad_x = torch.tensor(case["official_grad_x"])
    assert torch.allclose(x.grad, grad_x, rtol=1e-4, atol=1e-5 * float(grad_x.abs().max()))
    assert pool.p.grad.item() == pytest.approx(
        np.ravel(case["reference_grad_p"])[0], rel=1e-3, abs=1e-6
    )


def test_gem_goes_from_the_mean_to_the_maximum():
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(models.GeM(1.0)(x), x.mean((2, 3)), atol=1e-6)
    assert torch.allclose(models.GeM(80.0)(x + 1), x.amax((2, 3)) + 1, rtol=0.05)


def test_gem_of_a_dead_channel_has_finite_gradients():
    x = torch.full((2, 3, 4, 4), -1.0, requires_grad=True)
    models.GeM()(x).sum().backward()
    assert x.grad.isfinite().all()


def formula(key, n):
    """Weights and images of the parity cases: a hash of key and position, in -1..1."""
    h = np.arange(1, n + 1, dtype=np.uint32) * np.uint32(2654435761)
    h = h + np.uint32(zlib.crc32(key.encode()))
    h = (h ^ (h >> 16)) * np.uint32(2246822519)
    h = (h ^ (h >> 13)) * np.uint32(3266489917)
    h = h ^ (h >> 16)
    return h.astype(np.float64) / 2**32 * 2 - 1


def formula_state(net, gain):
    state = {}
    for key, old in net.state_dict().items():
        b = formula(key, old.numel()).reshape(tuple(old.shape))
        if not old.is_floating_point():
            value = np.zeros(old.shape) if key.endswith("num_batches_tracked") else old.numpy()
        elif key == "pooling.p":
            value = np.full(old.shape, 3.0)
        elif key.endswith("running_mean"):
            value = 0.05 * b
        elif key.endswith("running_var"):
            value = 1 + 0.2 * b
        elif old.ndim <= 1:
            value = 1 + 0.1 * b if key.endswith("weight") else 0.1 * b
        else:
            value = gain * b * np.sqrt(6 / np.prod(old.shape[1:]))
        state[key] = torch.tensor(value).to(old.dtype)
    return state


@pytest.mark.parametrize(
    "case", read("model_embedding.json")["cases"], ids=lambda c: c["model_name"]
)
def test_embedding_equals_the_public_network(case):
    net = models.EmbeddingNet(case["model_name"]).eval()
    assert len(net.state_dict()) == case["n_keys"]
    assert net.embedding_size == case["embedding_dim"]
    net.load_state_dict(formula_state(net, case["gain"]))
    shape = case["input_shape"]
    photos = torch.tensor(2 * formula("input", int(np.prod(shape)))).float().reshape(shape)
    with torch.inference_mode():
        ours = net(photos)
    official = torch.tensor(case["official_embedding"])
    ours = ours[:, : official.shape[1]]
    assert (ours - official).abs().max() <= 1e-4 * official.abs().max()


def test_state_dict_keys_are_those_of_the_released_weights():
    released = read("statedict_efficientnetv2_rw_m.json")
    with torch.device("meta"):
        net = models.EmbeddingNet.__new__(models.EmbeddingNet)
        torch.nn.Module.__init__(net)
        net.backbone = models._backbone(models.RELEASED_BACKBONE, False, {})
        net.pooling, net.bn = models.GeM(), torch.nn.BatchNorm1d(released["embedding_dim"])
    ours = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert ours == {key: shape for key, shape, *_ in released["keys"]}


def test_a_backbone_without_a_feature_map_is_refused():
    with pytest.raises(WeightsError, match="feature map"):
        models.EmbeddingNet("test_vit")(torch.rand(1, 3, 160, 160))


def test_swin_map_is_channel_last_and_is_turned():
    net = models.EmbeddingNet("swinv2_tiny_window8_256", img_size=64, window_size=2).eval()
    seen = []
    net.pooling.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    net(torch.rand(1, 3, 64, 64))
    assert seen == [(1, net.embedding_size, 2, 2)]


def test_imagenet_weights_come_from_the_package_and_know_imagenet_statistics():
    net = models.EmbeddingNet(models.LITE0_BACKBONE, pretrained=True)
    fresh = models.EmbeddingNet(models.LITE0_BACKBONE)
    assert not torch.equal(net.backbone.conv_stem.weight, fresh.backbone.conv_stem.weight)
    assert net.backbone.bn1.running_var.sub(1).abs().max() > 0.1
    assert net.mean.flatten().tolist() == [0.5] * 3  # its own, not the usual ImageNet values


def test_other_imagenet_weights_are_refused_without_a_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="no ImageNet weights"):
        models.EmbeddingNet("efficientnetv2_rw_t", pretrained=True)


def test_unknown_backbone_is_one_line():
    with pytest.raises(WeightsError, match="Unknown model"):
        models.EmbeddingNet("efficientnet_b77")


def saved(tmp_path):
    torch.manual_seed(0)
    net = models.EmbeddingNet(TINY).eval()
    net.mean.fill_(0.3)
    models.save(net, tmp_path / "net.safetensors")
    return net, tmp_path / "net.safetensors"


def test_round_trip_keeps_weights_backbone_and_normalisation(tmp_path):
    net, path = saved(tmp_path)
    again = models.load(path)
    x = torch.rand(2, 3, 64, 64)
    assert not again.training and again.name == TINY
    assert torch.equal(net(net.normalise(x)), again(again.normalise(x)))
    assert again.mean.flatten().tolist() == pytest.approx([0.3] * 3)


def test_same_weights_same_bytes(tmp_path):
    net, path = saved(tmp_path)
    first = hashlib.sha256(path.read_bytes()).hexdigest()
    models.save(net, path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == first
    assert list(tmp_path.iterdir()) == [path]


def test_d17_a_wrong_file_never_loads_in_part(tmp_path):
    net, path = saved(tmp_path)
    about = {"network": json.dumps({"backbone": TINY, "mean": [0.5] * 3, "std": [0.5] * 3})}
    state = {k: v.clone() for k, v in net.state_dict().items()}
    without = {k: v for k, v in state.items() if k != "bn.weight"}
    shorter = state | {"bn.weight": state["bn.weight"][:-1]}
    sick = state | {"bn.weight": state["bn.weight"] * torch.nan}
    for name, wrong in {"keys": without, "bn.weight": shorter, "finite": sick}.items():
        save_file(wrong, path, metadata=about)
        with pytest.raises(WeightsError, match=name):
            models.load(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 100, b"{}"])
def test_d17_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="safetensors"):
        models.load(tmp_path / "model.safetensors")


def test_a_header_that_describes_nonsense_is_refused(tmp_path):
    for about in ("[1]", '{"backbone": "no_such"}', '{"backbone": 3}', '{"mean": [1]}', "{"):
        save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"network": about})
        with pytest.raises(WeightsError):
            models.load(tmp_path / "m.safetensors")


def test_a_missing_file_and_an_unreachable_hub_are_clear(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="no such file"):
        models.load(tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="hub"):
        models.load("conservationxlabs/miewid-msv3")
