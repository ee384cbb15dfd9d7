import hashlib
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from miewid_lib import models, training
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
    assert sorted(tmp_path.iterdir()) == [path.with_suffix(".json"), path]


def test_the_file_for_people_says_what_the_network_is_and_holds_no_clock(tmp_path):
    net, path = saved(tmp_path)
    plain = path.with_suffix(".json").read_bytes()
    models.save(net, path)
    assert path.with_suffix(".json").read_bytes() == plain
    facts = {"size_px": 96, "species": {"lion", "brown trout"}, "licence": "none given"}
    models.save(net, path, **facts, git_revision="abc")
    assert json.loads(path.with_suffix(".json").read_text()) == {
        "backbone": TINY,
        "timm_arguments": {},
        "mean": [0.3] * 3,
        "std": [0.229, 0.224, 0.225],
        "size_px": 96,
        "species": ["brown trout", "lion"],
        "licence": "none given",
        "git_revision": "abc",
    }
    assert json.loads(plain) | {"mean": 0, "std": 0} == {
        "backbone": TINY,
        "timm_arguments": {},
        "mean": 0,
        "std": 0,
        "size_px": None,
        "species": [],
        "licence": None,
        "git_revision": None,
    }


def test_the_header_alone_rebuilds_the_network_and_is_as_before_where_no_size_is_said(tmp_path):
    net, path = saved(tmp_path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["network"])
    assert about.keys() == {"backbone", "timm_arguments", "mean", "std"}
    assert models.load(path).size_px is None
    models.save(net, path, size_px=64)
    path.with_suffix(".json").unlink()
    again = models.load(path)
    assert again.size_px == 64
    models.save(again, path)  # what a file says is not lost when it is written again
    assert models.load(path).size_px == 64


def test_d17_a_wrong_file_never_loads_in_part(tmp_path):
    net, path = saved(tmp_path)
    about = {"network": json.dumps({"backbone": TINY, "mean": [0.5] * 3, "std": [0.5] * 3})}
    state = {k: v.clone() for k, v in net.state_dict().items()}
    without = {k: v for k, v in state.items() if k != "bn.weight"}
    shorter = state | {"bn.weight": state["bn.weight"][:-1]}
    sick = state | {"bn.weight": state["bn.weight"] * torch.nan}
    wrong = {
        r"keys differ: 1 missing \(bn\.weight\), 0 unexpected, 0 of another": without,
        r"1 of another shape \(bn\.weight\)": shorter,
        "finite": sick,
    }
    for words, tensors in wrong.items():
        save_file(tensors, path, metadata=about)
        assert re.search(words, refusal(path))


def refusal(*arguments, **keywords) -> str:
    """Message with which `load` refuses, always one line."""
    with pytest.raises(WeightsError) as caught:
        models.load(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_d17_another_architecture_names_three_keys_of_each_kind_and_counts_all(tmp_path):
    net, path = saved(tmp_path)
    other = models.EmbeddingNet("test_resnet").state_dict()
    about = {"network": json.dumps({"backbone": TINY, "mean": [0.5] * 3, "std": [0.5] * 3})}
    save_file(other, path, metadata=about)
    message = refusal(path)
    mine = net.state_dict()
    missing, unexpected = sorted(mine.keys() - other), sorted(other.keys() - mine)
    assert f"{len(missing)} missing ({', '.join(missing[:3])}, ...)" in message
    assert f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])}, ...)" in message


def released_state() -> dict:
    """Random weights with the keys, shapes and types of the released file."""
    draws, state = torch.Generator().manual_seed(0), {}
    for key, shape, kind, _ in read("statedict_efficientnetv2_rw_m.json")["keys"]:
        if kind == "int64":
            state[key] = torch.zeros(shape, dtype=torch.int64)
        elif key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            state[key] = torch.ones(shape)
        elif len(shape) > 1:
            fan_in = float(np.prod(shape[1:]))
            state[key] = torch.randn(shape, generator=draws) * (2 / fan_in) ** 0.5
        else:
            state[key] = torch.zeros(shape)
    return state | {"pooling.p": torch.full((1,), 2.5)}


def test_released_miewid_loads_in_one_line_and_embeds_a_photo_of_440_px(tmp_path):
    state = released_state()
    save_file(state, tmp_path / "model.safetensors")  # without a header, as it was released
    net = models.load(tmp_path / "model.safetensors")
    assert not net.training and net.size_px == 440 and net.embedding_size == 2152
    assert net.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert net.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    crop = np.random.default_rng(0).integers(0, 256, (1, 440, 440, 3), np.uint8)
    vector = training.embed(net, crop)
    assert vector.shape == (1, 2152) and np.isfinite(vector).all() and vector.std() > 0
    ours = {k: v for k, v in state.items() if k != "pooling.p"}
    later = ours | {"backbone.global_pool.p": state["pooling.p"]}  # the layout of msv3
    later |= {"final.weight": torch.ones(10, 2152), "final.bias": torch.ones(10)}
    save_file(later, tmp_path / "model.safetensors")
    assert np.array_equal(training.embed(models.load(tmp_path), crop), vector)
    del later["backbone.bn2.bias"]
    save_file(later | {"bn.other": torch.ones(1)}, tmp_path / "model.safetensors")
    message = refusal(tmp_path)
    assert "1 missing (backbone.bn2.bias), 1 unexpected (bn.other)" in message


CONTENTS = {
    "zero bytes": b"",
    "pickle": b"\x80\x04.",
    "zip of a pickle": b"PK\x03\x04" + bytes(60),
    "noise": b"\xff" * 100,
    "json": b"{}",
    "text": b"weights\nof a network\n",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_d17_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert "not a readable safetensors file" in refusal(tmp_path / "model.safetensors")


def test_d17_a_file_that_was_cut_short_is_refused(tmp_path):
    _, path = saved(tmp_path)
    whole = path.read_bytes()
    for n_bytes in (7, 9, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        assert "not a readable safetensors file" in refusal(path)


def test_a_pickle_is_refused_under_any_name_and_never_run(tmp_path):
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return Path.touch, (ran,)

    for name in ("m.pth", "m.safetensors", "pytorch_model.bin"):
        torch.save({"a": Evil()}, tmp_path / name)
        assert refusal(tmp_path / name) and not ran.exists()
    for where in (tmp_path, tmp_path / "pytorch_model.bin"):
        assert "no model.safetensors; pytorch_model.bin, a pickle, needs" in refusal(where)
    assert "wants to run" in refusal(tmp_path, allow_pickle=True) and not ran.exists()


def test_a_header_that_describes_nonsense_is_refused(tmp_path):
    good = {"mean": [0.5] * 3, "std": [0.5] * 3, "backbone": TINY}
    headers = [[1], {"backbone": "no_such"}, {"backbone": 3}, {"mean": [1]}, {"backbone": TINY}]
    headers += [good | {"mean": [1]}, good | {"size_px": "wide"}, good | {"timm_arguments": [1]}]
    headers += [good | {"timm_arguments": {"no_such": 1}}, good | {"backbone": "hf-hub:a/b"}]
    for about in ("{", *map(json.dumps, headers)):
        save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors", metadata={"network": about})
        assert "header" in refusal(tmp_path / "m.safetensors") or "network" in about


def test_a_header_cannot_make_timm_read_another_file(tmp_path):
    torch.save({"a": 1}, tmp_path / "other.pth")
    about = {"backbone": TINY, "timm_arguments": {"checkpoint_path": str(tmp_path / "other.pth")}}
    about |= {"mean": [0.5] * 3, "std": [0.5] * 3}
    header = {"network": json.dumps(about)}
    save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors", metadata=header)
    assert "checkpoint_path" in refusal(tmp_path / "m.safetensors")


def test_missing_files_and_folders_without_weights_are_clear(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.safetensors")
    assert "no such file" in refusal("models/absent.safetensors")
    assert "no model.safetensors" in refusal(tmp_path)
