"""Settings that make no sense are refused by name."""

import pytest

from crawler.settings import CrawlSettings, HubSettings


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (HubSettings, "connections", 0),
        (HubSettings, "retries", -1),
        (HubSettings, "timeout_s", 0.0),
        (HubSettings, "backoff_s", float("nan")),
        (HubSettings, "page_models", 0),
        (HubSettings, "author", "acme/tiny"),
        (HubSettings, "author", "a&b"),
        (HubSettings, "repositories", ("acme/tiny", "../up")),
        (CrawlSettings, "budget_weights", 0),
        (CrawlSettings, "models_at_once", -5),
    ],
)
def test_a_setting_out_of_range_is_named(kind, name, value):
    with pytest.raises(ValueError, match=name):
        kind(**{name: value})


def test_an_owner_and_names_exclude_each_other():
    with pytest.raises(ValueError, match="exclude"):
        HubSettings(author="acme", repositories=("acme/tiny",))
