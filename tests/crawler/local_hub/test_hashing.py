import hashlib
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crawler.local_hub.folder import Folder
from crawler.local_hub.hashing import ContentHashes
from crawler.local_hub.repository import LFS_SIZE_BYTES, FileEntry


def git(directory, *arguments):
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_blobs_and_trees_are_those_of_git(add_model, root):
    names = ["a.txt", "b/c.txt", "b/d/e.txt", "b.txt", "b-c.txt", "ünï cödé.md", "empty.txt"]
    model = add_model("org/m", {name: name * 3 if name != "empty.txt" else "" for name in names})
    files = Folder(root).files("org/m")
    hashes = ContentHashes()
    git(model, "init", "-q")
    git(model, "add", "-A")
    assert {path: hashes.of(entry).oid for path, entry in files.items()} == {
        name: git(model, "hash-object", name) for name in names
    }
    prefixes = {"": "", "b": "b/", "b/d": "b/d/"}
    assert hashes.trees(files) == {
        directory: git(model, "write-tree", f"--prefix={prefix}") for directory, prefix in prefixes.items()
    }


def test_a_file_in_lfs_is_named_by_its_sha256_and_the_blob_of_its_pointer(add_model, root):
    data = os.urandom(5000)
    model = add_model("org/m", {"model.safetensors": data})
    content = ContentHashes().of(Folder(root).files("org/m")["model.safetensors"])
    sha256 = hashlib.sha256(data).hexdigest()
    assert content.sha256 == content.etag == sha256
    assert content.pointer.decode().splitlines()[1:] == [f"oid sha256:{sha256}", "size 5000"]
    (model / "pointer").write_bytes(content.pointer)
    assert content.oid == git(model, "hash-object", "--no-filters", "pointer")
    assert content.storage_key != sha256


@pytest.mark.parametrize(
    ("name", "size", "is_lfs"),
    [
        ("model.safetensors", 10, True),
        ("model.safetensors", 0, False),
        ("weights.gguf", 10, True),
        ("unet/pytorch_model.bin", 10, True),
        ("events.out.tfevents.1", 10, True),
        ("a.tar.gz", 10, True),
        ("model.safetensors.index.json", 10, False),
        ("tokenizer.json", LFS_SIZE_BYTES, False),
        ("tokenizer.json", LFS_SIZE_BYTES + 1, True),
    ],
)
def test_lfs_is_decided_by_name_and_size(name, size, is_lfs, tmp_path):
    assert FileEntry(name, tmp_path / name, size, 0).is_lfs is is_lfs


def test_a_commit_depends_on_paths_and_contents_only(add_model, root):
    files = {"config.json": "{}", "model.safetensors": b"weights"}
    first, second = add_model("org/one", files), add_model("other/two", files)
    os.utime(second / "config.json", (1, 1))
    hashes = ContentHashes()
    commit = hashes.commit(Folder(root).files("org/one"))
    assert hashes.commit(Folder(root).files("other/two")) == commit
    (first / "model.safetensors").write_bytes(b"weight5")
    os.utime(first / "model.safetensors", (5, 5))
    assert hashes.commit(Folder(root).files("org/one")) != commit
    (second / "config.json").rename(second / "config2.json")
    assert hashes.commit(Folder(root).files("other/two")) != commit


def test_each_version_of_a_file_is_read_once_whoever_asks(add_model, root, monkeypatch):
    add_model("org/m", {"model.bin": os.urandom(2**20)})
    entry = Folder(root).files("org/m")["model.bin"]
    hashes, reads, gate = ContentHashes(), [], threading.Barrier(4)
    read = hashes._read
    monkeypatch.setattr(hashes, "_read", lambda wanted: reads.append(wanted) or read(wanted))

    def ask(_):
        gate.wait()
        return hashes.of(entry)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert len(reads) == 1


def test_a_file_that_changed_since_the_scan_is_not_named_by_its_new_bytes(add_model, root):
    model = add_model("org/m", {"model.bin": b"old"})
    entry, hashes = Folder(root).files("org/m")["model.bin"], ContentHashes()
    (model / "model.bin").write_bytes(b"newer")
    with pytest.raises(OSError, match="changed"):
        hashes.of(entry)
    assert hashes.of(Folder(root).files("org/m")["model.bin"]).sha256 == hashlib.sha256(b"newer").hexdigest()


def test_a_closing_hub_stops_reading(add_model, root):
    add_model("org/m", {"model.bin": b"bytes"})
    hashes = ContentHashes()
    hashes.close()
    with pytest.raises(OSError, match="closing"):
        hashes.of(Folder(root).files("org/m")["model.bin"])
