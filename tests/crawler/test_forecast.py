"""What a crawl will cost, by the listing alone."""

import pytest

from crawler.forecast import Forecast, hours, weight_files
from crawler.settings import CrawlSettings
from storage.types import DeclaredBase, ModelRef

SHARDS = tuple(f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3))


def ref(*names, **more):
    return ModelRef("a" * 24, "acme/m", "b" * 40, file_names=names, **{"model_type": "t"} | more)


@pytest.mark.parametrize(
    ("model", "files"),
    [
        (ref("model.safetensors", "model.fp16.safetensors"), 1),
        (ref("model.safetensors.index.json", *SHARDS, "consolidated.safetensors"), 4),
        (ref(*SHARDS), 3),
        (ref("a.gguf"), 1),
        (ref("pytorch_model.bin"), 0),
        (ref(), 0),
        (ref("model.safetensors", disabled=True), 0),
    ],
)
def test_files_that_reading_opens_are_told_by_their_names(model, files):
    assert weight_files(model) == files


@pytest.mark.parametrize(
    ("model", "requests"),
    [
        (ref("model.safetensors", "config.json"), 1),
        (ref("model.safetensors", "config.json", model_type=None), 2),
        (ref("model.safetensors", model_type=None), 1),
        (ref("adapter_model.safetensors", "adapter_config.json"), 2),
        (ref("adapter_model.safetensors", "adapter_config.json", declared=(DeclaredBase("a/b", None),)), 1),
    ],
)
def test_configurations_are_read_where_the_listing_does_not_tell(model, requests):
    forecast = Forecast()
    forecast.add(model, CrawlSettings())
    assert (forecast.to_read, forecast.resolver_requests) == (1, requests)
    assert forecast.bytes_at_most == (32 + 256) * 1024


def test_hours_are_those_of_the_scarcer_class():
    asked = Forecast(api_requests=3000, resolver_requests=300_000)
    assert hours(asked, {"api": (1000, 300), "resolvers": (5000, 300)}) == pytest.approx(59 * 300 / 3600)
    assert hours(asked, {"api": (1000, 300)}) is None
    assert hours(Forecast(api_requests=400), {"api": (1000, 300)}) == 0
    assert hours(asked, {"api": (1000, 300), "resolvers": (0, 300)}) is None
