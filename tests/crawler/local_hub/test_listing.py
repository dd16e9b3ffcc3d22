import base64
import json
import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest

import crawler.local_hub.listing as listing_module


def next_link(reply):
    match = re.fullmatch(r'<([^>]+)>; rel="next"', reply.headers["Link"] or "")
    return match and match[1]


def walk(client, target):
    """Pages of a listing, following Link."""
    while target:
        reply = client(target)
        assert reply.status == 200, reply.body
        yield reply.json
        target = next_link(reply)


def ids(client, target):
    return [row["id"] for page in walk(client, target) for row in page]


@pytest.fixture
def five(add_model, tell):
    """Five models, created in the order of their names."""
    told = {}
    for number in range(5):
        add_model(f"org/m{number}", {"config.json": "{}"})
        told[f"org/m{number}"] = {
            "createdAt": f"2024-01-0{number + 1}T00:00:00Z", "lastModified": f"2025-01-0{9 - number}T00:00:00Z",
            "downloads": number // 2, "likes": number % 2,
        }  # fmt: skip
    tell(told)
    return told


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("sort=createdAt", [4, 3, 2, 1, 0]),
        ("sort=createdAt&direction=1", [0, 1, 2, 3, 4]),
        ("sort=lastModified", [0, 1, 2, 3, 4]),
        ("sort=lastModified&direction=1", [4, 3, 2, 1, 0]),
        ("sort=downloads&direction=-1", [4, 2, 3, 0, 1]),
        ("sort=downloads&direction=1", [0, 1, 2, 3, 4]),
        ("sort=likes", [1, 3, 0, 2, 4]),
        ("", [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 5, 9])
@pytest.mark.usefixtures("five")
def test_pages_of_any_size_show_every_model_once_in_order(serve, raw, sort, order, limit):
    hub = serve()
    assert ids(raw(hub), f"/api/models?{sort}&limit={limit}") == [f"org/m{number}" for number in order]


@pytest.mark.usefixtures("five")
def test_the_cursor_is_a_predicate_and_the_query_is_preserved(serve, raw):
    hub = serve()
    reply = raw(hub)("/api/models?expand%5B%5D=sha&limit=2&sort=createdAt&filter=region%3Aus")
    link = next_link(reply)
    assert link.startswith(
        f"{hub.endpoint}/api/models?expand%5B%5D=sha&limit=2&sort=createdAt&filter=region%3Aus&cursor="
    )
    cursor = parse_qs(urlsplit(link).query)["cursor"][0]
    assert json.loads(base64.b64decode(cursor)) == {"_id": {"$lt": reply.json[-1]["_id"]}}
    last = raw(hub)("/api/models?sort=downloads&limit=3")
    cursor = parse_qs(urlsplit(next_link(last)).query)["cursor"][0]
    assert json.loads(base64.b64decode(cursor)) == {
        "$or": [{"downloads": 1, "_id": {"$gt": last.json[-1]["_id"]}}, {"downloads": {"$lt": 1}}, {"downloads": None}]
    }
    assert next_link(raw(hub)("/api/models?limit=5")) is None


def test_a_model_added_during_a_walk_moves_no_other(five, serve, raw, add_model, tell):
    client = raw(serve())
    pages = walk(client, "/api/models?sort=createdAt&direction=1&limit=2")
    seen = [row["id"] for row in next(pages)]
    add_model("org/early")  # behind the cursor: the next walk will see it
    add_model("org/late")
    tell({**five, "org/late": {"createdAt": "2024-06-01T00:00:00Z"}})
    seen += [row["id"] for page in pages for row in page]
    assert seen == ["org/m0", "org/m1", "org/m2", "org/m3", "org/m4", "org/late"]


def test_a_row_that_moves_across_a_lastmodified_cursor_is_skipped_as_on_the_hub(five, serve, raw, tell):
    client = raw(serve())
    pages = walk(client, "/api/models?sort=lastModified&limit=2")
    seen = [row["id"] for row in next(pages)]
    tell({**five, "org/m3": {"lastModified": "2026-01-01T00:00:00Z"}})
    seen += [row["id"] for page in pages for row in page]
    assert seen == ["org/m0", "org/m1", "org/m2", "org/m4"]


@pytest.mark.usefixtures("five")
def test_a_page_that_takes_long_ends_early_and_the_walk_is_still_whole(serve, raw, monkeypatch):
    monkeypatch.setattr(listing_module, "PAGE_TIME_S", -1.0)
    pages = list(walk(raw(serve()), "/api/models?sort=createdAt&direction=1"))
    assert [[row["id"] for row in page] for page in pages] == [[f"org/m{number}"] for number in range(5)]


@pytest.mark.parametrize(
    "query",
    [
        "sort=trending", "direction=2", "limit=0", "limit=-1", "limit=x", "limit=%C2%B2", "limit=" + "9" * 5000,
        "expand=baseModels", "expand=usedStorage", "expand=cardData.license", "expand=", "cursor=x", "cursor=",
        "cursor=" + quote(base64.b64encode(b'{"_id":{"$lt":"x"}}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b'{"_id":{"$lt":"x"}}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b'{"_id":{"$lt":3}}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b'{"_id":{}}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b'{"_id":{"$where":"0123456789abcdef01234567"}}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b'{"_id":{"$gt":"0123456789abcdef01234567"}}')),
        "sort=downloads&cursor=" + quote(base64.b64encode(b'{"$or":[{"downloads":"1","_id":{"$gt":"0"}}]}')),
        "sort=createdAt&cursor=" + quote(base64.b64encode(b"[" * 5_000)[:6000]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("five")
def test_what_the_hub_refuses_is_refused(serve, raw, query):
    reply = raw(serve())(f"/api/models?{query}")
    assert reply.status == 400
    assert set(reply.json) == {"error"}


@pytest.mark.usefixtures("five")
def test_limits_above_the_cap_are_clamped(serve, raw):
    reply = raw(serve(page_cap=3))("/api/models?limit=10000")
    assert len(reply.json) == 3
    assert next_link(reply)


def test_the_default_row_and_the_full_one(add_model, tell, serve, raw):
    add_model(
        "org/m",
        {"README.md": "---\nlicense: mit\n---\n", "model.safetensors": b"x", "config.json": '{"model_type": "x"}'},
    )
    tell({"org/m": {"_id": "6650c0de00000000000000a1", "lastModified": "2024-06-01T00:00:00Z", "sha": "a" * 40}})
    client = raw(serve())
    usual = {
        "_id": "6650c0de00000000000000a1", "id": "org/m", "modelId": "org/m", "likes": 0, "trendingScore": 0,
        "private": False, "downloads": 0, "tags": ["transformers", "safetensors", "license:mit", "region:us"],
        "library_name": "transformers", "createdAt": "2022-03-02T23:29:04.000Z",
    }  # fmt: skip
    names = ["README.md", "config.json", "model.safetensors"]
    full = {
        "author": "org", "gated": False, "lastModified": "2024-06-01T00:00:00.000Z", "sha": "a" * 40,
        "siblings": [{"rfilename": name} for name in names],
    }  # fmt: skip
    assert client("/api/models").json == [usual]
    assert client("/api/models?full=True").json == [usual | full]
    more = {"cardData": {"license": "mit"}, "config": {"model_type": "x"}}
    assert client("/api/models?cardData=true&config=1&full=false").json == [usual | more]


def test_expand_projects_and_wins_and_shows_the_sort_key(add_model, serve, raw):
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(12)
    add_model("org/m", {"model-00001-of-00002.safetensors": weights, "model-00002-of-00002.safetensors": weights})
    client = raw(serve())
    row = client(
        "/api/models?sort=createdAt&full=true&expand=author&expand[]=safetensors&expand=gguf&expand=disabled"
    ).json[0]
    assert {key for key in row if key not in {"_id", "id"}} == {"author", "safetensors", "disabled", "createdAt"}
    assert row["safetensors"] == {"parameters": {"BF16": 12}, "total": 12}
    assert set(client("/api/models?expand=likes").json[0]) == {"_id", "id", "likes", "trendingScore"}


def test_expand_config_can_be_switched_off_as_the_hub_sometimes_refuses_it(add_model, serve, raw):
    add_model("org/m", {"config.json": '{"model_type": "x"}'})
    client = raw(serve())
    assert client("/api/models?expand=config").json[0]["config"] == {"model_type": "x"}
    client = raw(serve(listing_config=False))
    assert client("/api/models?expand=config").status == 400
    assert "config" not in client("/api/models?config=true").json[0]


def test_filters_combine(add_model, tell, serve, raw):
    add_model("a/Base-LLM", {"README.md": "---\npipeline_tag: text-generation\n---\n"})
    add_model("b/child", {"README.md": "---\nbase_model: a/Base-LLM\ntags: [x]\n---\n", "model.safetensors": b"x"})
    add_model("b/locked")
    tell({"b/locked": {"gated": "manual"}})
    client = raw(serve())
    assert ids(client, "/api/models?author=b&sort=createdAt") == ids(client, "/api/models?search=b/&sort=createdAt")
    assert ids(client, "/api/models?search=llm") == ["a/Base-LLM"]
    assert ids(client, "/api/models?filter=base_model:finetune:a/Base-LLM") == ["b/child"]
    assert ids(client, "/api/models?filter=x,safetensors&filter=region:us") == ["b/child"]
    assert ids(client, "/api/models?filter=x&author=a") == []
    assert ids(client, "/api/models?pipeline_tag=text-generation") == ids(client, "/api/models?filter=text-generation")
    assert ids(client, "/api/models?gated=true") == ["b/locked"]
    assert len(ids(client, "/api/models?gated=false")) == 2


def test_private_models_are_listed_for_those_who_may_see_them(add_model, tell, serve, raw):
    add_model("org/open")
    add_model("org/secret")
    tell({"org/secret": {"private": True}, "org/nowhere": {"likes": 5}})
    client = raw(serve(tokens={"hf_yes": frozenset({"org/secret"}), "hf_no": frozenset()}))
    assert ids(client, "/api/models") == ["org/open"]
    assert len(client("/api/models", headers={"Authorization": "Bearer hf_yes"}).json) == 2
    assert len(client("/api/models", headers={"Authorization": "Bearer hf_no"}).json) == 1


def test_a_folder_grows_and_shrinks_while_it_is_served(add_model, serve, raw, root):
    client = raw(serve())
    assert client("/api/models").json == []
    model = add_model("org/m", {"config.json": "{}"})
    (root / "org" / "empty").mkdir()
    assert sorted(ids(client, "/api/models")) == ["org/empty", "org/m"]
    (root / "org" / "empty").rmdir()
    assert ids(client, "/api/models") == ["org/m"]
    sha = client("/api/models?expand=sha").json[0]["sha"]
    (model / "config.json").write_text("{  }")
    assert client("/api/models?expand=sha").json[0]["sha"] != sha
    (model / "config.json").unlink()
    model.rmdir()
    assert client("/api/models").json == []


def test_hub_json_is_read_again_when_it_changes_and_complains_when_it_is_broken(add_model, serve, raw, root, tell):
    add_model("org/m")
    client = raw(serve())
    tell({"org/m": {"likes": 7}})
    assert client("/api/models").json[0]["likes"] == 7
    tell({"org/m": {"likes": "many"}})
    reply = client("/api/models")
    assert reply.status == 500
    assert "models.org/m.likes must be" in reply.json["error"]
    (root / "hub.json").unlink()
    assert client("/api/models").json[0]["likes"] == 0


def test_hostile_models_do_not_break_the_listing_of_others(add_model, serve, raw):
    bomb = "---\na: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9)) + "---\n"
    add_model("evil/bomb", {"README.md": bomb, "config.json": "[" * 100_000, "model.safetensors": b"\xff" * 16})
    add_model("evil/types", {"README.md": "---\ntags: {a: b}\nbase_model: [1, null]\nlicense: [[x]]\n---\n"})
    add_model("evil/ünï cödé %2F?#&", {"a b\u2028 #?%.txt": "x", "config.json": '{"architectures": ["\\ud800"]}'})
    for name, shape in (("header", '[1, 2, "x"]'), ("shape", '"2 x 3"')):
        header = f'{{"a": {{"dtype": "F32", "shape": {shape}}}}}'.encode()
        add_model(f"evil/{name}", {"model.safetensors": len(header).to_bytes(8, "little") + header})
    add_model("good/model")
    client = raw(serve())
    fields = "&".join(f"expand={name}" for name in ("cardData", "config", "safetensors", "tags", "sha", "siblings"))
    rows = {row["id"]: row for row in client(f"/api/models?{fields}").json}
    assert set(rows) == {
        "evil/bomb", "evil/types", "evil/header", "evil/shape", "evil/ünï cödé %2F?#&", "good/model",
    }  # fmt: skip
    assert rows["evil/header"]["safetensors"]["total"] == 0
    assert "safetensors" not in rows["evil/shape"]
    assert "cardData" not in rows["evil/bomb"]
    assert "safetensors" not in rows["evil/bomb"]
    assert rows["evil/types"]["tags"] == ["region:us"]


def test_a_model_removed_while_it_is_being_read_is_left_out(add_model, serve, raw, monkeypatch):
    add_model("org/gone", {"README.md": "---\nlicense: mit\n---\n"})
    add_model("org/kept")
    hub = serve()

    def vanish(location):
        raise FileNotFoundError(location)

    monkeypatch.setattr("crawler.local_hub.description.read_card", vanish)
    assert ids(raw(hub), "/api/models") == ["org/kept"]
    assert ids(raw(hub), "/api/models?sort=lastModified") == ["org/kept"]
    assert raw(hub)("/api/models/org/gone").status == 503
    assert raw(hub)("/api/models/org/kept?expand=childrenModelCount").status == 200
