"""What a crawl of the local Hub finds, against what `huggingface_hub` makes of the same Hub."""

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from safetensors import safe_open

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient
from crawler.settings import CrawlSettings
from storage.types import Skip
from tests.support.repositories import random_tensors, tell_hub, write_model, write_shards


@pytest.fixture
def wide(root):
    pieces = list(random_tensors(layers=4, width=96, seed=3).items())
    write_model(root, "acme/single", random_tensors(layers=3, width=128))
    write_model(root, "acme/half", random_tensors(layers=3, width=128, seed=1, dtype=torch.bfloat16))
    write_shards(root, "acme/sharded", [dict(pieces[:6]), dict(pieces[6:])])
    write_model(root, "acme/gated", random_tensors())
    write_model(root, "acme/off", random_tensors())
    write_model(root, "acme/pickled", random_tensors(), name="pytorch_model.bin")
    tell_hub(root, acme__gated={"gated": "manual"}, acme__off={"disabled": True})
    return root


async def crawled(endpoint, settings):
    async with HubClient(endpoint, token=None, settings=settings) as client:
        models = (await client.listing_page(None)).models
        return [outcome async for outcome in read_models(client, models, CrawlSettings())]


def downloaded(api, repo_id, cache):
    """Every tensor of a repository's safetensors files as the Hub's own client and the format's own library read it."""
    tensors = {}
    for path in (name for name in api.list_repo_files(repo_id) if name.endswith(".safetensors")):
        with safe_open(api.hf_hub_download(repo_id, path, cache_dir=cache), framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    return tensors


@pytest.mark.usefixtures("wide")
async def test_fingerprints_hold_the_rows_that_the_real_client_downloads(serve, hasty, tmp_path):
    hub = serve()
    api = HfApi(endpoint=hub.endpoint, token=False)
    reads = [outcome for outcome in await crawled(hub.endpoint, hasty) if isinstance(outcome, ReadModel)]
    assert {read.ref.repo_id for read in reads} == {"acme/single", "acme/half", "acme/sharded"}
    for read in reads:
        tensors = downloaded(api, read.ref.repo_id, tmp_path / "cache")
        names = {tensor.name: tensor.spec.name for tensor in read.architecture.tensors}
        plan = read.fingerprint.plan
        blocks = zip(plan.names, plan.row_start, plan.row_start + plan.row_count, strict=True)
        rows = [tensors[names[name]].to(torch.float32).flatten(1)[start:stop] for name, start, stop in blocks]
        np.testing.assert_array_equal(read.fingerprint.values, np.concatenate([row.numpy().ravel() for row in rows]))
        info = api.model_info(read.ref.repo_id, files_metadata=True)
        hashes = [file.lfs.sha256 for file in info.siblings if file.rfilename.endswith(".safetensors")]
        assert read.fingerprint.weights_sha256 == (hashes[0] if len(hashes) == 1 else None)
        assert (read.ref.hub_id, read.ref.revision) == (hub_id_of(hub, read.ref.repo_id), info.sha)


def hub_id_of(hub, repo_id):
    """The client has no name for `_id`; its session shows it."""
    from huggingface_hub.utils import get_session  # noqa: PLC0415 - used here alone

    return get_session().get(f"{hub.endpoint}/api/models/{repo_id}").json()["_id"]


@pytest.mark.usefixtures("wide")
async def test_what_is_left_out_the_real_client_cannot_read_either(serve, hasty, tmp_path):
    hub = serve()
    api = HfApi(endpoint=hub.endpoint, token=False)
    reasons = {o.repo_id: o.reason for o in await crawled(hub.endpoint, hasty) if isinstance(o, Skip)}
    assert reasons == {"acme/gated": "gated", "acme/off": "disabled", "acme/pickled": "only_pickle"}
    for repo_id in ("acme/gated", "acme/off"):
        with pytest.raises((HfHubHTTPError, OSError)):
            downloaded(api, repo_id, tmp_path / "cache")
    assert downloaded(api, "acme/pickled", tmp_path / "cache") == {}
