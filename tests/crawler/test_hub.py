"""The client against a local Hub: listing, files, redirects, identity."""

import datetime as dt
from itertools import pairwise

import pytest
from huggingface_hub import HfApi

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient, find_token
from crawler.local_hub import Fault, LocalHub
from crawler.remote_file import linked_sha256
from crawler.settings import CrawlSettings, HubSettings
from storage.errors import HubRefused, HubUnavailable, ModelUnreadable, UsageError
from tests.support.repositories import random_tensors, tell_hub, write_model


def client_of(hub, settings, token=None):
    return HubClient(hub.endpoint, token=token, settings=settings)


async def walk(client):
    pages = [await client.listing_page(None)]
    while pages[-1].next_cursor is not None:
        pages.append(await client.listing_page(pages[-1].next_cursor))
    return pages


@pytest.fixture
def seven(root):
    notes = {}
    for number in range(7):
        write_model(root, f"acme/m{number}", random_tensors(layers=1, width=16, seed=number))
        notes[f"acme__m{number}"] = {
            "createdAt": f"2024-05-0{number + 1}T10:00:00.000Z",
            "tags": ["license:mit", "base_model:acme/base", "base_model:finetune:acme/base"],
            "downloads": number,
            "likes": 7,
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
        }
    tell_hub(root, **notes)
    return root


@pytest.mark.parametrize("page_models", [1, 3, 7, 1000])
@pytest.mark.usefixtures("seven")
async def test_the_pages_are_all_models_once_newest_first(serve, page_models):
    hub = serve()
    async with client_of(hub, HubSettings(page_models=page_models)) as client:
        pages = await walk(client)
    models = [model for page in pages for model in page.models]
    assert [m.repo_id for m in models] == [f"acme/m{n}" for n in reversed(range(7))]
    assert len(pages) == -(-7 // page_models)


@pytest.mark.usefixtures("seven")
async def test_a_row_says_what_the_real_client_says(serve, hasty):
    hub = serve()
    async with client_of(hub, hasty) as client:
        model = (await client.listing_page(None)).models[0]
    theirs = HfApi(endpoint=hub.endpoint, token=False).model_info(model.repo_id)
    assert model.revision == theirs.sha
    assert model.created_at == theirs.created_at == dt.datetime(2024, 5, 7, 10, tzinfo=dt.UTC)
    assert model.last_modified == theirs.last_modified
    assert (model.library, model.pipeline_tag) == (theirs.library_name, theirs.pipeline_tag)
    assert (model.downloads, model.likes) == (theirs.downloads, theirs.likes)
    assert sorted(model.file_names) == sorted(sibling.rfilename for sibling in theirs.siblings)
    assert sorted(model.tags) == sorted(theirs.tags)
    assert model.licence == "mit"
    assert [(base.repo_id, base.relation) for base in model.declared] == [("acme/base", "finetune")]


@pytest.mark.usefixtures("seven")
async def test_a_walk_goes_on_from_a_stored_cursor_in_another_process(serve):
    hub = serve()
    async with client_of(hub, HubSettings(page_models=3)) as first:
        cursor = (await first.listing_page(None)).next_cursor
    async with client_of(hub, HubSettings(page_models=2)) as second:
        page = await second.listing_page(cursor)
    assert [model.repo_id for model in page.models] == ["acme/m3", "acme/m2"]


@pytest.mark.usefixtures("seven")
async def test_a_walk_may_be_repeated_with_one_client(serve):
    async with client_of(serve(), HubSettings(page_models=3)) as client:
        assert await walk(client) == await walk(client)


@pytest.mark.usefixtures("seven")
async def test_a_hub_without_configurations_is_asked_again_without(serve, hasty):
    hub = serve(listing_config=False)
    async with client_of(hub, hasty) as client:
        pages = await walk(client)
        await walk(client)
    assert len(pages[0].models) == 7
    assert [r.status for r in hub.request_log] == [400, 200, 200]


@pytest.mark.usefixtures("seven")
async def test_a_bounded_wait_for_a_rate_limit_ends_in_unavailable(serve):
    hub = serve(window_s=300, api_quota=1)
    async with client_of(hub, HubSettings(rate_wait_s=1)) as client:
        await client.listing_page(None)
        with pytest.raises(HubUnavailable, match="rate limit"):
            await client.listing_page(None)
    assert len(hub.request_log) == 1


@pytest.mark.usefixtures("seven")
async def test_limits_that_last_too_long_end_the_crawl_and_cost_no_model(serve):
    hub = serve(window_s=300, resolver_quota=3)
    outcomes = []
    async with client_of(hub, HubSettings(rate_wait_s=1)) as client:
        models = (await client.listing_page(None)).models
        with pytest.raises(HubUnavailable, match="rate limit"):
            async for outcome in read_models(client, models, CrawlSettings(models_at_once=1)):
                outcomes.append(outcome)  # noqa: PERF401 - what came before the error is kept
    assert [type(outcome) for outcome in outcomes] == [ReadModel] * 3


@pytest.mark.usefixtures("seven")
async def test_a_wrong_token_is_refused_at_the_listing(serve, hasty):
    async with client_of(serve(), hasty, token="hf_wrong") as client:
        with pytest.raises(HubRefused) as caught:
            await client.listing_page(None)
    assert "hf_wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "cursor",
    [
        "http://evil.example/api/models?cursor=x",
        "https://127.0.0.1/api/models",
        "{}/acme/m0/resolve/main/x",
        "{}/api/models?cursor=a b",
        "http://[",
        "",
    ],
)
@pytest.mark.usefixtures("seven")
async def test_a_cursor_that_leaves_the_listing_is_refused(serve, hasty, cursor):
    hub = serve()
    async with client_of(hub, hasty) as client:
        with pytest.raises(HubRefused):
            await client.listing_page(cursor.format(hub.endpoint))
    assert not hub.request_log


async def test_ranges_of_one_file_cost_one_resolve_request(root, serve, hasty):
    data = (write_model(root, "acme/tiny", random_tensors()) / "model.safetensors").read_bytes()
    hub = serve()
    async with client_of(hub, hasty) as client:
        remote = await client.open_file("acme/tiny", "main", "model.safetensors")
        cuts = [0, 1, 8, 5000, len(data) - 1, len(data)]
        assert [await remote.read(a, b) for a, b in pairwise(cuts)] == [data[a:b] for a, b in pairwise(cuts)]
        assert await remote.read(5, 5) == b""
    assert remote.size == len(data)
    assert [r.method for r in hub.request_log if r.listener == "hub"] == ["HEAD"]


@pytest.mark.parametrize(("begin", "end"), [(-1, 5), (5, 4), (0, 10**9)])
async def test_a_range_outside_the_file_is_never_asked_for(root, serve, hasty, begin, end):
    write_model(root, "acme/tiny", random_tensors())
    hub = serve()
    async with client_of(hub, hasty) as client:
        remote = await client.open_file("acme/tiny", "main", "model.safetensors")
        with pytest.raises(ModelUnreadable):
            await remote.read(begin, end)
    assert len(hub.request_log) == 1


async def test_an_expired_location_is_asked_for_once_more(root, serve, hasty):
    data = (write_model(root, "acme/tiny", random_tensors()) / "model.safetensors").read_bytes()
    hub = serve(url_lifetime_s=3600)
    async with client_of(hub, hasty) as client:
        remote = await client.open_file("acme/tiny", "main", "model.safetensors")
        hub.advance_clock(7200)
        assert await remote.read(0, 100) == data[:100]
    assert [(r.listener, r.status) for r in hub.request_log] == [("hub", 302), ("cdn", 403), ("hub", 302), ("cdn", 206)]


async def test_a_file_that_changed_since_it_was_located_is_not_mixed(root, serve, hasty):
    path = write_model(root, "acme/tiny", random_tensors()) / "model.safetensors"
    async with client_of(serve(), hasty) as client:
        remote = await client.open_file("acme/tiny", "main", "model.safetensors")
        path.write_bytes(path.read_bytes() + b"\0")
        with pytest.raises(ModelUnreadable) as caught:
            await remote.read(0, 100)
    assert (caught.value.reason, caught.value.retry) == ("changed", True)


async def test_a_small_file_is_followed_to_where_it_is_and_measured(root, serve, hasty):
    text = (write_model(root, "acme/tiny", random_tensors()) / "config.json").read_bytes()
    async with client_of(serve(), hasty) as client:
        assert await client.read_small("acme/tiny", "main", "config.json", limit_bytes=len(text)) == text
        remote = await client.open_file("acme/tiny", "main", "config.json")
        assert (remote.size, remote.sha256) == (len(text), None)
        assert await remote.read(2, 9) == text[2:9]
        with pytest.raises(ModelUnreadable) as caught:
            await client.read_small("acme/tiny", "main", "config.json", limit_bytes=len(text) - 1)
    assert caught.value.reason == "too_large"


async def test_a_small_file_is_had_from_a_mirror_that_knows_no_raw_route(root, serve, hasty):
    text = (write_model(root, "acme/tiny", random_tensors()) / "config.json").read_bytes()
    hub = serve(faults=lambda asked: Fault("status", status=404) if "/raw/" in asked.target else None)
    async with client_of(hub, hasty) as client:
        assert await client.read_small("acme/tiny", "main", "config.json", limit_bytes=9999) == text
        with pytest.raises(ModelUnreadable) as caught:
            await client.read_small("acme/tiny", "main", "nope.json", limit_bytes=9999)
    assert caught.value.reason == "file_missing"


def test_the_sha256_is_the_hubs_word_or_that_of_a_mirror_in_its_place():
    sha256, other = "a" * 64, "b" * 64
    assert linked_sha256({"X-Linked-Etag": f'"{sha256}"', "ETag": f'"{other}"'}, mirrored=True) == sha256
    assert linked_sha256({"ETag": f'"{sha256}"'}, mirrored=True) == sha256
    assert linked_sha256({"ETag": f'"{other}"'}) is None  # a CDN's own hash
    assert linked_sha256({"ETag": '"' + "c" * 40 + '"'}, mirrored=True) is None  # of a file in git


async def test_names_with_spaces_and_foreign_letters_are_found(root, serve, hasty):
    name = "unet/模型 (1)+%2F#?.safetensors"
    data = (write_model(root, "acme/odd", random_tensors(), name=name) / name).read_bytes()
    async with client_of(serve(), hasty) as client:
        names = (await client.listing_page(None)).models[0].file_names
        remote = await client.open_file("acme/odd", "main", name)
        assert await remote.read(0, remote.size) == data
    assert set(names) == {name, "config.json"}


MISSING = [
    ("acme/none", "main", "model.safetensors", None, "not_found"),
    ("acme/none", "main", "model.safetensors", "hf_known", "not_found"),
    ("acme/tiny", "0" * 40, "model.safetensors", None, "revision_missing"),
    ("acme/tiny", "main", "other.safetensors", None, "file_missing"),
    ("acme/gated", "main", "model.safetensors", None, "gated"),
    ("acme/gated", "main", "model.safetensors", "hf_known", "gated"),
    ("acme/off", "main", "model.safetensors", None, "disabled"),
]


@pytest.mark.parametrize("case", MISSING)
async def test_each_refusal_of_the_hub_has_its_reason(root, serve, hasty, case):
    repo_id, revision, path, token, reason = case
    for name in ("acme/tiny", "acme/gated", "acme/off"):
        write_model(root, name, random_tensors())
    tell_hub(root, acme__gated={"gated": "auto"}, acme__off={"disabled": True})
    async with client_of(serve(tokens={"hf_known": frozenset()}), hasty, token) as client:
        for read in (client.open_file, lambda *where: client.read_small(*where, limit_bytes=10)):
            with pytest.raises(ModelUnreadable) as caught:
                await read(repo_id, revision, path)
            assert caught.value.reason == reason
            assert caught.value.retry == (reason != "file_missing")


@pytest.mark.parametrize(
    "endpoint", ["", "huggingface.co", "ftp://x", "http://", "http://u:p@x", "http://x?y", "http://["]
)
def test_an_endpoint_must_be_an_address(endpoint, hasty):
    with pytest.raises(UsageError):
        HubClient(endpoint, token=None, settings=hasty)


async def test_a_client_is_used_inside_its_block(hasty):
    client = HubClient("http://127.0.0.1:9", token=None, settings=hasty)
    with pytest.raises(RuntimeError):
        await client.listing_page(None)
    with pytest.raises(RuntimeError):
        await client.open_file("a/b", "main", "c")


def test_the_token_is_that_of_the_users_login(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_from_environment")
    assert find_token() == "hf_from_environment"


async def test_what_the_client_finds_is_what_the_real_client_finds(seven):
    with LocalHub(seven) as hub:
        theirs = {model.id for model in HfApi(endpoint=hub.endpoint, token=False).list_models(limit=3)}
        async with client_of(hub, HubSettings(page_models=1000)) as client:
            ours = {model.repo_id for model in (await client.listing_page(None)).models}
    assert theirs <= ours
