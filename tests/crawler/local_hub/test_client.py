"""The real huggingface_hub client against the local Hub: what it understands is what the Hub says."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, errors

DATA = os.urandom(200_000)
CARD = "---\nlicense: mit\nbase_model: org/m0\npipeline_tag: text-generation\n---\n# Model\n"


@pytest.fixture
def hub(add_model, tell, serve):
    for number in range(7):
        add_model(f"org/m{number}", {"model.safetensors": DATA, "config.json": '{"model_type": "x"}'})
    add_model("org/m1", {"README.md": CARD, "unet/weights é.bin": b"1234"})
    for name in ("locked", "off", "secret"):
        add_model(f"org/{name}")
    tell(
        {"org/locked": {"gated": "auto"}, "org/off": {"disabled": True}, "org/secret": {"private": True}},
        {"before/m1": "org/m1"},
    )
    return serve(page_cap=4, tokens={"hf_yes": frozenset({"org/locked", "org/secret"})})


@pytest.fixture
def api(hub):
    yield HfApi(endpoint=hub.endpoint, token=False)
    huggingface_hub.close_session()


def test_the_client_lists_every_public_model_over_pages(api):
    names = {f"org/m{number}" for number in range(7)} | {"org/locked", "org/off"}
    listed = [model.id for model in api.list_models(sort="created_at")]
    assert (len(listed), set(listed)) == (9, names)
    assert len(list(api.list_models(limit=6))) == 6
    assert [model.id for model in api.list_models(filter="base_model:finetune:org/m0")] == ["org/m1"]
    assert [model.id for model in api.list_models(author="org", search="LOCK", gated=True)] == ["org/locked"]


def test_the_client_reads_expanded_rows(api):
    fields = [
        "sha",
        "lastModified",
        "createdAt",
        "tags",
        "siblings",
        "gated",
        "disabled",
        "cardData",
        "config",
        "xetEnabled",
    ]
    rows = {row.id: row for row in api.list_models(sort="created_at", expand=fields)}
    row = rows["org/m1"]
    assert row.sha == api.model_info("org/m1").sha
    assert row.card_data.base_model == "org/m0"
    assert row.config == {"model_type": "x"}
    assert {sibling.rfilename for sibling in row.siblings} == {
        "README.md", "config.json", "model.safetensors", "unet/weights é.bin",
    }  # fmt: skip
    assert rows["org/locked"].gated == "auto"
    with pytest.raises(errors.BadRequestError):
        list(api.list_models(expand=["baseModels"]))


def test_the_client_reads_a_model_with_its_files(api):
    info = api.model_info("org/m1", files_metadata=True)
    assert (info.pipeline_tag, info.author, info.library_name) == ("text-generation", "org", "transformers")
    files = {sibling.rfilename: sibling for sibling in info.siblings}
    lfs = files["model.safetensors"].lfs
    assert (lfs.sha256, lfs.size) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert files["README.md"].lfs is None
    assert files["README.md"].size == len(CARD)
    family = api.model_info("org/m0", expand=["childrenModelCount", "baseModels"])
    assert family.children_model_count["finetune"] == 1


def test_the_client_walks_trees_paths_and_refs(api):
    tree = {item.path: item for item in api.list_repo_tree("org/m1", recursive=True, expand=True)}
    assert set(tree) == {"README.md", "config.json", "model.safetensors", "unet", "unet/weights é.bin"}
    assert [item.path for item in api.list_repo_tree("org/m1", "unet")] == ["unet/weights é.bin"]
    found = api.get_paths_info("org/m1", ["unet", "model.safetensors", "nope"])
    assert {item.path for item in found} == {"unet", "model.safetensors"}
    assert api.list_repo_refs("org/m1").branches[0].target_commit == api.model_info("org/m1").sha
    assert len(api.list_repo_commits("org/m1")) == 1
    assert api.list_repo_files("org/m0") == ["config.json", "model.safetensors"]
    with pytest.raises(errors.EntryNotFoundError):
        list(api.list_repo_tree("org/m1", "nope"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "unet/weights é.bin", "README.md"])
def test_the_client_downloads_the_very_bytes(api, hub, root, tmp_path, name):
    path = api.hf_hub_download("org/m1", name, cache_dir=tmp_path)
    assert Path(path).read_bytes() == (root / "org/m1" / name).read_bytes()
    assert not any(request.authorization for request in hub.request_log)


def test_the_client_reads_metadata_of_a_file_from_the_redirect(api, hub):
    meta = huggingface_hub.get_hf_file_metadata(f"{hub.endpoint}/org/m1/resolve/main/model.safetensors", token=False)
    assert (meta.size, meta.etag) == (len(DATA), hashlib.sha256(DATA).hexdigest())
    assert meta.commit_hash == api.model_info("org/m1").sha


def test_the_client_maps_what_is_missing_or_refused(api, hub, tmp_path):
    assert api.file_exists("org/m1", "config.json")
    assert not api.file_exists("org/m1", "nope.json")
    assert api.revision_exists("org/m1", "main")
    with pytest.raises(errors.RevisionNotFoundError):
        api.model_info("org/m1", revision="v9")
    with pytest.raises(errors.RemoteEntryNotFoundError):
        api.hf_hub_download("org/m1", "nope.json", cache_dir=tmp_path)
    with pytest.raises(errors.GatedRepoError):
        api.hf_hub_download("org/locked", "config.json", cache_dir=tmp_path)
    with pytest.raises(errors.LocalEntryNotFoundError) as disabled:
        api.hf_hub_download("org/off", "config.json", cache_dir=tmp_path)
    assert isinstance(disabled.value.__cause__, errors.DisabledRepoError)
    with pytest.raises(errors.HfHubHTTPError) as missing:  # over http, a bare 401 is not mapped further
        api.model_info("org/gone")
    assert missing.value.response.status_code == 401
    known = HfApi(endpoint=hub.endpoint, token="hf_yes")
    with pytest.raises(errors.RepositoryNotFoundError):
        known.model_info("org/gone")


def test_the_client_reaches_gated_and_private_files_with_a_token_that_never_leaves_the_hub(hub, tmp_path, add_model):
    add_model("org/locked", {"model.safetensors": DATA})
    api = HfApi(endpoint=hub.endpoint, token="hf_yes")
    assert api.whoami()["name"] == "local"
    assert api.model_info("org/secret").private
    path = api.hf_hub_download("org/locked", "model.safetensors", cache_dir=tmp_path)
    assert Path(path).read_bytes() == DATA
    assert {request.authorization for request in hub.request_log if request.listener == "cdn"} == {False}
    assert {request.authorization for request in hub.request_log if request.listener == "hub"} == {True}


def test_the_client_follows_a_rename(api, tmp_path):
    assert api.model_info("before/m1").id == "org/m1"
    assert [item.path for item in api.list_repo_tree("before/m1", "unet")] == ["unet/weights é.bin"]
    assert api.hf_hub_download("before/m1", "model.safetensors", cache_dir=tmp_path)


def test_the_client_sees_a_rate_limit(add_model, serve):
    add_model("org/m0")
    limited = serve(api_quota=0, window_s=60)
    with pytest.raises(errors.HfHubHTTPError) as refused:
        HfApi(endpoint=limited.endpoint, token=False).model_info("org/m0")
    assert refused.value.response.status_code == 429


def test_the_environment_alone_points_the_client_here(hub, tmp_path):
    code = "import huggingface_hub as h; print(open(h.hf_hub_download('org/m0', 'config.json')).read())"
    environment = {
        "PATH": os.environ["PATH"], "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == '{"model_type": "x"}', done.stderr
