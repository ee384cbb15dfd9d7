"""The cache check on hand-made folders and on a real little DVC repository with a remote."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from miewid_lib.cache import main, verify_cache
from miewid_lib.errors import StageError

CONTENTS = [b"photo one\n", b"photo two\n", b""]


def store(cache: Path, content: bytes, suffix: str = "") -> Path:
    digest = hashlib.md5(content).hexdigest()
    path = cache / "files" / "md5" / digest[:2] / (digest[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)  # as DVC leaves it
    return path


def damage(path: Path) -> None:
    """Change one byte and keep length, mode and time, as a bad disk would."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_whole_cache_is_clean_and_unfinished_files_are_not_its_content(tmp_path):
    for content in CONTENTS:
        store(tmp_path, content)
    store(tmp_path, b"[]", ".dir")
    (tmp_path / "files/md5/d4/half-written.tmp").write_bytes(b"x")
    (tmp_path / "runs/aa").mkdir(parents=True)
    assert verify_cache(tmp_path) == []


def test_each_damaged_file_is_named_and_only_delete_removes_it(tmp_path, capsys):
    paths = [store(tmp_path, content) for content in CONTENTS[:2]]
    paths.append(store(tmp_path, b'[{"md5": "x"}]', ".dir"))
    for path in paths[1:]:
        damage(path)
    assert verify_cache(tmp_path) == sorted(paths[1:])
    assert main(["--cache", str(tmp_path)]) == 1
    out, error = capsys.readouterr()
    assert "3 files, 2 damaged" in out and all(str(path) in error for path in paths[1:])
    assert paths[1].exists()
    assert main(["--cache", str(tmp_path), "--delete"]) == 1
    assert [path.exists() for path in paths] == [True, False, False]
    assert main(["--cache", str(tmp_path)]) == 0


def test_no_cache_folder_is_a_clear_line(tmp_path, capsys):
    with pytest.raises(StageError, match="dvc pull or dvc repro"):
        verify_cache(tmp_path / "none")
    assert main(["--cache", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def command(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess:
    """Run git, or dvc of this environment, with its user files inside the folder."""
    program = [sys.executable, "-m", "dvc"] if words[0] == "dvc" else [words[0]]
    names = {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_SITE_CACHE_DIR": str(folder.parent / "site")}
    for who in ("AUTHOR", "COMMITTER"):
        names |= {f"GIT_{who}_NAME": "Reader", f"GIT_{who}_EMAIL": "reader@example.org"}
    call = [*program, *words[1:]]
    done = subprocess.run(call, cwd=folder, env=os.environ | names, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A repository with one tracked folder of two files, pushed to a remote beside it."""
    folder = tmp_path_factory.mktemp("round") / "repository"
    (folder / "data").mkdir(parents=True)
    (folder / "data/one.csv").write_text("one\n")
    (folder / "data/two.csv").write_text("two\n")
    command(folder, "git", "init", "-q")
    command(folder, "dvc", "init", "-q")
    (folder / ".dvc/config").write_text(
        "[core]\n    analytics = false\n    check_update = false\n    remote = store\n"
        "['remote \"store\"']\n    url = ../../remote\n    verify = true\n"
    )
    command(folder, "dvc", "add", "-q", "data")
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", "data")
    command(folder, "dvc", "push", "-q")
    return folder


def clone(repository: Path, name: str) -> Path:
    command(repository.parent, "git", "clone", "-q", "repository", name)
    return repository.parent / name


def test_push_clone_pull_is_clean_and_a_damaged_cache_heals(repository, monkeypatch, capsys):
    folder = clone(repository, "clone")
    command(folder, "dvc", "pull", "-q")
    assert (folder / "data/two.csv").read_text() == "two\n"
    assert command(folder, "dvc", "status", "-q").returncode == 0
    monkeypatch.chdir(folder)
    assert main([]) == 0
    assert "3 files, 0 damaged" in capsys.readouterr().out

    digest = hashlib.md5(b"two\n").hexdigest()
    damage(folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:])
    (folder / "data/two.csv").unlink()
    command(folder, "dvc", "checkout", "-q")
    assert (folder / "data/two.csv").read_text() != "two\n"  # DVC says nothing: hence our check
    assert main(["--delete"]) == 1
    assert digest[2:] in capsys.readouterr().err
    shutil.rmtree(folder / "data")
    command(folder, "dvc", "pull", "-q")
    assert (folder / "data/two.csv").read_text() == "two\n"
    assert main([]) == 0


def test_damaged_remote_object_makes_pull_fail(repository, tmp_path):
    remote = repository.parent / "remote"
    kept = tmp_path / "remote"
    shutil.copytree(remote, kept)
    digest = hashlib.md5(b"one\n").hexdigest()
    damage(remote / "files/md5" / digest[:2] / digest[2:])
    folder = clone(repository, "victim")
    pulled = command(folder, "dvc", "pull", check=False)
    assert pulled.returncode != 0
    assert not (folder / "data/one.csv").exists()
    shutil.rmtree(remote)
    shutil.copytree(kept, remote)
