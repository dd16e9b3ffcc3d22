"""Reading models over HTTP from a local Hub: what comes out, what it costs, and what is left out and why."""

import hashlib
import json
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import crawler.crawl
import crawler.header_room
from crawler.crawl import ReadModel, read_model, read_models
from crawler.hub import HubClient
from crawler.local_hub import LocalHub
from crawler.settings import CrawlSettings
from crawler.torch_contents import pickles_of_folder
from storage.errors import HubRefused, HubUnavailable, ModelUnreadable
from storage.types import Skip
from tests.support.gguf_files import llama_tensors, write_gguf
from tests.support.headers import framed
from tests.support.quantized import gptq, quantized
from tests.support.repositories import random_tensors, tell_hub, write_model, write_shards

SETTINGS = CrawlSettings()
LARGE = {"layers": 4, "width": 192}


async def listed(client):
    page = await client.listing_page(None)
    assert not page.skips
    return {model.repo_id: model for model in page.models}


async def crawl(hub, settings, *, token=None, crawl_settings=SETTINGS):
    """Every model's outcome by its name."""
    async with HubClient(hub.endpoint, token=token, settings=settings) as client:
        refs = (await listed(client)).values()
        outcomes = [outcome async for outcome in read_models(client, refs, crawl_settings)]
    return {(o.repo_id if isinstance(o, Skip) else o.ref.repo_id): o for o in outcomes}


def sampled_from(tensors, read):
    """The weights a plan means, cut from the tensors as torch loads them."""
    by_name = {tensor.name: tensor.spec.name for tensor in read.architecture.tensors}
    plan = read.fingerprint.plan
    rows = zip(plan.names, plan.row_start, plan.row_start + plan.row_count, strict=True)
    blocks = [tensors[by_name[name]].to(torch.float32).flatten(1)[start:stop] for name, start, stop in rows]
    return np.concatenate([block.numpy().ravel() for block in blocks])


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
async def test_a_fingerprint_is_the_plans_rows_of_the_file(root, serve, hasty, dtype):
    folder = write_model(root, "acme/tiny", random_tensors(**LARGE, dtype=dtype))
    read = (await crawl(serve(), hasty))["acme/tiny"]
    np.testing.assert_array_equal(read.fingerprint.values, sampled_from(load_file(folder / "model.safetensors"), read))
    assert read.fingerprint.values.dtype == np.float32
    assert len(read.fingerprint.values) == read.fingerprint.plan.weights <= 65_536
    assert read.fingerprint.weights_sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert read.fingerprint.parameters == sum(t.numel() for t in random_tensors(**LARGE).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
async def test_a_model_costs_one_resolve_request_and_its_budget_of_bytes(root, serve, hasty, dtype):
    write_model(root, "acme/tiny", random_tensors(layers=8, width=256, dtype=dtype))
    hub = serve()
    fingerprint = (await crawl(hub, hasty))["acme/tiny"].fingerprint
    log = hub.request_log
    assert [r.method for r in log if "/resolve/" in r.target] == ["HEAD"]
    assert fingerprint.resolver_requests == 1
    assert all(r.accept_encoding == "identity" for r in log)
    cdn = [r for r in log if r.listener == "cdn"]
    assert all(r.range is not None and "," not in r.range and r.status == 206 for r in cdn)
    assert sum(r.bytes_sent for r in cdn) == fingerprint.header_bytes + fingerprint.sampled_bytes
    assert fingerprint.header_bytes == 32 * 1024
    assert fingerprint.sampled_bytes <= 256 * 1024
    assert len(cdn) <= 17


async def test_a_model_smaller_than_the_first_read_costs_nothing_more(root, serve, hasty):
    write_model(root, "acme/mini", random_tensors(layers=2, width=16))
    hub = serve()
    read = (await crawl(hub, hasty))["acme/mini"]
    assert read.fingerprint.sampled_bytes == 0
    assert len([r for r in hub.request_log if r.listener == "cdn"]) == 1


async def test_a_long_header_is_read_to_its_end(root, serve, hasty):
    shapes = {f"model.layers.{i}.proj.weight": torch.randn(16, 16) for i in range(600)}
    folder = write_model(root, "acme/long", shapes)
    read = (await crawl(serve(), hasty))["acme/long"]
    assert read.fingerprint.header_bytes > 32 * 1024
    np.testing.assert_array_equal(read.fingerprint.values, sampled_from(load_file(folder / "model.safetensors"), read))


@pytest.mark.parametrize("index", [True, False])
async def test_sharding_changes_nothing_but_the_requests(root, serve, hasty, index):
    tensors = random_tensors(**LARGE)
    items = list(tensors.items())
    write_model(root, "acme/whole", tensors)
    write_shards(root, "acme/sharded", [dict(items[:5]), dict(items[5:9]), dict(items[9:])], index=index)
    outcomes = await crawl(serve(), hasty)
    whole, sharded = outcomes["acme/whole"].fingerprint, outcomes["acme/sharded"].fingerprint
    assert whole.plan.plan_id == sharded.plan.plan_id
    np.testing.assert_array_equal(whole.values, sharded.values)
    assert sharded.weights_sha256 is None
    assert sharded.resolver_requests == (4 if index else 3)


async def test_headers_that_are_long_together_are_refused(root, serve, hasty, monkeypatch):
    items = list(random_tensors(**LARGE).items())
    write_shards(root, "acme/sharded", [dict(items[:5]), dict(items[5:])])
    monkeypatch.setattr(crawler.header_room, "MAX_HEADERS_BYTES", 800)  # more than each of the two, less than both
    assert (await crawl(serve(), hasty))["acme/sharded"].reason == "too_large"


async def test_rows_that_lie_across_their_codes_are_sampled_of_a_folder_and_of_small_models(
    root, serve, hasty, monkeypatch
):
    stored, _ = quantized(llama_tensors(width=192), gptq)
    write_model(root, "acme/gptq", stored)
    hub = serve()
    assert isinstance((await crawl(hub, hasty))["acme/gptq"], ReadModel)
    monkeypatch.setattr(crawler.crawl, "MAX_SAMPLED_BYTES", 2**16)
    skip = (await crawl(hub, hasty))["acme/gptq"]
    assert (skip.reason, skip.retry) == ("scattered_rows", False)
    assert "download it" in skip.detail
    with pickles_of_folder(root, pytest.fail):
        assert isinstance((await crawl(hub, hasty))["acme/gptq"], ReadModel)


async def test_models_with_large_headers_are_read_one_after_the_other(root, serve, hasty, monkeypatch):
    items = list(random_tensors(**LARGE).items())
    for number in range(4):
        write_shards(root, f"acme/m{number}", [dict(items[:5]), dict(items[5:])], index=False)
    monkeypatch.setattr(crawler.header_room, "LARGE_HEADERS_BYTES", 800)  # more than each of the two, less than both
    under_way, most = 0, 0
    sample = crawler.crawl._sample

    async def counted(checkpoint, plan):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            return await sample(checkpoint, plan)
        finally:
            under_way -= 1

    monkeypatch.setattr(crawler.crawl, "_sample", counted)
    outcomes = await crawl(serve(), hasty)
    assert [type(outcome) for outcome in outcomes.values()] == [ReadModel] * 4
    assert most == 1


async def test_adapters_are_read_and_kept_apart(root, serve, hasty):
    factors = {
        f"base_model.model.layers.{i}.q_proj.lora_{side}.weight": torch.randn(*shape)
        for i in range(3)
        for side, shape in (("A", (16, 64)), ("B", (64, 16)))
    }
    write_model(root, "acme/adapter", factors, name="adapter_model.safetensors")
    write_model(root, "acme/plain", factors)
    outcomes = await crawl(serve(), hasty)
    assert outcomes["acme/adapter"].architecture.key != outcomes["acme/plain"].architecture.key
    assert outcomes["acme/plain"].adapter is None
    assert [(m.path, m.rank) for m in outcomes["acme/adapter"].adapter.modules] == [
        (f"layers.{i}.q_proj", 16) for i in range(3)
    ]


FACTORS = {
    "base_model.model.q.lora_A.weight": torch.randn(4, 64),
    "base_model.model.q.lora_B.weight": torch.randn(64, 4),
}


async def test_an_adapter_costs_one_request_and_all_of_it_is_sampled_where_it_is_small(root, serve, hasty):
    folder = write_model(root, "acme/adapter", FACTORS, name="adapter_model.safetensors")
    (folder / "README.md").write_text("---\nbase_model: acme/base\n---\n")
    read = (await crawl(serve(), hasty))["acme/adapter"]
    assert read.fingerprint.resolver_requests == 1
    assert read.fingerprint.plan.weights == read.fingerprint.parameters == 2 * 4 * 64
    assert [base.repo_id for base in read.ref.declared] == ["acme/base"]


async def test_a_base_that_only_the_configuration_names_is_declared(root, serve, hasty):
    folder = write_model(root, "acme/adapter", FACTORS, name="adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "acme/base"}))
    hub = serve()
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        ref = (await listed(client))["acme/adapter"]
        assert [base.repo_id for base in ref.declared] == ["acme/base"]
        read = await read_model(client, replace(ref, declared=()), SETTINGS)
        (folder / "adapter_config.json").write_text("{")
        broken = await read_model(client, replace((await listed(client))["acme/adapter"], declared=()), SETTINGS)
    assert [(base.repo_id, base.relation) for base in read.ref.declared] == [("acme/base", "adapter")]
    assert broken.ref.declared == ()


@pytest.mark.parametrize("name", ["/home/me/model", "../base", None, 3, ["acme/base"]])
async def test_a_base_that_is_no_repository_is_not_declared(root, serve, hasty, name):
    folder = write_model(root, "acme/adapter", FACTORS, name="adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": name}))
    assert (await crawl(serve(), hasty))["acme/adapter"].ref.declared == ()


async def test_half_an_adapter_is_left_out(root, serve, hasty):
    write_model(root, "acme/half", dict(list(FACTORS.items())[:1]), name="adapter_model.safetensors")
    assert (await crawl(serve(), hasty))["acme/half"].reason == "adapter_unpaired"


async def test_a_diffusion_model_is_its_unet(root, serve, hasty):
    name = "unet/diffusion_pytorch_model.safetensors"
    write_model(root, "acme/pictures", random_tensors(), name=name)
    write_model(root, "acme/pictures", random_tensors(layers=1), name="vae/diffusion_pytorch_model.safetensors")
    read = (await crawl(serve(), hasty))["acme/pictures"]
    assert {tensor.spec.file for tensor in read.architecture.tensors} == {name}


def broken_weights(root):
    """Models that cannot be read, each in its own way, by the reason."""
    tensors = random_tensors()
    write_model(root, "acme/gated", tensors)
    write_model(root, "acme/disabled", tensors)
    write_model(root, "bad/non_finite_weights", {k: torch.full_like(v, float("nan")) for k, v in tensors.items()})
    write_model(root, "bad/constant_weights", {k: torch.ones_like(v) for k, v in tensors.items()})
    write_model(root, "bad/no_comparable_tensors", {"a": torch.zeros(64, 64, dtype=torch.int8)})
    write_model(root, "bad/unsupported_quantization", tensors | {"a.qweight": torch.ones(8, 64, dtype=torch.int32)})
    write_gguf(root / "bad/unsupported_gguf/m.gguf", {"blk.0.ssm_in.weight": torch.ones(64, 64)}, architecture="mamba")
    whole = write_gguf(root / "bad/gguf_bad_header/m.gguf", llama_tensors(), vocabulary=20_000).read_bytes()
    (root / "bad/gguf_bad_header/m.gguf").write_bytes(whole[: 2**18])
    write_model(root, "bad/only_pickle", tensors, name="pytorch_model.bin")
    whole = (write_model(root, "bad/header_wrong_length", tensors) / "model.safetensors").read_bytes()
    files = {
        "bad/header_wrong_length": whole[:-1],
        "bad/header_past_end": b"version https://git-lfs.github.com/spec/v1\n",
        "bad/header_not_json": framed("[1", bytes(4)),
        "bad/header_too_short": b"\x01",
    }
    for repo_id, data in files.items():
        (root / repo_id).mkdir(exist_ok=True, parents=True)
        (root / repo_id / "model.safetensors").write_bytes(data)
    write_shards(root, "bad/bad_index", [tensors])
    (root / "bad/bad_index/model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    write_shards(root, "bad/file_missing", [tensors])
    (root / "bad/file_missing/model-00001-of-00001.safetensors").unlink()
    tell_hub(root, acme__gated={"gated": "manual"}, acme__disabled={"disabled": True})


async def test_what_cannot_be_read_is_recorded_and_the_others_go_on(root, serve, hasty):
    broken_weights(root)
    write_model(root, "acme/good", random_tensors())
    outcomes = await crawl(serve(), hasty)
    assert isinstance(outcomes.pop("acme/good"), ReadModel)
    assert {name: o.reason for name, o in outcomes.items()} == {name: name.partition("/")[2] for name in outcomes}
    assert len(outcomes) == 15
    assert {o.reason for o in outcomes.values() if o.retry} == {"gated", "disabled"}
    assert all(o.stage == "crawl" and o.detail.isprintable() for o in outcomes.values())


UNUSABLE = {
    "infinite": ({"a": torch.full((64, 64), float("inf"))}, "non_finite_weights"),
    "zeros": ({"a": torch.zeros(64, 64), "b": torch.zeros(64, 64)}, "constant_weights"),
    "scalars": ({"a": torch.tensor(1.0), "b": torch.ones(500), "c": torch.zeros(0, 64)}, "no_comparable_tensors"),
    "nothing": ({}, "no_comparable_tensors"),
}


async def test_weights_that_no_training_made_are_left_out(root, serve, hasty):
    for name, (tensors, _) in UNUSABLE.items():
        write_model(root, f"acme/{name}", tensors)
    outcomes = await crawl(serve(), hasty)
    assert {name: skip.reason for name, skip in outcomes.items()} == {
        f"acme/{name}": reason for name, (_, reason) in UNUSABLE.items()
    }


async def test_the_token_opens_gated_models_and_never_reaches_the_cdn(root, serve, hasty):
    write_model(root, "acme/gated", random_tensors())
    tell_hub(root, acme__gated={"gated": "auto"})
    hub = serve(tokens={"hf_secret": frozenset({"acme/gated"}), "hf_other": frozenset()})
    assert isinstance((await crawl(hub, hasty, token="hf_secret"))["acme/gated"], ReadModel)
    assert {r.authorization for r in hub.request_log if r.listener == "hub"} == {True}
    assert {r.authorization for r in hub.request_log if r.listener == "cdn"} == {False}
    assert (await crawl(hub, hasty, token="hf_other"))["acme/gated"].reason == "gated"


async def test_a_model_that_went_or_moved_on_since_the_listing_is_skipped(root, serve, hasty):
    folder = write_model(root, "acme/gone", random_tensors())
    changed = write_model(root, "acme/changed", random_tensors())
    async with HubClient(serve().endpoint, token=None, settings=hasty) as client:
        refs = await listed(client)
        (folder / "model.safetensors").unlink()
        (folder / "config.json").unlink()
        folder.rmdir()
        (changed / "config.json").write_text("{}")
        outcomes = {o.repo_id: o async for o in read_models(client, refs.values(), SETTINGS)}
    assert {name: o.reason for name, o in outcomes.items()} == {
        "acme/gone": "not_found",
        "acme/changed": "revision_missing",
    }


@pytest.mark.parametrize("listing_config", [True, False])
async def test_type_and_class_come_from_the_listing_or_else_from_config_json(root, serve, hasty, listing_config):
    write_model(root, "acme/tiny", random_tensors())
    hub = serve(listing_config=listing_config)
    ref = (await crawl(hub, hasty))["acme/tiny"].ref
    assert (ref.model_type, ref.model_class) == ("tiny", "TinyForTests")
    assert any("config.json" in r.target for r in hub.request_log) == (not listing_config)


@pytest.mark.parametrize("text", ["[", "[1]", '{"architectures": {}}', '{"a": "' + "x" * 2**20 + '"}'])
async def test_a_broken_config_costs_the_model_nothing_but_its_type(root, serve, hasty, text):
    (write_model(root, "acme/tiny", random_tensors()) / "config.json").write_text(text)
    read = (await crawl(serve(listing_config=False), hasty))["acme/tiny"]
    assert (read.ref.model_type, read.ref.model_class) == (None, None)


async def test_a_model_without_files_in_the_listing_costs_no_request(root, serve, hasty):
    (root / "acme" / "empty").mkdir(parents=True)
    hub = serve()
    skip = (await crawl(hub, hasty))["acme/empty"]
    assert (skip.reason, skip.retry) == ("no_files_listed", True)
    assert len(hub.request_log) == 1


async def test_an_index_of_shards_in_lfs_is_found_behind_its_pointer(root, serve, hasty):
    folder = write_shards(root, "acme/sharded", [random_tensors(**LARGE)])
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text() + " " * 10 * 2**20)
    hub = serve()
    assert isinstance((await crawl(hub, hasty))["acme/sharded"], ReadModel)
    routes = [r.target.split("/")[3] for r in hub.request_log if r.target.endswith("index.json")]
    assert routes == ["raw", "resolve"] * 2  # before the model has its turn, and then to the end


async def test_costs_are_what_the_hub_logged_of_each_model_read_or_not(root, serve, hasty):
    write_model(root, "acme/whole", random_tensors(**LARGE))
    write_shards(root, "acme/sharded", [random_tensors(), random_tensors(seed=1)], index=True)
    write_model(root, "acme/bad", {"a": torch.zeros(64, 64, dtype=torch.int8)})
    hub, costs = serve(listing_config=False), {}
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        refs = await listed(client)
        [outcome async for outcome in read_models(client, refs.values(), SETTINGS, costs=costs)]
        spent = client.spent
    log = hub.request_log
    for name, ref in refs.items():
        mine = [r for r in log if ref.hub_id in r.target or f"{name}/" in r.target]
        cost = costs[ref.hub_id]
        assert cost.resolver_requests == sum(r.listener == "hub" for r in mine)
        assert cost.cdn_requests == sum(r.listener == "cdn" for r in mine) > 0
        assert cost.received_bytes == sum(r.bytes_sent for r in mine if r.method == "GET")
    assert spent.api_requests == 2
    assert spent.resolver_requests == sum(cost.resolver_requests for cost in costs.values())


async def test_a_disabled_model_costs_no_request(root, serve, hasty):
    write_model(root, "acme/tiny", random_tensors())
    tell_hub(root, acme__tiny={"disabled": True})
    hub = serve()
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable):
            await read_model(client, (await listed(client))["acme/tiny"], SETTINGS)
    assert len(hub.request_log) == 1


async def test_rate_limits_slow_a_crawl_and_lose_no_model(root, serve, hasty):
    for number in range(5):
        write_model(root, f"acme/m{number}", random_tensors(seed=number))
    hub = serve(window_s=1, resolver_quota=3)
    outcomes = await crawl(hub, hasty)
    assert all(isinstance(outcome, ReadModel) for outcome in outcomes.values())


async def test_an_unexpected_failure_of_one_model_is_recorded_too(root, serve, hasty, monkeypatch):
    write_model(root, "acme/tiny", random_tensors())

    def fail(*_args, **_settings):
        raise ZeroDivisionError("\x1b[2J")

    monkeypatch.setattr(crawler.crawl, "make_plan", fail)
    skip = (await crawl(serve(), hasty))["acme/tiny"]
    assert (skip.reason, skip.retry) == ("unexpected_error", True)
    assert skip.detail.isprintable()


async def test_a_refused_token_ends_the_crawl(root, serve, hasty):
    write_model(root, "acme/tiny", random_tensors())
    hub = serve()
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        refs = await listed(client)
    async with HubClient(hub.endpoint, token="hf_wrong", settings=hasty) as client:
        with pytest.raises(HubRefused) as caught:
            [outcome async for outcome in read_models(client, refs.values(), SETTINGS)]
    assert "hf_wrong" not in str(caught.value)


async def test_a_hub_that_went_away_ends_the_crawl_after_a_few_models(root, hasty):
    for number in range(12):
        write_model(root, f"acme/m{number:02}", random_tensors())
    with LocalHub(root) as hub:
        async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
            refs = await listed(client)
    outcomes = []
    brief = replace(hasty, backoff_s=0.001)
    async with HubClient(hub.endpoint, token=None, settings=brief) as client:
        with pytest.raises(HubUnavailable):
            async for outcome in read_models(client, refs.values(), CrawlSettings(models_at_once=2)):
                outcomes.append(outcome.reason)  # noqa: PERF401 - what came before the error is kept
    assert 1 <= len(outcomes) <= 8
    assert set(outcomes) == {"unavailable"}


async def test_leaving_early_stops_what_is_under_way(root, serve, hasty):
    for number in range(6):
        write_model(root, f"acme/m{number}", random_tensors())
    hub = serve(latency_s=0.05)
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        refs = await listed(client)
        async with aclosing(read_models(client, refs.values(), CrawlSettings(models_at_once=1))) as outcomes:
            assert isinstance(await anext(outcomes), ReadModel)
    assert len([r for r in hub.request_log if r.method == "HEAD"]) <= 2


async def test_the_same_folder_always_gives_the_same_fingerprints(root, serve, hasty):
    write_model(root, "acme/tiny", random_tensors(**LARGE))
    first, second = [(await crawl(serve(), hasty))["acme/tiny"].fingerprint for _ in range(2)]
    assert (first.plan.plan_id, first.revision, first.hub_id) == (second.plan.plan_id, second.revision, second.hub_id)
    np.testing.assert_array_equal(first.values, second.values)
    assert json.dumps(first.plan.names) == json.dumps(second.plan.names)
