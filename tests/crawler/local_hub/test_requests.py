import pytest

from crawler.local_hub.answers import Refused
from crawler.local_hub.requests import Asked, Endpoint, endpoint


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/models?limit=3", Endpoint("listing")),
        ("/api/models/", Endpoint("listing")),
        ("/api/whoami-v2", Endpoint("whoami")),
        ("/api/models/a/b", Endpoint("detail", "a/b")),
        (
            "/api/models/a/b/revision/refs%2Fpr%2F1?x=1",
            Endpoint("detail", "a/b", "refs/pr/1", rest="/revision/refs%2Fpr%2F1"),
        ),
        ("/api/models/a/b/tree/main/x%2Fy/z", Endpoint("tree", "a/b", "main", "x/y/z", "/tree/main/x%2Fy/z")),
        ("/api/models/a/tree", Endpoint("tree", "a", rest="/tree")),
        ("/api/models/a/tree/tree/main", Endpoint("tree", "a/tree", "main", rest="/tree/main")),
        ("/api/models/gpt2", Endpoint("detail", "gpt2")),
        ("/api/models/gpt2/refs", Endpoint("refs", "gpt2", rest="/refs")),
        ("/api/models/a/b/paths-info/abc", Endpoint("paths-info", "a/b", "abc", rest="/paths-info/abc")),
        ("/api/models/a/b/notebook", Endpoint("unknown")),
        (
            "/a/b/resolve/main/c%20d/e.txt?x",
            Endpoint("resolve", "a/b", "main", "c d/e.txt", "/resolve/main/c%20d/e.txt"),
        ),
        ("/a/b/raw/main/e.txt", Endpoint("raw", "a/b", "main", "e.txt", "/raw/main/e.txt")),
        ("/gpt2/resolve/main/e.txt", Endpoint("resolve", "gpt2", "main", "e.txt", "/resolve/main/e.txt")),
        ("/a/resolve/resolve/main/e.txt", Endpoint("resolve", "a/resolve", "main", "e.txt", "/resolve/main/e.txt")),
        ("/api/resolve-cache/models/a/b/abc/d/e.txt?q", Endpoint("resolve-cache", "a/b", "abc", "d/e.txt")),
        ("/api/resolve-cache/models/a/b", Endpoint("unknown")),
        ("/a/b/resolve/main", Endpoint("unknown")),
        ("/", Endpoint("unknown")),
        ("*", Endpoint("unknown")),
        ("/a/b/blob/main/e.txt", Endpoint("unknown")),
    ],
)
def test_a_raw_target_names_an_endpoint(target, expected):
    assert endpoint(target) == expected


def test_endpoints_count_in_the_bucket_of_their_route():
    assert endpoint("/api/models/a/b/tree/main/resolve/x").bucket == "api"
    assert endpoint("/a/b/resolve/main/x").bucket == "resolvers"
    assert endpoint("/a/b").bucket == "pages"


def test_repeated_and_bracketed_fields_are_one():
    assert Asked("GET", "/api/models?expand=sha&expand%5B%5D=tags&x=", {}).query == {
        "expand": ["sha", "tags"],
        "x": [""],
    }


def test_a_flood_of_fields_is_refused():
    with pytest.raises(Refused):
        _ = Asked("GET", "/api/models?" + "a=1&" * 1000, {}).query
