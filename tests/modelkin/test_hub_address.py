"""What a user may name as a Hub."""

from pathlib import Path

import pytest

from modelkin.pipeline.hub_address import PUBLIC_HUB, choose_hub, parse_hub
from storage.errors import UsageError


def test_an_address_or_a_folder_is_a_hub(tmp_path: Path):
    assert parse_hub("https://hub.example/").location == "https://hub.example"
    assert parse_hub(str(tmp_path)).location == str(tmp_path)
    assert parse_hub(str(tmp_path)).is_folder


@pytest.mark.parametrize("hub", ["", "http://", "https:///x", "http://[", "ftp://x", "nowhere", "/dev/null"])
def test_what_is_neither_is_refused(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        parse_hub(hub)


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_password_in_an_address_is_refused_and_not_shown(given: str, monkeypatch: pytest.MonkeyPatch):
    address = "https://somebody:hf_secret@hub.example"
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError) as refused:
        choose_hub(address if given == "argument" else None, None)
    assert "hf_secret" not in str(refused.value)


def test_without_a_name_it_is_the_environments_or_the_public_hub(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8080/")
    assert choose_hub(None, None).location == "http://127.0.0.1:8080"
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert choose_hub(None, None).location == PUBLIC_HUB
