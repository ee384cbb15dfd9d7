"""Where weights come from: the hub, without a connection and with one that is made up here."""

import time
from types import SimpleNamespace

import httpx2
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from miewid_lib import models, weights
from miewid_lib.errors import WeightsError

NEW = "a" * 40


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that holds what is put into its folder; `asked` lists name, file and revision."""
    hub = SimpleNamespace(folder=tmp_path, asked=[], cached=set(), trouble=None)

    def download(name, file, *, revision, local_files_only=False):
        if local_files_only and file not in hub.cached:
            raise errors.LocalEntryNotFoundError("not in the cache")
        return str(hub.folder / file)

    def metadata(url, timeout):
        hub.asked.append(url)
        if hub.trouble:
            raise hub.trouble
        if not (hub.folder / url.rsplit("/", 1)[1]).exists():
            response = httpx2.Response(404, request=httpx2.Request("HEAD", url))
            raise errors.RemoteEntryNotFoundError("404", response=response)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    return hub


def find(name, revision=None, *, allow_pickle=False):
    return weights.find(name, revision, allow_pickle=allow_pickle)


@pytest.mark.parametrize(
    ("name", "revision", "expected"),
    [
        ("conservationxlabs/miewid-msv3", None, weights.PINNED["conservationxlabs/miewid-msv3"]),
        ("hf-hub:conservationxlabs/miewid-msv3", NEW, NEW),
        ("conservationxlabs/miewid-msv2", None, "main"),
        (f"hf-hub:BVRA/MegaDescriptor-T-224@{NEW}", None, NEW),
    ],
)
def test_a_revision_is_the_one_asked_for_else_the_pinned_one_else_main(
    hub, name, revision, expected
):
    (hub.folder / "model.safetensors").write_bytes(b"")
    assert find(name, revision) == hub.folder / "model.safetensors"
    assert all(f"/{expected}/" in url for url in hub.asked)


def test_pinned_revisions_are_commits():
    assert all(len(commit) == 40 and int(commit, 16) for commit in weights.PINNED.values())


def test_what_is_in_the_cache_needs_no_connection(hub):
    (hub.folder / "model.safetensors").write_bytes(b"")
    hub.cached, hub.trouble = {"model.safetensors"}, httpx2.ConnectError("no route")
    assert find("conservationxlabs/miewid-msv3") == hub.folder / "model.safetensors"


def test_a_pickle_of_the_hub_is_not_even_fetched_unless_allowed(hub):
    torch.save({"a": torch.zeros(1)}, hub.folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="a pickle, needs allow_pickle=True"):
        find("hf-hub:BVRA/MegaDescriptor-T-224")
    assert not any("pytorch_model" in url for url in hub.asked)
    path = find("hf-hub:BVRA/MegaDescriptor-T-224", allow_pickle=True)
    assert path.name == "pytorch_model.bin"
    assert list(weights.read(path)[0]) == ["a"]


@pytest.mark.parametrize(
    "trouble",
    [
        httpx2.ConnectError("no route"),
        httpx2.ReadTimeout("slow"),
        errors.OfflineModeIsEnabled("offline\nsecond line"),
        errors.LocalEntryNotFoundError("not found"),
        OSError("disk"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_any_trouble_with_the_hub_is_one_line(hub, trouble):
    hub.trouble = trouble
    with pytest.raises(WeightsError, match="reachable on the hub") as caught:
        models.load("conservationxlabs/miewid-msv3")
    assert "\n" not in str(caught.value) and len(hub.asked) == 1


@pytest.mark.parametrize("name", ["hf-hub:a b/c", "hf-hub:", "hf-hub:../x/y", "hf-hub:a/b@"])
def test_names_that_no_hub_has_are_one_line(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        models.load(name)
    assert "\n" not in str(caught.value)


def test_without_a_connection_it_says_so_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    start_s = time.monotonic()
    with pytest.raises(WeightsError, match="reachable on the hub"):
        models.load("conservationxlabs/miewid-none", revision=NEW)
    assert time.monotonic() - start_s < 3


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x80\x04.", b"PK\x03\x04" + bytes(40)], ids=len
)
def test_a_broken_file_of_tensors_is_one_line(tmp_path, content):
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(WeightsError, match="not a readable file of tensors") as caught:
        models.load(tmp_path, allow_pickle=True)
    assert "\n" not in str(caught.value)


def test_a_file_with_more_than_tensors_is_refused(tmp_path):
    for content in ([torch.zeros(1)], {"a": 1}, {}, {"model": {"a": "text"}}):
        torch.save(content, tmp_path / "pytorch_model.bin")
        with pytest.raises(WeightsError, match="something else than tensors"):
            models.load(tmp_path, allow_pickle=True)
