import base64
import json
import re
from urllib.parse import quote

import pytest


@pytest.fixture
def client(add_model, serve, raw):
    add_model("org/m", {"a/b/c.txt": "c", "a/d.safetensors": b"d" * 20, "a.txt": "x", "z.txt": "z"})
    return raw(serve())


def paths(reply):
    return [(row["type"], row["path"]) for row in reply.json]


def test_a_directory_is_listed_flat_or_whole(client):
    top = [("directory", "a"), ("file", "a.txt"), ("file", "z.txt")]
    assert paths(client("/api/models/org/m/tree/main")) == top
    assert paths(client("/api/models/org/m/tree/main/a")) == [("directory", "a/b"), ("file", "a/d.safetensors")]
    whole = client("/api/models/org/m/tree/main?recursive=true")
    assert sorted(path for _, path in paths(whole)) == ["a", "a.txt", "a/b", "a/b/c.txt", "a/d.safetensors", "z.txt"]
    rows = {row["path"]: row for row in whole.json}
    assert rows["a/d.safetensors"]["lfs"]["size"] == 20
    assert rows["a/d.safetensors"]["lfs"]["pointerSize"] == 127
    assert "lfs" not in rows["a.txt"]
    assert all(len(row["oid"]) == 40 for row in rows.values())


def test_pages_follow_each_other_without_loss(client):
    target, seen = "/api/models/org/m/tree/main?recursive=true&limit=2&expand=true", []
    while target:
        reply = client(target)
        seen += [row["path"] for row in reply.json]
        assert all(row["lastCommit"]["id"] for row in reply.json)
        link = re.fullmatch(r'<([^>]+)>; rel="next"', reply.headers["Link"] or "")
        target = link and link[1]
    assert seen == ["a", "a.txt", "a/b", "a/b/c.txt", "a/d.safetensors", "z.txt"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=51&expand=true", "cursor=x", "cursor=" + quote(base64.b64encode(b"[]")),
     "cursor=" + quote(base64.b64encode(b'{"path":3}'))],
)  # fmt: skip
def test_impossible_limits_and_cursors_are_refused(client, query):
    assert client(f"/api/models/org/m/tree/main?{query}").status == 400


def test_paths_info_takes_forms_and_documents_and_leaves_out_what_is_missing(client):
    target = "/api/models/org/m/paths-info/main"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = client(target, method="POST", headers=form, body=b"paths=a&paths=nope&paths=z.txt&expand=false")
    assert paths(reply) == [("directory", "a"), ("file", "z.txt")]
    document = json.dumps({"paths": ["a/d.safetensors", "../x"], "expand": True}).encode()
    reply = client(target, method="POST", headers={"Content-Type": "application/json"}, body=document)
    assert paths(reply) == [("file", "a/d.safetensors")]
    assert reply.json[0]["lastCommit"]["title"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"paths": "a"}', b'{"paths": [1]}', b"\xff", b"[" * 100_000])
def test_a_body_without_paths_is_refused(client, body):
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        reply = client("/api/models/org/m/paths-info/main", method="POST", headers={"Content-Type": kind}, body=body)
        assert reply.status == 400


def test_a_body_without_end_is_refused(client):
    reply = client("/api/models/org/m/paths-info/main", method="POST", body=b"x" * (2**20 + 1))
    assert reply.status == 413


def test_refs_and_commits_name_the_one_commit(client):
    sha = client("/api/models/org/m").json["sha"]
    refs = client("/api/models/org/m/refs").json
    assert refs["branches"] == [{"name": "main", "ref": "refs/heads/main", "targetCommit": sha}]
    commits = client("/api/models/org/m/commits/main?p=0")
    assert (commits.headers["X-Total-Count"], [item["id"] for item in commits.json]) == ("1", [sha])


def test_detail_knows_the_family_that_the_listing_does_not_tell(client, add_model):
    add_model("kid/one", {"README.md": "---\nbase_model: org/m\n---\n"})
    add_model("kid/two", {"README.md": "---\nbase_model: [org/m, gone/gone]\n---\n"})
    counts = client("/api/models/org/m?expand=childrenModelCount&expand=baseModels&expand=usedStorage").json
    assert counts["childrenModelCount"] == {"adapter": 0, "finetune": 1, "merge": 1, "quantized": 0}
    assert "baseModels" not in counts
    assert counts["usedStorage"] == 23
    bases = client("/api/models/kid/two?expand=baseModels").json["baseModels"]
    assert (bases["relation"], [base["id"] for base in bases["models"]]) == ("merge", ["org/m"])
    assert client("/api/models/org/m?expand=nonsense").status == 400
