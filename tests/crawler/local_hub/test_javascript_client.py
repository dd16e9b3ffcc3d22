"""`@huggingface/hub`, a second real client, against the local Hub: it shares no code with the Python one."""

import hashlib
import json
import os

import pytest

from tests.support.javascript_client import SOURCES, ask, downloaded, installed_client
from tests.support.repositories import random_tensors, write_model, write_shards

DATA = os.urandom(1_100_000)  # below a million bytes the client reads a file whole, whatever range is wanted
CARD = "---\nlicense: mit\nbase_model: org/m0\npipeline_tag: text-generation\n---\n# Model\n"


@pytest.fixture
def client(hub):
    """Asks the client questions about the hub; the answers come in their order."""
    folder = installed_client()
    return lambda *questions: ask(folder, hub.endpoint, *questions)


@pytest.fixture
def hub(add_model, tell, serve):
    for number in range(7):
        add_model(f"org/m{number}", {"config.json": '{"model_type": "x"}'})
    add_model("org/m1", {"README.md": CARD, "model.safetensors": DATA, "unet/weights (1) é.bin": b"1234"})
    for name in ("locked", "off", "secret"):
        add_model(f"org/{name}")
    tell(
        {"org/locked": {"gated": "auto"}, "org/off": {"disabled": True}, "org/secret": {"private": True}},
        {"before/m1": "org/m1"},
    )
    return serve(page_cap=4, tokens={"hf_yes": frozenset({"org/secret"})})


def test_the_lock_pins_every_package_by_hash_and_names_no_registry():
    text = (SOURCES / "package-lock.json").read_text("utf-8")
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert "node_modules/@huggingface/hub" in packages
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert "://" not in text


def test_the_client_lists_models_over_pages_by_filters_limit_and_order(client):
    everything, few, named, children, fields = client(
        ("listModels", {"sort": "createdAt"}),
        ("listModels", {"limit": 6}),
        ("listModels", {"search": {"owner": "org", "query": "LOCK"}}),
        ("listModels", {"search": {"tags": ["base_model:finetune:org/m0", "license:mit"]}}),
        ("listModels", {"search": {"task": "text-generation"}, "additionalFields": ["sha", "filePaths", "cardData"]}),
    )
    names = [model["name"] for model in everything["answer"]]
    assert sorted(names) == sorted([*(f"org/m{number}" for number in range(7)), "org/locked", "org/off"])
    assert len(few["answer"]) == 6
    assert [(model["name"], model["gated"]) for model in named["answer"]] == [("org/locked", "auto")]
    assert [model["name"] for model in children["answer"]] == ["org/m1"]
    (row,) = fields["answer"]
    assert (row["name"], row["task"], row["cardData"]["base_model"]) == ("org/m1", "text-generation", "org/m0")
    assert row["filePaths"] == ["README.md", "config.json", "model.safetensors", "unet/weights (1) é.bin"]


def test_the_client_reads_a_model_its_tree_paths_and_commits(client):
    info, tree, below, paths, commits, gated = client(
        ("modelInfo", {"name": "org/m1", "additionalFields": ["sha", "tags"]}),
        ("listFiles", {"repo": "org/m1", "recursive": True, "expand": True}),
        ("listFiles", {"repo": "org/m1", "path": "unet"}),
        ("pathsInfo", {"repo": "org/m1", "paths": ["unet", "model.safetensors", "nope"]}),
        ("listCommits", {"repo": "org/m1"}),
        ("modelInfo", {"name": "org/locked"}),
    )
    assert (info["answer"]["name"], info["answer"]["task"]) == ("org/m1", "text-generation")
    assert "base_model:finetune:org/m0" in info["answer"]["tags"]
    files = {entry["path"]: entry for entry in tree["answer"]}
    assert set(files) == {"README.md", "config.json", "model.safetensors", "unet", "unet/weights (1) é.bin"}
    lfs = files["model.safetensors"]["lfs"]
    assert (lfs["oid"], lfs["size"]) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert [entry["path"] for entry in below["answer"]] == ["unet/weights (1) é.bin"]
    assert {entry["path"] for entry in paths["answer"]} == {"unet", "model.safetensors"}
    assert [commit["oid"] for commit in commits["answer"]] == [info["answer"]["sha"]]
    assert gated["answer"]["gated"] == "auto"


def test_the_client_downloads_whole_files_and_ranges_from_the_cdn(client, hub, root):
    names = ["model.safetensors", "config.json", "README.md", "unet/weights (1) é.bin"]
    *whole, part, pointer = client(
        *(("downloadFile", {"repo": "org/m1", "path": name}) for name in names),
        ("downloadFile", {"repo": "org/m1", "path": "model.safetensors", "slice": [1000, 70_000]}),
        ("downloadFile", {"repo": "org/m1", "path": "model.safetensors", "raw": True}),
    )
    for name, answer in zip(names, whole, strict=True):
        assert downloaded(answer) == (root / "org/m1" / name).read_bytes()
    assert downloaded(part) == DATA[1000:70_000]
    assert hashlib.sha256(DATA).hexdigest().encode() in downloaded(pointer)
    assert {request.listener for request in hub.request_log} == {"hub", "cdn"}
    assert "bytes=1000-69999" in {request.range for request in hub.request_log}


def test_the_client_parses_headers_of_whole_and_sharded_models(client, root):
    pieces = random_tensors(layers=2)
    write_model(root, "acme/single", pieces)
    names = sorted(pieces)
    write_shards(root, "acme/sharded", [{name: pieces[name] for name in half} for half in (names[:4], names[4:])])
    single, sharded = client(
        ("parseSafetensorsMetadata", {"repo": "acme/single"}),
        ("parseSafetensorsMetadata", {"repo": "acme/sharded"}),
    )
    assert not single["answer"]["sharded"]
    assert {name for name in single["answer"]["header"] if name != "__metadata__"} == set(pieces)
    assert sharded["answer"]["sharded"]
    found = {name for header in sharded["answer"]["headers"].values() for name in header if name != "__metadata__"}
    assert found == set(pieces)


def test_the_client_is_told_what_is_missing_or_refused(client):
    stranger, known = {}, {"accessToken": "hf_yes"}
    config = {"path": "config.json"}
    answers = client(
        ("fileExists", {"repo": "org/m1", **config}),
        ("fileExists", {"repo": "org/m1", "path": "nope.json"}),
        ("downloadFile", {"repo": "org/m1", "path": "nope.json"}),
        ("repoExists", {"repo": "org/gone"}),
        ("modelInfo", {"name": "org/gone", **stranger}),
        ("modelInfo", {"name": "org/gone", **known}),
        ("modelInfo", {"name": "org/m1", "revision": "v9"}),
        ("listFiles", {"repo": "org/m1", "path": "nope"}),
        ("downloadFile", {"repo": "org/locked", **config, **stranger}),
        ("downloadFile", {"repo": "org/locked", **config, **known}),
        ("downloadFile", {"repo": "org/off", **config}),
        ("downloadFile", {"repo": "org/m1", **config, "accessToken": "hf_wrong"}),
    )
    assert [answer.get("failed", answer.get("answer")) for answer in answers] == [
        True, False, None, False, 401, 404, 404, 404, 401, 403, 403, 401,
    ]  # fmt: skip
    assert "Access to model org/locked is restricted" in answers[8]["told"]["message"]


def test_the_client_reads_private_files_with_a_token_that_never_leaves_the_hub(client, hub, add_model):
    add_model("org/secret", {"model.safetensors": DATA})
    me, read = client(
        ("whoAmI", {"accessToken": "hf_yes"}),
        ("downloadFile", {"repo": "org/secret", "path": "model.safetensors", "accessToken": "hf_yes"}),
    )
    assert me["answer"]["name"] == "local"
    assert downloaded(read) == DATA
    assert {request.authorization for request in hub.request_log if request.listener == "cdn"} == {False}


def test_the_client_follows_a_rename(client):
    info, read = client(
        ("modelInfo", {"name": "before/m1"}),
        ("downloadFile", {"repo": "before/m1", "path": "model.safetensors"}),
    )
    assert info["answer"]["name"] == "org/m1"
    assert downloaded(read) == DATA


def test_the_client_is_told_a_rate_limit(add_model, serve):
    add_model("org/m0")
    limited = serve(api_quota=0, window_s=60)
    (refused,) = ask(installed_client(), limited.endpoint, ("modelInfo", {"name": "org/m0"}))
    assert refused["failed"] == 429
