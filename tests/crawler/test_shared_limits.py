"""Processes that share a Hub's limits: what they take together, and what a broken file does to them."""

import json
import subprocess
import sys
import time

import pytest
from yarl import URL

from crawler.addresses import is_loopback, is_private
from crawler.hub import HubClient
from crawler.rate_limits import MemoryLedger, RateGate, Window, take
from crawler.settings import HubSettings
from crawler.shared_limits import SharedLedger, ledger_for
from storage.errors import HubUnavailable
from tests.support.repositories import random_tensors, write_model

HUB = URL("https://hub.example")
TAKER = """
import sys, time
from pathlib import Path
from crawler.rate_limits import take
from crawler.shared_limits import SharedLedger

ledger, given = SharedLedger(Path(sys.argv[1])), 0

def one(window):
    global given
    window, rest_s = take(window, time.time())
    given += rest_s == 0
    return window

for _ in range(100):
    ledger.change("resolvers", one)
print(given)
"""


def put(ledger, bucket, window):
    ledger.change(bucket, lambda _: window)


def window_of(ledger, bucket):
    found = []
    ledger.change(bucket, lambda window: found.append(window) or window)
    return found[0]


def test_processes_take_together_what_the_window_has(tmp_path):
    path = tmp_path / "hub.json"
    put(SharedLedger(path), "resolvers", Window(150, time.time() + 1000, 0, 0))
    command = [sys.executable, "-c", TAKER, str(path)]
    takers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(taker.communicate(timeout=60)[0]) for taker in takers) == 150
    assert window_of(SharedLedger(path), "resolvers").left == 0


async def test_what_one_process_learns_holds_back_another(root, serve, tmp_path):
    write_model(root, "acme/tiny", random_tensors())
    hub = serve(window_s=300, api_quota=1)
    shared = HubSettings(rate_wait_s=1, limits_folder=str(tmp_path / "limits"))
    async with HubClient(hub.endpoint, token=None, settings=shared) as client:
        await client.listing_page(None)
    async with HubClient(hub.endpoint, token=None, settings=shared) as client:
        with pytest.raises(HubUnavailable, match="rate limit"):
            await client.listing_page(None)
    async with HubClient(hub.endpoint, token=None, settings=HubSettings(rate_wait_s=1)) as alone:
        with pytest.raises(HubUnavailable):
            await alone.listing_page(None)  # told by a refusal: it knows nothing of the others
    assert [entry.status for entry in hub.request_log] == [200, 429]


def test_the_file_tells_no_token_and_is_the_users_alone(tmp_path):
    ledger = ledger_for(HUB, "hf_secret", folder=str(tmp_path / "limits"))
    put(ledger, "api", Window(5, 10.0))
    (file,) = (tmp_path / "limits").iterdir()
    assert "secret" not in file.name + file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    other = ledger_for(HUB, "hf_other", folder=str(tmp_path / "limits"))
    assert window_of(other, "api") is None


@pytest.mark.parametrize("text", ["", "[", "[]", "3", '{"api": 1}', '{"api": ["x", 1, 1, 1]}', "\x00" * 9, "[" * 4000])
def test_a_broken_file_tells_nothing_and_is_written_anew(tmp_path, text):
    path = tmp_path / "hub.json"
    path.write_text(text)
    ledger = SharedLedger(path)
    assert window_of(ledger, "api") is None
    put(ledger, "api", Window(5, 10.0))
    assert window_of(ledger, "api") == Window(5, 10.0)


def test_a_clock_that_was_wrong_holds_nobody_back_for_long(tmp_path):
    path = tmp_path / "hub.json"
    path.write_text(json.dumps({"api": [0, 1e12, 500, 300]}))
    assert take(window_of(SharedLedger(path), "api"), time.time())[1] <= 3600


async def test_where_nothing_can_be_written_the_process_keeps_to_the_limits_alone(tmp_path):
    (tmp_path / "file").write_text("")
    ledger = ledger_for(HUB, None, folder=str(tmp_path / "file"))
    assert isinstance(ledger, MemoryLedger)
    assert await RateGate(ledger).enter("api", patience_s=0) == 0


def test_the_users_cache_is_for_hubs_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert isinstance(ledger_for(URL("http://127.0.0.1:8000"), None, folder=""), MemoryLedger)
    assert isinstance(ledger_for(HUB, None, folder=""), SharedLedger)
    assert len(list((tmp_path / "modelkin" / "limits").iterdir())) == 1


@pytest.mark.parametrize(
    ("host", "loopback", "private"),
    [
        ("huggingface.co", False, False),
        ("8.8.8.8", False, False),
        ("2606:4700::1111", False, False),
        ("localhost", True, True),
        ("hub.localhost.", True, True),
        ("127.9.9.9", True, True),
        ("::1", True, True),
        ("::ffff:127.0.0.1", True, True),
        ("10.0.0.1", False, True),
        ("169.254.169.254", False, True),
        ("100.64.0.1", False, True),
        ("fe80::1%eth0", False, True),
        ("0.0.0.0", False, True),
        ("224.0.0.1", False, True),
        ("printer.local", False, True),
        ("intranet", False, True),
        ("", False, True),
        (None, False, True),
    ],
)
def test_own_and_private_hosts_are_known(host, loopback, private):
    assert (is_loopback(host), is_private(host)) == (loopback, private)
