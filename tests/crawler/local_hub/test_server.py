import http.client
import os
import socket
import threading
import urllib.request
from contextlib import closing

import pytest

from crawler.local_hub import HubOptions, LocalHub, server
from crawler.local_hub.answers import FileSlice
from storage.errors import UsageError


def test_a_hub_serves_between_entering_and_leaving(add_model, root):
    add_model("org/m")
    before = threading.active_count()
    with LocalHub(root) as hub, urllib.request.urlopen(f"{hub.endpoint}/api/models", timeout=10) as reply:
        assert reply.status == 200
    assert threading.active_count() == before
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", int(hub.endpoint.rpartition(":")[2])))


def test_listeners_are_on_loopback_on_two_ports(add_model, serve, raw):
    add_model("org/m", {"model.bin": b"x"})
    hub = serve()
    location = raw(hub)("/org/m/resolve/main/model.bin").headers["Location"]
    assert hub.endpoint.startswith("http://127.0.0.1:")
    assert location.startswith("http://127.0.0.1:")
    assert location.split("/")[2] != hub.endpoint.split("/")[2]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.2", ""])
def test_a_page_that_led_a_browser_here_by_a_name_of_its_own_gets_nothing(add_model, serve, host):
    add_model("org/m", {"model.bin": b"secret"})
    hub = serve()
    port = hub.endpoint.rpartition(":")[2]

    def status(name: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)) as connection:
            connection.request("GET", "/org/m/raw/main/model.bin", headers={"Host": name})
            return connection.getresponse().status

    assert status(host.format(port=port)) == 421
    assert [status(name) for name in (f"127.0.0.1:{port}", "localhost", f"LOCALHOST:{port}")] == [200, 200, 200]


def test_what_cannot_be_served_is_refused_before_anything_starts(root, tell):
    with pytest.raises(UsageError, match="no folder of models"):
        LocalHub(root / "nowhere").__enter__()
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="choose another"):
        LocalHub(root, options=HubOptions(port=taken.getsockname()[1])).__enter__()
    tell({"org/m": {"likes": -1}})
    with pytest.raises(UsageError, match="likes"):
        LocalHub(root).__enter__()
    (root / "hub.json").unlink()
    (root / "hub.json").symlink_to("hub.json")
    with pytest.raises(UsageError, match=r"hub\.json cannot be read"):
        LocalHub(root).__enter__()


def test_a_hub_that_never_began_can_be_left(root):
    LocalHub(root).__exit__(None, None, None)


def test_the_log_keeps_requests_as_they_came(add_model, serve, raw):
    add_model("org/m")
    hub = serve(latency_s=0.001)
    raw(hub)("/api/models?x=%2F", headers={"Accept-Encoding": "identity", "Range": "bytes=0-1"})
    raw(hub)("/api/models/org/gone", headers={"Authorization": "Bearer x"})
    first, second = hub.request_log
    assert (first.listener, first.method, first.target) == ("hub", "GET", "/api/models?x=%2F")
    assert (first.accept_encoding, first.range, first.authorization, first.status) == (
        "identity",
        "bytes=0-1",
        False,
        200,
    )
    assert first.bytes_sent > 0
    assert (second.authorization, second.status) == (True, 401)


def test_many_clients_at_once_get_the_same_bytes(add_model, serve, raw):
    data = bytes(range(256)) * 5000
    add_model("org/m", {"model.safetensors": data})
    client, bodies = raw(serve()), []

    def fetch():
        bodies.append(client(client("/org/m/resolve/main/model.safetensors").headers["Location"]).body)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [data] * 8


def test_a_client_that_hangs_up_leaves_the_hub_working(add_model, serve, raw):
    add_model("org/m", {"model.safetensors": bytes(30_000_000)})
    hub = serve()
    location = raw(hub)("/org/m/resolve/main/model.safetensors").headers["Location"]
    host, _, target = location.removeprefix("http://").partition("/")
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as connection:
        connection.sendall(f"GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
    assert raw(hub)(location, headers={"Range": "bytes=0-9"}).body == bytes(10)
    assert raw(hub)("/api/models").status == 200


def test_a_file_that_changed_since_its_answer_was_made_is_not_sent(add_model, serve, raw, monkeypatch):
    model = add_model("org/m", {"model.safetensors": b"old", "config.json": "{}"})
    status = (model / "config.json").stat()
    same = FileSlice(model / "config.json", 0, 2, status.st_size, status.st_mtime_ns)
    os.close(server._open_unchanged(same))
    assert server._open_unchanged(FileSlice(model / "config.json", 0, 2, 2, status.st_mtime_ns - 1)) is None
    assert server._open_unchanged(FileSlice(model / "gone.json", 0, 2, 2, status.st_mtime_ns)) is None
    hub = serve()
    location = raw(hub)("/org/m/resolve/main/model.safetensors").headers["Location"]
    monkeypatch.setattr(server, "_open_unchanged", lambda _: None)
    assert raw(hub)(location).status == 503
    assert (hub.request_log[-1].status, hub.request_log[-1].bytes_sent) == (503, 0)


def test_a_file_that_shrinks_while_it_is_sent_breaks_the_connection(add_model, serve, raw, monkeypatch):
    add_model("org/m", {"model.safetensors": bytes(100)})
    hub = serve()
    location = raw(hub)("/org/m/resolve/main/model.safetensors").headers["Location"]
    monkeypatch.setattr(server, "_CHUNK_BYTES", 60)
    monkeypatch.setattr(server.os, "pread", lambda _, size, position: bytes(size if position == 0 else 0))
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        raw(hub)(location)
    assert hub.request_log[-1].bytes_sent == 60
    assert raw(hub)("/api/models").status == 200
