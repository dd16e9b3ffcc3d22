"""Where a Hub may send us: its own host, and the hosts that are known to keep its files; never inwards from outside."""

from collections.abc import Iterable

from yarl import URL

from crawler.addresses import is_private
from crawler.transport import Reply
from crawler.wording import quoted
from storage.errors import ModelUnreadable


class Redirects:
    """The rule for one Hub: https is never left, and a public Hub never leads to a private address."""

    def __init__(self, endpoint: URL, file_hosts: Iterable[str]) -> None:
        self._endpoint = endpoint
        self._hosts = tuple(host.lower().strip(".") for host in file_hosts)

    def target(self, reply: Reply, path: str) -> URL:
        """Where a redirect leads, its encoding untouched, because signatures are made over it.

        Raises `ModelUnreadable("bad_redirect")` when that is no http(s) URL, or one where nothing of the Hub lies.
        """
        location = reply.headers.get("Location", "")
        try:
            target = reply.url.join(URL(location, encoded=True))
        except ValueError:
            target = URL()
        secure = "https" in {reply.url.scheme, self._endpoint.scheme}
        if target.scheme not in ({"https"} if secure else {"http", "https"}) or not _is_url_text(location):
            raise _bad(path, "redirected to no http(s) address")
        if not self._is_known(target):
            raise _bad(path, f"redirected to {quoted(target.host)}, which is no host of this Hub's files")
        return target

    def _is_known(self, target: URL) -> bool:
        host = (target.host or "").lower().rstrip(".")
        if host == (self._endpoint.host or "").lower():
            return target.user is None
        listed = any(host == known or host.endswith(f".{known}") for known in self._hosts)
        inwards = is_private(host) and not is_private(self._endpoint.host)
        return listed and not inwards and target.user is None


def _is_url_text(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _bad(path: str, why: str) -> ModelUnreadable:
    return ModelUnreadable("bad_redirect", f"{quoted(path)}: {why}", retry=True)
