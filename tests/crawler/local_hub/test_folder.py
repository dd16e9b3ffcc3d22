import os
import socket

import crawler.local_hub.folder as folder_module
from crawler.local_hub.folder import MAX_DEPTH, Folder


def test_directories_on_the_second_level_are_candidates(add_model, root):
    add_model("b/two")
    add_model("a/one")
    (root / "a" / "README.md").write_text("not a model")
    (root / "hub.json").write_text("{}")
    (root / "a" / ".cache").mkdir()
    (root / ".git" / "objects").mkdir(parents=True)
    assert Folder(root).candidates() == ["a/one", "b/two"]


def test_files_of_all_depths_are_shown_sorted_by_path(add_model, root):
    add_model("org/m", {"unet/model.safetensors": b"x", "config.json": "{}", "a b/ü (1).txt": "y"})
    assert list(Folder(root).files("org/m")) == ["a b/ü (1).txt", "config.json", "unet/model.safetensors"]


def test_hidden_and_irregular_things_do_not_exist(add_model, root, monkeypatch):
    model = add_model("org/m", {"config.json": "{}", ".env": "secret", ".git/HEAD": "x", "a\nb.txt": "control"})
    os.mkfifo(model / "model.safetensors")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(model)  # the path of a socket is short
        listener.bind("socket.bin")
    os.close(os.open(os.fsencode(model) + b"/\xff.bin", os.O_CREAT | os.O_WRONLY))
    assert list(Folder(root).files("org/m")) == ["config.json"]


def test_what_may_not_be_read_does_not_exist(add_model, root, monkeypatch):
    model = add_model("org/m", {"config.json": "{}", "model.safetensors": "weights"})
    (model / "model.safetensors").chmod(0)
    if os.geteuid() == 0:  # who may read everything; the mode is what others are asked
        monkeypatch.setattr(os, "access", lambda path, _mode: bool(path.stat().st_mode & 0o400))
    assert list(Folder(root).files("org/m")) == ["config.json"]


def test_symlinks_are_followed_inside_the_folder_only(add_model, root, tmp_path):
    model = add_model("org/m", {"config.json": "{}"})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("secret")
    (model / "out.txt").symlink_to(secret / "key.txt")
    (model / "outside").symlink_to(secret)
    (model / "again.json").symlink_to("config.json")
    (model / "broken").symlink_to("nowhere")
    (model / "loop").symlink_to("loop")
    (model / "up").symlink_to("..")
    (root / "org" / "alias").symlink_to("m")
    (root / "org" / "linked").symlink_to(secret)
    (root / "elsewhere").symlink_to(tmp_path)
    files = Folder(root).files("org/m")
    assert set(files) == {"config.json", "again.json"}
    assert files["again.json"].location == root / "org" / "m" / "config.json"
    assert Folder(root).candidates() == ["org/alias", "org/m"]
    assert Folder(root).files("org/linked") is None


def test_names_that_lead_elsewhere_are_no_repositories(add_model, root):
    add_model("org/m")
    for name in ("..", "org", "org/..", "../models/org", "org/m/..", "org/.", "/", "org/\0", "", "org/m/config.json"):
        assert Folder(root).files(name) is None


def test_depth_is_bounded(add_model, root):
    deep = "/".join(["d"] * (MAX_DEPTH + 5))
    add_model("org/m", {f"{deep}/file.txt": "x", "config.json": "{}"})
    assert list(Folder(root).files("org/m")) == ["config.json"]


def test_what_went_between_two_looks_is_not_there(add_model, root, monkeypatch):
    model = add_model("org/m", {"config.json": "{}", "gone.bin": "x"})
    looks = []

    def shown_then_gone(directory):
        looks.append(directory)
        entries = shown(directory)
        (model / "gone.bin").unlink(missing_ok=True)
        return entries

    shown = folder_module._shown
    monkeypatch.setattr(folder_module, "_shown", shown_then_gone)
    assert list(Folder(root).files("org/m")) == ["config.json"]
    assert looks == [model]
    assert shown(root / "never") == []
