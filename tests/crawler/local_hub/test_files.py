import gzip
import hashlib
import os
import xml.etree.ElementTree as ET

import aiohttp
import pytest
from yarl import URL

DATA = os.urandom(3_000_000)
TEXT = '{"model_type": "x"}' * 100


@pytest.fixture
def model(add_model):
    return add_model(
        "org/m", {"model.safetensors": DATA, "sub dir/ünï.bin": b"x" * 10, "config.json": TEXT, "empty.txt": ""}
    )


@pytest.fixture
def hub(model, serve):
    assert model.is_dir()
    return serve()


@pytest.fixture
def client(hub, raw):
    return raw(hub)


def test_a_file_in_lfs_is_redirected_to_another_origin_with_its_size_and_hash(client, hub):
    reply = client("/org/m/resolve/main/model.safetensors")
    assert reply.status == 302
    assert reply.headers["X-Linked-Size"] == str(len(DATA))
    assert reply.headers["X-Linked-Etag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
    assert len(reply.headers["X-Repo-Commit"]) == 40
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["X-Xet-Hash"] is reply.headers["Link"] is None
    assert int(reply.headers["Content-Length"]) == len(reply.body) > 0
    location = reply.headers["Location"]
    assert not location.startswith(hub.endpoint)
    assert "filename*%3DUTF-8%27%27model.safetensors%3B+filename%3D%22" in location
    whole = client(location)
    assert (whole.status, whole.body) == (200, DATA)
    assert whole.headers["ETag"].strip('"') == URL(location).path.split("/")[-1]
    assert whole.headers["ETag"] != reply.headers["X-Linked-Etag"]
    assert whole.headers["RateLimit"] is None


def test_head_has_the_headers_of_get_and_no_body(client):
    for target in (
        "/org/m/resolve/main/model.safetensors",
        "/org/m/resolve/main/config.json",
        "/org/m/resolve/main/empty.txt",
        "/org/m/raw/main/model.safetensors",
    ):
        get, head = client(target), client(target, method="HEAD")
        assert head.body == b""
        ours = (
            "Content-Length",
            "ETag",
            "X-Linked-Etag",
            "X-Linked-Size",
            "X-Repo-Commit",
            "Accept-Ranges",
            "Content-Type",
        )
        assert [head.headers[name] for name in ours] == [get.headers[name] for name in ours]
        assert head.status == get.status
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    head = client(location, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(DATA)))


@pytest.mark.parametrize(
    ("wanted", "begin", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=2999990-", 2_999_990, 3_000_000),
     ("bytes=-5", 2_999_995, 3_000_000), ("bytes=2999990-9999999", 2_999_990, 3_000_000),
     ("bytes=0-2499999", 0, 2_500_000)],
)  # fmt: skip
def test_one_range_is_answered_with_206_from_the_cdn(client, hub, wanted, begin, end):
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    reply = client(location, headers={"Range": wanted})
    assert (reply.status, reply.body) == (206, DATA[begin:end])
    assert reply.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(DATA)}"
    assert reply.headers["Content-Length"] == str(end - begin)
    logged = hub.request_log[-1]
    assert (logged.listener, logged.range, logged.status, logged.bytes_sent) == ("cdn", wanted, 206, end - begin)


def test_several_ranges_get_the_whole_file_and_impossible_ones_416(client):
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    whole = client(location, headers={"Range": "bytes=0-1,5-6"})
    assert (whole.status, len(whole.body)) == (200, len(DATA))
    reply = client(location, headers={"Range": "bytes=3000000-"})
    assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */3000000")
    assert reply.headers["Content-Type"] == "text/html"


def test_a_token_at_the_cdn_is_refused_and_logged(client, hub):
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    reply = client(location, headers={"Authorization": "Bearer x"})
    assert (reply.status, ET.fromstring(reply.body).findtext("Code")) == (400, "InvalidArgument")
    assert hub.request_log[-1].authorization


def test_a_signed_url_expires_and_can_be_had_again(client, hub):
    target = "/org/m/resolve/main/model.safetensors"
    location = client(target).headers["Location"]
    hub.advance_clock(3000)
    assert client(location).status == 200
    hub.advance_clock(700)
    reply = client(location)
    assert (reply.status, ET.fromstring(reply.body).findtext("Code")) == (403, "AccessDenied")
    assert client(client(target).headers["Location"]).status == 200


def test_any_alteration_of_a_signed_url_is_refused(client):
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    changes = {
        "%27%27": "''", "%2F": "/", "+filename": "%20filename", "Expires=": "Expires=9", "&Key-Pair-Id=LOCALHUB": "",
        "user_id=public": "user_id=me", "/xet-bridge-us/": "/xet-bridge-us//", "&Signature=": "&Signature=%C4%B0",
        location.partition("&Signature=")[2]: "", "LOCALHUB": "LOCALHUB&x=1", location.partition("?")[2]: "",
    }  # fmt: skip
    for part, other in changes.items():
        assert part in location
        assert client(location.replace(part, other)).status == 403
    assert client(location).status == 200


async def test_a_client_that_requotes_the_redirect_is_refused(hub):
    url = f"{hub.endpoint}/org/m/resolve/main/model.safetensors"
    for requote, status in ((True, 403), (False, 200)):
        async with aiohttp.ClientSession(requote_redirect_url=requote) as session, session.get(url) as reply:
            assert reply.status == status


def test_bytes_that_changed_after_signing_are_not_served_in_their_place(client, model):
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    (model / "model.safetensors").write_bytes(b"other")
    reply = client(location)
    assert (reply.status, ET.fromstring(reply.body).findtext("Code")) == (404, "NoSuchKey")
    (model / "model.safetensors").unlink()
    assert client(location).status == 404


def test_a_small_file_is_redirected_on_the_same_origin_and_then_answered(client):
    reply = client("/org/m/resolve/main/config.json")
    sha, oid = reply.headers["X-Repo-Commit"], reply.headers["X-Linked-Etag"].strip('"')
    assert (reply.status, reply.headers["X-Linked-Size"]) == (307, None)
    assert reply.headers["Location"] == (
        f"/api/resolve-cache/models/org/m/{sha}/config.json?%2Forg%2Fm%2Fresolve%2Fmain%2Fconfig.json=&etag=%22{oid}%22"
    )
    assert int(reply.headers["Content-Length"]) == len(reply.body) != len(TEXT)
    for target in (reply.headers["Location"], reply.headers["Location"].partition("?")[0]):
        small = client(target)
        assert (small.status, small.body.decode()) == (200, TEXT)
        assert (small.headers["ETag"], small.headers["X-Repo-Commit"]) == (f'"{oid}"', sha)
    part = client(reply.headers["Location"], headers={"Range": "bytes=2-5"})
    assert (part.status, part.body.decode()) == (206, TEXT[2:6])
    known = client(reply.headers["Location"], headers={"If-None-Match": f'"{oid}"'})
    assert (known.status, known.body) == (304, b"")


def test_gzip_drops_the_range_and_the_length_and_weakens_the_etag(client, hub):
    location = client("/org/m/resolve/main/config.json").headers["Location"]
    reply = client(location, headers={"Range": "bytes=2-5", "Accept-Encoding": "gzip, deflate"})
    assert (reply.status, gzip.decompress(reply.body).decode()) == (200, TEXT)
    assert reply.headers["ETag"].startswith('W/"')
    assert reply.headers["Content-Length"] is None
    assert hub.request_log[-1].bytes_sent == len(reply.body)
    location = client("/org/m/resolve/main/model.safetensors").headers["Location"]
    assert client(location, headers={"Range": "bytes=2-5", "Accept-Encoding": "gzip"}).body == DATA[2:6]


def test_raw_shows_pointers_and_texts_and_never_redirects(client):
    pointer = client("/org/m/raw/main/model.safetensors")
    assert pointer.status == 200
    assert f"oid sha256:{hashlib.sha256(DATA).hexdigest()}" in pointer.body.decode()
    assert client("/org/m/raw/main/config.json").body.decode() == TEXT
    part = client("/org/m/raw/main/model.safetensors", headers={"Range": "bytes=0-6"})
    assert (part.status, part.body) == (206, b"version")
    assert part.headers["Content-Range"] == f"bytes 0-6/{len(pointer.body)}"


def test_names_with_spaces_and_unicode_travel_quoted(client):
    for path in ("sub%20dir/%C3%BCn%C3%AF.bin", "sub%20dir%2F%C3%BCn%C3%AF.bin"):
        reply = client(f"/org/m/resolve/main/{path}")
        assert reply.status == 302
        assert "filename*=UTF-8''%C3%BCn%C3%AF.bin" in reply.headers["Content-Disposition"]
        whole = client(reply.headers["Location"])
        assert whole.body == b"x" * 10
        assert whole.headers["Content-Disposition"] == reply.headers["Content-Disposition"]


def test_an_empty_file_of_any_name_is_answered_directly(add_model, client):
    add_model("org/m", {"empty.safetensors": ""})
    reply = client("/org/m/resolve/main/empty.safetensors")
    assert (reply.status, reply.body) == (200, b"")
    assert client("/org/m/resolve/main/empty.safetensors", headers={"Range": "bytes=0-10"}).status == 416


@pytest.mark.usefixtures("model")
def test_each_hop_on_the_hub_counts_and_an_exhausted_window_recovers(serve, raw):
    hub = serve(resolver_quota=2, api_quota=1, window_s=300)
    client = raw(hub)
    reply = client("/org/m/resolve/main/config.json")
    assert reply.headers["RateLimit"] == '"resolvers";r=1;t=300'
    assert reply.headers["RateLimit-Policy"] == '"fixed window";"resolvers";q=2;w=300'
    assert client(reply.headers["Location"]).headers["RateLimit"].startswith('"resolvers";r=0;t=')
    limited = client("/org/m/resolve/main/model.safetensors")
    assert limited.status == 429
    assert limited.headers["RateLimit"].startswith('"resolvers";r=0;t=')
    assert limited.headers["Retry-After"] is None
    assert client("/api/models/org/m").status == 200
    assert client("/api/models/org/m").status == 429
    hub.advance_clock(301)
    assert client("/org/m/resolve/main/model.safetensors").status == 302
