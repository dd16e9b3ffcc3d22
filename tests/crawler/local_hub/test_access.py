import pytest

GRANTED = {"Authorization": "Bearer hf_granted"}
STRANGE = {"Authorization": "Bearer hf_other"}


@pytest.fixture
def client(add_model, tell, serve, raw):
    for name in ("open", "locked", "secret", "off"):
        add_model(f"org/{name}", {"config.json": "{}", "model.safetensors": b"weights", "empty.txt": ""})
    tell(
        {"org/locked": {"gated": "manual"}, "org/secret": {"private": True}, "org/off": {"disabled": True}},
        {"old/name": "mid/name", "mid/name": "org/open", "gpt2": "org/open", "a/loop": "b/loop", "b/loop": "a/loop"},
    )
    return raw(serve(tokens={"hf_granted": frozenset({"org/locked", "org/secret"}), "hf_other": frozenset()}))


@pytest.mark.parametrize("name", ["org/missing", "org/secret", "a/loop", "..%2F..", "org/%00", "missing"])
def test_strangers_cannot_tell_a_missing_repository_from_a_private_one(client, name):
    api, file = client(f"/api/models/{name}"), client(f"/{name}/resolve/main/config.json")
    assert api.status == file.status == 401
    for reply in (api, file):
        assert reply.headers["X-Error-Code"] is None
        assert reply.headers["X-Error-Message"] == "Invalid username or password."
        assert reply.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert api.json == {"error": "Invalid username or password."}
    assert (file.headers["Content-Type"], file.body) == ("text/plain; charset=utf-8", b"Invalid username or password.")


@pytest.mark.parametrize(
    "target", ["/api/models/org/missing", "/org/missing/resolve/main/x", "/org/secret/resolve/main/x"]
)
def test_a_token_learns_that_a_repository_is_not_there(client, target):
    reply = client(target, headers=STRANGE)
    assert (reply.status, reply.headers["X-Error-Code"]) == (404, "RepoNotFound")


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer ", "Basic hf_granted", "hf_granted", ""])
def test_a_bad_token_is_refused_even_for_what_is_public(client, header):
    for target in ("/api/models", "/org/open/resolve/main/config.json", "/api/models/org/open"):
        reply = client(target, headers={"Authorization": header})
        assert reply.status == 401
        assert reply.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
        assert reply.headers["RateLimit"]


def test_gated_contents_need_a_grant_but_the_description_does_not(client):
    target = "/org/locked/resolve/main/model.safetensors"
    stranger, known, granted = client(target), client(target, headers=STRANGE), client(target, headers=GRANTED)
    assert (stranger.status, stranger.headers["X-Error-Code"]) == (401, "GatedRepo")
    assert (known.status, known.headers["X-Error-Code"]) == (403, "GatedRepo")
    assert granted.status == 302
    assert client("/api/models/org/locked").json["gated"] == "manual"
    assert client("/api/models/org/locked/tree/main").status == 200
    assert client("/api/models/org/locked/commits/main").headers["X-Error-Code"] == "GatedRepo"


def test_small_files_of_gated_private_and_empty_ones_are_answered_directly(client):
    assert client("/org/locked/resolve/main/config.json", headers=GRANTED).status == 200
    assert client("/org/secret/resolve/main/config.json", headers=GRANTED).status == 200
    assert client("/org/open/resolve/main/empty.txt").status == 200
    assert client("/org/open/resolve/main/config.json").status == 307


def test_disabled_contents_are_refused_and_the_description_is_not(client):
    reply = client("/org/off/resolve/main/config.json", headers=GRANTED)
    assert (reply.status, reply.headers["X-Error-Code"]) == (403, None)
    assert reply.headers["X-Error-Message"] == "Access to this resource is disabled."
    assert client("/api/models/org/off").json["disabled"] is True


def test_former_names_and_other_case_redirect_in_the_api_and_serve_files_at_once(client):
    for name in ("old/name", "gpt2", "ORG/Open"):
        reply = client(f"/api/models/{name}/tree/main/x%20y?recursive=1&q=%2F")
        assert reply.status == 307
        assert reply.headers["Location"] == "/api/models/org/open/tree/main/x%20y?recursive=1&q=%2F"
        assert client(f"/api/models/{name}").headers["Location"] == "/api/models/org/open"
        assert client(f"/{name}/resolve/main/model.safetensors").status == 302
    assert client("/api/models/org/open").status == 200


def test_missing_revisions_and_files_say_what_is_missing(client):
    sha = client("/api/models/org/open").json["sha"]
    for target in (
        "/org/open/resolve/v9/config.json",
        "/api/models/org/open/revision/v9",
        "/api/models/org/open/tree/v9",
    ):
        reply = client(target)
        assert (reply.status, reply.headers["X-Error-Code"]) == (404, "RevisionNotFound")
        assert reply.json == {"error": "Invalid rev id: v9"}
    reply = client("/org/open/resolve/main/nope.txt")
    assert (reply.status, reply.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert (reply.headers["X-Repo-Commit"], reply.body) == (sha, b"Entry not found")
    reply = client("/api/models/org/open/tree/main/no%0Adir")
    assert (reply.status, reply.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert reply.headers["X-Error-Message"] == 'no%0Adir does not exist on "main"'


def test_a_revision_is_main_or_the_commit_whole_or_short(client):
    sha = client("/api/models/org/open").json["sha"]
    for revision in ("main", "HEAD", "refs%2Fheads%2Fmain", sha, sha[:7], sha.upper()):
        assert client(f"/api/models/org/open/revision/{revision}").status == 200
        assert client(f"/org/open/resolve/{revision}/model.safetensors").headers["X-Repo-Commit"] == sha
    assert client(f"/api/models/org/open/revision/{sha[:6]}").status == 404
    assert client(f"/api/models/org/open/revision/{sha}0").status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/org/open/resolve/main/../../secret/config.json",
        "/org/open/resolve/main/..%2F..%2Fsecret%2Fconfig.json",
        "/org/open/resolve/main/%2Fetc%2Fpasswd",
        "/org/open/resolve/main//etc/passwd",
        "/org/open/resolve/main/%00",
        "/org/open/resolve/main/config.json%00",
        "/org/open/raw/main/../secret/config.json",
        "/org/open/resolve/main/%FF%FE",
    ],
)
def test_paths_that_lead_elsewhere_are_missing_files(client, target):
    reply = client(target)
    assert (reply.status, reply.headers["X-Error-Code"]) == (404, "EntryNotFound")


def test_who_is_asking(client):
    assert client("/api/whoami-v2").status == 401
    assert client("/api/whoami-v2", headers=GRANTED).json["type"] == "user"
    assert client("/api/models/org/locked/auth-check", headers=GRANTED).status == 200
    assert client("/api/models/org/locked/auth-check", headers=STRANGE).status == 403
    assert client("/api/models/org/locked/auth-check").status == 401


def test_unknown_pages_and_methods(client):
    assert client("/").status == 404
    assert client("/api/datasets").status == 404
    reply = client("/api/models", method="DELETE")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert client("/api/models/org/open/paths-info/main").status == 405
