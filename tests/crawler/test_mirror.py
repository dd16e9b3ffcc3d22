"""Reading a Hub through `olah`, a mirror by others that knows file routes only: what comes equals a direct reading."""

import subprocess

import numpy as np
import pytest
import torch

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient
from crawler.settings import CrawlSettings, HubSettings
from storage.types import Skip
from tests.support.olah_mirror import olah_before
from tests.support.repositories import random_tensors, tell_hub, write_model, write_shards

pytestmark = pytest.mark.slow  # the environment is installed first
PATIENT = HubSettings(retries=2, backoff_s=0.1)


@pytest.fixture
def models(root):
    pieces = list(random_tensors(layers=4, width=96, seed=3).items())
    write_model(root, "acme/single", random_tensors(layers=3, width=128))
    write_model(root, "acme/half", random_tensors(layers=3, width=128, seed=1, dtype=torch.bfloat16))
    write_shards(root, "acme/sharded", [dict(pieces[:6]), dict(pieces[6:])])
    write_model(root, "acme/pickled", random_tensors(), name="pytorch_model.bin")
    write_model(root, "acme/gated", random_tensors(seed=2))
    return root


async def both_ways(endpoint, mirror):
    """Outcomes by name of the models that the Hub lists, read from it and read through the mirror."""
    found = []
    async with (
        HubClient(endpoint, token=None, settings=PATIENT) as direct,
        HubClient(mirror, token=None, settings=PATIENT) as mirrored,
    ):
        models = (await direct.listing_page(None)).models
        for client in (direct, mirrored):
            outcomes = [outcome async for outcome in read_models(client, models, CrawlSettings())]
            found.append({o.repo_id if isinstance(o, Skip) else o.ref.repo_id: o for o in outcomes})
    return found


def assert_alike(one, other):
    assert isinstance(one, ReadModel)
    assert isinstance(other, ReadModel), other
    np.testing.assert_array_equal(one.fingerprint.values, other.fingerprint.values)
    assert (one.ref, one.architecture) == (other.ref, other.architecture)


async def test_what_is_read_through_a_mirror_equals_what_is_read_directly(models, serve, tmp_path):
    tell_hub(models, acme__gated={"gated": "manual"})
    hub = serve()
    with olah_before(hub.endpoint, tmp_path / "olah") as mirror:
        direct, mirrored = await both_ways(hub.endpoint, mirror)
    assert (
        set(direct) == set(mirrored) == {f"acme/{name}" for name in ("single", "half", "sharded", "pickled", "gated")}
    )
    for name in ("acme/single", "acme/half", "acme/sharded"):
        assert_alike(direct[name], mirrored[name])
        assert direct[name].fingerprint.weights_sha256 == mirrored[name].fingerprint.weights_sha256
    for name in ("acme/pickled", "acme/gated"):
        assert direct[name] == mirrored[name]


async def test_a_mirror_that_ignores_ranges_is_read_past(models, serve, tmp_path):
    """In its local mode olah serves git repositories, sends whole files whatever is asked for, and names no commit."""
    write_model(models, "acme/large", random_tensors(layers=8, width=512))
    mirrors, commits = tmp_path / "mirrors", {}
    for folder in models.glob("*/*"):
        clone = mirrors / "models" / folder.relative_to(models)
        commits[f"{folder.parent.name}__{folder.name}"] = {"sha": commit_of(folder, clone)}
    tell_hub(models, **commits)
    hub = serve()
    with olah_before(hub.endpoint, tmp_path / "olah", mirrors=[mirrors]) as mirror:
        before = len(hub.request_log)
        direct, mirrored = await both_ways(hub.endpoint, mirror)
        asked = [request.target for request in hub.request_log[before:]]
    for name in ("acme/single", "acme/half", "acme/sharded", "acme/gated"):
        assert_alike(direct[name], mirrored[name])
    assert direct["acme/pickled"] == mirrored["acme/pickled"]
    assert mirrored["acme/large"].reason == "bad_response"  # of a whole file only so much is read past
    assert len([target for target in asked if "/resolve/" in target]) == 6  # of the direct reading: one a file


def commit_of(folder, clone):
    """Puts a model into a git repository of its own, and gives the commit."""
    clone.mkdir(parents=True)
    for path in folder.iterdir():
        (clone / path.name).write_bytes(path.read_bytes())
    who = ["git", "-c", "user.name=somebody", "-c", "user.email=nobody@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=weights"]):
        subprocess.run([*who, *command], cwd=clone, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True)
    return done.stdout.strip()
